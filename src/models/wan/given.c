/* given.c - pictures and clips as Wan's transformers take them.   SPDX-License-Identifier: MIT
 *   I2V, FLF2V: y = 4 channels that say which of a latent frame's pictures are known, and the latents of the film with grey
 *   where nothing is; 2.1: CLIP's tokens of the first (and last) picture. TI2V: the latents of the first picture.
 *   VACE: what is known with grey elsewhere, where it is, and a reference picture (vace.h).
 *   A film to start from: its latents, and (not VACE, which is told) which of them stay. I2V and FLF2V begin, and end, with
 *   its own pictures.
 * Sources: Wan2.1 wan/image2video.py, first_last_frame2video.py, vace.py; Wan2.2 wan/textimage2video.py. */
#include <stdlib.h>
#include <string.h>

#include "models/wan/vace.h"
#include "models/wan/wan.h"

static bool at_first(const hm_model_job *job, int i) { return job->items[i].at == 0; }
static bool at_last(const hm_model_job *job, int i) { return job->items[i].n_frames == 1 && job->items[i].at == job->n_frames - 1; }

static bool from_pictures(const hm_wan_set *m) { return m->kind == HM_WAN_I2V || m->kind == HM_WAN_FLF2V; }

/* Kinds that begin, and end, with pictures take those of the film that they start from. */
static hm_model_job with_ends(const hm_wan_set *m, const hm_model_job *job, hm_model_item ends[2])
{
    hm_model_job own = *job;
    const size_t frame = 3 * (size_t)job->width * (size_t)job->height;
    if (!job->start || job->n_items || !from_pictures(m)) return own;
    ends[0] = (hm_model_item){job->start, 1, 0, 1.0};
    ends[1] = (hm_model_item){job->start + frame * (size_t)(job->n_frames - 1), 1, job->n_frames - 1, 1.0};
    own.items = ends, own.n_items = m->kind == HM_WAN_FLF2V && job->n_frames > 1 ? 2 : 1;
    return own;
}

