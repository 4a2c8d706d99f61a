/* ltx.c - LTX-Video as film/ runs it: words -> T5 -> one or two passes -> frames.   SPDX-License-Identifier:
 * MIT Two passes where an upscaler is at hand: two thirds of the size first, then its latents enlarged twice
 * and refined. Memory: one graph for the text (given back before sampling), one for the rest; weights stay in
 * the mapped files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/sha256.h"
#include "diffusion/sampler.h"
#include "models/families.h"
#include "models/ltx/filters.h"
#include "models/ltx/ltx.h"
#include "text/cache.h"

enum { MAX_FRAMES = 257, NOISE_STREAM = 0x6c747800 };
static const double first_scale = 0.6666666;
static const float decode_time = 0.05f, decode_noise = 0.025f, image_noise = 0.15f, second_tone = 0.6f,
                   least_step = 0.002f;

/* ---- facts ---- */

static void ltx_facts(const void *self, hm_model_facts *f)
{
    const hm_ltx *m = self;
    hm_ltx_recipe r;
    hm_ltx_recipe_for(m, 0, &r);
    *f = (hm_model_facts){.family = "ltx-video",
                          .n_params = m->n_params,
                          .file_bytes = m->file_bytes,
                          .merged_bytes = m->merged_bytes,
                          .int8_bytes = m->int8.bytes,
                          .int8_from = m->int8.in_place_of,
                          .side_step = m->vae.st ? m->vae.scale_s : 32,
                          .frame_step = m->vae.st ? m->vae.scale_t : 8,
                          .max_frames = MAX_FRAMES,
                          .width = 768,
                          .height = 512,
                          .n_frames = 121,
                          .steps = r.steps,
                          .fps = 25,
                          .guidance = r.guide.scale[r.guide.n > 3 ? 3 : 0],
                          .takes_items = true,
                          .takes_start = true,
                          .previews = m->tae_st != NULL,
                          .goes_on = MAX_FRAMES,
                          .leads_to = MAX_FRAMES,
                          .loose = HM_LTX_LOOSE,
                          .negative = "worst quality, inconsistent motion, blurry, jittery, distorted"};
    memcpy(f->files, m->files, sizeof f->files);
    const double n = (double)m->n_transformer;
    snprintf(f->name, sizeof f->name, "LTX-Video %.0f%s %s%s%s", n < 1e9 ? 1e-6 * n : 1e-9 * n,
             n < 1e9 ? "M" : "B", m->version, m->distilled ? " distilled" : "",
             m->upscaler ? " with upscaler" : "");
    if (!m->vae.st)
        snprintf(f->missing, sizeof f->missing,
                 "%.120s: only the transformer is in it: name an autoencoder (LTX-Video-VAE-BF16.safetensors, diffusers' vae/, or a whole checkpoint) with "
                 "--with FILE, or put it beside the transformer",
                 hm_st_path(m->main));
    else if (!m->n_shards)
        snprintf(f->missing, sizeof f->missing,
                 "%.120s: its text encoder is missing: name a T5 v1.1 XXL encoder (t5xxl_bf16.safetensors or "
                 "the like) with "
                 "--with FILE, or put it beside the checkpoint",
                 hm_st_path(m->main));
    else if (!m->tok)
        snprintf(f->missing, sizeof f->missing,
                 "%.120s: its tokenizer is missing: name T5's spiece.model with --with FILE, or put it "
                 "beside the checkpoint",
                 hm_st_path(m->main));
}

static himmel_status ltx_pack(void *self, hm_graph *g, himmel_error *err)
{
    return hm_dit_params(&((hm_ltx *)self)->dit, "", hm_int8_fill, g, err);
}

/* ---- a job's passes ---- */

typedef struct {
    const hm_ltx *m;
    const hm_model_job *job;
    hm_model_cost *cost;
    hm_graph *g;
    hm_ltx_nets nets;
    hm_ltx_item *items;
    float *frames[HM_MODEL_MAX_FILES * 8 + 1]; /* -1..1, of items and start */
    hm_ltx_item start;
    uint8_t *known;       /* of the pass */
    float *text;          /* [2][M][W], then masks [2][M] */
    float *picture;       /* of the job's size */
    int small_w, small_h; /* what is decoded, if other */
    int draws, before, n_steps; /* random draws so far; steps of the passes before */
    hm_kept kept;
    bool two; /* passes */
    double shown, cost_of_shown; /* when the last preview was done, and what it took */
} run;

