/* tensor.h - tensors, a graph with optional tape, and every op that himmel's models are made of.
 * SPDX-License-Identifier: MIT
 *
 * Ops are functions: they take tensors, return a new one that lives in the graph's arena, and compute at
 * once. With a tape (training) they also record what backward needs; without one (inference) they
 * record nothing and hm_save/hm_restore give arena memory back. In a plan (opts.plan) ops only do shapes and
 * bytes: running a forward in a plan graph tells hm_peak() of the real one before step 0.
 * Ops cannot fail: shapes are asserted, memory was planned (or reserved: the arena is address space
 * that the kernel fills on first touch). Same inputs, build, instruction set and threads: same bytes.
 *
 * Shapes are row-major, last dimension fastest. B batch, N tokens, D width, K heads. "Activation dtype"
 * is opts.act: HM_BF16 normally, HM_F32 for parity and gradient checks. Norms, softmax, modulation, losses
 * and all accumulation are f32 inside whatever the storage is. Parameters may be f32 or bf16 (and f16,
 * f8e4m3 in inference); their .grad, if not NULL, is an f32 tensor of the same shape, added into by backward. */
#ifndef HM_TENSOR_H
#define HM_TENSOR_H

#include "base/base.h"

/* HM_Q*: GGUF's quantised blocks of 32 (_0, _1) or 256 (_K) numbers along the last dimension; parameters only, read only. */
typedef enum {
    HM_F32, HM_BF16, HM_F16, HM_F8E4M3,
    HM_Q4_0, HM_Q4_1, HM_Q5_0, HM_Q5_1, HM_Q8_0, HM_Q2_K, HM_Q3_K, HM_Q4_K, HM_Q5_K, HM_Q6_K,
    HM_I32, HM_I64, HM_U8, HM_F64, HM_I8, HM_N_DTYPES
} hm_dtype;
size_t hm_dtype_size(hm_dtype t);      /* bytes of a number; 0 for blocks */
const char *hm_dtype_name(hm_dtype t); /* "F32", "BF16", ... as in safetensors; "Q8_0", ... as in GGUF */
int64_t hm_dtype_block(hm_dtype t);    /* numbers in a block: 1, 32 or 256 */
uint64_t hm_dtype_bytes(hm_dtype t, uint64_t n); /* of n numbers, a multiple of the block; n <= 2^56 */
static inline bool hm_is_weight(hm_dtype t) { return t < HM_I32; }

enum { HM_MAX_DIM = 6 };

typedef struct hm_tensor hm_tensor;
typedef struct hm_int8 hm_int8;
struct hm_tensor {
    hm_dtype dtype;
    int nd;
    int64_t dim[HM_MAX_DIM];
    void *data;       /* borrowed from arena, mapped file or caller; NULL in a plan */
    hm_tensor *grad;  /* parameters: the owner's f32 tensor or NULL; leaf activations: set by hm_backward; inner ones' memory is used again */
    hm_int8 *int8;    /* parameters [O,I]: the owner's int8 copy, which hm_linear takes where there is no tape; else NULL */
    float scale;      /* parameters in fp8: every number is this times what is stored; 0: as stored */
    const void *row_scale; /* parameters [O,I] in int8: f32 [O], perhaps not aligned; the numbers are rotated (int8.c); else NULL */
    bool needs_grad;  /* parameters: set by the owner; activations: any input needs it and there is a tape */
};

typedef struct hm_graph hm_graph;

typedef struct {
    uint64_t arena_bytes; /* address space to reserve; 0 = 1 TiB / what the system grants (lazy pages) */
    hm_dtype act;         /* HM_BF16 or HM_F32 */
    bool tape;            /* record for hm_backward */
    bool plan;            /* shapes and bytes only */
    int n_threads;        /* 0 = all cores */
} hm_graph_opts;

himmel_status hm_graph_new(hm_graph **out, const hm_graph_opts *opts, himmel_error *err);
void hm_graph_free(hm_graph *g);   /* NULL is fine */
void hm_graph_reset(hm_graph *g);  /* drop every tensor and the tape; keeps the pages */
uint64_t hm_peak(const hm_graph *g); /* most arena bytes ever in use */
hm_dtype hm_act(const hm_graph *g);
bool hm_is_plan(const hm_graph *g);
uint64_t hm_flops(const hm_graph *g); /* of matmuls and convolutions, forward + backward, since new/reset */

typedef uint64_t hm_mark;
hm_mark hm_save(const hm_graph *g);
void hm_restore(hm_graph *g, hm_mark m); /* no-op with a tape */
/* Restore to m, keeping y: copied into x, an activation from before m that nobody needs any more. Returns where the
 * values are: x without a tape, y itself with one. Residual streams live in one buffer like this. */
hm_tensor *hm_settle(hm_graph *g, hm_mark m, hm_tensor *x, hm_tensor *y);

