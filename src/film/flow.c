/* flow.c - see flow.h.   SPDX-License-Identifier: MIT
 *   pyramids of both -at each level: warp, sums over windows, solve, smooth-> field -twice as large-> next level */
#include "film/flow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEVELS = 5, LEAST = 8, RADIUS = 4, ROUNDS = 3, SUMS = 8 };
static const float ridge = 2.0f;       /* of a pixel's squared gradient: where there is nothing to see, nothing moves */
static const float disagree = 10.0f;    /* mean difference of a window at which half of the trust is gone */

struct hm_flow {
    int n, w[LEVELS], h[LEVELS];
    float *a[LEVELS], *b[LEVELS]; /* pyramids of from and to */
    float *field[LEVELS];         /* [h][w][2] */
    float *warped, *sum;          /* [h][w], [h][w][SUMS] */
    float *row;                   /* [w][SUMS] and [h][w][SUMS] of the window sums */
};

himmel_status hm_flow_new(hm_flow **out, int w, int h, himmel_error *err)
{
    *out = NULL;
    if (w < LEAST || h < LEAST || w > 4096 || h > 4096)
        return hm_fail(err, HIMMEL_EINVAL, "flow: pictures of %dx%d; 8 to 4096 pixels a side", w, h);
    hm_flow *f = calloc(1, sizeof *f);
    bool ok = f != NULL;
    for (int l = 0; ok && l < LEVELS && w >= LEAST && h >= LEAST; l++, w /= 2, h /= 2) {
        const size_t n = (size_t)w * (size_t)h;
        f->w[l] = w, f->h[l] = h, f->n = l + 1;
        f->a[l] = malloc(n * sizeof(float)), f->b[l] = malloc(n * sizeof(float)), f->field[l] = malloc(2 * n * sizeof(float));
        ok = f->a[l] && f->b[l] && f->field[l];
    }
    if (ok) {
        const size_t n = (size_t)f->w[0] * (size_t)f->h[0];
        f->warped = malloc(n * sizeof(float)), f->sum = malloc(SUMS * n * sizeof(float)), f->row = malloc(SUMS * n * sizeof(float));
        ok = f->warped && f->sum && f->row;
    }
    if (!ok) {
        hm_flow_free(f);
        return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the flow of a picture");
    }
    *out = f;
    return HIMMEL_OK;
}

void hm_flow_free(hm_flow *f)
{
    if (!f) return;
    for (int l = 0; l < LEVELS; l++) free(f->a[l]), free(f->b[l]), free(f->field[l]);
    free(f->warped), free(f->sum), free(f->row);
    free(f);
}

void hm_brightness(const uint8_t *rgb, int w, int h, int k, float *out)
{
    const int ow = w / k, oh = h / k;
    const float scale = 1.0f / (256.0f * (float)(k * k));
#pragma omp parallel for schedule(static)
    for (int y = 0; y < oh; y++)
        for (int x = 0; x < ow; x++) {
            uint32_t r = 0, g = 0, b = 0;
            for (int v = 0; v < k; v++) {
                const uint8_t *p = rgb + 3 * ((size_t)(y * k + v) * (size_t)w + (size_t)(x * k));
                for (int u = 0; u < k; u++) r += p[3 * u], g += p[3 * u + 1], b += p[3 * u + 2];
            }
            out[(size_t)y * (size_t)ow + (size_t)x] = scale * (54 * (float)r + 183 * (float)g + 19 * (float)b);
        }
}

static void halve(const float *in, int W, float *out, int w, int h)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const float *p = in + (size_t)(2 * y) * (size_t)W + (size_t)(2 * x);
            out[(size_t)y * (size_t)w + (size_t)x] = 0.25f * (p[0] + p[1] + p[W] + p[W + 1]);
        }
}

static inline float clampf(float v, float lo, float hi) { return HM_MIN(HM_MAX(v, lo), hi); }

/* Channel c of p [h][w][n] at (x, y), linearly between pixels, the border's beyond it. */
static inline float at(const float *p, int w, int h, int n, int c, float x, float y)
{
    x = clampf(x, 0, (float)(w - 1)), y = clampf(y, 0, (float)(h - 1));
    const int x0 = HM_MIN((int)x, w - 2), y0 = HM_MIN((int)y, h - 2);
    const float u = x - (float)x0, v = y - (float)y0;
    const float *q = p + ((size_t)y0 * (size_t)w + (size_t)x0) * (size_t)n + c, *r = q + (size_t)w * (size_t)n;
    return (q[0] * (1 - u) + q[n] * u) * (1 - v) + (r[0] * (1 - u) + r[n] * u) * v;
}

/* What each pixel gives to the sums of the windows that it is in. */
static void pixel_terms(hm_flow *f, int l)
{
    const int w = f->w[l], h = f->h[l];
    const float *b = f->b[l], *a = f->warped;
#pragma omp parallel for schedule(static)
    for (int y = 0; y < h; y++) {
        const int up = HM_MAX(y - 1, 0) * w, down = HM_MIN(y + 1, h - 1) * w;
        for (int x = 0; x < w; x++) {
            const int i = y * w + x, left = y * w + HM_MAX(x - 1, 0), right = y * w + HM_MIN(x + 1, w - 1);
            const float gx = 0.25f * (a[right] - a[left] + b[right] - b[left]), gy = 0.25f * (a[down + x] - a[up + x] + b[down + x] - b[up + x]);
            const float gt = b[i] - a[i];
            float *s = f->sum + (size_t)SUMS * (size_t)i;
            s[0] = gx * gx, s[1] = gx * gy, s[2] = gy * gy, s[3] = gx * gt, s[4] = gy * gt, s[5] = gx, s[6] = gy, s[7] = gt;
        }
    }
}

