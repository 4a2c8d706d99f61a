/* test_caption.c - captions say what they claim, are read back exactly, and use only words of the lexicon.
 * SPDX-License-Identifier: MIT
 * test_caption --lexicon prints src/world/lexicon.c (after a change of the vocabulary). */
#include <stdlib.h>
#include <string.h>
#include "base/rng.h"
#include "check.h"
#include "world/caption_words.h"

enum { N = 20000 };
static const uint32_t every_fact = (1u << HM_N_FACTS) - 1;

/* ---- the lexicon ---- */

typedef struct {
    char (*word)[64];
    size_t n;
} word_list;
enum { MAX_WORDS = 20000 };

/* Next word of text, lower case (ASCII and German), split at everything but letters and digits. */
static bool next_word(const char **p, char out[64])
{
    const char *s = *p;
    size_t n = 0;
    for (;; s++) {
        uint8_t c = (uint8_t)*s;
        const bool letter = c >= 0x80 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        if (!letter && (n || !c)) break;
        if (!letter) continue;
        if (c >= 'A' && c <= 'Z') c |= 32;
        if (n && (uint8_t)out[n - 1] == 0xC3 && c >= 0x84 && c <= 0x9C) c |= 0x20;
        if (n < 63) out[n++] = (char)c;
    }
    out[n] = 0;
    *p = s;
    return n > 0;
}
static void collect(void *user, hm_fact fact, int value, const char *text, bool heard)
{
    word_list *l = user;
    char w[64];
    (void)fact, (void)value;
    if (heard) return;
    while (next_word(&text, w) && l->n < MAX_WORDS) memcpy(l->word[l->n++], w, sizeof w);
}
static int by_bytes(const void *a, const void *b) { return strcmp(a, b); }
static word_list vocabulary(void)
{
    word_list l = {calloc(MAX_WORDS, 64), 0};
    hm_words_each(&hm_words_en, collect, &l);
    hm_words_each(&hm_words_de, collect, &l);
    qsort(l.word, l.n, 64, by_bytes);
    size_t n = 0;
    for (size_t i = 0; i < l.n; i++)
        if (!n || strcmp(l.word[n - 1], l.word[i])) memmove(l.word[n++], l.word[i], 64);
    l.n = n;
    return l;
}
static int print_lexicon(void)
{
    const word_list l = vocabulary();
    puts("/* lexicon.c - every word that the grammar can produce.   SPDX-License-Identifier: MIT\n"
         " * Made by test_caption --lexicon from the vocabulary in caption_words_*.c; test_caption checks that it is up to\n"
         " * date. */\n#include \"world/caption.h\"\n\nstatic const char *const words[] = {");
    size_t column = 0;
    for (size_t i = 0; i < l.n; i++) {
        if (!column) column = (size_t)printf("   ");
        column += (size_t)printf(" \"%s\",", l.word[i]);
        if (column > 90 || i + 1 == l.n) putchar('\n'), column = 0;
    }
    puts("    NULL};\n\nconst char *const *hm_lexicon(size_t *n)\n{\n    if (n) *n = HM_COUNT(words) - 1;\n    return words;\n}");
    free(l.word);
    return 0;
}
static bool in_lexicon(const char *w)
{
    size_t n, lo = 0;
    const char *const *words = hm_lexicon(&n);
    for (size_t hi = n; lo < hi;) {
        const size_t mid = (lo + hi) / 2;
        const int c = strcmp(w, words[mid]);
        if (!c) return true;
        if (c < 0) hi = mid;
        else lo = mid + 1;
    }
    return false;
}
static void test_lexicon(void)
{
    const word_list l = vocabulary();
    size_t n, wrong = 0;
    const char *const *words = hm_lexicon(&n);
    CHECK(n == l.n && !words[n], "%zu words in lexicon.c, %zu in the vocabulary: remake it (see the top)", n, l.n);
    for (size_t i = 0; i < n && i < l.n; i++) wrong += strcmp(words[i], l.word[i]) != 0;
    CHECK(!wrong && n > 500, "%zu of %zu words differ", wrong, n);
    free(l.word);
    int strange = 0;
    for (uint64_t i = 0; i < 50000; i++) {
        hm_scene s;
        char buf[1024], w[64];
        hm_scene_random(&s, i % 5000);
        const hm_caption_opts o = {i & 1 ? HM_LANG_DE : HM_LANG_EN, every_fact};
        hm_caption(buf, sizeof buf, &s, &o, i, NULL);
        for (const char *p = buf; next_word(&p, w);)
            if (!in_lexicon(w) && strange++ < 10) fprintf(stderr, "not in the lexicon: %s\n", w);
    }
    CHECK(!strange, "%d words", strange);
}

