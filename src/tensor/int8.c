/* int8.c - linear layers in int8: weights with a scale a row (output channel), activations with a scale a row (token).
 * SPDX-License-Identifier: MIT
 *   x [M,I] -> rotated -> q int8 [M,I], sx [M];   y[m,o] = sx[m] sw[o] sum_i q[m,i] qw[o,i] + b[o]: the sum is exact
 * The rotation, of both sides and so without effect on the product, spreads the few large channels that transformers have over many:
 * the others' steps would be too coarse. It mixes numbers 16 and more apart only, which costs an addition a stage; mixing the lanes as well
 * was no better (bench_wan, outliers 100: output off by 9 % without, 4 % with it; in the time of a step it does not show).
 * Rows are split into tiles of HM_I8_ROWS, weights into panels of PANEL rows that oneDNN packed once. A tile times a panel stays in the
 * second-level cache, where scales, bias and gelu are applied: int32 never goes to memory. Error: every q is off by at most half a
 * step, so |y - exact| <= sum_i (sx |w_i| + sw |x_i|) / 2 + sx sw / 4, x and w rotated. */
#include <stdlib.h>
#include "tensor/dnnl.h"

enum { PANEL = 256, LEVELS = 127, LANES = 16, MAX_GROUP = 1024 };

struct hm_int8 {
    int64_t out, in;
    float *scale;   /* [out] */
    uint8_t *panel; /* panels one after the other, `stride` bytes apart */
    size_t stride;
};

static int64_t n_panels(int64_t out) { return (out + PANEL - 1) / PANEL; }
static size_t round64(size_t n) { return (n + 63) & ~(size_t)63; }

/* ---- rounding a row ---- */

/* Bits of the largest |x|: they order like the numbers, and NaN is above all. */
HM_INLINE uint32_t top_bits(const float *x, int64_t n, uint32_t top)
{
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < n; i++) {
        union { float f; uint32_t u; } v = {x[i]};
        const uint32_t a = v.u & 0x7fffffffu;
        top = a > top ? a : top;
    }
    return top;
}

/* Sums and differences of numbers `LANES` and more apart, in every group: a Hadamard matrix of group / LANES rows, not normalised.
 * Two stages in one pass, then the last one where their number is odd. */
HM_INLINE void rotate(float *restrict x, int64_t n, int64_t group)
{
    int64_t h = LANES;
    for (; 4 * h <= group; h *= 4)
        for (int64_t i = 0; i < n; i += 4 * h)
            for (int64_t j = i; j < i + h; j += LANES) {
#pragma omp simd
                for (int64_t l = j; l < j + LANES; l++) {
                    const float a = x[l] + x[l + h], b = x[l] - x[l + h], c = x[l + 2 * h] + x[l + 3 * h], d = x[l + 2 * h] - x[l + 3 * h];
                    x[l] = a + c, x[l + h] = b + d, x[l + 2 * h] = a - c, x[l + 3 * h] = b - d;
                }
            }
    for (int64_t i = 0; 2 * h <= group && i < n; i += 2 * h)
        for (int64_t j = i; j < i + h; j += LANES) {
#pragma omp simd
            for (int64_t l = j; l < j + LANES; l++) {
                const float a = x[l] + x[l + h], b = x[l] - x[l + h];
                x[l] = a, x[l + h] = b;
            }
        }
}

/* A row of n numbers from number `at` on, rotated -> q; returns the scale: value = q * scale. Rows with NaN or infinity get such a
 * scale. wide: room for n. */
HM_CLONES static float round_row(int8_t *restrict q, float *restrict wide, const void *x, hm_dtype t, int64_t at, int64_t n, int64_t group)
{
    hm_load(wide, x, t, at, n);
    rotate(wide, n, group);
    union { uint32_t u; float f; } top = {top_bits(wide, n, 0)};
    const float scale = top.f / LEVELS, inverse = top.f > 0 ? LEVELS / top.f : 0;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        union { float f; uint32_t u; } v = {wide[i] * inverse + 12582912.0f}; /* 1.5 * 2^23: the integer is in the low bits */
        q[i] = (int8_t)(uint8_t)(v.u & 255u);
    }
    return scale;
}

/* Numbers that are rotated together: the largest power of two in n, within reason; LANES or less: none are. */
static int64_t group_of(int64_t n)
{
    int64_t p = 1;
    while (p < MAX_GROUP && n % (2 * p) == 0) p *= 2;
    return p;
}

