/* bench_edit.c - the editing tools on held-out scenes of the renderer, for tools/bench_edit.sh.
 * SPDX-License-Identifier: MIT
 *   bench_edit MODEL PROBE FOLDER N [TOOLS]     a line "tool figure scene value" for each; films stay in FOLDER
 * TOOLS: first letters of animate, join, inpaint, remix, blend (and storyboard); all without.
 * Scene i shows a hot-air balloon; the same scene without it gives the mask (where they differ) and the footage that the
 * balloon is painted into. Films are 3 s at 24 fps, 512 x 288, made without mark; 8 fps where only the probe looks.
 * What is compared is decoded from the files, coded nearly exactly: at the usual rate factor the key frame at the start
 * of a film alone steps by more than calm footage does. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "film/film.h"
#include "media/decode.h"
#include "media/image.h"
#include "train/metrics.h"
#include "train/probe.h"
#include "world/caption.h"

enum { W = 512, H = 288, PX = 3 * W * H, FRAMES = 72, SLOW = 8, GROW = 8, CRF = 4 };

typedef struct { uint8_t *rgb; int n; double fps; } film; /* [n][H][W][3] */

typedef struct {
    himmel_ctx *ctx;
    hm_probe *probe;
    const char *folder, *tools;
    int scene;
    char path[4][512];
} bench;

static void must(himmel_status rc, const himmel_error *err)
{
    if (!rc) return;
    fprintf(stderr, "bench_edit: %s\n", err->message);
    exit(1);
}

static void say(const bench *b, const char *tool, const char *figure, double v)
{
    printf("%s %s %d %.5g\n", tool, figure, b->scene, v);
    fflush(stdout);
}

static const char *file(bench *b, int slot, const char *name)
{
    snprintf(b->path[slot], sizeof b->path[slot], "%s/%d-%s", b->folder, b->scene, name);
    return b->path[slot];
}

/* ---- films ---- */

static film render(const hm_scene *s, int n)
{
    himmel_error err;
    hm_renderer *r;
    const hm_view v = {W, H, 0, 0, W, H};
    film f = {malloc((size_t)n * PX), n, HM_FPS};
    must(hm_renderer_new(&r, s, &err), &err);
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < n; i++) {
        float *rgb = malloc(PX * sizeof *rgb);
        hm_render(r, &v, 2 + (double)i / HM_FPS, rgb);
        hm_dither8(rgb, W, H, (uint32_t)i, f.rgb + (size_t)i * PX);
        free(rgb);
    }
    hm_renderer_free(r);
    return f;
}

static void write_film(const film *f, const char *path)
{
    himmel_error err;
    hm_encoder *e;
    hm_scaler *s;
    const hm_encoder_opts o = {.width = W, .height = H, .fps_num = HM_FPS, .fps_den = 1, .crf = CRF};
    const hm_scale_opts so = {.src_w = W, .src_h = H, .out_w = W, .out_h = H, .kind = HM_FRAME_YUV420};
    must(hm_encoder_open(&e, path, &o, &err), &err);
    must(hm_scaler_new(&s, &so, &err), &err);
    for (int i = 0; i < f->n; i++) {
        hm_scale(s, f->rgb + (size_t)i * PX, HM_PIX_U8, hm_encoder_frame(e, &err));
        must(hm_encoder_push(e, &err), &err);
    }
    must(hm_encoder_finish(e, NULL, &err), &err);
    hm_encoder_free(e);
    hm_scaler_free(s);
}

static void write_picture(const uint8_t *rgb, const char *path)
{
    himmel_error err;
    uint8_t *copy = malloc(PX);
    memcpy(copy, rgb, PX);
    const hm_frame f = {HM_FRAME_RGB8, W, H, {copy}, {3 * W}};
    must(hm_image_write(path, &f, NULL, 0, NULL, &err), &err);
    free(copy);
}

static film read_film(const char *path)
{
    himmel_error err;
    hm_decoder *d;
    film f = {0};
    bool done = false;
    must(hm_decoder_open(&d, path, &err), &err);
    const hm_media_info *i = hm_decoder_info(d);
    if (i->width != W || i->height != H) exit(1);
    f.fps = i->fps_num ? (double)i->fps_num / i->fps_den : 1;
    for (;; f.n++) {
        f.rgb = realloc(f.rgb, (size_t)(f.n + 1) * PX);
        must(hm_decoder_next(d, f.rgb + (size_t)f.n * PX, NULL, &done, &err), &err);
        if (done) break;
    }
    hm_decoder_free(d);
    return f;
}

