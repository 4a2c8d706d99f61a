/* attention.c - softmax(scale q k^T + bias + mask) v, forward and backward.   SPDX-License-Identifier: MIT
 *   task = one batch element and a group of heads (forward: and a block of queries), on one thread:
 *   S = Q K^T [heads,nq,M] f32 -> rows of softmax -> P [heads,nq,M] in activation dtype -> O = P V
 * so everything between the two matmuls stays in a core's cache. Q, K, V are read in place, heads by stride.
 * With a tape P is kept where it is small; else backward forms it again from the row's log-sum-exp.
 * Backward, a block of queries at a time: dP = dO V^T, dS = P (dP - rowsum(P dP)), dQ = scale dS K, dK += scale dS^T Q,
 * dV += P^T dO. dbias sums over the batch: then a task is a group of heads and walks the batch in order. */
#include <math.h>
#include "tensor/dnnl.h"

enum { BLOCK_BYTES = 384 << 10, KEEP_BYTES = 64 << 20 };

typedef struct {
    hm_graph *g;
    const hm_tensor *q, *k, *v, *y;      /* y: output, backward: its gradient in dy */
    const float *mask, *bias;            /* [B,M], [K,N,M] or NULL */
    int64_t B, N, M, K, h, D;
    int64_t heads, qb, n_blocks, groups; /* heads a task, queries a block, blocks, groups of heads */
    float scale;
    void *p_all;                         /* [B,K,N,M] kept probabilities, or NULL */
    float *lse;                          /* [B,K,N], or NULL */
    float *s;                            /* scratch [threads][heads][qb][M] f32 */
    void *p;                             /* scratch, activation dtype, same shape: probabilities */
    void *ds;                            /* scratch, activation dtype: dS */
    float *dk_sum, *dv_sum;              /* scratch [threads][heads][M][h] where there are several blocks */
    const hm_tensor *dy;
    hm_sink dq, dk, dv, dbias;
    hm_prim *qk[2], *pv[2], *dp[2], *dq_mm[2], *dk_mm[2][2], *dv_mm[2][2]; /* [tail block][later block] */
} attn;

static char *at(const void *p, hm_dtype t, int64_t i) { return (char *)p + (ptrdiff_t)i * (ptrdiff_t)hm_dtype_size(t); }
static hm_dtype act(const attn *a) { return a->q->dtype; }
static int64_t block_rows(const attn *a, int64_t blk) { return HM_MIN(a->qb, a->N - blk * a->qb); }

/* ---- softmax rows ---- */

typedef struct {
    float *s;         /* row of scores; overwritten */
    const float *mask, *bias;
    void *p;          /* where row i of P goes, dtype t */
    hm_dtype t;
    int64_t M;
    float scale, lse; /* lse: set by forward, used by again */
} soft_row;

HM_CLONES static void soft_scores(const soft_row *r)
{
    const int64_t M = r->M;
    float *restrict s = r->s;
    const float scale = r->scale;
    if (r->mask) {
        const float *restrict m = r->mask;
#pragma omp simd
        for (int64_t i = 0; i < M; i++) s[i] = s[i] * scale + m[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < M; i++) s[i] *= scale;
    }
    if (r->bias) {
        const float *restrict b = r->bias;
#pragma omp simd
        for (int64_t i = 0; i < M; i++) s[i] += b[i];
    }
}

/* P of one row from its scores; again: from the known log-sum-exp. Returns log-sum-exp. */
HM_CLONES static float soft_probs(const soft_row *r, bool again)
{
    const int64_t M = r->M;
    float *restrict s = r->s;
    float top = s[0], sum = 0;
    if (again) {
        top = r->lse;
    } else {
#pragma omp simd reduction(max : top)
        for (int64_t i = 0; i < M; i++) top = s[i] > top ? s[i] : top;
    }
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < M; i++) {
        s[i] = hm_exp(s[i] - top);
        sum += s[i];
    }
    const float inv = again ? 1.0f : 1.0f / sum;
    if (r->t == HM_BF16) {
        uint16_t *restrict p = r->p;
#pragma omp simd
        for (int64_t i = 0; i < M; i++) p[i] = hm_lane_put(s[i] * inv);
    } else {
        float *restrict p = r->p;
#pragma omp simd
        for (int64_t i = 0; i < M; i++) p[i] = s[i] * inv;
    }
    return again ? r->lse : top + logf(sum);
}

