/* vae_ops.c - rearrangements and norms of the VAE; see vae_ops.h.   SPDX-License-Identifier: MIT
 * Rows are pixels; every function runs over ranges of output rows. */
#include "models/ltx/vae_ops.h"

#include <math.h>
#include <string.h>

#include "tensor/graph.h"

enum { MAX_C = 4096 };

typedef struct {
    const void *x, *skip;
    void *y;
    hm_dtype dtype;
    const float *shift, *scale, *map;
    int64_t C, Cs, T, H, W, rows; /* of the smaller grid */
    int p[3];
    bool flag;
} job;

static job job_of(const hm_tensor *x, hm_tensor *y)
{
    assert(x->nd == 5 && x->dim[0] == 1 && hm_last(x) <= MAX_C * 4);
    return (job){.x = x->data,
                 .y = y->data,
                 .dtype = x->dtype,
                 .C = hm_last(x),
                 .T = x->dim[1],
                 .H = x->dim[2],
                 .W = x->dim[3],
                 .rows = hm_rows(x)};
}

static void run(hm_graph *g, int64_t n, int64_t cost, hm_range_fn *fn, job *j)
{
    if (!g->opts.plan) hm_parallel(g, n, 1, cost, fn, j);
}

HM_CLONES static void norm_run(const job *j, int64_t from, int64_t to)
{
    float x[MAX_C];
    const int64_t C = j->C;
    for (int64_t r = from; r < to; r++) {
        hm_load(x, j->x, j->dtype, r * C, C);
        float ss = 0;
#pragma omp simd reduction(+ : ss)
        for (int64_t i = 0; i < C; i++) ss += x[i] * x[i];
        const float rstd = 1.0f / sqrtf(ss / (float)C + 1e-8f);
        if (j->scale) {
            const float *restrict sc = j->scale, *restrict sh = j->shift;
#pragma omp simd
            for (int64_t i = 0; i < C; i++) x[i] = x[i] * rstd * (1.0f + sc[i]) + sh[i];
        } else {
#pragma omp simd
            for (int64_t i = 0; i < C; i++) x[i] *= rstd;
        }
#pragma omp simd
        for (int64_t i = 0; i < C; i++) x[i] *= hm_sigmoid(x[i]);
        hm_store(j->y, j->dtype, r * C, x, C);
    }
}

static void norm_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    norm_run(ctx, from, to);
}

hm_tensor *hm_pixel_norm_silu(hm_graph *g, hm_tensor *x, const float *shift, const float *scale)
{
    hm_tensor *y = hm_like(g, x, x->dtype);
    job j = job_of(x, y);
    assert(j.C <= MAX_C);
    j.shift = shift;
    j.scale = scale;
    run(g, j.rows, j.C, norm_range, &j);
    return y;
}

HM_CLONES static void map_run(const job *j, int64_t from, int64_t to)
{
    float x[MAX_C];
    const int64_t C = j->C;
    for (int64_t r = from; r < to; r++) {
        const float m = j->map[r % (j->H * j->W)];
        hm_load(x, j->y, j->dtype, r * C, C);
#pragma omp simd
        for (int64_t i = 0; i < C; i++) x[i] += m * j->scale[i];
        hm_store(j->y, j->dtype, r * C, x, C);
    }
}

static void map_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    map_run(ctx, from, to);
}

void hm_add_map(hm_graph *g, hm_tensor *x, const float *map, const float *strength)
{
    job j = job_of(x, x);
    assert(j.C <= MAX_C);
    j.map = map;
    j.scale = strength;
    run(g, j.rows, j.C, map_range, &j);
}

/* ---- group norm: statistics per group (task), then applied per row ---- */

typedef struct {
    job j;
    const float *w, *b;
    int64_t groups, parts, area; /* parts: frames or 1, each of area rows */
    float *stats;                /* [parts*groups][2] mean, rstd */
} group_job;

static void group_stats(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    const group_job *q = ctx;
    const int64_t n = q->j.C / q->groups;
    for (int64_t t = from; t < to; t++) {
        const int64_t part = t / q->groups, c0 = t % q->groups * n;
        double sum = 0, ss = 0;
        float x[MAX_C];
        for (int64_t r = part * q->area; r < (part + 1) * q->area; r++) {
            hm_load(x, q->j.x, q->j.dtype, r * q->j.C + c0, n);
            for (int64_t i = 0; i < n; i++) sum += x[i], ss += (double)x[i] * x[i];
        }
        const double all = (double)(n * q->area), mean = sum / all;
        q->stats[2 * t] = (float)mean;
        q->stats[2 * t + 1] = (float)(1.0 / sqrt(HM_MAX(ss / all - mean * mean, 0.0) + 1e-5));
    }
}

