/* sample.h - Wan's denoising loop: guidance, two experts, a known first frame.   SPDX-License-Identifier: MIT
 * Source: Wan2.1 wan/text2video.py, image2video.py, vace.py; Wan2.2 wan/text2video.py, textimage2video.py.
 * Oracle: golden/e2e_*. */
#ifndef HM_WAN_SAMPLE_H
#define HM_WAN_SAMPLE_H

#include "diffusion/kept.h"
#include "diffusion/solver.h"
#include "diffusion/step_cache.h"
#include "models/wan/dit.h"

typedef struct {
    const hm_wan *model, *low;       /* low: 2.2's expert for t < boundary * 1000, or NULL */
    float boundary;                  /* 0.875 T2V, 0.9 I2V */
    float guidance, guidance_low;    /* v = uncond + guidance (cond - uncond); 1: without the second pass */
    hm_solver_kind solver;
    int steps;
    double shift;
    hm_wan_input in;                 /* T, H, W and the conditions; x, levels, row and text are set here */
    const float *text, *negative;    /* [n, text_dim] encoded prompts */
    int n_text, n_negative;
    const float *still;              /* [C,H,W] latent frame 0 that is known (TI2V), or NULL */
    const float *start;              /* [C,T,H,W] latents to start from, of which parts may stay; NULL: from noise */
    double level;                    /* noise level to begin with where there is a start, above 0; 1: the schedule's own */
    const uint8_t *stays;            /* [T,H,W] 1: is as in start in the end; NULL: nothing stays */
    bool told;                       /* the transformer is told: tokens that stay have no noise and t = 0 (TI2V); else they are
                                        put back after every step at its noise level, with the noise of the beginning (as RePaint) */
    double step_cache;               /* threshold, 0: every pass is computed */
    const hm_kept *kept;             /* go on from what is left there, leave each step there; NULL: neither */
    int *n_passes, *n_skipped;       /* passes computed and left out are added; NULL: nobody counts */
    int (*on_step)(void *user, int step, int steps, const float *x); /* before each step; nonzero stops; may be NULL */
    int (*on_clean)(void *user, const float *x); /* what is foreseen as the end, after each step's velocity; nonzero stops; may be NULL */
    void *user;
} hm_wan_sampling;

/* Noise levels [steps + 1] and times [steps] of a sampling: as many steps as are returned (a start leaves out the first ones),
 * at most s->steps + 1; 0: err says why. */
int hm_wan_levels(const hm_wan_sampling *s, float *sigma, float *t, himmel_error *err);
/* x [out_dim,T,H,W]: noise becomes latents, in place. */
himmel_status hm_wan_sample(hm_graph *g, const hm_wan_sampling *s, float *x, himmel_error *err);

#endif
