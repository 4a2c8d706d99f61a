/* codec_decode.c - coefficients -> film frames: neighbour decode, inverse DCT, cross-fade, seams.
 * SPDX-License-Identifier: MIT
 * Window j >= 1 covers frames 24(j-1)-5 .. 24j+6; neighbours in time overlap in 12 frames. Every frame is the
 * sum of its windows in ascending order, and every product has the shape of a whole latent frame, so any
 * range gives the same bytes. */
#include <stdlib.h>
#include <string.h>
#include "models/himmel/codec_internal.h"

enum { STILL_FADE = 7 }; /* frames 0..6: from the still to window 1 */

float hm_codec_share(int T, int j, int f)
{
    const float still = T == 1 ? 1.0f : f < STILL_FADE ? 1.0f - (float)f / STILL_FADE : 0.0f;
    if (j == 0) return still;
    const int w = f - HM_FPS * (j - 1) + HM_LAP - 1; /* frame of the window */
    if (w < 0 || w >= HM_WINDOW) return 0;
    float s = 1;
    if (j == 1) s -= still;
    else if (w < 2 * HM_LAP) s = ((float)w + 0.5f) / (2 * HM_LAP);
    if (j < T - 1 && w >= HM_WINDOW - 2 * HM_LAP) s = ((float)(HM_WINDOW - w) - 0.5f) / (2 * HM_LAP);
    return s;
}

void hm_codec_gather(float *x, const float *z, int gh, int gw, int K)
{
    for (int by = 0; by < gh; by++)
        for (int bx = 0; bx < gw; bx++)
            for (int i = 0; i < HM_NEAR; i++) {
                const int ny = by + i / 3 - 1, nx = bx + i % 3 - 1;
                float *to = x + ((size_t)(by * gw + bx) * HM_NEAR + i) * K;
                if (ny < 0 || ny >= gh || nx < 0 || nx >= gw) memset(to, 0, (size_t)K * sizeof *to);
                else memcpy(to, z + (size_t)(ny * gw + nx) * K, (size_t)K * sizeof *to);
            }
}

/* box plane [fy < rows][16 fx] -> pixels of one opponent colour, out [y][x] */
static inline void idct_plane(const hm_dct *d, const float *restrict v, int rows, float *restrict out)
{
    for (int y = 0; y < 16; y++) {
        float s[16] = {0}, o[16] = {0};
        for (int f = 0; f < rows; f++) {
            const float k = d->space[f][y];
#pragma omp simd
            for (int x = 0; x < 16; x++) s[x] += k * v[16 * f + x];
        }
        for (int f = 0; f < 16; f++) {
            const float k = s[f];
#pragma omp simd
            for (int x = 0; x < 16; x++) o[x] += k * d->space[f][x];
        }
        memcpy(out + 16 * y, o, sizeof o);
    }
}

/* box -> per temporal frequency the rgb block, time[n_ft][16][48] */
HM_CLONES static void block_space(const hm_dct *d, const float *box, int n_ft, float *time)
{
    const float s3 = 0.57735026919f, s2 = 0.70710678119f, s6 = 0.40824829046f;
    for (int f = 0; f < n_ft; f++) {
        float p[3][HM_DCT_PLANE];
        for (int c = 0; c < 3; c++)
            idct_plane(d, box + (c * HM_DCT_T + f) * HM_DCT_PLANE, d->rows[c * HM_DCT_T + f], p[c]);
        float *o = time + (size_t)f * 3 * HM_DCT_PLANE;
        for (int i = 0; i < HM_DCT_PLANE; i++) {
            const float l = p[0][i] * s3, u = p[1][i] * s2, v = p[2][i] * s6;
            o[3 * i] = l + u + v;
            o[3 * i + 1] = l - 2 * v;
            o[3 * i + 2] = l - u + v;
        }
    }
}

/* Adds one frame of a block: out rows of 48 floats += sum over ft of k[ft] time[ft]. */
HM_CLONES static void block_frame(const float *restrict time, const float *restrict k, int n_ft,
                                  float *restrict out, size_t row_stride)
{
    for (size_t y = 0; y < 16; y++) {
        float s[48] = {0};
        for (int f = 0; f < n_ft; f++) {
            const float *q = time + (size_t)f * 3 * HM_DCT_PLANE + 48 * y;
            const float kf = k[f];
#pragma omp simd
            for (int i = 0; i < 48; i++) s[i] += kf * q[i];
        }
        float *o = out + y * row_stride;
#pragma omp simd
        for (int i = 0; i < 48; i++) o[i] += s[i];
    }
}

