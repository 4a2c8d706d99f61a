/* batch.h - one training batch of the transformer: clips, captions, noise levels, known tokens.   SPDX-License-Identifier: MIT */
#ifndef HM_BATCH_H
#define HM_BATCH_H

#include "models/ltx/dit.h"
#include "text/tokenizer.h"
#include "train/cache.h"

enum { HM_BATCH_MAX_EXTRA = 3 };

typedef struct {
    double drop_prompt, drop_fact; /* 0.10, 0.15 */
    double known;                  /* share of samples with known tokens (stills, seconds, boxes, shapes), 0.5 for clips */
    double t_mean, t_scale;        /* logit-normal noise levels: 1.5, 1.8 */
    double subject;                /* weight of the loss in blocks of the subject, against 1 elsewhere; 0 = 1. Fades from level
                                    * 0.7 to 0.95: where x_t does not show the subject, a loss that weighs it more wants more of it */
    double fixed_t;                /* >= 0: every sample at this level, nothing known, nothing dropped (validation) */
} hm_batch_opts;

/* Buffers are the batch's own, sized for max_B x max_N tokens of K values. */
typedef struct {
    int64_t max_B, max_N, K, text_len;
    int64_t B, N, T, gh, gw, n_extra, M; /* of the batch in it: N = T gh gw + n_extra gh gw; M text tokens used */
    float *x, *target;   /* [B,N,K] network input and velocity target */
    float *levels;       /* [2B]: sample b has levels 2b (its noise level) and 2b+1 (0, known tokens) */
    int32_t *row;        /* [B*N] */
    float *weight;       /* [B*N] of the loss; 0 where known */
    float *share, *share_weight; /* [B*N] how much of a block is the subject, 0..1; 1 where that is to be learnt, else 0 */
    double (*pos)[3];    /* [N], of every sample: extra stills differ per batch */
    float *place;        /* [N,HM_H1_PLACE], likewise */
    int32_t *ids, *mask; /* [B,text_len], used as [B,M] after packing */
    float *text_mask;    /* [B,M] 0 / -10000 */
} hm_batch;

himmel_status hm_batch_init(hm_batch *b, int64_t max_B, int64_t max_N, int64_t K, int64_t text_len, himmel_error *err);
void hm_batch_deinit(hm_batch *b);
/* Fill with B clips of group g; everything random comes from (seed, step). T <= g->T latent frames are used. */
void hm_batch_fill(hm_batch *b, const hm_cache *c, const hm_group *g, const float *parity, const hm_tokenizer *tok,
                   const hm_batch_opts *o, int64_t B, uint64_t seed, int64_t step);

#endif
