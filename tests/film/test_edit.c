/* test_edit.c - editing with random weights: what is known stays, what is made is where it should be.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "film/edit.h"
#include "film/edit_inputs.h"
#include "film/synth.h"
#include "film/tiny_model.h"

/* ---- parts ---- */

static void test_fill(void)
{
    enum { FW = 37, FH = 21 };
    static float px[3 * FW * FH], w[FW * FH], room[4 * FW * FH];
    CHECK(hm_fill_room(FW, FH) <= HM_COUNT(room), "room %zu", hm_fill_room(FW, FH));
    for (int i = 0; i < FW * FH; i++) {
        w[i] = i % FW < 10;
        for (int k = 0; k < 3; k++) px[3 * i + k] = w[i] > 0 ? 0.5f : 99.0f;
    }
    hm_fill(px, w, FW, FH, room);
    for (int y = 0; y < FH; y++) {
        const float *row = px + (size_t)3 * FW * (size_t)y;
        CHECK(row[0] == 0.5f && row[27] == 0.5f, "row %d: what was there changed", y);
        CHECK(row[30] > 0.35f && row[30] <= 0.5f, "row %d: %g beside 0.5", y, row[30]);
        CHECK(row[3 * (FW - 1)] < row[30] && row[3 * (FW - 1)] > 0.05f, "row %d: %g far away", y, row[3 * (FW - 1)]);
    }
}

/* Samples do not depend on how they are asked for; storms are louder than a soft wind; nothing clips. */
static void test_synth(void)
{
    enum { N = 3 * HM_SOUND_RATE };
    static const char *const prompts[] = {"dusk", "a thunderstorm over a stormy sea", "Regen im Wald"};
    float *a = malloc(2 * N * sizeof *a), *b = malloc(2 * N * sizeof *b);
    double loud[HM_COUNT(prompts)];
    for (size_t p = 0; p < HM_COUNT(prompts); p++) {
        const hm_words words = {0, prompts[p]};
        hm_synth *s;
        CHECK(!hm_synth_new(&s, &words, 1, 7, NULL), "synth");
        hm_synth_read(s, N, a);
        hm_synth_free(s);
        CHECK(!hm_synth_new(&s, &words, 1, 7, NULL), "synth");
        for (int done = 0, n = 1; done < N; done += n, n = HM_MIN(n % 1500 + 7, N - done)) hm_synth_read(s, n, b + 2 * done);
        hm_synth_free(s);
        CHECK(!memcmp(a, b, 2 * N * sizeof *a), "%s: other samples in other pieces", prompts[p]);
        double sum = 0, most = 0;
        for (int i = 0; i < 2 * N; i++) sum += a[i] * a[i], most = fmax(most, fabs(a[i]));
        loud[p] = 10 * log10(sum / (2 * N));
        CHECK(loud[p] > -60 && loud[p] < -12 && most < 0.99, "%s: %.1f dB, peak %g", prompts[p], loud[p], most);
    }
    CHECK(loud[1] > loud[0] + 6, "storm %.1f dB, soft wind %.1f dB", loud[1], loud[0]);
    const hm_sound_mix storm = hm_prompt_sound("Gewitter am Meer"), none = hm_prompt_sound(NULL);
    CHECK(storm.thunder > 0 && storm.rain > 0 && none.wind > 0 && none.thunder == 0 && none.rain == 0, "mixes");
    free(a), free(b);
}

