/* source.h - what a file that goes into another says of itself.   SPDX-License-Identifier: MIT
 *   file -hm_source_look-> flat bytes (here, or in a locked-down process: media/far.h) -hm_source_open-> hm_source_says
 * Containers, JUMBF, CBOR and certificates are taken apart in the first half only. What the second half reads is a list of
 * counted texts and boxes, which it copies and never opens. */
#ifndef HM_SOURCE_H
#define HM_SOURCE_H

#include "media/far.h"

typedef struct {
    const char *label;
    const uint8_t *box; /* as it lies in the file */
    size_t len;
} hm_source_manifest;

typedef struct {
    bool ok;
    const char *code, *where;
} hm_source_check;

typedef struct {
    const char *mime;     /* of hm_asset_mime */
    const char *active;   /* label of its own manifest, "": it has none that can be referred to */
    uint8_t manifest_hash[32], signature_hash[32];
    hm_source_check *check; /* what hm_credentials_check found */
    size_t n_checks;
    hm_source_manifest *manifest; /* its own and those of its ingredients */
    size_t n_manifests;
    uint8_t *bytes; /* all these lie in it */
} hm_source_says;

/* A hm_far_other. EFORMAT: it has more credentials than can go into another file. */
himmel_status hm_source_look(const char *path, uint8_t **out, size_t *n, himmel_error *err);
/* by, by->open NULL: looks here. Nothing that can be seen is no error: active is "". */
himmel_status hm_source_open(hm_source_says *out, const hm_reader *by, const char *path, himmel_error *err);
void hm_source_close(hm_source_says *s);
/* The flat bytes, which become s's own, also on error. Anything in them that is not as hm_source_look() makes it is EFORMAT. */
himmel_status hm_source_parse(hm_source_says *s, uint8_t *bytes, size_t n, const char *path, himmel_error *err);

#endif
