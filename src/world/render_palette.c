/* render_palette.c - the colours of each time of day, and what the weather does to them.   SPDX-License-Identifier: MIT
 * Chosen by eye (display-coded sRGB); nights are kept bright and blue, as a long exposure shows them. */
#include "world/render.h"

#define C(r, g, b) {r, g, b}
static const hm_pal times[HM_N_TIMES] = {
    [HM_TIME_DAWN] = {
        {C(.99f,.80f,.66f), C(.95f,.72f,.70f), C(.72f,.66f,.79f), C(.47f,.55f,.76f), C(.29f,.39f,.64f)},
        C(.80f,.68f,.73f), C(1.f,.80f,.66f), C(.42f,.46f,.60f), C(.26f,.18f,.17f), C(.98f,.76f,.74f), C(.56f,.54f,.70f),
        C(.22f,.30f,.44f), -.03f, .55f, 0.f, .15f, 0.f, 0.f},
    [HM_TIME_SUNRISE] = {
        {C(1.f,.88f,.58f), C(1.f,.80f,.56f), C(.94f,.75f,.66f), C(.64f,.71f,.84f), C(.36f,.54f,.82f)},
        C(.96f,.78f,.64f), C(1.f,.90f,.62f), C(.48f,.48f,.54f), C(.52f,.38f,.22f), C(1.f,.86f,.68f), C(.66f,.58f,.66f),
        C(.20f,.33f,.46f), .055f, 1.f, 0.f, 0.f, 1.f, 0.f},
    [HM_TIME_NOON] = {
        {C(.80f,.91f,.98f), C(.66f,.84f,.97f), C(.45f,.71f,.95f), C(.25f,.55f,.89f), C(.13f,.40f,.79f)},
        C(.74f,.85f,.95f), C(1.f,.98f,.90f), C(.50f,.54f,.60f), C(.56f,.54f,.46f), C(1.f,1.f,.99f), C(.66f,.73f,.84f),
        C(.06f,.30f,.48f), .46f, .55f, 0.f, 0.f, 1.f, 0.f},
    [HM_TIME_GOLDEN] = {
        {C(1.f,.87f,.58f), C(.97f,.82f,.60f), C(.83f,.79f,.70f), C(.57f,.69f,.79f), C(.33f,.52f,.74f)},
        C(.94f,.80f,.58f), C(1.f,.84f,.50f), C(.46f,.42f,.42f), C(.66f,.50f,.22f), C(1.f,.90f,.66f), C(.66f,.60f,.62f),
        C(.16f,.29f,.38f), .19f, 1.f, 0.f, 0.f, 1.f, 0.f},
    [HM_TIME_SUNSET] = {
        {C(1.f,.66f,.26f), C(.99f,.50f,.26f), C(.88f,.38f,.38f), C(.54f,.30f,.50f), C(.26f,.20f,.45f)},
        C(.90f,.46f,.36f), C(1.f,.72f,.32f), C(.38f,.30f,.42f), C(.56f,.28f,.10f), C(1.f,.60f,.36f), C(.44f,.28f,.44f),
        C(.22f,.18f,.36f), .045f, 1.f, 0.f, .05f, 1.f, 0.f},
    [HM_TIME_DUSK] = {
        {C(.96f,.58f,.40f), C(.76f,.44f,.50f), C(.46f,.34f,.56f), C(.26f,.25f,.50f), C(.14f,.15f,.38f)},
        C(.48f,.36f,.54f), C(1.f,.56f,.36f), C(.31f,.29f,.45f), C(.12f,.07f,.08f), C(.76f,.44f,.52f), C(.32f,.26f,.46f),
        C(.12f,.13f,.30f), -.05f, .6f, .35f, .5f, 0.f, 0.f},
    [HM_TIME_MOONLIT] = {
        {C(.40f,.51f,.66f), C(.32f,.43f,.61f), C(.22f,.33f,.53f), C(.15f,.25f,.45f), C(.11f,.18f,.37f)},
        C(.29f,.39f,.56f), C(.84f,.92f,1.f), C(.24f,.30f,.43f), C(.20f,.24f,.28f), C(.66f,.74f,.88f), C(.24f,.32f,.48f),
        C(.06f,.12f,.24f), .40f, .34f, .35f, .9f, 0.f, 0.f},
    [HM_TIME_STARRY] = {
        {C(.31f,.36f,.54f), C(.24f,.30f,.50f), C(.17f,.22f,.44f), C(.12f,.16f,.36f), C(.09f,.12f,.29f)},
        C(.20f,.25f,.43f), C(.70f,.78f,1.f), C(.20f,.24f,.38f), C(.05f,.06f,.09f), C(.36f,.42f,.62f), C(.18f,.22f,.38f),
        C(.05f,.08f,.18f), .5f, 0.f, 1.f, 1.f, 0.f, 0.f},
    [HM_TIME_AURORA] = {
        {C(.16f,.36f,.40f), C(.13f,.30f,.38f), C(.10f,.22f,.34f), C(.08f,.16f,.30f), C(.07f,.11f,.26f)},
        C(.13f,.27f,.34f), C(.55f,1.f,.75f), C(.15f,.24f,.30f), C(.06f,.14f,.12f), C(.30f,.52f,.52f), C(.13f,.22f,.32f),
        C(.04f,.10f,.17f), .5f, 0.f, .55f, 1.f, 0.f, 1.f}};

