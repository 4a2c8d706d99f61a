/* canvas.c - window after window until a canvas is full.   SPDX-License-Identifier: MIT
 * Forward: a window starts HM_CONTEXT seconds before the end of what is done; its still is the decoded picture
 * there. Backward: it ends HM_CONTEXT seconds behind the start of what is done, and its still is unknown; only the
 * last one's is part of the film. */
#include "film/canvas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

himmel_status hm_canvas_init(hm_canvas *c, const hm_himmel1 *m, int gw, int gh, int T, bool pixels, himmel_error *err)
{
    *c = (hm_canvas){.m = m, .gw = gw, .gh = gh, .T = T, .start = 1};
    c->n_frames = HM_BEFORE + HM_FPS * (T - 1) + 1 + HM_LAP;
    const size_t area = (size_t)gw * (size_t)gh, px = area * HM_BLOCK * HM_BLOCK * (size_t)c->n_frames;
    c->z = calloc((size_t)T * area * (size_t)hm_codec_channels(m->codec), sizeof *c->z);
    c->state = calloc((size_t)T, area);
    if (pixels) {
        c->rgb = calloc(px, 3);
        c->known = calloc(px, 1);
    }
    if (c->z && c->state && (!pixels || (c->rgb && c->known))) return HIMMEL_OK;
    hm_canvas_deinit(c);
    return hm_fail(err, HIMMEL_ENOMEM, "out of memory for %d seconds of %dx%d", T - 1, HM_BLOCK * gw, HM_BLOCK * gh);
}

void hm_canvas_deinit(hm_canvas *c)
{
    free(c->rgb);
    free(c->known);
    free(c->z);
    free(c->state);
    for (int i = 0; i < c->n_pins; i++) free(c->pin[i].z);
    *c = (hm_canvas){0};
}

uint8_t *hm_canvas_rgb(const hm_canvas *c, int f)
{
    return c->rgb + 3 * (size_t)(f + HM_BEFORE) * (size_t)(c->gw * c->gh) * HM_BLOCK * HM_BLOCK;
}

uint8_t *hm_canvas_known(const hm_canvas *c, int f)
{
    return c->known + (size_t)(f + HM_BEFORE) * (size_t)(c->gw * c->gh) * HM_BLOCK * HM_BLOCK;
}

himmel_status hm_canvas_pin(hm_canvas *c, double at, const uint8_t *rgb, himmel_error *err)
{
    const size_t n = 3 * (size_t)(c->gw * c->gh) * HM_BLOCK * HM_BLOCK;
    const size_t nz = (size_t)(c->gw * c->gh) * (size_t)hm_codec_channels(c->m->codec);
    if (c->n_pins == HM_MAX_PINS) return hm_fail(err, HIMMEL_EINVAL, "more than %d pictures", HM_MAX_PINS);
    float *px = malloc(n * sizeof *px), *z = malloc(nz * sizeof *z);
    for (size_t i = 0; px && i < n; i++) px[i] = (float)rgb[i] * (1 / 255.0f);
    const bool ok = px && z && !hm_codec_encode_still(c->m->codec, px, c->gh, c->gw, z);
    free(px);
    if (!ok) {
        free(z);
        return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a picture at %g s", at);
    }
    c->pin[c->n_pins++] = (hm_pin){at, z};
    return HIMMEL_OK;
}

/* ---- windows ---- */

/* Latent frames w0 .. w0+T-1 of the canvas; the new ones among them are seconds from+1 .. to. */
typedef struct {
    int w0, T, from, to;
} window;

/* The words that hold in the middle of seconds from..to. */
static const char *words_at(const hm_canvas_opts *o, double at)
{
    const char *text = NULL;
    for (size_t i = 0; i < o->n_words && (i == 0 || o->words[i].at <= at + 1e-9); i++) text = o->words[i].prompt;
    return text;
}

/* The first window (done < 0) or the next one; false: all is done. done: seconds finished so far, from the start or
 * (backward) from the end. */
