/* refine_data.c - footage for the refiner: render windows small and frames large, encode, decode with errors.
 * SPDX-License-Identifier: MIT
 * Cost of a record at C = 64: 60 frames of 112x112 and 6 of 512x512, 2.3 million pixels; of one that the transformer makes, 60 frames of
 * 256x144, 6 of 512x512 and 12 passes of some 12 GFLOP. */
#include "train/refine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "film/film.h"
#include "train/cache.h"
#include "world/caption.h"

enum {
    FILM_T = 3,
    FILM_FRAMES = HM_FPS * (FILM_T - 1) + HM_WINDOW - HM_FPS,
    FIRST = 1 - HM_LAP,
    LAST = HM_FPS * (FILM_T - 1)
};

himmel_status hm_pool_init(hm_pool *p, const hm_codec *codec, int crop, int cap, uint64_t seed,
                           himmel_error *err)
{
    *p = (hm_pool){.codec = codec, .crop = crop, .cap = cap, .seed = seed};
    p->rec = calloc((size_t)cap, sizeof *p->rec);
    return p->rec ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "train refiner: out of memory");
}

static void record_free(hm_record *r)
{
    free(r->z);
    free(r->frame);
    *r = (hm_record){0};
}

void hm_pool_deinit(hm_pool *p)
{
    for (int i = 0; p->rec && i < p->cap; i++) record_free(&p->rec[i]);
    free(p->rec);
    *p = (hm_pool){0};
}

/* An even place for the crop, the borders more often than by chance. */
static int place(hm_rng *r, int size, int crop)
{
    const int at = (int)hm_rng_below(r, (uint32_t)(size - crop + 2 * HM_BLOCK)) - HM_BLOCK;
    return HM_MIN(HM_MAX(at, 0), size - crop) & ~1;
}

/* What of the scene is looked at: grid, crop, the blocks that decide it, the frames. */
static void choose_view(hm_record *q, hm_rng *r, int crop)
{
    static const int grid[][2] = {{16, 9}, {16, 9}, {16, 9}, {16, 9}, {16, 9}, {12, 12}, {9, 16}};
    const int *g = grid[hm_rng_below(r, HM_COUNT(grid))];
    q->gw = g[0];
    q->gh = g[1];
    q->x0 = place(r, HM_BLOCK * q->gw, crop);
    q->y0 = place(r, HM_BLOCK * q->gh, crop);
    q->bx = HM_MAX(q->x0 / HM_BLOCK - 1, 0);
    q->by = HM_MAX(q->y0 / HM_BLOCK - 1, 0);
    q->bw = HM_MIN((q->x0 + crop - 1) / HM_BLOCK + 2, q->gw) - q->bx;
    q->bh = HM_MIN((q->y0 + crop - 1) / HM_BLOCK + 2, q->gh) - q->by;
    q->T = hm_rng_float(r) < 0.3f ? 1 : FILM_T;
    q->n_frames = q->T == 1 ? 1 : HM_RECORD_FRAMES;
    for (int i = 0; i < q->n_frames;
         i++) /* spread over the two seconds; now and then the first frames, where the still fades */
        q->t[i] =
            q->T == 1 ? 0 : HM_MIN(LAST, (int)(((float)i + hm_rng_float(r)) * (LAST + 1) / HM_RECORD_FRAMES));
}

static himmel_status encode_view(const hm_pool *p, hm_record *q, const hm_renderer *rd, double t0)
{
    const int K = hm_codec_channels(p->codec), w = q->bw * HM_BLOCK, h = q->bh * HM_BLOCK,
              n = q->T == 1 ? 1 : FILM_FRAMES;
    const size_t frame = (size_t)w * h * 3, nz = (size_t)q->bw * q->bh * K;
    const hm_view v = {q->gw * HM_BLOCK, q->gh * HM_BLOCK, q->bx * HM_BLOCK, q->by * HM_BLOCK, w, h};
    float *px = malloc(frame * n * sizeof *px);
    q->z = malloc(nz * q->T * sizeof *q->z);
    himmel_status rc = px && q->z ? HIMMEL_OK : HIMMEL_ENOMEM;
    for (int f = 0; !rc && f < n; f++)
        hm_render(rd, &v, t0 + (double)(q->T == 1 ? 0 : FIRST + f) / HM_FPS, px + f * frame);
    if (!rc)
        rc = hm_codec_encode_still(p->codec, q->T == 1 ? px : px - FIRST * (ptrdiff_t)frame, q->bh, q->bw,
                                   q->z);
    for (int j = 1; !rc && j < q->T; j++)
        rc = hm_codec_encode(p->codec, px + (size_t)(j - 1) * HM_FPS * frame, q->bh, q->bw, q->z + j * nz);
    free(px);
    return rc;
}

