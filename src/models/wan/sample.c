/* sample.c - Wan's denoising loop; see sample.h.   SPDX-License-Identifier: MIT
 * Trap: with a known first frame its tokens are told t = 0 and its latents are put back after every step; the solver's own
 * history is left alone. */
#include "models/wan/sample.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const hm_wan_sampling *s;
    hm_graph *g;
    int64_t n;               /* numbers of a latent */
    float *cond, *uncond;
    int32_t *row;            /* with a still: 1 for its tokens */
    float sigma[HM_MAX_STEPS + 1], t[HM_MAX_STEPS];
    hm_solver *solver;
    hm_step_cache *cache;    /* NULL: none */
    float *state;            /* x, solver, cache: as it is kept; NULL: it is not */
    size_t n_state;
} loop;

static void put_back(const loop *l, float *x)
{
    const hm_wan_input *in = &l->s->in;
    const size_t hw = (size_t)in->H * (size_t)in->W;
    const int C = l->s->model->cfg.out_dim;
    for (int c = 0; c < C && l->s->still; c++)
        memcpy(x + (size_t)c * (size_t)in->T * hw, l->s->still + (size_t)c * hw, hw * sizeof *x);
}

static void predict(const loop *l, const hm_wan *m, const float *x, float t, bool negative, float *v)
{
    const float levels[2] = {t, 0};
    hm_wan_input in = l->s->in;
    in.x = x;
    in.levels = levels;
    in.n_levels = l->s->still ? 2 : 1;
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
    const int step = k ? k->load(k->user, k->words, l->s->steps, l->state, l->n_state) : 0;
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
    k->save(k->user, k->words, step, step == l->s->steps, l->state, l->n_state);
}

static himmel_status steps(loop *l, float *x, himmel_error *err)
{
    const hm_wan_sampling *s = l->s;
    for (int i = go_on(l, x); i < s->steps; i++) {
        const bool low = s->low && l->t[i] < s->boundary * 1000.0f;
        const float scale = low ? s->guidance_low : s->guidance;
        const hm_wan *m = low ? s->low : s->model;
        if (s->on_step && s->on_step(s->user, i, s->steps, x)) return hm_fail(err, HIMMEL_ECANCELLED, "sampling was stopped at step %d of %d", i, s->steps);
        const bool both = scale != 1.0f && s->negative;
        velocities(l, m, i, both, x);
        if (both) {
            for (int64_t k = 0; k < l->n; k++) l->cond[k] = l->uncond[k] + scale * (l->cond[k] - l->uncond[k]);
        }
        hm_solver_step(l->solver, x, l->cond);
        put_back(l, x);
        leave(l, x, i + 1);
    }
    if (s->kept) s->kept->end(s->kept->user);
    return HIMMEL_OK;
}

himmel_status hm_wan_sample(hm_graph *g, const hm_wan_sampling *s, float *x, himmel_error *err)
{
    const hm_wan_config *c = &s->model->cfg;
    const int64_t tokens = hm_wan_tokens(c, &s->in);
    loop *l = calloc(1, sizeof *l);
    if (!l) return hm_fail(err, HIMMEL_ENOMEM, "sampling: out of memory");
    l->s = s;
    l->g = g;
    l->n = (int64_t)c->out_dim * s->in.T * s->in.H * s->in.W;
    himmel_status rc = hm_flow_sigmas(l->sigma, l->t, s->steps, s->solver == HM_SOLVER_DPMPP ? HM_GRID_DPMPP : HM_GRID_UNIPC, s->shift, err);
    if (!rc) rc = hm_solver_new(&l->solver, s->solver, l->sigma, s->steps, l->n, err);
    if (!rc && s->step_cache > 0) rc = hm_step_cache_new(&l->cache, s->step_cache, s->steps, l->n, 2, err);
    l->n_state = 4 * (size_t)l->n + hm_step_cache_numbers(l->cache);
    l->state = s->kept ? malloc(l->n_state * sizeof(float)) : NULL;
    l->cond = malloc((size_t)l->n * sizeof(float));
    l->uncond = malloc((size_t)l->n * sizeof(float));
    l->row = calloc((size_t)tokens, sizeof *l->row);
    if (!rc && (!l->cond || !l->uncond || !l->row || (s->kept && !l->state))) rc = hm_fail(err, HIMMEL_ENOMEM, "sampling: out of memory");
    for (int64_t i = 0; i < tokens / (s->in.T / c->patch[0]) && !rc && s->still; i++) l->row[i] = 1;
    if (!rc) {
        put_back(l, x);
        rc = steps(l, x, err);
    }
    hm_solver_free(l->solver);
    hm_step_cache_free(l->cache);
    free(l->state);
    free(l->cond);
    free(l->uncond);
    free(l->row);
    free(l);
    return rc;
}
