/* test_edit_wan.c - the editing modes with tiny Wans of random weights (edit_modes.h): what every kind of transformer does, and
 * what it refuses with a sentence.   SPDX-License-Identifier: MIT */
#include "film/edit_modes.h"
#include "models/wan_tiny.h"

static himmel_ctx *open_wan(const char *kind, const char *vae, const char *clip)
{
    himmel_error err = {0};
    char name[32];
    snprintf(name, sizeof name, "%s.safetensors", kind);
    const char *main_file = in_dir(name), *with[] = {vae, FIXTURES "/umt5_tiny.safetensors", in_dir("words.model"), clip};
    CHECK(!wan_tiny_write(kind, main_file, HM_WAN_ORIGINAL, 1, &err), "%s", err.message);
    return open_model(main_file, with, clip ? 4 : 3);
}

static const char vae21[] = FIXTURES "/wan21_vae.safetensors", vae22[] = FIXTURES "/wan22_vae.safetensors", clip[] = FIXTURES "/clip_vision_tiny.safetensors";

static void refuse_to_join(himmel_ctx *ctx, size_t n, double before, double between, double after, const char *word)
{
    const himmel_clip clips[2] = {{.path = in_dir("a.mp4")}, {.path = in_dir("b.mp4")}};
    himmel_edit e = joining(clips, n);
    e.before = before, e.between = between, e.after = after;
    refused(ctx, &e, word);
}

static void refuse_box(himmel_ctx *ctx, const char *word)
{
    const himmel_clip clips = {.path = in_dir("a.mp4")};
    himmel_edit e = changing(&clips);
    e.box[2] = 40, e.box[3] = 40;
    refused(ctx, &e, word);
}

/* With another reference, another film; without, another one again. */
static void test_reference(himmel_ctx *ctx)
{
    inputs in = two_films();
    const char *const pictures[] = {NULL, in_dir("p.png"), in_dir("q.png")};
    uint8_t *is[3];
    int n = 0;
    make_picture(pictures[1], 40, 70, 60);
    make_picture(pictures[2], 70, 40, 200);
    himmel_edit e = joining(in.clip, 1);
    e.after = 1;
    for (int i = 0; i < 3; i++) {
        e.reference = pictures[i];
        is[i] = make(ctx, request(in_dir("reference.mp4")), &e, &n);
        CHECK(n == FRAMES + 24 && worst_apart(is[i], 0, in.px[0], 0, FRAMES) < 0.5, "reference: %d frames", n);
        for (int k = 0; k < i; k++) CHECK(apart(is[i], is[k], n - 1, n - 1) > 0.3, "reference %d changes nothing: %.2f", i, apart(is[i], is[k], n - 1, n - 1));
    }
    for (int i = 0; i < 3; i++) free(is[i]);
    himmel_edit new = himmel_edit_default(); /* of a film from words, in one go */
    himmel_request r = request(in_dir("new.mp4"));
    r.width = W, r.height = H, r.fps_num = 24, r.fps_den = 1;
    new.reference = pictures[2];
    is[0] = make(ctx, r, &new, &n);
    CHECK(n == 24, "a film with a reference: %d frames", n);
    new.reference = pictures[1];
    is[1] = make(ctx, r, &new, &n);
    CHECK(apart(is[0], is[1], n - 1, n - 1) > 0.3, "a new film does not look at its reference");
    free(is[0]), free(is[1]);
    drop(&in);
}

static void vace(void)
{
    himmel_ctx *ctx = open_wan("vace", vae21, NULL);
    if (!ctx) return;
    test_extend(ctx, true);
    test_blend_and_loop(ctx);
    test_windows(ctx, 3);
    test_inpaint(ctx);
    test_picture(ctx);
    test_remix(ctx, false);
    test_reference(ctx);
    himmel_close(ctx);
}

static void t2v(void)
{
    himmel_ctx *ctx = open_wan("t2v", vae21, NULL);
    if (!ctx) return;
    test_inpaint(ctx);
    test_picture(ctx);
    test_remix(ctx, false);
    refuse_to_join(ctx, 1, 0, 0, 1, "makes films from words alone");
    himmel_request r = request(in_dir("long.mp4"));
    himmel_plan_info plan;
    himmel_error err = {0};
    r.width = W, r.height = H, r.fps_num = 16, r.fps_den = 1, r.seconds = 16;
    CHECK(himmel_generate(ctx, &r, NULL, &err) == HIMMEL_EINVAL && strstr(err.message, "makes at most 241 (15.1 s)"), "%s", err.message);
    CHECK(himmel_plan(ctx, &r, &plan, &err) == HIMMEL_EINVAL && strstr(err.message, "makes at most 241 (15.1 s)"), "%s", err.message);
    const himmel_clip one = {.path = in_dir("a.mp4")};
    himmel_edit e = changing(&one);
    e.strength = 0.5, e.reference = in_dir("p.png");
    refused(ctx, &e, "takes no reference picture");
    himmel_close(ctx);
}

static void ti2v(void)
{
    himmel_ctx *ctx = open_wan("ti2v", vae22, NULL);
    if (!ctx) return;
    test_extend(ctx, false);
    test_inpaint(ctx);
    test_remix(ctx, false);
    refuse_to_join(ctx, 1, 1, 0, 0, "cannot lead to a film");
    refuse_to_join(ctx, 2, 0, 1, 0, "cannot lead to a film");
    himmel_close(ctx);
}

static void i2v(void)
{
    himmel_ctx *ctx = open_wan("i2v", vae21, clip);
    if (!ctx) return;
    test_extend(ctx, false);
    test_blend_and_loop(ctx);
    refuse_to_join(ctx, 1, 1, 0, 0, "needs a picture to begin with");
    refuse_box(ctx, "keeps the first picture of a film whole");
    himmel_close(ctx);
}

static void flf2v(void)
{
    himmel_ctx *ctx = open_wan("flf2v", vae21, clip);
    if (!ctx) return;
    test_blend_and_loop(ctx);
    refuse_to_join(ctx, 1, 0, 0, 1, "needs a picture to end with");
    refuse_box(ctx, "keeps the first picture of a film whole");
    himmel_close(ctx);
}

int main(void)
{
    if (!make_dir()) return 1;
    write_tokenizer(in_dir("words.model"));
    make_film(in_dir("a.mp4"), FRAMES, 60, false);
    make_film(in_dir("b.mp4"), FRAMES, 140, false);
    vace();
    t2v();
    ti2v();
    i2v();
    flf2v();
    if (!remove_dir()) return 1;
    return CHECK_END();
}
