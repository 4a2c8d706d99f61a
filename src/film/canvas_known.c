/* canvas_known.c - known pixels to tokens, and back into estimates.   SPDX-License-Identifier: MIT
 * A token is known if all pixels of its own second are (the 6 frames that its window shares with each neighbour
 * may be missing: they are filled from the window's own reconstruction, again and again, which converges to the
 * least squares coefficients of the frames that are there), partly known if any pixel of its window is. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "film/canvas.h"

enum { FILL_ROUNDS = 12, FADE = 12 };

static size_t frame_px(const hm_canvas *c)
{
    return (size_t)(HM_BLOCK * c->gw) * (size_t)(HM_BLOCK * c->gh);
}

/* Known pixels of block b in base frame f: 0 none, 1 some, 2 all. */
static int block_known(const hm_canvas *c, int f, int b)
{
    const size_t w = (size_t)(HM_BLOCK * c->gw);
    const uint8_t *k = hm_canvas_known(c, f) + (size_t)(b / c->gw) * HM_BLOCK * w + (size_t)(b % c->gw) * HM_BLOCK;
    int n = 0;
    for (size_t y = 0; y < HM_BLOCK; y++)
        for (size_t x = 0; x < HM_BLOCK; x++) n += k[y * w + x] == HM_PX_KNOWN;
    return n == 0 ? 0 : n == HM_BLOCK * HM_BLOCK ? 2 : 1;
}

static uint8_t token_state(const hm_canvas *c, int j, int b)
{
    if (j == 0) return (uint8_t)block_known(c, 0, b);
    bool all = true, any = false;
    const int first = HM_FPS * (j - 1) + 1;
    for (int f = first - HM_LAP; f < first - HM_LAP + HM_WINDOW; f++) {
        const int k = block_known(c, f, b);
        any |= k > 0;
        if (f >= first && f < first + HM_FPS) all &= k == 2;
    }
    return all ? 2 : any;
}

/* A frame as floats; how many of its pixels are there. */
static size_t load(const hm_canvas *c, int f, float *px)
{
    const uint8_t *rgb = hm_canvas_rgb(c, f), *k = hm_canvas_known(c, f);
    size_t n = 0;
    for (size_t i = 0; i < 3 * frame_px(c); i++) px[i] = (float)rgb[i] * (1 / 255.0f);
    for (size_t i = 0; i < frame_px(c); i++) n += k[i] != HM_PX_NONE;
    return n;
}

/* First guess for pixels that are not there: the nearest frame before that has them, else the one behind. */
static void hold(const hm_canvas *c, int first, float *px)
{
    const size_t n = frame_px(c);
    for (size_t i = 0; i < n; i++) {
        int last = -1;
        for (int f = 0; f < HM_WINDOW; f++)
            if (hm_canvas_known(c, first + f)[i] != HM_PX_NONE) {
                for (int g = last < 0 ? 0 : f; g < f; g++) memcpy(px + 3 * (n * g + i), px + 3 * (n * f + i), 3 * sizeof *px);
                last = f;
            } else if (last >= 0) {
                memcpy(px + 3 * (n * f + i), px + 3 * (n * last + i), 3 * sizeof *px);
            }
        for (int f = 0; last < 0 && f < HM_WINDOW; f++)
            for (int k = 0; k < 3; k++) px[3 * (n * f + i) + k] = 0.5f;
    }
}

/* Window j >= 1 -> its coefficients; px and fit: [36] frames of room. */
static himmel_status encode_window(const hm_canvas *c, int j, float *px, float *fit, float *z)
{
    const int first = HM_FPS * (j - 1) + 1 - HM_LAP;
    const size_t n = frame_px(c);
    size_t there = 0;
    for (int f = 0; f < HM_WINDOW; f++) there += load(c, first + f, px + 3 * n * f);
    if (!there) return HIMMEL_OK;
    if (there < n * HM_WINDOW) hold(c, first, px);
    himmel_status rc = hm_codec_encode(c->m->codec, px, c->gh, c->gw, z);
    for (int r = 0; !rc && there < n * HM_WINDOW && r < FILL_ROUNDS; r++) {
        rc = hm_codec_decode_window(c->m->codec, z, c->gh, c->gw, fit);
        for (int f = 0; !rc && f < HM_WINDOW; f++) {
            const uint8_t *k = hm_canvas_known(c, first + f);
            for (size_t i = 0; i < n; i++)
                if (k[i] == HM_PX_NONE) memcpy(px + 3 * (n * f + i), fit + 3 * (n * f + i), 3 * sizeof *px);
        }
        if (!rc) rc = hm_codec_encode(c->m->codec, px, c->gh, c->gw, z);
    }
    return rc;
}

himmel_status hm_canvas_encode(hm_canvas *c, himmel_error *err)
{
    const size_t n = frame_px(c), area = (size_t)(c->gw * c->gh), K = (size_t)hm_codec_channels(c->m->codec);
    memset(c->z, 0, (size_t)c->T * area * K * sizeof *c->z);
    memset(c->state, 0, (size_t)c->T * area);
    if (!c->rgb) return HIMMEL_OK;
    float *px = malloc(2 * 3 * n * HM_WINDOW * sizeof *px);
    if (!px) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the known pixels");
    himmel_status rc = load(c, 0, px) ? hm_codec_encode_still(c->m->codec, px, c->gh, c->gw, c->z) : HIMMEL_OK;
    for (int j = 0; j < c->T && !rc; j++) {
        for (size_t b = 0; b < area; b++) c->state[(size_t)j * area + b] = token_state(c, j, (int)b);
        if (j) rc = encode_window(c, j, px, px + 3 * n * HM_WINDOW, c->z + (size_t)j * area * K);
    }
    free(px);
    return rc ? hm_fail(err, rc, "out of memory for the known pixels") : HIMMEL_OK;
}

