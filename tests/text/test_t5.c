/* test_t5.c - the text encoder: configuration, padding, gradients.   SPDX-License-Identifier: MIT
 * (Values are checked by himmel-parity.) */
#include "text/t5.h"
#include "grad.h"

enum { B = 2, N = 6, VOCAB = 11, D = 12 };
static const hm_t5_config tiny = {.vocab = VOCAB,
                                  .d_model = D,
                                  .n_layers = 2,
                                  .n_heads = 2,
                                  .d_kv = 5,
                                  .d_ff = 9,
                                  .n_buckets = 8,
                                  .max_distance = 16,
                                  .eps = 1e-6f};
static const int32_t ids[B * N] = {3, 7, 2, 9, 1, 0, 5, 5, 1, 0, 0, 0};
static const int32_t mask[B * N] = {1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0};

typedef struct {
    hm_t5 m;
    grad_store params;
    hm_graph *eval;
    float target[B * N * D], weight[B * N];
} fixture;

static double loss(void *user)
{
    fixture *f = user;
    hm_graph_reset(f->eval);
    const hm_tensor *h = hm_t5_forward(f->eval, &f->m, ids, mask, B, N);
    double sum = 0;
    for (int i = 0; i < B * N * D; i++) {
        const double d = (double)((const float *)h->data)[i] - f->target[i];
        sum += f->weight[i / D] * d * d;
    }
    return sum / (B * N * D);
}

static void test_gradients(bool bias_every_layer)
{
    static fixture f;
    himmel_error err = {0};
    hm_t5_config cfg = tiny;
    cfg.bias_every_layer = bias_every_layer;
    f = (fixture){.params.rng = hm_rng_at(3, 0)};
    CHECK(!hm_t5_init(&f.m, &cfg, &err) && !hm_t5_params(&f.m, "text.", grad_bind, &f.params, &err), "%s",
          err.message);
    CHECK(!f.m.layers[1].bias == !bias_every_layer && f.m.layers[0].bias, "position tables");
    CHECK(!strcmp(f.params.p[0].name, "text.shared.weight"), "%s", f.params.p[0].name);
    hm_randn(f.target, B * N * D, 4, 0);
    for (int i = 0; i < B * N; i++) f.weight[i] = (float)mask[i];
    hm_graph *g = NULL;
    CHECK(!hm_graph_new(&f.eval, &(hm_graph_opts){.act = HM_F32, .n_threads = 1}, &err), "%s", err.message);
    CHECK(!hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32, .tape = true}, &err), "%s", err.message);
    const hm_tensor *target = hm_wrap(g, HM_F32, HM_DIMS(B, N, D), f.target);
    hm_tensor *l = hm_loss_mse(g, hm_t5_forward(g, &f.m, ids, mask, B, N), target, f.weight, NULL, 0);
    CHECK_NEAR(*(float *)l->data, loss(&f), 1e-5, "loss %g", (double)*(float *)l->data);
    hm_backward(g, l, 1.0f);
    grad_check(&f.params, loss, &f, 4e-3);
    hm_graph_free(g);
    float **old = grad_to_bf16(&f.params);
    CHECK(!hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .tape = true}, &err), "%s", err.message);
    target = hm_wrap(g, HM_F32, HM_DIMS(B, N, D), f.target);
    hm_backward(g, hm_loss_mse(g, hm_t5_forward(g, &f.m, ids, mask, B, N), target, f.weight, NULL, 0), 1.0f);
    grad_same_way(&f.params, old, 0.98);
    hm_graph_free(g);
    hm_graph_free(f.eval);
    hm_t5_deinit(&f.m);
    grad_free(&f.params);
}

/* More padding behind, or other tokens in the padding, must not change the words. */
static void test_padding(void)
{
    enum { LONG = 70 };
    static grad_store params;
    hm_t5 m;
    himmel_error err = {0};
    hm_graph *g;
    params.rng = hm_rng_at(8, 0);
    CHECK(!hm_t5_init(&m, &tiny, &err) && !hm_t5_params(&m, "", grad_bind, &params, &err), "%s", err.message);
    CHECK(!hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32}, &err), "%s", err.message);
    int32_t more[LONG], more_mask[LONG];
    for (int i = 0; i < LONG; i++) more[i] = i < N ? ids[i] : 8, more_mask[i] = i < N ? mask[i] : 0;
    const float *a = hm_t5_forward(g, &m, ids, mask, B, N)->data,
                *b = hm_t5_forward(g, &m, more, more_mask, 1, LONG)->data;
    for (int i = 0; i < 5 * D; i++)
        CHECK_NEAR(a[i], b[i], 1e-5, "value %d: %g, %g", i, (double)a[i], (double)b[i]);
    memset(more_mask, 0, sizeof more_mask); /* no token at all: finite, not NaN */
    const float *c = hm_t5_forward(g, &m, more, more_mask, 1, LONG)->data;
    int finite = 0;
    for (int i = 0; i < LONG * D; i++) finite += isfinite(c[i]);
    CHECK(finite == LONG * D, "%d", finite);
    hm_graph_free(g);
    hm_t5_deinit(&m);
    grad_free(&params);
}

static void test_config(void)
{
    himmel_error err = {0};
    hm_t5 m;
    hm_t5_config c = tiny;
    c.n_layers = 0;
    CHECK(hm_t5_init(&m, &c, &err) == HIMMEL_EINVAL, "no layers");
    c = tiny;
    c.n_buckets = 6;
    CHECK(hm_t5_init(&m, &c, &err) == HIMMEL_EINVAL && strstr(err.message, "buckets"), "%s", err.message);
    c = tiny;
    c.max_distance = 2;
    CHECK(hm_t5_init(&m, &c, &err) == HIMMEL_EINVAL, "distance");
    const hm_t5_config xxl = {.n_buckets = 32, .max_distance = 128};
    CHECK(hm_t5_bucket(&xxl, 0) == 0 && hm_t5_bucket(&xxl, -7) == 7 && hm_t5_bucket(&xxl, 7) == 23, "exact");
    CHECK(hm_t5_bucket(&xxl, -8) == 8 && hm_t5_bucket(&xxl, -127) == 15 && hm_t5_bucket(&xxl, 1000000) == 31,
          "far");
    hm_st *st;
    CHECK(!hm_st_open(&st, FIXTURES "/ltx_t5.safetensors", &err), "%s", err.message);
    if (!st) return;
    CHECK(hm_t5_load(&m, &tiny, st, "", &err) == HIMMEL_EMODEL && strstr(err.message, "shared.weight") &&
              !m.layers,
          "%s", err.message);
    hm_st_close(st);
}

int main(void)
{
    test_config();
    test_padding();
    test_gradients(false);
    test_gradients(true);
    return CHECK_END();
}
