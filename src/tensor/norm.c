/* norm.c - RMS and LayerNorm with weights or with modulation per noise level; gated residuals.
 * SPDX-License-Identifier: MIT
 *   y = xhat * (one + scale[row]) + shift[row], xhat = (x - mean) * rstd (RMS: mean 0)
 * covers all: rmsnorm has one = 0, scale = w; norm_modulate one = 1, scale and shift from mod.
 * Backward, with h = dy * (one + scale): dx = rstd (h - mean(h) - xhat mean(h xhat)) (RMS: without mean(h));
 * dscale[row] += dy xhat, dshift[row] += dy: partial sums per thread over a fixed part of the tokens, then added in
 * the order of the parts. */
#include <math.h>
#include "tensor/graph.h"

enum { MAX_D = 16384 }; /* widest row: a stack buffer per thread */

typedef struct {
    const void *x, *dy;
    hm_dtype tx, ty;
    void *y;
    hm_sink dx;                 /* data NULL: not wanted */
    const float *scale, *shift; /* NULL: none; row r at r * stride */
    int64_t stride, D;
    const int32_t *row;         /* NULL: row 0 for all */
    float one, eps;
    bool layer;
    float *stats;               /* [tokens][2] mean, rstd; NULL: not kept */
    float *part;                /* backward: [threads][R][2][D] dscale, dshift; NULL: not wanted */
    int64_t R;
} norm_job;

HM_CLONES static void norm_fwd(const norm_job *j, int64_t from, int64_t to)
{
    const int64_t D = j->D;
    float x[MAX_D];
    for (int64_t t = from; t < to; t++) {
        hm_load(x, j->x, j->tx, t * D, D);
        float mean = 0, ss = 0;
        if (j->layer) {
#pragma omp simd reduction(+ : mean)
            for (int64_t i = 0; i < D; i++) mean += x[i];
            mean /= (float)D;
        }
#pragma omp simd reduction(+ : ss)
        for (int64_t i = 0; i < D; i++) ss += (x[i] - mean) * (x[i] - mean);
        const float rstd = 1.0f / sqrtf(ss / (float)D + j->eps), one = j->one;
        if (j->stats) j->stats[2 * t] = mean, j->stats[2 * t + 1] = rstd;
        const int64_t r = j->row ? j->row[t] * j->stride : 0;
        const float *restrict sc = j->scale ? j->scale + r : NULL, *restrict sh = j->shift ? j->shift + r : NULL;
        if (sc && sh) {
#pragma omp simd
            for (int64_t i = 0; i < D; i++) x[i] = (x[i] - mean) * rstd * (one + sc[i]) + sh[i];
        } else if (sc) {
#pragma omp simd
            for (int64_t i = 0; i < D; i++) x[i] = (x[i] - mean) * rstd * (one + sc[i]);
        } else {
#pragma omp simd
            for (int64_t i = 0; i < D; i++) x[i] = (x[i] - mean) * rstd;
            if (sh)
#pragma omp simd
                for (int64_t i = 0; i < D; i++) x[i] += sh[i];
        }
        hm_store(j->y, j->ty, t * D, x, D);
    }
}

HM_CLONES static void norm_bwd(const norm_job *j, int64_t from, int64_t to, float *part)
{
    const int64_t D = j->D;
    float x[MAX_D], d[MAX_D];
    for (int64_t t = from; t < to; t++) {
        hm_load(x, j->x, j->tx, t * D, D);
        hm_load(d, j->dy, j->ty, t * D, D);
        const float mean = j->stats[2 * t], rstd = j->stats[2 * t + 1], one = j->one;
        const int64_t row = j->row ? j->row[t] : 0;
        float sum = 0, dot = 0;
#pragma omp simd
        for (int64_t i = 0; i < D; i++) x[i] = (x[i] - mean) * rstd;
        if (part) {
            float *restrict ps = part + row * 2 * D, *restrict pt = ps + D;
#pragma omp simd
            for (int64_t i = 0; i < D; i++) {
                ps[i] += d[i] * x[i];
                pt[i] += d[i];
            }
        }
        if (!j->dx.data) continue;
        if (j->scale) {
            const float *restrict sc = j->scale + row * j->stride;
#pragma omp simd
            for (int64_t i = 0; i < D; i++) d[i] *= one + sc[i];
        }
#pragma omp simd reduction(+ : sum, dot)
        for (int64_t i = 0; i < D; i++) {
            sum += d[i];
            dot += d[i] * x[i];
        }
        sum = j->layer ? sum / (float)D : 0;
        dot /= (float)D;
#pragma omp simd
        for (int64_t i = 0; i < D; i++) d[i] = rstd * (d[i] - sum - x[i] * dot);
        hm_store_sink(j->dx, t * D, d, D);
    }
}

