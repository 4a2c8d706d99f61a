/* tiny_model.h - a himmel-1 weights file with random numbers in it, of any size: for tests of everything
 * around the model. SPDX-License-Identifier: MIT The codec's basis are plain DCT functions, so films of
 * random latents are soft moving colours. */
#ifndef HM_TINY_MODEL_H
#define HM_TINY_MODEL_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "models/himmel/codec_internal.h"
#include "models/himmel/himmel1.h"

enum { TINY_MAX = 4096 };

typedef struct {
    hm_st_writer *w;
    void *mem[TINY_MAX]; /* what the writer borrows until it has written */
    size_t n;
} tiny;

static hm_himmel1_config tiny_config(void)
{
    hm_himmel1_config c = hm_himmel1_config_default();
    c.dit.in_channels = c.dit.out_channels = 48;
    c.dit.n_layers = 2, c.dit.n_heads = 2, c.dit.head_dim = 16, c.dit.caption_channels = 32;
    c.t5 = (hm_t5_config){.vocab = 320,
                          .d_model = 32,
                          .n_layers = 2,
                          .n_heads = 2,
                          .d_kv = 16,
                          .d_ff = 64,
                          .n_buckets = 8,
                          .max_distance = 16,
                          .eps = 1e-6f};
    c.refiner = (hm_refiner_config){.width = 16, .n_blocks = 1, .width2 = 16, .n_convs2 = 1};
    c.text_len = 24;
    strcpy(c.name, "himmel-tiny");
    return c;
}

static void *tiny_keep(tiny *t, void *p)
{
    if (!p || t->n >= TINY_MAX) abort();
    return t->mem[t->n++] = p;
}

/* An hm_param_fn: norms near 1, biases small, matrices N(0, 1/fan-in), as bf16. */
static himmel_status tiny_param(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot,
                                himmel_error *err)
{
    tiny *t = user;
    size_t n = 1;
    for (int i = 0; i < nd; i++) n *= (size_t)dim[i];
    float *f = malloc(n * sizeof *f);
    uint16_t *h = tiny_keep(t, malloc(n * sizeof *h));
    hm_randn(f, n, 99, t->n);
    const double fan = nd > 1 ? (double)n / (double)dim[0] : 1;
    const double scale = nd < 2 ? 0.02 : strstr(name, "proj_out") ? 0.2 / sqrt(fan) : 1 / sqrt(fan);
    const double base = strstr(name, "norm") && strstr(name, "weight") && !strstr(name, "linear") ? 1 : 0;
    for (size_t i = 0; i < n; i++) h[i] = hm_f32_to_bf16((float)(base + scale * f[i]));
    free(f);
    *slot = NULL;
    return hm_st_add(t->w, name, HM_BF16, nd, dim, h, err);
}

static himmel_status tiny_floats(tiny *t, const char *name, int64_t d0, int64_t d1, float **out,
                                 himmel_error *err)
{
    *out = tiny_keep(t, calloc((size_t)(d0 * (d1 ? d1 : 1)), sizeof **out));
    return hm_st_add(t->w, name, HM_F32, d1 ? 2 : 1, (int64_t[]){d0, d1}, *out, err);
}

/* K DCT functions, low ones of every colour: component k is value k; block neighbours are not used. */
static himmel_status tiny_codec(tiny *t, int K, himmel_error *err)
{
    int32_t *index = tiny_keep(t, calloc((size_t)K, sizeof *index));
    int n = 0, n_still = 0;
    const int a = K / 3; /* a values of each colour: up to 4 x 4 in space, times what it takes in time */
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < (c < 2 ? a : K - 2 * a); i++)
            index[n++] = ((c * HM_DCT_T + i / 16) * 16 + i / 4 % 4) * 16 + i % 4;
    for (int i = 0; i < n; i++) n_still += index[i] / HM_DCT_PLANE % HM_DCT_T == 0;
    float *mean, *basis, *scale, *std, *parity, *dec, *still;
    himmel_status rc = hm_st_add(t->w, "codec.dct_index", HM_I32, HM_DIMS(K), index, err);
    if (!rc) rc = tiny_floats(t, "codec.mean", K, 0, &mean, err);
    if (!rc) rc = tiny_floats(t, "codec.basis", K, K, &basis, err);
    if (!rc) rc = tiny_floats(t, "codec.scale", K, 0, &scale, err);
    if (!rc) rc = tiny_floats(t, "codec.std", K, 0, &std, err);
    if (!rc) rc = tiny_floats(t, "codec.parity", K, 0, &parity, err);
    if (!rc) rc = tiny_floats(t, "codec.decoder", 9 * K, K, &dec, err);
    if (!rc) rc = tiny_floats(t, "codec.still_decoder", 9 * K, n_still, &still, err);
    if (rc) return rc;
    mean[0] = 83; /* grey: 0.5 sqrt 3, times the DCT's gains 16 and 6 */
    for (int i = 0, s = 0; i < K; i++) {
        const float amp = 22.0f / (1 + (float)(i % a % 16)); /* smooth: high frequencies are weak */
        basis[i * K + i] = 1;
        scale[i] = 1 / amp, std[i] = 1;
        parity[i] = index[i] % 2 ? -1 : 1;
        dec[(size_t)(4 * K + i) * (size_t)K + (size_t)i] = amp;
        if (index[i] / HM_DCT_PLANE % HM_DCT_T == 0)
            still[(size_t)(4 * K + i) * (size_t)n_still + (size_t)s++] = amp;
    }
    return HIMMEL_OK;
}