static himmel_status check_items(const hm_wan_set *m, const hm_model_job *job, himmel_error *err)
{
    int first = 0, last = 0;
    for (int i = 0; i < job->n_items; i++) {
        if (job->items[i].strength < 1)
            return hm_fail(err, HIMMEL_EINVAL, "wan: a picture counts wholly or not at all, its strength is %g", job->items[i].strength);
        if (from_pictures(m) && !at_first(job, i) && !at_last(job, i))
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

himmel_status hm_wan_given_check(const hm_wan_set *m, const hm_model_job *job, himmel_error *err)
{
    hm_model_item ends[2];
    const hm_model_job own = with_ends(m, job, ends);
    return check_items(m, &own, err);
}

himmel_status hm_wan_mask_check(const hm_wan_set *m, const hm_model_job *job, himmel_error *err)
{
    const size_t frame = (size_t)job->width * (size_t)job->height;
    if (!job->mask || !from_pictures(m)) return HIMMEL_OK;
    const bool first = memchr(job->mask, 1, frame) != NULL;
    const bool last = m->kind == HM_WAN_FLF2V && memchr(job->mask + frame * (size_t)(job->n_frames - 1), 1, frame);
    if (!first && !last) return HIMMEL_OK;
    return hm_fail(err, HIMMEL_EINVAL, "this Wan keeps the %s picture of a film whole and cannot change a part of it; wan2.1_vace_1.3B can, and T2V's files",
                   first ? "first" : "last");
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
    int T, H, W;          /* of the latents; with a reference VACE has one more before them */
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

/* The film with grey where something is to be made, and where that is. */
static void vace_frames(const maker *k, float *video, float *mask)
{
    const hm_model_job *job = k->job;
    const size_t hw = (size_t)job->height * (size_t)job->width, n = hw * (size_t)job->n_frames;
    for (size_t i = 0; i < n; i++) mask[i] = job->mask ? job->mask[i] : 1;
    if (job->mask) planes(video, job->start, job->n_frames, 0, job->n_frames, job->height, job->width);
    for (size_t i = 0; i < 3 * n; i++)
        if (mask[i % n] > 0) video[i] = 0;
    for (int i = 0; i < job->n_items; i++) {
        const hm_model_item *it = &job->items[i];
        planes(video, it->rgb, it->n_frames, it->at, job->n_frames, job->height, job->width);
        memset(mask + hw * (size_t)it->at, 0, hw * (size_t)it->n_frames * sizeof *mask);
    }
}

static himmel_status make_vace(maker *k)
{
    const hm_model_job *job = k->job;
    const size_t hw = (size_t)job->height * (size_t)job->width, n = hw * (size_t)job->n_frames;
    const size_t all = (size_t)(k->T + (job->reference != NULL)) * (size_t)(k->H * k->W);
    float *video = room(k, 3 * n), *mask = room(k, n), *picture = room(k, 3 * hw);
    k->out->vace = room(k, (2 * (size_t)k->m->dit.cfg.out_dim + 64) * all);
    himmel_status rc = video && mask && picture && k->out->vace ? HIMMEL_OK : no_room(k);
    if (!rc && !k->plan) {
        vace_frames(k, video, mask);
        if (job->reference) planes(picture, job->reference, 1, 0, 1, job->height, job->width);
    }
    const hm_wan_vace_input in = {video, mask, job->reference ? picture : NULL, job->n_frames, job->height, job->width};
    if (!rc) rc = hm_wan_vace_context(k->m->vae, k->g, &in, k->out->vace, &k->out->bytes, k->err);
    if (!k->plan) free(video), free(mask), free(picture);
    return rc;
}

/* Latents of the film to start from; before them those of the reference, whose place is noise in the end. */
static himmel_status make_start(maker *k)
{
    const hm_model_job *job = k->job;
    const size_t C = (size_t)k->m->dit.cfg.out_dim, frame = (size_t)(k->H * k->W), T = (size_t)k->T, lead = job->reference != NULL;
    const size_t pixels = 3 * (size_t)job->n_frames * (size_t)job->height * (size_t)job->width;
    float *video = room(k, pixels), *latent = room(k, C * T * frame);
    k->out->start = room(k, C * (lead + T) * frame);
    himmel_status rc = video && latent && k->out->start ? HIMMEL_OK : no_room(k);
    if (!rc && !k->plan) planes(video, job->start, job->n_frames, 0, job->n_frames, job->height, job->width);
    if (!rc) rc = encode(k, video, job->n_frames, latent);
    for (size_t c = 0; c < C && !rc && !k->plan; c++) {
        float *to = k->out->start + c * (lead + T) * frame;
        if (lead) memcpy(to, k->out->vace + c * (lead + T) * frame, frame * sizeof *to);
        memcpy(to + lead * frame, latent + c * T * frame, T * frame * sizeof *to);
    }
    if (!k->plan) free(video), free(latent);
    return rc;
}

/* Which latents stay: in tokens where the transformer is told of them, in numbers else. */
static himmel_status make_stays(maker *k)
{
    const int cell = k->m->kind == HM_WAN_TI2V ? 2 : 1, h = k->H / cell, w = k->W / cell;
    static uint8_t nowhere[1];
    k->out->bytes += (uint64_t)k->T * (uint64_t)(k->H * k->W);
    k->out->stays = k->plan ? nowhere : malloc((size_t)k->T * (size_t)(k->H * k->W));
    if (k->plan) return HIMMEL_OK;
    uint8_t *token = malloc((size_t)(h * w));
    const himmel_status rc = k->out->stays && token ? HIMMEL_OK : no_room(k);
    for (int t = 0; t < k->T && !rc; t++) {
        hm_model_mask_cells(k->job, t ? 4 * (t - 1) + 1 : 0, t ? 4 : 1, h, w, token);
        for (int y = 0; y < k->H; y++)
            for (int x = 0; x < k->W; x++) k->out->stays[(t * k->H + y) * k->W + x] = token[y / cell * w + x / cell];
    }
    free(token);
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

static himmel_status make(maker *k)
{
    const hm_model_job *job = k->job;
    const bool vace = k->m->kind == HM_WAN_VACE;
    himmel_status rc = HIMMEL_OK;
    for (int i = 0; i < job->n_items; i++) memset(k->known + job->items[i].at, true, (size_t)job->items[i].n_frames);
    if (from_pictures(k->m)) rc = make_y(k);
    if (!rc && vace) rc = make_vace(k);
    if (!rc && k->m->kind == HM_WAN_TI2V && job->n_items) rc = make_still(k);
    if (!rc && k->m->dit.cfg.clip_dim) rc = make_clip(k);
    if (!rc && job->start && (job->start_level < 1 || (job->mask && !vace))) rc = make_start(k);
    if (!rc && job->mask && !vace) rc = make_stays(k);
    return rc;
}

himmel_status hm_wan_given_make(const hm_wan_set *m, const hm_model_job *job, hm_graph *g, hm_wan_given *out, himmel_error *err)
{
    const int stride = hm_wan_vae_stride(m->vae);
    hm_model_item ends[2];
    const hm_model_job own = with_ends(m, job, ends);
    *out = (hm_wan_given){0};
    maker k = {.m = m, .job = &own, .g = g, .plan = hm_is_plan(g), .T = (job->n_frames - 1) / 4 + 1, .H = job->height / stride,
               .W = job->width / stride, .out = out, .err = err};
    himmel_status rc = check_items(m, &own, err);
    if (rc) return rc;
    k.known = calloc((size_t)job->n_frames, sizeof *k.known);
    if (!k.known) return no_room(&k);
    rc = make(&k);
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
    free(c->start);
    free(c->stays);
    *c = (hm_wan_given){0};
}
