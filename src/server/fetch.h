/* fetch.h - pictures from addresses that the owner has listed (--fetch-from).   SPDX-License-Identifier: MIT */
#ifndef HM_FETCH_H
#define HM_FETCH_H

#include "base/base.h"
#include "server/server.h"

enum { HM_FETCH_MOST = 20 << 20 }; /* bytes */

/* Does url begin with one of the listed origins: the same scheme, host and port, and no name or password in it? */
bool hm_fetch_allowed(const hm_serve_options *o, const char *url);
/* What is at url into *data; free() it. No redirects, at most HM_FETCH_MOST bytes, 30 s. EINVAL says what went wrong. */
himmel_status hm_fetch(const char *url, uint8_t **data, size_t *n, himmel_error *err);

#endif
