/* test_metrics.c - figures of pictures, films and feature sets against cases with known answers.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "check.h"
#include "train/metrics.h"

static void test_psnr_ssim(void)
{
    enum { W = 40, H = 24, N = W * H * 3 };
    static float a[N], b[N];
    for (int i = 0; i < N; i++) a[i] = 0.25f + 0.5f * (float)(i % 7) / 7, b[i] = a[i] + 0.1f;
    CHECK_NEAR(hm_psnr(a, b, N), 20.0, 1e-3, "an offset of 0.1 is 20 dB: %g", hm_psnr(a, b, N));
    CHECK(hm_psnr(a, a, N) == 120.0, "equal pictures");
    CHECK_NEAR(hm_ssim(a, a, W, H), 1.0, 1e-5, "equal pictures: %g", hm_ssim(a, a, W, H));
    /* Flat pictures x, y: variances 0, so SSIM = (2xy + c1) / (x^2 + y^2 + c1). */
    for (int i = 0; i < N; i++) a[i] = 0.4f, b[i] = 0.6f;
    CHECK_NEAR(hm_ssim(a, b, W, H), (0.48 + 1e-4) / (0.52 + 1e-4), 1e-3, "flat: %g", hm_ssim(a, b, W, H));
    hm_rng r = hm_rng_at(1, 1);
    for (int i = 0; i < N; i++) a[i] = hm_rng_float(&r), b[i] = hm_rng_float(&r);
    CHECK(fabs(hm_ssim(a, b, W, H)) < 0.1, "unrelated noise: %g", hm_ssim(a, b, W, H));
}

/* Independent Gaussians of given deviations: |dm|^2 + sum (sa - sb)^2, and with a rotation the same. */
static void test_frechet(void)
{
    enum { N = 4000, D = 8 };
    float *a = malloc(sizeof *a * N * D), *b = malloc(sizeof *b * N * D), *c = malloc(sizeof *c * N * D);
    if (!a || !b || !c) abort();
    hm_randn(a, N * D, 3, 1);
    hm_randn(b, N * D, 3, 2);
    double want = 0;
    for (int k = 0; k < D; k++) {
        const float sa = 1 + 0.3f * (float)k, sb = 2, m = k == 2 ? 1.5f : 0;
        want += (double)(m * m + (sa - sb) * (sa - sb));
        for (int i = 0; i < N; i++) a[i * D + k] *= sa, b[i * D + k] = b[i * D + k] * sb + m;
    }
    const double got = hm_frechet(a, N, b, N, D);
    CHECK_NEAR(got, want, 0.04 * want, "independent Gaussians: %g, want %g", got, want);
    CHECK_NEAR(hm_frechet(a, N, a, N, D), 0, 1e-6, "a set and itself");
    CHECK_NEAR(hm_frechet(b, N, a, N, D), got, 1e-6 * got, "the order does not matter");
    const float s = sqrtf(0.5f); /* rotate both sets by 45 degrees in every pair of axes: nothing changes */
    for (int i = 0; i < N * D; i += 2) {
        const float x = a[i], y = a[i + 1], u = b[i], v = b[i + 1];
        a[i] = s * (x - y), a[i + 1] = s * (x + y), b[i] = s * (u - v), b[i + 1] = s * (u + v);
    }
    CHECK_NEAR(hm_frechet(a, N, b, N, D), got, 1e-4 * got, "rotated");
    for (int i = 0; i < N * D; i++)
        c[i] = a[i] + 0.5f; /* same covariance, mean moved by 0.5 in 8 directions */
    CHECK_NEAR(hm_frechet(a, N, c, N, D), 8 * 0.25, 1e-3, "moved: %g", hm_frechet(a, N, c, N, D));
    /* Fewer points than dimensions: singular covariances must not break it. */
    CHECK_NEAR(hm_frechet(a, 4, a, 4, D), 0, 1e-4, "singular"); /* roots of rounding errors */
    CHECK_NEAR(hm_frechet(a, 3, c, 3, D), 8 * 0.25, 1e-4, "singular and moved");
    for (int i = 0; i < 64 * 5; i++) a[i] = b[i] = 0.5f; /* 64 dimensions, all features the same */
    b[7] = 1.5f;
    CHECK_NEAR(hm_frechet(a, 5, a, 5, 64), 0, 1e-9, "no spread at all");
    /* One value of five is 1 larger: mean moved by 1/5, variance 1/5. */
    CHECK_NEAR(hm_frechet(a, 5, b, 5, 64), 0.04 + 0.2, 1e-6, "rank one: %g", hm_frechet(a, 5, b, 5, 64));
    a[3] = NAN;
    CHECK(isnan(hm_frechet(a, 5, b, 5, 64)), "not a number stays one");
    free(a);
    free(b);
    free(c);
}

