/* http_wait.c - answers that wait for jobs, and streams of events.   SPDX-License-Identifier: MIT
 * A call that waits is suspended; hm_http_changed() (any thread) resumes it, and its on_change runs on its own thread. */
#include <stdlib.h>
#include <string.h>

#include "server/http_internal.h"

enum { KEEP_ALIVE = 15, MAX_STREAM = 64 << 20 }; /* seconds; bytes that a client may be behind */

static void list_add(hm_http *h, hm_io *x)
{
    x->next = h->waiting, x->prev = NULL;
    if (h->waiting) h->waiting->prev = x;
    h->waiting = x;
    x->waiting = true;
}

void hm_wait_ends(hm_io *x)
{
    hm_http *h = x->call.srv->http;
    pthread_mutex_lock(&h->lock);
    if (x->waiting) {
        if (x->prev) x->prev->next = x->next;
        else h->waiting = x->next;
        if (x->next) x->next->prev = x->prev;
        x->waiting = false;
    }
    pthread_mutex_unlock(&h->lock);
}

static void put(hm_io *x, const char *text, size_t n)
{
    if (x->out_len + n > x->out_cap) {
        const size_t cap = (x->out_len + n) * 2 + 1024;
        char *p = cap <= MAX_STREAM ? realloc(x->out, cap) : NULL;
        if (!p) {
            x->ended = true; /* the client sees the stream end */
            return;
        }
        x->out = p, x->out_cap = cap;
    }
    memcpy(x->out + x->out_len, text, n);
    x->out_len += n;
}

void hm_look(hm_io *x)
{
    hm_http *h = x->call.srv->http;
    pthread_mutex_lock(&h->lock);
    const bool quiet = x->quiet;
    x->stale = x->quiet = false;
    pthread_mutex_unlock(&h->lock);
    if (x->call.on_change(&x->call)) x->ended = true;
    if (quiet && x->streaming && !x->out_len && !x->ended) put(x, ":\n\n", 3); /* keeps the connection open */
}

bool hm_look_again(hm_io *x)
{
    hm_http *h = x->call.srv->http;
    for (;;) {
        pthread_mutex_lock(&h->lock);
        const bool look = x->stale && !x->ended;
        if (!look) {
            const bool wait = !x->ended && !x->answered && !h->stopping;
            const bool wait_more = x->streaming && !x->ended && !x->out_len && !h->stopping;
            const bool suspend = x->suspended = wait || wait_more;
            if (suspend) MHD_suspend_connection(x->conn);
            pthread_mutex_unlock(&h->lock);
            return suspend; /* who wakes it may have changed its own by now */
        }
        pthread_mutex_unlock(&h->lock);
        if (x->call.slow) return hm_hand_over(x);
        hm_look(x);
        if (x->out_len || x->ended) return false;
    }
}

bool hm_wait(hm_call *c)
{
    hm_io *x = hm_io_of(c);
    hm_http *h = c->srv->http;
    pthread_mutex_lock(&h->lock);
    list_add(h, x);
    x->stale = true;
    x->woken = hm_now();
    pthread_mutex_unlock(&h->lock);
    if (!x->streaming && !x->working) hm_look_again(x); /* a stream is asked for its bytes, a thread of http_body.c comes back */
    return true;
}

void hm_http_changed(hm_server *srv, const char *id)
{
    hm_http *h = srv->http;
    if (!h) return;
    const double now = hm_now();
    if (!id) hm_drop_slow(h);
    pthread_mutex_lock(&h->lock);
    for (hm_io *x = h->waiting; x; x = x->next) {
        bool hit = !id && (h->stopping || now - x->woken > KEEP_ALIVE);
        for (int i = 0; id && i < x->call.n_watched && !hit; i++) hit = !strcmp(x->call.watched[i], id);
        if (!hit) continue;
        x->stale = true;
        x->quiet = !id;
        x->woken = now;
        if (x->suspended) {
            x->suspended = false;
            MHD_resume_connection(x->conn);
        }
    }
    pthread_mutex_unlock(&h->lock);
}

void hm_stream_event(hm_call *c, const char *event, json_t *data)
{
    char *text = json_dumps(data, JSON_COMPACT);
    json_decref(data);
    hm_stream_text(c, event, text, text ? strlen(text) : 0);
    free(text);
}

void hm_stream_text(hm_call *c, const char *event, const char *data, size_t len)
{
    hm_io *x = hm_io_of(c);
    if (event) put(x, "event: ", 7), put(x, event, strlen(event)), put(x, "\n", 1);
    put(x, "data: ", 6);
    if (len) put(x, data, len);
    put(x, "\n\n", 2);
}

void hm_stream_end(hm_call *c)
{
    hm_io_of(c)->ended = true;
}

/* libmicrohttpd wants bytes of a stream. */
static ssize_t stream_bytes(void *cls, uint64_t pos, char *buf, size_t max)
{
    (void)pos;
    hm_io *x = cls;
    if (!x->out_len && !x->ended && hm_look_again(x)) return 0; /* suspended */
    const size_t n = HM_MIN(max, x->out_len);
    if (!n) return x->ended || x->call.srv->http->stopping ? MHD_CONTENT_READER_END_OF_STREAM : 0;
    memcpy(buf, x->out, n);
    memmove(x->out, x->out + n, x->out_len - n);
    x->out_len -= n;
    return (ssize_t)n;
}

bool hm_stream_start(hm_call *c)
{
    hm_io *x = hm_io_of(c);
    x->streaming = true;
    hm_answer_header(c, "X-Accel-Buffering", "no");
    return hm_answer_response(c, 200, MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32 << 10, stream_bytes, x, NULL), "text/event-stream");
}
