/* draw_terrain.c - land: ranges on the horizon, rows of hills, dunes and pines that can be flown over.
 * SPDX-License-Identifier: MIT
 * Rows lie at depths in geometric progression; flying moves every row one place nearer per second or two, new ones fade in
 * out of the haze at the horizon. x, y below are in units of the row's own scale sc. */
#include "world/render.h"

HM_INLINE float ridge1(float x, uint32_t seed) { return 1.0f - fabsf(hm_noise1(x, seed)); }
HM_INLINE float ridge2(float x, float y, uint32_t seed)
{
    return 1.0f - 1.6f * fabsf(hm_noise2(x, y, seed));
}

/* Snow throws back the light of the whole sky: it stays whiter than the sun's colour alone would paint it. */
HM_INLINE hm_rgbf snowy_light(hm_rgbf c, float white)
{
    const float l = hm_luma(c);
    return hm_mixc(c, hm_rgb(l * 1.02f, l * 1.07f, l * 1.16f), 0.62f * white);
}

typedef struct { float amp, freq, p, haze, snow; hm_rgbf rock; } range;

/* Snowy or bare mountains: ridged profile, faces lit from the sun's side, haze at the foot. */
HM_FAST static void mountains(const hm_frame *f, const hm_seg *s, range m, uint32_t seed)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, m.p);
    const hm_pal *p = &f->pal;
    const float px = s->px * c.iz, side = f->sun_u > 0.0f ? 0.012f : -0.012f, grow = 1.0f / (1.0f + 0.012f * f->fly);
    if (hm_cam_h(c, s->v1) > m.amp * 1.25f || hm_cam_h(c, s->v0) < (f->R->has_water ? -0.04f : -0.25f)) return;
    const float k1 = hm_band(px * m.freq * 5.0f), k2 = hm_band(px * m.freq * 12.0f), k3 = hm_band(px * m.freq * 26.0f);
    const hm_rgbf snow = hm_rgb(0.96f, 0.97f, 1.0f);
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float lu = hm_cam_u(c, s->u[i]) * grow, h = hm_cam_h(c, s->v[i]) * grow, x = lu * m.freq;
        float top = 0.15f + 0.50f * ridge1(x, seed) + 0.26f * ridge1(x * 2.3f + 5.0f, seed + 1u);
        top += 0.10f * ridge1(x * 5.1f, seed + 2u) * k1 + 0.045f * hm_noise1(x * 13.0f, seed + 3u) * k2;
        top *= m.amp;
        const float d = top - h, cov = hm_cov(d, px * 1.7f), y = d * m.freq;
        const float wx = x + 0.10f * hm_noise2(x * 4.0f, y * 4.0f, seed + 4u), q = side * 3.0f * m.freq;
        float face = 0.8f * (ridge2(wx * 3.4f + y * 1.1f, y * 1.3f, seed + 5u) - ridge2((wx + q) * 3.4f + y * 1.1f, y * 1.3f, seed + 5u));
        face += 0.5f * k2 * (ridge2(wx * 8.5f - 2.2f * y, y * 3.0f, seed + 6u) - ridge2((wx + q) * 8.5f - 2.2f * y, y * 3.0f, seed + 6u));
        const float fine = hm_noise2(x * 20.0f, y * 22.0f, seed + 7u) * k3;
        const float lit = hm_sat(0.52f + 1.25f * face + 0.16f * fine);
        const float line = m.amp * (0.42f - 0.36f * m.snow) + 0.10f * m.amp * hm_noise2(x * 4.0f, y * 3.0f, seed + 8u);
        const float white = hm_step(line - 0.03f, line + 0.05f, h + 0.05f * m.amp * face) * (m.snow > 0.0f ? 1.0f : 0.0f);
        hm_rgbf col = snowy_light(hm_lightc(p, hm_mixc(m.rock, snow, white), lit), white);
        col = hm_mixc(col, p->haze, hm_sat(m.haze + 0.58f * (1.0f - hm_sat(h / (m.amp * 0.55f)))));
        hm_over(s, i, col, cov);
    }
}

