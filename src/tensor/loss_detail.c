/* loss_detail.c - whether a picture has as much fine detail as another, not whether it has it at the same place.
 * SPDX-License-Identifier: MIT
 *   pred, residual (patches) -> pictures p = picture + pred - residual, q = picture -> 1, 1/2 and 1/4 of the size
 *     -> squared steps to the right and down, averaged over windows of 8x8 that lie 4 apart -> (sqrt E_p - sqrt E_q)^2
 * The squared error alone answers detail that cannot be known with its mean, a blur; this asks for its strength.
 * One colour plane is a task; the windows' terms of a plane are added in order. */
#include <math.h>
#include "tensor/graph.h"

enum { CELL = 4, SCALES = 3, MIN_SIDE = 2 * CELL << (SCALES - 1) };
static const float FLOOR = 0.005f * 0.005f; /* detail below the dither of 8 bits does not count */

typedef struct {
    const void *pred;
    hm_dtype t;
    const float *residual, *picture;
    int64_t H, W, C, r; /* patches down, across; colours; side of a patch */
    float scale;        /* d loss / number of terms: backward */
    bool backward;
    hm_sink dp;
    double *part;       /* [planes] */
    float *tmp;         /* [threads][plane_floats] */
} detail_job;

/* Floats for a plane of n numbers: p, q, the gradient, and less than n for all that look needs below. */
static int64_t plane_floats(int64_t n) { return 4 * n; }

/* A colour of a sample, [H r][W r]: as it is (p) and as it should be (q); below, its gradient back into patches. */
static void load_plane(const detail_job *j, int64_t plane, float *restrict p, float *restrict q)
{
    const int64_t b = plane / j->C, c = plane % j->C, r = j->r, rr = r * r, side = j->W * r;
    for (int64_t i = 0; i < j->H * j->W; i++) {
        float v[64];
        const int64_t at = ((b * j->H * j->W + i) * j->C + c) * rr;
        hm_load(v, j->pred, j->t, at, rr);
        for (int64_t k = 0; k < rr; k++) {
            const int64_t to = (i / j->W * r + k / r) * side + i % j->W * r + k % r;
            q[to] = j->picture[at + k];
            p[to] = j->picture[at + k] + (v[k] - j->residual[at + k]);
        }
    }
}

static void store_plane(const detail_job *j, int64_t plane, const float *restrict d)
{
    const int64_t b = plane / j->C, c = plane % j->C, r = j->r, rr = r * r, side = j->W * r;
    for (int64_t i = 0; i < j->H * j->W; i++) {
        float v[64];
        for (int64_t k = 0; k < rr; k++) v[k] = d[(i / j->W * r + k / r) * side + i % j->W * r + k % r];
        hm_store_sink(j->dp, ((b * j->H * j->W + i) * j->C + c) * rr, v, rr);
    }
}

/* Sums of squared steps (dir 0: to the right, 1: down) over cells of 4x4, cells [h/4][w/4]. */
HM_CLONES static void cell_sums(const float *restrict p, int64_t h, int64_t w, int dir, float *restrict cell)
{
    const int64_t cw = w / CELL, step = dir ? w : 1;
    memset(cell, 0, (size_t)(h / CELL * cw) * sizeof *cell);
    for (int64_t y = 0; y < h - (dir ? 1 : 0); y++)
        for (int64_t x = 0; x < cw; x++) {
            const float *a = p + y * w + x * CELL;
            float s = 0;
            for (int64_t k = 0; k < CELL - (!dir && x == cw - 1); k++) s += (a[k + step] - a[k]) * (a[k + step] - a[k]);
            cell[y / CELL * cw + x] += s;
        }
}

/* The terms of windows of 2x2 cells; with grad, cell becomes d loss / d its sum. */
static double windows(const float *cp, const float *cq, int64_t ch, int64_t cw, float scale, float *restrict grad)
{
    const float n = 4 * CELL * CELL;
    double sum = 0;
    if (grad) memset(grad, 0, (size_t)(ch * cw) * sizeof *grad);
    for (int64_t y = 0; y + 1 < ch; y++)
        for (int64_t x = 0; x + 1 < cw; x++) {
            const int64_t a = y * cw + x, b = a + cw;
            const float ep = sqrtf((cp[a] + cp[a + 1] + cp[b] + cp[b + 1]) / n + FLOOR),
                        eq = sqrtf((cq[a] + cq[a + 1] + cq[b] + cq[b + 1]) / n + FLOOR), d = ep - eq;
            sum += (double)(d * d);
            if (!grad) continue;
            const float f = scale * d / (ep * n);
            grad[a] += f, grad[a + 1] += f, grad[b] += f, grad[b + 1] += f;
        }
    return sum;
}

/* g += d loss / d p, from the gradient by cells. */
HM_CLONES static void spread(const float *restrict p, const float *restrict cell, int64_t h, int64_t w, int dir, float *g)
{
    const int64_t step = dir ? w : 1;
    for (int64_t y = 0; y < h - (dir ? 1 : 0); y++)
        for (int64_t x = 0; x < w - (dir ? 0 : 1); x++) {
            const int64_t i = y * w + x;
            const float d = 2 * cell[y / CELL * (w / CELL) + x / CELL] * (p[i + step] - p[i]);
            g[i + step] += d;
            g[i] -= d;
        }
}

