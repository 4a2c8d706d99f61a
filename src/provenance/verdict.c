/* verdict.c - all layers of a file's marks in one answer.   SPDX-License-Identifier: MIT
 * Layers: signed Content Credentials, what they say about the visible mark, the invisible watermark, and whether the layers
 * agree. Anyone can write a watermark: alone it says "made by himmel, if nobody forged it", named by valid credentials it
 * is genuine. */
#include "provenance/verdict.h"

#include <string.h>

#include "provenance/verify_internal.h"
#include "provenance/watermark.h"

enum { MAX_DEPTH = 32 };

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

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

/* ---- what the credentials say about the watermark ---- */

/* The payload that a manifest binds to; "" = none. */
static const char *signed_payload(const json_t *manifest)
{
    const json_t *b = json_object_get(json_object_get(manifest, "assertions"), "c2pa.soft-binding");
    return strcmp(text(b, "alg"), "org.himmel.watermark.1") ? "" : text(json_array_get(json_object_get(b, "blocks"), 0), "value");
}

static bool ingredient_names(const json_t *manifest, const char *payload, int depth)
{
    size_t i;
    const json_t *all = json_object_get(manifest, "ingredients"), *one;
    for (i = 0; depth < MAX_DEPTH && (one = json_array_get(all, i)); i++)
        if (!strcmp(signed_payload(one), payload) || ingredient_names(one, payload, depth + 1)) return true;
    return false;
}

/* A manifest may bind to its own film and signer only: tag and version are 4 digits, then come film id and issuer id. */
static bool is_its_own(const json_t *manifest, const char *payload)
{
    const char *film = text(json_object_get(json_object_get(manifest, "assertions"), "org.himmel.generation"), "film_id");
    return strlen(payload) == 24 && !strncmp(payload + 4, film, 12) &&
           !strncmp(payload + 16, text(manifest, "issuer_id"), 8);
}

/* ---- the watermark ---- */

static json_t *one_finding(const hm_wm_finding *f, const json_t *credentials, bool valid)
{
    char hex[HM_WM_HEX];
    hm_wm_hex(&f->payload, hex);
    json_t *o = json_object();
    json_object_set_new(o, "payload", json_string(hex));
    json_object_set_new(o, "film_id", json_stringn(hex + 4, 12));
    json_object_set_new(o, "issuer_id", json_stringn(hex + 16, 8));
    json_object_set_new(o, "from", json_real(f->from));
    json_object_set_new(o, "to", json_real(f->to));
    json_object_set_new(o, "confidence", json_real(f->confidence));
    json_object_set_new(o, "scale", json_real(f->scale));
    json_object_set_new(o, "mirrored", json_boolean(f->mirrored));
    json_object_set_new(o, "named_by", !valid                                            ? json_null()
                                       : !strcmp(signed_payload(credentials), hex)       ? json_string("manifest")
                                       : ingredient_names(credentials, hex, 0)           ? json_string("ingredient")
                                                                                         : json_null());
    return o;
}

static json_t *watermark(const hm_wm_report *r, const char *unread, const json_t *credentials, bool valid)
{
    const char *named = signed_payload(credentials);
    json_t *o = json_object(), *list = json_array();
    for (int i = 0; i < r->n; i++) json_array_append_new(list, one_finding(&r->found[i], credentials, valid));
    json_object_set_new(o, "state", json_string(unread ? "unread" : r->n ? "found" : "none"));
    if (unread) json_object_set_new(o, "reason", hm_json_text(unread, strlen(unread)));
    json_object_set_new(o, "signed", *named ? json_string(named) : json_null());
    json_object_set_new(o, "false_alarm", json_real(r->false_alarm));
    json_object_set_new(o, "findings", list);
    return o;
}

/* ---- do they agree? ---- */

/* state: "agree", "disagree", "incomplete" (one layer alone, or one that lacks what the other names), "none". */
static json_t *agreement(const json_t *credentials, const json_t *mark, bool valid)
{
    const char *named = signed_payload(credentials), *state = "none";
    const json_t *list = json_object_get(mark, "findings"), *one;
    const bool found = json_array_size(list) > 0, inputs = json_array_size(json_object_get(credentials, "ingredients")) > 0;
    json_t *o = json_object(), *notes = json_array();
    int bad = 0, unnamed = 0;
    for (size_t i = 0; (one = json_array_get(list, i)); i++) unnamed += !*text(one, "named_by");
    if (valid && *named && !is_its_own(credentials, named))
        bad++, json_array_append_new(notes, json_string("the credentials name a watermark of another film or signer"));
    if (valid && found && json_is_true(json_object_get(credentials, "camera")) &&
        !json_is_true(json_object_get(credentials, "made_by_machine")))
        bad++, json_array_append_new(notes, json_string("signed as a camera's picture, but the watermark says that himmel made it"));
    else if (valid && unnamed && *named && !inputs)
        bad++, json_array_append_new(notes, json_string("the watermark is of another film than the credentials"));
    else if (valid && unnamed)
        json_array_append_new(notes, json_string("the credentials do not name the watermark"));
    if (valid && *named && !found)
        json_array_append_new(notes, json_string("the watermark that the credentials name was not found"));
    if (found && !valid) json_array_append_new(notes, json_string("no valid credentials vouch for the watermark"));
    if (bad) state = "disagree";
    else if (valid && found && !unnamed) state = "agree";
    else if (valid || found) state = "incomplete";
    json_object_set_new(o, "state", json_string(state));
    json_object_set_new(o, "notes", notes);
    return o;
}

himmel_status hm_verdict_make(himmel_verdict *out, const char *path, json_t *credentials, himmel_error *err)
{
    himmel_error why = {0};
    hm_wm_report r;
    const himmel_status rc = hm_watermark_read(&r, path, &why);
    if (rc == HIMMEL_ENOMEM) return hm_fail(err, rc, "%s", why.message);
    out->credentials = layer_of(text(credentials, "state"));
    out->trusted = json_is_true(json_object_get(credentials, "trusted"));
    out->made_by_machine = json_is_true(json_object_get(credentials, "made_by_machine"));
    out->watermark = r.n ? HIMMEL_LAYER_FOUND : HIMMEL_LAYER_ABSENT;
    const bool valid = out->credentials == HIMMEL_LAYER_FOUND;
    json_t *all = json_object(), *mark = watermark(&r, rc ? why.message : NULL, credentials, valid);
    json_t *agree = agreement(credentials, mark, valid);
    out->disagree = !strcmp(text(agree, "state"), "disagree");
    json_object_set_new(all, "file", hm_json_text(path, strlen(path)));
    json_object_set(all, "credentials", credentials);
    json_object_set_new(all, "visible_mark", visible(credentials));
    json_object_set_new(all, "watermark", mark);
    json_object_set_new(all, "agreement", agree);
    out->json = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    return out->json ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
}
