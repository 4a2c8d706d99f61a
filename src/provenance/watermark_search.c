/* watermark_search.c - the payload in pooled evidence.   SPDX-License-Identifier: MIT
 *   canvas -tiles of an assumed size laid over each other-> one tile -FFT-> cells, whitened -sync cells-> offset, z
 *   best pose -> cells turned back -> soft bits, weighted by what the sync cells of their ring show -> code -> payload
 * Whitening divides each cell by the deviation around it in the frequency plane, so z is in deviations of chance. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "provenance/watermark_internal.h"

enum { N = HM_WM_GRID, NN = N * N };
static const double coded_wave = 20; /* pixels */

struct hm_wm_search {
    hm_wm_layout l;
    float re[NN], im[NN];           /* the tile, then its spectrum */
    float sre[NN], sim[NN];         /* match surface */
    float smooth[NN];
    float trust[HM_WM_F_MAX + 1];   /* of cells, by frequency: what coders leave of them */
    float cre[HM_WM_MAX_CELLS], cim[HM_WM_MAX_CELLS]; /* cells, whitened: mean square 1 */
    float *rows;                    /* [N][canvas width] */
    int at[HM_WM_CANVAS_SIDE];      /* grid sample of a canvas column, and share of the next one */
    float part[HM_WM_CANVAS_SIDE];
    void *viterbi;
};

hm_wm_search *hm_wm_search_new(void)
{
    hm_wm_search *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->viterbi = malloc(hm_wm_decode_bytes());
    s->rows = malloc((size_t)N * HM_WM_CANVAS_SIDE * sizeof *s->rows);
    if (!s->viterbi || !s->rows) {
        hm_wm_search_free(s);
        return NULL;
    }
    hm_wm_layout_make(&s->l);
    return s;
}

void hm_wm_search_free(hm_wm_search *s)
{
    if (!s) return;
    free(s->viterbi);
    free(s->rows);
    free(s);
}

/* ---- the tile ---- */

/* Where sample i of n falls in the tile: grid sample at and share of the next one. */
static int grid_at(int i, int n, double tile, float *next)
{
    const double t = ((i + 0.5 - n / 2.0) / tile + 1024) * N;
    const double whole = floor(t);
    *next = (float)(t - whole);
    return (int)((int64_t)whole & (N - 1));
}

HM_CLONES static void add_row(float *restrict to, const float *restrict row, float k, int n)
{
    for (int x = 0; x < n; x++) to[x] += k * row[x];
}

/* Waves shorter than coded_wave pixels lose the more to coders the shorter they are. */
static void set_trust(hm_wm_search *s, double tile)
{
    for (int f = 0; f <= HM_WM_F_MAX; f++) {
        const double wave = tile / HM_MAX(f, 1);
        s->trust[f] = (float)HM_MIN(1, wave * wave / (coded_wave * coded_wave));
    }
}

static void fold(hm_wm_search *s, const hm_wm_canvas *c, double tile_x, double tile_y)
{
    float part;
    set_trust(s, sqrt(tile_x * tile_y) * (double)c->pixels);
    memset(s->rows, 0, N * (size_t)c->w * sizeof *s->rows);
    for (int y = 0; y < c->h; y++) {
        const int at = grid_at(y, c->h, tile_y, &part);
        const float *row = c->v + (size_t)y * (size_t)c->w;
        add_row(s->rows + (size_t)at * (size_t)c->w, row, 1 - part, c->w);
        add_row(s->rows + (size_t)((at + 1) & (N - 1)) * (size_t)c->w, row, part, c->w);
    }
    memset(s->re, 0, sizeof s->re);
    memset(s->im, 0, sizeof s->im);
    for (int x = 0; x < c->w; x++) s->at[x] = grid_at(x, c->w, tile_x, &s->part[x]);
    for (int y = 0; y < N; y++) {
        const float *row = s->rows + (size_t)y * (size_t)c->w;
        float *to = s->re + (size_t)y * N;
        for (int x = 0; x < c->w; x++) {
            const float later = s->part[x] * row[x];
            to[s->at[x]] += row[x] - later;
            to[(s->at[x] + 1) & (N - 1)] += later;
        }
    }
    hm_wm_fft2(s->re, s->im, N, false);
}