static const hm_rgbf colours[HM_N_COLOURS] = {C(.80f,.80f,.80f), C(.90f,.12f,.12f), C(.98f,.50f,.08f), C(1.f,.84f,.12f),
    C(.14f,.66f,.26f), C(.12f,.36f,.92f), C(.56f,.20f,.78f), C(.97f,.97f,.97f), C(1.f,.50f,.72f)};

hm_rgbf hm_colour_rgb(int colour, int subject)
{
    if (colour == HM_COLOUR_NONE) return subject == HM_SUBJECT_LANTERNS ? colours[HM_COLOUR_ORANGE] : colours[0];
    return colours[colour];
}

/* Towards a closed grey sky of brightness k: keeps the hue of the time of day a little, and the horizon brighter. */
static void close_sky(hm_pal *p, float amount, float dark)
{
    for (int i = 0; i < 5; i++) {
        const float l = hm_luma(p->sky[i]), e = hm_luma(p->sky[1]);
        const float base = (0.60f * e + 0.40f * l) * dark;
        const hm_rgbf grey = hm_rgb(base * 0.97f, base * 1.0f, base * 1.05f);
        const hm_rgbf own = hm_scalec(p->sky[i > 2 ? 2 : i], dark);
        p->sky[i] = hm_mixc(p->sky[i], hm_mixc(grey, own, 0.30f), amount);
    }
    const float h = hm_luma(p->haze) * (0.5f + 0.5f * dark), c = hm_luma(p->lit) * (0.35f + 0.55f * dark);
    const float d = hm_luma(p->shade) * (0.45f + 0.5f * dark);
    p->haze = hm_mixc(p->haze, hm_rgb(h * 0.96f, h, h * 1.05f), 0.75f * amount);
    p->lit = hm_mixc(p->lit, hm_mixc(hm_rgb(c * 0.97f, c, c * 1.04f), hm_scalec(p->lit, dark), 0.35f), amount);
    p->shade = hm_mixc(p->shade, hm_mixc(hm_rgb(d * 0.96f, d, d * 1.06f), hm_scalec(p->shade, dark), 0.35f), amount);
    p->amb = hm_addc(p->amb, hm_scalec(p->dir, 0.20f * amount * dark));
    p->dir = hm_scalec(p->dir, 1.0f - 0.85f * amount);
    const float w = hm_luma(p->water);
    p->water = hm_mixc(p->water, hm_rgb(w * 0.85f, w * 1.02f, w * 1.1f), 0.6f * amount);
    p->glow *= 1.0f - 0.75f * amount;
    p->disc *= amount > 0.7f ? 0.0f : 1.0f - amount;
    p->stars *= 1.0f - amount;
}

void hm_palette(hm_pal *p, hm_time_of_day time, hm_weather weather, const float rnd[16])
{
    *p = times[time];
    for (int i = 0; i < 5; i++) { /* small personal differences: warmer or cooler, deeper or paler */
        const float warm = 0.05f * (rnd[10] - 0.5f), deep = 1.0f + 0.10f * (rnd[11] - 0.5f) * (float)i * 0.5f;
        p->sky[i].r = hm_sat(p->sky[i].r * deep * (1.0f + warm));
        p->sky[i].g = hm_sat(p->sky[i].g * deep);
        p->sky[i].b = hm_sat(p->sky[i].b * deep * (1.0f - warm));
    }
    const float bright = p->night > 0.4f ? 1.0f : 0.92f;
    switch (weather) {
    case HM_WEATHER_OVERCAST: close_sky(p, 0.9f, bright); break;
    case HM_WEATHER_RAIN: close_sky(p, 0.95f, bright * 0.80f); break;
    case HM_WEATHER_STORM: close_sky(p, 0.92f, bright * (p->night > 0.4f ? 0.80f : 0.62f)); break;
    case HM_WEATHER_SNOW: close_sky(p, 0.72f, bright * 1.04f); break;
    case HM_WEATHER_FOG: close_sky(p, 0.45f, bright * 1.04f); break;
    case HM_WEATHER_RAINBOW: close_sky(p, 0.30f, 0.88f); break;
    default: break;
    }
}

/* Sky colour by h from -0.1 to 1.1, stops joined smoothly (blurred), so that no band shows. */
void hm_sky_lut(const hm_frame *f, float lut[3][HM_LUT])
{
    static const float at[5] = {0.0f, 0.08f, 0.22f, 0.45f, 0.80f};
    for (int c = 0; c < 3; c++) {
        float *l = lut[c], tmp[HM_LUT];
        for (int i = 0; i < HM_LUT; i++) {
            const float h = -0.1f + 1.2f * (float)i / (HM_LUT - 1);
            int k = 0;
            while (k < 3 && h > at[k + 1]) k++;
            const float x = hm_sat((h - at[k]) / (at[k + 1] - at[k]));
            const float a = c == 0 ? f->pal.sky[k].r : c == 1 ? f->pal.sky[k].g : f->pal.sky[k].b;
            const float b = c == 0 ? f->pal.sky[k + 1].r : c == 1 ? f->pal.sky[k + 1].g : f->pal.sky[k + 1].b;
            l[i] = hm_mixf(a, b, x);
        }
        for (int pass = 0; pass < 6; pass++) {
            for (int i = 0; i < HM_LUT; i++) {
                float s = 0.0f;
                for (int j = -2; j <= 2; j++) s += l[i + j < 0 ? 0 : i + j >= HM_LUT ? HM_LUT - 1 : i + j];
                tmp[i] = s * 0.2f;
            }
            for (int i = 0; i < HM_LUT; i++) l[i] = tmp[i];
        }
    }
}
