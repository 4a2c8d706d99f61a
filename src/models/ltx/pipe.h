/* pipe.h - LTX-Video's pipelines: latents from text, pictures, clips or other latents, and back to frames.
 * SPDX-License-Identifier: MIT
 * Source: Lightricks/LTX-Video ltx_video/pipelines/pipeline_ltx_video.py. Oracle: golden/ltx_pipe_*. Latents
 * are [T*h*w][C] f32, normalized; frames [n][height][width][3], -1..1. */
#ifndef HM_LTX_PIPE_H
#define HM_LTX_PIPE_H

#include "diffusion/kept.h"
#include "models/ltx/dit.h"
#include "models/ltx/upsampler.h"
#include "models/ltx/vae.h"

/* The networks and what the text encoder said. Hidden states [M][caption channels] and masks [M] (1 = token)
 * of the prompt and of what to keep away from, f32. Weights are shared, g is the caller's own. */
typedef struct {
    hm_graph *g;
    const hm_dit *dit;
    const hm_vae *vae;
    int64_t M;
    const float *text[2], *mask[2]; /* negative, prompt */
} hm_ltx_nets;

/* Guidance by time: entry i holds from the first times[i] <= t on. scale 1 or less: no second pass for it;
 * stg 0: no third one. */
enum { HM_LTX_MAX_GUIDE = 16, HM_LTX_MAX_STEPS = 256 };
typedef struct {
    int n;
    float times[HM_LTX_MAX_GUIDE], scale[HM_LTX_MAX_GUIDE], stg[HM_LTX_MAX_GUIDE], rescale[HM_LTX_MAX_GUIDE];
    uint64_t layers[HM_LTX_MAX_GUIDE]; /* bit l: layer l is perturbed */
    int stg_mode;                      /* HM_STG_* */
    bool star; /* the negative's velocity is first scaled to fit the prompt's (CFG-zero-star) */
} hm_ltx_guide;

enum { HM_LTX_PREFIX = 2, HM_LTX_LOOSE = 9 }; /* latents, and the frames they are, that a later clip gives as tokens of its own */
typedef struct {
    const float *rgb;
    int n_frames, height, width; /* other sizes than the film's are stretched to it */
    int at; /* frame of the film; 0: the first frames are these; else a keyframe or a later clip (of more than
               HM_LTX_LOOSE frames: a multiple of the VAE's scale) */
    float strength;
} hm_ltx_item;

typedef enum {
    HM_LTX_INIT,
    HM_LTX_POSTERIOR,
    HM_LTX_EXTRA,
    HM_LTX_IMAGE,
    HM_LTX_STEP,
    HM_LTX_DECODE,
    HM_LTX_MAP
} hm_ltx_draw;
/* What a pass asks its caller for: normal numbers (rows of C), whether to go on, and (parity) a look at what
 * is inside. */
typedef struct {
    void *user;
    void (*draw)(void *user, hm_ltx_draw what, float *x, int64_t rows, int64_t C);
    int (*on_step)(void *user, int step, int n_steps); /* not 0: stop; may be NULL */
    void (*look)(void *user, const char *name, int step, const float *x, int64_t rows,
                 int64_t C); /* may be NULL */
    /* What is foreseen as the film's latents [T*h*w][C], after each step's velocity; not 0: stop; may be NULL. */
    int (*on_clean)(void *user, const float *z, int64_t T, int64_t h, int64_t w);
    const hm_kept *kept;     /* go on from what is left there, leave each step there; NULL: neither */
    int *draws;              /* with kept: how often `draw` was called, which what it gives depends on */
} hm_ltx_calls;

typedef struct {
    int width, height, n_frames; /* multiples of the VAE's scale; 1 + a multiple */
    double fps;
    float times[HM_LTX_MAX_STEPS];
    int n_times;
    hm_ltx_guide guide;
    const hm_ltx_item *items;
    int n_items;
    float image_noise;        /* of tokens that are given exactly, times t^2 */
    const float *start;       /* latents to start from, noised to times[0]; NULL: none */
    const hm_ltx_item *media; /* or frames of the film's length; NULL: none */
    const uint8_t *known;     /* [T*h*w] 1: the token stays as media has it; NULL: none does */
    bool stochastic;          /* new noise in every step */
    double step_cache;        /* threshold, 0: every pass is computed */
    int *n_passes, *n_skipped; /* rows computed and left out are added; NULL: nobody counts */
} hm_ltx_pass;

/* z [T*h*w][C]. EINVAL: a size or item is impossible; ECANCELLED. */
himmel_status hm_ltx_sample(const hm_ltx_nets *n, const hm_ltx_pass *p, const hm_ltx_calls *calls, float *z,
                            himmel_error *err);
/* Shapes only (n->g a plan graph, items without frames): what is given is encoded, then one forward pass of as many rows as
 * the pass ever has; operations of all steps. */
himmel_status hm_ltx_plan_sample(const hm_ltx_nets *n, const hm_ltx_pass *p, double *gflop,
                                 himmel_error *err);

typedef struct {
    int width, height, n_frames;
    float time, noise, tone; /* decode timestep, noise before it, tone map compression */
    himmel_status (*on_frame)(void *user, int i, const float *rgb,
                              himmel_error *err); /* [height][width][3] about -1..1 */
    void *user;
} hm_ltx_decode;
/* z is changed. Frames come in order, one at a time. */
himmel_status hm_ltx_decode_film(const hm_ltx_nets *n, const hm_ltx_decode *d, const hm_ltx_calls *calls,
                                 float *z, himmel_error *err);
/* In a plan graph shapes only. Frames to normalized latents z [(1+(n-1)/8) h w][C], sampled with calls->draw. */
himmel_status hm_ltx_encode_frames(const hm_ltx_nets *n, const hm_ltx_item *item, int width, int height,
                                   const hm_ltx_calls *calls, float *z, himmel_error *err);
/* Normalized latents of T frames h x w -> twice as large; AdaIN to what they were. to [T 2h 2w][C]. */
himmel_status hm_ltx_upsample(const hm_ltx_nets *n, const hm_upsampler *u, const float *z, int64_t T,
                              int64_t h, int64_t w, const hm_ltx_calls *calls, float *to, himmel_error *err);

#endif
