/* test_attention_long.c - attention over many keys against sums in double, on both sides of the length from which it goes another way;
 * the same bytes with one thread and with three.   SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "tensor/attention_long.h"

#define OK(c) CHECK(c, "does not hold")

enum { K = 2, N = 333, LONGEST = 5501 };

typedef struct {
    int M, h, threads;
    hm_dtype act;
    float loud; /* later keys are that much larger: the largest score moves on from block to block */
} form;

/* Row n of head `head` in double from the numbers as stored. */
static void reference(const form *f, const float *q, const float *k, const float *v, int n, int head, double *out)
{
    const int D = K * f->h;
    double *s = malloc((size_t)f->M * sizeof *s), top = -INFINITY, sum = 0;
    for (int m = 0; m < f->M; m++) {
        s[m] = 0;
        for (int c = 0; c < f->h; c++) s[m] += (double)q[n * D + head * f->h + c] * (double)k[m * D + head * f->h + c];
        s[m] /= sqrt((double)f->h);
        top = fmax(top, s[m]);
    }
    for (int c = 0; c < f->h; c++) out[c] = 0;
    for (int m = 0; m < f->M; m++) {
        const double p = exp(s[m] - top);
        sum += p;
        for (int c = 0; c < f->h; c++) out[c] += p * (double)v[m * D + head * f->h + c];
    }
    for (int c = 0; c < f->h; c++) out[c] /= sum;
    free(s);
}

static void fill(float *x, int n, hm_dtype t, int per_row, float loud, int rows, uint32_t seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        const float grow = 1 + loud * (float)(i / per_row) / (float)rows;
        x[i] = ((float)(seed >> 8) * 0x1p-24f - 0.5f) * 2 * grow;
        if (t == HM_BF16) x[i] = hm_lane_get(hm_lane_put(x[i]));
    }
}

/* Attention of form f into y [N, K h] as f32; returns what a plan says of its memory. */
static void run(const form *f, const float *q, const float *k, const float *v, float *y)
{
    hm_graph *g, *plan;
    const int D = K * f->h;
    uint64_t peak = 0;
    for (int real = 0; real < 2; real++) {
        OK(!hm_graph_new(real ? &g : &plan, &(hm_graph_opts){.act = f->act, .plan = !real, .n_threads = f->threads}, NULL));
        hm_graph *on = real ? g : plan;
        hm_tensor *t[3];
        const float *from[3] = {q, k, v};
        for (int i = 0; i < 3; i++) {
            t[i] = hm_new(on, f->act, HM_DIMS(1, i ? f->M : N, D));
            if (real) hm_convert(t[i]->data, f->act, from[i], HM_F32, (size_t)hm_numel(t[i]));
        }
        const hm_tensor *r = hm_attention(on, t[0], t[1], t[2], K, 1.0f / sqrtf((float)f->h), NULL, NULL);
        if (real) {
            OK(hm_peak(on) == peak && hm_flops(on) == 4ull * N * (unsigned)f->M * (unsigned)D);
            hm_convert(y, HM_F32, r->data, r->dtype, (size_t)hm_numel(r));
        } else {
            peak = hm_peak(on);
        }
        hm_graph_free(on);
    }
}

static void compare(const form *f)
{
    const int D = K * f->h;
    float *q = malloc((size_t)(N * D) * sizeof *q), *k = malloc((size_t)(LONGEST * D) * sizeof *k), *v = malloc((size_t)(LONGEST * D) * sizeof *v);
    float *y = malloc((size_t)(N * D) * sizeof *y), *other = malloc((size_t)(N * D) * sizeof *other);
    double *want = malloc((size_t)f->h * sizeof *want), worst = 0;
    OK(q && k && v && y && other && want);
    fill(q, N * D, f->act, D, 0, N, 1);
    fill(k, f->M * D, f->act, D, f->loud, f->M, 2);
    fill(v, f->M * D, f->act, D, 0, f->M, 3);
    run(f, q, k, v, y);
    for (int n = 0; n < N; n += 37)
        for (int head = 0; head < K; head++) {
            reference(f, q, k, v, n, head, want);
            for (int c = 0; c < f->h; c++) worst = fmax(worst, fabs((double)y[n * D + head * f->h + c] - want[c]));
        }
    /* f32: sums of M terms below 1; bf16: P and the result are rounded to 8 bits */
    const double most = f->act == HM_F32 ? 4e-6 : 6e-3;
    if (worst > most) fprintf(stderr, "%d keys, heads of %d, %s: %g\n", f->M, f->h, hm_dtype_name(f->act), worst);
    OK(worst <= most);
    form three = *f;
    three.threads = 3;
    run(&three, q, k, v, other);
    OK(!memcmp(y, other, (size_t)(N * D) * sizeof *y));
    free(q), free(k), free(v), free(y), free(other), free(want);
}

int main(void)
{
    const form forms[] = {{HM_LONG_KEYS - 1, 64, 1, HM_F32, 0},  {HM_LONG_KEYS, 64, 1, HM_F32, 0},   {LONGEST, 64, 1, HM_F32, 8},
                          {LONGEST, 64, 1, HM_BF16, 0},          {LONGEST, 128, 1, HM_BF16, 8},      {HM_LONG_KEYS + 32, 192, 1, HM_F32, 3},
                          {HM_LONG_KEYS + 32, 192, 1, HM_BF16, 0}};
    for (size_t i = 0; i < HM_COUNT(forms); i++) compare(&forms[i]);
    return CHECK_END();
}
