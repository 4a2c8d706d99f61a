/* eval_recon.c - `himmel eval recon`: what the codec, and the codec with the refiner, keep of footage.
 * SPDX-License-Identifier: MIT
 *
 *   held-out scene -render 256x144-> truth -encode, decode-> decoded: PSNR, SSIM, edges, motion
 *     -render at 2x, 8x-> truth; decoded -refiner, averaged-> refined: PSNR, SSIM beside Lanczos of the
 *                                                                      true small film */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/scale.h"
#include "train/cache.h"
#include "train/eval.h"
#include "train/options.h"
#include "train/probe.h"

enum { GW = 16, GH = 9, W = HM_BLOCK * GW, H = HM_BLOCK * GH, FRAME = W * H * 3, SSIM_EVERY = 6, N_BIG = 3 };

typedef struct {
    double psnr, ssim;
    int64_t n, n_ssim;
} quality;

typedef struct {
    const hm_job *job;
    const char *model, *json;
    int64_t clips, seconds, threads;
    int T, n_frames;
    hm_himmel1 *m;
    hm_film_sums truth, decoded;
    hm_film_sums large[3][2];                 /* truth, refined, Lanczos of the true small film, as below */
    quality film, still;
    quality refined[2], plain[2], lanczos[2]; /* 512x288 and 2048x1152: decoded and refined, only enlarged;
                                                 true small film enlarged */
    float *z, *a, *b;                         /* latents; true and decoded film */
} recon_run;

static void add(quality *q, const float *x, const float *truth, int w, int h, bool ssim)
{
    q->psnr += hm_psnr(x, truth, (size_t)w * h * 3);
    q->n++;
    if (!ssim) return;
    q->ssim += hm_ssim(x, truth, w, h);
    q->n_ssim++;
}

static double mean(double sum, int64_t n) { return n ? sum / (double)n : NAN; }

/* Lanczos of a small picture to scale times its size. */
static himmel_status enlarge(const float *small, int scale, uint8_t *tmp, float *out, himmel_error *err)
{
    hm_scaler *s;
    const hm_scale_opts o = {
        .src_w = W, .src_h = H, .out_w = W * scale, .out_h = H * scale, .kind = HM_FRAME_RGB8};
    const himmel_status rc = hm_scaler_new(&s, &o, err);
    if (rc) return rc;
    const hm_frame f = {
        .kind = HM_FRAME_RGB8, .w = o.out_w, .h = o.out_h, .plane = {tmp}, .stride = {3 * o.out_w}};
    hm_scale(s, small, HM_PIX_F32, &f);
    hm_scaler_free(s);
    for (size_t i = 0; i < (size_t)FRAME * (size_t)(scale * scale); i++)
        out[i] = (float)tmp[i] * (1.0f / 255);
    return HIMMEL_OK;
}

static const int LARGE[2] = {2, 8};

/* Frame `at` at LARGE[k] times the base size, added to what is known of large frames of that kind. */
static void look(recon_run *r, int kind, int k, const float *frame, int at)
{
    hm_film_add(&r->large[kind][k], frame, 1, W * LARGE[k], H * LARGE[k], at, HM_BLOCK * LARGE[k]);
}

/* A few frames of the film at 2x and 8x: refined, and what Lanczos makes of the true small film. */
static himmel_status look_refined(recon_run *r, const hm_renderer *w, double t0, himmel_error *err)
{
    const size_t big = (size_t)FRAME * 64;
    float *truth = malloc(2 * big * sizeof *truth), *got = truth ? truth + big : NULL;
    uint8_t *tmp = malloc(big);
    himmel_status rc =
        truth && tmp ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "eval: out of memory for large frames");
    for (int k = 0; !rc && k < 2 * N_BIG; k++) {
        const int s = LARGE[k / N_BIG], at = (2 * (k % N_BIG) + 1) * r->n_frames / (2 * N_BIG);
        const hm_view view = {W * s, H * s, 0, 0, W * s, H * s};
        const hm_eval_shape shape = {.T = r->T, .gh = GH, .gw = GW, .scale = s, .threads = (int)r->threads};
        hm_render(w, &view, t0 + (double)at / HM_FPS, truth);
        look(r, 0, k / N_BIG, truth, at);
        if (!(rc = hm_eval_frames(r->m, r->z, &shape, at, 1, got, err)))
            add(&r->refined[k / N_BIG], got, truth, W * s, H * s, true), look(r, 1, k / N_BIG, got, at);
        if (!rc && !(rc = enlarge(r->a + (size_t)at * FRAME, s, tmp, got, err)))
            add(&r->lanczos[k / N_BIG], got, truth, W * s, H * s, true), look(r, 2, k / N_BIG, got, at);
        if (!rc && !(rc = enlarge(r->b + (size_t)at * FRAME, s, tmp, got, err)))
            add(&r->plain[k / N_BIG], got, truth, W * s, H * s, true);
    }
    free(truth);
    free(tmp);
    return rc;
}

