/* edit_strips.c - what an edit with a released model is made of: strips instead
 * of canvases, else as edit_plan.c. SPDX-License-Identifier: MIT A strip's
 * frames are the result's, so that nothing is on whole seconds; models that
 * lead to a picture in their last frame alone make a gap a few frames longer,
 * which is played faster. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "film/edit.h"

static const double remix_shift = 4; /* strength to noise level as himmel-1 spreads its steps */

/* Frames in the result's shape with at most as many pixels as the model was
 * made for; a new film has the size asked for. */
void hm_edit_layout_released(hm_edit *d)
{
    const hm_model_facts *f = &d->ctx->facts;
    const himmel_request *r = &d->req;
    const double area = (double)r->width * r->height, own = (double)f->width * f->height;
    const double s = d->e->mode == HIMMEL_EDIT_NEW ? 1 : fmin(1, sqrt(own / area));
    hm_layout *l = &d->l;
    *l = (hm_layout){.w = r->width * s, .h = r->height * s};
    l->full_w = l->base_w = (int)ceil(l->w / f->side_step - 1e-6) * f->side_step;
    l->full_h = l->base_h = (int)ceil(l->h / f->side_step - 1e-6) * f->side_step;
    l->x = (l->full_w - l->w) / 2;
    l->y = (l->full_h - l->h) / 2;
}

static himmel_status new_strip(hm_edit *d, int n, himmel_error *err)
{
    hm_strip *s = &d->strip[d->n_takes++];
    const himmel_status rc = hm_strip_init(s, d->ctx, &d->l, n, hm_edit_fps(d), d->req.output, err);
    s->reference = d->reference;
    return rc;
}

/* The result's picture px as frame i. */
static himmel_status put(hm_edit *d, hm_strip *s, int i, const uint8_t *px, himmel_error *err)
{
    if (!px) return HIMMEL_EFORMAT;
    hm_edit_to_base(d, px, d->base);
    return hm_strip_put(s, i, d->base, err);
}

/* ---- a new film through cards ---- */

static himmel_status plan_new(hm_edit *d, himmel_error *err)
{
    const himmel_edit *e = d->e;
    const int n = HM_MAX(1, (int)lround(d->req.seconds * hm_edit_fps(d)));
    himmel_status rc = new_strip(d, n, err);
    hm_strip *s = &d->strip[0];
    if (!rc) rc = hm_strip_can(s, err);
    for (size_t i = 0, clip = 0; i < e->n_cards && !rc; i++) {
        if (!e->cards[i].picture) continue;
        const int frame = HM_MIN(n - 1, (int)lround(e->cards[i].at * hm_edit_fps(d)));
        const uint8_t *px = hm_clip_frame(d->clip[clip], 0, err);
        if (!px) return HIMMEL_EFORMAT;
        hm_edit_to_base(d, px, d->base);
        rc = hm_strip_pin_at(s, frame, d->base, err);
        if (!rc) rc = hm_edit_add_anchor(d, 0, frame / s->fps, (int)clip, 0, err);
        clip++;
    }
    hm_edit_add_span(d, (hm_span){-1, 0, n, 0, 1});
    return rc;
}

/* ---- clips in order with new frames around them ---- */

/* Can the model do it? */
static himmel_status check_gap(const hm_edit *d, int a, int b, himmel_error *err)
{
    const hm_model_facts *f = &d->ctx->facts;
    if (a >= 0 && !f->goes_on)
        return hm_fail(err, HIMMEL_EINVAL,
                       "%s makes films from words alone: it cannot go on from one "
                       "that is there",
                       f->name);
    if (b >= 0 && !f->leads_to)
        return hm_fail(err, HIMMEL_EINVAL,
                       "%s cannot lead to a film that is there, only go on from "
                       "one (extend --after)",
                       f->name);
    if (a < 0 && f->needs_first)
        return hm_fail(err, HIMMEL_EINVAL,
                       "%s needs a picture to begin with: it cannot make what "
                       "comes before a film",
                       f->name);
    if (b < 0 && f->needs_last)
        return hm_fail(err, HIMMEL_EINVAL,
                       "%s needs a picture to end with: it makes ways from one "
                       "film to another (blend, loop)",
                       f->name);
    return HIMMEL_OK;
}

