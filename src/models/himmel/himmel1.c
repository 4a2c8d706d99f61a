/* himmel1.c - the bundled model: open its one file, bind every part.   SPDX-License-Identifier: MIT */
#include "models/himmel/himmel1.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"

hm_himmel1_config hm_himmel1_config_default(void)
{
    return (hm_himmel1_config){
        /* theta 16 over 256 pixels: the fastest pair turns 2.5 rad from one block to the next */
        .dit = {.in_channels = 128, .out_channels = 128, .n_layers = 8, .n_heads = 5, .head_dim = 64,
                .caption_channels = 256, .rope_theta = 16.0, .max_pos = {20, 256, 256}, .causal_time = true,
                .norm_eps = 1e-6f, .place_features = HM_H1_PLACE, .local_mixing = true, .caption_modulation = true},
        .t5 = {.vocab = 4096, .d_model = 256, .n_layers = 4, .n_heads = 4, .d_kv = 64, .d_ff = 640,
               .n_buckets = 32, .max_distance = 128, .bias_every_layer = false, .eps = 1e-6f},
        .refiner = {.width = 64, .n_blocks = 3, .width2 = 32, .n_convs2 = 2},
        .text_len = 48,
        /* coarse coefficients are strong: what the prompt decides is decided above t = 0.95 (docs/training-log.md) */
        .shift = 4.0f,
        .name = "himmel-1",
        .version = "0"};
}

