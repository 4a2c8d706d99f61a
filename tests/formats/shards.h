/* shards.h - a weights file as two shards and an index, as Hugging Face's tools write them.   SPDX-License-Identifier: MIT */
#ifndef HM_TEST_SHARDS_H
#define HM_TEST_SHARDS_H

#include <stdio.h>
#include <stdlib.h>

#include "formats/safetensors.h"

/* from -> dir/model-0000N-of-00002.safetensors and dir/model.safetensors.index.json; every second tensor goes into the second. */
static inline himmel_status write_shards(const char *from, const char *dir, himmel_error *err)
{
    hm_st *st;
    char path[512];
    himmel_status rc = hm_st_open(&st, from, err);
    if (rc) return rc;
    for (size_t k = 0; k < 2 && !rc; k++) {
        hm_st_writer *w = hm_st_writer_new();
        for (size_t i = k; i < hm_st_count(st) && !rc; i += 2) {
            const char *name;
            const hm_tensor *t = hm_st_at(st, i, &name);
            rc = hm_st_add(w, name, t->dtype, t->nd, t->dim, t->data, err);
        }
        snprintf(path, sizeof path, "%s/model-0000%zu-of-00002.safetensors", dir, k + 1);
        if (!rc && hm_st_meta(st, "config")) rc = hm_st_add_meta(w, "config", hm_st_meta(st, "config"), err);
        if (!rc) rc = hm_st_write(w, path, err);
        hm_st_writer_free(w);
    }
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    FILE *f = rc ? NULL : fopen(path, "w");
    if (!rc && !f) rc = hm_fail(err, HIMMEL_EIO, "%s: cannot write", path);
    for (size_t i = 0; i < hm_st_count(st) && f; i++) {
        const char *name;
        hm_st_at(st, i, &name);
        fprintf(f, "%s\"%s\": \"model-0000%zu-of-00002.safetensors\"", i ? ",\n" : "{\"metadata\": {\"total_size\": 1},\n\"weight_map\": {\n", name, i % 2 + 1);
    }
    if (f) fprintf(f, "}}\n"), fclose(f);
    hm_st_close(st);
    return rc;
}

#endif
