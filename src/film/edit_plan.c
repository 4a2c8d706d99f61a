/* edit_plan.c - what an edit is made of: clips passed through, canvases to fill, pictures to meet.
 * SPDX-License-Identifier: MIT
 * A canvas that joins clips has its blocks anchored at the seam: the clip's frame beside the seam is the last base
 * frame of a whole second. A gap that is no whole number of seconds is made longer and played faster; an end that is
 * none is cut. A clip to be changed is laid on whole seconds, its pace changed by what that takes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "film/edit.h"
#include "film/released.h"

himmel_edit himmel_edit_default(void)
{
    return (himmel_edit){.mode = HIMMEL_EDIT_NEW};
}

static himmel_status open_inputs(hm_edit *d, himmel_error *err)
{
    const himmel_edit *e = d->e;
    const bool cards = e->mode == HIMMEL_EDIT_NEW;
    const size_t n = cards ? e->n_cards : e->n_clips, most = cards ? HIMMEL_MAX_CARDS : HIMMEL_MAX_CLIPS;
    const bool one = e->mode == HIMMEL_EDIT_CHANGE || e->mode == HIMMEL_EDIT_UPSCALE;
    if (n > most || (!cards && n < 1) || (one && n != 1))
        return hm_fail(err, HIMMEL_EINVAL, "%zu inputs, %s", n, one ? "one is wanted" : "1 to 32 are possible");
    for (size_t i = 0; i < n; i++) {
        const char *path = cards ? e->cards[i].picture : e->clips[i].path;
        if (!path) continue;
        hm_clip **c = &d->clip[d->n_clips];
        himmel_status rc = hm_clip_open(c, hm_edit_reader(e), path, cards ? 0 : e->clips[i].from, cards ? 0 : e->clips[i].to, err);
        if (rc) return rc;
        d->n_clips++;
        const bool picture = hm_clip_is_picture(*c);
        if (e->mode == HIMMEL_EDIT_JOIN && (picture || hm_clip_frames(*c) < 2))
            return hm_fail(err, HIMMEL_EINVAL, "%s: a single picture; a film is wanted here", path);
        if (one && d->req.kind == HIMMEL_FILM && (picture || hm_clip_frames(*c) < 2))
            return hm_fail(err, HIMMEL_EINVAL, "%s: a single picture cannot become the film %s", path, d->req.output);
        if (e->mode == HIMMEL_EDIT_CHANGE && hm_clip_seconds(*c) > HIMMEL_MAX_SECONDS + 0.5)
            return hm_fail(err, HIMMEL_EINVAL, "%s: %.1f s long, at most %d s can be changed at a time", path,
                           hm_clip_seconds(*c), HIMMEL_MAX_SECONDS);
    }
    return HIMMEL_OK;
}

/* Size and rate as asked, else as the first input's. */
static void follow_input(hm_edit *d)
{
    himmel_request *r = &d->req;
    const hm_media_info *i = d->n_clips ? hm_clip_info(d->clip[0]) : NULL;
    if (d->ctx->released && d->e->mode == HIMMEL_EDIT_NEW) hm_released_follow(d->ctx, i, r);
    if (r->width == 0 || r->height == 0) {
        const double w = i ? i->width : 1920, h = i ? i->height : 1080;
        const double s = fmin(1, HIMMEL_MAX_SIDE / fmax(w, h));
        r->width = (int)(w * s) & ~1, r->height = (int)(h * s) & ~1;
    }
    if (r->fps_num == 0) {
        const double fps = d->n_clips ? hm_clip_fps(d->clip[0]) : 0;
        r->fps_num = HM_FPS, r->fps_den = 1;
        if (fps >= 1 && fps <= HIMMEL_MAX_FPS && i->fps_den <= 1 << 20) r->fps_num = i->fps_num, r->fps_den = i->fps_den;
    }
}

/* What continues or surrounds a film of himmel's own has its words, unless there are others. */
static void follow_words(hm_edit *d)
{
    const himmel_edit *e = d->e;
    if ((d->req.prompt && *d->req.prompt) || !(e->mode == HIMMEL_EDIT_JOIN || (e->mode == HIMMEL_EDIT_CHANGE && e->outpaint))) return;
    const char *by = hm_clip_tag(d->clip[0], "software"), *words = hm_clip_tag(d->clip[0], "prompt");
    size_t bad;
    if (!by || strncmp(by, "himmel ", 7) || !words || strlen(words) > HIMMEL_MAX_PROMPT || !hm_utf8_valid(words, &bad)) return;
    strcpy(d->prompt, words);
    d->req.prompt = d->prompt;
}

