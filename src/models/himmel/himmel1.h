/* himmel1.h - the bundled model: one safetensors file with tokenizer, text encoder, transformer, codec and refiner.
 * SPDX-License-Identifier: MIT
 * Tensors: "tokenizer.spiece" U8 [n] (SentencePiece ModelProto), "text_encoder.*" (T5, Hugging Face names),
 * "model.diffusion_model.*" (LTX single-file names), "codec.*", "refiner.*". Metadata "config": JSON with "transformer",
 * "text_encoder", "refiner" and "himmel" {"name","version","text_len"}; "himmel.data_manifest_sha256" and more. */
#ifndef HM_HIMMEL1_H
#define HM_HIMMEL1_H

#include "models/himmel/codec.h"
#include "models/himmel/refiner.h"
#include "models/ltx/dit.h"
#include "text/t5.h"
#include "text/tokenizer.h"

enum { HM_H1_MAX_BLOCKS = 160, HM_H1_MAX_SECONDS = 10, HM_H1_PLACE = 16 };

typedef struct {
    hm_st *st;
    char sha256[65];   /* of the whole file */
    char name[32], version[32];
    int text_len;      /* tokens per prompt, padded */
    float shift;       /* SD3 time shift of the sampling schedule */
    hm_tokenizer *tok;
    hm_t5 t5;
    hm_dit dit;
    hm_codec *codec;
    hm_refiner *refiner;
} hm_himmel1;

himmel_status hm_himmel1_open(hm_himmel1 **out, const char *path, himmel_error *err);
void hm_himmel1_close(hm_himmel1 *m); /* NULL is fine */

/* Positions of the tokens of T latent frames on a gh x gw grid, for hm_dit_rope: the still at second 0, second j of the film at
 * j - 0.5; y and x of the block's corner in base pixels. pos [T*gh*gw]. */
void hm_himmel1_positions(int T, int gh, int gw, double (*pos)[3]);

/* Where in the picture the n tokens at pos lie, for a transformer with place_features = HM_H1_PLACE: place [n][HM_H1_PLACE] =
 * cos(k pi u), cos(k pi v) for k = 1..6 with u and v 0..1 across and down the picture; 1 for a still; the token's time and the
 * film's length in units of 10 s; the logarithm of width over height. */
void hm_himmel1_place(int T, int gh, int gw, const double (*pos)[3], int64_t n, float *place);

/* Prompts [B] -> hidden states [B, text_len, d_model] on g and their additive mask [B, text_len] f32 (0 / -10000). NULL or
 * "" is the unconditional prompt. */
hm_tensor *hm_himmel1_encode_text(hm_graph *g, const hm_himmel1 *m, const char *const *prompts, int64_t B, hm_tensor **mask);

/* The pieces of "config", shared with the trainer: parse for reading, format for writing. */
typedef struct {
    hm_dit_config dit;
    hm_t5_config t5;
    hm_refiner_config refiner;
    int text_len;
    float shift;
    char name[32], version[32];
} hm_himmel1_config;
hm_himmel1_config hm_himmel1_config_default(void);
himmel_status hm_himmel1_config_parse(hm_himmel1_config *c, const char *json, const char *where, himmel_error *err);
char *hm_himmel1_config_format(const hm_himmel1_config *c); /* malloc'ed */

#endif
