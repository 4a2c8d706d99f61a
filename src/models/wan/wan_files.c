/* wan_files.c - which files make a Wan, and which one it is.   SPDX-License-Identifier: MIT
 *   channels in = out = 48: TI2V-5B; image branch: 2.1 I2V, with positions FLF2V; VACE blocks: VACE; 36 channels in and no
 *   image branch: 2.2 I2V A14B; 16 in: T2V, of 2.2 where there are two experts or the name says that it is one.
 * Defaults: Wan2.1 generate.py, wan/configs; Wan2.2 wan/configs. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/wan/vae_ops.h"
#include "models/wan/wan.h"
#include "text/cache.h"

static bool contains(const char *path, const char *part)
{
    char low[1024];
    size_t n = 0;
    for (; path[n] && n + 1 < sizeof low; n++) low[n] = (char)tolower((unsigned char)path[n]);
    low[n] = 0;
    return strstr(low, part) != NULL;
}

static bool is_high(const char *path) { return contains(path, "high_noise") || contains(path, "high-noise") || contains(path, "highnoise"); }
static bool is_low(const char *path)
{
    return contains(path, "low_noise") || contains(path, "low-noise") || contains(path, "lownoise") || contains(path, "transformer_2");
}

bool hm_wan_claims(const char *path)
{
    hm_st *st;
    hm_wan_config cfg;
    hm_wan_names names;
    char prefix[64];
    himmel_error ignored;
    if (hm_st_open(&st, path, &ignored)) return false;
    const bool yes = !hm_wan_detect(st, &cfg, &names, prefix, &ignored);
    hm_st_close(st);
    return yes;
}

/* ---- one file ---- */

static himmel_status add_t5(hm_wan_set *m, hm_st *st, himmel_error *err)
{
    hm_t5_config c;
    m->t5_st = st;
    himmel_status rc = hm_t5_detect(&c, st, "", err);
    if (!rc && c.d_model != m->dit.cfg.text_dim)
        rc = hm_fail(err, HIMMEL_EMODEL, "%s: the text encoder is %d wide, %s wants %d", hm_st_path(st), c.d_model, hm_st_path(m->main), m->dit.cfg.text_dim);
    if (!rc && !c.bias_every_layer && c.n_layers > 1)
        rc = hm_fail(err, HIMMEL_EMODEL, "%s: a T5 encoder with one position table; Wan's umT5 has one in every layer", hm_st_path(st));
    if (!rc) rc = hm_t5_load(&m->t5, &c, st, "", err);
    const hm_tensor *spiece = hm_st_find(st, "spiece_model"); /* ComfyUI's files bring the tokenizer along */
    if (!rc && spiece && spiece->dtype == HM_U8 && !m->tok) rc = hm_tok_parse(&m->tok, spiece->data, (size_t)hm_numel(spiece), hm_st_path(st), err);
    return rc;
}

static himmel_status add_vae(hm_wan_set *m, hm_st *st, himmel_error *err)
{
    m->vae_st = st;
    const himmel_status rc = hm_wan_vae_load(&m->vae, st, err);
    if (!rc && hm_wan_vae_channels(m->vae) != m->dit.cfg.out_dim)
        return hm_fail(err, HIMMEL_EMODEL, "%s: an autoencoder of %d channels, %s wants %d: the other one of Wan's two is needed", hm_st_path(st),
                       hm_wan_vae_channels(m->vae), hm_st_path(m->main), m->dit.cfg.out_dim);
    return rc;
}

static himmel_status add_clip(hm_wan_set *m, hm_st *st, himmel_error *err)
{
    m->clip_st = st;
    const himmel_status rc = hm_wan_clip_load(&m->clip, st, 0, err);
    if (!rc && m->dit.cfg.clip_dim && m->clip.dim != m->dit.cfg.clip_dim)
        return hm_fail(err, HIMMEL_EMODEL, "%s: the picture encoder is %d wide, %s wants %d", hm_st_path(st), m->clip.dim, hm_st_path(m->main), m->dit.cfg.clip_dim);
    return rc;
}

