/* unigram_read.c - SentencePiece ModelProto from untrusted bytes.   SPDX-License-Identifier: MIT
 * Source: sentencepiece_model.proto (field numbers and defaults), the protocol buffers wire format. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "text/unigram.h"

enum { MAX_PIECES = 1 << 21, MAX_PIECE_LEN = 1 << 12 };

/* ---- wire format ---- */

typedef struct {
    const uint8_t *at, *end;
} wire;
typedef struct {
    uint32_t number, type; /* 0 varint, 1 64-bit, 2 bytes, 5 32-bit */
    uint64_t value; /* varint, fixed */
    wire bytes; /* type 2 */
} field;

static bool read_varint(wire *w, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (w->at == w->end) return false;
        const uint8_t b = *w->at++;
        if (shift == 63 && b > 1) return false;
        *v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) return true;
    }
    return false;
}
static bool read_fixed(wire *w, unsigned n, uint64_t *v)
{
    if ((size_t)(w->end - w->at) < n) return false;
    *v = 0;
    for (unsigned i = 0; i < n; i++) *v |= (uint64_t)w->at[i] << 8 * i;
    w->at += n;
    return true;
}
/* The next field; false where the bytes are broken. Call while at < end. */
static bool read_field(wire *w, field *f)
{
    uint64_t key, n;
    if (!read_varint(w, &key) || key >> 32 || !(key >> 3)) return false;
    f->number = (uint32_t)(key >> 3);
    f->type = key & 7;
    f->value = 0;
    f->bytes = (wire){NULL, NULL};
    switch (f->type) {
    case 0: return read_varint(w, &f->value);
    case 1: return read_fixed(w, 8, &f->value);
    case 5: return read_fixed(w, 4, &f->value);
    case 2:
        if (!read_varint(w, &n) || n > (uint64_t)(w->end - w->at)) return false;
        f->bytes = (wire){w->at, w->at + n};
        w->at += n;
        return true;
    default: return false; /* groups: not in this format */
    }
}

/* ---- the messages ---- */

typedef struct {
    hm_unigram *u;
    const char *name;
    himmel_error *err;
    size_t cap;
    int64_t model_type, unk_id, eos_id, pad_id;
    bool suffix;
} reader;

static himmel_status broken(const reader *r, const char *what)
{
    return hm_fail(r->err, HIMMEL_EFORMAT, "%s: not a SentencePiece model (%s is broken)", r->name, what);
}

static himmel_status read_piece(reader *r, wire w)
{
    hm_unigram *u = r->u;
    hm_piece p = {.type = HM_PIECE_NORMAL};
    while (w.at < w.end) {
        field f;
        if (!read_field(&w, &f)) return broken(r, "a piece");
        if (f.number == 1 && f.type == 2)
            p.text = f.bytes.at, p.len = (uint32_t)HM_MIN(f.bytes.end - f.bytes.at, INT32_MAX);
        if (f.number == 2 && f.type == 5) {
            const uint32_t bits = (uint32_t)f.value;
            memcpy(&p.score, &bits, sizeof bits);
        }
        if (f.number == 3 && f.type == 0) p.type = (hm_piece_type)(f.value > 6 ? 0 : f.value);
    }
    if (!p.len || p.len > MAX_PIECE_LEN || p.type < HM_PIECE_NORMAL || !isfinite(p.score) ||
        fabsf(p.score) > 1e9f)
        return broken(r, "a piece");
    if (u->n >= MAX_PIECES)
        return hm_fail(r->err, HIMMEL_EFORMAT, "%s: more than %d pieces", r->name, MAX_PIECES);
    if ((size_t)u->n == r->cap) {
        const size_t cap = r->cap ? r->cap * 2 : 4096;
        hm_piece *more = realloc(u->piece, cap * sizeof *more);
        if (!more) return hm_fail(r->err, HIMMEL_ENOMEM, "%s: out of memory for its pieces", r->name);
        u->piece = more;
        r->cap = cap;
    }
    u->piece[u->n++] = p;
    return HIMMEL_OK;
}

