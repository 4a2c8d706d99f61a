/* bench_ops.c - share of the machine's peak that training steps reach.   SPDX-License-Identifier: MIT
 *   cc -O2 -D_GNU_SOURCE -Isrc -Iinclude bench/bench_ops.c libhm_tensor.a libhm_base.a -ldnnl -fopenmp -lm
 * Arguments: threads (2), which (icr). Peak: the best of large square matmuls of oneDNN in the same type (what the hardware gives to real code). Then a
 * transformer block stack as in himmel-1 (LTX layout) and a convolutional refiner: forward + backward. */
#include <stdio.h>
#include <stdlib.h>
#include "base/rng.h"
#include "tensor/graph.h"

static const char *const kind_name[HM_N_OPS] = {"linear fwd + dx", "linear dx", "linear dw", "attention", "norm/mod/gate",
                                                "elementwise", "rope", "conv", "shape", "loss"};

/* Wall time; with one thread its CPU time, which other programs do not disturb. */
static double now(int threads)
{
    return threads == 1 ? hm_prof_now() : hm_now();
}

/* FLOP/s of one large matmul, best of `tries`; the clock of a shared machine drifts, so steps and peak take turns. */
static double peak(hm_dtype t, int threads, int tries)
{
    double best = 0;
    enum { N = 2048 };
    const size_t bytes = (size_t)N * N * 4;
    void *a = calloc(1, bytes), *b = calloc(1, bytes), *c = calloc(1, bytes);
    float *r = malloc(bytes);
    hm_randn(r, (size_t)N * N, 1, 1);
    hm_convert(a, t, r, HM_F32, (size_t)N * N);
    hm_convert(b, t, r, HM_F32, (size_t)N * N);
    for (int i = 0; i <= tries; i++) {
        const double t0 = now(threads);
        hm_gemm(false, false, N, N, N, 1, t, a, b, 0, HM_F32, c);
        const double s = now(threads) - t0;
        if (i && 2.0 * N * N * N / s > best) best = 2.0 * N * N * N / s;
    }
    free(a), free(b), free(c), free(r);
    return best;
}

/* A parameter: bf16 working copy, f32 gradient. */
static hm_tensor *param(float scale, int nd, const int64_t *dim)
{
    static uint64_t seed;
    hm_tensor *t = calloc(1, sizeof *t), *g = calloc(1, sizeof *g);
    *t = (hm_tensor){.dtype = HM_BF16, .nd = nd, .grad = g, .needs_grad = true};
    memcpy(t->dim, dim, (size_t)nd * sizeof *dim);
    *g = *t;
    g->dtype = HM_F32;
    g->needs_grad = false;
    g->grad = NULL;
    const size_t n = (size_t)hm_numel(t);
    float *r = malloc(n * 4);
    hm_randn(r, n, 3, ++seed);
    for (size_t i = 0; i < n; i++) r[i] *= scale;
    t->data = aligned_alloc(64, (n * 2 + 63) & ~(size_t)63);
    g->data = aligned_alloc(64, (n * 4 + 63) & ~(size_t)63);
    memset(g->data, 0, n * 4);
    hm_convert(t->data, HM_BF16, r, HM_F32, n);
    free(r);
    return t;
}

typedef struct { hm_tensor *q, *k, *v, *o, *qb, *kb, *vb, *ob, *qn, *kn; } attn_p;
typedef struct { attn_p a, c; hm_tensor *f1, *f1b, *f2, *f2b, *table; } layer_p;
typedef struct { int64_t B, N, M, D, F; int K, L; layer_p *layer; } net;

static attn_p attn_new(int64_t D)
{
    attn_p p;
    hm_tensor **w[4] = {&p.q, &p.k, &p.v, &p.o}, **b[4] = {&p.qb, &p.kb, &p.vb, &p.ob};
    for (int i = 0; i < 4; i++) {
        *w[i] = param(0.05f, HM_DIMS(D, D));
        *b[i] = param(0.1f, HM_DIMS(D));
    }
    p.qn = param(1, HM_DIMS(D));
    p.kn = param(1, HM_DIMS(D));
    return p;
}

