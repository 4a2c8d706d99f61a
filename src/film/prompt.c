/* prompt.c - what the model knows of a prompt, and what it leaves open.   SPDX-License-Identifier: MIT
 * Captions and their lexicon are the world's (src/world/caption.h): the model has seen no other words. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "film/edit.h"
#include "film/synth.h"
#include "world/caption.h"

size_t himmel_unknown_words(const char *prompt, char *buf, size_t cap)
{
    enum { MOST = 64 };
    hm_word words[MOST];
    const size_t n = hm_unknown_words(prompt, words, MOST);
    hm_str s = {buf, cap, 0};
    if (cap) buf[0] = 0;
    for (size_t i = 0; i < HM_MIN(n, (size_t)MOST); i++)
        hm_str_addf(&s, "%s%.*s", i ? ", " : "", (int)HM_MIN(words[i].len, (size_t)60), words[i].at);
    if (n > MOST) hm_str_addf(&s, " ...");
    return n;
}

const char *himmel_known_words(void)
{
    return "skies and clouds, seas, mountains, hills, forests, dunes, lakes, beaches and skylines at any time "
           "of day, in sun, rain, snow, fog and storm, with balloons, boats, lighthouses, birds, kites, "
           "aeroplanes, lanterns, windmills, "
           "fireworks, the moon and shooting stars";
}

/* German if it has German letters or more of the small words of German than of English. */
static hm_lang language_of(const char *text)
{
    static const char *const german[] = {"der",    "die",   "das",    "den",    "dem",    "des",   "ein",
                                         "eine",   "einem", "einer",  "einen",  "und",    "mit",   "am",
                                         "im",     "auf",   "bei",    "beim",   "von",    "vom",   "zum",
                                         "nach",   "ohne",  "vor",    "himmel", "meer",   "nacht", "see",
                                         "strand", "berge", "wolken", "regen",  "schnee", "abend"};
    static const char *const english[] = {"the",  "a",  "an",  "and",   "with", "at",
                                          "in",   "on", "of",  "by",    "over", "under",
                                          "from", "to", "sky", "night", "sea",  "lake"};
    int score = 0;
    for (const char *p = text; *p;) {
        char word[16];
        size_t n = 0;
        while (*p && !isalpha((unsigned char)*p) && !((unsigned char)*p & 0x80)) p++;
        for (; isalpha((unsigned char)*p) || ((unsigned char)*p & 0x80); p++) {
            if ((unsigned char)*p == 0xc3) score += 2; /* umlauts and sharp s begin with it */
            if (n + 1 < sizeof word) word[n++] = (char)tolower((unsigned char)*p);
        }
        word[n] = 0;
        for (size_t i = 0; i < HM_COUNT(german); i++) score += !strcmp(word, german[i]);
        for (size_t i = 0; i < HM_COUNT(english); i++) score -= !strcmp(word, english[i]);
    }
    return score > 0 ? HM_LANG_DE : HM_LANG_EN;
}

himmel_status himmel_expand(const char *prompt, uint64_t seed, char *buf, size_t cap, himmel_error *err)
{
    size_t bad;
    if (!prompt || !prompt[strspn(prompt, " \t\r\n")])
        return hm_fail(err, HIMMEL_EINVAL, "the prompt is empty");
    if (!hm_utf8_valid(prompt, &bad))
        return hm_fail(err, HIMMEL_EINVAL, "the prompt is not valid UTF-8: byte %zu", bad + 1);
    hm_scene s;
    memset(&s, 0, sizeof s);
    const uint32_t stated = hm_caption_parse(prompt, s.fact);
    const uint64_t draw = hm_mix(seed, 0x657870616e64); /* not the film's own noise */
    hm_scene_complete(&s, stated, draw);
    const hm_caption_opts o = {language_of(prompt), hm_caption_sayable(&s)};
    uint32_t said;
    if (hm_caption(buf, cap, &s, &o, draw, &said) >= cap)
        return hm_fail(err, HIMMEL_EINVAL, "no room for the full prompt in %zu bytes", cap);
    return HIMMEL_OK;
}

/* Is the value of fact f that the prompt states one of the bits of values? */
static bool states(uint32_t said, const uint8_t *fact, hm_fact f, uint32_t values)
{
    return (said >> f & 1) && (values >> fact[f] & 1);
}

