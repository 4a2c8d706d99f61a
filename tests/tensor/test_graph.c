/* test_graph.c - plan, arena, determinism, threads, who gets a gradient.   SPDX-License-Identifier: MIT
 * The model of these tests is one transformer block with everything in it, and a small refiner. */
#include "op_check.h"

enum { B = 3, N = 20, M = 7, D = 64, K = 2, F = 128, N_PARAMS = 12 };

typedef struct {
    hm_tensor t[N_PARAMS], grad[N_PARAMS];
} model;

static void model_init(model *m, hm_dtype t, bool plan)
{
    static const int64_t dims[N_PARAMS][4] = {{D, D}, {D, D}, {D, D}, {D, D}, {F, D}, {D, F}, {6, D}, {D}, {D}, {F},
                                              {32, 3, 3, 16}, {32}};
    for (int i = 0; i < N_PARAMS; i++) {
        hm_tensor *p = &m->t[i];
        *p = (hm_tensor){.dtype = t, .needs_grad = true, .grad = &m->grad[i]};
        while (p->nd < 4 && dims[i][p->nd]) p->dim[p->nd] = dims[i][p->nd], p->nd++;
        m->grad[i] = *p;
        m->grad[i].grad = NULL;
        m->grad[i].needs_grad = false;
        m->grad[i].dtype = HM_F32;
        if (plan) continue;
        const size_t n = (size_t)hm_numel(p);
        float *x = malloc(n * sizeof *x);
        hm_randn(x, n, 3, (uint64_t)i);
        for (size_t k = 0; k < n; k++) x[k] *= 0.2f;
        p->data = malloc(n * 4);
        m->grad[i].data = calloc(n, 4);
        hm_convert(p->data, t, x, HM_F32, n);
        free(x);
    }
}

static void model_free(model *m)
{
    for (int i = 0; i < N_PARAMS; i++) free(m->t[i].data), free(m->grad[i].data);
}

/* Forward, and backward with a tape; returns the loss (0 in a plan). */
static hm_tensor *run(hm_graph *g, model *m, int32_t *row)
{
    hm_tensor *w = m->t, *const x0 = hm_new(g, hm_act(g), HM_DIMS(B, N, D)), *ctx = hm_new(g, hm_act(g), HM_DIMS(B, M, D));
    hm_tensor *e = hm_new(g, HM_F32, HM_DIMS(B, 6 * D)), *c = hm_new(g, HM_F32, HM_DIMS(1, N, D / 2));
    hm_tensor *mask = hm_zeros(g, HM_F32, HM_DIMS(B, M)), *target = hm_new(g, HM_F32, HM_DIMS(B, N, D));
    hm_tensor *im = hm_new(g, hm_act(g), HM_DIMS(B, 6, 6, 16));
    if (!hm_is_plan(g)) {
        hm_tensor *all[] = {x0, ctx, e, c, target, im};
        for (size_t i = 0; i < HM_COUNT(all); i++) {
            const size_t n = (size_t)hm_numel(all[i]);
            float *r = malloc(n * sizeof *r);
            hm_randn(r, n, 8, i);
            hm_convert(all[i]->data, all[i]->dtype, r, HM_F32, n);
            free(r);
        }
        for (int i = 0; i < B * N; i++) row[i] = i / N;
    }
    e->needs_grad = true;
    hm_tensor *x = x0, *mod = hm_mod_table(g, e, &w[6]);
    hm_tensor *h = hm_norm_modulate(g, x, mod, row, 0, 1, false, 1e-6f);
    hm_tensor *q = hm_rope(g, hm_rmsnorm(g, hm_linear(g, h, &w[0], &w[7]), &w[8], 1e-6f), c, c), *k = hm_linear(g, h, &w[1], NULL);
    x = hm_add_gated(g, x, hm_attention(g, q, k, h, K, 0.2f, NULL, NULL), mod, row, 2);
    k = hm_linear(g, ctx, &w[2], NULL);
    x = hm_add_t(g, x, hm_linear(g, hm_attention(g, x, k, k, K, 0.2f, mask, NULL), &w[3], NULL));
    h = hm_norm_modulate(g, x, mod, row, 3, 4, true, 1e-6f);
    x = hm_add_gated(g, x, hm_linear(g, hm_linear_gelu(g, h, &w[4], &w[9]), &w[5], NULL), mod, row, 5);
    hm_tensor *cv = hm_conv(g, im, &w[10], &w[11], &(hm_conv_opts){.stride = {1, 1}, .pad = {1, 1}, .relu = true});
    hm_tensor *l2 = hm_loss_mse(g, hm_pixel_shuffle(g, cv, 2), hm_pixel_shuffle(g, hm_concat(g, im, im, 3), 2), NULL, NULL, 0.1f);
    hm_tensor *loss = hm_add_t(g, hm_loss_mse(g, x, target, NULL, NULL, 0), l2);
    if (loss->needs_grad) hm_backward(g, loss, 0.5f);
    return loss;
}

static void plan_is_peak(hm_dtype act, hm_dtype params, bool tape)
{
    int32_t row[B * N];
    model a, b;
    hm_graph *plan = graph_of(act, tape, true, 2), *real = graph_of(act, tape, false, 2);
    model_init(&a, params, true);
    model_init(&b, params, false);
    run(plan, &a, row);
    run(real, &b, row);
    CHECK(hm_peak(plan) == hm_peak(real) && hm_peak(real) > 0, "plan %llu, real %llu", (unsigned long long)hm_peak(plan),
          (unsigned long long)hm_peak(real));
    CHECK(hm_flops(plan) == hm_flops(real) && hm_flops(real) > 0, "flops of a plan");
    const uint64_t peak = hm_peak(real);
    hm_graph_reset(real);
    run(real, &b, row);
    CHECK(hm_peak(real) == peak, "a second step needs the same memory");
    model_free(&a), model_free(&b);
    hm_graph_free(plan), hm_graph_free(real);
}

