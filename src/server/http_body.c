/* http_body.c - bodies and what is done with them, beside the threads that own connections.   SPDX-License-Identifier: MIT
 *   bytes -> memory, up to 64 KiB -> (connection suspended) -> file, fields, handler -> (resumed) -> answer
 * Those who poll wait for none of it: not for the disk that a body goes to, not for JSON or base64, not for the process that
 * looks at an upload. A client sends no faster than its body is stored. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/http_internal.h"

enum { BODY_SECONDS = 600, NICE = 3 }; /* NICE: after those that answer polls, before films */

/* ---- bodies ---- */

static void refuse(hm_io *x, int status, const char *why)
{
    x->refused = status;
    snprintf(x->why, sizeof x->why, "%s", why);
}

/* libmicrohttpd takes no answer in the middle of a body: what is refused is read on for a while and dropped. */
bool hm_body_take(hm_io *x, const char *data, size_t n, bool *full)
{
    *full = false;
    x->len += n;
    if (hm_now() - x->start > BODY_SECONDS || x->len > x->most + HM_MAX_JSON) return false;
    if (!x->refused && x->len > x->most) refuse(x, 413, "the body is larger than this server takes");
    if (!x->refused && x->held + n > x->cap) {
        const size_t cap = HM_MAX(2 * x->cap, x->held + n);
        uint8_t *mem = realloc(x->mem, cap);
        if (mem) x->mem = mem, x->cap = cap;
        else refuse(x, 503, "out of memory for the body");
    }
    if (x->refused) return true;
    memcpy(x->mem + x->held, data, n);
    x->held += n;
    *full = x->held > HM_SPOOL_FROM;
    return true;
}

static bool put(int fd, const uint8_t *from, size_t n)
{
    for (const uint8_t *p = from; n;) {
        const ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return false;
        p += w, n -= (size_t)w;
    }
    return true;
}

/* What is in memory goes to the file. */
static void spool(hm_io *x)
{
    char path[HM_PATH];
    if (x->refused) return;
    if (x->spool < 0) {
        hm_file(path, x->call.srv->o.data, "work", "", "");
        x->spool = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    }
    if (x->spool < 0 || !put(x->spool, x->mem, x->held)) refuse(x, 507, "the body cannot be stored");
    x->held = 0;
}

static bool body_ready(hm_io *x)
{
    hm_call *c = &x->call;
    himmel_error err;
    if (x->spool >= 0) spool(x);
    if (x->refused) return !hm_answer_error(c, x->refused, NULL, x->refused == 413 ? "body_too_large" : "storage_error", "%s", x->why);
    c->body = x->mem;
    c->body_len = x->len;
    if (x->spool >= 0) {
        void *p = mmap(NULL, x->len, PROT_READ, MAP_PRIVATE, x->spool, 0);
        if (p == MAP_FAILED) return !hm_answer_error(c, 503, NULL, NULL, "out of memory for the body");
        x->mapped = true;
        c->body = p;
    }
    const himmel_status rc = hm_form_parse(&c->form, c->body, c->body_len, hm_header(c, "Content-Type"), &err);
    if (rc == HIMMEL_EFORMAT) return !hm_answer_error(c, 415, NULL, "unsupported_media_type", "%s", err.message);
    return !rc || !hm_answer_error(c, rc == HIMMEL_EINVAL ? 400 : 503, NULL, "invalid_body", "%s", err.message);
}

/* Handlers that wait look at their jobs only. */
static void drop_body(hm_io *x)
{
    hm_form_free(&x->call.form);
    if (x->mapped) munmap((void *)x->call.body, x->call.body_len);
    if (x->spool >= 0) close(x->spool);
    free(x->mem);
    x->mem = NULL, x->call.body = NULL;
    x->held = x->cap = x->call.body_len = 0;
    x->spool = -1, x->mapped = false;
}

/* ---- threads ---- */

static bool enqueue(hm_http *h, hm_io *x)
{
    if (h->stopping) return false;
    x->working = true;
    x->next_work = NULL;
    if (h->last) h->last->next_work = x;
    else h->first = x;
    h->last = x;
    pthread_cond_signal(&h->more);
    return true;
}

bool hm_hand_over(hm_io *x)
{
    hm_http *h = x->call.srv->http;
    pthread_mutex_lock(&h->lock);
    const bool ok = enqueue(h, x);
    if (ok) MHD_suspend_connection(x->conn);
    pthread_mutex_unlock(&h->lock);
    return ok;
}

bool hm_is_worked_on(hm_io *x)
{
    hm_http *h = x->call.srv->http;
    pthread_mutex_lock(&h->lock);
    const bool working = x->working;
    pthread_mutex_unlock(&h->lock);
    return working;
}

bool hm_stopping(hm_http *h)
{
    pthread_mutex_lock(&h->lock);
    const bool stopping = h->stopping;
    pthread_mutex_unlock(&h->lock);
    return stopping;
}

static void free_now(hm_io *x)
{
    drop_body(x);
    if (x->headers) MHD_destroy_response(x->headers);
    if (x->response) MHD_destroy_response(x->response);
    free(x->call.state);
    free(x->out);
    free(x);
}

void hm_io_free(hm_io *x)
{
    hm_http *h = x->call.srv->http;
    bool handed = false;
    if (x->spool >= 0) { /* the pages of a large file take their time */
        pthread_mutex_lock(&h->lock);
        x->gone = true;
        handed = enqueue(h, x);
        pthread_mutex_unlock(&h->lock);
    }
    if (!handed) free_now(x);
}

static void work(hm_io *x, bool stopping)
{
    if (!x->route) {
        spool(x); /* more is on its way */
    } else if (x->waiting) {
        hm_look(x);
    } else {
        if (stopping) hm_answer_error(&x->call, 503, NULL, NULL, "the server stops");
        else if (body_ready(x)) x->route->handle(&x->call);
        drop_body(x);
    }
}

static void *run(void *user)
{
    hm_http *h = user;
    setpriority(PRIO_PROCESS, 0, NICE); /* of this thread, on Linux */
    pthread_mutex_lock(&h->lock);
    for (;;) {
        hm_io *x = h->first;
        if (!x && h->stopping) break;
        if (!x) {
            pthread_cond_wait(&h->more, &h->lock);
            continue;
        }
        const bool stopping = h->stopping;
        if (!(h->first = x->next_work)) h->last = NULL;
        pthread_mutex_unlock(&h->lock);
        const bool gone = x->gone;
        if (gone) free_now(x);
        else work(x, stopping);
        pthread_mutex_lock(&h->lock);
        if (gone) continue;
        x->working = false;
        MHD_resume_connection(x->conn);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

himmel_status hm_bodies_start(hm_http *h, himmel_error *err)
{
    for (; h->n_bodies < HM_BODY_THREADS; h->n_bodies++)
        if (pthread_create(&h->bodies[h->n_bodies], NULL, run, h)) return hm_fail(err, HIMMEL_ENOMEM, "no threads for the bodies of requests");
    return HIMMEL_OK;
}

void hm_bodies_stop(hm_http *h)
{
    pthread_mutex_lock(&h->lock);
    pthread_cond_broadcast(&h->more);
    pthread_mutex_unlock(&h->lock);
    while (h->n_bodies) pthread_join(h->bodies[--h->n_bodies], NULL);
}
