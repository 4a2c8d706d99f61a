/* grad.h - random f32 parameters for a model's *_params walk, and their gradients against finite differences.
 * SPDX-License-Identifier: MIT */
#ifndef HM_TEST_GRAD_H
#define HM_TEST_GRAD_H

#include <stdlib.h>
#include <string.h>
#include "base/rng.h"
#include "formats/safetensors.h"
#include "text/t5.h"
#include "check.h"

enum { GRAD_MAX = 128 };
typedef struct {
    char name[160];
    hm_tensor t, grad;
} grad_param;
typedef struct {
    grad_param p[GRAD_MAX];
    int n;
    hm_rng rng;
} grad_store;

/* An hm_param_fn: matrices N(0, 1.4/fan-in), norm weights around 1, the rest around 0, so that every term of
 * a model matters. */
static inline himmel_status grad_bind(void *user, const char *name, int nd, const int64_t *dim,
                                      hm_tensor **slot, himmel_error *err)
{
    grad_store *s = user;
    if (s->n == GRAD_MAX) return hm_fail(err, HIMMEL_EINTERNAL, "too many parameters for this test");
    grad_param *p = &s->p[s->n++];
    p->t = (hm_tensor){.dtype = HM_F32, .nd = nd, .needs_grad = true, .grad = &p->grad};
    memcpy(p->t.dim, dim, (size_t)nd * sizeof *dim);
    p->grad = p->t;
    p->grad.needs_grad = false;
    p->grad.grad = NULL;
    const size_t n = (size_t)hm_numel(&p->t);
    p->t.data = malloc(n * sizeof(float));
    p->grad.data = calloc(n, sizeof(float));
    snprintf(p->name, sizeof p->name, "%s", name);
    const bool norm = strstr(name, "norm") != NULL,
               table = strstr(name, "table") || strstr(name, "bias.weight");
    const float dev = nd == 2 && !table ? 1.2f / sqrtf((float)dim[1]) : 0.3f;
    for (size_t i = 0; i < n; i++)
        ((float *)p->t.data)[i] = dev * hm_rng_normal(&s->rng) + (norm ? 1.0f : 0.0f);
    *slot = &p->t;
    return HIMMEL_OK;
}

static inline void grad_free(grad_store *s)
{
    for (int i = 0; i < s->n; i++) {
        free(s->p[i].t.data);
        free(s->p[i].grad.data);
    }
    s->n = 0;
}

/* d loss / d (step along u from x), by central differences of two widths (Richardson: error of fourth order).
 */
static inline double grad_slope(float *x, const float *u, size_t n, float h, double (*loss)(void *),
                                void *user)
{
    float *keep = malloc(n * sizeof *keep);
    double slope[2];
    memcpy(keep, x, n * sizeof *x);
    for (int k = 0; k < 2; k++) {
        const float step = k ? h / 2 : h;
        double side[2];
        for (int s = 0; s < 2; s++) {
            for (size_t i = 0; i < n; i++) x[i] = keep[i] + (s ? -step : step) * u[i];
            side[s] = loss(user);
        }
        slope[k] = (side[0] - side[1]) / (2.0 * (double)step);
    }
    memcpy(x, keep, n * sizeof *x);
    free(keep);
    return (4.0 * slope[1] - slope[0]) / 3.0;
}

/* Every tensor: along a random direction through all its values, and along three single values. grad must be
 * of the same loss. The bound is relative to the tensor's largest possible slope of that kind. */
static inline void grad_check(grad_store *s, double (*loss)(void *), void *user, double tol)
{
    double worst = 0;
    for (int i = 0; i < s->n; i++) {
        grad_param *p = &s->p[i];
        const size_t n = (size_t)hm_numel(&p->t);
        const float *g = p->grad.data;
        float *u = malloc(n * sizeof *u);
        double norm = 0;
        for (size_t j = 0; j < n; j++) norm += (double)g[j] * g[j];
        norm = sqrt(norm);
        CHECK(norm > 1e-7, "%s has no gradient", p->name);
        for (int k = 0; k < 4; k++) {
            const size_t one = hm_rng_below(&s->rng, (uint32_t)n);
            double want = 0;
            for (size_t j = 0; j < n; j++) {
                u[j] = k ? (float)(j == one) : hm_rng_normal(&s->rng) / sqrtf((float)n);
                want += (double)u[j] * g[j];
            }
            const double got = grad_slope(p->t.data, u, n, 0.02f, loss, user), d = fabs(got - want) / norm;
            worst = fmax(worst, d);
            CHECK(d <= tol, "%s: slope %.6g, gradient says %.6g (norm %.3g)", p->name, got, want, norm);
        }
        free(u);
    }
    printf("%d tensors, worst |slope - gradient| / |gradient| %.2g\n", s->n, worst);
}

/* As training runs: weights in bf16, gradients still f32. Returns a copy of the f32 gradients so far, and
 * clears them. */
static inline float **grad_to_bf16(grad_store *s)
{
    float **old = malloc((size_t)s->n * sizeof *old);
    for (int i = 0; i < s->n; i++) {
        grad_param *p = &s->p[i];
        const size_t n = (size_t)hm_numel(&p->t);
        uint16_t *half = malloc(n * sizeof *half);
        hm_convert(half, HM_BF16, p->t.data, HM_F32, n);
        free(p->t.data);
        p->t.data = half;
        p->t.dtype = HM_BF16;
        old[i] = p->grad.data;
        p->grad.data = calloc(n, sizeof(float));
    }
    return old;
}

/* Gradients in bf16 point the same way as those in f32, tensor by tensor. Frees old. */
static inline void grad_same_way(const grad_store *s, float **old, double cosine)
{
    double worst = 1;
    for (int i = 0; i < s->n; i++) {
        const float *a = s->p[i].grad.data, *b = old[i];
        double ab = 0, aa = 0, bb = 0;
        for (int64_t j = 0; j < hm_numel(&s->p[i].t); j++) {
            ab += (double)a[j] * b[j];
            aa += (double)a[j] * a[j];
            bb += (double)b[j] * b[j];
        }
        const double c = ab / sqrt(aa * bb);
        worst = fmin(worst, c);
        CHECK(c > cosine && aa < 1.5 * bb && bb < 1.5 * aa, "%s: cosine %.4f, lengths %g, %g", s->p[i].name,
              c, sqrt(aa), sqrt(bb));
        free(old[i]);
    }
    free(old);
    printf("bf16 gradients: lowest cosine %.4f\n", worst);
}

#endif
