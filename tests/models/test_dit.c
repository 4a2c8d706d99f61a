/* test_dit.c - the transformer's configuration, binding, RoPE tables, and what must not depend on how it is
 * run. SPDX-License-Identifier: MIT   (Values are checked by himmel-parity, gradients by test_dit_grad.) */
#include "models/ltx/dit.h"
#include "grad.h"

#define HEADS "\"num_attention_heads\":2,\"attention_head_dim\":16,\"caption_channels\":8"
#define SIZES "\"in_channels\":4,\"out_channels\":4,\"num_layers\":1," HEADS

static void test_config(void)
{
    static const struct {
        const char *json, *says;
    } bad[] = {
        {"", "JSON"},
        {"[]", "missing"},
        {"{}", "in_channels is missing"},
        {"{\"in_channels\":4,\"out_channels\":4,\"num_layers\":0," HEADS "}", "num_layers is 0"},
        {"{\"in_channels\":\"4\",\"out_channels\":4,\"num_layers\":1," HEADS "}",
         "in_channels is not an integer"},
        {"{\"in_channels\":4,\"out_channels\":4,\"num_layers\":99999," HEADS "}", "num_layers is 99999"},
        {"{" SIZES ",\"qk_norm\":\"layer_norm\"}", "qk_norm"},
        {"{" SIZES ",\"positional_embedding_type\":\"absolute\"}", "positional_embedding_type"},
        {"{" SIZES ",\"attention_bias\":false}", "attention_bias"},
        {"{" SIZES ",\"cross_attention_dim\":33}", "cross_attention_dim"},
        {"{" SIZES ",\"timestep_scale_multiplier\":1}", "timestep_scale_multiplier"},
        {"{" SIZES ",\"positional_embedding_max_pos\":[20,2048]}", "three numbers"},
        {"{" SIZES ",\"positional_embedding_max_pos\":[20,0,2048]}", "impossible"},
        {"{" SIZES ",\"positional_embedding_theta\":-1}", "positional_embedding_theta"},
        {"{" SIZES ",\"place_features\":-1}", "place_features is -1"},
        {"{" SIZES ",\"local_mixing\":2}", "local_mixing is 2"},
        {"{" SIZES ",\"caption_modulation\":2}", "caption_modulation is 2"},
        {"{" SIZES ",\"num_layers\":1}", "JSON"}};
    hm_dit_config c;
    for (size_t i = 0; i < HM_COUNT(bad); i++) {
        himmel_error err = {0};
        CHECK(hm_dit_config_parse(&c, bad[i].json, &err) && strstr(err.message, bad[i].says), "%zu: %s", i,
              err.message);
    }
    himmel_error err = {0};
    CHECK(!hm_dit_config_parse(&c, "{" SIZES "}", &err), "%s", err.message);
    CHECK(c.max_pos[1] == 2048 && c.rope_theta == 10000 && !c.causal_time && c.head_dim == 16, "defaults");
    CHECK(!hm_dit_config_parse(&c,
                               "{\"transformer\":{" SIZES ",\"causal_temporal_positioning\":true,"
                               "\"positional_embedding_max_pos\":[10,144,256]},\"vae\":{}}",
                               &err),
          "%s", err.message);
    CHECK(c.max_pos[0] == 10 && c.max_pos[2] == 256 && c.causal_time, "nested");
}

static void test_rope(void)
{
    const hm_dit_config c = {.n_heads = 2, .head_dim = 11, .rope_theta = 10000, .max_pos = {20, 2048, 2048}};
    const double pos[2][3] = {{10, 1024, 1024}, {20, 0, 512}}; /* the middle has angle 0 everywhere */
    float cosine[2][11], sine[2][11];
    hm_dit_rope(&c, pos, 2, cosine[0], sine[0]);
    for (int p = 0; p < 11; p++) CHECK(cosine[0][p] == 1 && sine[0][p] == 0, "middle, pair %d", p);
    for (int p = 0; p < 2; p++) CHECK(cosine[1][p] == 1 && sine[1][p] == 0, "four of 22 channels are left over, in front");
    /* first frequency pi/2: t at the end: angle pi/2; y at 0: -pi/2; x at a quarter: -pi/4 */
    CHECK_NEAR(cosine[1][2], 0, 1e-7, "%g", (double)cosine[1][2]);
    CHECK_NEAR(sine[1][2], 1, 1e-7, "%g", (double)sine[1][2]);
    CHECK_NEAR(sine[1][3], -1, 1e-7, "%g", (double)sine[1][3]);
    CHECK_NEAR(sine[1][4], -sqrt(0.5), 1e-7, "%g", (double)sine[1][4]);
    CHECK_NEAR(sine[1][7], sin(-100 * acos(0.0) / 2), 1e-6, "second of three frequencies: theta^(1/2)");
}