static himmel_status schedule(const hm_ltx *m, const hm_model_job *job, hm_ltx_recipe *r, int64_t tokens,
                              float *t, himmel_error *err)
{
    const int steps = job->steps > 0 ? job->steps : r->steps;
    if (r->n_times && steps == r->steps) {
        memcpy(t, r->times, (size_t)r->n_times * sizeof *t);
        return HIMMEL_OK;
    }
    if (steps > HM_LTX_MAX_STEPS)
        return hm_fail(err, HIMMEL_EINVAL, "ltx-video: %d steps, at most %d are possible", steps,
                       (int)HM_LTX_MAX_STEPS);
    if (steps != r->steps) { /* skipped steps keep their share */
        r->skip_first = r->skip_first * steps / r->steps;
        r->skip_last = r->skip_last * steps / r->steps;
    }
    r->n_times = r->steps = steps;
    const hm_sched_kind kind = !m->uniform  ? HM_SCHED_LINEAR_QUADRATIC
                               : m->shifted ? HM_SCHED_SD3_SHIFT
                                            : HM_SCHED_UNIFORM;
    return hm_schedule(t, steps, kind, m->shifted ? hm_sd3_shift(tokens) : 1, m->shifted ? 0.1 : 0, err);
}

/* Pass number `two` (0: the only one, 1 and 2 of two) of width x height. */
static himmel_status make_pass(const hm_ltx *m, const hm_model_job *job, int two, int width, int height,
                               hm_ltx_pass *p, himmel_error *err)
{
    hm_ltx_recipe r;
    float t[HM_LTX_MAX_STEPS];
    hm_ltx_recipe_for(m, two, &r);
    hm_model_job own = *job;
    if (two == 2 || (two == 1 && m->distilled)) own.steps = 0; /* the makers' own */
    const int64_t tokens = (int64_t)((job->n_frames - 1) / m->vae.scale_t + 1) * (width / m->vae.scale_s) *
                           (height / m->vae.scale_s);
    const himmel_status rc = schedule(m, &own, &r, tokens, t, err);
    if (rc) return rc;
    int from = r.skip_first, to = r.n_times - r.skip_last, extra = 0;
    const float level = (float)job->start_level;
    if (job->start && two < 2 && level < t[from] - least_step) { /* begin where the film still has its part */
        while (from < to && t[from] > level - least_step) from++;
        extra = 1;
    }
    *p = (hm_ltx_pass){.width = width,
                       .height = height,
                       .n_frames = job->n_frames,
                       .fps = job->fps,
                       .n_times = extra + to - from,
                       .guide = r.guide,
                       .image_noise = image_noise,
                       .stochastic = m->stochastic,
                       .step_cache = job->step_cache};
    p->times[0] = level;
    memcpy(p->times + extra, t + from, (size_t)(to - from) * sizeof *t);
    if (job->guidance >= 0 && two < 2) {
        p->guide.n = 1;
        p->guide.scale[0] = (float)job->guidance;
        if (job->guidance <= 1) p->guide.stg[0] = 0;
    }
    return HIMMEL_OK;
}

static bool two_passes(const hm_ltx *m, const hm_model_job *job, int *w, int *h)
{
    const int s = m->vae.scale_s;
    *w = (int)(job->width * first_scale) / s * s;
    *h = (int)(job->height * first_scale) / s * s;
    return m->upscaler && *w >= s && *h >= s;
}

/* ---- text ---- */

/* Hidden states of both prompts into r->text, layer by layer; the encoder's working memory goes back at the
 * end. */
