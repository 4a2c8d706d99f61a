/* asset.h - where a manifest lies in a file, and how to put one in.   SPDX-License-Identifier: MIT
 *   MP4 and kin: top-level uuid box    PNG: chunk caBX    JPEG: segments APP11    WebP: chunk C2PA */
#ifndef HM_ASSET_H
#define HM_ASSET_H

#include "provenance/bytes.h"

typedef enum { HM_ASSET_UNKNOWN, HM_ASSET_BMFF, HM_ASSET_PNG, HM_ASSET_JPEG, HM_ASSET_RIFF } hm_asset_kind;
typedef struct { uint64_t start, len; } hm_range;

/* By the first bytes. */
hm_asset_kind hm_asset_kind_of(const uint8_t *data, size_t n);
/* "video/mp4" ...; "application/octet-stream" */
const char *hm_asset_mime(const uint8_t *data, size_t n);

typedef struct {
    hm_asset_kind kind;
    uint8_t *manifest; /* JUMBF; NULL: there is none */
    size_t manifest_len;
    hm_range where;    /* its bytes in the file, headers and checksums of the container included */
} hm_asset;
/* EFORMAT: the container is broken before its end, or has two manifests. Needs memory for the manifest only. */
himmel_status hm_asset_open(hm_asset *out, const uint8_t *data, size_t n, himmel_error *err);
void hm_asset_close(hm_asset *a);

/* data with a manifest of its own: *out is malloc'ed. Chunk offsets of MP4 move along. EFORMAT: broken, of an
 * unknown kind, a fragmented MP4, or there is a manifest already. */
himmel_status hm_asset_embed(hm_buf *out, hm_range *where, const uint8_t *data, size_t n, const uint8_t *manifest,
                             size_t manifest_len, himmel_error *err);

/* ---- ISO boxes ---- */
typedef struct {
    uint64_t start, len; /* header included */
    unsigned header;     /* 8 or 16 */
    char type[5];
} hm_bmff_box;
/* The box at *at within data[0,end); *at moves behind it. 1 = there is one, 0 = the end, -1 = its length is a lie. */
int hm_bmff_next(const uint8_t *data, uint64_t end, uint64_t *at, hm_bmff_box *out);
extern const uint8_t hm_c2pa_uuid[16];

#endif
