/* test_refiner.c - the refiner's enlargement, layouts, and forward pass with known weights.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include "base/rng.h"
#include "check.h"
#include "models/himmel/refiner.h"

enum { H = 6, W = 70, BIG = 64 * H * W * 3 }; /* wider than one piece of a row */

static float *film(uint64_t seed, double ramp)
{
    float *dec = malloc(sizeof *dec * 3 * H * W * 3);
    hm_randn(dec, 3 * H * W * 3, seed, 0);
    for (int i = 0; i < H; i++)
        for (int j = 0; j < W; j++)
            for (int c = 0; c < 3; c++) {
                float *p = dec + H * W * 3 + (i * W + j) * 3 + c; /* the middle frame */
                *p = ramp > 0 ? (float)(0.1 + ramp * j + 2 * ramp * i * (c + 1)) : 0.5f + 0.1f * *p;
            }
    return dec;
}

static void test_enlarge(void)
{
    float *dec = film(1, 0.004), *x = malloc(sizeof *x * H * W * HM_REFINER_IN),
          *out = malloc(sizeof *out * BIG);
    hm_refiner_input(x, dec, H, W, 30, 0, 0, NULL, NULL);
    hm_refiner_compose(out, x, H, W, NULL, HM_F32);
    double worst = 0;
    for (int y = 16; y < 8 * H - 16; y++)
        for (int j = 16; j < 8 * W - 16; j++)
            for (int c = 0; c < 3; c++) {
                const double want =
                    0.1 + 0.004 * ((j + 0.5) / 8 - 0.5) + 0.008 * ((y + 0.5) / 8 - 0.5) * (c + 1);
                worst = fmax(worst, fabs(out[(y * 8 * W + j) * 3 + c] - want));
            }
    CHECK(worst < 1e-5, "a ramp stays a ramp, in its place: off by %g", worst);
    for (int i = 0; i < 3 * H * W * 3; i++) dec[i] = 0.7f;
    hm_refiner_input(x, dec, H, W, 30, 0, 0, NULL, NULL);
    hm_refiner_compose(out, x, H, W, NULL, HM_F32);
    worst = 0;
    for (int i = 0; i < BIG; i++) worst = fmax(worst, fabs(out[i] - 0.7));
    CHECK(worst < 1e-6, "a plain picture stays plain up to its borders: off by %g", worst);
    free(dec);
    free(x);
    free(out);
}

static void test_residual(void)
{
    float *dec = film(2, 0), *x = malloc(sizeof *x * H * W * HM_REFINER_IN), *out = malloc(sizeof *out * BIG);
    float *target = malloc(sizeof *target * BIG), *res = malloc(sizeof *res * BIG);
    hm_randn(target, BIG, 3, 0);
    hm_refiner_input(x, dec, H, W, 0, 0, 0, NULL, NULL);
    CHECK(!hm_refiner_residual(res, x, H, W, target), "memory");
    hm_refiner_compose(out, x, H, W, res, HM_F32);
    double worst = 0;
    for (int i = 0; i < BIG; i++) worst = fmax(worst, fabs(out[i] - target[i]));
    CHECK(worst < 1e-5, "enlargement + residual = target: off by %g", worst);
    free(dec);
    free(x);
    free(out);
    free(target);
    free(res);
}

static void test_input(void)
{
    float *dec = film(4, 0), *x = malloc(sizeof *x * H * W * HM_REFINER_IN);
    float *known = malloc(sizeof *known * 4 * H * W * 3), *mask = calloc(4 * H * W, sizeof *mask);
    for (int i = 0; i < 4 * H * W * 3; i++) known[i] = 1.0f;
    mask[1] = 1; /* pixel (0, 1) of the double-size film */
    hm_refiner_input(x, dec, H, W, 5, 16, 3, known, mask);
    CHECK_NEAR(x[0], 2 * dec[0] - 1, 1e-6, "first frame first");
    CHECK_NEAR(x[3], 2 * dec[H * W * 3] - 1, 1e-6, "then the middle one");
    CHECK(x[9] < -0.8 && x[9 + 7 * HM_REFINER_IN] > 0.8, "phase at an edge %g, amid %g", x[9],
          x[9 + 7 * HM_REFINER_IN]);
    CHECK_NEAR(x[9], x[9 + 15 * HM_REFINER_IN], 1e-6, "phase is the same in a mirror");
    CHECK(x[15] == 1 && x[12] == 0 && x[25] == 1 && x[24] == 0, "known pixel at its place: %g %g %g %g",
          x[15], x[12], x[25], x[24]);
    const float early = x[11];
    hm_refiner_input(x, dec, H, W, 30, 0, 0, NULL, NULL);
    CHECK(early > 0 && x[11] <= 0 && x[25] == 0, "time phase %g, %g", early, x[11]);
    free(dec);
    free(x);
    free(known);
    free(mask);
}

