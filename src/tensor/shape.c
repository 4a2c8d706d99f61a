/* shape.c - views, slices, concatenation, gathering, pixel shuffles.   SPDX-License-Identifier: MIT
 * All but the view copy; gradients go back by the inverse copy. */
#include "tensor/graph.h"

static void reshape_back(hm_graph *g, hm_node *n)
{
    hm_tensor *x = n->in[0], *dy = n->y->grad;
    if (hm_grad_steal(g, x, n->y)) return;
    const hm_sink k = hm_grad(g, x);
    if (!g->opts.plan) hm_copy(g, k.data, k.dtype, k.add, dy->data, dy->dtype, hm_numel(dy));
}

hm_tensor *hm_reshape(hm_graph *g, hm_tensor *x, int nd, const int64_t *dim)
{
    hm_tensor *y = hm_wrap(g, x->dtype, nd, dim, x->data);
    assert(hm_numel(x) == hm_numel(y));
    hm_record(g, HM_OP_SHAPE, reshape_back, y, HM_IN(x));
    return y;
}

/* Blocks of `len` elements, `rows` of them: dst block r at d0 + r*dstep, src block at s0 + r*sstep. */
typedef struct {
    void *d;
    const void *s;
    hm_dtype dd, sd;
    bool add;
    int64_t d0, dstep, s0, sstep, len, rows;
} block_job;

HM_CLONES static void block_one(const block_job *j, int64_t r)
{
    const int64_t d = j->d0 + r * j->dstep, s = j->s0 + r * j->sstep;
    if (j->dd == j->sd && !j->add) {
        const size_t z = hm_dtype_size(j->dd);
        memcpy((char *)j->d + (size_t)d * z, (const char *)j->s + (size_t)s * z, (size_t)j->len * z);
        return;
    }
    float buf[512];
    for (int64_t i = 0; i < j->len; i += 512) {
        const int64_t n = HM_MIN((int64_t)512, j->len - i);
        hm_load(buf, j->s, j->sd, s + i, n);
        hm_store_sink((hm_sink){j->d, j->dd, j->add}, d + i, buf, n);
    }
}

static void block_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    for (int64_t r = from; r < to; r++) block_one(ctx, r);
}

static void blocks(hm_graph *g, const block_job *j)
{
    if (!g->opts.plan) hm_parallel(g, j->rows, 1, j->len, block_range, (void *)j);
}

/* Elements before, along and after an axis. */
static void split(const hm_tensor *x, int axis, int64_t *outer, int64_t *inner)
{
    assert(axis >= 0 && axis < x->nd);
    *outer = *inner = 1;
    for (int i = 0; i < axis; i++) *outer *= x->dim[i];
    for (int i = axis + 1; i < x->nd; i++) *inner *= x->dim[i];
}

static void slice_back(hm_graph *g, hm_node *n)
{
    hm_tensor *x = n->in[0], *dy = n->y->grad;
    const int axis = (int)n->i[0];
    int64_t outer, inner;
    split(x, axis, &outer, &inner);
    const hm_sink k = hm_grad_zeroed(g, x);
    const int64_t len = dy->dim[axis] * inner;
    blocks(g, &(block_job){k.data, dy->data, k.dtype, dy->dtype, true, n->i[1] * inner, x->dim[axis] * inner, 0, len,
                           len, outer});
}

hm_tensor *hm_slice(hm_graph *g, hm_tensor *x, int axis, int64_t from, int64_t n)
{
    int64_t outer, inner, dim[HM_MAX_DIM];
    split(x, axis, &outer, &inner);
    assert(from >= 0 && n >= 0 && from + n <= x->dim[axis]);
    memcpy(dim, x->dim, sizeof dim);
    dim[axis] = n;
    hm_tensor *y = hm_new(g, x->dtype, x->nd, dim);
    blocks(g, &(block_job){y->data, x->data, y->dtype, x->dtype, false, 0, n * inner, from * inner,
                           x->dim[axis] * inner, n * inner, outer});
    hm_node *nd = hm_record(g, HM_OP_SHAPE, slice_back, y, HM_IN(x));
    if (nd) nd->i[0] = axis, nd->i[1] = from;
    return y;
}

