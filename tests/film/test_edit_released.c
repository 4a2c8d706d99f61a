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
    himmel_close(ctx);
}

int main(void)
{
    if (!mkdtemp(dir)) return 1;
    write_tokenizer(in_dir("words.model"));
    make_film(in_dir("a.mp4"), FRAMES, 60, false);
    make_film(in_dir("b.mp4"), FRAMES, 140, false);
    ltx();
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    if (system(cmd)) return 1;
    return CHECK_END();
}
