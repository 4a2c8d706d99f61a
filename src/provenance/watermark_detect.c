/* watermark_detect.c - from frames to findings.   SPDX-License-Identifier: MIT
 *   frames -> pool -> all of them -hunt-> payload -taken out-> another under it?
 *                     seconds without either, each by itself -> further payloads
 *   payload x seconds: does the evidence stand above chance? -> runs of seconds = findings
 * False alarms: a message that noise decodes to has its 40 check bits (tag, version, CRC) right with probability 2^-40,
 * because the pattern's signs are random and independent of the picture; the bound is the number of messages tried
 * (counted, at most some thousands) times that. Nothing else decides whether there is a mark. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/decode.h"
#include "provenance/watermark_pool.h"

enum { READ_FRAMES = 80, MAX_PAYLOADS = 8 };
static const double long_film = 120;   /* seconds; of longer ones only key frames are decoded */
/* A stretch of seconds is as short as can be while one that carries the payload should show `sure` deviations; it counts
 * as carrying it from `enough` on. */
static const double sure = 9, enough = 4.5;

struct hm_wm_detector {
    hm_wm_pool *pool;
    hm_wm_search *search;
};

himmel_status hm_wm_detector_new(hm_wm_detector **out, himmel_error *err)
{
    *out = calloc(1, sizeof **out);
    if (*out && !((*out)->search = hm_wm_search_new())) {
        free(*out);
        *out = NULL;
    }
    return *out ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "out of memory for the watermark's detector");
}

void hm_wm_detector_free(hm_wm_detector *d)
{
    if (!d) return;
    hm_wm_pool_free(d->pool);
    hm_wm_search_free(d->search);
    free(d);
}

himmel_status hm_wm_detector_add(hm_wm_detector *d, const hm_frame *f, double seconds, himmel_error *err)
{
    himmel_status rc = d->pool ? HIMMEL_OK : hm_wm_pool_new(&d->pool, f->w, f->h, err);
    return rc ? rc : hm_wm_pool_add(d->pool, f, seconds, err);
}

/* ---- findings ---- */

typedef struct {
    hm_wm_view view;
    uint8_t payload[HM_WM_BYTES];
    double confidence, evidence; /* of all frames together, or of the second where it was found */
    int n;                       /* segments that evidence is about */
    bool in[HM_WM_MAX_SEGMENTS];
} carried;

typedef struct {
    hm_wm_hunt h;
    const hm_wm_segment *segment;
    int n;                  /* segments */
    hm_wm_canvas sum;       /* scratch */
    carried got[MAX_PAYLOADS];
    int n_got;
} finding;

/* sum = segments from..to-1, mirrored if the view is. */
static void add_up(finding *f, int from, int to, bool mirrored)
{
    const size_t n = (size_t)f->sum.w * (size_t)f->sum.h;
    memset(f->sum.v, 0, n * sizeof *f->sum.v);
    for (int s = from; s < to; s++)
        for (size_t i = 0; i < n; i++) f->sum.v[i] += f->segment[s].canvas.v[i];
    if (mirrored) hm_wm_mirror(&f->sum);
}

/* Which seconds carry it. */
static void cover(finding *f, carried *c)
{
    float soft[HM_WM_CODED];
    const double each = c->evidence * c->evidence / c->n; /* deviations^2 that one segment adds */
    const int group = HM_MAX(1, HM_MIN(f->n, (int)ceil(sure * sure / HM_MAX(each, 1e-3))));
    for (int from = 0; from < f->n; from += group) {
        const int to = f->n - from < 2 * group ? f->n : from + group; /* a short rest goes with the last one */
        add_up(f, from, to, c->view.mirrored);
        hm_wm_soft(f->h.s, &f->sum, &c->view.pose, false, soft);
        const bool in = to - from == f->n || hm_wm_evidence(soft, c->payload) > enough;
        for (int s = from; s < to; s++) c->in[s] = in;
        if (to == f->n) break;
    }
}

/* What was read at the view from soft bits that stand for n segments. */
static void take(finding *f, hm_wm_view view, const uint8_t payload[HM_WM_BYTES], double confidence,
                 const float soft[HM_WM_CODED], int n)
{
    for (int i = 0; i < f->n_got; i++)
        if (!memcmp(f->got[i].payload, payload, HM_WM_BYTES)) return;
    if (f->n_got == MAX_PAYLOADS) return;
    carried *c = &f->got[f->n_got++];
    *c = (carried){.view = view, .confidence = confidence, .evidence = hm_wm_evidence(soft, payload), .n = n};
    memcpy(c->payload, payload, HM_WM_BYTES);
    cover(f, c);
}

/* All frames: the payload of most of them, then one that others (or other parts of the picture) carry. */
static hm_wm_view find_most(finding *f)
{
    float soft[HM_WM_CODED];
    uint8_t under[HM_WM_BYTES];
    double confidence;
    add_up(f, 0, f->n, false);
    const bool found = hm_wm_hunt_all(&f->h, &f->sum);
    const hm_wm_view view = f->h.view;
    if (!found) return view;
    if (view.mirrored) hm_wm_mirror(&f->sum);
    hm_wm_soft(f->h.s, &f->sum, &view.pose, false, soft);
    take(f, view, f->h.payload, f->h.confidence, soft, f->n);
    hm_wm_remove(soft, f->h.payload);
    if (hm_wm_message(f->h.s, soft, under, &confidence, &f->h.attempts)) take(f, view, under, confidence, soft, f->n);
    return view;
}

