/* stills.c - pictures out of films, for people and for galleries.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "media/decode.h"
#include "media/image.h"

enum { MAX_STILLS = 400, MAX_SHEET_SIDE = 16384 };

/* Is any pixel of the first frame fully transparent? */
static himmel_status look_for_holes(hm_decoder *d, const char *path, int *any, himmel_error *err)
{
    const hm_media_info *i = hm_decoder_info(d);
    const size_t n = 3 * (size_t)i->width * (size_t)i->height;
    bool done = false;
    uint8_t *px = malloc(n);
    himmel_status rc = px ? hm_decoder_next(d, px, NULL, &done, err) : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    *any = !rc && !done && memchr(px, 255, n);
    free(px);
    return rc;
}

himmel_status himmel_probe(const char *path, himmel_media *out, himmel_error *err)
{
    hm_decoder *d;
    *out = (himmel_media){0};
    himmel_status rc = hm_decoder_open(&d, path, err);
    if (rc) return rc;
    const hm_media_info *i = hm_decoder_info(d);
    int transparent = 0;
    if (!i->fps_num && hm_decoder_holes(d)) rc = look_for_holes(d, path, &transparent, err);
    if (!rc)
        *out = (himmel_media){.width = i->width, .height = i->height, .fps_num = i->fps_num, .fps_den = i->fps_den,
                              .seconds = i->fps_num ? i->seconds : 0, .transparent = transparent};
    hm_decoder_free(d);
    return rc;
}

himmel_status himmel_write_picture(const himmel_picture *pic, const char *path, himmel_error *err)
{
    if (!hm_image_writable(path)) return hm_fail(err, HIMMEL_EINVAL, "%s: must end in .png, .jpg, .jpeg or .webp", path);
    const hm_frame f = {HM_FRAME_RGB8, pic->width, pic->height, {(uint8_t *)pic->rgb}, {3 * pic->width}};
    return hm_image_write(path, &f, NULL, 0, NULL, err);
}

typedef struct {
    hm_decoder *decoder;
    const hm_media_info *info;
    hm_scaler *scaler;
    uint8_t *frame, *sheet;
    int n, columns, w, h;   /* stills, and the size of each */
    int done;               /* stills that are drawn */
} sheet;

static void draw(sheet *s, int k)
{
    uint8_t *at = s->sheet + 3 * ((size_t)(k / s->columns) * (size_t)s->h * (size_t)(s->columns * s->w) + (size_t)(k % s->columns * s->w));
    const hm_frame f = {HM_FRAME_RGB8, s->w, s->h, {at}, {3 * s->columns * s->w}};
    hm_scale(s->scaler, s->frame, HM_PIX_U8, &f);
}

/* Still k shows what the film shows at (k + 1/2)/n of its length; a frame is shown until the next one comes. */
static himmel_status fill(sheet *s, himmel_error *err)
{
    for (bool done = false, any = false; s->done < s->n;) {
        double at = 0;
        uint8_t *keep = s->frame;
        const himmel_status rc = hm_decoder_next(s->decoder, keep, &at, &done, err);
        if (rc) return rc;
        if (done && !any) return hm_fail(err, HIMMEL_EFORMAT, "has no picture in it");
        any = true;
        /* with frames in hand at `at`, everything wanted up to half a frame behind is drawn from it */
        const double slack = s->info->fps_num ? 0.5 * s->info->fps_den / s->info->fps_num : 0;
        while (s->done < s->n && (done || !s->info->fps_num || (s->done + 0.5) / s->n * s->info->seconds <= at + slack)) draw(s, s->done++);
    }
    return HIMMEL_OK;
}

himmel_status himmel_stills(const char *path, int n, int columns, int width, const char *output, himmel_error *err)
{
    sheet s = {.n = n, .columns = columns, .w = width};
    if (n < 1 || n > MAX_STILLS || columns < 1 || columns > n || width < 8 || width * columns > MAX_SHEET_SIDE)
        return hm_fail(err, HIMMEL_EINVAL, "%d stills in %d columns of %d pixels: 1..%d stills, a sheet of at most %d pixels", n, columns,
                       width, MAX_STILLS, MAX_SHEET_SIDE);
    if (!hm_image_writable(output)) return hm_fail(err, HIMMEL_EINVAL, "%s: must end in .png, .jpg, .jpeg or .webp", output);
    himmel_status rc = hm_decoder_open(&s.decoder, path, err);
    if (rc) return rc;
    s.info = hm_decoder_info(s.decoder);
    s.h = HM_MAX(2, (int)((int64_t)s.info->height * width / s.info->width));
    const int rows = (n + columns - 1) / columns;
    if (s.h * (int64_t)rows > MAX_SHEET_SIDE) rc = hm_fail(err, HIMMEL_EINVAL, "%s: the sheet would be more than %d pixels high", path, MAX_SHEET_SIDE);
    const hm_scale_opts o = {.src_w = s.info->width, .src_h = s.info->height, .out_w = s.w, .out_h = s.h, .kind = HM_FRAME_RGB8, .n_threads = 1};
    if (!rc) rc = hm_scaler_new(&s.scaler, &o, err);
    s.frame = calloc(3 * (size_t)s.info->width, (size_t)s.info->height);
    s.sheet = rc ? NULL : calloc(3 * (size_t)(width * columns), (size_t)(s.h * rows));
    if (!rc && (!s.frame || !s.sheet)) rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory for stills", path);
    if (!rc) rc = fill(&s, err);
    const hm_frame f = {HM_FRAME_RGB8, width * columns, s.h * rows, {s.sheet}, {3 * width * columns}};
    if (!rc) rc = hm_image_write(output, &f, NULL, 0, NULL, err);
    hm_scaler_free(s.scaler);
    free(s.frame);
    free(s.sheet);
    hm_decoder_free(s.decoder);
    return rc;
}
