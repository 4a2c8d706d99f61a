/* vae_ops.h - the layers of Wan's autoencoders on one chunk of a stream.   SPDX-License-Identifier: MIT
 * Activations are [1,T,H,W,C]. A stage's weights are found by name; the first that is missing or misshapen sets rc, and
 * from then on nothing is computed: loading runs both directions in a plan to find such tensors. */
#ifndef HM_WAN_VAE_OPS_H
#define HM_WAN_VAE_OPS_H

#include "models/wan/vae.h"

enum { VAE_MAX_CACHES = 256 };
typedef struct {
    void *data;    /* the last frames of a convolution's input */
    uint64_t bytes;
    int frames;    /* 0: none yet */
} vae_cache;

typedef struct {
    hm_graph *g;
    const hm_st *st;
    vae_cache cache[VAE_MAX_CACHES];
    int n_cache, chunk; /* caches used in this chunk, in order of the layers; number of the chunk */
    bool visit;         /* every layer once, whatever the chunk: the check after opening */
    uint64_t kept;      /* bytes of all caches */
    const hm_wan_vae_sink *sink;
    himmel_status rc;
    himmel_error *err;
} vae_run;

void hm_wv_reset(vae_run *r); /* frees the caches */
void hm_wv_show(const vae_run *r, const char *name, const hm_tensor *t);
hm_tensor *hm_wv_need(vae_run *r, const char *prefix, const char *name, int nd, const int64_t *dim);
bool hm_wv_has(const vae_run *r, const char *prefix, const char *name);
/* vae_names.c: a tensor by its original name, in files that have that or diffusers' name. */
const hm_tensor *hm_wv_find(const hm_st *st, const char *name);
void hm_wv_diffusers(char out[256], const char *name);

hm_tensor *hm_wv_conv3(vae_run *r, hm_tensor *x, const char *prefix, const char *name);  /* causal, kernel k x 3 x 3 or k x 1 x 1 */
hm_tensor *hm_wv_pointwise(vae_run *r, hm_tensor *x, const char *prefix, const char *name); /* 1 x 1 (x 1) */
hm_tensor *hm_wv_norm_silu(vae_run *r, hm_tensor *x, const char *prefix, const char *name);
hm_tensor *hm_wv_residual(vae_run *r, hm_tensor *x, const char *prefix);
hm_tensor *hm_wv_attention(vae_run *r, hm_tensor *x, const char *prefix);
hm_tensor *hm_wv_upsample(vae_run *r, hm_tensor *x, const char *prefix);
hm_tensor *hm_wv_downsample(vae_run *r, hm_tensor *x, const char *prefix);
/* Shortcuts of 2.2: means over blocks of ft x fs x fs (time padded on the left), and their inverse, numbers repeated. */
hm_tensor *hm_wv_average(vae_run *r, hm_tensor *x, int64_t out_c, int ft, int fs);
hm_tensor *hm_wv_repeat(vae_run *r, hm_tensor *x, int64_t out_c, int ft, int fs);

#endif
