/* layout.c - what is computed for a request: grid of blocks, crop, frames; and is it a request at all.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "film/film.h"
#include "media/image.h"

enum { MIN_BLOCKS = 4, MAX_BLOCKS_SIDE = HM_H1_MAX_BLOCKS / MIN_BLOCKS };

void hm_grid(int width, int height, int *gw, int *gh)
{
    const double aspect = (double)width / height;
    double best = 0;
    for (int h = MIN_BLOCKS; h <= MAX_BLOCKS_SIDE; h++)
        for (int w = MIN_BLOCKS; w <= MAX_BLOCKS_SIDE && w * h <= HM_H1_MAX_BLOCKS; w++) {
            /* seen blocks are detail; one that is cut away was paid for and hides what was composed */
            const double seen = fmin(w, h * aspect) * fmin(h, w / aspect);
            const double share = seen / (w * h), score = seen * share * share * share;
            if (score > best + 1e-9) best = score, *gw = w, *gh = h;
        }
}

void hm_layout_for(hm_layout *l, const himmel_request *req)
{
    hm_grid(req->width, req->height, &l->gw, &l->gh);
    l->base_w = HM_BLOCK * l->gw;
    l->base_h = HM_BLOCK * l->gh;
    l->full_w = 8 * l->base_w;
    l->full_h = 8 * l->base_h;
    const double aspect = (double)req->width / req->height;
    l->w = fmin(l->full_w, l->full_h * aspect);
    l->h = fmin(l->full_h, l->full_w / aspect);
    l->x = (l->full_w - l->w) / 2;
    l->y = (l->full_h - l->h) / 2;
    const bool film = req->kind == HIMMEL_FILM;
    l->T = film ? 1 + (int)ceil(req->seconds - 1e-9) : 1;
    l->base_step = film ? (double)HM_FPS * req->fps_den / req->fps_num : 0;
    l->n_frames = film ? HM_MAX(1, (int)lround(req->seconds * req->fps_num / req->fps_den)) : 1;
}

bool hm_utf8_valid(const char *text, size_t *bad)
{
    const uint8_t *s = (const uint8_t *)text;
    for (size_t i = 0; s[i];) {
        const uint8_t c = s[i];
        const int more = c < 0x80                ? 0
                         : c >= 0xc2 && c < 0xe0 ? 1
                         : c >= 0xe0 && c < 0xf0 ? 2
                         : c >= 0xf0 && c < 0xf5 ? 3
                                                 : -1;
        *bad = i;
        if (more < 0) return false;
        for (int k = 1; k <= more; k++)
            if ((s[i + (size_t)k] & 0xc0) != 0x80) return false;
        const uint8_t next = more ? s[i + 1] : 0;
        if ((c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) || (c == 0xf0 && next < 0x90) ||
            (c == 0xf4 && next > 0x8f))
            return false; /* overlong, surrogate, beyond U+10FFFF */
        i += 1 + (size_t)more;
    }
    return true;
}

himmel_request himmel_request_default(void)
{
    return (himmel_request){.kind = HIMMEL_FILM,
                            .width = 1920,
                            .height = 1080,
                            .seconds = 10,
                            .fps_num = HM_FPS,
                            .fps_den = 1,
                            .steps = 25,
                            .guidance = 4.5,
                            .crf = HM_ENCODER_CRF,
                            .visible_mark = 1};
}

static himmel_status check_prompt(const char *name, const char *text, bool needed, himmel_error *err)
{
    if (!text || !text[strspn(text, " \t\r\n")]) {
        if (needed)
            return hm_fail(err, HIMMEL_EINVAL, "the %s is empty: say what the film should show", name);
        return HIMMEL_OK;
    }
    const size_t n = strlen(text);
    size_t bad;
    if (n > HIMMEL_MAX_PROMPT)
        return hm_fail(err, HIMMEL_EINVAL, "the %s is %zu bytes long, at most %d are possible", name, n,
                       HIMMEL_MAX_PROMPT);
    if (!hm_utf8_valid(text, &bad))
        return hm_fail(err, HIMMEL_EINVAL, "the %s is not valid UTF-8: byte %zu is 0x%02x", name, bad + 1,
                       (uint8_t)text[bad]);
    return HIMMEL_OK;
}

