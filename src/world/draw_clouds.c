/* draw_clouds.c - clouds on a curved ceiling, towering cumulus, the sea of clouds below us.   SPDX-License-Identifier: MIT
 * Density is noise; light is the fall of density towards the sun, which is what thick clouds show. Octaves drift at their
 * own speeds, so that shapes form and dissolve. */
#include "world/render.h"

#define PUFFS_MEAN 0.904f /* of hm_puffs2, measured: what remains where it is finer than a pixel */

typedef struct { float drift, th, soft, alpha, scale, stretch, contrast; } deck;

HM_INLINE float deck_field(float x, float y, float drift, float foot, uint32_t seed)
{
    const float wx = 0.35f * hm_noise2(x * 0.7f + drift * 0.3f, y * 0.7f, seed + 9u);
    float n = hm_noise2(x + drift + wx, y, seed);
    n += 0.52f * hm_noise2(x * 2.03f + drift * 2.25f + wx, y * 2.03f + 7.1f + drift * 0.15f, seed + 1u) * hm_band(foot * 2.0f);
    n += 0.27f * hm_noise2(x * 4.1f + drift * 4.7f, y * 4.1f + 3.3f - drift * 0.3f, seed + 2u) * hm_band(foot * 4.1f);
    n += 0.13f * hm_noise2(x * 8.3f + drift * 9.8f, y * 8.3f + 1.7f, seed + 3u) * hm_band(foot * 8.3f);
    return n;
}

/* Clouds open round the moon: 1 far from it. */
HM_INLINE float round_moon(const hm_frame *f, float lu, float h, float reach)
{
    const float du = lu - f->moon_u, dh = h - f->moon_h, d = (du * du + dh * dh) * reach;
    return d / (1.0f + d);
}

/* A flat layer of clouds overhead in perspective. */
HM_FAST static void ceiling(const hm_frame *f, const hm_seg *s, deck d, uint32_t seed)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, 0.06f);
    const hm_pal *p = &f->pal;
    const float drift = f->tc * d.drift * f->wind, ahead = f->fly * 0.05f + f->tc * 0.0015f;
    const float low = 1.0f - hm_step(0.10f, 0.40f, f->sun_h), px = s->px * c.iz;
    const float reach = f->R->has_moon ? 0.35f / (f->R->moon_r * f->R->moon_r) : 1.0e6f;
    if (hm_cam_h(c, s->v0) < -0.02f) return;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float lu = hm_cam_u(c, s->u[i]), h = hm_cam_h(c, s->v[i]), hp = h < 0.0f ? 0.0f : h;
        const float z = 1.0f / (hp + 0.17f), du = f->sun_u - lu, dh = f->sun_h - h;
        const float il = 0.020f / hm_sqrt(du * du + dh * dh + 0.01f), hq = hp + dh * il + 0.17f;
        const float zq = 1.0f / (hq < 0.08f ? 0.08f : hq), foot = px * z * z * d.scale * 0.8f;
        const float n = deck_field(lu * z * d.scale / d.stretch, z * d.scale + ahead, drift, foot, seed);
        const float m = deck_field((lu + du * il) * zq * d.scale / d.stretch, zq * d.scale + ahead, drift, foot, seed);
        const float cov = hm_step(d.th, d.th + d.soft + foot * 0.3f, n) * hm_step(-0.01f, 0.14f, h) * round_moon(f, lu, h, reach);
        const float lit = hm_sat(0.52f + d.contrast * (n - m) - 0.28f * (n - d.th - 0.3f));
        const float r2 = du * du + dh * dh * 2.0f, near = 1.0f / (1.0f + r2 * 7.0f);
        const float rim = near * (1.0f - 0.7f * cov) * (0.35f + 0.55f * low) * p->glow;
        hm_rgbf col = hm_mixc(p->shade, p->lit, lit);
        col = hm_mixc(col, p->sun, hm_sat(rim));
        col = hm_mixc(col, p->haze, 0.55f * (1.0f - hm_step(0.0f, 0.25f, h)));
        hm_over(s, i, col, cov * d.alpha);
    }
}

