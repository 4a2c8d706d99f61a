/* encode.c - frames to an H.264 MP4 file through libx264.   SPDX-License-Identifier: MIT
 *   frame -x264 (its own threads, beside the caller)-> packets -mov muxer-> PATH.part -rename-> PATH
 * Traps: the muxer's late write errors show only in pb->error and at closing; faststart reads the file again
 * through its url, so that must be the .part file's; "file:" in front keeps names like "a:b.mp4" from being
 * protocols. */
#include "media/encode.h"

#include <errno.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/encode_sound.h"

enum { ENCODER_THREADS = 4 }; /* a constant: part of what the bytes depend on */
static const char encoder_preset[] = "veryfast";

struct hm_encoder {
    char path[4096], part[4096 + 8];
    AVFormatContext *fmt;
    AVCodecContext *cc;
    AVStream *stream;
    AVFrame *frame;
    AVPacket *packet;
    hm_frame view;
    int64_t n_pushed;
    hm_encoder_sound *sound; /* NULL: none */
    bool file_open; /* PATH.part exists and is ours */
    hm_seal_fn *seal;
    void *seal_user;
    uint64_t bytes;
};

static himmel_status open_codec(hm_encoder *e, const hm_encoder_opts *o, himmel_error *err)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    if (!codec) return hm_fail(err, HIMMEL_EINTERNAL, "this libavcodec has no libx264 encoder");
    AVCodecContext *c = e->cc = avcodec_alloc_context3(codec);
    if (!c) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", e->path);
    c->width = o->width;
    c->height = o->height;
    c->time_base = (AVRational){o->fps_den, o->fps_num};
    c->framerate = (AVRational){o->fps_num, o->fps_den};
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    c->colorspace = AVCOL_SPC_BT709;
    c->color_range = AVCOL_RANGE_MPEG;
    c->chroma_sample_location = AVCHROMA_LOC_LEFT;
    c->sample_aspect_ratio = (AVRational){1, 1};
    c->thread_count = ENCODER_THREADS;
    c->gop_size = HM_MAX(1, 2 * o->fps_num / o->fps_den); /* a key frame every two seconds: quick seeking */
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    if (e->fmt->oformat->flags & AVFMT_GLOBALHEADER) c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    av_opt_set(c->priv_data, "preset", encoder_preset, 0);
    av_opt_set_double(c->priv_data, "crf", o->crf ? o->crf : HM_ENCODER_CRF, 0);
    /* soft skies band first: spend bits on flat areas; look-ahead short, as it costs memory of whole frames.
     * No mbtree: with B-frames x264 164's reads memory it never wrote (MALLOC_PERTURB_ changes the file), and
     * bytes must depend on pixels only */
    av_opt_set(c->priv_data, "x264-params", "aq-mode=3:mbtree=0:rc-lookahead=10:lookahead-threads=1", 0);
    const int rc = avcodec_open2(c, codec, NULL);
    return rc < 0 ? hm_av_fail(err, e->path, "cannot start the H.264 encoder", rc) : HIMMEL_OK;
}

static himmel_status open_file(hm_encoder *e, const hm_encoder_opts *o, himmel_error *err)
{
    e->stream = avformat_new_stream(e->fmt, NULL);
    if (!e->stream) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", e->path);
    e->stream->time_base = e->cc->time_base;
    e->stream->avg_frame_rate = e->cc->framerate;
    int rc = avcodec_parameters_from_context(e->stream->codecpar, e->cc);
    himmel_status st = rc >= 0 && o->sound ? hm_encoder_sound_new(&e->sound, e->fmt, e->path, o->sound, o->sound_user, err) : HIMMEL_OK;
    if (st) return st;
    e->fmt->flags |= AVFMT_FLAG_BITEXACT;
    for (size_t i = 0; rc >= 0 && i < o->n_tags; i++)
        rc = av_dict_set(&e->fmt->metadata, o->tags[i].key, o->tags[i].value, 0);
    if (rc < 0) return hm_av_fail(err, e->path, "cannot set up the file", rc);
    rc = avio_open(&e->fmt->pb, e->fmt->url, AVIO_FLAG_WRITE);
    if (rc < 0) return hm_av_fail(err, e->path, "cannot write", rc);
    e->file_open = true;
    AVDictionary *mux = NULL;
    av_dict_set(&mux, "movflags", "faststart+use_metadata_tags", 0);
    rc = avformat_write_header(e->fmt, &mux);
    av_dict_free(&mux);
    return rc < 0 ? hm_av_fail(err, e->path, "cannot write", rc) : HIMMEL_OK;
}

himmel_status hm_encoder_open(hm_encoder **out, const char *path, const hm_encoder_opts *opts,
                              himmel_error *err)
{
    *out = NULL;
    hm_av_quiet();
    char url[4096 + 16];
    struct stat st;
    if (!stat(path, &st) && !S_ISREG(st.st_mode))
        return hm_fail(err, HIMMEL_EIO, "%s: cannot write: there is something that is not a regular file",
                       path);
    hm_encoder *e = calloc(1, sizeof *e);
    if (!e) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    e->seal = opts->seal, e->seal_user = opts->seal_user;
    himmel_status rc = hm_av_path(e->path, sizeof e->path, "", path, "", err);
    if (!rc) rc = hm_av_path(e->part, sizeof e->part, "", path, ".part", err);
    if (!rc) rc = hm_av_path(url, sizeof url, "file:", e->part, "", err);
    if (!rc && avformat_alloc_output_context2(&e->fmt, NULL, "mp4", url) < 0)
        rc = hm_fail(err, HIMMEL_EINTERNAL, "%s: this libavformat cannot write MP4", path);
    if (!rc) rc = open_codec(e, opts, err);
    if (!rc) rc = open_file(e, opts, err);
    if (!rc && (!(e->frame = av_frame_alloc()) || !(e->packet = av_packet_alloc())))
        rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    if (rc) {
        hm_encoder_free(e);
        return rc;
    }
    *out = e;
    return HIMMEL_OK;
}

