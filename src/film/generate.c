/* generate.c - one request from words to a finished file.   SPDX-License-Identifier: MIT
 *   check, layout, plan -> output opened -> sample -> stream -> scale + mark -> encoder or picture -> renamed
 * The output is opened first: a folder that cannot be written is known before minutes of computing. The
 * encoder works on its own threads while the next frame is computed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "film/film.h"
#include "film/plan.h"
#include "film/sign.h"
#include "film/synth.h"
#include "media/image.h"
#include "provenance/visible_mark.h"

enum { MAX_TAGS = 12, PREVIEW_WIDTH = 256 };
enum { P_TEXT, P_SAMPLE, P_DECODE, P_REFINE, P_SCALE, P_ENCODE };
static const char *const phase_names[HIMMEL_N_PHASES] = {"text",   "sample", "decode",
                                                         "refine", "scale",  "encode"};

typedef struct {
    himmel_ctx *ctx;
    const himmel_request *req;
    hm_layout l;
    himmel_plan_info plan;
    himmel_result result;
    float *z;
    hm_encoder *encoder;
    hm_vmark *mark;
    hm_synth *synth; /* NULL: a silent film */
    hm_watermark *watermark;
    hm_scaler *scaler, *preview_scaler;
    uint8_t *picture, *preview;
    int preview_w, preview_h;
    double start, phase_start, last_preview;
    hm_signer signer;
    hm_keep keep;
    hm_tag tags[MAX_TAGS];
    size_t n_tags;
    char tag_text[4][640];
} job;

/* ---- progress and preview ---- */

static int tell(job *j, const char *phase, int step, int n_steps)
{
    if (!j->req->on_progress) return 0;
    const double now = hm_now(), spent = now - j->start, here = now - j->phase_start;
    double eta = -1;
    if (step > 0) {
        eta = here / step * (n_steps - step);
        if (!strcmp(phase, "sample"))
            eta += hm_plan_film_seconds(&j->plan, j->req,
                                        j->plan.gflop_sample * step / n_steps / HM_MAX(here, 1e-3));
    }
    const himmel_progress p = {.phase = phase,
                               .step = step,
                               .n_steps = n_steps,
                               .fraction = eta < 0 ? 0 : spent / HM_MAX(spent + eta, 1e-9),
                               .eta_seconds = eta,
                               .note = ""};
    return j->req->on_progress(j->req->user, &p);
}

static int show(job *j, double seconds, int rough)
{
    const himmel_picture pic = {j->preview, j->preview_w, j->preview_h, seconds, rough};
    j->last_preview = hm_now();
    return j->req->on_preview(j->req->user, &pic);
}

static int on_step(void *user, int step, const float *clean)
{
    job *j = user;
    if (tell(j, "sample", step, j->req->steps)) return 1;
    const hm_layout *l = &j->l;
    if (!j->req->on_preview || !hm_rough_picture(j->ctx, l, clean, l->T, j->preview_w, j->preview_h, j->preview)) return 0;
    return show(j, 0.5 * (l->T - 1), 1);
}

/* ---- set-up ---- */

static void add_tag(job *j, const char *key, const char *value)
{
    if (value && *value) j->tags[j->n_tags++] = (hm_tag){key, value};
}

static void make_tags(job *j)
{
    const himmel_request *r = j->req;
    const hm_himmel1 *m = j->ctx->model;
    snprintf(j->tag_text[0], sizeof j->tag_text[0], "%llu", (unsigned long long)r->seed);
    snprintf(j->tag_text[1], sizeof j->tag_text[1], "%s %s", m->name, m->version);
    snprintf(j->tag_text[2], sizeof j->tag_text[2], "himmel %s (%s, %d threads, %s)", HIMMEL_VERSION,
             j->ctx->isa, j->ctx->threads, hm_media_version());
    snprintf(j->tag_text[3], sizeof j->tag_text[3], "steps %d, guidance %g", r->steps, r->guidance);
    add_tag(j, "comment", "made by a machine: himmel, from a text prompt");
    add_tag(j, "prompt", r->prompt);
    add_tag(j, "negative", r->negative);
    add_tag(j, "seed", j->tag_text[0]);
    add_tag(j, "sampler", j->tag_text[3]);
    add_tag(j, "model", j->tag_text[1]);
    add_tag(j, "model_sha256", m->sha256);
    add_tag(j, "software", j->tag_text[2]);
}

