/* store.h - the journal: jobs, characters, keys in SQLite.   SPDX-License-Identifier: MIT
 * WAL with full sync: what a call here has accepted is on disk when it returns. Any thread may call. Times are Unix
 * seconds. Every error sentence names the file. */
#ifndef HM_STORE_H
#define HM_STORE_H

#include "base/base.h"

typedef struct hm_store hm_store;

enum { HM_ID = 64 };

typedef enum { HM_QUEUED, HM_RUNNING, HM_DONE, HM_FAILED } hm_job_status;

typedef struct {
    int64_t seq;              /* order of arrival */
    char id[HM_ID];
    char kind[12];            /* "video", "image" */
    char batch[HM_ID];        /* images of one request share it */
    hm_job_status status;
    int64_t account;          /* key that made it, 0: the owner */
    int priority;             /* higher goes first */
    int64_t created, completed; /* completed 0: not yet */
    int attempts;             /* starts that neither a step nor an end followed */
    char model[64], size[24], seconds[16];
    char remixed_from[HM_ID];
    char *prompt;             /* may be NULL */
    char *request;            /* JSON for render.h */
    char error_code[48];
    char *error_message;      /* NULL unless failed */
    char idem[128];           /* Idempotency-Key, "" none */
    char idem_hash[65];       /* of the body that came with it */
} hm_job;
void hm_job_deinit(hm_job *j);

/* dir/journal.db, made if missing. EIO: cannot be opened, or another version wrote it. */
himmel_status hm_store_open(hm_store **out, const char *dir, himmel_error *err);
void hm_store_close(hm_store *s);

/* ---- jobs ---- */
/* All or none. ECANCELLED: their key was revoked or has expired meanwhile. */
himmel_status hm_store_add(hm_store *s, const hm_job *jobs, size_t n, himmel_error *err);
/* *found false: no such job (or not of that account, unless account < 0). */
himmel_status hm_store_get(hm_store *s, const char *id, int64_t account, hm_job *out, bool *found, himmel_error *err);
himmel_status hm_store_by_idem(hm_store *s, int64_t account, const char *idem, hm_job *out, bool *found, himmel_error *err);
/* Up to limit jobs of a kind behind the one named after ("": from the start). *more: there are others behind them. account < 0: all.
 * like: "" or words that the prompt must hold. The list is freed with hm_jobs_free(). EINVAL: no job `after`. */
typedef struct {
    const char *kind, *after, *like;
    int64_t account;
    int limit;
    bool ascending;
} hm_job_query;
himmel_status hm_store_list(hm_store *s, const hm_job_query *q, hm_job **out, size_t *n, bool *more, himmel_error *err);
void hm_jobs_free(hm_job *jobs, size_t n);

/* The next job to run is now running, its attempts one more. Higher priority first, then the account that waited longest
 * since its last start, then first come; none of a revoked key. *found false: nothing waits. */
himmel_status hm_store_take(hm_store *s, hm_job *out, bool *found, himmel_error *err);
/* Running -> done, failed, or queued again (which takes the attempt back). *changed false: it was deleted meanwhile. */
himmel_status hm_store_finish(hm_store *s, const char *id, hm_job_status status, const char *code, const char *message,
                              bool *changed, himmel_error *err);
himmel_status hm_store_progress(hm_store *s, const char *id, himmel_error *err); /* a step was done: no attempt counts any more */
/* Waiting -> failed with that code. *changed false: it did not wait. */
himmel_status hm_store_cancel(hm_store *s, const char *id, const char *code, const char *message, bool *changed, himmel_error *err);
/* Any job of the account that waits. */
himmel_status hm_store_waiting(hm_store *s, int64_t account, char id[HM_ID], bool *found, himmel_error *err);
himmel_status hm_store_delete(hm_store *s, const char *id, bool *changed, himmel_error *err);
/* At the start: running -> queued, or failed after too many attempts. */
himmel_status hm_store_recover(hm_store *s, int most_attempts, himmel_error *err);
himmel_status hm_store_counts(hm_store *s, int64_t by_status[4], himmel_error *err);
himmel_status hm_store_ahead(hm_store *s, const hm_job *j, int64_t *n, himmel_error *err); /* waiting jobs before j */

/* What an account used: jobs waiting or running, and jobs and seconds of film since a time. */
typedef struct {
    int64_t active, films, seconds;
} hm_usage;
himmel_status hm_store_usage(hm_store *s, int64_t account, int64_t since, hm_usage *out, himmel_error *err);

