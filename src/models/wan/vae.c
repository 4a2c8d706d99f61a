/* vae.c - Wan's autoencoders from end to end, one chunk at a time.   SPDX-License-Identifier: MIT
 *   encode: conv1, stages of residuals (and a downsampling), middle, head, conv1 of the latents -> the mean, normalised
 *   decode: denormalised, conv2, conv1, middle, stages of residuals (and an upsampling), head
 * How many stages there are and what is in them is read off the names. 2.2 works on 2 x 2 pixels as 12 channels and adds a
 * shortcut around every stage. Trap: a stage of 2.2's encoder has its shortcut even where nothing is downsampled; the last
 * of its decoder has none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/wan/vae_ops.h"

struct hm_wan_vae {
    const hm_st *st;
    int z, pixels, stages;     /* latent channels; 1 or 2: pixels a side of what the core sees; stages that halve the size */
    bool nested;               /* 2.2's names */
    const float *mean, *std;
};

static const float mean16[16] = {-0.7571f, -0.7089f, -0.9113f, 0.1075f, -0.1745f, 0.9653f, -0.1517f, 1.5508f,
                                 0.4134f, -0.0715f, 0.5517f, -0.3632f, -0.1922f, -0.9497f, 0.2503f, -0.2921f};
static const float std16[16] = {2.8184f, 1.4541f, 2.3275f, 2.6558f, 1.2196f, 1.7708f, 2.6052f, 2.0743f,
                                3.2687f, 2.1526f, 2.8652f, 1.5579f, 1.6382f, 1.1253f, 2.8251f, 1.9160f};
static const float mean48[48] = {
    -0.2289f, -0.0052f, -0.1323f, -0.2339f, -0.2799f, 0.0174f, 0.1838f, 0.1557f, -0.1382f, 0.0542f, 0.2813f, 0.0891f,
    0.1570f, -0.0098f, 0.0375f, -0.1825f, -0.2246f, -0.1207f, -0.0698f, 0.5109f, 0.2665f, -0.2108f, -0.2158f, 0.2502f,
    -0.2055f, -0.0322f, 0.1109f, 0.1567f, -0.0729f, 0.0899f, -0.2799f, -0.1230f, -0.0313f, -0.1649f, 0.0117f, 0.0723f,
    -0.2839f, -0.2083f, -0.0520f, 0.3748f, 0.0152f, 0.1957f, 0.1433f, -0.2944f, 0.3573f, -0.0548f, -0.1681f, -0.0667f};
static const float std48[48] = {
    0.4765f, 1.0364f, 0.4514f, 1.1677f, 0.5313f, 0.4990f, 0.4818f, 0.5013f, 0.8158f, 1.0344f, 0.5894f, 1.0901f,
    0.6885f, 0.6165f, 0.8454f, 0.4978f, 0.5759f, 0.3523f, 0.7135f, 0.6804f, 0.5833f, 1.4146f, 0.8986f, 0.5659f,
    0.7069f, 0.5338f, 0.4889f, 0.4917f, 0.4069f, 0.4999f, 0.6866f, 0.4093f, 0.5709f, 0.6065f, 0.6415f, 0.4944f,
    0.5726f, 1.2042f, 0.5458f, 1.6887f, 0.3971f, 1.0600f, 0.3943f, 0.5537f, 0.5444f, 0.4089f, 0.7468f, 0.7744f};

int hm_wan_vae_channels(const hm_wan_vae *v) { return v->z; }
int hm_wan_vae_stride(const hm_wan_vae *v) { return v->pixels << v->stages; }
void hm_wan_vae_free(hm_wan_vae *v) { free(v); }

/* ---- stages ---- */

/* Gives back what was used since mark but y's values, which move there. */
static hm_tensor *compact(vae_run *r, hm_mark mark, const hm_tensor *y)
{
    const hm_tensor old = *y;
    if (r->rc) return (hm_tensor *)(uintptr_t)y;
    hm_restore(r->g, mark);
    hm_tensor *moved = hm_new(r->g, old.dtype, old.nd, old.dim);
    if (!hm_is_plan(r->g)) memmove(moved->data, old.data, (size_t)hm_numel(&old) * hm_dtype_size(old.dtype));
    return moved;
}

