/* test_wan_edit.c - Wan changes films: what it starts from, what stays of it and what is made, for every kind of transformer
 * with tiny random weights; VACE's reference picture.   SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/rng.h"
#include "check.h"
#include "models/model.h"
#include "models/wan/sample.h"
#include "models/wan/vae.h"
#include "models/tae_tiny.h"
#include "models/wan_tiny.h"
#include "temp.h"
#include "words.h"

#define OK(c) CHECK(c, "does not hold")
#define F(name) FIXTURES "/" name ".safetensors"
enum { W = 64, H = 64, N = 9, FRAME = W * H * 3, STEPS = 6 };
static char tok[64];

typedef float film[N * FRAME];
static film source[2], there_and_back, made, other;

/* ---- a model and its job ---- */

typedef struct {
    const char *kind, *vae, *second;
    bool clip;
} wan;
static const wan kinds[] = {{"t2v", F("wan21_vae"), NULL, false},   {"t2v", F("wan21_vae"), "low", false},
                            {"i2v", F("wan21_vae"), NULL, true},    {"i2v22", F("wan21_vae"), "low", false},
                            {"flf2v", F("wan21_vae"), NULL, true},  {"ti2v", F("wan22_vae"), NULL, false},
                            {"vace", F("wan21_vae"), NULL, false}};

static const char *weights(const wan *k, bool second)
{
    static char path[2][160];
    himmel_error err = {0};
    snprintf(path[second], sizeof path[0], "%s/%s_%s.safetensors", dir, k->kind, second ? "low_noise" : k->second ? "high_noise" : "only");
    CHECK(!wan_tiny_write(k->kind, path[second], HM_WAN_ORIGINAL, second ? 2 : 1, &err), "%s", err.message);
    return path[second];
}

static hm_model *opened(const wan *k)
{
    hm_model *m = NULL;
    himmel_error err = {0};
    const char *paths[6] = {weights(k, false), k->vae, F("umt5_tiny"), tok};
    int n = 4;
    if (k->second) paths[n++] = weights(k, true);
    if (k->clip) paths[n++] = F("clip_vision_tiny");
    CHECK(!hm_model_open(&m, &(hm_model_files){paths, n, NULL, 0, false}, &err), "%s: %s", k->kind, err.message);
    if (!m) exit(1);
    return m;
}

static himmel_status on_frame(void *user, int i, const float *rgb, himmel_error *err)
{
    (void)err;
    memcpy((float *)user + (size_t)i * FRAME, rgb, FRAME * sizeof *rgb);
    return HIMMEL_OK;
}

static hm_model_job job_of(const float *start, double level, const uint8_t *mask)
{
    return (hm_model_job){.prompt = "a cat on the sea", .negative = "rain", .width = W, .height = H, .n_frames = N, .fps = 16, .seed = 3,
                          .steps = STEPS, .guidance = -1, .threads = 2, .start = start, .start_level = level, .mask = mask, .on_frame = on_frame};
}

/* Into out; what it costs is what was planned. */
static int make(const hm_model *m, hm_model_job job, float *out)
{
    hm_model_cost c = {0}, p;
    himmel_error err = {0};
    job.user = out;
    himmel_status rc = hm_model_plan(m, &job, &p, &err);
    if (!rc) rc = hm_model_run(m, &job, &c, &err);
    CHECK(!rc, "%s", err.message);
    CHECK(rc || (c.peak_bytes <= p.peak_bytes && fabs(c.sample_gflop - p.sample_gflop) <= 1e-6 * p.sample_gflop),
          "%.1f of %.1f planned MB, %.6f of %.6f GFLOP", 1e-6 * (double)c.peak_bytes, 1e-6 * (double)p.peak_bytes, c.sample_gflop, p.sample_gflop);
    return c.passes;
}

static void refused(const hm_model *m, const hm_model_job *job, const char *part)
{
    hm_model_cost c;
    himmel_error err = {0};
    const himmel_status rc = hm_model_run(m, job, &c, &err);
    CHECK(rc == HIMMEL_EINVAL && strstr(err.message, part), "\"%s\" does not say %s", err.message, part);
}

/* ---- films ---- */

