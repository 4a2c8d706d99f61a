/* unigram.c - the best segmentation under a unigram model.   SPDX-License-Identifier: MIT
 * Source: SentencePiece unigram_model.cc (behaviour). Traps: an unknown character costs min(score) - 10;
 * user-defined pieces score len * max - 0.1 and so always win; sums are float, as there, for equal ties. */
#include "text/unigram.h"
#include <stdlib.h>
#include <string.h>

void hm_unigram_free(hm_unigram *u)
{
    free(u->bytes);
    free(u->piece);
    free(u->sorted);
    *u = (hm_unigram){0};
}

size_t hm_utf8_len(const uint8_t *text, size_t n)
{
    static const uint8_t len[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
    return HM_MIN((size_t)len[*text >> 4], n);
}

/* First index in [lo,hi) whose piece has a byte >= c at depth; pieces that end there count as smaller. */
static int32_t lower(const hm_unigram *u, int32_t lo, int32_t hi, uint32_t depth, int c)
{
    while (lo < hi) {
        const int32_t mid = lo + (hi - lo) / 2;
        const hm_piece *p = &u->piece[u->sorted[mid]];
        if ((p->len > depth ? p->text[depth] : -1) < c) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

bool hm_unigram_step(const hm_unigram *u, hm_prefix *p, uint8_t byte, int32_t *id)
{
    p->lo = lower(u, p->lo, p->hi, p->depth, byte);
    p->hi = lower(u, p->lo, p->hi, p->depth, byte + 1);
    p->depth++;
    *id = -1;
    if (p->lo >= p->hi) return false;
    const int32_t first = u->sorted[p->lo]; /* the shortest sorts first */
    if (u->piece[first].len == p->depth) *id = first;
    return true;
}

static void offer(hm_best *end, double score, size_t start, int32_t id)
{
    if (end->start >= 0 && !(score > (double)end->score)) return;
    *end = (hm_best){(float)score, (int32_t)start, id};
}

void hm_unigram_viterbi(const hm_unigram *u, const uint8_t *text, size_t n, hm_best *end)
{
    for (size_t i = 0; i <= n; i++) end[i] = (hm_best){0, -1, -1};
    end[0].start = 0;
    const float unk_score = u->min_score - 10.0f;
    for (size_t at = 0, k; at < n; at += k) {
        const float base = end[at].score;
        bool single = false; /* some piece is exactly this character */
        k = hm_utf8_len(text + at, n - at);
        hm_prefix p = {0, u->n_sorted, 0};
        int32_t id;
        for (size_t i = at; i < n && hm_unigram_step(u, &p, text[i], &id); i++) {
            if (id < 0 || u->piece[id].type == HM_PIECE_UNUSED) continue;
            const double len = (double)(i + 1 - at);
            const double score = u->piece[id].type == HM_PIECE_USER ? len * (double)u->max_score - 0.1
                                                                    : (double)u->piece[id].score;
            offer(&end[i + 1], score + (double)base, at, id);
            single |= i + 1 - at == k;
        }
        if (!single) offer(&end[at + k], (double)(unk_score + base), at, u->unk);
    }
}
