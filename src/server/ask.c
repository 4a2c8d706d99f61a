/* ask.c - from the fields of a request to a job.   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/sha256.h"
#include "server/ask.h"
#include "server/fetch.h"

bool hm_ask_begin(hm_ask *a, hm_call *c, const char *kind, const char *const *fields)
{
    *a = (hm_ask){.c = c, .req = json_object()};
    hm_job *j = &a->job;
    char prefix[16];
    snprintf(prefix, sizeof prefix, "%s_", kind);
    snprintf(j->kind, sizeof j->kind, "%s", kind);
    hm_new_id(j->id, sizeof j->id, prefix);
    j->account = c->who.key.id;
    j->created = (int64_t)time(NULL);
    if (!a->req) return !hm_answer_error(c, 503, NULL, NULL, "out of memory");
    const char *odd = hm_form_unknown(&c->form, fields);
    if (odd) return !hm_answer_error(c, 400, odd, "unknown_parameter", "unknown field %.80s", odd);
    if (hm_disk_free(c->srv->o.data) < (uint64_t)c->srv->o.min_free_mib << 20)
        return !hm_answer_error(c, 507, NULL, "storage_full", "less than %d MiB of the disk are free", c->srv->o.min_free_mib);
    return true;
}

void hm_ask_end(hm_ask *a)
{
    if (!a->submitted && a->n_inputs) hm_remove_all(a->c->srv->o.data, "inputs", a->job.id);
    json_decref(a->req);
    hm_job_deinit(&a->job);
}

/* ---- fields ---- */

bool hm_ask_number(hm_call *c, const char *name, double lo, double hi, double otherwise, double *out)
{
    const char *v = hm_form_text(&c->form, name);
    char *end;
    *out = otherwise;
    if (!v || !*v) return !hm_form_get(&c->form, name) || v || !hm_answer_error(c, 400, name, "invalid_type", "%s is a file, must be a number", name);
    const double n = strtod(v, &end);
    if (end == v || *end || !isfinite(n) || n < lo || n > hi)
        return !hm_answer_error(c, 400, name, "invalid_value", "%s is '%.40s', must be a number from %g to %g", name, v, lo, hi);
    *out = n;
    return true;
}

bool hm_ask_bool(hm_call *c, const char *name, bool otherwise, bool *out)
{
    const char *v = hm_form_text(&c->form, name);
    *out = v ? !strcmp(v, "true") || !strcmp(v, "1") : otherwise;
    if (!v || *out || !strcmp(v, "false") || !strcmp(v, "0")) return true;
    return !hm_answer_error(c, 400, name, "invalid_value", "%s is '%.40s', must be true or false", name, v);
}

static bool ask_prompt(hm_ask *a, bool needed)
{
    hm_call *c = a->c;
    const char *prompt = hm_form_text(&c->form, "prompt");
    const size_t n = prompt ? strlen(prompt) : 0;
    if (needed && !n) return !hm_answer_error(c, 400, "prompt", "missing_required_parameter", "prompt is missing");
    if (n > HIMMEL_MAX_PROMPT)
        return !hm_answer_error(c, 400, "prompt", "string_above_max_length", "prompt has %zu bytes, at most %d are possible", n, HIMMEL_MAX_PROMPT);
    if (!n) return true;
    json_object_set_new(a->req, "prompt", json_string(prompt));
    a->job.prompt = strdup(prompt);
    return a->job.prompt || !hm_answer_error(c, 503, NULL, NULL, "out of memory");
}

bool hm_model_known(const hm_server *srv, const char *name)
{
    static const char *const names[] = {"himmel-1", "sora-2", "sora-2-pro", "sora-2-2025-10-06", "sora-2-pro-2025-10-06", "sora-2-2025-12-08",
                                        "gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2", "dall-e-2", "dall-e-3"};
    for (size_t i = 0; i < HM_COUNT(names); i++)
        if (!strcmp(names[i], name)) return true;
    for (int i = 0; i < srv->o.n_aliases; i++)
        if (!strcmp(srv->o.aliases[i], name)) return true;
    return false;
}

