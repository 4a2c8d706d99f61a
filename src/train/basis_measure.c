/* basis_measure.c - how well the codec gives back footage that it has never seen.
 * SPDX-License-Identifier: MIT */
#include "train/basis.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "models/himmel/codec_internal.h"
#include "train/cache.h"

enum {
    T = 3,
    FIRST = 1 - HM_LAP,
    N_FRAMES = HM_FPS * (T - 1) + 1,
    N_RENDER = HM_FPS * (T - 1) + HM_WINDOW - HM_FPS
};

himmel_status hm_basis_footage(const hm_basis_opts *o, uint64_t seed, double t0, int n, float *out,
                               himmel_error *err)
{
    const int W = o->gw * HM_BLOCK, H = o->gh * HM_BLOCK;
    if (o->footage) return o->footage(o->user, seed, t0, n, W, H, out, err);
    hm_scene s;
    for (uint64_t k = 0;; k++) { /* combinations of facts that are kept for evaluation are not trained on */
        hm_scene_random(&s, hm_mix(seed, k));
        if (!hm_held_out(&s)) break;
    }
    hm_renderer *r;
    const himmel_status rc = hm_renderer_new(&r, &s, err);
    if (rc) return rc;
    const hm_view v = {W, H, 0, 0, W, H};
    for (int i = 0; i < n; i++) hm_render(r, &v, t0 + (double)i / HM_FPS, out + (size_t)i * W * H * 3);
    hm_renderer_free(r);
    return HIMMEL_OK;
}

typedef struct {
    double edge[3], inner[3];   /* sums of |step| across edges and inside: x, y, t */
    double n_edge[3], n_inner[3];
    double start, n_start, motion;
} steps;

static void count(steps *s, int axis, bool edge, double sum, double n)
{
    *(edge ? &s->edge[axis] : &s->inner[axis]) += sum;
    *(edge ? &s->n_edge[axis] : &s->n_inner[axis]) += n;
}

/* Steps between neighbouring pixels and frames of film [n][H][W][3]. */
static void add_steps(steps *s, const float *film, int n, int W, int H)
{
    const size_t row = (size_t)W * 3, frame = row * H;
    for (int f = 0; f < n; f++) {
        const float *p = film + f * frame;
        for (int x = 1; x < W; x++) {
            double d = 0;
            for (int y = 0; y < H; y++)
                for (int c = 0; c < 3; c++)
                    d += fabs((double)p[y * row + 3 * x + c] - p[y * row + 3 * x - 3 + c]);
            count(s, 0, x % HM_BLOCK == 0, d, 3.0 * H);
        }
        for (int y = 1; y < H; y++) {
            double d = 0;
            for (size_t i = 0; i < row; i++) d += fabs((double)p[y * row + i] - p[(y - 1) * row + i]);
            count(s, 1, y % HM_BLOCK == 0, d, (double)row);
        }
        if (f + 1 == n) continue;
        double d = 0, q = 0;
        for (size_t i = 0; i < frame; i++) {
            const double e = (double)p[frame + i] - p[i];
            d += fabs(e);
            q += e * e;
        }
        s->motion += q;
        if (f < 8) { /* where the still fades: counted apart */
            s->start += d;
            s->n_start += (double)frame;
        } else {
            count(s, 2, f % HM_FPS == 0, d, (double)frame);
        }
    }
}

static double edge(const steps *s, int a)
{
    return s->edge[a] / s->n_edge[a] / (s->inner[a] / s->n_inner[a] + 1e-12);
}

static double squares(const float *a, const float *b, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++) s += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return s;
}

/* Energy of a window that the chosen DCT values lack (they are orthonormal). */
static double lost(const hm_codec *c, const float *window, int gh, int gw)
{
    const size_t row = (size_t)gw * 48, frame = row * 16 * gh;
    double s = 0;
    float box[HM_DCT_BOX];
    for (size_t i = 0; i < frame * HM_WINDOW; i++) s += (double)window[i] * window[i];
    for (int b = 0; b < gh * gw; b++) {
        hm_dct_block(&c->dct, window + (size_t)(b / gw) * 16 * row + (size_t)(b % gw) * 48, frame, row, box);
        for (int i = 0; i < c->n; i++) s -= (double)box[c->index[i]] * box[c->index[i]];
    }
    return HM_MAX(s, 0);
}

typedef struct { double clip, still, floor; steps ours, truth; } sums;

static himmel_status film(const hm_basis_opts *o, const hm_codec *c, int i, float *buf, sums *s,
                          himmel_error *err)
{
    const int W = o->gw * HM_BLOCK, H = o->gh * HM_BLOCK;
    const size_t frame = (size_t)W * H * 3, nz = (size_t)o->gh * o->gw * c->K;
    float *truth = buf, *back = truth + frame * N_RENDER, *z = back + frame * N_FRAMES;
    const double t0 = 0.25 * (i % 30);
    himmel_status rc = hm_basis_footage(o, o->seed + ((uint64_t)1 << 40) + (uint64_t)i,
                                        t0 + (double)FIRST / HM_FPS, N_RENDER, truth, err);
    if (rc) return rc;
    float *shown = truth - FIRST * (ptrdiff_t)frame; /* frame 0 */
    rc = hm_codec_encode_still(c, shown, o->gh, o->gw, z);
    for (int j = 1; !rc && j < T; j++)
        rc = hm_codec_encode(c, truth + (size_t)(j - 1) * HM_FPS * frame, o->gh, o->gw, z + j * nz);
    if (!rc) rc = hm_codec_decode(c, z, T, o->gh, o->gw, 0, N_FRAMES, back);
    if (rc) return hm_fail(err, rc, "train basis: out of memory");
    s->clip += squares(back, shown, frame * N_FRAMES) / (double)(frame * N_FRAMES);
    add_steps(&s->ours, back, N_FRAMES, W, H);
    add_steps(&s->truth, shown, N_FRAMES, W, H);
    s->floor += lost(c, truth, o->gh, o->gw) / (double)(frame * HM_WINDOW);
    rc = hm_codec_decode(c, z, 1, o->gh, o->gw, 0, 1, back);
    if (rc) return hm_fail(err, rc, "train basis: out of memory");
    s->still += squares(back, shown, frame) / (double)frame;
    return HIMMEL_OK;
}

himmel_status hm_basis_measure(const hm_basis_opts *o, const struct hm_codec *c, hm_basis_report *rep,
                               himmel_error *err)
{
    const size_t frame = (size_t)o->gw * o->gh * 3 * HM_DCT_PLANE, nz = (size_t)o->gh * o->gw * c->K;
    float *buf = malloc((frame * (N_RENDER + N_FRAMES) + nz * T) * sizeof *buf);
    if (!buf) return hm_fail(err, HIMMEL_ENOMEM, "train basis: out of memory");
    sums s = {0};
    himmel_status rc = HIMMEL_OK;
    for (int i = 0; !rc && i < o->n_test; i++) rc = film(o, c, i, buf, &s, err);
    free(buf);
    if (rc || !o->n_test) return rc;
    const double n = o->n_test;
    rep->psnr_clip = -10 * log10(s.clip / n);
    rep->psnr_still = -10 * log10(s.still / n);
    rep->psnr_floor = -10 * log10(s.floor / n + 1e-12);
    for (int a = 0; a < 3; a++) {
        rep->edge[a] = edge(&s.ours, a);
        rep->edge_true[a] = edge(&s.truth, a);
    }
    rep->start = s.ours.start / (s.truth.start + 1e-12);
    rep->motion = s.ours.motion / (s.truth.motion + 1e-12);
    return HIMMEL_OK;
}
