/* graph.h - inside of the tensor layer: arena, tape, parallel loops, row conversions.
 * SPDX-License-Identifier: MIT
 * Arena: one reservation of address space; tensors, tape nodes and scratch are bumped from it in 64-byte
 * steps, in a plan as well (there the data bytes are never touched, so they cost nothing).
 * Tape: a linked list of nodes, newest first. When a node runs, the gradient of its output is final and nobody
 * else reads it, so it may be changed in place, handed to an input (hm_grad_steal) or used again. */
#ifndef HM_GRAPH_H
#define HM_GRAPH_H

#include <assert.h>
#include <string.h>
#include "tensor/tensor.h"

typedef struct hm_node hm_node;
typedef void hm_back_fn(hm_graph *g, hm_node *n);
struct hm_node {
    hm_node *prev;
    hm_back_fn *back;
    hm_tensor *y, *in[4];
    void *p[4];     /* saved by the op; arena memory */
    int64_t i[10];
    float f[4];
    int kind;       /* hm_kind, for hm_profile */
};

/* Where a step's time goes: seconds by kind of op, forward and backward; two clock reads an op. */
typedef enum {
    HM_OP_LINEAR, HM_OP_LINEAR_DX, HM_OP_LINEAR_DW, HM_OP_ATTENTION, HM_OP_NORM, HM_OP_MAP, HM_OP_ROPE, HM_OP_CONV,
    HM_OP_SHAPE, HM_OP_LOSS, HM_N_OPS
} hm_kind;
typedef struct { double fwd, bwd; } hm_prof;

typedef struct hm_dnnl hm_dnnl;
enum { HM_FREE_SLOTS = 64 };
struct hm_graph {
    hm_graph_opts opts;
    uint8_t *base;
    uint64_t reserved, used, peak, flops;
    int threads;
    bool in_backward;
    hm_node *tape;
    hm_dnnl *dnnl;
    struct { uint64_t bytes; void *data; } free_grads[HM_FREE_SLOTS]; /* gradients of finished nodes, used again */
    int n_free;
    hm_prof prof[HM_N_OPS];
};

static inline int64_t hm_last(const hm_tensor *t) { return t->nd ? t->dim[t->nd - 1] : 1; }
static inline int64_t hm_rows(const hm_tensor *t) { return hm_last(t) ? hm_numel(t) / hm_last(t) : 0; }

void *hm_alloc(hm_graph *g, uint64_t bytes);        /* arena, 64-byte aligned; plan: an address that must not be touched */
void *hm_keep(hm_graph *g, const void *src, uint64_t bytes); /* copy for backward; src itself without a tape; NULL stays NULL */
static inline uint64_t hm_scratch(const hm_graph *g) { return g->used; }
static inline void hm_scratch_end(hm_graph *g, uint64_t mark) { g->used = mark; } /* with a tape too: nothing after mark survives */

/* New output like x but of dtype. */
hm_tensor *hm_like(hm_graph *g, const hm_tensor *x, hm_dtype dtype);
/* Put y on the tape if there is one and an input needs a gradient; NULL otherwise. Unused inputs NULL. */
hm_node *hm_record(hm_graph *g, hm_kind kind, hm_back_fn *back, hm_tensor *y, hm_tensor *const in[4]);
#define HM_IN(...) (hm_tensor *const[4]){__VA_ARGS__}

/* Where a gradient contribution goes: f32 or bf16, to be written (first) or added (later ones). */
typedef struct { void *data; hm_dtype dtype; bool add; } hm_sink;
hm_sink hm_grad(hm_graph *g, hm_tensor *x);
hm_sink hm_grad_zeroed(hm_graph *g, hm_tensor *x); /* add is always true */
/* x takes over y's gradient if x has none and both have the same dtype and size; else returns false. */
bool hm_grad_steal(hm_graph *g, hm_tensor *x, hm_tensor *y);
static inline bool hm_wants(const hm_tensor *x) { return x && x->needs_grad; }

/* fn over [0,n) in contiguous ranges, multiples of grain, one per thread; the split depends on n, grain and
 * the number of threads only. tid < g->threads. Small n (work = n * cost below ~20k) runs on the caller. */
typedef void hm_range_fn(void *ctx, int64_t from, int64_t to, int tid);
void hm_parallel(const hm_graph *g, int64_t n, int64_t grain, int64_t cost, hm_range_fn *fn, void *ctx);
/* fn(ctx, task, task + 1, tid) for tasks 0..n-1, task t on thread t mod threads. */
void hm_parallel_tasks(const hm_graph *g, int64_t n, hm_range_fn *fn, void *ctx);

