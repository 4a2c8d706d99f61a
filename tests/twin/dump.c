/* dump.c - what the C code computes, for the PyTorch twin to compare: himmel-twin-dump WEIGHTS OUT.safetensors
 * SPDX-License-Identifier: MIT
 * In f32 on fixed inputs: text encoder, transformer, loss and all gradients, 20 steps of the sampler, 20 steps of the
 * optimiser, the codec both ways, the refiner with gradients and 20 steps. Everything that went in is in the file too. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "film/film.h"
#include "train/optim.h"
#include "train/refine.h"

enum { B = 2, T = 2, GH = 4, GW = 4, AREA = GH * GW, FILM = T * AREA, N = FILM + AREA, STEPS = 20, CROP = 16, NOISE_STREAM = 0x66696c6d };

typedef struct {
    hm_st_writer *w;
    himmel_error err;
    void *mem[4096];
    size_t n;
} dump;

static _Noreturn void die(const dump *d)
{
    fprintf(stderr, "himmel-twin-dump: %s\n", d->err.message);
    exit(1);
}

/* A copy of data under name; returns the copy. */
static void *put(dump *d, const char *name, hm_dtype type, int nd, const int64_t *dim, const void *data)
{
    size_t bytes = hm_dtype_size(type);
    for (int i = 0; i < nd; i++) bytes *= (size_t)dim[i];
    void *copy = d->n < HM_COUNT(d->mem) ? malloc(bytes) : NULL;
    if (!copy) abort();
    d->mem[d->n++] = copy;
    memcpy(copy, data, bytes);
    if (hm_st_add(d->w, name, type, nd, dim, copy, &d->err)) die(d);
    return copy;
}

static void put_tensor(dump *d, const char *name, const hm_tensor *t) { put(d, name, t->dtype, t->nd, t->dim, t->data); }

static float *randn(dump *d, const char *name, int nd, const int64_t *dim, uint64_t stream, float scale, float mean)
{
    size_t n = 1;
    for (int i = 0; i < nd; i++) n *= (size_t)dim[i];
    float *x = malloc(n * sizeof *x);
    if (!x) abort();
    hm_randn(x, n, 11, stream);
    for (size_t i = 0; i < n; i++) x[i] = mean + scale * x[i];
    float *kept = put(d, name, HM_F32, nd, dim, x);
    free(x);
    return kept;
}

static void put_grads(dump *d, const hm_params *ps)
{
    char name[200];
    for (size_t i = 0; i < ps->n; i++) {
        snprintf(name, sizeof name, "grad.%s", ps->p[i]->name);
        put(d, name, HM_F32, ps->p[i]->work.nd, ps->p[i]->work.dim, ps->p[i]->grad.data);
    }
}

/* ---- transformer ---- */

typedef struct {
    float *x, *target, *weight, *levels;
    int32_t *row, *ids, *mask;
    float *text_mask;
    double pos[N][3];
    float place[N * HM_H1_PLACE];
    hm_dit_input in;
    hm_dit dit;
    hm_t5 t5;
    hm_params ps;
    int64_t M;
} net;

static void make_inputs(dump *d, net *n, const hm_himmel1 *m)
{
    static const char *const prompt[B] = {"two red balloons above a calm sea at sunset", "snow"};
    const int64_t K = m->dit.cfg.in_channels;
    n->M = m->text_len;
    n->x = randn(d, "x", HM_DIMS(B, N, K), 1, 1, 0);
    n->target = randn(d, "target", HM_DIMS(B, N, K), 2, 1, 0);
    n->weight = randn(d, "weight", HM_DIMS(B, N), 3, 0.25f, 1);
    n->levels = put(d, "levels", HM_F32, HM_DIMS(B, 2), (float[]){0.93f, 0, 0.31f, 0});
    int32_t row[B * N], ids[B * 512], mask[B * 512];
    float text_mask[B * 512];
    for (int i = 0; i < B * N; i++) row[i] = 2 * (i / N) + (i % N >= FILM || (i / N == 1 && i % N < AREA));
    for (int b = 0; b < B; b++) hm_tok_encode_padded(m->tok, prompt[b], ids + b * n->M, mask + b * n->M, (size_t)n->M);
    for (int i = 0; i < B * n->M; i++) text_mask[i] = mask[i] ? 0.0f : -10000.0f;
    n->row = put(d, "row", HM_I32, HM_DIMS(B, N), row);
    n->ids = put(d, "ids", HM_I32, HM_DIMS(B, n->M), ids);
    n->mask = put(d, "mask", HM_I32, HM_DIMS(B, n->M), mask);
    n->text_mask = put(d, "text_mask", HM_F32, HM_DIMS(B, n->M), text_mask);
    hm_himmel1_positions(T, GH, GW, n->pos);
    for (int i = FILM; i < N; i++) memcpy(n->pos[i], n->pos[i - FILM], sizeof n->pos[i]), n->pos[i][0] = 1;
    hm_himmel1_place(T, GH, GW, (const double(*)[3])n->pos, N, n->place);
}