static himmel_status add_tae(hm_wan_set *m, hm_st *st, himmel_error *err)
{
    m->tae_st = st;
    return hm_tae_load(&m->tae, st, m->dit.cfg.out_dim, err);
}

static himmel_status add_expert(hm_wan_set *m, hm_st *st, himmel_error *err)
{
    m->second = st;
    const himmel_status rc = hm_wan_load(&m->low, NULL, st, err);
    const hm_wan_config *a = &m->dit.cfg, *b = &m->low.cfg;
    if (!rc && (a->in_dim != b->in_dim || a->out_dim != b->out_dim || a->dim != b->dim || a->n_layers != b->n_layers || a->text_dim != b->text_dim ||
                a->ffn_dim != b->ffn_dim || a->clip_dim != b->clip_dim || a->n_vace != b->n_vace || a->patch[1] != b->patch[1]))
        return hm_fail(err, HIMMEL_EMODEL, "%s and %s are no pair of experts: their sizes differ", hm_st_path(m->main), hm_st_path(st));
    return rc;
}

static himmel_status add_tensors(hm_wan_set *m, const char *path, himmel_error *err)
{
    hm_st *st;
    hm_wan_config cfg;
    hm_wan_names names;
    char prefix[64];
    himmel_error ignored;
    himmel_status rc = hm_st_open(&st, path, err);
    if (rc) return rc;
    if (hm_wv_find(st, "conv2.weight") && hm_wv_find(st, "decoder.conv1.weight") && !m->vae_st) return add_vae(m, st, err);
    if (!hm_wan_detect(st, &cfg, &names, prefix, &ignored) && !m->second) return add_expert(m, st, err);
    if (hm_tae_claims(st) && !m->tae_st) return add_tae(m, st, err);
    if (hm_wan_clip_claims(st) && !m->clip_st) return add_clip(m, st, err);
    hm_t5_config t5;
    if (!hm_t5_detect(&t5, st, "", &ignored) && !m->t5_st) return add_t5(m, st, err);
    hm_st_close(st);
    return hm_fail(err, HIMMEL_EMODEL,
                   "%s: Wan has no use for it: one autoencoder, one umT5 encoder, one picture encoder, one tiny decoder and one second expert are known", path);
}

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), k = strlen(end);
    return n >= k && !strcmp(s + n - k, end);
}

static himmel_status add_file(hm_wan_set *m, const char *path, himmel_error *err)
{
    if (ends_with(path, ".pth") || ends_with(path, ".pt") || ends_with(path, ".ckpt"))
        return hm_fail(err, HIMMEL_EFORMAT, "%s: a file of Python objects, which can run code, is not read here; use the same weights as safetensors or GGUF", path);
    if (hm_st_names_weights(path)) return add_tensors(m, path, err);
    if (m->tok) return hm_fail(err, HIMMEL_EINVAL, "%s: a tokenizer was named already", path);
    return hm_tok_open(&m->tok, path, err);
}

/* ---- files beside the transformer ---- */

static himmel_status beside(hm_wan_set *m, const char *main_path, const char *const *names, size_t n, bool *have, himmel_error *err)
{
    const char *slash = strrchr(main_path, '/');
    const int dir = slash ? (int)(slash - main_path + 1) : 0;
    for (size_t i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%.*s%s", dir, main_path, names[i]);
        if (access(path, R_OK)) continue;
        *have = true;
        return add_file(m, path, err);
    }
    return HIMMEL_OK;
}