/* The view's blocks of the whole film's coefficients. */
static void cut_view(const hm_record *q, const float *film, int K, float *z)
{
    const size_t row = (size_t)q->bw * K;
    for (int j = 0; j < q->T; j++)
        for (int y = 0; y < q->bh; y++, z += row)
            memcpy(z, film + (((size_t)j * q->gh + q->by + y) * q->gw + q->bx) * K, row * sizeof *z);
}

/* Coefficients with the errors that films have: the scene's, forgotten to some level and made again. */
static himmel_status make_view(const hm_pool *p, hm_record *q, const hm_scene *s, double t0, hm_rng *r, himmel_error *err)
{
    enum { STEPS = 6 };
    const int K = hm_codec_channels(p->codec);
    const size_t n = (size_t)q->T * q->gh * q->gw * K;
    float *film = malloc(2 * n * sizeof *film);
    q->z = malloc((size_t)q->T * q->bh * q->bw * K * sizeof *q->z);
    himmel_status rc = film && q->z ? HIMMEL_OK : HIMMEL_ENOMEM;
    char caption[1024];
    const hm_given given = {.z = film, .start = hm_rng_range(r, 0.3f, 0.95f)};
    const hm_sample_opts o = {.prompt = caption, .given = &given, .seed = hm_rng_u64(r) >> 1, .steps = STEPS, .guidance = 3,
                              .gw = q->gw, .gh = q->gh, .T = q->T};
    uint32_t said;
    hm_caption(caption, sizeof caption, s, &(hm_caption_opts){.say = hm_caption_sayable(s)}, hm_rng_u64(r), &said);
    if (!rc) rc = hm_render_latents(p->codec, s, t0, q->T, q->gh, q->gw, film, NULL, err);
    if (!rc) rc = hm_sample(p->model, &o, 1, film + n, NULL, err);
    if (!rc) cut_view(q, film + n, K, q->z);
    q->made = true;
    free(film);
    return rc;
}

static himmel_status draw_frames(const hm_pool *p, hm_record *q, const hm_renderer *rd, double t0)
{
    const int up = HM_REFINER_UP, side = up * p->crop;
    const size_t n = (size_t)side * side * 3;
    const hm_view v = {q->gw * HM_BLOCK * up, q->gh * HM_BLOCK * up, q->x0 * up, q->y0 * up, side, side};
    float *px = malloc(n * sizeof *px);
    q->frame = malloc(n * q->n_frames);
    if (!px || !q->frame) {
        free(px);
        return HIMMEL_ENOMEM;
    }
    for (int i = 0; i < q->n_frames; i++) {
        hm_render(rd, &v, t0 + (double)q->t[i] / HM_FPS, px);
        uint8_t *o = q->frame + (size_t)i * n;
        for (size_t k = 0; k < n; k++) o[k] = (uint8_t)(HM_MIN(HM_MAX(px[k], 0.0f), 1.0f) * 255.0f + 0.5f);
    }
    free(px);
    return HIMMEL_OK;
}

static himmel_status make_record(const hm_pool *p, int64_t i, hm_record *q, himmel_error *err)
{
    hm_rng r = hm_rng_at(p->seed, (uint64_t)i);
    hm_scene s;
    do hm_scene_random(&s, hm_rng_u64(&r) >> 1);
    while (hm_held_out(&s) != p->held_out);
    choose_view(q, &r, p->crop);
    const double t0 = hm_rng_range(&r, 0, 8);
    hm_renderer *rd;
    himmel_status rc = hm_renderer_new(&rd, &s, err);
    if (rc) return rc;
    const bool film = p->model && hm_rng_float(&r) < (float)p->films;
    rc = film ? make_view(p, q, &s, t0, &r, err) : encode_view(p, q, rd, t0);
    if (!rc) rc = draw_frames(p, q, rd, t0);
    hm_renderer_free(rd);
    return rc == HIMMEL_ENOMEM ? hm_fail(err, rc, "train refiner: out of memory") : rc;
}

