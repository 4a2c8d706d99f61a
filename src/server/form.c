/* form.c - JSON and multipart bodies to flat fields.   SPDX-License-Identifier: MIT
 * Multipart as RFC 7578 has it; the whole body is in memory (or mapped), parts are found by their boundary. */
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/form.h"

enum { MAX_PART_HEADERS = 4096, MAX_TEXT = 32 << 20 };

bool hm_is_utf8(const char *s, size_t len)
{
    const uint8_t *p = (const uint8_t *)s, *end = p + len;
    while (p < end) {
        const uint8_t c = *p++;
        if (c == 0) return false;
        if (c < 0x80) continue;
        const int more = c >= 0xf0 && c <= 0xf4 ? 3 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xc2 && c < 0xe0 ? 1 : 0;
        if (!more || end - p < more) return false;
        uint32_t v = c & (0x3fu >> more);
        for (int i = 0; i < more; i++, p++) {
            if ((*p & 0xc0) != 0x80) return false;
            v = v << 6 | (*p & 0x3f);
        }
        if ((more == 2 && (v < 0x800 || (v >= 0xd800 && v < 0xe000))) || (more == 3 && (v < 0x10000 || v > 0x10ffff))) return false;
    }
    return true;
}

void hm_form_free(hm_form *f)
{
    for (size_t i = 0; i < f->n; i++) free(f->field[i].text);
    free(f->field);
    *f = (hm_form){0};
}

const hm_field *hm_form_get(const hm_form *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (!strcmp(f->field[i].name, name)) return &f->field[i];
    return NULL;
}

const char *hm_form_text(const hm_form *f, const char *name)
{
    const hm_field *x = hm_form_get(f, name);
    return x ? x->text : NULL;
}

const char *hm_form_unknown(const hm_form *f, const char *const *known)
{
    for (size_t i = 0; i < f->n; i++) {
        const size_t n = strcspn(f->field[i].name, "[");
        bool found = false;
        for (const char *const *k = known; *k && !found; k++) found = strlen(*k) == n && !strncmp(*k, f->field[i].name, n);
        if (!found) return f->field[i].name;
    }
    return NULL;
}

/* A new field at the end. "image[]" gets the next free number. */
static himmel_status add(hm_form *f, const char *name, hm_field **out, himmel_error *err)
{
    const size_t n = strlen(name);
    if (f->n >= HM_FORM_FIELDS) return hm_fail(err, HIMMEL_EINVAL, "more than %d fields", HM_FORM_FIELDS);
    if (!n || n >= HM_FORM_NAME - 8)
        return hm_fail(err, HIMMEL_EINVAL, "a field's name has %zu bytes, 1 to %d are possible", n, HM_FORM_NAME - 9);
    if (!hm_is_utf8(name, n)) return hm_fail(err, HIMMEL_EINVAL, "a field's name is not UTF-8");
    hm_field *x = &f->field[f->n];
    *x = (hm_field){0};
    if (n > 2 && !strcmp(name + n - 2, "[]")) {
        for (int i = 0; i < HM_FORM_FIELDS; i++) {
            snprintf(x->name, sizeof x->name, "%.*s[%d]", (int)n - 2, name, i);
            bool taken = false;
            for (size_t k = 0; k < f->n && !taken; k++) taken = !strcmp(f->field[k].name, x->name);
            if (!taken) break;
        }
    } else {
        snprintf(x->name, sizeof x->name, "%s", name);
        for (size_t k = 0; k < f->n; k++)
            if (!strcmp(f->field[k].name, name)) return hm_fail(err, HIMMEL_EINVAL, "field %s is there twice", name);
    }
    f->n++;
    *out = x;
    return HIMMEL_OK;
}

static himmel_status add_text(hm_form *f, const char *name, const char *text, size_t len, himmel_error *err)
{
    hm_field *x;
    if (len > MAX_TEXT) return hm_fail(err, HIMMEL_EINVAL, "field %.80s has %zu bytes, at most %d are possible", name, len, MAX_TEXT);
    if (!hm_is_utf8(text, len)) return hm_fail(err, HIMMEL_EINVAL, "field %.80s is not UTF-8 text", name);
    const himmel_status rc = add(f, name, &x, err);
    if (rc) return rc;
    x->text = strndup(text, len);
    x->len = len;
    return x->text ? HIMMEL_OK : hm_fail(err, HIMMEL_ENOMEM, "out of memory for field %.80s", name);
}

