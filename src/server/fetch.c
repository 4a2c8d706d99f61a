/* fetch.c - pictures from addresses that the owner has listed.   SPDX-License-Identifier: MIT
 * Scheme, host and port are compared as libcurl takes an address apart, since it is libcurl that will go there. */
#include "server/fetch.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SECONDS = 30, CONNECT_SECONDS = 10 };

/* ---- may it be fetched? ---- */

typedef struct {
    char *scheme, *host, *port, *path, *user, *query;
} address;

static void forget(address *a)
{
    curl_free(a->scheme), curl_free(a->host), curl_free(a->port), curl_free(a->path), curl_free(a->user), curl_free(a->query);
}

/* False: not an http or https address. */
static bool take_apart(const char *url, address *a)
{
    *a = (address){0};
    CURLU *u = curl_url();
    const bool ok = u && !curl_url_set(u, CURLUPART_URL, url, 0) && !curl_url_get(u, CURLUPART_SCHEME, &a->scheme, 0) &&
                    !curl_url_get(u, CURLUPART_HOST, &a->host, 0) && !curl_url_get(u, CURLUPART_PORT, &a->port, CURLU_DEFAULT_PORT) &&
                    !curl_url_get(u, CURLUPART_PATH, &a->path, 0) && (!strcmp(a->scheme, "https") || !strcmp(a->scheme, "http"));
    if (ok) curl_url_get(u, CURLUPART_USER, &a->user, 0), curl_url_get(u, CURLUPART_QUERY, &a->query, 0);
    curl_url_cleanup(u);
    if (!ok) forget(a), *a = (address){0};
    return ok;
}

bool hm_fetch_is_origin(const char *url)
{
    address a;
    const bool ok = take_apart(url, &a) && !a.user && !a.query && !strcmp(a.path, "/") && !strpbrk(url, "#*");
    forget(&a);
    return ok;
}

bool hm_fetch_allowed(const hm_serve_options *o, const char *url)
{
    address a, b;
    bool allowed = false;
    if (!take_apart(url, &a)) return false;
    for (int i = 0; i < o->n_origins && !allowed && !a.user; i++) {
        allowed = take_apart(o->origins[i], &b) && !strcmp(a.scheme, b.scheme) && !strcasecmp(a.host, b.host) && !strcmp(a.port, b.port);
        forget(&b);
    }
    forget(&a);
    return allowed;
}

/* ---- fetching ---- */

typedef struct {
    uint8_t *data;
    size_t n;
} body;

static size_t take(char *data, size_t size, size_t n, void *user)
{
    body *b = user;
    n *= size;
    uint8_t *more = b->n + n <= HM_FETCH_MOST ? realloc(b->data, b->n + n + 1) : NULL;
    if (!more) return 0;
    memcpy(more + b->n, data, n);
    b->data = more, b->n += n;
    return n;
}

himmel_status hm_fetch(const char *url, uint8_t **data, size_t *n, himmel_error *err)
{
    body b = {0};
    long status = 0;
    *data = NULL, *n = 0;
    CURL *c = curl_easy_init();
    if (!c) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L); /* to where nobody has listed */
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)SECONDS);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "himmel/" HIMMEL_VERSION);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &b);
    const CURLcode rc = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(c);
    if (!rc && status == 200 && b.n) {
        *data = b.data, *n = b.n;
        return HIMMEL_OK;
    }
    free(b.data);
    if (rc == CURLE_WRITE_ERROR) return hm_fail(err, HIMMEL_EINVAL, "%.200s has more than %d MiB", url, HM_FETCH_MOST >> 20);
    if (rc) return hm_fail(err, HIMMEL_EINVAL, "%.200s cannot be fetched: %s", url, curl_easy_strerror(rc));
    return hm_fail(err, HIMMEL_EINVAL, "%.200s cannot be fetched: its server answers with %ld%s", url, status, status == 200 ? " and no bytes" : "");
}
