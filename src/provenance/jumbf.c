/* jumbf.c - JUMBF boxes.   SPDX-License-Identifier: MIT */
#include "provenance/jumbf.h"

#include <string.h>

enum { MAX_DEPTH = 16, MAX_BOXES = 1 << 16 };
/* What a description box holds besides its UUID, in this order; "may be asked for" has no bytes. */
enum { MAY_ASK = 1, HAS_LABEL = 2, HAS_NUMBER = 4, HAS_DIGEST = 8, HAS_PRIVATE = 16 };
static const uint8_t uuid_tail[12] = {0x00, 0x11, 0x00, 0x10, 0x80, 0x00, 0x00, 0xaa, 0x00, 0x38, 0x9b, 0x71};

size_t hm_jumb_box(hm_buf *b, const char type[4])
{
    const size_t start = b->len;
    hm_buf_be(b, 0, 4);
    hm_buf_add(b, type, 4);
    return start;
}

void hm_jumb_end(hm_buf *b, size_t start)
{
    if (b->failed) return;
    if (b->len - start > UINT32_MAX) b->failed = true;
    else hm_put_be(b->data + start, b->len - start, 4);
}

size_t hm_jumb_begin(hm_buf *b, const char kind[4], const char *label)
{
    const size_t start = hm_jumb_box(b, "jumb"), description = hm_jumb_box(b, "jumd");
    hm_buf_add(b, kind, 4);
    hm_buf_add(b, uuid_tail, sizeof uuid_tail);
    hm_buf_be(b, 3, 1); /* may be asked for by label, has a label */
    hm_buf_add(b, label, strlen(label) + 1);
    hm_jumb_end(b, description);
    return start;
}

/* 0: no box there; -1: its length is a lie. */
static int read_box(const uint8_t *data, size_t n, size_t at, hm_box *out)
{
    if (at >= n) return 0;
    if (n - at < 8) return -1;
    uint64_t len = hm_be(data + at, 4), header = 8;
    if (len == 1) {
        if (n - at < 16) return -1;
        len = hm_be(data + at + 8, 8), header = 16;
    }
    if (len < header || len > n - at) return -1;
    out->box = data + at, out->len = (size_t)len;
    memcpy(out->type, data + at + 4, 4);
    out->type[4] = 0;
    out->content = data + at + header, out->content_len = (size_t)(len - header);
    return 1;
}

bool hm_box_next(const uint8_t *data, size_t n, size_t *at, hm_box *out)
{
    if (read_box(data, n, *at, out) != 1) return false;
    *at += out->len;
    return true;
}

/* Nothing in it may be without meaning: no signature covers the descriptions of claims and signatures. */
static bool read_description(hm_jumb *out, const uint8_t *p, size_t n)
{
    const unsigned has = p[16];
    size_t at = 17;
    out->uuid = p;
    if (has > 2 * HAS_PRIVATE - 1 || !(has & MAY_ASK) != !(has & HAS_LABEL)) return false;
    if (has & HAS_LABEL) {
        const uint8_t *s = p + at, *zero = memchr(s, 0, n - at);
        if (!zero || (size_t)(zero - s) >= sizeof out->label) return false;
        memcpy(out->label, s, (size_t)(zero - s));
        at += (size_t)(zero - s) + 1;
    }
    at += (has & HAS_NUMBER ? 4u : 0u) + (has & HAS_DIGEST ? 32u : 0u);
    return has & HAS_PRIVATE ? at < n : at == n;
}

bool hm_jumb_open(hm_jumb *out, const hm_box *box)
{
    *out = (hm_jumb){.box = *box};
    hm_box d;
    size_t at = 0;
    if (strcmp(box->type, "jumb") || !hm_box_next(box->content, box->content_len, &at, &d)) return false;
    if (strcmp(d.type, "jumd") || d.content_len < 17) return false;
    if (!read_description(out, d.content, d.content_len)) return false;
    out->inner = box->content + at, out->inner_len = box->content_len - at;
    return true;
}

static himmel_status check(const uint8_t *base, const hm_box *box, int depth, int *n_boxes, himmel_error *err)
{
    hm_jumb j;
    const size_t where = (size_t)(box->box - base);
    if (depth > MAX_DEPTH)
        return hm_fail(err, HIMMEL_EFORMAT, "manifest, byte %zu: boxes nested more than %d deep", where,
                       (int)MAX_DEPTH);
    if (!hm_jumb_open(&j, box))
        return hm_fail(err, HIMMEL_EFORMAT, "manifest, byte %zu: a superbox without a proper description", where);
    hm_box inner;
    for (size_t at = 0; at < j.inner_len; at += inner.len) {
        if (read_box(j.inner, j.inner_len, at, &inner) != 1)
            return hm_fail(err, HIMMEL_EFORMAT, "manifest, byte %zu: a box is longer than what holds it",
                           (size_t)(j.inner + at - base));
        if (++*n_boxes > MAX_BOXES)
            return hm_fail(err, HIMMEL_EFORMAT, "manifest, byte %zu: more than %d boxes",
                           (size_t)(j.inner + at - base), (int)MAX_BOXES);
        if (!strcmp(inner.type, "jumb")) {
            const himmel_status rc = check(base, &inner, depth + 1, n_boxes, err);
            if (rc) return rc;
        }
    }
    return HIMMEL_OK;
}

himmel_status hm_jumb_check(const uint8_t *data, size_t n, himmel_error *err)
{
    hm_box box;
    int n_boxes = 1;
    if (read_box(data, n, 0, &box) != 1 || strcmp(box.type, "jumb"))
        return hm_fail(err, HIMMEL_EFORMAT, "manifest, byte 0: no JUMBF superbox of at most %zu bytes", n);
    for (size_t i = box.len; i < n; i++) /* containers may pad with zeros */
        if (data[i]) return hm_fail(err, HIMMEL_EFORMAT, "manifest, byte %zu: something behind the last box", i);
    return check(data, &box, 1, &n_boxes, err);
}

bool hm_jumb_is(const hm_jumb *j, const char kind[4])
{
    return j->uuid && !memcmp(j->uuid, kind, 4) && !memcmp(j->uuid + 4, uuid_tail, sizeof uuid_tail);
}

bool hm_jumb_find(const hm_jumb *j, const char *label, size_t label_len, hm_jumb *out)
{
    hm_box box;
    hm_jumb inner;
    int found = 0;
    for (size_t at = 0; hm_box_next(j->inner, j->inner_len, &at, &box);)
        if (hm_jumb_open(&inner, &box) && strlen(inner.label) == label_len &&
            !memcmp(inner.label, label, label_len)) {
            *out = inner;
            found++;
        }
    return found == 1;
}

bool hm_jumb_content(const hm_jumb *j, const char type[4], hm_box *out)
{
    for (size_t at = 0; hm_box_next(j->inner, j->inner_len, &at, out);)
        if (!memcmp(out->type, type, 4)) return true;
    return false;
}