static void halve(const float *restrict p, int64_t h, int64_t w, float *restrict out)
{
    for (int64_t y = 0; y < h / 2; y++)
        for (int64_t x = 0; x < w / 2; x++) {
            const float *a = p + 2 * y * w + 2 * x;
            out[y * (w / 2) + x] = 0.25f * (a[0] + a[1] + a[w] + a[w + 1]);
        }
}

static void double_add(const float *restrict g, int64_t h, int64_t w, float *restrict out)
{
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) out[y * w + x] += 0.25f * g[y / 2 * (w / 2) + x / 2];
}

/* One size of a plane and those below it: the terms; g (or NULL) becomes d loss / d p. tmp as plane_floats says. */
static double look(const float *p, const float *q, int64_t h, int64_t w, int level, float scale, float *g, float *tmp)
{
    const int64_t n = h * w, nc = n / (CELL * CELL), left = n / 4;
    float *cp = tmp, *cq = cp + nc, *cg = cq + nc;
    double sum = 0;
    if (g) memset(g, 0, (size_t)n * sizeof *g);
    for (int dir = 0; dir < 2; dir++) {
        cell_sums(p, h, w, dir, cp);
        cell_sums(q, h, w, dir, cq);
        sum += windows(cp, cq, h / CELL, w / CELL, scale, g ? cg : NULL);
        if (g) spread(p, cg, h, w, dir, g);
    }
    if (level + 1 == SCALES) return sum;
    float *sp = tmp, *sq = sp + left, *sg = sq + left;
    halve(p, h, w, sp);
    halve(q, h, w, sq);
    sum += look(sp, sq, h / 2, w / 2, level + 1, scale, g ? sg : NULL, sg + left);
    if (g) double_add(sg, h, w, g);
    return sum;
}

static void plane_range(void *ctx, int64_t from, int64_t to, int tid)
{
    const detail_job *j = ctx;
    const int64_t h = j->H * j->r, w = j->W * j->r, n = h * w;
    float *p = j->tmp + tid * plane_floats(n), *q = p + n, *g = q + n, *tmp = g + n;
    for (int64_t i = from; i < to; i++) {
        load_plane(j, i, p, q);
        const double s = look(p, q, h, w, 0, j->scale, j->backward ? g : NULL, tmp);
        if (j->backward) store_plane(j, i, g);
        else j->part[i] = s;
    }
}

/* Terms of a plane: windows at every size, in two directions. */
static int64_t n_terms(int64_t h, int64_t w)
{
    int64_t n = 0;
    for (int k = 0; k < SCALES; k++) n += 2 * ((h >> k) / CELL - 1) * ((w >> k) / CELL - 1);
    return n;
}

static void run(hm_graph *g, detail_job *j, int64_t planes)
{
    const int64_t n = j->H * j->W * j->r * j->r;
    j->tmp = hm_alloc(g, (uint64_t)(g->threads * plane_floats(n)) * sizeof(float));
    if (!g->opts.plan) hm_parallel(g, planes, 1, 100 * n, plane_range, j);
}

static void detail_back(hm_graph *g, hm_node *n)
{
    hm_tensor *x = n->in[0];
    detail_job j = {.pred = x->data, .t = x->dtype, .residual = n->p[0], .picture = n->p[1], .H = x->dim[1], .W = x->dim[2],
                    .r = n->i[0], .C = hm_last(x) / (n->i[0] * n->i[0]), .backward = true, .dp = hm_grad(g, x)};
    const int64_t planes = x->dim[0] * j.C;
    if (!g->opts.plan)
        j.scale = *(const float *)n->y->grad->data / (float)(planes * n_terms(j.H * j.r, j.W * j.r));
    const uint64_t mark = hm_scratch(g);
    run(g, &j, planes);
    hm_scratch_end(g, mark);
}

hm_tensor *hm_loss_detail(hm_graph *g, hm_tensor *pred, const float *residual, const float *picture, int r)
{
    assert(pred->nd == 4 && hm_last(pred) % (r * r) == 0 && r <= 8);
    detail_job j = {.pred = pred->data, .t = pred->dtype, .H = pred->dim[1], .W = pred->dim[2], .r = r,
                    .C = hm_last(pred) / (r * r)};
    const int64_t planes = pred->dim[0] * j.C, h = j.H * r, w = j.W * r;
    assert(h % MIN_SIDE == 0 && w % MIN_SIDE == 0);
    hm_tensor *y = hm_new(g, HM_F32, HM_DIMS(1));
    j.residual = hm_keep(g, residual, (uint64_t)hm_numel(pred) * sizeof(float));
    j.picture = hm_keep(g, picture, (uint64_t)hm_numel(pred) * sizeof(float));
    const uint64_t mark = hm_scratch(g);
    j.part = hm_alloc(g, (uint64_t)planes * sizeof(double));
    run(g, &j, planes);
    if (!g->opts.plan) {
        double s = 0;
        for (int64_t i = 0; i < planes; i++) s += j.part[i];
        *(float *)y->data = (float)(s / (double)(planes * n_terms(h, w)));
    }
    hm_scratch_end(g, mark);
    hm_node *n = hm_record(g, HM_OP_LOSS, detail_back, y, HM_IN(pred));
    if (n) {
        n->p[0] = (void *)(uintptr_t)j.residual, n->p[1] = (void *)(uintptr_t)j.picture;
        n->i[0] = r;
    }
    return y;
}
