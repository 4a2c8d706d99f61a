/* test_credentials.c - signing and checking films and pictures: what is said, what is covered, every flipped byte
 * caught, the same bytes each time.   SPDX-License-Identifier: MIT */
#include "sample.h"

#include "provenance/asset.h"

static hm_identity *id, *other;
static X509_STORE *trust;

static const json_t *dig(const json_t *o, const char *a, const char *b, const char *c)
{
    o = json_object_get(o, a);
    if (b) o = json_object_get(o, b);
    return c ? json_object_get(o, c) : o;
}

static const char *dug(const json_t *o, const char *a, const char *b, const char *c)
{
    const char *s = json_string_value(dig(o, a, b, c));
    return s ? s : "";
}

static void test_says(const char *kind)
{
    const bytes plain = make_sample(kind, 40);
    hm_credit c = sample_credit();
    const uint64_t seed = 77;
    c.prompt = "a calm sea", c.seed = &seed, c.mining = HM_MINING_FORBIDDEN, c.watermark = "68d1aabbccddeeff00112233";
    CHECK(!strcmp(state_of(plain, trust, NULL), "none"), "%s: unsigned", kind);
    const bytes b = sign_bytes(plain, &c, id);
    json_t *r = hm_credentials_check(b.data, b.n, trust, NULL);
    CHECK(!strcmp(dug(r, "state", NULL, NULL), "valid"), "%s", kind);
    CHECK(json_is_true(dig(r, "trusted", NULL, NULL)), "%s: not trusted", kind);
    CHECK(json_is_true(dig(r, "made_by_machine", NULL, NULL)), "%s", kind);
    CHECK(!strcmp(dug(r, "algorithm", NULL, NULL), "Ed25519"), "%s", dug(r, "algorithm", NULL, NULL));
    CHECK(!strcmp(dug(r, "assertions", "org.himmel.generation", "prompt"), "a calm sea"), "%s: prompt", kind);
    CHECK(json_integer_value(dig(r, "assertions", "org.himmel.generation", "seed")) == 77, "%s: seed", kind);
    CHECK(!strcmp(dug(r, "assertions", "org.himmel.generation", "training_data_manifest_sha256"), "abcd"), "%s", kind);
    const json_t *mining = dig(r, "assertions", "cawg.training-mining", "entries");
    CHECK(!strcmp(dug(mining, "cawg.data_mining", "use", NULL), "notAllowed"), "%s: mining", kind);
    const json_t *block = json_array_get(dig(r, "assertions", "c2pa.soft-binding", "blocks"), 0);
    CHECK(!strcmp(dug(block, "value", NULL, NULL), c.watermark), "%s: soft binding", kind);
    const json_t *act = json_array_get(dig(r, "actions", NULL, NULL), 0);
    CHECK(!strcmp(dug(act, "action", NULL, NULL), "c2pa.created"), "%s: %s", kind, dug(act, "action", NULL, NULL));
    hm_asset a;
    CHECK(!hm_asset_open(&a, b.data, b.n, NULL) && a.manifest, "%s", kind);
    const uint64_t covered = (uint64_t)json_integer_value(dig(r, "bytes_covered", NULL, NULL));
    if (strcmp(kind, "mp4")) CHECK(covered == b.n - a.where.len, "%s: covers %llu", kind, (unsigned long long)covered);
    else CHECK(covered > (b.n - a.where.len) * 9 / 10, "%s: covers %llu", kind, (unsigned long long)covered);
    hm_asset_close(&a);
    json_decref(r);
    r = hm_credentials_check(b.data, b.n, NULL, NULL);
    CHECK(!strcmp(dug(r, "state", NULL, NULL), "valid") && json_is_false(dig(r, "trusted", NULL, NULL)),
          "%s: trusted by nobody", kind);
    json_decref(r);
    hm_buf again;
    himmel_error err = {0};
    CHECK(hm_credit_sign(&again, "x.mp4", b.data, b.n, &c, id, &err) == HIMMEL_EFORMAT && strstr(err.message, "x.mp4"),
          "%s: signed twice: %s", kind, err.message);
    free(plain.data), free(b.data);
}

