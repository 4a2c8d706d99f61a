/* released.c - films and pictures with a released model (models/model.h).   SPDX-License-Identifier: MIT
 *   request, pictures -> the next size and length that the model can -> model -> frame by frame: scale and cut, mark -> file
 * The encoder is open before the work, so a place that cannot be written is known at once; frames never
 * lie in memory together. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "film/plan.h"
#include "film/released.h"
#include "film/strip.h"
#include "film/sign.h"
#include "media/encode.h"
#include "media/image.h"
#include "provenance/visible_mark.h"

enum { MAX_TAGS = 12, PREVIEW_WIDTH = 256, ENCODER_FRAMES = 28 };
enum { P_TEXT, P_SAMPLE, P_DECODE, P_REFINE, P_SCALE, P_ENCODE };

typedef struct {
    himmel_ctx *ctx;
    const himmel_request *req;
    const hm_material *given;
    hm_model_job job;
    int n_frames; /* of the file */
    himmel_result result;
    hm_encoder *encoder;
    hm_vmark *mark;
    hm_watermark *watermark;
    hm_scaler *scaler, *preview_scaler;
    uint8_t *picture, *preview;
    int preview_w, preview_h;
    double start, phase_start, last_preview;
    char phase[16];
    hm_signer signer;
    hm_tag tags[MAX_TAGS];
    size_t n_tags;
    char tag_text[3][256];
    hm_keep keep;
    hm_released_kept kept;
    bool done; /* all frames of the file are there */
} job;

hm_model_job hm_released_job(const himmel_ctx *ctx, const himmel_request *r, int *n_frames)
{
    const hm_model_facts *f = &ctx->facts;
    const bool film = r->kind == HIMMEL_FILM;
    const double fps = film ? (double)r->fps_num / r->fps_den : f->fps;
    *n_frames = film ? HM_MAX(1, (int)lround(r->seconds * fps)) : 1;
    return (hm_model_job){
        .prompt = r->prompt,
        .negative = r->negative,
        .width = (r->width + f->side_step - 1) / f->side_step * f->side_step,
        .height = (r->height + f->side_step - 1) / f->side_step * f->side_step,
        .n_frames = (*n_frames - 2 + f->frame_step) / f->frame_step * f->frame_step + 1,
        .fps = fps,
        .seed = r->seed,
        .steps = r->steps,
        .guidance = r->guidance == f->guidance ? -1 : r->guidance, /* unchanged: the makers' own way */
        .step_cache = r->step_cache,
        .text_cache = *ctx->cache ? ctx->cache : NULL,
        .threads = ctx->threads};
}

/* ---- progress ---- */

static int on_step(void *user, const char *phase, int step, int n_steps)
{
    job *j = user;
    const double now = hm_now();
    if (strcmp(j->phase, phase)) {
        snprintf(j->phase, sizeof j->phase, "%s", phase);
        j->phase_start = now;
    }
    if (!j->req->on_progress) return 0;
    const double eta = step > 1 ? (now - j->phase_start) / (step - 1) * (n_steps - step) : -1;
    const himmel_progress p = {.phase = phase,
                               .step = step,
                               .n_steps = n_steps,
                               .eta_seconds = eta,
                               .note = "",
                               .fraction =
                                   eta < 0 ? 0 : (now - j->start) / HM_MAX(now - j->start + eta, 1e-9)};
    return j->req->on_progress(j->req->user, &p);
}

static int preview(job *j, const float *rgb, double seconds)
{
    if (!j->preview_scaler || (hm_now() - j->last_preview < 0.25)) return 0;
    const hm_frame small = {HM_FRAME_RGB8, j->preview_w, j->preview_h, {j->preview}, {3 * j->preview_w}};
    hm_scale(j->preview_scaler, rgb, HM_PIX_F32, &small);
    j->last_preview = hm_now();
    const himmel_picture pic = {j->preview, j->preview_w, j->preview_h, seconds, 0};
    return j->req->on_preview(j->req->user, &pic);
}

/* What the model foresees of the middle of the film. */
static int on_preview(void *user, const uint8_t *rgb, int w, int h)
{
    job *j = user;
    if (!hm_resize_picture(rgb, w, h, j->preview, j->preview_w, j->preview_h)) return 0;
    const himmel_picture pic = {j->preview, j->preview_w, j->preview_h, 0.5 * j->n_frames / j->job.fps, 1};
    return j->req->on_preview(j->req->user, &pic);
}

