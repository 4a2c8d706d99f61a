/* hub.c - what a name on the hub means, and what lies there; see hub.h.   SPDX-License-Identifier: MIT
 * GET /api/models/ORG/NAME/revision/REV?blobs=true -> {sha, cardData: {license}, siblings: [{rfilename, size, blobId, lfs: {sha256}}]}
 * Source: huggingface_hub's HfApi.model_info. Paths of the answer are not trusted: "..", empty and absolute ones are refused. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/hub_ask.h"

enum { MAX_ANSWER = 64 << 20, MAX_REDIRECTS = 8, CONNECT_SECONDS = 30, STALL_SECONDS = 60 };
static const char public_hub[] = "https://huggingface.co";

/* ---- requests ---- */

CURL *hm_hub_curl(const hm_hub *h, const char *url, char *errors)
{
    CURL *c = curl_easy_init();
    if (!c) return NULL;
    *errors = 0;
    const bool safe = !strncasecmp(url, "https:", 6);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, safe ? "https" : "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "himmel/" HIMMEL_VERSION);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, errors);
    const size_t n = strlen(h->endpoint);
    if (h->token && *h->token && !strncmp(url, h->endpoint, n) && url[n] == '/') { /* libcurl drops it when another host is next */
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, h->token);
    }
    return c;
}

himmel_status hm_hub_answer(CURL *c, CURLcode rc, const char *errors, const hm_hub *h, const char *what, himmel_error *err)
{
    long status = 0;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    if (rc == CURLE_OK && status / 100 == 2) return HIMMEL_OK;
    if (status == 401 || status == 403)
        return hm_fail(err, HIMMEL_EIO, "%.200s: %.100s says %ld: there is no such thing, or it wants a token: accept its licence there and set HF_TOKEN%s", what,
                       h->endpoint, status, h->token && *h->token ? " (one is set, and does not do)" : "");
    if (status == 404) return hm_fail(err, HIMMEL_EIO, "%.200s: %.100s has no such thing (404)", what, h->endpoint);
    if (status >= 400) return hm_fail(err, HIMMEL_EIO, "%.200s: the server says %ld", what, status);
    return hm_fail(err, HIMMEL_EIO, "%.200s: %.200s", what, *errors ? errors : curl_easy_strerror(rc));
}

typedef struct {
    char *data;
    size_t n, cap;
} text;

static size_t keep(char *p, size_t one, size_t n, void *user)
{
    text *t = user;
    n *= one;
    if (t->n + n > MAX_ANSWER) return 0;
    if (t->n + n > t->cap) {
        const size_t cap = HM_MAX(2 * t->cap, t->n + n + 4096);
        char *more = realloc(t->data, cap);
        if (!more) return 0;
        t->data = more, t->cap = cap;
    }
    memcpy(t->data + t->n, p, n);
    t->n += n;
    return n;
}

static himmel_status get_json(const hm_hub *h, const char *url, const char *what, json_t **out, himmel_error *err)
{
    char errors[CURL_ERROR_SIZE];
    json_error_t wrong;
    text t = {0};
    CURL *c = hm_hub_curl(h, url, errors);
    if (!c) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &t);
    curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "");
    const CURLcode rc = curl_easy_perform(c);
    himmel_status st = hm_hub_answer(c, rc, errors, h, what, err);
    curl_easy_cleanup(c);
    *out = st ? NULL : json_loadb(t.data ? t.data : "", t.n, JSON_REJECT_DUPLICATES, &wrong);
    if (!st && !*out) st = hm_fail(err, HIMMEL_EIO, "%s: the answer is no JSON: %.100s", what, wrong.text);
    free(t.data);
    return st;
}

/* ---- names ---- */

static bool plain(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", s[i])) return false;
    return n > 0 && s[0] != '.';
}

/* Not absolute, without "..", control characters and empty parts. */
static bool safe_path(const char *p)
{
    for (const char *s = p;; s++) {
        const size_t n = strcspn(s, "/");
        if (!n || (n == 1 && *s == '.') || (n == 2 && !strncmp(s, "..", 2))) return false;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f || s[i] == '\\') return false;
        s += n;
        if (!*s) return strlen(p) < 1024;
    }
}

