/* test_convert.c - weights into another number format and back: every number, what stays, the hash, what is refused.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "base/sha256.h"
#include "check.h"
#include "film/film.h"
#include "formats/shards.h"
#include "temp.h"

enum { N = 700001 }; /* more than two strips, and no multiple of one */
static himmel_converted converted(const char *in, const char *out, const char *type)
{
    himmel_converted c = {0};
    himmel_error err = {0};
    const himmel_status rc = himmel_convert(in, out, type, NULL, NULL, &c, &err);
    CHECK(!rc, "%s -> %s: %s", in, type, err.message);
    hm_map m;
    char hex[65] = "";
    if (!rc && !hm_map_open(&m, out, &err)) {
        hm_sha256 s;
        uint8_t d[32];
        hm_sha256_init(&s);
        hm_sha256_add(&s, m.data, m.len);
        hm_sha256_end(&s, d);
        hm_sha256_hex(d, hex);
        CHECK(c.file_bytes == m.len, "%llu bytes", (unsigned long long)c.file_bytes);
        hm_map_close(&m);
    }
    CHECK(!strcmp(hex, c.sha256), "%s, not %s", c.sha256, hex);
    return c;
}

/* All tensors of `out` are those of `in`, floating-point ones rounded to type. */
static void compare(const char *in, const char *out, hm_dtype type)
{
    hm_st *a, *b;
    himmel_error err = {0};
    const bool open = !hm_st_open(&a, in, &err) && !hm_st_open(&b, out, &err);
    CHECK(open, "%s", err.message);
    if (!open) return;
    CHECK(hm_st_count(a) == hm_st_count(b), "%zu, not %zu tensors", hm_st_count(b), hm_st_count(a));
    for (size_t i = 0; i < hm_st_count(a); i++) {
        const char *name;
        const hm_tensor *x = hm_st_at(a, i, &name), *y = hm_st_find(b, name);
        const hm_dtype to = hm_is_weight(x->dtype) ? type : x->dtype;
        const size_t n = (size_t)hm_numel(x), size = n * hm_dtype_size(to);
        CHECK(y && y->dtype == to && y->nd == x->nd && hm_numel(y) == (int64_t)n, "%s", name);
        if (!y || y->dtype != to) continue;
        void *want = malloc(size + 1);
        hm_convert(want, to, x->data, x->dtype, n);
        CHECK(!memcmp(want, y->data, size), "%s: other numbers", name);
        free(want);
    }
    hm_st_close(a);
    hm_st_close(b);
}

static void write_source(const char *path, float odd)
{
    himmel_error err = {0};
    float *x = malloc(N * sizeof *x);
    static const uint8_t bytes[3] = {1, 2, 255};
    static const int64_t one = 42;
    for (int i = 0; i < N; i++) x[i] = sinf((float)i) * (i % 7 ? 1 : 1000);
    x[N - 1] = odd;
    hm_st_writer *w = hm_st_writer_new();
    bool ok = !hm_st_add(w, "a.weight", HM_F32, HM_DIMS(N), x, &err) && !hm_st_add(w, "spiece_model", HM_U8, HM_DIMS(3), bytes, &err) &&
              !hm_st_add(w, "steps", HM_I64, 0, NULL, &one, &err) && !hm_st_add(w, "empty", HM_F32, HM_DIMS(0, 3), x, &err) &&
              !hm_st_add_meta(w, "config", "{\"a\": 1}", &err) && !hm_st_add_meta(w, "format", "pt", &err);
    ok = ok && !hm_st_write(w, path, &err);
    CHECK(ok, "%s", err.message);
    hm_st_writer_free(w);
    free(x);
}

