/* fuzz_cose.c - any bytes as CBOR, as a COSE_Sign1, as the certificates in it and as a time stamp.   SPDX-License-Identifier: MIT */
#include <openssl/err.h>
#include <stdlib.h>
#include "provenance/cose.h"
#include "provenance/timestamp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void look_at(const uint8_t *der, size_t n, const hm_cose *c)
{
    const uint8_t *at = der;
    X509 *cert = d2i_X509(NULL, &at, (long)n);
    char name[280];
    if (cert) {
        hm_cert_problem(cert);
        hm_cert_name(X509_get_subject_name(cert), name, sizeof name);
        if (c) hm_cose_verify(c, cert, der, n);
        X509_free(cert);
    }
    ERR_clear_error();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hm_cose c;
    hm_cbor v;
    size_t bad = 0;
    himmel_error err = {0};
    time_t when;
    bool trusted;
    if (hm_cbor_open(&v, data, len, &bad) ? v.end != data + len : bad > len) abort();
    if (!hm_cose_parse(&c, data, len, &err)) {
        for (int i = 0; i < c.n_certs; i++) look_at(c.cert[i], c.cert_len[i], &c);
    } else if (!err.message[0]) {
        abort();
    }
    look_at(data, len, NULL);
    if (hm_stamp_check(data, len, data, len, NULL, &when, &trusted) && trusted) abort();
    return 0;
}
