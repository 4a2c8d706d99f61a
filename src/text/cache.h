/* cache.h - what a text encoder said, on disk, so that the same words need no encoder again.   SPDX-License-Identifier: MIT
 *   DIR/KEY.text   magic, key, number of values, hidden states in bf16, SHA-256 of all before it
 * The key is a hash of the encoder's files, the token ids (so of words and tokenizer) and of what the bytes depend on: version,
 * instruction set, threads. Entries are written beside and renamed; one that is not whole is as good as none and is written anew. The
 * folder is kept below HM_TEXT_CACHE_BYTES: what was not used for longest goes first. */
#ifndef HM_TEXT_CACHE_H
#define HM_TEXT_CACHE_H

#include "formats/safetensors.h"

#define HM_TEXT_CACHE_BYTES ((uint64_t)256 << 20)

/* Which encoder these files are, without reading their numbers: place, size and times of change. NULL files are left out. */
void hm_text_cache_encoder(uint8_t id[32], hm_st *const *files, int n);
/* Of ids [n] with mask keep [n]. */
void hm_text_cache_key(uint8_t key[32], const uint8_t encoder[32], const int32_t *ids, const int32_t *keep, size_t n, int threads);
/* states [n] as they were saved under key; false: they were not, states are untouched. dir NULL: no cache. */
bool hm_text_cache_load(const char *dir, const uint8_t key[32], float *states, size_t n);
/* Numbers that bf16 holds exactly are saved. A failure is passed over. */
void hm_text_cache_save(const char *dir, const uint8_t key[32], const float *states, size_t n);
/* Remove the entries that were not used for longest until max_bytes are left. */
void hm_text_cache_trim(const char *dir, uint64_t max_bytes);

#endif
