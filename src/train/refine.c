/* refine.c - `himmel train refiner`.   SPDX-License-Identifier: MIT
 *   records (refine_data.c) -> batch of crops -> correction -> squares + l1 |e| against what is missing
 *     -> Muon and AdamW, EMA
 * With --detail the loss also asks for as much fine detail as the footage has (hm_loss_detail).
 * With --films a share of the records is what the transformer of --model makes.
 * Rendering and training take turns on all cores: every record is used `reuse` times on average, then new
 * ones are drawn. A run is its state file (parameters, moments, step); resumed, it makes the records of its
 * ring again and goes on as it would have. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/rng.h"
#include "models/himmel/himmel1.h"
#include "train/eval.h"
#include "train/modelfile.h"
#include "train/options.h"
#include "train/refine.h"
#include "train/train.h"

enum { N_VAL = 24, REPORT = 25 };

typedef struct {
    const char *model, *out, *state, *log;
    int64_t steps, batch, crop, records, seed, val_every, save_every, warmup, threads, width, blocks, width2,
        convs2;
    double minutes, lr, lr_muon, ema, reuse, noise, known, sharp, l1, detail, decay, films;
    bool f32, fresh;
} refine_opts;

typedef struct {
    refine_opts o;
    const hm_job *job;
    hm_himmel1_config cfg;
    hm_himmel1 *model;
    hm_refiner *net;
    hm_params ps;
    hm_pool pool, val;
    hm_crop_opts so;
    hm_graph *g;
    hm_optim opt;
    float *x, *residual, *weight, *picture; /* a batch */
    int64_t step;
    double seconds, peak; /* of training so far, over all runs */
    FILE *log;
} refine_run;

static himmel_status parse(refine_run *r, himmel_error *err)
{
    refine_opts *o = &r->o;
    *o = (refine_opts){.steps = 1000000,
                       .batch = 4,
                       .crop = 64,
                       .records = 128,
                       .seed = 1,
                       .val_every = 500,
                       .save_every = 500,
                       .warmup = 100,
                       .width = 96,
                       .blocks = 3,
                       .width2 = 32,
                       .convs2 = 2,
                       .lr = 5e-4,
                       .lr_muon = 0.01,
                       .ema = 0.998,
                       .reuse = 4,
                       .noise = 0.3,
                       .known = 0.25,
                       .sharp = 0,
                       .l1 = 0,
                       .decay = 0.4};
    const hm_option_spec spec[] = {{"model", HM_O_STR, &o->model, 0, 0},
                                   {"out", HM_O_STR, &o->out, 0, 0},
                                   {"state", HM_O_STR, &o->state, 0, 0},
                                   {"log", HM_O_STR, &o->log, 0, 0},
                                   {"steps", HM_O_INT, &o->steps, 1, 1e9},
                                   {"minutes", HM_O_REAL, &o->minutes, 0, 1e6},
                                   {"batch", HM_O_INT, &o->batch, 1, 256},
                                   {"crop", HM_O_INT, &o->crop, 16, 144},
                                   {"records", HM_O_INT, &o->records, 1, 1e5},
                                   {"seed", HM_O_INT, &o->seed, 0, 1e15},
                                   {"val-every", HM_O_INT, &o->val_every, 1, 1e9},
                                   {"save-every", HM_O_INT, &o->save_every, 1, 1e9},
                                   {"warmup", HM_O_INT, &o->warmup, 1, 1e9},
                                   {"threads", HM_O_INT, &o->threads, 1, 1024},
                                   {"width", HM_O_INT, &o->width, 8, 512},
                                   {"blocks", HM_O_INT, &o->blocks, 1, 64},
                                   {"width2", HM_O_INT, &o->width2, 8, 512},
                                   {"convs2", HM_O_INT, &o->convs2, 1, 16},
                                   {"lr", HM_O_REAL, &o->lr, 0, 1},
                                   {"lr-muon", HM_O_REAL, &o->lr_muon, 0, 1},
                                   {"ema", HM_O_REAL, &o->ema, 0, 1},
                                   {"reuse", HM_O_REAL, &o->reuse, 0.1, 1000},
                                   {"noise", HM_O_REAL, &o->noise, 0, 10},
                                   {"known", HM_O_REAL, &o->known, 0, 1},
                                   {"sharp", HM_O_REAL, &o->sharp, 0, 100},
                                   {"l1", HM_O_REAL, &o->l1, 0, 100},
                                   {"detail", HM_O_REAL, &o->detail, 0, 100},
                                   {"decay", HM_O_REAL, &o->decay, 0, 1},
                                   {"films", HM_O_REAL, &o->films, 0, 1},
                                   {"f32", HM_O_FLAG, &o->f32, 0, 0},
                                   {"fresh", HM_O_FLAG, &o->fresh, 0, 0}};
    himmel_status rc =
        hm_options_parse("train refiner", spec, HM_COUNT(spec), r->job->opts, r->job->n_opts, err);
    if (rc) return rc;
    if (!o->model || !o->out || !o->state)
        return hm_fail(err, HIMMEL_EINVAL,
                       "train refiner: --model FILE (for its codec), --out FILE and --state FILE are needed");
    if (o->crop % 2) return hm_fail(err, HIMMEL_EINVAL, "train refiner: --crop %d is not even", (int)o->crop);
    return HIMMEL_OK;
}

