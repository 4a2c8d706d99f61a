/* test_wan_model.c - Wan through the model interface: tiny transformers of every kind with the fixtures' autoencoders, umT5
 * and CLIP; words and pictures in, frames out; files that do not fit give a sentence.   SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "formats/shards.h"
#include "models/model.h"
#include "models/seen.h"
#include "models/wan/vae.h"
#include "models/wan_tiny.h"
#include "text/tokenizer.h"

#define OK(c) CHECK(c, "does not hold")

enum { W = 64, H = 32, N = 9 };
#define F(name) FIXTURES "/" name ".safetensors"
static char dir[] = "/tmp/himmel-wan-XXXXXX", tok[64];

static himmel_status on_frame(void *user, int i, const float *rgb, himmel_error *err)
{
    return see_frame(user, i, rgb, 3 * W * H, err);
}

static int on_step(void *user, const char *phase, int step, int n_steps)
{
    seen *s = user;
    (void)n_steps;
    if (!strcmp(phase, "sample")) s->steps = step;
    return s->stop_at && s->steps >= s->stop_at;
}

static const char *path_of(const char *name)
{
    static char path[8][128];
    static int k;
    k = (k + 1) % 8;
    snprintf(path[k], sizeof path[k], "%s/%s", dir, name);
    return path[k];
}

static const char *tiny(const char *kind, const char *name, hm_wan_names names, uint32_t seed)
{
    himmel_error err = {0};
    const char *path = path_of(name);
    const himmel_status rc = wan_tiny_write(kind, path, names, seed, &err);
    if (rc) fprintf(stderr, "%s\n", err.message);
    OK(!rc);
    return path;
}

static void write_tokenizer(void)
{
    const char *const lines[] = {"a cat on the sea"};
    hm_tokenizer *t;
    uint8_t *bytes;
    size_t len;
    snprintf(tok, sizeof tok, "%s/words.model", dir); /* not a name that is looked for */
    OK(!hm_tok_train(&t, lines, HM_COUNT(lines), 256, NULL));
    OK(!hm_tok_format(t, &bytes, &len, NULL));
    OK(!hm_write_file(tok, bytes, len, NULL));
    free(bytes);
    hm_tok_free(t);
}

static hm_model *opened(const char *const *paths, int n, const char *name)
{
    hm_model *m;
    himmel_error err = {0};
    hm_model_facts f;
    const himmel_status rc = hm_model_open(&m, &(hm_model_files){paths, n, NULL, 0, false}, &err);
    if (rc) fprintf(stderr, "%s\n", err.message);
    OK(!rc);
    if (rc) exit(1);
    hm_model_get_facts(m, &f);
    if (*f.missing || !strstr(f.name, name)) fprintf(stderr, "%s: %s\n", f.name, f.missing);
    OK(!*f.missing && strstr(f.name, name) && !strcmp(f.family, "wan") && f.frame_step == 4);
    return m;
}

static hm_model_job usual(seen *s)
{
    *s = (seen){.in_range = true};
    return (hm_model_job){.prompt = "a cat on the sea", .negative = "rain", .width = W, .height = H, .n_frames = N, .fps = 16, .seed = 3,
                          .steps = 3, .guidance = -1, .threads = 2, .on_frame = on_frame, .on_step = on_step, .user = s};
}

/* The film's fingerprint; what it costs is what was planned. */
static double film(const hm_model *m, const hm_model_job *job, seen *s)
{
    hm_model_cost c, p;
    himmel_error err = {0};
    himmel_status rc = hm_model_plan(m, job, &p, &err);
    if (!rc) rc = hm_model_run(m, job, &c, &err);
    if (rc) fprintf(stderr, "%s\n", err.message);
    OK(!rc && s->next == N && s->in_range && s->steps == 3);
    if (rc) return 0;
    OK(c.peak_bytes <= p.peak_bytes);
    OK(fabs(c.sample_gflop - p.sample_gflop) <= 1e-6 * p.sample_gflop);
    OK(fabs(c.decode_gflop - p.decode_gflop) <= 1e-6 * p.decode_gflop);
    OK(fabs(c.text_gflop - p.text_gflop) <= 1e-6 * p.text_gflop);
    return s->sum;
}

