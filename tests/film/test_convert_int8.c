/* test_convert_int8.c - transformers converted to int8 are computed in it without being asked, to the same bits as with
 * precision int8, from any type that they were stored in.   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "himmel.h"
#include "models/model.h"
#include "models/wan_tiny.h"
#include "temp.h"
#include "words.h"

enum { W = 64, H = 64, N = 9, FRAME = 3 * W * H };
#define F(name) FIXTURES "/" name ".safetensors"
static himmel_status on_frame(void *user, int i, const float *rgb, himmel_error *err)
{
    (void)err;
    memcpy((float *)user + (size_t)i * FRAME, rgb, FRAME * sizeof *rgb);
    return HIMMEL_OK;
}

static void film(const char *main_file, const char *const *with, int n_with, bool int8, float *out)
{
    const char *paths[5] = {main_file};
    hm_model *m = NULL;
    hm_model_cost c;
    hm_model_facts f;
    himmel_error err = {0};
    for (int i = 0; i < n_with; i++) paths[1 + i] = with[i];
    himmel_status rc = hm_model_open(&m, &(hm_model_files){paths, 1 + n_with, NULL, 0, int8}, &err);
    CHECK(!rc, "%s", err.message);
    if (rc) return;
    hm_model_get_facts(m, &f);
    const hm_model_job job = {.prompt = "a cat on the sea", .width = W, .height = H, .n_frames = N, .fps = 16, .seed = 3, .steps = 2, .guidance = 1, .threads = 2,
                              .on_frame = on_frame, .user = out};
    rc = hm_model_run(m, &job, &c, &err);
    CHECK(!rc && (int8 || !strstr(main_file, "int8.safetensors") || f.int8_bytes > 0), "%s: %s", main_file, err.message);
    hm_model_close(m);
}

static int count_int8(const char *path)
{
    hm_st *st;
    himmel_error err = {0};
    int n = 0;
    CHECK(!hm_st_open(&st, path, &err) && hm_st_is_int8(st), "%s: %s", path, err.message);
    for (size_t i = 0; i < hm_st_count(st); i++) n += hm_st_at(st, i, NULL)->dtype == HM_I8;
    hm_st_close(st);
    return n;
}

/* type: what the source is converted to first, NULL: nothing. */
static void same(const char *source, const char *type, const char *const *with, int n_with)
{
    static float plain[N * FRAME], asked[N * FRAME], stored[N * FRAME];
    himmel_error err = {0};
    himmel_converted c;
    const char *from = source, *to = in_dir("int8.safetensors");
    if (type) CHECK(!himmel_convert(source, from = in_dir(strcmp(type, "q8_0") ? "from.safetensors" : "from.gguf"), type, NULL, NULL, NULL, &err), "%s", err.message);
    CHECK(!himmel_convert(from, to, "int8", NULL, NULL, &c, &err), "%s", err.message);
    const int n = count_int8(to);
    CHECK(n == (int)c.n_converted && n > 10, "%d tensors are int8, %zu were converted", n, c.n_converted);
    film(from, with, n_with, false, plain);
    film(from, with, n_with, true, asked);
    film(to, with, n_with, false, stored);
    CHECK(!memcmp(asked, stored, sizeof asked), "%s as %s: not what --precision int8 makes", source, type ? type : "it is");
    CHECK(memcmp(plain, stored, sizeof plain), "%s: nothing was rounded", source);
    film(to, with, n_with, true, asked);
    CHECK(!memcmp(asked, stored, sizeof asked), "%s: asked for, other frames", source);
}

int main(void)
{
    himmel_error err = {0};
    if (!make_dir()) return 1;
    write_tokenizer(in_dir("words.model"));
    char words[96];
    snprintf(words, sizeof words, "%s", in_dir("words.model"));
    CHECK(!wan_tiny_write("vace", in_dir("vace.safetensors"), HM_WAN_DIFFUSERS, 1, &err), "%s", err.message);
    char main_file[96];
    snprintf(main_file, sizeof main_file, "%s", in_dir("vace.safetensors"));
    const char *const wan[] = {F("wan21_vae"), F("umt5_tiny"), words}, *const ltx[] = {F("ltx_t5"), words};
    same(main_file, NULL, wan, 3);
    same(main_file, "bf16", wan, 3);
    same(main_file, "q8_0", wan, 3);
    same(F("ltx_pipe_model"), NULL, ltx, 2);
    CHECK(remove_dir(), "not cleaned up");
    return CHECK_END();
}
