/* binding.c - hashes over a file with holes.   SPDX-License-Identifier: MIT */
#include "provenance/binding.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RANGES = 1 << 20, MAX_PATH_PARTS = 12, MDAT_HEADER = 16, MAX_LEAVES = 1 << 20,
       MAX_WORK = 1 << 26 };

typedef struct {
    hm_range *at;
    size_t n, cap;
    bool failed;
} ranges;

static void add_range(ranges *r, uint64_t start, uint64_t len)
{
    if (r->failed) return;
    if (r->n == r->cap) {
        const size_t cap = r->cap ? 2 * r->cap : 64;
        hm_range *p = cap <= MAX_RANGES ? realloc(r->at, cap * sizeof *p) : NULL;
        if (!p) {
            r->failed = true;
            return;
        }
        r->at = p, r->cap = cap;
    }
    r->at[r->n++] = (hm_range){start, len};
}

static int by_start(const void *a, const void *b)
{
    const hm_range *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start ? 1 : x->len < y->len ? -1 : x->len > y->len;
}

/* Hash data[pos, end) without the holes (sorted); *hole is where to go on looking. */
static void hash_span(hm_digest *d, const uint8_t *data, uint64_t pos, uint64_t end, const ranges *holes, size_t *hole,
                      uint64_t *covered)
{
    while (pos < end) {
        while (*hole < holes->n && holes->at[*hole].start + holes->at[*hole].len <= pos) ++*hole;
        uint64_t stop = end, next = end;
        if (*hole < holes->n && holes->at[*hole].start < end) {
            stop = HM_MAX(holes->at[*hole].start, pos);
            next = HM_MIN(holes->at[*hole].start + holes->at[*hole].len, end);
        }
        hm_digest_add(d, data + pos, (size_t)(stop - pos));
        *covered += stop - pos;
        pos = next;
    }
}

/* The digest of the file without holes; before the byte at each mark its offset is hashed. Both get sorted. */
static size_t hash_file(const uint8_t *data, uint64_t n, const char *alg, size_t alg_len, ranges *holes, ranges *marks,
                        uint64_t *covered, uint8_t *out)
{
    hm_digest *d = hm_digest_new(alg, alg_len);
    if (!d) return 0;
    if (holes->n) qsort(holes->at, holes->n, sizeof *holes->at, by_start);
    if (marks->n) qsort(marks->at, marks->n, sizeof *marks->at, by_start);
    uint64_t pos = 0;
    size_t hole = 0;
    for (size_t i = 0; i < marks->n; i++) {
        uint8_t offset[8];
        hash_span(d, data, pos, marks->at[i].start, holes, &hole, covered);
        pos = marks->at[i].start;
        hm_put_be(offset, pos, 8);
        hm_digest_add(d, offset, 8);
    }
    hash_span(d, data, pos, n, holes, &hole, covered);
    return hm_digest_end(d, out);
}

/* ---- c2pa.hash.data ---- */

static bool data_holes(hm_cbor assertion, const hm_bound_file *f, ranges *holes, hm_binding *out)
{
    const hm_range *m = &f->manifest;
    hm_cbor list, one, s, l;
    hm_cbor_iter it;
    uint64_t longer = 0; /* since the hash */
    bool found = false;
    if (!hm_cbor_get(assertion, "exclusions", &list) || !hm_cbor_each(list, &it)) return false;
    while (hm_cbor_next(&it, NULL, &one)) {
        uint64_t start, len;
        if (!hm_cbor_get(one, "start", &s) || !hm_cbor_get(one, "length", &l) || !hm_cbor_uint(s, &start) ||
            !hm_cbor_uint(l, &len))
            return false;
        if (f->updated && start == m->start && len <= m->len) longer = m->len - len, len = m->len;
        else if (start > m->start && !hm_add(start, longer, &start)) return false;
        if (start > f->n || len > f->n - start) return false;
        found |= start == m->start && len == m->len;
        add_range(holes, start, len);
    }
    out->more_excluded = holes->n > 1;
    return found;
}

/* ---- c2pa.hash.bmff ---- */

typedef struct {
    char type[5];
    unsigned long index; /* 1-based, 0 = all */
} path_part;

