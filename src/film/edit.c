/* edit.c - himmel_edit_run: plan, sample the canvases, write the spans.   SPDX-License-Identifier: MIT
 *   canvas -sampler, codec, refiner, Lanczos-> picture -seam corrections, paste over the clip-> mark -> file
 * All pictures are 8-bit RGB of the result's size before the mark: what is passed through or outside a mask is the
 * decoded input to the bit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "film/edit.h"
#include "media/image.h"
#include "provenance/visible_mark.h"

enum { P_TEXT, P_SAMPLE, P_DECODE, P_REFINE, P_SCALE, P_ENCODE };

typedef struct {
    hm_edit d;
    himmel_result result;
    hm_encoder *encoder;
    hm_vmark *mark;
    hm_scaler *scaler, *to_yuv;
    hm_stream *stream;
    int streaming;      /* take of stream, -1 = none */
    uint8_t *rgb;       /* [h][w][3] the frame in work */
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

static int on_step(void *user, int step, int n, const float *clean, int T)
{
    (void)clean, (void)T, (void)n;
    job *j = user;
    return tell(j, "sample", j->steps_done + step, j->steps_all);
}

static himmel_status sample(job *j, himmel_error *err)
{
    hm_edit *d = &j->d;
    const himmel_request *r = &d->req;
    const bool words = r->prompt && *r->prompt;
    hm_canvas_opts o = {.words = d->words, .n_words = d->n_words, .negative = r->negative, .steps = r->steps,
                        .guidance = words || d->n_words > 1 ? r->guidance : 1, /* nothing said, nothing to insist on */
                        .threads = d->ctx->threads, .on_step = on_step, .user = j};
    for (int i = 0; i < d->n_takes; i++) j->steps_all += r->steps * hm_canvas_windows(&d->take[i], &o);
    j->phase_start = hm_now();
    himmel_status rc = HIMMEL_OK;
    for (int i = 0; i < d->n_takes && !rc; i++) {
        hm_sample_cost c = {0};
        o.seed = r->seed + (uint64_t)i;
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

/* The take's own picture at a time into j->rgb. */
static himmel_status generated(job *j, int take, double seconds, himmel_error *err)
{
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
    const size_t n = 3 * (size_t)j->d.req.width * (size_t)j->d.req.height;
    for (int i = 0; i < j->d.n_anchors; i++) {
        hm_anchor *a = &j->d.anchor[i];
        if (a->take != take || !a->image) continue;
        const himmel_status rc = generated(j, take, fmin(a->at, j->d.take[take].T - 1), err);
        if (rc) return rc;
        a->missing = malloc(n * sizeof *a->missing);
        if (!a->missing) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a seam");
        for (size_t k = 0; k < n; k++) a->missing[k] = (int16_t)(a->image[k] - j->rgb[k]);
        free(a->image);
        a->image = NULL;
    }
    return HIMMEL_OK;
}

static void correct_seams(job *j, int take, double seconds)
{
    const size_t n = 3 * (size_t)j->d.req.width * (size_t)j->d.req.height;
    for (int i = 0; i < j->d.n_anchors; i++) {
        const hm_anchor *a = &j->d.anchor[i];
        const double away = fabs(seconds - a->at);
        if (a->take != take || !a->missing || away >= 1) continue;
        const int share = (int)lround(256 * (0.5 + 0.5 * cos(M_PI * away))); /* 1 at the seam, 0 after a second */
#pragma omp parallel for schedule(static)
        for (size_t k = 0; k < n; k++) {
            const int v = j->rgb[k] + ((a->missing[k] * share + 128) >> 8);
            j->rgb[k] = (uint8_t)HM_MIN(HM_MAX(v, 0), 255);
        }
    }
}

/* Where the mask forbids change, the clip's pixels; between, both. */
static void paste_clip(job *j, const uint8_t *clip)
{
    const uint8_t *alpha = j->d.mask.alpha;
    const size_t n = (size_t)j->d.req.width * (size_t)j->d.req.height;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 3 * i; k < 3 * i + 3; k++)
            j->rgb[k] = (uint8_t)((alpha[i] * j->rgb[k] + (255 - alpha[i]) * clip[k] + 127) / 255);
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
        const double at = fmin(s->from + t * s->rate, d->take[s->take].T - 1);
        if (!rc) rc = generated(j, s->take, at, err);
        if (!rc) correct_seams(j, s->take, at);
    }
    if (!rc && s->clip >= 0) {
        hm_clip *c = d->clip[s->clip];
        if (!(clip = hm_clip_frame(c, hm_clip_nearest(c, s->take >= 0 ? t : s->from + t), err))) return HIMMEL_EFORMAT;
    }
    if (!rc && clip && s->take >= 0) rc = hm_mask_at(&d->mask, t, err);
    if (rc || !clip) return rc;
    if (s->take >= 0) paste_clip(j, clip);
    else memcpy(j->rgb, clip, 3 * (size_t)d->req.width * (size_t)d->req.height);
    return HIMMEL_OK;
}