static void test_secrets(void)
{
    const bytes plain = make_sample("png", 3);
    hm_credit c = sample_credit();
    c.request = "prompt a secret wish\nseed 12345";
    const bytes b = sign_bytes(plain, &c, id);
    CHECK(!memmem(b.data, b.n, "secret", 6), "the request is in the file");
    free(plain.data), free(b.data);
}

static void test_same_bytes(const char *kind)
{
    const bytes plain = make_sample(kind, 40), shade = make_sample(kind, 41);
    hm_credit c = sample_credit();
    const bytes a = sign_bytes(plain, &c, id), b = sign_bytes(plain, &c, id), d = sign_bytes(plain, &c, other);
    CHECK(a.n == b.n && !memcmp(a.data, b.data, a.n), "%s: two signings differ", kind);
    CHECK(a.n != d.n || memcmp(a.data, d.data, a.n), "%s: two identities, one file", kind);
    CHECK(!strcmp(state_of(d, trust, NULL), "valid"), "%s: ES256", kind);
    json_t *r = hm_credentials_check(d.data, d.n, trust, NULL);
    CHECK(json_is_false(json_object_get(r, "trusted")), "%s: another's root is trusted", kind);
    json_decref(r);
    uint8_t one[32], two[32];
    hm_film_id(&c, id, one);
    c.request = "another request";
    hm_film_id(&c, id, two);
    CHECK(memcmp(one, two, 32), "film id");
    /* The credentials of one film in another. */
    char first[64];
    hm_asset m;
    hm_buf swapped = {0};
    hm_range where;
    CHECK(!hm_asset_open(&m, a.data, a.n, NULL), "%s", kind);
    CHECK(!hm_asset_embed(&swapped, &where, shade.data, shade.n, m.manifest, m.manifest_len, NULL), "%s", kind);
    CHECK(!strcmp(state_of((bytes){swapped.data, swapped.len}, trust, first), "broken") && strstr(first, "Hash.mismatch"),
          "%s: moved credentials: %s", kind, first);
    hm_asset_close(&m);
    hm_buf_free(&swapped);
    free(plain.data), free(shade.data), free(a.data), free(b.data), free(d.data);
}

/* ---- flips ---- */

typedef struct {
    size_t start, len;
} span;

/* Bytes that credentials must protect: the JUMBF box, and of an MP4 moov and mdat, of a picture all else. */
static int protected_spans(const char *kind, bytes b, span out[8])
{
    hm_asset a;
    int n = 0;
    CHECK(!hm_asset_open(&a, b.data, b.n, NULL) && a.manifest, "%s", kind);
    const uint8_t *jumbf = memmem(b.data, b.n, a.manifest, a.manifest_len);
    CHECK(jumbf != NULL, "%s: the manifest is in pieces", kind);
    if (jumbf) out[n++] = (span){(size_t)(jumbf - b.data), a.manifest_len};
    if (strcmp(kind, "mp4")) {
        out[n++] = (span){0, (size_t)a.where.start};
        const size_t after = (size_t)(a.where.start + a.where.len);
        if (after < b.n) out[n++] = (span){after, b.n - after};
    } else {
        hm_bmff_box box;
        for (uint64_t at = 0; hm_bmff_next(b.data, b.n, &at, &box) > 0;)
            if (!strcmp(box.type, "moov") || !strcmp(box.type, "mdat"))
                out[n++] = (span){(size_t)box.start, (size_t)box.len};
    }
    hm_asset_close(&a);
    return n;
}

static bool caught(bytes b, size_t at, uint8_t bits)
{
    b.data[at] ^= bits;
    const bool ok = strcmp(state_of(b, trust, NULL), "valid") != 0;
    b.data[at] ^= bits;
    return ok;
}

