/* caption.c - scenes in words: frames (lists, phrases, sentences) filled from the vocabulary.
 * SPDX-License-Identifier: MIT
 * Four frames: a list of tags; a phrase around a head ("a film of two red balloons over a calm sea"); a
 * sentence with a verb (German: the verb is second); small sentences side by side. Facts that the frame has
 * no room for are left unsaid, and *said tells. */
#include "world/caption.h"
#include <string.h>
#include "base/rng.h"
#include "world/caption_words.h"

enum { PIECE = 160, MAX_PIECES = 8, TEXT = 1200 };
typedef enum { NOM, ACC, DAT } gram_case;
typedef struct {
    const hm_words *w;
    const uint8_t *fact;
    bool german;
    uint32_t say, said;
    hm_rng r;
} gen;
typedef struct {
    char text[MAX_PIECES][PIECE];
    unsigned n;
} pieces;

static bool chance(gen *g, unsigned percent) { return hm_rng_below(&g->r, 100) < percent; }
static const char *one_of(gen *g, hm_list list)
{
    unsigned n = 0;
    while (list[n]) n++;
    return list[hm_rng_below(&g->r, n)];
}
static bool wants(const gen *g, hm_fact f) { return g->say >> f & 1; }
static void state(gen *g, hm_fact f) { g->said |= 1u << f; }
static bool has_subject(const gen *g)
{
    return wants(g, HM_FACT_SUBJECT) && g->fact[HM_FACT_SUBJECT] != HM_SUBJECT_NONE;
}
static const hm_subject_words *subject_of(const gen *g) { return &g->w->subject[g->fact[HM_FACT_SUBJECT]]; }

static unsigned max_count(unsigned subject)
{
    switch (subject) {
    case HM_SUBJECT_BALLOON:
    case HM_SUBJECT_BOAT:
    case HM_SUBJECT_LANTERNS: return 4;
    case HM_SUBJECT_KITE: return 3;
    default: return 0; /* always one, or not to be counted */
    }
}

uint32_t hm_caption_sayable(const hm_scene *s)
{
    const unsigned subject = s->fact[HM_FACT_SUBJECT];
    uint32_t m = (1u << HM_N_FACTS) - 1;
    if (!s->fact[HM_FACT_COLOUR]) m &= ~(1u << HM_FACT_COLOUR);
    if (!max_count(subject)) m &= ~(1u << HM_FACT_COUNT);
    if (subject == HM_SUBJECT_NONE || subject == HM_SUBJECT_SHOOTING_STARS) m &= ~(1u << HM_FACT_SIDE);
    return m;
}

/* ---- noun phrases ---- */

static const char *without_article(const char *s)
{
    static const char *const articles[] = {"a ", "an ", "the ", "ein ", "eine ", "der ", "die ", "das "};
    for (size_t i = 0; i < HM_COUNT(articles); i++)
        if (!strncmp(s, articles[i], strlen(articles[i]))) return s + strlen(articles[i]);
    return s;
}

typedef enum { BARE, INDEFINITE, DEFINITE, NUMBERED } determiner;
typedef struct {
    const hm_noun *noun;
    bool plural, with_verb;
    determiner det;
    const char *number;
    const hm_colour_word *colour;
    bool trimmed; /* the colour is that of sails or stripes: "with red sails" */
} noun_phrase;

