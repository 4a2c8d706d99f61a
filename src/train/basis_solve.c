/* basis_solve.c - the two dense solvers that the basis needs, in double.   SPDX-License-Identifier: MIT
 * Eigenvectors: Householder reduction to tridiagonal form, then implicit QL with Wilkinson's shift (Golub &
 * Van Loan §8.3). n is about 1000: the O(n^3) parts run along rows, so that plain loops vectorise; a second
 * or two. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "train/basis.h"

HM_CLONES static double dot(const double *restrict a, const double *restrict b, int n)
{
    double s = 0;
#pragma omp simd reduction(+ : s)
    for (int i = 0; i < n; i++) s += a[i] * b[i];
    return s;
}

HM_CLONES static void axpy(double *restrict y, double k, const double *restrict x, int n)
{
#pragma omp simd
    for (int i = 0; i < n; i++) y[i] += k * x[i];
}

HM_CLONES static void axpy2(double *restrict y, double k, const double *restrict x, double l,
                            const double *restrict z, int n)
{
#pragma omp simd
    for (int i = 0; i < n; i++) y[i] += k * x[i] + l * z[i];
}

HM_CLONES static void rotate(double *restrict a, double *restrict b, double c, double s, int n)
{
#pragma omp simd
    for (int i = 0; i < n; i++) {
        const double f = b[i];
        b[i] = s * a[i] + c * f;
        a[i] = c * a[i] - s * f;
    }
}

/* a -> diagonal d, off-diagonal e[i] between i and i+1. The reflection vector of step k stays in row k of a
 * from column k+1 on, scaled to |v|^2 = 2 (zero: no reflection), so that H = 1 - v v^T. */
static void tridiagonal(double *a, int n, double *d, double *e, double *w)
{
    for (int k = 0; k < n; k++) {
        double *row = a + (size_t)k * n;
        d[k] = row[k];
        if (k == n - 1) break;
        const int m = n - k - 1;
        double *v = row + k + 1;
        const double norm = sqrt(dot(v, v, m));
        if (m == 1 || norm == 0) {
            e[k] = v[0];
            memset(v, 0, (size_t)m * sizeof *v);
            continue;
        }
        const double alpha = v[0] > 0 ? -norm : norm;
        e[k] = alpha;
        v[0] -= alpha;
        const double scale = sqrt(2.0 / dot(v, v, m));
        for (int i = 0; i < m; i++) v[i] *= scale;
#pragma omp parallel for schedule(static)
        for (int i = 0; i < m; i++) w[i] = dot(a + (size_t)(k + 1 + i) * n + k + 1, v, m);
        axpy(w, -0.5 * dot(w, v, m), v, m);
#pragma omp parallel for schedule(static)
        for (int i = 0; i < m; i++) axpy2(a + (size_t)(k + 1 + i) * n + k + 1, -v[i], w, -w[i], v, m);
    }
}

/* q = H_0 H_1 ... H_{n-2} as rows of its transpose: row i of qt is column i of Q. */
static void accumulate(const double *a, int n, double *qt)
{
    memset(qt, 0, sizeof *qt * (size_t)n * n);
    for (int i = 0; i < n; i++) qt[(size_t)i * n + i] = 1;
    for (int k = n - 2; k >= 0; k--) { /* Q <- H_k Q: every column of Q (row of qt) from k+1 on */
        const double *v = a + (size_t)k * n + k + 1;
        const int m = n - k - 1;
#pragma omp parallel for schedule(static)
        for (int i = k + 1; i < n; i++) {
            double *col = qt + (size_t)i * n + k + 1;
            axpy(col, -dot(v, col, m), v, m);
        }
    }
}