static himmel_status check(hm_edit *d, himmel_error *err)
{
    const himmel_edit *e = d->e;
    himmel_request r = d->req;
    double last = 0;
    if (!r.prompt || !*r.prompt) r.prompt = "a film"; /* may be left out */
    if (e->mode != HIMMEL_EDIT_NEW) r.seconds = 1;
    himmel_status rc = himmel_check(&r, err);
    if (rc) return rc;
    const struct { const char *name; double v, most; } numbers[] = {
        {"before", e->before, HIMMEL_MAX_SECONDS - HM_CONTEXT}, {"between", e->between, 8},
        {"after", e->after, e->loop ? 8 : HIMMEL_MAX_SECONDS - HM_CONTEXT}, {"strength", e->strength, 1}};
    for (size_t i = 0; i < HM_COUNT(numbers); i++)
        if (!(numbers[i].v >= 0 && numbers[i].v <= numbers[i].most))
            return hm_fail(err, HIMMEL_EINVAL, "%s is %g, must be 0..%g", numbers[i].name, numbers[i].v, numbers[i].most);
    if (e->mode != HIMMEL_EDIT_NEW && e->n_cards) return hm_fail(err, HIMMEL_EINVAL, "cards belong to a new film");
    for (size_t i = 0, pictures = 0; i < e->n_cards; i++) {
        if (e->cards[i].prompt) {
            r.prompt = e->cards[i].prompt;
            if ((rc = himmel_check(&r, err))) return rc;
        }
        if (e->cards[i].picture && pictures++ && e->cards[i].at < last + 0.5)
            return hm_fail(err, HIMMEL_EINVAL, "card %zu: pictures must be at least half a second apart", i + 1);
        if (e->cards[i].picture) last = e->cards[i].at;
        if (!(e->cards[i].at >= 0 && e->cards[i].at <= r.seconds) || (i && !(e->cards[i].at > e->cards[i - 1].at)))
            return hm_fail(err, HIMMEL_EINVAL, "card %zu is at %g s: cards must ascend within 0..%g s", i + 1, e->cards[i].at,
                           r.seconds);
    }
    if (e->mode == HIMMEL_EDIT_CHANGE && !e->mask && e->box[2] <= 0 && !e->outpaint && !(e->strength >= 0.01))
        return hm_fail(err, HIMMEL_EINVAL, "nothing says what may change: a mask, a box or a strength of 0.01..1");
    return HIMMEL_OK;
}

static himmel_status set_up(hm_edit *d, himmel_error *err)
{
    const himmel_edit *e = d->e;
    himmel_request *r = &d->req;
    if (d->ctx->released) hm_edit_layout_released(d);
    else hm_layout_for(&d->l, r);
    const hm_layout *l = &d->l;
    const double sx = r->width / l->w, sy = r->height / l->h;
    const hm_scale_opts o = {r->width, r->height, -l->x * sx, -l->y * sy, l->full_w * sx, l->full_h * sy,
                             l->base_w, l->base_h, HM_FRAME_RGB8, d->ctx->threads};
    himmel_status rc = hm_scaler_new(&d->to_base, &o, err);
    for (int i = 0; i < d->n_clips && !rc; i++)
        rc = hm_clip_fit(d->clip[i], r->width, r->height, e->fit == HIMMEL_FIT_PAD || e->outpaint, d->ctx->threads, err);
    d->words[d->n_words++] = (hm_words){0, r->prompt};
    for (size_t i = 0; i < e->n_cards && e->mode == HIMMEL_EDIT_NEW; i++)
        if (e->cards[i].prompt) {
            if (e->cards[i].at <= 0) d->n_words = 0;
            d->words[d->n_words++] = (hm_words){e->cards[i].at, e->cards[i].prompt};
        }
    return rc;
}

/* ---- pieces ---- */

double hm_edit_fps(const hm_edit *d)
{
    return (double)d->req.fps_num / d->req.fps_den;
}

int hm_edit_frames(const hm_edit *d, int clip)
{
    return d->req.kind == HIMMEL_FILM ? HM_MAX(1, (int)lround(hm_clip_seconds(d->clip[clip]) * hm_edit_fps(d))) : 1;
}

void hm_edit_add_span(hm_edit *d, hm_span s)
{
    if (s.n > 0) d->span[d->n_spans++] = s;
}

