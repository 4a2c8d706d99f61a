/* model.c - the released families, and which of them a file belongs to.   SPDX-License-Identifier: MIT */
#include "models/model.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"
#include "models/families.h"
#include "models/tae.h"
#include "text/t5.h"

struct hm_model {
    const hm_model_ops *ops;
    void *self;
    pthread_mutex_t lock; /* of ready */
    bool ready;           /* int8 copies have their numbers */
};

static const hm_model_ops *const families[] = {&hm_ltx_ops, &hm_wan_ops};

const char *hm_model_family(const char *path)
{
    for (size_t f = 0; f < HM_COUNT(families); f++)
        if (families[f]->claims(path)) return families[f]->family;
    return NULL;
}

static bool has_name_with(const hm_st *st, const char *part)
{
    const char *name;
    for (size_t i = 0; i < hm_st_count(st); i++) {
        hm_st_at(st, i, &name);
        if (strstr(name, part)) return true;
    }
    return false;
}

/* Files that belong beside a transformer; NULL: something else. */
static const char *part_of_model(const hm_st *st)
{
    hm_t5_config t5;
    himmel_error ignored;
    return hm_tae_claims(st)                                                           ? "a tiny decoder for previews"
           : has_name_with(st, "lora_") || has_name_with(st, ".diff_b")                ? "a LoRA, which is named with --lora,"
           : !hm_t5_detect(&t5, st, "", &ignored)                                      ? "a T5 text encoder"
           : has_name_with(st, "visual.")                                              ? "a picture encoder"
           : has_name_with(st, "decoder.") && has_name_with(st, "encoder.")            ? "an autoencoder"
                                                                                       : NULL;
}

/* The sentence of a file that is no transformer. */
static himmel_status refuse(const hm_st *st, const char *path, himmel_error *err)
{
    const char *name = "nothing", *part = part_of_model(st);
    if (part) return hm_fail(err, HIMMEL_EMODEL, "%s: not a model that himmel knows: it is %s; it goes with a transformer: --model TRANSFORMER --with FILE", path, part);
    if (hm_st_count(st)) hm_st_at(st, 0, &name);
    return hm_fail(err, HIMMEL_EMODEL,
                   "%s: not a model that himmel knows: its %zu tensors begin with \"%.80s\" (himmel-1, LTX-Video "
                   "checkpoints and Wan's transformers are known)",
                   path, hm_st_count(st), name);
}

himmel_status hm_model_open(hm_model **out, const hm_model_files *files, himmel_error *err)
{
    const char *const *paths = files->paths;
    *out = NULL;
    if (files->n_paths < 1 || files->n_paths > HM_MODEL_MAX_FILES)
        return hm_fail(err, HIMMEL_EINVAL, "%d files are named, a model has 1 to %d", files->n_paths,
                       (int)HM_MODEL_MAX_FILES);
    size_t f = 0;
    while (f < HM_COUNT(families) && !families[f]->claims(paths[0])) f++;
    if (f == HM_COUNT(families)) {
        hm_st *st; /* a broken file has its own sentence */
        const himmel_status rc = hm_st_open(&st, paths[0], err);
        if (rc) return rc;
        const himmel_status unknown = refuse(st, paths[0], err);
        hm_st_close(st);
        return unknown;
    }
    hm_model *m = calloc(1, sizeof *m);
    if (!m) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", paths[0]);
    m->ops = families[f];
    const himmel_status rc = m->ops->open(&m->self, files, err);
    if (rc) {
        free(m);
        return rc;
    }
    pthread_mutex_init(&m->lock, NULL);
    *out = m;
    return HIMMEL_OK;
}

