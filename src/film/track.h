/* track.h - the sound of an edit: the clips' own where they are shown, elsewhere what the words sound like.
 * SPDX-License-Identifier: MIT */
#ifndef HM_TRACK_H
#define HM_TRACK_H

#include "film/edit.h"
#include "film/synth.h"
#include "media/sound.h"

typedef struct hm_track hm_track;
/* *out NULL: the film has no sound (none of its inputs has, and request.sound is 0). d is borrowed. */
himmel_status hm_track_new(hm_track **out, const hm_edit *d, himmel_error *err);
void hm_track_free(hm_track *t); /* NULL is fine */
himmel_status hm_track_read(void *track, int64_t from, int n, float *lr, himmel_error *err); /* a hm_sound_fn */

#endif
