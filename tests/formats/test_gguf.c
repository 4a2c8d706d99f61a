/* test_gguf.c - the GGUF reader: good files, and every class of published attack on GGUF readers.   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "formats/safetensors.h"

typedef struct {
    uint8_t b[2048];
    size_t n;
} bytes;

static void num(bytes *f, uint64_t v, int size)
{
    for (int i = 0; i < size; i++) f->b[f->n++] = (uint8_t)(v >> 8 * i);
}

static void str(bytes *f, const char *s, uint64_t len)
{
    num(f, len, 8);
    memcpy(f->b + f->n, s, strlen(s));
    f->n += strlen(s);
}

typedef struct {
    uint64_t version, tensors, keys, align, name_len, nd, dim[3], type, offset, data;
    const char *name;
    bool twice;
} spec;

static const spec good = {.version = 3, .tensors = 1, .keys = 1, .align = 32, .name_len = 1, .nd = 2, .dim = {4, 2, 1}, .data = 32, .name = "a"};

static void tensor(bytes *f, const spec *s)
{
    str(f, s->name, s->name_len);
    num(f, s->nd, 4);
    for (uint64_t i = 0; i < s->nd && i < 8; i++) num(f, i < 3 ? s->dim[i] : 1, 8);
    num(f, s->type, 4);
    num(f, s->offset, 8);
}

static bytes build(const spec *s)
{
    bytes f = {{0}, 0};
    memcpy(f.b, "GGUF", 4);
    f.n = 4;
    num(&f, s->version, 4);
    num(&f, s->tensors, 8);
    num(&f, s->keys, 8);
    str(&f, "general.alignment", 17);
    num(&f, 4, 4);
    num(&f, s->align, 4);
    tensor(&f, s);
    if (s->twice) tensor(&f, s);
    while (f.n % 32) f.b[f.n++] = 0;
    f.n += s->data;
    return f;
}

static const char *corpus; /* a folder that gets every file, as seeds for fuzz_gguf */
static uint8_t *kept[1024];
static size_t n_kept;

/* From a copy of its exact size, so that sanitizers see a byte too many. */
static himmel_status parse(hm_st **st, const bytes *f, himmel_error *err)
{
    uint8_t *exact = kept[n_kept++ % HM_COUNT(kept)] = malloc(f->n);
    memcpy(exact, f->b, f->n);
    if (corpus) {
        char path[512];
        snprintf(path, sizeof path, "%s/%03zu", corpus, n_kept);
        hm_write_file(path, f->b, f->n, err);
    }
    return hm_st_parse(st, exact, f->n, "f", err);
}

static void test_good(void)
{
    himmel_error err = {0};
    hm_st *st;
    const bytes f = build(&good);
    CHECK(!parse(&st, &f, &err), "%s", err.message);
    const hm_tensor *t = st ? hm_st_find(st, "a") : NULL;
    CHECK(t && t->nd == 2 && t->dim[0] == 2 && t->dim[1] == 4 && t->dtype == HM_F32, "row-major shape");
    CHECK(st && !strcmp(hm_st_meta(st, "general.alignment"), "32"), "metadata as text");
    hm_st_close(st);
    spec q = good;
    q.type = 8, q.dim[0] = 32, q.data = 68;
    const bytes g = build(&q);
    CHECK(!parse(&st, &g, &err) && hm_st_find(st, "a")->dtype == HM_Q8_0, "%s", err.message);
    hm_st_close(st);
    for (size_t n = 0; n < f.n; n++) { /* cut anywhere */
        bytes cut = f;
        cut.n = n;
        if (corpus) break;
        CHECK(n < 4 || (parse(&st, &cut, &err) == HIMMEL_EFORMAT && !st), "%zu bytes accepted", n);
    }
}