/* Known tokens come out as they went in; every second gets a window; a window never exceeds the model's. */
static void test_canvas(himmel_ctx *ctx)
{
    const hm_himmel1 *m = ctx->model;
    enum { G = 4, T = 15 };
    hm_canvas c;
    const hm_words words[] = {{0, "dusk"}, {5, "rain"}};
    hm_canvas_opts o = {.words = words, .n_words = 1, .steps = 1, .guidance = 1, .threads = ctx->threads};
    CHECK(!hm_canvas_init(&c, m, G, G, T, true, NULL), "canvas");
    CHECK(hm_canvas_windows(&c, &o) == 2, "%d windows of 14 s", hm_canvas_windows(&c, &o));
    o.n_words = 2;
    CHECK(hm_canvas_windows(&c, &o) == 3, "%d windows with other words at 5 s", hm_canvas_windows(&c, &o));
    const size_t px = (size_t)G * G * HM_BLOCK * HM_BLOCK;
    for (int f = -HM_BEFORE; f <= HM_FPS * 2; f++) {
        for (size_t i = 0; i < 3 * px; i++) hm_canvas_rgb(&c, f)[i] = (uint8_t)(100 + i % 48 + (size_t)(f + 20) / 4);
        memset(hm_canvas_known(&c, f), HM_PX_KNOWN, px);
    }
    CHECK(!hm_canvas_encode(&c, NULL), "encode");
    const size_t frame = (size_t)G * G * (size_t)hm_codec_channels(m->codec);
    CHECK(c.state[0] == 2 && c.state[G * G] == 2 && c.state[2 * G * G] == 2, "two seconds are known");
    CHECK(c.state[3 * G * G] == 1 && c.state[4 * G * G] == 0, "the third is touched, the fourth is not");
    float *before = malloc(3 * frame * sizeof *before);
    memcpy(before, c.z, 3 * frame * sizeof *before);
    CHECK(!hm_canvas_sample(&c, &o, NULL, NULL), "sample");
    CHECK(!memcmp(before, c.z, 3 * frame * sizeof *before), "known tokens changed");
    double energy = 0;
    for (size_t i = 0; i < frame; i++) energy += fabs(c.z[(T - 1) * frame + i]);
    CHECK(energy > 0, "the last second is empty");
    free(before);
    hm_canvas_deinit(&c);
}

/* Partly known tokens are pulled to the known pixels. */
static void test_paste(himmel_ctx *ctx)
{
    const hm_himmel1 *m = ctx->model;
    enum { G = 4 };
    const int w = HM_BLOCK * G;
    hm_canvas c;
    CHECK(!hm_canvas_init(&c, m, G, G, 1, true, NULL), "canvas");
    for (int i = 0; i < w * w; i++) {
        memset(hm_canvas_rgb(&c, 0) + 3 * i, 180, 3);
        hm_canvas_known(&c, 0)[i] = i % w < 24 ? HM_PX_KNOWN : HM_PX_NONE;
    }
    CHECK(!hm_canvas_encode(&c, NULL) && c.state[0] == 2 && c.state[1] == 1 && c.state[2] == 0, "states");
    float *px = malloc(3 * (size_t)w * (size_t)w * sizeof *px);
    const size_t K = (size_t)hm_codec_channels(m->codec);
    for (size_t b = 0; b < G * G; b++)
        if (c.state[b] != 2) memset(c.z + b * K, 0, K * sizeof *c.z);
    hm_canvas_paste(&c, c.z, 0, 1, 4);
    CHECK(!hm_codec_decode_linear(m->codec, c.z, 1, G, G, 0, 1, px), "decode");
    CHECK_NEAR(px[3 * (5 * w + 20)], 180 / 255.0, 0.02, "known pixel is %g", px[3 * (5 * w + 20)]);
    CHECK(px[3 * (5 * w + 30)] > 0.55f, "the pixel behind the border is %g", px[3 * (5 * w + 30)]);
    free(px);
    hm_canvas_deinit(&c);
}

/* A second that begins behind known frames goes on from them: they are met, and no later pair of frames is a jump. */
static void test_paste_in_time(himmel_ctx *ctx)
{
    const hm_himmel1 *m = ctx->model;
    enum { G = 4, T = 3, LOOK = 24 };
    const size_t px = (size_t)G * G * HM_BLOCK * HM_BLOCK, frame = (size_t)G * G * (size_t)hm_codec_channels(m->codec);
    hm_canvas c;
    CHECK(!hm_canvas_init(&c, m, G, G, T, true, NULL), "canvas");
    for (int f = -HM_BEFORE; f <= HM_FPS; f++) {
        memset(hm_canvas_rgb(&c, f), 180, 3 * px);
        memset(hm_canvas_known(&c, f), HM_PX_KNOWN, px);
    }
    CHECK(!hm_canvas_encode(&c, NULL) && c.state[G * G] == 2 && c.state[2 * G * G] == 1, "states");
    float *grey = malloc(3 * px * HM_WINDOW * sizeof *grey), *film = malloc(3 * px * LOOK * sizeof *film);
    for (size_t i = 0; i < 3 * px * HM_WINDOW; i++) grey[i] = 0.4f; /* what the model made of it */
    CHECK(!hm_codec_encode(m->codec, grey, G, G, c.z + 2 * frame), "encode");
    hm_canvas_paste(&c, c.z, 0, T, 16);
    CHECK(!hm_codec_decode_linear(m->codec, c.z, T, G, G, HM_FPS - 4, LOOK, film), "decode");
    double most = 0;
    for (int f = 1; f < LOOK; f++) {
        double sum = 0;
        for (size_t i = 0; i < 3 * px; i++) sum += fabs(film[3 * px * (size_t)f + i] - film[3 * px * (size_t)(f - 1) + i]);
        most = fmax(most, sum / (double)(3 * px));
    }
    CHECK_NEAR(film[3 * px * 4], 180 / 255.0, 0.025, "the known frame is %g", film[3 * px * 4]);
    CHECK(most < 0.05, "a jump of %g between neighbours", most);
    free(grey), free(film);
    hm_canvas_deinit(&c);
}

