/* dit_params.c - Wan's transformer: table of tensors, names of three conventions, sizes from shapes.
 * SPDX-License-Identifier: MIT
 * ComfyUI's files have the original names below a prefix. Sources: Wan2.1 wan/modules/model.py; diffusers
 * scripts/convert_wan_to_diffusers.py (names). Trap: diffusers' norm2 is the original's norm3 (the affine one). */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/wan/dit.h"
#include "models/int8.h"

/* ---- the table ---- */
typedef enum { S_NONE, S_D, S_6D, S_F, S_FREQ, S_TEXT, S_CLIP, S_HEAD, S_1, S_2, S_6, S_POS, N_SIZES } wan_size;
typedef enum { ALWAYS, IMAGE, POS, BEFORE, VACE } wan_when;
typedef struct {
    const char *name;
    size_t at;
    wan_size dim[3];
    wan_when when;
} wan_bind;

#define M(f) offsetof(hm_wan, f)
#define L(f) offsetof(hm_wan_layer, f)
static const wan_bind model_binds[] = {
    {"patch_embedding.bias", M(patch_b), {S_D}, ALWAYS},
    {"text_embedding.0.weight", M(text0_w), {S_D, S_TEXT}, ALWAYS},
    {"text_embedding.0.bias", M(text0_b), {S_D}, ALWAYS},
    {"text_embedding.2.weight", M(text2_w), {S_D, S_D}, ALWAYS},
    {"text_embedding.2.bias", M(text2_b), {S_D}, ALWAYS},
    {"time_embedding.0.weight", M(time0_w), {S_D, S_FREQ}, ALWAYS},
    {"time_embedding.0.bias", M(time0_b), {S_D}, ALWAYS},
    {"time_embedding.2.weight", M(time2_w), {S_D, S_D}, ALWAYS},
    {"time_embedding.2.bias", M(time2_b), {S_D}, ALWAYS},
    {"time_projection.1.weight", M(proj_w), {S_6D, S_D}, ALWAYS},
    {"time_projection.1.bias", M(proj_b), {S_6D}, ALWAYS},
    {"head.head.weight", M(head_w), {S_HEAD, S_D}, ALWAYS},
    {"head.head.bias", M(head_b), {S_HEAD}, ALWAYS},
    {"head.modulation", M(head_table), {S_1, S_2, S_D}, ALWAYS},
    {"img_emb.proj.0.weight", M(img0_w), {S_CLIP}, IMAGE},
    {"img_emb.proj.0.bias", M(img0_b), {S_CLIP}, IMAGE},
    {"img_emb.proj.1.weight", M(img1_w), {S_CLIP, S_CLIP}, IMAGE},
    {"img_emb.proj.1.bias", M(img1_b), {S_CLIP}, IMAGE},
    {"img_emb.proj.3.weight", M(img3_w), {S_D, S_CLIP}, IMAGE},
    {"img_emb.proj.3.bias", M(img3_b), {S_D}, IMAGE},
    {"img_emb.proj.4.weight", M(img4_w), {S_D}, IMAGE},
    {"img_emb.proj.4.bias", M(img4_b), {S_D}, IMAGE},
    {"img_emb.emb_pos", M(img_pos), {S_1, S_POS, S_CLIP}, POS},
    {"vace_patch_embedding.bias", M(vace_patch_b), {S_D}, VACE}};

#define LINEAR(n, w, b, o, i) {n ".weight", L(w), {o, i}, ALWAYS}, {n ".bias", L(b), {o}, ALWAYS}
#define ATTENTION(n, a)                                                                                      \
    LINEAR(n ".q", a.q_w, a.q_b, S_D, S_D), LINEAR(n ".k", a.k_w, a.k_b, S_D, S_D),                          \
        LINEAR(n ".v", a.v_w, a.v_b, S_D, S_D), LINEAR(n ".o", a.o_w, a.o_b, S_D, S_D),                      \
        {n ".norm_q.weight", L(a.norm_q), {S_D}, ALWAYS}, {n ".norm_k.weight", L(a.norm_k), {S_D}, ALWAYS}
