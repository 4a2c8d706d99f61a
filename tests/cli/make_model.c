/* make_model.c - writes a weights file of random numbers, for the tests of the program: make_model FILE [full]; or a small
 * tokenizer as a SentencePiece file: make_model --tokenizer FILE; or a tiny Wan transformer: make_model --wan FILE KIND; or a
 * tiny decoder: make_model --tae FILE CHANNELS PATCH; or
 * two shards and an index of a weights file: make_model --shards FILE DIR; or a LoRA for a
 * linear layer MODULE of FILE: make_model --lora FILE MODULE OUT.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "film/tiny_model.h"
#include "formats/shards.h"
#include "models/tae_tiny.h"
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

/* Rank 2, all numbers 1/16. */
static himmel_status write_lora(const char *model, const char *module, const char *path, himmel_error *err)
{
    hm_st *st;
    char name[300];
    const hm_tensor *w;
    himmel_status rc = hm_st_open(&st, model, err);
    if (rc) return rc;
    hm_st_writer *writer = hm_st_writer_new();
    snprintf(name, sizeof name, "%.200s.weight", module);
    rc = hm_st_need(st, name, HM_DIMS(-1, -1), &w, err);
    const size_t n = rc ? 0 : 2 * (size_t)HM_MAX(w->dim[0], w->dim[1]);
    float *x = calloc(n + 1, sizeof *x);
    for (size_t i = 0; i < n && x; i++) x[i] = 0.0625f;
    snprintf(name, sizeof name, "diffusion_model.%.200s.lora_A.weight", module);
    if (!rc) rc = hm_st_add(writer, name, HM_F32, HM_DIMS(2, w->dim[1]), x, err);
    snprintf(name, sizeof name, "diffusion_model.%.200s.lora_B.weight", module);
    if (!rc) rc = hm_st_add(writer, name, HM_F32, HM_DIMS(w->dim[0], 2), x, err);
    if (!rc) rc = hm_st_write(writer, path, err);
    hm_st_writer_free(writer);
    hm_st_close(st);
    free(x);
    return rc;
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
    if (!strcmp(argv[1], "--tae")) {
        if (argc > 4 && !tae_tiny_write(argv[2], atoi(argv[3]), atoi(argv[4]), (const int[3]){1, 2, 2}, &err)) return 0;
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    if (!strcmp(argv[1], "--shards")) {
        if (argc > 3 && !write_shards(argv[2], argv[3], &err)) return 0;
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    if (!strcmp(argv[1], "--lora")) {
        if (argc > 4 && !write_lora(argv[2], argv[3], argv[4], &err)) return 0;
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
