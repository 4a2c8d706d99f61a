/* test_lora.c - LoRA files of every layout merged into tiny models: weights as computed by hand, the same film as with a file
 * of those weights, and files that do not fit.   SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "models/model.h"
#include "models/seen.h"
#include "models/wan_tiny.h"
#include "temp.h"
#include "words.h"

#define OK(c) CHECK(c, "does not hold")
#define F(name) FIXTURES "/" name ".safetensors"
enum { RANK = 4, MAX = 64 };

static char tok[64];

/* ---- files ---- */

/* Small multiples of 1/64: every product and sum of this test is exact in f32. */
static float *numbers(int64_t n, uint32_t seed)
{
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)((int)(seed >> 28) - 8) / 64;
    }
    return x;
}

typedef struct {
    hm_st_writer *w;
    float *kept[MAX];
    int n;
} file;

static void add(file *f, const char *name, int nd, const int64_t *dim, float *x)
{
    himmel_error err = {0};
    CHECK(!hm_st_add(f->w, name, HM_F32, nd, dim, x, &err), "%s", err.message);
    f->kept[f->n++] = x;
}

/* down [RANK, in...] and up [out, RANK] as `path` + the endings; alpha 0: none. */
static void add_pair(file *f, const char *path, const char *down, const char *up, const hm_tensor *w, float alpha, uint32_t seed)
{
    char name[256];
    int64_t d[HM_MAX_DIM] = {RANK}, u[HM_MAX_DIM] = {w->dim[0], RANK, 1, 1, 1};
    for (int i = 1; i < w->nd; i++) d[i] = w->dim[i];
    snprintf(name, sizeof name, "%s%s", path, down);
    add(f, name, w->nd, d, numbers(RANK * hm_numel(w) / w->dim[0], seed));
    snprintf(name, sizeof name, "%s%s", path, up);
    add(f, name, w->nd, u, numbers(w->dim[0] * RANK, seed + 1));
    if (alpha == 0) return;
    float *a = malloc(sizeof *a);
    *a = alpha;
    snprintf(name, sizeof name, "%s.alpha", path);
    add(f, name, 0, NULL, a);
}

static const char *finish(file *f, const char *name)
{
    himmel_error err = {0};
    const char *path = in_dir(name);
    CHECK(!hm_st_write(f->w, path, &err), "%s", err.message);
    hm_st_writer_free(f->w);
    for (int i = 0; i < f->n; i++) free(f->kept[i]);
    *f = (file){0};
    return path;
}

/* w += scale * up x down, by the definition. */
static void change(float *w, const hm_tensor *t, float scale, uint32_t seed)
{
    const int64_t rows = t->dim[0], cols = hm_numel(t) / rows;
    float *down = numbers(RANK * cols, seed), *up = numbers(rows * RANK, seed + 1);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            double sum = 0;
            for (int k = 0; k < RANK; k++) sum += (double)up[r * RANK + k] * down[k * cols + c];
            w[r * cols + c] += (float)(scale * sum);
        }
    free(down);
    free(up);
}

/* ---- models ---- */

static himmel_status on_frame(void *user, int i, const float *rgb, himmel_error *err)
{
    return see_frame(user, i, rgb, 3 * 32 * 32, err);
}

static double film(const char *const *paths, int n_paths, const hm_lora *loras, int n, himmel_error *err)
{
    hm_model *m;
    hm_model_cost c;
    seen s = {.in_range = true};
    hm_model_job job = {.prompt = "a cat", .width = 32, .height = 32, .n_frames = 9, .fps = 16, .seed = 3, .steps = 4, .guidance = 1, .threads = 1, .on_frame = on_frame, .user = &s};
    himmel_status rc = hm_model_open(&m, &(hm_model_files){paths, n_paths, loras, n, false}, err);
    if (!rc) rc = hm_model_run(m, &job, &c, err);
    hm_model_close(m);
    CHECK(!rc && s.next == 9, "%s", err->message);
    return s.sum;
}

/* Every tensor and the metadata of `from`, those that were changed in `to` with other numbers. */
typedef struct {
    const char *name;
    float scale;
    uint32_t seed; /* of change(); 0: + scale everywhere */
} edit;

