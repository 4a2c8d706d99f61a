/* linear.c - hm_linear, hm_linear_gelu, hm_gemm.   SPDX-License-Identifier: MIT
 * y = x w^T + b; dx = dy w; dw += dy^T x straight into the f32 gradient; db += column sums of dy. */
#include <omp.h>
#include <stdlib.h>
#include "tensor/dnnl.h"

/* Row-major 2-D operand, or its transpose, as strides. */
static void strides(int64_t s[3], bool transposed, int64_t row_len)
{
    s[0] = 0;
    s[1] = transposed ? 1 : row_len;
    s[2] = transposed ? row_len : 1;
}

static hm_mm mm_base(int64_t m, int64_t n, int64_t k, hm_dtype ab, hm_dtype c)
{
    hm_mm d;
    memset(&d, 0, sizeof d);
    d.batch = 1;
    d.m = m;
    d.n = n;
    d.k = k;
    d.ta = d.tb = ab;
    d.tc = c;
    d.tbias = HM_F32;
    d.alpha = 1;
    strides(d.c, false, n);
    return d;
}

typedef struct {
    const void *w, *b; /* in a dtype the matmul takes */
    hm_dtype tb;
} operands;

static hm_dtype bias_dtype(const hm_graph *g, const hm_tensor *b)
{
    return b && b->dtype == HM_BF16 && g->opts.act == HM_BF16 ? HM_BF16 : HM_F32;
}

static void forward(hm_graph *g, const hm_tensor *x, const operands *o, hm_tensor *y, bool gelu)
{
    const int64_t m = hm_rows(x), k = hm_last(x), n = hm_last(y);
    g->flops += 2 * (uint64_t)(m * n * k);
    if (g->opts.plan || !m) return;
    hm_mm d = mm_base(m, n, k, x->dtype, y->dtype);
    strides(d.a, false, k);
    strides(d.b, true, k);
    d.bias = o->b != NULL;
    d.tbias = o->tb;
    d.gelu = gelu;
    hm_mm_run(hm_mm_get(g->dnnl, &d), 0, x->data, o->w, o->b, y->data);
}

static void linear_back(hm_graph *g, hm_node *nd)
{
    hm_tensor *x = nd->in[0], *w = nd->in[1], *b = nd->in[2], *dy = nd->y->grad;
    const int64_t m = hm_rows(x), k = hm_last(x), n = hm_last(nd->y);
    const double t0 = hm_prof_now();
    if (hm_wants(b)) {
        const hm_sink s = hm_grad(g, b);
        if (!g->opts.plan) hm_colsum(g, s, dy->data, dy->dtype, m, n);
    }
    if (hm_wants(w)) {
        const hm_sink s = hm_grad(g, w);
        g->flops += 2 * (uint64_t)(m * n * k);
        hm_mm d = mm_base(n, k, m, dy->dtype, s.dtype);
        strides(d.a, true, n);
        strides(d.b, false, k);
        d.beta = s.add;
        if (!g->opts.plan && m) hm_mm_run(hm_mm_get(g->dnnl, &d), 0, dy->data, x->data, NULL, s.data);
    }
    const double t1 = hm_prof_now();
    g->prof[HM_OP_LINEAR_DW].bwd += t1 - t0;
    g->prof[HM_OP_LINEAR].bwd -= t1 - t0; /* hm_backward adds the whole node there: what is left is dx */
    if (!hm_wants(x)) return;
    const hm_sink s = hm_grad(g, x);
    g->flops += 2 * (uint64_t)(m * n * k);
    hm_mm d = mm_base(m, k, n, dy->dtype, s.dtype);
    strides(d.a, false, n);
    strides(d.b, false, k);
    d.beta = s.add;
    if (!g->opts.plan && m) hm_mm_run(hm_mm_get(g->dnnl, &d), 0, dy->data, nd->p[0], NULL, s.data);
}

static hm_tensor *linear(hm_graph *g, hm_tensor *x, hm_tensor *w, hm_tensor *b, bool gelu)
{
    assert(w->nd == 2 && x->nd >= 1 && hm_last(x) == w->dim[1]);
    assert(!b || (b->nd == 1 && b->dim[0] == w->dim[0]));
    const double t0 = hm_prof_now();
    x = hm_cast(g, x, g->opts.act);
    int64_t dim[HM_MAX_DIM];
    memcpy(dim, x->dim, sizeof dim);
    dim[x->nd - 1] = w->dim[0];
    hm_tensor *y = hm_new(g, g->opts.act, x->nd, dim);
    const uint64_t mark = hm_scratch(g);
    if (w->int8 && !g->opts.tape) {
        hm_int8_linear(g, x, w->int8, hm_as(g, b, HM_F32), y, gelu);
        hm_scratch_end(g, mark);
        g->prof[HM_OP_LINEAR].fwd += hm_prof_now() - t0;
        return y;
    }
    operands o = {hm_as(g, w, g->opts.act), NULL, bias_dtype(g, b)};
    o.b = hm_as(g, b, o.tb);
    forward(g, x, &o, y, gelu);
    hm_node *n = hm_record(g, HM_OP_LINEAR, linear_back, y, HM_IN(x, w, b));
    if (n) n->p[0] = (void *)o.w;
    else hm_scratch_end(g, mark);
    g->prof[HM_OP_LINEAR].fwd += hm_prof_now() - t0;
    return y;
}

hm_tensor *hm_linear(hm_graph *g, hm_tensor *x, hm_tensor *w, hm_tensor *b) { return linear(g, x, w, b, false); }

hm_tensor *hm_linear_gelu(hm_graph *g, hm_tensor *x, hm_tensor *w, hm_tensor *b)
{
    if (g->opts.tape && (hm_wants(x) || hm_wants(w) || hm_wants(b))) return hm_gelu(g, linear(g, x, w, b, false));
    return linear(g, x, w, b, true);
}

/* The one context outside a graph: optimisers multiply without one. A thread keeps its own until it ends the process. */
static hm_dnnl *own_context(void)
{
    static _Thread_local hm_dnnl *own;
    static _Thread_local int threads;
    const int want = omp_get_max_threads();
    if (own && threads != want) {
        hm_dnnl_free(own);
        own = NULL;
    }
    if (!own) own = hm_dnnl_new(want);
    if (!own) abort(); /* no memory left for a few kilobytes */
    threads = want;
    return own;
}

void hm_gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, hm_dtype ab, const void *a, const void *b,
             float beta, hm_dtype ct, void *c)
{
    hm_mm d = mm_base(m, n, k, ab, ct);
    strides(d.a, ta, ta ? m : k);
    strides(d.b, tb, tb ? k : n);
    d.alpha = alpha;
    d.beta = beta;
    hm_mm_run(hm_mm_get(own_context(), &d), 0, a, b, NULL, c);
}
