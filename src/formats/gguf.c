/* gguf.c - a GGUF file as named tensors, every number checked before it is used.   SPDX-License-Identifier: MIT
 *   "GGUF", u32 version, u64 tensors, u64 keys | key: string, u32 type, value | tensor: string, u32 n, u64 size[n], u32 type,
 *   u64 offset | padding to the alignment | data
 * Source: ggml docs/gguf.md. Sizes are stored fastest first, here they are row-major like everywhere. Metadata becomes
 * text: numbers and arrays of at most 16 numbers are written out, longer arrays are checked and left out.
 * Rules (after CVE-2024-21802 and its kin, CVE-2025-53630, CVE-2026-27940, CVE-2026-7482): one reader, which knows how
 * many bytes are left, does every access; counts and lengths are compared with those bytes before anything is allocated;
 * products are checked; offsets must be aligned and follow each other; names are unique.
 * Traps: ComfyUI's quantiser stores a 5-D weight with other sizes and its true ones under comfy.gguf.orig_shape.NAME;
 * other files in the wild keep five sizes, which ggml itself refuses. */
#include <inttypes.h>
#include <string.h>
#include "formats/st_internal.h"

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64, N_VALUES };
static const uint64_t value_bytes[N_VALUES] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8}; /* strings, arrays: at least */

static const st_type gguf_types[] = {
    [0] = {"F32", 4, HM_F32},    [1] = {"F16", 2, HM_F16},    [2] = {"Q4_0", 1, HM_Q4_0},  [3] = {"Q4_1", 1, HM_Q4_1},
    [6] = {"Q5_0", 1, HM_Q5_0},  [7] = {"Q5_1", 1, HM_Q5_1},  [8] = {"Q8_0", 1, HM_Q8_0},  [10] = {"Q2_K", 1, HM_Q2_K},
    [11] = {"Q3_K", 1, HM_Q3_K}, [12] = {"Q4_K", 1, HM_Q4_K}, [13] = {"Q5_K", 1, HM_Q5_K}, [14] = {"Q6_K", 1, HM_Q6_K},
    [24] = {"I8", 1, HM_U8},     [26] = {"I32", 4, HM_I32},   [27] = {"I64", 8, HM_I64},   [28] = {"F64", 8, HM_F64},
    [30] = {"BF16", 2, HM_BF16}}; /* I8: bytes (a tokenizer's model, say), nothing counts with them */

typedef struct {
    const hm_st *st;
    const uint8_t *data;
    uint64_t len, at;
} reader;

static himmel_status cut_off(const reader *r, himmel_error *err)
{
    return hm_fail(err, HIMMEL_EFORMAT, "%s: a GGUF file of %" PRIu64 " bytes that ends inside its header, near byte %" PRIu64,
                   r->st->path, r->len, r->at);
}

/* The only access to the bytes: n of them, or NULL. */
static const uint8_t *take(reader *r, uint64_t n)
{
    if (n > r->len - r->at) return NULL;
    r->at += n;
    return r->data + r->at - n;
}

static bool number(reader *r, int bytes, uint64_t *out)
{
    const uint8_t *p = take(r, (uint64_t)bytes);
    *out = 0;
    for (int i = bytes; p && i-- > 0;) *out = *out << 8 | p[i];
    return p != NULL;
}

/* A string as JSON, which checks its UTF-8. */
static himmel_status string(reader *r, json_t **out, himmel_error *err)
{
    uint64_t n;
    const uint8_t *p = NULL;
    *out = NULL;
    if (!number(r, 8, &n) || !(p = take(r, n))) return cut_off(r, err);
    *out = json_stringn((const char *)p, (size_t)n);
    return *out ? HIMMEL_OK : hm_fail(err, HIMMEL_EFORMAT, "%s: a string near byte %" PRIu64 " is not UTF-8", r->st->path, r->at);
}

/* A scalar's text at the end of s. */
static bool scalar(reader *r, uint64_t type, hm_str *s)
{
    uint64_t u;
    if (!number(r, (int)value_bytes[type], &u)) return false;
    union { uint64_t u; double d; } f64 = {u};
    union { uint32_t u; float f; } f32 = {(uint32_t)u};
    switch (type) {
    case I8: hm_str_addf(s, "%d", (int8_t)u); break;
    case I16: hm_str_addf(s, "%d", (int16_t)u); break;
    case I32: hm_str_addf(s, "%d", (int32_t)u); break;
    case I64: hm_str_addf(s, "%" PRId64, (int64_t)u); break;
    case F32: hm_str_addf(s, "%.9g", (double)f32.f); break;
    case F64: hm_str_addf(s, "%.17g", f64.d); break;
    case BOOL: hm_str_addf(s, "%s", u ? "true" : "false"); break;
    default: hm_str_addf(s, "%" PRIu64, u); break;
    }
    return true;
}