HM_CLONES static void group_run(const group_job *q, int64_t from, int64_t to)
{
    float x[MAX_C], s[MAX_C];
    const int64_t C = q->j.C, n = C / q->groups;
    for (int64_t r = from; r < to; r++) {
        const float *st = q->stats + 2 * (r / q->area) * q->groups;
        hm_load(x, q->j.x, q->j.dtype, r * C, C);
        for (int64_t i = 0; i < C; i++)
            x[i] = (x[i] - st[2 * (i / n)]) * st[2 * (i / n) + 1] * q->w[i] + q->b[i];
        if (q->j.skip) {
            hm_load(s, q->j.skip, q->j.dtype, r * C, C);
#pragma omp simd
            for (int64_t i = 0; i < C; i++) x[i] += s[i];
        }
#pragma omp simd
        for (int64_t i = 0; i < C; i++) x[i] *= hm_sigmoid(x[i]);
        hm_store(q->j.y, q->j.dtype, r * C, x, C);
    }
}

static void group_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    group_run(ctx, from, to);
}

void hm_group_norm_silu(hm_graph *g, hm_tensor *x, const float *w, const float *b, int groups, bool per_frame,
                        const hm_tensor *skip)
{
    group_job q = {.j = job_of(x, x), .w = w, .b = b, .groups = groups};
    assert(q.j.C <= MAX_C && q.j.C % groups == 0);
    q.j.skip = skip ? skip->data : NULL;
    q.parts = per_frame ? q.j.T : 1;
    q.area = q.j.rows / q.parts;
    const uint64_t mark = hm_scratch(g);
    q.stats = hm_alloc(g, (uint64_t)(q.parts * groups) * 2 * sizeof(float));
    if (!g->opts.plan) {
        hm_parallel_tasks(g, q.parts * groups, group_stats, &q);
        hm_parallel(g, q.j.rows, 1, q.j.C, group_range, &q);
    }
    hm_scratch_end(g, mark);
}

/* ---- depth to space, space to depth ---- */

/* One row of the small grid: p1 p2 p3 rows of the large one. */
static void d2s_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    const job *j = ctx;
    const int n = j->p[0] * j->p[1] * j->p[2];
    const int64_t c = j->C / n, cs = j->Cs / n, H = j->H * j->p[1], W = j->W * j->p[2];
    float x[4 * MAX_C], s[MAX_C], y[MAX_C];
    for (int64_t r = from; r < to; r++) {
        const int64_t t = r / (j->H * j->W), h = r / j->W % j->H, w = r % j->W;
        hm_load(x, j->x, j->dtype, r * j->C, j->C);
        if (j->skip) hm_load(s, j->skip, j->dtype, r * j->Cs, j->Cs);
        for (int k = 0; k < n; k++) {
            const int dt = k / (j->p[1] * j->p[2]), dy = k / j->p[2] % j->p[1], dx = k % j->p[2];
            const int64_t frame = t * j->p[0] + dt - j->flag;
            if (frame < 0) continue;
            for (int64_t i = 0; i < c; i++) y[i] = x[i * n + k];
            for (int64_t i = 0; j->skip && i < c; i++) y[i] += s[i % cs * n + k];
            hm_store(j->y, j->dtype, ((frame * H + h * j->p[1] + dy) * W + w * j->p[2] + dx) * c, y, c);
        }
    }
}

hm_tensor *hm_depth_to_space(hm_graph *g, const hm_tensor *x, const hm_tensor *skip, const int p[3],
                             bool drop)
{
    const int n = p[0] * p[1] * p[2];
    hm_tensor *y = hm_new(
        g, x->dtype, HM_DIMS(1, x->dim[1] * p[0] - drop, x->dim[2] * p[1], x->dim[3] * p[2], hm_last(x) / n));
    job j = job_of(x, y);
    assert(hm_last(x) % n == 0 &&
           (!skip || (hm_last(skip) % n == 0 && hm_last(skip) <= MAX_C && hm_rows(skip) == j.rows)));
    memcpy(j.p, p, sizeof j.p);
    j.flag = drop;
    j.skip = skip ? skip->data : NULL;
    j.Cs = skip ? hm_last(skip) : 0;
    run(g, j.rows, j.C, d2s_range, &j);
    return y;
}

static void s2d_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    const job *j = ctx;
    const int n = j->p[0] * j->p[1] * j->p[2];
    const int64_t c = j->C, cs = j->Cs, group = cs / c, H = j->H * j->p[1], W = j->W * j->p[2];
    float x[MAX_C], s[MAX_C], y[MAX_C], from_skip[4 * MAX_C];
    for (int64_t r = from; r < to; r++) {
        const int64_t t = r / (j->H * j->W), h = r / j->W % j->H, w = r % j->W;
        for (int k = 0; k < n; k++) {
            const int dt = k / (j->p[1] * j->p[2]), dy = k / j->p[2] % j->p[1], dx = k % j->p[2];
            const int64_t at = ((t * j->p[0] + dt) * H + h * j->p[1] + dy) * W + w * j->p[2] + dx;
            hm_load(x, j->x, j->dtype, at * c, c);
            hm_load(s, j->skip, j->dtype, at * cs, cs);
            for (int64_t i = 0; i < c; i++) y[i * n + k] = x[i];
            for (int64_t i = 0; i < cs; i++) from_skip[i * n + k] = s[i];
        }
        for (int64_t i = 0; i < c * n; i++) {
            float sum = 0;
            for (int64_t k = 0; k < group; k++) sum += from_skip[i * group + k];
            y[i] += sum / (float)group;
        }
        hm_store(j->y, j->dtype, r * c * n, y, c * n);
    }
}