static bool ask_fps(hm_ask *a)
{
    hm_call *c = a->c;
    const char *v = hm_form_text(&c->form, "fps");
    char x[12], y[12] = "1";
    if (!v) return true;
    const int n = sscanf(v, "%8[0-9]/%8[0-9]", x, y);
    const long num = n > 0 ? atol(x) : 0, den = atol(y);
    if (n < 1 || strlen(x) + (n > 1 ? strlen(y) + 1 : 0) != strlen(v) || den < 1 || num < den || num > HIMMEL_MAX_FPS * den)
        return !hm_answer_error(c, 400, "fps", "invalid_value", "fps is '%.40s', must be 1 to %d, or a fraction as 30000/1001", v, HIMMEL_MAX_FPS);
    json_object_set_new(a->req, "fps", json_pack("[ii]", (int)num, (int)den));
    return true;
}

/* seed: up to 2^53, so that JavaScript has it right; a new one each time unless it is said. */
static bool ask_seed(hm_ask *a)
{
    double seed = -1;
    if (!hm_ask_number(a->c, "seed", 0, 9007199254740991.0, -1, &seed)) return false;
    if (seed >= 0 && seed != floor(seed)) return !hm_answer_error(a->c, 400, "seed", "invalid_value", "seed is %g, must be a whole number", seed);
    uint32_t r = 0;
    if (seed < 0 && getrandom(&r, sizeof r, 0) == sizeof r) seed = r;
    json_object_set_new(a->req, "seed", json_integer((json_int_t)fmax(seed, 0)));
    return true;
}

bool hm_ask_common(hm_ask *a, bool needs_prompt)
{
    hm_call *c = a->c;
    double steps, guidance;
    bool mark, sign;
    const char *model = hm_form_text(&c->form, "model"), *negative = hm_form_text(&c->form, "negative_prompt");
    if (!model || !*model) model = "himmel-1";
    if (!hm_model_known(c->srv, model))
        return !hm_answer_error(c, 400, "model", "model_not_found", "there is no model %.60s here; himmel-1 is", model);
    snprintf(a->job.model, sizeof a->job.model, "%s", model);
    if (!ask_prompt(a, needs_prompt)) return false;
    if (!hm_ask_number(c, "steps", 1, HIMMEL_MAX_STEPS, 0, &steps) || !hm_ask_number(c, "guidance", 1, 20, 0, &guidance)) return false;
    if (!hm_ask_bool(c, "visible_mark", true, &mark) || !hm_ask_bool(c, "sign_prompt", false, &sign)) return false;
    if (negative && strlen(negative) > HIMMEL_MAX_PROMPT)
        return !hm_answer_error(c, 400, "negative_prompt", "string_above_max_length", "negative_prompt has more than %d bytes", HIMMEL_MAX_PROMPT);
    json_object_set_new(a->req, "kind", json_string(!strcmp(a->job.kind, "image") ? "image" : "film"));
    if (steps > 0) json_object_set_new(a->req, "steps", json_integer((json_int_t)steps));
    if (guidance > 0) json_object_set_new(a->req, "guidance", json_real(guidance));
    if (negative && *negative) json_object_set_new(a->req, "negative", json_string(negative));
    json_object_set_new(a->req, "mark", json_boolean(mark));
    json_object_set_new(a->req, "sign_prompt", json_boolean(sign));
    return ask_fps(a) && ask_seed(a);
}

bool hm_ask_size(hm_ask *a, const char *otherwise)
{
    const char *size = hm_form_text(&a->c->form, "size");
    char w[8], h[8];
    if (!size || !*size || !strcmp(size, "auto")) size = otherwise;
    if (!size) return true;
    if (sscanf(size, "%5[0-9]x%5[0-9]", w, h) != 2 || strlen(w) + strlen(h) + 1 != strlen(size))
        return !hm_answer_error(a->c, 400, "size", "invalid_value", "size is '%.40s', must be as 1280x720", size);
    json_object_set_new(a->req, "width", json_integer(atoi(w)));
    json_object_set_new(a->req, "height", json_integer(atoi(h)));
    snprintf(a->job.size, sizeof a->job.size, "%dx%d", atoi(w), atoi(h));
    return true;
}

