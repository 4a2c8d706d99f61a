/* cbor.c - RFC 8949.   SPDX-License-Identifier: MIT
 * Trap: items of unknown length (0x9f, 0xbf ... 0xff) do occur in the wild, from serialisers that flatten structs. */
#include "provenance/cbor.h"

#include <string.h>

enum { MAX_DEPTH = 32, BREAK = 0xff, UNKNOWN = 31 };

/* ---- writing ---- */

static void head(hm_buf *b, unsigned major, uint64_t v)
{
    const uint8_t top = (uint8_t)(major << 5);
    if (v < 24) hm_buf_be(b, top | v, 1);
    else if (v <= 0xff) hm_buf_be(b, (uint64_t)(top | 24) << 8 | v, 2);
    else if (v <= 0xffff) hm_buf_be(b, (uint64_t)(top | 25) << 16 | v, 3);
    else if (v <= 0xffffffff) hm_buf_be(b, (uint64_t)(top | 26) << 32 | v, 5);
    else {
        hm_buf_be(b, top | 27, 1);
        hm_buf_be(b, v, 8);
    }
}

void hm_cbor_put_uint(hm_buf *b, uint64_t v) { head(b, HM_CBOR_UINT, v); }
void hm_cbor_put_array(hm_buf *b, uint64_t n) { head(b, HM_CBOR_ARRAY, n); }
void hm_cbor_put_map(hm_buf *b, uint64_t n) { head(b, HM_CBOR_MAP, n); }
void hm_cbor_put_tag(hm_buf *b, uint64_t tag) { head(b, HM_CBOR_TAG, tag); }
void hm_cbor_put_bool(hm_buf *b, bool v) { head(b, HM_CBOR_SIMPLE, v ? 21 : 20); }
void hm_cbor_put_null(hm_buf *b) { head(b, HM_CBOR_SIMPLE, 22); }

void hm_cbor_put_int(hm_buf *b, int64_t v)
{
    if (v >= 0) head(b, HM_CBOR_UINT, (uint64_t)v);
    else head(b, HM_CBOR_NEG, (uint64_t)(-1 - v));
}

void hm_cbor_put_bytes(hm_buf *b, const void *data, size_t n)
{
    head(b, HM_CBOR_BYTES, n);
    hm_buf_add(b, data, n);
}

void hm_cbor_put_text(hm_buf *b, const char *s)
{
    head(b, HM_CBOR_TEXT, strlen(s));
    hm_buf_add(b, s, strlen(s));
}

void hm_cbor_put_pair(hm_buf *b, const char *key, const char *text)
{
    hm_cbor_put_text(b, key);
    hm_cbor_put_text(b, text);
}

/* ---- reading ---- */

typedef struct {
    unsigned major, info;
    uint64_t value;
    const uint8_t *after; /* NULL: cut off, or a reserved length */
} item_head;

static item_head read_head(const uint8_t *p, const uint8_t *end)
{
    item_head h = {0};
    if (p >= end) return h;
    h.major = *p >> 5, h.info = *p & 31;
    p++;
    if (h.info < 24) h.value = h.info;
    else if (h.info <= 27) {
        const int n = 1 << (h.info - 24);
        if (end - p < n) return h;
        h.value = hm_be(p, n);
        p += n;
    } else if (h.info != UNKNOWN) {
        return h;
    }
    h.after = p;
    return h;
}

/* End of the item at p, NULL if it is not well-formed; *bad then says where. */
static const uint8_t *skip(const uint8_t *p, const uint8_t *end, int depth, const uint8_t **bad)
{
    *bad = p;
    const item_head h = read_head(p, end);
    if (!h.after || depth > MAX_DEPTH) return NULL;
    const bool open = h.info == UNKNOWN;
    p = h.after;
    switch (h.major) {
    case HM_CBOR_UINT:
    case HM_CBOR_NEG:
        return open ? NULL : p;
    case HM_CBOR_BYTES:
    case HM_CBOR_TEXT:
        return open || h.value > (uint64_t)(end - p) ? NULL : p + h.value;
    case HM_CBOR_TAG:
        return open ? NULL : skip(p, end, depth + 1, bad);
    case HM_CBOR_SIMPLE:
        return open ? NULL : p;
    default:
        break;
    }
    const unsigned each = h.major == HM_CBOR_MAP ? 2 : 1;
    if (!open && h.value > (uint64_t)(end - p) / each) return NULL; /* a count that cannot be there */
    for (uint64_t i = 0; open || i < h.value; i++) {
        if (open && p < end && *p == BREAK) return p + 1;
        for (unsigned k = 0; k < each; k++) {
            p = skip(p, end, depth + 1, bad);
            if (!p) return NULL;
        }
    }
    return p;
}

static bool is_utf8(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        const unsigned c = p[i];
        const size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 4;
        if (more == 4 || more >= n - i) return false;
        if (more && ((c == 0xe0 && p[i + 1] < 0xa0) || (c == 0xed && p[i + 1] > 0x9f) || (c == 0xf0 && p[i + 1] < 0x90) ||
                     (c == 0xf4 && p[i + 1] > 0x8f)))
            return false; /* too long for what it is, half a pair, or no character */
        for (size_t k = 1; k <= more; k++)
            if ((p[i + k] & 0xc0) != 0x80) return false;
        i += more + 1;
    }
    return true;
}

