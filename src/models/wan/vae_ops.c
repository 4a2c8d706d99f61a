/* vae_ops.c - layers of Wan's autoencoders; see vae_ops.h.   SPDX-License-Identifier: MIT
 * Source: Wan2.1 wan/modules/vae.py (CausalConv3d, Resample, ResidualBlock, AttentionBlock), Wan2.2 vae2_2.py.
 * Traps: time is padded with zeros on the left only; upsampling in time leaves out the first latent frame, and its
 * convolution starts on the second with zero history; downsampling leaves out the first frame, then takes the one before
 * along, without padding; pictures are padded on the right and below before stride 2. */
#include "models/wan/vae_ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hm_wv_reset(vae_run *r)
{
    for (int i = 0; i < VAE_MAX_CACHES; i++) free(r->cache[i].data);
    memset(r->cache, 0, sizeof r->cache);
    r->chunk = r->n_cache = 0;
}

void hm_wv_show(const vae_run *r, const char *name, const hm_tensor *t)
{
    if (r->sink && r->sink->on_tensor && !r->rc && !hm_is_plan(r->g)) r->sink->on_tensor(r->sink->user, name, t);
}

bool hm_wv_has(const vae_run *r, const char *prefix, const char *name)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return hm_wv_find(r->st, full) != NULL;
}

hm_tensor *hm_wv_need(vae_run *r, const char *prefix, const char *name, int nd, const int64_t *dim)
{
    char full[256];
    const hm_tensor *t = NULL;
    if (r->rc) return NULL;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    if (!hm_st_find(r->st, full)) {
        char other[256];
        hm_wv_diffusers(other, full);
        if (hm_st_find(r->st, other)) memcpy(full, other, sizeof full);
    }
    r->rc = hm_st_need(r->st, full, nd, dim, &t, r->err);
    if (!r->rc && (!hm_is_weight(t->dtype) || hm_dtype_block(t->dtype) > 1))
        r->rc = hm_fail(r->err, HIMMEL_EMODEL, "%s: tensor \"%.100s\" is %s, no weight of an autoencoder", hm_st_path(r->st), full, hm_dtype_name(t->dtype));
    return r->rc ? NULL : (hm_tensor *)(uintptr_t)t;
}

/* ---- caches ---- */

static vae_cache *next_cache(vae_run *r)
{
    if (r->n_cache < VAE_MAX_CACHES) return &r->cache[r->n_cache++];
    if (!r->rc) r->rc = hm_fail(r->err, HIMMEL_EMODEL, "%s: an autoencoder of too many layers", hm_st_path(r->st));
    return NULL;
}

static size_t frame_bytes(const hm_tensor *x) { return (size_t)(hm_numel(x) / x->dim[1]) * hm_dtype_size(x->dtype); }

/* Keeps the last `frames` frames of x. */
static void keep(vae_run *r, vae_cache *c, const hm_tensor *x, int frames)
{
    const size_t one = frame_bytes(x), bytes = one * (size_t)frames;
    if (!c || r->rc) return;
    r->kept += bytes - c->bytes;
    if (hm_is_plan(r->g)) {
        c->bytes = bytes;
        return;
    }
    if (c->bytes != bytes) {
        free(c->data);
        c->data = malloc(bytes);
        c->bytes = bytes;
    }
    if (!c->data) {
        r->rc = hm_fail(r->err, HIMMEL_ENOMEM, "autoencoder: out of memory for %zu bytes", bytes);
        return;
    }
    memcpy(c->data, (const char *)x->data + (size_t)(x->dim[1] - frames) * one, bytes);
    c->frames = frames;
}

/* `frames` frames before x: kept ones, or zeros. */
static hm_tensor *with_past(vae_run *r, const vae_cache *c, hm_tensor *x, int frames)
{
    hm_graph *g = r->g;
    const int64_t *d = x->dim;
    hm_tensor *y = hm_new(g, x->dtype, HM_DIMS(1, d[1] + frames, d[2], d[3], d[4]));
    if (hm_is_plan(g)) return y;
    const size_t past = frame_bytes(x) * (size_t)frames;
    if (c->frames == frames && c->bytes == past) memcpy(y->data, c->data, past);
    else memset(y->data, 0, past);
    memcpy((char *)y->data + past, x->data, frame_bytes(x) * (size_t)d[1]);
    return y;
}

/* ---- convolutions ---- */

