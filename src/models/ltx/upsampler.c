/* upsampler.c - latents at twice the size or frame rate.   SPDX-License-Identifier: MIT
 *   conv, norm, silu -> residual blocks -> conv, pixel shuffle -> residual blocks -> conv
 * Traps: a block ends in silu(norm(conv) + x); dims 2 normalizes each frame by itself; enlarging in space
 * alone is a 2-D convolution even where dims is 3; enlarging in time drops the first frame. */
#include "models/ltx/upsampler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "models/ltx/vae_ops.h"

enum { GROUPS = 32, MAX_BLOCKS = 32 };

/* ---- configuration and tensors ---- */

typedef struct {
    const hm_st *st;
    himmel_error *err;
} loader;

static himmel_status bind(const loader *l, const char *name, const char *part, int nd, const int64_t *dim,
                          hm_tensor **slot)
{
    char full[128];
    const hm_tensor *t;
    snprintf(full, sizeof full, "%s.%s", name, part);
    const himmel_status rc = hm_st_need(l->st, full, nd, dim, &t, l->err);
    if (rc) return rc;
    if (t->dtype > HM_F8E4M3)
        return hm_fail(l->err, HIMMEL_EMODEL, "%s: tensor \"%.100s\" is %s, not a weight", hm_st_path(l->st),
                       full, hm_dtype_name(t->dtype));
    *slot = (hm_tensor *)(uintptr_t)t; /* read only */
    return HIMMEL_OK;
}

static himmel_status bind_conv(const loader *l, const char *name, int dims, int64_t out, int64_t in,
                               hm_ups_layer *c)
{
    const himmel_status rc = bind(l, name, "weight", 2 + dims, (int64_t[]){out, in, 3, 3, 3}, &c->w);
    return rc ? rc : bind(l, name, "bias", 1, &out, &c->b);
}

static himmel_status bind_norm(const loader *l, const char *name, int64_t n, hm_ups_layer *c)
{
    const himmel_status rc = bind(l, name, "weight", 1, &n, &c->w);
    return rc ? rc : bind(l, name, "bias", 1, &n, &c->b);
}

static himmel_status bind_blocks(const loader *l, const char *list, const hm_upsampler *m, hm_ups_res *blocks)
{
    himmel_status rc = HIMMEL_OK;
    for (int i = 0; i < m->n_blocks && !rc; i++) {
        char name[100];
        hm_ups_res *b = &blocks[i];
        snprintf(name, sizeof name, "%s.%d.conv1", list, i);
        rc = bind_conv(l, name, m->dims, m->mid, m->mid, &b->conv1);
        snprintf(name, sizeof name, "%s.%d.conv2", list, i);
        if (!rc) rc = bind_conv(l, name, m->dims, m->mid, m->mid, &b->conv2);
        snprintf(name, sizeof name, "%s.%d.norm1", list, i);
        if (!rc) rc = bind_norm(l, name, m->mid, &b->norm1);
        snprintf(name, sizeof name, "%s.%d.norm2", list, i);
        if (!rc) rc = bind_norm(l, name, m->mid, &b->norm2);
    }
    return rc;
}

static himmel_status parse(hm_upsampler *m, const json_t *o, himmel_error *err)
{
    const char *class = json_string_value(json_object_get(o, "_class_name"));
    int64_t channels = 4, mid = 128, blocks = 4, dims = 2;
    m->space = true;
    if (!class || strcmp(class, "LatentUpsampler"))
        return hm_fail(err, HIMMEL_EMODEL, "upsampler: the header is of \"%.40s\", not of a LatentUpsampler",
                       class ? class : "");
    himmel_status rc = hm_json_int(o, "in_channels", "upsampler", (int64_t[2]){1, 1024}, &channels, err);
    if (!rc) rc = hm_json_int(o, "mid_channels", "upsampler", (int64_t[2]){GROUPS, 2048}, &mid, err);
    if (!rc)
        rc = hm_json_int(o, "num_blocks_per_stage", "upsampler", (int64_t[2]){1, MAX_BLOCKS}, &blocks, err);
    if (!rc) rc = hm_json_int(o, "dims", "upsampler", (int64_t[2]){2, 3}, &dims, err);
    if (!rc) rc = hm_json_bool(o, "spatial_upsample", "upsampler", &m->space, err);
    if (!rc) rc = hm_json_bool(o, "temporal_upsample", "upsampler", &m->time, err);
    if (rc) return rc;
    if (mid % GROUPS || (!m->space && !m->time) || (m->time && dims == 2))
        return hm_fail(err, HIMMEL_EMODEL,
                       "upsampler: %lld channels inside, %lld dimensions, enlarging in %s do not go together",
                       (long long)mid, (long long)dims,
                       m->time    ? "time"
                       : m->space ? "space"
                                  : "nothing");
    m->channels = (int)channels, m->mid = (int)mid, m->n_blocks = (int)blocks, m->dims = (int)dims;
    return HIMMEL_OK;
}

