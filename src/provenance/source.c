/* source.c - what a file that goes into another says of itself.   SPDX-License-Identifier: MIT
 *   mime active hash[32] hash[32]  n {ok code where}  n {label box}
 * Texts are counted (u16), UTF-8 and end with a 0; counts are u32, boxes have a u64 in front, all big-endian. */
#include "provenance/source.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "provenance/asset.h"
#include "provenance/jumbf.h"
#include "provenance/verify.h"

enum { MAX_BYTES = 64 << 20 };

/* ---- taking the file apart ---- */

static void put_text(hm_buf *b, const char *s)
{
    const size_t n = s ? strnlen(s, 65000) : 0;
    hm_buf_be(b, n + 1, 2);
    if (n) hm_buf_add(b, s, n);
    hm_buf_be(b, 0, 1);
}

static void put_checks(hm_buf *b, const json_t *report)
{
    const json_t *checks = json_object_get(report, "checks");
    size_t i;
    json_t *one;
    hm_buf_be(b, json_array_size(checks), 4);
    for (i = 0; (one = json_array_get(checks, i)); i++) {
        hm_buf_be(b, json_is_true(json_object_get(one, "ok")), 1);
        put_text(b, json_string_value(json_object_get(one, "code")));
        put_text(b, json_string_value(json_object_get(one, "where")));
    }
}

/* The store of a file, and the last manifest in it, which is the file's own. False: nothing that can be referred to. */
static bool find_active(const hm_asset *a, hm_jumb *store, hm_jumb *last, hm_jumb *sig)
{
    hm_box box;
    hm_jumb m;
    size_t at = 0;
    *last = (hm_jumb){0};
    if (!a->manifest || hm_jumb_check(a->manifest, a->manifest_len, NULL)) return false;
    hm_box_next(a->manifest, a->manifest_len, &at, &box);
    if (!hm_jumb_open(store, &box)) return false;
    for (at = 0; hm_box_next(store->inner, store->inner_len, &at, &box);)
        if (hm_jumb_open(&m, &box) && (hm_jumb_is(&m, HM_JUMB_MANIFEST) || hm_jumb_is(&m, HM_JUMB_UPDATE))) *last = m;
    return last->uuid && hm_jumb_find(last, "c2pa.signature", 14, sig);
}

static void put_hash(hm_buf *b, const hm_box *box)
{
    uint8_t hash[32] = {0};
    if (box) hm_digest_of("sha256", 6, box->content, box->content_len, hash);
    hm_buf_add(b, hash, sizeof hash);
}

/* In two rounds: how many they are stands in front of them. */
static void put_manifests(hm_buf *b, const hm_jumb *store)
{
    uint64_t n = 0;
    for (int round = 0; round < 2; round++) {
        hm_box box;
        hm_jumb m;
        if (round) hm_buf_be(b, n, 4);
        for (size_t at = 0; store && hm_box_next(store->inner, store->inner_len, &at, &box);) {
            if (!hm_jumb_open(&m, &box)) continue;
            n++;
            if (!round) continue;
            put_text(b, m.label);
            hm_buf_be(b, box.len, 8);
            hm_buf_add(b, box.box, box.len);
        }
    }
}

static void put_all(hm_buf *b, const hm_map *map, const hm_asset *a, const json_t *report)
{
    hm_jumb store, last, sig;
    const bool active = find_active(a, &store, &last, &sig);
    put_text(b, hm_asset_mime(map->data, map->len));
    put_text(b, active ? last.label : "");
    put_hash(b, active ? &last.box : NULL);
    put_hash(b, active ? &sig.box : NULL);
    put_checks(b, report);
    put_manifests(b, active ? &store : NULL);
}

himmel_status hm_source_look(const char *path, uint8_t **out, size_t *n, himmel_error *err)
{
    hm_map map;
    hm_asset a = {0};
    json_t *report = NULL;
    hm_buf b = {0};
    *out = NULL, *n = 0;
    himmel_status rc = hm_map_open(&map, path, err);
    if (rc) return rc;
    const bool seen = !hm_asset_open(&a, map.data, map.len, NULL); /* if not, it can be shown, but no marks read */
    if (seen && !(report = hm_credentials_check(map.data, map.len, NULL, err))) rc = HIMMEL_ENOMEM;
    if (!rc) put_all(&b, &map, &a, report);
    if (!rc && b.failed) rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory for its Content Credentials", path);
    if (!rc && b.len > MAX_BYTES)
        rc = hm_fail(err, HIMMEL_EFORMAT, "%s: its Content Credentials have %zu MiB, at most %d can go into another file", path, b.len >> 20,
                     MAX_BYTES >> 20);
    json_decref(report);
    if (seen) hm_asset_close(&a);
    hm_map_close(&map);
    if (rc) hm_buf_free(&b);
    *out = b.data, *n = b.len;
    return rc;
}

