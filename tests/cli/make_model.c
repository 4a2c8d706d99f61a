/* make_model.c - writes a weights file of random numbers, for the tests of the program: make_model FILE [full]; or a small
 * tokenizer as a SentencePiece file: make_model --tokenizer FILE; or a tiny Wan transformer: make_model --wan FILE KIND.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "film/tiny_model.h"
#include "models/wan_tiny.h"

static himmel_status write_tokenizer(const char *path, himmel_error *err)
{
    static const char *const lines[] = {"a cat on the sea"};
    hm_tokenizer *t;
    uint8_t *bytes;
    size_t len;
    himmel_status rc = hm_tok_train(&t, lines, HM_COUNT(lines), 256, err);
    if (!rc) rc = hm_tok_format(t, &bytes, &len, err);
    return rc ? rc : hm_write_file(path, bytes, len, err);
}

int main(int argc, char **argv)
{
    himmel_error err = {0};
    if (argc < 2) return 2;
    const bool tokenizer = !strcmp(argv[1], "--tokenizer") && argc > 2;
    if (!strcmp(argv[1], "--wan")) {
        if (argc > 3 && !wan_tiny_write(argv[3], argv[2], HM_WAN_ORIGINAL, 1, &err)) return 0;
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const hm_himmel1_config c = argc > 2 ? hm_himmel1_config_default() : tiny_config();
    if (tokenizer ? write_tokenizer(argv[2], &err) : tiny_model_write(argv[1], &c, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return 0;
}
