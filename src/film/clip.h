/* clip.h - frames of an input, at the size of the result.   SPDX-License-Identifier: MIT */
#ifndef HM_CLIP_H
#define HM_CLIP_H

#include "media/decode.h"
#include "media/scale.h"

enum { HM_CLIP_MAX_SIDE = 4096, HM_CLIP_MAX_FRAMES = 200000 };

typedef struct hm_clip hm_clip;
/* Reads the whole file once: its frames are counted, their times are known, and it can be decoded to the end. Of a film
 * only from..to seconds count (to 0: to the end); the first frame used is frame 0 at time 0. EFORMAT: not a film or
 * picture, nothing in the range, or too large. by: who decodes it. */
himmel_status hm_clip_open(hm_clip **out, hm_reader by, const char *path, double from, double to, himmel_error *err);
void hm_clip_free(hm_clip *c); /* NULL is fine */
const char *hm_clip_path(const hm_clip *c);
const hm_media_info *hm_clip_info(const hm_clip *c);
const char *hm_clip_tag(const hm_clip *c, const char *key); /* of the file, NULL: none; valid until a frame is asked for */
bool hm_clip_is_picture(const hm_clip *c);
int hm_clip_frames(const hm_clip *c);
double hm_clip_seconds(const hm_clip *c); /* to the end of the last frame */
double hm_clip_fps(const hm_clip *c);
double hm_clip_time(const hm_clip *c, int k);
double hm_clip_origin(const hm_clip *c); /* of frame 0, by the file's clock */
int hm_clip_nearest(const hm_clip *c, double seconds); /* frame shown then */

/* Where the input lies in results of w x h: pad: all of it with black around, else it fills and is cut. Before any frame. */
himmel_status hm_clip_fit(hm_clip *c, int w, int h, bool pad, int threads, himmel_error *err);
/* The input's rectangle in the result. */
void hm_clip_inner(const hm_clip *c, int *x, int *y, int *w, int *h);
/* Pixels of the result for one of the input. */
double hm_clip_scale(const hm_clip *c);
/* A point of the input in pixels of the result. */
void hm_clip_map(const hm_clip *c, double x, double y, double *ox, double *oy);
/* From now on frames show the input's holes: white where it is fully transparent, black elsewhere. */
void hm_clip_holes(hm_clip *c);
/* Frame k as [h][w][3], valid until the next call. Forward is cheap, back starts again. NULL: err. */
const uint8_t *hm_clip_frame(hm_clip *c, int k, himmel_error *err);

#endif