static void concat_back(hm_graph *g, hm_node *n)
{
    const int axis = (int)n->i[0];
    const hm_tensor *dy = n->y->grad;
    int64_t outer, inner, from = 0;
    split(dy, axis, &outer, &inner);
    for (int i = 0; i < 2; i++) {
        hm_tensor *x = n->in[i];
        const int64_t len = x->dim[axis] * inner;
        if (hm_wants(x)) {
            const hm_sink k = hm_grad(g, x);
            blocks(g, &(block_job){k.data, dy->data, k.dtype, dy->dtype, k.add, 0, len, from, dy->dim[axis] * inner,
                                   len, outer});
        }
        from += len;
    }
}

hm_tensor *hm_concat(hm_graph *g, hm_tensor *a, hm_tensor *b, int axis)
{
    assert(a->nd == b->nd);
    int64_t outer, inner, dim[HM_MAX_DIM];
    split(a, axis, &outer, &inner);
    b = hm_cast(g, b, a->dtype);
    memcpy(dim, a->dim, sizeof dim);
    dim[axis] += b->dim[axis];
    hm_tensor *y = hm_new(g, a->dtype, a->nd, dim);
    int64_t at = 0;
    for (int i = 0; i < 2; i++) {
        const hm_tensor *x = i ? b : a;
        const int64_t len = x->dim[axis] * inner;
        blocks(g, &(block_job){y->data, x->data, y->dtype, x->dtype, false, at, dim[axis] * inner, 0, len, len, outer});
        at += len;
    }
    hm_node *nd = hm_record(g, HM_OP_SHAPE, concat_back, y, HM_IN(a, b));
    if (nd) nd->i[0] = axis;
    return y;
}

/* ---- gather ---- */

typedef struct {
    hm_sink to;
    const void *s;
    hm_dtype sd;
    const int32_t *rows;
    int64_t n, D, R;
} gather_job;

static void gather_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    const gather_job *j = ctx;
    for (int64_t i = from; i < to; i++) {
        assert(j->rows[i] >= 0 && j->rows[i] < j->R);
        hm_convert((char *)j->to.data + (size_t)(i * j->D) * hm_dtype_size(j->to.dtype), j->to.dtype,
                   (const char *)j->s + hm_dtype_bytes(j->sd, (uint64_t)(j->rows[i] * j->D)), j->sd, (size_t)j->D);
    }
}

/* Columns [from, to) of every row in order, so that equal rows add up the same way at any thread count. */
HM_CLONES static void scatter_cols(const gather_job *j, int64_t from, int64_t to)
{
    float buf[512];
    for (int64_t i = 0; i < j->n; i++)
        for (int64_t c = from; c < to; c += 512) {
            const int64_t n = HM_MIN((int64_t)512, to - c);
            hm_load(buf, j->s, j->sd, i * j->D + c, n);
            hm_store_sink(j->to, j->rows[i] * j->D + c, buf, n);
        }
}

static void scatter_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    scatter_cols(ctx, from, to);
}

static void gather_back(hm_graph *g, hm_node *n)
{
    const hm_tensor *dy = n->y->grad;
    gather_job j = {hm_grad_zeroed(g, n->in[0]), dy->data, dy->dtype, n->p[0], dy->dim[0], dy->dim[1], 0};
    if (!g->opts.plan) hm_parallel(g, j.D, 32, j.n, scatter_range, &j);
}

hm_tensor *hm_gather_rows(hm_graph *g, hm_tensor *x, const int32_t *rows, int64_t n)
{
    assert(x->nd == 2);
    const hm_dtype t = x->dtype == HM_F32 || x->dtype == HM_BF16 ? x->dtype : g->opts.act;
    hm_tensor *y = hm_new(g, t, HM_DIMS(n, x->dim[1]));
    gather_job j = {{y->data, t, false}, x->data, x->dtype, rows, n, x->dim[1], x->dim[0]};
    if (!g->opts.plan) hm_parallel(g, n, 1, j.D, gather_range, &j);
    hm_node *nd = hm_record(g, HM_OP_SHAPE, gather_back, y, HM_IN(x));
    const uint64_t bytes = (uint64_t)n * sizeof *rows; /* a plan may have no rows yet */
    if (nd) nd->p[0] = rows ? hm_keep(g, rows, bytes) : hm_alloc(g, bytes);
    return y;
}