static hm_tensor *conv(vae_run *r, hm_tensor *x, const char *prefix, const char *name, const int64_t k[3], const hm_conv_opts *o)
{
    char full[128];
    const int64_t w5[5] = {-1, x->dim[x->nd - 1], k[0], k[1], k[2]}, w4[4] = {-1, x->dim[x->nd - 1], k[1], k[2]};
    snprintf(full, sizeof full, "%s.weight", name);
    hm_tensor *w = hm_wv_need(r, prefix, full, x->nd, x->nd == 5 ? w5 : w4);
    snprintf(full, sizeof full, "%s.bias", name);
    hm_tensor *b = w ? hm_wv_need(r, prefix, full, 1, w->dim) : NULL;
    return b ? hm_conv(r->g, x, w, b, o) : x;
}

hm_tensor *hm_wv_conv3(vae_run *r, hm_tensor *x, const char *prefix, const char *name)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    const hm_tensor *w = hm_wv_find(r->st, full);
    const int side = w && w->nd == 5 && w->dim[4] == 1 ? 1 : 3;
    vae_cache *c = next_cache(r);
    if (!c || r->rc) return x;
    hm_tensor *all = with_past(r, c, x, 2);
    keep(r, c, all, 2);
    return conv(r, all, prefix, name, (int64_t[3]){3, side, side}, &(hm_conv_opts){.pad = {0, side / 2, side / 2}, .w_oik = true});
}

hm_tensor *hm_wv_pointwise(vae_run *r, hm_tensor *x, const char *prefix, const char *name)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    const hm_tensor *stored = hm_wv_find(r->st, full);
    const int nd = stored && stored->nd == 4 ? 4 : 5;
    const int64_t dim[5] = {-1, hm_numel(x) ? x->dim[x->nd - 1] : 0, 1, 1, 1};
    snprintf(full, sizeof full, "%s.weight", name);
    hm_tensor *w = hm_wv_need(r, prefix, full, nd, dim);
    snprintf(full, sizeof full, "%s.bias", name);
    hm_tensor *b = w ? hm_wv_need(r, prefix, full, 1, w->dim) : NULL;
    return b ? hm_linear(r->g, x, hm_reshape(r->g, w, HM_DIMS(w->dim[0], w->dim[1])), b) : x;
}

/* x / ||x|| sqrt(C) gamma over the channels = RMS norm; the original's 1e-12 under the norm only keeps 0 from 0/0. */
static hm_tensor *norm(vae_run *r, hm_tensor *x, const char *prefix, const char *name)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s.gamma", prefix, name);
    const hm_tensor *stored = hm_wv_find(r->st, full);
    snprintf(full, sizeof full, "%s.gamma", name);
    const int64_t dim[4] = {x->dim[x->nd - 1], 1, 1, 1};
    hm_tensor *gamma = hm_wv_need(r, prefix, full, stored && stored->nd == 3 ? 3 : 4, dim);
    return gamma ? hm_rmsnorm(r->g, x, gamma, 1e-30f) : x;
}

hm_tensor *hm_wv_norm_silu(vae_run *r, hm_tensor *x, const char *prefix, const char *name) { return hm_silu(r->g, norm(r, x, prefix, name)); }

/* Room for what a convolution makes of x. */
static hm_tensor *room_for(vae_run *r, const hm_tensor *x, const char *prefix, const char *name)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    const hm_tensor *w = hm_wv_find(r->st, full);
    return hm_new(r->g, hm_act(r->g), HM_DIMS(1, x->dim[1], x->dim[2], x->dim[3], w && w->nd == 5 ? w->dim[0] : x->dim[4]));
}

/* Half of a residual block into `to`, which x may be: nothing else stays in memory. */
static hm_tensor *half(vae_run *r, hm_tensor *x, const char *prefix, const char *norm_name, const char *conv_name, hm_tensor *to)
{
    const hm_mark mark = hm_save(r->g);
    hm_tensor *n = norm(r, x, prefix, norm_name);
    const hm_mark after = hm_save(r->g);
    hm_tensor *s = hm_silu(r->g, n);
    if (n != x && n->dtype == s->dtype) s = hm_settle(r->g, after, n, s);
    hm_tensor *h = hm_wv_conv3(r, s, prefix, conv_name);
    return r->rc || hm_numel(h) != hm_numel(to) ? h : hm_settle(r->g, mark, to, h);
}

