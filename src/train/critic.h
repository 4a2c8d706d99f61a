/* critic.h - tells refined crops from rendered ones; what the refiner learns sharpness from.   SPDX-License-Identifier: MIT
 * Squared error alone makes the refiner leave out every detail it cannot place to the pixel: its pictures have half of the footage's
 * gradient energy. The critic (Goodfellow et al. 2014; by patches: Isola et al. 2017) looks at nothing but the picture:
 *   picture [B,2C,2C,48] + noise -> 8x8 pixels a place -> DCT, each coefficient by its deviation in footage [B,C,C,96]
 *     -> convolutions, stride 4 in all, leaky rectifiers -> [B,C/4,C/4,2] footage or not, each seeing 168 pixels
 * It is trained beside the refiner and in its state ("critic."), and never released. */
#ifndef HM_CRITIC_H
#define HM_CRITIC_H

#include "train/optim.h"

typedef struct hm_critic hm_critic;

/* Patches of 4x4 pixels a place are [rows][rows][48], channel (colour*4 + dy)*4 + dx, as the refiner's correction; rows = 2C must be a
 * multiple of 8. ps: gets the parameters "critic.*". */
himmel_status hm_critic_new(hm_critic **out, hm_params *ps, int threads, himmel_error *err);
void hm_critic_free(hm_critic *c); /* NULL is fine */

/* Deviations of the DCT's coefficients from n footage crops [n][rows][rows][48]: to be called once before the first step. */
void hm_critic_calibrate(hm_critic *c, const float *footage, int64_t n, int rows);

/* One step of the critic on B pairs, then the gradient of the refiner's part, -log P(footage), mean over places, with respect to made:
 * grad [B][rows][rows][48]. Noise comes from seed. */
typedef struct {
    double loss, right; /* cross entropy; share of places told rightly, before the step */
} hm_critic_report;
hm_critic_report hm_critic_step(hm_critic *c, const hm_optim *o, int64_t step, const float *footage, const float *made, int64_t B, int rows,
                                uint64_t seed, float *grad);

#endif
