/* st_write.h - what the writers of safetensors and GGUF share.   SPDX-License-Identifier: MIT */
#ifndef HM_ST_WRITE_H
#define HM_ST_WRITE_H

#include "formats/json.h"
#include "formats/safetensors.h"

typedef struct {
    char *name;
    const void *data;
    hm_dtype dtype, from; /* as written, as in data */
    int nd;
    int64_t dim[HM_MAX_DIM];
    hm_st_make_fn *make; /* computes its rows from t; NULL: they are in data */
    const hm_tensor *t;
    uint64_t bytes; /* as written */
    size_t order;
} st_item;

struct hm_st_writer {
    st_item *item;
    size_t n, cap;
    json_t *meta, *names; /* names: what was added, to refuse duplicates */
};

enum { GGUF_ALIGN = 32 }; /* each tensor's bytes, the last one's too, are filled up to a multiple */
/* gguf_write.c: all that stands before the first tensor's bytes, filled up; malloc'ed. NULL: err says why. */
char *hm_gguf_header(const hm_st_writer *w, size_t *len, himmel_error *err);

#endif
