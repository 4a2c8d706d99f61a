/* hub_fetch.c - one file onto the disk: goes on where it was cut off, and has its name only with the right hash.
 * SPDX-License-Identifier: MIT
 * A connection that breaks is taken up again with a Range; after TRIES without a new byte it is given up, and FILE.part stays
 * for the next time. A server that answers a Range with the whole file starts the part anew. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "server/hub_ask.h"

enum { TRIES = 5, BUFFER = 1 << 20 };

typedef struct {
    const hm_hub *h;
    const hm_hub_file *f;
    const char *what; /* for sentences */
    CURL *curl;
    int fd;
    uint64_t offset;  /* asked for */
    uint64_t have;    /* bytes in the part */
    uint64_t start;   /* of this answer: what its Content-Range says */
    bool began, stopped;
    int why;          /* errno of a write */
    double told;
} load;

/* ---- hashes ---- */

/* The file's SHA-256, or git's hash of a blob. false: it cannot be read. */
static bool hash_file(int fd, uint64_t size, bool git, char hex[65])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    char head[40], *buf = malloc(BUFFER);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = buf && c && EVP_DigestInit_ex(c, git ? EVP_sha1() : EVP_sha256(), NULL);
    if (git) ok = ok && EVP_DigestUpdate(c, head, 1 + (size_t)snprintf(head, sizeof head, "blob %llu", (unsigned long long)size));
    for (uint64_t at = 0; ok && at < size;) {
        const ssize_t got = pread(fd, buf, BUFFER, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        ok = got > 0 && EVP_DigestUpdate(c, buf, (size_t)got);
        at += got > 0 ? (uint64_t)got : 0;
    }
    ok = ok && EVP_DigestFinal_ex(c, digest, &n);
    for (unsigned i = 0; ok && i < n; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    EVP_MD_CTX_free(c);
    free(buf);
    return ok;
}

static uint64_t size_of(int fd)
{
    struct stat s;
    return fstat(fd, &s) ? 0 : (uint64_t)s.st_size;
}

static himmel_status check_hash(int fd, const hm_hub_file *f, const char *path, himmel_error *err)
{
    char hex[65] = "";
    const bool git = !*f->sha256;
    const char *want = git ? f->git_sha1 : f->sha256;
    const uint64_t size = size_of(fd);
    if (f->size && size != f->size)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: has %llu bytes, %llu are right", path, (unsigned long long)size, (unsigned long long)f->size);
    if (!hash_file(fd, size, git, hex)) return hm_fail(err, HIMMEL_EIO, "%s: cannot be read: %s", path, strerror(errno));
    if (strcmp(hex, want)) return hm_fail(err, HIMMEL_EFORMAT, "%s: its %s is %s, %s is right", path, git ? "git hash" : "SHA-256", hex, want);
    return HIMMEL_OK;
}

/* ---- the transfer ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Content-Range: bytes 100-199/200 */
static size_t on_header(char *p, size_t one, size_t n, void *user)
{
    load *l = user;
    unsigned long long from;
    char line[128];
    snprintf(line, sizeof line, "%.*s", (int)HM_MIN(n * one, sizeof line - 1), p);
    if (!strncasecmp(line, "HTTP/", 5)) l->start = 0;
    else if (!strncasecmp(line, "content-range:", 14) && sscanf(line + 14, " bytes %llu-", &from) == 1) l->start = from;
    return n * one;
}

/* The first bytes say where they belong: the answer may be the whole file. */
static bool begin(load *l)
{
    long status = 0;
    curl_easy_getinfo(l->curl, CURLINFO_RESPONSE_CODE, &status);
    const uint64_t at = status == 206 ? l->start : 0;
    if (status / 100 != 2 || at > l->have || ftruncate(l->fd, (off_t)at)) return false;
    l->have = at;
    l->began = true;
    return true;
}

static size_t on_bytes(char *p, size_t one, size_t n, void *user)
{
    load *l = user;
    n *= one;
    if (!l->began && !begin(l)) return 0;
    if (l->f->size && l->have + n > l->f->size) return 0; /* more than there can be */
    for (size_t done = 0; done < n;) {
        const ssize_t k = pwrite(l->fd, p + done, n - done, (off_t)(l->have + done));
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) {
            l->why = errno ? errno : EIO;
            return 0;
        }
        done += (size_t)k;
    }
    l->have += n;
    return n;
}

