/* encode.h - frames, and sound if there is some, to an H.264 MP4 file.   SPDX-License-Identifier: MIT
 * yuv420p, bt.709, limited range, index in front; written to PATH.part and renamed when complete. Same
 * frames, same options, same bytes: the encoder's threads are a constant (x264's output depends on them) and
 * no clock goes in. */
#ifndef HM_ENCODE_H
#define HM_ENCODE_H

#include "media/scale.h"
#include "media/sound.h"

enum { HM_ENCODER_CRF = 19 };

typedef struct { const char *key, *value; } hm_tag;

/* A finished file's bytes on their way to its name: *out (malloc'ed, the caller's) takes their place. */
typedef himmel_status hm_seal_fn(void *user, const uint8_t *in, size_t n, uint8_t **out, size_t *n_out,
                                 himmel_error *err);

typedef struct {
    int width, height;      /* even */
    int fps_num, fps_den;
    int crf;                /* H.264 rate factor; 0: HM_ENCODER_CRF */
    const hm_tag *tags;     /* metadata of the file, copied */
    size_t n_tags;
    hm_seal_fn *seal;       /* may be NULL */
    void *seal_user;
    hm_sound_fn *sound;     /* AAC beside the frames; NULL: a silent film */
    void *sound_user;
} hm_encoder_opts;

typedef struct hm_encoder hm_encoder;
himmel_status hm_encoder_open(hm_encoder **out, const char *path, const hm_encoder_opts *opts,
                              himmel_error *err);
/* The frame to fill next (YUV420); valid until push. NULL with err set when there is no memory. */
const hm_frame *hm_encoder_frame(hm_encoder *e, himmel_error *err);
himmel_status hm_encoder_push(hm_encoder *e, himmel_error *err);
/* Write what is left and rename into place; *bytes (may be NULL) = the file's size. e must still be freed. */
himmel_status hm_encoder_finish(hm_encoder *e, uint64_t *bytes, himmel_error *err);
/* Before finish: stops and deletes PATH.part. NULL is fine. */
void hm_encoder_free(hm_encoder *e);
/* "libavcodec 59.37, libx264" */
const char *hm_media_version(void);

#endif
