/* draw_ground.c - subjects that stand on land or water: sailing boats, lighthouse, windmill.   SPDX-License-Identifier: MIT
 * In the mirror pass (water) each is drawn upside down about its own foot, half as strong. */
#include "world/render.h"

HM_PIXEL static bool outside(const hm_seg *s, hm_spot b, float wide, float up, float down)
{
    const float hi = s->mirror ? b.v - down : b.v - up, lo = s->mirror ? b.v + up : b.v + down;
    const float soft = 2.0f * s->px; /* edges are a pixel wide */
    return s->u1 < b.u - wide - soft || s->u0 > b.u + wide + soft || s->v1 < hi - soft || s->v0 > lo + soft;
}
/* Signed distance to the left of the line a -> b. */
HM_INLINE float edge(float x, float y, float ax, float ay, float bx, float by)
{
    const float dx = bx - ax, dy = by - ay;
    return ((y - ay) * dx - (x - ax) * dy) / hm_sqrt(dx * dx + dy * dy);
}
HM_INLINE float min3(float a, float b, float c)
{
    a = a < b ? a : b;
    return a < c ? a : c;
}

HM_FAST static void boat(const hm_frame *f, const hm_seg *s, hm_spot b, hm_rgbf tint)
{
    HM_LOCAL(f, s);
    const float rough = f->R->sea > 0.6f ? 2.2f : 1.0f, flip = f->R->rnd[4] < 0.5f ? 1.0f : -1.0f;
    b.v += 0.0045f * rough * b.size * hm_sin1(f->tw * 0.21f + b.phase);
    const float r = 0.112f * b.size, ir = 1.0f / r, px = s->px * ir, k = s->mirror ? 0.5f : 1.0f, up = s->mirror ? -1.0f : 1.0f;
    const float roll = 0.05f * rough * hm_sin1(f->tw * 0.17f + 2.0f * b.phase) + 0.05f * f->wind;
    if (outside(s, b, r * 1.5f, r * 2.5f, r * 0.3f)) return;
    const hm_rgbf a = hm_glowing(f, tint, 0.95f, 0.82f), z = hm_glowing(f, hm_scalec(tint, 0.86f), 0.8f, 0.74f);
    const hm_rgbf hull = hm_glowing(f, hm_rgb(0.93f, 0.92f, 0.90f), 0.5f, 0.45f), dark = hm_glowing(f, hm_rgb(0.34f, 0.22f, 0.15f), 0.4f, 0.4f);
    const hm_rgbf foam = hm_lightc(&f->pal, hm_rgb(0.95f, 0.97f, 1.0f), 0.5f);
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float gx = (s->u[i] - b.u) * ir * flip, gy = (b.v - s->v[i]) * ir * up;
        const float x = gx - roll * flip * gy, y = gy + roll * flip * gx;
        const float m1 = min3(edge(x, y, 0.06f, 2.15f, 0.06f, 0.40f), edge(x, y, 0.06f, 0.42f, 0.98f, 0.46f), edge(x, y, 0.98f, 0.46f, 0.06f, 2.15f));
        const float m2 = min3(edge(x, y, -0.08f, 0.42f, -0.08f, 1.80f), edge(x, y, -0.08f, 1.80f, -0.90f, 0.42f), edge(x, y, -0.90f, 0.42f, -0.08f, 0.42f));
        const float half = 0.80f + 0.45f * y, h = min3(half - fabsf(x), y + 0.06f, 0.28f - y + 0.05f * x * x);
        const float mast = hm_cov(0.030f - fabsf(x), px) * hm_cov(y - 0.2f, px) * hm_cov(2.25f - y, px);
        hm_over(s, i, dark, mast * k);
        hm_over(s, i, z, hm_cov(m2, px) * k);
        hm_over(s, i, a, hm_cov(m1, px) * k);
        hm_over(s, i, hm_mixc(dark, hull, hm_step(0.03f, 0.11f, y)), hm_cov(h * 0.9f, px) * k);
        const float wx = gx / 1.15f, wy = (gy + 0.03f) / 0.075f, wake = hm_sat(1.0f - wx * wx - wy * wy);
        hm_over(s, i, foam, wake * 0.6f * (s->mirror ? 0.0f : 1.0f));
    }
}

