/* bytes.h - a growing run of bytes, big-endian numbers, digests.   SPDX-License-Identifier: MIT */
#ifndef HM_BYTES_H
#define HM_BYTES_H

#include "base/base.h"

/* Appends never fail one by one: when memory ran out, failed is set and stays. All zero is an empty run. */
typedef struct {
    uint8_t *data;
    size_t len, cap;
    bool failed;
} hm_buf;
void hm_buf_add(hm_buf *b, const void *data, size_t n);
void hm_buf_be(hm_buf *b, uint64_t v, int n_bytes); /* big-endian, n_bytes 1..8 */
void hm_buf_free(hm_buf *b);                        /* all zero again */

static inline uint64_t hm_be(const uint8_t *p, int n_bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < n_bytes; i++) v = v << 8 | p[i];
    return v;
}
static inline void hm_put_be(uint8_t *p, uint64_t v, int n_bytes)
{
    for (int i = n_bytes - 1; i >= 0; i--, v >>= 8) p[i] = (uint8_t)v;
}

enum { HM_MAX_DIGEST = 64 };
/* A digest of "sha256", "sha384" or "sha512" while bytes come in. */
typedef struct hm_digest hm_digest;
hm_digest *hm_digest_new(const char *alg, size_t alg_len); /* NULL: unknown algorithm or no memory */
void hm_digest_add(hm_digest *d, const void *data, size_t n);
size_t hm_digest_end(hm_digest *d, uint8_t *out); /* frees d; the digest's length, 0 = failed */
/* In one go into out (32, 48 or 64 bytes); 0 = unknown algorithm. */
size_t hm_digest_of(const char *alg, size_t alg_len, const void *data, size_t n, uint8_t *out);
/* Random bytes become an RFC 9562 UUID (version 8) as text, 36 characters. */
void hm_uuid_text(const uint8_t id[16], char out[37]);

#endif
