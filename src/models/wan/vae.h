/* vae.h - the video autoencoders of Wan 2.1 (4 x 8 x 8, 16 channels) and 2.2 TI2V-5B (4 x 16 x 16, 48 channels).
 * SPDX-License-Identifier: MIT
 * Both are causal in time and run as streams: one latent frame, or four pictures, at a time, with the last inputs of
 * every convolution kept; memory does not grow with length, and the result is that of the whole film at once.
 * Source: Wan2.1 wan/modules/vae.py; Wan2.2 wan/modules/vae2_2.py. Oracle: golden/wan21_vae, wan22_vae. */
#ifndef HM_WAN_VAE_H
#define HM_WAN_VAE_H

#include "formats/safetensors.h"

typedef struct hm_wan_vae hm_wan_vae;

/* Weights are views: st must outlive it. Every tensor is checked. Which of the two it is, and all sizes, come from the file. */
himmel_status hm_wan_vae_load(hm_wan_vae **out, const hm_st *st, himmel_error *err);
void hm_wan_vae_free(hm_wan_vae *v); /* NULL is fine */
int hm_wan_vae_channels(const hm_wan_vae *v); /* 16 or 48 */
int hm_wan_vae_stride(const hm_wan_vae *v);   /* pixels a latent position: 8 or 16 */

typedef struct {
    int (*on_frames)(void *user, const float *rgb, int n, int H, int W); /* [n,H,W,3] in -1..1; nonzero stops */
    void (*on_tensor)(void *user, const char *name, const hm_tensor *t); /* parity: stages of each chunk; may be NULL */
    void *user;
} hm_wan_vae_sink;
/* latent [z,T,H,W] f32, normalised -> 1 + 4 (T-1) frames, handed on as they are made. ECANCELLED: on_frames stopped. */
himmel_status hm_wan_vae_decode(hm_wan_vae *v, hm_graph *g, const float *latent, const int size[3],
                                const hm_wan_vae_sink *sink, himmel_error *err);
/* video [3,T,H,W] in -1..1, T = 1 + 4k, H and W multiples of the stride -> latent [z,1+k,H/stride,W/stride], the mean. */
himmel_status hm_wan_vae_encode(hm_wan_vae *v, hm_graph *g, const float *video, const int size[3], float *latent,
                                const hm_wan_vae_sink *sink, himmel_error *err);
/* Operations and arena of one of both in a plan graph; *kept: bytes that the convolutions keep beside it. size as above. */
himmel_status hm_wan_vae_plan(const hm_wan_vae *v, hm_graph *g, const int size[3], bool encode, uint64_t *kept, himmel_error *err);

#endif
