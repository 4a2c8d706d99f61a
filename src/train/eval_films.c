/* eval_films.c - `himmel eval films`: do films show what their captions say, and look like our footage?
 * SPDX-License-Identifier: MIT
 *
 *   held-out scenes -grammar-> captions -model-> films -probe-> facts, features; frames are measured
 *     -facts of the caption fixed, the rest drawn anew, renderer-> real films -probe-> facts, features
 * Adherence of a fact = (accuracy on films - chance) / (accuracy on real films - chance) over the films whose
 * caption states it; chance is what always guessing the most frequent answer gets. Frechet distances in the
 * probe's feature space: films against real films of the same captions, and real against real, each the
 * median over the draws of real films. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "film/film.h"
#include "train/cache.h"
#include "train/eval.h"
#include "train/options.h"
#include "train/probe.h"
#include "world/caption.h"

enum { MAX_DRAWS = 16, SHEET = 24 };

typedef struct {
    hm_scene scene;
    char caption[1024];
    uint32_t said;   /* facts stated, as far as they can be asked */
    uint32_t stated; /* facts stated */
} film_case;

typedef struct {
    const hm_job *job;
    const char *model, *probe, *json, *sheet;
    int64_t n, seconds, steps, scale, draws, threads, seed;
    double guidance;
    bool footage; /* real footage through the codec in place of films */
    hm_eval_shape shape;
    int W, H, n_frames, probe_at; /* film size; frames that are kept; where the probe's three seconds begin */
    hm_himmel1 *m;
    hm_probe *p;
    film_case *film;             /* [n] */
    uint8_t *clips;              /* [n][probe clip]: of the set that is being made */
    uint8_t (*fact)[HM_N_FACTS]; /* [1 + draws][n]: films, then real draws */
    float *feature;              /* [1 + draws][n][64] */
    hm_film_sums sums[2], *each; /* films, real; each [n] */
    float *sheet_frames;         /* [SHEET][3][144][256][3] */
    double sample_s, decode_s, render_s, start;
} films_run;

/* ---- what is asked ---- */

static void make_cases(films_run *r)
{
    uint64_t seed = HM_EVAL_SEEDS + (uint64_t)r->seed * (1ull << 30);
    for (int64_t i = 0; i < r->n; i++) {
        film_case *c = &r->film[i];
        hm_held_out_scene(&c->scene, &seed);
        hm_rng rng = hm_rng_at(c->scene.seed, 0x6361707469ull);
        hm_caption_opts o = {.lang = i % 2 ? HM_LANG_DE : HM_LANG_EN, .say = hm_caption_sayable(&c->scene)};
        for (int f = 0; f < HM_N_FACTS; f++)
            if (hm_rng_float(&rng) < 0.2f) o.say &= ~(1u << f);
        hm_caption(c->caption, sizeof c->caption, &c->scene, &o, hm_rng_u64(&rng), &c->stated);
        c->said = c->stated & hm_probe_askable(&c->scene);
    }
}

/* The film's caption as real footage: draw 0 is the scene itself, others fill in anew what the caption leaves
 * open. */
static hm_scene real_scene(const film_case *c, int draw)
{
    hm_scene s = c->scene;
    if (draw) hm_scene_complete(&s, c->stated, hm_mix(c->scene.seed, (uint64_t)draw));
    return s;
}

/* ---- films ---- */

static void put_probe_frames(const films_run *r, const float *film, int from, int n, uint8_t *clip)
{
    float small[HM_PROBE_FRAME_BYTES];
    for (int k = 0; k < HM_PROBE_FRAMES; k++) {
        const int at = r->probe_at + hm_probe_frame(k) - from;
        if (at < 0 || at >= n) continue;
        hm_box_average(film + (size_t)at * r->W * r->H * 3, r->W, r->H, r->W / HM_PROBE_W, small);
        hm_probe_quantise(small, clip + (size_t)k * HM_PROBE_FRAME_BYTES);
    }
}

