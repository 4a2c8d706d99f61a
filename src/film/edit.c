/* edit.c - himmel_edit_run: plan, sample the canvases, write the spans.   SPDX-License-Identifier: MIT
 *   canvas -sampler, codec, refiner, Lanczos-> picture -seam corrections, paste over the clip-> mark -> file
 * All pictures are 8-bit RGB of the result's size before the mark: what is passed through or outside a mask is the
 * decoded input to the bit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "film/edit.h"
#include "film/released.h"
#include "film/sign.h"
#include "film/track.h"
#include "film/upscale.h"
#include "media/image.h"
#include "provenance/visible_mark.h"

enum { P_TEXT, P_SAMPLE, P_DECODE, P_REFINE, P_SCALE, P_ENCODE, PREVIEW_WIDTH = 256, MAX_TAGS = 12, ONSET = 12 };

typedef struct {
    hm_edit d;
    himmel_result result;
    hm_encoder *encoder;
    hm_vmark *mark;
    hm_watermark *watermark; /* NULL: no pixel is new */
    hm_scaler *scaler, *to_yuv;
    hm_stream *stream;
    int streaming;      /* take of stream, -1 = none */
    hm_upscaler *upscaler;
    hm_seams *seams;    /* NULL: no picture is known */
    hm_track *track;    /* NULL: a silent film */
    hm_signer signer;
    hm_keep keep;
    hm_source source[HIMMEL_MAX_CARDS + 1];
    char *settings;     /* what the request does not say, as text */
    char names[512], text[3][160];
    hm_tag tag[MAX_TAGS];
    size_t n_tags;
    hm_scaler *to_preview;
    uint8_t *preview;
    int preview_w, preview_h;
    double last_preview;
    uint8_t *rgb;       /* [h][w][3] the frame in work */
    float *lead;        /* room of paste_clip */
    uint8_t *onset;     /* [h][w] share of the watermark in frames beside a seam */
    double start, phase_start;
    int steps_done, steps_all, frames_all;
} job;

static int tell(job *j, const char *phase, int step, int n)
{
    const himmel_request *r = &j->d.req;
    if (!r->on_progress) return 0;
    const double here = hm_now() - j->phase_start, spent = hm_now() - j->start;
    const double eta = step > 0 ? here / step * (n - step) : -1;
    const himmel_progress p = {.phase = phase, .step = step, .n_steps = n, .eta_seconds = eta, .note = "",
                               .fraction = eta < 0 ? 0 : spent / HM_MAX(spent + eta, 1e-9)};
    return r->on_progress(r->user, &p);
}

static int show(job *j, double seconds, int rough)
{
    const himmel_picture pic = {j->preview, j->preview_w, j->preview_h, seconds, rough};
    j->last_preview = hm_now();
    return j->d.req.on_preview(j->d.req.user, &pic);
}

static int on_step(void *user, int step, int n, const float *clean, int T)
{
    (void)n;
    job *j = user;
    if (tell(j, "sample", j->steps_done + step, j->steps_all)) return 1;
    if (!j->d.req.on_preview || !hm_rough_picture(j->d.ctx, &j->d.l, clean, T, j->preview_w, j->preview_h, j->preview)) return 0;
    return show(j, 0.5 * (T - 1), 1);
}

static int on_strip_step(void *user, int step, int n) { return tell(user, "sample", step, n); }

/* What a released model foresees of the middle of a window. */
static int on_strip_preview(void *user, const uint8_t *rgb, int w, int h)
{
    job *j = user;
    if (!hm_resize_picture(rgb, w, h, j->preview, j->preview_w, j->preview_h)) return 0;
    return show(j, 0, 1);
}

