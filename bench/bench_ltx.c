/* bench_ltx.c - LTX-Video at its true sizes with random weights: seconds of a denoising step and of decoding,
 * share of peak, memory. SPDX-License-Identifier: MIT bench_ltx [--threads N] [--layers N] [--size
 * WxHxFRAMES] [--decode LATENT_FRAMES] Weights are bf16 in memory. A step is one forward pass of the 2B
 * transformer, one row (distilled; guidance has two or three). With fewer layers than 28 the line says so,
 * and the time of 28 is computed from the layers' share. Decoding is the decoder of 0.9.5 and later, in the
 * pieces that films are decoded in, for so many latent frames (8 frames each); 0 leaves it out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/rng.h"
#include "formats/safetensors.h"
#include "models/ltx/pipe.h"

enum { FULL_LAYERS = 28, TOKENS = 256, PIECE = 2 };

/* Random bf16 tensors, kept to the end. */
static himmel_status make(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot,
                          himmel_error *err)
{
    hm_tensor *t = calloc(1, sizeof *t);
    (void)user, (void)name;
    *t = (hm_tensor){.dtype = HM_BF16, .nd = nd};
    for (int i = 0; i < nd; i++) t->dim[i] = dim[i];
    const size_t n = (size_t)hm_numel(t);
    uint16_t *w = aligned_alloc(64, (2 * n + 63) & ~(size_t)63);
    if (!w) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    uint32_t x = 12345;
    const float scale = nd > 1 ? 0.6f / sqrtf((float)(n / (size_t)dim[0])) : 0.5f;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        w[i] = hm_f32_to_bf16(((float)(x >> 8) / (float)(1 << 24) - 0.5f) * 3.4f * scale);
    }
    t->data = w;
    *slot = t;
    return HIMMEL_OK;
}

static double rss_gib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / (1 << 20);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void step(const int size[3], int layers, int threads, double peak)
{
    const hm_dit_config c = {.in_channels = 128,
                             .out_channels = 128,
                             .n_layers = layers,
                             .n_heads = 32,
                             .head_dim = 64,
                             .caption_channels = 4096,
                             .rope_theta = 10000,
                             .max_pos = {20, 2048, 2048},
                             .causal_time = true,
                             .norm_eps = 1e-6f};
    hm_dit m;
    hm_graph *g;
    himmel_error err;
    if (hm_dit_init(&m, &c, &err) || hm_dit_params(&m, "", make, NULL, &err) ||
        hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .n_threads = threads}, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    const int64_t N = (int64_t)(size[0] / 32) * (size[1] / 32) * ((size[2] - 1) / 8 + 1);
    hm_tensor *x = hm_zeros(g, HM_BF16, HM_DIMS(1, N, 128)),
              *text = hm_zeros(g, HM_BF16, HM_DIMS(1, TOKENS, 4096));
    hm_tensor *cosine = hm_zeros(g, HM_F32, HM_DIMS(1, N, 1024)),
              *sine = hm_zeros(g, HM_F32, HM_DIMS(1, N, 1024));
    for (int64_t i = 0; i < N * 128; i++) ((uint16_t *)x->data)[i] = hm_f32_to_bf16((float)(i % 17) / 8 - 1);
    for (int64_t i = 0; i < TOKENS * 4096; i++)
        ((uint16_t *)text->data)[i] = hm_f32_to_bf16((float)(i % 13) / 60 - 0.1f);
    for (int64_t i = 0; i < N * 1024; i++) ((float *)cosine->data)[i] = 1;
    int32_t *row = calloc((size_t)N, sizeof *row);
    const float level = 0.7f;
    const hm_dit_input in = {
        .x = x, .levels = &level, .n_levels = 1, .row = row, .cosine = cosine, .sine = sine, .text = text};
    const hm_mark mark = hm_save(g);
    const uint64_t before = hm_flops(g);
    const double t0 = hm_now(), c0 = cpu_seconds();
    hm_dit_forward(g, &m, &in);
    const double t = hm_now() - t0, cpu = (cpu_seconds() - c0) / threads,
                 gflop = 1e-9 * (double)(hm_flops(g) - before);
    hm_restore(g, mark);
    const double all = t * FULL_LAYERS / layers;
    printf(
        "step %dx%dx%d, %lld tokens, %d of %d layers: %.2f s (%.2f s of its own on each thread), %.0f GFLOP, "
        "%.0f %% of peak "
        "(%.0f %% without waiting for other programs); 28 layers %.1f s; arena %.2f GiB, process %.2f GiB\n",
        size[0], size[1], size[2], (long long)N, layers, (int)FULL_LAYERS, t, cpu, gflop,
        100 * gflop / t / peak, 100 * gflop / cpu / peak, all, (double)hm_peak(g) / (1 << 30), rss_gib());
    fflush(stdout);
    hm_graph_free(g);
}

