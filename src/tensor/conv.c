/* conv.c - 2-D and 3-D convolutions, channels last.   SPDX-License-Identifier: MIT
 * Weights [O, k..., I] are oneDNN's ohwi/odhwi. Backward masks dy by y > 0 in place where relu was fused. */
#include "tensor/dnnl.h"

static hm_cv conv_desc(const hm_tensor *x, const hm_tensor *w, const hm_tensor *y, const hm_conv_opts *o)
{
    hm_cv c;
    memset(&c, 0, sizeof c);
    c.nd = x->nd - 2;
    c.batch = x->dim[0];
    c.in_c = hm_last(x);
    c.out_c = w->dim[0];
    c.act = x->dtype;
    c.tbias = HM_F32;
    c.w_oik = o->w_oik;
    for (int i = 0; i < c.nd; i++) {
        c.in[i] = x->dim[1 + i];
        c.k[i] = w->dim[1 + i + o->w_oik];
        c.out[i] = y->dim[1 + i];
        c.stride[i] = o->stride[i];
        c.pad[i] = o->pad[i];
    }
    return c;
}

static uint64_t conv_flops(const hm_tensor *w, const hm_tensor *y)
{
    return 2 * (uint64_t)(hm_rows(y) * hm_numel(w));
}

typedef struct {
    const uint16_t *y;
    uint16_t *d;
} mask16;
typedef struct {
    const float *y;
    float *d;
} mask32;

HM_CLONES static void mask16_run(const mask16 *m, int64_t from, int64_t to)
{
    const uint16_t *restrict y = m->y;
    uint16_t *restrict d = m->d;
#pragma omp simd
    for (int64_t i = from; i < to; i++) d[i] = (uint16_t)(y[i] - 1) < 0x7fff ? d[i] : 0; /* y > 0, or its NaN */
}

HM_CLONES static void mask32_run(const mask32 *m, int64_t from, int64_t to)
{
    const float *restrict y = m->y;
    float *restrict d = m->d;
#pragma omp simd
    for (int64_t i = from; i < to; i++) d[i] = y[i] > 0 ? d[i] : 0;
}

static void mask16_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    mask16_run(ctx, from, to);
}

static void mask32_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    mask32_run(ctx, from, to);
}

static void relu_mask(hm_graph *g, const hm_tensor *y, hm_tensor *d)
{
    if (g->opts.plan) return;
    if (y->dtype == HM_BF16) hm_parallel(g, hm_numel(y), 4096, 1, mask16_range, &(mask16){y->data, d->data});
    else hm_parallel(g, hm_numel(y), 4096, 1, mask32_range, &(mask32){y->data, d->data});
}

static void conv_back(hm_graph *g, hm_node *n)
{
    hm_tensor *x = n->in[0], *w = n->in[1], *b = n->in[2], *y = n->y, *dy = y->grad;
    hm_conv_opts o = {.relu = n->i[6] != 0};
    for (int i = 0; i < 3; i++) o.stride[i] = (int)n->i[i], o.pad[i] = (int)n->i[3 + i];
    if (o.relu) relu_mask(g, y, dy);
    if (hm_wants(b)) {
        const hm_sink s = hm_grad(g, b);
        if (!g->opts.plan) hm_colsum(g, s, dy->data, dy->dtype, hm_rows(y), hm_last(y));
    }
    hm_cv c = conv_desc(x, w, y, &o);
    if (hm_wants(w)) {
        const hm_sink s = hm_grad(g, w);
        assert(s.dtype == HM_F32);
        c.kind = HM_CONV_BWD_W;
        g->flops += conv_flops(w, y);
        if (!g->opts.plan) hm_cv_run(hm_cv_get(g->dnnl, &c), x->data, s.data, NULL, dy->data, s.add);
    }
    if (!hm_wants(x)) return;
    const bool add = x->grad != NULL;
    const hm_sink s = hm_grad(g, x);
    const uint64_t mark = hm_scratch(g);
    void *dx = add || s.dtype != c.act ? hm_alloc(g, (uint64_t)hm_numel(x) * hm_dtype_size(c.act)) : s.data;
    c.kind = HM_CONV_BWD_X;
    g->flops += conv_flops(w, y);
    if (!g->opts.plan) {
        hm_cv_run(hm_cv_get(g->dnnl, &c), dx, n->p[0], NULL, dy->data, false);
        if (dx != s.data) hm_copy(g, s.data, s.dtype, s.add, dx, c.act, hm_numel(x));
    }
    hm_scratch_end(g, mark);
}

hm_tensor *hm_conv(hm_graph *g, hm_tensor *x, hm_tensor *w, hm_tensor *b, const hm_conv_opts *o)
{
    assert((x->nd == 4 || x->nd == 5) && w->nd == x->nd && (o->w_oik ? w->dim[1] : hm_last(w)) == hm_last(x));
    assert(!o->w_oik || !g->opts.tape);
    assert(!b || hm_numel(b) == w->dim[0]);
    const double t0 = hm_prof_now();
    x = hm_cast(g, x, g->opts.act);
    int64_t dim[HM_MAX_DIM] = {x->dim[0]};
    hm_conv_opts use = *o;
    for (int i = 0; i < x->nd - 2; i++) {
        if (use.stride[i] == 0) use.stride[i] = 1;
        dim[1 + i] = (x->dim[1 + i] + 2 * use.pad[i] - w->dim[1 + i + o->w_oik]) / use.stride[i] + 1;
        assert(dim[1 + i] > 0);
    }
    dim[x->nd - 1] = w->dim[0];
    hm_tensor *y = hm_new(g, g->opts.act, x->nd, dim);
    const uint64_t mark = hm_scratch(g);
    const void *wd = hm_as(g, w, g->opts.act), *bd = hm_as(g, b, HM_F32);
    g->flops += conv_flops(w, y);
    hm_cv c = conv_desc(x, w, y, &use);
    c.bias = b != NULL;
    c.relu = use.relu;
    if (!g->opts.plan) hm_cv_run(hm_cv_get(g->dnnl, &c), x->data, wd, bd, y->data, false);
    hm_node *n = hm_record(g, HM_OP_CONV, conv_back, y, HM_IN(x, w, b));
    if (n) {
        n->p[0] = (void *)wd;
        for (int i = 0; i < 3; i++) n->i[i] = use.stride[i], n->i[3 + i] = use.pad[i];
        n->i[6] = use.relu;
    } else {
        hm_scratch_end(g, mark);
    }
    g->prof[HM_OP_CONV].fwd += hm_prof_now() - t0;
    return y;
}