/* Muon for every convolution but the last, whose step is a tenth: a correction is a few hundredths, and at
 * the others' step its weights jump past that size at once. Measured after 300 steps of 4 crops of 48x48:
 * AdamW +0.3 dB, this +2.7 dB (the same 24 records throughout); branches that start at a fifth keep the first
 * steps calm. */
void hm_refiner_rates(hm_params *ps, bool fresh)
{
    for (size_t i = 0; i < ps->n; i++) {
        hm_param *p = ps->p[i];
        if (strstr(p->name, "proj_out")) p->lr_scale = 0.1f;
        else if (p->work.nd == 4) p->kind = HM_OPT_MUON;
        if (fresh && p->work.nd == 4 && (strstr(p->name, ".conv2.") || strstr(p->name, ".convs2.")))
            for (size_t k = 0; k < p->n; k++) p->ema[k] = p->master[k] *= 0.2f;
    }
    hm_params_sync(ps);
}

hm_optim hm_refiner_optim(void)
{
    hm_optim o = hm_optim_default();
    o.clip = 0.05; /* twice what is usual: only spikes */
    o.beta2 = 0.99;
    o.weight_decay = 0;
    o.eps = 1e-10; /* errors of a hundredth: gradients are small */
    return o; /* no decay by steps: it is by the time that is left */
}

/* The codec and, if it has one and it is wanted, the refiner of --model; else a new refiner. */
static himmel_status open_model(refine_run *r, himmel_error *err)
{
    himmel_status rc = hm_eval_open_model(&r->model, r->o.model, r->o.films > 0, err);
    if (rc) return rc;
    const hm_st *st = r->model->st;
    const char *json = hm_st_meta(st, "config");
    r->cfg = hm_himmel1_config_default();
    if (json && (rc = hm_himmel1_config_parse(&r->cfg, json, r->o.model, err))) return rc;
    const bool old = !r->o.fresh && hm_st_find(st, "refiner.proj_out.weight");
    if (!old)
        r->cfg.refiner =
            (hm_refiner_config){(int)r->o.width, (int)r->o.blocks, (int)r->o.width2, (int)r->o.convs2};
    hm_params_init(&r->ps, r->o.f32 ? HM_F32 : HM_BF16, (uint64_t)r->o.seed, old ? st : NULL);
    rc = hm_refiner_init(&r->net, &r->cfg.refiner, err);
    if (!rc) rc = hm_refiner_params(r->net, "refiner.", hm_params_bind, &r->ps, err);
    if (!rc) hm_refiner_rates(&r->ps, !old);
    return rc;
}

