/* vae.c - the video VAE's configuration and table of tensors; statistics of the latents.
 * SPDX-License-Identifier: MIT Configuration: the released header's "vae"; blocks are ["name", n] or ["name",
 * {"num_layers": n, ...}], for the decoder from its end to its start. Names are those of the single-file
 * checkpoints below "vae.". */
#include "models/ltx/vae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"

enum { MAX_BLOCKS = 64, MAX_RES = 64, MAX_CHANNELS = 4096 };

typedef struct {
    hm_vae *m;
    const char *prefix;
    himmel_error *err;
    bool decoder, diffusers;
} loader;

/* ---- binding ---- */

static himmel_status bind(const loader *l, const char *name, int nd, const int64_t *dim, hm_tensor **slot)
{
    char other[256], full[320];
    const hm_tensor *t;
    snprintf(other, sizeof other, "%s", name);
    if (l->diffusers) hm_vae_diffusers(other, name);
    snprintf(full, sizeof full, "%s%s", l->prefix, other);
    const himmel_status rc = hm_st_need(l->m->st, full, nd, dim, &t, l->err);
    if (rc) return rc;
    if (t->dtype > HM_F8E4M3)
        return hm_fail(l->err, HIMMEL_EMODEL, "%s: tensor \"%.100s\" is %s, not a weight",
                       hm_st_path(l->m->st), full, hm_dtype_name(t->dtype));
    *slot = (hm_tensor *)(uintptr_t)t; /* read only */
    return HIMMEL_OK;
}

static himmel_status bind_conv(const loader *l, const char *name, int64_t out, int64_t in, hm_vae_conv *c)
{
    char full[200];
    snprintf(full, sizeof full, "%s.weight", name);
    himmel_status rc = bind(l, full, 5, (int64_t[]){out, in, 3, 3, 3}, &c->w);
    snprintf(full, sizeof full, "%s.bias", name);
    return rc ? rc : bind(l, full, 1, &out, &c->b);
}

static himmel_status bind_res(const loader *l, const char *name, const hm_vae_block *b, hm_vae_res *r)
{
    const int64_t I = b->in_c, O = b->out_c;
    char at[200];
    snprintf(at, sizeof at, "%s.conv1.conv", name);
    himmel_status rc = bind_conv(l, at, O, I, &r->conv1);
    snprintf(at, sizeof at, "%s.conv2.conv", name);
    if (!rc) rc = bind_conv(l, at, O, O, &r->conv2);
    const struct {
        const char *name;
        bool wanted;
        int nd;
        int64_t dim[5];
        hm_tensor **slot;
    } rest[] = {{"conv_shortcut.weight", I != O, 5, {O, I, 1, 1, 1}, &r->short_w},
                {"conv_shortcut.bias", I != O, 1, {O}, &r->short_b},
                {"norm3.norm.weight", I != O, 1, {I}, &r->norm3_w},
                {"norm3.norm.bias", I != O, 1, {I}, &r->norm3_b},
                {"scale_shift_table", b->timed, 2, {4, I}, &r->table},
                {"per_channel_scale1", b->noise, 3, {I, 1, 1}, &r->noise1},
                {"per_channel_scale2", b->noise, 3, {I, 1, 1}, &r->noise2}};
    for (size_t i = 0; i < HM_COUNT(rest) && !rc; i++) {
        snprintf(at, sizeof at, "%s.%s", name, rest[i].name);
        if (rest[i].wanted) rc = bind(l, at, rest[i].nd, rest[i].dim, rest[i].slot);
    }
    return rc;
}

/* Linear layers of a timestep embedder with n outputs. */
static himmel_status bind_time(const loader *l, const char *name, int64_t n, hm_tensor **slots[4])
{
    static const char *const parts[] = {"linear_1.weight", "linear_1.bias", "linear_2.weight",
                                        "linear_2.bias"};
    himmel_status rc = HIMMEL_OK;
    for (int i = 0; i < 4 && !rc; i++) {
        char at[200];
        snprintf(at, sizeof at, "%s.timestep_embedder.%s", name, parts[i]);
        rc = bind(l, at, i % 2 ? 1 : 2, (int64_t[]){n, i ? n : 256}, slots[i]);
    }
    return rc;
}

