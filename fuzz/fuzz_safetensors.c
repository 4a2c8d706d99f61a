/* fuzz_safetensors.c - any bytes into the safetensors reader; whatever it accepts must be readable to the
 * last byte. SPDX-License-Identifier: MIT
 * Seeds in fuzz/corpus/fuzz_safetensors: every class of published attack, written by `build/test_safetensors fuzz/corpus/fuzz_safetensors`. */
#include <stdlib.h>
#include <string.h>
#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hm_st *st = NULL;
    himmel_error err = {0};
    const himmel_status rc = hm_st_parse(&st, data, len, "fuzz", &err);
    if (rc) {
        if (st || !err.message[0]) abort(); /* a refusal leaves nothing and says why */
        return 0;
    }
    uint8_t sum = 0;
    for (size_t i = 0; i < hm_st_count(st); i++) {
        const char *name;
        const hm_tensor *t = hm_st_at(st, i, &name), *same = NULL;
        if (hm_st_find(st, name) != t || hm_st_need(st, name, t->nd, t->dim, &same, NULL) || same != t)
            abort();
        const size_t bytes = hm_dtype_bytes(t->dtype, (uint64_t)hm_numel(t)), size = hm_dtype_size(t->dtype);
        if (bytes && size && (uintptr_t)t->data % size) abort();
        for (int64_t j = 0; t->row_scale && j < 4 * t->dim[0]; j++) sum = (uint8_t)(sum + ((const uint8_t *)t->row_scale)[j]);
        if (t->row_scale && (t->dtype != HM_I8 || t->nd != 2)) abort();
        for (size_t j = 0; j < bytes; j++) sum = (uint8_t)(sum + ((const uint8_t *)t->data)[j]);
    }
    hm_st_meta(st, "config");
    hm_st_close(st);
    volatile uint8_t sink = sum; /* the reads must happen */
    (void)sink;
    return 0;
}
