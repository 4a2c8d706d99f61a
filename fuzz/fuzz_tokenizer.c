/* fuzz_tokenizer.c - untrusted SentencePiece models, then any text through them.   SPDX-License-Identifier:
 * MIT Input: two bytes say how long the text at the end is; the rest is the model. */
#include <stdlib.h>
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const size_t n_text = HM_MIN((size_t)(data[0] | data[1] << 8) % 600, size - 2),
                 n_model = size - 2 - n_text;
    hm_tokenizer *t = NULL;
    himmel_error err = {0};
    const himmel_status rc = hm_tok_parse(&t, data + 2, n_model, "fuzz", &err);
    if (!rc != (t != NULL) || (rc && !*err.message)) abort();
    if (t) {
        int32_t ids[256], mask[256];
        char text[601];
        const size_t n = hm_tok_encode(t, (const char *)data + 2 + n_model, n_text, ids, 256);
        for (size_t i = 0; i < n && i < 256; i++)
            if (ids[i] < 0 || ids[i] >= hm_tok_size(t)) abort();
        for (size_t i = 0; i < n_text; i++) text[i] = (char)data[2 + n_model + i];
        text[n_text] = 0;
        hm_tok_encode_padded(t, text, ids, mask, 77);
    }
    hm_tok_free(t);
    return 0;
}
