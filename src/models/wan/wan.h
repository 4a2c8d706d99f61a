/* wan.h - an opened Wan: its files, which of the family it is and how it likes to be run.   SPDX-License-Identifier: MIT
 * The transformer (2.2 A14B: two of them), the autoencoder, the umT5-XXL encoder with its SentencePiece model and, where
 * 2.1 is given pictures, CLIP's vision transformer: each a safetensors or GGUF file. What a file is, is read off its
 * tensors; only which of two experts is which, whether one alone is half of a pair, and whether weights were distilled to few
 * steps comes from the names. */
#ifndef HM_WAN_WAN_H
#define HM_WAN_WAN_H

#include "models/int8.h"
#include "models/model.h"
#include "models/tae.h"
#include "models/wan/clip.h"
#include "models/wan/sample.h"
#include "models/wan/vae.h"
#include "text/t5.h"
#include "text/tokenizer.h"

enum { HM_WAN_TOKENS = 512 };
typedef enum { HM_WAN_T2V, HM_WAN_I2V, HM_WAN_FLF2V, HM_WAN_TI2V, HM_WAN_VACE } hm_wan_kind;

/* What the makers' configuration says. */
typedef struct {
    int width, height, n_frames, steps;
    double fps, shift;
    float guidance, guidance_low, boundary; /* high noise (or all of it), low noise; boundary 0: one transformer */
} hm_wan_recipe;

typedef struct {
    hm_st *main, *second, *vae_st, *t5_st, *clip_st, *tae_st;
    hm_wan dit, low;       /* low: the second expert, layers NULL without one */
    hm_wan_vae *vae;
    hm_t5 t5;
    uint8_t encoder[32], files[32]; /* which files: of the text encoder, of all */
    hm_wan_clip clip;
    hm_tae tae;            /* for previews, tae_st NULL without one */
    hm_tokenizer *tok;
    hm_wan_kind kind;
    bool two;              /* 2.2 A14B: wants a second expert */
    bool main_low;         /* of the pair, main is the low-noise one */
    bool distilled;
    hm_wan_recipe recipe;
    uint64_t n_params, n_transformer, file_bytes, merged_bytes;
    hm_int8_sum int8;
} hm_wan_set;

bool hm_wan_claims(const char *path);
himmel_status hm_wan_open(void **self, const hm_model_files *files, himmel_error *err);
void hm_wan_close(void *self);
void hm_wan_missing(const hm_wan_set *m, char *out, size_t cap); /* a sentence, "" = nothing */

/* given.c: what stands beside the noise. */
typedef struct {
    float *y, *clip, *vace, *still, *start; /* as hm_wan_input and hm_wan_sampling take them; NULL: none */
    uint8_t *stays;
    int n_clip;
    uint64_t bytes;                 /* of all, and of the pictures they are made from */
} hm_wan_given;
/* Every kind's rule about which pictures it wants. */
himmel_status hm_wan_given_check(const hm_wan_set *m, const hm_model_job *job, himmel_error *err);
/* And about which parts of a film may change; reads the mask. */
himmel_status hm_wan_mask_check(const hm_wan_set *m, const hm_model_job *job, himmel_error *err);
/* In a plan graph: only sizes; the pointers that will be set are not NULL, and must neither be read nor freed. */
himmel_status hm_wan_given_make(const hm_wan_set *m, const hm_model_job *job, hm_graph *g, hm_wan_given *out, himmel_error *err);
void hm_wan_given_free(hm_wan_given *c);

#endif