static hm_tensor *attend(hm_graph *g, const net *t, const attn_p *p, hm_tensor *x, hm_tensor *ctx, hm_tensor *c, hm_tensor *s)
{
    hm_tensor *q = hm_rmsnorm(g, hm_linear(g, x, p->q, p->qb), p->qn, 1e-6f);
    hm_tensor *k = hm_rmsnorm(g, hm_linear(g, ctx, p->k, p->kb), p->kn, 1e-6f);
    hm_tensor *v = hm_linear(g, ctx, p->v, p->vb);
    if (c) q = hm_rope(g, q, c, s), k = hm_rope(g, k, c, s);
    hm_tensor *y = hm_attention(g, q, k, v, t->K, 0.125f, NULL, NULL);
    return hm_linear(g, y, p->o, p->ob);
}

static void step(hm_graph *g, const net *t, const float *noise, const int32_t *row)
{
    hm_graph_reset(g);
    const int64_t n = t->B * t->N * t->D;
    hm_tensor *x = hm_new(g, HM_BF16, HM_DIMS(t->B, t->N, t->D)), *text = hm_new(g, HM_BF16, HM_DIMS(t->B, t->M, t->D));
    hm_convert(x->data, HM_BF16, noise, HM_F32, (size_t)n);
    hm_convert(text->data, HM_BF16, noise, HM_F32, (size_t)(t->B * t->M * t->D));
    x->needs_grad = text->needs_grad = true;
    hm_tensor *c = hm_wrap(g, HM_F32, HM_DIMS(1, t->N, t->D / 2), (void *)noise);
    hm_tensor *e = hm_wrap(g, HM_F32, HM_DIMS(t->B, 6 * t->D), (void *)(noise + 1000));
    e->needs_grad = true;
    for (int l = 0; l < t->L; l++) {
        const layer_p *p = &t->layer[l];
        hm_tensor *mod = hm_mod_table(g, e, p->table);
        hm_tensor *h = hm_norm_modulate(g, x, mod, row, 0, 1, false, 1e-6f);
        x = hm_add_gated(g, x, attend(g, t, &p->a, h, h, c, c), mod, row, 2);
        x = hm_add_t(g, x, attend(g, t, &p->c, x, text, NULL, NULL));
        h = hm_norm_modulate(g, x, mod, row, 3, 4, false, 1e-6f);
        h = hm_linear(g, hm_linear_gelu(g, h, p->f1, p->f1b), p->f2, p->f2b);
        x = hm_add_gated(g, x, h, mod, row, 5);
    }
    hm_tensor *target = hm_wrap(g, HM_F32, x->nd, x->dim, (void *)noise);
    hm_backward(g, hm_loss_mse(g, x, target, NULL, NULL, 0), 1);
}

static void report(hm_graph *g, const char *name, double seconds, double top, int steps)
{
    const double rate = (double)hm_flops(g) / seconds;
    printf("%s: %.1f ms a step, %.0f GFLOPS, %.1f %% of %.0f; arena %.0f MB\n", name, seconds * 1e3, rate / 1e9,
           100 * rate / top, top / 1e9, (double)hm_peak(g) / 1e6);
    for (int i = 0; i < HM_N_OPS; i++)
        if (g->prof[i].fwd + g->prof[i].bwd > 0)
            printf("    %-16s forward %7.2f ms  backward %7.2f ms\n", kind_name[i], g->prof[i].fwd * 1e3 / steps,
                   g->prof[i].bwd * 1e3 / steps);
}

static hm_graph *graph_new(int threads)
{
    hm_graph *g;
    himmel_error err = {0};
    if (hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .tape = true, .n_threads = threads}, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return g;
}

