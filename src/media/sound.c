/* sound.c - the sound of a file as 48 kHz stereo.   SPDX-License-Identifier: MIT
 *   demuxer -> packets -decoder-> frame -swresample-> floats, placed by their times
 * Only samples around the place that is read are held. A jump of the file's times by more than a tenth of a second is a
 * gap; less is rounding. */
#include "media/sound.h"

#include <libswresample/swresample.h>
#include <stdlib.h>
#include <string.h>

#include "media/av.h"

enum { MAX_HELD = 8 * HM_SOUND_RATE };

struct hm_sound_in {
    hm_far *far;      /* not NULL: another process decodes, the rest is not used */
    char path[4096];
    AVFormatContext *fmt;
    AVCodecContext *cc;
    AVFrame *frame;
    AVPacket *packet;
    SwrContext *swr;
    int stream;
    bool flushing, ended;
    float *held;      /* [n][2] samples from.. */
    int64_t from;
    int n, cap;
    bool placed;      /* from is known */
};

static void close_file(hm_sound_in *s)
{
    swr_free(&s->swr);
    avcodec_free_context(&s->cc);
    av_frame_free(&s->frame);
    av_packet_free(&s->packet);
    avformat_close_input(&s->fmt);
    s->flushing = s->ended = s->placed = false;
    s->n = 0;
}

/* s->cc stays NULL if there is no sound that can be decoded. */
static himmel_status open_file(hm_sound_in *s, himmel_error *err)
{
    const AVCodec *codec = NULL;
    himmel_status rc = hm_av_open(&s->fmt, s->path, err);
    if (rc) return rc;
    s->stream = av_find_best_stream(s->fmt, AVMEDIA_TYPE_AUDIO, -1, -1, &codec, 0);
    if (s->stream < 0 || !codec) return HIMMEL_OK;
    s->cc = avcodec_alloc_context3(codec), s->frame = av_frame_alloc(), s->packet = av_packet_alloc();
    if (!s->cc || !s->frame || !s->packet) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", s->path);
    if (avcodec_parameters_to_context(s->cc, s->fmt->streams[s->stream]->codecpar) < 0 || avcodec_open2(s->cc, codec, NULL) < 0)
        avcodec_free_context(&s->cc);
    return HIMMEL_OK;
}

himmel_status hm_sound_open(hm_sound_in **out, const char *path, himmel_error *err)
{
    *out = NULL;
    hm_av_quiet();
    hm_sound_in *s = calloc(1, sizeof *s);
    if (!s) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    himmel_status rc = hm_av_path(s->path, sizeof s->path, "", path, "", err);
    if (!rc) rc = open_file(s, err);
    if (rc || !s->cc) hm_sound_free(s);
    else *out = s;
    return rc;
}

himmel_status hm_sound_open_by(hm_sound_in **out, const hm_reader *by, const char *path, himmel_error *err)
{
    bool none = false;
    if (!by || !by->open) return hm_sound_open(out, path, err);
    *out = NULL;
    hm_sound_in *s = calloc(1, sizeof *s);
    if (!s) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    const himmel_status rc = hm_far_open(&s->far, by, path, NULL, &none, err);
    if (rc || none) hm_sound_free(s);
    else *out = s;
    return rc;
}

void hm_sound_free(hm_sound_in *s)
{
    if (!s) return;
    hm_far_free(s->far);
    close_file(s);
    free(s->held);
    free(s);
}

/* Room for more samples behind the held ones; NULL: no memory. */
static float *room(hm_sound_in *s, int more)
{
    if (s->n + more > s->cap) {
        const int cap = 2 * (s->n + more);
        float *held = realloc(s->held, 2 * (size_t)cap * sizeof *held);
        if (!held) return NULL;
        s->held = held, s->cap = cap;
    }
    return s->held + 2 * (size_t)s->n;
}

/* s->frame behind what is held. */
static bool take_frame(hm_sound_in *s)
{
    AVFrame *f = s->frame;
    if (!s->swr) {
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 28, 100)
        AVChannelLayout two = AV_CHANNEL_LAYOUT_STEREO;
        if (swr_alloc_set_opts2(&s->swr, &two, AV_SAMPLE_FMT_FLT, HM_SOUND_RATE, &f->ch_layout, f->format, f->sample_rate, 0,
                                NULL) < 0) return false;
#else
        s->swr = swr_alloc_set_opts(NULL, AV_CH_LAYOUT_STEREO, AV_SAMPLE_FMT_FLT, HM_SOUND_RATE,
                                    av_get_default_channel_layout(f->channels), f->format, f->sample_rate, 0, NULL);
#endif
        if (!s->swr || swr_init(s->swr) < 0) return false;
    }
    if (f->best_effort_timestamp != AV_NOPTS_VALUE) {
        const AVRational tb = s->fmt->streams[s->stream]->time_base;
        const int64_t at = av_rescale(f->best_effort_timestamp, (int64_t)tb.num * HM_SOUND_RATE, tb.den);
        if (!s->placed || llabs(at - (s->from + s->n)) > HM_SOUND_RATE / 10) s->from = at, s->n = 0;
    }
    s->placed = true;
    float *to = room(s, swr_get_out_samples(s->swr, f->nb_samples));
    if (!to) return false;
    const int n = swr_convert(s->swr, (uint8_t *[]){(uint8_t *)to}, s->cap - s->n, (const uint8_t **)f->extended_data,
                              f->nb_samples);
    s->n += HM_MAX(n, 0);
    return n >= 0;
}

/* One more frame, or ended. */
static void more(hm_sound_in *s)
{
    const int rc = avcodec_receive_frame(s->cc, s->frame);
    if (rc >= 0) {
        if (!take_frame(s)) s->ended = true;
        av_frame_unref(s->frame);
    } else if (rc != AVERROR(EAGAIN) || s->flushing) {
        s->ended = true;
    } else {
        int got;
        while ((got = av_read_frame(s->fmt, s->packet)) >= 0 && s->packet->stream_index != s->stream) av_packet_unref(s->packet);
        s->flushing = got < 0;
        const int sent = avcodec_send_packet(s->cc, got < 0 ? NULL : s->packet);
        av_packet_unref(s->packet);
        if (sent < 0 && sent != AVERROR(EAGAIN) && sent != AVERROR_INVALIDDATA) s->ended = true;
    }
}

static void read_here(hm_sound_in *s, int64_t at, int n, float *lr)
{
    memset(lr, 0, 2 * (size_t)n * sizeof *lr);
    if (s->placed && at < s->from) { /* back: from the start again */
        close_file(s);
        if (open_file(s, NULL) || !s->cc) s->ended = true;
    }
    for (int i = 0; i < n;) {
        if (s->placed && s->n && at + i < s->from) i += (int)HM_MIN(s->from - at - i, (int64_t)(n - i));
        else if (at + i < s->from + s->n && s->placed) {
            const int64_t k = at + i - s->from;
            const int here = (int)HM_MIN((int64_t)(n - i), s->n - k);
            memcpy(lr + 2 * i, s->held + 2 * k, 2 * (size_t)here * sizeof *lr);
            i += here;
        } else if (s->ended) {
            return;
        } else {
            if (s->n > MAX_HELD / 2 || (s->placed && s->from + s->n <= at)) s->from += s->n, s->n = 0;
            more(s);
        }
    }
}

himmel_status hm_sound_read(hm_sound_in *s, int64_t at, int n, float *lr, himmel_error *err)
{
    if (s->far) return hm_far_sound(s->far, at, n, lr, err);
    read_here(s, at, n, lr);
    return HIMMEL_OK;
}
