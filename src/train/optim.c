/* optim.c - one optimiser step: clip, Muon or AdamW, EMA, working copies.   SPDX-License-Identifier: MIT
 * Sums run in a fixed order (per parameter, then over parameters), so a resumed run repeats an uninterrupted one. */
#include "train/optim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

hm_optim hm_optim_default(void)
{
    return (hm_optim){.lr_muon = 0.02, .lr_adamw = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .momentum = 0.95,
                      .weight_decay = 0.01, .clip = 1.0, .ema = 0.999, .warmup = 50};
}

double hm_optim_lr_factor(const hm_optim *o, int64_t step)
{
    double f = step < o->warmup ? (double)(step + 1) / (double)o->warmup : 1.0;
    if (o->total > 0 && step >= o->decay_from)
        f *= fmax(0.0, (double)(o->total - step) / (double)HM_MAX(1, o->total - o->decay_from));
    return f;
}

HM_CLONES static double sum_squares(const float *x, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i += 4096) { /* f32 lanes inside, double across */
        const size_t m = HM_MIN(n - i, (size_t)4096);
        float a = 0;
#pragma omp simd reduction(+ : a)
        for (size_t j = 0; j < m; j++) a += x[i + j] * x[i + j];
        s += (double)a;
    }
    return s;
}

/* Per parameter in parallel, then over parameters in order. */
static double grad_norm(const hm_params *ps, double *part)
{
    double s = 0;
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t i = 0; i < ps->n; i++)
        part[i] = ps->p[i]->kind == HM_OPT_FROZEN ? 0 : sum_squares(ps->p[i]->grad.data, ps->p[i]->n);
    for (size_t i = 0; i < ps->n; i++) s += part[i];
    return sqrt(s);
}

HM_CLONES static void adamw_update(const hm_optim *o, hm_param *p, float lr, float gs, const float *bias)
{
    float *restrict w = p->master, *restrict m = p->m, *restrict v = p->v;
    const float *restrict g = p->grad.data;
    const float b1 = (float)o->beta1, b2 = (float)o->beta2, eps = (float)o->eps;
    const float wd = p->decay ? (float)(lr * o->weight_decay) : 0, c1 = bias[0], c2 = bias[1];
#pragma omp simd
    for (size_t i = 0; i < p->n; i++) {
        const float x = g[i] * gs;
        m[i] = b1 * m[i] + (1 - b1) * x;
        v[i] = b2 * v[i] + (1 - b2) * x * x;
        w[i] -= wd * w[i] + lr * (m[i] * c1) / (sqrtf(v[i] * c2) + eps);
    }
}

static void adamw(const hm_optim *o, hm_param *p, int64_t step, double factor, double gs)
{
    const float lr = (float)(o->lr_adamw * factor * p->lr_scale);
    const float bias[2] = {(float)(1 / (1 - pow(o->beta1, (double)step + 1))),
                           (float)(1 / (1 - pow(o->beta2, (double)step + 1)))};
    adamw_update(o, p, lr, (float)gs, bias);
}

HM_CLONES static void transpose(uint16_t *restrict dst, const uint16_t *restrict src, int64_t rows, int64_t cols)
{
    for (int64_t j = 0; j < cols; j++)
        for (int64_t i = 0; i < rows; i++) dst[j * rows + i] = src[i * cols + j];
}

/* x [r,c] bf16, r <= c, Frobenius norm <= 1: the nearest semi-orthogonal matrix by five quintic Newton-Schulz steps (Jordan's
 * coefficients: fast growth of small singular values, fixed points in 0.7..1.2). a [r,r], b [r,r], y [r,c] are scratch. */
static void newton_schulz(uint16_t *x, uint16_t *a, uint16_t *b, uint16_t *y, int64_t r, int64_t c)
{
    for (int k = 0; k < 5; k++) {
        hm_gemm(false, true, r, r, c, 1.0f, HM_BF16, x, x, 0.0f, HM_BF16, a);
        memcpy(b, a, (size_t)(r * r) * 2);
        hm_gemm(false, false, r, r, r, 2.0315f, HM_BF16, a, a, -4.7750f, HM_BF16, b);
        memcpy(y, x, (size_t)(r * c) * 2);
        hm_gemm(false, false, r, c, r, 1.0f, HM_BF16, b, x, 3.4445f, HM_BF16, y);
        memcpy(x, y, (size_t)(r * c) * 2);
    }
}

