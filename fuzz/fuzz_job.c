/* fuzz_job.c - the request of a job in the journal, as JSON, to a call of the library.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "server/render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_error_t je;
    json_t *json = json_loadb((const char *)data, size, 0, &je);
    hm_render r;
    himmel_error err = {0};
    if (!json) return 0;
    const himmel_status rc = hm_render_init(&r, json, "data", NULL, &err);
    if (rc && !*err.message) abort();
    if (!rc) {
        err.message[0] = 0;
        if (hm_render_check(&r, &err) && !*err.message) abort();
        hm_render_deinit(&r);
    }
    json_decref(json);
    return 0;
}
