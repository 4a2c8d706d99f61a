/* http.c - libmicrohttpd to hm_call.   SPDX-License-Identifier: MIT
 * Threads: a few of libmicrohttpd's, with epoll; a handler runs on the one that owns the connection. A call that waits
 * is suspended; hm_http_changed() (any thread) resumes it, and its on_change runs on its own thread again. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/http.h"

enum { SPOOL_FROM = 64 << 10, MAX_JSON = 32 << 20, TIMEOUT = 30, HEAD_SECONDS = 60, BODY_SECONDS = 600, MEMORY = 16 << 10, THREADS = 2,
       MAX_STREAM = 64 << 20,
       KEEP_ALIVE = 15 };

typedef struct io {
    struct MHD_Connection *conn;
    struct MHD_Response *headers; /* collects headers for the answer to come */
    char address[64];
    bool local, answered, dispatched, head;
    int status;
    double start;
    /* body */
    uint8_t *mem;
    size_t len, cap;
    int spool;          /* fd, -1 = in memory */
    uint64_t most;      /* bytes of body that are read */
    bool mapped;
    int refused;        /* status of the answer once the body has been read and dropped, 0 = body is taken */
    char why[160];
    /* waiting */
    bool waiting, suspended, streaming, ended, stale; /* stale: on_change shall run */
    bool quiet;         /* so: nothing has happened for a while */
    double woken;
    char *out;          /* events that are not sent yet */
    size_t out_len, out_cap;
    struct io *next, *prev;
    hm_call call;
} io;

/* One connection: the head of a request must be there within HEAD_SECONDS of its beginning or of the last answer. */
typedef struct guard {
    double since;
    bool busy; /* a request is being answered */
    int fd;
    struct guard *next, *prev;
} guard;

struct hm_http {
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock; /* of the list of calls that wait, and of their flags */
    io *waiting;
    guard *guards;
    bool stopping;
    char *cert, *key;
};

static void drop_slow(hm_http *h);

static io *io_of(const hm_call *c)
{
    return c->io;
}

/* ---- what handlers may ask ---- */

const char *hm_query(const hm_call *c, const char *name)
{
    return MHD_lookup_connection_value(io_of(c)->conn, MHD_GET_ARGUMENT_KIND, name);
}

const char *hm_header(const hm_call *c, const char *name)
{
    return MHD_lookup_connection_value(io_of(c)->conn, MHD_HEADER_KIND, name);
}

bool hm_query_int(hm_call *c, const char *name, int lo, int hi, int otherwise, int *out)
{
    const char *v = hm_query(c, name);
    char *end;
    *out = otherwise;
    if (!v) return true;
    errno = 0;
    const long n = strtol(v, &end, 10);
    if (errno || end == v || *end || n < lo || n > hi) {
        hm_answer_error(c, 400, name, "invalid_value", "%s is '%.40s', must be a whole number from %d to %d", name, v, lo, hi);
        return false;
    }
    *out = (int)n;
    return true;
}

/* ---- answers ---- */

enum { MOST_HEADERS = 12 };
typedef struct { char name[40], value[400]; } header;

void hm_answer_header(hm_call *c, const char *name, const char *fmt, ...)
{
    io *x = io_of(c);
    char value[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    if (!x->headers) x->headers = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    if (x->headers) MHD_add_response_header(x->headers, name, value);
}

static enum MHD_Result copy_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    MHD_add_response_header(cls, name, value);
    return MHD_YES;
}

/* Sends r with the headers that every answer has, and releases it. */
static bool answer(hm_call *c, int status, struct MHD_Response *r, const char *type)
{
    io *x = io_of(c);
    if (x->answered || !r) {
        if (r) MHD_destroy_response(r);
        return true;
    }
    x->answered = true;
    x->status = status;
    const hm_serve_options *o = &c->srv->o;
    MHD_add_response_header(r, "Content-Type", type);
    MHD_add_response_header(r, "x-request-id", c->request_id);
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(r, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(r, "Cross-Origin-Resource-Policy", o->cors ? "cross-origin" : "same-origin");
    if (x->headers) MHD_get_response_headers(x->headers, copy_header, r);
    if (!MHD_get_response_header(r, "Cache-Control")) MHD_add_response_header(r, "Cache-Control", "no-store");
    if (o->cors) {
        MHD_add_response_header(r, "Access-Control-Allow-Origin", o->cors);
        MHD_add_response_header(r, "Access-Control-Expose-Headers", "x-request-id, openai-poll-after-ms");
        MHD_add_response_header(r, "Vary", "Origin");
    }
    MHD_queue_response(x->conn, (unsigned)status, r);
    MHD_destroy_response(r);
    return true;
}

bool hm_answer_bytes(hm_call *c, int status, const char *type, const void *data, size_t len)
{
    return answer(c, status, MHD_create_response_from_buffer(len, (void *)data, MHD_RESPMEM_PERSISTENT), type);
}

bool hm_answer_json(hm_call *c, int status, json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    return hm_answer_text(c, status, "application/json", text);
}

bool hm_answer_text(hm_call *c, int status, const char *type, char *text)
{
    if (!text) {
        static const char sorry[] = "{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,\"code\":null}}";
        return hm_answer_bytes(c, 500, "application/json", sorry, sizeof sorry - 1);
    }
    return answer(c, status, MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE), type);
}

