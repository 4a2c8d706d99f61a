/* convert.c - weights from one number format into another.   SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/base.h"
#include "film/film.h"
#include "formats/safetensors.h"

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), k = strlen(end);
    return n > k && !strcmp(s + n - k, end);
}

/* Weights that are numbers times a scale in another tensor would lose it. */
static himmel_status check(const hm_st *st, himmel_error *err)
{
    static const char *const scales[] = {"scaled_fp8", ".scale_weight", ".weight_scale", ".scale_input", ".input_scale", ".weight_scale_inv", ".quant_state", ".absmax"};
    const char *unread = hm_st_unread(st), *name;
    if (unread) return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\" is of a type that cannot be passed on", hm_st_path(st), unread);
    for (size_t i = 0; i < hm_st_count(st); i++) {
        hm_st_at(st, i, &name);
        for (size_t k = 0; k < HM_COUNT(scales); k++)
            if (ends_with(name, scales[k]) || !strcmp(name, scales[k]))
                return hm_fail(err, HIMMEL_EINVAL, "%s: tensor \"%.100s\" has scales of other tensors: scaled weights are not converted here", hm_st_path(st), name);
    }
    return HIMMEL_OK;
}

typedef struct {
    himmel_progress_fn *tell;
    void *user;
    double start;
} listener;

static int on_tensor(void *user, size_t done, size_t n)
{
    const listener *l = user;
    const double spent = hm_now() - l->start;
    const himmel_progress p = {.phase = "convert", .step = (int64_t)done, .n_steps = (int64_t)n, .fraction = (double)done / (double)n,
                               .eta_seconds = spent / (double)done * (double)(n - done), .note = ""};
    return l->tell ? l->tell(l->user, &p) : 0;
}

static himmel_status add_all(hm_st_writer *w, const hm_st *st, hm_dtype type, himmel_converted *c, himmel_error *err)
{
    const char *name, *value;
    himmel_status rc = HIMMEL_OK;
    for (size_t i = 0; hm_st_meta_at(st, i, &name, &value) && !rc; i++) rc = hm_st_add_meta(w, name, value, err);
    for (size_t i = 0; i < hm_st_count(st) && !rc; i++) {
        const hm_tensor *t = hm_st_at(st, i, &name);
        const hm_dtype to = hm_is_weight(t->dtype) ? type : t->dtype;
        rc = hm_st_add_as(w, name, to, t, err);
        c->n_tensors++;
        c->n_converted += to != t->dtype;
    }
    return rc;
}

himmel_status himmel_convert(const char *input, const char *output, const char *type, himmel_progress_fn *on_progress, void *user,
                             himmel_converted *out, himmel_error *err)
{
    static const struct { const char *name; hm_dtype type; } types[] = {{"bf16", HM_BF16}, {"f16", HM_F16}, {"f32", HM_F32}};
    himmel_converted c = {0};
    listener l = {on_progress, user, hm_now()};
    hm_st_writing how = {.on_tensor = on_tensor, .user = &l};
    hm_st *st;
    size_t k = 0;
    while (k < HM_COUNT(types) && strcmp(type, types[k].name)) k++;
    if (k == HM_COUNT(types)) return hm_fail(err, HIMMEL_EINVAL, "%.40s: no type that weights can have here: bf16, f16 and f32 are", type);
    if (!ends_with(output, ".safetensors")) return hm_fail(err, HIMMEL_EINVAL, "%s: must end in .safetensors", output);
    himmel_status rc = hm_st_open(&st, input, err);
    if (rc) return rc;
    hm_st_writer *w = hm_st_writer_new();
    rc = w ? check(st, err) : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", output);
    if (!rc) rc = add_all(w, st, types[k].type, &c, err);
    if (!rc) rc = hm_st_write_with(w, output, &how, err);
    hm_st_writer_free(w);
    hm_st_close(st);
    hm_map map;
    if (!rc && !hm_map_open(&map, output, err)) {
        c.file_bytes = map.len;
        hm_map_close(&map);
    }
    memcpy(c.sha256, how.sha256, sizeof c.sha256);
    if (out) *out = c;
    return rc;
}
