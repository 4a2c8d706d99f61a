/* clip.c - CLIP's vision transformer for Wan's picture conditions.   SPDX-License-Identifier: MIT
 * Traps: GELU is erf; pre_norm but no post_norm; the last block is left out; no antialiasing in the resize. */
#include "models/wan/clip.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float cubic(float x) /* a = -0.75 */
{
    const float a = -0.75f;
    x = fabsf(x);
    return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* Where output i of n looks in a line of N: first tap and its four weights. */
static int taps(int i, int n, int N, float w[4])
{
    const float at = ((float)i + 0.5f) * ((float)N / (float)n) - 0.5f, low = floorf(at);
    for (int k = 0; k < 4; k++) w[k] = cubic(at - low + 1.0f - (float)k);
    return (int)low - 1;
}

static int clamped(int i, int n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

void hm_wan_bicubic(const float *from, int C, int H, int W, float *to, int h, int w)
{
    for (int c = 0; c < C; c++)
        for (int y = 0; y < h; y++) {
            float wy[4], wx[4];
            const int y0 = taps(y, h, H, wy);
            for (int x = 0; x < w; x++) {
                const int x0 = taps(x, w, W, wx);
                float sum = 0;
                for (int j = 0; j < 4; j++) {
                    const float *line = from + ((int64_t)c * H + clamped(y0 + j, H)) * W;
                    float part = 0;
                    for (int i = 0; i < 4; i++) part += wx[i] * line[clamped(x0 + i, W)];
                    sum += wy[j] * part;
                }
                to[((int64_t)c * h + y) * w + x] = sum;
            }
        }
}

static himmel_status need(const hm_st *st, const char *name, int nd, const int64_t *dim, hm_tensor **slot, himmel_error *err)
{
    const hm_tensor *t;
    const himmel_status rc = hm_st_need(st, name, nd, dim, &t, err);
    if (rc) return rc;
    if (!hm_is_weight(t->dtype)) return hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%.100s\" is %s, not a weight", hm_st_path(st), name, hm_dtype_name(t->dtype));
    *slot = (hm_tensor *)(uintptr_t)t;
    return HIMMEL_OK;
}

static himmel_status load_layer(hm_wan_clip *m, const hm_st *st, int l, himmel_error *err)
{
    const int64_t D = m->dim;
#define AT(f) offsetof(hm_wan_clip_layer, f)
    const struct { const char *name; size_t at; int64_t out, in; } binds[] = { /* in 0: a vector */
        {"norm1.weight", AT(norm1_w), D, 0}, {"norm1.bias", AT(norm1_b), D, 0}, {"attn.to_qkv.weight", AT(qkv_w), 3 * D, D},
        {"attn.to_qkv.bias", AT(qkv_b), 3 * D, 0}, {"attn.proj.weight", AT(proj_w), D, D}, {"attn.proj.bias", AT(proj_b), D, 0},
        {"norm2.weight", AT(norm2_w), D, 0}, {"norm2.bias", AT(norm2_b), D, 0}, {"mlp.0.weight", AT(mlp0_w), 4 * D, D},
        {"mlp.0.bias", AT(mlp0_b), 4 * D, 0}, {"mlp.2.weight", AT(mlp2_w), D, 4 * D}, {"mlp.2.bias", AT(mlp2_b), D, 0}};
#undef AT
    himmel_status rc = HIMMEL_OK;
    for (size_t i = 0; i < HM_COUNT(binds) && !rc; i++) {
        char name[128];
        snprintf(name, sizeof name, "visual.transformer.%d.%s", l, binds[i].name);
        rc = need(st, name, binds[i].in ? 2 : 1, (int64_t[2]){binds[i].out, binds[i].in}, (hm_tensor **)(void *)((char *)&m->layers[l] + binds[i].at), err);
    }
    return rc;
}

bool hm_wan_clip_claims(const hm_st *st) { return hm_st_find(st, "visual.patch_embedding.weight") != NULL; }

himmel_status hm_wan_clip_load(hm_wan_clip *m, const hm_st *st, int n_heads, himmel_error *err)
{
    *m = (hm_wan_clip){0};
    const hm_tensor *patch = hm_st_find(st, "visual.patch_embedding.weight"), *pos = hm_st_find(st, "visual.pos_embedding");
    int64_t layers = 0, side = 0;
    char name[64];
    do snprintf(name, sizeof name, "visual.transformer.%d.norm1.weight", (int)layers);
    while (layers < 200 && hm_st_find(st, name) && ++layers);
    while (pos && pos->nd == 3 && side < 256 && side * side + 1 < pos->dim[1]) side++;
    if (!patch || patch->nd != 4 || patch->dim[2] < 1 || patch->dim[2] > 256 || patch->dim[0] < 1 || patch->dim[0] > 8192 || layers < 2 || side < 1)
        return hm_fail(err, HIMMEL_EMODEL, "%s is not the picture encoder of Wan 2.1: it has no visual.* transformer", hm_st_path(st));
    m->dim = (int)patch->dim[0], m->patch = (int)patch->dim[2], m->side = (int)side, m->n_layers = (int)layers - 1;
    m->n_heads = n_heads ? n_heads : m->dim % 80 ? m->dim / 16 : m->dim / 80;
    if (m->n_heads < 1 || m->dim % m->n_heads) return hm_fail(err, HIMMEL_EMODEL, "%s: width %d does not split into heads", hm_st_path(st), m->dim);
    const int64_t D = m->dim, P = m->patch;
    himmel_status rc = need(st, "visual.patch_embedding.weight", 4, (int64_t[4]){D, 3, P, P}, &m->patch_w, err);
    if (!rc) rc = need(st, "visual.cls_embedding", 3, (int64_t[3]){1, 1, D}, &m->cls, err);
    if (!rc) rc = need(st, "visual.pos_embedding", 3, (int64_t[3]){1, side * side + 1, D}, &m->pos, err);
    if (!rc) rc = need(st, "visual.pre_norm.weight", 1, &D, &m->pre_w, err);
    if (!rc) rc = need(st, "visual.pre_norm.bias", 1, &D, &m->pre_b, err);
    if (!rc && !(m->layers = calloc((size_t)m->n_layers, sizeof *m->layers))) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    for (int l = 0; l < m->n_layers && !rc; l++) rc = load_layer(m, st, l, err);
    if (rc) hm_wan_clip_deinit(m);
    return rc;
}

void hm_wan_clip_deinit(hm_wan_clip *m)
{
    free(m->layers);
    *m = (hm_wan_clip){0};
}

/* Resized, normalised, cut into patches [1, side^2, 3 P P]. */
static hm_tensor *patches(hm_graph *g, const hm_wan_clip *m, const float *picture, int H, int W)
{
    static const float mean[3] = {0.48145466f, 0.4578275f, 0.40821073f}, std[3] = {0.26862954f, 0.26130258f, 0.27577711f};
    const int P = m->patch, S = m->side * P;
    hm_tensor *x = hm_new(g, HM_F32, HM_DIMS(1, (int64_t)m->side * m->side, 3 * (int64_t)P * P)), *small = hm_new(g, HM_F32, HM_DIMS(3, S, S));
    if (hm_is_plan(g)) return x;
    hm_wan_bicubic(picture, 3, H, W, small->data, S, S);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < S; y++)
            for (int w = 0; w < S; w++) {
                const float v = ((float *)small->data)[(c * S + y) * S + w] * 0.5f + 0.5f;
                ((float *)x->data)[((int64_t)(y / P) * m->side + w / P) * 3 * P * P + (c * P + y % P) * P + w % P] = (v - mean[c]) / std[c];
            }
    return x;
}