/* Elements of an array; *text has "[1,2]" where they are few numbers, else stays NULL. */
static himmel_status array(reader *r, json_t **text, himmel_error *err)
{
    uint64_t type, n;
    char buf[1024] = "";
    hm_str s = {buf, sizeof buf, 0};
    if (!number(r, 4, &type) || !number(r, 8, &n)) return cut_off(r, err);
    if (type >= N_VALUES || type == ARRAY)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: an array of type %" PRIu64 " near byte %" PRIu64, r->st->path, type, r->at);
    if (n > (r->len - r->at) / value_bytes[type]) return cut_off(r, err);
    const bool keep = n <= 16 && type != STRING;
    hm_str_addf(&s, "[");
    for (uint64_t i = 0; i < n && type == STRING; i++) {
        uint64_t bytes;
        if (!number(r, 8, &bytes) || !take(r, bytes)) return cut_off(r, err);
    }
    for (uint64_t i = 0; i < n && keep; i++) {
        if (i) hm_str_addf(&s, ",");
        if (!scalar(r, type, &s)) return cut_off(r, err);
    }
    hm_str_addf(&s, "]");
    if (!keep && type != STRING && !take(r, n * value_bytes[type])) return cut_off(r, err);
    *text = keep ? json_string(buf) : NULL;
    return HIMMEL_OK;
}

static himmel_status read_key(reader *r, json_t *meta, himmel_error *err)
{
    json_t *key, *value = NULL;
    uint64_t type;
    char buf[64] = "";
    hm_str s = {buf, sizeof buf, 0};
    himmel_status rc = string(r, &key, err);
    if (rc) return rc;
    const char *name = json_string_value(key);
    if (!number(r, 4, &type)) rc = cut_off(r, err);
    else if (type >= N_VALUES || strlen(name) != json_string_length(key) || !*name)
        rc = hm_fail(err, HIMMEL_EFORMAT, "%s: key \"%.60s\" near byte %" PRIu64 " has a bad name or type %" PRIu64, r->st->path, name, r->at, type);
    else if (json_object_get(meta, name))
        rc = hm_fail(err, HIMMEL_EFORMAT, "%s: key \"%.60s\" is there twice", r->st->path, name);
    else if (type == STRING) rc = string(r, &value, err);
    else if (type == ARRAY) rc = array(r, &value, err);
    else if (!scalar(r, type, &s)) rc = cut_off(r, err);
    else value = json_string(buf);
    if (!rc && json_object_set_new(meta, name, value ? value : json_null()))
        rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", r->st->path);
    json_decref(key);
    return rc;
}

/* Sizes as read, fastest first, into the entry; product and bytes checked. */
static himmel_status read_shape(reader *r, st_entry *e, himmel_error *err)
{
    uint64_t nd, v, numbers = 1;
    if (!number(r, 4, &nd)) return cut_off(r, err);
    if (nd > HM_MAX_DIM)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\" has %" PRIu64 " sizes, at most %d are known", r->st->path, e->name, nd, (int)HM_MAX_DIM);
    e->t.nd = (int)nd;
    for (uint64_t i = 0; i < nd; i++) {
        if (!number(r, 8, &v)) return cut_off(r, err);
        if (!v || v > (uint64_t)ST_MAX_DIM || !hm_mul(numbers, v, &numbers) || numbers > (uint64_t)1 << 48)
            return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\": size %" PRIu64 " of its shape is impossible", r->st->path, e->name, i);
        e->t.dim[nd - 1 - i] = (int64_t)v;
    }
    e->end = numbers; /* until the type is known */
    return HIMMEL_OK;
}

static himmel_status read_tensor(reader *r, st_entry *e, uint64_t align, himmel_error *err)
{
    json_t *name;
    uint64_t type, offset;
    himmel_status rc = string(r, &name, err);
    if (rc) return rc;
    const char *s = json_string_value(name);
    if (strlen(s) != json_string_length(name) || !*s || !strcmp(s, "__metadata__") || json_object_get(r->st->root, s))
        rc = hm_fail(err, HIMMEL_EFORMAT, "%s: tensor %zu, \"%.100s\", has a bad name, or one that is there twice", r->st->path, e->order, s);
    else rc = hm_st_check_name(r->st, s, e->order, err);
    if (!rc && json_object_set(r->st->root, s, name)) rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", r->st->path);
    if (!rc) e->name = json_string_value(json_object_get(r->st->root, s));
    json_decref(name); /* root keeps it */
    if (!rc) rc = read_shape(r, e, err);
    if (rc) return rc;
    if (!number(r, 4, &type) || !number(r, 8, &offset)) return cut_off(r, err);
    if (type >= HM_COUNT(gguf_types) || !gguf_types[type].name)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\" has type %" PRIu64 ", which is not read here", r->st->path, e->name, type);
    e->type = &gguf_types[type];
    e->t.dtype = e->type->dtype;
    const int64_t block = hm_dtype_block(e->t.dtype);
    if (e->t.nd ? e->t.dim[e->t.nd - 1] % block : block > 1)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\": its rows are no whole %s blocks", r->st->path, e->name, e->type->name);
    if (offset % align || !hm_add(offset, hm_dtype_bytes(e->t.dtype, e->end), &e->end))
        return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\": offset %" PRIu64 " is not a multiple of %" PRIu64, r->st->path, e->name, offset, align);
    e->begin = offset;
    return HIMMEL_OK;
}

