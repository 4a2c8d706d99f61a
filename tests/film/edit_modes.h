/* edit_modes.h - the editing modes with a tiny released model of random weights: what is known stays, what is made is where it
 * should be and depends on what is known. SPDX-License-Identifier: MIT */
#ifndef EDIT_MODES_H
#define EDIT_MODES_H

#include <dirent.h>

#include "film/edit.h"
#include "film/edit_inputs.h"
#include "words.h"

static inline himmel_ctx *open_model(const char *main, const char *const *with, int n_with)
{
    himmel_error err = {0};
    himmel_ctx *ctx = NULL;
    himmel_options o = himmel_options_default();
    o.identity = in_dir("identity"), o.threads = 2;
    o.with = with, o.n_with = n_with;
    CHECK(!himmel_open(&ctx, main, &o, &err), "%s", err.message);
    return ctx;
}

/* All frames of an edit; malloc'ed. Coded so finely that frames which are
 * passed through differ by rounding alone. */
static inline uint8_t *make(himmel_ctx *ctx, himmel_request r, const himmel_edit *e, int *n)
{
    himmel_error err = {0};
    hm_media_info info;
    r.crf = 1;
    CHECK(!himmel_edit_run(ctx, &r, e, NULL, &err), "%s", err.message);
    return frames_of(r.output, n, &info);
}

static inline double apart(const uint8_t *a, const uint8_t *b, int i, int k)
{
    return mean_difference(a + (size_t)3 * W * H * (size_t)i, b + (size_t)3 * W * H * (size_t)k);
}

static inline double worst_apart(const uint8_t *a, int at, const uint8_t *b, int from, int n)
{
    double worst = 0;
    for (int i = 0; i < n; i++) worst = fmax(worst, apart(a, b, at + i, from + i));
    return worst;
}

/* Random weights move a lot: a seam between frames i - 1 and i is measured by
 * the steps within from..to-1. */
static inline double step_at(const uint8_t *a, int i, int k, int from, int to)
{
    double most = 1;
    for (int f = from + 1; f < to; f++) most = fmax(most, apart(a, a, f, f - 1));
    return apart(a, a, i, k) / most;
}

static inline himmel_edit joining(const himmel_clip *clips, size_t n)
{
    himmel_edit e = himmel_edit_default();
    e.mode = HIMMEL_EDIT_JOIN, e.clips = clips, e.n_clips = n;
    return e;
}

static inline himmel_edit changing(const himmel_clip *clip)
{
    himmel_edit e = himmel_edit_default();
    e.mode = HIMMEL_EDIT_CHANGE, e.clips = clip, e.n_clips = 1;
    return e;
}

typedef struct {
    himmel_clip clip[2];
    uint8_t *px[2];
} inputs;

static inline inputs two_films(void)
{
    inputs in = {.clip = {{.path = in_dir("a.mp4")}, {.path = in_dir("b.mp4")}}};
    hm_media_info info;
    int n;
    for (int i = 0; i < 2; i++) in.px[i] = frames_of(in.clip[i].path, &n, &info);
    return in;
}

static inline void drop(inputs *in) { free(in->px[0]), free(in->px[1]); }

/* ---- frames around films ---- */

static inline void test_extend(himmel_ctx *ctx, bool before)
{
    inputs in = two_films();
    himmel_edit e = joining(in.clip, 1);
    himmel_request r = request(in_dir("extend.mp4"));
    int n, m;
    e.before = before ? 0.5 : 0, e.after = 1.5;
    const int at = before ? 12 : 0, new = at + FRAMES;
    uint8_t *is = make(ctx, r, &e, &n);
    CHECK(n == at + FRAMES + 36, "%d frames", n);
    CHECK(worst_apart(is, at, in.px[0], 0, FRAMES) < 0.5, "frames of the input differ by %.2f",
          worst_apart(is, at, in.px[0], 0, FRAMES));
    CHECK(step_at(is, new, new - 1, new, n) < 1.5, "the seam is %.1f of the largest step behind it",
          step_at(is, new, new - 1, new, n));
    CHECK(!before || step_at(is, 11, 12, 0, 12) < 1.5, "the seam is %.1f of the largest step before it",
          step_at(is, 11, 12, 0, 12));
    uint8_t *again = make(ctx, r, &e, &m);
    CHECK(m == n && !memcmp(is, again, (size_t)3 * W * H * (size_t)n), "same request, other frames");
    free(again);
    e.clips = in.clip + 1; /* with another film, other frames follow, not only
                              where the seam fades */
    again = make(ctx, r, &e, &m);
    CHECK(apart(is, again, n - 1, n - 1) > 0.5, "what follows does not know the film: %.2f", apart(is, again, n - 1, n - 1));
    free(again), free(is);
    drop(&in);
}