/* ---- base64 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void hm_base64(const void *data, size_t len, char *out)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i += 3) {
        const uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < len ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < len ? p[i + 2] : 0);
        *out++ = alphabet[v >> 18];
        *out++ = alphabet[v >> 12 & 63];
        *out++ = i + 1 < len ? alphabet[v >> 6 & 63] : '=';
        *out++ = i + 2 < len ? alphabet[v & 63] : '=';
    }
    *out = 0;
}

char *hm_base64_file(const char *path)
{
    hm_map m;
    if (hm_map_open(&m, path, NULL)) return NULL;
    char *out = malloc(4 * ((m.len + 2) / 3) + 1);
    if (out) hm_base64(m.data, m.len, out);
    hm_map_close(&m);
    return out;
}

uint8_t *hm_unbase64(const char *text, size_t *len)
{
    uint8_t *out = malloc(strlen(text) / 4 * 3 + 4), value[256];
    uint32_t v = 0;
    int bits = 0;
    *len = 0;
    memset(value, 255, sizeof value);
    for (int i = 0; i < 64; i++) value[(uint8_t)alphabet[i]] = (uint8_t)i;
    for (const char *p = text; out && *p && *p != '='; p++) {
        const uint8_t here = value[(uint8_t)*p];
        if (here == 255) {
            free(out);
            return NULL;
        }
        v = v << 6 | here;
        if ((bits += 6) >= 8) out[(*len)++] = (uint8_t)(v >> (bits -= 8));
    }
    return out;
}

/* ---- inputs ---- */

static bool store_input(hm_ask *a, const char *name, const void *data, size_t len, const char *path)
{
    himmel_error err;
    if (!len) return !hm_answer_error(a->c, 400, name, "invalid_value", "%s is an empty file", name);
    FILE *f = fopen(path, "wbe");
    const bool ok = f && fwrite(data, 1, len, f) == len && !fflush(f) && !fsync(fileno(f));
    if (!ok) hm_fail(&err, HIMMEL_EIO, "%s cannot be stored: %s", name, strerror(errno));
    if (f) fclose(f);
    return ok || !hm_answer_status(a->c, &err);
}

/* A film made here: one more name for its file, so that deleting it does not disturb this job. */
static bool link_input(hm_ask *a, const char *name, const char *id, const char *path)
{
    hm_call *c = a->c;
    hm_job j;
    bool found = false;
    char from[HM_PATH];
    himmel_error err;
    if (!hm_id_valid(id)) return !hm_answer_error(c, 400, name, "invalid_value", "%s: '%.70s' is not an id", name, id);
    if (hm_store_get(c->srv->store, id, c->who.key.admin ? -1 : c->who.key.id, &j, &found, &err)) return !hm_answer_status(c, &err);
    if (!found) return !hm_answer_error(c, 404, name, "not_found", "there is no film %s", id);
    const bool done = j.status == HM_DONE;
    hm_job_deinit(&j);
    if (!done) return !hm_answer_error(c, 400, name, "video_not_ready", "%s is not completed", id);
    if (!hm_result_path(from, c->srv->o.data, id) || link(from, path))
        return !hm_answer_error(c, 507, name, "storage_error", "the file of %s cannot be used: %s", id, strerror(errno));
    return true;
}

/* Only from where the owner has said (--fetch-from), usually nowhere. */
static bool fetched(hm_ask *a, const char *name, const char *url, const char *path)
{
    const hm_serve_options *o = &a->c->srv->o;
    uint8_t *data;
    size_t len;
    himmel_error err;
    if (!hm_fetch_allowed(o, url))
        return !hm_answer_error(a->c, 400, name, "unsupported_url", "%s: this server fetches nothing%s; send a file or a data: URL", name,
                                o->n_origins ? " from there" : "");
    if (hm_fetch(url, &data, &len, &err)) return !hm_answer_error(a->c, 400, name, "invalid_url", "%s: %s", name, err.message);
    const bool ok = store_input(a, name, data, len, path);
    free(data);
    return ok;
}

