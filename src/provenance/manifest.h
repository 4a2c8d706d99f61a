/* manifest.h - what a file's Content Credentials say, signed.   SPDX-License-Identifier: MIT
 * A function of the credit, the identity and the file: with an Ed25519 identity the same bytes each time. */
#ifndef HM_MANIFEST_H
#define HM_MANIFEST_H

#include "media/far.h"
#include "provenance/asset.h"
#include "provenance/identity.h"

typedef enum { HM_MINING_UNSAID, HM_MINING_ALLOWED, HM_MINING_FORBIDDEN } hm_mining;
enum { HM_MAX_SOURCES = 100 };
typedef enum {
    HM_ROLE_INPUT,    /* material for the model */
    HM_ROLE_PARENT,   /* this file is an edit of it; at most one */
    HM_ROLE_COMPONENT /* a part of this file shows it as it was */
} hm_role;

/* A file that went into this one. Its own credentials and marks stay with it. */
typedef struct {
    const char *path;
    hm_role role;
} hm_source;

typedef struct {
    const char *model, *model_version, *model_sha256;
    const char *data_sha256;  /* of the training data's manifest; NULL or "" = not known */
    const char *request;      /* every setting that the film depends on, as one text */
    const char *prompt;       /* NULL = keep it out */
    const uint64_t *seed;     /* NULL = keep it out */
    hm_mining mining;
    bool visible_mark;
    const char *watermark;    /* payload of the invisible watermark as hex digits; NULL = none */
    const hm_source *sources;
    size_t n_sources;
    const hm_reader *reader;  /* looks into the sources; NULL: here */
    const char *time_server;  /* RFC 3161, http://...; NULL = no time stamp, and so the same bytes each time */
    const char *action;       /* what was done to the parent, "c2pa.edited"; used with a parent only */
} hm_credit;

/* Names one result: SHA-256 of request, weights and issuer. Its first bytes are the watermark's film id. */
void hm_film_id(const hm_credit *c, const hm_identity *id, uint8_t film_id[32]);
/* data (MP4, PNG, JPEG or WebP without a manifest) signed: *out is the caller's. EIO, EFORMAT: a source cannot be read,
 * the time server gives no stamp, or data cannot carry a manifest. name is for messages. */
himmel_status hm_credit_sign(hm_buf *out, const char *name, const uint8_t *data, size_t n, const hm_credit *c,
                             const hm_identity *id, himmel_error *err);

#endif
