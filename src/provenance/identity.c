/* identity.c - keys and certificates in a folder.   SPDX-License-Identifier: MIT
 * The first use makes an Ed25519 root and a leaf that it signed; the root's key is thrown away at once, so that
 * nothing else can ever be signed with it. Trap: two programs may be the first at the same time; link() lets one win. */
#include "provenance/identity.h"
#include "provenance/identity_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DAY = 86400, LEAF_YEARS = 10, ROOT_YEARS = 20, MAX_PEM = 1 << 20 };
/* emailProtection and documentSigning: every reader takes one of them without being configured. */
static const char purposes[] = "1.3.6.1.5.5.7.3.4,1.3.6.1.5.5.7.3.36";

void hm_identity_free(hm_identity *id)
{
    if (!id) return;
    EVP_PKEY_free(id->key);
    for (int i = 0; i < id->n_certs; i++) X509_free(id->cert[i]);
    free(id);
}

const char *hm_alg_name(int64_t alg)
{
    switch (alg) {
    case HM_ES256: return "ES256";
    case HM_ES384: return "ES384";
    case HM_ES512: return "ES512";
    case HM_PS256: return "PS256";
    case HM_PS384: return "PS384";
    case HM_PS512: return "PS512";
    case HM_ED25519: return "Ed25519";
    default: return "?";
    }
}

/* COSE's algorithm for a key, 0 = none. */
static int alg_for(EVP_PKEY *key)
{
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_ED25519: return HM_ED25519;
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS: return EVP_PKEY_get_bits(key) >= 2048 ? HM_PS256 : 0;
    case EVP_PKEY_EC: {
        const int bits = EVP_PKEY_get_bits(key);
        return bits == 256 ? HM_ES256 : bits == 384 ? HM_ES384 : bits == 521 ? HM_ES512 : 0;
    }
    default: return 0;
    }
}

void hm_cert_name(X509_NAME *name, char *out, size_t cap)
{
    char cn[128] = "", org[128] = "";
    X509_NAME_get_text_by_NID(name, NID_commonName, cn, sizeof cn);
    X509_NAME_get_text_by_NID(name, NID_organizationName, org, sizeof org);
    if (*cn && *org) snprintf(out, cap, "%s (%s)", cn, org);
    else snprintf(out, cap, "%s", *cn ? cn : *org ? org : "without a name");
}

static bool has_purpose(X509 *cert)
{
    EXTENDED_KEY_USAGE *eku = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
    static const char *const known[] = {"1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1",
                                        "1.3.6.1.4.1.311.76.59.1.9"};
    bool found = false, any = false;
    for (int i = 0; eku && i < sk_ASN1_OBJECT_num(eku); i++) {
        char oid[64];
        OBJ_obj2txt(oid, sizeof oid, sk_ASN1_OBJECT_value(eku, i), 1);
        any |= !strcmp(oid, "2.5.29.37.0");
        for (size_t k = 0; k < HM_COUNT(known); k++) found |= !strcmp(oid, known[k]);
    }
    EXTENDED_KEY_USAGE_free(eku);
    return found && !any;
}

const char *hm_cert_problem(X509 *cert)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);
    const uint32_t flags = X509_get_extension_flags(cert);
    if (X509_get_version(cert) != 2) return "the certificate is not of version 3";
    if (flags & EXFLAG_INVALID) return "an extension of the certificate is broken";
    if (flags & EXFLAG_CRITICAL) return "the certificate has a critical extension that is not known";
    if (X509_check_ca(cert)) return "the certificate is one of an authority, not of a signer";
    if (!key || !alg_for(key)) return "the certificate's key is of no kind that Content Credentials allow";
    if (!(flags & EXFLAG_KUSAGE) || !(X509_get_key_usage(cert) & KU_DIGITAL_SIGNATURE))
        return "the certificate is not meant for signatures";
    if (!has_purpose(cert)) return "the certificate's purposes do not include signing of documents";
    return NULL;
}

/* ---- making one ---- */

static bool add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX c;
    X509V3_set_ctx(&c, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &c, nid, value);
    const bool ok = e && X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
    return ok;
}

static bool add_name(X509_NAME *n, const char *key, const char *value)
{
    return X509_NAME_add_entry_by_txt(n, key, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0) == 1;
}

