/* verify_signature.c - who signed a claim, when, and do we trust them.   SPDX-License-Identifier: MIT */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "provenance/timestamp.h"
#include "provenance/verify_internal.h"

enum { MAX_TOKEN = 1 << 20 };

static void set_time(json_t *about, const char *key, const ASN1_TIME *t)
{
    struct tm tm;
    char text[32];
    if (!t || ASN1_TIME_to_tm(t, &tm) != 1) return;
    if (strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm)) json_object_set_new(about, key, json_string(text));
}

/* ---- time stamps ---- */

typedef struct {
    bool found, trusted; /* trusted: by an authority that is */
    time_t when;
} stamp;

/* The token in the signature: found: there is one; true: it is of this signature. */
static bool read_stamp(const hm_verifier *v, const hm_cose *c, const uint8_t *claim, size_t claim_len, stamp *out)
{
    hm_cbor box, list, one, val;
    hm_cbor_iter it;
    const uint8_t *p;
    size_t n;
    const bool new_way = hm_cbor_get(c->unprotected, "sigTst2", &box);
    *out = (stamp){.found = new_way || hm_cbor_get(c->unprotected, "sigTst", &box)};
    if (!out->found || !hm_cbor_get(box, "tstTokens", &list) || !hm_cbor_each(list, &it)) return false;
    if (!hm_cbor_next(&it, NULL, &one) || !hm_cbor_get(one, "val", &val) || !hm_cbor_bytes(val, &p, &n) ||
        n > MAX_TOKEN)
        return false;
    hm_buf data = {0}, sig = {0};
    if (new_way) hm_cbor_put_bytes(&sig, c->signature, c->signature_len);
    hm_stamp_data(&data, c->protected_header, c->protected_len, new_way ? sig.data : claim, new_way ? sig.len : claim_len);
    const bool ok = !data.failed && !sig.failed &&
                    hm_stamp_check(p, n, data.data, data.len, v->trust, &out->when, &out->trusted);
    hm_buf_free(&data);
    hm_buf_free(&sig);
    return ok;
}

/* ---- certificates ---- */

typedef struct {
    X509 *cert[HM_MAX_CHAIN];
    int n;
} chain;

static bool read_chain(const hm_cose *c, chain *out)
{
    for (out->n = 0; out->n < c->n_certs; out->n++) {
        const uint8_t *at = c->cert[out->n];
        out->cert[out->n] = d2i_X509(NULL, &at, (long)c->cert_len[out->n]);
        if (!out->cert[out->n] || at != c->cert[out->n] + c->cert_len[out->n]) {
            X509_free(out->cert[out->n]);
            ERR_clear_error();
            return false;
        }
    }
    return out->n > 0;
}

static bool trusted(const chain *c, X509_STORE *store, time_t when)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *others = sk_X509_new_null();
    for (int i = 1; others && i < c->n; i++) sk_X509_push(others, c->cert[i]);
    bool ok = ctx && others && X509_STORE_CTX_init(ctx, store, c->cert[0], others) == 1;
    if (ok) {
        X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN);
        X509_STORE_CTX_set_time(ctx, 0, when);
        ok = X509_verify_cert(ctx) == 1;
    }
    X509_STORE_CTX_free(ctx);
    sk_X509_free(others);
    ERR_clear_error();
    return ok;
}

/* SHA-256 of the public key: its first 4 bytes are in the watermark. */
static void set_issuer_id(json_t *about, X509 *cert)
{
    uint8_t *spki = NULL, digest[EVP_MAX_MD_SIZE];
    char hex[2 * 32 + 1] = "";
    unsigned n = 0;
    const int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);
    if (len > 0 && EVP_Digest(spki, (size_t)len, digest, &n, EVP_sha256(), NULL) == 1)
        for (unsigned i = 0; i < 32 && i < n; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    OPENSSL_free(spki);
    json_object_set_new(about, "issuer_id", json_string(hex));
}

static void about_signer(json_t *about, const hm_cose *c, X509 *cert)
{
    char name[280];
    hm_cert_name(X509_get_subject_name(cert), name, sizeof name);
    json_object_set_new(about, "signer", hm_json_text(name, strlen(name)));
    hm_cert_name(X509_get_issuer_name(cert), name, sizeof name);
    json_object_set_new(about, "issuer", hm_json_text(name, strlen(name)));
    json_object_set_new(about, "algorithm", json_string(hm_alg_name(c->alg)));
    set_issuer_id(about, cert);
    set_time(about, "valid_until", X509_get0_notAfter(cert));
}

static void check_chain(hm_verifier *v, const char *where, const hm_cose *c, const chain *certs, const uint8_t *claim,
                        size_t claim_len, json_t *about)
{
    X509 *cert = certs->cert[0];
    time_t when = time(NULL);
    stamp st;
    about_signer(about, c, cert);
    if (read_stamp(v, c, claim, claim_len, &st)) {
        struct tm tm;
        char text[32] = "";
        if (gmtime_r(&st.when, &tm)) strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
        json_object_set_new(about, "time_stamp", json_string(text));
        json_object_set_new(about, "time_stamp_trusted", json_boolean(st.trusted));
        hm_note(v, true, "timeStamp.validated", where, "time stamp of %s", text);
        if (!st.trusted) hm_note(v, true, "timeStamp.untrusted", where, "by nobody who is trusted");
        if (st.trusted || v->old_claim) when = st.when; /* else anybody could date a signature back */
    } else if (st.found) {
        hm_note(v, true, "timeStamp.mismatch", where, "there is a time stamp that is not of this signature: ignored");
    }
    const char *problem = hm_cert_problem(cert);
    if (problem) hm_note(v, false, "signingCredential.invalid", where, "%s", problem);
    if (X509_cmp_time(X509_get0_notBefore(cert), &when) > 0 || X509_cmp_time(X509_get0_notAfter(cert), &when) < 0)
        hm_note(v, false, "signingCredential.expired", where, "the certificate was not valid at that time");
    const bool ok = hm_cose_verify(c, cert, claim, claim_len);
    hm_note(v, ok, ok ? "claimSignature.validated" : "claimSignature.mismatch", where,
            ok ? "the claim is what was signed (%s)" : "the signature (%s) is not of this claim", hm_alg_name(c->alg));
    const bool known = ok && !problem && v->trust && trusted(certs, v->trust, when);
    json_object_set_new(about, "trusted", json_boolean(known));
}

void hm_check_signature(hm_verifier *v, const char *where, const hm_jumb *signature, const uint8_t *claim,
                        size_t claim_len, json_t *about)
{
    hm_box box;
    hm_cose c;
    chain certs = {{0}, 0};
    himmel_error err = {0};
    if (!hm_jumb_content(signature, "cbor", &box)) {
        hm_note(v, false, "claimSignature.missing", where, "there is no signature in its box");
        return;
    }
    if (hm_cose_parse(&c, box.content, box.content_len, &err)) {
        hm_note(v, false, "claimSignature.mismatch", where, "%.200s", err.message);
        return;
    }
    if (!read_chain(&c, &certs))
        hm_note(v, false, "signingCredential.invalid", where, "a certificate of the signature cannot be read");
    else
        check_chain(v, where, &c, &certs, claim, claim_len, about);
    for (int i = 0; i < certs.n; i++) X509_free(certs.cert[i]);
}
