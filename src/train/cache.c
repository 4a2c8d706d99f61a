/* cache.c - open and index shards of coefficients.   SPDX-License-Identifier: MIT */
#include "train/cache.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The names of dir's shards, sorted, so that records have the same index in every run. */
static himmel_status list_shards(const char *dir, char ***names, size_t *n, himmel_error *err)
{
    *names = NULL;
    *n = 0;
    DIR *d = opendir(dir);
    if (!d) return hm_fail(err, HIMMEL_EIO, "%s: cannot open: %s", dir, strerror(errno));
    himmel_status rc = HIMMEL_OK;
    for (struct dirent *e; !rc && (e = readdir(d));) {
        const size_t len = strlen(e->d_name);
        if (len < 4 || strcmp(e->d_name + len - 3, ".st")) continue;
        char **grown = realloc(*names, (*n + 1) * sizeof *grown), *path = malloc(strlen(dir) + len + 2);
        if (grown) *names = grown;
        if (!grown || !path) {
            free(path);
            rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", dir);
            break;
        }
        sprintf(path, "%s/%s", dir, e->d_name);
        (*names)[(*n)++] = path;
    }
    closedir(d);
    if (*n) qsort(*names, *n, sizeof **names, by_name);
    return rc;
}

static himmel_status open_shard(hm_shard *s, const char *path, int K, const char *codec_hash, himmel_error *err)
{
    himmel_status rc = hm_st_open(&s->st, path, err);
    const hm_tensor *z, *seed, *stills = NULL;
    if (rc || (rc = hm_st_need(s->st, "z", 5, (int64_t[]){-1, -1, -1, -1, K}, &z, err)) ||
        (rc = hm_st_need(s->st, "seed", 1, (int64_t[]){z->dim[0]}, &seed, err)))
        return rc;
    if (z->dim[1] > 1 &&
        (rc = hm_st_need(s->st, "stills", 5, (int64_t[]){z->dim[0], z->dim[1] - 1, z->dim[2], z->dim[3], K}, &stills, err)))
        return rc;
    const char *hash = hm_st_meta(s->st, "codec_sha256");
    const hm_tensor *subject = hm_st_find(s->st, "subject");
    if (subject && (subject->dtype != HM_U8 || hm_numel(subject) * K != hm_numel(z)))
        return hm_fail(err, HIMMEL_EFORMAT, "%s: \"subject\" is not one byte a block", path);
    if (z->dtype != HM_BF16 || seed->dtype != HM_I64 || (stills && stills->dtype != HM_BF16))
        return hm_fail(err, HIMMEL_EFORMAT, "%s: not a shard of coefficients", path);
    if (!hash || strcmp(hash, codec_hash))
        return hm_fail(err, HIMMEL_EINVAL, "%s: made with codec %.12s, the model has %.12s", path, hash ? hash : "?", codec_hash);
    s->n = z->dim[0];
    s->T = z->dim[1];
    s->gh = z->dim[2];
    s->gw = z->dim[3];
    s->K = K;
    s->z = z->data;
    s->stills = stills ? stills->data : NULL;
    s->subject = subject ? subject->data : NULL;
    s->seed = seed->data;
    return HIMMEL_OK;
}

static int by_shape(const void *a, const void *b)
{
    const hm_shard *x = a, *y = b;
    if (x->T != y->T) return x->T < y->T ? -1 : 1;
    if (x->gw != y->gw) return x->gw < y->gw ? -1 : 1;
    if (x->gh != y->gh) return x->gh < y->gh ? -1 : 1;
    return strcmp(hm_st_path(x->st), hm_st_path(y->st));
}

static himmel_status make_groups(hm_cache *c, const char *dir, himmel_error *err)
{
    qsort(c->shard, c->n_shards, sizeof *c->shard, by_shape);
    for (size_t i = 0; i < c->n_shards; i++) {
        const hm_shard *s = &c->shard[i];
        hm_group *g = c->n_groups ? &c->group[c->n_groups - 1] : NULL;
        if (!g || g->T != s->T || g->gh != s->gh || g->gw != s->gw) {
            if (c->n_groups == HM_COUNT(c->group))
                return hm_fail(err, HIMMEL_EINVAL, "%s: more than %zu shapes of clips", dir, HM_COUNT(c->group));
            g = &c->group[c->n_groups++];
            *g = (hm_group){.T = s->T, .gh = s->gh, .gw = s->gw, .first = i};
        }
        g->n_shards++;
        g->n += s->n;
    }
    return HIMMEL_OK;
}

himmel_status hm_cache_open(hm_cache *c, const char *dir, int K, const char *codec_hash, himmel_error *err)
{
    *c = (hm_cache){0};
    char **names;
    size_t n;
    himmel_status rc = list_shards(dir, &names, &n, err);
    if (!rc && !n) rc = hm_fail(err, HIMMEL_EINVAL, "%s: no shards (*.st) in it", dir);
    if (!rc && !(c->shard = calloc(n, sizeof *c->shard))) rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", dir);
    for (size_t i = 0; !rc && i < n; i++) rc = open_shard(&c->shard[c->n_shards++], names[i], K, codec_hash, err);
    if (!rc) rc = make_groups(c, dir, err);
    for (size_t i = 0; i < n; i++) free(names[i]);
    free(names);
    if (rc) hm_cache_close(c);
    return rc;
}

void hm_cache_close(hm_cache *c)
{
    for (size_t i = 0; i < c->n_shards; i++) hm_st_close(c->shard[i].st);
    free(c->shard);
    *c = (hm_cache){0};
}

const hm_shard *hm_cache_at(const hm_cache *c, const hm_group *g, int64_t i, int64_t *at)
{
    const hm_shard *s = &c->shard[g->first];
    for (; i >= s->n; s++) i -= s->n;
    *at = i;
    return s;
}

char *hm_cache_manifest(const hm_cache *c)
{
    const size_t cap = 1 + 512 * c->n_shards;
    hm_str s = {malloc(cap), cap, 0};
    if (!s.data) return NULL;
    s.data[0] = 0;
    for (size_t i = 0; i < c->n_shards; i++) {
        const hm_shard *h = &c->shard[i];
        const char *sha = hm_st_meta(h->st, "scenes_sha256"), *renderer = hm_st_meta(h->st, "renderer");
        hm_str_addf(&s,
                    "{\"renderer\":\"%.16s\",\"grid\":\"%dx%d\",\"latent_frames\":%d,\"scenes\":%" PRId64
                    ",\"first_seed\":%" PRId64 ",\"last_seed\":%" PRId64 ",\"scenes_sha256\":\"%.64s\"}\n",
                    renderer ? renderer : "?", (int)h->gw, (int)h->gh, (int)h->T, h->n, h->seed[0], h->seed[h->n - 1],
                    sha ? sha : "?");
    }
    return s.data;
}
