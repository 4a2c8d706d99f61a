/* visible_mark.c - a little cloud, a sun behind it, and the word "himmel".   SPDX-License-Identifier: MIT
 * Everything is a distance field (distance to the nearest edge, in units of the sign's height), so that it is
 * smooth at any size without a font. White with a soft dark shadow reads on snow and on night alike. The word
 * stands still and is drawn once; the cloud and the sun are drawn for each frame (about 60 x 50 pixels at
 * 1080p). */
#include "provenance/visible_mark.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct hm_vmark {
    int x, y, w, h;  /* tile in the frame, all even */
    double px;       /* pixels a unit; the unit is the height of the sign */
    float *still;    /* [h][w][4] premultiplied: the word */
    float *tile;     /* [h][w][4] what is blended */
    int icon_w;      /* columns that change */
};

typedef struct { double x, y; } vec;

static double segment(vec p, vec a, vec b)
{
    const double dx = b.x - a.x, dy = b.y - a.y, len = dx * dx + dy * dy;
    double t = len > 0 ? ((p.x - a.x) * dx + (p.y - a.y) * dy) / len : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

/* Part of a circle from angle from counter-clockwise by sweep (radians). */
static double arc(vec p, vec c, double r, double from, double sweep)
{
    const double a = atan2(p.y - c.y, p.x - c.x) - from;
    const double turn = a - 2 * M_PI * floor(a / (2 * M_PI));
    if (turn <= sweep) return fabs(hypot(p.x - c.x, p.y - c.y) - r);
    const double e0 = hypot(p.x - c.x - r * cos(from), p.y - c.y - r * sin(from));
    const double e1 = hypot(p.x - c.x - r * cos(from + sweep), p.y - c.y - r * sin(from + sweep));
    return fmin(e0, e1);
}

/* Letters in units of the x-height, baseline at 0, y up: distance to the middle of the stroke. */
static double arch(vec p, double x, double r)
{
    const double d = arc(p, (vec){x + r, 1 - r}, r, 0, M_PI);
    return fmin(d, segment(p, (vec){x + 2 * r, 0}, (vec){x + 2 * r, 1 - r}));
}

static double word(vec p)
{
    static const double gap = 0.48, h = 0.36, m = 0.33, e = 0.5, tall = 1.65;
    double x = 0, d = segment(p, (vec){x, 0}, (vec){x, tall}); /* h */
    d = fmin(d, arch(p, x, h));
    x += 2 * h + gap; /* i */
    d = fmin(d, segment(p, (vec){x, 0}, (vec){x, 1}));
    d = fmin(d, hypot(p.x - x, p.y - 1.5) - 0.03);
    for (int i = 0; i < 2; i++) { /* mm */
        x += i ? 4 * m + gap : gap;
        d = fmin(d, segment(p, (vec){x, 0}, (vec){x, 1}));
        d = fmin(d, fmin(arch(p, x, m), arch(p, x + 2 * m, m)));
    }
    x += 4 * m + gap; /* e */
    d = fmin(d, arc(p, (vec){x + e, 0.5}, e, 0, 1.72 * M_PI));
    d = fmin(d, segment(p, (vec){x, 0.5}, (vec){x + 2 * e, 0.5}));
    x += 2 * e + gap; /* l */
    return fmin(d, segment(p, (vec){x, 0}, (vec){x, tall}));
}

enum { WORD_MILLI = 7360 }; /* width of the word in thousandths of the x-height, strokes included */
static const double x_height = 0.34, stroke = 0.052, icon_width = 1.42;

/* Signed distance to the cloud's edge, y up, its foot at 0. */
static double cloud(vec p)
{
    double d = hypot(p.x - 0.24, p.y - 0.19) - 0.19;
    d = fmin(d, hypot(p.x - 0.55, p.y - 0.32) - 0.31);
    d = fmin(d, hypot(p.x - 0.90, p.y - 0.21) - 0.21);
    const double bx = fabs(p.x - 0.57) - 0.33, by = fabs(p.y - 0.11) - 0.11;
    return fmin(d, fmax(bx, by));
}

/* px over what lies there: colour c with opacity a. */
static void over(float *px, const double c[3], double a)
{
    for (int i = 0; i < 3; i++) px[i] = (float)(c[i] * a + px[i] * (1 - a));
    px[3] = (float)(a + px[3] * (1 - a));
}

static double step01(double v)
{
    v = v < 0 ? 0 : v > 1 ? 1 : v;
    return v * v * (3 - 2 * v);
}

/* Coverage of a shape at signed distance d (units): one pixel of soft edge. */
static double cover(const hm_vmark *m, double d)
{
    const double v = 0.5 - d * m->px;
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

static const double white[3] = {1, 1, 1}, night[3] = {0.04, 0.06, 0.12}, gold[3] = {1.0, 0.80, 0.32};

static void draw_word(const hm_vmark *m, float *px, vec p)
{
    const double at = icon_width + 0.12 + stroke;
    const double d = word((vec){(p.x - at) / x_height, (p.y - 0.06) / x_height}) * x_height - stroke;
    over(px, night, 0.36 * step01(1 - d / 0.18));
    over(px, white, 0.84 * cover(m, d));
}

static void draw_icon(const hm_vmark *m, float *px, vec p, double t)
{
    const double breath = sin(2 * M_PI * t / 5.0), drift = 0.035 * sin(2 * M_PI * t / 8.0);
    const vec q = {p.x - 0.10 - drift, p.y - 0.04}, sun = {1.02, 0.62 + 0.02 * breath};
    const double r = 0.20 + 0.012 * breath, from_sun = hypot(p.x - sun.x, p.y - sun.y) - r;
    const double body = cloud(q);
    over(px, night, 0.34 * step01(1 - fmin(body, from_sun) / 0.20));
    over(px, gold, (0.30 + 0.08 * breath) * step01(1 - from_sun / 0.20));
    /* eight short rays that turn once in a minute */
    const double turn = atan2(p.y - sun.y, p.x - sun.x) - 2 * M_PI * t / 60.0;
    const double in_sector = turn - M_PI / 4 * floor(turn / (M_PI / 4) + 0.5);
    const double rad = from_sun + r;
    const vec ray = {rad * cos(in_sector), rad * sin(in_sector)};
    const double d = segment(ray, (vec){r + 0.085, 0}, (vec){r + 0.135 + 0.012 * breath, 0}) - 0.026;
    over(px, gold, 0.88 * cover(m, fmin(from_sun, d)));
    over(px, night, 0.22 * step01(1 - body / 0.10) * cover(m, from_sun)); /* the cloud's shade on the sun */
    over(px, white, 0.84 * cover(m, body));
}

static vec place(const hm_vmark *m, int i, int j)
{
    const double pad = 0.20; /* room for the shadow */
    return (vec){(i + 0.5) / m->px - pad, (m->h - j - 0.5) / m->px - pad};
}

himmel_status hm_vmark_new(hm_vmark **out, int w, int h, himmel_error *err)
{
    *out = NULL;
    hm_vmark *m = calloc(1, sizeof *m);
    if (!m) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the visible mark");
    const double total = icon_width + 0.12 + stroke + WORD_MILLI / 1000.0 * x_height;
    m->px = fmax(0.042 * HM_MIN(w, h), 12);
    m->px = fmin(m->px, w / (total + 0.6)); /* a very narrow frame: smaller, but whole */
    m->w = 2 * (int)ceil((total + 0.4) * m->px / 2);
    m->h = 2 * (int)ceil(1.4 * m->px / 2);
    m->x = (w - m->w - (int)(0.45 * m->px)) & ~1;
    m->y = (h - m->h - (int)(0.35 * m->px)) & ~1;
    m->icon_w = HM_MIN(m->w, (int)((icon_width + 0.35) * m->px));
    const size_t n = 4 * (size_t)m->w * (size_t)m->h;
    m->still = calloc(n, sizeof *m->still);
    m->tile = calloc(n, sizeof *m->tile);
    if (!m->still || !m->tile) {
        hm_vmark_free(m);
        return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the visible mark");
    }
    for (int j = 0; j < m->h; j++)
        for (int i = 0; i < m->w; i++)
            draw_word(m, m->still + 4 * ((size_t)j * (size_t)m->w + (size_t)i), place(m, i, j));
    memcpy(m->tile, m->still, n * sizeof *m->tile);
    *out = m;
    return HIMMEL_OK;
}

void hm_vmark_free(hm_vmark *m)
{
    if (!m) return;
    free(m->still);
    free(m->tile);
    free(m);
}

void hm_vmark_draw(hm_vmark *m, const hm_frame *f, double t)
{
    for (int j = 0; j < m->h; j++)
        for (int i = 0; i < m->icon_w; i++) {
            float *px = m->tile + 4 * ((size_t)j * (size_t)m->w + (size_t)i);
            memcpy(px, m->still + (px - m->tile), 4 * sizeof *px);
            draw_icon(m, px, place(m, i, j), t);
        }
    hm_frame_blend(f, m->tile, m->x, m->y, m->w, m->h);
}

void hm_vmark_rect(const hm_vmark *m, int *x, int *y, int *w, int *h)
{
    *x = m->x, *y = m->y, *w = m->w, *h = m->h;
}
