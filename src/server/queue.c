/* queue.c - the worker.   SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/files.h"
#include "server/queue.h"
#include "server/render.h"

enum { MOST_ATTEMPTS = 5, STEP_MS = 1500, QUIT_MS = 10000 }; /* _MS: that a job which must stop gets for its step; for the end of its process */

struct hm_queue {
    hm_queue_options o;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t wake, idle; /* idle: no job runs, for a moment at least */
    pthread_t runner;
    bool started, stopping;
    hm_running running;
    bool cancel;          /* the running job shall stop */
    bool quit;            /* its process was told to end: whatever it says of that is the end that was asked for */
    bool progress;        /* the running job has done a step since it started */
    char cancel_message[160];
    int64_t running_account;
    hm_queue_totals totals;
};

static void tell(hm_queue *q, const char *id)
{
    if (q->o.changed) q->o.changed(q->o.user, id);
}

static bool told_to_stop(void *user)
{
    hm_queue *q = user;
    pthread_mutex_lock(&q->lock);
    const bool stop = q->cancel || q->stopping;
    pthread_mutex_unlock(&q->lock);
    return stop;
}

static void on_step(void *user, const char *id, const hm_step *p)
{
    hm_queue *q = user;
    pthread_mutex_lock(&q->lock);
    hm_running *r = &q->running;
    const bool ours = !strcmp(r->id, id), first = ours && !q->progress && !strcmp(p->phase, "sample") && p->step > 0;
    if (ours) {
        memcpy(r->phase, p->phase, sizeof r->phase);
        r->step = p->step, r->n_steps = p->n_steps, r->eta_seconds = p->eta_seconds;
        if (p->fraction > r->fraction) r->fraction = p->fraction;
        q->progress |= first;
    }
    pthread_mutex_unlock(&q->lock);
    if (first) hm_store_progress(q->o.store, id, NULL);
    if (ours) tell(q, id);
}

static void on_preview(void *user, const char *id)
{
    hm_queue *q = user;
    pthread_mutex_lock(&q->lock);
    const bool ours = !strcmp(q->running.id, id);
    q->running.previews += ours;
    pthread_mutex_unlock(&q->lock);
    if (ours) tell(q, id);
}

/* What the job needs at most. An edit is as a new film of its size and length, and the small film of what is known. */
static himmel_status plan(hm_queue *q, const hm_job *j, const hm_render *r, himmel_error *err)
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
    const himmel_status rc = hm_worker_plan(q->o.worker, &like, &p, err);
    if (rc) return rc;
    if (r->edits) p.peak_bytes += (uint64_t)p.base_width * (uint64_t)p.base_height * 4 * (uint64_t)(24 * like.seconds + 36);
    const uint64_t mib = p.peak_bytes >> 20;
    if (q->o.max_memory_mib && mib > (uint64_t)q->o.max_memory_mib)
        return hm_fail(err, HIMMEL_ENOMEM, "this would need %llu MiB of memory, this server gives a job %d MiB", (unsigned long long)mib, q->o.max_memory_mib);
    return HIMMEL_OK;
}

/* The request of a job, with what the model says where it says nothing (m: loaded or not). */
static himmel_status read_request(hm_queue *q, const hm_job *j, int loaded, const hm_model *m, json_t **json, hm_render *r, himmel_error *err)
{
    json_error_t je;
    *r = (hm_render){0};
    *json = json_loads(j->request, 0, &je);
    if (!*json) return hm_fail(err, HIMMEL_EINVAL, "the job's request: %s", je.text);
    return hm_render_init(r, *json, q->o.data, loaded > 0 ? m->defaults : NULL, err);
}

/* Plan, then let the worker's process make it. */
static himmel_status render(hm_queue *q, const hm_job *j, himmel_error *err)
{
    hm_render r;
    hm_model m;
    json_t *json;
    char path[HM_PATH];
    himmel_status rc = hm_worker_ready(q->o.worker, told_to_stop, q, err);
    if (rc) return rc;
    rc = read_request(q, j, hm_worker_model(q->o.worker, &m, NULL), &m, &json, &r, err);
    if (!rc) rc = plan(q, j, &r, err);
    hm_file(path, q->o.data, "work", j->id, ".request");
    if (!rc) rc = hm_write_file(path, j->request, strlen(j->request), err);
    if (!rc) rc = hm_worker_run(q->o.worker, j->id, told_to_stop, q, err);
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
    const himmel_status rc = render(q, j, &err);
    pthread_mutex_lock(&q->lock);
    const bool cancelled = rc && q->cancel && (rc == HIMMEL_ECANCELLED || q->quit), back = rc == HIMMEL_ECANCELLED && !q->cancel;
    char message[160];
    snprintf(message, sizeof message, "%s", q->cancel_message);
    pthread_mutex_unlock(&q->lock);
    if (rc && !cancelled && !back) fprintf(q->o.log, "himmel: job %s failed: %s\n", j->id, err.message);
    const bool there = finish(q, j, back ? HM_QUEUED : rc ? HM_FAILED : HM_DONE, cancelled ? "cancelled" : rc && !back ? code_of(rc) : "",
                              cancelled ? message : rc && !back ? err.message : NULL);
    if (!there || rc) hm_remove_all(q->o.data, "results", j->id); /* deleted while it ran, or it ended between two of its files */
    if (!back) hm_remove_all(q->o.data, "inputs", j->id), hm_remove_all(q->o.data, "saved", j->id);
    hm_remove_all(q->o.data, "work", j->id);
    pthread_mutex_lock(&q->lock);
    q->running = (hm_running){0};
    q->cancel = q->quit = q->progress = false;
    q->totals.busy_seconds += hm_now() - start;
    if (cancelled) q->totals.cancelled++;
    else if (rc && !back) q->totals.failed++;
    else if (!rc) q->totals.done++;
    pthread_cond_broadcast(&q->idle);
    pthread_mutex_unlock(&q->lock);
    tell(q, j->id);
}

