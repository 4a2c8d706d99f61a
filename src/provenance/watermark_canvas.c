/* watermark_canvas.c - frames to evidence.   SPDX-License-Identifier: MIT
 *   luma -area-> canvas of about 480 x 480 samples -three bands, each / local noise-> pooled, a canvas for each second
 * A sample's weight is what it would be for the best linear detector: expected mark / variance of the picture there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "provenance/watermark_pool.h"

enum { CANVAS_MEAN = 480 }; /* root of the samples of a canvas: 240 a tile of a whole picture */

/* ---- area and linear resampling of one axis ---- */

typedef struct { int *from; float *weight; int taps; } axis;

static bool axis_make(axis *a, int in, int out)
{
    const double step = (double)in / out, wide = HM_MAX(step, 1);
    a->taps = (int)ceil(wide) + 1;
    a->from = malloc((size_t)out * sizeof *a->from);
    a->weight = calloc((size_t)out * (size_t)a->taps, sizeof *a->weight);
    if (!a->from || !a->weight) return false;
    for (int i = 0; i < out; i++) {
        const double mid = (i + 0.5) * step, lo = mid - wide / 2, hi = mid + wide / 2;
        const int last = in - a->taps; /* all taps inside, if the axis is that long */
        const int from = HM_MAX(0, HM_MIN((int)floor(lo), last));
        double sum = 0;
        a->from[i] = from;
        for (int k = 0; k < a->taps && from + k < in; k++) {
            const double w = HM_MIN(hi, from + k + 1) - HM_MAX(lo, from + k);
            a->weight[i * a->taps + k] = (float)HM_MAX(w, 0);
            sum += HM_MAX(w, 0);
        }
        for (int k = 0; k < a->taps; k++) a->weight[i * a->taps + k] /= (float)sum;
    }
    return true;
}

static void axis_free(axis *a)
{
    free(a->from);
    free(a->weight);
}

struct hm_wm_pool {
    int w, h;               /* frames */
    int cw, ch;             /* canvas */
    axis ax, ay;
    float *row, *line;      /* [w] */
    float *luma, *near, *far, *square, *lines; /* [ch][cw] */
    double length;          /* seconds a segment */
    double first, last;
    hm_wm_segment segment[HM_WM_MAX_SEGMENTS];
    int n;
};

himmel_status hm_wm_pool_new(hm_wm_pool **out, int w, int h, himmel_error *err)
{
    *out = NULL;
    if (w < 16 || h < 16 || w > 8192 || h > 8192)
        return hm_fail(err, HIMMEL_EINVAL, "watermark: a frame of %dx%d; 16 to 8192 pixels a side", w, h);
    hm_wm_pool *p = calloc(1, sizeof *p);
    if (!p) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the watermark's detector");
    const double k = CANVAS_MEAN / sqrt((double)w * h);
    p->w = w, p->h = h, p->length = 1;
    p->cw = HM_MIN(HM_WM_CANVAS_SIDE, HM_MAX(16, (int)lrint(k * w)));
    p->ch = HM_MIN(HM_WM_CANVAS_SIDE, HM_MAX(16, (int)lrint(k * h)));
    const size_t n = (size_t)p->cw * (size_t)p->ch;
    p->row = malloc(2 * (size_t)w * sizeof *p->row);
    p->luma = malloc(5 * n * sizeof *p->luma);
    if (!p->row || !p->luma || !axis_make(&p->ax, w, p->cw) || !axis_make(&p->ay, h, p->ch)) {
        hm_wm_pool_free(p);
        return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the watermark's detector");
    }
    p->line = p->row + w;
    p->near = p->luma + n, p->far = p->near + n, p->square = p->far + n, p->lines = p->square + n;
    *out = p;
    return HIMMEL_OK;
}

void hm_wm_pool_free(hm_wm_pool *p)
{
    if (!p) return;
    for (int i = 0; i < p->n; i++) free(p->segment[i].canvas.v);
    axis_free(&p->ax);
    axis_free(&p->ay);
    free(p->row);
    free(p->luma);
    free(p);
}

HM_CLONES static void add_luma(float *restrict acc, const uint8_t *restrict in, float k, int w)
{
    for (int x = 0; x < w; x++) acc[x] += k * (float)in[x];
}

HM_CLONES static void add_rgb(float *restrict acc, const uint8_t *restrict in, float k, int w)
{
    const float r = 0.2126f * k, g = 0.7152f * k, b = 0.0722f * k;
    for (int x = 0; x < w; x++)
        acc[x] += r * (float)in[3 * x] + g * (float)in[3 * x + 1] + b * (float)in[3 * x + 2];
}

static void shrink(hm_wm_pool *p, const hm_frame *f)
{
    for (int y = 0; y < p->ch; y++) {
        memset(p->row, 0, (size_t)p->w * sizeof *p->row);
        for (int k = 0; k < p->ay.taps; k++) {
            const float weight = p->ay.weight[y * p->ay.taps + k];
            if (!(weight > 0)) continue;
            const uint8_t *in = f->plane[0] + (size_t)(p->ay.from[y] + k) * (size_t)f->stride[0];
            (f->kind == HM_FRAME_RGB8 ? add_rgb : add_luma)(p->row, in, weight, p->w);
        }
        float *to = p->luma + (size_t)y * (size_t)p->cw;
        for (int x = 0; x < p->cw; x++) {
            const float *weight = p->ax.weight + (size_t)x * (size_t)p->ax.taps, *in = p->row + p->ax.from[x];
            float v = 0;
            for (int k = 0; k < p->ax.taps && p->ax.from[x] + k < p->w; k++) v += weight[k] * in[k];
            to[x] = v;
        }
    }
}