/* "/moov/trak[2]/mdia" */
static int parse_path(hm_cbor v, path_part part[MAX_PATH_PARTS])
{
    const char *s;
    size_t n;
    char text[128];
    int count = 0;
    if (!hm_cbor_text(v, &s, &n) || n >= sizeof text || memchr(s, 0, n)) return -1;
    memcpy(text, s, n);
    text[n] = 0;
    for (char *p = text; *p;) {
        if (*p++ != '/' || count == MAX_PATH_PARTS || strlen(p) < 4) return -1;
        memcpy(part[count].type, p, 4);
        part[count].type[4] = 0;
        part[count].index = 0;
        p += 4;
        if (*p == '[') {
            char *end;
            part[count].index = strtoul(p + 1, &end, 10);
            if (*end != ']') return -1;
            p = end + 1;
        }
        count++;
    }
    return count;
}

typedef struct {
    const uint8_t *data;
    hm_cbor rule;       /* one exclusion */
    ranges *holes, *marks;
    uint64_t *work;     /* steps that are left for all rules */
} exclusion;

static bool spend(const exclusion *e)
{
    return *e->work && --*e->work;
}

static bool has_null(hm_cbor map, const char *key, hm_cbor *v)
{
    return !hm_cbor_get(map, key, v) || (v->at && *v->at == 0xf6);
}

static bool flags_match(const exclusion *e, const hm_bmff_box *b)
{
    hm_cbor v;
    const uint8_t *flags, *own = e->data + b->start + b->header;
    size_t n;
    uint64_t version;
    bool exact = true;
    if (!has_null(e->rule, "version", &v) &&
        (!hm_cbor_uint(v, &version) || b->len < b->header + 4u || own[0] != version))
        return false;
    if (has_null(e->rule, "flags", &v)) return true;
    if (!hm_cbor_bytes(v, &flags, &n) || n != 3 || b->len < b->header + 4u) return false;
    if (!has_null(e->rule, "exact", &v)) hm_cbor_bool(v, &exact);
    for (int i = 0; i < 3; i++)
        if (exact ? own[1 + i] != flags[i] : (own[1 + i] & flags[i]) != flags[i]) return false;
    return true;
}

static bool matches(const exclusion *e, const hm_bmff_box *b)
{
    hm_cbor v, one, o, value;
    hm_cbor_iter it;
    uint64_t len, offset;
    const uint8_t *want;
    size_t n;
    if (!has_null(e->rule, "length", &v) && (!hm_cbor_uint(v, &len) || len != b->len)) return false;
    if (!flags_match(e, b)) return false;
    if (has_null(e->rule, "data", &v)) return true;
    if (!hm_cbor_each(v, &it)) return false;
    while (spend(e) && hm_cbor_next(&it, NULL, &one))
        if (!hm_cbor_get(one, "offset", &o) || !hm_cbor_get(one, "value", &value) || !hm_cbor_uint(o, &offset) ||
            !hm_cbor_bytes(value, &want, &n) || offset > b->len || n > b->len - offset ||
            memcmp(e->data + b->start + offset, want, n))
            return false;
    return true;
}

static void exclude(const exclusion *e, const hm_bmff_box *b)
{
    hm_cbor subset, one, o, l;
    hm_cbor_iter it;
    if (!has_null(e->rule, "subset", &subset) && hm_cbor_each(subset, &it)) {
        while (spend(e) && hm_cbor_next(&it, NULL, &one)) {
            uint64_t offset, len;
            if (!hm_cbor_get(one, "offset", &o) || !hm_cbor_get(one, "length", &l) || !hm_cbor_uint(o, &offset) ||
                !hm_cbor_uint(l, &len) || offset > b->len)
                continue;
            add_range(e->holes, b->start + offset, len ? HM_MIN(len, b->len - offset) : b->len - offset);
        }
        return;
    }
    add_range(e->holes, b->start, b->len);
    hm_range key = {b->start, 0}, *mark = NULL;
    if (e->marks->n) mark = bsearch(&key, e->marks->at, e->marks->n, sizeof key, by_start);
    if (mark) mark->len = 1; /* gone: swept out below */
}

