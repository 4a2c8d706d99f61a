/* decode.c - images and films from files to RGB frames.   SPDX-License-Identifier: MIT
 *   file -demuxer-> packets -decoder-> frame (any format) -swscale-> RGB, 8 bit
 * Frames that change size in the middle of a file are scaled to the first one's size. */
#include "media/decode.h"

#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdlib.h>
#include <string.h>

#include "media/av.h"

struct hm_decoder {
    char path[4096];
    AVFormatContext *fmt;
    AVCodecContext *cc;
    AVFrame *frame;
    AVPacket *packet;
    struct SwsContext *sws;
    int stream;
    bool flushing;
    hm_media_info info;
};

static himmel_status open_input(hm_decoder *d, himmel_error *err)
{
    char url[4096 + 8];
    himmel_status st = hm_av_path(url, sizeof url, "file:", d->path, "", err);
    if (st) return st;
    AVDictionary *o = NULL;
    av_dict_set(&o, "protocol_whitelist", "file", 0);
    av_dict_set(&o, "format_whitelist",
                "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,image2,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe",
                0);
    av_dict_set(&o, "pattern_type", "none", 0); /* image2: a "%" in a name is a "%" */
    int rc = avformat_open_input(&d->fmt, url, NULL, &o);
    av_dict_free(&o);
    if (rc == AVERROR_INVALIDDATA || rc == AVERROR(EINVAL))
        return hm_fail(err, HIMMEL_EFORMAT, "%s: not an image or film that can be read", d->path);
    if (rc < 0) return hm_av_fail(err, d->path, "cannot read", rc);
    rc = avformat_find_stream_info(d->fmt, NULL);
    if (rc < 0) return hm_av_fail(err, d->path, "cannot read", rc);
    return HIMMEL_OK;
}

static himmel_status open_stream(hm_decoder *d, himmel_error *err)
{
    const AVCodec *codec = NULL;
    d->stream = av_find_best_stream(d->fmt, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    if (d->stream < 0 || !codec)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: no picture in it that can be decoded", d->path);
    const AVStream *s = d->fmt->streams[d->stream];
    if (!(d->cc = avcodec_alloc_context3(codec)) || !(d->frame = av_frame_alloc()) ||
        !(d->packet = av_packet_alloc()))
        return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", d->path);
    int rc = avcodec_parameters_to_context(d->cc, s->codecpar);
    if (rc >= 0) rc = avcodec_open2(d->cc, codec, NULL);
    if (rc < 0) return hm_av_fail(err, d->path, "cannot decode", rc);
    if (d->cc->width < 1 || d->cc->height < 1 || d->cc->width > HM_DECODE_MAX_SIDE ||
        d->cc->height > HM_DECODE_MAX_SIDE)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: %dx%d pixels, must be 1..%d a side", d->path, d->cc->width,
                       d->cc->height, HM_DECODE_MAX_SIDE);
    const bool picture = strstr(d->fmt->iformat->name, "_pipe") || strstr(d->fmt->iformat->name, "image2");
    d->info = (hm_media_info){d->cc->width, d->cc->height, 0, 1, 0, s->nb_frames};
    if (!picture && s->avg_frame_rate.num > 0) {
        d->info.fps_num = s->avg_frame_rate.num;
        d->info.fps_den = s->avg_frame_rate.den;
    }
    if (!picture && d->fmt->duration > 0) d->info.seconds = (double)d->fmt->duration / AV_TIME_BASE;
    return HIMMEL_OK;
}

himmel_status hm_decoder_open(hm_decoder **out, const char *path, himmel_error *err)
{
    *out = NULL;
    hm_av_quiet();
    hm_decoder *d = calloc(1, sizeof *d);
    if (!d) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    himmel_status rc = hm_av_path(d->path, sizeof d->path, "", path, "", err);
    if (!rc) rc = open_input(d, err);
    if (!rc) rc = open_stream(d, err);
    if (rc) {
        hm_decoder_free(d);
        return rc;
    }
    *out = d;
    return HIMMEL_OK;
}

void hm_decoder_free(hm_decoder *d)
{
    if (!d) return;
    sws_freeContext(d->sws);
    avcodec_free_context(&d->cc);
    av_frame_free(&d->frame);
    av_packet_free(&d->packet);
    avformat_close_input(&d->fmt);
    free(d);
}

const hm_media_info *hm_decoder_info(const hm_decoder *d)
{
    return &d->info;
}

