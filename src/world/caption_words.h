/* caption_words.h - the vocabulary that generator, parser and lexicon share.   SPDX-License-Identifier: MIT
 * Lists end with NULL. In hear-lists (for the parser only): "word*" matches any ending, "?" any one word, and a leading
 * "~" marks a weak hint, which holds only where the text says nothing stronger about the fact. */
#ifndef HM_CAPTION_WORDS_H
#define HM_CAPTION_WORDS_H

#include "world/caption.h"

typedef const char *const *hm_list;
#define HM_LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

/* How to say one value of time, weather, camera, pace, side. */
typedef struct {
    hm_list tag;  /* nominative noun phrases for lists: "sunset", "a clear sky" */
    hm_list adv;  /* adverbials for sentences: "at sunset" */
    hm_list say;  /* whole sentences, without capital and full stop: "the sun is setting" */
    hm_list hear; /* further ways to understand it */
} hm_phrases;

/* A place: noun phrases with article where they have one; German datives in the same order. */
typedef struct {
    hm_list noun, dative;
    const char *over, *on, *by; /* preposition for what is in the air, on the water, on the ground */
    hm_list adv, say, hear;
} hm_place_words;

typedef enum { HM_MASC, HM_FEM, HM_NEUT } hm_gender;
typedef struct {
    const char *adj;        /* German: stem of a fixed adjective, inflected with the colour ("aufgehend") */
    const char *one, *many; /* singular, plural (NULL: has none) */
    const char *to_many;    /* German dative plural */
    hm_gender gender;
    bool only_noun;         /* cannot have a verb: "moonrise" */
} hm_noun;
typedef enum { HM_IN_AIR, HM_ON_WATER, HM_ON_GROUND } hm_where;
typedef struct {
    const hm_noun *nouns; /* ends with one of no forms */
    hm_list verb_one, verb_many; /* in the same order */
    hm_where where;
    const char *trim; /* dative plural of what carries the colour: "sails", "Segeln"; NULL: none */
    hm_list hear;
} hm_subject_words;

typedef struct {
    const char *word;  /* adjective or its German stem */
    bool fixed;        /* German: not inflected (lila, rosa) */
} hm_colour_word;

typedef struct {
    hm_phrases time[HM_N_TIMES], weather[HM_N_WEATHERS], camera[HM_N_CAMERAS], pace[HM_N_PACES], side[HM_N_SIDES];
    hm_place_words place[HM_N_PLACES];
    hm_subject_words subject[HM_N_SUBJECTS];
    hm_list nothing;                      /* that there is no subject */
    hm_colour_word colour[HM_N_COLOURS][3]; /* ends with word NULL */
    hm_list number[5];                    /* 0: many; 1..4 */
    hm_list scene;                        /* heads of phrases that name neither subject nor place: "the sky" */
    hm_list opener;                       /* "a film of" + noun phrase (German: nominative after a colon) */
    hm_list with;                         /* "a film with" + noun phrase (German: dative) */
    hm_list whole;                        /* captions that say nothing */
    hm_list ignore;                       /* patterns that mean no fact though a part of them would */
} hm_words;

extern const hm_words hm_words_en, hm_words_de;

/* Every string of a language's tables, for lexicon and parser. place: which fact and value it states, HM_N_FACTS: none;
 * heard: from a hear-list (patterns, never generated). */
typedef void hm_phrase_fn(void *user, hm_fact fact, int value, const char *text, bool heard);
void hm_words_each(const hm_words *w, hm_phrase_fn *fn, void *user);

#endif
