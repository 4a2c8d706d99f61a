/* modelfile.c - see modelfile.h.   SPDX-License-Identifier: MIT */
#include "train/modelfile.h"

#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"

static const char *const META[] = {"config", "himmel.licence", "himmel.data_manifest_sha256", "himmel.data_manifest",
                                   "himmel.training",
                                   "himmel.refiner_training"};

static bool listed(const char *const *list, const char *name, bool prefix)
{
    for (; list && *list; list++)
        if (prefix ? !strncmp(name, *list, strlen(*list)) : !strcmp(name, *list)) return true;
    return false;
}

himmel_status hm_model_copy(hm_st_writer *w, const hm_st *from, const char *const *without, const char *const *skip_meta,
                            himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    for (size_t i = 0; !rc && i < hm_st_count(from); i++) {
        const char *name;
        const hm_tensor *t = hm_st_at(from, i, &name);
        if (!listed(without, name, true)) rc = hm_st_add(w, name, t->dtype, t->nd, t->dim, t->data, err);
    }
    for (size_t i = 0; !rc && i < HM_COUNT(META); i++) {
        const char *value = hm_st_meta(from, META[i]);
        if (value && !listed(skip_meta, META[i], false)) rc = hm_st_add_meta(w, META[i], value, err);
    }
    return rc;
}

void hm_text_sha256(const char *text, char hex[65])
{
    hm_sha256 s;
    uint8_t d[32];
    hm_sha256_init(&s);
    hm_sha256_add(&s, text, strlen(text));
    hm_sha256_end(&s, d);
    hm_sha256_hex(d, hex);
}