static himmel_status read_sound(void *user, int64_t from, int n, float *lr, himmel_error *err)
{
    (void)from, (void)err;
    hm_synth_read(user, n, lr);
    return HIMMEL_OK;
}

static himmel_status prepare(job *j, himmel_error *err)
{
    const himmel_request *r = j->req;
    const hm_layout *l = &j->l;
    const bool film = r->kind == HIMMEL_FILM;
    himmel_status rc = hm_signer_open(&j->signer, j->ctx, r, err);
    if (rc) return rc;
    make_tags(j);
    if ((rc = hm_signer_mark(&j->signer, r->width, r->height, &j->watermark, err))) return rc;
    if (film) {
        const hm_words words = {0, r->prompt};
        if (r->sound && (rc = hm_synth_new(&j->synth, &words, 1, r->seed, err))) return rc;
        const hm_encoder_opts eo = {r->width,  r->height, r->fps_num,     r->fps_den, r->crf, j->tags,
                                    j->n_tags, hm_signer_seal, &j->signer, j->synth ? read_sound : NULL, j->synth};
        rc = hm_encoder_open(&j->encoder, r->output, &eo, err);
    } else {
        rc = hm_probe_output(r->output, err);
    }
    const hm_scale_opts so = {l->full_w, l->full_h, l->x, l->y, l->w, l->h, r->width, r->height,
                              film ? HM_FRAME_YUV420 : HM_FRAME_RGB8, j->ctx->threads};
    if (!rc) rc = hm_scaler_new(&j->scaler, &so, err);
    if (!rc && r->visible_mark) rc = hm_vmark_new(&j->mark, r->width, r->height, err);
    j->preview_w = HM_MIN(PREVIEW_WIDTH, r->width);
    j->preview_h = HM_MAX(1, j->preview_w * r->height / r->width);
    hm_scale_opts po = so;
    po.out_w = j->preview_w, po.out_h = j->preview_h, po.kind = HM_FRAME_RGB8;
    if (!rc && r->on_preview) rc = hm_scaler_new(&j->preview_scaler, &po, err);
    const size_t n = (size_t)l->T * (size_t)(l->gh * l->gw) * (size_t)hm_codec_channels(j->ctx->model->codec);
    j->z = malloc(n * sizeof *j->z);
    j->preview = malloc(3 * (size_t)j->preview_w * (size_t)j->preview_h);
    j->picture = film ? NULL : malloc(3 * (size_t)r->width * (size_t)r->height);
    if (!rc && (!j->z || !j->preview || (!film && !j->picture)))
        rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for a film of %dx%d", r->width, r->height);
    return rc;
}

static void cleanup(job *j)
{
    hm_encoder_free(j->encoder); /* deletes what is unfinished */
    hm_vmark_free(j->mark);
    hm_synth_free(j->synth);
    hm_watermark_free(j->watermark);
    hm_scaler_free(j->scaler);
    hm_scaler_free(j->preview_scaler);
    free(j->z);
    free(j->picture);
    free(j->preview);
}

/* ---- the work ---- */

static himmel_status sample(job *j, himmel_error *err)
{
    const himmel_request *r = j->req;
    const hm_sample_opts o = {.prompt = r->prompt,
                              .negative = r->negative,
                              .keep = r->keep ? &j->keep : NULL,
                              .seed = r->seed,
                              .steps = r->steps,
                              .guidance = r->guidance,
                              .gw = j->l.gw,
                              .gh = j->l.gh,
                              .T = j->l.T,
                              .on_step = on_step,
                              .user = j};
    hm_sample_cost c;
    if (tell(j, "text", 0, 1)) return hm_fail(err, HIMMEL_ECANCELLED, "stopped before the first step");
    j->phase_start = hm_now();
    const himmel_status rc = hm_sample(j->ctx->model, &o, j->ctx->threads, j->z, &c, err);
    himmel_phase *p = j->result.phase;
    p[P_TEXT].seconds = c.text_seconds, p[P_TEXT].gflop = c.text_gflop;
    p[P_SAMPLE].seconds = c.sample_seconds, p[P_SAMPLE].gflop = c.sample_gflop;
    j->result.arena_bytes = c.peak_bytes;
    return rc;
}

