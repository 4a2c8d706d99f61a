/* vae_stream.c - encoder and decoder of the video VAE, piece by piece.   SPDX-License-Identifier: MIT
 *   decoder: latents [1,T,h,w,C] -conv in-> blocks (residual blocks, depth to space) -norm, conv out,
 * unpatchify-> pixels encoder: pixels -patchify, conv in-> blocks (residual blocks, strided convs or space to
 * depth) -norm, conv out-> latents Every convolution sees three frames. In time a causal one is padded with
 * two copies of the first frame, the others with one copy of the first and one of the last. A stream keeps,
 * before each convolution, the last one or two frames of its padded input, and beside it what its shortcut
 * waits for: the pieces then have the numbers of the whole. Traps: encoders are always causal, decoders as
 * released are not; pixel norm has epsilon 1e-8; depth to space drops the first frame of a film, space to
 * depth repeats it; a res_x_y shortcut goes through a real LayerNorm. */
#include <stdio.h>
#include <string.h>

#include "models/ltx/vae.h"
#include "models/ltx/vae_ops.h"
#include "tensor/graph.h"

/* Frames of an activation that wait for later ones. */
typedef struct {
    void *data;
    int64_t n, cap;
    bool started;
} line;

typedef struct {
    line conv1, conv2, skip;
    float *map1, *map2, *strength1, *strength2; /* injected noise */
} res_state;

typedef struct {
    line conv, skip, rest, rest_skip; /* rest: of space to depth, frames without a partner */
    bool dropped;
    int64_t h, w; /* of its input */
    res_state *res;
    float *shift; /* [n_res][4][C] shift, scale, shift, scale of a timed block */
} block_state;

struct hm_vae_stream {
    hm_graph *g;
    const hm_vae *m;
    const hm_vae_half *half;
    hm_vae_opts o;
    bool decoder, causal;
    line in, out;
    block_state *block;
    float *end; /* [2][C] shift, scale before conv out; NULL: none */
};

/* ---- lines ---- */

static void line_new(hm_graph *g, line *l, int64_t cap, int64_t frame)
{
    *l = (line){.cap = cap};
    l->data = hm_alloc(g, (uint64_t)(cap * frame) * hm_dtype_size(hm_act(g)));
}

static int64_t frames(const hm_tensor *x)
{
    return x ? x->dim[1] : 0;
}

static size_t frame_bytes(const hm_tensor *x)
{
    return (size_t)(hm_numel(x) / x->dim[1]) * hm_dtype_size(x->dtype);
}

/* What waits, front copies of the first frame of all, x, back copies of the last one. NULL if that is
 * nothing. like gives the shape where x is NULL. */
static hm_tensor *line_join(hm_graph *g, line *l, hm_tensor *x, const int64_t like[5], int64_t front,
                            int64_t back)
{
    if (l->started) front = 0;
    const int64_t T = frames(x), n = l->n + front + T + back;
    if (T) l->started = true;
    if (l->n + T == 0) return NULL;
    if (x && n == T) return x;
    hm_tensor *y = hm_new(g, hm_act(g), HM_DIMS(1, n, like[2], like[3], like[4]));
    if (hm_is_plan(g)) return y;
    const size_t f = frame_bytes(y);
    char *at = y->data;
    if (l->n) memcpy(at, l->data, (size_t)l->n * f);
    at += (size_t)l->n * f;
    for (int64_t i = 0; i < front; i++, at += f) memcpy(at, x->data, f);
    if (T) memcpy(at, x->data, (size_t)T * f);
    at += (size_t)T * f;
    for (int64_t i = 0; i < back; i++, at += f) memcpy(at, at - f, f);
    return y;
}

/* Frames from..end of joined wait for the next piece. */
static void line_keep(const hm_graph *g, line *l, const hm_tensor *joined, int64_t from)
{
    l->n = joined ? joined->dim[1] - from : 0;
    assert(l->n >= 0 && l->n <= l->cap);
    if (l->n && !hm_is_plan(g))
        memcpy(l->data, (char *)joined->data + (size_t)from * frame_bytes(joined),
               (size_t)l->n * frame_bytes(joined));
}

/* The first n frames of joined as a view. */
static hm_tensor *head(hm_graph *g, hm_tensor *joined, int64_t n)
{
    return hm_wrap(g, joined->dtype, HM_DIMS(1, n, joined->dim[2], joined->dim[3], joined->dim[4]),
                   joined->data);
}

/* ---- parts ---- */

static void show(const hm_vae_stream *s, const char *name, const hm_tensor *t)
{
    if (s->o.on_tensor && t) s->o.on_tensor(s->o.user, name, t);
}