/* The block named prefix: a residual one or a resampling; false: there is none. */
static bool one_block(vae_run *r, hm_tensor **x, const char *prefix, bool down)
{
    const hm_mark mark = hm_save(r->g);
    if (hm_wv_has(r, prefix, "residual.0.gamma")) *x = hm_wv_residual(r, *x, prefix);
    else if (hm_wv_has(r, prefix, "resample.1.weight")) *x = down ? hm_wv_downsample(r, *x, prefix) : hm_wv_upsample(r, *x, prefix);
    else return false;
    *x = compact(r, mark, *x);
    return true;
}

static void tap(vae_run *r, const char *side, const char *what, const hm_tensor *x)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", side, what);
    hm_wv_show(r, name, x);
}

static hm_tensor *flat_stages(vae_run *r, hm_tensor *x, bool down)
{
    const char *kind = down ? "downsamples" : "upsamples";
    for (int i = 0; i < 64; i++) {
        char prefix[128];
        snprintf(prefix, sizeof prefix, "%s.%s.%d.", down ? "encoder" : "decoder", kind, i);
        hm_tensor *before = x;
        const hm_mark mark = hm_save(r->g);
        if (!one_block(r, &x, prefix, down)) break;
        if (hm_numel(x) == hm_numel(before) && !r->rc) x = hm_settle(r->g, mark, before, x); /* nobody needs it any more */
        prefix[strlen(prefix) - 1] = 0;
        tap(r, down ? "enc" : "dec", prefix + 8, x);
    }
    return x;
}

/* A stage of 2.2: its blocks, and beside them the shortcut. */
static bool nested_stage(vae_run *r, hm_tensor **x, int i, bool down)
{
    const char *kind = down ? "downsamples" : "upsamples";
    hm_tensor *start = *x;
    bool resampled = false, timed = false;
    int j = 0;
    for (; j < 64; j++) {
        char prefix[128], name[64];
        snprintf(prefix, sizeof prefix, "%s.%s.%d.%s.%d.", down ? "encoder" : "decoder", kind, i, kind, j);
        resampled |= hm_wv_has(r, prefix, "resample.1.weight");
        timed |= hm_wv_has(r, prefix, "time_conv.weight");
        if (!one_block(r, x, prefix, down)) break;
        snprintf(name, sizeof name, "%s.%d.%d", kind, i, j);
        tap(r, down ? "enc" : "dec", name, *x);
    }
    if (!j || r->rc) return j > 0;
    char name[64];
    const int64_t C = (*x)->dim[4];
    if (down || resampled) {
        hm_tensor *s = (down ? hm_wv_average : hm_wv_repeat)(r, start, C, timed ? 2 : 1, resampled ? 2 : 1);
        snprintf(name, sizeof name, "%s.%d.avg_shortcut", kind, i);
        tap(r, down ? "enc" : "dec", name, s);
        if (hm_numel(s) != hm_numel(*x)) r->rc = hm_fail(r->err, HIMMEL_EMODEL, "%s: stage %d of the autoencoder has a shortcut of another size", hm_st_path(r->st), i);
        else *x = hm_add_t(r->g, *x, s);
    }
    snprintf(name, sizeof name, "%s.%d", kind, i);
    tap(r, down ? "enc" : "dec", name, *x);
    return true;
}

static hm_tensor *stages(const hm_wan_vae *v, vae_run *r, hm_tensor *x, bool down)
{
    if (!v->nested) return flat_stages(r, x, down);
    for (int i = 0; i < 16 && nested_stage(r, &x, i, down); i++) {
    }
    return x;
}

