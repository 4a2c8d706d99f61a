/* binding.h - hard bindings: hashes that tie a manifest to the bytes of its file.   SPDX-License-Identifier: MIT
 *   c2pa.hash.data: all but listed ranges (PNG, JPEG, WebP)
 *   c2pa.hash.bmff, .v2, .v3: all but listed boxes; from v2 on every counted top-level box is preceded by its offset;
 *   mdat boxes may be covered by Merkle trees instead. Fragments in files of their own are not read. */
#ifndef HM_BINDING_H
#define HM_BINDING_H

#include "provenance/asset.h"
#include "provenance/cbor.h"

typedef struct {
    uint8_t hash[HM_MAX_DIGEST]; /* what the file has, by the assertion's own rules */
    size_t hash_len;
    bool match;                  /* the same as the assertion says, Merkle trees too */
    uint64_t covered;            /* bytes of the file that the hashes cover */
    bool more_excluded;          /* c2pa.hash.data leaves out more than the manifest */
    char problem[160];           /* "" or why it cannot be computed, or what differs */
} hm_binding;

/* Is this the label of a hard binding that hm_binding_check reads? */
bool hm_binding_label(const char *label);
typedef struct {
    const uint8_t *data;      /* the whole file */
    size_t n;
    hm_range manifest;        /* where the manifest lies: c2pa.hash.data must leave out exactly that */
    bool updated;             /* an update made the manifest longer since the hash */
} hm_bound_file;
/* Compute what assertion (of that label) describes. alg: of the claim, if the assertion has none. */
void hm_binding_check(hm_binding *out, const char *label, hm_cbor assertion, const char *alg, size_t alg_len,
                      const hm_bound_file *file);

#endif