/* n new frames behind clip a (-1: none) and before clip b (-1: none). */
static himmel_status add_gap(hm_edit *d, int a, int b, double gap, himmel_error *err)
{
    const hm_model_facts *f = &d->ctx->facts;
    const double fps = hm_edit_fps(d);
    const int n = (int)lround(gap * fps) - (a >= 0 && b >= 0), take = d->n_takes;
    if (gap <= 0 || n < 1) return HIMMEL_OK;
    himmel_status rc = check_gap(d, a, b, err);
    if (rc) return rc;
    const int head = a >= 0 ? hm_strip_context(f, hm_edit_frames(d, a), f->goes_on) : 0;
    const int tail = b >= 0 ? hm_strip_context(f, hm_edit_frames(d, b), a >= 0 ? HM_MIN(f->leads_to, f->loose) : f->leads_to) : 0;
    int more = n;
    while (tail && head && f->last_only && (head + more) % f->frame_step) more++;
    rc = new_strip(d, head + more + tail, err);
    hm_strip *s = &d->strip[take];
    s->from = head, s->to = head + more, s->backward = a < 0;
    for (int i = 0; i < head && !rc; i++) {
        hm_clip *c = d->clip[a];
        const double t = hm_clip_time(c, hm_clip_frames(c) - 1) - (head - 1 - i) / fps;
        rc = put(d, s, i, hm_clip_frame(c, hm_clip_nearest(c, fmax(t, 0)), err), err);
    }
    for (int i = 0; i < tail && !rc; i++)
        rc = put(d, s, s->to + i, hm_clip_frame(d->clip[b], hm_clip_nearest(d->clip[b], i / fps), err), err);
    if (!rc && head) rc = hm_edit_add_anchor(d, take, (head - 1) / fps, a, hm_clip_frames(d->clip[a]) - 1, err);
    if (!rc && tail) rc = hm_edit_add_anchor(d, take, s->to / fps, b, 0, err);
    const double rate = (more + 1) / (n + 1.0);
    hm_edit_add_span(d, (hm_span){-1, take, n, head ? (head - 1 + rate) / fps : 0, rate});
    return rc;
}

static himmel_status plan_join(hm_edit *d, himmel_error *err)
{
    const himmel_edit *e = d->e;
    himmel_status rc = add_gap(d, -1, 0, e->before, err);
    for (int i = 0; i < d->n_clips && !rc; i++) {
        hm_edit_add_span(d, (hm_span){i, -1, hm_edit_frames(d, i), 0, 1});
        if (i + 1 < d->n_clips) rc = add_gap(d, i, i + 1, e->between, err);
    }
    if (!rc) rc = add_gap(d, d->n_clips - 1, e->loop ? 0 : -1, e->after, err);
    return rc;
}

/* ---- a clip that is changed ---- */

/* Frame i of the strip and, with a mask, what of it may change. */
static himmel_status put_changing(hm_edit *d, hm_strip *s, int i, himmel_error *err)
{
    const size_t px = (size_t)s->w * (size_t)s->h;
    const double t = i / s->fps;
    himmel_status rc = put(d, s, i, hm_clip_frame(d->clip[0], hm_clip_nearest(d->clip[0], t), err), err);
    if (!rc && d->masked) rc = hm_mask_at(&d->mask, t, err);
    if (rc || !d->masked) return rc;
    memset(d->base, HM_PX_KNOWN, px);
    hm_edit_keep_unmasked(d, d->base);
    for (size_t k = 0; k < px; k++) d->base[k] = d->base[k] == HM_PX_NONE;
    if (memchr(d->base, 1, px)) s->from = HM_MIN(s->from, i), s->to = i + 1;
    return hm_strip_put_mask(s, i, d->base, err);
}

