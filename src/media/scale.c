/* scale.c - Lanczos resampling with colour conversion and dither.   SPDX-License-Identifier: MIT
 *   src rows (RGB) -vertical taps-> 16 rows f32 -matrix, transpose-> tile [x][16] -horizontal taps-> 8 bit
 * 16 output rows at a time, so that both passes are plain vector loops: the vertical one along
 * x, the horizontal one along the 16 rows. The 16 lanes of a chroma tile are 8 rows of Cb and 8 of Cr.
 * Memory: three tiles and a row a thread; strips share nothing, so the result does not depend on threads. */
#include "media/scale.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16, LOBES = 3 };

/* n outputs, each a weighted sum of taps inputs from start[i] on. */
typedef struct {
    int n, taps;
    int *start;
    float *weight; /* [n][taps] */
} axis_taps;

struct hm_scaler {
    hm_scale_opts o;
    axis_taps x, y;   /* of luma or RGB */
    axis_taps cx, cy; /* of chroma */
    int n_threads;
    size_t buf_n;     /* floats of buf a thread: three tiles and a row */
    float *buf;
};

static double lanczos(double t)
{
    t = fabs(t);
    if (t < 1e-9) return 1.0;
    if (t >= LOBES) return 0.0;
    const double a = M_PI * t;
    return LOBES * sin(a) * sin(a / LOBES) / (a * a);
}

static void taps_free(axis_taps *a)
{
    free(a->start);
    free(a->weight);
}

/* Output i has its centre at from + (i + phase) * extent / n in source coordinates (pixel j covers j..j+1).
 * Samples beyond the edge count for the edge pixel. */
static bool taps_new(axis_taps *a, int src_n, double from, double extent, int n, double phase)
{
    const double scale = extent / n, width = fmax(scale, 1.0), reach = LOBES * width;
    const int full = (int)ceil(2 * reach) + 1;
    a->n = n;
    a->taps = HM_MIN(full, src_n);
    a->start = malloc((size_t)n * sizeof *a->start);
    a->weight = calloc((size_t)n * (size_t)a->taps, sizeof *a->weight);
    if (!a->start || !a->weight) return false;
    for (int i = 0; i < n; i++) {
        const double c = from + (i + phase) * scale;
        const int first = (int)floor(c - reach + 0.5);
        const int at = HM_MAX(0, HM_MIN(first, src_n - a->taps));
        float *w = a->weight + (size_t)i * (size_t)a->taps;
        double sum = 0;
        for (int j = first; j < first + full; j++) sum += lanczos((j + 0.5 - c) / width);
        for (int j = first; j < first + full; j++) {
            const int k = HM_MAX(0, HM_MIN(HM_MAX(0, HM_MIN(j, src_n - 1)) - at, a->taps - 1));
            w[k] += (float)(lanczos((j + 0.5 - c) / width) / sum);
        }
        a->start[i] = at;
    }
    return true;
}

himmel_status hm_scaler_new(hm_scaler **out, const hm_scale_opts *opts, himmel_error *err)
{
    *out = NULL;
    hm_scale_opts o = *opts;
    if (o.w <= 0) o.x = o.y = 0, o.w = o.src_w, o.h = o.src_h;
    const bool yuv = o.kind == HM_FRAME_YUV420;
    if (o.src_w < 1 || o.src_h < 1 || o.out_w < 1 || o.out_h < 1 || o.src_w > 1 << 15 || o.src_h > 1 << 15 ||
        o.out_w > 1 << 15 || o.out_h > 1 << 15 || (yuv && (o.out_w % 2 || o.out_h % 2)))
        return hm_fail(err, HIMMEL_EINVAL, "cannot scale %dx%d to %dx%d", o.src_w, o.src_h, o.out_w, o.out_h);
    hm_scaler *s = calloc(1, sizeof *s);
    if (!s) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for scaling");
    s->o = o;
    s->n_threads = o.n_threads > 0 ? o.n_threads : omp_get_max_threads();
    s->buf_n = (size_t)o.src_w * (3 * LANES + 3);
    /* zero: lanes beyond the last row stay tame */
    s->buf = calloc(s->buf_n * (size_t)s->n_threads, sizeof *s->buf);
    bool ok = s->buf && taps_new(&s->x, o.src_w, o.x, o.w, o.out_w, 0.5) &&
              taps_new(&s->y, o.src_h, o.y, o.h, o.out_h, 0.5);
    /* chroma sited left: over the even luma pixels, between two luma rows */
    if (ok && yuv)
        ok = taps_new(&s->cx, o.src_w, o.x, o.w, o.out_w / 2, 0.25) &&
             taps_new(&s->cy, o.src_h, o.y, o.h, o.out_h / 2, 0.5);
    if (!ok) {
        hm_scaler_free(s);
        return hm_fail(err, HIMMEL_ENOMEM, "out of memory for scaling %dx%d to %dx%d", o.src_w, o.src_h,
                       o.out_w, o.out_h);
    }
    *out = s;
    return HIMMEL_OK;
}

