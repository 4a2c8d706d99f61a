/* eval.c - himmel_eval(): which evaluation; report, model in parts, contact sheets.
 * SPDX-License-Identifier: MIT */
#include "train/eval.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "film/film.h"
#include "media/image.h"

void hm_eval_say(const hm_job *job, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    hm_job_step(job, "eval", 0, 0, -1, line);
}

himmel_status hm_eval_write_json(json_t *j, const char *path, himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    if (path) {
        char *text = j ? json_dumps(j, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6)) : NULL;
        rc = text ? hm_write_file(path, text, strlen(text), err)
                  : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
        free(text);
    }
    json_decref(j);
    return rc;
}

json_t *hm_eval_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

json_t *hm_eval_figures_json(const hm_film_figures *f)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "edge_x", hm_eval_number(f->edge[0]), "edge_y",
                     hm_eval_number(f->edge[1]), "edge_t", hm_eval_number(f->edge[2]), "start",
                     hm_eval_number(f->start), "motion", hm_eval_number(f->motion), "flicker",
                     hm_eval_number(f->flicker), "gradient", hm_eval_number(f->gradient));
}

/* ---- model ---- */

static himmel_status open_text_and_dit(hm_himmel1 *m, const char *path, himmel_error *err)
{
    hm_himmel1_config c;
    const hm_tensor *piece;
    himmel_status rc = hm_himmel1_config_parse(&c, hm_st_meta(m->st, "config"), path, err);
    if (rc || (rc = hm_st_need(m->st, "tokenizer.spiece", 1, (int64_t[]){-1}, &piece, err)) ||
        (rc = hm_tok_parse(&m->tok, piece->data, (size_t)hm_numel(piece), path, err)) ||
        (rc = hm_t5_load(&m->t5, &c.t5, m->st, "text_encoder.", err)) ||
        (rc = hm_dit_load(&m->dit, &c.dit, m->st, "model.diffusion_model.", err)))
        return rc;
    m->text_len = c.text_len;
    m->shift = c.shift;
    if (hm_codec_channels(m->codec) != c.dit.in_channels || hm_tok_size(m->tok) > c.t5.vocab)
        return hm_fail(err, HIMMEL_EMODEL, "%s: codec, tokenizer and transformer do not fit each other",
                       path);
    return HIMMEL_OK;
}

static himmel_status file_sha256(const char *path, char hex[65], himmel_error *err)
{
    hm_map map;
    hm_sha256 s;
    uint8_t digest[32];
    const himmel_status rc = hm_map_open(&map, path, err);
    if (rc) return rc;
    hm_sha256_init(&s);
    hm_sha256_add(&s, map.data, map.len);
    hm_sha256_end(&s, digest);
    hm_sha256_hex(digest, hex);
    hm_map_close(&map);
    return HIMMEL_OK;
}

himmel_status hm_eval_open_model(hm_himmel1 **out, const char *path, bool all, himmel_error *err)
{
    *out = NULL;
    hm_himmel1 *m = calloc(1, sizeof *m);
    if (!m) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    himmel_status rc = file_sha256(path, m->sha256, err);
    if (!rc) rc = hm_st_open(&m->st, path, err);
    if (!rc) rc = hm_codec_load(&m->codec, m->st, err);
    if (!rc && all) rc = open_text_and_dit(m, path, err);
    bool refiner = false;
    for (size_t i = 0; !rc && !refiner && i < hm_st_count(m->st); i++) {
        const char *name;
        hm_st_at(m->st, i, &name);
        refiner = !strncmp(name, "refiner.", 8);
    }
    if (!rc && refiner) rc = hm_refiner_load(&m->refiner, m->st, err);
    if (rc)
        hm_himmel1_close(m);
    else
        *out = m;
    return rc;
}

static himmel_status refined(const hm_himmel1 *m, const float *z, const hm_eval_shape *o, int from, int n,
                             float *out, himmel_error *err)
{
    const int W = 8 * HM_BLOCK * o->gw, H = 8 * HM_BLOCK * o->gh, f = 8 / o->scale;
    hm_stream *s = NULL;
    float *full = malloc((size_t)W * H * 3 * sizeof *full);
    himmel_status rc = full ? hm_stream_new(&s, m, z, o->gw, o->gh, o->T, o->threads, err)
                            : hm_fail(err, HIMMEL_ENOMEM, "out of memory for a frame of %dx%d", W, H);
    for (int i = 0; !rc && i < n; i++) {
        hm_pix t;
        const void *p = hm_stream_frame(s, from + i, &t);
        hm_convert(full, HM_F32, p, t == HM_PIX_F32 ? HM_F32 : HM_BF16, (size_t)W * H * 3);
        hm_box_average(full, W, H, f, out + (size_t)i * (W / f) * (H / f) * 3);
    }
    hm_stream_free(s);
    free(full);
    return rc;
}

