/* probe_net.c - the probe's network, and a trained one at work.   SPDX-License-Identifier: MIT
 *
 *   x [B*7,36,64,28] -conv-> 48 -conv/2-> [18,32,96] -conv, added-> 96 -conv/2-> [9,16,128] -conv, added, twice->
 *     -conv/2-> [5,8,160] -> mean over the map 160 | 24 a place, all places -> 160
 *     [18,32,96] -> 8 queries look at all places: 16 values of each, for what is too small for the last map
 *   = 448 a pair
 *   mean | last three minus first three | mean |change| over the pairs -> 256 -gelu-> 64 (feature) -gelu-> heads
 * LayerNorm over the channels after every convolution but the first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/probe.h"

enum { C1 = 48, C2 = 96, C3 = 128, C4 = 160, CP = 24, CM = 160, MAP_H = 5, MAP_W = 8, FINE = 18 * 32, QUERIES = 8,
       CQ = 16 * QUERIES, CH = 256, PAIR = C4 + CM + CQ };
enum {
    S_C1_W,
    S_C1_B,
    S_C2_W,
    S_C2_B,
    S_N2_W,
    S_N2_B,
    S_C3_W,
    S_C3_B,
    S_N3_W,
    S_N3_B,
    S_C4_W,
    S_C4_B,
    S_N4_W,
    S_N4_B,
    S_C5_W,
    S_C5_B,
    S_N5_W,
    S_N5_B,
    S_C6_W,
    S_C6_B,
    S_N6_W,
    S_N6_B,
    S_C7_W,
    S_C7_B,
    S_N7_W,
    S_N7_B,
    S_PLACE_W,
    S_PLACE_B,
    S_MAP_W,
    S_MAP_B,
    S_QUERY,
    S_KEY_W,
    S_KEY_B,
    S_VALUE_W,
    S_VALUE_B,
    S_HIDDEN_W,
    S_HIDDEN_B,
    S_FEATURE_W,
    S_FEATURE_B,
    S_HEADS
};
_Static_assert(S_HEADS + 2 * HM_N_FACTS <= HM_PROBE_N_SLOTS, "slots");

himmel_status hm_probe_params(hm_probe_net *n, hm_param_fn *fn, void *user, himmel_error *err)
{
    static const struct {
        const char *name;
        int nd;
        int64_t dim[4];
    } table[S_HEADS] = {{"conv1.weight", 4, {C1, 3, 3, HM_PROBE_IN}},
                        {"conv1.bias", 1, {C1}},
                        {"conv2.weight", 4, {C2, 3, 3, C1}},
                        {"conv2.bias", 1, {C2}},
                        {"norm2.weight", 1, {C2}},
                        {"norm2.bias", 1, {C2}},
                        {"conv3.weight", 4, {C2, 3, 3, C2}},
                        {"conv3.bias", 1, {C2}},
                        {"norm3.weight", 1, {C2}},
                        {"norm3.bias", 1, {C2}},
                        {"conv4.weight", 4, {C3, 3, 3, C2}},
                        {"conv4.bias", 1, {C3}},
                        {"norm4.weight", 1, {C3}},
                        {"norm4.bias", 1, {C3}},
                        {"conv5.weight", 4, {C3, 3, 3, C3}},
                        {"conv5.bias", 1, {C3}},
                        {"norm5.weight", 1, {C3}},
                        {"norm5.bias", 1, {C3}},
                        {"conv6.weight", 4, {C3, 3, 3, C3}},
                        {"conv6.bias", 1, {C3}},
                        {"norm6.weight", 1, {C3}},
                        {"norm6.bias", 1, {C3}},
                        {"conv7.weight", 4, {C4, 3, 3, C3}},
                        {"conv7.bias", 1, {C4}},
                        {"norm7.weight", 1, {C4}},
                        {"norm7.bias", 1, {C4}},
                        {"place.weight", 2, {CP, C4}},
                        {"place.bias", 1, {CP}},
                        {"map.weight", 2, {CM, MAP_H * MAP_W * CP}},
                        {"map.bias", 1, {CM}},
                        {"query", 2, {1, CQ}},
                        {"key.weight", 2, {CQ, C2}},
                        {"key.bias", 1, {CQ}},
                        {"value.weight", 2, {CQ, C2}},
                        {"value.bias", 1, {CQ}},
                        {"hidden.weight", 2, {CH, 3 * PAIR}},
                        {"hidden.bias", 1, {CH}},
                        {"feature.weight", 2, {HM_PROBE_D, CH}},
                        {"feature.bias", 1, {HM_PROBE_D}}};
    himmel_status rc = HIMMEL_OK;
    for (int i = 0; !rc && i < S_HEADS; i++)
        rc = fn(user, table[i].name, table[i].nd, table[i].dim, &n->slot[i], err);
    for (int f = 0; !rc && f < HM_N_FACTS; f++) {
        const int64_t dim[2] = {hm_fact_size((hm_fact)f), HM_PROBE_D};
        char name[64];
        snprintf(name, sizeof name, "head.%s.weight", hm_fact_name((hm_fact)f));
        rc = fn(user, name, 2, dim, &n->slot[S_HEADS + 2 * f], err);
        snprintf(name, sizeof name, "head.%s.bias", hm_fact_name((hm_fact)f));
        if (!rc) rc = fn(user, name, 1, dim, &n->slot[S_HEADS + 2 * f + 1], err);
    }
    return rc;
}

/* ---- input ---- */

