/* scene_json.c - names of facts and their values, scenes as JSON and back.   SPDX-License-Identifier: MIT
 * One flat object of known keys with unescaped strings, numbers and booleans: a reader of 80 lines, so that
 * this layer needs libc only. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "world/scene.h"

static const char *const times[] = {"dawn", "sunrise",       "noon",         "golden_hour", "sunset",
                                    "dusk", "moonlit_night", "starry_night", "aurora"};
static const char *const weathers[] = {"clear", "scattered_clouds", "cumulus", "overcast", "fog", "rain",
                                       "snow",  "thunderstorm",     "rainbow"};
static const char *const places[] = {"calm_sea", "stormy_sea", "mountains", "hills", "forest",
                                     "dunes",    "skyline",    "lake",      "beach", "above_clouds"};
static const char *const subjects[] = {"none",           "balloon",   "boat",      "lighthouse",
                                       "birds",          "kite",      "aeroplane", "lanterns",
                                       "shooting_stars", "fireworks", "windmill",  "moonrise"};
static const char *const colours[] = {"none", "red",    "orange", "yellow", "green",
                                      "blue", "purple", "white",  "pink"};
static const char *const counts[] = {"0", "1", "2", "3", "4"};
static const char *const cameras[] = {"still",     "pan_left", "pan_right", "tilt_up",
                                      "tilt_down", "push_in",  "pull_out",  "fly_over"};
static const char *const paces[] = {"real_time", "time_lapse"};
static const char *const sides[] = {"left", "centre", "right"};

static const struct {
    const char *name;
    const char *const *values;
    int n;
} facts[HM_N_FACTS] = {[HM_FACT_TIME] = {"time", times, HM_N_TIMES},
                       [HM_FACT_WEATHER] = {"weather", weathers, HM_N_WEATHERS},
                       [HM_FACT_PLACE] = {"place", places, HM_N_PLACES},
                       [HM_FACT_SUBJECT] = {"subject", subjects, HM_N_SUBJECTS},
                       [HM_FACT_COLOUR] = {"colour", colours, HM_N_COLOURS},
                       [HM_FACT_COUNT] = {"count", counts, HM_COUNT(counts)},
                       [HM_FACT_CAMERA] = {"camera", cameras, HM_N_CAMERAS},
                       [HM_FACT_PACE] = {"pace", paces, HM_N_PACES},
                       [HM_FACT_SIDE] = {"side", sides, HM_N_SIDES}};
_Static_assert(HM_COUNT(times) == HM_N_TIMES && HM_COUNT(weathers) == HM_N_WEATHERS &&
                   HM_COUNT(places) == HM_N_PLACES && HM_COUNT(subjects) == HM_N_SUBJECTS &&
                   HM_COUNT(colours) == HM_N_COLOURS && HM_COUNT(cameras) == HM_N_CAMERAS &&
                   HM_COUNT(paces) == HM_N_PACES && HM_COUNT(sides) == HM_N_SIDES,
               "a name for every value");

int hm_fact_size(hm_fact f) { return facts[f].n; }
const char *hm_fact_name(hm_fact f) { return facts[f].name; }
const char *hm_fact_value_name(hm_fact f, int v)
{
    return v >= 0 && v < facts[f].n ? facts[f].values[v] : "?";
}

size_t hm_scene_json(const hm_scene *s, char *buf, size_t cap)
{
    hm_str out = {buf, cap, 0};
    hm_str_addf(&out, "{\"seed\":%" PRIu64, s->seed);
    for (int f = 0; f < HM_N_FACTS; f++) {
        const char *q = f == HM_FACT_COUNT ? "" : "\""; /* the count is a number */
        hm_str_addf(&out, ",\"%s\":%s%s%s", facts[f].name, q, hm_fact_value_name((hm_fact)f, s->fact[f]), q);
    }
    hm_str_addf(&out, ",\"mirrored\":%s}", s->mirrored ? "true" : "false");
    return out.len;
}