/* German adjective endings (Duden): by case and gender; plural has its own column. */
static const char *ending(gram_case c, bool plural, hm_gender g, determiner d)
{
    static const char *const strong[3][4] = {{"er", "e", "es", "e"},
                                             {"en", "e", "es", "e"},
                                             {"em", "er", "em", "en"}};
    static const char *const weak[3][4] = {{"e", "e", "e", "en"},
                                           {"en", "e", "e", "en"},
                                           {"en", "en", "en", "en"}};
    static const char *const mixed[3][3] = {{"er", "e", "es"}, {"en", "e", "es"}, {"en", "en", "en"}};
    const int column = plural ? 3 : (int)g;
    if (d == DEFINITE) return weak[c][column];
    return d == INDEFINITE && !plural ? mixed[c][column] : strong[c][column];
}
static const char *article(gram_case c, bool plural, hm_gender g, bool definite)
{
    static const char *const the[3][4] = {{"der", "die", "das", "die"},
                                          {"den", "die", "das", "die"},
                                          {"dem", "der", "dem", "den"}};
    static const char *const a[3][3] = {{"ein", "eine", "ein"},
                                        {"einen", "eine", "ein"},
                                        {"einem", "einer", "einem"}};
    return definite ? the[c][plural ? 3 : (int)g] : a[c][g];
}

/* Noun, number and determiner for the subject; states SUBJECT, COLOUR, COUNT as far as they are said. */
static noun_phrase choose_noun(gen *g, bool with_verb, bool allow_bare)
{
    const hm_subject_words *w = subject_of(g);
    const unsigned count = g->fact[HM_FACT_COUNT], most = max_count(g->fact[HM_FACT_SUBJECT]);
    noun_phrase p = {.with_verb = with_verb};
    unsigned n = 0;
    while (w->nouns[n].one || w->nouns[n].many) n++;
    for (;;) { /* most have the form that is needed */
        p.noun = &w->nouns[hm_rng_below(&g->r, n)];
        p.plural = most ? count != 1 : !p.noun->one;
        if ((p.plural ? p.noun->many : p.noun->one) && !(with_verb && p.noun->only_noun)) break;
    }
    state(g, HM_FACT_SUBJECT);
    if (most && wants(g, HM_FACT_COUNT)) {
        state(g, HM_FACT_COUNT);
        p.det = p.plural || chance(g, 12) ? NUMBERED : INDEFINITE;
        p.number = one_of(g, g->w->number[count]);
    } else if (p.plural) {
        p.det = chance(g, 90) ? BARE : DEFINITE;
    } else if (most) { /* how many is not to be said: no "a" */
        p.det = allow_bare && chance(g, 70) ? BARE : DEFINITE;
    } else {
        p.det = allow_bare && chance(g, 40) ? BARE : chance(g, 80) ? INDEFINITE : DEFINITE;
    }
    if (wants(g, HM_FACT_COLOUR)) {
        const hm_colour_word *c = g->w->colour[g->fact[HM_FACT_COLOUR]];
        unsigned m = 0;
        while (c[m].word) m++;
        p.colour = &c[p.noun->adj ? 0 : hm_rng_below(&g->r, m)];
        p.trimmed = w->trim && chance(g, 30);
        state(g, HM_FACT_COLOUR);
    }
    return p;
}

