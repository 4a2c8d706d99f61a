/* watermark_embed.c - the pattern into frames.   SPDX-License-Identifier: MIT
 *   tile -> pattern of the whole frame, once; each frame: deviation of blocks -> strength -> luma += strength x pattern
 * All in integers but the strength of a block; a 1080p frame takes a few milliseconds. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "provenance/watermark_internal.h"

enum {
    BLOCK = 8,            /* pixels; strength is linear between the centres of blocks */
    TILE = 512,           /* samples a side of the tile when it is written */
    UNIT = 32             /* of pattern and of strength: fixed point */
};
/* Code values, RMS. In blocks with a deviation below 1 the mark must stay at 1 or below, rounding included. */
static const float flat_strength = 0.92f, strength_slope = 2.0f, slope_from = 0.7f, max_strength = 7.0f;
static const float beside_smooth = 1.7f; /* strength reaches from the centre of a block into its neighbours */
static const double max_rms = 1.98;      /* of a frame: 42.1 dB with what rounding adds */

struct hm_watermark {
    int w, h, n_threads;
    int bw, bh;           /* blocks */
    int8_t *pattern;      /* [h][w], UNIT = 1 */
    float *strength;      /* [bh][bw] of the frame at hand */
    int16_t *fixed;       /* [bh][bw] the same, capped, UNIT = 1 */
    float *energy;        /* [bh + 1][bw + 1] sum of the pattern's squares between the centres of four blocks */
};

/* The tile, repeated from the centre. */
static void lay_pattern(hm_watermark *m, const float *tile)
{
    const double side = hm_wm_tile_side(m->w, m->h);
#pragma omp parallel for num_threads(m->n_threads) schedule(static)
    for (int y = 0; y < m->h; y++) {
        const double v = ((y + 0.5 - m->h / 2.0) / side + 64) * TILE; /* + 64 tiles: positive */
        const int v0 = (int)v, va = v0 & (TILE - 1), vb = (v0 + 1) & (TILE - 1);
        const float fv = (float)(v - v0);
        for (int x = 0; x < m->w; x++) {
            const double u = ((x + 0.5 - m->w / 2.0) / side + 64) * TILE;
            const int u0 = (int)u, ua = u0 & (TILE - 1), ub = (u0 + 1) & (TILE - 1);
            const float fu = (float)(u - u0);
            const float top = tile[va * TILE + ua] * (1 - fu) + tile[va * TILE + ub] * fu;
            const float low = tile[vb * TILE + ua] * (1 - fu) + tile[vb * TILE + ub] * fu;
            const float p = UNIT * (top * (1 - fv) + low * fv);
            m->pattern[(size_t)y * (size_t)m->w + (size_t)x] = (int8_t)lrintf(p > 127 ? 127 : p < -127 ? -127 : p);
        }
    }
}

static void measure_pattern(hm_watermark *m)
{
    const int half = BLOCK / 2;
    for (int by = 0; by <= m->bh; by++)
        for (int bx = 0; bx <= m->bw; bx++) {
            int32_t sum = 0;
            for (int y = HM_MAX(0, by * BLOCK - half); y < HM_MIN(m->h, by * BLOCK + half); y++)
                for (int x = HM_MAX(0, bx * BLOCK - half); x < HM_MIN(m->w, bx * BLOCK + half); x++) {
                    const int32_t p = m->pattern[(size_t)y * (size_t)m->w + (size_t)x];
                    sum += p * p;
                }
            m->energy[by * (m->bw + 1) + bx] = (float)sum / (UNIT * UNIT);
        }
}

static himmel_status make_pattern(hm_watermark *m, const hm_wm_payload *p, himmel_error *err)
{
    uint8_t bytes[HM_WM_BYTES];
    int8_t coded[HM_WM_CODED];
    hm_wm_layout *l = malloc(sizeof *l);
    float *tile = malloc(2 * sizeof *tile * TILE * TILE);
    const bool ok = l && tile;
    if (ok) {
        hm_wm_pack(p, bytes);
        hm_wm_encode(bytes, coded);
        hm_wm_layout_make(l);
        hm_wm_tile(l, coded, hm_wm_tile_side(m->w, m->h), TILE, tile, tile + TILE * TILE);
        lay_pattern(m, tile);
        measure_pattern(m);
    }
    free(tile);
    free(l);
    return ok ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "out of memory for the watermark of %dx%d", m->w, m->h);
}

