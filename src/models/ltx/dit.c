/* dit.c - LTX-Video's transformer, one denoising step.   SPDX-License-Identifier: MIT
 *   x [B,N,C] -patchify_proj-> [B,N,D] -blocks: self-attention, attention to the text, mlp-> norm -proj_out->
 * velocity levels [R] -sinusoids, mlp-> e [R,D] -silu, linear-> [R,6D], + each block's table = its modulation
 * Source: Lightricks/LTX-Video ltx_video/models/transformers/{transformer3d,attention}.py.
 * Oracle: golden/ltx_dit, ltx_dit44, ltx_rope.   Binding and configuration: dit_params.c.
 * Memory: weights are views; without a tape the residual stream stays in one buffer and every sub-block gives
 * back the rest. Traps:  attn2 has no norm before it and no gate; q and k norms (epsilon 1e-5, the others
 * 1e-6) are over all of D, before the head split and before RoPE, in attn2 too; RoPE spans all of D, so every
 * head sees other frequencies; the end adds e itself (before silu) to the model's own table. */
#include "models/ltx/dit.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define DIT_QK_EPS 1e-5f
enum { DIT_SINUSOIDS = 256 };
/* Rows of a block's modulation. */
enum { SHIFT_MSA, SCALE_MSA, GATE_MSA, SHIFT_MLP, SCALE_MLP, GATE_MLP };

typedef struct {
    hm_graph *g;
    const hm_dit *m;
    const hm_dit_input *in;
    hm_tensor *text, *ada; /* [B,M,D], [R,6D] */
    int layer;
} dit_fwd;

/* For parity: "b<layer>.<what>" or, before the blocks, what alone. */
static void show(const dit_fwd *f, const char *what, const hm_tensor *t)
{
    char name[64];
    if (!f->in->on_tensor) return;
    if (f->layer < 0)
        snprintf(name, sizeof name, "%s", what);
    else
        snprintf(name, sizeof name, "b%d%s", f->layer, what);
    f->in->on_tensor(f->in->user, name, t);
}

static bool perturbed(const dit_fwd *f, int mode)
{
    return f->in->stg_mode == mode && f->in->stg_keep && f->layer < 64 && f->in->stg_layers >> f->layer & 1;
}

/* y's samples whose keep is 0 become from's. In place: for guidance, which has no tape. */
static hm_tensor *replace_perturbed(const dit_fwd *f, hm_tensor *y, const hm_tensor *from)
{
    assert(!y->needs_grad && y->dtype == from->dtype && hm_numel(y) == hm_numel(from));
    const int64_t B = y->dim[0];
    const size_t bytes = (size_t)(hm_numel(y) / B) * hm_dtype_size(y->dtype);
    if (!hm_is_plan(f->g))
        for (int64_t b = 0; b < B; b++)
            if (f->in->stg_keep[b] == 0.0f)
                memcpy((char *)y->data + (size_t)b * bytes, (const char *)from->data + (size_t)b * bytes,
                       bytes);
    return y;
}

/* x attends to y. Self-attention (rotated, open to guidance) if they are the same. */
static hm_tensor *attention(const dit_fwd *f, const hm_dit_attn *w, hm_tensor *x, hm_tensor *y)
{
    hm_graph *g = f->g;
    const hm_dit_config *c = &f->m->cfg;
    const bool self = x == y;
    hm_tensor *q = hm_rmsnorm(g, hm_linear(g, x, w->q_w, w->q_b), w->q_norm, DIT_QK_EPS);
    hm_tensor *k = hm_rmsnorm(g, hm_linear(g, y, w->k_w, w->k_b), w->k_norm, DIT_QK_EPS);
    hm_tensor *v = hm_linear(g, y, w->v_w, w->v_b);
    if (self) {
        show(f, ".attn1.q_norm", q);
        show(f, ".attn1.k_norm", k);
        q = hm_rope(g, q, f->in->cosine, f->in->sine);
        k = hm_rope(g, k, f->in->cosine, f->in->sine);
    }
    const float scale = 1.0f / sqrtf((float)c->head_dim);
    hm_tensor *a = hm_attention(g, q, k, v, c->n_heads, scale, self ? NULL : f->in->text_mask, NULL);
    if (self && perturbed(f, HM_STG_ATTENTION_VALUES)) a = replace_perturbed(f, a, v);
    if (self && perturbed(f, HM_STG_ATTENTION_SKIP)) a = replace_perturbed(f, a, x);
    return hm_linear(g, a, w->o_w, w->o_b);
}

