/* ltx_vae.c - LTX's video VAE against the original, whole and in pieces.   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "models/ltx/vae.h"
#include "parity.h"

typedef struct {
    parity *p;
    hm_graph *g;
    const hm_vae *m;
    const char *name;
    int n_noise;
    bool quiet; /* in pieces: intermediates come in other sizes */
} vae_case;

static const hm_tensor *input(const vae_case *c, const char *what)
{
    char full[128];
    snprintf(full, sizeof full, "in.%s.%s", c->name, what);
    return hm_st_find(c->p->st, full);
}

/* [rows][C] f32 -> [C][rows] against out.<case>.<what>, if that is stored. */
static void compare(const vae_case *c, const char *what, const float *x, int64_t rows, int64_t C)
{
    char full[128];
    snprintf(full, sizeof full, "out.%s.%s", c->name, what);
    float *t = malloc((size_t)(rows * C) * sizeof *t);
    if (!hm_st_find(c->p->st, full) || !t) {
        free(t);
        return;
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < C; k++) t[k * rows + r] = x[r * C + k];
    const bool angles =
        strstr(what, "time_embedder") || c->m->timed; /* our sinusoids are formed in another way */
    parity_compare(c->p, full, t, rows * C, parity_tol(c->p, full, angles));
    free(t);
}

static void on_tensor(void *user, const char *what, const hm_tensor *t)
{
    const vae_case *c = user;
    const int64_t C = t->nd == 1 ? hm_numel(t) : t->dim[4];
    if (!c->quiet) compare(c, what, t->data, hm_numel(t) / C, C);
}

static void next_noise(void *user, float *map, int64_t n)
{
    vae_case *c = user;
    char what[32];
    snprintf(what, sizeof what, "noise%d", c->n_noise++);
    const hm_tensor *t = input(c, what);
    if (t && hm_numel(t) == n) memcpy(map, t->data, (size_t)n * sizeof *map);
}

/* Sample b of [B,C,T,H,W] f32 as [1,T,H,W,C] in the arena. */
static hm_tensor *channels_last(hm_graph *g, const hm_tensor *t, int64_t b)
{
    const int64_t C = t->dim[1], rows = t->dim[2] * t->dim[3] * t->dim[4];
    hm_tensor *y = hm_new(g, HM_F32, HM_DIMS(1, t->dim[2], t->dim[3], t->dim[4], C));
    const float *x = (const float *)t->data + b * C * rows;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < C; k++) ((float *)y->data)[r * C + k] = x[k * rows + r];
    return y;
}

/* x through a stream in pieces of `piece` frames; what comes out, joined: malloc'ed, *rows of them. */
static float *through(const vae_case *c, hm_vae_stream *s, hm_tensor *x, int64_t piece, int64_t *rows)
{
    float *all = NULL;
    const hm_mark mark = hm_save(c->g);
    const int64_t T = x->dim[1];
    *rows = 0;
    for (int64_t t = 0; t < T; t += piece) {
        const int64_t n = T - t < piece ? T - t : piece;
        const hm_tensor *y = hm_vae_push(s, hm_slice(c->g, x, 1, t, n), t + n == T);
        if (y) {
            const int64_t C = y->dim[4], more = hm_numel(y) / C;
            all = realloc(all, (size_t)((*rows + more) * C) * sizeof *all);
            if (!all) abort();
            memcpy(all + *rows * C, y->data, (size_t)(more * C) * sizeof *all);
            *rows += more;
        }
        hm_restore(c->g, mark);
    }
    return all;
}

