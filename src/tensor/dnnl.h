/* dnnl.h - what the tensor layer asks of oneDNN; dnnl.c alone includes its headers.   SPDX-License-Identifier: MIT
 * Primitives are compiled once per descriptor and kept. Get one on the graph's thread, then run it: a serial one also
 * from many threads at once, each with its own lane (scratchpad and memory handles). */
#ifndef HM_DNNL_H
#define HM_DNNL_H

#include "tensor/graph.h"

hm_dnnl *hm_dnnl_new(int threads); /* NULL: oneDNN cannot start or out of memory */
void hm_dnnl_free(hm_dnnl *d);

typedef struct hm_prim hm_prim;

/* C[b,m,n] = epilogue(sum_k A[b,m,k] B[b,k,n] + bias[n]); strides in elements; batch 1 may have any stride.
 * Epilogue in order: * alpha, gelu, + beta * C. Unused bytes must be zero (the struct is the key). */
typedef struct {
    int64_t batch, m, n, k;
    int64_t a[3], b[3], c[3]; /* strides of batch, row, column */
    hm_dtype ta, tb, tc, tbias;
    int32_t bias, gelu;
    float alpha, beta;
    int32_t serial;           /* 1: for use inside a parallel region */
    int32_t pad;
} hm_mm;
hm_prim *hm_mm_get(hm_dnnl *d, const hm_mm *mm);
void hm_mm_run(hm_prim *p, int lane, const void *a, const void *b, const void *bias, void *c);

/* C [HM_I8_ROWS,n] int32 = A [HM_I8_ROWS,k] times a panel of n rows of weights, all int8, exact. The panel's bytes are as this machine
 * likes them: made by hm_i8_pack (on the graph's thread) from [n,k], they fit every such primitive of this process. */
enum { HM_I8_ROWS = 128 };
typedef struct { int64_t n, k; } hm_i8;
hm_prim *hm_i8_get(hm_dnnl *d, const hm_i8 *i8); /* serial */
size_t hm_i8_panel_bytes(const hm_prim *p);
void hm_i8_pack(hm_prim *p, const int8_t *w, void *panel);
void hm_i8_run(hm_prim *p, int lane, const int8_t *a, const void *panel, int32_t *c);

typedef enum { HM_CONV_FWD, HM_CONV_BWD_X, HM_CONV_BWD_W } hm_conv_kind;
/* Channels-last activations of dtype act; weights [O,k...,I] (w_oik: [O,I,k...]) of dtype act (dW: f32). nd spatial axes. */
typedef struct {
    int64_t batch, in_c, out_c;
    int64_t in[3], out[3], k[3];
    int32_t stride[3], pad[3];
    int32_t nd;
    hm_conv_kind kind;
    hm_dtype act, tbias;
    int32_t bias, relu;
    int32_t w_oik, unused; /* 0 */
} hm_cv;
hm_prim *hm_cv_get(hm_dnnl *d, const hm_cv *cv);
/* FWD: x, w, bias -> y. BWD_X: w, y = dy -> x = dx (written). BWD_W: x, y = dy -> w = dW f32 (added if add_w). */
void hm_cv_run(hm_prim *p, const void *x, const void *w, const void *bias, void *y, bool add_w);

#endif
