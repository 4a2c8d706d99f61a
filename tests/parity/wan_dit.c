/* wan_dit.c - Wan's transformers against the original, stage by stage.   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "formats/json.h"
#include "models/wan/dit.h"
#include "wan.h"

typedef struct {
    parity *p;            /* what is compared with */
    const parity *inputs; /* the same, or the file that it belongs to */
    const char *name;
    bool stages;
} wan_case;

static const hm_tensor *find(const parity *p, const char *side, const char *name, const char *what)
{
    char full[200];
    snprintf(full, sizeof full, "%s.%s.%s", side, name, what);
    return hm_st_find(p->st, full);
}

static const float *data(const hm_tensor *t) { return t && t->dtype == HM_F32 ? t->data : NULL; }

/* Every stage that the file has. */
static void check(void *user, const char *what, const hm_tensor *t)
{
    const wan_case *c = user;
    char name[200];
    snprintf(name, sizeof name, "out.%s.%s", c->name, what);
    if (!hm_st_find(c->p->st, name)) return;
    const double tol = !strcmp(what, "b0.cross_txt_raw") ? 5e-5 : 2e-5;
    parity_compare(c->p, name, t->data, hm_numel(t), tol * parity_scale(c->p, name));
}

/* The reference constructor's arguments; sizes that the weights show are read from them. */
himmel_status wan_configure(const parity *p, hm_wan_config *cfg, himmel_error *err)
{
    const char *text = hm_st_meta(p->st, "config");
    json_t *o;
    hm_wan_names names;
    char prefix[64];
    himmel_status rc = text ? hm_json_parse(&o, text, strlen(text), "config", err) : hm_fail(err, HIMMEL_EFORMAT, "no config");
    if (rc) return rc;
    rc = hm_wan_detect(p->st, cfg, &names, prefix, err);
    const json_t *init = json_object_get(o, "init");
    cfg->n_heads = (int)json_integer_value(json_object_get(init, "num_heads"));
    cfg->text_len = (int)json_integer_value(json_object_get(init, "text_len"));
    json_decref(o);
    return rc;
}

/* t as distinct levels and rows: one level, or one a token. */
static int levels(const hm_tensor *t, int64_t tokens, float **level, int32_t **row)
{
    const int n = (int)hm_numel(t);
    *level = malloc((size_t)n * sizeof **level);
    *row = malloc((size_t)tokens * sizeof **row);
    if (!*level || !*row) return 0;
    for (int i = 0; i < n; i++)
        (*level)[i] = t->dtype == HM_I64 ? (float)((const int64_t *)t->data)[i] : ((const float *)t->data)[i];
    for (int64_t i = 0; i < tokens; i++) (*row)[i] = n == tokens ? (int32_t)i : 0;
    return n;
}

static himmel_status run_case(wan_case *c, hm_graph *g, const hm_wan *m, const char *as, himmel_error *err)
{
    const parity *p = c->inputs;
    const hm_tensor *x = find(p, "in", c->name, "x"), *t = find(p, "in", c->name, "t"), *text = find(p, "in", c->name, "context"),
                    *clip = find(p, "in", c->name, "clip_fea"), *vace = find(p, "in", c->name, "vace_context"),
                    *scale = find(p, "in", c->name, "scale");
    if (!x || !t || !text) return hm_fail(err, HIMMEL_EFORMAT, "case %s lacks an input", c->name);
    hm_wan_input in = {.x = data(x), .y = data(find(p, "in", c->name, "y")), .T = (int)x->dim[1], .H = (int)x->dim[2],
                       .W = (int)x->dim[3], .text = data(text), .n_text = (int)text->dim[0], .clip = data(clip),
                       .n_clip = clip ? (int)(clip->dim[0] * clip->dim[1]) : 0, .vace = data(vace),
                       .vace_scale = scale ? data(scale)[0] : 1, .on_tensor = c->stages ? check : NULL, .user = c};
    float *level, *out = malloc((size_t)hm_numel(x) * sizeof *out);
    int32_t *row;
    in.n_levels = levels(t, hm_wan_tokens(&m->cfg, &in), &level, &row);
    in.levels = level;
    in.row = row;
    himmel_status rc = out && in.n_levels ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    if (!rc) {
        hm_graph_reset(g);
        hm_wan_forward(g, m, &in, out);
        parity_compare(c->p, as, out, hm_numel(x), 2e-5 * parity_scale(c->p, as));
    }
    free(level);
    free(row);
    free(out);
    return rc;
}

himmel_status wan_pred(parity *p, const parity *inputs, hm_graph *g, const hm_wan *m, const char *as, himmel_error *err)
{
    wan_case c = {p, inputs, "a", false};
    return run_case(&c, g, m, as, err);
}

himmel_status parity_wan_dit(parity *p, himmel_error *err)
{
    hm_wan_config cfg;
    hm_wan m = {0};
    hm_graph *g = NULL;
    json_t *cases = NULL;
    const char *text = hm_st_meta(p->st, "cases");
    himmel_status rc = wan_configure(p, &cfg, err);
    if (!rc) rc = text ? hm_json_parse(&cases, text, strlen(text), "cases", err) : hm_fail(err, HIMMEL_EFORMAT, "no cases");
    if (!rc) rc = hm_wan_load(&m, &cfg, p->st, err);
    if (!rc) rc = hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32}, err);
    for (size_t i = 0; i < json_array_size(cases) && !rc; i++) {
        char as[200];
        wan_case c = {p, p, json_string_value(json_array_get(cases, i)), true};
        snprintf(as, sizeof as, "out.%s.pred", c.name);
        rc = run_case(&c, g, &m, as, err);
    }
    hm_graph_free(g);
    hm_wan_deinit(&m);
    json_decref(cases);
    return rc;
}
