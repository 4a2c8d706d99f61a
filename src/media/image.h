/* image.h - pictures to and from files.   SPDX-License-Identifier: MIT */
#ifndef HM_IMAGE_H
#define HM_IMAGE_H

#include "media/encode.h"

/* Write an RGB8 frame to .png, .jpg/.jpeg or .webp (by path's ending) with tags inside (PNG: iTXt chunks,
 * JPEG: comment, WebP: XMP). Written beside and renamed; same picture, same bytes. *bytes may be NULL. */
himmel_status hm_image_write(const char *path, const hm_frame *rgb, const hm_tag *tags, size_t n_tags,
                             uint64_t *bytes, himmel_error *err);
typedef struct {
    const hm_tag *tags;
    size_t n_tags;
    int quality;      /* of JPEG and WebP, 1..100; 0: no loss that is seen */
    hm_seal_fn *seal; /* the bytes go through it; may be NULL */
    void *seal_user;
} hm_image_opts;
himmel_status hm_image_write_as(const char *path, const hm_frame *rgb, const hm_image_opts *o, uint64_t *bytes, himmel_error *err);
/* Can hm_image_write write this name? */
bool hm_image_writable(const char *path);
bool hm_has_ending(const char *path, const char *ending); /* ".png"; letters' case does not matter */

#endif
