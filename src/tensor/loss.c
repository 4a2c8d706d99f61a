/* loss.c - weighted squared error and cross entropy; sums in double, by rows in a fixed order.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include "tensor/graph.h"

enum { CHUNK = 512 };
typedef struct {
    const void *p, *t;
    hm_dtype tp, tt;
    const float *tw, *cw;
    float l1, scale;
    int64_t D;
    hm_sink dp;
    double *row; /* [rows] */
} mse_job;

/* One row: its part of the loss, or (dp.data) its gradient. */
HM_CLONES static double mse_row(const mse_job *j, int64_t r)
{
    const float tw = j->tw ? j->tw[r] : 1, l1 = j->l1, scale = j->scale * tw;
    float p[CHUNK], t[CHUNK];
    double sum = 0;
    for (int64_t c = 0; c < j->D; c += CHUNK) {
        const int64_t n = HM_MIN((int64_t)CHUNK, j->D - c);
        const float *restrict cw = j->cw ? j->cw + c : NULL;
        hm_load(p, j->p, j->tp, r * j->D + c, n);
        hm_load(t, j->t, j->tt, r * j->D + c, n);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) p[i] -= t[i];
        if (j->dp.data) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                p[i] = scale * (2 * p[i] + l1 * (float)((p[i] > 0) - (p[i] < 0)));
        } else {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) p[i] = p[i] * p[i] + l1 * fabsf(p[i]);
        }
        if (cw)
#pragma omp simd
            for (int64_t i = 0; i < n; i++) p[i] *= cw[i];
        if (j->dp.data) {
            hm_store_sink(j->dp, r * j->D + c, p, n);
        } else {
            float part = 0;
#pragma omp simd reduction(+ : part)
            for (int64_t i = 0; i < n; i++) part += p[i];
            sum += part;
        }
    }
    return sum * tw;
}

static void mse_range(void *ctx, int64_t from, int64_t to, int tid)
{
    (void)tid;
    const mse_job *j = ctx;
    for (int64_t r = from; r < to; r++) {
        const double s = mse_row(j, r);
        if (!j->dp.data) j->row[r] = s;
    }
}

/* Float storage as it is, anything else widened (in the arena: backward reads it again). */
static const void *target_data(hm_graph *g, const hm_tensor *t, hm_dtype *dtype)
{
    *dtype = t->dtype == HM_BF16 ? HM_BF16 : HM_F32;
    return hm_as(g, t, *dtype);
}

static void mse_back(hm_graph *g, hm_node *n)
{
    hm_tensor *pred = n->in[0];
    const hm_tensor *dl = n->y->grad;
    mse_job j = {.p = pred->data, .tp = pred->dtype, .t = n->p[0], .tt = (hm_dtype)n->i[0], .tw = n->p[1], .cw = n->p[2],
                 .l1 = n->f[0], .D = hm_last(pred)};
    j.dp = hm_grad(g, pred);
    if (g->opts.plan) return;
    j.scale = *(const float *)dl->data / (float)hm_numel(pred);
    hm_parallel(g, hm_rows(pred), 1, j.D, mse_range, &j);
}

static double sum_rows(const double *row, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += row[i];
    return s;
}

hm_tensor *hm_loss_mse(hm_graph *g, hm_tensor *pred, const hm_tensor *target, const float *token_weight,
                       const float *channel_weight, float l1)
{
    assert(hm_numel(pred) == hm_numel(target));
    const int64_t D = hm_last(pred), rows = hm_rows(pred);
    hm_tensor *y = hm_new(g, HM_F32, HM_DIMS(1));
    mse_job j = {.p = pred->data, .tp = pred->dtype, .l1 = l1, .D = D};
    j.t = target_data(g, target, &j.tt);
    j.tw = hm_keep(g, token_weight, (uint64_t)rows * sizeof(float));
    j.cw = hm_keep(g, channel_weight, (uint64_t)D * sizeof(float));
    const uint64_t mark = hm_scratch(g);
    j.row = hm_alloc(g, (uint64_t)rows * sizeof(double));
    if (!g->opts.plan) {
        hm_parallel(g, rows, 1, D, mse_range, &j);
        *(float *)y->data = (float)(sum_rows(j.row, rows) / (double)HM_MAX(hm_numel(pred), (int64_t)1));
    }
    hm_scratch_end(g, mark);
    hm_node *n = hm_record(g, HM_OP_LOSS, mse_back, y, HM_IN(pred));
    if (n) {
        n->p[0] = (void *)j.t, n->p[1] = (void *)j.tw, n->p[2] = (void *)j.cw;
        n->i[0] = j.tt;
        n->f[0] = l1;
    }
    return y;
}

