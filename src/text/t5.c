/* t5.c - the T5 encoder.   SPDX-License-Identifier: MIT
 *   ids [B,N] -shared-> h [B,N,d] -blocks: h += o(attention(norm h) + bias), h += wo(gelu(wi_0 n) * wi_1 n)->
 * norm Source: transformers models/t5/modeling_t5.py; umT5: Wan2.1 wan/modules/t5.py.   Oracle:
 * golden/ltx_t5, umt5_tiny. Traps: scores are not divided by sqrt(d_kv); no biases anywhere; all layers share
 * block 0's position table (umT5: one each); padding keys are masked, padding queries computed all the same.
 */
#include "text/t5.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Added to the scores of padding: swamps any score even in f32, and stays finite under any scaling. */
#define T5_MASKED (-1e30f)

typedef enum { S_NONE, S_D, S_A, S_F, S_V, S_BUCKETS, S_K } t5_size; /* A = n_heads * d_kv */
typedef struct {
    const char *name;
    size_t at;
    t5_size dim[2];
} t5_bind;

#define LAYER(f) offsetof(hm_t5_layer, f)
static const t5_bind layer_binds[] = {
    {"layer.0.layer_norm.weight", LAYER(norm1), {S_D}},
    {"layer.0.SelfAttention.q.weight", LAYER(q), {S_A, S_D}},
    {"layer.0.SelfAttention.k.weight", LAYER(k), {S_A, S_D}},
    {"layer.0.SelfAttention.v.weight", LAYER(v), {S_A, S_D}},
    {"layer.0.SelfAttention.o.weight", LAYER(o), {S_D, S_A}},
    {"layer.0.SelfAttention.relative_attention_bias.weight", LAYER(bias), {S_BUCKETS, S_K}},
    {"layer.1.layer_norm.weight", LAYER(norm2), {S_D}},
    {"layer.1.DenseReluDense.wi_0.weight", LAYER(wi_0), {S_F, S_D}},
    {"layer.1.DenseReluDense.wi_1.weight", LAYER(wi_1), {S_F, S_D}},
    {"layer.1.DenseReluDense.wo.weight", LAYER(wo), {S_D, S_F}}};

static himmel_status visit(const hm_t5_config *c, const char *name, const t5_size want[2], hm_tensor **slot,
                           hm_param_fn *fn, void *user, himmel_error *err)
{
    const int64_t size[] = {[S_D] = c->d_model,
                            [S_A] = (int64_t)c->n_heads * c->d_kv,
                            [S_F] = c->d_ff,
                            [S_V] = c->vocab,
                            [S_BUCKETS] = c->n_buckets,
                            [S_K] = c->n_heads};
    const int64_t dim[2] = {size[want[0]], size[want[1]]};
    return fn(user, name, want[1] ? 2 : 1, dim, slot, err);
}

himmel_status hm_t5_params(hm_t5 *m, const char *prefix, hm_param_fn *fn, void *user, himmel_error *err)
{
    const hm_t5_config *c = &m->cfg;
    char name[256];
    snprintf(name, sizeof name, "%sshared.weight", prefix);
    himmel_status rc = visit(c, name, (t5_size[2]){S_V, S_D}, &m->shared, fn, user, err);
    for (int l = 0; l < c->n_layers; l++) {
        for (size_t i = 0; i < HM_COUNT(layer_binds) && !rc; i++) {
            const t5_bind *b = &layer_binds[i];
            if (b->at == LAYER(bias) && l && !c->bias_every_layer) continue;
            snprintf(name, sizeof name, "%sencoder.block.%d.%s", prefix, l, b->name);
            hm_tensor **slot = (hm_tensor **)(void *)((char *)&m->layers[l] + b->at);
            rc = visit(c, name, b->dim, slot, fn, user, err);
        }
    }
    snprintf(name, sizeof name, "%sencoder.final_layer_norm.weight", prefix);
    return rc ? rc : visit(c, name, (t5_size[2]){S_D}, &m->final_norm, fn, user, err);
}

himmel_status hm_t5_init(hm_t5 *m, const hm_t5_config *cfg, himmel_error *err)
{
    *m = (hm_t5){.cfg = *cfg};
    if (cfg->vocab < 1 || cfg->d_model < 1 || cfg->n_layers < 1 || cfg->n_heads < 1 || cfg->d_kv < 1 ||
        cfg->d_ff < 1 || cfg->n_layers > 1000)
        return hm_fail(err, HIMMEL_EINVAL, "t5: a size of the configuration is missing or impossible");
    if (cfg->n_buckets < 4 || cfg->n_buckets % 4 || cfg->max_distance <= cfg->n_buckets / 4)
        return hm_fail(err, HIMMEL_EINVAL, "t5: %d position buckets up to distance %d do not work",
                       cfg->n_buckets, cfg->max_distance);
    m->layers = calloc((size_t)cfg->n_layers, sizeof *m->layers);
    return m->layers ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "t5: out of memory");
}

void hm_t5_deinit(hm_t5 *m)
{
    free(m->layers);
    *m = (hm_t5){0};
}

typedef struct {
    const hm_st *st;
    const char *prefix;
} binder;