static void fwd_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    norm_fwd(ctx, from, to);
}

static void bwd_range(void *ctx, int64_t from, int64_t to, int tid)
{
    const norm_job *j = ctx;
    norm_bwd(j, from, to, j->part ? j->part + tid * j->R * 2 * j->D : NULL);
}

/* Adds part[*][r][which] into row r of dst at r * stride, parts in order. */
typedef struct {
    const float *part;
    int64_t R, D, stride, parts;
    hm_sink dst;
    int which, n_which;
} sum_job;

HM_CLONES static void sum_row(const sum_job *j, int64_t r)
{
    float acc[1024];
    for (int64_t c = 0; c < j->D; c += 1024) {
        const int64_t n = HM_MIN((int64_t)1024, j->D - c);
        memset(acc, 0, sizeof acc);
        for (int64_t p = 0; p < j->parts; p++) {
            const float *restrict s = j->part + ((p * j->R + r) * j->n_which + j->which) * j->D + c;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) acc[i] += s[i];
        }
        hm_store_sink(j->dst, r * j->stride + c, acc, n);
    }
}

static void sum_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    for (int64_t r = from; r < to; r++) sum_row(ctx, r);
}

static float *parts_new(hm_graph *g, int64_t R, int64_t D, int n_which)
{
    const uint64_t bytes = (uint64_t)(g->threads * R * n_which * D) * sizeof(float);
    float *p = hm_alloc(g, bytes);
    if (!g->opts.plan) memset(p, 0, bytes);
    return p;
}

static void parts_add(hm_graph *g, const sum_job *j)
{
    if (!g->opts.plan) hm_parallel(g, j->R, 1, j->D * j->parts, sum_range, (void *)j);
}

/* n->i: 0 layer, 1 shift slot, 2 scale slot, 3 R, 4 stride; n->f[0] one; n->p: 0 stats, 1 rows, 2 scale f32 */
static void norm_back(hm_graph *g, hm_node *n)
{
    hm_tensor *x = n->in[0], *dy = n->y->grad, *mod = n->in[3];
    const int64_t D = hm_last(x), tokens = hm_rows(x), R = n->i[3], stride = n->i[4];
    norm_job j = {.x = x->data, .tx = x->dtype, .dy = dy->data, .ty = dy->dtype, .scale = n->p[2], .stride = stride,
                  .D = D, .row = n->p[1], .one = n->f[0], .layer = n->i[0] != 0, .stats = n->p[0], .R = R};
    if (hm_wants(x)) { /* in place of dy where it is the first contribution */
        if (hm_grad_steal(g, x, n->y)) j.dx = (hm_sink){dy->data, dy->dtype, false};
        else j.dx = hm_grad(g, x);
    }
    hm_sink dscale = {0}, dshift = {0};
    const size_t f = sizeof(float);
    if (hm_wants(mod)) {
        const hm_sink k = hm_grad_zeroed(g, mod);
        dscale = dshift = k;
        dscale.data = (char *)k.data + (size_t)(n->i[2] * D) * f;
        dshift.data = (char *)k.data + (size_t)(n->i[1] * D) * f;
    }
    if (hm_wants(n->in[1])) dscale = hm_grad(g, n->in[1]);
    if (hm_wants(n->in[2])) dshift = hm_grad(g, n->in[2]);
    const uint64_t mark = hm_scratch(g);
    if (hm_wants(mod) || hm_wants(n->in[1]) || hm_wants(n->in[2])) j.part = parts_new(g, R, D, 2);
    if (!g->opts.plan) hm_parallel(g, tokens, 1, 4 * D, bwd_range, &j);
    if (dscale.data) parts_add(g, &(sum_job){j.part, R, D, stride, g->threads, dscale, 0, 2});
    if (dshift.data) parts_add(g, &(sum_job){j.part, R, D, stride, g->threads, dshift, 1, 2});
    hm_scratch_end(g, mark);
}

