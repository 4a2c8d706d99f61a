/* lora.c - files of low-rank changes into the weights that they change; see lora.h.   SPDX-License-Identifier: MIT
 *   every file: name -> module, part -> target tensor; then every target once: f32 strips of rows += parts -> its type
 * Names are compared with _ for every dot, which is how kohya writes them, so one table serves all layouts. */
#include "models/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STRIP = 256, NAME = 256 };

/* A module of the model: blocks_0_ffn_0 -> the tensors' names without .weight or .bias. */
typedef struct {
    char key[NAME];
    char *module; /* in the file, with its prefix; owned by the entry whose alias is false */
    bool alias;
} module;

typedef struct {
    const char *target; /* tensor's name; in the names of st */
    const hm_tensor *down, *up; /* up NULL: down is a whole difference */
    float scale;
    size_t order; /* of the files and in them: sums have a fixed order */
} part;

typedef struct {
    hm_st *st;
    hm_st *file[HM_MAX_LORAS];
    module *mod;
    size_t n_mods;
    part *part;
    size_t n_parts, cap;
} merge;

/* ---- names ---- */

static bool drop_end(char *s, const char *end)
{
    const size_t n = strlen(s), k = strlen(end);
    if (n <= k || strcmp(s + n - k, end)) return false;
    s[n - k] = 0;
    return true;
}

static void underscored(char *s)
{
    for (; *s; s++)
        if (*s == '.') *s = '_';
}

static int order_key(const void *a, const void *b)
{
    return strcmp(((const module *)a)->key, ((const module *)b)->key);
}

static const module *find_module(const merge *m, const char *path)
{
    static const char *const before[] = {"", "lora_unet_", "diffusion_model_", "transformer_", "model_diffusion_model_", "base_model_model_", "unet_"};
    module key = {0};
    for (size_t i = 0; i < HM_COUNT(before); i++) {
        const size_t n = strlen(before[i]);
        char plain[NAME];
        snprintf(plain, sizeof plain, "%s", path);
        underscored(plain);
        if (strncmp(plain, before[i], n)) continue;
        snprintf(key.key, sizeof key.key, "%s", plain + n);
        const module *found = bsearch(&key, m->mod, m->n_mods, sizeof *m->mod, order_key);
        if (found) return found;
    }
    return NULL;
}

static void add_module(merge *m, const char *name, char *full, bool alias)
{
    module *e = &m->mod[m->n_mods];
    snprintf(e->key, sizeof e->key, "%s", name);
    if (!drop_end(e->key, ".weight")) return;
    underscored(e->key);
    e->module = full, e->alias = alias;
    m->n_mods++;
}

static himmel_status list_modules(merge *m, const char *prefix, hm_lora_alias *alias, himmel_error *err)
{
    m->mod = calloc(2 * hm_st_count(m->st) + 1, sizeof *m->mod);
    if (!m->mod) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", hm_st_path(m->st));
    for (size_t i = 0; i < hm_st_count(m->st); i++) {
        const char *name;
        char other[NAME];
        const size_t n = strlen(prefix);
        hm_st_at(m->st, i, &name);
        if (strncmp(name, prefix, n) || strlen(name) >= NAME) continue;
        char *full = strdup(name);
        if (!full) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", hm_st_path(m->st));
        const size_t before = m->n_mods;
        if (drop_end(full, ".weight")) add_module(m, name + n, full, false);
        if (m->n_mods == before) free(full);
        else if (alias && alias(other, name + n) && strcmp(other, name + n)) add_module(m, other, full, true);
    }
    qsort(m->mod, m->n_mods, sizeof *m->mod, order_key);
    return HIMMEL_OK;
}

/* ---- one file ---- */

