/* render_setup.c - from a scene to a composition (once), and the state of one moment (each frame).
 * SPDX-License-Identifier: MIT
 * The film's middle is t = 5: there the subject stands where its side fact says. Camera moves are linear in t. */
#include <string.h>
#include "base/rng.h"
#include "world/render.h"

/* Sun and moon are as high as the time of day says, left or right of the middle. */
static void place_lights(struct hm_renderer *r, hm_rng *g)
{
    const uint8_t *f = r->s.fact;
    const bool moonrise = f[HM_FACT_SUBJECT] == HM_SUBJECT_MOONRISE;
    r->sun_u = hm_rng_range(g, 0.08f, 0.42f) * (hm_rng_below(g, 2) ? 1.0f : -1.0f);
    if (r->side == HM_SIDE_LEFT) r->sun_u = fabsf(r->sun_u);
    if (r->side == HM_SIDE_RIGHT) r->sun_u = -fabsf(r->sun_u);
    if (f[HM_FACT_TIME] == HM_TIME_NOON) r->pal.sun_h += 0.04f * (r->rnd[0] - 0.5f);
    r->has_moon = moonrise || f[HM_FACT_TIME] == HM_TIME_MOONLIT;
    r->moon_u = moonrise ? ((float)r->side - 1.0f) * 0.40f : r->sun_u;
    const int place = f[HM_FACT_PLACE]; /* above what stands on the horizon */
    const float over = place == HM_PLACE_MOUNTAINS ? 0.35f : place == HM_PLACE_SKYLINE ? 0.33f : place == HM_PLACE_LAKE ? 0.29f
                     : place == HM_PLACE_FOREST || place == HM_PLACE_HILLS ? 0.23f : 0.18f;
    r->moon_h = moonrise ? over : 0.36f + 0.05f * (r->rnd[0] - 0.5f);
    r->moon_r = moonrise ? 0.095f : 0.048f;
    if (r->has_moon && (moonrise || f[HM_FACT_TIME] == HM_TIME_MOONLIT)) {
        if (f[HM_FACT_TIME] == HM_TIME_MOONLIT) {
            r->sun_u = r->moon_u;
            r->pal.sun_h = r->moon_h;
        }
    }
    if (r->pal.sun_h < 0.3f && f[HM_FACT_PLACE] == HM_PLACE_MOUNTAINS && r->pal.sun_h > 0.0f) r->pal.sun_h += 0.07f;
}

static bool on_ground(int subject)
{
    return subject == HM_SUBJECT_BOAT || subject == HM_SUBJECT_LIGHTHOUSE || subject == HM_SUBJECT_WINDMILL;
}

/* Where the first subject and its companions are at t = 5: u in framing widths (scaled by W later), v from the top. */
static void place_subjects(struct hm_renderer *r, hm_rng *g)
{
    static const float at[3][4] = {{-0.22f, 0.13f, 0.33f, -0.045f}, {0.0f, -0.30f, 0.30f, 0.155f},
        {0.22f, -0.13f, -0.33f, 0.045f}};
    static const float dv[4] = {0.0f, -0.10f, 0.06f, 0.13f}, scale[4] = {1.0f, 0.74f, 0.62f, 0.56f};
    const int subject = r->s.fact[HM_FACT_SUBJECT], side = r->side;
    r->n_spots = r->s.fact[HM_FACT_COUNT] ? r->s.fact[HM_FACT_COUNT] : 1;
    if (subject == HM_SUBJECT_NONE) r->n_spots = 0;
    for (int i = 0; i < r->n_spots; i++) {
        hm_spot *s = &r->spot[i];
        s->u = at[side][i] + hm_rng_range(g, -0.02f, 0.02f);
        s->size = scale[i] * hm_rng_range(g, 0.92f, 1.08f);
        s->phase = hm_rng_float(g);
        if (on_ground(subject)) s->v = 0.105f - 0.055f * (1.0f - scale[i]) / 0.44f; /* below the horizon; far = higher */
        else s->v = 0.31f + dv[i] + hm_rng_range(g, -0.03f, 0.03f);
    }
}

