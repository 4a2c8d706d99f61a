/* render.h - shared by render*.c and draw_*.c: palettes, the frame's state, row segments.   SPDX-License-Identifier: MIT
 * Coordinates: u to the right from the middle, v down from the top, both in picture heights. A layer with parallax p
 * (0 = sky, 1 = at our feet) has its own (lu, h): h is the height above the horizon, hm_cam maps screen to layer.
 * Everything is drawn on segments: up to HM_SEG pixels with their own (u, v) each, so that a mirror image in water is the
 * same code with other coordinates. Colours are display-coded (gamma), which makes coverage blending = area averaging. */
#ifndef HM_RENDER_H
#define HM_RENDER_H

#include "world/noise.h"
#include "world/scene.h"

#ifndef HM_SEG_PIXELS
#define HM_SEG_PIXELS 256 /* 1 on a GPU: a thread draws a pixel */
#endif
enum { HM_SEG = HM_SEG_PIXELS, HM_LUT = 160 };

typedef struct { float r, g, b; } hm_rgbf;

typedef struct {
    hm_rgbf sky[5];           /* at h = 0, .08, .22, .45, .8 */
    hm_rgbf haze;             /* what far things fade to */
    hm_rgbf sun;              /* glow and disc */
    hm_rgbf amb, dir;         /* light on the ground: colour = albedo * (amb + dir * lit) */
    hm_rgbf lit, shade;       /* sunny and dark side of clouds */
    hm_rgbf water;            /* looking down into it */
    float sun_h, glow, stars, night, disc, aurora;
} hm_pal;

typedef struct { float u, v, size, phase; } hm_spot; /* a subject: screen place in the middle of the film, seed phase */

struct hm_renderer {
    hm_scene s;
    uint8_t camera, side;     /* unflipped */
    hm_pal pal;
    uint32_t seed;
    float vh, sun_u, wind, cover, moon_u, moon_h, moon_r, sea, fog;
    float rnd[16];
    bool has_water, has_moon, fixed; /* fixed: the subject stands on the ground and does not move */
    hm_rgbf tint;             /* the subject's colour */
    hm_spot spot[8];
    int n_spots;
    float aim;                /* what the camera pushes in on: u */
};

typedef struct {
    const struct hm_renderer *R;
    float t, tc, tw;          /* film time; cloud time, wave time in (faster) seconds */
    float a, W, px, vh;       /* aspect, framing width <= 1.78, pixel size, horizon on screen */
    float pan0, pan1, zoom, cx, fly;
    hm_pal pal;
    float sun_u, sun_h, moon_u, moon_h, wind;
    float flash, flash_u;     /* lightning: brightness 0..1, where */
    hm_spot spot[8];          /* at this time */
    float spot_p;             /* parallax of the ground subject */
    const float (*lut)[HM_LUT]; /* sky by h, see hm_sky_lut */
} hm_frame;

typedef struct {
    int n;
    float px;                 /* pixel size in heights */
    const float *u, *v;
    float u0, u1, v0, v1;     /* bounds of u and v */
    float *r, *g, *b;
    bool mirror;              /* drawing the image in the water */
} hm_seg;

typedef struct { float iz, cx, ox, vh; } hm_cam;
HM_INLINE hm_cam hm_cam_at(const hm_frame *f, float p)
{
    hm_cam c = {1.0f / (1.0f + (f->zoom - 1.0f) * (0.6f + 0.4f * p)), f->cx, f->pan0 + f->pan1 * p, f->vh};
    return c;
}
HM_INLINE float hm_cam_u(hm_cam c, float u) { return (u - c.cx) * c.iz + c.cx + c.ox; }
HM_INLINE float hm_cam_h(hm_cam c, float v) { return (c.vh - v) * c.iz; }
HM_INLINE float hm_cam_su(hm_cam c, float lu) { return (lu - c.ox - c.cx) / c.iz + c.cx; } /* back to the screen */

