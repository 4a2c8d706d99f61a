/* context.c - open a model and say what it is.   SPDX-License-Identifier: MIT */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sha256.h"
#include "film/film.h"
#include "formats/safetensors.h"
#include "provenance/identity.h"

static const char weights_name[] = "himmel-1.safetensors";

himmel_options himmel_options_default(void)
{
    return (himmel_options){0};
}

const char *himmel_version(void)
{
    return HIMMEL_VERSION;
}

himmel_status himmel_limit_isa(const char *name, himmel_error *err)
{
    return hm_isa_limit(name, err);
}

/* Folder above the one of the executable ("/usr" for /usr/bin/himmel), "" if that cannot be told. */
static void above_executable(char *out, size_t cap)
{
    const ssize_t n = readlink("/proc/self/exe", out, cap - 1);
    out[n > 0 ? n : 0] = 0;
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(out, '/');
        if (slash) *slash = 0;
    }
}

static himmel_status find_weights(char *path, size_t cap, himmel_error *err)
{
    char above[3072];
    above_executable(above, sizeof above);
    const struct {
        const char *root, *dir;
    } places[] = {{above, "/weights/"}, {"", "weights/"}, {above, "/share/himmel/"}};
    for (size_t i = 0; i < HM_COUNT(places); i++) {
        snprintf(path, cap, "%s%s%s", places[i].root, places[i].dir, weights_name);
        if (!access(path, R_OK)) return HIMMEL_OK;
    }
    return hm_fail(err, HIMMEL_EIO,
                   "%s is not there: looked in %.150s/weights, weights and %.150s/share/himmel (--model "
                   "names another place)",
                   weights_name, above, above);
}

/* What films say about the LoRAs that were merged. */
static himmel_status name_loras(himmel_ctx *ctx, const himmel_options *o, himmel_error *err)
{
    hm_str s = {ctx->loras, sizeof ctx->loras, 0};
    for (int i = 0; i < o->n_loras; i++) {
        const char *slash = strrchr(o->loras[i].path, '/');
        hm_map map;
        char hex[65];
        const himmel_status rc = hm_map_open(&map, o->loras[i].path, err);
        if (rc) return rc;
        hm_sha256_of(map.data, map.len, hex);
        hm_map_close(&map);
        hm_str_addf(&s, "%s%.80s:%g:%s", i ? ", " : "", slash ? slash + 1 : o->loras[i].path, o->loras[i].strength, hex);
    }
    return HIMMEL_OK;
}

/* himmel-1 and every other model: a file says what it is. */
static himmel_status open_model(himmel_ctx *ctx, const himmel_options *o, himmel_error *err)
{
    const char *paths[HM_MODEL_MAX_FILES] = {ctx->path};
    hm_st *st;
    himmel_status rc = hm_st_open(&st, ctx->path, err);
    if (rc) return rc;
    const char *config = hm_st_meta(st, "config");
    const bool own = hm_st_find(st, "tokenizer.spiece") || (config && strstr(config, "\"himmel\""));
    hm_st_close(st);
    if (own && o->n_with)
        return hm_fail(err, HIMMEL_EINVAL, "%s: himmel-1 needs no further files", ctx->path);
    if (own && o->n_loras)
        return hm_fail(err, HIMMEL_EINVAL, "%s: LoRA files are for released models, himmel-1 takes none", o->loras[0].path);
    if (own && ctx->int8)
        return hm_fail(err, HIMMEL_EINVAL, "%s: precision int8 is for Wan and LTX-Video, himmel-1 computes in bf16", ctx->path);
    if (own) return hm_himmel1_open(&ctx->model, ctx->path, err);
    if (o->n_with < 0 || o->n_with > HM_MODEL_MAX_FILES - 1)
        return hm_fail(err, HIMMEL_EINVAL, "%d further files are named, at most %d are possible", o->n_with,
                       (int)HM_MODEL_MAX_FILES - 1);
    for (int i = 0; i < o->n_with; i++) paths[i + 1] = o->with[i];
    if (o->n_loras < 0 || o->n_loras > HM_MAX_LORAS)
        return hm_fail(err, HIMMEL_EINVAL, "%d LoRA files are named, at most %d are possible", o->n_loras, (int)HM_MAX_LORAS);
    hm_lora loras[HM_MAX_LORAS];
    for (int i = 0; i < o->n_loras; i++) loras[i] = (hm_lora){o->loras[i].path, o->loras[i].strength};
    rc = hm_model_open(&ctx->released, &(hm_model_files){paths, o->n_with + 1, loras, o->n_loras, ctx->int8}, err);
    if (!rc) hm_model_get_facts(ctx->released, &ctx->facts);
    ctx->int8 |= ctx->facts.int8_bytes > 0; /* a file in int8 is computed in it */
    return rc ? rc : name_loras(ctx, o, err);
}