/* ---- edits ---- */

/* Nothing of what the mask covers is in the result, not even in the feather: two pictures that differ there only become
 * the same. */
static void test_covered(himmel_ctx *ctx)
{
    himmel_error err = {0};
    himmel_request r = request(in_dir("covered.png"));
    himmel_edit e = himmel_edit_default();
    uint8_t *is[2], rgb[3 * W * H];
    hm_media_info info;
    r.kind = HIMMEL_IMAGE;
    make_mask(in_dir("m2.png"), W, H, 24, 72);
    for (int k = 0, n; k < 2; k++) {
        const himmel_clip clip = {.path = in_dir(k ? "b.png" : "a.png")};
        const hm_frame f = {HM_FRAME_RGB8, W, H, {rgb}, {3 * W}};
        draw(rgb, W, H, 0, 60);
        for (int i = 0; k && i < W * H; i++)
            if (i % W >= 26 && i % W < 70) memset(rgb + 3 * i, 250, 3);
        CHECK(!hm_image_write(clip.path, &f, NULL, 0, NULL, NULL), "write");
        e.mode = HIMMEL_EDIT_CHANGE, e.clips = &clip, e.n_clips = 1, e.mask = in_dir("m2.png");
        CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
        is[k] = frames_of(r.output, &n, &info);
    }
    double sum = 0;
    for (int i = 0; i < 3 * W * H; i++) sum += i / 3 % W >= 26 && i / 3 % W < 34 ? abs(is[0][i] - is[1][i]) : 0;
    CHECK(sum / (3 * 8 * H) <= 3, "what was covered shows by %g", sum / (3 * 8 * H)); /* the watermarks have other messages */
    free(is[0]), free(is[1]);
}

static void test_inpaint_picture(himmel_ctx *ctx)
{
    himmel_error err = {0};
    himmel_request r = request(in_dir("in.png"));
    himmel_edit e = himmel_edit_default();
    const himmel_clip clip = {.path = in_dir("p.png")};
    r.kind = HIMMEL_IMAGE;
    make_picture(clip.path, 130, 70, 60);
    make_mask(in_dir("m.png"), 130, 70, 30, 97);
    e.mode = HIMMEL_EDIT_CHANGE, e.clips = &clip, e.n_clips = 1;
    int n;
    hm_media_info info;
    uint8_t *was = frames_of(clip.path, &n, &info);
    for (int box = 0; box < 2; box++) {
        e.mask = box ? NULL : in_dir("m.png");
        if (box) e.box[0] = 30, e.box[1] = 0, e.box[2] = 67, e.box[3] = 70;
        CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
        uint8_t *is = frames_of(r.output, &n, &info);
        int outside = 0, inside = 0;
        CHECK(n == 1 && info.width == 130 && info.height == 70, "%d of %dx%d", n, info.width, info.height);
        for (int i = 0; i < 130 * 70; i++) {
            const bool in = i % 130 >= 30 && i % 130 < 97, same = !memcmp(was + 3 * i, is + 3 * i, 3);
            if (in) inside += !same;
            else outside += !same;
        }
        CHECK(outside == 0, "%d pixels outside the mask changed", outside);
        CHECK(inside > 130 * 70 / 3, "only %d pixels inside changed", inside);
        free(is);
    }
    e.box[2] = 0, e.outpaint = 1;
    r.width = 200, r.height = 70;
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    uint8_t *is = frames_of(r.output, &n, &info);
    int lost = 0, black = 0;
    for (int y = 0; y < 70; y++) {
        lost += memcmp(is + 3 * (size_t)(y * 200 + 34), was + 3 * (size_t)(y * 130), 390) != 0;
        black += is[3 * (size_t)(y * 200 + 5)] == 0 && is[3 * (size_t)(y * 200 + 195)] == 0;
    }
    CHECK(lost == 0 && black < 35, "%d rows of the picture changed, %d rows are black around it", lost, black);
    free(is), free(was);
}