static void put_sheet_frame(films_run *r, int64_t film, int k, const float *frame)
{
    if (r->sheet_frames && film < SHEET)
        hm_box_average(frame, r->W, r->H, (int)r->scale,
                       r->sheet_frames + (size_t)(film * 3 + k) * (r->W * r->H * 3 / (r->scale * r->scale)));
}

/* What is looked at. At base size every frame; refined, where a frame costs much: the start, 19 frames around
 * the first one-second edge, and the probe's frames one by one (alone they count for nothing but the probe).
  */
static int ranges(const films_run *r, int range[16][2])
{
    if (r->scale == 1) {
        range[0][0] = 0, range[0][1] = r->n_frames;
        return 1;
    }
    int n = 2;
    range[0][0] = 0, range[0][1] = 3;
    range[1][0] = 16, range[1][1] = 19;
    for (int k = 0; k < HM_PROBE_FRAMES; k++) {
        const int at = r->probe_at + hm_probe_frame(k);
        if (at >= 16 && at < 35) continue;
        range[n][0] = at, range[n++][1] = 1;
    }
    return n;
}

static himmel_status look_at_film(films_run *r, int64_t i, const float *z, float *buf, himmel_error *err)
{
    int range[16][2];
    const int n = ranges(r, range);
    himmel_status rc = HIMMEL_OK;
    for (int k = 0; !rc && k < n; k++) {
        const int from = range[k][0], count = range[k][1];
        rc = hm_eval_frames(r->m, z, &r->shape, from, count, buf, err);
        if (rc) break;
        if (count > 1) hm_film_add(&r->each[i], buf, count, r->W, r->H, from, HM_BLOCK * (int)r->scale);
        put_probe_frames(r, buf, from, count, r->clips + (size_t)i * HM_PROBE_CLIP_BYTES);
        for (int s = 0; s < 3; s++) { /* first, middle, last of the probe's frames */
            const int at = r->probe_at + hm_probe_frame(s == 0 ? 0 : s == 1 ? 4 : 7);
            if (at >= from && at < from + count)
                put_sheet_frame(r, i, s, buf + (size_t)(at - from) * r->W * r->H * 3);
        }
    }
    return rc;
}

/* Latents of film i: by the model, or (--footage) of real footage of its caption: the best that codec and
 * refiner allow. */
static himmel_status make_latents(films_run *r, int64_t i, float *z, himmel_error *err)
{
    const hm_eval_shape *sh = &r->shape;
    if (r->footage) {
        const hm_scene s = real_scene(&r->film[i], MAX_DRAWS);
        return hm_render_latents(r->m->codec, &s, (double)hm_clip_start(s.seed, sh->T), sh->T, sh->gh, sh->gw,
                                 z, NULL, err);
    }
    const hm_sample_opts o = {.prompt = r->film[i].caption,
                              .seed = ((uint64_t)r->seed << 20) + (uint64_t)i + 1,
                              .steps = (int)r->steps,
                              .guidance = r->guidance,
                              .gw = sh->gw,
                              .gh = sh->gh,
                              .T = sh->T};
    return hm_sample(r->m, &o, (int)r->threads, z, NULL, err);
}

