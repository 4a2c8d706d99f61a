/* dit.c - Wan's transformer, one denoising step.   SPDX-License-Identifier: MIT
 *   latents [C,T,H,W] -patches-> x [N,D] -blocks: self-attention, attention to text (and image), mlp-> head -> velocity
 * Source: Wan2.1 wan/modules/model.py, vace_model.py; Wan2.2 wan/modules/model.py. Binding: dit_params.c.
 * Memory: weights are views; the residual stream is one f32 buffer, every sub-block gives back the rest.
 * Traps: modulation is shift, scale, gate twice, from e0, which stays f32 as do the gates; q/k RMSNorm is over all of D,
 * before heads and RoPE; text rows past the prompt are zeros and are attended to; image keys have their own attention
 * with the same q, added before o; img_emb's GELU is erf; the head adds e, not e0; a token of the head is (pt,ph,pw,C). */
#include "models/wan/dit.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHIFT_SELF, SCALE_SELF, GATE_SELF, SHIFT_FFN, SCALE_FFN, GATE_FFN };

typedef struct {
    hm_graph *g;
    const hm_wan *m;
    const hm_wan_input *in;
    int grid[3];
    int64_t N;
    hm_tensor *text, *image, *e, *e0, *cosine, *sine; /* e [R,D], e0 [R,6D] f32 */
    const int32_t *row;
    const char *scope;                                /* for stages: "b0." */
} wan_fwd;

static void show(const wan_fwd *f, const char *what, const hm_tensor *t)
{
    char name[64];
    if (!f->in->on_tensor) return;
    snprintf(name, sizeof name, "%s%s", f->scope, what);
    f->in->on_tensor(f->in->user, name, t);
}

/* ---- small pieces in f32 ---- */

/* y = x w^T + b wholly in f32 whatever the graph's dtype, for a few rows of x; weights widened 512 rows at a time. */
static hm_tensor *linear_f32(hm_graph *g, const hm_tensor *x, const hm_tensor *w, const hm_tensor *b)
{
    const int64_t R = x->dim[0], I = w->dim[1], O = w->dim[0], step = 512;
    hm_tensor *y = hm_new(g, HM_F32, HM_DIMS(R, O));
    const hm_mark mark = hm_save(g);
    hm_tensor *wide = hm_new(g, HM_F32, HM_DIMS(step, I)), *out = hm_new(g, HM_F32, HM_DIMS(R, step)),
              *bias = hm_new(g, HM_F32, HM_DIMS(O));
    if (!hm_is_plan(g)) {
        hm_convert(bias->data, HM_F32, b->data, b->dtype, (size_t)O);
        for (int64_t o = 0; o < O; o += step) {
            const int64_t n = HM_MIN(step, O - o);
            hm_convert(wide->data, HM_F32, (const char *)w->data + hm_dtype_bytes(w->dtype, (uint64_t)(o * I)), w->dtype, (size_t)(n * I));
            hm_gemm(false, true, R, n, I, 1, HM_F32, x->data, wide->data, 0, HM_F32, out->data);
            for (int64_t r = 0; r < R; r++)
                for (int64_t i = 0; i < n; i++)
                    ((float *)y->data)[r * O + o + i] = ((float *)out->data)[r * n + i] + ((float *)bias->data)[o + i];
        }
    }
    hm_restore(g, mark);
    return y;
}

static void gelu_erf(hm_graph *g, hm_tensor *x) /* in place */
{
    if (hm_is_plan(g)) return;
    for (int64_t i = 0; i < hm_numel(x); i++) {
        float v;
        const size_t at = (size_t)i * hm_dtype_size(x->dtype);
        hm_convert(&v, HM_F32, (char *)x->data + at, x->dtype, 1);
        v = 0.5f * v * (1.0f + erff(v * 0.70710678f));
        hm_convert((char *)x->data + at, x->dtype, &v, HM_F32, 1);
    }
}