static double usual_film(const hm_model *m)
{
    seen s;
    const hm_model_job job = usual(&s);
    return film(m, &job, &s);
}

#include "models/step_cached.h"
#include "models/resumed.h"

static void words(void)
{
    const char *const paths[] = {tiny("t2v", "t2v.safetensors", HM_WAN_ORIGINAL, 1), F("wan21_vae"), F("umt5_tiny"), tok};
    hm_model *m = opened(paths, 4, "Wan 2.1 T2V");
    seen s;
    const double first = usual_film(m);
    OK(usual_film(m) == first); /* same seed, same bytes */
    step_cache(m, 0.2);
    resumed(m, 3, 3, 0);
    resumed(m, 8, 8, 1);
    hm_model_job job = usual(&s);
    job.seed = 4;
    OK(film(m, &job, &s) != first);
    job = usual(&s), job.prompt = "snow";
    OK(film(m, &job, &s) != first);
    job = usual(&s), job.negative = "fog";
    OK(film(m, &job, &s) != first);
    job = usual(&s), job.guidance = 1;
    OK(film(m, &job, &s) != first);

    himmel_error err = {0};
    hm_model_cost c;
    job = usual(&s), s.stop_at = 2;
    OK(hm_model_run(m, &job, &c, &err) == HIMMEL_ECANCELLED && s.steps == 2 && !s.next);
    job = usual(&s), job.width = 56;
    OK(hm_model_run(m, &job, &c, &err) == HIMMEL_EINVAL && strstr(err.message, "multiples of 16"));
    job = usual(&s), job.n_frames = 8;
    OK(hm_model_run(m, &job, &c, &err) == HIMMEL_EINVAL && strstr(err.message, "1 + a multiple of 4"));
    float *rgb = calloc(W * H * 3, sizeof *rgb);
    const hm_model_item item = {rgb, 1, 0, 1.0};
    job = usual(&s), job.items = &item, job.n_items = 1;
    OK(hm_model_run(m, &job, &c, &err) == HIMMEL_EINVAL && strstr(err.message, "takes no pictures"));
    free(rgb);
    hm_model_close(m);

    /* the same numbers under diffusers' names */
    const char *const other[] = {tiny("t2v", "diffusers.safetensors", HM_WAN_DIFFUSERS, 1), F("wan21_vae"), F("umt5_tiny"), tok};
    m = opened(other, 4, "Wan 2.1 T2V");
    OK(usual_film(m) == first);
    hm_model_close(m);

    /* the same numbers in two shards; the text encoder beside them in two as well */
    himmel_status rc = HIMMEL_OK;
    char inner[128];
    mkdir(path_of("sharded"), 0777), mkdir(path_of("sharded/transformer"), 0777), mkdir(path_of("sharded/text_encoder"), 0777);
    rc = write_shards(paths[0], path_of("sharded/transformer"), &err);
    if (!rc) rc = write_shards(F("umt5_tiny"), path_of("sharded/text_encoder"), &err);
    if (rc) fprintf(stderr, "%s\n", err.message);
    OK(!rc);
    const char *const ends[] = {"sharded/transformer", "sharded/transformer/model.safetensors.index.json"};
    for (int i = 0; i < 2; i++) {
        snprintf(inner, sizeof inner, "%s/%s", dir, ends[i]);
        m = opened((const char *[]){inner, F("wan21_vae"), tok}, 3, "Wan 2.1 T2V");
        OK(usual_film(m) == first);
        hm_model_close(m);
    }
}

#include "models/text_cached.h"

/* A model whose encoder's file may be lost. */
static void cached(void)
{
    char command[512], cache[128];
    const char *encoder = path_of("lost.safetensors");
    snprintf(cache, sizeof cache, "%s/cache", dir);
    snprintf(command, sizeof command, "cp '%s' '%s'", F("umt5_tiny"), encoder);
    OK(!system(command));
    hm_model *m = opened((const char *[]){path_of("t2v.safetensors"), F("wan21_vae"), encoder, tok}, 4, "Wan 2.1 T2V");
    text_cache(m, encoder, cache);
    hm_model_close(m);
}

