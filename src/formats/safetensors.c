/* safetensors.c - a safetensors file as named tensors, every number checked before it is used.
 * SPDX-License-Identifier: MIT
 *   bytes -> [8: header length n][n: JSON][data] -> entries sorted by offset -> names sorted for find
 * Source: github.com/huggingface/safetensors README (format) and its rules after the 2023 audit.
 * Memory: tensors are views into the map; only data that is not aligned to its own type is copied (old
 * writers did not pad the header). Names and metadata stay inside the parsed JSON, which lives as long as the
 * file. Trap: a file that another program shortens while it is mapped raises SIGBUS; weights are replaced by
 * rename only. */
#include "formats/st_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* hm_dtype has no name for the last ones: they are checked like the rest, but not handed out. */
static const st_type st_types[] = {{"F32", 4, HM_F32},        {"BF16", 2, HM_BF16},    {"F16", 2, HM_F16},
                {"F8_E4M3", 1, HM_F8E4M3}, {"I32", 4, HM_I32},      {"I64", 8, HM_I64},
                {"U8", 1, HM_U8},          {"F64", 8, HM_F64}, {"BOOL", 1, HM_N_DTYPES},
                {"I8", 1, HM_I8},    {"I16", 2, HM_N_DTYPES}, {"U16", 2, HM_N_DTYPES},
                {"U32", 4, HM_N_DTYPES},   {"U64", 8, HM_N_DTYPES}, {"F8_E5M2", 1, HM_N_DTYPES}};

/* "F32 [2,3]"; sizes < 0 read "any". */
static const char *describe(char buf[160], const char *dtype, int nd, const int64_t *dim)
{
    hm_str s = {buf, 160, 0};
    hm_str_addf(&s, "%s [", dtype);
    for (int i = 0; i < nd; i++) {
        hm_str_addf(&s, "%s", i ? "," : "");
        if (dim[i] < 0)
            hm_str_addf(&s, "any");
        else
            hm_str_addf(&s, "%" PRId64, dim[i]);
    }
    hm_str_addf(&s, "]");
    return buf;
}

static himmel_status parse_type(const hm_st *st, st_entry *e, const json_t *dtype, himmel_error *err)
{
    const char *s = json_string_value(dtype);
    if (!s) return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\" has no dtype", st->path, e->name);
    for (size_t i = 0; i < HM_COUNT(st_types); i++)
        if (!strcmp(s, st_types[i].name)) e->type = &st_types[i];
    if (!e->type)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\" has unknown dtype \"%.20s\"", st->path,
                       e->name, s);
    e->t.dtype = e->type->dtype;
    return HIMMEL_OK;
}

static himmel_status parse_offsets(const hm_st *st, st_entry *e, const json_t *offsets, uint64_t data_len,
                                   himmel_error *err)
{
    uint64_t v[2] = {0};
    bool ok = json_is_array(offsets) && json_array_size(offsets) == 2;
    for (size_t i = 0; ok && i < 2; i++) {
        const json_t *o = json_array_get(offsets, i);
        ok = json_is_integer(o) && json_integer_value(o) >= 0;
        v[i] = ok ? (uint64_t)json_integer_value(o) : 0;
    }
    if (!ok || v[0] > v[1] || v[1] > data_len)
        return hm_fail(err, HIMMEL_EFORMAT,
                       "%s: tensor \"%.100s\": data_offsets [%" PRIu64 ",%" PRIu64
                       "] do not lie in the file's %" PRIu64 " data bytes",
                       st->path, e->name, v[0], v[1], data_len);
    e->begin = v[0];
    e->end = v[1];
    return HIMMEL_OK;
}