/* The foot of a building: rock in water, a grassy mound on land. */
HM_FAST static void mound(const hm_frame *f, const hm_seg *s, hm_spot b, float wide, float tall, hm_rgbf albedo)
{
    HM_LOCAL(f, s);
    const float k = s->mirror ? 0.5f : 1.0f, up = s->mirror ? -1.0f : 1.0f, side = f->sun_u > b.u ? 1.0f : -1.0f;
    const uint32_t seed = f->R->seed ^ 0x50Du;
    if (outside(s, b, wide, tall * 1.6f, 0.09f)) return;
    const bool water = f->R->has_water && f->R->s.fact[HM_FACT_PLACE] != HM_PLACE_BEACH;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float x = (s->u[i] - b.u) / wide, y = (b.v - s->v[i]) * up;
        const float body = 1.0f - x * x, top = tall * ((body > 0.0f ? hm_sqrt(body) : 0.0f) - 0.0f) * (1.0f + 0.22f * hm_noise1(x * 4.0f, seed));
        const float n = hm_noise2(x * 3.5f, y / tall * 1.4f, seed + 1u), lit = hm_sat(0.48f + 0.32f * x * side + 0.3f * n);
        const float foot = water ? -0.012f : -0.055f * hm_sat(body), soft = water ? s->px : 0.03f;
        const float cov = hm_cov((top - y) * 0.8f, s->px) * hm_cov(body * wide * 0.5f, s->px) * hm_sat(0.5f + (y - foot) / soft);
        hm_over(s, i, hm_lightc(&f->pal, albedo, lit), cov * k);
    }
}

HM_FAST static void lighthouse(const hm_frame *f, const hm_seg *s, hm_spot b, hm_rgbf tint)
{
    HM_LOCAL(f, s);
    const float r = 0.125f * b.size, ir = 1.0f / r, px = s->px * ir, up = s->mirror ? -1.0f : 1.0f, k = s->mirror ? 0.5f : 1.0f;
    const float side = f->sun_u > b.u ? 1.0f : -1.0f;
    mound(f, s, b, 0.16f * b.size, 0.045f * b.size, hm_rgb(0.38f, 0.35f, 0.33f));
    if (outside(s, b, r * 0.7f, r * 3.2f, 0.02f)) return;
    const hm_rgbf white = hm_luma(tint) > 0.85f ? hm_rgb(0.36f, 0.42f, 0.52f) : hm_rgb(0.96f, 0.96f, 0.94f);
    const hm_rgbf iron = hm_glowing(f, hm_rgb(0.20f, 0.20f, 0.23f), 0.5f, 0.4f), lamp = hm_rgb(1.0f, 0.95f, 0.72f);
    const float least = 0.56f;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float x = (s->u[i] - b.u) * ir, y = (b.v - s->v[i]) * ir * up;
        const float half = 0.27f - 0.042f * y, w = x / half, lit = hm_sat(0.50f + 0.45f * w * side);
        const float cov = hm_cov(half - fabsf(x), px) * hm_cov(y - 0.20f, px) * hm_cov(2.36f - y, px);
        const float g = (y - 0.2f) / 0.864f, fr = g - (float)hm_ifloor(g), soft = px / 0.864f;
        const float band = hm_cov(0.25f - fabsf(fr - 0.25f), soft);
        hm_rgbf light = hm_addc(f->pal.amb, hm_scalec(f->pal.dir, lit));
        const float y0 = hm_luma(light), add = y0 < least ? least - y0 : 0.0f;
        light = hm_rgb(light.r + add, light.g + add, light.b + add);
        hm_over(s, i, hm_mulc(hm_mixc(white, tint, band), light), cov * k);
        hm_over(s, i, iron, hm_cov(0.27f - fabsf(x), px) * hm_cov(0.045f - fabsf(y - 2.38f), px) * k);
        hm_over(s, i, lamp, hm_cov(0.135f - fabsf(x), px) * hm_cov(0.15f - fabsf(y - 2.56f), px) * k);
        const float cap = (2.98f - y) * 0.72f - fabsf(x);
        hm_over(s, i, hm_mulc(tint, light), hm_cov(cap * 0.8f, px) * hm_cov(y - 2.70f, px) * k);
    }
}

/* Two opposite beams that turn once in seven seconds; seen from the side they are long, towards us the lamp flares. */
HM_FAST static void beams(const hm_frame *f, const hm_seg *s, hm_spot b)
{
    HM_LOCAL(f, s);
    const float turn = f->t / 7.0f + b.phase, co = hm_sin1(turn + 0.25f), si = hm_sin1(turn);
    const float ly = b.v - 0.125f * b.size * 2.56f, dark = 0.45f + 0.55f * f->pal.night;
    const float len = 0.10f + 0.85f * fabsf(co), thin = 0.010f * b.size, flare = si > 0.0f ? si * si * si * si : 0.0f;
    if (s->mirror || s->v1 < ly - 0.35f || s->v0 > ly + 0.35f) return;
    const hm_rgbf warm = hm_rgb(1.0f, 0.94f, 0.70f);
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float dx = s->u[i] - b.u, dy = s->v[i] - ly, r2 = dx * dx + dy * dy;
        const float x = fabsf(dx) + 0.002f, w = thin + 0.13f * x / (0.35f + fabsf(co)), q = hm_sat(1.0f - x / len);
        const float c = dy / w, side = dx * co > 0.0f ? 1.0f + 0.25f * si : 1.0f - 0.25f * si;
        const float beam = hm_expneg(-c * c) * q * (0.70f * fabsf(co)) * side;
        const float glow = (0.50f + 0.9f * flare) / (1.0f + r2 * (2600.0f - 1900.0f * flare)) + 0.12f / (1.0f + r2 * 120.0f);
        hm_screen(s, i, warm, hm_sat(dark * (beam + glow)));
    }
}

