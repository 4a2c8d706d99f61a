/* bench_vae.c - Wan 2.1's decoder at its true sizes with random weights: CPU seconds on each thread, share of peak, memory.
 * SPDX-License-Identifier: MIT
 *   bench_vae FIXTURE [FRAMESxHEIGHTxWIDTH] [threads]
 * The fixture (tests/fixtures/wan21_vae.safetensors) has the names and, at a twelfth of the width, the shapes. Times are CPU seconds, so that
 * other programs on the machine do not count; 480x272 of 17 frames is 5 latent frames. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "models/wan/vae.h"
#include "tensor/graph.h"

enum { WIDER = 12, TINY = 8, Z = 16, RGB = 3 };

static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Channels of the tiny one -> of the true one; those of latents and pixels are the same in both. */
static int64_t true_size(const char *name, int axis, int64_t n)
{
    const bool quant = !strncmp(name, "conv1.", 6) || !strncmp(name, "conv2.", 6);
    const bool ends = !strncmp(name, "encoder.head.2.", 15) || !strncmp(name, "decoder.head.2.", 15);
    const bool begins = !strncmp(name, "encoder.conv1.", 14) || !strncmp(name, "decoder.conv1.", 14);
    if (quant || (ends && axis == 0) || (begins && axis == 1)) return n;
    return n % TINY ? n : n * WIDER;
}

static himmel_status write_weights(const char *fixture, const char *path, himmel_error *err)
{
    hm_st *st;
    himmel_status rc = hm_st_open(&st, fixture, err);
    if (rc) return rc;
    hm_st_writer *w = hm_st_writer_new();
    uint16_t **own = calloc(hm_st_count(st), sizeof *own);
    for (size_t i = 0; i < hm_st_count(st) && !rc && own; i++) {
        const char *name;
        const hm_tensor *t = hm_st_at(st, i, &name);
        int64_t dim[HM_MAX_DIM], n = 1;
        if (!strncmp(name, "in.", 3) || !strncmp(name, "out.", 4)) continue;
        for (int k = 0; k < t->nd; k++) n *= dim[k] = k < 2 ? true_size(name, k, t->dim[k]) : t->dim[k];
        own[i] = malloc((size_t)n * sizeof **own);
        uint32_t x = (uint32_t)i + 1;
        for (int64_t k = 0; k < n; k++) {
            x = x * 1664525u + 1013904223u;
            own[i][k] = hm_f32_to_bf16(strstr(name, "gamma") ? 1.0f : ((float)(x >> 8) * 0x1p-24f - 0.5f) * 0.04f);
        }
        rc = hm_st_add(w, name, HM_BF16, t->nd, dim, own[i], err);
    }
    if (!rc) rc = hm_st_write(w, path, err);
    for (size_t i = 0; i < hm_st_count(st) && own; i++) free(own[i]);
    free(own);
    hm_st_writer_free(w);
    hm_st_close(st);
    return rc;
}

/* Operations a CPU second of one thread in a large bf16 multiplication. */
static double peak(int threads)
{
    enum { M = 1560, N = 8960, K = 1536 };
    uint16_t *a = calloc((size_t)M * K, 2), *b = calloc((size_t)N * K, 2), *c = calloc((size_t)M * N, 2);
    double best = 0;
    for (int i = 0; i < 4; i++) {
        const double t0 = cpu();
        hm_gemm(false, true, M, N, K, 1, HM_BF16, a, b, 0, HM_BF16, c);
        best = HM_MAX(best, 2.0 * M * N * K / (cpu() - t0));
    }
    free(a), free(b), free(c);
    return best * threads;
}

static int on_frames(void *user, const float *rgb, int n, int H, int W)
{
    (void)rgb, (void)H, (void)W;
    *(int *)user += n;
    return 0;
}

static himmel_status decode(const char *path, const int size[3], int threads, himmel_error *err)
{
    hm_st *st;
    hm_wan_vae *v;
    hm_graph *g;
    himmel_status rc = hm_st_open(&st, path, err);
    if (!rc) rc = hm_wan_vae_load(&v, st, err);
    if (!rc) rc = hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .n_threads = threads}, err);
    if (rc) return rc;
    const int T = (size[0] - 1) / 4 + 1, h = size[1] / 8, w = size[2] / 8;
    const size_t n = (size_t)(Z * T * h * w);
    float *z = malloc(n * sizeof *z);
    hm_randn(z, n, 1, 1);
    const double top = peak(threads), t0 = cpu();
    int frames = 0;
    rc = hm_wan_vae_decode(v, g, z, (int[3]){T, h, w}, &(hm_wan_vae_sink){.on_frames = on_frames, .user = &frames}, err);
    const double s = (cpu() - t0) / threads;
    struct rusage u;
    hm_graph *plan;
    uint64_t kept = 0;
    if (!rc) rc = hm_graph_new(&plan, &(hm_graph_opts){.act = HM_BF16, .plan = true, .n_threads = threads}, err);
    if (rc) return rc;
    rc = hm_wan_vae_plan(v, plan, (int[3]){T, h, w}, false, &kept, err);
    hm_graph_free(plan);
    getrusage(RUSAGE_SELF, &u);
    printf("decoder, %d frames of %dx%d: %.1f s on each of %d threads, %.0f GFLOP, %.0f %% of peak; arena %.2f GiB, kept between frames %.2f GiB, process at most %.2f GiB\n", frames, size[2], size[1], s, threads,
           1e-9 * (double)hm_flops(g), 100 * (double)hm_flops(g) / s / top, (double)hm_peak(g) / (1 << 30), (double)kept / (1 << 30), (double)u.ru_maxrss / (1 << 20));
    free(z);
    hm_graph_free(g);
    hm_wan_vae_free(v);
    hm_st_close(st);
    return rc;
}

int main(int argc, char **argv)
{
    int size[3] = {17, 272, 480};
    const int threads = argc > 3 ? atoi(argv[3]) : omp_get_num_procs();
    char path[] = "/tmp/himmel-bench-vae-XXXXXX";
    himmel_error err = {0};
    if (argc < 2 || (argc > 2 && sscanf(argv[2], "%dx%dx%d", &size[0], &size[1], &size[2]) != 3) || threads < 1) return 2;
    const int fd = mkstemp(path);
    if (fd < 0) return 1;
    close(fd);
    hm_set_threads(threads);
    himmel_status rc = write_weights(argv[1], path, &err);
    if (!rc) rc = decode(path, size, threads, &err);
    unlink(path);
    if (rc) fprintf(stderr, "bench_vae: %s\n", err.message);
    return rc != HIMMEL_OK;
}