static void experts(void)
{
    const char *high = tiny("t2v", "wan2.2_t2v_high_noise.safetensors", HM_WAN_ORIGINAL, 1), *low = tiny("t2v", "wan2.2_t2v_low_noise.safetensors", HM_WAN_ORIGINAL, 2);
    hm_model *m = opened((const char *[]){high, low, F("wan21_vae"), F("umt5_tiny"), tok}, 5, "Wan 2.2 T2V two experts");
    const double pair = usual_film(m);
    hm_model_facts f;
    hm_model_get_facts(m, &f);
    OK(f.guidance == 4 && f.steps == 40 && f.fps == 16);
    hm_model_close(m);
    m = opened((const char *[]){low, high, F("wan21_vae"), F("umt5_tiny"), tok}, 5, "Wan 2.2 T2V two experts");
    OK(usual_film(m) == pair); /* whichever is named first */
    hm_model_close(m);
    himmel_error err = {0};
    OK(!hm_model_open(&m, &(hm_model_files){(const char *[]){low, F("wan21_vae"), F("umt5_tiny"), tok}, 4, NULL, 0, false}, &err));
    hm_model_get_facts(m, &f);
    OK(strstr(f.missing, "high-noise one too"));
    hm_model_close(m);

    /* a folder as diffusers writes it: everything is found in it, the same film */
    char command[700];
    snprintf(command, sizeof command, "cd %s && mkdir -p pipe/transformer pipe/transformer_2 pipe/vae pipe/text_encoder pipe/tokenizer && cp %s pipe/vae/diffusion_pytorch_model.safetensors && "
             "cp %s pipe/text_encoder/model.safetensors && cp %s pipe/tokenizer/spiece.model", dir, F("wan21_vae"), F("umt5_tiny"), tok);
    OK(!system(command));
    tiny("t2v", "pipe/transformer/diffusion_pytorch_model.safetensors", HM_WAN_DIFFUSERS, 1);
    tiny("t2v", "pipe/transformer_2/diffusion_pytorch_model.safetensors", HM_WAN_DIFFUSERS, 2);
    m = opened((const char *[]){path_of("pipe")}, 1, "Wan 2.2 T2V two experts");
    OK(usual_film(m) == pair);
    hm_model_close(m);
}

/* A film that begins (and, for FLF2V, ends) with pictures. */
static void pictures(const char *kind, const char *vae, bool clip, bool last, const char *name)
{
    char file[32];
    snprintf(file, sizeof file, "%s.safetensors", kind);
    const char *const paths[] = {tiny(kind, file, HM_WAN_ORIGINAL, 1), vae, F("umt5_tiny"), tok,
                                 clip ? F("clip_vision_tiny") : path_of("i2v_low_noise.safetensors")};
    const bool two = !strcmp(kind, "i2v_high_noise");
    if (two) tiny(kind, "i2v_low_noise.safetensors", HM_WAN_ORIGINAL, 2);
    hm_model *m = opened(paths, clip || two ? 5 : 4, name);
    float *rgb = malloc(W * H * 3 * sizeof *rgb);
    seen s;
    hm_model_cost c;
    himmel_error err = {0};
    OK(rgb != NULL);
    for (int k = 0; k < W * H * 3; k++) rgb[k] = (float)(k % 97) / 97;
    const hm_model_item items[] = {{rgb, 1, 0, 1.0}, {rgb, 1, N - 1, 1.0}};
    hm_model_job job = usual(&s);
    if (!strncmp(kind, "i2v", 3) || last) OK(hm_model_plan(m, &job, &c, &err) == HIMMEL_EINVAL && strstr(err.message, "picture"));
    job.items = items, job.n_items = last ? 2 : 1;
    if (!strncmp(kind, "i2v", 3) || last) {
        const hm_model_item middle[] = {items[0], {rgb, 1, 4, 1.0}};
        hm_model_job wrong = job;
        wrong.items = middle, wrong.n_items = 2;
        OK(hm_model_plan(m, &wrong, &c, &err) == HIMMEL_EINVAL && strstr(err.message, "number 2 is at frame 4 of 9"));
    }
    const double one = film(m, &job, &s);
    for (int k = 0; k < W * H * 3; k++) rgb[k] = (float)(k % 31) / 31;
    job = usual(&s), job.items = items, job.n_items = last ? 2 : 1;
    OK(film(m, &job, &s) != one);
    free(rgb);
    hm_model_close(m);
}