static void add_span(hm_edit *d, int clip, int take, int n, double from, double rate)
{
    hm_edit_add_span(d, (hm_span){clip, take, n, from, rate});
}

himmel_status hm_edit_add_anchor(hm_edit *d, int take, double at, int clip, int frame, himmel_error *err)
{
    const size_t n = 3 * (size_t)d->req.width * (size_t)d->req.height;
    const uint8_t *px = hm_clip_frame(d->clip[clip], frame, err);
    if (!px) return HIMMEL_EFORMAT;
    uint8_t *copy = malloc(n);
    if (!copy) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a picture");
    memcpy(copy, px, n);
    hm_anchor *a = &d->anchor[d->n_anchors++];
    *a = (hm_anchor){.take = take, .at = at};
    a->image = copy;
    return HIMMEL_OK;
}

void hm_edit_to_base(const hm_edit *d, const uint8_t *px, uint8_t *base)
{
    const hm_frame f = {HM_FRAME_RGB8, d->l.base_w, d->l.base_h, {base}, {3 * d->l.base_w}};
    hm_scale(d->to_base, px, HM_PIX_U8, &f);
}

/* Base frames lo..hi of the canvas are frames of clip, which at frame `at` is at `seconds`. */
static himmel_status know_clip(hm_edit *d, hm_canvas *c, int clip, int lo, int hi, int at, double seconds, himmel_error *err)
{
    const size_t px = (size_t)d->l.base_w * (size_t)d->l.base_h;
    for (int f = lo; f <= hi; f++) {
        const double t = seconds + (double)(f - at) / HM_FPS;
        if (t < -0.05 || t > hm_clip_seconds(d->clip[clip])) continue;
        const uint8_t *rgb = hm_clip_frame(d->clip[clip], hm_clip_nearest(d->clip[clip], t), err);
        if (!rgb) return HIMMEL_EFORMAT;
        hm_edit_to_base(d, rgb, hm_canvas_rgb(c, f));
        memset(hm_canvas_known(c, f), HM_PX_KNOWN, px);
    }
    return HIMMEL_OK;
}

static himmel_status new_take(hm_edit *d, int T, bool pixels, himmel_error *err)
{
    return hm_canvas_init(&d->take[d->n_takes], d->ctx->model, d->l.gw, d->l.gh, T, pixels, err);
}

/* ---- a new film through cards ---- */

static himmel_status plan_new(hm_edit *d, himmel_error *err)
{
    const himmel_edit *e = d->e;
    const int T = d->req.kind == HIMMEL_FILM ? 1 + (int)ceil(d->req.seconds - 1e-9) : 1;
    const size_t n = 3 * (size_t)d->l.base_w * (size_t)d->l.base_h;
    uint8_t *base = malloc(n);
    himmel_status rc = base ? new_take(d, T, false, err) : hm_fail(err, HIMMEL_ENOMEM, "out of memory for a picture");
    d->n_takes = !rc;
    for (size_t i = 0, clip = 0; i < e->n_cards && !rc; i++) {
        if (!e->cards[i].picture) continue;
        const uint8_t *px = hm_clip_frame(d->clip[clip], 0, err);
        if (px) hm_edit_to_base(d, px, base);
        rc = px ? hm_canvas_pin(&d->take[0], e->cards[i].at, base, err) : HIMMEL_EFORMAT;
        if (!rc) rc = hm_edit_add_anchor(d, 0, e->cards[i].at, (int)clip, 0, err);
        clip++;
    }
    free(base);
    add_span(d, -1, 0, HM_MAX(1, d->req.kind == HIMMEL_FILM ? (int)lround(d->req.seconds * hm_edit_fps(d)) : 1), 0, 1);
    return rc;
}

/* ---- clips in order with new seconds around them ---- */

static double last_time(const hm_edit *d, int clip)
{
    return hm_clip_time(d->clip[clip], hm_clip_frames(d->clip[clip]) - 1);
}

