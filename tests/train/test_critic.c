/* test_critic.c - the critic learns to tell footage from its blur, and its gradient points toward footage.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "check.h"
#include "train/critic.h"

enum { ROWS = 32, B = 4, N = B * ROWS * ROWS * 48, STEPS = 60 };

/* Soft slopes with fine stripes of height `detail`, in the layout of the refiner's correction. */
static void draw(float *px, uint64_t seed, float detail)
{
    for (int b = 0; b < B; b++) {
        hm_rng r = hm_rng_at(seed, (uint64_t)b);
        const float fx = hm_rng_range(&r, 0.01f, 0.04f), fy = hm_rng_range(&r, 0.01f, 0.04f), at = hm_rng_range(&r, 0, 6);
        for (int i = 0; i < ROWS * ROWS; i++)
            for (int k = 0; k < 48; k++) {
                const float y = (float)(i / ROWS * 4 + k / 4 % 4), x = (float)(i % ROWS * 4 + k % 4);
                px[((size_t)b * ROWS * ROWS + (size_t)i) * 48 + (size_t)k] =
                    0.5f + 0.2f * sinf(fx * x + at) * cosf(fy * y) + detail * sinf(1.3f * x + 0.4f * y + at);
            }
    }
}

static double detail_of(const float *px)
{
    double s = 0;
    for (int i = 0; i < N; i += 4) s += fabs((double)px[i + 1] - (double)px[i]);
    return s / (N / 4);
}

typedef struct {
    hm_params ps;
    hm_critic *c;
    hm_optim o;
    float *footage, *made, *grad;
} bench;

static void open_bench(bench *t)
{
    hm_params_init(&t->ps, HM_F32, 5, NULL);
    CHECK(!hm_critic_new(&t->c, &t->ps, 1, NULL), "new");
    t->o = hm_optim_default();
    t->o.lr_adamw = 1e-3;
    t->o.warmup = 1;
    t->footage = malloc(N * sizeof(float)), t->made = malloc(N * sizeof(float)), t->grad = malloc(N * sizeof(float));
    draw(t->footage, 1, 0.03f);
    hm_critic_calibrate(t->c, t->footage, B, ROWS);
}

static void close_bench(bench *t)
{
    hm_critic_free(t->c);
    hm_params_deinit(&t->ps);
    free(t->footage), free(t->made), free(t->grad);
}

/* By chance the cosine below is 0.002. After STEPS steps most places are told rightly, and a step against the gradient gives the blur some of its stripes back. */
static void test_learns(void)
{
    bench t;
    open_bench(&t);
    hm_critic_report first = {0}, last = {0};
    for (int s = 0; s < STEPS; s++) {
        draw(t.footage, 100 + (uint64_t)s, 0.03f);
        draw(t.made, 100 + (uint64_t)s, 0.01f);
        last = hm_critic_step(t.c, &t.o, s, t.footage, t.made, B, ROWS, (uint64_t)s, t.grad);
        if (!s) first = last;
    }
    CHECK(last.right > 0.9 && last.loss < 0.5 * first.loss, "right %.2f, loss %.3f, at first %.3f", last.right, last.loss, first.loss);
    double dot = 0, norm = 0, toward = 0;
    for (int i = 0; i < N; i++) {
        const double d = (double)t.footage[i] - (double)t.made[i], g = -(double)t.grad[i];
        dot += d * g, norm += g * g, toward += d * d;
    }
    CHECK(dot > 0.02 * sqrt(norm * toward), "cosine to the missing stripes %.3f", dot / sqrt(norm * toward));
    const double before = detail_of(t.made), rms = sqrt(norm / N);
    for (int i = 0; i < N; i++) t.made[i] -= (float)(0.005 / rms) * t.grad[i];
    CHECK(detail_of(t.made) > before, "detail %.5f, before %.5f", detail_of(t.made), before);
    close_bench(&t);
}

/* Same seeds, same bytes; another seed, other noise. */
static void test_repeats(void)
{
    double loss[3];
    float *grad[3];
    for (int k = 0; k < 3; k++) {
        bench t;
        open_bench(&t);
        draw(t.made, 1, 0.01f);
        for (int s = 0; s < 3; s++)
            loss[k] = hm_critic_step(t.c, &t.o, s, t.footage, t.made, B, ROWS, k < 2 ? 7 : 8, t.grad).loss;
        grad[k] = t.grad;
        t.grad = NULL;
        close_bench(&t);
    }
    CHECK(loss[0] == loss[1] && !memcmp(grad[0], grad[1], N * sizeof(float)), "two runs: %.17g, %.17g", loss[0], loss[1]);
    CHECK(loss[0] != loss[2], "the seed changes the noise");
    for (int k = 0; k < 3; k++) free(grad[k]);
}

int main(void)
{
    test_learns();
    test_repeats();
    return CHECK_END();
}
