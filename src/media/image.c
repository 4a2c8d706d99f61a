/* image.c - pictures to PNG, JPEG and WebP files, with metadata.   SPDX-License-Identifier: MIT
 *   RGB8 -swscale-> codec's pixels -libavcodec-> bytes -tags inserted-> PATH.part -rename-> PATH
 * libavcodec writes no metadata into pictures, so tags go in here: PNG iTXt chunks behind IHDR (PNG
 * spec 11.3.4.5), a JPEG COM segment behind SOI (T.81 B.2.4.5), an extended WebP container with an XMP chunk
 * (RFC 9649 2.7). */
#include "media/image.h"

#include <libavutil/crc.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "media/av.h"

typedef struct {
    const char *ending, *codec;
    enum AVPixelFormat pixels;
} image_kind;

static const image_kind kinds[] = {{".png", "png", AV_PIX_FMT_RGB24},
                                   {".jpg", "mjpeg", AV_PIX_FMT_YUVJ444P},
                                   {".jpeg", "mjpeg", AV_PIX_FMT_YUVJ444P},
                                   {".webp", "libwebp", AV_PIX_FMT_YUV420P}};

bool hm_has_ending(const char *path, const char *ending)
{
    const size_t n = strlen(path), e = strlen(ending);
    return n > e && !strcasecmp(path + n - e, ending);
}

static const image_kind *kind_of(const char *path)
{
    for (size_t i = 0; i < HM_COUNT(kinds); i++)
        if (hm_has_ending(path, kinds[i].ending)) return &kinds[i];
    return NULL;
}

bool hm_image_writable(const char *path)
{
    return kind_of(path) != NULL;
}

/* ---- growing bytes ---- */

typedef struct {
    uint8_t *data;
    size_t len, cap;
    bool failed;
} bytes;

static void put(bytes *b, const void *p, size_t n)
{
    if (b->len + n > b->cap) {
        const size_t cap = 2 * (b->len + n) + 256;
        uint8_t *d = realloc(b->data, cap);
        if (!d) b->failed = true;
        else b->data = d, b->cap = cap;
    }
    if (b->failed || !n) return;
    memcpy(b->data + b->len, p, n);
    b->len += n;
}

static void put_str(bytes *b, const char *s)
{
    put(b, s, strlen(s));
}

