/* keys.c - who may enter: keys, their scopes and quotas, and the log of what they do.   SPDX-License-Identifier: MIT
 * A key is "hm-" and 43 letters of 256 random bits; the journal has its SHA-256. Looking up a hash tells nothing by its
 * time that helps to find a key. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/sha256.h"
#include "server/bell.h"
#include "server/http.h"

enum { MOST_PENDING = 4096, DAY = 86400, STOP_SECONDS = 30, LOG_DAYS = 90, SHARED_FROM = 5 };

static const char no_longer[] = "the key was revoked or has expired";

static void hash_of(const char *key, uint8_t out[32])
{
    hm_sha256 s;
    hm_sha256_init(&s);
    hm_sha256_add(&s, key, strlen(key));
    hm_sha256_end(&s, out);
}

static void new_key(char out[64], const char *prefix)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t b[43];
    while (getrandom(b, sizeof b, 0) != sizeof b) {}
    const size_t n = strlen(prefix);
    memcpy(out, prefix, n);
    for (size_t i = 0; i < sizeof b; i++) out[n + i] = letters[b[i] & 63];
    out[n + sizeof b] = 0;
}

/* ---- the program's himmel keys ---- */

static himmel_status read_options(const hm_key_options *o, hm_key *k, himmel_error *err)
{
    *k = (hm_key){.created = (int64_t)time(NULL), .create = o->create, .read = o->read, .admin = o->admin,
                .max_films = o->max_films, .max_seconds = o->max_seconds, .max_concurrent = o->max_concurrent};
    const size_t n = strlen(o->name);
    if (n < 1 || n > 64 || !hm_is_utf8(o->name, n)) return hm_fail(err, HIMMEL_EINVAL, "the name of a key has %zu bytes, 1 to 64 are possible", n);
    if (!(o->days >= 0 && o->days <= 36500)) return hm_fail(err, HIMMEL_EINVAL, "--days %g: 0 to 36500", o->days);
    if (o->days > 0) k->expires = k->created + (int64_t)(o->days * DAY);
    snprintf(k->name, sizeof k->name, "%s", o->name);
    return HIMMEL_OK;
}

himmel_status hm_key_new(const char *data, const hm_key_options *o, char out[64], himmel_error *err)
{
    hm_store *s;
    hm_key k;
    uint8_t hash[32];
    himmel_status rc = read_options(o, &k, err);
    if (rc) return rc;
    new_key(out, "hm-");
    hash_of(out, hash);
    snprintf(k.prefix, sizeof k.prefix, "%.8s", out);
    rc = hm_files_init(data, err);
    if (!rc) rc = hm_store_open(&s, data, err);
    if (rc) return rc;
    rc = hm_store_add_key(s, &k, hash, err);
    hm_store_close(s);
    return rc;
}

himmel_status hm_key_invite(const char *data, const hm_key_options *o, int uses, double key_days, char out[64], himmel_error *err)
{
    hm_store *s;
    hm_key k;
    uint8_t hash[32];
    himmel_status rc = read_options(o, &k, err);
    if (rc) return rc;
    new_key(out, "inv-");
    hash_of(out, hash);
    rc = hm_files_init(data, err);
    if (!rc) rc = hm_store_open(&s, data, err);
    if (rc) return rc;
    rc = hm_store_add_invitation(s, &k, uses, (int64_t)(key_days * DAY), hash, err);
    hm_store_close(s);
    return rc;
}

himmel_status hm_invitation_redeem(hm_store *s, const char *code, char key[64], bool *done, himmel_error *err)
{
    uint8_t invitation[32], hash[32];
    char prefix[12];
    hash_of(code, invitation);
    new_key(key, "hm-");
    hash_of(key, hash);
    snprintf(prefix, sizeof prefix, "%.8s", key);
    return hm_store_redeem(s, invitation, (int64_t)time(NULL), prefix, hash, done, err);
}

static void day_of(int64_t t, char out[16])
{
    struct tm tm;
    const time_t at = (time_t)t;
    gmtime_r(&at, &tm);
    strftime(out, 16, "%Y-%m-%d", &tm);
}

static void print_key(hm_store *s, const hm_key *k, FILE *f)
{
    char until[16] = "ever";
    hm_usage u = {0};
    int64_t addresses = 0;
    hm_store_usage(s, k->id, 0, &u, NULL);
    hm_store_addresses(s, k->id, (int64_t)time(NULL) - 3600, &addresses, NULL);
    if (k->expires) day_of(k->expires, until);
    fprintf(f, "%s  %s...  %s%s%s  until %s  %lld made, %lld s  %lld addresses in the last hour%s%s\n", k->name, k->prefix,
            k->create ? "create " : "", k->read ? "read " : "", k->admin ? "admin" : "", until, (long long)u.films,
            (long long)u.seconds, (long long)addresses, addresses > 5 ? " (shared?)" : "", k->revoked ? "  REVOKED" : "");
}

