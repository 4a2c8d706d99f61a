/* bytes.c - a growing run of bytes; digests by libcrypto.   SPDX-License-Identifier: MIT */
#include "provenance/bytes.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hm_buf_add(hm_buf *b, const void *data, size_t n)
{
    if (b->failed || !n) return;
    if (n > b->cap - b->len) {
        uint64_t want;
        if (!hm_add(b->len, n, &want) || want > SIZE_MAX / 2) {
            b->failed = true;
            return;
        }
        const size_t cap = HM_MAX((size_t)want + (size_t)want / 2, 256);
        uint8_t *p = realloc(b->data, cap);
        if (!p) {
            b->failed = true;
            return;
        }
        b->data = p, b->cap = cap;
    }
    memcpy(b->data + b->len, data, n);
    b->len += n;
}

void hm_buf_be(hm_buf *b, uint64_t v, int n_bytes)
{
    uint8_t raw[8];
    hm_put_be(raw, v, n_bytes);
    hm_buf_add(b, raw, (size_t)n_bytes);
}

void hm_buf_free(hm_buf *b)
{
    free(b->data);
    *b = (hm_buf){0};
}

/* hm_digest is libcrypto's context under our name. */
static EVP_MD_CTX *ctx_of(hm_digest *d)
{
    return (EVP_MD_CTX *)d;
}

hm_digest *hm_digest_new(const char *alg, size_t alg_len)
{
    const EVP_MD *md = NULL;
    if (alg_len == 6 && !memcmp(alg, "sha256", 6)) md = EVP_sha256();
    if (alg_len == 6 && !memcmp(alg, "sha384", 6)) md = EVP_sha384();
    if (alg_len == 6 && !memcmp(alg, "sha512", 6)) md = EVP_sha512();
    EVP_MD_CTX *c = md ? EVP_MD_CTX_new() : NULL;
    if (c && EVP_DigestInit_ex(c, md, NULL) == 1) return (hm_digest *)c;
    EVP_MD_CTX_free(c);
    return NULL;
}

void hm_digest_add(hm_digest *d, const void *data, size_t n)
{
    if (n) EVP_DigestUpdate(ctx_of(d), data, n);
}

size_t hm_digest_end(hm_digest *d, uint8_t *out)
{
    unsigned n = 0;
    const bool ok = EVP_DigestFinal_ex(ctx_of(d), out, &n) == 1;
    EVP_MD_CTX_free(ctx_of(d));
    return ok ? n : 0;
}

size_t hm_digest_of(const char *alg, size_t alg_len, const void *data, size_t n, uint8_t *out)
{
    hm_digest *d = hm_digest_new(alg, alg_len);
    if (!d) return 0;
    hm_digest_add(d, data, n);
    return hm_digest_end(d, out);
}

void hm_uuid_text(const uint8_t id[16], char out[37])
{
    uint8_t u[16];
    memcpy(u, id, 16);
    u[6] = (uint8_t)((u[6] & 0x0f) | 0x80);
    u[8] = (uint8_t)((u[8] & 0x3f) | 0x80);
    size_t at = 0;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) out[at++] = '-';
        snprintf(out + at, 3, "%02x", u[i]);
        at += 2;
    }
}
