/* vace.h - what VACE's blocks are given: frames split by a mask, the mask itself, and a reference picture.
 * SPDX-License-Identifier: MIT
 * Source: Wan2.1 wan/vace.py (vace_encode_frames, vace_encode_masks, vace_latent). Oracle: golden/e2e_vace (z0, m0). */
#ifndef HM_WAN_VACE_H
#define HM_WAN_VACE_H

#include "models/wan/vae.h"

typedef struct {
    const float *frames;    /* [3,n,H,W] in -1..1 */
    const float *mask;      /* [n,H,W]: above 0.5 is to be made */
    const float *reference; /* [3,H,W] in -1..1, who or what the film is about; NULL: none */
    int n, H, W;            /* n = 1 + 4k, sides are multiples of 16 */
} hm_wan_vace_input;
/* Latents of what stays and of what is to be made (each with 0 in place of the other), then 8 x 8 channels of the mask:
 * out [2 z + 64, T, H/8, W/8] with T = 1 + k and, before them, one for the reference. In a plan out is not used. Bytes that
 * are used beside the graph are added to *beside. */
himmel_status hm_wan_vace_context(hm_wan_vae *v, hm_graph *g, const hm_wan_vace_input *in, float *out, uint64_t *beside, himmel_error *err);

#endif