/* ---- where a subject stands ---- */

static void test_place_words(void)
{
    static const struct { const char *prompt; double x; const char *want; } cases[] = {
        {"a hot-air balloon", 0.1, "a hot-air balloon on the left"},
        {"a red sailing boat at dusk", 0.5, "a red sailing boat in the centre at dusk"},
        {"Two kites, over the dunes.", 0.9, "Two kites on the right, over the dunes."},
        {"the lighthouse is white", 0.34, "the lighthouse in the centre is white"},
        {"the moon rising over the sea", 0.2, "the moon rising on the left over the sea"},
        {"ein roter Heißluftballon über dem Meer", 0.1, "ein roter Heißluftballon links über dem Meer"},
        {"Ein Segelboot auf dem See", 0.6, "Ein Segelboot in der Mitte auf dem See"},
        {"drei Laternen am Abend", 0.7, "drei Laternen rechts am Abend"},
        {"my grumpy piano beside a lighthouse with gherkins", 0.9, "my grumpy piano beside a lighthouse on the right with gherkins"},
        {"a balloon on the right", 0.1, NULL}, /* says it already */
        {"in der Mitte ein Leuchtturm", 0.1, NULL},
        {"clear sky", 0.1, NULL}, /* no subject, or one that has no side */
        {"stürmisches Meer bei Nacht", 0.9, NULL},
        {"shooting stars over the hills", 0.9, NULL},
        {"piano", 0.1, NULL},
        {"", 0.1, NULL}};
    char buf[128];
    for (size_t i = 0; i < HM_COUNT(cases); i++) {
        const bool placed = hm_prompt_place(cases[i].prompt, cases[i].x, buf, sizeof buf);
        CHECK(placed == !!cases[i].want && (!placed || !strcmp(buf, cases[i].want)), "%s: %s", cases[i].prompt, placed ? buf : "as it was");
    }
    CHECK(!hm_prompt_place("a boat", 0.1, buf, 12), "no room");
}

/* The words that the model gets for a change of p.png. */
static void check_plan(himmel_ctx *ctx, const himmel_request *r, const himmel_edit *e, const char *want)
{
    himmel_error err = {0};
    hm_edit *d = calloc(1, sizeof *d);
    if (!d) abort();
    *d = (hm_edit){.ctx = ctx, .e = e, .req = *r};
    CHECK(!hm_edit_plan(d, &err), "%s", err.message);
    CHECK(d->n_words == 1 && !strcmp(d->words[0].prompt, want), "%s, not %s", d->words[0].prompt, want);
    CHECK(!strcmp(d->req.prompt, r->prompt), "the request says %s", d->req.prompt);
    hm_edit_deinit(d);
    free(d);
}

static void test_place(himmel_ctx *ctx)
{
    himmel_request r = request(in_dir("placed.png"));
    himmel_edit e = himmel_edit_default();
    const himmel_clip clip = {.path = in_dir("place.png")};
    r.kind = HIMMEL_IMAGE, r.prompt = "a balloon";
    make_picture(clip.path, 200, 70, 60);
    make_mask(in_dir("placemask.png"), 200, 70, 150, 190);
    e.mode = HIMMEL_EDIT_CHANGE, e.clips = &clip, e.n_clips = 1;
    e.mask = in_dir("placemask.png"), check_plan(ctx, &r, &e, "a balloon on the right");
    e.mask = NULL, e.box[0] = 20, e.box[2] = 40, e.box[3] = 70, check_plan(ctx, &r, &e, "a balloon on the left");
    e.box[0] = 110, check_plan(ctx, &r, &e, "a balloon in the centre");
    r.width = 100, r.height = 70, check_plan(ctx, &r, &e, "a balloon on the right"); /* cropped to its middle half */
    e.fit = HIMMEL_FIT_PAD, check_plan(ctx, &r, &e, "a balloon in the centre");
    r.prompt = "clear sky", check_plan(ctx, &r, &e, "clear sky");
    r.prompt = "a balloon", r.width = 300, e.box[2] = 0, e.outpaint = 1, check_plan(ctx, &r, &e, "a balloon");
}

