/* cache.h - rendered footage as coefficients on disk: what the transformer trains on.   SPDX-License-Identifier: MIT
 * A shard is a safetensors file of n scenes of one shape:
 *   "z"      BF16 [n, T, gh, gw, K]    still at the clip's start, then T-1 one-second blocks
 *   "stills" BF16 [n, T-1, gh, gw, K]  the still of each later second (time crops, keyframes); absent if T = 1
 *   "subject" U8 [n, T, gh, gw]        how much of a block is the scene's subject, 0..255: what the loss looks at more closely
 *                                      (optional)
 *   "ids"    I32 [n, 2, captions, text_len]  tokenised captions of the scene and of its mirror image (optional; the C trainer
 *                                      draws fresh ones itself)
 *   "seed"   I64 [n], "start" F32 [n]  scene seed; seconds into the scene where the clip starts
 * Metadata: renderer version, SHA-256 over the scenes' JSON, hash of the codec. Scenes whose combination of facts is held
 * out (hm_held_out) are never in a training shard. */
#ifndef HM_CACHE_H
#define HM_CACHE_H

#include "models/himmel/codec.h"
#include "train/scenes.h"
#include "world/scene.h"

/* Render scene from start second t0 and encode: z [T][gh][gw][K], stills [T-1][gh][gw][K] or NULL. */
himmel_status hm_render_latents(const hm_codec *c, const hm_scene *s, double t0, int T, int gh, int gw, float *z,
                                float *stills, himmel_error *err);

/* How much of each block is the subject, share [T][gh][gw] 0..255 (0: none, 255: its pixels change by 0.05 or more on
 * average when the subject is taken out of the scene), at the still and at either end of each second. */
himmel_status hm_render_subject(const hm_scene *s, double t0, int T, int gh, int gw, uint8_t *share, himmel_error *err);

typedef struct {
    const char *dir;
    int gw, gh, T;
    uint64_t seed;      /* first scene seed; shard i uses seed + i * shard_n ... (held-out scenes are skipped) */
    int n_shards, shard_n;
    const hm_tokenizer *tok; /* of captions, text_len tokens each, as many for every scene and its mirror image; */
    int captions, text_len;  /* captions 0: none are written */
    bool held_out;      /* only held-out combinations instead (validation and evaluation) */
} hm_cache_opts;
typedef int hm_cache_progress(void *user, int shard, int done, double per_second); /* non-zero stops */
/* Writes the shards that are not there yet, each complete or not at all. */
himmel_status hm_cache_write(const hm_cache_opts *o, const hm_codec *c, const char *codec_hash, hm_cache_progress *fn,
                             void *user, himmel_error *err);

typedef struct {
    hm_st *st;
    int64_t n, T, gh, gw, K;
    const uint16_t *z, *stills; /* bf16 */
    const uint8_t *subject;     /* may be NULL */
    const int64_t *seed;
} hm_shard;
typedef struct {
    int64_t T, gh, gw;
    size_t first, n_shards; /* in hm_cache.shard, sorted by group, then name */
    int64_t n;              /* records */
} hm_group;
typedef struct {
    hm_shard *shard;
    size_t n_shards;
    hm_group group[64];
    size_t n_groups;
} hm_cache;
/* Every shard *.st in dir. codec_hash: shards of another codec are an error. */
himmel_status hm_cache_open(hm_cache *c, const char *dir, int K, const char *codec_hash, himmel_error *err);
void hm_cache_close(hm_cache *c);
/* Record i of group g: its shard and the index in it. */
const hm_shard *hm_cache_at(const hm_cache *c, const hm_group *g, int64_t i, int64_t *at);
/* One JSON line per shard (name, renderer, seeds, count, scene hash), malloc'ed: the data manifest. */
char *hm_cache_manifest(const hm_cache *c);

/* SHA-256 (hex) of the codec's tensors in a weights or basis file. */
void hm_codec_hash(const hm_st *st, char hex[65]);

#endif