int64_t hm_numel(const hm_tensor *t);
/* New uninitialised tensor in the arena; hm_wrap: a view on memory that the caller keeps alive. */
hm_tensor *hm_new(hm_graph *g, hm_dtype dtype, int nd, const int64_t *dim);
hm_tensor *hm_zeros(hm_graph *g, hm_dtype dtype, int nd, const int64_t *dim);
hm_tensor *hm_wrap(hm_graph *g, hm_dtype dtype, int nd, const int64_t *dim, void *data);
#define HM_DIMS(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__}
/* hm_new(g, HM_F32, HM_DIMS(B, N, D)) */

/* ---- shape ---- (differentiable) */
hm_tensor *hm_reshape(hm_graph *g, hm_tensor *x, int nd, const int64_t *dim);         /* a view */
hm_tensor *hm_cast(hm_graph *g, hm_tensor *x, hm_dtype dtype);                        /* x itself if equal */
hm_tensor *hm_slice(hm_graph *g, hm_tensor *x, int axis, int64_t from, int64_t n);    /* copies */
hm_tensor *hm_concat(hm_graph *g, hm_tensor *a, hm_tensor *b, int axis);
hm_tensor *hm_gather_rows(hm_graph *g, hm_tensor *x, const int32_t *rows, int64_t n); /* x [R,D] -> [n,D]; also embedding */

/* ---- dense ---- */
/* y[..., O] = x[..., I] w[O, I]^T + b[O]; b may be NULL. Output in activation dtype. */
hm_tensor *hm_linear(hm_graph *g, hm_tensor *x, hm_tensor *w, hm_tensor *b);
/* The same with tanh-gelu applied (fused where there is no tape). */
hm_tensor *hm_linear_gelu(hm_graph *g, hm_tensor *x, hm_tensor *w, hm_tensor *b);
/* W8A8: a copy of w [O,I] as int8 with a scale for each of its rows, packed for this machine (VNNI; without it the products are
 * computed in f32, no faster than bf16). The multiplication gives each row of x its own scale, too, and adds in int32. New: shapes
 * only, enough for a plan; pack: the numbers (g: threads and scratch), if they are not there yet. NULL, false: out of memory. */
hm_int8 *hm_int8_new(const hm_tensor *w);
bool hm_int8_pack(hm_graph *g, hm_int8 *q, const hm_tensor *w);
/* Row `row` of w as it is packed, q [I] or NULL, and its scale, by plain calls: room is for 2 I numbers. */
float hm_int8_row(int8_t *q, const hm_tensor *w, int64_t row, float *room);
void hm_int8_free(hm_int8 *q);                   /* NULL is fine */
uint64_t hm_int8_bytes(int64_t out, int64_t in); /* of a packed one, to 2 % where it is large */
/* q [B,N,K*h], k [B,M,K*h], v [B,M,K*h] -> [B,N,K*h]. softmax(scale q k^T + bias + mask) v by query blocks, never
 * [N,N] in memory. key_mask [B,M] f32, added to scores (0 or -10000), may be NULL. bias [K,N,M] f32, may be
 * NULL, differentiable (T5). kv_len NULL. */
hm_tensor *hm_attention(hm_graph *g, hm_tensor *q, hm_tensor *k, hm_tensor *v, int n_heads, float scale,
                        const hm_tensor *key_mask, hm_tensor *bias);
/* Rotates pairs (2p, 2p+1) of x [B,N,D]: (a,b) -> (a cos - b sin, b cos + a sin). cos, sin [B or 1,N,D/2] f32,
 * constants; with fewer columns P <= 256, a divisor of D/2, they are used again for every 2 P channels (a head each). */
hm_tensor *hm_rope(hm_graph *g, hm_tensor *x, const hm_tensor *cosine, const hm_tensor *sine);

/* ---- elementwise (in the dtype of the first operand) and norms (in activation dtype), over the last dimension ---- */
hm_tensor *hm_add_t(hm_graph *g, hm_tensor *a, hm_tensor *b);
hm_tensor *hm_sub_t(hm_graph *g, hm_tensor *a, hm_tensor *b);
hm_tensor *hm_mul_t(hm_graph *g, hm_tensor *a, hm_tensor *b);
hm_tensor *hm_scale_t(hm_graph *g, hm_tensor *a, float s);
hm_tensor *hm_silu(hm_graph *g, hm_tensor *x);
hm_tensor *hm_gelu(hm_graph *g, hm_tensor *x); /* tanh form */
hm_tensor *hm_relu(hm_graph *g, hm_tensor *x);
hm_tensor *hm_rmsnorm(hm_graph *g, hm_tensor *x, hm_tensor *w, float eps);               /* w [D] or NULL */
hm_tensor *hm_layernorm(hm_graph *g, hm_tensor *x, hm_tensor *w, hm_tensor *b, float eps); /* w, b or NULL */
hm_tensor *hm_mean_rows(hm_graph *g, hm_tensor *x, const hm_tensor *weight); /* x [B,N,D], weight [B,N] f32 const -> [B,D] weighted mean */

/* Adaptive modulation with a noise level per token. mod [R, S, D]: R distinct levels, S rows each (LTX: 6).
 * row [n_tokens] says which level a token has (token = b*N + n). Cost grows with R, not with tokens.
 *   hm_norm_modulate: norm(x) * (1 + mod[row, scale]) + mod[row, shift]; norm is RMS (layer=false) or LayerNorm
 *   hm_add_gated:     x + y * mod[row, gate] */
