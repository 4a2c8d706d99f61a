/* normalize.h - text as a unigram model wants it.   SPDX-License-Identifier: MIT */
#ifndef HM_NORMALIZE_H
#define HM_NORMALIZE_H

#include "text/unigram.h"

typedef struct {
    uint8_t *data;
    size_t len, cap;
    bool failed; /* out of memory: the rest is missing */
} hm_bytes;
void hm_bytes_add(hm_bytes *b, const void *data, size_t n);

/* Normalise as u's normalizer_spec says: its table of characters (or, named "himmel", our lower case), one
 * space for many, a space before the first word, spaces as U+2581. out is appended to; the caller frees
 * out->data. */
void hm_normalize(const hm_unigram *u, const uint8_t *text, size_t n, hm_bytes *out);
extern const char hm_norm_name[]; /* "himmel" */
extern const char hm_norm_space[]; /* U+2581 in UTF-8 */

#endif