static bool covered(const finding *f, int s)
{
    for (int i = 0; i < f->n_got; i++)
        if (f->got[i].in[s]) return true;
    return false;
}

/* A second that nothing found so far covers: as all frames lie, then as a whole picture lies. */
static void find_in(finding *f, int s, hm_wm_view all)
{
    float soft[HM_WM_CODED];
    bool found = false;
    hm_wm_view view = all;
    if (f->n_got) {
        add_up(f, s, s + 1, all.mirrored);
        found = hm_wm_read(f->h.s, &f->sum, &all.pose, f->h.payload, &f->h.confidence, &f->h.attempts);
    }
    if (!found) {
        add_up(f, s, s + 1, false);
        found = hm_wm_hunt_whole(&f->h, &f->sum);
        view = f->h.view;
    }
    if (!found) return;
    hm_wm_soft(f->h.s, &f->sum, &view.pose, false, soft);
    take(f, view, f->h.payload, f->h.confidence, soft, 1);
}

static void report_runs(const finding *f, const carried *c, hm_wm_report *out)
{
    hm_wm_payload p;
    if (!hm_wm_unpack(&p, c->payload)) return;
    for (int from = 0; from < f->n; from++) {
        int to = from;
        while (to < f->n && c->in[to]) to++;
        if (to == from) continue;
        if (out->n == HM_WM_MAX_FINDINGS) return;
        out->found[out->n++] = (hm_wm_finding){.payload = p,
                                               .from = f->segment[from].from,
                                               .to = f->segment[to - 1].to,
                                               .confidence = c->confidence,
                                               .scale = sqrt(c->view.pose.tile_x * c->view.pose.tile_y) / f->h.side,
                                               .mirrored = c->view.mirrored};
        from = to;
    }
}

static int by_time(const void *a, const void *b)
{
    const hm_wm_finding *p = a, *q = b;
    return p->from < q->from ? -1 : p->from > q->from ? 1 : memcmp(&p->payload, &q->payload, sizeof p->payload);
}

himmel_status hm_wm_detector_find(hm_wm_detector *d, hm_wm_report *out, himmel_error *err)
{
    *out = (hm_wm_report){0};
    if (!d->pool) return HIMMEL_OK;
    finding *f = calloc(1, sizeof *f);
    if (f) f->n = hm_wm_pool_segments(d->pool, &f->segment);
    if (f) f->sum = f->segment[0].canvas;
    if (f) f->sum.v = malloc((size_t)f->sum.w * (size_t)f->sum.h * sizeof *f->sum.v);
    if (!f || !f->sum.v) {
        free(f);
        return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the watermark's detector");
    }
    f->h = (hm_wm_hunt){.s = d->search, .side = hm_wm_tile_side(f->sum.w, f->sum.h)};
    const hm_wm_view all = find_most(f);
    for (int s = 0; s < f->n && f->n > 1; s++)
        if (!covered(f, s)) find_in(f, s, all);
    for (int i = 0; i < f->n_got; i++) report_runs(f, &f->got[i], out);
    qsort(out->found, (size_t)out->n, sizeof *out->found, by_time);
    out->false_alarm = ldexp(f->h.attempts, -HM_WM_CHECK_BITS);
    free(f->sum.v);
    free(f);
    return HIMMEL_OK;
}

/* ---- files ---- */

/* Frames of dec into d: about READ_FRAMES of them, or the key frames. */
static himmel_status read_frames(hm_wm_detector *d, hm_decoder *dec, const hm_frame *f, himmel_error *err)
{
    const hm_media_info *info = hm_decoder_info(dec);
    const bool film = info->fps_num > 0, sparse = film && info->seconds > long_film;
    const double fps = film ? (double)info->fps_num / info->fps_den : 1, n = fps * info->seconds;
    const int64_t every = film && !sparse ? HM_MAX(1, (int64_t)(n / READ_FRAMES)) : 1;
    himmel_status rc = HIMMEL_OK;
    bool done = false;
    if (sparse) hm_decoder_key_frames(dec);
    for (int64_t i = 0; !rc && !done; i++) {
        double seconds = 0;
        const bool use = i % every == 0;
        rc = hm_decoder_next(dec, use ? f->plane[0] : NULL, &seconds, &done, err);
        if (!rc && !done && use) rc = hm_wm_detector_add(d, f, seconds, err);
    }
    return rc;
}

himmel_status hm_watermark_read_by(hm_wm_report *out, const hm_reader *by, const char *path, himmel_error *err)
{
    *out = (hm_wm_report){0};
    hm_decoder *dec;
    himmel_status rc = hm_decoder_open_by(&dec, by, path, err);
    if (rc) return rc;
    const int w = hm_decoder_info(dec)->width, h = hm_decoder_info(dec)->height;
    const hm_frame f = {HM_FRAME_RGB8, w, h, {malloc(3 * (size_t)w * (size_t)h)}, {3 * w}};
    hm_wm_detector *d = NULL;
    if (!f.plane[0]) rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    if (!rc) rc = hm_wm_detector_new(&d, err);
    if (!rc) rc = read_frames(d, dec, &f, err);
    if (!rc) rc = hm_wm_detector_find(d, out, err);
    hm_wm_detector_free(d);
    hm_decoder_free(dec);
    free(f.plane[0]);
    return rc;
}

himmel_status hm_watermark_read(hm_wm_report *out, const char *path, himmel_error *err)
{
    return hm_watermark_read_by(out, NULL, path, err);
}