/* Is every text of well-formed items UTF-8? Head by head: what is within lists and maps simply follows. */
static bool texts_are_utf8(const uint8_t *p, const uint8_t *end, const uint8_t **bad)
{
    while (p < end) {
        const item_head h = read_head(p, end);
        *bad = p;
        p = h.after;
        if (h.major != HM_CBOR_BYTES && h.major != HM_CBOR_TEXT) continue;
        if (h.major == HM_CBOR_TEXT && !is_utf8(p, (size_t)h.value)) return false;
        p += h.value;
    }
    return true;
}

bool hm_cbor_open(hm_cbor *out, const uint8_t *data, size_t n, size_t *bad)
{
    const uint8_t *where = data, *after = n ? skip(data, data + n, 0, &where) : NULL;
    bool ok = after == data + n && n;
    if (ok && !texts_are_utf8(data, data + n, &where)) ok = false, after = NULL;
    if (!ok) *bad = (size_t)((after ? after : where) - data);
    *out = ok ? (hm_cbor){data, data + n} : (hm_cbor){NULL, NULL};
    return ok;
}

hm_cbor_type hm_cbor_is(hm_cbor v) { return v.at ? (hm_cbor_type)(*v.at >> 5) : HM_CBOR_SIMPLE; }

hm_cbor hm_cbor_untag(hm_cbor v)
{
    while (hm_cbor_is(v) == HM_CBOR_TAG) v.at = read_head(v.at, v.end).after;
    return v;
}

bool hm_cbor_uint(hm_cbor v, uint64_t *out)
{
    v = hm_cbor_untag(v);
    if (!v.at || hm_cbor_is(v) != HM_CBOR_UINT) return false;
    *out = read_head(v.at, v.end).value;
    return true;
}

bool hm_cbor_int(hm_cbor v, int64_t *out)
{
    v = hm_cbor_untag(v);
    const hm_cbor_type t = hm_cbor_is(v);
    if (!v.at || (t != HM_CBOR_UINT && t != HM_CBOR_NEG)) return false;
    const uint64_t raw = read_head(v.at, v.end).value;
    if (raw > INT64_MAX) return false;
    *out = t == HM_CBOR_UINT ? (int64_t)raw : -1 - (int64_t)raw;
    return true;
}

bool hm_cbor_bool(hm_cbor v, bool *out)
{
    if (!v.at || (*v.at != 0xf4 && *v.at != 0xf5)) return false;
    *out = *v.at == 0xf5;
    return true;
}

static bool string(hm_cbor v, hm_cbor_type want, const uint8_t **data, size_t *n)
{
    v = hm_cbor_untag(v);
    if (!v.at || hm_cbor_is(v) != want) return false;
    const item_head h = read_head(v.at, v.end);
    *data = h.after, *n = (size_t)h.value;
    return true;
}

bool hm_cbor_bytes(hm_cbor v, const uint8_t **data, size_t *n) { return string(v, HM_CBOR_BYTES, data, n); }

bool hm_cbor_text(hm_cbor v, const char **s, size_t *n)
{
    const uint8_t *p;
    if (!string(v, HM_CBOR_TEXT, &p, n)) return false;
    *s = (const char *)p;
    return true;
}

bool hm_cbor_text_is(hm_cbor v, const char *s)
{
    const char *p;
    size_t n;
    return hm_cbor_text(v, &p, &n) && n == strlen(s) && !memcmp(p, s, n);
}

bool hm_cbor_each(hm_cbor v, hm_cbor_iter *it)
{
    v = hm_cbor_untag(v);
    const hm_cbor_type t = hm_cbor_is(v);
    *it = (hm_cbor_iter){0};
    if (!v.at || (t != HM_CBOR_ARRAY && t != HM_CBOR_MAP)) return false;
    const item_head h = read_head(v.at, v.end);
    *it = (hm_cbor_iter){h.after, v.end, h.value, h.info == UNKNOWN, t == HM_CBOR_MAP};
    return true;
}

static bool take(hm_cbor_iter *it, hm_cbor *out)
{
    const uint8_t *bad, *after = skip(it->at, it->end, 0, &bad);
    if (!after) return false;
    *out = (hm_cbor){it->at, after};
    it->at = after;
    return true;
}

bool hm_cbor_next(hm_cbor_iter *it, hm_cbor *key, hm_cbor *value)
{
    hm_cbor unused;
    if (it->open ? it->at >= it->end || *it->at == BREAK : !it->left) return false;
    if (!it->open) it->left--;
    return (!it->map || take(it, key ? key : &unused)) && take(it, value);
}

static bool get(hm_cbor map, const char *name, int64_t number, hm_cbor *out)
{
    hm_cbor_iter it;
    hm_cbor k, v;
    int found = 0;
    if (hm_cbor_is(hm_cbor_untag(map)) != HM_CBOR_MAP || !hm_cbor_each(map, &it)) return false;
    while (hm_cbor_next(&it, &k, &v)) {
        int64_t i;
        if (name ? hm_cbor_text_is(k, name) : hm_cbor_int(k, &i) && i == number) {
            *out = v;
            found++;
        }
    }
    return found == 1;
}

bool hm_cbor_get(hm_cbor map, const char *key, hm_cbor *out) { return get(map, key, 0, out); }
bool hm_cbor_get_int(hm_cbor map, int64_t key, hm_cbor *out) { return get(map, NULL, key, out); }
