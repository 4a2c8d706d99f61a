/* http.h - one request from its first byte to its answer.   SPDX-License-Identifier: MIT
 *   bytes -> limits, Host, Origin, key -> body (memory, from 64 KiB on an unnamed file) -> route -> handler -> answer
 * libmicrohttpd does sockets, header parsing and TLS; only http*.c include it. */
#ifndef HM_HTTP_H
#define HM_HTTP_H

#include <jansson.h>
#include <pthread.h>

#include "server/files.h"
#include "server/form.h"
#include "server/jail.h"
#include "server/queue.h"
#include "server/server.h"
#include "server/store.h"
#include "server/zip.h"

typedef struct hm_http hm_http; /* sockets and threads */
typedef struct hm_events hm_events; /* what many want to know of the job that is made */
typedef struct hm_hooks hm_hooks; /* webhooks on their way */
typedef struct hm_log hm_log;   /* the calls of keys, on their way into the journal */

typedef struct {
    hm_serve_options o;
    hm_store *store;
    hm_worker *worker;
    hm_queue *queue;
    hm_http *http;
    hm_events *events;
    hm_log *log;
    hm_hooks *hooks;
    hm_jail *jail; /* where uploads are looked at */
    pthread_mutex_t door; /* of jobs into the journal: limits are counted and jobs added under it */
    int port;      /* that we listen on */
    double start;  /* hm_now() */
    int bell;      /* bell.h */
    double keys_seen; /* when keys are looked at again, hm_now() */
} hm_server;

typedef enum { HM_SCOPE_NONE, HM_SCOPE_READ, HM_SCOPE_CREATE, HM_SCOPE_ADMIN } hm_scope;

/* Who asks: a key, or the owner (id 0) on the same machine while there are no keys. */
typedef struct {
    bool known;
    hm_key key;
} hm_caller;

enum { HM_MAX_WATCHED = 10 };

typedef struct hm_call {
    hm_server *srv;
    void *io;              /* the part of http*.c */
    char method[8], path[200];
    char request_id[40];
    char id[HM_ID];        /* the {id} of the route */
    hm_caller who;
    hm_form form;
    const uint8_t *body;
    size_t body_len;
    /* ---- waiting for jobs (images, events) ---- */
    char watched[HM_MAX_WATCHED][HM_ID];
    int n_watched;
    bool (*on_change)(struct hm_call *c); /* see hm_wait */
    bool slow;             /* on_change reads files: it is not called where polls are answered */
    void *state;           /* of the handler that waits; freed with free() at the end */
} hm_call;

/* ---- what handlers may ask ---- */
const char *hm_query(const hm_call *c, const char *name);  /* NULL: not there */
const char *hm_header(const hm_call *c, const char *name); /* NULL: not there */
/* A query parameter as a whole number from lo to hi; missing: otherwise. False: answered with 400. */
bool hm_query_int(hm_call *c, const char *name, int lo, int hi, int otherwise, int *out);

/* ---- answers: exactly one a call; all return true, so that a handler ends with one ---- */
bool hm_answer_json(hm_call *c, int status, json_t *body);                 /* takes body; NULL: 500 */
/* {"error": {message, type, param, code}}; param and code may be NULL. */
bool hm_answer_error(hm_call *c, int status, const char *param, const char *code, const char *fmt, ...) HM_PRINTF(5, 6);
bool hm_answer_status(hm_call *c, const himmel_error *err);                /* EINVAL 400 ... */
bool hm_answer_text(hm_call *c, int status, const char *type, char *text); /* takes text, of malloc(); NULL: 500 */
bool hm_answer_bytes(hm_call *c, int status, const char *type, const void *data, size_t len); /* static bytes */
bool hm_answer_file(hm_call *c, const char *path, const char *type, const char *name); /* Range; name: of the download, or NULL */
bool hm_answer_zip(hm_call *c, hm_zip *z, const char *name); /* takes z */
void hm_answer_header(hm_call *c, const char *name, const char *fmt, ...) HM_PRINTF(3, 4); /* before the answer */

/* ---- answers that wait ---- */
/* c->on_change is called now, whenever a job of c->watched moves on, and after KEEP_ALIVE seconds without that. It returns
 * true when it has answered. */
bool hm_wait(hm_call *c);
/* From on_change or a handler: the answer is a stream of events, more of which may come. */
bool hm_stream_start(hm_call *c);
void hm_stream_event(hm_call *c, const char *event, json_t *data); /* takes data; event NULL: data only */
void hm_stream_text(hm_call *c, const char *event, const char *data, size_t len); /* likewise, one line of text */
void hm_stream_end(hm_call *c);                                     /* on_change returns true after it */

/* ---- routes ---- */
typedef struct {
    const char *method, *path; /* "*" stands for one id */
    hm_scope scope;
    bool (*handle)(hm_call *c);
} hm_route;
extern const hm_route hm_video_routes[], hm_image_routes[], hm_extra_routes[], hm_people_routes[],
    hm_event_routes[], hm_studio_routes[]; /* end: method NULL */

himmel_status hm_http_prepare(hm_server *srv, himmel_error *err); /* from here on hm_http_changed() may be called */
himmel_status hm_http_start(hm_server *srv, himmel_error *err);
void hm_http_stop(hm_server *srv); /* no request any more */
void hm_http_free(hm_server *srv);
/* A job moved on: calls that wait for it look again. id NULL: a second has passed. */
void hm_http_changed(hm_server *srv, const char *id);

/* ---- events.c ---- */
himmel_status hm_events_new(hm_events **out, himmel_error *err);
void hm_events_free(hm_events *e);
void hm_events_changed(hm_events *e); /* a job moved on: what is remembered is looked up again */
/* The job c->id of that kind as polls get it, if it is being made and the caller may see it. False: not answered. */
bool hm_events_answer(hm_call *c, const char *kind);

/* ---- keys.c ---- */
/* Who has this key (a Bearer token; NULL or "": none)? local: the other end is on this machine. False: nobody. */
bool hm_key_check(hm_store *s, const char *token, bool local, hm_caller *out);
/* Jobs of keys that do not hold any more stop, and have stopped when this returns. *n: how many. */
himmel_status hm_keys_stop_jobs(hm_server *srv, int *n, himmel_error *err);
void hm_keys_watch(hm_server *srv); /* the same every second, and what the owner is told every hour */
bool hm_scope_has(const hm_caller *who, hm_scope scope);
/* May this caller make n more films of so many seconds? False: answered with 429. */
bool hm_quota_check(hm_call *c, int n, double seconds);
himmel_status hm_log_new(hm_log **out, hm_server *srv, himmel_error *err);
void hm_log_add(hm_log *l, const hm_call *c, int status, const char *address);
void hm_log_free(hm_log *l); /* what is left goes into the journal */
/* An invitation's code becomes a key. *done false: it does not hold (any more). */
himmel_status hm_invitation_redeem(hm_store *s, const char *code, char key[64], bool *done, himmel_error *err);

/* ---- hooks.c ---- */
himmel_status hm_hooks_new(hm_hooks **out, hm_server *srv, himmel_error *err);
void hm_hooks_free(hm_hooks *h);

/* Is this name ours, "himmel-1" or one that means it? */
bool hm_model_known(const hm_server *srv, const char *name);

#endif
