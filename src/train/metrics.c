/* metrics.c - see metrics.h.   SPDX-License-Identifier: MIT
 * The sums run in f32 along a row and in double over rows, in a fixed order. */
#include "train/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/himmel/codec.h"

static inline float unit(float x) { return x < 0 ? 0 : x > 1 ? 1 : x; }

HM_CLONES double hm_psnr(const float *a, const float *b, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i += 4096) {
        const size_t m = HM_MIN(n - i, (size_t)4096);
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (size_t j = 0; j < m; j++) {
            const float d = unit(a[i + j]) - unit(b[i + j]);
            part += d * d;
        }
        s += (double)part;
    }
    return s > 0 ? fmin(120.0, 10 * log10((double)n / s)) : 120.0;
}

/* ---- structural similarity ---- */

enum { TAPS = 11 };

static void gaussian(float w[TAPS])
{
    double g[TAPS], sum = 0;
    for (int i = 0; i < TAPS; i++) sum += g[i] = exp(-0.5 * (i - 5) * (i - 5) / (1.5 * 1.5));
    for (int i = 0; i < TAPS; i++) w[i] = (float)(g[i] / sum);
}

/* dst [H-10][W-10] = src [H][W] under the window; tmp [H-10][W]. */
HM_CLONES static void smooth(float *restrict dst, const float *restrict src, float *restrict tmp, int W,
                             int H, const float *w)
{
    for (int y = 0; y + TAPS <= H; y++)
        for (int x = 0; x < W; x++) {
            float s = 0;
            for (int k = 0; k < TAPS; k++) s += w[k] * src[(size_t)(y + k) * W + x];
            tmp[(size_t)y * W + x] = s;
        }
    const int out = W - TAPS + 1;
    for (int y = 0; y + TAPS <= H; y++)
        for (int x = 0; x < out; x++) {
            float s = 0;
            for (int k = 0; k < TAPS; k++) s += w[k] * tmp[(size_t)y * W + x + k];
            dst[(size_t)y * out + x] = s;
        }
}

static void luminance(float *y, const float *rgb, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 0.2126f * unit(rgb[3 * i]) + 0.7152f * unit(rgb[3 * i + 1]) + 0.0722f * unit(rgb[3 * i + 2]);
}

double hm_ssim(const float *a, const float *b, int W, int H)
{
    const size_t n = (size_t)W * H, m = (size_t)(W - TAPS + 1) * (H - TAPS + 1);
    float w[TAPS], *buf = malloc((6 * n + 5 * m) * sizeof *buf);
    if (!buf) return NAN;
    float *p[5] = {buf, buf + n, buf + 2 * n, buf + 3 * n, buf + 4 * n}, *tmp = buf + 5 * n,
          *mean = buf + 6 * n;
    gaussian(w);
    luminance(p[0], a, n);
    luminance(p[1], b, n);
    for (size_t i = 0; i < n; i++) {
        p[2][i] = p[0][i] * p[0][i];
        p[3][i] = p[1][i] * p[1][i];
        p[4][i] = p[0][i] * p[1][i];
    }
    for (int k = 0; k < 5; k++) smooth(mean + (size_t)k * m, p[k], tmp, W, H, w);
    const double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
    double sum = 0;
    for (size_t i = 0; i < m; i++) {
        const double ma = mean[i], mb = mean[m + i], va = mean[2 * m + i] - ma * ma,
                     vb = mean[3 * m + i] - mb * mb;
        const double ab = mean[4 * m + i] - ma * mb;
        sum += (2 * ma * mb + c1) * (2 * ab + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
    }
    free(buf);
    return sum / (double)m;
}

/* ---- Frechet distance ---- */

static void moments(const float *x, size_t n, int d, double *mean, double *cov)
{
    memset(mean, 0, (size_t)d * sizeof *mean);
    memset(cov, 0, (size_t)d * d * sizeof *cov);
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < d; k++) mean[k] += x[i * d + k] / (double)n;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < d; k++) {
            const double c = (x[i * d + k] - mean[k]) / (double)HM_MAX(1, n - 1);
            for (int l = 0; l < d; l++) cov[(size_t)k * d + l] += c * (x[i * d + l] - mean[l]);
        }
}

/* c = a b, all [d][d]. */
static void multiply(double *c, const double *a, const double *b, int d)
{
    memset(c, 0, (size_t)d * d * sizeof *c);
    for (int i = 0; i < d; i++)
        for (int k = 0; k < d; k++)
            for (int j = 0; j < d; j++) c[(size_t)i * d + j] += a[(size_t)i * d + k] * b[(size_t)k * d + j];
}

