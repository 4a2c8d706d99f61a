/* t5.h - T5 v1.1 / umT5 encoder: T5-XXL of LTX-Video, umT5-XXL of Wan, and himmel-1's tiny one.
 * SPDX-License-Identifier: MIT
 * Source: transformers modeling_t5.py (T5EncoderModel); oracle: golden/ltx_t5, golden/umt5_tiny. */
#ifndef HM_T5_H
#define HM_T5_H

#include "formats/safetensors.h"

typedef struct {
    int vocab, d_model, n_layers, n_heads, d_kv, d_ff, n_buckets, max_distance;
    bool bias_every_layer; /* umT5: each block has its own table */
    float eps;
} hm_t5_config;

typedef struct {
    hm_tensor *norm1, *q, *k, *v, *o, *bias; /* bias NULL: the first block's is used */
    hm_tensor *norm2, *wi_0, *wi_1, *wo;
} hm_t5_layer;

typedef struct {
    hm_t5_config cfg;
    hm_tensor *shared, *final_norm;
    hm_t5_layer *layers;
} hm_t5;

/* Every parameter in file order: callback gets the Hugging Face name (with prefix) and where its pointer lives;
 * the one table that loading, creating, saving and training all walk. dim is what the config wants. */
typedef himmel_status hm_param_fn(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot,
                                  himmel_error *err);
himmel_status hm_t5_params(hm_t5 *m, const char *prefix, hm_param_fn *fn, void *user, himmel_error *err);
himmel_status hm_t5_init(hm_t5 *m, const hm_t5_config *cfg, himmel_error *err); /* allocates layers, slots NULL */
void hm_t5_deinit(hm_t5 *m);
/* Sizes from the shapes of st's tensors. The dots of a head's q and k are not divided by anything, so no more is needed. */
himmel_status hm_t5_detect(hm_t5_config *cfg, const hm_st *st, const char *prefix, himmel_error *err);
/* The name that st has for a tensor: st may use Hugging Face's names, Wan's or llama.cpp's. */
void hm_t5_rename(char out[256], const hm_st *st, const char *prefix, const char *hf);
/* Binds every slot to st's tensors (shape-checked), whichever names they have; st must outlive m. */
himmel_status hm_t5_load(hm_t5 *m, const hm_t5_config *cfg, const hm_st *st, const char *prefix, himmel_error *err);

/* Bucket of a relative position (key - query). */
int hm_t5_bucket(const hm_t5_config *cfg, int64_t distance);

/* ids [B,N], mask [B,N] (1 = token, 0 = padding) -> hidden states [B,N,d_model], final norm applied. */
hm_tensor *hm_t5_forward(hm_graph *g, const hm_t5 *m, const int32_t *ids, const int32_t *mask, int64_t B, int64_t N);

#endif
