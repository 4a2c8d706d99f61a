/* tokenizer_train.c - EM training of a unigram model.   SPDX-License-Identifier: MIT
 * Source: Kudo 2018 (Subword Regularization), section 3.2; SentencePiece's practice: digamma in the M-step,
 * pruning by the loss that taking a piece away would cost. Text is cut into units (a word with the space
 * before it; any other character by itself), so a piece never holds a space inside nor punctuation beside
 * letters; training sees each different unit once, with its frequency. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "text/normalize.h"
#include "text/tokenizer.h"

enum { MAX_UNIT = 96, MAX_CHARS = 24, N_CONTROL = 3 }; /* bytes of a unit, characters of a piece */

typedef struct {
    uint8_t *text;
    uint32_t len;
    double freq;
} string_count;

/* Open-addressing table of strings; entries keep their order of arrival. */
typedef struct {
    string_count *entry;
    size_t n, cap;
    uint32_t *slot; /* index + 1 */
    size_t n_slots;
    bool failed;
} table;

static uint64_t hash_of(const uint8_t *s, size_t n)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (size_t i = 0; i < n; i++) h = (h ^ s[i]) * 1099511628211u;
    return h ^ h >> 29;
}
static void table_free(table *t)
{
    for (size_t i = 0; i < t->n; i++) free(t->entry[i].text);
    free(t->entry);
    free(t->slot);
    *t = (table){0};
}
static bool table_grow(table *t)
{
    const size_t slots = t->n_slots ? t->n_slots * 2 : 4096, cap = slots / 2;
    string_count *entry = realloc(t->entry, cap * sizeof *entry);
    if (entry) t->entry = entry, t->cap = cap;
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!entry || !slot) {
        free(slot);
        t->failed = true;
        return false;
    }
    free(t->slot);
    t->slot = slot, t->n_slots = slots;
    for (size_t i = 0; i < t->n; i++) {
        size_t at = hash_of(t->entry[i].text, t->entry[i].len) & (slots - 1);
        while (slot[at]) at = (at + 1) & (slots - 1);
        slot[at] = (uint32_t)i + 1;
    }
    return true;
}
/* Index of the string, -1 where it is not there (and add is false, or memory is out). */
static int64_t table_find(table *t, const uint8_t *s, size_t n, bool add)
{
    if (add && t->n == t->cap && !table_grow(t)) return -1;
    if (!t->n_slots) return -1;
    size_t at = hash_of(s, n) & (t->n_slots - 1);
    for (; t->slot[at]; at = (at + 1) & (t->n_slots - 1)) {
        const string_count *e = &t->entry[t->slot[at] - 1];
        if (e->len == n && !memcmp(e->text, s, n)) return (int64_t)t->slot[at] - 1;
    }
    if (!add) return -1;
    uint8_t *copy = malloc(n + 1);
    if (!copy) {
        t->failed = true;
        return -1;
    }
    memcpy(copy, s, n);
    t->entry[t->n] = (string_count){copy, (uint32_t)n, 0};
    t->slot[at] = (uint32_t)++t->n;
    return (int64_t)t->n - 1;
}
static void table_add(table *t, const uint8_t *s, size_t n, double freq)
{
    const int64_t i = table_find(t, s, n, true);
    if (i >= 0) t->entry[i].freq += freq;
}

/* ---- units ---- */

static bool is_space_mark(const uint8_t *s, size_t n) { return n >= 3 && !memcmp(s, hm_norm_space, 3); }
static bool is_letter(const uint8_t *s)
{
    return (*s >= 'a' && *s <= 'z') || *s == '\'' || (*s >= 0xC3 && *s < 0xE2) || *s >= 0xE3;
}
/* Length of the unit at s: [space mark] letters, or [space mark] one other character. */
static size_t unit_len(const uint8_t *s, size_t n)
{
    size_t i = is_space_mark(s, n) ? 3 : 0;
    if (i >= n || is_space_mark(s + i, n - i)) return HM_MAX(i, 1);
    if (!is_letter(s + i)) return i + hm_utf8_len(s + i, n - i);
    while (i < n && is_letter(s + i) && i + 4 < MAX_UNIT) i += hm_utf8_len(s + i, n - i);
    return i;
}
static void count_units(table *units, const char *line, const hm_unigram *ours, hm_bytes *norm)
{
    norm->len = 0;
    hm_normalize(ours, (const uint8_t *)line, strlen(line), norm);
    units->failed |= norm->failed;
    for (size_t at = 0, k; at < norm->len; at += k) {
        k = unit_len(norm->data + at, norm->len - at);
        table_add(units, norm->data + at, k, 1);
    }
}