static himmel_status bind_block(const loader *l, const hm_vae_half *half, int index, bool last)
{
    char at[128], name[180];
    hm_vae_block *b = &half->blocks[index];
    hm_vae_block_path(at, half, l->decoder, l->diffusers, index, last);
    if (b->kind != HM_VAE_RES) {
        const int n = b->stride[0] * b->stride[1] * b->stride[2];
        const int64_t out = b->kind == HM_VAE_D2S   ? (int64_t)b->out_c * n
                            : b->kind == HM_VAE_S2D ? b->out_c / n
                                                    : b->out_c;
        snprintf(name, sizeof name, b->kind == HM_VAE_STRIDED ? "%s.conv" : "%s.conv.conv", at);
        return bind_conv(l, name, out, b->in_c, &b->conv);
    }
    himmel_status rc = HIMMEL_OK;
    b->res = calloc((size_t)b->n_res, sizeof *b->res);
    if (!b->res) return hm_fail(l->err, HIMMEL_ENOMEM, "vae: out of memory");
    for (int i = 0; i < b->n_res && !rc; i++) {
        snprintf(name, sizeof name, "%s.res_blocks.%d", at, i);
        rc = bind_res(l, b->single ? at : name, b, &b->res[i]);
    }
    snprintf(name, sizeof name, "%s.time_embedder", at);
    if (!rc && b->timed)
        rc = bind_time(l, name, 4 * (int64_t)b->in_c,
                       (hm_tensor * *[]){&b->t1_w, &b->t1_b, &b->t2_w, &b->t2_b});
    return rc;
}

/* ---- configuration ---- */

/* [name, n or {..}] of block i. */
typedef struct {
    const char *name;
    int64_t layers, multiplier;
    bool residual, noise;
} entry;

static himmel_status parse_entry(const json_t *list, size_t i, entry *e, himmel_error *err)
{
    const json_t *pair = json_array_get(list, i), *p = json_array_get(pair, 1);
    *e = (entry){.name = json_string_value(json_array_get(pair, 0)), .layers = 1, .multiplier = 1};
    if (!e->name) return hm_fail(err, HIMMEL_EMODEL, "vae: block %zu of the configuration has no name", i);
    const bool widens = strstr(e->name, "_res") || !strcmp(e->name, "res_x_y") || strstr(e->name, "_x_y");
    if (widens) e->multiplier = 2;
    himmel_status rc = HIMMEL_OK;
    if (json_is_integer(p)) {
        e->layers = json_integer_value(p);
        if (e->layers < 1 || e->layers > MAX_RES)
            return hm_fail(err, HIMMEL_EMODEL, "vae: block %zu (%.40s) has %lld layers", i, e->name,
                           (long long)e->layers);
    } else if (json_is_object(p)) {
        rc = hm_json_int(p, "num_layers", "vae", (int64_t[2]){1, MAX_RES}, &e->layers, err);
        if (!rc) rc = hm_json_int(p, "multiplier", "vae", (int64_t[2]){1, 8}, &e->multiplier, err);
        if (!rc) rc = hm_json_bool(p, "residual", "vae", &e->residual, err);
        if (!rc) rc = hm_json_bool(p, "inject_noise", "vae", &e->noise, err);
    } else if (p) {
        rc =
            hm_fail(err, HIMMEL_EMODEL, "vae: block %zu (%.40s) is not [name, number or object]", i, e->name);
    }
    return rc;
}

