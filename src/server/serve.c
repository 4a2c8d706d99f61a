/* serve.c - everything together.   SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "server/bell.h"
#include "server/http.h"
#include "server/lockdown.h"

hm_serve_options hm_serve_options_default(void)
{
    return (hm_serve_options){.data = "himmel-data", .bind = "127.0.0.1", .port = 8080, .max_queue = 1000, .max_upload_mib = 256, .min_free_mib = 256,
                              .log = stderr};
}

static bool is_loopback(const char *bind)
{
    struct in_addr v4;
    return !strcmp(bind, "::1") || (inet_pton(AF_INET, bind, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

/* Other machines may come in only with a key, and over TLS. */
static himmel_status check_door(const hm_serve_options *o, hm_store *s, himmel_error *err)
{
    hm_key *keys;
    size_t n;
    if (!o->tls_cert != !o->tls_key) return hm_fail(err, HIMMEL_EINVAL, "--tls-cert and --tls-key go together");
    if (o->port < 0 || o->port > 65535) return hm_fail(err, HIMMEL_EINVAL, "--port %d: 0 to 65535", o->port);
    if (is_loopback(o->bind) && !o->behind_proxy) return HIMMEL_OK;
    const himmel_status rc = hm_store_keys(s, &keys, &n, err);
    if (rc) return rc;
    free(keys);
    if (!n) return hm_fail(err, HIMMEL_EINVAL, "%s: other machines may come in only with a key; make one first: himmel keys new NAME --data %s", o->bind, o->data);
    if (!o->tls_cert && !o->behind_proxy)
        return hm_fail(err, HIMMEL_EINVAL, "%s: keys would cross the network in the clear; --tls-cert and --tls-key, or --behind-proxy if another program does TLS", o->bind);
    return HIMMEL_OK;
}

enum { LOCK_TRIES = 30 };

/* One himmel serve to a folder. The children hold the lock too: after kill -9 it is free once the last of them has gone, in a moment. */
static himmel_status lock_data(const char *data, int *fd, himmel_error *err)
{
    char path[HM_PATH];
    snprintf(path, sizeof path, "%s/lock", data);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0) return hm_fail(err, HIMMEL_EIO, "%.300s: %s", path, strerror(errno));
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (!flock(*fd, LOCK_EX | LOCK_NB)) return HIMMEL_OK;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return hm_fail(err, HIMMEL_EIO, "%.300s: another himmel serve uses this folder", data);
}

static void on_changed(void *user, const char *id)
{
    hm_server *srv = user;
    hm_events_changed(srv->events);
    hm_http_changed(srv, id);
}

static void say_hello(const hm_server *srv)
{
    const hm_serve_options *o = &srv->o;
    if (hm_lockdown_lacks())
        fprintf(o->log, "himmel: this kernel has no %s: what is uploaded is decoded by a process with more rights than it needs\n", hm_lockdown_lacks());
    const bool v6 = strchr(o->bind, ':');
    fprintf(o->log, "himmel: %s://%s%s%s:%d  studio; base URL of the API: .../v1; data in %s\n", o->tls_cert ? "https" : "http", v6 ? "[" : "",
            o->bind, v6 ? "]" : "", srv->port, o->data);
    fflush(o->log);
}

static himmel_status start(hm_server *srv, int *lock, himmel_error *err)
{
    const hm_serve_options *o = &srv->o;
    const hm_worker_options w = {.data = o->data, .model = o->model, .identity = o->identity, .time_server = o->time_server, .cache = o->cache,
                                 .threads = o->threads, .max_memory_mib = o->max_memory_mib};
    himmel_status rc = hm_files_init(o->data, err);
    if (!rc) rc = lock_data(o->data, lock, err);
    if (!rc) rc = hm_jail_new(&srv->jail, err); /* these two before there are threads */
    if (!rc) rc = hm_worker_new(&srv->worker, &w, err);
    if (!rc) rc = hm_store_open(&srv->store, o->data, err);
    if (!rc) rc = check_door(o, srv->store, err);
    if (!rc) rc = hm_bell_new(&srv->bell, o->data, err); /* the children do not have it: without a reader there is no server */
    if (!rc) rc = hm_log_new(&srv->log, srv, err);
    const hm_queue_options q = {.data = o->data, .max_waiting = o->max_queue, .max_memory_mib = o->max_memory_mib, .store = srv->store,
                                .worker = srv->worker, .log = o->log, .changed = on_changed, .user = srv};
    if (!rc) rc = hm_events_new(&srv->events, err);
    if (!rc) rc = hm_http_prepare(srv, err); /* before the worker, which tells it about its jobs */
    if (!rc) rc = hm_queue_new(&srv->queue, &q, err);
    if (!rc) rc = hm_hooks_new(&srv->hooks, srv, err);
    return rc ? rc : hm_http_start(srv, err);
}

himmel_status hm_serve(const hm_serve_options *o, bool (*stop)(void), himmel_error *err)
{
    hm_server srv = {.o = *o, .start = hm_now(), .keys_seen = hm_now() + 600, .bell = -1};
    int lock = -1;
    pthread_mutex_init(&srv.door, NULL);
    const himmel_status rc = start(&srv, &lock, err);
    if (!rc) say_hello(&srv);
    double second = hm_now() + 1;
    while (!rc && !stop()) {
        const bool called = hm_bell_wait(srv.bell, 200), turn = hm_now() >= second;
        if (called || turn) hm_keys_watch(&srv);
        if (!turn) continue;
        second = hm_now() + 1;
        hm_http_changed(&srv, NULL);
    }
    hm_bell_free(srv.bell);
    hm_http_stop(&srv); /* nobody asks any more; then the worker puts its job back */
    hm_queue_free(srv.queue);
    hm_worker_free(srv.worker);
    hm_http_free(&srv);
    hm_events_free(srv.events);
    hm_hooks_free(srv.hooks);
    hm_log_free(srv.log);
    hm_store_close(srv.store);
    hm_jail_free(srv.jail);
    pthread_mutex_destroy(&srv.door);
    if (lock >= 0) close(lock);
    return rc;
}
