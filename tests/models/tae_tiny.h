/* tae_tiny.h - a tiny decoder in TAEHV's layout of random numbers, even smaller than the makers'.   SPDX-License-Identifier: MIT */
#ifndef TAE_TINY_H
#define TAE_TINY_H

#include <math.h>
#include <stdlib.h>

#include "formats/safetensors.h"

static const int width_of[4] = {24, 16, 8, 8}; /* 256, 128, 64, 64 in the makers' files */
typedef struct {
    char name[48];
    int64_t dim[4];
    int nd;
    float *v;
} param;
static param params[64];
static int n_params;
static uint32_t state = 1;

static inline float *tae_tiny_add(const char *name, int nd, const int64_t *dim)
{
    param *p = &params[n_params++];
    int64_t n = 1;
    snprintf(p->name, sizeof p->name, "%s", name);
    p->nd = nd;
    for (int i = 0; i < nd; i++) n *= p->dim[i] = dim[i];
    p->v = malloc((size_t)n * sizeof *p->v);
    const double fan = nd > 1 ? (double)n / (double)dim[0] : 16;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        p->v[i] = (float)(((double)(state >> 8) * 0x1p-24 - 0.5) * 3.5 / sqrt(fan));
    }
    return p->v;
}

/* patch: pixels of a position; frames: that stage i makes of one. */
static inline himmel_status tae_tiny_write(const char *path, int channels, int patch, const int frames[3], himmel_error *err)
{
    char name[48];
    n_params = 0;
    tae_tiny_add("decoder.1.weight", HM_DIMS(width_of[0], channels, 3, 3));
    tae_tiny_add("decoder.1.bias", HM_DIMS(width_of[0]));
    for (int i = 0; i < 3; i++) {
        const int C = width_of[i];
        for (int b = 3 + 6 * i; b < 6 + 6 * i; b++)
            for (int k = 0; k < 3; k++) {
                snprintf(name, sizeof name, "decoder.%d.conv.%d.weight", b, 2 * k);
                tae_tiny_add(name, HM_DIMS(C, k ? C : 2 * C, 3, 3));
                snprintf(name, sizeof name, "decoder.%d.conv.%d.bias", b, 2 * k);
                tae_tiny_add(name, HM_DIMS(C));
            }
        snprintf(name, sizeof name, "decoder.%d.conv.weight", 7 + 6 * i);
        tae_tiny_add(name, HM_DIMS(frames[i] * C, C, 1, 1));
        snprintf(name, sizeof name, "decoder.%d.weight", 8 + 6 * i);
        tae_tiny_add(name, HM_DIMS(width_of[i + 1], C, 3, 3));
    }
    tae_tiny_add("decoder.22.weight", HM_DIMS(3 * patch * patch, width_of[3], 3, 3));
    tae_tiny_add("decoder.22.bias", HM_DIMS(3 * patch * patch));
    hm_st_writer *w = hm_st_writer_new();
    himmel_status rc = HIMMEL_OK;
    for (int i = 0; i < n_params && !rc; i++) rc = hm_st_add(w, params[i].name, HM_F32, params[i].nd, params[i].dim, params[i].v, err);
    if (!rc) rc = hm_st_write(w, path, err);
    hm_st_writer_free(w);
    return rc;
}

static inline void tae_tiny_drop(void)
{
    for (int i = 0; i < n_params; i++) free(params[i].v);
}

#endif