/* What the block does, by its name. */
static himmel_status parse_block(const loader *l, const entry *e, int in_c, hm_vae_block *b)
{
    static const struct {
        const char *name;
        int stride[3];
        hm_vae_kind encoder;
        bool decoder; /* may stand in a decoder too: depth to space */
        bool widens;
    } kinds[] = {{"res_x", {1, 1, 1}, HM_VAE_RES, true, false},
                 {"res_x_y", {1, 1, 1}, HM_VAE_RES, true, true},
                 {"compress_time", {2, 1, 1}, HM_VAE_STRIDED, true, false},
                 {"compress_space", {1, 2, 2}, HM_VAE_STRIDED, true, false},
                 {"compress_all", {2, 2, 2}, HM_VAE_STRIDED, true, false},
                 {"compress_all_x_y", {2, 2, 2}, HM_VAE_STRIDED, false, true},
                 {"compress_all_res", {2, 2, 2}, HM_VAE_S2D, false, true},
                 {"compress_space_res", {1, 2, 2}, HM_VAE_S2D, false, true},
                 {"compress_time_res", {2, 1, 1}, HM_VAE_S2D, false, true}};
    size_t k = 0;
    while (k < HM_COUNT(kinds) && (strcmp(kinds[k].name, e->name) || (l->decoder && !kinds[k].decoder))) k++;
    if (k == HM_COUNT(kinds))
        return hm_fail(l->err, HIMMEL_EMODEL, "vae: a block of the %s is \"%.40s\", which is not known",
                       l->decoder ? "decoder" : "encoder", e->name);
    *b = (hm_vae_block){.kind = kinds[k].encoder, .in_c = in_c, .out_c = in_c, .n_res = (int)e->layers};
    memcpy(b->stride, kinds[k].stride, sizeof b->stride);
    const int mult = (int)e->multiplier, n = b->stride[0] * b->stride[1] * b->stride[2];
    if (l->decoder) {
        if (b->kind == HM_VAE_STRIDED) b->kind = HM_VAE_D2S;
        const bool narrows = kinds[k].widens || !strcmp(e->name, "compress_all");
        if (narrows) b->out_c = in_c / mult;
        b->residual = e->residual && !strcmp(e->name, "compress_all");
        b->noise = e->noise;
        b->timed = l->m->timed && !strcmp(e->name, "res_x");
        if ((narrows && in_c % mult) || (b->residual && (in_c % n || b->out_c % (in_c / n))))
            return hm_fail(l->err, HIMMEL_EMODEL,
                           "vae: %d channels do not go through decoder block \"%.40s\"", in_c, e->name);
    } else if (kinds[k].widens) {
        b->out_c = in_c * mult;
        if (b->kind == HM_VAE_S2D && (b->out_c % n || in_c % (b->out_c / n)))
            return hm_fail(l->err, HIMMEL_EMODEL,
                           "vae: %d channels do not go through encoder block \"%.40s\"", in_c, e->name);
    }
    b->single = !strcmp(e->name, "res_x_y");
    if (b->single) b->n_res = 1;
    if (b->out_c > MAX_CHANNELS)
        return hm_fail(l->err, HIMMEL_EMODEL, "vae: block \"%.40s\" has %d channels", e->name, b->out_c);
    return HIMMEL_OK;
}

static himmel_status parse_half(const loader *l, const json_t *o, hm_vae_half *half)
{
    const json_t *list = json_object_get(o, l->decoder ? "decoder_blocks" : "encoder_blocks");
    if (!list || json_is_null(list)) list = json_object_get(o, "blocks");
    const size_t n = json_array_size(list);
    if (!n || n > MAX_BLOCKS)
        return hm_fail(l->err, HIMMEL_EMODEL, "vae: the configuration lists %zu blocks of the %s", n,
                       l->decoder ? "decoder" : "encoder");
    int64_t base = 128;
    himmel_status rc = hm_json_int(o, l->decoder ? "decoder_base_channels" : "encoder_base_channels", "vae",
                                   (int64_t[2]){1, 1024}, &base, l->err);
    half->blocks = calloc(n, sizeof *half->blocks);
    if (!half->blocks) return hm_fail(l->err, HIMMEL_ENOMEM, "vae: out of memory");
    entry e;
    int64_t c = base;
    for (size_t i = 0; i < n && !rc && l->decoder; i++) { /* a decoder ends at its base */
        rc = parse_entry(list, i, &e, l->err);
        if (!rc && (!strcmp(e.name, "res_x_y") || !strncmp(e.name, "compress", 8))) c *= e.multiplier;
        if (!rc && c > MAX_CHANNELS)
            rc = hm_fail(l->err, HIMMEL_EMODEL, "vae: a decoder of %lld channels", (long long)c);
    }
    half->in_c = (int)c;
    for (size_t i = 0; i < n && !rc; i++) {
        rc = parse_entry(list, l->decoder ? n - 1 - i : i, &e, l->err);
        hm_vae_block *b = &half->blocks[i];
        if (!rc) rc = parse_block(l, &e, (int)c, b);
        half->n_blocks = (int)i + 1;
        if (!rc) rc = bind_block(l, half, (int)i, i + 1 == n);
        c = b->out_c;
    }
    half->out_c = (int)c;
    return rc;
}

static himmel_status check_option(const json_t *o, const char *key, const char *only, himmel_error *err)
{
    const char *s = json_string_value(json_object_get(o, key));
    if (!s || strcmp(s, only))
        return hm_fail(err, HIMMEL_EMODEL, "vae: %s is \"%.40s\", only \"%s\" is known", key,
                       s ? s : "not said", only);
    return HIMMEL_OK;
}

