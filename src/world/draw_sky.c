/* draw_sky.c - sky colour, sun glow and disc, stars, Milky Way, aurora, moon.   SPDX-License-Identifier: MIT */
#include "world/render.h"

HM_FAST static void gradient(const hm_frame *f, const hm_seg *s)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, 0.0f);
    const hm_pal *p = &f->pal;
    const float gu = f->sun_u, gh = f->sun_h, low = 1.0f - hm_step(0.10f, 0.40f, f->sun_h);
    const float wide = p->glow * (0.30f + 0.42f * low), tight = p->glow * 0.75f * p->disc;
    const float *lr = f->lut[0], *lg = f->lut[1], *lb = f->lut[2];
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float lu = hm_cam_u(c, s->u[i]), h = hm_cam_h(c, s->v[i]);
        const float x = hm_clampf((fabsf(h) + 0.1f) * ((HM_LUT - 1) / 1.2f), 0.0f, HM_LUT - 1.01f);
        const int k = (int)x;
        const float q = x - (float)k;
        float r = lr[k] + (lr[k + 1] - lr[k]) * q;
        float g = lg[k] + (lg[k + 1] - lg[k]) * q;
        float b = lb[k] + (lb[k + 1] - lb[k]) * q;
        const float du = lu - gu, dh = h - gh;
        const float d1 = 1.0f / (1.0f + du * du * 3.5f + dh * dh * (9.0f + 14.0f * low));
        const float d2 = 1.0f / (1.0f + (du * du + dh * dh) * 160.0f);
        const float k1 = wide * d1 * d1 + tight * d2;
        r += (1.0f - r) * hm_sat(k1 * p->sun.r);
        g += (1.0f - g) * hm_sat(k1 * p->sun.g);
        b += (1.0f - b) * hm_sat(k1 * p->sun.b);
        s->r[i] = r;
        s->g[i] = g;
        s->b[i] = b;
    }
}

HM_FAST static void sun_disc(const hm_frame *f, const hm_seg *s)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, 0.0f);
    const hm_pal *p = &f->pal;
    const float rad = 0.036f + 0.012f * (1.0f - hm_step(0.1f, 0.4f, f->sun_h)), px = s->px * c.iz;
    const float soft = px > 0.006f ? px : 0.006f;
    if (hm_cam_h(c, s->v1) > f->sun_h + 0.08f || hm_cam_h(c, s->v0) < f->sun_h - 0.08f) return;
    const hm_rgbf core = hm_mixc(p->sun, hm_rgb(1, 1, 0.94f), 0.66f);
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float du = hm_cam_u(c, s->u[i]) - f->sun_u, dh = hm_cam_h(c, s->v[i]) - f->sun_h;
        hm_over(s, i, core, hm_cov(rad - hm_sqrt(du * du + dh * dh), soft) * p->disc);
    }
}

/* Few, large, soft stars: one in some cells of a slowly turning grid, each at least two pixels wide at 144 lines. */
HM_FAST static void stars(const hm_frame *f, const hm_seg *s)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, 0.0f);
    const float turn = f->tc * 0.00035f, cell = 0.105f, amount = f->pal.stars;
    const float milky = f->R->s.fact[HM_FACT_TIME] == HM_TIME_STARRY ? 1.0f : 0.0f;
    const float px = s->px * c.iz;
    const float tilt = 0.5f + 0.5f * f->R->rnd[6];
    const uint32_t seed = f->R->seed ^ 0x51A5u;
    if (hm_cam_h(c, s->v0) < -0.01f) return;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float lu = hm_cam_u(c, s->u[i]), h = hm_cam_h(c, s->v[i]);
        const float x = lu - turn * (h + 1.0f), y = h + turn * lu;
        const float gx = x / cell, gy = y / cell;
        const int ix = hm_ifloor(gx), iy = hm_ifloor(gy);
        const uint32_t q = hm_hash2(ix, iy, seed), q2 = q * 0x2C1B3C6Du;
        const float fx = (gx - (float)ix - 0.25f - 0.5f * hm_hashf(q)) * cell;
        const float fy = (gy - (float)iy - 0.25f - 0.5f * hm_hashg(q)) * cell;
        const float big = hm_hashf(q2), on = big > 0.25f ? 1.0f : 0.0f;
        const float w = 0.0055f + 0.0045f * big * big;
        const float twinkle = 0.86f + 0.14f * hm_sin1(f->t * (0.25f + 0.35f * hm_hashg(q2)) + big * 7.0f);
        const float w2 = w * w + px * px * 0.15f, d = (fx * fx + fy * fy) / w2; /* spread as a pixel spreads it */
        float k = hm_sat(1.0f - 0.45f * d);
        k = k * k * on * twinkle * (0.40f + 0.60f * big) * amount * hm_step(0.02f, 0.16f, h) * w * w / w2;
        const float across = (x * tilt + y - 0.55f) + 0.05f * hm_noise2(x * 4.0f, y * 4.0f, seed);
        float band = 1.0f / (1.0f + across * across * 40.0f);
        band = milky * band * band * (0.16f + 0.10f * hm_noise2(x * 6.0f, y * 6.0f, seed + 5u)) * hm_step(0.0f, 0.2f, h);
        s->r[i] += (1.0f - s->r[i]) * hm_sat(k * (0.90f + 0.1f * hm_hashf(q2 * 3u)) + band * 0.85f);
        s->g[i] += (1.0f - s->g[i]) * hm_sat(k * 0.95f + band * 0.80f);
        s->b[i] += (1.0f - s->b[i]) * hm_sat(k + band * 1.1f);
    }
}

