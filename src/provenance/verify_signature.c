/* verify_signature.c - who signed a claim, when, and do we trust them.   SPDX-License-Identifier: MIT */
#include <openssl/err.h>
#include <openssl/pkcs7.h>
#include <openssl/ts.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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

/* What was stamped: ["CounterSignature", protected header, "", payload]; payload is the claim in old files, the CBOR
 * of the signature in new ones. */
static void stamped(hm_buf *b, const hm_cose *c, bool new_way, const uint8_t *claim, size_t claim_len)
{
    hm_buf sig = {0};
    if (new_way) hm_cbor_put_bytes(&sig, c->signature, c->signature_len);
    hm_cbor_put_array(b, 4);
    hm_cbor_put_text(b, "CounterSignature");
    hm_cbor_put_bytes(b, c->protected_header, c->protected_len);
    hm_cbor_put_bytes(b, NULL, 0);
    hm_cbor_put_bytes(b, new_way ? sig.data : claim, new_way ? sig.len : claim_len);
    if (sig.failed) b->failed = true;
    hm_buf_free(&sig);
}

/* A whole response, or the token alone. */
static PKCS7 *token_of(const uint8_t *p, size_t n)
{
    const uint8_t *at = p;
    PKCS7 *token = NULL;
    TS_RESP *r = d2i_TS_RESP(NULL, &at, (long)n);
    if (r && TS_RESP_get_token(r)) token = PKCS7_dup(TS_RESP_get_token(r));
    TS_RESP_free(r);
    at = p;
    return token ? token : d2i_PKCS7(NULL, &at, (long)n);
}

static bool imprint_matches(TS_TST_INFO *info, const hm_buf *data)
{
    TS_MSG_IMPRINT *m = TS_TST_INFO_get_msg_imprint(info);
    const ASN1_OBJECT *alg = NULL;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    X509_ALGOR_get0(&alg, NULL, NULL, TS_MSG_IMPRINT_get_algo(m));
    const EVP_MD *md = EVP_get_digestbyobj(alg);
    const ASN1_OCTET_STRING *want = TS_MSG_IMPRINT_get_msg(m);
    return md && EVP_Digest(data->data, data->len, digest, &n, md, NULL) == 1 &&
           ASN1_STRING_length(want) == (int)n && !memcmp(ASN1_STRING_get0_data(want), digest, n);
}

static bool token_time(PKCS7 *token, const hm_buf *data, time_t *when)
{
    BIO *content = NULL;
    TS_TST_INFO *info = PKCS7_to_TS_TST_INFO(token);
    struct tm tm;
    /* The signature must be that of the certificate inside; whether its authority is trusted is not asked here. */
    bool ok = info && PKCS7_verify(token, NULL, NULL, NULL, (content = BIO_new(BIO_s_mem())),
                                   PKCS7_NOVERIFY | PKCS7_NO_DUAL_CONTENT) == 1;
    ok = ok && imprint_matches(info, data) && ASN1_TIME_to_tm(TS_TST_INFO_get_time(info), &tm) == 1;
    if (ok) *when = timegm(&tm);
    BIO_free(content);
    TS_TST_INFO_free(info);
    return ok;
}

bool hm_time_stamp(const hm_cose *c, const uint8_t *claim, size_t claim_len, bool *found, time_t *when)
{
    hm_cbor box, list, one, val;
    hm_cbor_iter it;
    const uint8_t *p;
    size_t n;
    const bool new_way = hm_cbor_get(c->unprotected, "sigTst2", &box);
    *found = new_way || hm_cbor_get(c->unprotected, "sigTst", &box);
    if (!*found || !hm_cbor_get(box, "tstTokens", &list) || !hm_cbor_each(list, &it)) return false;
    if (!hm_cbor_next(&it, NULL, &one) || !hm_cbor_get(one, "val", &val) || !hm_cbor_bytes(val, &p, &n) ||
        n > MAX_TOKEN)
        return false;
    hm_buf data = {0};
    stamped(&data, c, new_way, claim, claim_len);
    PKCS7 *token = token_of(p, n);
    const bool ok = token && !data.failed && PKCS7_type_is_signed(token) && token_time(token, &data, when);
    PKCS7_free(token);
    hm_buf_free(&data);
    ERR_clear_error();
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

static void about_signer(json_t *about, const hm_cose *c, X509 *cert)
{
    char name[280];
    hm_cert_name(X509_get_subject_name(cert), name, sizeof name);
    json_object_set_new(about, "signer", hm_json_text(name, strlen(name)));
    hm_cert_name(X509_get_issuer_name(cert), name, sizeof name);
    json_object_set_new(about, "issuer", hm_json_text(name, strlen(name)));
    json_object_set_new(about, "algorithm", json_string(hm_alg_name(c->alg)));
    set_time(about, "valid_until", X509_get0_notAfter(cert));
}

static void check_chain(hm_verifier *v, const char *where, const hm_cose *c, const chain *certs, const uint8_t *claim,
                        size_t claim_len, json_t *about)
{
    X509 *cert = certs->cert[0];
    time_t when = time(NULL), stamped_at;
    bool found;
    about_signer(about, c, cert);
    if (hm_time_stamp(c, claim, claim_len, &found, &stamped_at)) {
        struct tm tm;
        char text[32] = "";
        when = stamped_at;
        if (gmtime_r(&when, &tm)) strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
        json_object_set_new(about, "time_stamp", json_string(text));
        hm_note(v, true, "timeStamp.validated", where, "time stamp of %s", text);
    } else if (found) {
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