void hm_scaler_free(hm_scaler *s)
{
    if (!s) return;
    taps_free(&s->x);
    taps_free(&s->y);
    taps_free(&s->cx);
    taps_free(&s->cy);
    free(s->buf);
    free(s);
}

/* Two selects, which vectorise; fminf must treat NaN specially and does not. NaN becomes lo. */
static inline float clamp(float v, float lo, float hi)
{
    v = v > lo ? v : lo;
    return v < hi ? v : hi;
}

/* ---- vertical ---- */

/* acc[i] = sum over k of w[k] src[k n + i], rows of n; four taps a turn, so that acc is touched seldom. */
#define ROWS(name, type, value)                                                                             \
    HM_CLONES static void name(float *restrict acc, const type *restrict src, const float *w, int taps, int n) \
    {                                                                                                       \
        memset(acc, 0, (size_t)n * sizeof *acc);                                                            \
        int k = 0;                                                                                          \
        for (; k + 4 <= taps; k += 4) {                                                                     \
            const type *a = src + (size_t)k * (size_t)n, *b = a + n, *c = b + n, *d = c + n;                \
            const float wa = w[k], wb = w[k + 1], wc = w[k + 2], wd = w[k + 3];                             \
            _Pragma("omp simd") for (int i = 0; i < n; i++)                                                 \
                acc[i] += (wa * value(a[i]) + wb * value(b[i])) + (wc * value(c[i]) + wd * value(d[i]));    \
        }                                                                                                   \
        for (; k < taps; k++) {                                                                             \
            const type *a = src + (size_t)k * (size_t)n;                                                    \
            const float wa = w[k];                                                                          \
            _Pragma("omp simd") for (int i = 0; i < n; i++) acc[i] += wa * value(a[i]);                     \
        }                                                                                                   \
    }
#define FROM_F32(v) (v)
#define FROM_U8(v) ((float)(v) * (1.0f / 255.0f))
ROWS(rows_f32, float, FROM_F32)
ROWS(rows_bf16, uint16_t, hm_bf16_to_f32)
ROWS(rows_u8, uint8_t, FROM_U8)

/* Row i of the vertically scaled picture, interleaved RGB, into acc [3 src_w]. */
static void vertical(float *acc, const hm_scaler *s, const axis_taps *a, int i, const void *src, hm_pix t)
{
    const int n = 3 * s->o.src_w;
    const float *w = a->weight + (size_t)i * (size_t)a->taps;
    const size_t at = (size_t)a->start[i] * (size_t)n;
    if (t == HM_PIX_F32) rows_f32(acc, (const float *)src + at, w, a->taps, n);
    else if (t == HM_PIX_BF16) rows_bf16(acc, (const uint16_t *)src + at, w, a->taps, n);
    else rows_u8(acc, (const uint8_t *)src + at, w, a->taps, n);
}

/* ---- horizontal ---- */

/* Interleaved gradient noise (Jimenez 2014) in integers, [0,1): even under any small window, still in time,
 * so that it costs the video encoder nothing where nothing moves. */
