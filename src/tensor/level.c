/* level.c - noise levels: modulation tables and sinusoids; weighted mean over tokens.   SPDX-License-Identifier: MIT
 * Small tensors (levels, not tokens), so plain loops do. */
#include <math.h>
#include "tensor/graph.h"

static void table_back(hm_graph *g, hm_node *n)
{
    hm_tensor *e = n->in[0], *table = n->in[1];
    const hm_tensor *dm = n->y->grad;
    const int64_t R = dm->dim[0], S = dm->dim[1], D = dm->dim[2];
    const bool broadcast = n->i[0] != 0;
    if (hm_wants(table)) {
        const hm_sink k = hm_grad(g, table);
        if (!g->opts.plan) hm_colsum(g, k, dm->data, HM_F32, R, S * D);
    }
    if (!hm_wants(e)) return;
    const hm_sink k = hm_grad(g, e);
    if (g->opts.plan) return;
    if (!broadcast) {
        hm_copy(g, k.data, k.dtype, k.add, dm->data, HM_F32, R * S * D);
        return;
    }
    const size_t size = hm_dtype_size(k.dtype);
    for (int64_t r = 0; r < R; r++) /* every slot of a level adds into its row */
        hm_colsum(g, (hm_sink){(char *)k.data + (size_t)(r * D) * size, k.dtype, k.add},
                  (const float *)dm->data + r * S * D, HM_F32, S, D);
}

typedef struct {
    const hm_tensor *e;
    const float *table;
    float *y;
    int64_t S, D;
    bool broadcast;
} table_job;

HM_CLONES static void table_rows(const table_job *j, int64_t from, int64_t to)
{
    const int64_t S = j->S, D = j->D;
    for (int64_t r = from; r < to; r++)
        for (int64_t s = 0; s < S; s++) {
            float *restrict y = j->y + (r * S + s) * D;
            const float *restrict t = j->table + s * D;
            hm_load(y, j->e->data, j->e->dtype, j->broadcast ? r * D : (r * S + s) * D, D);
#pragma omp simd
            for (int64_t i = 0; i < D; i++) y[i] += t[i];
        }
}

static void table_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    table_rows(ctx, from, to);
}

hm_tensor *hm_mod_table(hm_graph *g, hm_tensor *e, hm_tensor *table)
{
    assert(table->nd == 2);
    const int64_t R = hm_rows(e), S = table->dim[0], D = table->dim[1];
    const bool broadcast = hm_last(e) == D && S != 1;
    assert(broadcast || hm_last(e) == S * D);
    hm_tensor *y = hm_new(g, HM_F32, HM_DIMS(R, S, D));
    const uint64_t mark = hm_scratch(g);
    table_job j = {e, hm_as(g, table, HM_F32), y->data, S, D, broadcast};
    if (!g->opts.plan) hm_parallel(g, R, 1, S * D, table_range, &j);
    hm_scratch_end(g, mark);
    hm_node *n = hm_record(g, HM_OP_NORM, table_back, y, HM_IN(e, table));
    if (n) n->i[0] = broadcast;
    return y;
}

hm_tensor *hm_sinusoid(hm_graph *g, const float *t, int64_t n, int64_t width)
{
    assert(width % 2 == 0);
    hm_tensor *y = hm_new(g, HM_F32, HM_DIMS(n, width));
    if (g->opts.plan) return y;
    const int64_t half = width / 2;
    float *d = y->data;
    for (int64_t i = 0; i < half; i++) {
        const float f = expf(-logf(10000.0f) * (float)i / (float)half); /* f32 as in diffusers' get_timestep_embedding */
        for (int64_t r = 0; r < n; r++) {
            d[r * width + i] = cosf(t[r] * f);
            d[r * width + half + i] = sinf(t[r] * f);
        }
    }
    return y;
}

/* ---- weighted mean over tokens ---- */

typedef struct {
    const void *x;
    hm_dtype t;
    hm_sink to;
    const float *w;
    int64_t N, D;
} mean_job;

static float weight_sum(const mean_job *j, int64_t b)
{
    float s = 0;
    for (int64_t i = 0; i < j->N; i++) s += j->w[b * j->N + i];
    return s > 1e-9f ? s : 1e-9f; /* nothing to average: 0 */
}

HM_CLONES static void mean_fwd(const mean_job *j, int64_t b)
{
    const float inv = 1.0f / weight_sum(j, b);
    float acc[512], x[512];
    for (int64_t c = 0; c < j->D; c += 512) {
        const int64_t n = HM_MIN((int64_t)512, j->D - c);
        memset(acc, 0, sizeof acc);
        for (int64_t i = 0; i < j->N; i++) {
            const float w = j->w[b * j->N + i] * inv;
            hm_load(x, j->x, j->t, (b * j->N + i) * j->D + c, n);
#pragma omp simd
            for (int64_t k = 0; k < n; k++) acc[k] += w * x[k];
        }
        hm_store_sink(j->to, b * j->D + c, acc, n);
    }
}

HM_CLONES static void mean_bwd(const mean_job *j, int64_t b)
{
    const float inv = 1.0f / weight_sum(j, b);
    float d[512], x[512];
    for (int64_t c = 0; c < j->D; c += 512) {
        const int64_t n = HM_MIN((int64_t)512, j->D - c);
        hm_load(d, j->x, j->t, b * j->D + c, n);
        for (int64_t i = 0; i < j->N; i++) {
            const float w = j->w[b * j->N + i] * inv;
#pragma omp simd
            for (int64_t k = 0; k < n; k++) x[k] = w * d[k];
            hm_store_sink(j->to, (b * j->N + i) * j->D + c, x, n);
        }
    }
}

static void mean_fwd_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    for (int64_t b = from; b < to; b++) mean_fwd(ctx, b);
}

static void mean_bwd_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    for (int64_t b = from; b < to; b++) mean_bwd(ctx, b);
}

static void mean_back(hm_graph *g, hm_node *n)
{
    hm_tensor *x = n->in[0], *dy = n->y->grad;
    mean_job j = {dy->data, dy->dtype, hm_grad(g, x), n->p[0], x->dim[1], x->dim[2]};
    if (!g->opts.plan) hm_parallel(g, x->dim[0], 1, j.N * j.D, mean_bwd_range, &j);
}

hm_tensor *hm_mean_rows(hm_graph *g, hm_tensor *x, const hm_tensor *weight)
{
    assert(x->nd == 3 && weight->dtype == HM_F32 && hm_numel(weight) == x->dim[0] * x->dim[1]);
    hm_tensor *y = hm_new(g, x->dtype, HM_DIMS(x->dim[0], x->dim[2]));
    mean_job j = {x->data, x->dtype, {y->data, y->dtype, false}, weight->data, x->dim[1], x->dim[2]};
    if (!g->opts.plan) hm_parallel(g, x->dim[0], 1, j.N * j.D, mean_fwd_range, &j);
    hm_node *n = hm_record(g, HM_OP_SHAPE, mean_back, y, HM_IN(x));
    if (n) n->p[0] = weight->data;
    return y;
}