hm_sound_mix hm_prompt_sound(const char *prompt)
{
    uint8_t fact[HM_N_FACTS] = {0};
    const uint32_t said = prompt ? hm_caption_parse(prompt, fact) : 0;
#define SAYS(f, v) states(said, fact, HM_FACT_##f, 1u << HM_##f##_##v)
    hm_sound_mix m = {.wind = 0.3f};
    if (SAYS(PLACE, CALM_SEA) || SAYS(PLACE, BEACH)) m.sea = 0.6f;
    if (SAYS(PLACE, LAKE)) m.sea = 0.2f;
    if (SAYS(PLACE, STORMY_SEA)) m.sea = 1, m.wind = 0.8f;
    if (SAYS(PLACE, MOUNTAINS) || SAYS(PLACE, DUNES) || SAYS(PLACE, ABOVE_CLOUDS)) m.wind = 0.6f;
    if (SAYS(WEATHER, RAIN)) m.rain = 0.8f;
    if (SAYS(WEATHER, SNOW)) m.wind = 0.5f;
    if (SAYS(WEATHER, STORM)) m.rain = 1, m.thunder = 1, m.wind = 0.9f;
    const bool wet = m.rain > 0 || m.sea > 0.3f || SAYS(WEATHER, SNOW) || SAYS(PLACE, ABOVE_CLOUDS) || SAYS(PLACE, SKYLINE);
    const bool dark = SAYS(TIME, DUSK) || SAYS(TIME, MOONLIT) || SAYS(TIME, STARRY);
    if (dark && !wet) m.night = 1, m.wind = HM_MIN(m.wind, 0.3f);
#undef SAYS
    return m;
}

/* ---- where the subject stands ---- */

static bool in_word(char c)
{
    return isalnum((unsigned char)c) || ((unsigned char)c & 0x80) || c == '-' || c == '\'';
}

/* Where the first word that ends behind `at` ends; the text's end if there is none. */
static size_t word_end(const char *text, size_t at)
{
    while (text[at] && !in_word(text[at])) at++;
    while (in_word(text[at])) at++;
    return at;
}

/* Do the bytes from..to of text, taken alone, state this subject? copy: room for them and a 0. */
static bool names(const char *text, size_t from, size_t to, uint8_t subject, char *copy)
{
    uint8_t fact[HM_N_FACTS] = {0};
    memcpy(copy, text + from, to - from);
    copy[to - from] = 0;
    return hm_caption_parse(copy, fact) >> HM_FACT_SUBJECT & 1 && fact[HM_FACT_SUBJECT] == subject;
}

/* The end of the words that state the subject: of the shortest beginning of text that does, by bisection, and of what goes
 * on naming it ("sailing | boat"). */
static size_t subject_end(const char *text, uint8_t subject, char *copy)
{
    size_t lo = 0, hi = strlen(text); /* 0..lo states it not, 0..hi does */
    for (;;) {
        size_t mid = word_end(text, lo + (hi - lo) / 2);
        if (mid >= hi) mid = word_end(text, lo);
        if (mid >= hi) break;
        if (names(text, 0, mid, subject, copy)) hi = mid;
        else lo = mid;
    }
    for (size_t next; text[hi] == ' ' && (next = word_end(text, hi)) > hi && names(text, hi, next, subject, copy);) hi = next;
    return hi;
}

bool hm_prompt_place(const char *prompt, double x, char *buf, size_t cap)
{
    static const char *const phrase[HM_N_LANGS][HM_N_SIDES] = {{"on the left", "in the centre", "on the right"},
                                                               {"links", "in der Mitte", "rechts"}};
    const int side = x < 1.0 / 3 ? HM_SIDE_LEFT : x <= 2.0 / 3 ? HM_SIDE_CENTRE : HM_SIDE_RIGHT;
    hm_scene s, t;
    memset(&s, 0, sizeof s), memset(&t, 0, sizeof t);
    const uint32_t said = hm_caption_parse(prompt, s.fact), where = 1u << HM_FACT_SIDE;
    if (!(said >> HM_FACT_SUBJECT & 1) || said & where || !(hm_caption_sayable(&s) & where)) return false;
    const char *words = phrase[language_of(prompt)][side];
    const size_t n = strlen(prompt);
    if (n + strlen(words) + 2 > cap) return false;
    s.fact[HM_FACT_SIDE] = (uint8_t)side;
    size_t at = subject_end(prompt, s.fact[HM_FACT_SUBJECT], buf);
    for (int tries = 0; tries < 4; tries++) { /* in the midst of a phrase they would change what it says */
        hm_str out = {buf, cap, 0};
        hm_str_addf(&out, "%.*s %s%s", (int)at, prompt, words, prompt + at);
        if (hm_caption_parse(buf, t.fact) == (said | where) && !memcmp(t.fact, s.fact, sizeof s.fact)) return true;
        if (at == n) break;
        at = word_end(prompt, at);
        memset(&t, 0, sizeof t);
    }
    return false;
}
