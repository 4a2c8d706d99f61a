/* filters.c - tone mapping, AdaIN, bilinear resizing, sizes; see filters.h.   SPDX-License-Identifier: MIT */
#include "models/ltx/filters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void hm_tone_map(float *z, int64_t n, float compression)
{
    const float s = 0.75f * compression;
    if (s == 0) return;
    for (int64_t i = 0; i < n; i++) z[i] *= 1.0f - 0.8f * s / (1.0f + expf(-4.0f * s * (fabsf(z[i]) - 1.0f)));
}

static void mean_deviation(const float *z, int64_t rows, int C, int c, double *mean, double *deviation)
{
    double sum = 0, ss = 0;
    for (int64_t r = 0; r < rows; r++) sum += z[r * C + c];
    *mean = sum / (double)rows;
    for (int64_t r = 0; r < rows; r++) ss += (z[r * C + c] - *mean) * (z[r * C + c] - *mean);
    *deviation = sqrt(ss / (double)HM_MAX(rows - 1, 1));
}

void hm_adain(float *z, int64_t rows, const float *reference, int64_t ref_rows, int C, float factor)
{
    for (int c = 0; c < C; c++) {
        double m, d, rm, rd;
        mean_deviation(z, rows, C, c, &m, &d);
        mean_deviation(reference, ref_rows, C, c, &rm, &rd);
        if (!(d > 0)) continue;
        for (int64_t r = 0; r < rows; r++) {
            float *x = &z[r * C + c];
            *x += factor * ((float)((*x - m) / d * rd + rm) - *x);
        }
    }
}

/* Where output pixel i of `to` reads `from` pixels: between *a and *a + 1 (or itself), by the fraction
 * returned. */
static float source(int i, int to, int from, int *a, int *b)
{
    const float at = fmaxf(0.0f, ((float)i + 0.5f) * ((float)from / (float)to) - 0.5f);
    *a = HM_MIN((int)at, from - 1);
    *b = HM_MIN(*a + 1, from - 1);
    return at - (float)*a;
}

void hm_resize(float *to, int to_h, int to_w, const float *from, int n, int h, int w)
{
    for (int f = 0; f < n; f++)
        for (int y = 0; y < to_h; y++) {
            int y0, y1, x0, x1;
            const float fy = source(y, to_h, h, &y0, &y1);
            const float *r0 = from + ((size_t)f * (size_t)h + (size_t)y0) * (size_t)w * 3;
            const float *r1 = from + ((size_t)f * (size_t)h + (size_t)y1) * (size_t)w * 3;
            for (int x = 0; x < to_w; x++) {
                const float fx = source(x, to_w, w, &x0, &x1);
                for (int c = 0; c < 3; c++) {
                    const float top = (1 - fx) * r0[3 * x0 + c] + fx * r0[3 * x1 + c];
                    const float low = (1 - fx) * r1[3 * x0 + c] + fx * r1[3 * x1 + c];
                    *to++ = (1 - fy) * top + fy * low;
                }
            }
        }
}

bool hm_resize_crop(float *to, int to_h, int to_w, const float *from, int n, int h, int w)
{
    if (h == to_h && w == to_w) {
        memcpy(to, from, (size_t)n * (size_t)h * (size_t)w * 3 * sizeof *to);
        return true;
    }
    const double ratio = fmax((double)to_h / h, (double)to_w / w);
    const int big_w = HM_MAX((int)(w * ratio), to_w), big_h = HM_MAX((int)(h * ratio), to_h);
    float *big = malloc((size_t)big_w * (size_t)big_h * 3 * sizeof *big);
    if (!big) return false;
    const int left = (big_w - to_w) / 2, top = (big_h - to_h) / 2;
    for (int f = 0; f < n; f++) {
        hm_resize(big, big_h, big_w, from + (size_t)f * (size_t)h * (size_t)w * 3, 1, h, w);
        for (int y = 0; y < to_h; y++, to += 3 * (size_t)to_w)
            memcpy(to, big + ((size_t)(top + y) * (size_t)big_w + (size_t)left) * 3,
                   (size_t)to_w * 3 * sizeof *to);
    }
    free(big);
    return true;
}

int hm_trim_frames(int at, int n, int all, int step)
{
    const int most = HM_MIN(n, all - at) - 1;
    return (most < 0 ? -((-most + step - 1) / step) : most / step) * step + 1;
}

int hm_pad_side(int side, int step)
{
    return ((side - 1) / step + 1) * step;
}

int hm_pad_frames(int frames, int step)
{
    return frames < 2 ? 1 : ((frames - 2) / step + 1) * step + 1;
}
