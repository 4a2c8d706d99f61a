/* watermark_pattern.c - the public pattern: which chip lies where, and the tile as samples.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "provenance/watermark_internal.h"

static const uint64_t seed = 0x68696d6d656c; /* "himmel" */
enum { STREAM_CELLS = 1, STREAM_BITS = 2, SYNC_EACH = 6 };
static const double block_wave = 18, shortest_wave = 2.5; /* pixels */
static const double enough_cells = 14; /* cycles a tile; below are too few cells to spend much on */

static int by_frequency(const void *a, const void *b)
{
    const hm_wm_cell *p = a, *q = b;
    const int fp = p->fx * p->fx + p->fy * p->fy, fq = q->fx * q->fx + q->fy * q->fy;
    if (fp != fq) return fp < fq ? -1 : 1;
    if (p->fx != q->fx) return p->fx < q->fx ? -1 : 1;
    return p->fy - q->fy;
}

/* Chips in order of frequency get the code bits in runs of all of them, each run in an order of its own. */
static void deal_bits(hm_wm_layout *l)
{
    int16_t order[HM_WM_CODED];
    int have = 0;
    hm_rng r = hm_rng_at(seed, STREAM_BITS);
    for (int i = 0; i < l->n; i++) {
        hm_wm_cell *c = &l->cell[i];
        for (int k = 0; k < 2 && c->bit[0] != -1; k++) {
            if (!have) {
                for (int b = 0; b < HM_WM_CODED; b++) {
                    const int at = (int)hm_rng_below(&r, (uint32_t)b + 1);
                    order[b] = order[at];
                    order[at] = (int16_t)b;
                }
                have = HM_WM_CODED;
            }
            c->bit[k] = order[--have];
        }
    }
}

void hm_wm_layout_make(hm_wm_layout *l)
{
    *l = (hm_wm_layout){0};
    for (int fx = 0; fx <= HM_WM_F_MAX; fx++)
        for (int fy = fx ? -HM_WM_F_MAX : 1; fy <= HM_WM_F_MAX; fy++) {
            const int f2 = fx * fx + fy * fy;
            if (f2 < HM_WM_F_MIN * HM_WM_F_MIN || f2 > HM_WM_F_MAX * HM_WM_F_MAX) continue;
            l->cell[l->n++] = (hm_wm_cell){.fx = (int8_t)fx, .fy = (int8_t)fy, .f = sqrtf((float)f2)};
        }
    qsort(l->cell, (size_t)l->n, sizeof *l->cell, by_frequency);
    const float octaves = logf((float)HM_WM_F_MAX / HM_WM_F_MIN);
    hm_rng r = hm_rng_at(seed, STREAM_CELLS);
    uint32_t sync = 0;
    for (int i = 0; i < l->n; i++) {
        hm_wm_cell *c = &l->cell[i];
        const int ring = (int)(HM_WM_RINGS * logf(c->f / HM_WM_F_MIN) / octaves);
        c->ring = (uint8_t)HM_MIN(ring, HM_WM_RINGS - 1);
        for (int k = 0; k < 2; k++) c->sign[k] = hm_rng_u32(&r) & 1 ? 1 : -1;
        if (i % SYNC_EACH == 0) sync = hm_rng_below(&r, SYNC_EACH);
        if (i % SYNC_EACH == (int)sync) c->bit[0] = c->bit[1] = -1, l->n_sync++;
    }
    deal_bits(l);
}

double hm_wm_tile_side(int w, int h) { return sqrt((double)w * h) / HM_WM_TILES; }

void hm_wm_tile(const hm_wm_layout *l, const int8_t coded[HM_WM_CODED], double side, int n, float *re, float *im)
{
    const size_t all = (size_t)n * (size_t)n;
    memset(re, 0, all * sizeof *re);
    memset(im, 0, all * sizeof *im);
    double energy = 0;
    for (int i = 0; i < l->n; i++) {
        const hm_wm_cell *c = &l->cell[i];
        const double wave = side / (double)c->f;
        if (wave < shortest_wave) continue;
        const double a = HM_MIN(1, wave / block_wave) / HM_MAX((double)c->f, enough_cells);
        const size_t at = (size_t)(c->fy & (n - 1)) * (size_t)n + (size_t)c->fx;
        float chip[2];
        for (int k = 0; k < 2; k++)
            chip[k] = (float)a * (float)(c->sign[k] * (c->bit[k] < 0 ? 1 : coded[c->bit[k]]));
        re[at] = chip[0], im[at] = chip[1];
        energy += a * a; /* the mean square of Re(v e^i..) is |v|^2 / 2, and |v|^2 = 2 a^2 */
    }
    hm_wm_fft2(re, im, n, true);
    const float k = (float)(1 / sqrt(HM_MAX(energy, 1e-12)));
    for (size_t i = 0; i < all; i++) re[i] *= k;
}

/* ---- FFT ---- */

/* n rows of n: a transform along the columns, all columns at once. */
HM_CLONES static void fft_columns(float *restrict re, float *restrict im, int n, const float *cosine,
                                  const float *sine)
{
    for (int i = 1, j = 0; i < n; i++) { /* rows into bit-reversed order */
        int bit = n >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i >= j) continue;
        for (int x = 0; x < n; x++) {
            const float a = re[i * n + x], b = im[i * n + x];
            re[i * n + x] = re[j * n + x], im[i * n + x] = im[j * n + x];
            re[j * n + x] = a, im[j * n + x] = b;
        }
    }
    for (int half = 1; half < n; half *= 2)
        for (int k = 0; k < n; k++) {
            if (k & half) continue;
            const int turn = (k & (half - 1)) * (n / 2 / half);
            const float c = cosine[turn], s = sine[turn];
            float *ar = re + k * n, *ai = im + k * n, *br = ar + half * n, *bi = ai + half * n;
#pragma omp simd
            for (int x = 0; x < n; x++) {
                const float tr = c * br[x] - s * bi[x], ti = c * bi[x] + s * br[x];
                br[x] = ar[x] - tr, bi[x] = ai[x] - ti;
                ar[x] += tr, ai[x] += ti;
            }
        }
}

static void transpose(float *v, int n)
{
    for (int y = 0; y < n; y++)
        for (int x = y + 1; x < n; x++) {
            const float t = v[y * n + x];
            v[y * n + x] = v[x * n + y];
            v[x * n + y] = t;
        }
}

void hm_wm_fft2(float *re, float *im, int n, bool inverse)
{
    float cosine[512], sine[512];
    for (int i = 0; i < n / 2; i++) {
        cosine[i] = (float)cos(2 * M_PI * i / n);
        sine[i] = (float)((inverse ? 1 : -1) * sin(2 * M_PI * i / n));
    }
    for (int pass = 0; pass < 2; pass++) {
        fft_columns(re, im, n, cosine, sine);
        transpose(re, n);
        transpose(im, n);
    }
}
