/* words.h - a tokenizer of few words, for tiny models.   SPDX-License-Identifier: MIT */
#ifndef HM_TEST_WORDS_H
#define HM_TEST_WORDS_H

#include <stdlib.h>

#include "check.h"
#include "text/tokenizer.h"

static inline void write_tokenizer(const char *path)
{
    static const char *const lines[] = {"a cat on the sea"};
    hm_tokenizer *t;
    uint8_t *bytes;
    size_t len;
    CHECK(!hm_tok_train(&t, lines, 1, 256, NULL) && !hm_tok_format(t, &bytes, &len, NULL) && !hm_write_file(path, bytes, len, NULL), "%s",
          path);
    free(bytes);
    hm_tok_free(t);
}

#endif
