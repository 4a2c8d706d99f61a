/* test_codec.c - the codec on a hand-made basis: exactness in its span, mirror, stills, cross-fade, ranges.
 * SPDX-License-Identifier: MIT
 * The basis is made of single DCT functions (scaled), the decoder of its inverse, so what must come out is
 * known. Spoilt files must be refused with a sentence. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/rng.h"
#include "check.h"
#include "models/himmel/codec_internal.h"

enum { GH = 2, GW = 3, W = 16 * GW, H = 16 * GH, FRAME = W * H * 3 };

typedef struct { /* a codec file's tensors, to be spoilt one by one */
    int n, K;
    int32_t index[512];
    float mean[512], *basis, scale[512], std[512], parity[512], *decoder, *still;
    int n_still;
} parts;

/* n lowest frequencies: fy, fx < 4, ft < 2 of each colour. Component k is value k, times -1 where k is odd.
 */
static void parts_make(parts *p)
{
    memset(p, 0, sizeof *p);
    for (int c = 0; c < 3; c++)
        for (int ft = 0; ft < 2; ft++)
            for (int fy = 0; fy < 4; fy++)
                for (int fx = 0; fx < 4; fx++) p->index[p->n++] = ((c * HM_DCT_T + ft) * 16 + fy) * 16 + fx;
    p->K = p->n;
    for (int i = 0; i < p->n; i++) p->n_still += p->index[i] / HM_DCT_PLANE % HM_DCT_T == 0;
    p->basis = calloc((size_t)p->K * p->n, sizeof(float));
    p->decoder = calloc((size_t)9 * p->K * p->n, sizeof(float));
    p->still = calloc((size_t)9 * p->K * p->n_still, sizeof(float));
    int s = 0;
    for (int i = 0; i < p->n; i++) {
        const float sign = i % 2 ? -1.0f : 1.0f;
        p->mean[i] = i % 16 == 0 ? 3.0f : 0.0f;
        p->scale[i] = 1.0f / (1.0f + (float)(i % 5));
        p->std[i] = 1;
        p->parity[i] = p->index[i] % 2 ? -1.0f : 1.0f;
        p->basis[(size_t)i * p->n + i] = sign;
        p->decoder[(size_t)(4 * p->K + i) * p->n + i] = sign / p->scale[i];
        if (p->index[i] / HM_DCT_PLANE % HM_DCT_T == 0)
            p->still[(size_t)(4 * p->K + i) * p->n_still + s++] = sign / p->scale[i];
    }
}

static void parts_free(parts *p)
{
    free(p->basis);
    free(p->decoder);
    free(p->still);
}

static himmel_status parts_load(const parts *p, hm_codec **c, hm_st **st, himmel_error *err)
{
    char path[] = "/tmp/hm_codec_XXXXXX";
    close(mkstemp(path));
    hm_st_writer *w = hm_st_writer_new();
    himmel_status rc = hm_st_add(w, "codec.dct_index", HM_I32, HM_DIMS(p->n), p->index, err);
    if (!rc) rc = hm_st_add(w, "codec.mean", HM_F32, HM_DIMS(p->n), p->mean, err);
    if (!rc) rc = hm_st_add(w, "codec.basis", HM_F32, HM_DIMS(p->K, p->n), p->basis, err);
    if (!rc) rc = hm_st_add(w, "codec.scale", HM_F32, HM_DIMS(p->K), p->scale, err);
    if (!rc) rc = hm_st_add(w, "codec.std", HM_F32, HM_DIMS(p->K), p->std, err);
    if (!rc) rc = hm_st_add(w, "codec.parity", HM_F32, HM_DIMS(p->K), p->parity, err);
    if (!rc) rc = hm_st_add(w, "codec.decoder", HM_F32, HM_DIMS(9 * p->K, p->n), p->decoder, err);
    if (!rc) rc = hm_st_add(w, "codec.still_decoder", HM_F32, HM_DIMS(9 * p->K, p->n_still), p->still, err);
    if (!rc) rc = hm_st_write(w, path, err);
    hm_st_writer_free(w);
    if (!rc) rc = hm_st_open(st, path, err);
    if (!rc) rc = hm_codec_load(c, *st, err);
    unlink(path);
    return rc;
}

/* A film in the basis' span: per block low frequencies in space, constant and slowest cosine of a window in
 * time. */
static void smooth_picture(float *f, uint64_t seed)
{
    for (int b = 0; b < GH * GW; b++) {
        float a[3][4][4];
        hm_randn(&a[0][0][0], 48, seed, (uint64_t)b);
        for (int y = 0; y < 16; y++)
            for (int x = 0; x < 16; x++)
                for (int c = 0; c < 3; c++) {
                    double s = 0.5;
                    for (int i = 0; i < 16; i++)
                        s += 0.05 * a[c][i / 4][i % 4] * cos(M_PI * (2 * y + 1) * (i / 4) / 32) *
                             cos(M_PI * (2 * x + 1) * (i % 4) / 32);
                    f[((b / GW * 16 + y) * W + b % GW * 16 + x) * 3 + c] = (float)s;
                }
    }
}

