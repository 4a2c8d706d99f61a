/* world_cmd.c - `himmel world`: contact sheets, frames, clips and captions of our own footage.
 * SPDX-License-Identifier: MIT
 *   seed, scene JSON or prompt -> scene -renderer-> float frames -dither or colour matrix-> PNG, Y4M, MP4 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/image.h"
#include "train/eval.h"
#include "train/options.h"
#include "world/caption.h"

typedef struct {
    const hm_job *job;
    const char *out, *scene, *prompt;
    int64_t seed, count, columns, width, height, fps;
    double at, seconds;
    bool mirrored;
} world_opts;

/* The scene that the options ask for: JSON, or the prompt's facts and the rest drawn from the seed, or the
 * seed's own. */
static himmel_status pick_scene(const world_opts *o, hm_scene *s, himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    if (o->scene) {
        rc = hm_scene_parse(s, o->scene, err);
    } else if (o->prompt) {
        *s = (hm_scene){0};
        const uint32_t said = hm_caption_parse(o->prompt, s->fact);
        if (!hm_scene_complete(s, said, (uint64_t)o->seed))
            hm_eval_say(o->job, "some of that cannot be together; this is the closest scene that can");
    } else {
        hm_scene_random(s, (uint64_t)o->seed);
    }
    if (!rc && o->mirrored) hm_scene_mirror(s);
    return rc;
}

static void say_scene(const world_opts *o, const hm_scene *s)
{
    char line[1024];
    hm_scene_json(s, line, sizeof line);
    hm_eval_say(o->job, "%s", line);
}

/* One frame in bands of rows, all threads. */
static void render(const hm_renderer *r, int w, int h, double t, float *rgb)
{
    enum { BAND = 24 };
#pragma omp parallel for schedule(dynamic, 1)
    for (int y = 0; y < h; y += BAND) {
        const hm_view v = {w, h, 0, y, w, HM_MIN(BAND, h - y)};
        hm_render(r, &v, t, rgb + (size_t)y * w * 3);
    }
}

static himmel_status sheet(const world_opts *o, himmel_error *err)
{
    hm_sheet s;
    const int n = (int)o->count, w = (int)o->width, h = (int)o->height;
    himmel_status rc = hm_sheet_init(&s, (int)HM_MIN(o->columns, o->count),
                                     (int)((n + o->columns - 1) / o->columns), w, h, err);
    int failed = 0;
#pragma omp parallel for schedule(dynamic, 1) reduction(+ : failed)
    for (int i = 0; i < (rc ? 0 : n); i++) {
        hm_scene scene;
        hm_renderer *r = NULL;
        float *rgb = malloc((size_t)w * h * 3 * sizeof *rgb);
        const hm_view v = {w, h, 0, 0, w, h};
        hm_scene_random(&scene, (uint64_t)o->seed + (uint64_t)i);
        if (rgb && !hm_renderer_new(&r, &scene, NULL)) {
            hm_render(r, &v, o->at, rgb);
            hm_sheet_put(&s, i, rgb);
            hm_renderer_free(r);
        } else {
            failed++;
        }
        free(rgb);
    }
    if (!rc && failed) rc = hm_fail(err, HIMMEL_ENOMEM, "world: out of memory for %d tiles", failed);
    if (!rc) rc = hm_sheet_write(&s, o->out, err);
    hm_sheet_deinit(&s);
    return rc;
}

static himmel_status frame(const world_opts *o, himmel_error *err)
{
    const int w = (int)o->width, h = (int)o->height;
    hm_scene s;
    hm_renderer *r = NULL;
    himmel_status rc = pick_scene(o, &s, err);
    if (rc || (rc = hm_renderer_new(&r, &s, err))) return rc;
    float *rgb = malloc((size_t)w * h * 3 * sizeof *rgb);
    uint8_t *bytes = malloc((size_t)w * h * 3);
    if (rgb && bytes) {
        const hm_frame f = {.kind = HM_FRAME_RGB8, .w = w, .h = h, .plane = {bytes}, .stride = {3 * w}};
        render(r, w, h, o->at, rgb);
        hm_dither8(rgb, w, h, 0, bytes);
        rc = hm_image_write(o->out, &f, NULL, 0, NULL, err);
        say_scene(o, &s);
    } else {
        rc = hm_fail(err, HIMMEL_ENOMEM, "world: out of memory for a frame of %dx%d", w, h);
    }
    hm_renderer_free(r);
    free(rgb);
    free(bytes);
    return rc;
}

