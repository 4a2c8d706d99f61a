/* test_scene.c - scenes: sensible, broad, completed, mirrored, in JSON and back.   SPDX-License-Identifier:
 * MIT */
#include <string.h>
#include "base/rng.h"
#include "check.h"
#include "world/scene.h"

enum { N = 20000 };
static const uint32_t every_fact = (1u << HM_N_FACTS) - 1;

static void test_random(void)
{
    static int seen[HM_N_FACTS][16];
    int invalid = 0;
    for (uint64_t i = 0; i < N; i++) {
        hm_scene s, again;
        hm_scene_random(&s, i);
        hm_scene_random(&again, i);
        if (i < 100) CHECK(s.seed == i && !memcmp(s.fact, again.fact, sizeof s.fact), "seed %d", (int)i);
        invalid += !hm_scene_valid(&s);
        for (int f = 0; f < HM_N_FACTS; f++) seen[f][s.fact[f]]++;
        const bool night = s.fact[HM_FACT_TIME] >= HM_TIME_MOONLIT;
        if (night && s.fact[HM_FACT_WEATHER] == HM_WEATHER_RAINBOW) CHECK(false, "rainbow at night");
        if (s.fact[HM_FACT_SUBJECT] == HM_SUBJECT_BOAT && s.fact[HM_FACT_PLACE] == HM_PLACE_DUNES)
            CHECK(false, "boat in the desert");
    }
    CHECK(!invalid, "%d of %d are not sensible", invalid, N);
    for (int f = 0; f < HM_N_FACTS; f++)
        for (int v = 0; v < hm_fact_size((hm_fact)f); v++)
            CHECK(seen[f][v] > N * 3 / 100, "%s %s: %d of %d", hm_fact_name((hm_fact)f),
                  hm_fact_value_name((hm_fact)f, v), seen[f][v], N);
    CHECK_NEAR(seen[HM_FACT_SUBJECT][HM_SUBJECT_NONE], N * 0.2, N * 0.04, "no subject");
    CHECK_NEAR(seen[HM_FACT_CAMERA][HM_CAMERA_STILL], N * 0.25, N * 0.05, "still camera");
    CHECK_NEAR(seen[HM_FACT_PACE][HM_PACE_LAPSE], N * 0.25, N * 0.05, "time lapse");
}

static void test_complete(void)
{
    hm_rng r = hm_rng_at(1, 2);
    int kept_wrong = 0, not_kept = 0, invalid = 0, lied = 0;
    for (uint64_t i = 0; i < N; i++) {
        hm_scene s, c;
        hm_scene_random(&s, i);
        const uint32_t fixed = hm_rng_u32(&r) & every_fact;
        c = s;
        for (int f = 0; f < HM_N_FACTS; f++)
            if (!(fixed >> f & 1)) c.fact[f] = 99; /* not to be read */
        not_kept += !hm_scene_complete(&c, fixed, i + N);
        invalid += !hm_scene_valid(&c);
        for (int f = 0; f < HM_N_FACTS; f++) kept_wrong += (fixed >> f & 1) && c.fact[f] != s.fact[f];
        hm_scene asked = {0}; /* any values: may contradict each other */
        for (int f = 0; f < HM_N_FACTS; f++)
            asked.fact[f] = (uint8_t)hm_rng_below(&r, (uint32_t)hm_fact_size((hm_fact)f));
        c = asked;
        const bool kept = hm_scene_complete(&c, fixed, i);
        bool same = true;
        for (int f = 0; f < HM_N_FACTS; f++) same &= !(fixed >> f & 1) || c.fact[f] == asked.fact[f];
        lied += kept != same;
        invalid += !hm_scene_valid(&c);
    }
    CHECK(!kept_wrong && !not_kept, "facts of a sensible scene stay: %d changed, %d said so", kept_wrong,
          not_kept);
    CHECK(!invalid && !lied, "%d not sensible, %d wrong answers", invalid, lied);
    hm_scene s = {.fact = {[HM_FACT_PLACE] = HM_PLACE_DUNES,
                           [HM_FACT_SUBJECT] = HM_SUBJECT_BOAT,
                           [HM_FACT_COLOUR] = HM_COLOUR_RED}};
    CHECK(!hm_scene_complete(&s, 1u << HM_FACT_PLACE | 1u << HM_FACT_SUBJECT | 1u << HM_FACT_COLOUR, 3) &&
              s.fact[HM_FACT_SUBJECT] == HM_SUBJECT_BOAT && s.fact[HM_FACT_COLOUR] == HM_COLOUR_RED,
          "a boat in the dunes keeps boat and colour, the place changes");
    s.fact[HM_FACT_TIME] = 200;
    CHECK(!hm_scene_complete(&s, 1u << HM_FACT_TIME, 3) && hm_scene_valid(&s),
          "an impossible value is replaced");
}