static const char *edited(const char *from, const char *to, const edit *e, int n)
{
    himmel_error err = {0};
    hm_st *st;
    file f = {.w = hm_st_writer_new()};
    CHECK(!hm_st_open(&st, from, &err), "%s", err.message);
    if (hm_st_meta(st, "config")) hm_st_add_meta(f.w, "config", hm_st_meta(st, "config"), &err);
    for (size_t i = 0; i < hm_st_count(st); i++) {
        const char *name;
        const hm_tensor *t = hm_st_at(st, i, &name);
        const size_t count = (size_t)hm_numel(t);
        float *x = NULL;
        for (int k = 0; k < n; k++) {
            if (strcmp(e[k].name, name)) continue;
            if (!x) {
                x = malloc(count * sizeof *x);
                hm_convert(x, HM_F32, t->data, t->dtype, count);
            }
            if (e[k].seed) change(x, t, e[k].scale, e[k].seed);
            for (size_t j = 0; j < count && !e[k].seed; j++) x[j] += e[k].scale;
        }
        if (x) add(&f, name, t->nd, t->dim, x);
        else CHECK(!hm_st_add(f.w, name, t->dtype, t->nd, t->dim, t->data, &err), "%s", err.message);
    }
    const char *path = finish(&f, to);
    hm_st_close(st);
    return path;
}

static const hm_tensor *find(const hm_st *st, const char *name)
{
    const hm_tensor *t = hm_st_find(st, name);
    CHECK(t != NULL, "%s is not there", name);
    return t;
}

/* One LoRA in all layouts at once, and another one; the film is that of a file with the changed weights. */
static void wan(void)
{
    himmel_error err = {0};
    const char *base = in_dir("t2v.safetensors");
    CHECK(!wan_tiny_write("t2v", base, HM_WAN_ORIGINAL, 1, &err), "%s", err.message);
    hm_st *st;
    OK(!hm_st_open(&st, base, &err));
    file f = {.w = hm_st_writer_new()};
    add_pair(&f, "diffusion_model.blocks.0.self_attn.q", ".lora_A.weight", ".lora_B.weight", find(st, "blocks.0.self_attn.q.weight"), 0, 10);
    add_pair(&f, "lora_unet_blocks_1_ffn_0", ".lora_down.weight", ".lora_up.weight", find(st, "blocks.1.ffn.0.weight"), 8, 20);
    add_pair(&f, "transformer.blocks.1.attn2.to_out.0", ".lora_A.default.weight", ".lora_B.default.weight", find(st, "blocks.1.cross_attn.o.weight"), 0, 30);
    add_pair(&f, "transformer.condition_embedder.time_proj", ".lora.down.weight", ".lora.up.weight", find(st, "time_projection.1.weight"), 0, 40);
    add_pair(&f, "patch_embedding", ".lora_A.weight", ".lora_B.weight", find(st, "patch_embedding.weight"), 2, 50);
    const hm_tensor *bias = find(st, "blocks.0.ffn.2.bias");
    float *half = malloc((size_t)hm_numel(bias) * sizeof *half);
    for (int64_t i = 0; i < hm_numel(bias); i++) half[i] = 0.25f;
    add(&f, "diffusion_model.blocks.0.ffn.2.diff_b", bias->nd, bias->dim, half);
    const char *one = finish(&f, "one.safetensors");
    f.w = hm_st_writer_new();
    add_pair(&f, "blocks.0.self_attn.q", ".lora_A.weight", ".lora_B.weight", find(st, "blocks.0.self_attn.q.weight"), 0, 60);
    const char *two = finish(&f, "two.safetensors");
    hm_st_close(st);

    const edit edits[] = {{"blocks.0.self_attn.q.weight", 0.5f, 10},  {"blocks.1.ffn.0.weight", 0.5f * 8 / RANK, 20},
                          {"blocks.1.cross_attn.o.weight", 0.5f, 30}, {"time_projection.1.weight", 0.5f, 40},
                          {"patch_embedding.weight", 0.5f * 2 / RANK, 50}, {"blocks.0.ffn.2.bias", 0.125f, 0},
                          {"blocks.0.self_attn.q.weight", -2, 60}};
    const char *by_hand = edited(base, "by_hand.safetensors", edits, 7), *rest[] = {base, F("wan21_vae"), F("umt5_tiny"), tok};
    const double plain = film(rest, 4, NULL, 0, &err), none = film(rest, 4, (hm_lora[]){{one, 0}}, 1, &err);
    const double merged = film(rest, 4, (hm_lora[]){{one, 0.5}, {two, -2}}, 2, &err);
    rest[0] = by_hand;
    const double want = film(rest, 4, NULL, 0, &err);
    OK(none == plain && want != plain);
    OK(merged == want);

    /* the same LoRA on the same numbers under diffusers' names */
    rest[0] = in_dir("diffusers.safetensors");
    CHECK(!wan_tiny_write("t2v", rest[0], HM_WAN_DIFFUSERS, 1, &err), "%s", err.message);
    OK(film(rest, 4, (hm_lora[]){{one, 0.5}, {two, -2}}, 2, &err) == want);
}

