/* canvas.h - a film of any length on the model's grid, parts of which are known.   SPDX-License-Identifier: MIT
 *   known pixels -codec-> known tokens     words + known tokens -sampler, window after window-> latents of all
 * Every tool is a canvas: extending knows whole seconds at one end, blending at both, inpainting knows the
 * pixels outside a mask, remixing knows nothing and starts from what was there, pins are pictures at a time.
 * A window is a still and at most 10 seconds; each one after the first sees up to HM_CONTEXT seconds of what is
 * done. Memory: 4 bytes a base pixel and frame (0.15 MB at 256x144) if there are known pixels, and the latents. */
#ifndef HM_CANVAS_H
#define HM_CANVAS_H

#include "film/film.h"

enum { HM_CONTEXT = 4, HM_MAX_PINS = HIMMEL_MAX_CARDS, HM_BEFORE = HM_LAP - 1 };
enum { HM_PX_NONE = 0, HM_PX_GIVEN = 1, HM_PX_KNOWN = 255 }; /* given: to start from, not to keep */

typedef struct {
    double at; /* seconds */
    float *z;  /* [gh*gw*K] of the still; the canvas's */
} hm_pin;

typedef struct {
    const hm_himmel1 *m;
    int gw, gh, T;       /* T: the still and all seconds, up to 1 + HIMMEL_MAX_SECONDS */
    int n_frames;        /* in rgb and known: base frames -HM_BEFORE .. 24(T-1)+HM_LAP */
    uint8_t *rgb;        /* [n_frames][16gh][16gw][3], NULL: nothing is known */
    uint8_t *known;      /* [n_frames][16gh][16gw] HM_PX_* */
    double start;        /* noise level to start from where pixels are given, 1 = from noise alone */
    bool backward;       /* the known seconds are at the end: windows go from there to the start */
    int n_pins;
    hm_pin pin[HM_MAX_PINS];
    float *z;            /* [T*gh*gw*K] the result */
    uint8_t *state;      /* [T*gh*gw] of the tokens: 0 unknown, 1 partly known, 2 known */
} hm_canvas;

himmel_status hm_canvas_init(hm_canvas *c, const hm_himmel1 *m, int gw, int gh, int T, bool pixels, himmel_error *err);
void hm_canvas_deinit(hm_canvas *c); /* an all-zero one is fine */
/* Base frame f, -HM_BEFORE .. 24(T-1)+HM_LAP: where its pixels and what is known of them go. */
uint8_t *hm_canvas_rgb(const hm_canvas *c, int f);
uint8_t *hm_canvas_known(const hm_canvas *c, int f);
/* A picture rgb8 [16gh][16gw][3] stands at `at` seconds, later than those before. EINVAL: more than HM_MAX_PINS. */
himmel_status hm_canvas_pin(hm_canvas *c, double at, const uint8_t *rgb, himmel_error *err);

/* What holds from a second on. */
typedef struct { double at; const char *prompt; } hm_words;
typedef struct {
    const hm_words *words; /* ascending; the first one at 0 */
    size_t n_words;
    const char *negative;
    uint64_t seed;
    int steps;
    double guidance;
    int threads;
    hm_keep *keep;         /* as hm_sample's */
    /* After each of n steps (of all windows together): the estimate [T][gh][gw][K] of the window; not 0 stops. */
    int (*on_step)(void *user, int step, int n, const float *clean, int T);
    void *user;
} hm_canvas_opts;
/* Number of windows that hm_canvas_sample takes. */
int hm_canvas_windows(const hm_canvas *c, const hm_canvas_opts *o);
/* Fills c->z. cost may be NULL. */
himmel_status hm_canvas_sample(hm_canvas *c, const hm_canvas_opts *o, hm_sample_cost *cost, himmel_error *err);

/* Pieces, for canvas.c and tests (canvas_known.c). */

/* c->z and c->state from the pixels. */
himmel_status hm_canvas_encode(hm_canvas *c, himmel_error *err);
/* Pull the partly known tokens of latents z [T][gh][gw][K], seconds w0.. of the canvas (z[0] is the picture at
 * second w0), towards the known pixels, rounds times. */
void hm_canvas_paste(const hm_canvas *c, float *z, int w0, int T, int rounds);
/* fill.c: px [H][W][3] where weight [H][W] (0..1) is below 1, smoothly from where it is not; room: hm_fill_room floats. */
void hm_fill(float *px, const float *weight, int W, int H, float *room);
size_t hm_fill_room(int W, int H);

#endif
