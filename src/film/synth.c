/* synth.c - wind, sea, rain, thunder and night as sound.   SPDX-License-Identifier: MIT
 *   white noise -filters that sway-> wind, surf, rain     random times -> drops, thunder     chirps -> crickets
 * Noise is Philox by position; filters run from the first sample on. All is subtractive synthesis with state variable
 * filters (Chamberlin); loudness was set by ear and by RMS, about -26 dB of full scale for a mix of 1. */
#include "film/synth.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "media/sound.h"

enum { SLOW = 64, MAX_DROPS = 24, CRICKETS = 3, FADE = 2 * HM_SOUND_RATE };
enum { WIND_NOISE = 0x736f756e, SEA_NOISE, RAIN_NOISE, THUNDER_NOISE, EVENTS, SWAY = 0x73776179 };

typedef struct { float low, band; } svf;
typedef struct { float phase, step, loud, pan; } drop;
/* What sways slowly; renewed every SLOW samples. */
typedef struct {
    float gust[2], wind_hz[2], surf[2], foam[2], rain, rumble;
    hm_sound_mix mix;
} slow;

struct hm_synth {
    const hm_words *words;
    size_t n_words;
    uint64_t seed;
    hm_sound_mix mix[HIMMEL_MAX_CARDS + 1];
    int64_t at;             /* samples so far */
    slow slow;
    svf wind[2], gust[2], surf[2], foam[2], rain[2], rumble[2], crack[2];
    drop drops[MAX_DROPS];
    int64_t next_drop, thunder, next_thunder;
    float thunder_pan;
    hm_rng events;
};

himmel_status hm_synth_new(hm_synth **out, const hm_words *words, size_t n_words, uint64_t seed, himmel_error *err)
{
    hm_synth *s = *out = calloc(1, sizeof *s);
    if (!s) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for sound");
    s->words = words, s->n_words = HM_MIN(n_words, HM_COUNT(s->mix)), s->seed = seed;
    for (size_t i = 0; i < s->n_words; i++) s->mix[i] = hm_prompt_sound(words[i].prompt);
    s->events = hm_rng_at(seed, EVENTS);
    s->thunder = -1;
    s->next_thunder = (int64_t)(HM_SOUND_RATE * hm_rng_range(&s->events, 0.6f, 1.6f));
    return HIMMEL_OK;
}

void hm_synth_free(hm_synth *s)
{
    free(s);
}

/* ---- pieces ---- */

/* Two channels of white noise at sample i, -1 .. 1. */
static void white(const hm_synth *s, uint64_t stream, float out[2])
{
    uint32_t r[4];
    hm_philox(s->seed, stream, (uint64_t)s->at, r);
    for (int k = 0; k < 2; k++) out[k] = (float)((double)r[k] / 2147483648.0 - 1);
}

/* Smooth noise, 0 .. 1, that changes `rate` times a second. */
static float sway(const hm_synth *s, uint64_t stream, double rate)
{
    const double t = (double)s->at / HM_SOUND_RATE * rate, f = t - floor(t), u = f * f * (3 - 2 * f);
    uint32_t a[4], b[4];
    hm_philox(s->seed, SWAY + stream, (uint64_t)floor(t), a);
    hm_philox(s->seed, SWAY + stream, (uint64_t)floor(t) + 1, b);
    return (float)(((1 - u) * a[0] + u * b[0]) / 4294967296.0);
}

/* One step of a filter at hz; its low, band and high outputs. */
static void filter(svf *f, float in, float hz, float damp, float *low, float *band, float *high)
{
    const float c = 2 * sinf((float)M_PI * hz / HM_SOUND_RATE);
    f->low += c * f->band;
    *high = in - f->low - damp * f->band;
    f->band += c * *high;
    *low = f->low, *band = f->band;
}

/* How loud the surf is: a wave rises in a third of its time and runs out. */
static float wave(double t, double period, double shift)
{
    const double p = t / period + shift, f = p - floor(p);
    return (float)(f < 0.35 ? pow(sin(0.5 * M_PI * f / 0.35), 2) : exp(-3.2 * (f - 0.35)));
}

static void mix_at(const hm_synth *s, hm_sound_mix *m)
{
    *m = (hm_sound_mix){0};
    size_t i = 0;
    while (i + 1 < s->n_words && s->words[i + 1].at * HM_SOUND_RATE <= (double)s->at) i++;
    if (!s->n_words) return;
    *m = s->mix[i];
    const double since = (double)s->at - s->words[i].at * HM_SOUND_RATE;
    if (i == 0 || since >= FADE) return;
    const float u = (float)(since / FADE);
    const hm_sound_mix *a = &s->mix[i - 1], *b = &s->mix[i];
    *m = (hm_sound_mix){a->wind + u * (b->wind - a->wind), a->sea + u * (b->sea - a->sea), a->rain + u * (b->rain - a->rain),
                        a->thunder + u * (b->thunder - a->thunder), a->night + u * (b->night - a->night)};
}

static void look(const hm_synth *s, slow *w)
{
    const double t = (double)s->at / HM_SOUND_RATE;
    mix_at(s, &w->mix);
    const double period = 8.5 - 3.5 * w->mix.sea;
    for (int k = 0; k < 2; k++) {
        const float g = sway(s, 1, 0.3), own = sway(s, 2 + (uint64_t)k, 0.7);
        w->gust[k] = 0.35f + 0.65f * (0.7f * g + 0.3f * own);
        w->wind_hz[k] = 260 + 420 * w->gust[k] * (0.6f + 0.4f * w->mix.wind);
        w->surf[k] = 0.25f + 0.75f * fmaxf(wave(t, period, 0.1 + 0.08 * k), 0.7f * wave(t, 1.37 * period, 0.55 - 0.1 * k));
        w->foam[k] = wave(t - 0.8, period, 0.1 + 0.08 * k);
    }
    w->rain = 0.75f + 0.25f * sway(s, 5, 0.4);
    const double since = s->thunder < 0 ? 1e9 : (double)(s->at - s->thunder) / HM_SOUND_RATE;
    w->rumble = (float)(since > 12 ? 0 : fmin(1, since / 0.05) * exp(-since / 1.9)) * (0.4f + 1.2f * sway(s, 6, 7));
}

