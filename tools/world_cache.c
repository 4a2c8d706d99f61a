/* world_cache.c - `himmel-world cache`: footage as coefficients and tokenised captions, with a C compiler and libm only.
 * SPDX-License-Identifier: MIT
 * Rendering, codec, words and the shard's layout are the trainer's own files (src/train/cache_write.c, scenes.c,
 * src/models/himmel/codec.c, src/text). What they take from layers that need oneDNN and Jansson is small and is here: one
 * matrix product, two number formats, and safetensors files without the JSON library (plain headers only, as himmel writes). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/cache.h"
#include "world_cache.h"

/* ---- src/tensor: the types that himmel-1 files and shards have ---- */

static const struct { const char *name; size_t size; } TYPE[HM_N_DTYPES] = {
    [HM_F32] = {"F32", 4}, [HM_BF16] = {"BF16", 2}, [HM_I32] = {"I32", 4}, [HM_I64] = {"I64", 8}, [HM_U8] = {"U8", 1}};
size_t hm_dtype_size(hm_dtype t) { return TYPE[t].size; }
const char *hm_dtype_name(hm_dtype t) { return TYPE[t].name; }

int64_t hm_numel(const hm_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->nd; i++) n *= t->dim[i];
    return n;
}

/* To f32, of what a codec may be stored as. */
void hm_convert(void *dst, hm_dtype dd, const void *src, hm_dtype sd, size_t n)
{
    if (dd == HM_F32 && sd == HM_BF16)
        for (size_t i = 0; i < n; i++) ((float *)dst)[i] = hm_bf16_to_f32(((const uint16_t *)src)[i]);
    else if (dd == HM_F32 && sd == HM_F32)
        memcpy(dst, src, n * sizeof(float));
}

/* C += A B^T in f32, which is all that encoding needs; rows of B in cache-sized pieces. */
void hm_gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, hm_dtype ab, const void *a, const void *b,
             float beta, hm_dtype ct, void *c)
{
    if (ta || !tb || alpha != 1.0f || beta != 1.0f || ab != HM_F32 || ct != HM_F32) abort();
    enum { PIECE = 16 };
    for (int64_t j0 = 0; j0 < n; j0 += PIECE)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = j0; j < HM_MIN(n, j0 + PIECE); j++) {
                const float *x = (const float *)a + i * k, *y = (const float *)b + j * k;
                float s = 0;
#pragma omp simd reduction(+ : s)
                for (int64_t q = 0; q < k; q++) s += x[q] * y[q];
                ((float *)c)[i * n + j] += s;
            }
}

/* ---- src/formats: reading ---- */

typedef struct { char name[160]; hm_tensor t; } st_entry;
struct hm_st {
    hm_map map;
    const char *path;
    st_entry *entry;
    size_t n;
    int text_len;
};

typedef struct { const char *at, *end; } text;

static bool eat(text *t, char c)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n')) t->at++;
    if (t->at == t->end || *t->at != c) return false;
    t->at++;
    return true;
}
/* A string without its quotes, escapes as they stand; longer ones than cap are cut. */
static bool string(text *t, char *out, size_t cap)
{
    size_t n = 0;
    if (!eat(t, '"')) return false;
    for (; t->at < t->end && *t->at != '"'; t->at++) {
        if (*t->at == '\\' && t->at + 1 < t->end) t->at++;
        if (n + 1 < cap) out[n++] = *t->at;
    }
    out[n] = 0;
    return eat(t, '"');
}
static bool numbers(text *t, int64_t *v, int cap, int *n)
{
    *n = 0;
    if (!eat(t, '[')) return false;
    if (eat(t, ']')) return true;
    do {
        char *end;
        if (*n == cap || t->at == t->end || *t->at < '0' || *t->at > '9') return false;
        v[(*n)++] = strtoll(t->at, &end, 10); /* a digit is there, and ']' must follow inside the header */
        t->at = end;
    } while (eat(t, ','));
    return eat(t, ']');
}

static bool metadata(hm_st *st, text *t)
{
    static char value[1 << 16];
    char key[64];
    if (!eat(t, '{')) return false;
    if (eat(t, '}')) return true;
    do {
        if (!string(t, key, sizeof key) || !eat(t, ':') || !string(t, value, sizeof value)) return false;
        const char *at = !strcmp(key, "config") ? strstr(value, "\"text_len\":") : NULL;
        if (at) st->text_len = atoi(at + 11);
    } while (eat(t, ','));
    return eat(t, '}');
}