static int test_flips(const char *kind, int n_random, bool whole_manifest)
{
    const bytes plain = make_sample(kind, 90);
    hm_credit c = sample_credit();
    const bytes b = sign_bytes(plain, &c, id);
    span s[8];
    int missed = 0, tried = 0;
    const int n = protected_spans(kind, b, s);
    hm_rng rng = hm_rng_at(5, (uint64_t)n_random);
    for (int i = 0; i < n_random; i++) {
        const span *w = &s[i % n];
        const size_t at = w->start + hm_rng_below(&rng, (uint32_t)w->len);
        const uint8_t bits = (uint8_t)(1 + hm_rng_below(&rng, 255));
        const bool ok = caught(b, at, bits);
        if (!ok) fprintf(stderr, "%s: byte %zu (of %zu+%zu) ^ %02x\n", kind, at, w->start, w->len, bits);
        missed += !ok, tried++;
    }
    for (size_t at = 0; whole_manifest && at < s[0].len; at++) {
        const uint8_t bits = (uint8_t)(1u << (at % 8));
        const bool ok = caught(b, s[0].start + at, bits);
        if (!ok) fprintf(stderr, "%s: byte %zu of the manifest ^ %02x\n", kind, at, bits);
        missed += !ok, tried++;
    }
    CHECK(!missed, "%s: %d of %d flips not caught", kind, missed, tried);
    CHECK(!strcmp(state_of(b, trust, NULL), "valid"), "%s: after the flips", kind);
    free(plain.data), free(b.data);
    return tried;
}

/* A file that was cut off is never valid. */
static void test_cuts(const char *kind)
{
    const bytes plain = make_sample(kind, 20);
    hm_credit c = sample_credit();
    const bytes b = sign_bytes(plain, &c, id);
    hm_rng rng = hm_rng_at(9, 1);
    int valid = 0;
    for (int i = 0; i < 100; i++) {
        const bytes cut = {malloc(b.n), hm_rng_below(&rng, (uint32_t)b.n)};
        memcpy(cut.data, b.data, cut.n); /* of its own, so that a sanitizer sees what is read behind it */
        valid += !strcmp(state_of((bytes){cut.data, cut.n}, trust, NULL), "valid");
        free(cut.data);
    }
    CHECK(!valid, "%s: %d cut files are valid", kind, valid);
    free(plain.data), free(b.data);
}

/* ---- sources ---- */