/* Scores of (b, heads h0.., block blk) to probabilities at p [heads][stride][M]. */
static void softmax_block(const attn *a, float *s, void *p, int64_t p_stride, int64_t b, int64_t h0, int64_t blk,
                          bool again)
{
    const int64_t M = a->M, nq = block_rows(a, blk), q0 = blk * a->qb;
    for (int64_t i = 0; i < a->heads; i++)
        for (int64_t r = 0; r < nq; r++) {
            const int64_t head = h0 + i, lse = (b * a->K + head) * a->N + q0 + r;
            soft_row row = {.s = s + (i * a->qb + r) * M, .mask = a->mask ? a->mask + b * M : NULL,
                            .bias = a->bias ? a->bias + (head * a->N + q0 + r) * M : NULL,
                            .p = at(p, act(a), i * p_stride + r * M), .t = act(a), .M = M, .scale = a->scale,
                            .lse = again ? a->lse[lse] : 0};
            soft_scores(&row);
            const float l = soft_probs(&row, again);
            if (a->lse && !again) a->lse[lse] = l;
        }
}

/* ---- primitives ---- */

static hm_prim *mm(const attn *a, int64_t m, int64_t n, int64_t k, const int64_t sa[3], const int64_t sb[3],
                   const int64_t sc[3], hm_dtype tc, bool add)
{
    hm_mm d;
    memset(&d, 0, sizeof d);
    d.batch = a->heads;
    d.m = m, d.n = n, d.k = k;
    memcpy(d.a, sa, sizeof d.a);
    memcpy(d.b, sb, sizeof d.b);
    memcpy(d.c, sc, sizeof d.c);
    d.ta = d.tb = act(a);
    d.tc = tc;
    d.tbias = HM_F32;
    d.alpha = 1;
    d.beta = add;
    d.serial = 1;
    return hm_mm_get(a->g->dnnl, &d);
}

#define ST(...) (const int64_t[3]){__VA_ARGS__}

static int64_t p_stride(const attn *a) { return a->p_all ? a->N * a->M : a->qb * a->M; }

static void prepare_fwd(attn *a)
{
    const int64_t h = a->h, D = a->D, M = a->M, sq = a->qb * M;
    for (int tail = 0; tail < 2; tail++) {
        const int64_t nq = block_rows(a, tail ? a->n_blocks - 1 : 0);
        a->qk[tail] = mm(a, nq, M, h, ST(h, D, 1), ST(h, 1, D), ST(sq, M, 1), HM_F32, false);
        a->pv[tail] = mm(a, nq, h, M, ST(p_stride(a), M, 1), ST(h, D, 1), ST(h, D, 1), act(a), false);
    }
}

static void prepare_bwd(attn *a)
{
    const int64_t h = a->h, D = a->D, M = a->M, sq = a->qb * M, ps = p_stride(a);
    const bool sum = a->n_blocks > 1;
    for (int tail = 0; tail < 2; tail++) {
        const int64_t nq = block_rows(a, tail ? a->n_blocks - 1 : 0);
        if (!a->p_all) a->qk[tail] = mm(a, nq, M, h, ST(h, D, 1), ST(h, 1, D), ST(sq, M, 1), HM_F32, false);
        a->dp[tail] = mm(a, nq, M, h, ST(h, D, 1), ST(h, 1, D), ST(sq, M, 1), HM_F32, false);
        if (a->dq.data)
            a->dq_mm[tail] = mm(a, nq, h, M, ST(sq, M, 1), ST(h, D, 1), ST(h, D, 1), a->dq.dtype, a->dq.add);
        for (int later = 0; later < 2; later++) {
            const int64_t *const to = sum ? ST(M * h, h, 1) : ST(h, D, 1);
            if (a->dk.data)
                a->dk_mm[tail][later] = mm(a, M, h, nq, ST(sq, 1, M), ST(h, D, 1), to, sum ? HM_F32 : a->dk.dtype,
                                           sum ? later : a->dk.add);
            if (a->dv.data)
                a->dv_mm[tail][later] = mm(a, M, h, nq, ST(ps, 1, M), ST(h, D, 1), to, sum ? HM_F32 : a->dv.dtype,
                                           sum ? later : a->dv.add);
        }
    }
}