static himmel_status bind(void *user, const char *hf, int nd, const int64_t *dim, hm_tensor **slot,
                          himmel_error *err)
{
    const hm_st *st = ((const binder *)user)->st;
    const hm_tensor *t;
    char name[256];
    hm_t5_rename(name, st, ((const binder *)user)->prefix, hf);
    const himmel_status rc = hm_st_need(st, name, nd, dim, &t, err);
    if (rc) return rc;
    if (!hm_is_weight(t->dtype))
        return hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%.100s\" is %s, not a weight", hm_st_path(st), name,
                       hm_dtype_name(t->dtype));
    if (t->scale != 0 && !strstr(hf, "SelfAttention.") && !strstr(hf, "DenseReluDense."))
        return hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%.100s\" is scaled fp8, which linear layers alone can be", hm_st_path(st), name);
    if (t->scale != 0 && strstr(hf, "relative_attention_bias"))
        return hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%.100s\" is scaled fp8, which linear layers alone can be", hm_st_path(st), name);
    *slot = (hm_tensor *)(uintptr_t)t; /* weights are read only: needs_grad stays false */
    return HIMMEL_OK;
}

himmel_status hm_t5_load(hm_t5 *m, const hm_t5_config *cfg, const hm_st *st, const char *prefix,
                         himmel_error *err)
{
    himmel_status rc = hm_t5_init(m, cfg, err);
    if (!rc) rc = hm_t5_params(m, prefix, bind, &(binder){st, prefix}, err);
    if (rc) hm_t5_deinit(m);
    return rc;
}

/* Half of the buckets for keys behind the query, half for keys in front; of each half, exact distances first,
 * then logarithmic ones. In float32 like the original: at the edges double gives other buckets. */
int hm_t5_bucket(const hm_t5_config *cfg, int64_t distance)
{
    const int half = cfg->n_buckets / 2, exact = half / 2;
    const int base = distance > 0 ? half : 0;
    const int64_t n = distance < 0 ? -distance : distance;
    if (n < exact) return base + (int)n;
    const float span = (float)log((double)cfg->max_distance / exact);
    const float far = logf((float)n / (float)exact) / span * (float)(half - exact);
    const int b = exact + (int)HM_MIN(far, (float)half);
    return base + HM_MIN(b, half - 1);
}

/* table [buckets,K] -> bias [K,N,N] f32: values picked one by one, which puts heads first without a
 * transpose. */
static hm_tensor *position_bias(hm_graph *g, const hm_t5_config *cfg, hm_tensor *table, int64_t N)
{
    const int64_t K = cfg->n_heads;
    hm_tensor *index = hm_new(g, HM_I32, HM_DIMS(K, N, N));
    if (!hm_is_plan(g)) {
        int32_t *at = index->data;
        for (int64_t d = 1 - N; d < N; d++) { /* one bucket per diagonal */
            const int32_t row = hm_t5_bucket(cfg, d) * (int32_t)K;
            for (int64_t k = 0; k < K; k++)
                for (int64_t q = HM_MAX(0, -d); q < (d > 0 ? N - d : N); q++)
                    at[(k * N + q) * N + q + d] = row + (int32_t)k;
        }
    }
    if (hm_dtype_block(table->dtype) > 1) table = hm_cast(g, table, HM_F32); /* picked apart below */
    hm_tensor *flat = hm_reshape(g, table, HM_DIMS(hm_numel(table), 1));
    hm_tensor *bias = hm_gather_rows(g, flat, index->data, K * N * N);
    return hm_cast(g, hm_reshape(g, bias, HM_DIMS(K, N, N)), HM_F32);
}

static hm_tensor *block(hm_graph *g, const hm_t5 *m, const hm_t5_layer *w, hm_tensor *h,
                        const hm_tensor *mask, hm_tensor *bias)
{
    const float eps = m->cfg.eps;
    hm_tensor *n = hm_rmsnorm(g, h, w->norm1, eps);
    hm_tensor *q = hm_linear(g, n, w->q, NULL), *k = hm_linear(g, n, w->k, NULL),
              *v = hm_linear(g, n, w->v, NULL);
    hm_tensor *a = hm_attention(g, q, k, v, m->cfg.n_heads, 1.0f, mask, bias);
    h = hm_add_t(g, h, hm_linear(g, a, w->o, NULL));
    n = hm_rmsnorm(g, h, w->norm2, eps);
    hm_tensor *gate = hm_linear_gelu(g, n, w->wi_0, NULL), *up = hm_linear(g, n, w->wi_1, NULL);
    return hm_add_t(g, h, hm_linear(g, hm_mul_t(g, gate, up), w->wo, NULL));
}

hm_tensor *hm_t5_forward(hm_graph *g, const hm_t5 *m, const int32_t *ids, const int32_t *mask, int64_t B,
                         int64_t N)
{
    hm_tensor *h = hm_gather_rows(g, m->shared, ids, B * N);
    h = hm_cast(g, hm_reshape(g, h, HM_DIMS(B, N, m->cfg.d_model)), hm_act(g));
    hm_tensor *key_mask = hm_new(g, HM_F32, HM_DIMS(B, N));
    if (!hm_is_plan(g))
        for (int64_t i = 0; i < B * N; i++) ((float *)key_mask->data)[i] = mask[i] ? 0.0f : T5_MASKED;
    hm_tensor *bias = position_bias(g, &m->cfg, m->layers[0].bias, N);
    for (int l = 0; l < m->cfg.n_layers; l++) {
        const hm_t5_layer *w = &m->layers[l];
        const hm_mark mark = hm_save(g);
        if (l && w->bias) bias = position_bias(g, &m->cfg, w->bias, N);
        h = hm_settle(g, mark, h, block(g, m, w, h, key_mask, bias));
    }
    return hm_rmsnorm(g, h, m->final_norm, m->cfg.eps);
}
