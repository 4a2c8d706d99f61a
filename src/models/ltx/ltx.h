/* ltx.h - an opened LTX-Video: its files and how it likes to be run.   SPDX-License-Identifier: MIT
 * A checkpoint as released: one safetensors file with "model.diffusion_model.*" and "vae.*" and its
 * configuration in the header; or a transformer alone (GGUF, diffusers) and the VAE in a file of its own, sizes from
 * shapes; a T5 v1.1 encoder (safetensors or GGUF, in one file, shards, or up to four files of Hugging Face's names); its
 * SentencePiece model; and, where there shall be two passes, the spatial upscaler. */
#ifndef HM_LTX_H
#define HM_LTX_H

#include "models/ltx/pipe.h"
#include "models/int8.h"
#include "models/model.h"
#include "models/tae.h"
#include "text/tokenizer.h"

enum { HM_LTX_MAX_SHARDS = 4, HM_LTX_TOKENS = 256 };

/* What the makers' configuration files say, by version. */
typedef struct {
    float times[HM_LTX_MAX_STEPS]; /* distilled: the steps it was distilled for; n_times 0: a schedule of
                                      `steps` */
    int n_times, steps, skip_first, skip_last;
    hm_ltx_guide guide;
} hm_ltx_recipe;

typedef struct {
    hm_st *main, *upscaler, *vae_st, *tae_st, *shard[HM_LTX_MAX_SHARDS]; /* vae_st NULL: the VAE is in main, or missing */
    char prefix[64]; /* of the transformer's tensors in main */
    int n_shards;
    hm_tokenizer *tok;
    hm_dit dit;
    hm_vae vae;
    hm_upsampler up;
    hm_tae tae;       /* for previews, tae_st NULL without one */
    hm_t5 t5;
    uint8_t encoder[32], files[32]; /* which files: of the text encoder, of all */
    bool uniform, shifted; /* schedule: uniform steps, SD3 shift with last time 0.1 (0.9.0, 0.9.1); else
                              linear-quadratic */
    bool distilled, stochastic;
    char version[32];
    uint64_t n_params, n_transformer, file_bytes, merged_bytes;
    hm_int8_sum int8;
} hm_ltx;

himmel_status hm_ltx_open(void **self, const hm_model_files *files, himmel_error *err);
void hm_ltx_close(void *self);
bool hm_ltx_claims(const char *path);
/* The makers' way for one pass (two_pass 0), the first or the second of two (1, 2); layer numbers are cut to
 * what the model has. */
void hm_ltx_recipe_for(const hm_ltx *m, int two_pass, hm_ltx_recipe *r);

#endif
