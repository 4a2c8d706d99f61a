/* dit_detect.c - LTX-Video's transformer in a file: below which prefix, in whose names, and its sizes from its shapes.
 * SPDX-License-Identifier: MIT
 * Released checkpoints have "model.diffusion_model."; GGUF files (city96's and others) the same names without it; diffusers has
 * four modules under other names (scripts/convert_ltx_to_diffusers.py). The number of heads is in no shape: all released
 * models have 32. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "models/ltx/dit.h"

static const struct { const char *original, *diffusers; } names[] = {
    {"patchify_proj.", "proj_in."}, {"adaln_single.", "time_embed."}, {".q_norm.", ".norm_q."}, {".k_norm.", ".norm_k."}};

bool hm_dit_other_name(char out[256], const char *name)
{
    for (size_t i = 0; i < 2 * HM_COUNT(names); i++) {
        const char *from = i % 2 ? names[i / 2].diffusers : names[i / 2].original, *to = i % 2 ? names[i / 2].original : names[i / 2].diffusers;
        const char *at = strstr(name, from);
        if (!at || (*from != '.' && at != name)) continue; /* modules stand at the beginning, norms in a block */
        return snprintf(out, 256, "%.*s%s%s", (int)(at - name), name, to, at + strlen(from)) < 256;
    }
    return false;
}

const hm_tensor *hm_dit_find(const hm_st *st, const char *prefix, const char *name)
{
    char other[256], full[320];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const hm_tensor *t = hm_st_find(st, full);
    if (t || !hm_dit_other_name(other, name)) return t;
    snprintf(full, sizeof full, "%s%s", prefix, other);
    return hm_st_find(st, full);
}

static int count_layers(const hm_st *st, const char *prefix)
{
    char name[64];
    int n = 0;
    do snprintf(name, sizeof name, "transformer_blocks.%d.attn1.to_q.weight", n);
    while (n < 1000 && hm_dit_find(st, prefix, name) && ++n);
    return n;
}

static int size(const hm_st *st, const char *prefix, const char *name, int axis)
{
    const hm_tensor *t = hm_dit_find(st, prefix, name);
    return t && axis < t->nd && t->dim[axis] <= 65536 ? (int)t->dim[axis] : 0;
}

static himmel_status read_sizes(const hm_st *st, const char *prefix, hm_dit_config *c, himmel_error *err)
{
    enum { HEADS = 32 };
    const int D = size(st, prefix, "patchify_proj.weight", 0);
    *c = (hm_dit_config){.in_channels = size(st, prefix, "patchify_proj.weight", 1),
                         .out_channels = size(st, prefix, "proj_out.weight", 0),
                         .n_layers = count_layers(st, prefix),
                         .n_heads = HEADS,
                         .head_dim = D / HEADS,
                         .caption_channels = size(st, prefix, "caption_projection.linear_1.weight", 1),
                         .rope_theta = 10000,
                         .max_pos = {20, 2048, 2048},
                         .norm_eps = 1e-6f};
    if (!c->in_channels || !c->out_channels || !c->n_layers || !c->caption_channels || !c->head_dim || D % HEADS)
        return hm_fail(err, HIMMEL_EMODEL, "%s: the sizes of this LTX-Video transformer do not fit together: %d wide, %d layers, %d channels in, %d out",
                       hm_st_path(st), D, c->n_layers, c->in_channels, c->out_channels);
    return HIMMEL_OK;
}

bool hm_dit_claims(const hm_st *st, char prefix[64])
{
    static const char *const prefixes[] = {"model.diffusion_model.", "", "diffusion_model.", "transformer.", "model."};
    static const char *const wanted[] = {"patchify_proj.weight", "adaln_single.linear.weight", "transformer_blocks.0.attn1.q_norm.weight",
                                         "caption_projection.linear_1.weight", "proj_out.weight"};
    for (size_t i = 0; i < HM_COUNT(prefixes); i++) {
        size_t k = 0;
        while (k < HM_COUNT(wanted) && hm_dit_find(st, prefixes[i], wanted[k])) k++;
        if (k < HM_COUNT(wanted) || hm_dit_find(st, prefixes[i], "transformer_blocks.0.audio_attn1.to_q.weight")) continue; /* LTX-2 */
        strcpy(prefix, prefixes[i]);
        return true;
    }
    return false;
}

himmel_status hm_dit_detect(const hm_st *st, hm_dit_config *cfg, char prefix[64], himmel_error *err)
{
    if (!hm_dit_claims(st, prefix))
        return hm_fail(err, HIMMEL_EMODEL, "%s is not an LTX-Video transformer: it has no patchify_proj, blocks and proj_out", hm_st_path(st));
    const char *config = hm_st_meta(st, "config");
    return config ? hm_dit_config_parse(cfg, config, err) : read_sizes(st, prefix, cfg, err);
}
