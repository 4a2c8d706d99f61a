/* queue.h - jobs from submission to their end; one worker owns the model.   SPDX-License-Identifier: MIT
 *   submit -> journal -> worker's process (worker.h): render.h -> work/ID.mp4 -> results/ID.mp4, stills -> journal
 * What is not worth a line in the journal lives in memory: steps, previews, who waits for which job. A job that the end
 * of the program interrupts goes on from the step that is saved and, being deterministic, gives the same bytes. */
#ifndef HM_QUEUE_H
#define HM_QUEUE_H

#include <stdio.h>

#include "server/store.h"
#include "server/worker.h"

typedef struct hm_queue hm_queue;

typedef struct {
    const char *data;              /* folder */
    int max_waiting;
    int max_memory_mib;            /* 0: what the machine has */
    hm_store *store;
    hm_worker *worker;
    FILE *log;
    void (*changed)(void *user, const char *id); /* a job moved on; called on one of the queue's threads or a caller's, no lock held */
    void *user;
} hm_queue_options;

himmel_status hm_queue_new(hm_queue **out, const hm_queue_options *o, himmel_error *err);
/* Asks the running job to stop, which goes back into the journal, and waits for that. */
void hm_queue_free(hm_queue *q);

/* ENOMEM: too many wait, or it does not fit into this machine; EINVAL: not a thing that can be made. EIO: the disk. */
himmel_status hm_queue_submit(hm_queue *q, const hm_job *jobs, size_t n, himmel_error *err);
/* Stop it within a step; its end is failed, with code "cancelled". *changed false: it was at its end already. */
himmel_status hm_queue_cancel(hm_queue *q, const char *id, const char *message, bool *changed, himmel_error *err);
/* The same for all jobs of an account, and it has happened when this returns: a step that takes longer than a moment ends with
 * the worker's process. *n: how many. EINTERNAL: one has not ended yet. */
himmel_status hm_queue_stop_account(hm_queue *q, int64_t account, const char *message, int *n, himmel_error *err);
/* For good: row, files, and the file of a run that goes on a moment longer. */
himmel_status hm_queue_delete(hm_queue *q, const char *id, bool *changed, himmel_error *err);

typedef struct {
    char id[HM_ID];      /* "" nothing runs */
    char phase[16];
    int64_t step, n_steps;
    double fraction, eta_seconds, started; /* started: hm_now() */
    unsigned previews;   /* how many there were; the last one is work/ID.preview.jpg */
} hm_running;
void hm_queue_running(hm_queue *q, hm_running *out);
bool hm_queue_full(hm_queue *q);

typedef struct {
    int64_t done, failed, cancelled;
    double busy_seconds;
} hm_queue_totals;
void hm_queue_count(hm_queue *q, hm_queue_totals *out);

#endif