static bool next_window(const hm_canvas *c, const hm_canvas_opts *o, int done, window *w)
{
    const int seconds = c->T - 1;
    if (done >= seconds && done >= 0 && (seconds > 0 || done > 0)) return false;
    const int context = HM_MIN(HM_MAX(done, 0), HM_CONTEXT);
    const int n = HM_MIN(seconds - HM_MAX(done, 0), HM_H1_MAX_SECONDS - context);
    if (c->backward) {
        const int to = seconds - HM_MAX(done, 0);
        *w = (window){to - n, 1 + n + context, to - n, to};
        return true;
    }
    const int from = HM_MAX(done, 0);
    int to = from + n;
    for (size_t i = 1; i < o->n_words; i++) { /* other words: another window */
        const int at = (int)ceil(o->words[i].at - 1e-9);
        if (at > from && at < to) to = at;
    }
    int pins = 0; /* and no more pictures than a window can see */
    for (int i = 0; i < c->n_pins; i++)
        if (c->pin[i].at > from && c->pin[i].at <= to && ++pins > HM_MAX_EXTRA)
            to = HM_MAX(from + 1, (int)ceil(c->pin[i].at) - 1);
    *w = (window){from - context, 1 + to - (from - context), from, to};
    return true;
}

int hm_canvas_windows(const hm_canvas *c, const hm_canvas_opts *o)
{
    int n = 0, done = -1;
    for (window w; next_window(c, o, done, &w); n++) done = HM_MAX(done, 0) + w.to - w.from + (c->T == 1);
    return n;
}

typedef struct {
    const hm_canvas *c;
    const hm_canvas_opts *o;
    window w;
    int step, n_steps; /* done before this window, of all */
} running;

static void paste(void *user, float *clean, bool last)
{
    const running *r = user;
    hm_canvas_paste(r->c, clean, r->w.w0, r->w.T, last ? 4 : 1);
}

static int on_step(void *user, int step, const float *clean)
{
    const running *r = user;
    return r->o->on_step(r->o->user, r->step + step, r->n_steps, clean, r->w.T);
}

/* The decoded picture at second w0 as a still. */
static himmel_status still_at(const hm_canvas *c, int w0, float *z, himmel_error *err)
{
    const size_t n = 3 * (size_t)(c->gw * c->gh) * HM_BLOCK * HM_BLOCK;
    float *px = malloc(n * sizeof *px);
    himmel_status rc = px ? HIMMEL_OK : HIMMEL_ENOMEM;
    if (!rc) rc = hm_codec_decode(c->m->codec, c->z, c->T, c->gh, c->gw, HM_FPS * w0, 1, px);
    if (!rc) rc = hm_codec_encode_still(c->m->codec, px, c->gh, c->gw, z);
    free(px);
    return rc ? hm_fail(err, rc, "out of memory for a picture") : HIMMEL_OK;
}

/* Room of one window; z and known are what the sampler is given. */
typedef struct { float *z, *extra; uint8_t *known; } room;

/* z, known, extra stills of window w. */
static himmel_status set_up(const hm_canvas *c, const window *w, const room *q, hm_given *g, himmel_error *err)
{
    const size_t area = (size_t)(c->gw * c->gh), frame = area * (size_t)hm_codec_channels(c->m->codec);
    memcpy(q->z, c->z + (size_t)w->w0 * frame, (size_t)w->T * frame * sizeof *q->z);
    for (int j = 0; j < w->T; j++)
        for (size_t b = 0; b < area; b++) {
            const int second = w->w0 + j;
            const bool done = j > 0 && (second <= w->from || second > w->to);
            q->known[(size_t)j * area + b] = done || c->state[(size_t)second * area + b] == 2;
        }
    himmel_status rc = HIMMEL_OK;
    const bool inside = w->w0 > 0;
    if (inside) { /* the still is not the film's: a decoded picture going forward, unknown going backward */
        memset(q->known, !c->backward, area);
        if (!c->backward) rc = still_at(c, w->w0, q->z, err);
    }
    for (int i = 0; i < c->n_pins; i++) {
        const double at = c->pin[i].at - w->w0;
        if (fabs(at) < 1e-6 && !(inside && !c->backward)) {
            memcpy(q->z, c->pin[i].z, frame * sizeof *q->z);
            memset(q->known, 1, area);
        } else if (at > 1e-6 && at <= w->T - 1 + 1e-6 && at > w->from - w->w0 && g->n_extra < HM_MAX_EXTRA) {
            memcpy(q->extra + (size_t)g->n_extra * frame, c->pin[i].z, frame * sizeof *q->extra);
            g->extra_at[g->n_extra++] = at;
        }
    }
    return rc;
}