static const char *type_of(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    default: return status < 500 ? "invalid_request_error" : "server_error";
    }
}

bool hm_answer_error(hm_call *c, int status, const char *param, const char *code, const char *fmt, ...)
{
    char message[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    for (size_t n = strlen(message); n && !hm_is_utf8(message, n);) message[--n] = 0; /* never cut within a letter */
    if (status != 429 && status != 503) hm_answer_header(c, "x-should-retry", "false");
    json_t *e = json_pack("{s:{s:s, s:s, s:s?, s:s?}}", "error", "message", message, "type", type_of(status), "param", param, "code", code);
    return hm_answer_json(c, status, e);
}

bool hm_answer_status(hm_call *c, const himmel_error *err)
{
    switch (err->code) {
    case HIMMEL_EINVAL:
    case HIMMEL_EFORMAT: return hm_answer_error(c, 400, NULL, "invalid_value", "%s", err->message);
    case HIMMEL_ENOMEM: return hm_answer_error(c, 400, NULL, "out_of_memory", "%s", err->message);
    case HIMMEL_EIO: return hm_answer_error(c, 507, NULL, "storage_error", "%s", err->message);
    default: return hm_answer_error(c, 500, NULL, NULL, "%s", err->message);
    }
}

/* "bytes=a-b", "bytes=a-", "bytes=-n". 0: no range, or one that may be passed over; 1: *from..*to; -1: outside. */
static int range(const char *h, uint64_t size, uint64_t *from, uint64_t *to)
{
    char *end;
    if (!h || strncasecmp(h, "bytes=", 6) || strchr(h, ',')) return 0;
    h += 6;
    if (*h == '-') {
        if (h[1] < '0' || h[1] > '9') return 0;
        const uint64_t n = strtoull(h + 1, &end, 10);
        if (*end) return 0;
        if (!n || !size) return -1;
        *from = n >= size ? 0 : size - n, *to = size - 1;
        return 1;
    }
    if (*h < '0' || *h > '9') return 0;
    *from = strtoull(h, &end, 10);
    if (*end++ != '-') return 0;
    *to = size ? size - 1 : 0;
    if (*end >= '0' && *end <= '9') {
        const uint64_t last = strtoull(end, &end, 10);
        if (last < *from) return 0;
        if (last < *to) *to = last;
    }
    if (*end) return 0;
    return *from < size ? 1 : -1;
}

bool hm_answer_file(hm_call *c, const char *path, const char *type, const char *name)
{
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        if (fd >= 0) close(fd);
        return hm_answer_error(c, 404, NULL, "not_found", "the file is not there");
    }
    const uint64_t size = (uint64_t)st.st_size;
    uint64_t from = 0, to = size ? size - 1 : 0;
    const int partial = range(hm_header(c, "Range"), size, &from, &to);
    if (!partial) from = 0, to = size ? size - 1 : 0;
    if (partial < 0) {
        close(fd);
        hm_answer_header(c, "Content-Range", "bytes */%llu", (unsigned long long)size);
        return hm_answer_error(c, 416, NULL, "invalid_range", "Range %.60s lies outside the file of %llu bytes", hm_header(c, "Range"),
                               (unsigned long long)size);
    }
    struct MHD_Response *r = MHD_create_response_from_fd_at_offset64(size ? to - from + 1 : 0, fd, from);
    if (!r) close(fd);
    hm_answer_header(c, "Accept-Ranges", "bytes");
    hm_answer_header(c, "Cache-Control", "private, no-cache");
    if (partial) hm_answer_header(c, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)from, (unsigned long long)to, (unsigned long long)size);
    if (name) hm_answer_header(c, "Content-Disposition", "attachment; filename=\"%s\"", name);
    return answer(c, partial ? 206 : 200, r, type);
}

