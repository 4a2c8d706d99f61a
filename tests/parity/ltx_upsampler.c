/* ltx_upsampler.c - LTX's latent upsamplers and the pipelines' filters against the original.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/ltx/filters.h"
#include "models/ltx/upsampler.h"
#include "parity.h"

typedef struct {
    parity *p;
    const char *name;
    bool frames_first; /* the original has frames as a batch there: [T,C,h,w] */
} ups_case;

/* [1,T,h,w,C] against out.<case>.<what>, stored as [1,C,T,h,w] or [T,C,h,w]. */
static void compare(void *user, const char *what, const hm_tensor *t)
{
    const ups_case *c = user;
    char full[128];
    snprintf(full, sizeof full, "out.%s.%s", c->name, what);
    const hm_tensor *want = hm_st_find(c->p->st, full);
    const int64_t C = t->dim[4], area = t->dim[2] * t->dim[3], T = t->dim[1];
    if (!want) return;
    const int64_t dt = want->nd == 4 ? C * area : area, dc = want->nd == 4 ? area : T * area;
    float *x = malloc((size_t)hm_numel(t) * sizeof *x);
    if (!x) return;
    for (int64_t f = 0; f < T; f++)
        for (int64_t i = 0; i < area; i++)
            for (int64_t k = 0; k < C; k++)
                x[f * dt + k * dc + i] = ((const float *)t->data)[(f * area + i) * C + k];
    parity_compare(c->p, full, x, hm_numel(t), parity_tol(c->p, full, false));
    free(x);
}

himmel_status parity_upsampler(parity *p, himmel_error *err)
{
    const char *config = hm_st_meta(p->st, "config");
    hm_upsampler m;
    hm_graph *g = NULL;
    himmel_status rc =
        config ? hm_upsampler_load(&m, p->st, config, err) : hm_fail(err, HIMMEL_EFORMAT, "no configuration");
    if (rc) return rc;
    rc = hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32}, err);
    for (int i = 0; i < 3 && !rc; i++) {
        const char name[2] = {(char)('a' + i), 0};
        char full[32];
        snprintf(full, sizeof full, "in.%s.latents", name);
        const hm_tensor *z = hm_st_find(p->st, full);
        if (!z) continue;
        const int64_t C = z->dim[1], rows = z->dim[2] * z->dim[3] * z->dim[4];
        hm_graph_reset(g);
        hm_tensor *x = hm_new(g, HM_F32, HM_DIMS(1, z->dim[2], z->dim[3], z->dim[4], C));
        for (int64_t r = 0; r < rows; r++)
            for (int64_t k = 0; k < C; k++)
                ((float *)x->data)[r * C + k] = ((const float *)z->data)[k * rows + r];
        ups_case c = {.p = p, .name = name};
        compare(&c, "latents", hm_upsampler_forward(g, &m, x, compare, &c));
    }
    hm_graph_free(g);
    hm_upsampler_deinit(&m);
    return rc;
}

/* ---- filters ---- */

/* [1,C,...] <-> [rows][C] */
static float *rows_of(const hm_tensor *t)
{
    const int64_t C = t->dim[1], rows = hm_numel(t) / C;
    float *x = malloc((size_t)hm_numel(t) * sizeof *x);
    for (int64_t r = 0; x && r < rows; r++)
        for (int64_t c = 0; c < C; c++) x[r * C + c] = ((const float *)t->data)[c * rows + r];
    return x;
}

static void check_rows(parity *p, const char *name, const float *x, double tol)
{
    const hm_tensor *t = hm_st_find(p->st, name);
    if (!t) return;
    const int64_t C = t->dim[1], rows = hm_numel(t) / C;
    float *y = malloc((size_t)hm_numel(t) * sizeof *y);
    for (int64_t r = 0; y && r < rows; r++)
        for (int64_t c = 0; c < C; c++) y[c * rows + r] = x[r * C + c];
    const double own = parity_tol(p, name, false);
    if (y) parity_compare(p, name, y, hm_numel(t), own > 0 ? own : tol * parity_scale(p, name));
    free(y);
}

static void latent_filters(parity *p)
{
    static const char *const tones[] = {"0.0", "0.3", "0.6", "1.0"}, *const factors[] = {"0.5", "1.0"};
    const hm_tensor *z = hm_st_find(p->st, "in.latents"), *ref = hm_st_find(p->st, "in.reference");
    char name[64];
    float *r = rows_of(ref);
    for (size_t i = 0; i < 6; i++) {
        float *x = rows_of(z);
        const bool tone = i < 4;
        snprintf(name, sizeof name, "out.%s.%s", tone ? "tone_map" : "adain",
                 tone ? tones[i] : factors[i - 4]);
        if (tone) hm_tone_map(x, hm_numel(z), strtof(tones[i], NULL));
        else
            hm_adain(x, hm_numel(z) / z->dim[1], r, hm_numel(ref) / ref->dim[1], (int)z->dim[1],
                     strtof(factors[i - 4], NULL));
        check_rows(p, name, x, 2e-6);
        free(x);
    }
    free(r);
}

static void frame_filters(parity *p)
{
    static const int sizes[][2] = {{11, 7}, {18, 28}, {6, 10}, {9, 14}};
    const hm_tensor *f = hm_st_find(p->st, "in.frames");
    float *x = rows_of(f);
    for (size_t i = 0; i < 8; i++) {
        const int h = sizes[i / 2][0], w = sizes[i / 2][1], n = (int)f->dim[2];
        float *y = malloc((size_t)(n * h * w * 3) * sizeof *y);
        char name[64];
        snprintf(name, sizeof name, "out.resize%s.%dx%d", i % 2 ? "_crop" : "", h, w);
        if (i % 2) hm_resize_crop(y, h, w, x, n, (int)f->dim[3], (int)f->dim[4]);
        else hm_resize(y, h, w, x, n, (int)f->dim[3], (int)f->dim[4]);
        check_rows(p, name, y, 2e-6);
        free(y);
    }
    free(x);
}

himmel_status parity_util(parity *p, himmel_error *err)
{
    const hm_tensor *pad = hm_st_find(p->st, "out.padding"), *trim = hm_st_find(p->st, "out.trim");
    if (!pad || !trim || !hm_st_find(p->st, "in.frames") || !hm_st_find(p->st, "in.latents"))
        return hm_fail(err, HIMMEL_EFORMAT, "an input is missing");
    latent_filters(p);
    frame_filters(p);
    for (int64_t i = 0; i < pad->dim[0]; i++) { /* height, width, frames -> padded */
        const int32_t *r = (const int32_t *)pad->data + i * pad->dim[1];
        if (hm_pad_side(r[0], 32) != r[3] || hm_pad_side(r[1], 32) != r[4] || hm_pad_frames(r[2], 8) != r[5])
            return hm_fail(err, HIMMEL_EFORMAT, "out.padding row %d: %dx%d, %d frames", (int)i, r[0], r[1],
                           r[2]);
    }
    for (int64_t i = 0; i < trim->dim[0]; i++) {
        const int32_t *r = (const int32_t *)trim->data + i * trim->dim[1];
        if (hm_trim_frames(r[0], r[1], r[2], 8) != r[3])
            return hm_fail(err, HIMMEL_EFORMAT, "out.trim row %d: %d, not %d", (int)i,
                           hm_trim_frames(r[0], r[1], r[2], 8), r[3]);
    }
    return HIMMEL_OK;
}
