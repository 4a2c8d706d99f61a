/* attention.c - softmax(scale q k^T + bias + mask) v, forward and backward; attention_long.c for very many keys.
 * SPDX-License-Identifier: MIT
 *   task = one batch element and a group of heads (forward: and a block of queries), on one thread:
 *   heads copied side by side -> S = Q K^T [heads,nq,M] f32 -> rows of softmax -> P in activation dtype -> O = P V
 * so everything between the two matmuls stays in a core's cache. The copies (h columns of every row) are what lets
 * oneDNN take its brgemm kernels, which want packed matrices: 15 % faster than strided views with N = 576.
 * With a tape P is kept where it is small; else backward forms it again from the row's log-sum-exp.
 * Backward, a block of queries at a time: dP = dO V^T, dS = P (dP - rowsum(P dP)), dQ = scale dS K, dK += scale dS^T Q,
 * dV += P^T dO. dbias sums over the batch: then a task is a group of heads and walks the batch in order. */
#include <math.h>
#include "tensor/attention_long.h"
#include "tensor/dnnl.h"

enum { BLOCK_BYTES = 448 << 10, KEEP_BYTES = 64 << 20 };

/* A thread's scratch; h, M, nq as below, each [heads][...]. */
typedef struct {
    float *s;                /* [nq][M] scores, backward dP */
    void *p, *ds;            /* [nq][M] probabilities unless kept; dS */
    void *q, *k, *v, *dy;    /* packed operands, activation dtype: [nq][h], [M][h] */
    float *o, *dk, *dv;      /* [nq][h] output or dQ; [M][h] sums over the blocks */
} lane_mem;

typedef struct {
    hm_graph *g;
    const hm_tensor *q, *k, *v, *y, *dy; /* y: output; dy: its gradient */
    const float *mask, *bias;            /* [B,M], [K,N,M] or NULL */
    int64_t B, N, M, K, h, D;
    int64_t heads, qb, n_blocks, groups; /* heads a task, queries a block, blocks, groups of heads */
    float scale;
    void *p_all;                         /* [B,K,N,M] kept probabilities, or NULL */
    float *lse;                          /* [B,K,N], or NULL */
    lane_mem *lane;
    hm_sink dq, dk, dv, dbias;
    hm_prim *qk[2], *pv[2], *dp[2], *dq_mm[2], *dkv_mm[2][2]; /* [tail block][later block] */
} attn;

static char *at(const void *p, hm_dtype t, int64_t i) { return (char *)p + (ptrdiff_t)i * (ptrdiff_t)hm_dtype_size(t); }
static hm_dtype act(const attn *a) { return a->q->dtype; }
static int64_t block_rows(const attn *a, int64_t blk) { return HM_MIN(a->qb, a->N - blk * a->qb); }

/* Where P of heads h0.. and block blk lies: kept (several heads only where there is one block, so packed), or scratch. */
static void *p_of(const attn *a, const lane_mem *l, int64_t b, int64_t h0, int64_t blk)
{
    return a->p_all ? at(a->p_all, act(a), ((b * a->K + h0) * a->N + blk * a->qb) * a->M) : l->p;
}

/* Columns of `heads` heads from `rows` rows of D: [rows][heads * h] -> [heads][rows][h]. */
HM_CLONES static void pack(const attn *a, void *to, const hm_tensor *x, int64_t row, int64_t h0, int64_t rows)
{
    const int64_t n = a->h * (int64_t)hm_dtype_size(act(a)) / 2; /* in 16-bit units */
    for (int64_t i = 0; i < a->heads; i++)
        for (int64_t r = 0; r < rows; r++) {
            uint16_t *restrict d = (uint16_t *)to + (i * rows + r) * n;
            const uint16_t *restrict s = (const uint16_t *)x->data + (row + r) * n * a->K + (h0 + i) * n;
#pragma omp simd
            for (int64_t c = 0; c < n; c++) d[c] = s[c];
        }
}

/* And back, from f32. */
HM_CLONES static void unpack(const attn *a, hm_sink k, const float *from, int64_t row, int64_t h0, int64_t rows)
{
    for (int64_t i = 0; i < a->heads; i++)
        for (int64_t r = 0; r < rows; r++)
            hm_store_sink(k, (row + r) * a->D + (h0 + i) * a->h, from + (i * rows + r) * a->h, a->h);
}

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

