/* verify_internal.h - what the parts of the verifier share.   SPDX-License-Identifier: MIT */
#ifndef HM_VERIFY_INTERNAL_H
#define HM_VERIFY_INTERNAL_H

#include "provenance/binding.h"
#include "provenance/cose.h"
#include "provenance/jumbf.h"
#include "provenance/verify.h"

enum { HM_MAX_MANIFESTS = 256 };

typedef struct {
    const uint8_t *file;
    size_t file_len;
    hm_range where;  /* of the manifest in it */
    X509_STORE *trust;
    hm_jumb store;
    json_t *report, *checks;
    /* boxes of manifests that were looked at: no cycle is walked twice */
    const uint8_t *visited_box[HM_MAX_MANIFESTS];
    int n_visited;
    bool broken;
    bool old_claim;     /* the claim that is looked at is of version 1: time stamps of strangers count there */
    uint64_t hash_left; /* bytes of manifests that may still be hashed: references may repeat */
    /* Of the ingredient that is looked at: its failures were seen and written down when it went in. */
    hm_cbor known_failures;
    bool in_ingredient;
} hm_verifier;

/* Note one check; a failure breaks the credentials unless the ingredient's assertion lists it. */
void hm_note(hm_verifier *v, bool ok, const char *code, const char *where, const char *fmt, ...) HM_PRINTF(5, 6);
/* Signature, certificate, trust and time stamp of one claim; sets the signer's fields of `about`. */
void hm_check_signature(hm_verifier *v, const char *where, const hm_jumb *signature, const uint8_t *claim,
                        size_t claim_len, json_t *about);
/* Any CBOR as JSON: bytes become hex, what is too deep or no UTF-8 becomes "?". */
json_t *hm_cbor_json(hm_cbor v, int depth);
json_t *hm_json_text(const char *s, size_t n);

#endif