char *hm_himmel1_config_format(const hm_himmel1_config *c)
{
    json_t *j = json_pack(
        "{s:{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:[f,f,f], s:b, s:f, s:s, s:b, s:s, s:i},"
        " s:{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:f}, s:{s:i, s:i, s:i, s:i}, s:{s:s, s:s, s:i, s:f}}",
        "transformer", "_class_name", "Transformer3DModel", "in_channels", c->dit.in_channels, "out_channels",
        c->dit.out_channels, "num_layers", c->dit.n_layers, "num_attention_heads", c->dit.n_heads,
        "attention_head_dim", c->dit.head_dim, "caption_channels", c->dit.caption_channels, "cross_attention_dim",
        c->dit.n_heads * c->dit.head_dim, "place_features", c->dit.place_features,
        "caption_modulation", c->dit.caption_modulation, "local_mixing", c->dit.local_mixing,
        "positional_embedding_theta", c->dit.rope_theta, "positional_embedding_max_pos", c->dit.max_pos[0], c->dit.max_pos[1], c->dit.max_pos[2],
        "causal_temporal_positioning", c->dit.causal_time, "norm_eps", (double)c->dit.norm_eps, "qk_norm", "rms_norm",
        "attention_bias", 1, "activation_fn", "gelu-approximate", "timestep_scale_multiplier", 1000,
        "text_encoder", "vocab_size", c->t5.vocab, "d_model", c->t5.d_model, "num_layers", c->t5.n_layers,
        "num_heads", c->t5.n_heads, "d_kv", c->t5.d_kv, "d_ff", c->t5.d_ff, "relative_attention_num_buckets",
        c->t5.n_buckets, "relative_attention_max_distance", c->t5.max_distance, "bias_every_layer",
        c->t5.bias_every_layer, "layer_norm_epsilon", (double)c->t5.eps, "refiner", "width", c->refiner.width,
        "n_blocks", c->refiner.n_blocks, "width2", c->refiner.width2, "n_convs2", c->refiner.n_convs2, "himmel",
        "name", c->name, "version", c->version, "text_len", c->text_len,
        "shift", (double)c->shift);
    char *s = j ? json_dumps(j, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(j);
    return s;
}

/* The integer obj[key] within [lo, hi], or a sentence. */
static himmel_status need_int(const json_t *obj, const char *key, int lo, int hi, int *out, const char *where,
                              himmel_error *err)
{
    const json_t *v = json_object_get(obj, key);
    if (!json_is_integer(v)) return hm_fail(err, HIMMEL_EMODEL, "%s: config has no integer \"%s\"", where, key);
    const json_int_t i = json_integer_value(v);
    if (i < lo || i > hi)
        return hm_fail(err, HIMMEL_EMODEL, "%s: config \"%s\" is %lld, must be %d..%d", where, key, (long long)i, lo, hi);
    *out = (int)i;
    return HIMMEL_OK;
}

static himmel_status parse_t5(hm_t5_config *t, const json_t *j, const char *where, himmel_error *err)
{
    himmel_status rc;
    if ((rc = need_int(j, "vocab_size", 4, 1 << 20, &t->vocab, where, err)) ||
        (rc = need_int(j, "d_model", 8, 16384, &t->d_model, where, err)) ||
        (rc = need_int(j, "num_layers", 1, 256, &t->n_layers, where, err)) ||
        (rc = need_int(j, "num_heads", 1, 256, &t->n_heads, where, err)) ||
        (rc = need_int(j, "d_kv", 4, 1024, &t->d_kv, where, err)) ||
        (rc = need_int(j, "d_ff", 8, 1 << 17, &t->d_ff, where, err)) ||
        (rc = need_int(j, "relative_attention_num_buckets", 4, 4096, &t->n_buckets, where, err)) ||
        (rc = need_int(j, "relative_attention_max_distance", 4, 1 << 20, &t->max_distance, where, err)))
        return rc;
    t->bias_every_layer = json_is_true(json_object_get(j, "bias_every_layer"));
    const json_t *eps = json_object_get(j, "layer_norm_epsilon");
    t->eps = json_is_number(eps) ? (float)json_number_value(eps) : 1e-6f;
    return HIMMEL_OK;
}

static himmel_status parse_rest(hm_himmel1_config *c, const json_t *root, const char *where, himmel_error *err)
{
    const json_t *r = json_object_get(root, "refiner"), *h = json_object_get(root, "himmel");
    himmel_status rc;
    if ((rc = parse_t5(&c->t5, json_object_get(root, "text_encoder"), where, err)) ||
        (rc = need_int(r, "width", 8, 512, &c->refiner.width, where, err)) ||
        (rc = need_int(r, "n_blocks", 1, 64, &c->refiner.n_blocks, where, err)) ||
        (rc = need_int(r, "width2", 8, 512, &c->refiner.width2, where, err)) ||
        (rc = need_int(r, "n_convs2", 1, 16, &c->refiner.n_convs2, where, err)) ||
        (rc = need_int(h, "text_len", 4, 512, &c->text_len, where, err)))
        return rc;
    const json_t *shift = json_object_get(h, "shift");
    if (json_is_number(shift)) c->shift = (float)json_number_value(shift);
    if (!(c->shift >= 0.1f && c->shift <= 100.0f))
        return hm_fail(err, HIMMEL_EMODEL, "%s: config \"shift\" is %g, must be 0.1..100", where, (double)c->shift);
    const char *name = json_string_value(json_object_get(h, "name"));
    const char *version = json_string_value(json_object_get(h, "version"));
    snprintf(c->name, sizeof c->name, "%s", name ? name : "himmel-1");
    snprintf(c->version, sizeof c->version, "%s", version ? version : "?");
    return HIMMEL_OK;
}

himmel_status hm_himmel1_config_parse(hm_himmel1_config *c, const char *json, const char *where, himmel_error *err)
{
    *c = hm_himmel1_config_default();
    json_error_t je;
    json_t *root = json ? json_loads(json, JSON_REJECT_DUPLICATES, &je) : NULL;
    if (!root || !json_is_object(json_object_get(root, "himmel"))) {
        json_decref(root);
        return hm_fail(err, HIMMEL_EMODEL, "%s: not a himmel-1 weights file (its header has no \"himmel\" config)", where);
    }
    himmel_status rc = hm_dit_config_parse(&c->dit, json, err);
    if (!rc && c->dit.place_features != 0 && c->dit.place_features != HM_H1_PLACE)
        rc = hm_fail(err, HIMMEL_EMODEL, "%s: config \"place_features\" is %d, must be 0 or %d", where, c->dit.place_features,
                     HM_H1_PLACE);
    if (!rc) rc = parse_rest(c, root, where, err);
    if (!rc && c->dit.caption_channels != c->t5.d_model)
        rc = hm_fail(err, HIMMEL_EMODEL, "%s: the text encoder is %d wide, the transformer wants %d", where,
                     c->t5.d_model, c->dit.caption_channels);
    json_decref(root);
    return rc;
}

static himmel_status bind_parts(hm_himmel1 *m, const char *path, himmel_error *err)
{
    hm_himmel1_config c;
    himmel_status rc = hm_himmel1_config_parse(&c, hm_st_meta(m->st, "config"), path, err);
    if (rc) return rc;
    memcpy(m->name, c.name, sizeof m->name);
    memcpy(m->version, c.version, sizeof m->version);
    m->text_len = c.text_len;
    m->shift = c.shift;
    const hm_tensor *piece;
    if ((rc = hm_st_need(m->st, "tokenizer.spiece", 1, (int64_t[]){-1}, &piece, err)) ||
        (rc = hm_tok_parse(&m->tok, piece->data, (size_t)hm_numel(piece), path, err)))
        return rc;
    if (hm_tok_size(m->tok) > c.t5.vocab)
        return hm_fail(err, HIMMEL_EMODEL, "%s: the tokenizer has %d pieces, the text encoder only %d", path,
                       hm_tok_size(m->tok), c.t5.vocab);
    if ((rc = hm_t5_load(&m->t5, &c.t5, m->st, "text_encoder.", err)) ||
        (rc = hm_dit_load(&m->dit, &c.dit, m->st, "model.diffusion_model.", err)) ||
        (rc = hm_codec_load(&m->codec, m->st, err)))
        return rc;
    if (hm_codec_channels(m->codec) != c.dit.in_channels)
        return hm_fail(err, HIMMEL_EMODEL, "%s: the codec has %d coefficients, the transformer wants %d", path,
                       hm_codec_channels(m->codec), c.dit.in_channels);
    return hm_refiner_load(&m->refiner, m->st, err);
}

himmel_status hm_himmel1_open(hm_himmel1 **out, const char *path, himmel_error *err)
{
    *out = NULL;
    hm_himmel1 *m = calloc(1, sizeof *m);
    if (!m) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    hm_map map;
    himmel_status rc = hm_map_open(&map, path, err);
    if (!rc) {
        hm_sha256_of(map.data, map.len, m->sha256);
        hm_map_close(&map);
        rc = hm_st_open(&m->st, path, err);
    }
    if (!rc) rc = bind_parts(m, path, err);
    if (rc) {
        hm_himmel1_close(m);
        return rc;
    }
    *out = m;
    return HIMMEL_OK;
}

void hm_himmel1_close(hm_himmel1 *m)
{
    if (!m) return;
    hm_refiner_free(m->refiner);
    hm_codec_free(m->codec);
    hm_dit_deinit(&m->dit);
    hm_t5_deinit(&m->t5);
    hm_tok_free(m->tok);
    hm_st_close(m->st);
    free(m);
}

void hm_himmel1_positions(int T, int gh, int gw, double (*pos)[3])
{
    int64_t n = 0;
    for (int t = 0; t < T; t++)
        for (int y = 0; y < gh; y++)
            for (int x = 0; x < gw; x++, n++) {
                pos[n][0] = t ? t - 0.5 : 0.0;
                pos[n][1] = HM_BLOCK * y;
                pos[n][2] = HM_BLOCK * x;
            }
}

void hm_himmel1_place(int T, int gh, int gw, const double (*pos)[3], int64_t n, float *place)
{
    enum { WAVES = 6 };
    const double pi = acos(-1.0);
    for (int64_t i = 0; i < n; i++) {
        float *p = place + i * HM_H1_PLACE;
        const double v = (pos[i][1] / HM_BLOCK + 0.5) / gh, u = (pos[i][2] / HM_BLOCK + 0.5) / gw;
        for (int k = 0; k < WAVES; k++) {
            p[k] = (float)cos((k + 1) * pi * u);
            p[WAVES + k] = (float)cos((k + 1) * pi * v);
        }
        p[12] = pos[i][0] == floor(pos[i][0]) ? 1.0f : 0.0f;
        p[13] = (float)(0.1 * pos[i][0]);
        p[14] = 0.1f * (float)(T - 1);
        p[15] = (float)log((double)gw / gh);
    }
}

hm_tensor *hm_himmel1_encode_text(hm_graph *g, const hm_himmel1 *m, const char *const *prompts, int64_t B,
                                  hm_tensor **mask)
{
    const int64_t N = m->text_len;
    hm_tensor *ids = hm_new(g, HM_I32, HM_DIMS(B, N)), *keep = hm_new(g, HM_I32, HM_DIMS(B, N));
    *mask = hm_new(g, HM_F32, HM_DIMS(B, N));
    if (!hm_is_plan(g))
        for (int64_t b = 0; b < B; b++) {
            int32_t *id = (int32_t *)ids->data + b * N, *k = (int32_t *)keep->data + b * N;
            hm_tok_encode_padded(m->tok, prompts[b] ? prompts[b] : "", id, k, (size_t)N);
            for (int64_t i = 0; i < N; i++) ((float *)(*mask)->data)[b * N + i] = k[i] ? 0.0f : -10000.0f;
        }
    return hm_t5_forward(g, &m->t5, ids->data, keep->data, B, N);
}
