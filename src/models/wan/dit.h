/* dit.h - the transformer of Wan 2.1 (T2V, I2V, FLF2V, VACE) and 2.2 (A14B's experts, TI2V-5B).   SPDX-License-Identifier: MIT
 * Source: Wan2.1 wan/modules/model.py, vace_model.py; Wan2.2 wan/modules/model.py. Oracle: golden/wan21_*, wan22_*.
 * The configuration is read off the tensors' shapes; names may be the original's, ComfyUI's (with its prefix) or
 * diffusers'. */
#ifndef HM_WAN_DIT_H
#define HM_WAN_DIT_H

#include "formats/safetensors.h"

enum { HM_WAN_MAX_LAYERS = 256 };

typedef struct {
    int in_dim, out_dim;     /* channels of the input (latents and what is beside them) and of the velocity */
    int dim, ffn_dim, n_heads, n_layers, freq_dim, text_dim;
    int text_len;            /* rows of text that are always attended to: 512 */
    int patch[3];            /* t, h, w: 1, 2, 2 */
    int clip_dim;            /* width of the image tokens (1280), 0: no image branch */
    int clip_pos;            /* FLF2V: how many image tokens have a position (514), else 0 */
    int n_vace, vace_in_dim; /* VACE blocks and channels of its context (96), else 0 */
    int vace_every;          /* block i's hint is added after layer i * vace_every */
    float eps;
} hm_wan_config;

typedef struct {
    hm_tensor *q_w, *q_b, *k_w, *k_b, *v_w, *v_b, *o_w, *o_b, *norm_q, *norm_k;
    hm_tensor *k_img_w, *k_img_b, *v_img_w, *v_img_b, *norm_k_img; /* NULL without an image branch */
} hm_wan_attn;
typedef struct {
    hm_wan_attn self, cross;
    hm_tensor *norm3_w, *norm3_b, *ffn0_w, *ffn0_b, *ffn2_w, *ffn2_b, *table; /* table [1,6,D] */
    hm_tensor *before_w, *before_b, *after_w, *after_b;                      /* VACE blocks; before: block 0 only */
} hm_wan_layer;
typedef struct {
    hm_wan_config cfg;
    hm_tensor *patch_w, *patch_b, *text0_w, *text0_b, *text2_w, *text2_b, *time0_w, *time0_b, *time2_w, *time2_b;
    hm_tensor *proj_w, *proj_b, *head_w, *head_b, *head_table;                /* head_table [1,2,D] */
    hm_tensor *img0_w, *img0_b, *img1_w, *img1_b, *img3_w, *img3_b, *img4_w, *img4_b, *img_pos;
    hm_tensor *vace_patch_w, *vace_patch_b;
    hm_wan_layer *layers, *vace;
} hm_wan;

typedef enum { HM_WAN_ORIGINAL, HM_WAN_DIFFUSERS } hm_wan_names;
/* The same tensor's name in another convention: "blocks.3.ffn.0.weight" -> "...ffn.net.0.proj.weight". False: too long. */
/* The same tensor in the other of the two conventions; false: it has one name in both. */
bool hm_wan_other_name(char out[256], const char *name);
bool hm_wan_rename(char out[256], const char *original, hm_wan_names to);

/* What the file holds: its convention, the prefix of its names, the sizes. EMODEL: not a Wan transformer. */
himmel_status hm_wan_detect(const hm_st *st, hm_wan_config *cfg, hm_wan_names *names, char prefix[64], himmel_error *err);
/* cfg NULL: detected. Weights are views; st must outlive m. */
himmel_status hm_wan_load(hm_wan *m, const hm_wan_config *cfg, const hm_st *st, himmel_error *err);
void hm_wan_deinit(hm_wan *m);
/* Every tensor that cfg wants, by its original name; dims as the file should have them. */
typedef himmel_status hm_wan_param_fn(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot, himmel_error *err);
himmel_status hm_wan_params(hm_wan *m, hm_wan_param_fn *fn, void *user, himmel_error *err);

typedef struct {
    const float *x, *y;        /* latents [out_dim,T,H,W]; y [in_dim-out_dim,T,H,W] beside them, or NULL */
    int T, H, W;               /* multiples of the patch */
    const float *levels;       /* [n_levels] distinct timesteps, 0..1000 */
    int n_levels;
    const int32_t *row;        /* [tokens] which level a token has; NULL: all have the first */
    const float *text;         /* [n_text, text_dim], n_text <= text_len: the rest are zeros */
    int n_text;
    const float *clip;         /* [n_clip, clip_dim] image tokens, or NULL */
    int n_clip;
    const float *vace;         /* [vace_in_dim,T,H,W], or NULL: no hints */
    float vace_scale;
    void (*on_tensor)(void *user, const char *name, const hm_tensor *t); /* parity: stages by name; may be NULL */
    void *user;
} hm_wan_input;
int64_t hm_wan_tokens(const hm_wan_config *cfg, const hm_wan_input *in);
/* Velocity [out_dim,T,H,W] f32 into out (unused in a plan). */
void hm_wan_forward(hm_graph *g, const hm_wan *m, const hm_wan_input *in, float *out);

/* RoPE tables [N, head_dim/2] of a grid of tokens, angles in double. */
void hm_wan_rope(int head_dim, const int grid[3], float *cosine, float *sine);
/* Sinusoids of timesteps, cos first, angles in double: [n,width]. */
void hm_wan_sinusoid(const float *t, int n, int width, float *out);

#endif
