/* pipe.c - the denoising loop of LTX-Video with everything that can be given; see pipe.h.
 * SPDX-License-Identifier: MIT noise (or noised latents) + given latents -> tokens, each with its own time ->
 * transformer, guidance, step -> latents Traps: keyframes are extra tokens in front, at their own frame, cut
 * off at the end; a token of strength s stays at time 1 - s until the others are there; a clip at a later
 * frame gives its first two latents as extra tokens; guidance rows are negative, text, perturbed; the
 * rescaling belongs to spatio-temporal guidance and is left out where its factor is 1. */
#include "models/ltx/pipe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/sampler.h"
#include "diffusion/step_cache.h"

enum { MAX_ITEMS = 64 };

typedef struct {
    const hm_ltx_nets *nets;
    const hm_ltx_pass *p;
    const hm_ltx_calls *calls;
    int64_t T, h, w, C, extra, N; /* latent frames; tokens of keyframes; all tokens */
    float *x, *init, *v, *noise;  /* [N][C]; v [3][N][C] */
    float *strength;              /* [N]; NULL: nothing is given */
    float *now, *next, *levels;   /* [N] */
    int32_t *row;                 /* [3*N] */
    double (*pos)[3];
    float *cosine, *sine;
    hm_tensor *text, *mask; /* [3,M,caption], [3,M] */
    float *state;           /* x, the number of draws, cache: as it is kept; NULL: it is not */
    size_t n_state;
    hm_step_cache *cache;   /* NULL: none; its row 0 is the prompt's */
} run;

static int64_t area(const run *r)
{
    return r->h * r->w;
}

static void look(const run *r, const char *name, int step, const float *x, int64_t rows, int64_t C)
{
    if (r->calls->look) r->calls->look(r->calls->user, name, step, x, rows, C);
}

/* ---- what is given ---- */

static int64_t latent_frames(const hm_vae *v, int frames)
{
    return (frames - 1) / v->scale_t + 1;
}

static himmel_status check(const hm_ltx_nets *n, const hm_ltx_pass *p, himmel_error *err)
{
    const hm_vae *v = n->vae;
    if (p->width < v->scale_s || p->height < v->scale_s || p->width % v->scale_s || p->height % v->scale_s)
        return hm_fail(err, HIMMEL_EINVAL, "ltx-video: size is %dx%d, sides are multiples of %d", p->width,
                       p->height, v->scale_s);
    if (p->n_frames < 1 || (p->n_frames - 1) % v->scale_t)
        return hm_fail(err, HIMMEL_EINVAL, "ltx-video: %d frames, must be 1 + a multiple of %d", p->n_frames,
                       v->scale_t);
    if (p->n_times < 1 || p->n_times > HM_LTX_MAX_STEPS)
        return hm_fail(err, HIMMEL_EINVAL, "ltx-video: %d steps, must be 1..%d", p->n_times,
                       HM_LTX_MAX_STEPS);
    if (p->n_items < 0 || p->n_items > MAX_ITEMS)
        return hm_fail(err, HIMMEL_EINVAL,
                       "ltx-video: %d pictures and clips are given, at most %d are possible", p->n_items,
                       MAX_ITEMS);
    for (int i = 0; i < p->n_items; i++) {
        const hm_ltx_item *it = &p->items[i];
        if (it->n_frames < 1 || (it->n_frames - 1) % v->scale_t || it->at < 0 ||
            it->at > p->n_frames - it->n_frames)
            return hm_fail(err, HIMMEL_EINVAL,
                           "ltx-video: given clip %d has %d frames at frame %d; it must have 1 + a multiple "
                           "of %d within the %d",
                           i + 1, it->n_frames, it->at, v->scale_t, p->n_frames);
        if (it->at && latent_frames(v, it->n_frames) > HM_LTX_PREFIX && (it->at % v->scale_t))
            return hm_fail(err, HIMMEL_EINVAL,
                           "ltx-video: given clip %d begins at frame %d, must be a multiple of %d", i + 1,
                           it->at, v->scale_t);
        if (!(it->strength >= 0 && it->strength <= 1))
            return hm_fail(err, HIMMEL_EINVAL, "ltx-video: strength of given clip %d is %g, must be 0..1",
                           i + 1, it->strength);
    }
    if (p->known && !p->media) return hm_fail(err, HIMMEL_EINVAL, "ltx-video: tokens of no film shall stay");
    return HIMMEL_OK;
}