static ssize_t zip_bytes(void *cls, uint64_t pos, char *buf, size_t max)
{
    (void)pos;
    const size_t n = hm_zip_read(cls, buf, max);
    return n ? (ssize_t)n : hm_zip_failed(cls) ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
}

static void zip_free(void *cls)
{
    hm_zip_free(cls);
}

bool hm_answer_zip(hm_call *c, hm_zip *z, const char *name)
{
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 64 << 10, zip_bytes, z, zip_free);
    if (!r) hm_zip_free(z);
    hm_answer_header(c, "Content-Disposition", "attachment; filename=\"%s\"", name);
    return answer(c, 200, r, "application/zip");
}

/* ---- answers that wait ---- */

static void list_add(hm_http *h, io *x)
{
    x->next = h->waiting, x->prev = NULL;
    if (h->waiting) h->waiting->prev = x;
    h->waiting = x;
    x->waiting = true;
}

static void list_remove(hm_http *h, io *x)
{
    if (!x->waiting) return;
    if (x->prev) x->prev->next = x->next;
    else h->waiting = x->next;
    if (x->next) x->next->prev = x->prev;
    x->waiting = false;
}

static void put(io *x, const char *text, size_t n)
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

/* Run on_change until there is something to send, or suspend. True: suspended. */
static bool look_again(io *x)
{
    hm_http *h = x->call.srv->http;
    for (;;) {
        pthread_mutex_lock(&h->lock);
        const bool stale = x->stale, quiet = x->quiet;
        x->stale = x->quiet = false;
        if (!stale || x->ended) {
            const bool wait = !x->ended && !x->answered && !h->stopping;
            const bool wait_more = x->streaming && !x->ended && !x->out_len && !h->stopping;
            x->suspended = wait || wait_more;
            if (x->suspended) MHD_suspend_connection(x->conn);
            pthread_mutex_unlock(&h->lock);
            return x->suspended;
        }
        pthread_mutex_unlock(&h->lock);
        if (x->call.on_change(&x->call)) x->ended = true;
        if (quiet && x->streaming && !x->out_len && !x->ended) put(x, ":\n\n", 3); /* keeps the connection open */
        if (x->out_len || x->ended) return false;
    }
}

bool hm_wait(hm_call *c)
{
    io *x = io_of(c);
    hm_http *h = c->srv->http;
    pthread_mutex_lock(&h->lock);
    list_add(h, x);
    x->stale = true;
    x->woken = hm_now();
    pthread_mutex_unlock(&h->lock);
    if (!x->streaming) look_again(x); /* a stream is asked for its bytes */
    return true;
}

void hm_http_changed(hm_server *srv, const char *id)
{
    hm_http *h = srv->http;
    if (!h) return;
    const double now = hm_now();
    if (!id) drop_slow(h);
    pthread_mutex_lock(&h->lock);
    for (io *x = h->waiting; x; x = x->next) {
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
    io *x = io_of(c);
    if (event) put(x, "event: ", 7), put(x, event, strlen(event)), put(x, "\n", 1);
    put(x, "data: ", 6);
    if (len) put(x, data, len);
    put(x, "\n\n", 2);
}

void hm_stream_end(hm_call *c)
{
    io_of(c)->ended = true;
}

/* libmicrohttpd wants bytes of a stream. */
static ssize_t stream_bytes(void *cls, uint64_t pos, char *buf, size_t max)
{
    (void)pos;
    io *x = cls;
    if (!x->out_len && !x->ended && look_again(x)) return 0; /* suspended */
    const size_t n = HM_MIN(max, x->out_len);
    if (!n) return x->ended || x->call.srv->http->stopping ? MHD_CONTENT_READER_END_OF_STREAM : 0;
    memcpy(buf, x->out, n);
    memmove(x->out, x->out + n, x->out_len - n);
    x->out_len -= n;
    return (ssize_t)n;
}

bool hm_stream_start(hm_call *c)
{
    io *x = io_of(c);
    x->streaming = true;
    hm_answer_header(c, "X-Accel-Buffering", "no");
    return answer(c, 200, MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32 << 10, stream_bytes, x, NULL), "text/event-stream");
}

/* ---- bodies ---- */

static bool spool(io *x, const void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        const ssize_t w = write(x->spool, (const char *)data + done, n - done);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return false;
        done += (size_t)w;
    }
    return true;
}

static void refuse(io *x, int status, const char *why)
{
    x->refused = status;
    snprintf(x->why, sizeof x->why, "%s", why);
}

/* libmicrohttpd takes no answer in the middle of a body: what is refused is read on for a while and dropped. False: the
 * connection is closed. */