/* ---- means over squares ---- */

HM_CLONES static void add_sub(float *restrict acc, const float *restrict in, float k, int n)
{
    for (int x = 0; x < n; x++) acc[x] += k * in[x];
}

/* out = mean of in over (2r+1)^2 samples, less at the borders; lines is scratch; out may not be in. */
static void box(float *out, const float *in, float *lines, float *column, int w, int h, int r)
{
    memset(column, 0, (size_t)w * sizeof *column);
    for (int y = 0; y < HM_MIN(r, h); y++) add_sub(column, in + (size_t)y * (size_t)w, 1, w);
    for (int y = 0; y < h; y++) {
        if (y + r < h) add_sub(column, in + (size_t)(y + r) * (size_t)w, 1, w);
        if (y - r > 0) add_sub(column, in + (size_t)(y - r - 1) * (size_t)w, -1, w);
        memcpy(lines + (size_t)y * (size_t)w, column, (size_t)w * sizeof *column);
    }
    for (int y = 0; y < h; y++) {
        const float rows = (float)(HM_MIN(y + r, h - 1) - HM_MAX(y - r, 0) + 1);
        const float *l = lines + (size_t)y * (size_t)w;
        float *o = out + (size_t)y * (size_t)w, sum = 0;
        for (int x = 0; x < HM_MIN(r, w); x++) sum += l[x];
        for (int x = 0; x < w; x++) {
            if (x + r < w) sum += l[x + r];
            if (x - r > 0) sum -= l[x - r - 1];
            o[x] = sum / (rows * (float)(HM_MIN(x + r, w - 1) - HM_MAX(x - r, 0) + 1));
        }
    }
}

/* to += band / variance x expected mark; the mark grows with the deviation as it was written, and deviations of more
 * than 2.5 count as such. The 0.2: where it is very smooth, coders leave nothing of the mark. */
HM_CLONES static void add_band(float *restrict to, const float *restrict band, const float *restrict variance, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float v = variance[i] > 0 ? variance[i] : 0;
        const float dev = sqrtf(v + 0.2f), limit = 2.5f * dev;
        const float b = band[i] > limit ? limit : band[i] < -limit ? -limit : band[i];
        to[i] += b * (0.8f + 0.3f * dev) / (dev * dev);
    }
}

/* Bands between means of growing radius, from the finest on; each goes to the evidence by itself. */
static void evidence(hm_wm_pool *p, float *to)
{
    static const int radius[] = {1, 4, 12}; /* about 80, 27 and 10 cycles a tile */
    const size_t n = (size_t)p->cw * (size_t)p->ch;
    float column[HM_WM_CANVAS_SIDE], *fine = p->luma, *coarse = p->near;
    for (size_t b = 0; b < HM_COUNT(radius); b++) {
        box(coarse, fine, p->lines, column, p->cw, p->ch, radius[b]);
        for (size_t i = 0; i < n; i++) {
            fine[i] -= coarse[i];
            p->square[i] = fine[i] * fine[i];
        }
        box(p->far, p->square, p->lines, column, p->cw, p->ch, radius[b]);
        add_band(to, fine, p->far, n);
        float *t = fine;
        fine = coarse;
        coarse = t;
    }
}

/* ---- segments ---- */

static void merge_pairs(hm_wm_pool *p)
{
    const size_t n = (size_t)p->cw * (size_t)p->ch;
    for (int i = 0; i < p->n / 2; i++) {
        hm_wm_segment a = p->segment[2 * i];
        const hm_wm_segment b = p->segment[2 * i + 1];
        add_sub(a.canvas.v, b.canvas.v, 1, (int)n);
        free(b.canvas.v);
        a.to = b.to, a.frames += b.frames;
        p->segment[i] = a;
    }
    if (p->n % 2) p->segment[p->n / 2] = p->segment[p->n - 1];
    p->n = (p->n + 1) / 2;
    p->length *= 2;
}

static hm_wm_segment *segment_at(hm_wm_pool *p, double seconds)
{
    if (p->n && seconds < p->segment[p->n - 1].from + p->length) return &p->segment[p->n - 1];
    if (p->n == HM_WM_MAX_SEGMENTS) {
        merge_pairs(p);
        return segment_at(p, seconds);
    }
    hm_wm_segment *s = &p->segment[p->n];
    *s = (hm_wm_segment){{calloc((size_t)p->cw * (size_t)p->ch, sizeof(float)), p->cw, p->ch, sqrtf((float)p->w * (float)p->h / ((float)p->cw * (float)p->ch))},
                         seconds, seconds, 0};
    if (!s->canvas.v) return NULL;
    p->n++;
    return s;
}

himmel_status hm_wm_pool_add(hm_wm_pool *p, const hm_frame *f, double seconds, himmel_error *err)
{
    if (f->w != p->w || f->h != p->h)
        return hm_fail(err, HIMMEL_EINVAL, "watermark: a frame of %dx%d among frames of %dx%d", f->w, f->h, p->w, p->h);
    if (!(seconds >= p->last)) seconds = p->last; /* NaN and steps back too */
    p->last = seconds;
    hm_wm_segment *s = segment_at(p, seconds);
    if (!s) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the watermark's detector");
    shrink(p, f);
    evidence(p, s->canvas.v);
    s->to = seconds;
    s->frames++;
    return HIMMEL_OK;
}

int hm_wm_pool_segments(const hm_wm_pool *p, const hm_wm_segment **first)
{
    *first = p->segment;
    return p->n;
}
