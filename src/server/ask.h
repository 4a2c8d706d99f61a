/* ask.h - from the fields of a request to a job.   SPDX-License-Identifier: MIT
 * Every function returns false when it has answered (with an error). Inputs are stored as inputs/ID-0, ID-1 ... */
#ifndef HM_ASK_H
#define HM_ASK_H

#include "server/http.h"

typedef struct {
    hm_call *c;
    hm_job job;
    json_t *req;      /* render.h */
    int n_inputs;
    bool submitted;
} hm_ask;

/* kind "video" or "image"; fields: those that this route knows, NULL at the end. End with hm_ask_end(). */
bool hm_ask_begin(hm_ask *a, hm_call *c, const char *kind, const char *const *fields);
void hm_ask_end(hm_ask *a); /* what was not submitted leaves no file */

/* prompt (needed or not), model, seed, steps, guidance, negative_prompt, fps, visible_mark, sign_prompt */
bool hm_ask_common(hm_ask *a, bool needs_prompt);
/* size: "1280x720" into the request; missing: otherwise (NULL: follows the input). */
bool hm_ask_size(hm_ask *a, const char *otherwise);
/* A number from lo to hi, as text or number. Missing: otherwise. */
bool hm_ask_number(hm_call *c, const char *name, double lo, double hi, double otherwise, double *out);
bool hm_ask_bool(hm_call *c, const char *name, bool otherwise, bool *out);

/* A film or picture from field `name`: uploaded, name[id] or name[video_id] (a film made here), name[image_url] (data: only).
 * path: its place in the data folder for the request, "" if the field is missing and not needed. from (may be NULL): the job it was made by, "". */
typedef struct {
    char path[128], from[HM_ID];
    himmel_media media;
} hm_input;
bool hm_ask_input(hm_ask *a, const char *name, bool needed, hm_input *out);

/* Into the journal n times with seeds that follow each other (jobs[0] is a->job; free with hm_jobs_free). Quotas and the
 * queue's bound are checked, Idempotency-Key is honoured: *again is then the old job. */
bool hm_ask_submit(hm_ask *a, int n, hm_job **jobs, bool *again);

void hm_base64(const void *data, size_t len, char *out); /* out: 4 * ((len + 2) / 3) + 1 bytes */
/* The bytes of base64 text, NULL: it is not that, or out of memory. free() */
uint8_t *hm_unbase64(const char *text, size_t *len);
/* A file as base64, NULL: it cannot be read. free() */
char *hm_base64_file(const char *path);

#endif
