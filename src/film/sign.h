/* sign.h - Content Credentials of a generation or an edit.   SPDX-License-Identifier: MIT
 * hm_signer_seal goes into the encoder or the picture writer: what they wrote is signed before it gets its name.
 *     hm_signer_open(&s, ctx, req, err);                  before the work
 *     s.sources = (hm_source[]){{"a.mp4", HM_ROLE_PARENT}, {"b.png", HM_ROLE_INPUT}}, s.n_sources = 2;
 *     s.action = "c2pa.edited", s.settings = "mask m.png\n";     an edit only
 *     hm_signer_mark(&s, w, h, &mark, err);               the watermark that names this film, if any pixel is new
 *     eo.seal = hm_signer_seal, eo.seal_user = &s;
 * Every source becomes an ingredient (c2pa.ingredient.v3) with its own manifests, whatever tool made them, so that no
 * mark of an input is lost. A parent (at most one) says: this file is an edit of it; a component: part of this file
 * shows it unchanged; an input: the model saw it. Two sources may have one path; sources and strings are borrowed. */
#ifndef HM_SIGN_H
#define HM_SIGN_H

#include "film/film.h"
#include "provenance/manifest.h"
#include "provenance/watermark.h"

typedef struct {
    const himmel_ctx *ctx;
    const himmel_request *req;
    const hm_identity *identity; /* the context's */
    /* What an edit fills in after opening: its inputs, what was done (C2PA's name), its other settings as text. */
    const hm_source *sources;
    size_t n_sources;
    hm_reader reader;            /* looks into them; .open NULL: here */
    const char *action;          /* with a parent: "c2pa.edited" (also NULL), "c2pa.trimmed" ... */
    const char *settings;        /* part of the film's id, so everything that the bytes depend on; "" or lines */
    char watermark[HM_WM_HEX];   /* payload as hex digits, "" = none; hm_signer_mark sets it */
} hm_signer;

/* Before the work, so that an identity that cannot be read or made, or a time server that does not answer, is known at once. ctx and req are borrowed. */
himmel_status hm_signer_open(hm_signer *s, himmel_ctx *ctx, const himmel_request *req, himmel_error *err);
/* The watermark for frames of w x h: its payload is the film's id and the issuer's, and the credentials name it. After
 * sources and settings are set. *out is the caller's. */
himmel_status hm_signer_mark(hm_signer *s, int w, int h, hm_watermark **out, himmel_error *err);
/* A hm_seal_fn; user is a hm_signer. */
himmel_status hm_signer_seal(void *user, const uint8_t *in, size_t n, uint8_t **out, size_t *n_out,
                             himmel_error *err);

#endif
