/* visible_mark.h - the small himmel sign that says: a machine made this.   SPDX-License-Identifier: MIT */
#ifndef HM_VISIBLE_MARK_H
#define HM_VISIBLE_MARK_H

#include "media/scale.h"

typedef struct hm_vmark hm_vmark;
/* For frames of w x h: a sign of about 4 % of the shorter side (12 px at least) in the lower right corner. */
himmel_status hm_vmark_new(hm_vmark **out, int w, int h, himmel_error *err);
void hm_vmark_free(hm_vmark *m); /* NULL is fine */
/* Draw it over f as it looks at t seconds: the sun breathes, the cloud drifts. */
void hm_vmark_draw(hm_vmark *m, const hm_frame *f, double t);
/* Where it lies: for tests, and for whoever wants to keep clear of it. */
void hm_vmark_rect(const hm_vmark *m, int *x, int *y, int *w, int *h);

#endif