static bool image_url(hm_ask *a, const char *name, const char *url, const char *path)
{
    const char *comma = strchr(url, ',');
    size_t len = 0;
    if (strncasecmp(url, "data:", 5)) return fetched(a, name, url, path);
    if (!comma || comma - url < 7 || strncasecmp(comma - 7, ";base64", 7))
        return !hm_answer_error(a->c, 400, name, "invalid_value", "%s: the data: URL is not base64", name);
    uint8_t *data = hm_unbase64(comma + 1, &len);
    if (!data) return !hm_answer_error(a->c, 400, name, "invalid_value", "%s: the data: URL has letters that are not base64", name);
    const bool ok = store_input(a, name, data, len, path);
    free(data);
    return ok;
}

static const char *inner(hm_call *c, const char *name, const char *part)
{
    char full[HM_FORM_NAME + 24];
    snprintf(full, sizeof full, "%s[%s]", name, part);
    return hm_form_text(&c->form, full);
}

bool hm_ask_input(hm_ask *a, const char *name, bool needed, hm_input *out)
{
    hm_call *c = a->c;
    const hm_field *f = hm_form_get(&c->form, name);
    const char *id = inner(c, name, "id"), *url = inner(c, name, "image_url"), *file_id = inner(c, name, "file_id");
    if (!id) id = inner(c, name, "video_id");
    if (!id) id = file_id;
    if (!id && f && f->text && strncasecmp(f->text, "data:", 5)) id = f->text;
    if (!url && f && f->text && !id) url = f->text;
    char number[16], path[HM_PATH];
    *out = (hm_input){0};
    if (f && f->is_file && (id || url)) return !hm_answer_error(c, 400, name, "invalid_value", "%s is given twice", name);
    if (!(f && f->is_file) && !id && !url)
        return !needed || !hm_answer_error(c, 400, name, "missing_required_parameter", "%s is missing", name);
    snprintf(number, sizeof number, "-%d", a->n_inputs++);
    hm_file(path, c->srv->o.data, "inputs", a->job.id, number);
    snprintf(out->path, sizeof out->path, "inputs/%s%s", a->job.id, number);
    if (id) snprintf(out->from, sizeof out->from, "%s", id);
    if (!(id ? link_input(a, name, id, path) : url ? image_url(a, name, url, path) : store_input(a, name, f->data, f->len, path))) return false;
    himmel_error err;
    if (hm_jail_probe(c->srv->jail, path, &out->media, &err)) {
        const char *why = strstr(err.message, out->path) ? strstr(err.message, out->path) + strlen(out->path) : err.message;
        return !hm_answer_error(c, 400, name, "invalid_file", "%s is no film or picture that can be read%s", name, why);
    }
    return true;
}

/* ---- into the journal ---- */

static bool old_job(hm_ask *a, const char *key, hm_job **jobs, bool *again)
{
    hm_call *c = a->c;
    hm_sha256 s;
    uint8_t digest[32];
    bool found = false;
    himmel_error err;
    if (!key || !*key) return true;
    if (strlen(key) >= sizeof a->job.idem) return !hm_answer_error(c, 400, NULL, "invalid_value", "Idempotency-Key has more than %zu bytes", sizeof a->job.idem - 1);
    hm_sha256_init(&s);
    hm_sha256_add(&s, c->path, strlen(c->path));
    for (size_t i = 0; i < c->form.n; i++) { /* not the body: a client that tries again chooses another boundary */
        const hm_field *f = &c->form.field[i];
        hm_sha256_add(&s, f->name, strlen(f->name) + 1);
        hm_sha256_add(&s, &f->len, sizeof f->len);
        hm_sha256_add(&s, f->is_file ? (const void *)f->data : f->text, f->len);
    }
    hm_sha256_end(&s, digest);
    hm_sha256_hex(digest, a->job.idem_hash);
    snprintf(a->job.idem, sizeof a->job.idem, "%s", key);
    hm_job *old = calloc(1, sizeof *old);
    if (!old) return !hm_answer_error(c, 503, NULL, NULL, "out of memory");
    himmel_status rc = hm_store_by_idem(c->srv->store, a->job.account, key, old, &found, &err);
    const bool same = found && !strcmp(old->idem_hash, a->job.idem_hash);
    *again = same;
    if (same) *jobs = old;
    else hm_jobs_free(old, found ? 1 : 0);
    if (rc) return !hm_answer_status(c, &err);
    return !found || same || !hm_answer_error(c, 400, NULL, "idempotency_key_reused", "this Idempotency-Key came with another request before");
}