static himmel_status one_clip(recon_run *r, const hm_scene *s, himmel_error *err)
{
    const double t0 = (double)hm_clip_start(s->seed, r->T);
    const hm_view view = {W, H, 0, 0, W, H};
    const hm_eval_shape shape = {.T = r->T, .gh = GH, .gw = GW, .scale = 1},
                        picture = {.T = 1, .gh = GH, .gw = GW, .scale = 1};
    hm_renderer *w;
    himmel_status rc = hm_renderer_new(&w, s, err);
    if (rc) return rc;
#pragma omp parallel for schedule(dynamic, 1)
    for (int f = 0; f < r->n_frames; f++)
        hm_render(w, &view, t0 + (double)f / HM_FPS, r->a + (size_t)f * FRAME);
    if ((rc = hm_render_latents(r->m->codec, s, t0, r->T, GH, GW, r->z, NULL, err)) ||
        (rc = hm_eval_frames(r->m, r->z, &shape, 0, r->n_frames, r->b, err)))
        goto done;
    for (int f = 0; f < r->n_frames; f++)
        add(&r->film, r->b + (size_t)f * FRAME, r->a + (size_t)f * FRAME, W, H, f % SSIM_EVERY == 0);
    hm_film_add(&r->truth, r->a, r->n_frames, W, H, 0, HM_BLOCK);
    hm_film_add(&r->decoded, r->b, r->n_frames, W, H, 0, HM_BLOCK);
    if (r->m->refiner && (rc = look_refined(r, w, t0, err))) goto done;
    if (!(rc = hm_eval_frames(r->m, r->z, &picture, 0, 1, r->b, err))) add(&r->still, r->b, r->a, W, H, true);
done:
    hm_renderer_free(w);
    return rc;
}

static json_t *quality_json(const recon_run *r, const char *name, const quality *q)
{
    const double p = mean(q->psnr, q->n), s = mean(q->ssim, q->n_ssim);
    hm_eval_say(r->job, "%-36s PSNR %6.2f dB  SSIM %.4f", name, p, s);
    return json_pack("{s:o,s:o}", "psnr", hm_eval_number(p), "ssim", hm_eval_number(s));
}

/* How sharp, and how visible the blocks, at LARGE[k] times the base size. */
static void report_large(const recon_run *r, int k, json_t *j)
{
    static const char *const kind[3] = {"truth", "refined", "lanczos"};
    const hm_film_figures t = hm_film_look(&r->large[0][k]);
    for (int i = 0; i < 3; i++) {
        const hm_film_figures f = hm_film_look(&r->large[i][k]);
        char name[64];
        hm_eval_say(r->job, "%dx%d %-8s gradient %.5f  %.3f of footage; edges x %.3f y %.3f", W * LARGE[k], H * LARGE[k], kind[i],
                    f.gradient, f.gradient / t.gradient, f.edge[0] / t.edge[0], f.edge[1] / t.edge[1]);
        snprintf(name, sizeof name, "figures_%s_%d", kind[i], W * LARGE[k]);
        if (j) json_object_set_new(j, name, hm_eval_figures_json(&f));
    }
}

