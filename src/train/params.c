/* params.c - create, export, save and restore the parameters of a model in training.   SPDX-License-Identifier: MIT
 *
 * Fresh values: norm weights 1, biases 0, linear and convolution weights N(0, 1/fan_in) (convolutions 2/fan_in, as they
 * feed ReLUs), embeddings N(0, 1). Exceptions, so that a new block starts near the identity: what ends in "proj_out.weight",
 * "adaln_single.linear.weight" or "local_mix.weight" is 0; gates in a scale_shift_table of 6 rows are 0.25; attn2's output is a quarter. T5's
 * queries carry the 1/sqrt(d_kv) that its attention leaves out. */
#include "train/params.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

void hm_params_init(hm_params *ps, hm_dtype dtype, uint64_t seed, const hm_st *from)
{
    *ps = (hm_params){.dtype = dtype, .seed = seed, .from = from};
}

static void param_free(hm_param *p)
{
    if (!p) return;
    free(p->work.data);
    free(p->grad.data);
    free(p->master);
    free(p->ema);
    free(p->m);
    free(p->v);
    free(p);
}

void hm_params_deinit(hm_params *ps)
{
    for (size_t i = 0; i < ps->n; i++) param_free(ps->p[i]);
    free(ps->p);
    *ps = (hm_params){0};
}

static bool has(const char *name, const char *part) { return strstr(name, part) != NULL; }
static bool ends(const char *name, const char *tail)
{
    const size_t n = strlen(name), t = strlen(tail);
    return n >= t && !strcmp(name + n - t, tail);
}

static uint64_t name_hash(const char *s)
{
    uint64_t h = 1469598103934665603ull; /* FNV-1a: a parameter's values depend on its name, not on its place */
    for (; *s; s++) h = (h ^ (uint8_t)*s) * 1099511628211ull;
    return h;
}

static void fresh_values(hm_param *p, int nd, const int64_t *dim, uint64_t seed)
{
    const size_t n = p->n;
    float *w = p->master, std = 0, fill = 0;
    if (nd <= 1) {
        fill = ends(p->name, "weight") ? 1.0f : 0.0f;
    } else if (ends(p->name, "scale_shift_table") || has(p->name, "relative_attention_bias")) {
        fill = 0;
    } else if (ends(p->name, "proj_out.weight") || ends(p->name, "local_mix.weight") || ends(p->name, "local_mix.caption.weight") || ends(p->name, "adaln_single.linear.weight")) {
        fill = 0;
    } else if (ends(p->name, "shared.weight")) {
        std = 1.0f;
    } else {
        std = (nd > 2 ? 1.41421356f : 1.0f) / sqrtf((float)(n / (size_t)dim[0]));
        if (has(p->name, "SelfAttention.q")) std *= 0.125f; /* 1/sqrt(d_kv = 64) */
        if (has(p->name, "attn2.to_out") || has(p->name, "caption_modulation.")) std *= 0.25f;
    }
    if (std > 0) {
        hm_randn(w, n, seed, name_hash(p->name));
        for (size_t i = 0; i < n; i++) w[i] *= std;
    } else {
        for (size_t i = 0; i < n; i++) w[i] = fill;
    }
    if (ends(p->name, "scale_shift_table") && nd == 2 && dim[0] == 6)
        for (int64_t i = 0; i < dim[1]; i++) w[2 * dim[1] + i] = w[5 * dim[1] + i] = 0.25f;
}

static hm_opt_kind kind_of(const char *name, int nd)
{
    const bool block = has(name, "transformer_blocks.") || has(name, "encoder.block.");
    const bool matrix = nd == 2 && ends(name, ".weight") && !has(name, "relative_attention_bias") && !has(name, "local_mix.");
    const bool conv = nd == 4 && (has(name, "refiner.blocks.") || has(name, "refiner.convs2.")); /* [O, everything else] */
    return (block && matrix) || conv ? HM_OPT_MUON : HM_OPT_ADAMW;
}

static hm_param *param_new(const char *name, int nd, const int64_t *dim, hm_dtype dtype)
{
    hm_param *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    snprintf(p->name, sizeof p->name, "%s", name);
    p->n = 1;
    for (int i = 0; i < nd; i++) p->n *= (size_t)dim[i];
    p->kind = kind_of(name, nd);
    p->lr_scale = 1.0f;
    p->decay = nd >= 2 && !ends(name, "scale_shift_table");
    p->work = (hm_tensor){.dtype = dtype, .nd = nd, .needs_grad = true};
    p->grad = (hm_tensor){.dtype = HM_F32, .nd = nd};
    for (int i = 0; i < nd; i++) p->work.dim[i] = p->grad.dim[i] = dim[i];
    p->work.data = calloc(p->n, hm_dtype_size(dtype));
    p->grad.data = calloc(p->n, sizeof(float));
    p->master = calloc(p->n, sizeof(float));
    p->ema = calloc(p->n, sizeof(float));
    p->m = calloc(p->n, sizeof(float));
    p->v = p->kind == HM_OPT_ADAMW ? calloc(p->n, sizeof(float)) : NULL;
    p->work.grad = &p->grad;
    if (p->work.data && p->grad.data && p->master && p->ema && p->m && (p->v || p->kind != HM_OPT_ADAMW)) return p;
    param_free(p);
    return NULL;
}

