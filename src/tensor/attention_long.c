/* attention_long.c - attention with keys in blocks and a running softmax; see attention_long.h.   SPDX-License-Identifier: MIT
 *   a few heads at a time: K as blocks [h][kb], V as blocks [kb][h], packed once for all queries
 *   task = one head, one block of queries, on one thread: for every block of keys
 *     S = Q K^T [nq,kb] -> top' = max(top, S), P = exp(S - top'), sum' = sum e^(top-top') + P 1, O' = O e^(top-top') + P V
 * so that S, P, O and a block of keys stay in a core's second cache however long the film is (1 MB: 256 x 256 scores of 4
 * bytes, P, O of 128 columns, K, V). What a task does depends on neither the threads nor the other tasks.
 * Source: the running softmax of arXiv 1805.02867, blocks as in arXiv 2205.14135. */
#include "tensor/attention_long.h"

#include "tensor/dnnl.h"

enum { Q_ROWS = 256, K_ROWS = 256, WIDE_HEAD = 160 };
static const float lowest = -3e38f;

typedef struct {
    float *s, *o, *top, *sum, *back; /* [nq][kb], [nq][h]; of each row: largest score, sum of exponentials, e^(old top - top) */
    void *p, *q;
} lane_mem;

typedef struct {
    hm_graph *g;
    const hm_tensor *q, *k, *v;
    hm_tensor *y;
    int64_t B, N, M, K, h, D, qb, kb, n_q, n_k, group;
    float scale;
    char *kp, *vp;       /* [group][M][h], blocks one after the other */
    lane_mem *lane;
    int64_t b, first, n; /* batch element and heads in work */
    hm_prim *qk[2][2], *pv[2][2][2]; /* [last queries][last keys][later block] */
} longer;

static int64_t rows_of(int64_t all, int64_t block, int64_t i) { return HM_MIN(block, all - i * block); }
static size_t width(const longer *a) { return hm_dtype_size(a->q->dtype); }

/* ---- packing ---- */

HM_CLONES static void transpose16(uint16_t *restrict to, const uint16_t *restrict from, int64_t stride, int64_t rows, int64_t h)
{
    for (int64_t c0 = 0; c0 < h; c0 += 16)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = c0; c < HM_MIN(h, c0 + 16); c++) to[c * rows + r] = from[r * stride + c];
}

HM_CLONES static void transpose32(uint32_t *restrict to, const uint32_t *restrict from, int64_t stride, int64_t rows, int64_t h)
{
    for (int64_t c0 = 0; c0 < h; c0 += 16)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = c0; c < HM_MIN(h, c0 + 16); c++) to[c * rows + r] = from[r * stride + c];
}

static void copy_rows(const longer *a, char *to, const hm_tensor *x, int64_t row, int64_t head, int64_t rows)
{
    const size_t n = (size_t)a->h * width(a);
    for (int64_t r = 0; r < rows; r++)
        memcpy(to + (size_t)r * n, (const char *)x->data + (size_t)((row + r) * a->D + head * a->h) * width(a), n);
}

/* Block task % n_k of head first + task / n_k. */
static void pack_task(void *ctx, int64_t task, int64_t to, int tid)
{
    (void)to, (void)tid;
    const longer *a = ctx;
    const int64_t blk = task % a->n_k, i = task / a->n_k, row = a->b * a->M + blk * a->kb, n = rows_of(a->M, a->kb, blk);
    const size_t at = (size_t)((i * a->M + blk * a->kb) * a->h) * width(a);
    const char *from = (const char *)a->k->data + (size_t)(row * a->D + (a->first + i) * a->h) * width(a);
    if (width(a) == 2) transpose16((uint16_t *)(void *)(a->kp + at), (const uint16_t *)(const void *)from, a->D, n, a->h);
    else transpose32((uint32_t *)(void *)(a->kp + at), (const uint32_t *)(const void *)from, a->D, n, a->h);
    copy_rows(a, a->vp + at, a->v, row, a->first + i, n);
}

/* ---- a row's softmax goes on ---- */

HM_CLONES static void go_on(const float *restrict s, void *p, hm_dtype t, int64_t n, float scale, float *top, float *sum, float *back)
{
    float most = lowest, part = 0;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; i++) most = s[i] > most ? s[i] : most;
    const float now = HM_MAX(*top, most * scale);
    if (t == HM_BF16) {
        uint16_t *restrict d = p;
#pragma omp simd reduction(+ : part)
        for (int64_t i = 0; i < n; i++) {
            const float e = hm_exp(s[i] * scale - now);
            part += e;
            d[i] = hm_lane_put(e);
        }
    } else {
        float *restrict d = p;
#pragma omp simd reduction(+ : part)
        for (int64_t i = 0; i < n; i++) {
            d[i] = hm_exp(s[i] * scale - now);
            part += d[i];
        }
    }
    *back = *top == now ? 1.0f : hm_exp(*top - now);
    *sum = *sum * *back + part;
    *top = now;
}

HM_CLONES static void scale_row(float *restrict o, int64_t n, float by)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) o[i] *= by;
}

