/* hub_ask.h - one request of libcurl's, set up alike for all.   SPDX-License-Identifier: MIT */
#ifndef HM_HUB_ASK_H
#define HM_HUB_ASK_H

#include <curl/curl.h>

#include "server/hub.h"

/* A handle for url; *errors: room for CURL_ERROR_SIZE. NULL: out of memory. */
CURL *hm_hub_curl(const hm_hub *h, const char *url, char *errors);
/* What the answer means: HIMMEL_OK for 2xx, else a sentence. what: "org/repo" or the address. */
himmel_status hm_hub_answer(CURL *c, CURLcode rc, const char *errors, const hm_hub *h, const char *what, himmel_error *err);

#endif
