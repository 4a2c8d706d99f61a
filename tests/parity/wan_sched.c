/* wan_sched.c - Wan's solvers against the original: sigmas, timesteps, trajectories.   SPDX-License-Identifier: MIT
 * x32 goes through hm_solver; x64_exact (double state and weights) through the step plans themselves. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "diffusion/solver.h"
#include "wan.h"

enum { N = 8, MAX = 64 };

typedef struct {
    parity *p;
    const double *A, *b, *x0;
    const char *name; /* unipc, dpm++, euler_... */
    hm_solver_kind kind;
    int shift, steps;
    float sigma[MAX + 1], t[MAX];
} run;

static const hm_tensor *stored(const run *r, const char *what, char name[100])
{
    snprintf(name, 100, "out.%s.shift%d.steps%d.%s", r->name, r->shift, r->steps, what);
    return hm_st_find(r->p->st, name);
}

static void velocity(const run *r, const double *x, double t, double *v)
{
    for (int i = 0; i < N; i++) {
        v[i] = r->b[i] * (t / 1000.0);
        for (int k = 0; k < N; k++) v[i] += r->A[i * N + k] * x[k];
    }
}

static void through_solver(run *r, himmel_error *err)
{
    char name[100];
    float out[(MAX + 1) * N];
    double wide[N], v[N];
    hm_solver *s;
    if (!stored(r, "x32", name) || hm_solver_new(&s, r->kind, r->sigma, r->steps, N, err)) return;
    for (int i = 0; i < N; i++) out[i] = (float)r->x0[i];
    for (int k = 0; k < r->steps; k++) {
        float *x = out + (k + 1) * N, v32[N];
        memcpy(x, x - N, N * sizeof *x);
        for (int i = 0; i < N; i++) wide[i] = x[i];
        velocity(r, wide, r->t[k], v);
        for (int i = 0; i < N; i++) v32[i] = (float)v[i];
        hm_solver_step(s, x, v32);
    }
    hm_solver_free(s);
    parity_compare(r->p, name, out, (r->steps + 1) * N, 5e-6 * parity_scale(r->p, name));
}

/* The same in double, by the plans. */
static void by_plan(run *r)
{
    char name[100];
    double sigma[MAX + 1], x[N], last[N] = {0}, m0[N] = {0}, m1[N] = {0}, v[N], worst = 0, scale = 0;
    const hm_tensor *want = stored(r, r->kind == HM_SOLVER_EULER ? "x64" : "x64_exact", name);
    if (!want || want->dtype != HM_F64) return;
    for (int i = 0; i <= r->steps; i++) sigma[i] = r->sigma[i];
    memcpy(x, r->x0, sizeof x);
    for (int k = 0; k < r->steps; k++) {
        hm_step_plan p;
        if (r->kind == HM_SOLVER_UNIPC) hm_unipc_plan(&p, sigma, r->steps, k);
        else if (r->kind == HM_SOLVER_DPMPP) hm_dpmpp_plan(&p, sigma, r->steps, k);
        else hm_euler_plan(&p, sigma, r->steps, k);
        velocity(r, x, r->t[k], v);
        for (int i = 0; i < N; i++) {
            const hm_combo *c = &p.corrector, *n = &p.predictor;
            const double m = x[i] - sigma[k] * v[i];
            if (p.correct) x[i] = c->x * last[i] + c->m[0] * m + c->m[1] * m0[i] + c->m[2] * m1[i];
            last[i] = x[i];
            x[i] = n->x * x[i] + n->m[0] * m + n->m[1] * m0[i];
            m1[i] = m0[i], m0[i] = m;
            const double ref = ((const double *)want->data)[(k + 1) * N + i];
            worst = fmax(worst, fabs(x[i] - ref));
            scale = fmax(scale, fabs(ref));
        }
    }
    parity_note(r->p, name, worst / scale, r->kind == HM_SOLVER_EULER ? 5e-6 : 1e-12);
}

static himmel_status one(run *r, hm_flow_grid grid, himmel_error *err)
{
    char name[100];
    const himmel_status rc = hm_flow_sigmas(r->sigma, r->t, r->steps, grid, r->shift, err);
    if (rc) return rc;
    if (stored(r, "sigmas", name)) parity_compare(r->p, name, r->sigma, r->steps + 1, 1e-7);
    const hm_tensor *t = stored(r, "timesteps", name);
    double worst = 0;
    for (int i = 0; t && i < r->steps; i++) {
        const double want = t->dtype == HM_I64 ? (double)((const int64_t *)t->data)[i] : (double)((const float *)t->data)[i];
        worst = fmax(worst, fabs(want - r->t[i]));
    }
    if (t) parity_note(r->p, name, worst, t->dtype == HM_I64 ? 1e-9 : 1e-3);
    through_solver(r, err);
    by_plan(r);
    return HIMMEL_OK;
}

himmel_status parity_wan_sched(parity *p, himmel_error *err)
{
    static const struct {
        const char *name;
        hm_solver_kind kind;
        hm_flow_grid grid;
    } runs[] = {{"unipc", HM_SOLVER_UNIPC, HM_GRID_UNIPC},
                {"dpm++", HM_SOLVER_DPMPP, HM_GRID_DPMPP},
                {"euler_unipc_grid", HM_SOLVER_EULER, HM_GRID_UNIPC},
                {"euler_dpm++_grid", HM_SOLVER_EULER, HM_GRID_DPMPP},
                {"euler_diffusers", HM_SOLVER_EULER, HM_GRID_DIFFUSERS}};
    static const int shifts[] = {1, 3, 5, 8, 12}, steps[] = {4, 10, 30, 50};
    const hm_tensor *A = hm_st_find(p->st, "in.A"), *b = hm_st_find(p->st, "in.b"), *x0 = hm_st_find(p->st, "in.x0");
    if (!A || !b || !x0 || A->dtype != HM_F64) return hm_fail(err, HIMMEL_EFORMAT, "an input is missing");
    himmel_status rc = HIMMEL_OK;
    for (size_t k = 0; k < HM_COUNT(runs); k++)
        for (size_t i = 0; i < HM_COUNT(shifts); i++)
            for (size_t j = 0; j < HM_COUNT(steps) && !rc; j++) {
                run r = {p, A->data, b->data, x0->data, runs[k].name, runs[k].kind, shifts[i], steps[j], {0}, {0}};
                rc = one(&r, runs[k].grid, err);
            }
    return rc;
}
