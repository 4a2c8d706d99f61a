/* vae_guess.c - the configuration of LTX-Video's VAE from its tensors, where no header says it, and diffusers' names.
 * SPDX-License-Identifier: MIT
 *   original   decoder.up_blocks.N, encoder.down_blocks.N: residual blocks and changes of size in one row
 *   diffusers  stages of them: mid_block; up_blocks.S[.conv_in, .upsamplers.0]; down_blocks.S[.downsamplers.0, .conv_out]
 * Source of the names: diffusers scripts/convert_ltx_to_diffusers.py. What shapes do not tell is as in every released model:
 * a decoder's changes of size double all three sides, and add their rearranged input where they halve the channels; an
 * encoder's strided convolutions halve all three; padding is zeros. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/json.h"
#include "models/ltx/vae.h"

bool hm_vae_in_diffusers(const hm_st *st, const char *prefix)
{
    char name[128];
    snprintf(name, sizeof name, "%sdecoder.mid_block.resnets.0.conv1.conv.weight", prefix);
    return hm_st_find(st, name) != NULL;
}

void hm_vae_diffusers(char out[256], const char *name)
{
    static const char *const parts[][2] = {{".res_blocks.", ".resnets."},
                                           {".conv_shortcut.", ".conv_shortcut.conv."},
                                           {".norm3.norm.", ".norm3."},
                                           {"decoder.last_time_embedder.", "decoder.time_embedder."},
                                           {"decoder.last_scale_shift_table", "decoder.scale_shift_table"},
                                           {"per_channel_statistics.mean-of-means", "latents_mean"},
                                           {"per_channel_statistics.std-of-means", "latents_std"}};
    snprintf(out, 256, "%s", name);
    for (size_t i = 0; i < HM_COUNT(parts); i++) {
        const char *at = strstr(out, parts[i][0]);
        char rest[256];
        if (!at) continue;
        snprintf(rest, sizeof rest, "%s", at + strlen(parts[i][0]));
        const size_t n = (size_t)(at - out);
        snprintf(out + n, 256 - n, "%s%s", parts[i][1], rest);
    }
}

static bool is_stage(const hm_vae_block *b) { return b->kind == HM_VAE_RES && !b->single; }

/* Where block `index` of a half lies; blocks before it are known, last: none follows. */
void hm_vae_block_path(char out[128], const hm_vae_half *half, bool decoder, bool diffusers, int index, bool last)
{
    const hm_vae_block *b = &half->blocks[index];
    int stage = 0;
    for (int i = decoder; i < index + !decoder; i++) stage += is_stage(&half->blocks[i]);
    if (!diffusers) snprintf(out, 128, "%s_blocks.%d", decoder ? "decoder.up" : "encoder.down", index);
    else if (decoder && !index) snprintf(out, 128, "decoder.mid_block");
    else if (decoder) snprintf(out, 128, "decoder.up_blocks.%d%s", stage, b->kind == HM_VAE_D2S ? ".upsamplers.0" : b->single ? ".conv_in" : "");
    else if (last && is_stage(b)) snprintf(out, 128, "encoder.mid_block");
    else snprintf(out, 128, "encoder.down_blocks.%d%s", stage - 1, b->kind != HM_VAE_RES ? ".downsamplers.0" : b->single ? ".conv_out" : "");
}

typedef struct {
    const hm_st *st;
    const char *prefix;
    bool diffusers;
} source;

static const hm_tensor *find(const source *s, const char *at, const char *part)
{
    char name[256], other[256], full[320];
    snprintf(name, sizeof name, "%s%s", at, part);
    snprintf(other, sizeof other, "%s", name);
    if (s->diffusers) hm_vae_diffusers(other, name);
    snprintf(full, sizeof full, "%s%s", s->prefix, other);
    return hm_st_find(s->st, full);
}

static int count_res(const source *s, const char *at)
{
    char part[64];
    int n = 0;
    do snprintf(part, sizeof part, ".res_blocks.%d.conv1.conv.weight", n);
    while (n < 64 && find(s, at, part) && ++n);
    return n;
}

