/* draw_city.c - a skyline: three rows of towers with large windows, lit at night.   SPDX-License-Identifier: MIT */
#include "world/render.h"

/* Share of [a - px/2, a + px/2] inside a periodic slot [lo, hi) of period 1, a in periods: exact box coverage. */
HM_INLINE float slot(float a, float w, float lo, float hi)
{
    const float x0 = a - 0.5f * w, x1 = a + 0.5f * w, f0 = (float)hm_ifloor(x0), f1 = (float)hm_ifloor(x1);
    const float c0 = f0 * (hi - lo) + hm_clampf(x0 - f0, lo, hi) - lo, c1 = f1 * (hi - lo) + hm_clampf(x1 - f1, lo, hi) - lo;
    return (c1 - c0) / w;
}

typedef struct { float p, cell, low, high, haze; hm_rgbf wall; } quarter;

HM_FAST static void towers(const hm_frame *f, const hm_seg *s, quarter q, uint32_t seed)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, q.p);
    const hm_pal *p = &f->pal;
    const float px = s->px * c.iz, grow = 1.0f / (1.0f + 0.012f * f->fly), side = f->sun_u > 0.0f ? 1.0f : -1.0f;
    if (hm_cam_h(c, s->v1) > q.high * 1.2f || hm_cam_h(c, s->v0) < -0.02f) return;
    const float glow = hm_sat(p->night * 1.25f), dim = hm_sat(1.0f - hm_luma(p->haze)) * 0.5f;
    const float on_level = glow > 0.1f ? 0.62f : 0.18f + 0.3f * dim, wx = 0.0225f, wy = 0.030f;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float lu = hm_cam_u(c, s->u[i]) * grow, h = hm_cam_h(c, s->v[i]) * grow;
        const float g = lu / q.cell;
        const int k = hm_ifloor(g);
        const uint32_t b = hm_hash2(k, 23, seed);
        const float slow = 0.5f + 0.5f * hm_noise1(((float)k + 0.5f) * 0.31f, seed + 1u), r = hm_hashf(b);
        const float tall = q.low + (q.high - q.low) * (0.30f * r + 0.70f * slow * (0.55f + 0.45f * r));
        const float half = (0.40f + 0.09f * hm_hashg(b)) * q.cell, x = lu - ((float)k + 0.5f) * q.cell;
        const bool plain = hm_hashg(b * 3u) > 0.45f;
        const float sh = plain ? tall : 0.80f * tall, wn = plain ? half : 0.58f * half, ax0 = fabsf(x); /* shoulders, narrow top */
        const float wide = hm_cov(half - ax0, px) * hm_cov(sh - h, px), thin = hm_cov(wn - ax0, px) * hm_cov(tall - h, px);
        const float cov = wide > thin ? wide : thin;
        const float wide2 = hm_cov(half - 0.008f - ax0, px) * hm_cov(sh - 0.010f - h, px);
        const float thin2 = hm_cov(wn - 0.008f - ax0, px) * hm_cov(tall - 0.010f - h, px);
        const float mast = hm_cov(0.0045f - fabsf(x), px) * hm_cov(tall * 1.16f - h, px) * (hm_hashf(b * 5u) < 0.25f ? 1.0f : 0.0f);
        hm_rgbf wall = hm_scalec(q.wall, 0.85f + 0.3f * hm_hashf(b * 7u));
        hm_rgbf col = hm_lightc(p, wall, hm_sat(0.45f + 0.38f * side * x / half));
        const float ax = x / wx + 0.5f, ay = h / wy;
        const uint32_t win = hm_hash2(hm_ifloor(ax) + 57 * k, hm_ifloor(ay), seed + 9u);
        const float lit = hm_hashf(win) < on_level ? 1.0f : 0.0f;
        const float pane = slot(ax, px / wx, 0.20f, 0.80f) * slot(ay, px / wy, 0.20f, 0.76f) * (wide2 > thin2 ? wide2 : thin2);
        hm_rgbf lamp = hm_mixc(hm_rgb(1.0f, 0.84f, 0.48f), hm_rgb(0.92f, 0.93f, 0.90f), hm_hashg(win) * hm_hashg(win) * 0.6f);
        hm_rgbf dark = hm_mixc(hm_scalec(col, 0.72f), p->sky[2], 0.25f);
        col = hm_mixc(col, p->haze, hm_sat(q.haze + 0.20f * (1.0f - hm_sat(h / q.high))));
        hm_rgbf glass = hm_mixc(hm_mixc(dark, p->haze, q.haze), lamp, lit * (0.35f * dim + 0.85f * glow));
        hm_over(s, i, col, hm_sat(cov + mast));
        hm_over(s, i, glass, pane * (1.0f - 0.55f * q.haze));
    }
}

HM_PIXEL void hm_draw_city(const hm_frame *f, const hm_seg *s)
{
    const uint32_t seed = f->R->seed ^ 0xC17Fu;
    towers(f, s, (quarter){0.03f, 0.085f, 0.10f, 0.34f, 0.62f, hm_rgb(0.50f, 0.54f, 0.62f)}, seed);
    towers(f, s, (quarter){0.06f, 0.110f, 0.07f, 0.30f, 0.30f, hm_rgb(0.48f, 0.50f, 0.56f)}, seed + 100u);
    towers(f, s, (quarter){0.10f, 0.145f, 0.04f, 0.20f, 0.06f, hm_rgb(0.42f, 0.42f, 0.47f)}, seed + 200u);
}