/* ---- reading what it said ---- */

typedef struct {
    uint8_t *at, *end;
    bool bad;
} cursor;

static uint8_t *take(cursor *c, uint64_t n)
{
    static uint8_t nothing[32];
    if (c->bad || n > (uint64_t)(c->end - c->at)) {
        c->bad = true;
        return nothing; /* n is at most that long then: callers that take more look at bad first */
    }
    uint8_t *p = c->at;
    c->at += n;
    return p;
}

static const char *take_text(cursor *c)
{
    const uint64_t n = hm_be(take(c, 2), 2);
    const char *s = (const char *)take(c, n);
    if (c->bad || !n || memchr(s, 0, n) != s + n - 1) c->bad = true;
    json_t *utf8 = c->bad ? NULL : json_stringn(s, n - 1);
    if (!utf8) c->bad = true;
    json_decref(utf8);
    return c->bad ? "" : s;
}

/* A list whose items have at least `least` bytes each; NULL with *n 0: none. */
static void *take_list(cursor *c, size_t *n, size_t least, size_t size)
{
    const uint64_t count = hm_be(take(c, 4), 4);
    if (count > (uint64_t)(c->end - c->at) / least) c->bad = true;
    void *list = c->bad || !count ? NULL : calloc((size_t)count, size);
    *n = list ? (size_t)count : 0;
    if (count && !list) c->bad = true;
    return list;
}

static void take_manifest(cursor *c, hm_source_manifest *m)
{
    m->label = take_text(c);
    const uint64_t len = hm_be(take(c, 8), 8);
    m->box = take(c, len);
    m->len = (size_t)len;
    if (c->bad || len < 16 || memcmp(m->box + 4, "jumb", 4) ||
        !(hm_be(m->box, 4) == len || (hm_be(m->box, 4) == 1 && hm_be(m->box + 8, 8) == len)))
        c->bad = true;
}

himmel_status hm_source_parse(hm_source_says *s, uint8_t *bytes, size_t n, const char *path, himmel_error *err)
{
    *s = (hm_source_says){.bytes = bytes};
    cursor c = {.at = bytes, .end = bytes + n};
    s->mime = take_text(&c);
    s->active = take_text(&c);
    memcpy(s->manifest_hash, take(&c, 32), 32);
    memcpy(s->signature_hash, take(&c, 32), 32);
    s->check = take_list(&c, &s->n_checks, 5, sizeof *s->check);
    for (size_t i = 0; i < s->n_checks && !c.bad; i++) {
        s->check[i].ok = *take(&c, 1);
        s->check[i].code = take_text(&c);
        s->check[i].where = take_text(&c);
    }
    s->manifest = take_list(&c, &s->n_manifests, 26, sizeof *s->manifest);
    for (size_t i = 0; i < s->n_manifests && !c.bad; i++) take_manifest(&c, &s->manifest[i]);
    if (!c.bad && c.at == c.end && strlen(s->active) < 256) return HIMMEL_OK;
    hm_source_close(s);
    return hm_fail(err, HIMMEL_EFORMAT, "%s: the process that read its Content Credentials gave a wrong answer", path);
}

himmel_status hm_source_open(hm_source_says *out, const hm_reader *by, const char *path, himmel_error *err)
{
    uint8_t *bytes;
    size_t n;
    *out = (hm_source_says){0};
    const himmel_status rc = by && by->open ? hm_far_other(by, path, MAX_BYTES, &bytes, &n, err) : hm_source_look(path, &bytes, &n, err);
    return rc ? rc : hm_source_parse(out, bytes, n, path, err);
}

void hm_source_close(hm_source_says *s)
{
    free(s->check);
    free(s->manifest);
    free(s->bytes);
    *s = (hm_source_says){0};
}