enum { CELL_H = HM_PROBE_H / 2, CELL_W = HM_PROBE_W / 2, CELLS = CELL_H * CELL_W };

/* Brightness of a frame: in cells of 2 x 2 pixels, and of 4 x 4. */
static void brightness(const float *frame, float *cell, float *large)
{
    for (int y = 0; y < CELL_H; y++)
        for (int x = 0; x < CELL_W; x++) {
            const float *a = frame + 3 * (2 * y * HM_PROBE_W + 2 * x), *b = a + 3 * HM_PROBE_W;
            float sum = 0;
            for (int c = 0; c < 6; c++) sum += a[c] + b[c];
            cell[y * CELL_W + x] = sum / 12;
        }
    for (int y = 0; y < CELL_H / 2; y++)
        for (int x = 0; x < CELL_W / 2; x++) {
            const float *a = cell + 2 * y * CELL_W + 2 * x;
            large[y * (CELL_W / 2) + x] = (a[0] + a[1] + a[CELL_W] + a[CELL_W + 1]) / 4;
        }
}

/* Normal flow of (x, y) from a to b, both h x w: the part of a movement along the gradient, where there is one. */
static void flow(const float *a, const float *b, int h, int w, int x, int y, float gain, float to[2])
{
    const int l = y * w + HM_MAX(x - 1, 0), r = y * w + HM_MIN(x + 1, w - 1), u = HM_MAX(y - 1, 0) * w + x,
              d = HM_MIN(y + 1, h - 1) * w + x;
    const float gx = (a[r] + b[r] - a[l] - b[l]) / 4, gy = (a[d] + b[d] - a[u] - b[u]) / 4;
    const float s = gain * (a[y * w + x] - b[y * w + x]) / (gx * gx + gy * gy + 2e-4f);
    to[0] = HM_MAX(-4.0f, HM_MIN(4.0f, s * gx));
    to[1] = HM_MAX(-4.0f, HM_MIN(4.0f, s * gy));
}

void hm_probe_input(const float *frames, float *x)
{
    const size_t row = 3 * HM_PROBE_W;
    float cell[HM_PROBE_FRAMES][CELLS], large[HM_PROBE_FRAMES][CELLS / 4];
    for (int f = 0; f < HM_PROBE_FRAMES; f++) brightness(frames + (size_t)f * HM_PROBE_FRAME_BYTES, cell[f], large[f]);
    for (int p = 0; p < HM_PROBE_PAIRS; p++) {
        const int from = HM_MAX(p - 2, 0), to = HM_MIN(p + 3, HM_PROBE_FRAMES - 1);
        for (int y = 0; y < CELL_H; y++)
            for (int i = 0; i < CELL_W; i++, x += HM_PROBE_IN) {
                for (int q = 0; q < 4; q++) {
                    const float *a = frames + (size_t)p * HM_PROBE_FRAME_BYTES + (size_t)(2 * y + q / 2) * row +
                                     3 * (2 * i + q % 2);
                    for (int c = 0; c < 3; c++) {
                        x[4 * c + q] = 2 * a[c] - 1;
                        x[12 + 4 * c + q] =
                            4 * (a[HM_PROBE_FRAME_BYTES + c] - a[c]); /* changes are small: about unit size */
                    }
                }
                flow(cell[p], cell[p + 1], CELL_H, CELL_W, i, y, 4, x + 24);
                flow(large[from], large[to], CELL_H / 2, CELL_W / 2, i / 2, y / 2, 16 / (float)(to - from), x + 26);
            }
    }
}

/* ---- network ---- */

static hm_tensor *conv(hm_graph *g, const hm_probe_net *n, int slot, hm_tensor *x, int stride, bool relu)
{
    const hm_conv_opts o = {.stride = {stride, stride, 1}, .pad = {1, 1, 0}, .relu = relu};
    return hm_conv(g, x, n->slot[slot], n->slot[slot + 1], &o);
}