/* ---- figures ---- */

static double apart(const uint8_t *a, const uint8_t *b)
{
    int64_t sum = 0;
    for (int i = 0; i < PX; i++) sum += abs(a[i] - b[i]);
    return (double)sum / PX;
}

static double psnr(const uint8_t *a, const uint8_t *b)
{
    double sum = 1e-9;
    for (int i = 0; i < PX; i++) sum += (double)(a[i] - b[i]) * (a[i] - b[i]);
    return 10 * log10(255.0 * 255 * PX / sum);
}

/* As apart, of means of 4 x 4 pixels: the encoder's key frames alone change single pixels by 1.0, ten times what calm
 * footage does. */
static double apart4(const uint8_t *a, const uint8_t *b)
{
    int64_t sum = 0;
    for (int y = 0; y < H; y += 4)
        for (int x = 0; x < 3 * W; x += 12)
            for (int c = 0; c < 3; c++) {
                int d = 0;
                for (int i = 0; i < 16; i++) {
                    const size_t at = (size_t)(3 * W) * (size_t)(y + i / 4) + (size_t)(x + 3 * (i % 4) + c);
                    d += a[at] - b[at];
                }
                sum += abs(d);
            }
    return (double)sum / PX;
}

/* The step from frame `at` to the next relative to the median of the n steps on each side of it; behind the last frame
 * comes the first. */
static double seam(const film *f, int at, int n, bool round)
{
    double side[64], across = 0;
    int k = 0;
    for (int i = at - n; i <= at + n && k < 64; i++) {
        if (!round && (i < 0 || i + 1 >= f->n)) continue;
        const double d = apart4(f->rgb + (size_t)((i + f->n) % f->n) * PX, f->rgb + (size_t)((i + 1 + f->n) % f->n) * PX);
        if (i == at) across = d;
        else side[k++] = d;
    }
    return across / HM_MAX(hm_median(side, k), 0.02);
}

/* Frame `at` of f, a quarter as large. */
static void small_frame(const film *f, int at, uint8_t *to)
{
    const uint8_t *px = f->rgb + (size_t)HM_MIN(f->n - 1, at) * PX;
    for (int y = 0; y < HM_PROBE_H; y++)
        for (int x = 0; x < 3 * HM_PROBE_W; x++) {
            int sum = 0;
            for (int v = 0; v < 4; v++)
                for (int u = 0; u < 4; u++) sum += px[3 * ((4 * y + v) * W + 4 * (x / 3) + u) + x % 3];
            *to++ = (uint8_t)((sum + 8) / 16);
        }
}

/* What the probe sees in three seconds of a film from frame `from` on. */
static void look(bench *b, const film *f, int from, uint8_t fact[HM_N_FACTS])
{
    himmel_error err;
    static uint8_t clip[HM_PROBE_CLIP_BYTES], out[1][HM_N_FACTS];
    for (int k = 0; k < HM_PROBE_FRAMES; k++)
        small_frame(f, from + (int)lround(hm_probe_frame(k) * f->fps / HM_FPS), clip + (size_t)k * HM_PROBE_FRAME_BYTES);
    must(hm_probe_look(b->probe, clip, 1, out, NULL, &err), &err);
    memcpy(fact, out[0], HM_N_FACTS);
}

/* Brightness of frame `at`, means of 4 x 4 pixels. */
static void brightness(const film *f, int at, float *y)
{
    static uint8_t rgb[HM_PROBE_FRAME_BYTES];
    small_frame(f, at, rgb);
    for (int i = 0; i < HM_PROBE_H * HM_PROBE_W; i++)
        y[i] = 0.2126f * rgb[3 * i] + 0.7152f * rgb[3 * i + 1] + 0.0722f * rgb[3 * i + 2];
}

/* How fast what can be seen moves between frames from and to: optical flow of 8 x 8 cells of the small frames by least
 * squares (Lucas and Kanade 1981; what a cell changes as a whole is light, not motion), held back by a ridge where there
 * is nothing to see; the mean of its length, weighted by gradient energy, in pixels of the small frames a second. mask: only
 * cells in whose middle it is white; NULL: all. */