static hm_tensor *gelu_erf(hm_graph *g, hm_tensor *x)
{
    hm_tensor *y = hm_new(g, HM_F32, x->nd, x->dim);
    if (hm_is_plan(g)) return y;
    float *v = y->data;
    hm_convert(v, HM_F32, x->data, x->dtype, (size_t)hm_numel(x));
    for (int64_t i = 0; i < hm_numel(x); i++) v[i] = 0.5f * v[i] * (1.0f + erff(v[i] * 0.70710678f));
    return y;
}

static hm_tensor *attention(hm_graph *g, const hm_wan_clip *m, const hm_wan_clip_layer *w, hm_tensor *x)
{
    hm_tensor *qkv = hm_linear(g, x, w->qkv_w, w->qkv_b), *part[3];
    for (int i = 0; i < 3; i++) part[i] = hm_slice(g, qkv, 2, (int64_t)i * m->dim, m->dim);
    const float scale = 1.0f / sqrtf((float)m->dim / (float)m->n_heads);
    return hm_linear(g, hm_attention(g, part[0], part[1], part[2], m->n_heads, scale, NULL, NULL), w->proj_w, w->proj_b);
}

hm_tensor *hm_wan_clip_forward(hm_graph *g, const hm_wan_clip *m, const float *picture, int H, int W,
                               void (*on_tensor)(void *user, const char *name, const hm_tensor *t), void *user)
{
    const float eps = 1e-5f;
    hm_tensor *w = hm_reshape(g, m->patch_w, HM_DIMS(m->dim, 3 * (int64_t)m->patch * m->patch));
    hm_tensor *x = hm_linear(g, patches(g, m, picture, H, W), w, NULL);
    x = hm_concat(g, hm_cast(g, m->cls, HM_F32), x, 1);
    x = hm_add_t(g, x, m->pos->dtype == HM_F32 ? m->pos : hm_cast(g, m->pos, HM_F32));
    if (on_tensor) on_tensor(user, "embed", x);
    x = hm_cast(g, hm_layernorm(g, x, m->pre_w, m->pre_b, eps), HM_F32);
    if (on_tensor) on_tensor(user, "pre_norm", x);
    for (int l = 0; l < m->n_layers; l++) {
        const hm_wan_clip_layer *k = &m->layers[l];
        const hm_mark mark = hm_save(g);
        hm_tensor *h = attention(g, m, k, hm_layernorm(g, x, k->norm1_w, k->norm1_b, eps));
        if (on_tensor && !l) on_tensor(user, "b0.attn", h);
        x = hm_settle(g, mark, x, hm_add_t(g, x, h));
        h = gelu_erf(g, hm_linear(g, hm_layernorm(g, x, k->norm2_w, k->norm2_b, eps), k->mlp0_w, k->mlp0_b));
        x = hm_settle(g, mark, x, hm_add_t(g, x, hm_linear(g, h, k->mlp2_w, k->mlp2_b)));
        if (on_tensor && !l) on_tensor(user, "b0.out", x);
    }
    if (on_tensor) on_tensor(user, "clip_fea", x);
    return x;
}
