/* verify_json.c - CBOR of strangers as JSON that is safe to print.   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "provenance/verify_internal.h"

enum { MAX_HEX = 64, MAX_JSON_DEPTH = 12, MAX_ITEMS = 1000 };

json_t *hm_json_text(const char *s, size_t n)
{
    json_t *t = json_stringn(s, n); /* NULL: no UTF-8 */
    return t ? t : json_string("?");
}

static json_t *hex(const uint8_t *p, size_t n)
{
    char text[2 * MAX_HEX + 8];
    size_t at = 0;
    for (size_t i = 0; i < n && i < MAX_HEX; i++) at += (size_t)snprintf(text + at, 3, "%02x", p[i]);
    if (n > MAX_HEX) snprintf(text + at, 4, "...");
    text[at + (n > MAX_HEX ? 3 : 0)] = 0;
    return json_string(text);
}

static json_t *list(hm_cbor v, int depth)
{
    json_t *a = json_array();
    hm_cbor_iter it;
    hm_cbor one;
    hm_cbor_each(v, &it);
    for (int i = 0; i < MAX_ITEMS && hm_cbor_next(&it, NULL, &one); i++)
        json_array_append_new(a, hm_cbor_json(one, depth + 1));
    return a;
}

static json_t *map(hm_cbor v, int depth)
{
    json_t *o = json_object();
    hm_cbor_iter it;
    hm_cbor key, one;
    hm_cbor_each(v, &it);
    for (int i = 0; i < MAX_ITEMS && hm_cbor_next(&it, &key, &one); i++) {
        const char *s;
        size_t n;
        char name[128];
        if (!hm_cbor_text(key, &s, &n) || n >= sizeof name || memchr(s, 0, n)) continue;
        memcpy(name, s, n);
        name[n] = 0;
        json_object_set_new(o, name, hm_cbor_json(one, depth + 1)); /* a name that is no UTF-8 is left out */
    }
    return o;
}

json_t *hm_cbor_json(hm_cbor v, int depth)
{
    const char *s;
    const uint8_t *p;
    size_t n;
    int64_t i;
    bool b;
    v = hm_cbor_untag(v);
    if (!v.at || depth > MAX_JSON_DEPTH) return json_string("?");
    switch (hm_cbor_is(v)) {
    case HM_CBOR_UINT:
    case HM_CBOR_NEG: return hm_cbor_int(v, &i) ? json_integer(i) : json_string("?");
    case HM_CBOR_TEXT: return hm_cbor_text(v, &s, &n) ? hm_json_text(s, n) : json_string("?");
    case HM_CBOR_BYTES: return hm_cbor_bytes(v, &p, &n) ? hex(p, n) : json_string("?");
    case HM_CBOR_ARRAY: return list(v, depth);
    case HM_CBOR_MAP: return map(v, depth);
    default: return hm_cbor_bool(v, &b) ? json_boolean(b) : json_null();
    }
}
