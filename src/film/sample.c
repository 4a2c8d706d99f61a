/* sample.c - from words and noise to latents: the one loop.   SPDX-License-Identifier: MIT
 *   prompt, negative -T5-> [2,M,D]     noise x [N,K] -transformer, guidance, Euler, steps times-> latents
 * Both halves of guidance go through the transformer as a batch of two. Noise is Philox by position, so the
 * start of a film does not depend on threads; element i of the film is element i of the stream. Known tokens
 * are part of x, stay as they are and go in at noise level 0; extra stills stand behind the film's tokens. Where
 * known pixels are pasted into the estimate, the step goes to (1 - t') clean + t' noise, both as they are then.
 * Memory: arena of one forward pass; x, velocity and estimate are N K floats each. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/sha256.h"
#include "diffusion/sampler.h"
#include "film/film.h"

enum {
    NOISE_STREAM = 0x66696c6d
}; /* "film": apart from what the renderer and the trainer draw from the same seed */

/* Everything one sampling run holds. */
typedef struct {
    const hm_himmel1 *m;
    const hm_sample_opts *o;
    hm_graph *g;
    int64_t B, N, K;   /* N: tokens of the film and the extra stills */
    int64_t film;      /* tokens of the film */
    float *x, *v, *clean;
    float *cosine, *sine, *place;
    int32_t *row;      /* [B*N] 2b: at the step's noise level, 2b + 1: known, at level 0 */
    hm_tensor *text, *mask;
} run;

/* Positions and rows of the extra stills and of what is known. */
static void place_extra(run *r, double (*pos)[3])
{
    const hm_given *given = r->o->given;
    const int64_t area = (int64_t)r->o->gh * r->o->gw;
    for (int64_t i = r->film; i < r->N; i++) {
        const int64_t e = (i - r->film) / area;
        memcpy(pos[i], pos[(i - r->film) % area], sizeof *pos);
        pos[i][0] = given->extra_at[e];
    }
    for (int64_t i = 0; i < r->N; i++) {
        const bool known = i >= r->film || (given && given->known && given->known[i]);
        for (int64_t b = 0; b < r->B; b++) r->row[b * r->N + i] = (int32_t)(2 * b) + known;
    }
}

static himmel_status run_init(run *r, const hm_himmel1 *m, const hm_sample_opts *o, int threads, bool plan,
                              himmel_error *err)
{
    memset(r, 0, sizeof *r);
    r->m = m;
    r->o = o;
    r->B = o->guidance > 1 ? 2 : 1;
    const int n_extra = o->given ? o->given->n_extra : 0;
    r->film = (int64_t)o->T * o->gh * o->gw;
    r->N = r->film + (int64_t)n_extra * o->gh * o->gw;
    r->K = m->dit.cfg.in_channels;
    const size_t n = (size_t)(r->N * r->K), half = (size_t)(m->dit.cfg.n_heads * m->dit.cfg.head_dim / 2);
    r->x = malloc(n * sizeof *r->x);
    r->v = malloc(2 * n * sizeof *r->v);
    r->clean = malloc(n * sizeof *r->clean);
    r->cosine = malloc((size_t)r->N * half * sizeof *r->cosine);
    r->sine = malloc((size_t)r->N * half * sizeof *r->sine);
    r->place = malloc((size_t)r->N * HM_H1_PLACE * sizeof *r->place);
    r->row = calloc((size_t)(r->B * r->N), sizeof *r->row);
    double(*pos)[3] = malloc((size_t)r->N * sizeof *pos);
    himmel_status rc = HIMMEL_OK;
    if (!r->x || !r->v || !r->clean || !r->cosine || !r->sine || !r->place || !r->row || !pos)
        rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for %dx%dx%d latents", o->T, o->gh, o->gw);
    if (!rc) {
        hm_himmel1_positions(o->T, o->gh, o->gw, pos);
        place_extra(r, pos);
        hm_dit_rope(&m->dit.cfg, (const double(*)[3])pos, r->N, r->cosine, r->sine);
        hm_himmel1_place(o->T, o->gh, o->gw, (const double(*)[3])pos, r->N, r->place);
        rc = hm_graph_new(&r->g, &(hm_graph_opts){.act = o->f32 ? HM_F32 : HM_BF16, .plan = plan, .n_threads = threads}, err);
    }
    free(pos);
    return rc;
}

