/* wan_gguf.c - GGUF files: values bit for bit, then models that run from them.   SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "text/t5.h"
#include "wan.h"

/* Every tensor of the fixture that the GGUF file has too: equal. */
static himmel_status values(parity *p, const hm_st *gguf, himmel_error *err)
{
    for (size_t i = 0; i < hm_st_count(p->st); i++) {
        const char *name;
        const hm_tensor *want = hm_st_at(p->st, i, &name), *t = hm_st_find(gguf, name);
        if (!t) continue;
        const int64_t n = hm_numel(t);
        float *got = malloc((size_t)n * sizeof *got);
        if (!got) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
        hm_convert(got, HM_F32, t->data, t->dtype, (size_t)n);
        const bool same = n == hm_numel(want) && !memcmp(got, want->data, (size_t)n * sizeof *got);
        free(got);
        parity_note(p, name, same ? 0 : INFINITY, 1);
    }
    return HIMMEL_OK;
}

static himmel_status transformer(parity *p, hm_graph *g, const char *file, const char *as, himmel_error *err)
{
    hm_st *gguf = NULL, *base = NULL;
    hm_wan m = {0};
    hm_wan_config cfg;
    parity inputs = {0};
    himmel_status rc = wan_sibling(p, file, &gguf, err);
    if (!rc) rc = wan_sibling(p, "wan21_t2v_dit.safetensors", &base, err);
    inputs.st = base;
    if (!rc) rc = wan_configure(&inputs, &cfg, err);
    if (!rc) rc = hm_wan_load(&m, &cfg, gguf, err);
    if (!rc) rc = wan_pred(p, &inputs, g, &m, as, err);
    if (!rc && strstr(file, "mixed")) rc = values(p, gguf, err);
    hm_wan_deinit(&m);
    hm_st_close(gguf);
    hm_st_close(base);
    return rc;
}

static himmel_status encoder(parity *p, hm_graph *g, himmel_error *err)
{
    hm_st *gguf = NULL, *base = NULL;
    hm_t5 m = {0};
    hm_t5_config cfg;
    himmel_status rc = wan_sibling(p, "umt5_tiny_f16.gguf", &gguf, err);
    if (!rc) rc = wan_sibling(p, "umt5_tiny.safetensors", &base, err);
    if (!rc) rc = hm_t5_detect(&cfg, gguf, "", err);
    if (!rc) rc = hm_t5_load(&m, &cfg, gguf, "", err);
    const hm_tensor *ids = rc ? NULL : hm_st_find(base, "in.a.ids"), *mask = rc ? NULL : hm_st_find(base, "in.a.mask");
    if (!rc && (!ids || !mask || ids->dtype != HM_I64)) rc = hm_fail(err, HIMMEL_EFORMAT, "no ids");
    if (!rc) {
        int32_t i32[512], m32[512];
        int64_t n = 0, rows = 0;
        for (; n < HM_MIN(hm_numel(ids), (int64_t)512); n++) {
            i32[n] = (int32_t)((const int64_t *)ids->data)[n];
            m32[n] = (int32_t)((const int64_t *)mask->data)[n];
            rows += m32[n];
        }
        hm_graph_reset(g);
        const hm_tensor *h = hm_t5_forward(g, &m, i32, m32, 1, n);
        const char *as = "out.umt5_f16.a.hidden";
        parity_compare(p, as, h->data, rows * cfg.d_model, 2e-5 * parity_scale(p, as));
    }
    hm_t5_deinit(&m);
    hm_st_close(gguf);
    hm_st_close(base);
    return rc;
}

himmel_status parity_wan_gguf(parity *p, himmel_error *err)
{
    hm_graph *g = NULL;
    hm_st *gguf = NULL;
    himmel_status rc = hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32}, err);
    if (!rc && hm_st_find(p->st, "q4_k")) {
        rc = wan_sibling(p, "gguf_all_types.gguf", &gguf, err);
        if (!rc) rc = values(p, gguf, err);
    } else if (!rc) {
        rc = transformer(p, g, "wan21_t2v_dit_f16.gguf", "out.f16.a.pred", err);
        if (!rc) rc = transformer(p, g, "wan21_t2v_dit_mixed.gguf", "out.mixed.a.pred", err);
        if (!rc) rc = encoder(p, g, err);
    }
    hm_st_close(gguf);
    hm_graph_free(g);
    return rc;
}
