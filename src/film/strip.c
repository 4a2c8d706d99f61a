/* strip.c - window after window until a strip is full. SPDX-License-Identifier:
 * MIT frames done, mask, pictures -> job of the model -> its frames -> seam to
 * the window before -> file Forward, a window begins with frames that are done,
 * as a clip at its start; backward it ends with some. Where frames are given (a
 * film to be changed) those that are done are the part of it that stays. What
 * the model makes of a frame that is done differs from that by what its
 * autoencoder loses: the difference fades over a second of the new frames. */
#include "film/strip.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "film/edit.h"
#include "film/released.h"

/* ---- the file ---- */

static size_t frame_bytes(const hm_strip *s) { return 3 * (size_t)s->w * (size_t)s->h; }

/* Frames n and n + 1: what the model made of the known ones before and behind
 * the new ones. */
static off_t frame_at(const hm_strip *s, int i) { return (off_t)frame_bytes(s) * i; }
static off_t mask_at(const hm_strip *s, int i) { return (off_t)frame_bytes(s) * (s->n + 2) + (off_t)s->w * s->h * i; }

static himmel_status transfer(const hm_strip *s, bool out, off_t at, void *bytes, size_t n, himmel_error *err)
{
    for (size_t done = 0; done < n;) {
        uint8_t *p = (uint8_t *)bytes + done;
        const ssize_t k =
            out ? pwrite(s->file - 1, p, n - done, at + (off_t)done) : pread(s->file - 1, p, n - done, at + (off_t)done);
        if (k <= 0)
            return hm_fail(err, HIMMEL_EIO, "the frames in work (%d of %dx%d, beside the result) cannot be %s", s->n, s->w, s->h,
                           out ? "written: is the disk full?" : "read");
        done += (size_t)k;
    }
    return HIMMEL_OK;
}

static himmel_status open_file(hm_strip *s, const char *beside, himmel_error *err)
{
    const char *slash = strrchr(beside, '/');
    const int dir = slash ? (int)(slash - beside) + 1 : 0;
    const size_t cap = strlen(beside) + 32;
    char *path = malloc(cap);
    if (!path) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", beside);
    snprintf(path, cap, "%.*s.", dir, beside);
    int fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) { /* a file system that cannot */
        snprintf(path, cap, "%.*s.himmel-XXXXXX", dir, beside);
        fd = mkstemp(path);
        if (fd >= 0) unlink(path);
    }
    free(path);
    if (fd < 0) return hm_fail(err, HIMMEL_EIO, "%s: no file can be made beside it for the frames in work", beside);
    s->file = fd + 1;
    return HIMMEL_OK;
}

himmel_status hm_strip_init(hm_strip *s, himmel_ctx *ctx, const hm_layout *l, int n, double fps, const char *beside,
                            himmel_error *err)
{
    *s = (hm_strip){.ctx = ctx, .w = l->full_w, .h = l->full_h, .n = n, .fps = fps, .to = n, .level = 1};
    return open_file(s, beside, err);
}

void hm_strip_deinit(hm_strip *s)
{
    if (s->file) close(s->file - 1);
    for (int i = 0; i < s->n_pins; i++) free(s->pin[i].rgb);
    *s = (hm_strip){0};
}

himmel_status hm_strip_put(hm_strip *s, int i, const uint8_t *rgb, himmel_error *err)
{
    return transfer(s, true, frame_at(s, i), (void *)(uintptr_t)rgb, frame_bytes(s), err);
}

himmel_status hm_strip_put_mask(hm_strip *s, int i, const uint8_t *mask, himmel_error *err)
{
    return transfer(s, true, mask_at(s, i), (void *)(uintptr_t)mask, frame_bytes(s) / 3, err);
}

himmel_status hm_strip_pin_at(hm_strip *s, int at, const uint8_t *rgb, himmel_error *err)
{
    uint8_t *copy = malloc(frame_bytes(s));
    if (!copy) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a picture of %dx%d", s->w, s->h);
    memcpy(copy, rgb, frame_bytes(s));
    hm_strip_pin *p = &s->pin[s->n_pins++];
    p->at = at;
    p->rgb = copy;
    return HIMMEL_OK;
}

himmel_status hm_strip_get(const hm_strip *s, int i, uint8_t *rgb, himmel_error *err)
{
    const int slot = i < s->from ? s->n : i >= s->to ? s->n + 1 : i;
    return transfer(s, false, frame_at(s, slot), rgb, frame_bytes(s), err);
}

