/* text.c - `himmel train text`: tokenizer, and a text encoder pre-trained to tell a caption's facts.   SPDX-License-Identifier: MIT
 *
 *   captions -unigram EM-> tokenizer;  caption -T5-> mean over tokens -> per fact: its value, or "not said"
 * The heads are thrown away; the encoder trains on with the transformer (dit.c). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "models/himmel/himmel1.h"
#include "train/modelfile.h"
#include "train/optim.h"
#include "train/options.h"
#include "train/train.h"
#include "world/caption.h"

static const uint64_t SEEDS = 1ull << 40; /* captions for the tokenizer and the pre-training: scenes never rendered */

typedef struct {
    const hm_job *job;
    const char *model, *out;
    int64_t steps, batch, pieces, captions, seed;
    double lr;
    hm_himmel1_config cfg;
    hm_st *from;
    hm_tokenizer *tok;
    hm_t5 t5;
    hm_params ps;
    hm_tensor *head_w[HM_N_FACTS], *head_b[HM_N_FACTS];
    hm_graph *g;
    int32_t *ids, *mask, *labels; /* [B,N], [B,N], [facts][B] */
    float *pool;                  /* [B,N] 1 where a token is */
} text_run;

static void draw_caption(char *buf, size_t cap, uint64_t seed, uint32_t *said, hm_scene *s)
{
    hm_rng r = hm_rng_at(seed, 0x63617074696f6eull);
    hm_scene_random(s, seed);
    if (hm_rng_below(&r, 2)) hm_scene_mirror(s);
    hm_caption_opts o = {.lang = hm_rng_float(&r) < 0.6f ? HM_LANG_EN : HM_LANG_DE, .say = hm_caption_sayable(s)};
    for (int f = 0; f < HM_N_FACTS; f++)
        if (hm_rng_float(&r) < 0.25f) o.say &= ~(1u << f);
    hm_caption(buf, cap, s, &o, hm_rng_u64(&r), said);
}

static himmel_status train_tokenizer(text_run *r, himmel_error *err)
{
    const size_t n = (size_t)r->captions;
    char **lines = calloc(n, sizeof *lines);
    himmel_status rc = lines ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "out of memory for %zu captions", n);
    for (size_t i = 0; !rc && i < n; i++) {
        char text[1024];
        hm_scene s;
        draw_caption(text, sizeof text, SEEDS + i, NULL, &s);
        if (!(lines[i] = strdup(text))) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for captions");
    }
    if (!rc) rc = hm_tok_train(&r->tok, (const char *const *)lines, n, (int)r->pieces, err);
    for (size_t i = 0; lines && i < n; i++) free(lines[i]);
    free(lines);
    return rc;
}

static himmel_status make_model(text_run *r, himmel_error *err)
{
    hm_params_init(&r->ps, HM_BF16, (uint64_t)r->seed, NULL);
    r->cfg.t5.vocab = (hm_tok_size(r->tok) + 31) / 32 * 32;
    himmel_status rc = hm_t5_init(&r->t5, &r->cfg.t5, err);
    if (!rc) rc = hm_t5_params(&r->t5, "text_encoder.", hm_params_bind, &r->ps, err);
    for (int f = 0; !rc && f < HM_N_FACTS; f++) {
        char name[64];
        snprintf(name, sizeof name, "head.%s.weight", hm_fact_name((hm_fact)f));
        rc = hm_params_bind(&r->ps, name, HM_DIMS(hm_fact_size((hm_fact)f) + 1, r->cfg.t5.d_model), &r->head_w[f], err);
        snprintf(name, sizeof name, "head.%s.bias", hm_fact_name((hm_fact)f));
        if (!rc) rc = hm_params_bind(&r->ps, name, HM_DIMS(hm_fact_size((hm_fact)f) + 1), &r->head_b[f], err);
    }
    const size_t n = (size_t)(r->batch * r->cfg.text_len);
    r->ids = calloc(n, sizeof *r->ids);
    r->mask = calloc(n, sizeof *r->mask);
    r->pool = calloc(n, sizeof *r->pool);
    r->labels = calloc((size_t)r->batch * HM_N_FACTS, sizeof *r->labels);
    if (!rc && (!r->ids || !r->mask || !r->pool || !r->labels)) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for a batch");
    return rc;
}

