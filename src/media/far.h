/* far.h - files that another process decodes: its frames and samples come over a socket.   SPDX-License-Identifier: MIT
 *   hm_decoder, hm_sound_in -hm_far- socket -hm_far_serve- hm_decoder, hm_sound_in -libav- file
 * And what a layer above wants to know of a file, as bytes that mean nothing here. One connection for one opening of one file. What comes from there is as untrusted as the file. */
#ifndef HM_FAR_H
#define HM_FAR_H

#include "base/base.h"

/* open: a connected stream socket to a process that runs hm_far_serve() on path; -1: there is none. NULL: here. */
typedef struct {
    int (*open)(void *user, const char *path);
    void *user;
} hm_reader;

/* A reply that takes longer is a broken file's. */
enum { HM_FAR_SECONDS = 20 };

struct hm_media_info;
typedef struct hm_far hm_far;
/* Its film (info is filled in), or its sound (info NULL; *none: it has none). */
himmel_status hm_far_open(hm_far **out, const hm_reader *by, const char *path, struct hm_media_info *info, bool *none, himmel_error *err);
void hm_far_free(hm_far *f); /* NULL is fine */
/* As the functions of decode.h and sound.h. */
const char *hm_far_tag(hm_far *f, const char *key);
void hm_far_key_frames(hm_far *f);
bool hm_far_holes(hm_far *f);
himmel_status hm_far_next(hm_far *f, uint8_t *rgb, double *seconds, bool *done, himmel_error *err);
himmel_status hm_far_sound(hm_far *f, int64_t at, int n, float *lr, himmel_error *err);

/* What the other side's hm_far_other makes of path, at most `most` bytes; free *data. */
himmel_status hm_far_other(const hm_reader *by, const char *path, size_t most, uint8_t **data, size_t *n, himmel_error *err);

/* ---- the other side ---- */
typedef himmel_status hm_far_other_fn(const char *path, uint8_t **data, size_t *n, himmel_error *err);
/* Answers whoever asks at fd about path, until they close it. */
void hm_far_serve(int fd, const char *path, hm_far_other_fn *other);

#endif
