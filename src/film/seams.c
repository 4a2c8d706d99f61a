/* seams.c - what the reconstruction of a known picture lacks, carried into the new frames beside it.
 * SPDX-License-Identifier: MIT
 * A photo has what no decoder of a model gives back: leaves, stones, a face. It is added to the frames beside the photo where
 * the things that it belongs to have moved by then, and fades. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "film/edit.h"
#include "film/flow.h"

enum { SMALL = 256 }; /* longest side of what movement is looked for in */

struct hm_seams {
    int w, h, k, sw, sh; /* of the result; a pixel of the small picture is k x k of its own */
    hm_flow *flow;
    float *now, *field;  /* [sh][sw], [sh][sw][3] */
};

himmel_status hm_seams_new(hm_seams **out, int w, int h, himmel_error *err)
{
    *out = NULL;
    hm_seams *s = calloc(1, sizeof *s);
    if (!s) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a seam");
    *s = (hm_seams){.w = w, .h = h, .k = (HM_MAX(w, h) + SMALL - 1) / SMALL};
    while (s->k > 1 && HM_MIN(w, h) / s->k < 8) s->k--;
    s->sw = w / s->k, s->sh = h / s->k;
    const size_t n = (size_t)s->sw * (size_t)s->sh;
    s->now = malloc(n * sizeof *s->now), s->field = malloc(3 * n * sizeof *s->field);
    himmel_status rc = s->now && s->field ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "out of memory for a seam");
    if (!rc) rc = hm_flow_new(&s->flow, s->sw, s->sh, err);
    if (rc) hm_seams_free(s);
    else *out = s;
    return rc;
}

void hm_seams_free(hm_seams *s)
{
    if (!s) return;
    hm_flow_free(s->flow);
    free(s->now), free(s->field);
    free(s);
}

himmel_status hm_seams_measure(const hm_seams *s, hm_anchor *a, const uint8_t *rgb, himmel_error *err)
{
    const size_t n = 3 * (size_t)s->w * (size_t)s->h;
    a->missing = malloc(n * sizeof *a->missing);
    a->own = malloc((size_t)s->sw * (size_t)s->sh * sizeof *a->own);
    if (!a->missing || !a->own) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a seam");
    for (size_t i = 0; i < n; i++) a->missing[i] = (int16_t)(a->image[i] - rgb[i]);
    hm_brightness(rgb, s->w, s->h, s->k, a->own);
    free(a->image);
    a->image = NULL;
    return HIMMEL_OK;
}

/* The field's three numbers at pixel (x, y) of the result, movement in its pixels. */
static inline void field_at(const hm_seams *s, int x, int y, float to[3])
{
    const float k = (float)s->k;
    const float fx = HM_MIN(HM_MAX(((float)x + 0.5f) / k - 0.5f, 0), (float)(s->sw - 1)), fy = HM_MIN(HM_MAX(((float)y + 0.5f) / k - 0.5f, 0), (float)(s->sh - 1));
    const int x0 = HM_MIN((int)fx, s->sw - 2), y0 = HM_MIN((int)fy, s->sh - 2);
    const float u = fx - (float)x0, v = fy - (float)y0;
    const float *q = s->field + 3 * (y0 * s->sw + x0), *r = q + 3 * s->sw;
    for (int c = 0; c < 3; c++) to[c] = (q[c] * (1 - u) + q[3 + c] * u) * (1 - v) + (r[c] * (1 - u) + r[3 + c] * u) * v;
    to[0] *= k, to[1] *= k;
}

/* What is missing at (x, y) of the known picture, times share, onto px. */
static inline void add_missing(const hm_seams *s, const int16_t *missing, float x, float y, float share, uint8_t *px)
{
    x = HM_MIN(HM_MAX(x, 0), (float)(s->w - 1)), y = HM_MIN(HM_MAX(y, 0), (float)(s->h - 1));
    const int x0 = HM_MIN((int)x, s->w - 2), y0 = HM_MIN((int)y, s->h - 2);
    const float u = x - (float)x0, v = y - (float)y0;
    const int16_t *q = missing + 3 * ((size_t)y0 * (size_t)s->w + (size_t)x0), *r = q + 3 * (size_t)s->w;
    for (int c = 0; c < 3; c++) {
        const float m = ((float)q[c] * (1 - u) + (float)q[3 + c] * u) * (1 - v) + ((float)r[c] * (1 - u) + (float)r[3 + c] * u) * v;
        const float sum = (float)px[c] + share * m;
        px[c] = (uint8_t)(HM_MIN(HM_MAX(sum, 0.0f), 255.0f) + 0.5f);
    }
}

void hm_seams_correct(hm_seams *s, const hm_anchor *anchor, int n, int take, double seconds, uint8_t *rgb)
{
    bool seen = false;
    for (int i = 0; i < n; i++) {
        const hm_anchor *a = anchor + i;
        const double away = fabs(seconds - a->at);
        if (a->take != take || !a->missing || away >= HM_SEAM_SECONDS) continue;
        if (!seen) hm_brightness(rgb, s->w, s->h, s->k, s->now);
        seen = true;
        hm_flow_find(s->flow, a->own, s->now, s->field);
        const float share = (float)(0.5 + 0.5 * cos(M_PI * away / HM_SEAM_SECONDS)); /* 1 at the seam */
#pragma omp parallel for schedule(static)
        for (int y = 0; y < s->h; y++)
            for (int x = 0; x < s->w; x++) {
                float f[3];
                field_at(s, x, y, f);
                add_missing(s, a->missing, (float)x + f[0], (float)y + f[1], share * f[2], rgb + 3 * ((size_t)y * (size_t)s->w + (size_t)x));
            }
    }
}
