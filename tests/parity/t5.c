/* t5.c - the text encoder against T5 v1.1 (LTX) and umT5 (Wan).   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "formats/json.h"
#include "text/t5.h"
#include "parity.h"

static int get(const json_t *o, const char *key, int absent)
{
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? (int)json_integer_value(v) : absent;
}

/* The Hugging Face configuration, or the arguments of Wan's constructor. */
static hm_t5_config config(const json_t *o, bool wan)
{
    if (!wan)
        return (hm_t5_config){.vocab = get(o, "vocab_size", 0),
                              .d_model = get(o, "d_model", 0),
                              .n_layers = get(o, "num_layers", 0),
                              .n_heads = get(o, "num_heads", 0),
                              .d_kv = get(o, "d_kv", 0),
                              .d_ff = get(o, "d_ff", 0),
                              .n_buckets = get(o, "relative_attention_num_buckets", 32),
                              .max_distance = get(o, "relative_attention_max_distance", 128),
                              .eps = 1e-6f};
    const int heads = get(o, "num_heads", 1);
    return (hm_t5_config){.vocab = get(o, "vocab", 0),
                          .d_model = get(o, "dim", 0),
                          .n_layers = get(o, "num_layers", 0),
                          .n_heads = heads,
                          .d_kv = get(o, "dim_attn", 0) / heads,
                          .d_ff = get(o, "dim_ffn", 0),
                          .n_buckets = get(o, "num_buckets", 32),
                          .max_distance = 128,
                          .bias_every_layer = !json_is_true(json_object_get(o, "shared_pos")),
                          .eps = 1e-6f};
}

static int32_t *to_i32(const hm_tensor *t)
{
    int32_t *v = malloc((size_t)hm_numel(t) * sizeof *v);
    for (int64_t i = 0; i < hm_numel(t) && v; i++)
        v[i] = t->dtype == HM_I64 ? (int32_t)((const int64_t *)t->data)[i] : ((const int32_t *)t->data)[i];
    return v;
}

static himmel_status buckets(parity *p, const hm_t5_config *cfg, bool wan, himmel_error *err)
{
    const hm_tensor *want = hm_st_find(p->st, wan ? "out.rel_bucket" : "out.buckets"),
                    *rel = hm_st_find(p->st, "in.rel_pos");
    int32_t *w = want ? to_i32(want) : NULL, *r = rel ? to_i32(rel) : NULL;
    himmel_status rc = w ? HIMMEL_OK : hm_fail(err, HIMMEL_EFORMAT, "no bucket table");
    for (int64_t i = 0; w && i < hm_numel(want) && !rc; i++) {
        const int64_t d = r ? r[i] : i - hm_numel(want) / 2;
        if (hm_t5_bucket(cfg, d) != w[i])
            rc = hm_fail(err, HIMMEL_EFORMAT, "distance %d is in bucket %d, not %d", (int)d,
                         hm_t5_bucket(cfg, d), w[i]);
    }
    free(w);
    free(r);
    p->n++;
    return rc;
}

static himmel_status run_case(parity *p, hm_graph *g, const hm_t5 *m, const char *name, bool wan,
                              himmel_error *err)
{
    char in[100], mask_name[100], out[100];
    snprintf(in, sizeof in, "in.%s.%s", name, wan ? "ids" : "input_ids");
    snprintf(mask_name, sizeof mask_name, "in.%s.%s", name, wan ? "mask" : "attention_mask");
    snprintf(out, sizeof out, "out.%s.%s", name, wan ? "hidden" : "hidden_states");
    const hm_tensor *ids = hm_st_find(p->st, in), *mask = hm_st_find(p->st, mask_name);
    int32_t *i32 = ids ? to_i32(ids) : NULL, *m32 = mask ? to_i32(mask) : NULL;
    himmel_status rc = i32 && m32 ? HIMMEL_OK : hm_fail(err, HIMMEL_EFORMAT, "case %s lacks an input", name);
    if (!rc) {
        hm_graph_reset(g);
        hm_tensor *h = hm_t5_forward(g, m, i32, m32, ids->dim[0], ids->dim[1]);
        int64_t rows = hm_numel(h) / m->cfg.d_model;
        if (wan) /* stored are the rows before the padding */
            for (rows = 0; rows < ids->dim[1] && m32[rows]; rows++) {
            }
        parity_compare(p, out, h->data, rows * m->cfg.d_model,
                       wan ? 2e-5 * parity_scale(p, out) : parity_tol(p, out, false));
    }
    free(i32);
    free(m32);
    return rc;
}

himmel_status parity_t5(parity *p, himmel_error *err)
{
    static const char *const cases[2][3] = {{"short", "l256", "l300"}, {"a", "b", "c"}};
    const bool wan = hm_st_find(p->st, "token_embedding.weight") != NULL;
    const char *text = hm_st_meta(p->st, "config");
    json_t *json = NULL;
    hm_t5 m = {0};
    hm_graph *g = NULL;
    himmel_status rc = text ? hm_json_parse(&json, text, strlen(text), "config", err)
                            : hm_fail(err, HIMMEL_EFORMAT, "no configuration");
    const hm_t5_config cfg = config(wan ? json_object_get(json, "init") : json, wan);
    hm_t5_config found = {0};
    if (!rc) rc = hm_t5_detect(&found, p->st, "", err);
    const bool same = !rc && found.vocab == cfg.vocab && found.d_model == cfg.d_model && found.n_layers == cfg.n_layers &&
                      found.n_heads == cfg.n_heads && found.d_kv == cfg.d_kv && found.d_ff == cfg.d_ff &&
                      found.n_buckets == cfg.n_buckets && found.bias_every_layer == cfg.bias_every_layer;
    if (!rc && !same) rc = hm_fail(err, HIMMEL_EMODEL, "other sizes were detected");
    if (!rc) rc = hm_t5_load(&m, &cfg, p->st, "", err);
    if (!rc) rc = buckets(p, &cfg, wan, err);
    if (!rc) rc = hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32}, err);
    for (int i = 0; i < 3 && !rc; i++) rc = run_case(p, g, &m, cases[wan][i], wan, err);
    hm_graph_free(g);
    hm_t5_deinit(&m);
    json_decref(json);
    return rc;
}