static inline void test_blend_and_loop(himmel_ctx *ctx)
{
    inputs in = two_films();
    himmel_edit e = joining(in.clip, 2);
    himmel_request r = request(in_dir("blend.mp4"));
    int n;
    e.between = 1;
    uint8_t *is = make(ctx, r, &e, &n);
    CHECK(n == 2 * FRAMES + 23, "blend: %d frames", n);
    const double a = worst_apart(is, 0, in.px[0], 0, FRAMES), b = worst_apart(is, FRAMES + 23, in.px[1], 0, FRAMES);
    CHECK(a < 0.5 && b < 0.5, "blend: frames of the inputs differ by %.2f and %.2f", a, b);
    CHECK(step_at(is, FRAMES, FRAMES - 1, FRAMES, FRAMES + 23) < 1.5 &&
              step_at(is, FRAMES + 22, FRAMES + 23, FRAMES, FRAMES + 23) < 1.5,
          "blend: seams of %.1f and %.1f of the largest step between", step_at(is, FRAMES, FRAMES - 1, FRAMES, FRAMES + 23),
          step_at(is, FRAMES + 22, FRAMES + 23, FRAMES, FRAMES + 23));
    free(is);
    e = joining(in.clip, 1);
    e.after = 1, e.loop = 1;
    is = make(ctx, r, &e, &n);
    CHECK(n == FRAMES + 23 && worst_apart(is, 0, in.px[0], 0, FRAMES) < 0.5, "loop: %d frames", n);
    CHECK(step_at(is, n - 1, 0, FRAMES, n) < 1.5, "loop: from its end to its start %.1f of the largest step",
          step_at(is, n - 1, 0, FRAMES, n));
    free(is);
    drop(&in);
}

static inline int count(void *user, const himmel_progress *p)
{
    int *most = user;
    if (!strcmp(p->phase, "sample")) *most = HM_MAX(*most, (int)p->n_steps);
    return 0;
}

/* More than a window: both ways, without a jump where the second one begins. */
static inline void test_windows(himmel_ctx *ctx, int windows)
{
    inputs in = two_films();
    for (int back = 0; back < 2; back++) {
        himmel_edit e = joining(in.clip, 1);
        himmel_request r = request(in_dir("long.mp4"));
        int n, steps = 0;
        r.on_progress = count, r.user = &steps;
        *(back ? &e.before : &e.after) = 6;
        uint8_t *is = make(ctx, r, &e, &n);
        CHECK(n == FRAMES + 144 && steps == windows * r.steps, "%d frames in %d steps", n, steps);
        double jump = 0, usual = 0;
        for (int i = 1; i < n; i++) {
            const double d = apart(is, is, i, i - 1);
            jump = fmax(jump, d);
            usual += d / (n - 1);
        }
        CHECK(jump < 6 * usual + 3, "a step of %.1f among steps of %.1f", jump, usual);
        free(is);
    }
    drop(&in);
}

/* ---- films that are changed ---- */

static inline void outside_and_inside(const uint8_t *is, const uint8_t *was, int i, const int box[4], double *outside, double *inside)
{
    int in = 0, out = 0;
    *outside = *inside = 0;
    for (int k = 0; k < W * H; k++) {
        const int x = k % W, y = k / W;
        const bool within = x >= box[0] && x < box[0] + box[2] && y >= box[1] && y < box[1] + box[3];
        const bool near = x >= box[0] - 2 && x < box[0] + box[2] + 2 && y >= box[1] - 2 && y < box[1] + box[3] + 2;
        if (near != within) continue; /* the encoder's chroma is two pixels wide */
        for (int c = 0; c < 3; c++) {
            const size_t q = 3 * ((size_t)i * W * H + (size_t)k) + (size_t)c;
            *(within ? inside : outside) += abs(is[q] - was[q]);
        }
        if (within)
            in++;
        else
            out++;
    }
    *inside /= 3 * HM_MAX(in, 1), *outside /= 3 * HM_MAX(out, 1);
}

static inline void test_inpaint(himmel_ctx *ctx)
{
    static const int box[4] = {40, 10, 50, 40};
    inputs in = two_films();
    himmel_edit e = changing(in.clip);
    himmel_request r = request(in_dir("inpaint.mp4"));
    int n;
    for (int k = 0; k < 4; k++) e.box[k] = box[k];
    e.box_from = 0.5, e.box_to = 1;
    uint8_t *is = make(ctx, r, &e, &n);
    CHECK(n == FRAMES, "inpaint: %d frames", n);
    for (int i = 0; i < n && n == FRAMES; i++) {
        double out, inside;
        const bool holds = i >= 12 && i <= 24;
        outside_and_inside(is, in.px[0], i, box, &out, &inside);
        CHECK(out < 0.7, "inpaint: frame %d differs by %.2f outside the box", i, out);
        CHECK(holds ? inside > 2 : inside < 0.7, "inpaint: frame %d differs by %.2f inside the box", i, inside);
    }
    free(is);
    r.width = 128, r.height = H;
    e = changing(in.clip), e.outpaint = 1;
    himmel_error err = {0};
    hm_media_info info;
    r.crf = 1;
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    is = frames_of(r.output, &n, &info);
    CHECK(n == FRAMES && info.width == 128, "outpaint: %d frames of %d", n, info.width);
    double off = 0;
    for (int i = 0; i < n; i++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < 3 * W; x++)
                off += abs(is[3 * ((size_t)i * 128 * H + (size_t)y * 128 + 16) + (size_t)x] -
                           in.px[0][3 * ((size_t)i * W * H + (size_t)y * W) + (size_t)x]);
    CHECK(off / (3.0 * W * H * n) < 0.7, "outpaint: the film differs by %.2f", off / (3.0 * W * H * n));
    free(is);
    drop(&in);
}