static himmel_status encode_text(run *r, hm_model_cost *cost, bool plan, himmel_error *err)
{
    const hm_ltx *m = r->m;
    const int64_t M = HM_LTX_TOKENS, W = m->t5.cfg.d_model;
    hm_graph *g;
    himmel_status rc =
        hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .plan = plan, .n_threads = r->job->threads}, err);
    if (rc) return rc;
    const double t0 = hm_now();
    const char *const prompts[2] = {r->job->negative ? r->job->negative : "",
                                    r->job->prompt ? r->job->prompt : ""};
    for (int b = 0; b < 2 && !rc; b++) {
        hm_tensor *ids = hm_new(g, HM_I32, HM_DIMS(M)), *keep = hm_new(g, HM_I32, HM_DIMS(M));
        if (!plan) hm_tok_encode_padded(m->tok, prompts[b], ids->data, keep->data, (size_t)M);
        float *states = r->text + b * M * W;
        uint8_t key[32];
        if (!plan) hm_text_cache_key(key, m->encoder, ids->data, keep->data, (size_t)M, r->job->threads);
        const bool known = !plan && hm_text_cache_load(r->job->text_cache, key, states, (size_t)(M * W));
        const hm_tensor *h = known ? NULL : hm_t5_forward(g, &m->t5, ids->data, keep->data, 1, M);
        if (!plan) {
            if (h) hm_convert(states, HM_F32, h->data, h->dtype, (size_t)(M * W));
            if (h) hm_text_cache_save(r->job->text_cache, key, states, (size_t)(M * W));
            float *mask = r->text + 2 * M * W + b * M;
            for (int64_t i = 0; i < M; i++) mask[i] = (float)((const int32_t *)keep->data)[i];
            if (r->job->on_step && r->job->on_step(r->job->user, "text", b + 1, 2))
                rc = hm_fail(err, HIMMEL_ECANCELLED, "stopped while the text was encoded");
        }
        cost->text_gflop += 1e-9 * (double)hm_flops(g);
        hm_graph_reset(g);
    }
    cost->peak_bytes = HM_MAX(cost->peak_bytes, hm_peak(g));
    cost->text_seconds = hm_now() - t0;
    hm_graph_free(g);
    return rc;
}

/* ---- calls from the pipeline ---- */

static void draw(void *user, hm_ltx_draw what, float *x, int64_t rows, int64_t C)
{
    run *r = user;
    hm_randn(x, (size_t)(rows * C), r->job->seed,
             (uint64_t)NOISE_STREAM + (uint64_t)r->draws++ * 16 + (uint64_t)what);
}

static int on_step(void *user, int step, int n_steps)
{
    run *r = user;
    (void)n_steps;
    return r->job->on_step && r->job->on_step(r->job->user, "sample", r->before + step, r->n_steps);
}

static hm_tae_input preview_of(const hm_ltx *m, const float *z, int64_t T, int64_t h, int64_t w)
{
    return (hm_tae_input){.z = z, .step_c = 1, .step_p = m->vae.latent_c, .T = (int)T, .h = (int)h, .w = (int)w, .at = (int)T / 2, .width = HM_PREVIEW_WIDTH};
}

/* A preview takes at most a twentieth of the time. */
static int on_clean(void *user, const float *z, int64_t T, int64_t h, int64_t w)
{
    run *r = user;
    const double now = hm_now();
    int size[2];
    if (now - r->shown < 19 * r->cost_of_shown) return 0;
    const hm_tae_input in = preview_of(r->m, z, T, h, w);
    uint8_t *rgb = hm_tae_picture(&r->m->tae, HM_BF16, r->job->threads, &in, size);
    const int stop = rgb && r->job->on_preview(r->job->user, rgb, size[0], size[1]);
    free(rgb);
    r->shown = hm_now(), r->cost_of_shown = r->shown - now;
    return stop;
}

static himmel_status on_frame(void *user, int i, const float *rgb, himmel_error *err)
{
    run *r = user;
    const int w = r->small_w, h = r->small_h;
    const size_t n = (size_t)w * (size_t)h * 3;
    float *small = r->picture + (size_t)r->job->width * (size_t)r->job->height * 3;
    for (size_t k = 0; k < n; k++) small[k] = HM_MIN(HM_MAX(0.5f * rgb[k] + 0.5f, 0.0f), 1.0f);
    const bool same = w == r->job->width && h == r->job->height;
    if (!same) hm_resize(r->picture, r->job->height, r->job->width, small, 1, h, w);
    const himmel_status rc = r->job->on_frame(r->job->user, i, same ? small : r->picture, err);
    if (!rc && r->job->on_step && r->job->on_step(r->job->user, "film", i + 1, r->job->n_frames))
        return hm_fail(err, HIMMEL_ECANCELLED, "stopped after frame %d of %d", i + 1, r->job->n_frames);
    return rc;
}

