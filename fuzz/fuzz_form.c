/* fuzz_form.c - bodies of requests: the first byte chooses JSON, a form, or a form whose boundary comes from the input too.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "server/form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char type[128] = "application/json";
    if (!size) return 0;
    const int kind = data[0] % 3;
    data++, size--;
    if (kind == 1) strcpy(type, "multipart/form-data; boundary=b");
    if (kind == 2) {
        const size_t n = HM_MIN(size, (size_t)40);
        snprintf(type, sizeof type, "multipart/form-data; %.*s", (int)n, (const char *)data);
        data += n, size -= n;
    }
    hm_form f;
    himmel_error err = {0};
    const himmel_status rc = hm_form_parse(&f, data, size, type, &err);
    if (rc && (f.n || f.field || !*err.message)) abort(); /* a refusal leaves nothing and says why */
    for (size_t i = 0; i < f.n; i++) {
        const hm_field *x = &f.field[i];
        if (!*x->name || !hm_is_utf8(x->name, strlen(x->name)) || hm_form_get(&f, x->name) != x) abort();
        if (x->is_file ? (x->data < data || x->data + x->len > data + size) : (!x->text || strlen(x->text) != x->len)) abort();
    }
    hm_form_free(&f);
    return 0;
}
