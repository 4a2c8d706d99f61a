/* vae.h - LTX-Video's causal video VAE: every released variant (0.9.0 ... 0.9.8) from its configuration.
 * SPDX-License-Identifier: MIT
 * Source: Lightricks/LTX-Video ltx_video/models/autoencoders/causal_video_autoencoder.py. Oracle:
 * golden/ltx_vae_*. Activations are [1,T,H,W,C]. Encoder and decoder are streams: a clip goes in piece by
 * piece and comes out piece by piece, with the same numbers as in one piece, so memory does not grow with its
 * length. */
#ifndef HM_LTX_VAE_H
#define HM_LTX_VAE_H

#include "formats/safetensors.h"

typedef struct {
    hm_tensor *w, *b; /* w [O,I,3,3,3] as in the file */
} hm_vae_conv;

typedef struct {
    hm_vae_conv conv1, conv2;
    hm_tensor *short_w, *short_b, *norm3_w,
        *norm3_b;               /* where the number of channels changes: [O,I,1,1,1], ..., [I] */
    hm_tensor *table;           /* [4,C] shift, scale, shift, scale; NULL: no timestep */
    hm_tensor *noise1, *noise2; /* [C,1,1] strength of injected noise; NULL: none */
} hm_vae_res;

typedef enum { HM_VAE_RES, HM_VAE_STRIDED, HM_VAE_S2D, HM_VAE_D2S } hm_vae_kind;
typedef struct {
    hm_vae_kind kind;
    int in_c, out_c;
    int stride[3]; /* t, h, w */
    bool residual; /* D2S: add the rearranged input */
    int n_res;
    bool noise, timed;
    bool single; /* a RES block of one that stands alone, where the channels change */
    hm_vae_res *res;
    hm_vae_conv conv;
    hm_tensor *t1_w, *t1_b, *t2_w, *t2_b; /* timestep embedder of a RES block */
} hm_vae_block;

typedef struct {
    hm_vae_conv in, out;
    int n_blocks, in_c, out_c; /* channels after conv in and before conv out */
    hm_vae_block *blocks;
} hm_vae_half;

typedef enum { HM_VAE_ZEROS, HM_VAE_REFLECT, HM_VAE_REPLICATE } hm_vae_pad;
typedef struct {
    const hm_st *st;
    int latent_c, patch;
    int scale_t, scale_s; /* frames and pixels of one latent */
    int var_c;            /* channels of log variance: 1 for all, latent_c, or 0 */
    bool causal_decoder, timed;
    hm_vae_pad pad;
    hm_vae_half enc, dec;
    hm_tensor *t1_w, *t1_b, *t2_w, *t2_b, *table; /* at the decoder's end: table [2,C] shift, scale */
    float t_scale;                                /* of the decoder's timestep */
    float *mean, *deviation;                      /* [latent_c] of the latents, for normalizing */
} hm_vae;

/* Bind the tensors below prefix ("vae.") to the configuration in config (the released header, or its "vae"; NULL: as the tensors'
 * shapes say), in the original's or diffusers' names. EMODEL: an option or tensor is not as the code knows it. st must outlive m. */
himmel_status hm_vae_load(hm_vae *m, const hm_st *st, const char *prefix, const char *config,
                          himmel_error *err);
void hm_vae_deinit(hm_vae *m);
bool hm_vae_claims(const hm_st *st, const char *prefix); /* are there tensors of one below prefix? */
/* vae_guess.c: a configuration from shapes, malloc'ed, NULL out of memory; and where diffusers has things. */
char *hm_vae_guess(const hm_st *st, const char *prefix);
bool hm_vae_in_diffusers(const hm_st *st, const char *prefix);
void hm_vae_diffusers(char out[256], const char *name);
void hm_vae_block_path(char out[128], const hm_vae_half *half, bool decoder, bool diffusers, int index, bool last);

typedef struct {
    bool causal;    /* decoder: as if no frame followed; encoders always are */
    float timestep; /* decoder of 0.9.1 and later, e.g. 0.05 */
    /* Fills a map of n normal numbers for the decoder of 0.9.1, in the original's order of drawing; NULL:
     * zeros. */
    void (*noise)(void *user, float *map, int64_t n);
    /* Parity: intermediates by name, as they come. May be NULL. */
    void (*on_tensor)(void *user, const char *name, const hm_tensor *t);
    void *user;
} hm_vae_opts;

typedef struct hm_vae_stream hm_vae_stream;
/* A stream over frames of h x w (decoder: latents; encoder: pixels, multiples of scale_s). Its state lies in
 * g's arena until the caller restores to a mark from before; between pushes everything else in the arena may
 * be restored. */
hm_vae_stream *hm_vae_encoder(hm_graph *g, const hm_vae *m, int64_t h, int64_t w, const hm_vae_opts *o);
hm_vae_stream *hm_vae_decoder(hm_graph *g, const hm_vae *m, int64_t h, int64_t w, const hm_vae_opts *o);
/* The next frames x [1,T,h,w,C] (encoder: C = 3 in -1..1; decoder: latents as encoded, not normalized); last:
 * nothing follows. Returns what is ready, [1,T',...] in activation dtype: encoder: mean and log variance, C =
 * latent_c + var_c; decoder: [1,T',H,W,3]; NULL: nothing yet. All in all 1 + (T-1)/scale_t, or 1 +
 * (T-1)*scale_t. */
hm_tensor *hm_vae_push(hm_vae_stream *s, hm_tensor *x, bool last);

/* z (x - mean) / deviation and back; x [rows][latent_c]. */
void hm_vae_normalize(const hm_vae *m, float *x, int64_t rows);
void hm_vae_unnormalize(const hm_vae *m, float *x, int64_t rows);
/* Encoder output rows [latent_c + var_c] f32 to latents: mean + exp(logvar/2) noise (NULL: the mean). */
void hm_vae_sample(const hm_vae *m, float *z, const float *coded, const float *noise, int64_t rows);

#endif