himmel_status hm_eval_frames(const hm_himmel1 *m, const float *z, const hm_eval_shape *o, int from, int n,
                             float *out, himmel_error *err)
{
    const size_t values = (size_t)n * 3 * HM_BLOCK * HM_BLOCK * (size_t)(o->gw * o->gh * o->scale * o->scale);
    himmel_status rc;
    if (o->scale > 1)
        rc = refined(m, z, o, from, n, out, err);
    else if ((rc = hm_codec_decode(m->codec, z, o->T, o->gh, o->gw, from, n, out)))
        hm_fail(err, rc, "out of memory for %d frames", n);
    for (size_t i = 0; !rc && i < values; i++) out[i] = HM_MAX(0.0f, HM_MIN(1.0f, out[i]));
    return rc;
}

/* ---- contact sheets ---- */

himmel_status hm_sheet_init(hm_sheet *s, int columns, int rows, int w, int h, himmel_error *err)
{
    *s = (hm_sheet){columns, rows, w, h, 2, NULL};
    uint64_t bytes;
    const uint64_t W = (uint64_t)columns * (uint64_t)(w + s->gap) - 2,
                   H = (uint64_t)rows * (uint64_t)(h + s->gap) - 2;
    if (W > 16384 || H > 16384 || !hm_mul(W * 3, H, &bytes))
        return hm_fail(err, HIMMEL_EINVAL, "a sheet of %d x %d tiles of %dx%d is too large", columns, rows, w,
                       h);
    s->rgb = malloc(bytes);
    if (!s->rgb) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a sheet of %d tiles", columns * rows);
    memset(s->rgb, 255, bytes);
    return HIMMEL_OK;
}

void hm_sheet_deinit(hm_sheet *s)
{
    free(s->rgb);
    s->rgb = NULL;
}

void hm_sheet_put(hm_sheet *s, int tile, const float *rgb)
{
    const int W = s->columns * (s->w + s->gap) - s->gap;
    const int x0 = tile % s->columns * (s->w + s->gap), y0 = tile / s->columns * (s->h + s->gap);
    for (int y = 0; y < s->h; y++) {
        uint8_t *out = s->rgb + ((size_t)(y0 + y) * W + x0) * 3;
        const float *in = rgb + (size_t)y * s->w * 3;
        for (int i = 0; i < 3 * s->w; i++) out[i] = (uint8_t)(255 * HM_MAX(0.0f, HM_MIN(1.0f, in[i])) + 0.5f);
    }
}

himmel_status hm_sheet_write(const hm_sheet *s, const char *path, himmel_error *err)
{
    const int W = s->columns * (s->w + s->gap) - s->gap, H = s->rows * (s->h + s->gap) - s->gap;
    const hm_frame f = {.kind = HM_FRAME_RGB8, .w = W, .h = H, .plane = {s->rgb}, .stride = {3 * W}};
    return hm_image_write(path, &f, NULL, 0, NULL, err);
}

/* ---- entry ---- */

HIMMEL_API himmel_status himmel_eval(const char *what, const himmel_option *opts, size_t n_opts,
                                     himmel_progress_fn *on_progress, void *user, himmel_error *err)
{
    static const struct {
        const char *name;
        himmel_status (*run)(const hm_job *job, himmel_error *err);
    } part[] = {{"films", hm_eval_films_cmd}, {"recon", hm_eval_recon_cmd}};
    const hm_job job = {opts, n_opts, on_progress, user};
    const char *name = what && *what ? what : "films";
    for (size_t i = 0; i < HM_COUNT(part); i++)
        if (!strcmp(name, part[i].name)) return part[i].run(&job, err);
    return hm_fail(err, HIMMEL_EINVAL, "eval: unknown evaluation \"%.40s\"; there are films and recon", name);
}
