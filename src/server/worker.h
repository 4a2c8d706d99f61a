/* worker.h - the process that owns the model.   SPDX-License-Identifier: MIT
 *   server -socket- worker: loads, plans, samples, decodes, publishes
 *               \-- keeper (split off before there were threads): forks a worker, tells of its end, forks the next
 * Whatever ends the worker (memory, a fault in a library) ends one job and nothing else. */
#ifndef HM_WORKER_H
#define HM_WORKER_H

#include <stdio.h>

#include "server/store.h"

typedef struct hm_worker hm_worker;

typedef struct {
    const char *data;              /* folder */
    const char *model, *identity, *time_server, *cache; /* as himmel_open */
    int threads;
    int max_memory_mib;            /* 0: no other bound than the machine's */
} hm_worker_options;

typedef struct {
    char name[64], sha256[65];
    himmel_request defaults[2];    /* by himmel_kind; negative points at the text below after hm_worker_model() */
    char negative[2][1024];
} hm_model;

typedef struct {
    char phase[16];
    int64_t step, n_steps;
    double fraction, eta_seconds;
} hm_step;

/* Called on a thread of the worker's server side, no lock held. */
typedef struct {
    void (*step)(void *user, const char *id, const hm_step *s);
    void (*preview)(void *user, const char *id); /* work/ID.preview.jpg is new */
    FILE *log;
    void *user;
} hm_worker_news;

typedef bool hm_stop_fn(void *user);

himmel_status hm_worker_new(hm_worker **out, const hm_worker_options *o, himmel_error *err); /* before there are threads */
himmel_status hm_worker_listen(hm_worker *w, const hm_worker_news *news, himmel_error *err);
void hm_worker_free(hm_worker *w); /* NULL is fine; no job runs any more */

/* 1: loaded, 0: loading, -1: it could not be, err says why. out may be NULL; filled when 1. */
int hm_worker_model(hm_worker *w, hm_model *out, himmel_error *err);
/* Until the model is loaded. EMODEL: it cannot be; ECANCELLED: stop() said so. */
himmel_status hm_worker_ready(hm_worker *w, hm_stop_fn *stop, void *user, himmel_error *err);
/* himmel_plan there. EINTERNAL also: the process ended, or had no time to answer. */
himmel_status hm_worker_plan(hm_worker *w, const himmel_request *like, himmel_plan_info *out, himmel_error *err);
/* Make the job whose request stands in work/ID.request, to its published end. Once stop() is true it is told to end. Errors as
 * hm_render_run; ENOMEM, EINTERNAL also: the process ended. */
himmel_status hm_worker_run(hm_worker *w, const char *id, hm_stop_fn *stop, void *user, himmel_error *err);
void hm_worker_nudge(hm_worker *w); /* ask stop() again, now */
/* End the process in the middle of what it does, if it makes this job; the next one loads the model. hm_worker_run: EINTERNAL. */
void hm_worker_quit(hm_worker *w, const char *id);

#endif
