/* probe.c - `himmel train probe`: the probe's footage, training, and how well it reads real footage.
 * SPDX-License-Identifier: MIT
 *
 *   scenes (not held out) -render 8 frames at 128x72-> pool -mirror, blur, noise-> network
 *     -> cross entropy per fact -> AdamW
 * Each step renders a few new clips in place of the oldest of the pool, so that a clip is used `uses` times
 * on average. Everything random comes from (seed, step). Tested on scenes whose combination of facts is held
 * out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "train/cache.h"
#include "train/optim.h"
#include "train/options.h"
#include "train/probe.h"
#include "train/train.h"

enum { POOL = 3072 };

/* ---- footage ---- */

void hm_probe_quantise(const float *rgb, uint8_t *frame)
{
    for (size_t i = 0; i < HM_PROBE_FRAME_BYTES; i++) {
        const float v = rgb[i] < 0 ? 0 : rgb[i] > 1 ? 1 : rgb[i];
        frame[i] = (uint8_t)(v * 255 + 0.5f);
    }
}

himmel_status hm_probe_render(const hm_scene *s, double t0, uint8_t *clip, himmel_error *err)
{
    const hm_view view = {HM_PROBE_W, HM_PROBE_H, 0, 0, HM_PROBE_W, HM_PROBE_H};
    float *rgb = malloc(HM_PROBE_FRAME_BYTES * sizeof *rgb);
    hm_renderer *r = NULL;
    const himmel_status rc =
        rgb ? hm_renderer_new(&r, s, err) : hm_fail(err, HIMMEL_ENOMEM, "probe: out of memory for a frame");
    for (int i = 0; !rc && i < HM_PROBE_FRAMES; i++) {
        hm_render(r, &view, t0 + (double)hm_probe_frame(i) / HM_FPS, rgb);
        hm_probe_quantise(rgb, clip + (size_t)i * HM_PROBE_FRAME_BYTES);
    }
    if (!rc) hm_renderer_free(r);
    free(rgb);
    return rc;
}

/* ---- training ---- */

typedef struct {
    const hm_job *job;
    const char *out, *from;
    int64_t steps, batch, uses, seed, threads, test;
    double minutes, lr;
    uint8_t *pool;   /* [POOL][clip] */
    hm_scene *scene; /* [POOL] */
    int64_t n_pool, n_rendered;
    uint64_t next_seed;
    hm_st *start; /* weights to go on from, or NULL */
    hm_params ps;
    hm_probe_net net;
    hm_graph *g;
    float *x;        /* [batch][7][36][64][28] */
    int32_t *labels; /* [facts][batch] */
    double accuracy[HM_N_FACTS];
    char said[400]; /* accuracies in words */
} probe_run;

static himmel_status add_clips(probe_run *r, int64_t n, himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    const int64_t first = r->n_rendered;
    for (int64_t i = 0; i < n; i++) {
        hm_scene *s = &r->scene[(first + i) % POOL];
        do hm_scene_random(s, r->next_seed++);
        while (hm_held_out(s));
    }
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = (first + i) % POOL;
        himmel_error e = {0};
        const himmel_status one =
            hm_probe_render(&r->scene[at], (double)hm_clip_start(r->scene[at].seed, 1 + HM_PROBE_SECONDS),
                            r->pool + (size_t)at * HM_PROBE_CLIP_BYTES, &e);
#pragma omp critical(hm_probe)
        if (one && !rc) {
            rc = one;
            if (err) *err = e;
        }
    }
    r->n_rendered += n;
    r->n_pool = HM_MIN((int64_t)POOL, r->n_rendered);
    return rc;
}

/* One row or column blurred by (a, 1 - 2a, a), edges repeated; stride in floats. */
static void blur_line(float *p, int n, int stride, float a)
{
    float before = p[0];
    for (int i = 0; i < n; i++) {
        const float here = p[(size_t)i * stride], after = p[(size_t)(i + 1 < n ? i + 1 : i) * stride];
        p[(size_t)i * stride] = here + a * (before + after - 2 * here);
        before = here;
    }
}

