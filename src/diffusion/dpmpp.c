/* dpmpp.c - DPM-Solver++(2M), midpoint: weights of one step.   SPDX-License-Identifier: MIT
 * With lambda = log((1-s)/s), h = lambda' - lambda, r = (lambda - lambda of the step before) / h:
 *   x' = s'/s x - (1-s') (e^-h - 1) (m0 + 1/2 (m0 - m1) / r)                 (order 1: without the last term)
 * Source: Wan2.1 wan/utils/fm_solvers.py (multistep_dpm_solver_second_order_update).
 * Traps: the first and the last step are of order 1; the first level is 1, so its lambda is -inf and r of step 1 is
 * +inf: the term is 0 by the rules of infinite arithmetic. */
#include <math.h>

#include "diffusion/solver.h"

static double lambda(double s) { return log(1.0 - s) - log(s); }

void hm_dpmpp_plan(hm_step_plan *p, const double *sigma, int steps, int step)
{
    const double s = sigma[step], next = sigma[step + 1], h = lambda(next) - lambda(s), a = -(1.0 - next) * expm1(-h);
    *p = (hm_step_plan){.predictor = {.x = next / s, .m = {a}}};
    if (step == 0 || step == steps - 1) return;
    const double half = 0.5 / ((lambda(s) - lambda(sigma[step - 1])) / h);
    p->predictor.m[0] += a * half;
    p->predictor.m[1] = -a * half;
}
