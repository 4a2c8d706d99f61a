/* codec_dct.c - truncated separable DCT of a window block, forward.   SPDX-License-Identifier: MIT
 * Order: time first (36 -> 10, the largest saving), then colour, then x, then y; every inner loop is 16 or 48
 * floats wide. */
#include <math.h>
#include <string.h>
#include "models/himmel/codec_internal.h"

void hm_dct_init(hm_dct *d)
{
    const double pi = 3.14159265358979323846;
    for (int f = 0; f < HM_BLOCK; f++)
        for (int x = 0; x < HM_BLOCK; x++) {
            const double c = f ? sqrt(2.0 / HM_BLOCK) : sqrt(1.0 / HM_BLOCK);
            d->space[f][x] = d->space_t[x][f] = (float)(c * cos(pi * (2 * x + 1) * f / (2.0 * HM_BLOCK)));
        }
    for (int f = 0; f < HM_DCT_T; f++)
        for (int t = 0; t < HM_WINDOW; t++) {
            const double c = f ? sqrt(2.0 / HM_WINDOW) : sqrt(1.0 / HM_WINDOW);
            d->time[f][t] = (float)(c * cos(pi * (2 * t + 1) * f / (2.0 * HM_WINDOW)));
        }
    for (int i = 0; i < 3 * HM_DCT_T; i++) d->rows[i] = HM_BLOCK;
}

/* row: 16 rgb pixels -> x-DCT of the three opponent colours, out[c] + 16 fx. */
static inline void colour_dct_x(const hm_dct *d, const float *restrict row, float *restrict a,
                                float *restrict b, float *restrict c)
{
    const float s3 = 0.57735026919f, s2 = 0.70710678119f, s6 = 0.40824829046f;
    float u[16] = {0}, v[16] = {0}, w[16] = {0};
    for (int x = 0; x < 16; x++) {
        const float r = row[3 * x], g = row[3 * x + 1], bl = row[3 * x + 2];
        const float l = (r + g + bl) * s3, p = (r - bl) * s2, q = (r - 2 * g + bl) * s6;
        const float *t = d->space_t[x];
#pragma omp simd
        for (int f = 0; f < 16; f++) u[f] += l * t[f], v[f] += p * t[f], w[f] += q * t[f];
    }
    memcpy(a, u, sizeof u);
    memcpy(b, v, sizeof v);
    memcpy(c, w, sizeof w);
}

/* plane [16 y][16 fx] -> out [fy < rows][16 fx] */
static inline void dct_y(const hm_dct *d, const float *restrict plane, int rows, float *restrict out)
{
    for (int f = 0; f < rows; f++) {
        float s[16] = {0};
        for (int y = 0; y < 16; y++) {
            const float k = d->space[f][y];
#pragma omp simd
            for (int x = 0; x < 16; x++) s[x] += k * plane[16 * y + x];
        }
        memcpy(out + 16 * f, s, sizeof s);
    }
}

HM_CLONES void hm_dct_block(const hm_dct *d, const float *p, size_t frame_stride, size_t row_stride,
                            float *box)
{
    float time[HM_DCT_T][48];
    float half[3][HM_DCT_T][HM_DCT_PLANE]; /* 30 kB: [c][ft][y][fx] */
    for (size_t y = 0; y < 16; y++) {
        memset(time, 0, sizeof time);
        for (size_t t = 0; t < HM_WINDOW; t += 4) {
            const float *restrict q0 = p + t * frame_stride + y * row_stride;
            const float *restrict q1 = q0 + frame_stride, *restrict q2 = q1 + frame_stride,
                                  *restrict q3 = q2 + frame_stride;
            for (int f = 0; f < HM_DCT_T; f++) {
                const float k0 = d->time[f][t], k1 = d->time[f][t + 1], k2 = d->time[f][t + 2],
                            k3 = d->time[f][t + 3];
                float *restrict s = time[f];
#pragma omp simd
                for (int i = 0; i < 48; i++) s[i] += (k0 * q0[i] + k1 * q1[i]) + (k2 * q2[i] + k3 * q3[i]);
            }
        }
        for (int f = 0; f < HM_DCT_T; f++)
            colour_dct_x(d, time[f], half[0][f] + 16 * y, half[1][f] + 16 * y, half[2][f] + 16 * y);
    }
    for (int c = 0; c < 3; c++)
        for (int f = 0; f < HM_DCT_T; f++)
            dct_y(d, half[c][f], d->rows[c * HM_DCT_T + f], box + (c * HM_DCT_T + f) * HM_DCT_PLANE);
}

HM_CLONES void hm_dct_still(const hm_dct *d, const float *p, size_t row_stride, float *plane)
{
    float half[3][HM_DCT_PLANE];
    for (size_t y = 0; y < 16; y++) {
        float row[48]; /* 36 equal frames have one temporal value, sqrt(36) times the picture */
        for (int i = 0; i < 48; i++) row[i] = p[y * row_stride + i] * 6.0f;
        colour_dct_x(d, row, half[0] + 16 * y, half[1] + 16 * y, half[2] + 16 * y);
    }
    for (int c = 0; c < 3; c++) dct_y(d, half[c], d->rows[c * HM_DCT_T], plane + c * HM_DCT_PLANE);
}