hm_tensor *hm_wv_residual(vae_run *r, hm_tensor *x, const char *prefix)
{
    hm_graph *g = r->g;
    if (r->rc) return x;
    hm_tensor *skip = hm_wv_has(r, prefix, "shortcut.weight") ? hm_wv_pointwise(r, x, prefix, "shortcut") : x;
    hm_tensor *to = room_for(r, x, prefix, "residual.2");
    hm_tensor *h = half(r, x, prefix, "residual.0", "residual.2", to);
    h = half(r, h, prefix, "residual.3", "residual.6", to);
    if (!r->rc && hm_numel(h) != hm_numel(skip))
        r->rc = hm_fail(r->err, HIMMEL_EMODEL, "%s: \"%.100s\": its two paths end in different sizes", hm_st_path(r->st), prefix);
    return r->rc ? x : hm_add_t(g, h, skip);
}

/* One head over a frame's positions. */
hm_tensor *hm_wv_attention(vae_run *r, hm_tensor *x, const char *prefix)
{
    hm_graph *g = r->g;
    const int64_t T = x->dim[1], N = x->dim[2] * x->dim[3], C = x->dim[4];
    if (r->rc) return x;
    hm_tensor *qkv = hm_wv_pointwise(r, norm(r, x, prefix, "norm"), prefix, "to_qkv");
    if (!r->rc && qkv->dim[4] != 3 * C) r->rc = hm_fail(r->err, HIMMEL_EMODEL, "%s: \"%.100sto_qkv\" is not three times as wide as its input", hm_st_path(r->st), prefix);
    if (r->rc) return x;
    qkv = hm_reshape(g, qkv, HM_DIMS(T, N, 3 * C));
    hm_tensor *part[3];
    for (int i = 0; i < 3; i++) part[i] = hm_slice(g, qkv, 2, i * C, C);
    hm_tensor *a = hm_attention(g, part[0], part[1], part[2], 1, 1.0f / sqrtf((float)C), NULL, NULL);
    a = hm_wv_pointwise(r, hm_reshape(g, a, HM_DIMS(1, T, x->dim[2], x->dim[3], C)), prefix, "proj");
    return r->rc ? x : hm_add_t(g, x, a);
}

/* ---- resampling ---- */

/* Frames [T,H,W,2C] as [2T,H,W,C]: the halves of the channels follow each other. */
static hm_tensor *unfold_time(vae_run *r, hm_tensor *x)
{
    hm_graph *g = r->g;
    const int64_t *d = x->dim, C = d[4] / 2, hw = d[2] * d[3];
    hm_tensor *y = hm_new(g, x->dtype, HM_DIMS(1, 2 * d[1], d[2], d[3], C));
    const size_t row = (size_t)C * hm_dtype_size(x->dtype);
    if (!hm_is_plan(g))
        for (int64_t i = 0; i < d[1] * hw; i++)
            for (int64_t half = 0; half < 2; half++)
                memcpy((char *)y->data + (size_t)((2 * (i / hw) + half) * hw + i % hw) * row,
                       (const char *)x->data + (size_t)(2 * i + half) * row, row);
    return y;
}

/* Every position twice in both directions: [T,2H,2W,C], without the batch axis. */
static hm_tensor *double_size(vae_run *r, hm_tensor *x)
{
    hm_graph *g = r->g;
    const int64_t T = x->dim[1], H = x->dim[2], W = x->dim[3], C = x->dim[4];
    hm_tensor *y = hm_new(g, x->dtype, HM_DIMS(T, 2 * H, 2 * W, C));
    const size_t one = (size_t)C * hm_dtype_size(x->dtype), line = 2 * (size_t)W * one;
    if (hm_is_plan(g)) return y;
    for (int64_t i = 0; i < T * H; i++) {
        char *to = (char *)y->data + (size_t)(2 * i) * line;
        for (int64_t j = 0; j < 2 * W; j++) memcpy(to + (size_t)j * one, (const char *)x->data + (size_t)(i * W + j / 2) * one, one);
        memcpy(to + line, to, line);
    }
    return y;
}

/* A row and a column of zeros below and on the right: [T,H+1,W+1,C]. */
static hm_tensor *pad_end(vae_run *r, hm_tensor *x)
{
    hm_graph *g = r->g;
    const int64_t T = x->dim[1], H = x->dim[2], W = x->dim[3], C = x->dim[4];
    hm_tensor *y = hm_zeros(g, x->dtype, HM_DIMS(T, H + 1, W + 1, C));
    const size_t line = (size_t)(W * C) * hm_dtype_size(x->dtype), wide = (size_t)((W + 1) * C) * hm_dtype_size(x->dtype);
    if (!hm_is_plan(g))
        for (int64_t i = 0; i < T * H; i++)
            memcpy((char *)y->data + (size_t)(i / H * (H + 1) + i % H) * wide, (const char *)x->data + (size_t)i * line, line);
    return y;
}