static himmel_status make_films(films_run *r, himmel_error *err)
{
    const size_t nz = (size_t)r->shape.T * r->shape.gh * r->shape.gw * hm_codec_channels(r->m->codec);
    float *z = malloc(nz * sizeof *z), *buf = malloc((size_t)r->n_frames * r->W * r->H * 3 * sizeof *buf);
    himmel_status rc = z && buf ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "eval: out of memory for a film");
    for (int64_t i = 0; !rc && i < r->n; i++) {
        const double t0 = hm_now();
        rc = make_latents(r, i, z, err);
        const double t1 = hm_now();
        if (!rc) rc = look_at_film(r, i, z, buf, err);
        r->sample_s += t1 - t0;
        r->decode_s += hm_now() - t1;
        const double each = (r->sample_s + r->decode_s) / (double)(i + 1);
        if (hm_job_step(r->job, "films", i + 1, r->n, each * (double)(r->n - i - 1), ""))
            rc = hm_fail(err, HIMMEL_ECANCELLED, "stopped after %lld of %lld films", (long long)i + 1,
                         (long long)r->n);
    }
    for (int64_t i = 0; i < r->n; i++) hm_film_merge(&r->sums[0], &r->each[i]);
    if (!rc) rc = hm_probe_look(r->p, r->clips, r->n, r->fact, r->feature, err);
    free(z);
    free(buf);
    return rc;
}

/* ---- real footage ---- */

/* The same frames of the real film, rendered at the film's size. */
static himmel_status measure_real(films_run *r, int64_t i, himmel_error *err)
{
    const hm_scene s = real_scene(&r->film[i], 0);
    const hm_view view = {r->W, r->H, 0, 0, r->W, r->H};
    const double t0 = (double)hm_clip_start(s.seed, r->shape.T);
    const size_t frame = (size_t)r->W * r->H * 3;
    int range[16][2];
    const int n = ranges(r, range);
    hm_renderer *w = NULL;
    float *buf = malloc((size_t)r->n_frames * frame * sizeof *buf);
    himmel_status rc =
        buf ? hm_renderer_new(&w, &s, err) : hm_fail(err, HIMMEL_ENOMEM, "eval: out of memory for a film");
    for (int k = 0; !rc && k < n && range[k][1] > 1; k++) {
        for (int f = 0; f < range[k][1]; f++)
            hm_render(w, &view, t0 + (double)(range[k][0] + f) / HM_FPS, buf + (size_t)f * frame);
        hm_film_add(&r->each[i], buf, range[k][1], r->W, r->H, range[k][0], HM_BLOCK * (int)r->scale);
    }
    if (w) hm_renderer_free(w);
    free(buf);
    return rc;
}

static himmel_status real_one(films_run *r, int64_t i, int draw, himmel_error *err)
{
    const hm_scene s = real_scene(&r->film[i], draw);
    const double t0 = (double)hm_clip_start(s.seed, r->shape.T) + (double)r->probe_at / HM_FPS;
    const himmel_status rc = hm_probe_render(&s, t0, r->clips + (size_t)i * HM_PROBE_CLIP_BYTES, err);
    return rc || draw ? rc : measure_real(r, i, err);
}

static himmel_status real_draw(films_run *r, int draw, himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    int64_t done = 0;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < r->n; i++) {
        himmel_status stop, one;
        himmel_error e = {0};
#pragma omp atomic read
        stop = rc;
        if (stop) continue;
        one = real_one(r, i, draw, &e);
#pragma omp critical(hm_eval)
        {
            done++; /* the job's owner is called on its own thread only */
            const bool tell = !one && omp_get_thread_num() == 0;
            if (tell && hm_job_step(r->job, "real footage", draw * r->n + done, r->draws * r->n, -1, ""))
                one = hm_fail(&e, HIMMEL_ECANCELLED, "stopped while rendering real footage");
            if (one && !rc) {
                rc = one;
                if (err) *err = e;
            }
        }
    }
    const int64_t at = (int64_t)(1 + draw) * r->n;
    return rc ? rc : hm_probe_look(r->p, r->clips, r->n, r->fact + at, r->feature + at * HM_PROBE_D, err);
}

static himmel_status make_real(films_run *r, himmel_error *err)
{
    const double t0 = hm_now();
    himmel_status rc = HIMMEL_OK;
    memset(r->each, 0, (size_t)r->n * sizeof *r->each);
    for (int d = 0; !rc && d < r->draws; d++) rc = real_draw(r, d, err);
    for (int64_t i = 0; i < r->n; i++) hm_film_merge(&r->sums[1], &r->each[i]);
    r->render_s = hm_now() - t0;
    return rc;
}