static void run_deinit(run *r)
{
    hm_graph_free(r->g);
    free(r->x), free(r->v), free(r->clean);
    free(r->cosine), free(r->sine), free(r->place), free(r->row);
}

static void encode_text(run *r)
{
    const char *const both[2] = {r->o->prompt, r->o->negative};
    r->text = hm_himmel1_encode_text(r->g, r->m, both, r->B, &r->mask);
}

/* One pass at noise level t: velocity of the B rows into r->v (nothing in a plan). */
static void forward(run *r, float t)
{
    const hm_mark mark = hm_save(r->g);
    const size_t n = (size_t)(r->N * r->K);
    const int64_t half = r->m->dit.cfg.n_heads * r->m->dit.cfg.head_dim / 2;
    hm_tensor *x = hm_new(r->g, HM_F32, HM_DIMS(r->B, r->N, r->K));
    if (x->data)
        for (int64_t b = 0; b < r->B; b++) memcpy((float *)x->data + (size_t)b * n, r->x, n * sizeof *r->x);
    const float levels[4] = {t, 0, t, 0};
    const hm_dit_input in = {.x = hm_cast(r->g, x, hm_act(r->g)),
                             .levels = levels, .n_levels = 2 * r->B, .row = r->row,
                             .cosine = hm_wrap(r->g, HM_F32, HM_DIMS(1, r->N, half), r->cosine),
                             .sine = hm_wrap(r->g, HM_F32, HM_DIMS(1, r->N, half), r->sine),
                             .place = r->place, .grid = {r->o->T, r->o->gh, r->o->gw}, .text = r->text, .text_mask = r->mask};
    const hm_tensor *v = hm_dit_forward(r->g, &r->m->dit, &in);
    if (v->data) hm_convert(r->v, HM_F32, v->data, v->dtype, (size_t)r->B * n);
    hm_restore(r->g, mark);
}

/* What the first step starts from: noise, noise over what is given, or what is known. */
static void start(run *r)
{
    const hm_given *given = r->o->given;
    const size_t K = (size_t)r->K, n = (size_t)r->N * K, film = (size_t)r->film * K;
    hm_randn(r->x, film, r->o->seed, NOISE_STREAM);
    if (!given) return;
    if (n > film) memcpy(r->x + film, given->extra, (n - film) * sizeof *r->x);
    const float s = (float)given->start;
    for (size_t i = 0; i < film; i++) {
        if (r->row[i / K]) r->x[i] = given->z[i];
        else if (s < 1) r->x[i] = (1 - s) * given->z[i] + s * r->x[i];
    }
}

/* From level t to level next; r->v is the velocity. */
static void step(run *r, float t, float next, float *levels, bool last)
{
    const hm_given *given = r->o->given;
    const size_t n = (size_t)(r->film * r->K);
    const bool paste = given && given->paste;
    if (r->o->on_step || paste)
        for (size_t i = 0; i < n; i++) r->clean[i] = r->row[i / (size_t)r->K] ? r->x[i] : r->x[i] - t * r->v[i];
    if (paste) {
        for (size_t i = 0; i < n; i++) r->v[i] += r->clean[i]; /* the noise */
        given->paste(given->user, r->clean, last);
        for (size_t i = 0; i < n; i++)
            if (!r->row[i / (size_t)r->K]) r->x[i] = (1 - next) * r->clean[i] + next * r->v[i];
        return;
    }
    for (int64_t i = 0; i < r->N; i++) levels[i] = r->row[i] ? 0 : t, levels[r->N + i] = r->row[i] ? 0 : next;
    hm_euler_step(r->x, r->v, levels, levels + r->N, r->N, r->K);
}

static void add_text(hm_sha256 *s, const char *text)
{
    if (!text) text = "";
    hm_sha256_add(s, text, strlen(text) + 1);
}

