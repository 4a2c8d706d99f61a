/* released_kept.c - where a released model's sampler leaves its steps on disk.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/sha256.h"
#include "film/released.h"

static void add_text(hm_sha256 *s, const char *text) { hm_sha256_add(s, text ? text : "", text ? strlen(text) + 1 : 1); }

/* A hash of everything that the latents depend on but what the words become,
 * which the model adds. */
static void make_key(uint8_t key[32], himmel_ctx *ctx, const hm_model_job *m)
{
    const size_t frame = (size_t)m->width * (size_t)m->height, film = frame * (size_t)m->n_frames;
    const char *const texts[] = {HIMMEL_VERSION, hm_isa_name(), hm_ctx_sha256(ctx), ctx->loras, m->prompt, m->negative};
    const double numbers[] = {m->width,       m->height,     m->n_frames, m->fps,     m->steps,
                              m->guidance,    m->step_cache, m->threads,  m->n_items, m->start ? m->start_level : 0,
                              m->mask ? 1 : 0,    m->reference ? 1 : 0};
    hm_sha256 s;
    hm_sha256_init(&s);
    for (size_t i = 0; i < HM_COUNT(texts); i++) add_text(&s, texts[i]);
    hm_sha256_add(&s, ctx->facts.files, sizeof ctx->facts.files);
    hm_sha256_add(&s, numbers, sizeof numbers);
    hm_sha256_add(&s, &m->seed, sizeof m->seed);
    for (int i = 0; i < m->n_items; i++) {
        const hm_model_item *it = &m->items[i];
        const double place[] = {it->n_frames, it->at, it->strength};
        hm_sha256_add(&s, place, sizeof place);
        hm_sha256_add(&s, it->rgb, (size_t)it->n_frames * frame * 3 * sizeof *it->rgb);
    }
    if (m->reference) hm_sha256_add(&s, m->reference, frame * 3 * sizeof *m->reference);
    if (m->start) hm_sha256_add(&s, m->start, film * 3 * sizeof *m->start);
    if (m->mask) hm_sha256_add(&s, m->mask, film);
    hm_sha256_end(&s, key);
}

static void whole_key(const hm_released_kept *k, const uint8_t words[32], uint8_t key[32])
{
    hm_sha256 s;
    hm_sha256_init(&s);
    hm_sha256_add(&s, k->key, sizeof k->key);
    hm_sha256_add(&s, words, 32);
    hm_sha256_end(&s, key);
}

static int load(void *user, const uint8_t words[32], int n_steps, float *state, size_t n)
{
    const hm_released_kept *k = user;
    uint8_t key[32];
    whole_key(k, words, key);
    return hm_keep_load(k->keep, key, n_steps, state, n);
}

static void save(void *user, const uint8_t words[32], int step, bool last, const float *state, size_t n)
{
    const hm_released_kept *k = user;
    uint8_t key[32];
    whole_key(k, words, key);
    hm_keep_save(k->keep, key, step, last, state, n);
}

static void end(void *user) { ((hm_released_kept *)user)->keep->n++; }

void hm_released_keep(hm_released_kept *k, himmel_ctx *ctx, const hm_model_job *job, hm_keep *keep)
{
    *k = (hm_released_kept){.keep = keep, .kept = {.user = k, .load = load, .save = save, .end = end}};
    make_key(k->key, ctx, job);
}
