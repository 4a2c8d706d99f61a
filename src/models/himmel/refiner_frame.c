/* refiner_frame.c - the refiner's two ends: input channels, and the picture from enlargement and correction.
 * SPDX-License-Identifier: MIT
 * Enlargement by 8: bicubic (Keys 1981, a = -1/2) with pixel centres aligned, so base pixel i lies between
 * full-size pixels 8i+3 and 8i+4; the borders are repeated. Row by row: vertical taps on base pixels, then 24
 * values (8 pixels) per base pixel. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/himmel/codec_internal.h"
#include "models/himmel/refiner.h"

enum { UP = HM_REFINER_UP, IN = HM_REFINER_IN, STRIP = 3 * UP, PIECE = 64 };

/* Distance from the nearest block edge as a triangle wave: -1 at an edge, 1 in the middle. The same seen in a
 * mirror. */
static float phase(int x)
{
    return 1.0f - fabsf(((float)((x % HM_BLOCK + HM_BLOCK) % HM_BLOCK) + 0.5f) / (HM_BLOCK / 4) - 2.0f);
}

/* Time: share of the still, doubled, where it has any; elsewhere 0 in the middle of a second to -1 at its
 * ends. */
static float phase_t(int t)
{
    const float still = hm_codec_share(2, 0, t);
    if (still > 0) return 2 * still;
    const float at = ((float)((t - 1) % HM_FPS) + 0.5f) / (HM_FPS / 2);
    return -fabsf(at - 1.0f);
}

void hm_refiner_input(float *x, const float *dec, int H, int W, int t, int x0, int y0, const float *known,
                      const float *mask)
{
    const size_t frame = (size_t)H * W * 3;
    const float pt = phase_t(t);
    for (int i = 0; i < H; i++)
        for (int j = 0; j < W; j++) {
            const size_t at = (size_t)i * W + j;
            float *o = x + at * IN;
            for (int f = 0; f < 3; f++)
                for (int c = 0; c < 3; c++) o[3 * f + c] = 2 * dec[f * frame + 3 * at + c] - 1;
            o[9] = phase(x0 + j);
            o[10] = phase(y0 + i);
            o[11] = pt;
            memset(o + 12, 0, 16 * sizeof *o);
            for (int q = 0; known && mask && q < 4; q++) {
                const size_t k = ((size_t)2 * i + q / 2) * 2 * W + 2 * j + q % 2;
                for (int c = 0; c < 3; c++) o[12 + 3 * q + c] = (2 * known[3 * k + c] - 1) * mask[k];
                o[24 + q] = mask[k];
            }
        }
}

/* Bicubic weights: down[p] for the base rows around full-size row 8i + p, from i-2 (p < 4) or i-1 on; across
 * the same for a whole base pixel at once, five taps i-2..i+2 of which one is zero. */
typedef struct { float down[UP][4], across[5][STRIP]; } kernel;

static void kernel_init(kernel *k)
{
    for (int p = 0; p < UP; p++) {
        const double at = (p + 0.5) / UP - 0.5, f = at < 0 ? at + 1 : at;
        for (int i = 0; i < 4; i++) {
            const double d = fabs(f - (i - 1));
            k->down[p][i] = (float)(d < 1   ? (1.5 * d - 2.5) * d * d + 1
                                    : d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2
                                            : 0);
        }
    }
    for (int i = 0; i < 5; i++)
        for (int s = 0; s < STRIP; s++) {
            const int p = s / 3, tap = p < UP / 2 ? i : i - 1;
            k->across[i][s] = tap >= 0 && tap < 4 ? k->down[p][tap] : 0;
        }
}

/* Base pixels from..from+n-1 (n <= PIECE) of full-size row y of frame t, into out [n][24]. */
HM_CLONES static void enlarge(const kernel *kn, float *restrict out, const float *x, int H, int W, int y,
                              int from, int n)
{
    float row[PIECE + 4][STRIP]; /* vertical taps done, each base pixel's colour 8 times over */
    const int p = y % UP, top = y / UP + (p < UP / 2 ? -2 : -1);
    for (int j = 0; j < n + 4; j++) {
        const int at = HM_MIN(HM_MAX(from + j - 2, 0), W - 1);
        float s[3] = {0};
        for (int k = 0; k < 4; k++) {
            const int i = HM_MIN(HM_MAX(top + k, 0), H - 1);
            const float *q = x + ((size_t)i * W + at) * IN + 3;
            for (int c = 0; c < 3; c++) s[c] += kn->down[p][k] * q[c];
        }
        for (int i = 0; i < STRIP; i++) row[j][i] = 0.5f + 0.5f * s[i % 3];
    }
    for (int j = 0; j < n; j++) {
        const float *r = row[j];
        float *o = out + (size_t)j * STRIP;
#pragma omp simd
        for (int i = 0; i < STRIP; i++)
            o[i] = (kn->across[0][i] * r[i] + kn->across[1][i] * r[STRIP + i]) +
                   (kn->across[2][i] * r[2 * STRIP + i] + kn->across[3][i] * r[3 * STRIP + i]) +
                   kn->across[4][i] * r[4 * STRIP + i];
    }
}

/* out [8W][3] += row dy of the 4x4 patches in c [2W][48] */
HM_CLONES static void add_row(float *restrict out, const void *c, hm_dtype dtype, int W, int dy)
{
    for (int j = 0; j < 2 * W; j++) {
        float v[48];
        if (dtype == HM_BF16)
            for (int i = 0; i < 48; i++) v[i] = hm_bf16_to_f32(((const uint16_t *)c)[(size_t)j * 48 + i]);
        else memcpy(v, (const float *)c + (size_t)j * 48, sizeof v);
        for (int dx = 0; dx < 4; dx++)
            for (int k = 0; k < 3; k++) out[12 * j + 3 * dx + k] += v[(k * 4 + dy) * 4 + dx];
    }
}

void hm_refiner_compose(float *out, const float *x, int H, int W, const void *correction, hm_dtype dtype)
{
    kernel kn;
    kernel_init(&kn);
#pragma omp parallel for schedule(static)
    for (int y = 0; y < UP * H; y++) {
        float *o = out + (size_t)y * UP * W * 3;
        for (int j = 0; j < W; j += PIECE)
            enlarge(&kn, o + (size_t)j * STRIP, x, H, W, y, j, HM_MIN(PIECE, W - j));
        if (correction)
            add_row(o, (const char *)correction + (size_t)(y / 4) * 2 * W * 48 * hm_dtype_size(dtype), dtype,
                    W, y % 4);
    }
}

void hm_refiner_patches(float *out, const float *frame, int H, int W)
{
    for (int y = 0; y < UP * H; y++)
        for (int j = 0; j < UP * W; j++)
            for (int c = 0; c < 3; c++)
                out[((size_t)(y / 4) * 2 * W + j / 4) * 48 + (c * 4 + y % 4) * 4 + j % 4] =
                    frame[((size_t)y * UP * W + j) * 3 + c];
}

himmel_status hm_refiner_residual(float *out, const float *x, int H, int W, const float *target)
{
    const size_t n = (size_t)UP * UP * H * W * 3;
    float *big = malloc(n * sizeof *big);
    if (!big) return HIMMEL_ENOMEM;
    hm_refiner_compose(big, x, H, W, NULL, HM_F32);
    for (size_t i = 0; i < n; i++) big[i] = target[i] - big[i];
    hm_refiner_patches(out, big, H, W);
    free(big);
    return HIMMEL_OK;
}
