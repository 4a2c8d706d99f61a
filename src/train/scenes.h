/* scenes.h - which scenes are trained on, and in what words.   SPDX-License-Identifier: MIT */
#ifndef HM_SCENES_H
#define HM_SCENES_H

#include "base/rng.h"
#include "text/tokenizer.h"
#include "world/scene.h"

#define HM_DROP_FACT 0.15 /* share of facts that a caption leaves out */
enum { HM_SEEDS_PER_SCENE = 64, HM_MAX_TEXT_LEN = 512 };

/* One combination of (time, weather, place, subject, colour) in 16 is kept for evaluation only. */
bool hm_held_out(const hm_scene *s);
/* The n-th (0..) scene whose combination of facts is held out, counted from seed first; *first becomes the seed after it. */
void hm_held_out_scene(hm_scene *s, uint64_t *first);
/* Which facts of a scene can be asked, one bit each: colour, count and side only where they apply. */
uint32_t hm_probe_askable(const hm_scene *s);
/* Start second of the clip of a scene in a cache of T latent frames: a clip fits within the scene's 10 seconds. */
float hm_clip_start(uint64_t seed, int T);
/* The next n suitable scenes from seed on: their seeds [n], start seconds [n], SHA-256 over their JSON. False: too few in
 * HM_SEEDS_PER_SCENE n seeds. */
bool hm_pick_scenes(uint64_t seed, int n, int T, bool held_out, int64_t *seeds, float *start, char sha_hex[65]);
/* A caption as training wants it: language, wording and facts left out are drawn, now and then nothing is said. */
void hm_draw_caption(char *text, size_t cap, const hm_scene *s, double drop_prompt, double drop_fact, hm_rng *r);
/* Tokenised captions of n scenes: ids [n][2: as it is, mirrored][captions][text_len], text_len <= HM_MAX_TEXT_LEN. */
void hm_shard_captions(int32_t *ids, const hm_tokenizer *tok, const int64_t *seeds, int n, int captions, int text_len);

#endif
