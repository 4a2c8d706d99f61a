/* refiner.h - the small convolutional network that turns the decoded base film into a clean one at 8x the size.
 * SPDX-License-Identifier: MIT
 *   decoded frames t-1, t, t+1 [H,W,9] + block phase [H,W,3] + known pixels and mask at 2x [H,W,16] (zeros without any)
 *     -> convolutions at H x W -> x2 -> convolutions -> x4 pixel shuffle = correction at 8H x 8W, added to the enlarged frame */
#ifndef HM_REFINER_H
#define HM_REFINER_H

#include "formats/safetensors.h"
#include "text/t5.h"

typedef struct { int width, n_blocks, width2, n_convs2; } hm_refiner_config;
typedef struct hm_refiner hm_refiner;
himmel_status hm_refiner_init(hm_refiner **out, const hm_refiner_config *cfg, himmel_error *err);
void hm_refiner_free(hm_refiner *r);
const hm_refiner_config *hm_refiner_cfg(const hm_refiner *r);
himmel_status hm_refiner_params(hm_refiner *r, const char *prefix, hm_param_fn *fn, void *user, himmel_error *err);
himmel_status hm_refiner_load(hm_refiner **out, const hm_st *st, himmel_error *err); /* config from metadata "config" .refiner; NULL out if absent is an error */
/* x [B,H,W,28] as above -> refined [B,8H,8W,3] in [0,1]-ish, activation dtype; on the graph, so training and inference share it. */
hm_tensor *hm_refiner_forward(hm_graph *g, const hm_refiner *r, hm_tensor *x);
/* Fill x for frame t: dec = three decoded frames [3][H][W][3] f32 (edge frames repeated by the caller), t = frame number in the
 * film (for the phase), x0,y0 = position of this crop in the film, known [2H][2W][3] f32 and mask [2H][2W] f32 or NULL. */
void hm_refiner_input(float *x, const float *dec, int H, int W, int t, int x0, int y0, const float *known, const float *mask);

#endif