static himmel_status load_state(refine_run *r, himmel_error *err)
{
    struct stat sb;
    if (stat(r->o.state, &sb)) return HIMMEL_OK; /* a new run */
    hm_st *st;
    himmel_status rc = hm_st_open(&st, r->o.state, err);
    if (rc) return rc;
    rc = hm_params_restore(&r->ps, st, err);
    const char *at = hm_st_meta(st, "progress");
    long long step = 0;
    if (!rc && (!at || sscanf(at, "%lld %lf", &step, &r->seconds) != 2))
        rc = hm_fail(err, HIMMEL_EFORMAT, "%s: not the state of a training run (no progress in its header)",
                     r->o.state);
    r->step = step;
    hm_st_close(st);
    return rc;
}

static himmel_status save_state(refine_run *r, himmel_error *err)
{
    hm_st_writer *w = hm_st_writer_new();
    if (!w) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", r->o.state);
    char at[64];
    snprintf(at, sizeof at, "%lld %.3f", (long long)r->step, r->seconds);
    himmel_status rc = hm_params_save(&r->ps, w, err);
    if (!rc) rc = hm_st_add_meta(w, "progress", at, err);
    if (!rc) rc = hm_st_write(w, r->o.state, err);
    hm_st_writer_free(w);
    return rc;
}

/* The released form: EMA in bf16, everything else of --model, the config with this refiner's sizes. */
static himmel_status save_model(refine_run *r, himmel_error *err)
{
    static const char *const mine[] = {"refiner.", NULL}, *const meta[] = {"config", NULL};
    hm_st_writer *w = hm_st_writer_new();
    char *config = hm_himmel1_config_format(&r->cfg), note[160];
    himmel_status rc = w && config ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", r->o.out);
    if (!rc) rc = hm_model_copy(w, r->model->st, mine, meta, err);
    if (!rc) rc = hm_params_export(&r->ps, w, r->ps.dtype, err);
    if (!rc) rc = hm_st_add_meta(w, "config", config, err);
    snprintf(note, sizeof note,
             "{\"steps\":%lld,\"samples\":%lld,\"seconds\":%.0f,\"seed\":%lld,\"renderer\":\"%s\"}",
             (long long)r->step, (long long)(r->step * r->o.batch), r->seconds, (long long)r->o.seed,
             HM_SCENE_VERSION);
    if (!rc) rc = hm_st_add_meta(w, "himmel.refiner_training", note, err);
    if (!rc) rc = hm_st_write(w, r->o.out, err);
    hm_st_writer_free(w);
    free(config);
    hm_params_sync(&r->ps); /* export put the EMA into the working copies */
    return rc;
}

/* n samples, number first on, of pool into the batch buffers. */
static himmel_status fill_batch(refine_run *r, const hm_pool *pool, const hm_crop_opts *so, uint64_t seed,
                                uint64_t first, int64_t n, himmel_error *err)
{
    const size_t C = (size_t)r->o.crop, nx = C * C * HM_REFINER_IN, nr = 4 * C * C * HM_REFINER_OUT,
                 nw = 4 * C * C;
    himmel_status rc = HIMMEL_OK;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        himmel_error mine = {0};
        const himmel_status one =
            hm_pool_sample(pool, so, seed, first + (uint64_t)i, r->x + (size_t)i * nx,
                           r->residual + (size_t)i * nr, r->weight + (size_t)i * nw, r->picture + (size_t)i * nr, &mine);
        if (one) {
#pragma omp critical(hm_refine_error)
            {
                rc = one;
                if (err) *err = mine;
            }
        }
    }
    return rc;
}

static hm_tensor *forward(refine_run *r, hm_graph *g, int64_t B)
{
    const int64_t C = r->o.crop;
    return hm_refiner_correction(g, r->net, hm_wrap(g, HM_F32, HM_DIMS(B, C, C, HM_REFINER_IN), r->x));
}

