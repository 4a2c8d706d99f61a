/* work.c - the worker's process: one thread computes, one listens.   SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/files.h"
#include "server/reader.h"
#include "server/render.h"
#include "server/worker_wire.h"

/* NICE: clients that poll come before films. BESIDE_PLAN: of memory, for code, libraries and stacks. */
enum { THUMB_WIDTH = 640, SHEET_COLUMNS = 5, SHEET_STILLS = 25, SHEET_WIDTH = 320, NICE = 5, BESIDE_PLAN_MIB = 512 };

typedef struct {
    const hm_worker_options *o;
    int sock;
    unsigned life;
    hm_model model;
    himmel_ctx *ctx;
    hm_readers readers;   /* of the job's inputs */
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    char job[HM_ID];      /* "": none */
    bool stop;            /* the job shall end */
} work;

static void say(const work *w, hm_say *s)
{
    s->life = w->life;
    if (send(w->sock, s, sizeof *s, MSG_NOSIGNAL) != sizeof *s) _exit(0); /* nobody is left to work for */
}

static bool told_to_stop(work *w)
{
    pthread_mutex_lock(&w->lock);
    const bool stop = w->stop;
    pthread_mutex_unlock(&w->lock);
    return stop;
}

/* ---- making ---- */

static int on_progress(void *user, const himmel_progress *p)
{
    work *w = user;
    hm_say s = {.kind = HM_SAY_STEP};
    memcpy(s.id, w->job, sizeof s.id); /* it changes only between jobs */
    s.step = (hm_step){.step = p->step, .n_steps = p->n_steps, .fraction = p->fraction, .eta_seconds = p->eta_seconds};
    snprintf(s.step.phase, sizeof s.step.phase, "%s", p->phase);
    say(w, &s);
    return told_to_stop(w);
}

static int on_preview(void *user, const himmel_picture *pic)
{
    work *w = user;
    char path[HM_PATH];
    hm_say s = {.kind = HM_SAY_PREVIEW};
    memcpy(s.id, w->job, sizeof s.id);
    hm_file(path, w->o->data, "work", w->job, ".preview.jpg");
    if (!himmel_write_picture(pic, path, NULL)) say(w, &s); /* a preview that fails is only missed */
    return told_to_stop(w);
}

/* Pictures of the finished file, then all under their final names. */
static himmel_status publish(const work *w, const hm_render *r, const char *made, himmel_error *err)
{
    const char *data = w->o->data, *id = w->job;
    char thumb[HM_PATH], sheet[HM_PATH], to[HM_PATH];
    himmel_media m;
    hm_file(thumb, data, "work", id, ".thumb.webp");
    hm_file(sheet, data, "work", id, ".sheet.jpg");
    himmel_status rc = himmel_probe(made, &m, err);
    if (!rc) rc = himmel_stills(made, 1, 1, HM_MIN(THUMB_WIDTH, m.width), thumb, err);
    if (!rc && r->req.kind == HIMMEL_FILM)
        rc = himmel_stills(made, SHEET_STILLS, SHEET_COLUMNS, HM_MIN(SHEET_WIDTH, m.width), sheet, err);
    hm_file(to, data, "results", id, ".thumb.webp");
    if (!rc) rc = hm_publish(thumb, to, err);
    hm_file(to, data, "results", id, ".sheet.jpg");
    if (!rc && r->req.kind == HIMMEL_FILM) rc = hm_publish(sheet, to, err);
    hm_file(to, data, "results", id, r->ending);
    return rc ? rc : hm_publish(made, to, err);
}

static himmel_status make(work *w, himmel_error *err)
{
    json_error_t je;
    char request[HM_PATH], made[HM_PATH], saved[HM_PATH];
    hm_render r = {0};
    hm_file(request, w->o->data, "work", w->job, ".request");
    json_t *json = json_load_file(request, 0, &je);
    himmel_status rc = json ? hm_render_init(&r, json, w->o->data, w->model.defaults, err) : hm_fail(err, HIMMEL_EINVAL, "the job's request: %s", je.text);
    if (!rc) {
        hm_file(made, w->o->data, "work", w->job, r.ending);
        hm_file(saved, w->o->data, "saved", w->job, "");
        r.req.output = made;
        r.req.keep = saved;
        r.req.on_progress = on_progress, r.req.on_preview = on_preview, r.req.user = w;
        r.edit.reader = hm_reader_open, r.edit.reader_user = &w->readers; /* no stranger's bytes meet a decoder here */
        rc = hm_render_run(&r, w->ctx, NULL, err);
        hm_readers_end(&w->readers);
        if (!rc) rc = publish(w, &r, made, err);
    }
    hm_render_deinit(&r);
    json_decref(json);
    return rc;
}