/* A ramp in x and time with steps of known size at the block edges. */
static void test_film(void)
{
    enum { W = 64, H = 32, N = 60 };
    float *film = malloc(sizeof *film * N * W * H * 3);
    if (!film) abort();
    for (int f = 0; f < N; f++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++)
                for (int k = 0; k < 3; k++) {
                    const int seconds = f > 48 ? 2 : f > 24 ? 1 : 0; /* edges between 24|25 and 48|49 */
                    film[((f * H + y) * W + x) * 3 + k] = 0.001f * (float)(x + 2 * (x / 16) + y) +
                                                          0.001f * (float)f + 0.004f * (float)seconds +
                                                          0.002f * (float)(f > 0);
                }
    hm_film_sums s = {0}, t = {0};
    hm_film_add(&s, film, N, W, H, 0, 16);
    hm_film_figures g = hm_film_look(&s);
    CHECK_NEAR(g.edge[0], 3, 2e-3, "x edges: %g", g.edge[0]);
    CHECK_NEAR(g.edge[1], 1, 2e-3, "y edges: %g", g.edge[1]);
    CHECK_NEAR(g.edge[2], 5, 2e-3, "t edges: %g", g.edge[2]);
    CHECK_NEAR(g.start, 3, 2e-3, "start: %g", g.start);
    CHECK_NEAR(g.motion, 0.001 * (59 + 4 + 4 + 2) / 59, 1e-6, "motion: %g", g.motion);
    CHECK_NEAR(g.flicker, 0.001 * (2 + 4 * 4) / 58, 1e-6, "flicker: %g", g.flicker);
    CHECK_NEAR(g.gradient, 1e-6 * (H * (60 + 3 * 9) + W * 31) / (H * 63 + W * 31), 1e-9, "gradient: %g",
               g.gradient);
    /* Any part of the film knows its phase, and parts add up. */
    hm_film_sums part = {0};
    hm_film_add(&part, film + 20 * W * H * 3, 20, W, H, 20, 16);
    CHECK_NEAR(hm_film_look(&part).edge[2], 5, 2e-3, "a part: %g", hm_film_look(&part).edge[2]);
    hm_film_merge(&t, &s);
    hm_film_merge(&t, &s);
    CHECK_NEAR(hm_film_look(&t).motion, g.motion, 1e-9, "merged");
    free(film);
}

static void test_small(void)
{
    double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2};
    CHECK(hm_median(odd, 3) == 2 && hm_median(even, 4) == 2.5, "medians");
    const float in[4 * 2 * 3] = {0, 0, 0, 1, 1, 1, 2, 0, 4, 2, 0, 4, 0, 0, 0, 1, 1, 1, 4, 0, 4, 4, 0, 4};
    float out[2 * 3];
    hm_box_average(in, 4, 2, 2, out);
    CHECK(out[0] == 0.5f && out[3] == 3 && out[4] == 0 && out[5] == 4, "boxes: %g %g", out[0], out[3]);
}

int main(void)
{
    test_psnr_ssim();
    test_frechet();
    test_film();
    test_small();
    return CHECK_END();
}