himmel_status hm_pool_fill(hm_pool *p, int64_t upto, himmel_error *err)
{
    const int64_t from = HM_MAX(p->made, upto - p->cap);
    himmel_status rc = HIMMEL_OK;
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = from; i < upto; i++) {
        hm_record *q = &p->rec[i % p->cap];
        himmel_error mine = {0};
        record_free(q);
        const himmel_status one = make_record(p, i, q, &mine);
        if (one) {
#pragma omp critical(hm_pool_error)
            {
                rc = one;
                if (err) *err = mine;
            }
        }
    }
    p->made = HM_MAX(p->made, upto);
    return rc;
}

/* ---- a sample ---- */

/* Known pixels at double size: the target's means, in a random box or its outside. */
static void draw_known(hm_rng *r, const float *target, int C, float *known, float *mask)
{
    const int n = 2 * C, x0 = (int)hm_rng_below(r, (uint32_t)n), y0 = (int)hm_rng_below(r, (uint32_t)n);
    const int x1 = x0 + 4 + (int)hm_rng_below(r, (uint32_t)n),
              y1 = y0 + 4 + (int)hm_rng_below(r, (uint32_t)n);
    const bool inside = hm_rng_float(r) < 0.5f;
    for (int y = 0; y < n; y++)
        for (int x = 0; x < n; x++) {
            mask[y * n + x] = (x >= x0 && x < x1 && y >= y0 && y < y1) == inside ? 1.0f : 0.0f;
            for (int c = 0; c < 3; c++) {
                float s = 0;
                for (int k = 0; k < 16; k++)
                    s += target[((size_t)(4 * y + k / 4) * 4 * n + 4 * x + k % 4) * 3 + c];
                known[(y * n + x) * 3 + c] = s / 16;
            }
        }
}

static void mirror(float *px, int w, int h)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w / 2; x++)
            for (int c = 0; c < 3; c++) {
                float *a = px + ((size_t)y * w + x) * 3 + c, *b = px + ((size_t)y * w + w - 1 - x) * 3 + c,
                      t = *a;
                *a = *b;
                *b = t;
            }
}

/* Three decoded frames around t, the crop of them: dec [3][C][C][3]. z: scratch like q->z. */
static himmel_status decode_crop(const hm_pool *p, const hm_record *q, int t, double noise, hm_rng *r,
                                 float *dec)
{
    const int K = hm_codec_channels(p->codec), C = p->crop, w = q->bw * HM_BLOCK, h = q->bh * HM_BLOCK;
    const size_t nz = (size_t)q->T * q->bw * q->bh * K, frame = (size_t)w * h * 3;
    const float *std = hm_codec_std(p->codec);
    float *z = malloc((2 * nz + 3 * frame) * sizeof *z);
    if (!z) return HIMMEL_ENOMEM;
    float *e = z + nz, *px = e + nz;
    hm_randn(e, nz, hm_rng_u64(r), 0);
    for (size_t i = 0; i < nz; i++) z[i] = q->z[i] + (float)noise * fminf(1.0f, std[i % (size_t)K]) * e[i];
    const int last = HM_FPS * (q->T - 1), from = HM_MAX(t - 1, 0), n = HM_MIN(t + 1, last) - from + 1;
    const himmel_status rc = hm_codec_decode(p->codec, z, q->T, q->bh, q->bw, from, n, px);
    const int ox = q->x0 - q->bx * HM_BLOCK, oy = q->y0 - q->by * HM_BLOCK;
    for (int f = 0; f < 3; f++) {
        const int at = HM_MIN(HM_MAX(t - 1 + f, 0), last) - from;
        for (int y = 0; y < C; y++)
            memcpy(dec + ((size_t)f * C + y) * C * 3, px + at * frame + ((size_t)(oy + y) * w + ox) * 3,
                   (size_t)C * 3 * sizeof *dec);
    }
    free(z);
    return rc;
}