/* A heap of cloud in each cell of a row along the horizon: flat foot, cauliflower top. */
HM_INLINE float heap_field(float x, float y, float cell, float tc, float px, uint32_t seed)
{
    const float g = x / cell;
    const int k = hm_ifloor(g - 0.5f);
    float e = -1.0f;
    for (int j = 0; j < 2; j++) {
        const uint32_t h = hm_hash2(k + j, 3, seed);
        const float mid = ((float)(k + j) + 0.35f + 0.30f * hm_hashf(h) + 0.15f) * cell;
        const float wide = cell * (0.40f + 0.16f * hm_hashg(h)), tall = cell * (0.42f + 0.38f * hm_hashf(h * 0x2C1B3C6Du));
        const float foot = cell * (0.06f + 0.10f * hm_hashg(h * 0x297A2D39u));
        const float dx = (x - mid) / wide, bell = 1.0f - dx * dx, dy = y - foot;
        const float top = tall * bell * (0.62f + 0.38f * hm_noise1(x * 3.1f / cell + 9.0f * hm_hashf(h), seed + 4u));
        const float up = (top - dy) / cell * 2.1f, low = dy / cell * 4.0f + 0.22f;
        const float q = up < low ? up : low;
        e = q > e ? q : e;
    }
    const float w = 1.0f / cell, morph = tc * 0.004f;
    const float b1 = hm_puffs2(x * w * 5.5f, y * w * 5.5f - morph, seed + 1u);
    const float b2 = hm_mixf(PUFFS_MEAN, hm_puffs2(x * w * 12.0f + morph, y * w * 12.0f, seed + 2u), hm_band(px * w * 12.0f));
    const float b3 = hm_noise2(x * w * 24.0f, y * w * 24.0f + 2.0f * morph, seed + 3u) * hm_band(px * w * 24.0f);
    return hm_clampf(e, -2.0f, 0.55f) + 0.50f * (b1 - 0.52f) + 0.26f * (b2 - 0.42f) + 0.08f * b3;
}

HM_FAST static void heaps(const hm_frame *f, const hm_seg *s, float cell, float lift, float far, uint32_t seed)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, 0.02f + 0.10f * (1.0f - far));
    const hm_pal *p = &f->pal;
    const float drift = f->tc * f->wind * 0.0016f * cell, px = s->px * c.iz;
    const float low = 1.0f - hm_step(0.10f, 0.40f, f->sun_h), grow = 1.0f / (1.0f + 0.010f * f->fly);
    const float reach = f->R->has_moon ? 0.22f / (f->R->moon_r * f->R->moon_r) : 1.0e6f;
    if (hm_cam_h(c, s->v0) < -0.02f || hm_cam_h(c, s->v1) > lift + cell * 1.25f) return;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float lu = hm_cam_u(c, s->u[i]) * grow, h = hm_cam_h(c, s->v[i]) * grow;
        const float du = f->sun_u - lu, dh = f->sun_h + 0.25f - h, il = 0.16f * cell / hm_sqrt(du * du + dh * dh + 0.02f);
        const float n = heap_field(lu - drift, h - lift, cell, f->tc, px, seed);
        const float m = heap_field(lu - drift + du * il, h - lift + dh * il, cell, f->tc, px, seed);
        const float cov = hm_step(0.0f, 0.20f + 3.0f * px / cell, n) * hm_step(0.0f, 0.10f, h) * round_moon(f, lu, h, reach);
        const float up = hm_sat((h - lift) / (cell * 0.6f));
        const float lit = hm_sat(0.30f + 0.95f * (n - m) + 0.50f * up - 0.08f * n);
        const float r2 = du * du + dh * dh, rim = hm_sat((1.0f - n * 1.6f) * p->glow * low / (1.0f + r2 * 5.0f)) * 0.8f;
        hm_rgbf col = hm_mixc(p->shade, p->lit, lit);
        col = hm_mixc(col, p->sun, rim);
        col = hm_mixc(col, p->haze, far * 0.35f + 0.35f * (1.0f - hm_step(0.0f, 0.25f, h)));
        hm_over(s, i, col, cov * (1.0f - 0.15f * far));
    }
}

