/* av.h - what the libav users in this folder share.   SPDX-License-Identifier: MIT */
#ifndef HM_AV_H
#define HM_AV_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include "base/base.h"

/* "path: what: libav's reason" with the fitting status; rc is libav's negative code. */
himmel_status hm_av_fail(himmel_error *err, const char *path, const char *what, int rc);
/* libav prints to stderr by itself; this library does not. */
void hm_av_quiet(void);
/* snprintf of pre + path + post that says when it does not fit. */
himmel_status hm_av_path(char *out, size_t cap, const char *pre, const char *path, const char *post,
                         himmel_error *err);

/* A local file of the formats that this library reads, its streams found. The caller closes *fmt, on errors too. */
himmel_status hm_av_open(AVFormatContext **fmt, const char *path, himmel_error *err);

#endif