static void write_noun_en(char *buf, const noun_phrase *p, const char *trim)
{
    hm_str s = {buf, PIECE, 0};
    const char *first = p->colour && !p->trimmed ? p->colour->word : p->plural ? p->noun->many : p->noun->one;
    if (p->det == NUMBERED) hm_str_addf(&s, "%s ", p->number);
    if (p->det == DEFINITE) hm_str_addf(&s, "the ");
    if (p->det == INDEFINITE) hm_str_addf(&s, strchr("aeiou", *first) ? "an " : "a ");
    if (p->colour && !p->trimmed) hm_str_addf(&s, "%s ", p->colour->word);
    hm_str_addf(&s, "%s", p->plural ? p->noun->many : p->noun->one);
    if (p->trimmed) hm_str_addf(&s, " with %s %s", p->colour->word, trim);
}
static void write_noun_de(char *buf, const noun_phrase *p, gram_case c, const char *trim)
{
    hm_str s = {buf, PIECE, 0};
    const hm_noun *n = p->noun;
    const bool one = p->det == NUMBERED && !p->plural; /* "1 roter Ballon": as after ein */
    const char *end = ending(c, p->plural, n->gender, one ? INDEFINITE : p->det);
    if (p->det == NUMBERED) hm_str_addf(&s, "%s ", p->number);
    if (p->det == DEFINITE) hm_str_addf(&s, "%s ", article(c, p->plural, n->gender, true));
    if (p->det == INDEFINITE) hm_str_addf(&s, "%s ", article(c, p->plural, n->gender, false));
    if (n->adj) hm_str_addf(&s, "%s%s ", n->adj, end);
    if (p->colour && !p->trimmed) hm_str_addf(&s, "%s%s ", p->colour->word, p->colour->fixed ? "" : end);
    hm_str_addf(&s, "%s", !p->plural ? n->one : c == DAT ? n->to_many : n->many);
    if (p->trimmed) hm_str_addf(&s, " mit %s%s %s", p->colour->word, p->colour->fixed ? "" : "en", trim);
}
static noun_phrase write_subject(gen *g, char *buf, gram_case c, bool with_verb, bool allow_bare)
{
    const noun_phrase p = choose_noun(g, with_verb, allow_bare);
    if (g->german) write_noun_de(buf, &p, c, subject_of(g)->trim);
    else write_noun_en(buf, &p, subject_of(g)->trim);
    return p;
}

/* ---- pieces: each states a fact ---- */

static void add(pieces *p, const char *text)
{
    hm_str s = {p->text[p->n++], PIECE, 0};
    hm_str_addf(&s, "%s", text);
}
static const hm_phrases *phrases_of(const gen *g, hm_fact f)
{
    const int v = g->fact[f];
    switch (f) {
    case HM_FACT_TIME: return &g->w->time[v];
    case HM_FACT_WEATHER: return &g->w->weather[v];
    case HM_FACT_CAMERA: return &g->w->camera[v];
    case HM_FACT_PACE: return &g->w->pace[v];
    default: return &g->w->side[v];
    }
}
static const char *tag_of(gen *g, hm_fact f)
{
    state(g, f);
    const char *t = one_of(g, phrases_of(g, f)->tag);
    return chance(g, 60) ? without_article(t) : t;
}
static const char *adv_of(gen *g, hm_fact f)
{
    state(g, f);
    return one_of(g, phrases_of(g, f)->adv);
}
static const char *sentence_of(gen *g, hm_fact f)
{
    state(g, f);
    return one_of(g, phrases_of(g, f)->say);
}
/* "over a calm sea", "auf einem Bergsee" */
static void add_place_adv(gen *g, pieces *p)
{
    const hm_place_words *w = &g->w->place[g->fact[HM_FACT_PLACE]];
    const hm_where where = has_subject(g) ? subject_of(g)->where : HM_IN_AIR;
    state(g, HM_FACT_PLACE);
    if (where == HM_IN_AIR && chance(g, 30)) {
        add(p, one_of(g, w->adv));
        return;
    }
    hm_str s = {p->text[p->n++], PIECE, 0};
    hm_str_addf(&s, "%s %s",
                where == HM_IN_AIR     ? w->over
                : where == HM_ON_WATER ? w->on
                                       : w->by,
                one_of(g, w->dative ? w->dative : w->noun));
}
static const char *place_noun(gen *g)
{
    state(g, HM_FACT_PLACE);
    return one_of(g, g->w->place[g->fact[HM_FACT_PLACE]].noun);
}
static void shuffle(gen *g, pieces *p, unsigned from)
{
    for (unsigned i = p->n; i > from + 1; i--) {
        const unsigned j = from + hm_rng_below(&g->r, i - from);
        char t[PIECE];
        memcpy(t, p->text[i - 1], PIECE), memcpy(p->text[i - 1], p->text[j], PIECE),
            memcpy(p->text[j], t, PIECE);
    }
}
static void add_side(gen *g, hm_str *s)
{
    if (wants(g, HM_FACT_SIDE)) hm_str_addf(s, " %s", adv_of(g, HM_FACT_SIDE));
}
static void capitalise(char *s)
{
    if (*s >= 'a' && *s <= 'z') *s = (char)(*s - 'a' + 'A');
    else if ((uint8_t)*s == 0xC3 && (uint8_t)s[1] >= 0xA0) s[1] = (char)(s[1] - 0x20); /* ä ö ü */
}

