/* test_scaled.c - fp8 weights with a scale beside them, as ComfyUI's files have it: the film is that of the same numbers in
 * f32, in the transformer, umT5 and with a LoRA; int8 files whose rules are others' are refused.   SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "models/model.h"
#include "models/wan_tiny.h"
#include "temp.h"
#include "words.h"

enum { W = 64, H = 64, N = 5, FRAME = 3 * W * H, MOST = 200 };
#define F(name) FIXTURES "/" name ".safetensors"
/* The nearest of fp8's numbers. */
static uint8_t to_fp8(float x)
{
    static float value[256];
    static uint8_t code[256];
    if (!code[1]) {
        for (int i = 0; i < 256; i++) code[i] = (uint8_t)i;
        hm_convert(value, HM_F32, code, HM_F8E4M3, 256);
    }
    int best = 0;
    for (int i = 1; i < 256; i++)
        if (fabsf(value[i] - x) < fabsf(value[best] - x)) best = i; /* NaN is never nearer */
    return (uint8_t)best;
}

static bool is_linear(const char *name, const hm_tensor *t)
{
    const size_t n = strlen(name);
    return t->nd == 2 && !strncmp(name, "blocks.", 7) && n > 7 && !strcmp(name + n - 7, ".weight") && !strstr(name, "pos_embedding");
}

/* The linear layers of `from` as fp8 with a scale (no power of two), and, in another file, what these numbers are in f32. */
static void write_both(const char *from, const char *scaled, const char *plain)
{
    hm_st *st;
    himmel_error err = {0};
    static void *own[3 * MOST];
    int n_own = 0, n_scaled = 0;
    CHECK(!hm_st_open(&st, from, &err), "%s", err.message);
    hm_st_writer *w[2] = {hm_st_writer_new(), hm_st_writer_new()};
    himmel_status rc = hm_st_add(w[0], "scaled_fp8", HM_F8E4M3, HM_DIMS(0), "", &err);
    for (size_t i = 0; i < hm_st_count(st) && !rc; i++) {
        const char *name;
        const hm_tensor *t = hm_st_at(st, i, &name);
        const size_t n = (size_t)hm_numel(t);
        if (!is_linear(name, t)) {
            for (int k = 0; k < 2 && !rc; k++) rc = hm_st_add(w[k], name, t->dtype, t->nd, t->dim, t->data, &err);
            continue;
        }
        float *x = own[n_own++] = malloc(n * sizeof *x), *scale = own[n_own++] = malloc(sizeof *scale), top = 0;
        uint8_t *q = own[n_own++] = malloc(n);
        hm_convert(x, HM_F32, t->data, t->dtype, n);
        for (size_t k = 0; k < n; k++) top = fmaxf(top, fabsf(x[k]));
        *scale = top / 437;
        for (size_t k = 0; k < n; k++) q[k] = to_fp8(x[k] / *scale);
        hm_convert(x, HM_F32, q, HM_F8E4M3, n);
        for (size_t k = 0; k < n; k++) x[k] *= *scale;
        char other[256];
        snprintf(other, sizeof other, n_scaled++ % 2 ? "%.*s.weight_scale" : "%.*s.scale_weight", (int)strlen(name) - 7, name);
        rc = hm_st_add(w[0], name, HM_F8E4M3, t->nd, t->dim, q, &err);
        if (!rc) rc = hm_st_add(w[0], other, HM_F32, 0, NULL, scale, &err);
        if (!rc) rc = hm_st_add(w[1], name, HM_F32, t->nd, t->dim, x, &err);
    }
    if (!rc) rc = hm_st_write(w[0], scaled, &err);
    if (!rc) rc = hm_st_write(w[1], plain, &err);
    CHECK(!rc && n_scaled > 6, "%d tensors are scaled: %s", n_scaled, err.message);
    for (int i = 0; i < n_own; i++) free(own[i]);
    hm_st_writer_free(w[0]), hm_st_writer_free(w[1]);
    hm_st_close(st);
}

static void write_lora(const char *path)
{
    static float down[2 * 128], up[2 * 128];
    himmel_error err = {0};
    for (int i = 0; i < 256; i++) down[i] = sinf((float)i), up[i] = 0.3f * cosf((float)i);
    hm_st_writer *w = hm_st_writer_new();
    CHECK(!hm_st_add(w, "diffusion_model.blocks.1.self_attn.q.lora_A.weight", HM_F32, HM_DIMS(2, 128), down, &err) &&
              !hm_st_add(w, "diffusion_model.blocks.1.self_attn.q.lora_B.weight", HM_F32, HM_DIMS(128, 2), up, &err) && !hm_st_write(w, path, &err),
          "%s", err.message);
    hm_st_writer_free(w);
}

