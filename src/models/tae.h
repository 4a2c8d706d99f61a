/* tae.h - tiny decoders in TAEHV's layout, for previews of what is being made.   SPDX-License-Identifier: MIT
 *   conv, then three times: three blocks that see the latent frame before, twice as large, more frames, conv; conv -> pixels
 * Sizes are read off the tensors. Here one latent frame becomes one small picture: it is enlarged no further than is asked
 * for, and of the frames that a latent frame has only the last is made (both are options of the original as well).
 * Source: madebyollin/taehv taehv.py (TAEHV.decoder; "super" and "wide" variants are others). */
#ifndef HM_TAE_H
#define HM_TAE_H

#include "formats/safetensors.h"

enum { HM_PREVIEW_WIDTH = 256 }; /* enough of one */

typedef struct {
    hm_tensor *conv_w[3], *conv_b[3];
} hm_tae_block;
typedef struct {
    hm_tae_block block[3];
    hm_tensor *grow, *conv_w; /* [frames * C, C, 1, 1]; [O, C, 3, 3] */
} hm_tae_stage;
typedef struct {
    int channels, patch; /* of the latents; pixels of a last position, in a row */
    hm_tensor *in_w, *in_b, *out_w, *out_b;
    hm_tae_stage stage[3];
} hm_tae;

bool hm_tae_claims(const hm_st *st); /* by its tensors' names */
/* Weights are views; st must outlive m. EMODEL: another layout, or not for latents of so many channels. */
himmel_status hm_tae_load(hm_tae *m, const hm_st *st, int channels, himmel_error *err);

typedef struct {
    const float *z;      /* normalised latents; channel c of position (t, y, x) is z[c * step_c + ((t * h + y) * w + x) * step_p] */
    int64_t step_c, step_p;
    int T, h, w, at;     /* the latent frame that is shown */
    int width;           /* enlarge until it is so wide, at most as the weights do */
} hm_tae_input;
/* A picture [height][width][3], malloc'ed; its width and height in size. NULL: out of memory. */
uint8_t *hm_tae_picture(const hm_tae *m, hm_dtype act, int threads, const hm_tae_input *in, int size[2]);
/* Most memory that one takes. */
uint64_t hm_tae_bytes(const hm_tae *m, int threads, const hm_tae_input *in);

#endif
