/* scene.c - the facts of a skyscape: names, what goes with what, drawing and completing, mirror.
 * SPDX-License-Identifier: MIT
 * Time, weather, place and subject constrain each other pairwise (the tables below); colour, count, pace and
 * camera depend on the subject (and pace on the camera). A draw is over all sensible combinations of the
 * first four, each weighted by the product of its values' weights: half-way (in the logarithm) between none
 * and those that iterative proportional fitting to even shares gives. Each time has 6-13 %, weather 7-15 %,
 * place 6-13 %, subject 4-11 %, none 21 %. */
#include "world/scene.h"
#include <string.h>
#include "base/rng.h"

#define B(x) (1u << (x))
#define ALL 0xffffu
#define BUT(x) (ALL & ~(x))

/* Sets of values, one bit each. */
enum {
    T_DAY = B(HM_TIME_SUNRISE) | B(HM_TIME_NOON) | B(HM_TIME_GOLDEN) | B(HM_TIME_SUNSET),
    T_LIGHT = T_DAY | B(HM_TIME_DAWN) | B(HM_TIME_DUSK),
    T_DARK = B(HM_TIME_DUSK) | B(HM_TIME_MOONLIT) | B(HM_TIME_STARRY),
    W_OPEN = B(HM_WEATHER_CLEAR) | B(HM_WEATHER_SCATTERED),
    W_FAIR = W_OPEN | B(HM_WEATHER_CUMULUS),
    P_SHORE = B(HM_PLACE_CALM_SEA) | B(HM_PLACE_STORMY_SEA) | B(HM_PLACE_LAKE) | B(HM_PLACE_BEACH)
};

static const uint16_t weather_at_time[HM_N_TIMES] = {
    [HM_TIME_DAWN] = BUT(B(HM_WEATHER_RAINBOW)),
    [HM_TIME_SUNRISE] = W_FAIR | B(HM_WEATHER_FOG) | B(HM_WEATHER_SNOW) | B(HM_WEATHER_RAINBOW),
    [HM_TIME_NOON] = ALL,
    [HM_TIME_GOLDEN] = W_FAIR | B(HM_WEATHER_FOG) | B(HM_WEATHER_SNOW) | B(HM_WEATHER_RAINBOW),
    [HM_TIME_SUNSET] = W_FAIR | B(HM_WEATHER_FOG) | B(HM_WEATHER_STORM) | B(HM_WEATHER_RAINBOW),
    [HM_TIME_DUSK] = BUT(B(HM_WEATHER_RAINBOW)),
    [HM_TIME_MOONLIT] = BUT(B(HM_WEATHER_OVERCAST) | B(HM_WEATHER_RAINBOW)), /* the moon must be seen */
    [HM_TIME_STARRY] = W_OPEN,
    [HM_TIME_AURORA] = W_OPEN};

static const uint16_t weather_at_place[HM_N_PLACES] = {
    [HM_PLACE_CALM_SEA] = BUT(B(HM_WEATHER_SNOW) | B(HM_WEATHER_STORM)),
    [HM_PLACE_STORMY_SEA] = BUT(B(HM_WEATHER_CLEAR) | B(HM_WEATHER_FOG) | B(HM_WEATHER_SNOW)),
    [HM_PLACE_MOUNTAINS] = BUT(B(HM_WEATHER_RAIN)), /* snowy peaks */
    [HM_PLACE_HILLS] = BUT(B(HM_WEATHER_SNOW)), /* green */
    [HM_PLACE_FOREST] = ALL,
    [HM_PLACE_DUNES] = W_FAIR | B(HM_WEATHER_STORM),
    [HM_PLACE_SKYLINE] = ALL,
    [HM_PLACE_LAKE] = ALL,
    [HM_PLACE_BEACH] = BUT(B(HM_WEATHER_SNOW)),
    [HM_PLACE_ABOVE_CLOUDS] = W_FAIR};

