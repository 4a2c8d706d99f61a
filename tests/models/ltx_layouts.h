/* ltx_layouts.h - the fixtures' tiny LTX-Video as others lay it out: a bare transformer (GGUF) with the VAE in its own file, and
 * a folder as diffusers writes it.   SPDX-License-Identifier: MIT */
#ifndef LTX_LAYOUTS_H
#define LTX_LAYOUTS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"

/* One after the other, as diffusers' scripts/convert_ltx_to_diffusers.py does for 0.9.5. */
static const char *const to_diffusers[2][32][2] = {
    {{"patchify_proj", "proj_in"}, {"adaln_single", "time_embed"}, {"q_norm", "norm_q"}, {"k_norm", "norm_k"}},
    {{"up_blocks.0", "mid_block"}, {"up_blocks.1", "up_blocks.0.upsamplers.0"}, {"up_blocks.2", "up_blocks.0"},
     {"up_blocks.3", "up_blocks.1.upsamplers.0"}, {"up_blocks.4", "up_blocks.1"}, {"up_blocks.5", "up_blocks.2.upsamplers.0"},
     {"up_blocks.6", "up_blocks.2"}, {"down_blocks.1", "down_blocks.0.downsamplers.0"}, {"down_blocks.2", "down_blocks.1"},
     {"down_blocks.3", "down_blocks.1.downsamplers.0"}, {"down_blocks.4", "down_blocks.2"}, {"down_blocks.5", "down_blocks.2.downsamplers.0"},
     {"down_blocks.6", "down_blocks.3"}, {"down_blocks.7", "down_blocks.3.downsamplers.0"}, {"down_blocks.8", "mid_block"},
     {"conv_shortcut", "conv_shortcut.conv"}, {"res_blocks", "resnets"}, {"norm3.norm", "norm3"}, {"last_time_embedder", "time_embedder"},
     {"last_scale_shift_table", "scale_shift_table"}, {"per_channel_statistics.mean-of-means", "latents_mean"},
     {"per_channel_statistics.std-of-means", "latents_std"}}};

static inline void renamed(char out[256], const char *name, const char *const table[32][2])
{
    char rest[256];
    snprintf(out, 256, "%s", name);
    for (int i = 0; i < 32 && table[i][0]; i++) {
        char *at = strstr(out, table[i][0]);
        if (!at) continue;
        snprintf(rest, sizeof rest, "%s", at + strlen(table[i][0]));
        snprintf(at, (size_t)(256 - (at - out)), "%s%s", table[i][1], rest);
        if (strstr(table[i][0], "blocks.")) i = 14; /* a place is renamed once: the table's own results look like its beginnings */
    }
}

/* The tensors of from below prefix, without it, to path; in diffusers' names where table is not NULL; with config where that is. */
static inline himmel_status write_part(const char *from, const char *prefix, const char *const table[32][2], const char *config, const char *path, himmel_error *err)
{
    hm_st *st;
    himmel_status rc = hm_st_open(&st, from, err);
    if (rc) return rc;
    hm_st_writer *w = hm_st_writer_new();
    for (size_t i = 0; i < hm_st_count(st) && !rc; i++) {
        const char *name;
        char other[256];
        const hm_tensor *t = hm_st_at(st, i, &name);
        if (strncmp(name, prefix, strlen(prefix))) continue;
        name += strlen(prefix);
        if (table && strstr(name, "per_channel_statistics") && !strstr(name, "of-means")) continue; /* dropped by diffusers */
        if (table && strstr(name, "over")) continue;
        snprintf(other, sizeof other, "%s", name);
        if (table) renamed(other, name, table);
        rc = hm_st_add(w, other, t->dtype, t->nd, t->dim, t->data, err);
    }
    if (!rc && config) rc = hm_st_add_meta(w, "config", config, err);
    if (!rc) rc = hm_st_write(w, path, err);
    hm_st_writer_free(w);
    hm_st_close(st);
    return rc;
}

#endif