hm_tensor *hm_space_to_depth(hm_graph *g, const hm_tensor *x, const hm_tensor *skip, const int p[3])
{
    const int n = p[0] * p[1] * p[2];
    assert(x->dim[1] % p[0] == 0 && x->dim[2] % p[1] == 0 && x->dim[3] % p[2] == 0 &&
           hm_last(skip) % hm_last(x) == 0);
    assert(hm_last(x) * n <= MAX_C && hm_last(skip) * n <= 4 * MAX_C && hm_last(skip) <= MAX_C);
    hm_tensor *y =
        hm_new(g, x->dtype, HM_DIMS(1, x->dim[1] / p[0], x->dim[2] / p[1], x->dim[3] / p[2], hm_last(x) * n));
    job j = job_of(y, y);
    j.x = x->data;
    j.C = hm_last(x);
    j.Cs = hm_last(skip);
    j.skip = skip->data;
    memcpy(j.p, p, sizeof j.p);
    run(g, j.rows, n * j.Cs, s2d_range, &j);
    return y;
}

static void patch_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    const job *j = ctx;
    const int p = j->p[0];
    const int64_t c = j->C / (p * p), W = j->W * p;
    float v[MAX_C];
    for (int64_t r = from; r < to; r++) {
        const int64_t top = r / j->W * p, left = r % j->W * p; /* row of all frames' pixels, column */
        const void *src = j->flag ? j->x : j->y;
        if (j->flag) hm_load(v, src, j->dtype, r * j->C, j->C);
        for (int64_t k = 0; k < p * p; k++) {
            const int64_t at = ((top + k % p) * W + left + k / p) * c; /* k = x p + y */
            float px[16];
            if (!j->flag) hm_load(px, j->x, j->dtype, at, c);
            for (int64_t i = 0; i < c; i++) {
                if (j->flag) px[i] = v[i * p * p + k];
                else v[i * p * p + k] = px[i];
            }
            if (j->flag) hm_store(j->y, j->dtype, at, px, c);
        }
        if (!j->flag) hm_store(j->y, j->dtype, r * j->C, v, j->C);
    }
}

hm_tensor *hm_patchify(hm_graph *g, const hm_tensor *x, int p)
{
    assert(x->dim[2] % p == 0 && x->dim[3] % p == 0 && hm_last(x) <= 16 && hm_last(x) * p * p <= MAX_C);
    hm_tensor *y =
        hm_new(g, x->dtype, HM_DIMS(1, x->dim[1], x->dim[2] / p, x->dim[3] / p, hm_last(x) * p * p));
    job j = job_of(y, y);
    j.x = x->data;
    j.p[0] = p;
    run(g, j.rows, j.C, patch_range, &j);
    return y;
}

hm_tensor *hm_unpatchify(hm_graph *g, const hm_tensor *x, int p)
{
    assert(hm_last(x) <= MAX_C && hm_last(x) / (p * p) <= 16);
    hm_tensor *y =
        hm_new(g, x->dtype, HM_DIMS(1, x->dim[1], x->dim[2] * p, x->dim[3] * p, hm_last(x) / (p * p)));
    job j = job_of(x, y);
    j.p[0] = p;
    j.flag = true;
    run(g, j.rows, j.C, patch_range, &j);
    return y;
}

static int64_t mirrored(int64_t i, int64_t n, bool reflect)
{
    if (i >= 0 && i < n) return i;
    if (!reflect || n == 1) return i < 0 ? 0 : n - 1;
    return i < 0 ? -i : 2 * n - 2 - i;
}

static void pad_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    const job *j = ctx;
    const size_t row = (size_t)j->C * hm_dtype_size(j->dtype);
    for (int64_t r = from; r < to; r++) { /* a row of padded pixels each */
        const int64_t t = r / (j->H + 2), h = mirrored(r % (j->H + 2) - 1, j->H, j->flag);
        for (int64_t w = -1; w <= j->W; w++)
            memcpy((char *)j->y + (size_t)(r * (j->W + 2) + w + 1) * row,
                   (const char *)j->x + (size_t)((t * j->H + h) * j->W + mirrored(w, j->W, j->flag)) * row,
                   row);
    }
}

hm_tensor *hm_pad_space(hm_graph *g, const hm_tensor *x, bool reflect)
{
    hm_tensor *y = hm_new(g, x->dtype, HM_DIMS(1, x->dim[1], x->dim[2] + 2, x->dim[3] + 2, hm_last(x)));
    job j = job_of(x, y);
    j.flag = reflect;
    run(g, j.T * (j.H + 2), (j.W + 2) * j.C, pad_range, &j);
    return y;
}
