/* clip.c - frames of an input, at the size of the result.   SPDX-License-Identifier: MIT
 *   file -decoder-> RGB of its own size -cut or letterboxed, Lanczos-> RGB of the result's size
 * Frames are found by their times, so variable frame rates need no care elsewhere. */
#include "film/clip.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct hm_clip {
    char path[4096];
    hm_reader by;
    hm_decoder *d;
    hm_media_info info;
    double *time;   /* [n] of the frames used, the first one 0 */
    int first, n;   /* frames used: first.. of the file */
    int next;       /* frame of the file that the decoder gives next */
    double end;     /* seconds */
    double start;   /* of frame 0, by the file's clock */
    int w, h, ix, iy, iw, ih; /* result, and the input in it */
    double sx, sy, sw, sh;    /* what of the input is seen */
    hm_scaler *scaler;
    uint8_t *own, *out;
    int have;       /* frame in out, -1 = none */
    bool holes;
};

/* Times of all frames of the file. */
static himmel_status index_frames(hm_clip *c, double **times, int *n, himmel_error *err)
{
    int cap = 0;
    for (bool done = false;;) {
        double t = 0;
        const himmel_status rc = hm_decoder_next(c->d, NULL, &t, &done, err);
        if (rc) return rc;
        if (done) return HIMMEL_OK;
        if (*n == HM_CLIP_MAX_FRAMES)
            return hm_fail(err, HIMMEL_EFORMAT, "%s: more than %d frames", c->path, HM_CLIP_MAX_FRAMES);
        if (*n == cap) {
            cap = cap ? 2 * cap : 256;
            double *more = realloc(*times, (size_t)cap * sizeof *more);
            if (!more) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", c->path);
            *times = more;
        }
        if (*n > 0 && !(t > (*times)[*n - 1])) /* broken or missing times: as its frame rate says */
            t = (*times)[*n - 1] + (c->info.fps_num > 0 ? (double)c->info.fps_den / c->info.fps_num : 0.04);
        (*times)[(*n)++] = t;
    }
}

static himmel_status choose_frames(hm_clip *c, double *t, int n, double from, double to, himmel_error *err)
{
    const double step = n > 1 ? (t[n - 1] - t[0]) / (n - 1) : 1.0 / HM_MAX(1.0, hm_clip_fps(c)), t0 = t[0];
    const double all = t[n - 1] - t0 + step;
    if (from < 0 || from >= all || (to > 0 && to <= from))
        return hm_fail(err, HIMMEL_EINVAL, "%s: there is nothing from %g to %g s, it is %.2f s long", c->path, from,
                       to > 0 ? to : all, all);
    int a = 0, b = n;
    while (a < n - 1 && t[a] - t0 < from - 1e-3) a++;
    while (to > 0 && b > a + 1 && t[b - 1] - t0 >= to - 1e-3) b--;
    c->first = a, c->n = b - a;
    const double start = t[a];
    for (int i = 0; i < c->n; i++) t[i] = t[a + i] - start;
    c->start = start;
    c->end = t[c->n - 1] + step;
    c->time = t;
    return HIMMEL_OK;
}

himmel_status hm_clip_open(hm_clip **out, hm_reader by, const char *path, double from, double to, himmel_error *err)
{
    *out = NULL;
    double *times = NULL;
    int n = 0;
    hm_clip *c = calloc(1, sizeof *c);
    if (!c) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    if (strlen(path) >= sizeof c->path) {
        free(c);
        return hm_fail(err, HIMMEL_EINVAL, "%.100s...: path is too long", path);
    }
    strcpy(c->path, path);
    c->by = by;
    c->have = -1;
    himmel_status rc = hm_decoder_open_by(&c->d, &by, path, err);
    if (!rc) c->info = *hm_decoder_info(c->d);
    if (!rc && HM_MAX(c->info.width, c->info.height) > HM_CLIP_MAX_SIDE)
        rc = hm_fail(err, HIMMEL_EFORMAT, "%s: %dx%d pixels, at most %d a side can be edited", path, c->info.width,
                     c->info.height, HM_CLIP_MAX_SIDE);
    if (!rc) rc = index_frames(c, &times, &n, err);
    c->next = n;
    if (!rc && n == 0) rc = hm_fail(err, HIMMEL_EFORMAT, "%s: no frame in it can be decoded", path);
    if (!rc && hm_clip_is_picture(c)) from = to = 0;
    if (!rc) rc = choose_frames(c, times, n, from, to, err);
    if (rc) {
        if (!c->time) free(times);
        hm_clip_free(c);
        return rc;
    }
    *out = c;
    return HIMMEL_OK;
}

void hm_clip_free(hm_clip *c)
{
    if (!c) return;
    hm_decoder_free(c->d);
    hm_scaler_free(c->scaler);
    free(c->time);
    free(c->own);
    free(c->out);
    free(c);
}

