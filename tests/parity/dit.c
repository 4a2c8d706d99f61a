/* dit.c - LTX's transformer and its RoPE tables against the original.   SPDX-License-Identifier: MIT
 * Each case runs twice where it stores its RoPE tables: with those fed in (tight tolerance, if our sinusoids
 * of the timestep are the original's float32 ones), and with our own tables, formed in double. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "formats/json.h"
#include "models/ltx/dit.h"
#include "parity.h"

#define FIND(...) find(p, __VA_ARGS__)
static const hm_tensor *find(const parity *p, const char *side, const char *name, const char *what)
{
    char full[200];
    snprintf(full, sizeof full, "%s.%s.%s", side, name, what);
    return hm_st_find(p->st, full);
}

typedef struct {
    parity *p;
    const char *name;
    int n_layers;
    bool ideal; /* rotary angles are ours */
} dit_case;

/* The timestep's own tensors: an ulp of its frequencies is 3e-5 of an angle of 1000; what follows hardly
 * feels it. */
static bool of_time(const char *what)
{
    return !strcmp(what, "time_proj") || !strcmp(what, "embedded_timestep") || !strcmp(what, "adaln");
}

static void check(void *user, const char *what, const hm_tensor *t)
{
    const dit_case *c = user;
    char full[200], last[16];
    snprintf(last, sizeof last, "b%d", c->n_layers - 1);
    if (!strcmp(what, last))
        what = "b1"; /* the fixtures' name for the last block */
    else if (!strcmp(what, "b1"))
        return;
    snprintf(full, sizeof full, "out.%s.%s", c->name, what);
    if (!hm_st_find(c->p->st, full)) return;
    parity_compare(c->p, full, t->data, hm_numel(t), parity_tol(c->p, full, c->ideal || of_time(what)));
}

/* Timesteps [B,1] or [B,N] as one level each, and which one each token has. */
static int32_t *rows_of(const hm_tensor *t, int64_t B, int64_t N)
{
    int32_t *row = malloc((size_t)(B * N) * sizeof *row);
    for (int64_t i = 0; i < B * N && row; i++) row[i] = (int32_t)(hm_numel(t) == B ? i / N : i);
    return row;
}

/* Tables [B,N,D/2]: the stored ones (every second value; channels of a pair are the same), or ours. */
static bool tables(hm_graph *g, const parity *p, const hm_dit_config *cfg, const dit_case *c,
                   hm_tensor *out[2])
{
    const hm_tensor *grid = FIND("in", c->name, "indices_grid");
    const hm_tensor *stored[2] = {FIND("out", c->name, "rope_cos"), FIND("out", c->name, "rope_sin")};
    const int64_t B = grid->dim[0], N = grid->dim[2], half = (int64_t)cfg->n_heads * cfg->head_dim / 2;
    for (int i = 0; i < 2; i++) out[i] = hm_new(g, HM_F32, HM_DIMS(B, N, half));
    if (!c->ideal) {
        for (int i = 0; i < 2; i++)
            for (int64_t j = 0; j < B * N * half; j++)
                ((float *)out[i]->data)[j] = ((const float *)stored[i]->data)[2 * j];
        return true;
    }
    double(*pos)[3] = malloc((size_t)(B * N) * sizeof *pos);
    if (!pos) return false;
    for (int64_t b = 0; b < B; b++)
        for (int64_t a = 0; a < 3; a++)
            for (int64_t n = 0; n < N; n++)
                pos[b * N + n][a] = ((const float *)grid->data)[(b * 3 + a) * N + n];
    hm_dit_rope(cfg, (const double(*)[3])pos, B * N, out[0]->data, out[1]->data);
    free(pos);
    return true;
}

static int stg_mode(const char *name)
{
    return strstr(name, "AttentionValues")    ? HM_STG_ATTENTION_VALUES
           : strstr(name, "AttentionSkip")    ? HM_STG_ATTENTION_SKIP
           : strstr(name, "TransformerBlock") ? HM_STG_BLOCK
                                              : HM_STG_NONE;
}