/* ---- running ---- */

static float *centred(const float *rgb, size_t n)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; x && i < n; i++) x[i] = 2 * rgb[i] - 1;
    return x;
}

/* What is given, -1..1; in a plan only where it stands. */
static himmel_status take_items(run *r, bool plan, himmel_error *err)
{
    const hm_model_job *job = r->job;
    const size_t frame = (size_t)job->width * (size_t)job->height * 3;
    const int most = (int)HM_COUNT(r->frames) - 1;
    if (job->n_items > most)
        return hm_fail(err, HIMMEL_EINVAL,
                       "ltx-video: %d pictures and clips are given, at most %d are possible", job->n_items,
                       most);
    r->items = calloc((size_t)job->n_items + 1, sizeof *r->items);
    bool ok = r->items != NULL;
    for (int i = 0; i < job->n_items && ok; i++) {
        const hm_model_item *it = &job->items[i];
        if (!plan) r->frames[i] = centred(it->rgb, frame * (size_t)it->n_frames);
        ok = plan || r->frames[i];
        r->items[i] =
            (hm_ltx_item){r->frames[i], it->n_frames, job->height, job->width, it->at, (float)it->strength};
    }
    if (ok && job->start) {
        if (!plan) r->frames[most] = centred(job->start, frame * (size_t)job->n_frames);
        ok = plan || r->frames[most];
        r->start = (hm_ltx_item){r->frames[most], job->n_frames, job->height, job->width, 0, 1};
    }
    return ok ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "ltx-video: out of memory for what is given");
}

/* Of the pass: which of its tokens have no pixel that may change. */
static himmel_status know_tokens(run *r, hm_ltx_pass *p, himmel_error *err)
{
    const hm_model_job *job = r->job;
    const int st = r->m->vae.scale_t, ss = r->m->vae.scale_s;
    const int T = (job->n_frames - 1) / st + 1, h = p->height / ss, w = p->width / ss;
    free(r->known);
    r->known = NULL;
    if (!job->mask) return HIMMEL_OK;
    r->known = malloc((size_t)T * (size_t)h * (size_t)w);
    if (!r->known) return hm_fail(err, HIMMEL_ENOMEM, "ltx-video: out of memory for a mask");
    for (int t = 0; t < T; t++)
        hm_model_mask_cells(job, t ? st * (t - 1) + 1 : 0, t ? st : 1, h, w, r->known + (size_t)t * (size_t)h * (size_t)w);
    p->known = r->known;
    p->media = &r->start;
    return HIMMEL_OK;
}

static float *latents(const hm_ltx *m, int n_frames, int w, int h)
{
    const int64_t T = (n_frames - 1) / m->vae.scale_t + 1;
    return malloc((size_t)(T * (w / m->vae.scale_s) * (h / m->vae.scale_s) * m->vae.latent_c) *
                  sizeof(float));
}

static himmel_status one_pass(run *r, hm_ltx_pass *p, const hm_ltx_calls *calls, float **z, himmel_error *err)
{
    p->items = r->items;
    p->n_items = r->job->n_items;
    p->n_passes = &r->cost->passes, p->n_skipped = &r->cost->passes_skipped;
    himmel_status rc = know_tokens(r, p, err);
    if (rc) return rc;
    *z = latents(r->m, p->n_frames, p->width, p->height);
    if (!*z) return hm_fail(err, HIMMEL_ENOMEM, "ltx-video: out of memory for the latents");
    rc = hm_ltx_sample(&r->nets, p, calls, *z, err);
    r->before += p->n_times;
    return rc;
}

