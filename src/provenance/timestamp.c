/* timestamp.c - RFC 3161 by libcrypto; plain HTTP, since tokens are signed themselves.   SPDX-License-Identifier: MIT */
#include "provenance/timestamp.h"

#include <openssl/err.h>
#include <openssl/http.h>
#include <openssl/pkcs7.h>
#include <openssl/rand.h>
#include <openssl/ts.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "provenance/cbor.h"

enum { WAIT_SECONDS = 10, MAX_REPLY = 256 << 10 };

void hm_stamp_data(hm_buf *out, const uint8_t *header, size_t header_len, const uint8_t *payload, size_t n)
{
    hm_cbor_put_array(out, 4);
    hm_cbor_put_text(out, "CounterSignature");
    hm_cbor_put_bytes(out, header, header_len);
    hm_cbor_put_bytes(out, NULL, 0);
    hm_cbor_put_bytes(out, payload, n);
}

/* ---- reading ---- */

static bool imprint_matches(TS_TST_INFO *info, const uint8_t *data, size_t len)
{
    TS_MSG_IMPRINT *m = TS_TST_INFO_get_msg_imprint(info);
    const ASN1_OBJECT *alg = NULL;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    X509_ALGOR_get0(&alg, NULL, NULL, TS_MSG_IMPRINT_get_algo(m));
    const EVP_MD *md = EVP_get_digestbyobj(alg);
    const ASN1_OCTET_STRING *want = TS_MSG_IMPRINT_get_msg(m);
    return md && EVP_Digest(data, len, digest, &n, md, NULL) == 1 && ASN1_STRING_length(want) == (int)n &&
           !memcmp(ASN1_STRING_get0_data(want), digest, n);
}

/* The token's signature must be that of the certificate inside. */
static bool token_time(PKCS7 *token, const uint8_t *data, size_t n, time_t *when)
{
    BIO *content = NULL;
    TS_TST_INFO *info = PKCS7_type_is_signed(token) ? PKCS7_to_TS_TST_INFO(token) : NULL;
    struct tm tm;
    bool ok = info && PKCS7_verify(token, NULL, NULL, NULL, (content = BIO_new(BIO_s_mem())),
                                   PKCS7_NOVERIFY | PKCS7_NO_DUAL_CONTENT) == 1;
    ok = ok && imprint_matches(info, data, n) && ASN1_TIME_to_tm(TS_TST_INFO_get_time(info), &tm) == 1;
    if (ok) *when = timegm(&tm);
    BIO_free(content);
    TS_TST_INFO_free(info);
    return ok;
}

/* Does who stamped lead to a root in store, with a certificate for time stamps that was valid then? */
static bool authority_trusted(PKCS7 *token, X509_STORE *store, time_t when)
{
    STACK_OF(X509) *signers = PKCS7_get0_signers(token, NULL, 0);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok = ctx && signers && sk_X509_num(signers) > 0 &&
              X509_STORE_CTX_init(ctx, store, sk_X509_value(signers, 0), token->d.sign->cert) == 1;
    if (ok) {
        X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN);
        X509_STORE_CTX_set_time(ctx, 0, when);
        ok = X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_TIMESTAMP_SIGN) == 1 && X509_verify_cert(ctx) == 1;
    }
    X509_STORE_CTX_free(ctx);
    sk_X509_free(signers);
    return ok;
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

bool hm_stamp_check(const uint8_t *der, size_t n_der, const uint8_t *data, size_t n, X509_STORE *trust, time_t *when,
                    bool *trusted)
{
    PKCS7 *token = token_of(der, n_der);
    const bool ok = token && token_time(token, data, n, when);
    *trusted = ok && trust && authority_trusted(token, trust, *when);
    PKCS7_free(token);
    ERR_clear_error();
    return ok;
}

/* ---- asking ---- */

static TS_REQ *new_request(const uint8_t *data, size_t n, const uint8_t nonce[8])
{
    uint8_t digest[32];
    TS_REQ *req = TS_REQ_new();
    TS_MSG_IMPRINT *m = TS_MSG_IMPRINT_new();
    X509_ALGOR *alg = X509_ALGOR_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    bool ok = req && m && alg && number && EVP_Digest(data, n, digest, NULL, EVP_sha256(), NULL) == 1;
    ok = ok && X509_ALGOR_set0(alg, OBJ_nid2obj(NID_sha256), V_ASN1_NULL, NULL) == 1;
    ok = ok && TS_MSG_IMPRINT_set_algo(m, alg) == 1 && TS_MSG_IMPRINT_set_msg(m, digest, sizeof digest) == 1;
    ok = ok && ASN1_INTEGER_set_uint64(number, hm_be(nonce, 8)) == 1;
    ok = ok && TS_REQ_set_version(req, 1) == 1 && TS_REQ_set_msg_imprint(req, m) == 1 &&
         TS_REQ_set_nonce(req, number) == 1 && TS_REQ_set_cert_req(req, 1) == 1;
    TS_MSG_IMPRINT_free(m);
    X509_ALGOR_free(alg);
    ASN1_INTEGER_free(number);
    if (ok) return req;
    TS_REQ_free(req);
    return NULL;
}

