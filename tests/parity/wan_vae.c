/* wan_vae.c - Wan's autoencoders against the original, stage by stage over all chunks.   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "formats/json.h"
#include "models/wan/vae.h"
#include "wan.h"

enum { MAX_STAGES = 64 };
typedef struct {
    parity *p;
    const char *name;
    struct {
        char name[96];
        float *frames; /* [t,H,W,C] of all chunks so far */
        int64_t t, H, W, C;
    } stage[MAX_STAGES];
    int n;
} vae_case;

static void collect(vae_case *c, const char *what, const float *x, const int64_t d[4])
{
    char name[96];
    int i = 0;
    snprintf(name, sizeof name, "out.%s.%s", c->name, what);
    while (i < c->n && strcmp(c->stage[i].name, name)) i++;
    if (i == MAX_STAGES || !hm_st_find(c->p->st, name)) return;
    if (i == c->n) {
        c->n++;
        strcpy(c->stage[i].name, name);
        c->stage[i].H = d[1], c->stage[i].W = d[2], c->stage[i].C = d[3];
    }
    const size_t one = (size_t)(d[1] * d[2] * d[3]) * sizeof(float);
    float *more = realloc(c->stage[i].frames, (size_t)(c->stage[i].t + d[0]) * one);
    if (!more) abort();
    memcpy((char *)more + (size_t)c->stage[i].t * one, x, (size_t)d[0] * one);
    c->stage[i].frames = more;
    c->stage[i].t += d[0];
}

static void on_tensor(void *user, const char *name, const hm_tensor *t) { collect(user, name, t->data, t->dim + 1); }

static int on_frames(void *user, const float *rgb, int n, int H, int W)
{
    collect(user, "video", rgb, (int64_t[4]){n, H, W, 3});
    return 0;
}

static void compare(vae_case *c)
{
    for (int i = 0; i < c->n; i++) {
        const int64_t T = c->stage[i].t, hw = c->stage[i].H * c->stage[i].W, C = c->stage[i].C;
        float *planar = malloc((size_t)(T * hw * C) * sizeof *planar);
        if (!planar) abort();
        for (int64_t t = 0; t < T; t++)
            for (int64_t k = 0; k < hw; k++)
                for (int64_t ch = 0; ch < C; ch++) planar[(ch * T + t) * hw + k] = c->stage[i].frames[(t * hw + k) * C + ch];
        parity_compare(c->p, c->stage[i].name, planar, T * hw * C, 5e-5 * parity_scale(c->p, c->stage[i].name));
        free(planar);
        free(c->stage[i].frames);
    }
}

static himmel_status run_case(parity *p, hm_graph *g, hm_wan_vae *v, const char *name, himmel_error *err)
{
    char in[64], out[64];
    vae_case *c = calloc(1, sizeof *c);
    if (!c) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    c->p = p;
    c->name = name;
    const hm_wan_vae_sink sink = {on_frames, on_tensor, c};
    snprintf(in, sizeof in, "in.%s.video", name);
    const hm_tensor *x = hm_st_find(p->st, in);
    himmel_status rc;
    hm_graph_reset(g);
    if (x) {
        const int size[3] = {(int)x->dim[1], (int)x->dim[2], (int)x->dim[3]}, s = hm_wan_vae_stride(v);
        const int64_t n = (int64_t)hm_wan_vae_channels(v) * (1 + (size[0] - 1) / 4) * (size[1] / s) * (size[2] / s);
        float *latent = malloc((size_t)n * sizeof *latent);
        if (!latent) abort();
        rc = hm_wan_vae_encode(v, g, x->data, size, latent, &sink, err);
        snprintf(out, sizeof out, "out.%s.latent", name);
        if (!rc) parity_compare(p, out, latent, n, 2e-5 * parity_scale(p, out));
        free(latent);
    } else {
        snprintf(in, sizeof in, "in.%s.latent", name);
        x = hm_st_find(p->st, in);
        rc = x ? hm_wan_vae_decode(v, g, x->data, (int[3]){(int)x->dim[1], (int)x->dim[2], (int)x->dim[3]}, &sink, err)
               : hm_fail(err, HIMMEL_EFORMAT, "case %s lacks its input", name);
    }
    compare(c);
    free(c);
    return rc;
}

himmel_status parity_wan_vae(parity *p, himmel_error *err)
{
    static const char *const cases[] = {"a", "b", "c", "d"};
    hm_wan_vae *v = NULL;
    hm_graph *g = NULL;
    himmel_status rc = hm_wan_vae_load(&v, p->st, err);
    if (!rc) rc = hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32}, err);
    for (size_t i = 0; i < HM_COUNT(cases) && !rc; i++) rc = run_case(p, g, v, cases[i], err);
    hm_graph_free(g);
    hm_wan_vae_free(v);
    return rc;
}