static himmel_status report(const recon_run *r, himmel_error *err)
{
    const hm_film_figures t = hm_film_look(&r->truth), d = hm_film_look(&r->decoded);
    const char *name[] = {"edges x", "edges y", "edges t", "start", "motion", "flicker", "gradient"};
    const double got[] = {d.edge[0], d.edge[1], d.edge[2], d.start, d.motion, d.flicker, d.gradient};
    const double want[] = {t.edge[0], t.edge[1], t.edge[2], t.start, t.motion, t.flicker, t.gradient};
    hm_eval_say(r->job, "%lld held-out clips of %lld s", (long long)r->clips, (long long)r->seconds);
    json_t *j = json_pack("{s:s,s:s,s:s,s:I,s:I}", "evaluation", "recon", "model", r->model, "model_sha256",
                          r->m->sha256, "clips", (json_int_t)r->clips, "seconds", (json_int_t)r->seconds);
    if (j) {
        json_object_set_new(j, "codec_film", quality_json(r, "codec, film 256x144", &r->film));
        json_object_set_new(j, "codec_still", quality_json(r, "codec, picture 256x144", &r->still));
        if (r->m->refiner) {
            json_object_set_new(j, "refined_512", quality_json(r, "refined, 512x288", &r->refined[0]));
            json_object_set_new(j, "plain_512", quality_json(r, "decoded, Lanczos, 512x288", &r->plain[0]));
            json_object_set_new(j, "lanczos_512",
                                quality_json(r, "Lanczos of the true film, 512x288", &r->lanczos[0]));
            json_object_set_new(j, "refined_2048", quality_json(r, "refined, 2048x1152", &r->refined[1]));
            json_object_set_new(j, "plain_2048",
                                quality_json(r, "decoded, Lanczos, 2048x1152", &r->plain[1]));
            json_object_set_new(j, "lanczos_2048",
                                quality_json(r, "Lanczos of the true film, 2048x1152", &r->lanczos[1]));
        }
        json_object_set_new(j, "figures_decoded", hm_eval_figures_json(&d));
        json_object_set_new(j, "figures_truth", hm_eval_figures_json(&t));
    }
    hm_eval_say(r->job, "figure      decoded      truth   ratio");
    for (size_t i = 0; i < HM_COUNT(name); i++)
        hm_eval_say(r->job, "%-8s  %9.5f  %9.5f  %6.3f", name[i], got[i], want[i], got[i] / want[i]);
    for (int k = 0; r->m->refiner && k < 2; k++) report_large(r, k, j);
    return hm_eval_write_json(j, r->json, err);
}

static himmel_status run(recon_run *r, himmel_error *err)
{
    const hm_option_spec spec[] = {{"model", HM_O_STR, &r->model, 0, 0},
                                   {"report", HM_O_STR, &r->json, 0, 0},
                                   {"clips", HM_O_INT, &r->clips, 1, 1e5},
                                   {"seconds", HM_O_INT, &r->seconds, 1, 10},
                                   {"threads", HM_O_INT, &r->threads, 0, 1024}};
    himmel_status rc =
        hm_options_parse("eval recon", spec, HM_COUNT(spec), r->job->opts, r->job->n_opts, err);
    if (rc) return rc;
    if (!r->model)
        return hm_fail(
            err, HIMMEL_EINVAL,
            "eval recon: --model FILE (with a codec, and a refiner if it is to be looked at) is needed");
    if ((rc = hm_eval_open_model(&r->m, r->model, false, err))) return rc;
    if (r->threads) hm_set_threads((int)r->threads);
    r->T = (int)r->seconds + 1;
    r->n_frames = HM_FPS * (int)r->seconds + 1;
    r->z = malloc((size_t)r->T * GH * GW * hm_codec_channels(r->m->codec) * sizeof *r->z);
    r->a = malloc((size_t)r->n_frames * FRAME * sizeof *r->a);
    r->b = malloc((size_t)r->n_frames * FRAME * sizeof *r->b);
    if (!r->z || !r->a || !r->b)
        return hm_fail(err, HIMMEL_ENOMEM, "eval: out of memory for a clip of %d s", (int)r->seconds);
    uint64_t seed = HM_EVAL_SEEDS;
    const double start = hm_now();
    for (int64_t i = 0; i < r->clips; i++) {
        hm_scene s;
        hm_held_out_scene(&s, &seed);
        if ((rc = one_clip(r, &s, err))) return rc;
        const double eta = (hm_now() - start) / (double)(i + 1) * (double)(r->clips - i - 1);
        if (hm_job_step(r->job, "clips", i + 1, r->clips, eta, ""))
            return hm_fail(err, HIMMEL_ECANCELLED, "stopped after %lld of %lld clips", (long long)i + 1,
                           (long long)r->clips);
    }
    return report(r, err);
}

himmel_status hm_eval_recon_cmd(const hm_job *job, himmel_error *err)
{
    recon_run r = {.job = job, .clips = 24, .seconds = 3};
    const himmel_status rc = run(&r, err);
    hm_himmel1_close(r.m);
    free(r.z);
    free(r.a);
    free(r.b);
    return rc;
}