enum { LAND_HILLS, LAND_PINES, LAND_DUNES, LAND_SNOW };
typedef struct { float sc, base, q, alpha; int kind; } strip; /* q: 0 at the horizon .. 1 at our feet */

HM_INLINE float strip_top(int kind, float x, uint32_t seed)
{
    const float a = hm_noise1(x * 0.55f, seed), b = hm_noise1(x * 1.3f + 4.0f, seed + 1u);
    if (kind == LAND_DUNES) {
        const float r = 1.0f - fabsf(a);
        return 0.34f * r * r + 0.07f * b;
    }
    return 0.17f * a + 0.06f * b;
}

HM_INLINE hm_rgbf strip_albedo(int kind, float x, float y, float ft, uint32_t seed)
{
    const float n = hm_noise2(x * 1.4f, y * 3.5f, seed + 2u);
    const float fine = hm_noise2(x * 7.0f, y * 18.0f, seed + 3u) * hm_band(ft * 18.0f);
    if (kind == LAND_DUNES) {
        const float wave = hm_sin1(y * 9.0f + x * 1.2f + 1.2f * n) * hm_band(ft * 18.0f);
        return hm_scalec(hm_rgb(0.95f, 0.72f, 0.43f), 1.0f + 0.05f * n + 0.045f * wave);
    }
    if (kind == LAND_SNOW) return hm_scalec(hm_rgb(0.90f, 0.93f, 0.98f), 1.0f + 0.07f * n + 0.03f * fine);
    if (kind == LAND_PINES) return hm_scalec(hm_rgb(0.12f, 0.25f, 0.16f), 1.0f + 0.25f * n + 0.15f * fine);
    return hm_scalec(hm_mixc(hm_rgb(0.36f, 0.60f, 0.20f), hm_rgb(0.58f, 0.68f, 0.26f), hm_step(-0.3f, 0.5f, n)), 1.0f + 0.12f * fine);
}

/* The ground of a strip. */
HM_INLINE void ground_of(const hm_frame *f, const hm_seg *s, strip t, uint32_t seed)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, t.sc);
    const hm_pal *p = &f->pal;
    const float is = 1.0f / t.sc, px = s->px * c.iz, ft = px * is, side = f->sun_u > 0.0f ? 0.08f : -0.08f;
    if (hm_cam_h(c, s->v1) > t.base + 0.45f * t.sc) return;
    const float far = (t.kind == LAND_SNOW ? 0.45f : 0.78f) * (1.0f - t.q) * (1.0f - t.q) + 0.05f;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float x = hm_cam_u(c, s->u[i]) * is, y = (hm_cam_h(c, s->v[i]) - t.base) * is;
        const float top = strip_top(t.kind, x, seed), d = top - y;
        const float slope = top - strip_top(t.kind, x + side, seed);
        const float bump = hm_noise2(x * 1.1f, y * 2.2f, seed + 5u) - hm_noise2((x + side * 2.0f), y * 2.2f + 0.1f, seed + 5u);
        const float fade = 1.0f / (1.0f + 2.5f * hm_sat(d));
        float lit = 0.50f + 6.0f * slope * fade + 0.30f * bump;
        if (t.kind == LAND_DUNES) lit = 0.55f + 7.0f * slope * fade + 0.2f * bump;
        hm_rgbf col = hm_lightc(p, strip_albedo(t.kind, x, y, ft, seed), hm_sat(lit));
        if (t.kind == LAND_SNOW) col = snowy_light(col, 1.0f);
        col = hm_mixc(col, p->haze, hm_sat(far + 0.22f * (1.0f - t.q) * hm_sat(d * 2.0f)));
        hm_over(s, i, col, hm_cov(d * t.sc, px) * t.alpha);
    }
}

HM_FAST static void ground(const hm_frame *f, const hm_seg *s, strip t, uint32_t seed)
{
    switch (t.kind) { /* one loop for each kind */
    case LAND_HILLS: t.kind = LAND_HILLS; ground_of(f, s, t, seed); break;
    case LAND_PINES: t.kind = LAND_PINES; ground_of(f, s, t, seed); break;
    case LAND_DUNES: t.kind = LAND_DUNES; ground_of(f, s, t, seed); break;
    default: t.kind = LAND_SNOW; ground_of(f, s, t, seed);
    }
}

