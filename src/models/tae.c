/* tae.c - tiny decoders in TAEHV's layout; see tae.h.   SPDX-License-Identifier: MIT
 * Traps: latents are squashed to -3..3 first; a block's second half of channels is the frame before, 0 before the first; a
 * growing convolution's last channels are the last frame; numbers of the layers are those of PyTorch's Sequential, which
 * counts layers without weights. */
#include "models/tae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEN = 3 }; /* latent frames that a picture is made from */

bool hm_tae_claims(const hm_st *st) { return hm_st_find(st, "decoder.7.conv.weight") && hm_st_find(st, "decoder.3.conv.0.weight") && hm_st_find(st, "decoder.22.weight"); }

/* ---- weights ---- */

static himmel_status need(const hm_st *st, const char *name, int nd, const int64_t *dim, hm_tensor **slot, himmel_error *err)
{
    const hm_tensor *t;
    const himmel_status rc = hm_st_need(st, name, nd, dim, &t, err);
    *slot = (hm_tensor *)(uintptr_t)t; /* read only */
    return rc;
}

static himmel_status load_block(hm_tae_block *b, const hm_st *st, int number, int64_t C, himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    for (int i = 0; i < 3 && !rc; i++) {
        char name[48];
        snprintf(name, sizeof name, "decoder.%d.conv.%d.weight", number, 2 * i);
        rc = need(st, name, HM_DIMS(C, i ? C : 2 * C, 3, 3), &b->conv_w[i], err);
        snprintf(name, sizeof name, "decoder.%d.conv.%d.bias", number, 2 * i);
        if (!rc) rc = need(st, name, HM_DIMS(C), &b->conv_b[i], err);
    }
    return rc;
}

/* Stage i: blocks 3 + 6 i and the two behind it, growth 7 + 6 i, convolution 8 + 6 i. C: channels in, and out. */
static himmel_status load_stage(hm_tae_stage *s, const hm_st *st, int i, int64_t *C, himmel_error *err)
{
    char name[48];
    himmel_status rc = HIMMEL_OK;
    for (int k = 0; k < 3 && !rc; k++) rc = load_block(&s->block[k], st, 3 + 6 * i + k, *C, err);
    snprintf(name, sizeof name, "decoder.%d.conv.weight", 7 + 6 * i);
    if (!rc) rc = need(st, name, HM_DIMS(-1, *C, 1, 1), &s->grow, err);
    if (!rc && s->grow->dim[0] % *C) rc = hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%s\" has %lld channels, not a multiple of %lld", hm_st_path(st), name, (long long)s->grow->dim[0], (long long)*C);
    snprintf(name, sizeof name, "decoder.%d.weight", 8 + 6 * i);
    if (!rc) rc = need(st, name, HM_DIMS(-1, *C, 3, 3), &s->conv_w, err);
    if (!rc) *C = s->conv_w->dim[0];
    return rc;
}

himmel_status hm_tae_load(hm_tae *m, const hm_st *st, int channels, himmel_error *err)
{
    *m = (hm_tae){.channels = channels};
    himmel_status rc = need(st, "decoder.1.weight", HM_DIMS(-1, -1, 3, 3), &m->in_w, err);
    if (rc) return rc;
    int64_t C = m->in_w->dim[0];
    if (m->in_w->dim[1] != channels)
        return hm_fail(err, HIMMEL_EMODEL, "%s: a tiny decoder of %lld channels, the model has %d: it belongs to another one", hm_st_path(st), (long long)m->in_w->dim[1], channels);
    rc = need(st, "decoder.1.bias", HM_DIMS(C), &m->in_b, err);
    for (int i = 0; i < 3 && !rc; i++) rc = load_stage(&m->stage[i], st, i, &C, err);
    if (!rc) rc = need(st, "decoder.22.weight", HM_DIMS(-1, C, 3, 3), &m->out_w, err);
    if (!rc) rc = need(st, "decoder.22.bias", HM_DIMS(m->out_w->dim[0]), &m->out_b, err);
    while (!rc && m->patch < 8 && 3 * m->patch * m->patch != m->out_w->dim[0]) m->patch++;
    if (!rc && m->patch == 8) rc = hm_fail(err, HIMMEL_EMODEL, "%s: a tiny decoder with %lld channels at its end, not 3 times a square", hm_st_path(st), (long long)m->out_w->dim[0]);
    return rc;
}

/* ---- forward; activations [frames, h, w, C] ---- */

static hm_tensor *conv(hm_graph *g, hm_tensor *x, hm_tensor *w, hm_tensor *b, bool relu)
{
    const int pad = (int)w->dim[2] / 2;
    return hm_conv(g, x, w, b, &(hm_conv_opts){.pad = {pad, pad}, .relu = relu, .w_oik = true});
}

