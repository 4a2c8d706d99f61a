/* identity.h - who signs: a key, its certificate chain, and whom we trust.   SPDX-License-Identifier: MIT
 * A folder holds identity.pem (private key, certificate, certificates above it; mode 0600), root.pem (the root to
 * give to others) and trust/NAME.pem (roots that this user trusts). */
#ifndef HM_IDENTITY_H
#define HM_IDENTITY_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "provenance/bytes.h"

enum { HM_MAX_CHAIN = 8 };
/* COSE's numbers of the signature algorithms. */
enum { HM_ES256 = -7, HM_ES384 = -35, HM_ES512 = -36, HM_PS256 = -37, HM_PS384 = -38, HM_PS512 = -39,
       HM_ED25519 = -8 };

typedef struct hm_identity {
    EVP_PKEY *key;
    int alg;                       /* COSE */
    X509 *cert[HM_MAX_CHAIN];      /* the signer's first, then upwards; the root may be among them */
    int n_certs;
    uint8_t issuer_id[32];         /* SHA-256 of the signer's public key */
    bool self_signed;              /* the root was made by himmel here */
} hm_identity;

/* The identity in dir; makes one (Ed25519, root and leaf) when there is none yet. EIO: the folder cannot be used, or
 * others can read the key; EFORMAT: the file is not key and matching chain. */
himmel_status hm_identity_open(hm_identity **out, const char *dir, himmel_error *err);
void hm_identity_free(hm_identity *id); /* NULL is fine */

/* given, or the user's ~/.config/himmel when given is NULL. EIO: the user has no home. */
himmel_status hm_identity_dir(char *out, size_t cap, const char *given, himmel_error *err);

/* The roots that are trusted: those in trust/ of dir; one's own root.pem is not among them unless the user says so.
 * NULL dir: none. NULL: out of memory. */
X509_STORE *hm_trust_open(const char *dir, himmel_error *err);

/* A certificate as C2PA wants it: version 3, a signing key of a known kind, key usage and purposes, no CA.
 * NULL = fine, else what is wrong; static storage. */
const char *hm_cert_problem(X509 *cert);
/* "Jane Doe (example.org)" */
void hm_cert_name(X509_NAME *name, char *out, size_t cap);
/* "Ed25519", "ES256" ...; "?" */
const char *hm_alg_name(int64_t alg);

#endif
