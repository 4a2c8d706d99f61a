/* manifest.c - claim, assertions and signature as one JUMBF store.   SPDX-License-Identifier: MIT
 *   store [manifests of sources ..., manifest [assertions [...], claim, signature]]
 * Built twice: to learn its length, and so where all bytes of the file will stand; then with the file's hash. */
#include "provenance/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provenance/binding.h"
#include "provenance/cose.h"
#include "provenance/jumbf.h"
#include "provenance/source.h"

enum { MAX_ASSERTIONS = 8 + HM_MAX_SOURCES, MAX_ROUNDS = 6, N_BMFF_RULES = 3 };
#define SOURCE_TYPE "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
#define COMPOSITE_TYPE "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
static const char spec_version[] = "2.4.0";

typedef struct {
    const hm_credit *c;
    const hm_identity *id;
    hm_source_says sources[HM_MAX_SOURCES];
    bool bmff, last; /* last: the round whose result stays */
    hm_range where;
    uint8_t film_id[32], hash[32];
    char urn[64], instance[64];
    struct {
        char label[48];
        size_t start;
        uint8_t hash[32];
    } assertion[MAX_ASSERTIONS];
    int n_assertions;
} builder;

void hm_film_id(const hm_credit *c, const hm_identity *id, uint8_t film_id[32])
{
    hm_digest *d = hm_digest_new("sha256", 6);
    if (!d) return;
    static const char domain[] = "himmel film 1";
    hm_digest_add(d, domain, sizeof domain);
    hm_digest_add(d, c->request, strlen(c->request) + 1);
    hm_digest_add(d, c->model_sha256, strlen(c->model_sha256) + 1);
    hm_digest_add(d, id->issuer_id, sizeof id->issuer_id);
    hm_digest_end(d, film_id);
}

/* The manifest's name and the instance's: of the film and of the very bytes. */
static void make_names(builder *b)
{
    char *const out[2] = {b->urn, b->instance};
    for (int i = 0; i < 2; i++) {
        uint8_t text[1 + 64], digest[32] = {0};
        char uuid[37];
        text[0] = (uint8_t)i;
        memcpy(text + 1, b->film_id, 32);
        memcpy(text + 33, b->hash, 32);
        hm_digest_of("sha256", 6, text, sizeof text, digest);
        hm_uuid_text(digest, uuid);
        snprintf(out[i], 64, "%s%s", i ? "xmp:iid:" : "urn:c2pa:", uuid);
    }
}

/* ---- sources ---- */

static const hm_source_manifest *find_in(const hm_source_says *s, const char *label)
{
    for (size_t i = 0; *s->active && i < s->n_manifests; i++)
        if (!strcmp(s->manifest[i].label, label)) return &s->manifest[i];
    return NULL;
}

/* Do two stores hold different manifests of one name? */
static bool conflict(const hm_source_says *a, const hm_source_says *b)
{
    for (size_t i = 0; *a->active && i < a->n_manifests; i++) {
        const hm_source_manifest *m = &a->manifest[i], *other = find_in(b, m->label);
        if (other && (m->len != other->len || memcmp(m->box, other->box, m->len))) return true;
    }
    return false;
}

static himmel_status open_sources(builder *b, himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    for (size_t i = 0; i < b->c->n_sources && !rc; i++) {
        rc = hm_source_open(&b->sources[i], b->c->reader, b->c->sources[i].path, err);
        for (size_t k = 0; k < i && !rc; k++) /* one store cannot hold both: the later file is named without them */
            if (conflict(&b->sources[i], &b->sources[k])) b->sources[i].active = "";
    }
    return rc;
}

/* The manifests of all sources, each label once, into the store. */
static void put_source_manifests(builder *b, hm_buf *out)
{
    for (size_t i = 0; i < b->c->n_sources; i++) {
        const hm_source_says *s = &b->sources[i];
        for (size_t k = 0; *s->active && k < s->n_manifests && !out->failed; k++) {
            const hm_source_manifest *m = &s->manifest[k];
            bool there = find_in(s, m->label) != m;
            for (size_t j = 0; j < i && !there; j++) there = find_in(&b->sources[j], m->label) != NULL;
            if (!there) hm_buf_add(out, m->box, m->len);
        }
    }
}

/* ---- assertions ---- */

static hm_buf *begin(builder *b, hm_buf *out, const char *label, size_t *box)
{
    snprintf(b->assertion[b->n_assertions].label, sizeof b->assertion[0].label, "%s", label);
    b->assertion[b->n_assertions].start = hm_jumb_begin(out, HM_JUMB_CBOR, label);
    *box = hm_jumb_box(out, "cbor");
    return out;
}

