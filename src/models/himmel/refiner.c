/* refiner.c - the refiner's parameters and forward pass.   SPDX-License-Identifier: MIT
 * Names: refiner.conv_in, .blocks.i.conv1, .blocks.i.conv2, .up (1x1), .convs2.i, .proj_out; weight
 * [O,kh,kw,I] and bias [O].
 * Cost at 256x144: 2 * 9 * width^2 * 9216 per convolution at half size (96
 * channels: 1.5 GFLOP), 2 * 9 * width2^2 * 147456 per convolution at double size (32: 2.7 GFLOP), the last
 * one 4.1: 21.6 GFLOP a frame for {96, 3, 32, 2}. */
#include "models/himmel/refiner.h"

#include <stdio.h>
#include <stdlib.h>

#include "models/himmel/himmel1.h"

typedef struct { hm_tensor *w, *b; } conv;

struct hm_refiner {
    hm_refiner_config cfg;
    conv in, up, out;
    conv *blocks; /* [2 n_blocks] */
    conv *convs2; /* [n_convs2] */
};

himmel_status hm_refiner_init(hm_refiner **out, const hm_refiner_config *cfg, himmel_error *err)
{
    *out = NULL;
    if (cfg->width < 1 || cfg->width > 1024 || cfg->n_blocks < 0 || cfg->n_blocks > 64 || cfg->width2 < 1 ||
        cfg->width2 > 512 || cfg->n_convs2 < 0 || cfg->n_convs2 > 16)
        return hm_fail(err, HIMMEL_EMODEL,
                       "refiner: %d channels, %d blocks, then %d channels, %d convolutions is not possible",
                       cfg->width, cfg->n_blocks, cfg->width2, cfg->n_convs2);
    hm_refiner *r = calloc(1, sizeof *r);
    if (r) {
        r->cfg = *cfg;
        r->blocks = calloc(2 * (size_t)cfg->n_blocks + 1, sizeof *r->blocks);
        r->convs2 = calloc((size_t)cfg->n_convs2 + 1, sizeof *r->convs2);
    }
    if (!r || !r->blocks || !r->convs2) {
        hm_refiner_free(r);
        return hm_fail(err, HIMMEL_ENOMEM, "refiner: out of memory");
    }
    *out = r;
    return HIMMEL_OK;
}

void hm_refiner_free(hm_refiner *r)
{
    if (!r) return;
    free(r->blocks);
    free(r->convs2);
    free(r);
}

const hm_refiner_config *hm_refiner_cfg(const hm_refiner *r) { return &r->cfg; }

typedef struct {
    const char *prefix;
    hm_param_fn *fn;
    void *user;
    himmel_error *err;
    himmel_status rc;
} walk;

static void walk_conv(walk *w, conv *c, const char *name, int out, int size, int in)
{
    char full[160];
    if (w->rc) return;
    snprintf(full, sizeof full, "%s%s.weight", w->prefix, name);
    w->rc = w->fn(w->user, full, 4, (int64_t[]){out, size, size, in}, &c->w, w->err);
    if (w->rc) return;
    snprintf(full, sizeof full, "%s%s.bias", w->prefix, name);
    w->rc = w->fn(w->user, full, 1, (int64_t[]){out}, &c->b, w->err);
}

himmel_status hm_refiner_params(hm_refiner *r, const char *prefix, hm_param_fn *fn, void *user,
                                himmel_error *err)
{
    walk w = {prefix, fn, user, err, HIMMEL_OK};
    const hm_refiner_config *c = &r->cfg;
    char name[64];
    walk_conv(&w, &r->in, "conv_in", c->width, 3, 4 * HM_REFINER_IN);
    for (int i = 0; i < 2 * c->n_blocks; i++) {
        snprintf(name, sizeof name, "blocks.%d.conv%d", i / 2, i % 2 + 1);
        walk_conv(&w, &r->blocks[i], name, c->width, 3, c->width);
    }
    walk_conv(&w, &r->up, "up", 16 * c->width2, 1, c->width);
    for (int i = 0; i < c->n_convs2; i++) {
        snprintf(name, sizeof name, "convs2.%d", i);
        walk_conv(&w, &r->convs2[i], name, c->width2, 3, c->width2);
    }
    walk_conv(&w, &r->out, "proj_out", HM_REFINER_OUT, 3, c->width2);
    return w.rc;
}

