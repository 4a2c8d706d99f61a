/* t5_names.c - a T5 encoder's tensors under the names of three programs, and its sizes from their shapes.
 * SPDX-License-Identifier: MIT
 * Hugging Face's names are ours; Wan2.1 wan/modules/t5.py and llama.cpp (GGUF, "enc.blk.N.*") have others. */
#include <stdio.h>
#include <string.h>
#include "text/t5.h"

typedef enum { HF, WAN, LLAMA, N_NAMINGS } naming;
static const char *const whole[][N_NAMINGS] = {{"shared", "token_embedding", "token_embd"},
                                               {"encoder.final_layer_norm", "norm", "enc.output_norm"}};
static const char *const block[N_NAMINGS] = {"encoder.block.%d.%s", "blocks.%d.%s", "enc.blk.%d.%s"};
static const char *const parts[][N_NAMINGS] = {
    {"layer.0.layer_norm", "norm1", "attn_norm"},
    {"layer.0.SelfAttention.q", "attn.q", "attn_q"},
    {"layer.0.SelfAttention.k", "attn.k", "attn_k"},
    {"layer.0.SelfAttention.v", "attn.v", "attn_v"},
    {"layer.0.SelfAttention.o", "attn.o", "attn_o"},
    {"layer.0.SelfAttention.relative_attention_bias", "pos_embedding.embedding", "attn_rel_b"},
    {"layer.1.layer_norm", "norm2", "ffn_norm"},
    {"layer.1.DenseReluDense.wi_0", "ffn.gate.0", "ffn_gate"},
    {"layer.1.DenseReluDense.wi_1", "ffn.fc1", "ffn_up"},
    {"layer.1.DenseReluDense.wo", "ffn.fc2", "ffn_down"}};
enum { NORM1, Q, K, V, O, BIAS, NORM2, GATE };

static naming naming_of(const hm_st *st, const char *prefix)
{
    char name[256];
    for (int n = WAN; n < N_NAMINGS; n++) {
        snprintf(name, sizeof name, "%s%s.weight", prefix, whole[0][n]);
        if (hm_st_find(st, name)) return (naming)n;
    }
    return HF;
}

void hm_t5_rename(char out[256], const hm_st *st, const char *prefix, const char *hf)
{
    const naming to = naming_of(st, prefix);
    const char *rest = hf + (strncmp(hf, prefix, strlen(prefix)) ? 0 : strlen(prefix));
    char part[200], name[240];
    int layer;
    snprintf(out, 256, "%s", hf);
    for (size_t i = 0; i < HM_COUNT(whole); i++) {
        snprintf(name, sizeof name, "%s.weight", whole[i][HF]);
        if (!strcmp(rest, name)) snprintf(out, 256, "%s%s.weight", prefix, whole[i][to]);
    }
    if (sscanf(rest, "encoder.block.%d.%199s", &layer, part) != 2) return;
    for (size_t i = 0; i < HM_COUNT(parts); i++) {
        snprintf(name, sizeof name, "%s.weight", parts[i][HF]);
        if (strcmp(part, name)) continue;
        snprintf(name, sizeof name, block[to], layer, parts[i][to]);
        snprintf(out, 256, "%s%s.weight", prefix, name);
    }
}

static const hm_tensor *find(const hm_st *st, const char *prefix, int layer, int part)
{
    const naming n = naming_of(st, prefix);
    char name[256], at[128];
    if (layer < 0) snprintf(at, sizeof at, "%s", whole[0][n]);
    else snprintf(at, sizeof at, block[n], layer, parts[part][n]);
    snprintf(name, sizeof name, "%s%s.weight", prefix, at);
    const hm_tensor *t = hm_st_find(st, name);
    if (!t && layer < 0 && n == HF) { /* files without the decoder may have only this one */
        snprintf(name, sizeof name, "%sencoder.embed_tokens.weight", prefix);
        t = hm_st_find(st, name);
    }
    return t;
}

himmel_status hm_t5_detect(hm_t5_config *cfg, const hm_st *st, const char *prefix, himmel_error *err)
{
    const hm_tensor *emb = find(st, prefix, -1, 0), *q = find(st, prefix, 0, Q), *bias = find(st, prefix, 0, BIAS),
                    *gate = find(st, prefix, 0, GATE);
    int layers = 0;
    while (layers < 1000 && find(st, prefix, layers, Q)) layers++;
    const hm_tensor *all[] = {emb, q, bias, gate};
    for (size_t i = 0; i < HM_COUNT(all); i++)
        if (!all[i] || all[i]->nd != 2 || all[i]->dim[0] < 1 || all[i]->dim[1] < 1 || all[i]->dim[0] > 1 << 24 || all[i]->dim[1] > 1 << 24)
            return hm_fail(err, HIMMEL_EMODEL, "%s is not a T5 encoder: it has no embedding, attention, position table or mlp", hm_st_path(st));
    const int heads = (int)bias->dim[1];
    *cfg = (hm_t5_config){.vocab = (int)emb->dim[0], .d_model = (int)emb->dim[1], .n_layers = layers, .n_heads = heads,
                          .d_kv = (int)q->dim[0] / heads, .d_ff = (int)gate->dim[0], .n_buckets = (int)bias->dim[0],
                          .max_distance = 128, .bias_every_layer = layers > 1 && find(st, prefix, 1, BIAS), .eps = 1e-6f};
    return HIMMEL_OK;
}