/* Latents of the film; the size they have in *w, *h. */
static himmel_status sample(run *r, const hm_ltx_calls *calls, float **z, himmel_error *err)
{
    const hm_ltx *m = r->m;
    const hm_model_job *job = r->job;
    hm_ltx_pass p, p2;
    int w, h;
    const bool two = r->two = two_passes(m, job, &w, &h);
    if (!two) w = job->width, h = job->height;
    himmel_status rc = make_pass(m, job, two, w, h, &p, err);
    if (!rc && two) rc = make_pass(m, job, 2, 2 * w, 2 * h, &p2, err);
    if (rc) return rc;
    r->n_steps = p.n_times + (two ? p2.n_times : 0);
    p.media = job->start ? &r->start : NULL;
    rc = one_pass(r, &p, calls, z, err);
    if (!rc && two) {
        const int s = m->vae.scale_s;
        float *small = *z, *big = latents(m, job->n_frames, 2 * w, 2 * h);
        *z = NULL;
        rc = big ? hm_ltx_upsample(&r->nets, &m->up, small, (job->n_frames - 1) / m->vae.scale_t + 1, h / s,
                                   w / s, calls, big, err)
                 : hm_fail(err, HIMMEL_ENOMEM, "ltx-video: out of memory for the latents");
        p2.start = big;
        if (!rc) rc = one_pass(r, &p2, calls, z, err);
        free(small);
        free(big);
        w *= 2, h *= 2;
    }
    r->small_w = w, r->small_h = h;
    return rc;
}

static himmel_status decode(run *r, const hm_ltx_calls *calls, float *z, himmel_error *err)
{
    const hm_model_job *job = r->job;
    const size_t n = (size_t)job->width * (size_t)job->height + (size_t)r->small_w * (size_t)r->small_h;
    r->picture = malloc(3 * n * sizeof *r->picture);
    if (!r->picture) return hm_fail(err, HIMMEL_ENOMEM, "ltx-video: out of memory for a frame");
    const hm_ltx_decode d = {.width = r->small_w,
                             .height = r->small_h,
                             .n_frames = job->n_frames,
                             .time = decode_time,
                             .noise = decode_noise,
                             .tone = r->two && r->m->distilled ? second_tone : 0,
                             .on_frame = on_frame,
                             .user = r};
    return hm_ltx_decode_film(&r->nets, &d, calls, z, err);
}

static himmel_status open_run(run *r, const hm_ltx *m, const hm_model_job *job, bool plan, himmel_error *err)
{
    const int64_t M = HM_LTX_TOKENS, W = m->t5.cfg.d_model;
    *r = (run){.m = m, .job = job};
    r->text = malloc((size_t)(2 * M * W + 2 * M) * sizeof *r->text);
    if (!r->text) return hm_fail(err, HIMMEL_ENOMEM, "ltx-video: out of memory for the text");
    const himmel_status rc =
        hm_graph_new(&r->g, &(hm_graph_opts){.act = HM_BF16, .plan = plan, .n_threads = job->threads}, err);
    r->nets = (hm_ltx_nets){.g = r->g,
                            .dit = &m->dit,
                            .vae = &m->vae,
                            .M = M,
                            .text = {r->text, r->text + M * W},
                            .mask = {r->text + 2 * M * W, r->text + 2 * M * W + M}};
    return rc;
}

static void close_run(run *r)
{
    hm_graph_free(r->g);
    for (size_t i = 0; i < HM_COUNT(r->frames); i++) free(r->frames[i]);
    free(r->items);
    free(r->known);
    free(r->text);
    free(r->picture);
}

static himmel_status ltx_run(const void *self, const hm_model_job *job, hm_model_cost *cost,
                             himmel_error *err)
{
    run r;
    float *z = NULL;
    himmel_status rc = open_run(&r, self, job, false, err);
    hm_ltx_calls calls = {.user = &r, .draw = draw, .on_step = on_step};
    if (job->on_preview && r.m->tae_st) calls.on_clean = on_clean;
    r.cost = cost;
    if (!rc) rc = take_items(&r, false, err);
    if (!rc) rc = encode_text(&r, cost, false, err);
    if (!rc && job->kept) {
        hm_sha256 h;
        hm_sha256_init(&h);
        hm_sha256_add(&h, r.text, (size_t)(2 * HM_LTX_TOKENS) * (size_t)(r.m->t5.cfg.d_model + 1) * sizeof *r.text);
        r.kept = *job->kept;
        hm_sha256_end(&h, r.kept.words);
        calls.kept = &r.kept, calls.draws = &r.draws;
    }
    const double t0 = hm_now();
    if (!rc) rc = sample(&r, &calls, &z, err);
    const double t1 = hm_now();
    if (r.g) cost->sample_gflop = 1e-9 * (double)hm_flops(r.g);
    if (!rc) rc = decode(&r, &calls, z, err);
    cost->sample_seconds = t1 - t0;
    cost->decode_seconds = hm_now() - t1;
    if (r.g) {
        cost->decode_gflop = 1e-9 * (double)hm_flops(r.g) - cost->sample_gflop;
        cost->peak_bytes = HM_MAX(cost->peak_bytes, hm_peak(r.g));
    }
    free(z);
    close_run(&r);
    return rc;
}

