/* test_parts.c - CBOR, JUMBF and COSE: round trips, strictness, every prefix of everything. SPDX-License-Identifier: MIT */
#include "sample.h"

#include "provenance/cose.h"
#include "provenance/jumbf.h"

/* ---- CBOR ---- */

static void test_numbers(void)
{
    static const uint64_t v[] = {0, 23, 24, 255, 256, 65535, 65536, UINT32_MAX, 1ull << 32, UINT64_MAX};
    static const size_t len[] = {1, 1, 2, 2, 3, 3, 5, 5, 9, 9}; /* the shortest, RFC 8949 4.2.1 */
    for (size_t i = 0; i < HM_COUNT(v); i++) {
        hm_buf b = {0};
        hm_cbor c;
        size_t bad;
        uint64_t got = 1;
        hm_cbor_put_uint(&b, v[i]);
        CHECK(b.len == len[i], "%llu takes %zu bytes", (unsigned long long)v[i], b.len);
        CHECK(hm_cbor_open(&c, b.data, b.len, &bad) && hm_cbor_uint(c, &got) && got == v[i], "%zu", i);
        for (size_t n = 0; n < b.len; n++) CHECK(!hm_cbor_open(&c, b.data, n, &bad), "prefix of %zu", n);
        hm_buf_free(&b);
    }
    static const int64_t s[] = {-1, -24, -25, -256, -257, INT64_MIN, INT64_MAX, 0};
    for (size_t i = 0; i < HM_COUNT(s); i++) {
        hm_buf b = {0};
        hm_cbor c;
        size_t bad;
        int64_t got = 1;
        hm_cbor_put_int(&b, s[i]);
        CHECK(hm_cbor_open(&c, b.data, b.len, &bad) && hm_cbor_int(c, &got) && got == s[i], "%lld", (long long)s[i]);
        hm_buf_free(&b);
    }
}

static void test_map(void)
{
    hm_buf b = {0};
    hm_cbor c, v, k;
    hm_cbor_iter it;
    size_t bad, n;
    const char *s;
    const uint8_t *p;
    bool yes = false;
    hm_cbor_put_map(&b, 4);
    hm_cbor_put_pair(&b, "name", "himmel");
    hm_cbor_put_text(&b, "bytes");
    hm_cbor_put_bytes(&b, "\0\1\2", 3);
    hm_cbor_put_uint(&b, 33);
    hm_cbor_put_tag(&b, 18);
    hm_cbor_put_bool(&b, true);
    hm_cbor_put_text(&b, "list");
    hm_cbor_put_array(&b, 3);
    for (int i = 0; i < 3; i++) hm_cbor_put_null(&b);
    CHECK(hm_cbor_open(&c, b.data, b.len, &bad), "byte %zu", bad);
    CHECK(hm_cbor_get(c, "name", &v) && hm_cbor_text(v, &s, &n) && n == 6 && !memcmp(s, "himmel", 6), "text");
    CHECK(hm_cbor_get(c, "bytes", &v) && hm_cbor_bytes(v, &p, &n) && n == 3 && p[2] == 2, "bytes");
    CHECK(hm_cbor_get_int(c, 33, &v) && hm_cbor_bool(hm_cbor_untag(v), &yes) && yes, "tagged bool");
    CHECK(hm_cbor_get(c, "list", &v) && hm_cbor_each(v, &it), "list");
    int count = 0;
    while (hm_cbor_next(&it, &k, &v)) count++;
    CHECK(count == 3, "%d items", count);
    CHECK(!hm_cbor_get(c, "nothing", &v), "a key that is not there");
    for (n = 0; n < b.len; n++) {
        uint8_t *own = malloc(n + 1);
        memcpy(own, b.data, n);
        CHECK(!hm_cbor_open(&c, own, n, &bad) && bad <= n, "prefix of %zu", n);
        free(own);
    }
    hm_buf_add(&b, "", 1);
    CHECK(!hm_cbor_open(&c, b.data, b.len, &bad) && bad == b.len - 1, "something behind: byte %zu", bad);
    hm_buf_free(&b);
}

static void test_cbor_refuses(void)
{
    static const struct { const char *what, *data; size_t n; } cases[] = {
        {"reserved length", "\x1c", 1},
        {"a list of 2^64-1", "\x9b\xff\xff\xff\xff\xff\xff\xff\xff", 9},
        {"a string of 2^64-1", "\x7b\xff\xff\xff\xff\xff\xff\xff\xff", 9},
        {"a string in pieces", "\x7f\x61\x61\xff", 4},
        {"a lone break", "\xff", 1},
        {"a text cut off", "\x62\xc3\x28", 3},
        {"a text of half a pair", "\x63\xed\xa0\x80", 4},
        {"a key that is no text", "\xa1\x61\xff\x01", 4},
        {"a map with a key alone", "\xbf\x61\x61\xff", 4},
        {"an open list without end", "\x9f\x01", 2},
    };
    hm_cbor c;
    size_t bad;
    for (size_t i = 0; i < HM_COUNT(cases); i++)
        CHECK(!hm_cbor_open(&c, (const uint8_t *)cases[i].data, cases[i].n, &bad), "%s", cases[i].what);
    CHECK(hm_cbor_open(&c, (const uint8_t *)"\x9f\x01\xff", 3, &bad), "an open list with its end");
    CHECK(hm_cbor_open(&c, (const uint8_t *)"\x69\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\x87", 10, &bad), "UTF-8 of 2, 3, 4 bytes");
    CHECK(hm_cbor_open(&c, (const uint8_t *)"\x42\xff\xff", 3, &bad), "bytes may be anything");
    CHECK(hm_cbor_open(&c, (const uint8_t *)"\xa2\x61\x61\x01\x61\x61\x02", 7, &bad) && !hm_cbor_get(c, "a", &c),
          "a key twice");
    uint8_t deep[100000];
    memset(deep, 0x81, sizeof deep);
    CHECK(!hm_cbor_open(&c, deep, sizeof deep, &bad) && bad < 64, "nested 100000 deep: byte %zu", bad);
}