/* ---- cross entropy ---- */

typedef struct {
    const void *x;
    hm_dtype t;
    const int32_t *label;
    int64_t C;
    float scale; /* d loss / number of labels */
    hm_sink dx;
    double *row;
    float *tmp;  /* [threads][C] */
} xent_job;

HM_CLONES static void xent_row(const xent_job *j, int64_t r, float *restrict x)
{
    const int64_t C = j->C;
    const int32_t label = j->label[r];
    assert(label < C);
    hm_load(x, j->x, j->t, r * C, C);
    float top = x[0], sum = 0;
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < C; i++) top = x[i] > top ? x[i] : top;
    const float at = label < 0 ? 0 : x[label] - top;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < C; i++) {
        x[i] = hm_exp(x[i] - top);
        sum += x[i];
    }
    if (!j->dx.data) {
        j->row[r] = label < 0 ? 0 : log((double)sum) - (double)at;
        return;
    }
    const float f = label < 0 ? 0 : j->scale / sum;
#pragma omp simd
    for (int64_t i = 0; i < C; i++) x[i] *= f;
    if (label >= 0) x[label] -= j->scale;
    hm_store_sink(j->dx, r * C, x, C);
}

static void xent_range(void *ctx, int64_t from, int64_t to, int tid)
{
    const xent_job *j = ctx;
    for (int64_t r = from; r < to; r++) xent_row(j, r, j->tmp + tid * j->C);
}

static int64_t n_labels(const int32_t *label, int64_t n)
{
    int64_t k = 0;
    for (int64_t i = 0; i < n; i++) k += label[i] >= 0;
    return HM_MAX(k, (int64_t)1);
}

static void xent_back(hm_graph *g, hm_node *n)
{
    hm_tensor *x = n->in[0];
    const int64_t R = hm_rows(x);
    xent_job j = {.x = x->data, .t = x->dtype, .label = n->p[0], .C = hm_last(x), .dx = hm_grad(g, x)};
    const uint64_t mark = hm_scratch(g);
    j.tmp = hm_alloc(g, (uint64_t)(g->threads * j.C) * sizeof(float));
    if (!g->opts.plan) {
        j.scale = *(const float *)n->y->grad->data / (float)n_labels(j.label, R);
        hm_parallel(g, R, 1, 4 * j.C, xent_range, &j);
    }
    hm_scratch_end(g, mark);
}

hm_tensor *hm_loss_xent(hm_graph *g, hm_tensor *logits, const int32_t *labels)
{
    const int64_t R = hm_rows(logits);
    hm_tensor *y = hm_new(g, HM_F32, HM_DIMS(1));
    xent_job j = {.x = logits->data, .t = logits->dtype, .C = hm_last(logits)};
    j.label = hm_keep(g, labels, (uint64_t)R * sizeof *labels);
    const uint64_t mark = hm_scratch(g);
    j.row = hm_alloc(g, (uint64_t)R * sizeof(double));
    j.tmp = hm_alloc(g, (uint64_t)(g->threads * j.C) * sizeof(float));
    if (!g->opts.plan) {
        hm_parallel(g, R, 1, 4 * j.C, xent_range, &j);
        *(float *)y->data = (float)(sum_rows(j.row, R) / (double)n_labels(j.label, R));
    }
    hm_scratch_end(g, mark);
    hm_node *n = hm_record(g, HM_OP_LOSS, xent_back, y, HM_IN(logits));
    if (n) n->p[0] = (void *)j.label;
    return y;
}