static const uint16_t time_at_place[HM_N_PLACES] = {
    [HM_PLACE_CALM_SEA] = ALL,
    [HM_PLACE_STORMY_SEA] = BUT(B(HM_TIME_STARRY) | B(HM_TIME_AURORA)),
    [HM_PLACE_MOUNTAINS] = ALL,
    [HM_PLACE_HILLS] = ALL,
    [HM_PLACE_FOREST] = ALL,
    [HM_PLACE_DUNES] = BUT(B(HM_TIME_AURORA)),
    [HM_PLACE_SKYLINE] = BUT(B(HM_TIME_AURORA)),
    [HM_PLACE_LAKE] = ALL,
    [HM_PLACE_BEACH] = ALL,
    [HM_PLACE_ABOVE_CLOUDS] = ALL};

/* What each subject needs, and how it can be. */
static const struct {
    uint16_t time, weather, place;
    uint8_t max_count; /* 0: uncountable */
    bool zero_count; /* 0 is possible beside 1..max: "many" */
    bool coloured, lapse, fly_over, sided;
} need[HM_N_SUBJECTS] = {
    [HM_SUBJECT_NONE] = {ALL, ALL, ALL, 0, true, false, true, true, false},
    [HM_SUBJECT_BALLOON] = {T_LIGHT,
                            W_FAIR | B(HM_WEATHER_OVERCAST) | B(HM_WEATHER_FOG) | B(HM_WEATHER_RAINBOW),
                            BUT(B(HM_PLACE_STORMY_SEA)), 4, false, true, true, true, true},
    [HM_SUBJECT_BOAT] = {ALL, BUT(B(HM_WEATHER_SNOW)), P_SHORE, 4, false, true, true, false, true},
    [HM_SUBJECT_LIGHTHOUSE] = {ALL, ALL, P_SHORE, 1, false, true, true, false, true},
    [HM_SUBJECT_BIRDS] = {T_LIGHT, BUT(B(HM_WEATHER_STORM)), ALL, 0, true, false, false, true, true},
    [HM_SUBJECT_KITE] = {T_DAY, W_FAIR | B(HM_WEATHER_OVERCAST) | B(HM_WEATHER_RAINBOW),
                         B(HM_PLACE_BEACH) | B(HM_PLACE_HILLS) | B(HM_PLACE_DUNES), 3, false, true, false,
                         false, true},
    [HM_SUBJECT_AEROPLANE] = {T_LIGHT, W_FAIR | B(HM_WEATHER_RAINBOW), BUT(B(HM_PLACE_STORMY_SEA)), 1, false,
                              false, true, true, true},
    [HM_SUBJECT_LANTERNS] = {T_DARK, W_FAIR | B(HM_WEATHER_FOG) | B(HM_WEATHER_SNOW),
                             BUT(B(HM_PLACE_STORMY_SEA) | B(HM_PLACE_ABOVE_CLOUDS)), 4, true, true, true,
                             false, true},
    [HM_SUBJECT_SHOOTING_STARS] = {T_DARK | B(HM_TIME_AURORA), W_OPEN, BUT(B(HM_PLACE_STORMY_SEA)), 0, true,
                                   false, false, true, false},
    [HM_SUBJECT_FIREWORKS] = {T_DARK, W_FAIR | B(HM_WEATHER_SNOW),
                              B(HM_PLACE_CALM_SEA) | B(HM_PLACE_MOUNTAINS) | B(HM_PLACE_HILLS) |
                                  B(HM_PLACE_SKYLINE) | B(HM_PLACE_LAKE) | B(HM_PLACE_BEACH),
                              0, true, true, false, false, true},
    [HM_SUBJECT_WINDMILL] = {BUT(B(HM_TIME_AURORA)), ALL,
                             B(HM_PLACE_HILLS) | B(HM_PLACE_LAKE) | B(HM_PLACE_BEACH), 1, false, true, true,
                             false, true},
    [HM_SUBJECT_MOONRISE] = {B(HM_TIME_DUSK) | B(HM_TIME_MOONLIT), W_FAIR, ALL, 0, true, false, true, true,
                             true}};

