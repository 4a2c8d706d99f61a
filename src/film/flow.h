/* flow.h - how far what a picture shows has moved since another one.   SPDX-License-Identifier: MIT
 * Dense optical flow for small movements between frames of one film: least squares over windows (Lucas and Kanade 1981),
 * from coarse to fine (Bouguet 2000). Pictures are brightness, f32, any unit that is 1/255 of white. */
#ifndef HM_FILM_FLOW_H
#define HM_FILM_FLOW_H

#include "base/base.h"

typedef struct hm_flow hm_flow;
/* For pictures of w x h, each 8..4096. ENOMEM; EINVAL names the size. */
himmel_status hm_flow_new(hm_flow **out, int w, int h, himmel_error *err);
void hm_flow_free(hm_flow *f); /* NULL is fine */
/* field [h][w][3]: what `to` shows at (x, y) stands in `from` at (x + field[0], y + field[1]); field[2], 0..1, is how well
 * the two agree there. from, to [h][w]. The same pictures give the same field. */
void hm_flow_find(hm_flow *f, const float *from, const float *to, float *field);

/* Brightness of rgb [h][w][3], means of k x k pixels: out [h/k][w/k]. */
void hm_brightness(const uint8_t *rgb, int w, int h, int k, float *out);

#endif