static void transformer(int64_t B, int64_t N, int threads)
{
    net t = {.B = B, .N = N, .M = 48, .D = 320, .F = 1280, .K = 5, .L = 8};
    t.layer = calloc((size_t)t.L, sizeof *t.layer);
    for (int l = 0; l < t.L; l++)
        t.layer[l] = (layer_p){attn_new(t.D), attn_new(t.D), param(0.05f, HM_DIMS(t.F, t.D)), param(0.1f, HM_DIMS(t.F)),
                               param(0.03f, HM_DIMS(t.D, t.F)), param(0.1f, HM_DIMS(t.D)), param(0.1f, HM_DIMS(6, t.D))};
    hm_graph *g = graph_new(threads);
    const size_t n = (size_t)(B * N * t.D) + 4000000;
    float *noise = malloc(n * sizeof *noise);
    hm_randn(noise, n, 5, 5);
    int32_t *row = malloc((size_t)(B * N) * sizeof *row);
    for (int64_t i = 0; i < B * N; i++) row[i] = (int32_t)(i / N);
    double best = 1e9, top = peak(HM_BF16, threads, 1);
    step(g, &t, noise, row);
    memset(g->prof, 0, sizeof g->prof);
    enum { STEPS = 3 };
    for (int i = 0; i < STEPS; i++) {
        const double t0 = now(threads);
        step(g, &t, noise, row);
        best = HM_MIN(best, now(threads) - t0);
        top = HM_MAX(top, peak(HM_BF16, threads, 1));
    }
    char name[64];
    snprintf(name, sizeof name, "transformer D=320 B=%d N=%d", (int)B, (int)N);
    report(g, name, best, top, STEPS);
    free(noise), free(row);
    hm_graph_free(g);
}

static void refiner(int64_t B, int64_t H, int64_t W, int threads)
{
    hm_tensor *w[8], *b[8];
    const int64_t C = 64;
    for (int i = 0; i < 8; i++) {
        const int64_t in = i == 0 ? 32 : C, out = i == 7 ? 48 : C;
        w[i] = param(0.04f, HM_DIMS(out, 3, 3, in));
        b[i] = param(0.1f, HM_DIMS(out));
    }
    hm_graph *g = graph_new(threads);
    const size_t n = (size_t)(B * H * W * 64);
    float *noise = malloc(n * sizeof *noise);
    hm_randn(noise, n, 5, 5);
    double best = 1e9, top = 0;
    enum { STEPS = 3 };
    for (int i = 0; i <= STEPS; i++) {
        top = HM_MAX(top, peak(HM_BF16, threads, 1));
        if (i == 1) memset(g->prof, 0, sizeof g->prof);
        const double t0 = now(threads);
        hm_graph_reset(g);
        hm_tensor *x = hm_new(g, HM_BF16, HM_DIMS(B, H, W, 32));
        hm_convert(x->data, HM_BF16, noise, HM_F32, (size_t)hm_numel(x));
        hm_conv_opts o = {.stride = {1, 1}, .pad = {1, 1}, .relu = true};
        x = hm_conv(g, x, w[0], b[0], &o);
        for (int l = 1; l < 7; l += 2) {
            hm_tensor *h = hm_conv(g, x, w[l], b[l], &o);
            o.relu = false;
            h = hm_conv(g, h, w[l + 1], b[l + 1], &o);
            o.relu = true;
            x = hm_add_t(g, x, h);
        }
        o.relu = false;
        x = hm_pixel_shuffle(g, hm_conv(g, x, w[7], b[7], &o), 4);
        hm_tensor *target = hm_wrap(g, HM_F32, x->nd, x->dim, noise);
        hm_backward(g, hm_loss_mse(g, x, target, NULL, NULL, 0.1f), 1);
        if (i) best = HM_MIN(best, now(threads) - t0);
    }
    report(g, "refiner 64 channels, 8 convolutions", best, top, STEPS);
    free(noise);
    hm_graph_free(g);
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    hm_set_threads(threads);
    const double f32 = peak(HM_F32, threads, 4), bf16 = peak(HM_BF16, threads, 4);
    printf("%s, %d threads: f32 %.0f GFLOPS, bf16 %.0f GFLOPS\n", hm_isa_name(), threads, f32 / 1e9, bf16 / 1e9);
    const char *const which = argc > 2 ? argv[2] : "icr"; /* images, clips, refiner */
    if (strchr(which, 'i')) transformer(24, 144, threads);
    if (strchr(which, 'c')) transformer(4, 576, threads);
    if (strchr(which, 'r')) refiner(16, 64, 64, threads);
    return 0;
}