/* A certificate of key for `name`, from yesterday for some years. */
static X509 *blank_cert(EVP_PKEY *key, const char *name, int years)
{
    X509 *c = X509_new();
    uint8_t serial[16];
    BIGNUM *bn = NULL;
    bool ok = c && X509_set_version(c, 2) && RAND_bytes(serial, sizeof serial) == 1;
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); /* positive, and of a fixed length */
    ok = ok && (bn = BN_bin2bn(serial, sizeof serial, NULL)) && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(c));
    ok = ok && X509_gmtime_adj(X509_getm_notBefore(c), -DAY) &&
         X509_time_adj_ex(X509_getm_notAfter(c), 365 * years + years / 4, 0, NULL) && X509_set_pubkey(c, key) &&
         add_name(X509_get_subject_name(c), "O", "himmel, self-signed") &&
         add_name(X509_get_subject_name(c), "CN", name);
    BN_free(bn);
    if (ok) return c;
    X509_free(c);
    return NULL;
}

static EVP_PKEY *new_key(int alg)
{
    if (alg == HM_ED25519) return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    return EVP_PKEY_Q_keygen(NULL, NULL, "EC", alg == HM_ES256 ? "P-256" : "P-384");
}

static bool make_pair(hm_identity *id, const char *name)
{
    EVP_PKEY *root_key = new_key(id->alg);
    const EVP_MD *md = id->alg == HM_ED25519 ? NULL : id->alg == HM_ES256 ? EVP_sha256() : EVP_sha384();
    char root_name[160];
    snprintf(root_name, sizeof root_name, "Root of %s", name);
    id->key = new_key(id->alg);
    X509 *root = root_key ? blank_cert(root_key, root_name, ROOT_YEARS) : NULL;
    X509 *leaf = id->key ? blank_cert(id->key, name, LEAF_YEARS) : NULL;
    const bool ok =
        root && leaf && X509_set_issuer_name(root, X509_get_subject_name(root)) &&
        X509_set_issuer_name(leaf, X509_get_subject_name(root)) &&
        add_ext(root, root, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
        add_ext(root, root, NID_key_usage, "critical,keyCertSign,cRLSign") &&
        add_ext(root, root, NID_subject_key_identifier, "hash") &&
        add_ext(root, root, NID_authority_key_identifier, "keyid") && X509_sign(root, root_key, md) > 0 &&
        add_ext(leaf, root, NID_basic_constraints, "critical,CA:FALSE") &&
        add_ext(leaf, root, NID_key_usage, "critical,digitalSignature") &&
        add_ext(leaf, root, NID_ext_key_usage, purposes) &&
        add_ext(leaf, root, NID_subject_key_identifier, "hash") &&
        add_ext(leaf, root, NID_authority_key_identifier, "keyid") && X509_sign(leaf, root_key, md) > 0;
    EVP_PKEY_free(root_key);
    if (leaf) id->cert[id->n_certs++] = leaf;
    if (root) id->cert[id->n_certs++] = root;
    return ok;
}

/* mkdir -p, 0700 */
himmel_status hm_id_folder(const char *dir, himmel_error *err)
{
    char path[HM_ID_PATH];
    if (!*dir) return hm_fail(err, HIMMEL_EIO, "no folder for the signing identity: HIMMEL_IDENTITY_DIR names one");
    if ((size_t)snprintf(path, sizeof path, "%s", dir) >= sizeof path)
        return hm_fail(err, HIMMEL_EINVAL, "identity folder %.100s...: path is too long", dir);
    for (char *p = path + 1;; p++) {
        const char c = *p;
        if (c && c != '/') continue;
        *p = 0;
        if (mkdir(path, 0700) && errno != EEXIST)
            return hm_fail(err, HIMMEL_EIO, "%s: cannot make the folder of the signing identity: %s", path,
                           strerror(errno));
        *p = c;
        if (!c) return HIMMEL_OK;
    }
}

himmel_status hm_id_path(char out[HM_ID_PATH], const char *dir, const char *name, himmel_error *err)
{
    if ((size_t)snprintf(out, HM_ID_PATH, "%s/%s", dir, name) >= HM_ID_PATH)
        return hm_fail(err, HIMMEL_EINVAL, "%.100s...: path is too long", dir);
    return HIMMEL_OK;
}

/* Key and chain, or (only_root) the last certificate, as PEM into a new file. */
static bool write_pem(const char *path, const hm_identity *id, bool only_root)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, only_root ? 0644 : 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    bool ok = f != NULL;
    if (!f && fd >= 0) close(fd);
    if (ok && !only_root) ok = PEM_write_PKCS8PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL) == 1;
    for (int i = only_root ? id->n_certs - 1 : 0; ok && i < id->n_certs; i++) ok = PEM_write_X509(f, id->cert[i]) == 1;
    if (f) {
        ok = !fflush(f) && !fsync(fileno(f)) && ok;
        ok = !fclose(f) && ok;
    }
    return ok;
}