static hm_tensor *conv_norm(hm_graph *g, const hm_probe_net *n, int slot, hm_tensor *x, int stride)
{
    hm_tensor *y = conv(g, n, slot, x, stride, false);
    return hm_relu(g, hm_layernorm(g, y, n->slot[slot + 2], n->slot[slot + 3], 1e-5f));
}

/* Each query's 16 values from all places of h [count,FINE,C2] -> [count,CQ]. A query is a head of its own. */
static hm_tensor *looks(hm_graph *g, const hm_probe_net *n, hm_tensor *h, int64_t count)
{
    hm_tensor *rows = hm_zeros(g, HM_I32, HM_DIMS(count)); /* the one row of queries, for every pair */
    hm_tensor *q = hm_gather_rows(g, n->slot[S_QUERY], hm_is_plan(g) ? NULL : rows->data, count);
    q = hm_reshape(g, hm_cast(g, q, hm_act(g)), HM_DIMS(count, 1, CQ));
    hm_tensor *k = hm_linear(g, h, n->slot[S_KEY_W], n->slot[S_KEY_B]);
    hm_tensor *v = hm_linear(g, h, n->slot[S_VALUE_W], n->slot[S_VALUE_B]);
    return hm_reshape(g, hm_attention(g, q, k, v, QUERIES, 1.0f, NULL, NULL), HM_DIMS(count, CQ));
}

/* What one pair shows: x [n,36,64,28] -> [n,PAIR]. */
static hm_tensor *pairs(hm_graph *g, const hm_probe_net *n, hm_tensor *x, int64_t count)
{
    hm_tensor *h = conv(g, n, S_C1_W, x, 1, true);
    h = conv_norm(g, n, S_C2_W, h, 2);
    h = hm_add_t(g, h, conv_norm(g, n, S_C3_W, h, 1));
    hm_tensor *seen = looks(g, n, hm_reshape(g, h, HM_DIMS(count, FINE, C2)), count);
    h = conv_norm(g, n, S_C4_W, h, 2);
    h = hm_add_t(g, h, conv_norm(g, n, S_C5_W, h, 1));
    h = hm_add_t(g, h, conv_norm(g, n, S_C6_W, h, 1));
    h = conv_norm(g, n, S_C7_W, h, 2);
    const int64_t places = MAP_H * MAP_W;
    h = hm_reshape(g, h, HM_DIMS(count, places, C4));
    hm_tensor *one = hm_new(g, HM_F32, HM_DIMS(count, places));
    if (!hm_is_plan(g))
        for (int64_t i = 0; i < count * places; i++) ((float *)one->data)[i] = 1;
    hm_tensor *all = hm_mean_rows(g, h, one);
    hm_tensor *where = hm_relu(g, hm_linear(g, h, n->slot[S_PLACE_W], n->slot[S_PLACE_B]));
    where = hm_reshape(g, where, HM_DIMS(count, places * CP));
    where = hm_linear_gelu(g, where, n->slot[S_MAP_W], n->slot[S_MAP_B]);
    return hm_concat(g, hm_concat(g, hm_cast(g, all, hm_act(g)), where, 1), seen, 1);
}

/* Mean over the pairs from..to-1 of y [B,P,D] -> [B,D] in activation dtype. */
static hm_tensor *mean_of(hm_graph *g, hm_tensor *y, int64_t B, int64_t P, int64_t from, int64_t to)
{
    hm_tensor *w = hm_zeros(g, HM_F32, HM_DIMS(B, P));
    if (!hm_is_plan(g))
        for (int64_t b = 0; b < B; b++)
            for (int64_t p = from; p < to; p++) ((float *)w->data)[b * P + p] = 1;
    return hm_cast(g, hm_mean_rows(g, y, w), hm_act(g));
}