himmel_status hm_watermark_new(hm_watermark **out, int w, int h, const hm_wm_payload *p, int n_threads,
                               himmel_error *err)
{
    *out = NULL;
    if (w < 16 || h < 16 || w > 8192 || h > 8192)
        return hm_fail(err, HIMMEL_EINVAL, "watermark: a frame of %dx%d; 16 to 8192 pixels a side", w, h);
    hm_watermark *m = calloc(1, sizeof *m);
    if (!m) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the watermark of %dx%d", w, h);
    *m = (hm_watermark){.w = w, .h = h, .bw = (w + BLOCK - 1) / BLOCK, .bh = (h + BLOCK - 1) / BLOCK};
    m->n_threads = n_threads > 0 ? n_threads : omp_get_max_threads();
    const size_t blocks = (size_t)m->bw * (size_t)m->bh;
    m->pattern = malloc((size_t)w * (size_t)h);
    m->strength = malloc(blocks * sizeof *m->strength);
    m->fixed = malloc(blocks * sizeof *m->fixed);
    m->energy = malloc((size_t)(m->bw + 1) * (size_t)(m->bh + 1) * sizeof *m->energy);
    himmel_status rc = HIMMEL_OK;
    if (!m->pattern || !m->strength || !m->fixed || !m->energy)
        rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for the watermark of %dx%d", w, h);
    if (!rc) rc = make_pattern(m, p, err);
    if (rc) {
        hm_watermark_free(m);
        return rc;
    }
    *out = m;
    return HIMMEL_OK;
}

void hm_watermark_free(hm_watermark *m)
{
    if (!m) return;
    free(m->pattern);
    free(m->strength);
    free(m->fixed);
    free(m->energy);
    free(m);
}

/* ---- one frame ---- */

/* Sums over the four columns and four rows of each cell of 4 x 4. w a multiple of 4 of whole cells. */
HM_CLONES static void cell_sums(const uint8_t *luma, size_t stride, int cells, int32_t *sum, int32_t *square)
{
    for (int c = 0; c < cells; c++) {
        int32_t s = 0, q = 0;
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 4; x++) {
                const int32_t v = luma[(size_t)y * stride + 4 * (size_t)c + (size_t)x];
                s += v, q += v * v;
            }
        sum[c] = s, square[c] = q;
    }
}

/* Eight rows of luma from row y0 on: the frame's own, or made from RGB (bt.709) into rows. */
static const uint8_t *luma_rows(const hm_watermark *m, const hm_frame *f, int y0, uint8_t *rows, size_t *stride)
{
    const uint8_t *in = f->plane[0] + (size_t)y0 * (size_t)f->stride[0];
    *stride = f->kind == HM_FRAME_RGB8 ? (size_t)m->w : (size_t)f->stride[0];
    if (f->kind != HM_FRAME_RGB8) return in;
    for (int y = 0; y < BLOCK; y++, in += f->stride[0])
        for (int x = 0; x < m->w; x++)
            rows[y * m->w + x] = (uint8_t)((54 * in[3 * x] + 183 * in[3 * x + 1] + 19 * in[3 * x + 2] + 128) >> 8);
    return rows;
}

/* Strength by the deviation in the four cells of a block: their mean, held down by the smoothest one, so that an edge
 * against the sky does not count as texture; a block that is smooth as a whole has no texture at all. Blocks that the frame cuts copy a whole neighbour. */
static void block_strength(hm_watermark *m, const hm_frame *f, int by)
{
    uint8_t rows[BLOCK * 8192];
    int32_t sum[2][2048], square[2][2048]; /* 8192 / 4 */
    const int cells = m->w / 4, y0 = HM_MIN(by * BLOCK, m->h - BLOCK);
    size_t stride;
    const uint8_t *luma = luma_rows(m, f, y0, rows, &stride);
    for (int r = 0; r < 2; r++)
        cell_sums(luma + 4 * (size_t)r * stride, stride, cells, sum[r], square[r]);
    for (int bx = 0; bx < m->bw; bx++) {
        const int c0 = HM_MIN(2 * bx, cells - 2);
        float mean = 0, least = 1e9f;
        int32_t all = 0, all_square = 0;
        for (int k = 0; k < 4; k++) {
            const int32_t s = sum[k >> 1][c0 + (k & 1)], q = square[k >> 1][c0 + (k & 1)];
            const float variance = (float)(16 * q - s * s) / 256.0f;
            all += s, all_square += q;
            mean += variance / 4;
            least = HM_MIN(least, variance);
        }
        const float dev = sqrtf(sqrtf(mean * least)); /* geometric mean of the two deviations */
        const bool flat = 64 * (int64_t)all_square - (int64_t)all * all < 4096; /* variance below 1 */
        const float s = flat_strength + (flat ? 0 : strength_slope * HM_MAX(0, dev - slope_from));
        m->strength[by * m->bw + bx] = HM_MIN(s, max_strength);
    }
}

/* Strength is linear between the centres of blocks: what stands beside a smooth one would reach into it. In place, in reading
 * order: a block that was lowered is still above flat_strength, so it lowers none behind it. */
static void spare_smooth(hm_watermark *m)
{
    const int w = m->bw, h = m->bh;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            float *s = m->strength + y * w + x;
            float least = HM_MIN(s[x > 0 ? -1 : 0], s[x + 1 < w ? 1 : 0]);
            least = HM_MIN(least, HM_MIN(s[y > 0 ? -w : 0], s[y + 1 < h ? w : 0]));
            if (least <= flat_strength) *s = HM_MIN(*s, beside_smooth);
        }
}

