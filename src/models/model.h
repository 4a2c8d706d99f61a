/* model.h - a released video model as film/ sees it: words and pictures in, frames out.
 * SPDX-License-Identifier: MIT One implementation (hm_model_ops) per family, in its own folder; model.c has
 * the list and finds the family by the tensors in the files. Weights are mapped and shared; everything per
 * job lives in hm_model_run's call. himmel-1 has its own way. */
#ifndef HM_MODEL_H
#define HM_MODEL_H

#include "diffusion/kept.h"
#include "models/lora.h"
#include "tensor/tensor.h"

typedef struct hm_model hm_model;

enum { HM_MODEL_MAX_FILES = 8 };
typedef struct {
    const char *const *paths; /* 1..HM_MODEL_MAX_FILES; the first is what the user named */
    int n_paths;
    const hm_lora *loras; /* merged into the transformer */
    int n_loras;
    bool int8; /* linear layers of the transformer's blocks in int8 */
} hm_model_files;
/* What was opened, and what a job may ask of it. */
typedef struct {
    const char *family; /* "ltx-video"; static storage */
    char name[96];      /* "LTX-Video 2B 0.9.8 distilled" */
    char
        missing[400]; /* a sentence on what else is needed for a film and where it may lie; "" = nothing is */
    uint8_t files[32]; /* which files they are: place, size and times of change of all */
    uint64_t n_params, file_bytes; /* of all files */
    uint64_t merged_bytes;         /* weights that LoRAs changed: unlike mapped ones they stay in memory */
    uint64_t int8_bytes, int8_from; /* of the int8 copies, which stay as well, and of the weights that are not read beside them; 0 = none */
    int side_step;                 /* width and height: multiples of it */
    int frame_step;                /* frames: 1 + a multiple of it */
    int max_frames;
    int width, height, n_frames, steps; /* what the model was made for */
    double fps, guidance;
    const char *negative;          /* what its makers say to keep away from, "" = nothing */
    bool takes_items, takes_start; /* pictures and clips at their frames; a film to start from, of which parts may stay */
    bool previews;        /* has a tiny decoder: on_preview is called */
    bool takes_reference; /* a picture of who or what the film is about, which is in none of its frames */
    bool last_only;  /* a film leads to a picture in its very last frame alone */
    bool ends_whole; /* a picture at the end belongs into the job's very last frame */
    int goes_on, leads_to; /* frames of a clip that a film can begin with, and end with; 1: a picture, 0: nothing */
    int loose;             /* clips of at most so many frames may begin at any frame */
    bool needs_first, needs_last; /* makes nothing that does not begin, end with a picture */
} hm_model_facts;

/* Frames that are given: shown from frame number `at` on, or leading there. */
typedef struct {
    const float *rgb; /* [n_frames][height][width][3], 0..1, of the job's size */
    int n_frames, at; /* 1 or 1 + a multiple of frame_step; at: a multiple of frame_step where n_frames > loose */
    double strength;  /* 1 = exactly these .. 0 = not at all */
} hm_model_item;

typedef struct {
    const char *prompt, *negative; /* negative NULL or "": nothing said */
    int width, height, n_frames;   /* as the facts allow */
    double fps;
    uint64_t seed;
    int steps;       /* 0: the model's own schedule */
    double guidance; /* < 0: the model's own; 1 = off */
    double step_cache; /* passes whose answer is foreseen to change less are left out (diffusion/step_cache.h); 0: none */
    const hm_kept *kept; /* the sampler goes on from there; NULL: nothing is kept */
    const char *text_cache; /* folder (text/cache.h); NULL: none */
    const hm_model_item *items;
    int n_items;
    const float *start; /* [n_frames][height][width][3], 0..1: a film to start from; NULL: noise */
    double start_level; /* how much of it goes: the noise level of the first step, 0 < level <= 1 */
    const uint8_t *mask; /* [n_frames][height][width] 1: may change, 0: stays as in start; NULL: all may change. What it
                            covers in start should lead over from what it does not: an autoencoder sees around corners */
    const float *reference; /* [height][width][3], 0..1: who or what the film is about, on white; NULL: nothing is shown */
    int threads;
    /* step of n_steps of a phase ("text", "sample", "film") are done; not 0 stops with ECANCELLED. May be
     * NULL. */
    int (*on_step)(void *user, const char *phase, int step, int n_steps);
    /* Frame i, in order, [height][width][3], 0..1, for the call only. */
    himmel_status (*on_frame)(void *user, int i, const float *rgb, himmel_error *err);
    /* While it is sampled, a small picture of the middle of what is foreseen, now and then, for the call only, if the model has a
     * tiny decoder (models/tae.h). Not 0 stops. May be NULL. */
    int (*on_preview)(void *user, const uint8_t *rgb, int width, int height);
    void *user;
} hm_model_job;

typedef struct {
    double text_seconds, sample_seconds, decode_seconds;
    double text_gflop, sample_gflop, decode_gflop;
    int passes, passes_skipped; /* of one prompt's row through the transformer; 0 in a plan */
    uint64_t peak_bytes; /* working memory; the mapped weights come on top */
} hm_model_cost;

typedef struct {
    const char *family;
    /* Is this file the transformer of the family? Opens it; errors mean no. */
    bool (*claims)(const char *path);
    /* The other paths, and files of known names beside the first, may add what it lacks. */
    himmel_status (*open)(void **self, const hm_model_files *files, himmel_error *err);
    void (*close)(void *self); /* NULL is fine */
    void (*facts)(const void *self, hm_model_facts *f);
    /* The int8 copies of a model that was opened with them: their numbers, worked out on g. Before the first run, on one thread. */
    himmel_status (*pack)(void *self, hm_graph *g, himmel_error *err);
    himmel_status (*plan)(const void *self, const hm_model_job *job, hm_model_cost *cost, himmel_error *err);
    himmel_status (*run)(const void *self, const hm_model_job *job, hm_model_cost *cost, himmel_error *err);
} hm_model_ops;

/* For the families: of the job's mask over n frames from frame `at` on, h x w cells, which have no pixel that may change: 1. */
void hm_model_mask_cells(const hm_model_job *job, int at, int n, int h, int w, uint8_t *stays);

/* Static storage; NULL: it is no transformer of a family. */
const char *hm_model_family(const char *path);
/* EMODEL: no family knows the file; the sentence says what it holds. */
himmel_status hm_model_open(hm_model **out, const hm_model_files *files, himmel_error *err);
void hm_model_close(hm_model *m); /* NULL is fine */
void hm_model_get_facts(const hm_model *m, hm_model_facts *f);
/* EINVAL: the job is not as the facts allow; the sentence names the field and the nearest that is. */
himmel_status hm_model_check(const hm_model *m, const hm_model_job *job, himmel_error *err);
/* Shapes only: operations and memory, before anything is computed. Frames and masks are not looked at, but whether there are
 * any (not NULL) counts. */
himmel_status hm_model_plan(const hm_model *m, const hm_model_job *job, hm_model_cost *cost,
                            himmel_error *err);
himmel_status hm_model_run(const hm_model *m, const hm_model_job *job, hm_model_cost *cost,
                           himmel_error *err);

#endif
