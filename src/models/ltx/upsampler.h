/* upsampler.h - the latent upsamplers of LTX-Video: twice the height and width, or twice the frames, of
 * latents. SPDX-License-Identifier: MIT Source: Lightricks/LTX-Video
 * ltx_video/models/autoencoders/latent_upsampler.py. Oracle: golden/ltx_upsampler_*. */
#ifndef HM_LTX_UPSAMPLER_H
#define HM_LTX_UPSAMPLER_H

#include "formats/safetensors.h"

typedef struct {
    hm_tensor *w, *b;
} hm_ups_layer;
typedef struct {
    hm_ups_layer conv1, conv2, norm1, norm2;
} hm_ups_res;
typedef struct {
    int channels, mid, n_blocks, dims;
    bool space, time;
    hm_ups_layer first, norm, up, last;
    hm_ups_res *before, *after; /* n_blocks each */
} hm_upsampler;

/* config: the file's header. EMODEL: an option or tensor is not as the code knows it. st must outlive m. */
himmel_status hm_upsampler_load(hm_upsampler *m, const hm_st *st, const char *config, himmel_error *err);
void hm_upsampler_deinit(hm_upsampler *m);
/* Latents [1,T,h,w,C], as encoded (not normalized) -> [1,T or 2T-1,h or 2h,w or 2w,C]. */
hm_tensor *hm_upsampler_forward(hm_graph *g, const hm_upsampler *m, hm_tensor *x,
                                void (*on_tensor)(void *user, const char *name, const hm_tensor *t),
                                void *user);

#endif