static himmel_status sample_strips(job *j, himmel_error *err)
{
    hm_model_cost c;
    const hm_edit_sampling o = {.keep = j->d.req.keep ? &j->keep : NULL, .on_step = on_strip_step,
                                .on_preview = j->d.req.on_preview ? on_strip_preview : NULL, .user = j};
    j->keep.each = true;
    j->phase_start = hm_now();
    const himmel_status rc = hm_edit_sample_strips(&j->d, &o, &c, err);
    himmel_phase *p = j->result.phase;
    p[P_TEXT].seconds = c.text_seconds, p[P_TEXT].gflop = c.text_gflop;
    p[P_SAMPLE].seconds = c.sample_seconds, p[P_SAMPLE].gflop = c.sample_gflop;
    p[P_DECODE].seconds = c.decode_seconds, p[P_DECODE].gflop = c.decode_gflop;
    j->result.arena_bytes = c.peak_bytes;
    j->result.passes = c.passes, j->result.passes_skipped = c.passes_skipped;
    return rc;
}

static himmel_status sample(job *j, himmel_error *err)
{
    hm_edit *d = &j->d;
    if (d->ctx->released) return sample_strips(j, err);
    const himmel_request *r = &d->req;
    const bool words = r->prompt && *r->prompt;
    hm_canvas_opts o = {.words = d->words, .n_words = d->n_words, .negative = r->negative, .steps = r->steps,
                        .guidance = words || d->n_words > 1 ? r->guidance : 1, /* nothing said, nothing to insist on */
                        .threads = d->ctx->threads, .keep = r->keep ? &j->keep : NULL, .on_step = on_step, .user = j};
    for (int i = 0; i < d->n_takes; i++) j->steps_all += r->steps * hm_canvas_windows(&d->take[i], &o);
    j->phase_start = hm_now();
    himmel_status rc = HIMMEL_OK;
    for (int i = 0; i < d->n_takes && !rc; i++) {
        hm_sample_cost c = {0};
        o.seed = i ? hm_mix(r->seed, 1000 + (uint64_t)i) : r->seed; /* the first as a film from words has it */
        rc = hm_canvas_sample(&d->take[i], &o, &c, err);
        j->steps_done += r->steps * hm_canvas_windows(&d->take[i], &o);
        himmel_phase *p = j->result.phase;
        p[P_TEXT].seconds += c.text_seconds, p[P_TEXT].gflop += c.text_gflop;
        p[P_SAMPLE].seconds += c.sample_seconds, p[P_SAMPLE].gflop += c.sample_gflop;
        j->result.arena_bytes = HM_MAX(j->result.arena_bytes, c.peak_bytes);
    }
    return rc;
}

/* ---- frames ---- */

static void stream_close(job *j)
{
    if (!j->stream) return;
    const hm_stream_cost *c = hm_stream_costs(j->stream);
    himmel_phase *p = j->result.phase;
    p[P_DECODE].seconds += c->decode_seconds;
    p[P_REFINE].seconds += c->refine_seconds, p[P_REFINE].gflop += c->refine_gflop;
    j->result.arena_bytes = HM_MAX(j->result.arena_bytes, c->peak_bytes);
    hm_stream_free(j->stream);
    j->stream = NULL;
}

static double take_end(const job *j, int take)
{
    const hm_strip *s = &j->d.strip[take];
    return j->d.ctx->released ? (s->n - 1) / s->fps : j->d.take[take].T - 1;
}

static himmel_status strip_picture(job *j, int take, double seconds, himmel_error *err)
{
    const hm_strip *s = &j->d.strip[take];
    const hm_frame f = {HM_FRAME_RGB8, j->d.req.width, j->d.req.height, {j->rgb}, {3 * j->d.req.width}};
    const himmel_status rc = hm_strip_get(s, (int)lround(seconds * s->fps), j->d.base, err);
    if (!rc) hm_scale(j->scaler, j->d.base, HM_PIX_U8, &f);
    return rc;
}

/* The take's own picture at a time into j->rgb. */
static himmel_status generated(job *j, int take, double seconds, himmel_error *err)
{
    if (j->d.ctx->released) return strip_picture(j, take, seconds, err);
    const hm_canvas *c = &j->d.take[take];
    if (!j->stream || j->streaming != take) {
        stream_close(j);
        const himmel_status rc = hm_stream_new(&j->stream, c->m, c->z, c->gw, c->gh, c->T, j->d.ctx->threads, err);
        if (rc) return rc;
        j->streaming = take;
    }
    hm_pix t;
    const void *full = hm_stream_frame(j->stream, HM_FPS * seconds, &t);
    const hm_frame f = {HM_FRAME_RGB8, j->d.req.width, j->d.req.height, {j->rgb}, {3 * j->d.req.width}};
    const double t0 = hm_now();
    hm_scale(j->scaler, full, t, &f);
    j->result.phase[P_SCALE].seconds += hm_now() - t0;
    return HIMMEL_OK;
}

