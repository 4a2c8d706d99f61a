/* queue.c - the worker.   SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/files.h"
#include "server/queue.h"
#include "server/render.h"

enum { MOST_ATTEMPTS = 5, THUMB_WIDTH = 640, SHEET_COLUMNS = 5, SHEET_STILLS = 25, SHEET_WIDTH = 320 };

struct hm_queue {
    hm_queue_options o;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t wake;
    pthread_t worker;
    bool started, stopping;
    himmel_ctx *ctx;
    int model;            /* see hm_queue_model */
    himmel_error model_error;
    hm_running running;
    bool cancel;          /* the running job shall stop */
    bool progress;        /* the running job has done a step since it started */
    char cancel_message[160];
    int64_t running_account;
    hm_queue_totals totals;
};

static void tell(hm_queue *q, const char *id)
{
    if (q->o.changed) q->o.changed(q->o.user, id);
}

static bool told_to_stop(hm_queue *q)
{
    pthread_mutex_lock(&q->lock);
    const bool stop = q->cancel || q->stopping;
    pthread_mutex_unlock(&q->lock);
    return stop;
}

static int on_progress(void *user, const himmel_progress *p)
{
    hm_queue *q = user;
    char id[HM_ID];
    pthread_mutex_lock(&q->lock);
    hm_running *r = &q->running;
    snprintf(r->phase, sizeof r->phase, "%s", p->phase);
    r->step = p->step, r->n_steps = p->n_steps, r->eta_seconds = p->eta_seconds;
    if (p->fraction > r->fraction) r->fraction = p->fraction;
    memcpy(id, r->id, sizeof id);
    const bool first = !q->progress && !strcmp(p->phase, "sample") && p->step > 0;
    q->progress |= first;
    pthread_mutex_unlock(&q->lock);
    if (first) hm_store_progress(q->o.store, id, NULL);
    tell(q, id);
    return told_to_stop(q);
}

static int on_preview(void *user, const himmel_picture *pic)
{
    hm_queue *q = user;
    char path[HM_PATH];
    hm_file(path, q->o.data, "work", q->running.id, ".preview.jpg"); /* only this thread changes running.id */
    if (!himmel_write_picture(pic, path, NULL)) {                    /* a preview that fails is only missed */
        pthread_mutex_lock(&q->lock);
        q->running.previews++;
        pthread_mutex_unlock(&q->lock);
        tell(q, q->running.id);
    }
    return told_to_stop(q);
}

/* Pictures of the finished file, then all under their final names. */
static himmel_status publish(hm_queue *q, const hm_job *j, const hm_render *r, const char *made, himmel_error *err)
{
    char thumb[HM_PATH], sheet[HM_PATH], to[HM_PATH];
    himmel_media m;
    hm_file(thumb, q->o.data, "work", j->id, ".thumb.webp");
    hm_file(sheet, q->o.data, "work", j->id, ".sheet.jpg");
    himmel_status rc = himmel_probe(made, &m, err);
    if (!rc) rc = himmel_stills(made, 1, 1, HM_MIN(THUMB_WIDTH, m.width), thumb, err);
    if (!rc && r->req.kind == HIMMEL_FILM)
        rc = himmel_stills(made, SHEET_STILLS, SHEET_COLUMNS, HM_MIN(SHEET_WIDTH, m.width), sheet, err);
    hm_file(to, q->o.data, "results", j->id, ".thumb.webp");
    if (!rc) rc = hm_publish(thumb, to, err);
    hm_file(to, q->o.data, "results", j->id, ".sheet.jpg");
    if (!rc && r->req.kind == HIMMEL_FILM) rc = hm_publish(sheet, to, err);
    hm_file(to, q->o.data, "results", j->id, r->ending);
    return rc ? rc : hm_publish(made, to, err);
}