static void fill(text_run *r, uint64_t first)
{
    const int64_t N = r->cfg.text_len;
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t b = 0; b < r->batch; b++) {
        char text[1024];
        uint32_t said = 0;
        hm_scene s;
        draw_caption(text, sizeof text, first + (uint64_t)b, &said, &s);
        hm_tok_encode_padded(r->tok, text, r->ids + b * N, r->mask + b * N, (size_t)N);
        for (int64_t i = 0; i < N; i++) r->pool[b * N + i] = (float)r->mask[b * N + i];
        for (int f = 0; f < HM_N_FACTS; f++)
            r->labels[f * r->batch + b] = said >> f & 1 ? s.fact[f] : hm_fact_size((hm_fact)f);
    }
}

/* Loss of the batch in r; right[f] counts facts told correctly, if not NULL. */
static hm_tensor *forward(text_run *r, int64_t *right)
{
    hm_graph *g = r->g;
    const int64_t N = r->cfg.text_len, B = r->batch;
    hm_tensor *h = hm_t5_forward(g, &r->t5, r->ids, r->mask, B, N), *sum = NULL;
    hm_tensor *pooled = hm_mean_rows(g, h, hm_wrap(g, HM_F32, HM_DIMS(B, N), r->pool));
    for (int f = 0; f < HM_N_FACTS; f++) {
        hm_tensor *logits = hm_linear(g, pooled, r->head_w[f], r->head_b[f]);
        if (right) {
            const int64_t C = hm_fact_size((hm_fact)f) + 1;
            float *x = malloc((size_t)(B * C) * sizeof *x);
            if (x) hm_convert(x, HM_F32, logits->data, logits->dtype, (size_t)(B * C));
            for (int64_t b = 0; x && b < B; b++) {
                int64_t best = 0;
                for (int64_t c = 1; c < C; c++)
                    if (x[b * C + c] > x[b * C + best]) best = c;
                right[f] += best == r->labels[f * B + b];
            }
            free(x);
        }
        hm_tensor *l = hm_loss_xent(g, logits, r->labels + f * B);
        sum = sum ? hm_add_t(g, sum, l) : l;
    }
    return sum;
}

static himmel_status train_encoder(text_run *r, himmel_error *err)
{
    const hm_graph_opts go = {.act = HM_BF16, .tape = true};
    himmel_status rc = hm_graph_new(&r->g, &go, err);
    hm_optim opt = hm_optim_default();
    opt.lr_adamw = r->lr;
    opt.lr_muon = 0.01;
    opt.ema = 0.99;
    opt.total = r->steps;
    opt.decay_from = r->steps / 2;
    const double t0 = hm_now();
    for (int64_t step = 0; !rc && step < r->steps; step++) {
        fill(r, SEEDS + (1ull << 30) + (uint64_t)(step * r->batch));
        hm_graph_reset(r->g);
        hm_params_zero_grad(&r->ps);
        hm_tensor *loss = forward(r, NULL);
        hm_backward(r->g, loss, 1.0f);
        hm_optim_step(&opt, &r->ps, step);
        char note[96] = "";
        if (step % 50 == 0 || step + 1 == r->steps)
            snprintf(note, sizeof note, "step %lld loss %.4f", (long long)step, (double)*(float *)loss->data);
        if (hm_job_step(r->job, "train text", step + 1, r->steps, (hm_now() - t0) / (double)(step + 1) * (double)(r->steps - step), note))
            rc = hm_fail(err, HIMMEL_ECANCELLED, "stopped at step %lld; nothing was written", (long long)step);
    }
    return rc;
}