/* Squared steps between neighbours in the picture px [2C][2C][48], at full size and at a quarter of it, added to sum. */
static void add_gradient(const refine_run *r, const float *px, float *scratch, hm_film_sums sum[2])
{
    const int n = 2 * (int)r->o.crop, side = 4 * n;
    float *small = scratch + (size_t)side * side * 3;
    for (int i = 0; i < n * n; i++)
        for (int k = 0; k < HM_REFINER_OUT; k++) {
            const int y = i / n * 4 + k / 4 % 4, x = i % n * 4 + k % 4;
            scratch[((size_t)y * side + x) * 3 + k / 16] = px[(size_t)i * HM_REFINER_OUT + k];
        }
    hm_film_add(&sum[0], scratch, 1, side, side, 0, HM_REFINER_UP * HM_BLOCK);
    hm_box_average(scratch, side, side, 4, small);
    hm_film_add(&sum[1], small, 1, n, n, 0, 2 * HM_BLOCK);
}

typedef struct {
    double before, after;  /* dB, enlarged and refined */
    double gradient[2];    /* energy relative to footage: full size, a quarter of it */
} val_figures;

/* Held-out crops, EMA weights; the same samples every time. */
static himmel_status validate(refine_run *r, double noise, val_figures *v, himmel_error *err)
{
    const hm_crop_opts so = {.noise = noise};
    const hm_graph_opts go = {.act = r->ps.dtype, .n_threads = (int)r->o.threads};
    const size_t n = (size_t)(4 * r->o.crop * r->o.crop * HM_REFINER_OUT);
    hm_film_sums real[2] = {0}, refined[2] = {0};
    hm_graph *g;
    float *scratch = malloc(5 * n * sizeof *scratch), *px = scratch + 3 * n; /* and two pictures */
    himmel_status rc = scratch ? hm_graph_new(&g, &go, err) : hm_fail(err, HIMMEL_ENOMEM, "train refiner: out of memory");
    if (rc) {
        free(scratch);
        return rc;
    }
    hm_params_use_ema(&r->ps, true);
    double a = 0, b = 0;
    for (int i = 0; i < N_VAL && !rc; i++) {
        hm_graph_reset(g);
        rc = fill_batch(r, &r->val, &so, 77, (uint64_t)i, 1, err);
        if (rc) break;
        hm_tensor *y = hm_cast(g, forward(r, g, 1), HM_F32);
        for (size_t k = 0; k < n; k++) {
            const float e = r->residual[k], d = e - ((const float *)y->data)[k];
            b += (double)(e * e);
            a += (double)(d * d);
            px[k] = r->picture[k];
            px[n + k] = r->picture[k] - d;
        }
        add_gradient(r, px, scratch, real);
        add_gradient(r, px + n, scratch, refined);
    }
    v->before = -10 * log10(b / (double)(n * N_VAL) + 1e-12);
    v->after = -10 * log10(a / (double)(n * N_VAL) + 1e-12);
    for (int k = 0; k < 2; k++) v->gradient[k] = hm_film_look(&refined[k]).gradient / hm_film_look(&real[k]).gradient;
    hm_params_sync(&r->ps);
    hm_graph_free(g);
    free(scratch);
    return rc;
}

typedef struct {
    double t0, loss, norm, render_s, fill_s;
    uint64_t flops;
    int64_t n;
} meter;

static void report(refine_run *r, meter *m, char *note, size_t cap)
{
    const double dt = hm_now() - m->t0, work = dt - m->render_s - m->fill_s, rate = (double)m->flops / work;
    snprintf(note, cap,
             "step %lld loss %.6f grad %.4f samples/s %.1f, render %.0f %%, batches %.0f %%, network %.0f "
             "GFLOPS (%.0f %% of peak) %.0f s",
             (long long)r->step, m->loss / (double)m->n, m->norm / (double)m->n,
             (double)(m->n * r->o.batch) / dt, 100 * m->render_s / dt, 100 * m->fill_s / dt, rate * 1e-9,
             100 * rate / r->peak, r->seconds);
    hm_log(r->log, "%s\n", note);
    *m = (meter){.t0 = hm_now()};
}

