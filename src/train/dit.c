/* dit.c - `himmel train dit`: the transformer, with the text encoder trained on.   SPDX-License-Identifier: MIT
 *
 *   shards of coefficients -batch.c-> x_t, levels, captions -T5-> text -DiT-> velocity -> weighted MSE -> Muon/AdamW, EMA
 *
 * A run is its state file: parameters, moments, step. Batches are functions of (seed, step), so a resumed run repeats an
 * uninterrupted one as long as the shards are the same. The released form (EMA in bf16) is written beside it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <omp.h>

#include "base/rng.h"
#include "models/himmel/himmel1.h"
#include "train/batch.h"
#include "train/modelfile.h"
#include "train/optim.h"
#include "train/options.h"
#include "train/train.h"

/* The head that tells the subject's map, in training only. Its name: weights that end so begin at 0. */
#define LAYOUT "model.diffusion_model." HM_TRAIN_ONLY "layout.proj_out"
static const char DIT[] = "model.diffusion_model.", TEXT[] = "text_encoder.";

typedef struct {
    const char *model, *out, *state, *data, *val, *log;
    int64_t steps, batch_tokens, seed, val_every, save_every, layers, heads, threads, decay_from, warmup;
    double minutes, images, lr, lr_muon, text_lr, ema, known, t_mean, t_scale, subject, layout;
    bool f32, fresh;
} dit_opts;

typedef struct {
    dit_opts o;
    const hm_job *job;
    hm_himmel1_config cfg;
    hm_st *model;
    hm_tokenizer *tok;
    hm_codec *codec;
    hm_dit dit;
    hm_t5 t5;
    hm_tensor *layout_w, *layout_b; /* [1,D], [1]: in training only */
    hm_params ps;
    hm_cache data, val;
    bool has_val;
    hm_batch batch;
    hm_graph *g;
    hm_optim opt;
    hm_batch_opts bo;
    int64_t step, samples; /* done so far, over all runs of this state */
    double seconds;        /* of the whole machine's time, over all runs */
    hm_history before;     /* what the transformer of --model had behind it */
    double peak;
    float best_val;
    char codec_hash[65];
    FILE *log;
} dit_run;

static himmel_status parse(dit_run *r, himmel_error *err)
{
    dit_opts *o = &r->o;
    r->before.manifest = "";
    *o = (dit_opts){.steps = 1000000, .batch_tokens = 3456, .seed = 1, .val_every = 250, .save_every = 500, .layers = 8,
                    .heads = 5, .warmup = 50, .decay_from = 0, .images = 0.5, .lr = 1e-3,
                    .lr_muon = 0.02, .ema = 0.999, .known = 0.5, .t_mean = 1.5, .t_scale = 1.8, .subject = 1, .layout = 0.2};
    const hm_option_spec spec[] = {
        {"model", HM_O_STR, &o->model, 0, 0}, {"out", HM_O_STR, &o->out, 0, 0}, {"state", HM_O_STR, &o->state, 0, 0},
        {"data", HM_O_STR, &o->data, 0, 0}, {"val", HM_O_STR, &o->val, 0, 0}, {"log", HM_O_STR, &o->log, 0, 0},
        {"steps", HM_O_INT, &o->steps, 1, 1e9}, {"minutes", HM_O_REAL, &o->minutes, 0, 1e6},
        {"batch-tokens", HM_O_INT, &o->batch_tokens, 16, 1e6}, {"seed", HM_O_INT, &o->seed, 0, 1e15},
        {"val-every", HM_O_INT, &o->val_every, 1, 1e9}, {"save-every", HM_O_INT, &o->save_every, 1, 1e9},
        {"layers", HM_O_INT, &o->layers, 1, 64}, {"heads", HM_O_INT, &o->heads, 1, 64},
        {"images", HM_O_REAL, &o->images, 0, 1}, {"lr", HM_O_REAL, &o->lr, 0, 1}, {"lr-muon", HM_O_REAL, &o->lr_muon, 0, 1},
        {"ema", HM_O_REAL, &o->ema, 0, 1}, {"known", HM_O_REAL, &o->known, 0, 1}, {"warmup", HM_O_INT, &o->warmup, 1, 1e9},
        {"decay-from", HM_O_INT, &o->decay_from, 0, 1e9}, {"threads", HM_O_INT, &o->threads, 1, 1024},
        {"t-mean", HM_O_REAL, &o->t_mean, -5, 5}, {"t-scale", HM_O_REAL, &o->t_scale, 0.1, 5},
        {"text-lr", HM_O_REAL, &o->text_lr, 0, 1}, {"subject", HM_O_REAL, &o->subject, 1, 100}, {"layout", HM_O_REAL, &o->layout, 0, 1000},
        {"f32", HM_O_FLAG, &o->f32, 0, 0}, {"fresh", HM_O_FLAG, &o->fresh, 0, 0}};
    const himmel_status rc = hm_options_parse("train dit", spec, HM_COUNT(spec), r->job->opts, r->job->n_opts, err);
    if (rc) return rc;
    if (!o->model || !o->out || !o->state || !o->data)
        return hm_fail(err, HIMMEL_EINVAL, "train dit: --model (with codec and text encoder), --data, --state and --out are needed");
    return HIMMEL_OK;
}

