/* test_int8.c - linear layers in int8 against double precision, on every instruction set level.   SPDX-License-Identifier: MIT
 * Numbers that int8 has (whole ones up to 127 times a power of two for every row) come out exactly but for the output's rounding: sums that
 * overflow and panels packed wrongly show. Any other numbers are off by at most half a step, so that
 *   |y - exact| <= sum_i (sx |w_i| + sw |x_i|) / 2 + sx sw / 4     (sx, sw: largest number of the row / 127; all of them rotated)
 * and that much only if all errors had one sign: random ones come to a small part of it, which is checked as well. Channels a hundred
 * times larger than the others make the steps of the others coarse: the bound holds still. */
#include <sys/wait.h>
#include <unistd.h>
#include "op_check.h"

static double gelu_d(double x) { return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))); }

typedef struct { int64_t m, k, n; hm_dtype dtype; float outlier; } shape;

static void put(hm_tensor *t, int64_t i, float v) { hm_convert((char *)t->data + (size_t)i * hm_dtype_size(t->dtype), t->dtype, &v, HM_F32, 1); }

/* Numbers 16 and more apart that int8.c mixes: rows of the Hadamard matrix, from the definition. */
static int64_t turns_of(int64_t k)
{
    int64_t p = 1;
    while (p < 1024 && k % (2 * p) == 0) p *= 2;
    return p > 16 ? p / 16 : 1;
}

static void rotate(double *to, const double *from, int64_t k, double scale)
{
    const int64_t turns = turns_of(k), group = 16 * turns;
    for (int64_t i = 0; i < k; i++) {
        const int64_t start = i / group * group, lane = i % 16;
        to[i] = turns > 1 ? 0 : from[i];
        for (int64_t t = 0; t < turns && turns > 1; t++)
            to[i] += scale * from[start + 16 * t + lane] * (__builtin_popcountll((unsigned long long)(t & (i % group / 16))) % 2 ? -1 : 1);
    }
}

/* Rows of whole numbers, one of them 127, times a power of two; turned so that the op turns them back (times `turns`). */
static void make_whole(hm_tensor *t, uint64_t seed)
{
    const int64_t k = t->dim[1];
    double *v = malloc(2 * (size_t)k * sizeof *v);
    for (int64_t r = 0; r < t->dim[0]; r++) {
        for (int64_t i = 0; i < k; i++) v[i] = i == r % k ? 127 : (double)(hm_mix(seed, (uint64_t)(r * k + i)) % 255) - 127;
        rotate(v + k, v, k, 1);
        for (int64_t i = 0; i < k; i++) put(t, r * k + i, ldexpf((float)v[k + i], (int)(r % 5) - 8));
    }
    free(v);
}

/* A row, turned: largest number / 127, and the sum of all sizes. */
static double turned(const hm_tensor *t, int64_t row, double *sum, double *room)
{
    const int64_t k = t->dim[1];
    double top = 0;
    for (int64_t i = 0; i < k; i++) room[i] = value_at(t, row * k + i);
    rotate(room + k, room, k, 1 / sqrt((double)turns_of(k)));
    *sum = 0;
    for (int64_t i = 0; i < k; i++) top = fmax(top, fabs(room[k + i])), *sum += fabs(room[k + i]);
    return top / 127;
}

/* x w^T + b, and the bound above for every element. */
static void reference(const hm_tensor *x, const hm_tensor *w, const hm_tensor *b, double *y, double *bound)
{
    const int64_t m = x->dim[0], k = x->dim[1], n = w->dim[0];
    double *xv = malloc((size_t)(m * k) * sizeof *xv), *sx = malloc(2 * (size_t)m * sizeof *sx), *v = malloc(2 * (size_t)k * sizeof *v);
    for (int64_t i = 0; i < m * k; i++) xv[i] = value_at(x, i);
    for (int64_t r = 0; r < m; r++) sx[2 * r] = turned(x, r, &sx[2 * r + 1], v);
    for (int64_t o = 0; o < n; o++) {
        double sum_w;
        const double sw = turned(w, o, &sum_w, v);
        for (int64_t i = 0; i < k; i++) v[i] = value_at(w, o * k + i);
        for (int64_t r = 0; r < m; r++) {
            double sum = value_at(b, o);
            for (int64_t i = 0; i < k; i++) sum += xv[r * k + i] * v[i];
            y[r * n + o] = sum;
            bound[r * n + o] = (sx[2 * r] * sum_w + sw * sx[2 * r + 1]) / 2 + sx[2 * r] * sw / 4 * (double)k;
        }
    }
    free(xv), free(sx), free(v);
}