static void test_sources(void)
{
    himmel_error err = {0};
    hm_credit c = sample_credit();
    bytes plain[N_KINDS], b[N_KINDS];
    const char *path[N_KINDS];
    for (int i = 0; i < N_KINDS; i++) {
        char name[32];
        plain[i] = make_sample(sample_kinds[i], 60 + i);
        c.request = sample_kinds[i];
        b[i] = sign_bytes(plain[i], &c, i % 2 ? id : other);
        snprintf(name, sizeof name, "source%d.%s", i, sample_kinds[i]);
        path[i] = in_dir(name);
        write_bytes(path[i], b[i]);
    }
    const char *bare = in_dir("bare.png");
    write_bytes(bare, plain[1]);
    const hm_source sources[] = {{path[0], HM_ROLE_PARENT},    {path[1], HM_ROLE_INPUT}, {path[2], HM_ROLE_INPUT},
                                 {path[3], HM_ROLE_COMPONENT}, {bare, HM_ROLE_INPUT},    {path[1], HM_ROLE_INPUT}};
    c.request = "an edit", c.sources = sources, c.n_sources = HM_COUNT(sources), c.action = "c2pa.edited";
    const bytes base = make_sample("mp4", 7), edit = sign_bytes(base, &c, id);
    json_t *r = hm_credentials_check(edit.data, edit.n, trust, NULL);
    CHECK(!strcmp(dug(r, "state", NULL, NULL), "valid"), "edit");
    const json_t *list = json_object_get(r, "ingredients");
    CHECK(json_array_size(list) == HM_COUNT(sources), "%zu ingredients", json_array_size(list));
    static const char *const want[] = {"parentOf", "inputTo", "inputTo", "componentOf", "inputTo", "inputTo"};
    for (size_t i = 0; i < HM_COUNT(want); i++) {
        const json_t *one = json_array_get(list, i);
        CHECK(!strcmp(dug(one, "relationship", NULL, NULL), want[i]), "%zu: %s", i, dug(one, "relationship", NULL, NULL));
        if (i < 4) CHECK(!strcmp(dug(one, "state", NULL, NULL), "valid"), "%zu: %s", i, dug(one, "state", NULL, NULL));
        if (i == 4) CHECK(!json_object_get(one, "manifest"), "an unmarked input has a manifest");
    }
    CHECK(!strcmp(dug(json_array_get(json_object_get(r, "actions"), 0), "action", NULL, NULL), "c2pa.opened"), "opened");
    json_decref(r);
    /* An edit of the edit keeps all of it. */
    const char *first = in_dir("edit.mp4");
    write_bytes(first, edit);
    const hm_source chain[] = {{first, HM_ROLE_PARENT}};
    c.request = "an edit of an edit", c.sources = chain, c.n_sources = 1;
    const bytes second = sign_bytes(base, &c, id);
    r = hm_credentials_check(second.data, second.n, trust, NULL);
    const json_t *parent = json_array_get(json_object_get(r, "ingredients"), 0);
    CHECK(!strcmp(dug(r, "state", NULL, NULL), "valid") && json_array_size(json_object_get(parent, "ingredients")) == 6,
          "the parent's ingredients");
    json_decref(r);
    /* A parent that was tampered with stays so, and that is said without breaking the edit. */
    bytes spoilt = read_bytes(path[0]);
    spoilt.data[spoilt.n - 9] ^= 1;
    const char *bad = in_dir("spoilt.mp4");
    write_bytes(bad, spoilt);
    const hm_source from_bad[] = {{bad, HM_ROLE_PARENT}};
    c.request = "from spoilt", c.sources = from_bad;
    const bytes third = sign_bytes(base, &c, id);
    CHECK(!strcmp(state_of(third, trust, NULL), "valid"), "edit of a spoilt film");
    const hm_source none[] = {{in_dir("none.mp4"), HM_ROLE_INPUT}};
    hm_buf out;
    c.sources = none;
    CHECK(hm_credit_sign(&out, "t", base.data, base.n, &c, id, &err) == HIMMEL_EIO && strstr(err.message, "none.mp4"),
          "%s", err.message);
    for (int i = 0; i < N_KINDS; i++) free(plain[i].data), free(b[i].data);
    free(base.data), free(edit.data), free(second.data), free(third.data), free(spoilt.data);
}

/* Two films of one name with different bytes cannot both be in one store. */
static void test_conflict(void)
{
    hm_credit c = sample_credit();
    const bytes plain = make_sample("png", 60), a = sign_bytes(plain, &c, other), b = sign_bytes(plain, &c, other);
    CHECK(a.n != b.n || memcmp(a.data, b.data, a.n), "ES256 gave one signature twice");
    write_bytes(in_dir("one.png"), a);
    write_bytes(in_dir("two.png"), b);
    const hm_source sources[] = {{in_dir("one.png"), HM_ROLE_INPUT}, {in_dir("two.png"), HM_ROLE_INPUT}};
    c.sources = sources, c.n_sources = 2;
    const bytes edit = sign_bytes(plain, &c, id);
    char first[64];
    CHECK(!strcmp(state_of(edit, trust, first), "valid"), "%s", first);
    free(plain.data), free(a.data), free(b.data), free(edit.data);
}

int main(void)
{
    if (!mkdtemp(sample_dir)) return 1;
    id = make_identity("one", HM_ED25519);
    other = make_identity("two", HM_ES256);
    trust = trust_in(id);
    int flips = 0;
    for (int i = 0; i < N_KINDS; i++) {
        test_says(sample_kinds[i]);
        test_same_bytes(sample_kinds[i]);
        test_cuts(sample_kinds[i]);
        flips += test_flips(sample_kinds[i], 200, i == 0);
    }
    test_secrets();
    test_sources();
    test_conflict();
    printf("%d flipped bytes\n", flips);
    X509_STORE_free(trust);
    hm_identity_free(id);
    hm_identity_free(other);
    clean_up();
    return CHECK_END();
}