/* "org/repo/...": the rest behind it in *rest (after the slash, or ""). */
static bool take_repo(hm_hub_list *l, const char *s, const char **rest)
{
    const size_t org = strcspn(s, "/");
    if (s[org] != '/') return false;
    const size_t repo = strcspn(s + org + 1, "/"), n = org + 1 + repo;
    if (!plain(s, org) || !plain(s + org + 1, repo) || n >= sizeof l->repo) return false;
    memcpy(l->repo, s, n);
    l->repo[n] = 0;
    *rest = s[n] ? s + n + 1 : s + n;
    return true;
}

static bool is_address(const char *s)
{
    return !strncasecmp(s, "http://", 7) || !strncasecmp(s, "https://", 8);
}

/* Behind the address of the hub: NULL if it is another. */
static const char *behind(const char *name, const char *hub)
{
    const size_t n = strlen(hub);
    return !strncmp(name, hub, n) && name[n] == '/' ? name + n + 1 : NULL;
}

static himmel_status read_name(hm_hub_list *l, const hm_hub *h, const char *name, char revision[128], himmel_error *err)
{
    const char *rest = name, *inner = NULL;
    snprintf(revision, 128, "%s", h->revision ? h->revision : "main");
    if (is_address(name)) {
        inner = behind(name, h->endpoint);
        if (!inner) inner = behind(name, public_hub);
        if (!inner && strlen(name) < sizeof l->url) {
            strcpy(l->url, name);
            return HIMMEL_OK;
        }
        rest = inner;
    }
    if (!rest || !take_repo(l, rest, &rest))
        return hm_fail(err, HIMMEL_EINVAL, "%.200s: not the name of a model: ORG/NAME, ORG/NAME/FILE or an address", name);
    if (inner && *rest) { /* resolve/main/file?download=true */
        const size_t word = strcspn(rest, "/");
        const bool known = (word == 7 && !strncmp(rest, "resolve", 7)) || (word == 4 && (!strncmp(rest, "blob", 4) || !strncmp(rest, "tree", 4)));
        if (!known || !rest[word]) return hm_fail(err, HIMMEL_EINVAL, "%.200s: not the address of a file on the hub", name);
        rest += word + 1;
        const size_t rev = strcspn(rest, "/?");
        if (!h->revision) snprintf(revision, 128, "%.*s", (int)rev, rest);
        rest += rev + (rest[rev] == '/');
    }
    size_t n = inner ? strcspn(rest, "?#") : strlen(rest);
    while (n && rest[n - 1] == '/') n--;
    if (n >= sizeof l->wanted) return hm_fail(err, HIMMEL_EINVAL, "%.100s...: name is too long", name);
    memcpy(l->wanted, rest, n);
    l->wanted[n] = 0;
    if (n && !safe_path(l->wanted)) return hm_fail(err, HIMMEL_EINVAL, "%.200s: \"%.200s\" cannot be a file's name", name, l->wanted);
    return HIMMEL_OK;
}

/* ---- files ---- */