static himmel_status parse_shape(const hm_st *st, st_entry *e, const json_t *shape, himmel_error *err)
{
    if (!json_is_array(shape) || json_array_size(shape) > HM_MAX_DIM)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\": shape is not a list of at most %d sizes",
                       st->path, e->name, (int)HM_MAX_DIM);
    e->t.nd = (int)json_array_size(shape);
    uint64_t bytes = e->type->size;
    bool empty = false;
    for (int i = 0; i < e->t.nd; i++) {
        const json_t *d = json_array_get(shape, (size_t)i);
        const json_int_t v = json_integer_value(d);
        empty = empty || v == 0;
        if (!json_is_integer(d) || v < 0 || v > ST_MAX_DIM || !hm_mul(bytes, v ? (uint64_t)v : 1, &bytes))
            return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\": size %d of its shape is impossible",
                           st->path, e->name, i);
        e->t.dim[i] = v;
    }
    if (empty) bytes = 0; /* only now: [2^40, 2^40, 0] overflows and is refused */
    char text[160];
    if (bytes != e->end - e->begin)
        return hm_fail(err, HIMMEL_EFORMAT,
                       "%s: tensor \"%.100s\" is %s, %" PRIu64 " bytes, but its data_offsets span %" PRIu64,
                       st->path, e->name, describe(text, e->type->name, e->t.nd, e->t.dim), bytes,
                       e->end - e->begin);
    return HIMMEL_OK;
}

himmel_status hm_st_check_name(const hm_st *st, const char *name, size_t order, himmel_error *err)
{
    for (const char *c = name; *c; c++) /* names end up in messages on terminals */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return hm_fail(err, HIMMEL_EFORMAT, "%s: the name of tensor %zu has a control character",
                           st->path, order);
    return HIMMEL_OK;
}

static himmel_status parse_entry(const hm_st *st, st_entry *e, const json_t *info, uint64_t data_len,
                                 himmel_error *err)
{
    himmel_status rc = hm_st_check_name(st, e->name, e->order, err);
    if (rc) return rc;
    if (!json_is_object(info) || json_object_size(info) != 3)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\" is not {dtype, shape, data_offsets}",
                       st->path, e->name);
    rc = parse_type(st, e, json_object_get(info, "dtype"), err);
    if (!rc) rc = parse_offsets(st, e, json_object_get(info, "data_offsets"), data_len, err);
    if (!rc) rc = parse_shape(st, e, json_object_get(info, "shape"), err);
    return rc;
}

static int order_offset(const void *pa, const void *pb)
{
    const st_entry *a = pa, *b = pb;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end) return a->end < b->end ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static int order_name(const void *pa, const void *pb)
{
    return strcmp((*(const st_entry *const *)pa)->name, (*(const st_entry *const *)pb)->name);
}

static himmel_status check_meta(const hm_st *st, json_t *meta, himmel_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(meta))
        return hm_fail(err, HIMMEL_EFORMAT, "%s: __metadata__ is not an object", st->path);
    json_object_foreach(meta, key, value) if (!json_is_string(value)) return hm_fail(
        err, HIMMEL_EFORMAT, "%s: metadata \"%.100s\" is not a string", st->path, key);
    return HIMMEL_OK;
}

himmel_status hm_st_reserve(hm_st *st, size_t n, himmel_error *err)
{
    st->entry = calloc(n + 1, sizeof *st->entry); /* + 1: never calloc(0) */
    st->found = calloc(n + 1, sizeof *st->found);
    st->by_name = calloc(n + 1, sizeof *st->by_name);
    return st->entry && st->found && st->by_name ? HIMMEL_OK
                                                 : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", st->path);
}

himmel_status hm_st_place(hm_st *st, const uint8_t *data, uint64_t data_len, uint64_t align, himmel_error *err)
{
    qsort(st->entry, st->n, sizeof *st->entry, order_offset);
    uint64_t at = 0;
    for (size_t i = 0; i < st->n; i++) {
        st_entry *e = &st->entry[i];
        if (e->begin < at || e->begin - at >= align)
            return hm_fail(err, HIMMEL_EFORMAT,
                           "%s: tensor \"%.100s\" begins at data byte %" PRIu64 ", but %" PRIu64
                           " is next: %s",
                           st->path, e->name, e->begin, at, e->begin < at ? "overlap" : "hole");
        if (e->end > data_len || e->end < e->begin)
            return hm_fail(err, HIMMEL_EFORMAT,
                           "%s: tensor \"%.100s\" ends at data byte %" PRIu64 " of %" PRIu64 ": cut off",
                           st->path, e->name, e->end, data_len);
        at = e->end;
        const uint8_t *p = data + e->begin;
        const size_t len = (size_t)(e->end - e->begin);
        if (len && (uintptr_t)p % e->type->size) {
            e->owned = malloc(len);
            if (!e->owned) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", st->path);
            p = memcpy(e->owned, p, len);
        }
        e->t.data = (void *)(uintptr_t)p; /* read-only by contract */
        st->by_name[i] = e;
        if (e->type->dtype != HM_N_DTYPES) st->found[st->n_found++] = e;
    }
    if (at > data_len || data_len - at >= align)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: %" PRIu64 " data bytes, but the tensors take %" PRIu64,
                       st->path, data_len, at);
    hm_st_sort_names(st);
    return HIMMEL_OK;
}