/* What a tensor's ending says. */
typedef enum { DOWN, UP, ALPHA, DIFF, DIFF_BIAS } role;
static const struct {
    const char *end;
    role role;
    const char *partner; /* of DOWN: the ending of its UP, and the other way round */
} endings[] = {{".lora_A.weight", DOWN, ".lora_B.weight"},
               {".lora_B.weight", UP, ".lora_A.weight"},
               {".lora_A.default.weight", DOWN, ".lora_B.default.weight"},
               {".lora_B.default.weight", UP, ".lora_A.default.weight"},
               {".lora_down.weight", DOWN, ".lora_up.weight"},
               {".lora_up.weight", UP, ".lora_down.weight"},
               {".lora.down.weight", DOWN, ".lora.up.weight"},
               {".lora.up.weight", UP, ".lora.down.weight"},
               {".alpha", ALPHA, NULL},
               {".diff", DIFF, NULL},
               {".diff_b", DIFF_BIAS, NULL}};

static himmel_status push(merge *m, const part *p, himmel_error *err)
{
    if (m->n_parts == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 256;
        part *more = realloc(m->part, m->cap * sizeof *more);
        if (!more) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a LoRA");
        m->part = more;
    }
    m->part[m->n_parts] = *p;
    m->part[m->n_parts].order = m->n_parts;
    m->n_parts++;
    return HIMMEL_OK;
}

/* alpha / rank, 1 without an alpha. */
static himmel_status read_scale(const hm_st *file, const char *path, int64_t rank, float *scale, himmel_error *err)
{
    char name[NAME + 16];
    float alpha = 0;
    snprintf(name, sizeof name, "%s.alpha", path);
    const hm_tensor *t = hm_st_find(file, name);
    *scale = 1;
    if (!t) return HIMMEL_OK;
    if (hm_numel(t) == 1 && hm_is_weight(t->dtype) && hm_dtype_block(t->dtype) == 1) hm_convert(&alpha, HM_F32, t->data, t->dtype, 1);
    else if (hm_numel(t) == 1 && t->dtype == HM_F64) alpha = (float)*(const double *)t->data;
    else if (hm_numel(t) == 1 && t->dtype == HM_I64) alpha = (float)*(const int64_t *)t->data;
    else return hm_fail(err, HIMMEL_EMODEL, "%s: \"%.120s\" is not one number", hm_st_path(file), name);
    if (!isfinite(alpha)) return hm_fail(err, HIMMEL_EMODEL, "%s: \"%.120s\" is %g", hm_st_path(file), name, alpha);
    *scale = alpha / (float)rank;
    return HIMMEL_OK;
}

static int64_t rest_of(const hm_tensor *t)
{
    return t->nd && t->dim[0] ? hm_numel(t) / t->dim[0] : 0;
}

static bool plain(const hm_tensor *t)
{
    return t->nd > 0 && hm_is_weight(t->dtype) && hm_dtype_block(t->dtype) == 1;
}

/* A name of a file, taken apart. */
typedef struct {
    const char *name;
    char path[NAME];    /* without the ending */
    size_t ending;
    const char *target; /* the model's tensor, in the memory of its st */
} key;

/* up [out,rank] x down [rank,in] for a target [out,in]; sizes behind the second count as one. */
static himmel_status take_pair(merge *m, const hm_st *file, const key *k, float strength, himmel_error *err)
{
    char other[NAME + 32];
    float scale;
    snprintf(other, sizeof other, "%s%s", k->path, endings[k->ending].partner);
    const hm_tensor *t = hm_st_find(file, k->name), *u = hm_st_find(file, other), *w = hm_st_find(m->st, k->target);
    if (!u) return hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%.120s\" has no \"%.120s\" beside it", hm_st_path(file), k->name, other);
    if (endings[k->ending].role == UP) return HIMMEL_OK; /* its DOWN takes both */
    if (!plain(u) || rest_of(u) != t->dim[0] || t->dim[0] < 1 || rest_of(t) != rest_of(w) || u->dim[0] != w->dim[0])
        return hm_fail(err, HIMMEL_EMODEL, "%s: \"%.120s\" is [%lld,%lld] x [%lld,%lld], the model's tensor [%lld,%lld]", hm_st_path(file), k->path,
                       (long long)(u->nd ? u->dim[0] : 0), (long long)rest_of(u), (long long)t->dim[0], (long long)rest_of(t), (long long)w->dim[0],
                       (long long)rest_of(w));
    const himmel_status rc = read_scale(file, k->path, t->dim[0], &scale, err);
    return rc ? rc : push(m, &(part){.target = k->target, .down = t, .up = u, .scale = strength * scale}, err);
}