static himmel_status read_trainer(reader *r, wire w)
{
    while (w.at < w.end) {
        field f;
        if (!read_field(&w, &f)) return broken(r, "trainer_spec");
        if (f.type) continue;
        switch (f.number) {
        case 3: r->model_type = (int64_t)f.value; break;
        case 24: r->suffix = f.value != 0; break;
        case 35: r->u->byte_fallback = f.value != 0; break;
        case 40: r->unk_id = (int32_t)f.value; break;
        case 42: r->eos_id = (int32_t)f.value; break;
        case 43: r->pad_id = (int32_t)f.value; break;
        default: break;
        }
    }
    return HIMMEL_OK;
}
static himmel_status read_normalizer(reader *r, wire w)
{
    hm_unigram *u = r->u;
    while (w.at < w.end) {
        field f;
        if (!read_field(&w, &f)) return broken(r, "normalizer_spec");
        if (f.number == 1 && f.type == 2)
            u->norm_name = f.bytes.at, u->n_norm_name = (size_t)(f.bytes.end - f.bytes.at);
        if (f.number == 2 && f.type == 2)
            u->charsmap = f.bytes.at, u->n_charsmap = (size_t)(f.bytes.end - f.bytes.at);
        if (f.number == 3 && f.type == 0) u->dummy_prefix = f.value != 0;
        if (f.number == 4 && f.type == 0) u->squeeze_spaces = f.value != 0;
        if (f.number == 5 && f.type == 0) u->escape_spaces = f.value != 0;
    }
    return HIMMEL_OK;
}

/* uint32 size of the trie, the trie (32-bit units), strings that each end with 0. */
static himmel_status check_charsmap(const reader *r)
{
    const hm_unigram *u = r->u;
    if (!u->n_charsmap) return HIMMEL_OK;
    uint64_t trie = 0;
    wire w = {u->charsmap, u->charsmap + u->n_charsmap};
    if (!read_fixed(&w, 4, &trie) || trie % 4 || !trie || trie > u->n_charsmap - 4 ||
        u->charsmap[u->n_charsmap - 1])
        return broken(r, "its table of normalised characters");
    return HIMMEL_OK;
}

/* ---- what follows from the pieces ---- */

static int compare_pieces(const hm_piece *a, const hm_piece *b)
{
    const int c = memcmp(a->text, b->text, HM_MIN(a->len, b->len));
    return c ? c : (a->len > b->len) - (a->len < b->len);
}
/* Heap sort of ids by bytes: no recursion, and qsort has no user pointer. */
static void sift(const hm_unigram *u, int32_t *ids, int32_t i, int32_t n)
{
    for (int32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && compare_pieces(&u->piece[ids[child]], &u->piece[ids[child + 1]]) < 0) child++;
        if (compare_pieces(&u->piece[ids[i]], &u->piece[ids[child]]) >= 0) return;
        const int32_t t = ids[i];
        ids[i] = ids[child], ids[child] = t;
    }
}
static void sort_ids(const hm_unigram *u, int32_t *ids, int32_t n)
{
    for (int32_t i = n / 2; i-- > 0;) sift(u, ids, i, n);
    for (int32_t m = n - 1; m > 0; m--) {
        const int32_t t = ids[0];
        ids[0] = ids[m], ids[m] = t;
        sift(u, ids, 0, m);
    }
}

/* "<0x41>" -> 0x41, else -1 */
static int byte_of(const hm_piece *p)
{
    int v = 0;
    if (p->len != 6 || memcmp(p->text, "<0x", 3) || p->text[5] != '>') return -1;
    for (int i = 3; i < 5; i++) {
        const int c = p->text[i];
        const int d = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0) return -1;
        v = v * 16 + d;
    }
    return v;
}

