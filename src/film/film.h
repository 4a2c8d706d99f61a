/* film.h - inside a generation: context, layout, sampler, stream of frames.   SPDX-License-Identifier: MIT
 *   request -layout-> grid -text-> hidden states -sampler-> latents [T][gh][gw][K] -stream-> frames -> file
 * The parts can be used alone: evaluation samples latents and looks at the decoded film without a file. */
#ifndef HM_FILM_H
#define HM_FILM_H

#include <pthread.h>

#include "himmel.h"
#include "media/scale.h"
#include "models/himmel/himmel1.h"
#include "models/model.h"

struct himmel_ctx {
    hm_himmel1 *model;      /* or */
    hm_model *released;     /* another model; one of both is NULL */
    hm_model_facts facts;   /* of the released one */
    char sha256[65];        /* of its file; "" = not computed yet (hm_ctx_sha256) */
    char loras[1400];       /* "NAME:STRENGTH:SHA-256, ..." of what was merged into it */
    bool int8;              /* its linear layers are computed in int8 */
    char path[4096], isa[64];
    int threads;
    uint64_t file_bytes, n_params;
    uint64_t max_memory;    /* himmel_options */
    char cache[4096];       /* "" = none */
    pthread_mutex_t lock; /* of what is measured or counted once */
    double peak_gflops;   /* 0 = not measured yet */
    char identity_dir[4096];
    char time_server[512];        /* "" = no time stamps */
    struct hm_identity *identity; /* NULL = not needed yet */
};

/* ---- layout: what is computed for a request (layout.c) ---- */

typedef struct {
    int gw, gh, T;         /* blocks; T counts the still and the seconds */
    int base_w, base_h;    /* 16 gw x 16 gh */
    int full_w, full_h;    /* what the refiner gives: 8 times the base */
    double x, y, w, h;     /* the part of full that fills the output */
    int n_frames;          /* of the file */
    double base_step;      /* base frames (24 a second) from one frame of the file to the next */
} hm_layout;
/* The grid of at most 160 blocks for an aspect ratio: most blocks in the picture, least cut away. */
void hm_grid(int width, int height, int *gw, int *gh);
void hm_layout_for(hm_layout *l, const himmel_request *req); /* of a request that passed himmel_check */

/* ---- what the sampler has done, on disk (keep.c) ---- */

typedef struct {
    const char *path; /* files path.0, path.1 ... */
    int n;            /* runs of the sampler so far in this job */
    double saved;     /* when it was last written, hm_now() */
    bool each;        /* every step is saved: they take seconds */
} hm_keep;
/* The state x [n] that was saved of run k->n under that key into x: returns its step, 0: there is none, x is untouched. */
int hm_keep_load(hm_keep *k, const uint8_t key[32], int n_steps, float *x, size_t n);
/* Save it, a few times a second at most (or each), the last step always. A failure is passed over. */
void hm_keep_save(hm_keep *k, const uint8_t key[32], int step, bool last, const float *x, size_t n);
void hm_keep_remove(hm_keep *k); /* the job is done */

/* ---- sampler (sample.c) ---- */

/* What is given beside the words. A known token has noise level 0 and stays as it is (as in training). */
enum { HM_MAX_EXTRA = 3 };
typedef struct {
    const float *z;       /* [T*gh*gw*K]; used where known, and everywhere if start is below 1 */
    const uint8_t *known; /* [T*gh*gw] 1: the token stays as in z; NULL: none does */
    double start;         /* noise level at the first step, 0 < start <= 1; below 1 unknown tokens start from z */
    int n_extra;          /* stills at other times, at most HM_MAX_EXTRA: seen, never part of the result */
    const float *extra;   /* [n_extra*gh*gw*K] */
    double extra_at[HM_MAX_EXTRA]; /* their seconds in the film */
    /* Puts what is known of partly known tokens into the estimate of the clean latents; NULL: nothing is. Called
     * after every step, last = the last one. */
    void (*paste)(void *user, float *clean, bool last);
    void *user;
} hm_given;

typedef struct {
    const char *prompt, *negative; /* NULL or "": nothing said */
    const hm_given *given;         /* NULL: nothing but noise */
    hm_keep *keep;                 /* go on from what is saved there, save there; NULL: neither */
    uint64_t seed;
    int steps;
    double guidance;
    int gw, gh, T;
    bool f32;              /* activations in f32: for comparison with other implementations */
    /* After each step, with the estimate of the clean latents [T][gh][gw][K]; not 0 stops. May be NULL. */
    int (*on_step)(void *user, int step, const float *clean);
    void *user;
} hm_sample_opts;
typedef struct {
    double text_seconds, sample_seconds, text_gflop, sample_gflop;
    uint64_t peak_bytes;
} hm_sample_cost;
/* z [T*gh*gw*K]. cost may be NULL. */
himmel_status hm_sample(const hm_himmel1 *m, const hm_sample_opts *o, int threads, float *z,
                        hm_sample_cost *cost, himmel_error *err);
/* Shapes only: operations and most memory of one hm_sample. */
himmel_status hm_sample_plan(const hm_himmel1 *m, const hm_sample_opts *o, hm_sample_cost *cost,
                             himmel_error *err);

/* ---- stream: latents to refined frames, one at a time, in order (stream.c) ---- */

typedef struct hm_stream hm_stream;
typedef struct {
    double decode_seconds, refine_seconds, refine_gflop;
    uint64_t peak_bytes; /* arena of the refiner and decoded frames */
} hm_stream_cost;
/* z is borrowed. No film larger than a second is in memory. */
himmel_status hm_stream_new(hm_stream **out, const hm_himmel1 *m, const float *z, int gw, int gh, int T,
                            int threads, himmel_error *err);
void hm_stream_free(hm_stream *s);
/* The picture at base frame `at` (24 a second, 0..24(T-1), between frames mixed linearly; later ones need not
 * be reached, earlier ones cost a new start) as [8 base_h][8 base_w][3] of type *t, valid until the next
 * call. */
const void *hm_stream_frame(hm_stream *s, double at, hm_pix *t);
const hm_stream_cost *hm_stream_costs(const hm_stream *s);
himmel_status hm_stream_plan(const hm_himmel1 *m, int gw, int gh, int threads, hm_stream_cost *cost,
                             himmel_error *err);

/* ---- released models (released.c) ---- */

himmel_status hm_released_generate(himmel_ctx *ctx, const himmel_request *req, himmel_result *result, himmel_error *err);
himmel_status hm_released_plan(himmel_ctx *ctx, const himmel_request *req, himmel_plan_info *plan, himmel_error *err);
/* SHA-256 of the model's file; read once, which takes its time with gigabytes. */
const char *hm_ctx_sha256(himmel_ctx *ctx);

/* ---- small things ---- */

/* The middle of latents z [T][gh][gw][K], through the codec only, as rgb [h][w][3]. false: out of memory. */
bool hm_rough_picture(const himmel_ctx *ctx, const hm_layout *l, const float *z, int T, int w, int h, uint8_t *rgb);
/* rgb [h][w][3] as large as out [out_h][out_w][3]. false: out of memory. */
bool hm_resize_picture(const uint8_t *rgb, int w, int h, uint8_t *out, int out_w, int out_h);
/* Can a picture be written there? Before the work, not after. */
himmel_status hm_probe_output(const char *path, himmel_error *err);

bool hm_utf8_valid(const char *s, size_t *bad); /* *bad: offset of the first wrong byte */

#endif
