/* codec.h - himmel-1's fixed linear codec: one-second blocks of 16x16 pixels <-> K coefficients.
 * SPDX-License-Identifier: MIT
 * Film at 24 fps, base size 16 gw x 16 gh (256x144: 16 x 9). T latent frames: [0] a still, [1..] one second
 * each. Latent frame j >= 1 covers frames 1+24(j-1) .. 24j through a window of 36 (6 more on each side); the
 * still is its picture repeated 36 times. A window block (16x16x36x3) goes through an opponent colour
 * transform and a truncated separable DCT (n_dct strongest values, <= 10 temporal frequencies), minus mean,
 * onto K principal components (PCA of our footage and its mirror, so that every component is even or odd
 * under left-right flip), half-whitened. Decoding is linear from the block's own and its 8 spatial
 * neighbours' coefficients (least squares), windows cross-faded over 12 frames (recipe.md §4); small jumps that are left between
 * blocks are smoothed away (codec_seams.c). */
#ifndef HM_CODEC_H
#define HM_CODEC_H

#include "formats/safetensors.h"

enum { HM_BLOCK = 16, HM_FPS = 24, HM_WINDOW = 36, HM_LAP = 6 };

typedef struct hm_codec hm_codec;
/* Binds the tensors "codec.*" of st. */
himmel_status hm_codec_load(hm_codec **out, const hm_st *st, himmel_error *err);
void hm_codec_free(hm_codec *c);
int hm_codec_channels(const hm_codec *c);          /* K */
const float *hm_codec_parity(
    const hm_codec *c); /* [K] +1 even, -1 odd under mirror: flip = reverse block columns, times parity */
const float *
hm_codec_std(const hm_codec *c); /* [K] standard deviation of each normalised coefficient in the data */

/* Encode and decode return HIMMEL_OK or HIMMEL_ENOMEM (scratch of a few MB), nothing else.
 * frames: HM_WINDOW frames [36][16gh][16gw][3] float in [0,1]; out [gh][gw][K] f32. */
himmel_status hm_codec_encode(const hm_codec *c, const float *frames, int gh, int gw, float *out);
/* One picture [16gh][16gw][3] as a still block. */
himmel_status hm_codec_encode_still(const hm_codec *c, const float *frame, int gh, int gw, float *out);
/* Decoded picture frames from.. from+n-1 of the film with latents z [T][gh][gw][K] into out
 * [n][16gh][16gw][3], float, not clamped. Frames 0 .. 24(T-1). A film of one latent frame is a picture (frame
 * 0). Deterministic, streams: any range gives the same values. */
himmel_status hm_codec_decode(const hm_codec *c, const float *z, int T, int gh, int gw, int from, int n,
                              float *out);
/* Likewise without smoothing the seams between blocks: linear in z, as projecting back needs it. */
himmel_status hm_codec_decode_linear(const hm_codec *c, const float *z, int T, int gh, int gw, int from, int n,
                                     float *out);
/* All frames of one second's window, as encode takes them, linear: z [gh][gw][K] -> out [36][16gh][16gw][3]. */
himmel_status hm_codec_decode_window(const hm_codec *c, const float *z, int gh, int gw, float *out);

#endif
