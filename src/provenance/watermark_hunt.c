/* watermark_hunt.c - where is the mark?   SPDX-License-Identifier: MIT
 *   canvas -whole picture?-scan of scales-> best poses -refined-> read;   then the same mirrored
 * The sync cells say which poses are worth reading; only a message with all check bits right is a mark. */
#include <math.h>
#include <string.h>

#include "provenance/watermark_internal.h"

enum { CANDIDATES = 5 };
static const double scan_f = 24;                  /* cycles a tile that the scan uses: wide enough peaks */
static const double scan_from = 0.55, scan_to = 2.4, scan_step = 1.008;
static const double worth_reading = 4.2;          /* deviations of the sync cells; chance reaches 5 */

static bool read_at(hm_wm_hunt *h, const hm_wm_canvas *c, hm_wm_pose p, bool mirrored)
{
    if (p.z < worth_reading) return false;
    if (p.z > h->view.pose.z) h->view = (hm_wm_view){p, mirrored};
    if (!hm_wm_read(h->s, c, &p, h->payload, &h->confidence, &h->attempts)) return false;
    h->view = (hm_wm_view){p, mirrored};
    return true;
}

/* As it is and refined: of a weak mark one may be readable when the other is not. */
static bool read_near(hm_wm_hunt *h, const hm_wm_canvas *c, hm_wm_pose p, bool mirrored)
{
    if (read_at(h, c, p, mirrored)) return true;
    hm_wm_refine(h->s, c, &p);
    return read_at(h, c, p, mirrored);
}

/* A picture that was neither cropped nor turned is read without the help of the sync cells. */
static bool try_whole(hm_wm_hunt *h, const hm_wm_canvas *c, bool mirrored)
{
    hm_wm_pose p = {h->side, h->side, 0, 0, worth_reading};
    if (read_at(h, c, p, mirrored)) return true;
    hm_wm_match(h->s, c, h->side, h->side, HM_WM_F_MAX, &p);
    return read_near(h, c, p, mirrored);
}

/* The best poses over all scales, each the best within 2 % of its scale. */
static bool try_scales(hm_wm_hunt *h, const hm_wm_canvas *c, bool mirrored)
{
    hm_wm_pose best[CANDIDATES] = {0};
    for (double scale = scan_from; scale < scan_to; scale *= scan_step) {
        hm_wm_pose p;
        hm_wm_match(h->s, c, h->side * scale, h->side * scale, scan_f, &p);
        int at = -1, worst = 0;
        for (int i = 0; i < CANDIDATES; i++) {
            if (best[i].tile_x > 0 && fabs(p.tile_x / best[i].tile_x - 1) < 0.02) at = i;
            if (best[i].z < best[worst].z) worst = i;
        }
        if (at < 0) at = worst;
        if (p.z > best[at].z) best[at] = p;
    }
    for (int n = 0; n < CANDIDATES; n++) {
        int top = 0;
        for (int i = 1; i < CANDIDATES; i++)
            if (best[i].z > best[top].z) top = i;
        if (best[top].z <= 0) break;
        hm_wm_pose p = best[top];
        best[top].z = 0;
        if (read_near(h, c, p, mirrored)) return true;
    }
    return false;
}

void hm_wm_mirror(const hm_wm_canvas *c)
{
    for (int y = 0; y < c->h; y++) {
        float *row = c->v + (size_t)y * (size_t)c->w;
        for (int a = 0, b = c->w - 1; a < b; a++, b--) {
            const float t = row[a];
            row[a] = row[b];
            row[b] = t;
        }
    }
}

bool hm_wm_hunt_whole(hm_wm_hunt *h, const hm_wm_canvas *c)
{
    h->view = (hm_wm_view){0};
    return try_whole(h, c, false);
}

bool hm_wm_hunt_all(hm_wm_hunt *h, const hm_wm_canvas *c)
{
    bool found = hm_wm_hunt_whole(h, c) || try_scales(h, c, false);
    if (found) return true;
    hm_wm_mirror(c);
    found = try_whole(h, c, true) || try_scales(h, c, true);
    hm_wm_mirror(c);
    return found;
}