/* Eigenvalues of the symmetric a [d][d] (destroyed) and their vectors as columns of v, by cyclic Jacobi
 * rotations (Golub & Van Loan 8.5): slow, but exact to rounding for singular matrices, which few films give.
  */
static bool jacobi(double *a, int d, double *val, double *v)
{
    double all = 0, off = 0;
    for (int i = 0; i < d * d; i++) all += a[i] * a[i], v[i] = i % (d + 1) == 0;
    for (int sweep = 0; sweep < 50; sweep++) {
        off = 0;
        for (int p = 0; p < d; p++)
            for (int q = p + 1; q < d; q++) {
                const double apq = a[p * d + q];
                off += apq * apq;
                if (apq == 0) continue;
                const double h = (a[q * d + q] - a[p * d + p]) / (2 * apq);
                const double t = (h < 0 ? -1 : 1) / (fabs(h) + sqrt(h * h + 1)), c = 1 / sqrt(t * t + 1),
                             s = t * c;
                for (int k = 0; k < d; k++) { /* columns p, q */
                    const double x = a[k * d + p], y = a[k * d + q], u = v[k * d + p], w = v[k * d + q];
                    a[k * d + p] = c * x - s * y, a[k * d + q] = s * x + c * y;
                    v[k * d + p] = c * u - s * w, v[k * d + q] = s * u + c * w;
                }
                for (int k = 0; k < d; k++) { /* rows p, q */
                    const double x = a[p * d + k], y = a[q * d + k];
                    a[p * d + k] = c * x - s * y, a[q * d + k] = s * x + c * y;
                }
            }
        if (off <= 1e-28 * all) break;
    }
    for (int i = 0; i < d; i++) val[i] = a[i * d + i];
    return off <= 1e-20 * all; /* false for NaN too */
}

/* root = a^1/2 of the symmetric a >= 0 (destroyed); val [d], vec [d][d] are scratch. */
static bool square_root(double *a, int d, double *root, double *val, double *vec)
{
    if (!jacobi(a, d, val, vec)) return false;
    memset(root, 0, (size_t)d * d * sizeof *root);
    for (int k = 0; k < d; k++) {
        const double s = sqrt(fmax(val[k], 0));
        for (int i = 0; i < d; i++)
            for (int j = 0; j < d; j++) root[i * d + j] += s * vec[i * d + k] * vec[j * d + k];
    }
    return true;
}

double hm_frechet(const float *a, size_t na, const float *b, size_t nb, int d)
{
    const size_t dd = (size_t)d * d;
    double *buf = malloc((6 * dd + 3 * (size_t)d) * sizeof *buf), out = 0;
    if (!buf) return NAN;
    double *A = buf, *B = A + dd, *root = B + dd, *vec = root + dd, *t = vec + dd, *u = t + dd;
    double *ma = u + dd, *mb = ma + d, *val = mb + d;
    moments(a, na, d, ma, A);
    moments(b, nb, d, mb, B);
    for (int k = 0; k < d; k++)
        out += (ma[k] - mb[k]) * (ma[k] - mb[k]) + A[(size_t)k * d + k] + B[(size_t)k * d + k];
    if (square_root(A, d, root, val, vec)) {
        multiply(t, root, B, d);
        multiply(u, t, root, d);
        for (int i = 0; i < d; i++) /* rounding */
            for (int j = 0; j < i; j++)
                u[(size_t)i * d + j] = u[(size_t)j * d + i] =
                    0.5 * (u[(size_t)i * d + j] + u[(size_t)j * d + i]);
        if (jacobi(u, d, val, vec))
            for (int k = 0; k < d; k++) out -= 2 * sqrt(fmax(val[k], 0));
        else
            out = NAN;
    } else {
        out = NAN;
    }
    free(buf);
    return out;
}

/* ---- films ---- */

HM_CLONES static double sum_abs(const float *restrict a, const float *restrict b, size_t n)
{
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (size_t i = 0; i < n; i++) s += fabsf(a[i] - b[i]);
    return (double)s;
}

HM_CLONES static double sum_square(const float *restrict a, const float *restrict b, size_t n)
{
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (size_t i = 0; i < n; i++) s += (a[i] - b[i]) * (a[i] - b[i]);
    return (double)s;
}

