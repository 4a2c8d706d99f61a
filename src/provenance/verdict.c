/* verdict.c - all layers of a file's marks in one answer.   SPDX-License-Identifier: MIT
 * Layers: signed Content Credentials, what they say about the visible mark, and whether the layers agree. */
#include "provenance/verdict.h"

#include <string.h>

static himmel_layer layer_of(const char *state)
{
    if (!strcmp(state, "valid")) return HIMMEL_LAYER_FOUND;
    return !strcmp(state, "broken") ? HIMMEL_LAYER_BROKEN : HIMMEL_LAYER_ABSENT;
}

/* The visible mark is for people's eyes: the credentials say whether it was drawn. */
static json_t *visible(const json_t *credentials)
{
    const json_t *g = json_object_get(json_object_get(credentials, "assertions"), "org.himmel.generation");
    const json_t *said = json_object_get(g, "visible_mark");
    json_t *o = json_object();
    json_object_set_new(o, "state", json_string(!said ? "not said" : json_is_true(said) ? "drawn" : "left out"));
    return o;
}

himmel_status hm_verdict_make(himmel_verdict *out, const char *path, const uint8_t *data, size_t n, json_t *credentials,
                              himmel_error *err)
{
    (void)data, (void)n;
    json_t *all = json_object();
    const char *state = json_string_value(json_object_get(credentials, "state"));
    out->credentials = layer_of(state ? state : "none");
    out->trusted = json_is_true(json_object_get(credentials, "trusted"));
    out->made_by_machine = json_is_true(json_object_get(credentials, "made_by_machine"));
    json_t *name = json_string(path);
    json_object_set_new(all, "file", name ? name : json_string("?"));
    json_object_set(all, "credentials", credentials);
    json_object_set_new(all, "visible_mark", visible(credentials));
    out->json = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    return out->json ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
}