typedef struct {
    hm_tensor t[64];
    size_t n;
} store;

/* Random weights, but proj_out 0: what training starts from. */
static himmel_status create(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot,
                            himmel_error *err)
{
    (void)err;
    store *s = user;
    hm_tensor *t = &s->t[s->n++];
    *t = (hm_tensor){.dtype = HM_F32, .nd = nd};
    memcpy(t->dim, dim, sizeof *dim * (size_t)nd);
    const size_t n = (size_t)hm_numel(t);
    float *p = t->data = calloc(n, sizeof *p);
    if (!strstr(name, "proj_out")) {
        hm_randn(p, n, 9, s->n);
        for (size_t i = 0; i < n; i++) p[i] *= 0.1f;
    }
    *slot = t;
    return HIMMEL_OK;
}

static void test_forward(void)
{
    const hm_refiner_config cfg = {.width = 16, .n_blocks = 1, .width2 = 16, .n_convs2 = 1};
    hm_refiner *r = NULL;
    hm_graph *g = NULL;
    static store s;
    himmel_error err = {0};
    CHECK(!hm_refiner_init(&r, &cfg, &err) && !hm_refiner_params(r, "refiner.", create, &s, &err), "%s",
          err.message);
    CHECK(s.n == 12, "conv_in, 2 in a block, up, 1 at double size, proj_out: %zu tensors", s.n);
    CHECK(!hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32}, &err), "%s", err.message);
    float *dec = film(5, 0), *x = malloc(sizeof *x * H * W * HM_REFINER_IN),
          *want = malloc(sizeof *want * BIG);
    hm_refiner_input(x, dec, H, W, 7, 0, 0, NULL, NULL);
    hm_refiner_compose(want, x, H, W, NULL, HM_F32);
    hm_tensor *y = hm_refiner_forward(g, r, hm_wrap(g, HM_F32, HM_DIMS(1, H, W, HM_REFINER_IN), x));
    CHECK(y->dim[1] == 8 * H && y->dim[2] == 8 * W && y->dim[3] == 3, "shape");
    CHECK(!memcmp(y->data, want, sizeof *want * BIG),
          "with output layers at zero the refiner is the enlargement");
    ((float *)s.t[s.n - 1].data)[5] = 0.25f; /* bias of channel 5 = colour 0, dy 1, dx 1 */
    y = hm_refiner_forward(g, r, hm_wrap(g, HM_F32, HM_DIMS(1, H, W, HM_REFINER_IN), x));
    const float *p = y->data;
    int bad = 0;
    for (int i = 0; i < BIG; i++) {
        const int c = i % 3, px = i / 3 % (8 * W), py = i / 3 / (8 * W);
        bad += fabs(p[i] - want[i] - (c == 0 && px % 4 == 1 && py % 4 == 1 ? 0.25 : 0)) > 1e-6;
    }
    CHECK(!bad, "%d values of the correction are not in their place", bad);
    for (size_t i = 0; i < s.n; i++) free(s.t[i].data);
    hm_graph_free(g);
    hm_refiner_free(r);
    free(dec);
    free(x);
    free(want);
}

int main(void)
{
    test_enlarge();
    test_residual();
    test_input();
    test_forward();
    himmel_error err = {0};
    hm_refiner *r;
    CHECK(hm_refiner_init(&r, &(hm_refiner_config){.width = 0, .width2 = 8}, &err) == HIMMEL_EMODEL && !r,
          "%s", err.message);
    return CHECK_END();
}
