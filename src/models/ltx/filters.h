/* filters.h - what LTX's pipelines do to latents and frames between the networks.   SPDX-License-Identifier:
 * MIT Source: ltx_video/pipelines/pipeline_ltx_video.py, ltx_video/inference.py. Oracle: golden/ltx_util. */
#ifndef HM_LTX_FILTERS_H
#define HM_LTX_FILTERS_H

#include "base/base.h"

/* In place: large values are drawn in by a sigmoid; compression 0 (nothing) .. 1. */
void hm_tone_map(float *z, int64_t n, float compression);
/* In place: each channel of z [rows][C] gets the mean and deviation of the same channel of reference
 * [ref_rows][C], as far as factor says (1: wholly). */
void hm_adain(float *z, int64_t rows, const float *reference, int64_t ref_rows, int C, float factor);

/* frames [n][h][w][3] -> [n][to_h][to_w][3], bilinear between pixel centres, no smoothing. */
void hm_resize(float *to, int to_h, int to_w, const float *from, int n, int h, int w);
/* Enlarged or reduced until it covers, then the middle. false: out of memory. */
bool hm_resize_crop(float *to, int to_h, int to_w, const float *from, int n, int h, int w);

/* Frames of a given clip of n that are used at frame `at` of a film of `all`: 1 + a multiple of step. */
int hm_trim_frames(int at, int n, int all, int step);
/* The next size that is a multiple of step, and the next 1 + a multiple of step frames (1 for one). */
int hm_pad_side(int side, int step);
int hm_pad_frames(int frames, int step);

#endif
