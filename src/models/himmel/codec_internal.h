/* codec_internal.h - what the codec's files and the basis trainer share: the truncated DCT of a window block.
 * SPDX-License-Identifier: MIT
 * box [3][HM_DCT_T][16][16] = orthonormal DCT-II values of one block at (opponent colour, ft, fy, fx):
 * luminance (r+g+b)/sqrt3, (r-b)/sqrt2, (r-2g+b)/sqrt6; 36 frames -> the first 10 temporal frequencies.
 * Orthonormal, so energy is pixel energy. Odd fx are odd under left-right flip, even fx are even: the mirror
 * of a block is a change of signs. */
#ifndef HM_CODEC_INTERNAL_H
#define HM_CODEC_INTERNAL_H

#include <stddef.h>

#include "models/himmel/codec.h"

#define HM_SEAM_LIMIT 0.1f /* of the pixel range 0..1 */

enum {
    HM_DCT_T = 10,
    HM_DCT_PLANE = HM_BLOCK * HM_BLOCK,
    HM_DCT_BOX = 3 * HM_DCT_T * HM_DCT_PLANE,
    HM_NEAR = 9
};

typedef struct {
    float space[HM_BLOCK][HM_BLOCK]; /* [f][x] */
    float space_t[HM_BLOCK][HM_BLOCK]; /* [x][f] */
    float time[HM_DCT_T][HM_WINDOW]; /* [f][t] */
    int rows[3 * HM_DCT_T];          /* per (c, ft): fy < rows are wanted, 0 = plane unused */
} hm_dct;

struct hm_codec {
    int K, n, n_still;
    hm_dct dct;
    int32_t *index;   /* [n] box positions, ascending */
    int32_t *still;   /* [n_still] which of the n have ft = 0 */
    float *mean;      /* [n] */
    float *project;   /* [K][n]: z = project v - offset */
    float *still_project; /* [K][n_still]: the same columns packed */
    float *offset;    /* [K] = project mean */
    float *parity, *std; /* [K] */
    float *decoder;   /* [9K][n]: neighbours in reading order, own block 5th */
    float *still_decoder; /* [9K][n_still] */
};

void hm_dct_init(hm_dct *d); /* all rows wanted */
/* One block of 36 frames at p (strides in floats) -> box; rows that are not wanted are left alone. */
void hm_dct_block(const hm_dct *d, const float *p, size_t frame_stride, size_t row_stride, float *box);
/* One picture block repeated 36 times: box planes with ft = 0 only, [3][16][16]. */
void hm_dct_still(const hm_dct *d, const float *p, size_t row_stride, float *plane);
/* X [gh*gw][9K] of one latent frame z [gh][gw][K]: each block's own and neighbours' coefficients, 0 outside
 * the picture. */
void hm_codec_gather(float *x, const float *z, int gh, int gw, int K);
/* Share of window j (0 = the still) in frame f of a film of T latent frames; they add up to 1. */
float hm_codec_share(int T, int j, int f);
/* Takes small jumps between blocks out of a picture [16gh][16gw][3]. */
void hm_codec_smooth_seams(float *frame, int gh, int gw);

#endif