/* ---- round trips ---- */

static void test_round_trip(hm_lang lang)
{
    hm_rng r = hm_rng_at(5, (uint64_t)lang);
    int wrong = 0, shown = 0, too_much = 0;
    uint32_t ever = 0;
    for (uint64_t i = 0; i < N; i++) {
        hm_scene s;
        char buf[1024];
        uint8_t fact[HM_N_FACTS];
        uint32_t said;
        hm_scene_random(&s, i);
        if (i & 1) hm_scene_mirror(&s);
        const hm_caption_opts o = {lang, i % 3 ? every_fact : hm_rng_u32(&r) & every_fact};
        const size_t n = hm_caption(buf, sizeof buf, &s, &o, i + 7, &said);
        too_much += n >= sizeof buf || (said & ~(o.say & hm_caption_sayable(&s)));
        ever |= said;
        const uint32_t got = hm_caption_parse(buf, fact);
        bool same = got == said;
        for (int f = 0; f < HM_N_FACTS; f++) same &= !(said >> f & 1) || fact[f] == s.fact[f];
        wrong += !same;
        if (!same && shown++ < 15) fprintf(stderr, "said %03x read %03x: %s\n", said, got, buf);
    }
    CHECK(wrong <= N / 200, "%d of %d captions misread", wrong, N);
    CHECK(!too_much && ever == every_fact, "%d captions say more than allowed; ever said: %x", too_much, ever);
    printf("language %d: %d of %d captions misread\n", (int)lang, wrong, N);
}

static void test_shapes(void)
{
    hm_scene s;
    hm_scene_random(&s, 3);
    char a[1024], b[1024], tiny[8];
    uint32_t said = 7;
    const hm_caption_opts none = {HM_LANG_EN, 0}, all = {HM_LANG_DE, every_fact};
    hm_caption(a, sizeof a, &s, &none, 1, &said);
    CHECK(!said && *a, "says nothing: %s", a);
    const size_t n = hm_caption(a, sizeof a, &s, &all, 9, NULL);
    CHECK(hm_caption(b, sizeof b, &s, &all, 9, NULL) == n && !strcmp(a, b), "same seed, same caption");
    CHECK(hm_caption(tiny, sizeof tiny, &s, &all, 9, NULL) == n && strlen(tiny) == 7, "cut like snprintf");
}