/* ---- tasks ---- */

static void fwd_task(void *ctx, int64_t task, int64_t to, int tid)
{
    (void)to;
    const attn *a = ctx;
    const int64_t blk = task % a->n_blocks, h0 = task / a->n_blocks % a->groups * a->heads;
    const int64_t b = task / (a->n_blocks * a->groups), area = a->heads * a->qb * a->M;
    const int64_t qo = (b * a->N + blk * a->qb) * a->D + h0 * a->h, ko = b * a->M * a->D + h0 * a->h;
    const int tail = blk == a->n_blocks - 1;
    float *s = a->s + tid * area;
    void *p = a->p_all ? at(a->p_all, act(a), ((b * a->K + h0) * a->N + blk * a->qb) * a->M)
                       : at(a->p, act(a), tid * area);
    hm_mm_run(a->qk[tail], tid, at(a->q->data, act(a), qo), at(a->k->data, act(a), ko), NULL, s);
    softmax_block(a, s, p, p_stride(a), b, h0, blk, false);
    hm_mm_run(a->pv[tail], tid, p, at(a->v->data, act(a), ko), NULL, at(a->y->data, act(a), qo));
}

/* dS of one row: written unscaled to dbias, scaled to ds. */
HM_CLONES static void ds_row(const void *p, void *ds, hm_dtype t, float *restrict dp, int64_t M, float scale,
                             float *dbias)
{
    float dot = 0;
    if (t == HM_BF16) {
        const uint16_t *restrict pr = p;
        uint16_t *restrict d = ds;
#pragma omp simd reduction(+ : dot)
        for (int64_t i = 0; i < M; i++) dot += hm_lane_get(pr[i]) * dp[i];
        if (!dbias) {
            const float off = dot * scale;
#pragma omp simd
            for (int64_t i = 0; i < M; i++) d[i] = hm_lane_put(hm_lane_get(pr[i]) * (dp[i] * scale - off));
            return;
        }
#pragma omp simd
        for (int64_t i = 0; i < M; i++) {
            const float v = hm_lane_get(pr[i]) * (dp[i] - dot);
            dbias[i] += v;
            d[i] = hm_lane_put(v * scale);
        }
        return;
    }
    const float *restrict pr = p;
    float *restrict d = ds;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < M; i++) dot += pr[i] * dp[i];
#pragma omp simd
    for (int64_t i = 0; i < M; i++) dp[i] = pr[i] * (dp[i] - dot);
    if (dbias)
#pragma omp simd
        for (int64_t i = 0; i < M; i++) dbias[i] += dp[i];
#pragma omp simd
    for (int64_t i = 0; i < M; i++) d[i] = dp[i] * scale;
}

static void ds_block(const attn *a, const void *p, void *ds, float *dp, int64_t h0, int64_t blk)
{
    const int64_t M = a->M, nq = block_rows(a, blk);
    for (int64_t i = 0; i < a->heads; i++)
        for (int64_t r = 0; r < nq; r++) {
            float *db = a->dbias.data
                            ? (float *)a->dbias.data + ((h0 + i) * a->N + blk * a->qb + r) * M : NULL;
            ds_row(at(p, act(a), i * p_stride(a) + r * M), at(ds, act(a), (i * a->qb + r) * M), act(a),
                   dp + (i * a->qb + r) * M, M, a->scale, db);
        }
}

HM_CLONES static void store_rows(hm_sink k, int64_t to, int64_t step, const float *s, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++) hm_store_sink(k, to + r * step, s + r * n, n);
}

