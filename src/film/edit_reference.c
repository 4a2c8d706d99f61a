/* edit_reference.c - a picture of who or what a film is about, for models that take one.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "film/edit.h"

/* White, not black, where the picture is not: as VACE's makers prepare theirs. */
static void whiten(uint8_t *rgb, const hm_clip *c, int w, int h)
{
    int x, y, in_w, in_h;
    hm_clip_inner(c, &x, &y, &in_w, &in_h);
    for (int v = 0; v < h; v++)
        for (int u = 0; u < w; u++)
            if (u < x || u >= x + in_w || v < y || v >= y + in_h) memset(rgb + 3 * ((size_t)v * (size_t)w + (size_t)u), 255, 3);
}

himmel_status hm_edit_reference(const himmel_ctx *ctx, const himmel_edit *e, int w, int h, uint8_t **rgb, himmel_error *err)
{
    hm_clip *c = NULL;
    *rgb = NULL;
    if (!e->reference) return HIMMEL_OK;
    if (!ctx->facts.takes_reference)
        return hm_fail(err, HIMMEL_EINVAL, "%s: %s takes no reference picture, Wan's VACE does (wan2.1_vace_1.3B)", e->reference,
                       ctx->released ? ctx->facts.name : "himmel-1");
    himmel_status rc = hm_clip_open(&c, hm_edit_reader(e), e->reference, 0, 0, err);
    if (!rc) rc = hm_clip_fit(c, w, h, true, ctx->threads, err);
    const uint8_t *px = rc ? NULL : hm_clip_frame(c, 0, err);
    if (!rc && !px) rc = HIMMEL_EFORMAT;
    if (!rc && !(*rgb = malloc(3 * (size_t)w * (size_t)h))) rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", e->reference);
    if (!rc) {
        memcpy(*rgb, px, 3 * (size_t)w * (size_t)h);
        whiten(*rgb, c, w, h);
    }
    hm_clip_free(c);
    return rc;
}

float *hm_edit_levels(const uint8_t *rgb, size_t n)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; x && i < n; i++) x[i] = (float)rgb[i] / 255;
    return x;
}
