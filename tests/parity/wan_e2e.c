/* wan_e2e.c - Wan's pipelines from token ids and noise to pixels, against the original.   SPDX-License-Identifier: MIT
 * Image and video conditions (y, CLIP tokens, VACE context, the still's latent) are taken as stored. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "formats/json.h"
#include "models/wan/sample.h"
#include "models/wan/vace.h"
#include "models/wan/vae.h"
#include "text/t5.h"
#include "wan.h"

typedef struct {
    parity *p;
    hm_graph *g;
    hm_st *file[6];
    int n_files;
    hm_t5 t5;
    hm_wan dit[2];
    int n_dits;
    hm_wan_vae *vae;
    float *text[2];       /* prompt, negative */
    int rows[2];
    float *video;         /* [T,H,W,3] so far */
    int64_t frames, H, W;
} e2e;

static const hm_tensor *find(const e2e *e, const char *name) { return hm_st_find(e->p->st, name); }
static const float *data(const e2e *e, const char *name)
{
    const hm_tensor *t = find(e, name);
    return t && t->dtype == HM_F32 ? t->data : NULL;
}
static double number(const e2e *e, const char *key, double absent)
{
    const char *s = hm_st_meta(e->p->st, key);
    return s ? atof(s) : absent;
}

static himmel_status load(e2e *e, himmel_error *err)
{
    const char *text = hm_st_meta(e->p->st, "weights");
    json_t *list = NULL;
    himmel_status rc = text ? hm_json_parse(&list, text, strlen(text), "weights", err) : hm_fail(err, HIMMEL_EFORMAT, "no weights");
    for (size_t i = 0; i < json_array_size(list) && !rc && e->n_files < 6; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        char path[128];
        hm_t5_config t5;
        hm_wan_config cfg;
        snprintf(path, sizeof path, "%s.safetensors", name);
        if (strstr(name, "clip")) continue; /* its tokens are stored */
        rc = wan_sibling(e->p, path, &e->file[e->n_files], err);
        if (rc) break;
        hm_st *st = e->file[e->n_files++];
        if (strstr(name, "umt5")) {
            rc = hm_t5_detect(&t5, st, "", err);
            if (!rc) rc = hm_t5_load(&e->t5, &t5, st, "", err);
        } else if (strstr(name, "vae")) {
            rc = hm_wan_vae_load(&e->vae, st, err);
        } else if (e->n_dits < 2) {
            rc = wan_configure(&(parity){.st = st}, &cfg, err);
            if (!rc) rc = hm_wan_load(&e->dit[e->n_dits], &cfg, st, err);
            e->n_dits += !rc;
        }
    }
    json_decref(list);
    if (!rc && (!e->t5.layers || !e->n_dits || !e->vae)) rc = hm_fail(err, HIMMEL_EFORMAT, "a model is missing");
    return rc;
}

static himmel_status encode(e2e *e, int which, himmel_error *err)
{
    const char *name = which ? "negative" : "prompt";
    char at[64];
    int32_t id[512], mask[512];
    snprintf(at, sizeof at, "in.%s.ids", name);
    const hm_tensor *ids = find(e, at);
    snprintf(at, sizeof at, "in.%s.mask", name);
    const hm_tensor *m = find(e, at);
    if (!ids || !m || ids->dtype != HM_I64 || m->dtype != HM_I64 || hm_numel(ids) > 512) return hm_fail(err, HIMMEL_EFORMAT, "no ids");
    const int64_t n = hm_numel(ids), width = e->t5.cfg.d_model;
    for (int64_t i = 0; i < n; i++) {
        id[i] = (int32_t)((const int64_t *)ids->data)[i];
        mask[i] = (int32_t)((const int64_t *)m->data)[i];
        e->rows[which] += mask[i];
    }
    hm_graph_reset(e->g);
    const hm_tensor *h = hm_t5_forward(e->g, &e->t5, id, mask, 1, n);
    const size_t bytes = (size_t)(e->rows[which] * width) * sizeof(float);
    if (!(e->text[which] = malloc(bytes))) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    memcpy(e->text[which], h->data, bytes);
    snprintf(at, sizeof at, "out.%s.context", name);
    parity_compare(e->p, at, e->text[which], e->rows[which] * width, 2e-5 * parity_scale(e->p, at));
    return HIMMEL_OK;
}

