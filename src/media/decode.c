/* decode.c - images and films from files to RGB frames.   SPDX-License-Identifier: MIT
 *   file -demuxer-> packets -decoder-> frame (any format) -swscale-> RGB -tone mapped, turned-> RGB, 8 bit
 * The first frame is decoded when a file is opened: sizes, rotation and colours are what it says. Frames that change
 * size in the middle of a file are scaled to the first one's size; pixels that are not square are made so; what is
 * transparent is black. */
#include "media/decode.h"

#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdlib.h>
#include <string.h>

#include "media/av.h"
#include "media/hdr.h"

struct hm_decoder {
    hm_far *far;          /* not NULL: another process decodes, of the rest only info counts */
    char path[4096];
    AVFormatContext *fmt;
    AVCodecContext *cc;
    AVFrame *frame;
    AVPacket *packet;
    struct SwsContext *sws;
    int stream;
    bool flushing, ahead; /* ahead: frame holds the next one already */
    bool holes;           /* not colours are wanted but where there are none */
    int w, h;             /* as coded, pixels made square */
    int turn[4];          /* frame (x, y) is shown at (turn[0] x + turn[2] y, turn[1] x + turn[3] y), each -1, 0, 1 */
    hm_hdr *hdr;          /* NULL: an ordinary film */
    hm_media_info info;
};

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
    const bool picture = strstr(d->fmt->iformat->name, "_pipe") || strstr(d->fmt->iformat->name, "image2");
    d->info = (hm_media_info){0, 0, 0, 1, 0, s->nb_frames};
    if (!picture && s->avg_frame_rate.num > 0) {
        d->info.fps_num = s->avg_frame_rate.num;
        d->info.fps_den = s->avg_frame_rate.den;
    }
    if (!picture && d->fmt->duration > 0) d->info.seconds = (double)d->fmt->duration / AV_TIME_BASE;
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

/* The next frame into d->frame. */
static himmel_status receive(hm_decoder *d, bool *done, himmel_error *err)
{
    *done = false;
    for (;;) {
        const int rc = avcodec_receive_frame(d->cc, d->frame);
        if (rc >= 0) return HIMMEL_OK;
        if (rc == AVERROR_EOF || (rc == AVERROR(EAGAIN) && d->flushing)) {
            *done = true;
            return HIMMEL_OK;
        }
        if (rc != AVERROR(EAGAIN)) return hm_av_fail(err, d->path, "cannot decode", rc);
        const himmel_status st = feed(d, err);
        if (st) return st;
    }
}

static bool has_alpha(const hm_decoder *d)
{
    const AVPixFmtDescriptor *pf = av_pix_fmt_desc_get(d->frame->format);
    return !d->hdr && pf && (pf->flags & AV_PIX_FMT_FLAG_ALPHA);
}

/* The display matrix of the frame (pictures) or the stream, NULL: none. */
static const int32_t *matrix_in(const hm_decoder *d)
{
    const AVFrameSideData *f = av_frame_get_side_data(d->frame, AV_FRAME_DATA_DISPLAYMATRIX);
    if (f && f->size >= 9 * sizeof(int32_t)) return (const int32_t *)f->data;
    const AVStream *s = d->fmt->streams[d->stream];
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
    const AVPacketSideData *p = av_packet_side_data_get(s->codecpar->coded_side_data, s->codecpar->nb_coded_side_data,
                                                        AV_PKT_DATA_DISPLAYMATRIX);
    return p && p->size >= 9 * sizeof(int32_t) ? (const int32_t *)p->data : NULL;
#else
    size_t n = 0;
    const uint8_t *p = av_stream_get_side_data(s, AV_PKT_DATA_DISPLAYMATRIX, &n);
    return p && n >= 9 * sizeof(int32_t) ? (const int32_t *)p : NULL;
#endif
}

/* Quarter turns and mirrors only; anything else is shown as it is coded. */
static void find_turn(hm_decoder *d)
{
    static const int at[4] = {0, 1, 3, 4};
    const int32_t *m = matrix_in(d);
    int t[4], sum = 0;
    for (int i = 0; i < 4; i++) {
        t[i] = !m ? i % 3 == 0 : m[at[i]] > 1 << 15 ? 1 : m[at[i]] < -(1 << 15) ? -1 : 0;
        sum += t[i] * t[i];
    }
    const bool good = sum == 2 && t[0] * t[0] == t[3] * t[3] && t[1] * t[1] == t[2] * t[2];
    for (int i = 0; i < 4; i++) d->turn[i] = good ? t[i] : i % 3 == 0;
}