void hm_wan_sinusoid(const float *t, int n, int width, float *out)
{
    const int half = width / 2;
    for (int r = 0; r < n; r++)
        for (int i = 0; i < half; i++) {
            const double a = (double)t[r] * pow(10000.0, -(double)i / half);
            out[r * width + i] = (float)cos(a);
            out[r * width + half + i] = (float)sin(a);
        }
}

/* Pairs of a head: head_dim/2 - 2 (head_dim/6) for frames, head_dim/6 each for rows and columns; each axis has its own
 * ladder of frequencies. */
void hm_wan_rope(int head_dim, const int grid[3], float *cosine, float *sine)
{
    const int half = head_dim / 2, third = half / 3, pairs[3] = {half - 2 * third, third, third};
    int64_t n = 0;
    for (int t = 0; t < grid[0]; t++)
        for (int y = 0; y < grid[1]; y++)
            for (int x = 0; x < grid[2]; x++) {
                const int pos[3] = {t, y, x};
                for (int axis = 0; axis < 3; axis++)
                    for (int i = 0; i < pairs[axis]; i++, n++) {
                        const double a = pos[axis] * pow(10000.0, -2.0 * i / (2.0 * pairs[axis]));
                        cosine[n] = (float)cos(a);
                        sine[n] = (float)sin(a);
                    }
            }
}

/* ---- in and out of tokens ---- */

/* Channels [C,T,H,W] into columns from*V.. of the tokens' patches [N, all*V], V = patch volume, (c, kt, kh, kw). */
static void patchify(const wan_fwd *f, float *to, const float *src, int C, int from, int all)
{
    const int *p = f->m->cfg.patch, T = f->in->T, H = f->in->H, W = f->in->W, V = p[0] * p[1] * p[2];
    for (int c = 0; c < C; c++)
        for (int t = 0; t < T; t++)
            for (int y = 0; y < H; y++)
                for (int x = 0; x < W; x++) {
                    const int64_t token = ((int64_t)t / p[0] * f->grid[1] + y / p[1]) * f->grid[2] + x / p[2];
                    const int k = (t % p[0] * p[1] + y % p[1]) * p[2] + x % p[2];
                    to[(token * all + from + c) * V + k] = src ? src[(((int64_t)c * T + t) * H + y) * W + x] : 0.0f;
                }
}

static void unpatchify(const wan_fwd *f, float *to, const float *tokens)
{
    const int *p = f->m->cfg.patch, T = f->in->T, H = f->in->H, W = f->in->W, C = f->m->cfg.out_dim, V = p[0] * p[1] * p[2];
    for (int c = 0; c < C; c++)
        for (int t = 0; t < T; t++)
            for (int y = 0; y < H; y++)
                for (int x = 0; x < W; x++) {
                    const int64_t token = ((int64_t)t / p[0] * f->grid[1] + y / p[1]) * f->grid[2] + x / p[2];
                    const int k = (t % p[0] * p[1] + y % p[1]) * p[2] + x % p[2];
                    to[(((int64_t)c * T + t) * H + y) * W + x] = tokens[(token * V + k) * C + c];
                }
}

/* Conv3d whose stride is its kernel = a linear layer over patches: C channels of a and, if more are wanted, of b. -> [1,N,D] */
static hm_tensor *embed_patches(const wan_fwd *f, hm_tensor *w, hm_tensor *b, const float *a, int n_a, const float *more)
{
    hm_graph *g = f->g;
    const int all = (int)w->dim[1], V = f->m->cfg.patch[0] * f->m->cfg.patch[1] * f->m->cfg.patch[2];
    hm_tensor *x = hm_new(g, HM_F32, HM_DIMS(1, f->N, (int64_t)all * V));
    if (!hm_is_plan(g)) {
        patchify(f, x->data, a, n_a, 0, all);
        if (all > n_a) patchify(f, x->data, more, all - n_a, n_a, all);
    }
    return hm_linear(g, x, hm_reshape(g, w, HM_DIMS(w->dim[0], (int64_t)all * V)), b);
}

/* ---- blocks ---- */

