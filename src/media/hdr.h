/* hdr.h - films of high dynamic range as ordinary ones.   SPDX-License-Identifier: MIT */
#ifndef HM_HDR_H
#define HM_HDR_H

#include "base/base.h"

/* PQ: SMPTE ST 2084. HLG: ARIB STD-B67. Both with the primaries of bt.2020. */
typedef enum { HM_HDR_NONE, HM_HDR_PQ, HM_HDR_HLG } hm_hdr_kind;

typedef struct hm_hdr hm_hdr; /* tables */
hm_hdr *hm_hdr_new(hm_hdr_kind kind); /* NULL: out of memory */
void hm_hdr_free(hm_hdr *h);          /* NULL is fine */
/* n pixels of 16 bits a colour, full range, to sRGB of 8 bits. */
void hm_hdr_row(const hm_hdr *h, const uint16_t *in, int n, uint8_t *out);

#endif