static void test_types(void)
{
    const char *f32 = in_dir("f32.safetensors"), *bf16 = in_dir("bf16.safetensors"), *f16 = in_dir("f16.safetensors"), *back = in_dir("back.safetensors");
    write_source(f32, INFINITY);
    const himmel_converted c = converted(f32, bf16, "bf16");
    CHECK(c.n_tensors == 4 && c.n_converted == 2, "%zu of %zu", c.n_converted, c.n_tensors);
    compare(f32, bf16, HM_BF16);
    hm_st *st;
    CHECK(!hm_st_open(&st, bf16, NULL), "no file");
    CHECK(!strcmp(hm_st_meta(st, "config"), "{\"a\": 1}") && !strcmp(hm_st_meta(st, "format"), "pt"), "metadata");
    hm_st_close(st);
    converted(f32, f16, "f16"); /* infinity stays infinity */
    compare(f32, f16, HM_F16);
    converted(bf16, back, "f32");
    compare(bf16, back, HM_F32);
    const himmel_converted twice = converted(back, bf16, "bf16"); /* bf16 -> f32 -> bf16: the same file */
    CHECK(!strcmp(twice.sha256, c.sha256), "bf16 and back is not the same");
    const himmel_converted same = converted(f32, f32, "f32"); /* in place */
    CHECK(same.n_converted == 0, "%zu", same.n_converted);
    compare(f32, f32, HM_F32);
}

static void test_sources(void)
{
    himmel_error err = {0};
    converted(FIXTURES "/gguf_all_types.gguf", in_dir("g.safetensors"), "f32");
    compare(FIXTURES "/gguf_all_types.gguf", in_dir("g.safetensors"), HM_F32);
    CHECK(!write_shards(in_dir("f32.safetensors"), dir, &err), "%s", err.message);
    converted(in_dir("model.safetensors.index.json"), in_dir("whole.safetensors"), "bf16");
    compare(in_dir("f32.safetensors"), in_dir("whole.safetensors"), HM_BF16);
}

enum { OUT = 130, IN = 96 };

/* A model's kinds of tensors: a linear layer, its bias, a first layer that stays, a convolution, a tokenizer, a norm in fp8. */
static void write_model(const char *path, float odd)
{
    himmel_error err = {0};
    static float w[OUT * IN], conv[64 * 16 * 2 * 2];
    static uint16_t first[64 * 32];
    static uint8_t fp8[64];
    static const uint8_t bytes[5] = {1, 2, 127, 128, 255};
    hm_randn(w, HM_COUNT(w), 5, 1);
    hm_randn(conv, HM_COUNT(conv), 5, 2);
    for (size_t i = 0; i < HM_COUNT(w); i++) w[i] *= i / 32 % 9 ? 0.02f : i / 32 % 2 ? 300 : 1e-7f; /* blocks of all sizes */
    memset(w + 64, 0, 32 * sizeof *w);
    w[OUT * IN - 1] = odd;
    hm_convert(first, HM_BF16, conv, HM_F32, HM_COUNT(first));
    for (int i = 0; i < 64; i++) fp8[i] = (uint8_t)(i + 40);
    hm_st_writer *o = hm_st_writer_new();
    bool ok = !hm_st_add(o, "blocks.0.ffn.0.weight", HM_F32, HM_DIMS(OUT, IN), w, &err) && !hm_st_add(o, "blocks.0.ffn.0.bias", HM_F32, HM_DIMS(OUT), w, &err) &&
              !hm_st_add(o, "text_embedding.0.weight", HM_BF16, HM_DIMS(64, 32), first, &err) &&
              !hm_st_add(o, "vae.conv.weight", HM_F32, HM_DIMS(64, 16, 1, 2, 2), conv, &err) && !hm_st_add(o, "spiece_model", HM_U8, HM_DIMS(5), bytes, &err) &&
              !hm_st_add(o, "blocks.0.self_attn.norm_q.weight", HM_F8E4M3, HM_DIMS(64), fp8, &err) && !hm_st_add_meta(o, "config", "{\"ä\": 1}", &err);
    ok = ok && !hm_st_write(o, path, &err);
    CHECK(ok, "%s", err.message);
    hm_st_writer_free(o);
}