static float qk_scale(const wan_fwd *f) { return 1.0f / sqrtf((float)f->m->cfg.dim / (float)f->m->cfg.n_heads); }

static hm_tensor *self_attention(const wan_fwd *f, const hm_wan_attn *w, hm_tensor *x)
{
    hm_graph *g = f->g;
    const float eps = f->m->cfg.eps;
    hm_tensor *q = hm_rmsnorm(g, hm_linear(g, x, w->q_w, w->q_b), w->norm_q, eps);
    hm_tensor *k = hm_rmsnorm(g, hm_linear(g, x, w->k_w, w->k_b), w->norm_k, eps);
    hm_tensor *v = hm_linear(g, x, w->v_w, w->v_b);
    show(f, "self_q_norm", q);
    show(f, "self_k_norm", k);
    show(f, "self_v", v);
    q = hm_rope(g, q, f->cosine, f->sine);
    k = hm_rope(g, k, f->cosine, f->sine);
    show(f, "self_q_rope", q);
    show(f, "self_k_rope", k);
    hm_tensor *a = hm_attention(g, q, k, v, f->m->cfg.n_heads, qk_scale(f), NULL, NULL);
    show(f, "self_attn_raw", a);
    return hm_linear(g, a, w->o_w, w->o_b);
}

static hm_tensor *cross_attention(const wan_fwd *f, const hm_wan_attn *w, hm_tensor *x)
{
    hm_graph *g = f->g;
    const float eps = f->m->cfg.eps;
    hm_tensor *q = hm_rmsnorm(g, hm_linear(g, x, w->q_w, w->q_b), w->norm_q, eps);
    hm_tensor *k = hm_rmsnorm(g, hm_linear(g, f->text, w->k_w, w->k_b), w->norm_k, eps);
    hm_tensor *v = hm_linear(g, f->text, w->v_w, w->v_b);
    hm_tensor *a = hm_attention(g, q, k, v, f->m->cfg.n_heads, qk_scale(f), NULL, NULL);
    show(f, "cross_txt_raw", a);
    if (f->image && w->k_img_w) {
        k = hm_rmsnorm(g, hm_linear(g, f->image, w->k_img_w, w->k_img_b), w->norm_k_img, eps);
        v = hm_linear(g, f->image, w->v_img_w, w->v_img_b);
        hm_tensor *b = hm_attention(g, q, k, v, f->m->cfg.n_heads, qk_scale(f), NULL, NULL);
        show(f, "cross_img_raw", b);
        a = hm_add_t(g, a, b);
    }
    return hm_linear(g, a, w->o_w, w->o_b);
}

/* One block: x [1,N,D] f32 is the residual stream and is overwritten. */
static hm_tensor *block(const wan_fwd *f, const hm_wan_layer *w, hm_tensor *x)
{
    hm_graph *g = f->g;
    const float eps = f->m->cfg.eps;
    const int64_t D = f->m->cfg.dim;
    const hm_mark start = hm_save(g);
    hm_tensor *mod = hm_mod_table(g, f->e0, hm_reshape(g, w->table, HM_DIMS(6, D)));

    /* x += gate * self-attention(norm(x) (1 + scale) + shift) */
    hm_mark mark = hm_save(g);
    hm_tensor *h = hm_norm_modulate(g, x, mod, f->row, SHIFT_SELF, SCALE_SELF, true, eps);
    show(f, "norm1_mod", h);
    h = self_attention(f, &w->self, h);
    show(f, "self_attn", h);
    x = hm_settle(g, mark, x, hm_add_gated(g, x, h, mod, f->row, GATE_SELF));
    show(f, "x_after_self", x);

    /* x += attention of norm3(x) to text and image */
    mark = hm_save(g);
    h = hm_layernorm(g, x, w->norm3_w, w->norm3_b, eps);
    show(f, "norm3", h);
    h = cross_attention(f, &w->cross, h);
    show(f, "cross_attn", h);
    x = hm_settle(g, mark, x, hm_add_t(g, x, h));
    show(f, "x_after_cross", x);

    /* x += gate * mlp(norm(x) (1 + scale) + shift) */
    mark = hm_save(g);
    h = hm_norm_modulate(g, x, mod, f->row, SHIFT_FFN, SCALE_FFN, true, eps);
    show(f, "norm2_mod", h);
    h = hm_linear_gelu(g, h, w->ffn0_w, w->ffn0_b);
    show(f, "ffn_gelu", h);
    h = hm_linear(g, h, w->ffn2_w, w->ffn2_b);
    show(f, "ffn", h);
    x = hm_settle(g, mark, x, hm_add_gated(g, x, h, mod, f->row, GATE_FFN));
    hm_restore(g, start);
    return x;
}