/* Scores of (b, heads h0.., block blk) to probabilities. */
static void softmax_block(const attn *a, float *s, void *p, int64_t b, int64_t h0, int64_t blk, bool again)
{
    const int64_t M = a->M, nq = block_rows(a, blk), q0 = blk * a->qb;
    for (int64_t i = 0; i < a->heads; i++)
        for (int64_t r = 0; r < nq; r++) {
            const int64_t head = h0 + i, lse = (b * a->K + head) * a->N + q0 + r, row_at = (i * nq + r) * M;
            soft_row row = {.s = s + row_at, .mask = a->mask ? a->mask + b * M : NULL,
                            .bias = a->bias ? a->bias + (head * a->N + q0 + r) * M : NULL,
                            .p = at(p, act(a), row_at), .t = act(a), .M = M, .scale = a->scale,
                            .lse = again ? a->lse[lse] : 0};
            soft_scores(&row);
            const float l = soft_probs(&row, again);
            if (a->lse && !again) a->lse[lse] = l;
        }
}

/* ---- primitives ---- */

/* C[m,n] f32 = A B of packed [heads][..][..] operands; ta, tb: stored transposed. */
static hm_prim *mm(const attn *a, int64_t m, int64_t n, int64_t k, bool ta, bool tb, bool add)
{
    hm_mm d;
    memset(&d, 0, sizeof d);
    d.batch = a->heads;
    d.m = m, d.n = n, d.k = k;
    d.a[0] = m * k, d.a[1] = ta ? 1 : k, d.a[2] = ta ? m : 1;
    d.b[0] = k * n, d.b[1] = tb ? 1 : n, d.b[2] = tb ? k : 1;
    d.c[0] = m * n, d.c[1] = n, d.c[2] = 1;
    d.ta = d.tb = act(a);
    d.tc = d.tbias = HM_F32;
    d.alpha = 1;
    d.beta = add;
    d.serial = 1;
    return hm_mm_get(a->g->dnnl, &d);
}

static void prepare(attn *a, bool backward)
{
    const int64_t h = a->h, M = a->M;
    for (int tail = 0; tail < 2; tail++) {
        const int64_t nq = block_rows(a, tail ? a->n_blocks - 1 : 0);
        a->qk[tail] = a->dp[tail] = mm(a, nq, M, h, false, true, false); /* Q K^T, dO V^T */
        a->pv[tail] = a->dq_mm[tail] = mm(a, nq, h, M, false, false, false);
        for (int later = 0; later < 2 && backward; later++) a->dkv_mm[tail][later] = mm(a, M, h, nq, true, false, later);
    }
}

/* ---- tasks ---- */

static void fwd_task(void *ctx, int64_t task, int64_t to, int tid)
{
    (void)to;
    const attn *a = ctx;
    const lane_mem *l = &a->lane[tid];
    const int64_t blk = task % a->n_blocks, h0 = task / a->n_blocks % a->groups * a->heads;
    const int64_t b = task / (a->n_blocks * a->groups), row = b * a->N + blk * a->qb, nq = block_rows(a, blk);
    const int tail = blk == a->n_blocks - 1;
    void *p = p_of(a, l, b, h0, blk);
    pack(a, l->q, a->q, row, h0, nq);
    pack(a, l->k, a->k, b * a->M, h0, a->M);
    pack(a, l->v, a->v, b * a->M, h0, a->M);
    hm_mm_run(a->qk[tail], tid, l->q, l->k, NULL, l->s);
    softmax_block(a, l->s, p, b, h0, blk, false);
    hm_mm_run(a->pv[tail], tid, p, l->v, NULL, l->o);
    unpack(a, (hm_sink){a->y->data, a->y->dtype, false}, l->o, row, h0, nq);
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
            float *db = a->dbias.data ? (float *)a->dbias.data + ((h0 + i) * a->N + blk * a->qb + r) * M : NULL;
            const int64_t row = (i * nq + r) * M;
            ds_row(at(p, act(a), row), at(ds, act(a), row), act(a), dp + row, M, a->scale, db);
        }
}

