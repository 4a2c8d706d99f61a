/* verdict.h - all layers of a file's marks in one answer.   SPDX-License-Identifier: MIT */
#ifndef HM_VERDICT_H
#define HM_VERDICT_H

#include "provenance/verify.h"

/* Put the report on the Content Credentials together with what the picture itself carries, read from path. */
himmel_status hm_verdict_make(himmel_verdict *out, const char *path, json_t *credentials, himmel_error *err);

#endif
