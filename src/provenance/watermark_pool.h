/* watermark_pool.h - frames to pooled evidence of the watermark, second by second.   SPDX-License-Identifier: MIT */
#ifndef HM_WATERMARK_POOL_H
#define HM_WATERMARK_POOL_H

#include "provenance/watermark_internal.h"

enum { HM_WM_MAX_SEGMENTS = 64 };
typedef struct {
    hm_wm_canvas canvas;
    double from, to;       /* seconds of its first and last frame */
    int frames;
} hm_wm_segment;

typedef struct hm_wm_pool hm_wm_pool;
himmel_status hm_wm_pool_new(hm_wm_pool **out, int w, int h, himmel_error *err);
void hm_wm_pool_free(hm_wm_pool *p); /* NULL is fine */
himmel_status hm_wm_pool_add(hm_wm_pool *p, const hm_frame *f, double seconds, himmel_error *err);
/* At most MAX_SEGMENTS: of one second each, of two in films of more than so many seconds, and so on. */
int hm_wm_pool_segments(const hm_wm_pool *p, const hm_wm_segment **first);

#endif