/* Mild: what a codec may do to a film should not matter. */
static void augment(float *frames, bool mirror, hm_rng *r)
{
    const float blur = hm_rng_float(r) < 0.5f ? hm_rng_range(r, 0, 0.25f) : 0,
                noise = hm_rng_range(r, 0, 0.012f);
    const float gain = hm_rng_range(r, 0.97f, 1.03f), lift = hm_rng_range(r, -0.015f, 0.015f);
    const int W = HM_PROBE_W, H = HM_PROBE_H;
    const uint64_t seed = hm_rng_u64(r);
    for (int f = 0; f < HM_PROBE_FRAMES; f++) {
        float *p = frames + (size_t)f * HM_PROBE_FRAME_BYTES;
        for (int y = 0; mirror && y < H; y++)
            for (int x = 0; x < W / 2; x++)
                for (int c = 0; c < 3; c++) {
                    float *a = p + (y * W + x) * 3 + c, *b = p + (y * W + W - 1 - x) * 3 + c, t = *a;
                    *a = *b;
                    *b = t;
                }
        for (int c = 0; blur > 0 && c < 3; c++) {
            for (int y = 0; y < H; y++) blur_line(p + y * W * 3 + c, W, 3, blur);
            for (int x = 0; x < W; x++) blur_line(p + x * 3 + c, H, 3 * W, blur);
        }
        uint32_t h[4] = {0};
        for (size_t i = 0; i < HM_PROBE_FRAME_BYTES; i++) { /* uniform noise from bytes: cheap */
            if (i % 16 == 0) hm_philox(seed, (uint64_t)f, i / 16, h);
            const float u = (float)(h[i / 4 % 4] >> 8 * (i % 4) & 255) * (1.0f / 127.5f) - 1;
            p[i] = p[i] * gain + lift + 1.7f * noise * u;
        }
    }
}

static void label(probe_run *r, const hm_scene *s, int64_t b)
{
    const uint32_t ask = hm_probe_askable(s);
    for (int f = 0; f < HM_N_FACTS; f++) r->labels[f * r->batch + b] = ask >> f & 1 ? s->fact[f] : -1;
}

static void fill(probe_run *r, int64_t step)
{
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t b = 0; b < r->batch; b++) {
        hm_rng rng =
            hm_rng_at(hm_mix((uint64_t)r->seed, 0x70726f6265ull), hm_mix((uint64_t)step, (uint64_t)b));
        const int64_t at = (int64_t)hm_rng_below(&rng, (uint32_t)r->n_pool);
        const bool mirror = hm_rng_below(&rng, 2);
        float *frames = malloc(HM_PROBE_CLIP_BYTES * sizeof *frames),
              *x = r->x + (size_t)b * HM_PROBE_CLIP_INPUT;
        hm_scene s = r->scene[at];
        if (mirror) hm_scene_mirror(&s);
        label(r, &s, b);
        if (frames) {
            const uint8_t *c = r->pool + (size_t)at * HM_PROBE_CLIP_BYTES;
            for (size_t i = 0; i < HM_PROBE_CLIP_BYTES; i++) frames[i] = (float)c[i] * (1.0f / 255);
            augment(frames, mirror, &rng);
            hm_probe_input(frames, x);
        } else { /* no memory: a sample that teaches nothing */
            memset(x, 0, HM_PROBE_CLIP_INPUT * sizeof *x);
            for (int f = 0; f < HM_N_FACTS; f++) r->labels[f * r->batch + b] = -1;
        }
        free(frames);
    }
}

static double one_step(probe_run *r, const hm_optim *opt, int64_t step)
{
    hm_graph *g = r->g;
    hm_tensor *logits[HM_N_FACTS], *sum = NULL;
    fill(r, step);
    hm_graph_reset(g);
    hm_params_zero_grad(&r->ps);
    hm_tensor *x = hm_wrap(
        g, HM_F32, HM_DIMS(r->batch * HM_PROBE_PAIRS, HM_PROBE_H / 2, HM_PROBE_W / 2, HM_PROBE_IN), r->x);
    hm_probe_forward(g, &r->net, hm_cast(g, x, hm_act(g)), r->batch, logits, NULL);
    for (int f = 0; f < HM_N_FACTS; f++) {
        hm_tensor *l = hm_loss_xent(g, logits[f], r->labels + f * r->batch);
        sum = sum ? hm_add_t(g, sum, l) : l;
    }
    hm_backward(g, sum, 1.0f);
    hm_optim_step(opt, &r->ps, step);
    return (double)*(float *)sum->data;
}

