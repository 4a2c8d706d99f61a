/* basis.c - the codec's fixed numbers from footage.   SPDX-License-Identifier: MIT
 *   windows and pictures -> DCT boxes -> n_dct strongest positions
 *     -> covariance, even fx and odd fx apart: with every block goes its mirror, so the two never correlate
 *     -> K components, half-whitened -> decoders by least squares over a block's 3x3
 * Mirrors cost nothing: they enter the sums by symmetry (sign of odd fx, parity of components, left and right
 * neighbour swapped). Memory: (n_clips n_dct + n_stills n_still) blocks floats, 0.6 GB at the defaults. */
#include "train/basis.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/himmel/codec_internal.h"

enum { SCOUTS = 32, CHUNK = 16 }; /* clips that choose the DCT positions; clips per matrix product */

typedef struct {
    const hm_basis_opts *o;
    const hm_job *job;
    double t0;
    int blocks, n, n_still, K, parity_n[2];
    hm_dct dct;
    int32_t *index, *still;      /* [n], [n_still]: as in hm_codec */
    float *clip, *pic; /* [n_clips][blocks][n], [n_stills][blocks][n_still], minus mean after center() */
    float *scout;                /* [scouts][blocks][box] */
    float *mean, *basis, *scale, *std, *parity;
    float *dec, *still_dec;      /* [9K][n], [9K][n_still] */
    double energy;
} basis;

hm_basis_opts hm_basis_opts_default(void)
{
    return (hm_basis_opts){.K = 128,
                           .n_dct = 2048,
                           .n_clips = 400,
                           .n_stills = 1200,
                           .n_test = 24,
                           .gw = 16,
                           .gh = 9,
                           .seed = 1000000,
                           .still_share = 0.35,
                           .ridge = 0.01};
}

static himmel_status out_of_memory(himmel_error *err)
{
    return hm_fail(err, HIMMEL_ENOMEM, "train basis: out of memory");
}

static void *need(size_t n, size_t size) { return n ? calloc(n, size) : NULL; }

static void basis_deinit(basis *b)
{
    free(b->index);
    free(b->still);
    free(b->clip);
    free(b->pic);
    free(b->scout);
    free(b->mean);
    free(b->basis);
    free(b->scale);
    free(b->std);
    free(b->parity);
    free(b->dec);
    free(b->still_dec);
}

/* ---- footage -> DCT values ---- */

/* What becomes of item i's blocks: whole boxes, or the chosen values. */
typedef struct {
    basis *b;
    bool still, scout;
    int first, count;
} batch;

static void keep_box(const batch *t, int item, int blk, const float *box)
{
    const basis *b = t->b;
    const size_t at = (size_t)item * b->blocks + blk;
    if (t->scout) {
        memcpy(b->scout + at * HM_DCT_BOX, box, sizeof(float) * HM_DCT_BOX);
        return;
    }
    const int n = t->still ? b->n_still : b->n;
    float *to = (t->still ? b->pic : b->clip) + at * n;
    for (int i = 0; i < n; i++) {
        const int p = b->index[t->still ? b->still[i] : i];
        to[i] = t->still ? box[p / (HM_DCT_T * HM_DCT_PLANE) * HM_DCT_PLANE + p % HM_DCT_PLANE] : box[p];
    }
}

static himmel_status render_item(const batch *t, int item, himmel_error *err)
{
    const basis *b = t->b;
    const int W = b->o->gw * HM_BLOCK, H = b->o->gh * HM_BLOCK, frames = t->still ? 1 : HM_WINDOW;
    const size_t row = (size_t)W * 3, frame = row * H;
    float *px = malloc(frame * frames * sizeof *px), *box = malloc(sizeof(float) * HM_DCT_BOX);
    /* pictures come from scenes of their own; films last 10 s */
    const uint64_t seed = b->o->seed + (uint64_t)item + (t->still ? (uint64_t)1 << 32 : 0);
    himmel_status rc = px && box ? hm_basis_footage(b->o, seed, (double)(item % 35) * 0.25, frames, px, err)
                                 : out_of_memory(err);
    for (int k = 0; !rc && k < b->blocks; k++) {
        const float *p = px + (size_t)(k / b->o->gw) * HM_BLOCK * row + (size_t)(k % b->o->gw) * 3 * HM_BLOCK;
        if (t->still) hm_dct_still(&b->dct, p, row, box);
        else hm_dct_block(&b->dct, p, frame, row, box);
        keep_box(t, item, k, box);
    }
    free(px);
    free(box);
    return rc;
}

