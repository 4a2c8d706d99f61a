/* map.c - elementwise ops and RoPE: one pass forward, one fused pass backward.   SPDX-License-Identifier: MIT
 * Chunks of CHUNK elements are widened to f32 on the stack, worked on and narrowed again. */
#include "tensor/graph.h"

typedef enum { OP_ADD, OP_SUB, OP_MUL, OP_SCALE, OP_SILU, OP_GELU, OP_RELU } map_op;
enum { CHUNK = 512 };

typedef struct {
    map_op op;
    float s;
    const void *a, *b, *dy;
    hm_dtype ta, tb, ty;
    void *y;          /* forward */
    hm_sink da, db;   /* backward; data NULL: not wanted */
} map_job;

HM_CLONES static void map_fwd(const map_job *j, int64_t at, int64_t n)
{
    float a[CHUNK], b[CHUNK];
    hm_load(a, j->a, j->ta, at, n);
    if (j->b) hm_load(b, j->b, j->tb, at, n);
    const float s = j->s;
    switch (j->op) {
    case OP_ADD:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) a[i] += b[i];
        break;
    case OP_SUB:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) a[i] -= b[i];
        break;
    case OP_MUL:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) a[i] *= b[i];
        break;
    case OP_SCALE:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) a[i] *= s;
        break;
    case OP_SILU:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) a[i] *= hm_sigmoid(a[i]);
        break;
    case OP_GELU:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) a[i] = hm_gelu1(a[i]);
        break;
    case OP_RELU:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) a[i] = a[i] < 0 ? 0 : a[i]; /* NaN stays */
        break;
    }
    hm_store(j->y, j->ty, at, a, n);
}

HM_CLONES static void map_bwd(const map_job *j, int64_t at, int64_t n)
{
    float a[CHUNK], b[CHUNK], d[CHUNK];
    hm_load(d, j->dy, j->ty, at, n);
    if (j->a) hm_load(a, j->a, j->ta, at, n);
    if (j->b) hm_load(b, j->b, j->tb, at, n);
    const float s = j->s;
    switch (j->op) {
    case OP_ADD:
        if (j->db.data) hm_store_sink(j->db, at, d, n);
        break;
    case OP_SUB:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) b[i] = -d[i];
        if (j->db.data) hm_store_sink(j->db, at, b, n);
        break;
    case OP_MUL:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const float v = d[i] * a[i];
            d[i] *= b[i];
            a[i] = v;
        }
        if (j->db.data) hm_store_sink(j->db, at, a, n);
        break;
    case OP_SCALE:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) d[i] *= s;
        break;
    case OP_SILU:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const float v = hm_sigmoid(a[i]);
            d[i] *= v * (1.0f + a[i] * (1.0f - v));
        }
        break;
    case OP_GELU:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) d[i] *= hm_gelu1_slope(a[i]);
        break;
    case OP_RELU:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) d[i] = a[i] > 0 ? d[i] : 0;
        break;
    }
    if (j->da.data) hm_store_sink(j->da, at, d, n);
}

static void fwd_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    for (int64_t i = from; i < to; i += CHUNK) map_fwd(ctx, i, HM_MIN((int64_t)CHUNK, to - i));
}

static void bwd_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    for (int64_t i = from; i < to; i += CHUNK) map_bwd(ctx, i, HM_MIN((int64_t)CHUNK, to - i));
}

static void map_back(hm_graph *g, hm_node *n)
{
    hm_tensor *a = n->in[0], *b = n->in[1], *dy = n->y->grad;
    const map_op op = (map_op)n->i[0];
    map_job j = {.op = op, .s = n->f[0], .dy = dy->data, .ty = dy->dtype};
    if (op != OP_ADD && op != OP_SUB && op != OP_SCALE) j.a = a->data, j.ta = a->dtype;
    if (op == OP_MUL) j.b = b->data, j.tb = b->dtype;
    if (hm_wants(b)) j.db = hm_grad(g, b);
    /* dy itself becomes da where it can: in place, or as it stands for a sum */
    const bool same = hm_wants(a) && hm_grad_steal(g, a, n->y);
    if (same) j.da = (hm_sink){dy->data, dy->dtype, false};
    else if (hm_wants(a)) j.da = hm_grad(g, a);
    if (same && (op == OP_ADD || op == OP_SUB)) j.da.data = NULL;
    if (!g->opts.plan) hm_parallel(g, hm_numel(dy), CHUNK, 2, bwd_range, &j);
}

static hm_tensor *map(hm_graph *g, map_op op, hm_tensor *a, hm_tensor *b, float s)
{
    assert(!b || hm_numel(a) == hm_numel(b));
    const double t0 = hm_prof_now();
    hm_tensor *y = hm_like(g, a, a->dtype);
    map_job j = {.op = op, .s = s, .a = a->data, .ta = a->dtype, .y = y->data, .ty = y->dtype};
    if (b) j.b = b->data, j.tb = b->dtype;
    if (!g->opts.plan) hm_parallel(g, hm_numel(a), CHUNK, 2, fwd_range, &j);
    hm_node *n = hm_record(g, HM_OP_MAP, map_back, y, HM_IN(a, b));
    if (n) n->i[0] = op, n->f[0] = s;
    g->prof[HM_OP_MAP].fwd += hm_prof_now() - t0;
    return y;
}