/* A hash of everything that the latents depend on. */
static void key_of(const run *r, int threads, uint8_t key[32])
{
    const hm_sample_opts *o = r->o;
    const hm_given *g = o->given;
    const int numbers[] = {o->steps, o->gw, o->gh, o->T, threads, g ? g->n_extra : 0, g && g->paste};
    const double reals[] = {o->guidance, g ? g->start : 1};
    hm_sha256 s;
    hm_sha256_init(&s);
    add_text(&s, HIMMEL_VERSION);
    add_text(&s, r->m->sha256);
    add_text(&s, hm_isa_name());
    add_text(&s, o->prompt);
    add_text(&s, o->negative);
    hm_sha256_add(&s, &o->seed, sizeof o->seed);
    hm_sha256_add(&s, numbers, sizeof numbers);
    hm_sha256_add(&s, reals, sizeof reals);
    if (g) hm_sha256_add(&s, g->extra_at, (size_t)g->n_extra * sizeof *g->extra_at);
    if (g) hm_sha256_add(&s, g->z, (size_t)(r->film * r->K) * sizeof *g->z);
    hm_sha256_add(&s, r->row, (size_t)r->N * sizeof *r->row);
    hm_sha256_add(&s, r->x, (size_t)(r->N * r->K) * sizeof *r->x); /* the start: noise and what is given */
    hm_sha256_end(&s, key);
}

static himmel_status loop(run *r, int threads, himmel_error *err)
{
    const hm_sample_opts *o = r->o;
    const size_t n = (size_t)(r->N * r->K);
    float t[HIMMEL_MAX_STEPS + 1];
    himmel_status rc = hm_schedule(t, o->steps, HM_SCHED_SD3_SHIFT, (double)r->m->shift, 0, err);
    if (rc) return rc;
    t[o->steps] = 0;
    if (o->given)
        for (int s = 0; s < o->steps; s++) t[s] *= (float)o->given->start;
    float *levels = malloc(2 * (size_t)r->N * sizeof *levels);
    if (!levels) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for noise levels");
    uint8_t key[32];
    const size_t kept = (size_t)(r->film * r->K);
    int s = 0;
    start(r);
    if (o->keep) {
        key_of(r, threads, key);
        s = hm_keep_load(o->keep, key, o->steps, r->x, kept);
    }
    for (; s < o->steps && !rc; s++) {
        forward(r, t[s]);
        if (r->B == 2) hm_guide(r->v, r->v, r->v + n, (int64_t)n, (float)o->guidance, 0.0f);
        step(r, t[s], t[s + 1], levels, s + 1 == o->steps);
        if (o->keep) hm_keep_save(o->keep, key, s + 1, s + 1 == o->steps, r->x, kept);
        if (o->on_step && o->on_step(o->user, s + 1, r->clean))
            rc = hm_fail(err, HIMMEL_ECANCELLED, "stopped after step %d of %d", s + 1, o->steps);
    }
    if (o->keep) o->keep->n++;
    free(levels);
    return rc;
}

himmel_status hm_sample(const hm_himmel1 *m, const hm_sample_opts *o, int threads, float *z,
                        hm_sample_cost *cost, himmel_error *err)
{
    run r;
    hm_sample_cost c = {0};
    himmel_status rc = run_init(&r, m, o, threads, false, err);
    if (!rc) {
        const double t0 = hm_now();
        encode_text(&r);
        const double t1 = hm_now();
        c.text_gflop = 1e-9 * (double)hm_flops(r.g);
        rc = loop(&r, threads, err);
        c.text_seconds = t1 - t0;
        c.sample_seconds = hm_now() - t1;
        c.sample_gflop = 1e-9 * (double)hm_flops(r.g) - c.text_gflop;
        c.peak_bytes = hm_peak(r.g);
    }
    if (!rc) memcpy(z, r.x, (size_t)(r.film * r.K) * sizeof *z);
    if (cost) *cost = c;
    run_deinit(&r);
    return rc;
}

himmel_status hm_sample_plan(const hm_himmel1 *m, const hm_sample_opts *o, hm_sample_cost *cost,
                             himmel_error *err)
{
    run r;
    *cost = (hm_sample_cost){0};
    const himmel_status rc = run_init(&r, m, o, 1, true, err);
    if (!rc) {
        encode_text(&r);
        cost->text_gflop = 1e-9 * (double)hm_flops(r.g);
        forward(&r, 1.0f);
        cost->sample_gflop = (1e-9 * (double)hm_flops(r.g) - cost->text_gflop) * o->steps;
        cost->peak_bytes = hm_peak(r.g) + (uint64_t)(r.N * r.K) * 5 * sizeof(float); /* x, 2 v, clean, z */
    }
    run_deinit(&r);
    return rc;
}