/* ---- JSON ---- */

static himmel_status flatten(hm_form *f, const char *name, json_t *v, int depth, himmel_error *err);

static himmel_status flatten_inside(hm_form *f, const char *name, json_t *v, int depth, himmel_error *err)
{
    char inner[2 * HM_FORM_NAME];
    if (json_is_object(v)) {
        const char *key;
        json_t *x;
        json_object_foreach(v, key, x) {
            if (strlen(key) >= HM_FORM_NAME || strpbrk(key, "[]"))
                return hm_fail(err, HIMMEL_EINVAL, "field name %.60s in %.60s: too long, or has brackets", key, *name ? name : "the body");
            snprintf(inner, sizeof inner, *name ? "%s[%s]" : "%s%s", name, key);
            const himmel_status rc = flatten(f, inner, x, depth + 1, err);
            if (rc) return rc;
        }
        return HIMMEL_OK;
    }
    size_t i;
    json_t *x;
    json_array_foreach(v, i, x) {
        if (i >= HM_FORM_FIELDS) return hm_fail(err, HIMMEL_EINVAL, "%s has more than %d items", name, HM_FORM_FIELDS);
        snprintf(inner, sizeof inner, "%s[%zu]", name, i);
        const himmel_status rc = flatten(f, inner, x, depth + 1, err);
        if (rc) return rc;
    }
    return HIMMEL_OK;
}

static himmel_status flatten(hm_form *f, const char *name, json_t *v, int depth, himmel_error *err)
{
    char number[40];
    if (depth > HM_FORM_DEPTH) return hm_fail(err, HIMMEL_EINVAL, "%.80s: nested deeper than %d", name, HM_FORM_DEPTH);
    switch (json_typeof(v)) {
    case JSON_OBJECT:
    case JSON_ARRAY: return flatten_inside(f, name, v, depth, err);
    case JSON_STRING: return add_text(f, name, json_string_value(v), json_string_length(v), err);
    case JSON_INTEGER: snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v)); break;
    case JSON_REAL: snprintf(number, sizeof number, "%.17g", json_real_value(v)); break;
    case JSON_TRUE: strcpy(number, "true"); break;
    case JSON_FALSE: strcpy(number, "false"); break;
    default: return HIMMEL_OK; /* null: not said */
    }
    return add_text(f, name, number, strlen(number), err);
}

static himmel_status parse_json(hm_form *f, const uint8_t *body, size_t len, himmel_error *err)
{
    json_error_t e;
    json_t *v = json_loadb((const char *)body, len, JSON_REJECT_DUPLICATES, &e);
    if (!v) return hm_fail(err, HIMMEL_EINVAL, "the body is not JSON: %.200s, line %d, column %d", e.text, e.line, e.column);
    const himmel_status rc = json_is_object(v) ? flatten(f, "", v, 0, err)
                                               : hm_fail(err, HIMMEL_EINVAL, "the body is JSON, but not an object");
    json_decref(v);
    return rc;
}

/* ---- multipart ---- */

/* The parameter of a header value ('name' of 'form-data; name="x"') into out. False: not there or too long. */
static bool parameter(const char *header, const char *name, char *out, size_t cap)
{
    const size_t want = strlen(name);
    const char *p = header + strcspn(header, ";");
    while (*p) {
        p += 1 + strspn(p + 1, " \t");
        const size_t n = strcspn(p, "=;");
        if (p[n] != '=') {
            p += n;
            continue;
        }
        const bool hit = n == want && !strncasecmp(p, name, n);
        p += n + 1;
        const bool quoted = *p == '"';
        size_t len = 0;
        for (p += quoted; *p && (quoted ? *p != '"' : *p != ';' && *p != ' '); p++) {
            if (quoted && *p == '\\' && (p[1] == '"' || p[1] == '\\')) p++;
            if (hit && len + 1 >= cap) return false;
            if (hit) out[len++] = *p;
        }
        if (hit) {
            out[len] = 0;
            return true;
        }
        p += strcspn(p, ";");
    }
    return false;
}

/* Headers of one part: the field they name is added, with nothing in it yet. *is_file: it has a file name or a type that
 * is not text. */