/* gap new seconds behind clip a (-1: none) and before clip b (-1: none), as canvas and span. */
static himmel_status add_gap(hm_edit *d, int a, int b, double gap, himmel_error *err)
{
    if (gap <= 0) return HIMMEL_OK;
    const int take = d->n_takes, whole = (int)ceil(gap - 1e-9);
    const int room = a >= 0 && b >= 0 ? (HM_H1_MAX_SECONDS - whole) / 2 : HM_MIN(HM_CONTEXT, HM_H1_MAX_SECONDS - 1);
    const int ends[2] = {a, b};
    int context[2] = {0, 0};
    for (int k = 0; k < 2; k++)
        if (ends[k] >= 0) {
            const double s = last_time(d, ends[k]);
            context[k] = HM_MIN(room, (int)(s + 0.1));
            if (context[k] < 1)
                return hm_fail(err, HIMMEL_EINVAL, "%s: its last picture is at second %.2f, at 0.9 or later it could be gone on from",
                               hm_clip_path(d->clip[ends[k]]), s);
        }
    const int T = 1 + context[0] + whole + context[1];
    himmel_status rc = new_take(d, T, true, err);
    if (rc) return rc;
    d->n_takes++;
    hm_canvas *c = &d->take[take];
    const int seam = HM_FPS * context[0], back = HM_FPS * (context[0] + whole);
    c->backward = a < 0;
    if (a >= 0) rc = know_clip(d, c, a, -HM_BEFORE, seam, seam, last_time(d, a), err);
    if (!rc && a >= 0) rc = hm_edit_add_anchor(d, take, context[0], a, hm_clip_frames(d->clip[a]) - 1, err);
    if (!rc && b >= 0) rc = know_clip(d, c, b, back, HM_FPS * (T - 1) + HM_LAP, back, 0, err);
    if (!rc && b >= 0) rc = hm_edit_add_anchor(d, take, context[0] + whole, b, 0, err);
    const double fps = hm_edit_fps(d);
    const int n = (int)lround(gap * fps) - (a >= 0 && b >= 0);
    if (a >= 0 && b >= 0) add_span(d, -1, take, n, context[0] + whole / (n + 1.0), whole / gap);
    else if (a >= 0) add_span(d, -1, take, n, context[0] + 1 / fps, 1);
    else add_span(d, -1, take, n, whole - n / fps, 1);
    return rc;
}

static himmel_status plan_join(hm_edit *d, himmel_error *err)
{
    const himmel_edit *e = d->e;
    himmel_status rc = add_gap(d, -1, 0, e->before, err);
    for (int i = 0; i < d->n_clips && !rc; i++) {
        add_span(d, i, -1, hm_edit_frames(d, i), 0, 1);
        if (i + 1 < d->n_clips) rc = add_gap(d, i, i + 1, e->between, err);
    }
    if (!rc) rc = add_gap(d, d->n_clips - 1, e->loop ? 0 : -1, e->after, err);
    return rc;
}

/* ---- a clip that is changed ---- */

/* Pixels of base frame f that stay: none of the result's pixels that they are made of may change, nor a neighbour of them
 * (what a mask covers must not shine through its border). */
void hm_edit_keep_unmasked(const hm_edit *d, uint8_t *known)
{
    const hm_layout *l = &d->l;
    const hm_mask *m = &d->mask;
    const double b = l->full_w / l->base_w; /* 8; of a released model 1 */
    const double sx = b * m->w / l->w, sy = b * m->h / l->h, ox = -l->x / l->w * m->w, oy = -l->y / l->h * m->h;
    const double rx = fmax(sx, 3), ry = fmax(sy, 3); /* that far Lanczos looks, but for its faint outer lobes */
    for (int y = 0; y < l->base_h; y++)
        for (int x = 0; x < l->base_w; x++) {
            const int x0 = HM_MAX(0, (int)floor(ox + x * sx - rx)), x1 = HM_MIN(m->w, (int)ceil(ox + (x + 1) * sx + rx));
            const int y0 = HM_MAX(0, (int)floor(oy + y * sy - ry)), y1 = HM_MIN(m->h, (int)ceil(oy + (y + 1) * sy + ry));
            bool hit = false;
            for (int v = y0; v < y1 && !hit && x1 > x0; v++)
                hit = memchr(m->hit + (size_t)v * (size_t)m->w + (size_t)x0, 1, (size_t)(x1 - x0)) != NULL;
            if (hit) known[y * l->base_w + x] = HM_PX_NONE;
        }
}

/* The model draws a subject where the words have it: they get the side of what is unknown in the canvas, all frames together.
 * What is painted around a picture lies on all sides. */
static void place_subject(hm_edit *d, hm_canvas *c, int frames)
{
    const int w = d->l.base_w, h = d->l.base_h;
    double sum = 0, n = 0;
    for (int f = 0; f < frames; f++) {
        const uint8_t *known = hm_canvas_known(c, f);
        for (int i = 0; i < w * h; i++)
            if (known[i] == HM_PX_NONE) sum += i % w + 0.5, n++;
    }
    const char *prompt = d->req.prompt;
    if (n > 0 && prompt && hm_prompt_place(prompt, sum / n / w, d->placed, sizeof d->placed)) d->words[0].prompt = d->placed;
}