/* ---- pixel shuffle ---- */

/* One row of big pixels at a time: small [B,H,W,C*r*r] <-> big [B,H*r,W*r,C]. */
typedef struct {
    hm_sink to;
    const void *s;
    hm_dtype sd;
    int64_t H, W, C, r;
    bool to_big;
} shuffle_job;

HM_CLONES static void shuffle_row(const shuffle_job *j, int64_t row) /* row = b*H + y */
{
    const int64_t rr = j->r * j->r, C = j->C;
    for (int64_t x = 0; x < j->W; x++)
        for (int64_t dy = 0; dy < j->r; dy++)
            for (int64_t dx = 0; dx < j->r; dx++) {
                const int64_t big = ((row * j->r + dy) * j->W * j->r + x * j->r + dx) * C;
                const int64_t small = (row * j->W + x) * C * rr + dy * j->r + dx;
                for (int64_t c = 0; c < C; c++) {
                    const int64_t at = j->to_big ? big + c : small + c * rr;
                    const int64_t sat = j->to_big ? small + c * rr : big + c;
                    float v;
                    v = j->sd == HM_BF16 ? hm_lane_get(((const uint16_t *)j->s)[sat]) : ((const float *)j->s)[sat];
                    if (j->to.dtype == HM_BF16) {
                        uint16_t *p = (uint16_t *)j->to.data + at;
                        *p = hm_lane_put(j->to.add ? hm_lane_get(*p) + v : v);
                    } else {
                        float *p = (float *)j->to.data + at;
                        *p = j->to.add ? *p + v : v;
                    }
                }
            }
}

static void shuffle_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    for (int64_t r = from; r < to; r++) shuffle_row(ctx, r);
}

static void shuffle_back(hm_graph *g, hm_node *n)
{
    const hm_tensor *dy = n->y->grad;
    const bool forward_to_big = n->i[1] != 0;
    const hm_tensor *small = forward_to_big ? n->in[0] : n->y;
    const int64_t r = n->i[0];
    shuffle_job j = {hm_grad(g, n->in[0]), dy->data, dy->dtype, small->dim[1], small->dim[2], small->dim[3] / (r * r), r,
                     !forward_to_big};
    if (!g->opts.plan) hm_parallel(g, small->dim[0] * j.H, 1, j.W * small->dim[3], shuffle_range, &j);
}

static hm_tensor *shuffle(hm_graph *g, hm_tensor *x, int r, bool to_big)
{
    assert(x->nd == 4 && r > 0);
    const int64_t rr = (int64_t)r * r, *d = x->dim;
    assert(to_big ? d[3] % rr == 0 : d[1] % r == 0 && d[2] % r == 0);
    hm_tensor *y = to_big ? hm_new(g, x->dtype, HM_DIMS(d[0], d[1] * r, d[2] * r, d[3] / rr))
                          : hm_new(g, x->dtype, HM_DIMS(d[0], d[1] / r, d[2] / r, d[3] * rr));
    const hm_tensor *small = to_big ? x : y;
    shuffle_job j = {{y->data, y->dtype, false}, x->data, x->dtype, small->dim[1], small->dim[2],
                     small->dim[3] / rr, r, to_big};
    if (!g->opts.plan) hm_parallel(g, small->dim[0] * j.H, 1, j.W * small->dim[3], shuffle_range, &j);
    hm_node *n = hm_record(g, HM_OP_SHAPE, shuffle_back, y, HM_IN(x));
    if (n) n->i[0] = r, n->i[1] = to_big;
    return y;
}

hm_tensor *hm_pixel_shuffle(hm_graph *g, hm_tensor *x, int r) { return shuffle(g, x, r, true); }
hm_tensor *hm_pixel_unshuffle(hm_graph *g, hm_tensor *x, int r) { return shuffle(g, x, r, false); }