/* Latent frames of an item that become extra tokens. */
static int64_t extra_frames(const hm_vae *v, const hm_ltx_item *it)
{
    return it->at ? HM_MIN((int64_t)HM_LTX_PREFIX, latent_frames(v, it->n_frames)) : 0;
}

/* x of n tokens from token `at` on goes toward z by strength. */
static void blend(run *r, int64_t at, const float *z, int64_t n, float strength)
{
    float *x = r->x + at * r->C;
    for (int64_t i = 0; i < n * r->C; i++) x[i] += strength * (z[i] - x[i]);
    for (int64_t i = 0; i < n; i++) r->strength[at + i] = strength;
}

static void place(run *r, int64_t token, int64_t frames, int at)
{
    const hm_vae *v = r->nets->vae;
    const bool causal = r->nets->dit->cfg.causal_time;
    for (int64_t f = 0; f < frames; f++)
        for (int64_t y = 0; y < r->h; y++)
            for (int64_t x = 0; x < r->w; x++, token++) {
                const int64_t first =
                    causal ? HM_MAX((int64_t)0, v->scale_t * f + 1 - v->scale_t) : v->scale_t * f;
                r->pos[token][0] = (double)(first + at) / r->p->fps;
                r->pos[token][1] = (double)(v->scale_s * y);
                r->pos[token][2] = (double)(v->scale_s * x);
            }
}

/* Encode item i and put it where it belongs; *token: the next extra token. */
static himmel_status give(run *r, const hm_ltx_item *it, int64_t *token, himmel_error *err)
{
    const hm_vae *v = r->nets->vae;
    const int64_t frames = latent_frames(v, it->n_frames), own = extra_frames(v, it),
                  film = r->extra * area(r);
    float *z = malloc((size_t)(frames * area(r) * r->C) * sizeof *z);
    if (!z) return hm_fail(err, HIMMEL_ENOMEM, "ltx-video: out of memory for a given clip");
    const himmel_status rc = hm_ltx_encode_frames(r->nets, it, r->p->width, r->p->height, r->calls, z, err);
    if (!rc && !it->at) blend(r, film, z, frames * area(r), it->strength);
    if (!rc && it->at) {
        const int64_t skip = own * area(r);
        if (frames > own)
            blend(r, film + (it->at / v->scale_t + own) * area(r), z + skip * r->C, frames * area(r) - skip,
                  it->strength);
        r->calls->draw(r->calls->user, HM_LTX_EXTRA, r->x + *token * r->C, skip, r->C);
        blend(r, *token, z, skip, it->strength);
        place(r, *token, own, it->at);
        *token += skip;
    }
    free(z);
    return rc;
}

/* Start values and positions of all tokens. */
static himmel_status begin(run *r, himmel_error *err)
{
    const hm_ltx_pass *p = r->p;
    const int64_t film = r->T * area(r);
    float *x = r->x + r->extra * area(r) * r->C;
    himmel_status rc = HIMMEL_OK;
    const float *start = p->start;
    if (p->media) {
        if (p->media->n_frames != p->n_frames)
            return hm_fail(err, HIMMEL_EINVAL, "ltx-video: the film to start from has %d frames, not %d",
                           p->media->n_frames, p->n_frames);
        rc = hm_ltx_encode_frames(r->nets, p->media, p->width, p->height, r->calls, r->noise, err);
        if (!start) start = r->noise;
    }
    if (rc) return rc;
    r->calls->draw(r->calls->user, HM_LTX_INIT, x, film, r->C);
    const float t = p->times[0];
    for (int64_t i = 0; start && i < film * r->C; i++) x[i] = t * x[i] + (1 - t) * start[i];
    for (int64_t i = 0; p->known && i < film; i++)
        if (p->known[i]) blend(r, r->extra * area(r) + i, r->noise + i * r->C, 1, 1);
    place(r, r->extra * area(r), r->T, 0);
    int64_t token = 0;
    for (int i = 0; i < p->n_items && !rc; i++) rc = give(r, &p->items[i], &token, err);
    memcpy(r->init, r->x, (size_t)(r->N * r->C) * sizeof *r->x);
    return rc;
}