static void test_attacks(void)
{
#define BAD(why, ...) {why, {.version = 3, .tensors = 1, .keys = 1, .align = 32, .name_len = 1, .nd = 2, .dim = {4, 2, 1}, .data = 32, .name = "a", __VA_ARGS__}}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
    static const struct {
        const char *why;
        spec s;
    } bad[] = {
        BAD("version 1", .version = 1), BAD("version 4", .version = 4),
        BAD("n_tensors overflows (CVE-2024-23605)", .tensors = UINT64_MAX), BAD("n_tensors too many", .tensors = 1000),
        BAD("n_kv overflows (CVE-2024-21825)", .keys = UINT64_MAX / 2), BAD("n_kv too many", .keys = 100),
        BAD("string length wraps (CVE-2024-23496)", .name_len = UINT64_MAX), BAD("string longer than the file", .name_len = 5000),
        BAD("n_dims (CVE-2024-21802)", .nd = 7), BAD("n_dims 2^32-1", .nd = UINT32_MAX),
        BAD("size 0", .dim = {0, 2, 1}), BAD("size 2^63", .dim = {(uint64_t)1 << 63, 2, 1}), BAD("size -1", .dim = {UINT64_MAX, 2, 1}),
        BAD("product overflows (CVE-2025-53630)", .nd = 3, .dim = {(uint64_t)1 << 32, (uint64_t)1 << 32, 4}),
        BAD("bytes overflow (CVE-2026-27940)", .nd = 3, .dim = {(uint64_t)1 << 31, (uint64_t)1 << 31, 1}),
        BAD("past the end (CVE-2026-7482)", .dim = {1000, 1000, 1}), BAD("one row past the end", .dim = {4, 3, 1}),
        BAD("offset past the end", .offset = 64), BAD("offset wraps", .offset = UINT64_MAX - 31), BAD("offset not aligned", .offset = 4),
        BAD("type 31", .type = 31), BAD("type 4, removed", .type = 4), BAD("type 2^32-1", .type = UINT32_MAX),
        BAD("rows are no whole blocks", .type = 8), BAD("alignment 0", .align = 0), BAD("alignment 24", .align = 24),
        BAD("alignment 2^31", .align = (uint64_t)1 << 31), BAD("bytes left over", .data = 96),
        BAD("same name twice", .tensors = 2, .twice = true, .data = 64), BAD("escape sequence in a name", .name = "\x1b"),
        BAD("broken UTF-8", .name = "\xff"), BAD("metadata's name", .name = "__metadata__", .name_len = 12)};
#pragma GCC diagnostic pop
    for (size_t i = 0; i < HM_COUNT(bad); i++) {
        himmel_error err = {0};
        hm_st *st;
        const bytes f = build(&bad[i].s);
        const himmel_status rc = parse(&st, &f, &err);
        CHECK(rc == HIMMEL_EFORMAT && !st, "%s: accepted", bad[i].why);
        CHECK(!strncmp(err.message, "f: ", 3) && strlen(err.message) < 400, "%s: %s", bad[i].why, err.message);
        hm_st_close(st);
    }
}

/* Values of keys: arrays whose count, type or nesting lies. */
static void test_values(void)
{
    static const struct {
        const char *why;
        uint64_t type, element, count;
        bool ok;
    } keys[] = {{"two numbers", 9, 4, 2, true}, {"array count overflows (CVE-2024-21836)", 9, 12, (uint64_t)1 << 61, false},
                {"array longer than the file", 9, 0, 5000, false}, {"strings without room", 9, 8, 500, false},
                {"array of arrays", 9, 9, 1, false}, {"array of type 13", 9, 13, 1, false}, {"type 13", 13, 0, 0, false},
                {"type 2^32-1", UINT32_MAX, 0, 0, false}, {"string of 2^64-1", 8, 0xffffffff, UINT64_MAX, false}};
    for (size_t i = 0; i < HM_COUNT(keys); i++) {
        himmel_error err = {0};
        hm_st *st;
        bytes f = {{0}, 4};
        memcpy(f.b, "GGUF", 4);
        num(&f, 3, 4), num(&f, 0, 8), num(&f, 1, 8);
        str(&f, "k", 1);
        num(&f, keys[i].type, 4);
        if (keys[i].type == 9) num(&f, keys[i].element, 4), num(&f, keys[i].count, 8);
        else num(&f, keys[i].count, 8);
        num(&f, 7, 4), num(&f, 8, 4);
        while (f.n % 32) f.n++;
        const himmel_status rc = parse(&st, &f, &err);
        CHECK(keys[i].ok ? !rc : rc == HIMMEL_EFORMAT, "%s: %s", keys[i].why, err.message);
        if (keys[i].ok && st) CHECK(!strcmp(hm_st_meta(st, "k"), "[7,8]"), "array as text: %s", hm_st_meta(st, "k"));
        hm_st_close(st);
    }
}

/* test_gguf [DIR]: DIR gets the files as seeds. */
int main(int argc, char **argv)
{
    corpus = argc > 1 ? argv[1] : NULL;
    test_good();
    test_attacks();
    test_values();
    while (n_kept) free(kept[--n_kept]);
    return CHECK_END();
}
