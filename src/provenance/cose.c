/* cose.c - COSE_Sign1 by libcrypto.   SPDX-License-Identifier: MIT
 * Trap: COSE has ECDSA signatures as r and s side by side, libcrypto as ASN.1. */
#include "provenance/cose.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "provenance/timestamp.h"

enum { LABEL_ALG = 1, LABEL_X5CHAIN = 33, TAG_SIGN1 = 18, CBOR_NULL = 0xf6, MAX_SIGNATURE = 1024, STAMP_ROOM = 16 << 10 };

/* What is signed: ["Signature1", protected header, "", payload]. */
static void to_be_signed(hm_buf *b, const uint8_t *header, size_t header_len, const uint8_t *payload, size_t n)
{
    hm_cbor_put_array(b, 4);
    hm_cbor_put_text(b, "Signature1");
    hm_cbor_put_bytes(b, header, header_len);
    hm_cbor_put_bytes(b, NULL, 0);
    hm_cbor_put_bytes(b, payload, n);
}

typedef struct {
    const EVP_MD *md;
    int kind;      /* EVP_PKEY_... */
    size_t half;   /* bytes of r and of s, ECDSA only */
} alg_info;

static bool info_of(int64_t alg, alg_info *i)
{
    switch (alg) {
    case HM_ES256: *i = (alg_info){EVP_sha256(), EVP_PKEY_EC, 32}; return true;
    case HM_ES384: *i = (alg_info){EVP_sha384(), EVP_PKEY_EC, 48}; return true;
    case HM_ES512: *i = (alg_info){EVP_sha512(), EVP_PKEY_EC, 66}; return true;
    case HM_PS256: *i = (alg_info){EVP_sha256(), EVP_PKEY_RSA, 0}; return true;
    case HM_PS384: *i = (alg_info){EVP_sha384(), EVP_PKEY_RSA, 0}; return true;
    case HM_PS512: *i = (alg_info){EVP_sha512(), EVP_PKEY_RSA, 0}; return true;
    case HM_ED25519: *i = (alg_info){NULL, EVP_PKEY_ED25519, 0}; return true;
    default: return false;
    }
}

static bool key_fits(const alg_info *i, EVP_PKEY *key)
{
    const int kind = EVP_PKEY_get_base_id(key);
    return kind == i->kind || (i->kind == EVP_PKEY_RSA && kind == EVP_PKEY_RSA_PSS);
}

static bool set_padding(const alg_info *i, EVP_PKEY_CTX *c)
{
    return i->kind != EVP_PKEY_RSA || (EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PSS_PADDING) > 0 &&
                                       EVP_PKEY_CTX_set_rsa_pss_saltlen(c, RSA_PSS_SALTLEN_DIGEST) > 0);
}

/* r and s as ASN.1 into *der (OPENSSL_free it). */
static int ecdsa_to_der(const uint8_t *sig, size_t half, uint8_t **der)
{
    ECDSA_SIG *s = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(sig, (int)half, NULL), *t = BN_bin2bn(sig + half, (int)half, NULL);
    int n = -1;
    *der = NULL;
    if (s && r && t && ECDSA_SIG_set0(s, r, t)) {
        r = t = NULL;
        n = i2d_ECDSA_SIG(s, der);
    }
    BN_free(r);
    BN_free(t);
    ECDSA_SIG_free(s);
    return n;
}

bool hm_cose_verify(const hm_cose *c, X509 *cert, const uint8_t *payload, size_t n)
{
    alg_info i;
    EVP_PKEY *key = X509_get0_pubkey(cert);
    const uint8_t *sig = c->signature;
    size_t sig_len = c->signature_len;
    uint8_t *der = NULL;
    if (!key || !info_of(c->alg, &i) || !key_fits(&i, key)) return false;
    if (i.half) {
        if (sig_len != 2 * i.half) return false;
        const int len = ecdsa_to_der(sig, i.half, &der);
        if (len <= 0) return false;
        sig = der, sig_len = (size_t)len;
    }
    hm_buf tbs = {0};
    to_be_signed(&tbs, c->protected_header, c->protected_len, payload, n);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    const bool ok = ctx && !tbs.failed && EVP_DigestVerifyInit(ctx, &pctx, i.md, NULL, key) == 1 &&
                    set_padding(&i, pctx) && EVP_DigestVerify(ctx, sig, sig_len, tbs.data, tbs.len) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    hm_buf_free(&tbs);
    ERR_clear_error();
    return ok;
}

/* ---- signing ---- */

