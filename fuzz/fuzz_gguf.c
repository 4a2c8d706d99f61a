/* fuzz_gguf.c - any bytes behind "GGUF" into the reader; what it accepts must convert to f32 to the last number.
 * SPDX-License-Identifier: MIT
 * Seeds in fuzz/corpus/fuzz_gguf: every class of published attack, written by `build/test_gguf fuzz/corpus/fuzz_gguf`. */
#include <stdlib.h>
#include <string.h>
#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hm_st *st = NULL;
    himmel_error err = {0};
    if (len < 4) return 0;
    uint8_t *copy = malloc(len);
    if (!copy) return 0;
    memcpy(copy, data, len);
    memcpy(copy, "GGUF", 4);
    const himmel_status rc = hm_st_parse(&st, copy, len, "fuzz", &err);
    if (rc && (st || !err.message[0])) abort(); /* a refusal leaves nothing and says why */
    for (size_t i = 0; !rc && i < hm_st_count(st); i++) {
        const char *name;
        const hm_tensor *t = hm_st_at(st, i, &name);
        const size_t n = (size_t)hm_numel(t);
        float *f = hm_st_find(st, name) == t ? malloc(n * sizeof *f) : NULL;
        if (!f) abort();
        hm_convert(f, HM_F32, t->data, t->dtype, n);
        free(f);
    }
    hm_st_close(st);
    free(copy);
    return 0;
}
