/* test_render.c - the picture is a function of scene and time alone: sizes agree, crops and mirrors are exact.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "check.h"
#include "world/scene.h"

enum { W = 256, H = 144, BIG_W = 1920, BIG_H = 1080 };

static hm_renderer *open_scene(const hm_scene *s)
{
    hm_renderer *r = NULL;
    himmel_error err = {HIMMEL_OK, ""};
    CHECK(hm_renderer_new(&r, s, &err) == HIMMEL_OK, "%s", err.message);
    return r;
}

/* 7.5 x 7.5 pixels to one, exactly. */
static void area_average(const float *big, float *small)
{
    for (int y = 0; y < H; y++) {
        for (int x = 0; x < W; x++) {
            double sum[3] = {0, 0, 0};
            for (int j = y * 15 / 2; j < (y + 1) * 15 / 2 + ((y + 1) * 15 & 1); j++) {
                const double wy = fmin(j + 1, (y + 1) * 7.5) - fmax(j, y * 7.5);
                for (int i = x * 15 / 2; i < (x + 1) * 15 / 2 + ((x + 1) * 15 & 1); i++) {
                    const double w = wy * (fmin(i + 1, (x + 1) * 7.5) - fmax(i, x * 7.5));
                    for (int c = 0; c < 3; c++) sum[c] += w * (double)big[((size_t)j * BIG_W + (size_t)i) * 3 + (size_t)c];
                }
            }
            for (int c = 0; c < 3; c++) small[(y * W + x) * 3 + c] = (float)(sum[c] / 56.25);
        }
    }
}

static double mse(const float *a, const float *b, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++) s += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    return s / (double)n;
}

static void test_sizes_agree(void)
{
    const size_t n = (size_t)W * H * 3;
    float *big = malloc(sizeof *big * BIG_W * BIG_H * 3), *want = malloc(sizeof *want * n), *got = malloc(sizeof *got * n);
    CHECK(big && want && got, "out of memory");
    double total = 0;
    const char *env = getenv("HIMMEL_TEST_SCENES");
    const int scenes = env ? atoi(env) : 24;
    int below = 0;
    for (int k = 0; big && want && got && k < scenes; k++) {
        hm_scene s;
        hm_scene_random(&s, 1000 + (uint64_t)k);
        hm_renderer *r = open_scene(&s);
        const hm_view small = {W, H, 0, 0, W, H}, large = {BIG_W, BIG_H, 0, 0, BIG_W, BIG_H};
        const double t = 0.9 * k - 0.25;
        hm_render(r, &small, t, got);
        hm_render(r, &large, t, big);
        area_average(big, want);
        const double e = mse(got, want, n), db = -10.0 * log10(e + 1e-12);
        if (db < 40.0 || env) {
            char json[512];
            hm_scene_json(&s, json, sizeof json);
            printf("  %.1f dB at t = %.2f: %s\n", db, t, json);
        }
        below += db < 40.0;
        total += e;
        hm_renderer_free(r);
    }
    printf("  %d scenes, 256x144 against 1080p: %.1f dB over all, %d below 40\n", scenes, -10.0 * log10(total / scenes), below);
    CHECK(total / scenes <= 1e-4, "mean error %g", total / scenes);
    CHECK(below == 0, "%d scenes below 40 dB", below);
    free(big);
    free(want);
    free(got);
}

static void test_crop_and_mirror(void)
{
    static float full[W * H * 3], part[W * H * 3], flip[W * H * 3];
    for (uint64_t k = 0; k < 40; k++) {
        hm_scene s, m;
        hm_scene_random(&s, 50 + k);
        m = s;
        hm_scene_mirror(&m);
        hm_renderer *r = open_scene(&s), *q = open_scene(&m);
        const hm_view all = {W, H, 0, 0, W, H}, crop = {W, H, 37, 21, 100, 90};
        hm_render(r, &all, 3.3, full);
        hm_render(r, &crop, 3.3, part);
        hm_render(q, &all, 3.3, flip);
        double worst = 0, worst_flip = 0, lo = 1, hi = 0, luma = 0;
        for (int y = 0; y < H; y++) {
            for (int x = 0; x < W * 3; x++) {
                const int c = x % 3, i = x / 3;
                const double v = (double)full[y * W * 3 + x];
                if (y >= 21 && y < 111 && i >= 37 && i < 137)
                    worst = fmax(worst, fabs(v - (double)part[((y - 21) * 100 + i - 37) * 3 + c]));
                worst_flip = fmax(worst_flip, fabs(v - (double)flip[(y * W + W - 1 - i) * 3 + c]));
                lo = fmin(lo, v);
                hi = fmax(hi, v);
                luma += v * (c == 0 ? 0.2126 : c == 1 ? 0.7152 : 0.0722) / (W * H);
            }
        }
        CHECK(worst < 1e-3, "seed %d: a crop differs by %g", (int)(50 + k), worst);
        CHECK(worst_flip == 0, "seed %d: the mirrored scene differs by %g", (int)(50 + k), worst_flip);
        CHECK(lo >= 0 && hi <= 1 && hi > lo + 0.1, "seed %d: range %g .. %g", (int)(50 + k), lo, hi);
        CHECK(luma > 0.12, "seed %d: mean luminance %g", (int)(50 + k), luma); /* nights too show the place */
        hm_renderer_free(r);
        hm_renderer_free(q);
    }
}

