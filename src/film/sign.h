/* sign.h - Content Credentials of a generation.   SPDX-License-Identifier: MIT
 * hm_signer_seal goes into the encoder or the picture writer: what they wrote is signed before it gets its name. */
#ifndef HM_SIGN_H
#define HM_SIGN_H

#include "film/film.h"
#include "provenance/manifest.h"

typedef struct {
    const himmel_ctx *ctx;
    const himmel_request *req;
    const hm_identity *identity; /* the context's */
    /* What an edit fills in after opening: its inputs, what was done (C2PA's name), its other settings as text. */
    const hm_source *sources;
    size_t n_sources;
    const char *action, *settings;
    const char *watermark;       /* payload as hex digits, NULL = none */
} hm_signer;

/* Before the work, so that an identity that cannot be read or made is known at once. ctx and req are borrowed. */
himmel_status hm_signer_open(hm_signer *s, himmel_ctx *ctx, const himmel_request *req, himmel_error *err);
/* The id of the film to be made: what the watermark carries. */
himmel_status hm_signer_film_id(const hm_signer *s, uint8_t film_id[32], himmel_error *err);
/* A hm_seal_fn; user is a hm_signer. */
himmel_status hm_signer_seal(void *user, const uint8_t *in, size_t n, uint8_t **out, size_t *n_out,
                             himmel_error *err);

#endif
