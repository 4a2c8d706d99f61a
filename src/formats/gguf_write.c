/* gguf_write.c - the header of a GGUF file.   SPDX-License-Identifier: MIT
 * Layout: gguf.c. Metadata is text, but for what ggml itself reads as numbers; sizes are written fastest first. ggml knows
 * four sizes: a tensor with more has its last ones in one, and its true ones under comfy.gguf.orig_shape.NAME, as ComfyUI's
 * files have them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "formats/st_write.h"

enum { U32 = 4, I32 = 5, STRING = 8, ARRAY = 9, MAX_SIZES = 4, MOSTLY_Q8_0 = 7, MOSTLY_BF16 = 32, MOSTLY_F16 = 1 };

typedef struct {
    char *data;
    size_t len, cap;
    bool full; /* out of memory */
} bytes;

static void put(bytes *b, const void *data, size_t n)
{
    if (b->len + n > b->cap && !b->full) {
        const size_t cap = 2 * (b->len + n) + 4096;
        char *more = realloc(b->data, cap);
        b->full = !more;
        if (more) b->data = more, b->cap = cap;
    }
    if (b->full) return;
    memcpy(b->data + b->len, data, n);
    b->len += n;
}

static void number(bytes *b, uint64_t v, int size)
{
    uint8_t le[8];
    for (int i = 0; i < size; i++) le[i] = (uint8_t)(v >> 8 * i);
    put(b, le, (size_t)size);
}

static void string(bytes *b, const char *s)
{
    number(b, strlen(s), 8);
    put(b, s, strlen(s));
}

/* ggml's number of a type; -1: it has none. U8 are bytes without a sign, which its I8 carries. */
static int type_number(hm_dtype t)
{
    static const struct { hm_dtype t; int number; } types[] = {{HM_F32, 0},   {HM_F16, 1},   {HM_Q4_0, 2},  {HM_Q4_1, 3},  {HM_Q5_0, 6},  {HM_Q5_1, 7},
                                                               {HM_Q8_0, 8},  {HM_Q2_K, 10}, {HM_Q3_K, 11}, {HM_Q4_K, 12}, {HM_Q5_K, 13}, {HM_Q6_K, 14},
                                                               {HM_U8, 24},   {HM_I32, 26},  {HM_I64, 27},  {HM_F64, 28},  {HM_BF16, 30}};
    for (size_t i = 0; i < HM_COUNT(types); i++)
        if (types[i].t == t) return types[i].number;
    return -1;
}

/* Ours, or of no meaning in another file. */
static bool left_out(const char *key)
{
    static const char *const own[] = {"general.alignment", "general.quantization_version", "general.file_type"};
    for (size_t i = 0; i < HM_COUNT(own); i++)
        if (!strcmp(key, own[i])) return true;
    return !strncmp(key, "comfy.gguf.orig_shape.", 22);
}

static uint64_t put_own_keys(bytes *b, const hm_st_writer *w)
{
    bool q8 = false, bf16 = false, f16 = false;
    uint64_t n = 2;
    for (size_t i = 0; i < w->n; i++) {
        const st_item *it = &w->item[i];
        q8 |= it->dtype == HM_Q8_0, bf16 |= it->dtype == HM_BF16, f16 |= it->dtype == HM_F16;
        if (it->nd <= MAX_SIZES) continue;
        char key[512];
        snprintf(key, sizeof key, "comfy.gguf.orig_shape.%.400s", it->name);
        string(b, key);
        number(b, ARRAY, 4);
        number(b, I32, 4);
        number(b, (uint64_t)it->nd, 8);
        for (int k = 0; k < it->nd; k++) number(b, (uint64_t)it->dim[k], 4);
        n++;
    }
    string(b, "general.quantization_version");
    number(b, U32, 4);
    number(b, 2, 4);
    string(b, "general.file_type");
    number(b, U32, 4);
    number(b, q8 ? MOSTLY_Q8_0 : bf16 ? MOSTLY_BF16 : f16 ? MOSTLY_F16 : 0, 4);
    return n;
}

static uint64_t put_keys(bytes *b, const hm_st_writer *w)
{
    const char *key;
    json_t *value;
    uint64_t n = 0;
    json_object_foreach(w->meta, key, value)
    {
        if (left_out(key)) continue;
        string(b, key);
        number(b, STRING, 4);
        string(b, json_string_value(value));
        n++;
    }
    return n + put_own_keys(b, w);
}

static himmel_status put_tensor(bytes *b, const st_item *it, uint64_t at, himmel_error *err)
{
    const int type = type_number(it->dtype), nd = HM_MIN(it->nd, (int)MAX_SIZES);
    int64_t dim[MAX_SIZES] = {0};
    if (type < 0) return hm_fail(err, HIMMEL_EINVAL, "tensor \"%.100s\" is %s, which GGUF has no type for", it->name, hm_dtype_name(it->dtype));
    for (int i = 0; i < it->nd; i++) {
        if (!it->dim[i] || it->dim[i] > INT32_MAX)
            return hm_fail(err, HIMMEL_EINVAL, "tensor \"%.100s\": size %d of its shape is %" PRId64 ", which a GGUF file cannot have", it->name, i, it->dim[i]);
        if (i < MAX_SIZES) dim[i] = it->dim[i];
        else dim[MAX_SIZES - 1] *= it->dim[i]; /* below 2^48: bytes were checked */
    }
    string(b, it->name);
    number(b, (uint64_t)nd, 4);
    for (int i = nd; i-- > 0;) number(b, (uint64_t)dim[i], 8);
    number(b, (uint64_t)type, 4);
    number(b, at, 8);
    return HIMMEL_OK;
}

char *hm_gguf_header(const hm_st_writer *w, size_t *len, himmel_error *err)
{
    bytes keys = {0}, b = {0};
    uint64_t at = 0;
    himmel_status rc = HIMMEL_OK;
    const uint64_t n = put_keys(&keys, w);
    put(&b, "GGUF", 4);
    number(&b, 3, 4);
    number(&b, w->n, 8);
    number(&b, n, 8);
    if (!keys.full) put(&b, keys.data, keys.len);
    for (size_t i = 0; i < w->n && !rc; i++) {
        rc = put_tensor(&b, &w->item[i], at, err);
        at += (w->item[i].bytes + GGUF_ALIGN - 1) / GGUF_ALIGN * GGUF_ALIGN;
    }
    while (b.len % GGUF_ALIGN && !b.full) put(&b, "", 1);
    if (!rc && (b.full || keys.full)) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    free(keys.data);
    if (rc) free(b.data);
    *len = b.len;
    return rc ? NULL : b.data;
}
