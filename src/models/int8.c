/* int8.c - which weights of a transformer have an int8 copy; see int8.h.   SPDX-License-Identifier: MIT */
#include "models/int8.h"

#include <string.h>

bool hm_int8_takes(const char *name, int nd)
{
    const size_t n = strlen(name);
    return nd == 2 && strstr(name, "blocks.") && n > 7 && !strcmp(name + n - 7, ".weight") && strncmp(name, "vae.", 4) != 0;
}

himmel_status hm_int8_add(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot, himmel_error *err)
{
    hm_int8_sum *sum = user;
    hm_tensor *t = *slot;
    if (!hm_int8_takes(name, nd) || t->int8) return HIMMEL_OK;
    t->int8 = hm_int8_new(t);
    if (!t->int8) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", name);
    sum->bytes += hm_int8_bytes(dim[0], dim[1]);
    sum->in_place_of += hm_dtype_bytes(t->dtype, (uint64_t)hm_numel(t));
    return HIMMEL_OK;
}

himmel_status hm_int8_fill(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot, himmel_error *err)
{
    hm_tensor *t = *slot;
    (void)nd;
    if (!t || !t->int8 || hm_int8_pack(user, t->int8, t)) return HIMMEL_OK;
    return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory for %.1f MiB in int8", name, (double)hm_int8_bytes(dim[0], dim[1]) / (1 << 20));
}

himmel_status hm_int8_drop(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot, himmel_error *err)
{
    (void)user, (void)name, (void)nd, (void)dim, (void)err;
    if (!*slot) return HIMMEL_OK;
    hm_int8_free((*slot)->int8);
    (*slot)->int8 = NULL;
    return HIMMEL_OK;
}