static himmel_status train(probe_run *r, himmel_error *err)
{
    hm_optim opt = hm_optim_default();
    opt.lr_adamw = r->lr;
    opt.beta2 = 0.99;
    opt.weight_decay = 0.05;
    opt.ema = 0.995;
    opt.total = r->steps;
    const int64_t fresh = HM_MAX(1, r->batch / r->uses);
    himmel_status rc = add_clips(r, 8 * r->batch, err);
    const double t0 = hm_now();
    double loss = 0, n = 0, eta = 0;
    for (int64_t step = 0; !rc && step < opt.total; step++) {
        opt.decay_from = opt.total / 3;
        rc = add_clips(r, fresh, err);
        if (rc) break;
        loss += one_step(r, &opt, step);
        n++;
        const double dt = hm_now() - t0, each = dt / (double)(step + 1);
        if (r->minutes > 0 && step >= 5)
            opt.total = HM_MIN(r->steps, HM_MAX(step + 1, (int64_t)(60 * r->minutes / each)));
        eta = each * (double)(opt.total - step - 1);
        char note[160] = "";
        if ((step + 1) % 100 == 0 || step + 1 == opt.total) {
            snprintf(note, sizeof note, "step %lld loss %.3f clips rendered %lld, %.1f samples/s",
                     (long long)step + 1, loss / n, (long long)r->n_rendered, (double)r->batch / each);
            loss = n = 0;
        }
        if (hm_job_step(r->job, "train probe", step + 1, opt.total, eta, note))
            rc = hm_fail(err, HIMMEL_ECANCELLED, "stopped at step %lld; nothing was written",
                         (long long)step + 1);
    }
    return rc;
}

static himmel_status save(probe_run *r, himmel_error *err)
{
    hm_st_writer *w = hm_st_writer_new();
    if (!w) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", r->out);
    char meta[256];
    snprintf(meta, sizeof meta,
             "{\"trainer\":\"himmel train "
             "probe\",\"renderer\":\"%s\",\"seed\":%lld,\"clips\":%lld,\"parameters\":%zu}",
             HM_SCENE_VERSION, (long long)r->seed, (long long)r->n_rendered, hm_params_count(&r->ps));
    himmel_status rc = hm_params_export(&r->ps, w, HM_BF16, err);
    if (!rc) rc = hm_st_add_meta(w, "himmel.probe", meta, err);
    if (!rc) rc = hm_st_write(w, r->out, err);
    hm_st_writer_free(w);
    return rc;
}

