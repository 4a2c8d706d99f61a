/* test_safetensors.c - round trip, attack files, truncation at every byte.   SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/base.h"
#include "formats/safetensors.h"
#include "check.h"

/* A file in memory: header text, then n_data bytes 0, 1, 2, ... len overrides the header length if not 0. */
static uint8_t *build(const char *header, size_t n_data, uint64_t len, size_t *total)
{
    const size_t n = strlen(header);
    uint8_t *f = malloc(8 + n + n_data + 1);
    const uint64_t claim = len ? len : n;
    for (int i = 0; i < 8; i++) f[i] = (uint8_t)(claim >> 8 * i);
    memcpy(f + 8, header, n);
    for (size_t i = 0; i < n_data; i++) f[8 + n + i] = (uint8_t)i;
    *total = 8 + n + n_data;
    return f;
}

static void *kept[8];
static size_t n_kept;
static const char *corpus; /* a folder that gets every file, as seeds for fuzz_safetensors */
static int n_seeds;

static himmel_status open_built(hm_st **st, const char *header, size_t n_data, uint64_t len,
                                himmel_error *err)
{
    size_t total; /* an exact heap block each time, so that a sanitizer sees one byte too far */
    uint8_t *f = build(header, n_data, len, &total), *exact = malloc(total);
    memcpy(exact, f, total);
    free(f);
    if (corpus && total < 4096) {
        char path[512];
        snprintf(path, sizeof path, "%s/%03d", corpus, ++n_seeds);
        CHECK(!hm_write_file(path, exact, total, err), "%s", err->message);
    }
    const himmel_status rc = hm_st_parse(st, exact, total, "f", err);
    if (rc)
        free(exact);
    else
        kept[n_kept++] = exact; /* borrowed by *st */
    return rc;
}

#define T(name, dtype, shape, from, to)                                                                      \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #from "," #to "]}"

static void test_good(void)
{
    himmel_error err = {0};
    hm_st *st;
    const char *h = "{\"__metadata__\":{\"config\":\"{}\"}," T("b", "F32", "[2,3]", 4, 28) "," T(
        "a", "F32", "[]", 0, 4) "," T("z", "U8", "[0,7]", 28, 28) "," T("d", "U64", "[1]", 28,
                                                                        36) "," T("s", "BF16", "[1]", 36,
                                                                                  38) "}  ";
    CHECK(!open_built(&st, h, 38, 0, &err), "%s", err.message);
    if (!st) return;
    CHECK(hm_st_count(st) == 4, "U64 is not handed out: %zu", hm_st_count(st));
    const char *name;
    const hm_tensor *t = hm_st_at(st, 0, &name);
    CHECK(!strcmp(name, "a") && t->nd == 0 && hm_numel(t) == 1, "file order, rank 0: %s", name);
    t = hm_st_find(st, "b");
    CHECK(t && t->nd == 2 && t->dim[0] == 2 && t->dim[1] == 3 && ((const uint8_t *)t->data)[0] == 4, "b");
    CHECK(t && (uintptr_t)t->data % 4 == 0, "aligned even where the file is not");
    t = hm_st_find(st, "z");
    CHECK(t && hm_numel(t) == 0 && t->dim[1] == 7, "empty tensor");
    CHECK(!hm_st_find(st, "d") && !hm_st_find(st, "no"), "not found");
    CHECK(!strcmp(hm_st_meta(st, "config"), "{}") && !hm_st_meta(st, "x"), "metadata");
    CHECK(!hm_st_need(st, "b", HM_DIMS(2, -1), &t, &err) && t == hm_st_find(st, "b"), "need");
    CHECK(hm_st_need(st, "b", HM_DIMS(2, 4), &t, &err) == HIMMEL_EMODEL && !t, "misshapen");
    CHECK(!strcmp(err.message, "f: tensor \"b\" is F32 [2,3], the model wants numbers [2,4]"), "%s",
          err.message);
    CHECK(hm_st_need(st, "q", HM_DIMS(2, 4), &t, &err) == HIMMEL_EMODEL && strstr(err.message, "missing"),
          "%s", err.message);
    CHECK(hm_st_need(st, "d", HM_DIMS(1), &t, &err) == HIMMEL_EMODEL && strstr(err.message, "U64"), "%s",
          err.message);
    hm_st_close(st);
    CHECK(!open_built(&st, "{}", 0, 0, &err), "no tensors at all is legal: %s", err.message);
    hm_st_close(st);
}