static himmel_status index_pieces(reader *r)
{
    hm_unigram *u = r->u;
    u->sorted = malloc(((size_t)u->n + 1) * sizeof *u->sorted);
    if (!u->sorted) return hm_fail(r->err, HIMMEL_ENOMEM, "%s: out of memory for its pieces", r->name);
    for (int i = 0; i < 256; i++) u->byte_id[i] = -1;
    bool scored = false;
    for (int32_t i = 0; i < u->n; i++) {
        const hm_piece *p = &u->piece[i];
        const int byte = p->type == HM_PIECE_BYTE ? byte_of(p) : -1;
        if (p->type == HM_PIECE_BYTE && byte < 0) return broken(r, "a byte piece");
        if (byte >= 0) u->byte_id[byte] = i;
        if (p->type == HM_PIECE_UNKNOWN) {
            if (u->unk >= 0) return broken(r, "the list of pieces: two unknowns; it");
            u->unk = i;
        }
        u->n_user += p->type == HM_PIECE_USER;
        if (p->type == HM_PIECE_NORMAL || p->type == HM_PIECE_USER || p->type == HM_PIECE_UNUSED)
            u->sorted[u->n_sorted++] = i;
        if (p->type != HM_PIECE_NORMAL) continue;
        u->min_score = scored ? fminf(u->min_score, p->score) : p->score;
        u->max_score = scored ? fmaxf(u->max_score, p->score) : p->score;
        scored = true;
    }
    if (u->unk < 0) return hm_fail(r->err, HIMMEL_EFORMAT, "%s: has no piece for unknown text", r->name);
    if (u->byte_fallback)
        for (int i = 0; i < 256; i++)
            if (u->byte_id[i] < 0)
                return hm_fail(r->err, HIMMEL_EFORMAT, "%s: byte fallback, but no piece <0x%02X>", r->name,
                               i);
    sort_ids(u, u->sorted, u->n_sorted);
    for (int32_t i = 1; i < u->n_sorted; i++)
        if (!compare_pieces(&u->piece[u->sorted[i - 1]], &u->piece[u->sorted[i]]))
            return hm_fail(r->err, HIMMEL_EFORMAT, "%s: pieces %d and %d are the same", r->name,
                           (int)u->sorted[i - 1], (int)u->sorted[i]);
    return HIMMEL_OK;
}

himmel_status hm_unigram_parse(hm_unigram *u, const uint8_t *data, size_t len, const char *name,
                               himmel_error *err)
{
    *u = (hm_unigram){.unk = -1, .dummy_prefix = true, .squeeze_spaces = true, .escape_spaces = true};
    reader r = {.u = u, .name = name, .err = err, .model_type = 1, .eos_id = 2, .pad_id = -1};
    if (!len || len > (size_t)1 << 28)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: not a SentencePiece model (%zu bytes)", name, len);
    u->bytes = malloc(len);
    if (!u->bytes) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory for %zu bytes", name, len);
    memcpy(u->bytes, data, len);
    u->n_bytes = len;
    himmel_status rc = HIMMEL_OK;
    for (wire w = {u->bytes, u->bytes + len}; !rc && w.at < w.end;) {
        field f;
        if (!read_field(&w, &f)) return broken(&r, "its outer structure");
        if (f.type != 2) continue;
        if (f.number == 1) rc = read_piece(&r, f.bytes);
        if (f.number == 2) rc = read_trainer(&r, f.bytes);
        if (f.number == 3) rc = read_normalizer(&r, f.bytes);
    }
    if (rc) return rc;
    if (!u->n) return hm_fail(err, HIMMEL_EFORMAT, "%s: a SentencePiece model without pieces", name);
    if (r.model_type != 1)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: a SentencePiece model, but not of type unigram", name);
    if (r.suffix) return hm_fail(err, HIMMEL_EFORMAT, "%s: white space as suffix is not supported", name);
    u->eos = r.eos_id >= 0 && r.eos_id < u->n ? (int32_t)r.eos_id : -1;
    u->pad = r.pad_id >= 0 && r.pad_id < u->n ? (int32_t)r.pad_id : 0;
    rc = check_charsmap(&r);
    return rc ? rc : index_pieces(&r);
}
