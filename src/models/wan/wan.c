/* wan.c - Wan as film/ runs it: words -> umT5 -> denoising -> frames.   SPDX-License-Identifier: MIT
 * Memory: one graph for the text (given back before sampling), one for the rest; weights stay in the mapped files; the
 * autoencoder is a stream. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/sha256.h"
#include "models/families.h"
#include "models/wan/wan.h"
#include "text/cache.h"

enum { MAX_FRAMES = 241, NOISE_STREAM = 0x77616e00 };

/* The negative prompt of Wan's configuration (shared_config.py, sample_neg_prompt), which its guidance was tuned with. */
static const char negative_words[] =
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，"
    "画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走";

/* ---- facts ---- */

static void wan_facts(const void *self, hm_model_facts *f)
{
    static const char *const kinds[] = {"T2V", "I2V", "FLF2V", "TI2V", "VACE"};
    const hm_wan_set *m = self;
    const hm_wan_recipe *r = &m->recipe;
    const bool pictures = m->kind == HM_WAN_I2V || m->kind == HM_WAN_FLF2V, vace = m->kind == HM_WAN_VACE;
    *f = (hm_model_facts){.family = "wan",
                          .n_params = m->n_params,
                          .file_bytes = m->file_bytes,
                          .merged_bytes = m->merged_bytes,
                          .int8_bytes = m->int8.bytes,
                          .int8_from = m->int8.in_place_of,
                          .side_step = m->vae ? 2 * hm_wan_vae_stride(m->vae) : m->dit.cfg.out_dim == 48 ? 32 : 16,
                          .frame_step = 4,
                          .max_frames = MAX_FRAMES,
                          .width = r->width,
                          .height = r->height,
                          .n_frames = r->n_frames,
                          .steps = r->steps,
                          .fps = r->fps,
                          .guidance = (double)r->guidance,
                          .negative = negative_words,
                          .takes_items = m->kind != HM_WAN_T2V,
                          .takes_start = true,
                          .takes_reference = vace,
                          .previews = m->tae_st != NULL,
                          .goes_on = vace ? MAX_FRAMES : m->kind != HM_WAN_T2V,
                          .leads_to = vace ? MAX_FRAMES : pictures,
                          .loose = vace ? MAX_FRAMES : 1,
                          .last_only = pictures,
                          .needs_first = pictures,
                          .needs_last = m->kind == HM_WAN_FLF2V,
                          .ends_whole = true};
    memcpy(f->files, m->files, sizeof f->files);
    const double n = (double)m->n_transformer;
    snprintf(f->name, sizeof f->name, "Wan %s %s %s%.3g%s%s", m->kind == HM_WAN_TI2V || m->two ? "2.2" : "2.1", kinds[m->kind],
             m->two ? "two experts, " : "", n < 1e9 ? 1e-6 * n : 1e-9 * n, n < 1e9 ? "M" : "B", m->distilled ? " distilled" : "");
    hm_wan_missing(m, f->missing, sizeof f->missing);
}

/* ---- int8 ---- */

static himmel_status wan_pack(void *self, hm_graph *g, himmel_error *err)
{
    hm_wan_set *m = self;
    himmel_status rc = hm_wan_params(&m->dit, hm_int8_fill, g, err);
    if (!rc && m->low.layers) rc = hm_wan_params(&m->low, hm_int8_fill, g, err);
    return rc;
}

/* ---- a job ---- */

typedef struct {
    const hm_wan_set *m;
    const hm_model_job *job;
    hm_model_cost *cost;
    hm_graph *g;
    float *text[2];       /* [n, text_dim]: negative, prompt */
    int n_text[2];
    hm_wan_given given;
    float *x;             /* the latents */
    int lead, steps;      /* latent frames of the reference, before the film's; steps that there are */
    float *picture;
    int frames;           /* handed on */
    himmel_status frame_rc;
    himmel_error frame_err;
    hm_wan_sampling s;
    hm_kept kept;
    double shown, cost_of_shown; /* when the last preview was done, and what it took */
} run;

