/* solver.h - flow-matching solvers of Wan: UniPC, DPM++ 2M and Euler, with flow shift.   SPDX-License-Identifier: MIT
 * x_s = (1-s) x0 + s noise, velocity v = noise - x0, so x0 = x - s v. A step is a linear combination of the sample and of the
 * last estimates of x0; its weights are formed in double and depend on the noise levels alone.
 * Source: Wan2.1 wan/utils/fm_solvers_unipc.py, fm_solvers.py (UniPC: arXiv 2302.04867; DPM++: 2211.01095).
 * Oracle: golden/schedulers. */
#ifndef HM_SOLVER_H
#define HM_SOLVER_H

#include "base/base.h"

typedef enum { HM_SOLVER_UNIPC, HM_SOLVER_DPMPP, HM_SOLVER_EULER } hm_solver_kind;
/* Where the even grid of noise levels starts before the shift: 0.999 (Wan's UniPC), 1 (Wan's DPM++), and diffusers'
 * FlowMatchEuler, which ends above 0, shifts twice at its lower end and does not truncate its timesteps. */
typedef enum { HM_GRID_UNIPC, HM_GRID_DPMPP, HM_GRID_DIFFUSERS } hm_flow_grid;

enum { HM_MAX_STEPS = 1000 };

/* sigma [steps+1] descending, the last is 0; t [steps] = what the model is told, 0..1000, whole numbers on Wan's grids.
 * shift s: sigma -> s sigma / (1 + (s-1) sigma). */
himmel_status hm_flow_sigmas(float *sigma, float *t, int steps, hm_flow_grid grid, double shift, himmel_error *err);

/* x' = x * sample + sum m[i] * (estimate of x0, i steps ago) */
typedef struct { double x, m[3]; } hm_combo;
/* First the sample is corrected, from the one that the last step started from; then the next is predicted. */
typedef struct { bool correct; hm_combo corrector, predictor; } hm_step_plan;
void hm_unipc_plan(hm_step_plan *p, const double *sigma, int steps, int step);
void hm_dpmpp_plan(hm_step_plan *p, const double *sigma, int steps, int step);
void hm_euler_plan(hm_step_plan *p, const double *sigma, int steps, int step);

typedef struct hm_solver hm_solver;
/* For samples of n numbers; 12 n bytes of memory. */
himmel_status hm_solver_new(hm_solver **out, hm_solver_kind kind, const float *sigma, int steps, int64_t n, himmel_error *err);
void hm_solver_free(hm_solver *s); /* NULL is fine */
/* What a solver knows beside x, 3 n numbers; to go on from there, before call number `step`. */
void hm_solver_store(const hm_solver *s, float *state);
void hm_solver_restore(hm_solver *s, const float *state, int step);
/* x [n] at sigma[k] in the k-th call becomes x at sigma[k+1]; v is the velocity there. At most `steps` calls. */
void hm_solver_step(hm_solver *s, float *x, const float *v);

#endif