/* The parts that training stands on come from --model; the transformer too, if it has one of this size (or --fresh). */
static himmel_status open_parts(dit_run *r, himmel_error *err)
{
    himmel_status rc = hm_st_open(&r->model, r->o.model, err);
    const hm_tensor *piece;
    if (rc || (rc = hm_st_need(r->model, "tokenizer.spiece", 1, (int64_t[]){-1}, &piece, err)) ||
        (rc = hm_tok_parse(&r->tok, piece->data, (size_t)hm_numel(piece), r->o.model, err)) ||
        (rc = hm_codec_load(&r->codec, r->model, err)) ||
        (rc = hm_himmel1_config_parse(&r->cfg, hm_st_meta(r->model, "config"), r->o.model, err)))
        return rc;
    hm_codec_hash(r->model, r->codec_hash);
    r->cfg.dit.place_features = HM_H1_PLACE; /* weights from before there were any learn them on top */
    r->cfg.dit.caption_modulation = r->cfg.dit.local_mixing = true;
    const bool has_dit = hm_st_find(r->model, "model.diffusion_model.proj_out.weight") && !r->o.fresh;
    if (!has_dit) { /* a new transformer */
        r->cfg.dit.n_layers = (int)r->o.layers;
        r->cfg.dit.n_heads = (int)r->o.heads;
        r->cfg.dit.in_channels = r->cfg.dit.out_channels = hm_codec_channels(r->codec);
    }
    hm_params_init(&r->ps, r->o.f32 ? HM_F32 : HM_BF16, (uint64_t)r->o.seed, r->model);
    if ((rc = hm_t5_init(&r->t5, &r->cfg.t5, err)) ||
        (rc = hm_t5_params(&r->t5, TEXT, hm_params_bind, &r->ps, err)))
        return rc;
    for (size_t i = 0; i < r->ps.n; i++) hm_params_slow(r->ps.p[i], (float)r->o.text_lr);
    if (!has_dit) r->ps.from = NULL;
    else if ((rc = hm_history_read(&r->before, r->model, err))) return rc;
    if ((rc = hm_dit_init(&r->dit, &r->cfg.dit, err))) return rc;
    rc = hm_dit_params(&r->dit, DIT, hm_params_bind, &r->ps, err);
    const int64_t D = (int64_t)r->cfg.dit.n_heads * r->cfg.dit.head_dim;
    if (!rc) rc = hm_params_bind(&r->ps, LAYOUT ".weight", HM_DIMS(1, D), &r->layout_w, err);
    if (!rc) rc = hm_params_bind(&r->ps, LAYOUT ".bias", HM_DIMS(1), &r->layout_b, err);
    return rc;
}