HM_INLINE hm_rgbf hm_rgb(float r, float g, float b) { hm_rgbf c = {r, g, b}; return c; }
HM_INLINE hm_rgbf hm_mixc(hm_rgbf a, hm_rgbf b, float k)
{
    return hm_rgb(hm_mixf(a.r, b.r, k), hm_mixf(a.g, b.g, k), hm_mixf(a.b, b.b, k));
}
HM_INLINE hm_rgbf hm_scalec(hm_rgbf a, float k) { return hm_rgb(a.r * k, a.g * k, a.b * k); }
HM_INLINE hm_rgbf hm_mulc(hm_rgbf a, hm_rgbf b) { return hm_rgb(a.r * b.r, a.g * b.g, a.b * b.b); }
HM_INLINE hm_rgbf hm_addc(hm_rgbf a, hm_rgbf b) { return hm_rgb(a.r + b.r, a.g + b.g, a.b + b.b); }
HM_INLINE float hm_luma(hm_rgbf c) { return 0.30f * c.r + 0.59f * c.g + 0.11f * c.b; }
HM_INLINE hm_rgbf hm_lightc(const hm_pal *p, hm_rgbf albedo, float lit)
{
    return hm_mulc(albedo, hm_addc(p->amb, hm_scalec(p->dir, lit)));
}
/* Light on a subject: never so dark that its colour is lost. */
HM_INLINE hm_rgbf hm_glowing(const hm_frame *f, hm_rgbf c, float lit, float least)
{
    hm_rgbf l = hm_addc(f->pal.amb, hm_scalec(f->pal.dir, lit));
    const float y = hm_luma(l), k = y < least ? least - y : 0.0f;
    return hm_mulc(c, hm_rgb(l.r + k, l.g + k, l.b + k));
}
/* Copies that no store to a picture can change: without them the compiler reloads them for every pixel and cannot
 * vectorise. First line of every function that loops over a segment. */
#if defined(__CUDACC__) /* a thread draws one pixel: a copy would cost more than the drawing */
#define HM_LOCAL(f, s) ((void)0)
#else
#define HM_LOCAL(f, s) const hm_frame frame_copy = *f; const hm_seg seg_copy = *s; f = &frame_copy; s = &seg_copy
#endif

/* Blend colour c over pixel i with coverage k; add light. */
HM_INLINE void hm_over(const hm_seg *s, int i, hm_rgbf c, float k)
{
    s->r[i] += (c.r - s->r[i]) * k;
    s->g[i] += (c.g - s->g[i]) * k;
    s->b[i] += (c.b - s->b[i]) * k;
}
HM_INLINE void hm_screen(const hm_seg *s, int i, hm_rgbf c, float k)
{
    s->r[i] += (1.0f - s->r[i]) * hm_sat(c.r * k);
    s->g[i] += (1.0f - s->g[i]) * hm_sat(c.g * k);
    s->b[i] += (1.0f - s->b[i]) * hm_sat(c.b * k);
}
/* Coverage of a half plane: d = signed distance into it. */
HM_INLINE float hm_cov(float d, float px) { return hm_sat(0.5f + d / px); }

/* render_palette.c */
void hm_palette(hm_pal *p, hm_time_of_day time, hm_weather weather, const float rnd[16]);
hm_rgbf hm_colour_rgb(int colour, int subject);
void hm_sky_lut(const hm_frame *f, float lut[3][HM_LUT]);
/* render_setup.c */
void hm_setup(struct hm_renderer *r);
/* lut: where to keep the sky's colours as long as f lives. */
void hm_frame_at(hm_frame *f, float lut[3][HM_LUT], const struct hm_renderer *r, const hm_view *v, double t);
/* draw.c: pixels x .. x+n-1 (n <= HM_SEG) of row y of a view through all layers, into row[3 w] */
HM_PIXEL void hm_draw_pixels(const hm_frame *f, const hm_view *v, int x, int y, int n, float *row);
/* draw_sky.c, draw_clouds.c */
HM_PIXEL void hm_draw_sky(const hm_frame *f, const hm_seg *s);
HM_PIXEL void hm_draw_moon(const hm_frame *f, const hm_seg *s);
HM_PIXEL void hm_draw_clouds(const hm_frame *f, const hm_seg *s);
HM_PIXEL void hm_draw_cloud_sea(const hm_frame *f, const hm_seg *s);
/* draw_terrain.c: what stands on or behind the horizon (far), and land in front of us (near) */
HM_PIXEL void hm_draw_far(const hm_frame *f, const hm_seg *s);
HM_PIXEL void hm_draw_near(const hm_frame *f, const hm_seg *s);
HM_PIXEL void hm_draw_city(const hm_frame *f, const hm_seg *s);
/* draw_water.c */
HM_PIXEL void hm_draw_water(const hm_frame *f, const hm_seg *s);
HM_PIXEL void hm_draw_swell(const hm_frame *f, const hm_seg *s);
HM_PIXEL void hm_draw_behind_water(const hm_frame *f, const hm_seg *s);
/* draw_subject_*.c */
HM_PIXEL void hm_draw_ground_subject(const hm_frame *f, const hm_seg *s);
HM_PIXEL void hm_draw_air_subject(const hm_frame *f, const hm_seg *s);
HM_PIXEL void hm_draw_night_subject(const hm_frame *f, const hm_seg *s);
/* draw_weather.c */
HM_PIXEL void hm_draw_rainbow(const hm_frame *f, const hm_seg *s);
HM_PIXEL void hm_draw_lightning(const hm_frame *f, const hm_seg *s);
HM_PIXEL void hm_draw_veil(const hm_frame *f, const hm_seg *s, float amount);

#endif