typedef struct {
    const hm_codec *c;
    const float *y; /* [blocks][n or n_still] */
    int T, j, gh, gw, from, n; /* T 0: window 1 alone, not cross-faded */
    float *out;
} window;

static void window_block(const window *w, int b)
{
    const hm_codec *c = w->c;
    const int n_ft = w->j ? HM_DCT_T : 1, n = w->j ? c->n : c->n_still;
    float box[HM_DCT_BOX], time[HM_DCT_T * 3 * HM_DCT_PLANE];
    memset(box, 0, sizeof box);
    const float *y = w->y + (size_t)b * n;
    for (int i = 0; i < n; i++) {
        const int k = w->j ? i : c->still[i];
        box[c->index[k]] = y[i] + c->mean[k];
    }
    block_space(&c->dct, box, n_ft, time);
    const size_t row = (size_t)w->gw * 48, frame = row * 16 * w->gh;
    for (int i = 0; i < w->n; i++) {
        const int f = w->from + i;
        const float s = w->T ? hm_codec_share(w->T, w->j, f) : 1.0f;
        if (!(s > 0)) continue;
        float k[HM_DCT_T];
        const int t = w->j ? f - HM_FPS * (w->j - 1) + HM_LAP - 1 : 0;
        for (int q = 0; q < n_ft; q++) k[q] = s * c->dct.time[q][t];
        block_frame(time, k, n_ft,
                    w->out + i * frame + (size_t)(b / w->gw) * 16 * row + (size_t)(b % w->gw) * 48, row);
    }
}

static bool window_used(int T, int j, int from, int n)
{
    for (int f = from; f < from + n; f++)
        if (hm_codec_share(T, j, f) > 0) return true;
    return false;
}

himmel_status hm_codec_decode_linear(const hm_codec *c, const float *z, int T, int gh, int gw, int from, int n,
                                     float *out)
{
    const int blocks = gh * gw;
    const size_t nx = (size_t)blocks * HM_NEAR * c->K, ny = (size_t)blocks * c->n;
    float *x = malloc((nx + ny) * sizeof *x);
    if (!x) return HIMMEL_ENOMEM;
    float *y = x + nx;
    memset(out, 0, (size_t)n * blocks * 3 * HM_DCT_PLANE * sizeof *out);
    for (int j = 0; j < T; j++) {
        if (!window_used(T, j, from, n)) continue;
        const window w = {
            .c = c, .y = y, .T = T, .j = j, .gh = gh, .gw = gw, .from = from, .n = n, .out = out};
        hm_codec_gather(x, z + (size_t)j * blocks * c->K, gh, gw, c->K);
        hm_gemm(false, false, blocks, j ? c->n : c->n_still, (int64_t)HM_NEAR * c->K, 1.0f, HM_F32, x,
                j ? c->decoder : c->still_decoder, 0.0f, HM_F32, y);
#pragma omp parallel for schedule(static)
        for (int b = 0; b < blocks; b++) window_block(&w, b);
    }
    free(x);
    return HIMMEL_OK;
}

himmel_status hm_codec_decode(const hm_codec *c, const float *z, int T, int gh, int gw, int from, int n, float *out)
{
    const himmel_status rc = hm_codec_decode_linear(c, z, T, gh, gw, from, n, out);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < (rc ? 0 : n); i++) hm_codec_smooth_seams(out + (size_t)i * gh * gw * 3 * HM_DCT_PLANE, gh, gw);
    return rc;
}

himmel_status hm_codec_decode_window(const hm_codec *c, const float *z, int gh, int gw, float *out)
{
    const int blocks = gh * gw;
    const size_t nx = (size_t)blocks * HM_NEAR * c->K, ny = (size_t)blocks * c->n;
    float *x = malloc((nx + ny) * sizeof *x);
    if (!x) return HIMMEL_ENOMEM;
    const window w = {.c = c, .y = x + nx, .T = 0, .j = 1, .gh = gh, .gw = gw, .from = 1 - HM_LAP, .n = HM_WINDOW, .out = out};
    memset(out, 0, (size_t)HM_WINDOW * blocks * 3 * HM_DCT_PLANE * sizeof *out);
    hm_codec_gather(x, z, gh, gw, c->K);
    hm_gemm(false, false, blocks, c->n, (int64_t)HM_NEAR * c->K, 1.0f, HM_F32, x, c->decoder, 0.0f, HM_F32, x + nx);
#pragma omp parallel for schedule(static)
    for (int b = 0; b < blocks; b++) window_block(&w, b);
    free(x);
    return HIMMEL_OK;
}
