/* json.c - Jansson with errors as one sentence.   SPDX-License-Identifier: MIT */
#include "formats/json.h"

#include <inttypes.h>

himmel_status hm_json_parse(json_t **out, const char *data, size_t len, const char *name, himmel_error *err)
{
    json_error_t je;
    *out = json_loadb(data, len, JSON_REJECT_DUPLICATES, &je);
    if (*out) return HIMMEL_OK;
    if (json_error_code(&je) == json_error_out_of_memory)
        return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", name);
    return hm_fail(err, HIMMEL_EFORMAT, "%s: JSON line %d, byte %d: %s", name, je.line, je.position, je.text);
}

himmel_status hm_json_int(const json_t *obj, const char *key, const char *where, const int64_t range[2],
                          int64_t *out, himmel_error *err)
{
    const json_t *v = json_object_get(obj, key);
    const bool absent = !v || json_is_null(v);
    if (!absent && !json_is_integer(v))
        return hm_fail(err, HIMMEL_EFORMAT, "%s: %s is not an integer", where, key);
    const int64_t x = absent ? *out : (int64_t)json_integer_value(v);
    if (x < range[0] || x > range[1]) {
        if (absent) return hm_fail(err, HIMMEL_EFORMAT, "%s: %s is missing", where, key);
        return hm_fail(err, HIMMEL_EFORMAT, "%s: %s is %" PRId64 ", wants %" PRId64 " to %" PRId64, where,
                       key, x, range[0], range[1]);
    }
    *out = x;
    return HIMMEL_OK;
}

himmel_status hm_json_double(const json_t *obj, const char *key, const char *where, const double range[2],
                             double *out, himmel_error *err)
{
    const json_t *v = json_object_get(obj, key);
    const bool absent = !v || json_is_null(v);
    if (!absent && !json_is_number(v))
        return hm_fail(err, HIMMEL_EFORMAT, "%s: %s is not a number", where, key);
    const double x = absent ? *out : json_number_value(v);
    if (!(x >= range[0] && x <= range[1])) { /* NaN fails too */
        if (absent) return hm_fail(err, HIMMEL_EFORMAT, "%s: %s is missing", where, key);
        return hm_fail(err, HIMMEL_EFORMAT, "%s: %s is %g, wants %g to %g", where, key, x, range[0],
                       range[1]);
    }
    *out = x;
    return HIMMEL_OK;
}

himmel_status hm_json_bool(const json_t *obj, const char *key, const char *where, bool *out,
                           himmel_error *err)
{
    const json_t *v = json_object_get(obj, key);
    if (!v || json_is_null(v)) return HIMMEL_OK;
    if (!json_is_boolean(v)) return hm_fail(err, HIMMEL_EFORMAT, "%s: %s is not true or false", where, key);
    *out = json_is_true(v);
    return HIMMEL_OK;
}
