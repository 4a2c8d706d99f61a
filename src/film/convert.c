/* convert.c - weights from one number format into another.   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "film/film.h"
#include "formats/safetensors.h"
#include "models/int8.h"

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), k = strlen(end);
    return n > k && !strcmp(s + n - k, end);
}

/* Weights that are numbers times a scale in another tensor would lose it. himmel-1's are read as f32 and bf16 alone. */
static himmel_status check(const hm_st *st, hm_dtype type, himmel_error *err)
{
    static const char *const scales[] = {"scaled_fp8", ".scale_weight", ".weight_scale", ".scale_input", ".input_scale", ".weight_scale_inv", ".quant_state", ".absmax"};
    const char *unread = hm_st_unread(st), *name;
    if (unread) return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\" is of a type that cannot be passed on", hm_st_path(st), unread);
    if (type == HM_Q8_0 && hm_st_meta(st, "himmel.data_manifest_sha256"))
        return hm_fail(err, HIMMEL_EINVAL, "%s: himmel-1's weights are not kept as q8_0", hm_st_path(st));
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

/* What stays exact in a Q8_0 file: all but the large linear layers, and of these what llama.cpp's quantiser leaves alone in Wan,
 * LTX-Video and T5 (first and last layers, embeddings of time, tables), and autoencoders. */
static bool stays(const char *name, const hm_tensor *t)
{
    static const char *const parts[] = {"modulation",     "patch_embedding", "text_embedding", "time_embedding",   "time_projection", "img_emb.",
                                        "head.",          "adaln_single.",   "time_embed.",    "caption_projection.", "patchify_proj.", "proj_in.",
                                        "proj_out.",      "condition_embedder.", "time_embedder.", "relative_attention_bias", "attn_rel_b", "pos_embedding", "norm"};
    if (t->nd != 2 || t->dim[1] % hm_dtype_block(HM_Q8_0) || hm_numel(t) < 1024 || !ends_with(name, ".weight") || !strncmp(name, "vae.", 4)) return true;
    for (size_t i = 0; i < HM_COUNT(parts); i++)
        if (strstr(name, parts[i])) return true;
    return false;
}

static hm_dtype goal(const char *name, const hm_tensor *t, hm_dtype type)
{
    if (!hm_is_weight(t->dtype)) return t->dtype;
    if (type != HM_Q8_0 || !stays(name, t)) return type;
    return t->dtype <= HM_F16 ? t->dtype : HM_BF16; /* fp8 has no type in GGUF */
}

/* Programs that read GGUF ask which model it is. */
static himmel_status add_architecture(hm_st_writer *w, const hm_st *st, himmel_error *err)
{
    static const struct { const char *part, *name; } known[] = {{"transformer_blocks.0.attn1.q_norm.weight", "ltxv"},
                                                                {"blocks.0.self_attn.norm_q.weight", "wan"},
                                                                {"encoder.block.0.layer.0.SelfAttention.q.weight", "t5encoder"}};
    const char *name;
    for (size_t i = 0; i < hm_st_count(st); i++)
        for (size_t k = 0; k < HM_COUNT(known); k++) {
            hm_st_at(st, i, &name);
            if (ends_with(name, known[k].part) || !strcmp(name, known[k].part)) return hm_st_add_meta(w, "general.architecture", known[k].name, err);
        }
    return HIMMEL_OK;
}

/* ---- int8: of the blocks' linear layers rows and scales, as --precision int8 rounds them; else nothing larger than bf16 stays ---- */

static float int8_row(const hm_tensor *t, int64_t row, int8_t *q, bool *ok)
{
    float *room = malloc(2 * (size_t)t->dim[1] * sizeof *room);
    int8_t *own = q ? NULL : malloc((size_t)t->dim[1]);
    *ok = room && (q || own);
    const float scale = *ok ? hm_int8_row(q ? q : own, t, row, room) : 0;
    free(room);
    free(own);
    return scale;
}

static bool make_row(const hm_tensor *t, int64_t row, void *out)
{
    bool ok;
    int8_row(t, row, out, &ok);
    return ok;
}

