/* render.c - a scene's pictures, and their dither.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "world/render.h"
#include "base/rng.h"

himmel_status hm_renderer_new(hm_renderer **out, const hm_scene *s, himmel_error *err)
{
    *out = NULL;
    for (int i = 0; i < HM_N_FACTS; i++)
        if (s->fact[i] >= hm_fact_size((hm_fact)i))
            return hm_fail(err, HIMMEL_EINVAL, "scene: %s has no value %d", hm_fact_name((hm_fact)i), s->fact[i]);
    struct hm_renderer *r = calloc(1, sizeof *r);
    if (!r) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a scene");
    r->s = *s;
    hm_setup(r);
    *out = r;
    return HIMMEL_OK;
}
void hm_renderer_free(hm_renderer *r) { free(r); }

void hm_renderer_hide_subject(hm_renderer *r)
{
    r->s.fact[HM_FACT_SUBJECT] = HM_SUBJECT_NONE;
    r->n_spots = 0;
    r->has_moon = r->s.fact[HM_FACT_TIME] == HM_TIME_MOONLIT; /* that of a moon rise is the subject */
}

void hm_render(const hm_renderer *r, const hm_view *v, double t, float *rgb)
{
    hm_frame f;
    float lut[3][HM_LUT];
    hm_frame_at(&f, lut, r, v, t);
    for (int y = 0; y < v->h; y++)
        for (int x = 0; x < v->w; x += HM_SEG)
            hm_draw_pixels(&f, v, x, y, HM_MIN(HM_SEG, v->w - x), rgb + (size_t)y * (size_t)v->w * 3);
}

/* Blue-noise-like: interleaved gradient noise (J. Jimenez, SIGGRAPH 2014), shifted every frame. */
void hm_dither8(const float *rgb, int w, int h, uint32_t frame, uint8_t *out)
{
    const float shift = 5.588238f * (float)(frame & 63u);
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            const float a = 0.06711056f * ((float)x + shift) + 0.00583715f * ((float)y + shift);
            const float b = 52.9829189f * (a - (float)hm_ifloor(a)), d = b - (float)hm_ifloor(b);
            const size_t at = ((size_t)y * (size_t)w + (size_t)x) * 3;
            for (int c = 0; c < 3; c++) {
                const float k = hm_sat(rgb[at + c]) * 255.0f + d;
                out[at + c] = (uint8_t)(k > 255.0f ? 255.0f : k);
            }
        }
    }
}
