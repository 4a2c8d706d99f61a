/* codec.c - himmel-1's codec: loading its tensors, and encoding.   SPDX-License-Identifier: MIT
 *   window [36][16gh][16gw][3] -> DCT of every block, n values -> minus mean, basis, scale -> z [gh][gw][K]
 * Tensors: codec.dct_index [n] I32, .mean [n], .basis [K,n], .scale [K], .std [K], .parity [K],
 * .decoder [9K,n], .still_decoder [9K,n_still] (n_still = how many indices have ft = 0). Everything but the
 * index may be F32 or BF16; all is widened to f32 once (12 MB at K = 128): a decode is 0.7 GFLOP a second of
 * film, precision is worth more than speed here. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include "models/himmel/codec_internal.h"

enum { MAX_CHANNELS = 1024 };

int hm_codec_channels(const hm_codec *c) { return c->K; }
const float *hm_codec_parity(const hm_codec *c) { return c->parity; }
const float *hm_codec_std(const hm_codec *c) { return c->std; }

void hm_codec_free(hm_codec *c)
{
    if (!c) return;
    free(c->index);
    free(c->still);
    free(c->mean);
    free(c->project);
    free(c->still_project);
    free(c->offset);
    free(c->parity);
    free(c->std);
    free(c->decoder);
    free(c->still_decoder);
    free(c);
}

/* A float tensor of the given shape (d1 = 0: one dimension), widened into new memory; every value finite. */
static himmel_status take(float **out, const hm_st *st, const char *name, int64_t d0, int64_t d1,
                          himmel_error *err)
{
    const hm_tensor *t;
    const himmel_status rc = hm_st_need(st, name, d1 ? 2 : 1, (int64_t[]){d0, d1}, &t, err);
    if (rc) return rc;
    if (t->dtype != HM_F32 && t->dtype != HM_BF16)
        return hm_fail(err, HIMMEL_EMODEL, "%s: %s is %s, F32 or BF16 is wanted", hm_st_path(st), name,
                       hm_dtype_name(t->dtype));
    const size_t n = (size_t)hm_numel(t);
    float *p = malloc(n * sizeof *p);
    if (!p) return hm_fail(err, HIMMEL_ENOMEM, "%s: no memory for %s", hm_st_path(st), name);
    *out = p;
    hm_convert(p, HM_F32, t->data, t->dtype, n);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(p[i]))
            return hm_fail(err, HIMMEL_EMODEL, "%s: %s holds a value that is not finite at %zu",
                           hm_st_path(st), name, i);
    return HIMMEL_OK;
}

static himmel_status take_index(hm_codec *c, const hm_st *st, himmel_error *err)
{
    const hm_tensor *t;
    himmel_status rc = hm_st_need(st, "codec.dct_index", 1, (int64_t[]){-1}, &t, err);
    if (rc) return rc;
    const int64_t n = t->dim[0];
    if (t->dtype != HM_I32 || n < 1 || n > HM_DCT_BOX)
        return hm_fail(err, HIMMEL_EMODEL,
                       "%s: codec.dct_index is %s [%" PRId64 "], I32 with 1..%d values is wanted",
                       hm_st_path(st), hm_dtype_name(t->dtype), n, HM_DCT_BOX);
    c->n = (int)n;
    c->index = malloc((size_t)n * sizeof *c->index);
    c->still = malloc((size_t)n * sizeof *c->still);
    if (!c->index || !c->still)
        return hm_fail(err, HIMMEL_ENOMEM, "%s: no memory for codec.dct_index", hm_st_path(st));
    hm_dct_init(&c->dct);
    for (int i = 0; i < 3 * HM_DCT_T; i++) c->dct.rows[i] = 0;
    for (int i = 0; i < c->n; i++) {
        const int32_t v = ((const int32_t *)t->data)[i];
        if (v < 0 || v >= HM_DCT_BOX || (i && v <= c->index[i - 1]))
            return hm_fail(err, HIMMEL_EMODEL,
                           "%s: codec.dct_index[%d] is %d, ascending values below %d are wanted",
                           hm_st_path(st), i, v, HM_DCT_BOX);
        c->index[i] = v;
        const int plane = v / HM_DCT_PLANE, fy = v % HM_DCT_PLANE / HM_BLOCK;
        c->dct.rows[plane] = HM_MAX(c->dct.rows[plane], fy + 1);
        if (plane % HM_DCT_T == 0) c->still[c->n_still++] = i;
    }
    if (!c->n_still)
        return hm_fail(err, HIMMEL_EMODEL, "%s: codec.dct_index has no value that stands still",
                       hm_st_path(st));
    return HIMMEL_OK;
}