/* What the whole caption says, the mean over its tokens, for n rows that belong to the samples in equal parts:
 * [B,M,C] -> [n,D]. Attention gives a token words one by one and adds; this multiplies, so that a word can turn a direction
 * round ("pans left"). */
static hm_tensor *embed_caption(const dit_fwd *f, hm_tensor *w, int64_t n)
{
    hm_graph *g = f->g;
    const int64_t B = f->in->text->dim[0], M = f->in->text->dim[1];
    assert(n % B == 0);
    hm_tensor *weight = hm_new(g, HM_F32, HM_DIMS(B, M)), *rows = hm_new(g, HM_I32, HM_DIMS(n));
    if (!hm_is_plan(g)) {
        const float *mask = f->in->text_mask ? f->in->text_mask->data : NULL;
        for (int64_t i = 0; i < B * M; i++) ((float *)weight->data)[i] = !mask || mask[i] > -1 ? 1.0f : 0.0f;
        for (int64_t r = 0; r < n; r++) ((int32_t *)rows->data)[r] = (int32_t)(r / (n / B));
    }
    hm_tensor *mean = hm_mean_rows(g, hm_cast(g, f->in->text, hm_act(g)), weight);
    return hm_gather_rows(g, hm_linear(g, mean, w, NULL), rows->data, n);
}

/* h plus what its neighbours in time and space say, and what they say times the caption: "pans left" means that what is there moves,
 * whatever it is, so that the film changes by its slope times a direction. */
static hm_tensor *mix_neighbours(const dit_fwd *f, const hm_dit_layer *w, hm_tensor *h)
{
    hm_graph *g = f->g;
    const int64_t R = f->in->n_levels, D = h->dim[2];
    hm_tensor *y = hm_local_mix(g, h, w->local_w, f->in->grid);
    if (!w->local_gate_w) return y;
    hm_tensor *gate = hm_reshape(g, hm_cast(g, embed_caption(f, w->local_gate_w, R), HM_F32), 3, (int64_t[]){R, 1, D});
    hm_tensor *near = hm_sub_t(g, hm_local_mix(g, h, w->local_caption_w, f->in->grid), h);
    return hm_add_gated(g, y, near, gate, f->in->row, 0);
}

/* One block; x is the residual stream, and the returned tensor is its next state. */
static hm_tensor *block(dit_fwd *f, const hm_dit_layer *w, hm_tensor *x)
{
    hm_graph *g = f->g;
    const int32_t *row = f->in->row;
    const float eps = f->m->cfg.norm_eps;
    hm_tensor *mod = hm_mod_table(g, f->ada, w->table);                   /* [R,6,D] */
    if (f->in->on_tensor) show(f, ".norm1", hm_rmsnorm(g, x, NULL, eps)); /* fused below */

    /* x += gate * self-attention(rms(x) (1 + scale) + shift) */
    hm_mark mark = hm_save(g);
    hm_tensor *h = hm_norm_modulate(g, x, mod, row, SHIFT_MSA, SCALE_MSA, false, eps);
    h = attention(f, &w->attn1, h, h);
    show(f, ".attn1", h);
    x = hm_settle(g, mark, x, hm_add_gated(g, x, h, mod, row, GATE_MSA));

    /* x += attention of x to the text */
    mark = hm_save(g);
    h = attention(f, &w->attn2, x, f->text);
    show(f, ".attn2", h);
    x = hm_settle(g, mark, x, hm_add_t(g, x, h));

    /* x += gate * mlp(rms(x) (1 + scale) + shift) */
    mark = hm_save(g);
    h = hm_norm_modulate(g, x, mod, row, SHIFT_MLP, SCALE_MLP, false, eps);
    if (w->local_w) h = mix_neighbours(f, w, h);
    h = hm_linear(g, hm_linear_gelu(g, h, w->ff1_w, w->ff1_b), w->ff2_w, w->ff2_b);
    show(f, ".ff", h);
    return hm_settle(g, mark, x, hm_add_gated(g, x, h, mod, row, GATE_MLP));
}