static void put_header(hm_buf *b, const hm_identity *id)
{
    int n = 0;
    for (int i = 0; i < id->n_certs; i++) /* a root is known to whoever trusts it: it stays out */
        n += !i || X509_NAME_cmp(X509_get_subject_name(id->cert[i]), X509_get_issuer_name(id->cert[i])) != 0;
    hm_cbor_put_map(b, 2);
    hm_cbor_put_uint(b, LABEL_ALG);
    hm_cbor_put_int(b, id->alg);
    hm_cbor_put_uint(b, LABEL_X5CHAIN);
    if (n > 1) hm_cbor_put_array(b, (uint64_t)n);
    for (int i = 0; i < id->n_certs; i++) {
        if (i && !X509_NAME_cmp(X509_get_subject_name(id->cert[i]), X509_get_issuer_name(id->cert[i]))) continue;
        uint8_t *der = NULL;
        const int len = i2d_X509(id->cert[i], &der);
        if (len > 0) hm_cbor_put_bytes(b, der, (size_t)len);
        else b->failed = true;
        OPENSSL_free(der);
    }
}

/* libcrypto's signature as COSE has it, in place; its length, 0 = failed. */
static size_t ecdsa_from_der(uint8_t *sig, size_t n, size_t half)
{
    const uint8_t *p = sig;
    ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &p, (long)n);
    uint8_t raw[2 * 66];
    const bool ok = s && BN_bn2binpad(ECDSA_SIG_get0_r(s), raw, (int)half) == (int)half &&
                    BN_bn2binpad(ECDSA_SIG_get0_s(s), raw + half, (int)half) == (int)half;
    ECDSA_SIG_free(s);
    if (ok) memcpy(sig, raw, 2 * half);
    return ok ? 2 * half : 0;
}

/* The header that nobody signs: a time stamp, and padding so that its length does not depend on it. */
static himmel_status put_unprotected(hm_buf *out, const hm_stamp *stamp, const hm_buf *header, const uint8_t *sig,
                                     size_t sig_len, himmel_error *err)
{
    static const uint8_t zeros[256];
    hm_buf token = {0}, data = {0}, signature = {0};
    const size_t start = out->len;
    himmel_status rc = HIMMEL_OK;
    if (!stamp) {
        hm_cbor_put_map(out, 0);
        return HIMMEL_OK;
    }
    if (stamp->fetch) {
        hm_cbor_put_bytes(&signature, sig, sig_len);
        hm_stamp_data(&data, header->data, header->len, signature.data, signature.len);
        rc = hm_stamp_fetch(&token, stamp->server, data.data, data.len, err);
        if (!rc && token.len > STAMP_ROOM - 512)
            rc = hm_fail(err, HIMMEL_EFORMAT, "time stamp server %.200s: a stamp of %zu bytes, at most %d have room",
                         stamp->server, token.len, STAMP_ROOM - 512);
    }
    hm_cbor_put_map(out, 2);
    hm_cbor_put_text(out, "sigTst2");
    hm_cbor_put_map(out, 1);
    hm_cbor_put_text(out, "tstTokens");
    hm_cbor_put_array(out, 1);
    hm_cbor_put_map(out, 1);
    hm_cbor_put_text(out, "val");
    hm_cbor_put_bytes(out, token.data, token.len);
    hm_cbor_put_text(out, "pad");
    const size_t pad = STAMP_ROOM - (out->len - start) - 3; /* 3: a length of two bytes and its head */
    hm_buf_be(out, 0x59, 1);
    hm_buf_be(out, pad, 2);
    for (size_t i = 0; !rc && i < pad; i += sizeof zeros) hm_buf_add(out, zeros, HM_MIN(sizeof zeros, pad - i));
    hm_buf_free(&token);
    hm_buf_free(&data);
    hm_buf_free(&signature);
    return rc;
}

himmel_status hm_cose_sign(hm_buf *out, const hm_identity *id, const uint8_t *payload, size_t n,
                           const hm_stamp *stamp, himmel_error *err)
{
    alg_info i;
    hm_buf header = {0}, tbs = {0};
    uint8_t sig[MAX_SIGNATURE];
    size_t sig_len = sizeof sig;
    EVP_PKEY_CTX *pctx = NULL;
    put_header(&header, id);
    to_be_signed(&tbs, header.data, header.len, payload, n);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && info_of(id->alg, &i) && !header.failed && !tbs.failed &&
              EVP_DigestSignInit(ctx, &pctx, i.md, NULL, id->key) == 1 && set_padding(&i, pctx) &&
              EVP_DigestSign(ctx, sig, &sig_len, tbs.data, tbs.len) == 1;
    if (ok && i.half) ok = (sig_len = ecdsa_from_der(sig, sig_len, i.half)) != 0;
    EVP_MD_CTX_free(ctx);
    hm_buf_free(&tbs);
    himmel_status rc = ok ? HIMMEL_OK : hm_fail(err, HIMMEL_EINTERNAL, "signing with %s failed", hm_alg_name(id->alg));
    if (ok) {
        hm_cbor_put_tag(out, TAG_SIGN1);
        hm_cbor_put_array(out, 4);
        hm_cbor_put_bytes(out, header.data, header.len);
        rc = put_unprotected(out, stamp, &header, sig, sig_len, err);
        hm_cbor_put_null(out);
        hm_cbor_put_bytes(out, sig, sig_len);
    }
    hm_buf_free(&header);
    ERR_clear_error();
    return rc;
}