/* Every value of every fact changes the picture: same seed, one fact changed, pictures differ clearly. */
static void test_facts_show(void)
{
    static float a[W * H * 3], b[W * H * 3];
    const hm_view v = {W, H, 0, 0, W, H};
    for (int f = 0; f < HM_N_FACTS; f++) {
        for (int value = 0; value < hm_fact_size((hm_fact)f); value++) {
            if (f == HM_FACT_COLOUR && value == HM_COLOUR_NONE) continue; /* the subjects' own question */
            hm_scene s = {0}, o;
            uint64_t seed = 7;
            do { /* a scene that may have this value and another one */
                s.fact[f] = (uint8_t)value;
                hm_scene_complete(&s, 1u << f, ++seed);
                o = s;
                do o.fact[f] = (uint8_t)((o.fact[f] + 1) % hm_fact_size((hm_fact)f));
                while (o.fact[f] != s.fact[f] && !hm_scene_valid(&o));
            } while (o.fact[f] == s.fact[f] && seed < 3000);
            if (f == HM_FACT_SUBJECT && o.fact[f] == s.fact[f]) /* the aeroplane shares its facts with none: leave it out */
                o.fact[f] = HM_SUBJECT_NONE, o.fact[HM_FACT_COUNT] = 0, o.fact[HM_FACT_COLOUR] = HM_COLOUR_NONE;
            CHECK(o.fact[f] != s.fact[f], "fact %d value %d: no pair of scenes", f, value);
            hm_renderer *p = open_scene(&s), *q = open_scene(&o);
            double best = 0; /* moves and shooting stars show at other moments than colours */
            for (int k = 0; k < 8; k++) {
                hm_render(p, &v, 0.4 + 1.3 * k, a);
                hm_render(q, &v, 0.4 + 1.3 * k, b);
                best = fmax(best, mse(a, b, (size_t)W * H * 3));
            }
            if (best < 2e-5) printf("  %s: %s and %s look alike\n", hm_fact_name((hm_fact)f), hm_fact_value_name((hm_fact)f, s.fact[f]),
                                    hm_fact_value_name((hm_fact)f, o.fact[f]));
            CHECK(best >= 2e-5, "fact %d: values %d and %d differ by %g", f, s.fact[f], o.fact[f], best);
            hm_renderer_free(p);
            hm_renderer_free(q);
        }
    }
}

static void test_no_flicker(void)
{
    static float a[W * H * 3], b[W * H * 3];
    const hm_view v = {W, H, 0, 0, W, H};
    for (uint64_t k = 0; k < 30; k++) {
        hm_scene s;
        hm_scene_random(&s, 300 + k);
        hm_renderer *r = open_scene(&s);
        double worst = 0;
        hm_render(r, &v, -0.25, a);
        for (int i = 1; i <= 60; i++) {
            hm_render(r, &v, -0.25 + i / 24.0, b);
            worst = fmax(worst, mse(a, b, (size_t)W * H * 3));
            memcpy(a, b, sizeof a);
        }
        CHECK(worst > 0, "seed %d stands still", (int)(300 + k));
        if (worst > 3e-3) printf("  seed %d: largest step %.5f\n", (int)(300 + k), worst);
        CHECK(worst < 3e-3, "seed %d: a step of %g", (int)(300 + k), worst); /* 1/24 s never changes a picture by more than 5 % RMS */
        hm_renderer_free(r);
    }
}

static void test_dither(void)
{
    static float flat[64 * 64 * 3];
    static uint8_t out[64 * 64 * 3];
    double mean = 0;
    for (size_t i = 0; i < HM_COUNT(flat); i++) flat[i] = 100.3f / 255.0f;
    hm_dither8(flat, 64, 64, 3, out);
    for (size_t i = 0; i < HM_COUNT(out); i++) mean += out[i];
    CHECK(fabs(mean / (double)HM_COUNT(out) - 100.3) < 0.02, "mean %g", mean / (double)HM_COUNT(out));
}

static void test_bad_scene(void)
{
    hm_scene s;
    hm_scene_random(&s, 1);
    s.fact[HM_FACT_PLACE] = 200;
    himmel_error err = {HIMMEL_OK, ""};
    hm_renderer *r = NULL;
    CHECK(hm_renderer_new(&r, &s, &err) != HIMMEL_OK && !r && strstr(err.message, "place"), "%s", err.message);
}

/* A small subject at a side: without it, light and camera stay where they were. */
static void test_hide_subject(void)
{
    enum { PW = 64, PH = 36 };
    static float with[3 * PW * PH], without[3 * PW * PH];
    const hm_view v = {PW, PH, 0, 0, PW, PH};
    for (uint64_t seed = 1, n = 0; n < 24; seed++) {
        hm_scene s;
        hm_scene_random(&s, seed);
        if (s.fact[HM_FACT_SUBJECT] != HM_SUBJECT_KITE || s.fact[HM_FACT_SIDE] == HM_SIDE_CENTRE) continue;
        n++;
        hm_renderer *r;
        himmel_error err = {0};
        CHECK(!hm_renderer_new(&r, &s, &err), "%s", err.message);
        hm_render(r, &v, 1.5, with);
        hm_renderer_hide_subject(r);
        hm_render(r, &v, 1.5, without);
        hm_renderer_free(r);
        int differ = 0;
        for (int i = 0; i < PW * PH; i++) differ += fabsf(with[3 * i] - without[3 * i]) > 0.02f;
        CHECK(differ > 0 && differ < PW * PH / 10, "scene %d: %d pixels of %d", (int)seed, differ, PW * PH);
    }
}

int main(void)
{
    test_hide_subject();
    test_bad_scene();
    test_dither();
    test_crop_and_mirror();
    test_facts_show();
    test_no_flicker();
    test_sizes_agree();
    return CHECK_END();
}
