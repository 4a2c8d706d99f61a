/* edit_mask.c - which pixels may change, and how they are mixed with those that stay.   SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "film/edit.h"

/* Distance of every changing pixel from those that stay, in thirds of a pixel (chamfer 3-4), capped; then
 * alpha = distance / (feather + 1), the feather at most half of the widest place. Pixels that stay have alpha 0. */
static void feather(hm_mask *m, uint16_t *d)
{
    const int w = m->w, h = m->h;
    uint16_t most = 0;
    for (int i = 0; i < w * h; i++) d[i] = m->hit[i] ? 60000 : 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < w * h; i++) {
            const int at = pass ? w * h - 1 - i : i, s = pass ? 1 : -1, x = at % w, y = at / w;
            static const struct { int dx, dy, cost; } near[] = {{1, 0, 3}, {-1, 1, 4}, {0, 1, 3}, {1, 1, 4}};
            for (int k = 0; k < 4; k++) {
                const int nx = x + s * near[k].dx, ny = y + s * near[k].dy;
                if (nx < 0 || ny < 0 || nx >= w || ny >= h) continue;
                d[at] = (uint16_t)HM_MIN(d[at], d[ny * w + nx] + near[k].cost);
            }
            if (pass) most = HM_MAX(most, d[at]);
        }
    const float soft = 3.0f * (fminf(HM_FEATHER, (float)most / 6) + 1);
    for (int i = 0; i < w * h; i++) m->alpha[i] = (uint8_t)(fminf(1.0f, (float)d[i] / soft) * 255.0f + 0.5f);
}

static himmel_status draw(hm_mask *m, int state, himmel_error *err)
{
    const size_t n = (size_t)m->w * (size_t)m->h;
    if (m->film) {
        const uint8_t *px = hm_clip_frame(m->film, state, err);
        if (!px) return HIMMEL_EFORMAT;
        for (size_t i = 0; i < n; i++) m->hit[i] = px[3 * i] + px[3 * i + 1] + px[3 * i + 2] > 3 * 127;
    } else {
        for (int y = 0; y < m->h; y++)
            for (int x = 0; x < m->w; x++) {
                const bool in = state && x + 0.5 > m->box[0] && x + 0.5 < m->box[0] + m->box[2] && y + 0.5 > m->box[1] &&
                                y + 0.5 < m->box[1] + m->box[3];
                m->hit[(size_t)y * (size_t)m->w + (size_t)x] = in != m->outside;
            }
    }
    uint16_t *d = malloc(n * sizeof *d);
    if (!d) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a mask of %dx%d", m->w, m->h);
    feather(m, d);
    free(d);
    m->have = state;
    return HIMMEL_OK;
}

himmel_status hm_mask_at(hm_mask *m, double t, himmel_error *err)
{
    const int state = m->film ? hm_clip_nearest(m->film, t) : m->outside || (t >= m->from - 1e-6 && t <= m->to + 1e-6);
    return state == m->have ? HIMMEL_OK : draw(m, state, err);
}

static himmel_status open_film(hm_mask *m, const himmel_edit *e, const hm_clip *input, const himmel_request *req, int threads,
                               himmel_error *err)
{
    const char *path = e->mask;
    himmel_status rc = hm_clip_open(&m->film, hm_edit_reader(e), path, 0, 0, err);
    if (rc) return rc;
    if (e->mask_holes) hm_clip_holes(m->film);
    const hm_media_info *a = hm_clip_info(m->film), *b = hm_clip_info(input);
    if (a->width != b->width || a->height != b->height)
        return hm_fail(err, HIMMEL_EINVAL, "%s: the mask is %dx%d, but %s is %dx%d", path, a->width, a->height,
                       hm_clip_path(input), b->width, b->height);
    rc = hm_clip_fit(m->film, req->width, req->height, e->fit == HIMMEL_FIT_PAD, threads, err);
    for (int i = 0; !rc && i < hm_clip_frames(m->film); i++) {
        rc = draw(m, i, err);
        if (!rc && memchr(m->hit, 1, (size_t)m->w * (size_t)m->h)) return HIMMEL_OK;
    }
    return rc ? rc : hm_fail(err, HIMMEL_EINVAL, "%s: the mask is empty: what may change must be %s", path, e->mask_holes ? "fully transparent" : "white");
}

himmel_status hm_mask_open(hm_mask *m, const himmel_edit *e, const hm_clip *input, const himmel_request *req, int threads,
                           himmel_error *err)
{
    *m = (hm_mask){.w = req->width, .h = req->height, .have = -1, .from = e->box_from, .to = e->box_to};
    m->hit = malloc((size_t)m->w * (size_t)m->h);
    m->alpha = malloc((size_t)m->w * (size_t)m->h);
    if (!m->hit || !m->alpha) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a mask of %dx%d", m->w, m->h);
    if (e->mask) return open_film(m, e, input, req, threads, err);
    if (e->outpaint) {
        int x, y, w, h;
        hm_clip_inner(input, &x, &y, &w, &h);
        if (w == m->w && h == m->h)
            return hm_fail(err, HIMMEL_EINVAL, "%s: fills %dx%d already, there is nothing to paint around it",
                           hm_clip_path(input), w, h);
        m->outside = true;
        m->box[0] = x, m->box[1] = y, m->box[2] = w, m->box[3] = h;
        return HIMMEL_OK;
    }
    const hm_media_info *i = hm_clip_info(input);
    const double *b = e->box;
    if (b[2] <= 0 || b[3] <= 0 || b[0] < 0 || b[1] < 0 || b[0] + b[2] > i->width || b[1] + b[3] > i->height)
        return hm_fail(err, HIMMEL_EINVAL, "box %g,%g,%g,%g does not lie in %s, which is %dx%d", b[0], b[1], b[2], b[3],
                       hm_clip_path(input), i->width, i->height);
    double x1, y1;
    hm_clip_map(input, b[0], b[1], &m->box[0], &m->box[1]);
    hm_clip_map(input, b[0] + b[2], b[1] + b[3], &x1, &y1);
    m->box[2] = x1 - m->box[0], m->box[3] = y1 - m->box[1];
    if (m->to <= 0) m->to = 1e9;
    if (m->from >= m->to || m->from > hm_clip_seconds(input))
        return hm_fail(err, HIMMEL_EINVAL, "box from %g to %g s: %s is %.2f s long", m->from, e->box_to, hm_clip_path(input),
                       hm_clip_seconds(input));
    return HIMMEL_OK;
}

void hm_mask_deinit(hm_mask *m)
{
    hm_clip_free(m->film);
    free(m->hit);
    free(m->alpha);
}