static hm_tensor *middle(vae_run *r, hm_tensor *x, bool enc)
{
    const char *side = enc ? "enc" : "dec";
    x = hm_wv_residual(r, x, enc ? "encoder.middle.0." : "decoder.middle.0.");
    tap(r, side, "middle.0", x);
    x = hm_wv_attention(r, x, enc ? "encoder.middle.1." : "decoder.middle.1.");
    tap(r, side, "middle.1", x);
    x = hm_wv_residual(r, x, enc ? "encoder.middle.2." : "decoder.middle.2.");
    tap(r, side, "middle.2", x);
    return x;
}

static hm_tensor *head(vae_run *r, hm_tensor *x, bool enc)
{
    const char *prefix = enc ? "encoder." : "decoder.";
    x = hm_wv_conv3(r, hm_wv_norm_silu(r, x, prefix, "head.0"), prefix, "head.2");
    tap(r, enc ? "enc" : "dec", "head", x);
    return x;
}

static hm_tensor *decode_chunk(const hm_wan_vae *v, vae_run *r, hm_tensor *z)
{
    hm_tensor *x = hm_wv_pointwise(r, hm_cast(r->g, z, hm_act(r->g)), "", "conv2");
    hm_wv_show(r, "conv2", x);
    x = hm_wv_conv3(r, x, "decoder.", "conv1");
    tap(r, "dec", "conv1", x);
    return head(r, stages(v, r, middle(r, x, false), false), false);
}

static hm_tensor *encode_chunk(const hm_wan_vae *v, vae_run *r, hm_tensor *x)
{
    x = hm_wv_conv3(r, hm_cast(r->g, x, hm_act(r->g)), "encoder.", "conv1");
    tap(r, "enc", "conv1", x);
    x = head(r, middle(r, stages(v, r, x, true), true), true);
    x = hm_wv_pointwise(r, x, "", "conv1");
    hm_wv_show(r, "conv1", x);
    return x;
}

/* ---- loading: both directions in a plan ---- */

static himmel_status check(const hm_wan_vae *v, himmel_error *err)
{
    vae_run *r = calloc(1, sizeof *r);
    hm_graph *g = NULL;
    himmel_status rc = r ? hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .plan = true}, err) : hm_fail(err, HIMMEL_ENOMEM, "autoencoder: out of memory");
    if (!rc) {
        *r = (vae_run){.g = g, .st = v->st, .visit = true, .err = err};
        const int64_t side = (int64_t)2 << v->stages, C = 3 * v->pixels * v->pixels;
        hm_tensor *y = decode_chunk(v, r, hm_new(g, HM_F32, HM_DIMS(1, 1, 2, 2, v->z)));
        if (!r->rc && y->dim[4] != C) r->rc = hm_fail(err, HIMMEL_EMODEL, "%s: the decoder ends in %d channels", hm_st_path(v->st), (int)y->dim[4]);
        r->n_cache = 0;
        y = encode_chunk(v, r, hm_new(g, HM_F32, HM_DIMS(1, 4, side, side, C)));
        if (!r->rc && y->dim[4] != 2 * v->z) r->rc = hm_fail(err, HIMMEL_EMODEL, "%s: the encoder ends in %d channels", hm_st_path(v->st), (int)y->dim[4]);
        rc = r->rc;
    }
    hm_graph_free(g);
    free(r);
    return rc;
}

static int count_halvings(const hm_st *st, bool nested)
{
    int n = 0;
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < (nested ? 64 : 1); j++) {
            char name[128];
            if (nested) snprintf(name, sizeof name, "encoder.downsamples.%d.downsamples.%d.resample.1.weight", i, j);
            else snprintf(name, sizeof name, "encoder.downsamples.%d.resample.1.weight", i);
            n += hm_wv_find(st, name) != NULL;
        }
    return n;
}