/* ---- windows ---- */

/* Frames w0.. of the strip, N of them; new are from..to-1. head frames before
 * and tail frames behind those are done. */
typedef struct {
    int w0, N, from, to, head, tail;
    const char *prompt;
} window;

static int round_up(int n, int step) { return (n - 2 + step) / step * step + 1; }
static int round_down(int n, int step) { return n < 1 ? 0 : (n - 1) / step * step + 1; }

int hm_strip_context(const hm_model_facts *f, int there, int most)
{
    const int usual = round_down(f->n_frames / 4, f->frame_step);
    return round_down(HM_MIN(HM_MIN(there, most), HM_MAX(usual, 1)), f->frame_step);
}

/* The words that hold where w begins; where others do, another window begins.
 */
static void find_words(const hm_strip *s, const hm_strip_opts *o, window *w)
{
    const char *text = NULL;
    int end = w->to;
    for (size_t i = 0; i < o->n_words; i++) {
        const int at = (int)lround(o->words[i].at * s->fps);
        if (i == 0 || at <= w->from)
            text = o->words[i].prompt;
        else if (at < end)
            end = at;
    }
    if (end < w->to) w->tail = 0;
    w->to = end;
    w->prompt = text;
}

/* The next window; done: frames new or changed so far, from the start or
 * (backward) from the end. false: all is done. */
static bool next_window(const hm_strip *s, const hm_strip_opts *o, int done, window *w)
{
    const hm_model_facts *f = &s->ctx->facts;
    const int left = s->to - s->from - done, limit = HM_MIN(f->n_frames, f->max_frames), step = f->frame_step;
    if (left <= 0) return false;
    *w = (window){.from = s->from + done, .to = s->to};
    if (s->backward) {
        w->to = s->to - done;
        w->tail = hm_strip_context(f, s->n - w->to, f->leads_to);
        w->from = w->to - HM_MIN(left, limit - w->tail);
        w->prompt = o->n_words ? o->words[0].prompt : NULL;
        w->N = round_up(w->to - w->from + w->tail, step);
        w->w0 = w->to + w->tail - w->N;
        return true;
    }
    w->head = hm_strip_context(f, w->from, s->changes ? w->from : f->goes_on);
    w->tail = s->changes ? HM_MIN(s->n - s->to, step) : hm_strip_context(f, s->n - s->to, HM_MIN(f->leads_to, f->loose));
    const int room = limit - w->head;
    if (left + w->tail > room) { /* what follows is seen by the last window alone,
                                    which has something to do */
        w->to = w->from + HM_MAX(1, round_down(w->head + HM_MIN(room, left - 1), step) - w->head);
        w->tail = 0;
    }
    find_words(s, o, w);
    w->w0 = w->from - w->head;
    w->N = round_up(w->head + w->to - w->from + w->tail, step);
    return true;
}

himmel_status hm_strip_can(const hm_strip *s, himmel_error *err)
{
    const hm_model_facts *f = &s->ctx->facts;
    if (f->goes_on || s->n <= f->max_frames) return HIMMEL_OK;
    return hm_fail(err, HIMMEL_EINVAL, "%d frames: %s makes at most %d (%.1f s), and does not go on from them; Wan's VACE and TI2V and LTX-Video do", s->n, f->name,
                   f->max_frames, f->max_frames / s->fps);
}

static int windows(const hm_strip *s, const hm_strip_opts *o)
{
    int n = 0, done = 0;
    for (window w; next_window(s, o, done, &w); n++) done += w.to - w.from;
    return n;
}

/* ---- a window's job ---- */

typedef struct {
    hm_strip *s;
    const hm_strip_opts *o;
    window w;
    int number, n_windows;
    int before, step; /* steps of all windows before, and of this one */
    hm_model_job job;
    hm_model_item item[2 + HIMMEL_MAX_CARDS];
    float *rgb[2 + HIMMEL_MAX_CARDS];
    float *start, *reference;
    uint8_t *mask;
    uint8_t *px; /* a frame */
    float *seam; /* [h][w][3] what is done minus what the model made of it, at the
                    seam to the window before */
    hm_released_kept kept;
} running;

