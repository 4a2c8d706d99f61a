/* batch.c - assemble a training batch.   SPDX-License-Identifier: MIT
 *
 * What is known (noise level 0) is drawn per sample, so that one model learns every tool of himmel: nothing (text to
 * video), the first still (animate), whole seconds at either end or both (extend, loop, blend), boxes and ellipses over all
 * or part of the time (inpaint, outpaint); extra stills at whole seconds (keyframes) are drawn per batch. */
#include "train/batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "models/himmel/himmel1.h"

himmel_status hm_batch_init(hm_batch *b, int64_t max_B, int64_t max_N, int64_t K, int64_t text_len, himmel_error *err)
{
    const size_t n = (size_t)(max_B * max_N), nt = (size_t)(max_B * text_len);
    *b = (hm_batch){.max_B = max_B, .max_N = max_N, .K = K, .text_len = text_len};
    b->x = malloc(n * (size_t)K * sizeof(float));
    b->target = malloc(n * (size_t)K * sizeof(float));
    b->levels = malloc((size_t)max_B * 2 * sizeof(float));
    b->share = malloc(n * sizeof(float));
    b->share_weight = malloc(n * sizeof(float));
    b->row = malloc(n * sizeof(int32_t));
    b->weight = malloc(n * sizeof(float));
    b->pos = malloc((size_t)max_N * sizeof *b->pos);
    b->place = malloc((size_t)max_N * HM_H1_PLACE * sizeof *b->place);
    b->ids = malloc(nt * sizeof(int32_t));
    b->mask = malloc(nt * sizeof(int32_t));
    b->text_mask = malloc(nt * sizeof(float));
    if (b->x && b->target && b->levels && b->share && b->share_weight && b->row && b->weight && b->pos && b->place && b->ids && b->mask && b->text_mask)
        return HIMMEL_OK;
    hm_batch_deinit(b);
    return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a batch of %lld tokens", (long long)n);
}

void hm_batch_deinit(hm_batch *b)
{
    free(b->x);
    free(b->target);
    free(b->levels);
    free(b->share);
    free(b->share_weight);
    free(b->row);
    free(b->weight);
    free(b->pos);
    free(b->place);
    free(b->ids);
    free(b->mask);
    free(b->text_mask);
    *b = (hm_batch){0};
}

/* Mark a box or an ellipse of the grid over latent frames t0..t1-1 as unknown (or, inverted, as the only known part). */
static void known_shape(uint8_t *known, int T, int gh, int gw, hm_rng *r)
{
    const bool ellipse = hm_rng_float(r) < 0.5f, invert = hm_rng_float(r) < 0.35f;
    const float cy = hm_rng_range(r, 0, (float)gh), cx = hm_rng_range(r, 0, (float)gw);
    const float ry = hm_rng_range(r, 0.15f, 0.5f) * (float)gh, rx = hm_rng_range(r, 0.15f, 0.5f) * (float)gw;
    const bool part = T > 2 && hm_rng_float(r) < 0.3f;
    const int t0 = part ? (int)hm_rng_below(r, (uint32_t)T - 1) : 0;
    const int t1 = part ? t0 + 1 + (int)hm_rng_below(r, (uint32_t)(T - t0)) : T;
    for (int t = 0; t < T; t++)
        for (int y = 0; y < gh; y++)
            for (int x = 0; x < gw; x++) {
                const float dy = ((float)y + 0.5f - cy) / ry, dx = ((float)x + 0.5f - cx) / rx;
                const bool in = t >= t0 && t < t1 &&
                                (ellipse ? dx * dx + dy * dy < 1 : fabsf(dx) < 1 && fabsf(dy) < 1);
                known[(t * gh + y) * gw + x] = invert ? in : !in;
            }
}

/* Known seconds: a of them (with the still) at the front, z at the end. */
static void known_seconds(uint8_t *known, int T, int area, int a, int z)
{
    for (int t = 0; t < T; t++) memset(known + t * area, t < a || t >= T - z, (size_t)area);
}

static void draw_known(uint8_t *known, int T, int gh, int gw, double share, hm_rng *r)
{
    const int area = gh * gw;
    memset(known, 0, (size_t)(T * area));
    if (hm_rng_float(r) >= (float)share * (T == 1 ? 0.3f : 1.0f)) return;
    const float u = T == 1 ? 1.0f : hm_rng_float(r);
    const int more = T > 2 ? 1 + (int)hm_rng_below(r, (uint32_t)(T - 2)) : 1; /* seconds, at least one stays unknown */
    if (u < 0.40f)
        known_seconds(known, T, area, 1, 0);
    else if (u < 0.54f)
        known_seconds(known, T, area, T > 2 ? 1 + more : 1, 0);
    else if (u < 0.62f)
        known_seconds(known, T, area, 0, HM_MIN(more, T - 1));
    else if (u < 0.70f)
        known_seconds(known, T, area, 1, T > 2 ? HM_MIN(more, T - 2) : 0);
    else
        known_shape(known, T, gh, gw, r);
    int n = 0;
    for (int i = 0; i < T * area; i++) n += known[i];
    if (n == T * area) memset(known, 0, (size_t)n); /* something must be left to learn */
}