void hm_st_sort_names(hm_st *st)
{
    qsort(st->by_name, st->n, sizeof *st->by_name, order_name);
}

static himmel_status parse(hm_st *st, const uint8_t *data, size_t len, himmel_error *err)
{
    uint64_t n = 0;
    if (len >= 4 && !memcmp(data, "GGUF", 4)) return hm_gguf_parse(st, data, len, err);
    if (len < 8)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: %zu bytes are too few for a safetensors file", st->path,
                       len);
    for (int i = 7; i >= 0; i--) n = n << 8 | data[i];
    if (n > ST_MAX_HEADER || n > len - 8) /* no length is trusted before this line */
        return hm_fail(err, HIMMEL_EFORMAT,
                       "%s: not a safetensors file, or cut off: header length %" PRIu64 " in %zu bytes",
                       st->path, n, len);
    if (!n || data[8] != '{')
        return hm_fail(err, HIMMEL_EFORMAT, "%s: the header does not begin with {", st->path);
    himmel_status rc = hm_json_parse(&st->root, (const char *)data + 8, (size_t)n, st->path, err);
    if (rc) return rc;
    const uint64_t data_len = len - 8 - n;
    const size_t cap = json_object_size(st->root);
    rc = hm_st_reserve(st, cap, err);
    if (rc) return rc;
    const char *key;
    json_t *value;
    json_object_foreach(st->root, key, value)
    {
        if (!strcmp(key, "__metadata__")) {
            st->meta = value;
            rc = check_meta(st, value, err);
        } else {
            st_entry *e = &st->entry[st->n];
            e->name = key;
            e->order = st->n++;
            rc = parse_entry(st, e, value, data_len, err);
        }
        if (rc) return rc;
    }
    return hm_st_place(st, data + 8 + n, data_len, 1, err);
}

hm_st *hm_st_new(const char *path)
{
    hm_st *st = calloc(1, sizeof *st);
    if (st) st->path = strdup(path);
    if (st && st->path) return st;
    free(st);
    return NULL;
}

/* Bytes of the scales [rows] of "NAME.weight" under one of their names; NULL: there are none of that many numbers. */
static const hm_tensor *scales_of(const hm_st *st, const char *weight, int64_t rows)
{
    static const char *const ends[] = {"scale_weight", "weight_scale"};
    const size_t n = strlen(weight) - strlen("weight");
    char name[512];
    for (size_t i = 0; i < HM_COUNT(ends); i++) {
        if ((size_t)snprintf(name, sizeof name, "%.*s%s", (int)n, weight, ends[i]) >= sizeof name) return NULL;
        const hm_tensor *t = hm_st_find(st, name);
        if (t && t->dtype == HM_F32 && hm_numel(t) == rows) return t;
    }
    return NULL;
}

void hm_st_attach_scales(hm_st *st)
{
    const bool ours = hm_st_meta(st, HM_ST_INT8_KEY) != NULL;
    for (size_t i = 0; i < st->n_found; i++) {
        hm_tensor *t = (hm_tensor *)(uintptr_t)&st->found[i]->t; /* st's own, or a shard's */
        const char *name = st->found[i]->name, *end = strrchr(name, '.');
        if (!end || strcmp(end, ".weight")) continue;
        const hm_tensor *s = t->dtype == HM_F8E4M3 ? scales_of(st, name, 1) : NULL;
        if (s) memcpy(&t->scale, s->data, sizeof t->scale);
        if (t->dtype == HM_I8 && ours && t->nd == 2 && t->dim[0] > 0 && t->dim[1] > 0 && (s = scales_of(st, name, t->dim[0]))) t->row_scale = s->data;
    }
}

