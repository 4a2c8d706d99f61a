/* pipe_frames.c - frames to latents, latents to frames, latents to larger ones; see pipe.h.
 * SPDX-License-Identifier: MIT Both directions go through the VAE's streams a few latent frames at a time, so
 * memory does not depend on the length. */
#include <stdlib.h>
#include <string.h>

#include "models/ltx/filters.h"
#include "models/ltx/pipe.h"

enum { DECODE_LATENTS = 2 }; /* latent frames in one push: fewer cost reorders of weights, more cost memory */

static void vae_noise(void *user, float *map, int64_t n)
{
    const hm_ltx_calls *c = user;
    c->draw(c->user, HM_LTX_MAP, map, n, 1);
}

himmel_status hm_ltx_encode_frames(const hm_ltx_nets *n, const hm_ltx_item *item, int width, int height,
                                   const hm_ltx_calls *calls, float *z, himmel_error *err)
{
    const hm_vae *m = n->vae;
    const int64_t C = m->latent_c + m->var_c, T = (item->n_frames - 1) / m->scale_t + 1;
    const int64_t rows = T * (height / m->scale_s) * (width / m->scale_s);
    const size_t frame = (size_t)item->height * (size_t)item->width * 3;
    const bool plan = hm_is_plan(n->g);
    float *coded = malloc((size_t)(rows * C) * sizeof *coded),
          *noise = malloc((size_t)(rows * m->latent_c) * sizeof *noise);
    if (!coded || !noise) {
        free(coded), free(noise);
        return hm_fail(err, HIMMEL_ENOMEM, "ltx-video: out of memory for a given clip of %d frames",
                       item->n_frames);
    }
    const hm_mark outer = hm_save(n->g);
    hm_vae_stream *s = hm_vae_encoder(n->g, m, height, width, &(hm_vae_opts){0});
    const hm_mark mark = hm_save(n->g);
    int64_t done = 0;
    for (int f = 0; f < item->n_frames; f += m->scale_t) {
        const int more = HM_MIN(m->scale_t, item->n_frames - f);
        hm_tensor *x = hm_new(n->g, HM_F32, HM_DIMS(1, more, height, width, 3));
        if (!plan)
            hm_resize(x->data, height, width, item->rgb + (size_t)f * frame, more, item->height, item->width);
        const hm_tensor *y = hm_vae_push(s, x, f + more == item->n_frames);
        if (y && !plan)
            hm_convert(coded + done * C, HM_F32, y->data, y->dtype, (size_t)hm_numel(y)),
                done += hm_numel(y) / C;
        hm_restore(n->g, mark);
    }
    hm_restore(n->g, outer);
    if (!plan) {
        calls->draw(calls->user, HM_LTX_POSTERIOR, noise, rows, m->latent_c);
        hm_vae_sample(m, z, coded, noise, rows);
        hm_vae_normalize(m, z, rows);
    }
    free(coded), free(noise);
    return HIMMEL_OK;
}

/* y [1,T,H,W,3] frame by frame to the caller, numbered from *at. */
static himmel_status hand_out(hm_graph *g, const hm_ltx_decode *d, const hm_tensor *y, int *at,
                              himmel_error *err)
{
    const int64_t n = y->dim[2] * y->dim[3] * 3;
    hm_tensor *frame = hm_new(g, HM_F32, HM_DIMS(n));
    himmel_status rc = HIMMEL_OK;
    for (int64_t t = 0; t < y->dim[1] && !rc; t++) {
        hm_convert(frame->data, HM_F32, (const char *)y->data + (size_t)(t * n) * hm_dtype_size(y->dtype),
                   y->dtype, (size_t)n);
        rc = d->on_frame(d->user, (*at)++, frame->data, err);
    }
    return rc;
}

himmel_status hm_ltx_decode_film(const hm_ltx_nets *n, const hm_ltx_decode *d, const hm_ltx_calls *calls,
                                 float *z, himmel_error *err)
{
    const hm_vae *m = n->vae;
    const int64_t T = (d->n_frames - 1) / m->scale_t + 1, h = d->height / m->scale_s,
                  w = d->width / m->scale_s, C = m->latent_c;
    const bool plan = hm_is_plan(n->g);
    if (!plan && m->timed) {
        float *noise = malloc((size_t)(T * h * w * C) * sizeof *noise);
        if (!noise) return hm_fail(err, HIMMEL_ENOMEM, "ltx-video: out of memory for the film's latents");
        calls->draw(calls->user, HM_LTX_DECODE, noise, T * h * w, C);
        for (int64_t i = 0; i < T * h * w * C; i++) z[i] = z[i] * (1 - d->noise) + noise[i] * d->noise;
        free(noise);
    }
    if (!plan) {
        hm_tone_map(z, T * h * w * C, d->tone);
        if (calls->look) calls->look(calls->user, "decode_in", -1, z, T * h * w, C);
        hm_vae_unnormalize(m, z, T * h * w);
    }
    const hm_vae_opts o = {.causal = m->causal_decoder,
                           .timestep = d->time,
                           .noise = vae_noise,
                           .user = (void *)(uintptr_t)calls};
    const hm_mark outer = hm_save(n->g);
    hm_vae_stream *s = hm_vae_decoder(n->g, m, h, w, &o);
    const hm_mark mark = hm_save(n->g);
    himmel_status rc = HIMMEL_OK;
    int at = 0;
    for (int64_t t = 0; t < T && !rc; t += DECODE_LATENTS) {
        const int64_t more = HM_MIN((int64_t)DECODE_LATENTS, T - t);
        hm_tensor *x = hm_wrap(n->g, HM_F32, HM_DIMS(1, more, h, w, C), plan ? NULL : z + t * h * w * C);
        const hm_tensor *y = hm_vae_push(s, x, t + more == T);
        if (y && !plan) rc = hand_out(n->g, d, y, &at, err);
        hm_restore(n->g, mark);
    }
    hm_restore(n->g, outer);
    return rc;
}

himmel_status hm_ltx_upsample(const hm_ltx_nets *n, const hm_upsampler *u, const float *z, int64_t T,
                              int64_t h, int64_t w, const hm_ltx_calls *calls, float *to, himmel_error *err)
{
    const int64_t C = n->vae->latent_c, rows = T * h * w;
    if (u->channels != C || !u->space || u->time)
        return hm_fail(err, HIMMEL_EMODEL,
                       "ltx-video: the upsampler has %d channels and enlarges %s; needed: %lld, space only",
                       u->channels, u->time ? "time" : "space", (long long)C);
    const hm_mark mark = hm_save(n->g);
    hm_tensor *x = hm_new(n->g, HM_F32, HM_DIMS(1, T, h, w, C));
    if (x->data) {
        memcpy(x->data, z, (size_t)(rows * C) * sizeof *z);
        hm_vae_unnormalize(n->vae, x->data, rows);
    }
    const hm_tensor *y = hm_upsampler_forward(n->g, u, x, NULL, NULL);
    if (y->data) {
        hm_convert(to, HM_F32, y->data, y->dtype, (size_t)hm_numel(y));
        hm_vae_normalize(n->vae, to, 4 * rows);
        if (calls->look) calls->look(calls->user, "upsampled", -1, to, 4 * rows, C);
        hm_adain(to, 4 * rows, z, rows, (int)C, 1.0f);
        if (calls->look) calls->look(calls->user, "adain", -1, to, 4 * rows, C);
    }
    hm_restore(n->g, mark);
    return HIMMEL_OK;
}
