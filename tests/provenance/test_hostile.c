/* test_hostile.c - files made to hurt the verifier: lying sizes, a million boxes, endless nesting, cycles of ingredients, five
 * gigabytes of nothing. Each gets a verdict, in bounded time and memory.   SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>

#include "sample.h"

#include "provenance/asset.h"
#include "provenance/cbor.h"
#include "provenance/jumbf.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static long peak_mib(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_maxrss / 1024;
}

/* Check b; the verdict must be `want` and come within `seconds` of computing. */
static void expect(const char *what, bytes b, const char *want, double seconds)
{
    char first[64];
    const double start = now();
    const char *state = state_of(b, NULL, first);
    const double took = now() - start;
    CHECK(!strcmp(state, want), "%s: %s (%s)", what, state, first);
    CHECK(took < seconds, "%s: %.1f s", what, took);
    printf("%-44s %-7s %-28s %.2f s\n", what, state, first, took);
}

/* A store as the manifest of a film of a few boxes. */
static bytes film_with(const hm_buf *store)
{
    hm_buf film = {0}, out = {0};
    hm_range where;
    hm_buf_be(&film, 16, 4);
    hm_buf_add(&film, "ftypisom\0\0\0\0", 12);
    hm_buf_be(&film, 24, 4);
    hm_buf_add(&film, "mdat0123456789abcdef", 20);
    CHECK(!hm_asset_embed(&out, &where, film.data, film.len, store->data, store->len, NULL), "embed");
    hm_buf_free(&film);
    return (bytes){out.data, out.len};
}

static void test_sizes(void)
{
    static const struct { const char *what, *data; size_t n; } cases[] = {
        {"a box of 2^32-1 bytes", "\0\0\0\20ftypisom\0\0\0\0\xff\xff\xff\xffmdat", 24},
        {"a box of 2^64-1 bytes", "\0\0\0\20ftypisom\0\0\0\0\0\0\0\1mdat\xff\xff\xff\xff\xff\xff\xff\xff", 32},
        {"a box smaller than its head", "\0\0\0\20ftypisom\0\0\0\0\0\0\0\7mdat", 24},
        {"a head cut off", "\0\0\0\20ftypisom\0\0\0\0\0\0\0\1mdat\0\0", 26},
        {"a PNG chunk of 2^32-1 bytes", "\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR\0\0\0\0", 20},
        {"a JPEG segment behind the end", "\xff\xd8\xff\xeb\xff\xffJP\2\21\0\0\0\1", 14},
        {"a RIFF chunk behind the end", "RIFF\20\0\0\0WEBPVP8 \xff\xff\xff\x7f\0\0\0\0", 24},
    };
    for (size_t i = 0; i < HM_COUNT(cases); i++)
        expect(cases[i].what, (bytes){(uint8_t *)(uintptr_t)cases[i].data, cases[i].n}, "broken", 1);
}

static void test_many_boxes(const hm_identity *id)
{
    enum { N = 1000000 };
    const bytes plain = make_sample("mp4", 9);
    hm_buf film = {0};
    hm_credit c = sample_credit();
    hm_buf_add(&film, plain.data, plain.n);
    for (int i = 0; i < N; i++) hm_buf_add(&film, "\0\0\0\10free", 8);
    expect("a film and a million boxes", (bytes){film.data, film.len}, "none", 5);
    const bytes b = sign_bytes((bytes){film.data, film.len}, &c, id);
    expect("the same, signed", b, "valid", 10);
    b.data[b.n - 1] ^= 1;
    expect("the same, the last one changed", b, "broken", 10);
    hm_buf_free(&film);
    free(plain.data), free(b.data);
    hm_buf store = {0};
    const size_t s = hm_jumb_begin(&store, HM_JUMB_STORE, "c2pa");
    for (int i = 0; i < N; i++) hm_jumb_end(&store, hm_jumb_box(&store, "cbor"));
    hm_jumb_end(&store, s);
    const bytes many = film_with(&store);
    expect("a million boxes in the manifest", many, "broken", 5);
    free(many.data);
    hm_buf_free(&store);
}

static void test_nesting(void)
{
    enum { DEEP = 20000 };
    hm_buf store = {0}, cbor = {0};
    static size_t at[DEEP];
    for (int i = 0; i < DEEP; i++) at[i] = hm_jumb_begin(&store, HM_JUMB_STORE, "c2pa");
    for (int i = DEEP; i-- > 0;) hm_jumb_end(&store, at[i]);
    bytes b = film_with(&store);
    expect("boxes nested 20000 deep", b, "broken", 1);
    free(b.data);
    hm_buf_free(&store);
    const size_t s = hm_jumb_begin(&store, HM_JUMB_STORE, "c2pa"), m = hm_jumb_begin(&store, HM_JUMB_MANIFEST, "deep"),
                 c = hm_jumb_begin(&store, HM_JUMB_CLAIM, "c2pa.claim.v2"), x = hm_jumb_box(&store, "cbor");
    for (int i = 0; i < 1000000; i++) hm_buf_add(&store, "\x81", 1);
    hm_jumb_end(&store, x), hm_jumb_end(&store, c), hm_jumb_end(&store, m), hm_jumb_end(&store, s);
    b = film_with(&store);
    expect("a claim nested a million deep", b, "broken", 1);
    free(b.data);
    hm_buf_free(&store);
    hm_buf_free(&cbor);
}