/* ---- voices: each adds to lr of one sample ---- */

static void add_wind(hm_synth *s, const slow *w, float lr[2])
{
    float n[2], low, band, high;
    white(s, WIND_NOISE, n);
    for (int k = 0; k < 2; k++) {
        filter(&s->wind[k], n[k], w->wind_hz[k], 0.35f, &low, &band, &high);
        lr[k] += 0.16f * w->mix.wind * w->gust[k] * band;
        filter(&s->gust[k], n[k], 140, 1.2f, &low, &band, &high);
        lr[k] += 0.5f * w->mix.wind * w->gust[k] * low;
    }
}

static void add_sea(hm_synth *s, const slow *w, float lr[2])
{
    float n[2], low, band, high;
    white(s, SEA_NOISE, n);
    for (int k = 0; k < 2; k++) {
        filter(&s->surf[k], n[k], 420 + 500 * w->surf[k], 1.3f, &low, &band, &high);
        lr[k] += 0.42f * w->mix.sea * w->surf[k] * low;
        filter(&s->foam[k], n[k], 3800, 1.1f, &low, &band, &high);
        lr[k] += 0.05f * w->mix.sea * w->foam[k] * w->foam[k] * band;
    }
}

static void add_rain(hm_synth *s, const slow *w, float lr[2])
{
    float n[2], low, band, high;
    white(s, RAIN_NOISE, n);
    for (int k = 0; k < 2; k++) {
        filter(&s->rain[k], n[k], 5200, 1.4f, &low, &band, &high);
        lr[k] += 0.075f * w->mix.rain * w->rain * (band + 0.4f * high);
    }
    if (s->at >= s->next_drop) {
        drop *d = &s->drops[hm_rng_below(&s->events, MAX_DROPS)];
        *d = (drop){0, (float)(2 * M_PI / HM_SOUND_RATE) * hm_rng_range(&s->events, 1800, 5200), hm_rng_range(&s->events, 0.02f, 0.07f),
                    hm_rng_float(&s->events)};
        s->next_drop = s->at + (int64_t)(HM_SOUND_RATE * 0.02f * -logf(1 - 0.999f * hm_rng_float(&s->events)) / fmaxf(w->mix.rain, 0.05f));
    }
    for (int i = 0; i < MAX_DROPS; i++) {
        drop *d = &s->drops[i];
        if (d->loud < 1e-4f) continue;
        const float v = w->mix.rain * d->loud * sinf(d->phase);
        lr[0] += v * (1 - d->pan), lr[1] += v * d->pan;
        d->phase += d->step, d->loud *= 0.9965f;
    }
}

static void add_thunder(hm_synth *s, const slow *w, float lr[2])
{
    float n[2], low, band, high;
    if (s->at >= s->next_thunder) {
        s->thunder = s->at;
        s->thunder_pan = hm_rng_range(&s->events, 0.25f, 0.75f);
        s->next_thunder = s->at + (int64_t)(HM_SOUND_RATE * hm_rng_range(&s->events, 5, 12));
    }
    white(s, THUNDER_NOISE, n);
    for (int k = 0; k < 2; k++) {
        const float side = 0.6f + 0.8f * (k ? s->thunder_pan : 1 - s->thunder_pan);
        filter(&s->rumble[k], n[k], 85, 0.9f, &low, &band, &high);
        lr[k] += 2.2f * w->mix.thunder * w->rumble * side * low;
        filter(&s->crack[k], n[k], 500, 1.2f, &low, &band, &high);
        lr[k] += 0.3f * w->mix.thunder * w->rumble * w->rumble * side * low;
    }
}

/* Crickets: chirps of three pulses, each with its own pitch and pace. */
static void add_night(const hm_synth *s, const slow *w, float lr[2])
{
    static const struct { double hz, every, pan, loud; } cricket[CRICKETS] = {
        {4310, 0.61, 0.2, 0.010}, {4620, 0.74, 0.75, 0.008}, {3890, 0.93, 0.5, 0.005}};
    const double t = (double)s->at / HM_SOUND_RATE;
    for (int i = 0; i < CRICKETS; i++) {
        const double f = fmod(t + 0.21 * i, cricket[i].every), p = fmod(f, 0.045) / 0.03;
        if (f > 0.135 || p > 1) continue;
        const float v = w->mix.night * (float)(cricket[i].loud * sin(M_PI * p) * sin(2 * M_PI * cricket[i].hz * f));
        lr[0] += v * (float)(1 - cricket[i].pan), lr[1] += v * (float)cricket[i].pan;
    }
}

void hm_synth_read(hm_synth *s, int n, float *lr)
{
    const slow *w = &s->slow;
    for (int i = 0; i < n; i++, s->at++, lr += 2) {
        if (s->at % SLOW == 0) look(s, &s->slow);
        lr[0] = lr[1] = 0;
        if (w->mix.wind > 0) add_wind(s, w, lr);
        if (w->mix.sea > 0) add_sea(s, w, lr);
        if (w->mix.rain > 0) add_rain(s, w, lr);
        if (w->mix.thunder > 0) add_thunder(s, w, lr);
        if (w->mix.night > 0) add_night(s, w, lr);
        for (int k = 0; k < 2; k++) lr[k] = tanhf(1.2f * lr[k]);
    }
}
