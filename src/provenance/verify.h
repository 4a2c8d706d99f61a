/* verify.h - what a file says about itself, and whether that can be believed.   SPDX-License-Identifier: MIT */
#ifndef HM_VERIFY_H
#define HM_VERIFY_H

#include <jansson.h>
#include <openssl/x509.h>

#include "base/base.h"

/* The Content Credentials in a file's bytes, ours or others', as a JSON object for json_decref:
 *   state "none" | "valid" | "broken"; trusted (the signer leads to a root in trust); manifest, claim_generator,
 *   signer, issuer, issuer_id, algorithm, valid_until, time_stamp; actions [{action, source_type, agent}]; made_by_machine, camera;
 *   assertions {label: content}; ingredients [{title, relationship, manifest, state}]; bytes, bytes_covered;
 *   checks [{code, ok, where, text}], codes as C2PA names them.
 * trust NULL = nobody. NULL: out of memory. Memory and time are bounded by the file's length. */
json_t *hm_credentials_check(const uint8_t *data, size_t n, X509_STORE *trust, himmel_error *err);

#endif
