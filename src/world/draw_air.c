/* draw_air.c - subjects in the sky: balloons, birds, kites, aeroplane, lanterns, shooting stars, fireworks.
 * SPDX-License-Identifier: MIT
 * Each is drawn from distances to its outlines in its own unit (x right, y up), inside a box around it. */
#include "world/render.h"

HM_PIXEL static bool outside(const hm_seg *s, float u, float v, float left_right, float up, float down)
{
    const float soft = 2.0f * s->px; /* edges are a pixel wide */
    return s->u1 < u - left_right - soft || s->u0 > u + left_right + soft || s->v1 < v - up - soft || s->v0 > v + down + soft;
}

HM_FAST static void balloon(const hm_frame *f, const hm_seg *s, hm_spot b, hm_rgbf tint)
{
    HM_LOCAL(f, s);
    const float r = 0.098f * b.size, ir = 1.0f / r, px = s->px * ir, side = f->sun_u > b.u ? 1.0f : -1.0f;
    if (outside(s, b.u, b.v, r * 1.1f, r * 1.1f, r * 2.2f)) return;
    const hm_rgbf pale = hm_luma(tint) > 0.85f ? hm_rgb(0.80f, 0.83f, 0.88f) : hm_mixc(tint, hm_rgb(1, 1, 0.96f), 0.80f);
    const hm_rgbf t0 = hm_glowing(f, tint, 0.15f, 0.52f), t1 = hm_glowing(f, tint, 0.95f, 0.85f);
    const hm_rgbf p0 = hm_glowing(f, pale, 0.15f, 0.52f), p1 = hm_glowing(f, pale, 0.95f, 0.85f);
    const hm_rgbf basket = hm_glowing(f, hm_rgb(0.42f, 0.27f, 0.14f), 0.5f, 0.5f);
    const float spin = 0.004f * f->tw + b.phase;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float x = (s->u[i] - b.u) * ir, y = (b.v - s->v[i]) * ir;
        const float low = hm_sat(-y / 1.35f), wide = y > 0.0f ? hm_sqrt(hm_sat(1.0f - y * y)) : 0.20f + 0.80f * (1.0f - low * low) * (1.0f - 0.25f * low);
        const float d = y > 0.0f ? 1.0f - hm_sqrt(x * x + y * y) : (wide - fabsf(x)) * 0.85f;
        const float cut = hm_cov(y + 1.35f, px), cov = hm_cov(d, px) * cut;
        const float w = hm_clampf(x / (wide + 0.02f), -1.0f, 1.0f), a = 0.5f + 0.5f * w * (0.72f + 0.28f * w * w);
        const float g = (a * 0.5f + spin) * 7.0f, k = g - (float)hm_ifloor(g);
        const float soft = 0.06f + 1.8f * px, stripe = hm_step(0.5f - 0.5f * 0.36f - soft, 0.5f - 0.18f + soft, k) * (1.0f - hm_step(0.68f - soft, 0.68f + soft, k));
        const float lit = hm_sat(0.52f + 0.45f * w * side + 0.22f * y);
        hm_rgbf col = hm_mixc(hm_mixc(t0, t1, lit), hm_mixc(p0, p1, lit), stripe * 0.9f);
        hm_over(s, i, col, cov);
        const float bk = hm_cov(0.24f - fabsf(x), px) * hm_cov(0.17f - fabsf(y + 1.80f), px);
        const float rope = hm_cov(0.035f - fabsf(fabsf(x) - 0.20f), px) * hm_cov(y + 1.70f, px) * hm_cov(-1.30f - y, px) * 0.7f;
        hm_over(s, i, basket, hm_sat(bk + rope));
    }
}

