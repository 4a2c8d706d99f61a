/* wan_tiny.h - Wan transformers of random numbers, small, of every kind, in the original's or diffusers' names.
 * SPDX-License-Identifier: MIT
 * They go with the fixtures' tiny autoencoders, umT5 (64 wide) and CLIP (48 wide, 17 tokens). */
#ifndef WAN_TINY_H
#define WAN_TINY_H

#include <stdlib.h>
#include <string.h>

#include "models/wan/dit.h"

typedef struct {
    hm_st_writer *w;
    hm_wan_names names;
    uint32_t state;
    float *data[400];
    int n;
} wan_tiny;

static himmel_status wan_tiny_add(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot, himmel_error *err)
{
    wan_tiny *t = user;
    char other[256];
    int64_t n = 1;
    (void)slot;
    for (int i = 0; i < nd; i++) n *= dim[i];
    float *x = t->n < 400 ? malloc((size_t)n * sizeof *x) : NULL;
    if (!x || !hm_wan_rename(other, name, t->names)) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    t->data[t->n++] = x;
    for (int64_t i = 0; i < n; i++) {
        t->state = t->state * 1664525u + 1013904223u;
        x[i] = strstr(name, "norm") ? 1.0f : ((float)(t->state >> 8) * 0x1p-24f - 0.5f) * 0.15f;
    }
    return hm_st_add(t->w, other, HM_F32, nd, dim, x, err);
}

/* kind: t2v, i2v (2.1), i2v22, flf2v, ti2v, vace */
static inline himmel_status wan_tiny_write(const char *kind, const char *path, hm_wan_names names, uint32_t seed, himmel_error *err)
{
    hm_wan m = {.cfg = {.in_dim = 16, .out_dim = 16, .dim = 128, .ffn_dim = 256, .n_heads = 1, .n_layers = 2, .freq_dim = 64, .text_dim = 64,
                        .text_len = 512, .patch = {1, 2, 2}, .eps = 1e-6f}};
    if (!strcmp(kind, "ti2v")) m.cfg.in_dim = m.cfg.out_dim = 48;
    if (!strncmp(kind, "i2v", 3) || !strcmp(kind, "flf2v")) m.cfg.in_dim = 36;
    if (!strcmp(kind, "i2v") || !strcmp(kind, "flf2v")) m.cfg.clip_dim = 48;
    if (!strcmp(kind, "flf2v")) m.cfg.clip_pos = 34;
    if (!strcmp(kind, "vace")) m.cfg.n_vace = 1, m.cfg.vace_in_dim = 96;
    wan_tiny *t = calloc(1, sizeof *t);
    m.layers = calloc(2, sizeof *m.layers);
    m.vace = calloc(2, sizeof *m.vace);
    himmel_status rc = t && m.layers && m.vace ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    if (!rc) {
        t->w = hm_st_writer_new();
        t->names = names;
        t->state = seed;
        rc = hm_wan_params(&m, wan_tiny_add, t, err);
        if (!rc) rc = hm_st_write(t->w, path, err);
        for (int i = 0; i < t->n; i++) free(t->data[i]);
        hm_st_writer_free(t->w);
    }
    hm_wan_deinit(&m);
    free(t);
    return rc;
}

#endif