static inline float dither(uint32_t x, uint32_t y)
{
    const uint32_t u = 288237660u * x + 25070364u * y;
    return (float)((53u * u - (u >> 6) - (u >> 10) - (u >> 11)) >> 8) * 0x1p-24f;
}

/* To 8-bit steps: v * gain + base, from lo to hi. */
typedef struct { float gain, base, lo, hi; } levels;

/* 16 rows from a tile [x][16]: every output column is a weighted sum of tile columns, dithered and stored
 * step bytes apart in the rows dst; NULL: no such row. */
HM_CLONES static void horizontal(const axis_taps *a, const float *restrict tile, levels l,
                                 uint8_t *const dst[LANES], int step, uint32_t y0)
{
    uint8_t px[LANES];
    for (int i = 0; i < a->n; i++) {
        const float *t = tile + (size_t)a->start[i] * LANES, *w = a->weight + (size_t)i * (size_t)a->taps;
        float acc[LANES] = {0};
        for (int k = 0; k < a->taps; k++)
#pragma omp simd
            for (int r = 0; r < LANES; r++) acc[r] += w[k] * t[k * LANES + r];
#pragma omp simd
        for (int r = 0; r < LANES; r++)
            px[r] = (uint8_t)(int)clamp(acc[r] * l.gain + l.base + dither((uint32_t)i, y0 + (uint32_t)r),
                                        l.lo, l.hi);
        for (int r = 0; r < LANES; r++)
            if (dst[r]) dst[r][(size_t)i * (size_t)step] = px[r];
    }
}

/* bt.709 luma, and colour differences in -0.5..0.5. */
static void row_to_luma(float *tile, const float *rgb, int n)
{
    for (int x = 0; x < n; x++)
        tile[x * LANES] = 0.2126f * rgb[3 * x] + 0.7152f * rgb[3 * x + 1] + 0.0722f * rgb[3 * x + 2];
}

static void row_to_chroma(float *cb, float *cr, const float *rgb, int n)
{
    for (int x = 0; x < n; x++) {
        const float r = rgb[3 * x], g = rgb[3 * x + 1], b = rgb[3 * x + 2];
        const float y = 0.2126f * r + 0.7152f * g + 0.0722f * b;
        cb[x * LANES] = (b - y) * (1.0f / 1.8556f);
        cr[x * LANES] = (r - y) * (1.0f / 1.5748f);
    }
}

static void strip_rgb(const hm_scaler *s, const void *src, hm_pix t, const hm_frame *f, int y0, float *buf)
{
    const int n = s->o.src_w;
    const size_t tile = (size_t)n * LANES;
    float *row = buf + 3 * tile;
    for (int r = 0; r < LANES && y0 + r < f->h; r++) {
        vertical(row, s, &s->y, y0 + r, src, t);
        for (int x = 0; x < n; x++)
            for (int c = 0; c < 3; c++)
                buf[(size_t)c * tile + (size_t)x * LANES + (size_t)r] = row[3 * x + c];
    }
    for (int c = 0; c < 3; c++) {
        uint8_t *dst[LANES] = {0};
        for (int r = 0; r < LANES && y0 + r < f->h; r++)
            dst[r] = f->plane[0] + (ptrdiff_t)(y0 + r) * f->stride[0] + c;
        horizontal(&s->x, buf + (size_t)c * tile, (levels){255, 0, 0, 255}, dst, 3, (uint32_t)y0);
    }
}

