/* world.c - scenes, their pictures' states and their words, for world.py (by ctypes).   SPDX-License-Identifier: MIT
 * The composition of a scene and the state of a moment are src/world's own, on the host; pixels are drawn by world.cu. */
#include <stdlib.h>

#include "train/probe.h"
#include "train/scenes.h"
#include "world.h"

/* Shards of footage: seeds [n], start seconds [n], SHA-256 in hex [65]. 0 = ok. */
int tw_pick(uint64_t seed, int n, int T, int held_out, int64_t *seeds, float *start, char *sha)
{
    return !hm_pick_scenes(seed, n, T, held_out != 0, seeds, start, sha);
}

const char *tw_version(void) { return HM_SCENE_VERSION; }

/* ids [n][2][captions][text_len] by the tokenizer in spiece. 0 = ok. */
int tw_captions(const uint8_t *spiece, int64_t len, const int64_t *seeds, int n, int captions, int text_len, int32_t *ids)
{
    hm_tokenizer *tok;
    if (text_len > HM_MAX_TEXT_LEN || hm_tok_parse(&tok, spiece, (size_t)len, "tokenizer", NULL)) return 1;
    hm_shard_captions(ids, tok, seeds, n, captions, text_len);
    hm_tok_free(tok);
    return 0;
}

/* Facts of the probe's scenes: training's (not held out), or its test's (held out), from the seed `at` after their first; start
 * seconds; labels [n][2: as it is, mirrored][facts], 255 where a fact cannot be asked. Returns `at` for the next call. */
uint64_t tw_probe_scenes(int test, uint64_t at, int n, int64_t *seeds, float *start, uint8_t (*label)[2][HM_N_FACTS])
{
    const uint64_t first = test ? HM_PROBE_TEST_SEEDS : HM_PROBE_TRAIN_SEEDS;
    uint64_t seed = first + at;
    for (int i = 0; i < n; i++) {
        hm_scene s;
        if (test) hm_held_out_scene(&s, &seed);
        else do hm_scene_random(&s, seed++); while (hm_held_out(&s));
        seeds[i] = (int64_t)s.seed;
        start[i] = hm_clip_start(s.seed, 1 + HM_PROBE_SECONDS);
        for (int m = 0; m < 2; m++, hm_scene_mirror(&s))
            for (int f = 0; f < HM_N_FACTS; f++) label[i][m][f] = hm_probe_askable(&s) >> f & 1 ? s.fact[f] : 255;
    }
    return seed - first;
}

int tw_fact_size(int f) { return f < HM_N_FACTS ? hm_fact_size((hm_fact)f) : 0; }
const char *tw_fact_name(int f) { return hm_fact_name((hm_fact)f); }

/* n pictures: scene seed[i], without its subject where bare[i], at t[i] seconds, the part place[i] = (x, y) of a whole of
 * (whole_w, whole_h)[i]; each w x h pixels -> rgb [n][h][w][3] (device memory in a CUDA build). NULL, or what went wrong. */
const char *tw_render(int n, const int64_t *seed, const uint8_t *bare, const double *t, const int32_t (*whole)[2],
                      const int32_t (*place)[2], int w, int h, float *rgb)
{
    tw_picture *p = malloc((size_t)n * sizeof *p);
    int failed = p == NULL;
#pragma omp parallel for schedule(static) reduction(+ : failed)
    for (int i = 0; i < (p ? n : 0); i++) {
        hm_scene s;
        hm_renderer *r;
        hm_scene_random(&s, (uint64_t)seed[i]);
        if (hm_renderer_new(&r, &s, NULL)) {
            failed++;
            continue;
        }
        if (bare[i]) hm_renderer_hide_subject(r);
        p[i].view = (hm_view){whole[i][0], whole[i][1], place[i][0], place[i][1], w, h};
        hm_frame_at(&p[i].state, p[i].lut, r, &p[i].view, t[i]);
        p[i].scene = *r;
        hm_renderer_free(r);
    }
    const char *wrong = failed ? "out of memory for scenes" : tw_draw(p, n, w, h, rgb);
    free(p);
    return wrong;
}
