/* verify.c - the manifest store of a file, checked.   SPDX-License-Identifier: MIT
 *   file -asset-> JUMBF store -last manifest-> claim -> signature, assertions by hash, hard binding, ingredients (their
 *   manifests likewise, but their bytes are not here). A cycle of ingredients ends at the manifest seen before. */
#include "provenance/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provenance/verify_internal.h"

enum { MAX_BOXES = 4096, MAX_CHECKS = 2000, SHOWN_ASSERTION = 16 << 10, MAX_KNOWN = 128 << 10, HASH_SHARE = 32 };

typedef struct {
    hm_jumb box;            /* the manifest */
    hm_jumb assertions;
    hm_cbor claim;
    const uint8_t *claim_bytes;
    size_t claim_len;
    int version;            /* of the claim: 1 or 2 */
    bool update;
    const char *alg;        /* of hashes */
    size_t alg_len;
} manifest;

/* ---- notes ---- */

static bool is_known_failure(hm_cbor v, const char *code, int depth)
{
    hm_cbor_iter it;
    hm_cbor one;
    if (hm_cbor_text_is(v, code)) return true;
    if (depth > 8 || !v.at || !hm_cbor_each(v, &it)) return false;
    while (hm_cbor_next(&it, NULL, &one))
        if (is_known_failure(one, code, depth + 1)) return true;
    return false;
}

void hm_note(hm_verifier *v, bool ok, const char *code, const char *where, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const bool known = !ok && v->in_ingredient && json_array_size(v->checks) < MAX_CHECKS &&
                       v->known_failures.end - v->known_failures.at <= MAX_KNOWN &&
                       is_known_failure(v->known_failures, code, 0);
    if (!ok && !known) v->broken = true;
    if (json_array_size(v->checks) >= MAX_CHECKS) return;
    json_t *o = json_object();
    json_object_set_new(o, "code", json_string(code));
    json_object_set_new(o, "ok", json_boolean(ok));
    json_object_set_new(o, "where", hm_json_text(where, strlen(where)));
    json_object_set_new(o, "text", hm_json_text(text, strlen(text)));
    if (known) json_object_set_new(o, "known", json_true());
    json_array_append_new(v->checks, o);
}

/* ---- references ---- */

/* "self#jumbf=c2pa.assertions/X" or ".../c2pa/MANIFEST/c2pa.assertions/X": the parts, "" where it has none. */
typedef struct {
    char manifest[256], rest[256];
} reference;

static bool copy_part(char out[256], const char *s, size_t n)
{
    if (n >= 256 || memchr(s, 0, n)) return false;
    memcpy(out, s, n);
    out[n] = 0;
    return true;
}

static bool parse_reference(hm_cbor url, reference *r)
{
    static const char self[] = "self#jumbf=", absolute[] = "/c2pa/";
    const char *s;
    size_t n;
    *r = (reference){{0}, {0}};
    if (!hm_cbor_text(url, &s, &n) || n < sizeof self - 1 || memcmp(s, self, sizeof self - 1)) return false;
    s += sizeof self - 1, n -= sizeof self - 1;
    if (n < sizeof absolute - 1 || memcmp(s, absolute, sizeof absolute - 1)) return copy_part(r->rest, s, n);
    s += sizeof absolute - 1, n -= sizeof absolute - 1;
    const char *slash = memchr(s, '/', n);
    const size_t name = slash ? (size_t)(slash - s) : n;
    return copy_part(r->manifest, s, name) && (!slash || copy_part(r->rest, slash + 1, n - name - 1));
}

static bool hash_matches(hm_verifier *v, const hm_box *box, hm_cbor ref, const manifest *m)
{
    hm_cbor x;
    const uint8_t *want;
    size_t n;
    const char *alg = m->alg;
    size_t alg_len = m->alg_len;
    uint8_t have[HM_MAX_DIGEST];
    if (!hm_cbor_get(ref, "hash", &x) || !hm_cbor_bytes(x, &want, &n)) return false;
    if (hm_cbor_get(ref, "alg", &x)) hm_cbor_text(x, &alg, &alg_len);
    if (box->content_len > v->hash_left) return false;
    v->hash_left -= box->content_len;
    const size_t len = hm_digest_of(alg, alg_len, box->content, box->content_len, have);
    return len && len == n && !memcmp(want, have, n);
}