himmel_status hm_params_bind(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot,
                             himmel_error *err)
{
    hm_params *ps = user;
    if (ps->n == ps->cap) {
        const size_t cap = ps->cap ? 2 * ps->cap : 64;
        hm_param **grown = realloc(ps->p, cap * sizeof *grown);
        if (!grown) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for %zu parameters", cap);
        ps->p = grown;
        ps->cap = cap;
    }
    hm_param *p = param_new(name, nd, dim, ps->dtype);
    if (!p) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for parameter %s", name);
    const hm_tensor *old = ps->from ? hm_st_find(ps->from, name) : NULL;
    bool same = old && old->nd == nd;
    for (int i = 0; same && i < nd; i++) same = old->dim[i] == dim[i];
    if (same)
        hm_convert(p->master, HM_F32, old->data, old->dtype, p->n);
    else
        fresh_values(p, nd, dim, ps->seed);
    memcpy(p->ema, p->master, p->n * sizeof(float));
    hm_convert(p->work.data, ps->dtype, p->master, HM_F32, p->n);
    ps->p[ps->n++] = p;
    *slot = &p->work;
    return HIMMEL_OK;
}

void hm_params_slow(hm_param *p, float lr_scale)
{
    p->lr_scale = lr_scale;
    if (lr_scale > 0) return;
    p->kind = HM_OPT_FROZEN;
    p->work.needs_grad = false;
    p->work.grad = NULL;
}

hm_param *hm_params_find(const hm_params *ps, const char *name)
{
    for (size_t i = 0; i < ps->n; i++)
        if (!strcmp(ps->p[i]->name, name)) return ps->p[i];
    return NULL;
}

size_t hm_params_count(const hm_params *ps)
{
    size_t n = 0;
    for (size_t i = 0; i < ps->n; i++) n += ps->p[i]->n;
    return n;
}

void hm_params_zero_grad(hm_params *ps)
{
#pragma omp parallel for schedule(dynamic, 4)
    for (size_t i = 0; i < ps->n; i++) memset(ps->p[i]->grad.data, 0, ps->p[i]->n * sizeof(float));
}

void hm_params_sync(hm_params *ps) { hm_params_use_ema(ps, false); }

void hm_params_use_ema(hm_params *ps, bool ema)
{
    for (size_t i = 0; i < ps->n; i++) {
        hm_param *p = ps->p[i];
        hm_convert(p->work.data, p->work.dtype, ema ? p->ema : p->master, HM_F32, p->n);
    }
}

himmel_status hm_params_export(hm_params *ps, hm_st_writer *w, hm_dtype dtype, himmel_error *err)
{
    for (size_t i = 0; i < ps->n; i++) {
        hm_param *p = ps->p[i];
        if (has(p->name, HM_TRAIN_ONLY)) continue;
        const void *data = p->ema; /* f32: written as it is */
        if (dtype != HM_F32) {     /* the working copy is the buffer; it holds dtype only if they agree */
            if (p->work.dtype != dtype)
                return hm_fail(err, HIMMEL_EINVAL, "%s: working copies are %s, asked to export %s", p->name,
                               hm_dtype_name(p->work.dtype), hm_dtype_name(dtype));
            hm_convert(p->work.data, dtype, p->ema, HM_F32, p->n);
            data = p->work.data; /* the caller syncs after writing */
        }
        const himmel_status rc = hm_st_add(w, p->name, dtype, p->work.nd, p->work.dim, data, err);
        if (rc) return rc;
    }
    return HIMMEL_OK;
}

static const char *const SUFFIX[] = {"", ".ema", ".m", ".v"};
static float *state_of(const hm_param *p, int k) { return k == 0 ? p->master : k == 1 ? p->ema : k == 2 ? p->m : p->v; }

himmel_status hm_params_save(const hm_params *ps, hm_st_writer *w, himmel_error *err)
{
    for (size_t i = 0; i < ps->n; i++)
        for (int k = 0; k < 4; k++) {
            const hm_param *p = ps->p[i];
            char name[176];
            snprintf(name, sizeof name, "%s%s", p->name, SUFFIX[k]);
            if (!state_of(p, k)) continue;
            const himmel_status rc = hm_st_add(w, name, HM_F32, p->work.nd, p->work.dim, state_of(p, k), err);
            if (rc) return rc;
        }
    return HIMMEL_OK;
}

himmel_status hm_params_restore(hm_params *ps, const hm_st *st, himmel_error *err)
{
    for (size_t i = 0; i < ps->n; i++)
        for (int k = 0; k < 4; k++) {
            hm_param *p = ps->p[i];
            char name[176];
            const hm_tensor *t;
            snprintf(name, sizeof name, "%s%s", p->name, SUFFIX[k]);
            if (!state_of(p, k) || p->kind == HM_OPT_FROZEN) continue;
            const himmel_status rc = hm_st_need(st, name, p->work.nd, p->work.dim, &t, err);
            if (rc) return rc;
            hm_convert(state_of(p, k), HM_F32, t->data, t->dtype, p->n);
        }
    hm_params_sync(ps);
    return HIMMEL_OK;
}
