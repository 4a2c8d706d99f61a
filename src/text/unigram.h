/* unigram.h - a unigram model in memory: pieces, scores, best segmentation.   SPDX-License-Identifier: MIT
 * Source: SentencePiece (Kudo & Richardson 2018), sentencepiece_model.proto; oracle: golden tok*, ids_spm. */
#ifndef HM_UNIGRAM_H
#define HM_UNIGRAM_H

#include "base/base.h"

typedef enum {
    HM_PIECE_NORMAL = 1,
    HM_PIECE_UNKNOWN,
    HM_PIECE_CONTROL,
    HM_PIECE_USER,
    HM_PIECE_UNUSED,
    HM_PIECE_BYTE
} hm_piece_type;
typedef struct {
    const uint8_t *text; /* not terminated; points into the model's bytes */
    uint32_t len;
    float score;
    hm_piece_type type;
} hm_piece;

typedef struct {
    uint8_t *bytes; /* the serialised ModelProto, own copy */
    size_t n_bytes;
    hm_piece *piece;
    int32_t n, n_sorted, n_user;
    int32_t *sorted; /* ids of what text can match (normal, user-defined, unused), by bytes */
    int32_t unk, eos, pad, byte_id[256];
    bool byte_fallback;
    float min_score, max_score; /* of normal pieces */
    /* normalizer_spec */
    const uint8_t *charsmap, *norm_name;
    size_t n_charsmap, n_norm_name;
    bool dummy_prefix, squeeze_spaces, escape_spaces;
} hm_unigram;

/* Reads untrusted bytes. u is zeroed first; free it also after an error. */
himmel_status hm_unigram_parse(hm_unigram *u, const uint8_t *data, size_t len, const char *name,
                               himmel_error *err);
void hm_unigram_free(hm_unigram *u);

/* Pieces that begin at text, from short to long: start with {0, n_sorted, 0}; step reads one more byte.
 * false: nothing goes on that way. *id = the piece that ends here or -1. */
typedef struct {
    int32_t lo, hi;
    uint32_t depth;
} hm_prefix;
bool hm_unigram_step(const hm_unigram *u, hm_prefix *p, uint8_t byte, int32_t *id);

/* The best segmentation of normalised UTF-8: for every end position its piece's start and id (unk: one
 * character). end: n + 1 elements. */
typedef struct {
    float score;
    int32_t start, id;
} hm_best;
void hm_unigram_viterbi(const hm_unigram *u, const uint8_t *text, size_t n, hm_best *end);

/* Length of the UTF-8 character at text as its first byte says, at most n, at least 1. */
size_t hm_utf8_len(const uint8_t *text, size_t n);

#endif
