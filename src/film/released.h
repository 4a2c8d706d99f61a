/* released.h - inside a film of a released model: the job, and what is given beside the words.   SPDX-License-Identifier: MIT */
#ifndef HM_RELEASED_H
#define HM_RELEASED_H

#include "film/film.h"
#include "provenance/manifest.h"

/* Beside the words: pictures of the job's size at their frames, and where they come from. All of it is borrowed. */
typedef struct {
    const hm_model_item *items;
    int n_items;
    bool whole;               /* the file has all of the job's frames, though fewer were asked for */
    const hm_source *sources; /* for the credentials */
    size_t n_sources;
    const char *inputs;       /* their names, for the file's tags */
    const char *settings;     /* what the bytes depend on beside the request, as lines; NULL: nothing */
} hm_material;

/* The model's job for a request: sides and frames rounded up; what is too much is cut off again. */
hm_model_job hm_released_job(const himmel_ctx *ctx, const himmel_request *r, int *n_frames);
/* Of a request that passed himmel_check (but for the words, which pictures can do without). */
himmel_status hm_released_make(himmel_ctx *ctx, const himmel_request *req, const hm_material *given, himmel_result *result,
                               himmel_error *err);
/* himmel_edit_run with a released model (released_edit.c): a new film through pictures. */
himmel_status hm_released_edit(himmel_ctx *ctx, const himmel_request *req, const himmel_edit *edit, himmel_result *result,
                               himmel_error *err);

#endif