static int on_time(void *user, curl_off_t all, curl_off_t done, curl_off_t up, curl_off_t sent)
{
    load *l = user;
    (void)all, (void)done, (void)up, (void)sent;
    if (!l->h->on_bytes || now() - l->told < 0.2) return 0;
    l->told = now();
    return l->stopped = l->h->on_bytes(l->h->user, l->f->path, l->have, l->f->size) != 0;
}

static himmel_status one_try(load *l, const char *url, bool *again, himmel_error *err)
{
    char errors[CURL_ERROR_SIZE], range[40];
    const uint64_t before = l->have;
    *again = false;
    l->curl = hm_hub_curl(l->h, url, errors);
    if (!l->curl) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    l->began = false;
    snprintf(range, sizeof range, "%llu-", (unsigned long long)l->have);
    if (l->have) curl_easy_setopt(l->curl, CURLOPT_RANGE, range);
    curl_easy_setopt(l->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(l->curl, CURLOPT_HEADERDATA, l);
    curl_easy_setopt(l->curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(l->curl, CURLOPT_WRITEDATA, l);
    curl_easy_setopt(l->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(l->curl, CURLOPT_XFERINFOFUNCTION, on_time);
    curl_easy_setopt(l->curl, CURLOPT_XFERINFODATA, l);
    const CURLcode rc = curl_easy_perform(l->curl);
    long status = 0;
    curl_easy_getinfo(l->curl, CURLINFO_RESPONSE_CODE, &status);
    himmel_status st = hm_hub_answer(l->curl, rc, errors, l->h, l->what, err);
    curl_easy_cleanup(l->curl);
    l->curl = NULL;
    if (l->stopped) return hm_fail(err, HIMMEL_ECANCELLED, "%s: stopped at %llu bytes; the same command goes on from there", l->what, (unsigned long long)l->have);
    if (l->why) return hm_fail(err, HIMMEL_EIO, "%s: cannot write: %s", l->what, strerror(l->why));
    if (status == 416 && l->have) { /* it ends before where we want to go on */
        l->have = 0;
        *again = !ftruncate(l->fd, 0);
        return st;
    }
    if (!st && l->f->size && l->have < l->f->size) st = hm_fail(err, HIMMEL_EIO, "%s: ended after %llu of %llu bytes", l->what, (unsigned long long)l->have, (unsigned long long)l->f->size);
    *again = st && (l->have != before || (l->began && l->have < l->f->size) || status == 429 || status >= 500 || (status < 300 && rc != CURLE_WRITE_ERROR));
    return st;
}

/* Not longer than a second at a time: a stop is heard. */
static bool wait_seconds(load *l, int seconds)
{
    for (int i = 0; i < seconds && !l->stopped; i++) {
        nanosleep(&(struct timespec){1, 0}, NULL);
        l->stopped = l->h->on_bytes && l->h->on_bytes(l->h->user, l->f->path, l->have, l->f->size);
    }
    return !l->stopped;
}

static himmel_status transfer(load *l, const char *url, himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    bool again = true;
    for (int idle = 0; again && idle < TRIES;) {
        const uint64_t before = l->have;
        rc = one_try(l, url, &again, err);
        if (!rc) return HIMMEL_OK;
        idle = l->have > before ? 0 : idle + 1;
        if (again && idle < TRIES && !wait_seconds(l, idle ? 1 << (idle - 1) : 0))
            return hm_fail(err, HIMMEL_ECANCELLED, "%s: stopped at %llu bytes; the same command goes on from there", l->what, (unsigned long long)l->have);
    }
    return rc;
}

static himmel_status check_room(const load *l, const char *part, himmel_error *err)
{
    struct statvfs v;
    if (fstatvfs(l->fd, &v)) return HIMMEL_OK;
    const uint64_t is_free = (uint64_t)v.f_bavail * v.f_frsize, need = l->f->size > l->have ? l->f->size - l->have : 0;
    if (need > is_free)
        return hm_fail(err, HIMMEL_EIO, "%s: needs %.2f GiB more, the disk has %.2f free", part, (double)need / (1 << 30), (double)is_free / (1 << 30));
    return HIMMEL_OK;
}

/* ---- a file ---- */

static himmel_status there_already(const hm_hub_file *f, const char *to, bool *had, himmel_error *err)
{
    const int fd = open(to, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return HIMMEL_OK;
    himmel_error wrong;
    const himmel_status rc = check_hash(fd, f, to, &wrong);
    close(fd);
    *had = !rc;
    return rc ? hm_fail(err, HIMMEL_EINVAL, "%.150s is there already and is another file (%.200s): move it, or choose another place", to, wrong.message) : HIMMEL_OK;
}

static void address(const hm_hub *h, const hm_hub_list *l, const hm_hub_file *f, char *url, size_t cap)
{
    hm_str s = {url, cap, 0};
    if (*l->url) hm_str_addf(&s, "%s", l->url);
    else hm_str_addf(&s, "%s/%s/resolve/%s/", h->endpoint, l->repo, l->commit);
    for (const char *p = *l->url ? "" : f->path; *p; p++)
        if (strchr("/-_.~", *p) || (*p >= '0' && *p <= '9') || ((*p | 32) >= 'a' && (*p | 32) <= 'z')) hm_str_addf(&s, "%c", *p);
        else hm_str_addf(&s, "%%%02X", (unsigned char)*p);
}

static himmel_status into_part(load *l, const char *url, const char *part, himmel_error *err)
{
    l->fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (l->fd < 0) return hm_fail(err, HIMMEL_EIO, "%s: cannot create: %s", part, strerror(errno));
    if (flock(l->fd, LOCK_EX | LOCK_NB)) return hm_fail(err, HIMMEL_EIO, "%s: another himmel pull is at it", part);
    l->have = size_of(l->fd);
    if (l->f->size && l->have > l->f->size && !ftruncate(l->fd, 0)) l->have = 0;
    himmel_status rc = check_room(l, part, err);
    if (!rc && (!l->f->size || l->have < l->f->size)) rc = transfer(l, url, err);
    if (rc) return rc;
    rc = check_hash(l->fd, l->f, part, err);
    if (rc == HIMMEL_EFORMAT) unlink(part);
    if (!rc && fsync(l->fd)) rc = hm_fail(err, HIMMEL_EIO, "%s: cannot write: %s", part, strerror(errno));
    return rc;
}

himmel_status hm_hub_fetch(const hm_hub *h, const hm_hub_list *list, size_t i, const char *to, bool *had, himmel_error *err)
{
    const hm_hub_file *f = &list->file[i];
    char url[4096], part[4096];
    bool there = false;
    load l = {.h = h, .f = f, .what = f->path, .fd = -1};
    if (had) *had = false;
    if (!*f->sha256 && !*f->git_sha1) return hm_fail(err, HIMMEL_EIO, "%s: the hub says no hash of it: give one with --sha256", f->path);
    if ((size_t)snprintf(part, sizeof part, "%s.part", to) >= sizeof part) return hm_fail(err, HIMMEL_EINVAL, "%.100s...: path is too long", to);
    himmel_status rc = there_already(f, to, &there, err);
    if (had) *had = there;
    if (rc || there) return rc;
    address(h, list, f, url, sizeof url);
    rc = into_part(&l, url, part, err);
    if (!rc && rename(part, to)) rc = hm_fail(err, HIMMEL_EIO, "%s: cannot be named so: %s", to, strerror(errno));
    if (l.fd >= 0) close(l.fd);
    return rc;
}
