/* given.c - pictures and clips as Wan's transformers take them.   SPDX-License-Identifier: MIT
 *   I2V, FLF2V: y = 4 channels that say which of a latent frame's pictures are known, and the latents of the film with grey
 *   where nothing is; 2.1: CLIP's tokens of the first (and last) picture. TI2V: the latents of the first picture.
 *   VACE: latents of what is known, latents of what is to change (grey), and 8 x 8 channels of the mask.
 * Sources: Wan2.1 wan/image2video.py, first_last_frame2video.py, vace.py; Wan2.2 wan/textimage2video.py. */
#include <stdlib.h>
#include <string.h>

#include "models/wan/wan.h"

static bool at_first(const hm_model_job *job, int i) { return job->items[i].at == 0; }
static bool at_last(const hm_model_job *job, int i) { return job->items[i].n_frames == 1 && job->items[i].at == job->n_frames - 1; }

himmel_status hm_wan_given_check(const hm_wan_set *m, const hm_model_job *job, himmel_error *err)
{
    int first = 0, last = 0;
    for (int i = 0; i < job->n_items; i++) {
        if (job->items[i].strength < 1)
            return hm_fail(err, HIMMEL_EINVAL, "wan: a picture counts wholly or not at all, its strength is %g", job->items[i].strength);
        if ((m->kind == HM_WAN_I2V || m->kind == HM_WAN_FLF2V) && !at_first(job, i) && !at_last(job, i))
            return hm_fail(err, HIMMEL_EINVAL, "this Wan takes pictures for the first and the last frame; number %d is at frame %d of %d", i + 1,
                           job->items[i].at, job->n_frames);
        first += at_first(job, i);
        last += at_last(job, i);
    }
    if (m->kind == HM_WAN_I2V && !first)
        return hm_fail(err, HIMMEL_EINVAL, "this Wan makes films that begin with a picture: himmel animate PICTURE \"what happens\"");
    if (m->kind == HM_WAN_FLF2V && (!first || !last))
        return hm_fail(err, HIMMEL_EINVAL, "this Wan makes films from a first to a last picture; one of them is missing");
    if (m->kind == HM_WAN_TI2V && job->n_items && (job->n_items > 1 || !first || job->items[0].n_frames > 1))
        return hm_fail(err, HIMMEL_EINVAL, "wan TI2V takes one picture, which the film begins with");
    return HIMMEL_OK;
}

/* Frames [n][H][W][3] of 0..1 into planes [3,N,H,W] of -1..1 from frame `at` on. */
static void planes(float *video, const float *rgb, int n, int at, int N, int H, int W)
{
    const size_t hw = (size_t)H * (size_t)W;
    for (int f = 0; f < n; f++)
        for (size_t i = 0; i < hw; i++)
            for (size_t c = 0; c < 3; c++) video[(c * (size_t)N + (size_t)(at + f)) * hw + i] = 2 * rgb[((size_t)f * hw + i) * 3 + c] - 1;
}

typedef struct {
    const hm_wan_set *m;
    const hm_model_job *job;
    hm_graph *g;
    bool plan;
    int T, H, W;          /* of the latents */
    float *video;         /* [3,n_frames,height,width], 0 where nothing is known */
    bool *known;          /* [n_frames] */
    hm_wan_given *out;
    himmel_error *err;
} maker;

/* Room for n floats; in a plan an address that is not used. */
static float *room(maker *k, size_t n)
{
    static float nowhere[1];
    k->out->bytes += n * sizeof(float);
    return k->plan ? nowhere : calloc(n, sizeof(float));
}

static himmel_status encode(maker *k, const float *video, int n, float *latent)
{
    const int size[3] = {n, k->job->height, k->job->width};
    uint64_t kept = 0;
    himmel_status rc;
    if (k->plan) rc = hm_wan_vae_plan(k->m->vae, k->g, size, true, &kept, k->err);
    else rc = hm_wan_vae_encode(k->m->vae, k->g, video, size, latent, &(hm_wan_vae_sink){0}, k->err);
    k->out->bytes += kept;
    return rc;
}

static himmel_status no_room(const maker *k) { return hm_fail(k->err, HIMMEL_ENOMEM, "wan: out of memory for what is given"); }

/* Latents of the whole film with what is known in it. */
static himmel_status film_latents(maker *k, float *latent)
{
    const hm_model_job *job = k->job;
    const size_t n = 3 * (size_t)job->n_frames * (size_t)job->height * (size_t)job->width;
    k->video = room(k, n);
    if (!k->video) return no_room(k);
    for (int i = 0; i < job->n_items && !k->plan; i++)
        planes(k->video, job->items[i].rgb, job->items[i].n_frames, job->items[i].at, job->n_frames, job->height, job->width);
    const himmel_status rc = encode(k, k->video, job->n_frames, latent);
    if (!k->plan) free(k->video);
    return rc;
}

static himmel_status make_y(maker *k)
{
    const size_t frame = (size_t)(k->H * k->W), T = (size_t)k->T, C = (size_t)k->m->dit.cfg.out_dim;
    float *y = k->out->y = room(k, (C + 4) * T * frame);
    if (!y) return no_room(k);
    for (size_t c = 0; c < 4 && !k->plan; c++)
        for (size_t t = 0; t < T; t++) /* the first latent frame is one picture, four times */
            for (size_t i = 0; i < frame; i++) y[(c * T + t) * frame + i] = k->known[t ? 4 * (t - 1) + 1 + c : 0];
    return film_latents(k, k->plan ? y : y + 4 * T * frame);
}