/* Into dir; replace: an older identity makes room. Not replaced: an older one stays and that is fine. */
himmel_status hm_id_store(const hm_identity *id, const char *dir, bool replace, himmel_error *err)
{
    char path[HM_ID_PATH], temp[HM_ID_PATH], name[64];
    himmel_status rc = hm_id_folder(dir, err);
    for (int root = 0; root < 2 && !rc; root++) {
        uint64_t own = 0; /* a name that no other thread or program has */
        if (RAND_bytes((uint8_t *)&own, sizeof own) != 1)
            return hm_fail(err, HIMMEL_EINTERNAL, "%s: libcrypto has no random numbers", dir);
        snprintf(name, sizeof name, ".new-%016llx.pem", (unsigned long long)own);
        rc = hm_id_path(path, dir, root ? "root.pem" : "identity.pem", err);
        if (!rc) rc = hm_id_path(temp, dir, name, err);
        if (rc) return rc;
        bool ok = write_pem(temp, id, root);
        if (ok && (replace || root)) ok = !rename(temp, path);
        else if (ok) ok = !link(temp, path);
        const int why = errno;
        unlink(temp);
        if (!ok && why == EEXIST && !replace) return HIMMEL_OK; /* somebody was faster */
        if (!ok) rc = hm_fail(err, HIMMEL_EIO, "%s: cannot write the signing identity: %s", path, strerror(why));
    }
    return rc;
}

himmel_status hm_id_make(hm_identity **out, const char *name, int alg, himmel_error *err)
{
    hm_identity *id = calloc(1, sizeof *id);
    uint8_t r[4] = {0};
    char own[32];
    *out = NULL;
    if (!id) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    id->alg = alg;
    if (!name || !*name) {
        if (RAND_bytes(r, sizeof r) != 1) name = NULL;
        snprintf(own, sizeof own, "himmel user %02x%02x%02x%02x", r[0], r[1], r[2], r[3]);
        name = own;
    }
    if (!make_pair(id, name)) {
        hm_identity_free(id);
        ERR_clear_error();
        return hm_fail(err, HIMMEL_EINTERNAL, "libcrypto could not make a %s identity for \"%.64s\"",
                       hm_alg_name(alg), name);
    }
    *out = id;
    return HIMMEL_OK;
}

/* ---- reading ---- */

static int no_password(char *buf, int size, int rw, void *user)
{
    (void)buf, (void)size, (void)rw, (void)user;
    return -1;
}

static bool chain_fits(const hm_identity *id)
{
    if (X509_check_private_key(id->cert[0], id->key) != 1) return false;
    for (int i = 0; i + 1 < id->n_certs; i++)
        if (X509_verify(id->cert[i], X509_get0_pubkey(id->cert[i + 1])) != 1) return false;
    return true;
}