/* Round trees standing on the crest of a hill. */
HM_FAST static void trees(const hm_frame *f, const hm_seg *s, strip t, uint32_t seed)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, t.sc);
    const hm_pal *p = &f->pal;
    const float is = 1.0f / t.sc, px = s->px * c.iz, cell = 0.27f, side = f->sun_u > 0.0f ? 1.0f : -1.0f;
    if (hm_cam_h(c, s->v1) > t.base + 0.55f * t.sc || hm_cam_h(c, s->v0) < t.base - 0.30f * t.sc) return;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float x = hm_cam_u(c, s->u[i]) * is, y = (hm_cam_h(c, s->v[i]) - t.base) * is;
        const int k = hm_ifloor(x / cell);
        const uint32_t h = hm_hash2(k, 17, seed);
        const float r = 0.058f + 0.034f * hm_hashg(h), on = hm_hashf(h * 0x297A2D39u) < 0.40f + 0.40f * hm_noise1((float)k * 0.35f, seed + 9u) ? 1.0f : 0.0f;
        const float mx = ((float)k + 0.36f + 0.28f * hm_hashf(h)) * cell, my = strip_top(t.kind, mx, seed) + r * 1.05f;
        const float dx = x - mx, dy = y - my, ang = hm_noise2(x * 22.0f, y * 22.0f, seed + 8u) * 0.12f * hm_band(px * is * 22.0f);
        const float d = r * (1.0f + ang) - hm_sqrt(dx * dx + dy * dy * 0.80f);
        const float trunk = r * 0.13f - fabsf(dx), below = (dy < 0.0f ? 1.0f : 0.0f) * (dy > -r * 1.35f ? 1.0f : 0.0f);
        const float lit = hm_sat(0.45f + 0.35f * (dx * side + dy) / r + 2.0f * ang);
        hm_rgbf leaf = hm_lightc(p, hm_rgb(0.17f, 0.36f, 0.13f), lit), wood = hm_lightc(p, hm_rgb(0.24f, 0.17f, 0.11f), 0.5f);
        const float far = 0.70f * (1.0f - t.q) * (1.0f - t.q);
        hm_over(s, i, hm_mixc(wood, p->haze, far), hm_cov(trunk * t.sc, px) * below * on * t.alpha);
        hm_over(s, i, hm_mixc(leaf, p->haze, far), hm_cov(d * t.sc, px) * on * t.alpha);
    }
}

