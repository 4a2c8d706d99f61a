/* fuzz_prompt.c - prompts: facts, unknown words, completing a scene, scenes as JSON. SPDX-License-Identifier:
 * MIT */
#include <stdlib.h>
#include <string.h>
#include "world/caption.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    text[size] = 0;
    hm_scene s = {0}, parsed;
    const uint32_t stated = hm_caption_parse(text, s.fact);
    for (int f = 0; f < HM_N_FACTS; f++)
        if ((stated >> f & 1) && s.fact[f] >= hm_fact_size((hm_fact)f)) abort();
    hm_scene_complete(&s, stated, size);
    if (!hm_scene_valid(&s)) abort();
    hm_word word[4];
    const size_t n = hm_unknown_words(text, word, 4);
    for (size_t i = 0; i < n && i < 4; i++)
        if (word[i].at < text || word[i].at + word[i].len > text + strlen(text) || !word[i].len) abort();
    himmel_error err = {0};
    if (!hm_scene_parse(&parsed, text, &err)) {
        if (!hm_scene_valid(&parsed)) abort();
    } else if (!*err.message) {
        abort();
    }
    free(text);
    return 0;
}