himmel_status hm_id_read(hm_identity **out, const char *path, himmel_error *err)
{
    FILE *f = fopen(path, "re");
    *out = NULL;
    if (!f) return hm_fail(err, HIMMEL_EIO, "%s: cannot read: %s", path, strerror(errno));
    hm_identity *id = calloc(1, sizeof *id);
    if (id) id->key = PEM_read_PrivateKey(f, NULL, no_password, NULL);
    if (id) rewind(f);
    while (id && id->n_certs < HM_MAX_CHAIN && (id->cert[id->n_certs] = PEM_read_X509(f, NULL, no_password, NULL)))
        id->n_certs++;
    fclose(f);
    himmel_status rc = HIMMEL_OK;
    const char *problem = NULL;
    if (!id) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    else if (!id->key) rc = hm_fail(err, HIMMEL_EFORMAT, "%s: no private key without a password in it", path);
    else if (!id->n_certs) rc = hm_fail(err, HIMMEL_EFORMAT, "%s: no certificate in it", path);
    else if (!(id->alg = alg_for(id->key)))
        rc = hm_fail(err, HIMMEL_EFORMAT, "%s: the key must be Ed25519, P-256, P-384, P-521 or RSA of 2048 bits", path);
    else if (!chain_fits(id))
        rc = hm_fail(err, HIMMEL_EFORMAT, "%s: key and certificates are no chain (key, its certificate, the one above "
                     "it ...)", path);
    else if ((problem = hm_cert_problem(id->cert[0])))
        rc = hm_fail(err, HIMMEL_EFORMAT, "%s: %s", path, problem);
    ERR_clear_error();
    if (rc) {
        hm_identity_free(id);
        return rc;
    }
    uint8_t *spki = NULL;
    const int n = i2d_PUBKEY(id->key, &spki);
    if (n > 0) hm_digest_of("sha256", 6, spki, (size_t)n, id->issuer_id);
    OPENSSL_free(spki);
    char org[64] = "";
    X509_NAME_get_text_by_NID(X509_get_issuer_name(id->cert[0]), NID_organizationName, org, sizeof org);
    id->self_signed = !strcmp(org, "himmel, self-signed");
    *out = id;
    return n > 0 ? HIMMEL_OK : hm_fail(err, HIMMEL_EINTERNAL, "%s: its public key cannot be written", path);
}

himmel_status hm_identity_dir(char *out, size_t cap, const char *given, himmel_error *err)
{
    struct passwd p, *found = NULL;
    char text[4096];
    if (!given && (getpwuid_r(getuid(), &p, text, sizeof text, &found) || !found || !*p.pw_dir))
        return hm_fail(err, HIMMEL_EIO, "user %ld has no home folder to keep a signing identity in", (long)getuid());
    const int n = given ? snprintf(out, cap, "%s", given) : snprintf(out, cap, "%s/.config/himmel", p.pw_dir);
    return n > 0 && (size_t)n < cap ? HIMMEL_OK
                                    : hm_fail(err, HIMMEL_EINVAL, "the identity folder's path is empty or too long");
}

himmel_status hm_identity_open(hm_identity **out, const char *dir, himmel_error *err)
{
    char path[HM_ID_PATH];
    struct stat st;
    *out = NULL;
    himmel_status rc = *dir ? hm_id_path(path, dir, "identity.pem", err) : hm_id_folder(dir, err);
    if (!rc && stat(path, &st) && errno == ENOENT) {
        hm_identity *fresh;
        rc = hm_id_make(&fresh, NULL, HM_ED25519, err);
        if (!rc) rc = hm_id_store(fresh, dir, false, err);
        hm_identity_free(fresh);
    }
    if (!rc && stat(path, &st)) rc = hm_fail(err, HIMMEL_EIO, "%s: cannot read: %s", path, strerror(errno));
    if (!rc && (st.st_mode & 077))
        rc = hm_fail(err, HIMMEL_EIO, "%s: others can read this private key (mode %03o); chmod 600 it", path,
                     (unsigned)st.st_mode & 0777);
    return rc ? rc : hm_id_read(out, path, err);
}

/* ---- trust ---- */

static void trust_file(X509_STORE *store, const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f) return;
    for (X509 *c; (c = PEM_read_X509(f, NULL, no_password, NULL)); X509_free(c)) X509_STORE_add_cert(store, c);
    fclose(f);
    ERR_clear_error();
}

X509_STORE *hm_trust_open(const char *dir, himmel_error *err)
{
    X509_STORE *store = X509_STORE_new();
    if (!store) {
        hm_fail(err, HIMMEL_ENOMEM, "out of memory");
        return NULL;
    }
    char path[HM_ID_PATH], folder[HM_ID_PATH];
    if (!dir || hm_id_path(folder, dir, "trust", NULL)) return store;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        const size_t n = strlen(e->d_name);
        if (n > 4 && !strcmp(e->d_name + n - 4, ".pem") && !hm_id_path(path, folder, e->d_name, NULL))
            trust_file(store, path);
    }
    if (d) closedir(d);
    return store;
}