/* ---- figures ---- */

typedef struct {
    int64_t asked;
    double chance, films, real, adherence;
    int64_t by_value[16][2]; /* asked, right in the films */
} fact_score;

static fact_score score(const films_run *r, int f)
{
    fact_score s = {0};
    int64_t right = 0, right_real = 0, most = 0;
    for (int64_t i = 0; i < r->n; i++) {
        if (!(r->film[i].said >> f & 1)) continue;
        const uint8_t want = r->film[i].scene.fact[f];
        const bool hit = r->fact[i][f] == want;
        s.asked++;
        s.by_value[want][0]++;
        s.by_value[want][1] += hit;
        right += hit;
        for (int64_t d = 1; d <= r->draws; d++) right_real += r->fact[d * r->n + i][f] == want;
        most = HM_MAX(most, s.by_value[want][0]);
    }
    const double n = (double)HM_MAX(1, s.asked);
    s.chance = (double)most / n;
    s.films = (double)right / n;
    s.real = (double)right_real / (n * (double)r->draws);
    s.adherence = s.asked && s.real > s.chance ? (s.films - s.chance) / (s.real - s.chance) : NAN;
    return s;
}

static json_t *score_json(int f, const fact_score *s)
{
    json_t *values = json_object();
    for (int v = 0; v < hm_fact_size((hm_fact)f); v++)
        if (s->by_value[v][0])
            json_object_set_new(
                values, hm_fact_value_name((hm_fact)f, v),
                json_pack("[I,I]", (json_int_t)s->by_value[v][0], (json_int_t)s->by_value[v][1]));
    return json_pack("{s:I,s:f,s:f,s:f,s:o,s:o}", "asked", (json_int_t)s->asked, "chance", s->chance, "films",
                     s->films, "real", s->real, "adherence", hm_eval_number(s->adherence),
                     "asked_right_by_value", values);
}

static json_t *report_facts(const films_run *r)
{
    json_t *facts = json_object();
    hm_eval_say(r->job, "fact       asked  chance   films    real  adherence");
    for (int f = 0; f < HM_N_FACTS; f++) {
        const fact_score s = score(r, f);
        if (!s.asked) continue;
        hm_eval_say(r->job, "%-9s  %5lld  %5.1f %%  %5.1f %%  %5.1f %%  %7.1f %%", hm_fact_name((hm_fact)f),
                    (long long)s.asked, 100 * s.chance, 100 * s.films, 100 * s.real, 100 * s.adherence);
        json_object_set_new(facts, hm_fact_name((hm_fact)f), score_json(f, &s));
    }
    return facts;
}

static json_t *report_frechet(const films_run *r)
{
    double films[MAX_DRAWS], real[MAX_DRAWS];
    const int d = (int)r->draws;
    const size_t set = (size_t)r->n * HM_PROBE_D;
    for (int k = 0; k < d; k++) {
        const float *a = r->feature + (size_t)(1 + k) * set,
                    *b = r->feature + (size_t)(1 + (k + 1) % d) * set;
        films[k] = hm_frechet(r->feature, (size_t)r->n, a, (size_t)r->n, HM_PROBE_D);
        real[k] = d > 1 ? hm_frechet(a, (size_t)r->n, b, (size_t)r->n, HM_PROBE_D) : NAN;
    }
    const double mf = hm_median(films, d), mr = hm_median(real, d);
    hm_eval_say(r->job,
                "Frechet distance to real films of the same captions %.3f, real to real %.3f, ratio %.2f", mf,
                mr, mf / mr);
    return json_pack("{s:o,s:o,s:o}", "films_real", hm_eval_number(mf), "real_real", hm_eval_number(mr),
                     "ratio", hm_eval_number(mf / mr));
}