/* In one folder, in diffusers' folders, and in ComfyUI's, where the transformer lies in diffusion_models/. */
static himmel_status look_beside(hm_wan_set *m, const char *path, himmel_error *err)
{
    static const char *const vae16[] = {"wan_2.1_vae.safetensors", "Wan2.1_VAE.safetensors", "vae/diffusion_pytorch_model.safetensors",
                                        "../vae/diffusion_pytorch_model.safetensors", "../vae/wan_2.1_vae.safetensors"},
                      *const vae48[] = {"wan2.2_vae.safetensors", "Wan2.2_VAE.safetensors", "vae/diffusion_pytorch_model.safetensors",
                                        "../vae/diffusion_pytorch_model.safetensors", "../vae/wan2.2_vae.safetensors"},
                      *const t5[] = {"umt5_xxl_bf16.safetensors", "umt5_xxl_fp16.safetensors", "umt5-xxl-enc-bf16.safetensors",
                                     "text_encoder/model.safetensors", "../text_encoder/model.safetensors",
                                     "text_encoder/model.safetensors.index.json", "../text_encoder/model.safetensors.index.json",
                                     "../text_encoders/umt5_xxl_bf16.safetensors", "../text_encoders/umt5_xxl_fp16.safetensors",
                                     "umt5-xxl-encoder-Q8_0.gguf"},
                      *const tok[] = {"spiece.model", "tokenizer/spiece.model", "../tokenizer/spiece.model", "google/umt5-xxl/spiece.model"},
                      *const clip[] = {"open-clip-xlm-roberta-large-vit-huge-14_visual_fp16.safetensors"}; /* others' names of its tensors are not read */
    static const char *const low[] = {"transformer_2/diffusion_pytorch_model.safetensors", "../transformer_2/diffusion_pytorch_model.safetensors",
                                      "transformer_2/diffusion_pytorch_model.safetensors.index.json", "../transformer_2/diffusion_pytorch_model.safetensors.index.json"};
    bool have = m->vae != NULL, second = m->second != NULL;
    himmel_status rc = HIMMEL_OK;
    if (!second && strstr(hm_st_path(m->main), "/transformer/diffusion_pytorch_model")) rc = beside(m, path, low, HM_COUNT(low), &second, err);
    if (!have && !rc) rc = m->dit.cfg.out_dim == 48 ? beside(m, path, vae48, HM_COUNT(vae48), &have, err) : beside(m, path, vae16, HM_COUNT(vae16), &have, err);
    if (!rc && !m->t5_st) rc = beside(m, path, t5, HM_COUNT(t5), &have, err);
    if (!rc && !m->tok) rc = beside(m, path, tok, HM_COUNT(tok), &have, err);
    if (!rc && !m->clip_st && m->dit.cfg.clip_dim) rc = beside(m, path, clip, HM_COUNT(clip), &have, err);
    static const char *const tae16[] = {"taew2_1.safetensors", "../vae_approx/taew2_1.safetensors"}, *const tae48[] = {"taew2_2.safetensors", "../vae_approx/taew2_2.safetensors"};
    if (!rc && !m->tae_st) rc = m->dit.cfg.out_dim == 48 ? beside(m, path, tae48, HM_COUNT(tae48), &have, err) : beside(m, path, tae16, HM_COUNT(tae16), &have, err);
    return rc;
}

void hm_wan_missing(const hm_wan_set *m, char *out, size_t cap)
{
    const char *what = !m->vae ? m->dit.cfg.out_dim == 48 ? "its autoencoder is missing: name wan2.2_vae.safetensors"
                                                          : "its autoencoder is missing: name wan_2.1_vae.safetensors"
                       : !m->t5_st ? "its text encoder is missing: name an umT5-XXL encoder (umt5_xxl_fp16.safetensors or the like)"
                       : !m->tok   ? "its tokenizer is missing: name umT5's spiece.model"
                       : m->two && !m->second
                           ? is_low(hm_st_path(m->main)) ? "it is the low-noise one of two experts: name the high-noise one too"
                                                         : "it is the high-noise one of two experts: name the low-noise one too"
                       : m->dit.cfg.clip_dim && !m->clip_st ? "its picture encoder is missing: name one with tensors called visual.*"
                                                            : NULL;
    *out = 0;
    if (what) snprintf(out, cap, "%.120s: %s with --with FILE, or put it beside the transformer", hm_st_path(m->main), what);
}

