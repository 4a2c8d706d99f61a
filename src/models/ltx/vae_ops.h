/* vae_ops.h - what the VAE and the latent upsamplers do beside convolutions: inference only, no tape.
 * SPDX-License-Identifier: MIT   Activations [1,T,H,W,C] in the graph's dtype. */
#ifndef HM_LTX_VAE_OPS_H
#define HM_LTX_VAE_OPS_H

#include "tensor/tensor.h"

/* silu(x / sqrt(mean_c x^2 + 1e-8) * (1 + scale) + shift); scale, shift [C] f32 or NULL. */
hm_tensor *hm_pixel_norm_silu(hm_graph *g, hm_tensor *x, const float *shift, const float *scale);
/* In place: x[t,y,x,c] += map[y,x] * strength[c]. */
void hm_add_map(hm_graph *g, hm_tensor *x, const float *map, const float *strength);
/* In place: x = silu(group norm(x) + skip), groups over channels, time and space; per_frame: over space only.
 * skip may be NULL. */
void hm_group_norm_silu(hm_graph *g, hm_tensor *x, const float *w, const float *b, int groups, bool per_frame,
                        const hm_tensor *skip);

/* [1,T,H,W,(c p1 p2 p3)] -> [1,T p1,H p2,W p3,c]; skip (may be NULL) [1,T,H,W,Cs]: added after the same
 * rearrangement, its channels repeated as a whole set as often as they fit. drop: the first output frame is
 * left out. */
hm_tensor *hm_depth_to_space(hm_graph *g, const hm_tensor *x, const hm_tensor *skip, const int p[3],
                             bool drop);
/* y of [1,T p1,H p2,W p3,c] as [1,T,H,W,(c p1 p2 p3)], plus the mean over consecutive groups of the same of
 * skip (its channels are a multiple of c's). */
hm_tensor *hm_space_to_depth(hm_graph *g, const hm_tensor *y, const hm_tensor *skip, const int p[3]);
/* Pixels [1,T,H,W,3] <-> [1,T,H/p,W/p,3 p p], channel = (c p + x) p + y: the column is the slower one. */
hm_tensor *hm_patchify(hm_graph *g, const hm_tensor *x, int p);
hm_tensor *hm_unpatchify(hm_graph *g, const hm_tensor *x, int p);
/* One pixel more on each side in space, mirrored without the edge, or the edge again. */
hm_tensor *hm_pad_space(hm_graph *g, const hm_tensor *x, bool reflect);

#endif