static himmel_status on_frame(void *user, int i, const float *rgb, himmel_error *err)
{
    job *j = user;
    const himmel_request *r = j->req;
    const bool film = r->kind == HIMMEL_FILM;
    if (i >= j->n_frames) return HIMMEL_OK; /* the model's last ones are more than was asked for */
    const hm_frame picture = {HM_FRAME_RGB8, r->width, r->height, {j->picture}, {3 * r->width}};
    const hm_frame *to = film ? hm_encoder_frame(j->encoder, err) : &picture;
    if (!to) return HIMMEL_ENOMEM;
    const double seconds = (double)i / j->job.fps, t0 = hm_now();
    hm_scale(j->scaler, rgb, HM_PIX_F32, to);
    hm_watermark_embed(j->watermark, to, NULL);
    if (j->mark) hm_vmark_draw(j->mark, to, seconds);
    const double t1 = hm_now();
    himmel_status rc = HIMMEL_OK;
    const hm_image_opts o = {j->tags, j->n_tags, r->quality, hm_signer_seal, &j->signer};
    rc = film ? hm_encoder_push(j->encoder, err) : hm_image_write_as(r->output, to, &o, &j->result.file_bytes, err);
    j->result.phase[P_SCALE].seconds += t1 - t0;
    j->result.phase[P_ENCODE].seconds += hm_now() - t1;
    if (!rc && preview(j, rgb, seconds) && film)
        rc = hm_fail(err, HIMMEL_ECANCELLED, "stopped after frame %d of %d", i + 1, j->n_frames);
    j->done = !rc && i + 1 == j->n_frames;
    return rc;
}

/* ---- set-up ---- */

static void add_tag(job *j, const char *key, const char *value)
{
    if (value && *value) j->tags[j->n_tags++] = (hm_tag){key, value};
}

static void make_tags(job *j)
{
    const himmel_request *r = j->req;
    snprintf(j->tag_text[0], sizeof j->tag_text[0], "%llu", (unsigned long long)r->seed);
    snprintf(j->tag_text[1], sizeof j->tag_text[1], "himmel %s (%.60s, %d threads, %.80s)", HIMMEL_VERSION,
             j->ctx->isa, j->ctx->threads, hm_media_version());
    const int n = snprintf(j->tag_text[2], sizeof j->tag_text[2], "steps %d, guidance %g", r->steps, r->guidance);
    if (r->step_cache > 0) snprintf(j->tag_text[2] + n, sizeof j->tag_text[2] - (size_t)n, ", step cache %g", r->step_cache);
    const bool words_only = !j->given->n_sources;
    add_tag(j, "comment", words_only ? "made by a machine: himmel, from a text prompt"
                                     : "made by a machine: himmel, from other films or pictures");
    add_tag(j, "inputs", j->given->inputs);
    add_tag(j, "prompt", r->prompt);
    add_tag(j, "negative", r->negative);
    add_tag(j, "seed", j->tag_text[0]);
    add_tag(j, "sampler", j->tag_text[2]);
    add_tag(j, "model", j->ctx->facts.name);
    add_tag(j, "model_sha256", hm_ctx_sha256(j->ctx));
    add_tag(j, "loras", j->ctx->loras);
    add_tag(j, "precision", j->ctx->int8 ? "int8" : "");
    add_tag(j, "software", j->tag_text[1]);
}

static himmel_status prepare(job *j, himmel_error *err)
{
    const himmel_request *r = j->req;
    const bool film = r->kind == HIMMEL_FILM;
    himmel_status rc = hm_signer_open(&j->signer, j->ctx, r, err);
    if (rc) return rc;
    j->signer.sources = j->given->sources, j->signer.n_sources = j->given->n_sources;
    j->signer.reader = j->given->reader, j->signer.settings = j->given->settings;
    make_tags(j);
    const hm_encoder_opts eo = {.width = r->width, .height = r->height, .fps_num = r->fps_num, .fps_den = r->fps_den, .crf = r->crf,
                                .tags = j->tags, .n_tags = j->n_tags, .seal = hm_signer_seal, .seal_user = &j->signer};
    rc = film ? hm_encoder_open(&j->encoder, r->output, &eo, err) : hm_probe_output(r->output, err);
    const double W = j->job.width, H = j->job.height, w = r->width, h = r->height;
    hm_scale_opts so = {(int)W,         (int)H,    (W - w) / 2,
                        (H - h) / 2,    w,         h,
                        r->width,       r->height, film ? HM_FRAME_YUV420 : HM_FRAME_RGB8,
                        j->ctx->threads};
    if (!rc) rc = hm_scaler_new(&j->scaler, &so, err);
    if (!rc) rc = hm_signer_mark(&j->signer, r->width, r->height, &j->watermark, err);
    if (!rc && r->visible_mark) rc = hm_vmark_new(&j->mark, r->width, r->height, err);
    j->preview_w = HM_MIN((int)PREVIEW_WIDTH, r->width);
    j->preview_h = HM_MAX(1, j->preview_w * r->height / r->width);
    so.out_w = j->preview_w, so.out_h = j->preview_h, so.kind = HM_FRAME_RGB8;
    if (!rc && r->on_preview) rc = hm_scaler_new(&j->preview_scaler, &so, err);
    j->preview = malloc(3 * (size_t)j->preview_w * (size_t)j->preview_h);
    j->picture = film ? NULL : malloc(3 * (size_t)r->width * (size_t)r->height);
    if (!rc && (!j->preview || (!film && !j->picture)))
        rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for a film of %dx%d", r->width, r->height);
    return rc;
}