const char *hm_clip_path(const hm_clip *c) { return c->path; }
const hm_media_info *hm_clip_info(const hm_clip *c) { return &c->info; }
const char *hm_clip_tag(const hm_clip *c, const char *key) { return hm_decoder_tag(c->d, key); }
bool hm_clip_is_picture(const hm_clip *c) { return c->info.fps_num == 0; }
int hm_clip_frames(const hm_clip *c) { return c->n; }
double hm_clip_seconds(const hm_clip *c) { return c->end; }

double hm_clip_time(const hm_clip *c, int k) { return c->time[k]; }
double hm_clip_origin(const hm_clip *c) { return c->start; }

double hm_clip_fps(const hm_clip *c)
{
    return c->info.fps_num > 0 ? (double)c->info.fps_num / c->info.fps_den : 0;
}

int hm_clip_nearest(const hm_clip *c, double seconds)
{
    int lo = 0, hi = c->n - 1; /* time[lo] <= seconds + a hair < time[hi + 1] */
    while (lo < hi) {
        const int mid = (lo + hi + 1) / 2;
        if (c->time[mid] <= seconds) lo = mid;
        else hi = mid - 1;
    }
    return lo + 1 < c->n && c->time[lo + 1] - seconds < seconds - c->time[lo] ? lo + 1 : lo;
}

himmel_status hm_clip_fit(hm_clip *c, int w, int h, bool pad, int threads, himmel_error *err)
{
    const double iw = c->info.width, ih = c->info.height, aspect = (double)w / h;
    c->w = w, c->h = h;
    c->ix = c->iy = 0, c->iw = w, c->ih = h;
    c->sx = c->sy = 0, c->sw = iw, c->sh = ih;
    if (pad) {
        const double scale = fmin(w / iw, h / ih);
        c->iw = HM_MIN(w, HM_MAX(2, (int)lround(iw * scale)));
        c->ih = HM_MIN(h, HM_MAX(2, (int)lround(ih * scale)));
        c->ix = (w - c->iw) / 2 & ~1, c->iy = (h - c->ih) / 2 & ~1;
    } else {
        c->sw = fmin(iw, ih * aspect), c->sh = fmin(ih, iw / aspect);
        c->sx = (iw - c->sw) / 2, c->sy = (ih - c->sh) / 2;
    }
    const hm_scale_opts o = {c->info.width, c->info.height, c->sx, c->sy, c->sw, c->sh,
                             c->iw, c->ih, HM_FRAME_RGB8, threads};
    c->own = malloc(3 * (size_t)c->info.width * (size_t)c->info.height);
    c->out = calloc(3 * (size_t)w, (size_t)h);
    if (!c->own || !c->out) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", c->path);
    return hm_scaler_new(&c->scaler, &o, err);
}

void hm_clip_inner(const hm_clip *c, int *x, int *y, int *w, int *h)
{
    *x = c->ix, *y = c->iy, *w = c->iw, *h = c->ih;
}

double hm_clip_scale(const hm_clip *c)
{
    return c->iw / c->sw;
}

void hm_clip_map(const hm_clip *c, double x, double y, double *ox, double *oy)
{
    *ox = c->ix + (x - c->sx) * c->iw / c->sw;
    *oy = c->iy + (y - c->sy) * c->ih / c->sh;
}

void hm_clip_holes(hm_clip *c)
{
    c->holes = true;
    c->have = -1, c->next = INT_MAX; /* the file is opened again */
}

const uint8_t *hm_clip_frame(hm_clip *c, int k, himmel_error *err)
{
    if (k == c->have) return c->out;
    const int want = c->first + k;
    himmel_status rc = HIMMEL_OK;
    if (want < c->next) {
        hm_decoder_free(c->d);
        c->d = NULL, c->next = 0;
        rc = hm_decoder_open_by(&c->d, &c->by, c->path, err);
        if (c->d && c->holes) hm_decoder_holes(c->d);
        const hm_media_info *i = c->d ? hm_decoder_info(c->d) : NULL;
        if (!rc && (i->width != c->info.width || i->height != c->info.height))
            rc = hm_fail(err, HIMMEL_EFORMAT, "%s: it changed while it was read", c->path);
    }
    for (bool done = false; !rc && c->next <= want; c->next++) {
        rc = hm_decoder_next(c->d, c->next == want ? c->own : NULL, NULL, &done, err);
        if (!rc && done) rc = hm_fail(err, HIMMEL_EFORMAT, "%s: frame %d is missing", c->path, want);
    }
    if (rc) return NULL;
    const hm_frame f = {HM_FRAME_RGB8, c->iw, c->ih, {c->out + 3 * ((size_t)c->iy * (size_t)c->w + (size_t)c->ix)}, {3 * c->w}};
    if (c->iw == c->info.width && c->ih == c->info.height && c->sw == c->iw && c->sh == c->ih) /* to the bit */
        for (int y = 0; y < c->ih; y++)
            memcpy(f.plane[0] + (size_t)y * (size_t)f.stride[0], c->own + 3 * (size_t)y * (size_t)c->iw, 3 * (size_t)c->iw);
    else hm_scale(c->scaler, c->own, HM_PIX_U8, &f);
    c->have = k;
    return c->out;
}
