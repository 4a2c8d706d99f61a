/* modelfile.h - weights files in parts: each training stage replaces its own and copies the rest.   SPDX-License-Identifier: MIT */
#ifndef HM_MODELFILE_H
#define HM_MODELFILE_H

#include "formats/safetensors.h"

/* Add every tensor of from whose name starts with none of the prefixes (NULL-terminated list), and its metadata except the
 * keys in skip_meta (NULL-terminated, may be NULL). Data is borrowed from from until written. */
himmel_status hm_model_copy(hm_st_writer *w, const hm_st *from, const char *const *without, const char *const *skip_meta,
                            himmel_error *err);

/* SHA-256 of a string as hex. */
void hm_text_sha256(const char *text, char hex[65]);

#endif