static void set_up(run *r)
{
    const hm_wan_set *m = r->m;
    const hm_model_job *job = r->job;
    const hm_wan_recipe *w = &m->recipe;
    const int stride = hm_wan_vae_stride(m->vae);
    const bool large = (int64_t)job->width * job->height > 600000, i2v = m->kind == HM_WAN_I2V || m->kind == HM_WAN_FLF2V;
    r->lead = job->reference != NULL;
    r->s = (hm_wan_sampling){.model = &m->dit,
                             .low = m->second ? &m->low : NULL,
                             .boundary = w->boundary,
                             .guidance = job->guidance >= 0 ? (float)job->guidance : w->guidance,
                             .guidance_low = job->guidance >= 0 ? (float)job->guidance : w->guidance_low,
                             .solver = HM_SOLVER_UNIPC,
                             .steps = job->steps > 0 ? job->steps : w->steps,
                             .shift = i2v && !m->two && large ? 5 : w->shift,
                             .step_cache = job->step_cache,
                             .n_passes = &r->cost->passes,
                             .n_skipped = &r->cost->passes_skipped,
                             .level = job->start_level,
                             .told = m->kind == HM_WAN_TI2V,
                             .in = {.T = r->lead + (job->n_frames - 1) / 4 + 1, .H = job->height / stride, .W = job->width / stride, .vace_scale = 1}};
}

static bool needs_negative(const run *r) { return r->s.guidance != 1.0f || (r->s.low && r->s.guidance_low != 1.0f); }

static himmel_status encode_one(run *r, hm_graph *g, int which, himmel_error *err)
{
    const hm_wan_set *m = r->m;
    const char *prompt = which ? r->job->prompt : r->job->negative;
    int32_t id[HM_WAN_TOKENS], keep[HM_WAN_TOKENS];
    int n = 0;
    hm_tok_encode_padded(m->tok, prompt ? prompt : "", id, keep, HM_WAN_TOKENS);
    while (n < HM_WAN_TOKENS && keep[n]) n++;
    const size_t numbers = (size_t)n * (size_t)m->t5.cfg.d_model;
    uint8_t key[32];
    r->n_text[which] = n;
    if (!hm_is_plan(g)) {
        r->text[which] = malloc(numbers * sizeof(float));
        if (!r->text[which]) return hm_fail(err, HIMMEL_ENOMEM, "wan: out of memory for the text");
        hm_text_cache_key(key, m->encoder, id, keep, (size_t)n, r->job->threads);
        if (hm_text_cache_load(r->job->text_cache, key, r->text[which], numbers)) return HIMMEL_OK;
    }
    const hm_tensor *h = hm_t5_forward(g, &m->t5, id, keep, 1, n); /* padding is masked in the original: leaving it out is the same */
    if (!hm_is_plan(g)) {
        hm_convert(r->text[which], HM_F32, h->data, h->dtype, numbers);
        hm_text_cache_save(r->job->text_cache, key, r->text[which], numbers);
    }
    r->cost->text_gflop += 1e-9 * (double)hm_flops(g);
    hm_graph_reset(g);
    return HIMMEL_OK;
}

static himmel_status encode_text(run *r, bool plan, himmel_error *err)
{
    hm_graph *g;
    himmel_status rc = hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .plan = plan, .n_threads = r->job->threads}, err);
    if (rc) return rc;
    const double t0 = hm_now();
    for (int b = needs_negative(r) ? 0 : 1; b < 2 && !rc; b++) {
        rc = encode_one(r, g, b, err);
        if (!rc && !plan && r->job->on_step && r->job->on_step(r->job->user, "text", b + 1, 2))
            rc = hm_fail(err, HIMMEL_ECANCELLED, "stopped while the text was encoded");
    }
    r->cost->peak_bytes = HM_MAX(r->cost->peak_bytes, hm_peak(g));
    r->cost->text_seconds = hm_now() - t0;
    hm_graph_free(g);
    return rc;
}

static int64_t latent_numbers(const run *r)
{
    const hm_wan_input *in = &r->s.in;
    return (int64_t)r->m->dit.cfg.out_dim * in->T * in->H * in->W;
}

static void take_given(run *r)
{
    hm_wan_sampling *s = &r->s;
    s->in.y = r->given.y, s->in.clip = r->given.clip, s->in.n_clip = r->given.n_clip, s->in.vace = r->given.vace;
    s->still = r->given.still, s->start = r->given.start, s->stays = r->given.stays;
}

/* Before step `step`: those before it are done. */
static int on_step(void *user, int step, int steps, const float *x)
{
    run *r = user;
    (void)x;
    r->steps = steps;
    return step && r->job->on_step && r->job->on_step(r->job->user, "sample", step, steps);
}

static hm_tae_input preview_of(const run *r, const float *x)
{
    const hm_wan_input *in = &r->s.in;
    const int T = in->T - r->lead;
    const size_t hw = (size_t)(in->H * in->W);
    return (hm_tae_input){.z = x ? x + (size_t)r->lead * hw : NULL, .step_c = in->T * in->H * in->W, .step_p = 1, .T = T, .h = in->H, .w = in->W, .at = T / 2,
                          .width = HM_PREVIEW_WIDTH};
}

