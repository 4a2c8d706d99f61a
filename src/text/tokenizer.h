/* tokenizer.h - SentencePiece unigram: read .model files, read and write ours, encode, train.
 * SPDX-License-Identifier: MIT */
#ifndef HM_TOKENIZER_H
#define HM_TOKENIZER_H

#include "base/base.h"

typedef struct hm_tokenizer hm_tokenizer;
enum { HM_TOK_PAD = 0, HM_TOK_EOS = 1, HM_TOK_UNK = 2 }; /* of our own tokenizers; files say theirs */

/* A serialised SentencePiece ModelProto (unigram), from untrusted bytes. name is for messages. */
himmel_status hm_tok_parse(hm_tokenizer **out, const uint8_t *data, size_t len, const char *name, himmel_error *err);
himmel_status hm_tok_open(hm_tokenizer **out, const char *path, himmel_error *err);
void hm_tok_free(hm_tokenizer *t);
/* Serialise as ModelProto (himmel-1 stores these bytes as U8 tensor "tokenizer.spiece"). Caller frees *out. */
himmel_status hm_tok_format(const hm_tokenizer *t, uint8_t **out, size_t *len, himmel_error *err);
int32_t hm_tok_size(const hm_tokenizer *t);
int32_t hm_tok_eos(const hm_tokenizer *t);
int32_t hm_tok_unk(const hm_tokenizer *t);
const char *hm_tok_piece(const hm_tokenizer *t, int32_t id, size_t *len);
/* text (any bytes; broken UTF-8 becomes U+FFFD) -> ids, no eos. Returns the count, which may exceed cap. */
size_t hm_tok_encode(const hm_tokenizer *t, const char *text, size_t len, int32_t *ids, size_t cap);
/* ids plus eos, cut to n with eos kept last, padded with pad; mask[i] = 1 for tokens, 0 for padding. */
void hm_tok_encode_padded(const hm_tokenizer *t, const char *text, int32_t *ids, int32_t *mask, size_t n);

/* Train a unigram model (EM over a seed vocabulary of frequent substrings, pruned to vocab_size) on
 * n lines of lower-case-folded text. Normalisation is NFKC-lite: lower case (ASCII, Latin-1, German), spaces collapsed.
 * Fewer pieces come out where the text has no use for more. */
himmel_status hm_tok_train(hm_tokenizer **out, const char *const *lines, size_t n, int vocab_size, himmel_error *err);

#endif
