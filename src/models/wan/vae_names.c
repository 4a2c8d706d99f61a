/* vae_names.c - the tensors of Wan's autoencoders under diffusers' names.   SPDX-License-Identifier: MIT
 * The original numbers the layers of a residual block (0 norm, 2 convolution, 3 norm, 6 convolution) and, in 2.1, all blocks
 * of a side in one list; diffusers names the former and, on the way up, groups the latter by stage.
 * Source of the names: diffusers autoencoder_kl_wan.py. */
#include <stdio.h>
#include <string.h>
#include "models/wan/vae_ops.h"

static const char *const ends[][2] = {{"residual.0.", "norm1."},    {"residual.2.", "conv1."},   {"residual.3.", "norm2."},
                                      {"residual.6.", "conv2."},    {"shortcut.", "conv_shortcut."}};
static const char *const whole[][2] = {
    {"encoder.conv1.", "encoder.conv_in."},   {"decoder.conv1.", "decoder.conv_in."},
    {"encoder.head.0.", "encoder.norm_out."}, {"decoder.head.0.", "decoder.norm_out."},
    {"encoder.head.2.", "encoder.conv_out."}, {"decoder.head.2.", "decoder.conv_out."},
    {"conv1.", "quant_conv."},                {"conv2.", "post_quant_conv."}};

static bool starts(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

/* "residual.2.weight" -> "conv1.weight" */
static void layer(char out[128], const char *rest)
{
    for (size_t i = 0; i < HM_COUNT(ends); i++)
        if (starts(rest, ends[i][0])) {
            snprintf(out, 128, "%s%s", ends[i][1], rest + strlen(ends[i][0]));
            return;
        }
    snprintf(out, 128, "%s", rest);
}

static bool resamples(const char *rest) { return starts(rest, "resample.") || starts(rest, "time_conv."); }

/* Blocks on the way down or up; four to a stage on the way up of 2.1, the fourth enlarges. */
static bool block(char out[256], const char *name)
{
    char rest[100], inner[128];
    int i, j;
    const bool down = starts(name, "encoder.");
    const char *flat = down ? "encoder.downsamples.%d.%99s" : "decoder.upsamples.%d.%99s";
    const char *nested = down ? "encoder.downsamples.%d.downsamples.%d.%99s" : "decoder.upsamples.%d.upsamples.%d.%99s";
    const char *side = down ? "encoder.down_blocks" : "decoder.up_blocks", *change = down ? "downsampler" : "upsampler";
    if (sscanf(name, nested, &i, &j, rest) == 3) {
        layer(inner, rest);
        if (resamples(rest)) snprintf(out, 256, "%s.%d.%s.%s", side, i, change, rest);
        else snprintf(out, 256, "%s.%d.resnets.%d.%s", side, i, j, inner);
        return true;
    }
    if (sscanf(name, flat, &i, rest) != 2) return false;
    layer(inner, rest);
    if (down) snprintf(out, 256, "%s.%d.%s", side, i, inner);
    else if (resamples(rest)) snprintf(out, 256, "%s.%d.upsamplers.0.%s", side, i / 4, rest);
    else snprintf(out, 256, "%s.%d.resnets.%d.%s", side, i / 4, i % 4, inner);
    return true;
}

static bool middle(char out[256], const char *name)
{
    char rest[100], inner[128];
    int i;
    if (sscanf(name + 8, "middle.%d.%99s", &i, rest) != 2) return false;
    layer(inner, rest);
    if (i == 1) snprintf(out, 256, "%.8smid_block.attentions.0.%s", name, rest);
    else snprintf(out, 256, "%.8smid_block.resnets.%d.%s", name, i / 2, inner);
    return true;
}

void hm_wv_diffusers(char out[256], const char *name)
{
    for (size_t i = 0; i < HM_COUNT(whole); i++)
        if (starts(name, whole[i][0])) {
            snprintf(out, 256, "%s%s", whole[i][1], name + strlen(whole[i][0]));
            return;
        }
    if (starts(name, "encoder.") || starts(name, "decoder."))
        if (block(out, name) || middle(out, name)) return;
    snprintf(out, 256, "%s", name);
}

const hm_tensor *hm_wv_find(const hm_st *st, const char *name)
{
    char other[256];
    const hm_tensor *t = hm_st_find(st, name);
    if (t) return t;
    hm_wv_diffusers(other, name);
    return hm_st_find(st, other);
}
