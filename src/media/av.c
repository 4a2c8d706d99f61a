/* av.c - what the libav users in this folder share.   SPDX-License-Identifier: MIT */
#include "media/av.h"
#include "media/encode.h"

#include <stdio.h>

himmel_status hm_av_fail(himmel_error *err, const char *path, const char *what, int rc)
{
    char why[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(rc, why, sizeof why);
    const himmel_status code = rc == AVERROR(ENOMEM) ? HIMMEL_ENOMEM
                               : rc == AVERROR_INVALIDDATA ? HIMMEL_EFORMAT : HIMMEL_EIO;
    return hm_fail(err, code, "%s: %s: %s", path, what, why);
}

void hm_av_quiet(void)
{
    av_log_set_level(AV_LOG_QUIET);
}

himmel_status hm_av_path(char *out, size_t cap, const char *pre, const char *path, const char *post,
                         himmel_error *err)
{
    const int n = snprintf(out, cap, "%s%s%s", pre, path, post);
    if (n < 0 || (size_t)n >= cap) return hm_fail(err, HIMMEL_EINVAL, "%.100s...: path is too long", path);
    return HIMMEL_OK;
}

const char *hm_media_version(void)
{
#define TEXT(x) AV_STRINGIFY(x)
    return "libavcodec " TEXT(LIBAVCODEC_VERSION_MAJOR) "." TEXT(LIBAVCODEC_VERSION_MINOR) ", libx264";
}