/* What the job needs at most. An edit is as a new film of its size and length, and the small film of what is known. */
static himmel_status plan(hm_queue *q, himmel_ctx *ctx, const hm_job *j, const hm_render *r, himmel_error *err)
{
    himmel_request like = r->req;
    himmel_plan_info p;
    int w = 0, h = 0;
    if (r->edits) {
        if (sscanf(j->size, "%dx%d", &w, &h) == 2) like.width = w, like.height = h;
        if (!like.prompt || !*like.prompt) like.prompt = "a film";
        if (like.fps_num <= 0) like.fps_num = 24, like.fps_den = 1;
        like.seconds = HM_MAX(1, HM_MIN(atof(j->seconds), HIMMEL_MAX_SECONDS));
        like.width = HM_MAX(like.width, HIMMEL_MIN_SIDE), like.height = HM_MAX(like.height, HIMMEL_MIN_SIDE);
    }
    const himmel_status rc = himmel_plan(ctx, &like, &p, err);
    if (rc) return rc;
    if (r->edits) p.peak_bytes += (uint64_t)p.base_width * (uint64_t)p.base_height * 4 * (uint64_t)(24 * like.seconds + 36);
    const uint64_t mib = p.peak_bytes >> 20;
    if (q->o.max_memory_mib && mib > (uint64_t)q->o.max_memory_mib)
        return hm_fail(err, HIMMEL_ENOMEM, "this would need %llu MiB of memory, this server gives a job %d MiB", (unsigned long long)mib, q->o.max_memory_mib);
    return HIMMEL_OK;
}

static himmel_status render(hm_queue *q, const hm_job *j, himmel_error *err)
{
    json_error_t je;
    char made[HM_PATH], saved[HM_PATH];
    hm_render r = {0};
    json_t *json = json_loads(j->request, 0, &je);
    himmel_status rc = json ? hm_render_init(&r, json, q->o.data, err) : hm_fail(err, HIMMEL_EINVAL, "the job's request: %s", je.text);
    if (!rc) {
        hm_file(made, q->o.data, "work", j->id, r.ending);
        hm_file(saved, q->o.data, "saved", j->id, "");
        r.req.output = made;
        r.req.keep = saved;
        r.req.on_progress = on_progress, r.req.on_preview = on_preview, r.req.user = q;
        rc = plan(q, q->ctx, j, &r, err);
        if (!rc) rc = hm_render_run(&r, q->ctx, NULL, err);
        if (!rc) rc = publish(q, j, &r, made, err);
    }
    hm_render_deinit(&r);
    json_decref(json);
    return rc;
}

/* Write the end of a job into the journal, however long the disk takes. */
static bool finish(hm_queue *q, const hm_job *j, hm_job_status status, const char *code, const char *message)
{
    himmel_error err;
    bool changed = false;
    while (hm_store_finish(q->o.store, j->id, status, code, message, &changed, &err)) {
        fprintf(q->o.log, "himmel: job %s: %s\n", j->id, err.message);
        pthread_mutex_lock(&q->lock);
        const bool stop = q->stopping;
        pthread_mutex_unlock(&q->lock);
        if (stop) return true; /* the journal says running: it is made again at the next start */
        sleep(1);
    }
    return changed;
}

static const char *code_of(himmel_status rc)
{
    return rc == HIMMEL_EINVAL || rc == HIMMEL_EFORMAT ? "invalid_request" : rc == HIMMEL_ENOMEM ? "out_of_memory"
           : rc == HIMMEL_EMODEL ? "model_unavailable" : "server_error";
}

static void run_job(hm_queue *q, const hm_job *j)
{
    himmel_error err = {0};
    const double start = hm_now();
    himmel_status rc = q->model > 0 ? HIMMEL_OK : hm_fail(&err, HIMMEL_EMODEL, "%s", q->model_error.message);
    if (!rc) rc = render(q, j, &err);
    pthread_mutex_lock(&q->lock);
    const bool cancelled = rc == HIMMEL_ECANCELLED && q->cancel, back = rc == HIMMEL_ECANCELLED && !q->cancel;
    char message[160];
    snprintf(message, sizeof message, "%s", q->cancel_message);
    pthread_mutex_unlock(&q->lock);
    if (rc && !cancelled && !back) fprintf(q->o.log, "himmel: job %s failed: %s\n", j->id, err.message);
    const bool there = finish(q, j, back ? HM_QUEUED : rc ? HM_FAILED : HM_DONE, cancelled ? "cancelled" : rc && !back ? code_of(rc) : "",
                              cancelled ? message : rc && !back ? err.message : NULL);
    if (!there) hm_remove_all(q->o.data, "results", j->id); /* deleted while it ran */
    if (!back) hm_remove_all(q->o.data, "inputs", j->id), hm_remove_all(q->o.data, "saved", j->id);
    hm_remove_all(q->o.data, "work", j->id);
    pthread_mutex_lock(&q->lock);
    q->running = (hm_running){0};
    q->cancel = q->progress = false;
    q->totals.busy_seconds += hm_now() - start;
    if (cancelled) q->totals.cancelled++;
    else if (rc && !back) q->totals.failed++;
    else if (!rc) q->totals.done++;
    pthread_mutex_unlock(&q->lock);
    tell(q, j->id);
}