/* Implicit QL on (d, e); row i of v follows eigenvalue i. */
static bool implicit_ql(double *d, double *e, int n, double *v)
{
    for (int l = 0; l < n; l++)
        for (int iter = 0;; iter++) {
            int m = l;
            while (m < n - 1 && fabs(e[m]) > 1e-16 * (fabs(d[m]) + fabs(d[m + 1]))) m++;
            if (m == l) break;
            if (iter == 60) return false;
            const double g0 = (d[l + 1] - d[l]) / (2 * e[l]), r0 = hypot(g0, 1);
            double g = d[m] - d[l] + e[l] / (g0 + (g0 < 0 ? -r0 : r0)), s = 1, c = 1, p = 0;
            int i = m - 1;
            for (; i >= l; i--) {
                const double f = s * e[i], b = c * e[i], r = hypot(f, g);
                e[i + 1] = r;
                if (r == 0) { /* underflow: the matrix has split */
                    d[i + 1] -= p;
                    e[m] = 0;
                    break;
                }
                s = f / r;
                c = g / r;
                const double h = d[i + 1] - p, q = (d[i] - h) * s + 2 * c * b;
                p = s * q;
                d[i + 1] = h + p;
                g = c * q - b;
                rotate(v + (size_t)i * n, v + (size_t)(i + 1) * n, c, s, n);
            }
            if (i >= l) continue;
            d[l] -= p;
            e[l] = g;
            e[m] = 0;
        }
    return true;
}

bool hm_eigen(double *a, int n, double *d, double *v)
{
    double *e = calloc(2 * (size_t)n, sizeof *e);
    if (!e) return false;
    tridiagonal(a, n, d, e, e + n);
    accumulate(a, n, v);
    e[n - 1] = 0;
    bool ok = implicit_ql(d, e, n, v);
    free(e);
    for (int i = 0; ok && i < n; i++) { /* selection sort: n swaps of rows at most */
        int low = i;
        for (int j = i + 1; j < n; j++)
            if (d[j] < d[low]) low = j;
        if (low == i) continue;
        const double t = d[i];
        d[i] = d[low];
        d[low] = t;
        for (int k = 0; k < n; k++) {
            const double s = v[(size_t)i * n + k];
            v[(size_t)i * n + k] = v[(size_t)low * n + k];
            v[(size_t)low * n + k] = s;
        }
    }
    return ok;
}

/* a = L L^T in its lower triangle */
static bool cholesky(double *a, int n)
{
    for (int j = 0; j < n; j++) {
        double *rj = a + (size_t)j * n;
        const double d = rj[j] - dot(rj, rj, j);
        if (!(d > 0)) return false;
        rj[j] = sqrt(d);
#pragma omp parallel for schedule(static)
        for (int i = j + 1; i < n; i++) {
            double *ri = a + (size_t)i * n;
            ri[j] = (ri[j] - dot(ri, rj, j)) / rj[j];
        }
    }
    return true;
}

bool hm_solve_spd(double *a, int n, double *b, int m)
{
    enum { WIDE = 64 }; /* columns at a time: n x 64 doubles stay in the second-level cache */
    if (!cholesky(a, n)) return false;
    for (int i = 0; i < n; i++) /* the upper triangle gets L^T, so that the way back runs along rows too */
        for (int j = i + 1; j < n; j++) a[(size_t)i * n + j] = a[(size_t)j * n + i];
#pragma omp parallel for schedule(static)
    for (int c = 0; c < m; c += WIDE) {
        const int w = HM_MIN(WIDE, m - c);
        for (int i = 0; i < n; i++) {
            double *bi = b + (size_t)i * m + c;
            for (int j = 0; j < i; j++) axpy(bi, -a[(size_t)i * n + j], b + (size_t)j * m + c, w);
            for (int k = 0; k < w; k++) bi[k] /= a[(size_t)i * n + i];
        }
        for (int i = n - 1; i >= 0; i--) {
            double *bi = b + (size_t)i * m + c;
            for (int j = i + 1; j < n; j++) axpy(bi, -a[(size_t)i * n + j], b + (size_t)j * m + c, w);
            for (int k = 0; k < w; k++) bi[k] /= a[(size_t)i * n + i];
        }
    }
    return true;
}