typedef struct {
    int8_t *q;
    float *scale;
    const void *x;
    hm_dtype t;
    int64_t rows, cols, group;
    float *wide; /* [threads][cols] */
} round_job;

/* Rows past the last are zeros: they fill up the last tile. */
static void round_range(void *ctx, int64_t from, int64_t to, int tid)
{
    const round_job *j = ctx;
    for (int64_t r = from; r < to; r++)
        if (r < j->rows) j->scale[r] = round_row(j->q + r * j->cols, j->wide + tid * j->cols, j->x, j->t, r * j->cols, j->cols, j->group);
        else memset(j->q + r * j->cols, 0, (size_t)j->cols);
}

/* ---- weights ---- */

uint64_t hm_int8_bytes(int64_t out, int64_t in) { return (uint64_t)out * (uint64_t)in + 8 * (uint64_t)out; }

static hm_prim *prim_of(hm_graph *g, const hm_int8 *w, int64_t panel)
{
    return hm_i8_get(g->dnnl, &(hm_i8){HM_MIN((int64_t)PANEL, w->out - panel * PANEL), w->in});
}

hm_int8 *hm_int8_new(const hm_tensor *w)
{
    assert(w->nd == 2 && w->dim[0] > 0 && w->dim[1] > 0);
    hm_int8 *q = calloc(1, sizeof *q);
    if (q) *q = (hm_int8){.out = w->dim[0], .in = w->dim[1]};
    return q;
}

float hm_int8_row(int8_t *q, const hm_tensor *w, int64_t row, float *room)
{
    const int64_t I = w->dim[1], group = group_of(I), turns = HM_MAX(group / LANES, (int64_t)1);
    const char *from = (const char *)w->data + hm_dtype_bytes(w->dtype, (uint64_t)(row * I));
    hm_convert(room, HM_F32, from, w->dtype, (size_t)I);
    const float scale = round_row(q, room + I, room, HM_F32, 0, I, group);
    return scale / (float)turns * (w->scale != 0 ? w->scale : 1);
}

/* Rows that were rounded before: their bytes and scales. */
static void take_rows(hm_graph *g, hm_int8 *q, const hm_tensor *w)
{
    for (int64_t p = 0; p < n_panels(q->out); p++)
        hm_i8_pack(prim_of(g, q, p), (const int8_t *)w->data + p * PANEL * q->in, q->panel + (size_t)p * q->stride);
    memcpy(q->scale, w->row_scale, (size_t)q->out * sizeof *q->scale);
}

bool hm_int8_pack(hm_graph *g, hm_int8 *q, const hm_tensor *w)
{
    const int64_t O = q->out, I = q->in, n = n_panels(O);
    assert(w->nd == 2 && w->dim[0] == O && w->dim[1] == I && !g->opts.plan);
    if (q->panel) return true;
    for (int64_t p = 0; p < n; p++) q->stride = HM_MAX(q->stride, round64(hm_i8_panel_bytes(prim_of(g, q, p))));
    q->scale = malloc((size_t)O * sizeof *q->scale);
    q->panel = aligned_alloc(64, q->stride * (size_t)n);
    if (!q->scale || !q->panel) {
        free(q->scale);
        free(q->panel);
        q->scale = NULL, q->panel = NULL;
        return false;
    }
    if (w->dtype == HM_I8) {
        take_rows(g, q, w);
        return true;
    }
    const uint64_t mark = hm_scratch(g);
    const int64_t group = group_of(I), turns = HM_MAX(group / LANES, (int64_t)1);
    float *wide = hm_alloc(g, (uint64_t)(PANEL * I) * sizeof *wide), *row = hm_alloc(g, (uint64_t)(g->threads * I) * sizeof *row);
    int8_t *plain = hm_alloc(g, (uint64_t)(PANEL * I));
    for (int64_t p = 0; p < n; p++) {
        const int64_t rows = HM_MIN((int64_t)PANEL, O - p * PANEL);
        const char *from = (const char *)w->data + hm_dtype_bytes(w->dtype, (uint64_t)(p * PANEL * I));
        hm_copy(g, wide, HM_F32, false, from, w->dtype, rows * I);
        round_job j = {plain, q->scale + p * PANEL, wide, HM_F32, rows, I, group, row};
        hm_parallel(g, rows, 1, I, round_range, &j);
        hm_i8_pack(prim_of(g, q, p), plain, q->panel + (size_t)p * q->stride);
    }
    for (int64_t o = 0; o < O; o++) q->scale[o] = q->scale[o] / (float)turns * (w->scale != 0 ? w->scale : 1); /* a rotation of both sides multiplies by that */
    hm_scratch_end(g, mark);
    return true;
}