/* ---- reading ---- */

static bool take_chain(hm_cose *c, hm_cbor v)
{
    hm_cbor_iter it;
    hm_cbor one;
    c->n_certs = 0;
    if (hm_cbor_bytes(v, &c->cert[0], &c->cert_len[0])) {
        c->n_certs = 1;
        return true;
    }
    if (hm_cbor_is(hm_cbor_untag(v)) != HM_CBOR_ARRAY || !hm_cbor_each(v, &it)) return false;
    while (hm_cbor_next(&it, NULL, &one)) {
        if (c->n_certs == HM_MAX_CHAIN ||
            !hm_cbor_bytes(one, &c->cert[c->n_certs], &c->cert_len[c->n_certs]))
            return false;
        c->n_certs++;
    }
    return c->n_certs > 0;
}

/* Padding must be empty: it is not signed, so anything could stand there. */
static bool pads_are_empty(hm_cbor unprotected)
{
    static const char *const names[] = {"pad", "pad2"};
    hm_cbor v;
    const uint8_t *p;
    size_t n;
    for (size_t i = 0; i < HM_COUNT(names); i++) {
        if (!hm_cbor_get(unprotected, names[i], &v)) continue;
        if (!hm_cbor_bytes(v, &p, &n)) return false;
        for (size_t k = 0; k < n; k++)
            if (p[k]) return false;
    }
    return true;
}

himmel_status hm_cose_parse(hm_cose *out, const uint8_t *data, size_t n, himmel_error *err)
{
    hm_cbor all, item[4], header, v;
    hm_cbor_iter it;
    size_t bad = 0;
    int count = 0;
    *out = (hm_cose){0};
    if (!hm_cbor_open(&all, data, n, &bad))
        return hm_fail(err, HIMMEL_EFORMAT, "signature, byte %zu: broken CBOR", bad);
    const bool tagged = hm_cbor_is(all) == HM_CBOR_TAG, right_tag = tagged && *all.at == (0xc0 | TAG_SIGN1);
    if ((tagged && !right_tag) || hm_cbor_is(hm_cbor_untag(all)) != HM_CBOR_ARRAY || !hm_cbor_each(all, &it))
        return hm_fail(err, HIMMEL_EFORMAT, "signature: not a COSE_Sign1");
    while (count < 4 && hm_cbor_next(&it, NULL, &item[count])) count++;
    if (count < 4 || hm_cbor_next(&it, NULL, &v) ||
        !hm_cbor_bytes(item[0], &out->protected_header, &out->protected_len) ||
        hm_cbor_is(item[1]) != HM_CBOR_MAP || *item[2].at != CBOR_NULL || !hm_cbor_bytes(item[3], &out->signature, &out->signature_len))
        return hm_fail(err, HIMMEL_EFORMAT, "signature: not a COSE_Sign1 of four parts, the payload elsewhere");
    out->unprotected = item[1];
    if (!pads_are_empty(item[1])) return hm_fail(err, HIMMEL_EFORMAT, "signature: its padding is not empty");
    if (!hm_cbor_open(&header, out->protected_header, out->protected_len, &bad) ||
        !hm_cbor_get_int(header, LABEL_ALG, &v) || !hm_cbor_int(v, &out->alg))
        return hm_fail(err, HIMMEL_EFORMAT, "signature: its header names no algorithm");
    const bool named = hm_cbor_get_int(header, LABEL_X5CHAIN, &v) || hm_cbor_get(header, "x5chain", &v) ||
                       hm_cbor_get_int(out->unprotected, LABEL_X5CHAIN, &v) ||
                       hm_cbor_get(out->unprotected, "x5chain", &v);
    if (!named || !take_chain(out, v))
        return hm_fail(err, HIMMEL_EFORMAT, "signature: no chain of 1 to %d certificates", (int)HM_MAX_CHAIN);
    return HIMMEL_OK;
}