/* A preview takes at most a twentieth of the time. */
static int on_clean(void *user, const float *x)
{
    run *r = user;
    const double now = hm_now();
    int size[2];
    if (now - r->shown < 19 * r->cost_of_shown) return 0;
    const hm_tae_input in = preview_of(r, x);
    uint8_t *rgb = hm_tae_picture(&r->m->tae, HM_BF16, r->job->threads, &in, size);
    const int stop = rgb && r->job->on_preview(r->job->user, rgb, size[0], size[1]);
    free(rgb);
    r->shown = hm_now(), r->cost_of_shown = r->shown - now;
    return stop;
}

static himmel_status sample(run *r, himmel_error *err)
{
    const size_t n = (size_t)latent_numbers(r);
    hm_wan_sampling *s = &r->s;
    take_given(r);
    s->text = r->text[1], s->n_text = r->n_text[1];
    s->negative = r->text[0], s->n_negative = r->n_text[0];
    s->on_step = on_step, s->user = r;
    if (r->job->on_preview && r->m->tae_st) s->on_clean = on_clean;
    if (r->job->kept) {
        hm_sha256 h;
        hm_sha256_init(&h);
        for (int b = 0; b < 2; b++)
            if (r->text[b]) hm_sha256_add(&h, r->text[b], (size_t)r->n_text[b] * (size_t)r->m->t5.cfg.d_model * sizeof(float));
        r->kept = *r->job->kept;
        hm_sha256_end(&h, r->kept.words);
        s->kept = &r->kept;
    }
    r->x = malloc(n * sizeof *r->x);
    if (!r->x) return hm_fail(err, HIMMEL_ENOMEM, "wan: out of memory for the latents");
    hm_randn(r->x, n, r->job->seed, NOISE_STREAM);
    const himmel_status rc = hm_wan_sample(r->g, s, r->x, err);
    if (!rc && r->job->on_step && r->job->on_step(r->job->user, "sample", r->steps, r->steps))
        return hm_fail(err, HIMMEL_ECANCELLED, "stopped after the last step");
    return rc;
}

static int on_frames(void *user, const float *rgb, int n, int H, int W)
{
    run *r = user;
    const size_t one = (size_t)H * (size_t)W * 3;
    for (int f = 0; f < n; f++) {
        for (size_t i = 0; i < one; i++) r->picture[i] = 0.5f * rgb[(size_t)f * one + i] + 0.5f;
        r->frame_rc = r->job->on_frame(r->job->user, r->frames++, r->picture, &r->frame_err);
        if (!r->frame_rc && r->job->on_step && r->job->on_step(r->job->user, "film", r->frames, r->job->n_frames))
            r->frame_rc = hm_fail(&r->frame_err, HIMMEL_ECANCELLED, "stopped after frame %d of %d", r->frames, r->job->n_frames);
        if (r->frame_rc) return 1;
    }
    return 0;
}

/* The latents without the reference's. */
static void drop_lead(run *r)
{
    const size_t frame = (size_t)(r->s.in.H * r->s.in.W), C = (size_t)r->m->dit.cfg.out_dim, all = (size_t)r->s.in.T, lead = (size_t)r->lead;
    for (size_t c = 0; c < C && lead; c++)
        memmove(r->x + c * (all - lead) * frame, r->x + (c * all + lead) * frame, (all - lead) * frame * sizeof *r->x);
}

static himmel_status decode(run *r, himmel_error *err)
{
    const hm_wan_input *in = &r->s.in;
    drop_lead(r);
    r->picture = malloc((size_t)r->job->width * (size_t)r->job->height * 3 * sizeof *r->picture);
    if (!r->picture) return hm_fail(err, HIMMEL_ENOMEM, "wan: out of memory for a frame");
    const himmel_status rc = hm_wan_vae_decode(r->m->vae, r->g, r->x, (int[3]){in->T - r->lead, in->H, in->W},
                                               &(hm_wan_vae_sink){.on_frames = on_frames, .user = r}, err);
    if (r->frame_rc) *err = r->frame_err;
    return r->frame_rc ? r->frame_rc : rc;
}

