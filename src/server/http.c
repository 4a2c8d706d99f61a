/* http.c - sockets and requests: libmicrohttpd to hm_call.   SPDX-License-Identifier: MIT
 * Threads: a few of libmicrohttpd's, with epoll, which own connections and answer GET; http_body.c has those that may wait.
 *   http_admit.c who may come in -> http_body.c the body -> handler -> http_answer.c, or http_wait.c for those that wait */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http_internal.h"

enum { TIMEOUT = 30, HEAD_SECONDS = 60, MEMORY = 16 << 10, THREADS = 2 }; /* seconds, bytes */

/* ---- connections that never end their sentence ---- */

static void set_busy(hm_io *x, bool busy)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(x->conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    guard *g = i ? i->socket_context : NULL;
    hm_http *h = x->call.srv->http;
    if (!g) return;
    pthread_mutex_lock(&h->lock);
    g->busy = busy;
    g->since = hm_now();
    pthread_mutex_unlock(&h->lock);
}

static void on_connection(void *cls, struct MHD_Connection *conn, void **context, enum MHD_ConnectionNotificationCode what)
{
    hm_http *h = ((hm_server *)cls)->http;
    guard *g = *context;
    pthread_mutex_lock(&h->lock);
    if (what == MHD_CONNECTION_NOTIFY_STARTED && (g = calloc(1, sizeof *g))) {
        *g = (guard){.since = hm_now(), .fd = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd, .next = h->guards};
        if (h->guards) h->guards->prev = g;
        h->guards = *context = g;
    } else if (what == MHD_CONNECTION_NOTIFY_CLOSED && g) {
        if (g->prev) g->prev->next = g->next;
        else h->guards = g->next;
        if (g->next) g->next->prev = g->prev;
        free(g);
    }
    pthread_mutex_unlock(&h->lock);
}

void hm_drop_slow(hm_http *h)
{
    const double now = hm_now();
    pthread_mutex_lock(&h->lock);
    for (guard *g = h->guards; g; g = g->next)
        if (!g->busy && now - g->since > HEAD_SECONDS) shutdown(g->fd, SHUT_RDWR); /* libmicrohttpd sees it closed */
    pthread_mutex_unlock(&h->lock);
}

/* ---- libmicrohttpd's callbacks ---- */

static hm_io *io_new(hm_server *srv, struct MHD_Connection *conn, const char *url, const char *method)
{
    hm_io *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    x->conn = conn;
    x->spool = -1;
    x->start = hm_now();
    hm_call *c = &x->call;
    c->srv = srv;
    c->io = x;
    snprintf(c->method, sizeof c->method, "%s", method);
    snprintf(c->path, sizeof c->path, "%s", url);
    if (strlen(url) >= sizeof c->path || !hm_is_utf8(url, strlen(url))) strcpy(c->path, "//"); /* nothing is there */
    hm_new_id(c->request_id, sizeof c->request_id, "req_");
    hm_describe_peer(x);
    return x;
}

/* The answer that another thread has made. */
static void send_kept(hm_io *x)
{
    if (!x->response) return;
    MHD_queue_response(x->conn, (unsigned)x->status, x->response);
    MHD_destroy_response(x->response);
    x->response = NULL;
}

/* What looks at a body or changes something may wait for a disk or another process: not here. */
static void dispatch(hm_io *x)
{
    bool other;
    x->dispatched = true;
    x->route = hm_find_route(&x->call, &other);
    if (!x->len && !strcmp(x->call.method, "GET")) x->route->handle(&x->call);
    else if (!hm_hand_over(x)) hm_answer_error(&x->call, 503, NULL, NULL, "the server stops");
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method, const char *version,
                                  const char *data, size_t *n, void **state)
{
    (void)version;
    hm_io *x = *state;
    if (!x) {
        if (!(x = *state = io_new(cls, conn, url, method))) return MHD_NO;
        set_busy(x, true);
        hm_admit(x);
        return MHD_YES;
    }
    if (hm_is_worked_on(x)) return MHD_YES; /* what there is of the body stays where it is */
    if (*n) {
        bool full;
        const bool go_on = hm_body_take(x, data, *n, &full);
        *n = 0;
        return go_on && (!full || hm_hand_over(x)) ? MHD_YES : MHD_NO;
    }
    send_kept(x);
    if (x->answered) return MHD_YES;
    if (!x->dispatched) dispatch(x);
    else if (!(x->waiting && hm_look_again(x)) && !x->answered && hm_stopping(x->call.srv->http))
        hm_answer_error(&x->call, 503, NULL, NULL, "the server stops");
    return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **state, enum MHD_RequestTerminationCode why)
{
    (void)conn, (void)why;
    hm_server *srv = cls;
    hm_io *x = *state;
    if (!x) return;
    set_busy(x, false);
    hm_wait_ends(x);
    if (x->call.who.known) hm_log_add(srv->log, &x->call, x->status, x->address);
    hm_io_free(x);
    *state = NULL;
}

