/* draw_water.c - sea and lake: the mirror image of what is above, bent by waves, the depth's colour, glitter, foam.
 * SPDX-License-Identifier: MIT
 * Waves are noise on the plane (x, z) = (u, 1) * depth; octaves fade with the pixel's footprint on the plane. */
#include "world/render.h"

/* Heights of the waves per pixel into wave[], 0 above the horizon. */
HM_FAST static void waves(const hm_frame *f, const hm_seg *s, float *restrict wave, float *restrict crest)
{
    HM_LOCAL(f, s);
    const hm_cam far = hm_cam_at(f, 0.0f);
    const float rough = f->R->sea > 0.6f ? 1.0f : 0.0f, t = f->tw, ahead = f->fly * 0.9f, w = f->wind;
    const uint32_t seed = f->R->seed ^ 0x3EAu;
    const float scale = rough > 0.0f ? 0.55f : 1.0f;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float d = hm_clampf((s->v[i] - far.vh) * far.iz, 0.0f, 2.0f);
        const float lu = (s->u[i] - far.cx) * far.iz + far.cx + far.ox + f->pan1 * d * 2.5f;
        const float q = 1.0f / (d + 0.05f), x = lu * q * scale, z = q * scale + ahead, ft = s->px * far.iz * q * q * scale;
        float n = 0.50f * hm_noise2(x * 0.42f + 0.10f * w * t, z * 0.85f + 0.18f * t, seed) * hm_band(ft * 0.85f);
        n += 0.40f * hm_noise2(x * 1.0f - 0.16f * w * t, z * 2.2f + 0.38f * t, seed + 1u) * hm_band(ft * 2.2f);
        n += 0.26f * hm_noise2(x * 2.4f + 0.30f * w * t, z * 5.2f + 0.70f * t, seed + 2u) * hm_band(ft * 5.2f);
        n += 0.15f * hm_noise2(x * 5.6f - 0.50f * w * t, z * 11.5f + 1.10f * t, seed + 3u) * hm_band(ft * 11.5f);
        wave[i] = n;
        const float c1 = 1.0f - 2.2f * fabsf(hm_noise2(x * 0.8f + 0.25f * w * t + 0.3f * n, z * 2.6f + 0.55f * t, seed + 6u));
        crest[i] = c1 * hm_band(ft * 2.0f) + 0.35f * n;
    }
}

HM_FAST static void blend(const hm_frame *f, const hm_seg *s, const hm_seg *m, const float *wave, const float *crest)
{
    HM_LOCAL(f, s);
    const hm_pal *p = &f->pal;
    const hm_cam far = hm_cam_at(f, 0.0f);
    const float sea = f->R->sea, rough = sea > 0.6f ? 1.0f : 0.0f, low = 1.0f - hm_step(0.15f, 0.45f, f->sun_h);
    const bool moonrise = f->R->s.fact[HM_FACT_SUBJECT] == HM_SUBJECT_MOONRISE;
    const float shine = moonrise ? 0.62f : f->R->has_moon ? 0.58f : p->disc * (0.40f + 0.35f * low);
    const float su = hm_cam_su(far, f->R->has_moon ? f->moon_u : f->sun_u);
    const hm_rgbf gleam = moonrise ? hm_rgb(1.0f, 0.88f, 0.66f) : p->sun;
    const hm_rgbf foam = hm_lightc(p, hm_rgb(0.93f, 0.96f, 0.98f), 0.5f);
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float d = (s->v[i] - far.vh) * far.iz, e = d < 0.0f ? 0.0f : d, n = wave[i];
        float k = 0.88f - 0.55f * hm_step(0.0f, 0.50f, e) * (1.0f - 0.45f * low) - rough * 0.28f;
        k = hm_sat(k - 0.30f * n * (sea + 0.25f));
        hm_rgbf deep = hm_mixc(p->water, p->haze, 0.45f * (1.0f - hm_step(0.0f, 0.10f, e)));
        if (rough > 0.0f) deep = hm_scalec(hm_mixc(deep, hm_rgb(0.20f, 0.36f, 0.38f), 0.35f * (1.0f - p->night)), 1.0f + 0.55f * crest[i]);
        hm_rgbf col = hm_mixc(deep, hm_rgb(m->r[i], m->g[i], m->b[i]), k);
        const float bright = 1.0f + (0.16f + 0.25f * sea) * n;
        col = hm_scalec(col, bright);
        const float du = (s->u[i] - su) / (0.035f + 0.22f * e + 0.05f * sea), core = 1.0f / (1.0f + du * du * du * du + du * du);
        const float sparkle = hm_sat(0.42f + 1.1f * n);
        const float gl = hm_sat(shine * core * sparkle * (1.15f - 0.9f * e));
        col = hm_addc(col, hm_mulc(hm_scalec(gleam, gl), hm_rgb(1.0f - hm_sat(col.r), 1.0f - hm_sat(col.g), 1.0f - hm_sat(col.b))));
        const float white = rough * hm_step(0.62f, 1.05f, crest[i]) * hm_step(0.01f, 0.10f, e) * 0.85f;
        col = hm_mixc(col, foam, white);
        col = hm_mixc(col, p->haze, 0.35f * (1.0f - hm_step(0.0f, 0.05f, e)) * (1.0f - 0.5f * low));
        hm_over(s, i, col, hm_cov(d, s->px));
    }
}