static void end(builder *b, hm_buf *out, size_t box)
{
    const size_t start = b->assertion[b->n_assertions].start;
    hm_jumb_end(out, box);
    hm_jumb_end(out, start);
    if (!out->failed)
        hm_digest_of("sha256", 6, out->data + start + 8, out->len - start - 8, b->assertion[b->n_assertions].hash);
    b->n_assertions++;
}

static void put_hashed(hm_buf *out, const char *url, const uint8_t hash[32])
{
    hm_cbor_put_map(out, 2);
    hm_cbor_put_pair(out, "url", url);
    hm_cbor_put_text(out, "hash");
    hm_cbor_put_bytes(out, hash, 32);
}

static void put_assertion_ref(hm_buf *out, const builder *b, int i)
{
    char url[96];
    snprintf(url, sizeof url, "self#jumbf=c2pa.assertions/%s", b->assertion[i].label);
    put_hashed(out, url, b->assertion[i].hash);
}

static const char *binding_label(const builder *b)
{
    return b->bmff ? "c2pa.hash.bmff.v3" : "c2pa.hash.data";
}

static void put_binding(hm_buf *out, const builder *b)
{
    static const char *const rules[N_BMFF_RULES] = {"/uuid", "/ftyp", "/mfra"}; /* the three that must be */
    hm_cbor_put_map(out, b->bmff ? 3 : 4);
    hm_cbor_put_text(out, "exclusions");
    hm_cbor_put_array(out, b->bmff ? N_BMFF_RULES : 1);
    for (int i = 0; b->bmff && i < N_BMFF_RULES; i++) {
        hm_cbor_put_map(out, i ? 1 : 2);
        hm_cbor_put_pair(out, "xpath", rules[i]);
        if (i) continue;
        hm_cbor_put_text(out, "data");
        hm_cbor_put_array(out, 1);
        hm_cbor_put_map(out, 2);
        hm_cbor_put_text(out, "offset");
        hm_cbor_put_uint(out, 8);
        hm_cbor_put_text(out, "value");
        hm_cbor_put_bytes(out, hm_c2pa_uuid, 16);
    }
    if (!b->bmff) {
        hm_cbor_put_map(out, 2);
        hm_cbor_put_text(out, "start");
        hm_cbor_put_uint(out, b->where.start);
        hm_cbor_put_text(out, "length");
        hm_cbor_put_uint(out, b->where.len);
    }
    hm_cbor_put_pair(out, "alg", "sha256");
    hm_cbor_put_text(out, "hash");
    hm_cbor_put_bytes(out, b->hash, 32);
    if (!b->bmff) {
        hm_cbor_put_text(out, "pad");
        hm_cbor_put_bytes(out, NULL, 0);
    }
}

/* {"activeManifest": {"success": [{code, url}], "informational": [], "failure": [...]}}, as our own check found it. */
static void put_validation(hm_buf *out, const hm_source_says *s)
{
    hm_cbor_put_map(out, 1);
    hm_cbor_put_text(out, "activeManifest");
    hm_cbor_put_map(out, 3);
    for (int kind = 0; kind < 3; kind++) {
        static const char *const names[3] = {"success", "informational", "failure"};
        const bool want = kind == 0;
        uint64_t n = 0;
        hm_cbor_put_text(out, names[kind]);
        for (size_t i = 0; i < s->n_checks; i++) n += kind != 1 && s->check[i].ok == want;
        hm_cbor_put_array(out, n);
        for (size_t i = 0; i < s->n_checks; i++) {
            if (kind == 1 || s->check[i].ok != want) continue;
            hm_cbor_put_map(out, 2);
            hm_cbor_put_pair(out, "code", s->check[i].code);
            hm_cbor_put_pair(out, "url", s->check[i].where);
        }
    }
}