bool hm_st_is_int8(const hm_st *st)
{
    for (size_t i = 0; i < st->n_found; i++)
        if (st->found[i]->t.row_scale) return true;
    return false;
}

himmel_status hm_st_parse(hm_st **out, const uint8_t *data, size_t len, const char *name, himmel_error *err)
{
    *out = NULL;
    hm_st *st = hm_st_new(name);
    if (!st) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", name);
    const himmel_status rc = parse(st, data, len, err);
    if (!rc) hm_st_attach_scales(st);
    if (rc)
        hm_st_close(st);
    else
        *out = st;
    return rc;
}

himmel_status hm_st_open_file(hm_st **out, const char *path, himmel_error *err)
{
    *out = NULL;
    hm_st *st = hm_st_new(path);
    if (!st) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    himmel_status rc = hm_map_open(&st->map, path, err);
    if (!rc) rc = parse(st, st->map.data, st->map.len, err);
    if (!rc) hm_st_attach_scales(st);
    if (rc)
        hm_st_close(st);
    else
        *out = st;
    return rc;
}

void hm_st_close(hm_st *st)
{
    if (!st) return;
    for (size_t i = 0; i < st->n && st->entry; i++) free(st->entry[i].owned);
    for (size_t i = 0; i < st->n_shards; i++) hm_st_close(st->shard[i]);
    free(st->shard);
    free(st->entry);
    free(st->found);
    free(st->by_name);
    json_decref(st->root);
    hm_map_close(&st->map);
    free(st->path);
    free(st);
}

const st_entry *hm_st_entry(const hm_st *st, const char *name)
{
    const st_entry key = {.name = name}, *pkey = &key;
    const st_entry *const *e = bsearch(&pkey, st->by_name, st->n, sizeof *st->by_name, order_name);
    return e ? *e : NULL;
}

const hm_tensor *hm_st_find(const hm_st *st, const char *name)
{
    const st_entry *e = hm_st_entry(st, name);
    return e && e->type->dtype != HM_N_DTYPES ? &e->t : NULL;
}

void hm_st_replace(hm_st *st, const char *name, hm_dtype dtype, void *data)
{
    st_entry *e = (st_entry *)(uintptr_t)hm_st_entry(st, name); /* st's own, or a shard's */
    free(e->owned);
    e->owned = data;
    e->t.data = data;
    e->t.dtype = dtype;
    e->t.scale = 0;
}

size_t hm_st_count(const hm_st *st)
{
    return st->n_found;
}

const hm_tensor *hm_st_at(const hm_st *st, size_t i, const char **name)
{
    if (name) *name = st->found[i]->name;
    return &st->found[i]->t;
}

const char *hm_st_meta(const hm_st *st, const char *key)
{
    return json_string_value(json_object_get(st->meta, key));
}

bool hm_st_meta_at(const hm_st *st, size_t i, const char **key, const char **value)
{
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)st->meta, *key, v) if (json_is_string(v) && !i--)
    {
        *value = json_string_value(v);
        return true;
    }
    return false;
}

const char *hm_st_unread(const hm_st *st)
{
    for (size_t i = 0; i < st->n; i++)
        if (st->by_name[i]->type->dtype == HM_N_DTYPES) return st->by_name[i]->name;
    return NULL;
}

const char *hm_st_path(const hm_st *st)
{
    return st->path;
}

himmel_status hm_st_need(const hm_st *st, const char *name, int nd, const int64_t *dim, const hm_tensor **out,
                         himmel_error *err)
{
    *out = NULL;
    const st_entry *e = hm_st_entry(st, name);
    if (!e) return hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%.100s\" is missing", st->path, name);
    bool same = e->t.nd == nd && e->type->dtype != HM_N_DTYPES;
    for (int i = 0; same && i < nd; i++) same = dim[i] < 0 || dim[i] == e->t.dim[i];
    char have[160], want[160];
    if (!same)
        return hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%.100s\" is %s, the model wants %s", st->path, name,
                       describe(have, e->type->name, e->t.nd, e->t.dim), describe(want, "numbers", nd, dim));
    *out = &e->t;
    return HIMMEL_OK;
}