static void whole_numbers(const shape *s)
{
    const int64_t m = s->m, k = s->k, n = s->n;
    if (s->dtype == HM_BF16 && turns_of(k) > 1) return; /* turned numbers do not fit 8 bits */
    hm_graph *g = graph_of(s->dtype, false, false, 2);
    hm_tensor *x = hm_new(g, s->dtype, HM_DIMS(m, k)), *w = hm_new(g, s->dtype, HM_DIMS(n, k)), *b = rand_t(g, s->dtype, 3, HM_DIMS(n));
    double *y = calloc((size_t)(m * n), sizeof *y), *bound = calloc((size_t)(m * n), sizeof *bound);
    char what[100];
    make_whole(x, 1), make_whole(w, 2);
    w->int8 = hm_int8_new(w);
    CHECK(w->int8 && hm_int8_pack(g, w->int8, w), "out of memory");
    reference(x, w, b, y, bound);
    snprintf(what, sizeof what, "%s, %lld x %lld x %lld %s", hm_isa_name(), (long long)m, (long long)n, (long long)k, hm_dtype_name(s->dtype));
    near_all(hm_linear(g, x, w, b), y, s->dtype == HM_BF16 ? 4e-3 : 1e-6, what);
    for (int64_t i = 0; i < m * n; i++) y[i] -= value_at(b, i % n);
    near_all(hm_linear(g, x, w, NULL), y, s->dtype == HM_BF16 ? 4e-3 : 1e-6, what);
    for (int64_t i = 0; i < m * n; i++) y[i] = gelu_d(y[i] + value_at(b, i % n));
    near_all(hm_linear_gelu(g, x, w, b), y, s->dtype == HM_BF16 ? 4e-3 : 1e-5, what);
    hm_int8_free(w->int8);
    hm_graph_free(g);
    free(y), free(bound);
}

static void any_numbers(const shape *s)
{
    const int64_t m = s->m, k = s->k, n = s->n;
    hm_graph *g = graph_of(s->dtype, false, false, 2);
    hm_tensor *x = rand_t(g, s->dtype, 1, HM_DIMS(m, k)), *w = rand_t(g, s->dtype, 2, HM_DIMS(n, k)), *b = rand_t(g, s->dtype, 3, HM_DIMS(n));
    double *y = calloc((size_t)(m * n), sizeof *y), *bound = calloc((size_t)(m * n), sizeof *bound), worst = 0, d2 = 0, y2 = 0, b2 = 0;
    for (int64_t i = 0; i < m * k && s->outlier > 0; i++) /* every 29th channel is large */
        if (i % k % 29 == 7) put(x, i, (float)value_at(x, i) * s->outlier);
    w->int8 = hm_int8_new(w);
    CHECK(w->int8 && hm_int8_pack(g, w->int8, w), "out of memory");
    const hm_tensor *got = hm_linear(g, x, w, b);
    reference(x, w, b, y, bound);
    for (int64_t i = 0; i < m * n; i++) {
        const double d = fabs(value_at(got, i) - y[i]), rounding = (s->dtype == HM_BF16 ? 0x1p-8 : 1e-6) * (fabs(y[i]) + bound[i]);
        worst = fmax(worst, (d - rounding) / (bound[i] + 1e-9));
        d2 += d * d, y2 += y[i] * y[i], b2 += bound[i] * bound[i];
    }
    printf("%s %s, %lld x %lld x %lld, outliers %g: relative error %.4f, worst %.3f of its bound\n", hm_isa_name(), hm_dtype_name(s->dtype), (long long)m,
           (long long)n, (long long)k, (double)s->outlier, sqrt(d2 / y2), worst);
    CHECK(worst <= 1, "error is %g of its bound", worst);
    CHECK(k < 64 || sqrt(d2 / b2) < 0.2, "errors are %g of the bound on average: they have one sign", sqrt(d2 / b2));
    CHECK(k < 64 || (sqrt(d2 / y2) > 1e-3 && sqrt(d2 / y2) < 0.015), "relative error %g", sqrt(d2 / y2));
    hm_int8_free(w->int8);
    hm_graph_free(g);
    free(y), free(bound);
}

