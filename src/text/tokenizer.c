/* tokenizer.c - text to ids with a SentencePiece unigram model.   SPDX-License-Identifier: MIT
 * Source: SentencePiece (behaviour); oracle: golden tok*, ids_spm. */
#include "text/tokenizer.h"
#include <stdlib.h>
#include <string.h>
#include "text/normalize.h"

struct hm_tokenizer {
    hm_unigram u;
};

himmel_status hm_tok_parse(hm_tokenizer **out, const uint8_t *data, size_t len, const char *name,
                           himmel_error *err)
{
    *out = NULL;
    hm_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", name);
    const himmel_status rc = hm_unigram_parse(&t->u, data, len, name, err);
    if (rc) {
        hm_tok_free(t);
        return rc;
    }
    *out = t;
    return HIMMEL_OK;
}

himmel_status hm_tok_open(hm_tokenizer **out, const char *path, himmel_error *err)
{
    hm_map map;
    *out = NULL;
    himmel_status rc = hm_map_open(&map, path, err);
    if (!rc) rc = hm_tok_parse(out, map.data, map.len, path, err);
    hm_map_close(&map);
    return rc;
}

void hm_tok_free(hm_tokenizer *t)
{
    if (!t) return;
    hm_unigram_free(&t->u);
    free(t);
}

himmel_status hm_tok_format(const hm_tokenizer *t, uint8_t **out, size_t *len, himmel_error *err)
{
    *out = malloc(t->u.n_bytes); /* a tokenizer always has the bytes that it came from */
    if (!*out) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a tokenizer of %zu bytes", t->u.n_bytes);
    memcpy(*out, t->u.bytes, t->u.n_bytes);
    *len = t->u.n_bytes;
    return HIMMEL_OK;
}

int32_t hm_tok_size(const hm_tokenizer *t) { return t->u.n; }
int32_t hm_tok_eos(const hm_tokenizer *t) { return t->u.eos; }
int32_t hm_tok_unk(const hm_tokenizer *t) { return t->u.unk; }
const char *hm_tok_piece(const hm_tokenizer *t, int32_t id, size_t *len)
{
    if (id < 0 || id >= t->u.n) return NULL;
    *len = t->u.piece[id].len;
    return (const char *)t->u.piece[id].text;
}

typedef struct {
    int32_t *ids;
    size_t cap, n;
} id_list;
static void push(id_list *l, int32_t id)
{
    if (l->n < l->cap) l->ids[l->n] = id;
    l->n++;
}

/* Pieces along the best path (end: what hm_unigram_viterbi made of norm) as ids. */
static void emit(const hm_unigram *u, const hm_bytes *norm, hm_best *end, id_list *out)
{
    int32_t next = -1; /* go back along the path, leaving at each start the piece that begins there */
    for (size_t at = norm->len;;) {
        const hm_best e = end[at];
        end[at].id = next;
        if (!at) break;
        next = e.id;
        at = (size_t)e.start;
    }
    bool was_unk = false;
    for (size_t at = 0; at < norm->len;) {
        const int32_t id = end[at].id;
        const bool unk = id == u->unk;
        const size_t n = unk ? hm_utf8_len(norm->data + at, norm->len - at) : u->piece[id].len;
        if (!unk) push(out, id);
        else if (u->byte_fallback)
            for (size_t i = 0; i < n; i++) push(out, u->byte_id[norm->data[at + i]]);
        else if (!was_unk) push(out, id); /* a run of unknown characters is one */
        was_unk = unk;
        at += n;
    }
}

size_t hm_tok_encode(const hm_tokenizer *t, const char *text, size_t len, int32_t *ids, size_t cap)
{
    const hm_unigram *u = &t->u;
    hm_bytes norm = {0};
    hm_normalize(u, (const uint8_t *)text, len, &norm);
    id_list out = {ids, cap, 0};
    hm_best *end =
        norm.len && !norm.failed && norm.len < INT32_MAX / 2 ? malloc((norm.len + 1) * sizeof *end) : NULL;
    if (end) {
        hm_unigram_viterbi(u, norm.data, norm.len, end);
        emit(u, &norm, end, &out);
    }
    free(end);
    free(norm.data);
    return out.n;
}

void hm_tok_encode_padded(const hm_tokenizer *t, const char *text, int32_t *ids, int32_t *mask, size_t n)
{
    const bool eos = t->u.eos >= 0;
    if (!n) return;
    size_t k = hm_tok_encode(t, text, strlen(text), ids, n);
    if (eos) {
        k = HM_MIN(k, n - 1);
        ids[k++] = t->u.eos;
    }
    k = HM_MIN(k, n);
    for (size_t i = 0; i < n; i++) {
        mask[i] = i < k;
        if (i >= k) ids[i] = t->u.pad;
    }
}
