/* bench_wan.c - share of the machine's peak in a denoising step of Wan 2.1 1.3B, on synthetic weights of the true shapes; the same in int8.
 * SPDX-License-Identifier: MIT
 *   bench_wan [a|b|FRAMESxHEIGHTxWIDTH in pixels] [blocks] [threads] [outliers]
 * Runs `blocks` of the 30 blocks (they are alike) and scales by floating-point operations. Times are CPU seconds over all
 * threads, so that other programs on the machine do not count; peak is a large multiplication measured in the same way.
 * int8: the same step with the blocks' linear layers in int8, its rate and how far its output is from bf16's, |a - b| / |b| over all
 * numbers. Released weights have channels that are much larger than others; `outliers` makes every 61st channel of the blocks'
 * modulation so many times larger (1: none). */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/rng.h"
#include "models/int8.h"
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
    const double *outliers = user;
    hm_tensor *t = calloc(1, sizeof *t);
    int64_t n = 1;
    uint64_t seed = 12345;
    for (const char *c = name; *c; c++) seed = hm_mix(seed, (uint64_t)*c);
    uint32_t state = (uint32_t)seed;
    for (int i = 0; i < nd; i++) n *= dim[i];
    uint16_t *data = malloc((size_t)n * sizeof *data);
    if (!t || !data) {
        free(t);
        free(data);
        return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", name);
    }
    const bool norm = strstr(name, "norm") != NULL, modulation = strstr(name, "modulation") != NULL;
    for (int64_t i = 0; i < n; i++) { /* a sum of four is nearly normal, of deviation 0.02 */
        float sum = 0;
        for (int k = 0; k < 4; k++) {
            state = state * 1664525u + 1013904223u;
            sum += (float)(state >> 8) * 0x1p-24f - 0.5f;
        }
        const float size = modulation && i % dim[nd - 1] % 61 == 17 ? (float)*outliers : 1;
        data[i] = hm_f32_to_bf16(norm ? 1.0f : sum * 0.035f * size);
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

typedef struct {
    hm_graph *g;
    hm_wan m, m8;      /* in bf16, in int8 */
    hm_wan_input in;
    int frames, height, width, threads;
    int64_t n;         /* numbers of a step's output */
    double top;        /* peak(), bf16 */
} bench;

static himmel_status set_up(bench *b, int blocks, double outliers, himmel_error *err)
{
    b->m = (hm_wan){.cfg = {.in_dim = 16, .out_dim = 16, .dim = 1536, .ffn_dim = 8960, .n_heads = 12, .n_layers = blocks, .freq_dim = 256,
                            .text_dim = 4096, .text_len = 512, .patch = {1, 2, 2}, .eps = 1e-6f}};
    b->m.layers = calloc((size_t)blocks, sizeof *b->m.layers);
    const int T = 1 + (b->frames - 1) / 4, H = b->height / 8, W = b->width / 8;
    static const float level = 500;
    b->n = (int64_t)16 * T * H * W;
    float *x = malloc((size_t)b->n * sizeof *x), *text = malloc(512 * 4096 * sizeof *text);
    if (!b->m.layers || !x || !text) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    himmel_status rc = hm_wan_params(&b->m, synthetic, &outliers, err);
    if (!rc) rc = hm_graph_new(&b->g, &(hm_graph_opts){.act = HM_BF16, .n_threads = b->threads}, err);
    hm_randn(x, (size_t)b->n, 1, 1);
    hm_randn(text, 512 * 4096, 1, 2);
    b->in = (hm_wan_input){.x = x, .T = T, .H = H, .W = W, .levels = &level, .n_levels = 1, .text = text, .n_text = 512};
    return rc;
}

typedef struct {
    double seconds, flops; /* CPU seconds, in all, of the fastest step */
    hm_prof prof[HM_N_OPS];
} timing;

static void step(bench *b, const hm_wan *m, timing *t, float *out)
{
    memset(b->g->prof, 0, sizeof b->g->prof);
    const uint64_t before = hm_flops(b->g);
    const double t0 = cpu();
    hm_wan_forward(b->g, m, &b->in, out);
    const double seconds = cpu() - t0;
    if (t->seconds > 0 && seconds >= t->seconds) return;
    t->seconds = seconds, t->flops = (double)(hm_flops(b->g) - before);
    memcpy(t->prof, b->g->prof, sizeof t->prof);
}

static void tell(const bench *b, const char *precision, const timing *t)
{
    static const char *const kinds[HM_N_OPS] = {"linear", "", "", "attention", "norm", "map", "rope", "conv", "shape", ""};
    const int blocks = b->m.cfg.n_layers;
    const double all = 30.0 / blocks;
    printf("%s %dx%dx%d, %lld tokens, %d of 30 blocks, %d threads: %.2f TFLOP a step, %.0f GFLOPS a core = %.1f %% of bf16's peak (%.0f)\n", precision,
           b->width, b->height, b->frames, (long long)hm_wan_tokens(&b->m.cfg, &b->in), blocks, b->threads, t->flops * all / 1e12,
           t->flops / t->seconds / 1e9, 100 * t->flops / t->seconds / b->top, b->top / 1e9);
    printf("  a step: %.1f core seconds, %.1f s on two cores; arena %.0f MiB; of the calling thread:", t->seconds * all, t->seconds * all / 2,
           (double)hm_peak(b->g) / 1048576);
    for (int k = 0; k < HM_N_OPS; k++)
        if (t->prof[k].fwd > 0) printf(" %s %.2f s", kinds[k], t->prof[k].fwd);
    printf("\n");
}

static himmel_status own_tensor(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot, himmel_error *err)
{
    (void)user, (void)nd, (void)dim;
    hm_tensor *t = malloc(sizeof *t);
    if (!t) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", name);
    *t = **slot;
    *slot = t;
    return HIMMEL_OK;
}

/* The same weights, with int8 copies. */
static himmel_status make_int8(bench *b, hm_int8_sum *sum, himmel_error *err)
{
    const size_t n = (size_t)b->m.cfg.n_layers;
    b->m8 = b->m;
    b->m8.layers = calloc(n, sizeof *b->m8.layers);
    if (!b->m8.layers) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    memcpy(b->m8.layers, b->m.layers, n * sizeof *b->m8.layers);
    himmel_status rc = hm_wan_params(&b->m8, own_tensor, NULL, err);
    if (!rc) rc = hm_wan_params(&b->m8, hm_int8_add, sum, err);
    return rc ? rc : hm_wan_params(&b->m8, hm_int8_fill, b->g, err);
}

static double distance(const float *a, const float *b, int64_t n)
{
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) d += pow((double)a[i] - (double)b[i], 2), s += pow((double)b[i], 2);
    return sqrt(d / s);
}