/* ---- conditions ---- */

static void embed_time(wan_fwd *f)
{
    hm_graph *g = f->g;
    const hm_wan *m = f->m;
    const int n = f->in->n_levels;
    hm_tensor *s = hm_new(g, HM_F32, HM_DIMS(n, m->cfg.freq_dim));
    if (!hm_is_plan(g)) hm_wan_sinusoid(f->in->levels, n, m->cfg.freq_dim, s->data);
    show(f, "time_sin", s);
    f->e = linear_f32(g, hm_silu(g, linear_f32(g, s, m->time0_w, m->time0_b)), m->time2_w, m->time2_b);
    f->e0 = linear_f32(g, hm_silu(g, f->e), m->proj_w, m->proj_b);
    show(f, "e", f->e);
    show(f, "e0", f->e0);
}

static void embed_text(wan_fwd *f)
{
    hm_graph *g = f->g;
    const hm_wan *m = f->m;
    const int64_t len = m->cfg.text_len, width = m->cfg.text_dim;
    assert(f->in->n_text <= len);
    hm_tensor *t = hm_zeros(g, HM_F32, HM_DIMS(1, len, width));
    if (!hm_is_plan(g)) memcpy(t->data, f->in->text, (size_t)(f->in->n_text * width) * sizeof(float));
    f->text = hm_linear(g, hm_linear_gelu(g, t, m->text0_w, m->text0_b), m->text2_w, m->text2_b);
    show(f, "text_embed", f->text);
}

static void embed_image(wan_fwd *f)
{
    hm_graph *g = f->g;
    const hm_wan *m = f->m;
    const int64_t n = f->in->n_clip, width = m->cfg.clip_dim;
    if (!width || !f->in->clip) return;
    hm_tensor *c = hm_new(g, HM_F32, HM_DIMS(1, n, width));
    if (!hm_is_plan(g)) memcpy(c->data, f->in->clip, (size_t)(n * width) * sizeof(float));
    if (m->img_pos) {
        assert(n == m->cfg.clip_pos);
        c = hm_add_t(g, c, hm_cast(g, m->img_pos, HM_F32));
    }
    c = hm_linear(g, hm_layernorm(g, c, m->img0_w, m->img0_b, 1e-5f), m->img1_w, m->img1_b);
    gelu_erf(g, c);
    f->image = hm_layernorm(g, hm_linear(g, c, m->img3_w, m->img3_b), m->img4_w, m->img4_b, 1e-5f);
    show(f, "img_embed", f->image);
}

/* ---- VACE: a second stream whose blocks give hints to the main one ---- */

/* Advances the stream c by block i; returns its hint [1,N,D]. */
static hm_tensor *vace_hint(wan_fwd *f, int i, hm_tensor *c, const hm_tensor *x0)
{
    hm_graph *g = f->g;
    const hm_wan_layer *w = &f->m->vace[i];
    const hm_mark mark = hm_save(g);
    if (w->before_w) c = hm_settle(g, mark, c, hm_add_t(g, hm_cast(g, hm_linear(g, c, w->before_w, w->before_b), HM_F32), (hm_tensor *)(uintptr_t)x0));
    char scope[32];
    snprintf(scope, sizeof scope, "vace%d.", i);
    c = block(f, w, c);
    f->scope = scope;
    show(f, "c", c);
    hm_tensor *hint = hm_linear(g, c, w->after_w, w->after_b);
    show(f, "hint", hint);
    f->scope = "";
    return hint;
}