/* ---- frames ---- */

/* sunset, two red balloons on the left, calm sea, pan left */
static void frame_list(gen *g, hm_str *out)
{
    pieces p = {.n = 0};
    if (has_subject(g)) {
        char noun[PIECE];
        write_subject(g, noun, NOM, false, true);
        hm_str s = {p.text[p.n++], PIECE, 0};
        hm_str_addf(&s, "%s", noun);
        if (wants(g, HM_FACT_SIDE))
            hm_str_addf(&s, " %s", one_of(g, phrases_of(g, HM_FACT_SIDE)->tag)), state(g, HM_FACT_SIDE);
    } else if (wants(g, HM_FACT_SUBJECT)) {
        add(&p, one_of(g, g->w->nothing)), state(g, HM_FACT_SUBJECT);
    }
    if (wants(g, HM_FACT_PLACE)) {
        const char *n = place_noun(g);
        add(&p, chance(g, 60) ? without_article(n) : n);
    }
    static const hm_fact tags[] = {HM_FACT_TIME, HM_FACT_WEATHER, HM_FACT_CAMERA, HM_FACT_PACE};
    for (size_t i = 0; i < HM_COUNT(tags); i++)
        if (wants(g, tags[i])) add(&p, tag_of(g, tags[i]));
    shuffle(g, &p, 0);
    for (unsigned i = 0; i < p.n; i++) hm_str_addf(out, "%s%s", i ? ", " : "", p.text[i]);
}

/* Camera before or after a sentence; pace before it, where it is not said inside. */
static void with_camera(gen *g, const char *body, hm_str *out)
{
    char b[TEXT], c[PIECE];
    hm_str s = {b, sizeof b, 0}, t = {c, sizeof c, 0};
    hm_str_addf(&s, "%s", body);
    if (!wants(g, HM_FACT_CAMERA)) {
        capitalise(b);
        hm_str_addf(out, "%s.", b);
        return;
    }
    const unsigned how = hm_rng_below(&g->r, 10);
    hm_str_addf(&t, "%s",
                how < 3   ? tag_of(g, HM_FACT_CAMERA)
                : how < 5 ? adv_of(g, HM_FACT_CAMERA)
                          : sentence_of(g, HM_FACT_CAMERA));
    if ((how >= 3 && how < 5) || (how < 3 && chance(g, 50))) { /* ..., with a slow pan left. */
        capitalise(b);
        hm_str_addf(out, "%s, %s.", b, c);
        return;
    }
    capitalise(b), capitalise(c);
    if (chance(g, 65)) hm_str_addf(out, "%s. %s.", b, c);
    else hm_str_addf(out, how < 3 ? "%s: %s." : "%s. %s.", c, b);
}