static himmel_status wan_run(const void *self, const hm_model_job *job, hm_model_cost *cost, himmel_error *err)
{
    run r = {.m = self, .job = job, .cost = cost};
    himmel_status rc = hm_wan_given_check(r.m, job, err);
    if (!rc) rc = hm_wan_mask_check(r.m, job, err);
    if (rc) return rc;
    set_up(&r);
    rc = encode_text(&r, false, err);
    if (!rc) rc = hm_graph_new(&r.g, &(hm_graph_opts){.act = HM_BF16, .n_threads = job->threads}, err);
    const double t0 = hm_now();
    if (!rc) rc = hm_wan_given_make(r.m, job, r.g, &r.given, err);
    if (!rc) rc = sample(&r, err);
    const double t1 = hm_now();
    if (r.g) cost->sample_gflop = 1e-9 * (double)hm_flops(r.g);
    if (!rc) rc = decode(&r, err);
    cost->sample_seconds = t1 - t0;
    cost->decode_seconds = hm_now() - t1;
    if (r.g) {
        cost->decode_gflop = 1e-9 * (double)hm_flops(r.g) - cost->sample_gflop;
        cost->peak_bytes = HM_MAX(cost->peak_bytes, hm_peak(r.g));
    }
    hm_wan_given_free(&r.given);
    hm_graph_free(r.g);
    free(r.text[0]);
    free(r.text[1]);
    free(r.x);
    free(r.picture);
    return rc;
}

/* ---- plan ---- */

/* Of the transformer with one prompt; 0: err says why there are none. */
static int passes(const run *r, himmel_error *err)
{
    float sigma[HM_MAX_STEPS + 2], t[HM_MAX_STEPS + 1];
    int n = 0;
    const int steps = hm_wan_levels(&r->s, sigma, t, err);
    for (int i = 0; i < steps; i++) {
        const bool low = r->s.low && t[i] < r->s.boundary * 1000.0f;
        n += (low ? r->s.guidance_low : r->s.guidance) != 1.0f ? 2 : 1;
    }
    return n;
}

static himmel_status wan_plan(const void *self, const hm_model_job *job, hm_model_cost *cost, himmel_error *err)
{
    run r = {.m = self, .job = job, .cost = cost};
    uint64_t kept = 0;
    himmel_status rc = hm_wan_given_check(r.m, job, err);
    if (rc) return rc;
    set_up(&r);
    r.s.start = job->start; /* only that there is one counts */
    const int n_passes = passes(&r, err);
    if (!n_passes) return HIMMEL_EINVAL;
    rc = encode_text(&r, true, err);
    if (!rc) rc = hm_graph_new(&r.g, &(hm_graph_opts){.act = HM_BF16, .plan = true, .n_threads = job->threads}, err);
    if (rc) return rc;
    rc = hm_wan_given_make(r.m, job, r.g, &r.given, err);
    const uint64_t before = hm_flops(r.g);
    take_given(&r);
    hm_wan_input in = r.s.in;
    in.n_levels = r.given.still || (r.given.stays && r.s.told) ? 2 : 1;
    in.n_text = r.n_text[1];
    if (!rc) hm_wan_forward(r.g, &r.m->dit, &in, NULL);
    const uint64_t forward = hm_flops(r.g) - before;
    if (!rc) rc = hm_wan_vae_plan(r.m->vae, r.g, (int[3]){in.T - r.lead, in.H, in.W}, false, &kept, err);
    cost->sample_gflop = 1e-9 * ((double)before + (double)forward * n_passes);
    cost->decode_gflop = 1e-9 * (double)(hm_flops(r.g) - before - forward);
    /* beside the graph: the latents, velocities and solver's estimates, or one frame and what convolutions keep */
    const uint64_t frame = (uint64_t)job->width * (uint64_t)job->height * 3 * sizeof(float);
    const uint64_t beside = (uint64_t)latent_numbers(&r) * ((job->step_cache > 0 ? 9 : 6) + (r.given.stays ? 1 : 0)) * (job->kept ? 2 : 1) * sizeof(float) + r.given.bytes;
    const hm_tae_input shown = preview_of(&r, NULL);
    const uint64_t preview = r.m->tae_st ? hm_tae_bytes(&r.m->tae, job->threads, &shown) : 0;
    cost->peak_bytes = HM_MAX(cost->peak_bytes, hm_peak(r.g)) + HM_MAX(beside + preview, kept + frame);
    hm_graph_free(r.g);
    return rc;
}

const hm_model_ops hm_wan_ops = {.family = "wan",
                                 .claims = hm_wan_claims,
                                 .open = hm_wan_open,
                                 .close = hm_wan_close,
                                 .facts = wan_facts,
                                 .pack = wan_pack,
                                 .plan = wan_plan,
                                 .run = wan_run};
