/* sampler.h - rectified-flow schedules and solvers: maths on latents, knows no model.   SPDX-License-Identifier: MIT
 * x_t = (1-t) x0 + t noise, velocity v = noise - x0, dx/dt = v. t runs from 1 to 0. */
#ifndef HM_SAMPLER_H
#define HM_SAMPLER_H

#include "base/base.h"

typedef enum { HM_SCHED_UNIFORM, HM_SCHED_SD3_SHIFT, HM_SCHED_LINEAR_QUADRATIC } hm_sched_kind;
/* t[0..steps-1] descending in (0,1]; the end 0 is implied. shift: SD3 time shift s t/(1+(s-1)t), 1 = none;
 * target_terminal: stretch so that the last t is this (0 = off). As LTX's RectifiedFlowScheduler (golden/ltx_sched). */
himmel_status hm_schedule(float *t, int steps, hm_sched_kind kind, double shift, double target_terminal, himmel_error *err);

/* LTX's shift for a latent of so many tokens: exp(mu), mu linear from 0.95 at 1024 to 2.05 at 4096. */
double hm_sd3_shift(int64_t n_tokens);
/* Times of the tokens in step number `step` of schedule t: where each is and where it goes. strength [rows] is how well a
 * token is known (1 = wholly, 0 = not at all; NULL = no token is): its time is min(t, 1 - strength), and it stays there until
 * the others have come down to it; then it goes to the largest entry below. As LTX's conditioning. */
void hm_token_times(float *t_now, float *t_next, const float *strength, int64_t rows, const float *t, int steps, int step);
/* LTX's guidance_mapping: which entry of a descending list of times holds at t: the first that is <= t, else the last. */
int hm_guidance_index(const float *list, int n, float t);

/* One Euler step of tokens with their own times: x[i] += (t_next[i] - t_now[i]) * v[i] over rows of D. */
void hm_euler_step(float *x, const float *v, const float *t_now, const float *t_next, int64_t rows, int64_t D);
/* The stochastic form: x0 = x - t_now v, x = (1 - t_next) x0 + t_next noise. */
void hm_renoise_step(float *x, const float *v, const float *noise, const float *t_now, const float *t_next, int64_t rows,
                     int64_t D);
/* Classifier-free guidance: v = neg + s (text - neg), optionally rescaled (Lin et al. 2023) toward text's deviation. */
void hm_guide(float *v, const float *text, const float *neg, int64_t n, float scale, float rescale);
/* With spatio-temporal guidance: + stg (text - perturbed) before the rescaling; neg or perturbed may be NULL (left out).
 * v may be one of the inputs. Deviations are over all n values, n - 1. */
typedef struct { float scale, stg, rescale; } hm_guidance;
void hm_guide_stg(float *v, const float *text, const float *neg, const float *perturbed, int64_t n, const hm_guidance *o);

#endif
