/* seen.h - what a test has seen of a film that a model makes.   SPDX-License-Identifier: MIT */
#ifndef HM_TEST_SEEN_H
#define HM_TEST_SEEN_H

#include <math.h>

#include "models/model.h"

typedef struct {
    int next, stop_at, steps; /* frame that is due; after so many steps say stop; steps so far */
    double sum;               /* of all values, weighted by where they are: equal films have equal sums */
    bool in_range;            /* all within 0..1 so far (start with true) */
    float *first;             /* NULL, or room for the first frame */
} seen;

/* Frame i, n values. */
static inline himmel_status see_frame(seen *s, int i, const float *rgb, int n, himmel_error *err)
{
    for (int k = 0; k < n && !i && s->first; k++) s->first[k] = rgb[k];
    if (i != s->next++) return hm_fail(err, HIMMEL_EINTERNAL, "frame %d came out of turn", i);
    for (int k = 0; k < n; k++) {
        s->sum += (double)rgb[k] * (1 + k % 7 + i);
        s->in_range &= rgb[k] >= 0 && rgb[k] <= 1;
    }
    return HIMMEL_OK;
}

/* |a - b| / |b| of two frames of n values; a NaN stays one. */
static inline double frames_apart(const float *a, const float *b, int n)
{
    double d = 0, s = 0;
    for (int k = 0; k < n; k++) d += ((double)a[k] - (double)b[k]) * ((double)a[k] - (double)b[k]), s += (double)b[k] * (double)b[k];
    return sqrt(d / s);
}

#endif