static himmel_status no_room(const hm_strip *s, himmel_error *err)
{
    return hm_fail(err, HIMMEL_ENOMEM, "out of memory for frames of %dx%d", s->w, s->h);
}

/* n frames of the strip from `from` on are an item at frame `at` of the job. */
static himmel_status give(running *r, int from, int n, int at, himmel_error *err)
{
    const hm_strip *s = r->s;
    const size_t one = frame_bytes(s);
    float *rgb = malloc(one * (size_t)n * sizeof *rgb);
    if (!rgb) return no_room(s, err);
    r->rgb[r->job.n_items] = rgb;
    r->item[r->job.n_items++] = (hm_model_item){rgb, n, at, 1.0};
    himmel_status rc = HIMMEL_OK;
    for (int f = 0; f < n && !rc; f++) {
        rc = transfer(s, false, frame_at(s, from + f), r->px, one, err);
        for (size_t i = 0; i < one && !rc; i++) rgb[(size_t)f * one + i] = (float)r->px[i] / 255;
    }
    return rc;
}

static himmel_status give_pin(running *r, const hm_strip_pin *p, himmel_error *err)
{
    const size_t one = frame_bytes(r->s);
    float *rgb = malloc(one * sizeof *rgb);
    if (!rgb) return no_room(r->s, err);
    r->rgb[r->job.n_items] = rgb;
    r->item[r->job.n_items++] = (hm_model_item){rgb, 1, p->at - r->w.w0, 1.0};
    for (size_t i = 0; i < one; i++) rgb[i] = (float)p->rgb[i] / 255;
    return HIMMEL_OK;
}

/* Frame i of the strip to start from, and what of it may change; behind the end
 * the last one again. What may change is filled from around it, or what it
 * shows would shine through. */
static himmel_status start_frame(const running *r, int i, float *rgb, uint8_t *mask, float *room, himmel_error *err)
{
    const hm_strip *s = r->s;
    const size_t px = (size_t)s->w * (size_t)s->h;
    i = HM_MIN(i, s->n - 1);
    himmel_status rc = transfer(s, false, frame_at(s, i), r->px, 3 * px, err);
    if (rc) return rc;
    for (size_t k = 0; k < 3 * px; k++) rgb[k] = (float)r->px[k] / 255;
    if (!mask) return HIMMEL_OK;
    memset(mask, i >= r->w.from, px);
    if (s->masked && i >= r->w.from) rc = transfer(s, false, mask_at(s, i), mask, px, err);
    if (rc || !s->masked || !memchr(mask, 1, px)) return rc;
    if (!memchr(mask, 0, px)) {
        for (size_t k = 0; k < 3 * px; k++) rgb[k] = 0.5f;
        return HIMMEL_OK;
    }
    for (size_t k = 0; k < px; k++) {
        room[k] = !mask[k];
        for (size_t q = 3 * k; q < 3 * k + 3 && mask[k]; q++) rgb[q] = 0;
    }
    hm_fill(rgb, room, s->w, s->h, room + px);
    return HIMMEL_OK;
}

static bool has_mask(const running *r) { return r->s->masked || r->w.head > 0; }

static himmel_status make_start(running *r, himmel_error *err)
{
    const hm_strip *s = r->s;
    const size_t px = (size_t)s->w * (size_t)s->h, N = (size_t)r->w.N;
    float *room = malloc((px + hm_fill_room(s->w, s->h)) * sizeof *room);
    r->start = malloc(3 * px * N * sizeof *r->start);
    r->mask = has_mask(r) ? malloc(px * N) : NULL;
    himmel_status rc = room && r->start && (r->mask || !has_mask(r)) ? HIMMEL_OK : no_room(s, err);
    for (size_t f = 0; f < N && !rc; f++)
        rc = start_frame(r, r->w.w0 + (int)f, r->start + 3 * px * f, r->mask ? r->mask + px * f : NULL, room, err);
    free(room);
    r->job.start = r->start, r->job.start_level = s->level, r->job.mask = r->mask;
    return rc;
}

static bool sees(const window *w, const hm_strip_pin *p) { return p->at >= w->from && p->at < w->to; }

