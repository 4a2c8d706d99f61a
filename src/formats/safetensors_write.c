/* safetensors_write.c - named tensors -> a safetensors or GGUF file, complete or not there.   SPDX-License-Identifier: MIT
 * In safetensors tensors are laid out by falling element size (so that each is aligned), else, and in GGUF, in the order of
 * adding; the header is padded so that data begins at a multiple of 64 bytes (GGUF: 32). Same input, same bytes. Written
 * beside the target, synced, renamed. */
#include "formats/st_write.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/sha256.h"

enum { STRIP = 1 << 18 }; /* numbers converted at a time; a multiple of every block */

hm_st_writer *hm_st_writer_new(void)
{
    hm_st_writer *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->meta = json_object();
    w->names = json_object();
    if (w->meta && w->names) return w;
    hm_st_writer_free(w);
    return NULL;
}

void hm_st_writer_free(hm_st_writer *w)
{
    if (!w) return;
    for (size_t i = 0; i < w->n; i++) free(w->item[i].name);
    free(w->item);
    json_decref(w->meta);
    json_decref(w->names);
    free(w);
}

himmel_status hm_st_add(hm_st_writer *w, const char *name, hm_dtype dtype, int nd, const int64_t *dim,
                        const void *data, himmel_error *err)
{
    st_item it = {.data = data, .dtype = dtype, .from = dtype, .nd = nd, .order = w->n};
    const int64_t block = hm_dtype_block(dtype);
    uint64_t numbers = 1;
    bool ok = nd >= 0 && nd <= HM_MAX_DIM && (block == 1 || (nd && dim[nd - 1] % block == 0));
    for (int i = 0; ok && i < nd; i++) {
        it.dim[i] = dim[i];
        ok = dim[i] >= 0 && hm_mul(numbers, (uint64_t)dim[i], &numbers) && numbers <= (uint64_t)1 << 48;
    }
    if (ok) it.bytes = hm_dtype_bytes(dtype, numbers);
    if (!ok) return hm_fail(err, HIMMEL_EINVAL, "tensor \"%.100s\": its shape cannot be written", name);
    if (!strcmp(name, "__metadata__") || json_object_get(w->names, name))
        return hm_fail(err, HIMMEL_EINVAL, "tensor \"%.100s\" is already in the file", name);
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return hm_fail(err, HIMMEL_EINVAL, "a tensor name has a control character");
    if (w->n == w->cap) {
        const size_t cap = w->cap ? 2 * w->cap : 64;
        st_item *bigger = realloc(w->item, cap * sizeof *bigger);
        if (!bigger) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
        w->item = bigger;
        w->cap = cap;
    }
    if (json_object_set_new(w->names, name, json_true()))
        return hm_fail(err, HIMMEL_EINVAL, "tensor name \"%.100s\" is not UTF-8", name);
    it.name = strdup(name);
    if (!it.name) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    w->item[w->n++] = it;
    return HIMMEL_OK;
}

himmel_status hm_st_add_as(hm_st_writer *w, const char *name, hm_dtype dtype, const hm_tensor *t, himmel_error *err)
{
    const bool can = dtype == HM_F32 || dtype == HM_BF16 || dtype == HM_F16 || dtype == HM_Q8_0;
    if (t->dtype != dtype && (!hm_is_weight(t->dtype) || !can))
        return hm_fail(err, HIMMEL_EINVAL, "tensor \"%.100s\" is %s and cannot become %s", name, hm_dtype_name(t->dtype), hm_dtype_name(dtype));
    const himmel_status rc = hm_st_add(w, name, dtype, t->nd, t->dim, t->data, err);
    if (!rc) w->item[w->n - 1].from = t->dtype;
    return rc;
}

himmel_status hm_st_add_made(hm_st_writer *w, const char *name, hm_dtype dtype, int nd, const int64_t *dim, const hm_tensor *t, hm_st_make_fn *make,
                             himmel_error *err)
{
    const himmel_status rc = hm_st_add(w, name, dtype, nd, dim, NULL, err);
    if (!rc) w->item[w->n - 1].make = make, w->item[w->n - 1].t = t;
    return rc;
}