/* Weights of the four main facts (see the top of the file). */
static const uint16_t w_time[HM_N_TIMES] = {84, 139, 74, 139, 122, 57, 64, 423, 1000};
static const uint16_t w_weather[HM_N_WEATHERS] = {150, 140, 183, 862, 543, 1000, 730, 800, 240};
static const uint16_t w_place[HM_N_PLACES] = {440, 665, 481, 375, 521, 861, 492, 320, 326, 1000};
static const uint16_t w_subject[HM_N_SUBJECTS] = {127, 149, 141, 138, 107, 488,
                                                  265, 306, 158, 459, 199, 1000};
static const uint16_t w_camera[HM_N_CAMERAS] = {25, 11, 11, 10, 10, 12, 12, 14};
static const uint16_t w_count[5] = {45, 38, 26, 22, 22};

/* What it costs to change a fixed fact, where fixed facts contradict each other. */
static const uint8_t change_cost[HM_N_FACTS] = {
    [HM_FACT_TIME] = 50,    [HM_FACT_WEATHER] = 40, [HM_FACT_PLACE] = 60,
    [HM_FACT_SUBJECT] = 70, [HM_FACT_COLOUR] = 12,  [HM_FACT_COUNT] = 11,
    [HM_FACT_CAMERA] = 16,  [HM_FACT_PACE] = 14,    [HM_FACT_SIDE] = 3};

/* ---- which values go together ---- */

static bool main_facts_fit(unsigned time, unsigned weather, unsigned place, unsigned subject)
{
    return (weather_at_time[time] >> weather & 1) && (weather_at_place[place] >> weather & 1) &&
           (time_at_place[place] >> time & 1) && (need[subject].time >> time & 1) &&
           (need[subject].weather >> weather & 1) && (need[subject].place >> place & 1);
}
static bool colour_fits(unsigned subject, unsigned colour)
{
    return need[subject].coloured == (colour != HM_COLOUR_NONE);
}
static bool count_fits(unsigned subject, unsigned count)
{
    return count ? count <= need[subject].max_count : need[subject].zero_count;
}
static bool side_fits(unsigned subject, unsigned side) /* without a side: centre */
{
    return need[subject].sided || side == HM_SIDE_CENTRE;
}
static bool camera_fits(unsigned subject, unsigned camera)
{
    return camera != HM_CAMERA_FLY_OVER || need[subject].fly_over;
}
static bool pace_fits(unsigned subject, unsigned camera, unsigned pace)
{
    return pace == HM_PACE_REAL || (need[subject].lapse && camera != HM_CAMERA_FLY_OVER);
}

bool hm_scene_valid(const hm_scene *s)
{
    const uint8_t *f = s->fact;
    for (int i = 0; i < HM_N_FACTS; i++)
        if (f[i] >= hm_fact_size((hm_fact)i)) return false;
    const unsigned subject = f[HM_FACT_SUBJECT];
    return main_facts_fit(f[HM_FACT_TIME], f[HM_FACT_WEATHER], f[HM_FACT_PLACE], subject) &&
           colour_fits(subject, f[HM_FACT_COLOUR]) && count_fits(subject, f[HM_FACT_COUNT]) &&
           side_fits(subject, f[HM_FACT_SIDE]) && camera_fits(subject, f[HM_FACT_CAMERA]) &&
           pace_fits(subject, f[HM_FACT_CAMERA], f[HM_FACT_PACE]);
}

/* ---- drawing ---- */