void hm_int8_free(hm_int8 *q)
{
    if (!q) return;
    free(q->scale);
    free(q->panel);
    free(q);
}

/* ---- multiplication ---- */

typedef struct {
    const hm_int8 *w;
    hm_prim *whole, *last; /* panels of PANEL rows, and the last one */
    const int8_t *q;       /* [tiles * HM_I8_ROWS, in] */
    const float *scale, *bias; /* [rows], [out] */
    int32_t *sum;          /* [threads][HM_I8_ROWS, PANEL] */
    hm_tensor *y;
    int64_t rows, tiles;
    bool gelu;
} mul_job;

/* n numbers of a row of y from channel `from` on: one pass from integers to the result. */
HM_INLINE void finish(const mul_job *j, const int32_t *restrict sum, int64_t row, int64_t from, int64_t n, bool gelu, bool bf16)
{
    const float *restrict sw = j->w->scale + from, *restrict b = j->bias + from, sx = j->scale[row];
    const int64_t at = row * j->w->out + from;
    uint16_t *restrict half = (uint16_t *)j->y->data + (bf16 ? at : 0);
    float *restrict full = (float *)j->y->data + (bf16 ? 0 : at);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float v = (float)sum[i] * (sx * sw[i]) + b[i];
        if (gelu) v = hm_gelu1(v);
        if (bf16) half[i] = hm_lane_put(v);
        else full[i] = v;
    }
}

HM_CLONES static void finish_rows(const mul_job *j, const int32_t *sum, int64_t row, int64_t from, int64_t n)
{
    const bool bf16 = j->y->dtype == HM_BF16;
    const int64_t end = HM_MIN(row + HM_I8_ROWS, j->rows);
    for (; row < end; row++, sum += n)
        if (bf16 && j->gelu) finish(j, sum, row, from, n, true, true);
        else if (bf16) finish(j, sum, row, from, n, false, true);
        else finish(j, sum, row, from, n, j->gelu, false);
}

/* Tasks are panel by panel, so that a panel is used while it is in the cache. */
static void mul_task(void *ctx, int64_t task, int64_t end, int tid)
{
    const mul_job *j = ctx;
    (void)end;
    const int64_t panel = task / j->tiles, tile = task % j->tiles, from = panel * PANEL, n = HM_MIN((int64_t)PANEL, j->w->out - from);
    int32_t *sum = j->sum + (int64_t)tid * HM_I8_ROWS * PANEL;
    hm_i8_run(n == PANEL ? j->whole : j->last, tid, j->q + tile * HM_I8_ROWS * j->w->in, j->w->panel + (size_t)panel * j->w->stride, sum);
    finish_rows(j, sum, tile * HM_I8_ROWS, from, n);
}

void hm_int8_linear(hm_graph *g, const hm_tensor *x, const hm_int8 *w, const float *b, hm_tensor *y, bool gelu)
{
    assert(hm_last(x) == w->in && hm_last(y) == w->out);
    const int64_t M = hm_rows(x), tiles = (M + HM_I8_ROWS - 1) / HM_I8_ROWS, padded = tiles * HM_I8_ROWS;
    g->flops += 2 * (uint64_t)(M * w->in * w->out);
    const uint64_t mark = hm_scratch(g);
    int8_t *q = hm_alloc(g, (uint64_t)(padded * w->in));
    float *scale = hm_alloc(g, (uint64_t)padded * sizeof *scale);
    float *row = hm_alloc(g, (uint64_t)(g->threads * w->in) * sizeof *row);
    float *zeros = b ? NULL : hm_alloc(g, (uint64_t)w->out * sizeof *zeros);
    int32_t *sum = hm_alloc(g, (uint64_t)g->threads * HM_I8_ROWS * PANEL * sizeof *sum);
    if (!g->opts.plan && M) {
        round_job r = {q, scale, x->data, x->dtype, M, w->in, group_of(w->in), row};
        hm_parallel(g, padded, 1, w->in, round_range, &r);
        if (!b) memset(zeros, 0, (size_t)w->out * sizeof *zeros);
        mul_job j = {w, prim_of(g, w, 0), prim_of(g, w, n_panels(w->out) - 1), q, scale, b ? b : zeros, sum, y, M, tiles, gelu};
        hm_parallel_tasks(g, tiles * n_panels(w->out), mul_task, &j);
    }
    hm_scratch_end(g, mark);
}