static void draw(float *f, int turn)
{
    for (int i = 0; i < N * W * H; i++) {
        const int x = i % W, y = i / W % H, t = i / W / H;
        for (int c = 0; c < 3; c++) f[3 * i + c] = 0.5f + 0.4f * sinf(0.11f * (float)(turn ? y + 2 * t : x + t) + (float)(c + turn));
    }
}

/* Mean difference of frames from..to-1 in columns x0..x1-1. */
static double apart(const float *a, const float *b, int from, int to, int x0, int x1)
{
    double sum = 0;
    for (int i = from * W * H; i < to * W * H; i++)
        for (int c = 0; c < 3 && i % W >= x0 && i % W < x1; c++) sum += fabs((double)a[3 * i + c] - (double)b[3 * i + c]);
    return sum / (3.0 * (to - from) * H * (x1 - x0));
}

static int keep_frames(void *user, const float *rgb, int n, int h, int w)
{
    float **to = user;
    for (int i = 0; i < n * h * w * 3; i++) *(*to)++ = 0.5f * rgb[i] + 0.5f;
    return 0;
}

/* The first source through the autoencoder. */
static void encode_and_decode(const char *file)
{
    static float planes[N * FRAME], latent[16 * 3 * 8 * 8];
    himmel_error err = {0};
    hm_st *st;
    hm_wan_vae *vae;
    hm_graph *g;
    float *to = there_and_back;
    OK(!hm_st_open(&st, file, &err) && !hm_wan_vae_load(&vae, st, &err));
    OK(!hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .n_threads = 2}, &err));
    const int stride = hm_wan_vae_stride(vae);
    for (int i = 0; i < N * W * H; i++)
        for (int c = 0; c < 3; c++) planes[c * N * W * H + i] = 2 * source[0][3 * i + c] - 1;
    OK(!hm_wan_vae_encode(vae, g, planes, (int[3]){N, H, W}, latent, &(hm_wan_vae_sink){0}, &err));
    OK(!hm_wan_vae_decode(vae, g, latent, (int[3]){3, H / stride, W / stride}, &(hm_wan_vae_sink){.on_frames = keep_frames, .user = &to}, &err));
    hm_graph_free(g);
    hm_wan_vae_free(vae);
    hm_st_close(st);
}

/* ---- every kind ---- */

/* The nearer to the source, the lower the level; fewer passes; at level 1 the kinds that need no picture know nothing of it. */
static void remix(const hm_model *m, const wan *k)
{
    static film words;
    const bool pictures = !strncmp(k->kind, "i2v", 3) || !strcmp(k->kind, "flf2v");
    const int few = make(m, job_of(source[0], 0.005, NULL), made), half = make(m, job_of(source[0], 0.6, NULL), other);
    const double near = apart(made, there_and_back, 0, N, 0, W), middle = apart(other, there_and_back, 0, N, 0, W);
    const int all = make(m, job_of(source[0], 1, NULL), words);
    const double far = apart(words, there_and_back, 0, N, 0, W);
    printf("%s: off by %.4f, %.4f, %.4f in %d, %d, %d passes\n", k->kind, near, middle, far, few, half, all);
    CHECK(near < 0.35 * middle && middle < far && few <= half && half <= all, "%s: remix", k->kind);
    make(m, job_of(source[1], 1, NULL), made);
    CHECK(pictures ? apart(made, words, 0, N, 0, W) > 1e-3 : !memcmp(made, words, sizeof words), "%s: at level 1", k->kind);

}