static bool find_manifest(const hm_verifier *v, const char *label, hm_jumb *out)
{
    return *label && hm_jumb_find(&v->store, label, strlen(label), out);
}

/* ---- the claim ---- */

static bool open_manifest(hm_verifier *v, const hm_jumb *box, manifest *m)
{
    hm_jumb claim;
    hm_box content;
    hm_cbor alg;
    size_t bad = 0;
    *m = (manifest){.box = *box, .version = 2, .alg = "sha256", .alg_len = 6};
    m->update = hm_jumb_is(box, HM_JUMB_UPDATE);
    if (!hm_jumb_find(box, "c2pa.claim.v2", 13, &claim)) {
        m->version = 1;
        if (!hm_jumb_find(box, "c2pa.claim", 10, &claim)) {
            hm_note(v, false, "claim.missing", box->label, "the manifest has no claim, or more than one");
            return false;
        }
    }
    if (!hm_jumb_is(&claim, HM_JUMB_CLAIM) || !hm_jumb_content(&claim, "cbor", &content) ||
        !hm_cbor_open(&m->claim, content.content, content.content_len, &bad) ||
        hm_cbor_is(m->claim) != HM_CBOR_MAP) {
        hm_note(v, false, "claim.cbor.invalid", box->label, "the claim is broken CBOR (byte %zu)", bad);
        return false;
    }
    if (!hm_jumb_find(box, "c2pa.assertions", 15, &m->assertions) ||
        !hm_jumb_is(&m->assertions, HM_JUMB_ASSERTIONS)) {
        hm_note(v, false, "claim.malformed", box->label, "the manifest has no assertions");
        return false;
    }
    m->claim_bytes = content.content, m->claim_len = content.content_len;
    if (hm_cbor_get(m->claim, "alg", &alg)) hm_cbor_text(alg, &m->alg, &m->alg_len);
    return true;
}

static void check_claim_signature(hm_verifier *v, const manifest *m, json_t *about)
{
    hm_cbor url;
    reference r;
    hm_jumb sig;
    const bool named = hm_cbor_get(m->claim, "signature", &url) && parse_reference(url, &r) &&
                       (!*r.manifest || !strcmp(r.manifest, m->box.label)) && !strcmp(r.rest, "c2pa.signature");
    if (!named || !hm_jumb_find(&m->box, "c2pa.signature", 14, &sig) || !hm_jumb_is(&sig, HM_JUMB_SIGNATURE)) {
        hm_note(v, false, "claimSignature.missing", m->box.label, "the claim's signature is not there");
        return;
    }
    hm_check_signature(v, m->box.label, &sig, m->claim_bytes, m->claim_len, about);
}

/* ---- assertions ---- */

static int ordinal(const manifest *m, const hm_jumb *a)
{
    hm_box box;
    int i = 0;
    for (size_t at = 0; hm_box_next(m->assertions.inner, m->assertions.inner_len, &at, &box); i++)
        if (box.box == a->box.box) return i;
    return -1;
}

/* One of the claim's references; false: it points elsewhere or to nothing. */
static bool check_reference(hm_verifier *v, const manifest *m, hm_cbor ref, bool seen[MAX_BOXES])
{
    static const char dir[] = "c2pa.assertions/";
    hm_cbor url;
    reference r;
    hm_jumb a;
    if (!hm_cbor_get(ref, "url", &url) || !parse_reference(url, &r) || strncmp(r.rest, dir, sizeof dir - 1)) {
        hm_note(v, false, "claim.malformed", m->box.label, "a reference of the claim is none to an assertion");
        return false;
    }
    const char *label = r.rest + sizeof dir - 1;
    if (*r.manifest && strcmp(r.manifest, m->box.label)) {
        hm_note(v, false, "assertion.outsideManifest", label, "an assertion of another manifest");
        return false;
    }
    if (!hm_jumb_find(&m->assertions, label, strlen(label), &a)) {
        hm_note(v, false, "assertion.missing", label, "the assertion is not there, or twice");
        return false;
    }
    const int i = ordinal(m, &a);
    if (i < 0 || i >= MAX_BOXES || seen[i]) {
        hm_note(v, false, "claim.malformed", label, "the claim names an assertion twice");
        return false;
    }
    seen[i] = true;
    const bool ok = hash_matches(v, &a.box, ref, m);
    hm_note(v, ok, ok ? "assertion.hashedURI.match" : "assertion.hashedURI.mismatch", label,
            ok ? "as signed" : "the assertion is not the one that was signed");
    return true;
}

