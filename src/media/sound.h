/* sound.h - the sound of films, read and written: 48 kHz, two channels, interleaved floats, -1..1.
 * SPDX-License-Identifier: MIT */
#ifndef HM_SOUND_H
#define HM_SOUND_H

#include "media/far.h"

enum { HM_SOUND_RATE = 48000 };

/* n samples from..from+n-1 of the film into lr [n][2]. Called with from ascending without gaps. */
typedef himmel_status hm_sound_fn(void *user, int64_t from, int n, float *lr, himmel_error *err);

/* The sound of a file; untrusted bytes as in decode.h. */
typedef struct hm_sound_in hm_sound_in;
/* HIMMEL_OK with *out NULL: there is none in it that can be decoded. */
himmel_status hm_sound_open(hm_sound_in **out, const char *path, himmel_error *err);
/* The same in the process that by leads to; NULL: here. */
himmel_status hm_sound_open_by(hm_sound_in **out, const hm_reader *by, const char *path, himmel_error *err);
void hm_sound_free(hm_sound_in *s); /* NULL is fine */
/* n samples from `at` on (in samples of the file's own clock, any order; forward is cheap) into lr [n][2]; where the file
 * has none or it is broken: silence. EFORMAT: the process that decodes it has ended. */
himmel_status hm_sound_read(hm_sound_in *s, int64_t at, int n, float *lr, himmel_error *err);

#endif