static void put_ingredient(builder *b, hm_buf *out, size_t i)
{
    static const char *const relationships[] = {"inputTo", "parentOf", "componentOf"};
    const hm_source_says *s = &b->sources[i];
    const char *path = b->c->sources[i].path, *slash = strrchr(path, '/');
    char label[48], url[320];
    size_t box;
    snprintf(label, sizeof label, i ? "c2pa.ingredient.v3__%zu" : "c2pa.ingredient.v3", i);
    begin(b, out, label, &box);
    hm_cbor_put_map(out, *s->active ? 6 : 3);
    hm_cbor_put_pair(out, "dc:title", slash ? slash + 1 : path);
    hm_cbor_put_pair(out, "dc:format", s->mime);
    hm_cbor_put_pair(out, "relationship", relationships[b->c->sources[i].role]);
    if (*s->active) {
        hm_cbor_put_text(out, "validationResults");
        put_validation(out, s);
        hm_cbor_put_text(out, "activeManifest");
        snprintf(url, sizeof url, "self#jumbf=/c2pa/%s", s->active);
        put_hashed(out, url, s->manifest_hash);
        hm_cbor_put_text(out, "claimSignature");
        snprintf(url, sizeof url, "self#jumbf=/c2pa/%s/c2pa.signature", s->active);
        put_hashed(out, url, s->signature_hash);
    }
    end(b, out, box);
}

static void put_agent(hm_buf *out, bool with_spec)
{
    hm_cbor_put_map(out, with_spec ? 3 : 2);
    hm_cbor_put_pair(out, "name", "himmel");
    hm_cbor_put_pair(out, "version", HIMMEL_VERSION);
    if (with_spec) hm_cbor_put_pair(out, "specVersion", spec_version);
}

static uint64_t count_role(const builder *b, hm_role role)
{
    uint64_t n = 0;
    for (size_t i = 0; i < b->c->n_sources; i++) n += b->c->sources[i].role == role;
    return n;
}

/* One action; sources of that role are what it refers to. */
static void put_action(builder *b, hm_buf *out, const char *action, const char *source_type, hm_role role,
                       const char *description)
{
    const uint64_t n = count_role(b, role);
    hm_cbor_put_map(out, 2 + (source_type != NULL) + (n > 0) + (description != NULL));
    hm_cbor_put_pair(out, "action", action);
    hm_cbor_put_text(out, "softwareAgent");
    put_agent(out, false);
    if (source_type) hm_cbor_put_pair(out, "digitalSourceType", source_type);
    if (description) hm_cbor_put_pair(out, "description", description);
    if (!n) return;
    hm_cbor_put_text(out, "parameters");
    hm_cbor_put_map(out, 1);
    hm_cbor_put_text(out, "ingredients");
    hm_cbor_put_array(out, n);
    for (size_t i = 0; i < b->c->n_sources; i++) /* ingredients are the first assertions */
        if (b->c->sources[i].role == role) put_assertion_ref(out, b, (int)i);
}

static void put_actions(builder *b, hm_buf *out)
{
    const hm_credit *c = b->c;
    const bool parent = count_role(b, HM_ROLE_PARENT) > 0, parts = count_role(b, HM_ROLE_COMPONENT) > 0;
    char made[160];
    size_t box;
    snprintf(made, sizeof made, "made by the generative model %.48s %.32s", c->model, c->model_version);
    begin(b, out, "c2pa.actions.v2", &box);
    hm_cbor_put_map(out, 2);
    hm_cbor_put_text(out, "actions");
    hm_cbor_put_array(out, 1 + parent + parts + (c->watermark != NULL));
    if (parent) {
        put_action(b, out, "c2pa.opened", NULL, HM_ROLE_PARENT, NULL);
        put_action(b, out, c->action ? c->action : "c2pa.edited", COMPOSITE_TYPE, HM_ROLE_INPUT, made);
    } else {
        put_action(b, out, "c2pa.created", parts ? COMPOSITE_TYPE : SOURCE_TYPE, HM_ROLE_INPUT, made);
    }
    if (parts) put_action(b, out, "c2pa.placed", NULL, HM_ROLE_COMPONENT, NULL);
    if (c->watermark) {
        hm_cbor_put_map(out, 2);
        hm_cbor_put_pair(out, "action", "c2pa.watermarked.bound");
        hm_cbor_put_text(out, "softwareAgent");
        put_agent(out, false);
    }
    hm_cbor_put_text(out, "allActionsIncluded");
    hm_cbor_put_bool(out, true);
    end(b, out, box);
}

