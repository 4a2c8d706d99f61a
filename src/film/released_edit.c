/* released_edit.c - a new film through pictures with a released model, in one go.   SPDX-License-Identifier: MIT
 *   cards -> pictures of the job's size at their frames -> the model keeps them -> file
 * A picture is laid over the job's size, which may be a little more than the result: what is cut off again was part of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "film/edit.h"
#include "film/released.h"

typedef struct {
    himmel_ctx *ctx;
    const himmel_edit *e;
    himmel_request req;
    hm_clip *clip[HIMMEL_MAX_CARDS];
    hm_source source[HIMMEL_MAX_CARDS + 1];
    hm_model_item item[HIMMEL_MAX_CARDS];
    float *rgb[HIMMEL_MAX_CARDS], *reference;
    int n; /* pictures */
    char names[512];
    hm_material given;
} edit;

bool hm_released_at_once(const himmel_ctx *ctx, const himmel_request *req, const himmel_edit *e)
{
    himmel_request r = *req;
    int n;
    if (e->mode != HIMMEL_EDIT_NEW) return false;
    for (size_t i = 0; i < e->n_cards; i++)
        if (e->cards[i].prompt && e->cards[i].at > 0) return false;
    if (r.fps_num == 0) r.fps_num = (int)lround(1000 * ctx->facts.fps), r.fps_den = 1000;
    return hm_released_job(ctx, &r, &n).n_frames <= ctx->facts.max_frames;
}

static himmel_status open_pictures(edit *d, himmel_error *err)
{
    for (size_t i = 0; i < d->e->n_cards; i++) {
        const char *path = d->e->cards[i].picture;
        if (!path) continue;
        const himmel_status rc = hm_clip_open(&d->clip[d->n], hm_edit_reader(d->e), path, 0, 0, err);
        if (rc) return rc;
        d->source[d->n++] = (hm_source){path, HM_ROLE_INPUT};
    }
    hm_edit_names(d->clip, d->n, d->names, sizeof d->names);
    return HIMMEL_OK;
}

static int side(double v, int step)
{
    const int least = (HIMMEL_MIN_SIDE + step - 1) / step * step, most = HIMMEL_MAX_SIDE / step * step;
    return HM_MIN(most, HM_MAX(least, (int)lround(v / step) * step));
}

void hm_released_follow(const himmel_ctx *ctx, const hm_media_info *i, himmel_request *r)
{
    const hm_model_facts *f = &ctx->facts;
    if (r->width == 0 || r->height == 0) {
        const double aspect = i ? (double)i->width / i->height : (double)f->width / f->height;
        const double area = (double)f->width * f->height;
        r->width = side(sqrt(area * aspect), f->side_step);
        r->height = side(sqrt(area / aspect), f->side_step);
    }
    if (r->fps_num == 0) r->fps_num = (int)lround(1000 * f->fps), r->fps_den = 1000;
}

static himmel_status check(const edit *d, himmel_error *err)
{
    himmel_request r = d->req;
    if (!r.prompt || !*r.prompt) r.prompt = "a film"; /* may be left out */
    const himmel_status rc = himmel_check(&r, err);
    if (rc) return rc;
    for (size_t i = 0; i < d->e->n_cards; i++) {
        const double at = d->e->cards[i].at;
        if (!(at >= 0 && at <= r.seconds) || (i && !(at > d->e->cards[i - 1].at)))
            return hm_fail(err, HIMMEL_EINVAL, "card %zu is at %g s: cards must ascend within 0..%g s", i + 1, at, r.seconds);
    }
    return HIMMEL_OK;
}

/* Picture k, of the card at `at` seconds, as an item of the job. A picture at the end of the film stands in its last frame. */
static himmel_status take_picture(edit *d, int k, double at, himmel_error *err)
{
    int n_frames;
    const hm_model_job job = hm_released_job(d->ctx, &d->req, &n_frames);
    const size_t n = 3 * (size_t)job.width * (size_t)job.height;
    himmel_status rc = hm_clip_fit(d->clip[k], job.width, job.height, d->e->fit == HIMMEL_FIT_PAD, d->ctx->threads, err);
    const uint8_t *px = rc ? NULL : hm_clip_frame(d->clip[k], 0, err);
    if (!px) return rc ? rc : HIMMEL_EFORMAT;
    float *rgb = d->rgb[k] = malloc(n * sizeof *rgb);
    if (!rgb) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", hm_clip_path(d->clip[k]));
    for (size_t i = 0; i < n; i++) rgb[i] = (float)px[i] / 255;
    int frame = HM_MIN((int)lround(at * job.fps), n_frames - 1);
    if (frame > 0 && frame == n_frames - 1 && d->ctx->facts.ends_whole) frame = job.n_frames - 1, d->given.whole = true;
    if (k && frame <= d->item[k - 1].at)
        return hm_fail(err, HIMMEL_EINVAL, "%s: is at %g s, in the same frame as the picture before", hm_clip_path(d->clip[k]), at);
    d->item[k] = (hm_model_item){rgb, 1, frame, 1.0};
    return HIMMEL_OK;
}

static himmel_status take_reference(edit *d, himmel_error *err)
{
    int unused;
    const hm_model_job job = hm_released_job(d->ctx, &d->req, &unused);
    uint8_t *rgb;
    const himmel_status rc = hm_edit_reference(d->ctx, d->e, job.width, job.height, &rgb, err);
    if (!rgb) return rc;
    d->reference = hm_edit_levels(rgb, 3 * (size_t)job.width * (size_t)job.height);
    free(rgb);
    d->source[d->n] = (hm_source){d->e->reference, HM_ROLE_INPUT};
    return d->reference ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", d->e->reference);
}

static himmel_status prepare(edit *d, himmel_error *err)
{
    if (d->e->n_cards > HIMMEL_MAX_CARDS)
        return hm_fail(err, HIMMEL_EINVAL, "%zu inputs, 1 to %d are possible", d->e->n_cards, (int)HIMMEL_MAX_CARDS);
    for (size_t i = 0; i < d->e->n_cards; i++)
        if (d->e->cards[i].prompt) d->req.prompt = d->e->cards[i].prompt; /* of the card at the start: hm_released_at_once */
    const himmel_status opened = open_pictures(d, err);
    if (opened) return opened;
    hm_released_follow(d->ctx, d->n ? hm_clip_info(d->clip[0]) : NULL, &d->req);
    himmel_status rc = check(d, err);
    for (size_t i = 0, k = 0; i < d->e->n_cards && !rc; i++)
        if (d->e->cards[i].picture) rc = take_picture(d, (int)k++, d->e->cards[i].at, err);
    return rc ? rc : take_reference(d, err);
}

himmel_status hm_released_edit(himmel_ctx *ctx, const himmel_request *req, const himmel_edit *e, himmel_result *result,
                               himmel_error *err)
{
    edit d = {.ctx = ctx, .e = e, .req = *req};
    char *settings = hm_edit_settings(e);
    himmel_status rc = settings ? prepare(&d, err) : hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    d.given.items = d.item, d.given.n_items = d.n, d.given.reference = d.reference;
    d.given.sources = d.source, d.given.n_sources = (size_t)d.n + (d.reference != NULL), d.given.reader = hm_edit_reader(e);
    d.given.inputs = d.names, d.given.settings = settings;
    if (!rc) rc = hm_released_make(ctx, &d.req, &d.given, result, err);
    for (int i = 0; i < d.n; i++) {
        hm_clip_free(d.clip[i]);
        free(d.rgb[i]);
    }
    free(d.reference);
    free(settings);
    return rc;
}