static himmel_status open_data(dit_run *r, himmel_error *err)
{
    const int K = hm_codec_channels(r->codec);
    himmel_status rc = hm_cache_open(&r->data, r->o.data, K, r->codec_hash, err);
    if (!rc && r->o.val) rc = hm_cache_open(&r->val, r->o.val, K, r->codec_hash, err);
    if (rc) return rc;
    r->has_val = r->o.val != NULL;
    int64_t most = 0;
    for (size_t i = 0; i < r->data.n_groups; i++) {
        const hm_group *g = &r->data.group[i];
        most = HM_MAX(most, g->T * g->gh * g->gw);
    }
    for (size_t i = 0; i < r->val.n_groups; i++)
        most = HM_MAX(most, r->val.group[i].T * r->val.group[i].gh * r->val.group[i].gw);
    most += HM_BATCH_MAX_EXTRA * HM_H1_MAX_BLOCKS;
    const int64_t max_B = HM_MAX(1, r->o.batch_tokens / 64);
    const int64_t rows = HM_MAX(r->o.batch_tokens, most);
    return hm_batch_init(&r->batch, max_B, HM_MAX(most, rows / max_B + 1), K, r->cfg.text_len, err);
}

static himmel_status load_state(dit_run *r, himmel_error *err)
{
    struct stat sb;
    if (stat(r->o.state, &sb)) return HIMMEL_OK; /* a new run */
    hm_st *st;
    himmel_status rc = hm_st_open(&st, r->o.state, err);
    if (rc) return rc;
    rc = hm_params_restore(&r->ps, st, err);
    const char *at = hm_st_meta(st, "progress");
    long long step = 0, samples = 0;
    if (!rc && (!at || sscanf(at, "%lld %lld %lf", &step, &samples, &r->seconds) != 3))
        rc = hm_fail(err, HIMMEL_EFORMAT, "%s: not the state of a training run (no progress in its header)", r->o.state);
    r->step = step;
    r->samples = samples;
    hm_st_close(st);
    return rc;
}

static himmel_status save_state(dit_run *r, himmel_error *err)
{
    hm_st_writer *w = hm_st_writer_new();
    if (!w) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", r->o.state);
    char at[96];
    snprintf(at, sizeof at, "%lld %lld %.3f", (long long)r->step, (long long)r->samples, r->seconds);
    himmel_status rc = hm_params_save(&r->ps, w, err);
    if (!rc) rc = hm_st_add_meta(w, "progress", at, err);
    if (!rc) rc = hm_st_write(w, r->o.state, err);
    hm_st_writer_free(w);
    return rc;
}

/* The released form: EMA in bf16 with everything else of --model, config, manifest of the data and its hash. */
static himmel_status save_model(dit_run *r, himmel_error *err)
{
    static const char *const mine[] = {"model.diffusion_model.", "text_encoder.", NULL};
    static const char *const meta[] = {"config", "himmel.data_manifest", "himmel.data_manifest_sha256", "himmel.training", NULL};
    hm_st_writer *w = hm_st_writer_new();
    char *config = hm_himmel1_config_format(&r->cfg), *manifest = hm_manifest_union(r->before.manifest, hm_cache_manifest(&r->data));
    char sha[65], training[256];
    himmel_status rc = w && config && manifest ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", r->o.out);
    if (!rc) rc = hm_model_copy(w, r->model, mine, meta, err);
    if (!rc) rc = hm_params_export(&r->ps, w, r->ps.dtype, err);
    if (!rc) {
        hm_text_sha256(manifest, sha);
        snprintf(training, sizeof training,
                 "{\"trainer\":\"himmel train dit\",\"steps\":%lld,\"samples\":%lld,\"seconds\":%.0f,\"parameters\":%zu}",
                 (long long)(r->before.steps + r->step), (long long)(r->before.samples + r->samples),
                 r->before.seconds + r->seconds, hm_params_count(&r->ps));
        rc = hm_st_add_meta(w, "config", config, err);
    }
    if (!rc) rc = hm_st_add_meta(w, "himmel.data_manifest", manifest, err);
    if (!rc) rc = hm_st_add_meta(w, "himmel.data_manifest_sha256", sha, err);
    if (!rc) rc = hm_st_add_meta(w, "himmel.training", training, err);
    if (!rc) rc = hm_st_write(w, r->o.out, err);
    hm_st_writer_free(w);
    free(config);
    free(manifest);
    hm_params_sync(&r->ps); /* export put the EMA into the working copies */
    return rc;
}

