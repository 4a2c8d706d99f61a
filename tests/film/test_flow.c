/* test_flow.c - movement between two pictures, and what a known picture lacks carried along with it.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "film/edit.h"
#include "film/flow.h"

enum { W = 160, H = 96, BIG = 4 };

/* Soft hills of light, moved: smooth, and nowhere twice the same. */
static float texture(double x, double y)
{
    return (float)(120 + 40 * sin(0.19 * x + 0.07 * y) + 30 * cos(0.11 * x - 0.23 * y) + 20 * sin(0.031 * x * 1.7 + 0.29 * y + 1));
}

static void paint(float *to, double dx, double dy, double light)
{
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) to[y * W + x] = (float)light + texture(x - dx, y - dy);
}

/* Mean |error| of the movement within, and the trust there. */
static void judge(const float *field, double dx, double dy, double *error, double *trust)
{
    int n = 0;
    *error = *trust = 0;
    for (int y = 16; y < H - 16; y++)
        for (int x = 16; x < W - 16; x++, n++) {
            const float *f = field + 3 * (y * W + x);
            *error += hypot(f[0] + dx, f[1] + dy), *trust += f[2];
        }
    *error /= n, *trust /= n;
}

static void test_movement(void)
{
    static const double move[][3] = {{0, 0, 0}, {0.4, -0.3, 0}, {2, 1, 6}, {-5, 3, 0}, {9, -4, -5}};
    static float a[W * H], b[W * H], field[3 * W * H], again[3 * W * H];
    himmel_error err = {0};
    hm_flow *f;
    if (hm_flow_new(&f, W, H, &err)) { CHECK(0, "%s", err.message); return; }
    paint(a, 0, 0, 0);
    for (size_t i = 0; i < sizeof move / sizeof *move; i++) {
        double error, trust;
        paint(b, move[i][0], move[i][1], move[i][2]);
        hm_flow_find(f, a, b, field);
        judge(field, move[i][0], move[i][1], &error, &trust);
        CHECK(error < 0.25, "moved by %g, %g and lighter by %g: off by %g", move[i][0], move[i][1], move[i][2], error);
        CHECK(trust > (move[i][2] != 0 ? 0.6 : 0.9), "trust %g", trust);
        hm_flow_find(f, a, b, again);
        CHECK(!memcmp(field, again, sizeof field), "not the same twice");
    }
    for (int i = 0; i < W * H; i++) a[i] = b[i] = 128;
    b[7] = 130; /* nothing to see: nothing moves */
    hm_flow_find(f, a, b, field);
    double most = 0;
    for (int i = 0; i < W * H; i++) most = fmax(most, hypot(field[3 * i], field[3 * i + 1]));
    CHECK(most < 0.1, "%g where there is nothing to see", most);
    for (int i = 0; i < W * H; i++) a[i] = 60, b[i] = (float)(i % 7 * 30); /* another picture */
    hm_flow_find(f, a, b, field);
    double error, trust;
    judge(field, 0, 0, &error, &trust);
    CHECK(trust < 0.2, "trust %g in another picture", trust);
    hm_flow_free(f);
    CHECK(hm_flow_new(&f, 7, 100, &err) == HIMMEL_EINVAL && strstr(err.message, "7x100"), "%s", err.message);
}

/* Picture of BIG times the size, moved; with dots: a detail that no small picture shows. */
static void paint_big(uint8_t *rgb, int dx, int dy, int dots)
{
    for (int y = 0; y < BIG * H; y++)
        for (int x = 0; x < BIG * W; x++) {
            const int u = x - dx, v = y - dy;
            const float l = texture((double)u / BIG, (double)v / BIG) + (dots && (u + 4096) % 8 == 0 && (v + 4096) % 8 == 0 ? 40 : 0);
            memset(rgb + 3 * (y * BIG * W + x), (int)(l + 0.5f), 3);
        }
}

/* What the dots at the detail's places, moved by dx, dy, stand out from their left neighbours. */
static double detail(const uint8_t *rgb, int dx, int dy)
{
    double sum = 0;
    int n = 0;
    for (int y = BIG * H / 4 / 8 * 8; y < BIG * H * 3 / 4; y += 8)
        for (int x = BIG * W / 4 / 8 * 8; x < BIG * W * 3 / 4; x += 8, n++) {
            const uint8_t *p = rgb + 3 * ((y + dy) * BIG * W + x + dx);
            sum += p[0] - p[-6];
        }
    return sum / n;
}

static void test_seams(void)
{
    const size_t bytes = 3ul * BIG * BIG * W * H;
    himmel_error err = {0};
    hm_seams *s = NULL;
    hm_anchor a = {.take = 1, .at = 3};
    uint8_t *rgb = malloc(bytes);
    a.image = malloc(bytes);
    himmel_status rc = hm_seams_new(&s, BIG * W, BIG * H, &err);
    paint_big(a.image, 0, 0, 1);
    paint_big(rgb, 0, 0, 0);
    if (!rc) rc = hm_seams_measure(s, &a, rgb, &err);
    CHECK(!rc && !a.image && a.missing && a.own, "%s", err.message);
    if (!rc) {
        hm_seams_correct(s, &a, 1, 1, 3, rgb);
        uint8_t *known = malloc(bytes);
        paint_big(known, 0, 0, 1);
        CHECK(!memcmp(rgb, known, bytes), "at its own second an anchor is not the known picture");
        free(known);
        paint_big(rgb, 12, 4, 0);
        hm_seams_correct(s, &a, 1, 1, 3.25, rgb);
        const double moved = detail(rgb, 12, 4), left = detail(rgb, 0, 0);
        CHECK(moved > 20 && left < 6, "detail %g where it moved to, %g where it was", moved, left);
        paint_big(rgb, 12, 4, 0);
        hm_seams_correct(s, &a, 1, 0, 3.25, rgb);
        hm_seams_correct(s, &a, 1, 1, 4.1, rgb);
        CHECK(fabs(detail(rgb, 12, 4)) < 2, "another take's, or a second later: %g", detail(rgb, 12, 4));
    }
    free(rgb), free(a.image), free(a.missing), free(a.own);
    hm_seams_free(s);
}

int main(void)
{
    test_movement();
    test_seams();
    return CHECK_END();
}
