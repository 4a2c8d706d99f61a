/* ltx_files.c - which files make an LTX-Video, and which version they are.   SPDX-License-Identifier: MIT
 * The checkpoint's header has the networks' configurations, or shapes tell them; the version is read off the VAE: "blocks"
 * are 0.9.0, injected noise is 0.9.1, space to depth is 0.9.5 and later; "allowed_inference_steps" or the file's name says
 * distilled. The text encoder's files have no configuration: sizes are those of its tensors. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/json.h"
#include "models/ltx/ltx.h"
#include "text/cache.h"

static bool has(const hm_st *st, const char *name)
{
    return hm_st_find(st, name) != NULL;
}

bool hm_ltx_claims(const char *path)
{
    hm_st *st;
    himmel_error ignored;
    if (hm_st_open(&st, path, &ignored)) return false;
    char prefix[64];
    const bool yes = hm_dit_claims(st, prefix) && !hm_st_meta(st, "himmel.data_manifest_sha256") && !has(st, "tokenizer.spiece");
    hm_st_close(st);
    return yes;
}

/* ---- text encoder ---- */

typedef struct {
    const hm_ltx *m;
} shards;

static const hm_tensor *find_t5(const hm_ltx *m, const char *name)
{
    const hm_tensor *t = NULL;
    for (int i = 0; i < m->n_shards && !t; i++) t = hm_st_find(m->shard[i], name);
    if (!t && !strcmp(name, "shared.weight")) return find_t5(m, "encoder.embed_tokens.weight");
    return t;
}

static himmel_status bind_t5(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot,
                             himmel_error *err)
{
    const hm_ltx *m = ((const shards *)user)->m;
    const hm_tensor *t = find_t5(m, name);
    const char *path = hm_st_path(m->shard[0]);
    if (!t) return hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%.100s\" is missing", path, name);
    bool same = t->nd == nd && t->dtype <= HM_F8E4M3;
    for (int i = 0; same && i < nd; i++) same = t->dim[i] == dim[i];
    if (!same)
        return hm_fail(err, HIMMEL_EMODEL,
                       "%s: tensor \"%.100s\" has another shape or type than the text encoder wants", path,
                       name);
    *slot = (hm_tensor *)(uintptr_t)t; /* read only */
    return HIMMEL_OK;
}

/* One file or index, whichever names it has; numbers may be blocks. */
static himmel_status load_one_t5(hm_ltx *m, himmel_error *err)
{
    hm_t5_config c;
    const char *path = hm_st_path(m->shard[0]);
    himmel_status rc = hm_t5_detect(&c, m->shard[0], "", err);
    if (!rc && c.bias_every_layer)
        rc = hm_fail(err, HIMMEL_EMODEL, "%s: a T5 encoder with a position table in every layer (Wan's umT5); LTX-Video's has one", path);
    if (!rc && c.d_model != m->dit.cfg.caption_channels)
        rc = hm_fail(err, HIMMEL_EMODEL, "%s: the text encoder is %d wide, %s wants %d", path, c.d_model, hm_st_path(m->main), m->dit.cfg.caption_channels);
    return rc ? rc : hm_t5_load(&m->t5, &c, m->shard[0], "", err);
}

