/* server.h - himmel serve: what the program calls.   SPDX-License-Identifier: MIT */
#ifndef HM_SERVER_H
#define HM_SERVER_H

#include <stdbool.h>
#include <stdio.h>

#include "himmel.h"

typedef struct {
    const char *data;         /* folder of journal, films and uploads; made if missing */
    const char *model;        /* weights, NULL: as himmel_open */
    const char *identity, *time_server, *cache; /* as himmel_options */
    const char *bind;         /* address, "127.0.0.1" */
    int port;                 /* 0: any free one */
    int threads;              /* of the networks */
    const char *tls_cert, *tls_key; /* PEM files, both or none */
    bool behind_proxy;        /* another program in front does TLS; Host is not checked */
    const char *cors;         /* the one other origin that browsers may call from, NULL: none */
    const char *aliases[16];  /* more names that mean himmel-1 */
    int n_aliases;
    const char *origins[16];  /* "https://example.org": image_url may lead there */
    int n_origins;
    int max_queue;            /* jobs waiting; more are refused with 429 */
    int max_upload_mib;       /* body of a form */
    int max_memory_mib;       /* a job that is planned to need more is refused, 0: what the machine has */
    int min_free_mib;         /* of the disk under data; below, no new work is taken */
    FILE *log;                /* where to say what address it is and what goes wrong */
} hm_serve_options;

hm_serve_options hm_serve_options_default(void);
/* "https://host" or "http://host:port", nothing behind it. */
bool hm_fetch_is_origin(const char *url);

/* Serve until stop() says true, asked five times a second. Jobs that run then go back into the queue. EINVAL: an address or option
 * that cannot be; EIO: the port is taken, the folder cannot be used or is used by another himmel serve. */
himmel_status hm_serve(const hm_serve_options *o, bool (*stop)(void), himmel_error *err);

/* The process that the server starts for each file that a job reads (himmel read-locked PATH, its socket as standard input): gives
 * up all rights but to read that file, and decodes it. Returns the exit status. */
int hm_read_locked(const char *path);

/* ---- keys: who may enter ---- */

typedef struct {
    const char *name;       /* 1..64 bytes, unique */
    bool create, read, admin; /* scopes */
    double days;            /* until it expires, 0: never */
    int max_films;          /* jobs a day, 0: no limit; likewise */
    int max_seconds;        /* seconds of film a day */
    int max_concurrent;     /* jobs waiting or running */
} hm_key_options;

/* A new key into out ("hm-" and 43 letters); only its hash is kept. EINVAL: the name is taken. */
himmel_status hm_key_new(const char *data, const hm_key_options *o, char out[64], himmel_error *err);
/* One line for each key, to f: name, scopes, until when, what it made. */
himmel_status hm_key_list(const char *data, FILE *f, himmel_error *err);
/* A code that `uses` people may turn into keys until it ends (o->days); their keys then live key_days (0: for ever) and have
 * o's scopes and quotas. EINVAL: the name is taken. */
himmel_status hm_key_invite(const char *data, const hm_key_options *o, int uses, double key_days, char out[64], himmel_error *err);
/* What a key did, newest first: time, address, status, method, path. */
himmel_status hm_key_log(const char *data, const char *name, FILE *f, himmel_error *err);
/* The key (or the invitation and every key of it) stops working at once, in a running server too, and its waiting and running
 * jobs have stopped when this returns. EINTERNAL: one has not within half a minute. */
himmel_status hm_key_revoke(const char *data, const char *name, himmel_error *err);

/* ---- webhooks: who is told of the end of films ---- */

/* secret: "whsec_..." to check signatures with, shown once. key: only its films, NULL: all. */
himmel_status hm_hook_new(const char *data, const char *url, const char *key, char secret[64], himmel_error *err);
himmel_status hm_hook_list(const char *data, FILE *f, himmel_error *err);
himmel_status hm_hook_remove(const char *data, int id, himmel_error *err);

#endif