static void walk(const exclusion *e, uint64_t at, uint64_t end, const path_part *part, int n_parts)
{
    hm_bmff_box b;
    unsigned long seen = 0;
    while (spend(e) && hm_bmff_next(e->data, end, &at, &b) > 0) {
        if (strcmp(b.type, part->type) || (part->index && ++seen != part->index)) continue;
        const uint64_t inner = b.start + b.header + (strcmp(b.type, "meta") ? 0 : 4);
        if (n_parts > 1 && inner < b.start + b.len) walk(e, inner, b.start + b.len, part + 1, n_parts - 1);
        else if (n_parts == 1 && matches(e, &b)) exclude(e, &b);
    }
}

static bool bmff_holes(hm_cbor assertion, bool offsets, const uint8_t *data, uint64_t n, ranges *holes, ranges *marks)
{
    hm_bmff_box b;
    uint64_t at = 0;
    hm_cbor list, xpath;
    hm_cbor_iter it;
    uint64_t work = MAX_WORK;
    exclusion e = {.data = data, .holes = holes, .marks = marks, .work = &work};
    int rules = 0;
    while (offsets && hm_bmff_next(data, n, &at, &b) > 0) add_range(marks, b.start, 0);
    if (!hm_cbor_get(assertion, "exclusions", &list) || !hm_cbor_each(list, &it)) return false;
    while (hm_cbor_next(&it, NULL, &e.rule)) {
        path_part part[MAX_PATH_PARTS];
        const int n_parts = hm_cbor_get(e.rule, "xpath", &xpath) ? parse_path(xpath, part) : -1;
        if (n_parts < 1 || ++rules > 64) return false;
        walk(&e, 0, n, part, n_parts);
    }
    if (!work) holes->failed = true;
    size_t kept = 0;
    for (size_t i = 0; i < marks->n; i++)
        if (!marks->at[i].len) marks->at[kept++] = marks->at[i];
    marks->n = kept;
    return true;
}

/* ---- Merkle trees over mdat ---- */

typedef struct {
    uint8_t (*node)[HM_MAX_DIGEST];
    size_t n;
    size_t len; /* of a digest */
} layer;

/* The parents of a layer, in place; a last one without a partner moves up as it is. */
static void fold(layer *l, const char *alg, size_t alg_len)
{
    size_t up = 0;
    for (size_t i = 0; i < l->n; i += 2, up++) {
        uint8_t both[2 * HM_MAX_DIGEST];
        if (i + 1 == l->n) {
            memmove(l->node[up], l->node[i], HM_MAX_DIGEST);
            continue;
        }
        memcpy(both, l->node[i], l->len);
        memcpy(both + l->len, l->node[i + 1], l->len);
        hm_digest_of(alg, alg_len, both, 2 * l->len, l->node[up]);
    }
    l->n = up;
}

/* Do the leaves of one mdat, folded, equal the hashes of the tree? */
static bool tree_matches(hm_cbor tree, const uint8_t *p, uint64_t n, const char *alg, size_t alg_len)
{
    hm_cbor v, sizes, hashes, one;
    hm_cbor_iter it;
    uint64_t count, block = 0, at = 0;
    layer l = {0};
    if (!hm_cbor_get(tree, "count", &v) || !hm_cbor_uint(v, &count) || !count || count > MAX_LEAVES) return false;
    if (!hm_cbor_get(tree, "hashes", &hashes) || !hm_cbor_each(hashes, &it)) return false;
    size_t want = 0;
    while (hm_cbor_next(&it, NULL, &one)) want++;
    const bool varied = !has_null(tree, "variableBlockSizes", &sizes) && hm_cbor_each(sizes, &it);
    if (!has_null(tree, "fixedBlockSize", &v) && !hm_cbor_uint(v, &block)) return false;
    if (!varied && !block) block = HM_MAX(n, 1);
    l.node = malloc((size_t)count * sizeof *l.node);
    bool ok = l.node != NULL;
    for (uint64_t i = 0; ok && i < count; i++) {
        if (varied) ok = hm_cbor_next(&it, NULL, &one) && hm_cbor_uint(one, &block);
        const uint64_t len = HM_MIN(block, n - at);
        if (ok) l.len = hm_digest_of(alg, alg_len, p + at, (size_t)len, l.node[l.n++]);
        ok = ok && l.len;
        at += len;
    }
    ok = ok && at == n && want;
    while (ok && l.n > want && l.n > 1) fold(&l, alg, alg_len);
    ok = ok && l.n == want && hm_cbor_each(hashes, &it);
    for (size_t i = 0; ok && i < l.n; i++) {
        const uint8_t *h;
        size_t len;
        ok = hm_cbor_next(&it, NULL, &one) && hm_cbor_bytes(one, &h, &len) && len == l.len &&
             !memcmp(h, l.node[i], len);
    }
    free(l.node);
    return ok;
}

