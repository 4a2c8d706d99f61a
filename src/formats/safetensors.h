/* safetensors.h - read (mapped, strict) and write safetensors files.   SPDX-License-Identifier: MIT
 * GGUF files are read through the same functions (gguf.c): tensors may then be of block types, shapes are row-major here.
 * Format: u64le header length, JSON {name: {dtype, shape, data_offsets}, "__metadata__": {str: str}}, data.
 * Strict: header <= 100 MB, rank <= HM_MAX_DIM, sizes checked against the file, offsets contiguous without holes,
 * no duplicate names. A bad file is one sentence naming file, place and value. Tensors of types that hm_dtype has no
 * name for (BOOL, U16, ...) are checked but neither counted nor found. */
#ifndef HM_SAFETENSORS_H
#define HM_SAFETENSORS_H

#include "tensor/tensor.h"

/* Metadata of a file with int8 weights as himmel convert writes them (hm_tensor.row_scale); other I8 tensors have other rules. */
#define HM_ST_INT8_KEY "himmel.int8"

typedef struct hm_st hm_st;
/* path: a safetensors or GGUF file; the index of several (model.safetensors.index.json); or a folder with one index, or one
 * file, in it, or in its folder transformer/ (diffusers' pipelines). Shards are as strict: a tensor is in exactly the one that the index names. */
himmel_status hm_st_open(hm_st **out, const char *path, himmel_error *err);
bool hm_st_names_weights(const char *path); /* by its ending, or it is a folder */
himmel_status hm_st_parse(hm_st **out, const uint8_t *data, size_t len, const char *name, himmel_error *err); /* borrowed bytes */
void hm_st_close(hm_st *st); /* NULL is fine; tensors found in it die with it */
const hm_tensor *hm_st_find(const hm_st *st, const char *name); /* NULL if absent; data points into the map */
size_t hm_st_count(const hm_st *st);
const hm_tensor *hm_st_at(const hm_st *st, size_t i, const char **name); /* i < count, file order */
const char *hm_st_meta(const hm_st *st, const char *key); /* NULL if absent */
/* Pair i of the metadata; false: there are no more. Values that are no text (GGUF's long arrays) are left out. */
bool hm_st_meta_at(const hm_st *st, size_t i, const char **key, const char **value);
/* A tensor that find and at leave out, as its type has no name here; NULL: there is none. */
const char *hm_st_unread(const hm_st *st);
bool hm_st_is_int8(const hm_st *st); /* has such weights */
const char *hm_st_path(const hm_st *st); /* of the file or index */
size_t hm_st_n_files(const hm_st *st); /* 1, or the index and its shards */
const char *hm_st_file(const hm_st *st, size_t i); /* path of file i */
/* Like find, but missing or misshapen is an error naming the file; dims < 0 match anything. */
himmel_status hm_st_need(const hm_st *st, const char *name, int nd, const int64_t *dim, const hm_tensor **out,
                         himmel_error *err);

/* Other numbers for a tensor that is there: data (malloc'ed, st's from now on) of a type with whole numbers of bytes, not of
 * blocks. Pointers to the tensor stay good and see them. */
void hm_st_replace(hm_st *st, const char *name, hm_dtype dtype, void *data);

/* Writer: add borrowed tensors and metadata, then write beside path and rename. A path that ends in .gguf gets a GGUF file:
 * blocks may be in it, fp8, empty and equally named tensors may not. */
typedef struct hm_st_writer hm_st_writer;
hm_st_writer *hm_st_writer_new(void);
void hm_st_writer_free(hm_st_writer *w);
himmel_status hm_st_add(hm_st_writer *w, const char *name, hm_dtype dtype, int nd, const int64_t *dim, const void *data,
                        himmel_error *err); /* data borrowed until written */
/* The numbers of t in another type (F32, BF16, F16, Q8_0), converted while they are written: no second copy lies in memory. */
himmel_status hm_st_add_as(hm_st_writer *w, const char *name, hm_dtype dtype, const hm_tensor *t, himmel_error *err);
/* A tensor [rows, ...] that make computes from t, row by row, while it is written. */
typedef bool hm_st_make_fn(const hm_tensor *t, int64_t row, void *out); /* false: out of memory */
himmel_status hm_st_add_made(hm_st_writer *w, const char *name, hm_dtype dtype, int nd, const int64_t *dim, const hm_tensor *t, hm_st_make_fn *make,
                             himmel_error *err);
himmel_status hm_st_add_meta(hm_st_writer *w, const char *key, const char *value, himmel_error *err);
himmel_status hm_st_write(hm_st_writer *w, const char *path, himmel_error *err);
typedef struct {
    int (*on_tensor)(void *user, size_t done, size_t n); /* not 0 stops: ECANCELLED, nothing is left; may be NULL */
    void *user;
    char sha256[65]; /* of the file that was written */
} hm_st_writing;
/* EINVAL: a number does not fit into its new type; the sentence names the tensor. */
himmel_status hm_st_write_with(hm_st_writer *w, const char *path, hm_st_writing *how, himmel_error *err);

#endif