hm_tensor *hm_add_t(hm_graph *g, hm_tensor *a, hm_tensor *b) { return map(g, OP_ADD, a, b, 0); }
hm_tensor *hm_sub_t(hm_graph *g, hm_tensor *a, hm_tensor *b) { return map(g, OP_SUB, a, b, 0); }
hm_tensor *hm_mul_t(hm_graph *g, hm_tensor *a, hm_tensor *b) { return map(g, OP_MUL, a, b, 0); }
hm_tensor *hm_scale_t(hm_graph *g, hm_tensor *a, float s) { return map(g, OP_SCALE, a, NULL, s); }
hm_tensor *hm_silu(hm_graph *g, hm_tensor *x) { return map(g, OP_SILU, x, NULL, 0); }
hm_tensor *hm_gelu(hm_graph *g, hm_tensor *x) { return map(g, OP_GELU, x, NULL, 0); }
hm_tensor *hm_relu(hm_graph *g, hm_tensor *x) { return map(g, OP_RELU, x, NULL, 0); }

/* ---- RoPE ---- */

typedef struct {
    const void *x;
    hm_dtype t;
    hm_sink y;
    const float *cosine, *sine;
    int64_t D, N, P, table_rows; /* P: pairs in a table row; table_rows: N, or B*N */
    float sign;               /* +1 forward, -1 backward: the inverse rotation */
} rope_job;

HM_CLONES static void rope_chunk(const rope_job *j, int64_t row, int64_t at, int64_t n)
{
    float x[CHUNK], y[CHUNK];
    const int64_t tab = (j->table_rows == j->N ? row % j->N : row) * j->P + at / 2 % j->P;
    const float *c = j->cosine + tab, *s = j->sine + tab, sign = j->sign;
    hm_load(x, j->x, j->t, row * j->D + at, n);
#pragma omp simd
    for (int64_t p = 0; p < n / 2; p++) {
        const float a = x[2 * p], b = x[2 * p + 1], sn = sign * s[p];
        y[2 * p] = a * c[p] - b * sn;
        y[2 * p + 1] = b * c[p] + a * sn;
    }
    hm_store_sink(j->y, row * j->D + at, y, n);
}

static void rope_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    const rope_job *j = ctx;
    const int64_t step = HM_MIN((int64_t)CHUNK, 2 * j->P);
    for (int64_t r = from; r < to; r++)
        for (int64_t i = 0; i < j->D; i += step) rope_chunk(j, r, i, HM_MIN(step, j->D - i));
}

static void rope_back(hm_graph *g, hm_node *n)
{
    hm_tensor *x = n->in[0], *dy = n->y->grad;
    rope_job j = {.x = dy->data, .t = dy->dtype, .cosine = n->p[0], .sine = n->p[1], .D = hm_last(x), .N = n->i[0],
                  .P = n->i[2], .table_rows = n->i[1], .sign = -1};
    j.y = hm_grad_steal(g, x, n->y) ? (hm_sink){dy->data, dy->dtype, false} : hm_grad(g, x);
    if (!g->opts.plan) hm_parallel(g, hm_rows(x), 1, j.D, rope_range, &j);
}

hm_tensor *hm_rope(hm_graph *g, hm_tensor *x, const hm_tensor *cosine, const hm_tensor *sine)
{
    const int64_t half = x->dim[2] / 2, P = hm_last(cosine);
    assert(x->nd == 3 && x->dim[2] % 2 == 0 && hm_numel(cosine) == hm_numel(sine));
    assert(P == half || (P <= CHUNK / 2 && half % P == 0));
    const double t0 = hm_prof_now();
    const int64_t N = x->dim[1], table_rows = hm_rows(cosine);
    assert(cosine->dtype == HM_F32 && sine->dtype == HM_F32 && (table_rows == N || table_rows == x->dim[0] * N));
    hm_tensor *y = hm_like(g, x, x->dtype);
    rope_job j = {x->data, x->dtype, {y->data, y->dtype, false}, cosine->data, sine->data, x->dim[2], N, P,
                  table_rows, 1};
    if (!g->opts.plan) hm_parallel(g, hm_rows(x), 1, j.D, rope_range, &j);
    hm_node *n = hm_record(g, HM_OP_ROPE, rope_back, y, HM_IN(x));
    if (n) {
        n->p[0] = cosine->data; /* constants: the caller keeps them until backward */
        n->p[1] = sine->data;
        n->i[0] = N;
        n->i[1] = table_rows;
        n->i[2] = P;
    }
    g->prof[HM_OP_ROPE].fwd += hm_prof_now() - t0;
    return y;
}