/* Unlike y, its mask is 1 where something is to be made. */
static himmel_status make_vace(maker *k)
{
    const size_t frame = (size_t)(k->H * k->W), T = (size_t)k->T, C = (size_t)k->m->dit.cfg.out_dim, N = (size_t)k->job->n_frames;
    const size_t latents = C * T * frame;
    float *v = k->out->vace = room(k, 2 * latents + 64 * T * frame);
    if (!v) return no_room(k);
    himmel_status rc = film_latents(k, v);
    float *grey = rc ? NULL : room(k, 3 * N * (size_t)k->job->height * (size_t)k->job->width);
    if (!rc && !grey) rc = no_room(k);
    if (!rc) rc = encode(k, grey, k->job->n_frames, k->plan ? v : v + latents);
    if (k->plan) return rc;
    free(grey);
    for (size_t c = 0; c < 64 && !rc; c++)
        for (size_t t = 0; t < T; t++)
            for (size_t i = 0; i < frame; i++) v[2 * latents + (c * T + t) * frame + i] = !k->known[(2 * t + 1) * N / (2 * T)];
    return rc;
}

/* CLIP's tokens of a picture, after those that are there. */
static himmel_status look_at(maker *k, const float *rgb)
{
    const hm_wan_clip *c = &k->m->clip;
    const int tokens = 1 + c->side * c->side;
    const size_t hw = (size_t)k->job->height * (size_t)k->job->width;
    float *picture = room(k, 3 * hw);
    if (!picture) return no_room(k);
    const hm_mark mark = hm_save(k->g);
    if (!k->plan) planes(picture, rgb, 1, 0, 1, k->job->height, k->job->width);
    const hm_tensor *t = hm_wan_clip_forward(k->g, c, picture, k->job->height, k->job->width, NULL, NULL);
    if (!k->plan) {
        hm_convert(k->out->clip + (size_t)k->out->n_clip * (size_t)c->dim, HM_F32, t->data, t->dtype, (size_t)hm_numel(t));
        free(picture);
    }
    k->out->n_clip += tokens;
    hm_restore(k->g, mark);
    return HIMMEL_OK;
}

static himmel_status make_clip(maker *k)
{
    const hm_wan_clip *c = &k->m->clip;
    const int pictures = k->m->kind == HM_WAN_FLF2V ? 2 : 1, tokens = 1 + c->side * c->side;
    himmel_status rc = HIMMEL_OK;
    if (k->m->dit.cfg.clip_pos && k->m->dit.cfg.clip_pos != pictures * tokens)
        return hm_fail(k->err, HIMMEL_EMODEL, "wan: the transformer knows positions of %d image tokens, its picture encoder gives %d",
                       k->m->dit.cfg.clip_pos, pictures * tokens);
    k->out->clip = room(k, (size_t)(pictures * tokens * c->dim));
    if (!k->out->clip) return no_room(k);
    for (int last = 0; last < pictures && !rc; last++)
        for (int i = 0; i < k->job->n_items; i++)
            if (last ? at_last(k->job, i) : at_first(k->job, i)) {
                rc = look_at(k, k->job->items[i].rgb);
                break;
            }
    return rc;
}

static himmel_status make_still(maker *k)
{
    const size_t hw = (size_t)k->job->height * (size_t)k->job->width;
    float *picture = room(k, 3 * hw);
    k->out->still = room(k, (size_t)k->m->dit.cfg.out_dim * (size_t)(k->H * k->W));
    himmel_status rc = picture && k->out->still ? HIMMEL_OK : no_room(k);
    if (!rc && !k->plan) planes(picture, k->job->items[0].rgb, 1, 0, 1, k->job->height, k->job->width);
    if (!rc) rc = encode(k, picture, 1, k->out->still);
    if (!k->plan) free(picture);
    return rc;
}

himmel_status hm_wan_given_make(const hm_wan_set *m, const hm_model_job *job, hm_graph *g, hm_wan_given *out, himmel_error *err)
{
    const int stride = hm_wan_vae_stride(m->vae);
    *out = (hm_wan_given){0};
    maker k = {.m = m, .job = job, .g = g, .plan = hm_is_plan(g), .T = (job->n_frames - 1) / 4 + 1, .H = job->height / stride,
               .W = job->width / stride, .out = out, .err = err};
    himmel_status rc = hm_wan_given_check(m, job, err);
    if (rc) return rc;
    k.known = calloc((size_t)job->n_frames, sizeof *k.known);
    if (!k.known) return no_room(&k);
    for (int i = 0; i < job->n_items; i++) memset(k.known + job->items[i].at, true, (size_t)job->items[i].n_frames);
    if (m->kind == HM_WAN_I2V || m->kind == HM_WAN_FLF2V) rc = make_y(&k);
    if (!rc && m->kind == HM_WAN_VACE) rc = make_vace(&k);
    if (!rc && m->kind == HM_WAN_TI2V && job->n_items) rc = make_still(&k);
    if (!rc && m->dit.cfg.clip_dim) rc = make_clip(&k);
    free(k.known);
    if (rc && !k.plan) hm_wan_given_free(out);
    return rc;
}

void hm_wan_given_free(hm_wan_given *c)
{
    free(c->y);
    free(c->clip);
    free(c->vace);
    free(c->still);
    *c = (hm_wan_given){0};
}