/* a film of two red balloons on the left over a calm sea at sunset */
static void frame_phrase(gen *g, hm_str *out)
{
    char body[TEXT], head[PIECE] = "";
    hm_str b = {body, sizeof body, 0}, h = {head, sizeof head, 0};
    pieces p = {.n = 0};
    const bool opened = chance(g, 35), dative = opened && has_subject(g) && chance(g, 40);
    bool place_done = !wants(g, HM_FACT_PLACE), time_done = !wants(g, HM_FACT_TIME);
    const char *colon = wants(g, HM_FACT_PACE) && !opened && chance(g, 30) ? tag_of(g, HM_FACT_PACE) : NULL;
    if (has_subject(g)) {
        write_subject(g, head, dative ? DAT : NOM, false, !opened);
        h.len = strlen(head);
        add_side(g, &h);
    } else if (!place_done && chance(g, 75)) {
        hm_str_addf(&h, "%s", place_noun(g)), place_done = true;
    } else if (!time_done && !opened && chance(g, 60)) {
        hm_str_addf(&h, "%s", tag_of(g, HM_FACT_TIME)), time_done = true;
    } else {
        hm_str_addf(&h, "%s", place_done ? one_of(g, g->w->scene) : g->w->scene[0]); /* the sky over ... */
    }
    if (!place_done) add_place_adv(g, &p);
    const unsigned fixed = p.n;
    if (!time_done) add(&p, adv_of(g, HM_FACT_TIME));
    if (wants(g, HM_FACT_WEATHER)) add(&p, adv_of(g, HM_FACT_WEATHER));
    if (wants(g, HM_FACT_PACE) && !colon) add(&p, adv_of(g, HM_FACT_PACE));
    shuffle(g, &p, chance(g, 70) ? fixed : 0);
    if (colon) hm_str_addf(&b, "%s: ", colon);
    if (opened) hm_str_addf(&b, "%s ", one_of(g, dative ? g->w->with : g->w->opener));
    hm_str_addf(&b, "%s", head);
    for (unsigned i = 0; i < p.n; i++) hm_str_addf(&b, " %s", p.text[i]);
    with_camera(g, body, out);
}

/* At sunset, two red balloons drift over a calm sea. / Bei Sonnenuntergang schweben zwei rote Ballons über
 * dem Meer. */
static void frame_sentence(gen *g, hm_str *out)
{
    char body[TEXT], noun[PIECE], verb[PIECE], side[PIECE] = "";
    hm_str b = {body, sizeof body, 0}, v = {verb, sizeof verb, 0}, sd = {side, sizeof side, 0};
    pieces p = {.n = 0};
    const noun_phrase np = write_subject(g, noun, NOM, true, false);
    hm_str_addf(&v, "%s", one_of(g, np.plural ? subject_of(g)->verb_many : subject_of(g)->verb_one));
    add_side(g, &sd);
    char *rest = strchr(verb, '/'); /* what German puts at the end */
    if (rest) *rest++ = 0;
    if (wants(g, HM_FACT_PLACE)) add_place_adv(g, &p);
    if (wants(g, HM_FACT_TIME)) add(&p, adv_of(g, HM_FACT_TIME));
    if (wants(g, HM_FACT_WEATHER)) add(&p, adv_of(g, HM_FACT_WEATHER));
    if (wants(g, HM_FACT_PACE)) add(&p, adv_of(g, HM_FACT_PACE));
    shuffle(g, &p, p.n && chance(g, 50) && wants(g, HM_FACT_PLACE) ? 1 : 0);
    const bool fronted = p.n && chance(g, 45);
    const unsigned front = fronted ? p.n - 1 : p.n; /* the last one goes before */
    if (fronted && g->german) hm_str_addf(&b, "%s %s %s%s", p.text[front], verb, noun, side);
    else if (fronted) hm_str_addf(&b, "%s, %s %s%s", p.text[front], noun, verb, side);
    else hm_str_addf(&b, "%s %s%s", noun, verb, side);
    for (unsigned i = 0; i < front; i++) hm_str_addf(&b, " %s", p.text[i]);
    if (rest) hm_str_addf(&b, " %s", rest);
    with_camera(g, body, out);
}