static himmel_status render_all(basis *b, bool still, bool scout, int from, int count, const char *phase,
                                himmel_error *err)
{
    enum { AT_ONCE = 16 };
    for (int first = from; first < count; first += AT_ONCE) {
        const batch t = {b, still, scout, first, HM_MIN(AT_ONCE, count - first)};
        himmel_status rc = HIMMEL_OK;
#pragma omp parallel for schedule(dynamic)
        for (int i = 0; i < t.count; i++) {
            himmel_error mine = {0};
            const himmel_status r = render_item(&t, t.first + i, &mine);
            if (r) {
#pragma omp critical(hm_basis_error)
                {
                    rc = r;
                    if (err) *err = mine;
                }
            }
        }
        if (rc) return rc;
        if (b->job && hm_job_step(b->job, phase, first + t.count, count, -1, ""))
            return hm_fail(err, HIMMEL_ECANCELLED, "stopped");
    }
    return HIMMEL_OK;
}

/* ---- which DCT positions ---- */

typedef struct { double v; int32_t at; } ranked;
static int by_value(const void *a, const void *b)
{
    const ranked *p = a, *q = b;
    return p->v < q->v ? 1 : p->v > q->v ? -1 : (p->at > q->at) - (p->at < q->at);
}
static int by_place(const void *a, const void *b)
{
    const int32_t p = *(const int32_t *)a, q = *(const int32_t *)b;
    return (p > q) - (p < q);
}

/* The n_dct positions of largest variance among the scouts; in a picture only ft = 0 exists, which the scouts
 * show as well. */
static himmel_status choose(basis *b, int scouts, himmel_error *err)
{
    ranked *r = malloc(sizeof *r * HM_DCT_BOX);
    b->index = need((size_t)b->n, sizeof *b->index);
    b->still = need((size_t)b->n, sizeof *b->still);
    if (!r || !b->index || !b->still) {
        free(r);
        return out_of_memory(err);
    }
    const size_t rows = (size_t)scouts * b->blocks;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < HM_DCT_BOX; i++) {
        double s = 0, q = 0;
        for (size_t k = 0; k < rows; k++) {
            const double x = b->scout[k * HM_DCT_BOX + i];
            s += x;
            q += x * x;
        }
        const double m = i % 2 ? 0 : s / (double)rows; /* odd fx: the mirrors' mean is zero */
        r[i] = (ranked){q / (double)rows - m * m, i};
    }
    qsort(r, HM_DCT_BOX, sizeof *r, by_value);
    for (int i = 0; i < b->n; i++) b->index[i] = r[i].at;
    free(r);
    qsort(b->index, (size_t)b->n, sizeof *b->index, by_place);
    for (int i = 0; i < b->n; i++) {
        if (b->index[i] / HM_DCT_PLANE % HM_DCT_T == 0) b->still[b->n_still++] = i;
        b->parity_n[b->index[i] % 2]++;
    }
    return HIMMEL_OK;
}

/* ---- mean and covariance ---- */

static double still_share(const basis *b) { return b->o->n_stills ? b->o->still_share : 0; }

/* mean [n] of clips and pictures, weighted; taken off both. */
static void center(basis *b)
{
    const size_t rc = (size_t)b->o->n_clips * b->blocks, rs = (size_t)b->o->n_stills * b->blocks;
    double *m = need((size_t)b->n, sizeof *m);
    if (!m) return; /* basis stays valid with a zero mean */
    for (size_t r = 0; r < rc; r++)
        for (int i = 0; i < b->n; i++) m[i] += (1 - still_share(b)) * b->clip[r * b->n + i] / (double)rc;
    for (size_t r = 0; r < rs; r++)
        for (int i = 0; i < b->n_still; i++)
            m[b->still[i]] += still_share(b) * b->pic[r * b->n_still + i] / (double)rs;
    for (int i = 0; i < b->n; i++) b->mean[i] = b->index[i] % 2 ? 0.0f : (float)m[i];
    free(m);
    for (size_t r = 0; r < rc; r++)
        for (int i = 0; i < b->n; i++) b->clip[r * b->n + i] -= b->mean[i];
    for (size_t r = 0; r < rs; r++)
        for (int i = 0; i < b->n_still; i++) b->pic[r * b->n_still + i] -= b->mean[b->still[i]];
}