/* ---- start and stop ---- */

static himmel_status read_pem(char **out, const char *path, himmel_error *err)
{
    hm_map m;
    const himmel_status rc = hm_map_open(&m, path, err);
    if (rc) return rc;
    *out = strndup((const char *)m.data, m.len);
    hm_map_close(&m);
    return *out ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
}

static himmel_status address(const hm_serve_options *o, struct sockaddr_storage *a, himmel_error *err)
{
    *a = (struct sockaddr_storage){0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)a;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)a;
    if (inet_pton(AF_INET, o->bind, &v4->sin_addr) == 1) v4->sin_family = AF_INET, v4->sin_port = htons((uint16_t)o->port);
    else if (inet_pton(AF_INET6, o->bind, &v6->sin6_addr) == 1) v6->sin6_family = AF_INET6, v6->sin6_port = htons((uint16_t)o->port);
    else return hm_fail(err, HIMMEL_EINVAL, "--bind %.80s is not an IPv4 or IPv6 address", o->bind);
    return HIMMEL_OK;
}

himmel_status hm_http_prepare(hm_server *srv, himmel_error *err)
{
    srv->http = calloc(1, sizeof *srv->http);
    if (!srv->http) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the server");
    pthread_mutex_init(&srv->http->lock, NULL);
    pthread_cond_init(&srv->http->more, NULL);
    return HIMMEL_OK;
}

himmel_status hm_http_start(hm_server *srv, himmel_error *err)
{
    const hm_serve_options *o = &srv->o;
    struct sockaddr_storage a;
    struct rlimit files;
    hm_http *h = srv->http;
    if (!getrlimit(RLIMIT_NOFILE, &files)) files.rlim_cur = files.rlim_max, setrlimit(RLIMIT_NOFILE, &files);
    const unsigned most = getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur > 20200 ? 20000 : (unsigned)HM_MAX((long)files.rlim_cur - 200, 32);
    himmel_status rc = address(o, &a, err);
    if (!rc && o->tls_cert) rc = read_pem(&h->cert, o->tls_cert, err);
    if (!rc && o->tls_cert) rc = read_pem(&h->key, o->tls_key, err);
    if (!rc) rc = hm_bodies_start(h, err);
    if (rc) return rc;
    const struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, h->cert}, {MHD_OPTION_HTTPS_MEM_KEY, 0, h->key}, {MHD_OPTION_END, 0, NULL}};
    const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | (a.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0) |
                           (o->tls_cert ? MHD_USE_TLS : 0);
    errno = 0;
    h->daemon = MHD_start_daemon(flags, (uint16_t)o->port, NULL, NULL, on_request, srv, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&a,
                                 MHD_OPTION_NOTIFY_CONNECTION, on_connection, srv, MHD_OPTION_NOTIFY_COMPLETED, on_completed, srv, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS,
                                 MHD_OPTION_CONNECTION_LIMIT, most, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u,
                                 MHD_OPTION_ARRAY, o->tls_cert ? tls : none, MHD_OPTION_END);
    if (!h->daemon)
        return hm_fail(err, HIMMEL_EIO, "%s port %d: cannot listen%s%s", o->bind, o->port, errno ? ": " : "", errno ? strerror(errno) : "");
    const union MHD_DaemonInfo *i = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT);
    srv->port = i ? i->port : o->port;
    return HIMMEL_OK;
}

void hm_http_stop(hm_server *srv)
{
    hm_http *h = srv->http;
    if (!h) return;
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    pthread_mutex_unlock(&h->lock);
    const MHD_socket s = h->daemon ? MHD_quiesce_daemon(h->daemon) : MHD_INVALID_SOCKET;
    if (s != MHD_INVALID_SOCKET) close(s);
    hm_bodies_stop(h);
    if (!h->daemon) return;
    hm_http_changed(srv, NULL); /* nobody may be suspended when it stops */
    MHD_stop_daemon(h->daemon);
    h->daemon = NULL;
}

void hm_http_free(hm_server *srv)
{
    hm_http *h = srv->http;
    if (!h) return;
    pthread_cond_destroy(&h->more);
    pthread_mutex_destroy(&h->lock);
    free(h->cert);
    free(h->key);
    free(h);
    srv->http = NULL;
}