typedef struct {
    hm_tensor *w, *b, *mod; /* weights, or mod with its slots */
    const int32_t *row;
    int shift, scale;
    bool layer;
    float eps;
} norm_opts;

static hm_tensor *norm(hm_graph *g, hm_tensor *x, const norm_opts *o)
{
    const double t0 = hm_prof_now();
    const int64_t D = hm_last(x), tokens = hm_rows(x);
    assert(D <= MAX_D);
    hm_tensor *y = hm_like(g, x, g->opts.act);
    const bool tape = g->opts.tape && (hm_wants(x) || hm_wants(o->w) || hm_wants(o->b) || hm_wants(o->mod));
    const uint64_t mark = hm_scratch(g);
    norm_job j = {.x = x->data, .tx = x->dtype, .ty = y->dtype, .y = y->data, .D = D, .layer = o->layer,
                  .eps = o->eps, .R = 1, .stride = D};
    if (tape) j.stats = hm_alloc(g, (uint64_t)tokens * 2 * sizeof(float));
    if (o->mod) {
        assert(o->mod->nd == 3 && o->mod->dtype == HM_F32 && hm_last(o->mod) == D);
        j.R = o->mod->dim[0];
        j.stride = o->mod->dim[1] * D;
        j.one = 1;
        j.row = hm_keep(g, o->row, (uint64_t)tokens * sizeof *o->row);
        if (o->mod->data) {
            j.scale = (const float *)o->mod->data + o->scale * D;
            j.shift = (const float *)o->mod->data + o->shift * D;
        }
    } else {
        assert((!o->w || hm_numel(o->w) == D) && (!o->b || hm_numel(o->b) == D));
        j.scale = hm_as(g, o->w, HM_F32);
        j.shift = hm_as(g, o->b, HM_F32);
    }
    if (!g->opts.plan) hm_parallel(g, tokens, 1, 3 * D, fwd_range, &j);
    hm_node *n = hm_record(g, HM_OP_NORM, norm_back, y, HM_IN(x, o->w, o->b, o->mod));
    if (n) {
        n->i[0] = o->layer, n->i[1] = o->shift, n->i[2] = o->scale, n->i[3] = j.R, n->i[4] = j.stride;
        n->f[0] = j.one;
        n->p[0] = j.stats, n->p[1] = (void *)j.row, n->p[2] = (void *)j.scale;
    } else {
        hm_scratch_end(g, mark);
    }
    g->prof[HM_OP_NORM].fwd += hm_prof_now() - t0;
    return y;
}

hm_tensor *hm_rmsnorm(hm_graph *g, hm_tensor *x, hm_tensor *w, float eps)
{
    return norm(g, x, &(norm_opts){.w = w, .eps = eps});
}

hm_tensor *hm_layernorm(hm_graph *g, hm_tensor *x, hm_tensor *w, hm_tensor *b, float eps)
{
    return norm(g, x, &(norm_opts){.w = w, .b = b, .eps = eps, .layer = true});
}

hm_tensor *hm_norm_modulate(hm_graph *g, hm_tensor *x, hm_tensor *mod, const int32_t *row, int shift, int scale,
                            bool layer, float eps)
{
    return norm(g, x, &(norm_opts){NULL, NULL, mod, row, shift, scale, layer, eps});
}

/* ---- x + y * gate[row] ---- */

typedef struct {
    const void *x, *y, *d;
    hm_dtype tx, ty, td;
    void *out;
    hm_sink dx, dy;
    const float *gate;
    const int32_t *row;
    int64_t stride, D, R;
    float *part; /* [threads][R][D] */
} gate_job;

HM_CLONES static void gate_fwd(const gate_job *j, int64_t from, int64_t to)
{
    const int64_t D = j->D;
    float x[MAX_D], y[MAX_D];
    for (int64_t t = from; t < to; t++) {
        const float *restrict gate = j->gate + j->row[t] * j->stride;
        hm_load(x, j->x, j->tx, t * D, D);
        hm_load(y, j->y, j->ty, t * D, D);
#pragma omp simd
        for (int64_t i = 0; i < D; i++) x[i] += y[i] * gate[i];
        hm_store(j->out, j->td, t * D, x, D);
    }
}