static bool any_partly(const hm_canvas *c, const window *w)
{
    const size_t area = (size_t)(c->gw * c->gh);
    return c->rgb && memchr(c->state + (size_t)w->w0 * area, 1, (size_t)w->T * area);
}

static himmel_status sample_window(hm_canvas *c, const hm_canvas_opts *o, running *r, const room *q, int number,
                                   hm_sample_cost *cost, himmel_error *err)
{
    const window *w = &r->w;
    const size_t frame = (size_t)(c->gw * c->gh) * (size_t)hm_codec_channels(c->m->codec);
    hm_given g = {.z = q->z, .known = q->known, .start = c->start, .extra = q->extra, .user = r};
    himmel_status rc = set_up(c, w, q, &g, err);
    if (rc) return rc;
    if (any_partly(c, w)) g.paste = paste;
    const hm_sample_opts so = {.prompt = words_at(o, 0.5 * (w->from + w->to)),
                               .negative = o->negative,
                               .given = &g, .keep = o->keep,
                               .seed = number ? hm_mix(o->seed, (uint64_t)number) : o->seed,
                               .steps = o->steps, .guidance = o->guidance,
                               .gw = c->gw, .gh = c->gh, .T = w->T,
                               .on_step = o->on_step ? on_step : NULL, .user = r};
    hm_sample_cost one;
    rc = hm_sample(c->m, &so, o->threads, q->z, &one, err);
    if (rc) return rc;
    const int skip = w->from - w->w0 + 1; /* latent frames of the window that were there before */
    if (w->w0 == 0) memcpy(c->z, q->z, frame * sizeof *c->z);
    memcpy(c->z + (size_t)(w->from + 1) * frame, q->z + (size_t)skip * frame,
           (size_t)(w->to - w->from) * frame * sizeof *c->z);
    cost->text_seconds += one.text_seconds, cost->sample_seconds += one.sample_seconds;
    cost->text_gflop += one.text_gflop, cost->sample_gflop += one.sample_gflop;
    cost->peak_bytes = HM_MAX(cost->peak_bytes, one.peak_bytes);
    return HIMMEL_OK;
}

himmel_status hm_canvas_sample(hm_canvas *c, const hm_canvas_opts *o, hm_sample_cost *cost, himmel_error *err)
{
    const size_t area = (size_t)(c->gw * c->gh), frame = area * (size_t)hm_codec_channels(c->m->codec);
    const size_t most = (size_t)HM_MIN(c->T, HM_H1_MAX_SECONDS + 1);
    const room q = {malloc(most * frame * sizeof(float)), malloc(HM_MAX_EXTRA * frame * sizeof(float)), malloc(most * area)};
    hm_sample_cost sum = {0};
    himmel_status rc = q.z && q.extra && q.known ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "out of memory for latents");
    if (!rc) rc = hm_canvas_encode(c, err);
    running r = {.c = c, .o = o, .n_steps = o->steps * hm_canvas_windows(c, o)};
    for (int i = 0, done = -1; !rc && next_window(c, o, done, &r.w); i++) {
        rc = sample_window(c, o, &r, &q, i, &sum, err);
        done = HM_MAX(done, 0) + r.w.to - r.w.from + (c->T == 1);
        r.step += o->steps;
    }
    if (cost) *cost = sum;
    free(q.z);
    free(q.extra);
    free(q.known);
    return rc;
}