static himmel_status load_t5(hm_ltx *m, himmel_error *err)
{
    const char *path = hm_st_path(m->shard[0]);
    const hm_tensor *shared = find_t5(m, "shared.weight"),
                    *q = find_t5(m, "encoder.block.0.layer.0.SelfAttention.q.weight"),
                    *bias =
                        find_t5(m, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
                    *wi = find_t5(m, "encoder.block.0.layer.1.DenseReluDense.wi_0.weight");
    if (m->n_shards == 1) return load_one_t5(m, err);
    if (!shared || !q || !bias || !wi || shared->nd != 2 || q->nd != 2 || bias->nd != 2 || wi->nd != 2 ||
        bias->dim[1] < 1 || q->dim[0] % bias->dim[1])
        return hm_fail(err, HIMMEL_EMODEL,
                       "%s: not a whole T5 v1.1 encoder: a part of it is missing (another file?)", path);
    hm_t5_config c = {.vocab = (int)shared->dim[0],
                      .d_model = (int)shared->dim[1],
                      .n_heads = (int)bias->dim[1],
                      .d_kv = (int)(q->dim[0] / bias->dim[1]),
                      .d_ff = (int)wi->dim[0],
                      .n_buckets = (int)bias->dim[0],
                      .max_distance = 128,
                      .eps = 1e-6f};
    char name[100];
    do {
        snprintf(name, sizeof name, "encoder.block.%d.layer.0.SelfAttention.q.weight", ++c.n_layers);
    } while (find_t5(m, name) && c.n_layers < 256);
    if (c.d_model != m->dit.cfg.caption_channels)
        return hm_fail(err, HIMMEL_EMODEL, "%s: the text encoder is %d wide, %s wants %d", path, c.d_model,
                       hm_st_path(m->main), m->dit.cfg.caption_channels);
    himmel_status rc = hm_t5_init(&m->t5, &c, err);
    shards s = {m};
    return rc ? rc : hm_t5_params(&m->t5, "", bind_t5, &s, err);
}

/* ---- other files ---- */

static himmel_status load_vae(hm_ltx *m, const hm_st *st, const char *prefix, himmel_error *err)
{
    const hm_dit_config *c = &m->dit.cfg;
    const himmel_status rc = hm_vae_load(&m->vae, st, prefix, hm_st_meta(st, "config"), err);
    if (!rc && (c->in_channels != m->vae.latent_c || c->out_channels != c->in_channels))
        return hm_fail(err, HIMMEL_EMODEL, "%s: the transformer has %d channels in and %d out, the VAE %d", hm_st_path(st), c->in_channels, c->out_channels,
                       m->vae.latent_c);
    return rc;
}

static himmel_status add_safetensors(hm_ltx *m, const char *path, himmel_error *err)
{
    hm_st *st;
    const himmel_status rc = hm_st_open(&st, path, err);
    if (rc) return rc;
    const char *name = "nothing", *config = hm_st_meta(st, "config");
    hm_t5_config c;
    himmel_error ignored;
    bool t5 = has(st, "shared.weight") || !hm_t5_detect(&c, st, "", &ignored);
    for (size_t i = 0; i < hm_st_count(st); i++) {
        hm_st_at(st, i, &name);
        t5 |= !strncmp(name, "encoder.block.", 14);
    }
    if (has(st, "initial_conv.weight") && config && !m->upscaler) {
        m->upscaler = st;
        return hm_upsampler_load(&m->up, st, config, err);
    }
    if (hm_tae_claims(st) && !m->tae_st) {
        m->tae_st = st;
        return hm_tae_load(&m->tae, st, m->dit.cfg.in_channels, err);
    }
    for (int i = 0; i < 2 && !m->vae.st; i++)
        if (hm_vae_claims(st, i ? "vae." : "")) {
            m->vae_st = st;
            return load_vae(m, st, i ? "vae." : "", err);
        }
    if (t5 && m->n_shards < HM_LTX_MAX_SHARDS) {
        m->shard[m->n_shards++] = st;
        return HIMMEL_OK;
    }
    hm_st_close(st);
    return hm_fail(
        err, HIMMEL_EMODEL,
        "%s: LTX-Video has no use for it: a T5 v1.1 encoder (at most %d files), a latent upscaler, a tiny decoder and, where the checkpoint has none, "
        "an autoencoder are known",
        path, (int)HM_LTX_MAX_SHARDS);
}

static himmel_status add_file(hm_ltx *m, const char *path, himmel_error *err)
{
    if (hm_st_names_weights(path)) return add_safetensors(m, path, err);
    if (m->tok) return hm_fail(err, HIMMEL_EINVAL, "%s: a tokenizer was named already", path);
    return hm_tok_open(&m->tok, path, err);
}

/* Files of known names beside the checkpoint, or in diffusers' and ComfyUI's folders around it, stand in for what was not named. */
static himmel_status look_beside(hm_ltx *m, const char *main_path, himmel_error *err)
{
    static const char *const encoders[][HM_LTX_MAX_SHARDS] = {
        {"t5xxl_bf16.safetensors"},
        {"t5xxl_fp16.safetensors"},
        {"t5xxl_fp8_e4m3fn.safetensors"},
        {"text_encoder/model.safetensors"},
        {"text_encoder/model.safetensors.index.json"},
        {"text_encoder/model-00001-of-00002.safetensors", "text_encoder/model-00002-of-00002.safetensors"},
        {"text_encoder/model-00001-of-00004.safetensors", "text_encoder/model-00002-of-00004.safetensors",
         "text_encoder/model-00003-of-00004.safetensors", "text_encoder/model-00004-of-00004.safetensors"},
        {"../text_encoder/model.safetensors"},
        {"../text_encoder/model.safetensors.index.json"},
        {"../text_encoders/t5xxl_fp16.safetensors"},
        {"t5-v1_1-xxl-encoder-Q8_0.gguf"},
        {"t5-v1_1-xxl-encoder-Q6_K.gguf"},
        {"t5-v1_1-xxl-encoder-Q4_K_M.gguf"}};
    static const char *const vaes[] = {"vae/diffusion_pytorch_model.safetensors", "../vae/diffusion_pytorch_model.safetensors", "LTX-Video-VAE-BF16.safetensors",
                                       "../vae/LTX-Video-VAE-BF16.safetensors"};
    static const char *const toks[] = {"spiece.model", "tokenizer/spiece.model", "../tokenizer/spiece.model", "t5.spiece.model"};
    const char *slash = strrchr(main_path, '/');
    const int dir = slash ? (int)(slash - main_path + 1) : 0;
    char path[4096];
    himmel_status rc = HIMMEL_OK;
    for (size_t i = 0; i < HM_COUNT(encoders) && !m->n_shards && !rc; i++)
        for (int k = 0; k < HM_LTX_MAX_SHARDS && encoders[i][k] && !rc; k++) {
            snprintf(path, sizeof path, "%.*s%s", dir, main_path, encoders[i][k]);
            if (!access(path, R_OK)) rc = add_safetensors(m, path, err);
        }
    for (size_t i = 0; i < HM_COUNT(vaes) && !m->vae.st && !rc; i++) {
        snprintf(path, sizeof path, "%.*s%s", dir, main_path, vaes[i]);
        if (!access(path, R_OK)) rc = add_safetensors(m, path, err);
    }
    for (size_t i = 0; i < HM_COUNT(toks) && !m->tok && !rc; i++) {
        snprintf(path, sizeof path, "%.*s%s", dir, main_path, toks[i]);
        if (!access(path, R_OK)) rc = hm_tok_open(&m->tok, path, err);
    }
    return rc;
}

/* ---- version ---- */

static bool contains(const char *s, const char *part)
{
    char low[512];
    size_t n = 0;
    for (; s[n] && n + 1 < sizeof low; n++) low[n] = (char)tolower((unsigned char)s[n]);
    low[n] = 0;
    return strstr(low, part) != NULL;
}

/* The part of the path that a person gave: the file's name, or that of diffusers' folder. */
static const char *given_name(const char *path)
{
    const char *inside = strstr(path, "/transformer/diffusion_pytorch_model"), *base = path, *slash;
    while ((slash = strchr(base, '/')) && slash != inside) base = slash + 1;
    return base;
}

static himmel_status read_config(hm_ltx *m, const char *config, himmel_error *err)
{
    json_t *root;
    const himmel_status rc = hm_json_parse(&root, config, strlen(config), hm_st_path(m->main), err);
    if (rc) return rc;
    const json_t *s = json_object_get(root, "scheduler");
    const char *sampler = json_string_value(json_object_get(s, "sampler")), *shifting = json_string_value(json_object_get(s, "shifting"));
    m->uniform = sampler && !strcmp(sampler, "Uniform");
    m->shifted = shifting && !strcmp(shifting, "SD3");
    m->distilled = json_is_array(json_object_get(root, "allowed_inference_steps"));
    json_decref(root);
    return HIMMEL_OK;
}

static himmel_status read_version(hm_ltx *m, himmel_error *err)
{
    static const char *const named[] = {"0.9.8", "0.9.7", "0.9.6", "0.9.5", "0.9.1"};
    const char *config = hm_st_meta(m->main, "config"), *base = given_name(hm_st_path(m->main));
    bool s2d = false, noise = false;
    for (int i = 0; i < m->vae.enc.n_blocks; i++) s2d |= m->vae.enc.blocks[i].kind == HM_VAE_S2D;
    for (int i = 0; i < m->vae.dec.n_blocks; i++) noise |= m->vae.dec.blocks[i].noise;
    if (config) {
        const himmel_status rc = read_config(m, config, err);
        if (rc) return rc;
    } else { /* as the makers' configurations of these versions say */
        m->uniform = m->shifted = m->vae.st && !s2d;
        m->dit.cfg.causal_time = s2d;
    }
    m->distilled |= contains(base, "distilled");
    snprintf(m->version, sizeof m->version, "%s", !m->vae.st ? "" : s2d ? "0.9.5 or later" : noise ? "0.9.1" : "0.9.0");
    for (size_t i = 0; i < HM_COUNT(named) && (s2d || !m->vae.st); i++)
        if (contains(base, named[i])) {
            snprintf(m->version, sizeof m->version, "%s", named[i]);
            break;
        }
    m->stochastic = m->distilled && !strcmp(m->version, "0.9.6");
    return HIMMEL_OK;
}

static void count(hm_ltx *m, const hm_st *st)
{
    for (size_t i = 0; st && i < hm_st_count(st); i++) {
        const char *name;
        const hm_tensor *t = hm_st_at(st, i, &name);
        if (!hm_is_weight(t->dtype) && !t->row_scale) continue;
        if (st == m->main && !strncmp(name, m->prefix, strlen(m->prefix))) m->n_transformer += (uint64_t)hm_numel(t);
        m->n_params += (uint64_t)hm_numel(t);
        m->file_bytes += hm_dtype_bytes(t->dtype, (uint64_t)hm_numel(t));
    }
}

static himmel_status load_main(hm_ltx *m, const char *path, himmel_error *err)
{
    hm_dit_config cfg = {0};
    himmel_status rc = hm_st_open(&m->main, path, err);
    if (!rc) rc = hm_dit_detect(m->main, &cfg, m->prefix, err);
    if (!rc) rc = hm_dit_load(&m->dit, &cfg, m->main, m->prefix, err);
    if (!rc && hm_vae_claims(m->main, "vae.")) rc = load_vae(m, m->main, "vae.", err);
    return rc;
}

himmel_status hm_ltx_open(void **self, const hm_model_files *files, himmel_error *err)
{
    const char *const *paths = files->paths;
    *self = NULL;
    hm_ltx *m = calloc(1, sizeof *m);
    if (!m) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", paths[0]);
    himmel_status rc = load_main(m, paths[0], err);
    for (int i = 1; i < files->n_paths && !rc; i++) rc = add_file(m, paths[i], err);
    if (!rc) rc = look_beside(m, paths[0], err);
    if (!rc) rc = look_beside(m, hm_st_path(m->main), err); /* paths[0] may be a folder that it lies in */
    if (!rc) rc = read_version(m, err);
    if (!rc && m->n_shards) rc = load_t5(m, err);
    if (!rc && m->upscaler && (m->up.channels != m->dit.cfg.in_channels || !m->up.space || m->up.time))
        rc = hm_fail(err, HIMMEL_EMODEL,
                     "%s: the upscaler works on %d channels and enlarges %s; needed: %d channels, space",
                     hm_st_path(m->upscaler), m->up.channels, m->up.time ? "time" : "space", m->dit.cfg.in_channels);
    if (!rc && m->tok && m->n_shards && hm_tok_size(m->tok) > m->t5.cfg.vocab)
        rc = hm_fail(err, HIMMEL_EMODEL, "the tokenizer has %d pieces, the text encoder only %d",
                     hm_tok_size(m->tok), m->t5.cfg.vocab);
    if (!rc) rc = hm_lora_merge(m->main, m->prefix, hm_dit_other_name, files->loras, files->n_loras, &m->merged_bytes, err);
    if (!rc && (files->int8 || hm_st_is_int8(m->main))) rc = hm_dit_params(&m->dit, "", hm_int8_add, &m->int8, err);
    if (rc) {
        hm_ltx_close(m);
        return rc;
    }
    hm_st *const all[] = {m->main, m->upscaler, m->vae_st, m->shard[0], m->shard[1], m->shard[2], m->shard[3]};
    hm_text_cache_encoder(m->encoder, m->shard, m->n_shards);
    hm_text_cache_encoder(m->files, all, (int)HM_COUNT(all));
    count(m, m->main);
    count(m, m->upscaler);
    count(m, m->vae_st);
    for (int i = 0; i < m->n_shards; i++) count(m, m->shard[i]);
    *self = m;
    return HIMMEL_OK;
}

void hm_ltx_close(void *self)
{
    hm_ltx *m = self;
    if (!m) return;
    if (m->dit.layers) hm_dit_params(&m->dit, "", hm_int8_drop, NULL, NULL);
    hm_dit_deinit(&m->dit);
    hm_vae_deinit(&m->vae);
    hm_upsampler_deinit(&m->up);
    hm_t5_deinit(&m->t5);
    hm_tok_free(m->tok);
    for (int i = 0; i < m->n_shards; i++) hm_st_close(m->shard[i]);
    hm_st_close(m->upscaler);
    hm_st_close(m->vae_st);
    hm_st_close(m->tae_st);
    hm_st_close(m->main);
    free(m);
}

/* ---- recipes ---- */

static const float distilled_times[] = {1.0f, 0.9937f, 0.9875f, 0.9812f, 0.9750f, 0.9094f, 0.7250f, 0.4219f};

static uint64_t bits(const int *layers, int n, int n_layers)
{
    uint64_t b = 0;
    for (int i = 0; i < n; i++) b |= (uint64_t)1 << HM_MIN(layers[i], HM_MIN(n_layers, 64) - 1);
    return b;
}

/* 13B, 0.9.7 and 0.9.8 dev: guidance that changes with time. */
static void large_dev(const hm_ltx *m, int two_pass, hm_ltx_recipe *r)
{
    static const float times[] = {1.0f, 0.996f, 0.9933f, 0.9850f, 0.9767f, 0.9008f, 0.6180f},
                       scale[] = {1, 1, 6, 8, 6, 1, 1}, stg[] = {0, 0, 4, 4, 4, 2, 1},
                       rescale[] = {1, 1, 0.5f, 0.5f, 1, 1, 1};
    static const int layers[7][4] = {{0}, {11, 25, 35, 39}, {22, 35, 39}, {28}, {28}, {28}, {28}},
                     n[7] = {0, 4, 3, 1, 1, 1, 1};
    r->steps = 30;
    r->guide.star = true;
    if (two_pass == 2) {
        r->skip_first = 17;
        r->guide.n = 1;
        r->guide.scale[0] = r->guide.stg[0] = r->guide.rescale[0] = 1;
        r->guide.layers[0] = bits((int[]){27}, 1, m->dit.cfg.n_layers);
        return;
    }
    r->skip_last = 3;
    r->guide.n = 7;
    memcpy(r->guide.times, times, sizeof times);
    memcpy(r->guide.scale, scale, sizeof scale);
    memcpy(r->guide.stg, stg, sizeof stg);
    memcpy(r->guide.rescale, rescale, sizeof rescale);
    for (int i = 0; i < 7; i++) r->guide.layers[i] = bits(layers[i], n[i], m->dit.cfg.n_layers);
}

void hm_ltx_recipe_for(const hm_ltx *m, int two_pass, hm_ltx_recipe *r)
{
    *r = (hm_ltx_recipe){.steps = 40, .guide = {.n = 1, .stg_mode = HM_STG_ATTENTION_VALUES}};
    hm_ltx_guide *u = &r->guide;
    u->scale[0] = u->rescale[0] = 1;
    if (m->distilled) {
        const int from = two_pass == 2 ? 5 : 0, n = two_pass == 1 ? 7 : 8;
        r->n_times = r->steps = n - from;
        memcpy(r->times, distilled_times + from, (size_t)(n - from) * sizeof *r->times);
    } else if (m->dit.cfg.n_layers > 40) {
        large_dev(m, two_pass, r);
    } else {
        u->scale[0] = 3;
        u->stg[0] = 1;
        u->rescale[0] = 0.7f;
        u->layers[0] = bits((int[]){19}, 1, m->dit.cfg.n_layers);
        if (two_pass == 2) r->skip_first = r->steps / 2;
    }
}