HM_FAST static void windmill(const hm_frame *f, const hm_seg *s, hm_spot b, hm_rgbf tint)
{
    HM_LOCAL(f, s);
    const float r = 0.105f * b.size, ir = 1.0f / r, px = s->px * ir, up = s->mirror ? -1.0f : 1.0f, k = s->mirror ? 0.5f : 1.0f;
    const float side = f->sun_u > b.u ? 1.0f : -1.0f;
    const int place = f->R->s.fact[HM_FACT_PLACE];
    mound(f, s, b, 0.22f * b.size, 0.040f * b.size, place == HM_PLACE_BEACH ? hm_rgb(0.80f, 0.70f, 0.48f) : hm_rgb(0.34f, 0.52f, 0.22f));
    if (outside(s, b, r * 1.75f, r * 4.0f, 0.02f)) return;
    const float turn = (f->R->wind > 0.0f ? 1.0f : -1.0f) * f->tw * 0.085f + b.phase, ca = hm_sin1(turn + 0.25f), sa = hm_sin1(turn);
    const hm_rgbf t0 = hm_glowing(f, tint, 0.2f, 0.48f), t1 = hm_glowing(f, tint, 0.9f, 0.74f);
    const hm_rgbf sail = hm_glowing(f, hm_luma(tint) > 0.85f ? hm_rgb(0.45f, 0.36f, 0.30f) : hm_rgb(0.97f, 0.95f, 0.88f), 0.8f, 0.72f);
    const hm_rgbf wood = hm_glowing(f, hm_rgb(0.30f, 0.21f, 0.15f), 0.5f, 0.42f), lamp = hm_rgb(1.0f, 0.86f, 0.52f);
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float x = (s->u[i] - b.u) * ir, y = (b.v - s->v[i]) * ir * up;
        const float half = 0.62f - 0.145f * y, w = x / half, cov = hm_cov((half - fabsf(x)) * 0.98f, px) * hm_cov(y - 0.12f, px) * hm_cov(2.05f - y, px);
        hm_over(s, i, hm_mixc(t0, t1, hm_sat(0.5f + 0.48f * w * side)), cov * k);
        const float ey = (y - 2.03f) / 0.42f, ex = x / 0.42f, cap = (1.0f - hm_sqrt(ex * ex + ey * ey)) * 0.42f;
        hm_over(s, i, wood, hm_cov(cap, px) * hm_cov(y - 2.0f, px) * k);
        const float win = hm_cov(0.085f - fabsf(x), px) * hm_cov(0.12f - fabsf(y - 1.25f), px);
        hm_over(s, i, hm_mixc(wood, lamp, hm_sat(1.4f * f->pal.night)), win * k);
        hm_over(s, i, wood, hm_cov(0.11f - fabsf(x), px) * hm_cov(0.20f - fabsf(y - 0.30f), px) * k);
        const float hy = y - 2.12f, p = x * ca + hy * sa, q = hy * ca - x * sa; /* turned with the sails */
        const float ap = fabsf(p), aq = fabsf(q), lp = ap > aq ? ap : aq;
        const float across = ap > aq ? q * (p > 0.0f ? 1.0f : -1.0f) : -p * (q > 0.0f ? 1.0f : -1.0f);
        const float blade = min3(across - 0.02f, 0.30f - across, min3(lp - 0.32f, 1.50f - lp, 9.0f));
        const float spar = min3(0.045f - fabsf(across), 1.55f - lp, 9.0f);
        hm_over(s, i, sail, hm_cov(blade, px) * 0.94f * k);
        hm_over(s, i, wood, hm_cov(spar, px) * k);
    }
}

HM_PIXEL void hm_draw_ground_subject(const hm_frame *f, const hm_seg *s)
{
    const struct hm_renderer *r = f->R;
    const int subject = r->s.fact[HM_FACT_SUBJECT];
    for (int i = r->n_spots - 1; i >= 0; i--) {
        const hm_spot b = f->spot[i];
        if (subject == HM_SUBJECT_BOAT) boat(f, s, b, r->tint);
        else if (subject == HM_SUBJECT_WINDMILL) windmill(f, s, b, r->tint);
        else if (subject == HM_SUBJECT_LIGHTHOUSE) {
            lighthouse(f, s, b, r->tint);
            beams(f, s, b);
        }
    }
}
