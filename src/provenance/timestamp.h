/* timestamp.h - RFC 3161 time stamps on signatures.   SPDX-License-Identifier: MIT */
#ifndef HM_TIMESTAMP_H
#define HM_TIMESTAMP_H

#include <openssl/x509.h>
#include <time.h>

#include "provenance/bytes.h"

/* What is stamped: ["CounterSignature", protected header, "", payload]; payload is the CBOR of the signature (of claims
 * of version 2), or the claim (of version 1). */
void hm_stamp_data(hm_buf *out, const uint8_t *header, size_t header_len, const uint8_t *payload, size_t n);
/* Ask the server (http://...) for a token on data; appended to token as DER. EIO: no answer; EFORMAT: no proper one;
 * EINVAL: not a URL that can be asked. */
himmel_status hm_stamp_fetch(hm_buf *token, const char *server, const uint8_t *data, size_t n, himmel_error *err);
/* Is der (a token, or a response with one in it) a stamp of data? Then *when is its time, and *trusted whether its
 * authority leads to a root in trust (NULL: nobody). */
bool hm_stamp_check(const uint8_t *der, size_t n_der, const uint8_t *data, size_t n, X509_STORE *trust, time_t *when,
                    bool *trusted);

#endif