/* One row of pines; two rows a strip, shifted. */
HM_FAST static void pines(const hm_frame *f, const hm_seg *s, strip t, float shift, uint32_t seed)
{
    HM_LOCAL(f, s);
    const hm_cam c = hm_cam_at(f, t.sc);
    const hm_pal *p = &f->pal;
    const float is = 1.0f / t.sc, px = s->px * c.iz, cell = 0.215f, side = f->sun_u > 0.0f ? 1.0f : -1.0f;
    if (hm_cam_h(c, s->v1) > t.base + 0.75f * t.sc || hm_cam_h(c, s->v0) < t.base - 0.35f * t.sc) return;
    const float snowy = f->R->s.fact[HM_FACT_WEATHER] == HM_WEATHER_SNOW ? 1.0f : 0.0f;
    const float far = 0.75f * (1.0f - t.q) * (1.0f - t.q) + 0.04f, tier = hm_band(px * is * 20.0f);
    for (int j = -1; j <= 1; j++) {
#pragma omp simd
        for (int i = 0; i < s->n; i++) {
            const float x = hm_cam_u(c, s->u[i]) * is + shift, y = (hm_cam_h(c, s->v[i]) - t.base) * is;
            const int k = hm_ifloor(x / cell) + j;
            const uint32_t h = hm_hash2(k, 19, seed);
            const float mx = ((float)k + 0.3f + 0.4f * hm_hashf(h)) * cell, tall = 0.30f + 0.17f * hm_hashg(h);
            const float yy = (y - strip_top(t.kind, mx - shift, seed) + 0.06f) / tall, up = 1.0f - yy;
            const float saw = yy * 4.5f - (float)hm_ifloor(yy * 4.5f);
            const float sway = 0.010f * yy * hm_sin1(f->tw * 0.35f + hm_hashf(h)) * f->wind;
            const float half = 0.110f * (up < 1.0f ? up : 1.0f) * (0.75f + 0.5f * hm_hashf(h * 7u)) * (1.0f - 0.26f * saw * tier + 0.13f * (tier - 1.0f)), dx = x - mx - sway;
            const float d = (half - fabsf(dx)) * 0.93f;
            const float inside = (yy > -0.6f ? 1.0f : 0.0f) * (yy < 1.0f ? 1.0f : 0.0f);
            const float lit = hm_sat(0.45f + 2.6f * dx * side + 0.3f * yy - 0.3f * saw * tier), deep = 0.50f + 0.55f * hm_sat(yy + 0.15f);
            hm_rgbf leaf = hm_scalec(hm_rgb(0.15f, 0.31f, 0.20f), 0.82f + 0.36f * hm_hashf(h * 3u));
            leaf = hm_mixc(leaf, hm_rgb(0.92f, 0.95f, 1.0f), snowy * hm_sat(0.32f + 0.30f * saw * tier + 0.2f * yy));
            hm_rgbf col = hm_mixc(hm_scalec(hm_lightc(p, leaf, lit), deep), p->haze, hm_sat(far + 0.25f * (1.0f - t.q) * hm_sat(1.0f - yy)));
            hm_over(s, i, col, hm_cov(d * t.sc, px) * inside * t.alpha);
        }
    }
}

/* Rows from the haze to our feet. */
HM_PIXEL static void strips(const hm_frame *f, const hm_seg *s, int kind, int rows, float drop)
{
    const float go = f->fly * 0.34f;
    const int turn = hm_ifloor(go);
    for (int k = 0; k < rows; k++) {
        strip t;
        t.q = ((float)k + 0.55f + (go - (float)turn)) / ((float)rows + 0.3f);
        t.sc = hm_expneg(-(1.0f - t.q) * 2.5f) * 1.05f;
        t.base = -0.02f - drop * (t.sc - 0.10f);
        t.kind = kind;
        t.alpha = f->fly > 0.0f || f->R->camera == HM_CAMERA_FLY_OVER ? hm_step(0.05f, 0.22f, t.q) : 1.0f;
        const uint32_t seed = f->R->seed + 7919u * (uint32_t)(k - turn);
        ground(f, s, t, seed);
        if (kind == LAND_HILLS) trees(f, s, t, seed);
        if (kind == LAND_PINES) {
            pines(f, s, t, 0.0f, seed + 3u);
            strip n = t;
            n.base -= 0.10f * t.sc;
            pines(f, s, n, 0.37f, seed + 5u);
        }
    }
}

HM_PIXEL void hm_draw_far(const hm_frame *f, const hm_seg *s)
{
    const struct hm_renderer *r = f->R;
    const uint32_t seed = r->seed ^ 0x7E44u;
    const float a = 0.85f + 0.3f * r->rnd[13];
    const hm_rgbf rock = hm_rgb(0.44f, 0.42f, 0.46f), blue = hm_rgb(0.32f, 0.42f, 0.38f), sand = hm_rgb(0.80f, 0.58f, 0.38f);
    switch (r->s.fact[HM_FACT_PLACE]) {
    case HM_PLACE_MOUNTAINS:
        mountains(f, s, (range){0.36f * a, 1.7f, 0.05f, 0.34f, 1.0f, rock}, seed);
        mountains(f, s, (range){0.23f * a, 2.3f, 0.10f, 0.12f, 0.75f, rock}, seed + 50u);
        break;
    case HM_PLACE_LAKE:
        mountains(f, s, (range){0.30f * a, 1.9f, 0.03f, 0.30f, 0.55f, rock}, seed);
        mountains(f, s, (range){0.13f * a, 2.9f, 0.06f, 0.12f, 0.0f, hm_rgb(0.26f, 0.40f, 0.28f)}, seed + 50u);
        break;
    case HM_PLACE_HILLS: mountains(f, s, (range){0.13f * a, 1.6f, 0.05f, 0.55f, 0.0f, blue}, seed); break;
    case HM_PLACE_FOREST: mountains(f, s, (range){0.19f * a, 1.7f, 0.05f, 0.42f, 0.0f, blue}, seed); break;
    case HM_PLACE_DUNES: mountains(f, s, (range){0.06f * a, 1.4f, 0.05f, 0.55f, 0.0f, sand}, seed); break;
    case HM_PLACE_SKYLINE: hm_draw_city(f, s); break;
    case HM_PLACE_BEACH: /* a headland far out on one side */
    default: break;
    }
}