static void test_load(void)
{
    const char *path = FIXTURES "/ltx_dit.safetensors";
    himmel_error err = {0};
    hm_st *st;
    hm_dit m;
    hm_dit_config c;
    CHECK(!hm_st_open(&st, path, &err), "%s", err.message);
    if (!st) return;
    CHECK(!hm_dit_config_parse(&c, hm_st_meta(st, "config"), &err), "%s", err.message);
    CHECK(!hm_dit_load(&m, &c, st, "model.diffusion_model.", &err), "%s", err.message);
    CHECK(m.layers && m.layers[1].attn2.k_norm->dim[0] == 64, "bound");
    hm_dit_deinit(&m);
    CHECK(hm_dit_load(&m, &c, st, "", &err) == HIMMEL_EMODEL && strstr(err.message, "patchify_proj.weight") &&
              !m.layers,
          "%s", err.message);
    c.n_layers = 3;
    CHECK(hm_dit_load(&m, &c, st, "model.diffusion_model.", &err) == HIMMEL_EMODEL &&
              strstr(err.message, "transformer_blocks.2.attn1.to_q.weight\" is missing"),
          "%s", err.message);
    c.n_layers = 2;
    c.caption_channels = 47;
    CHECK(hm_dit_load(&m, &c, st, "model.diffusion_model.", &err) == HIMMEL_EMODEL &&
              strstr(err.message, "is F32 [64,48], the model wants numbers [64,47]"),
          "%s", err.message);
    hm_st_close(st);
}

enum { B = 2, N = 40, M = 9, CH = 16, CAP = 48, D = 64 };
typedef struct {
    float x[B * N * CH], text[B * M * CAP], cosine[N * D / 2], sine[N * D / 2];
    int32_t row[B * N];
    const float *place;
} inputs;

static void run(const hm_dit *m, inputs *in, const float *levels, int64_t n_levels, const hm_graph_opts *o,
                float *out)
{
    himmel_error err = {0};
    hm_graph *g;
    CHECK(!hm_graph_new(&g, o, &err), "%s", err.message);
    if (!g) return;
    const hm_tensor *y =
        hm_dit_forward(g, m,
                       &(hm_dit_input){.x = hm_wrap(g, HM_F32, HM_DIMS(B, N, CH), in->x),
                                       .levels = levels,
                                       .n_levels = n_levels,
                                       .row = in->row,
                                       .cosine = hm_wrap(g, HM_F32, HM_DIMS(1, N, D / 2), in->cosine),
                                       .sine = hm_wrap(g, HM_F32, HM_DIMS(1, N, D / 2), in->sine),
                                       .place = in->place,
                                       .text = hm_wrap(g, HM_F32, HM_DIMS(B, M, CAP), in->text)});
    hm_convert(out, HM_F32, y->data, y->dtype, B * N * CH);
    hm_graph_free(g);
}

static double distance(const float *a, const float *b, size_t n) /* relative, in the mean square */
{
    double d = 0, s = 0;
    for (size_t i = 0; i < n; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        s += (double)b[i] * b[i];
    }
    return sqrt(d / s);
}

static bool open_fixture(hm_st **st, hm_dit *m)
{
    himmel_error err = {0};
    hm_dit_config c;
    const bool ok = !hm_st_open(st, FIXTURES "/ltx_dit.safetensors", &err) && !hm_dit_config_parse(&c, hm_st_meta(*st, "config"), &err) &&
                    !hm_dit_load(m, &c, *st, "model.diffusion_model.", &err);
    CHECK(ok, "%s", err.message);
    return ok;
}