/* Accuracy on held-out combinations of facts, by the file that was written. */
static himmel_status measure(probe_run *r, himmel_error *err)
{
    const int64_t n = r->test;
    int64_t asked[HM_N_FACTS] = {0}, right[HM_N_FACTS] = {0};
    uint64_t seed = HM_PROBE_TEST_SEEDS;
    hm_probe *p = NULL;
    himmel_status rc = hm_probe_open(&p, r->out, err);
    for (int64_t at = 0; !rc && at < n; at += 64) {
        const int64_t m = HM_MIN((int64_t)64, n - at);
        uint8_t fact[64][HM_N_FACTS];
        hm_scene s[64];
        for (int64_t i = 0; i < m; i++) hm_held_out_scene(&s[i], &seed);
        int failed = 0;
#pragma omp parallel for schedule(dynamic, 1) reduction(+ : failed)
        for (int64_t i = 0; i < m; i++) /* the pool has done its work: its memory is used again */
            failed += hm_probe_render(&s[i], (double)hm_clip_start(s[i].seed, 1 + HM_PROBE_SECONDS),
                                      r->pool + (size_t)i * HM_PROBE_CLIP_BYTES, NULL) != HIMMEL_OK;
        rc = failed ? hm_fail(err, HIMMEL_ENOMEM, "probe: out of memory for test clips")
                    : hm_probe_look(p, r->pool, m, fact, NULL, err);
        for (int64_t i = 0; !rc && i < m; i++)
            for (int f = 0; f < HM_N_FACTS; f++) {
                if (!(hm_probe_askable(&s[i]) >> f & 1)) continue;
                asked[f]++;
                right[f] += fact[i][f] == s[i].fact[f];
            }
    }
    hm_probe_free(p);
    hm_str said = {r->said, sizeof r->said, 0};
    hm_str_addf(&said, "facts read from %lld held-out clips:", (long long)n);
    for (int f = 0; f < HM_N_FACTS; f++)
        hm_str_addf(&said, " %s %.1f %%", hm_fact_name((hm_fact)f),
                    asked[f] ? 100.0 * (double)right[f] / (double)asked[f] : 0.0);
    if (!rc) hm_job_step(r->job, "train probe", r->steps, r->steps, 0, r->said);
    return rc;
}

static himmel_status run(probe_run *r, himmel_error *err)
{
    const hm_option_spec spec[] = {{"out", HM_O_STR, &r->out, 0, 0},
                                   {"from", HM_O_STR, &r->from, 0, 0},
                                   {"steps", HM_O_INT, &r->steps, 1, 1e7},
                                   {"minutes", HM_O_REAL, &r->minutes, 0, 1e5},
                                   {"batch", HM_O_INT, &r->batch, 2, 256},
                                   {"uses", HM_O_INT, &r->uses, 1, 100},
                                   {"seed", HM_O_INT, &r->seed, 0, 8000},
                                   {"lr", HM_O_REAL, &r->lr, 0, 1},
                                   {"threads", HM_O_INT, &r->threads, 0, 1024},
                                   {"test", HM_O_INT, &r->test, 1, 1e6}};
    himmel_status rc =
        hm_options_parse("train probe", spec, HM_COUNT(spec), r->job->opts, r->job->n_opts, err);
    if (rc) return rc;
    if (!r->out) return hm_fail(err, HIMMEL_EINVAL, "train probe: --out FILE is needed");
    if (r->threads) hm_set_threads((int)r->threads);
    r->pool = malloc((size_t)POOL * HM_PROBE_CLIP_BYTES);
    r->scene = malloc(POOL * sizeof *r->scene);
    r->x = malloc((size_t)r->batch * HM_PROBE_CLIP_INPUT * sizeof *r->x);
    r->labels = malloc((size_t)r->batch * HM_N_FACTS * sizeof *r->labels);
    if (!r->pool || !r->scene || !r->x || !r->labels)
        return hm_fail(err, HIMMEL_ENOMEM, "train probe: out of memory for clips");
    r->next_seed = HM_PROBE_TRAIN_SEEDS + ((uint64_t)r->seed << 30);
    if (r->from && (rc = hm_st_open(&r->start, r->from, err))) return rc;
    hm_params_init(&r->ps, HM_BF16, (uint64_t)r->seed ^ 0x70726f6265ull, r->start);
    const hm_graph_opts go = {.act = HM_BF16, .tape = true, .n_threads = (int)r->threads};
    if ((rc = hm_probe_params(&r->net, hm_params_bind, &r->ps, err)) ||
        (rc = hm_graph_new(&r->g, &go, err)) || (rc = train(r, err)) || (rc = save(r, err)))
        return rc;
    return measure(r, err);
}

himmel_status hm_train_probe_cmd(const hm_job *job, himmel_error *err)
{
    probe_run r = {.job = job, .steps = 2400, .batch = 32, .uses = 2, .seed = 1, .lr = 1e-3, .test = 1000};
    const himmel_status rc = run(&r, err);
    hm_graph_free(r.g);
    hm_params_deinit(&r.ps);
    hm_st_close(r.start);
    free(r.pool);
    free(r.scene);
    free(r.x);
    free(r.labels);
    return rc;
}