static void print_invitation(const hm_invitation *v, FILE *f)
{
    char until[16] = "ever";
    if (v->expires) day_of(v->expires, until);
    fprintf(f, "%s  invitation  %d left, %d redeemed  until %s%s\n", v->name, v->uses, v->redeemed, until, v->revoked ? "  REVOKED" : "");
}

himmel_status hm_key_list(const char *data, FILE *f, himmel_error *err)
{
    hm_store *s;
    hm_key *keys;
    size_t n;
    himmel_status rc = hm_store_open(&s, data, err);
    if (rc) return rc;
    rc = hm_store_keys(s, &keys, &n, err);
    for (size_t i = 0; i < n && !rc; i++) print_key(s, &keys[i], f);
    if (!rc) free(keys);
    hm_invitation v = {0};
    for (bool found = true; !rc && found;) {
        rc = hm_store_next_invitation(s, v.id, &v, &found, err);
        if (!rc && found) print_invitation(&v, f);
    }
    hm_store_close(s);
    return rc;
}

himmel_status hm_key_log(const char *data, const char *name, FILE *f, himmel_error *err)
{
    enum { MOST = 10000 };
    hm_store *s;
    int64_t id;
    size_t n = 0;
    himmel_status rc = hm_store_open(&s, data, err);
    if (rc) return rc;
    hm_call_record *calls = malloc(MOST * sizeof *calls);
    if (!calls) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    if (!rc) rc = hm_store_key_id(s, name, &id, err);
    if (!rc) rc = hm_store_calls(s, id, MOST, calls, &n, err);
    for (size_t i = 0; i < n && !rc; i++) {
        char when[32];
        struct tm tm;
        const time_t at = (time_t)calls[i].at;
        gmtime_r(&at, &tm);
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
        fprintf(f, "%s  %s  %d  %s %s\n", when, calls[i].address, calls[i].status, calls[i].method, calls[i].path);
    }
    free(calls);
    hm_store_close(s);
    return rc;
}