/* to[r][j] = from[r][cols[j]] */
static void pack(float *to, const float *from, size_t rows, int n, const int32_t *cols, int n_cols)
{
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < rows; r++)
        for (int j = 0; j < n_cols; j++) to[r * n_cols + j] = from[r * n + cols[j]];
}

/* cov [m][m] += weight * mean of x x^T over rows, x = the columns cols of from. */
static himmel_status add_cov(float *cov, const float *from, size_t rows, int n, const int32_t *cols, int m,
                             double weight, himmel_error *err)
{
    const size_t chunk = 4096;
    float *x = malloc(chunk * m * sizeof *x);
    if (!x) return out_of_memory(err);
    for (size_t r = 0; r < rows; r += chunk) {
        const size_t now = HM_MIN(chunk, rows - r);
        pack(x, from + r * n, now, n, cols, m);
        hm_gemm(true, false, m, m, (int64_t)now, (float)(weight / (double)rows), HM_F32, x, x, 1.0f, HM_F32,
                cov);
    }
    free(x);
    return HIMMEL_OK;
}

/* Eigenvectors of the values with fx of one parity. cols [m] lists them; d, v as hm_eigen. */
static himmel_status solve_parity(const basis *b, int parity, int32_t *cols, double *d, double *v,
                                  himmel_error *err)
{
    const int m = b->parity_n[parity];
    int32_t *spos = need((size_t)b->n_still, sizeof *spos), *ccol = need((size_t)m, sizeof *ccol);
    float *cov = need((size_t)m * m, sizeof *cov), *sub = NULL;
    double *a = need((size_t)m * m, sizeof *a);
    himmel_status rc = spos && ccol && cov && a ? HIMMEL_OK : out_of_memory(err);
    if (!rc) {
        int k = 0, ms = 0;
        for (int i = 0; i < b->n; i++)
            if (b->index[i] % 2 == parity) cols[k++] = i;
        rc = add_cov(cov, b->clip, (size_t)b->o->n_clips * b->blocks, b->n, cols, m, 1 - still_share(b), err);
        for (int i = 0; i < b->n_still;
             i++) /* pictures' columns of this parity, and where they stand among cols */
            if (b->index[b->still[i]] % 2 == parity) {
                int at = 0;
                while (cols[at] != b->still[i]) at++;
                ccol[ms] = at;
                spos[ms++] = i;
            }
        sub = need((size_t)ms * ms + 1, sizeof *sub);
        if (!rc && !sub) rc = out_of_memory(err);
        if (!rc && b->o->n_stills && ms)
            rc = add_cov(sub, b->pic, (size_t)b->o->n_stills * b->blocks, b->n_still, spos, ms,
                         still_share(b), err);
        for (int i = 0; !rc && i < ms; i++)
            for (int j = 0; j < ms; j++) cov[(size_t)ccol[i] * m + ccol[j]] += sub[(size_t)i * ms + j];
    }
    if (!rc) {
        for (size_t i = 0; i < (size_t)m * m; i++) a[i] = cov[i];
        if (!hm_eigen(a, m, d, v))
            rc = hm_fail(err, HIMMEL_EINTERNAL, "train basis: the eigenvectors did not converge");
    }
    free(spos);
    free(ccol);
    free(cov);
    free(sub);
    free(a);
    return rc;
}