static bool make_scale(const hm_tensor *t, int64_t row, void *out)
{
    bool ok;
    const float scale = int8_row(t, row, NULL, &ok);
    memcpy(out, &scale, sizeof scale);
    return ok;
}

static himmel_status add_int8(hm_st_writer *w, const char *name, const hm_tensor *t, himmel_converted *c, himmel_error *err)
{
    char scale[512];
    c->n_tensors++;
    if (!hm_is_weight(t->dtype) || !hm_int8_takes(name, t->nd))
        return hm_st_add_as(w, name, !hm_is_weight(t->dtype) || t->dtype <= HM_F16 ? t->dtype : HM_BF16, t, err);
    c->n_converted++;
    snprintf(scale, sizeof scale, "%.400s_scale", name);
    const himmel_status rc = hm_st_add_made(w, name, HM_I8, 2, t->dim, t, make_row, err);
    return rc ? rc : hm_st_add_made(w, scale, HM_F32, HM_DIMS(t->dim[0]), t, make_scale, err);
}

static himmel_status add_all(hm_st_writer *w, const hm_st *st, hm_dtype type, himmel_converted *c, himmel_error *err)
{
    const char *name, *value;
    himmel_status rc = HIMMEL_OK;
    for (size_t i = 0; hm_st_meta_at(st, i, &name, &value) && !rc; i++) rc = hm_st_add_meta(w, name, value, err);
    for (size_t i = 0; i < hm_st_count(st) && !rc; i++) {
        const hm_tensor *t = hm_st_at(st, i, &name);
        if (type == HM_I8) {
            rc = add_int8(w, name, t, c, err);
            continue;
        }
        const hm_dtype to = goal(name, t, type);
        rc = hm_st_add_as(w, name, to, t, err);
        c->n_tensors++;
        c->n_converted += to != t->dtype;
    }
    return rc;
}

static himmel_status check_output(const char *output, hm_dtype type, himmel_error *err)
{
    const bool gguf = ends_with(output, ".gguf");
    if (gguf && type == HM_I8) return hm_fail(err, HIMMEL_EINVAL, "%s: must end in .safetensors", output);
    if (!gguf && (type == HM_Q8_0 || !ends_with(output, ".safetensors")))
        return hm_fail(err, HIMMEL_EINVAL, "%s: must end in %s", output, type == HM_Q8_0 ? ".gguf" : ".safetensors or .gguf");
    return HIMMEL_OK;
}

himmel_status himmel_convert(const char *input, const char *output, const char *type, himmel_progress_fn *on_progress, void *user,
                             himmel_converted *out, himmel_error *err)
{
    static const struct { const char *name; hm_dtype type; } types[] = {{"bf16", HM_BF16}, {"f16", HM_F16}, {"f32", HM_F32}, {"q8_0", HM_Q8_0}, {"int8", HM_I8}};
    himmel_converted c = {0};
    listener l = {on_progress, user, hm_now()};
    hm_st_writing how = {.on_tensor = on_tensor, .user = &l};
    hm_st *st;
    size_t k = 0;
    while (k < HM_COUNT(types) && strcmp(type, types[k].name)) k++;
    if (k == HM_COUNT(types)) return hm_fail(err, HIMMEL_EINVAL, "%.40s: no type that weights can have here: bf16, int8, q8_0, f16 and f32 are", type);
    himmel_status rc = check_output(output, types[k].type, err);
    if (!rc) rc = hm_st_open(&st, input, err);
    if (rc) return rc;
    const bool int8 = types[k].type == HM_I8;
    hm_st_writer *w = hm_st_writer_new();
    rc = w ? check(st, types[k].type, err) : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", output);
    if (!rc && int8 && !hm_model_family(input))
        rc = hm_fail(err, HIMMEL_EINVAL, "%s: int8 is for transformers of Wan and LTX-Video: others are not computed in it", input);
    if (!rc) rc = add_all(w, st, types[k].type, &c, err);
    if (!rc && int8) rc = hm_st_add_meta(w, HM_ST_INT8_KEY, "1", err);
    if (!rc && ends_with(output, ".gguf") && !hm_st_meta(st, "general.architecture")) rc = add_architecture(w, st, err);
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