static double flow(const film *f, int from, int to, const film *mask)
{
    enum { CELL = 8, PIXELS = CELL * CELL };
    const double ridge = 0.2 * PIXELS;
    static float a[HM_PROBE_H][HM_PROBE_W], b[HM_PROBE_H][HM_PROBE_W];
    double sum = 0, weight = 0;
    for (int i = from; i + 1 < to; i++) {
        brightness(f, i, a[0]), brightness(f, i + 1, b[0]);
        for (int cy = 0; cy < HM_PROBE_H; cy += CELL)
            for (int cx = 0; cx < HM_PROBE_W; cx += CELL) {
                if (mask && !mask->rgb[3 * (4 * (cy + CELL / 2) * W + 4 * (cx + CELL / 2))]) continue;
                double xx = 0, xy = 0, yy = 0, xt = 0, yt = 0, gx = 0, gy = 0, gt = 0;
                for (int y = HM_MAX(cy, 1); y < HM_MIN(cy + CELL, HM_PROBE_H - 1); y++)
                    for (int x = HM_MAX(cx, 1); x < HM_MIN(cx + CELL, HM_PROBE_W - 1); x++) {
                        const double dx = 0.25 * (a[y][x + 1] - a[y][x - 1] + b[y][x + 1] - b[y][x - 1]);
                        const double dy = 0.25 * (a[y + 1][x] - a[y - 1][x] + b[y + 1][x] - b[y - 1][x]);
                        const double dt = b[y][x] - a[y][x];
                        xx += dx * dx, xy += dx * dy, yy += dy * dy, xt += dx * dt, yt += dy * dt;
                        gx += dx, gy += dy, gt += dt;
                    }
                xx -= gx * gx / PIXELS, xy -= gx * gy / PIXELS, yy -= gy * gy / PIXELS;
                xt -= gx * gt / PIXELS, yt -= gy * gt / PIXELS;
                const double det = (xx + ridge) * (yy + ridge) - xy * xy;
                sum += (xx + yy) * hypot((yy + ridge) * xt - xy * yt, (xx + ridge) * yt - xy * xt) / det;
                weight += xx + yy;
            }
    }
    return f->fps * sum / HM_MAX(weight, 1e-9);
}

/* As many frames a second of f as films have where only the probe looks. */
static film thinned(const film *f)
{
    const int every = HM_FPS / SLOW;
    film g = {malloc((size_t)(f->n / every) * PX), f->n / every, SLOW};
    for (int i = 0; i < g.n; i++) memcpy(g.rgb + (size_t)i * PX, f->rgb + (size_t)(every * i) * PX, PX);
    return g;
}

/* ---- tools ---- */

static film edit(bench *b, himmel_edit *e, const char *prompt, double seconds, int fps, const char *name)
{
    himmel_error err;
    himmel_request r = himmel_request_default();
    r.prompt = prompt, r.output = file(b, 3, name);
    r.width = W, r.height = H, r.fps_num = fps, r.seconds = seconds;
    r.visible_mark = 0, r.seed = (uint64_t)b->scene + 1, r.crf = CRF;
    must(himmel_edit_run(b->ctx, &r, e, NULL, &err), &err);
    return read_film(r.output);
}

static void animate(bench *b, const film *truth, const char *caption)
{
    const himmel_card card = {.at = 0, .picture = file(b, 1, "first.png")};
    himmel_edit e = himmel_edit_default();
    write_picture(truth->rgb, card.picture);
    e.cards = &card, e.n_cards = 1;
    film f = edit(b, &e, caption, 3, 24, "animate.mp4");
    say(b, "animate", "psnr", psnr(f.rgb, truth->rgb));
    say(b, "animate", "flow", flow(&f, 0, f.n, NULL) / flow(truth, 0, FRAMES, NULL));
    free(f.rgb);
}