static hm_tensor *dit_loss(net *n, hm_graph *g, hm_tensor **text, hm_tensor **v)
{
    const int64_t K = n->dit.cfg.in_channels, half = n->dit.cfg.n_heads * n->dit.cfg.head_dim / 2;
    hm_tensor *cosine = hm_new(g, HM_F32, HM_DIMS(1, N, half)), *sine = hm_new(g, HM_F32, HM_DIMS(1, N, half));
    hm_dit_rope(&n->dit.cfg, (const double(*)[3])n->pos, N, cosine->data, sine->data);
    *text = hm_t5_forward(g, &n->t5, n->ids, n->mask, B, n->M);
    const hm_dit_input in = {.x = hm_wrap(g, HM_F32, HM_DIMS(B, N, K), n->x), .levels = n->levels, .n_levels = 2 * B,
                             .row = n->row, .cosine = cosine, .sine = sine, .place = n->place, .grid = {T, GH, GW}, .text = *text,
                             .text_mask = hm_wrap(g, HM_F32, HM_DIMS(B, n->M), n->text_mask)};
    *v = hm_dit_forward(g, &n->dit, &in);
    return hm_loss_mse(g, *v, hm_wrap(g, HM_F32, HM_DIMS(B, N, K), n->target), n->weight, NULL, 0);
}

static void transformer(dump *d, const hm_himmel1 *m, hm_graph *g)
{
    net *n = calloc(1, sizeof *n);
    if (!n) abort();
    make_inputs(d, n, m);
    hm_params_init(&n->ps, HM_F32, 1, m->st);
    if (hm_t5_init(&n->t5, &m->t5.cfg, &d->err) || hm_t5_params(&n->t5, "text_encoder.", hm_params_bind, &n->ps, &d->err) ||
        hm_dit_init(&n->dit, &m->dit.cfg, &d->err) ||
        hm_dit_params(&n->dit, "model.diffusion_model.", hm_params_bind, &n->ps, &d->err))
        die(d);
    hm_optim o = hm_optim_default();
    o.warmup = 5, o.decay_from = 10, o.total = 30;
    float loss[STEPS], norm[STEPS];
    for (size_t i = 0; i < n->ps.n; i++) /* the text encoder takes part, slowly */
        if (!strncmp(n->ps.p[i]->name, "text_encoder.", 13)) hm_params_slow(n->ps.p[i], 0.125f);
    for (int s = 0; s < STEPS; s++) {
        hm_tensor *text, *v;
        hm_graph_reset(g);
        hm_params_zero_grad(&n->ps);
        hm_tensor *l = dit_loss(n, g, &text, &v);
        loss[s] = *(float *)l->data;
        if (!s) put_tensor(d, "text", text), put_tensor(d, "velocity", v);
        hm_backward(g, l, 1.0f);
        if (!s) put_grads(d, &n->ps);
        norm[s] = (float)hm_optim_step(&o, &n->ps, s);
    }
    put(d, "loss", HM_F32, HM_DIMS(STEPS), loss);
    put(d, "norm", HM_F32, HM_DIMS(STEPS), norm);
    hm_params_deinit(&n->ps);
    hm_t5_deinit(&n->t5);
    hm_dit_deinit(&n->dit);
    free(n);
}