void hm_model_close(hm_model *m)
{
    if (!m) return;
    m->ops->close(m->self);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void hm_model_get_facts(const hm_model *m, hm_model_facts *f)
{
    m->ops->facts(m->self, f);
}

static himmel_status check_items(const hm_model_facts *f, const hm_model_job *job, himmel_error *err)
{
    if (job->n_items && !f->takes_items)
        return hm_fail(err, HIMMEL_EINVAL, "%s takes no pictures or clips", f->name);
    if (job->start && !f->takes_start)
        return hm_fail(err, HIMMEL_EINVAL, "%s cannot start from a film", f->name);
    if (job->start && !(job->start_level > 0 && job->start_level <= 1))
        return hm_fail(err, HIMMEL_EINVAL, "the noise level to start from is %g, must be above 0 and at most 1", job->start_level);
    if (job->reference && !f->takes_reference)
        return hm_fail(err, HIMMEL_EINVAL, "%s takes no reference picture: Wan's VACE does (wan2.1_vace_1.3B)", f->name);
    if (job->mask && !job->start) return hm_fail(err, HIMMEL_EINVAL, "a mask without a film");
    for (int i = 0; i < job->n_items; i++) {
        const hm_model_item *it = &job->items[i];
        const bool clip = it->n_frames > HM_MAX(f->loose, 1);
        if (it->n_frames < 1 || (it->n_frames - 1) % f->frame_step || it->at < 0 ||
            it->at > job->n_frames - it->n_frames || (clip && it->at % f->frame_step))
            return hm_fail(err, HIMMEL_EINVAL,
                           "given clip %d has %d frames at frame %d of %d: it must have 1 + a multiple of "
                           "%d, begin at a multiple of it and end within the film",
                           i + 1, it->n_frames, it->at, job->n_frames, f->frame_step);
    }
    return HIMMEL_OK;
}

himmel_status hm_model_check(const hm_model *m, const hm_model_job *job, himmel_error *err)
{
    hm_model_facts f;
    hm_model_get_facts(m, &f);
    if (*f.missing) return hm_fail(err, HIMMEL_EMODEL, "%s", f.missing);
    if (job->width < f.side_step || job->height < f.side_step || job->width % f.side_step ||
        job->height % f.side_step)
        return hm_fail(err, HIMMEL_EINVAL, "%s: size is %dx%d, sides are multiples of %d", f.name, job->width,
                       job->height, f.side_step);
    if (job->n_frames < 1 || (job->n_frames - 1) % f.frame_step || job->n_frames > f.max_frames)
        return hm_fail(err, HIMMEL_EINVAL, "%s: %d frames, must be 1 + a multiple of %d, at most %d", f.name,
                       job->n_frames, f.frame_step, f.max_frames);
    if (!(job->fps > 0 && job->fps <= 240))
        return hm_fail(err, HIMMEL_EINVAL, "%s: %g frames a second", f.name, job->fps);
    return check_items(&f, job, err);
}

void hm_model_mask_cells(const hm_model_job *job, int at, int n, int h, int w, uint8_t *stays)
{
    const int H = job->height, W = job->width;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const int y0 = (int)((int64_t)y * H / h), y1 = (int)((int64_t)(y + 1) * H / h), x0 = (int)((int64_t)x * W / w);
            const size_t across = (size_t)((int64_t)(x + 1) * W / w - x0);
            bool any = false;
            for (int f = at; f < at + n && !any; f++)
                for (int v = y0; v < y1 && !any; v++)
                    any = memchr(job->mask + ((size_t)f * (size_t)H + (size_t)v) * (size_t)W + (size_t)x0, 1, across) != NULL;
            stays[y * w + x] = !any;
        }
}

himmel_status hm_model_plan(const hm_model *m, const hm_model_job *job, hm_model_cost *cost,
                            himmel_error *err)
{
    *cost = (hm_model_cost){0};
    const himmel_status rc = hm_model_check(m, job, err);
    return rc ? rc : m->ops->plan(m->self, job, cost, err);
}

static himmel_status pack(hm_model *m, int threads, himmel_error *err)
{
    hm_model_facts f;
    m->ops->facts(m->self, &f);
    if (!f.int8_bytes) return HIMMEL_OK;
    hm_graph *g = NULL;
    himmel_status rc = HIMMEL_OK;
    pthread_mutex_lock(&m->lock);
    if (!m->ready) rc = hm_graph_new(&g, &(hm_graph_opts){.act = HM_BF16, .n_threads = threads}, err);
    if (g) rc = m->ops->pack(m->self, g, err);
    m->ready = !rc;
    pthread_mutex_unlock(&m->lock);
    hm_graph_free(g);
    return rc;
}

himmel_status hm_model_run(const hm_model *m, const hm_model_job *job, hm_model_cost *cost, himmel_error *err)
{
    *cost = (hm_model_cost){0};
    himmel_status rc = hm_model_check(m, job, err);
    if (!rc) rc = pack((hm_model *)(uintptr_t)m, job->threads, err); /* the only change after opening */
    return rc ? rc : m->ops->run(m->self, job, cost, err);
}