/* What the first frame, in d->frame, says about the size that is shown. */
static himmel_status find_shape(hm_decoder *d, himmel_error *err)
{
    const AVFrame *f = d->frame;
    const AVRational sar = av_guess_sample_aspect_ratio(d->fmt, d->fmt->streams[d->stream], d->frame);
    const double wide = sar.num > 0 && sar.den > 0 ? (double)sar.num / sar.den : 1;
    d->w = f->width, d->h = f->height;
    if (wide > 1 && wide <= 4) d->w = (int)(d->w * wide + 0.5);
    if (wide < 1 && wide >= 0.25) d->h = (int)(d->h / wide + 0.5);
    if (d->w < 1 || d->h < 1 || d->w > HM_DECODE_MAX_SIDE || d->h > HM_DECODE_MAX_SIDE)
        return hm_fail(err, HIMMEL_EFORMAT, "%s: %dx%d pixels, must be 1..%d a side", d->path, d->w, d->h, HM_DECODE_MAX_SIDE);
    find_turn(d);
    d->info.width = d->turn[0] ? d->w : d->h, d->info.height = d->turn[0] ? d->h : d->w;
    const hm_hdr_kind kind = f->color_trc == AVCOL_TRC_SMPTE2084      ? HM_HDR_PQ
                             : f->color_trc == AVCOL_TRC_ARIB_STD_B67 ? HM_HDR_HLG
                                                                      : HM_HDR_NONE;
    if (kind != HM_HDR_NONE && !(d->hdr = hm_hdr_new(kind))) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", d->path);
    return HIMMEL_OK;
}

himmel_status hm_decoder_open(hm_decoder **out, const char *path, himmel_error *err)
{
    *out = NULL;
    hm_av_quiet();
    hm_decoder *d = calloc(1, sizeof *d);
    bool none = false;
    if (!d) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    himmel_status rc = hm_av_path(d->path, sizeof d->path, "", path, "", err);
    if (!rc) rc = hm_av_open(&d->fmt, d->path, err);
    if (!rc) rc = open_stream(d, err);
    if (!rc) rc = receive(d, &none, err);
    if (!rc && none) rc = hm_fail(err, HIMMEL_EFORMAT, "%s: no frame in it can be decoded", path);
    if (!rc) rc = find_shape(d, err);
    if (rc) {
        hm_decoder_free(d);
        return rc;
    }
    d->ahead = true;
    *out = d;
    return HIMMEL_OK;
}

himmel_status hm_decoder_open_by(hm_decoder **out, const hm_reader *by, const char *path, himmel_error *err)
{
    if (!by || !by->open) return hm_decoder_open(out, path, err);
    *out = NULL;
    hm_decoder *d = calloc(1, sizeof *d);
    if (!d) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    const himmel_status rc = hm_far_open(&d->far, by, path, &d->info, NULL, err);
    if (rc) hm_decoder_free(d);
    else *out = d;
    return rc;
}

void hm_decoder_free(hm_decoder *d)
{
    if (!d) return;
    hm_far_free(d->far);
    sws_freeContext(d->sws);
    avcodec_free_context(&d->cc);
    av_frame_free(&d->frame);
    av_packet_free(&d->packet);
    avformat_close_input(&d->fmt);
    hm_hdr_free(d->hdr);
    free(d);
}

const hm_media_info *hm_decoder_info(const hm_decoder *d)
{
    return &d->info;
}

const char *hm_decoder_tag(const hm_decoder *d, const char *key)
{
    if (d->far) return hm_far_tag(d->far, key);
    const AVDictionaryEntry *t = av_dict_get(d->fmt->metadata, key, NULL, 0);
    return t ? t->value : NULL;
}

void hm_decoder_key_frames(hm_decoder *d)
{
    if (d->far) hm_far_key_frames(d->far);
    else d->cc->skip_frame = AVDISCARD_NONKEY;
}

bool hm_decoder_holes(hm_decoder *d)
{
    if (d->far) return hm_far_holes(d->far);
    d->holes = true;
    return d->ahead && has_alpha(d);
}

/* The file's matrix where it says one, else bt.601 for pictures and small films, bt.709 for large ones. */
static int matrix_of(const hm_decoder *d, const AVFrame *f)
{
    if (f->colorspace == AVCOL_SPC_BT709) return SWS_CS_ITU709;
    if (f->colorspace == AVCOL_SPC_BT470BG || f->colorspace == AVCOL_SPC_SMPTE170M) return SWS_CS_ITU601;
    if (f->colorspace == AVCOL_SPC_BT2020_NCL) return SWS_CS_BT2020;
    return d->info.fps_num && f->height >= 720 ? SWS_CS_ITU709 : SWS_CS_ITU601;
}

