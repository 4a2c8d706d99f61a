/* http.c - sockets and requests: libmicrohttpd to hm_call.   SPDX-License-Identifier: MIT
 * Threads: a few of libmicrohttpd's, with epoll; a handler runs on the one that owns the connection.
 *   http_admit.c who may come in -> the body, here -> handler -> http_answer.c, or http_wait.c for those that wait */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http_internal.h"

enum { TIMEOUT = 30, HEAD_SECONDS = 60, BODY_SECONDS = 600, MEMORY = 16 << 10, THREADS = 2 }; /* seconds, bytes */

/* ---- bodies ---- */

static bool spool(hm_io *x, const void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        const ssize_t w = write(x->spool, (const char *)data + done, n - done);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return false;
        done += (size_t)w;
    }
    return true;
}

static void refuse(hm_io *x, int status, const char *why)
{
    x->refused = status;
    snprintf(x->why, sizeof x->why, "%s", why);
}

/* libmicrohttpd takes no answer in the middle of a body: what is refused is read on for a while and dropped. False: the
 * connection is closed. */
static bool take_bytes(hm_io *x, const char *data, size_t n)
{
    char path[HM_PATH];
    x->len += n;
    if (hm_now() - x->start > BODY_SECONDS || x->len > x->most + HM_MAX_JSON) return false;
    if (!x->refused && x->len > x->most) refuse(x, 413, "the body is larger than this server takes");
    if (x->refused) return true;
    const size_t before = x->len - n;
    if (x->spool < 0 && x->len > HM_SPOOL_FROM) {
        hm_file(path, x->call.srv->o.data, "work", "", "");
        x->spool = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (x->spool < 0 || !spool(x, x->mem, before)) refuse(x, 507, "the body cannot be stored");
    }
    if (x->refused) return true;
    if (x->spool >= 0) {
        if (!spool(x, data, n)) refuse(x, 507, "the body cannot be stored");
    } else if (!x->mem && !(x->mem = malloc(HM_SPOOL_FROM))) {
        refuse(x, 503, "out of memory for the body");
    } else {
        memcpy(x->mem + before, data, n);
    }
    return true;
}

static bool body_ready(hm_io *x)
{
    hm_call *c = &x->call;
    himmel_error err;
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
    if (*n) {
        const bool go_on = take_bytes(x, data, *n);
        *n = 0;
        return go_on ? MHD_YES : MHD_NO;
    }
    if (x->answered) return MHD_YES;
    if (!x->dispatched) {
        bool other;
        x->dispatched = true;
        const hm_route *route = hm_find_route(&x->call, &other);
        if (body_ready(x)) route->handle(&x->call);
    } else if (x->waiting) {
        hm_look_again(x);
    }
    if (!x->answered && !x->suspended && x->call.srv->http->stopping) hm_answer_error(&x->call, 503, NULL, NULL, "the server stops");
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
    hm_form_free(&x->call.form);
    if (x->mapped) munmap((void *)x->call.body, x->call.body_len);
    if (x->spool >= 0) close(x->spool);
    if (x->headers) MHD_destroy_response(x->headers);
    free(x->call.state);
    free(x->mem);
    free(x->out);
    free(x);
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
    if (!h->daemon) return;
    const MHD_socket s = MHD_quiesce_daemon(h->daemon);
    if (s != MHD_INVALID_SOCKET) close(s);
    hm_http_changed(srv, NULL); /* nobody may be suspended when it stops */
    MHD_stop_daemon(h->daemon);
    h->daemon = NULL;
}

void hm_http_free(hm_server *srv)
{
    hm_http *h = srv->http;
    if (!h) return;
    pthread_mutex_destroy(&h->lock);
    free(h->cert);
    free(h->key);
    free(h);
    srv->http = NULL;
}