HM_PIXEL void hm_draw_clouds(const hm_frame *f, const hm_seg *s)
{
    const uint32_t seed = f->R->seed ^ 0xC10Du;
    const float j = f->R->rnd[12] - 0.5f;
    switch (f->R->s.fact[HM_FACT_WEATHER]) {
    case HM_WEATHER_CLEAR:
        ceiling(f, s, (deck){0.0022f, 0.12f + 0.1f * j, 0.85f, 0.30f, 0.55f, 3.2f, 0.5f}, seed);
        break;
    case HM_WEATHER_SCATTERED:
        ceiling(f, s, (deck){0.0045f, 0.10f + 0.08f * j, 0.42f, 0.94f, 0.95f, 1.5f, 1.5f}, seed);
        break;
    case HM_WEATHER_CUMULUS:
        heaps(f, s, 0.36f, 0.00f, 1.0f, seed + 40u);
        heaps(f, s, 0.74f, 0.08f + 0.06f * j, 0.0f, seed + 80u);
        break;
    case HM_WEATHER_RAINBOW:
        ceiling(f, s, (deck){0.0045f, 0.02f, 0.55f, 0.85f, 0.8f, 1.6f, 1.4f}, seed);
        break;
    case HM_WEATHER_OVERCAST:
        ceiling(f, s, (deck){0.0040f, -0.75f, 1.3f, 0.90f, 0.85f, 2.0f, 1.1f}, seed);
        break;
    case HM_WEATHER_RAIN:
        ceiling(f, s, (deck){0.0055f, -0.80f, 1.2f, 0.92f, 0.80f, 1.7f, 1.3f}, seed);
        break;
    case HM_WEATHER_STORM:
        ceiling(f, s, (deck){0.0075f, -0.65f, 1.0f, 0.95f, 0.70f, 1.2f, 1.9f}, seed);
        break;
    case HM_WEATHER_SNOW:
        ceiling(f, s, (deck){0.0035f, -0.6f, 1.4f, 0.75f, 0.7f, 2.0f, 0.8f}, seed);
        break;
    default:
        ceiling(f, s, (deck){0.0030f, 0.0f, 0.9f, 0.35f, 0.7f, 2.0f, 0.7f}, seed);
    }
}

/* The sea of clouds: rows of billows from the horizon to our feet, drifting or flown over. */
HM_FAST static void billows(const hm_frame *f, const hm_seg *s, float q, uint32_t seed)
{
    HM_LOCAL(f, s);
    const float sc = hm_expneg(-(1.0f - q) * 3.1f), base = -0.012f - 0.62f * (sc - 0.045f), p0 = sc;
    const hm_cam c = hm_cam_at(f, p0);
    const hm_pal *p = &f->pal;
    const float amp = 0.30f * sc, px = s->px * c.iz, ig = 1.0f / (0.62f * sc), low = 1.0f - hm_step(0.10f, 0.40f, f->sun_h);
    if (hm_cam_h(c, s->v0) < base - 0.95f * amp - 0.5f * sc || hm_cam_h(c, s->v1) > base + amp) return;
    const float drift = f->tc * f->wind * 0.0035f, alpha = hm_step(0.0f, 0.12f, q);
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float lu = hm_cam_u(c, s->u[i]), h = hm_cam_h(c, s->v[i]);
        const float x = lu * ig + drift, y = (h - base) * ig, side = f->sun_u > lu ? 0.10f : -0.10f;
        const float ft = px * ig;
        float n = hm_noise1(x * 0.9f, seed) * 0.16f + hm_noise1(x * 2.1f + drift, seed + 1u) * 0.07f - y;
        const float bk = hm_band(ft * 3.2f), b1 = hm_mixf(PUFFS_MEAN, hm_puffs2(x * 3.0f, y * 3.4f + 0.3f * drift, seed + 2u), bk);
        const float b2 = hm_mixf(PUFFS_MEAN, hm_puffs2(x * 7.0f + 0.4f * drift, y * 8.0f, seed + 3u), hm_band(ft * 7.5f));
        const float l1 = hm_mixf(PUFFS_MEAN, hm_puffs2((x + side) * 3.0f, (y + 0.09f) * 3.4f + 0.3f * drift, seed + 2u), bk);
        n += 0.34f * (b1 - 0.42f) + 0.12f * (b2 - 0.4f);
        const float cov = hm_step(-0.04f - ft, 0.05f + ft, n) * alpha;
        const float lit = hm_sat(0.62f + 0.9f * (b1 - l1) + 0.22f * (b2 - 0.4f) - 0.42f * hm_sat(n * 1.3f));
        const float du = f->sun_u - lu, path = 1.0f / (1.0f + du * du * 5.0f);
        hm_rgbf col = hm_mixc(p->shade, p->lit, lit);
        col = hm_mixc(col, p->sun, hm_sat(path * p->glow * (0.12f + 0.30f * low) * lit));
        col = hm_mixc(col, p->haze, 0.55f * (1.0f - q) * (1.0f - q));
        hm_over(s, i, col, cov);
    }
}

HM_PIXEL void hm_draw_cloud_sea(const hm_frame *f, const hm_seg *s)
{
    enum { ROWS = 7 };
    const float go = f->fly * 0.11f;
    const int turn = hm_ifloor(go);
    const float part = go - (float)turn;
    for (int k = 0; k < ROWS; k++) /* row k comes nearer and leaves below; behind it follow new ones */
        billows(f, s, ((float)k + part) / (ROWS - 0.5f), f->R->seed + 977u * (uint32_t)(k - turn));
}
