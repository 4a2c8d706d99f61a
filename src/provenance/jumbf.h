/* jumbf.h - JUMBF boxes (ISO 19566-5) as Content Credentials use them.   SPDX-License-Identifier: MIT
 *   superbox: u32 length, "jumb", description box "jumd" {uuid[16], toggles, label\0 ...}, content boxes
 * Reading is by views into untrusted bytes; hm_jumb_check refuses what is malformed, so the rest cannot fail. */
#ifndef HM_JUMBF_H
#define HM_JUMBF_H

#include "provenance/bytes.h"

/* Kinds of superboxes: four letters that begin a UUID ending in 0011-0010-8000-00AA00389B71. */
#define HM_JUMB_STORE "c2pa"
#define HM_JUMB_MANIFEST "c2ma"
#define HM_JUMB_UPDATE "c2um"
#define HM_JUMB_ASSERTIONS "c2as"
#define HM_JUMB_CLAIM "c2cl"
#define HM_JUMB_SIGNATURE "c2cs"
#define HM_JUMB_CBOR "cbor"
#define HM_JUMB_JSON "json"

/* ---- writing: begin returns where the box starts, end fills in its length ---- */
size_t hm_jumb_begin(hm_buf *b, const char kind[4], const char *label);
size_t hm_jumb_box(hm_buf *b, const char type[4]); /* a plain box */
void hm_jumb_end(hm_buf *b, size_t start);

/* ---- reading ---- */
typedef struct {
    const uint8_t *box;     /* from its length field */
    size_t len;             /* of the whole box */
    char type[5];
    const uint8_t *content; /* behind the header */
    size_t content_len;
} hm_box;

typedef struct {
    hm_box box;
    const uint8_t *uuid;    /* [16] */
    char label[256];        /* "" if it has none */
    const uint8_t *inner;   /* content boxes */
    size_t inner_len;
} hm_jumb;

/* The box at *at of data[0,n), *at moves behind it; false at the end. Boxes must have passed hm_jumb_check. */
bool hm_box_next(const uint8_t *data, size_t n, size_t *at, hm_box *out);
/* One superbox, at most 16 deep and 65536 boxes in all, to the last byte; EFORMAT says what is wrong and where. */
himmel_status hm_jumb_check(const uint8_t *data, size_t n, himmel_error *err);
bool hm_jumb_open(hm_jumb *out, const hm_box *box); /* false: not a superbox */
bool hm_jumb_is(const hm_jumb *j, const char kind[4]);
/* The inner superbox of that label; false: none, or two of them. */
bool hm_jumb_find(const hm_jumb *j, const char *label, size_t label_len, hm_jumb *out);
/* The first content box of that type. */
bool hm_jumb_content(const hm_jumb *j, const char type[4], hm_box *out);

#endif