/* What the reconstruction of every anchor of the take lacks. */
static himmel_status measure_anchors(job *j, int take, himmel_error *err)
{
    for (int i = 0; i < j->d.n_anchors; i++) {
        hm_anchor *a = &j->d.anchor[i];
        if (a->take != take || !a->image) continue;
        himmel_status rc = j->seams ? HIMMEL_OK : hm_seams_new(&j->seams, j->d.req.width, j->d.req.height, err);
        if (!rc) rc = generated(j, take, fmin(a->at, take_end(j, take)), err);
        if (!rc) rc = hm_seams_measure(j->seams, a, j->rgb, err);
        if (rc) return rc;
    }
    return HIMMEL_OK;
}

/* Outside the mask the clip's pixels. What they differ there from the new picture is led into the mask and fades over the
 * feather, so that neither a border shows nor anything of what the mask covers. Beyond the clip all may change. */
static himmel_status paste_clip(job *j, const uint8_t *clip, himmel_error *err)
{
    const uint8_t *alpha = j->d.mask.alpha, *hit = j->d.mask.hit;
    const int w = j->d.req.width, h = j->d.req.height;
    const size_t n = (size_t)w * (size_t)h;
    if (!j->lead) j->lead = malloc((4 * n + hm_fill_room(w, h)) * sizeof *j->lead);
    if (!j->lead) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a mask of %dx%d", w, h);
    float *d = j->lead, *weight = d + 3 * n;
    for (size_t i = 0; i < n; i++) {
        weight[i] = !hit[i];
        for (size_t q = 3 * i; q < 3 * i + 3; q++) d[q] = hit[i] ? 0 : (float)(clip[q] - j->rgb[q]);
    }
    hm_fill(d, weight, w, h, weight + n);
    for (size_t i = 0; i < n; i++)
        for (size_t q = 3 * i; q < 3 * i + 3; q++) {
            const float v = (float)j->rgb[q] + d[q] * (float)(255 - alpha[i]) / 255;
            j->rgb[q] = hit[i] ? (uint8_t)lroundf(HM_MIN(HM_MAX(v, 0.0f), 255.0f)) : clip[q];
        }
    return HIMMEL_OK;
}

/* How far frame i of span s lags behind an even pace, seconds of the take. A loop's way back has to undo all that moved:
 * evenly, it would set out and arrive faster than the film beside it; so it is half as fast at its ends. */
static double eased(const hm_edit *d, const hm_span *s, int i)
{
    if (!d->e->loop || s + 1 != d->span + d->n_spans) return 0;
    const double length = (s->n + 1) * s->rate / hm_edit_fps(d);
    return 0.5 * length / (2 * M_PI) * sin(2 * M_PI * (i + 1) / (s->n + 1));
}

/* Frame i of span s into j->rgb. */
static himmel_status picture(job *j, const hm_span *s, int i, himmel_error *err)
{
    hm_edit *d = &j->d;
    const double t = (double)i * d->req.fps_den / d->req.fps_num;
    const uint8_t *clip = NULL;
    himmel_status rc = HIMMEL_OK;
    if (s->take >= 0) {
        if (i == 0) rc = measure_anchors(j, s->take, err);
        const double at = fmin(s->from + t * s->rate - eased(d, s, i), take_end(j, s->take));
        if (!rc) rc = generated(j, s->take, at, err);
        if (!rc && j->seams) hm_seams_correct(j->seams, d->anchor, d->n_anchors, s->take, at, j->rgb);
    }
    if (!rc && j->upscaler) return hm_upscale(j->upscaler, d->clip[s->clip], hm_clip_nearest(d->clip[s->clip], t), j->rgb, err);
    if (!rc && s->clip >= 0) {
        hm_clip *c = d->clip[s->clip];
        if (!(clip = hm_clip_frame(c, hm_clip_nearest(c, s->take >= 0 ? t : s->from + t), err))) return HIMMEL_EFORMAT;
    }
    if (!rc && clip && s->take >= 0) rc = hm_mask_at(&d->mask, t, err);
    if (rc || !clip) return rc;
    if (s->take >= 0) return paste_clip(j, clip, err);
    memcpy(j->rgb, clip, 3 * (size_t)d->req.width * (size_t)d->req.height);
    return HIMMEL_OK;
}

