/* preview.c - what both ways of making a file need before it is there.   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "film/film.h"

bool hm_rough_picture(const himmel_ctx *ctx, const hm_layout *l, const float *z, int T, int w, int h, uint8_t *rgb)
{
    float *base = malloc(3 * sizeof *base * (size_t)l->base_w * (size_t)l->base_h);
    hm_scaler *s = NULL;
    const hm_scale_opts o = {l->base_w, l->base_h, l->x / 8, l->y / 8, l->w / 8, l->h / 8, w, h, HM_FRAME_RGB8, ctx->threads};
    const hm_frame f = {HM_FRAME_RGB8, w, h, {rgb}, {3 * w}};
    const bool ok = base && !hm_scaler_new(&s, &o, NULL) &&
                    !hm_codec_decode(ctx->model->codec, z, T, l->gh, l->gw, HM_FPS * (T - 1) / 2, 1, base);
    if (ok) hm_scale(s, base, HM_PIX_F32, &f);
    hm_scaler_free(s);
    free(base);
    return ok;
}

bool hm_resize_picture(const uint8_t *rgb, int w, int h, uint8_t *out, int out_w, int out_h)
{
    hm_scaler *s;
    const hm_scale_opts o = {.src_w = w, .src_h = h, .out_w = out_w, .out_h = out_h, .kind = HM_FRAME_RGB8, .n_threads = 1};
    const hm_frame f = {HM_FRAME_RGB8, out_w, out_h, {out}, {3 * out_w}};
    if (hm_scaler_new(&s, &o, NULL)) return false;
    hm_scale(s, rgb, HM_PIX_U8, &f);
    hm_scaler_free(s);
    return true;
}

himmel_status hm_probe_output(const char *path, himmel_error *err)
{
    char part[4096];
    struct stat st;
    if ((size_t)snprintf(part, sizeof part, "%s.part", path) >= sizeof part)
        return hm_fail(err, HIMMEL_EINVAL, "%.100s...: path is too long", path);
    if (!stat(path, &st) && !S_ISREG(st.st_mode))
        return hm_fail(err, HIMMEL_EIO, "%s: cannot write: there is something that is not a regular file", path);
    FILE *f = fopen(part, "wb");
    if (!f) return hm_fail(err, HIMMEL_EIO, "%s: cannot write: %s", path, strerror(errno));
    fclose(f);
    unlink(part);
    return HIMMEL_OK;
}