/* Block by block, from ggml's description: f16 scale, 32 bytes; what is read back is off by half a step and the scale's rounding. */
static void check_blocks(const float *x, const uint8_t *b, const float *back, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i += 32) {
        float most = 0, scale;
        for (int k = 0; k < 32; k++) most = HM_MAX(most, fabsf(x[i + k]));
        const uint8_t *block = b + i / 32 * 34;
        hm_convert(&scale, HM_F32, (uint16_t[]){(uint16_t)(block[0] | block[1] << 8)}, HM_F16, 1);
        CHECK(fabs(scale - most / 127) <= most / 127 * 0x1p-11 + 0x1p-25, "scale %g of %g", scale, most);
        const double bound = most * (0.5 / 127 + 0x1p-11) + 127 * 0x1p-25;
        for (int k = 0; k < 32; k++) {
            CHECK(back[i + k] == scale * (float)(int8_t)block[2 + k], "number %zu", i + k);
            CHECK(fabs(back[i + k] - x[i + k]) <= bound, "number %zu: %g, not %g", i + k, back[i + k], x[i + k]);
            worst = HM_MAX(worst, most > 1e-3f ? fabs(back[i + k] - x[i + k]) / most : 0);
        }
    }
    CHECK(worst > 1e-3, "nothing was rounded: %g", worst); /* or the bound would prove nothing */
}

static void test_q8_0(void)
{
    const char *in = in_dir("model.safetensors"), *q = in_dir("model.gguf"), *back = in_dir("model-back.safetensors"), *again = in_dir("again.gguf");
    hm_st *a, *b;
    write_model(in, 0.5f);
    const himmel_converted c = converted(in, q, "q8_0");
    CHECK(c.n_tensors == 6 && c.n_converted == 2, "%zu of %zu", c.n_converted, c.n_tensors);
    CHECK(!hm_st_open(&a, in, NULL) && !hm_st_open(&b, q, NULL), "no file");
    CHECK(hm_st_count(b) == 6, "%zu tensors", hm_st_count(b));
    CHECK(!strcmp(hm_st_meta(b, "config"), "{\"ä\": 1}") && !strcmp(hm_st_meta(b, "general.architecture"), "wan") && !strcmp(hm_st_meta(b, "general.file_type"), "7"), "metadata");
    for (size_t i = 0; i < hm_st_count(a); i++) {
        const char *name;
        const hm_tensor *x = hm_st_at(a, i, &name), *y = hm_st_find(b, name);
        const bool linear = !strcmp(name, "blocks.0.ffn.0.weight");
        const hm_dtype want = linear ? HM_Q8_0 : x->dtype == HM_F8E4M3 ? HM_BF16 : x->dtype;
        CHECK(y && y->dtype == want && y->nd == x->nd && !memcmp(x->dim, y->dim, sizeof x->dim), "%s", name);
        if (!y || y->dtype != want) continue;
        static float f[OUT * IN], g[OUT * IN];
        const size_t n = (size_t)hm_numel(x);
        hm_convert(f, HM_F32, x->data, x->dtype, n);
        hm_convert(g, HM_F32, y->data, y->dtype, n);
        if (linear) check_blocks(f, y->data, g, n);
        else CHECK(!memcmp(f, g, n * sizeof *f), "%s: other numbers", name);
    }
    hm_st_close(a);
    hm_st_close(b);
    converted(q, back, "f32");
    compare(q, back, HM_F32);
    converted(q, again, "bf16"); /* GGUF to GGUF; text stays text */
    compare(q, again, HM_BF16);
    CHECK(!hm_st_open(&b, again, NULL) && !strcmp(hm_st_meta(b, "config"), "{\"ä\": 1}"), "metadata");
    hm_st_close(b);
    CHECK(!strcmp(converted(in, in_dir("twice.gguf"), "q8_0").sha256, c.sha256), "the same input gives another file");
}

static int stop_late(void *user, const himmel_progress *p)
{
    (void)user;
    return p->step == 5;
}

static int stop(void *user, const himmel_progress *p)
{
    (void)user;
    return p->step == 2 && p->n_steps == 4;
}