/* ---- clips ---- */

typedef struct {
    hm_encoder *mp4;
    FILE *y4m; /* PATH.part until it is complete */
    char part[4096];
    hm_frame f; /* of the Y4M file */
    uint8_t *planes;
} clip_file;

static himmel_status clip_open(clip_file *c, const world_opts *o, himmel_error *err)
{
    const int w = (int)o->width, h = (int)o->height;
    if (!hm_has_ending(o->out, ".y4m")) {
        const hm_encoder_opts e = {.width = w, .height = h, .fps_num = (int)o->fps, .fps_den = 1};
        return hm_encoder_open(&c->mp4, o->out, &e, err);
    }
    const size_t n = (size_t)w * h;
    if ((size_t)snprintf(c->part, sizeof c->part, "%s.part", o->out) >= sizeof c->part)
        return hm_fail(err, HIMMEL_EINVAL, "world: the path is too long");
    c->planes = malloc(n * 3 / 2);
    if (!c->planes) return hm_fail(err, HIMMEL_ENOMEM, "world: out of memory for a frame of %dx%d", w, h);
    c->f = (hm_frame){
        HM_FRAME_YUV420, w, h, {c->planes, c->planes + n, c->planes + n + n / 4}, {w, w / 2, w / 2}};
    c->y4m = fopen(c->part, "wb");
    if (!c->y4m) return hm_fail(err, HIMMEL_EIO, "%s: cannot write: %s", o->out, strerror(errno));
    fprintf(c->y4m, "YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED\n", w, h, (int)o->fps);
    return HIMMEL_OK;
}

static himmel_status clip_push(clip_file *c, hm_scaler *s, const float *rgb, const char *path,
                               himmel_error *err)
{
    if (c->mp4) {
        const hm_frame *f = hm_encoder_frame(c->mp4, err);
        if (!f) return HIMMEL_ENOMEM;
        hm_scale(s, rgb, HM_PIX_F32, f);
        return hm_encoder_push(c->mp4, err);
    }
    hm_scale(s, rgb, HM_PIX_F32, &c->f);
    const size_t n = (size_t)c->f.w * c->f.h * 3 / 2;
    if (fputs("FRAME\n", c->y4m) < 0 || fwrite(c->planes, 1, n, c->y4m) != n)
        return hm_fail(err, HIMMEL_EIO, "%s: cannot write: %s", path, strerror(errno));
    return HIMMEL_OK;
}

static himmel_status clip_finish(clip_file *c, const char *path, himmel_error *err)
{
    if (c->mp4) return hm_encoder_finish(c->mp4, NULL, err);
    const int bad = fclose(c->y4m);
    c->y4m = NULL;
    if (bad || rename(c->part, path))
        return hm_fail(err, HIMMEL_EIO, "%s: cannot write: %s", path, strerror(errno));
    c->part[0] = 0;
    return HIMMEL_OK;
}

static void clip_close(clip_file *c)
{
    hm_encoder_free(c->mp4);
    if (c->y4m) fclose(c->y4m);
    if (c->part[0]) remove(c->part);
    free(c->planes);
}

static himmel_status clip(const world_opts *o, himmel_error *err)
{
    const int w = (int)o->width, h = (int)o->height, n = (int)(o->seconds * (double)o->fps + 0.5);
    if (w % 2 || h % 2) return hm_fail(err, HIMMEL_EINVAL, "world: a clip of %dx%d has an odd side", w, h);
    const hm_scale_opts so = {.src_w = w, .src_h = h, .out_w = w, .out_h = h, .kind = HM_FRAME_YUV420};
    clip_file c = {0};
    hm_scene s;
    hm_renderer *r = NULL;
    hm_scaler *scaler = NULL;
    float *rgb = malloc((size_t)w * h * 3 * sizeof *rgb);
    himmel_status rc =
        rgb ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "world: out of memory for a frame of %dx%d", w, h);
    if (!rc) rc = pick_scene(o, &s, err);
    if (!rc) rc = hm_renderer_new(&r, &s, err);
    if (!rc) rc = hm_scaler_new(&scaler, &so, err);
    if (!rc) rc = clip_open(&c, o, err);
    const double t0 = hm_now();
    for (int i = 0; !rc && i < n; i++) {
        render(r, w, h, o->at + (double)i / (double)o->fps, rgb);
        rc = clip_push(&c, scaler, rgb, o->out, err);
        if (!rc && hm_job_step(o->job, "world clip", i + 1, n, (hm_now() - t0) / (i + 1) * (n - i - 1), ""))
            rc = hm_fail(err, HIMMEL_ECANCELLED, "stopped after %d of %d frames; nothing was written", i + 1,
                         n);
    }
    if (!rc) rc = clip_finish(&c, o->out, err);
    if (!rc) say_scene(o, &s);
    clip_close(&c);
    hm_scaler_free(scaler);
    if (r) hm_renderer_free(r);
    free(rgb);
    return rc;
}

