/* sign.h - Content Credentials of a generation or an edit.   SPDX-License-Identifier: MIT
 * hm_signer_seal goes into the encoder or the picture writer: what they wrote is signed before it gets its name.
 *     hm_signer_open(&s, ctx, req, err);                  before the work
 *     s.sources = (hm_source[]){{"a.mp4", HM_ROLE_PARENT}, {"b.png", HM_ROLE_INPUT}}, s.n_sources = 2;
 *     s.action = "c2pa.edited", s.settings = "mask m.png\n";     an edit only
 *     s.watermark = hex;                                  once hm_signer_film_id has given the film's id
 *     eo.seal = hm_signer_seal, eo.seal_user = &s;
 * Every source becomes an ingredient (c2pa.ingredient.v3) with its own manifests, whatever tool made them, so that no
 * mark of an input is lost. A parent (at most one) says: this file is an edit of it; a component: part of this file
 * shows it unchanged; an input: the model saw it. Two sources may have one path; sources and strings are borrowed. */
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
    const char *action;          /* with a parent: "c2pa.edited" (also NULL), "c2pa.trimmed" ... */
    const char *settings;        /* part of the film's id, so everything that the bytes depend on; "" or lines */
    const char *watermark;       /* payload as hex digits, NULL = none */
} hm_signer;

/* Before the work, so that an identity that cannot be read or made, or a time server that does not answer, is known at once. ctx and req are borrowed. */
himmel_status hm_signer_open(hm_signer *s, himmel_ctx *ctx, const himmel_request *req, himmel_error *err);
/* The id of the film to be made: what the watermark carries. */
himmel_status hm_signer_film_id(const hm_signer *s, uint8_t film_id[32], himmel_error *err);
/* A hm_seal_fn; user is a hm_signer. */
himmel_status hm_signer_seal(void *user, const uint8_t *in, size_t n, uint8_t **out, size_t *n_out,
                             himmel_error *err);

#endif