const hm_frame *hm_encoder_frame(hm_encoder *e, himmel_error *err)
{
    AVFrame *f = e->frame;
    if (!f->buf[0]) { /* the encoder keeps references to frames in flight; libav's pool gives them back */
        f->format = e->cc->pix_fmt;
        f->width = e->cc->width;
        f->height = e->cc->height;
        if (av_frame_get_buffer(f, 0) < 0) {
            hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory for a frame", e->path);
            return NULL;
        }
    }
    e->view = (hm_frame){HM_FRAME_YUV420, f->width, f->height, {f->data[0], f->data[1], f->data[2]},
                         {f->linesize[0], f->linesize[1], f->linesize[2]}};
    return &e->view;
}

/* Everything the encoder has ready goes to the file. */
static himmel_status drain(hm_encoder *e, himmel_error *err)
{
    for (;;) {
        int rc = avcodec_receive_packet(e->cc, e->packet);
        if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF) return HIMMEL_OK;
        if (rc < 0) return hm_av_fail(err, e->path, "the H.264 encoder failed", rc);
        e->packet->stream_index = e->stream->index;
        if (!e->packet->duration) e->packet->duration = 1;
        av_packet_rescale_ts(e->packet, e->cc->time_base, e->stream->time_base);
        rc = av_interleaved_write_frame(e->fmt, e->packet);
        if (rc >= 0 && e->fmt->pb->error < 0) rc = e->fmt->pb->error;
        if (rc < 0) return hm_av_fail(err, e->path, "cannot write", rc);
    }
}

/* Samples of sound that the frames so far want. */
static int64_t sound_samples(const hm_encoder *e)
{
    return av_rescale(e->n_pushed, (int64_t)e->cc->time_base.num * HM_SOUND_RATE, e->cc->time_base.den);
}

himmel_status hm_encoder_push(hm_encoder *e, himmel_error *err)
{
    e->frame->pts = e->n_pushed++;
    const int rc = avcodec_send_frame(e->cc, e->frame);
    av_frame_unref(e->frame);
    if (rc < 0) return hm_av_fail(err, e->path, "the H.264 encoder failed", rc);
    const himmel_status st = drain(e, err);
    return st || !e->sound ? st : hm_encoder_sound_until(e->sound, sound_samples(e), false, err);
}

/* avio's close reports a late write error (full disk) only here. */
static int close_file(hm_encoder *e)
{
    const int late = e->fmt->pb->error;
    const int rc = avio_closep(&e->fmt->pb);
    return late < 0 ? late : rc;
}

/* PATH.part through seal, written anew. */
static himmel_status seal_part(hm_encoder *e, himmel_error *err)
{
    hm_map map;
    uint8_t *sealed = NULL;
    size_t n;
    himmel_status rc = hm_map_open(&map, e->part, err);
    if (!rc) rc = e->seal(e->seal_user, map.data, map.len, &sealed, &n, err);
    hm_map_close(&map);
    if (!rc) rc = hm_write_file(e->part, sealed, n, err);
    free(sealed);
    return rc;
}

static himmel_status settle(hm_encoder *e, himmel_error *err)
{
    struct stat st;
    const himmel_status rc = e->seal ? seal_part(e, err) : HIMMEL_OK;
    if (rc) return rc;
    FILE *f = fopen(e->part, "rb+");
    const bool ok = f && !fsync(fileno(f)) && !fstat(fileno(f), &st);
    const int why = errno;
    if (f) fclose(f);
    if (!ok) return hm_fail(err, HIMMEL_EIO, "%s: cannot write: %s", e->path, strerror(why));
    e->bytes = (uint64_t)st.st_size;
    if (rename(e->part, e->path))
        return hm_fail(err, HIMMEL_EIO, "%s: cannot write: %s", e->path, strerror(errno));
    e->file_open = false;
    return HIMMEL_OK;
}

himmel_status hm_encoder_finish(hm_encoder *e, uint64_t *bytes, himmel_error *err)
{
    int rc = avcodec_send_frame(e->cc, NULL);
    if (rc < 0) return hm_av_fail(err, e->path, "the H.264 encoder failed", rc);
    himmel_status st = drain(e, err);
    if (!st && e->sound) st = hm_encoder_sound_until(e->sound, sound_samples(e), true, err);
    if (st) return st;
    rc = av_write_trailer(e->fmt);
    const int closed = close_file(e);
    if (rc < 0 || closed < 0) return hm_av_fail(err, e->path, "cannot write", rc < 0 ? rc : closed);
    st = settle(e, err);
    if (!st && bytes) *bytes = e->bytes;
    return st;
}

void hm_encoder_free(hm_encoder *e)
{
    if (!e) return;
    avcodec_free_context(&e->cc);
    hm_encoder_sound_free(e->sound);
    av_frame_free(&e->frame);
    av_packet_free(&e->packet);
    if (e->fmt && e->fmt->pb) avio_closep(&e->fmt->pb);
    avformat_free_context(e->fmt);
    if (e->file_open) unlink(e->part);
    free(e);
}