/* All blocks of one (b, group of heads). */
static void bwd_group(const attn *a, int64_t b, int64_t h0, int tid)
{
    const int64_t area = a->heads * a->qb * a->M, ko = b * a->M * a->D + h0 * a->h, sums = a->heads * a->M * a->h;
    const hm_dtype t = act(a);
    float *s = a->s + tid * area;
    void *ds = at(a->ds, t, tid * area);
    const bool sum = a->n_blocks > 1;
    void *dk = sum ? (void *)(a->dk_sum + tid * sums) : at(a->dk.data, a->dk.dtype, ko);
    void *dv = sum ? (void *)(a->dv_sum + tid * sums) : at(a->dv.data, a->dv.dtype, ko);
    for (int64_t blk = 0; blk < a->n_blocks; blk++) {
        const int tail = blk == a->n_blocks - 1, later = blk > 0;
        const int64_t qo = (b * a->N + blk * a->qb) * a->D + h0 * a->h;
        const void *q = at(a->q->data, t, qo), *k = at(a->k->data, t, ko), *dy = at(a->dy->data, t, qo);
        void *p = a->p_all ? at(a->p_all, t, ((b * a->K + h0) * a->N + blk * a->qb) * a->M) : at(a->p, t, tid * area);
        if (!a->p_all) {
            hm_mm_run(a->qk[tail], tid, q, k, NULL, s);
            softmax_block(a, s, p, p_stride(a), b, h0, blk, true);
        }
        if (a->dv.data) hm_mm_run(a->dv_mm[tail][later], tid, p, dy, NULL, dv);
        if (!a->dq.data && !a->dk.data && !a->dbias.data) continue;
        hm_mm_run(a->dp[tail], tid, dy, at(a->v->data, t, ko), NULL, s);
        ds_block(a, p, ds, s, h0, blk);
        if (a->dq.data) hm_mm_run(a->dq_mm[tail], tid, ds, k, NULL, at(a->dq.data, a->dq.dtype, qo));
        if (a->dk.data) hm_mm_run(a->dk_mm[tail][later], tid, ds, q, NULL, dk);
    }
    for (int64_t i = 0; sum && i < a->heads; i++) {
        if (a->dk.data) store_rows(a->dk, ko + i * a->h, a->D, (float *)dk + i * a->M * a->h, a->M, a->h);
        if (a->dv.data) store_rows(a->dv, ko + i * a->h, a->D, (float *)dv + i * a->M * a->h, a->M, a->h);
    }
}

static void bwd_task(void *ctx, int64_t task, int64_t to, int tid)
{
    (void)to;
    const attn *a = ctx;
    if (a->dbias.data) {
        for (int64_t b = 0; b < a->B; b++) bwd_group(a, b, task * a->heads, tid);
        return;
    }
    bwd_group(a, task / a->groups, task % a->groups * a->heads, tid);
}

/* ---- the op ---- */

static void shape(attn *a, hm_graph *g, int64_t n_heads, bool by_head)
{
    a->g = g;
    a->B = a->q->dim[0], a->N = a->q->dim[1], a->M = a->k->dim[1], a->D = a->q->dim[2];
    a->K = n_heads, a->h = a->D / n_heads;
    a->heads = !by_head && a->B >= 2 * g->threads && a->K * a->N * a->M * 4 <= 2 * BLOCK_BYTES ? a->K : 1;
    a->groups = a->K / a->heads;
    int64_t qb = BLOCK_BYTES / (4 * HM_MAX(a->M, (int64_t)1) * a->heads);
    qb = HM_MAX(qb, (int64_t)16);
    a->n_blocks = (a->N + qb - 1) / qb;
    qb = ((a->N + a->n_blocks - 1) / a->n_blocks + 15) / 16 * 16; /* even blocks */
    a->qb = HM_MIN(qb, a->N);
    a->n_blocks = (a->N + a->qb - 1) / a->qb;
}

static void scratch(attn *a, bool backward)
{
    const uint64_t T = (uint64_t)a->g->threads, area = (uint64_t)(a->heads * a->qb * a->M);
    const uint64_t sums = (uint64_t)(a->heads * a->M * a->h);
    a->s = hm_alloc(a->g, T * area * sizeof(float));
    if (!a->p_all) a->p = hm_alloc(a->g, T * area * hm_dtype_size(act(a)));
    if (!backward) return;
    a->ds = hm_alloc(a->g, T * area * hm_dtype_size(act(a)));
    if (a->n_blocks == 1) return;
    a->dk_sum = hm_alloc(a->g, T * sums * sizeof(float));
    a->dv_sum = hm_alloc(a->g, T * sums * sizeof(float));
}