static himmel_status plan_change(hm_edit *d, himmel_error *err)
{
    const himmel_edit *e = d->e;
    hm_clip *in = d->clip[0];
    const bool film = d->req.kind == HIMMEL_FILM;
    d->masked = e->mask || e->box[2] > 0 || e->outpaint;
    himmel_status rc = d->masked ? hm_mask_open(&d->mask, e, in, &d->req, d->ctx->threads, err) : HIMMEL_OK;
    const double length = hm_clip_seconds(in);
    const int seconds = film ? HM_MAX(1, (int)lround(length)) : 0;
    const double rate = film ? seconds / length : 1;
    if (!rc) rc = new_take(d, 1 + seconds, true, err);
    if (rc) return rc;
    d->n_takes = 1;
    hm_canvas *c = &d->take[0];
    const size_t px = (size_t)d->l.base_w * (size_t)d->l.base_h;
    const double shift = (double)d->ctx->model->shift; /* as the steps of sampling are spread: half of the way is half of them */
    if (!d->masked) c->start = shift * e->strength / (1 + (shift - 1) * e->strength);
    const int frames = film ? HM_FPS * seconds + 1 : 1;
    for (int f = 0; f < frames && !rc; f++) {
        const double t = (double)f / HM_FPS / rate;
        const uint8_t *rgb = hm_clip_frame(in, hm_clip_nearest(in, t), err);
        if (!rgb) return HIMMEL_EFORMAT;
        hm_edit_to_base(d, rgb, hm_canvas_rgb(c, f));
        memset(hm_canvas_known(c, f), d->masked ? HM_PX_KNOWN : HM_PX_GIVEN, px);
        if (d->masked) rc = hm_mask_at(&d->mask, t, err);
        if (d->masked && !rc) hm_edit_keep_unmasked(d, hm_canvas_known(c, f));
    }
    if (!rc && d->masked && !e->outpaint) place_subject(d, c, frames);
    add_span(d, d->masked ? 0 : -1, 0, film ? hm_edit_frames(d, 0) : 1, 0, rate);
    return rc;
}

static himmel_status plan_upscale(hm_edit *d, himmel_error *err)
{
    const hm_media_info *i = hm_clip_info(d->clip[0]);
    if (hm_clip_scale(d->clip[0]) <= 1)
        return hm_fail(err, HIMMEL_EINVAL, "%s: is %dx%d, as large as %dx%d: ask for a larger size", hm_clip_path(d->clip[0]),
                       i->width, i->height, d->req.width, d->req.height);
    add_span(d, 0, -1, hm_edit_frames(d, 0), 0, 1);
    return HIMMEL_OK;
}

himmel_status hm_edit_plan(hm_edit *d, himmel_error *err)
{
    himmel_status rc = open_inputs(d, err);
    if (rc) return rc;
    follow_input(d);
    follow_words(d);
    rc = check(d, err);
    if (!rc) rc = set_up(d, err);
    if (rc) return rc;
    if (d->ctx->released) return hm_edit_plan_strips(d, err);
    if (d->e->reference) return hm_edit_reference(d->ctx, d->e, 0, 0, &d->reference, err);
    switch (d->e->mode) {
    case HIMMEL_EDIT_NEW: return plan_new(d, err);
    case HIMMEL_EDIT_JOIN: return plan_join(d, err);
    case HIMMEL_EDIT_CHANGE: return plan_change(d, err);
    case HIMMEL_EDIT_UPSCALE: return plan_upscale(d, err);
    }
    return hm_fail(err, HIMMEL_EINVAL, "mode is %d, there is no such one", (int)d->e->mode);
}

void hm_edit_deinit(hm_edit *d)
{
    for (int i = 0; i < HIMMEL_MAX_CARDS; i++) hm_clip_free(d->clip[i]);
    for (int i = 0; i < HM_MAX_TAKES; i++) hm_canvas_deinit(&d->take[i]), hm_strip_deinit(&d->strip[i]);
    free(d->base);
    free(d->reference);
    for (int i = 0; i < d->n_anchors; i++) free(d->anchor[i].image), free(d->anchor[i].missing), free(d->anchor[i].own);
    hm_mask_deinit(&d->mask);
    hm_scaler_free(d->to_base);
}