static void check_assertions(hm_verifier *v, const manifest *m)
{
    static const char *const lists[] = {"assertions", "created_assertions", "gathered_assertions"};
    bool *seen = calloc(MAX_BOXES, sizeof *seen);
    int n_refs = 0;
    if (!seen) {
        v->broken = true;
        return;
    }
    for (size_t k = m->version == 1 ? 0 : 1; k < (m->version == 1 ? 1 : HM_COUNT(lists)); k++) {
        hm_cbor list, ref;
        hm_cbor_iter it;
        if (!hm_cbor_get(m->claim, lists[k], &list) || !hm_cbor_each(list, &it)) continue;
        while (hm_cbor_next(&it, NULL, &ref) && n_refs++ < MAX_BOXES)
            if (!check_reference(v, m, ref, seen)) break;
    }
    if (!n_refs) hm_note(v, false, "claim.malformed", m->box.label, "the claim names no assertions");
    hm_box box;
    hm_jumb a;
    int i = 0;
    for (size_t at = 0; hm_box_next(m->assertions.inner, m->assertions.inner_len, &at, &box); i++)
        if (i >= MAX_BOXES || !seen[i])
            hm_note(v, false, "assertion.undeclared", hm_jumb_open(&a, &box) ? a.label : "?",
                    "an assertion that the claim does not name");
    free(seen);
}

/* The next assertion whose label (without "__2") is one of ours; content must be CBOR. */
static bool next_assertion(const manifest *m, size_t *at, char label[256], hm_cbor *content)
{
    hm_box box, c;
    hm_jumb a;
    size_t bad;
    while (hm_box_next(m->assertions.inner, m->assertions.inner_len, at, &box)) {
        if (!hm_jumb_open(&a, &box)) continue;
        if (!hm_jumb_content(&a, "cbor", &c) || !hm_cbor_open(content, c.content, c.content_len, &bad)) continue;
        snprintf(label, 256, "%s", a.label);
        char *instance = strstr(label, "__");
        if (instance) *instance = 0;
        return true;
    }
    return false;
}

/* ---- hard binding ---- */

static bool check_binding_of(hm_verifier *v, const manifest *m, int depth);

/* An update manifest has no binding; its parent's must hold. */
static bool check_parent_binding(hm_verifier *v, const manifest *m, int depth)
{
    char label[256];
    hm_cbor a, ref, url, rel;
    size_t at = 0;
    while (next_assertion(m, &at, label, &a)) {
        reference r;
        hm_jumb box;
        manifest parent;
        if (strncmp(label, "c2pa.ingredient", 15) || !hm_cbor_get(a, "relationship", &rel) ||
            !hm_cbor_text_is(rel, "parentOf"))
            continue;
        if ((hm_cbor_get(a, "activeManifest", &ref) || hm_cbor_get(a, "c2pa_manifest", &ref)) &&
            hm_cbor_get(ref, "url", &url) && parse_reference(url, &r) && find_manifest(v, r.manifest, &box) &&
            open_manifest(v, &box, &parent))
            return check_binding_of(v, &parent, depth + 1);
    }
    return false;
}