static const wan_bind layer_binds[] = {
    ATTENTION("self_attn", self), ATTENTION("cross_attn", cross),
    {"cross_attn.k_img.weight", L(cross.k_img_w), {S_D, S_D}, IMAGE},
    {"cross_attn.k_img.bias", L(cross.k_img_b), {S_D}, IMAGE},
    {"cross_attn.v_img.weight", L(cross.v_img_w), {S_D, S_D}, IMAGE},
    {"cross_attn.v_img.bias", L(cross.v_img_b), {S_D}, IMAGE},
    {"cross_attn.norm_k_img.weight", L(cross.norm_k_img), {S_D}, IMAGE},
    {"norm3.weight", L(norm3_w), {S_D}, ALWAYS}, {"norm3.bias", L(norm3_b), {S_D}, ALWAYS},
    LINEAR("ffn.0", ffn0_w, ffn0_b, S_F, S_D), LINEAR("ffn.2", ffn2_w, ffn2_b, S_D, S_F),
    {"modulation", L(table), {S_1, S_6, S_D}, ALWAYS},
    {"before_proj.weight", L(before_w), {S_D, S_D}, BEFORE}, {"before_proj.bias", L(before_b), {S_D}, BEFORE},
    {"after_proj.weight", L(after_w), {S_D, S_D}, VACE}, {"after_proj.bias", L(after_b), {S_D}, VACE}};

static himmel_status visit(const hm_wan_config *c, const char *name, const wan_bind *b, void *base, hm_wan_param_fn *fn,
                           void *user, himmel_error *err)
{
    const int64_t head = (int64_t)c->out_dim * c->patch[0] * c->patch[1] * c->patch[2];
    const int64_t size[N_SIZES] = {[S_D] = c->dim, [S_6D] = 6 * (int64_t)c->dim, [S_F] = c->ffn_dim, [S_FREQ] = c->freq_dim,
                                   [S_TEXT] = c->text_dim, [S_CLIP] = c->clip_dim, [S_HEAD] = head, [S_1] = 1, [S_2] = 2,
                                   [S_6] = 6, [S_POS] = c->clip_pos};
    int64_t dim[3];
    int nd = 0;
    while (nd < 3 && b->dim[nd]) dim[nd] = size[b->dim[nd]], nd++;
    return fn(user, name, nd, dim, (hm_tensor **)(void *)((char *)base + b->at), err);
}

/* vace < 0: a main block; else the number of a VACE block (which has no image branch). */
static bool wanted(const hm_wan_config *c, wan_when when, int vace)
{
    switch (when) {
    case IMAGE: return c->clip_dim && vace < 0;
    case POS: return c->clip_pos > 0;
    case BEFORE: return vace == 0;
    case VACE: return vace >= 0;
    default: return true;
    }
}

static himmel_status visit_layers(hm_wan *m, bool vace, hm_wan_param_fn *fn, void *user, himmel_error *err)
{
    char name[256];
    himmel_status rc = HIMMEL_OK;
    const int n = vace ? m->cfg.n_vace : m->cfg.n_layers;
    for (int l = 0; l < n; l++)
        for (size_t i = 0; i < HM_COUNT(layer_binds) && !rc; i++) {
            if (!wanted(&m->cfg, layer_binds[i].when, vace ? l : -1)) continue;
            snprintf(name, sizeof name, "%sblocks.%d.%s", vace ? "vace_" : "", l, layer_binds[i].name);
            rc = visit(&m->cfg, name, &layer_binds[i], vace ? &m->vace[l] : &m->layers[l], fn, user, err);
        }
    return rc;
}

himmel_status hm_wan_params(hm_wan *m, hm_wan_param_fn *fn, void *user, himmel_error *err)
{
    const hm_wan_config *c = &m->cfg;
    const int64_t patch[5] = {c->dim, c->in_dim, c->patch[0], c->patch[1], c->patch[2]};
    const int64_t vace[5] = {c->dim, c->vace_in_dim, c->patch[0], c->patch[1], c->patch[2]};
    himmel_status rc = fn(user, "patch_embedding.weight", 5, patch, &m->patch_w, err);
    if (!rc && c->n_vace) rc = fn(user, "vace_patch_embedding.weight", 5, vace, &m->vace_patch_w, err);
    for (size_t i = 0; i < HM_COUNT(model_binds) && !rc; i++)
        if (wanted(c, model_binds[i].when, c->n_vace ? 0 : -1) || (model_binds[i].when == IMAGE && c->clip_dim))
            rc = visit(c, model_binds[i].name, &model_binds[i], m, fn, user, err);
    if (!rc) rc = visit_layers(m, false, fn, user, err);
    return rc ? rc : visit_layers(m, true, fn, user, err);
}