static bool trees_match(hm_cbor trees, const uint8_t *data, uint64_t n, const char *alg, size_t alg_len,
                        hm_binding *out)
{
    hm_bmff_box b;
    uint64_t at = 0;
    hm_cbor tree, v;
    hm_cbor_iter it;
    if (!hm_cbor_each(trees, &it)) return false;
    while (hm_bmff_next(data, n, &at, &b) > 0) {
        if (strcmp(b.type, "mdat")) continue;
        const char *a = alg;
        size_t a_len = alg_len;
        if (!hm_cbor_next(&it, NULL, &tree)) return false;
        if (!has_null(tree, "initHash", &v)) {
            snprintf(out->problem, sizeof out->problem, "fragments with hashes of their own cannot be checked");
            return false;
        }
        if (!has_null(tree, "alg", &v)) hm_cbor_text(v, &a, &a_len);
        const uint64_t skip = HM_MIN((uint64_t)MDAT_HEADER, b.len);
        if (!tree_matches(tree, data + b.start + skip, b.len - skip, a, a_len)) return false;
        out->covered += b.len - skip;
    }
    return !hm_cbor_next(&it, NULL, &tree);
}

/* ---- both ---- */

bool hm_binding_label(const char *label)
{
    return !strcmp(label, "c2pa.hash.data") || !strcmp(label, "c2pa.hash.bmff") ||
           !strcmp(label, "c2pa.hash.bmff.v2") || !strcmp(label, "c2pa.hash.bmff.v3");
}

void hm_binding_check(hm_binding *out, const char *label, hm_cbor assertion, const char *alg, size_t alg_len,
                      const hm_bound_file *file)
{
    const uint8_t *data = file->data;
    const size_t n = file->n;
    *out = (hm_binding){0};
    const bool bmff = !strncmp(label, "c2pa.hash.bmff", 14);
    ranges holes = {0}, marks = {0};
    hm_cbor v, trees;
    const uint8_t *want = NULL;
    size_t want_len = 0;
    if (!has_null(assertion, "alg", &v)) hm_cbor_text(v, &alg, &alg_len);
    const bool has_hash = !has_null(assertion, "hash", &v) && hm_cbor_bytes(v, &want, &want_len);
    const bool has_trees = bmff && !has_null(assertion, "merkle", &trees);
    const bool ok = bmff ? hm_asset_kind_of(data, n) == HM_ASSET_BMFF &&
                               bmff_holes(assertion, strlen(label) > 14, data, n, &holes, &marks)
                         : data_holes(assertion, file, &holes, out);
    if (!ok) snprintf(out->problem, sizeof out->problem, "its rules do not fit this file or where the manifest lies");
    else if (holes.failed || marks.failed) snprintf(out->problem, sizeof out->problem, "too many boxes or ranges");
    else if (!(out->hash_len = hash_file(data, n, alg, alg_len, &holes, &marks, &out->covered, out->hash)))
        snprintf(out->problem, sizeof out->problem, "unknown hash algorithm %.*s", (int)HM_MIN(alg_len, 32u), alg);
    else if (!has_hash) snprintf(out->problem, sizeof out->problem, "it has no hash");
    else out->match = want_len == out->hash_len && !memcmp(want, out->hash, want_len);
    if (out->match && has_trees) out->match = trees_match(trees, data, n, alg, alg_len, out);
    if (!out->match && !*out->problem)
        snprintf(out->problem, sizeof out->problem, "the file's bytes are not those that were signed");
    free(holes.at);
    free(marks.at);
}
