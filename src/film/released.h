/* released.h - inside a film of a released model: the job, and what is given beside the words.   SPDX-License-Identifier: MIT */
#ifndef HM_RELEASED_H
#define HM_RELEASED_H

#include "film/film.h"
#include "media/decode.h"
#include "provenance/manifest.h"

/* Beside the words: pictures of the job's size at their frames, and where they come from. All of it is borrowed. */
typedef struct {
    const hm_model_item *items;
    int n_items;
    const float *reference;   /* as the job's */
    bool whole;               /* the file has all of the job's frames, though fewer were asked for */
    const hm_source *sources; /* for the credentials */
    size_t n_sources;
    hm_reader reader;         /* looks into them */
    const char *inputs;       /* their names, for the file's tags */
    const char *settings;     /* what the bytes depend on beside the request, as lines; NULL: nothing */
} hm_material;

/* The model's sampler goes on from what is on disk, and leaves its steps there: job->kept = &k->kept. All is borrowed. */
typedef struct {
    hm_keep *keep;
    uint8_t key[32];
    hm_kept kept;
} hm_released_kept;
void hm_released_keep(hm_released_kept *k, himmel_ctx *ctx, const hm_model_job *job, hm_keep *keep);

/* What a job costs; ENOMEM: it does not fit. */
himmel_status hm_released_fits(himmel_ctx *ctx, const himmel_request *req, const hm_model_job *job, himmel_plan_info *plan,
                               himmel_error *err);
/* The model's job for a request: sides and frames rounded up; what is too much is cut off again. */
hm_model_job hm_released_job(const himmel_ctx *ctx, const himmel_request *r, int *n_frames);
/* Of a request that passed himmel_check (but for the words, which pictures can do without). */
himmel_status hm_released_make(himmel_ctx *ctx, const himmel_request *req, const hm_material *given, himmel_result *result,
                               himmel_error *err);
/* What was not asked for: the first picture's shape (NULL: the model's) with as many pixels as the model was made for, at its
 * rate. */
void hm_released_follow(const himmel_ctx *ctx, const hm_media_info *first, himmel_request *r);
/* Is it a new film from one prompt that the model makes in one go? Others are made of windows (edit_strips.c). */
bool hm_released_at_once(const himmel_ctx *ctx, const himmel_request *req, const himmel_edit *edit);
/* himmel_edit_run of such a film (released_edit.c). */
himmel_status hm_released_edit(himmel_ctx *ctx, const himmel_request *req, const himmel_edit *edit, himmel_result *result,
                               himmel_error *err);

#endif