static void count(himmel_ctx *ctx)
{
    if (ctx->released) {
        ctx->n_params = ctx->facts.n_params;
        return;
    }

    const hm_st *st = ctx->model->st;
    for (size_t i = 0; i < hm_st_count(st); i++) {
        const char *name;
        const hm_tensor *t = hm_st_at(st, i, &name);
        if (strcmp(name, "tokenizer.spiece")) ctx->n_params += (uint64_t)hm_numel(t);
    }
}

/* Every file of the model one after the other: its size, and into s where that is not NULL. */
static void hash_files(himmel_ctx *ctx, hm_sha256 *s)
{
    hm_st *st;
    ctx->file_bytes = 0;
    if (hm_st_open(&st, ctx->path, NULL)) return;
    for (size_t i = 0; i < hm_st_n_files(st); i++) {
        hm_map map;
        if (hm_map_open(&map, hm_st_file(st, i), NULL)) continue;
        ctx->file_bytes += map.len;
        if (s) hm_sha256_add(s, map.data, map.len);
        hm_map_close(&map);
    }
    hm_st_close(st);
}

himmel_status himmel_open(himmel_ctx **out, const char *path, const himmel_options *opts, himmel_error *err)
{
    *out = NULL;
    const himmel_options o = opts ? *opts : himmel_options_default();
    if (o.threads < 0 || o.threads > 1024)
        return hm_fail(err, HIMMEL_EINVAL, "threads is %d, must be 1..1024, or 0 for all cores", o.threads);
    himmel_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    pthread_mutex_init(&ctx->lock, NULL);
    ctx->threads = o.threads ? o.threads : omp_get_num_procs();
    himmel_status rc = HIMMEL_OK;
    if (!path) rc = find_weights(ctx->path, sizeof ctx->path, err);
    else if ((size_t)snprintf(ctx->path, sizeof ctx->path, "%s", path) >= sizeof ctx->path)
        rc = hm_fail(err, HIMMEL_EINVAL, "%.100s...: path is too long", path);
    ctx->int8 = o.precision && !strcmp(o.precision, "int8");
    if (!rc && o.precision && !ctx->int8 && strcmp(o.precision, "bf16"))
        rc = hm_fail(err, HIMMEL_EINVAL, "precision is \"%.40s\", must be bf16 or int8", o.precision);
    if (!rc && o.time_server && (size_t)snprintf(ctx->time_server, sizeof ctx->time_server, "%s", o.time_server) >=
                                    sizeof ctx->time_server)
        rc = hm_fail(err, HIMMEL_EINVAL, "time stamp server %.100s...: its address is too long", o.time_server);
    if (hm_identity_dir(ctx->identity_dir, sizeof ctx->identity_dir, o.identity, NULL))
        *ctx->identity_dir = 0; /* no home: an error once something must be signed */
    ctx->max_memory = o.max_memory;
    if (!rc && o.cache && (size_t)snprintf(ctx->cache, sizeof ctx->cache, "%s", o.cache) >= sizeof ctx->cache)
        rc = hm_fail(err, HIMMEL_EINVAL, "%.100s...: the cache's path is too long", o.cache);
    if (!rc) {
        hm_set_threads(ctx->threads);
        rc = open_model(ctx, &o, err);
    }
    if (rc) {
        himmel_close(ctx);
        return rc;
    }
    hash_files(ctx, NULL);
    snprintf(ctx->isa, sizeof ctx->isa, "%s", hm_isa_name());
    count(ctx);
    *out = ctx;
    return HIMMEL_OK;
}

