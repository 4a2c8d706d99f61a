/* synth.h - the sound of a skyscape, from its words.   SPDX-License-Identifier: MIT */
#ifndef HM_SYNTH_H
#define HM_SYNTH_H

#include "film/canvas.h"

typedef struct {
    float wind, sea, rain, thunder, night; /* 0 .. 1 */
} hm_sound_mix;

/* prompt.c: what a prompt sounds like; of nothing said, a soft wind. */
hm_sound_mix hm_prompt_sound(const char *prompt);

typedef struct hm_synth hm_synth;
/* words as in hm_canvas_opts, borrowed. The sound of words changes to that of the next ones within two seconds. Same words
 * and seed, same samples. */
himmel_status hm_synth_new(hm_synth **out, const hm_words *words, size_t n_words, uint64_t seed, himmel_error *err);
void hm_synth_free(hm_synth *s); /* NULL is fine */
/* The next n samples into lr [n][2], HM_SOUND_RATE a second. */
void hm_synth_read(hm_synth *s, int n, float *lr);

#endif
