/* encode_sound.c - sound to AAC packets of the file beside the frames.   SPDX-License-Identifier: MIT
 * libavcodec's own encoder, one thread, no clock: same samples, same bytes. */
#include "media/encode_sound.h"

#include <stdlib.h>

enum { BIT_RATE = 160000 };

struct hm_encoder_sound {
    AVFormatContext *fmt;
    const char *path;
    hm_sound_fn *fn;
    void *user;
    AVCodecContext *cc;
    AVStream *stream;
    AVPacket *packet;
    float *lr;
    int64_t done; /* samples sent */
};

#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 28, 100)
#define TWO_CHANNELS(x) ((x)->ch_layout = (AVChannelLayout)AV_CHANNEL_LAYOUT_STEREO)
#else
#define TWO_CHANNELS(x) ((x)->channels = 2, (x)->channel_layout = AV_CH_LAYOUT_STEREO)
#endif

static int open_codec(hm_encoder_sound *s, const AVCodec *codec)
{
    AVCodecContext *c = s->cc;
    c->sample_rate = HM_SOUND_RATE;
    c->sample_fmt = AV_SAMPLE_FMT_FLTP;
    c->bit_rate = BIT_RATE;
    c->thread_count = 1;
    c->time_base = (AVRational){1, HM_SOUND_RATE};
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    if (s->fmt->oformat->flags & AVFMT_GLOBALHEADER) c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    TWO_CHANNELS(c);
    int rc = avcodec_open2(c, codec, NULL);
    if (rc >= 0) rc = avcodec_parameters_from_context(s->stream->codecpar, c);
    s->stream->time_base = c->time_base;
    return rc;
}

himmel_status hm_encoder_sound_new(hm_encoder_sound **out, AVFormatContext *fmt, const char *path, hm_sound_fn *fn, void *user,
                                   himmel_error *err)
{
    *out = NULL;
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_AAC);
    if (!codec) return hm_fail(err, HIMMEL_EINTERNAL, "this libavcodec has no AAC encoder");
    hm_encoder_sound *s = calloc(1, sizeof *s);
    if (!s) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    s->fmt = fmt, s->path = path, s->fn = fn, s->user = user;
    s->cc = avcodec_alloc_context3(codec), s->stream = avformat_new_stream(fmt, NULL);
    s->packet = av_packet_alloc();
    int rc = s->cc && s->stream && s->packet ? 0 : AVERROR(ENOMEM);
    if (rc >= 0) rc = open_codec(s, codec);
    if (rc >= 0 && !(s->lr = malloc(2 * (size_t)s->cc->frame_size * sizeof *s->lr))) rc = AVERROR(ENOMEM);
    if (rc < 0) {
        hm_encoder_sound_free(s);
        return hm_av_fail(err, path, "cannot start the AAC encoder", rc);
    }
    *out = s;
    return HIMMEL_OK;
}

void hm_encoder_sound_free(hm_encoder_sound *s)
{
    if (!s) return;
    avcodec_free_context(&s->cc);
    av_packet_free(&s->packet);
    free(s->lr);
    free(s);
}

/* frame NULL: the end. */
static himmel_status send(hm_encoder_sound *s, const AVFrame *frame, himmel_error *err)
{
    int rc = avcodec_send_frame(s->cc, frame);
    while (rc >= 0) {
        rc = avcodec_receive_packet(s->cc, s->packet);
        if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF) return HIMMEL_OK;
        if (rc < 0) break;
        s->packet->stream_index = s->stream->index;
        av_packet_rescale_ts(s->packet, s->cc->time_base, s->stream->time_base);
        rc = av_interleaved_write_frame(s->fmt, s->packet);
        if (rc >= 0 && s->fmt->pb->error < 0) rc = s->fmt->pb->error;
        if (rc < 0) return hm_av_fail(err, s->path, "cannot write", rc);
    }
    return hm_av_fail(err, s->path, "the AAC encoder failed", rc);
}

/* The next n samples. */
static himmel_status send_samples(hm_encoder_sound *s, int n, himmel_error *err)
{
    AVFrame *f = av_frame_alloc();
    himmel_status rc = f ? s->fn(s->user, s->done, n, s->lr, err) : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", s->path);
    if (!rc) {
        f->nb_samples = n, f->format = AV_SAMPLE_FMT_FLTP, f->sample_rate = HM_SOUND_RATE, f->pts = s->done;
        TWO_CHANNELS(f);
        if (av_frame_get_buffer(f, 0) < 0) rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory for sound", s->path);
    }
    for (int i = 0; !rc && i < 2 * n; i++) ((float *)(void *)f->data[i % 2])[i / 2] = s->lr[i];
    s->done += n;
    if (!rc) rc = send(s, f, err);
    av_frame_free(&f);
    return rc;
}

himmel_status hm_encoder_sound_until(hm_encoder_sound *s, int64_t end, bool last, himmel_error *err)
{
    const int whole = s->cc->frame_size;
    himmel_status rc = HIMMEL_OK;
    while (!rc && s->done < end && (last || s->done + whole <= end)) rc = send_samples(s, (int)HM_MIN(end - s->done, (int64_t)whole), err);
    return rc || !last ? rc : send(s, NULL, err);
}