/* ---- sampler: the one of the films ---- */
static void sampler(dump *d, const hm_himmel1 *m)
{
    const int64_t K = m->dit.cfg.in_channels;
    float *z = malloc((size_t)(FILM * K) * sizeof *z), *noise = malloc((size_t)(FILM * K) * sizeof *z);
    if (!z || !noise) abort();
    uint8_t known[FILM] = {0};
    memset(known, 1, AREA);
    const float *clean = randn(d, "sampler.z", HM_DIMS(FILM, K), 21, 1, 0), *extra = randn(d, "sampler.extra", HM_DIMS(AREA, K), 22, 1, 0);
    const hm_given given = {.z = clean, .known = known, .start = 1, .n_extra = 1, .extra = extra, .extra_at = {1}};
    const hm_sample_opts o = {.prompt = "snow over the mountains", .given = &given, .seed = 5, .steps = STEPS, .guidance = 3,
                              .gw = GW, .gh = GH, .T = T, .f32 = true};
    if (hm_sample(m, &o, 0, z, NULL, &d->err)) die(d);
    hm_randn(noise, (size_t)(FILM * K), o.seed, NOISE_STREAM);
    put(d, "sampler.noise", HM_F32, HM_DIMS(FILM, K), noise);
    put(d, "sampler.out", HM_F32, HM_DIMS(FILM, K), z);
    int32_t ids[2 * 512], mask[2 * 512];
    hm_tok_encode_padded(m->tok, o.prompt, ids, mask, (size_t)m->text_len);
    hm_tok_encode_padded(m->tok, "", ids + m->text_len, mask + m->text_len, (size_t)m->text_len);
    put(d, "sampler.ids", HM_I32, HM_DIMS(2, m->text_len), ids);
    put(d, "sampler.mask", HM_I32, HM_DIMS(2, m->text_len), mask);
    free(z);
    free(noise);
}

/* ---- codec and refiner ---- */

static void codec(dump *d, const hm_himmel1 *m)
{
    enum { H = 16 * GH, W = 16 * GW, FRAME = H * W * 3, LONG = 3, ALL = HM_FPS * (LONG - 1) + 1 };
    const int64_t K = m->dit.cfg.in_channels;
    const float *px = randn(d, "codec.frames", HM_DIMS(HM_WINDOW, H, W, 3), 31, 0.2f, 0.5f);
    const float *z = randn(d, "codec.z", HM_DIMS(LONG, GH, GW, K), 32, 1, 0);
    float *out = malloc((size_t)FRAME * ALL * sizeof *out);
    if (!out) abort();
    hm_codec_encode(m->codec, px, GH, GW, out);
    put(d, "codec.encoded", HM_F32, HM_DIMS(GH, GW, K), out);
    hm_codec_encode_still(m->codec, px, GH, GW, out);
    put(d, "codec.encoded_still", HM_F32, HM_DIMS(GH, GW, K), out);
    hm_codec_decode(m->codec, z, LONG, GH, GW, 0, ALL, out);
    put(d, "codec.decoded", HM_F32, HM_DIMS(ALL, H, W, 3), out);
    hm_codec_decode(m->codec, z, 1, GH, GW, 0, 1, out);
    put(d, "codec.picture", HM_F32, HM_DIMS(1, H, W, 3), out);
    free(out);
}

/* target [8C,8C,3] as 4x4 patches [2C,2C,48], as the residual is. */
static void patches(float *out, const float *target)
{
    enum { C = CROP };
    for (int i = 0; i < 2 * C * 2 * C; i++)
        for (int k = 0; k < HM_REFINER_OUT; k++) {
            const int y = i / (2 * C) * 4 + k % 16 / 4, x = i % (2 * C) * 4 + k % 4;
            out[i * HM_REFINER_OUT + k] = target[(y * 8 * C + x) * 3 + k / 16];
        }
}