static void test_join(himmel_ctx *ctx)
{
    himmel_error err = {0};
    const himmel_clip clips[2] = {{.path = in_dir("a.mp4")}, {.path = in_dir("b.mp4")}};
    himmel_edit e = himmel_edit_default();
    himmel_request r = request(in_dir("join.mp4"));
    e.mode = HIMMEL_EDIT_JOIN, e.clips = clips, e.n_clips = 1;
    e.before = 0.5, e.after = 1.5; /* extend */
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    check_passed_through(r.output, clips[0].path, 12, 12 + FRAMES + 36);
    e.before = 0, e.after = 1, e.loop = 1;
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    check_passed_through(r.output, clips[0].path, 0, FRAMES + 23);
    e.loop = 0, e.after = 0, e.between = 1, e.n_clips = 2; /* blend */
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    check_passed_through(r.output, clips[0].path, 0, 2 * FRAMES + 23);
    check_passed_through(r.output, clips[1].path, FRAMES + 23, 2 * FRAMES + 23);
    const himmel_clip parts[2] = {{clips[1].path, 1, 0}, {clips[0].path, 0.25, 0.75}};
    e.between = 0, e.clips = parts; /* cut */
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    int n, m;
    hm_media_info info;
    uint8_t *is = frames_of(r.output, &n, &info), *a = frames_of(clips[0].path, &m, &info);
    CHECK(n == FRAMES - 24 + 12, "%d frames", n);
    CHECK(mean_difference(is + (size_t)3 * W * H * (FRAMES - 24), a + (size_t)3 * W * H * 6) < 3, "the second part begins elsewhere");
    free(is), free(a);
}

/* Loudness of seconds from..to of a file, dB. */
static double loudness(const char *path, double from, double to)
{
    hm_sound_in *s;
    const int n = (int)((to - from) * HM_SOUND_RATE);
    float *lr = calloc(2 * (size_t)n, sizeof *lr);
    double sum = 1e-12;
    CHECK(!hm_sound_open(&s, path, NULL), "%s", path);
    if (s) hm_sound_read(s, (int64_t)(from * HM_SOUND_RATE), n, lr, NULL);
    for (int i = 0; i < 2 * n; i++) sum += lr[i] * lr[i];
    hm_sound_free(s);
    free(lr);
    return 10 * log10(sum / (2 * n));
}

static void test_sound(himmel_ctx *ctx)
{
    himmel_error err = {0};
    const himmel_clip clip = {.path = in_dir("a.mp4")}, silent = {.path = in_dir("b.mp4")};
    himmel_edit e = himmel_edit_default();
    himmel_request r = request(in_dir("sound.mp4"));
    e.mode = HIMMEL_EDIT_JOIN, e.clips = &clip, e.n_clips = 1, e.after = 1;
    const double tone = 20 * log10(0.25 / sqrt(2));
    CHECK_NEAR(loudness(clip.path, 0.2, 1.4), tone, 0.5, "the input's tone: %g dB", loudness(clip.path, 0.2, 1.4));
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    CHECK_NEAR(loudness(r.output, 0.2, 1.4), tone, 0.5, "its sound was not kept: %g dB", loudness(r.output, 0.2, 1.4));
    CHECK(loudness(r.output, 1.8, 2.5) < -70, "new seconds are not silent: %g dB", loudness(r.output, 1.8, 2.5));
    r.sound = 1;
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    CHECK_NEAR(loudness(r.output, 0.2, 1.4), tone, 0.5, "its sound was not kept: %g dB", loudness(r.output, 0.2, 1.4));
    CHECK(loudness(r.output, 1.8, 2.5) > -60, "the soundtrack is silent: %g dB", loudness(r.output, 1.8, 2.5));
    e.clips = &silent, e.after = 0, r.sound = 0;
    hm_sound_in *s;
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    CHECK(!hm_sound_open(&s, r.output, &err) && !s, "a silent film became one with sound");
    hm_sound_free(s);
}

/* A new film shows its pictures at their seconds: exactly what its reconstruction lacks is added there. */
/* ---- inputs that another process decodes; here a thread plays it ---- */

typedef struct { int fd; char path[256]; } far_end;

static void *serve_far(void *user)
{
    far_end *f = user;
    himmel_read_serve(f->fd, f->path);
    close(f->fd);
    free(f);
    return NULL;
}

