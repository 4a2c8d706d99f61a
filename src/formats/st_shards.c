/* st_shards.c - a model in several safetensors files and the index that says which tensor is where.
 * SPDX-License-Identifier: MIT
 *   {"metadata": {...}, "weight_map": {"tensor name": "model-00001-of-00003.safetensors", ...}}
 * Source: huggingface/transformers and diffusers write it so. Every tensor of the index must be in its shard and every tensor
 * of a shard in the index, under that shard: nothing is found twice. Shards lie beside the index: a name with a folder in it
 * is refused. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/st_internal.h"

static const char index_end[] = ".safetensors.index.json";

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), k = strlen(end);
    return n > k && !strcmp(s + n - k, end);
}

static bool is_folder(const char *path)
{
    struct stat s;
    return !stat(path, &s) && S_ISDIR(s.st_mode);
}

bool hm_st_names_weights(const char *path)
{
    return ends_with(path, ".safetensors") || ends_with(path, ".gguf") || ends_with(path, ".index.json") || is_folder(path);
}

/* ---- the index ---- */

static bool plain_name(const char *s)
{
    for (const char *c = s; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f || *c == '/') return false;
    return *s && *s != '.' && strlen(s) < 256 && ends_with(s, ".safetensors");
}

static int order_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

himmel_status hm_st_index_parse(st_index *ix, const char *data, size_t len, const char *name, himmel_error *err)
{
    *ix = (st_index){0};
    himmel_status rc = len <= ST_MAX_HEADER ? hm_json_parse(&ix->root, data, len, name, err)
                                            : hm_fail(err, HIMMEL_EFORMAT, "%s: an index of %zu bytes is too long", name, len);
    if (rc) return rc;
    ix->map = json_object_get(ix->root, "weight_map");
    const size_t n = json_object_size(ix->map);
    const char *key;
    json_t *value;
    if (!n) rc = hm_fail(err, HIMMEL_EFORMAT, "%s: no index of shards: it has no \"weight_map\" with tensors in it", name);
    else if (!(ix->file = calloc(n, sizeof *ix->file))) rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", name);
    json_object_foreach((json_t *)(uintptr_t)ix->map, key, value)
    {
        const char *file = json_string_value(value);
        if (!rc && (!file || !plain_name(file)))
            rc = hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\" is said to be in \"%.100s\", which names no safetensors file beside the index",
                         name, key, file ? file : "");
        if (rc) break;
        ix->file[ix->n++] = file;
    }
    if (!rc) qsort(ix->file, ix->n, sizeof *ix->file, order_text);
    size_t kept = 0;
    for (size_t i = 0; i < ix->n && !rc; i++)
        if (!kept || strcmp(ix->file[kept - 1], ix->file[i])) ix->file[kept++] = ix->file[i];
    ix->n = kept;
    if (!rc && ix->n > ST_MAX_SHARDS)
        rc = hm_fail(err, HIMMEL_EFORMAT, "%s: %zu shards, at most %d are possible", name, ix->n, (int)ST_MAX_SHARDS);
    if (rc) hm_st_index_free(ix);
    return rc;
}

void hm_st_index_free(st_index *ix)
{
    json_decref(ix->root);
    free(ix->file);
    *ix = (st_index){0};
}

/* ---- shards as one ---- */

static const hm_st *shard_named(const hm_st *st, const st_index *ix, const char *file)
{
    for (size_t i = 0; i < ix->n; i++)
        if (!strcmp(ix->file[i], file)) return st->shard[i];
    return NULL;
}

/* What the index says is there is there. */
static himmel_status check_map(const hm_st *st, const st_index *ix, himmel_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)ix->map, key, value)
    {
        const hm_st *s = shard_named(st, ix, json_string_value(value));
        if (!hm_st_entry(s, key))
            return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\" is missing in its shard %.200s", st->path, key, json_string_value(value));
    }
    return HIMMEL_OK;
}

/* And nothing else is. */
static himmel_status check_shard(const hm_st *st, const st_index *ix, size_t k, himmel_error *err)
{
    const hm_st *s = st->shard[k];
    for (size_t i = 0; i < s->n; i++) {
        const char *name = s->by_name[i]->name, *file = json_string_value(json_object_get(ix->map, name));
        if (!file) return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\" of %.200s is not in the index", st->path, name, ix->file[k]);
        if (strcmp(file, ix->file[k]))
            return hm_fail(err, HIMMEL_EFORMAT, "%s: tensor \"%.100s\" is there twice, in %.120s and in %.120s", st->path, name, file, ix->file[k]);
    }
    return HIMMEL_OK;
}