void hm_setup(struct hm_renderer *r)
{
    static const float pan_swap[3] = {2, 1, 0};
    const uint8_t *f = r->s.fact;
    hm_rng g = hm_rng_at(r->s.seed, 0x9A17);
    r->seed = hm_rng_u32(&g);
    for (int i = 0; i < 16; i++) r->rnd[i] = hm_rng_float(&g);
    r->camera = f[HM_FACT_CAMERA];
    r->side = f[HM_FACT_SIDE];
    if (r->s.mirrored) {
        if (r->camera == HM_CAMERA_PAN_LEFT) r->camera = HM_CAMERA_PAN_RIGHT;
        else if (r->camera == HM_CAMERA_PAN_RIGHT) r->camera = HM_CAMERA_PAN_LEFT;
        r->side = (uint8_t)pan_swap[r->side];
    }
    hm_palette(&r->pal, (hm_time_of_day)f[HM_FACT_TIME], (hm_weather)f[HM_FACT_WEATHER], r->rnd);
    r->vh = 0.60f + 0.07f * r->rnd[1];
    const int place = f[HM_FACT_PLACE];
    if (place == HM_PLACE_MOUNTAINS || place == HM_PLACE_SKYLINE) r->vh += 0.03f;
    if (r->camera == HM_CAMERA_TILT_UP || r->camera == HM_CAMERA_TILT_DOWN) r->vh = 0.60f + 0.03f * r->rnd[1];
    r->wind = (0.5f + 0.7f * r->rnd[2]) * (r->rnd[3] < 0.5f ? -1.0f : 1.0f);
    r->has_water = place == HM_PLACE_CALM_SEA || place == HM_PLACE_STORMY_SEA || place == HM_PLACE_SKYLINE ||
                   place == HM_PLACE_LAKE || place == HM_PLACE_BEACH;
    r->sea = place == HM_PLACE_STORMY_SEA ? 1.0f : place == HM_PLACE_LAKE ? 0.10f : place == HM_PLACE_SKYLINE ? 0.15f
           : place == HM_PLACE_BEACH ? 0.30f : 0.22f;
    r->fog = f[HM_FACT_WEATHER] == HM_WEATHER_FOG ? 1.0f : 0.0f;
    r->tint = hm_colour_rgb(f[HM_FACT_COLOUR], f[HM_FACT_SUBJECT]);
    place_lights(r, &g);
    place_subjects(r, &g);
    const int subject = f[HM_FACT_SUBJECT];
    r->fixed = subject == HM_SUBJECT_LIGHTHOUSE || subject == HM_SUBJECT_WINDMILL;
    r->aim = r->n_spots ? 0.5f * r->spot[0].u : 0.0f;
}

static void camera_at(hm_frame *f, float m)
{
    const struct hm_renderer *r = f->R;
    const float dir = r->camera == HM_CAMERA_PAN_RIGHT ? 1.0f : r->camera == HM_CAMERA_PAN_LEFT ? -1.0f : 0.0f;
    const float tilt = r->camera == HM_CAMERA_TILT_UP ? 1.0f : r->camera == HM_CAMERA_TILT_DOWN ? -1.0f : 0.0f;
    const float push = r->camera == HM_CAMERA_PUSH_IN ? 1.0f : r->camera == HM_CAMERA_PULL_OUT ? -1.0f : 0.0f;
    f->pan0 = dir * m * f->W * (r->fixed ? 0.023f : 0.027f);
    f->pan1 = dir * m * f->W * (r->fixed ? 0.008f : 0.040f);
    f->vh = r->vh + tilt * 0.029f * m;
    f->zoom = hm_expneg(-fabsf(push * 0.040f * m));
    f->zoom = push * m > 0.0f ? 1.0f / f->zoom : f->zoom;
    f->cx = r->aim * f->W;
    f->fly = 0.0f;
    if (r->camera == HM_CAMERA_FLY_OVER) {
        f->fly = m + 5.0f;
        f->zoom = 1.0f + 0.012f * m;
    }
}

/* Subjects stay in the picture: those in the air follow the camera more than half. */
static void spots_at(hm_frame *f, float m)
{
    const struct hm_renderer *r = f->R;
    const int subject = r->s.fact[HM_FACT_SUBJECT];
    const bool ground = on_ground(subject);
    const float narrow = hm_sat(0.25f + 0.75f * f->a / 1.2f);
    for (int i = 0; i < r->n_spots; i++) {
        hm_spot s = r->spot[i];
        const float own = (r->s.fact[HM_FACT_PACE] == HM_PACE_LAPSE ? 1.3f : 1.0f);
        float u = s.u * f->W, drift = 0.0f;
        s.size *= narrow;
        if (ground) {
            const float p = s.v / 0.40f;
            const float z = 1.0f + (f->zoom - 1.0f) * (0.6f + 0.4f * p);
            if (subject == HM_SUBJECT_BOAT) drift = 0.007f * own * m * (r->rnd[4] < 0.5f ? 1.0f : -1.0f);
            const float pan = f->pan0 + f->pan1 * p;
            s.u = (u - (subject == HM_SUBJECT_BOAT ? 0.6f : 1.0f) * pan - f->cx) * z + f->cx + drift;
            s.v = f->vh + s.v * z;
            s.size *= z;
        } else {
            if (subject == HM_SUBJECT_BALLOON) drift = 0.006f * own * m * (r->wind > 0 ? 1.0f : -1.0f);
            if (subject == HM_SUBJECT_AEROPLANE) drift = 0.022f * f->W * m * (r->rnd[4] < 0.5f ? 1.0f : -1.0f);
            if (subject == HM_SUBJECT_BIRDS) drift = 0.014f * f->W * m * (r->rnd[4] < 0.5f ? 1.0f : -1.0f);
            s.u = (u - 0.5f * f->pan0 - f->cx) * f->zoom + f->cx + drift;
            s.v = s.v + 0.45f * (f->vh - r->vh) + (s.v - 0.42f) * (f->zoom - 1.0f);
            if (subject == HM_SUBJECT_LANTERNS) s.v -= 0.008f * m * own;
            if (subject == HM_SUBJECT_BALLOON)
                s.v += 0.008f * hm_sin1(0.07f * f->t + s.phase) - 0.003f * m;
            s.size *= f->zoom;
        }
        f->spot[i] = s;
    }
}