static himmel_status bind_all(hm_upsampler *m, const loader *l)
{
    m->before = calloc((size_t)m->n_blocks, sizeof *m->before);
    m->after = calloc((size_t)m->n_blocks, sizeof *m->after);
    if (!m->before || !m->after) return hm_fail(l->err, HIMMEL_ENOMEM, "upsampler: out of memory");
    const int factor = (m->space ? 4 : 1) * (m->time ? 2 : 1);
    himmel_status rc = bind_conv(l, "initial_conv", m->dims, m->mid, m->channels, &m->first);
    if (!rc) rc = bind_norm(l, "initial_norm", m->mid, &m->norm);
    if (!rc) rc = bind_blocks(l, "res_blocks", m, m->before);
    if (!rc) rc = bind_conv(l, "upsampler.0", m->time ? 3 : 2, (int64_t)factor * m->mid, m->mid, &m->up);
    if (!rc) rc = bind_blocks(l, "post_upsample_res_blocks", m, m->after);
    if (!rc) rc = bind_conv(l, "final_conv", m->dims, m->channels, m->mid, &m->last);
    return rc;
}

himmel_status hm_upsampler_load(hm_upsampler *m, const hm_st *st, const char *config, himmel_error *err)
{
    *m = (hm_upsampler){0};
    json_t *root;
    himmel_status rc = hm_json_parse(&root, config, strlen(config), "upsampler", err);
    if (rc) return rc;
    rc = parse(m, root, err);
    json_decref(root);
    if (!rc) rc = bind_all(m, &(loader){st, err});
    if (rc) hm_upsampler_deinit(m);
    return rc;
}

void hm_upsampler_deinit(hm_upsampler *m)
{
    free(m->before);
    free(m->after);
    *m = (hm_upsampler){0};
}

/* ---- forward ---- */

typedef struct {
    hm_graph *g;
    const hm_upsampler *m;
    void (*on_tensor)(void *user, const char *name, const hm_tensor *t);
    void *user;
} fwd;

static void show(const fwd *f, const char *name, const hm_tensor *t)
{
    if (f->on_tensor) f->on_tensor(f->user, name, t);
}

/* 3-D, or 2-D over the frames as a batch; zeros around. */
static hm_tensor *conv(hm_graph *g, hm_tensor *x, const hm_ups_layer *c)
{
    const hm_conv_opts o = {.pad = {1, 1, 1}, .w_oik = true};
    if (c->w->nd == 5) return hm_conv(g, x, c->w, c->b, &o);
    hm_tensor *y =
        hm_conv(g, hm_reshape(g, x, HM_DIMS(x->dim[1], x->dim[2], x->dim[3], x->dim[4])), c->w, c->b, &o);
    return hm_reshape(g, y, HM_DIMS(1, y->dim[0], y->dim[1], y->dim[2], y->dim[3]));
}

static void norm_silu(const fwd *f, hm_tensor *x, const hm_ups_layer *n, const hm_tensor *skip)
{
    const hm_tensor *w = hm_cast(f->g, n->w, HM_F32), *b = hm_cast(f->g, n->b, HM_F32);
    hm_group_norm_silu(f->g, x, w->data, b->data, GROUPS, f->m->dims == 2, skip);
}

static hm_tensor *blocks(const fwd *f, const hm_ups_res *list, const char *first, hm_tensor *x)
{
    hm_graph *g = f->g;
    for (int i = 0; i < f->m->n_blocks; i++) {
        const hm_mark mark = hm_save(g);
        hm_tensor *h = conv(g, x, &list[i].conv1);
        if (!i && !strcmp(first, "res0")) show(f, "res0.conv1", h);
        norm_silu(f, h, &list[i].norm1, NULL);
        h = conv(g, h, &list[i].conv2);
        norm_silu(f, h, &list[i].norm2, x);
        x = hm_settle(g, mark, x, h);
        if (!i) show(f, first, x);
    }
    return x;
}

hm_tensor *hm_upsampler_forward(hm_graph *g, const hm_upsampler *m, hm_tensor *x,
                                void (*on_tensor)(void *user, const char *name, const hm_tensor *t),
                                void *user)
{
    const fwd f = {g, m, on_tensor, user};
    x = conv(g, hm_cast(g, x, hm_act(g)), &m->first);
    show(&f, "initial_conv", x);
    norm_silu(&f, x, &m->norm, NULL);
    x = blocks(&f, m->before, "res0", x);
    x = conv(g, x, &m->up);
    show(&f, "upsampler.conv", x);
    const int p[3] = {m->time ? 2 : 1, m->space ? 2 : 1, m->space ? 2 : 1};
    x = hm_depth_to_space(g, x, NULL, p, m->time);
    show(&f, "post_in", x);
    x = blocks(&f, m->after, "post0", x);
    return conv(g, x, &m->last);
}
