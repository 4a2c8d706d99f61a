/* render.c - a scene's pictures: rows of pixels through all layers, from the sky to the rain.   SPDX-License-Identifier: MIT
 * A picture is drawn in segments of a row, each through every layer back to front. Mirrored scenes are the unmirrored
 * geometry written from right to left, so that they are exact. */
#include <stdlib.h>
#include "world/render.h"
#include "base/rng.h"

himmel_status hm_renderer_new(hm_renderer **out, const hm_scene *s, himmel_error *err)
{
    *out = NULL;
    for (int i = 0; i < HM_N_FACTS; i++)
        if (s->fact[i] >= hm_fact_size((hm_fact)i))
            return hm_fail(err, HIMMEL_EINVAL, "scene: %s has no value %d", hm_fact_name((hm_fact)i), s->fact[i]);
    struct hm_renderer *r = calloc(1, sizeof *r);
    if (!r) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a scene");
    r->s = *s;
    hm_setup(r);
    *out = r;
    return HIMMEL_OK;
}
void hm_renderer_free(hm_renderer *r) { free(r); }

static void draw(const hm_frame *f, const hm_seg *s)
{
    hm_draw_sky(f, s);
    hm_draw_moon(f, s);
    hm_draw_clouds(f, s);
    hm_draw_night_subject(f, s);
    hm_draw_lightning(f, s);
    hm_draw_rainbow(f, s);
    hm_draw_far(f, s);
    if (f->R->has_water) hm_draw_water(f, s);
    hm_draw_near(f, s);
    const bool foggy = f->R->fog > 0.0f; /* subjects are nearer than most of the fog */
    if (foggy) hm_draw_veil(f, s, 1.0f);
    hm_draw_ground_subject(f, s);
    hm_draw_air_subject(f, s);
    hm_draw_veil(f, s, foggy ? 0.30f : 1.0f);
}

static void bounds(hm_seg *s)
{
    float u0 = s->u[0], u1 = u0, v0 = s->v[0], v1 = v0;
    for (int i = 1; i < s->n; i++) {
        u0 = s->u[i] < u0 ? s->u[i] : u0;
        u1 = s->u[i] > u1 ? s->u[i] : u1;
        v0 = s->v[i] < v0 ? s->v[i] : v0;
        v1 = s->v[i] > v1 ? s->v[i] : v1;
    }
    s->u0 = u0;
    s->u1 = u1;
    s->v0 = v0;
    s->v1 = v1;
}

/* What stands behind and above water, for its mirror image: the segment's coordinates are already mirrored. */
void hm_draw_behind_water(const hm_frame *f, const hm_seg *seg)
{
    hm_seg s = *seg;
    s.mirror = true;
    bounds(&s);
    hm_draw_sky(f, &s);
    hm_draw_moon(f, &s);
    hm_draw_clouds(f, &s);
    hm_draw_night_subject(f, &s);
    hm_draw_rainbow(f, &s);
    hm_draw_far(f, &s);
    hm_draw_air_subject(f, &s);
}

void hm_render(const hm_renderer *r, const hm_view *v, double t, float *rgb)
{
    hm_frame f;
    float lut[3][HM_LUT];
    const float px = 1.0f / (float)v->height;
    hm_frame_at(&f, lut, r, v, t);
    const int x0 = r->s.mirrored ? v->width - v->x0 - v->w : v->x0;
    float u[HM_SEG], w[HM_SEG], cr[HM_SEG], cg[HM_SEG], cb[HM_SEG];
    for (int y = 0; y < v->h; y++) {
        for (int x = 0; x < v->w; x += HM_SEG) {
            hm_seg s = {HM_MIN(HM_SEG, v->w - x), px, u, w, 0, 0, 0, 0, cr, cg, cb, false};
            for (int i = 0; i < s.n; i++) {
                u[i] = ((float)(x0 + x + i) + 0.5f - 0.5f * (float)v->width) * px;
                w[i] = ((float)(v->y0 + y) + 0.5f) * px;
            }
            bounds(&s);
            draw(&f, &s);
            float *row = rgb + (size_t)y * (size_t)v->w * 3;
            for (int i = 0; i < s.n; i++) {
                float *p = row + 3 * (r->s.mirrored ? v->w - 1 - (x + i) : x + i);
                p[0] = hm_sat(cr[i]);
                p[1] = hm_sat(cg[i]);
                p[2] = hm_sat(cb[i]);
            }
        }
    }
}

/* Blue-noise-like: interleaved gradient noise (J. Jimenez, SIGGRAPH 2014), shifted every frame. */
void hm_dither8(const float *rgb, int w, int h, uint32_t frame, uint8_t *out)
{
    const float shift = 5.588238f * (float)(frame & 63u);
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            const float a = 0.06711056f * ((float)x + shift) + 0.00583715f * ((float)y + shift);
            const float b = 52.9829189f * (a - (float)hm_ifloor(a)), d = b - (float)hm_ifloor(b);
            const size_t at = ((size_t)y * (size_t)w + (size_t)x) * 3;
            for (int c = 0; c < 3; c++) {
                const float k = hm_sat(rgb[at + c]) * 255.0f + d;
                out[at + c] = (uint8_t)(k > 255.0f ? 255.0f : k);
            }
        }
    }
}