/* ---- names ---- */
static const char *const diffusers[][2] = { /* beginnings, or whole middles after "blocks.N." */
    {"text_embedding.0.", "condition_embedder.text_embedder.linear_1."},
    {"text_embedding.2.", "condition_embedder.text_embedder.linear_2."},
    {"time_embedding.0.", "condition_embedder.time_embedder.linear_1."},
    {"time_embedding.2.", "condition_embedder.time_embedder.linear_2."},
    {"time_projection.1.", "condition_embedder.time_proj."},
    {"head.head.", "proj_out."}, {"head.modulation", "scale_shift_table"},
    {"img_emb.proj.0.", "condition_embedder.image_embedder.norm1."},
    {"img_emb.proj.1.", "condition_embedder.image_embedder.ff.net.0.proj."},
    {"img_emb.proj.3.", "condition_embedder.image_embedder.ff.net.2."},
    {"img_emb.proj.4.", "condition_embedder.image_embedder.norm2."},
    {"img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"},
    {"self_attn.q.", "attn1.to_q."}, {"self_attn.k.", "attn1.to_k."}, {"self_attn.v.", "attn1.to_v."},
    {"self_attn.o.", "attn1.to_out.0."}, {"self_attn.norm_", "attn1.norm_"},
    {"cross_attn.q.", "attn2.to_q."}, {"cross_attn.k.", "attn2.to_k."}, {"cross_attn.v.", "attn2.to_v."},
    {"cross_attn.o.", "attn2.to_out.0."}, {"cross_attn.k_img.", "attn2.add_k_proj."},
    {"cross_attn.v_img.", "attn2.add_v_proj."}, {"cross_attn.norm_k_img.", "attn2.norm_added_k."},
    {"cross_attn.norm_", "attn2.norm_"}, {"norm3.", "norm2."}, {"ffn.0.", "ffn.net.0.proj."},
    {"ffn.2.", "ffn.net.2."}, {"modulation", "scale_shift_table"}, {"before_proj.", "proj_in."},
    {"after_proj.", "proj_out."}};

/* The part after the number of a block; all of it, where there is none. */
static const char *in_block(const char *name)
{
    if (strncmp(name, "blocks.", 7) && strncmp(name, "vace_blocks.", 12)) return name;
    name = strchr(name, '.') + 1;
    name += strspn(name, "0123456789");
    return name + (*name == '.');
}

bool hm_wan_other_name(char out[256], const char *name)
{
    const char *rest = in_block(name);
    if (hm_wan_rename(out, name, HM_WAN_DIFFUSERS) && strcmp(out, name)) return true;
    bool block = false; /* the table's second half is about what is in a block */
    for (size_t i = 0; i < HM_COUNT(diffusers); i++) {
        const size_t n = strlen(diffusers[i][1]);
        block |= !strcmp(diffusers[i][0], "self_attn.q.");
        if (block == (rest != name) && !strncmp(rest, diffusers[i][1], n))
            return snprintf(out, 256, "%.*s%s%s", (int)(rest - name), name, diffusers[i][0], rest + n) < 256;
    }
    return false;
}

bool hm_wan_rename(char out[256], const char *original, hm_wan_names to)
{
    const char *rest = in_block(original);
    for (size_t i = 0; to == HM_WAN_DIFFUSERS && i < HM_COUNT(diffusers); i++) {
        const size_t n = strlen(diffusers[i][0]);
        if (!strncmp(rest, diffusers[i][0], n))
            return snprintf(out, 256, "%.*s%s%s", (int)(rest - original), original, diffusers[i][1], rest + n) < 256;
    }
    return snprintf(out, 256, "%s", original) < 256;
}

/* ---- detection ---- */
static const hm_tensor *named(const hm_st *st, const char *prefix, hm_wan_names names, const char *original)
{
    char name[256], full[320];
    if (!hm_wan_rename(name, original, names)) return NULL;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return hm_st_find(st, full);
}

static int count_blocks(const hm_st *st, const char *prefix, hm_wan_names names, const char *kind)
{
    int n = 0;
    char name[64];
    do snprintf(name, sizeof name, "%s.%d.modulation", kind, n);
    while (n <= HM_WAN_MAX_LAYERS && named(st, prefix, names, name) && ++n);
    return n;
}

static int dim_of(const hm_tensor *t, int axis) { return t && axis < t->nd && t->dim[axis] < (1 << 24) ? (int)t->dim[axis] : 0; }