/* What people write. */
static void test_prompts(void)
{
    enum { T = HM_FACT_TIME, W = HM_FACT_WEATHER, P = HM_FACT_PLACE, U = HM_FACT_SUBJECT, C = HM_FACT_COLOUR,
        K = HM_FACT_COUNT, M = HM_FACT_CAMERA, L = HM_FACT_PACE, S = HM_FACT_SIDE };
    static const struct { const char *text; struct { int fact, value; } want[7]; int n; } cases[] = {
        {"Two red hot air balloons over snowy mountains at sunrise, the camera slowly pans left",
         {{U, HM_SUBJECT_BALLOON}, {K, 2}, {C, HM_COLOUR_RED}, {P, HM_PLACE_MOUNTAINS}, {T, HM_TIME_SUNRISE}, {M, HM_CAMERA_PAN_LEFT}}, 6},
        {"DREI BLAUE SEGELBOOTE AUF DEM MEER BEI SONNENUNTERGANG",
         {{U, HM_SUBJECT_BOAT}, {K, 3}, {C, HM_COLOUR_BLUE}, {P, HM_PLACE_CALM_SEA}, {T, HM_TIME_SUNSET}}, 5},
        {"drei gruene Heissluftballons ueber gruenen Huegeln",
         {{U, HM_SUBJECT_BALLOON}, {K, 3}, {C, HM_COLOUR_GREEN}, {P, HM_PLACE_HILLS}}, 4},
        {"a white sailboat in a storm on a rough sea", {{U, HM_SUBJECT_BOAT}, {K, 1}, {C, HM_COLOUR_WHITE}, {W, HM_WEATHER_STORM},
         {P, HM_PLACE_STORMY_SEA}}, 5},
        {"northern lights over a frozen lake", {{T, HM_TIME_AURORA}, {P, HM_PLACE_LAKE}}, 2},
        {"fireworks above a city at night", {{U, HM_SUBJECT_FIREWORKS}, {P, HM_PLACE_SKYLINE}, {T, HM_TIME_MOONLIT}}, 3},
        {"red sky at sunset over the ocean", {{T, HM_TIME_SUNSET}, {P, HM_PLACE_CALM_SEA}}, 2},
        {"A lighthouse with red stripes on the left, fog", {{U, HM_SUBJECT_LIGHTHOUSE}, {C, HM_COLOUR_RED}, {S, HM_SIDE_LEFT}, {W, HM_WEATHER_FOG}}, 4},
        {"ein roter Drachen am Strand, Schwenk nach rechts", {{U, HM_SUBJECT_KITE}, {K, 1}, {C, HM_COLOUR_RED}, {P, HM_PLACE_BEACH},
         {M, HM_CAMERA_PAN_RIGHT}}, 5},
        {"Gewitter über der Großstadt bei Nacht im Zeitraffer", {{W, HM_WEATHER_STORM}, {P, HM_PLACE_SKYLINE}, {T, HM_TIME_MOONLIT}, {L, HM_PACE_LAPSE}}, 4},
        {"birds fly over a misty pine forest at dawn", {{U, HM_SUBJECT_BIRDS}, {W, HM_WEATHER_FOG}, {P, HM_PLACE_FOREST}, {T, HM_TIME_DAWN}}, 4},
        {"shooting stars in the night sky above the desert", {{U, HM_SUBJECT_SHOOTING_STARS}, {P, HM_PLACE_DUNES}, {T, HM_TIME_STARRY}}, 3},
        {"timelapse of clouds, zoom out", {{L, HM_PACE_LAPSE}, {W, HM_WEATHER_SCATTERED}, {M, HM_CAMERA_PULL_OUT}}, 3},
        {"the balloon is yellow", {{U, HM_SUBJECT_BALLOON}, {C, HM_COLOUR_YELLOW}}, 2},
        {"Regenbogen \xC3\xBC" "ber einer Windm\xC3\xBChle", {{W, HM_WEATHER_RAINBOW}, {U, HM_SUBJECT_WINDMILL}}, 2},
        {"der Mond geht \xC3\xBC" "ber dem Meer auf", {{U, HM_SUBJECT_MOONRISE}}, 1},
        {"many paper lanterns", {{U, HM_SUBJECT_LANTERNS}, {K, 0}}, 2},
        {"drone shot above the clouds", {{M, HM_CAMERA_FLY_OVER}, {P, HM_PLACE_ABOVE_CLOUDS}}, 2},
        {"a cat plays the piano", {{0, 0}}, 0}, {"", {{0, 0}}, 0}, {",,,---...\xff\xc3", {{0, 0}}, 0}};
    for (size_t i = 0; i < HM_COUNT(cases); i++) {
        uint8_t fact[HM_N_FACTS];
        const uint32_t got = hm_caption_parse(cases[i].text, fact);
        uint32_t want = 0;
        for (int k = 0; k < cases[i].n; k++) {
            const int f = cases[i].want[k].fact, v = cases[i].want[k].value;
            want |= 1u << f;
            CHECK((got >> f & 1) && fact[f] == v, "\"%s\": %s is %s, not %s", cases[i].text, hm_fact_name((hm_fact)f),
                  got >> f & 1 ? hm_fact_value_name((hm_fact)f, fact[f]) : "unsaid", hm_fact_value_name((hm_fact)f, v));
        }
        CHECK(got == want || cases[i].n == 1, "\"%s\": facts %x, not %x", cases[i].text, got, want);
    }
}

static void test_unknown(void)
{
    static const struct { const char *text, *words; } cases[] = {
        {"a cat at the piano at sunset", "cat piano"}, {"Two red balloons drifting slowly over the seas!", ""},
        {"Ein Hund am Strand, Klavier", "Hund Klavier"}, {"drei rote Ballons schweben \xC3\xBC" "ber gr\xC3\xBCnen H\xC3\xBCgeln", ""},
        {"gruene Huegel, Haus-Boot 2026", "Haus"}, {"A dragon's castle", "dragon's castle"}, {"", ""}, {"  ,. ", ""},
        {"stormy waves crashing", ""}, {"\xff\xfe quark", "\xff\xfe quark"}};
    for (size_t i = 0; i < HM_COUNT(cases); i++) {
        hm_word w[8];
        char got[256] = "";
        hm_str s = {got, sizeof got, 0};
        const size_t n = hm_unknown_words(cases[i].text, w, 8);
        for (size_t k = 0; k < n && k < 8; k++) hm_str_addf(&s, "%s%.*s", k ? " " : "", (int)w[k].len, w[k].at);
        CHECK(!strcmp(got, cases[i].words), "\"%s\": \"%s\", not \"%s\"", cases[i].text, got, cases[i].words);
    }
    hm_word one[1];
    CHECK(hm_unknown_words("xylophone quark zebra", one, 1) == 3, "counts beyond cap");
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--lexicon")) return print_lexicon();
    test_lexicon();
    test_round_trip(HM_LANG_EN);
    test_round_trip(HM_LANG_DE);
    test_shapes();
    test_prompts();
    test_unknown();
    return CHECK_END();
}
