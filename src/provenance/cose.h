/* cose.h - COSE_Sign1 with the payload elsewhere (RFC 9052, 9360).   SPDX-License-Identifier: MIT */
#ifndef HM_COSE_H
#define HM_COSE_H

#include "provenance/cbor.h"
#include "provenance/identity.h"

typedef struct {
    int64_t alg;
    const uint8_t *protected_header, *signature; /* views into the input */
    size_t protected_len, signature_len;
    const uint8_t *cert[HM_MAX_CHAIN];           /* DER, the signer's first */
    size_t cert_len[HM_MAX_CHAIN];
    int n_certs;
    hm_cbor unprotected;
} hm_cose;

/* EFORMAT: not a COSE_Sign1 with algorithm and x5chain. */
himmel_status hm_cose_parse(hm_cose *out, const uint8_t *data, size_t n, himmel_error *err);
/* Is the signature over payload that of cert's key? */
bool hm_cose_verify(const hm_cose *c, X509 *cert, const uint8_t *payload, size_t n);
/* Room for a time stamp beside the signature, always of the same length; fetch: ask the server for it. */
typedef struct {
    const char *server;
    bool fetch;
} hm_stamp;
/* A signature over payload, appended to out. With Ed25519 and stamp NULL the same bytes each time. */
himmel_status hm_cose_sign(hm_buf *out, const hm_identity *id, const uint8_t *payload, size_t n,
                           const hm_stamp *stamp, himmel_error *err);

#endif
