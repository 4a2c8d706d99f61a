/* events.c - how the job that is made comes along: streams of events, previews, and what polls get.   SPDX-License-Identifier: MIT
 * Hundreds may watch one film. The texts of a step are made once, by the first who asks, and copied for the others. */
#include <stdlib.h>
#include <string.h>

#include "server/ask.h"
#include "server/wire.h"

typedef struct {
    char *text; /* NULL: none */
    size_t len;
} text;

struct hm_events {
    pthread_mutex_t lock;
    hm_running at;     /* the moment that video and preview are of; id "": none */
    bool stale;        /* the journal may say something else by now */
    int64_t account;   /* whose job it is */
    char kind[12];
    text video;        /* the Video object */
    text preview;      /* the event's data; as of at.previews */
};

himmel_status hm_events_new(hm_events **out, himmel_error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for events");
    pthread_mutex_init(&(*out)->lock, NULL);
    return HIMMEL_OK;
}

void hm_events_free(hm_events *e)
{
    if (!e) return;
    free(e->video.text);
    free(e->preview.text);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

static void set(text *t, json_t *json)
{
    free(t->text);
    t->text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    t->len = t->text ? strlen(t->text) : 0;
    json_decref(json);
}

static json_t *preview_of(hm_server *srv, const char *id)
{
    char path[HM_PATH];
    hm_file(path, srv->o.data, "work", id, ".preview.jpg");
    char *base64 = hm_base64_file(path);
    json_t *out = base64 ? json_pack("{s:s, s:s}", "format", "jpeg", "b64_json", base64) : NULL;
    free(base64);
    return out;
}

static bool same_moment(const hm_running *a, const hm_running *b)
{
    return a->step == b->step && a->previews == b->previews && !strcmp(a->phase, b->phase) && !strcmp(a->id, b->id);
}

/* The texts of this moment. False: the journal does not (or no longer) have it as a job that runs. Lock held. */
static bool bring_up_to_date(hm_server *srv, const hm_running *r)
{
    hm_events *e = srv->events;
    hm_job j;
    bool found = false;
    if (!e->stale && e->video.text && same_moment(&e->at, r)) return true;
    if (hm_store_get(srv->store, r->id, -1, &j, &found, NULL) || !found) return false;
    const bool runs = j.status == HM_RUNNING, new_preview = e->at.previews != r->previews || strcmp(e->at.id, r->id);
    if (runs) {
        e->at = *r;
        e->stale = false;
        e->account = j.account;
        memcpy(e->kind, j.kind, sizeof e->kind);
        set(&e->video, hm_wire_video_at(srv, &j, r));
        if (new_preview) set(&e->preview, r->previews ? preview_of(srv, r->id) : NULL);
    }
    hm_job_deinit(&j);
    return runs && e->video.text;
}

void hm_events_changed(hm_events *e)
{
    pthread_mutex_lock(&e->lock);
    e->stale = true;
    pthread_mutex_unlock(&e->lock);
}

bool hm_events_answer(hm_call *c, const char *kind)
{
    hm_events *e = c->srv->events;
    hm_running r;
    hm_queue_running(c->srv->queue, &r);
    if (strcmp(r.id, c->id)) return false;
    pthread_mutex_lock(&e->lock);
    const bool ours = bring_up_to_date(c->srv, &r) && (c->who.key.admin || c->who.key.id == e->account) && !strcmp(kind, e->kind);
    char *copy = ours ? strdup(e->video.text) : NULL;
    pthread_mutex_unlock(&e->lock);
    if (!copy) return false;
    hm_answer_poll_after(c, &r);
    return hm_answer_text(c, 200, "application/json", copy);
}

/* ---- streams ---- */

typedef struct {
    hm_running seen;
    int status; /* -1: nothing was sent */
} watcher;

/* The job is not the one that is made, or comes to its end now. */
static bool watch_row(hm_call *c, watcher *w)
{
    hm_job j;
    bool found = false;
    if (hm_store_get(c->srv->store, c->id, -1, &j, &found, NULL) || !found) {
        hm_stream_event(c, "end", json_pack("{s:s, s:b}", "id", c->id, "deleted", 1));
        return true;
    }
    const bool end = j.status >= HM_DONE;
    if ((int)j.status != w->status) hm_stream_event(c, end ? "end" : "progress", hm_wire_video(c->srv, &j));
    w->status = (int)j.status;
    hm_job_deinit(&j);
    return end;
}

/* event: progress with the Video object at every step, event: preview with a picture, event: end. */
static bool watch(hm_call *c)
{
    watcher *w = c->state;
    hm_events *e = c->srv->events;
    hm_running r;
    hm_queue_running(c->srv->queue, &r);
    if (strcmp(r.id, c->id)) return watch_row(c, w);
    if (w->status == HM_RUNNING && same_moment(&w->seen, &r)) return false;
    pthread_mutex_lock(&e->lock);
    const bool runs = bring_up_to_date(c->srv, &r);
    if (runs) {
        hm_stream_text(c, "progress", e->video.text, e->video.len);
        if (e->preview.text && w->seen.previews != r.previews) hm_stream_text(c, "preview", e->preview.text, e->preview.len);
    }
    pthread_mutex_unlock(&e->lock);
    if (!runs) return watch_row(c, w);
    w->seen = r;
    w->status = HM_RUNNING;
    return false;
}

static bool get_events(hm_call *c)
{
    hm_job j;
    watcher *w = calloc(1, sizeof *w);
    if (!w) return hm_answer_error(c, 503, NULL, NULL, "out of memory");
    c->state = w;
    w->status = -1;
    if (!hm_find_job(c, "", &j)) return true;
    hm_job_deinit(&j);
    snprintf(c->watched[c->n_watched++], HM_ID, "%s", c->id);
    c->on_change = watch;
    hm_stream_start(c);
    return hm_wait(c);
}

static bool get_preview(hm_call *c)
{
    hm_job j;
    char path[HM_PATH];
    if (!hm_find_job(c, "", &j)) return true;
    hm_job_deinit(&j);
    hm_file(path, c->srv->o.data, "work", c->id, ".preview.jpg");
    return hm_answer_file(c, path, "image/jpeg", NULL);
}

const hm_route hm_event_routes[] = {{"GET", "/himmel/v1/jobs/*/preview", HM_SCOPE_READ, get_preview},
                                    {"GET", "/himmel/v1/jobs/*/events", HM_SCOPE_READ, get_events},
                                    {NULL, NULL, HM_SCOPE_NONE, NULL}};
