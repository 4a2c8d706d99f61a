/* encode_sound.h - the sound of a film that is being written.   SPDX-License-Identifier: MIT */
#ifndef HM_ENCODE_SOUND_H
#define HM_ENCODE_SOUND_H

#include "media/av.h"
#include "media/sound.h"

typedef struct hm_encoder_sound hm_encoder_sound;
/* A stream for AAC in fmt, before its header is written. path: of messages, borrowed as fmt is. */
himmel_status hm_encoder_sound_new(hm_encoder_sound **out, AVFormatContext *fmt, const char *path, hm_sound_fn *fn, void *user,
                                   himmel_error *err);
void hm_encoder_sound_free(hm_encoder_sound *s); /* NULL is fine */
/* Asks for and writes what is missing up to sample `end`; last: all of it, else whole AAC frames. */
himmel_status hm_encoder_sound_until(hm_encoder_sound *s, int64_t end, bool last, himmel_error *err);

#endif