/* ---- characters ---- */
typedef struct {
    char id[HM_ID], name[324];
    int64_t account, created;
} hm_character;
himmel_status hm_store_add_character(hm_store *s, const hm_character *c, himmel_error *err);
himmel_status hm_store_next_character(hm_store *s, int64_t account, const char *after, hm_character *out, bool *found, himmel_error *err);
himmel_status hm_store_delete_character(hm_store *s, const char *id, himmel_error *err);
himmel_status hm_store_get_character(hm_store *s, const char *id, int64_t account, hm_character *out, bool *found, himmel_error *err);

/* ---- keys ---- */
typedef struct {
    int64_t id, created, expires; /* expires 0: never */
    char name[80], prefix[12];
    bool create, read, admin, revoked;
    int max_films, max_seconds, max_concurrent;
} hm_key;
himmel_status hm_store_add_key(hm_store *s, const hm_key *k, const uint8_t hash[32], himmel_error *err);
himmel_status hm_store_find_key(hm_store *s, const uint8_t hash[32], hm_key *out, bool *found, himmel_error *err);
himmel_status hm_store_keys(hm_store *s, hm_key **out, size_t *n, himmel_error *err); /* free(*out) */
/* A key, or an invitation and all keys that came of it. */
himmel_status hm_store_revoke_key(hm_store *s, const char *name, bool *changed, himmel_error *err);
/* The next key behind `after` that was revoked or has expired and has jobs without an end, 0: none. */
himmel_status hm_store_over(hm_store *s, int64_t now, int64_t after, int64_t *account, himmel_error *err);
/* Jobs of revoked keys that have no end yet. */
himmel_status hm_store_revoked_jobs(hm_store *s, int64_t *n, himmel_error *err);
/* They fail, code "cancelled": where no server runs that would have to stop them. */
himmel_status hm_store_cancel_revoked(hm_store *s, const char *message, himmel_error *err);
himmel_status hm_store_key_id(hm_store *s, const char *name, int64_t *id, himmel_error *err); /* EINVAL: no such key */

/* ---- invitations: a code that a number of people may turn into keys (store_hooks.c) ---- */
typedef struct {
    int64_t id, expires;
    char name[80];
    int uses, redeemed; /* still possible, done */
    bool revoked;
} hm_invitation;
/* k: name, scopes, quotas, created, expires of the invitation; its keys live key_seconds (0: for ever). EINVAL: name taken. */
himmel_status hm_store_add_invitation(hm_store *s, const hm_key *k, int uses, int64_t key_seconds, const uint8_t hash[32],
                                      himmel_error *err);
/* *done false: no such invitation, or used up, over, revoked. */
himmel_status hm_store_redeem(hm_store *s, const uint8_t invitation[32], int64_t now, const char *prefix, const uint8_t hash[32],
                              bool *done, himmel_error *err);
himmel_status hm_store_next_invitation(hm_store *s, int64_t after, hm_invitation *out, bool *found, himmel_error *err);

/* ---- webhooks and what is still to be delivered (store_hooks.c) ---- */
typedef struct {
    int64_t id, account, created, waiting; /* account -1: films of all */
    char url[1024], secret[64];
} hm_hook;
himmel_status hm_store_add_hook(hm_store *s, const hm_hook *h, himmel_error *err);
himmel_status hm_store_next_hook(hm_store *s, int64_t after, hm_hook *out, bool *found, himmel_error *err);
himmel_status hm_store_remove_hook(hm_store *s, int64_t id, bool *changed, himmel_error *err);
typedef struct {
    char id[HM_ID], job[HM_ID], type[32], url[1024], secret[64];
    int64_t created;
    int attempts;
} hm_delivery;
himmel_status hm_store_due(hm_store *s, int64_t now, hm_delivery *out, bool *found, himmel_error *err);
himmel_status hm_store_delivered(hm_store *s, const char *id, int64_t due, himmel_error *err); /* due 0: done, else tried again then */

/* ---- what keys did ---- */
typedef struct {
    int64_t at, account;
    int status;
    char method[8], path[120], address[64];
} hm_call_record;
himmel_status hm_store_log(hm_store *s, const hm_call_record *calls, size_t n, himmel_error *err);
/* The last calls of a key, newest first, at most limit into out. */
himmel_status hm_store_calls(hm_store *s, int64_t account, int limit, hm_call_record *out, size_t *n, himmel_error *err);
himmel_status hm_store_forget_calls(hm_store *s, int64_t before, himmel_error *err);
/* Different addresses that used a key since a time. */
himmel_status hm_store_addresses(hm_store *s, int64_t account, int64_t since, int64_t *n, himmel_error *err);

#endif