static himmel_status run_case(hm_graph *g, const hm_dit *m, dit_case *c, himmel_error *err)
{
    const parity *p = c->p;
    const hm_tensor *x = FIND("in", c->name, "hidden_states"),
                    *text = FIND("in", c->name, "encoder_hidden_states"),
                    *mask = FIND("in", c->name, "encoder_attention_mask"),
                    *t = FIND("in", c->name, "timestep"),
                    *skip = FIND("in", c->name, "skip_layer_mask"); /* [layers,B]: 0 = perturbed */
    if (!x || !text || !mask || !t || !FIND("in", c->name, "indices_grid"))
        return hm_fail(err, HIMMEL_EFORMAT, "case %s lacks an input", c->name);
    const int64_t B = x->dim[0], N = x->dim[1];
    hm_graph_reset(g);
    hm_tensor *rope[2], *text_mask = hm_new(g, HM_F32, mask->nd, mask->dim);
    int32_t *row = rows_of(t, B, N);
    if (!row || !tables(g, p, &m->cfg, c, rope)) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    for (int64_t i = 0; i < hm_numel(mask); i++)
        ((float *)text_mask->data)[i] = ((const int64_t *)mask->data)[i] ? 0.0f : -10000.0f;
    uint64_t layers = 0;
    for (int64_t l = 0; skip && l < skip->dim[0]; l++)
        for (int64_t b = 0; b < B; b++)
            if (((const float *)skip->data)[l * B + b] == 0.0f) layers |= (uint64_t)1 << l;
    const hm_dit_input in = {.x = (hm_tensor *)(uintptr_t)x,
                             .text = (hm_tensor *)(uintptr_t)text,
                             .levels = t->data,
                             .n_levels = hm_numel(t),
                             .row = row,
                             .cosine = rope[0],
                             .sine = rope[1],
                             .text_mask = text_mask,
                             .stg_layers = layers,
                             .stg_mode = stg_mode(c->name),
                             .stg_keep = skip ? (const float *)skip->data + (skip->dim[0] - 1) * B : NULL,
                             .on_tensor = check,
                             .user = c};
    hm_dit_forward(g, m, &in);
    free(row);
    return HIMMEL_OK;
}

himmel_status parity_dit(parity *p, himmel_error *err)
{
    const char *json = hm_st_meta(p->st, "config"), *name;
    hm_dit_config cfg;
    hm_dit m = {0};
    hm_graph *g = NULL;
    json_t *value;
    himmel_status rc =
        json ? hm_dit_config_parse(&cfg, json, err) : hm_fail(err, HIMMEL_EFORMAT, "no configuration");
    if (!rc) rc = hm_dit_load(&m, &cfg, p->st, "model.diffusion_model.", err);
    if (!rc) rc = hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32}, err);
    json_object_foreach(p->cases, name, value)
    {
        const bool stored = FIND("out", name, "rope_cos") != NULL;
        for (int ideal = !stored; ideal < 2 && !rc; ideal++) {
            dit_case c = {p, name, cfg.n_layers, ideal};
            rc = run_case(g, &m, &c, err);
        }
    }
    hm_graph_free(g);
    hm_dit_deinit(&m);
    return rc;
}

/* Ours against the original's float32 tables (loosely: those carry the noise) and the ideal ones (tightly:
 * those were formed from whole pixel coordinates, time / frame rate in double). */
static himmel_status rope_width(parity *p, const hm_dit_config *base, int width, himmel_error *err)
{
    const hm_tensor *grid = hm_st_find(p->st, "in.pixel_coords"); /* [1,3,N] i32 */
    const double fps = json_number_value(json_object_get(p->cases, "frame_rate"));
    const int64_t N = grid->dim[2], half = width / 2;
    hm_dit_config cfg = *base;
    cfg.n_heads = 1;
    cfg.head_dim = width;
    double(*pos)[3] = malloc((size_t)N * sizeof *pos);
    float *table = malloc((size_t)(2 * N * half) * sizeof *table),
          *full = malloc((size_t)(N * width) * sizeof *full);
    himmel_status rc = pos && table && full ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    for (int64_t i = 0; i < 3 * N && !rc; i++)
        pos[i % N][i / N] = ((const int32_t *)grid->data)[i] / (i < N ? fps : 1.0);
    if (!rc) hm_dit_rope(&cfg, (const double(*)[3])pos, N, table, table + N * half);
    for (int i = 0; i < 4 && !rc; i++) {
        char name[80];
        snprintf(name, sizeof name, "out.%d.%s%s", width, i / 2 ? "sin" : "cos", i % 2 ? "_ideal" : "");
        for (int64_t j = 0; j < N * width; j++) full[j] = table[i / 2 * N * half + j / 2];
        parity_compare(p, name, full, N * width, i % 2 ? 2e-6 : parity_tol(p, name, true));
    }
    free(pos);
    free(table);
    free(full);
    return rc;
}

himmel_status parity_rope(parity *p, himmel_error *err)
{
    hm_dit_config cfg = {.max_pos = {20, 2048, 2048},
                         .rope_theta = json_number_value(json_object_get(p->cases, "theta"))};
    himmel_status rc = HIMMEL_OK;
    const char *width;
    json_t *value;
    if (!hm_st_find(p->st, "in.pixel_coords")) return hm_fail(err, HIMMEL_EFORMAT, "no positions");
    json_object_foreach(json_object_get(p->cases, "widths"), width, value)
    {
        if (!rc) rc = rope_width(p, &cfg, atoi(width), err);
    }
    return rc;
}