int main(int argc, char **argv)
{
    bench b = {.frames = 17, .height = 272, .width = 480, .threads = argc > 3 ? atoi(argv[3]) : omp_get_num_procs()};
    const int blocks = argc > 2 ? atoi(argv[2]) : 2;
    const double outliers = argc > 4 ? atof(argv[4]) : 1;
    if (argc > 1 && !strcmp(argv[1], "b")) b.frames = 33, b.height = 480, b.width = 832;
    else if (argc > 1 && strcmp(argv[1], "a") && sscanf(argv[1], "%dx%dx%d", &b.frames, &b.height, &b.width) != 3) return 2;
    himmel_error err = {0};
    hm_int8_sum sum = {0};
    if (blocks < 1 || b.threads < 1) return 2;
    hm_set_threads(b.threads);
    himmel_status rc = set_up(&b, blocks, outliers, &err);
    float *bf16 = malloc((size_t)b.n * sizeof *bf16), *int8 = malloc((size_t)b.n * sizeof *int8);
    if (rc || !bf16 || !int8) {
        fprintf(stderr, "bench_wan: %s\n", rc ? err.message : "out of memory");
        return 1;
    }
    const double t0 = cpu();
    if (make_int8(&b, &sum, &err)) {
        fprintf(stderr, "bench_wan: %s\n", err.message);
        return 1;
    }
    const double packing = cpu() - t0;
    timing slow = {0}, fast = {0}, ignored = {0};
    b.top = peak();
    step(&b, &b.m, &ignored, bf16); /* sets up the primitives */
    step(&b, &b.m8, &ignored, int8);
    for (int i = 0; i < 3; i++) { /* by turns, as machines are not equally fast all the time */
        step(&b, &b.m, &slow, bf16);
        step(&b, &b.m8, &fast, int8);
    }
    tell(&b, "bf16", &slow);
    tell(&b, "int8", &fast);
    printf("int8: %.2f times as fast as bf16; output off by %.4f of its size; blocks' weights %.0f MiB, in bf16 %.0f; packed in %.1f core seconds\n",
           slow.seconds / fast.seconds, distance(int8, bf16, b.n), (double)sum.bytes / 1048576, (double)sum.in_place_of / 1048576, packing);
    return 0;
}
