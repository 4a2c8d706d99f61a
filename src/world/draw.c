/* draw.c - pixels through all layers, from the sky to the rain.   SPDX-License-Identifier: MIT
 * A picture is drawn in segments of a row, each through every layer back to front. Mirrored scenes are the unmirrored
 * geometry written from right to left, so that they are exact. draw*.c see a frame's state and nothing else: a GPU compiler
 * takes them as they are, with segments of one pixel (twin/world.cu). */
#include "world/render.h"

HM_PIXEL static void draw(const hm_frame *f, const hm_seg *s)
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

HM_PIXEL static void bounds(hm_seg *s)
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
HM_PIXEL void hm_draw_behind_water(const hm_frame *f, const hm_seg *seg)
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

HM_PIXEL void hm_draw_pixels(const hm_frame *f, const hm_view *v, int x, int y, int n, float *row)
{
    if (n < 1) return;
    const float px = 1.0f / (float)v->height;
    const bool mirrored = f->R->s.mirrored;
    const int x0 = mirrored ? v->width - v->x0 - v->w : v->x0;
    float u[HM_SEG], w[HM_SEG], cr[HM_SEG], cg[HM_SEG], cb[HM_SEG];
    hm_seg s = {n, px, u, w, 0, 0, 0, 0, cr, cg, cb, false};
    for (int i = 0; i < n; i++) {
        u[i] = ((float)(x0 + x + i) + 0.5f - 0.5f * (float)v->width) * px;
        w[i] = ((float)(v->y0 + y) + 0.5f) * px;
    }
    bounds(&s);
    draw(f, &s);
    for (int i = 0; i < n; i++) {
        float *p = row + 3 * (mirrored ? v->w - 1 - (x + i) : x + i);
        p[0] = hm_sat(cr[i]);
        p[1] = hm_sat(cg[i]);
        p[2] = hm_sat(cb[i]);
    }
}