/* A flock of seven in a loose wedge; each bird a bent line that flaps. */
HM_FAST static void bird(const hm_frame *f, const hm_seg *s, float u, float v, float size, float phase)
{
    HM_LOCAL(f, s);
    const float r = 0.042f * size, ir = 1.0f / r, px = s->px * ir;
    if (outside(s, u, v, r * 1.3f, r * 1.2f, r * 1.2f)) return;
    const float flap = hm_sin1(f->t * 0.95f + phase), tip = 0.10f + 0.55f * flap, bend = 0.34f + 0.10f * flap;
    const hm_rgbf dark = hm_mixc(hm_rgb(0.10f, 0.10f, 0.14f), f->pal.haze, 0.12f);
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float x = fabsf((s->u[i] - u) * ir), y = (v - s->v[i]) * ir;
        const float wing = x < 0.45f ? bend * x * 2.0f * (1.0f - 0.35f * x) : 0.265f / 0.34f * bend + (tip - 0.30f) * (x - 0.45f) * 1.4f;
        const float thick = 0.15f * (1.05f - x) + 0.02f, body = 0.19f - hm_sqrt(x * x * 0.9f + y * y * 2.2f);
        const float d = (thick - fabsf(y - wing)) * 0.85f, out = hm_cov(1.0f - x, px);
        hm_over(s, i, dark, hm_sat(hm_cov(d, px) * out + hm_cov(body, px)) * 0.92f);
    }
}
HM_PIXEL static void flock(const hm_frame *f, const hm_seg *s, hm_spot b)
{
    static const float at[7][2] = {{0, 0}, {-.09f, .035f}, {.10f, .045f}, {-.19f, .085f}, {.20f, .080f}, {-.02f, .12f}, {.11f, -.07f}};
    const float k = 0.25f + 0.75f * hm_sat(f->a / 1.2f);
    for (int i = 0; i < 7; i++) {
        const float p = b.phase + 0.37f * (float)i, wander = 0.012f * hm_sin1(f->t * 0.07f + p);
        bird(f, s, b.u + k * at[i][0] * 0.8f + wander, b.v + k * at[i][1] + 0.010f * hm_sin1(0.11f * f->t + 2.0f * p),
             b.size * (i ? 0.72f + 0.10f * (float)(i % 3) : 1.0f), p);
    }
}

HM_FAST static void kite(const hm_frame *f, const hm_seg *s, hm_spot b, hm_rgbf tint)
{
    HM_LOCAL(f, s);
    const float w = f->wind > 0.0f ? 1.0f : -1.0f;
    const float u = b.u + 0.030f * hm_sin1(f->t * 0.13f + b.phase), v = b.v + 0.026f * hm_sin1(f->t * 0.26f + 2.0f * b.phase);
    const float r = 0.098f * b.size, ir = 1.0f / r, px = s->px * ir, lean = -0.32f * w + 0.16f * hm_sin1(f->t * 0.17f + b.phase);
    const float slack = 1.2f * ir; /* the string reaches the ground, and as far to the side as it sags */
    if (outside(s, u, v, r * (1.2f + 0.26f * slack + 0.020f * slack * slack), r * 1.3f, 1.2f)) return;
    const hm_rgbf a = hm_glowing(f, tint, 0.9f, 0.92f), z = hm_glowing(f, hm_scalec(tint, 0.76f), 0.6f, 0.70f);
    const hm_rgbf cross = hm_glowing(f, hm_rgb(0.98f, 0.98f, 0.95f), 0.8f, 0.8f), line = hm_mixc(hm_rgb(0.92f, 0.92f, 0.90f), f->pal.haze, 0.3f);
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float gx = (s->u[i] - u) * ir, gy = (v - s->v[i]) * ir;
        const float x = gx - lean * gy, y = gy + 0.6f * lean * gx, below = -gy - 1.2f;
        const float half = y > 0.25f ? 0.72f * (1.0f - (y - 0.25f) / 0.75f) : 0.72f * (y + 1.30f) / 1.55f;
        const float d = (half - fabsf(x)) * 0.80f;
        /* tail: a wave that runs downwards, bent by the wind; string: a slack line to the ground on the windward side */
        const float q = below < 0.0f ? 0.0f : below, amp = 0.24f * hm_sat(q * 1.4f);
        const float tx = w * (0.36f * q + 0.05f * q * q) - lean * 1.2f + amp * hm_sin1(q * 0.42f - f->t * 0.8f + b.phase);
        const float tail = hm_cov(0.075f - fabsf(gx - tx) * 0.75f, px) * hm_cov(below, px) * hm_cov(3.1f - q, px);
        const float sag = gy > 0.0f ? 0.0f : -gy, sx = -w * (0.26f * sag + 0.020f * sag * sag);
        const float string = hm_sat(0.022f / px + 0.1f) * hm_sat(1.0f - fabsf(gx - sx) * 0.9f / (0.026f + px)) * hm_cov(-gy - 0.1f, px);
        hm_over(s, i, line, string * 0.75f);
        hm_over(s, i, a, tail);
        hm_over(s, i, x > 0.0f ? a : z, hm_cov(d, px));
        hm_over(s, i, cross, hm_cov(d, px) * hm_cov(0.055f - fabsf(x), px) * 0.9f);
    }
}