hm_tensor *hm_norm_modulate(hm_graph *g, hm_tensor *x, hm_tensor *mod, const int32_t *row, int shift, int scale,
                            bool layer, float eps);
hm_tensor *hm_add_gated(hm_graph *g, hm_tensor *x, hm_tensor *y, hm_tensor *mod, const int32_t *row, int gate);
/* mod[r,s,d] = e[r, s*D + d] + table[s,d]: e [R, S*D] (or [R,D] when broadcast: added to every s), table [S,D]; f32 out. */
hm_tensor *hm_mod_table(hm_graph *g, hm_tensor *e, hm_tensor *table);
/* 256-style sinusoids, cos first: y[r, i] = cos(t[r] f_i), y[r, half+i] = sin(t[r] f_i), f_i = exp(-ln(1e4) i/half). f32 out. */
hm_tensor *hm_sinusoid(hm_graph *g, const float *t, int64_t n, int64_t width);

/* ---- convolutions, channels last ---- */
/* x [B,H,W,I] or [B,T,H,W,I], w [O,kh,kw,I] or [O,kt,kh,kw,I], b [O] or NULL; zero padding pad on both sides of
 * every spatial axis; relu fused if asked; w_oik: w is [O,I,k...] as PyTorch stores it (inference only). */
typedef struct { int stride[3], pad[3]; bool relu, w_oik; } hm_conv_opts; /* (t,)h,w: 2-D uses [0]=h [1]=w */
hm_tensor *hm_conv(hm_graph *g, hm_tensor *x, hm_tensor *w, hm_tensor *b, const hm_conv_opts *o);
/* [B,H,W,C*r*r] -> [B,H*r,W*r,C], channel = (c*r + dy)*r + dx (torch PixelShuffle); and its inverse. */
hm_tensor *hm_pixel_shuffle(hm_graph *g, hm_tensor *x, int r);
hm_tensor *hm_pixel_unshuffle(hm_graph *g, hm_tensor *x, int r);

/* x [B,N,D], tokens of grid {T, h, w} frame by frame, then perhaps more frames that stand alone: x + sum over the 27 neighbours in
 * time and space (itself included) of w[(dt+1)*9 + (dy+1)*3 + dx+1] times the neighbour, channel by channel; w [27,D]. */
hm_tensor *hm_local_mix(hm_graph *g, hm_tensor *x, hm_tensor *w, const int64_t grid[3]);

/* ---- losses: scalar f32 [1] ---- */
/* sum_i w_i (pred_i - target_i)^2 / n, plus l1 * |...|. target same shape as pred, any float dtype, constant;
 * token_weight [rows] f32 over all but the last dim, channel_weight [D] f32; either may be NULL (= 1). */
hm_tensor *hm_loss_mse(hm_graph *g, hm_tensor *pred, const hm_tensor *target, const float *token_weight,
                       const float *channel_weight, float l1);
/* Whether there is as much fine detail as in a picture: pred and its target residual are corrections of one and the same
 * blurred picture, picture is the true one, all as patches [B,h,w,C*r*r] (channels as hm_pixel_shuffle has them; residual
 * and picture f32). Mean over windows of 8x8 at 1, 1/2 and 1/4 of the size, over colours and both directions, of the squared
 * difference between the two rms steps from pixel to pixel. h*r and w*r are multiples of 32. */
hm_tensor *hm_loss_detail(hm_graph *g, hm_tensor *pred, const float *residual, const float *picture, int r);
/* Mean cross entropy of logits [R,C] with labels [R]; label < 0 is left out. */
hm_tensor *hm_loss_xent(hm_graph *g, hm_tensor *logits, const int32_t *labels);

/* Backward from loss (scalar), seeding d loss = seed (1 / accumulation steps). */
void hm_backward(hm_graph *g, hm_tensor *loss, float seed);

/* ---- raw helpers, no graph ---- */
/* C[M,N] = alpha * op(A) op(B) + beta * C, row-major; dtypes F32 or BF16 for A,B; C F32 or BF16. For optimisers. */
void hm_gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, hm_dtype ab, const void *a, const void *b,
             float beta, hm_dtype ct, void *c);
/* dd: F32, BF16, F16 or Q8_0, or sd itself; n: whole blocks. */
void hm_convert(void *dst, hm_dtype dd, const void *src, hm_dtype sd, size_t n);
/* "avx512_core_bf16" ...: what oneDNN dispatches to; hm_isa_limit("baseline"|"avx2"|"avx512") before first use. */
const char *hm_isa_name(void);
himmel_status hm_isa_limit(const char *name, himmel_error *err);
void hm_set_threads(int n);
/* Best rate of large square multiplications in dtype on all threads, operations a second (a multiplication and an addition are
 * two); takes 0.2 s. Every "share of peak" is relative to this. */
double hm_measure_peak(hm_dtype dtype);

#endif
