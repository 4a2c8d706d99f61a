/* options.h - "key value" options of the long jobs, checked against a table.   SPDX-License-Identifier: MIT */
#ifndef HM_OPTIONS_H
#define HM_OPTIONS_H

#include "base/base.h"

typedef enum { HM_O_INT, HM_O_REAL, HM_O_STR, HM_O_FLAG } hm_option_type; /* int64_t, double, const char *, bool */
typedef struct {
    const char *key;
    hm_option_type type;
    void *dst;
    double lo, hi; /* inclusive, numbers only */
} hm_option_spec;

/* Every option must be in the table and in range; what names the job in messages. Strings are borrowed from opts. */
himmel_status hm_options_parse(const char *what, const hm_option_spec *spec, size_t n_spec, const himmel_option *opts,
                               size_t n_opts, himmel_error *err);

#endif