HM_FAST static void aeroplane(const hm_frame *f, const hm_seg *s, hm_spot b)
{
    HM_LOCAL(f, s);
    const float dir = f->R->rnd[4] < 0.5f ? 1.0f : -1.0f, r = 0.105f * b.size, ir = 1.0f / r, px = s->px * ir;
    if (s->v1 < b.v - r * 0.8f || s->v0 > b.v + r * 0.8f) return;
    const hm_rgbf body = hm_glowing(f, hm_rgb(0.96f, 0.97f, 1.0f), 0.8f, 0.72f), under = hm_glowing(f, hm_rgb(0.62f, 0.66f, 0.74f), 0.3f, 0.5f);
    const hm_rgbf trail = hm_mixc(f->pal.lit, hm_rgb(1, 1, 1), 0.25f);
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float x = (s->u[i] - b.u) * ir * dir, y = (b.v - s->v[i]) * ir, back = -x - 0.85f;
        const float q = back < 0.0f ? 0.0f : back, wide = 0.085f + 0.028f * q, curl = 0.03f * hm_noise1(q * 0.9f + 0.3f * f->t, 77u) * hm_sat(q * 0.2f);
        const float c = (y - 0.02f - curl) / wide, tr = hm_sat(1.0f - c * c * 0.5f) * hm_step(0.0f, 0.25f, back) * (1.0f - hm_step(3.5f, 9.5f, q));
        hm_over(s, i, trail, tr * 0.85f);
        const float taper = x < -0.35f ? 1.0f + 0.75f * (x + 0.35f) : x > 0.7f ? hm_sqrt(hm_sat(1.0f - (x - 0.7f) * (x - 0.7f) / 0.09f)) : 1.0f;
        const float fus = hm_cov(0.115f * taper - fabsf(y - (x < -0.35f ? -0.05f * (x + 0.35f) : 0.0f)), px) * hm_cov(1.0f - fabsf(x), px);
        const float fin = hm_cov((x + 1.02f) * 0.8f, px) * hm_cov((-0.62f - x - (y - 0.08f) * 0.65f) * 0.8f, px) * hm_cov(y - 0.02f, px) * hm_cov(0.46f - y, px);
        const float wx = x + 0.55f * y + 0.10f, wing = hm_cov((0.20f + 0.22f * (y + 0.02f) - fabsf(wx + 0.15f * y * 2.0f)) * 0.9f, px) * hm_cov(-y + 0.02f, px) * hm_cov(y + 0.50f, px);
        hm_over(s, i, body, fin);
        hm_over(s, i, hm_mixc(under, body, hm_step(-0.06f, 0.06f, y)), fus);
        hm_over(s, i, under, wing);
    }
}

HM_FAST static void lantern(const hm_frame *f, const hm_seg *s, hm_spot b, hm_rgbf tint)
{
    HM_LOCAL(f, s);
    const float r = 0.058f * b.size, ir = 1.0f / r, px = s->px * ir;
    const float u = b.u + 0.008f * hm_sin1(0.10f * f->t + b.phase), v = b.v + 0.005f * hm_sin1(0.14f * f->t + 3.0f * b.phase);
    if (outside(s, u, v, r * 4.0f, r * 4.0f, r * 4.0f)) return;
    const float flick = 0.93f + 0.07f * hm_sin1(f->t * 0.5f + b.phase * 5.0f);
    const hm_rgbf hot = hm_mixc(tint, hm_rgb(1.0f, 0.95f, 0.75f), 0.62f), rim = hm_scalec(tint, 0.92f);
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float x = (s->u[i] - u) * ir, y = (v - s->v[i]) * ir, e = hm_sqrt(x * x + y * y), q = hm_sat(1.0f - e * 0.25f);
        hm_screen(s, i, tint, q * q * q * 0.55f * flick);
        const float half = 0.70f + 0.16f * y - 0.22f * (y > 0.6f ? (y - 0.6f) * (y - 0.6f) * 9.0f : 0.0f);
        const float d = half - fabsf(x), ey = 1.0f - fabsf(y), cov = hm_cov(d < ey ? d : ey, px);
        const float in = hm_sat(1.0f - (x * x * 1.1f + (y + 0.55f) * (y + 0.55f) * 0.55f));
        hm_over(s, i, hm_scalec(hm_mixc(rim, hot, in), flick), cov);
    }
}

