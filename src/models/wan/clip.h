/* clip.h - the picture encoder of Wan 2.1 I2V and FLF2V: CLIP's vision transformer (ViT-H/14, 1280 wide) without its last
 * block. SPDX-License-Identifier: MIT
 * Source: Wan2.1 wan/modules/clip.py (VisionTransformer, use_31_block). Oracle: golden/clip_vision_tiny. */
#ifndef HM_WAN_CLIP_H
#define HM_WAN_CLIP_H

#include "formats/safetensors.h"

typedef struct {
    hm_tensor *norm1_w, *norm1_b, *qkv_w, *qkv_b, *proj_w, *proj_b, *norm2_w, *norm2_b, *mlp0_w, *mlp0_b, *mlp2_w, *mlp2_b;
} hm_wan_clip_layer;
typedef struct {
    int dim, patch, side, n_heads, n_layers; /* side: patches in a row; n_layers: those that are used */
    hm_tensor *patch_w, *cls, *pos, *pre_w, *pre_b;
    hm_wan_clip_layer *layers;
} hm_wan_clip;

bool hm_wan_clip_claims(const hm_st *st); /* by its tensors' names */
/* n_heads 0: heads of 80, or of 16 in a tiny one. Weights are views; st must outlive m. */
himmel_status hm_wan_clip_load(hm_wan_clip *m, const hm_st *st, int n_heads, himmel_error *err);
void hm_wan_clip_deinit(hm_wan_clip *m);
/* picture [3,H,W] in -1..1, any size -> tokens [1, 1 + side^2, dim]. on_tensor: parity, may be NULL. */
hm_tensor *hm_wan_clip_forward(hm_graph *g, const hm_wan_clip *m, const float *picture, int H, int W,
                               void (*on_tensor)(void *user, const char *name, const hm_tensor *t), void *user);

/* PyTorch's bicubic (a = -0.75, half-pixel centres, no antialiasing), planes [C,H,W] -> [C,h,w]. */
void hm_wan_bicubic(const float *from, int C, int H, int W, float *to, int h, int w);

#endif
