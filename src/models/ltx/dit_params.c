/* dit_params.c - the transformer's configuration, its table of tensors, and RoPE tables.
 * SPDX-License-Identifier: MIT Names are those of the released single-file checkpoints below
 * "model.diffusion_model.". */
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "formats/json.h"
#include "models/ltx/dit.h"
#include "models/int8.h"

/* ---- tensors ---- */
typedef enum { S_NONE, S_D, S_4D, S_6D, S_IN, S_OUT, S_CAPTION, S_256, S_6, S_2, S_PLACE, S_27 } dit_size;
typedef struct {
    const char *name;
    size_t at;
    dit_size dim[2];
} dit_bind;

#define MODEL(f) offsetof(hm_dit, f)
static const dit_bind model_binds[] = {
    {"patchify_proj.weight", MODEL(patch_w), {S_D, S_IN}},
    {"patchify_proj.bias", MODEL(patch_b), {S_D}},
    {"adaln_single.emb.timestep_embedder.linear_1.weight", MODEL(t1_w), {S_D, S_256}},
    {"adaln_single.emb.timestep_embedder.linear_1.bias", MODEL(t1_b), {S_D}},
    {"adaln_single.emb.timestep_embedder.linear_2.weight", MODEL(t2_w), {S_D, S_D}},
    {"adaln_single.emb.timestep_embedder.linear_2.bias", MODEL(t2_b), {S_D}},
    {"adaln_single.linear.weight", MODEL(ada_w), {S_6D, S_D}},
    {"adaln_single.linear.bias", MODEL(ada_b), {S_6D}},
    {"caption_projection.linear_1.weight", MODEL(cap1_w), {S_D, S_CAPTION}},
    {"caption_projection.linear_1.bias", MODEL(cap1_b), {S_D}},
    {"caption_projection.linear_2.weight", MODEL(cap2_w), {S_D, S_D}},
    {"caption_projection.linear_2.bias", MODEL(cap2_b), {S_D}},
    {"scale_shift_table", MODEL(table), {S_2, S_D}},
    {"proj_out.weight", MODEL(out_w), {S_OUT, S_D}},
    {"proj_out.bias", MODEL(out_b), {S_OUT}}};

