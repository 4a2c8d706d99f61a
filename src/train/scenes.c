/* scenes.c - which scenes are trained on, and in what words.   SPDX-License-Identifier: MIT
 * Needs the renderer's words and a tokenizer only, so that the stand-alone renderer and the twin draw the same. */
#include "train/scenes.h"

#include <string.h>

#include "base/sha256.h"
#include "world/caption.h"

bool hm_held_out(const hm_scene *s)
{
    uint64_t h = 0x68696d6d656cull;
    static const hm_fact key[] = {HM_FACT_TIME, HM_FACT_WEATHER, HM_FACT_PLACE, HM_FACT_SUBJECT, HM_FACT_COLOUR};
    for (size_t i = 0; i < HM_COUNT(key); i++) h = hm_mix(h, s->fact[key[i]]);
    return h % 16 == 0;
}

void hm_held_out_scene(hm_scene *s, uint64_t *first)
{
    do hm_scene_random(s, (*first)++);
    while (!hm_held_out(s));
}

uint32_t hm_probe_askable(const hm_scene *s)
{
    uint32_t ask = (1u << HM_N_FACTS) - 1;
    const int subject = s->fact[HM_FACT_SUBJECT];
    if (s->fact[HM_FACT_COLOUR] == HM_COLOUR_NONE) ask &= ~(1u << HM_FACT_COLOUR);
    if (s->fact[HM_FACT_COUNT] == 0) ask &= ~(1u << HM_FACT_COUNT);
    if (subject == HM_SUBJECT_NONE || subject == HM_SUBJECT_SHOOTING_STARS) ask &= ~(1u << HM_FACT_SIDE);
    return ask;
}

float hm_clip_start(uint64_t seed, int T)
{
    hm_rng r = hm_rng_at(seed, 0x7374617274ull);
    return hm_rng_range(&r, 0.0f, T == 1 ? 5.0f : 10.0f - (float)(T - 1));
}

bool hm_pick_scenes(uint64_t seed, int n, int T, bool held_out, int64_t *seeds, float *start, char sha_hex[65])
{
    hm_sha256 sha;
    uint8_t digest[32];
    hm_sha256_init(&sha);
    const uint64_t end = seed + (uint64_t)n * HM_SEEDS_PER_SCENE;
    int have = 0;
    for (; have < n && seed < end; seed++) {
        hm_scene s;
        hm_scene_random(&s, seed);
        if (hm_held_out(&s) != held_out) continue;
        char json[1024];
        const size_t len = hm_scene_json(&s, json, sizeof json);
        hm_sha256_add(&sha, json, HM_MIN(len, sizeof json - 1));
        seeds[have] = (int64_t)seed;
        start[have++] = hm_clip_start(seed, T);
    }
    hm_sha256_end(&sha, digest);
    hm_sha256_hex(digest, sha_hex);
    return have == n;
}

void hm_draw_caption(char *text, size_t cap, const hm_scene *s, double drop_prompt, double drop_fact, hm_rng *r)
{
    hm_caption_opts co = {.lang = hm_rng_float(r) < 0.6f ? HM_LANG_EN : HM_LANG_DE, .say = hm_caption_sayable(s)};
    const bool drop = hm_rng_float(r) < (float)drop_prompt;
    text[0] = 0;
    for (int f = 0; f < HM_N_FACTS; f++)
        if (hm_rng_float(r) < (float)drop_fact) co.say &= ~(1u << f);
    if (!drop) hm_caption(text, cap, s, &co, hm_rng_u64(r), NULL);
}

void hm_shard_captions(int32_t *ids, const hm_tokenizer *tok, const int64_t *seeds, int n, int captions, int text_len)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < n; i++) {
        hm_scene s;
        hm_scene_random(&s, (uint64_t)seeds[i]);
        for (int mirror = 0; mirror < 2; mirror++, hm_scene_mirror(&s))
            for (int k = 0; k < captions; k++) {
                char text[1024];
                int32_t mask[HM_MAX_TEXT_LEN];
                hm_rng r = hm_rng_at((uint64_t)seeds[i], 0x63617074ull + (uint64_t)(2 * k + mirror));
                hm_draw_caption(text, sizeof text, &s, 0, HM_DROP_FACT, &r);
                hm_tok_encode_padded(tok, text, ids + (((size_t)i * 2 + mirror) * captions + k) * text_len, mask, (size_t)text_len);
            }
    }
}