static void encode(vae_case *c, int64_t piece)
{
    const hm_tensor *video = input(c, "video"), *noise = input(c, "noise");
    const int C = c->m->latent_c, V = c->m->var_c;
    const hm_vae_opts o = {.on_tensor = on_tensor, .user = c};
    int64_t rows;
    hm_vae_stream *s = hm_vae_encoder(c->g, c->m, video->dim[3], video->dim[4], &o);
    float *y = through(c, s, channels_last(c->g, video, 0), piece ? piece : video->dim[2], &rows);
    compare(c, "conv_out", y, rows, C + V);
    float *z = calloc((size_t)(rows * C), sizeof *z), *var = calloc((size_t)rows, sizeof *var),
          *n = calloc((size_t)(rows * C), sizeof *n);
    if (!z || !var || !n) abort();
    for (int64_t r = 0; r < rows; r++) {
        var[r] = y[r * (C + V) + C + V - 1]; /* stored is the last one */
        for (int k = 0; k < C; k++) n[r * C + k] = ((const float *)noise->data)[k * rows + r];
    }
    compare(c, "logvar", var, rows, 1);
    hm_vae_sample(c->m, z, y, NULL, rows);
    compare(c, "mean", z, rows, C);
    hm_vae_normalize(c->m, z, rows);
    compare(c, "latents_mode", z, rows, C);
    hm_vae_sample(c->m, z, y, n, rows);
    hm_vae_normalize(c->m, z, rows);
    compare(c, "latents_sampled", z, rows, C);
    free(z), free(var), free(n), free(y);
}

static void decode(vae_case *c, bool causal, int64_t piece)
{
    const hm_tensor *z = input(c, "latents"), *t = input(c, "timestep");
    const int64_t B = z->dim[0];
    float *all = NULL;
    int64_t rows = 0;
    for (int64_t b = 0; b < B; b++) {
        c->n_noise = 0;
        const hm_vae_opts o = {.causal = causal,
                               .timestep = t ? ((const float *)t->data)[b] : 0,
                               .noise = next_noise,
                               .on_tensor = on_tensor,
                               .user = c};
        hm_tensor *x = channels_last(c->g, z, b);
        hm_vae_unnormalize(c->m, x->data, hm_numel(x) / c->m->latent_c);
        if (B == 1) compare(c, "unnormalized", x->data, hm_numel(x) / c->m->latent_c, c->m->latent_c);
        hm_vae_stream *s = hm_vae_decoder(c->g, c->m, z->dim[3], z->dim[4], &o);
        float *y = through(c, s, x, piece ? piece : z->dim[2], &rows);
        if (B == 1) compare(c, "video", y, rows, 3);
        else all = realloc(all, (size_t)(B * rows * 3) * sizeof *all);
        for (int64_t r = 0; B > 1 && r < rows; r++)
            for (int k = 0; k < 3; k++) all[(b * 3 + k) * rows + r] = y[r * 3 + k];
        free(y);
    }
    char full[128];
    snprintf(full, sizeof full, "out.%s.video", c->name);
    if (B > 1) parity_compare(c->p, full, all, B * rows * 3, parity_tol(c->p, full, true));
    free(all);
}

himmel_status parity_vae(parity *p, himmel_error *err)
{
    const char *config = hm_st_meta(p->st, "config"), *name;
    hm_vae m;
    hm_graph *g = NULL;
    json_t *value;
    himmel_status rc = config ? hm_vae_load(&m, p->st, "vae.", config, err)
                              : hm_fail(err, HIMMEL_EFORMAT, "no configuration");
    if (rc) return rc;
    rc = hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32}, err);
    json_object_foreach(p->cases, name, value)
    {
        const char *op = json_string_value(json_object_get(value, "op"));
        for (int64_t piece = 0; piece < 3 && !rc; piece++) { /* 0: whole */
            vae_case c = {.p = p, .g = g, .m = &m, .name = name, .quiet = piece > 0};
            hm_graph_reset(g);
            if (op && !strcmp(op, "encode")) encode(&c, piece);
            else decode(&c, json_is_true(json_object_get(value, "causal")), piece);
        }
    }
    hm_graph_free(g);
    hm_vae_deinit(&m);
    return rc;
}