/* Row y of the frame as coded (packed: 3 or 4 bytes a pixel) to where it is shown. */
static void put_row(const hm_decoder *d, const uint8_t *row, int bytes, int y, uint8_t *rgb)
{
    const int *t = d->turn, W = d->info.width;
    const int x0 = (t[0] < 0 ? d->w - 1 : 0) + (t[2] < 0 ? d->h - 1 : 0), y0 = (t[1] < 0 ? d->w - 1 : 0) + (t[3] < 0 ? d->h - 1 : 0);
    for (int x = 0; x < d->w; x++) {
        const uint8_t *from = row + (size_t)bytes * (size_t)x;
        uint8_t *to = rgb + 3 * ((size_t)(y0 + t[1] * x + t[3] * y) * (size_t)W + (size_t)(x0 + t[0] * x + t[2] * y));
        if (d->holes) memset(to, bytes == 3 || from[3] ? 0 : 255, 3);
        else if (bytes == 3) memcpy(to, from, 3);
        else for (int k = 0; k < 3; k++) to[k] = (uint8_t)((from[k] * from[3] + 127) / 255);
    }
}

/* d->frame as t, of the kind that is wanted and of the size as coded. */
static himmel_status convert(hm_decoder *d, AVFrame *t, himmel_error *err)
{
    const AVFrame *f = d->frame;
    const int flags = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_BITEXACT;
    d->sws = sws_getCachedContext(d->sws, f->width, f->height, f->format, d->w, d->h, t->format, flags, NULL, NULL, NULL);
    if (!d->sws) return hm_fail(err, HIMMEL_EFORMAT, "%s: its pixel format cannot be converted", d->path);
    const AVPixFmtDescriptor *pf = av_pix_fmt_desc_get(f->format);
    const int full = f->color_range == AVCOL_RANGE_JPEG || (pf && (pf->flags & AV_PIX_FMT_FLAG_RGB)) ||
                     f->format == AV_PIX_FMT_YUVJ420P || f->format == AV_PIX_FMT_YUVJ422P ||
                     f->format == AV_PIX_FMT_YUVJ444P;
    sws_setColorspaceDetails(d->sws, sws_getCoefficients(matrix_of(d, f)), full,
                             sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
    /* swscale may write whole vectors: it gets rows with room behind them */
    t->width = d->w, t->height = d->h;
    if (av_frame_get_buffer(t, 0) < 0) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", d->path);
    sws_scale(d->sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height, t->data, t->linesize);
    return HIMMEL_OK;
}

static himmel_status to_rgb(hm_decoder *d, uint8_t *rgb, himmel_error *err)
{
    const bool alpha = has_alpha(d), plain = d->turn[0] == 1 && d->turn[3] == 1 && !alpha && !d->holes;
    AVFrame *t = av_frame_alloc();
    uint8_t *row = d->hdr ? malloc(3 * (size_t)d->w) : NULL;
    himmel_status rc = t && (row || !d->hdr) ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", d->path);
    if (!rc) t->format = d->hdr ? AV_PIX_FMT_RGB48 : alpha ? AV_PIX_FMT_RGBA : AV_PIX_FMT_RGB24;
    if (!rc) rc = convert(d, t, err);
    for (int y = 0; !rc && y < d->h; y++) {
        const uint8_t *from = t->data[0] + (ptrdiff_t)y * t->linesize[0];
        if (d->hdr) hm_hdr_row(d->hdr, (const uint16_t *)(const void *)from, d->w, row);
        if (plain) memcpy(rgb + 3 * (size_t)y * (size_t)d->w, d->hdr ? row : from, 3 * (size_t)d->w);
        else put_row(d, d->hdr ? row : from, alpha ? 4 : 3, y, rgb);
    }
    free(row);
    av_frame_free(&t);
    return rc;
}

himmel_status hm_decoder_next(hm_decoder *d, uint8_t *rgb, double *seconds, bool *done, himmel_error *err)
{
    *done = false;
    if (d->far) return hm_far_next(d->far, rgb, seconds, done, err);
    himmel_status rc = d->ahead ? HIMMEL_OK : receive(d, done, err);
    d->ahead = false;
    if (rc || *done) return rc;
    const AVRational tb = d->fmt->streams[d->stream]->time_base;
    if (seconds)
        *seconds = d->frame->best_effort_timestamp == AV_NOPTS_VALUE
                       ? 0 : (double)d->frame->best_effort_timestamp * tb.num / tb.den;
    rc = rgb ? to_rgb(d, rgb, err) : HIMMEL_OK;
    av_frame_unref(d->frame);
    return rc;
}