static bool check_binding_of(hm_verifier *v, const manifest *m, int depth)
{
    char label[256];
    hm_cbor a;
    size_t at = 0;
    int n = 0;
    if (m->update) return depth < 16 && check_parent_binding(v, m, depth);
    while (next_assertion(m, &at, label, &a)) {
        hm_binding r;
        if (!hm_binding_label(label)) {
            if (!strncmp(label, "c2pa.hash.", 10))
                hm_note(v, false, "hashBinding.unsupported", label, "himmel cannot check this kind of binding"), n++;
            continue;
        }
        if (++n > 1) {
            hm_note(v, false, "assertion.multipleHardBindings", label, "more than one hard binding");
            break;
        }
        hm_binding_check(&r, label, a, m->alg, m->alg_len,
                         &(hm_bound_file){v->file, v->file_len, v->where, depth > 0});
        char code[64];
        snprintf(code, sizeof code, "assertion.%s.%s", strstr(label, "bmff") ? "bmffHash" : "dataHash",
                 r.match ? "match" : "mismatch");
        hm_note(v, r.match, code, label, "%s", r.match ? "the file's bytes are those that were signed" : r.problem);
        if (r.more_excluded)
            hm_note(v, true, "assertion.dataHash.additionalExclusionsPresent", label, "more than the manifest is left out");
        json_object_set_new(v->report, "bytes_covered", json_integer((json_int_t)r.covered));
    }
    return n > 0;
}

/* ---- actions ---- */

static void show_action(json_t *list, hm_cbor action, bool *machine, bool *camera)
{
    static const struct { const char *json, *cbor; } fields[] = {{"action", "action"},
        {"source_type", "digitalSourceType"}, {"agent", "softwareAgent"}, {"when", "when"}, {"description", "description"}};
    json_t *o = json_object();
    hm_cbor v;
    for (size_t i = 0; i < HM_COUNT(fields); i++)
        if (hm_cbor_get(action, fields[i].cbor, &v)) json_object_set_new(o, fields[i].json, hm_cbor_json(v, 4));
    const char *type = json_string_value(json_object_get(o, "source_type"));
    const char *last = type ? strrchr(type, '/') : NULL;
    if (last) {
        *machine |= !strcasecmp(last + 1, "trainedAlgorithmicMedia") ||
                    !strcasecmp(last + 1, "compositeWithTrainedAlgorithmicMedia");
        *camera |= !strcasecmp(last + 1, "digitalCapture") || !strcasecmp(last + 1, "computationalCapture");
    }
    json_array_append_new(list, o);
}

static void check_actions(hm_verifier *v, const manifest *m, json_t *about)
{
    char label[256];
    hm_cbor a, actions, one, name;
    size_t at = 0;
    bool machine = false, camera = false, first = true, begun = false;
    json_t *list = json_array();
    while (next_assertion(m, &at, label, &a)) {
        hm_cbor_iter it;
        if (strcmp(label, "c2pa.actions") && strcmp(label, "c2pa.actions.v2")) continue;
        if (!hm_cbor_get(a, "actions", &actions) || !hm_cbor_each(actions, &it)) {
            hm_note(v, false, "assertion.action.malformed", label, "actions without a list of actions");
            continue;
        }
        while (hm_cbor_next(&it, NULL, &one)) {
            const bool starts = hm_cbor_get(one, "action", &name) &&
                                (hm_cbor_text_is(name, "c2pa.created") || hm_cbor_text_is(name, "c2pa.opened"));
            begun |= first && starts;
            first = false;
            if (json_array_size(list) < 100) show_action(list, one, &machine, &camera);
        }
    }
    if (m->version >= 2 && !m->update && !begun)
        hm_note(v, false, "assertion.action.malformed", m->box.label, "the first action is neither created nor opened");
    json_object_set_new(about, "actions", list);
    json_object_set_new(about, "made_by_machine", json_boolean(machine));
    json_object_set_new(about, "camera", json_boolean(camera));
}

/* ---- ingredients ---- */

static void check_manifest(hm_verifier *v, const hm_jumb *box, json_t *about, bool active);