static himmel_status run(job *j, himmel_error *err)
{
    hm_model_cost c;
    himmel_status rc = hm_model_run(j->ctx->released, &j->job, &c, err);
    himmel_phase *p = j->result.phase;
    const double outside = p[P_SCALE].seconds + p[P_ENCODE].seconds;
    p[P_TEXT].seconds = c.text_seconds, p[P_TEXT].gflop = c.text_gflop;
    p[P_SAMPLE].seconds = c.sample_seconds, p[P_SAMPLE].gflop = c.sample_gflop;
    p[P_DECODE].seconds = HM_MAX(c.decode_seconds - outside, 0.0), p[P_DECODE].gflop = c.decode_gflop;
    j->result.arena_bytes = c.peak_bytes;
    j->result.passes = c.passes, j->result.passes_skipped = c.passes_skipped;
    const double t0 = hm_now();
    if (!rc && !j->done)
        rc = hm_fail(err, HIMMEL_EINTERNAL, "%s gave fewer frames than it was asked for", j->ctx->facts.name);
    if (!rc && j->encoder) rc = hm_encoder_finish(j->encoder, &j->result.file_bytes, err);
    p[P_ENCODE].seconds += hm_now() - t0;
    return rc;
}

static himmel_status plan_job(himmel_ctx *ctx, const himmel_request *req, const hm_model_job *mj,
                              himmel_plan_info *plan, hm_model_cost *c, himmel_error *err)
{
    const himmel_status rc = hm_model_plan(ctx->released, mj, c, err);
    if (rc) return rc;
    const uint64_t pixels = (uint64_t)req->width * (uint64_t)req->height;
    const uint64_t outside = ENCODER_FRAMES * pixels * 3 / 2 + HM_PROGRAM_BYTES;
    *plan = (himmel_plan_info){.blocks_x = mj->width / ctx->facts.side_step,
                               .blocks_y = mj->height / ctx->facts.side_step,
                               .blocks_t = (mj->n_frames - 1) / ctx->facts.frame_step + 1,
                               .base_width = mj->width,
                               .base_height = mj->height,
                               .gflop_sample = c->text_gflop + c->sample_gflop,
                               .gflop_film = c->decode_gflop,
                               .peak_bytes = c->peak_bytes + ctx->facts.file_bytes - ctx->facts.int8_from + ctx->facts.int8_bytes + outside,
                               .stays_bytes = c->peak_bytes + ctx->facts.merged_bytes + ctx->facts.int8_bytes + outside,
                               .available_bytes = hm_memory_available(ctx->max_memory)};
    return HIMMEL_OK;
}

/* Mapped weights can be dropped and read again; what the networks work in, and merged and int8 weights, cannot. */
static himmel_status fits(const himmel_ctx *ctx, const himmel_plan_info *p, himmel_error *err)
{
    const char *what = ctx->facts.merged_bytes && ctx->int8 ? " beside the weights, those in int8 and those that LoRAs changed included"
                       : ctx->facts.merged_bytes            ? " beside the weights, those that LoRAs changed included"
                       : ctx->int8                          ? " beside the weights, those in int8 included"
                                                            : " beside the weights";
    return hm_memory_fits(p->stays_bytes, what, p->available_bytes, err);
}

himmel_status hm_released_fits(himmel_ctx *ctx, const himmel_request *req, const hm_model_job *mj, himmel_plan_info *plan, himmel_error *err)
{
    hm_model_cost c;
    const himmel_status rc = plan_job(ctx, req, mj, plan, &c, err);
    return rc ? rc : fits(ctx, plan, err);
}