/* ---- the step ---- */

int64_t hm_wan_tokens(const hm_wan_config *c, const hm_wan_input *in)
{
    return (int64_t)(in->T / c->patch[0]) * (in->H / c->patch[1]) * (in->W / c->patch[2]);
}

static void prepare(wan_fwd *f)
{
    hm_graph *g = f->g;
    const hm_wan_config *c = &f->m->cfg;
    const int size[3] = {f->in->T, f->in->H, f->in->W}, head_dim = c->dim / c->n_heads;
    for (int i = 0; i < 3; i++) {
        assert(size[i] > 0 && size[i] % c->patch[i] == 0);
        f->grid[i] = size[i] / c->patch[i];
    }
    f->N = hm_wan_tokens(c, f->in);
    hm_tensor *row = hm_zeros(g, HM_I32, HM_DIMS(f->N));
    f->row = f->in->row ? f->in->row : row->data;
    f->cosine = hm_new(g, HM_F32, HM_DIMS(1, f->N, head_dim / 2));
    f->sine = hm_new(g, HM_F32, HM_DIMS(1, f->N, head_dim / 2));
    if (!hm_is_plan(g)) hm_wan_rope(head_dim, f->grid, f->cosine->data, f->sine->data);
    embed_time(f);
    embed_text(f);
    embed_image(f);
}

static hm_tensor *blocks(wan_fwd *f, hm_tensor *x)
{
    hm_graph *g = f->g;
    const hm_wan_config *cfg = &f->m->cfg;
    hm_tensor *c = NULL, *x0 = NULL;
    if (cfg->n_vace && f->in->vace) { /* the stream starts from the context and from x before block 0 */
        c = hm_cast(g, embed_patches(f, f->m->vace_patch_w, f->m->vace_patch_b, f->in->vace, cfg->vace_in_dim, NULL), HM_F32);
        show(f, "vace_patch_embed", c);
        x0 = hm_new(g, HM_F32, x->nd, x->dim);
        if (!hm_is_plan(g)) memcpy(x0->data, x->data, (size_t)hm_numel(x) * sizeof(float));
    }
    for (int l = 0; l < cfg->n_layers; l++) {
        char scope[32];
        const hm_mark mark = hm_save(g);
        snprintf(scope, sizeof scope, "b%d.", l);
        f->scope = scope;
        x = block(f, &f->m->layers[l], x);
        if (c && l % cfg->vace_every == 0 && l / cfg->vace_every < cfg->n_vace) {
            f->scope = "";
            hm_tensor *hint = vace_hint(f, l / cfg->vace_every, c, x0);
            x = hm_settle(g, mark, x, hm_add_t(g, x, hm_scale_t(g, hint, f->in->vace_scale)));
            f->scope = scope;
        }
        show(f, "out", x);
        hm_restore(g, mark);
    }
    f->scope = "";
    return x;
}

void hm_wan_forward(hm_graph *g, const hm_wan *m, const hm_wan_input *in, float *out)
{
    wan_fwd f = {.g = g, .m = m, .in = in, .scope = ""};
    const hm_mark mark = hm_save(g);
    prepare(&f);
    hm_tensor *x = embed_patches(&f, m->patch_w, m->patch_b, in->x, m->cfg.out_dim, in->y);
    show(&f, "patch_embed", x);
    x = hm_cast(g, x, HM_F32); /* the residual stream */
    x = blocks(&f, x);
    hm_tensor *mod = hm_mod_table(g, f.e, hm_reshape(g, m->head_table, HM_DIMS(2, m->cfg.dim)));
    x = hm_norm_modulate(g, x, mod, f.row, 0, 1, true, m->cfg.eps);
    x = hm_cast(g, hm_linear(g, x, m->head_w, m->head_b), HM_F32);
    show(&f, "head", x);
    if (!hm_is_plan(g)) unpatchify(&f, out, x->data);
    hm_restore(g, mark);
}