static hm_tensor *conv(hm_vae_stream *s, const hm_vae_conv *c, line *l, hm_tensor *x, const int64_t like[5],
                       const int stride[3], bool last)
{
    hm_graph *g = s->g;
    hm_tensor *in = line_join(g, l, x, like, s->causal ? 2 : 1, last && !s->causal ? 1 : 0);
    const int64_t have = frames(in), st = stride[0], n = have < 3 ? 0 : (have - 3) / st + 1;
    if (in) line_keep(g, l, in, n * st);
    if (!n) return NULL;
    in = head(g, in, (n - 1) * st + 3);
    hm_conv_opts o = {.stride = {stride[0], stride[1], stride[2]}, .pad = {0, 1, 1}, .w_oik = true};
    if (s->m->pad != HM_VAE_ZEROS) {
        in = hm_pad_space(g, in, s->m->pad == HM_VAE_REFLECT);
        o.pad[1] = o.pad[2] = 0;
    }
    return hm_conv(g, in, c->w, c->b, &o);
}

static const int ones[3] = {1, 1, 1};

static hm_tensor *shortcut(hm_graph *g, const hm_vae_res *w, hm_tensor *x)
{
    if (!w->short_w) return x;
    x = hm_layernorm(g, x, w->norm3_w, w->norm3_b, 1e-6f);
    hm_tensor *flat =
        hm_wrap(g, w->short_w->dtype, HM_DIMS(w->short_w->dim[0], w->short_w->dim[1]), w->short_w->data);
    return hm_linear(g, x, flat, w->short_b);
}

/* x + conv2(silu(norm(conv1(silu(norm(x)))))) of block b, layer l. */
static hm_tensor *res(hm_vae_stream *s, int b, int l, hm_tensor *x, const int64_t like[5], bool last)
{
    hm_graph *g = s->g;
    const hm_vae_block *vb = &s->half->blocks[b];
    const hm_vae_res *w = &vb->res[l];
    res_state *st = &s->block[b].res[l];
    const float *ada = s->block[b].shift ? s->block[b].shift + (int64_t)l * 4 * vb->in_c : NULL;
    const int64_t C = vb->in_c;
    const int64_t mid[5] = {1, 0, like[2], like[3], vb->out_c};
    const bool first = s->decoder && !b && !l;
    hm_tensor *h = x ? hm_pixel_norm_silu(g, x, ada, ada ? ada + C : NULL) : NULL;
    if (first) show(s, "res0.conv1_in", h);
    h = conv(s, &w->conv1, &st->conv1, h, like, ones, last);
    if (first) show(s, "res0.conv1", h);
    if (h && st->map1) hm_add_map(g, h, st->map1, st->strength1);
    h = h ? hm_pixel_norm_silu(g, h, ada ? ada + 2 * C : NULL, ada ? ada + 3 * C : NULL) : NULL;
    if (first) show(s, "res0.conv2_in", h);
    h = conv(s, &w->conv2, &st->conv2, h, mid, ones, last);
    if (first) show(s, "res0.conv2", h);
    if (h && st->map2) hm_add_map(g, h, st->map2, st->strength2);
    hm_tensor *skip = line_join(g, &st->skip, x, like, 0, 0);
    if (skip) line_keep(g, &st->skip, skip, frames(h));
    return h ? hm_add_t(g, shortcut(g, w, head(g, skip, frames(h))), h) : NULL;
}

static hm_tensor *space_to_depth(hm_vae_stream *s, const hm_vae_block *b, block_state *st, hm_tensor *x,
                                 const int64_t like[5], bool last)
{
    hm_graph *g = s->g;
    if (b->stride[0] == 2 && x && !st->dropped) { /* the first frame twice */
        line none = {0};
        st->dropped = true;
        x = line_join(g, &none, x, like, 1, 0);
    }
    hm_tensor *y = conv(s, &b->conv, &st->conv, x, like, ones, last);
    const int64_t inner[5] = {1, 0, like[2], like[3],
                              b->out_c / (b->stride[0] * b->stride[1] * b->stride[2])};
    hm_tensor *jy = line_join(g, &st->rest, y, inner, 0, 0),
              *jx = line_join(g, &st->rest_skip, x, like, 0, 0);
    const int64_t n = frames(jy) / b->stride[0] * b->stride[0];
    if (jy) line_keep(g, &st->rest, jy, n), line_keep(g, &st->rest_skip, jx, n);
    return n ? hm_space_to_depth(g, head(g, jy, n), head(g, jx, n), b->stride) : NULL;
}