/* More than the model can at once: it is made in windows (edit_strips.c), as a storyboard of one prompt. */
static bool in_windows(const himmel_ctx *ctx, const himmel_request *req)
{
    int n;
    return hm_released_job(ctx, req, &n).n_frames > ctx->facts.max_frames;
}

static himmel_status plan_windows(himmel_ctx *ctx, const himmel_request *req, const hm_model_job *mj, int n_frames, himmel_plan_info *plan, himmel_error *err)
{
    const hm_strip s = {.ctx = ctx, .w = mj->width, .h = mj->height, .n = n_frames, .fps = mj->fps, .to = n_frames, .level = 1};
    const hm_words words = {0, req->prompt};
    const himmel_status rc = hm_strip_can(&s, err);
    return rc ? rc : hm_strip_plan(&s, &(hm_strip_opts){.words = &words, .n_words = 1, .req = req}, plan, err);
}

himmel_status hm_released_plan(himmel_ctx *ctx, const himmel_request *req, himmel_plan_info *plan,
                               himmel_error *err)
{
    hm_model_cost c;
    himmel_status rc = himmel_check(req, err);
    *plan = (himmel_plan_info){0};
    if (rc) return rc;
    int n_frames;
    const hm_model_job mj = hm_released_job(ctx, req, &n_frames);
    const bool windows = in_windows(ctx, req);
    rc = windows ? plan_windows(ctx, req, &mj, n_frames, plan, err) : plan_job(ctx, req, &mj, plan, &c, err);
    if (rc && rc != HIMMEL_ENOMEM) return rc;
    plan->n_frames = n_frames;
    const double sample = plan->gflop_sample / (ctx->int8 ? 1.4 : 1); /* attention stays in bf16: docs/wan.md */
    plan->seconds = (sample + plan->gflop_film) / HM_MAX(0.7 * himmel_peak_gflops(ctx), 1e-3);
    return windows || rc ? rc : fits(ctx, plan, err);
}

static void cleanup(job *j)
{
    hm_encoder_free(j->encoder); /* deletes what is unfinished */
    hm_vmark_free(j->mark);
    hm_watermark_free(j->watermark);
    hm_scaler_free(j->scaler);
    hm_scaler_free(j->preview_scaler);
    free(j->picture);
    free(j->preview);
}

himmel_status hm_released_make(himmel_ctx *ctx, const himmel_request *req, const hm_material *given,
                               himmel_result *result, himmel_error *err)
{
    static const char *const names[HIMMEL_N_PHASES] = {"text",   "sample", "decode",
                                                       "refine", "scale",  "encode"};
    job j = {.ctx = ctx, .req = req, .given = given, .start = hm_now()};
    himmel_plan_info plan;
    j.job = hm_released_job(ctx, req, &j.n_frames);
    if (given->whole) j.n_frames = j.job.n_frames;
    j.job.items = given->items, j.job.n_items = given->n_items, j.job.reference = given->reference;
    j.job.on_step = on_step, j.job.on_frame = on_frame, j.job.user = &j;
    if (req->on_preview) j.job.on_preview = on_preview;
    if (req->keep) {
        j.keep = (hm_keep){.path = req->keep, .each = true};
        hm_released_keep(&j.kept, ctx, &j.job, &j.keep);
        j.job.kept = &j.kept.kept;
    }
    himmel_status rc = hm_released_fits(ctx, req, &j.job, &plan, err);
    if (rc) return rc;
    hm_set_threads(ctx->threads);
    for (int i = 0; i < HIMMEL_N_PHASES; i++) j.result.phase[i].name = names[i];
    j.result.width = req->width, j.result.height = req->height, j.result.n_frames = j.n_frames;
    rc = prepare(&j, err);
    if (!rc) rc = run(&j, err);
    if (!rc && req->keep) hm_keep_remove(&j.keep);
    cleanup(&j);
    j.result.seconds = hm_now() - j.start;
    if (result) *result = j.result;
    return rc;
}

himmel_status hm_released_generate(himmel_ctx *ctx, const himmel_request *req, himmel_result *result,
                                   himmel_error *err)
{
    const himmel_status rc = himmel_check(req, err);
    const himmel_edit windows = himmel_edit_default();
    if (!rc && in_windows(ctx, req)) return himmel_edit_run(ctx, req, &windows, result, err);
    return rc ? rc : hm_released_make(ctx, req, &(hm_material){0}, result, err);
}
