/* test_dit_grad.c - gradients of a tiny transformer against finite differences; planned against real memory.
 * SPDX-License-Identifier: MIT
 * Two layers, two samples with two noise levels each (known tokens at 0), padded text: what training uses. */
#include "models/ltx/dit.h"
#include "grad.h"

enum { B = 2, N = 7, M = 5, C = 6, CAPTION = 10, HEADS = 2, HEAD = 14, D = HEADS * HEAD, PLACE = 3 };

typedef struct {
    hm_dit m;
    grad_store params;
    grad_param *text, *x; /* inputs that want gradients too: the text encoder's output; the tokens */
    float cosine[B * N * D / 2], sine[B * N * D / 2], target[B * N * C], weight[B * N], mask[B * M];
    float place[N * PLACE];
    float levels[2 * B];
    int32_t row[B * N];
    hm_graph *eval;
} fixture;

static hm_tensor *forward(fixture *f, hm_graph *g)
{
    const hm_tensor *rope[2] = {hm_wrap(g, HM_F32, HM_DIMS(B, N, D / 2), f->cosine),
                                hm_wrap(g, HM_F32, HM_DIMS(B, N, D / 2), f->sine)};
    return hm_dit_forward(g, &f->m,
                          &(hm_dit_input){.x = &f->x->t,
                                          .levels = f->levels,
                                          .n_levels = 2 * B,
                                          .row = f->row,
                                          .cosine = rope[0],
                                          .sine = rope[1],
                                          .place = f->place,
                                          .grid = {5, 1, 1}, /* and two frames that stand alone */
                                          .text = &f->text->t,
                                          .text_mask = hm_wrap(g, HM_F32, HM_DIMS(B, M), f->mask)});
}

/* The same loss in double, so that differences of it are not rounding. */
static double loss(void *user)
{
    fixture *f = user;
    hm_graph_reset(f->eval);
    const hm_tensor *y = forward(f, f->eval);
    double sum = 0;
    for (int i = 0; i < B * N * C; i++) {
        const double d = (double)((const float *)y->data)[i] - f->target[i];
        sum += f->weight[i / C] * d * d;
    }
    return sum / (B * N * C);
}

static void setup(fixture *f)
{
    himmel_error err = {0};
    const hm_dit_config cfg = {.in_channels = C,
                               .out_channels = C,
                               .n_layers = 2,
                               .n_heads = HEADS,
                               .head_dim = HEAD,
                               .caption_channels = CAPTION,
                               .rope_theta = 100,
                               .max_pos = {4, 64, 64},
                               .norm_eps = 1e-6f,
                               .place_features = PLACE,
                               .local_mixing = true,
                               .caption_modulation = true};
    *f = (fixture){.levels = {0, 0.3f, 0, 0.8f}};
    f->params.rng = hm_rng_at(5, 0);
    CHECK(!hm_dit_init(&f->m, &cfg, &err), "%s", err.message);
    CHECK(!hm_dit_params(&f->m, "", grad_bind, &f->params, &err), "%s", err.message);
    hm_tensor *slot;
    f->text = &f->params.p[f->params.n];
    grad_bind(&f->params, "text input table", HM_DIMS(B, M, CAPTION), &slot, &err);
    f->x = &f->params.p[f->params.n];
    grad_bind(&f->params, "token input table", HM_DIMS(B, N, C), &slot, &err);
    double pos[B * N][3];
    for (int i = 0; i < B * N; i++) {
        pos[i][0] = i % N * 0.5;
        pos[i][1] = 16.0 * (i % 3);
        pos[i][2] = 16.0 * (i % 2) + i / N; /* the samples differ */
        f->row[i] = 2 * (i / N) + (i % N >= 2);
        f->weight[i] = i % N < 2 ? 0.0f : 1.0f;
    }
    hm_dit_rope(&cfg, (const double(*)[3])pos, B * N, f->cosine, f->sine);
    hm_randn(f->target, B * N * C, 9, 0);
    hm_randn(f->place, N * PLACE, 10, 0);
    for (int i = 0; i < B * M; i++) f->mask[i] = i == 4 || i == 8 || i == 9 ? -10000.0f : 0.0f;
    CHECK(!hm_graph_new(&f->eval, &(hm_graph_opts){.act = HM_F32, .n_threads = 1}, &err), "%s", err.message);
}

static void run_step(fixture *f, hm_graph *g)
{
    const hm_tensor *target = hm_wrap(g, HM_F32, HM_DIMS(B, N, C), f->target);
    hm_tensor *l = hm_loss_mse(g, forward(f, g), target, f->weight, NULL, 0);
    if (!hm_is_plan(g) && hm_act(g) == HM_F32)
        CHECK_NEAR(*(float *)l->data, loss(f), 1e-5, "loss %g", (double)*(float *)l->data);
    hm_backward(g, l, 1.0f);
}

static uint64_t peak(fixture *f, hm_dtype act, bool tape, bool plan)
{
    himmel_error err = {0};
    hm_graph *g;
    CHECK(!hm_graph_new(&g, &(hm_graph_opts){.act = act, .tape = tape, .plan = plan}, &err), "%s",
          err.message);
    if (!g) return 0;
    if (tape)
        run_step(f, g);
    else
        forward(f, g);
    const uint64_t bytes = hm_peak(g);
    hm_graph_free(g);
    return bytes;
}

static void test_memory(fixture *f)
{
    const uint64_t train = peak(f, HM_F32, true, false), infer = peak(f, HM_F32, false, false);
    CHECK(train == peak(f, HM_F32, true, true) && train > 0, "training: %llu", (unsigned long long)train);
    CHECK(infer == peak(f, HM_F32, false, true) && infer > 0, "inference: %llu", (unsigned long long)infer);
    CHECK(peak(f, HM_BF16, false, false) == peak(f, HM_BF16, false, true), "bf16 inference");
    CHECK(peak(f, HM_BF16, true, false) == peak(f, HM_BF16, true, true), "bf16 training");
    CHECK(infer < train, "inference gives memory back: %llu of %llu", (unsigned long long)infer,
          (unsigned long long)train);
}

static void test_text_padding(const fixture *f)
{
    const float *dtext = f->text->grad.data; /* padding gets nothing, the rest something */
    for (int i = 0; i < B * M; i++) {
        double sum = 0;
        for (int j = 0; j < CAPTION; j++) sum += fabs((double)dtext[i * CAPTION + j]);
        CHECK(f->mask[i] < 0 ? sum < 1e-30 : sum > 1e-6, "text row %d: %g", i, sum);
    }
}

int main(void)
{
    static fixture f;
    himmel_error err = {0};
    hm_graph *g;
    setup(&f);
    CHECK(!hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32, .tape = true}, &err), "%s", err.message);
    run_step(&f, g);
    grad_check(&f.params, loss, &f, 6e-3);
    test_text_padding(&f);
    hm_graph_free(g);
    float **old = grad_to_bf16(&f.params);
    CHECK(!hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .tape = true}, &err), "%s", err.message);
    run_step(&f, g);
    grad_same_way(&f.params, old, 0.98);
    hm_graph_free(g);
    grad_free(&f.params);
    hm_dit_deinit(&f.m);
    hm_graph_free(f.eval);
    setup(&f); /* gradients of memory tests are nobody's */
    test_memory(&f);
    hm_graph_free(f.eval);
    hm_dit_deinit(&f.m);
    grad_free(&f.params);
    return CHECK_END();
}