static hm_tensor *depth_to_space(hm_vae_stream *s, const hm_vae_block *b, block_state *st, hm_tensor *x,
                                 const int64_t like[5], bool last)
{
    hm_graph *g = s->g;
    hm_tensor *y = conv(s, &b->conv, &st->conv, x, like, ones, last), *skip = NULL;
    if (b->residual) {
        skip = line_join(g, &st->skip, x, like, 0, 0);
        if (skip) line_keep(g, &st->skip, skip, frames(y));
    }
    if (!y) return NULL;
    const bool drop = b->stride[0] == 2 && !st->dropped;
    st->dropped = true;
    return hm_depth_to_space(g, y, skip ? head(g, skip, frames(y)) : NULL, b->stride, drop);
}

static hm_tensor *block(hm_vae_stream *s, int i, hm_tensor *x, bool last)
{
    const hm_vae_block *b = &s->half->blocks[i];
    block_state *st = &s->block[i];
    const int64_t like[5] = {1, 0, st->h, st->w, b->in_c};
    switch (b->kind) {
    case HM_VAE_STRIDED: return conv(s, &b->conv, &st->conv, x, like, b->stride, last);
    case HM_VAE_S2D: return space_to_depth(s, b, st, x, like, last);
    case HM_VAE_D2S: return depth_to_space(s, b, st, x, like, last);
    case HM_VAE_RES: break;
    }
    for (int l = 0; l < b->n_res; l++) {
        const hm_mark mark = hm_save(s->g);
        hm_tensor *y = res(s, i, l, x, like, last);
        if (!x || !y || frames(x) < frames(y) || hm_last(x) != hm_last(y)) {
            x = y;
        } else {
            x->dim[1] = frames(y); /* ours: nobody else holds it */
            x = hm_settle(s->g, mark, x, y);
        }
    }
    return x;
}

hm_tensor *hm_vae_push(hm_vae_stream *s, hm_tensor *x, bool last)
{
    hm_graph *g = s->g;
    const hm_vae *m = s->m;
    char name[16];
    x = hm_cast(g, x, hm_act(g));
    if (!s->decoder) {
        x = hm_patchify(g, x, m->patch);
        show(s, "patchify", x);
    }
    x = conv(s, &s->half->in, &s->in, x, x->dim, ones, last);
    show(s, "conv_in", x);
    for (int i = 0; i < s->half->n_blocks; i++) {
        x = block(s, i, x, last);
        snprintf(name, sizeof name, "%s%d", s->decoder ? "up" : "down", i);
        show(s, name, x);
    }
    const int n = s->half->n_blocks;
    const int64_t C = s->half->out_c;
    const int64_t like[5] = {1, 0, s->block[n].h, s->block[n].w, C};
    x = x ? hm_pixel_norm_silu(g, x, s->end, s->end ? s->end + C : NULL) : NULL;
    show(s, "conv_out_in", x);
    x = conv(s, &s->half->out, &s->out, x, like, ones, last);
    return x && s->decoder ? hm_unpatchify(g, x, m->patch) : x;
}

/* ---- state ---- */

/* A copy of a parameter in the arena as f32. */
static float *as_f32(hm_graph *g, const hm_tensor *t)
{
    float *f = hm_alloc(g, (uint64_t)hm_numel(t) * sizeof *f);
    if (!hm_is_plan(g)) hm_convert(f, HM_F32, t->data, t->dtype, (size_t)hm_numel(t));
    return f;
}

/* Sinusoids of t -> linear, silu, linear: [n] f32. */
static const float *embed(hm_graph *g, float t, hm_tensor *const w[4])
{
    hm_tensor *in = hm_new(g, HM_F32, HM_DIMS(1));
    if (!hm_is_plan(g)) *(float *)in->data = t;
    hm_tensor *e = hm_cast(g, hm_sinusoid(g, in->data, 1, 256), hm_act(g));
    e = hm_linear(g, hm_silu(g, hm_linear(g, e, w[0], w[1])), w[2], w[3]);
    return hm_cast(g, e, HM_F32)->data;
}

/* y = table [rows,C] + e [rows*C]. */
static void timed(hm_vae_stream *s, float *y, const hm_tensor *table, hm_tensor *const w[4], const char *name)
{
    hm_graph *g = s->g;
    const int64_t n = hm_numel(table);
    const hm_mark mark = hm_save(g);
    const float *e = embed(g, s->o.timestep * s->m->t_scale, w);
    if (!hm_is_plan(g)) {
        if (name) show(s, name, hm_wrap(g, HM_F32, HM_DIMS(n), (void *)(uintptr_t)e));
        hm_convert(y, HM_F32, table->data, table->dtype, (size_t)n);
        for (int64_t i = 0; i < n; i++) y[i] += e[i];
    }
    hm_restore(g, mark);
}