static void join(bench *b, const film *truth, const char *path, const char *caption)
{
    const himmel_clip clip = {.path = path};
    himmel_edit e = himmel_edit_default();
    uint8_t was[HM_N_FACTS], is[HM_N_FACTS];
    e.mode = HIMMEL_EDIT_JOIN, e.clips = &clip, e.n_clips = 1, e.after = 3;
    film f = edit(b, &e, caption, 1, 24, "extend.mp4");
    say(b, "extend", "seam", seam(&f, FRAMES - 1, 12, false));
    say(b, "extend", "flow", flow(&f, FRAMES, f.n, NULL) / flow(truth, 0, FRAMES, NULL));
    look(b, &f, 0, was), look(b, &f, FRAMES, is);
    static const hm_fact kept[] = {HM_FACT_TIME, HM_FACT_WEATHER, HM_FACT_PLACE, HM_FACT_SUBJECT, HM_FACT_SIDE};
    for (size_t i = 0; i < HM_COUNT(kept); i++) say(b, "extend", hm_fact_name(kept[i]), was[kept[i]] == is[kept[i]]);
    free(f.rgb);
    e.after = 3, e.loop = 1;
    f = edit(b, &e, caption, 1, 24, "loop.mp4");
    say(b, "loop", "seam", seam(&f, f.n - 1, 12, true));
    say(b, "loop", "start", seam(&f, FRAMES - 1, 12, false));
    say(b, "loop", "flow", flow(&f, FRAMES, f.n, NULL) / flow(truth, 0, FRAMES, NULL));
    free(f.rgb);
}

/* A way from the scene to another one, between their films and between their pictures. */
static void blend(bench *b, const film *truth, const char *path, const hm_scene *other, const char *caption)
{
    film g = render(other, FRAMES);
    const char *second = file(b, 1, "other.png");
    const himmel_card cards[2] = {{.at = 0, .picture = file(b, 0, "first.png")}, {.at = 3, .picture = second}};
    himmel_edit e = himmel_edit_default();
    write_picture(truth->rgb, cards[0].picture);
    write_picture(g.rgb, second);
    e.cards = cards, e.n_cards = 2;
    film f = edit(b, &e, caption, 4, 24, "board.mp4");
    say(b, "board", "first", psnr(f.rgb, truth->rgb));
    const double both = (flow(truth, 0, FRAMES, NULL) + flow(&g, 0, FRAMES, NULL)) / 2;
    say(b, "board", "flow", flow(&f, 0, f.n, NULL) / both);
    say(b, "board", "second", psnr(f.rgb + (size_t)FRAMES * PX, g.rgb));
    free(f.rgb);
    write_film(&g, file(b, 1, "other.mp4"));
    const himmel_clip clips[2] = {{.path = path}, {.path = b->path[1]}};
    e = himmel_edit_default();
    e.mode = HIMMEL_EDIT_JOIN, e.clips = clips, e.n_clips = 2, e.between = 2;
    f = edit(b, &e, caption, 1, 24, "blend.mp4");
    say(b, "blend", "flow", flow(&f, FRAMES, f.n - FRAMES, NULL) / both);
    say(b, "blend", "leaves", seam(&f, FRAMES - 1, 12, false));
    say(b, "blend", "arrives", seam(&f, f.n - FRAMES - 1, 12, false));
    say(b, "blend", "first", psnr(f.rgb + (size_t)(FRAMES - 1) * PX, truth->rgb + (size_t)(FRAMES - 1) * PX));
    say(b, "blend", "second", psnr(f.rgb + (size_t)(f.n - FRAMES) * PX, g.rgb));
    free(f.rgb), free(g.rgb);
}

/* White where the films differ at any time, grown by GROW pixels. */
static void write_mask(const film *a, const film *c, const char *path)
{
    uint8_t *mask = calloc(PX, 1);
    for (int i = 0; i < W * H; i++) {
        int most = 0;
        for (int f = 0; f < FRAMES; f += 3)
            for (int k = 0; k < 3; k++)
                most = HM_MAX(most, abs(a->rgb[(size_t)f * PX + (size_t)(3 * i + k)] - c->rgb[(size_t)f * PX + (size_t)(3 * i + k)]));
        if (most < 16) continue;
        for (int y = HM_MAX(0, i / W - GROW); y <= HM_MIN(H - 1, i / W + GROW); y++)
            memset(mask + 3 * (y * W + HM_MAX(0, i % W - GROW)), 255, 3 * (size_t)(HM_MIN(W - 1, i % W + GROW) - HM_MAX(0, i % W - GROW) + 1));
    }
    write_picture(mask, path);
    free(mask);
}