static himmel_status on_frame(void *user, int i, const float *rgb, himmel_error *err)
{
    (void)err;
    memcpy((float *)user + (size_t)i * FRAME, rgb, FRAME * sizeof *rgb);
    return HIMMEL_OK;
}

static void film(const char *main_file, const char *t5, const char *lora, bool int8, float *out)
{
    const char *const paths[] = {main_file, F("wan21_vae"), t5, in_dir("words.model")};
    const hm_lora one = {lora, 1};
    hm_model *m = NULL;
    hm_model_cost c;
    himmel_error err = {0};
    himmel_status rc = hm_model_open(&m, &(hm_model_files){paths, 4, &one, lora != NULL, int8}, &err);
    const hm_model_job job = {.prompt = "a cat on the sea", .width = W, .height = H, .n_frames = N, .fps = 16, .seed = 3, .steps = 2, .guidance = 1, .threads = 2,
                              .on_frame = on_frame, .user = out};
    if (!rc) rc = hm_model_run(m, &job, &c, &err);
    CHECK(!rc, "%s", err.message);
    hm_model_close(m);
}

static float original[N * FRAME], a[N * FRAME], b[N * FRAME];

static void same(const char *what)
{
    double off = 0, size = 0;
    for (int i = 0; i < N * FRAME; i++) off += fabs((double)a[i] - (double)b[i]), size += (double)b[i];
    CHECK(!memcmp(a, b, sizeof a), "%s: off by %g", what, off / size);
    CHECK(memcmp(a, original, sizeof a), "%s: as if nothing was rounded", what);
}

/* I8 tensors without himmel's rule. */
static void others_int8(void)
{
    hm_st *st;
    hm_model *m;
    himmel_error err = {0};
    CHECK(!hm_st_open(&st, in_dir("t2v.safetensors"), &err), "%s", err.message);
    hm_st_writer *w = hm_st_writer_new();
    himmel_status rc = HIMMEL_OK;
    int8_t *q = calloc(1, 1 << 20);
    static float scales[256];
    for (size_t i = 0; i < hm_st_count(st) && !rc; i++) {
        const char *name;
        const hm_tensor *t = hm_st_at(st, i, &name);
        const bool one = !strcmp(name, "blocks.0.ffn.0.weight");
        rc = hm_st_add(w, name, one ? HM_I8 : t->dtype, t->nd, t->dim, one ? (void *)q : t->data, &err);
        if (!rc && one) rc = hm_st_add(w, "blocks.0.ffn.0.weight_scale", HM_F32, HM_DIMS(t->dim[0]), scales, &err);
    }
    if (!rc) rc = hm_st_write(w, in_dir("others.safetensors"), &err);
    CHECK(!rc, "%s", err.message);
    CHECK(hm_model_open(&m, &(hm_model_files){(const char *[]){in_dir("others.safetensors")}, 1, NULL, 0, false}, &err) == HIMMEL_EMODEL && strstr(err.message, "is I8, not a weight"),
          "%s", err.message);
    hm_st_writer_free(w);
    hm_st_close(st);
    free(q);
}

int main(void)
{
    himmel_error err = {0};
    if (!make_dir()) return 1;
    write_tokenizer(in_dir("words.model"));
    CHECK(!wan_tiny_write("t2v", in_dir("t2v.safetensors"), HM_WAN_ORIGINAL, 1, &err), "%s", err.message);
    write_both(in_dir("t2v.safetensors"), in_dir("scaled.safetensors"), in_dir("plain.safetensors"));
    write_both(F("umt5_tiny"), in_dir("t5_scaled.safetensors"), in_dir("t5_plain.safetensors"));
    write_lora(in_dir("lora.safetensors"));
    film(in_dir("t2v.safetensors"), F("umt5_tiny"), NULL, false, original);
    film(in_dir("scaled.safetensors"), F("umt5_tiny"), NULL, false, a), film(in_dir("plain.safetensors"), F("umt5_tiny"), NULL, false, b);
    same("transformer");
    film(in_dir("t2v.safetensors"), in_dir("t5_scaled.safetensors"), NULL, false, a), film(in_dir("t2v.safetensors"), in_dir("t5_plain.safetensors"), NULL, false, b);
    same("text encoder");
    film(in_dir("scaled.safetensors"), F("umt5_tiny"), in_dir("lora.safetensors"), false, a), film(in_dir("plain.safetensors"), F("umt5_tiny"), in_dir("lora.safetensors"), false, b);
    same("LoRA");
    others_int8();
    CHECK(remove_dir(), "not cleaned up");
    return CHECK_END();
}
