/* local.c - every token plus a weighted sum of its neighbours in time and space, channel by channel.   SPDX-License-Identifier: MIT
 *   y[t,i,j,d] = x[t,i,j,d] + sum over dt,di,dj in -1..1 of w[(dt+1)*9 + (di+1)*3 + dj+1, d] x[t+dt,i+di,j+dj,d]
 * (zero outside). Backward: dx = dy + the same sum of dy with the taps in reverse order; dw[tap] = sum over tokens of dy times the
 * neighbour, partial sums per thread over a fixed part of the tokens, added in the order of the parts. */
#include "tensor/graph.h"

enum { TAPS = 27, MAX_D = 16384 };

typedef struct {
    const void *x, *dy;
    hm_dtype tx, ty;
    const float *w;      /* [27][D] */
    void *y;
    hm_sink dx;          /* data NULL: not wanted */
    float *part;         /* backward: [parts][27][D]; NULL: not wanted */
    int64_t N, D, T, gh, gw;
} local_job;

/* The token that tap k of token n (of its sample) looks at, or -1. Frames from T on stand alone. */
static int64_t neighbour(const local_job *j, int64_t n, int k)
{
    const int64_t area = j->gh * j->gw, t = n / area, i = n % area / j->gw + k / 3 % 3 - 1, c = n % j->gw + k % 3 - 1;
    const int64_t to = t + k / 9 - 1;
    if (i < 0 || i >= j->gh || c < 0 || c >= j->gw) return -1;
    if (to != t && (t >= j->T || to < 0 || to >= j->T)) return -1;
    return (to * j->gh + i) * j->gw + c;
}

/* acc += taps of w, in order (reverse: from the last), times the neighbours of row in s. */
HM_CLONES static void gather(const local_job *j, const void *s, hm_dtype t, int64_t row, bool reverse, float *restrict acc)
{
    const int64_t D = j->D, n = row % j->N, first = row - n;
    float v[MAX_D];
    for (int k = 0; k < TAPS; k++) {
        const int64_t at = neighbour(j, n, k);
        if (at < 0) continue;
        const float *restrict w = j->w + (reverse ? TAPS - 1 - k : k) * D;
        hm_load(v, s, t, (first + at) * D, D);
#pragma omp simd
        for (int64_t d = 0; d < D; d++) acc[d] += w[d] * v[d];
    }
}

HM_CLONES static void weigh(const local_job *j, int64_t row, const float *restrict dy, float *part)
{
    const int64_t D = j->D, n = row % j->N, first = row - n;
    float v[MAX_D];
    for (int k = 0; k < TAPS; k++) {
        const int64_t at = neighbour(j, n, k);
        if (at < 0) continue;
        float *restrict p = part + k * D;
        hm_load(v, j->x, j->tx, (first + at) * D, D);
#pragma omp simd
        for (int64_t d = 0; d < D; d++) p[d] += dy[d] * v[d];
    }
}

static void fwd_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    const local_job *j = ctx;
    float acc[MAX_D];
    for (int64_t r = from; r < to; r++) {
        hm_load(acc, j->x, j->tx, r * j->D, j->D);
        gather(j, j->x, j->tx, r, false, acc);
        hm_store(j->y, j->ty, r * j->D, acc, j->D);
    }
}

static void bwd_range(void *ctx, int64_t from, int64_t to, int tid)
{
    const local_job *j = ctx;
    float acc[MAX_D];
    for (int64_t r = from; r < to; r++) {
        hm_load(acc, j->dy, j->ty, r * j->D, j->D);
        if (j->part) weigh(j, r, acc, j->part + tid * TAPS * j->D);
        if (!j->dx.data) continue;
        gather(j, j->dy, j->ty, r, true, acc);
        hm_store_sink(j->dx, r * j->D, acc, j->D);
    }
}

static void local_back(hm_graph *g, hm_node *n)
{
    hm_tensor *x = n->in[0], *w = n->in[1], *dy = n->y->grad;
    local_job j = {.x = x->data, .tx = x->dtype, .dy = dy->data, .ty = dy->dtype, .w = n->p[0],
                   .N = n->i[0], .T = n->i[1], .gh = n->i[2], .gw = n->i[3], .D = hm_last(x)};
    if (hm_wants(x)) j.dx = hm_grad(g, x);
    const hm_sink dw = hm_wants(w) ? hm_grad_zeroed(g, w) : (hm_sink){0};
    const uint64_t mark = hm_scratch(g);
    if (hm_wants(w)) j.part = hm_alloc(g, (uint64_t)(g->threads * TAPS * j.D) * sizeof(float));
    if (!g->opts.plan) {
        if (j.part) memset(j.part, 0, (size_t)(g->threads * TAPS * j.D) * sizeof(float));
        hm_parallel(g, hm_rows(x), 1, 2 * TAPS * j.D, bwd_range, &j);
        if (j.part) hm_colsum(g, dw, j.part, HM_F32, g->threads, TAPS * j.D);
    }
    hm_scratch_end(g, mark);
}

hm_tensor *hm_local_mix(hm_graph *g, hm_tensor *x, hm_tensor *w, const int64_t grid[3])
{
    const int64_t D = hm_last(x), N = x->dim[1], area = grid[1] * grid[2];
    assert(x->nd == 3 && D <= MAX_D && w->nd == 2 && w->dim[0] == TAPS && w->dim[1] == D && N % area == 0 && N >= grid[0] * area);
    const double t0 = hm_prof_now();
    hm_tensor *y = hm_like(g, x, x->dtype);
    const void *weights = hm_keep(g, hm_as(g, w, HM_F32), (uint64_t)(TAPS * D) * sizeof(float));
    local_job j = {.x = x->data, .tx = x->dtype, .ty = y->dtype, .y = y->data, .w = weights,
                   .N = N, .T = grid[0], .gh = grid[1], .gw = grid[2], .D = D};
    if (!g->opts.plan) hm_parallel(g, hm_rows(x), 1, TAPS * D, fwd_range, &j);
    hm_node *n = hm_record(g, HM_OP_CONV, local_back, y, HM_IN(x, w));
    if (n) {
        n->p[0] = (void *)(uintptr_t)weights;
        n->i[0] = N;
        for (int k = 0; k < 3; k++) n->i[1 + k] = grid[k];
    }
    g->prof[HM_OP_CONV].fwd += hm_prof_now() - t0;
    return y;
}