/* Wet and dry sand in front of the sea, a curved waterline with foam that comes and goes. */
HM_FAST static void beach(const hm_frame *f, const hm_seg *s)
{
    HM_LOCAL(f, s);
    const hm_pal *p = &f->pal;
    const uint32_t seed = f->R->seed ^ 0xBEACu;
    const float side = f->R->rnd[14] < 0.5f ? 1.0f : -1.0f, swash = 0.012f * hm_sin1(f->tw * 0.16f);
    if (s->v1 < f->vh + 0.08f) return;
    const hm_cam far = hm_cam_at(f, 0.5f);
    const float px = s->px * far.iz;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float lu = hm_cam_u(far, s->u[i]), d = -hm_cam_h(far, s->v[i]);
        const float line = 0.205f + 0.05f * side * lu + 0.030f * hm_noise1(lu * 1.3f, seed) + 0.010f * hm_noise1(lu * 4.0f + 0.1f * f->tw, seed + 1u);
        const float e = d - line - swash, x = lu / (d + 0.1f), z = 1.0f / (d + 0.05f);
        const float n = hm_noise2(x * 3.0f, z * 5.0f, seed + 2u) * hm_band(px * z * z * 5.0f);
        const float wet = 1.0f - hm_step(0.005f, 0.075f, d - line + 0.006f);
        hm_rgbf col = hm_lightc(p, hm_scalec(hm_mixc(hm_rgb(0.93f, 0.82f, 0.62f), hm_rgb(0.58f, 0.50f, 0.42f), wet), 1.0f + 0.05f * n), 0.55f);
        col = hm_mixc(col, hm_rgb(f->lut[0][20], f->lut[1][20], f->lut[2][20]), 0.30f * wet);
        hm_over(s, i, col, hm_cov(e, px));
        const float foam = hm_step(-0.030f, -0.004f, e) * (1.0f - hm_step(0.000f, 0.010f, e));
        const float e2 = e + 0.055f + 0.02f * hm_sin1(f->tw * 0.11f + 0.3f + 0.2f * lu);
        const float second = hm_step(-0.014f, -0.002f, e2) * (1.0f - hm_step(0.001f, 0.012f, e2)) * 0.55f;
        hm_over(s, i, hm_lightc(p, hm_rgb(0.97f, 0.98f, 1.0f), 0.6f), hm_sat(foam * 0.9f + second * (0.7f + 0.3f * n)));
    }
}

HM_PIXEL void hm_draw_near(const hm_frame *f, const hm_seg *s)
{
    switch (f->R->s.fact[HM_FACT_PLACE]) {
    case HM_PLACE_MOUNTAINS: strips(f, s, LAND_SNOW, 3, 0.60f); break;
    case HM_PLACE_HILLS: strips(f, s, LAND_HILLS, 5, 0.58f); break;
    case HM_PLACE_FOREST: strips(f, s, LAND_PINES, 3, 0.60f); break;
    case HM_PLACE_DUNES: strips(f, s, LAND_DUNES, 4, 0.62f); break;
    case HM_PLACE_BEACH: beach(f, s); break;
    case HM_PLACE_STORMY_SEA: hm_draw_swell(f, s); break;
    case HM_PLACE_ABOVE_CLOUDS: hm_draw_cloud_sea(f, s); break;
    default: break;
    }
}