/* ---- decoder of 0.9.5 and later ---- */

static hm_vae_conv conv(int64_t out, int64_t in)
{
    hm_vae_conv c;
    if (make(NULL, "", 5, (int64_t[]){out, in, 3, 3, 3}, &c.w, NULL) || make(NULL, "", 1, &out, &c.b, NULL))
        exit(1);
    return c;
}

static void make_decoder(hm_vae *m)
{
    *m = (hm_vae){.latent_c = 128, .patch = 4, .scale_t = 8, .scale_s = 32, .var_c = 1};
    m->dec =
        (hm_vae_half){.n_blocks = 7, .in_c = 1024, .out_c = 128, .blocks = calloc(7, sizeof(hm_vae_block))};
    m->dec.in = conv(1024, 128);
    m->dec.out = conv(48, 128);
    int C = 1024;
    for (int i = 0; i < 7; i++) {
        hm_vae_block *b = &m->dec.blocks[i];
        *b = (hm_vae_block){.kind = i % 2 ? HM_VAE_D2S : HM_VAE_RES,
                            .in_c = C,
                            .out_c = i % 2 ? C / 2 : C,
                            .stride = {i % 2 + 1, i % 2 + 1, i % 2 + 1},
                            .residual = i % 2,
                            .n_res = 5};
        if (b->kind == HM_VAE_D2S) {
            b->conv = conv(4 * C, C);
        } else {
            b->res = calloc(5, sizeof *b->res);
            for (int l = 0; l < 5; l++) b->res[l].conv1 = conv(C, C), b->res[l].conv2 = conv(C, C);
        }
        C = b->out_c;
    }
}

static void decode(const int size[3], int latents, int threads, double peak)
{
    hm_vae m;
    hm_graph *g;
    himmel_error err;
    make_decoder(&m);
    if (hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .n_threads = threads}, &err)) exit(1);
    const int64_t h = size[1] / 32, w = size[0] / 32;
    hm_vae_stream *s = hm_vae_decoder(g, &m, h, w, &(hm_vae_opts){.timestep = 0.05f});
    const hm_mark mark = hm_save(g);
    int64_t frames = 0;
    const double t0 = hm_now(), c0 = cpu_seconds();
    for (int at = 0; at < latents; at += PIECE) {
        const int n = HM_MIN((int)PIECE, latents - at);
        hm_tensor *z = hm_new(g, HM_F32, HM_DIMS(1, n, h, w, 128));
        hm_randn(z->data, (size_t)hm_numel(z), 1, (uint64_t)at);
        const hm_tensor *y = hm_vae_push(s, z, at + n == latents);
        if (y) frames += y->dim[1];
        hm_restore(g, mark);
    }
    const double t = hm_now() - t0, cpu = (cpu_seconds() - c0) / threads, gflop = 1e-9 * (double)hm_flops(g);
    printf("decode %dx%d, %lld frames: %.1f s (%.1f s of its own on each thread), %.0f GFLOP, %.0f %% of "
           "peak (%.0f %% without "
           "waiting for other programs); %.2f s a frame; arena %.2f GiB, process %.2f GiB\n",
           size[0], size[1], (long long)frames, t, cpu, gflop, 100 * gflop / t / peak,
           100 * gflop / cpu / peak, t / (double)frames, (double)hm_peak(g) / (1 << 30), rss_gib());
    hm_graph_free(g);
}

int main(int argc, char **argv)
{
    int threads = 2, layers = FULL_LAYERS, latents = 16, size[3] = {768, 512, 121};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--threads")) threads = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--layers")) layers = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--decode")) latents = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--size") || sscanf(argv[i + 1], "%dx%dx%d", size, size + 1, size + 2) != 3)
            return 2;
    }
    if (threads < 1 || layers < 0 || layers > FULL_LAYERS || latents < 0 || size[0] < 32 || size[1] < 32 ||
        size[2] < 1)
        return 2;
    hm_set_threads(threads);
    const double peak = 1e-9 * hm_measure_peak(HM_BF16);
    printf("%s, %d threads, peak %.0f GFLOPS in bf16\n", hm_isa_name(), threads, peak);
    if (layers) step(size, layers, threads, peak);
    if (latents) decode(size, latents, threads, peak);
    return 0;
}
