/* optim.h - Muon for matrices, AdamW for the rest, EMA, clipping, learning-rate schedule.   SPDX-License-Identifier: MIT
 * Muon: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". AdamW: Loshchilov & Hutter 2019. */
#ifndef HM_OPTIM_H
#define HM_OPTIM_H

#include "train/params.h"

typedef struct {
    double lr_muon, lr_adamw; /* peak step sizes: 0.02, 1e-3 */
    double beta1, beta2, eps; /* AdamW: 0.9, 0.95, 1e-8 */
    double momentum;          /* Muon: 0.95, Nesterov */
    double weight_decay;      /* decoupled, matrices only */
    double clip;              /* global gradient norm, 0 = off */
    double ema;               /* decay per step; the effective one is min(ema, (1+step)/(10+step)) */
    int64_t warmup;           /* steps of linear warm-up */
    int64_t decay_from, total;/* linear decay to 0 from step decay_from to total; total 0 = constant */
} hm_optim;

hm_optim hm_optim_default(void);
double hm_optim_lr_factor(const hm_optim *o, int64_t step); /* 0..1 */
/* One step on ps (step counts from 0): clip, update masters, working copies and EMA. Returns the gradient norm before clipping. */
double hm_optim_step(const hm_optim *o, hm_params *ps, int64_t step);

#endif