static bool entry(hm_st *st, text *t, st_entry *e, uint64_t data)
{
    char key[32], type[16] = "";
    int64_t span[2] = {0, 0};
    int n = 0;
    e->t.dtype = HM_N_DTYPES;
    if (!eat(t, '{')) return false;
    do {
        if (!string(t, key, sizeof key) || !eat(t, ':')) return false;
        if (!strcmp(key, "dtype") && !string(t, type, sizeof type)) return false;
        if (!strcmp(key, "shape") && !numbers(t, e->t.dim, HM_MAX_DIM, &e->t.nd)) return false;
        if (!strcmp(key, "data_offsets") && (!numbers(t, span, 2, &n) || n != 2)) return false;
    } while (eat(t, ','));
    for (int i = 0; i < HM_N_DTYPES; i++)
        if (TYPE[i].name && !strcmp(type, TYPE[i].name)) e->t.dtype = (hm_dtype)i;
    uint64_t bytes = e->t.dtype < HM_N_DTYPES ? TYPE[e->t.dtype].size : 0;
    for (int i = 0; i < e->t.nd; i++)
        if (!hm_mul(bytes, (uint64_t)e->t.dim[i], &bytes)) return false;
    const uint64_t from = (uint64_t)span[0], to = (uint64_t)span[1], all = st->map.len - data;
    e->t.data = (void *)(uintptr_t)(st->map.data + data + from);
    return bytes && from <= to && to <= all && to - from == bytes && eat(t, '}');
}

static int by_place(const void *a, const void *b)
{
    const char *x = ((const st_entry *)a)->t.data, *y = ((const st_entry *)b)->t.data;
    return (x > y) - (x < y);
}

himmel_status hm_st_open(hm_st **out, const char *path, himmel_error *err)
{
    hm_st *st = calloc(1, sizeof *st);
    *out = NULL;
    if (!st) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    st->path = path;
    himmel_status rc = hm_map_open(&st->map, path, err);
    uint64_t n = 0;
    for (int i = 0; !rc && st->map.len >= 8 && i < 8; i++) n |= (uint64_t)st->map.data[i] << 8 * i;
    text t = {(const char *)st->map.data + 8, (const char *)st->map.data + 8 + n};
    bool ok = !rc && n && st->map.len > 8 && n <= st->map.len - 8 && eat(&t, '{');
    while (ok) {
        st_entry e = {0}, *grown;
        ok = string(&t, e.name, sizeof e.name) && eat(&t, ':');
        if (ok && !strcmp(e.name, "__metadata__")) ok = metadata(st, &t);
        else if (ok && (ok = entry(st, &t, &e, 8 + n)) && (ok = (grown = realloc(st->entry, (st->n + 1) * sizeof e)) != NULL))
            st->entry = grown, grown[st->n++] = e;
        if (ok && !eat(&t, ',')) break;
    }
    if (!rc && (!ok || !eat(&t, '}'))) rc = hm_fail(err, HIMMEL_EFORMAT, "%s: not a safetensors file of himmel", path);
    if (rc) {
        hm_st_close(st);
        return rc;
    }
    qsort(st->entry, st->n, sizeof *st->entry, by_place); /* the codec's hash goes by place in the file */
    *out = st;
    return HIMMEL_OK;
}

void hm_st_close(hm_st *st)
{
    if (!st) return;
    hm_map_close(&st->map);
    free(st->entry);
    free(st);
}

const char *hm_st_path(const hm_st *st) { return st->path; }
size_t hm_st_count(const hm_st *st) { return st->n; }
const hm_tensor *hm_st_at(const hm_st *st, size_t i, const char **name)
{
    *name = st->entry[i].name;
    return &st->entry[i].t;
}

himmel_status hm_st_need(const hm_st *st, const char *name, int nd, const int64_t *dim, const hm_tensor **out, himmel_error *err)
{
    for (size_t i = 0; i < st->n; i++) {
        if (strcmp(st->entry[i].name, name)) continue;
        const hm_tensor *t = &st->entry[i].t;
        bool same = t->nd == nd;
        for (int k = 0; same && k < nd; k++) same = dim[k] < 0 || dim[k] == t->dim[k];
        if (!same) return hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%s\" has another shape than is wanted", st->path, name);
        *out = t;
        return HIMMEL_OK;
    }
    return hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%s\" is missing", st->path, name);
}

/* ---- src/formats: writing ---- */

enum { MAX_ITEMS = 16 };
struct hm_st_writer {
    hm_tensor item[MAX_ITEMS];
    char name[MAX_ITEMS][32], meta[1024];
    size_t n;
};
hm_st_writer *hm_st_writer_new(void) { return calloc(1, sizeof(hm_st_writer)); }
void hm_st_writer_free(hm_st_writer *w) { free(w); }