himmel_status hm_wan_vae_load(hm_wan_vae **out, const hm_st *st, himmel_error *err)
{
    *out = NULL;
    const hm_tensor *conv2 = hm_wv_find(st, "conv2.weight");
    const int z = conv2 && conv2->nd == 5 && conv2->dim[0] <= 48 ? (int)conv2->dim[0] : 0;
    if (z != 16 && z != 48) return hm_fail(err, HIMMEL_EMODEL, "%s is not an autoencoder of Wan: conv2.weight is missing or has neither 16 nor 48 channels", hm_st_path(st));
    hm_wan_vae *v = calloc(1, sizeof *v);
    if (!v) return hm_fail(err, HIMMEL_ENOMEM, "autoencoder: out of memory");
    const bool nested = hm_wv_find(st, "encoder.downsamples.0.downsamples.0.residual.0.gamma") != NULL;
    *v = (hm_wan_vae){st, z, z == 48 ? 2 : 1, count_halvings(st, nested), nested, z == 48 ? mean48 : mean16, z == 48 ? std48 : std16};
    himmel_status rc = v->stages < 1 || v->stages > 5 ? hm_fail(err, HIMMEL_EMODEL, "%s: an autoencoder with %d halvings", hm_st_path(st), v->stages) : check(v, err);
    if (rc) hm_wan_vae_free(v);
    else *out = v;
    return rc;
}

/* ---- pixels and latents in and out ---- */

/* Frames t0.. of planar video [3,T,H,W] as [1,n,H/p,W/p,3pp], channel (c p + dx) p + dy. */
static hm_tensor *gather(const hm_wan_vae *v, hm_graph *g, const float *video, const int size[3], int t0, int n)
{
    const int T = size[0], H = size[1], W = size[2], p = v->pixels;
    hm_tensor *x = hm_new(g, HM_F32, HM_DIMS(1, n, H / p, W / p, 3 * p * p));
    float *d = x->data;
    for (int c = 0; c < 3; c++)
        for (int t = 0; t < n; t++)
            for (int y = 0; y < H; y++)
                for (int w = 0; w < W; w++) {
                    const int64_t at = ((int64_t)t * (H / p) + y / p) * (W / p) + w / p;
                    d[at * 3 * p * p + (c * p + w % p) * p + y % p] = video[(((int64_t)c * T + t0 + t) * H + y) * W + w];
                }
    return x;
}

/* [1,n,h,w,3pp] -> [1,n,H,W,3] within -1..1. */
static hm_tensor *to_rgb(const hm_wan_vae *v, const vae_run *r, hm_tensor *x)
{
    hm_graph *g = r->g;
    const int64_t n = x->dim[1], p = v->pixels, H = x->dim[2] * p, W = x->dim[3] * p;
    hm_tensor *rgb = hm_new(g, HM_F32, HM_DIMS(1, n, H, W, 3));
    const float *s = hm_cast(g, x, HM_F32)->data;
    float *d = rgb->data;
    for (int64_t i = 0; i < n * H * W; i++)
        for (int64_t c = 0; c < 3; c++) {
            const int64_t w = i % W, y = i / W % H, t = i / W / H, at = (t * (H / p) + y / p) * (W / p) + w / p;
            d[i * 3 + c] = s[at * 3 * p * p + (c * p + w % p) * p + y % p];
        }
    hm_wv_show(r, "video_raw", rgb);
    for (int64_t i = 0; i < n * H * W * 3; i++) d[i] = d[i] < -1 ? -1 : d[i] > 1 ? 1 : d[i];
    return rgb;
}

himmel_status hm_wan_vae_decode(hm_wan_vae *v, hm_graph *g, const float *latent, const int size[3],
                                const hm_wan_vae_sink *sink, himmel_error *err)
{
    const int64_t T = size[0], H = size[1], W = size[2], hw = H * W;
    vae_run *r = calloc(1, sizeof *r);
    if (!r) return hm_fail(err, HIMMEL_ENOMEM, "autoencoder: out of memory");
    *r = (vae_run){.g = g, .st = v->st, .sink = sink, .err = err};
    for (int64_t t = 0; t < T && !r->rc; t++) {
        const hm_mark mark = hm_save(g);
        r->chunk = (int)t;
        r->n_cache = 0;
        hm_tensor *z = hm_new(g, HM_F32, HM_DIMS(1, 1, H, W, v->z));
        for (int64_t i = 0; i < hw; i++)
            for (int64_t c = 0; c < v->z; c++)
                ((float *)z->data)[i * v->z + c] = latent[(c * T + t) * hw + i] * v->std[c] + v->mean[c];
        hm_tensor *x = decode_chunk(v, r, z);
        if (!r->rc) {
            const hm_tensor *rgb = to_rgb(v, r, x);
            if (sink->on_frames && sink->on_frames(sink->user, rgb->data, (int)rgb->dim[1], (int)rgb->dim[2], (int)rgb->dim[3]))
                r->rc = hm_fail(err, HIMMEL_ECANCELLED, "decoding was stopped");
        }
        hm_restore(g, mark);
    }
    const himmel_status rc = r->rc;
    hm_wv_reset(r);
    free(r);
    return rc;
}