/* The latent that enters a step. */
static int on_step(void *user, int step, int steps, const float *x)
{
    const e2e *e = user;
    const hm_tensor *t = find(e, "out.x_in");
    double worst = 0;
    if (!t || t->dim[0] != steps) return 1;
    const int64_t n = hm_numel(t) / steps;
    for (int64_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)x[i] - ((const float *)t->data)[step * n + i]));
    char name[32];
    snprintf(name, sizeof name, "out.x_in[%d]", step);
    parity_note(e->p, name, worst, 5e-5 * parity_scale(e->p, "out.x_in"));
    return 0;
}

static int on_frames(void *user, const float *rgb, int n, int H, int W)
{
    e2e *e = user;
    const size_t one = (size_t)H * (size_t)W * 3 * sizeof(float);
    float *more = realloc(e->video, (size_t)(e->frames + n) * one);
    if (!more) return 1;
    memcpy((char *)more + (size_t)e->frames * one, rgb, (size_t)n * one);
    e->video = more;
    e->frames += n;
    e->H = H, e->W = W;
    return 0;
}

static himmel_status decode(e2e *e, const float *latent, const int size[3], himmel_error *err)
{
    himmel_status rc = hm_wan_vae_decode(e->vae, e->g, latent, size, &(hm_wan_vae_sink){.on_frames = on_frames, .user = e}, err);
    const int64_t T = e->frames, hw = e->H * e->W;
    float *planar = rc ? NULL : malloc((size_t)(T * hw * 3) * sizeof *planar);
    for (int64_t i = 0; planar && i < T * hw; i++)
        for (int64_t c = 0; c < 3; c++) planar[c * T * hw + i] = e->video[i * 3 + c];
    if (planar) parity_compare(e->p, "out.video", planar, T * hw * 3, 2e-4);
    free(planar);
    return rc;
}

/* z0 and m0 beside each other: VACE's context. */
static float *vace_context(const e2e *e)
{
    const hm_tensor *z = find(e, "out.z0"), *m = find(e, "out.m0");
    float *c = z && m ? malloc((size_t)(hm_numel(z) + hm_numel(m)) * sizeof *c) : NULL;
    if (c) memcpy(c, z->data, (size_t)hm_numel(z) * sizeof *c), memcpy(c + hm_numel(z), m->data, (size_t)hm_numel(m) * sizeof *c);
    return c;
}

/* Ours, from the frames, the mask and the reference picture, or without it. */
static himmel_status compare_context(e2e *e, bool reference, himmel_error *err)
{
    const hm_tensor *frames = find(e, "in.frames");
    const hm_wan_vace_input in = {data(e, "in.frames"), data(e, "in.mask"), reference ? data(e, "in.ref") : NULL, (int)frames->dim[1],
                                  (int)frames->dim[2], (int)frames->dim[3]};
    char z[16], m[16];
    snprintf(z, sizeof z, "out.%sz0", reference ? "" : "noref."), snprintf(m, sizeof m, "out.%sm0", reference ? "" : "noref.");
    const hm_tensor *z0 = find(e, z), *m0 = find(e, m);
    if (!in.mask || !z0 || !m0) return hm_fail(err, HIMMEL_EFORMAT, "no mask or context");
    uint64_t beside = 0;
    float *c = malloc((size_t)(hm_numel(z0) + hm_numel(m0)) * sizeof *c);
    hm_graph_reset(e->g);
    const himmel_status rc = c ? hm_wan_vace_context(e->vae, e->g, &in, c, &beside, err) : hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    if (!rc) parity_compare(e->p, z, c, hm_numel(z0), 2e-5 * parity_scale(e->p, z));
    if (!rc) parity_compare(e->p, m, c + hm_numel(z0), hm_numel(m0), 1e-9);
    free(c);
    return rc;
}