/* Frames 0 to 4 stay. */
static void masks(const hm_model *m, const wan *k)
{
    static uint8_t mask[N * W * H];
    const bool vace = !strcmp(k->kind, "vace"), flf2v = !strcmp(k->kind, "flf2v");
    for (int i = 0; i < N * W * H; i++) mask[i] = i / W / H > 4 && (!flf2v || i / W / H < N - 1);
    make(m, job_of(source[0], 1, mask), made);
    if (!vace) CHECK(!memcmp(made, there_and_back, 5 * FRAME * sizeof(float)), "%s: frames that stay differ by %.4f", k->kind, apart(made, there_and_back, 0, 5, 0, W));
    CHECK(apart(made, there_and_back, 5, N, 0, W) > 0.01, "%s: frames that may change do not", k->kind);
    hm_model_job job = job_of(source[0], 1, mask);
    job.seed = 4;
    make(m, job, other);
    CHECK(apart(made, other, 5, N, 0, W) > 1e-3, "%s: another seed, the same film", k->kind);
    make(m, job_of(source[1], 1, mask), other); /* what is made knows what stays */
    CHECK(apart(made, other, 5, N, 0, W) > 1e-4, "%s: another film stays, the same is made", k->kind);

    if (!strncmp(k->kind, "i2v", 3) || flf2v) {
        for (int i = 0; i < N * W * H; i++) mask[i] = i % W >= 32;
        job = job_of(source[0], 1, mask);
        refused(m, &job, "keeps the first picture of a film whole");
        for (int i = 0; i < N * W * H; i++) mask[i] = i / W / H == N - 1 && i % W >= 32;
        if (flf2v) refused(m, &job, "keeps the last picture of a film whole");
    }
}

/* ---- the sampler ---- */

/* Single numbers of the latents stay, to the bit, put back with the noise of their level or told of; the others do not, and
 * know of them. */
static void numbers_that_stay(bool told)
{
    enum { T = 2, S = 4, CHANNEL = T * S * S, MOST = 48 * CHANNEL };
    static float start[2][MOST], x[3][MOST], text[64];
    static uint8_t stays[CHANNEL];
    hm_wan m;
    hm_st *st;
    hm_graph *g;
    himmel_error err = {0};
    OK(!hm_st_open(&st, weights(&kinds[told ? 5 : 0], false), &err) && !hm_wan_load(&m, NULL, st, &err));
    OK(!hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32, .n_threads = 2}, &err));
    const int n = m.cfg.out_dim * CHANNEL;
    for (int i = 0; i < CHANNEL; i++) stays[i] = told ? i % S < S / 2 : i * 7 % 5 < 2; /* tokens are 2 x 2 */
    for (int i = 0; i < 64; i++) text[i] = sinf((float)i);
    for (int k = 0; k < 3; k++) {
        hm_randn(x[k], (size_t)n, 7, 0);
        if (k < 2) hm_randn(start[k], (size_t)n, 8, (uint64_t)k);
        const hm_wan_sampling s = {.model = &m, .guidance = 1, .solver = HM_SOLVER_UNIPC, .steps = 4, .shift = 3, .in = {.T = T, .H = S, .W = S},
                                   .text = text, .n_text = 1, .start = start[k % 2], .level = 1, .stays = stays, .told = told};
        hm_graph_reset(g);
        CHECK(!hm_wan_sample(g, &s, x[k], &err), "%s", err.message);
        for (int i = 0; i < n; i++)
            if (stays[i % CHANNEL]) OK(x[k][i] == start[k % 2][i]);
    }
    double apart_there = 0, from_start = 0;
    for (int i = 0; i < n; i++)
        if (!stays[i % CHANNEL]) apart_there += fabs((double)x[0][i] - (double)x[1][i]), from_start += fabs((double)x[0][i] - (double)start[0][i]);
    OK(!memcmp(x[0], x[2], (size_t)n * sizeof(float)) && from_start > 0.1 * n && apart_there > 1e-3 * n);
    hm_graph_free(g);
    hm_wan_deinit(&m);
    hm_st_close(st);
}

/* ---- VACE ---- */