/* ---- steps ---- */

/* The distinct times of the tokens and which one each has. */
static int64_t count_levels(run *r, int64_t B)
{
    int64_t n = 0;
    for (int64_t i = 0; i < r->N; i++) {
        int64_t l = i && r->now[i] == r->now[i - 1] ? r->row[i - 1] : 0;
        while (l < n && r->levels[l] != r->now[i]) l++;
        if (l == n) r->levels[n++] = r->now[i];
        r->row[i] = (int32_t)l;
    }
    for (int64_t b = 1; b < B; b++) memcpy(r->row + b * r->N, r->row, (size_t)r->N * sizeof *r->row);
    return n;
}

typedef struct {
    bool cfg, stg;
    int64_t B, first; /* rows, and the first of negative, text, perturbed */
    uint64_t layers;
} shape;

static shape shape_of(const hm_ltx_guide *u, int i)
{
    shape s = {.cfg = u->scale[i] > 1, .stg = u->stg[i] > 0, .layers = u->layers[i]};
    s.B = 1 + s.cfg + s.stg;
    s.first = s.cfg ? 0 : 1;
    return s;
}

/* Velocity of s->B rows into r->v. */
static void forward(run *r, const shape *s, int64_t n_levels)
{
    hm_graph *g = r->nets->g;
    const hm_dit_config *c = &r->nets->dit->cfg;
    const hm_mark mark = hm_save(g);
    const int64_t half = (int64_t)c->n_heads * c->head_dim / 2, n = r->N * r->C, M = r->nets->M;
    hm_tensor *x = hm_new(g, hm_act(g), HM_DIMS(s->B, r->N, r->C));
    if (x->data)
        for (int64_t b = 0; b < s->B; b++)
            hm_convert((char *)x->data + (size_t)(b * n) * hm_dtype_size(x->dtype), x->dtype, r->x, HM_F32,
                       (size_t)n);
    const size_t row = (size_t)(M * c->caption_channels) * hm_dtype_size(r->text->dtype);
    char *text = r->text->data;
    float *mask = r->mask->data;
    const float keep[3] = {1, s->B == 2 && s->stg ? 0 : 1, 0};
    const hm_dit_input in = {.x = x,
                             .levels = r->levels,
                             .n_levels = n_levels,
                             .row = r->row,
                             .cosine = hm_wrap(g, HM_F32, HM_DIMS(1, r->N, half), r->cosine),
                             .sine = hm_wrap(g, HM_F32, HM_DIMS(1, r->N, half), r->sine),
                             .text = hm_wrap(g, r->text->dtype, HM_DIMS(s->B, M, c->caption_channels),
                                             text ? text + (size_t)s->first * row : NULL),
                             .text_mask =
                                 hm_wrap(g, HM_F32, HM_DIMS(s->B, M), mask ? mask + s->first * M : NULL),
                             .stg_layers = s->stg ? s->layers : 0,
                             .stg_mode = r->p->guide.stg_mode,
                             .stg_keep = keep};
    const hm_tensor *v = hm_dit_forward(g, r->nets->dit, &in);
    if (v->data) hm_convert(r->v, HM_F32, v->data, v->dtype, (size_t)(s->B * n));
    hm_restore(g, mark);
}

