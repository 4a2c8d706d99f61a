/* http_admit.c - who may come in, and where to.   SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/http_internal.h"

void hm_describe_peer(hm_io *x)
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
static bool origin_allowed(hm_io *x)
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
    return MHD_lookup_connection_value(hm_io_of(c)->conn, MHD_COOKIE_KIND, "himmel"); /* the studio's: films in <video> */
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

const hm_route *hm_find_route(hm_call *c, bool *other_method)
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

bool hm_admit(hm_io *x)
{
    hm_call *c = &x->call;
    bool other_method;
    if (!origin_allowed(x)) return false;
    if (!strcmp(c->method, "OPTIONS") && c->srv->o.cors) return !preflight(c);
    const hm_route *route = hm_find_route(c, &other_method);
    const bool known = hm_key_check(c->srv->store, token(c), x->local && !c->srv->o.behind_proxy, &c->who); /* the log has refusals too */
    if (!route && other_method) return !hm_answer_error(c, 405, NULL, "method_not_allowed", "%s %.120s is not possible", c->method, c->path);
    if (!route) return !hm_answer_error(c, 404, NULL, "unknown_url", "there is nothing at %s %.120s", c->method, c->path);
    x->most = HM_SPOOL_FROM;
    if (route->scope == HM_SCOPE_NONE) return true; /* strangers may not fill the disk */
    if (!known) {
        hm_answer_header(c, "WWW-Authenticate", "Bearer");
        return !hm_answer_error(c, 401, NULL, "invalid_api_key", token(c) ? "this API key is not valid (or no longer)"
                                                                          : "an API key is needed: Authorization: Bearer hm-...");
    }
    if (!hm_scope_has(&c->who, route->scope))
        return !hm_answer_error(c, 403, NULL, "missing_scope", "the key %s may not do this", c->who.key.name);
    const char *type = hm_header(c, "Content-Type"), *length = hm_header(c, "Content-Length");
    x->most = type && !strncasecmp(type, "multipart/", 10) ? (uint64_t)c->srv->o.max_upload_mib << 20 : HM_MAX_JSON;
    if (length && strtoull(length, NULL, 10) > x->most)
        return !hm_answer_error(c, 413, NULL, "body_too_large", "the body has %.20s bytes, at most %llu are taken", length, (unsigned long long)x->most);
    return true;
}
