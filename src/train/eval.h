/* eval.h - `himmel eval`: what its parts share.   SPDX-License-Identifier: MIT */
#ifndef HM_EVAL_H
#define HM_EVAL_H

#include <jansson.h>

#include "models/himmel/himmel1.h"
#include "train/metrics.h"
#include "train/train.h"
#include "world/scene.h"

himmel_status hm_eval_films_cmd(const hm_job *job, himmel_error *err);
himmel_status hm_eval_recon_cmd(const hm_job *job, himmel_error *err);

/* One line of the report: a note of the job. */
void hm_eval_say(const hm_job *job, const char *fmt, ...) HM_PRINTF(2, 3);
/* Write j (may be NULL, then nothing) to path, indented; takes j. path NULL: only takes it. */
himmel_status hm_eval_write_json(json_t *j, const char *path, himmel_error *err);
json_t *hm_eval_number(double x); /* null where it is not finite, which JSON cannot say */
json_t *hm_eval_figures_json(const hm_film_figures *f);

/* ---- a model of which the refiner, or all but the codec, may be missing (training in progress) ---- */
/* all: tokenizer, text encoder and transformer too. m->refiner stays NULL if the file has none. Close with
 * hm_himmel1_close. */
himmel_status hm_eval_open_model(hm_himmel1 **out, const char *path, bool all, himmel_error *err);

/* Frames from.. of the film with latents z [T][gh][gw][K] at scale times the base size (1: decoded; 2, 4, 8:
 * refined, averaged over boxes), clamped to [0,1]: out [n][16 gh scale][16 gw scale][3]. */
typedef struct {
    int T, gh, gw, scale, threads;
} hm_eval_shape;
himmel_status hm_eval_frames(const hm_himmel1 *m, const float *z, const hm_eval_shape *o, int from, int n,
                             float *out, himmel_error *err);

/* ---- contact sheets ---- */
typedef struct {
    int columns, rows, w, h, gap; /* tiles of w x h */
    uint8_t *rgb;
} hm_sheet;
himmel_status hm_sheet_init(hm_sheet *s, int columns, int rows, int w, int h, himmel_error *err);
void hm_sheet_deinit(hm_sheet *s);
void hm_sheet_put(hm_sheet *s, int tile,
                  const float *rgb); /* [h][w][3]; tiles in reading order; different tiles from any thread */
himmel_status hm_sheet_write(const hm_sheet *s, const char *path, himmel_error *err);

#endif
