/* upscale.c - a film or picture larger, with finer detail.   SPDX-License-Identifier: MIT
 *   C = input enlarged (Lanczos)     R = refiner(C at base size, its neighbours, C at twice the base size as known)
 *   result = C + (R - enlarged(shrunk to the input's size(R)))
 * What the input shows stays; only what it is too small to show comes from the refiner. */
#include "film/upscale.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct hm_upscaler {
    const hm_edit *d;
    hm_scaler *to_twice;      /* result -> 2 x base */
    hm_scaler *from_full;     /* the refiner's picture -> result */
    hm_scaler *shrink, *grow; /* result -> the input's own size and back; NULL: the input is no smaller */
    int small_w, small_h;
    hm_graph *g;
    hm_mark empty;
    float *base[3];           /* [16gh][16gw][3] frames k-1, k, k+1 */
    int have;                 /* k of base, -1 none */
    float *twice, *mask;
    uint8_t *now, *ahead;     /* frames k, k+1 at the result's size */
    uint8_t *bytes, *refined, *small, *low;
};

static himmel_status new_scaler(hm_scaler **s, const int from[2], const int to[2], int threads, himmel_error *err)
{
    const hm_scale_opts o = {.src_w = from[0], .src_h = from[1], .out_w = to[0], .out_h = to[1], .kind = HM_FRAME_RGB8,
                             .n_threads = threads};
    return hm_scaler_new(s, &o, err);
}

himmel_status hm_upscaler_new(hm_upscaler **out, const hm_edit *d, himmel_error *err)
{
    *out = NULL;
    hm_upscaler *u = calloc(1, sizeof *u);
    if (!u) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    const hm_layout *l = &d->l;
    const himmel_request *r = &d->req;
    const int threads = d->ctx->threads, size[2] = {r->width, r->height};
    const size_t px = (size_t)r->width * (size_t)r->height, base = (size_t)l->base_w * (size_t)l->base_h;
    const double sx = r->width / l->w, sy = r->height / l->h, grown = hm_clip_scale(d->clip[0]);
    const hm_scale_opts two = {r->width, r->height, -l->x * sx, -l->y * sy, l->full_w * sx, l->full_h * sy, 2 * l->base_w,
                               2 * l->base_h, HM_FRAME_RGB8, threads};
    const hm_scale_opts full = {l->full_w, l->full_h, l->x, l->y, l->w, l->h, r->width, r->height, HM_FRAME_RGB8, threads};
    u->d = d, u->have = -1;
    u->small_w = HM_MAX(1, (int)lround(r->width / grown)), u->small_h = HM_MAX(1, (int)lround(r->height / grown));
    const int small[2] = {u->small_w, u->small_h};
    himmel_status rc = hm_scaler_new(&u->to_twice, &two, err);
    if (!rc) rc = hm_scaler_new(&u->from_full, &full, err);
    if (!rc && grown > 1) rc = new_scaler(&u->shrink, size, small, threads, err);
    if (!rc && grown > 1) rc = new_scaler(&u->grow, small, size, threads, err);
    if (!rc) rc = hm_graph_new(&u->g, &(hm_graph_opts){.act = HM_BF16, .n_threads = threads}, err);
    for (int i = 0; i < 3; i++) u->base[i] = malloc(3 * base * sizeof *u->base[i]);
    u->twice = malloc(12 * base * sizeof *u->twice), u->mask = malloc(4 * base * sizeof *u->mask);
    u->now = malloc(3 * px), u->ahead = malloc(3 * px), u->refined = malloc(3 * px), u->low = malloc(3 * px);
    u->bytes = malloc(12 * base), u->small = malloc(3 * (size_t)u->small_w * (size_t)u->small_h);
    if (!rc && (!u->base[0] || !u->base[1] || !u->base[2] || !u->twice || !u->mask || !u->now || !u->ahead || !u->refined ||
                !u->low || !u->bytes || !u->small))
        rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for pictures of %dx%d", r->width, r->height);
    if (rc) {
        hm_upscaler_free(u);
        return rc;
    }
    for (size_t i = 0; i < 4 * base; i++) u->mask[i] = 1;
    u->empty = hm_save(u->g);
    *out = u;
    return HIMMEL_OK;
}