/* Each cell by the root of the mean power of the 5 x 5 frequencies around it. */
static void whiten(hm_wm_search *s, double f_max)
{
    const int f = (int)f_max;
    for (int fy = -f - 2; fy <= f + 2; fy++) {
        float row[N / 2 + 8];
        const int y = (fy & (N - 1)) * N;
        for (int x = -2; x <= f + 2; x++) {
            const int at = y + (x & (N - 1));
            row[x + 2] = s->re[at] * s->re[at] + s->im[at] * s->im[at];
        }
        for (int x = 0; x <= f; x++) s->smooth[y + x] = row[x] + row[x + 1] + row[x + 2] + row[x + 3] + row[x + 4];
    }
    for (int i = 0; i < s->l.n && (double)s->l.cell[i].f <= f_max; i++) {
        const hm_wm_cell *c = &s->l.cell[i];
        const int y = c->fy & (N - 1);
        float p = 1e-20f;
        for (int d = -2; d <= 2; d++) p += s->smooth[((y + d) & (N - 1)) * N + c->fx];
        const float k = 5 / sqrtf(p);
        s->cre[i] = k * s->re[y * N + c->fx], s->cim[i] = k * s->im[y * N + c->fx];
    }
}

void hm_wm_match(hm_wm_search *s, const hm_wm_canvas *c, double tile_x, double tile_y, double f_max, hm_wm_pose *out)
{
    fold(s, c, tile_x, tile_y);
    whiten(s, f_max);
    memset(s->sre, 0, sizeof s->sre);
    memset(s->sim, 0, sizeof s->sim);
    double power = 0;
    for (int i = 0; i < s->l.n && (double)s->l.cell[i].f <= f_max; i++) {
        const hm_wm_cell *e = &s->l.cell[i];
        if (e->bit[0] >= 0) continue;
        /* The written tile is sum Re(v e^(2 pi i f x)): its transform at f is v. */
        const float k = s->trust[(int)e->f], r = k * e->sign[0], m = k * e->sign[1];
        const int at = (e->fy & (N - 1)) * N + e->fx;
        s->sre[at] = s->cre[i] * r + s->cim[i] * m;
        s->sim[at] = s->cim[i] * r - s->cre[i] * m;
        power += (double)(s->sre[at] * s->sre[at] + s->sim[at] * s->sim[at]);
    }
    hm_wm_fft2(s->sre, s->sim, N, true);
    int best = 0;
    for (int i = 1; i < NN; i++)
        if (s->sre[i] > s->sre[best]) best = i;
    *out = (hm_wm_pose){tile_x, tile_y, best % N, best / N, (double)s->sre[best] / sqrt(power / 2 + 1e-20)};
}

/* ---- fine pose ---- */

/* e^(2 pi i f d / N) for f = -F_MAX..F_MAX. */
typedef struct { float re[2 * HM_WM_F_MAX + 1], im[2 * HM_WM_F_MAX + 1]; } turns;

static void turns_make(turns *t, double d)
{
    for (int f = -HM_WM_F_MAX; f <= HM_WM_F_MAX; f++) {
        t->re[f + HM_WM_F_MAX] = (float)cos(2 * M_PI / N * f * d);
        t->im[f + HM_WM_F_MAX] = (float)sin(2 * M_PI / N * f * d);
    }
}

