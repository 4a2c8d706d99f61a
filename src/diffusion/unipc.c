/* unipc.c - UniPC of order 2, B(h) = e^-h - 1, predicting x0: weights of one step.   SPDX-License-Identifier: MIT
 * With lambda = log((1-s)/s), h = lambda' - lambda, phi1 = e^-h - 1, r = (lambda of the step before - lambda) / h:
 *   predict:  x' = s'/s x - (1-s') phi1 (m0 + 1/2 (m1 - m0) / r)             (order 1: without the last term)
 *   correct:  the same step once more from its start, with m at its end known: rho solves R rho = b (order 1: rho = 1/2)
 * Source: Wan2.1 wan/utils/fm_solvers_unipc.py (multistep_uni_p_bh_update, multistep_uni_c_bh_update).
 * Traps: order 1 in the first and the last step; the corrector runs from step 1 on with the order of the step before;
 * s' = 0 means h = inf: phi1 = -1 and every weight stays finite. */
#include <math.h>

#include "diffusion/solver.h"

static double lambda(double s) { return log((1.0 - s) / s); }

static int order_of(int steps, int step) { return step == 0 || step == steps - 1 ? 1 : 2; }

/* Weights from sigma[at] to sigma[at+1]: m[0] is at `at`, m[1] one before. */
static hm_combo predictor(const double *sigma, int at, int order)
{
    const double s = sigma[at], next = sigma[at + 1], h = lambda(next) - lambda(s), phi1 = expm1(-h), a = -(1.0 - next) * phi1;
    hm_combo c = {.x = next / s, .m = {a}};
    if (order == 2) {
        const double r = (lambda(sigma[at - 1]) - lambda(s)) / h;
        c.m[0] -= a * 0.5 / r;
        c.m[1] = a * 0.5 / r;
    }
    return c;
}

/* The same step again: m[0] is at at+1, m[1] at `at`, m[2] one before. */
static hm_combo corrector(const double *sigma, int at, int order)
{
    const double s = sigma[at], next = sigma[at + 1], hh = lambda(s) - lambda(next), phi1 = expm1(hh), a = -(1.0 - next) * phi1;
    double end = 0.5, before = 0, r = 1;
    if (order == 2) { /* [1 1; r 1] [before end] = [b0 b1] */
        const double k1 = phi1 / hh - 1.0, k2 = k1 / hh - 0.5, b0 = k1 / phi1, b1 = 2.0 * k2 / phi1;
        r = (lambda(sigma[at - 1]) - lambda(s)) / -hh;
        before = (b0 - b1) / (1.0 - r);
        end = b0 - before;
    }
    return (hm_combo){.x = next / s, .m = {a * end, a * (1.0 - end - before / r), a * before / r}};
}

void hm_unipc_plan(hm_step_plan *p, const double *sigma, int steps, int step)
{
    *p = (hm_step_plan){.correct = step > 0, .predictor = predictor(sigma, step, order_of(steps, step))};
    if (p->correct) p->corrector = corrector(sigma, step - 1, order_of(steps, step - 1));
}