/* Lock held; it is given up meanwhile. */
static void wait_for(hm_queue *q, pthread_cond_t *c, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += ms % 1000 * 1000000L;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(c, &q->lock, &until);
}

static void *work(void *user)
{
    hm_queue *q = user;
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
            wait_for(q, &q->wake, 1000); /* also notices what another process put into the journal */
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
    pthread_cond_init(&q->idle, NULL);
    himmel_status rc = hm_store_recover(o->store, MOST_ATTEMPTS, err);
    if (!rc) {
        hm_sweep(o->data, "work", NULL, NULL);
        hm_sweep(o->data, "results", wanted, q);
        hm_sweep(o->data, "inputs", unfinished, q);
        hm_sweep(o->data, "saved", unfinished, q);
    }
    const hm_worker_news news = {.step = on_step, .preview = on_preview, .log = o->log, .user = q};
    if (!rc) rc = hm_worker_listen(o->worker, &news, err);
    if (!rc && pthread_create(&q->runner, NULL, work, q)) rc = hm_fail(err, HIMMEL_EINTERNAL, "no thread for the queue");
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
    hm_worker_nudge(q->o.worker);
    if (q->started) pthread_join(q->runner, NULL);
    pthread_cond_destroy(&q->wake);
    pthread_cond_destroy(&q->idle);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

/* ---- from other threads ---- */

/* Would it fit into this machine? Asked at the door; while the model loads, the job is planned when its turn comes. */
static himmel_status check(hm_queue *q, const hm_job *j, himmel_error *err)
{
    hm_render r;
    hm_model m;
    json_t *json;
    const int loaded = hm_worker_model(q->o.worker, &m, NULL);
    himmel_status rc = read_request(q, j, loaded, &m, &json, &r, err);
    if (!rc) rc = hm_render_check(&r, err);
    if (!rc && loaded > 0) rc = plan(q, j, &r, err);
    if (rc == HIMMEL_EINTERNAL) rc = HIMMEL_OK; /* no answer now */
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
    if (hit) hm_worker_nudge(q->o.worker);
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

/* Is the running job one of the account? Lock held. */
static bool works_for(const hm_queue *q, const char *id, int64_t account)
{
    return *q->running.id && q->running_account == account && !strcmp(q->running.id, id);
}

/* Until the account's running job has its end in the journal; *n one more if there was one. */
static himmel_status end_running(hm_queue *q, int64_t account, const char *message, int *n, himmel_error *err)
{
    char id[HM_ID];
    if (!stop_running(q, NULL, account, message)) return HIMMEL_OK;
    const double start = hm_now();
    pthread_mutex_lock(&q->lock);
    memcpy(id, q->running.id, sizeof id);
    while (works_for(q, id, account) && hm_now() - start < STEP_MS / 1e3) wait_for(q, &q->idle, STEP_MS);
    if (works_for(q, id, account)) {
        q->quit = true;
        hm_worker_quit(q->o.worker, id);
    }
    while (works_for(q, id, account) && hm_now() - start < (STEP_MS + QUIT_MS) / 1e3) wait_for(q, &q->idle, QUIT_MS);
    const bool ended = !works_for(q, id, account);
    pthread_mutex_unlock(&q->lock);
    *n += ended;
    return ended ? HIMMEL_OK : hm_fail(err, HIMMEL_EINTERNAL, "%s has not stopped yet", id);
}

himmel_status hm_queue_stop_account(hm_queue *q, int64_t account, const char *message, int *n, himmel_error *err)
{
    char id[HM_ID];
    himmel_status rc = HIMMEL_OK;
    bool changed;
    *n = 0;
    for (bool found = true; found && !rc; *n += found && !rc && changed) {
        changed = false;
        rc = hm_store_waiting(q->o.store, account, id, &found, err);
        if (!rc && found) rc = hm_queue_cancel(q, id, message, &changed, err);
    }
    return rc ? rc : end_running(q, account, message, n, err);
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

void hm_queue_count(hm_queue *q, hm_queue_totals *out)
{
    pthread_mutex_lock(&q->lock);
    *out = q->totals;
    pthread_mutex_unlock(&q->lock);
}