static himmel_status parse_options(hm_vae *m, const json_t *o, himmel_error *err)
{
    int64_t dims = 3, latent = 0, patch = 1, in = 3, out = 3;
    bool quant = true;
    himmel_status rc = check_option(o, "_class_name", "CausalVideoAutoencoder", err);
    if (!rc) rc = check_option(o, "norm_layer", "pixel_norm", err);
    if (!rc) rc = hm_json_int(o, "dims", "vae", (int64_t[2]){3, 3}, &dims, err);
    if (!rc) rc = hm_json_int(o, "latent_channels", "vae", (int64_t[2]){1, 512}, &latent, err);
    if (!rc) rc = hm_json_int(o, "patch_size", "vae", (int64_t[2]){1, 16}, &patch, err);
    if (!rc) rc = hm_json_int(o, "in_channels", "vae", (int64_t[2]){3, 3}, &in, err);
    if (!rc) rc = hm_json_int(o, "out_channels", "vae", (int64_t[2]){3, 3}, &out, err);
    if (!rc) rc = hm_json_bool(o, "use_quant_conv", "vae", &quant, err);
    if (!rc) rc = hm_json_bool(o, "causal_decoder", "vae", &m->causal_decoder, err);
    if (!rc) rc = hm_json_bool(o, "timestep_conditioning", "vae", &m->timed, err);
    if (rc) return rc;
    if (quant) return hm_fail(err, HIMMEL_EMODEL, "vae: use_quant_conv is not false, which is not known");
    m->latent_c = (int)latent;
    m->patch = (int)patch;
    const char *var = json_string_value(json_object_get(o, "latent_log_var"));
    const char *pad = json_string_value(json_object_get(o, "spatial_padding_mode"));
    if (!var) var = "per_channel";
    if (!pad) pad = "zeros";
    m->var_c = !strcmp(var, "per_channel")                           ? m->latent_c
               : !strcmp(var, "uniform") || !strcmp(var, "constant") ? 1
                                                                     : -1;
    if (m->var_c < 0 || !strcmp(var, "constant"))
        return hm_fail(err, HIMMEL_EMODEL, "vae: latent_log_var is \"%.40s\", which is not known", var);
    m->pad = !strcmp(pad, "reflect")     ? HM_VAE_REFLECT
             : !strcmp(pad, "replicate") ? HM_VAE_REPLICATE
                                         : HM_VAE_ZEROS;
    if (m->pad == HM_VAE_ZEROS && strcmp(pad, "zeros"))
        return hm_fail(err, HIMMEL_EMODEL, "vae: spatial_padding_mode is \"%.40s\", which is not known", pad);
    return HIMMEL_OK;
}

/* ---- the whole ---- */

static himmel_status bind_statistics(const loader *l)
{
    hm_vae *m = l->m;
    hm_tensor *t;
    const int64_t n = m->latent_c;
    m->mean = calloc((size_t)n, sizeof *m->mean);
    m->deviation = calloc((size_t)n, sizeof *m->deviation);
    if (!m->mean || !m->deviation) return hm_fail(l->err, HIMMEL_ENOMEM, "vae: out of memory");
    himmel_status rc = bind(l, "per_channel_statistics.std-of-means", 1, &n, &t);
    if (rc) return rc;
    hm_convert(m->deviation, HM_F32, t->data, t->dtype, (size_t)n);
    char name[256];
    snprintf(name, sizeof name, "%s%s", l->prefix, l->diffusers ? "latents_mean" : "per_channel_statistics.mean-of-means");
    if (hm_st_find(m->st, name)) { /* absent: zeros */
        rc = bind(l, "per_channel_statistics.mean-of-means", 1, &n, &t);
        if (!rc) hm_convert(m->mean, HM_F32, t->data, t->dtype, (size_t)n);
    }
    return rc;
}

static himmel_status bind_end(const loader *l)
{
    hm_vae *m = l->m;
    hm_tensor *scale;
    himmel_status rc = bind_time(l, "decoder.last_time_embedder", 2 * (int64_t)m->dec.out_c,
                                 (hm_tensor * *[]){&m->t1_w, &m->t1_b, &m->t2_w, &m->t2_b});
    if (!rc) rc = bind(l, "decoder.last_scale_shift_table", 2, (int64_t[]){2, m->dec.out_c}, &m->table);
    char name[256];
    snprintf(name, sizeof name, "%sdecoder.timestep_scale_multiplier", l->prefix);
    m->t_scale = 1000; /* in every released model; not all of diffusers' files have it */
    if (!rc && hm_st_find(m->st, name)) {
        rc = bind(l, "decoder.timestep_scale_multiplier", 0, NULL, &scale);
        if (!rc) hm_convert(&m->t_scale, HM_F32, scale->data, scale->dtype, 1);
    }
    return rc;
}