HM_CLONES static void momentum_update(float *restrict m, const float *restrict g, float *restrict u, size_t n, float mu, float gs)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float x = g[i] * gs;
        m[i] = mu * m[i] + (1 - mu) * x;
        u[i] = mu * m[i] + (1 - mu) * x; /* Nesterov */
    }
}

HM_CLONES static void muon_apply(float *restrict w, const uint16_t *restrict x, size_t n, float lr, float wd)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        union { uint32_t u; float f; } v = {(uint32_t)x[i] << 16};
        w[i] -= wd * w[i] + lr * v.f;
    }
}

/* scratch: room for 4 matrices of p's size in bf16 and one in f32. */
static void muon(const hm_optim *o, hm_param *p, double factor, double gs, float *scratch)
{
    const int64_t O = p->work.dim[0], I = (int64_t)p->n / O, r = HM_MIN(O, I), c = HM_MAX(O, I);
    float *u = scratch;
    uint16_t *x = (void *)(u + p->n), *y = x + p->n, *a = y + p->n, *b = a + r * r;
    momentum_update(p->m, p->grad.data, u, p->n, (float)o->momentum, (float)gs);
    const float inv = (float)(1.0 / (sqrt(sum_squares(u, p->n)) + 1e-12));
    for (size_t i = 0; i < p->n; i++) u[i] *= inv;
    hm_convert(y, HM_BF16, u, HM_F32, p->n);
    if (O > I) {
        transpose(x, y, O, I);
        newton_schulz(x, a, b, y, r, c);
        transpose(y, x, I, O);
    } else {
        memcpy(x, y, p->n * 2);
        newton_schulz(x, a, b, y, r, c);
        memcpy(y, x, p->n * 2);
    }
    const double lr = o->lr_muon * factor * p->lr_scale * sqrt(fmax(1.0, (double)O / (double)I));
    muon_apply(p->master, y, p->n, (float)lr, (float)(lr * o->weight_decay));
}

HM_CLONES static void ema_update(float *restrict e, const float *restrict w, size_t n, float d)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) e[i] += (1 - d) * (w[i] - e[i]);
}

typedef struct {
    const hm_optim *o;
    hm_params *ps;
    int64_t step;
    double factor, gs;
    float ema;
} step_ctx;

static void update(const step_ctx *c, hm_param *p, float *scratch)
{
    if (p->kind == HM_OPT_FROZEN) return;
    if (p->kind == HM_OPT_MUON)
        muon(c->o, p, c->factor, c->gs, scratch);
    else
        adamw(c->o, p, c->step, c->factor, c->gs);
    ema_update(p->ema, p->master, p->n, c->ema);
    hm_convert(p->work.data, p->work.dtype, p->master, HM_F32, p->n);
}

/* Parameters in parallel, each on one thread: small matrices multiply best that way, and nothing depends on who did it. */
static bool update_all(const step_ctx *c, size_t scratch_bytes)
{
    bool ok = true;
#pragma omp parallel reduction(&& : ok)
    {
        float *scratch = malloc(scratch_bytes);
        ok = scratch != NULL;
        hm_set_threads(1); /* of this thread's own multiplications, until the region ends */
#pragma omp for schedule(dynamic, 1)
        for (size_t i = 0; i < c->ps->n; i++)
            if (scratch) update(c, c->ps->p[i], scratch);
        free(scratch);
    }
    return ok;
}

double hm_optim_step(const hm_optim *o, hm_params *ps, int64_t step)
{
    double *part = malloc((ps->n + 1) * sizeof *part);
    if (!part) return NAN;
    const double norm = grad_norm(ps, part);
    free(part);
    if (!isfinite(norm)) return norm; /* a broken step changes nothing; the caller sees the norm */
    size_t most = 1;
    for (size_t i = 0; i < ps->n; i++)
        if (ps->p[i]->kind == HM_OPT_MUON) most = HM_MAX(most, ps->p[i]->n);
    const step_ctx c = {o, ps, step, hm_optim_lr_factor(o, step), o->clip > 0 && norm > o->clip ? o->clip / norm : 1.0,
                        (float)fmin(o->ema, (1.0 + (double)step) / (10.0 + (double)step))};
    return update_all(&c, most * (sizeof(float) + 4 * sizeof(uint16_t))) ? norm : NAN;
}