static int keep_frame(void *user, const float *rgb, int n, int h, int w)
{
    float *out = user;
    for (int i = 0; i < n * h * w * 3; i++) out[i] = 0.5f * rgb[i] + 0.5f;
    return 0;
}

/* The picture through the autoencoder and back. */
static void there_and_back(const char *vae_file, const float *picture, float *out)
{
    static float planes[3 * W * H], latent[48 * (W / 16) * (H / 16)];
    himmel_error err = {0};
    hm_st *st;
    hm_wan_vae *vae;
    hm_graph *g;
    OK(!hm_st_open(&st, vae_file, &err) && !hm_wan_vae_load(&vae, st, &err));
    OK(!hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .n_threads = 2}, &err));
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < W * H; i++) planes[c * W * H + i] = 2 * picture[3 * i + c] - 1;
    OK(!hm_wan_vae_encode(vae, g, planes, (int[3]){1, H, W}, latent, &(hm_wan_vae_sink){0}, &err));
    OK(!hm_wan_vae_decode(vae, g, latent, (int[3]){1, H / 16, W / 16}, &(hm_wan_vae_sink){.on_frames = keep_frame, .user = out}, &err));
    hm_graph_free(g);
    hm_wan_vae_free(vae);
    hm_st_close(st);
}

/* TI2V keeps the picture's latents at noise level 0 and its autoencoder is causal: frame 0 is the picture through the
 * autoencoder and back, whatever the seed and the words are. */
static void first_frame(void)
{
    enum { ALL = W * H * 3 };
    static float picture[ALL], want[ALL], got[ALL];
    const char *const paths[] = {tiny("ti2v", "ti2v.safetensors", HM_WAN_ORIGINAL, 1), F("wan22_vae"), F("umt5_tiny"), tok};
    hm_model *m = opened(paths, 4, "Wan 2.2 TI2V");
    for (int p = 0; p < 2; p++) {
        for (int k = 0; k < ALL; k++) picture[k] = p ? 1 - (float)(k / 3 / W) / H : (float)(k / 3 % W) / W;
        double before = 0;
        for (int k = 0; k < ALL && p; k++) before += fabs((double)want[k]);
        there_and_back(F("wan22_vae"), picture, want);
        const hm_model_item item = {picture, 1, 0, 1.0};
        for (int seed = 0; seed < 2; seed++) {
            seen s;
            hm_model_job job = usual(&s);
            job.seed = 7 + (uint64_t)seed, job.prompt = seed ? "snow" : "a cat", job.items = &item, job.n_items = 1;
            s.first = got;
            film(m, &job, &s);
            OK(!memcmp(got, want, sizeof got));
        }
        double sum = 0;
        for (int k = 0; k < ALL; k++) sum += fabs((double)want[k]);
        OK(!p || fabs(sum - before) > 1e-3 * before); /* the two pictures do not look alike there */
    }
    hm_model_close(m);
}

/* Linear layers in int8: nearly the same film, always the same, in the memory that was planned. */
static void in_int8(const char *kind, const char *vae, const char *second)
{
    enum { ALL = W * H * 3 };
    static float frame[2][ALL];
    char file[32];
    double sum[2];
    snprintf(file, sizeof file, "%s.safetensors", kind);
    const char *const paths[] = {tiny(kind, file, HM_WAN_ORIGINAL, 1), vae, F("umt5_tiny"), tok, second};
    for (int int8 = 0; int8 < 2; int8++) {
        hm_model *m;
        himmel_error err = {0};
        hm_model_facts f;
        seen s;
        const himmel_status rc = hm_model_open(&m, &(hm_model_files){paths, second ? 5 : 4, NULL, 0, int8}, &err);
        CHECK(!rc, "%s", err.message);
        if (rc) return;
        hm_model_get_facts(m, &f);
        OK(int8 ? f.int8_bytes > 0 && f.int8_bytes < f.int8_from / 3 && f.int8_from < f.file_bytes : !f.int8_bytes && !f.int8_from); /* f32 files */
        hm_model_job job = usual(&s);
        job.guidance = 1;
        s.first = frame[int8];
        sum[int8] = film(m, &job, &s);
        job = usual(&s), job.guidance = 1;
        OK(film(m, &job, &s) == sum[int8]);
        hm_model_close(m);
    }
    const double apart = frames_apart(frame[1], frame[0], ALL);
    printf("%s in int8: the first frame is off by %.5f\n", kind, apart);
    OK(sum[0] != sum[1]);
    CHECK(apart > 0 && apart < 0.02, "%s in int8: the first frame is off by %g", kind, apart);
}