/* Copy one latent frame, mirrored if asked. */
static void copy_frame(float *dst, const uint16_t *src, int64_t gh, int64_t gw, int64_t K, const float *flip)
{
    for (int64_t y = 0; y < gh; y++)
        for (int64_t x = 0; x < gw; x++) {
            const uint16_t *s = src + (y * gw + (flip ? gw - 1 - x : x)) * K;
            float *d = dst + (y * gw + x) * K;
            if (flip)
                for (int64_t k = 0; k < K; k++) d[k] = flip[k] * hm_bf16_to_f32(s[k]);
            else
                for (int64_t k = 0; k < K; k++) d[k] = hm_bf16_to_f32(s[k]);
        }
}

/* x = clean latents of sample b, in place -> noisy input, target, weights, levels. */
static void add_noise(hm_batch *b, int64_t i, float t, const uint8_t *known, uint64_t seed, int64_t step)
{
    const int64_t N = b->N, K = b->K, film = b->T * b->gh * b->gw;
    float *x = b->x + i * N * K, *v = b->target + i * N * K, *w = b->weight + i * N;
    int64_t unknown = 0;
    for (int64_t n = 0; n < film; n++) unknown += !known[n];
    const float each = (float)fmin(4.0, (double)N / (double)HM_MAX(1, unknown));
    b->levels[2 * i] = t;
    b->levels[2 * i + 1] = 0;
    hm_randn(v, (size_t)(N * K), seed, hm_mix((uint64_t)step, (uint64_t)i)); /* noise, then noise - x0 */
    for (int64_t n = 0; n < N; n++) {
        const bool fixed = n >= film || known[n];
        b->row[i * N + n] = (int32_t)(2 * i + fixed);
        w[n] = fixed ? 0 : each;
        float *xn = x + n * K, *vn = v + n * K;
        if (fixed)
            memset(vn, 0, (size_t)K * sizeof *vn);
        else
            for (int64_t k = 0; k < K; k++) {
                const float eps = vn[k];
                vn[k] = eps - xn[k];
                xn[k] = (1 - t) * xn[k] + t * eps;
            }
    }
}

/* The loss looks more closely at the subject: it is what the words are about and a few blocks of a hundred and forty-four.
 * Where it is everywhere (fireworks, the moon's light) at most a quarter of the tokens gain. share: of the record. */
static void weigh_subject(hm_batch *b, int64_t i, const uint8_t *share, bool mirror, double most)
{
    const int64_t gw = b->gw, film = b->T * b->gh * gw;
    const double gate = fmin(1, fmax(0, (0.95 - (double)b->levels[2 * i]) / 0.25));
    double sum = 0;
    for (int64_t n = 0; n < film; n++) sum += share[n];
    const double part = sum / (255.0 * (double)film), more = gate * (most - 1) / 255 * fmin(1, 0.25 / fmax(part, 1e-9));
    float *w = b->weight + i * b->N;
    for (int64_t n = 0; n < film; n++) {
        const int64_t x = n % gw, from = mirror ? n - x + gw - 1 - x : n;
        w[n] *= (float)(1 + more * share[from]);
    }
}

/* Where the subject is, as something to be told from the noisy tokens and the words. */
static void take_share(hm_batch *b, int64_t i, const uint8_t *share, bool mirror)
{
    const int64_t gw = b->gw, film = b->T * b->gh * gw;
    float *to = b->share + i * b->N, *w = b->share_weight + i * b->N;
    memset(to, 0, (size_t)b->N * sizeof *to);
    memset(w, 0, (size_t)b->N * sizeof *w);
    if (!share) return;
    for (int64_t n = 0; n < film; n++) {
        const int64_t x = n % gw;
        to[n] = (float)share[mirror ? n - x + gw - 1 - x : n] * (1 / 255.0f);
        w[n] = b->weight[i * b->N + n] > 0 ? 1.0f : 0.0f;
    }
}

typedef struct {
    const hm_cache *c;
    const hm_group *g;
    const float *parity;
    const hm_tokenizer *tok;
    const hm_batch_opts *o;
    uint64_t seed;
    int64_t step;
    int extra_at[HM_BATCH_MAX_EXTRA]; /* seconds of the extra stills */
} fill_ctx;