static bool take_bytes(io *x, const char *data, size_t n)
{
    char path[HM_PATH];
    x->len += n;
    if (hm_now() - x->start > BODY_SECONDS || x->len > x->most + MAX_JSON) return false;
    if (!x->refused && x->len > x->most) refuse(x, 413, "the body is larger than this server takes");
    if (x->refused) return true;
    const size_t before = x->len - n;
    if (x->spool < 0 && x->len > SPOOL_FROM) {
        hm_file(path, x->call.srv->o.data, "work", "", "");
        x->spool = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (x->spool < 0 || !spool(x, x->mem, before)) refuse(x, 507, "the body cannot be stored");
    }
    if (x->refused) return true;
    if (x->spool >= 0) {
        if (!spool(x, data, n)) refuse(x, 507, "the body cannot be stored");
    } else if (!x->mem && !(x->mem = malloc(SPOOL_FROM))) {
        refuse(x, 503, "out of memory for the body");
    } else {
        memcpy(x->mem + before, data, n);
    }
    return true;
}

static bool body_ready(io *x)
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

/* ---- who may come in ---- */

static void describe_peer(io *x)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(x->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    snprintf(x->address, sizeof x->address, "?");
    if (!i) return;
    const struct sockaddr *a = i->client_addr;
    const char *forwarded = x->call.srv->o.behind_proxy ? hm_header(&x->call, "X-Forwarded-For") : NULL;
    if (a->sa_family == AF_INET) {
        const struct in_addr *v4 = &((const struct sockaddr_in *)a)->sin_addr;
        inet_ntop(AF_INET, v4, x->address, sizeof x->address);
        x->local = ntohl(v4->s_addr) >> 24 == 127;
    } else if (a->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)a)->sin6_addr;
        inet_ntop(AF_INET6, v6, x->address, sizeof x->address);
        x->local = IN6_IS_ADDR_LOOPBACK(v6);
    }
    if (forwarded) { /* the last one is the proxy's own word */
        const char *last = strrchr(forwarded, ',');
        last = last ? last + 1 : forwarded;
        snprintf(x->address, sizeof x->address, "%.60s", last + strspn(last, " "));
    }
}

/* The name in a Host header, without the port. */
static void host_name(const char *host, char *out, size_t cap)
{
    const size_t n = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    snprintf(out, cap, "%.*s", (int)HM_MIN(n, 250), host);
}

/* A page of another name that resolves to this machine must not get in (DNS rebinding), nor one of another origin. */
static bool origin_allowed(io *x)
{
    hm_call *c = &x->call;
    const hm_serve_options *o = &c->srv->o;
    const char *host = hm_header(c, "Host"), *origin = hm_header(c, "Origin"), *site = hm_header(c, "Sec-Fetch-Site");
    char name[256];
    host_name(host ? host : "", name, sizeof name);
    const bool ours = !strcasecmp(name, "localhost") || !strcmp(name, "127.0.0.1") || !strcmp(name, "[::1]") || !strcmp(name, o->bind);
    if (x->local && !o->behind_proxy && !o->tls_cert && !ours)
        return !hm_answer_error(c, 403, NULL, "host_not_allowed", "Host %.100s is not this server (localhost, 127.0.0.1, [::1])", host ? host : "(none)");
    if (origin && o->cors && !strcmp(origin, o->cors)) return true;
    if (site && !strcmp(site, "cross-site") && strcmp(c->method, "GET"))
        return !hm_answer_error(c, 403, NULL, "origin_not_allowed", "pages of other sites may not call this server (--cors)");
    if (!origin) return true;
    const char *p = strstr(origin, "://");
    if (!p || !host || strcasecmp(p + 3, host))
        return !hm_answer_error(c, 403, NULL, "origin_not_allowed", "pages of %.100s may not call this server (--cors)", origin);
    return true;
}

static const char *token(const hm_call *c)
{
    const char *h = hm_header(c, "Authorization");
    if (h && !strncasecmp(h, "Bearer ", 7)) return h + 7 + strspn(h + 7, " ");
    return MHD_lookup_connection_value(io_of(c)->conn, MHD_COOKIE_KIND, "himmel"); /* the studio's: films in <video> */
}