HM_PIXEL static void many_lanterns(const hm_frame *f, const hm_seg *s)
{
    static const float at[9][2] = {{0, 0}, {-.13f, -.13f}, {.15f, -.08f}, {-.24f, .07f}, {.27f, .09f}, {.05f, .17f}, {-.36f, -.06f}, {.37f, -.14f}, {-.09f, .11f}};
    for (int i = 0; i < 9; i++) {
        hm_spot b = f->spot[0];
        b.u += at[i][0] * f->W;
        b.v += at[i][1] * 0.9f;
        b.size *= 0.92f - 0.20f * (float)((i * 5) % 3) * 0.5f;
        b.phase += 0.31f * (float)i;
        lantern(f, s, b, f->R->tint);
    }
}

/* Two streams of meteors, each up for 1.3 s of every 2.2 s: a soft head and a long tail. */
HM_FAST static void meteor(const hm_frame *f, const hm_seg *s, int j)
{
    HM_LOCAL(f, s);
    const float period = 2.1f, t = f->t + 1.05f * (float)j;
    const int k = hm_ifloor(t / period);
    const uint32_t h = hm_hash2(k, 41 + j, f->R->seed);
    const float x = (t - period * (float)k) / 1.45f;
    if (x >= 1.0f) return;
    const float dir = f->R->rnd[4] < 0.5f ? 1.0f : -1.0f, len = 0.40f, a = 0.30f + 0.25f * hm_hashf(h * 3u);
    const float mu = (hm_hashf(h) - 0.5f) * 0.7f * f->W, mv = 0.14f + 0.20f * hm_hashg(h), go = (x - 0.5f) * 0.34f;
    const float ca = 1.0f - 0.5f * a * a, hu = mu + dir * go * ca, hv = mv + go * a;
    if (outside(s, hu, hv, len * 1.2f, len * 0.8f, 0.08f)) return;
    const float fade = hm_step(0.0f, 0.22f, x) * (1.0f - hm_step(0.62f, 1.0f, x)), w0 = 0.0095f, p6 = s->px * s->px / 6.0f, h2 = 0.00022f;
#pragma omp simd
    for (int i = 0; i < s->n; i++) {
        const float dx = (s->u[i] - hu) * dir, dy = s->v[i] - hv;
        const float along = -(dx * ca + dy * a), off = dy * ca - dx * a, q = hm_sat(along / len), w = w0 * (1.0f - 0.65f * q), w2 = w * w + p6;
        const float in = hm_step(-0.010f, 0.004f, along) * (1.0f - q) * (1.0f - q), k1 = hm_expneg(-off * off / w2) * w / hm_sqrt(w2);
        const float head = hm_expneg(-(along * along + off * off) / (h2 + p6)) * h2 / (h2 + p6);
        hm_screen(s, i, hm_rgb(0.92f, 0.96f, 1.0f), fade * hm_sat(k1 * in + head));
    }
}