/* ---- paste ---- */

static bool partly_known(const hm_canvas *c, int j)
{
    const int area = c->gw * c->gh;
    for (int b = 0; b < area; b++)
        if (c->state[j * area + b] == 1) return true;
    return false;
}

static bool frame_known(const hm_canvas *c, int f)
{
    return memchr(hm_canvas_known(c, f), HM_PX_KNOWN, frame_px(c)) != NULL;
}

/* d = known - d where pixels are known, elsewhere what that leads to: a step at the border would be drawn as one. */
static void difference(const hm_canvas *c, int f, float *d, float *room)
{
    const uint8_t *rgb = hm_canvas_rgb(c, f), *k = hm_canvas_known(c, f);
    bool any = false, all = true;
    for (size_t i = 0; i < frame_px(c); i++) {
        const bool known = k[i] == HM_PX_KNOWN;
        any |= known, all &= known;
        room[i] = known;
        for (size_t q = 3 * i; q < 3 * i + 3; q++) d[q] = known ? (float)rgb[q] * (1 / 255.0f) - d[q] : 0;
    }
    if (any && !all) hm_fill(d, room, HM_BLOCK * c->gw, HM_BLOCK * c->gh, room + frame_px(c));
}

/* Differences of frames lo..hi of a window from frame `first` on are in px. Those of frames without known pixels, till now
 * 0, fade from the nearest frames that have some: what is new goes on from there, without a step in time. */
static void fade(const hm_canvas *c, int base, int first, int lo, int hi, float *px)
{
    const size_t n = 3 * frame_px(c);
    for (int f = lo; f <= hi; f++) {
        if (frame_known(c, base + f)) continue;
        for (int side = -1; side <= 1; side += 2) {
            int from = f + side;
            while (from >= lo && from <= hi && !frame_known(c, base + from)) from += side;
            if (from < lo || from > hi || abs(from - f) >= FADE) continue;
            const float share = (float)(0.5 + 0.5 * cos(M_PI * abs(from - f) / FADE));
            const float *d = px + n * (size_t)(from - first);
            float *to = px + n * (size_t)(f - first);
            for (size_t i = 0; i < n; i++) to[i] += share * d[i];
        }
    }
}

/* What latent frame w0 + j lacks of the known pixels, as coefficients (with the codec's offset in them). false: it
 * knows none. */
static bool missing(const hm_canvas *c, const float *z, int w0, int T, int j, float *px, float *room, float *out)
{
    const size_t n = 3 * frame_px(c);
    const int base = HM_FPS * w0, last = HM_FPS * (T - 1);
    const int first = j ? HM_FPS * (j - 1) + 1 - HM_LAP : 0, frames = j ? HM_WINDOW : 1;
    int lo = HM_MAX(first, 0), hi = HM_MIN(first + frames - 1, last);
    bool any = false;
    for (int f = lo; f <= hi; f++) any |= frame_known(c, base + f);
    if (!any) return false;
    memset(px, 0, n * (size_t)frames * sizeof *px);
    if (hm_codec_decode_linear(c->m->codec, z, T, c->gh, c->gw, lo, hi - lo + 1, px + n * (size_t)(lo - first))) return false;
    for (int f = lo; f <= hi; f++) difference(c, base + f, px + n * (size_t)(f - first), room);
    fade(c, base, first, lo, hi, px);
    /* frames of the window before the film's first and behind its last: as the nearest one */
    for (int f = first; f < 0 && lo == 0 && j; f++) memcpy(px + n * (size_t)(f - first), px + n * (size_t)(-first), n * sizeof *px);
    for (int f = last + 1; f < first + frames && hi == last; f++)
        memcpy(px + n * (size_t)(f - first), px + n * (size_t)(last - first), n * sizeof *px);
    return !(j ? hm_codec_encode(c->m->codec, px, c->gh, c->gw, out)
               : hm_codec_encode_still(c->m->codec, px, c->gh, c->gw, out));
}

void hm_canvas_paste(const hm_canvas *c, float *z, int w0, int T, int rounds)
{
    const size_t n = 3 * frame_px(c), area = (size_t)(c->gw * c->gh), K = (size_t)hm_codec_channels(c->m->codec);
    if (!c->rgb) return;
    float *px = malloc(n * HM_WINDOW * sizeof *px), *d = malloc(2 * area * K * sizeof *d), *zero = d ? d + area * K : NULL;
    float *room = malloc((frame_px(c) + hm_fill_room(HM_BLOCK * c->gw, HM_BLOCK * c->gh)) * sizeof *room);
    if (px && d) memset(px, 0, n * HM_WINDOW * sizeof *px);
    bool ok = px && d && room && !hm_codec_encode(c->m->codec, px, c->gh, c->gw, zero); /* encoding is affine: what 0 gives */
    for (int r = 0; ok && r < rounds; r++)
        for (int j = 0; j < T; j++) {
            if ((!j && w0) || !partly_known(c, w0 + j) || /* a still inside the film is no token of it */
                !missing(c, z, w0, T, j, px, room, d)) continue;
            const uint8_t *state = c->state + (size_t)(w0 + j) * area;
            for (size_t b = 0; b < area; b++)
                for (size_t k = 0; state[b] <= 1 && k < K; k++)
                    z[((size_t)j * area + b) * K + k] += d[b * K + k] - zero[b * K + k];
        }
    free(px);
    free(d);
    free(room);
}