/* Three curtains: a sharp wavy lower edge, a long fading top, rays that wander. */
HM_FAST static void aurora(const hm_frame *f, const hm_seg *s)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, 0.05f);
    const float ta = f->R->s.fact[HM_FACT_PACE] == HM_PACE_LAPSE ? f->t * 2.2f : f->t;
    const uint32_t seed = f->R->seed;
    if (hm_cam_h(c, s->v0) < 0.0f) return;
    for (int j = 0; j < 3; j++) {
        const float base = 0.15f + 0.12f * (float)j + 0.06f * f->R->rnd[7 + j], strength = j == 1 ? 1.15f : 0.85f;
        const float o = 3.7f * (float)j, v1 = 0.030f * ta;
#pragma omp simd
        for (int i = 0; i < s->n; i++) {
            const float lu = hm_cam_u(c, s->u[i]), h = hm_cam_h(c, s->v[i]);
            const float fold = hm_noise1(lu * 1.5f + o + v1, seed + 11u) * 0.09f +
                               hm_noise1(lu * 4.0f + o - 1.8f * v1, seed + 12u) * 0.035f;
            const float d = h - base - fold;
            const float rays = 0.62f + 0.38f * hm_noise1(lu * 13.0f + o * 5.0f + 3.5f * v1 + d * 1.2f, seed + 13u);
            const float slow = 0.72f + 0.28f * hm_noise1(lu * 2.2f - o + 2.0f * v1, seed + 14u);
            const float up = hm_expneg(-6.5f * (d < 0.0f ? 0.0f : d));
            float k = hm_step(-0.020f, 0.035f, d) * up * rays * slow * strength * hm_step(0.0f, 0.10f, h);
            const float top = hm_step(0.02f, 0.30f, d);
            s->r[i] += (1.0f - s->r[i]) * hm_sat(k * (0.22f + 0.45f * top));
            s->g[i] += (1.0f - s->g[i]) * hm_sat(k * (0.95f - 0.55f * top));
            s->b[i] += (1.0f - s->b[i]) * hm_sat(k * (0.50f + 0.30f * top));
        }
    }
}

HM_FAST static void moon(const hm_frame *f, const hm_seg *s)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, 0.0f);
    const float rad = f->R->moon_r, px = s->px * c.iz, reach = rad * 5.0f;
    if (hm_cam_h(c, s->v1) > f->moon_h + reach || hm_cam_h(c, s->v0) < f->moon_h - reach) return;
    const bool rise = f->R->s.fact[HM_FACT_SUBJECT] == HM_SUBJECT_MOONRISE;
    const hm_rgbf face = rise ? hm_rgb(1.0f, 0.90f, 0.68f) : hm_rgb(0.98f, 0.98f, 0.94f);
    const hm_rgbf halo = rise ? hm_rgb(1.0f, 0.82f, 0.56f) : hm_rgb(0.80f, 0.90f, 1.0f);
    const uint32_t seed = f->R->seed;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float du = hm_cam_u(c, s->u[i]) - f->moon_u, dh = hm_cam_h(c, s->v[i]) - f->moon_h;
        const float d = hm_sqrt(du * du + dh * dh);
        const float x = du / rad, y = dh / rad;
        const float mare = hm_step(0.05f, 0.6f, hm_noise2(x * 1.6f + 3.0f, y * 1.6f + 9.0f, seed)) * 0.15f;
        const float k = hm_cov(rad - d, px > 0.004f ? px : 0.004f), q = hm_sat(1.0f - d / reach);
        hm_screen(s, i, halo, q * q * q * 0.50f);
        hm_over(s, i, hm_scalec(face, 1.0f - mare), k * 0.97f);
    }
}

HM_PIXEL void hm_draw_moon(const hm_frame *f, const hm_seg *s)
{
    if (f->R->has_moon) moon(f, s);
}

HM_PIXEL void hm_draw_sky(const hm_frame *f, const hm_seg *s)
{
    gradient(f, s);
    if (f->pal.stars > 0.02f) stars(f, s);
    if (f->pal.aurora > 0.0f) aurora(f, s);
    if (f->pal.disc > 0.01f && !f->R->has_moon) sun_disc(f, s);
}