static void set_up(running *r)
{
    const hm_strip *s = r->s;
    int unused;
    r->job = hm_released_job(s->ctx, r->o->req, &unused);
    r->job.prompt = r->w.prompt;
    r->job.width = s->w, r->job.height = s->h, r->job.n_frames = r->w.N, r->job.fps = s->fps;
    r->job.seed = r->number ? hm_mix(r->o->seed, (uint64_t)r->number) : r->o->seed;
    r->job.items = r->item;
    r->job.reference = r->reference;
    r->step = 0;
}

/* What the window is given; freed by drop(). */
static himmel_status take(running *r, himmel_error *err)
{
    const hm_strip *s = r->s;
    const window *w = &r->w;
    if (s->changes) return make_start(r, err);
    himmel_status rc = w->head ? give(r, w->w0, w->head, 0, err) : HIMMEL_OK;
    for (int i = 0; i < s->n_pins && !rc; i++)
        if (sees(w, &s->pin[i])) rc = give_pin(r, &s->pin[i], err);
    if (!rc && w->tail) rc = give(r, w->to, w->tail, w->to - w->w0, err);
    return rc;
}

static void drop(running *r)
{
    for (int i = 0; i < r->job.n_items; i++) free(r->rgb[i]);
    free(r->start);
    free(r->mask);
    r->start = NULL, r->mask = NULL, r->job.n_items = 0;
}

/* ---- what comes out ---- */

static int on_step(void *user, const char *phase, int step, int n_steps)
{
    running *r = user;
    if (!strcmp(phase, "sample")) r->step = step;
    const int all = n_steps > 0 && !strcmp(phase, "sample") ? n_steps : HM_MAX(r->step, 1);
    return r->o->on_step && r->o->on_step(r->o->user, r->before + r->step, r->before + all * (r->n_windows - r->number));
}

static int on_preview(void *user, const uint8_t *rgb, int w, int h)
{
    const running *r = user;
    return r->o->on_preview(r->o->user, rgb, w, h);
}

static void to_bytes(const float *rgb, const float *seam, float share, uint8_t *px, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float v = rgb[i] + (share > 0 ? share * seam[i] : 0);
        px[i] = (uint8_t)lroundf(255 * HM_MIN(HM_MAX(v, 0.0f), 1.0f));
    }
}

/* Share of the difference at a seam in a frame so many frames away: 1 there, 0
 * after a second. */
static float share_at(const hm_strip *s, int away) { return away < s->fps ? (float)(0.5 + 0.5 * cos(M_PI * away / s->fps)) : 0; }

/* rgb is what the model made of frame i, which a window before has made. */
static himmel_status meet(running *r, int i, const float *rgb, himmel_error *err)
{
    const size_t n = frame_bytes(r->s);
    if (!r->seam && !(r->seam = malloc(n * sizeof *r->seam))) return no_room(r->s, err);
    const himmel_status rc = transfer(r->s, false, frame_at(r->s, i), r->px, n, err);
    for (size_t k = 0; k < n && !rc; k++) r->seam[k] = (float)r->px[k] / 255 - rgb[k];
    return rc;
}

static himmel_status on_frame(void *user, int number, const float *rgb, himmel_error *err)
{
    running *r = user;
    hm_strip *s = r->s;
    const window *w = &r->w;
    const int i = w->w0 + number;
    const size_t n = frame_bytes(s);
    if (i == w->from - 1 && w->from > s->from) return meet(r, i, rgb, err);
    if (i == w->to && s->backward && w->to < s->to) return meet(r, i, rgb, err);
    if (i < w->from - 1 || i > w->to || (i == w->to && !w->tail) || i < 0) return HIMMEL_OK;
    const int slot = i < w->from ? s->n : i == w->to ? s->n + 1 : i;
    to_bytes(rgb, r->seam, !s->backward && w->from > s->from ? share_at(s, i - w->from + 1) : 0, r->px, n);
    return transfer(s, true, frame_at(s, slot), r->px, n, err);
}

/* Backward the seam is known after the frames before it. */
static himmel_status lead_to(running *r, himmel_error *err)
{
    const hm_strip *s = r->s;
    const size_t n = frame_bytes(s);
    himmel_status rc = HIMMEL_OK;
    for (int i = r->w.to - 1; i >= r->w.from && share_at(s, r->w.to - i) > 0 && !rc; i--) {
        rc = transfer(s, false, frame_at(s, i), r->px, n, err);
        const float share = share_at(s, r->w.to - i);
        for (size_t k = 0; k < n && !rc; k++) {
            const float v = (float)r->px[k] + 255 * share * r->seam[k];
            r->px[k] = (uint8_t)lroundf(HM_MIN(HM_MAX(v, 0.0f), 255.0f));
        }
        if (!rc) rc = transfer(s, true, frame_at(s, i), r->px, n, err);
    }
    return rc;
}