static void inpaint(bench *b, const film *truth, const char *with, const char *without)
{
    himmel_clip clip = {.path = with};
    himmel_edit e = himmel_edit_default();
    uint8_t is[HM_N_FACTS];
    e.mode = HIMMEL_EDIT_CHANGE, e.clips = &clip, e.n_clips = 1, e.mask = file(b, 2, "mask.png");
    film f = edit(b, &e, "clear sky", 1, SLOW, "remove.mp4");
    look(b, &f, 0, is);
    say(b, "remove", "gone", is[HM_FACT_SUBJECT] != HM_SUBJECT_BALLOON);
    free(f.rgb);
    clip.path = without;
    f = edit(b, &e, "a red hot-air balloon", 1, SLOW, "inpaint.mp4");
    look(b, &f, 0, is);
    say(b, "inpaint", "found", is[HM_FACT_SUBJECT] == HM_SUBJECT_BALLOON);
    film mask = read_film(e.mask), slow = thinned(truth);
    say(b, "inpaint", "flow", flow(&f, 0, f.n, &mask) / flow(&slow, 0, slow.n, &mask));
    free(f.rgb), free(mask.rgb), free(slow.rgb);
}

/* A picture instead of a film, as PNG: no encoder between what is compared. */
static void inpaint_picture(bench *b, const film *truth)
{
    himmel_error err;
    const himmel_clip clip = {.path = file(b, 1, "first.png")};
    himmel_edit e = himmel_edit_default();
    himmel_request r = himmel_request_default();
    write_picture(truth->rgb, clip.path);
    e.mode = HIMMEL_EDIT_CHANGE, e.clips = &clip, e.n_clips = 1, e.mask = file(b, 2, "mask.png");
    r.kind = HIMMEL_IMAGE, r.prompt = "clear sky", r.output = file(b, 3, "remove.png"), r.width = W, r.height = H;
    r.visible_mark = 0;
    must(himmel_edit_run(b->ctx, &r, &e, NULL, &err), &err);
    film is = read_film(r.output), mask = read_film(e.mask);
    int most = 0;
    for (int i = 0; i < PX; i++)
        if (!mask.rgb[i]) most = HM_MAX(most, abs(is.rgb[i] - truth->rgb[i]));
    say(b, "inpaint", "outside", most);
    free(is.rgb), free(mask.rgb);
}

static void remix(bench *b, const char *path, const hm_scene *other, const char *caption)
{
    static const struct { const char *name; double v; } strength[] = {{"subtle", HIMMEL_STRENGTH_SUBTLE}, {"mild", HIMMEL_STRENGTH_MILD}, {"strong", HIMMEL_STRENGTH_STRONG}};
    const himmel_clip clip = {.path = path};
    film was = read_film(path), there = render(other, FRAMES), slow = thinned(&there);
    const double moves = flow(&slow, 0, slow.n, NULL);
    for (size_t k = 0; k < HM_COUNT(strength); k++) {
        himmel_edit e = himmel_edit_default();
        uint8_t is[HM_N_FACTS];
        char name[32];
        e.mode = HIMMEL_EDIT_CHANGE, e.clips = &clip, e.n_clips = 1, e.strength = strength[k].v;
        snprintf(name, sizeof name, "%s.mp4", strength[k].name);
        film f = edit(b, &e, caption, 1, SLOW, name);
        double away = 0;
        for (int i = 0; i < f.n; i++) away += apart(f.rgb + (size_t)i * PX, was.rgb + (size_t)HM_MIN(3 * i, was.n - 1) * PX) / f.n;
        look(b, &f, 0, is);
        say(b, strength[k].name, "distance", away);
        if (k) say(b, strength[k].name, "flow", flow(&f, 0, f.n, NULL) / moves);
        say(b, strength[k].name, "agrees", (is[HM_FACT_TIME] == other->fact[HM_FACT_TIME]) + (is[HM_FACT_WEATHER] == other->fact[HM_FACT_WEATHER]) +
                                               (is[HM_FACT_PLACE] == other->fact[HM_FACT_PLACE]));
        free(f.rgb);
    }
    free(was.rgb), free(there.rgb), free(slow.rgb);
}

