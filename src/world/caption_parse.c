/* caption_parse.c - words to facts: longest match from left to right over everything that the vocabulary
 * knows. SPDX-License-Identifier: MIT Text and patterns are folded on the way: lower case, umlauts as
 * ae/oe/ue, sharp s as ss, hyphens as spaces, other punctuation as a barrier " , " that no pattern crosses.
 * Colours and numbers wait for the subject that follows. */
#include <string.h>
#include "world/caption_words.h"

enum {
    FOLDED = 8192,
    MOD_REACH = 4
}; /* bytes of a prompt that are read; words between a colour and its noun */
#define BARRIER ','

/* One character of UTF-8 text, folded: 0, 1 or 2 letters, ' ' or BARRIER. Moves *p on. */
static unsigned fold(const char **p, char out[2])
{
    const uint8_t *s = (const uint8_t *)*p;
    const uint8_t c = s[0], d = c ? s[1] : 0;
    *p += 1;
    out[0] = (char)c;
    if (c >= 'A' && c <= 'Z') return out[0] = (char)(c - 'A' + 'a'), 1;
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) return 1;
    if (c == '\'') return 0;
    if (c == ' ' || c == '-' || c == '_' || c == '/' || c == '\t' || c == '\r' || c == '\n')
        return out[0] = ' ', 1;
    if (c < 0x80) return out[0] = BARRIER, 1;
    if (c == 0xC2 && d == 0xA0) return *p += 1, out[0] = ' ', 1; /* no-break space */
    if (c == 0xE2 && d == 0x80 && s[2]) { /* dashes, curly quotes */
        *p += 2;
        return out[0] = BARRIER, s[2] == 0x99 || s[2] == 0x98 ? 0 : 1;
    }
    if (c != 0xC3 || d < 0x80) return 1;
    *p += 1;
    static const char to[] = "aaaaaaaceeeeiiiidnooooo_ouuuuyts"; /* U+00E0 on; umlauts and sharp s below */
    const uint8_t low = d == 0x9F ? d : d | 0x20;
    out[1] = 'e';
    switch (low) {
    case 0xA4: return out[0] = 'a', 2;
    case 0xB6: return out[0] = 'o', 2;
    case 0xBC: return out[0] = 'u', 2;
    case 0x9F: return out[0] = out[1] = 's', 2;
    default: return out[0] = to[low & 0x1F], 1;
    }
}

/* " word word , word " - single spaces, one at each end. */
static void fold_text(const char *text, char out[FOLDED])
{
    size_t n = 0;
    out[n++] = ' ';
    while (*text && n + 6 < FOLDED) {
        char c[2];
        const unsigned k = fold(&text, c);
        if (!k) continue;
        if (c[0] == ' ' || c[0] == BARRIER) {
            if (c[0] == BARRIER && out[n - 1] == ' ' && (n < 2 || out[n - 2] != BARRIER))
                out[n++] = BARRIER, out[n++] = ' ';
            else if (c[0] == BARRIER && out[n - 1] != ' ') out[n++] = ' ', out[n++] = BARRIER, out[n++] = ' ';
            else if (out[n - 1] != ' ') out[n++] = ' ';
            continue;
        }
        memcpy(out + n, c, k), n += k;
    }
    if (out[n - 1] != ' ') out[n++] = ' ';
    out[n] = 0;
}

/* The end of pattern's match at folded text at (at a space or the end), or NULL. */
static const char *match(const char *pattern, const char *at)
{
    while (*pattern) {
        char c[2];
        if (*pattern == '*') {
            while (*at && *at != ' ') at++;
            pattern++;
            continue;
        }
        if (*pattern == '?') {
            if (*at == ' ' || *at == BARRIER || !*at) return NULL;
            while (*at && *at != ' ') at++;
            pattern++;
            continue;
        }
        const unsigned k = fold(&pattern, c);
        for (unsigned i = 0; i < k; i++)
            if (*at++ != c[i]) return NULL;
    }
    return *at == ' ' || !*at ? at : NULL;
}

/* ---- reading ---- */

typedef struct {
    const char *at, *end; /* where we are; the end of the longest match there */
    hm_fact fact;
    int value;
    bool weak, found;
} finder;