static bool match(const char *pattern, const char *path, char id[HM_ID])
{
    for (; *pattern; pattern++) {
        if (*pattern == '*') {
            const size_t n = strcspn(path, "/");
            if (n == 0 || n >= HM_ID) return false;
            memcpy(id, path, n);
            id[n] = 0;
            if (strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789_.-") < n || strstr(id, "..")) return false;
            path += n;
        } else if (*pattern != *path++) {
            return false;
        }
    }
    return !*path;
}

static const hm_route *find(hm_call *c, bool *other_method)
{
    const hm_route *const tables[] = {hm_video_routes, hm_image_routes, hm_extra_routes, hm_people_routes, hm_event_routes, hm_studio_routes};
    const bool head = !strcmp(c->method, "HEAD");
    *other_method = false;
    for (size_t t = 0; t < HM_COUNT(tables); t++)
        for (const hm_route *r = tables[t]; r->method; r++)
            if (match(r->path, c->path, c->id)) {
                if (!strcmp(r->method, head ? "GET" : c->method)) return r;
                *other_method = true;
            }
    return NULL;
}

static bool preflight(hm_call *c)
{
    hm_answer_header(c, "Access-Control-Allow-Methods", "GET, POST, DELETE");
    hm_answer_header(c, "Access-Control-Allow-Headers", "%.390s", hm_header(c, "Access-Control-Request-Headers") ? hm_header(c, "Access-Control-Request-Headers") : "");
    return hm_answer_bytes(c, 204, "text/plain", "", 0);
}

/* Everything that can be refused before a byte of body is read. False: answered. */
static bool admit(io *x, const hm_route **route)
{
    hm_call *c = &x->call;
    bool other_method;
    if (!origin_allowed(x)) return false;
    if (!strcmp(c->method, "OPTIONS") && c->srv->o.cors) return !preflight(c);
    *route = find(c, &other_method);
    if (!*route && other_method) return !hm_answer_error(c, 405, NULL, "method_not_allowed", "%s %.120s is not possible", c->method, c->path);
    if (!*route) return !hm_answer_error(c, 404, NULL, "unknown_url", "there is nothing at %s %.120s", c->method, c->path);
    const bool known = hm_key_check(c->srv->store, token(c), x->local && !c->srv->o.behind_proxy, &c->who);
    x->most = SPOOL_FROM;
    if ((*route)->scope == HM_SCOPE_NONE) return true; /* strangers may not fill the disk */
    if (!known) {
        hm_answer_header(c, "WWW-Authenticate", "Bearer");
        return !hm_answer_error(c, 401, NULL, "invalid_api_key", token(c) ? "this API key is not valid (or no longer)"
                                                                          : "an API key is needed: Authorization: Bearer hm-...");
    }
    if (!hm_scope_has(&c->who, (*route)->scope))
        return !hm_answer_error(c, 403, NULL, "missing_scope", "the key %s may not do this", c->who.key.name);
    const char *type = hm_header(c, "Content-Type"), *length = hm_header(c, "Content-Length");
    x->most = type && !strncasecmp(type, "multipart/", 10) ? (uint64_t)c->srv->o.max_upload_mib << 20 : MAX_JSON;
    if (length && strtoull(length, NULL, 10) > x->most)
        return !hm_answer_error(c, 413, NULL, "body_too_large", "the body has %.20s bytes, at most %llu are taken", length, (unsigned long long)x->most);
    return true;
}

/* ---- connections that never end their sentence ---- */

static void set_busy(io *x, bool busy)
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

static void drop_slow(hm_http *h)
{
    const double now = hm_now();
    pthread_mutex_lock(&h->lock);
    for (guard *g = h->guards; g; g = g->next)
        if (!g->busy && now - g->since > HEAD_SECONDS) shutdown(g->fd, SHUT_RDWR); /* libmicrohttpd sees it closed */
    pthread_mutex_unlock(&h->lock);
}

/* ---- libmicrohttpd's callbacks ---- */

static io *io_new(hm_server *srv, struct MHD_Connection *conn, const char *url, const char *method)
{
    io *x = calloc(1, sizeof *x);
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
    describe_peer(x);
    return x;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method, const char *version,
                                  const char *data, size_t *n, void **state)
{
    (void)version;
    io *x = *state;
    const hm_route *route = NULL;
    if (!x) {
        if (!(x = *state = io_new(cls, conn, url, method))) return MHD_NO;
        set_busy(x, true);
        admit(x, &route);
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
        route = find(&x->call, &other);
        if (body_ready(x)) route->handle(&x->call);
    } else if (x->waiting) {
        look_again(x);
    }
    if (!x->answered && !x->suspended && x->call.srv->http->stopping) hm_answer_error(&x->call, 503, NULL, NULL, "the server stops");
    return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **state, enum MHD_RequestTerminationCode why)
{
    (void)conn, (void)why;
    hm_server *srv = cls;
    io *x = *state;
    if (!x) return;
    set_busy(x, false);
    pthread_mutex_lock(&srv->http->lock);
    list_remove(srv->http, x);
    pthread_mutex_unlock(&srv->http->lock);
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