/* himmel's own assertion: which model made it, from what. */
static void put_generation(builder *b, hm_buf *out)
{
    const hm_credit *c = b->c;
    const bool data = c->data_sha256 && *c->data_sha256;
    size_t box;
    begin(b, out, "org.himmel.generation", &box);
    hm_cbor_put_map(out, 3 + data + (c->prompt != NULL) + (c->seed != NULL));
    hm_cbor_put_text(out, "film_id");
    hm_cbor_put_bytes(out, b->film_id, 32);
    hm_cbor_put_text(out, "model");
    hm_cbor_put_map(out, 3);
    hm_cbor_put_pair(out, "name", c->model);
    hm_cbor_put_pair(out, "version", c->model_version);
    hm_cbor_put_pair(out, "sha256", c->model_sha256);
    if (data) hm_cbor_put_pair(out, "training_data_manifest_sha256", c->data_sha256);
    hm_cbor_put_text(out, "visible_mark");
    hm_cbor_put_bool(out, c->visible_mark);
    if (c->prompt) hm_cbor_put_pair(out, "prompt", c->prompt);
    if (c->seed) {
        hm_cbor_put_text(out, "seed");
        hm_cbor_put_uint(out, *c->seed);
    }
    end(b, out, box);
}

static void put_mining(builder *b, hm_buf *out)
{
    static const char *const uses[4] = {"cawg.ai_generative_training", "cawg.ai_inference", "cawg.ai_training",
                                        "cawg.data_mining"};
    size_t box;
    begin(b, out, "cawg.training-mining", &box);
    hm_cbor_put_map(out, 1);
    hm_cbor_put_text(out, "entries");
    hm_cbor_put_map(out, 4);
    for (int i = 0; i < 4; i++) {
        hm_cbor_put_text(out, uses[i]);
        hm_cbor_put_map(out, 1);
        hm_cbor_put_pair(out, "use", b->c->mining == HM_MINING_ALLOWED ? "allowed" : "notAllowed");
    }
    end(b, out, box);
}

/* The manifest can be found again by the watermark's payload. */
static void put_soft_binding(builder *b, hm_buf *out)
{
    size_t box;
    begin(b, out, "c2pa.soft-binding", &box);
    hm_cbor_put_map(out, 3);
    hm_cbor_put_pair(out, "alg", "org.himmel.watermark.1");
    hm_cbor_put_text(out, "blocks");
    hm_cbor_put_array(out, 1);
    hm_cbor_put_map(out, 2);
    hm_cbor_put_text(out, "scope");
    hm_cbor_put_map(out, 0);
    hm_cbor_put_pair(out, "value", b->c->watermark);
    hm_cbor_put_text(out, "pad");
    hm_cbor_put_bytes(out, NULL, 0);
    end(b, out, box);
}

static void put_claim(builder *b, hm_buf *out, size_t *at, size_t *n)
{
    char url[128];
    const size_t start = hm_jumb_begin(out, HM_JUMB_CLAIM, "c2pa.claim.v2"), box = hm_jumb_box(out, "cbor");
    *at = out->len;
    hm_cbor_put_map(out, 5);
    hm_cbor_put_pair(out, "instanceID", b->instance);
    hm_cbor_put_text(out, "claim_generator_info");
    put_agent(out, true);
    snprintf(url, sizeof url, "self#jumbf=/c2pa/%s/c2pa.signature", b->urn);
    hm_cbor_put_pair(out, "signature", url);
    hm_cbor_put_text(out, "created_assertions");
    hm_cbor_put_array(out, (uint64_t)b->n_assertions);
    for (int i = 0; i < b->n_assertions; i++) put_assertion_ref(out, b, i);
    hm_cbor_put_pair(out, "alg", "sha256");
    *n = out->len - *at;
    hm_jumb_end(out, box);
    hm_jumb_end(out, start);
}

static himmel_status build(builder *b, hm_buf *out, himmel_error *err)
{
    size_t box, claim_at, claim_len;
    *out = (hm_buf){0};
    make_names(b);
    b->n_assertions = 0;
    const size_t store = hm_jumb_begin(out, HM_JUMB_STORE, "c2pa");
    put_source_manifests(b, out);
    const size_t manifest = hm_jumb_begin(out, HM_JUMB_MANIFEST, b->urn);
    const size_t list = hm_jumb_begin(out, HM_JUMB_ASSERTIONS, "c2pa.assertions");
    for (size_t i = 0; i < b->c->n_sources; i++) put_ingredient(b, out, i);
    put_actions(b, out);
    put_generation(b, out);
    if (b->c->mining != HM_MINING_UNSAID) put_mining(b, out);
    if (b->c->watermark) put_soft_binding(b, out);
    begin(b, out, binding_label(b), &box);
    put_binding(out, b);
    end(b, out, box);
    hm_jumb_end(out, list);
    put_claim(b, out, &claim_at, &claim_len);
    const size_t sig = hm_jumb_begin(out, HM_JUMB_SIGNATURE, "c2pa.signature");
    box = hm_jumb_box(out, "cbor");
    hm_buf cose = {0};
    const hm_stamp stamp = {b->c->time_server, b->last};
    himmel_status rc = out->failed ? HIMMEL_ENOMEM
                                   : hm_cose_sign(&cose, b->id, out->data + claim_at, claim_len,
                                                  b->c->time_server ? &stamp : NULL, err);
    hm_buf_add(out, cose.data, cose.len);
    if (cose.failed) out->failed = true;
    hm_buf_free(&cose);
    hm_jumb_end(out, box);
    hm_jumb_end(out, sig);
    hm_jumb_end(out, manifest);
    hm_jumb_end(out, store);
    if (out->failed) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for the Content Credentials");
    if (rc) hm_buf_free(out);
    return rc;
}