/* The server's answer as DER in memory; NULL: none. */
static BIO *ask(const char *server, TS_REQ *req, himmel_error *err)
{
    char *host = NULL, *port = NULL, *path = NULL;
    int ssl = 0;
    BIO *answer = NULL, *body = BIO_new(BIO_s_mem());
    const bool parsed = !strncmp(server, "http://", 7) &&
                        OSSL_HTTP_parse_url(server, &ssl, NULL, &host, &port, NULL, &path, NULL, NULL) == 1;
    if (!parsed || ssl)
        hm_fail(err, HIMMEL_EINVAL, "time stamp server %.200s: must be a URL http://... (its answers are signed)", server);
    else if (!body || i2d_TS_REQ_bio(body, req) != 1)
        hm_fail(err, HIMMEL_ENOMEM, "out of memory for a time stamp");
    else if (!(answer = OSSL_HTTP_transfer(NULL, host, port, path, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL,
                                           "application/timestamp-query", body, "application/timestamp-reply", 1,
                                           MAX_REPLY, WAIT_SECONDS, 0))) {
        const char *why = ERR_reason_error_string(ERR_peek_last_error());
        hm_fail(err, HIMMEL_EIO, "time stamp server %.200s: no answer that can be used (%s)", server, why ? why : "?");
    }
    OPENSSL_free(host);
    OPENSSL_free(port);
    OPENSSL_free(path);
    BIO_free(body);
    return answer;
}

static himmel_status take_token(hm_buf *token, const char *server, TS_RESP *resp, const uint8_t *data, size_t n,
                                const uint8_t nonce[8], himmel_error *err)
{
    const TS_STATUS_INFO *status = resp ? TS_RESP_get_status_info(resp) : NULL;
    const long code = status ? ASN1_INTEGER_get(TS_STATUS_INFO_get0_status(status)) : -1;
    if (code != 0 && code != 1)
        return hm_fail(err, HIMMEL_EIO, "time stamp server %.200s: it refused (status %ld)", server, code);
    PKCS7 *p7 = TS_RESP_get_token(resp);
    TS_TST_INFO *info = TS_RESP_get_tst_info(resp);
    const ASN1_INTEGER *number = info ? TS_TST_INFO_get_nonce(info) : NULL;
    uint64_t back = 0;
    time_t when;
    uint8_t *der = NULL;
    if (!p7 || !number || ASN1_INTEGER_get_uint64(&back, number) != 1 || back != hm_be(nonce, 8) ||
        !token_time(p7, data, n, &when))
        return hm_fail(err, HIMMEL_EFORMAT, "time stamp server %.200s: its stamp is not of what was sent", server);
    const int len = i2d_PKCS7(p7, &der);
    if (len > 0) hm_buf_add(token, der, (size_t)len);
    OPENSSL_free(der);
    return len > 0 && !token->failed ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "out of memory for a time stamp");
}

himmel_status hm_stamp_fetch(hm_buf *token, const char *server, const uint8_t *data, size_t n, himmel_error *err)
{
    uint8_t nonce[8];
    if (RAND_bytes(nonce, sizeof nonce) != 1)
        return hm_fail(err, HIMMEL_EINTERNAL, "libcrypto has no random numbers");
    nonce[0] = (uint8_t)((nonce[0] & 0x7f) | 0x40);
    TS_REQ *req = new_request(data, n, nonce);
    himmel_error why = {.code = HIMMEL_EINTERNAL, .message = "libcrypto could not make a request for a time stamp"};
    BIO *answer = req ? ask(server, req, &why) : NULL;
    himmel_status rc = answer ? HIMMEL_OK : hm_fail(err, why.code, "%.500s", why.message);
    TS_RESP *resp = answer ? d2i_TS_RESP_bio(answer, NULL) : NULL;
    if (!rc) rc = take_token(token, server, resp, data, n, nonce, err);
    TS_RESP_free(resp);
    BIO_free(answer);
    TS_REQ_free(req);
    ERR_clear_error();
    return rc;
}
