/* cmd.c - himmel_train(): which stage, and the two small ones: cache (footage) and join (parts).   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/himmel/himmel1.h"
#include "train/cache.h"
#include "train/modelfile.h"
#include "train/options.h"
#include "train/train.h"

typedef struct {
    const hm_job *job;
    int n_shards, shard_n, last;
} cache_note;

static int cache_step(void *user, int shard, int done, double per_second)
{
    cache_note *n = user;
    char note[96] = "";
    if (done == n->shard_n)
        snprintf(note, sizeof note, "shard %d of %d: %d scenes, %.2f a second", shard + 1, n->n_shards, done, per_second);
    const int64_t at = (int64_t)shard * n->shard_n + done, total = (int64_t)n->n_shards * n->shard_n;
    return hm_job_step(n->job, "render", at, total, (double)(total - at) / per_second, note);
}

himmel_status hm_train_cache_cmd(const hm_job *job, himmel_error *err)
{
    const char *model = NULL, *dir = NULL;
    int64_t gw = 16, gh = 9, T = 1, seed = 1000000, shards = 1, n = 1024;
    bool held_out = false;
    const hm_option_spec spec[] = {
        {"model", HM_O_STR, &model, 0, 0}, {"out", HM_O_STR, &dir, 0, 0}, {"grid-width", HM_O_INT, &gw, 4, 40},
        {"grid-height", HM_O_INT, &gh, 4, 40}, {"latent-frames", HM_O_INT, &T, 1, 11}, {"seed", HM_O_INT, &seed, 0, 1e15},
        {"shards", HM_O_INT, &shards, 1, 1e6}, {"scenes", HM_O_INT, &n, 1, 1e6}, {"held-out", HM_O_FLAG, &held_out, 0, 0}};
    himmel_status rc = hm_options_parse("train cache", spec, HM_COUNT(spec), job->opts, job->n_opts, err);
    if (rc) return rc;
    if (!model || !dir) return hm_fail(err, HIMMEL_EINVAL, "train cache: --model FILE (for its codec) and --out DIR are needed");
    if (gw * gh > 160) return hm_fail(err, HIMMEL_EINVAL, "train cache: a grid of %dx%d has more than 160 blocks", (int)gw, (int)gh);
    hm_st *st;
    hm_codec *codec = NULL;
    char hash[65];
    if ((rc = hm_st_open(&st, model, err))) return rc;
    hm_codec_hash(st, hash);
    rc = hm_codec_load(&codec, st, err);
    const hm_cache_opts o = {.dir = dir, .gw = (int)gw, .gh = (int)gh, .T = (int)T, .seed = (uint64_t)seed,
                             .n_shards = (int)shards, .shard_n = (int)n, .held_out = held_out};
    cache_note note = {.job = job, .n_shards = o.n_shards, .shard_n = o.shard_n};
    if (!rc) rc = hm_cache_write(&o, codec, hash, cache_step, &note, err);
    hm_codec_free(codec);
    hm_st_close(st);
    return rc;
}

/* The config of model, with the part's own section from the file that the part comes from. malloc'ed. */
static himmel_status joined_config(const hm_st *model, const hm_st *from, const char *part, char **out, himmel_error *err)
{
    hm_himmel1_config a, b;
    himmel_status rc = hm_himmel1_config_parse(&a, hm_st_meta(model, "config"), hm_st_path(model), err);
    if (!rc) rc = hm_himmel1_config_parse(&b, hm_st_meta(from, "config"), hm_st_path(from), err);
    if (rc) return rc;
    if (!strncmp(part, "refiner", 7)) a.refiner = b.refiner;
    if (!strncmp(part, "model", 5)) a.dit = b.dit;
    if (!strncmp(part, "text", 4)) a.t5 = b.t5;
    *out = hm_himmel1_config_format(&a);
    return *out ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "train join: out of memory");
}

/* One file: everything of --model, but the tensors whose names start with --part ("codec.", "refiner.") from --from. */
himmel_status hm_train_join_cmd(const hm_job *job, himmel_error *err)
{
    static const char *const skip[] = {"config", "himmel.refiner_training", NULL};
    const char *model = NULL, *from = NULL, *part = NULL, *out = NULL;
    const hm_option_spec spec[] = {{"model", HM_O_STR, &model, 0, 0}, {"from", HM_O_STR, &from, 0, 0},
                                   {"part", HM_O_STR, &part, 0, 0}, {"out", HM_O_STR, &out, 0, 0}};
    himmel_status rc = hm_options_parse("train join", spec, HM_COUNT(spec), job->opts, job->n_opts, err);
    if (rc) return rc;
    if (!model || !from || !part || !out)
        return hm_fail(err, HIMMEL_EINVAL, "train join: --model, --from, --part (codec., refiner., ...) and --out are needed");
    hm_st *a = NULL, *b = NULL;
    hm_st_writer *w = hm_st_writer_new();
    if (!w) return hm_fail(err, HIMMEL_ENOMEM, "train join: out of memory");
    rc = hm_st_open(&a, model, err);
    if (!rc) rc = hm_st_open(&b, from, err);
    char *config = NULL;
    if (!rc && hm_st_meta(b, "config")) rc = joined_config(a, b, part, &config, err); /* a bare codec has none */
    if (!rc) rc = hm_model_copy(w, a, (const char *const[]){part, NULL}, config ? skip : NULL, err);
    if (!rc && config) rc = hm_st_add_meta(w, "config", config, err);
    const hm_st *refined = config && strncmp(part, "refiner", 7) ? a : b; /* whose refiner it is */
    const char *how = rc || !config ? NULL : hm_st_meta(refined, "himmel.refiner_training");
    if (how) rc = hm_st_add_meta(w, "himmel.refiner_training", how, err);
    size_t taken = 0;
    for (size_t i = 0; !rc && i < hm_st_count(b); i++) {
        const char *name;
        const hm_tensor *t = hm_st_at(b, i, &name);
        if (strncmp(name, part, strlen(part))) continue;
        rc = hm_st_add(w, name, t->dtype, t->nd, t->dim, t->data, err);
        taken++;
    }
    if (!rc && !taken) rc = hm_fail(err, HIMMEL_EINVAL, "%s: has no tensor whose name starts with %.40s", from, part);
    if (!rc) rc = hm_st_write(w, out, err);
    hm_st_writer_free(w);
    hm_st_close(a);
    hm_st_close(b);
    free(config);
    return rc;
}

HIMMEL_API himmel_status himmel_train(const char *what, const himmel_option *opts, size_t n_opts,
                                      himmel_progress_fn *on_progress, void *user, himmel_error *err)
{
    static const struct {
        const char *name;
        himmel_status (*run)(const hm_job *job, himmel_error *err);
    } stage[] = {{"basis", hm_train_basis_cmd}, {"cache", hm_train_cache_cmd}, {"text", hm_train_text_cmd},
                 {"dit", hm_train_dit_cmd}, {"refiner", hm_train_refiner_cmd}, {"probe", hm_train_probe_cmd},
                 {"join", hm_train_join_cmd}};
    const hm_job job = {opts, n_opts, on_progress, user};
    for (size_t i = 0; what && i < HM_COUNT(stage); i++)
        if (!strcmp(what, stage[i].name)) return stage[i].run(&job, err);
    return hm_fail(err, HIMMEL_EINVAL, "train: unknown stage \"%.40s\"; there are basis, cache, text, dit, refiner, probe and join", what ? what : "");
}