HM_CLONES static void gate_bwd(const gate_job *j, int64_t from, int64_t to, float *part)
{
    const int64_t D = j->D;
    float d[MAX_D], y[MAX_D];
    for (int64_t t = from; t < to; t++) {
        hm_load(d, j->d, j->td, t * D, D);
        if (j->dx.data) hm_store_sink(j->dx, t * D, d, D);
        if (part) {
            float *restrict p = part + j->row[t] * D;
            hm_load(y, j->y, j->ty, t * D, D);
#pragma omp simd
            for (int64_t i = 0; i < D; i++) p[i] += d[i] * y[i];
        }
        if (!j->dy.data) continue;
        const float *restrict gate = j->gate + j->row[t] * j->stride;
#pragma omp simd
        for (int64_t i = 0; i < D; i++) d[i] *= gate[i];
        hm_store_sink(j->dy, t * D, d, D);
    }
}

static void gate_fwd_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    gate_fwd(ctx, from, to);
}

static void gate_bwd_range(void *ctx, int64_t from, int64_t to, int tid)
{
    const gate_job *j = ctx;
    gate_bwd(j, from, to, j->part ? j->part + tid * j->R * j->D : NULL);
}

static void gate_back(hm_graph *g, hm_node *n)
{
    hm_tensor *x = n->in[0], *y = n->in[1], *mod = n->in[2], *d = n->y->grad;
    const int64_t D = hm_last(x), gate = n->i[0];
    gate_job j = {.y = y->data, .ty = y->dtype, .d = d->data, .td = d->dtype, .row = n->p[0], .D = D,
                  .stride = mod->dim[1] * D, .R = mod->dim[0]};
    if (mod->data) j.gate = (const float *)mod->data + gate * D;
    if (hm_wants(y)) j.dy = hm_grad(g, y);
    hm_sink dm = {0};
    if (hm_wants(mod)) dm = hm_grad_zeroed(g, mod);
    const bool same = hm_wants(x) && hm_grad_steal(g, x, n->y);
    if (hm_wants(x) && !same) j.dx = hm_grad(g, x);
    const uint64_t mark = hm_scratch(g);
    if (dm.data) j.part = parts_new(g, j.R, D, 1);
    if (!g->opts.plan) hm_parallel(g, hm_rows(x), 1, 3 * D, gate_bwd_range, &j);
    if (dm.data) {
        dm.data = (char *)dm.data + (size_t)(gate * D) * sizeof(float);
        parts_add(g, &(sum_job){j.part, j.R, D, j.stride, g->threads, dm, 0, 1});
    }
    hm_scratch_end(g, mark);
}

hm_tensor *hm_add_gated(hm_graph *g, hm_tensor *x, hm_tensor *y, hm_tensor *mod, const int32_t *row, int gate)
{
    const double t0 = hm_prof_now();
    const int64_t D = hm_last(x), tokens = hm_rows(x);
    assert(D <= MAX_D && hm_numel(x) == hm_numel(y) && mod->nd == 3 && mod->dtype == HM_F32 && hm_last(mod) == D);
    hm_tensor *out = hm_like(g, x, x->dtype);
    gate_job j = {.x = x->data, .tx = x->dtype, .y = y->data, .ty = y->dtype, .out = out->data, .td = out->dtype,
                  .row = row, .D = D, .stride = mod->dim[1] * D, .R = mod->dim[0]};
    if (mod->data) j.gate = (const float *)mod->data + gate * D;
    if (!g->opts.plan) hm_parallel(g, tokens, 1, 3 * D, gate_fwd_range, &j);
    hm_node *n = hm_record(g, HM_OP_NORM, gate_back, out, HM_IN(x, y, mod));
    if (n) {
        n->i[0] = gate;
        n->p[0] = hm_keep(g, row, (uint64_t)tokens * sizeof *row);
    }
    g->prof[HM_OP_NORM].fwd += hm_prof_now() - t0;
    return out;
}