static void test_ways_to_run(void)
{
    static inputs in;
    static float y[B * N * CH], z[B * N * CH];
    hm_st *st;
    hm_dit m;
    if (!open_fixture(&st, &m)) return;
    hm_randn(in.x, B * N * CH, 1, 0);
    hm_randn(in.text, B * M * CAP, 2, 0);
    double pos[N][3];
    for (int n = 0; n < N; n++) pos[n][0] = n / 20, pos[n][1] = 32 * (n / 5 % 4), pos[n][2] = 32 * (n % 5);
    hm_dit_rope(&m.cfg, (const double(*)[3])pos, N, in.cosine, in.sine);
    const float level = 0.4f, many[3] = {0.4f, 0.4f, 0.7f};
    run(&m, &in, &level, 1, &(hm_graph_opts){.act = HM_F32}, y);
    run(&m, &in, &level, 1, &(hm_graph_opts){.act = HM_F32}, z);
    CHECK(!memcmp(y, z, sizeof y), "twice the same");
    run(&m, &in, &level, 1, &(hm_graph_opts){.act = HM_F32, .tape = true}, z);
    CHECK(distance(z, y, B * N * CH) < 1e-6, "a tape changes nothing: %g", distance(z, y, B * N * CH));
    for (int i = 0; i < B * N; i++) in.row[i] = i % 2;
    run(&m, &in, many, 3, &(hm_graph_opts){.act = HM_F32}, z);
    CHECK(distance(z, y, B * N * CH) < 1e-6, "levels that are equal: %g", distance(z, y, B * N * CH));
    in.row[N + 3] = 2; /* one token of the second sample at another level */
    run(&m, &in, many, 3, &(hm_graph_opts){.act = HM_F32}, z);
    CHECK(distance(z, y, N * CH) < 1e-6, "the first sample knows nothing of it");
    CHECK(distance(z + N * CH, y + N * CH, N * CH) > 1e-3, "the second does");
    memset(in.row, 0, sizeof in.row);
    run(&m, &in, &level, 1, &(hm_graph_opts){.act = HM_BF16}, z);
    CHECK(distance(z, y, B * N * CH) < 0.02, "bf16 is off by %g", distance(z, y, B * N * CH));
    hm_dit_deinit(&m);
    hm_st_close(st);
}

/* Equal tokens come out equal wherever they lie, rotary positions or not: why himmel-1 tells each its place. */
static void test_place(void)
{
    enum { P = 2 };
    static inputs in;
    static float y[B * N * CH], w[D * P], place[N * P];
    hm_st *st;
    hm_dit m;
    if (!open_fixture(&st, &m)) return;
    for (int i = 0; i < B * N * CH; i++) in.x[i] = (float)(i % CH) / CH;
    hm_randn(in.text, B * M * CAP, 2, 0);
    hm_randn(w, D * P, 3, 0);
    double pos[N][3];
    for (int n = 0; n < N; n++) {
        pos[n][0] = n / 20, pos[n][1] = 32 * (n / 5 % 4), pos[n][2] = 32 * (n % 5);
        place[P * n] = (float)n / N, place[P * n + 1] = 1;
    }
    hm_dit_rope(&m.cfg, (const double(*)[3])pos, N, in.cosine, in.sine);
    const float level = 1;
    run(&m, &in, &level, 1, &(hm_graph_opts){.act = HM_F32}, y);
    CHECK(distance(y, y + (N - 1) * CH, CH) < 1e-5, "equal: %g", distance(y, y + (N - 1) * CH, CH));
    hm_tensor place_w = {.dtype = HM_F32, .nd = 2, .dim = {D, P}, .data = w};
    m.cfg.place_features = P;
    m.place_w = &place_w;
    in.place = place;
    run(&m, &in, &level, 1, &(hm_graph_opts){.act = HM_F32}, y);
    CHECK(distance(y, y + (N - 1) * CH, CH) > 0.01, "apart: %g", distance(y, y + (N - 1) * CH, CH));
    CHECK(distance(y, y + N * CH, N * CH) > 0, "texts differ, so samples do");
    hm_dit_deinit(&m);
    hm_st_close(st);
}

int main(void)
{
    test_config();
    test_rope();
    test_load();
    test_ways_to_run();
    test_place();
    return CHECK_END();
}