/* The share of the watermark in frame i of span s: new pixels have it, those of inputs keep what they carry. Where an input
 * goes on into new frames it comes and goes within ONSET frames, or it would be the only jump at the seam of a calm film.
 * NULL: all of it. */
static const uint8_t *watermark_share(job *j, const hm_span *s, int i)
{
    const hm_edit *d = &j->d;
    if (s->take < 0) return NULL;
    if (s->clip >= 0) return d->mask.alpha;
    const bool before = s > d->span, behind = s + 1 < d->span + d->n_spans || d->e->loop;
    const int away = HM_MIN(before ? i + 1 : ONSET, behind ? s->n - i : ONSET);
    const size_t n = (size_t)d->req.width * (size_t)d->req.height;
    if (away >= ONSET || (!j->onset && !(j->onset = malloc(n)))) return NULL;
    return memset(j->onset, 255 * away / ONSET, n);
}

/* Frame `number`, the i-th of span s. */
static himmel_status write_frame(job *j, const hm_span *s, int i, int number, himmel_error *err)
{
    const himmel_request *r = &j->d.req;
    const hm_frame rgb = {HM_FRAME_RGB8, r->width, r->height, {j->rgb}, {3 * r->width}};
    const double t0 = hm_now(), seconds = (double)number * r->fps_den / r->fps_num;
    const hm_frame *to = j->encoder ? hm_encoder_frame(j->encoder, err) : &rgb;
    if (!to) return HIMMEL_ENOMEM;
    if (j->encoder) hm_scale(j->to_yuv, j->rgb, HM_PIX_U8, to);
    if (j->watermark && (s->take >= 0 || j->upscaler))
        hm_watermark_embed(j->watermark, to, watermark_share(j, s, i));
    if (j->mark) hm_vmark_draw(j->mark, to, seconds);
    const hm_image_opts o = {j->tag, j->n_tags, r->quality, hm_signer_seal, &j->signer};
    const himmel_status rc = j->encoder ? hm_encoder_push(j->encoder, err) : hm_image_write_as(r->output, to, &o, &j->result.file_bytes, err);
    j->result.phase[P_ENCODE].seconds += hm_now() - t0;
    if (rc) return rc;
    int stop = tell(j, "film", number + 1, j->frames_all);
    if (!stop && r->on_preview && (hm_now() - j->last_preview > 0.25 || number + 1 == j->frames_all)) {
        const hm_frame small = {HM_FRAME_RGB8, j->preview_w, j->preview_h, {j->preview}, {3 * j->preview_w}};
        hm_scale(j->to_preview, j->rgb, HM_PIX_U8, &small);
        stop = show(j, seconds, 0);
    }
    if (stop && j->encoder)
        return hm_fail(err, HIMMEL_ECANCELLED, "stopped after frame %d of %d", number + 1, j->frames_all);
    return HIMMEL_OK;
}

/* ---- what the file says about itself ---- */

/* The inputs in the signed credentials: one changed or continued film is the parent; several that are shown as they
 * were are parts; pictures that the model was given are its material. */
static himmel_status open_signer(job *j, himmel_error *err)
{
    const hm_edit *d = &j->d;
    const hm_role role = d->e->mode == HIMMEL_EDIT_NEW ? HM_ROLE_INPUT
                         : d->n_clips == 1             ? HM_ROLE_PARENT
                                                       : HM_ROLE_COMPONENT;
    himmel_status rc = hm_signer_open(&j->signer, d->ctx, &d->req, err);
    if (!rc && !(j->settings = hm_edit_settings(d->e))) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    for (int i = 0; i < d->n_clips; i++) j->source[i] = (hm_source){hm_clip_path(d->clip[i]), role};
    if (d->reference) j->source[d->n_clips] = (hm_source){d->e->reference, HM_ROLE_INPUT};
    j->signer.sources = j->source, j->signer.n_sources = (size_t)d->n_clips + (d->reference != NULL);
    j->signer.reader = hm_edit_reader(d->e);
    j->signer.action = "c2pa.edited", j->signer.settings = j->settings;
    return rc;
}