/* n->i: heads; n->p: kept P, lse, mask; n->f: scale */
static void attention_back(hm_graph *g, hm_node *n)
{
    hm_tensor *q = n->in[0], *k = n->in[1], *v = n->in[2], *bias = n->in[3];
    attn a = {.q = q, .k = k, .v = v, .p_all = n->p[0], .lse = n->p[1], .mask = n->p[2], .bias = n->p[3],
              .scale = n->f[0], .dy = n->y->grad};
    if (hm_wants(q)) a.dq = hm_grad(g, q);
    if (hm_wants(k)) a.dk = hm_grad(g, k);
    if (hm_wants(v)) a.dv = hm_grad(g, v);
    if (hm_wants(bias)) a.dbias = hm_grad_zeroed(g, bias);
    shape(&a, g, n->i[0], a.dbias.data != NULL);
    const int products = (a.dq.data || a.dk.data || a.dbias.data) + !!a.dq.data + !!a.dk.data + !!a.dv.data;
    g->flops += 2 * (uint64_t)products * (uint64_t)(a.B * a.N * a.M * a.D);
    const uint64_t mark = hm_scratch(g);
    scratch(&a, true);
    if (!g->opts.plan) {
        prepare_bwd(&a);
        hm_parallel_tasks(g, a.dbias.data ? a.groups : a.B * a.groups, bwd_task, &a);
    }
    hm_scratch_end(g, mark);
}

hm_tensor *hm_attention(hm_graph *g, hm_tensor *q, hm_tensor *k, hm_tensor *v, int n_heads, float scale,
                        const hm_tensor *key_mask, hm_tensor *bias)
{
    assert(q->nd == 3 && k->nd == 3 && v->nd == 3 && n_heads > 0 && q->dim[2] % n_heads == 0);
    assert(k->dim[0] == q->dim[0] && k->dim[2] == q->dim[2] && hm_numel(k) == hm_numel(v) && k->dim[1] > 0);
    const double t0 = hm_prof_now();
    k = hm_cast(g, k, q->dtype);
    v = hm_cast(g, v, q->dtype);
    if (bias) bias = hm_cast(g, bias, HM_F32);
    hm_tensor *y = hm_like(g, q, q->dtype);
    attn a = {.q = q, .k = k, .v = v, .y = y, .scale = scale, .bias = bias ? bias->data : NULL};
    shape(&a, g, n_heads, false);
    assert(!key_mask || (key_mask->dtype == HM_F32 && hm_numel(key_mask) == a.B * a.M));
    assert(!bias || hm_numel(bias) == a.K * a.N * a.M);
    a.mask = key_mask ? key_mask->data : NULL;
    hm_node *n = hm_record(g, HM_OP_ATTENTION, attention_back, y, HM_IN(q, k, v, bias));
    if (n) {
        const uint64_t rows = (uint64_t)(a.B * a.K * a.N), bytes = rows * (uint64_t)a.M * hm_dtype_size(q->dtype);
        if (bytes <= KEEP_BYTES) a.p_all = hm_alloc(g, bytes);
        else a.lse = hm_alloc(g, rows * sizeof(float));
        n->p[0] = a.p_all, n->p[1] = a.lse, n->p[2] = (void *)a.mask, n->p[3] = (void *)a.bias;
        n->i[0] = n_heads;
        n->f[0] = scale;
    }
    g->flops += 4 * (uint64_t)(a.B * a.N * a.M * a.D);
    const uint64_t mark = hm_scratch(g);
    scratch(&a, false);
    if (!g->opts.plan) {
        prepare_fwd(&a);
        hm_parallel_tasks(g, a.B * a.groups * a.n_blocks, fwd_task, &a);
    }
    hm_scratch_end(g, mark);
    g->prof[HM_OP_ATTENTION].fwd += hm_prof_now() - t0;
    return y;
}