void hm_upscaler_free(hm_upscaler *u)
{
    if (!u) return;
    hm_scaler_free(u->to_twice), hm_scaler_free(u->from_full), hm_scaler_free(u->shrink), hm_scaler_free(u->grow);
    hm_graph_free(u->g);
    for (int i = 0; i < 3; i++) free(u->base[i]);
    free(u->twice), free(u->mask), free(u->now), free(u->ahead), free(u->bytes), free(u->refined), free(u->small), free(u->low);
    free(u);
}

static void scaled(hm_scaler *s, const void *px, hm_pix t, uint8_t *to, int w, int h)
{
    const hm_frame f = {HM_FRAME_RGB8, w, h, {to}, {3 * w}};
    hm_scale(s, px, t, &f);
}

/* Frame k (held at the ends) at base size into out, at the result's to copy. */
static himmel_status base_frame(hm_upscaler *u, hm_clip *clip, int k, float *out, uint8_t *copy, himmel_error *err)
{
    const hm_layout *l = &u->d->l;
    const uint8_t *px = hm_clip_frame(clip, HM_MIN(HM_MAX(k, 0), hm_clip_frames(clip) - 1), err);
    if (!px) return HIMMEL_EFORMAT;
    scaled(u->d->to_base, px, HM_PIX_U8, u->bytes, l->base_w, l->base_h);
    for (size_t i = 0; i < 3 * (size_t)l->base_w * (size_t)l->base_h; i++) out[i] = (float)u->bytes[i] * (1 / 255.0f);
    memcpy(copy, px, 3 * (size_t)u->d->req.width * (size_t)u->d->req.height);
    return HIMMEL_OK;
}

/* base = frames k-1, k, k+1; u->now = frame k. */
static himmel_status load(hm_upscaler *u, hm_clip *clip, int k, himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    if (u->have == k) return rc;
    const bool next = u->have == k - 1 && k > 0;
    if (next) {
        float *first = u->base[0];
        uint8_t *now = u->now;
        u->base[0] = u->base[1], u->base[1] = u->base[2], u->base[2] = first;
        u->now = u->ahead, u->ahead = now;
    } else {
        rc = base_frame(u, clip, k - 1, u->base[0], u->now, err);
        if (!rc) rc = base_frame(u, clip, k, u->base[1], u->now, err);
    }
    if (!rc) rc = base_frame(u, clip, k + 1, u->base[2], u->ahead, err);
    u->have = rc ? -1 : k;
    return rc;
}

himmel_status hm_upscale(hm_upscaler *u, hm_clip *clip, int k, uint8_t *rgb, himmel_error *err)
{
    const hm_layout *l = &u->d->l;
    const int w = u->d->req.width, h = u->d->req.height, W = l->base_w, H = l->base_h;
    const size_t frame = 3 * (size_t)W * (size_t)H;
    const himmel_status rc = load(u, clip, k, err);
    if (rc) return rc;
    if (!u->shrink) {
        memcpy(rgb, u->now, 3 * (size_t)w * (size_t)h);
        return HIMMEL_OK;
    }
    scaled(u->to_twice, u->now, HM_PIX_U8, u->bytes, 2 * W, 2 * H);
    for (size_t i = 0; i < 4 * frame; i++) u->twice[i] = (float)u->bytes[i] * (1 / 255.0f);
    float *three = malloc(3 * frame * sizeof *three);
    if (!three) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a frame");
    for (int i = 0; i < 3; i++) memcpy(three + (size_t)i * frame, u->base[i], frame * sizeof *three);
    hm_restore(u->g, u->empty);
    hm_tensor *x = hm_new(u->g, HM_F32, HM_DIMS(1, H, W, HM_REFINER_IN));
    hm_refiner_input(x->data, three, H, W, k % HM_FPS, 0, 0, u->twice, u->mask);
    free(three);
    const hm_tensor *y = hm_refiner_forward(u->g, u->d->ctx->model->refiner, x);
    scaled(u->from_full, y->data, y->dtype == HM_F32 ? HM_PIX_F32 : HM_PIX_BF16, u->refined, w, h);
    scaled(u->shrink, u->refined, HM_PIX_U8, u->small, u->small_w, u->small_h);
    scaled(u->grow, u->small, HM_PIX_U8, u->low, w, h);
    for (size_t i = 0; i < 3 * (size_t)w * (size_t)h; i++) {
        const int v = u->now[i] + u->refined[i] - u->low[i];
        rgb[i] = (uint8_t)HM_MIN(HM_MAX(v, 0), 255);
    }
    return HIMMEL_OK;
}