static double worst(const float *a, const float *b, size_t n)
{
    double m = 0;
    for (size_t i = 0; i < n; i++) m = fmax(m, fabs((double)a[i] - b[i]));
    return m;
}

static void test_round_trip(const hm_codec *c)
{
    const size_t nz = (size_t)GH * GW * hm_codec_channels(c);
    float *film = malloc(sizeof(float) * FRAME * HM_WINDOW), *pic = malloc(sizeof(float) * FRAME * 3);
    float *z = malloc(sizeof(float) * nz * 3), *back = malloc(sizeof(float) * FRAME * 25);
    smooth_picture(pic, 1);
    smooth_picture(pic + FRAME, 2);
    for (int t = 0; t < HM_WINDOW;
         t++) /* pic + cos(slowest) (pic2 - 1/2): exactly two temporal frequencies */
        for (int i = 0; i < FRAME; i++)
            film[t * FRAME + i] =
                pic[i] + (float)cos(M_PI * (2 * t + 1) / (2.0 * HM_WINDOW)) * (pic[FRAME + i] - 0.5f);
    CHECK(!hm_codec_encode_still(c, pic, GH, GW, z), "memory");
    CHECK(!hm_codec_decode_linear(c, z, 1, GH, GW, 0, 1, back), "memory");
    CHECK(worst(back, pic, FRAME) < 1e-5, "still: %g", worst(back, pic, FRAME));
    CHECK(!hm_codec_encode(c, film, GH, GW, z + nz), "memory");
    CHECK(!hm_codec_decode_linear(c, z, 2, GH, GW, 0, 25, back), "memory");
    const double mid = worst(back + 10 * FRAME, film + (10 + HM_LAP - 1) * FRAME, 15 * FRAME);
    CHECK(mid < 1e-5, "frames 10..24 are window 1 alone: %g", mid);
    CHECK(worst(back, pic, FRAME) < worst(back, film + 5 * FRAME, FRAME), "frame 0 is the still");
    for (int t = 0; t < HM_WINDOW; t++) memcpy(film + t * FRAME, pic, FRAME * sizeof *pic);
    CHECK(!hm_codec_encode(c, film, GH, GW, z + nz), "memory");
    CHECK(worst(z, z + nz, nz) < 1e-4, "a still is its picture repeated: %g", worst(z, z + nz, nz));
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            memcpy(pic + 2 * FRAME + (y * W + x) * 3, pic + (y * W + W - 1 - x) * 3, 3 * sizeof *pic);
    CHECK(!hm_codec_encode_still(c, pic + 2 * FRAME, GH, GW, z + nz), "memory");
    double m = 0;
    for (int b = 0; b < GH * GW; b++)
        for (int k = 0; k < c->K; k++)
            m = fmax(m, fabs(z[b * c->K + k] * hm_codec_parity(c)[k] -
                             z[nz + (b / GW * GW + GW - 1 - b % GW) * c->K + k]));
    CHECK(m < 1e-4, "mirror = reversed columns times parity: %g", m);
    free(film);
    free(pic);
    free(z);
    free(back);
}

static void test_shares(void)
{
    for (int T = 1; T <= 4; T++)
        for (int f = 0; f <= HM_FPS * (T - 1); f++) {
            double s = 0;
            for (int j = 0; j < T; j++) {
                const float w = hm_codec_share(T, j, f);
                CHECK(w >= 0 && w <= 1, "T %d window %d frame %d: %g", T, j, f, w);
                s += w;
            }
            CHECK_NEAR(s, 1, 1e-6, "T %d frame %d: shares add up to %g", T, f, s);
        }
    CHECK(hm_codec_share(3, 0, 0) > 0.8 && hm_codec_share(3, 0, 12) == 0, "the still has frame 0");
}

static void test_ranges(const hm_codec *c)
{
    const int T = 4, n = HM_FPS * 3 + 1;
    const size_t nz = (size_t)T * GH * GW * hm_codec_channels(c);
    float *z = malloc(nz * sizeof *z), *all = malloc(sizeof(float) * FRAME * n),
          *part = malloc(sizeof(float) * FRAME * 5);
    hm_randn(z, nz, 3, 0);
    CHECK(!hm_codec_decode(c, z, T, GH, GW, 0, n, all), "memory");
    for (int from = 0; from + 5 <= n; from += 4) {
        CHECK(!hm_codec_decode(c, z, T, GH, GW, from, 5, part), "memory");
        CHECK(!memcmp(part, all + from * FRAME, sizeof(float) * FRAME * 5),
              "frames from %d differ from the whole film's", from);
    }
    free(z);
    free(all);
    free(part);
}

