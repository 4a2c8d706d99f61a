/* dit.h - LTX-Video's transformer: released 2B weights and himmel-1's tiny one run through the same code.
 * SPDX-License-Identifier: MIT
 * Source: Lightricks/LTX-Video ltx_video/models/transformers/transformer3d.py; traps: see dit.c. Oracle: golden/ltx_dit*. */
#ifndef HM_LTX_DIT_H
#define HM_LTX_DIT_H

#include "formats/safetensors.h"
#include "text/t5.h"

typedef struct {
    int in_channels, out_channels, n_layers, n_heads, head_dim, caption_channels;
    double rope_theta;       /* 10000 */
    double max_pos[3];       /* t seconds, h, w in pixels: {20, 2048, 2048} */
    bool causal_time;        /* causal_temporal_positioning */
    float norm_eps;
    int place_features;      /* himmel-1: numbers that say where in the picture a token lies, see hm_dit_input.place; LTX: 0 */
    bool local_mixing;       /* himmel-1: the mlp sees a token's neighbours too, see hm_dit_input.grid; LTX: false */
    bool caption_modulation; /* himmel-1: the caption's mean modulates every block, as the noise level does, and the places; LTX: false */
} hm_dit_config;

typedef struct {
    hm_tensor *q_w, *q_b, *k_w, *k_b, *v_w, *v_b, *o_w, *o_b, *q_norm, *k_norm;
} hm_dit_attn;
typedef struct {
    hm_dit_attn attn1, attn2;
    hm_tensor *ff1_w, *ff1_b, *ff2_w, *ff2_b, *table; /* table [6,D]: shift, scale, gate (msa), shift, scale, gate (mlp) */
    hm_tensor *local_w, *local_caption_w, *local_gate_w; /* [27,D], [27,D], [D,caption_channels]; NULL without local_mixing, the last
                                                          * two without caption_modulation */
} hm_dit_layer;
typedef struct {
    hm_dit_config cfg;
    hm_tensor *patch_w, *patch_b, *t1_w, *t1_b, *t2_w, *t2_b, *ada_w, *ada_b, *cap1_w, *cap1_b, *cap2_w, *cap2_b;
    hm_tensor *table, *out_w, *out_b; /* table [2,D]: shift, scale */
    hm_tensor *place_w;               /* [D,place_features], NULL without */
    hm_tensor *caption_w, *caption_place_w; /* [D,caption_channels], NULL without caption_modulation; the second with places only */
    hm_dit_layer *layers;
} hm_dit;

himmel_status hm_dit_config_parse(hm_dit_config *cfg, const char *json, himmel_error *err); /* released "config" header or its .transformer */
himmel_status hm_dit_init(hm_dit *m, const hm_dit_config *cfg, himmel_error *err);
void hm_dit_deinit(hm_dit *m);
himmel_status hm_dit_params(hm_dit *m, const char *prefix, hm_param_fn *fn, void *user, himmel_error *err);
himmel_status hm_dit_load(hm_dit *m, const hm_dit_config *cfg, const hm_st *st, const char *prefix, himmel_error *err);

/* dit_detect.c: is LTX-Video's transformer in a file, and below which prefix (original names or diffusers')? Its configuration is
 * the header's "config", or else what the shapes say. other_name: what the other convention calls a tensor, both without prefix. */
bool hm_dit_claims(const hm_st *st, char prefix[64]);
himmel_status hm_dit_detect(const hm_st *st, hm_dit_config *cfg, char prefix[64], himmel_error *err);
const hm_tensor *hm_dit_find(const hm_st *st, const char *prefix, const char *name); /* under either name; NULL: absent */
bool hm_dit_other_name(char out[256], const char *name);

/* RoPE tables for tokens at pos [n][3] = (seconds, y, x in pixels): cos, sin [n][D/2], D = n_heads*head_dim; angles formed in double. */
void hm_dit_rope(const hm_dit_config *cfg, const double (*pos)[3], int64_t n, float *cosine, float *sine);

/* What spatio-temporal guidance does to the perturbed samples (keep 0) in the chosen layers: the attention's values instead
 * of its result, its input instead of its result, or no block at all. (LTX's "Residual" changes nothing.) Inference only. */
enum { HM_STG_NONE, HM_STG_ATTENTION_VALUES, HM_STG_ATTENTION_SKIP, HM_STG_BLOCK };

typedef struct {
    hm_tensor *x;            /* [B,N,in_channels] */
    const float *levels;     /* [R] distinct timesteps in 0..1 (noise level; multiplied by 1000 inside) */
    int64_t n_levels;        /* with caption_modulation a multiple of B: sample b has the levels b R/B .. (b+1) R/B - 1 */
    const int32_t *row;      /* [B*N] which level a token has */
    const hm_tensor *cosine, *sine; /* [B or 1,N,D/2] f32 */
    const float *place;      /* [N,place_features], the same for every sample; NULL without */
    int64_t grid[3];         /* with local_mixing: frames, rows and columns of the tokens; tokens behind them are frames that stand alone */
    hm_tensor *text;         /* [B,M,caption_channels], before caption_projection */
    const hm_tensor *text_mask; /* [B,M] f32: 0 for tokens, -10000 for padding; may be NULL */
    uint64_t stg_layers; int stg_mode; const float *stg_keep; /* bit l = perturbed layer; HM_STG_*; keep [B]: 0 = perturbed sample */
    int tap; hm_tensor **tapped; /* the tokens [B,N,D] after block tap - 1, for a loss of their own; 0: none. With a tape only */
    void (*on_tensor)(void *user, const char *name, const hm_tensor *t); void *user; /* parity: intermediates by name, may be NULL */
} hm_dit_input;
/* -> velocity [B,N,out_channels] in activation dtype (f32 if the graph is). */
hm_tensor *hm_dit_forward(hm_graph *g, const hm_dit *m, const hm_dit_input *in);

#endif