static void fill_sample(hm_batch *b, const fill_ctx *f, int64_t i)
{
    hm_rng r = hm_rng_at(hm_mix(f->seed, 0x62617463ull), hm_mix((uint64_t)f->step, (uint64_t)i));
    const bool check = f->o->fixed_t >= 0;
    int64_t at;
    const int64_t pick = check ? i % f->g->n : (int64_t)(hm_rng_u64(&r) % (uint64_t)f->g->n);
    const hm_shard *s = hm_cache_at(f->c, f->g, pick, &at);
    const int64_t area = b->gh * b->gw, frame = area * b->K, T0 = f->g->T;
    const int64_t from = check ? 0 : (int64_t)hm_rng_below(&r, (uint32_t)(T0 - b->T + 1));
    const bool mirror = !check && hm_rng_float(&r) < 0.5f;
    const float *flip = mirror ? f->parity : NULL;
    float *x = b->x + i * b->N * b->K;
    for (int64_t t = 0; t < b->T; t++) {
        const uint16_t *z = t == 0 && from > 0 ? s->stills + (at * (T0 - 1) + from - 1) * frame : s->z + (at * T0 + from + t) * frame;
        copy_frame(x + t * frame, z, b->gh, b->gw, b->K, flip);
    }
    for (int64_t e = 0; e < b->n_extra; e++)
        copy_frame(x + (b->T + e) * frame, s->stills + (at * (T0 - 1) + from + f->extra_at[e] - 1) * frame, b->gh, b->gw, b->K, flip);
    hm_scene scene;
    hm_scene_random(&scene, (uint64_t)s->seed[at]);
    if (mirror) hm_scene_mirror(&scene);
    char text[1024]; /* a fresh caption at each use */
    hm_draw_caption(text, sizeof text, &scene, f->o->drop_prompt, f->o->drop_fact, &r);
    hm_tok_encode_padded(f->tok, text, b->ids + i * b->text_len, b->mask + i * b->text_len, (size_t)b->text_len);
    uint8_t known[HM_H1_MAX_BLOCKS * (HM_H1_MAX_SECONDS + 1)];
    draw_known(known, (int)b->T, (int)b->gh, (int)b->gw, check ? 0 : f->o->known, &r);
    const float u = (float)(f->o->t_mean + f->o->t_scale * hm_rng_normal(&r));
    const float t = check ? (float)f->o->fixed_t : 1.0f / (1.0f + expf(-u));
    add_noise(b, i, t, known, f->seed ^ 0x6e6f697365ull, f->step);
    const uint8_t *share = s->subject ? s->subject + (at * T0 + from) * area : NULL;
    take_share(b, i, share, mirror);
    if (!check && share && f->o->subject > 0) weigh_subject(b, i, share, mirror, f->o->subject);
}

/* Keep only as many text columns as the longest caption of the batch needs (a multiple of 8). */
static void pack_text(hm_batch *b)
{
    int64_t longest = 1;
    for (int64_t i = 0; i < b->B; i++)
        for (int64_t j = longest; j < b->text_len; j++)
            if (b->mask[i * b->text_len + j]) longest = j + 1;
    b->M = HM_MIN(b->text_len, (longest + 7) / 8 * 8);
    for (int64_t i = 0; i < b->B; i++) {
        memmove(b->ids + i * b->M, b->ids + i * b->text_len, (size_t)b->M * sizeof *b->ids);
        memmove(b->mask + i * b->M, b->mask + i * b->text_len, (size_t)b->M * sizeof *b->mask);
        for (int64_t j = 0; j < b->M; j++) b->text_mask[i * b->M + j] = b->mask[i * b->M + j] ? 0.0f : -10000.0f;
    }
}

void hm_batch_fill(hm_batch *b, const hm_cache *c, const hm_group *g, const float *parity, const hm_tokenizer *tok,
                   const hm_batch_opts *o, int64_t B, uint64_t seed, int64_t step)
{
    hm_rng r = hm_rng_at(hm_mix(seed, 0x7368617065ull), (uint64_t)step);
    fill_ctx f = {.c = c, .g = g, .parity = parity, .tok = tok, .o = o, .seed = seed, .step = step};
    const int64_t area = g->gh * g->gw;
    b->B = B;
    b->gh = g->gh;
    b->gw = g->gw;
    b->T = g->T;
    b->n_extra = 0;
    if (o->fixed_t < 0 && g->T > 2 && hm_rng_float(&r) < 0.3f) b->T = 2 + hm_rng_below(&r, (uint32_t)g->T - 1);
    if (o->fixed_t < 0 && b->T > 1 && hm_rng_float(&r) < 0.1f) b->n_extra = 1 + hm_rng_below(&r, HM_BATCH_MAX_EXTRA);
    b->N = (b->T + b->n_extra) * area;
    if (b->N > b->max_N) {
        b->n_extra = 0;
        b->N = b->T * area;
    }
    hm_himmel1_positions((int)b->T, (int)b->gh, (int)b->gw, b->pos);
    for (int64_t e = 0; e < b->n_extra; e++) {
        f.extra_at[e] = 1 + (int)hm_rng_below(&r, (uint32_t)b->T - 1);
        for (int64_t n = 0; n < area; n++) {
            double *p = b->pos[(b->T + e) * area + n];
            memcpy(p, b->pos[n], sizeof *b->pos);
            p[0] = f.extra_at[e];
        }
    }
    hm_himmel1_place((int)b->T, (int)b->gh, (int)b->gw, (const double(*)[3])b->pos, b->N, b->place);
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < B; i++) fill_sample(b, &f, i);
    pack_text(b);
}