static void test_attacks(void)
{
    static const struct {
        const char *why, *header;
        size_t n_data;
        uint64_t len;
    } bad[] = {
        {"header length 2^64-1", "{}", 0, UINT64_MAX},
        {"header length 2^63", "{}", 0, (uint64_t)1 << 63},
        {"header longer than the file", "{}", 0, 3},
        {"header over 100 MB", "{}", 0, 100000001},
        {"empty header", "", 4, 0},
        {"not an object", "[]", 0, 0},
        {"leading space", " {}", 0, 0},
        {"rubbish behind", "{}x", 0, 0},
        {"cut JSON", "{\"a\":", 0, 0},
        {"broken UTF-8", "{\"\xff\":1}", 0, 0},
        {"NUL in a name", "{\"a\\u0000b\":1}", 0, 0},
        {"entry is a number", "{\"a\":1}", 0, 0},
        {"entry is null", "{\"a\":null}", 0, 0},
        {"no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, 0},
        {"a key too many", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1, 0},
        {"unknown dtype", "{" T("a", "F31", "[1]", 0, 4) "}", 4, 0},
        {"dtype is a number", "{\"a\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0},
        {"negative size", "{" T("a", "F32", "[-1]", 0, 4) "}", 4, 0},
        {"fractional size", "{" T("a", "F32", "[1.0]", 0, 4) "}", 4, 0},
        {"size as text", "{" T("a", "F32", "[\"1\"]", 0, 4) "}", 4, 0},
        {"size over 2^40", "{" T("a", "U8", "[1099511627777]", 0, 4) "}", 4, 0},
        {"size over 2^64", "{" T("a", "U8", "[18446744073709551617]", 0, 1) "}", 1, 0},
        {"product overflows to 0", "{" T("a", "F32", "[1099511627776,1099511627776,4]", 0, 0) "}", 0, 0},
        {"product overflows to 4", "{" T("a", "F32", "[858993459,858993459,5,5]", 0, 4) "}", 4, 0},
        {"overflow hidden by a zero", "{" T("a", "F32", "[1099511627776,1099511627776,0]", 0, 0) "}", 0, 0},
        {"rank 7", "{" T("a", "U8", "[1,1,1,1,1,1,1]", 0, 1) "}", 1, 0},
        {"shape is a number", "{" T("a", "U8", "1", 0, 1) "}", 1, 0},
        {"bytes do not fit the shape", "{" T("a", "F32", "[2]", 0, 4) "}", 4, 0},
        {"offsets backwards", "{" T("a", "F32", "[1]", 4, 0) "}", 4, 0},
        {"negative offset", "{" T("a", "F32", "[1]", -4, 0) "}", 4, 0},
        {"offset of 2^63", "{" T("a", "F32", "[1]", 0, 9223372036854775808) "}", 4, 0},
        {"past the end", "{" T("a", "F32", "[1]", 0, 4) "}", 3, 0},
        {"three offsets", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,1]}}", 1, 0},
        {"begins with a hole", "{" T("a", "U8", "[1]", 1, 2) "}", 2, 0},
        {"hole between", "{" T("a", "U8", "[1]", 0, 1) "," T("b", "U8", "[1]", 2, 3) "}", 3, 0},
        {"overlap", "{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[2]", 1, 3) "}", 3, 0},
        {"the same bytes twice", "{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[2]", 0, 2) "}", 2, 0},
        {"empty tensor inside another", "{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[0]", 1, 1) "}", 2,
         0},
        {"bytes left over", "{" T("a", "U8", "[2]", 0, 2) "}", 3, 0},
        {"data without tensors", "{}", 1, 0},
        {"duplicate name", "{" T("a", "U8", "[1]", 0, 1) "," T("a", "U8", "[1]", 1, 2) "}", 2, 0},
        {"duplicate key in an entry",
         "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, 0},
        {"metadata is a list", "{\"__metadata__\":[]}", 0, 0},
        {"metadata value is a number", "{\"__metadata__\":{\"a\":1}}", 0, 0},
        {"escape sequence in a name", "{" T("\\u001b[2J", "U8", "[1]", 0, 1) "}", 1, 0},
    };
    for (size_t i = 0; i < HM_COUNT(bad); i++) {
        himmel_error err = {0};
        hm_st *st;
        const himmel_status rc = open_built(&st, bad[i].header, bad[i].n_data, bad[i].len, &err);
        CHECK(rc == HIMMEL_EFORMAT && !st, "%s: accepted", bad[i].why);
        CHECK(!strncmp(err.message, "f: ", 3) && strlen(err.message) < 300, "%s: %s", bad[i].why,
              err.message);
        hm_st_close(st);
    }
}

/* 20,000 levels of nesting must end in a sentence, not in the stack. */
static void test_deep(void)
{
    enum { DEPTH = 20000 };
    char *h = malloc(DEPTH + 16);
    strcpy(h, "{\"a\":");
    memset(h + 5, '[', DEPTH);
    h[DEPTH + 5] = 0;
    himmel_error err = {0};
    hm_st *st;
    CHECK(open_built(&st, h, 0, 0, &err) == HIMMEL_EFORMAT, "deep nesting");
    free(h);
}

