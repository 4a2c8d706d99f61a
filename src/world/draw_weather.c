/* draw_weather.c - rainbow, lightning, fog, rain and snow.   SPDX-License-Identifier: MIT */
#include "world/render.h"

HM_FAST static void rainbow(const hm_frame *f, const hm_seg *s)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, 0.02f);
    const float mid = -0.35f * f->sun_u * 1.2f, rad = 0.50f, wide = 0.075f;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float du = hm_cam_u(c, s->u[i]) - mid, dh = hm_cam_h(c, s->v[i]) + 0.06f;
        const float q = (hm_sqrt(du * du + dh * dh) - rad) / wide; /* -0.5 violet .. 0.5 red */
        const float k = hm_step(-0.62f, -0.30f, q) * (1.0f - hm_step(0.30f, 0.62f, q)) * 0.62f * hm_step(-0.05f, 0.05f, dh);
        const float r = hm_sat(1.0f - 2.4f * fabsf(q - 0.36f)) + 0.45f * hm_sat(1.0f - 4.0f * fabsf(q + 0.46f));
        const float g = hm_sat(1.0f - 2.6f * fabsf(q - 0.04f)), b = hm_sat(1.0f - 2.4f * fabsf(q + 0.30f));
        const float inner = 0.07f * (1.0f - hm_step(-0.9f, -0.3f, q)) * hm_step(-4.0f, -0.5f, q);
        hm_over(s, i, hm_rgb(0.25f + 0.75f * r, 0.25f + 0.75f * g, 0.25f + 0.75f * b), k);
        hm_screen(s, i, hm_rgb(1, 1, 1), inner);
    }
}
HM_PIXEL void hm_draw_rainbow(const hm_frame *f, const hm_seg *s)
{
    if (f->R->s.fact[HM_FACT_WEATHER] == HM_WEATHER_RAINBOW) rainbow(f, s);
}

/* A soft zigzag bolt inside a wide glow in the clouds. */
HM_FAST static void bolt(const hm_frame *f, const hm_seg *s)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, 0.0f);
    const uint32_t seed = f->R->seed + 101u * (uint32_t)hm_ifloor(f->t / 2.4f);
    const float px = s->px, k0 = f->flash, w = 0.0065f + 0.3f * px, top = 0.42f;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float lu = hm_cam_u(c, s->u[i]), h = hm_cam_h(c, s->v[i]), du = lu - f->flash_u, dh = h - 0.40f;
        const float glow = 1.0f / (1.0f + 5.0f * du * du + 9.0f * dh * dh);
        const float zig = 0.05f * hm_noise1(h * 9.0f, seed) + 0.022f * hm_noise1(h * 23.0f, seed + 1u);
        const float d = fabsf(du - zig) * 0.8f, in = hm_step(-0.01f, 0.0f, h) * (1.0f - hm_step(top - 0.12f, top, h));
        const float core = hm_sat(1.15f - d / w) * in, halo = in / (1.0f + d * d * 900.0f);
        hm_screen(s, i, hm_rgb(0.80f, 0.82f, 1.0f), k0 * (0.10f + 0.50f * glow * glow + 0.35f * halo));
        hm_over(s, i, hm_rgb(1, 1, 1), hm_sat(core) * k0);
    }
}
HM_PIXEL void hm_draw_lightning(const hm_frame *f, const hm_seg *s)
{
    if (f->flash > 0.0f) bolt(f, s);
}

HM_FAST static void fog(const hm_frame *f, const hm_seg *s, float amount)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, 0.35f);
    const uint32_t seed = f->R->seed ^ 0xF06u;
    const float drift = f->tw * 0.03f * f->wind;
    hm_rgbf col = hm_mixc(f->pal.haze, hm_rgb(0.80f, 0.82f, 0.84f), 0.35f * (1.0f - f->pal.night));
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float lu = hm_cam_u(c, s->u[i]), h = hm_cam_h(c, s->v[i]);
        const float n = hm_noise2(lu * 1.6f + drift, h * 4.5f, seed) + 0.5f * hm_noise2(lu * 3.6f + 2.2f * drift, h * 9.0f + 0.2f * drift, seed + 1u);
        const float band = 1.0f / (1.0f + (h + 0.03f) * (h + 0.03f) * (h > -0.03f ? 14.0f : 9.0f));
        hm_over(s, i, col, hm_sat(band * (0.74f + 0.22f * n)) * amount);
    }
}