/* Forward of the batch: -> loss (scalar on r->g), with that of the subject's map if asked. */
static hm_tensor *forward(dit_run *r, bool layout)
{
    hm_batch *b = &r->batch;
    hm_graph *g = r->g;
    const int64_t D = (int64_t)r->cfg.dit.n_heads * r->cfg.dit.head_dim;
    hm_tensor *cosine = hm_new(g, HM_F32, HM_DIMS(1, b->N, D / 2)), *sine = hm_new(g, HM_F32, HM_DIMS(1, b->N, D / 2));
    hm_dit_rope(&r->cfg.dit, (const double(*)[3])b->pos, b->N, cosine->data, sine->data);
    hm_tensor *x = hm_cast(g, hm_wrap(g, HM_F32, HM_DIMS(b->B, b->N, b->K), b->x), hm_act(g));
    hm_tensor *half = NULL;
    hm_tensor *text = hm_t5_forward(g, &r->t5, b->ids, b->mask, b->B, b->M);
    const hm_dit_input in = {.x = x, .levels = b->levels, .n_levels = 2 * b->B, .row = b->row, .cosine = cosine,
                             .sine = sine, .place = b->place, .grid = {b->T, b->gh, b->gw}, .text = text,
                             .tap = layout ? HM_MAX(1, r->cfg.dit.n_layers / 2) : 0, .tapped = &half,
                             .text_mask = hm_wrap(g, HM_F32, HM_DIMS(b->B, b->M), b->text_mask)};
    hm_tensor *v = hm_dit_forward(g, &r->dit, &in);
    hm_tensor *loss = hm_loss_mse(g, v, hm_wrap(g, HM_F32, HM_DIMS(b->B, b->N, b->K), b->target), b->weight, NULL, 0);
    if (!half) return loss;
    /* Where the subject will be, from the features halfway: "on the left" moves a few blocks in hundreds, which the velocity's
     * loss hardly shows. */
    for (int64_t i = 0; i < b->B * b->N; i++) b->share_weight[i] *= (float)r->o.layout;
    hm_tensor *map = hm_linear(g, hm_rmsnorm(g, half, NULL, r->cfg.dit.norm_eps), r->layout_w, r->layout_b);
    return hm_add_t(g, loss, hm_loss_mse(g, map, hm_wrap(g, HM_F32, HM_DIMS(b->B, b->N, 1), b->share), b->share_weight, NULL, 0));
}

static int64_t tokens(const hm_group *g)
{
    return g->n * g->T * g->gh * g->gw;
}

static int64_t batch_size(const dit_run *r, const hm_group *g)
{
    return HM_MAX(1, HM_MIN(r->batch.max_B, r->o.batch_tokens / (g->T * g->gh * g->gw)));
}

/* Images or clips by --images, then a group by its number of tokens: a batch holds few long clips. */
static const hm_group *pick_group(const dit_run *r)
{
    hm_rng rng = hm_rng_at(hm_mix((uint64_t)r->o.seed, 0x67726f7570ull), (uint64_t)r->step);
    int64_t n[2] = {0, 0};
    for (size_t i = 0; i < r->data.n_groups; i++) n[r->data.group[i].T > 1] += tokens(&r->data.group[i]);
    const int clips = n[0] == 0 || (n[1] > 0 && hm_rng_float(&rng) >= (float)r->o.images);
    int64_t at = (int64_t)(hm_rng_u64(&rng) % (uint64_t)n[clips]);
    const hm_group *last = NULL;
    for (size_t i = 0; i < r->data.n_groups; i++) {
        const hm_group *g = &r->data.group[i];
        if ((g->T > 1) != clips) continue;
        last = g;
        if ((at -= tokens(g)) < 0) break;
    }
    return last;
}