static bool visit(hm_verifier *v, const hm_jumb *box)
{
    for (int i = 0; i < v->n_visited; i++)
        if (v->visited_box[i] == box->box.box) return false;
    if (v->n_visited == HM_MAX_MANIFESTS) {
        hm_note(v, false, "ingredient.manifest.tooMany", box->label, "more than %d manifests",
                (int)HM_MAX_MANIFESTS);
        return false;
    }
    v->visited_box[v->n_visited++] = box->box.box;
    return true;
}

static void check_ingredient_manifest(hm_verifier *v, const manifest *m, hm_cbor a, hm_cbor ref, json_t *about)
{
    hm_cbor url, known;
    reference r;
    hm_jumb box, claim;
    hm_box content;
    if (!hm_cbor_get(ref, "url", &url) || !parse_reference(url, &r) || !find_manifest(v, r.manifest, &box)) {
        hm_note(v, false, "ingredient.manifest.missing", m->box.label, "the manifest of an ingredient is not there");
        return;
    }
    json_object_set_new(about, "manifest", hm_json_text(box.label, strlen(box.label)));
    bool ok = hash_matches(v, &box.box, ref, m);
    if (!ok && (hm_jumb_find(&box, "c2pa.claim", 10, &claim) || hm_jumb_find(&box, "c2pa.claim.v2", 13, &claim)) &&
        hm_jumb_content(&claim, "cbor", &content))
        ok = hash_matches(v, &content, ref, m); /* version 1.0 hashed the claim only */
    hm_note(v, ok, ok ? "ingredient.manifest.validated" : "ingredient.manifest.mismatch", box.label,
            ok ? "the ingredient's manifest is as signed" : "the ingredient's manifest is not the one that was signed");
    if (!visit(v, &box)) return;
    const hm_cbor outer = v->known_failures;
    const bool was_in = v->in_ingredient, broken = v->broken;
    v->broken = false, v->in_ingredient = true;
    v->known_failures = hm_cbor_get(a, "validationResults", &known) || hm_cbor_get(a, "validationStatus", &known)
                            ? known
                            : (hm_cbor){NULL, NULL};
    check_manifest(v, &box, about, false);
    json_object_set_new(about, "state", json_string(v->broken ? "broken" : "valid"));
    v->broken |= broken;
    v->known_failures = outer, v->in_ingredient = was_in;
}

static void check_ingredients(hm_verifier *v, const manifest *m, json_t *about)
{
    char label[256];
    hm_cbor a, x;
    size_t at = 0;
    int parents = 0;
    json_t *list = json_array();
    while (next_assertion(m, &at, label, &a)) {
        static const struct { const char *json, *cbor; } fields[] = {{"title", "dc:title"}, {"format", "dc:format"},
            {"relationship", "relationship"}};
        if (strncmp(label, "c2pa.ingredient", 15) || strstr(label, "thumbnail")) continue;
        json_t *o = json_object();
        for (size_t i = 0; i < HM_COUNT(fields); i++)
            if (hm_cbor_get(a, fields[i].cbor, &x)) json_object_set_new(o, fields[i].json, hm_cbor_json(x, 4));
        parents += hm_cbor_get(a, "relationship", &x) && hm_cbor_text_is(x, "parentOf");
        if (hm_cbor_get(a, "activeManifest", &x) || hm_cbor_get(a, "c2pa_manifest", &x))
            check_ingredient_manifest(v, m, a, x, o);
        json_array_append_new(list, o);
    }
    if (parents > 1) hm_note(v, false, "manifest.multipleParents", m->box.label, "%d parents", parents);
    if (json_array_size(list)) json_object_set_new(about, "ingredients", list);
    else json_decref(list);
}

/* ---- a manifest ---- */