static himmel_status take_tensor(merge *m, const hm_st *file, const key *k, float strength, himmel_error *err)
{
    const hm_tensor *t = hm_st_find(file, k->name), *w = hm_st_find(m->st, k->target);
    if (endings[k->ending].role == ALPHA) return HIMMEL_OK; /* read with its pair */
    if (!plain(t)) return hm_fail(err, HIMMEL_EMODEL, "%s: tensor \"%.120s\" is %s, a floating-point type is wanted", hm_st_path(file), k->name, hm_dtype_name(t->dtype));
    if (endings[k->ending].partner) return take_pair(m, file, k, strength, err);
    if (hm_numel(t) != hm_numel(w))
        return hm_fail(err, HIMMEL_EMODEL, "%s: \"%.120s\" has %lld numbers, the model's tensor %lld", hm_st_path(file), k->name, (long long)hm_numel(t),
                       (long long)hm_numel(w));
    return push(m, &(part){.target = k->target, .down = t, .scale = strength}, err);
}

/* false: it means no tensor of the model. */
static bool take_apart(const merge *m, const char *name, key *k)
{
    char tensor[NAME + 16];
    const module *mod = NULL;
    *k = (key){.name = name};
    if (strlen(name) >= NAME) return false;
    for (; k->ending < HM_COUNT(endings); k->ending++) {
        strcpy(k->path, name);
        if (drop_end(k->path, endings[k->ending].end)) break;
    }
    if (k->ending == HM_COUNT(endings) || !(mod = find_module(m, k->path))) return false;
    snprintf(tensor, sizeof tensor, "%s.%s", mod->module, endings[k->ending].role == DIFF_BIAS ? "bias" : "weight");
    for (size_t i = 0; i < hm_st_count(m->st); i++) {
        const char *own;
        const hm_tensor *t = hm_st_at(m->st, i, &own);
        if (!strcmp(own, tensor)) k->target = hm_is_weight(t->dtype) && t->nd ? own : NULL;
    }
    return k->target != NULL;
}

static himmel_status read_file(merge *m, const hm_st *file, double strength, himmel_error *err)
{
    const char *first = NULL;
    size_t unknown = 0;
    himmel_status rc = HIMMEL_OK;
    for (size_t i = 0; i < hm_st_count(file) && !rc; i++) {
        const char *name;
        key k;
        hm_st_at(file, i, &name);
        if (take_apart(m, name, &k)) rc = take_tensor(m, file, &k, (float)strength, err);
        else if (!unknown++) first = name;
    }
    if (!rc && unknown)
        return hm_fail(err, HIMMEL_EMODEL, "%s: %zu of its %zu tensors change nothing in %.150s, the first is \"%.120s\": a LoRA of another model?",
                       hm_st_path(file), unknown, hm_st_count(file), hm_st_path(m->st), first);
    if (!rc && !hm_st_count(file)) rc = hm_fail(err, HIMMEL_EMODEL, "%s: there is no tensor in it", hm_st_path(file));
    return rc;
}

/* ---- adding ---- */

static float *as_f32(const hm_tensor *t, himmel_error *err)
{
    float *x = malloc((size_t)hm_numel(t) * sizeof *x);
    if (x) hm_convert(x, HM_F32, t->data, t->dtype, (size_t)hm_numel(t));
    for (int64_t i = 0; x && t->scale != 0 && i < hm_numel(t); i++) x[i] *= t->scale;
    if (!x) hm_fail(err, HIMMEL_ENOMEM, "out of memory for a LoRA");
    return x;
}