void hm_copy(const hm_graph *g, void *dst, hm_dtype dd, bool add, const void *src, hm_dtype sd, int64_t n);
/* Parameter as dtype: its own data, or a converted copy in the arena (scratch without a tape). */
void *hm_as(hm_graph *g, const hm_tensor *w, hm_dtype dtype);
/* dst[c] += sum over rows of src[r][c]: rows in order. dst must add (owner's f32) or is first zeroed. */
void hm_colsum(hm_graph *g, hm_sink dst, const void *src, hm_dtype sd, int64_t rows, int64_t cols);

/* y = x w^T + b, or its gelu, from the int8 copy of w; b in f32 or NULL. int8.c */
void hm_int8_linear(hm_graph *g, const hm_tensor *x, const hm_int8 *w, const float *b, hm_tensor *y, bool gelu);

/* n numbers of a quantised tensor from number at on, both multiples of the block, as f32. */
void hm_block_to_f32(float *d, const void *s, hm_dtype t, int64_t at, int64_t n);
void hm_block_from_f32(void *d, hm_dtype t, int64_t at, const float *s, int64_t n); /* t: Q8_0 alone */
uint16_t hm_f32_to_f16(float f);

/* ---- f32 lanes of bf16/f32 storage; integer ops only, so that loops vectorise on every level ---- */
#define HM_INLINE static inline __attribute__((always_inline))

HM_INLINE float hm_lane_get(uint16_t h)
{
    union { uint32_t u; float f; } v;
    v.u = (uint32_t)h << 16;
    return v.f;
}
HM_INLINE uint16_t hm_lane_put(float f) /* = hm_f32_to_bf16, without branches */
{
    union { float f; uint32_t u; } v;
    v.f = f;
    const uint32_t near = (v.u + 0x7fffu + ((v.u >> 16) & 1u)) >> 16, nan = (v.u >> 16) | 0x40u;
    return (uint16_t)((v.u & 0x7fffffffu) > 0x7f800000u ? nan : near);
}
HM_INLINE float hm_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = (h >> 10) & 31u, m = h & 0x3ffu;
    union { uint32_t u; float f; } v;
    if (e == 31) {
        v.u = sign | 0x7f800000u | m << 13;
    } else if (e) {
        v.u = sign | (e + 112u) << 23 | m << 13;
    } else { /* zero and subnormals: m * 2^-24, exact */
        v.f = (float)m * 0x1p-24f;
        v.u |= sign;
    }
    return v.f;
}
HM_INLINE void hm_load(float *restrict d, const void *s, hm_dtype t, int64_t at, int64_t n)
{
    if (t == HM_BF16) {
        const uint16_t *restrict p = (const uint16_t *)s + at;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) d[i] = hm_lane_get(p[i]);
    } else {
        memcpy(d, (const float *)s + at, (size_t)n * sizeof(float));
    }
}
HM_INLINE void hm_store(void *d, hm_dtype t, int64_t at, const float *restrict s, int64_t n)
{
    if (t == HM_BF16) {
        uint16_t *restrict p = (uint16_t *)d + at;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) p[i] = hm_lane_put(s[i]);
    } else {
        memcpy((float *)d + at, s, (size_t)n * sizeof(float));
    }
}
HM_INLINE void hm_store_sink(hm_sink k, int64_t at, const float *restrict s, int64_t n)
{
    if (!k.add) {
        hm_store(k.data, k.dtype, at, s, n);
    } else if (k.dtype == HM_BF16) {
        uint16_t *restrict p = (uint16_t *)k.data + at;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) p[i] = hm_lane_put(hm_lane_get(p[i]) + s[i]);
    } else {
        float *restrict p = (float *)k.data + at;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) p[i] += s[i];
    }
}

/* e^x to 1.5 ulp for x in [-87, 88], clamped outside: 2^k e^r, r in [-ln2/2, ln2/2], Taylor polynomial of degree 6
 * with the last two coefficients fitted (remainder 2e-8). */
HM_INLINE float hm_exp(float x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float k = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23: rounds to an integer */
    const float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    union { uint32_t u; float f; } s;
    s.u = (uint32_t)((int32_t)k + 127) << 23;
    return p * s.f;
}
HM_INLINE float hm_sigmoid(float x) { return 1.0f / (1.0f + hm_exp(-x)); }
/* tanh-gelu: x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3). */
HM_INLINE float hm_gelu_arg(float x) { return 1.5957691216f * x * (1.0f + 0.044715f * x * x); }
HM_INLINE float hm_gelu1(float x) { return x * hm_sigmoid(hm_gelu_arg(x)); }
HM_INLINE float hm_gelu1_slope(float x)
{
    const float s = hm_sigmoid(hm_gelu_arg(x));
    return s + x * s * (1.0f - s) * 1.5957691216f * (1.0f + 0.134145f * x * x);
}

double hm_prof_now(void);

#endif