static void offer(finder *f, const char *pattern, hm_fact fact, int value, bool weak)
{
    const char *end = match(pattern, f->at);
    if (end && fact == HM_FACT_WEATHER && !strncmp(end, " lantern", 8)) return; /* a blue | sky lantern */
    if (!end || (f->found && (end < f->end || (end == f->end && (weak || !f->weak))))) return;
    f->end = end, f->fact = fact, f->value = value, f->weak = weak, f->found = true;
}
/* Cheap test before match(): most phrases end here. */
static bool may_start(const char *pattern, const char *at)
{
    const uint8_t c = (uint8_t)*pattern | 0x20;
    return c < 'a' || c > 'z' || c == (uint8_t)*at;
}
static const char *after_article(const char *s)
{
    if (*s != 'a' && *s != 't' && *s != 'e' && *s != 'd') return NULL;
    static const char *const articles[] = {"a ", "an ", "the ", "ein ", "eine ", "der ", "die ", "das "};
    for (size_t i = 0; i < HM_COUNT(articles); i++)
        if (!strncmp(s, articles[i], strlen(articles[i]))) return s + strlen(articles[i]);
    return NULL;
}
static void try_phrase(void *user, hm_fact fact, int value, const char *text, bool heard)
{
    finder *f = user;
    if (fact == HM_N_FACTS && !heard) return; /* verbs and connectors mean nothing by themselves */
    const bool weak = heard && *text == '~';
    if (may_start(text + weak, f->at)) offer(f, text + weak, fact, value, weak);
    const char *rest = heard || fact == HM_FACT_COUNT ? NULL : after_article(text);
    if (rest && may_start(rest, f->at)) offer(f, rest, fact, value, false);
}

typedef struct {
    uint8_t *fact;
    uint32_t strong, weak;
    int colour, count; /* waiting for their noun; -1: none */
    unsigned colour_age, count_age;
} reader;

static unsigned most_of(int subject)
{
    return subject == HM_SUBJECT_BALLOON || subject == HM_SUBJECT_BOAT || subject == HM_SUBJECT_LANTERNS ? 4
           : subject == HM_SUBJECT_KITE                                                                  ? 3
                                                                                                         : 0;
}
static bool takes_colour(int u)
{
    return most_of(u) || u == HM_SUBJECT_LIGHTHOUSE || u == HM_SUBJECT_FIREWORKS || u == HM_SUBJECT_WINDMILL;
}
static void hold(reader *r, hm_fact f, int value, bool weak)
{
    if (r->strong >> f & 1) return;
    if (weak && (r->weak >> f & 1)) return;
    r->fact[f] = (uint8_t)value;
    *(weak ? &r->weak : &r->strong) |= 1u << f;
}
/* Words that end a noun phrase or begin a new one: what waits does not belong to what follows. */
static bool separates(const char *at)
{
    static const char *const words[] = {"of",    "with",  "the", "over",   "above", "on",  "in",  "at",
                                        "by",    "under", "and", "behind", "mit",   "von", "der", "die",
                                        "das",   "den",   "dem", "ueber",  "auf",   "im",  "am",  "an",
                                        "unter", "vor",   "und", "hinter", "bei"};
    for (size_t i = 0; i < HM_COUNT(words); i++)
        if (match(words[i], at)) return true;
    return false;
}
/* A subject was named (or its sails): colour and number before it are its own. */
static void take_subject(reader *r, int u, bool weak)
{
    hold(r, HM_FACT_SUBJECT, u, weak);
    const int now = r->fact[HM_FACT_SUBJECT];
    const bool same = now == u || weak;
    if (same && r->colour >= 0 && takes_colour(now)) hold(r, HM_FACT_COLOUR, r->colour, false);
    if (now == u && !weak && r->count >= 0) {
        const unsigned most = most_of(u);
        if (!r->count && most && u != HM_SUBJECT_LANTERNS) r->count = (int)most; /* "many balloons" */
        if (most ? (unsigned)r->count <= most : r->count > 1 && takes_colour(u))
            hold(r, HM_FACT_COUNT, r->count, false);
    }
    r->colour = r->count = -1;
}
/* "the balloon is red", "a boat in white": a colour at the end of its clause goes to the subject before it.
 */
static void colour_after_subject(reader *r, const char *next)
{
    if (r->colour < 0 || !(r->strong >> HM_FACT_SUBJECT & 1) || !takes_colour(r->fact[HM_FACT_SUBJECT]))
        return;
    if (!*next || *next == BARRIER) hold(r, HM_FACT_COLOUR, r->colour, false);
}
static void age(reader *r)
{
    if (r->colour >= 0 && ++r->colour_age > MOD_REACH) r->colour = -1;
    if (r->count >= 0 && ++r->count_age > MOD_REACH) r->count = -1;
}
static void take_phrase(reader *r, const finder *f)
{
    if (f->fact == HM_FACT_COLOUR) {
        if (r->colour < 0) r->colour = f->value, r->colour_age = 0;
        r->count_age += r->count >= 0;
        colour_after_subject(r, f->end + (*f->end == ' '));
    } else if (f->fact == HM_FACT_COUNT) {
        r->count = f->value, r->count_age = 0, r->colour = -1;
    } else if (f->fact == HM_FACT_SUBJECT) {
        take_subject(r, f->value, f->weak);
    } else {
        r->colour = r->count = -1;
        if (f->fact != HM_N_FACTS) hold(r, f->fact, f->value, f->weak);
    }
}