static json_t *report_figures(const films_run *r)
{
    const hm_film_figures a = hm_film_look(&r->sums[0]), b = hm_film_look(&r->sums[1]);
    const struct {
        const char *name;
        double films, real;
    } row[] = {{"edges x", a.edge[0], b.edge[0]},   {"edges y", a.edge[1], b.edge[1]},
               {"edges t", a.edge[2], b.edge[2]},   {"start", a.start, b.start},
               {"motion", a.motion, b.motion},      {"flicker", a.flicker, b.flicker},
               {"gradient", a.gradient, b.gradient}};
    hm_eval_say(r->job, "figure        films       real   ratio");
    for (size_t i = 0; i < HM_COUNT(row); i++)
        hm_eval_say(r->job, "%-8s  %9.5f  %9.5f  %6.3f", row[i].name, row[i].films, row[i].real,
                    row[i].films / row[i].real);
    return json_pack("{s:o,s:o}", "films", hm_eval_figures_json(&a), "real", hm_eval_figures_json(&b));
}

static himmel_status report(const films_run *r, himmel_error *err)
{
    char size[32];
    snprintf(size, sizeof size, "%dx%d", r->W, r->H);
    hm_eval_say(r->job,
                "%lld %s of %lld s at %s, %lld steps, guidance %.2f; sampling %.0f s, decoding %.0f s, "
                "real footage %.0f s",
                (long long)r->n, r->footage ? "real films through the codec" : "films", (long long)r->seconds,
                size, (long long)r->steps, r->guidance, r->sample_s, r->decode_s, r->render_s);
    json_t *facts = report_facts(r), *frechet = report_frechet(r), *figures = report_figures(r);
    json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:s,s:I,s:f,s:I,s:o,s:o,s:o,s:{s:f,s:f,s:f,s:f}}",
                          "evaluation", r->footage ? "footage through the codec" : "films", "model", r->model,
                          "model_sha256", r->m->sha256, "probe", r->probe, "films", (json_int_t)r->n,
                          "seconds", (json_int_t)r->seconds, "size", size, "steps", (json_int_t)r->steps,
                          "guidance", r->guidance, "draws", (json_int_t)r->draws, "facts", facts, "frechet",
                          frechet, "figures", figures, "wall_seconds", "sampling", r->sample_s, "decoding",
                          r->decode_s, "real_footage", r->render_s, "all", hm_now() - r->start);
    return hm_eval_write_json(j, r->json, err);
}

/* First, middle and last look at the first films, a row each of two films. */
static himmel_status write_sheet(const films_run *r, himmel_error *err)
{
    hm_sheet s;
    const int w = HM_BLOCK * r->shape.gw, h = HM_BLOCK * r->shape.gh, n = (int)HM_MIN((int64_t)SHEET, r->n);
    himmel_status rc = hm_sheet_init(&s, 6, (n + 1) / 2, w, h, err);
    for (int i = 0; !rc && i < 3 * n; i++) hm_sheet_put(&s, i, r->sheet_frames + (size_t)i * w * h * 3);
    if (!rc) rc = hm_sheet_write(&s, r->sheet, err);
    hm_sheet_deinit(&s);
    for (int i = 0; !rc && i < n; i++) hm_eval_say(r->job, "sheet %d: %s", i + 1, r->film[i].caption);
    return rc;
}

/* ---- the command ---- */