/* ---- the model in training: live pieces of a table, and the lattice of every unit ---- */

typedef struct {
    table pieces; /* freq: expected count */
    double *logp; /* -inf: dead */
    bool *required;
    size_t n_live;
} model;

/* Character starts of a unit: start[0] = 0 ... start[n] = len; returns n. */
static unsigned char_starts(const uint8_t *s, uint32_t len, uint32_t start[MAX_UNIT + 1])
{
    unsigned n = 0;
    uint32_t at = 0;
    while (at < len) {
        start[n++] = at;
        at += (uint32_t)hm_utf8_len(s + at, len - at);
    }
    start[n] = len;
    return n;
}

static void seed_pieces(model *m, table *units)
{
    static const char extra[] = "abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'\"()-+/&%#@*=_<>[]~$"
                                "\xC3\xA4\xC3\xB6\xC3\xBC\xC3\x9F\xC3\xA0\xC3\xA1\xC3\xA2\xC3\xA3\xC3\xA5\xC3"
                                "\xA6\xC3\xA7\xC3\xA8\xC3\xA9"
                                "\xC3\xAA\xC3\xAB\xC3\xAD\xC3\xAE\xC3\xB1\xC3\xB3\xC3\xB4\xC3\xB8\xC3\xBA\xE2"
                                "\x80\x93\xE2\x80\x94\xE2\x96\x81";
    for (size_t i = 0, k; i + 1 < sizeof extra; i += k) { /* known whether or not the text has them */
        k = hm_utf8_len((const uint8_t *)extra + i, sizeof extra - 1 - i);
        table_add(&m->pieces, (const uint8_t *)extra + i, k, 1e-3);
    }
    for (size_t u = 0; u < units->n; u++) {
        const string_count *e = &units->entry[u];
        uint32_t start[MAX_UNIT + 1];
        const unsigned n = char_starts(e->text, e->len, start);
        for (unsigned a = 0; a < n; a++)
            for (unsigned b = a + 1; b <= n && b - a <= MAX_CHARS; b++)
                table_add(&m->pieces, e->text + start[a], start[b] - start[a], e->freq);
    }
}

/* Sums over all segmentations of a unit, forward and backward, in logarithms; adds the expected counts. */
static void expect(model *m, const string_count *e, double *counts)
{
    uint32_t start[MAX_UNIT + 1];
    double alpha[MAX_UNIT + 1], beta[MAX_UNIT + 1];
    int64_t id[MAX_UNIT][MAX_CHARS];
    const unsigned n = char_starts(e->text, e->len, start);
    for (unsigned i = 0; i <= n; i++) alpha[i] = beta[i] = -INFINITY;
    alpha[0] = beta[n] = 0;
    for (unsigned a = 0; a < n; a++)
        for (unsigned k = 0; k < MAX_CHARS && a + k < n; k++) {
            const int64_t p = table_find(&m->pieces, e->text + start[a], start[a + k + 1] - start[a], false);
            id[a][k] = p >= 0 && m->logp[p] > -INFINITY ? p : -1;
            if (id[a][k] < 0) continue;
            const double x = alpha[a] + m->logp[p], y = alpha[a + k + 1];
            alpha[a + k + 1] = y == -INFINITY ? x : HM_MAX(x, y) + log1p(exp(-fabs(x - y)));
        }
    for (unsigned a = n; a-- > 0;)
        for (unsigned k = 0; k < MAX_CHARS && a + k < n; k++) {
            if (id[a][k] < 0) continue;
            const double x = beta[a + k + 1] + m->logp[id[a][k]], y = beta[a];
            beta[a] = y == -INFINITY ? x : HM_MAX(x, y) + log1p(exp(-fabs(x - y)));
        }
    if (alpha[n] == -INFINITY) return; /* holds a character that was not kept */
    for (unsigned a = 0; a < n; a++)
        for (unsigned k = 0; k < MAX_CHARS && a + k < n; k++)
            if (id[a][k] >= 0)
                counts[id[a][k]] += e->freq * exp(alpha[a] + m->logp[id[a][k]] + beta[a + k + 1] - alpha[n]);
}

static double digamma(double x)
{
    double r = 0;
    for (; x < 7; x++) r -= 1 / x;
    x -= 0.5;
    const double y = 1 / (x * x);
    return r + log(x) + y * (1.0 / 24 - y * (7.0 / 960 - y * (31.0 / 8064 - y * 127.0 / 30720)));
}