/* Components k = strongest first of both parities; half-whitening. */
static void take_components(basis *b, int32_t *const cols[2], double *const d[2], double *const v[2])
{
    int left[2] = {b->parity_n[0] - 1, b->parity_n[1] - 1};
    double total = 0, kept = 0, spread = 0;
    for (int p = 0; p < 2; p++)
        for (int i = 0; i < b->parity_n[p]; i++) total += d[p][i];
    for (int k = 0; k < b->K; k++) {
        const int p = left[1] >= 0 && (left[0] < 0 || d[1][left[1]] > d[0][left[0]]);
        const int m = b->parity_n[p], at = left[p]--;
        const double *vec = v[p] + (size_t)at * m;
        int big = 0;
        for (int i = 1; i < m; i++)
            if (fabs(vec[i]) > fabs(vec[big])) big = i;
        const double sign = vec[big] < 0 ? -1 : 1; /* signs are arbitrary: fixed, so that runs agree */
        for (int i = 0; i < m; i++) b->basis[(size_t)k * b->n + cols[p][i]] = (float)(sign * vec[i]);
        b->parity[k] = p ? -1.0f : 1.0f;
        const double sd = sqrt(HM_MAX(d[p][at], 1e-12));
        kept += d[p][at];
        spread += sd;
        b->std[k] = (float)sd;
    }
    const double s = sqrt(b->K / spread); /* mean of the variances sd s^2 is 1 */
    for (int k = 0; k < b->K; k++) {
        const double root = sqrt((double)b->std[k]);
        b->scale[k] = (float)(s / root);
        b->std[k] = (float)(s * root);
    }
    b->energy = kept / total;
}

static himmel_status components(basis *b, himmel_error *err)
{
    int32_t *cols[2];
    double *d[2], *v[2];
    himmel_status rc = HIMMEL_OK;
    for (int p = 0; p < 2; p++) {
        const size_t m = (size_t)b->parity_n[p];
        cols[p] = need(m, sizeof **cols);
        d[p] = need(m, sizeof **d);
        v[p] = need(m * m, sizeof **v);
        if (!rc && m && (!cols[p] || !d[p] || !v[p])) rc = out_of_memory(err);
        if (!rc && m) rc = solve_parity(b, p, cols[p], d[p], v[p], err);
    }
    if (!rc) take_components(b, cols, d, v);
    for (int p = 0; p < 2; p++) {
        free(cols[p]);
        free(d[p]);
        free(v[p]);
    }
    return rc;
}

/* ---- decoders ---- */

/* G [D][D] += x^T x, B [D][m] += x^T y over all items; x = gathered coefficients of y's blocks. basis rows
 * are [K][m]. */
static himmel_status decoder_sums(const basis *b, const float *values, int items, int m, const float *project,
                                  float *G, float *B, himmel_error *err)
{
    const size_t D = (size_t)HM_NEAR * b->K;
    float *z = malloc((size_t)CHUNK * b->blocks * b->K * sizeof *z),
          *x = malloc((size_t)CHUNK * b->blocks * D * sizeof *x);
    const himmel_status rc = z && x ? HIMMEL_OK : out_of_memory(err);
    for (int i = 0; !rc && i < items; i += CHUNK) {
        const int now = HM_MIN(CHUNK, items - i);
        const int64_t rows = (int64_t)now * b->blocks;
        const float *y = values + (size_t)i * b->blocks * m;
        hm_gemm(false, true, rows, b->K, m, 1.0f, HM_F32, y, project, 0.0f, HM_F32, z);
        for (int j = 0; j < now; j++)
            hm_codec_gather(x + (size_t)j * b->blocks * D, z + (size_t)j * b->blocks * b->K, b->o->gh,
                            b->o->gw, b->K);
        const float w = 1.0f / (float)((size_t)items * b->blocks);
        hm_gemm(true, false, (int64_t)D, (int64_t)D, rows, w, HM_F32, x, x, 1.0f, HM_F32, G);
        hm_gemm(true, false, (int64_t)D, m, rows, w, HM_F32, x, y, 1.0f, HM_F32, B);
    }
    free(z);
    free(x);
    return rc;
}

/* out [D][m] = (G + ridge)^-1 B, both averaged with their mirrors. odd[j]: value j changes sign in the
 * mirror. */