/* Sync cells of the spectrum at hand, at an offset: z. */
static double sync_z(const hm_wm_search *s, double dx, double dy)
{
    turns tx, ty;
    double sum = 0, power = 0;
    turns_make(&tx, dx);
    turns_make(&ty, dy);
    for (int i = 0; i < s->l.n; i++) {
        const hm_wm_cell *e = &s->l.cell[i];
        if (e->bit[0] >= 0) continue;
        const int x = e->fx + HM_WM_F_MAX, y = e->fy + HM_WM_F_MAX;
        const float co = tx.re[x] * ty.re[y] - tx.im[x] * ty.im[y], si = tx.re[x] * ty.im[y] + tx.im[x] * ty.re[y];
        const float k = s->trust[(int)e->f];
        const float a = k * (s->cre[i] * e->sign[0] + s->cim[i] * e->sign[1]);
        const float b = k * (s->cim[i] * e->sign[0] - s->cre[i] * e->sign[1]);
        sum += (double)(a * co - b * si);
        power += (double)(a * a + b * b);
    }
    return sum / sqrt(power / 2 + 1e-20);
}

/* The best offset near p's for the spectrum at hand: parts of a grid sample matter to short waves. */
static void settle_offset(const hm_wm_search *s, hm_wm_pose *p)
{
    p->z = sync_z(s, p->dx, p->dy);
    for (double step = 0.5; step > 0.06; step /= 2)
        for (int turn = 0; turn < 2; turn++)
            for (int k = 0; k < 4; k++) {
                const double dx = p->dx + (k == 0 ? step : k == 1 ? -step : 0);
                const double dy = p->dy + (k == 2 ? step : k == 3 ? -step : 0);
                const double z = sync_z(s, dx, dy);
                if (z > p->z) p->dx = dx, p->dy = dy, p->z = z;
            }
}

static bool try_sides(hm_wm_search *s, const hm_wm_canvas *c, hm_wm_pose *best, double kx, double ky)
{
    hm_wm_pose p;
    hm_wm_match(s, c, best->tile_x * kx, best->tile_y * ky, HM_WM_F_MAX, &p);
    settle_offset(s, &p);
    if (p.z <= best->z) return false;
    *best = p;
    return true;
}

void hm_wm_refine(hm_wm_search *s, const hm_wm_canvas *c, hm_wm_pose *p)
{
    hm_wm_match(s, c, p->tile_x, p->tile_y, HM_WM_F_MAX, p);
    settle_offset(s, p);
    for (double d = 0.004; d > 0.0004; d /= 2) {
        if (!try_sides(s, c, p, 1 + d, 1 + d)) try_sides(s, c, p, 1 - d, 1 - d);
        if (d > 0.0015) continue; /* sides apart: coders round each to even numbers of pixels */
        if (!try_sides(s, c, p, 1 + d, 1)) try_sides(s, c, p, 1 - d, 1);
        if (!try_sides(s, c, p, 1, 1 + d)) try_sides(s, c, p, 1, 1 - d);
    }
}

/* ---- reading ---- */

/* Cells at the pose, turned back: c in s->cre, cim as it would be with the tile at its place. */
static void cells_at(hm_wm_search *s, const hm_wm_canvas *c, const hm_wm_pose *p)
{
    fold(s, c, p->tile_x, p->tile_y);
    whiten(s, HM_WM_F_MAX);
    for (int i = 0; i < s->l.n; i++) {
        const hm_wm_cell *e = &s->l.cell[i];
        const float turn = (float)(2 * M_PI / N * (e->fx * p->dx + e->fy * p->dy));
        const float a = s->cre[i], b = s->cim[i], co = cosf(turn), si = sinf(turn);
        s->cre[i] = a * co - b * si, s->cim[i] = a * si + b * co;
    }
}

/* How much of the mark is left in each ring, from its sync cells; few cells lean on what is usual (even: all of them). */
static void ring_gains(const hm_wm_search *s, bool even, float gain[HM_WM_RINGS])
{
    const float lean = even ? 1e6f : 120;
    float sum[HM_WM_RINGS] = {0}, n[HM_WM_RINGS] = {0}, usual[HM_WM_RINGS] = {0}, with = 0, all = 1e-6f;
    for (int i = 0; i < s->l.n; i++) {
        const hm_wm_cell *e = &s->l.cell[i];
        if (e->bit[0] >= 0) continue;
        const float v = s->cre[i] * e->sign[0] + s->cim[i] * e->sign[1], k = s->trust[(int)e->f];
        sum[e->ring] += v, n[e->ring] += 2, usual[e->ring] += 2 * k;
        with += k * v, all += 2 * k * k;
    }
    const float level = HM_MAX(with / all, 0.02f);
    for (int r = 0; r < HM_WM_RINGS; r++) {
        const float k = usual[r] / HM_MAX(n[r], 1);
        gain[r] = HM_MAX((sum[r] + lean * level * k) / (n[r] + lean), 0.05f * level * k);
    }
}