/* One round of EM; pieces that are hardly used die, except the required ones. */
static void em_round(model *m, const table *units, double *counts, double least)
{
    memset(counts, 0, m->pieces.n * sizeof *counts);
    for (size_t u = 0; u < units->n; u++) expect(m, &units->entry[u], counts);
    double sum = 0;
    for (size_t p = 0; p < m->pieces.n; p++) {
        if (m->logp[p] == -INFINITY) continue;
        if (!m->required[p] && counts[p] < least) m->logp[p] = -INFINITY, m->n_live--;
        else sum += HM_MAX(counts[p], 1e-3);
    }
    const double log_sum = digamma(sum + 1);
    for (size_t p = 0; p < m->pieces.n; p++)
        if (m->logp[p] > -INFINITY) {
            m->pieces.entry[p].freq = counts[p];
            m->logp[p] = digamma(HM_MAX(counts[p], 0) + 0.1) - log_sum; /* a little for the unseen */
        }
}

/* Best log probability of a piece's text without the piece itself. */
static double score_without(model *m, size_t piece)
{
    const string_count *e = &m->pieces.entry[piece];
    uint32_t start[MAX_UNIT + 1];
    double best[MAX_UNIT + 1];
    const unsigned n = char_starts(e->text, e->len, start);
    best[0] = 0;
    for (unsigned b = 1; b <= n; b++) {
        best[b] = -INFINITY;
        for (unsigned a = b > MAX_CHARS ? b - MAX_CHARS : 0; a < b; a++) {
            const int64_t p = table_find(&m->pieces, e->text + start[a], start[b] - start[a], false);
            if (p >= 0 && (size_t)p != piece && best[a] + m->logp[p] > best[b])
                best[b] = best[a] + m->logp[p];
        }
    }
    return best[n];
}

typedef struct {
    double key;
    size_t piece;
} ranked;
static int by_key(const void *a, const void *b) /* largest first; equal: first come */
{
    const ranked *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? 1 : -1;
    return (x->piece > y->piece) - (x->piece < y->piece);
}

/* Keep the pieces whose loss would cost most. */
static void prune(model *m, size_t keep, ranked *r)
{
    size_t n = 0, required = 0;
    for (size_t p = 0; p < m->pieces.n; p++) {
        if (m->logp[p] == -INFINITY) continue;
        if (m->required[p]) required++;
        else r[n++] = (ranked){(m->pieces.entry[p].freq + 1e-9) * (m->logp[p] - score_without(m, p)), p};
    }
    qsort(r, n, sizeof *r, by_key);
    for (size_t i = keep > required ? keep - required : 0; i < n; i++)
        m->logp[r[i].piece] = -INFINITY, m->n_live--;
}

/* Single characters stay, so that all text has a segmentation; at most half the vocabulary, the frequent
 * ones. */
static void require_characters(model *m, size_t vocab, ranked *r)
{
    size_t n = 0;
    for (size_t p = 0; p < m->pieces.n; p++) {
        const string_count *e = &m->pieces.entry[p];
        if (hm_utf8_len(e->text, e->len) == e->len) r[n++] = (ranked){e->freq, p};
    }
    qsort(r, n, sizeof *r, by_key);
    for (size_t i = 0; i < HM_MIN(n, vocab / 2); i++) m->required[r[i].piece] = true;
}

static himmel_status train(model *m, const table *units, size_t vocab, ranked **order, himmel_error *err)
{
    const size_t n = m->pieces.n;
    double *counts = calloc(n, sizeof *counts), total = 0;
    m->logp = calloc(n, sizeof *m->logp);
    m->required = calloc(n, sizeof *m->required);
    *order = calloc(n, sizeof **order);
    if (!counts || !m->logp || !m->required || !*order) {
        free(counts);
        return hm_fail(err, HIMMEL_ENOMEM, "out of memory for %zu candidate pieces", n);
    }
    for (size_t p = 0; p < n; p++) {
        const string_count *e = &m->pieces.entry[p];
        total += e->freq * e->len;
    }
    require_characters(m, vocab, *order);
    for (size_t p = 0; p < n; p++) m->logp[p] = log(m->pieces.entry[p].freq * m->pieces.entry[p].len / total);
    m->n_live = n;
    while (true) {
        for (int i = 0; i < 2; i++) em_round(m, units, counts, m->n_live > vocab ? 0.5 : 0);
        if (m->n_live <= vocab) break;
        prune(m, HM_MAX(vocab, m->n_live * 3 / 4), *order);
    }
    free(counts);
    return HIMMEL_OK;
}