/* The velocities of a step's rows become one, in the first row. */
static void guide(run *r, const shape *s, int i)
{
    const hm_ltx_guide *u = &r->p->guide;
    const int64_t n = r->N * r->C;
    float *neg = s->cfg ? r->v : NULL, *text = s->cfg ? r->v + n : r->v, *worse = s->stg ? text + n : NULL;
    if (s->B == 1) return;
    if (neg && u->star) {
        double dot = 0, norm = 0;
        for (int64_t k = 0; k < n; k++) dot += (double)text[k] * neg[k], norm += (double)neg[k] * neg[k];
        const float a = (float)(dot / (norm + 1e-8));
        for (int64_t k = 0; k < n; k++) neg[k] *= a;
    }
    const bool rescale = s->stg && u->rescale[i] != 1;
    hm_guide_stg(r->v, text, neg, worse, n,
                 &(hm_guidance){u->scale[i], u->stg[i], rescale ? u->rescale[i] : 0});
}

/* Given tokens get a little new noise before each step, so that they can move. */
static void image_noise(run *r, float t)
{
    if (!r->strength || !(r->p->image_noise > 0)) return;
    r->calls->draw(r->calls->user, HM_LTX_IMAGE, r->noise, r->N, r->C);
    for (int64_t i = 0; i < r->N; i++) {
        if (r->strength[i] <= 1 - 1e-6f) continue;
        for (int64_t k = i * r->C; k < (i + 1) * r->C; k++)
            r->x[k] = r->init[k] + r->p->image_noise * r->noise[k] * (t * t);
    }
}

/* Velocity of s->B rows into r->v, computed or foreseen. In the cache the prompt's row comes first, then the negative's. */
static void velocities(run *r, const shape *s, int i, int entry)
{
    const int64_t n = r->N * r->C;
    const int first = s->cfg, after = (int)s->B - 1 - first;
    float *text = r->v + first * n;
    const bool skip = hm_step_cache_skips(r->cache, i, entry, r->x);
    int *count = skip ? r->p->n_skipped : r->p->n_passes;
    if (count) *count += (int)s->B;
    if (skip) {
        hm_step_cache_guess(r->cache, r->x, text, 0, 1);
        hm_step_cache_guess(r->cache, r->x, r->v, 1, first);
        hm_step_cache_guess(r->cache, r->x, text + n, 1 + first, after);
        return;
    }
    forward(r, s, count_levels(r, s->B));
    hm_step_cache_take(r->cache, r->x, text, 0, 1);
    if (first) hm_step_cache_take(r->cache, r->x, r->v, 1, 1);
    if (after) hm_step_cache_take(r->cache, r->x, text + n, 1 + first, after);
}

/* The step to begin with: 0, or the one after what was kept. */
static int go_on(run *r)
{
    const hm_kept *k = r->calls->kept;
    const size_t n = (size_t)(r->N * r->C);
    const int step = k ? k->load(k->user, k->words, r->p->n_times, r->state, r->n_state) : 0;
    if (!step) return 0;
    memcpy(r->x, r->state, n * sizeof *r->x);
    *r->calls->draws = (int)r->state[n];
    hm_step_cache_restore(r->cache, r->state + n + 1);
    return step;
}

static void leave(run *r, int step)
{
    const hm_kept *k = r->calls->kept;
    const size_t n = (size_t)(r->N * r->C);
    if (!k) return;
    memcpy(r->state, r->x, n * sizeof *r->x);
    r->state[n] = (float)*r->calls->draws;
    hm_step_cache_store(r->cache, r->state + n + 1);
    k->save(k->user, k->words, step, step == r->p->n_times, r->state, r->n_state);
}

/* The film's latents without the noise that they still have; r->noise is free then. */
static int foresee(run *r)
{
    const int64_t from = r->extra * area(r), n = r->T * area(r);
    if (!r->calls->on_clean) return 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < r->C; c++) {
            const int64_t k = (from + i) * r->C + c;
            r->noise[i * r->C + c] = r->x[k] - r->now[from + i] * r->v[k];
        }
    return r->calls->on_clean(r->calls->user, r->noise, r->T, r->h, r->w);
}