/* All products of one sign and as large as they get: 16-bit sums would overflow. A row of zeros stays zero. */
static void extremes(void)
{
    enum { M = 5, K = 520, N = 70 }; /* 520: nothing is rotated */
    hm_graph *g = graph_of(HM_BF16, false, false, 2);
    hm_tensor *x = hm_zeros(g, HM_F32, HM_DIMS(M, K)), *w = hm_zeros(g, HM_F32, HM_DIMS(N, K));
    double want[M * N];
    for (int i = 0; i < M * K; i++) ((float *)x->data)[i] = i / K == 3 ? 0.0f : -2.0f;
    for (int i = 0; i < N * K; i++) ((float *)w->data)[i] = i / K % 2 ? 0.5f : -0.5f;
    for (int i = 0; i < M * N; i++) want[i] = i / N == 3 ? 0 : i % N % 2 ? -(double)K : (double)K;
    w->int8 = hm_int8_new(w);
    CHECK(w->int8 && hm_int8_pack(g, w->int8, w), "out of memory");
    near_all(hm_linear(g, x, w, NULL), want, 1e-6, "all products alike");
    ((float *)x->data)[K + 5] = NAN;
    const hm_tensor *y = hm_linear(g, x, w, NULL);
    CHECK(isnan(value_at(y, N)) && isnan(value_at(y, 2 * N - 1)), "a row with NaN gives NaN, not a wrong number");
    CHECK(value_at(y, 0) == want[0] && value_at(y, 2 * N) == want[2 * N], "the other rows are not touched");
    hm_int8_free(w->int8);
    hm_graph_free(g);
}

/* The bytes do not depend on how many threads there are, and a plan knows what is used. */
static void threads_and_plan(void)
{
    enum { M = 300, K = 96, N = 600 };
    uint64_t peak[4];
    float *first = NULL;
    for (int t = 0; t < 4; t++) {
        hm_graph *g = graph_of(HM_F32, false, t == 3, t == 3 ? 3 : t + 1);
        hm_tensor *x = t == 3 ? hm_new(g, HM_F32, HM_DIMS(M, K)) : rand_t(g, HM_F32, 1, HM_DIMS(M, K));
        hm_tensor *w = t == 3 ? hm_new(g, HM_F32, HM_DIMS(N, K)) : rand_t(g, HM_F32, 2, HM_DIMS(N, K));
        w->int8 = hm_int8_new(w);
        CHECK(w->int8 && (t == 3 || hm_int8_pack(g, w->int8, w)), "out of memory");
        const hm_mark mark = hm_save(g);
        const hm_tensor *y = hm_linear(g, x, w, NULL);
        peak[t] = hm_peak(g);
        if (!t) memcpy(first = malloc(M * N * sizeof *first), y->data, M * N * sizeof *first);
        else CHECK(t == 3 || !memcmp(first, y->data, M * N * sizeof *first), "%d threads, other bytes", t + 1);
        hm_restore(g, mark);
        hm_int8_free(w->int8);
        hm_graph_free(g);
    }
    CHECK(peak[3] <= peak[2], "planned %llu, used %llu (packing included)", (unsigned long long)peak[3], (unsigned long long)peak[2]);
    free(first);
}

static int all(void)
{
    static const shape shapes[] = {{1, 1, 1, HM_F32, 0},       {127, 64, 255, HM_F32, 0},  {128, 72, 256, HM_BF16, 0},   {129, 130, 257, HM_BF16, 0},
                                   {260, 1030, 300, HM_BF16, 0}, {70, 2049, 33, HM_F32, 0}, {20, 2048, 40, HM_F32, 0}, {40, 1536, 300, HM_F32, 100}, {130, 512, 270, HM_F32, 100}, {130, 512, 270, HM_BF16, 100}};
    for (size_t i = 0; i < HM_COUNT(shapes); i++) {
        whole_numbers(&shapes[i]);
        any_numbers(&shapes[i]);
    }
    extremes();
    threads_and_plan();
    return check_failed ? 2 : 0;
}

/* In a process of its own: oneDNN fixes its level at first use. */
static int child(const char *name)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        himmel_error err = {0};
        _exit(hm_isa_limit(name, &err) ? 1 : all());
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

int main(void)
{
    CHECK(child("baseline") == 0, "baseline");
    if (__builtin_cpu_supports("avx2")) CHECK(child("avx2") == 0, "avx2");
    if (__builtin_cpu_supports("avx512bw")) CHECK(child("avx512") == 0, "avx512 without VNNI");
    all();
    return CHECK_END();
}