static himmel_status run(e2e *e, himmel_error *err)
{
    const hm_tensor *noise = find(e, "in.noise"), *clip = find(e, "out.clip_fea");
    const char *solver = hm_st_meta(e->p->st, "solver");
    if (!noise || !solver) return hm_fail(err, HIMMEL_EFORMAT, "no noise or solver");
    const bool two = e->n_dits == 2, i2v = data(e, "out.y") != NULL;
    float *x = malloc((size_t)hm_numel(noise) * sizeof *x), *vace = vace_context(e);
    if (!x) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    memcpy(x, noise->data, (size_t)hm_numel(noise) * sizeof *x);
    hm_wan_sampling s = {.model = &e->dit[0], .low = two ? &e->dit[1] : NULL, .boundary = i2v ? 0.9f : 0.875f,
                         .solver = strcmp(solver, "unipc") ? HM_SOLVER_DPMPP : HM_SOLVER_UNIPC, .steps = (int)number(e, "steps", 0),
                         .shift = number(e, "shift", 1), .text = e->text[0], .n_text = e->rows[0], .negative = e->text[1],
                         .n_negative = e->rows[1], .still = data(e, "out.z_image"), .on_step = on_step, .user = e};
    s.guidance = s.guidance_low = (float)number(e, "guide_scale", 5); /* "3.5 both" reads as 3.5 */
    if (two && !i2v) s.guidance = 4.0f, s.guidance_low = 3.0f;        /* "low 3.0, high 4.0" */
    s.in = (hm_wan_input){.T = (int)noise->dim[1], .H = (int)noise->dim[2], .W = (int)noise->dim[3], .y = data(e, "out.y"),
                          .clip = clip ? clip->data : NULL, .n_clip = clip ? (int)clip->dim[1] : 0, .vace = vace,
                          .vace_scale = (float)number(e, "context_scale", 1)};
    himmel_status rc = HIMMEL_OK;
    for (int i = 0; i < 2 && !rc && find(e, "in.frames"); i++) rc = compare_context(e, i, err);
    hm_graph_reset(e->g);
    if (!rc) rc = hm_wan_sample(e->g, &s, x, err);
    int size[3] = {s.in.T, s.in.H, s.in.W};
    if (!rc && vace) { /* the reference picture was an extra first frame */
        const size_t frame = (size_t)(size[1] * size[2]), T = (size_t)size[0], C = (size_t)noise->dim[0];
        for (size_t c = 0; c < C; c++) memmove(x + c * (T - 1) * frame, x + (c * T + 1) * frame, (T - 1) * frame * sizeof *x);
        size[0]--;
    }
    if (!rc) parity_compare(e->p, "out.latent", x, noise->dim[0] * size[0] * size[1] * size[2], 5e-5 * parity_scale(e->p, "out.latent"));
    if (!rc) rc = decode(e, x, size, err);
    free(vace);
    free(x);
    return rc;
}

himmel_status parity_wan_e2e(parity *p, himmel_error *err)
{
    e2e e = {.p = p};
    himmel_status rc = load(&e, err);
    if (!rc) rc = hm_graph_new(&e.g, &(hm_graph_opts){.act = HM_F32}, err);
    for (int i = 0; i < 2 && !rc; i++) rc = encode(&e, i, err);
    if (!rc) rc = run(&e, err);
    for (int i = 0; i < 2; i++) {
        free(e.text[i]);
        hm_wan_deinit(&e.dit[i]);
    }
    free(e.video);
    hm_t5_deinit(&e.t5);
    hm_wan_vae_free(e.vae);
    for (int i = 0; i < e.n_files; i++) hm_st_close(e.file[i]);
    hm_graph_free(e.g);
    return rc;
}