/* ---- which one it is ---- */

static himmel_status classify(hm_wan_set *m, himmel_error *err)
{
    const hm_wan_config *c = &m->dit.cfg;
    const char *path = hm_st_path(m->main);
    const bool i2v = c->in_dim == 2 * c->out_dim + 4;
    if (c->n_vace && c->in_dim == 16 && c->out_dim == 16 && c->vace_in_dim == 96) m->kind = HM_WAN_VACE;
    else if (!c->n_vace && c->in_dim == 48 && c->out_dim == 48) m->kind = HM_WAN_TI2V;
    else if (!c->n_vace && c->out_dim == 16 && i2v) m->kind = c->clip_pos ? HM_WAN_FLF2V : HM_WAN_I2V;
    else if (!c->n_vace && c->out_dim == 16 && c->in_dim == 16) m->kind = HM_WAN_T2V;
    else
        return hm_fail(err, HIMMEL_EMODEL,
                       "%s: a Wan transformer of %d channels in and %d out: T2V, I2V, FLF2V, VACE and TI2V are known here", path, c->in_dim, c->out_dim);
    if (m->second && (m->kind == HM_WAN_TI2V || c->clip_dim))
        return hm_fail(err, HIMMEL_EMODEL, "%s: this Wan is one transformer; %s is one too many", path, hm_st_path(m->second));
    m->two = m->second || is_high(path) || is_low(path) || (m->kind == HM_WAN_I2V && !c->clip_dim);
    if (m->second && ((is_low(path) && !is_low(hm_st_path(m->second))) || (is_high(hm_st_path(m->second)) && !is_high(path)))) {
        const hm_wan w = m->dit; /* --model named the low one */
        m->dit = m->low;
        m->low = w;
        m->main_low = true;
    }
    return HIMMEL_OK;
}

/* Into which of a pair of experts a LoRA goes, its file's name says; one that does not say goes into both. */
static himmel_status merge_loras(hm_wan_set *m, const hm_model_files *files, himmel_error *err)
{
    hm_st *const st[] = {m->main, m->second};
    himmel_status rc = HIMMEL_OK;
    for (int e = 0; e < 2 && st[e] && !rc; e++) {
        hm_lora mine[HM_MAX_LORAS];
        hm_wan_config cfg;
        hm_wan_names names;
        char prefix[64];
        int n = 0;
        const bool low = (e == 1) != m->main_low;
        for (int i = 0; i < files->n_loras && n < HM_MAX_LORAS; i++) {
            const char *path = files->loras[i].path;
            if (!m->second || !(low ? is_high(path) : is_low(path))) mine[n++] = files->loras[i];
        }
        rc = hm_wan_detect(st[e], &cfg, &names, prefix, err);
        if (!rc) rc = hm_lora_merge(st[e], prefix, hm_wan_other_name, mine, n, &m->merged_bytes, err);
    }
    return rc;
}

static void choose(hm_wan_set *m)
{
    static const char *const few[] = {"distill", "lightx2v", "lightning", "causvid", "fastwan", "turbo", "4step", "4-step", "self-forcing", "self_forcing", "dmd"};
    hm_wan_recipe *r = &m->recipe;
    const bool i2v = m->kind == HM_WAN_I2V || m->kind == HM_WAN_FLF2V;
    *r = (hm_wan_recipe){.width = 832, .height = 480, .n_frames = 81, .steps = 50, .fps = 16, .shift = 5, .guidance = 5};
    if (m->kind == HM_WAN_TI2V) r->width = 1280, r->height = 704, r->n_frames = 121, r->fps = 24;
    else if (m->two && i2v) r->steps = 40, r->guidance = 3.5f, r->boundary = 0.9f;
    else if (m->two) r->steps = 40, r->shift = 12, r->guidance = 4, r->guidance_low = 3, r->boundary = 0.875f;
    else if (i2v) r->steps = 40, r->shift = 3; /* at 480 lines; see wan.c for 720 */
    else if (m->dit.cfg.dim <= 2048 && m->kind == HM_WAN_T2V) r->shift = 8, r->guidance = 6;
    for (size_t i = 0; i < HM_COUNT(few); i++) m->distilled |= contains(hm_st_path(m->main), few[i]);
    if (m->distilled) r->steps = 4, r->guidance = r->guidance_low = 1;
    if (!(r->guidance_low > 0)) r->guidance_low = r->guidance;
}

