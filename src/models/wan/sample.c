/* sample.c - Wan's denoising loop; see sample.h.   SPDX-License-Identifier: MIT
 * Trap: what is known is put back after every step (where the transformer is told, with t = 0); the solver's own history is
 * left alone. */
#include "models/wan/sample.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const hm_wan_sampling *s;
    hm_graph *g;
    int64_t n;               /* numbers of a latent */
    float *cond, *uncond;
    int32_t *row;            /* 1 for tokens that are told t = 0 */
    float *noise;            /* of the beginning, where something is put back with it; else NULL */
    int steps;
    float sigma[HM_MAX_STEPS + 2], t[HM_MAX_STEPS + 1];
    hm_solver *solver;
    hm_step_cache *cache;    /* NULL: none */
    float *state;            /* x, solver, cache: as it is kept; NULL: it is not */
    size_t n_state;
} loop;

static const double least_step = 1e-3; /* a first step that is shorter is not worth its pass */

int hm_wan_levels(const hm_wan_sampling *s, float *sigma, float *t, himmel_error *err)
{
    int from = 0;
    if (s->steps > HM_MAX_STEPS) return hm_fail(err, HIMMEL_EINVAL, "wan: %d steps, at most %d are possible", s->steps, (int)HM_MAX_STEPS), 0;
    if (hm_flow_sigmas(sigma, t, s->steps, s->solver == HM_SOLVER_DPMPP ? HM_GRID_DPMPP : HM_GRID_UNIPC, s->shift, err)) return 0;
    if (!s->start || s->level >= (double)sigma[0] - least_step) return s->steps;
    while (from < s->steps && (double)sigma[from] > s->level - least_step) from++;
    const int n = s->steps - from;
    memmove(sigma + 1, sigma + from, ((size_t)n + 1) * sizeof *sigma);
    memmove(t + 1, t + from, (size_t)n * sizeof *t);
    sigma[0] = (float)s->level;
    t[0] = (float)(int)(s->level * 1000.0);
    return n + 1;
}

/* x is at noise level sigma from now on: so is what is known. */
static void put_back(const loop *l, float *x, float sigma)
{
    const hm_wan_sampling *s = l->s;
    const hm_wan_input *in = &s->in;
    const size_t hw = (size_t)in->H * (size_t)in->W, film = (size_t)in->T * hw;
    const size_t C = (size_t)s->model->cfg.out_dim;
    for (size_t c = 0; c < C && s->still; c++) memcpy(x + c * film, s->still + c * hw, hw * sizeof *x);
    for (size_t c = 0; c < C && s->stays; c++)
        for (size_t i = 0; i < film; i++) {
            const size_t k = c * film + i;
            if (s->stays[i]) x[k] = s->told ? s->start[k] : (1 - sigma) * s->start[k] + sigma * l->noise[k];
        }
}

/* Noise becomes what the first step starts from. */
static void begin(const loop *l, float *x)
{
    const hm_wan_sampling *s = l->s;
    const float sigma = l->sigma[0];
    if (l->noise) memcpy(l->noise, x, (size_t)l->n * sizeof *x);
    for (int64_t k = 0; k < l->n && s->start && s->level < 1; k++) x[k] = sigma * x[k] + (1 - sigma) * s->start[k];
    put_back(l, x, sigma);
}

/* Which tokens have no noise. */
static void set_rows(const loop *l)
{
    const hm_wan_input *in = &l->s->in;
    const int *p = l->s->model->cfg.patch, h = in->H / p[1], w = in->W / p[2];
    for (int i = 0; i < in->T / p[0] * h * w; i++) {
        const int f = i / (h * w), y = i / w % h, x = i % w;
        const bool stays = l->s->told && l->s->stays && l->s->stays[(f * p[0] * in->H + y * p[1]) * in->W + x * p[2]];
        l->row[i] = stays || (l->s->still && f == 0);
    }
}

static bool two_times(const hm_wan_sampling *s) { return s->still || (s->stays && s->told); }

static void predict(const loop *l, const hm_wan *m, const float *x, float t, bool negative, float *v)
{
    const float levels[2] = {t, 0};
    hm_wan_input in = l->s->in;
    in.x = x;
    in.levels = levels;
    in.n_levels = two_times(l->s) ? 2 : 1;
    in.row = l->row;
    in.text = negative ? l->s->negative : l->s->text;
    in.n_text = negative ? l->s->n_negative : l->s->n_text;
    hm_wan_forward(l->g, m, &in, v);
}

/* The velocities with (cond) and, if there is guidance, without the prompt, at step i. */
static void velocities(const loop *l, const hm_wan *m, int i, bool both, const float *x)
{
    const bool skip = hm_step_cache_skips(l->cache, i, 2 * (m == l->s->low) + both, x);
    int *count = skip ? l->s->n_skipped : l->s->n_passes;
    for (int row = 0; row < 1 + both; row++) {
        float *v = row ? l->uncond : l->cond;
        if (skip) hm_step_cache_guess(l->cache, x, v, row, 1);
        else predict(l, m, x, l->t[i], row, v);
        if (!skip) hm_step_cache_take(l->cache, x, v, row, 1);
    }
    if (count) *count += 1 + both;
}