static int open_far(void *count, const char *path)
{
    int s[2];
    pthread_t t;
    far_end *f = malloc(sizeof *f);
    if (!f || socketpair(AF_UNIX, SOCK_STREAM, 0, s)) return -1;
    f->fd = s[1];
    snprintf(f->path, sizeof f->path, "%s", path);
    if (pthread_create(&t, NULL, serve_far, f)) return -1;
    pthread_detach(t);
    ++*(int *)count;
    return s[0];
}

/* Everything that an edit takes from its inputs comes through to the bit. */
static void same_from_far(himmel_ctx *ctx, const char *what, himmel_edit e, const char *ending)
{
    himmel_error err = {0};
    size_t n[2] = {0};
    uint8_t *bytes[2] = {0};
    int opened = 0;
    himmel_request r = request(in_dir(ending));
    r.sound = 0, r.prompt = e.mode == HIMMEL_EDIT_JOIN ? NULL : r.prompt;
    if (!strstr(ending, ".mp4")) r.kind = HIMMEL_IMAGE;
    for (int far = 0; far < 2; far++) {
        if (far) e.reader = open_far, e.reader_user = &opened;
        CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s: %s", what, err.message);
        FILE *f = fopen(r.output, "rb");
        if (!f) continue;
        bytes[far] = malloc(16 << 20);
        n[far] = fread(bytes[far], 1, 16 << 20, f);
        fclose(f);
    }
    CHECK(opened > 0, "%s: nothing was asked for", what);
    CHECK(n[0] > 0 && n[0] == n[1] && !memcmp(bytes[0], bytes[1], n[0]), "%s: %zu bytes, from far %zu, others", what, n[0], n[1]);
    free(bytes[0]), free(bytes[1]);
}

static void test_far(himmel_ctx *ctx)
{
    const himmel_clip clips[2] = {{.path = in_dir("a.mp4")}, {in_dir("b.mp4"), 0.5, 0}};
    himmel_edit e = himmel_edit_default();
    e.mode = HIMMEL_EDIT_JOIN, e.clips = clips, e.n_clips = 2, e.between = 1;
    same_from_far(ctx, "blend", e, "far.mp4"); /* with the sound of a */
    e = himmel_edit_default();
    e.mode = HIMMEL_EDIT_CHANGE, e.clips = clips, e.n_clips = 1, e.box[2] = 30, e.box[3] = 40;
    same_from_far(ctx, "inpaint", e, "far.mp4");
    himmel_error err = {0};
    himmel_request r = request(in_dir("none.mp4"));
    int opened = 0;
    const himmel_clip none = {.path = in_dir("there-is-none.mp4")};
    e.clips = &none, e.reader = open_far, e.reader_user = &opened;
    CHECK(himmel_edit_run(ctx, &r, &e, NULL, &err) == HIMMEL_EFORMAT && strstr(err.message, "there-is-none"), "%s", err.message);
}

static void test_cards(himmel_ctx *ctx)
{
    himmel_error err = {0};
    himmel_edit e = himmel_edit_default();
    himmel_request r = request(in_dir("cards.mp4"));
    make_picture(in_dir("c0.png"), W, H, 40);
    make_picture(in_dir("c1.png"), W, H, 150);
    const himmel_card cards[] = {{.at = 0, .picture = in_dir("c0.png")}, {.at = 0.5, .prompt = "rain"}, {.at = 1.25, .picture = in_dir("c1.png")}};
    e.cards = cards, e.n_cards = 3;
    r.seconds = 2;
    CHECK(!himmel_edit_run(ctx, &r, &e, NULL, &err), "%s", err.message);
    int n, m;
    hm_media_info info;
    uint8_t *is = frames_of(r.output, &n, &info);
    CHECK(n == 48 && info.width == W && info.height == H, "%d frames of %dx%d", n, info.width, info.height);
    for (int k = 0; k < 2; k++) {
        uint8_t *want = frames_of(in_dir(k ? "c1.png" : "c0.png"), &m, &info);
        const double d = mean_difference(is + (size_t)3 * W * H * (k ? 30 : 0), want);
        CHECK(d < 3, "card %d: differs by %.2f", k, d);
        free(want);
    }
    free(is);
}

