/* edit_inputs.h - films, pictures and masks for the tests of editing, and what
 * must have stayed of them. SPDX-License-Identifier: MIT */
#ifndef EDIT_INPUTS_H
#define EDIT_INPUTS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "media/decode.h"
#include "media/encode.h"
#include "media/image.h"
#include "media/scale.h"
#include "temp.h"

enum { W = 96, H = 64, FRAMES = 40 };

/* ---- inputs ---- */

/* A soft slope that moves, bright enough to be told from anything else. */
static inline void draw(uint8_t *rgb, int w, int h, int frame, int base)
{
    for (int i = 0; i < w * h; i++)
        for (int k = 0; k < 3; k++) rgb[3 * i + k] = (uint8_t)(base + (i % w + 2 * frame) / 3 % 60 + i / w / 4 + 10 * k);
}

static inline himmel_status sine(void *user, int64_t from, int n, float *lr, himmel_error *err)
{
    (void)user, (void)err;
    for (int i = 0; i < n; i++)
        lr[2 * i] = lr[2 * i + 1] = 0.25f * (float)sin((double)(from + i) * 2 * M_PI * 440 / HM_SOUND_RATE);
    return HIMMEL_OK;
}

static inline void make_film(const char *path, int frames, int base, bool sound)
{
    hm_encoder *e;
    himmel_error err = {0};
    const hm_encoder_opts o = {.width = W, .height = H, .fps_num = 24, .fps_den = 1, .sound = sound ? sine : NULL};
    const hm_scale_opts so = {.src_w = W, .src_h = H, .out_w = W, .out_h = H, .kind = HM_FRAME_YUV420};
    static uint8_t rgb[3 * W * H];
    hm_scaler *s;
    CHECK(!hm_encoder_open(&e, path, &o, &err) && !hm_scaler_new(&s, &so, &err), "%s", err.message);
    for (int i = 0; i < frames; i++) {
        draw(rgb, W, H, i, base);
        hm_scale(s, rgb, HM_PIX_U8, hm_encoder_frame(e, &err));
        hm_encoder_push(e, &err);
    }
    CHECK(!hm_encoder_finish(e, NULL, &err), "%s", err.message);
    hm_encoder_free(e);
    hm_scaler_free(s);
}

static inline void make_picture(const char *path, int w, int h, int base)
{
    uint8_t *rgb = malloc(3 * (size_t)w * (size_t)h);
    draw(rgb, w, h, 0, base);
    const hm_frame f = {HM_FRAME_RGB8, w, h, {rgb}, {3 * w}};
    CHECK(!hm_image_write(path, &f, NULL, 0, NULL, NULL), "%s", path);
    free(rgb);
}

/* White in x0..x1 of a w x h picture. */
static inline void make_mask(const char *path, int w, int h, int x0, int x1)
{
    uint8_t *rgb = calloc(3 * (size_t)w, (size_t)h);
    for (int i = 0; i < w * h; i++)
        if (i % w >= x0 && i % w < x1) memset(rgb + 3 * i, 255, 3);
    const hm_frame f = {HM_FRAME_RGB8, w, h, {rgb}, {3 * w}};
    CHECK(!hm_image_write(path, &f, NULL, 0, NULL, NULL), "%s", path);
    free(rgb);
}

/* All frames of a file, [n][h][w][3]; malloc'ed. */
static inline uint8_t *frames_of(const char *path, int *n, hm_media_info *info)
{
    hm_decoder *d;
    himmel_error err = {0};
    uint8_t *all = NULL;
    bool done = false;
    *n = 0;
    if (hm_decoder_open(&d, path, &err)) {
        CHECK(0, "%s", err.message);
        return calloc(1, 3 * 256 * 256);
    }
    *info = *hm_decoder_info(d);
    const size_t px = 3 * (size_t)info->width * (size_t)info->height;
    for (;; ++*n) {
        all = realloc(all, px * (size_t)(*n + 1));
        if (hm_decoder_next(d, all + px * (size_t)*n, NULL, &done, &err) || done) break;
    }
    hm_decoder_free(d);
    return all;
}

static inline double mean_difference(const uint8_t *a, const uint8_t *b)
{
    double sum = 0;
    for (int i = 0; i < 3 * W * H; i++) sum += abs(a[i] - b[i]);
    return sum / (3 * W * H);
}

static inline himmel_request request(const char *output)
{
    himmel_request r = himmel_request_default();
    r.prompt = "sunset over a calm sea", r.output = output;
    r.width = r.height = r.fps_num = 0;
    r.steps = 2, r.guidance = 1, r.seed = 3, r.visible_mark = 0;
    r.seconds = 1;
    return r;
}

/* A film of `frames` at output: frames at.. are those of the input, as far as
 * an encoder keeps them. */
static inline void check_passed_through(const char *output, const char *input, int at, int frames)
{
    int n, n_in;
    hm_media_info info;
    uint8_t *is = frames_of(output, &n, &info), *was = frames_of(input, &n_in, &info);
    CHECK(n == frames, "%s: %d frames, not %d", output, n, frames);
    double worst = 0;
    for (int i = 0; i < n_in && at + i < n; i++)
        worst = fmax(worst, mean_difference(is + (size_t)3 * W * H * (size_t)(at + i), was + (size_t)3 * W * H * (size_t)i));
    CHECK(worst < 3, "%s: frames of the input differ by %.2f", output, worst);
    free(is), free(was);
}

#endif
