/* convert.c - number formats, copies, column sums.   SPDX-License-Identifier: MIT */
#include "tensor/graph.h"

uint16_t hm_f32_to_f16(float f) /* to nearest even */
{
    union { float f; uint32_t u; } v = {f};
    const uint32_t sign = (v.u >> 16) & 0x8000u;
    v.u &= 0x7fffffffu;
    if (v.u > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (v.u >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above round to infinity */
    if (v.u < 0x38800000u) {                                   /* below 2^-14: adding 0.5 rounds at bit 2^-24 */
        v.f += 0.5f;
        return (uint16_t)(sign | (v.u - 0x3f000000u));
    }
    v.u += 0xfffu + ((v.u >> 13) & 1u);
    return (uint16_t)(sign | ((v.u - 0x38000000u) >> 13));
}

static float f8_to_f32(uint8_t b) /* OCP e4m3fn: bias 7, no infinity, 0x7f is NaN */
{
    const uint32_t sign = (uint32_t)(b & 0x80u) << 24, e = (b >> 3) & 15u, m = b & 7u;
    union { uint32_t u; float f; } v;
    if (e == 15 && m == 7) {
        v.u = sign | 0x7fc00000u;
    } else if (e) {
        v.u = sign | (e + 120u) << 23 | m << 20;
    } else {
        v.f = (float)m * 0x1p-9f;
        v.u |= sign;
    }
    return v.f;
}

HM_CLONES static void to_f32(float *restrict d, const void *s, hm_dtype t, int64_t at, int64_t n)
{
    if (t == HM_F32 || t == HM_BF16) {
        hm_load(d, s, t, at, n);
    } else if (t == HM_F16) {
        for (int64_t i = 0; i < n; i++) d[i] = hm_f16_to_f32(((const uint16_t *)s)[at + i]);
    } else if (t == HM_F8E4M3) {
        for (int64_t i = 0; i < n; i++) d[i] = f8_to_f32(((const uint8_t *)s)[at + i]);
    } else if (hm_dtype_block(t) > 1) {
        hm_block_to_f32(d, s, t, at, n);
    } else {
        for (int64_t i = 0; i < n; i++)
            d[i] = t == HM_I32   ? (float)((const int32_t *)s)[at + i]
                   : t == HM_I64 ? (float)((const int64_t *)s)[at + i]
                   : t == HM_F64 ? (float)((const double *)s)[at + i]
                                 : (float)((const uint8_t *)s)[at + i];
    }
}

HM_CLONES static void from_f32(void *d, hm_dtype t, int64_t at, bool add, const float *s, int64_t n)
{
    if (t == HM_F16) {
        for (int64_t i = 0; i < n; i++) ((uint16_t *)d)[at + i] = hm_f32_to_f16(s[i]);
        return;
    }
    if (t == HM_Q8_0) {
        hm_block_from_f32(d, t, at, s, n);
        return;
    }
    assert(t == HM_F32 || t == HM_BF16);
    hm_store_sink((hm_sink){d, t, add}, at, s, n);
}

enum { CHUNK = 1024 }; /* a multiple of every block */
typedef struct {
    void *d;
    const void *s;
    hm_dtype dd, sd;
    bool add;
} copy_job;

static void copy_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    const copy_job *j = ctx;
    if (j->dd == j->sd && !j->add) {
        const size_t at = hm_dtype_bytes(j->dd, (uint64_t)from), n = hm_dtype_bytes(j->dd, (uint64_t)(to - from));
        memcpy((char *)j->d + at, (const char *)j->s + at, n);
        return;
    }
    float buf[CHUNK];
    for (int64_t i = from; i < to; i += CHUNK) {
        const int64_t n = HM_MIN((int64_t)CHUNK, to - i);
        to_f32(buf, j->s, j->sd, i, n);
        from_f32(j->d, j->dd, i, j->add, buf, n);
    }
}

void hm_copy(const hm_graph *g, void *dst, hm_dtype dd, bool add, const void *src, hm_dtype sd, int64_t n)
{
    hm_parallel(g, n, CHUNK, 1, copy_range, &(copy_job){dst, src, dd, sd, add});
}

void hm_convert(void *dst, hm_dtype dd, const void *src, hm_dtype sd, size_t n)
{
    copy_range(&(copy_job){dst, src, dd, sd, false}, 0, (int64_t)n, 0);
}

typedef struct {
    void *d;
    hm_dtype t;
    float by;
} scale_job;

HM_CLONES static void scale_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    const scale_job *j = ctx;
    float buf[CHUNK];
    for (int64_t i = from; i < to; i += CHUNK) {
        const int64_t n = HM_MIN((int64_t)CHUNK, to - i);
        hm_load(buf, j->d, j->t, i, n);
        for (int64_t k = 0; k < n; k++) buf[k] *= j->by;
        hm_store(j->d, j->t, i, buf, n);
    }
}

void *hm_as(hm_graph *g, const hm_tensor *w, hm_dtype dtype)
{
    if (!w || w->dtype == dtype) return w ? w->data : NULL;
    assert(w->dtype != HM_I8); /* hm_linear takes it as it is */
    const int64_t n = hm_numel(w);
    void *d = hm_alloc(g, (uint64_t)n * hm_dtype_size(dtype));
    if (!g->opts.plan) hm_copy(g, d, dtype, false, w->data, w->dtype, n);
    if (!g->opts.plan && w->scale != 0) hm_parallel(g, n, CHUNK, 1, scale_range, &(scale_job){d, dtype, w->scale});
    return d;
}

typedef struct {
    hm_sink dst;
    const void *s;
    hm_dtype sd;
    int64_t rows, cols;
} colsum_job;

/* Columns [from, to) in strips that stay in registers' reach; four rows a turn. */
HM_CLONES static void colsum_strip(const colsum_job *j, int64_t from, int64_t n)
{
    float acc[256] = {0}, row[256];
    for (int64_t r = 0; r < j->rows; r++) {
        if (j->sd == HM_BF16) {
            const uint16_t *restrict p = (const uint16_t *)j->s + r * j->cols + from;
#pragma omp simd
            for (int64_t c = 0; c < n; c++) acc[c] += hm_lane_get(p[c]);
        } else {
            hm_load(row, j->s, j->sd, r * j->cols + from, n);
#pragma omp simd
            for (int64_t c = 0; c < n; c++) acc[c] += row[c];
        }
    }
    hm_store_sink(j->dst, from, acc, n);
}

static void colsum_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    for (int64_t c = from; c < to; c += 256) colsum_strip(ctx, c, HM_MIN((int64_t)256, to - c));
}

void hm_colsum(hm_graph *g, hm_sink dst, const void *src, hm_dtype sd, int64_t rows, int64_t cols)
{
    colsum_job j = {dst, src, sd, rows, cols};
    hm_parallel(g, cols, 32, rows, colsum_range, &j);
}

static void cast_back(hm_graph *g, hm_node *n)
{
    hm_tensor *dy = n->y->grad;
    const hm_sink k = hm_grad(g, n->in[0]);
    if (!g->opts.plan) hm_copy(g, k.data, k.dtype, k.add, dy->data, dy->dtype, hm_numel(dy));
}

hm_tensor *hm_cast(hm_graph *g, hm_tensor *x, hm_dtype dtype)
{
    if (x->dtype == dtype) return x;
    hm_tensor *y = hm_like(g, x, dtype);
    if (!g->opts.plan) hm_copy(g, y->data, dtype, false, x->data, x->dtype, hm_numel(x));
    hm_record(g, HM_OP_SHAPE, cast_back, y, HM_IN(x));
    return y;
}
