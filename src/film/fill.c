/* fill.c - values where there are none, smoothly from those around.   SPDX-License-Identifier: MIT
 * Push-pull (Gortler et al. 1996, section 3.3): averages of what is there, level by level to one pixel, then back, each
 * level filling what the finer one lacks. Coarse levels count for less, so that what is filled fades with the distance. */
#include <string.h>

#include "film/canvas.h"

static const float fade = 0.85f; /* a level */

/* Two by two pixels to one: mean of what is there; there is one if any is. */
static void pull(const float *px, const float *w, int W, int H, float *to, float *tw)
{
    const int W2 = (W + 1) / 2, H2 = (H + 1) / 2;
    memset(to, 0, 3 * (size_t)W2 * (size_t)H2 * sizeof *to);
    memset(tw, 0, (size_t)W2 * (size_t)H2 * sizeof *tw);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            const size_t i = (size_t)y * (size_t)W + (size_t)x, o = (size_t)(y / 2) * (size_t)W2 + (size_t)(x / 2);
            for (int k = 0; k < 3; k++) to[3 * o + k] += w[i] * px[3 * i + k];
            tw[o] += w[i];
        }
    for (size_t o = 0; o < (size_t)W2 * (size_t)H2; o++) {
        for (int k = 0; k < 3 && tw[o] > 0; k++) to[3 * o + k] /= tw[o];
        tw[o] = HM_MIN(tw[o], 1.0f);
    }
}

/* What px lacks from the coarser level, linearly between its pixels. */
static void push(float *px, const float *w, int W, int H, const float *from)
{
    const int W2 = (W + 1) / 2, H2 = (H + 1) / 2;
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            const size_t i = (size_t)y * (size_t)W + (size_t)x;
            if (w[i] >= 1) continue;
            const int ax = x / 2, ay = y / 2;
            const int bx = HM_MAX(0, HM_MIN(W2 - 1, ax + (x % 2 ? 1 : -1))), by = HM_MAX(0, HM_MIN(H2 - 1, ay + (y % 2 ? 1 : -1)));
            for (int k = 0; k < 3; k++) {
                const float p = 0.75f * from[3 * (ay * W2 + ax) + k] + 0.25f * from[3 * (ay * W2 + bx) + k];
                const float q = 0.75f * from[3 * (by * W2 + ax) + k] + 0.25f * from[3 * (by * W2 + bx) + k];
                px[3 * i + k] = w[i] * px[3 * i + k] + (1 - w[i]) * fade * (0.75f * p + 0.25f * q);
            }
        }
}

size_t hm_fill_room(int W, int H)
{
    size_t n = 0;
    while (W > 1 || H > 1) W = (W + 1) / 2, H = (H + 1) / 2, n += 4 * (size_t)W * (size_t)H;
    return n;
}

void hm_fill(float *px, const float *w, int W, int H, float *room)
{
    if (W <= 1 && H <= 1) return;
    const int W2 = (W + 1) / 2, H2 = (H + 1) / 2;
    const size_t n = (size_t)W2 * (size_t)H2;
    pull(px, w, W, H, room, room + 3 * n);
    hm_fill(room, room + 3 * n, W2, H2, room + 4 * n);
    push(px, w, W, H, room);
}