himmel_status hm_st_add_meta(hm_st_writer *w, const char *key, const char *value, himmel_error *err)
{
    if (json_object_set_new(w->meta, key, json_string(value)))
        return hm_fail(err, HIMMEL_EINVAL, "metadata \"%.100s\" is not UTF-8", key);
    return HIMMEL_OK;
}

static int order_size(const void *pa, const void *pb)
{
    const st_item *a = pa, *b = pb;
    const size_t sa = hm_dtype_size(a->dtype), sb = hm_dtype_size(b->dtype);
    if (sa != sb) return sa > sb ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static json_t *item_json(const st_item *it, uint64_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; i < it->nd; i++) json_array_append_new(shape, json_integer((json_int_t)it->dim[i]));
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", hm_dtype_name(it->dtype), "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)(begin + it->bytes));
}

/* 8 length bytes and the padded JSON; NULL: err says why. */
static char *format_header(hm_st_writer *w, size_t *len, himmel_error *err)
{
    for (size_t i = 0; i < w->n; i++)
        if (!hm_dtype_size(w->item[i].dtype)) {
            hm_fail(err, HIMMEL_EINVAL, "tensor \"%.100s\" is %s, which only GGUF files have", w->item[i].name, hm_dtype_name(w->item[i].dtype));
            return NULL;
        }
    if (w->n) qsort(w->item, w->n, sizeof *w->item, order_size);
    json_t *root = json_object();
    int bad = json_object_size(w->meta) ? json_object_set(root, "__metadata__", w->meta) : 0;
    uint64_t at = 0;
    for (size_t i = 0; i < w->n && !bad; i++) {
        bad = json_object_set_new(root, w->item[i].name, item_json(&w->item[i], at));
        at += w->item[i].bytes;
    }
    const size_t n = bad ? 0 : json_dumpb(root, NULL, 0, JSON_COMPACT);
    const size_t total = (8 + n + 63) / 64 * 64;
    char *h = n ? malloc(total) : NULL;
    if (h) {
        for (int i = 0; i < 8; i++) h[i] = (char)((uint64_t)(total - 8) >> 8 * i & 255);
        memset(h + 8, ' ', total - 8);
        json_dumpb(root, h + 8, n, JSON_COMPACT);
        *len = total;
    } else {
        hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    }
    json_decref(root);
    return h;
}

typedef struct {
    int fd;
    hm_sha256 *sha; /* NULL: not asked for */
    float *f32;     /* [STRIP], and as written behind them; NULL until something is converted */
    uint64_t align; /* of each tensor's end */
    himmel_error *err;
} output;