/* Of the whole frame, were no strength above cap. Between the centres of four blocks, a b over c d, it is linear in both
 * directions: the mean of its square is a ninth of the sum below. */
static double frame_rms(const hm_watermark *m, float cap)
{
    double sum = 0;
    for (int by = 0; by <= m->bh; by++) {
        const float *up = m->strength + HM_MAX(by - 1, 0) * m->bw, *down = m->strength + HM_MIN(by, m->bh - 1) * m->bw;
        const float *energy = m->energy + by * (m->bw + 1);
        float row = 0, a = HM_MIN(up[0], cap), c = HM_MIN(down[0], cap);
        for (int bx = 0; bx <= m->bw; bx++) {
            const int right = HM_MIN(bx, m->bw - 1);
            const float b = HM_MIN(up[right], cap), d = HM_MIN(down[right], cap);
            row += energy[bx] * (a * a + b * b + c * c + d * d + (a + d) * (b + c) + (a * d + b * c) / 2);
            a = b, c = d;
        }
        sum += (double)row / 9;
    }
    return sqrt(sum / ((double)m->w * m->h));
}

/* Strengths to fixed point. A frame that would get too much loses it where it has most, in its roughest places: there a
 * change is worth least to the reader, whose noise is the picture. */
static void settle_strength(hm_watermark *m)
{
    float cap = max_strength;
    if (frame_rms(m, cap) > max_rms) {
        cap = 0;
        for (float step = max_strength / 2; step > 0.5f / UNIT; step /= 2)
            if (frame_rms(m, cap + step) <= max_rms) cap += step;
    }
    for (int i = 0; i < m->bw * m->bh; i++) m->fixed[i] = (int16_t)lrintf(UNIT * HM_MIN(m->strength[i], cap));
}

/* What row y gets: delta[x], code values. */
HM_CLONES static void row_delta(const hm_watermark *m, int y, const uint8_t *alpha, int16_t *restrict delta)
{
    enum { HALF = BLOCK / 2, SHIFT = 10 };
    int16_t column[1026] = {0}, weight[8192 + 2 * BLOCK];
    const int above = HM_MAX(0, (y - HALF) / BLOCK), below = HM_MIN(m->bh - 1, above + (y >= HALF));
    const int part = y < HALF ? 0 : (y - HALF) % BLOCK;
    const int16_t *a = m->fixed + (size_t)above * (size_t)m->bw, *b = m->fixed + (size_t)below * (size_t)m->bw;
    for (int i = 0; i < m->bw; i++) column[i + 1] = (int16_t)((a[i] * (BLOCK - part) + b[i] * part) / BLOCK);
    column[0] = column[1], column[m->bw + 1] = column[m->bw];
    for (int i = 0; i <= m->bw; i++) /* from the centre of block i - 1 to that of block i */
        for (int k = 0; k < BLOCK; k++)
            weight[i * BLOCK + k] = (int16_t)((column[i] * (BLOCK - k) + column[i + 1] * k) / BLOCK);
    const int8_t *p = m->pattern + (size_t)y * (size_t)m->w;
    if (alpha) { /* before rounding: a share of 1 would be nothing but for the whole of it */
#pragma omp simd
        for (int x = 0; x < m->w; x++) {
            const int v = p[x] * weight[x + HALF] * (alpha[x] + (alpha[x] >> 7)); // cppcheck-suppress uninitvar
            delta[x] = (int16_t)((v + (1 << (SHIFT + 7))) >> (SHIFT + 8));
        }
        return;
    }
#pragma omp simd
    for (int x = 0; x < m->w; x++) {
        const int v = p[x] * weight[x + HALF]; // cppcheck-suppress uninitvar
        delta[x] = (int16_t)((v + (1 << (SHIFT - 1))) >> SHIFT);
    }
}

HM_CLONES static void add_delta(uint8_t *row, const int16_t *delta, int w)
{
    for (int x = 0; x < w; x++) {
        const int v = row[x] + delta[x];
        row[x] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

static void add_delta_rgb(uint8_t *row, const int16_t *delta, int w)
{
    for (int x = 0; x < 3 * w; x++) {
        const int v = row[x] + delta[x / 3];
        row[x] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

void hm_watermark_embed(hm_watermark *m, const hm_frame *f, const uint8_t *alpha)
{
    const bool rgb = f->kind == HM_FRAME_RGB8;
#pragma omp parallel for num_threads(m->n_threads) schedule(static)
    for (int by = 0; by < m->bh; by++) block_strength(m, f, by);
    spare_smooth(m);
    settle_strength(m);
#pragma omp parallel for num_threads(m->n_threads) schedule(static)
    for (int y = 0; y < m->h; y++) {
        int16_t delta[8192];
        row_delta(m, y, alpha ? alpha + (size_t)y * (size_t)m->w : NULL, delta);
        uint8_t *row = f->plane[0] + (size_t)y * (size_t)f->stride[0];
        if (rgb) add_delta_rgb(row, delta, m->w);
        else add_delta(row, delta, m->w);
    }
}