static himmel_status bind(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot,
                          himmel_error *err)
{
    const hm_tensor *t;
    const himmel_status rc = hm_st_need(user, name, nd, dim, &t, err);
    if (rc) return rc;
    if (t->dtype != HM_F32 && t->dtype != HM_BF16 && t->dtype != HM_F16)
        return hm_fail(err, HIMMEL_EMODEL, "%s: %s is %s, which is no float", hm_st_path(user), name,
                       hm_dtype_name(t->dtype));
    *slot = (hm_tensor *)t; /* read-only in inference */
    return HIMMEL_OK;
}

himmel_status hm_refiner_load(hm_refiner **out, const hm_st *st, himmel_error *err)
{
    *out = NULL;
    const char *json = hm_st_meta(st, "config");
    if (!json)
        return hm_fail(err, HIMMEL_EMODEL, "%s: no \"config\" in its header, so this is no himmel-1 file",
                       hm_st_path(st));
    hm_himmel1_config cfg = hm_himmel1_config_default();
    himmel_status rc = hm_himmel1_config_parse(&cfg, json, hm_st_path(st), err);
    hm_refiner *r = NULL;
    if (!rc) rc = hm_refiner_init(&r, &cfg.refiner, err);
    if (!rc) rc = hm_refiner_params(r, "refiner.", bind, (void *)st, err);
    if (rc) {
        hm_refiner_free(r);
        return rc;
    }
    *out = r;
    return HIMMEL_OK;
}

static hm_tensor *conv3(hm_graph *g, hm_tensor *x, const conv *c, bool relu)
{
    return hm_conv(g, x, c->w, c->b, &(hm_conv_opts){.stride = {1, 1, 1}, .pad = {1, 1, 1}, .relu = relu});
}

/* No rectifier on the way from input to output, only in the branches: the correction is small and without
 * mean, and a plain chain of rectified convolutions learns to be silent (all rectifiers dead within 100
 * steps) before it learns anything else. */
hm_tensor *hm_refiner_correction(hm_graph *g, const hm_refiner *r, hm_tensor *x)
{
    hm_tensor *h = conv3(g, hm_pixel_unshuffle(g, hm_cast(g, x, hm_act(g)), 2), &r->in, false);
    for (int i = 0; i < r->cfg.n_blocks; i++) { /* h += conv2(relu(conv1(h))) */
        hm_tensor *a = conv3(g, h, &r->blocks[2 * i], true);
        h = hm_add_t(g, h, conv3(g, a, &r->blocks[2 * i + 1], false));
    }
    const hm_conv_opts one = {.stride = {1, 1, 1}};
    h = hm_pixel_shuffle(g, hm_conv(g, h, r->up.w, r->up.b, &one), 4);
    for (int i = 0; i < r->cfg.n_convs2; i++)
        h = hm_add_t(g, h, conv3(g, hm_relu(g, h), &r->convs2[i], false));
    return conv3(g, h, &r->out, false);
}

hm_tensor *hm_refiner_forward(hm_graph *g, const hm_refiner *r, hm_tensor *x)
{
    const int64_t B = x->dim[0], H = x->dim[1], W = x->dim[2];
    hm_tensor *out = hm_new(g, HM_F32, HM_DIMS(B, HM_REFINER_UP * H, HM_REFINER_UP * W, 3));
    const hm_mark mark = hm_save(g);
    hm_tensor *c = hm_refiner_correction(g, r, x);
    if (!hm_is_plan(g))
        for (int64_t b = 0; b < B; b++) {
            const size_t n = (size_t)(4 * H * W * HM_REFINER_OUT);
            hm_refiner_compose((float *)out->data + b * 64 * H * W * 3,
                               (const float *)x->data + b * H * W * HM_REFINER_IN, (int)H, (int)W,
                               (const char *)c->data + (size_t)b * n * hm_dtype_size(c->dtype), c->dtype);
        }
    hm_restore(g, mark);
    return out;
}