/* ---- words ---- */

static himmel_status caption(const world_opts *o, himmel_error *err)
{
    for (int64_t i = 0; i < o->count; i++) {
        world_opts one = *o;
        hm_scene s;
        char text[1024];
        one.seed += i;
        const himmel_status rc = pick_scene(&one, &s, err);
        if (rc) return rc;
        say_scene(o, &s);
        for (int l = 0; l < HM_N_LANGS; l++) {
            const hm_caption_opts c = {.lang = (hm_lang)l, .say = hm_caption_sayable(&s)};
            hm_caption(text, sizeof text, &s, &c, (uint64_t)one.seed, NULL);
            hm_eval_say(o->job, "  %s", text);
        }
    }
    return HIMMEL_OK;
}

HIMMEL_API himmel_status himmel_world(const char *what, const himmel_option *opts, size_t n_opts,
                                      himmel_progress_fn *on_progress, void *user, himmel_error *err)
{
    static const struct {
        const char *name;
        himmel_status (*run)(const world_opts *o, himmel_error *err);
        int64_t width, height, count;
        const char *endings[4], *files;
    } part[] = {{"sheet", sheet, 256, 144, 24, {".png", ".jpg", ".webp"}, ".png, .jpg or .webp"},
                {"frame", frame, 1920, 1080, 1, {".png", ".jpg", ".webp"}, ".png, .jpg or .webp"},
                {"clip", clip, 1280, 720, 1, {".mp4", ".y4m"}, ".mp4 or .y4m"},
                {"caption", caption, 0, 0, 8, {NULL}, ""}};
    const hm_job job = {opts, n_opts, on_progress, user};
    for (size_t i = 0; what && i < HM_COUNT(part); i++) {
        if (strcmp(what, part[i].name)) continue;
        world_opts o = {.job = &job,
                        .count = part[i].count,
                        .columns = 6,
                        .width = part[i].width,
                        .height = part[i].height,
                        .fps = 24,
                        .at = part[i].run == clip ? 0 : 5,
                        .seconds = 10};
        const hm_option_spec spec[] = {{"out", HM_O_STR, &o.out, 0, 0},
                                       {"seed", HM_O_INT, &o.seed, 0, 1e15},
                                       {"scene", HM_O_STR, &o.scene, 0, 0},
                                       {"prompt", HM_O_STR, &o.prompt, 0, 0},
                                       {"count", HM_O_INT, &o.count, 1, 10000},
                                       {"columns", HM_O_INT, &o.columns, 1, 100},
                                       {"width", HM_O_INT, &o.width, 16, 8192},
                                       {"height", HM_O_INT, &o.height, 16, 8192},
                                       {"fps", HM_O_INT, &o.fps, 1, 120},
                                       {"at", HM_O_REAL, &o.at, -100, 100},
                                       {"seconds", HM_O_REAL, &o.seconds, 0.05, 100},
                                       {"mirrored", HM_O_FLAG, &o.mirrored, 0, 0}};
        himmel_status rc = hm_options_parse("world", spec, HM_COUNT(spec), opts, n_opts, err);
        bool fits = !part[i].endings[0];
        for (int k = 0; o.out && part[i].endings[k]; k++) fits |= hm_has_ending(o.out, part[i].endings[k]);
        if (!rc && !fits)
            rc = hm_fail(err, HIMMEL_EINVAL, "world %s: --out FILE is needed, ending in %s", what,
                         part[i].files);
        return rc ? rc : part[i].run(&o, err);
    }
    return hm_fail(err, HIMMEL_EINVAL,
                   "world: cannot make \"%.40s\"; there are sheet, frame, clip and caption",
                   what ? what : "");
}