#define LAYER(f) offsetof(hm_dit_layer, f)
#define ATTENTION(a)                                                                                         \
    {#a ".to_q.weight", LAYER(a.q_w), {S_D, S_D}}, {#a ".to_q.bias", LAYER(a.q_b), {S_D}},                   \
        {#a ".to_k.weight", LAYER(a.k_w), {S_D, S_D}}, {#a ".to_k.bias", LAYER(a.k_b), {S_D}},               \
        {#a ".to_v.weight", LAYER(a.v_w), {S_D, S_D}}, {#a ".to_v.bias", LAYER(a.v_b), {S_D}},               \
        {#a ".to_out.0.weight", LAYER(a.o_w), {S_D, S_D}}, {#a ".to_out.0.bias", LAYER(a.o_b), {S_D}},       \
        {#a ".q_norm.weight", LAYER(a.q_norm), {S_D}},                                                       \
    {                                                                                                        \
#a ".k_norm.weight", LAYER(a.k_norm),                                                                \
        {                                                                                                    \
            S_D                                                                                              \
        }                                                                                                    \
    }
static const dit_bind layer_binds[] = {ATTENTION(attn1),
                                       ATTENTION(attn2),
                                       {"ff.net.0.proj.weight", LAYER(ff1_w), {S_4D, S_D}},
                                       {"ff.net.0.proj.bias", LAYER(ff1_b), {S_4D}},
                                       {"ff.net.2.weight", LAYER(ff2_w), {S_D, S_4D}},
                                       {"ff.net.2.bias", LAYER(ff2_b), {S_D}},
                                       {"scale_shift_table", LAYER(table), {S_6, S_D}}};

static himmel_status visit(hm_dit *m, const char *name, const dit_bind *b, void *base, hm_param_fn *fn,
                           void *user, himmel_error *err)
{
    const hm_dit_config *c = &m->cfg;
    const int64_t D = (int64_t)c->n_heads * c->head_dim;
    const int64_t size[] = {[S_D] = D,
                            [S_4D] = 4 * D,
                            [S_6D] = 6 * D,
                            [S_IN] = c->in_channels,
                            [S_OUT] = c->out_channels,
                            [S_CAPTION] = c->caption_channels,
                            [S_256] = 256,
                            [S_6] = 6,
                            [S_2] = 2,
                            [S_PLACE] = c->place_features,
                            [S_27] = 27};
    const int64_t dim[2] = {size[b->dim[0]], size[b->dim[1]]};
    hm_tensor **slot = (hm_tensor **)(void *)((char *)base + b->at);
    return fn(user, name, b->dim[1] ? 2 : 1, dim, slot, err);
}

himmel_status hm_dit_params(hm_dit *m, const char *prefix, hm_param_fn *fn, void *user, himmel_error *err)
{
    char name[256];
    himmel_status rc = HIMMEL_OK;
    for (size_t i = 0; i < HM_COUNT(model_binds) && !rc; i++) {
        snprintf(name, sizeof name, "%s%s", prefix, model_binds[i].name);
        rc = visit(m, name, &model_binds[i], m, fn, user, err);
    }
    if (!rc && m->cfg.place_features) {
        static const dit_bind place = {"place_proj.weight", MODEL(place_w), {S_D, S_PLACE}};
        snprintf(name, sizeof name, "%s%s", prefix, place.name);
        rc = visit(m, name, &place, m, fn, user, err);
    }
    if (!rc && m->cfg.caption_modulation) {
        static const dit_bind caption = {"caption_modulation.weight", MODEL(caption_w), {S_D, S_CAPTION}};
        snprintf(name, sizeof name, "%s%s", prefix, caption.name);
        rc = visit(m, name, &caption, m, fn, user, err);
    }
    if (!rc && m->cfg.caption_modulation && m->cfg.place_features) {
        static const dit_bind both = {"caption_place.weight", MODEL(caption_place_w), {S_D, S_CAPTION}};
        snprintf(name, sizeof name, "%s%s", prefix, both.name);
        rc = visit(m, name, &both, m, fn, user, err);
    }
    for (int l = 0; l < m->cfg.n_layers && m->cfg.local_mixing && !rc; l++) {
        static const dit_bind local[] = {{"local_mix.weight", LAYER(local_w), {S_27, S_D}},
                                         {"local_mix.caption.weight", LAYER(local_caption_w), {S_27, S_D}},
                                         {"local_mix.gate.weight", LAYER(local_gate_w), {S_D, S_CAPTION}}};
        for (size_t i = 0; i < (m->cfg.caption_modulation ? HM_COUNT(local) : 1) && !rc; i++) {
            snprintf(name, sizeof name, "%stransformer_blocks.%d.%s", prefix, l, local[i].name);
            rc = visit(m, name, &local[i], &m->layers[l], fn, user, err);
        }
    }
    for (int l = 0; l < m->cfg.n_layers; l++)
        for (size_t i = 0; i < HM_COUNT(layer_binds) && !rc; i++) {
            snprintf(name, sizeof name, "%stransformer_blocks.%d.%s", prefix, l, layer_binds[i].name);
            rc = visit(m, name, &layer_binds[i], &m->layers[l], fn, user, err);
        }
    return rc;
}

himmel_status hm_dit_init(hm_dit *m, const hm_dit_config *cfg, himmel_error *err)
{
    *m = (hm_dit){.cfg = *cfg};
    const int64_t D = (int64_t)cfg->n_heads * cfg->head_dim;
    if (cfg->n_layers < 1 || cfg->n_layers > 1000 || D < 6 || D % 2 || D > 65536 || cfg->head_dim < 1 ||
        cfg->in_channels < 1 || cfg->out_channels < 1 || cfg->caption_channels < 1)
        return hm_fail(err, HIMMEL_EINVAL,
                       "transformer: a size of the configuration is missing or impossible");
    m->layers = calloc((size_t)cfg->n_layers, sizeof *m->layers);
    return m->layers ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "transformer: out of memory");
}

void hm_dit_deinit(hm_dit *m)
{
    free(m->layers);
    *m = (hm_dit){0};
}

typedef struct {
    const hm_st *st;
    const char *prefix;
} binder;

static himmel_status bind(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot,
                          himmel_error *err)
{
    const binder *b = user;
    const hm_st *st = b->st;
    const hm_tensor *t;
    char other[256], full[320];
    const size_t n = strlen(b->prefix);
    if (!hm_st_find(st, name) && hm_dit_find(st, b->prefix, name + n) && hm_dit_other_name(other, name + n)) {
        snprintf(full, sizeof full, "%s%s", b->prefix, other);
        name = full;
    }
    const himmel_status rc = hm_st_need(st, name, nd, dim, &t, err);
    if (rc) return rc;
    if (!hm_is_weight(t->dtype) && !(t->row_scale && hm_int8_takes(name, nd)))
        return hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%.100s\" is %s, not a weight", hm_st_path(st), name,
                       hm_dtype_name(t->dtype));
    *slot = (hm_tensor *)(uintptr_t)t; /* weights are read only: needs_grad stays false */
    return HIMMEL_OK;
}

himmel_status hm_dit_load(hm_dit *m, const hm_dit_config *cfg, const hm_st *st, const char *prefix,
                          himmel_error *err)
{
    himmel_status rc = hm_dit_init(m, cfg, err);
    if (!rc) rc = hm_dit_params(m, prefix, bind, &(binder){st, prefix}, err);
    if (rc) hm_dit_deinit(m);
    return rc;
}

/* ---- configuration ---- */
/* Options of the original that this code does not have: absent is fine, another value is a model we would get
 * wrong. */
static himmel_status check_options(const json_t *o, int64_t D, himmel_error *err)
{
    static const struct {
        const char *key, *value;
    } text[] = {{"qk_norm", "rms_norm"},
                {"positional_embedding_type", "rope"},
                {"standardization_norm", "rms_norm"},
                {"activation_fn", "gelu-approximate"},
                {"adaptive_norm", "single_scale_shift"},
                {"attention_type", "default"}};
    for (size_t i = 0; i < HM_COUNT(text); i++) {
        const char *s = json_string_value(json_object_get(o, text[i].key));
        if (s && strcmp(s, text[i].value))
            return hm_fail(err, HIMMEL_EMODEL, "transformer: %s is \"%.40s\", only \"%s\" is known",
                           text[i].key, s, text[i].value);
    }
    static const struct {
        const char *key;
        bool value;
    } flags[] = {{"attention_bias", true},
                 {"double_self_attention", false},
                 {"only_cross_attention", false},
                 {"norm_elementwise_affine", false}};
    for (size_t i = 0; i < HM_COUNT(flags); i++) {
        bool v = flags[i].value;
        const himmel_status rc = hm_json_bool(o, flags[i].key, "transformer", &v, err);
        if (rc) return rc;
        if (v != flags[i].value)
            return hm_fail(err, HIMMEL_EMODEL, "transformer: %s is %s, only %s is known", flags[i].key,
                           v ? "true" : "false", v ? "false" : "true");
    }
    int64_t cross = D;
    double scale = 1000;
    himmel_status rc = hm_json_int(o, "cross_attention_dim", "transformer", (int64_t[2]){D, D}, &cross, err);
    if (!rc)
        rc = hm_json_double(o, "timestep_scale_multiplier", "transformer", (double[2]){1000, 1000}, &scale,
                            err);
    return rc;
}

static himmel_status parse_sizes(const json_t *o, hm_dit_config *cfg, himmel_error *err)
{
    const struct {
        const char *key;
        int64_t max;
        int *to;
    } keys[] = {
        {"in_channels", 4096, &cfg->in_channels},    {"out_channels", 4096, &cfg->out_channels},
        {"num_layers", 1000, &cfg->n_layers},        {"num_attention_heads", 512, &cfg->n_heads},
        {"attention_head_dim", 512, &cfg->head_dim}, {"caption_channels", 65536, &cfg->caption_channels}};
    for (size_t i = 0; i < HM_COUNT(keys); i++) {
        int64_t v = 0;
        const himmel_status rc =
            hm_json_int(o, keys[i].key, "transformer", (int64_t[2]){1, keys[i].max}, &v, err);
        if (rc) return rc;
        *keys[i].to = (int)v;
    }
    return HIMMEL_OK;
}

/* himmel-1's own: absent in LTX's configurations. */
static himmel_status parse_own(const json_t *o, hm_dit_config *cfg, himmel_error *err)
{
    int64_t place = 0, caption = 0, local = 0;
    himmel_status rc = hm_json_int(o, "place_features", "transformer", (int64_t[2]){0, 64}, &place, err);
    if (!rc) rc = hm_json_int(o, "caption_modulation", "transformer", (int64_t[2]){0, 1}, &caption, err);
    if (!rc) rc = hm_json_int(o, "local_mixing", "transformer", (int64_t[2]){0, 1}, &local, err);
    cfg->local_mixing = local;
    cfg->place_features = (int)place;
    cfg->caption_modulation = caption;
    return rc;
}

static himmel_status parse_rope(const json_t *o, hm_dit_config *cfg, himmel_error *err)
{
    const json_t *pos = json_object_get(o, "positional_embedding_max_pos");
    if (pos && !json_is_null(pos)) {
        if (json_array_size(pos) != 3)
            return hm_fail(err, HIMMEL_EFORMAT,
                           "transformer: positional_embedding_max_pos is not three numbers");
        for (size_t i = 0; i < 3; i++) cfg->max_pos[i] = json_number_value(json_array_get(pos, i));
    }
    for (int i = 0; i < 3; i++)
        if (!(cfg->max_pos[i] > 0 && cfg->max_pos[i] <= 1e9))
            return hm_fail(err, HIMMEL_EFORMAT, "transformer: positional_embedding_max_pos %g is impossible",
                           cfg->max_pos[i]);
    himmel_status rc = hm_json_double(o, "positional_embedding_theta", "transformer", (double[2]){1, 1e9},
                                      &cfg->rope_theta, err);
    double eps = cfg->norm_eps;
    if (!rc) rc = hm_json_double(o, "norm_eps", "transformer", (double[2]){1e-12, 0.1}, &eps, err);
    cfg->norm_eps = (float)eps;
    if (!rc) rc = hm_json_bool(o, "causal_temporal_positioning", "transformer", &cfg->causal_time, err);
    return rc;
}

himmel_status hm_dit_config_parse(hm_dit_config *cfg, const char *json, himmel_error *err)
{
    json_t *root;
    *cfg = (hm_dit_config){.rope_theta = 10000, .max_pos = {20, 2048, 2048}, .norm_eps = 1e-6f};
    himmel_status rc = hm_json_parse(&root, json, strlen(json), "transformer", err);
    if (rc) return rc;
    const json_t *o = json_object_get(root, "transformer");
    if (!o) o = root;
    rc = parse_sizes(o, cfg, err);
    if (!rc) rc = parse_own(o, cfg, err);
    if (!rc) rc = parse_rope(o, cfg, err);
    if (!rc) rc = check_options(o, (int64_t)cfg->n_heads * cfg->head_dim, err);
    if (!rc && (int64_t)cfg->n_heads * cfg->head_dim % 2)
        rc = hm_fail(err, HIMMEL_EFORMAT, "transformer: %d heads of %d are an odd width", cfg->n_heads,
                     cfg->head_dim);
    json_decref(root);
    return rc;
}

/* ---- rotary positions ---- */
enum { CHUNK = 256 }; /* tokens at a time */

/* The distinct coordinates of n <= CHUNK tokens on one axis, and which one each has: a grid of thousands of
 * tokens has a few dozen, and sines are dear. Returns how many. */
static int distinct(const double (*pos)[3], int n, int axis, double value[CHUNK], int index[CHUNK])
{
    int have = 0;
    for (int i = 0; i < n; i++) {
        int j = i && pos[i][axis] == pos[i - 1][axis] ? index[i - 1] : 0;
        while (j < have && value[j] != pos[i][axis]) j++;
        if (j == have) value[have++] = pos[i][axis];
        index[i] = j;
    }
    return have;
}

/* One axis of n <= CHUNK tokens: pair front + 3 k + axis has frequency theta^(k/(F-1)) pi/2. */
static void rope_axis(const hm_dit_config *cfg, const double (*pos)[3], int n, int axis, float *cosine,
                      float *sine)
{
    const int64_t D = (int64_t)cfg->n_heads * cfg->head_dim, F = D / 6, front = D % 6 / 2, half = D / 2;
    double value[CHUNK];
    float c[CHUNK], s[CHUNK];
    int index[CHUNK];
    const int have = distinct(pos, n, axis, value, index);
    for (int64_t k = 0; k < F; k++) {
        const double f = acos(0.0) * pow(cfg->rope_theta, F > 1 ? (double)k / (double)(F - 1) : 0.0);
        for (int j = 0; j < have; j++) {
            const double a = f * (2.0 * value[j] / cfg->max_pos[axis] - 1.0);
            c[j] = (float)cos(a);
            s[j] = (float)sin(a);
        }
        for (int i = 0; i < n; i++) {
            cosine[i * half + front + 3 * k + axis] = c[index[i]];
            sine[i * half + front + 3 * k + axis] = s[index[i]];
        }
    }
}

/* D/6 frequencies for each of t, y, x in turn; the D % 6 channels that are left over come first and are not
 * rotated. Angles reach thousands: in double they are exact to 1e-12, in float32 the top ones would be noise.
 */
void hm_dit_rope(const hm_dit_config *cfg, const double (*pos)[3], int64_t n, float *cosine, float *sine)
{
    const int64_t D = (int64_t)cfg->n_heads * cfg->head_dim, half = D / 2;
    for (int64_t i = 0; i < n; i++)
        for (int64_t p = 0; p < D % 6 / 2; p++) {
            cosine[i * half + p] = 1.0f;
            sine[i * half + p] = 0.0f;
        }
    for (int64_t i = 0; i < n; i += CHUNK)
        for (int axis = 0; axis < 3; axis++)
            rope_axis(cfg, pos + i, (int)HM_MIN(n - i, (int64_t)CHUNK), axis, cosine + i * half,
                      sine + i * half);
}