static void strip_yuv(const hm_scaler *s, const void *src, hm_pix t, const hm_frame *f, int y0, float *buf)
{
    const int n = s->o.src_w;
    float *row = buf + (size_t)n * LANES;
    uint8_t *dst[LANES] = {0};
    for (int r = 0; r < LANES && y0 + r < f->h; r++) {
        vertical(row, s, &s->y, y0 + r, src, t);
        row_to_luma(buf + r, row, n);
        dst[r] = f->plane[0] + (ptrdiff_t)(y0 + r) * f->stride[0];
    }
    horizontal(&s->x, buf, (levels){219, 16, 16, 235.5f}, dst, 1, (uint32_t)y0);

    enum { HALF = LANES / 2 };
    memset(dst, 0, sizeof dst);
    for (int r = 0; r < HALF && y0 / 2 + r < f->h / 2; r++) {
        vertical(row, s, &s->cy, y0 / 2 + r, src, t);
        row_to_chroma(buf + r, buf + HALF + r, row, n);
        dst[r] = f->plane[1] + (ptrdiff_t)(y0 / 2 + r) * f->stride[1];
        dst[HALF + r] = f->plane[2] + (ptrdiff_t)(y0 / 2 + r) * f->stride[2];
    }
    horizontal(&s->cx, buf, (levels){224, 128, 16, 240.5f}, dst, 1, (uint32_t)y0);
}

void hm_scale(hm_scaler *s, const void *src, hm_pix t, const hm_frame *out)
{
    const int n_strips = (s->o.out_h + LANES - 1) / LANES;
    const bool yuv = s->o.kind == HM_FRAME_YUV420;
#pragma omp parallel for schedule(static) num_threads(s->n_threads)
    for (int i = 0; i < n_strips; i++) {
        float *buf = s->buf + s->buf_n * (size_t)omp_get_thread_num();
        if (yuv) strip_yuv(s, src, t, out, i * LANES, buf);
        else strip_rgb(s, src, t, out, i * LANES, buf);
    }
}

/* ---- blending ---- */

static uint8_t mix8(uint8_t under, float alpha, float over)
{
    return (uint8_t)clamp((1.0f - alpha) * (float)under + over + 0.5f, 0.0f, 255.0f);
}

static void blend_rgb(const hm_frame *f, const float *p, int x, int y)
{
    uint8_t *d = f->plane[0] + (ptrdiff_t)y * f->stride[0] + 3 * x;
    for (int c = 0; c < 3; c++) d[c] = mix8(d[c], p[3], 255.0f * p[c]);
}

/* Y' = 16 + 219 y: with alpha a the offset blends too, so the tile's share of it is 16 a (chroma: 128 a). */
static void blend_luma(const hm_frame *f, const float *p, int x, int y)
{
    uint8_t *d = f->plane[0] + (ptrdiff_t)y * f->stride[0] + x;
    *d = mix8(*d, p[3], 16.0f * p[3] + 219.0f * (0.2126f * p[0] + 0.7152f * p[1] + 0.0722f * p[2]));
}

static void blend_chroma(const hm_frame *f, const float p[4], int x, int y)
{
    const float luma = 0.2126f * p[0] + 0.7152f * p[1] + 0.0722f * p[2];
    uint8_t *cb = f->plane[1] + (ptrdiff_t)(y / 2) * f->stride[1] + x / 2;
    uint8_t *cr = f->plane[2] + (ptrdiff_t)(y / 2) * f->stride[2] + x / 2;
    *cb = mix8(*cb, p[3], 128.0f * p[3] + 224.0f * (p[2] - luma) / 1.8556f);
    *cr = mix8(*cr, p[3], 128.0f * p[3] + 224.0f * (p[0] - luma) / 1.5748f);
}

void hm_frame_blend(const hm_frame *f, const float *tile, int x, int y, int w, int h)
{
    for (int j = HM_MAX(0, -y); j < h && y + j < f->h; j++)
        for (int i = HM_MAX(0, -x); i < w && x + i < f->w; i++) {
            const float *p = tile + 4 * ((ptrdiff_t)j * w + i);
            if (f->kind == HM_FRAME_RGB8) {
                blend_rgb(f, p, x + i, y + j);
                continue;
            }
            blend_luma(f, p, x + i, y + j);
            if (((x + i) | (y + j)) & 1 || i + 1 >= w || j + 1 >= h) continue;
            float mean[4];
            for (int c = 0; c < 4; c++)
                mean[c] = 0.25f * (p[c] + p[4 + c] + p[4 * w + c] + p[4 * w + 4 + c]);
            blend_chroma(f, mean, x + i, y + j);
        }
}