himmel_status hm_wan_vae_encode(hm_wan_vae *v, hm_graph *g, const float *video, const int size[3], float *latent,
                                const hm_wan_vae_sink *sink, himmel_error *err)
{
    const int stride = hm_wan_vae_stride(v), T = size[0];
    const int64_t To = 1 + (T - 1) / 4, hw = (int64_t)(size[1] / stride) * (size[2] / stride);
    if (T < 1 || T % 4 != 1 || size[1] % stride || size[2] % stride || size[1] < 1 || size[2] < 1)
        return hm_fail(err, HIMMEL_EINVAL, "autoencoder: %d frames of %dx%d: wants 1 + 4k frames, sides of %d", T, size[2], size[1], stride);
    vae_run *r = calloc(1, sizeof *r);
    if (!r) return hm_fail(err, HIMMEL_ENOMEM, "autoencoder: out of memory");
    *r = (vae_run){.g = g, .st = v->st, .sink = sink, .err = err};
    for (int64_t t = 0; t < To && !r->rc; t++) {
        const hm_mark mark = hm_save(g);
        r->chunk = (int)t;
        r->n_cache = 0;
        hm_tensor *x = encode_chunk(v, r, gather(v, g, video, size, t ? (int)(4 * t - 3) : 0, t ? 4 : 1));
        const float *s = r->rc ? NULL : hm_cast(g, x, HM_F32)->data;
        for (int64_t i = 0; i < hw && s; i++)
            for (int64_t c = 0; c < v->z; c++)
                latent[(c * To + t) * hw + i] = (s[i * 2 * v->z + c] - v->mean[c]) / v->std[c];
        hm_restore(g, mark);
    }
    const himmel_status rc = r->rc;
    hm_wv_reset(r);
    free(r);
    return rc;
}

himmel_status hm_wan_vae_plan(const hm_wan_vae *v, hm_graph *g, const int size[3], bool encode, uint64_t *kept, himmel_error *err)
{
    const int stride = hm_wan_vae_stride(v), p = v->pixels, T = encode ? 1 + (size[0] - 1) / 4 : size[0];
    *kept = 0;
    vae_run *r = calloc(1, sizeof *r);
    if (!r) return hm_fail(err, HIMMEL_ENOMEM, "autoencoder: out of memory");
    *r = (vae_run){.g = g, .st = v->st, .err = err};
    for (int t = 0; t < T && !r->rc; t++) {
        const hm_mark mark = hm_save(g);
        r->chunk = t;
        r->n_cache = 0;
        if (encode) hm_cast(g, encode_chunk(v, r, hm_new(g, HM_F32, HM_DIMS(1, t ? 4 : 1, size[1] / p, size[2] / p, 3 * p * p))), HM_F32);
        else {
            const hm_tensor *x = decode_chunk(v, r, hm_new(g, HM_F32, HM_DIMS(1, 1, size[1], size[2], v->z)));
            hm_new(g, HM_F32, HM_DIMS(2, t ? 4 : 1, (int64_t)size[1] * stride, (int64_t)size[2] * stride, 3)); /* as f32, and as pixels */
            (void)x;
        }
        hm_restore(g, mark);
    }
    const himmel_status rc = r->rc;
    *kept = r->kept;
    free(r);
    return rc;
}