/* ---- all windows ---- */

himmel_status hm_strip_plan(const hm_strip *s, const hm_strip_opts *o, himmel_plan_info *plan, himmel_error *err)
{
    static const float somewhere[1];
    static const uint8_t some_mask[1];
    running r = {.s = (hm_strip *)(uintptr_t)s, .o = o}; /* which is not written to */
    himmel_status rc = HIMMEL_OK;
    *plan = (himmel_plan_info){0};
    for (int done = 0; !rc && next_window(s, o, done, &r.w); r.number++, done += r.w.to - r.w.from) {
        himmel_plan_info one;
        set_up(&r);
        const int lengths[2] = {r.w.head, r.w.tail}, places[2] = {0, r.w.to - r.w.w0};
        for (int k = 0; k < 2 && !s->changes; k++)
            if (lengths[k]) r.item[r.job.n_items++] = (hm_model_item){somewhere, lengths[k], places[k], 1.0};
        for (int i = 0; i < s->n_pins; i++)
            if (sees(&r.w, &s->pin[i])) r.item[r.job.n_items++] = (hm_model_item){somewhere, 1, s->pin[i].at - r.w.w0, 1.0};
        if (s->reference) r.job.reference = somewhere;
        if (s->changes) r.job.start = somewhere, r.job.start_level = s->level, r.job.mask = has_mask(&r) ? some_mask : NULL;
        rc = hm_released_fits(s->ctx, o->req, &r.job, &one, err);
        plan->gflop_sample += one.gflop_sample, plan->gflop_film += one.gflop_film;
        plan->peak_bytes = HM_MAX(plan->peak_bytes, one.peak_bytes),
        plan->stays_bytes = HM_MAX(plan->stays_bytes, one.stays_bytes);
        plan->blocks_x = one.blocks_x, plan->blocks_y = one.blocks_y, plan->blocks_t += one.blocks_t;
        plan->base_width = one.base_width, plan->base_height = one.base_height, plan->available_bytes = one.available_bytes;
    }
    return rc;
}

static himmel_status sample_window(running *r, hm_model_cost *sum, himmel_error *err)
{
    hm_model_cost one = {0};
    set_up(r);
    r->job.on_step = on_step, r->job.on_frame = on_frame, r->job.user = r;
    if (r->o->on_preview) r->job.on_preview = on_preview;
    himmel_status rc = take(r, err);
    if (!rc && r->o->keep) hm_released_keep(&r->kept, r->s->ctx, &r->job, r->o->keep);
    if (!rc && r->o->keep) r->job.kept = &r->kept.kept;
    if (!rc) rc = hm_model_run(r->s->ctx->released, &r->job, &one, err);
    if (!rc && r->s->backward && r->w.to < r->s->to) rc = lead_to(r, err);
    drop(r);
    sum->text_seconds += one.text_seconds, sum->sample_seconds += one.sample_seconds, sum->decode_seconds += one.decode_seconds;
    sum->text_gflop += one.text_gflop, sum->sample_gflop += one.sample_gflop, sum->decode_gflop += one.decode_gflop;
    sum->passes += one.passes, sum->passes_skipped += one.passes_skipped;
    sum->peak_bytes = HM_MAX(sum->peak_bytes, one.peak_bytes);
    return rc;
}

himmel_status hm_strip_sample(hm_strip *s, const hm_strip_opts *o, hm_model_cost *cost, himmel_error *err)
{
    running r = {.s = s, .o = o, .n_windows = windows(s, o), .px = malloc(frame_bytes(s))};
    r.reference = s->reference ? hm_edit_levels(s->reference, frame_bytes(s)) : NULL;
    himmel_status rc = r.px && (r.reference || !s->reference) ? HIMMEL_OK : no_room(s, err);
    *cost = (hm_model_cost){0};
    for (int done = 0; !rc && next_window(s, o, done, &r.w); r.number++, done += r.w.to - r.w.from) {
        rc = sample_window(&r, cost, err);
        r.before += r.step;
    }
    free(r.px);
    free(r.seam);
    free(r.reference);
    return rc;
}
