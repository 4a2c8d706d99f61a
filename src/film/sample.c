/* sample.c - from words and noise to latents: the one loop.   SPDX-License-Identifier: MIT
 *   prompt, negative -T5-> [2,M,D]     noise x [N,K] -transformer, guidance, Euler, steps times-> latents
 * Both halves of guidance go through the transformer as a batch of two. Noise is Philox by position, so the
 * start of a film does not depend on threads; element i of the film is element i of the stream. Memory: arena
 * of one forward pass; x, velocity and estimate are N K floats each. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
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
    int64_t B, N, K;
    float *x, *v, *clean;
    float *cosine, *sine;
    int32_t *row;      /* all tokens have the same noise level here */
    hm_tensor *text, *mask;
} run;

static himmel_status run_init(run *r, const hm_himmel1 *m, const hm_sample_opts *o, int threads, bool plan,
                              himmel_error *err)
{
    memset(r, 0, sizeof *r);
    r->m = m;
    r->o = o;
    r->B = o->guidance > 1 ? 2 : 1;
    r->N = (int64_t)o->T * o->gh * o->gw;
    r->K = m->dit.cfg.in_channels;
    const size_t n = (size_t)(r->N * r->K), half = (size_t)(m->dit.cfg.n_heads * m->dit.cfg.head_dim / 2);
    r->x = malloc(n * sizeof *r->x);
    r->v = malloc(2 * n * sizeof *r->v);
    r->clean = malloc(n * sizeof *r->clean);
    r->cosine = malloc((size_t)r->N * half * sizeof *r->cosine);
    r->sine = malloc((size_t)r->N * half * sizeof *r->sine);
    r->row = calloc((size_t)(r->B * r->N), sizeof *r->row);
    double(*pos)[3] = malloc((size_t)r->N * sizeof *pos);
    himmel_status rc = HIMMEL_OK;
    if (!r->x || !r->v || !r->clean || !r->cosine || !r->sine || !r->row || !pos)
        rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for %dx%dx%d latents", o->T, o->gh, o->gw);
    if (!rc) {
        hm_himmel1_positions(o->T, o->gh, o->gw, pos);
        hm_dit_rope(&m->dit.cfg, (const double(*)[3])pos, r->N, r->cosine, r->sine);
        rc = hm_graph_new(&r->g, &(hm_graph_opts){.act = HM_BF16, .plan = plan, .n_threads = threads}, err);
    }
    free(pos);
    return rc;
}

static void run_deinit(run *r)
{
    hm_graph_free(r->g);
    free(r->x), free(r->v), free(r->clean);
    free(r->cosine), free(r->sine), free(r->row);
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
    const hm_dit_input in = {.x = hm_cast(r->g, x, hm_act(r->g)),
                             .levels = &t, .n_levels = 1, .row = r->row,
                             .cosine = hm_wrap(r->g, HM_F32, HM_DIMS(1, r->N, half), r->cosine),
                             .sine = hm_wrap(r->g, HM_F32, HM_DIMS(1, r->N, half), r->sine),
                             .text = r->text, .text_mask = r->mask};
    const hm_tensor *v = hm_dit_forward(r->g, &r->m->dit, &in);
    if (v->data) hm_convert(r->v, HM_F32, v->data, v->dtype, (size_t)r->B * n);
    hm_restore(r->g, mark);
}

static himmel_status loop(run *r, himmel_error *err)
{
    const hm_sample_opts *o = r->o;
    const size_t n = (size_t)(r->N * r->K);
    float t[HIMMEL_MAX_STEPS + 1];
    himmel_status rc = hm_schedule(t, o->steps, HM_SCHED_SD3_SHIFT, (double)r->m->shift, 0, err);
    if (rc) return rc;
    t[o->steps] = 0;
    float *now = malloc(2 * (size_t)r->N * sizeof *now);
    if (!now) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for noise levels");
    float *next = now + r->N;
    hm_randn(r->x, n, o->seed, NOISE_STREAM);
    for (int s = 0; s < o->steps && !rc; s++) {
        forward(r, t[s]);
        if (r->B == 2) hm_guide(r->v, r->v, r->v + n, (int64_t)n, (float)o->guidance, 0.0f);
        for (int64_t i = 0; i < r->N; i++) now[i] = t[s], next[i] = t[s + 1];
        if (o->on_step)
            for (size_t i = 0; i < n; i++) r->clean[i] = r->x[i] - t[s] * r->v[i];
        hm_euler_step(r->x, r->v, now, next, r->N, r->K);
        if (o->on_step && o->on_step(o->user, s + 1, r->clean))
            rc = hm_fail(err, HIMMEL_ECANCELLED, "stopped after step %d of %d", s + 1, o->steps);
    }
    free(now);
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
        rc = loop(&r, err);
        c.text_seconds = t1 - t0;
        c.sample_seconds = hm_now() - t1;
        c.sample_gflop = 1e-9 * (double)hm_flops(r.g) - c.text_gflop;
        c.peak_bytes = hm_peak(r.g);
    }
    if (!rc) memcpy(z, r.x, (size_t)(r.N * r.K) * sizeof *z);
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
