/* worker.c - the server's side of the worker, and its keeper.   SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/worker_wire.h"

enum { PLAN_SECONDS = 10, LOOK_MS = 200, SHORT_LIFE = 2 };

struct hm_worker {
    hm_worker_options o;
    hm_worker_news news;
    int sock;
    pid_t keeper;
    pthread_t reader;
    bool reading;
    pthread_mutex_t planning; /* one plan at a time */
    pthread_mutex_t lock;     /* of what follows */
    pthread_cond_t changed;
    unsigned life;            /* of the worker that spoke last */
    int state;                /* see hm_worker_model */
    hm_model model;
    himmel_error model_error;
    char job[HM_ID];          /* "": none */
    bool ended;               /* the job has, with err */
    himmel_error err;
    unsigned tickets, ticket; /* given out; of the plan that is waited for, 0: none */
    bool planned;
    hm_say plan;
};

/* ---- the keeper ---- */

static void keep(const hm_worker_options *o, int sock)
{
    const pid_t self = getpid();
    signal(SIGTERM, SIG_IGN), signal(SIGINT, SIG_IGN), signal(SIGHUP, SIG_IGN); /* the server says when it is over */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "himmel-keeper");
    for (unsigned life = 1;; life++) {
        const double start = hm_now();
        const pid_t child = fork();
        if (!child) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != self) _exit(0);
            hm_work(o, sock, life);
        }
        hm_say s = {.kind = HM_SAY_DIED, .life = life, .died = -1};
        if (child > 0) waitpid(child, &s.died, 0);
        if (send(sock, &s, sizeof s, MSG_NOSIGNAL) != sizeof s) _exit(0); /* the server has ended */
        if (s.died && hm_now() - start < SHORT_LIFE) sleep(1);
    }
}

/* ---- news ---- */

static himmel_status obituary(int status, himmel_error *err)
{
    if (status == -1) return hm_fail(err, HIMMEL_EINTERNAL, "the system gave no process to make it");
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return hm_fail(err, HIMMEL_ENOMEM, "the process that made it was killed (signal 9), as happens when the machine runs out of memory");
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
        return hm_fail(err, HIMMEL_ENOMEM, "the process that made it gave up (signal 6), as libraries do when they get no memory");
    if (WIFSIGNALED(status)) return hm_fail(err, HIMMEL_EINTERNAL, "the process that made it crashed (signal %d)", WTERMSIG(status));
    return hm_fail(err, HIMMEL_EINTERNAL, "the process that made it ended (status %d)", WEXITSTATUS(status));
}

/* Lock held. */
static void take_died(hm_worker *w, int status)
{
    himmel_error err;
    obituary(status, &err);
    if (status && w->news.log) fprintf(w->news.log, "himmel: %s; the next one loads the model\n", err.message);
    if (*w->job && !w->ended) w->ended = true, w->err = err;
    else if (!w->state) w->state = -1, hm_fail(&w->model_error, HIMMEL_EMODEL, "the model could not be loaded: %s", err.message);
    if (w->state > 0) w->state = 0;
}

static void take(hm_worker *w, const hm_say *s)
{
    pthread_mutex_lock(&w->lock);
    w->life = s->life;
    switch (s->kind) {
    case HM_SAY_MODEL:
        w->state = s->err.code ? -1 : 1;
        w->model = s->model;
        w->model_error = s->err;
        if (s->err.code && w->news.log) fprintf(w->news.log, "himmel: %s\n", s->err.message);
        break;
    case HM_SAY_END:
        if (!strcmp(w->job, s->id)) w->ended = true, w->err = s->err;
        break;
    case HM_SAY_PLANNED:
        if (s->plan.ticket == w->ticket) w->planned = true, w->plan = *s;
        break;
    case HM_SAY_DIED: take_died(w, s->died); break;
    default: break;
    }
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (s->kind == HM_SAY_STEP) w->news.step(w->news.user, s->id, &s->step);
    if (s->kind == HM_SAY_PREVIEW) w->news.preview(w->news.user, s->id);
}

static void *read_all(void *user)
{
    hm_worker *w = user;
    hm_say s;
    while (recv(w->sock, &s, sizeof s, 0) == sizeof s) take(w, &s);
    pthread_mutex_lock(&w->lock); /* the keeper is gone, or we are at our end */
    w->state = -1;
    hm_fail(&w->model_error, HIMMEL_EMODEL, "the worker's keeper has ended; the server must be started again");
    if (*w->job) w->ended = true, w->err = w->model_error;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- start and stop ---- */

himmel_status hm_worker_new(hm_worker **out, const hm_worker_options *o, himmel_error *err)
{
    int s[2];
    *out = NULL;
    hm_worker *w = calloc(1, sizeof *w);
    if (!w) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s)) {
        free(w);
        return hm_fail(err, HIMMEL_EINTERNAL, "no socket for the worker");
    }
    w->o = *o;
    w->keeper = fork();
    if (!w->keeper) {
        close(s[0]);
        keep(&w->o, s[1]);
    }
    close(s[1]);
    w->sock = s[0];
    pthread_mutex_init(&w->planning, NULL);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    *out = w;
    return w->keeper > 0 ? HIMMEL_OK : hm_fail(err, HIMMEL_EINTERNAL, "no process for the worker");
}