/* Index drawn by weight among 0..n-1 where ok has a bit; ok has at least one. */
static unsigned pick(hm_rng *r, const uint16_t *w, unsigned n, unsigned ok)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < n; i++) sum += ok >> i & 1 ? (w ? w[i] : 1) : 0;
    uint32_t at = hm_rng_below(r, sum);
    for (unsigned i = 0; i < n; i++) {
        if (!(ok >> i & 1)) continue;
        const uint32_t wi = w ? w[i] : 1;
        if (at < wi) return i;
        at -= wi;
    }
    return 0;
}

typedef struct {
    const uint8_t *fact;
    uint32_t fixed;
} wish;
static unsigned cost_of(const wish *w, hm_fact f, unsigned v)
{
    return (w->fixed >> f & 1) && w->fact[f] != v ? change_cost[f] : 0;
}
static unsigned lost(const wish *w, hm_fact f, bool fits)
{
    return (w->fixed >> f & 1) && !fits ? change_cost[f] : 0;
}

/* What the wishes for colour, count, camera, pace and side lose with this subject. */
static unsigned cost_of_subject(const wish *w, unsigned subject)
{
    const uint8_t *f = w->fact;
    unsigned c = cost_of(w, HM_FACT_SUBJECT, subject) +
                 lost(w, HM_FACT_COLOUR, colour_fits(subject, f[HM_FACT_COLOUR])) +
                 lost(w, HM_FACT_COUNT, count_fits(subject, f[HM_FACT_COUNT])) +
                 lost(w, HM_FACT_SIDE, side_fits(subject, f[HM_FACT_SIDE])) +
                 lost(w, HM_FACT_CAMERA, camera_fits(subject, f[HM_FACT_CAMERA]));
    if ((w->fixed >> HM_FACT_PACE & 1) && f[HM_FACT_PACE] == HM_PACE_LAPSE && !need[subject].lapse)
        c += change_cost[HM_FACT_PACE];
    return c;
}

/* Time, weather, place, subject: among the sensible combinations of least cost, one drawn by weight. */
static void draw_main(hm_scene *s, const wish *w, hm_rng *r)
{
    unsigned best = ~0u;
    uint64_t sum = 0, at = 0;
    for (int pass = 0; pass < 2; pass++) {
        if (pass) at = hm_rng_u64(r) % sum;
        for (unsigned u = 0; u < HM_N_SUBJECTS; u++) {
            const unsigned cu = cost_of_subject(w, u);
            for (unsigned p = 0; p < HM_N_PLACES; p++) {
                const unsigned cp = cu + cost_of(w, HM_FACT_PLACE, p);
                if (cp > best || !(need[u].place >> p & 1)) continue;
                for (unsigned t = 0; t < HM_N_TIMES; t++) {
                    const unsigned ct = cp + cost_of(w, HM_FACT_TIME, t);
                    if (ct > best || !(time_at_place[p] >> t & 1)) continue;
                    for (unsigned k = 0; k < HM_N_WEATHERS; k++) {
                        const unsigned c = ct + cost_of(w, HM_FACT_WEATHER, k);
                        if (c > best || !main_facts_fit(t, k, p, u)) continue;
                        const uint64_t weight =
                            (uint64_t)w_time[t] * w_weather[k] * w_place[p] * w_subject[u];
                        if (!pass) {
                            sum = c < best ? weight : sum + weight;
                            best = c;
                        } else if (at < weight) {
                            s->fact[HM_FACT_TIME] = (uint8_t)t, s->fact[HM_FACT_WEATHER] = (uint8_t)k;
                            s->fact[HM_FACT_PLACE] = (uint8_t)p, s->fact[HM_FACT_SUBJECT] = (uint8_t)u;
                            return;
                        } else {
                            at -= weight;
                        }
                    }
                }
            }
        }
    }
}

/* One of the other facts: the wish if it fits, else drawn among what fits. */
static unsigned draw_one(const wish *w, hm_fact f, unsigned ok, const uint16_t *weights, hm_rng *r)
{
    const unsigned v =
        pick(r, weights, (unsigned)hm_fact_size(f), ok); /* always drawn: the rest stays the same */
    return (w->fixed >> f & 1) && (ok >> w->fact[f] & 1) ? w->fact[f] : v;
}