static himmel_status plan_change(hm_edit *d, himmel_error *err)
{
    const himmel_edit *e = d->e;
    const hm_model_facts *f = &d->ctx->facts;
    if (!f->takes_start) return hm_fail(err, HIMMEL_EINVAL, "%s makes new films: it cannot change one that is there", f->name);
    const int n = hm_edit_frames(d, 0);
    d->masked = e->mask || e->box[2] > 0 || e->outpaint;
    himmel_status rc = d->masked ? hm_mask_open(&d->mask, e, d->clip[0], &d->req, d->ctx->threads, err) : HIMMEL_OK;
    if (!rc) rc = new_strip(d, n, err);
    if (rc) return rc;
    hm_strip *s = &d->strip[0];
    s->changes = true, s->masked = d->masked;
    if (d->masked)
        s->from = n, s->to = 0; /* grows with what may change */
    else
        s->level = remix_shift * e->strength / (1 + (remix_shift - 1) * e->strength);
    for (int i = 0; i < n && !rc; i++) rc = put_changing(d, s, i, err);
    hm_edit_add_span(d, (hm_span){d->masked ? 0 : -1, 0, n, 0, 1});
    return rc;
}

himmel_status hm_edit_plan_strips(hm_edit *d, himmel_error *err)
{
    d->base = malloc(3 * (size_t)d->l.base_w * (size_t)d->l.base_h);
    if (!d->base) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a picture");
    const himmel_status rc = hm_edit_reference(d->ctx, d->e, d->l.base_w, d->l.base_h, &d->reference, err);
    if (rc) return rc;
    switch (d->e->mode) {
    case HIMMEL_EDIT_NEW:
        return plan_new(d, err);
    case HIMMEL_EDIT_JOIN:
        return plan_join(d, err);
    case HIMMEL_EDIT_CHANGE:
        return plan_change(d, err);
    case HIMMEL_EDIT_UPSCALE:
        break;
    }
    return hm_fail(err, HIMMEL_EINVAL, "%s: upscaling is done by himmel-1's refiner", d->ctx->facts.name);
}

/* ---- sampling ---- */

typedef struct {
    const hm_edit_sampling *o;
    int before, takes; /* steps of the takes before, and takes that are left */
    int step;
} progress;

static int on_step(void *user, int step, int n)
{
    progress *p = user;
    p->step = step;
    return p->o->on_step(p->o->user, p->before + step, p->before + n * p->takes);
}

static int on_preview(void *user, const uint8_t *rgb, int w, int h)
{
    const progress *p = user;
    return p->o->on_preview(p->o->user, rgb, w, h);
}

static hm_strip_opts options(hm_edit *d, const hm_edit_sampling *o, int take)
{
    const himmel_request *r = &d->req;
    return (hm_strip_opts){.words = d->words,
                           .n_words = d->n_words,
                           .req = r,
                           .keep = o->keep,
                           .on_step = on_step,
                           .on_preview = o->on_preview ? on_preview : NULL,
                           .seed = take ? hm_mix(r->seed, 1000 + (uint64_t)take) : r->seed};
}

himmel_status hm_edit_sample_strips(hm_edit *d, const hm_edit_sampling *o, hm_model_cost *sum, himmel_error *err)
{
    progress p = {.o = o};
    himmel_status rc = HIMMEL_OK;
    *sum = (hm_model_cost){0};
    for (int i = 0; i < d->n_takes && !rc; i++) { /* all fit, before any is made */
        himmel_plan_info plan;
        const hm_strip_opts so = options(d, o, i);
        rc = hm_strip_plan(&d->strip[i], &so, &plan, err);
    }
    for (int i = 0; i < d->n_takes && !rc; i++) {
        hm_model_cost one;
        hm_strip_opts so = options(d, o, i);
        so.user = &p;
        p.takes = d->n_takes - i;
        rc = hm_strip_sample(&d->strip[i], &so, &one, err);
        p.before += p.step, p.step = 0;
        sum->text_seconds += one.text_seconds, sum->sample_seconds += one.sample_seconds,
            sum->decode_seconds += one.decode_seconds;
        sum->text_gflop += one.text_gflop, sum->sample_gflop += one.sample_gflop, sum->decode_gflop += one.decode_gflop;
        sum->passes += one.passes, sum->passes_skipped += one.passes_skipped;
        sum->peak_bytes = HM_MAX(sum->peak_bytes, one.peak_bytes);
    }
    return rc;
}
