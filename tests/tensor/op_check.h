/* op_check.h - what the tensor tests share: graphs, random tensors, gradient checks.   SPDX-License-Identifier: MIT
 * grad_check: for a function build(g, in) of f32 inputs, the loss L = <r, y> with a fixed random r. Backward's gradients are
 * compared, in random directions and in single elements, with central differences of L evaluated in double over
 * the f32 outputs. f32 rounding of y gives an error of about 1e-7 |L| / step; step 1e-2 leaves 1e-3 relative. */
#ifndef HM_OP_CHECK_H
#define HM_OP_CHECK_H

#include <stdlib.h>
#include <string.h>
#include "base/rng.h"
#include "check.h"
#include "tensor/tensor.h"

static inline hm_graph *graph_of(hm_dtype act, bool tape, bool plan, int threads)
{
    hm_graph *g;
    himmel_error err = {0};
    const hm_graph_opts o = {.act = act, .tape = tape, .plan = plan, .n_threads = threads};
    if (hm_graph_new(&g, &o, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return g;
}

static inline double value_at(const hm_tensor *t, int64_t i)
{
    if (t->dtype == HM_BF16) return (double)hm_bf16_to_f32(((const uint16_t *)t->data)[i]);
    return (double)((const float *)t->data)[i];
}

/* Random tensor of the graph, values rounded to dtype. */
static inline hm_tensor *rand_t(hm_graph *g, hm_dtype dtype, uint64_t seed, int nd, const int64_t *dim)
{
    hm_tensor *t = hm_new(g, dtype, nd, dim);
    const size_t n = (size_t)hm_numel(t);
    float *x = malloc((n + 1) * sizeof *x);
    hm_randn(x, n, seed, 1);
    hm_convert(t->data, dtype, x, HM_F32, n);
    free(x);
    return t;
}

/* |got - want| <= tol * (size of the values) element by element, size = rms of want + |want|. */
static inline void near_all(const hm_tensor *got, const double *want, double tol, const char *what)
{
    const int64_t n = hm_numel(got);
    double rms = 0, worst = 0;
    for (int64_t i = 0; i < n; i++) rms += want[i] * want[i];
    rms = sqrt(rms / (double)(n ? n : 1)) + 1e-12;
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        const double e = fabs(value_at(got, i) - want[i]) / (rms + fabs(want[i]));
        if (!(e <= worst)) worst = e, at = i; /* NaN counts as worst */
    }
    CHECK(worst <= tol, "%s: element %lld is %g, not %g (error %g > %g)", what, (long long)at,
          n ? value_at(got, at) : 0, n ? want[at] : 0, worst, tol);
}

enum { MAX_IN = 5 };
typedef struct {
    int n_in;
    struct { int nd; int64_t dim[HM_MAX_DIM]; float scale; bool constant; } in[MAX_IN];
    const void *user;
} op_shape;
typedef hm_tensor *op_build(hm_graph *g, hm_tensor **in, const void *user);

static inline double run_loss(hm_graph *g, const op_shape *s, float *const *x, op_build *build, const float *r,
                              hm_tensor **in, hm_tensor **out)
{
    hm_graph_reset(g);
    for (int i = 0; i < s->n_in; i++) {
        in[i] = hm_wrap(g, HM_F32, s->in[i].nd, s->in[i].dim, x[i]);
        in[i]->needs_grad = !s->in[i].constant;
    }
    hm_tensor *y = build(g, in, s->user);
    *out = y;
    double sum = 0;
    for (int64_t i = 0; i < hm_numel(y); i++) sum += (double)r[i] * value_at(y, i);
    return sum;
}

/* Loss <r, y> on the tape: sum of (y - (y0 - r/2 * n))^2 has the wanted gradient r at y = y0 only through mse; simpler and
 * exact: mse of y against target t has gradient 2 (y - t) / n, so t = y - r n / 2 gives r. */
static inline void backward_from(hm_graph *g, hm_tensor *y, const float *r)
{
    const int64_t n = hm_numel(y);
    hm_tensor *t = hm_new(g, HM_F32, y->nd, y->dim);
    for (int64_t i = 0; i < n; i++)
        ((float *)t->data)[i] = (float)(value_at(y, i) - (double)r[i] * (double)n / 2);
    hm_backward(g, hm_loss_mse(g, y, t, NULL, NULL, 0), 1);
}

static inline void grad_check(const char *what, const op_shape *s, op_build *build, double tol)
{
    hm_graph *g = graph_of(HM_F32, true, false, 2);
    float *x[MAX_IN], *gr[MAX_IN] = {0}, *r = malloc(1 << 22);
    hm_tensor *in[MAX_IN] = {0}, *y;
    int64_t n[MAX_IN];
    hm_randn(r, 1 << 20, 99, 5);
    for (int i = 0; i < s->n_in; i++) {
        n[i] = 1;
        for (int d = 0; d < s->in[i].nd; d++) n[i] *= s->in[i].dim[d];
        x[i] = malloc((size_t)n[i] * sizeof(float));
        hm_randn(x[i], (size_t)n[i], 100 + (uint64_t)i, 2);
        for (int64_t k = 0; k < n[i]; k++) x[i][k] *= s->in[i].scale != 0 ? s->in[i].scale : 1;
    }
    run_loss(g, s, x, build, r, in, &y);
    for (int64_t i = 0; i < hm_numel(y); i++) r[i] /= (float)sqrt((double)hm_numel(y));
    backward_from(g, y, r);
    for (int i = 0; i < s->n_in; i++) {
        CHECK((in[i]->grad != NULL) == !s->in[i].constant, "%s: input %d has a gradient only if it needs one", what, i);
        if (!in[i]->grad) continue;
        gr[i] = malloc((size_t)n[i] * sizeof(float));
        memcpy(gr[i], in[i]->grad->data, (size_t)n[i] * sizeof(float));
    }
    for (int i = 0; i < s->n_in; i++) {
        if (s->in[i].constant || !gr[i]) continue;
        float *keep = malloc((size_t)n[i] * sizeof(float)), *dir = malloc((size_t)n[i] * sizeof(float));
        memcpy(keep, x[i], (size_t)n[i] * sizeof(float));
        for (int trial = 0; trial < 12; trial++) { /* 4 dense directions, then single elements */
            memset(dir, 0, (size_t)n[i] * sizeof(float));
            if (trial < 4) hm_randn(dir, (size_t)n[i], 200 + (uint64_t)trial, 3);
            else dir[hm_mix((uint64_t)trial, (uint64_t)i) % (uint64_t)n[i]] = 1;
            double want = 0, norm = 0, size = 0, l[2];
            for (int64_t k = 0; k < n[i]; k++) want += (double)dir[k] * gr[i][k], norm += (double)dir[k] * dir[k];
            for (int64_t k = 0; k < n[i]; k++) size += (double)gr[i][k] * gr[i][k];
            const double h = 2e-2 / sqrt(trial < 4 ? 4 * sqrt(norm) : 4);
            for (int side = 0; side < 2; side++) {
                for (int64_t k = 0; k < n[i]; k++) x[i][k] = (float)(keep[k] + (side ? h : -h) * dir[k]);
                hm_tensor *in2[MAX_IN], *y2;
                l[side] = run_loss(g, s, x, build, r, in2, &y2);
            }
            memcpy(x[i], keep, (size_t)n[i] * sizeof(float));
            const double got = (l[1] - l[0]) / (2 * h), scale = sqrt(size * (trial < 4 ? 1 : 1.0 / (double)n[i])) + fabs(want);
            CHECK(fabs(got - want) <= tol * (scale + 0.02), "%s: input %d, direction %d: slope %g, gradient %g (scale %g)",
                  what, i, trial, got, want, scale);
        }
        free(keep);
        free(dir);
    }
    for (int i = 0; i < s->n_in; i++) free(x[i]), free(gr[i]);
    free(r);
    hm_graph_free(g);
}

#endif
