/* test_tokenizer.c - parity with SentencePiece on golden cases; broken models.   SPDX-License-Identifier: MIT
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/rng.h"
#include "check.h"
#include "text/tokenizer.h"

enum { MAX_IDS = 1 << 16 };

static hm_tokenizer *open_model(const char *name)
{
    char path[512];
    hm_str s = {path, sizeof path, 0};
    himmel_error err = {0};
    hm_tokenizer *t = NULL;
    hm_str_addf(&s, "%s/%s", FIXTURES, name);
    CHECK(!hm_tok_open(&t, path, &err), "%s", err.message);
    return t;
}
static FILE *open_lines(const char *name)
{
    char path[512];
    hm_str s = {path, sizeof path, 0};
    hm_str_addf(&s, "%s/%s", FIXTURES, name);
    FILE *f = fopen(path, "r");
    CHECK(f != NULL, "%s", path);
    return f;
}

static void test_cases(const char *model, const char *cases, int expected)
{
    hm_tokenizer *t = open_model(model);
    FILE *f = open_lines(cases);
    static char line[1 << 17];
    static int32_t ids[MAX_IDS];
    int n = 0;
    while (t && f && fgets(line, sizeof line, f)) {
        json_t *c = json_loads(line, JSON_ALLOW_NUL, NULL), *text = json_object_get(c, "text"),
               *want = json_object_get(c, "ids_spm");
        const size_t k = hm_tok_encode(t, json_string_value(text), json_string_length(text), ids, MAX_IDS);
        bool same = want && k == json_array_size(want);
        for (size_t i = 0; same && i < k; i++) same = ids[i] == json_integer_value(json_array_get(want, i));
        CHECK(same, "%s case %d (%s): \"%s\"", cases, n, json_string_value(json_object_get(c, "note")),
              json_string_value(text));
        json_decref(c);
        n++;
    }
    CHECK(n == expected, "%s: %d cases", cases, n);
    if (f) fclose(f);
    hm_tok_free(t);
}

static void test_padded(void)
{
    hm_tokenizer *t = open_model("tok.spiece.model");
    FILE *f = open_lines("tok.padded.jsonl");
    static char line[1 << 17];
    static int32_t ids[512], mask[512];
    int n = 0;
    while (t && f && fgets(line, sizeof line, f)) {
        json_t *c = json_loads(line, 0, NULL), *want = json_object_get(c, "ids");
        const size_t len = (size_t)json_integer_value(json_object_get(c, "max_length"));
        char text[8192];
        hm_str s = {text, sizeof text, 0};
        hm_str_addf(&s, "%s", json_string_value(json_object_get(c, "text")));
        while (s.len && text[s.len - 1] == ' ')
            text[--s.len] = 0; /* Wan strips; HF's tokens for a last space differ */
        hm_tok_encode_padded(t, text, ids, mask, len);
        int sum = 0;
        bool same = json_array_size(want) == len;
        for (size_t i = 0; i < len; i++) {
            same &= ids[i] == json_integer_value(json_array_get(want, i));
            sum += mask[i];
        }
        CHECK(same && sum == json_integer_value(json_object_get(c, "mask_sum")), "padded case %d", n);
        json_decref(c);
        n++;
    }
    CHECK(n == 15, "%d padded cases", n);
    if (f) fclose(f);
    hm_tok_free(t);
}

static void test_api(void)
{
    hm_tokenizer *t = open_model("tok.spiece.model");
    if (!t) return;
    CHECK(hm_tok_size(t) == 800 && hm_tok_eos(t) == 1 && hm_tok_unk(t) == 3, "%d %d %d", hm_tok_size(t),
          hm_tok_eos(t), hm_tok_unk(t));
    size_t len = 0;
    CHECK(!strncmp(hm_tok_piece(t, 1, &len), "</s>", 4) && len == 4, "eos");
    CHECK(!hm_tok_piece(t, -1, &len) && !hm_tok_piece(t, 800, &len), "no such piece");
    int32_t one[1] = {-7};
    const char *text = "A red fox walks across the misty bridge";
    const size_t n = hm_tok_encode(t, text, strlen(text), NULL, 0);
    CHECK(n > 5 && hm_tok_encode(t, text, strlen(text), one, 1) == n && one[0] == 34, "count without room");
    CHECK(hm_tok_encode(t, "", 0, one, 1) == 0, "nothing");
    hm_tok_free(t);
    hm_tok_free(NULL);
}

/* Cut and spoiled files: an error with one sentence, or a tokenizer that works; never more. */
static void test_broken(void)
{
    hm_map m;
    himmel_error err = {0};
    if (hm_map_open(&m, FIXTURES "/tok.spiece.model", &err)) {
        CHECK(false, "%s", err.message);
        return;
    }
    uint8_t *copy = malloc(m.len);
    hm_rng r = hm_rng_at(3, 3);
    int refused = 0, sentences = 0;
    for (int i = 0; i < 400; i++) {
        const size_t len = i < 100 ? m.len * (size_t)i / 100 : m.len;
        memcpy(copy, m.data, m.len);
        if (i >= 100)
            for (int k = 0; k < 1 + i % 7; k++)
                copy[hm_rng_below(&r, i % 2 ? 20000 : (uint32_t)m.len)] = (uint8_t)hm_rng_u32(&r);
        hm_tokenizer *t = NULL;
        *err.message = 0;
        const himmel_status rc = hm_tok_parse(&t, copy, len, "spoiled.model", &err);
        CHECK(!rc == (t != NULL), "a tokenizer or an error");
        refused += rc != HIMMEL_OK;
        sentences += rc && strstr(err.message, "spoiled.model") && !strchr(err.message, '\n');
        int32_t ids[64];
        if (t) hm_tok_encode(t, "Z\xC3\xBCrich \xEF\xBC\xA1 \xff", 12, ids, 64);
        hm_tok_free(t);
    }
    CHECK(refused > 100 && refused == sentences, "%d refused, %d sentences", refused, sentences);
    hm_tokenizer *t;
    CHECK(hm_tok_parse(&t, (const uint8_t *)"", 0, "empty", &err) == HIMMEL_EFORMAT && !t, "%s", err.message);
    CHECK(hm_tok_open(&t, "/nonexistent/x.model", &err) == HIMMEL_EIO && !t, "%s", err.message);
    free(copy);
    hm_map_close(&m);
}

int main(void)
{
    test_cases("tok.spiece.model", "tok.cases.jsonl", 216);
    test_cases("tok_bytefb.spiece.model", "tok_bytefb.cases.jsonl", 216);
    test_padded();
    test_api();
    test_broken();
    return CHECK_END();
}