/* A SentencePiece model by hand: pad, eos, unk, then single characters. */
static himmel_status tiny_tokenizer(tiny *t, himmel_error *err)
{
    uint8_t *b = tiny_keep(t, malloc(8192));
    size_t n = 0;
    static const char *const special[] = {"<pad>", "</s>", "<unk>"};
    for (int i = 0; i < 3 + 1 + 95; i++) {
        char one[2] = {(char)(i - 4 + 32), 0};
        const char *s = i < 3 ? special[i] : i == 3 ? "\xe2\x96\x81" : one;
        if (i == 4) continue; /* the space itself is that lower one eighth block */
        const uint8_t len = (uint8_t)strlen(s);
        b[n++] = 0x0a, b[n++] = (uint8_t)(2 + len + 5 + 2);
        b[n++] = 0x0a, b[n++] = len;
        memcpy(b + n, s, len), n += len;
        const float score = i < 3 ? 0 : -1 - (float)i / 100;
        b[n++] = 0x15, memcpy(b + n, &score, 4), n += 4;
        b[n++] = 0x18, b[n++] = i == 2 ? 2 : i < 2 ? 3 : 1; /* unknown, control, normal */
    }
    const uint8_t trainer[] = {0x12, 11, 0x18, 1,    0xc0, 2, 2,
                               0xd0, 2,  1,    0xd8, 2,    0}; /* unigram, unk 2, eos 1, pad 0 */
    memcpy(b + n, trainer, sizeof trainer);
    n += sizeof trainer;
    return hm_st_add(t->w, "tokenizer.spiece", HM_U8, HM_DIMS((int64_t)n), b, err);
}

static himmel_status tiny_model_write(const char *path, const hm_himmel1_config *c, himmel_error *err)
{
    tiny *t = calloc(1, sizeof *t);
    hm_t5 t5;
    hm_dit dit;
    hm_refiner *refiner = NULL;
    char *json = hm_himmel1_config_format(c);
    t->w = hm_st_writer_new();
    himmel_status rc = hm_t5_init(&t5, &c->t5, err);
    if (!rc) rc = hm_dit_init(&dit, &c->dit, err);
    if (!rc) rc = hm_refiner_init(&refiner, &c->refiner, err);
    if (!rc) rc = hm_st_add_meta(t->w, "config", json, err);
    if (!rc) rc = hm_st_add_meta(t->w, "himmel.licence", "CC0-1.0", err);
    if (!rc) rc = tiny_tokenizer(t, err);
    if (!rc) rc = hm_t5_params(&t5, "text_encoder.", tiny_param, t, err);
    if (!rc) rc = hm_dit_params(&dit, "model.diffusion_model.", tiny_param, t, err);
    if (!rc) rc = tiny_codec(t, c->dit.in_channels, err);
    if (!rc) rc = hm_refiner_params(refiner, "refiner.", tiny_param, t, err);
    if (!rc) rc = hm_st_write(t->w, path, err);
    hm_t5_deinit(&t5);
    hm_dit_deinit(&dit);
    hm_refiner_free(refiner);
    hm_st_writer_free(t->w);
    for (size_t i = 0; i < t->n; i++) free(t->mem[i]);
    free(t);
    free(json);
    return rc;
}

#endif