static void same_bytes(hm_dtype act)
{
    int32_t row[B * N];
    model m[3];
    float loss[3];
    for (int i = 0; i < 3; i++) { /* two threads twice, one thread */
        hm_graph *g = graph_of(act, true, false, i < 2 ? 2 : 1);
        model_init(&m[i], act, false);
        loss[i] = *(float *)run(g, &m[i], row)->data;
        hm_graph_free(g);
    }
    CHECK(loss[0] == loss[1], "two runs: %g, %g", (double)loss[0], (double)loss[1]);
    CHECK_NEAR(loss[0], loss[2], fabs((double)loss[0]) * (act == HM_F32 ? 1e-6 : 1e-3), "threads: %g, %g", (double)loss[0], (double)loss[2]);
    for (int p = 0; p < N_PARAMS; p++) {
        const size_t n = (size_t)hm_numel(&m[0].t[p]);
        const float *a = m[0].grad[p].data, *b = m[1].grad[p].data, *c = m[2].grad[p].data;
        CHECK(!memcmp(a, b, n * sizeof(float)), "gradient %d: two runs", p);
        double diff = 0, size = 0;
        for (size_t i = 0; i < n; i++) diff += pow((double)a[i] - (double)c[i], 2), size += (double)a[i] * (double)a[i];
        CHECK(size > 0 && sqrt(diff / size) < (act == HM_F32 ? 1e-5 : 2e-2), "gradient %d: one thread differs by %g of %g", p,
              sqrt(diff), sqrt(size));
    }
    for (int i = 0; i < 3; i++) model_free(&m[i]);
}

/* bf16 gradients point where f32 gradients do. */
static void bf16_gradients(void)
{
    int32_t row[B * N];
    model m[2];
    for (int i = 0; i < 2; i++) {
        hm_graph *g = graph_of(i ? HM_BF16 : HM_F32, true, false, 2);
        model_init(&m[i], HM_BF16, false);
        run(g, &m[i], row);
        hm_graph_free(g);
    }
    for (int p = 0; p < N_PARAMS; p++) {
        double dot = 0, aa = 0, bb = 0;
        const float *a = m[0].grad[p].data, *b = m[1].grad[p].data;
        for (int64_t i = 0; i < hm_numel(&m[0].t[p]); i++)
            dot += (double)a[i] * (double)b[i], aa += (double)a[i] * (double)a[i], bb += (double)b[i] * (double)b[i];
        CHECK(dot / sqrt(aa * bb) > 0.995 && fabs(sqrt(bb / aa) - 1) < 0.05, "gradient %d: cosine %g, length %g", p,
              dot / sqrt(aa * bb), sqrt(bb / aa));
    }
    model_free(&m[0]), model_free(&m[1]);
}

static void accumulation(void)
{
    int32_t row[B * N];
    model m;
    model_init(&m, HM_F32, false);
    hm_graph *g = graph_of(HM_F32, true, false, 2);
    run(g, &m, row);
    const float once = ((float *)m.grad[5].data)[77];
    hm_graph_reset(g);
    run(g, &m, row);
    CHECK_NEAR(((float *)m.grad[5].data)[77], 2 * once, 1e-6, "gradients of parameters add up");
    CHECK(hm_flops(g) > 0, "flops");
    hm_graph_free(g);
    model_free(&m);
}

static void arena(void)
{
    hm_graph *g = graph_of(HM_BF16, false, false, 1);
    hm_tensor *a = hm_new(g, HM_F32, HM_DIMS(1000));
    const hm_mark m = hm_save(g);
    hm_tensor *b = hm_silu(g, a);
    void *at = b->data;
    const uint64_t peak = hm_peak(g);
    hm_restore(g, m);
    CHECK(hm_save(g) == m, "restored");
    CHECK(hm_silu(g, a)->data == at && hm_peak(g) == peak, "memory is used again");
    CHECK((uintptr_t)at % 64 == 0, "aligned");
    CHECK(!b->needs_grad, "no gradient without a tape");
    hm_graph_free(g);
    g = graph_of(HM_BF16, true, false, 1);
    const hm_mark m2 = hm_save(g);
    hm_new(g, HM_F32, HM_DIMS(1000));
    hm_restore(g, m2);
    CHECK(hm_save(g) > m2, "a tape keeps everything");
    hm_graph_free(g);
    himmel_error err = {0};
    CHECK(hm_graph_new(&g, &(hm_graph_opts){.act = HM_I32}, &err) == HIMMEL_EINVAL && !g && err.message[0], "bad dtype");
    CHECK(hm_graph_new(&g, &(hm_graph_opts){.arena_bytes = (uint64_t)1 << 62}, &err) == HIMMEL_ENOMEM && !g, "too much");
    hm_graph_free(NULL);
}

int main(void)
{
    for (int tape = 0; tape < 2; tape++) {
        plan_is_peak(HM_F32, HM_F32, tape);
        plan_is_peak(HM_BF16, HM_BF16, tape);
        plan_is_peak(HM_BF16, HM_F32, tape);
    }
    same_bytes(HM_F32);
    same_bytes(HM_BF16);
    bf16_gradients();
    accumulation();
    arena();
    return CHECK_END();
}