static void show_claim(const manifest *m, json_t *about)
{
    static const char *const shown[] = {"org.himmel.generation", "cawg.training-mining", "c2pa.training-mining",
                                        "c2pa.soft-binding"};
    hm_cbor x, a;
    hm_cbor_iter it;
    char label[256];
    size_t at = 0;
    if (hm_cbor_get(m->claim, "claim_generator_info", &x)) {
        if (hm_cbor_is(hm_cbor_untag(x)) == HM_CBOR_ARRAY && hm_cbor_each(x, &it)) hm_cbor_next(&it, NULL, &x);
        json_object_set_new(about, "claim_generator", hm_cbor_json(x, 4));
    } else if (hm_cbor_get(m->claim, "claim_generator", &x)) {
        json_object_set_new(about, "claim_generator", hm_cbor_json(x, 4));
    }
    json_object_set_new(about, "claim_version", json_integer(m->version));
    json_t *assertions = json_object();
    while (next_assertion(m, &at, label, &a))
        for (size_t i = 0; i < HM_COUNT(shown); i++)
            if (!strcmp(label, shown[i]) && a.end - a.at <= SHOWN_ASSERTION)
                json_object_set_new(assertions, label, hm_cbor_json(a, 0));
    json_object_set_new(about, "assertions", assertions);
}

static void check_manifest(hm_verifier *v, const hm_jumb *box, json_t *about, bool active)
{
    manifest m;
    json_object_set_new(about, "manifest", hm_json_text(box->label, strlen(box->label)));
    if (!open_manifest(v, box, &m)) return;
    v->old_claim = m.version == 1;
    check_claim_signature(v, &m, about);
    check_assertions(v, &m);
    check_actions(v, &m, about);
    show_claim(&m, about);
    if (active && !check_binding_of(v, &m, 0))
        hm_note(v, false, "claim.hardBindings.missing", box->label, "nothing ties the manifest to this file");
    check_ingredients(v, &m, about);
}

static void check_store(hm_verifier *v, const hm_asset *asset)
{
    himmel_error err = {0};
    hm_box box;
    hm_jumb m, last = {0};
    size_t at = 0;
    if (hm_jumb_check(asset->manifest, asset->manifest_len, &err)) {
        hm_note(v, false, "manifest.malformed", "", "%.300s", err.message);
        return;
    }
    hm_box_next(asset->manifest, asset->manifest_len, &at, &box);
    if (!hm_jumb_open(&v->store, &box) || !hm_jumb_is(&v->store, HM_JUMB_STORE) || strcmp(v->store.label, "c2pa")) {
        hm_note(v, false, "manifest.malformed", "", "the JUMBF box is not a manifest store");
        return;
    }
    for (at = 0; hm_box_next(v->store.inner, v->store.inner_len, &at, &box);)
        if (hm_jumb_open(&m, &box) && (hm_jumb_is(&m, HM_JUMB_MANIFEST) || hm_jumb_is(&m, HM_JUMB_UPDATE))) last = m;
    if (!last.uuid || !hm_jumb_find(&v->store, last.label, strlen(last.label), &m)) {
        hm_note(v, false, "claim.missing", "", "the store has no manifest, or two of one name");
        return;
    }
    v->hash_left = HASH_SHARE * (uint64_t)asset->manifest_len;
    visit(v, &last);
    check_manifest(v, &last, v->report, true);
}

json_t *hm_credentials_check(const uint8_t *data, size_t n, X509_STORE *trust, himmel_error *err)
{
    hm_verifier v = {.file = data, .file_len = n, .trust = trust, .report = json_object(), .checks = json_array()};
    hm_asset asset;
    himmel_error why = {0};
    const char *state = "none";
    if (!v.report || !v.checks) {
        json_decref(v.report);
        json_decref(v.checks);
        hm_fail(err, HIMMEL_ENOMEM, "out of memory");
        return NULL;
    }
    json_object_set_new(v.report, "bytes", json_integer((json_int_t)n));
    if (hm_asset_open(&asset, data, n, &why)) {
        hm_note(&v, false, "container.malformed", "", "%.300s", why.message);
        state = "broken";
    } else if (asset.manifest) {
        v.where = asset.where;
        check_store(&v, &asset);
        state = v.broken ? "broken" : "valid";
    }
    if (!strcmp(state, "broken") || !json_object_get(v.report, "trusted"))
        json_object_set_new(v.report, "trusted", json_false());
    json_object_set_new(v.report, "state", json_string(state));
    json_object_set_new(v.report, "checks", v.checks);
    hm_asset_close(&asset);
    return v.report;
}
