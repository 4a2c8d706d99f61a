/* bench_wan.c - share of the machine's peak in a denoising step of Wan 2.1 1.3B, on synthetic weights of the true shapes.
 * SPDX-License-Identifier: MIT
 *   bench_wan [a|b|FRAMESxHEIGHTxWIDTH in pixels] [blocks] [threads]
 * Runs `blocks` of the 30 blocks (they are alike) and scales by floating-point operations. Times are CPU seconds over all
 * threads, so that other programs on the machine do not count; peak is a large multiplication measured in the same way. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "models/wan/dit.h"
#include "tensor/graph.h"

static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static himmel_status synthetic(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot, himmel_error *err)
{
    (void)user;
    hm_tensor *t = calloc(1, sizeof *t);
    int64_t n = 1;
    uint32_t state = 12345;
    for (int i = 0; i < nd; i++) n *= dim[i];
    uint16_t *data = malloc((size_t)n * sizeof *data);
    if (!t || !data) {
        free(t);
        free(data);
        return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", name);
    }
    const bool norm = strstr(name, "norm") != NULL;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        data[i] = hm_f32_to_bf16(norm ? 1.0f : ((float)(state >> 8) * 0x1p-24f - 0.5f) * 0.06f);
    }
    *t = (hm_tensor){.dtype = HM_BF16, .nd = nd, .data = data};
    for (int i = 0; i < nd; i++) t->dim[i] = dim[i];
    *slot = t;
    return HIMMEL_OK;
}

/* Operations a CPU second of one thread in a large bf16 multiplication. */
static double peak(void)
{
    enum { N = 2048 };
    uint16_t *a = calloc((size_t)N * N, 2), *b = calloc((size_t)N * N, 2), *c = calloc((size_t)N * N, 2);
    double best = 0;
    for (int i = 0; i < 6 && a && b && c; i++) {
        const double t0 = cpu();
        hm_gemm(false, true, N, N, N, 1, HM_BF16, a, b, 0, HM_BF16, c);
        if (i) best = HM_MAX(best, 2.0 * N * N * N / (cpu() - t0));
    }
    free(a);
    free(b);
    free(c);
    return best;
}

int main(int argc, char **argv)
{
    int frames = 17, height = 272, width = 480;
    const int blocks = argc > 2 ? atoi(argv[2]) : 2, threads = argc > 3 ? atoi(argv[3]) : omp_get_num_procs();
    if (argc > 1 && !strcmp(argv[1], "b")) frames = 33, height = 480, width = 832;
    else if (argc > 1 && strcmp(argv[1], "a") && sscanf(argv[1], "%dx%dx%d", &frames, &height, &width) != 3) return 2;
    hm_wan m = {.cfg = {.in_dim = 16, .out_dim = 16, .dim = 1536, .ffn_dim = 8960, .n_heads = 12, .n_layers = blocks, .freq_dim = 256,
                        .text_dim = 4096, .text_len = 512, .patch = {1, 2, 2}, .eps = 1e-6f}};
    himmel_error err = {0};
    hm_graph *g = NULL;
    m.layers = calloc((size_t)HM_MAX(blocks, 1), sizeof *m.layers);
    if (blocks < 1 || threads < 1 || !m.layers || hm_wan_params(&m, synthetic, NULL, &err) ||
        hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .n_threads = threads}, &err)) {
        fprintf(stderr, "bench_wan: %s\n", err.message);
        return 1;
    }
    hm_set_threads(threads);
    const int T = 1 + (frames - 1) / 4, H = height / 8, W = width / 8;
    const float level = 500;
    float *x = calloc((size_t)(16 * T * H * W), sizeof *x), *text = calloc(512 * 4096, sizeof *text), *out = calloc((size_t)(16 * T * H * W), sizeof *out);
    if (!x || !text || !out) return 1;
    for (int i = 0; i < 16 * T * H * W; i++) x[i] = (float)(i % 7) - 3;
    const hm_wan_input in = {.x = x, .T = T, .H = H, .W = W, .levels = &level, .n_levels = 1, .text = text, .n_text = 512};
    const double top = peak();
    hm_wan_forward(g, &m, &in, out); /* sets up the primitives */
    memset(g->prof, 0, sizeof g->prof);
    const uint64_t before = hm_flops(g);
    const double t0 = cpu();
    hm_wan_forward(g, &m, &in, out);
    const double seconds = cpu() - t0, flops = (double)(hm_flops(g) - before), all = flops / blocks * 30;
    static const char *const kinds[HM_N_OPS] = {"linear", "", "", "attention", "norm", "map", "rope", "conv", "shape", ""};
    printf("%dx%dx%d, %lld tokens, %d of 30 blocks, %d threads: %.2f TFLOP a step, %.0f GFLOPS a core = %.1f %% of peak (%.0f)\n", width, height,
           frames, (long long)hm_wan_tokens(&m.cfg, &in), blocks, threads, all / 1e12, flops / seconds / 1e9, 100 * flops / seconds / top, top / 1e9);
    printf("a step: %.1f core seconds, %.1f s on two cores; arena %.0f MiB; of the calling thread:", seconds / blocks * 30,
           seconds / blocks * 15, (double)hm_peak(g) / 1048576);
    for (int k = 0; k < HM_N_OPS; k++)
        if (g->prof[k].fwd > 0) printf(" %s %.2f s", kinds[k], g->prof[k].fwd);
    printf("\n");
    return 0;
}