static himmel_status decoder_solve(const basis *b, const float *G, const float *B, int m, const bool *odd,
                                   float *out, himmel_error *err)
{
    const int K = b->K, D = HM_NEAR * K;
    double *g = malloc((size_t)D * D * sizeof *g), *r = malloc((size_t)D * m * sizeof *r);
    himmel_status rc = g && r ? HIMMEL_OK : out_of_memory(err);
    if (!rc) {
        for (int i = 0; i < D; i++) {
            const int ni = i / K, fi = (ni / 3 * 3 + 2 - ni % 3) * K + i % K;
            const float si = b->parity[i % K];
            for (int j = 0; j < D; j++) {
                const int nj = j / K, fj = (nj / 3 * 3 + 2 - nj % 3) * K + j % K;
                g[(size_t)i * D + j] =
                    0.5 * (G[(size_t)i * D + j] + (double)(si * b->parity[j % K]) * G[(size_t)fi * D + fj]);
            }
            for (int j = 0; j < m; j++)
                r[(size_t)i * m + j] =
                    0.5 * (B[(size_t)i * m + j] + (double)(odd[j] ? -si : si) * B[(size_t)fi * m + j]);
            g[(size_t)i * D + i] += HM_MAX(b->o->ridge, 1e-6);
        }
        if (!hm_solve_spd(g, D, r, m))
            rc = hm_fail(err, HIMMEL_EINTERNAL, "train basis: the decoder's normal equations are singular");
    }
    for (size_t i = 0; !rc && i < (size_t)D * m; i++) out[i] = (float)r[i];
    free(g);
    free(r);
    return rc;
}

static himmel_status decoder(const basis *b, bool still, float *out, himmel_error *err)
{
    const int m = still ? b->n_still : b->n, D = HM_NEAR * b->K;
    float *project = malloc((size_t)b->K * m * sizeof *project);
    float *G = need((size_t)D * D, sizeof *G), *B = need((size_t)D * m, sizeof *B);
    bool *odd = need((size_t)m, sizeof *odd);
    himmel_status rc = project && G && B && odd ? HIMMEL_OK : out_of_memory(err);
    if (!rc) {
        for (int i = 0; i < m; i++) {
            const int at = still ? b->still[i] : i;
            odd[i] = b->index[at] % 2;
            for (int k = 0; k < b->K; k++)
                project[(size_t)k * m + i] = b->basis[(size_t)k * b->n + at] * b->scale[k];
        }
        rc = decoder_sums(b, still ? b->pic : b->clip, still ? b->o->n_stills : b->o->n_clips, m, project, G,
                          B, err);
    }
    if (!rc) rc = decoder_solve(b, G, B, m, odd, out, err);
    free(project);
    free(G);
    free(B);
    free(odd);
    return rc;
}

/* ---- all of it ---- */

static himmel_status check_opts(const hm_basis_opts *o, himmel_error *err)
{
    if (o->K < 1 || o->K > o->n_dct || o->n_dct > HM_DCT_BOX || o->n_clips < 1 || o->n_stills < 1 ||
        o->gw < 1 || o->gh < 1)
        return hm_fail(
            err, HIMMEL_EINVAL,
            "train basis: %d components of %d values from %d clips and %d pictures is not possible", o->K,
            o->n_dct, o->n_clips, o->n_stills);
    return HIMMEL_OK;
}

static himmel_status collect(basis *b, himmel_error *err)
{
    const hm_basis_opts *o = b->o;
    const int scouts = HM_MIN(SCOUTS, o->n_clips);
    b->scout = need((size_t)scouts * b->blocks * HM_DCT_BOX, sizeof *b->scout);
    if (!b->scout) return out_of_memory(err);
    himmel_status rc = render_all(b, false, true, 0, scouts, "basis: scouts", err);
    if (!rc) rc = choose(b, scouts, err);
    if (rc) return rc;
    const size_t D = (size_t)HM_NEAR * b->K;
    b->clip = need((size_t)o->n_clips * b->blocks * b->n, sizeof *b->clip);
    b->pic = need((size_t)o->n_stills * b->blocks * b->n_still, sizeof *b->pic);
    b->mean = need((size_t)b->n, sizeof *b->mean);
    b->basis = need((size_t)b->K * b->n, sizeof *b->basis);
    b->scale = need((size_t)b->K, sizeof *b->scale);
    b->std = need((size_t)b->K, sizeof *b->std);
    b->parity = need((size_t)b->K, sizeof *b->parity);
    b->dec = need(D * b->n, sizeof *b->dec);
    b->still_dec = need(D * b->n_still, sizeof *b->still_dec);
    if (!b->clip || !b->pic || !b->mean || !b->basis || !b->scale || !b->std || !b->parity || !b->dec ||
        !b->still_dec)
        return out_of_memory(err);
    for (size_t r = 0; r < (size_t)scouts * b->blocks; r++) /* the scouts are the first clips */
        for (int i = 0; i < b->n; i++) b->clip[r * b->n + i] = b->scout[r * HM_DCT_BOX + b->index[i]];
    free(b->scout);
    b->scout = NULL;
    rc = render_all(b, false, false, scouts, o->n_clips, "basis: clips", err);
    return rc ? rc : render_all(b, true, false, 0, o->n_stills, "basis: pictures", err);
}