/* Soft slanted streaks in two sheets over a grey veil. */
HM_FAST static void rain(const hm_frame *f, const hm_seg *s, float amount)
{
    HM_LOCAL(f, s);
    const uint32_t seed = f->R->seed ^ 0x8A1Du;
    const float slant = 0.22f * f->wind, px = s->px;
    const hm_rgbf veil = hm_mixc(f->pal.haze, hm_rgb(0.70f, 0.75f, 0.82f), 0.35f * (1.0f - f->pal.night));
    const hm_rgbf drop = hm_mixc(hm_scalec(f->pal.haze, 1.25f), hm_rgb(0.88f, 0.92f, 1.0f), 0.5f);
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float u = s->u[i] + slant * s->v[i], v = s->v[i];
        const float sheet = hm_noise2(u * 2.2f - 0.15f * f->tw * f->wind, v * 0.7f - f->tw * 0.45f, seed);
        float k = 0.0f;
        k += hm_step(0.10f, 0.85f, hm_noise2(u * 38.0f, v * 2.6f - f->t * 1.9f, seed + 1u)) * hm_band(px * 38.0f);
        k += 1.2f * hm_step(0.15f, 0.90f, hm_noise2(u * 19.0f + 40.0f, v * 1.7f - f->t * 1.7f, seed + 2u)) * hm_band(px * 19.0f);
        hm_over(s, i, veil, hm_sat(amount * (0.20f + 0.12f * sheet)));
        hm_over(s, i, drop, hm_sat(amount * k * 0.30f));
    }
}

/* Few large soft flakes, three depths; every flake at least three pixels wide at 144 lines. */
HM_FAST static void snow(const hm_frame *f, const hm_seg *s)
{
    HM_LOCAL(f, s);
    const hm_rgbf white = hm_mixc(hm_rgb(1, 1, 1), f->pal.haze, 0.35f * f->pal.night);
    for (int j = 0; j < 3; j++) {
        const float cell = 0.115f + 0.055f * (float)j, rad = 0.0095f + 0.0045f * (float)j;
        const uint32_t seed = f->R->seed + 61u * (uint32_t)j;
        const float fall = f->t * (0.055f + 0.030f * (float)j), side = f->wind * f->t * (0.015f + 0.008f * (float)j);
        const float ip = 1.0f / (rad * rad + 0.18f * s->px * s->px), area = rad * rad * ip;
#pragma omp simd
        for (int i = 0; i < s->n; i++) {
            const float y = (s->v[i] - fall) / cell, x = (s->u[i] - side) / cell + 0.37f * (float)j;
            const int iy = hm_ifloor(y), ix = hm_ifloor(x);
            const uint32_t h = hm_hash2(ix, iy, seed);
            const float wob = 0.10f * hm_sin1(f->t * 0.22f + hm_hashf(h * 5u));
            const float dx = (x - (float)ix - 0.30f - 0.40f * hm_hashf(h) - wob) * cell, dy = (y - (float)iy - 0.22f - 0.56f * hm_hashg(h)) * cell;
            const float k = hm_sat(1.0f - 0.55f * (dx * dx + dy * dy) * ip), on = hm_hashf(h * 3u) < 0.66f ? 1.0f : 0.0f;
            hm_over(s, i, white, k * k * on * area * (0.62f + 0.10f * (float)j));
        }
    }
}

HM_PIXEL void hm_draw_veil(const hm_frame *f, const hm_seg *s, float amount)
{
    switch (f->R->s.fact[HM_FACT_WEATHER]) {
    case HM_WEATHER_FOG: fog(f, s, amount); break;
    case HM_WEATHER_RAIN: rain(f, s, 1.0f); break;
    case HM_WEATHER_STORM: rain(f, s, 0.40f); break;
    case HM_WEATHER_SNOW: snow(f, s); break;
    default: break;
    }
}