/* Accuracy on captions never trained on, with the averaged weights. */
static void measure(text_run *r)
{
    int64_t right[HM_N_FACTS] = {0};
    const int rounds = 16;
    hm_params_use_ema(&r->ps, true);
    for (int i = 0; i < rounds; i++) {
        fill(r, SEEDS + (1ull << 35) + (uint64_t)(i * r->batch));
        hm_graph_reset(r->g);
        forward(r, right);
    }
    char note[400];
    hm_str s = {note, sizeof note, 0};
    hm_str_addf(&s, "facts told from fresh captions:");
    for (int f = 0; f < HM_N_FACTS; f++)
        hm_str_addf(&s, " %s %.1f %%", hm_fact_name((hm_fact)f), 100.0 * (double)right[f] / (double)(rounds * r->batch));
    hm_job_step(r->job, "train text", r->steps, r->steps, 0, note);
}

static himmel_status save(text_run *r, himmel_error *err)
{
    static const char *const mine[] = {"text_encoder.", "tokenizer.", "model.diffusion_model.", NULL};
    static const char *const meta[] = {"config", NULL};
    hm_st_writer *w = hm_st_writer_new();
    char *config = hm_himmel1_config_format(&r->cfg);
    uint8_t *spiece = NULL;
    size_t len = 0;
    himmel_status rc = w && config ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", r->out);
    if (!rc && r->from) rc = hm_model_copy(w, r->from, mine, meta, err);
    if (!rc) rc = hm_tok_format(r->tok, &spiece, &len, err);
    if (!rc) rc = hm_st_add(w, "tokenizer.spiece", HM_U8, HM_DIMS((int64_t)len), spiece, err);
    for (size_t i = 0; !rc && i < r->ps.n; i++) {
        const hm_param *p = r->ps.p[i];
        if (strncmp(p->name, "text_encoder.", 13)) continue; /* the heads have done their work */
        rc = hm_st_add(w, p->name, p->work.dtype, p->work.nd, p->work.dim, p->work.data, err);
    }
    if (!rc) rc = hm_st_add_meta(w, "config", config, err);
    if (!rc) rc = hm_st_add_meta(w, "himmel.licence", "CC0-1.0", err);
    if (!rc) rc = hm_st_write(w, r->out, err);
    hm_st_writer_free(w);
    free(config);
    free(spiece);
    return rc;
}

static himmel_status run(text_run *r, himmel_error *err)
{
    const hm_option_spec spec[] = {
        {"model", HM_O_STR, &r->model, 0, 0}, {"out", HM_O_STR, &r->out, 0, 0}, {"steps", HM_O_INT, &r->steps, 1, 1e7},
        {"batch", HM_O_INT, &r->batch, 1, 4096}, {"pieces", HM_O_INT, &r->pieces, 300, 32000},
        {"captions", HM_O_INT, &r->captions, 1000, 1e7}, {"seed", HM_O_INT, &r->seed, 0, 1e15}, {"lr", HM_O_REAL, &r->lr, 0, 1}};
    himmel_status rc = hm_options_parse("train text", spec, HM_COUNT(spec), r->job->opts, r->job->n_opts, err);
    if (!rc && !r->out) rc = hm_fail(err, HIMMEL_EINVAL, "train text: --out FILE is needed (and --model FILE to keep its other parts)");
    if (!rc && r->model) rc = hm_st_open(&r->from, r->model, err);
    if (rc || (rc = train_tokenizer(r, err)) || (rc = make_model(r, err)) || (rc = train_encoder(r, err))) return rc;
    measure(r);
    return save(r, err);
}

himmel_status hm_train_text_cmd(const hm_job *job, himmel_error *err)
{
    text_run r = {.job = job, .steps = 800, .batch = 64, .pieces = 2048, .captions = 60000, .seed = 1, .lr = 2e-3,
                  .cfg = hm_himmel1_config_default()};
    const himmel_status rc = run(&r, err);
    hm_graph_free(r.g);
    hm_params_deinit(&r.ps);
    hm_t5_deinit(&r.t5);
    hm_tok_free(r.tok);
    hm_st_close(r.from);
    free(r.ids);
    free(r.mask);
    free(r.pool);
    free(r.labels);
    return rc;
}