static himmel_status write_codec(basis *b, const char *path, himmel_error *err)
{
    const int64_t D = (int64_t)HM_NEAR * b->K, n = b->n, K = b->K;
    const size_t nd = (size_t)(D * n), ns = (size_t)(D * b->n_still);
    uint16_t *half = malloc((nd + ns) * sizeof *half);
    hm_st_writer *w = hm_st_writer_new();
    himmel_status rc = half && w ? HIMMEL_OK : out_of_memory(err);
    if (!rc) {
        hm_convert(half, HM_BF16, b->dec, HM_F32, nd);
        hm_convert(half + nd, HM_BF16, b->still_dec, HM_F32, ns);
        char note[160];
        snprintf(note, sizeof note, "%d clips and %d pictures from seed %" PRIu64, b->o->n_clips,
                 b->o->n_stills, b->o->seed);
        rc = hm_st_add_meta(w, "himmel.basis", note, err);
    }
    if (!rc) rc = hm_st_add(w, "codec.dct_index", HM_I32, 1, (int64_t[]){n}, b->index, err);
    if (!rc) rc = hm_st_add(w, "codec.mean", HM_F32, 1, (int64_t[]){n}, b->mean, err);
    if (!rc) rc = hm_st_add(w, "codec.basis", HM_F32, 2, (int64_t[]){K, n}, b->basis, err);
    if (!rc) rc = hm_st_add(w, "codec.scale", HM_F32, 1, (int64_t[]){K}, b->scale, err);
    if (!rc) rc = hm_st_add(w, "codec.std", HM_F32, 1, (int64_t[]){K}, b->std, err);
    if (!rc) rc = hm_st_add(w, "codec.parity", HM_F32, 1, (int64_t[]){K}, b->parity, err);
    if (!rc) rc = hm_st_add(w, "codec.decoder", HM_BF16, 2, (int64_t[]){D, n}, half, err);
    if (!rc) rc = hm_st_add(w, "codec.still_decoder", HM_BF16, 2, (int64_t[]){D, b->n_still}, half + nd, err);
    if (!rc) rc = hm_st_write(w, path, err);
    hm_st_writer_free(w);
    free(half);
    return rc;
}

static himmel_status measure(const basis *b, const char *path, hm_basis_report *rep, himmel_error *err)
{
    hm_st *st = NULL;
    hm_codec *c = NULL;
    himmel_status rc = hm_st_open(&st, path, err);
    if (!rc) rc = hm_codec_load(&c, st, err);
    if (!rc) rc = hm_basis_measure(b->o, c, rep, err);
    hm_codec_free(c);
    hm_st_close(st);
    rep->energy = b->energy;
    rep->seconds = hm_now() - b->t0;
    return rc;
}

himmel_status hm_train_basis(const hm_basis_opts *o, const char *path, const hm_job *job,
                             hm_basis_report *rep, himmel_error *err)
{
    himmel_status rc = check_opts(o, err);
    if (rc) return rc;
    basis b = {.o = o, .job = job, .t0 = hm_now(), .blocks = o->gw * o->gh, .n = o->n_dct, .K = o->K};
    hm_dct_init(&b.dct);
    rc = collect(&b, err);
    if (!rc) center(&b);
    if (!rc && job && hm_job_step(job, "basis: components", 0, 1, -1, ""))
        rc = hm_fail(err, HIMMEL_ECANCELLED, "stopped");
    if (!rc) rc = components(&b, err);
    if (!rc && job && hm_job_step(job, "basis: decoders", 0, 1, -1, ""))
        rc = hm_fail(err, HIMMEL_ECANCELLED, "stopped");
    if (!rc) rc = decoder(&b, false, b.dec, err);
    if (!rc) rc = decoder(&b, true, b.still_dec, err);
    if (!rc) rc = write_codec(&b, path, err);
    if (!rc && rep) rc = measure(&b, path, rep, err);
    basis_deinit(&b);
    return rc;
}