/* What the configuration says of the block at `at`; NULL: there is none. */
static json_t *guess_block(const source *s, const char *at, bool decoder, int *multiplier)
{
    const hm_tensor *one = find(s, at, ".conv1.conv.weight"), *change = find(s, at, ".conv.conv.weight"), *strided = find(s, at, ".conv.weight");
    const int n = count_res(s, at);
    const hm_tensor *t = one ? one : change ? change : strided;
    *multiplier = 1;
    if (n) return json_pack("[s,{s:i,s:b}]", "res_x", "num_layers", n, "inject_noise", find(s, at, ".res_blocks.0.per_channel_scale1") || find(s, at, ".res_blocks.0.scale1"));
    if (!t || t->nd != 5 || t->dim[0] < 1 || t->dim[1] < 1 || t->dim[0] > 65536 || t->dim[1] > 65536) return NULL;
    const int64_t out = t->dim[0], in = t->dim[1];
    if (one) {
        *multiplier = (int)(decoder ? in / out : out / in);
        return *multiplier >= 1 ? json_pack("[s,{s:i}]", "res_x_y", "multiplier", *multiplier) : NULL;
    }
    if (decoder) {
        *multiplier = (int)(8 * in / out);
        return *multiplier >= 1 ? json_pack("[s,{s:i,s:b}]", "compress_all", "multiplier", *multiplier, "residual", *multiplier > 1) : NULL;
    }
    *multiplier = change ? 2 : 1;
    const int64_t cells = 2 * in / out; /* 2 frames, 4 pixels or both become one, and the channels twice as many */
    return json_pack("[s,{}]", !change ? "compress_all" : cells == 8 ? "compress_all_res" : cells == 4 ? "compress_space_res" : "compress_time_res");
}

/* Place k of a half in order, whether a block is there or not; false: there are no more. */
static bool place(char at[128], bool decoder, bool diffusers, int k)
{
    enum { MAX_STAGES = 16 };
    static const char *const up[] = {".conv_in", ".upsamplers.0", ""}, *const down[] = {"", ".downsamplers.0", ".conv_out"};
    const int stage = (k - decoder) / 3, part = (k - decoder) % 3;
    if (!diffusers) snprintf(at, 128, "%s_blocks.%d", decoder ? "decoder.up" : "encoder.down", k);
    else if (decoder && !k) snprintf(at, 128, "decoder.mid_block");
    else if (decoder) snprintf(at, 128, "decoder.up_blocks.%d%s", stage, up[part]);
    else if (stage == MAX_STAGES) snprintf(at, 128, "encoder.mid_block");
    else snprintf(at, 128, "encoder.down_blocks.%d%s", stage, down[part]);
    return k < 1 + 3 * MAX_STAGES;
}

/* One half's blocks as the configuration lists them, a decoder's from its end; *wider: by how much its channels grow from there. */
static json_t *guess_half(const source *s, bool decoder, int *wider)
{
    json_t *list = json_array();
    char at[128];
    *wider = 1;
    for (int k = 0; place(at, decoder, s->diffusers, k); k++) {
        int multiplier;
        json_t *entry = guess_block(s, at, decoder, &multiplier);
        if (!entry) continue;
        *wider = HM_MIN(*wider * multiplier, 65536);
        if (decoder) json_array_insert_new(list, 0, entry);
        else json_array_append_new(list, entry);
    }
    return list;
}

static int size(const source *s, const char *name, int axis)
{
    const hm_tensor *t = find(s, name, "");
    return t && t->nd == 5 && t->dim[axis] <= 65536 ? (int)t->dim[axis] : 0;
}

char *hm_vae_guess(const hm_st *st, const char *prefix)
{
    const source s = {st, prefix, hm_vae_in_diffusers(st, prefix)};
    int wider_enc, wider_dec;
    json_t *enc = guess_half(&s, false, &wider_enc), *dec = guess_half(&s, true, &wider_dec);
    const int latent = size(&s, "decoder.conv_in.conv.weight", 1), patch = (int)lround(sqrt(size(&s, "encoder.conv_in.conv.weight", 1) / 3.0));
    const int coded = size(&s, "encoder.conv_out.conv.weight", 0), top = size(&s, "decoder.conv_in.conv.weight", 0);
    const bool timed = find(&s, "decoder.last_scale_shift_table", "") != NULL;
    json_t *o = json_pack("{s:s,s:s,s:i,s:i,s:i,s:b,s:b,s:b,s:s,s:i,s:i,s:o,s:o}", "_class_name", "CausalVideoAutoencoder", "norm_layer", "pixel_norm", "dims", 3,
                          "latent_channels", latent, "patch_size", patch, "use_quant_conv", 0, "causal_decoder", 0, "timestep_conditioning", timed, "latent_log_var",
                          coded == latent + 1 ? "uniform" : "per_channel", "encoder_base_channels", size(&s, "encoder.conv_in.conv.weight", 0),
                          "decoder_base_channels", HM_MAX(top / wider_dec, 0), "encoder_blocks", enc, "decoder_blocks", dec);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}