static void query_task(void *ctx, int64_t task, int64_t to, int tid)
{
    (void)to;
    const longer *a = ctx;
    const lane_mem *l = &a->lane[tid];
    const int64_t blk = task % a->n_q, i = task / a->n_q, nq = rows_of(a->N, a->qb, blk), row = a->b * a->N + blk * a->qb;
    const int q_tail = blk == a->n_q - 1;
    copy_rows(a, l->q, a->q, row, a->first + i, nq);
    for (int64_t r = 0; r < nq; r++) l->top[r] = lowest, l->sum[r] = 0;
    for (int64_t j = 0; j < a->n_k; j++) {
        const int64_t nk = rows_of(a->M, a->kb, j);
        const size_t at = (size_t)((i * a->M + j * a->kb) * a->h) * width(a);
        const int k_tail = j == a->n_k - 1;
        hm_mm_run(a->qk[q_tail][k_tail], tid, l->q, a->kp + at, NULL, l->s);
        for (int64_t r = 0; r < nq; r++) {
            go_on(l->s + r * nk, (char *)l->p + (size_t)(r * nk) * width(a), a->q->dtype, nk, a->scale, &l->top[r], &l->sum[r], &l->back[r]);
            if (j && l->back[r] != 1.0f) scale_row(l->o + r * a->h, a->h, l->back[r]);
        }
        hm_mm_run(a->pv[q_tail][k_tail][j > 0], tid, l->p, a->vp + at, NULL, l->o);
    }
    for (int64_t r = 0; r < nq; r++) {
        scale_row(l->o + r * a->h, a->h, 1.0f / l->sum[r]);
        hm_store(a->y->data, a->y->dtype, (row + r) * a->D + (a->first + i) * a->h, l->o + r * a->h, a->h);
    }
}

/* ---- the op ---- */

static hm_prim *product(const longer *a, int64_t m, int64_t n, int64_t k, bool add)
{
    hm_mm d;
    memset(&d, 0, sizeof d);
    d.batch = 1;
    d.m = m, d.n = n, d.k = k;
    d.a[0] = m * k, d.a[1] = k, d.a[2] = 1;
    d.b[0] = k * n, d.b[1] = n, d.b[2] = 1;
    d.c[0] = m * n, d.c[1] = n, d.c[2] = 1;
    d.ta = d.tb = a->q->dtype;
    d.tc = d.tbias = HM_F32;
    d.alpha = 1;
    d.beta = add;
    d.serial = 1;
    return hm_mm_get(a->g->dnnl, &d);
}

static void prepare(longer *a)
{
    for (int tq = 0; tq < 2; tq++)
        for (int tk = 0; tk < 2; tk++) {
            const int64_t nq = rows_of(a->N, a->qb, tq ? a->n_q - 1 : 0), nk = rows_of(a->M, a->kb, tk ? a->n_k - 1 : 0);
            a->qk[tq][tk] = product(a, nq, nk, a->h, false);
            for (int later = 0; later < 2; later++) a->pv[tq][tk][later] = product(a, nq, a->h, nk, later);
        }
}

/* Blocks as even as whole 32s allow. */
static int64_t even(int64_t all, int64_t most)
{
    const int64_t n = (all + most - 1) / most;
    return HM_MIN(((all + n - 1) / n + 31) / 32 * 32, all);
}

static void scratch(longer *a)
{
    hm_graph *g = a->g;
    const uint64_t z = width(a), qb = (uint64_t)a->qb, kb = (uint64_t)a->kb, h = (uint64_t)a->h;
    a->kp = hm_alloc(g, (uint64_t)(a->group * a->M) * h * z);
    a->vp = hm_alloc(g, (uint64_t)(a->group * a->M) * h * z);
    a->lane = hm_alloc(g, (uint64_t)g->threads * sizeof *a->lane);
    for (int i = 0; i < g->threads; i++) {
        const lane_mem l = {.s = hm_alloc(g, qb * kb * sizeof(float)), .o = hm_alloc(g, qb * h * sizeof(float)), .top = hm_alloc(g, qb * sizeof(float)),
                            .sum = hm_alloc(g, qb * sizeof(float)), .back = hm_alloc(g, qb * sizeof(float)), .p = hm_alloc(g, qb * kb * z),
                            .q = hm_alloc(g, qb * h * z)};
        if (!g->opts.plan) a->lane[i] = l;
    }
}

void hm_attention_long(hm_graph *g, const hm_tensor *q, const hm_tensor *k, const hm_tensor *v, hm_tensor *y, int n_heads, float scale)
{
    longer a = {.g = g, .q = q, .k = k, .v = v, .y = y, .B = q->dim[0], .N = q->dim[1], .M = k->dim[1], .K = n_heads,
                .h = q->dim[2] / n_heads, .D = q->dim[2], .scale = scale};
    a.qb = even(a.N, a.h > WIDE_HEAD ? Q_ROWS / 2 : Q_ROWS);
    a.kb = even(a.M, a.h > WIDE_HEAD ? K_ROWS / 2 : K_ROWS);
    a.n_q = (a.N + a.qb - 1) / a.qb, a.n_k = (a.M + a.kb - 1) / a.kb;
    a.group = HM_MIN(a.K, (8 * (int64_t)g->threads + a.n_q - 1) / a.n_q);
    const uint64_t mark = hm_scratch(g);
    scratch(&a);
    if (!g->opts.plan) {
        prepare(&a);
        for (a.b = 0; a.b < a.B; a.b++)
            for (a.first = 0; a.first < a.K; a.first += a.group) {
                a.n = HM_MIN(a.group, a.K - a.first);
                hm_parallel_tasks(g, a.n * a.n_k, pack_task, &a);
                hm_parallel_tasks(g, a.n * a.n_q, query_task, &a);
            }
    }
    hm_scratch_end(g, mark);
}