/* Records that a run has made before step s: the ring's start, then one per reuse * frames samples. */
static int64_t records_at(const refine_run *r, int64_t s)
{
    return r->o.records / 4 + 1 + (int64_t)((double)(s * r->o.batch) / (r->o.reuse * HM_RECORD_FRAMES));
}

static himmel_status one_step(refine_run *r, meter *m, double left, himmel_error *err)
{
    const int64_t C = r->o.crop, B = r->o.batch;
    const double t0 = hm_now();
    enum { TURN = 32 }; /* steps between looks at the ring, so that records come in numbers */
    himmel_status rc = r->step % TURN == 0 || r->pool.made == 0
                           ? hm_pool_fill(&r->pool, records_at(r, r->step / TURN * TURN), err)
                           : 0;
    const double t1 = hm_now();
    if (!rc)
        rc = fill_batch(r, &r->pool, &r->so, hm_mix((uint64_t)r->o.seed, 1), (uint64_t)(r->step * B), B, err);
    if (rc) return rc;
    const double t2 = hm_now();
    hm_graph_reset(r->g);
    hm_params_zero_grad(&r->ps);
    const hm_tensor *target = hm_wrap(r->g, HM_F32, HM_DIMS(B, 2 * C, 2 * C, HM_REFINER_OUT), r->residual);
    hm_tensor *y = forward(r, r->g, B), *loss = hm_loss_mse(r->g, y, target, r->weight, NULL, (float)r->o.l1);
    if (r->o.detail > 0)
        loss = hm_add_t(r->g, loss, hm_scale_t(r->g, hm_loss_detail(r->g, y, r->residual, r->picture, 4), (float)r->o.detail));
    hm_backward(r->g, loss, 1.0f);
    hm_optim o = r->opt;
    const double decay = left < r->o.decay ? fmax(left / r->o.decay, 0.02) : 1;
    o.lr_adamw *= decay;
    o.lr_muon *= decay;
    m->norm += hm_optim_step(&o, &r->ps, r->step);
    m->loss += (double)*(float *)loss->data;
    m->flops += hm_flops(r->g);
    m->render_s += t1 - t0;
    m->fill_s += t2 - t1;
    m->n++;
    r->step++;
    r->seconds += hm_now() - t0;
    return HIMMEL_OK;
}

static himmel_status checkpoint(refine_run *r, bool val, bool save, himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    if (val) {
        val_figures a, b;
        rc = validate(r, 0, &a, err);
        if (!rc) rc = validate(r, 0.25, &b, err);
        if (!rc)
            hm_log(r->log,
                "validation at step %lld: enlarged %.3f dB, refined %.3f dB (%+.3f); with errors %.3f, %.3f "
                "(%+.3f); gradient energy %.2f, %.2f (a quarter of the size: %.2f, %.2f) of footage\n",
                (long long)r->step, a.before, a.after, a.after - a.before, b.before, b.after, b.after - b.before, a.gradient[0],
                b.gradient[0], a.gradient[1], b.gradient[1]);
    }
    if (!rc && save) rc = save_state(r, err);
    if (!rc && save) rc = save_model(r, err);
    return rc;
}

static himmel_status loop(refine_run *r, himmel_error *err)
{
    const double start = hm_now();
    const int64_t first = r->step;
    char note[256] = "";
    meter m = {.t0 = start};
    himmel_status rc = HIMMEL_OK;
    bool stop = false;
    while (!rc && !stop && r->step < r->o.steps) {
        const double spent = hm_now() - start, limit = 60 * r->o.minutes;
        if (limit > 0 && spent >= limit) break;
        const double left = limit > 0 ? 1 - spent / limit : 1 - (double)r->step / (double)r->o.steps;
        rc = one_step(r, &m, left, err);
        if (rc) break;
        if (r->step % REPORT == 0) report(r, &m, note, sizeof note);
        rc = checkpoint(r, r->step % r->o.val_every == 0, r->step % r->o.save_every == 0, err);
        const double each = (hm_now() - start) / (double)(r->step - first);
        double eta = each * (double)(r->o.steps - r->step);
        if (limit > 0) eta = fmin(eta, limit - (hm_now() - start));
        stop = hm_job_step(r->job, "train refiner", r->step, r->o.steps, eta, note);
    }
    if (!rc) rc = checkpoint(r, true, true, err);
    if (!rc && stop)
        rc = hm_fail(err, HIMMEL_ECANCELLED, "stopped at step %lld; the state is saved", (long long)r->step);
    return rc;
}