static himmel_status step(run *r, int i, himmel_error *err)
{
    const hm_ltx_pass *p = r->p;
    const float t = p->times[i];
    const int entry = hm_guidance_index(p->guide.times, p->guide.n, t);
    const shape s = shape_of(&p->guide, entry);
    image_noise(r, t);
    hm_token_times(r->now, r->next, r->strength, r->N, p->times, p->n_times, i);
    velocities(r, &s, i, entry);
    look(r, "timestep", i, r->now, r->N, 1);
    look(r, "model_out", i, r->v, s.B * r->N, r->C);
    guide(r, &s, entry);
    look(r, "guided", i, r->v, r->N, r->C);
    if (foresee(r)) return hm_fail(err, HIMMEL_ECANCELLED, "stopped at step %d of %d", i + 1, p->n_times);
    if (p->stochastic) {
        r->calls->draw(r->calls->user, HM_LTX_STEP, r->noise, r->N, r->C);
        hm_renoise_step(r->x, r->v, r->noise, r->now, r->next, r->N, r->C);
    } else {
        hm_euler_step(r->x, r->v, r->now, r->next, r->N, r->C);
    }
    look(r, "latents", i, r->x, r->N, r->C);
    leave(r, i + 1);
    if (r->calls->on_step && r->calls->on_step(r->calls->user, i + 1, p->n_times))
        return hm_fail(err, HIMMEL_ECANCELLED, "stopped after step %d of %d", i + 1, p->n_times);
    return HIMMEL_OK;
}

/* ---- a pass ---- */

static void text_rows(run *r)
{
    const hm_ltx_nets *n = r->nets;
    hm_graph *g = n->g;
    const int64_t W = n->dit->cfg.caption_channels;
    r->text = hm_new(g, hm_act(g), HM_DIMS(3, n->M, W));
    r->mask = hm_new(g, HM_F32, HM_DIMS(3, n->M));
    if (hm_is_plan(g)) return;
    for (int b = 0; b < 3; b++) {
        const int k = b > 0;
        hm_convert((char *)r->text->data + (size_t)(b * n->M * W) * hm_dtype_size(r->text->dtype),
                   r->text->dtype, n->text[k], HM_F32, (size_t)(n->M * W));
        for (int64_t i = 0; i < n->M; i++)
            ((float *)r->mask->data)[b * n->M + i] = n->mask[k][i] > 0 ? 0.0f : -10000.0f;
    }
}

static himmel_status run_new(run *r, const hm_ltx_nets *n, const hm_ltx_pass *p, const hm_ltx_calls *calls,
                             himmel_error *err)
{
    *r = (run){.nets = n, .p = p, .calls = calls};
    const himmel_status rc = check(n, p, err);
    if (rc) return rc;
    r->T = latent_frames(n->vae, p->n_frames);
    r->h = p->height / n->vae->scale_s;
    r->w = p->width / n->vae->scale_s;
    r->C = n->dit->cfg.in_channels;
    for (int i = 0; i < p->n_items; i++) r->extra += extra_frames(n->vae, &p->items[i]);
    r->N = (r->T + r->extra) * area(r);
    const size_t N = (size_t)r->N, all = N * (size_t)r->C;
    const size_t half = (size_t)n->dit->cfg.n_heads * (size_t)n->dit->cfg.head_dim / 2;
    r->x = malloc(all * sizeof *r->x);
    r->init = malloc(all * sizeof *r->init);
    r->noise = malloc(all * sizeof *r->noise);
    r->v = malloc(3 * all * sizeof *r->v);
    r->strength = p->n_items || p->known ? calloc(N, sizeof *r->strength) : NULL;
    r->now = malloc(N * sizeof *r->now);
    r->next = malloc(N * sizeof *r->next);
    r->levels = malloc(N * sizeof *r->levels);
    r->row = calloc(3 * N, sizeof *r->row);
    r->pos = calloc(N, sizeof *r->pos);
    r->cosine = malloc(N * half * sizeof *r->cosine);
    r->sine = malloc(N * half * sizeof *r->sine);
    if (!r->x || !r->init || !r->noise || !r->v || ((p->n_items || p->known) && !r->strength) || !r->now || !r->next ||
        !r->levels || !r->row || !r->pos || !r->cosine || !r->sine)
        return hm_fail(err, HIMMEL_ENOMEM, "ltx-video: out of memory for %lld tokens", (long long)r->N);
    text_rows(r);
    if (p->step_cache > 0) {
        const himmel_status made = hm_step_cache_new(&r->cache, p->step_cache, p->n_times, r->N * r->C, 3, err);
        if (made) return made;
    }
    r->n_state = all + 1 + hm_step_cache_numbers(r->cache);
    if (calls->kept && !(r->state = malloc(r->n_state * sizeof *r->state)))
        return hm_fail(err, HIMMEL_ENOMEM, "ltx-video: out of memory for %lld tokens", (long long)r->N);
    return HIMMEL_OK;
}

