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

himmel_status hm_av_open(AVFormatContext **fmt, const char *path, himmel_error *err)
{
    char url[4096 + 8];
    himmel_status st = hm_av_path(url, sizeof url, "file:", path, "", err);
    if (st) return st;
    AVDictionary *o = NULL;
    av_dict_set(&o, "protocol_whitelist", "file", 0);
    av_dict_set(&o, "format_whitelist",
                "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,flv,ogg,asf,yuv4mpegpipe,image2,png_pipe,"
                "jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe", 0);
    av_dict_set(&o, "pattern_type", "none", 0); /* image2: a "%" in a name is a "%" */
    int rc = avformat_open_input(fmt, url, NULL, &o);
    av_dict_free(&o);
    if (rc == AVERROR_INVALIDDATA || rc == AVERROR(EINVAL))
        return hm_fail(err, HIMMEL_EFORMAT, "%s: not an image or film that can be read", path);
    if (rc < 0) return hm_av_fail(err, path, "cannot read", rc);
    rc = avformat_find_stream_info(*fmt, NULL);
    if (rc < 0) return hm_av_fail(err, path, "cannot read", rc);
    return HIMMEL_OK;
}

const char *hm_media_version(void)
{
#define TEXT(x) AV_STRINGIFY(x)
    return "libavcodec " TEXT(LIBAVCODEC_VERSION_MAJOR) "." TEXT(LIBAVCODEC_VERSION_MINOR) ", libx264";
}