static void put_be32(bytes *b, uint32_t v)
{
    put(b, (uint8_t[]){(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v}, 4);
}

static void put_le32(bytes *b, uint32_t v)
{
    put(b, (uint8_t[]){(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)}, 4);
}

/* ---- tags into each container ---- */

static void tags_png(bytes *out, const uint8_t *d, size_t n, const hm_tag *tags, size_t n_tags)
{
    enum { HEAD = 8 + 25 }; /* signature and IHDR */
    put(out, d, HEAD);
    for (size_t i = 0; i < n_tags; i++) {
        bytes c = {0};
        put_str(&c, "iTXt");
        put(&c, tags[i].key, HM_MIN(strlen(tags[i].key), (size_t)79));
        put(&c, "\0\0\0\0\0", 5); /* end of keyword, not compressed, method, no language, no translation */
        put_str(&c, tags[i].value);
        if (c.failed) out->failed = true;
        else {
            const uint32_t crc =
                av_crc(av_crc_get_table(AV_CRC_32_IEEE_LE), UINT32_MAX, c.data, c.len) ^ UINT32_MAX;
            put_be32(out, (uint32_t)(c.len - 4));
            put(out, c.data, c.len);
            put_be32(out, crc);
        }
        free(c.data);
    }
    put(out, d + HEAD, n - HEAD);
}

static void tags_jpeg(bytes *out, const uint8_t *d, size_t n, const hm_tag *tags, size_t n_tags)
{
    bytes c = {0};
    for (size_t i = 0; i < n_tags; i++) {
        put_str(&c, tags[i].key);
        put_str(&c, ": ");
        put_str(&c, tags[i].value);
        put_str(&c, "\n");
    }
    const size_t len = HM_MIN(c.len, (size_t)65533);
    out->failed |= c.failed;
    put(out, d, 2);
    if (len) {
        put(out, (uint8_t[]){0xff, 0xfe, (uint8_t)((len + 2) >> 8), (uint8_t)(len + 2)}, 4);
        put(out, c.data, len);
    }
    put(out, d + 2, n - 2);
    free(c.data);
}

static void put_xml(bytes *b, const char *s)
{
    for (; *s; s++) {
        if (*s == '<') put_str(b, "&lt;");
        else if (*s == '&') put_str(b, "&amp;");
        else if ((unsigned char)*s >= 32 || *s == '\n') put(b, s, 1);
    }
}

static void tags_webp(bytes *out, const uint8_t *d, size_t n, const hm_tag *tags, size_t n_tags, int w, int h)
{
    bytes x = {0};
    put_str(&x, "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF "
                "xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">"
                "<rdf:Description rdf:about=\"\" xmlns:h=\"urn:himmel\">");
    for (size_t i = 0; i < n_tags; i++) {
        put_str(&x, "<h:");
        put_str(&x, tags[i].key);
        put_str(&x, ">");
        put_xml(&x, tags[i].value);
        put_str(&x, "</h:");
        put_str(&x, tags[i].key);
        put_str(&x, ">");
    }
    put_str(&x, "</rdf:Description></rdf:RDF></x:xmpmeta>");
    out->failed |= x.failed;
    const size_t body = n - 12, pad = x.len & 1;
    put_str(out, "RIFF");
    put_le32(out, (uint32_t)(4 + 18 + body + 8 + x.len + pad));
    put_str(out, "WEBPVP8X");
    put_le32(out, 10);
    const uint32_t cw = (uint32_t)w - 1, ch = (uint32_t)h - 1;
    put(out, (uint8_t[]){0x04, 0, 0, 0, (uint8_t)cw, (uint8_t)(cw >> 8), (uint8_t)(cw >> 16), (uint8_t)ch,
                         (uint8_t)(ch >> 8), (uint8_t)(ch >> 16)}, 10);
    put(out, d + 12, body);
    put_str(out, "XMP ");
    put_le32(out, (uint32_t)x.len);
    put(out, x.data, x.len);
    put(out, "", pad);
    free(x.data);
}

/* ---- encoding ---- */

static himmel_status fill(AVFrame *f, const hm_frame *rgb, const char *path, himmel_error *err)
{
    const bool same = f->format == AV_PIX_FMT_RGB24;
    const int full = f->format == AV_PIX_FMT_YUVJ444P;
    struct SwsContext *s =
        sws_getContext(rgb->w, rgb->h, AV_PIX_FMT_RGB24, rgb->w, rgb->h, f->format,
                       SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP | SWS_BITEXACT, NULL, NULL, NULL);
    if (!s) return hm_fail(err, HIMMEL_EINTERNAL, "%s: pixels cannot be converted", path);
    if (!same) /* JPEG and WebP pictures are bt.601 by their standards */
        sws_setColorspaceDetails(s, sws_getCoefficients(SWS_CS_ITU601), 1, sws_getCoefficients(SWS_CS_ITU601),
                                 full, 0, 1 << 16, 1 << 16);
    sws_scale(s, (const uint8_t *const[]){rgb->plane[0], NULL, NULL, NULL},
              (const int[]){rgb->stride[0], 0, 0, 0}, 0, rgb->h, f->data, f->linesize);
    sws_freeContext(s);
    return HIMMEL_OK;
}

/* mjpeg counts from 2, nearly lossless, to 31; libwebp from 0 to 100, best. */
static int lambda(const image_kind *k, int quality)
{
    if (k->pixels == AV_PIX_FMT_YUV420P) return (quality ? quality : 92) * FF_QP2LAMBDA;
    return (quality ? 2 + (100 - quality) * 29 / 99 : 2) * FF_QP2LAMBDA;
}

static himmel_status encode(const image_kind *k, const char *path, const hm_frame *rgb, int quality, AVPacket *packet,
                            himmel_error *err)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(k->codec);
    if (!codec)
        return hm_fail(err, HIMMEL_EINTERNAL, "%s: this libavcodec has no %s encoder", path, k->codec);
    AVCodecContext *c = avcodec_alloc_context3(codec);
    AVFrame *f = av_frame_alloc();
    himmel_status st = HIMMEL_OK;
    int rc = c && f ? 0 : AVERROR(ENOMEM);
    if (rc >= 0) {
        c->width = f->width = rgb->w;
        c->height = f->height = rgb->h;
        c->pix_fmt = f->format = k->pixels;
        c->time_base = (AVRational){1, 25};
        c->color_range = f->color_range =
            k->pixels == AV_PIX_FMT_YUV420P ? AVCOL_RANGE_MPEG : AVCOL_RANGE_JPEG;
        c->thread_count = 1;
        c->flags |= AV_CODEC_FLAG_BITEXACT | AV_CODEC_FLAG_QSCALE;
        c->global_quality = f->quality = lambda(k, quality);
        rc = avcodec_open2(c, codec, NULL);
    }
    if (rc >= 0) rc = av_frame_get_buffer(f, 0);
    if (rc >= 0) st = fill(f, rgb, path, err);
    if (rc >= 0 && !st) rc = avcodec_send_frame(c, f);
    if (rc >= 0 && !st) rc = avcodec_send_frame(c, NULL);
    if (rc >= 0 && !st) rc = avcodec_receive_packet(c, packet);
    av_frame_free(&f);
    avcodec_free_context(&c);
    return st ? st : rc < 0 ? hm_av_fail(err, path, "cannot encode the picture", rc) : HIMMEL_OK;
}