static void refiner_steps(dump *d, const hm_himmel1 *m, hm_graph *g, const float *x, const float *residual, const float *target_px)
{
    enum { C = CROP, OUT = HM_REFINER_OUT };
    float *picture = malloc((size_t)4 * C * C * OUT * sizeof *picture);
    if (!picture) abort();
    patches(picture, target_px);
    hm_refiner *r;
    hm_params ps;
    hm_params_init(&ps, HM_F32, 1, m->st);
    if (hm_refiner_init(&r, hm_refiner_cfg(m->refiner), &d->err) || hm_refiner_params(r, "refiner.", hm_params_bind, &ps, &d->err))
        die(d);
    hm_refiner_rates(&ps, false);
    hm_optim o = hm_refiner_optim();
    o.warmup = 5, o.lr_adamw = 5e-4, o.lr_muon = 0.01;
    const float *weight = randn(d, "refiner.weight", HM_DIMS(1, 2 * C, 2 * C), 43, 0.25f, 1);
    float loss[STEPS];
    for (int s = 0; s < STEPS; s++) {
        hm_graph_reset(g);
        hm_params_zero_grad(&ps);
        hm_tensor *y = hm_refiner_correction(g, r, hm_wrap(g, HM_F32, HM_DIMS(1, C, C, HM_REFINER_IN), (void *)(uintptr_t)x));
        hm_tensor *target = hm_wrap(g, HM_F32, HM_DIMS(1, 2 * C, 2 * C, OUT), (void *)(uintptr_t)residual);
        hm_tensor *detail = hm_loss_detail(g, y, residual, picture, 4);
        hm_tensor *l = hm_add_t(g, hm_loss_mse(g, y, target, weight, NULL, 0), hm_scale_t(g, detail, 0.3f));
        loss[s] = *(float *)l->data;
        if (!s) {
            put(d, "refiner.detail", HM_F32, HM_DIMS(1), detail->data);
            float *big = malloc((size_t)64 * C * C * 3 * sizeof *big);
            if (!big) abort();
            put_tensor(d, "refiner.correction", y);
            hm_refiner_compose(big, x, C, C, y->data, y->dtype);
            put(d, "refiner.picture", HM_F32, HM_DIMS(8 * C, 8 * C, 3), big);
            free(big);
        }
        hm_backward(g, l, 1.0f);
        if (!s) put_grads(d, &ps);
        hm_optim_step(&o, &ps, s);
    }
    put(d, "refiner.loss", HM_F32, HM_DIMS(STEPS), loss);
    free(picture);
    hm_params_deinit(&ps);
    hm_refiner_free(r);
}

static void refiner(dump *d, const hm_himmel1 *m, hm_graph *g)
{
    enum { C = CROP, NX = C * C * HM_REFINER_IN, NR = 4 * C * C * HM_REFINER_OUT };
    const float *dec = randn(d, "refiner.dec", HM_DIMS(3, C, C, 3), 41, 0.2f, 0.5f);
    const float *target = randn(d, "refiner.target", HM_DIMS(8 * C, 8 * C, 3), 42, 0.2f, 0.5f);
    const float *known = randn(d, "refiner.known", HM_DIMS(2 * C, 2 * C, 3), 44, 0.2f, 0.5f);
    float mask[4 * C * C], *x = malloc(NX * sizeof *x), *residual = malloc(NR * sizeof *x);
    if (!x || !residual) abort();
    for (int i = 0; i < 4 * C * C; i++) mask[i] = i % (2 * C) < C ? 1.0f : 0.0f;
    put(d, "refiner.mask", HM_F32, HM_DIMS(2 * C, 2 * C), mask);
    hm_refiner_input(x, dec, C, C, 29, 22, 6, known, mask);
    put(d, "refiner.x", HM_F32, HM_DIMS(C, C, HM_REFINER_IN), x);
    if (hm_refiner_residual(residual, x, C, C, target)) abort();
    put(d, "refiner.residual", HM_F32, HM_DIMS(2 * C, 2 * C, HM_REFINER_OUT), residual);
    refiner_steps(d, m, g, x, residual, target);
    free(x);
    free(residual);
}

int main(int argc, char **argv)
{
    dump *d = calloc(1, sizeof *d);
    hm_himmel1 *m;
    hm_graph *g;
    if (!d || argc != 3) {
        fputs("usage: himmel-twin-dump WEIGHTS OUT.safetensors\n", stderr);
        return 2;
    }
    d->w = hm_st_writer_new();
    if (!d->w) return 1;
    if (hm_himmel1_open(&m, argv[1], &d->err) ||
        hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32, .tape = true}, &d->err))
        die(d);
    transformer(d, m, g);
    sampler(d, m);
    codec(d, m);
    refiner(d, m, g);
    if (hm_st_write(d->w, argv[2], &d->err)) die(d);
    hm_st_writer_free(d->w);
    for (size_t i = 0; i < d->n; i++) free(d->mem[i]);
    hm_graph_free(g);
    hm_himmel1_close(m);
    free(d);
    return 0;
}
