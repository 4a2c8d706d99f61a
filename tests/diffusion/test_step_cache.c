/* test_step_cache.c - which steps are left out, and what is put in their place.   SPDX-License-Identifier: MIT */
#include <math.h>

#include "check.h"
#include "diffusion/step_cache.h"

enum { N = 4, STEPS = 10 };

/* A model whose answer is linear in its input: v = slope x + row. The input moves by `move` a step. Returns the steps left out as bits. */
static unsigned run(double threshold, float slope, float move, int changes_at)
{
    hm_step_cache *c;
    unsigned skipped = 0;
    CHECK(!hm_step_cache_new(&c, threshold, STEPS, N, 2, NULL), "out of memory");
    for (int s = 0; s < STEPS; s++) {
        float x[N], v[2 * N];
        for (int i = 0; i < N; i++) x[i] = 1 + (float)i + move * (float)s;
        const bool skip = hm_step_cache_skips(c, s, changes_at && s >= changes_at, x);
        skipped |= (unsigned)skip << s;
        if (skip) {
            hm_step_cache_guess(c, x, v, 0, 2);
            if (slope == 1) /* the residual v - x of such a model never changes: the guess is exact */
                for (int i = 0; i < 2 * N; i++) CHECK(fabsf(v[i] - (x[i % N] + (float)(i / N))) < 1e-5f, "step %d: %g", s, (double)v[i]);
            continue;
        }
        for (int i = 0; i < 2 * N; i++) v[i] = slope * x[i % N] + (float)(i / N);
        hm_step_cache_take(c, x, v, 0, 2);
    }
    hm_step_cache_free(c);
    return skipped;
}

int main(void)
{
    const float x[1] = {0};
    CHECK(!hm_step_cache_skips(NULL, 5, 0, x), "no cache leaves nothing out");
    CHECK(run(1e-6, 1, 0.1f, 0) == 0, "%x", run(1e-6, 1, 0.1f, 0));
    CHECK(run(1, 1, 0.1f, 0) == 0x1fc, "all but the first two and the last: %x", run(1, 1, 0.1f, 0));
    CHECK(run(1, 1, 0.1f, 5) == 0x19c, "two more are computed when the model changes: %x", run(1, 1, 0.1f, 5));
    CHECK(run(0.06, 1, 0.1f, 0) == 0x154, "moves of 4, 8 %%: every other: %x", run(0.06, 1, 0.1f, 0));
    CHECK(run(0.5, 1, NAN, 0) == 0, "what is no number is computed");
    return CHECK_END();
}