static himmel_status alignment(const hm_st *st, uint64_t *align, himmel_error *err)
{
    const char *s = hm_st_meta(st, "general.alignment");
    int64_t v = 32;
    json_t *n = s ? json_loads(s, JSON_DECODE_ANY, NULL) : NULL;
    if (s) v = json_is_integer(n) ? json_integer_value(n) : 0;
    json_decref(n);
    *align = (uint64_t)v;
    if (v < 8 || v > 1 << 20 || v & (v - 1))
        return hm_fail(err, HIMMEL_EFORMAT, "%s: general.alignment \"%.20s\" is not a power of two from 8 to 2^20", st->path, s ? s : "");
    return HIMMEL_OK;
}

/* comfy.gguf.orig_shape.NAME = "[..]": the true, row-major sizes. */
static himmel_status original_shape(const hm_st *st, st_entry *e, himmel_error *err)
{
    char key[400];
    snprintf(key, sizeof key, "comfy.gguf.orig_shape.%.300s", e->name);
    const char *s = hm_st_meta(st, key);
    json_t *a = s ? json_loads(s, 0, NULL) : NULL;
    if (!s) return HIMMEL_OK;
    const size_t nd = json_array_size(a);
    bool ok = nd >= 1 && nd <= HM_MAX_DIM;
    uint64_t numbers = 1;
    int64_t dim[HM_MAX_DIM] = {0};
    for (size_t i = 0; i < nd && ok; i++) {
        dim[i] = json_integer_value(json_array_get(a, i));
        ok = dim[i] > 0 && dim[i] <= ST_MAX_DIM && hm_mul(numbers, (uint64_t)dim[i], &numbers);
    }
    json_decref(a);
    if (!ok || numbers != (uint64_t)hm_numel(&e->t) || dim[nd - 1] % hm_dtype_block(e->t.dtype))
        return hm_fail(err, HIMMEL_EFORMAT, "%s: %.200s = %.60s does not fit the tensor", st->path, key, s);
    e->t.nd = (int)nd;
    memcpy(e->t.dim, dim, nd * sizeof *dim);
    return HIMMEL_OK;
}

himmel_status hm_gguf_parse(hm_st *st, const uint8_t *data, size_t len, himmel_error *err)
{
    reader r = {st, data, len, 4};
    uint64_t version, tensors, keys, align = 0;
    if (!number(&r, 4, &version) || !number(&r, 8, &tensors) || !number(&r, 8, &keys)) return cut_off(&r, err);
    if (version < 2 || version > 3) return hm_fail(err, HIMMEL_EFORMAT, "%s: GGUF version %" PRIu64 ", 2 and 3 are read here", st->path, version);
    if (tensors > (len - r.at) / 24 || keys > (len - r.at) / 13) return cut_off(&r, err); /* the least that each takes */
    json_t *meta = json_object();
    st->root = json_object();
    if (!st->root || json_object_set_new(st->root, "__metadata__", meta)) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", st->path);
    st->meta = meta;
    himmel_status rc = hm_st_reserve(st, (size_t)tensors, err);
    for (uint64_t i = 0; i < keys && !rc; i++) rc = read_key(&r, meta, err);
    if (!rc) rc = alignment(st, &align, err);
    for (uint64_t i = 0; i < tensors && !rc; i++) {
        st_entry *e = &st->entry[st->n];
        e->order = st->n++;
        rc = read_tensor(&r, e, align, err);
        if (!rc) rc = original_shape(st, e, err);
    }
    if (rc) return rc;
    if (r.at > ST_MAX_HEADER) return hm_fail(err, HIMMEL_EFORMAT, "%s: a header of %" PRIu64 " bytes is too long", st->path, r.at);
    const uint64_t start = (r.at + align - 1) / align * align;
    if (start > len) return tensors ? cut_off(&r, err) : HIMMEL_OK;
    return hm_st_place(st, data + start, len - start, align, err);
}
