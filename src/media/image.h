/* image.h - pictures to and from files.   SPDX-License-Identifier: MIT */
#ifndef HM_IMAGE_H
#define HM_IMAGE_H

#include "media/encode.h"

/* Write an RGB8 frame to .png, .jpg/.jpeg or .webp (by path's ending) with tags inside (PNG: iTXt chunks,
 * JPEG: comment, WebP: XMP). Written beside and renamed; same picture, same bytes. *bytes may be NULL. */
himmel_status hm_image_write(const char *path, const hm_frame *rgb, const hm_tag *tags, size_t n_tags,
                             uint64_t *bytes, himmel_error *err);
/* Likewise, with the bytes passed through seal (may be NULL) on their way. */
himmel_status hm_image_write_sealed(const char *path, const hm_frame *rgb, const hm_tag *tags, size_t n_tags,
                                    hm_seal_fn *seal, void *seal_user, uint64_t *bytes, himmel_error *err);
/* Can hm_image_write write this name? */
bool hm_image_writable(const char *path);
bool hm_has_ending(const char *path, const char *ending); /* ".png"; letters' case does not matter */

#endif
