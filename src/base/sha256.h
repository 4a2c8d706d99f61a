/* sha256.h - FIPS 180-4 SHA-256, so that src/base + src/world need libc only.
 * SPDX-License-Identifier: MIT */
#ifndef HM_SHA256_H
#define HM_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t h[8];
    uint64_t n_bytes;
    uint8_t block[64];
} hm_sha256;

void hm_sha256_init(hm_sha256 *s);
void hm_sha256_add(hm_sha256 *s, const void *data, size_t len);
void hm_sha256_end(hm_sha256 *s, uint8_t out[32]);
void hm_sha256_of(const void *data, size_t len, char hex[65]); /* all at once */
void hm_sha256_hex(const uint8_t digest[32], char out[65]); /* lower case, terminated */

#endif
