/* form.h - the body of a request as flat fields, whether it came as JSON or as a form.   SPDX-License-Identifier: MIT
 * Untrusted bytes in, named values out: {"input_reference": {"image_url": u}} and a form part named
 * input_reference[image_url] are the same field. List items are numbered: images[0][image_url]; a part named image[]
 * becomes image[0], image[1] ... Knows no HTTP, no disk. */
#ifndef HM_FORM_H
#define HM_FORM_H

#include "base/base.h"

enum { HM_FORM_NAME = 96, HM_FORM_FILENAME = 160, HM_FORM_FIELDS = 256, HM_FORM_DEPTH = 6 };

typedef struct {
    char name[HM_FORM_NAME];
    char filename[HM_FORM_FILENAME]; /* as the client says: for messages only */
    bool is_file;
    char *text;          /* a value, UTF-8, terminated; NULL for files */
    const uint8_t *data; /* a file's bytes, inside the body */
    size_t len;
} hm_field;

typedef struct {
    hm_field *field;
    size_t n;
} hm_form;

/* Parse a whole body. type: the Content-Type header (NULL: JSON if there is a body). The form borrows body; release it
 * with hm_form_free(). EINVAL: says what is wrong and where; EFORMAT: a type that is neither JSON nor multipart. */
himmel_status hm_form_parse(hm_form *out, const uint8_t *body, size_t len, const char *type, himmel_error *err);
void hm_form_free(hm_form *f);

const hm_field *hm_form_get(const hm_form *f, const char *name); /* NULL: not there */
const char *hm_form_text(const hm_form *f, const char *name);    /* NULL: not there, or a file */
/* A name that none of known[] begins with (up to "[" or the end), NULL if there is none: typos are not passed over. */
const char *hm_form_unknown(const hm_form *f, const char *const *known);

bool hm_is_utf8(const char *s, size_t len); /* no NUL, no surrogates, no overlong forms */

#endif