/* Noise levels -> e [R,D], and ada [R,6D] for the blocks. */
static hm_tensor *embed_levels(dit_fwd *f)
{
    hm_graph *g = f->g;
    const hm_dit *m = f->m;
    const int64_t R = f->in->n_levels;
    hm_tensor *t = hm_new(g, HM_F32, HM_DIMS(R));
    if (!hm_is_plan(g))
        for (int64_t r = 0; r < R; r++) ((float *)t->data)[r] = f->in->levels[r] * 1000.0f;
    hm_tensor *s = hm_sinusoid(g, t->data, R, DIT_SINUSOIDS);
    show(f, "time_proj", s);
    s = hm_cast(g, s, hm_act(g));
    hm_tensor *e = hm_silu(g, hm_linear(g, s, m->t1_w, m->t1_b));
    e = hm_linear(g, e, m->t2_w, m->t2_b);
    if (m->cfg.caption_modulation) e = hm_add_t(g, e, embed_caption(f, m->caption_w, R));
    f->ada = hm_linear(g, hm_silu(g, e), m->ada_w, m->ada_b);
    show(f, "embedded_timestep", e);
    show(f, "adaln", f->ada);
    return e;
}

/* x plus what a token's place in the picture says: [N,P] -> [B,N,D]. Rotary positions alone tell a token how far another one
 * is, never where it is itself: among equal tokens attention averages equal values, whatever its weights. With caption_modulation
 * also the product of place and caption. */
static hm_tensor *add_place(const dit_fwd *f, hm_tensor *x)
{
    const int64_t B = x->dim[0], N = x->dim[1], P = f->m->cfg.place_features;
    assert(f->in->place);
    hm_tensor *p = hm_new(f->g, HM_F32, HM_DIMS(B, N, P));
    if (!hm_is_plan(f->g))
        for (int64_t b = 0; b < B; b++)
            memcpy((float *)p->data + b * N * P, f->in->place, (size_t)(N * P) * sizeof(float));
    p = hm_linear(f->g, hm_cast(f->g, p, hm_act(f->g)), f->m->place_w, NULL);
    x = hm_add_t(f->g, x, p);
    if (!f->m->cfg.caption_modulation) return x;
    hm_tensor *c = hm_reshape(f->g, embed_caption(f, f->m->caption_place_w, B * N), p->nd, p->dim);
    return hm_add_t(f->g, x, hm_mul_t(f->g, p, c)); /* "left" times where left is */
}

hm_tensor *hm_dit_forward(hm_graph *g, const hm_dit *m, const hm_dit_input *in)
{
    dit_fwd f = {.g = g, .m = m, .in = in, .layer = -1};
    const hm_dit_config *c = &m->cfg;
    assert(in->x->nd == 3 && in->x->dim[2] == c->in_channels && in->text->dim[2] == c->caption_channels);
    hm_tensor *e = embed_levels(&f);
    f.text = hm_cast(g, in->text, hm_act(g));
    f.text = hm_linear(g, hm_linear_gelu(g, f.text, m->cap1_w, m->cap1_b), m->cap2_w, m->cap2_b);
    show(&f, "caption_projection", f.text);
    hm_tensor *x = hm_linear(g, hm_cast(g, in->x, hm_act(g)), m->patch_w, m->patch_b);
    show(&f, "patchify_proj", x);
    if (c->place_features) x = add_place(&f, x);
    for (f.layer = 0; f.layer < c->n_layers; f.layer++) {
        const hm_mark mark = hm_save(g);
        hm_tensor *before = NULL;
        if (perturbed(&f, HM_STG_BLOCK)) { /* the stream is overwritten below: keep a copy */
            before = hm_new(g, x->dtype, x->nd, x->dim);
            if (!hm_is_plan(g)) memcpy(before->data, x->data, (size_t)hm_numel(x) * hm_dtype_size(x->dtype));
        }
        hm_tensor *y = block(&f, &m->layers[f.layer], x);
        if (before) y = replace_perturbed(&f, y, before);
        show(&f, "", y);
        x = hm_settle(g, mark, x, y);
        if (f.layer + 1 == in->tap) *in->tapped = x;
    }
    f.layer = -1;
    hm_tensor *mod = hm_mod_table(g, e, m->table); /* [R,2,D]: shift, scale */
    x = hm_norm_modulate(g, x, mod, in->row, 0, 1, true, c->norm_eps);
    x = hm_linear(g, x, m->out_w, m->out_b);
    show(&f, "sample", x);
    return x;
}
