/* normalize.c - SentencePiece's normaliser, and ours.   SPDX-License-Identifier: MIT
 * Source: SentencePiece normalizer.cc (behaviour), Darts-clone's double array (layout of a unit). Traps: the
 * trie is untrusted, so every jump is checked; a NUL is a character like others; a broken byte becomes
 * U+FFFD; user-defined pieces are left as they are. */
#include "text/normalize.h"
#include <stdlib.h>
#include <string.h>

const char hm_norm_name[] = "himmel";
const char hm_norm_space[] = "\xE2\x96\x81";

void hm_bytes_add(hm_bytes *b, const void *data, size_t n)
{
    if (b->failed || !n) return;
    if (n > b->cap - b->len) {
        const size_t cap = HM_MAX(b->cap * 2, b->len + n + 256);
        uint8_t *more = realloc(b->data, cap);
        if (!more) {
            b->failed = true;
            return;
        }
        b->data = more;
        b->cap = cap;
    }
    memcpy(b->data + b->len, data, n);
    b->len += n;
}

static uint32_t le32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Longest key of the double array that text begins with; its value in *value. 0: none. */
static size_t longest_key(const hm_unigram *u, const uint8_t *text, size_t n, uint32_t *value)
{
    const size_t units = le32(u->charsmap) / 4;
    const uint8_t *trie = u->charsmap + 4;
    size_t found = 0;
    uint32_t unit = le32(trie), pos = (unit >> 10) << ((unit & 0x200) >> 6);
    for (size_t i = 0; i < n; i++) {
        pos ^= text[i];
        if (pos >= units) break;
        unit = le32(trie + 4 * (size_t)pos);
        if ((unit & 0x800000ffu) != text[i]) break; /* the unit's label is another byte */
        pos ^= (unit >> 10) << ((unit & 0x200) >> 6);
        if (unit & 0x100) { /* a key ends here: its value is in the next unit */
            if (pos >= units) break;
            *value = le32(trie + 4 * (size_t)pos) & 0x7fffffff;
            found = i + 1;
        }
    }
    return found;
}

/* Length of a valid UTF-8 character (Unicode 3.9, table 3-7) or 0. */
static size_t valid_utf8(const uint8_t *s, size_t n)
{
    const uint8_t a = s[0];
    if (a < 0x80) return 1;
    if (a < 0xC2 || n < 2 || (s[1] & 0xC0) != 0x80) return 0;
    if (a < 0xE0) return 2;
    if (n < 3 || (s[2] & 0xC0) != 0x80) return 0;
    if (a < 0xF0) return (a == 0xE0 && s[1] < 0xA0) || (a == 0xED && s[1] > 0x9F) ? 0 : 3;
    if (n < 4 || (s[3] & 0xC0) != 0x80 || a > 0xF4) return 0;
    return (a == 0xF0 && s[1] < 0x90) || (a == 0xF4 && s[1] > 0x8F) ? 0 : 4;
}

typedef struct {
    const uint8_t *text;
    size_t n, used; /* replacement; bytes of input it stands for */
    uint8_t own[4];
} chunk;

static void as_is(chunk *c, const uint8_t *text, size_t n)
{
    static const uint8_t replacement[] = {0xEF, 0xBF, 0xBD};
    const size_t k = valid_utf8(text, n);
    c->text = k ? text : replacement;
    c->n = k ? k : sizeof replacement;
    c->used = k ? k : 1;
}
/* NFKC-lite: lower case (ASCII, Latin-1, capital sharp s), control characters and no-break spaces as spaces.
 */
static void our_lower_case(chunk *c)
{
    memcpy(c->own, c->text, c->n);
    uint8_t *o = c->own;
    if (c->n == 1 && o[0] >= 'A' && o[0] <= 'Z') o[0] |= 0x20;
    if (c->n == 1 && (o[0] < 0x20 || o[0] == 0x7F)) o[0] = ' ';
    if (c->n == 2 && o[0] == 0xC3 && o[1] >= 0x80 && o[1] <= 0x9E && o[1] != 0x97) o[1] |= 0x20;
    if (c->n == 2 && o[0] == 0xC2 && o[1] == 0xA0) o[0] = ' ', c->n = 1;
    if (c->n == 3 && !memcmp(o, "\xE1\xBA\x9E", 3)) memcpy(o, "\xC3\x9F", 2), c->n = 2;
    c->text = o;
}

static size_t user_piece(const hm_unigram *u, const uint8_t *text, size_t n)
{
    size_t found = 0;
    hm_prefix p = {0, u->n_sorted, 0};
    int32_t id;
    for (size_t i = 0; i < n && hm_unigram_step(u, &p, text[i], &id); i++)
        if (id >= 0 && u->piece[id].type == HM_PIECE_USER) found = i + 1;
    return found;
}

static void next_chunk(const hm_unigram *u, bool ours, const uint8_t *text, size_t n, chunk *c)
{
    uint32_t at;
    const size_t user = u->n_user ? user_piece(u, text, n) : 0;
    if (user) {
        c->text = text, c->n = c->used = user;
        return;
    }
    const size_t key = u->n_charsmap ? longest_key(u, text, n, &at) : 0;
    const size_t strings = key ? 4 + (size_t)le32(u->charsmap) : 0;
    if (key && at < u->n_charsmap - strings) { /* the last byte of the map is 0 */
        c->text = u->charsmap + strings + at;
        c->n = strlen((const char *)c->text);
        c->used = key;
        return;
    }
    as_is(c, text, n);
    if (ours) our_lower_case(c);
}

void hm_normalize(const hm_unigram *u, const uint8_t *text, size_t n, hm_bytes *out)
{
    const bool ours =
        u->n_norm_name == strlen(hm_norm_name) && !memcmp(u->norm_name, hm_norm_name, u->n_norm_name);
    const char *space = u->escape_spaces ? hm_norm_space : " ";
    const size_t n_space = strlen(space);
    bool after_space = u->squeeze_spaces, started = false;
    const size_t begin = out->len;
    while (n) {
        chunk c;
        next_chunk(u, ours, text, n, &c);
        text += c.used, n -= c.used;
        if (after_space)
            while (c.n && *c.text == ' ') c.text++, c.n--;
        if (!c.n) continue;
        if (!started && u->dummy_prefix) hm_bytes_add(out, space, n_space);
        started = true;
        for (size_t i = 0; i < c.n; i++) {
            if (c.text[i] == ' ') hm_bytes_add(out, space, n_space);
            else hm_bytes_add(out, c.text + i, 1);
        }
        after_space = u->squeeze_spaces && c.text[c.n - 1] == ' ';
    }
    if (u->squeeze_spaces) /* at the end none at all, not even an U+2581 that was written out */
        while (out->len >= begin + n_space && !memcmp(out->data + out->len - n_space, space, n_space))
            out->len -= n_space;
}