static bool is_hex(const char *s, size_t n)
{
    return s && strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

static bool is_wanted(const char *path, const char *wanted)
{
    const size_t n = strlen(wanted);
    return !n || (!strncmp(path, wanted, n) && (!path[n] || path[n] == '/'));
}

static himmel_status take_file(hm_hub_list *l, const json_t *s, himmel_error *err)
{
    const char *path = json_string_value(json_object_get(s, "rfilename"));
    const json_t *lfs = json_object_get(s, "lfs"), *size = json_object_get(json_is_object(lfs) ? lfs : s, "size");
    const char *sha = json_string_value(json_object_get(lfs, "sha256")), *blob = json_string_value(json_object_get(s, "blobId"));
    hm_hub_file *f = &l->file[l->n];
    if (!path || !is_wanted(path, l->wanted)) return HIMMEL_OK;
    if (!safe_path(path)) return hm_fail(err, HIMMEL_EIO, "%s: the hub names a file \"%.200s\", which is not taken", l->repo, path);
    if (json_integer_value(size) > 0) f->size = (uint64_t)json_integer_value(size);
    if (is_hex(sha, 64)) strcpy(f->sha256, sha);
    else if (is_hex(blob, 40)) strcpy(f->git_sha1, blob);
    f->path = strdup(path);
    if (!f->path) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    l->n++;
    return HIMMEL_OK;
}

static himmel_status take_answer(hm_hub_list *l, const json_t *root, himmel_error *err)
{
    const json_t *files = json_object_get(root, "siblings"), *card = json_object_get(root, "cardData");
    const char *commit = json_string_value(json_object_get(root, "sha"));
    const json_t *licence = json_object_get(card, "license");
    const char *name = json_string_value(json_object_get(card, "license_name")), *plain_licence = json_string_value(json_is_array(licence) ? json_array_get(licence, 0) : licence);
    himmel_status rc = HIMMEL_OK;
    if (!commit || !plain(commit, strlen(commit)) || strlen(commit) >= sizeof l->commit || !json_is_array(files))
        return hm_fail(err, HIMMEL_EIO, "%s: the hub's answer names no commit or no files", l->repo);
    strcpy(l->commit, commit);
    snprintf(l->licence, sizeof l->licence, "%.70s%s%.70s", plain_licence ? plain_licence : "not stated", name ? ", " : "", name ? name : "");
    for (char *c = l->licence; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    l->file = calloc(json_array_size(files) + 1, sizeof *l->file);
    if (!l->file) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    for (size_t i = 0; i < json_array_size(files) && !rc; i++) rc = take_file(l, json_array_get(files, i), err);
    if (!rc && !l->n) rc = hm_fail(err, HIMMEL_EINVAL, "%s has no file or folder %.200s: himmel pull %s lists what it has", l->repo, l->wanted, l->repo);
    return rc;
}

static himmel_status look_hub(hm_hub_list *l, const hm_hub *h, const char *revision, himmel_error *err)
{
    char url[2048];
    json_t *root = NULL;
    char *rev = curl_easy_escape(NULL, revision, 0);
    snprintf(url, sizeof url, "%s/api/models/%s/revision/%s?blobs=true", h->endpoint, l->repo, rev ? rev : "main");
    curl_free(rev);
    himmel_status rc = get_json(h, url, l->repo, &root, err);
    if (!rc) rc = take_answer(l, root, err);
    json_decref(root);
    return rc;
}

/* One file of an address that is not the hub's: its name is the last part of the path. */
static himmel_status look_address(hm_hub_list *l, const hm_hub *h, himmel_error *err)
{
    char errors[CURL_ERROR_SIZE];
    if (!h->sha256) return hm_fail(err, HIMMEL_EINVAL, "%.200s: nobody says what its SHA-256 must be: give it with --sha256", l->url);
    const size_t end = strcspn(l->url, "?#");
    size_t from = end;
    while (from && l->url[from - 1] != '/') from--;
    l->file = calloc(1, sizeof *l->file);
    char *name = l->file ? l->file->path = strndup(l->url + from, end - from) : NULL;
    if (!name) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    l->n = 1;
    if (!safe_path(name)) return hm_fail(err, HIMMEL_EINVAL, "%.200s: does not end in a file's name", l->url);
    CURL *c = hm_hub_curl(h, l->url, errors);
    if (!c) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    curl_off_t size = -1;
    curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    if (!curl_easy_perform(c)) curl_easy_getinfo(c, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
    curl_easy_cleanup(c); /* a server that knows no HEAD still gives the file */
    if (size > 0) l->file->size = (uint64_t)size;
    snprintf(l->licence, sizeof l->licence, "not stated");
    return HIMMEL_OK;
}

himmel_status hm_hub_look(hm_hub_list *l, const hm_hub *h, const char *name, himmel_error *err)
{
    char revision[128];
    *l = (hm_hub_list){0};
    if (h->sha256 && !is_hex(h->sha256, 64)) return hm_fail(err, HIMMEL_EINVAL, "%.80s: a SHA-256 has 64 hex digits, in lower case", h->sha256);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    himmel_status rc = read_name(l, h, name, revision, err);
    if (!rc) rc = *l->url ? look_address(l, h, err) : look_hub(l, h, revision, err);
    if (!rc && h->sha256 && l->n > 1) rc = hm_fail(err, HIMMEL_EINVAL, "--sha256 is of one file, and these are %zu", l->n);
    if (!rc && h->sha256) {
        strcpy(l->file->sha256, h->sha256);
        *l->file->git_sha1 = 0;
    }
    if (rc) hm_hub_free(l);
    return rc;
}

void hm_hub_free(hm_hub_list *l)
{
    for (size_t i = 0; i < l->n; i++) free(l->file[i].path);
    free(l->file);
    *l = (hm_hub_list){0};
}