static hm_st_writer *small_file(void)
{
    static const float a[6] = {0, -1, 2.5f, 3, 4, 1e30f};
    static const uint8_t u[3] = {7, 8, 9};
    static const uint16_t h[2] = {0x3f80, 0xc000};
    himmel_error err = {0};
    hm_st_writer *w = hm_st_writer_new();
    CHECK(!hm_st_add(w, "u", HM_U8, HM_DIMS(3), u, &err), "%s", err.message);
    CHECK(!hm_st_add(w, "enc.\"q\" \xc3\xa4", HM_F32, HM_DIMS(2, 3), a, &err), "%s", err.message);
    CHECK(!hm_st_add(w, "h", HM_BF16, HM_DIMS(2), h, &err), "%s", err.message);
    CHECK(!hm_st_add(w, "one", HM_F32, 0, NULL, a + 2, &err), "%s", err.message);
    CHECK(!hm_st_add(w, "none", HM_F32, HM_DIMS(0, 4), NULL, &err), "%s", err.message);
    CHECK(!hm_st_add_meta(w, "config", "{\"x\": \"\\\"\n\"}", &err), "%s", err.message);
    CHECK(hm_st_add(w, "u", HM_U8, HM_DIMS(3), u, &err) == HIMMEL_EINVAL, "a name twice");
    CHECK(hm_st_add(w, "__metadata__", HM_U8, HM_DIMS(3), u, &err) == HIMMEL_EINVAL, "reserved name");
    CHECK(hm_st_add(w, "\xff", HM_U8, HM_DIMS(3), u, &err) == HIMMEL_EINVAL, "name that is not UTF-8");
    CHECK(hm_st_add(w, "big", HM_F32, HM_DIMS(INT64_MAX, 4), u, &err) == HIMMEL_EINVAL, "overflow");
    return w;
}

static void test_round_trip(void)
{
    char path[] = "/tmp/hm_st_XXXXXX";
    himmel_error err = {0};
    close(mkstemp(path));
    hm_st_writer *w = small_file();
    CHECK(!hm_st_write(w, path, &err), "%s", err.message);
    hm_st_writer_free(w);
    hm_map m;
    CHECK(!hm_map_open(&m, path, &err), "%s", err.message);
    hm_st *st;
    CHECK(!hm_st_open(&st, path, &err), "%s", err.message);
    if (st) {
        const hm_tensor *t = hm_st_find(st, "enc.\"q\" \xc3\xa4");
        CHECK(t && t->dtype == HM_F32 && ((float *)t->data)[5] == 1e30f && (uintptr_t)t->data % 64 == 0,
              "f32");
        t = hm_st_find(st, "u");
        CHECK(t && t->dtype == HM_U8 && ((uint8_t *)t->data)[2] == 9, "u8");
        t = hm_st_find(st, "one");
        CHECK(t && t->nd == 0 && *(float *)t->data == 2.5f, "rank 0");
        t = hm_st_find(st, "none");
        CHECK(t && t->dim[0] == 0 && t->dim[1] == 4, "empty");
        CHECK(!strcmp(hm_st_meta(st, "config"), "{\"x\": \"\\\"\n\"}"), "%s", hm_st_meta(st, "config"));
        CHECK(hm_st_count(st) == 5 && !strcmp(hm_st_path(st), path), "count, path");
        hm_st_close(st);
    }
    size_t refused = 0;
    for (size_t n = 0; n < m.len; n++) { /* cut at every byte: always refused, never read past the end */
        uint8_t *cut = malloc(n + !n);
        memcpy(cut, m.data, n);
        refused += hm_st_parse(&st, cut, n, "cut", &err) == HIMMEL_EFORMAT && !st;
        free(cut);
    }
    CHECK(refused == m.len, "%zu of %zu cut files were accepted", m.len - refused, m.len);
    size_t survived = 0; /* every header byte turned over: accepted or refused, but in bounds */
    uint8_t *f = malloc(m.len);
    for (size_t n = 0; n < m.len; n++) {
        memcpy(f, m.data, m.len);
        f[n] = (uint8_t)(f[n] ^ 1u << n % 8);
        survived += !hm_st_parse(&st, f, m.len, "flip", &err);
        hm_st_close(st);
    }
    CHECK(survived >= 37 && survived < m.len, "%zu", survived); /* the data bytes may be anything */
    free(f);
    hm_map_close(&m);
    unlink(path);
    CHECK(hm_st_open(&st, path, &err) == HIMMEL_EIO && !st && strstr(err.message, path), "%s", err.message);
    w = small_file();
    CHECK(hm_st_write(w, "/nonexistent/x.safetensors", &err) == HIMMEL_EIO, "unwritable");
    CHECK(hm_st_write(w, "/tmp", &err) == HIMMEL_EIO, "a folder in the way");
    CHECK(access("/tmp.part", F_OK), "nothing left behind");
    hm_st_writer_free(w);
}

/* test_safetensors [DIR]: DIR gets the files as seeds. */
int main(int argc, char **argv)
{
    corpus = argc > 1 ? argv[1] : NULL;
    test_good();
    test_attacks();
    test_deep();
    test_round_trip();
    while (n_kept) free(kept[--n_kept]);
    return CHECK_END();
}