/* Validation with the EMA: the same noise, captions and clips every time, at five noise levels, per shape of clip. */
static float validate(dit_run *r)
{
    static const double level[] = {0.2, 0.5, 0.8, 0.95, 1.0};
    hm_graph *train = r->g;
    const hm_graph_opts go = {.act = r->ps.dtype, .n_threads = (int)r->o.threads};
    if (hm_graph_new(&r->g, &go, NULL)) {
        r->g = train;
        return NAN;
    }
    hm_params_use_ema(&r->ps, true);
    double all = 0;
    for (size_t i = 0; i < r->val.n_groups; i++) {
        const hm_group *g = &r->val.group[i];
        hm_log(r->log, "  val %dx%d T=%d:", (int)g->gw, (int)g->gh, (int)g->T);
        double sum = 0;
        for (size_t k = 0; k < HM_COUNT(level); k++) {
            hm_batch_opts bo = r->bo;
            bo.fixed_t = level[k];
            bo.drop_prompt = bo.drop_fact = 0;
            double part = 0;
            const int rounds = g->T > 1 ? 4 : 3;
            for (int j = 0; j < rounds; j++) {
                hm_graph_reset(r->g);
                hm_batch_fill(&r->batch, &r->val, g, hm_codec_parity(r->codec), r->tok, &bo,
                              HM_MIN(g->n, batch_size(r, g)), 99, (int64_t)(k * 16) + j);
                part += (double)*(float *)forward(r, false)->data / rounds;
            }
            hm_log(r->log, " t%.2f %.4f", level[k], part);
            sum += part / HM_COUNT(level);
        }
        hm_log(r->log, " mean %.4f\n", sum);
        all += sum / (double)r->val.n_groups;
    }
    hm_params_sync(&r->ps);
    hm_graph_free(r->g);
    r->g = train;
    return (float)all;
}

typedef struct {
    double t0, loss, norm, fill_s;
    uint64_t flops;
    int64_t n, samples;
} meter;

static void report(dit_run *r, meter *m, char *note, size_t cap)
{
    const double dt = hm_now() - m->t0, rate = (double)m->flops / dt;
    snprintf(note, cap, "step %lld loss %.4f grad %.2f lr %.4f samples/s %.1f GFLOPS %.0f (%.0f %% of peak) data %.0f %% %.0f s",
             (long long)r->step, m->loss / (double)m->n, m->norm / (double)m->n, hm_optim_lr_factor(&r->opt, r->step),
             (double)m->samples / dt, rate * 1e-9, 100 * rate / r->peak, 100 * m->fill_s / dt, r->seconds);
    hm_log(r->log, "%s\n", note);
    *m = (meter){.t0 = hm_now()};
}

/* Seconds of the whole machine: processor time over its cores, so that pauses and other programs do not count. */
static double machine_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return ((double)t.tv_sec + 1e-9 * (double)t.tv_nsec) / omp_get_num_procs();
}

static himmel_status one_step(dit_run *r, meter *m, himmel_error *err)
{
    const hm_group *g = pick_group(r);
    const int64_t B = batch_size(r, g);
    const double t0 = hm_now(), m0 = machine_seconds();
    hm_batch_fill(&r->batch, &r->data, g, hm_codec_parity(r->codec), r->tok, &r->bo, B, (uint64_t)r->o.seed, r->step);
    m->fill_s += hm_now() - t0;
    hm_graph_reset(r->g);
    hm_params_zero_grad(&r->ps);
    hm_tensor *loss = forward(r, r->o.layout > 0);
    hm_backward(r->g, loss, 1.0f);
    m->loss += (double)*(float *)loss->data;
    const double norm = hm_optim_step(&r->opt, &r->ps, r->step);
    if (!isfinite(norm))
        return hm_fail(err, HIMMEL_EINTERNAL, "train dit: the gradient is not finite at step %lld; %s keeps the last good state",
                       (long long)r->step, r->o.state);
    m->norm += norm;
    m->flops += hm_flops(r->g);
    m->n++;
    m->samples += B;
    r->samples += B;
    r->step++;
    r->seconds += machine_seconds() - m0;
    return HIMMEL_OK;
}