const char *hm_decoder_tag(const hm_decoder *d, const char *key)
{
    const AVDictionaryEntry *t = av_dict_get(d->fmt->metadata, key, NULL, 0);
    return t ? t->value : NULL;
}

/* The file's matrix where it says one, else bt.601 for pictures and small films, bt.709 for large ones. */
static int matrix_of(const hm_decoder *d, const AVFrame *f)
{
    if (f->colorspace == AVCOL_SPC_BT709) return SWS_CS_ITU709;
    if (f->colorspace == AVCOL_SPC_BT470BG || f->colorspace == AVCOL_SPC_SMPTE170M) return SWS_CS_ITU601;
    if (f->colorspace == AVCOL_SPC_BT2020_NCL) return SWS_CS_BT2020;
    return d->info.fps_num && f->height >= 720 ? SWS_CS_ITU709 : SWS_CS_ITU601;
}

static himmel_status to_rgb(hm_decoder *d, uint8_t *rgb, himmel_error *err)
{
    const AVFrame *f = d->frame;
    const int flags = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_BITEXACT;
    d->sws = sws_getCachedContext(d->sws, f->width, f->height, f->format, d->info.width, d->info.height,
                                  AV_PIX_FMT_RGB24, flags, NULL, NULL, NULL);
    if (!d->sws) return hm_fail(err, HIMMEL_EFORMAT, "%s: its pixel format cannot be converted", d->path);
    const AVPixFmtDescriptor *pf = av_pix_fmt_desc_get(f->format);
    const int full = f->color_range == AVCOL_RANGE_JPEG || (pf && (pf->flags & AV_PIX_FMT_FLAG_RGB)) ||
                     f->format == AV_PIX_FMT_YUVJ420P || f->format == AV_PIX_FMT_YUVJ422P ||
                     f->format == AV_PIX_FMT_YUVJ444P;
    sws_setColorspaceDetails(d->sws, sws_getCoefficients(matrix_of(d, f)), full,
                             sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
    /* swscale may write whole vectors: it gets rows with room behind them */
    AVFrame *t = av_frame_alloc();
    if (t) t->format = AV_PIX_FMT_RGB24, t->width = d->info.width, t->height = d->info.height;
    if (!t || av_frame_get_buffer(t, 0) < 0) {
        av_frame_free(&t);
        return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", d->path);
    }
    sws_scale(d->sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height, t->data, t->linesize);
    const size_t row = 3 * (size_t)d->info.width;
    for (int y = 0; y < d->info.height; y++)
        memcpy(rgb + (size_t)y * row, t->data[0] + (ptrdiff_t)y * t->linesize[0], row);
    av_frame_free(&t);
    return HIMMEL_OK;
}

/* Give the decoder one more packet, or the end. */
static himmel_status feed(hm_decoder *d, himmel_error *err)
{
    int rc;
    while ((rc = av_read_frame(d->fmt, d->packet)) >= 0 && d->packet->stream_index != d->stream)
        av_packet_unref(d->packet);
    if (rc < 0 && rc != AVERROR_EOF) return hm_av_fail(err, d->path, "cannot read", rc);
    d->flushing = rc == AVERROR_EOF;
    rc = avcodec_send_packet(d->cc, d->flushing ? NULL : d->packet);
    av_packet_unref(d->packet);
    if (rc < 0 && rc != AVERROR(EAGAIN)) return hm_av_fail(err, d->path, "cannot decode", rc);
    return HIMMEL_OK;
}

himmel_status hm_decoder_next(hm_decoder *d, uint8_t *rgb, double *seconds, bool *done, himmel_error *err)
{
    *done = false;
    for (;;) {
        const int rc = avcodec_receive_frame(d->cc, d->frame);
        if (rc == AVERROR_EOF || (rc == AVERROR(EAGAIN) && d->flushing)) {
            *done = true;
            return HIMMEL_OK;
        }
        if (rc == AVERROR(EAGAIN)) {
            const himmel_status st = feed(d, err);
            if (st) return st;
            continue;
        }
        if (rc < 0) return hm_av_fail(err, d->path, "cannot decode", rc);
        const AVRational tb = d->fmt->streams[d->stream]->time_base;
        if (seconds)
            *seconds = d->frame->best_effort_timestamp == AV_NOPTS_VALUE
                           ? 0 : (double)d->frame->best_effort_timestamp * tb.num / tb.den;
        const himmel_status st = rgb ? to_rgb(d, rgb, err) : HIMMEL_OK;
        av_frame_unref(d->frame);
        return st;
    }
}