/* ---- reading ---- */

static const char *skip_space(const char *p)
{
    while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r') p++;
    return p;
}
static bool take(const char **p, char c)
{
    *p = skip_space(*p);
    if (**p != c) return false;
    ++*p;
    return true;
}
/* A string without escapes, or a bare word or number; into word (cap 32). */
static bool take_word(const char **p, bool quoted, char word[32])
{
    size_t n = 0;
    if (quoted && !take(p, '"')) return false;
    *p = skip_space(*p);
    while (n < 31 && ((**p >= 'a' && **p <= 'z') || (**p >= '0' && **p <= '9') || **p == '_'))
        word[n++] = *(*p)++;
    word[n] = 0;
    if (quoted && *(*p)++ != '"') return false;
    return n > 0 && n < 31;
}
static bool seed_from(const char *word, uint64_t *seed)
{
    *seed = 0;
    for (const char *c = word; *c; c++) {
        uint64_t v;
        if (*c < '0' || *c > '9' || !hm_mul(*seed, 10, &v) || !hm_add(v, (uint64_t)(*c - '0'), seed))
            return false;
    }
    return true;
}

enum { KEY_SEED = HM_N_FACTS, KEY_MIRRORED, N_KEYS };
static int key_index(const char *key)
{
    for (int f = 0; f < HM_N_FACTS; f++)
        if (!strcmp(key, facts[f].name)) return f;
    return !strcmp(key, "seed") ? KEY_SEED : !strcmp(key, "mirrored") ? KEY_MIRRORED : -1;
}
static bool set_key(hm_scene *s, int key, const char *word)
{
    if (key == KEY_SEED) return seed_from(word, &s->seed);
    if (key == KEY_MIRRORED) {
        s->mirrored = !strcmp(word, "true");
        return s->mirrored || !strcmp(word, "false");
    }
    for (int v = 0; v < facts[key].n; v++)
        if (!strcmp(word, facts[key].values[v])) {
            s->fact[key] = (uint8_t)v;
            return true;
        }
    return false;
}

himmel_status hm_scene_parse(hm_scene *s, const char *json, himmel_error *err)
{
    hm_scene got = {0};
    unsigned seen = 0;
    const char *p = json;
    if (!take(&p, '{')) return hm_fail(err, HIMMEL_EFORMAT, "a scene is a JSON object, this is not");
    do {
        char key[32], word[32];
        if (!take_word(&p, true, key) || !take(&p, ':'))
            return hm_fail(err, HIMMEL_EFORMAT, "the scene's JSON is broken at byte %zu", (size_t)(p - json));
        const int k = key_index(key);
        if (k < 0) return hm_fail(err, HIMMEL_EFORMAT, "a scene has no \"%s\"", key);
        if (seen >> k & 1) return hm_fail(err, HIMMEL_EFORMAT, "the scene says \"%s\" twice", key);
        if (!take_word(&p, k < HM_N_FACTS && k != HM_FACT_COUNT, word))
            return hm_fail(err, HIMMEL_EFORMAT, "the scene's \"%s\" cannot be read", key);
        if (!set_key(&got, k, word))
            return hm_fail(err, HIMMEL_EFORMAT, "\"%s\" cannot be %s in a scene", key, word);
        seen |= 1u << k;
    } while (take(&p, ','));
    if (!take(&p, '}') || *skip_space(p))
        return hm_fail(err, HIMMEL_EFORMAT, "the scene's JSON does not end well");
    for (int k = 0; k < KEY_MIRRORED; k++) /* mirrored may be left out: false */
        if (!(seen >> k & 1))
            return hm_fail(err, HIMMEL_EFORMAT, "the scene lacks \"%s\"",
                           k == KEY_SEED ? "seed" : facts[k].name);
    if (!hm_scene_valid(&got)) return hm_fail(err, HIMMEL_EFORMAT, "the scene's facts contradict each other");
    *s = got;
    return HIMMEL_OK;
}
