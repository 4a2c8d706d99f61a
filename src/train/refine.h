/* refine.h - `himmel train refiner`: its footage, in memory, drawn as it trains.
 * SPDX-License-Identifier: MIT
 * A record is one window of one scene: coefficients of the blocks around a crop, and a few full-size frames
 * of it. Records stand in a ring; record i is a function of (seed, i), the batch of a step of (seed, step),
 * so that a resumed run goes on as it would have. */
#ifndef HM_REFINE_H
#define HM_REFINE_H

#include "models/himmel/himmel1.h"
#include "train/optim.h"
#include "world/scene.h"

enum { HM_RECORD_FRAMES = 6 };

typedef struct {
    int T, gw, gh;             /* 1: a picture, 3: two seconds; the whole film's grid */
    int bx, by, bw, bh;        /* blocks in z */
    int x0, y0;                /* the crop in base pixels, even */
    int n_frames, t[HM_RECORD_FRAMES];
    bool made;                 /* z is what the transformer made of the scene, so it may differ from the frames */
    float *z;                  /* [T][bh][bw][K] */
    uint8_t *frame;            /* [n_frames][8C][8C][3] */
} hm_record;

typedef struct {
    const hm_codec *codec;
    int crop;                  /* C, a multiple of 2, base pixels a side; at most 144 */
    int cap;                   /* records kept */
    uint64_t seed;
    bool held_out;             /* scenes of combinations that are not trained on */
    const hm_himmel1 *model;   /* NULL, or whose transformer makes the coefficients of a share of the records: */
    double films;              /* the scene's own, noised to a level of 0.3 to 0.95 and sampled from there with its caption */
    int64_t made;              /* records made so far; the ring holds the last cap of them */
    hm_record *rec;            /* [cap] */
} hm_pool;

himmel_status hm_pool_init(hm_pool *p, const hm_codec *codec, int crop, int cap, uint64_t seed,
                           himmel_error *err);
void hm_pool_deinit(hm_pool *p);
/* Makes records until made == upto (skipping those that would be overwritten at once), in parallel. */
himmel_status hm_pool_fill(hm_pool *p, int64_t upto, himmel_error *err);

typedef struct {
    double noise;              /* largest standard deviation of the errors added to coefficients (std 1) */
    double known;              /* share of samples with known pixels */
    float sharp;               /* extra weight of detailed 4x4 patches, 0 = none */
} hm_crop_opts;
/* Sample number index of (seed): a random record, frame, mirror, noise -> x [C][C][28], residual
 * [2C][2C][48], weight [2C*2C], picture (the footage, as the residual lies). */
himmel_status hm_pool_sample(const hm_pool *p, const hm_crop_opts *o, uint64_t seed, uint64_t index,
                             float *x, float *residual, float *weight, float *picture, himmel_error *err);

/* How the refiner is trained: which parameters take which steps (fresh: branches start small), and the optimiser's constants
 * without its step sizes. */
void hm_refiner_rates(hm_params *ps, bool fresh);
hm_optim hm_refiner_optim(void);

#endif