static himmel_status write_bytes(output *o, const void *data, uint64_t len)
{
    const char *p = data;
    if (o->sha) hm_sha256_add(o->sha, data, (size_t)len);
    while (len) {
        const ssize_t n = write(o->fd, p, (size_t)HM_MIN(len, (uint64_t)1 << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return HIMMEL_EIO;
        p += n;
        len -= (uint64_t)n;
    }
    return HIMMEL_OK;
}

/* Numbers that are finite in from and not in to do not fit; blocks have a scale, so nothing that is not finite does. */
static himmel_status check_range(const output *o, const st_item *it, const float *from, const void *to, float *back, size_t n)
{
    const size_t block = (size_t)hm_dtype_block(it->dtype);
    hm_convert(back, HM_F32, to, it->dtype, n);
    for (size_t i = 0; i < n; i++) {
        if (isfinite(back[i]) || (block == 1 && !isfinite(from[i]))) continue;
        size_t most = i; /* the block's number that its scale cannot reach */
        for (size_t k = i; k < i / block * block + block && block > 1 && isfinite(from[most]); k++)
            if (!(fabsf(from[k]) <= fabsf(from[most]))) most = k;
        return hm_fail(o->err, HIMMEL_EINVAL, "tensor \"%.100s\" has the number %g, which %s cannot hold", it->name, from[most], hm_dtype_name(it->dtype));
    }
    return HIMMEL_OK;
}

static himmel_status write_made(output *o, const st_item *it)
{
    const uint64_t one = it->bytes / (uint64_t)HM_MAX(it->dim[0], (int64_t)1);
    void *row = malloc(one + 1);
    himmel_status rc = row ? HIMMEL_OK : hm_fail(o->err, HIMMEL_ENOMEM, "out of memory");
    for (int64_t r = 0; r < it->dim[0] && !rc; r++) {
        if (!it->make(it->t, r, row)) rc = hm_fail(o->err, HIMMEL_ENOMEM, "out of memory");
        if (!rc) rc = write_bytes(o, row, one);
    }
    free(row);
    return rc;
}

static himmel_status write_item(output *o, const st_item *it)
{
    if (it->make) return write_made(o, it);
    if (it->from == it->dtype) return write_bytes(o, it->data, it->bytes);
    if (!o->f32) o->f32 = malloc(3 * STRIP * sizeof *o->f32);
    if (!o->f32) return hm_fail(o->err, HIMMEL_ENOMEM, "out of memory");
    uint64_t all = 1;
    for (int i = 0; i < it->nd; i++) all *= (uint64_t)it->dim[i];
    float *to = o->f32 + STRIP, *back = to + STRIP;
    himmel_status rc = HIMMEL_OK;
    for (uint64_t at = 0; at < all && !rc; at += STRIP) {
        const size_t n = (size_t)HM_MIN((uint64_t)STRIP, all - at);
        hm_convert(o->f32, HM_F32, (const char *)it->data + hm_dtype_bytes(it->from, at), it->from, n);
        hm_convert(to, it->dtype, o->f32, HM_F32, n);
        rc = check_range(o, it, o->f32, to, back, n);
        if (!rc) rc = write_bytes(o, to, hm_dtype_bytes(it->dtype, n));
    }
    return rc;
}

static himmel_status fill_up(output *o, uint64_t bytes)
{
    static const char zeros[GGUF_ALIGN];
    return write_bytes(o, zeros, (o->align - bytes % o->align) % o->align);
}

static himmel_status write_all(hm_st_writer *w, output *o, const char *header, size_t len, hm_st_writing *how)
{
    himmel_status rc = write_bytes(o, header, len);
    for (size_t i = 0; i < w->n && !rc; i++) {
        rc = write_item(o, &w->item[i]);
        if (!rc) rc = fill_up(o, w->item[i].bytes);
        if (!rc && how && how->on_tensor && how->on_tensor(how->user, i + 1, w->n))
            rc = hm_fail(o->err, HIMMEL_ECANCELLED, "stopped after tensor %zu of %zu", i + 1, w->n);
    }
    return rc ? rc : fsync(o->fd) ? HIMMEL_EIO : HIMMEL_OK;
}

static bool is_gguf(const char *path)
{
    const size_t n = strlen(path);
    return n > 5 && !strcmp(path + n - 5, ".gguf");
}

himmel_status hm_st_write_with(hm_st_writer *w, const char *path, hm_st_writing *how, himmel_error *err)
{
    char tmp[4096];
    hm_sha256 sha;
    uint8_t digest[32];
    if ((size_t)snprintf(tmp, sizeof tmp, "%s.part", path) >= sizeof tmp)
        return hm_fail(err, HIMMEL_EINVAL, "%.100s...: path is too long", path);
    size_t len = 0;
    const bool gguf = is_gguf(path);
    himmel_error why_not = {0};
    char *header = gguf ? hm_gguf_header(w, &len, &why_not) : format_header(w, &len, &why_not);
    if (!header) return hm_fail(err, why_not.code, "%s: %.400s", path, why_not.message);
    output o = {.fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), .sha = how ? &sha : NULL, .align = gguf ? GGUF_ALIGN : 1, .err = err};
    if (o.fd < 0) {
        free(header);
        return hm_fail(err, HIMMEL_EIO, "%s: cannot create: %s", tmp, strerror(errno));
    }
    hm_sha256_init(&sha);
    himmel_status rc = write_all(w, &o, header, len, how);
    int why = errno;
    close(o.fd);
    free(header);
    free(o.f32);
    if (!rc && rename(tmp, path)) rc = HIMMEL_EIO, why = errno;
    hm_sha256_end(&sha, digest);
    if (!rc && how) hm_sha256_hex(digest, how->sha256);
    if (rc) unlink(tmp);
    return rc == HIMMEL_EIO ? hm_fail(err, HIMMEL_EIO, "%s: cannot write: %s", path, strerror(why)) : rc;
}

himmel_status hm_st_write(hm_st_writer *w, const char *path, himmel_error *err)
{
    return hm_st_write_with(w, path, NULL, err);
}