/* ---- as ModelProto ---- */

static void put_varint(hm_bytes *b, uint64_t v)
{
    do {
        const uint8_t byte = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        hm_bytes_add(b, &byte, 1);
    } while (v >>= 7);
}
static void put_int(hm_bytes *b, unsigned field, int64_t v)
{
    put_varint(b, field << 3);
    put_varint(b, (uint64_t)v);
}
static void put_bytes(hm_bytes *b, unsigned field, const void *data, size_t n)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, n);
    hm_bytes_add(b, data, n);
}
static void put_piece(hm_bytes *out, const void *text, size_t n, float score, hm_piece_type type)
{
    hm_bytes p = {0};
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    const uint8_t le[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16), (uint8_t)(bits >> 24)};
    put_bytes(&p, 1, text, n);
    put_varint(&p, 2 << 3 | 5);
    hm_bytes_add(&p, le, sizeof le);
    if (type != HM_PIECE_NORMAL) put_int(&p, 3, type);
    put_bytes(out, 1, p.data, p.len);
    out->failed |= p.failed;
    free(p.data);
}
static void put_model(hm_bytes *out, const model *m, ranked *order)
{
    size_t n = 0;
    for (size_t p = 0; p < m->pieces.n; p++)
        if (m->logp[p] > -INFINITY) order[n++] = (ranked){m->logp[p], p};
    qsort(order, n, sizeof *order, by_key);
    put_piece(out, "<pad>", 5, 0, HM_PIECE_CONTROL);
    put_piece(out, "</s>", 4, 0, HM_PIECE_CONTROL);
    put_piece(out, "<unk>", 5, 0, HM_PIECE_UNKNOWN);
    for (size_t i = 0; i < n; i++) {
        const string_count *e = &m->pieces.entry[order[i].piece];
        put_piece(out, e->text, e->len, (float)order[i].key, HM_PIECE_NORMAL);
    }
    hm_bytes spec = {0};
    put_int(&spec, 3, 1); /* unigram */
    put_int(&spec, 4, (int64_t)n + N_CONTROL);
    put_int(&spec, 40, HM_TOK_UNK);
    put_int(&spec, 41, -1); /* no bos */
    put_int(&spec, 42, HM_TOK_EOS);
    put_int(&spec, 43, HM_TOK_PAD);
    put_bytes(out, 2, spec.data, spec.len);
    out->failed |= spec.failed;
    spec.len = 0;
    put_bytes(&spec, 1, hm_norm_name, strlen(hm_norm_name));
    put_int(&spec, 3, 1), put_int(&spec, 4, 1), put_int(&spec, 5, 1);
    put_bytes(out, 3, spec.data, spec.len);
    out->failed |= spec.failed;
    free(spec.data);
}

himmel_status hm_tok_train(hm_tokenizer **out, const char *const *lines, size_t n, int vocab_size,
                           himmel_error *err)
{
    *out = NULL;
    if (vocab_size < 256 || vocab_size > 1 << 20)
        return hm_fail(err, HIMMEL_EINVAL, "a tokenizer needs 256 to %d pieces, not %d", 1 << 20, vocab_size);
    const hm_unigram ours = {.norm_name = (const uint8_t *)hm_norm_name,
                             .n_norm_name = strlen(hm_norm_name),
                             .dummy_prefix = true,
                             .squeeze_spaces = true,
                             .escape_spaces = true};
    table units = {0};
    model m = {.pieces = {0}};
    hm_bytes norm = {0}, proto = {0};
    ranked *order = NULL;
    for (size_t i = 0; i < n; i++) count_units(&units, lines[i], &ours, &norm);
    seed_pieces(&m, &units);
    himmel_status rc = HIMMEL_OK;
    if (units.failed || m.pieces.failed)
        rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for the words of %zu lines", n);
    else if (!units.n) rc = hm_fail(err, HIMMEL_EINVAL, "a tokenizer cannot be trained on no text");
    if (!rc) rc = train(&m, &units, (size_t)vocab_size - N_CONTROL, &order, err);
    if (!rc) put_model(&proto, &m, order);
    if (!rc && proto.failed) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for a tokenizer");
    if (!rc) rc = hm_tok_parse(out, proto.data, proto.len, "new tokenizer", err);
    free(order);
    free(m.logp);
    free(m.required);
    free(norm.data);
    free(proto.data);
    table_free(&m.pieces);
    table_free(&units);
    return rc;
}
