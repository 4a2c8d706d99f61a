/* vace.c - what VACE's blocks are given; see vace.h.   SPDX-License-Identifier: MIT
 * Traps: frames are split by the mask as 0 or 1, but the mask's own channels keep its grey values; a film's frames
 * become a latent frame's by nearest-exact, which is not where the autoencoder's windows are. */
#include "models/wan/vace.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    hm_wan_vae *v;
    hm_graph *g;
    const hm_wan_vace_input *in;
    float *out, *split, *latent; /* split [3,n,H,W], latent [z,T,h,w] of one encoding */
    int z, lead, T, h, w;        /* lead: latent frames of the reference, T: of the film */
    himmel_error *err;
} context;

/* A film of n frames into channels from..from+z of the context, frames at.. of it. */
static himmel_status encode(context *c, const float *video, int n, int from, int at, uint64_t *beside)
{
    const int size[3] = {n, c->in->H, c->in->W}, T = 1 + (n - 1) / 4, all = c->lead + c->T;
    const size_t hw = (size_t)c->h * (size_t)c->w;
    uint64_t kept = 0;
    if (hm_is_plan(c->g)) {
        const himmel_status rc = hm_wan_vae_plan(c->v, c->g, size, true, &kept, c->err);
        *beside = HM_MAX(*beside, kept);
        return rc;
    }
    const himmel_status rc = hm_wan_vae_encode(c->v, c->g, video, size, c->latent, &(hm_wan_vae_sink){0}, c->err);
    for (int k = 0; k < c->z && !rc; k++)
        memcpy(c->out + ((size_t)(from + k) * (size_t)all + (size_t)at) * hw, c->latent + (size_t)k * (size_t)T * hw, (size_t)T * hw * sizeof(float));
    return rc;
}

/* The frames where the mask is `made`, 0 elsewhere. */
static void split(const context *c, bool made)
{
    const size_t n = (size_t)c->in->n * (size_t)c->in->H * (size_t)c->in->W;
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < n; i++) c->split[k * n + i] = (c->in->mask[i] > 0.5f) == made ? c->in->frames[k * n + i] : 0;
}

/* Channel 8 v + u is pixel (v, u) of every 8 x 8; the reference has 0: nothing of it is to be made. */
static void put_mask(const context *c)
{
    const int all = c->lead + c->T, n = c->in->n, H = c->in->H, W = c->in->W;
    float *to = c->out + (size_t)(2 * c->z) * (size_t)all * (size_t)c->h * (size_t)c->w;
    for (int k = 0; k < 64; k++)
        for (int t = -c->lead; t < c->T; t++) {
            const float *frame = t < 0 ? NULL : c->in->mask + (size_t)((2 * t + 1) * n / (2 * c->T)) * (size_t)H * (size_t)W;
            for (int y = 0; y < c->h; y++)
                for (int x = 0; x < c->w; x++) *to++ = frame ? frame[(size_t)(8 * y + k / 8) * (size_t)W + (size_t)(8 * x + k % 8)] : 0;
        }
}

static himmel_status make(context *c, uint64_t *beside)
{
    const hm_wan_vace_input *in = c->in;
    himmel_status rc = HIMMEL_OK;
    if (!hm_is_plan(c->g)) memset(c->out, 0, (size_t)(2 * c->z + 64) * (size_t)(c->lead + c->T) * (size_t)(c->h * c->w) * sizeof(float));
    if (c->lead) rc = encode(c, in->reference, 1, 0, 0, beside);
    for (int made = 0; made < 2 && !rc; made++) {
        if (!hm_is_plan(c->g)) split(c, made);
        rc = encode(c, c->split, in->n, made * c->z, c->lead, beside);
    }
    if (!rc && !hm_is_plan(c->g)) put_mask(c);
    return rc;
}

himmel_status hm_wan_vace_context(hm_wan_vae *v, hm_graph *g, const hm_wan_vace_input *in, float *out, uint64_t *beside, himmel_error *err)
{
    context c = {.v = v, .g = g, .in = in, .out = out, .z = hm_wan_vae_channels(v), .lead = in->reference != NULL, .T = 1 + (in->n - 1) / 4,
                 .h = in->H / 8, .w = in->W / 8, .err = err};
    const size_t pixels = 3 * (size_t)in->n * (size_t)in->H * (size_t)in->W, latents = (size_t)c.z * (size_t)c.T * (size_t)(c.h * c.w);
    uint64_t kept = 0;
    if (!hm_is_plan(g)) c.split = malloc(pixels * sizeof(float)), c.latent = malloc(latents * sizeof(float));
    himmel_status rc = HIMMEL_OK;
    if (!hm_is_plan(g) && (!c.split || !c.latent)) rc = hm_fail(err, HIMMEL_ENOMEM, "wan: out of memory for VACE's frames");
    if (!rc) rc = make(&c, &kept);
    *beside += kept + (pixels + latents) * sizeof(float);
    free(c.split);
    free(c.latent);
    return rc;
}