static himmel_status read_sizes(const hm_st *st, const char *prefix, hm_wan_names names, hm_wan_config *c, himmel_error *err)
{
#define T(n) named(st, prefix, names, n)
    const hm_tensor *patch = T("patch_embedding.weight"), *pos = T("img_emb.emb_pos");
    *c = (hm_wan_config){.in_dim = dim_of(patch, 1), .dim = dim_of(patch, 0), .ffn_dim = dim_of(T("blocks.0.ffn.0.weight"), 0),
                         .n_layers = count_blocks(st, prefix, names, "blocks"),
                         .freq_dim = dim_of(T("time_embedding.0.weight"), 1),
                         .text_dim = dim_of(T("text_embedding.0.weight"), 1), .text_len = 512,
                         .clip_dim = dim_of(T("img_emb.proj.0.weight"), 0), .clip_pos = dim_of(pos, 1),
                         .n_vace = count_blocks(st, prefix, names, "vace_blocks"),
                         .vace_in_dim = dim_of(T("vace_patch_embedding.weight"), 1), .eps = 1e-6f};
    for (int i = 0; i < 3; i++) c->patch[i] = dim_of(patch, 2 + i);
    const int volume = c->patch[0] * c->patch[1] * c->patch[2];
    c->out_dim = volume ? dim_of(T("head.head.weight"), 0) / volume : 0;
    c->n_heads = c->dim / 128; /* every released Wan has heads of 128 */
    if (c->n_vace) c->vace_every = (c->n_layers + c->n_vace - 1) / c->n_vace;
#undef T
    if (!c->in_dim || !c->dim || !c->ffn_dim || !c->n_layers || !c->freq_dim || !c->text_dim || !c->out_dim ||
        c->out_dim > c->in_dim || c->n_layers > HM_WAN_MAX_LAYERS || c->n_vace > c->n_layers || c->freq_dim % 2)
        return hm_fail(err, HIMMEL_EMODEL, "%s: the sizes of this Wan transformer do not fit together", hm_st_path(st));
    return HIMMEL_OK;
}

himmel_status hm_wan_detect(const hm_st *st, hm_wan_config *cfg, hm_wan_names *names, char prefix[64], himmel_error *err)
{
    static const char *const prefixes[] = {"", "model.diffusion_model.", "diffusion_model.", "model.", "transformer."};
    for (size_t i = 0; i < HM_COUNT(prefixes); i++)
        for (int n = HM_WAN_ORIGINAL; n <= HM_WAN_DIFFUSERS; n++) {
            if (!named(st, prefixes[i], (hm_wan_names)n, "patch_embedding.weight") ||
                !named(st, prefixes[i], (hm_wan_names)n, "blocks.0.cross_attn.norm_q.weight") ||
                !named(st, prefixes[i], (hm_wan_names)n, "head.modulation"))
                continue;
            *names = (hm_wan_names)n;
            strcpy(prefix, prefixes[i]);
            return read_sizes(st, prefix, *names, cfg, err);
        }
    return hm_fail(err, HIMMEL_EMODEL, "%s is not a Wan transformer: it has no patch_embedding, blocks and head", hm_st_path(st));
}

/* ---- loading ---- */
typedef struct {
    const hm_st *st;
    const char *prefix;
    hm_wan_names names;
} binder;

static himmel_status bind(void *user, const char *original, int nd, const int64_t *dim, hm_tensor **slot, himmel_error *err)
{
    const binder *b = user;
    char name[256], full[320];
    const hm_tensor *t;
    if (!hm_wan_rename(name, original, b->names)) return hm_fail(err, HIMMEL_EMODEL, "tensor name is too long");
    snprintf(full, sizeof full, "%s%s", b->prefix, name);
    const himmel_status rc = hm_st_need(b->st, full, nd, dim, &t, err);
    if (rc) return rc;
    if (!hm_is_weight(t->dtype) && !(t->row_scale && hm_int8_takes(original, nd)))
        return hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%.100s\" is %s, not a weight", hm_st_path(b->st), full,
                       hm_dtype_name(t->dtype));
    *slot = (hm_tensor *)(uintptr_t)t; /* weights are read only: needs_grad stays false */
    return HIMMEL_OK;
}

himmel_status hm_wan_load(hm_wan *m, const hm_wan_config *cfg, const hm_st *st, himmel_error *err)
{
    char prefix[64];
    binder b = {st, prefix, HM_WAN_ORIGINAL};
    hm_wan_config found;
    *m = (hm_wan){0};
    himmel_status rc = hm_wan_detect(st, &found, &b.names, prefix, err);
    if (rc) return rc;
    m->cfg = cfg ? *cfg : found;
    if (m->cfg.n_heads < 1 || m->cfg.dim % m->cfg.n_heads || m->cfg.dim / m->cfg.n_heads % 2)
        return hm_fail(err, HIMMEL_EMODEL, "%s: width %d does not split into %d heads", hm_st_path(st), m->cfg.dim, m->cfg.n_heads);
    m->layers = calloc((size_t)m->cfg.n_layers, sizeof *m->layers);
    m->vace = calloc((size_t)m->cfg.n_vace + 1, sizeof *m->vace);
    rc = m->layers && m->vace ? hm_wan_params(m, bind, &b, err) : hm_fail(err, HIMMEL_ENOMEM, "wan: out of memory");
    if (rc) hm_wan_deinit(m);
    return rc;
}

void hm_wan_deinit(hm_wan *m)
{
    free(m->layers);
    free(m->vace);
    *m = (hm_wan){0};
}
