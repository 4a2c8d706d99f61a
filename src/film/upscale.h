/* upscale.h - a film or picture larger, with finer detail.   SPDX-License-Identifier: MIT */
#ifndef HM_UPSCALE_H
#define HM_UPSCALE_H

#include "film/edit.h"

typedef struct hm_upscaler hm_upscaler;
/* For frames of d->clip[0] at the size of d->req; d outlives it. */
himmel_status hm_upscaler_new(hm_upscaler **out, const hm_edit *d, himmel_error *err);
void hm_upscaler_free(hm_upscaler *u); /* NULL is fine */
/* Frame k of the clip into rgb [h][w][3]. In order is cheap. */
himmel_status hm_upscale(hm_upscaler *u, hm_clip *clip, int k, uint8_t *rgb, himmel_error *err);

#endif