static himmel_status check_output(const himmel_request *r, himmel_error *err)
{
    if (!r->output || !*r->output) return hm_fail(err, HIMMEL_EINVAL, "no output file is named");
    if (r->kind == HIMMEL_FILM && !hm_has_ending(r->output, ".mp4"))
        return hm_fail(err, HIMMEL_EINVAL, "%.300s: a film is written as .mp4%s", r->output,
                       hm_image_writable(r->output) ? " (for a picture: himmel image)" : "");
    if (r->kind == HIMMEL_IMAGE && !hm_image_writable(r->output))
        return hm_fail(err, HIMMEL_EINVAL, "%.300s: an image is written as .png, .jpg, .jpeg or .webp",
                       r->output);
    return HIMMEL_OK;
}

static himmel_status check_film(const himmel_request *r, himmel_error *err)
{
    if (!(r->seconds >= 1 && r->seconds <= HIMMEL_MAX_SECONDS))
        return hm_fail(err, HIMMEL_EINVAL, "seconds is %g, must be 1..%d", r->seconds, HIMMEL_MAX_SECONDS);
    const double fps = r->fps_den > 0 ? (double)r->fps_num / r->fps_den : -1;
    if (!(fps >= 1 && fps <= HIMMEL_MAX_FPS) || r->fps_den > 1 << 20)
        return hm_fail(err, HIMMEL_EINVAL, "fps is %d/%d, must be 1..%d", r->fps_num, r->fps_den,
                       HIMMEL_MAX_FPS);
    if (r->crf < 1 || r->crf > HIMMEL_MAX_CRF)
        return hm_fail(err, HIMMEL_EINVAL, "crf is %d, must be 1..%d", r->crf, HIMMEL_MAX_CRF);
    return HIMMEL_OK;
}

himmel_status himmel_check(const himmel_request *r, himmel_error *err)
{
    if (r->kind != HIMMEL_FILM && r->kind != HIMMEL_IMAGE)
        return hm_fail(err, HIMMEL_EINVAL, "kind is %d, must be film or image", (int)r->kind);
    himmel_status rc = check_prompt("prompt", r->prompt, true, err);
    if (!rc) rc = check_prompt("negative prompt", r->negative, false, err);
    if (!rc) rc = check_output(r, err);
    if (rc) return rc;
    if (r->width < HIMMEL_MIN_SIDE || r->width > HIMMEL_MAX_SIDE || r->height < HIMMEL_MIN_SIDE ||
        r->height > HIMMEL_MAX_SIDE || r->width % 2 || r->height % 2)
        return hm_fail(err, HIMMEL_EINVAL, "size is %dx%d, each side must be even and %d..%d", r->width,
                       r->height, HIMMEL_MIN_SIDE, HIMMEL_MAX_SIDE);
    if (r->kind == HIMMEL_FILM && (rc = check_film(r, err))) return rc;
    if (r->steps < 1 || r->steps > HIMMEL_MAX_STEPS)
        return hm_fail(err, HIMMEL_EINVAL, "steps is %d, must be 1..%d", r->steps, HIMMEL_MAX_STEPS);
    if (!(r->guidance >= 1 && r->guidance <= 20))
        return hm_fail(err, HIMMEL_EINVAL, "guidance is %g, must be 1..20", r->guidance);
    if (r->quality < 0 || r->quality > 100) return hm_fail(err, HIMMEL_EINVAL, "quality is %d, must be 1..100, or 0", r->quality);
    if (!(r->step_cache >= 0 && r->step_cache <= 1))
        return hm_fail(err, HIMMEL_EINVAL, "step cache is %g, must be 0..1", r->step_cache);
    return HIMMEL_OK;
}
