/* test_ops.c - every op's values against plain double-precision code, f32 and bf16.   SPDX-License-Identifier: MIT
 * Bounds: f32 outputs carry rounding of sums, about 1e-6 relative to the size of the values; bf16 outputs one rounding of
 * 2^-9 = 0.002 on top, or a few where intermediates (attention's P) are bf16 as well. */
#include "op_check.h"

static double tol_of(hm_dtype t) { return t == HM_F32 ? 4e-6 : 6e-3; }
static double *doubles(int64_t n) { return calloc((size_t)n + 1, sizeof(double)); }
static char label[128];
static const char *named(const char *op, hm_dtype t, int64_t a, int64_t b)
{
    snprintf(label, sizeof label, "%s %s %d x %d", op, hm_dtype_name(t), (int)a, (int)b);
    return label;
}

static double gelu_d(double x) { return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))); }

static void linear(hm_graph *g, hm_dtype t, int64_t m, int64_t k, int64_t n, hm_dtype tw)
{
    hm_graph_reset(g);
    hm_tensor *x = rand_t(g, t, 1, HM_DIMS(m, k)), *w = rand_t(g, tw, 2, HM_DIMS(n, k)), *b = rand_t(g, tw, 3, HM_DIMS(n));
    double *y = doubles(m * n), *z = doubles(m * n);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double s = value_at(b, j);
            for (int64_t l = 0; l < k; l++) {
                const double wv = t == HM_BF16 ? (double)hm_bf16_to_f32(hm_f32_to_bf16((float)value_at(w, j * k + l)))
                                               : value_at(w, j * k + l);
                s += value_at(x, i * k + l) * wv;
            }
            y[i * n + j] = s;
            z[i * n + j] = gelu_d(s);
        }
    near_all(hm_linear(g, x, w, b), y, tol_of(t), named("linear", t, m, n));
    near_all(hm_linear_gelu(g, x, w, b), z, t == HM_F32 ? 2e-5 : 1.2e-2, named("linear_gelu", t, m, n));
    for (int64_t i = 0; i < m * n; i++) y[i] -= value_at(b, i % n);
    near_all(hm_linear(g, x, w, NULL), y, tol_of(t), named("linear without bias", t, m, n));
    free(y), free(z);
}