himmel_status hm_st_join(hm_st *st, const st_index *ix, himmel_error *err)
{
    size_t n = 0;
    himmel_status rc = check_map(st, ix, err);
    for (size_t k = 0; k < ix->n && !rc; k++) {
        rc = check_shard(st, ix, k, err);
        n += st->shard[k]->n;
    }
    if (!rc) rc = hm_st_reserve(st, n, err);
    for (size_t k = 0; k < ix->n && !rc; k++) {
        const hm_st *s = st->shard[k];
        memcpy(st->by_name + st->n, s->by_name, s->n * sizeof *s->by_name);
        memcpy(st->found + st->n_found, s->found, s->n_found * sizeof *s->found);
        st->n += s->n, st->n_found += s->n_found;
        if (!st->meta) st->meta = s->meta;
    }
    if (!rc) {
        hm_st_sort_names(st);
        hm_st_attach_scales(st); /* which may lie in another shard */
    }
    return rc;
}

static himmel_status open_shards(hm_st *st, const st_index *ix, himmel_error *err)
{
    const char *slash = strrchr(st->path, '/');
    const int dir = slash ? (int)(slash - st->path + 1) : 0;
    char path[4096];
    himmel_status rc = HIMMEL_OK;
    st->shard = calloc(ix->n, sizeof *st->shard);
    if (!st->shard) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", st->path);
    for (size_t i = 0; i < ix->n && !rc; i++) {
        if ((size_t)snprintf(path, sizeof path, "%.*s%s", dir, st->path, ix->file[i]) >= sizeof path)
            return hm_fail(err, HIMMEL_EINVAL, "%.100s...: path is too long", path);
        if (access(path, F_OK))
            return hm_fail(err, HIMMEL_EIO, "%s: shard %zu of %zu is missing: %.200s is not beside the index", st->path, i + 1, ix->n, ix->file[i]);
        rc = hm_st_open_file(&st->shard[st->n_shards], path, err);
        if (!rc) st->n_shards++;
    }
    return rc ? rc : hm_st_join(st, ix, err);
}

static himmel_status open_index(hm_st **out, const char *path, himmel_error *err)
{
    st_index ix = {0};
    hm_map map;
    hm_st *st = hm_st_new(path);
    if (!st) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    himmel_status rc = hm_map_open(&map, path, err);
    if (!rc) {
        rc = hm_st_index_parse(&ix, (const char *)map.data, map.len, path, err);
        if (!rc) rc = open_shards(st, &ix, err);
        hm_map_close(&map);
    }
    hm_st_index_free(&ix);
    if (rc) hm_st_close(st);
    else *out = st;
    return rc;
}

/* The index in a folder, else its only file of weights, else what its folder transformer/ has (diffusers' pipelines). */
static himmel_status in_folder(const char *folder, char *path, size_t cap, himmel_error *err)
{
    char inner[4096];
    int n_index = 0, n_files = 0;
    char name[2][256] = {"", ""};
    DIR *d = opendir(folder);
    if (!d) return hm_fail(err, HIMMEL_EIO, "%s: the folder cannot be read", folder);
    for (const struct dirent *e; (e = readdir(d));) {
        const bool index = ends_with(e->d_name, index_end);
        if (!index && !ends_with(e->d_name, ".safetensors") && !ends_with(e->d_name, ".gguf")) continue;
        snprintf(name[index], sizeof name[index], "%s", e->d_name);
        n_index += index;
        n_files += !index;
    }
    closedir(d);
    if (!n_index && !n_files && (size_t)snprintf(inner, sizeof inner, "%s/transformer", folder) < sizeof inner && is_folder(inner))
        return in_folder(inner, path, cap, err);
    if (n_index > 1 || (!n_index && n_files != 1))
        return hm_fail(err, HIMMEL_EINVAL, "%s: a folder with %d files of weights and %d indexes of shards: name the one that is meant", folder, n_files,
                       n_index);
    const size_t n = strlen(folder);
    const bool slash = n && folder[n - 1] == '/';
    if ((size_t)snprintf(path, cap, "%s%s%s", folder, slash ? "" : "/", name[n_index]) >= cap)
        return hm_fail(err, HIMMEL_EINVAL, "%.100s...: path is too long", folder);
    return HIMMEL_OK;
}

himmel_status hm_st_open(hm_st **out, const char *path, himmel_error *err)
{
    char inside[4096];
    *out = NULL;
    if (is_folder(path)) {
        const himmel_status rc = in_folder(path, inside, sizeof inside, err);
        if (rc) return rc;
        path = inside;
    }
    return ends_with(path, ".index.json") ? open_index(out, path, err) : hm_st_open_file(out, path, err);
}

size_t hm_st_n_files(const hm_st *st)
{
    return 1 + st->n_shards;
}

const char *hm_st_file(const hm_st *st, size_t i)
{
    return i ? st->shard[i - 1]->path : st->path;
}