/* ---- JUMBF ---- */

static void test_jumbf(void)
{
    hm_buf b = {0};
    himmel_error err = {0};
    hm_box box;
    hm_jumb j, inner;
    size_t at = 0;
    const size_t store = hm_jumb_begin(&b, HM_JUMB_STORE, "c2pa");
    for (int i = 0; i < 2; i++) {
        const size_t m = hm_jumb_begin(&b, HM_JUMB_MANIFEST, i ? "two" : "one"), c = hm_jumb_box(&b, "cbor");
        hm_cbor_put_uint(&b, (uint64_t)i);
        hm_jumb_end(&b, c);
        hm_jumb_end(&b, m);
    }
    hm_jumb_end(&b, store);
    CHECK(!hm_jumb_check(b.data, b.len, &err), "%s", err.message);
    CHECK(hm_box_next(b.data, b.len, &at, &box) && at == b.len && hm_jumb_open(&j, &box), "open");
    CHECK(hm_jumb_is(&j, HM_JUMB_STORE) && !hm_jumb_is(&j, HM_JUMB_CLAIM) && !strcmp(j.label, "c2pa"), "%s", j.label);
    CHECK(hm_jumb_find(&j, "two", 3, &inner) && hm_jumb_content(&inner, "cbor", &box) && box.content_len == 1 &&
              *box.content == 1, "inner box");
    CHECK(!hm_jumb_find(&j, "three", 5, &inner), "a label that is not there");
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *own = malloc(n + 1);
        memcpy(own, b.data, n);
        CHECK(hm_jumb_check(own, n, &err) == HIMMEL_EFORMAT && *err.message, "prefix of %zu", n);
        free(own);
    }
    int accepted = 0;
    for (size_t bit = 0; bit < 8 * b.len; bit++) { /* no crash, and no description with spare bits */
        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (!hm_jumb_check(b.data, b.len, NULL)) accepted++;
        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK(accepted > 0 && accepted < (int)(8 * b.len), "%d", accepted);
    b.data[8 + 8 + 16] = 1; /* may be asked for, but has no label */
    CHECK(hm_jumb_check(b.data, b.len, &err) == HIMMEL_EFORMAT, "toggles 1");
    b.data[8 + 8 + 16] = 0x13; /* private content announced, none there */
    CHECK(hm_jumb_check(b.data, b.len, &err) == HIMMEL_EFORMAT, "toggles 0x13");
    hm_buf_free(&b);
}

static void test_two_of_a_name(void)
{
    hm_buf b = {0};
    hm_box box;
    hm_jumb j, inner;
    size_t at = 0;
    const size_t store = hm_jumb_begin(&b, HM_JUMB_STORE, "c2pa");
    for (int i = 0; i < 2; i++) hm_jumb_end(&b, hm_jumb_begin(&b, HM_JUMB_MANIFEST, "one"));
    hm_jumb_end(&b, store);
    CHECK(hm_box_next(b.data, b.len, &at, &box) && hm_jumb_open(&j, &box) && !hm_jumb_find(&j, "one", 3, &inner),
          "two boxes of one label");
    hm_buf_free(&b);
}

/* ---- COSE ---- */

static void test_cose(const char *name, int alg)
{
    static const uint8_t text[] = "what is signed";
    himmel_error err = {0};
    hm_identity *id = make_identity(name, alg);
    hm_buf b = {0};
    hm_cose c;
    CHECK(!hm_cose_sign(&b, id, text, sizeof text, NULL, &err), "%s", err.message);
    CHECK(!hm_cose_parse(&c, b.data, b.len, &err), "%s: %s", name, err.message);
    CHECK(c.alg == alg && c.n_certs == 1, "%s: %d certificates, the root stays out", name, c.n_certs);
    CHECK(hm_cose_verify(&c, id->cert[0], text, sizeof text), "%s", name);
    CHECK(!hm_cose_verify(&c, id->cert[0], text, sizeof text - 1), "%s: another text", name);
    CHECK(!hm_cose_verify(&c, id->cert[1], text, sizeof text), "%s: another key", name);
    int missed = 0;
    for (size_t at = 0; at < b.len; at++)
        for (int bit = 0; bit < 8; bit++) {
            b.data[at] ^= (uint8_t)(1 << bit);
            if (!hm_cose_parse(&c, b.data, b.len, NULL) &&
                hm_cose_verify(&c, id->cert[0], text, sizeof text)) missed++;
            b.data[at] ^= (uint8_t)(1 << bit);
        }
    CHECK(!missed, "%s: %d of %zu flipped bits go unseen", name, missed, 8 * b.len);
    for (size_t n = 0; n < b.len; n++) CHECK(hm_cose_parse(&c, b.data, n, NULL) == HIMMEL_EFORMAT, "prefix %zu", n);
    hm_buf_free(&b);
    hm_identity_free(id);
}

int main(void)
{
    if (!mkdtemp(sample_dir)) return 1;
    test_numbers();
    test_map();
    test_cbor_refuses();
    test_jumbf();
    test_two_of_a_name();
    test_cose("Ed25519", HM_ED25519);
    test_cose("ES256", HM_ES256);
    test_cose("ES384", HM_ES384);
    clean_up();
    return CHECK_END();
}