static void refused(const char *in, const char *out, const char *type, himmel_progress_fn *f, himmel_status code, const char *part)
{
    himmel_error err = {0};
    const himmel_status rc = himmel_convert(in, out, type, f, NULL, NULL, &err);
    char half[160];
    snprintf(half, sizeof half, "%s.part", out);
    CHECK(rc == code && strstr(err.message, part), "%d, not %d \"%s\": %s", (int)rc, (int)code, part, err.message);
    CHECK(access(out, F_OK) && access(half, F_OK), "%s is there", out);
}

static void test_refused(void)
{
    const char *out = in_dir("no.safetensors");
    char keep[128];
    snprintf(keep, sizeof keep, "%s", out);
    write_source(in_dir("large.safetensors"), 65520);
    refused(in_dir("large.safetensors"), keep, "f16", NULL, HIMMEL_EINVAL, "tensor \"a.weight\" has the number 65520, which F16 cannot hold");
    refused(in_dir("f32.safetensors"), keep, "bf16", stop, HIMMEL_ECANCELLED, "stopped after tensor 2 of 4");
    refused(in_dir("f32.safetensors"), keep, "int4", NULL, HIMMEL_EINVAL, "int4: no type");
    refused(in_dir("f32.safetensors"), keep, "int8", NULL, HIMMEL_EINVAL, "int8 is for transformers");
    refused(in_dir("f32.safetensors"), in_dir("no.gguf"), "int8", NULL, HIMMEL_EINVAL, "must end in .safetensors");
    refused(in_dir("f32.safetensors"), in_dir("no.bin"), "f16", NULL, HIMMEL_EINVAL, "must end in .safetensors or .gguf");
    refused(in_dir("f32.safetensors"), keep, "q8_0", NULL, HIMMEL_EINVAL, "must end in .gguf");
    refused(in_dir("f32.safetensors"), in_dir("no.gguf"), "f16", NULL, HIMMEL_EINVAL, "tensor \"empty\": size 0 of its shape is 0");
    write_model(in_dir("inf.safetensors"), INFINITY);
    refused(in_dir("inf.safetensors"), in_dir("no.gguf"), "q8_0", NULL, HIMMEL_EINVAL, "\"blocks.0.ffn.0.weight\" has the number inf, which Q8_0 cannot hold");
    write_model(in_dir("inf.safetensors"), 3e38f);
    refused(in_dir("inf.safetensors"), in_dir("no.gguf"), "q8_0", NULL, HIMMEL_EINVAL, "has the number 3e+38, which Q8_0 cannot hold");
    refused(in_dir("model.safetensors"), in_dir("no.gguf"), "q8_0", stop_late, HIMMEL_ECANCELLED, "stopped after tensor 5 of 6");
    refused(in_dir("nothing.safetensors"), keep, "f16", NULL, HIMMEL_EIO, "nothing.safetensors");
    hm_st_writer *w = hm_st_writer_new();
    static const float x[4];
    CHECK(!hm_st_add(w, "a.scale_weight", HM_F32, HM_DIMS(4), x, NULL) && !hm_st_write(w, in_dir("scaled.safetensors"), NULL), "cannot write");
    hm_st_writer_free(w);
    refused(in_dir("scaled.safetensors"), keep, "bf16", NULL, HIMMEL_EINVAL, "\"a.scale_weight\" has scales");
    static const char flags[] = "\x3c\0\0\0\0\0\0\0{\"on\":{\"dtype\":\"BOOL\",\"shape\":[2],\"data_offsets\":[0,2]}}      \1\0";
    CHECK(!hm_write_file(in_dir("flags.safetensors"), flags, 8 + 0x3c + 2, NULL), "cannot write");
    refused(in_dir("flags.safetensors"), keep, "bf16", NULL, HIMMEL_EFORMAT, "tensor \"on\" is of a type");
}

int main(void)
{
    CHECK(make_dir(), "no folder");
    test_types();
    test_sources();
    test_q8_0();
    test_refused();
    CHECK(remove_dir(), "not cleaned up");
    return CHECK_END();
}