static void count(hm_wan_set *m, const hm_st *st, bool transformer)
{
    for (size_t i = 0; st && i < hm_st_count(st); i++) {
        const char *name;
        const hm_tensor *t = hm_st_at(st, i, &name);
        if (!hm_is_weight(t->dtype) && !t->row_scale) continue;
        if (transformer) m->n_transformer += (uint64_t)hm_numel(t);
        m->n_params += (uint64_t)hm_numel(t);
        m->file_bytes += hm_dtype_bytes(t->dtype, (uint64_t)hm_numel(t));
    }
}

himmel_status hm_wan_open(void **self, const hm_model_files *files, himmel_error *err)
{
    const char *const *paths = files->paths;
    *self = NULL;
    hm_wan_set *m = calloc(1, sizeof *m);
    if (!m) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", paths[0]);
    himmel_status rc = hm_st_open(&m->main, paths[0], err);
    if (!rc) rc = hm_wan_load(&m->dit, NULL, m->main, err);
    for (int i = 1; i < files->n_paths && !rc; i++) rc = add_file(m, paths[i], err);
    if (!rc) rc = look_beside(m, paths[0], err);
    if (!rc) rc = look_beside(m, hm_st_path(m->main), err); /* paths[0] may be a folder that it lies in */
    if (!rc) rc = classify(m, err);
    if (!rc && m->tok && m->t5_st && hm_tok_size(m->tok) > m->t5.cfg.vocab)
        rc = hm_fail(err, HIMMEL_EMODEL, "the tokenizer has %d pieces, the text encoder only %d", hm_tok_size(m->tok), m->t5.cfg.vocab);
    if (!rc) rc = merge_loras(m, files, err);
    const bool int8 = files->int8 || (!rc && hm_st_is_int8(m->main)) || (!rc && m->second && hm_st_is_int8(m->second));
    if (!rc && int8) rc = hm_wan_params(&m->dit, hm_int8_add, &m->int8, err);
    if (!rc && int8 && m->second) rc = hm_wan_params(&m->low, hm_int8_add, &m->int8, err);
    if (rc) {
        hm_wan_close(m);
        return rc;
    }
    choose(m);
    hm_text_cache_encoder(m->encoder, &m->t5_st, 1);
    hm_text_cache_encoder(m->files, (hm_st *[]){m->main, m->second, m->vae_st, m->t5_st, m->clip_st}, 5);
    count(m, m->main, true);
    count(m, m->second, true);
    count(m, m->vae_st, false);
    count(m, m->t5_st, false);
    count(m, m->clip_st, false);
    *self = m;
    return HIMMEL_OK;
}

void hm_wan_close(void *self)
{
    hm_wan_set *m = self;
    if (!m) return;
    if (m->dit.layers) hm_wan_params(&m->dit, hm_int8_drop, NULL, NULL);
    if (m->low.layers) hm_wan_params(&m->low, hm_int8_drop, NULL, NULL);
    hm_wan_deinit(&m->dit);
    hm_wan_deinit(&m->low);
    hm_wan_vae_free(m->vae);
    hm_t5_deinit(&m->t5);
    hm_wan_clip_deinit(&m->clip);
    hm_tok_free(m->tok);
    hm_st *const all[] = {m->main, m->second, m->vae_st, m->t5_st, m->clip_st, m->tae_st};
    for (size_t i = 0; i < HM_COUNT(all); i++) hm_st_close(all[i]);
    free(m);
}
