/* story.c - storyboards: a JSON file of cards.   SPDX-License-Identifier: MIT */
#include "cli/story.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 1 << 20 };

static bool fail(himmel_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool fail(himmel_error *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err->code = HIMMEL_EFORMAT;
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    return false;
}

static json_t *load(const char *path, himmel_error *err)
{
    FILE *f = fopen(path, "rb");
    char *text = f ? malloc(MAX_BYTES + 1) : NULL;
    const size_t n = text ? fread(text, 1, MAX_BYTES + 1, f) : 0;
    json_error_t why;
    json_t *j = NULL;
    if (!f) fail(err, "%.300s: cannot read: %s", path, strerror(errno));
    else if (!text) fail(err, "%.300s: out of memory", path);
    else if (ferror(f)) fail(err, "%.300s: cannot read it", path);
    else if (n > MAX_BYTES) fail(err, "%.300s: larger than 1 MiB, not a storyboard", path);
    else if (!(j = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why)))
        fail(err, "%.200s: line %d, column %d: %.160s", path, why.line, why.column, why.text);
    free(text);
    if (f) fclose(f);
    return j;
}

/* Only keys of the list (ended by NULL). */
static bool known_keys(const json_t *object, const char *const *keys, const char *where, himmel_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        bool known = false;
        for (size_t i = 0; keys[i]; i++) known |= !strcmp(key, keys[i]);
        if (!known) return fail(err, "%.300s: there is no \"%.60s\" in a storyboard", where, key);
    }
    return true;
}

/* A string or number of object, if it is there. */
static bool text_of(const json_t *object, const char *key, const char *where, const char **out, himmel_error *err)
{
    const json_t *v = json_object_get(object, key);
    *out = v ? json_string_value(v) : NULL;
    return !v || *out || fail(err, "%.300s: \"%s\" must be a text", where, key);
}

static bool number_of(const json_t *object, const char *key, const char *where, double *out, himmel_error *err)
{
    const json_t *v = json_object_get(object, key);
    if (v) *out = json_number_value(v);
    return !v || json_is_number(v) || fail(err, "%.300s: \"%s\" must be a number", where, key);
}

static bool read_card(cli_story *s, const char *path, const json_t *j, himmel_error *err)
{
    static const char *const keys[] = {"at", "prompt", "picture", NULL};
    char where[400];
    snprintf(where, sizeof where, "%.300s: card %zu", path, s->n + 1);
    if (s->n == HIMMEL_MAX_CARDS) return fail(err, "%.300s: more than %d cards", path, HIMMEL_MAX_CARDS);
    himmel_card *c = &s->card[s->n];
    const char *picture;
    if (!json_is_object(j)) return fail(err, "%s must be an object", where);
    if (!known_keys(j, keys, where, err) || !number_of(j, "at", where, &c->at, err) ||
        !text_of(j, "prompt", where, &c->prompt, err) || !text_of(j, "picture", where, &picture, err))
        return false;
    if (!c->prompt && !picture) return fail(err, "%s has neither prompt nor picture", where);
    if (s->n && !json_object_get(j, "at")) return fail(err, "%s does not say \"at\" which second it stands", where);
    if (picture) {
        const char *slash = strrchr(path, '/');
        const int folder = *picture == '/' || !slash ? 0 : (int)(slash - path) + 1;
        const size_t cap = (size_t)folder + strlen(picture) + 1;
        char *p = s->pictures[s->n] = malloc(cap);
        if (!p) return fail(err, "%s: out of memory", where);
        snprintf(p, cap, "%.*s%s", folder, path, picture);
        c->picture = p;
    }
    s->n++;
    return true;
}

bool story_read(cli_story *s, const char *path, himmel_error *err)
{
    static const char *const keys[] = {"seconds", "prompt", "cards", NULL};
    *s = (cli_story){0};
    json_t *j = s->json = load(path, err);
    if (!j) return false;
    if (!json_is_object(j)) return fail(err, "%.300s: a storyboard is an object with \"cards\"", path);
    if (!known_keys(j, keys, path, err) || !number_of(j, "seconds", path, &s->seconds, err) ||
        !text_of(j, "prompt", path, &s->prompt, err))
        return false;
    const json_t *cards = json_object_get(j, "cards");
    if (!json_is_array(cards) || !json_array_size(cards)) return fail(err, "%.300s: \"cards\" must be a list of cards", path);
    for (size_t i = 0; i < json_array_size(cards); i++)
        if (!read_card(s, path, json_array_get(cards, i), err)) return false;
    return true;
}

void story_free(cli_story *s)
{
    for (size_t i = 0; i < HIMMEL_MAX_CARDS; i++) free(s->pictures[i]);
    json_decref(s->json);
    *s = (cli_story){0};
}