/* The file's hash as the assertion describes it; signed is the file with a manifest of the final length in it. */
static himmel_status hash_signed(builder *b, const hm_buf *signed_file, himmel_error *err)
{
    hm_buf assertion = {0};
    hm_cbor v;
    size_t bad;
    hm_binding r = {0};
    put_binding(&assertion, b);
    if (!assertion.failed && hm_cbor_open(&v, assertion.data, assertion.len, &bad))
        hm_binding_check(&r, binding_label(b), v, "sha256", 6,
                         &(hm_bound_file){signed_file->data, signed_file->len, b->where, false});
    hm_buf_free(&assertion);
    if (r.hash_len != 32) return hm_fail(err, HIMMEL_EINTERNAL, "the file to be signed could not be hashed");
    memcpy(b->hash, r.hash, 32);
    return HIMMEL_OK;
}

/* Build and embed with what is known now; *moved: the manifest came to lie elsewhere than assumed. */
static himmel_status round_once(builder *b, hm_buf *out, const uint8_t *data, size_t n, bool *moved,
                                himmel_error *err)
{
    hm_buf m;
    hm_range where = {0};
    himmel_status rc = build(b, &m, err);
    if (rc) return rc;
    rc = hm_asset_embed(out, &where, data, n, m.data, m.len, err);
    hm_buf_free(&m);
    *moved = where.start != b->where.start || where.len != b->where.len;
    b->where = where;
    return rc;
}

static himmel_status sign(builder *b, hm_buf *out, const uint8_t *data, size_t n, himmel_error *err)
{
    bool moved = true;
    himmel_status rc = HIMMEL_OK;
    for (int i = 0; i < MAX_ROUNDS && moved && !rc; i++) {
        hm_buf_free(out);
        rc = round_once(b, out, data, n, &moved, err);
    }
    if (!rc) rc = hash_signed(b, out, err);
    hm_buf_free(out);
    b->last = true;
    if (!rc) rc = round_once(b, out, data, n, &moved, err);
    if (!rc && moved) rc = hm_fail(err, HIMMEL_EINTERNAL, "the length of the Content Credentials is not stable");
    if (rc) hm_buf_free(out);
    return rc;
}

himmel_status hm_credit_sign(hm_buf *out, const char *name, const uint8_t *data, size_t n, const hm_credit *c,
                             const hm_identity *id, himmel_error *err)
{
    *out = (hm_buf){0};
    himmel_error why = {0};
    hm_asset own;
    if (c->n_sources > HM_MAX_SOURCES)
        return hm_fail(err, HIMMEL_EINVAL, "%s: %zu sources, at most %d can be named", name, c->n_sources,
                       (int)HM_MAX_SOURCES);
    himmel_status rc = hm_asset_open(&own, data, n, &why);
    if (rc) return hm_fail(err, rc, "%s: %.400s", name, why.message);
    const bool has_one = own.manifest != NULL;
    hm_asset_close(&own);
    if (has_one) return hm_fail(err, HIMMEL_EFORMAT, "%s: there are Content Credentials in it already", name);
    builder *b = calloc(1, sizeof *b);
    if (!b) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    b->c = c, b->id = id, b->bmff = own.kind == HM_ASSET_BMFF;
    hm_film_id(c, id, b->film_id);
    rc = open_sources(b, err);
    if (!rc) {
        rc = sign(b, out, data, n, &why);
        if (rc) hm_fail(err, rc, "%s: %.400s", name, why.message);
    }
    for (size_t i = 0; i < c->n_sources; i++) hm_source_close(&b->sources[i]);
    free(b);
    return rc;
}