static hm_tensor *as_film(vae_run *r, hm_tensor *x) /* [T,H,W,C] -> [1,T,H,W,C] */
{
    return r->rc || x->nd == 5 ? x : hm_reshape(r->g, x, HM_DIMS(1, x->dim[0], x->dim[1], x->dim[2], x->dim[3]));
}

hm_tensor *hm_wv_upsample(vae_run *r, hm_tensor *x, const char *prefix)
{
    if (r->rc) return x;
    if (hm_wv_has(r, prefix, "time_conv.weight")) {
        if (r->chunk == 0 && !r->visit) next_cache(r); /* its cache stays empty: the next chunk has zero history */
        else {
            x = hm_wv_conv3(r, x, prefix, "time_conv");
            if (!r->rc) x = unfold_time(r, x);
        }
    }
    if (r->rc) return x;
    return as_film(r, conv(r, double_size(r, x), prefix, "resample.1", (int64_t[3]){1, 3, 3}, &(hm_conv_opts){.pad = {1, 1}, .w_oik = true}));
}

hm_tensor *hm_wv_downsample(vae_run *r, hm_tensor *x, const char *prefix)
{
    if (r->rc) return x;
    x = as_film(r, conv(r, pad_end(r, x), prefix, "resample.1", (int64_t[3]){1, 3, 3}, &(hm_conv_opts){.stride = {2, 2}, .w_oik = true}));
    if (r->rc || !hm_wv_has(r, prefix, "time_conv.weight")) return x;
    vae_cache *c = next_cache(r);
    if (!c) return x;
    hm_tensor *all = r->chunk || r->visit ? with_past(r, c, x, 1) : x;
    keep(r, c, x, 1);
    if (!r->chunk && !r->visit) return x;
    return conv(r, all, prefix, "time_conv", (int64_t[3]){3, 1, 1}, &(hm_conv_opts){.stride = {2, 1, 1}, .w_oik = true});
}

/* ---- shortcuts of 2.2 ---- */

static float *as_f32(vae_run *r, hm_tensor *x) { return hm_cast(r->g, x, HM_F32)->data; }

hm_tensor *hm_wv_average(vae_run *r, hm_tensor *x, int64_t out_c, int ft, int fs)
{
    hm_graph *g = r->g;
    const int64_t T = x->dim[1], H = x->dim[2], W = x->dim[3], C = x->dim[4], left = (ft - T % ft) % ft, all = C * ft * fs * fs;
    hm_tensor *y = hm_zeros(g, HM_F32, HM_DIMS(1, (T + left) / ft, H / fs, W / fs, out_c));
    if (r->rc || !out_c || all % out_c) return y;
    const float *s = as_f32(r, x);
    float *d = y->data, share = (float)out_c / (float)all;
    if (hm_is_plan(g)) return y;
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t w = 0; w < W; w++)
                for (int64_t c = 0; c < C; c++) {
                    const int64_t at = t + left, k = ((c * ft + at % ft) * fs + h % fs) * fs + w % fs;
                    d[((at / ft * (H / fs) + h / fs) * (W / fs) + w / fs) * out_c + k * out_c / all] += s[((t * H + h) * W + w) * C + c] * share;
                }
    return y;
}

hm_tensor *hm_wv_repeat(vae_run *r, hm_tensor *x, int64_t out_c, int ft, int fs)
{
    hm_graph *g = r->g;
    const int64_t T = x->dim[1], H = x->dim[2], W = x->dim[3], C = x->dim[4], drop = r->chunk || r->visit ? 0 : ft - 1;
    const int64_t To = T * ft - drop, Ho = H * fs, Wo = W * fs, all = out_c * ft * fs * fs;
    hm_tensor *y = hm_new(g, HM_F32, HM_DIMS(1, To, Ho, Wo, out_c));
    if (r->rc || all % C) return y;
    const float *s = as_f32(r, x);
    float *d = y->data;
    if (hm_is_plan(g)) return y;
    for (int64_t t = 0; t < To; t++)
        for (int64_t h = 0; h < Ho; h++)
            for (int64_t w = 0; w < Wo; w++)
                for (int64_t o = 0; o < out_c; o++) {
                    const int64_t at = t + drop, k = ((o * ft + at % ft) * fs + h % fs) * fs + w % fs;
                    d[((t * Ho + h) * Wo + w) * out_c + o] = s[((at / ft * H + h / fs) * W + w / fs) * C + k * C / all];
                }
    return y;
}
