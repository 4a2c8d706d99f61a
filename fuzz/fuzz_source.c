/* fuzz_source.c - any bytes as what a locked-down reader says of a source's credentials.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include "provenance/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hm_source_says s;
    himmel_error err = {0};
    uint8_t *bytes = malloc(len + !len);
    if (!bytes) return 0;
    memcpy(bytes, data, len);
    if (hm_source_parse(&s, bytes, len, "x", &err)) {
        if (!err.message[0]) abort();
        return 0;
    }
    size_t n = strlen(s.mime) + strlen(s.active);
    for (size_t i = 0; i < s.n_checks; i++) n += strlen(s.check[i].code) + strlen(s.check[i].where);
    for (size_t i = 0; i < s.n_manifests; i++) n += strlen(s.manifest[i].label) + s.manifest[i].len;
    if (n > len) abort();
    hm_source_close(&s);
    return 0;
}