/* The sea is calm. Two red balloons on the left. The sun is setting. */
static void frame_pieces(gen *g, hm_str *out)
{
    pieces p = {.n = 0};
    if (has_subject(g)) {
        char noun[PIECE];
        const noun_phrase np = write_subject(g, noun, NOM, true, false);
        hm_str s = {p.text[p.n++], PIECE, 0};
        hm_str_addf(&s, "%s", noun);
        if (chance(g, 50)) {
            char verb[PIECE];
            hm_str v = {verb, sizeof verb, 0};
            hm_str_addf(&v, "%s", one_of(g, np.plural ? subject_of(g)->verb_many : subject_of(g)->verb_one));
            char *rest = strchr(verb, '/');
            if (rest) *rest++ = 0;
            hm_str_addf(&s, " %s", verb);
            add_side(g, &s);
            if (rest) hm_str_addf(&s, " %s", rest);
        } else {
            add_side(g, &s);
        }
    } else if (wants(g, HM_FACT_SUBJECT)) {
        add(&p, one_of(g, g->w->nothing)), state(g, HM_FACT_SUBJECT);
    }
    if (wants(g, HM_FACT_PLACE)) {
        const hm_place_words *w = &g->w->place[g->fact[HM_FACT_PLACE]];
        add(&p, chance(g, 60) ? one_of(g, w->say) : place_noun(g)), state(g, HM_FACT_PLACE);
    }
    static const hm_fact f[] = {HM_FACT_TIME, HM_FACT_WEATHER, HM_FACT_PACE};
    for (size_t i = 0; i < HM_COUNT(f); i++)
        if (wants(g, f[i])) add(&p, chance(g, 65) ? sentence_of(g, f[i]) : tag_of(g, f[i]));
    if (wants(g, HM_FACT_CAMERA))
        add(&p, chance(g, 65) ? sentence_of(g, HM_FACT_CAMERA) : tag_of(g, HM_FACT_CAMERA));
    shuffle(g, &p, 0);
    for (unsigned i = 0; i < p.n; i++) {
        capitalise(p.text[i]);
        hm_str_addf(out, "%s%s.", i ? " " : "", p.text[i]);
    }
}

/* What of the sayable is worth saying this time: the usual (still camera, real time, no subject) mostly is
 * not. */
static void leave_out_the_usual(gen *g)
{
    const bool still = chance(g, 20), real = chance(g, 15), none = chance(g, 10);
    if (g->fact[HM_FACT_CAMERA] == HM_CAMERA_STILL && !still) g->say &= ~(1u << HM_FACT_CAMERA);
    if (g->fact[HM_FACT_PACE] == HM_PACE_REAL && !real) g->say &= ~(1u << HM_FACT_PACE);
    if (g->fact[HM_FACT_SUBJECT] == HM_SUBJECT_NONE && !none) g->say &= ~(1u << HM_FACT_SUBJECT);
    if (!has_subject(g)) g->say &= ~(1u << HM_FACT_COLOUR | 1u << HM_FACT_COUNT | 1u << HM_FACT_SIDE);
}

size_t hm_caption(char *buf, size_t cap, const hm_scene *s, const hm_caption_opts *opts, uint64_t seed,
                  uint32_t *said)
{
    const bool german = opts->lang == HM_LANG_DE;
    gen g = {.w = german ? &hm_words_de : &hm_words_en,
             .fact = s->fact,
             .german = german,
             .say = opts->say & hm_caption_sayable(s),
             .r = hm_rng_at(seed, 0xCAB710)};
    char text[TEXT] = "";
    hm_str t = {text, sizeof text, 0}, out = {buf, cap, 0};
    leave_out_the_usual(&g);
    const unsigned how = hm_rng_below(&g.r, 100);
    if (!g.say) hm_str_addf(&t, "%s", one_of(&g, g.w->whole));
    else if (how < 30) frame_list(&g, &t);
    else if (how < 45) frame_pieces(&g, &t);
    else if (how < 75 && has_subject(&g)) frame_sentence(&g, &t);
    else frame_phrase(&g, &t);
    if (chance(&g, 15)) /* as people type: no capital where English, no full stop */
        if (text[0] && text[strlen(text) - 1] == '.') text[strlen(text) - 1] = 0;
    if (said) *said = g.said;
    hm_str_addf(&out, "%s", text);
    return out.len;
}
