/* hooks.c - webhooks: the end of a film is told to the addresses that the owner has set.   SPDX-License-Identifier: MIT
 * Standard Webhooks: headers webhook-id, -timestamp, -signature = "v1," base64(HMAC-SHA256(secret, id.timestamp.body)).
 * An answer other than 2xx is tried again for three days, after 1 s, then twice as long each time, at most an hour. */
#include <curl/curl.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "server/ask.h"

enum { KEEP_TRYING = 72 * 3600, LONGEST = 3600, ONE_CALL = 10, SECRET = 24 };

struct hm_hooks {
    hm_server *srv;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t sender;
    bool stopping;
};

/* ---- himmel webhooks ---- */

himmel_status hm_hook_new(const char *data, const char *url, const char *key, char secret[64], himmel_error *err)
{
    hm_store *s;
    hm_hook h = {.account = -1, .created = (int64_t)time(NULL)};
    uint8_t random[SECRET];
    if (strncasecmp(url, "http://", 7) && strncasecmp(url, "https://", 8))
        return hm_fail(err, HIMMEL_EINVAL, "%.200s: must begin with https:// or http://", url);
    if (strlen(url) >= sizeof h.url) return hm_fail(err, HIMMEL_EINVAL, "the address has %zu bytes, at most %zu are possible", strlen(url), sizeof h.url - 1);
    while (getrandom(random, sizeof random, 0) != sizeof random) {}
    strcpy(secret, "whsec_");
    hm_base64(random, sizeof random, secret + 6);
    strcpy(h.url, url);
    snprintf(h.secret, sizeof h.secret, "%s", secret);
    himmel_status rc = hm_files_init(data, err);
    if (!rc) rc = hm_store_open(&s, data, err);
    if (rc) return rc;
    if (key) rc = hm_store_key_id(s, key, &h.account, err);
    if (!rc) rc = hm_store_add_hook(s, &h, err);
    hm_store_close(s);
    return rc;
}

himmel_status hm_hook_list(const char *data, FILE *f, himmel_error *err)
{
    hm_store *s;
    hm_hook h = {0};
    bool found = true;
    himmel_status rc = hm_store_open(&s, data, err);
    if (rc) return rc;
    while (!rc && found) {
        rc = hm_store_next_hook(s, h.id, &h, &found, err);
        if (!rc && found) fprintf(f, "%lld  %s  %s  %lld waiting\n", (long long)h.id, h.url, h.account < 0 ? "all films" : "one key's films", (long long)h.waiting);
    }
    hm_store_close(s);
    return rc;
}

himmel_status hm_hook_remove(const char *data, int id, himmel_error *err)
{
    hm_store *s;
    bool changed = false;
    himmel_status rc = hm_store_open(&s, data, err);
    if (rc) return rc;
    rc = hm_store_remove_hook(s, id, &changed, err);
    if (!rc && !changed) rc = hm_fail(err, HIMMEL_EINVAL, "%s: there is no webhook %d", data, id);
    hm_store_close(s);
    return rc;
}

/* ---- sending ---- */

static size_t drop(char *data, size_t size, size_t n, void *user)
{
    (void)data, (void)user;
    return size * n;
}

static bool sign(const hm_delivery *d, long long now, const char *body, char out[64])
{
    uint8_t key[64], mac[32];
    unsigned len = 0;
    char *text = NULL;
    size_t n = 0;
    uint8_t *raw = hm_unbase64(d->secret + 6, &n);
    if (raw && n <= sizeof key) memcpy(key, raw, n);
    free(raw);
    if (!n || n > sizeof key || asprintf(&text, "%s.%lld.%s", d->id, now, body) < 0) return false;
    const bool ok = HMAC(EVP_sha256(), key, (int)n, (const uint8_t *)text, strlen(text), mac, &len) && len == sizeof mac;
    free(text);
    strcpy(out, "v1,");
    if (ok) hm_base64(mac, sizeof mac, out + 3);
    return ok;
}

/* True: the other side has it. */
static bool post(const hm_delivery *d)
{
    char body[400], id[100], stamp[64], signature[64], line[96];
    const long long now = (long long)time(NULL);
    long status = 0;
    snprintf(body, sizeof body, "{\"id\":\"%s\",\"object\":\"event\",\"created_at\":%lld,\"type\":\"%s\",\"data\":{\"id\":\"%s\"}}", d->id,
             (long long)d->created, d->type, d->job);
    CURL *c = curl_easy_init();
    if (!c || !sign(d, now, body, signature)) {
        curl_easy_cleanup(c);
        return false;
    }
    snprintf(id, sizeof id, "webhook-id: %s", d->id);
    snprintf(stamp, sizeof stamp, "webhook-timestamp: %lld", now);
    snprintf(line, sizeof line, "webhook-signature: %s", signature);
    struct curl_slist *h = NULL;
    const char *const lines[] = {"Content-Type: application/json", "Expect:", id, stamp, line};
    for (size_t i = 0; i < HM_COUNT(lines); i++) h = curl_slist_append(h, lines[i]);
    curl_easy_setopt(c, CURLOPT_URL, d->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, h);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, drop);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)ONE_CALL);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    const CURLcode rc = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(h);
    curl_easy_cleanup(c);
    return !rc && status >= 200 && status < 300;
}

static void deliver(hm_hooks *h, const hm_delivery *d)
{
    const int64_t now = (int64_t)time(NULL);
    if (post(d)) {
        hm_store_delivered(h->srv->store, d->id, 0, NULL);
    } else if (now - d->created > KEEP_TRYING) {
        fprintf(h->srv->o.log, "himmel: webhook %s of %s: given up after %d attempts\n", d->id, d->job, d->attempts + 1);
        hm_store_delivered(h->srv->store, d->id, 0, NULL);
    } else {
        hm_store_delivered(h->srv->store, d->id, now + HM_MIN(LONGEST, 1 << HM_MIN(d->attempts, 12)), NULL);
    }
}

static void *send_all(void *user)
{
    hm_hooks *h = user;
    pthread_mutex_lock(&h->lock);
    while (!h->stopping) {
        hm_delivery d;
        bool found = false;
        pthread_mutex_unlock(&h->lock);
        const himmel_status rc = hm_store_due(h->srv->store, (int64_t)time(NULL), &d, &found, NULL);
        if (!rc && found) deliver(h, &d);
        pthread_mutex_lock(&h->lock);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        if ((rc || !found) && !h->stopping) pthread_cond_timedwait(&h->wake, &h->lock, &until);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

himmel_status hm_hooks_new(hm_hooks **out, hm_server *srv, himmel_error *err)
{
    hm_hooks *h = *out = calloc(1, sizeof *h);
    if (!h) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for webhooks");
    h->srv = srv;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->wake, NULL);
    if (!pthread_create(&h->sender, NULL, send_all, h)) return HIMMEL_OK;
    free(h);
    *out = NULL;
    return hm_fail(err, HIMMEL_EINTERNAL, "no thread for webhooks");
}

void hm_hooks_free(hm_hooks *h)
{
    if (!h) return;
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    pthread_cond_signal(&h->wake);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->sender, NULL);
    pthread_cond_destroy(&h->wake);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