void hm_probe_forward(hm_graph *g, const hm_probe_net *n, hm_tensor *x, int64_t B,
                      hm_tensor *logits[HM_N_FACTS], hm_tensor **feature)
{
    const int64_t P = HM_PROBE_PAIRS;
    hm_tensor *y = hm_reshape(g, pairs(g, n, x, B * P), HM_DIMS(B, P, PAIR));
    hm_tensor *mean = mean_of(g, y, B, P, 0, P);
    hm_tensor *late = hm_sub_t(g, mean_of(g, y, B, P, P - 3, P), mean_of(g, y, B, P, 0, 3));
    hm_tensor *change = hm_sub_t(g, hm_slice(g, y, 1, 1, P - 1), hm_slice(g, y, 1, 0, P - 1));
    change = hm_add_t(g, hm_relu(g, change), hm_relu(g, hm_scale_t(g, change, -1)));
    change = mean_of(g, change, B, P - 1, 0, P - 1);
    hm_tensor *z = hm_concat(g, hm_concat(g, mean, late, 1), change, 1);
    z = hm_linear_gelu(g, z, n->slot[S_HIDDEN_W], n->slot[S_HIDDEN_B]);
    z = hm_linear(g, z, n->slot[S_FEATURE_W], n->slot[S_FEATURE_B]);
    if (feature) *feature = z;
    hm_tensor *h = hm_gelu(g, z);
    for (int f = 0; f < HM_N_FACTS; f++)
        logits[f] = hm_linear(g, h, n->slot[S_HEADS + 2 * f], n->slot[S_HEADS + 2 * f + 1]);
}

/* ---- a trained one ---- */

struct hm_probe {
    hm_st *st;
    hm_probe_net net;
    hm_tensor bound[HM_PROBE_N_SLOTS];
    int n_bound;
    hm_graph *g;
};

static himmel_status bind(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot,
                          himmel_error *err)
{
    hm_probe *p = user;
    const hm_tensor *t;
    const himmel_status rc = hm_st_need(p->st, name, nd, dim, &t, err);
    if (rc) return rc;
    p->bound[p->n_bound] = *t; /* slots are not const; a copy of the view is */
    *slot = &p->bound[p->n_bound++];
    return HIMMEL_OK;
}

himmel_status hm_probe_open(hm_probe **out, const char *path, himmel_error *err)
{
    *out = NULL;
    hm_probe *p = calloc(1, sizeof *p);
    if (!p) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    const hm_graph_opts go = {.act = HM_BF16};
    himmel_status rc = hm_st_open(&p->st, path, err);
    if (!rc) rc = hm_probe_params(&p->net, bind, p, err);
    if (!rc) rc = hm_graph_new(&p->g, &go, err);
    if (rc) {
        hm_probe_free(p);
        return rc;
    }
    *out = p;
    return HIMMEL_OK;
}

void hm_probe_free(hm_probe *p)
{
    if (!p) return;
    hm_graph_free(p->g);
    hm_st_close(p->st);
    free(p);
}

static void best_of(const hm_tensor *logits, int64_t B, int fact, uint8_t (*out)[HM_N_FACTS])
{
    const int64_t C = logits->dim[1];
    float x[16];
    for (int64_t b = 0; b < B; b++) {
        const size_t es = hm_dtype_size(logits->dtype);
        hm_convert(x, HM_F32, (const uint8_t *)logits->data + (size_t)(b * C) * es, logits->dtype, (size_t)C);
        int best = 0;
        for (int c = 1; c < C; c++)
            if (x[c] > x[best]) best = c;
        out[b][fact] = (uint8_t)best;
    }
}

himmel_status hm_probe_look(hm_probe *p, const uint8_t *clips, int64_t n, uint8_t (*fact)[HM_N_FACTS],
                            float *feature, himmel_error *err)
{
    enum { AT_ONCE = 16 };
    float *frames = malloc(HM_PROBE_CLIP_BYTES * sizeof *frames);
    if (!frames) return hm_fail(err, HIMMEL_ENOMEM, "probe: out of memory for a clip");
    for (int64_t at = 0; at < n; at += AT_ONCE) {
        const int64_t B = HM_MIN((int64_t)AT_ONCE, n - at);
        hm_graph_reset(p->g);
        hm_tensor *x = hm_new(p->g, HM_F32,
                              HM_DIMS(B * HM_PROBE_PAIRS, HM_PROBE_H / 2, HM_PROBE_W / 2, HM_PROBE_IN)),
                  *logits[HM_N_FACTS], *z;
        for (int64_t b = 0; b < B; b++) {
            const uint8_t *c = clips + (size_t)(at + b) * HM_PROBE_CLIP_BYTES;
            for (size_t i = 0; i < HM_PROBE_CLIP_BYTES; i++) frames[i] = (float)c[i] * (1.0f / 255);
            hm_probe_input(frames, (float *)x->data + (size_t)b * HM_PROBE_CLIP_INPUT);
        }
        hm_probe_forward(p->g, &p->net, hm_cast(p->g, x, hm_act(p->g)), B, logits, &z);
        for (int f = 0; fact && f < HM_N_FACTS; f++) best_of(logits[f], B, f, fact + at);
        if (feature)
            hm_convert(feature + at * HM_PROBE_D, HM_F32, z->data, z->dtype, (size_t)(B * HM_PROBE_D));
    }
    free(frames);
    return HIMMEL_OK;
}