/* Beside the graph, in the last pass, which is the largest: text, what is given, a sampling's own numbers (pipe.c), latents
 * before and after, a frame. */
static uint64_t beside_bytes(const run *r, const hm_ltx_pass *p)
{
    const hm_ltx *m = r->m;
    const uint64_t frame = 3 * (uint64_t)r->job->width * (uint64_t)r->job->height;
    const uint64_t area = (uint64_t)(p->width / m->vae.scale_s) * (uint64_t)(p->height / m->vae.scale_s);
    const uint64_t film = area * (uint64_t)((p->n_frames - 1) / m->vae.scale_t + 1);
    uint64_t tokens = film, given = r->job->start ? frame * (uint64_t)p->n_frames : 0;
    for (int i = 0; i < r->job->n_items; i++) {
        given += frame * (uint64_t)r->job->items[i].n_frames;
        tokens += r->job->items[i].at ? area * 2 : 0;
    }
    const uint64_t C = (uint64_t)m->vae.latent_c, rotary = (uint64_t)m->dit.cfg.n_heads * (uint64_t)m->dit.cfg.head_dim;
    const uint64_t text = 2 * (uint64_t)HM_LTX_TOKENS * (uint64_t)(m->t5.cfg.d_model + 1);
    return sizeof(float) * (text + 2 * given + tokens * (((r->job->step_cache > 0 ? 10 : 6) + (r->job->kept ? 5 : 0)) * C + rotary + 13) + 3 * film * C + 2 * frame);
}

static himmel_status ltx_plan(const void *self, const hm_model_job *job, hm_model_cost *cost,
                              himmel_error *err)
{
    const hm_ltx *m = self;
    run r;
    int w, h;
    hm_ltx_pass p;
    himmel_status rc = open_run(&r, m, job, true, err);
    if (!rc) rc = take_items(&r, true, err);
    if (!rc) rc = encode_text(&r, cost, true, err);
    const bool two = two_passes(m, job, &w, &h);
    for (int i = two; i <= 2 * two && !rc; i++) {
        double gflop = 0;
        if (!two) w = job->width, h = job->height;
        rc = make_pass(m, job, i, i == 2 ? 2 * w : w, i == 2 ? 2 * h : h, &p, err);
        p.items = r.items, p.n_items = job->n_items;
        p.media = job->start && (i < 2 || job->mask) ? &r.start : NULL;
        p.known = job->mask; /* only that there is one counts here */
        if (!rc) rc = hm_ltx_plan_sample(&r.nets, &p, &gflop, err);
        cost->sample_gflop += gflop;
    }
    if (!rc) {
        const uint64_t before = hm_flops(r.g);
        const hm_ltx_decode d = {.width = p.width, .height = p.height, .n_frames = p.n_frames};
        rc = hm_ltx_decode_film(&r.nets, &d, &(hm_ltx_calls){0}, NULL, err);
        cost->decode_gflop = 1e-9 * (double)(hm_flops(r.g) - before);
    }
    if (r.g) cost->peak_bytes = HM_MAX(cost->peak_bytes, hm_peak(r.g));
    if (!rc) cost->peak_bytes += beside_bytes(&r, &p);
    const hm_tae_input shown = preview_of(m, NULL, (job->n_frames - 1) / m->vae.scale_t + 1, job->height / m->vae.scale_s, job->width / m->vae.scale_s);
    if (!rc && m->tae_st) cost->peak_bytes += hm_tae_bytes(&m->tae, job->threads, &shown);
    close_run(&r);
    return rc;
}

const hm_model_ops hm_ltx_ops = {.family = "ltx-video",
                                 .claims = hm_ltx_claims,
                                 .open = hm_ltx_open,
                                 .close = hm_ltx_close,
                                 .facts = ltx_facts,
                                 .pack = ltx_pack,
                                 .plan = ltx_plan,
                                 .run = ltx_run};