/* Frame i of the film into the encoder or the picture. */
static himmel_status frame(job *j, hm_stream *s, int i, himmel_error *err)
{
    const himmel_request *r = j->req;
    const bool film = r->kind == HIMMEL_FILM;
    const hm_frame picture = {HM_FRAME_RGB8, r->width, r->height, {j->picture}, {3 * r->width}};
    const hm_frame *to = film ? hm_encoder_frame(j->encoder, err) : &picture;
    if (!to) return HIMMEL_ENOMEM;
    const double seconds = film ? (double)i * r->fps_den / r->fps_num : 0;
    hm_pix t;
    const void *full = hm_stream_frame(s, i * j->l.base_step, &t);
    const double t0 = hm_now();
    hm_scale(j->scaler, full, t, to);
    hm_watermark_embed(j->watermark, to, NULL);
    if (j->mark) hm_vmark_draw(j->mark, to, seconds);
    const double t1 = hm_now();
    himmel_status rc = HIMMEL_OK;
    const hm_image_opts o = {j->tags, j->n_tags, r->quality, hm_signer_seal, &j->signer};
    rc = film ? hm_encoder_push(j->encoder, err) : hm_image_write_as(r->output, to, &o, &j->result.file_bytes, err);
    j->result.phase[P_SCALE].seconds += t1 - t0;
    j->result.phase[P_ENCODE].seconds += hm_now() - t1;
    if (rc) return rc;
    int stop = tell(j, "film", i + 1, j->l.n_frames);
    if (!stop && r->on_preview && (hm_now() - j->last_preview > 0.25 || i + 1 == j->l.n_frames)) {
        const hm_frame small = {HM_FRAME_RGB8, j->preview_w, j->preview_h, {j->preview}, {3 * j->preview_w}};
        hm_scale(j->preview_scaler, full, t, &small);
        stop = show(j, seconds, 0);
    }
    if (stop && film)
        return hm_fail(err, HIMMEL_ECANCELLED, "stopped after frame %d of %d", i + 1, j->l.n_frames);
    return HIMMEL_OK;
}

static himmel_status film(job *j, himmel_error *err)
{
    hm_stream *s;
    const hm_layout *l = &j->l;
    himmel_status rc = hm_stream_new(&s, j->ctx->model, j->z, l->gw, l->gh, l->T, j->ctx->threads, err);
    if (rc) return rc;
    j->phase_start = hm_now();
    for (int i = 0; i < l->n_frames && !rc; i++) rc = frame(j, s, i, err);
    const hm_stream_cost *c = hm_stream_costs(s);
    himmel_phase *p = j->result.phase;
    p[P_DECODE].seconds = c->decode_seconds;
    p[P_REFINE].seconds = c->refine_seconds, p[P_REFINE].gflop = c->refine_gflop;
    j->result.arena_bytes = HM_MAX(j->result.arena_bytes, c->peak_bytes);
    hm_stream_free(s);
    const double t0 = hm_now();
    if (!rc && j->encoder) rc = hm_encoder_finish(j->encoder, &j->result.file_bytes, err);
    p[P_ENCODE].seconds += hm_now() - t0;
    return rc;
}

himmel_status himmel_generate(himmel_ctx *ctx, const himmel_request *req, himmel_result *result,
                              himmel_error *err)
{
    job j = {.ctx = ctx, .req = req, .start = hm_now(), .keep = {.path = req->keep}};
    if (ctx->released) return hm_released_generate(ctx, req, result, err);
    himmel_status rc = himmel_check(req, err);
    if (!rc && req->step_cache > 0) rc = hm_fail(err, HIMMEL_EINVAL, "step cache is %g: himmel-1 has none, it is for released models", req->step_cache);
    if (!rc) rc = hm_plan_shapes(ctx, req, &j.plan, err);
    if (rc) return rc;
    if (req->kind == HIMMEL_FILM && req->seconds > HM_H1_MAX_SECONDS) { /* longer than the model's window */
        const himmel_edit edit = himmel_edit_default();
        return himmel_edit_run(ctx, req, &edit, result, err);
    }
    hm_layout_for(&j.l, req);
    hm_set_threads(ctx->threads);
    for (int i = 0; i < HIMMEL_N_PHASES; i++) j.result.phase[i].name = phase_names[i];
    j.result.width = req->width, j.result.height = req->height, j.result.n_frames = j.l.n_frames;
    j.phase_start = j.start;
    rc = prepare(&j, err);
    if (!rc) rc = sample(&j, err);
    if (!rc) rc = film(&j, err);
    if (!rc) hm_keep_remove(&j.keep);
    cleanup(&j);
    j.result.seconds = hm_now() - j.start;
    if (result) *result = j.result;
    return rc;
}