HM_CLONES static double sum_second(const float *restrict a, const float *restrict b, const float *restrict c,
                                   size_t n)
{
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (size_t i = 0; i < n; i++) s += fabsf(a[i] - 2 * b[i] + c[i]);
    return (double)s;
}

static void add_space(hm_film_sums *s, const float *frame, int W, int H, int block)
{
    const size_t row = (size_t)W * 3;
    for (int y = 0; y < H; y++) {
        const float *p = frame + (size_t)y * row;
        double across = 0;
        for (int x = block; x < W; x += block) across += sum_abs(p + 3 * x, p + 3 * x - 3, 3);
        s->edge[0] += across;
        s->inside[0] += sum_abs(p + 3, p, row - 3) - across;
        s->gradient += sum_square(p + 3, p, row - 3);
        if (!y) continue;
        const double up = sum_abs(p, p - row, row);
        *(y % block ? &s->inside[1] : &s->edge[1]) += up;
        *(y % block ? &s->n_inside[1] : &s->n_edge[1]) += row;
        s->gradient += sum_square(p, p - row, row);
    }
    const uint64_t edges = 3ull * (uint64_t)H * (uint64_t)((W - 1) / block), all = (row - 3) * (uint64_t)H;
    s->n_edge[0] += edges;
    s->n_inside[0] += all - edges;
    s->n_gradient += all + row * (uint64_t)(H - 1);
}

void hm_film_add(hm_film_sums *s, const float *film, int n, int W, int H, int first, int block)
{
    const size_t row = (size_t)W * 3, frame = row * H;
    for (int f = 0; f < n; f++) {
        const float *p = film + (size_t)f * frame;
        const int at = first + f; /* the step is from frame at - 1 to at */
        add_space(s, p, W, H, block);
        if (!f) continue;
        double step = 0, second = 0;
        for (size_t y = 0; y < frame; y += row) {
            step += sum_abs(p + y, p + y - frame, row);
            if (f > 1) second += sum_second(p + y, p + y - frame, p + y - 2 * frame, row);
        }
        const bool still = at == 1, edge = at > 1 && (at - 1) % HM_FPS == 0;
        *(still ? &s->start : edge ? &s->edge[2] : &s->inside[2]) += step;
        *(still ? &s->n_start : edge ? &s->n_edge[2] : &s->n_inside[2]) += frame;
        s->motion += step;
        s->n_motion += frame;
        if (f > 1) s->flicker += second, s->n_flicker += frame;
    }
}

void hm_film_merge(hm_film_sums *to, const hm_film_sums *from)
{
    for (int k = 0; k < 3; k++) {
        to->edge[k] += from->edge[k], to->inside[k] += from->inside[k];
        to->n_edge[k] += from->n_edge[k], to->n_inside[k] += from->n_inside[k];
    }
    to->start += from->start, to->n_start += from->n_start;
    to->motion += from->motion, to->n_motion += from->n_motion;
    to->flicker += from->flicker, to->n_flicker += from->n_flicker;
    to->gradient += from->gradient, to->n_gradient += from->n_gradient;
}

static double mean_of(double sum, uint64_t n) { return n ? sum / (double)n : NAN; }

hm_film_figures hm_film_look(const hm_film_sums *s)
{
    hm_film_figures f;
    for (int k = 0; k < 3; k++)
        f.edge[k] = mean_of(s->edge[k], s->n_edge[k]) / mean_of(s->inside[k], s->n_inside[k]);
    f.start = mean_of(s->start, s->n_start) / mean_of(s->inside[2], s->n_inside[2]);
    f.motion = mean_of(s->motion, s->n_motion);
    f.flicker = mean_of(s->flicker, s->n_flicker);
    f.gradient = mean_of(s->gradient, s->n_gradient);
    return f;
}

/* ---- small helpers ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double hm_median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

void hm_box_average(const float *in, int W, int H, int f, float *out)
{
    const int w = W / f, h = H / f;
    const float k = 1.0f / (float)(f * f);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            float s[3] = {0, 0, 0};
            for (int j = 0; j < f; j++)
                for (int i = 0; i < f; i++)
                    for (int c = 0; c < 3; c++) s[c] += in[((size_t)(y * f + j) * W + x * f + i) * 3 + c];
            for (int c = 0; c < 3; c++) out[((size_t)y * w + x) * 3 + c] = s[c] * k;
        }
}