static void count_scale(hm_vae *m)
{
    m->scale_t = 1;
    m->scale_s = m->patch;
    for (int i = 0; i < m->enc.n_blocks; i++) {
        m->scale_t *= m->enc.blocks[i].stride[0];
        m->scale_s *= m->enc.blocks[i].stride[1];
    }
}

static himmel_status load(const loader *l, const json_t *o)
{
    hm_vae *m = l->m;
    loader dec = *l;
    dec.decoder = true;
    const int64_t pixel = 3 * (int64_t)m->patch * m->patch;
    himmel_status rc = parse_half(l, o, &m->enc);
    if (!rc) rc = parse_half(&dec, o, &m->dec);
    if (!rc) rc = bind_conv(l, "encoder.conv_in.conv", m->enc.in_c, pixel, &m->enc.in);
    if (!rc) rc = bind_conv(l, "encoder.conv_out.conv", m->latent_c + m->var_c, m->enc.out_c, &m->enc.out);
    if (!rc) rc = bind_conv(l, "decoder.conv_in.conv", m->dec.in_c, m->latent_c, &m->dec.in);
    if (!rc) rc = bind_conv(l, "decoder.conv_out.conv", pixel, m->dec.out_c, &m->dec.out);
    if (!rc && m->timed) rc = bind_end(l);
    if (!rc) rc = bind_statistics(l);
    count_scale(m);
    return rc;
}

bool hm_vae_claims(const hm_st *st, const char *prefix)
{
    static const char *const wanted[] = {"encoder.conv_in.conv.weight", "encoder.conv_out.conv.weight", "decoder.conv_in.conv.weight", "decoder.conv_out.conv.weight"};
    char name[128];
    for (size_t i = 0; i < HM_COUNT(wanted); i++) {
        snprintf(name, sizeof name, "%s%s", prefix, wanted[i]);
        if (!hm_st_find(st, name)) return false;
    }
    return true;
}

himmel_status hm_vae_load(hm_vae *m, const hm_st *st, const char *prefix, const char *config,
                          himmel_error *err)
{
    *m = (hm_vae){.st = st};
    json_t *root;
    char *guess = config ? NULL : hm_vae_guess(st, prefix);
    if (guess) config = guess;
    if (!config) return hm_fail(err, HIMMEL_ENOMEM, "vae: out of memory");
    himmel_status rc = hm_json_parse(&root, config, strlen(config), "vae", err);
    free(guess);
    if (rc) return rc;
    const json_t *o = json_object_get(root, "vae");
    const loader l = {m, prefix, err, false, hm_vae_in_diffusers(st, prefix)};
    rc = parse_options(m, o ? o : root, err);
    if (!rc) rc = load(&l, o ? o : root);
    json_decref(root);
    if (rc) hm_vae_deinit(m);
    return rc;
}

void hm_vae_deinit(hm_vae *m)
{
    hm_vae_half *const halves[2] = {&m->enc, &m->dec};
    for (int h = 0; h < 2; h++) {
        for (int i = 0; i < halves[h]->n_blocks; i++) free(halves[h]->blocks[i].res);
        free(halves[h]->blocks);
    }
    free(m->mean);
    free(m->deviation);
    *m = (hm_vae){0};
}

void hm_vae_normalize(const hm_vae *m, float *x, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++)
        for (int c = 0; c < m->latent_c; c++, x++) *x = (*x - m->mean[c]) / m->deviation[c];
}

void hm_vae_unnormalize(const hm_vae *m, float *x, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++)
        for (int c = 0; c < m->latent_c; c++, x++) *x = *x * m->deviation[c] + m->mean[c];
}

void hm_vae_sample(const hm_vae *m, float *z, const float *coded, const float *noise, int64_t rows)
{
    const int C = m->latent_c, V = m->var_c;
    for (int64_t r = 0; r < rows; r++)
        for (int c = 0; c < C; c++) {
            const float *q = coded + r * (C + V);
            const float var = HM_MIN(HM_MAX(q[C + (V > 1 ? c : 0)], -30.0f), 20.0f);
            z[r * C + c] = q[c] + (noise ? expf(0.5f * var) * noise[r * C + c] : 0);
        }
}
