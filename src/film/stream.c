/* stream.c - latents to refined pictures, one at a time.   SPDX-License-Identifier: MIT
 *   z -codec, CHUNK frames at a time-> base frames [H,W,3] -mixed in time-> three neighbours -refiner->
 * [8H,8W,3] Other frame rates than 24: the film at time t is the linear mix of the two base frames around it,
 * and so are its neighbours one base frame earlier and later, so that the refiner sees what it was trained
 * on. Memory: CHUNK base frames (0.4 MB each at 256x144) and the refiner's arena for one frame. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "film/film.h"

enum { CHUNK = 28 };

struct hm_stream {
    const hm_himmel1 *m;
    const float *z;
    int gw, gh, T, H, W;
    int last;         /* index of the last base frame */
    int from, n;      /* base frames in frames: from .. from+n-1 */
    float *frames;    /* [CHUNK][H][W][3] */
    float *three;     /* [3][H][W][3] */
    hm_graph *g;
    hm_mark empty;
    hm_stream_cost cost;
};

himmel_status hm_stream_new(hm_stream **out, const hm_himmel1 *m, const float *z, int gw, int gh, int T,
                            int threads, himmel_error *err)
{
    *out = NULL;
    hm_stream *s = calloc(1, sizeof *s);
    if (!s) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the film's frames");
    s->m = m, s->z = z, s->gw = gw, s->gh = gh, s->T = T;
    s->H = HM_BLOCK * gh, s->W = HM_BLOCK * gw;
    s->last = HM_FPS * (T - 1);
    const size_t frame = 3 * (size_t)s->H * (size_t)s->W;
    s->frames = malloc(CHUNK * frame * sizeof *s->frames);
    s->three = malloc(3 * frame * sizeof *s->three);
    himmel_status rc = HIMMEL_OK;
    if (!s->frames || !s->three) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for the film's frames");
    if (!rc) rc = hm_graph_new(&s->g, &(hm_graph_opts){.act = HM_BF16, .n_threads = threads}, err);
    if (rc) {
        hm_stream_free(s);
        return rc;
    }
    s->empty = hm_save(s->g);
    *out = s;
    return HIMMEL_OK;
}

void hm_stream_free(hm_stream *s)
{
    if (!s) return;
    hm_graph_free(s->g);
    free(s->frames);
    free(s->three);
    free(s);
}

/* Make base frames lo..hi (at most 4 of them) present; what is still there is kept. */
static void need(hm_stream *s, int lo, int hi)
{
    if (s->n && lo >= s->from && hi < s->from + s->n) return;
    const double t0 = hm_now();
    const size_t frame = 3 * (size_t)s->H * (size_t)s->W;
    int keep = 0;
    if (s->n && lo >= s->from && lo < s->from + s->n) {
        keep = s->from + s->n - lo;
        memmove(s->frames, s->frames + (size_t)(lo - s->from) * frame,
                (size_t)keep * frame * sizeof *s->frames);
    }
    s->from = lo;
    const int first = lo + keep, more = HM_MIN(CHUNK - keep, s->last + 1 - first);
    hm_codec_decode(s->m->codec, s->z, s->T, s->gh, s->gw, first, more, s->frames + (size_t)keep * frame);
    s->n = keep + more;
    s->cost.decode_seconds += hm_now() - t0;
}

/* Base frame number `at`, between frames mixed, into dst; ends are held. */
static void mixed(hm_stream *s, double at, float *dst)
{
    const size_t n = 3 * (size_t)s->H * (size_t)s->W;
    at = fmin(fmax(at, 0), s->last);
    const int i = (int)floor(at), j = HM_MIN(i + 1, s->last);
    const float f = (float)(at - i);
    const float *a = s->frames + (size_t)(i - s->from) * n;
    if (f == 0.0f) {
        memcpy(dst, a, n * sizeof *dst);
        return;
    }
    const float *b = s->frames + (size_t)(j - s->from) * n;
    for (size_t k = 0; k < n; k++) dst[k] = a[k] + f * (b[k] - a[k]);
}

const void *hm_stream_frame(hm_stream *s, double at, hm_pix *t)
{
    if (fabs(at - floor(at + 0.5)) < 1e-6)
        at = floor(at + 0.5); /* 24 fps and its fractions hit frames exactly */
    need(s, HM_MAX(0, (int)floor(at) - 1), HM_MIN(s->last, (int)floor(at) + 2));
    const size_t n = 3 * (size_t)s->H * (size_t)s->W;
    for (int k = 0; k < 3; k++) mixed(s, at + k - 1, s->three + (size_t)k * n);

    const double t0 = hm_now();
    hm_restore(s->g, s->empty);
    hm_tensor *x = hm_new(s->g, HM_F32, HM_DIMS(1, s->H, s->W, HM_REFINER_IN));
    hm_refiner_input(x->data, s->three, s->H, s->W, (int)lround(at), 0, 0, NULL, NULL);
    hm_tensor *y = hm_refiner_forward(s->g, s->m->refiner, x);
    s->cost.refine_seconds += hm_now() - t0;
    s->cost.refine_gflop = 1e-9 * (double)hm_flops(s->g);
    s->cost.peak_bytes = hm_peak(s->g) + (CHUNK + 3) * n * sizeof(float);
    *t = y->dtype == HM_F32 ? HM_PIX_F32 : HM_PIX_BF16;
    return y->data;
}

const hm_stream_cost *hm_stream_costs(const hm_stream *s)
{
    return &s->cost;
}

himmel_status hm_stream_plan(const hm_himmel1 *m, int gw, int gh, int threads, hm_stream_cost *cost,
                             himmel_error *err)
{
    *cost = (hm_stream_cost){0};
    hm_graph *g;
    const himmel_status rc =
        hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .plan = true, .n_threads = threads}, err);
    if (rc) return rc;
    const int64_t H = HM_BLOCK * gh, W = HM_BLOCK * gw;
    hm_tensor *x = hm_new(g, HM_F32, HM_DIMS(1, H, W, HM_REFINER_IN));
    hm_refiner_forward(g, m->refiner, x);
    cost->refine_gflop = 1e-9 * (double)hm_flops(g);
    cost->peak_bytes = hm_peak(g) + (CHUNK + 3) * 3 * (uint64_t)(H * W) * sizeof(float);
    hm_graph_free(g);
    return HIMMEL_OK;
}