/* A burst: sixteen soft streaks that fly out, slow down, sink and fade. */
HM_FAST static void burst(const hm_frame *f, const hm_seg *s, int j)
{
    HM_LOCAL(f, s);
    const float period = 2.6f, t = f->t + 0.87f * (float)j;
    const int k = hm_ifloor(t / period);
    const uint32_t h = hm_hash2(k, 71 + j, f->R->seed);
    const float x = t - period * (float)k - 0.45f;
    const hm_spot b = f->spot[0];
    const float bu = b.u + (hm_hashf(h) - 0.5f) * 0.26f * f->W, bv = 0.9f * b.v + (hm_hashg(h) - 0.5f) * 0.16f - 0.03f;
    const float narrow = hm_sat(0.25f + 0.75f * f->a / 1.2f), size = (0.17f + 0.05f * hm_hashf(h * 3u)) * narrow;
    const hm_rgbf tint = f->R->tint, hot = hm_mixc(tint, hm_rgb(1, 1, 0.92f), 0.65f);
    if (x < 0.0f) { /* the rocket climbs */
        const float ru = bu, rv = bv + (-x) * (-x) * 1.3f + 0.0f;
        if (outside(s, ru, rv, 0.03f, 0.03f, 0.16f)) return;
        for (int i = 0; i < s->n; i++) {
            const float dx = (s->u[i] - ru) / 0.0085f, dy = s->v[i] - rv, q = hm_sat(1.0f - dy / 0.13f);
            hm_screen(s, i, hot, hm_expneg(-dx * dx) * (dy > 0.0f ? q * q : hm_expneg(dy * 120.0f)) * 0.8f);
        }
        return;
    }
    const float y = x / (period - 0.45f), out = 1.0f - (1.0f - y) * (1.0f - y) * (1.0f - y), rad = size * out, sink = 0.05f * y * y;
    if (outside(s, bu, bv + sink, size * 1.5f, size * 1.5f, size * 1.5f)) return;
    const float fade = hm_step(0.0f, 0.06f, y) * (1.0f - hm_step(0.45f, 1.0f, y)), inner = rad * hm_step(0.05f, 0.9f, y) * 0.72f;
    const float w = 0.0085f, w2 = w * w + s->px * s->px / 6.0f, wk = w / hm_sqrt(w2);
    for (int i = 0; i < s->n; i++) {
        const float dx = s->u[i] - bu, dy = s->v[i] - bv - sink, r = hm_sqrt(dx * dx + dy * dy);
        const float glow = 1.0f / (1.0f + (r * r) / (size * size * 0.16f));
        if (r > size * 1.5f) continue; /* of the glow, a thousandth is left */
        hm_screen(s, i, tint, fade * 0.30f * glow * glow);
        if (r > rad + 0.03f) continue;
        for (int ring = 0; ring < 2; ring++) {
            const float n = ring ? 8.0f : 14.0f, rr = ring ? 0.55f : 1.0f;
            const float a = atan2f(dy, dx) * 0.15915494f * n + 0.31f * (float)(h & 7u), e = a - (float)hm_ifloor(a + 0.5f);
            const float off = e * 6.2831853f / n * r, o = rad * rr, in = inner * rr;
            const float along = hm_step(in - 0.01f, in + 0.6f * (o - in) + 0.01f, r) * (1.0f - hm_step(o, o + 0.014f, r));
            const float k1 = hm_expneg(-off * off / w2) * wk;
            hm_over(s, i, hm_mixc(tint, hot, hm_sat(1.2f - 1.6f * y)), hm_sat(k1 * along * fade * 1.2f));
        }
    }
}

HM_PIXEL void hm_draw_night_subject(const hm_frame *f, const hm_seg *s)
{
    const int subject = f->R->s.fact[HM_FACT_SUBJECT];
    if (subject == HM_SUBJECT_SHOOTING_STARS)
        for (int j = 0; j < 2; j++) meteor(f, s, j);
    if (subject == HM_SUBJECT_FIREWORKS)
        for (int j = 0; j < 3; j++) burst(f, s, j);
}

HM_PIXEL void hm_draw_air_subject(const hm_frame *f, const hm_seg *s)
{
    const struct hm_renderer *r = f->R;
    const int subject = r->s.fact[HM_FACT_SUBJECT];
    if (subject == HM_SUBJECT_LANTERNS && !r->s.fact[HM_FACT_COUNT]) {
        many_lanterns(f, s);
        return;
    }
    for (int i = r->n_spots - 1; i >= 0; i--) {
        const hm_spot b = f->spot[i];
        if (subject == HM_SUBJECT_BALLOON) balloon(f, s, b, r->tint);
        else if (subject == HM_SUBJECT_BIRDS) flock(f, s, b);
        else if (subject == HM_SUBJECT_KITE && !s->mirror) kite(f, s, b, r->tint);
        else if (subject == HM_SUBJECT_AEROPLANE) aeroplane(f, s, b);
        else if (subject == HM_SUBJECT_LANTERNS) lantern(f, s, b, r->tint);
    }
}