static himmel_status write_frame(job *j, int number, const hm_tag *tags, size_t n_tags, himmel_error *err)
{
    const himmel_request *r = &j->d.req;
    const hm_frame rgb = {HM_FRAME_RGB8, r->width, r->height, {j->rgb}, {3 * r->width}};
    const double t0 = hm_now(), seconds = (double)number * r->fps_den / r->fps_num;
    const hm_frame *to = j->encoder ? hm_encoder_frame(j->encoder, err) : &rgb;
    if (!to) return HIMMEL_ENOMEM;
    if (j->encoder) hm_scale(j->to_yuv, j->rgb, HM_PIX_U8, to);
    if (j->mark) hm_vmark_draw(j->mark, to, seconds);
    const himmel_status rc = j->encoder ? hm_encoder_push(j->encoder, err)
                                        : hm_image_write(r->output, to, tags, n_tags, &j->result.file_bytes, err);
    j->result.phase[P_ENCODE].seconds += hm_now() - t0;
    if (!rc && tell(j, "film", number + 1, j->frames_all) && j->encoder)
        return hm_fail(err, HIMMEL_ECANCELLED, "stopped after frame %d of %d", number + 1, j->frames_all);
    return rc;
}

static himmel_status write_all(job *j, himmel_error *err)
{
    const himmel_request *r = &j->d.req;
    const hm_himmel1 *m = j->d.ctx->model;
    const char *const name = strrchr(r->output, '/') ? strrchr(r->output, '/') + 1 : r->output;
    char seed[32], model[80], inputs[512] = "";
    hm_str in = {inputs, sizeof inputs, 0};
    for (int i = 0; i < j->d.n_clips; i++) {
        const char *path = hm_clip_path(j->d.clip[i]), *slash = strrchr(path, '/');
        hm_str_addf(&in, "%s%.100s", i ? ", " : "", slash ? slash + 1 : path);
    }
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)r->seed);
    snprintf(model, sizeof model, "%s %s", m->name, m->version);
    const hm_tag tags[] = {{"comment", j->d.n_takes ? "made by a machine: himmel, from other films or pictures" : "cut by himmel"},
                           {"title", name}, {"inputs", inputs}, {"seed", seed}, {"model", model},
                           {"model_sha256", m->sha256}, {"prompt", r->prompt ? r->prompt : ""}};
    const hm_encoder_opts eo = {.width = r->width, .height = r->height, .fps_num = r->fps_num, .fps_den = r->fps_den,
                                .tags = tags, .n_tags = HM_COUNT(tags)};
    himmel_status rc = r->kind == HIMMEL_FILM ? hm_encoder_open(&j->encoder, r->output, &eo, err) : HIMMEL_OK;
    if (!rc) rc = sample(j, err);
    j->phase_start = hm_now();
    for (int s = 0, n = 0; s < j->d.n_spans && !rc; s++)
        for (int i = 0; i < j->d.span[s].n && !rc; i++, n++) {
            rc = picture(j, &j->d.span[s], i, err);
            if (!rc) rc = write_frame(j, n, tags, HM_COUNT(tags), err);
        }
    stream_close(j);
    if (!rc && j->encoder) rc = hm_encoder_finish(j->encoder, &j->result.file_bytes, err);
    return rc;
}

static himmel_status prepare(job *j, himmel_error *err)
{
    const himmel_request *r = &j->d.req;
    const hm_layout *l = &j->d.l;
    const hm_scale_opts so = {l->full_w, l->full_h, l->x, l->y, l->w, l->h, r->width, r->height, HM_FRAME_RGB8,
                              j->d.ctx->threads};
    const hm_scale_opts yo = {.src_w = r->width, .src_h = r->height, .out_w = r->width, .out_h = r->height,
                              .kind = HM_FRAME_YUV420, .n_threads = j->d.ctx->threads};
    himmel_status rc = hm_scaler_new(&j->scaler, &so, err);
    if (!rc) rc = hm_scaler_new(&j->to_yuv, &yo, err);
    if (!rc && r->visible_mark) rc = hm_vmark_new(&j->mark, r->width, r->height, err);
    j->rgb = malloc(3 * (size_t)r->width * (size_t)r->height);
    if (!rc && !j->rgb) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for a picture of %dx%d", r->width, r->height);
    for (int i = 0; i < j->d.n_spans; i++) j->frames_all += j->d.span[i].n;
    return rc;
}

himmel_status himmel_edit_run(himmel_ctx *ctx, const himmel_request *req, const himmel_edit *edit, himmel_result *result,
                              himmel_error *err)
{
    static const char *const names[HIMMEL_N_PHASES] = {"text", "sample", "decode", "refine", "scale", "encode"};
    job *j = calloc(1, sizeof *j);
    if (!j) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    j->d = (hm_edit){.ctx = ctx, .e = edit, .req = *req};
    j->streaming = -1;
    j->start = hm_now();
    hm_set_threads(ctx->threads);
    for (int i = 0; i < HIMMEL_N_PHASES; i++) j->result.phase[i].name = names[i];
    himmel_status rc = hm_edit_plan(&j->d, err);
    if (!rc) rc = prepare(j, err);
    if (!rc) rc = write_all(j, err);
    j->result.width = j->d.req.width, j->result.height = j->d.req.height, j->result.n_frames = j->frames_all;
    j->result.seconds = hm_now() - j->start;
    if (result) *result = j->result;
    hm_stream_free(j->stream);
    hm_encoder_free(j->encoder);
    hm_vmark_free(j->mark);
    hm_scaler_free(j->scaler);
    hm_scaler_free(j->to_yuv);
    free(j->rgb);
    hm_edit_deinit(&j->d);
    free(j);
    return rc;
}