/* Colour, count, camera, pace and side for the subject that s has. */
static void draw_rest(hm_scene *s, const wish *w, hm_rng *r)
{
    const unsigned u = s->fact[HM_FACT_SUBJECT];
    unsigned counts = need[u].zero_count ? 1u : 0u, cameras = ALL, paces = B(HM_PACE_REAL);
    for (unsigned c = 1; c <= need[u].max_count; c++) counts |= B(c);
    if (!need[u].fly_over) cameras &= ~B(HM_CAMERA_FLY_OVER);
    const bool want_lapse =
        (w->fixed >> HM_FACT_PACE & 1) && w->fact[HM_FACT_PACE] == HM_PACE_LAPSE && need[u].lapse;
    if (want_lapse && !((w->fixed >> HM_FACT_CAMERA & 1) && w->fact[HM_FACT_CAMERA] == HM_CAMERA_FLY_OVER))
        cameras &= ~B(HM_CAMERA_FLY_OVER);
    s->fact[HM_FACT_COLOUR] =
        (uint8_t)draw_one(w, HM_FACT_COLOUR, need[u].coloured ? ALL & ~1u : 1u, NULL, r);
    s->fact[HM_FACT_COUNT] = (uint8_t)draw_one(w, HM_FACT_COUNT, counts, w_count, r);
    s->fact[HM_FACT_CAMERA] = (uint8_t)draw_one(w, HM_FACT_CAMERA, cameras, w_camera, r);
    if (pace_fits(u, s->fact[HM_FACT_CAMERA], HM_PACE_LAPSE)) paces |= B(HM_PACE_LAPSE);
    static const uint16_t w_pace[2] = {6, 4};
    s->fact[HM_FACT_PACE] = (uint8_t)draw_one(w, HM_FACT_PACE, paces, w_pace, r);
    s->fact[HM_FACT_SIDE] =
        (uint8_t)draw_one(w, HM_FACT_SIDE, need[u].sided ? ALL : B(HM_SIDE_CENTRE), NULL, r);
}

bool hm_scene_complete(hm_scene *s, uint32_t fixed, uint64_t seed)
{
    uint8_t asked[HM_N_FACTS];
    memcpy(asked, s->fact, sizeof asked);
    wish w = {asked, fixed & (B(HM_N_FACTS) - 1)};
    bool kept = true;
    for (int f = 0; f < HM_N_FACTS; f++)
        if ((w.fixed >> f & 1) && asked[f] >= hm_fact_size((hm_fact)f)) w.fixed &= ~B(f), kept = false;
    hm_rng r = hm_rng_at(seed, 0x5CE4E);
    s->seed = seed;
    s->mirrored = false;
    draw_main(s, &w, &r);
    draw_rest(s, &w, &r);
    for (int f = 0; f < HM_N_FACTS; f++)
        if ((w.fixed >> f & 1) && asked[f] != s->fact[f]) kept = false;
    return kept;
}

void hm_scene_random(hm_scene *s, uint64_t seed)
{
    *s = (hm_scene){0};
    hm_scene_complete(s, 0, seed);
}

void hm_scene_mirror(hm_scene *s)
{
    uint8_t *camera = &s->fact[HM_FACT_CAMERA], *side = &s->fact[HM_FACT_SIDE];
    s->mirrored = !s->mirrored;
    if (*camera == HM_CAMERA_PAN_LEFT) *camera = HM_CAMERA_PAN_RIGHT;
    else if (*camera == HM_CAMERA_PAN_RIGHT) *camera = HM_CAMERA_PAN_LEFT;
    if (*side != HM_SIDE_CENTRE) *side = *side == HM_SIDE_LEFT ? HM_SIDE_RIGHT : HM_SIDE_LEFT;
}
