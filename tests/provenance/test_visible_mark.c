/* test_visible_mark.c - the sign is there, small, legible on anything, alive, and nowhere else.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "provenance/visible_mark.h"

typedef struct {
    hm_frame f;
    uint8_t *data;
} canvas;

static canvas canvas_new(int w, int h, uint8_t v)
{
    canvas c = {.data = malloc(3 * (size_t)w * (size_t)h)};
    memset(c.data, v, 3 * (size_t)w * (size_t)h);
    c.f = (hm_frame){HM_FRAME_RGB8, w, h, {c.data}, {3 * w}};
    return c;
}

static void test_sizes(void)
{
    static const int sizes[][2] = {{1920, 1080}, {1080, 1920}, {512, 288}, {64, 64},
                                   {2048, 64},   {64, 2048},   {854, 480}};
    for (size_t i = 0; i < HM_COUNT(sizes); i++) {
        const int w = sizes[i][0], h = sizes[i][1];
        for (int under = 0; under < 256; under += 51) {
            canvas c = canvas_new(w, h, (uint8_t)under);
            hm_vmark *m;
            CHECK(!hm_vmark_new(&m, w, h, NULL), "new");
            hm_vmark_draw(m, &c.f, 0.3);
            int x0, y0, tw, th, lo = 255, hi = 0;
            hm_vmark_rect(m, &x0, &y0, &tw, &th);
            CHECK(x0 >= 0 && y0 >= 0 && x0 + tw <= w && y0 + th <= h, "%dx%d: tile %d %d %d %d", w, h, x0, y0,
                  tw, th);
            CHECK(th <= 0.07 * HM_MIN(w, h) || th <= 20, "%dx%d: %d high", w, h, th);
            long outside = 0;
            for (int y = 0; y < h; y++)
                for (int x = 0; x < w; x++) {
                    const int v = c.data[3 * ((size_t)y * (size_t)w + (size_t)x) + 1];
                    if (x < x0 || y < y0 || x >= x0 + tw || y >= y0 + th) outside += v != under;
                    else lo = HM_MIN(lo, v), hi = HM_MAX(hi, v);
                }
            CHECK(!outside, "%ld pixels changed outside", outside);
            CHECK(hi - lo > 50, "%dx%d on %d: contrast %d", w, h, under, hi - lo);
            hm_vmark_free(m);
            free(c.data);
        }
    }
}

static void test_alive(void)
{
    canvas a = canvas_new(640, 360, 90), b = canvas_new(640, 360, 90), c = canvas_new(640, 360, 90);
    hm_vmark *m, *n;
    hm_vmark_new(&m, 640, 360, NULL);
    hm_vmark_new(&n, 640, 360, NULL);
    hm_vmark_draw(m, &a.f, 0);
    hm_vmark_draw(m, &b.f, 1.7);
    hm_vmark_draw(n, &c.f, 1.7);
    CHECK(memcmp(a.data, b.data, 3 * 640 * 360), "it does not move");
    CHECK(!memcmp(b.data, c.data, 3 * 640 * 360), "it depends on what was drawn before");
    hm_vmark_free(m), hm_vmark_free(n);
    free(a.data), free(b.data), free(c.data);
}

int main(void)
{
    test_sizes();
    test_alive();
    return CHECK_END();
}