static float *noise_map(hm_vae_stream *s, int64_t n)
{
    float *map = hm_alloc(s->g, (uint64_t)n * sizeof *map);
    if (hm_is_plan(s->g)) return map;
    memset(map, 0, (size_t)n * sizeof *map);
    if (s->o.noise) s->o.noise(s->o.user, map, n);
    return map;
}

static void res_new(hm_vae_stream *s, const hm_vae_block *b, block_state *st, bool first)
{
    hm_graph *g = s->g;
    const int64_t area = st->h * st->w;
    st->res = hm_alloc(g, (uint64_t)b->n_res * sizeof *st->res);
    memset(st->res, 0, (size_t)b->n_res * sizeof *st->res);
    if (b->timed) {
        hm_tensor *const w[4] = {b->t1_w, b->t1_b, b->t2_w, b->t2_b};
        st->shift = hm_alloc(g, (uint64_t)b->n_res * 4 * (uint64_t)b->in_c * sizeof(float));
        for (int l = 0; l < b->n_res; l++)
            timed(s, st->shift + (int64_t)l * 4 * b->in_c, b->res[l].table, w,
                  first && !l ? "time_embedder" : NULL);
    }
    for (int l = 0; l < b->n_res; l++) {
        line_new(g, &st->res[l].conv1, 3, area * b->in_c);
        line_new(g, &st->res[l].conv2, 3, area * b->out_c);
        line_new(g, &st->res[l].skip, 3, area * b->in_c);
        if (!b->res[l].noise1) continue;
        st->res[l].map1 = noise_map(s, area);
        st->res[l].map2 = noise_map(s, area);
        st->res[l].strength1 = as_f32(g, b->res[l].noise1);
        st->res[l].strength2 = as_f32(g, b->res[l].noise2);
    }
}

static void block_new(hm_vae_stream *s, int i)
{
    hm_graph *g = s->g;
    const hm_vae_block *b = &s->half->blocks[i];
    block_state *st = &s->block[i];
    const int64_t area = st->h * st->w;
    if (b->kind == HM_VAE_RES) {
        res_new(s, b, st, s->decoder && !i);
    } else {
        line_new(g, &st->conv, 3, area * b->in_c);
        line_new(g, &st->skip, 3, area * b->in_c);
    }
    if (b->kind == HM_VAE_S2D) {
        line_new(g, &st->rest, 1, area * b->out_c / (b->stride[0] * b->stride[1] * b->stride[2]));
        line_new(g, &st->rest_skip, 1, area * b->in_c);
    }
    block_state *next = &s->block[i + 1];
    const bool up = b->kind == HM_VAE_D2S;
    next->h = up ? st->h * b->stride[1] : (st->h + b->stride[1] - 1) / b->stride[1];
    next->w = up ? st->w * b->stride[2] : (st->w + b->stride[2] - 1) / b->stride[2];
}

static hm_vae_stream *stream(hm_graph *g, const hm_vae *m, bool decoder, int64_t h, int64_t w,
                             const hm_vae_opts *o)
{
    hm_vae_stream *s = hm_alloc(g, sizeof *s);
    *s = (hm_vae_stream){.g = g, .m = m, .half = decoder ? &m->dec : &m->enc, .o = *o, .decoder = decoder};
    s->causal = !decoder || o->causal;
    const int n = s->half->n_blocks, p = decoder ? 1 : m->patch;
    s->block = hm_alloc(g, (uint64_t)(n + 1) * sizeof *s->block);
    memset(s->block, 0, (size_t)(n + 1) * sizeof *s->block);
    s->block[0].h = h / p;
    s->block[0].w = w / p;
    line_new(g, &s->in, 3, h / p * (w / p) * s->half->in.w->dim[1]);
    for (int i = 0; i < n; i++) block_new(s, i);
    line_new(g, &s->out, 3, s->block[n].h * s->block[n].w * s->half->out_c);
    if (decoder && m->timed) {
        hm_tensor *const t[4] = {m->t1_w, m->t1_b, m->t2_w, m->t2_b};
        s->end = hm_alloc(g, 2 * (uint64_t)s->half->out_c * sizeof *s->end);
        timed(s, s->end, m->table, t, "last_time_embedder");
    }
    return s;
}

hm_vae_stream *hm_vae_encoder(hm_graph *g, const hm_vae *m, int64_t h, int64_t w, const hm_vae_opts *o)
{
    return stream(g, m, false, h, w, o);
}

hm_vae_stream *hm_vae_decoder(hm_graph *g, const hm_vae *m, int64_t h, int64_t w, const hm_vae_opts *o)
{
    return stream(g, m, true, h, w, o);
}
