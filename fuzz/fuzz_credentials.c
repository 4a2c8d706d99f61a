/* fuzz_credentials.c - any bytes as a file, or as the manifest in a PNG: containers, JUMBF, CBOR, claims, bindings, ingredients.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include "provenance/asset.h"
#include "provenance/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0, 0, 0, 1, 0, 0, 0, 1, 8, 2,
                              0, 0, 0, 0x90, 0x77, 0x53, 0xde, 0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xae, 0x42, 0x60, 0x82};

static void check(const uint8_t *data, size_t n)
{
    json_t *r = hm_credentials_check(data, n, NULL, NULL);
    char *text = r ? json_dumps(r, 0) : NULL;
    const char *state = json_string_value(json_object_get(r, "state"));
    if (!text || !state) abort(); /* every verdict can be printed */
    if (!strcmp(state, "valid") && !json_object_get(r, "signer")) abort();
    free(text);
    json_decref(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hm_buf out;
    hm_range where;
    hm_asset a;
    himmel_error err = {0};
    check(data, len);
    if (len && !hm_asset_embed(&out, &where, png, sizeof png, data, len, NULL)) {
        check(out.data, out.len);
        hm_buf_free(&out);
    }
    /* Whatever can be signed can be read back. */
    const uint8_t m[] = "manifest";
    if (!hm_asset_open(&a, data, len, &err)) {
        const bool had = a.manifest != NULL;
        hm_asset_close(&a);
        if (!had && !hm_asset_embed(&out, &where, data, len, m, sizeof m, &err)) {
            const himmel_status rc = hm_asset_open(&a, out.data, out.len, NULL);
            if (!rc && a.manifest && (a.manifest_len != sizeof m || memcmp(a.manifest, m, sizeof m))) abort();
            if (!rc) hm_asset_close(&a);
            hm_buf_free(&out);
        }
    } else if (!err.message[0]) {
        abort();
    }
    return 0;
}
