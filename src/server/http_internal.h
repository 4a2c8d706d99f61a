/* http_internal.h - what the files of HTTP share.   SPDX-License-Identifier: MIT */
#ifndef HM_HTTP_INTERNAL_H
#define HM_HTTP_INTERNAL_H

#include <microhttpd.h>

#include "server/http.h"

enum { HM_SPOOL_FROM = 64 << 10, HM_MAX_JSON = 32 << 20, HM_BODY_THREADS = 4 };

/* One request. */
typedef struct hm_io {
    struct MHD_Connection *conn;
    struct MHD_Response *headers; /* collects headers for the answer to come */
    char address[64];
    bool local, answered, dispatched;
    int status;
    double start;
    struct MHD_Response *response; /* the answer of a thread of http_body.c, until the connection's own sends it */
    /* body */
    uint8_t *mem;       /* what is not in the file yet */
    size_t len, held, cap; /* bytes so far, of them in mem, that mem has room for */
    int spool;          /* fd, -1 = in memory */
    uint64_t most;      /* bytes of body that are read */
    bool mapped;
    int refused;        /* status of the answer once the body has been read and dropped, 0 = body is taken */
    char why[160];
    const hm_route *route; /* once the body is whole */
    /* with a thread of http_body.c: nobody else touches it until it has come back */
    bool working, gone; /* gone: the request is over, what is left is freed there */
    struct hm_io *next_work;
    /* waiting */
    bool waiting, suspended, streaming, ended, stale; /* stale: on_change shall run */
    bool quiet;         /* ... because nothing has happened for a while */
    double woken;       /* when it was last made to run */
    char *out;          /* events that are not sent yet */
    size_t out_len, out_cap;
    struct hm_io *next, *prev;
    hm_call call;
} hm_io;

/* One connection: the head of a request must be there within HEAD_SECONDS of its beginning or of the last answer. */
typedef struct guard {
    double since;
    bool busy; /* a request is being answered */
    int fd;
    struct guard *next, *prev;
} guard;

struct hm_http {
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock; /* of the list of calls that wait, and of their flags */
    hm_io *waiting;
    guard *guards;
    bool stopping;
    pthread_cond_t more;  /* work */
    hm_io *first, *last;  /* first come, first served */
    pthread_t bodies[HM_BODY_THREADS];
    int n_bodies;
    char *cert, *key;
};

static inline hm_io *hm_io_of(const hm_call *c)
{
    return c->io;
}

/* http_answer.c: sends r with the headers that every answer has, and releases it; NULL: nothing. Returns true. */
bool hm_answer_response(hm_call *c, int status, struct MHD_Response *r, const char *type);

/* http_admit.c */
void hm_describe_peer(hm_io *x);
const hm_route *hm_find_route(hm_call *c, bool *other_method); /* NULL: none; other_method: for another method there is */
/* Everything that can be refused before a byte of body is read. False: answered. */
bool hm_admit(hm_io *x);

/* http_wait.c */
/* Run on_change until there is something to send, or suspend. True: suspended. */
bool hm_look_again(hm_io *x);
void hm_look(hm_io *x); /* run on_change once */
void hm_wait_ends(hm_io *x); /* the request is over */

/* http_body.c: what may take long is done by other threads than those that own connections. */
himmel_status hm_bodies_start(hm_http *h, himmel_error *err);
void hm_bodies_stop(hm_http *h); /* what is begun comes to its end, the rest is refused */
/* False: the connection is to be closed. *full: hm_hand_over() before more is taken. */
bool hm_body_take(hm_io *x, const char *data, size_t n, bool *full);
/* Suspends the connection; a thread stores what has come, or calls the handler (route is set), or on_change. False: the
 * server stops. The caller may not touch x afterwards. */
bool hm_hand_over(hm_io *x);
bool hm_is_worked_on(hm_io *x);
bool hm_stopping(hm_http *h);
void hm_io_free(hm_io *x); /* there, if it may take long */

/* http.c: closes connections whose request does not come to its end. */
void hm_drop_slow(hm_http *h);

#endif
