/* train.h - the stages of `himmel train`, each a function of its options.   SPDX-License-Identifier: MIT */
#ifndef HM_TRAIN_H
#define HM_TRAIN_H

#include <stdio.h>

#include "base/base.h"

typedef struct {
    const himmel_option *opts;
    size_t n_opts;
    himmel_progress_fn *fn; /* may be NULL */
    void *user;
} hm_job;

himmel_status hm_train_cache_cmd(const hm_job *job, himmel_error *err); /* footage -> shards of coefficients */
himmel_status hm_train_text_cmd(const hm_job *job, himmel_error *err);  /* tokenizer and text encoder */
himmel_status hm_train_dit_cmd(const hm_job *job, himmel_error *err);   /* the transformer (and on with the text encoder) */
himmel_status hm_train_join_cmd(const hm_job *job, himmel_error *err);  /* parts of several files into one */
himmel_status hm_train_basis_cmd(const hm_job *job, himmel_error *err);
himmel_status hm_train_refiner_cmd(const hm_job *job, himmel_error *err);
himmel_status hm_train_probe_cmd(const hm_job *job, himmel_error *err);   /* the network that evaluation asks */

/* A line (or a part of one) of a job's log, at once on disk; log NULL: nothing. */
void hm_log(FILE *log, const char *fmt, ...) HM_PRINTF(2, 3);

/* Report a step; true if the job should stop. */
bool hm_job_step(const hm_job *job, const char *phase, int64_t step, int64_t total, double eta_s, const char *note);

#endif