static void test_mirror(void)
{
    for (uint64_t i = 0; i < 500; i++) {
        hm_scene s, m;
        hm_scene_random(&s, i);
        m = s;
        hm_scene_mirror(&m);
        CHECK(m.mirrored && hm_scene_valid(&m), "mirrored");
        CHECK(m.fact[HM_FACT_SIDE] + s.fact[HM_FACT_SIDE] == 2, "sides swap");
        hm_scene_mirror(&m);
        CHECK(!m.mirrored && !memcmp(m.fact, s.fact, sizeof s.fact), "twice is back");
    }
    hm_scene s = {.fact = {[HM_FACT_CAMERA] = HM_CAMERA_PAN_LEFT}};
    hm_scene_mirror(&s);
    CHECK(s.fact[HM_FACT_CAMERA] == HM_CAMERA_PAN_RIGHT, "pans swap");
}

static void test_json(void)
{
    char buf[512];
    himmel_error err = {0};
    for (uint64_t i = 0; i < 500; i++) {
        hm_scene s, back;
        hm_scene_random(&s, hm_mix(i, 1)); /* seeds of 64 bits */
        if (i & 1) hm_scene_mirror(&s);
        const size_t n = hm_scene_json(&s, buf, sizeof buf);
        CHECK(n < sizeof buf && n == strlen(buf), "length");
        CHECK(!hm_scene_parse(&back, buf, &err), "%s", err.message);
        CHECK(back.seed == s.seed && back.mirrored == s.mirrored && !memcmp(back.fact, s.fact, sizeof s.fact),
              "%s", buf);
    }
    char small[10];
    hm_scene s;
    hm_scene_random(&s, 1);
    CHECK(hm_scene_json(&s, small, sizeof small) > sizeof small && strlen(small) == 9,
          "cut short, but ended");
    hm_scene_json(&s, buf, sizeof buf);
    for (size_t i = 0, n = strlen(buf); i < n; i++) { /* every truncation is refused */
        char cut[512];
        memcpy(cut, buf, i);
        cut[i] = 0;
        CHECK(hm_scene_parse(&s, cut, &err) == HIMMEL_EFORMAT && *err.message, "%s", cut);
    }
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"seed\":1}",
        "{\"cat\":1}",
        "{\"seed\":99999999999999999999}",
        "{\"seed\":-1}",
        "{\"seed\":1,\"seed\":1}",
        "{\"time\":\"midnight\"}",
        "{\"time\":dusk}",
        "{\"count\":9}",
        "{\"time\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
        "{\"seed\":1,\"time\":\"starry_night\",\"weather\":\"rainbow\",\"place\":\"lake\",\"subject\":"
        "\"none\",\"colour\":"
        "\"none\",\"count\":0,\"camera\":\"still\",\"pace\":\"real_time\",\"side\":\"centre\"}"};
    for (size_t i = 0; i < HM_COUNT(bad); i++)
        CHECK(hm_scene_parse(&s, bad[i], &err) == HIMMEL_EFORMAT && *err.message, "%s", bad[i]);
}

int main(void)
{
    test_random();
    test_complete();
    test_mirror();
    test_json();
    return CHECK_END();
}