/* dct against the definition, in double */
static void test_dct(void)
{
    static float px[HM_WINDOW][16][48], box[HM_DCT_BOX];
    hm_randn(&px[0][0][0], sizeof px / sizeof(float), 5, 0);
    hm_dct d;
    hm_dct_init(&d);
    hm_dct_block(&d, &px[0][0][0], 16 * 48, 48, box);
    static const int at[][4] = {{0, 0, 0, 0}, {1, 3, 2, 5}, {2, 9, 15, 15}, {0, 7, 0, 9}, {2, 0, 4, 1}};
    static const double mix[3][3] = {{1, 1, 1}, {1, 0, -1}, {1, -2, 1}}, norm[3] = {3, 2, 6};
    for (size_t i = 0; i < HM_COUNT(at); i++) {
        const int *a = at[i];
        double s = 0;
        for (int t = 0; t < HM_WINDOW; t++)
            for (int y = 0; y < 16; y++)
                for (int x = 0; x < 16; x++)
                    for (int c = 0; c < 3; c++)
                        s += px[t][y][3 * x + c] * mix[a[0]][c] / sqrt(norm[a[0]]) *
                             cos(M_PI * (2 * t + 1) * a[1] / 72.0) * cos(M_PI * (2 * y + 1) * a[2] / 32.0) *
                             cos(M_PI * (2 * x + 1) * a[3] / 32.0);
        s *= sqrt((a[1] ? 2.0 : 1.0) / 36) * sqrt((a[2] ? 2.0 : 1.0) / 16) * sqrt((a[3] ? 2.0 : 1.0) / 16);
        CHECK_NEAR(s, box[((a[0] * HM_DCT_T + a[1]) * 16 + a[2]) * 16 + a[3]], 2e-4, "value %zu: %g", i, s);
    }
}

static void expect_error(const parts *p, const char *what)
{
    hm_codec *c = NULL;
    hm_st *st = NULL;
    himmel_error err = {0};
    CHECK(parts_load(p, &c, &st, &err) != 0 && !c && strstr(err.message, what),
          "wanted a sentence with '%s', got '%s'", what, err.message);
    hm_codec_free(c);
    hm_st_close(st);
}

static void test_bad_files(parts *p)
{
    const parts good = *p;
    p->index[7] = HM_DCT_BOX;
    expect_error(p, "codec.dct_index[7]");
    p->index[7] = -1;
    expect_error(p, "codec.dct_index[7]");
    p->index[7] = p->index[6];
    expect_error(p, "codec.dct_index[7]");
    *p = good;
    p->parity[3] = 0.5f;
    expect_error(p, "codec.parity[3]");
    *p = good;
    p->scale[2] = 0;
    expect_error(p, "codec.scale[2]");
    *p = good;
    p->std[5] = NAN;
    expect_error(p, "codec.std");
    *p = good;
    p->n_still--;
    expect_error(p, "codec.still_decoder");
    *p = good;
}

/* Slopes and large edges stay, a small jump between blocks goes. */
static void test_seams(void)
{
    enum { ROWS = 2, COLS = 3, WIDE = 16 * COLS, HIGH = 16 * ROWS };
    static float slope[HIGH * WIDE * 3], f[HIGH * WIDE * 3];
    for (int i = 0; i < HIGH * WIDE * 3; i++) slope[i] = 0.2f + 0.004f * (float)(i / 3 % WIDE) + 0.003f * (float)(i / (3 * WIDE));
    memcpy(f, slope, sizeof f);
    hm_codec_smooth_seams(f, ROWS, COLS);
    float worst = 0;
    for (int i = 0; i < HIGH * WIDE * 3; i++) worst = fmaxf(worst, fabsf(f[i] - slope[i]));
    CHECK(worst < 1e-5f, "a slope changes by %g", (double)worst);
    const float jump[] = {0.02f, 0.6f};
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < HIGH * WIDE * 3; i++) f[i] = slope[i] + (i / 3 % WIDE >= 16 ? jump[k] : 0);
        hm_codec_smooth_seams(f, ROWS, COLS);
        const float left = f[(5 * WIDE + 16) * 3] - f[(5 * WIDE + 15) * 3] - 0.004f;
        CHECK(k ? left > 0.55f : fabsf(left) < 0.004f, "of a jump of %g, %g is left", (double)jump[k], (double)left);
        CHECK(fabsf(f[(5 * WIDE + 30) * 3] - slope[(5 * WIDE + 30) * 3] - jump[k]) < 1e-5f, "far from the seam nothing changes");
    }
}

int main(void)
{
    parts p;
    parts_make(&p);
    hm_codec *c = NULL;
    hm_st *st = NULL;
    himmel_error err = {0};
    CHECK(!parts_load(&p, &c, &st, &err), "%s", err.message);
    test_dct();
    test_shares();
    test_seams();
    if (c) {
        test_round_trip(c);
        test_ranges(c);
    }
    hm_codec_free(c);
    hm_st_close(st);
    test_bad_files(&p);
    parts_free(&p);
    return CHECK_END();
}