/* Weight of every 4x4 patch: 1 + sharp * its detail, at most 1 + 3 sharp, scaled to the mean
 * typical / (typical + mean square of the residual). Samples differ a thousandfold in what is missing (still
 * skies, driving snow); unweighted, the few that nobody can restore drown the others (measured: half the gain
 * after 400 steps, and clear skies got worse). */
static void patch_weights(const float *target, const float *residual, int C, float sharp, float *weight)
{
    const double typical = 2e-4; /* 37 dB */
    const int n = 2 * C, side = 8 * C;
    double sum = 0, missing = 0;
    for (int i = 0; i < n * n * HM_REFINER_OUT; i++) missing += (double)residual[i] * residual[i];
    const double level = typical / (typical + missing / (n * n * HM_REFINER_OUT));
    for (int i = 0; i < n * n; i++) {
        float g = 0;
        for (int k = 0; k < 16 && sharp > 0; k++) {
            const int y = i / n * 4 + k / 4, x = i % n * 4 + k % 4, xx = HM_MIN(x + 1, side - 1),
                      yy = HM_MIN(y + 1, side - 1);
            const float *a = target + ((size_t)y * side + x) * 3 + 1,
                        *b = target + ((size_t)y * side + xx) * 3 + 1;
            g = fmaxf(g, fabsf(*a - *b) + fabsf(*a - target[((size_t)yy * side + x) * 3 + 1]));
        }
        weight[i] = 1 + sharp * fminf(3.0f, g * 20);
        sum += weight[i];
    }
    for (int i = 0; i < n * n; i++) weight[i] *= (float)(level * n * n / sum);
}

himmel_status hm_pool_sample(const hm_pool *p, const hm_crop_opts *o, uint64_t seed, uint64_t index,
                             float *x, float *residual, float *weight, float *picture, himmel_error *err)
{
    const int C = p->crop, side = HM_REFINER_UP * C;
    const size_t nt = (size_t)side * side * 3, nd = (size_t)C * C * 9, nk = (size_t)4 * C * C;
    hm_rng r = hm_rng_at(seed, index);
    const int64_t have = HM_MIN(p->made, p->cap);
    const hm_record *q = &p->rec[(p->made - 1 - (int64_t)hm_rng_below(&r, (uint32_t)have)) % p->cap];
    const int f = (int)hm_rng_below(&r, (uint32_t)q->n_frames);
    const float u = hm_rng_float(&r);
    const bool flip = hm_rng_float(&r) < 0.5f, known = hm_rng_float(&r) < (float)o->known && !q->made;
    float *target = malloc((nt + nd + 4 * nk) * sizeof *target);
    if (!target) return hm_fail(err, HIMMEL_ENOMEM, "train refiner: out of memory");
    float *dec = target + nt, *pix = dec + nd, *mask = pix + 3 * nk;
    for (size_t i = 0; i < nt; i++) target[i] = (float)q->frame[f * nt + i] * (1 / 255.0f);
    himmel_status rc = decode_crop(p, q, q->t[f], q->made ? 0 : o->noise * (double)(u * u), &r, dec);
    if (flip) {
        mirror(target, side, side);
        for (int k = 0; k < 3; k++) mirror(dec + k * nd / 3, C, C);
    }
    if (known) draw_known(&r, target, C, pix, mask);
    if (!rc) {
        const int x0 = flip ? q->gw * HM_BLOCK - q->x0 - C : q->x0;
        hm_refiner_input(x, dec, C, C, q->t[f], x0, q->y0, known ? pix : NULL, known ? mask : NULL);
        rc = hm_refiner_residual(residual, x, C, C, target);
        if (!rc) patch_weights(target, residual, C, o->sharp, weight);
        if (!rc) hm_refiner_patches(picture, target, C, C);
    }
    free(target);
    return rc ? hm_fail(err, rc, "train refiner: out of memory") : HIMMEL_OK;
}
