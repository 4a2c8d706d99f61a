/* test_tokenizer_train.c - our own tokenizer: trained, written, read again.   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "text/tokenizer.h"

enum { MAX_LINES = 1000, REPEAT = 63 };

static char text[MAX_LINES][512];
static size_t read_captions(void)
{
    FILE *f = fopen(FIXTURES "/captions.txt", "r");
    size_t n = 0;
    while (f && n < MAX_LINES && fgets(text[n], sizeof text[n], f)) n++;
    if (f) fclose(f);
    return n;
}

static void same_ids(const hm_tokenizer *t, const char *a, const char *b)
{
    int32_t x[256], y[256];
    const size_t n = hm_tok_encode(t, a, strlen(a), x, 256), m = hm_tok_encode(t, b, strlen(b), y, 256);
    CHECK(n == m && n && !memcmp(x, y, n * sizeof *x), "\"%s\" = \"%s\": %zu and %zu ids", a, b, n, m);
}

static void test_text(const hm_tokenizer *t, size_t n)
{
    size_t ids_n = 0, words = 0, wrong = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t ids[256];
        char back[1024] = "";
        hm_str s = {back, sizeof back, 0};
        const size_t k = hm_tok_encode(t, text[i], strlen(text[i]), ids, 256);
        for (size_t j = 0; j < k; j++) {
            size_t len = 0;
            const char *p = hm_tok_piece(t, ids[j], &len);
            wrong += ids[j] == HM_TOK_UNK || ids[j] < 0 || ids[j] >= hm_tok_size(t);
            hm_str_addf(&s, "%.*s", (int)len, p);
        }
        ids_n += k;
        words++;
        for (const char *p = text[i]; *p; p++) words += *p == ' ';
        size_t letters = 0, joined = 0; /* the pieces spell the text: as many characters that are no spaces */
        for (const char *p = text[i]; *p; p++) letters += *p != ' ' && *p != '\n';
        for (const char *p = back; *p; p++) {
            if (!strncmp(p, "\xE2\x96\x81", 3)) p += 2;
            else joined++;
        }
        wrong += letters != joined;
    }
    CHECK(!wrong, "%zu unknown or misspelt", wrong);
    CHECK(ids_n < words * 13 / 10, "%zu ids for %zu words", ids_n, words);
}

int main(void)
{
    const size_t n = read_captions();
    CHECK(n == 800, "%zu captions", n);
    if (n != 800) return CHECK_END();
    const char **lines = malloc(n * REPEAT * sizeof *lines); /* 50,400 lines */
    for (size_t i = 0; i < n * REPEAT; i++) lines[i] = text[i % n];
    hm_tokenizer *t = NULL, *again = NULL, *back = NULL;
    himmel_error err = {0};
    const double start = hm_now();
    CHECK(!hm_tok_train(&t, lines, n * REPEAT, 2000, &err), "%s", err.message);
    CHECK(hm_now() - start < 30, "%.1f s", hm_now() - start);
    if (!t) return CHECK_END();
    CHECK(hm_tok_size(t) <= 2000 && hm_tok_size(t) > 900, "%d pieces", hm_tok_size(t));
    CHECK(hm_tok_eos(t) == HM_TOK_EOS && hm_tok_unk(t) == HM_TOK_UNK, "ids of control pieces");
    test_text(t, n);
    same_ids(t, "Two RED balloons", " two  red balloons ");
    same_ids(t,
             "\xC3\x9C"
             "BER DEN H\xC3\x9CGELN",
             "\xC3\xBC"
             "ber\tden h\xC3\xBCgeln\n");
    int32_t ids[8], mask[8];
    CHECK(hm_tok_encode(t, "xyz \xF0\x9F\x98\x80\xF0\x9F\x98\x80", 12, ids, 8) <= 8 &&
              hm_tok_encode(t, "\xF0\x9F\x98\x80", 4, ids, 8) == 2 && ids[1] == HM_TOK_UNK,
          "unknown characters");
    hm_tok_encode_padded(t, "a red balloon over the sea at sunset with scattered clouds", ids, mask, 8);
    CHECK(ids[7] == HM_TOK_EOS && mask[7] == 1, "cut, but ended");
    hm_tok_encode_padded(t, "sunset", ids, mask, 8);
    CHECK(ids[0] > 2 && ids[1] == HM_TOK_EOS && ids[2] == HM_TOK_PAD && mask[1] == 1 && mask[2] == 0,
          "padded");

    CHECK(!hm_tok_train(&again, lines, n * REPEAT, 2000, &err), "%s", err.message);
    uint8_t *a = NULL, *b = NULL;
    size_t an = 0, bn = 0;
    CHECK(!hm_tok_format(t, &a, &an, &err) && !hm_tok_format(again, &b, &bn, &err) && an == bn &&
              !memcmp(a, b, an),
          "the same text gives the same bytes");
    CHECK(!hm_tok_parse(&back, a, an, "round trip", &err), "%s", err.message);
    for (size_t i = 0; back && i < n; i++) {
        int32_t x[256], y[256];
        const size_t k = hm_tok_encode(t, text[i], strlen(text[i]), x, 256);
        CHECK(hm_tok_encode(back, text[i], strlen(text[i]), y, 256) == k && !memcmp(x, y, k * sizeof *x),
              "line %zu", i);
    }
    hm_tokenizer *bad = NULL;
    const char *nothing[] = {"", "  "};
    CHECK(hm_tok_train(&bad, nothing, 2, 2000, &err) == HIMMEL_EINVAL && !bad, "%s", err.message);
    CHECK(hm_tok_train(&bad, lines, n, 10, &err) == HIMMEL_EINVAL && !bad, "%s", err.message);
    CHECK(!hm_tok_train(&bad, lines, n, 256, &err) && hm_tok_size(bad) <= 256, "a small one");
    hm_tok_free(t), hm_tok_free(again), hm_tok_free(back), hm_tok_free(bad);
    free(a), free(b), free(lines);
    return CHECK_END();
}
