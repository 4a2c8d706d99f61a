/* attention_long.h - attention over so many keys that a block of queries' scores leave the cache.   SPDX-License-Identifier: MIT */
#ifndef HM_ATTENTION_LONG_H
#define HM_ATTENTION_LONG_H

#include "tensor/graph.h"

/* Fewer go the other way, which is faster there (equal near 5000 on Zen 4), and so does every window of himmel-1, whose
 * films are known by that way's rounding (at most 2240 tokens). */
enum { HM_LONG_KEYS = 5120 };
/* y = softmax(scale q k^T) v, all [B,N or M,K*h] of one dtype, without tape, mask or bias. In a plan: scratch only. */
void hm_attention_long(hm_graph *g, const hm_tensor *q, const hm_tensor *k, const hm_tensor *v, hm_tensor *y, int n_heads, float scale);

#endif