himmel_status hm_worker_listen(hm_worker *w, const hm_worker_news *news, himmel_error *err)
{
    w->news = *news;
    w->reading = !pthread_create(&w->reader, NULL, read_all, w);
    return w->reading ? HIMMEL_OK : hm_fail(err, HIMMEL_EINTERNAL, "no thread for the worker");
}

void hm_worker_free(hm_worker *w)
{
    if (!w) return;
    shutdown(w->sock, SHUT_RDWR);
    if (w->reading) pthread_join(w->reader, NULL);
    close(w->sock);
    if (w->keeper > 0) kill(w->keeper, SIGKILL); /* and its worker with it: one that still loads would not look at its socket for minutes */
    if (w->keeper > 0) waitpid(w->keeper, NULL, 0);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    pthread_mutex_destroy(&w->planning);
    free(w);
}

/* ---- asking ---- */

/* Lock held; it is given up for `ms` at most, or until something has changed. */
static void wait_a_moment(hm_worker *w, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += ms * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&w->changed, &w->lock, &until);
}

static void say(hm_worker *w, hm_say *s)
{
    s->life = w->life;
    send(w->sock, s, sizeof *s, MSG_NOSIGNAL); /* if it is gone, read_all() says so */
}

int hm_worker_model(hm_worker *w, hm_model *out, himmel_error *err)
{
    pthread_mutex_lock(&w->lock);
    const int state = w->state;
    if (out && state > 0) {
        *out = w->model;
        for (int k = 0; k < 2; k++) out->defaults[k].negative = *out->negative[k] ? out->negative[k] : NULL;
    }
    if (err && state < 0) *err = w->model_error;
    pthread_mutex_unlock(&w->lock);
    return state;
}

himmel_status hm_worker_ready(hm_worker *w, hm_stop_fn *stop, void *user, himmel_error *err)
{
    for (;;) {
        if (stop(user)) return hm_fail(err, HIMMEL_ECANCELLED, "stopped");
        pthread_mutex_lock(&w->lock);
        if (!w->state) wait_a_moment(w, LOOK_MS);
        const int state = w->state;
        const himmel_error why = w->model_error;
        pthread_mutex_unlock(&w->lock);
        if (state) return state > 0 ? HIMMEL_OK : hm_fail(err, HIMMEL_EMODEL, "%s", why.message);
    }
}

himmel_status hm_worker_plan(hm_worker *w, const himmel_request *like, himmel_plan_info *out, himmel_error *err)
{
    const double until = hm_now() + PLAN_SECONDS;
    himmel_status rc;
    pthread_mutex_lock(&w->planning);
    pthread_mutex_lock(&w->lock);
    const unsigned life = w->life;
    w->ticket = ++w->tickets, w->planned = false;
    hm_say s = {.kind = HM_SAY_PLAN, .plan = {.ticket = w->ticket, .like = *like}};
    if (w->state > 0) say(w, &s);
    while (!w->planned && w->state > 0 && w->life == life && hm_now() < until) wait_a_moment(w, LOOK_MS);
    if (w->planned) {
        *out = w->plan.plan.info;
        rc = w->plan.err.code ? hm_fail(err, w->plan.err.code, "%s", w->plan.err.message) : HIMMEL_OK;
    } else {
        rc = hm_fail(err, HIMMEL_EINTERNAL, "the worker could not plan this now");
    }
    w->ticket = 0;
    pthread_mutex_unlock(&w->lock);
    pthread_mutex_unlock(&w->planning);
    return rc;
}

himmel_status hm_worker_run(hm_worker *w, const char *id, hm_stop_fn *stop, void *user, himmel_error *err)
{
    hm_say s = {.kind = HM_SAY_RUN};
    snprintf(s.id, sizeof s.id, "%s", id);
    pthread_mutex_lock(&w->lock);
    memcpy(w->job, s.id, sizeof w->job);
    w->ended = false;
    if (w->state > 0) say(w, &s);
    else w->ended = true, hm_fail(&w->err, HIMMEL_EINTERNAL, "the process that should have made it ended before it began");
    s.kind = HM_SAY_STOP;
    while (!w->ended) {
        pthread_mutex_unlock(&w->lock);
        const bool over = stop(user);
        pthread_mutex_lock(&w->lock);
        if (over && !w->ended) say(w, &s);
        if (!w->ended) wait_a_moment(w, LOOK_MS);
    }
    const himmel_error why = w->err;
    *w->job = 0;
    pthread_mutex_unlock(&w->lock);
    return why.code ? hm_fail(err, why.code, "%s", why.message) : HIMMEL_OK;
}

void hm_worker_quit(hm_worker *w, const char *id)
{
    hm_say s = {.kind = HM_SAY_QUIT};
    snprintf(s.id, sizeof s.id, "%s", id);
    pthread_mutex_lock(&w->lock);
    if (!strcmp(w->job, id) && !w->ended) say(w, &s);
    pthread_mutex_unlock(&w->lock);
}

void hm_worker_nudge(hm_worker *w)
{
    pthread_mutex_lock(&w->lock);
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}
