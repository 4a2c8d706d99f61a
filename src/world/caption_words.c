/* caption_words.c - walks every string of a vocabulary.   SPDX-License-Identifier: MIT */
#include "world/caption_words.h"
#include <string.h>

typedef struct {
    hm_phrase_fn *fn;
    void *user;
} visitor;

static void visit(const visitor *v, hm_list list, hm_fact fact, int value, bool heard)
{
    for (; list && *list; list++) v->fn(v->user, fact, value, *list, heard);
}
static void visit_phrases(const visitor *v, const hm_phrases *p, int n, hm_fact fact)
{
    for (int i = 0; i < n; i++) {
        visit(v, p[i].tag, fact, i, false);
        visit(v, p[i].adv, fact, i, false);
        visit(v, p[i].say, fact, i, false);
        visit(v, p[i].hear, fact, i, true);
    }
}
static void visit_subject(const visitor *v, const hm_subject_words *s, int value)
{
    for (const hm_noun *n = s->nouns; n && (n->one || n->many); n++) {
        const char *forms[] = {n->one, n->many, n->to_many};
        for (size_t i = 0; i < HM_COUNT(forms); i++)
            if (forms[i]) v->fn(v->user, HM_FACT_SUBJECT, value, forms[i], false);
    }
    visit(v, s->verb_one, HM_N_FACTS, 0, false);
    visit(v, s->verb_many, HM_N_FACTS, 0, false);
    if (s->trim) v->fn(v->user, HM_N_FACTS, 0, s->trim, false);
    visit(v, s->hear, HM_FACT_SUBJECT, value, true);
}
/* An adjective in every German ending; English ones as they are. */
static void visit_adjective(const visitor *v, const char *stem, bool inflected, hm_fact fact, int value)
{
    static const char *const endings[] = {"", "e", "en", "er", "es", "em"};
    for (size_t i = 0; i < (inflected ? HM_COUNT(endings) : 1); i++) {
        char word[64]; /* plain copies: the parser comes here at every word */
        const size_t n = strlen(stem), k = strlen(endings[i]);
        if (n + k >= sizeof word) continue;
        memcpy(word, stem, n), memcpy(word + n, endings[i], k + 1);
        v->fn(v->user, fact, value, word, false);
    }
}
static void visit_connectors(const visitor *v, bool german)
{
    static const char *const en[] = {"with", "of", "the", NULL}, *const en_one[] = {"a", "an", NULL};
    static const char *const de[] = {"mit", "der", "die", "das", "den", "dem", NULL};
    static const char *const de_one[] = {"ein", "eine", "einen", "einem", "einer", NULL};
    visit(v, german ? de : en, HM_N_FACTS, 0, false);
    visit(v, german ? de_one : en_one, HM_FACT_COUNT, 1, false);
}

void hm_words_each(const hm_words *w, hm_phrase_fn *fn, void *user)
{
    const visitor v = {fn, user};
    const bool german = w == &hm_words_de;
    visit_phrases(&v, w->time, HM_N_TIMES, HM_FACT_TIME);
    visit_phrases(&v, w->weather, HM_N_WEATHERS, HM_FACT_WEATHER);
    visit_phrases(&v, w->camera, HM_N_CAMERAS, HM_FACT_CAMERA);
    visit_phrases(&v, w->pace, HM_N_PACES, HM_FACT_PACE);
    visit_phrases(&v, w->side, HM_N_SIDES, HM_FACT_SIDE);
    for (int i = 0; i < HM_N_PLACES; i++) {
        const hm_place_words *p = &w->place[i];
        const char *const preps[] = {p->over, p->on, p->by, NULL};
        visit(&v, p->noun, HM_FACT_PLACE, i, false);
        visit(&v, p->dative, HM_FACT_PLACE, i, false);
        visit(&v, p->adv, HM_FACT_PLACE, i, false);
        visit(&v, p->say, HM_FACT_PLACE, i, false);
        visit(&v, p->hear, HM_FACT_PLACE, i, true);
        visit(&v, preps, HM_N_FACTS, 0, false);
    }
    for (int i = 0; i < HM_N_SUBJECTS; i++) {
        visit_subject(&v, &w->subject[i], i);
        for (const hm_noun *n = w->subject[i].nouns; n && (n->one || n->many); n++)
            if (n->adj) visit_adjective(&v, n->adj, true, HM_N_FACTS, 0);
    }
    visit(&v, w->nothing, HM_FACT_SUBJECT, HM_SUBJECT_NONE, false);
    for (int i = 1; i < HM_N_COLOURS; i++)
        for (const hm_colour_word *c = w->colour[i]; c->word; c++)
            visit_adjective(&v, c->word, german && !c->fixed, HM_FACT_COLOUR, i);
    for (int i = 0; i < 5; i++) visit(&v, w->number[i], HM_FACT_COUNT, i, false);
    visit_connectors(&v, german);
    visit(&v, w->scene, HM_N_FACTS, 0, false);
    visit(&v, w->opener, HM_N_FACTS, 0, false);
    visit(&v, w->with, HM_N_FACTS, 0, false);
    visit(&v, w->whole, HM_N_FACTS, 0, false);
    visit(&v, w->ignore, HM_N_FACTS, 0, true);
}