/* project = diag(scale) basis, offset = project mean, and the still columns packed. */
static himmel_status fold(hm_codec *c, const float *scale, const char *path, himmel_error *err)
{
    c->still_project = malloc((size_t)c->K * c->n_still * sizeof *c->still_project);
    c->offset = malloc((size_t)c->K * sizeof *c->offset);
    if (!c->still_project || !c->offset)
        return hm_fail(err, HIMMEL_ENOMEM, "%s: no memory for the basis", path);
    for (int k = 0; k < c->K; k++) {
        if (c->parity[k] != 1.0f && c->parity[k] != -1.0f)
            return hm_fail(err, HIMMEL_EMODEL, "%s: codec.parity[%d] is %g, 1 or -1 is wanted", path, k,
                           c->parity[k]);
        if (!(scale[k] > 0) || !(c->std[k] > 0))
            return hm_fail(err, HIMMEL_EMODEL,
                           "%s: codec.scale[%d] is %g and codec.std[%d] %g, both must be above 0", path, k,
                           scale[k], k, c->std[k]);
        float *p = c->project + (size_t)k * c->n;
        double sum = 0;
        for (int i = 0; i < c->n; i++) {
            p[i] *= scale[k];
            sum += (double)p[i] * c->mean[i];
        }
        c->offset[k] = (float)sum;
        for (int i = 0; i < c->n_still; i++) c->still_project[(size_t)k * c->n_still + i] = p[c->still[i]];
    }
    return HIMMEL_OK;
}

himmel_status hm_codec_load(hm_codec **out, const hm_st *st, himmel_error *err)
{
    *out = NULL;
    float *scale = NULL;
    hm_codec *c = calloc(1, sizeof *c);
    if (!c) return hm_fail(err, HIMMEL_ENOMEM, "%s: no memory for the codec", hm_st_path(st));
    himmel_status rc = take_index(c, st, err);
    if (rc) goto fail;
    const hm_tensor *basis;
    rc = hm_st_need(st, "codec.basis", 2, (int64_t[]){-1, c->n}, &basis, err);
    if (rc) goto fail;
    if (basis->dim[0] < 1 || basis->dim[0] > MAX_CHANNELS) {
        rc = hm_fail(err, HIMMEL_EMODEL, "%s: codec.basis has %" PRId64 " components, 1..%d are possible",
                     hm_st_path(st), basis->dim[0], MAX_CHANNELS);
        goto fail;
    }
    c->K = (int)basis->dim[0];
    const struct { float **to; const char *name; int64_t d0, d1; } want[] = {
        {&c->mean, "codec.mean", c->n, 0},
        {&c->project, "codec.basis", c->K, c->n},
        {&scale, "codec.scale", c->K, 0},
        {&c->std, "codec.std", c->K, 0},
        {&c->parity, "codec.parity", c->K, 0},
        {&c->decoder, "codec.decoder", (int64_t)HM_NEAR * c->K, c->n},
        {&c->still_decoder, "codec.still_decoder", (int64_t)HM_NEAR * c->K, c->n_still}};
    for (size_t i = 0; i < HM_COUNT(want) && !rc; i++)
        rc = take(want[i].to, st, want[i].name, want[i].d0, want[i].d1, err);
    if (!rc) rc = fold(c, scale, hm_st_path(st), err);
    if (rc) goto fail;
    free(scale);
    *out = c;
    return HIMMEL_OK;
fail:
    free(scale);
    hm_codec_free(c);
    return rc;
}

/* out [blocks][K] = v [blocks][n] project^T - offset */
static void project(const hm_codec *c, const float *v, const float *p, int n, int blocks, float *out)
{
    for (int b = 0; b < blocks; b++)
        for (int k = 0; k < c->K; k++) out[(size_t)b * c->K + k] = -c->offset[k];
    hm_gemm(false, true, blocks, c->K, n, 1.0f, HM_F32, v, p, 1.0f, HM_F32, out);
}

himmel_status hm_codec_encode(const hm_codec *c, const float *frames, int gh, int gw, float *out)
{
    const int blocks = gh * gw;
    const size_t row = (size_t)gw * 48, frame = row * 16 * gh;
    float *v = malloc((size_t)blocks * c->n * sizeof *v);
    if (!v) return HIMMEL_ENOMEM;
#pragma omp parallel for schedule(static)
    for (int b = 0; b < blocks; b++) {
        float box[HM_DCT_BOX];
        hm_dct_block(&c->dct, frames + (size_t)(b / gw) * 16 * row + (size_t)(b % gw) * 48, frame, row, box);
        for (int i = 0; i < c->n; i++) v[(size_t)b * c->n + i] = box[c->index[i]];
    }
    project(c, v, c->project, c->n, blocks, out);
    free(v);
    return HIMMEL_OK;
}

himmel_status hm_codec_encode_still(const hm_codec *c, const float *frame, int gh, int gw, float *out)
{
    const int blocks = gh * gw;
    const size_t row = (size_t)gw * 48;
    float *v = malloc((size_t)blocks * c->n_still * sizeof *v);
    if (!v) return HIMMEL_ENOMEM;
#pragma omp parallel for schedule(static)
    for (int b = 0; b < blocks; b++) {
        float plane[3 * HM_DCT_PLANE]; /* [c][fy][fx] */
        hm_dct_still(&c->dct, frame + (size_t)(b / gw) * 16 * row + (size_t)(b % gw) * 48, row, plane);
        for (int i = 0; i < c->n_still; i++) {
            const int at = c->index[c->still[i]], colour = at / (HM_DCT_T * HM_DCT_PLANE);
            v[(size_t)b * c->n_still + i] = plane[colour * HM_DCT_PLANE + at % HM_DCT_PLANE];
        }
    }
    project(c, v, c->still_project, c->n_still, blocks, out);
    free(v);
    return HIMMEL_OK;
}