uint32_t hm_caption_parse(const char *text, uint8_t fact[HM_N_FACTS])
{
    char folded[FOLDED];
    uint8_t got[HM_N_FACTS] = {0};
    fold_text(text, folded);
    reader r = {.fact = got, .colour = -1, .count = -1};
    const char *p = folded + 1;
    while (*p) {
        if (*p == BARRIER) {
            r.colour = r.count = -1;
            p += p[1] == ' ' ? 2 : 1;
            continue;
        }
        finder f = {.at = p};
        hm_words_each(&hm_words_en, try_phrase, &f);
        hm_words_each(&hm_words_de, try_phrase, &f);
        if (f.found && f.end > p) {
            take_phrase(&r, &f);
            p = f.end;
        } else {
            age(&r);
            if (separates(p)) r.colour = r.count = -1;
            while (*p && *p != ' ') p++;
        }
        while (*p == ' ') p++;
    }
    const uint32_t all = r.strong | r.weak;
    for (int f = 0; f < HM_N_FACTS; f++)
        if (all >> f & 1) fact[f] = got[f];
    return all;
}

/* ---- words that nobody knows ---- */

static const char *const function_words[] = {
    /* English */
    "a", "an", "the", "of", "and", "or", "with", "in", "on", "at", "to", "from", "by", "for", "over", "above",
    "under", "below", "into", "onto", "across", "along", "around", "behind", "before", "after", "between",
    "near", "through", "while", "when", "where", "is", "are", "was", "were", "be", "been", "it", "its",
    "this", "that", "these", "those", "there", "here", "as", "very", "some", "any", "all", "no", "not", "but",
    "then", "than", "so", "my", "your", "our", "we", "you", "i", "me", "he", "she", "they", "them", "his",
    "her", "their", "which", "who", "what", "how", "can", "could", "will", "would", "should", "shall", "may",
    "might", "please", "make", "show", "give", "create", "want", "like", "film", "movie", "clip", "video",
    "footage", "shot", "shots", "scene", "picture", "image", "photo", "view", "camera", "frame", "horizon",
    "sky", "air", "light", "world", "nature", "few", "many", "much", "more", "most", "lots", "lot", "several",
    "slow", "slowly", "quickly", "fast", "softly", "gently", "gentle", "soft", "beautiful", "pretty",
    "lovely", "nice", "big", "small", "large", "tiny", "little", "huge", "old", "young", "new", "long",
    "short", "high", "low", "deep", "wide", "warm", "cold", "cool", "hot", "bright", "brightly", "dark",
    "pale", "quiet", "calm", "wild", "distant", "far", "away", "up", "down", "left", "right", "out", "off",
    "back", "front", "top", "bottom", "side", "half", "colour", "color", "coloured", "colored", "colours",
    "colors", "background", "foreground", "distance", "dramatic", "cinematic", "epic", "peaceful", "serene",
    "realistic", "style", "quality", "detailed", "and", "during", "against", "towards", "toward", "just",
    "only", "also", "again", "one", "two", "three", "four", "seconds", "second", "minute", "moving", "move",
    "moves", "flying", "flies", "fly", "seen",
    /* German */
    "der", "die", "das", "den", "dem", "des", "ein", "eine", "einen", "einem", "einer", "eines", "und",
    "oder", "mit", "im", "in", "am", "an", "ans", "auf", "aus", "bei", "beim", "von", "vom", "zu", "zum",
    "zur", "über", "übers", "unter", "vor", "hinter", "neben", "zwischen", "nach", "durch", "für", "um",
    "ist", "sind", "war", "wird", "werden", "hat", "haben", "es", "er", "sie", "wir", "ihr", "ich", "du",
    "man", "nicht", "kein", "keine", "keinen", "sehr", "langsam", "langsame", "schnell", "etwas", "alles",
    "viel", "viele", "mehr", "mehrere", "einige", "sich", "sein", "seine", "ihre", "dann", "wenn", "während",
    "als", "wie", "so", "auch", "nur", "noch", "schon", "mach", "mache", "zeig", "zeige", "zeigt", "bitte",
    "schön", "schöne", "schöner", "schönes", "groß", "große", "großer", "klein", "kleine", "kleiner", "alt",
    "alte", "alter", "neu", "neue", "lang", "kurz", "hoch", "hohe", "tief", "tiefe", "weit", "weite", "warm",
    "warme", "kalt", "kalte", "hell", "helle", "dunkel", "dunkle", "ruhig", "ruhige", "wild", "sanft",
    "sanfte", "fern", "nah", "oben", "unten", "links", "rechts", "mitte", "bild", "himmel", "film", "video",
    "kamera", "szene", "aufnahme", "blick", "landschaft", "natur", "welt", "farbe", "farben", "bunt", "bunte",
    "hintergrund", "vordergrund", "ferne", "gegen", "ohne", "bis", "eins", "zwei", "drei", "vier", "sekunden",
    "sekunde", "fliegt", "fliegen", "steht", "stehen", "liegt", "da", "dort", "hier", "wo", "was", "wer",
    "dass", "aber", "denn", "doch", "immer", "wieder", "ganz", "herum", "entlang", "vorbei", "hinweg",
    "darüber"};