static void add_tag(job *j, const char *key, const char *value)
{
    if (value && *value) j->tag[j->n_tags++] = (hm_tag){key, value};
}

static void make_tags(job *j)
{
    const hm_edit *d = &j->d;
    const himmel_request *r = &d->req;
    const hm_himmel1 *m = d->ctx->model;
    hm_edit_names(d->clip, d->n_clips, j->names, sizeof j->names);
    snprintf(j->text[0], sizeof j->text[0], "%llu", (unsigned long long)r->seed);
    const hm_model_facts *f = &d->ctx->facts;
    if (m) snprintf(j->text[1], sizeof j->text[1], "%s %s", m->name, m->version);
    else snprintf(j->text[1], sizeof j->text[1], "%s", f->name);
    snprintf(j->text[2], sizeof j->text[2], "himmel %s (%s, %d threads, %s)", HIMMEL_VERSION, d->ctx->isa, d->ctx->threads,
             hm_media_version());
    add_tag(j, "comment", !d->n_clips                                                  ? "made by a machine: himmel, from a text prompt"
                          : d->n_takes || d->e->mode == HIMMEL_EDIT_UPSCALE ? "made by a machine: himmel, from other films or pictures"
                                                                            : "cut by himmel");
    add_tag(j, "inputs", j->names);
    add_tag(j, "prompt", r->prompt);
    add_tag(j, "negative", r->negative);
    add_tag(j, "seed", j->text[0]);
    add_tag(j, "model", j->text[1]);
    add_tag(j, "model_sha256", m ? m->sha256 : hm_ctx_sha256(d->ctx));
    add_tag(j, "loras", d->ctx->loras);
    add_tag(j, "precision", d->ctx->int8 ? "int8" : "");
    add_tag(j, "software", j->text[2]);
}

/* ---- the work ---- */

/* The watermark, if there is something new. A larger copy of a film shows the mark of the film: it gets one only if that
 * has none. */
static himmel_status make_watermark(job *j, himmel_error *err)
{
    const hm_edit *d = &j->d;
    hm_wm_report r = {0};
    const hm_reader by = hm_edit_reader(d->e);
    himmel_status rc = HIMMEL_OK;
    const bool upscale = d->e->mode == HIMMEL_EDIT_UPSCALE;
    if (upscale) rc = hm_watermark_read_by(&r, &by, hm_clip_path(d->clip[0]), err);
    if (rc || r.n || (!upscale && !d->n_takes)) return rc;
    return hm_signer_mark(&j->signer, d->req.width, d->req.height, &j->watermark, err);
}

