/* test_edit_released.c - the editing modes with a tiny LTX-Video of random
 * weights (edit_modes.h); what it cannot do is refused.
 * SPDX-License-Identifier: MIT */
#include "film/edit_modes.h"

static void test_errors(himmel_ctx *ctx)
{
    const himmel_clip clip = {.path = in_dir("a.mp4")};
    himmel_edit e = changing(&clip);
    refused(ctx, &e, "nothing says what may change");
    e.mode = HIMMEL_EDIT_UPSCALE;
    refused(ctx, &e, "upscaling is done by himmel-1");
}

/* A film from words, longer than the model can at once: windows, as planned. */
static void test_long(himmel_ctx *ctx)
{
    himmel_request r = request(in_dir("words.mp4"));
    himmel_plan_info plan;
    himmel_result result;
    himmel_error err = {0};
    hm_media_info info;
    int n, m;
    r.width = W, r.height = H, r.fps_num = 25, r.fps_den = 1, r.seconds = 11, r.crf = 1;
    CHECK(!himmel_plan(ctx, &r, &plan, &err) && plan.n_frames == 275, "%d frames planned: %s", plan.n_frames, err.message);
    CHECK(!himmel_generate(ctx, &r, &result, &err) && result.n_frames == 275, "%d frames: %s", result.n_frames, err.message);
    const double used = result.phase[0].gflop + result.phase[1].gflop;
    CHECK(fabs(used - plan.gflop_sample) <= 1e-6 * used, "%.6f GFLOP planned, %.6f used", plan.gflop_sample, used);
    uint8_t *is = frames_of(r.output, &n, &info);
    CHECK(n == 275 && step_at(is, 121, 120, 0, 121) < 1.5, "%d frames, %.1f of the largest step where the second window begins", n, step_at(is, 121, 120, 0, 121));
    r.output = in_dir("again.mp4");
    CHECK(!himmel_generate(ctx, &r, &result, &err), "%s", err.message);
    uint8_t *again = frames_of(r.output, &m, &info);
    CHECK(m == n && !memcmp(is, again, (size_t)3 * W * H * (size_t)n), "same request, other frames");
    free(is), free(again);
}

static void ltx(void)
{
    const char *const with[] = {FIXTURES "/ltx_t5.safetensors", in_dir("words.model")};
    himmel_ctx *ctx = open_model(FIXTURES "/ltx_pipe_model.safetensors", with, 2);
    if (!ctx) return;
    test_extend(ctx, true);
    test_blend_and_loop(ctx);
    test_windows(ctx, 2);
    test_inpaint(ctx);
    test_picture(ctx);
    test_remix(ctx, true);
    test_stop_and_go_on(ctx);
    test_errors(ctx);
    test_long(ctx);
    himmel_close(ctx);
}

int main(void)
{
    if (!make_dir()) return 1;
    write_tokenizer(in_dir("words.model"));
    make_film(in_dir("a.mp4"), FRAMES, 60, false);
    make_film(in_dir("b.mp4"), FRAMES, 140, false);
    ltx();
    if (!remove_dir()) return 1;
    return CHECK_END();
}
