/* test_film.c - requests, layouts and whole generations with random weights, through himmel.h and the parts
 * below it. SPDX-License-Identifier: MIT */
#include <unistd.h>
#include <sys/stat.h>

#include "check.h"
#include "film/film.h"
#include "film/tiny_model.h"
#include "media/decode.h"

static char dir[] = "/tmp/himmel-film-XXXXXX", weights[64];

static const char *in_dir(const char *name)
{
    static char path[4][128];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static bool exists(const char *path)
{
    return !access(path, F_OK);
}

static himmel_request small(const char *output)
{
    himmel_request r = himmel_request_default();
    r.prompt = "sunset over a calm sea";
    r.output = output;
    r.width = 96, r.height = 64;
    r.seconds = 1;
    r.steps = 2;
    r.seed = 7;
    return r;
}

static void test_grid(void)
{
    static const struct {
        int w, h, gw, gh;
    } cases[] = {{1920, 1080, 16, 9}, {1080, 1920, 9, 16}, {1024, 576, 16, 9},
                 {512, 512, 12, 12},  {2048, 64, 40, 4},   {64, 2048, 4, 40}};
    for (size_t i = 0; i < HM_COUNT(cases); i++) {
        int gw, gh;
        hm_grid(cases[i].w, cases[i].h, &gw, &gh);
        CHECK(gw == cases[i].gw && gh == cases[i].gh, "%dx%d: %dx%d blocks", cases[i].w, cases[i].h, gw, gh);
    }
    for (int w = 64; w <= 2048; w += 62)
        for (int h = 64; h <= 2048; h += 62) {
            himmel_request r = small("x.mp4");
            r.width = w, r.height = h;
            hm_layout l;
            hm_layout_for(&l, &r);
            CHECK(l.gw * l.gh <= 160 && l.gw >= 4 && l.gh >= 4, "%dx%d: %dx%d blocks", w, h, l.gw, l.gh);
            CHECK_NEAR(l.w / l.h, (double)w / h, 1e-6 * w / h, "%dx%d: aspect %g", w, h, l.w / l.h);
            CHECK(l.x >= 0 && l.y >= 0 && l.x + l.w <= l.full_w + 1e-6 && l.y + l.h <= l.full_h + 1e-6,
                  "%dx%d: crop", w, h);
            const double aspect = (double)w / h;
            if (aspect < 3.3 && aspect > 0.3)
                CHECK(l.w * l.h > 0.85 * l.full_w * l.full_h && l.w * l.h > 110 * 128 * 128,
                      "%dx%d: wasteful %dx%d", w, h, l.gw, l.gh);
        }
    himmel_request r = small("x.mp4");
    hm_layout l;
    static const struct { double s; int num, den, T, frames;
    } films[] = {{1, 24, 1, 2, 24},          {10, 24, 1, 11, 240}, {2.5, 24, 1, 4, 60},
                 {10, 30000, 1001, 11, 300}, {1.1, 12, 1, 3, 13},  {3, 60, 1, 4, 180}};
    for (size_t i = 0; i < HM_COUNT(films); i++) {
        r.seconds = films[i].s, r.fps_num = films[i].num, r.fps_den = films[i].den;
        hm_layout_for(&l, &r);
        CHECK(l.T == films[i].T && l.n_frames == films[i].frames, "film %zu: T %d, %d frames", i, l.T,
              l.n_frames);
        CHECK((l.n_frames - 1) * l.base_step <= 24.0 * (l.T - 1), "film %zu runs out of base frames", i);
    }
}

static void test_utf8(void)
{
    static const char *const good[] = {
        "", "sea", "M\xc3\xb6we", "\xe2\x98\x81", "\xf0\x9f\x8c\x85", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"};
    static const struct {
        const char *s;
        size_t at;
    } bad[] = {{"a\xff", 1},        {"\x80", 0},         {"ab\xc3", 2},           {"\xc0\xaf", 0},
               {"\xe0\x80\x80", 0}, {"\xed\xa0\x80", 0}, {"\xf5\x80\x80\x80", 0}, {"\xf4\x90\x80\x80", 0},
               {"x\xe2\x98", 1}};
    size_t at;
    for (size_t i = 0; i < HM_COUNT(good); i++) CHECK(hm_utf8_valid(good[i], &at), "good %zu", i);
    for (size_t i = 0; i < HM_COUNT(bad); i++)
        CHECK(!hm_utf8_valid(bad[i].s, &at) && at == bad[i].at, "bad %zu at %zu", i, at);
}

static void refused(himmel_request r, const char *word)
{
    himmel_error err = {0};
    CHECK(himmel_check(&r, &err) == HIMMEL_EINVAL, "%s passed", word);
    CHECK(strstr(err.message, word), "\"%s\" does not say %s", err.message, word);
}

static void test_check(void)
{
    himmel_request r = small("x.mp4");
    CHECK(!himmel_check(&r, NULL), "a good request");
    static char big[100001];
    memset(big, 'a', sizeof big - 1);
    r.prompt = NULL, refused(r, "prompt is empty");
    r.prompt = " \n", refused(r, "prompt is empty");
    r.prompt = big, refused(r, "100000 bytes");
    r.prompt = "\xc3(", refused(r, "UTF-8");
    r = small("x.mp4"), r.negative = "\xff", refused(r, "negative");
    r = small(NULL), refused(r, "output");
    r = small("x.avi"), refused(r, ".mp4");
    r = small("x.png"), refused(r, "himmel image");
    r = small("x.mp4"), r.kind = HIMMEL_IMAGE, refused(r, ".png");
    r = small("x.mp4"), r.width = 97, refused(r, "97x64");
    r = small("x.mp4"), r.width = 62, refused(r, "62x64");
    r = small("x.mp4"), r.height = 2050, refused(r, "2050");
    r = small("x.mp4"), r.seconds = 0.5, refused(r, "seconds");
    r = small("x.mp4"), r.seconds = NAN, refused(r, "seconds");
    r = small("x.mp4"), r.seconds = 61, refused(r, "seconds");
    r = small("x.mp4"), r.fps_den = 0, refused(r, "fps");
    r = small("x.mp4"), r.fps_num = 121, refused(r, "fps");
    r = small("x.mp4"), r.steps = 0, refused(r, "steps");
    r = small("x.mp4"), r.guidance = 0.5, refused(r, "guidance");
}

static void test_open(void)
{
    himmel_error err = {0};
    himmel_ctx *ctx;
    CHECK(himmel_open(&ctx, in_dir("none.safetensors"), NULL, &err) == HIMMEL_EIO && !ctx, "%s", err.message);
    himmel_options o = himmel_options_default();
    o.threads = -1;
    CHECK(himmel_open(&ctx, weights, &o, &err) == HIMMEL_EINVAL && !ctx, "%s", err.message);
    o = himmel_options_default();
    o.precision = "int4";
    CHECK(himmel_open(&ctx, weights, &o, &err) == HIMMEL_EINVAL && !ctx && strstr(err.message, "bf16 or int8"), "%s", err.message);
    o.precision = "int8";
    CHECK(himmel_open(&ctx, weights, &o, &err) == HIMMEL_EINVAL && !ctx && strstr(err.message, "himmel-1 computes in bf16"), "%s", err.message);
    o.precision = "bf16";
    o.identity = in_dir("identity");
    CHECK(!himmel_open(&ctx, weights, &o, &err), "%s", err.message);
    himmel_model_info info;
    CHECK(!himmel_info(ctx, &info, &err) && !strcmp(info.name, "himmel-tiny") && strlen(info.sha256) == 64,
          "info");
    CHECK(!strcmp(info.precision, "bf16") && info.weight_bytes == info.file_bytes, "precision");
    CHECK(info.n_params > 50000 && info.file_bytes > 2 * info.n_params && !strcmp(info.licence, "CC0-1.0"),
          "numbers");
    himmel_close(ctx);
    himmel_close(NULL);
}

typedef struct { int calls, stop_at, rough, fine; double last; bool ordered; char phases[256]; } watch;

static int on_progress(void *user, const himmel_progress *p)
{
    watch *w = user;
    if (!strstr(w->phases, p->phase)) strcat(strcat(w->phases, p->phase), " ");
    w->ordered = w->ordered && p->fraction >= 0 && p->fraction <= 1 && p->step <= p->n_steps;
    w->last = p->fraction;
    return ++w->calls == w->stop_at;
}

static int on_preview(void *user, const himmel_picture *p)
{
    watch *w = user;
    unsigned sum = 0;
    for (int i = 0; i < 3 * p->width * p->height; i++) sum += p->rgb[i];
    CHECK(sum > 0 && p->width == 96 && p->height == 64, "preview %dx%d", p->width, p->height);
    if (p->rough) w->rough++;
    else w->fine++;
    return 0;
}

static void test_film(himmel_ctx *ctx)
{
    himmel_error err = {0};
    himmel_request r = small(in_dir("a.mp4"));
    watch w = {.ordered = true};
    r.on_progress = on_progress, r.on_preview = on_preview, r.user = &w;
    himmel_result res;
    himmel_plan_info plan;
    CHECK(!himmel_plan(ctx, &r, &plan, &err), "%s", err.message);
    CHECK(plan.n_frames == 24 && plan.blocks_t == 2 && plan.gflop_sample > 0 && plan.gflop_film > 0 &&
              plan.seconds > 0,
          "plan");
    CHECK(!himmel_generate(ctx, &r, &res, &err), "%s", err.message);
    CHECK(res.n_frames == 24 && res.file_bytes > 500 && res.width == 96, "result");
    CHECK(res.arena_bytes > 0 && res.arena_bytes <= plan.peak_bytes, "%zu planned, %zu used",
          (size_t)plan.peak_bytes, (size_t)res.arena_bytes);
    CHECK_NEAR(res.phase[1].gflop, plan.gflop_sample, 0.02 * plan.gflop_sample, "planned %g, done %g GFLOP",
               plan.gflop_sample, res.phase[1].gflop);
    CHECK_NEAR(res.phase[3].gflop, plan.gflop_film, 0.02 * plan.gflop_film, "planned %g, done %g GFLOP",
               plan.gflop_film, res.phase[3].gflop);
    CHECK(w.ordered && !strcmp(w.phases, "text sample film ") && w.calls == 1 + 2 + 24, "%d calls: %s",
          w.calls, w.phases);
    CHECK(w.rough == 2 && w.fine >= 1 && w.last > 0.99, "%d rough, %d fine, at %g", w.rough, w.fine, w.last);

    hm_decoder *d; /* the small film has what the stream gives */
    CHECK(!hm_decoder_open(&d, r.output, &err), "%s", err.message);
    CHECK(hm_decoder_info(d)->n_frames == 24 && hm_decoder_info(d)->fps_num == 24, "%d frames",
          (int)hm_decoder_info(d)->n_frames);
    const char *tag = hm_decoder_tag(d, "prompt"), *hash = hm_decoder_tag(d, "model_sha256");
    CHECK(tag && !strcmp(tag, r.prompt) && hash && strlen(hash) == 64, "metadata");
    CHECK(hm_decoder_tag(d, "seed") && hm_decoder_tag(d, "software") && hm_decoder_tag(d, "model"),
          "metadata");
    hm_decoder_free(d);
}

static bool same_files(const char *a, const char *b)
{
    hm_map x, y;
    if (hm_map_open(&x, a, NULL) || hm_map_open(&y, b, NULL)) return false;
    const bool same = x.len == y.len && !memcmp(x.data, y.data, x.len);
    hm_map_close(&x), hm_map_close(&y);
    return same;
}

static void test_determinism(himmel_ctx *ctx)
{
    himmel_request r = small(in_dir("b.mp4"));
    CHECK(!himmel_generate(ctx, &r, NULL, NULL), "again");
    CHECK(same_files(in_dir("a.mp4"), in_dir("b.mp4")), "same request, other bytes");
    r.seed = 8;
    CHECK(!himmel_generate(ctx, &r, NULL, NULL) && !same_files(in_dir("a.mp4"), in_dir("b.mp4")),
          "other seed, same bytes");
}

static int stop_at; /* step after which kept jobs are stopped, 0 = never */
static int first_step;

static int stop_late(void *user, const himmel_progress *p)
{
    (void)user;
    if (strcmp(p->phase, "sample")) return 0;
    if (!first_step) first_step = (int)p->step;
    return stop_at && p->step == stop_at;
}

/* A job that is stopped goes on where it was and gives the same bytes; what is saved of another request does not count. */
static void test_keep(himmel_ctx *ctx)
{
    char whole[128], kept[128], keep[128], saved[128];
    snprintf(whole, sizeof whole, "%s", in_dir("whole.mp4")), snprintf(kept, sizeof kept, "%s", in_dir("kept.mp4"));
    snprintf(keep, sizeof keep, "%s", in_dir("keep")), snprintf(saved, sizeof saved, "%s", in_dir("keep.0"));
    himmel_request r = small(whole);
    r.steps = 6, r.seconds = 2;
    CHECK(!himmel_generate(ctx, &r, NULL, NULL), "whole");
    r.output = kept, r.keep = keep, r.on_progress = stop_late;
    for (int damage = 0; damage < 3; damage++) { /* none; half a file; another request */
        r.seed = 7, stop_at = 4, first_step = 0;
        CHECK(himmel_generate(ctx, &r, NULL, NULL) == HIMMEL_ECANCELLED && exists(saved), "stopped, but nothing is saved");
        if (damage == 1) CHECK(!truncate(saved, 1000), "truncate");
        r.seed = damage == 2 ? 8 : 7, stop_at = 0, first_step = 0;
        CHECK(!himmel_generate(ctx, &r, NULL, NULL), "gone on");
        CHECK(damage ? first_step == 1 : first_step > 1 && first_step <= 5, "damage %d: it went on with step %d", damage, first_step);
        CHECK(same_files(whole, kept) == (damage < 2), "damage %d: bytes", damage);
        CHECK(!exists(saved), "what was saved is still there");
    }
}

static void test_cancel(himmel_ctx *ctx)
{
    static const int stops[] = {1, 2, 3, 5}; /* before text, in the sampler, at its end, in the film */
    hm_write_file(in_dir("old.mp4"), "old", 3, NULL);
    for (size_t i = 0; i < HM_COUNT(stops); i++) {
        himmel_error err = {0};
        himmel_request r = small(in_dir("old.mp4"));
        watch w = {.stop_at = stops[i]};
        r.on_progress = on_progress, r.user = &w;
        CHECK(himmel_generate(ctx, &r, NULL, &err) == HIMMEL_ECANCELLED && w.calls == stops[i], "%s",
              err.message);
        CHECK(!exists(in_dir("old.mp4.part")), "half a film left after stop %d", stops[i]);
        hm_map m = {0};
        CHECK(!hm_map_open(&m, in_dir("old.mp4"), NULL) && m.len == 3, "the old file is gone");
        hm_map_close(&m);
    }
}

/* What verify says about the watermark of a file: is it there, does it agree with what is signed? */
static void expect_mark(const char *path, himmel_layer layer, const char *word)
{
    himmel_verdict v;
    himmel_error err = {0};
    CHECK(!himmel_verify(path, in_dir("identity"), &v, &err), "%s", err.message);
    CHECK(v.credentials == HIMMEL_LAYER_FOUND && v.watermark == layer && !v.disagree && strstr(v.json, word), "%s: no %s in %s",
          path, word, v.json);
    himmel_verdict_free(&v);
}

/* A new picture carries the watermark that its credentials name; what only passes through gets none. */
static void test_watermarked(himmel_ctx *ctx)
{
    himmel_error err = {0};
    himmel_request r = small(in_dir("w.png"));
    r.kind = HIMMEL_IMAGE;
    r.width = 640, r.height = 360;
    CHECK(!himmel_generate(ctx, &r, NULL, &err), "%s", err.message);
    expect_mark(r.output, HIMMEL_LAYER_FOUND, "\"agreement\":{\"state\":\"agree\"");
    const himmel_clip clip = {in_dir("a.mp4"), 0.25, 0.75};
    himmel_edit e = himmel_edit_default();
    e.mode = HIMMEL_EDIT_JOIN, e.clips = &clip, e.n_clips = 1;
    r = small(in_dir("t.mp4"));
    r.width = r.height = r.fps_num = 0, r.prompt = NULL, r.visible_mark = 0;
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    himmel_verdict v;
    CHECK(!himmel_verify(r.output, in_dir("identity"), &v, &err) && strstr(v.json, "\"signed\":null"), "a cut film: %s", v.json);
    himmel_verdict_free(&v);
}

static void test_image(himmel_ctx *ctx)
{
    static const char *const names[] = {"i.png", "i.jpg", "i.webp"};
    for (size_t i = 0; i < HM_COUNT(names); i++) {
        himmel_error err = {0};
        himmel_request r = small(in_dir(names[i]));
        r.kind = HIMMEL_IMAGE;
        r.width = 128, r.height = 130;
        himmel_result res;
        CHECK(!himmel_generate(ctx, &r, &res, &err) && res.n_frames == 1, "%s", err.message);
        hm_decoder *d;
        CHECK(!hm_decoder_open(&d, r.output, &err), "%s", err.message);
        if (d) CHECK(hm_decoder_info(d)->width == 128 && hm_decoder_info(d)->height == 130, "size");
        hm_decoder_free(d);
    }
    himmel_error err = {0};
    himmel_request r = small(in_dir("none/i.png"));
    r.kind = HIMMEL_IMAGE;
    watch w = {0};
    r.on_progress = on_progress, r.user = &w;
    CHECK(himmel_generate(ctx, &r, NULL, &err) == HIMMEL_EIO && !w.calls, "unwritable is known first: %s",
          err.message);
}

/* The stream gives the same picture whatever came before, and between frames the mean of its neighbours'
 * input. */
static void test_stream(himmel_ctx *ctx)
{
    const hm_himmel1 *m = ctx->model;
    enum { GW = 4, GH = 4, T = 3 };
    const size_t n = T * GH * GW * (size_t)hm_codec_channels(m->codec), px = (size_t)3 * GW * GH * 128 * 128;
    float *z = malloc(n * sizeof *z), *a = malloc(px * sizeof *a);
    hm_randn(z, n, 5, 5);
    hm_stream *s;
    hm_pix t;
    CHECK(!hm_stream_new(&s, m, z, GW, GH, T, 0, NULL), "stream");
    static const double order[] = {0, 1, 30.5, 31, 48, 2.25, 30.5};
    const size_t size = px * sizeof(float);
    for (size_t i = 0; i < HM_COUNT(order); i++) {
        const void *f = hm_stream_frame(s, order[i], &t);
        CHECK(t == HM_PIX_F32, "type");
        if (i == 2) memcpy(a, f, size);
        if (i == 6) CHECK(!memcmp(a, f, size), "frame 30.5 depends on what came before");
    }
    memcpy(a, hm_stream_frame(s, 30, &t), size);
    const float *b = hm_stream_frame(s, 30.0 + 1e-9, &t);
    CHECK(!memcmp(a, b, size), "rounding of 24 fps times");
    hm_stream_free(s);
    free(z), free(a);
}

static void test_prompts(void)
{
    char buf[512];
    CHECK(himmel_unknown_words("a piano and a cat at sunset", buf, sizeof buf) == 2 &&
              !strcmp(buf, "piano, cat"),
          "%s", buf);
    CHECK(himmel_unknown_words("sunset over a calm sea", buf, sizeof buf) == 0 && !*buf, "%s", buf);
    CHECK(himmel_unknown_words("piano", buf, 3) == 1 && strlen(buf) == 2, "cut to the buffer: %s", buf);
    char again[512];
    CHECK(!himmel_expand("a lighthouse at dusk", 3, buf, sizeof buf, NULL) && strlen(buf) > 25, "%s", buf);
    CHECK(himmel_unknown_words(buf, again, sizeof again) == 0, "full prompt has unknown words: %s in %s",
          again, buf);
    himmel_expand("a lighthouse at dusk", 3, again, sizeof again, NULL);
    CHECK(!strcmp(buf, again), "same seed, other prompt");
    himmel_expand("ein Leuchtturm am Abend", 3, again, sizeof again, NULL);
    CHECK(strcmp(buf, again) && (strstr(again, "euchtturm") || strstr(again, "EUCHTTURM")),
          "German stays German: %s", again);
    CHECK(himmel_expand("", 1, buf, sizeof buf, NULL) == HIMMEL_EINVAL, "empty");
    CHECK(himmel_expand("dusk", 1, buf, 4, NULL) == HIMMEL_EINVAL, "small buffer");
}

int main(void)
{
    if (!mkdtemp(dir)) return 1;
    snprintf(weights, sizeof weights, "%s/tiny.safetensors", dir);
    himmel_error err = {0};
    const hm_himmel1_config c = tiny_config();
    himmel_ctx *ctx;
    himmel_options o = himmel_options_default();
    o.identity = in_dir("identity");
    if (tiny_model_write(weights, &c, &err) || himmel_open(&ctx, weights, &o, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    test_grid();
    test_utf8();
    test_check();
    test_open();
    test_prompts();
    test_stream(ctx);
    test_film(ctx);
    test_determinism(ctx);
    test_keep(ctx);
    test_cancel(ctx);
    test_image(ctx);
    test_watermarked(ctx);
    himmel_close(ctx);
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    if (system(cmd)) return 1;
    return CHECK_END();
}