static himmel_status prepare(refine_run *r, himmel_error *err)
{
    const int C = (int)r->o.crop;
    const size_t B = (size_t)r->o.batch, n = (size_t)C * C;
    himmel_status rc = open_model(r, err);
    if (!rc) rc = load_state(r, err);
    if (!rc) rc = hm_pool_init(&r->pool, r->model->codec, C, (int)r->o.records, (uint64_t)r->o.seed, err);
    if (!rc) rc = hm_pool_init(&r->val, r->model->codec, C, N_VAL, 0x76616c, err);
    if (rc) return rc;
    r->val.held_out = true;
    if (r->o.films > 0) r->pool.model = r->model, r->pool.films = r->o.films;
    rc = hm_pool_fill(&r->val, N_VAL, err);
    if (rc) return rc;
    r->x = malloc(B * n * HM_REFINER_IN * sizeof *r->x);
    r->residual = malloc(B * 4 * n * HM_REFINER_OUT * sizeof *r->residual);
    r->weight = malloc(B * 4 * n * sizeof *r->weight);
    r->picture = malloc(B * 4 * n * HM_REFINER_OUT * sizeof *r->picture);
    if (!r->x || !r->residual || !r->weight || !r->picture)
        return hm_fail(err, HIMMEL_ENOMEM, "train refiner: out of memory");
    r->so = (hm_crop_opts){.noise = r->o.noise, .known = r->o.known, .sharp = (float)r->o.sharp};
    r->opt = hm_refiner_optim();
    r->opt.lr_adamw = r->o.lr;
    r->opt.lr_muon = r->o.lr_muon;
    r->opt.ema = r->o.ema;
    r->opt.warmup = r->o.warmup;
    r->peak = hm_measure_peak(r->ps.dtype);
    const hm_graph_opts go = {.act = r->ps.dtype, .tape = true, .n_threads = (int)r->o.threads};
    return hm_graph_new(&r->g, &go, err);
}

himmel_status hm_train_refiner_cmd(const hm_job *job, himmel_error *err)
{
    refine_run *r = calloc(1, sizeof *r);
    if (!r) return hm_fail(err, HIMMEL_ENOMEM, "train refiner: out of memory");
    r->job = job;
    himmel_status rc = parse(r, err);
    if (!rc && r->o.log && !(r->log = fopen(r->o.log, "a")))
        rc = hm_fail(err, HIMMEL_EIO, "%s: cannot be written", r->o.log);
    if (!rc) rc = prepare(r, err);
    if (!rc) {
        hm_log(r->log,
            "refiner: %zu parameters, width %d, %d blocks, then %d channels, %d convolutions; peak %.0f "
            "GFLOPS\n",
            hm_params_count(&r->ps), r->cfg.refiner.width, r->cfg.refiner.n_blocks, r->cfg.refiner.width2,
            r->cfg.refiner.n_convs2, r->peak * 1e-9);
        rc = loop(r, err);
    }
    if (r->log) fclose(r->log);
    hm_graph_free(r->g);
    free(r->x);
    free(r->residual);
    free(r->weight);
    free(r->picture);
    hm_pool_deinit(&r->pool);
    hm_pool_deinit(&r->val);
    hm_refiner_free(r->net);
    hm_params_deinit(&r->ps);
    hm_himmel1_close(r->model);
    free(r);
    return rc;
}
