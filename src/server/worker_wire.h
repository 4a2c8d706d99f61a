/* worker_wire.h - what server, keeper and worker say to each other: one packet each.   SPDX-License-Identifier: MIT */
#ifndef HM_WORKER_WIRE_H
#define HM_WORKER_WIRE_H

#include "server/worker.h"

typedef enum {
    HM_SAY_RUN, HM_SAY_STOP, HM_SAY_QUIT, HM_SAY_PLAN,                         /* to the worker; QUIT: in the middle of a step */
    HM_SAY_MODEL, HM_SAY_STEP, HM_SAY_PREVIEW, HM_SAY_END, HM_SAY_PLANNED,     /* from it */
    HM_SAY_DIED                                                                /* from the keeper */
} hm_say_kind;

typedef struct {
    hm_say_kind kind;
    unsigned life;     /* which worker: what was meant for one that has ended is passed over */
    char id[HM_ID];    /* RUN, STOP, QUIT, STEP, PREVIEW, END */
    himmel_error err;  /* MODEL, END, PLANNED: code 0 is good */
    union {
        hm_step step;
        hm_model model;
        struct {
            unsigned ticket;
            himmel_request like; /* strings are not carried: any prompt */
            himmel_plan_info info;
        } plan;
        int died;      /* as waitpid() */
    };
} hm_say;

/* The worker's whole life, in its own process. */
_Noreturn void hm_work(const hm_worker_options *o, int sock, unsigned life);

#endif
