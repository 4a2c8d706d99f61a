/* st_internal.h - what the readers of safetensors and GGUF share: a mapped file as named tensors.   SPDX-License-Identifier: MIT */
#ifndef HM_ST_INTERNAL_H
#define HM_ST_INTERNAL_H

#include "formats/json.h"
#include "formats/safetensors.h"

#define ST_MAX_HEADER 100000000u /* bytes; the limit of the reference reader of safetensors */
#define ST_MAX_DIM ((int64_t)1 << 40)
enum { ST_MAX_SHARDS = 1000 };

typedef struct {
    const char *name;
    unsigned size;  /* bytes of a number: alignment of the data; 1 for blocks */
    hm_dtype dtype; /* HM_N_DTYPES: has no name there; checked like the rest, but not handed out */
} st_type;

typedef struct {
    const char *name; /* in root */
    const st_type *type;
    hm_tensor t;
    uint64_t begin, end; /* in the data section */
    size_t order;        /* place in the header: breaks ties of empty tensors */
    void *owned;         /* aligned copy or NULL */
} st_entry;

struct hm_st {
    hm_map map; /* empty when the bytes are borrowed */
    char *path;
    json_t *root; /* owns names, and metadata as "__metadata__" */
    const json_t *meta;
    st_entry *entry;          /* by offset */
    const st_entry **found;   /* those that have an hm_dtype, by offset */
    const st_entry **by_name; /* all */
    size_t n, n_found;
    hm_st **shard; /* of an index: own the entries, by_name and found have them all */
    size_t n_shards;
};

hm_st *hm_st_new(const char *path); /* NULL: out of memory */
himmel_status hm_st_open_file(hm_st **out, const char *path, himmel_error *err); /* one file, no index or folder */
const st_entry *hm_st_entry(const hm_st *st, const char *name);                  /* also of types without a name; NULL if absent */
/* Weights whose numbers have scales in another tensor ("NAME.scale_weight" or "NAME.weight_scale" for "NAME.weight") get them. */
void hm_st_attach_scales(hm_st *st);
void hm_st_sort_names(hm_st *st);

himmel_status hm_st_reserve(hm_st *st, size_t n, himmel_error *err);
/* Entries sorted by offset, without overlap or hole (in GGUF: but the padding to align) to the last byte of the data; then
 * every tensor points at its own. */
himmel_status hm_st_place(hm_st *st, const uint8_t *data, uint64_t data_len, uint64_t align, himmel_error *err);
himmel_status hm_st_check_name(const hm_st *st, const char *name, size_t order, himmel_error *err);

/* st_shards.c: the index of a model in several files. */
typedef struct {
    json_t *root;
    const json_t *map;  /* tensor -> file */
    const char **file;  /* each once, by name */
    size_t n;
} st_index;
himmel_status hm_st_index_parse(st_index *ix, const char *data, size_t len, const char *name, himmel_error *err);
void hm_st_index_free(st_index *ix);
/* st->shard[i] is open for every ix->file[i]: their tensors become st's. */
himmel_status hm_st_join(hm_st *st, const st_index *ix, himmel_error *err);

/* gguf.c: the file's bytes into st's entries and metadata. */
himmel_status hm_gguf_parse(hm_st *st, const uint8_t *data, size_t len, himmel_error *err);

#endif