void himmel_close(himmel_ctx *ctx)
{
    if (!ctx) return;
    hm_himmel1_close(ctx->model);
    hm_model_close(ctx->released);
    hm_identity_free(ctx->identity);
    pthread_mutex_destroy(&ctx->lock);
    free(ctx);
}

static const char *meta(const himmel_ctx *ctx, const char *key)
{
    if (!ctx->model) return "";
    const char *v = hm_st_meta(ctx->model->st, key);
    return v ? v : "";
}

himmel_status himmel_info(himmel_ctx *ctx, himmel_model_info *info, himmel_error *err)
{
    if (!ctx || !info)
        return hm_fail(err, HIMMEL_EINVAL, "himmel_info: no context or no place for the answer");
    *info = (himmel_model_info){.name = ctx->model ? ctx->model->name : ctx->facts.name,
                                .family = ctx->model ? "himmel" : ctx->facts.family,
                                .missing = ctx->model ? "" : ctx->facts.missing,
                                .path = ctx->path,
                                .sha256 = hm_ctx_sha256(ctx),
                                .licence = meta(ctx, "himmel.licence"),
                                .data_sha256 = meta(ctx, "himmel.data_manifest_sha256"),
                                .config = meta(ctx, "config"),
                                .isa = ctx->isa,
                                .loras = ctx->loras,
                                .precision = ctx->int8 ? "int8" : "bf16",
                                .weight_bytes = ctx->released ? ctx->facts.file_bytes - ctx->facts.int8_from + ctx->facts.int8_bytes : ctx->file_bytes,
                                .file_bytes = ctx->file_bytes,
                                .n_params = ctx->n_params,
                                .threads = ctx->threads};
    return HIMMEL_OK;
}

const char *hm_ctx_sha256(himmel_ctx *ctx)
{
    if (ctx->model) return ctx->model->sha256;
    pthread_mutex_lock(&ctx->lock);
    if (!*ctx->sha256) {
        hm_sha256 s;
        uint8_t d[32];
        hm_sha256_init(&s);
        hash_files(ctx, &s);
        hm_sha256_end(&s, d);
        hm_sha256_hex(d, ctx->sha256);
    }
    pthread_mutex_unlock(&ctx->lock);
    return ctx->sha256;
}

himmel_request himmel_request_for(const himmel_ctx *ctx, himmel_kind kind)
{
    himmel_request r = himmel_request_default();
    r.kind = kind;
    if (ctx->model && kind == HIMMEL_IMAGE) r.width = 1024, r.height = 576;
    if (ctx->model) return r;
    const hm_model_facts *f = &ctx->facts;
    r.width = f->width, r.height = f->height;
    r.fps_num = (int)(1000 * f->fps + 0.5), r.fps_den = 1000;
    r.seconds = (double)(f->n_frames - 1) / f->fps;
    r.steps = f->steps;
    r.guidance = f->guidance;
    r.negative = f->negative;
    return r;
}

double himmel_peak_gflops(himmel_ctx *ctx)
{
    pthread_mutex_lock(&ctx->lock);
    if (ctx->peak_gflops <= 0) {
        hm_set_threads(ctx->threads);
        ctx->peak_gflops = 1e-9 * hm_measure_peak(HM_BF16);
    }
    const double peak = ctx->peak_gflops;
    pthread_mutex_unlock(&ctx->lock);
    return peak;
}