/* A pair of experts: the file's name says which one it changes. */
static void experts(void)
{
    himmel_error err = {0};
    const char *high = in_dir("a_high_noise.safetensors"), *low = in_dir("a_low_noise.safetensors");
    OK(!wan_tiny_write("t2v", high, HM_WAN_ORIGINAL, 1, &err) && !wan_tiny_write("t2v", low, HM_WAN_ORIGINAL, 2, &err));
    hm_st *st;
    OK(!hm_st_open(&st, high, &err));
    const char *const names[] = {"lora_low_noise.safetensors", "lora_high_noise.safetensors", "lora.safetensors"};
    const char *lora[3];
    for (int i = 0; i < 3; i++) {
        file f = {.w = hm_st_writer_new()};
        add_pair(&f, "blocks.0.ffn.2", ".lora_A.weight", ".lora_B.weight", find(st, "blocks.0.ffn.2.weight"), 0, 70);
        lora[i] = finish(&f, names[i]);
    }
    hm_st_close(st);
    const edit e = {"blocks.0.ffn.2.weight", 1, 70};
    const char *high2 = edited(high, "b_high_noise.safetensors", &e, 1), *low2 = edited(low, "b_low_noise.safetensors", &e, 1);
    const char *const pair[] = {low, high, F("wan21_vae"), F("umt5_tiny"), tok}, *const low_by_hand[] = {high, low2, F("wan21_vae"), F("umt5_tiny"), tok},
               *const both_by_hand[] = {high2, low2, F("wan21_vae"), F("umt5_tiny"), tok}, *const high_by_hand[] = {high2, low, F("wan21_vae"), F("umt5_tiny"), tok};
    const double a = film(low_by_hand, 5, NULL, 0, &err), b = film(high_by_hand, 5, NULL, 0, &err), c = film(both_by_hand, 5, NULL, 0, &err);
    OK(a != b && b != c);
    OK(film(pair, 5, (hm_lora[]){{lora[0], 1}}, 1, &err) == a);
    OK(film(pair, 5, (hm_lora[]){{lora[1], 1}}, 1, &err) == b);
    OK(film(pair, 5, (hm_lora[]){{lora[2], 1}}, 1, &err) == c);
}

static void ltx(void)
{
    himmel_error err = {0};
    const char *base = F("ltx_pipe_model");
    hm_st *st;
    OK(!hm_st_open(&st, base, &err));
    file f = {.w = hm_st_writer_new()};
    add_pair(&f, "transformer.transformer_blocks.0.attn1.to_q", ".lora_A.weight", ".lora_B.weight",
             find(st, "model.diffusion_model.transformer_blocks.0.attn1.to_q.weight"), 0, 10);
    add_pair(&f, "diffusion_model.transformer_blocks.1.ff.net.2", ".lora_A.weight", ".lora_B.weight",
             find(st, "model.diffusion_model.transformer_blocks.1.ff.net.2.weight"), 0, 20);
    add_pair(&f, "transformer.proj_in", ".lora_A.weight", ".lora_B.weight", find(st, "model.diffusion_model.patchify_proj.weight"), 0, 30);
    const char *lora = finish(&f, "ltx_lora.safetensors");
    hm_st_close(st);
    const edit edits[] = {{"model.diffusion_model.transformer_blocks.0.attn1.to_q.weight", 1, 10},
                          {"model.diffusion_model.transformer_blocks.1.ff.net.2.weight", 1, 20},
                          {"model.diffusion_model.patchify_proj.weight", 1, 30}};
    const char *rest[] = {base, F("ltx_t5"), tok};
    const double plain = film(rest, 3, NULL, 0, &err), merged = film(rest, 3, (hm_lora[]){{lora, 1}}, 1, &err);
    rest[0] = edited(base, "ltx_by_hand.safetensors", edits, 3);
    OK(film(rest, 3, NULL, 0, &err) == merged && merged != plain);
}

/* Types: f16 stays, blocks become bf16; the number is the f32 sum, rounded once. */
static void types(void)
{
    himmel_error err = {0};
    static const char *const files[] = {FIXTURES "/wan21_t2v_dit_f16.gguf", FIXTURES "/wan21_t2v_dit_mixed.gguf", FIXTURES "/wan21_t2v_dit_bf16.safetensors"};
    static const char name[] = "blocks.0.ffn.0.weight";
    for (size_t k = 0; k < HM_COUNT(files); k++) {
        hm_st *st, *same;
        OK(!hm_st_open(&st, files[k], &err) && !hm_st_open(&same, files[k], &err));
        const hm_tensor *was = find(same, name), *is = find(st, name);
        const hm_dtype to = was->dtype == HM_F16 ? HM_F16 : HM_BF16;
        const size_t n = (size_t)hm_numel(was), size = n * hm_dtype_size(to);
        if (k == 1) OK(hm_dtype_block(was->dtype) > 1);
        file f = {.w = hm_st_writer_new()};
        add_pair(&f, "blocks.0.ffn.0", ".lora_A.weight", ".lora_B.weight", was, 0, 10);
        const char *lora = finish(&f, "types.safetensors");
        uint64_t bytes = 0;
        CHECK(!hm_lora_merge(st, "", NULL, &(hm_lora){lora, 1}, 1, &bytes, &err), "%s", err.message);
        float *w = malloc(n * sizeof *w);
        void *want = malloc(size);
        hm_convert(w, HM_F32, was->data, was->dtype, n);
        change(w, was, 1, 10);
        hm_convert(want, to, w, HM_F32, n);
        CHECK(is->dtype == to && bytes == size && !memcmp(is->data, want, size), "%s: %s", files[k], hm_dtype_name(is->dtype));
        free(w);
        free(want);
        hm_st_close(st);
        hm_st_close(same);
    }
}

