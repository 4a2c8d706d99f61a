/* http_answer.c - what handlers may ask of a request, and its answers.   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/http_internal.h"

/* ---- what handlers may ask ---- */

const char *hm_query(const hm_call *c, const char *name)
{
    return MHD_lookup_connection_value(hm_io_of(c)->conn, MHD_GET_ARGUMENT_KIND, name);
}

const char *hm_header(const hm_call *c, const char *name)
{
    return MHD_lookup_connection_value(hm_io_of(c)->conn, MHD_HEADER_KIND, name);
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

void hm_answer_header(hm_call *c, const char *name, const char *fmt, ...)
{
    hm_io *x = hm_io_of(c);
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

bool hm_answer_response(hm_call *c, int status, struct MHD_Response *r, const char *type)
{
    hm_io *x = hm_io_of(c);
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
    if (x->working) {
        x->response = r; /* the connection is suspended; its own thread sends this */
        return true;
    }
    MHD_queue_response(x->conn, (unsigned)status, r);
    MHD_destroy_response(r);
    return true;
}

bool hm_answer_bytes(hm_call *c, int status, const char *type, const void *data, size_t len)
{
    return hm_answer_response(c, status, MHD_create_response_from_buffer(len, (void *)data, MHD_RESPMEM_PERSISTENT), type);
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
    return hm_answer_response(c, status, MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE), type);
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
    return hm_answer_response(c, partial ? 206 : 200, r, type);
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
    return hm_answer_response(c, 200, r, "application/zip");
}
