/* api.c - himmel_verify, himmel_read_serve and himmel_identity_*: the public face of this folder.   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provenance/identity_files.h"
#include "provenance/source.h"
#include "provenance/verdict.h"

/* ---- verify ---- */

himmel_status himmel_verify(const char *path, const char *identity, himmel_verdict *out, himmel_error *err)
{
    char dir[HM_ID_PATH];
    hm_map map;
    *out = (himmel_verdict){0};
    if (hm_identity_dir(dir, sizeof dir, identity, NULL)) *dir = 0; /* nobody is trusted then */
    himmel_status rc = hm_map_open(&map, path, err);
    if (rc) return rc;
    X509_STORE *trust = hm_trust_open(*dir ? dir : NULL, err);
    json_t *report = trust ? hm_credentials_check(map.data, map.len, trust, err) : NULL;
    X509_STORE_free(trust);
    if (!report) {
        hm_map_close(&map);
        return HIMMEL_ENOMEM;
    }
    rc = hm_verdict_make(out, path, report, err);
    json_decref(report);
    hm_map_close(&map);
    return rc;
}

void himmel_verdict_free(himmel_verdict *v)
{
    if (!v) return;
    free(v->json);
    *v = (himmel_verdict){0};
}

/* ---- files for another process ---- */

void himmel_read_serve(int fd, const char *path)
{
    hm_far_serve(fd, path, hm_source_look);
}

/* ---- identity ---- */

static himmel_status describe(const hm_identity *id, const char *dir, himmel_identity *out, himmel_error *err)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    *out = (himmel_identity){.self_signed = id->self_signed};
    if (X509_digest(id->cert[0], EVP_sha256(), digest, &n) != 1 || n != 32)
        return hm_fail(err, HIMMEL_EINTERNAL, "%s: the certificate cannot be hashed", dir);
    for (unsigned i = 0; i < n; i++) snprintf(out->fingerprint + 2 * i, 3, "%02x", digest[i]);
    for (int i = 0; i < 4; i++) snprintf(out->issuer_id + 2 * i, 3, "%02x", id->issuer_id[i]);
    hm_cert_name(X509_get_subject_name(id->cert[0]), out->name, sizeof out->name);
    hm_cert_name(X509_get_issuer_name(id->cert[0]), out->issuer, sizeof out->issuer);
    snprintf(out->algorithm, sizeof out->algorithm, "%s", hm_alg_name(id->alg));
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(id->cert[0]), &tm) == 1)
        strftime(out->valid_until, sizeof out->valid_until, "%Y-%m-%d", &tm);
    snprintf(out->folder, sizeof out->folder, "%s", dir);
    return HIMMEL_OK;
}

himmel_status himmel_identity_show(const char *identity, himmel_identity *out, himmel_error *err)
{
    char dir[HM_ID_PATH];
    hm_identity *id = NULL;
    himmel_status rc = hm_identity_dir(dir, sizeof dir, identity, err);
    if (!rc) rc = hm_identity_open(&id, dir, err);
    if (!rc) rc = describe(id, dir, out, err);
    hm_identity_free(id);
    return rc;
}

static himmel_status refuse_old(const char *dir, int replace, himmel_error *err)
{
    char path[HM_ID_PATH];
    const himmel_status rc = hm_id_path(path, dir, "identity.pem", err);
    if (rc || replace || access(path, F_OK)) return rc;
    return hm_fail(err, HIMMEL_EINVAL, "%s: there is an identity already (--replace makes it give way)", path);
}

himmel_status himmel_identity_new(const char *identity, const char *name, const char *algorithm, int replace,
                                  himmel_error *err)
{
    static const int algs[] = {HM_ED25519, HM_ES256, HM_ES384};
    char dir[HM_ID_PATH];
    hm_identity *id = NULL;
    int alg = algorithm && *algorithm ? 0 : HM_ED25519;
    for (size_t i = 0; i < HM_COUNT(algs) && !alg; i++)
        if (!strcasecmp(algorithm, hm_alg_name(algs[i]))) alg = algs[i];
    if (!alg)
        return hm_fail(err, HIMMEL_EINVAL, "algorithm %.40s is none of Ed25519, ES256, ES384", algorithm);
    if (name && strlen(name) > 64)
        return hm_fail(err, HIMMEL_EINVAL, "a name has at most 64 bytes, not %zu", strlen(name));
    himmel_status rc = hm_identity_dir(dir, sizeof dir, identity, err);
    if (!rc) rc = refuse_old(dir, replace, err);
    if (!rc) rc = hm_id_make(&id, name, alg, err);
    if (!rc) rc = hm_id_store(id, dir, replace, err);
    hm_identity_free(id);
    return rc;
}

himmel_status himmel_identity_import(const char *identity, const char *path, int replace, himmel_error *err)
{
    char dir[HM_ID_PATH];
    hm_identity *id = NULL;
    himmel_status rc = hm_identity_dir(dir, sizeof dir, identity, err);
    if (!rc) rc = hm_id_read(&id, path, err);
    if (!rc) rc = refuse_old(dir, replace, err);
    if (!rc) rc = hm_id_store(id, dir, replace, err);
    hm_identity_free(id);
    return rc;
}

himmel_status himmel_identity_trust(const char *identity, const char *path, himmel_error *err)
{
    char dir[HM_ID_PATH], file[HM_ID_PATH], name[80];
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    FILE *f = fopen(path, "re");
    if (!f) return hm_fail(err, HIMMEL_EIO, "%s: cannot read: %s", path, strerror(errno));
    X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    ERR_clear_error();
    BIO *pem = BIO_new(BIO_s_mem());
    char *text = NULL;
    himmel_status rc = HIMMEL_OK;
    if (!cert) rc = hm_fail(err, HIMMEL_EFORMAT, "%s: no certificate in PEM", path);
    else if (X509_check_ca(cert) < 1) rc = hm_fail(err, HIMMEL_EFORMAT, "%s: not the certificate of a root", path);
    else if (!pem || PEM_write_bio_X509(pem, cert) != 1 || X509_digest(cert, EVP_sha256(), digest, &n) != 1)
        rc = hm_fail(err, HIMMEL_EINTERNAL, "%s: the certificate cannot be written", path);
    if (!rc) rc = hm_identity_dir(dir, sizeof dir, identity, err);
    if (!rc) rc = hm_id_folder(dir, err);
    snprintf(name, sizeof name, "trust");
    if (!rc) rc = hm_id_path(file, dir, name, err);
    if (!rc) rc = hm_id_folder(file, err);
    size_t at = (size_t)snprintf(name, sizeof name, "trust/");
    for (unsigned i = 0; i < 16 && i < n; i++) at += (size_t)snprintf(name + at, sizeof name - at, "%02x", digest[i]);
    snprintf(name + at, sizeof name - at, ".pem");
    if (!rc) rc = hm_id_path(file, dir, name, err);
    const long len = pem ? BIO_get_mem_data(pem, &text) : 0;
    if (!rc) rc = hm_write_file(file, text, (size_t)len, err);
    BIO_free(pem);
    X509_free(cert);
    return rc;
}