static bool submit_status(hm_call *c, const himmel_error *err)
{
    if (err->code == HIMMEL_ENOMEM) return hm_answer_error(c, 400, NULL, "out_of_memory", "%s", err->message);
    if (err->code == HIMMEL_ECANCELLED) return hm_answer_error(c, 401, NULL, "invalid_api_key", "%s", err->message);
    return hm_answer_status(c, err);
}

/* Copy number i of the job, with its own id, seed and inputs. */
static bool variation(const hm_ask *a, int i, hm_job *j)
{
    json_t *req = json_copy(a->req); /* only the seed and never what lies deeper is changed */
    if (!req) return false;
    char prefix[16];
    *j = a->job;
    j->prompt = a->job.prompt ? strdup(a->job.prompt) : NULL;
    if (i) {
        snprintf(prefix, sizeof prefix, "%s_", j->kind);
        hm_new_id(j->id, sizeof j->id, prefix);
        *j->idem = 0;
    }
    json_object_set_new(req, "seed", json_integer(json_integer_value(json_object_get(req, "seed")) + i));
    j->request = json_dumps(req, JSON_COMPACT);
    json_decref(req);
    return j->request;
}

/* Inputs of the first job get a second name for the others; the request's paths follow. */
static bool share_inputs(const hm_ask *a, hm_job *j)
{
    const char *data = a->c->srv->o.data;
    char number[16], from[HM_PATH], to[HM_PATH];
    for (int k = 0; k < a->n_inputs; k++) {
        snprintf(number, sizeof number, "-%d", k);
        hm_file(from, data, "inputs", a->job.id, number);
        hm_file(to, data, "inputs", j->id, number);
        if (link(from, to)) return false;
    }
    for (char *p = j->request; a->n_inputs && (p = strstr(p, a->job.id));) /* ids have the same length */
        memcpy(p, j->id, strlen(j->id));
    return true;
}

static bool enter(hm_ask *a, int n, hm_job **jobs, bool *again)
{
    hm_call *c = a->c;
    himmel_error err;
    if (!old_job(a, hm_header(c, "Idempotency-Key"), jobs, again)) return false;
    if (*again) return true;
    if (!hm_quota_check(c, n, atof(a->job.seconds))) return false;
    if (hm_queue_full(c->srv->queue)) {
        hm_answer_header(c, "retry-after", "30");
        return !hm_answer_error(c, 429, NULL, "queue_full", "%d jobs wait already; try again later", c->srv->o.max_queue);
    }
    hm_job *list = calloc((size_t)n, sizeof *list);
    bool ok = list;
    if (n > 1) snprintf(a->job.batch, sizeof a->job.batch, "%s", a->job.id);
    for (int i = 0; i < n && ok; i++) ok = variation(a, i, &list[i]) && (!i || share_inputs(a, &list[i]));
    if (!ok) hm_fail(&err, HIMMEL_EIO, "the job cannot be stored: %s", strerror(errno));
    a->submitted = ok && !hm_queue_submit(c->srv->queue, list, (size_t)n, &err);
    if (a->submitted) {
        *jobs = list;
        return true;
    }
    for (int i = 1; i < n && list; i++)
        if (*list[i].id && a->n_inputs) hm_remove_all(c->srv->o.data, "inputs", list[i].id);
    hm_jobs_free(list, list ? (size_t)n : 0);
    return !submit_status(c, &err);
}

bool hm_ask_submit(hm_ask *a, int n, hm_job **jobs, bool *again)
{
    hm_call *c = a->c;
    *jobs = NULL, *again = false;
    pthread_mutex_lock(&c->srv->door); /* what is counted here is still so when the job is in the journal */
    const bool ok = enter(a, n, jobs, again);
    pthread_mutex_unlock(&c->srv->door);
    return ok;
}