/* ---- what does not fit ---- */

static void refused(hm_st *st, file *f, himmel_status code, const char *part)
{
    himmel_error err = {0};
    const char *path = finish(f, "bad.safetensors");
    const hm_tensor *w = find(st, "blocks.0.ffn.0.weight");
    const void *before = w->data;
    const himmel_status rc = hm_lora_merge(st, "", hm_wan_other_name, &(hm_lora){path, 1}, 1, NULL, &err);
    CHECK(rc == code && strstr(err.message, part) && strstr(err.message, "bad.safetensors") && w->data == before, "%d, not \"%s\": %s", (int)rc, part, err.message);
    f->w = hm_st_writer_new();
}

static void wrong(void)
{
    himmel_error err = {0};
    hm_st *st;
    OK(!hm_st_open(&st, in_dir("t2v.safetensors"), &err));
    const hm_tensor *w = find(st, "blocks.0.ffn.0.weight"), *q = find(st, "blocks.0.self_attn.q.weight");
    file f = {.w = hm_st_writer_new()};
    add_pair(&f, "blocks.0.ffn.0", ".lora_A.weight", ".lora_B.weight", w, 0, 1);
    add_pair(&f, "lora_te_encoder", ".lora_A.weight", ".lora_B.weight", w, 0, 1);
    add(&f, "blocks.0.ffn.0.dora_scale", 1, &w->dim[0], numbers(w->dim[0], 1));
    refused(st, &f, HIMMEL_EMODEL, "3 of its 5 tensors change nothing in");
    add_pair(&f, "blocks.2.ffn.0", ".lora_A.weight", ".lora_B.weight", w, 0, 1);
    refused(st, &f, HIMMEL_EMODEL, "the first is \"blocks.2.ffn.0.lora_A.weight\"");
    add_pair(&f, "blocks.0.ffn.0", ".lora_A.weight", ".lora_B.weight", q, 0, 1);
    refused(st, &f, HIMMEL_EMODEL, "\"blocks.0.ffn.0\" is [128,4] x [4,128], the model's tensor [256,128]");
    add(&f, "blocks.0.ffn.0.lora_A.weight", HM_DIMS(RANK, 128), numbers(RANK * 128, 1));
    refused(st, &f, HIMMEL_EMODEL, "has no \"blocks.0.ffn.0.lora_B.weight\" beside it");
    add(&f, "blocks.0.ffn.0.lora_up.weight", HM_DIMS(256, RANK), numbers(RANK * 256, 1));
    refused(st, &f, HIMMEL_EMODEL, "has no \"blocks.0.ffn.0.lora_down.weight\" beside it");
    add(&f, "blocks.0.ffn.0.diff_b", HM_DIMS(3), numbers(3, 1));
    refused(st, &f, HIMMEL_EMODEL, "has 3 numbers, the model's tensor 256");
    add_pair(&f, "blocks.0.ffn.0", ".lora_A.weight", ".lora_B.weight", w, 0, 1);
    add(&f, "blocks.0.ffn.0.alpha", HM_DIMS(2), numbers(2, 1));
    refused(st, &f, HIMMEL_EMODEL, "\"blocks.0.ffn.0.alpha\" is not one number");
    refused(st, &f, HIMMEL_EMODEL, "there is no tensor in it");
    hm_st_writer_free(f.w);
    OK(hm_lora_merge(st, "", NULL, &(hm_lora){in_dir("nothing.safetensors"), 1}, 1, NULL, &err) == HIMMEL_EIO && strstr(err.message, "nothing.safetensors"));
    OK(hm_lora_merge(st, "", NULL, &(hm_lora){"x.safetensors", NAN}, 1, NULL, &err) == HIMMEL_EINVAL && strstr(err.message, "strength"));
    hm_st_close(st);
}

int main(void)
{
    OK(make_dir());
    hm_set_threads(1);
    snprintf(tok, sizeof tok, "%s", in_dir("words.model"));
    write_tokenizer(tok);
    wan();
    experts();
    ltx();
    types();
    wrong();
    CHECK(remove_dir(), "not cleaned up");
    return CHECK_END();
}