/* The step to begin with: 0, or the one after what was kept. */
static int go_on(const loop *l, float *x)
{
    const hm_kept *k = l->s->kept;
    const int step = k ? k->load(k->user, k->words, l->steps, l->state, l->n_state) : 0;
    if (!step) return 0;
    memcpy(x, l->state, (size_t)l->n * sizeof *x);
    hm_solver_restore(l->solver, l->state + l->n, step);
    hm_step_cache_restore(l->cache, l->state + 4 * l->n);
    return step;
}

static void leave(const loop *l, const float *x, int step)
{
    const hm_kept *k = l->s->kept;
    if (!k) return;
    memcpy(l->state, x, (size_t)l->n * sizeof *x);
    hm_solver_store(l->solver, l->state + l->n);
    hm_step_cache_store(l->cache, l->state + 4 * l->n);
    k->save(k->user, k->words, step, step == l->steps, l->state, l->n_state);
}

/* l->cond is the velocity at x; the other one is not needed any more. */
static int foresee(const loop *l, const float *x, float sigma)
{
    if (!l->s->on_clean) return 0;
    for (int64_t k = 0; k < l->n; k++) l->uncond[k] = x[k] - sigma * l->cond[k];
    return l->s->on_clean(l->s->user, l->uncond);
}

static himmel_status steps(loop *l, float *x, himmel_error *err)
{
    const hm_wan_sampling *s = l->s;
    for (int i = go_on(l, x); i < l->steps; i++) {
        const bool low = s->low && l->t[i] < s->boundary * 1000.0f;
        const float scale = low ? s->guidance_low : s->guidance;
        const hm_wan *m = low ? s->low : s->model;
        if (s->on_step && s->on_step(s->user, i, l->steps, x)) return hm_fail(err, HIMMEL_ECANCELLED, "sampling was stopped at step %d of %d", i, l->steps);
        const bool both = scale != 1.0f && s->negative;
        velocities(l, m, i, both, x);
        if (both) {
            for (int64_t k = 0; k < l->n; k++) l->cond[k] = l->uncond[k] + scale * (l->cond[k] - l->uncond[k]);
        }
        if (foresee(l, x, l->sigma[i])) return hm_fail(err, HIMMEL_ECANCELLED, "sampling was stopped at step %d of %d", i, l->steps);
        hm_solver_step(l->solver, x, l->cond);
        put_back(l, x, l->sigma[i + 1]);
        leave(l, x, i + 1);
    }
    if (s->kept) s->kept->end(s->kept->user);
    return HIMMEL_OK;
}

static himmel_status prepare(loop *l, himmel_error *err)
{
    const hm_wan_sampling *s = l->s;
    const size_t n = (size_t)l->n;
    l->steps = hm_wan_levels(s, l->sigma, l->t, err);
    if (!l->steps) return HIMMEL_EINVAL;
    himmel_status rc = hm_solver_new(&l->solver, s->solver, l->sigma, l->steps, l->n, err);
    if (!rc && s->step_cache > 0) rc = hm_step_cache_new(&l->cache, s->step_cache, l->steps, l->n, 2, err);
    const bool noise = s->stays && !s->told;
    l->n_state = 4 * n + hm_step_cache_numbers(l->cache);
    l->state = s->kept ? malloc(l->n_state * sizeof(float)) : NULL;
    l->noise = noise ? malloc(n * sizeof(float)) : NULL;
    l->cond = malloc(n * sizeof(float));
    l->uncond = malloc(n * sizeof(float));
    l->row = calloc((size_t)hm_wan_tokens(&s->model->cfg, &s->in), sizeof *l->row);
    const bool all = l->cond && l->uncond && l->row && (l->state || !s->kept) && (l->noise || !noise);
    if (!rc && !all) rc = hm_fail(err, HIMMEL_ENOMEM, "sampling: out of memory");
    return rc;
}

himmel_status hm_wan_sample(hm_graph *g, const hm_wan_sampling *s, float *x, himmel_error *err)
{
    loop *l = calloc(1, sizeof *l);
    if (!l) return hm_fail(err, HIMMEL_ENOMEM, "sampling: out of memory");
    l->s = s;
    l->g = g;
    l->n = (int64_t)s->model->cfg.out_dim * s->in.T * s->in.H * s->in.W;
    himmel_status rc = prepare(l, err);
    if (!rc) {
        set_rows(l);
        begin(l, x);
        rc = steps(l, x, err);
    }
    hm_solver_free(l->solver);
    hm_step_cache_free(l->cache);
    free(l->state);
    free(l->noise);
    free(l->cond);
    free(l->uncond);
    free(l->row);
    free(l);
    return rc;
}