/* Files without loss: what may not change is equal to the bit. */
static inline void test_picture(himmel_ctx *ctx)
{
    himmel_clip clip = {.path = in_dir("p.png")};
    himmel_edit e = changing(&clip);
    himmel_request r = request(in_dir("changed.png"));
    himmel_error err = {0};
    hm_media_info info;
    int n, outside = 0, inside = 0;
    make_picture(clip.path, 130, 70, 60);
    make_mask(in_dir("mask.png"), 130, 70, 50, 90);
    uint8_t *was = frames_of(clip.path, &n, &info);
    r.kind = HIMMEL_IMAGE, e.mask = in_dir("mask.png");
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    uint8_t *is = frames_of(r.output, &n, &info);
    for (int i = 0; i < 130 * 70; i++) {
        const bool differs = memcmp(is + 3 * i, was + 3 * i, 3) != 0;
        *(i % 130 >= 50 && i % 130 < 90 ? &inside : &outside) += differs;
    }
    CHECK(outside == 0 && inside > 40 * 70 / 2, "%d pixels outside and %d inside the mask changed", outside, inside);
    free(is), free(was);
}

/* Two films, or two prompts, with the same strength: how far apart are the
 * results? (Their watermarks alone: 2 to 3.) */
static inline double remixes_apart(himmel_ctx *ctx, double strength, const himmel_clip *x, const himmel_clip *y, const char *words)
{
    himmel_request r = request(in_dir("remix.mp4"));
    himmel_edit e = changing(x);
    int n, m;
    r.steps = 8, e.strength = strength;
    uint8_t *one = make(ctx, r, &e, &n);
    e.clips = y, r.prompt = words;
    uint8_t *other = make(ctx, r, &e, &m);
    CHECK(n == FRAMES && m == FRAMES, "remix: %d and %d frames", n, m);
    const double d = apart(one, other, FRAMES / 2, FRAMES / 2);
    free(one), free(other);
    return d;
}

/* words: they change what the tiny model makes by more than a watermark does. */
static inline void test_remix(himmel_ctx *ctx, bool words)
{
    const himmel_clip clip[2] = {{.path = in_dir("a.mp4")}, {.path = in_dir("b.mp4")}};
    const char *same = request("").prompt;
    const double subtle = remixes_apart(ctx, 0.05, clip, clip + 1, same), all = remixes_apart(ctx, 1, clip, clip + 1, same);
    CHECK(subtle > 10 && all < 4, "another film changes a subtle remix by %.2f, one of strength 1 by %.2f", subtle, all);
    if (!words) return;
    const double few = remixes_apart(ctx, 0.05, clip, clip, "a cat"), many = remixes_apart(ctx, 1, clip, clip, "a cat");
    CHECK(few < 0.5 * many, "other words change a subtle remix by %.2f, one of strength 1 by %.2f", few, many);
}

/* ---- what goes wrong ---- */

static inline int entries(void)
{
    DIR *d = opendir(dir);
    int n = 0;
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

static inline void refused(himmel_ctx *ctx, const himmel_edit *e, const char *word)
{
    himmel_error err = {0};
    himmel_request r = request(in_dir("no.mp4"));
    const int before = entries();
    CHECK(himmel_edit_run(ctx, &r, e, NULL, &err) == HIMMEL_EINVAL, "%s: %s", word, err.message);
    CHECK(strstr(err.message, word), "\"%s\" does not say %s", err.message, word);
    CHECK(entries() == before, "%s: something was left", word);
}

static inline int stop_at(void *user, const himmel_progress *p)
{
    int *left = user;
    return !strcmp(p->phase, "sample") && p->step && --*left == 0;
}

/* Stopped on its way, it goes on from there, to the same frames. */
static inline void test_stop_and_go_on(himmel_ctx *ctx)
{
    const himmel_clip clip = {.path = in_dir("a.mp4")};
    himmel_edit e = joining(&clip, 1);
    himmel_request r = request(in_dir("whole.mp4"));
    himmel_error err = {0};
    e.after = 6;
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    int calls = 100;
    r.keep = in_dir("saved"), r.on_progress = stop_at, r.user = &calls;
    const int before = entries();
    CHECK(himmel_edit_run(ctx, &r, &e, NULL, &err) == HIMMEL_ECANCELLED, "not stopped, %d calls are left", calls);
    CHECK(entries() > before, "no state was left");
    r.on_progress = NULL;
    r.output = in_dir("resumed.mp4");
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    int n, m;
    hm_media_info info;
    uint8_t *is = frames_of(in_dir("resumed.mp4"), &n, &info), *was = frames_of(in_dir("whole.mp4"), &m, &info);
    CHECK(n == m && !memcmp(is, was, (size_t)3 * W * H * (size_t)n), "other frames after a stop");
    free(is), free(was);
}

#endif
