/* json.h - Jansson with errors as one sentence.   SPDX-License-Identifier: MIT */
#ifndef HM_JSON_H
#define HM_JSON_H

#include <jansson.h>
#include "base/base.h"

/* Untrusted bytes -> value; duplicate keys, broken UTF-8 and trailing bytes are errors. name is for messages.
 */
himmel_status hm_json_parse(json_t **out, const char *data, size_t len, const char *name, himmel_error *err);

/* obj[key] into *out. Absent or null keeps *out, and what *out then is must lie in [lo, hi] too, so a key is
 * required by presetting a value out of range. where names the object in messages. */
himmel_status hm_json_int(const json_t *obj, const char *key, const char *where, const int64_t range[2],
                          int64_t *out, himmel_error *err);
himmel_status hm_json_double(const json_t *obj, const char *key, const char *where, const double range[2],
                             double *out, himmel_error *err);
himmel_status hm_json_bool(const json_t *obj, const char *key, const char *where, bool *out,
                           himmel_error *err);

#endif
