/* decode.h - images and films from files to RGB frames.   SPDX-License-Identifier: MIT
 * Untrusted bytes: local files of a short list of formats only, at most HM_DECODE_MAX_SIDE pixels a side. */
#ifndef HM_DECODE_H
#define HM_DECODE_H

#include "media/far.h"

enum { HM_DECODE_MAX_SIDE = 8192 };

typedef struct hm_media_info {
    int width, height;
    int fps_num, fps_den;   /* 0/1 for a picture */
    double seconds;         /* as the file says, 0 = not known */
    int64_t n_frames;       /* as the file says, 0 = not known */
} hm_media_info;

typedef struct hm_decoder hm_decoder;
himmel_status hm_decoder_open(hm_decoder **out, const char *path, himmel_error *err);
/* The same in the process that by leads to; NULL: here. */
himmel_status hm_decoder_open_by(hm_decoder **out, const hm_reader *by, const char *path, himmel_error *err);
void hm_decoder_free(hm_decoder *d); /* NULL is fine */
const hm_media_info *hm_decoder_info(const hm_decoder *d);
/* Metadata of the file, NULL if it has no such key. */
const char *hm_decoder_tag(const hm_decoder *d, const char *key);
/* From now on decode key frames only: a fast look through a long film. */
void hm_decoder_key_frames(hm_decoder *d);
/* From the first frame on, which was not asked for yet: white where pixels are fully transparent, black elsewhere. False: the
 * first one has no transparency. */
bool hm_decoder_holes(hm_decoder *d);
/* The next frame into rgb [height][width][3] (NULL: not converted, only counted); *seconds its time (may be NULL). *done: no more frames, rgb
 * untouched. */
himmel_status hm_decoder_next(hm_decoder *d, uint8_t *rgb, double *seconds, bool *done, himmel_error *err);

#endif
