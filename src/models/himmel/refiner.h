/* refiner.h - the small convolutional network that makes the decoded base film clean and 8x as large.
 * SPDX-License-Identifier: MIT
 *   decoded frames t-1, t, t+1 [H,W,9] + block phase [H,W,3] + known pixels and mask at 2x [H,W,16]
 *     -> unshuffle -> residual convolutions at H/2 x W/2 -> convolutions at 2H x 2W
 *     -> 48 channels = correction of 4x4 pixels each, added to the enlarged (bicubic) frame t: [8H,8W,3] */
#ifndef HM_REFINER_H
#define HM_REFINER_H

#include "formats/safetensors.h"
#include "text/t5.h"

/* width channels at H/2, n_blocks residual blocks of two 3x3 convolutions; width2 channels at 2H, n_convs2
 * 3x3 convolutions. */
typedef struct { int width, n_blocks, width2, n_convs2; } hm_refiner_config;
enum { HM_REFINER_IN = 28, HM_REFINER_UP = 8, HM_REFINER_OUT = 48 };

typedef struct hm_refiner hm_refiner;
himmel_status hm_refiner_init(hm_refiner **out, const hm_refiner_config *cfg, himmel_error *err);
void hm_refiner_free(hm_refiner *r);
const hm_refiner_config *hm_refiner_cfg(const hm_refiner *r);
himmel_status hm_refiner_params(hm_refiner *r, const char *prefix, hm_param_fn *fn, void *user,
                                himmel_error *err);
himmel_status
hm_refiner_load(hm_refiner **out, const hm_st *st,
                himmel_error *err); /* config from metadata "config" .refiner; absent: an error */

/* x [B,H,W,28] f32 as above, H and W even -> correction [B,2H,2W,48] in activation dtype, channel (c*4 +
 * dy)*4 + dx of the 4x4 full-size pixels under each place. On the graph: training takes its loss here
 * (hm_refiner_residual is the target). */
hm_tensor *hm_refiner_correction(hm_graph *g, const hm_refiner *r, hm_tensor *x);
/* x as above -> refined [B,8H,8W,3] f32, in [0,1] but for over- and undershoot. Inference: not
 * differentiable. */
hm_tensor *hm_refiner_forward(hm_graph *g, const hm_refiner *r, hm_tensor *x);
/* Fill x for frame t: dec = three decoded frames [3][H][W][3] f32 (edge frames repeated by the caller), t =
 * frame number in the film (for the phase; pictures: 0), x0,y0 = position of this crop in the film, known
 * [2H][2W][3] f32 and mask [2H][2W] f32 (1 = known) or both NULL. */
void hm_refiner_input(float *x, const float *dec, int H, int W, int t, int x0, int y0, const float *known,
                      const float *mask);
/* Frame t of x [H][W][28] enlarged, plus correction [2H][2W][48] (NULL: none) -> out [8H][8W][3]. */
void hm_refiner_compose(float *out, const float *x, int H, int W, const void *correction, hm_dtype dtype);
/* What the correction should be: target [8H][8W][3] minus the enlarged frame, in the layout of the
 * correction, [2H][2W][48]. */
himmel_status hm_refiner_residual(float *out, const float *x, int H, int W, const float *target);
/* frame [8H][8W][3] in the layout of the correction. */
void hm_refiner_patches(float *out, const float *frame, int H, int W);

#endif