static void elementwise(hm_graph *g, hm_dtype t, int64_t n)
{
    hm_graph_reset(g);
    hm_tensor *a = rand_t(g, t, 1, HM_DIMS(n)), *b = rand_t(g, t, 2, HM_DIMS(n));
    double *y = doubles(n);
#define MAP(call, expr)                                                                                      \
    do {                                                                                                     \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            const double A = value_at(a, i), B = value_at(b, i);                                             \
            (void)A, (void)B;                                                                                \
            y[i] = (expr);                                                                                   \
        }                                                                                                    \
        near_all(call, y, tol_of(t), named(#expr, t, 1, n));                                                 \
    } while (0)
    MAP(hm_add_t(g, a, b), A + B);
    MAP(hm_sub_t(g, a, b), A - B);
    MAP(hm_mul_t(g, a, b), A * B);
    MAP(hm_scale_t(g, a, 0.3f), A * (double)0.3f);
    MAP(hm_silu(g, a), A / (1 + exp(-A)));
    MAP(hm_gelu(g, a), gelu_d(A));
    MAP(hm_relu(g, a), A > 0 ? A : 0);
    if (t == HM_F32) {
        float *wide = a->data; /* far out, exp must neither overflow nor lose its sign */
        for (int64_t i = 0; i < n; i++) wide[i] = (float)(i % 2 ? 200 : -200) + (float)i;
        MAP(hm_silu(g, a), A / (1 + exp(-A)));
        MAP(hm_gelu(g, a), gelu_d(A));
    }
    free(y);
}

static void norms(hm_graph *g, hm_dtype t, int64_t n, int64_t d, bool layer)
{
    hm_graph_reset(g);
    hm_tensor *x = rand_t(g, t, 1, HM_DIMS(n, d)), *y2 = rand_t(g, t, 5, HM_DIMS(n, d)), *w = rand_t(g, HM_F32, 2, HM_DIMS(d)),
              *b = rand_t(g, HM_BF16, 3, HM_DIMS(d)), *mod = rand_t(g, HM_F32, 4, HM_DIMS(3, 6, d));
    double *y = doubles(n * d), *m = doubles(n * d), *ga = doubles(n * d);
    int32_t *row = malloc((size_t)n * sizeof *row);
    for (int64_t i = 0; i < n; i++) {
        double mean = 0, ss = 0;
        row[i] = (int32_t)(i * 7 % 3);
        for (int64_t j = 0; j < d && layer; j++) mean += value_at(x, i * d + j) / (double)d;
        for (int64_t j = 0; j < d; j++) ss += pow(value_at(x, i * d + j) - mean, 2) / (double)d;
        for (int64_t j = 0; j < d; j++) {
            const double h = (value_at(x, i * d + j) - mean) / sqrt(ss + 1e-6);
            y[i * d + j] = h * value_at(w, j) + (layer ? value_at(b, j) : 0);
            m[i * d + j] = h * (1 + value_at(mod, (row[i] * 6 + 4) * d + j)) + value_at(mod, (row[i] * 6 + 3) * d + j);
            ga[i * d + j] = value_at(x, i * d + j) + value_at(y2, i * d + j) * value_at(mod, (row[i] * 6 + 5) * d + j);
        }
    }
    hm_tensor *got = layer ? hm_layernorm(g, x, w, b, 1e-6f) : hm_rmsnorm(g, x, w, 1e-6f);
    near_all(got, y, tol_of(t), named(layer ? "layernorm" : "rmsnorm", t, n, d));
    near_all(hm_norm_modulate(g, x, mod, row, 3, 4, layer, 1e-6f), m, tol_of(t), named("norm_modulate", t, n, d));
    near_all(hm_add_gated(g, x, y2, mod, row, 5), ga, tol_of(t), named("add_gated", t, n, d));
    free(y), free(m), free(ga), free(row);
}

typedef struct { int64_t B, N, M, K, h; bool mask, bias, all_masked; } attn_case;

static void attention(hm_graph *g, hm_dtype t, const attn_case *c)
{
    hm_graph_reset(g);
    const int64_t D = c->K * c->h;
    hm_tensor *q = rand_t(g, t, 1, HM_DIMS(c->B, c->N, D)), *k = rand_t(g, t, 2, HM_DIMS(c->B, c->M, D));
    hm_tensor *v = rand_t(g, t, 3, HM_DIMS(c->B, c->M, D)), *bias = rand_t(g, HM_F32, 4, HM_DIMS(c->K, c->N, c->M));
    hm_tensor *mask = hm_zeros(g, HM_F32, HM_DIMS(c->B, c->M));
    for (int64_t i = 0; i < c->B * c->M; i++)
        ((float *)mask->data)[i] = c->all_masked || i % c->M > c->M * 2 / 3 + i / c->M ? -10000 : 0;
    const double scale = 1 / sqrt((double)c->h);
    double *y = doubles(c->B * c->N * D), *p = doubles(c->M);
    for (int64_t b = 0; b < c->B; b++)
        for (int64_t n = 0; n < c->N; n++)
            for (int64_t hd = 0; hd < c->K; hd++) {
                double top = -1e30, sum = 0;
                for (int64_t m = 0; m < c->M; m++) {
                    double s = 0;
                    for (int64_t i = 0; i < c->h; i++)
                        s += value_at(q, (b * c->N + n) * D + hd * c->h + i) * value_at(k, (b * c->M + m) * D + hd * c->h + i);
                    p[m] = s * scale + (c->bias ? value_at(bias, (hd * c->N + n) * c->M + m) : 0);
                    if (c->mask) p[m] += value_at(mask, b * c->M + m);
                    if (p[m] > top) top = p[m];
                }
                for (int64_t m = 0; m < c->M; m++) p[m] = exp(p[m] - top), sum += p[m];
                for (int64_t i = 0; i < c->h; i++) {
                    double s = 0;
                    for (int64_t m = 0; m < c->M; m++) s += p[m] / sum * value_at(v, (b * c->M + m) * D + hd * c->h + i);
                    y[(b * c->N + n) * D + hd * c->h + i] = s;
                }
            }
    hm_tensor *got = hm_attention(g, q, k, v, (int)c->K, (float)scale, c->mask ? mask : NULL, c->bias ? bias : NULL);
    /* all masked: adding -10000 in f32 costs the scores 5e-4 */
    near_all(got, y, t == HM_BF16 ? 1.5e-2 : c->all_masked ? 2e-3 : 1e-5, named("attention", t, c->N, c->M));
    free(y), free(p);
}

static void conv(hm_graph *g, hm_dtype t, int64_t ci, int64_t co, int stride, int pad, bool relu)
{
    hm_graph_reset(g);
    const int64_t B = 2, H = 7, W = 9;
    const int64_t h2 = (H + 2 * pad - 3) / stride + 1, w2 = (W + 2 * pad - 3) / stride + 1;
    hm_tensor *x = rand_t(g, t, 1, HM_DIMS(B, H, W, ci)), *w = rand_t(g, t, 2, HM_DIMS(co, 3, 3, ci)), *b = rand_t(g, t, 3, HM_DIMS(co));
    double *y = doubles(B * h2 * w2 * co);
    for (int64_t i = 0; i < B * h2 * w2 * co; i++) {
        const int64_t o = i % co, ox = i / co % w2, oy = i / co / w2 % h2, n = i / co / w2 / h2;
        double s = value_at(b, o);
        for (int64_t ky = 0; ky < 3; ky++)
            for (int64_t kx = 0; kx < 3; kx++) {
                const int64_t iy = oy * stride + ky - pad, ix = ox * stride + kx - pad;
                if (iy < 0 || ix < 0 || iy >= H || ix >= W) continue;
                for (int64_t c = 0; c < ci; c++)
                    s += value_at(x, ((n * H + iy) * W + ix) * ci + c) * value_at(w, ((o * 3 + ky) * 3 + kx) * ci + c);
            }
        y[i] = relu && s < 0 ? 0 : s;
    }
    const hm_conv_opts o = {.stride = {stride, stride}, .pad = {pad, pad}, .relu = relu};
    near_all(hm_conv(g, x, w, b, &o), y, tol_of(t), named("conv", t, ci, co));
    free(y);
}

/* Two frames of 2 x 3 tokens that see each other, and one that stands alone, in two samples. */
static void local_mixes(hm_graph *g, hm_dtype t)
{
    enum { B = 2, T = 2, H = 2, W = 3, F = 3, D = 21 };
    hm_tensor *x = rand_t(g, t, 7, HM_DIMS(B, F * H * W, D)), *w = rand_t(g, HM_F32, 8, HM_DIMS(27, D));
    double *y = doubles(B * F * H * W * D);
    for (int i = 0; i < B * F * H * W; i++)
        for (int d = 0; d < D; d++) {
            const int b = i / (F * H * W), f = i / (H * W) % F, r = i / W % H, c = i % W;
            double s = value_at(x, i * D + d);
            for (int k = 0; k < 27; k++) {
                const int ff = f + k / 9 - 1, rr = r + k / 3 % 3 - 1, cc = c + k % 3 - 1;
                const bool there = rr >= 0 && rr < H && cc >= 0 && cc < W && (ff == f || (f < T && ff >= 0 && ff < T));
                if (there) s += value_at(w, k * D + d) * value_at(x, (((b * F + ff) * H + rr) * W + cc) * D + d);
            }
            y[i * D + d] = s;
        }
    near_all(hm_local_mix(g, x, w, (int64_t[3]){T, H, W}), y, tol_of(t), "local_mix");
}

static void small_ops(hm_graph *g, hm_dtype t)
{
    hm_graph_reset(g);
    const int64_t B = 2, N = 5, D = 34;
    hm_tensor *x = rand_t(g, t, 1, HM_DIMS(B, N, D)), *c = rand_t(g, HM_F32, 2, HM_DIMS(1, N, D / 2)), *s = rand_t(g, HM_F32, 3, HM_DIMS(1, N, D / 2));
    double *y = doubles(B * N * D);
    for (int64_t i = 0; i < B * N * D / 2; i++) {
        const double a = value_at(x, 2 * i), b = value_at(x, 2 * i + 1), cc = value_at(c, i % (N * D / 2)), ss = value_at(s, i % (N * D / 2));
        y[2 * i] = a * cc - b * ss;
        y[2 * i + 1] = b * cc + a * ss;
    }
    near_all(hm_rope(g, x, c, s), y, tol_of(t), "rope");
    local_mixes(g, t);
    hm_tensor *wt = hm_zeros(g, HM_F32, HM_DIMS(B, N));
    for (int64_t i = 0; i < N; i++) ((float *)wt->data)[i] = (float)i; /* second clip: no weight at all, mean 0 */
    for (int64_t d = 0; d < D; d++) {
        y[d] = y[D + d] = 0;
        for (int64_t i = 0; i < N; i++) y[d] += value_at(x, i * D + d) * (double)i / 10;
    }
    near_all(hm_mean_rows(g, x, wt), y, tol_of(t), "mean_rows");
    hm_tensor *e = rand_t(g, t, 4, HM_DIMS(3, 2 * D)), *table = rand_t(g, HM_BF16, 5, HM_DIMS(2, D));
    for (int64_t i = 0; i < 6 * D; i++) y[i] = value_at(e, i) + value_at(table, i % (2 * D));
    near_all(hm_mod_table(g, e, table), y, 1e-6, "mod_table");
    const float times[3] = {0, 1.5f, 999};
    for (int r = 0; r < 3; r++)
        for (int i = 0; i < 8; i++) {
            const double a = (double)times[r] * exp(-log(1e4) * i / 8);
            y[r * 16 + i] = cos(a), y[r * 16 + 8 + i] = sin(a);
        }
    near_all(hm_sinusoid(g, times, 3, 16), y, 1e-4, "sinusoid"); /* f32 angle of 999: 6e-5 */
    hm_tensor *im = rand_t(g, t, 6, HM_DIMS(1, 2, 3, 8)), *big = hm_pixel_shuffle(g, im, 2), *back = hm_pixel_unshuffle(g, big, 2);
    for (int64_t h = 0; h < 4; h++) /* torch: out[c, h, w] = in[c*4 + (h%2)*2 + w%2, h/2, w/2] */
        for (int64_t w = 0; w < 6; w++)
            for (int64_t k = 0; k < 2; k++) y[(h * 6 + w) * 2 + k] = value_at(im, ((h / 2) * 3 + w / 2) * 8 + k * 4 + h % 2 * 2 + w % 2);
    near_all(big, y, 0, "pixel_shuffle");
    CHECK(!memcmp(back->data, im->data, (size_t)hm_numel(im) * hm_dtype_size(t)), "unshuffle undoes shuffle");
    hm_tensor *sl = hm_slice(g, x, 1, 2, 2), *cat = hm_concat(g, hm_slice(g, x, 1, 0, 2), hm_slice(g, x, 1, 2, 3), 1);
    for (int64_t i = 0; i < B * 2 * D; i++) y[i] = value_at(x, i / (2 * D) * N * D + 2 * D + i % (2 * D));
    near_all(sl, y, 0, "slice");
    CHECK(!memcmp(cat->data, x->data, (size_t)hm_numel(x) * hm_dtype_size(t)), "concat of slices is the whole");
    const int32_t rows[3] = {2, 0, 2};
    for (int64_t i = 0; i < 3 * 2 * D; i++) y[i] = value_at(e, rows[i / (2 * D)] * 2 * D + i % (2 * D));
    near_all(hm_gather_rows(g, e, rows, 3), y, 0, "gather_rows");
    free(y);
}

static void losses(hm_graph *g, hm_dtype t)
{
    hm_graph_reset(g);
    hm_tensor *p = rand_t(g, t, 1, HM_DIMS(9, 33)), *q = rand_t(g, HM_BF16, 2, HM_DIMS(9, 33));
    float tw[9], cw[33];
    hm_randn(tw, 9, 1, 9), hm_randn(cw, 33, 1, 10);
    double s = 0, x = 0;
    for (int i = 0; i < 297; i++) {
        const double d = value_at(p, i) - value_at(q, i);
        s += (double)tw[i / 33] * (double)cw[i % 33] * (d * d + 0.1 * fabs(d)) / 297;
    }
    near_all(hm_loss_mse(g, p, q, tw, cw, 0.1f), &s, 1e-5, "mse");
    int n = 0;
    int32_t lab[9];
    for (int r = 0; r < 9; r++) {
        double sum = 0;
        lab[r] = r == 4 ? -1 : r * 3;
        for (int i = 0; i < 33; i++) sum += exp(value_at(p, r * 33 + i));
        if (lab[r] >= 0) x += log(sum) - value_at(p, r * 33 + lab[r]), n++;
    }
    x /= n;
    near_all(hm_loss_xent(g, p, lab), &x, 1e-5, "cross entropy");
}

static void conversions(void)
{
    /* every f16 and f8 value there and back; a table of known ones; rounding ties to even */
    int bad = 0;
    for (uint32_t u = 0; u < 65536; u++) {
        uint16_t h = (uint16_t)u, h2;
        float f;
        hm_convert(&f, HM_F32, &h, HM_F16, 1);
        hm_convert(&h2, HM_F16, &f, HM_F32, 1);
        const bool nan = (u & 0x7c00) == 0x7c00 && (u & 0x3ff);
        bad += nan ? !isnan(f) : h != h2;
        const int e = (int)(u >> 10 & 31), m = (int)(u & 1023);
        const double want = (u & 0x8000 ? -1 : 1) * (e ? ldexp(1024 + m, e - 25) : ldexp(m, -24));
        if (e < 31) bad += (double)f != want;
    }
    CHECK(!bad, "%d f16 values", bad);
    bad = 0;
    for (uint32_t u = 0; u < 256; u++) {
        const uint8_t b = (uint8_t)u;
        float f;
        hm_convert(&f, HM_F32, &b, HM_F8E4M3, 1);
        const int e = (int)(u >> 3 & 15), m = (int)(u & 7);
        const double want = (u & 0x80 ? -1 : 1) * (e ? ldexp(8 + m, e - 10) : ldexp(m, -9));
        bad += (u & 127) == 127 ? !isnan(f) : (double)f != want;
    }
    CHECK(!bad, "%d f8 values", bad);
    const float in[6] = {1.00390625f, 1.01171875f, 65504, 65520, 5.9604645e-8f, NAN};
    uint16_t o[6];
    hm_convert(o, HM_BF16, in, HM_F32, 2);
    CHECK(o[0] == 0x3f80 && o[1] == 0x3f82, "bf16 ties to even: %04x %04x", o[0], o[1]);
    hm_convert(o, HM_F16, in, HM_F32, 6);
    CHECK(o[2] == 0x7bff && o[3] == 0x7c00 && o[4] == 1 && (o[5] & 0x7fff) > 0x7c00, "f16 limits");
    CHECK(hm_f32_to_bf16(NAN) > 0x7f80, "NaN");
}

static void gemm(void)
{
    enum { M = 19, N = 33, K = 21 };
    static float a[M * K], b[K * N], c[M * N], c0[M * N];
    hm_randn(a, M * K, 1, 1), hm_randn(b, K * N, 1, 2), hm_randn(c0, M * N, 1, 3);
    for (int form = 0; form < 4; form++) {
        const bool ta = form & 1, tb = form & 2;
        memcpy(c, c0, sizeof c);
        hm_gemm(ta, tb, M, N, K, 0.7f, HM_F32, a, b, form ? 0.5f : 0, HM_F32, c);
        double worst = 0;
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j++) {
                double s = 0;
                for (int k = 0; k < K; k++) s += (double)(ta ? a[k * M + i] : a[i * K + k]) * (double)(tb ? b[j * K + k] : b[k * N + j]);
                s = 0.7 * s + (form ? 0.5 * (double)c0[i * N + j] : 0);
                worst = fmax(worst, fabs(s - (double)c[i * N + j]));
            }
        CHECK(worst < 2e-5, "gemm %d: %g", form, worst);
    }
    uint16_t ha[4] = {0x3f80, 0x4000, 0x4040, 0x4080}, hc[4]; /* 1 2 3 4 */
    hm_gemm(false, false, 2, 2, 2, 1, HM_BF16, ha, ha, 0, HM_BF16, hc);
    CHECK(hc[0] == hm_f32_to_bf16(7) && hc[1] == hm_f32_to_bf16(10) && hc[3] == hm_f32_to_bf16(22), "bf16 gemm");
}

