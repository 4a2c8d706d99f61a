/* http_internal.h - what the files of HTTP share.   SPDX-License-Identifier: MIT */
#ifndef HM_HTTP_INTERNAL_H
#define HM_HTTP_INTERNAL_H

#include <microhttpd.h>

#include "server/http.h"

enum { HM_SPOOL_FROM = 64 << 10, HM_MAX_JSON = 32 << 20 };

/* One request. */
typedef struct hm_io {
    struct MHD_Connection *conn;
    struct MHD_Response *headers; /* collects headers for the answer to come */
    char address[64];
    bool local, answered, dispatched;
    int status;
    double start;
    /* body */
    uint8_t *mem;
    size_t len;
    int spool;          /* fd, -1 = in memory */
    uint64_t most;      /* bytes of body that are read */
    bool mapped;
    int refused;        /* status of the answer once the body has been read and dropped, 0 = body is taken */
    char why[160];
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
void hm_wait_ends(hm_io *x); /* the request is over */

/* http.c: closes connections whose request does not come to its end. */
void hm_drop_slow(hm_http *h);

#endif