static himmel_status prepare(job *j, himmel_error *err)
{
    const hm_edit *d = &j->d;
    const himmel_request *r = &d->req;
    const hm_layout *l = &d->l;
    const int threads = d->ctx->threads;
    himmel_status rc = open_signer(j, err);
    if (rc) return rc;
    make_tags(j);
    if ((rc = make_watermark(j, err))) return rc;
    j->preview_w = HM_MIN(PREVIEW_WIDTH, r->width);
    j->preview_h = HM_MAX(1, j->preview_w * r->height / r->width);
    if ((rc = hm_track_new(&j->track, d, err))) return rc;
    const hm_encoder_opts eo = {r->width, r->height, r->fps_num, r->fps_den, r->crf, j->tag, j->n_tags, hm_signer_seal, &j->signer,
                                j->track ? hm_track_read : NULL, j->track};
    const hm_scale_opts so = {l->full_w, l->full_h, l->x, l->y, l->w, l->h, r->width, r->height, HM_FRAME_RGB8, threads};
    hm_scale_opts same = {.src_w = r->width, .src_h = r->height, .out_w = r->width, .out_h = r->height,
                          .kind = HM_FRAME_YUV420, .n_threads = threads};
    rc = r->kind == HIMMEL_FILM ? hm_encoder_open(&j->encoder, r->output, &eo, err) : hm_probe_output(r->output, err);
    if (!rc) rc = hm_scaler_new(&j->scaler, &so, err);
    if (!rc && j->encoder) rc = hm_scaler_new(&j->to_yuv, &same, err);
    same.out_w = j->preview_w, same.out_h = j->preview_h, same.kind = HM_FRAME_RGB8;
    if (!rc && r->on_preview) rc = hm_scaler_new(&j->to_preview, &same, err);
    if (!rc && r->visible_mark) rc = hm_vmark_new(&j->mark, r->width, r->height, err);
    if (!rc && d->e->mode == HIMMEL_EDIT_UPSCALE) rc = hm_upscaler_new(&j->upscaler, d, err);
    j->rgb = malloc(3 * (size_t)r->width * (size_t)r->height);
    j->preview = malloc(3 * (size_t)j->preview_w * (size_t)j->preview_h);
    if (!rc && (!j->rgb || !j->preview)) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for a picture of %dx%d", r->width, r->height);
    for (int i = 0; i < d->n_spans; i++) j->frames_all += d->span[i].n;
    return rc;
}

static himmel_status work(job *j, himmel_error *err)
{
    if (tell(j, "text", 0, 1)) return hm_fail(err, HIMMEL_ECANCELLED, "stopped before the first step");
    himmel_status rc = sample(j, err);
    j->phase_start = hm_now();
    for (int s = 0, n = 0; s < j->d.n_spans && !rc; s++)
        for (int i = 0; i < j->d.span[s].n && !rc; i++, n++) {
            rc = picture(j, &j->d.span[s], i, err);
            if (!rc) rc = write_frame(j, &j->d.span[s], i, n, err);
        }
    stream_close(j);
    if (!rc && j->encoder) rc = hm_encoder_finish(j->encoder, &j->result.file_bytes, err);
    return rc;
}

static void cleanup(job *j)
{
    hm_stream_free(j->stream);
    hm_upscaler_free(j->upscaler);
    hm_seams_free(j->seams);
    hm_track_free(j->track);
    hm_encoder_free(j->encoder); /* deletes what is unfinished */
    hm_vmark_free(j->mark);
    hm_watermark_free(j->watermark);
    hm_scaler_free(j->scaler);
    hm_scaler_free(j->to_yuv);
    hm_scaler_free(j->to_preview);
    free(j->rgb);
    free(j->lead);
    free(j->onset);
    free(j->preview);
    free(j->settings);
    hm_edit_deinit(&j->d);
    free(j);
}

himmel_status himmel_edit_run(himmel_ctx *ctx, const himmel_request *req, const himmel_edit *edit, himmel_result *result,
                              himmel_error *err)
{
    static const char *const names[HIMMEL_N_PHASES] = {"text", "sample", "decode", "refine", "scale", "encode"};
    if (ctx->released && hm_released_at_once(ctx, req, edit)) return hm_released_edit(ctx, req, edit, result, err);
    if (req->step_cache > 0 && !ctx->released)
        return hm_fail(err, HIMMEL_EINVAL, "step cache is %g: himmel-1 has none, it is for released models", req->step_cache);
    job *j = calloc(1, sizeof *j);
    if (!j) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    j->d = (hm_edit){.ctx = ctx, .e = edit, .req = *req};
    j->streaming = -1;
    j->keep.path = req->keep;
    j->start = hm_now();
    hm_set_threads(ctx->threads);
    for (int i = 0; i < HIMMEL_N_PHASES; i++) j->result.phase[i].name = names[i];
    himmel_status rc = hm_edit_plan(&j->d, err);
    if (!rc) rc = prepare(j, err);
    if (!rc) rc = work(j, err);
    if (!rc) hm_keep_remove(&j->keep);
    j->result.width = j->d.req.width, j->result.height = j->d.req.height, j->result.n_frames = j->frames_all;
    j->result.seconds = hm_now() - j->start;
    if (result) *result = j->result;
    cleanup(j);
    return rc;
}