/* ---- scenes ---- */

static void caption_of(const hm_scene *s, char *buf, size_t cap)
{
    const hm_caption_opts o = {HM_LANG_EN, hm_caption_sayable(s)};
    hm_caption(buf, cap, s, &o, s->seed, NULL);
}

static void one(bench *b)
{
    uint64_t seed = HM_EVAL_SEEDS + (9ull << 40) + (uint64_t)b->scene * (1ull << 20);
    hm_scene s, bare, other;
    char caption[1024], wanted[1024];
    hm_held_out_scene(&s, &seed);
    s.fact[HM_FACT_SUBJECT] = HM_SUBJECT_BALLOON, s.fact[HM_FACT_COUNT] = 1;
    s.fact[HM_FACT_COLOUR] = HM_COLOUR_RED, s.fact[HM_FACT_CAMERA] = HM_CAMERA_STILL, s.fact[HM_FACT_PACE] = HM_PACE_REAL;
    hm_scene_complete(&s, 1u << HM_FACT_SUBJECT | 1u << HM_FACT_COUNT | 1u << HM_FACT_COLOUR | 1u << HM_FACT_CAMERA | 1u << HM_FACT_PACE, s.seed);
    bare = s;
    bare.fact[HM_FACT_SUBJECT] = HM_SUBJECT_NONE, bare.fact[HM_FACT_COUNT] = 0, bare.fact[HM_FACT_COLOUR] = HM_COLOUR_NONE;
    bare.fact[HM_FACT_SIDE] = HM_SIDE_CENTRE;
    hm_held_out_scene(&other, &seed);
    other.fact[HM_FACT_SUBJECT] = HM_SUBJECT_NONE;
    caption_of(&s, caption, sizeof caption);
    hm_caption_opts o = {HM_LANG_EN, 1u << HM_FACT_TIME | 1u << HM_FACT_WEATHER | 1u << HM_FACT_PLACE};
    hm_caption(wanted, sizeof wanted, &other, &o, other.seed, NULL);
    film f = render(&s, FRAMES), g = render(&bare, FRAMES);
    char with[512], without[512];
    snprintf(with, sizeof with, "%s", file(b, 0, "with.mp4"));
    snprintf(without, sizeof without, "%s", file(b, 0, "without.mp4"));
    write_film(&f, with);
    write_film(&g, without);
    write_mask(&f, &g, file(b, 2, "mask.png"));
    uint8_t is[HM_N_FACTS];
    look(b, &f, 0, is);
    say(b, "footage", "found", is[HM_FACT_SUBJECT] == HM_SUBJECT_BALLOON);
    look(b, &g, 0, is);
    say(b, "footage", "gone", is[HM_FACT_SUBJECT] != HM_SUBJECT_BALLOON);
    fprintf(stderr, "%d: %s -> %s\n", b->scene, caption, wanted);
    if (strchr(b->tools, 'a')) animate(b, &f, caption);
    if (strchr(b->tools, 'j')) join(b, &f, with, caption);
    if (strchr(b->tools, 'i')) inpaint_picture(b, &f), inpaint(b, &f, with, without);
    if (strchr(b->tools, 'b')) blend(b, &f, with, &other, wanted);
    if (strchr(b->tools, 'r')) remix(b, with, &other, wanted);
    free(f.rgb), free(g.rgb);
}

int main(int argc, char **argv)
{
    himmel_error err;
    if (argc < 5 || argc > 6) {
        fprintf(stderr, "bench_edit MODEL PROBE FOLDER N [TOOLS]\n");
        return 2;
    }
    bench *b = calloc(1, sizeof *b);
    himmel_options o = himmel_options_default();
    char identity[512];
    snprintf(identity, sizeof identity, "%s/identity", argv[3]);
    o.identity = identity;
    must(himmel_open(&b->ctx, argv[1], &o, &err), &err);
    must(hm_probe_open(&b->probe, argv[2], &err), &err);
    b->folder = argv[3], b->tools = argc > 5 ? argv[5] : "ajbir";
    for (b->scene = 0; b->scene < atoi(argv[4]); b->scene++) one(b);
    hm_probe_free(b->probe);
    himmel_close(b->ctx);
    free(b);
    return 0;
}
