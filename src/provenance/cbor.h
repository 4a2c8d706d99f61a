/* cbor.h - CBOR (RFC 8949), as much as Content Credentials need.   SPDX-License-Identifier: MIT
 * Writing: shortest lengths, definite. Reading: views into untrusted bytes, nothing is allocated; strings in
 * pieces, texts that are no UTF-8, wrong nesting and depth over 32 are refused at hm_cbor_open, so that the rest cannot fail. */
#ifndef HM_CBOR_H
#define HM_CBOR_H

#include "provenance/bytes.h"

/* ---- writing; a map is followed by its keys and values in turn ---- */
void hm_cbor_put_uint(hm_buf *b, uint64_t v);
void hm_cbor_put_int(hm_buf *b, int64_t v);
void hm_cbor_put_text(hm_buf *b, const char *s);
void hm_cbor_put_bytes(hm_buf *b, const void *data, size_t n);
void hm_cbor_put_array(hm_buf *b, uint64_t n_items);
void hm_cbor_put_map(hm_buf *b, uint64_t n_pairs);
void hm_cbor_put_tag(hm_buf *b, uint64_t tag);
void hm_cbor_put_bool(hm_buf *b, bool v);
void hm_cbor_put_null(hm_buf *b);
void hm_cbor_put_pair(hm_buf *b, const char *key, const char *text); /* text key, text value */

/* ---- reading ---- */
typedef struct { const uint8_t *at, *end; } hm_cbor; /* one well-formed item */
typedef enum { HM_CBOR_UINT, HM_CBOR_NEG, HM_CBOR_BYTES, HM_CBOR_TEXT, HM_CBOR_ARRAY, HM_CBOR_MAP, HM_CBOR_TAG,
               HM_CBOR_SIMPLE } hm_cbor_type;

/* data[0,n) must be one item and nothing else; false: it is not, *bad = offset of the trouble. */
bool hm_cbor_open(hm_cbor *out, const uint8_t *data, size_t n, size_t *bad);
hm_cbor_type hm_cbor_is(hm_cbor v);
hm_cbor hm_cbor_untag(hm_cbor v); /* the item within any tags */
bool hm_cbor_uint(hm_cbor v, uint64_t *out);
bool hm_cbor_int(hm_cbor v, int64_t *out);
bool hm_cbor_bool(hm_cbor v, bool *out);
bool hm_cbor_bytes(hm_cbor v, const uint8_t **data, size_t *n); /* byte string */
bool hm_cbor_text(hm_cbor v, const char **s, size_t *n);        /* text string, not terminated */
bool hm_cbor_text_is(hm_cbor v, const char *s);

typedef struct { const uint8_t *at, *end; uint64_t left; bool open, map; } hm_cbor_iter;
/* Over an array or a map; false for anything else. next: key is set for maps (may be NULL). */
bool hm_cbor_each(hm_cbor v, hm_cbor_iter *it);
bool hm_cbor_next(hm_cbor_iter *it, hm_cbor *key, hm_cbor *value);
/* The value of a key; false: no map, not there, or there twice (two readers could see two things). */
bool hm_cbor_get(hm_cbor map, const char *key, hm_cbor *out);
bool hm_cbor_get_int(hm_cbor map, int64_t key, hm_cbor *out);

#endif