/* Manifest i of n names the manifests i+1 .. i+fan (mod n) as ingredients: cycles, and many ways to each. */
static bytes cycle(int n, int fan)
{
    hm_buf store = {0};
    char name[32], url[64], label[48];
    const size_t s = hm_jumb_begin(&store, HM_JUMB_STORE, "c2pa");
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "urn:c2pa:%d", i);
        const size_t m = hm_jumb_begin(&store, HM_JUMB_MANIFEST, name), list = hm_jumb_begin(&store, HM_JUMB_ASSERTIONS, "c2pa.assertions");
        for (int k = 1; k <= fan; k++) {
            snprintf(label, sizeof label, "c2pa.ingredient.v3__%d", k);
            const size_t a = hm_jumb_begin(&store, HM_JUMB_CBOR, label), x = hm_jumb_box(&store, "cbor");
            snprintf(url, sizeof url, "self#jumbf=/c2pa/urn:c2pa:%d", (i + k) % n);
            hm_cbor_put_map(&store, 2);
            hm_cbor_put_pair(&store, "relationship", "componentOf");
            hm_cbor_put_text(&store, "activeManifest");
            hm_cbor_put_map(&store, 2);
            hm_cbor_put_pair(&store, "url", url);
            hm_cbor_put_text(&store, "hash");
            hm_cbor_put_bytes(&store, url, 32);
            hm_jumb_end(&store, x), hm_jumb_end(&store, a);
        }
        hm_jumb_end(&store, list);
        const size_t c = hm_jumb_begin(&store, HM_JUMB_CLAIM, "c2pa.claim.v2"), x = hm_jumb_box(&store, "cbor");
        hm_cbor_put_map(&store, 1);
        hm_cbor_put_pair(&store, "alg", "sha256");
        hm_jumb_end(&store, x), hm_jumb_end(&store, c), hm_jumb_end(&store, m);
    }
    hm_jumb_end(&store, s);
    const bytes b = film_with(&store);
    hm_buf_free(&store);
    return b;
}

static void test_cycles(void)
{
    static const struct { const char *what; int n, fan; } cases[] = {
        {"its own ingredient", 1, 1}, {"two of each other", 2, 1}, {"a ring of 200", 200, 1},
        {"a ring of 5000", 5000, 1},  {"150, each of all", 150, 149}};
    for (size_t i = 0; i < HM_COUNT(cases); i++) {
        const bytes b = cycle(cases[i].n, cases[i].fan);
        expect(cases[i].what, b, "broken", 10);
        free(b.data);
    }
}

static void test_sparse(void)
{
    const char *path = in_dir("large.mp4");
    static const char head[] = "\0\0\0\20ftypisom\0\0\0\0\0\0\0\1mdat\0\0\0\1\x40\0\0\0"; /* mdat of 5 GiB */
    const int fd = open(path, O_WRONLY | O_CREAT, 0600);
    const long before = peak_mib();
    for (int lie = 0; lie < 2; lie++) {
        CHECK(fd >= 0 && pwrite(fd, head, 32, 0) == 32 && !ftruncate(fd, (5ll << 30) + (lie ? 1 : 16)), "sparse file");
        hm_map m;
        himmel_error err = {0};
        const double start = now();
        CHECK(!hm_map_open(&m, path, &err), "%s", err.message);
        expect(lie ? "5 GiB, cut off" : "5 GiB of zeros", (bytes){(uint8_t *)(uintptr_t)m.data, m.len}, lie ? "broken" : "none", 2);
        hm_map_close(&m);
        CHECK(now() - start < 2, "%.1f s", now() - start);
    }
    CHECK(peak_mib() - before < 64, "%ld MiB more", peak_mib() - before);
    if (fd >= 0) close(fd);
}

int main(void)
{
    if (!mkdtemp(sample_dir)) return 1;
    hm_identity *id = make_identity("one", HM_ED25519);
    test_sizes();
    test_nesting();
    test_cycles();
    test_sparse();
    test_many_boxes(id);
    printf("at most %ld MiB\n", peak_mib());
    CHECK(peak_mib() < 400, "%ld MiB", peak_mib());
    hm_identity_free(id);
    clean_up();
    return CHECK_END();
}
