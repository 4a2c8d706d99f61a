/* test_source.c - what a source says of itself comes through flat bytes; whatever else those are is refused, and so is whatever
 * the process that should make them does instead.   SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sample.h"

#include "provenance/manifest.h"
#include "provenance/source.h"

static const char *make_film(void)
{
    hm_identity *id = make_identity("one", HM_ED25519);
    hm_credit c = sample_credit();
    const bytes png = make_sample("png", 60), first = sign_bytes(png, &c, id);
    write_bytes(in_dir("first.png"), first);
    const hm_source sources[] = {{in_dir("first.png"), HM_ROLE_PARENT}};
    c.sources = sources, c.n_sources = 1, c.request = "an edit", c.action = "c2pa.edited";
    const bytes film = make_sample("mp4", 7), edit = sign_bytes(film, &c, id);
    write_bytes(in_dir("edit.mp4"), edit);
    free(png.data), free(first.data), free(film.data), free(edit.data);
    hm_identity_free(id);
    return in_dir("edit.mp4");
}

static bool inside(const hm_source_says *s, const void *p, size_t n, size_t total)
{
    const uint8_t *b = p;
    return b >= s->bytes && n <= total && b + n <= s->bytes + total;
}

static void test_whole(const char *path)
{
    hm_source_says s;
    himmel_error err = {0};
    CHECK(!hm_source_open(&s, NULL, path, &err), "%s", err.message);
    CHECK(!strcmp(s.mime, "video/mp4") && !strncmp(s.active, "urn:c2pa:", 9), "%s %s", s.mime, s.active);
    CHECK(s.n_manifests == 2 && !strcmp(s.manifest[1].label, s.active), "%zu manifests", s.n_manifests);
    size_t good = 0;
    for (size_t i = 0; i < s.n_checks; i++) good += s.check[i].ok && *s.check[i].code;
    CHECK(good > 5 && good == s.n_checks, "%zu of %zu checks passed", good, s.n_checks);
    hm_source_close(&s);
    CHECK(!hm_source_open(&s, NULL, in_dir("one/identity.pem"), &err) && !*s.active && !s.n_manifests, "a text: %s", err.message);
    CHECK(!strcmp(s.mime, "application/octet-stream"), "%s", s.mime);
    hm_source_close(&s);
    CHECK(hm_source_open(&s, NULL, in_dir("none"), &err) == HIMMEL_EIO, "%s", err.message);
}

/* Cut anywhere, longer, and with bytes changed: refused, or everything it points at lies in the bytes. */
static void test_broken(const char *path)
{
    uint8_t *whole;
    size_t n, refused = 0, tries = 0;
    himmel_error err = {0};
    hm_source_says s;
    CHECK(!hm_source_look(path, &whole, &n, &err), "%s", err.message);
    for (size_t k = 0; k <= n; k += k < 600 || n - k < 600 ? 1 : 37) {
        uint8_t *cut = malloc(k + 1); /* so that a byte read too many is one too many */
        if (k == n) cut[k] = 0;
        memcpy(cut, whole, k);
        cut = realloc(cut, k < n ? HM_MAX(k, (size_t)1) : k + 1);
        CHECK(hm_source_parse(&s, cut, k < n ? k : k + 1, "x", &err) == HIMMEL_EFORMAT && !s.bytes, "%zu of %zu bytes", k, n);
    }
    uint32_t seed = 5;
    for (int i = 0; i < 20000; i++, tries++) {
        uint8_t *other = malloc(n);
        memcpy(other, whole, n);
        for (int k = 0; k <= i % 3; k++) {
            seed = seed * 1664525 + 1013904223;
            other[(seed >> 8) % (i % 2 ? n : HM_MIN(n, (size_t)2500))] = (uint8_t)((i & 4) ? 255 : seed >> 5);
        }
        if (hm_source_parse(&s, other, n, "x", &err)) {
            refused++;
            continue;
        }
        bool ok = inside(&s, s.mime, strlen(s.mime), n) && inside(&s, s.active, strlen(s.active), n) && strlen(s.active) < 256;
        for (size_t k = 0; k < s.n_checks; k++)
            ok = ok && inside(&s, s.check[k].code, strlen(s.check[k].code), n) && inside(&s, s.check[k].where, strlen(s.check[k].where), n);
        for (size_t k = 0; k < s.n_manifests; k++)
            ok = ok && inside(&s, s.manifest[k].label, strlen(s.manifest[k].label), n) && inside(&s, s.manifest[k].box, s.manifest[k].len, n);
        CHECK(ok, "change %d points outside", i);
        hm_source_close(&s);
    }
    CHECK(refused > tries / 10 && refused < tries, "%zu of %zu changes refused", refused, tries);
    free(whole);
}