himmel_status hm_st_add(hm_st_writer *w, const char *name, hm_dtype dtype, int nd, const int64_t *dim, const void *data, himmel_error *err)
{
    if (w->n == MAX_ITEMS || nd > HM_MAX_DIM) return hm_fail(err, HIMMEL_EINVAL, "more tensors or dimensions than a shard has");
    hm_tensor *t = &w->item[w->n];
    *t = (hm_tensor){.dtype = dtype, .nd = nd, .data = (void *)(uintptr_t)data};
    for (int i = 0; i < nd; i++) t->dim[i] = dim[i];
    snprintf(w->name[w->n++], sizeof w->name[0], "%s", name);
    return HIMMEL_OK;
}

himmel_status hm_st_add_meta(hm_st_writer *w, const char *key, const char *value, himmel_error *err)
{
    const size_t at = strlen(w->meta), need = strlen(key) + strlen(value) + 8;
    if (at + need > sizeof w->meta) return hm_fail(err, HIMMEL_EINVAL, "more metadata than a shard has");
    snprintf(w->meta + at, sizeof w->meta - at, "%s\"%s\":\"%s\"", at ? "," : "", key, value);
    return HIMMEL_OK;
}

static uint64_t bytes_of(const hm_tensor *t) { return (uint64_t)hm_numel(t) * hm_dtype_size(t->dtype); }

himmel_status hm_st_write(hm_st_writer *w, const char *path, himmel_error *err)
{
    char head[8192], tmp[4096];
    hm_str s = {head + 8, sizeof head - 72, 0};
    uint64_t at = 0;
    hm_str_addf(&s, "{\"__metadata__\":{%s}", w->meta);
    for (size_t size = 8; size; size /= 2) /* wide types first, as the library's writer */
        for (size_t i = 0; i < w->n; i++) {
            const hm_tensor *t = &w->item[i];
            if (hm_dtype_size(t->dtype) != size) continue;
            hm_str_addf(&s, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", w->name[i], hm_dtype_name(t->dtype));
            for (int k = 0; k < t->nd; k++) hm_str_addf(&s, k ? ",%" PRId64 : "%" PRId64, t->dim[k]);
            hm_str_addf(&s, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, at + bytes_of(t));
            at += bytes_of(t);
        }
    hm_str_addf(&s, "}");
    const size_t total = (8 + s.len + 63) / 64 * 64;
    memset(head + 8 + s.len, ' ', total - 8 - s.len);
    for (int i = 0; i < 8; i++) head[i] = (char)((uint64_t)(total - 8) >> 8 * i & 255);
    if ((size_t)snprintf(tmp, sizeof tmp, "%s.part", path) >= sizeof tmp) return hm_fail(err, HIMMEL_EINVAL, "%.100s...: path is too long", path);
    FILE *f = fopen(tmp, "wb");
    bool ok = f && fwrite(head, 1, total, f) == total;
    for (size_t size = 8; ok && size; size /= 2)
        for (size_t i = 0; ok && i < w->n; i++) {
            const size_t n = hm_dtype_size(w->item[i].dtype) == size ? (size_t)bytes_of(&w->item[i]) : 0;
            ok = fwrite(w->item[i].data, 1, n, f) == n;
        }
    if (f && fclose(f)) ok = false;
    if (ok && !rename(tmp, path)) return HIMMEL_OK;
    remove(tmp);
    return hm_fail(err, HIMMEL_EIO, "%s: cannot write", path);
}

/* ---- the mode ---- */

static int progress(void *user, int shard, int done, double per_second)
{
    const hm_cache_opts *o = user;
    if (done == o->shard_n)
        fprintf(stderr, "shard %d of %d: %d scenes, %.2f a second\n", shard + 1, o->n_shards, done, per_second);
    return 0;
}

himmel_status hm_world_cache(const char *model, hm_cache_opts *o, himmel_error *err)
{
    hm_st *st;
    hm_codec *codec = NULL;
    hm_tokenizer *tok = NULL;
    const hm_tensor *piece;
    char hash[65];
    himmel_status rc = hm_st_open(&st, model, err);
    if (rc) return rc;
    o->text_len = st->text_len;
    hm_codec_hash(st, hash);
    if (o->captions && (o->text_len < 1 || o->text_len > HM_MAX_TEXT_LEN))
        rc = hm_fail(err, HIMMEL_EMODEL, "%s: its config has no text_len, so captions cannot be tokenised", model);
    if (!rc) rc = hm_codec_load(&codec, st, err);
    if (!rc && o->captions) rc = hm_st_need(st, "tokenizer.spiece", 1, (int64_t[]){-1}, &piece, err);
    if (!rc && o->captions) rc = hm_tok_parse(&tok, piece->data, (size_t)hm_numel(piece), model, err);
    o->tok = tok;
    if (!rc) rc = hm_cache_write(o, codec, hash, progress, o, err);
    hm_tok_free(tok);
    hm_codec_free(codec);
    hm_st_close(st);
    return rc;
}