/* One rolling wave of a stormy sea: a dark face under a bright crest, foam running down from it. */
HM_FAST static void roller(const hm_frame *f, const hm_seg *s, float q, uint32_t seed)
{
    HM_LOCAL(f, s);
    const float sc = hm_expneg(-(1.0f - q) * 2.3f), p0 = sc;
    const hm_cam c = hm_cam_at(f, p0);
    const hm_pal *p = &f->pal;
    const float px = s->px * c.iz, is = 1.0f / sc, heave = 0.020f * hm_sin1(f->tw * 0.13f + hm_hashf(seed * 3u));
    const float base = -0.015f - 0.42f * (sc - 0.09f) + heave * sc, fade = hm_step(0.0f, 0.15f, q) * (1.0f - hm_step(0.90f, 1.0f, q));
    if (hm_cam_h(c, s->v1) > base + 0.13f * sc || hm_cam_h(c, s->v0) < base - 0.42f * sc) return;
    const float go = f->tw * f->wind * 0.11f + hm_hashg(seed) * 9.0f, night = 1.0f - p->night;
    const hm_rgbf sky = hm_rgb(f->lut[0][30], f->lut[1][30], f->lut[2][30]);
    const hm_rgbf deep = hm_mixc(hm_scalec(p->water, 0.85f), hm_rgb(0.10f, 0.24f, 0.28f), 0.45f * night);
    const hm_rgbf top = hm_mixc(hm_mixc(deep, sky, 0.50f), hm_rgb(0.35f, 0.60f, 0.58f), 0.22f * night);
    const hm_rgbf foam = hm_mixc(hm_lightc(p, hm_rgb(0.95f, 0.98f, 1.0f), 0.6f), p->haze, 0.25f * (1.0f - q));
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float x = hm_cam_u(c, s->u[i]) * is + go, y = (hm_cam_h(c, s->v[i]) - base) * is;
        const float a = hm_noise1(x * 1.15f, seed), b = hm_noise1(x * 2.7f + 0.25f * f->tw, seed + 1u);
        const float crest = 0.085f * a + 0.030f * b, d = crest - y, e = d < 0.0f ? 0.0f : d;
        const float n = hm_noise2(x * 4.0f + 0.2f * f->tw, e * 9.0f - 0.25f * f->tw, seed + 2u) * hm_band(px * is * 9.0f);
        const float body = 1.0f - hm_step(0.10f, 0.36f, e), face = hm_step(0.0f, 0.20f, e + 0.05f * n);
        hm_rgbf col = hm_scalec(hm_mixc(top, deep, face), 1.0f + 0.22f * n);
        const float break_ = hm_step(-0.15f, 0.45f, a + 0.5f * b), run = 1.0f - hm_step(0.012f, 0.035f + 0.075f * break_, e + 0.03f * n);
        col = hm_mixc(col, foam, run * (0.25f + 0.70f * break_));
        hm_over(s, i, hm_mixc(col, p->haze, 0.45f * (1.0f - q) * (1.0f - q)), hm_cov(d * sc, px) * body * fade);
    }
}
HM_PIXEL void hm_draw_swell(const hm_frame *f, const hm_seg *s)
{
    enum { ROWS = 7 };
    const float go = f->tw * 0.10f + f->fly * 0.35f;
    const int turn = hm_ifloor(go);
    for (int k = 0; k < ROWS; k++)
        roller(f, s, ((float)k + go - (float)turn) / ROWS, hm_hash2(k - turn, 5, f->R->seed));
}

HM_PIXEL void hm_draw_water(const hm_frame *f, const hm_seg *s)
{
    if (s->v1 < f->vh - s->px) return;
    float wave[HM_SEG], crest[HM_SEG], u[HM_SEG], v[HM_SEG], r[HM_SEG], g[HM_SEG], b[HM_SEG];
    waves(f, s, wave, crest);
    const float sea = f->R->sea;
    for (int i = 0; i < s->n; i++) {
        const float d = s->v[i] - f->vh, e = d < 0.0f ? 0.0f : d, push = (0.02f + 0.55f * sea) * (e * 0.55f + 0.004f) * wave[i];
        const float m = f->vh - e * (1.0f + 0.25f * sea) + push * 1.2f;
        u[i] = s->u[i] + push * 0.35f;
        v[i] = m > f->vh - 0.001f ? f->vh - 0.001f : m;
    }
    const float ripple = 0.007f + 0.010f * sea, px = s->px * (1.0f + sea); /* small waves blur the image at any size */
    hm_seg m = {s->n, hm_sqrt(px * px + ripple * ripple), u, v, 0, 0, 0, 0, r, g, b, true};
    hm_draw_behind_water(f, &m);
    blend(f, s, &m, wave, crest);
    if (s->v1 <= f->vh) return;
    for (int i = 0; i < s->n; i++) { /* subjects on the water mirror about their own foot */
        u[i] = s->u[i] + 0.02f * (0.5f + sea) * wave[i];
        v[i] = s->v[i] + 0.02f * (0.5f + sea) * wave[i];
    }
    hm_seg w = *s;
    w.u = u;
    w.v = v;
    w.mirror = true;
    hm_draw_ground_subject(f, &w);
}