/* w [rows*cols], all of the target in f32, += part. */
static himmel_status add_part(float *w, int64_t rows, int64_t cols, const part *p, himmel_error *err)
{
    float *down = as_f32(p->down, err), *up = down && p->up ? as_f32(p->up, err) : NULL;
    const int64_t n = hm_numel(p->down);
    if (down && up) {
        const int64_t rank = p->down->dim[0];
        for (int64_t r = 0; r < rows; r += STRIP) /* small products: the library packs no copy of the whole */
            hm_gemm(false, false, HM_MIN((int64_t)STRIP, rows - r), cols, rank, p->scale, HM_F32, up + r * rank, down, 1, HM_F32, w + r * cols);
    }
    for (int64_t i = 0; down && !p->up && i < n; i++) w[i] += p->scale * down[i];
    const bool ok = down && (up || !p->up);
    free(down);
    free(up);
    return ok ? HIMMEL_OK : HIMMEL_ENOMEM;
}

/* parts[0..n) all have one target. */
static himmel_status change(merge *m, const part *parts, size_t n, uint64_t *bytes, himmel_error *err)
{
    const hm_tensor *t = hm_st_find(m->st, parts->target);
    const hm_dtype to = t->dtype == HM_F32 || t->dtype == HM_F16 ? t->dtype : HM_BF16;
    const size_t count = (size_t)hm_numel(t), size = count * hm_dtype_size(to);
    float *w = as_f32(t, err);
    if (!w) return HIMMEL_ENOMEM;
    himmel_status rc = HIMMEL_OK;
    for (size_t i = 0; i < n && !rc; i++) rc = add_part(w, t->dim[0], rest_of(t), &parts[i], err);
    void *own = rc || to == HM_F32 ? w : malloc(size);
    if (!own) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for a LoRA");
    if (!rc && own != (void *)w) hm_convert(own, to, w, HM_F32, count);
    if (own != (void *)w || rc) free(w);
    if (rc) return rc;
    if (bytes) *bytes += size;
    hm_st_replace(m->st, parts->target, to, own);
    return HIMMEL_OK;
}

static int order_target(const void *a, const void *b)
{
    const part *x = a, *y = b;
    const int c = strcmp(x->target, y->target);
    return c ? c : x->order < y->order ? -1 : x->order > y->order;
}

himmel_status hm_lora_merge(hm_st *st, const char *prefix, hm_lora_alias *alias, const hm_lora *loras, int n, uint64_t *bytes,
                            himmel_error *err)
{
    if (n && hm_st_is_int8(st))
        return hm_fail(err, HIMMEL_EINVAL, "%s: its weights are in int8, which LoRAs are not merged into: use the file that it was converted from", hm_st_path(st));
    merge m = {.st = st};
    if (!n) return HIMMEL_OK;
    if (n < 0 || n > HM_MAX_LORAS) return hm_fail(err, HIMMEL_EINVAL, "%d LoRA files are named, at most %d are possible", n, (int)HM_MAX_LORAS);
    himmel_status rc = list_modules(&m, prefix, alias, err);
    for (int i = 0; i < n && !rc; i++) {
        if (!isfinite(loras[i].strength)) rc = hm_fail(err, HIMMEL_EINVAL, "%s: strength is %g", loras[i].path, loras[i].strength);
        if (!rc) rc = hm_st_open(&m.file[i], loras[i].path, err);
        if (!rc) rc = read_file(&m, m.file[i], loras[i].strength, err);
    }
    if (!rc && m.n_parts) qsort(m.part, m.n_parts, sizeof *m.part, order_target);
    for (size_t i = 0, k; i < m.n_parts && !rc; i = k) {
        for (k = i + 1; k < m.n_parts && !strcmp(m.part[k].target, m.part[i].target);) k++;
        rc = change(&m, &m.part[i], k - i, bytes, err);
    }
    for (int i = 0; i < n; i++) hm_st_close(m.file[i]);
    for (size_t i = 0; i < m.n_mods; i++)
        if (!m.mod[i].alias) free(m.mod[i].module);
    free(m.mod);
    free(m.part);
    return rc;
}