/* All blocks of one (b, group of heads). */
static void bwd_group(const attn *a, int64_t b, int64_t h0, int tid)
{
    const lane_mem *l = &a->lane[tid];
    const bool scores = a->dq.data || a->dk.data || a->dbias.data;
    pack(a, l->k, a->k, b * a->M, h0, a->M);
    pack(a, l->v, a->v, b * a->M, h0, a->M);
    for (int64_t blk = 0; blk < a->n_blocks; blk++) {
        const int tail = blk == a->n_blocks - 1, later = blk > 0;
        const int64_t row = b * a->N + blk * a->qb, nq = block_rows(a, blk);
        void *p = p_of(a, l, b, h0, blk);
        pack(a, l->q, a->q, row, h0, nq);
        pack(a, l->dy, a->dy, row, h0, nq);
        if (!a->p_all) {
            hm_mm_run(a->qk[tail], tid, l->q, l->k, NULL, l->s);
            softmax_block(a, l->s, p, b, h0, blk, true);
        }
        if (a->dv.data) hm_mm_run(a->dkv_mm[tail][later], tid, p, l->dy, NULL, l->dv);
        if (!scores) continue;
        hm_mm_run(a->dp[tail], tid, l->dy, l->v, NULL, l->s);
        ds_block(a, p, l->ds, l->s, h0, blk);
        if (a->dq.data) {
            hm_mm_run(a->dq_mm[tail], tid, l->ds, l->k, NULL, l->o);
            unpack(a, a->dq, l->o, row, h0, nq);
        }
        if (a->dk.data) hm_mm_run(a->dkv_mm[tail][later], tid, l->ds, l->q, NULL, l->dk);
    }
    if (a->dk.data) unpack(a, a->dk, l->dk, b * a->M, h0, a->M);
    if (a->dv.data) unpack(a, a->dv, l->dv, b * a->M, h0, a->M);
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
    a->heads = !by_head && a->B >= 2 * g->threads && a->K * a->N * a->M * 4 <= BLOCK_BYTES ? a->K : 1;
    a->groups = a->K / a->heads;
    int64_t qb = BLOCK_BYTES / (4 * HM_MAX(a->M, (int64_t)1));
    qb = HM_MAX(qb, (int64_t)16);
    a->n_blocks = a->heads > 1 ? 1 : (a->N + qb - 1) / qb;
    qb = ((a->N + a->n_blocks - 1) / a->n_blocks + 15) / 16 * 16; /* even blocks */
    a->qb = HM_MIN(qb, a->N);
    a->n_blocks = (a->N + a->qb - 1) / a->qb;
}

static void scratch(attn *a, bool backward)
{
    hm_graph *g = a->g;
    const uint64_t z = hm_dtype_size(act(a)), heads = (uint64_t)a->heads, nq = (uint64_t)a->qb, M = (uint64_t)a->M;
    const uint64_t h = (uint64_t)a->h, area = heads * nq * M;
    a->lane = hm_alloc(g, (uint64_t)g->threads * sizeof *a->lane);
    for (int i = 0; i < g->threads; i++) {
        lane_mem l = {.s = hm_alloc(g, area * sizeof(float)), .q = hm_alloc(g, heads * nq * h * z),
                      .k = hm_alloc(g, heads * M * h * z), .v = hm_alloc(g, heads * M * h * z),
                      .o = hm_alloc(g, heads * nq * h * sizeof(float))};
        if (!a->p_all) l.p = hm_alloc(g, area * z);
        if (backward) {
            l.ds = hm_alloc(g, area * z);
            l.dy = hm_alloc(g, heads * nq * h * z);
            l.dk = hm_alloc(g, heads * M * h * sizeof(float));
            l.dv = hm_alloc(g, heads * M * h * sizeof(float));
        }
        if (!g->opts.plan) a->lane[i] = l;
    }
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
        prepare(&a, true);
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
    if (!n && a.M >= HM_LONG_KEYS && a.N >= 64 && !a.mask && !bias) {
        hm_attention_long(g, q, k, v, y, n_heads, scale);
    } else {
        const uint64_t mark = hm_scratch(g);
        scratch(&a, false);
        if (!g->opts.plan) {
            prepare(&a, false);
            hm_parallel_tasks(g, a.B * a.groups * a.n_blocks, fwd_task, &a);
        }
        hm_scratch_end(g, mark);
    }
    g->prof[HM_OP_ATTENTION].fwd += hm_prof_now() - t0;
    return y;
}