/* x beside the frames before. */
static hm_tensor *with_past(hm_graph *g, hm_tensor *x)
{
    hm_tensor *past = hm_zeros(g, x->dtype, HM_DIMS(1, x->dim[1], x->dim[2], x->dim[3]));
    if (x->dim[0] > 1) past = hm_concat(g, past, hm_slice(g, x, 0, 0, x->dim[0] - 1), 0);
    return hm_concat(g, x, past, 3);
}

static hm_tensor *block(hm_graph *g, const hm_tae_block *b, hm_tensor *x)
{
    hm_tensor *y = conv(g, with_past(g, x), b->conv_w[0], b->conv_b[0], true);
    y = conv(g, y, b->conv_w[1], b->conv_b[1], true);
    y = conv(g, y, b->conv_w[2], b->conv_b[2], false);
    return hm_relu(g, hm_add_t(g, y, x));
}

static hm_tensor *twice_as_large(hm_graph *g, const hm_tensor *x)
{
    const int64_t h = x->dim[1], w = x->dim[2];
    hm_tensor *y = hm_new(g, x->dtype, HM_DIMS(x->dim[0], 2 * h, 2 * w, x->dim[3]));
    const size_t one = (size_t)x->dim[3] * hm_dtype_size(x->dtype);
    for (int64_t r = 0; r < x->dim[0] * 2 * h && !hm_is_plan(g); r++)
        for (int64_t c = 0; c < 2 * w; c++)
            memcpy((char *)y->data + (size_t)(r * 2 * w + c) * one, (const char *)x->data + (size_t)(r / 2 * w + c / 2) * one, one);
    return y;
}

/* The rows of the growing convolution that make the last frame. */
static hm_tensor *last_rows(hm_graph *g, hm_tensor *w)
{
    const int64_t C = w->dim[1];
    char *from = (char *)w->data + (size_t)((w->dim[0] - C) * C) * hm_dtype_size(w->dtype);
    return hm_wrap(g, w->dtype, HM_DIMS(C, C, 1, 1), from);
}

static hm_tensor *stage(hm_graph *g, const hm_tae_stage *s, hm_tensor *x, bool larger)
{
    for (int k = 0; k < 3; k++) x = block(g, &s->block[k], x);
    if (larger) x = twice_as_large(g, x);
    x = conv(g, x, last_rows(g, s->grow), NULL, false);
    return conv(g, x, s->conv_w, NULL, false);
}

static hm_tensor *latents(hm_graph *g, const hm_tae *m, const hm_tae_input *in)
{
    const int from = HM_MAX(0, in->at - SEEN + 1), n = in->at + 1 - from;
    hm_tensor *x = hm_new(g, HM_F32, HM_DIMS(n, in->h, in->w, m->channels));
    float *to = x->data;
    for (int64_t i = 0; i < (int64_t)n * in->h * in->w && !hm_is_plan(g); i++)
        for (int c = 0; c < m->channels; c++)
            to[i * m->channels + c] = 3 * tanhf(in->z[c * in->step_c + (i + (int64_t)from * in->h * in->w) * in->step_p] / 3);
    return x;
}

static hm_tensor *forward(hm_graph *g, const hm_tae *m, const hm_tae_input *in)
{
    hm_tensor *x = conv(g, latents(g, m, in), m->in_w, m->in_b, true);
    int width = in->w * m->patch;
    for (int i = 0; i < 3; i++) {
        const bool larger = width < in->width;
        x = stage(g, &m->stage[i], x, larger);
        width *= 1 + larger;
    }
    x = conv(g, hm_relu(g, x), m->out_w, m->out_b, false);
    x = hm_slice(g, x, 0, x->dim[0] - 1, 1);
    return m->patch > 1 ? hm_pixel_shuffle(g, x, m->patch) : x;
}

uint64_t hm_tae_bytes(const hm_tae *m, int threads, const hm_tae_input *in)
{
    hm_graph *g;
    if (hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .plan = true, .n_threads = threads}, NULL)) return 0;
    hm_cast(g, forward(g, m, in), HM_F32);
    const uint64_t bytes = hm_peak(g);
    hm_graph_free(g);
    return bytes;
}

uint8_t *hm_tae_picture(const hm_tae *m, hm_dtype act, int threads, const hm_tae_input *in, int size[2])
{
    hm_graph *g;
    if (hm_graph_new(&g, &(hm_graph_opts){.act = act, .n_threads = threads}, NULL)) return NULL;
    const hm_tensor *x = hm_cast(g, forward(g, m, in), HM_F32);
    const size_t n = (size_t)hm_numel(x);
    const float *v = x->data;
    size[0] = (int)x->dim[2], size[1] = (int)x->dim[1];
    uint8_t *rgb = malloc(n);
    for (size_t i = 0; i < n && rgb; i++) rgb[i] = (uint8_t)lroundf(255 * HM_MIN(HM_MAX(v[i], 0.0f), 1.0f));
    hm_graph_free(g);
    return rgb;
}