static himmel_status part_headers(hm_form *f, const uint8_t *at, size_t len, char *name, char *filename, bool *is_file,
                                  himmel_error *err)
{
    char text[MAX_PART_HEADERS + 1];
    if (len > MAX_PART_HEADERS) return hm_fail(err, HIMMEL_EINVAL, "part %zu of the form: headers of more than %d bytes", f->n + 1, MAX_PART_HEADERS);
    memcpy(text, at, len);
    text[len] = 0;
    *name = *filename = 0;
    *is_file = false;
    for (char *line = text; line && *line;) {
        char *next = strstr(line, "\r\n");
        if (next) *next = 0, next += 2;
        if (!strncasecmp(line, "content-disposition:", 20)) {
            if (!parameter(line, "name", name, HM_FORM_NAME)) *name = 0;
            if (strcasestr(line, "filename")) *is_file = true;
            if (!parameter(line, "filename", filename, HM_FORM_FILENAME)) *filename = 0;
        }
        line = next;
    }
    if (!*name) return hm_fail(err, HIMMEL_EINVAL, "part %zu of the form has no name of 1 to %d bytes", f->n + 1, HM_FORM_NAME - 1);
    return HIMMEL_OK;
}

static himmel_status parse_part(hm_form *f, const uint8_t *at, size_t len, himmel_error *err)
{
    char name[HM_FORM_NAME], filename[HM_FORM_FILENAME];
    bool is_file;
    const uint8_t *gap = len >= 2 && !memcmp(at, "\r\n", 2) ? at : memmem(at, len, "\r\n\r\n", 4);
    if (!gap) return hm_fail(err, HIMMEL_EINVAL, "part %zu of the form has no end of its headers", f->n + 1);
    himmel_status rc = part_headers(f, at, (size_t)(gap - at), name, filename, &is_file, err);
    if (rc) return rc;
    const uint8_t *data = gap + (gap == at ? 2 : 4);
    const size_t n = len - (size_t)(data - at);
    if (!is_file) return add_text(f, name, (const char *)data, n, err);
    hm_field *x;
    rc = add(f, name, &x, err);
    if (rc) return rc;
    x->is_file = true;
    x->data = data;
    x->len = n;
    snprintf(x->filename, sizeof x->filename, "%s", filename);
    for (char *p = x->filename; *p; p++)
        if ((unsigned char)*p < 32 || (unsigned char)*p >= 127) *p = '?';
    return HIMMEL_OK;
}

static himmel_status parse_multipart(hm_form *f, const uint8_t *body, size_t len, const char *type, himmel_error *err)
{
    char boundary[80], mark[90];
    if (!parameter(type, "boundary", boundary, sizeof boundary - 8) || !*boundary)
        return hm_fail(err, HIMMEL_EINVAL, "Content-Type multipart/form-data has no boundary of 1 to 70 bytes");
    const size_t n = (size_t)snprintf(mark, sizeof mark, "\r\n--%s", boundary);
    const uint8_t *end = body + len, *p = body;
    if (len >= n - 2 && !memcmp(body, mark + 2, n - 2)) p = body + n - 2; /* the first one may stand without a line end */
    else if ((p = memmem(body, len, mark, n))) p += n;
    while (p) {
        if (end - p >= 2 && !memcmp(p, "--", 2)) return HIMMEL_OK;
        while (p < end && (*p == ' ' || *p == '\t')) p++;
        if (end - p < 2 || memcmp(p, "\r\n", 2)) break;
        p += 2;
        const uint8_t *next = memmem(p, (size_t)(end - p), mark, n);
        if (!next) break;
        const himmel_status rc = parse_part(f, p, (size_t)(next - p), err);
        if (rc) return rc;
        p = next + n;
    }
    return hm_fail(err, HIMMEL_EINVAL, "the form ends in part %zu, its last boundary is missing", f->n + 1);
}

himmel_status hm_form_parse(hm_form *out, const uint8_t *body, size_t len, const char *type, himmel_error *err)
{
    *out = (hm_form){0};
    if (!len) return HIMMEL_OK;
    out->field = malloc(HM_FORM_FIELDS * sizeof *out->field);
    if (!out->field) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the fields of the body");
    himmel_status rc;
    if (!type || !strncasecmp(type, "application/json", 16)) rc = parse_json(out, body, len, err);
    else if (!strncasecmp(type, "multipart/form-data", 19)) rc = parse_multipart(out, body, len, type, err);
    else rc = hm_fail(err, HIMMEL_EFORMAT, "Content-Type %.80s is neither application/json nor multipart/form-data", type);
    if (rc) hm_form_free(out);
    return rc;
}