/* ---- the other side does something else ---- */

typedef enum { HONEST, NOTHING, HUGE_ANSWER, HANGS_UP, JUNK, DENIES } manner;
typedef struct { int fd; manner how; const char *path; } far_end;

static himmel_status strange(const char *path, uint8_t **data, size_t *n, himmel_error *err)
{
    *n = strstr(path, "huge") ? (size_t)65 << 20 : 1000; /* never touched: calloc() */
    *data = calloc(1, *n);
    return strstr(path, "denies") ? hm_fail(err, HIMMEL_ENOMEM, "a secret\nsentence") : *data ? HIMMEL_OK : HIMMEL_ENOMEM;
}

static void *serve(void *user)
{
    far_end *f = user;
    uint8_t question[4096];
    if (f->how == HONEST) himmel_read_serve(f->fd, f->path);
    else if (f->how == NOTHING) CHECK(read(f->fd, question, sizeof question) > 0, "no question");
    else if (f->how == HANGS_UP) CHECK(read(f->fd, question, sizeof question) > 0 && write(f->fd, question, 40) == 40, "no question");
    else hm_far_serve(f->fd, f->how == HUGE_ANSWER ? "huge" : f->how == DENIES ? "denies" : "junk", strange);
    close(f->fd);
    return NULL;
}

typedef struct { far_end end; pthread_t thread; } far_side;

static int open_far(void *user, const char *path)
{
    far_side *f = user;
    int s[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, s)) return -1;
    f->end.fd = s[1], f->end.path = path;
    return pthread_create(&f->thread, NULL, serve, &f->end) ? -1 : s[0];
}

static void test_far(const char *path)
{
    hm_source_says near, s;
    himmel_error err = {0};
    CHECK(!hm_source_open(&near, NULL, path, &err), "%s", err.message);
    for (manner how = HONEST; how <= DENIES; how++) {
        far_side f = {.end.how = how};
        const hm_reader by = {open_far, &f};
        const himmel_status rc = hm_source_open(&s, &by, path, &err);
        pthread_join(f.thread, NULL);
        CHECK(rc == (how == HONEST ? HIMMEL_OK : HIMMEL_EFORMAT), "manner %d: %d %s", (int)how, (int)rc, err.message);
        if (how == DENIES) CHECK(!strcmp(err.message, "a secret?sentence"), "%s", err.message);
        if (rc) continue;
        CHECK(s.n_checks == near.n_checks && s.n_manifests == near.n_manifests && !strcmp(s.active, near.active), "not the same");
        CHECK(!memcmp(s.manifest_hash, near.manifest_hash, 32) && !memcmp(s.signature_hash, near.signature_hash, 32), "hashes");
        for (size_t i = 0; i < s.n_manifests; i++)
            CHECK(s.manifest[i].len == near.manifest[i].len && !memcmp(s.manifest[i].box, near.manifest[i].box, s.manifest[i].len), "box %zu", i);
        hm_source_close(&s);
    }
    hm_source_close(&near);
}

int main(void)
{
    if (!mkdtemp(sample_dir)) return 1;
    signal(SIGPIPE, SIG_IGN);
    const char *path = make_film();
    test_whole(path);
    test_broken(path);
    test_far(path);
    clean_up();
    return CHECK_END();
}