int main(void)
{
    static const int64_t tails[] = {1, 7, 15, 16, 17, 31, 33, 511, 513, 1025, 40000};
    for (int i = 0; i < 2; i++) {
        const hm_dtype t = i ? HM_BF16 : HM_F32;
        hm_graph *g = graph_of(t, false, false, 2);
        linear(g, t, 1, 1, 1, t), linear(g, t, 3, 17, 5, HM_F32), linear(g, t, 37, 64, 48, HM_BF16), linear(g, t, 144, 320, 96, t);
        for (size_t k = 0; k < HM_COUNT(tails); k++) elementwise(g, t, tails[k]);
        for (size_t k = 0; k < HM_COUNT(tails) - 1; k++) norms(g, t, 11, tails[k], k % 2), norms(g, t, 5, tails[k], k % 2 == 0);
        attention(g, t, &(attn_case){2, 5, 7, 2, 8, true, false, false});
        attention(g, t, &(attn_case){1, 33, 17, 3, 16, false, true, false});
        attention(g, t, &(attn_case){5, 144, 144, 5, 64, false, false, false});
        attention(g, t, &(attn_case){5, 20, 48, 5, 64, true, false, false});
        attention(g, t, &(attn_case){1, 600, 500, 1, 16, true, false, false});
        attention(g, t, &(attn_case){2, 6, 9, 2, 8, true, false, true});
        conv(g, t, 16, 32, 1, 1, true), conv(g, t, 5, 7, 1, 1, false), conv(g, t, 28, 64, 1, 1, true), conv(g, t, 16, 16, 2, 1, false);
        conv(g, t, 16, 48, 1, 0, false);
        small_ops(g, t);
        losses(g, t);
        hm_graph_free(g);
    }
    conversions();
    gemm();
    return CHECK_END();
}