static void load(hm_queue *q)
{
    himmel_options o = himmel_options_default();
    himmel_ctx *ctx = NULL;
    himmel_error err = {0};
    o.threads = q->o.threads;
    o.identity = q->o.identity;
    o.time_server = q->o.time_server;
    const himmel_status rc = himmel_open(&ctx, q->o.model, &o, &err);
    if (!rc) himmel_peak_gflops(ctx); /* measured now, so that no request waits for it */
    else fprintf(q->o.log, "himmel: %s\n", err.message);
    pthread_mutex_lock(&q->lock);
    q->ctx = ctx;
    q->model = rc ? -1 : 1;
    q->model_error = err;
    pthread_mutex_unlock(&q->lock);
}

static void wait_a_second(hm_queue *q)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_cond_timedwait(&q->wake, &q->lock, &until);
}

static void *work(void *user)
{
    hm_queue *q = user;
    load(q);
    for (;;) {
        hm_job j;
        himmel_error err;
        bool found;
        pthread_mutex_lock(&q->lock);
        if (q->stopping) break;
        const himmel_status rc = hm_store_take(q->o.store, &j, &found, &err);
        if (found) {
            q->running = (hm_running){.eta_seconds = -1, .started = hm_now()};
            snprintf(q->running.id, sizeof q->running.id, "%s", j.id);
            q->running_account = j.account;
        } else {
            wait_a_second(q); /* also notices what another process put into the journal */
        }
        pthread_mutex_unlock(&q->lock);
        if (rc) fprintf(q->o.log, "himmel: %s\n", err.message);
        if (!found) continue;
        tell(q, j.id);
        run_job(q, &j);
        hm_job_deinit(&j);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* ---- what is left from before ---- */

static bool wanted(void *user, const char *id)
{
    hm_queue *q = user;
    hm_job j;
    bool found = false;
    if (hm_store_get(q->o.store, id, -1, &j, &found, NULL)) return true; /* in doubt nothing is removed */
    if (found) hm_job_deinit(&j);
    return found;
}

/* Of a job that has no end yet. */
static bool unfinished(void *user, const char *id)
{
    hm_queue *q = user;
    hm_job j;
    bool found = false;
    if (hm_store_get(q->o.store, id, -1, &j, &found, NULL)) return true;
    const bool open = found && j.status < HM_DONE;
    if (found) hm_job_deinit(&j);
    return open;
}

himmel_status hm_queue_new(hm_queue **out, const hm_queue_options *o, himmel_error *err)
{
    *out = NULL;
    hm_queue *q = calloc(1, sizeof *q);
    if (!q) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the queue");
    q->o = *o;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->wake, NULL);
    himmel_status rc = hm_store_recover(o->store, MOST_ATTEMPTS, err);
    if (!rc) {
        hm_sweep(o->data, "work", NULL, NULL);
        hm_sweep(o->data, "results", wanted, q);
        hm_sweep(o->data, "inputs", unfinished, q);
        hm_sweep(o->data, "saved", unfinished, q);
    }
    if (!rc && pthread_create(&q->worker, NULL, work, q)) rc = hm_fail(err, HIMMEL_EINTERNAL, "no thread for the worker");
    q->started = !rc;
    if (rc) hm_queue_free(q);
    else *out = q;
    return rc;
}

void hm_queue_free(hm_queue *q)
{
    if (!q) return;
    pthread_mutex_lock(&q->lock);
    q->stopping = true;
    pthread_cond_broadcast(&q->wake);
    pthread_mutex_unlock(&q->lock);
    if (q->started) pthread_join(q->worker, NULL);
    himmel_close(q->ctx);
    pthread_cond_destroy(&q->wake);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

/* ---- from other threads ---- */

/* Would it fit into this machine? Asked at the door; while the model loads, the job is planned when its turn comes. */
static himmel_status check(hm_queue *q, const hm_job *j, himmel_error *err)
{
    json_error_t je;
    hm_render r = {0};
    json_t *json = json_loads(j->request, 0, &je);
    himmel_status rc = json ? hm_render_init(&r, json, q->o.data, err) : hm_fail(err, HIMMEL_EINVAL, "the job's request: %s", je.text);
    if (!rc) rc = hm_render_check(&r, err);
    pthread_mutex_lock(&q->lock);
    himmel_ctx *ctx = q->ctx;
    pthread_mutex_unlock(&q->lock);
    char output[16];
    snprintf(output, sizeof output, "x%s", r.ending);
    r.req.output = output;
    if (!rc && ctx) rc = plan(q, ctx, j, &r, err);
    hm_render_deinit(&r);
    json_decref(json);
    return rc;
}

bool hm_queue_full(hm_queue *q)
{
    int64_t counts[4];
    return !hm_store_counts(q->o.store, counts, NULL) && counts[HM_QUEUED] >= q->o.max_waiting;
}

himmel_status hm_queue_submit(hm_queue *q, const hm_job *jobs, size_t n, himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    for (size_t i = 0; i < n && !rc; i++) rc = check(q, &jobs[i], err);
    if (!rc) rc = hm_store_add(q->o.store, jobs, n, err);
    if (rc) return rc;
    pthread_mutex_lock(&q->lock);
    pthread_cond_signal(&q->wake);
    pthread_mutex_unlock(&q->lock);
    return HIMMEL_OK;
}

static bool stop_running(hm_queue *q, const char *id, int64_t account, const char *message)
{
    pthread_mutex_lock(&q->lock);
    const bool hit = *q->running.id && (id ? !strcmp(q->running.id, id) : q->running_account == account);
    if (hit) {
        q->cancel = true;
        snprintf(q->cancel_message, sizeof q->cancel_message, "%s", message);
    }
    pthread_mutex_unlock(&q->lock);
    return hit;
}

himmel_status hm_queue_cancel(hm_queue *q, const char *id, const char *message, bool *changed, himmel_error *err)
{
    hm_job j;
    bool found = false;
    himmel_status rc = hm_store_cancel(q->o.store, id, "cancelled", message, changed, err);
    if (rc) return rc;
    if (*changed) {
        hm_remove_all(q->o.data, "inputs", id);
        hm_remove_all(q->o.data, "saved", id);
        tell(q, id);
        return HIMMEL_OK;
    }
    rc = hm_store_get(q->o.store, id, -1, &j, &found, err);
    if (!rc && found && j.status == HM_RUNNING) *changed = stop_running(q, id, 0, message); /* its end may be under way: then it has none of this */
    if (found) hm_job_deinit(&j);
    return rc;
}

himmel_status hm_queue_cancel_account(hm_queue *q, int64_t account, const char *message, himmel_error *err)
{
    stop_running(q, NULL, account, message);
    static const char *const kinds[] = {"video", "image"};
    for (size_t k = 0; k < HM_COUNT(kinds); k++) {
        hm_job *jobs;
        size_t n;
        bool more = true, changed;
        char after[HM_ID] = "";
        while (more) {
            const hm_job_query query = {.kind = kinds[k], .after = after, .like = "", .account = account, .limit = 100};
            himmel_status rc = hm_store_list(q->o.store, &query, &jobs, &n, &more, err);
            if (rc) return rc;
            for (size_t i = 0; i < n && !rc; i++)
                if (jobs[i].status == HM_QUEUED) rc = hm_queue_cancel(q, jobs[i].id, message, &changed, err);
            if (n) snprintf(after, sizeof after, "%s", jobs[n - 1].id);
            hm_jobs_free(jobs, n);
            if (rc) return rc;
        }
    }
    return HIMMEL_OK;
}

himmel_status hm_queue_delete(hm_queue *q, const char *id, bool *changed, himmel_error *err)
{
    const himmel_status rc = hm_store_delete(q->o.store, id, changed, err);
    if (rc || !*changed) return rc;
    if (!stop_running(q, id, 0, "deleted")) hm_remove_all(q->o.data, "inputs", id), hm_remove_all(q->o.data, "saved", id);
    hm_remove_all(q->o.data, "results", id);
    tell(q, id);
    return HIMMEL_OK;
}

void hm_queue_running(hm_queue *q, hm_running *out)
{
    pthread_mutex_lock(&q->lock);
    *out = q->running;
    pthread_mutex_unlock(&q->lock);
}

int hm_queue_model(hm_queue *q, himmel_model_info *info, himmel_error *err)
{
    pthread_mutex_lock(&q->lock);
    const int state = q->model;
    if (err) *err = q->model_error;
    if (info && state > 0) himmel_info(q->ctx, info, NULL);
    pthread_mutex_unlock(&q->lock);
    return state;
}

void hm_queue_count(hm_queue *q, hm_queue_totals *out)
{
    pthread_mutex_lock(&q->lock);
    *out = q->totals;
    pthread_mutex_unlock(&q->lock);
}
