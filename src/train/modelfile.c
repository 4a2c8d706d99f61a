/* modelfile.c - see modelfile.h.   SPDX-License-Identifier: MIT */
#include "train/modelfile.h"

#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "formats/json.h"

static const char *const META[] = {"config", "himmel.licence", "himmel.data_manifest_sha256", "himmel.data_manifest",
                                   "himmel.training",
                                   "himmel.refiner_training"};

static bool listed(const char *const *list, const char *name, bool prefix)
{
    for (; list && *list; list++)
        if (prefix ? !strncmp(name, *list, strlen(*list)) : !strcmp(name, *list)) return true;
    return false;
}

himmel_status hm_model_copy(hm_st_writer *w, const hm_st *from, const char *const *without, const char *const *skip_meta,
                            himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    for (size_t i = 0; !rc && i < hm_st_count(from); i++) {
        const char *name;
        const hm_tensor *t = hm_st_at(from, i, &name);
        if (!listed(without, name, true)) rc = hm_st_add(w, name, t->dtype, t->nd, t->dim, t->data, err);
    }
    for (size_t i = 0; !rc && i < HM_COUNT(META); i++) {
        const char *value = hm_st_meta(from, META[i]);
        if (value && !listed(skip_meta, META[i], false)) rc = hm_st_add_meta(w, META[i], value, err);
    }
    return rc;
}

himmel_status hm_history_read(hm_history *h, const hm_st *st, himmel_error *err)
{
    static const int64_t counts[2] = {0, INT64_MAX};
    static const double times[2] = {0, 1e12};
    const char *text = hm_st_meta(st, "himmel.training"), *manifest = hm_st_meta(st, "himmel.data_manifest");
    json_t *j;
    *h = (hm_history){.manifest = manifest ? manifest : ""};
    if (!text) return HIMMEL_OK;
    himmel_status rc = hm_json_parse(&j, text, strlen(text), hm_st_path(st), err);
    if (rc) return rc;
    rc = hm_json_int(j, "steps", "himmel.training", counts, &h->steps, err);
    if (!rc) rc = hm_json_int(j, "samples", "himmel.training", counts, &h->samples, err);
    if (!rc) rc = hm_json_double(j, "seconds", "himmel.training", times, &h->seconds, err);
    json_decref(j);
    return rc;
}

/* Is line (n bytes, its newline included) one of text's? */
static bool has_line(const char *text, const char *line, size_t n)
{
    for (const char *at = text; *at;) {
        const char *end = strchr(at, '\n');
        const size_t m = end ? (size_t)(end - at) + 1 : strlen(at);
        if (m == n && !memcmp(at, line, n)) return true;
        at += m;
    }
    return false;
}

char *hm_manifest_union(const char *before, char *now)
{
    const size_t n = strlen(before);
    char *all = now ? malloc(n + strlen(now) + 1) : NULL;
    if (all) {
        memcpy(all, before, n + 1);
        for (const char *at = now; *at;) {
            const char *end = strchr(at, '\n');
            const size_t m = end ? (size_t)(end - at) + 1 : strlen(at);
            if (!has_line(before, at, m)) strncat(all, at, m);
            at += m;
        }
    }
    free(now);
    return all;
}

void hm_text_sha256(const char *text, char hex[65])
{
    hm_sha256 s;
    uint8_t d[32];
    hm_sha256_init(&s);
    hm_sha256_add(&s, text, strlen(text));
    hm_sha256_end(&s, d);
    hm_sha256_hex(d, hex);
}