static void run_free(run *r)
{
    hm_step_cache_free(r->cache);
    free(r->state);
    free(r->x), free(r->init), free(r->noise), free(r->v), free(r->strength), free(r->now), free(r->next);
    free(r->levels), free(r->row), free(r->pos), free(r->cosine), free(r->sine);
}

himmel_status hm_ltx_sample(const hm_ltx_nets *n, const hm_ltx_pass *p, const hm_ltx_calls *calls, float *z,
                            himmel_error *err)
{
    run r;
    const hm_mark mark = hm_save(n->g);
    himmel_status rc = run_new(&r, n, p, calls, err);
    if (!rc) rc = begin(&r, err);
    if (!rc) {
        hm_dit_rope(&n->dit->cfg, (const double(*)[3])r.pos, r.N, r.cosine, r.sine);
        for (int64_t i = 0; i < r.N && calls->look; i++)
            for (int a = 0; a < 3; a++) r.v[a * r.N + i] = (float)r.pos[i][a];
        look(&r, "positions", -1, r.v, 3 * r.N, 1);
        look(&r, "init_latents", -1, r.x, r.N, r.C);
        if (r.strength) look(&r, "conditioning_mask", -1, r.strength, r.N, 1);
    }
    for (int i = rc ? 0 : go_on(&r); i < p->n_times && !rc; i++) rc = step(&r, i, err);
    if (!rc && calls->kept) calls->kept->end(calls->kept->user);
    if (!rc) memcpy(z, r.x + r.extra * area(&r) * r.C, (size_t)(r.T * area(&r) * r.C) * sizeof *z);
    run_free(&r);
    hm_restore(n->g, mark);
    return rc;
}

himmel_status hm_ltx_plan_sample(const hm_ltx_nets *n, const hm_ltx_pass *p, double *gflop, himmel_error *err)
{
    run r;
    const hm_ltx_calls none = {0};
    const hm_mark mark = hm_save(n->g);
    himmel_status rc = run_new(&r, n, p, &none, err);
    const uint64_t start = hm_flops(n->g);
    if (!rc && p->media) rc = hm_ltx_encode_frames(n, p->media, p->width, p->height, &none, r.noise, err);
    for (int i = 0; i < p->n_items && !rc; i++)
        rc = hm_ltx_encode_frames(n, &p->items[i], p->width, p->height, &none, r.noise, err);
    *gflop = 1e-9 * (double)(hm_flops(n->g) - start);
    for (int i = 0; i < p->n_times && !rc; i++) {
        const shape s = shape_of(&p->guide, hm_guidance_index(p->guide.times, p->guide.n, p->times[i]));
        const uint64_t before = hm_flops(n->g);
        forward(&r, &s, r.strength ? 2 : 1);
        *gflop += 1e-9 * (double)(hm_flops(n->g) - before);
    }
    run_free(&r);
    hm_restore(n->g, mark);
    return rc;
}
