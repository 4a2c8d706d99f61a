/* caption.h - scenes in words, English and German, and words back to facts.   SPDX-License-Identifier: MIT */
#ifndef HM_CAPTION_H
#define HM_CAPTION_H

#include "world/scene.h"

typedef enum { HM_LANG_EN, HM_LANG_DE, HM_N_LANGS } hm_lang;

typedef struct {
    hm_lang lang;
    uint32_t say;   /* bit f: fact f may be mentioned (others are left out) */
} hm_caption_opts;
/* All facts that are worth saying about s (COLOUR only with a coloured subject, COUNT only where it can vary, ...). */
uint32_t hm_caption_sayable(const hm_scene *s);
/* A caption from the grammar: synonyms, order and style drawn from seed. Returns its length like snprintf; *said gets the
 * bit mask of facts that it states (a subset of opts->say & sayable; "camera still" and "real time" are mostly left unsaid). */
size_t hm_caption(char *buf, size_t cap, const hm_scene *s, const hm_caption_opts *opts, uint64_t seed, uint32_t *said);

/* Words -> facts: sets fact[f] for every fact the prompt states, returns their mask. */
uint32_t hm_caption_parse(const char *text, uint8_t fact[HM_N_FACTS]);
/* Every word the grammar can produce, both languages, lower case, sorted, NULL-terminated; static storage. */
const char *const *hm_lexicon(size_t *n);
/* The words of text that are neither in the lexicon nor function words; writes up to cap pointers+lengths, returns the
 * count. Of a long text both this and hm_caption_parse read the first 8 KiB. */
typedef struct { const char *at; size_t len; } hm_word;
size_t hm_unknown_words(const char *text, hm_word *out, size_t cap);

#endif