static void soft_bits(const hm_wm_search *s, const float gain[HM_WM_RINGS], float soft[HM_WM_CODED])
{
    memset(soft, 0, HM_WM_CODED * sizeof *soft);
    for (int i = 0; i < s->l.n; i++) {
        const hm_wm_cell *e = &s->l.cell[i];
        if (e->bit[0] < 0) continue;
        for (int k = 0; k < 2; k++) {
            const float v = k ? s->cim[i] : s->cre[i];
            soft[e->bit[k]] += gain[e->ring] * e->sign[k] * HM_MAX(-1.5f, HM_MIN(v, 1.5f));
        }
    }
}

/* Share of the soft values' size that agrees with the payload's code, 0..1. */
static double agreement(const float soft[HM_WM_CODED], const uint8_t payload[HM_WM_BYTES])
{
    int8_t coded[HM_WM_CODED];
    double with = 0, all = 1e-30;
    hm_wm_encode(payload, coded);
    for (int i = 0; i < HM_WM_CODED; i++) {
        with += (double)(soft[i] * coded[i]);
        all += fabs((double)soft[i]);
    }
    return HM_MAX(0, with) / all;
}

bool hm_wm_message(hm_wm_search *s, const float soft[HM_WM_CODED], uint8_t payload[HM_WM_BYTES], double *confidence,
                   int *attempts)
{
    if (!hm_wm_decode(soft, payload, s->viterbi, attempts)) return false;
    *confidence = agreement(soft, payload);
    return true;
}

void hm_wm_soft(hm_wm_search *s, const hm_wm_canvas *c, const hm_wm_pose *p, bool even, float soft[HM_WM_CODED])
{
    float gain[HM_WM_RINGS];
    cells_at(s, c, p);
    ring_gains(s, even, gain);
    soft_bits(s, gain, soft);
}

bool hm_wm_read(hm_wm_search *s, const hm_wm_canvas *c, const hm_wm_pose *p, uint8_t payload[HM_WM_BYTES],
                double *confidence, int *attempts)
{
    float soft[HM_WM_CODED];
    hm_wm_soft(s, c, p, false, soft);
    if (hm_wm_message(s, soft, payload, confidence, attempts)) return true;
    hm_wm_soft(s, c, p, true, soft);
    return hm_wm_message(s, soft, payload, confidence, attempts);
}

double hm_wm_evidence(const float soft[HM_WM_CODED], const uint8_t payload[HM_WM_BYTES])
{
    enum { ID_FROM = 16, ID_TO = ID_FROM + 48 + HM_WM_MEMORY, CHECK_FROM = 8 * HM_WM_BYTES };
    int8_t coded[HM_WM_CODED];
    double sum = 0, square = 1e-30;
    int n = 0;
    hm_wm_encode(payload, coded);
    for (int i = 4 * ID_FROM; i < HM_WM_CODED; i++) {
        if (i >= 4 * ID_TO && i < 4 * CHECK_FROM) continue;
        const double v = (double)(soft[i] * coded[i]);
        sum += v, square += v * v, n++;
    }
    return sum / sqrt(HM_MAX(square - sum * sum / n, 1e-3 * square));
}

void hm_wm_remove(float soft[HM_WM_CODED], const uint8_t payload[HM_WM_BYTES])
{
    int8_t coded[HM_WM_CODED];
    float sum = 0;
    hm_wm_encode(payload, coded);
    for (int i = 0; i < HM_WM_CODED; i++) sum += soft[i] * coded[i];
    for (int i = 0; i < HM_WM_CODED; i++) soft[i] -= sum / HM_WM_CODED * coded[i];
}
