/* scene.h - what a skyscape is made of: the facts a caption can name, and the numbers behind them.
 * SPDX-License-Identifier: MIT
 * A scene is a plain value, made from a seed. Facts are what captions say and the probe is asked; everything else
 * (exact positions, cloud seeds, palettes' jitter) is drawn from the same seed and is never in words.
 * src/base + src/world need libc and libm only. */
#ifndef HM_SCENE_H
#define HM_SCENE_H

#include "base/base.h"

#define HM_SCENE_VERSION "2" /* renderer + grammar version: part of every data manifest */

typedef enum { HM_TIME_DAWN, HM_TIME_SUNRISE, HM_TIME_NOON, HM_TIME_GOLDEN, HM_TIME_SUNSET, HM_TIME_DUSK,
    HM_TIME_MOONLIT, HM_TIME_STARRY, HM_TIME_AURORA, HM_N_TIMES } hm_time_of_day;
typedef enum { HM_WEATHER_CLEAR, HM_WEATHER_SCATTERED, HM_WEATHER_CUMULUS, HM_WEATHER_OVERCAST, HM_WEATHER_FOG,
    HM_WEATHER_RAIN, HM_WEATHER_SNOW, HM_WEATHER_STORM, HM_WEATHER_RAINBOW, HM_N_WEATHERS } hm_weather;
typedef enum { HM_PLACE_CALM_SEA, HM_PLACE_STORMY_SEA, HM_PLACE_MOUNTAINS, HM_PLACE_HILLS, HM_PLACE_FOREST,
    HM_PLACE_DUNES, HM_PLACE_SKYLINE, HM_PLACE_LAKE, HM_PLACE_BEACH, HM_PLACE_ABOVE_CLOUDS, HM_N_PLACES } hm_place;
typedef enum { HM_SUBJECT_NONE, HM_SUBJECT_BALLOON, HM_SUBJECT_BOAT, HM_SUBJECT_LIGHTHOUSE, HM_SUBJECT_BIRDS,
    HM_SUBJECT_KITE, HM_SUBJECT_AEROPLANE, HM_SUBJECT_LANTERNS, HM_SUBJECT_SHOOTING_STARS, HM_SUBJECT_FIREWORKS,
    HM_SUBJECT_WINDMILL, HM_SUBJECT_MOONRISE, HM_N_SUBJECTS } hm_subject;
typedef enum { HM_COLOUR_NONE, HM_COLOUR_RED, HM_COLOUR_ORANGE, HM_COLOUR_YELLOW, HM_COLOUR_GREEN, HM_COLOUR_BLUE,
    HM_COLOUR_PURPLE, HM_COLOUR_WHITE, HM_COLOUR_PINK, HM_N_COLOURS } hm_colour; /* NONE where a subject has no colour */
typedef enum { HM_CAMERA_STILL, HM_CAMERA_PAN_LEFT, HM_CAMERA_PAN_RIGHT, HM_CAMERA_TILT_UP, HM_CAMERA_TILT_DOWN,
    HM_CAMERA_PUSH_IN, HM_CAMERA_PULL_OUT, HM_CAMERA_FLY_OVER, HM_N_CAMERAS } hm_camera;
typedef enum { HM_PACE_REAL, HM_PACE_LAPSE, HM_N_PACES } hm_pace;
typedef enum { HM_SIDE_LEFT, HM_SIDE_CENTRE, HM_SIDE_RIGHT, HM_N_SIDES } hm_side; /* where the (first) subject is in the middle of the film */

/* The facts, as indexable attributes: hm_scene.fact[HM_FACT_...] */
typedef enum { HM_FACT_TIME, HM_FACT_WEATHER, HM_FACT_PLACE, HM_FACT_SUBJECT, HM_FACT_COLOUR, HM_FACT_COUNT,
    HM_FACT_CAMERA, HM_FACT_PACE, HM_FACT_SIDE, HM_N_FACTS } hm_fact;
/* COUNT: 0 where subject is none or uncountable (birds flock, fireworks, shooting stars, moonrise) and for many lanterns;
 * else 1..4 (kites 1..3; lighthouse, windmill, aeroplane 1). SIDE: centre where the subject has none (none, shooting stars). */

typedef struct {
    uint64_t seed;
    uint8_t fact[HM_N_FACTS];
    bool mirrored; /* drawn flipped left-right; pan and side facts here are already the flipped ones */
} hm_scene;

int hm_fact_size(hm_fact f);                     /* number of values of a fact */
const char *hm_fact_name(hm_fact f);             /* "time", "weather", ... */
const char *hm_fact_value_name(hm_fact f, int v); /* "calm_sea", ... ; stable identifiers used in JSON */

/* A physically sensible scene from a seed (no rainbow at night, no boat in the desert, ...). */
void hm_scene_random(hm_scene *s, uint64_t seed);
/* Is this combination of facts sensible? */
bool hm_scene_valid(const hm_scene *s);
/* The scene with given facts fixed (bit f of fixed set: s->fact[f] is kept) and the rest drawn from seed; the closest
 * sensible one if the fixed ones contradict each other (returns false then: what was changed differs from what was asked). */
bool hm_scene_complete(hm_scene *s, uint32_t fixed, uint64_t seed);
/* The same scene seen in a mirror: toggles mirrored, swaps pan left/right and side left/right. */
void hm_scene_mirror(hm_scene *s);
/* {"seed":..,"time":"dusk",...}; returns length like snprintf. And back, strict; unknown keys are errors. */
size_t hm_scene_json(const hm_scene *s, char *buf, size_t cap);
himmel_status hm_scene_parse(hm_scene *s, const char *json, himmel_error *err);

/* ---- drawing (render*.c) ---- */
/* width x height: the whole picture in pixels; x0,y0,w,h: the part wanted. The picture is a function of the scene and t
 * alone: any size, crop, rate and span show the same world; small pictures equal area-averaged large ones. */
typedef struct {
    int width, height;
    int x0, y0, w, h;
} hm_view;
typedef struct hm_renderer hm_renderer; /* per-scene set-up: palettes, layers; read-only while drawing */
himmel_status hm_renderer_new(hm_renderer **out, const hm_scene *s, himmel_error *err);
void hm_renderer_free(hm_renderer *r);
/* From now on the same picture without its subject; light, camera and all else stay as they are. */
void hm_renderer_hide_subject(hm_renderer *r);
/* One frame at t seconds (any real t, also < 0) into rgb [h][w][3], gamma-coded sRGB-like values in [0,1], float, undithered.
 * Single-threaded; many threads may draw from one renderer. */
void hm_render(const hm_renderer *r, const hm_view *v, double t, float *rgb);
/* float frame -> 8 bit with blue-noise-like dither (deterministic by position and frame). */
void hm_dither8(const float *rgb, int w, int h, uint32_t frame, uint8_t *out);

#endif