/* Lightning: glows of 0.5 to 0.9 s, about every 2.4 s. */
static void lightning_at(hm_frame *f, float t)
{
    const int k = hm_ifloor(t / 2.4f);
    const uint32_t h = hm_hash2(k, 31, f->R->seed);
    const float start = 0.3f + 1.0f * hm_hashf(h), x = t - 2.4f * (float)k - start, len = 0.55f + 0.4f * hm_hashg(h);
    f->flash = 0.0f;
    f->flash_u = 0.9f * (hm_hashf(h * 0x2C1B3C6Du) - 0.5f) * f->W;
    if (f->R->s.fact[HM_FACT_WEATHER] != HM_WEATHER_STORM || x <= 0.0f || x >= len) return;
    const float y = x / len; /* quick rise, a second weaker glow, slow fall */
    f->flash = hm_step(0.0f, 0.25f, y) * (1.0f - hm_step(0.30f, 1.0f, y)) * (0.86f + 0.14f * hm_sin1(2.0f * y));
}

void hm_frame_at(hm_frame *f, float lut[3][HM_LUT], const struct hm_renderer *r, const hm_view *v, double td)
{
    const float t = (float)td, m = t - 5.0f, aspect = (float)v->width / (float)v->height;
    const bool lapse = r->s.fact[HM_FACT_PACE] == HM_PACE_LAPSE;
    memset(f, 0, sizeof *f);
    f->R = r;
    f->t = t;
    f->tc = t * (lapse ? 26.0f : 1.6f);
    f->tw = t * (lapse ? 2.2f : 1.0f);
    f->a = aspect;
    f->W = aspect < 1.7778f ? aspect : 1.7778f;
    f->px = 1.0f / (float)v->height;
    f->pal = r->pal;
    f->wind = r->wind;
    camera_at(f, m);
    const int time = r->s.fact[HM_FACT_TIME];
    const float up = time == HM_TIME_SUNRISE || time == HM_TIME_DAWN ? 1.0f : time == HM_TIME_NOON ? 0.3f
                   : time == HM_TIME_MOONLIT ? 0.5f : -1.0f;
    const float rate = lapse ? 0.0085f : 0.0012f;
    const float narrow = f->W / 1.7778f;
    f->sun_u = (r->sun_u + (lapse ? 0.008f : 0.0008f) * m * (r->rnd[5] < 0.5f ? 1.0f : -1.0f)) * (0.3f + 0.7f * narrow);
    f->sun_h = r->pal.sun_h + up * rate * m * (r->pal.sun_h > 0.1f ? 1.3f : 0.75f);
    const bool moonrise = r->s.fact[HM_FACT_SUBJECT] == HM_SUBJECT_MOONRISE;
    f->moon_u = moonrise ? r->moon_u * f->W / 1.7778f : f->sun_u;
    f->moon_h = moonrise ? r->moon_h + (lapse ? 0.013f : 0.008f) * m : f->sun_h;
    if (time == HM_TIME_MOONLIT) f->sun_u = f->moon_u, f->sun_h = f->moon_h;
    /* Low suns change the light as they move: brighter as they rise. */
    const float change = lapse ? hm_clampf(m * 0.012f * up, -0.08f, 0.08f) : 0.0f;
    if (time != HM_TIME_NOON && time < HM_TIME_MOONLIT)
        for (int i = 0; i < 5; i++) f->pal.sky[i] = hm_scalec(f->pal.sky[i], 1.0f + (change < 0 ? change : 0.5f * change));
    hm_sky_lut(f, lut);
    f->lut = (const float (*)[HM_LUT])lut;
    spots_at(f, m);
    lightning_at(f, t);
}
