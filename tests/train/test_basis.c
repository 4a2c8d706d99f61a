/* test_basis.c - the solvers against their definitions, and a basis of synthetic footage end to end.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/rng.h"
#include "check.h"
#include "models/himmel/codec_internal.h"
#include "train/basis.h"

static void test_eigen(int n, int rank)
{
    double *a = calloc((size_t)n * n, sizeof *a), *c = malloc(sizeof *c * n * n),
           *v = malloc(sizeof *v * n * n), *d = malloc(sizeof *d * n);
    for (int r = 0; r < rank; r++) { /* sum of outer products: many eigenvalues are 0 where rank < n */
        float *x = malloc(sizeof *x * n);
        hm_randn(x, (size_t)n, 11, (uint64_t)r);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) a[i * n + j] += (double)x[i] * x[j] / (1 + r);
        free(x);
    }
    memcpy(c, a, sizeof *c * n * n);
    CHECK(hm_eigen(c, n, d, v), "n %d did not converge", n);
    double worst = 0, ortho = 0;
    for (int i = 0; i < n; i++) {
        if (i) CHECK(d[i] >= d[i - 1], "ascending at %d", i);
        for (int k = 0; k < n; k++) {
            double s = 0, o = 0;
            for (int j = 0; j < n; j++) {
                s += a[k * n + j] * v[i * n + j];
                o += v[i * n + j] * v[k * n + j];
            }
            worst = fmax(worst, fabs(s - d[i] * v[i * n + k]));
            ortho = fmax(ortho, fabs(o - (i == k)));
        }
    }
    CHECK(worst < 1e-10 * n && ortho < 1e-12 * n, "n %d rank %d: residual %g, orthogonality %g", n, rank,
          worst, ortho);
    free(a);
    free(c);
    free(v);
    free(d);
}

static void test_solve(void)
{
    enum { N = 37, M = 70 };
    static double a[N * N], l[N * N], x[N * M], b[N * M];
    float r[N * N], y[N * M];
    hm_randn(r, N * N, 1, 0);
    hm_randn(y, N * M, 2, 0);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i * N + j] = i == j ? 3 : 0;
            for (int k = 0; k < N; k++) a[i * N + j] += (double)r[i * N + k] * r[j * N + k];
        }
    for (int i = 0; i < N * M; i++) x[i] = y[i];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < M; j++)
            for (int k = 0; k < N; k++) b[i * M + j] += a[i * N + k] * x[k * M + j];
    memcpy(l, a, sizeof l);
    CHECK(hm_solve_spd(l, N, b, M), "positive definite");
    double worst = 0;
    for (int i = 0; i < N * M; i++) worst = fmax(worst, fabs(b[i] - x[i]));
    CHECK(worst < 1e-9, "solution off by %g", worst);
    a[5 * N + 5] = -1;
    CHECK(!hm_solve_spd(a, N, b, M), "a negative diagonal is noticed");
}

/* Smooth waves over a ramp: every scene another few frequencies. */
static himmel_status waves(void *user, uint64_t seed, double t0, int n, int W, int H, float *out,
                           himmel_error *err)
{
    (void)user;
    (void)err;
    hm_rng r = hm_rng_at(seed, 0);
    float kx[4], ky[4], w[4], p[4];
    for (int i = 0; i < 4; i++) {
        kx[i] = hm_rng_range(&r, -0.25f, 0.25f);
        ky[i] = hm_rng_range(&r, -0.25f, 0.25f);
        w[i] = hm_rng_range(&r, -3, 3);
        p[i] = hm_rng_range(&r, 0, 6);
    }
    for (int f = 0; f < n; f++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                const float t = (float)(t0 + (double)f / HM_FPS);
                float *o = out + (((size_t)f * H + y) * W + x) * 3;
                for (int c = 0; c < 3; c++) o[c] = 0.3f + 0.3f * (float)y / (float)H;
                for (int i = 0; i < 4; i++)
                    o[i % 3] += 0.1f * sinf(kx[i] * (float)x + ky[i] * (float)y + w[i] * t + p[i]);
            }
    return HIMMEL_OK;
}

static void test_basis(void)
{
    char path[] = "/tmp/hm_basis_XXXXXX";
    close(mkstemp(path));
    hm_basis_opts o = hm_basis_opts_default();
    o.K = 48;
    o.n_dct = 384;
    o.n_clips = 48;
    o.n_stills = 64;
    o.n_test = 2;
    o.gw = 4;
    o.gh = 3;
    o.footage = waves;
    hm_basis_report r = {0};
    himmel_error err = {0};
    CHECK(!hm_train_basis(&o, path, NULL, &r, &err), "%s", err.message);
    CHECK(r.psnr_clip > 30 && r.psnr_still > 30, "films %g dB, pictures %g dB", r.psnr_clip, r.psnr_still);
    CHECK(r.energy > 0.98 && r.energy <= 1.0001, "variance kept %g", r.energy);
    CHECK(fabs(r.motion - 1) < 0.1 && fabs(r.start - 1) < 0.2, "motion %g start %g", r.motion, r.start);
    hm_st *st = NULL;
    hm_codec *c = NULL;
    CHECK(!hm_st_open(&st, path, &err) && !hm_codec_load(&c, st, &err), "%s", err.message);
    if (c) {
        double v = 0, off = 0;
        for (int k = 0; k < c->K; k++) v += (double)c->std[k] * c->std[k] / c->K;
        CHECK_NEAR(v, 1, 1e-3, "mean variance of coefficients %g", v);
        for (int k = 0; k < c->K; k++)
            for (int j = 0; j <= k; j++) { /* scale basis has rows of length scale, orthogonal */
                double s = 0;
                for (int i = 0; i < c->n; i++)
                    s += (double)c->project[k * c->n + i] * c->project[j * c->n + i];
                if (j < k) off = fmax(off, fabs(s));
            }
        CHECK(off < 1e-4, "components are orthogonal: %g", off);
        /* the decoder of a mirrored neighbourhood gives the mirrored block */
        double flip = 0, size = 0;
        for (int i = 0; i < HM_NEAR * c->K; i++)
            for (int j = 0; j < c->n; j++) {
                const int near = i / c->K, k = i % c->K, m = (near / 3 * 3 + 2 - near % 3) * c->K + k;
                const float s = c->parity[k] * (c->index[j] % 2 ? -1.0f : 1.0f);
                flip =
                    fmax(flip, fabs(c->decoder[(size_t)i * c->n + j] - s * c->decoder[(size_t)m * c->n + j]));
                size = fmax(size, fabs(c->decoder[(size_t)i * c->n + j]));
            }
        CHECK(flip < 0.01 * size, "decoder commutes with the mirror: %g of %g", flip, size);
    }
    hm_codec_free(c);
    hm_st_close(st);
    unlink(path);
}

int main(void)
{
    test_eigen(1, 1);
    test_eigen(2, 2);
    test_eigen(40, 60);
    test_eigen(61, 20);
    test_solve();
    test_basis();
    return CHECK_END();
}
