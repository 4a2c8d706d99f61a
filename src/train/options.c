/* options.c - see options.h.   SPDX-License-Identifier: MIT */
#include "train/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static himmel_status set_number(const char *what, const hm_option_spec *s, const char *text, himmel_error *err)
{
    char *end;
    errno = 0;
    const double x = strtod(text, &end);
    const bool whole = s->type == HM_O_REAL || x == (double)(int64_t)x;
    if (end == text || *end || errno || !(x >= s->lo && x <= s->hi) || !whole)
        return hm_fail(err, HIMMEL_EINVAL, "%s: --%s %.40s is not %s in %g..%g", what, s->key, text,
                       s->type == HM_O_INT ? "a whole number" : "a number", s->lo, s->hi);
    if (s->type == HM_O_INT)
        *(int64_t *)s->dst = (int64_t)x;
    else
        *(double *)s->dst = x;
    return HIMMEL_OK;
}

static himmel_status unknown(const char *what, const hm_option_spec *spec, size_t n, const char *key, himmel_error *err)
{
    char list[400] = "";
    hm_str s = {list, sizeof list, 0};
    for (size_t i = 0; i < n; i++) hm_str_addf(&s, "%s--%s", i ? ", " : "", spec[i].key);
    return hm_fail(err, HIMMEL_EINVAL, "%s: unknown option --%.40s; there are %s", what, key, list);
}

himmel_status hm_options_parse(const char *what, const hm_option_spec *spec, size_t n_spec, const himmel_option *opts,
                               size_t n_opts, himmel_error *err)
{
    for (size_t i = 0; i < n_opts; i++) {
        const hm_option_spec *s = NULL;
        for (size_t j = 0; j < n_spec && !s; j++)
            if (!strcmp(spec[j].key, opts[i].key)) s = &spec[j];
        if (!s) return unknown(what, spec, n_spec, opts[i].key, err);
        const char *value = opts[i].value ? opts[i].value : "";
        if (s->type == HM_O_FLAG) {
            if (*value) return hm_fail(err, HIMMEL_EINVAL, "%s: --%s takes no value, got %.40s", what, s->key, value);
            *(bool *)s->dst = true;
        } else if (s->type == HM_O_STR) {
            if (!*value) return hm_fail(err, HIMMEL_EINVAL, "%s: --%s needs a value", what, s->key);
            *(const char **)s->dst = value;
        } else {
            const himmel_status rc = set_number(what, s, value, err);
            if (rc) return rc;
        }
    }
    return HIMMEL_OK;
}
