/* modelfile.h - weights files in parts: each training stage replaces its own and copies the rest.   SPDX-License-Identifier: MIT */
#ifndef HM_MODELFILE_H
#define HM_MODELFILE_H

#include "formats/safetensors.h"

/* Add every tensor of from whose name starts with none of the prefixes (NULL-terminated list), and its metadata except the
 * keys in skip_meta (NULL-terminated, may be NULL). Data is borrowed from from until written. */
himmel_status hm_model_copy(hm_st_writer *w, const hm_st *from, const char *const *without, const char *const *skip_meta,
                            himmel_error *err);

/* What the weights of a file have behind them: himmel.training (zeros if it says nothing) and the manifest of its data
 * (borrowed from st, "" if there is none). */
typedef struct {
    int64_t steps, samples;
    double seconds; /* of the whole machine */
    const char *manifest;
} hm_history;
himmel_status hm_history_read(hm_history *h, const hm_st *st, himmel_error *err);

/* The lines of both manifests, each once, the earlier ones first. Frees now (NULL is out of memory); malloc'ed or NULL. */
char *hm_manifest_union(const char *before, char *now);

/* SHA-256 of a string as hex. */
void hm_text_sha256(const char *text, char hex[65]);

#endif