static void refused(himmel_ctx *ctx, const himmel_edit *e, bool image, const char *word)
{
    himmel_error err = {0};
    himmel_request r = request(in_dir(image ? "no.png" : "no.mp4"));
    if (image) r.kind = HIMMEL_IMAGE;
    CHECK(himmel_edit_run(ctx, &r, e, NULL, &err), "%s passed", word);
    CHECK(strstr(err.message, word), "\"%s\" does not say %s", err.message, word);
    CHECK(access(r.output, F_OK), "%s: something was written", word);
}

static void test_errors(himmel_ctx *ctx)
{
    himmel_clip clip = {.path = in_dir("a.mp4")};
    himmel_edit e = himmel_edit_default();
    make_film(in_dir("one.mp4"), 1, 60, false);
    make_mask(in_dir("empty.png"), W, H, 0, 0);
    make_mask(in_dir("small.png"), W / 2, H, 0, 10);
    e.clips = &clip, e.n_clips = 1, e.mode = HIMMEL_EDIT_CHANGE;
    refused(ctx, &e, false, "nothing says what may change");
    e.mask = in_dir("empty.png"), refused(ctx, &e, false, "the mask is empty");
    e.mask = in_dir("small.png"), refused(ctx, &e, false, "the mask is 48x64");
    e.mask = NULL, e.box[2] = 50, e.box[3] = 100, refused(ctx, &e, false, "does not lie in");
    e.box[3] = 20, e.box_from = 9, e.box_to = 10, refused(ctx, &e, false, "s long");
    e = himmel_edit_default(), e.clips = &clip, e.n_clips = 1, e.mode = HIMMEL_EDIT_JOIN, e.after = 57;
    refused(ctx, &e, false, "after is 57");
    e.after = 1, clip.path = in_dir("one.mp4"), refused(ctx, &e, false, "single picture");
    clip.path = in_dir("p.png"), refused(ctx, &e, false, "single picture");
    clip.path = in_dir("none.mp4"), refused(ctx, &e, false, "none.mp4");
    clip.path = in_dir("a.mp4"), clip.from = 5, refused(ctx, &e, false, "nothing from 5");
    clip.from = 0, e.after = 0, e.mode = HIMMEL_EDIT_UPSCALE, refused(ctx, &e, false, "ask for a larger size");
    const himmel_card cards[2] = {{.at = 0.5, .prompt = "a"}, {.at = 0.2, .prompt = "b"}};
    e = himmel_edit_default(), e.cards = cards, e.n_cards = 2;
    refused(ctx, &e, false, "ascend");
}

static int stop(void *user, const himmel_progress *p)
{
    int *calls = user;
    (void)p;
    return ++*calls == 4;
}

static void test_cancel(himmel_ctx *ctx)
{
    himmel_error err = {0};
    const himmel_clip clip = {.path = in_dir("a.mp4")};
    himmel_edit e = himmel_edit_default();
    himmel_request r = request(in_dir("stopped.mp4"));
    int calls = 0;
    r.on_progress = stop, r.user = &calls;
    e.mode = HIMMEL_EDIT_JOIN, e.clips = &clip, e.n_clips = 1, e.after = 1;
    CHECK(himmel_edit_run(ctx, &r, &e, NULL, &err) == HIMMEL_ECANCELLED && calls == 4, "%d calls: %s", calls, err.message);
    CHECK(access(r.output, F_OK) && access(in_dir("stopped.mp4.part"), F_OK), "something was left");
}

int main(void)
{
    if (!make_dir()) return 1;
    himmel_error err = {0};
    const hm_himmel1_config c = tiny_config();
    himmel_ctx *ctx;
    himmel_options o = himmel_options_default();
    o.identity = in_dir("identity");
    if (tiny_model_write(in_dir("tiny.safetensors"), &c, &err) || himmel_open(&ctx, in_dir("tiny.safetensors"), &o, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    make_film(in_dir("a.mp4"), FRAMES, 60, true);
    make_film(in_dir("b.mp4"), FRAMES, 140, false);
    test_fill();
    test_synth();
    test_canvas(ctx);
    test_paste(ctx);
    test_paste_in_time(ctx);
    test_covered(ctx);
    test_inpaint_picture(ctx);
    test_place_words();
    test_place(ctx);
    test_join(ctx);
    test_sound(ctx);
    test_far(ctx);
    test_cards(ctx);
    test_errors(ctx);
    test_cancel(ctx);
    himmel_close(ctx);
    if (!remove_dir()) return 1;
    return CHECK_END();
}
