/* test_sampler.c - schedules, steps and guidance against their definitions.   SPDX-License-Identifier: MIT
 * (Against LTX's own scheduler: himmel-parity.) */
#include <string.h>
#include "base/rng.h"
#include "diffusion/sampler.h"
#include "check.h"

static void test_schedules(void)
{
    static const hm_sched_kind kinds[] = {HM_SCHED_UNIFORM, HM_SCHED_SD3_SHIFT, HM_SCHED_LINEAR_QUADRATIC};
    static const int counts[] = {1, 2, 3, 4, 7, 8, 30, 31, 1000};
    float t[1000];
    himmel_error err = {0};
    for (size_t k = 0; k < 3; k++)
        for (size_t c = 0; c < HM_COUNT(counts); c++)
            for (int shifted = 0; shifted < 2; shifted++) {
                const int n = counts[c];
                CHECK(!hm_schedule(t, n, kinds[k], shifted ? 3 : 1, shifted ? 0.1 : 0, &err), "%s",
                      err.message);
                int falling = t[0] == 1.0f;
                for (int i = 1; i < n; i++) falling += t[i] < t[i - 1] && t[i] > 0;
                CHECK(falling == n, "kind %zu, %d steps: %d", k, n, falling);
                if (shifted && n > 1) CHECK_NEAR(t[n - 1], 0.1, 1e-6, "ends at %g", (double)t[n - 1]);
            }
    CHECK(!hm_schedule(t, 4, HM_SCHED_SD3_SHIFT, 3, 0, &err), "%s", err.message);
    CHECK_NEAR(t[2], 3 * 0.5 / (1 + 2 * 0.5), 1e-7, "3 t / (1 + 2 t) at 1/2 is %g", (double)t[2]);
    CHECK(hm_schedule(t, 0, kinds[0], 1, 0, &err) == HIMMEL_EINVAL && strstr(err.message, "0 steps"), "%s",
          err.message);
    CHECK(hm_schedule(t, 4, kinds[0], 0, 0, &err) == HIMMEL_EINVAL && strstr(err.message, "shift"), "%s",
          err.message);
    CHECK(hm_schedule(t, 4, kinds[0], NAN, 0, &err) == HIMMEL_EINVAL, "NaN shift");
    CHECK(hm_schedule(t, 4, kinds[0], 1, 1, &err) == HIMMEL_EINVAL, "last time 1");
}

/* With the true velocity noise - x0, one step or many arrive at x0; tokens that do not move keep their bits.
 */
static void test_steps(void)
{
    enum { ROWS = 3, D = 5, STEPS = 7 };
    float x0[ROWS * D], noise[ROWS * D], x[ROWS * D], y[ROWS * D], v[ROWS * D], t[STEPS], now[ROWS],
        next[ROWS];
    const float strength[ROWS] = {0, 1, 0.5f};
    himmel_error err = {0};
    hm_randn(x0, ROWS * D, 1, 0);
    hm_randn(noise, ROWS * D, 1, 1);
    hm_schedule(t, STEPS, HM_SCHED_LINEAR_QUADRATIC, 1, 0, &err);
    for (int i = 0; i < ROWS * D; i++) {
        const float level = HM_MIN(1.0f, 1.0f - strength[i / D]);
        x[i] = y[i] = (1 - level) * x0[i] + level * noise[i];
        v[i] = i / D == 1 ? NAN : noise[i] - x0[i]; /* known tokens: whatever the model says */
    }
    for (int s = 0; s < STEPS; s++) {
        hm_token_times(now, next, strength, ROWS, t, STEPS, s);
        CHECK(now[1] == 0 && next[1] == 0 && now[2] <= 0.5f && next[2] <= now[2], "step %d", s);
        hm_euler_step(x, v, now, next, ROWS, D);
        hm_renoise_step(y, v, noise, now, next, ROWS, D);
    }
    for (int i = 0; i < ROWS * D; i++) {
        if (i / D == 1) {
            CHECK(x[i] == x0[i] && y[i] == x0[i], "known token");
        } else if (i / D == 0) {
            CHECK_NEAR(x[i], x0[i], 1e-6, "%d: %g", i, (double)(x[i] - x0[i]));
            CHECK_NEAR(y[i], x0[i], 1e-6, "%d: %g", i, (double)(y[i] - x0[i]));
        }
    }
    hm_token_times(now, next, NULL, ROWS, t, STEPS, STEPS - 1);
    CHECK(now[1] == t[STEPS - 1] && next[1] == 0, "nothing known");
}

static double deviation(const float *x, int n)
{
    double m = 0, s = 0;
    for (int i = 0; i < n; i++) m += x[i] / (double)n;
    for (int i = 0; i < n; i++) s += (x[i] - m) * (x[i] - m);
    return sqrt(s / (n - 1));
}

static void test_guidance(void)
{
    enum { COUNT = 40 };
    float text[COUNT], neg[COUNT], per[COUNT], v[COUNT], w[COUNT];
    hm_randn(text, COUNT, 2, 0);
    hm_randn(neg, COUNT, 2, 1);
    hm_randn(per, COUNT, 2, 2);
    hm_guide(v, text, neg, COUNT, 3, 0);
    for (int i = 0; i < COUNT; i++) CHECK_NEAR(v[i], neg[i] + 3 * (text[i] - neg[i]), 1e-5, "guided");
    hm_guide(w, text, neg, COUNT, 3, 0.7f);
    const double f = 0.7 * deviation(text, COUNT) / deviation(v, COUNT) + 0.3;
    for (int i = 0; i < COUNT; i++) CHECK_NEAR(w[i], f * v[i], 1e-5, "rescaled");
    hm_guide(w, text, neg, COUNT, 3, 1);
    CHECK_NEAR(deviation(w, COUNT), deviation(text, COUNT), 1e-5, "wholly rescaled");
    hm_guide(v, text, text, COUNT, 5, 1);
    for (int i = 0; i < COUNT; i++) CHECK_NEAR(v[i], text[i], 1e-5, "nothing to guide away from");
    const hm_guidance o = {.scale = 3, .stg = 1.5f, .rescale = 0.5f};
    hm_guide_stg(v, text, neg, per, COUNT, &o);
    memcpy(w, text, sizeof w);
    hm_guide_stg(w, w, neg, per, COUNT, &o);
    CHECK(!memcmp(v, w, sizeof v), "in place");
    hm_guide_stg(w, text, NULL, per, COUNT, &(hm_guidance){.scale = 9, .stg = 2});
    for (int i = 0; i < COUNT; i++)
        CHECK_NEAR(w[i], text[i] + 2 * (text[i] - per[i]), 1e-5, "without negative");
    memset(text, 0, sizeof text);
    hm_guide(v, text, text, COUNT, 3, 1);
    CHECK(v[0] == 0 && v[COUNT - 1] == 0, "a constant has no deviation to rescale to");
    const float list[] = {1, 0.9f, 0.5f};
    CHECK(hm_guidance_index(list, 3, 1) == 0 && hm_guidance_index(list, 3, 0.95f) == 1 &&
              hm_guidance_index(list, 3, 0.5f) == 2 && hm_guidance_index(list, 3, 0.1f) == 2,
          "mapping");
}

int main(void)
{
    test_schedules();
    test_steps();
    test_guidance();
    return CHECK_END();
}