static void vace(void)
{
    static uint8_t mask[N * W * H];
    hm_model *m = opened(&kinds[HM_COUNT(kinds) - 1]), *words_only = opened(&kinds[0]);
    for (int i = 0; i < N * W * H; i++) mask[i] = i % W >= 32;
    make(m, job_of(source[0], 1, mask), made);
    memcpy(other, source[0], sizeof other);
    for (int i = 0; i < N * W * H; i++)
        for (int c = 0; c < 3 && mask[i]; c++) other[3 * i + c] = 1 - other[3 * i + c];
    static film again;
    make(m, job_of(other, 1, mask), again); /* what the mask covers is not looked at */
    OK(!memcmp(made, again, sizeof made));
    for (int i = 0; i < 3 * 8 * W; i++) other[i] = 1 - other[i];
    make(m, job_of(other, 1, mask), again); /* what it does not, is */
    OK(memcmp(made, again, sizeof made));

    hm_model_job job = job_of(source[0], 1, mask);
    for (int i = 0; i < 2; i++) {
        job.reference = source[1] + 3 * i;
        make(m, job, i ? other : again);
        CHECK(apart(made, i ? other : again, 0, N, 0, W) > 1e-4, "the reference is not looked at");
    }
    OK(memcmp(other, again, sizeof other));
    make(m, job, again);
    OK(!memcmp(other, again, sizeof other));
    job.mask = NULL, job.start_level = 0.5; /* also in a remix, and of a film from words */
    make(m, job, again);
    job.start = NULL;
    make(m, job, again);
    job = job_of(NULL, 0, NULL), job.reference = source[1];
    refused(words_only, &job, "takes no reference picture");
    hm_model_close(m);
    hm_model_close(words_only);
}

/* ---- a tiny decoder ---- */

static int shown, distinct;

static int on_preview(void *user, const uint8_t *rgb, int w, int h)
{
    (void)user;
    static int last;
    int sum = 0;
    for (int i = 0; i < 3 * w * h; i++) sum = 31 * (sum % 1000003) + rgb[i];
    CHECK(w == 64 && h == 64, "a preview of %dx%d", w, h);
    distinct += !shown || sum != last;
    last = sum;
    return ++shown == 20;
}

static void write_tae(const char *path, int channels)
{
    himmel_error err = {0};
    CHECK(!tae_tiny_write(path, channels, 1, (const int[3]){1, 2, 2}, &err), "%s", err.message);
    tae_tiny_drop();
}

/* Pictures come while the film is made, other ones every time, change nothing of it, and can stop it. */
static void previews(void)
{
    char tae[160];
    himmel_error err = {0};
    hm_model_facts f;
    hm_model *m;
    hm_model_cost c;
    snprintf(tae, sizeof tae, "%s/taew2_1.safetensors", dir);
    const char *main_file = weights(&kinds[0], false), *paths[] = {main_file, kinds[0].vae, F("umt5_tiny"), tok, tae};
    for (int with = 0; with < 3; with++) { /* none, named, found beside */
        if (with == 1) write_tae(tae, 16);
        CHECK(!hm_model_open(&m, &(hm_model_files){paths, with == 1 ? 5 : 4, NULL, 0, false}, &err), "%s", err.message);
        hm_model_get_facts(m, &f);
        CHECK(f.previews == (with > 0), "previews: %d", f.previews);
        hm_model_job job = job_of(NULL, 0, NULL);
        job.on_preview = on_preview, shown = distinct = 0;
        make(m, job, with ? other : made);
        CHECK(with ? shown > 0 && distinct == shown && !memcmp(made, other, sizeof made) : !shown, "%d previews, %d of them distinct", shown, distinct);
        job.user = other, shown = 19;
        if (with) CHECK(hm_model_run(m, &job, &c, &err) == HIMMEL_ECANCELLED, "a preview does not stop");
        hm_model_close(m);
    }
    write_tae(tae, 48);
    CHECK(hm_model_open(&m, &(hm_model_files){paths, 5, NULL, 0, false}, &err) == HIMMEL_EMODEL && strstr(err.message, "of 48 channels, the model has 16"), "%s", err.message);
    unlink(tae);
}

int main(void)
{
    OK(make_dir());
    snprintf(tok, sizeof tok, "%s", in_dir("words.model"));
    write_tokenizer(tok);
    draw(source[0], 0), draw(source[1], 1);
    const char *through = NULL;
    for (size_t i = 0; i < HM_COUNT(kinds); i++) {
        hm_model *m = opened(&kinds[i]);
        if (through != kinds[i].vae) encode_and_decode(through = kinds[i].vae);
        remix(m, &kinds[i]);
        masks(m, &kinds[i]);
        hm_model_close(m);
    }
    numbers_that_stay(false);
    numbers_that_stay(true);
    vace();
    previews();
    CHECK(remove_dir(), "not cleaned up");
    return CHECK_END();
}