himmel_status hm_image_write(const char *path, const hm_frame *rgb, const hm_tag *tags, size_t n_tags,
                             uint64_t *n_bytes, himmel_error *err)
{
    return hm_image_write_as(path, rgb, &(hm_image_opts){.tags = tags, .n_tags = n_tags}, n_bytes, err);
}

/* Pass out through seal. */
static himmel_status seal_bytes(bytes *out, hm_seal_fn *seal, void *user, himmel_error *err)
{
    uint8_t *sealed;
    size_t n;
    const himmel_status rc = seal(user, out->data, out->len, &sealed, &n, err);
    if (rc) return rc;
    free(out->data);
    out->data = sealed, out->len = n;
    return HIMMEL_OK;
}

himmel_status hm_image_write_as(const char *path, const hm_frame *rgb, const hm_image_opts *o, uint64_t *n_bytes, himmel_error *err)
{
    const image_kind *k = kind_of(path);
    struct stat st;
    if (!k) return hm_fail(err, HIMMEL_EINVAL, "%s: pictures end in .png, .jpg, .jpeg or .webp", path);
    if (!stat(path, &st) && !S_ISREG(st.st_mode))
        return hm_fail(err, HIMMEL_EIO, "%s: cannot write: there is something that is not a regular file",
                       path);
    hm_av_quiet();
    AVPacket *packet = av_packet_alloc();
    if (!packet) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    himmel_status rc = encode(k, path, rgb, o->quality, packet, err);
    bytes out = {0};
    if (!rc && packet->size < 40)
        rc = hm_fail(err, HIMMEL_EINTERNAL, "%s: the encoder gave only %d bytes", path, packet->size);
    if (!rc) {
        const size_t n = (size_t)packet->size;
        if (k->pixels == AV_PIX_FMT_RGB24) tags_png(&out, packet->data, n, o->tags, o->n_tags);
        else if (k->pixels == AV_PIX_FMT_YUV420P)
            tags_webp(&out, packet->data, n, o->tags, o->n_tags, rgb->w, rgb->h);
        else tags_jpeg(&out, packet->data, n, o->tags, o->n_tags);
        if (out.failed) rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    }
    if (!rc && o->seal) rc = seal_bytes(&out, o->seal, o->seal_user, err);
    if (!rc) rc = hm_write_file(path, out.data, out.len, err);
    if (!rc && n_bytes) *n_bytes = out.len;
    free(out.data);
    av_packet_free(&packet);
    return rc;
}