enum { WORD = 64 };
/* A word without its common inflection, folded: compared instead of the word. */
static size_t stem_of(const char *w, size_t n)
{
    static const char *const endings[] = {"ing", "est", "en", "er", "es", "em", "ed", "ly",
                                          "nd",  "e",   "n",  "s",  "d",  "y",  "t"};
    for (size_t i = 0; i < HM_COUNT(endings); i++) {
        const size_t k = strlen(endings[i]);
        if (n >= k + 4 && !memcmp(w + n - k, endings[i], k)) return n - k;
    }
    return n;
}
static bool same_word(const char *word, size_t n, const char *known)
{
    char k[WORD + 2];
    size_t m = 0;
    if (!may_start(known, word)) return false;
    while (*known && m < WORD) m += fold(&known, k + m);
    if (m == n && !memcmp(word, k, n)) return true;
    const size_t a = stem_of(word, n), b = stem_of(k, m);
    return a >= 4 && ((a == b && !memcmp(word, k, a)) || (a == m && !memcmp(word, k, a)) ||
                      (b == n && !memcmp(word, k, b)));
}

typedef struct {
    const char *word; /* folded, terminated */
    bool known;
} known_query;
/* Does the word stand in this pattern (stems with * count)? */
static void is_in_pattern(void *user, hm_fact fact, int value, const char *text, bool heard)
{
    known_query *q = user;
    (void)fact, (void)value;
    if (!heard || q->known) return;
    while (*text) {
        char one[WORD];
        const size_t n = strcspn(text, " -~?");
        if (n && n < sizeof one && may_start(text, q->word)) {
            memcpy(one, text, n), one[n] = 0;
            q->known |= match(one, q->word) != NULL;
        }
        text += n + (text[n] != 0);
    }
}
static bool is_known(const char *word, size_t n)
{
    if (n == 1 || (word[0] >= '0' && word[0] <= '9')) return true;
    size_t words;
    const char *const *lexicon = hm_lexicon(&words);
    for (size_t i = 0; i < words; i++)
        if (same_word(word, n, lexicon[i])) return true;
    for (size_t i = 0; i < HM_COUNT(function_words); i++)
        if (same_word(word, n, function_words[i])) return true;
    known_query q = {word, false};
    hm_words_each(&hm_words_en, is_in_pattern, &q);
    hm_words_each(&hm_words_de, is_in_pattern, &q);
    return q.known;
}

size_t hm_unknown_words(const char *text, hm_word *out, size_t cap)
{
    size_t count = 0;
    const char *const begin = text;
    while (*text && text - begin < FOLDED) {
        char word[WORD + 3];
        size_t n = 0;
        const char *start = NULL, *end = text;
        bool too_long = false;
        while (*text) { /* one word */
            char c[2];
            const char *here = text;
            const unsigned k = fold(&text, c);
            if (k && (c[0] == ' ' || c[0] == BARRIER)) break;
            if (!start && k) start = here;
            if (n + k > WORD) too_long = true;
            else memcpy(word + n, c, k), n += k;
            end = text;
        }
        word[n] = 0;
        if (!start || (!too_long && is_known(word, n))) continue;
        if (count < cap) out[count] = (hm_word){start, (size_t)(end - start)};
        count++;
    }
    return count;
}