/* A server that runs stops the jobs, however it makes them; where there is none, nothing but the journal knows of them. */
static himmel_status stop_jobs(hm_store *s, const char *data, himmel_error *err)
{
    const double until = hm_now() + STOP_SECONDS;
    int64_t n = 0;
    for (;;) {
        himmel_status rc = hm_store_revoked_jobs(s, &n, err);
        if (rc || !n) return rc;
        if (hm_now() > until) return hm_fail(err, HIMMEL_EINTERNAL, "%s: revoked, but the server has not stopped %lld of its jobs yet", data, (long long)n);
        if (!hm_bell_ring(data)) return hm_store_cancel_revoked(s, no_longer, err);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

himmel_status hm_key_revoke(const char *data, const char *name, himmel_error *err)
{
    hm_store *s;
    bool changed;
    himmel_status rc = hm_store_open(&s, data, err);
    if (rc) return rc;
    rc = hm_store_revoke_key(s, name, &changed, err);
    if (!rc && changed) rc = stop_jobs(s, data, err);
    else if (!rc) rc = hm_fail(err, HIMMEL_EINVAL, "%s: there is no key or invitation %.64s that could be revoked", data, name);
    hm_store_close(s);
    return rc;
}

/* ---- in the server ---- */

bool hm_key_check(hm_store *s, const char *token, bool local, hm_caller *out)
{
    uint8_t hash[32];
    *out = (hm_caller){0};
    if (token && *token && strlen(token) < 64) {
        bool found = false;
        hash_of(token, hash);
        if (!hm_store_find_key(s, hash, &out->key, &found, NULL) && found) {
            out->known = !out->key.revoked && (!out->key.expires || out->key.expires > (int64_t)time(NULL));
            return out->known;
        }
    }
    hm_key *keys = NULL;
    size_t n = 1;
    if (!local || hm_store_keys(s, &keys, &n, NULL)) return false;
    free(keys);
    if (n) return false;
    *out = (hm_caller){.known = true, .key = {.name = "owner", .create = true, .read = true, .admin = true}};
    return true;
}

himmel_status hm_keys_stop_jobs(hm_server *srv, int *n, himmel_error *err)
{
    int64_t account = 0;
    himmel_status rc;
    for (*n = 0; !(rc = hm_store_over(srv->store, (int64_t)time(NULL), account, &account, err)) && account;) {
        int stopped;
        rc = hm_queue_stop_account(srv->queue, account, no_longer, &stopped, err);
        *n += stopped;
        if (rc) break;
    }
    return rc;
}

/* Keys that many addresses use are told to the owner; old lines of the log go. */
static void look_after_keys(hm_server *srv)
{
    const int64_t now = (int64_t)time(NULL);
    hm_key *keys;
    size_t n;
    if (hm_store_keys(srv->store, &keys, &n, NULL)) return;
    for (size_t i = 0; i < n; i++) {
        int64_t addresses = 0;
        if (keys[i].revoked || hm_store_addresses(srv->store, keys[i].id, now - 3600, &addresses, NULL) || addresses <= SHARED_FROM) continue;
        fprintf(srv->o.log, "himmel: the key %s is used from %lld addresses in an hour: shared? (himmel keys log, himmel keys revoke)\n", keys[i].name,
                (long long)addresses);
    }
    free(keys);
    hm_store_forget_calls(srv->store, now - LOG_DAYS * DAY, NULL);
}

void hm_keys_watch(hm_server *srv)
{
    himmel_error err;
    int n;
    if (hm_keys_stop_jobs(srv, &n, &err)) fprintf(srv->o.log, "himmel: %s\n", err.message);
    if (hm_now() < srv->keys_seen) return;
    look_after_keys(srv);
    srv->keys_seen = hm_now() + 3600;
}

bool hm_scope_has(const hm_caller *who, hm_scope scope)
{
    const hm_key *k = &who->key;
    return scope == HM_SCOPE_NONE || (who->known && (k->admin || (scope == HM_SCOPE_READ && k->read) || (scope == HM_SCOPE_CREATE && k->create)));
}

static bool over(hm_call *c, const char *what, double have, double more, int limit)
{
    if (!limit || have + more <= limit) return false;
    hm_answer_header(c, "retry-after", "60");
    hm_answer_header(c, "x-should-retry", "false");
    hm_answer_error(c, 429, NULL, "quota_exceeded", "the key %s may have %d %s, it has %g and asks for %g more", c->who.key.name, limit, what,
                    have, more);
    return true;
}

bool hm_quota_check(hm_call *c, int n, double seconds)
{
    const hm_key *k = &c->who.key;
    hm_usage u;
    himmel_error err;
    if (!k->id) return true;
    if (hm_store_usage(c->srv->store, k->id, (int64_t)time(NULL) - DAY, &u, &err)) return !hm_answer_status(c, &err);
    return !over(c, "jobs at a time", (double)u.active, n, k->max_concurrent) && !over(c, "films a day", (double)u.films, n, k->max_films) &&
           !over(c, "seconds of film a day", (double)u.seconds, n * seconds, k->max_seconds);
}

/* ---- the log ---- */

struct hm_log {
    hm_server *srv;
    pthread_mutex_t lock;
    pthread_t writer;
    bool stopping;
    hm_call_record pending[MOST_PENDING];
    size_t n;
};

static void flush(hm_log *l)
{
    pthread_mutex_lock(&l->lock);
    const size_t n = l->n;
    hm_call_record *copy = n ? malloc(n * sizeof *copy) : NULL;
    if (copy) memcpy(copy, l->pending, n * sizeof *copy), l->n = 0;
    pthread_mutex_unlock(&l->lock);
    if (copy) hm_store_log(l->srv->store, copy, n, NULL); /* a full disk loses lines of the log, nothing else */
    free(copy);
}

static void *write_log(void *user)
{
    hm_log *l = user;
    for (bool stop = false; !stop;) {
        nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
        pthread_mutex_lock(&l->lock);
        stop = l->stopping;
        pthread_mutex_unlock(&l->lock);
        flush(l);
    }
    return NULL;
}

himmel_status hm_log_new(hm_log **out, hm_server *srv, himmel_error *err)
{
    hm_log *l = *out = calloc(1, sizeof *l);
    if (!l) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the log");
    l->srv = srv;
    pthread_mutex_init(&l->lock, NULL);
    if (!pthread_create(&l->writer, NULL, write_log, l)) return HIMMEL_OK;
    free(l);
    *out = NULL;
    return hm_fail(err, HIMMEL_EINTERNAL, "no thread for the log");
}

void hm_log_add(hm_log *l, const hm_call *c, int status, const char *address)
{
    if (!l || !c->who.key.id) return; /* the owner's own calls are nobody's business */
    pthread_mutex_lock(&l->lock);
    if (l->n < MOST_PENDING) {
        hm_call_record *r = &l->pending[l->n++];
        *r = (hm_call_record){.at = (int64_t)time(NULL), .account = c->who.key.id, .status = status};
        memcpy(r->method, c->method, sizeof r->method);
        snprintf(r->path, sizeof r->path, "%.*s", (int)sizeof r->path - 1, c->path);
        snprintf(r->address, sizeof r->address, "%s", address);
    }
    pthread_mutex_unlock(&l->lock);
}

void hm_log_free(hm_log *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->writer, NULL);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