/* f->sum becomes its means over windows, cut at the borders; f->row is room. */
static void window_means(hm_flow *f, int l)
{
    const int w = f->w[l], h = f->h[l];
#pragma omp parallel for schedule(static)
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const int from = HM_MAX(x - RADIUS, 0), to = HM_MIN(x + RADIUS, w - 1);
            float s[SUMS] = {0};
            for (int u = from; u <= to; u++)
                for (int k = 0; k < SUMS; k++) s[k] += f->sum[(size_t)SUMS * (size_t)(y * w + u) + (size_t)k];
            for (int k = 0; k < SUMS; k++) f->row[(size_t)SUMS * (size_t)(y * w + x) + (size_t)k] = s[k] / (float)(to - from + 1);
        }
#pragma omp parallel for schedule(static)
    for (int y = 0; y < h; y++) {
        const int from = HM_MAX(y - RADIUS, 0), to = HM_MIN(y + RADIUS, h - 1);
        for (int x = 0; x < w; x++) {
            float s[SUMS] = {0};
            for (int v = from; v <= to; v++)
                for (int k = 0; k < SUMS; k++) s[k] += f->row[(size_t)SUMS * (size_t)(v * w + x) + (size_t)k];
            for (int k = 0; k < SUMS; k++) f->sum[(size_t)SUMS * (size_t)(y * w + x) + (size_t)k] = s[k] / (float)(to - from + 1);
        }
    }
}

/* One round at level l: the field brought nearer, then smoothed, so that who is sure leads who is not. A change of a window's
 * brightness as a whole is light, not motion. */
static void refine(hm_flow *f, int l)
{
    const int w = f->w[l], h = f->h[l];
    float *d = f->field[l];
#pragma omp parallel for schedule(static)
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const size_t i = (size_t)(y * w + x);
            f->warped[i] = at(f->a[l], w, h, 1, 0, (float)x + d[2 * i], (float)y + d[2 * i + 1]);
        }
    pixel_terms(f, l);
    window_means(f, l);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < (size_t)(w * h); i++) {
        float *s = f->sum + SUMS * i;
        const float xx = s[0] - s[5] * s[5] + ridge, xy = s[1] - s[5] * s[6], yy = s[2] - s[6] * s[6] + ridge;
        const float xt = s[3] - s[5] * s[7], yt = s[4] - s[6] * s[7], det = HM_MAX(xx * yy - xy * xy, ridge * ridge);
        d[2 * i] += clampf((yy * xt - xy * yt) / det, -1, 1);
        d[2 * i + 1] += clampf((xx * yt - xy * xt) / det, -1, 1);
        s[2] = det / (xx + yy); /* about the smaller eigenvalue: how sure */
        s[0] = s[2] * d[2 * i], s[1] = s[2] * d[2 * i + 1];
    }
    window_means(f, l);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < (size_t)(w * h); i++)
        for (size_t k = 0; k < 2; k++) d[2 * i + k] = f->sum[SUMS * i + k] / f->sum[SUMS * i + 2];
}

/* How well level 0 agrees, once the field is found: by the mean difference of a window. */
static void trust(hm_flow *f, float *field)
{
    const int w = f->w[0], h = f->h[0];
    const float *d = f->field[0];
    for (size_t i = 0; i < (size_t)(w * h); i++) {
        const float x = (float)(i % (size_t)w) + d[2 * i], y = (float)(i / (size_t)w) + d[2 * i + 1];
        float *s = f->sum + SUMS * i;
        memset(s, 0, SUMS * sizeof *s);
        s[0] = fabsf(f->b[0][i] - at(f->a[0], w, h, 1, 0, x, y));
        s[1] = x >= -1 && y >= -1 && x <= (float)w && y <= (float)h; /* came in from outside: not seen before */
    }
    window_means(f, 0);
    for (size_t i = 0; i < (size_t)(w * h); i++) {
        const float off = f->sum[SUMS * i] / disagree;
        field[3 * i] = d[2 * i], field[3 * i + 1] = d[2 * i + 1];
        field[3 * i + 2] = f->sum[SUMS * i + 1] / (1 + off * off);
    }
}

void hm_flow_find(hm_flow *f, const float *from, const float *to, float *field)
{
    const size_t n = (size_t)f->w[0] * (size_t)f->h[0];
    memcpy(f->a[0], from, n * sizeof *from), memcpy(f->b[0], to, n * sizeof *to);
    for (int l = 1; l < f->n; l++) {
        halve(f->a[l - 1], f->w[l - 1], f->a[l], f->w[l], f->h[l]);
        halve(f->b[l - 1], f->w[l - 1], f->b[l], f->w[l], f->h[l]);
    }
    for (int l = f->n - 1; l >= 0; l--) {
        const int w = f->w[l], h = f->h[l];
        float *d = f->field[l];
        for (int i = 0; i < w * h; i++)
            for (int k = 0; k < 2; k++)
                d[2 * i + k] = l + 1 == f->n ? 0 : 2 * at(f->field[l + 1], f->w[l + 1], f->h[l + 1], 2, k, 0.5f * (float)(i % w) - 0.25f, 0.5f * (float)(i / w) - 0.25f);
        for (int r = 0; r < ROUNDS; r++) refine(f, l);
    }
    trust(f, field);
}