static void refused(const char *const *paths, int n, himmel_status code, const char *part)
{
    hm_model *m;
    himmel_error err = {0};
    const himmel_status rc = hm_model_open(&m, &(hm_model_files){paths, n, NULL, 0, false}, &err);
    if (rc != code || !strstr(err.message, part)) fprintf(stderr, "%d: %s\n", (int)rc, err.message);
    OK(rc == code && strstr(err.message, part) && !m);
}

static void wrong_files(void)
{
    const char *t2v = path_of("t2v.safetensors");
    hm_model *m;
    hm_model_facts f;
    himmel_error err = {0};
    const struct {
        const char *with;
        const char *says;
    } steps[] = {{F("wan21_vae"), "autoencoder"}, {F("umt5_tiny"), "text encoder"}, {tok, "tokenizer"}};
    const char *paths[4] = {t2v};
    for (int i = 0; i < 3; i++) { /* what is missing is said one after the other */
        OK(!hm_model_open(&m, &(hm_model_files){paths, 1 + i, NULL, 0, false}, &err));
        hm_model_get_facts(m, &f);
        OK(strstr(f.missing, steps[i].says));
        hm_model_close(m);
        paths[1 + i] = steps[i].with;
    }
    refused((const char *[]){F("umt5_tiny")}, 1, HIMMEL_EMODEL, "it is a T5 text encoder; it goes with a transformer");
    refused((const char *[]){F("wan21_vae")}, 1, HIMMEL_EMODEL, "it is an autoencoder");
    refused((const char *[]){F("ltx_vae_095")}, 1, HIMMEL_EMODEL, "it is an autoencoder");
    refused((const char *[]){F("clip_vision_tiny")}, 1, HIMMEL_EMODEL, "it is a picture encoder");
    refused((const char *[]){F("schedulers")}, 1, HIMMEL_EMODEL, "tensors begin with");
    refused((const char *[]){t2v, F("wan22_vae")}, 2, HIMMEL_EMODEL, "the other one of Wan's two");
    refused((const char *[]){t2v, F("schedulers")}, 2, HIMMEL_EMODEL, "has no use for it");
    refused((const char *[]){t2v, F("ltx_t5")}, 2, HIMMEL_EMODEL, "text encoder");
    refused((const char *[]){t2v, path_of("ti2v.safetensors")}, 2, HIMMEL_EMODEL, "no pair of experts");
    refused((const char *[]){t2v, "weights.pth"}, 2, HIMMEL_EFORMAT, "Python objects");
    refused((const char *[]){t2v, FIXTURES "/captions.txt"}, 2, HIMMEL_EFORMAT, "captions.txt");
}

int main(void)
{
    OK(mkdtemp(dir) != NULL);
    write_tokenizer();
    words();
    cached();
    experts();
    pictures("i2v", F("wan21_vae"), true, false, "Wan 2.1 I2V");
    pictures("i2v_high_noise", F("wan21_vae"), false, false, "Wan 2.2 I2V");
    pictures("flf2v", F("wan21_vae"), true, true, "Wan 2.1 FLF2V");
    pictures("ti2v", F("wan22_vae"), false, false, "Wan 2.2 TI2V");
    pictures("vace", F("wan21_vae"), false, false, "Wan 2.1 VACE");
    first_frame();
    in_int8("t2v", F("wan21_vae"), NULL);
    in_int8("vace", F("wan21_vae"), NULL);
    in_int8("ti2v", F("wan22_vae"), NULL);
    in_int8("t2v", F("wan21_vae"), path_of("wan2.2_t2v_low_noise.safetensors"));
    wrong_files();
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", dir);
    OK(!system(command));
    return CHECK_END();
}