/* ---- loading ---- */

static void load(work *w)
{
    himmel_options o = himmel_options_default();
    himmel_model_info info = {0};
    hm_say s = {.kind = HM_SAY_MODEL};
    o.threads = w->o->threads;
    o.identity = w->o->identity;
    o.time_server = w->o->time_server;
    o.cache = w->o->cache;
    s.err.code = himmel_open(&w->ctx, w->o->model, &o, &s.err);
    if (!s.err.code) s.err.code = himmel_info(w->ctx, &info, &s.err);
    if (!s.err.code) {
        hm_model *m = &w->model;
        himmel_peak_gflops(w->ctx); /* measured now, so that no request waits for it */
        snprintf(m->name, sizeof m->name, "%s", info.name);
        snprintf(m->sha256, sizeof m->sha256, "%s", info.sha256);
        for (int k = 0; k < 2; k++) {
            m->defaults[k] = himmel_request_for(w->ctx, (himmel_kind)k);
            const char *negative = m->defaults[k].negative;
            snprintf(m->negative[k], sizeof m->negative[k], "%s", negative ? negative : "");
        }
        s.model = *m;
    }
    say(w, &s);
}

/* ---- listening ---- */

static void answer_plan(work *w, hm_say *s)
{
    himmel_request *q = &s->plan.like;
    q->prompt = "a film", q->negative = NULL, q->keep = NULL;
    q->output = q->kind == HIMMEL_FILM ? "x.mp4" : "x.png";
    q->on_progress = NULL, q->on_preview = NULL, q->user = NULL;
    s->kind = HM_SAY_PLANNED;
    s->err.message[0] = 0;
    s->err.code = himmel_plan(w->ctx, q, &s->plan.info, &s->err);
    say(w, s);
}

static void *listen_all(void *user)
{
    work *w = user;
    hm_say s;
    while (recv(w->sock, &s, sizeof s, 0) == sizeof s) {
        if (s.life != w->life) continue;
        if (s.kind == HM_SAY_PLAN) answer_plan(w, &s); /* only ever asked once the model is loaded */
        pthread_mutex_lock(&w->lock);
        if (s.kind == HM_SAY_QUIT && !strcmp(s.id, w->job)) _exit(0);
        if (s.kind == HM_SAY_RUN) {
            memcpy(w->job, s.id, sizeof w->job);
            w->stop = false;
            pthread_cond_signal(&w->wake);
        } else if (s.kind == HM_SAY_STOP && !strcmp(s.id, w->job)) {
            w->stop = true;
        }
        pthread_mutex_unlock(&w->lock);
    }
    _exit(0);
}

/* When memory runs out, the system shall take this process and not another. */
static void set_limits(const hm_worker_options *o)
{
    const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        const ssize_t ignored = write(fd, "500", 3);
        (void)ignored;
        close(fd);
    }
    setpriority(PRIO_PROCESS, 0, NICE);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* these map terabytes */
    struct rlimit r;
    const rlim_t most = (rlim_t)(o->max_memory_mib + BESIDE_PLAN_MIB) << 20;
    if (o->max_memory_mib && !getrlimit(RLIMIT_DATA, &r) && r.rlim_cur > most) setrlimit(RLIMIT_DATA, &(struct rlimit){most, most});
#endif
}

_Noreturn void hm_work(const hm_worker_options *o, int sock, unsigned life)
{
    static work w; /* of this process alone */
    pthread_t listener;
    prctl(PR_SET_NAME, "himmel-worker");
    w.o = o, w.sock = sock, w.life = life;
    set_limits(o);
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.wake, NULL);
    load(&w);
    if (pthread_create(&listener, NULL, listen_all, &w)) _exit(1);
    for (;;) {
        hm_say s = {.kind = HM_SAY_END};
        pthread_mutex_lock(&w.lock);
        while (!*w.job) pthread_cond_wait(&w.wake, &w.lock);
        memcpy(s.id, w.job, sizeof s.id);
        pthread_mutex_unlock(&w.lock);
        s.err.code = make(&w, &s.err);
        pthread_mutex_lock(&w.lock);
        *w.job = 0;
        pthread_mutex_unlock(&w.lock);
        say(&w, &s);
        /* A library that found no memory may only say that writing failed (x264 does) and crash at the next film: the next worker
         * has all its memory again. */
        if (s.err.code == HIMMEL_ENOMEM || s.err.code == HIMMEL_EINTERNAL || s.err.code == HIMMEL_EIO) _exit(0);
    }
}