static himmel_status parse(films_run *r, himmel_error *err)
{
    const hm_option_spec spec[] = {{"model", HM_O_STR, &r->model, 0, 0},
                                   {"probe", HM_O_STR, &r->probe, 0, 0},
                                   {"report", HM_O_STR, &r->json, 0, 0},
                                   {"sheet", HM_O_STR, &r->sheet, 0, 0},
                                   {"films", HM_O_INT, &r->n, 2, 100000},
                                   {"seconds", HM_O_INT, &r->seconds, 3, 10},
                                   {"steps", HM_O_INT, &r->steps, 1, HIMMEL_MAX_STEPS},
                                   {"guidance", HM_O_REAL, &r->guidance, 1, 20},
                                   {"scale", HM_O_INT, &r->scale, 1, 8},
                                   {"draws", HM_O_INT, &r->draws, 1, MAX_DRAWS},
                                   {"seed", HM_O_INT, &r->seed, 0, 1000},
                                   {"threads", HM_O_INT, &r->threads, 0, 1024},
                                   {"footage", HM_O_FLAG, &r->footage, 0, 0}};
    const himmel_status rc =
        hm_options_parse("eval films", spec, HM_COUNT(spec), r->job->opts, r->job->n_opts, err);
    if (rc) return rc;
    if (!r->model || !r->probe)
        return hm_fail(err, HIMMEL_EINVAL,
                       "eval films: --model FILE and --probe FILE (of himmel train probe) are needed");
    if (r->scale & (r->scale - 1))
        return hm_fail(err, HIMMEL_EINVAL, "eval films: --scale %d is not 1, 2, 4 or 8", (int)r->scale);
    return HIMMEL_OK;
}

static himmel_status run(films_run *r, himmel_error *err)
{
    himmel_status rc = parse(r, err);
    if (rc || (rc = hm_eval_open_model(&r->m, r->model, !r->footage, err)) ||
        (rc = hm_probe_open(&r->p, r->probe, err)))
        return rc;
    if (r->scale > 1 && !r->m->refiner)
        return hm_fail(err, HIMMEL_EMODEL, "%s: has no refiner, so only --scale 1 is possible", r->model);
    if (r->threads) hm_set_threads((int)r->threads);
    r->shape = (hm_eval_shape){
        .T = (int)r->seconds + 1, .gh = 9, .gw = 16, .scale = (int)r->scale, .threads = (int)r->threads};
    r->W = HM_BLOCK * r->shape.gw * (int)r->scale;
    r->H = HM_BLOCK * r->shape.gh * (int)r->scale;
    r->n_frames = r->scale == 1 ? HM_FPS * (int)r->seconds : 19; /* held at once */
    r->probe_at = HM_FPS * ((int)r->seconds - HM_PROBE_SECONDS) / 2;
    const size_t n = (size_t)r->n, sets = (size_t)r->draws + 1;
    r->film = calloc(n, sizeof *r->film);
    r->clips = malloc(n * HM_PROBE_CLIP_BYTES);
    r->fact = malloc(sets * n * sizeof *r->fact);
    r->feature = malloc(sets * n * HM_PROBE_D * sizeof *r->feature);
    r->each = calloc(n, sizeof *r->each);
    if (r->sheet) r->sheet_frames = calloc((size_t)SHEET * 3 * 3 * 256 * 144, sizeof *r->sheet_frames);
    if (!r->film || !r->clips || !r->fact || !r->feature || !r->each || (r->sheet && !r->sheet_frames))
        return hm_fail(err, HIMMEL_ENOMEM, "eval: out of memory for %zu films", n);
    make_cases(r);
    if ((rc = make_films(r, err)) || (rc = make_real(r, err)) || (rc = report(r, err))) return rc;
    return r->sheet ? write_sheet(r, err) : HIMMEL_OK;
}

himmel_status hm_eval_films_cmd(const hm_job *job, himmel_error *err)
{
    films_run r = {.job = job,
                   .n = 200,
                   .seconds = 3,
                   .steps = 25,
                   .guidance = 4.5,
                   .scale = 1,
                   .draws = 5,
                   .start = hm_now()};
    const himmel_status rc = run(&r, err);
    hm_probe_free(r.p);
    hm_himmel1_close(r.m);
    free(r.film);
    free(r.clips);
    free(r.fact);
    free(r.feature);
    free(r.each);
    free(r.sheet_frames);
    return rc;
}
