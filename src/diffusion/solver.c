/* solver.c - noise levels with flow shift, and stepping by a plan's weights.   SPDX-License-Identifier: MIT
 * Trap: Wan's schedulers keep sigmas as float32 and timesteps as truncated integers (999, not 999.8). */
#include "diffusion/solver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double shifted(double sigma, double shift) { return shift * sigma / (1.0 + (shift - 1.0) * sigma); }

himmel_status hm_flow_sigmas(float *sigma, float *t, int steps, hm_flow_grid grid, double shift, himmel_error *err)
{
    if (steps < 1 || steps > HM_MAX_STEPS)
        return hm_fail(err, HIMMEL_EINVAL, "%d steps: wants 1 to %d", steps, (int)HM_MAX_STEPS);
    if (!(shift > 0 && shift < 1e6)) return hm_fail(err, HIMMEL_EINVAL, "flow shift %g: wants 0 to 1e6", shift);
    const double low = shifted(0.001, shift); /* diffusers: the lowest training level, shifted once already */
    for (int i = 0; i < steps; i++) {
        const double top = grid == HM_GRID_UNIPC ? (double)0.999f : 1.0;
        double s = i * (-top / steps) + top; /* rounded as numpy's linspace: 700.0 or 699.99.. truncate apart */
        if (grid == HM_GRID_DIFFUSERS) s = steps > 1 ? 1.0 + (low - 1.0) * i / (steps - 1) : 1.0;
        s = shifted(s, shift);
        sigma[i] = (float)s;
        t[i] = grid == HM_GRID_DIFFUSERS ? (float)(s * 1000.0) : (float)trunc(s * 1000.0);
    }
    sigma[steps] = 0.0f;
    return HIMMEL_OK;
}

void hm_euler_plan(hm_step_plan *p, const double *sigma, int steps, int step)
{
    (void)steps;
    const double r = sigma[step + 1] / sigma[step]; /* x + (s' - s) v with v = (x - x0) / s */
    *p = (hm_step_plan){.predictor = {.x = r, .m = {1.0 - r}}};
}

struct hm_solver {
    hm_solver_kind kind;
    int steps, step;
    int64_t n;
    double *sigma;
    float *m[2], *last; /* estimates of x0, newest first; the sample that the last prediction started from */
};

himmel_status hm_solver_new(hm_solver **out, hm_solver_kind kind, const float *sigma, int steps, int64_t n, himmel_error *err)
{
    *out = NULL;
    hm_solver *s = calloc(1, sizeof *s);
    if (s) {
        *s = (hm_solver){.kind = kind, .steps = steps, .n = n};
        s->sigma = malloc(((size_t)steps + 1) * sizeof *s->sigma);
        s->m[0] = calloc(3 * (size_t)n, sizeof(float));
    }
    if (!s || !s->sigma || !s->m[0]) {
        hm_solver_free(s);
        return hm_fail(err, HIMMEL_ENOMEM, "solver: out of memory for %lld numbers", (long long)n);
    }
    s->m[1] = s->m[0] + n;
    s->last = s->m[1] + n;
    for (int i = 0; i <= steps; i++) s->sigma[i] = sigma[i];
    *out = s;
    return HIMMEL_OK;
}

void hm_solver_free(hm_solver *s)
{
    if (!s) return;
    free(s->m[0] < s->m[1] || !s->m[1] ? s->m[0] : s->m[1]); /* the two change places */
    free(s->sigma);
    free(s);
}

void hm_solver_store(const hm_solver *s, float *state)
{
    const size_t n = (size_t)s->n;
    memcpy(state, s->m[0], n * sizeof *state);
    memcpy(state + n, s->m[1], n * sizeof *state);
    memcpy(state + 2 * n, s->last, n * sizeof *state);
}

void hm_solver_restore(hm_solver *s, const float *state, int step)
{
    const size_t n = (size_t)s->n;
    memcpy(s->m[0], state, n * sizeof *state);
    memcpy(s->m[1], state + n, n * sizeof *state);
    memcpy(s->last, state + 2 * n, n * sizeof *state);
    s->step = step;
}

void hm_solver_step(hm_solver *s, float *x, const float *v)
{
    hm_step_plan p;
    if (s->step >= s->steps) return;
    if (s->kind == HM_SOLVER_UNIPC) hm_unipc_plan(&p, s->sigma, s->steps, s->step);
    else if (s->kind == HM_SOLVER_DPMPP) hm_dpmpp_plan(&p, s->sigma, s->steps, s->step);
    else hm_euler_plan(&p, s->sigma, s->steps, s->step);
    const double sigma = s->sigma[s->step];
    const hm_combo *c = &p.corrector, *n = &p.predictor;
    float *m0 = s->m[0], *m1 = s->m[1];
    for (int64_t i = 0; i < s->n; i++) {
        const double m = (double)x[i] - sigma * (double)v[i];
        double now = x[i];
        if (p.correct) now = c->x * (double)s->last[i] + c->m[0] * m + c->m[1] * (double)m0[i] + c->m[2] * (double)m1[i];
        s->last[i] = (float)now;
        x[i] = (float)(n->x * now + n->m[0] * m + n->m[1] * (double)m0[i]);
        m1[i] = (float)m; /* the oldest makes room; the two change places below */
    }
    s->m[0] = m1;
    s->m[1] = m0;
    s->step++;
}