static himmel_status loop(dit_run *r, himmel_error *err)
{
    const double start = hm_now();
    const int64_t first = r->step;
    char note[256] = "";
    meter m = {.t0 = start};
    himmel_status rc = HIMMEL_OK;
    bool stop = false;
    while (!rc && !stop && r->step < r->o.steps && (r->o.minutes <= 0 || hm_now() - start < 60 * r->o.minutes)) {
        if ((rc = one_step(r, &m, err))) return rc;
        if (r->step % 25 == 0) report(r, &m, note, sizeof note);
        if (r->step % r->o.save_every == 0) {
            rc = save_state(r, err);
            if (!rc) rc = save_model(r, err);
        }
        if (r->has_val && r->step % r->o.val_every == 0) {
            const float v = validate(r);
            hm_log(r->log, "validation %.4f at step %lld, %.0f s\n", (double)v, (long long)r->step, r->seconds);
        }
        const double each = (hm_now() - start) / (double)(r->step - first);
        double eta = each * (double)(r->o.steps - r->step);
        if (r->o.minutes > 0) eta = fmin(eta, 60 * r->o.minutes - (hm_now() - start));
        stop = hm_job_step(r->job, "train dit", r->step, r->o.steps, eta, note);
        note[0] = 0;
    }
    if (!rc) rc = save_state(r, err);
    if (!rc) rc = save_model(r, err);
    if (!rc && stop) rc = hm_fail(err, HIMMEL_ECANCELLED, "stopped at step %lld; the state is saved", (long long)r->step);
    return rc;
}

static himmel_status run(dit_run *r, himmel_error *err)
{
    himmel_status rc = parse(r, err);
    if (rc || (rc = open_parts(r, err)) || (rc = open_data(r, err)) || (rc = load_state(r, err))) return rc;
    hm_set_threads((int)r->o.threads);
    const hm_graph_opts go = {.act = r->ps.dtype, .tape = true, .n_threads = (int)r->o.threads};
    if ((rc = hm_graph_new(&r->g, &go, err))) return rc;
    if (r->o.log && !(r->log = fopen(r->o.log, "a"))) return hm_fail(err, HIMMEL_EIO, "%s: cannot open", r->o.log);
    r->opt = hm_optim_default();
    r->opt.lr_adamw = r->o.lr;
    r->opt.lr_muon = r->o.lr_muon;
    r->opt.ema = r->o.ema;
    r->opt.warmup = r->o.warmup;
    if (r->o.decay_from > 0) {
        r->opt.decay_from = r->o.decay_from;
        r->opt.total = r->o.steps;
    }
    r->bo = (hm_batch_opts){.drop_prompt = 0.10, .drop_fact = HM_DROP_FACT, .known = r->o.known, .t_mean = r->o.t_mean,
                            .t_scale = r->o.t_scale, .subject = r->o.subject, .fixed_t = -1};
    r->peak = hm_measure_peak(r->ps.dtype);
    hm_log(r->log, "run: %zu parameters, %d layers of width %d, step %lld, peak %.0f GFLOPS, %s\n", hm_params_count(&r->ps),
        r->cfg.dit.n_layers, r->cfg.dit.n_heads * r->cfg.dit.head_dim, (long long)r->step, r->peak * 1e-9, hm_isa_name());
    return loop(r, err);
}

himmel_status hm_train_dit_cmd(const hm_job *job, himmel_error *err)
{
    dit_run r = {.job = job};
    const himmel_status rc = run(&r, err);
    if (r.log) fclose(r.log);
    hm_graph_free(r.g);
    hm_batch_deinit(&r.batch);
    hm_cache_close(&r.data);
    hm_cache_close(&r.val);
    hm_params_deinit(&r.ps);
    hm_dit_deinit(&r.dit);
    hm_t5_deinit(&r.t5);
    hm_codec_free(r.codec);
    hm_tok_free(r.tok);
    hm_st_close(r.model);
    return rc;
}
