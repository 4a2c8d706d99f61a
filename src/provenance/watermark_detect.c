/* watermark_detect.c - from frames to findings.   SPDX-License-Identifier: MIT
 *   frames -> pool -> total -whole picture?-scan of scales?-mirrored?-turned?-> pose -> payload of each second -> runs
 * False alarms: a message that noise decodes to has its 40 check bits (tag, version, CRC) right with probability 2^-40,
 * because the pattern's signs are random and independent of the picture; the bound is the number of messages tried
 * (counted, at most a few hundred) times that. Nothing else decides whether there is a mark. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/decode.h"
#include "provenance/watermark_pool.h"

enum { CANDIDATES = 5, READ_FRAMES = 80 };
static const double scan_f = 24;                  /* cycles a tile that the scan uses: wide enough peaks */
static const double scan_from = 0.55, scan_to = 2.4, scan_step = 1.008;
static const double worth_reading = 4.2;          /* deviations of the sync cells; chance reaches 5 */

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

/* ---- the search ---- */

typedef struct {
    hm_wm_search *s;
    hm_wm_canvas canvas;    /* all frames, as they are looked at now */
    double side;            /* canvas samples a tile, if the picture is whole */
    hm_wm_pose pose;        /* the best so far */
    bool mirrored;
    double degrees;
    uint8_t payload[HM_WM_BYTES];
    double confidence;
    bool found;
    int attempts;
} hunt;

static bool read_at(hunt *h, hm_wm_pose p)
{
    if (p.z < worth_reading) return false;
    if (p.z > h->pose.z) h->pose = p;
    if (!hm_wm_read(h->s, &h->canvas, &p, h->payload, &h->confidence, &h->attempts)) return false;
    h->pose = p;
    return h->found = true;
}

static bool try_whole(hunt *h)
{
    hm_wm_pose p;
    hm_wm_match(h->s, &h->canvas, h->side, h->side, HM_WM_F_MAX, &p);
    hm_wm_refine(h->s, &h->canvas, &p);
    return read_at(h, p);
}

/* The best poses over all scales, each the best within 2 % of its scale. */
static bool try_scales(hunt *h)
{
    hm_wm_pose best[CANDIDATES] = {0};
    for (double scale = scan_from; scale < scan_to; scale *= scan_step) {
        hm_wm_pose p;
        hm_wm_match(h->s, &h->canvas, h->side * scale, h->side * scale, scan_f, &p);
        int at = -1, worst = 0;
        for (int i = 0; i < CANDIDATES; i++) {
            if (best[i].tile_x > 0 && fabs(p.tile_x / best[i].tile_x - 1) < 0.02) at = i;
            if (best[i].z < best[worst].z) worst = i;
        }
        if (at < 0) at = worst;
        if (p.z > best[at].z) best[at] = p;
    }
    for (int n = 0; n < CANDIDATES; n++) {
        int top = 0;
        for (int i = 1; i < CANDIDATES; i++)
            if (best[i].z > best[top].z) top = i;
        if (best[top].z <= 0) break;
        hm_wm_pose p = best[top];
        best[top].z = 0;
        hm_wm_refine(h->s, &h->canvas, &p);
        if (read_at(h, p)) return true;
    }
    return false;
}

static void mirror(hm_wm_canvas *c)
{
    for (int y = 0; y < c->h; y++) {
        float *row = c->v + (size_t)y * (size_t)c->w;
        for (int a = 0, b = c->w - 1; a < b; a++, b--) {
            const float t = row[a];
            row[a] = row[b];
            row[b] = t;
        }
    }
}

static bool search(hunt *h)
{
    for (int turn = 0; turn < 2; turn++) {
        h->mirrored = turn;
        if (turn) mirror(&h->canvas);
        if (try_whole(h) || try_scales(h)) return true;
    }
    mirror(&h->canvas);
    h->mirrored = false;
    return false;
}

/* ---- findings ---- */

static void report_run(const hunt *h, hm_wm_report *out, const uint8_t payload[HM_WM_BYTES], double from, double to,
                       double confidence)
{
    hm_wm_payload p;
    if (out->n == HM_WM_MAX_FINDINGS || !hm_wm_unpack(&p, payload)) return;
    out->found[out->n++] = (hm_wm_finding){.payload = p,
                                           .from = from,
                                           .to = to,
                                           .confidence = confidence,
                                           .scale = sqrt(h->pose.tile_x * h->pose.tile_y) / h->side,
                                           .degrees = h->degrees,
                                           .mirrored = h->mirrored};
}

himmel_status hm_wm_detector_find(hm_wm_detector *d, hm_wm_report *out, himmel_error *err)
{
    *out = (hm_wm_report){0};
    hunt h = {.s = d->search};
    if (!d->pool) return HIMMEL_OK;
    if (!hm_wm_pool_total(d->pool, &h.canvas))
        return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the watermark's detector");
    h.side = hm_wm_tile_side(h.canvas.w, h.canvas.h);
    if (search(&h)) {
        const hm_wm_segment *s;
        const int n = hm_wm_pool_segments(d->pool, &s);
        report_run(&h, out, h.payload, s[0].from, s[n - 1].to, h.confidence);
    }
    free(h.canvas.v);
    out->false_alarm = ldexp(h.attempts, -HM_WM_CHECK_BITS);
    for (int i = 0; i < out->n; i++) out->found[i].false_alarm = out->false_alarm;
    return HIMMEL_OK;
}

/* ---- files ---- */

himmel_status hm_watermark_read(hm_wm_report *out, const char *path, himmel_error *err)
{
    *out = (hm_wm_report){0};
    hm_decoder *dec;
    himmel_status rc = hm_decoder_open(&dec, path, err);
    if (rc) return rc;
    const hm_media_info *info = hm_decoder_info(dec);
    const int64_t n = info->n_frames > 0 ? info->n_frames : (int64_t)(info->seconds * info->fps_num / HM_MAX(1, info->fps_den));
    const int64_t every = info->fps_num ? HM_MAX(1, n / READ_FRAMES) : 1;
    const hm_frame f = {HM_FRAME_RGB8, info->width, info->height, {malloc(3 * (size_t)info->width * (size_t)info->height)}, {3 * info->width}};
    hm_wm_detector *d = NULL;
    if (!f.plane[0]) rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    if (!rc) rc = hm_wm_detector_new(&d, err);
    bool done = false;
    for (int64_t i = 0; !rc && !done; i++) {
        double seconds = 0;
        const bool take = i % every == 0;
        rc = hm_decoder_next(dec, take ? f.plane[0] : NULL, &seconds, &done, err);
        if (!rc && !done && take) rc = hm_wm_detector_add(d, &f, seconds, err);
    }
    if (!rc) rc = hm_wm_detector_find(d, out, err);
    hm_wm_detector_free(d);
    hm_decoder_free(dec);
    free(f.plane[0]);
    return rc;
}
