/* extras.c - models, provenance, and our own /himmel/v1: health, cancel, prompts, queue, keys, metrics.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/ask.h"
#include "server/wire.h"

/* ---- models ---- */

static json_t *model(const char *name)
{
    return json_pack("{s:s, s:s, s:i, s:s}", "id", name, "object", "model", "created", 1795305600, "owned_by", "himmel");
}

static bool list_models(hm_call *c)
{
    json_t *data = json_pack("[o, o, o]", model("himmel-1"), model("sora-2"), model("sora-2-pro"));
    for (int i = 0; i < c->srv->o.n_aliases; i++) json_array_append_new(data, model(c->srv->o.aliases[i]));
    return hm_answer_json(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

static bool get_model(hm_call *c)
{
    const char *name = c->id;
    return hm_model_known(c->srv, name) ? hm_answer_json(c, 200, model(name))
                                        : hm_answer_error(c, 404, "model", "model_not_found", "there is no model %.60s here", name);
}

/* ---- provenance ---- */

/* The layers of himmel_verify in the shape of the Images API's check, and all we know beside it. */
static json_t *check_result(const himmel_verdict *v)
{
    static const char *const states[] = {"not_present", "valid", "invalid"};
    json_t *all = json_loads(v->json, 0, NULL), *cc = json_object_get(all, "credentials");
    json_object_del(all, "file"); /* a path of this machine */
    const char *state = v->credentials == HIMMEL_LAYER_FOUND && v->trusted ? "trusted" : states[v->credentials];
    json_t *issuer = json_object_get(cc, "issuer"), *when = json_object_get(cc, "created");
    json_t *out = json_pack("{s:s, s:I, s:[{s:s, s:s, s:s, s:O?, s:n, s:O?}, {s:s, s:s, s:n, s:n}]}", "object", "content_provenance_check", "created_at",
                            (json_int_t)time(NULL), "results", "type", "c2pa", "outcome",
                            v->credentials == HIMMEL_LAYER_ABSENT ? "not_detected" : "detected", "validation_state", state, "issuer", issuer,
                            "model", "generated_at", when, "type", "himmel_watermark", "outcome",
                            v->watermark == HIMMEL_LAYER_FOUND ? "detected" : "not_detected", "model", "generated_at");
    json_object_del(all, "file"); /* its name here says nothing to anybody */
    json_object_set_new(out, "himmel", all ? all : json_null());
    return out;
}

static bool post_check(hm_call *c)
{
    const hm_field *file = hm_form_get(&c->form, "file");
    char path[HM_PATH], id[HM_ID];
    himmel_verdict v;
    himmel_error err;
    if (!file || !file->is_file) return hm_answer_error(c, 400, "file", "missing_required_parameter", "file is missing: a film or picture");
    hm_new_id(id, sizeof id, "check_");
    hm_file(path, c->srv->o.data, "work", id, "");
    FILE *f = fopen(path, "wbe");
    bool ok = f && fwrite(file->data, 1, file->len, f) == file->len;
    if (f) ok = !fclose(f) && ok;
    himmel_status rc = ok ? hm_jail_verify(c->srv->jail, path, c->srv->o.identity, &v, &err) : hm_fail(&err, HIMMEL_EIO, "file cannot be stored");
    unlink(path);
    if (rc) return hm_answer_status(c, &err);
    json_t *out = check_result(&v);
    free(v.json);
    return hm_answer_json(c, 200, out);
}

/* ---- how it is ---- */

static bool get_health(hm_call *c)
{
    hm_model info;
    himmel_error err;
    const int state = hm_worker_model(c->srv->worker, &info, &err);
    json_t *m = json_pack("{s:s, s:s?, s:s?}", "state", state > 0 ? "loaded" : state ? "failed" : "loading", "name", state > 0 ? info.name : NULL, "sha256", state > 0 ? info.sha256 : NULL);
    if (state < 0) json_object_set_new(m, "error", json_string(err.message));
    return hm_answer_json(c, 200, json_pack("{s:s, s:s, s:f, s:o}", "status", "ok", "version", himmel_version(), "uptime_seconds",
                                            floor(hm_now() - c->srv->start), "model", m));
}

static bool get_queue(hm_call *c)
{
    int64_t n[4];
    himmel_error err;
    hm_running r;
    if (hm_store_counts(c->srv->store, n, &err)) return hm_answer_status(c, &err);
    hm_queue_running(c->srv->queue, &r);
    return hm_answer_json(c, 200, json_pack("{s:I, s:I, s:i, s:o}", "queued", (json_int_t)n[HM_QUEUED], "in_progress", (json_int_t)n[HM_RUNNING],
                                            "max_queued", c->srv->o.max_queue, "eta_seconds",
                                            *r.id && r.eta_seconds >= 0 ? json_real(round(r.eta_seconds)) : json_null()));
}

static bool get_metrics(hm_call *c)
{
    int64_t n[4];
    himmel_error err;
    hm_queue_totals t;
    char text[2048];
    if (hm_store_counts(c->srv->store, n, &err)) return hm_answer_status(c, &err);
    hm_queue_count(c->srv->queue, &t);
    hm_str s = {text, sizeof text, 0};
    hm_str_addf(&s, "# TYPE himmel_jobs gauge\nhimmel_jobs{status=\"queued\"} %lld\nhimmel_jobs{status=\"in_progress\"} %lld\n"
                    "himmel_jobs{status=\"completed\"} %lld\nhimmel_jobs{status=\"failed\"} %lld\n", (long long)n[0], (long long)n[1],
                (long long)n[2], (long long)n[3]);
    hm_str_addf(&s, "# TYPE himmel_jobs_total counter\nhimmel_jobs_total{end=\"completed\"} %lld\nhimmel_jobs_total{end=\"failed\"} %lld\n"
                    "himmel_jobs_total{end=\"cancelled\"} %lld\n", (long long)t.done, (long long)t.failed, (long long)t.cancelled);
    hm_str_addf(&s, "# TYPE himmel_busy_seconds_total counter\nhimmel_busy_seconds_total %.3f\n# TYPE himmel_model_loaded gauge\n"
                    "himmel_model_loaded %d\n# TYPE himmel_disk_free_bytes gauge\nhimmel_disk_free_bytes %llu\n", t.busy_seconds,
                hm_worker_model(c->srv->worker, NULL, NULL) > 0, (unsigned long long)hm_disk_free(c->srv->o.data));
    return hm_answer_text(c, 200, "text/plain; version=0.0.4", strdup(text));
}

/* ---- prompts ---- */

static bool get_prompt(hm_call *c)
{
    const char *prompt = hm_query(c, "prompt");
    char words[1024] = "", full[4096];
    if (!prompt || strlen(prompt) > HIMMEL_MAX_PROMPT || !hm_is_utf8(prompt, strlen(prompt)))
        return hm_answer_error(c, 400, "prompt", "invalid_value", "prompt must be text of 1 to %d bytes", HIMMEL_MAX_PROMPT);
    const size_t n = himmel_unknown_words(prompt, words, sizeof words);
    const bool expands = !himmel_expand(prompt, 0, full, sizeof full, NULL);
    if (!hm_is_utf8(words, strlen(words))) *words = 0;
    return hm_answer_json(c, 200, json_pack("{s:I, s:s, s:s, s:o}", "unknown", (json_int_t)n, "words", words, "known", himmel_known_words(),
                                            "expanded", expands ? json_string(full) : json_null()));
}

/* ---- jobs ---- */

static bool post_cancel(hm_call *c)
{
    hm_job j;
    bool changed;
    himmel_error err;
    if (!hm_find_job(c, "", &j)) return true;
    hm_job_deinit(&j);
    if (hm_queue_cancel(c->srv->queue, c->id, "cancelled by its maker", &changed, &err)) return hm_answer_status(c, &err);
    if (!changed) return hm_answer_error(c, 400, "id", "already_ended", "%s has ended already", c->id);
    return hm_answer_json(c, 200, json_pack("{s:s, s:b}", "id", c->id, "cancelled", 1));
}

/* ---- keys: the studio's door, and what the owner sees ---- */

/* The key goes into a cookie that scripts cannot read, for films in <video> and pictures in <img>. */
static bool post_session(hm_call *c)
{
    const char *key = hm_form_text(&c->form, "key");
    hm_caller who;
    if (!key || !hm_key_check(c->srv->store, key, false, &who)) return hm_answer_error(c, 401, "key", "invalid_api_key", "this key is not valid (or no longer)");
    hm_answer_header(c, "Set-Cookie", "himmel=%s; Path=/; HttpOnly; SameSite=Strict%s", key, c->srv->o.tls_cert || c->srv->o.behind_proxy ? "; Secure" : "");
    return hm_answer_json(c, 200, json_pack("{s:s}", "name", who.key.name));
}

static bool delete_session(hm_call *c)
{
    hm_answer_header(c, "Set-Cookie", "himmel=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    return hm_answer_json(c, 200, json_object());
}

static json_t *key_json(hm_store *s, const hm_key *k)
{
    hm_usage u = {0};
    int64_t addresses = 0;
    hm_store_usage(s, k->id, 0, &u, NULL);
    hm_store_addresses(s, k->id, (int64_t)time(NULL) - 3600, &addresses, NULL);
    return json_pack("{s:s, s:s, s:b, s:b, s:b, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:b}", "name", k->name, "prefix", k->prefix, "create",
                     (int)k->create, "read", (int)k->read, "admin", (int)k->admin, "created_at", (json_int_t)k->created, "expires_at",
                     (json_int_t)k->expires, "revoked", (int)k->revoked, "active", (json_int_t)u.active, "films", (json_int_t)u.films, "seconds",
                     (json_int_t)u.seconds, "addresses", (json_int_t)addresses, "shared", addresses > 5);
}

static bool get_me(hm_call *c)
{
    return hm_answer_json(c, 200, key_json(c->srv->store, &c->who.key));
}

static bool get_keys(hm_call *c)
{
    hm_key *keys;
    size_t n;
    himmel_error err;
    if (hm_store_keys(c->srv->store, &keys, &n, &err)) return hm_answer_status(c, &err);
    json_t *data = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(data, key_json(c->srv->store, &keys[i]));
    free(keys);
    return hm_answer_json(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

const hm_route hm_extra_routes[] = {{"GET", "/v1/models", HM_SCOPE_READ, list_models},
                                    {"GET", "/v1/models/*", HM_SCOPE_READ, get_model},
                                    {"POST", "/v1/content_provenance_checks", HM_SCOPE_READ, post_check},
                                    {"GET", "/himmel/v1/health", HM_SCOPE_NONE, get_health},
                                    {"GET", "/himmel/v1/queue", HM_SCOPE_READ, get_queue},
                                    {"GET", "/himmel/v1/metrics", HM_SCOPE_READ, get_metrics},
                                    {"GET", "/himmel/v1/prompt", HM_SCOPE_READ, get_prompt},
                                    {"POST", "/himmel/v1/jobs/*/cancel", HM_SCOPE_CREATE, post_cancel},
                                    {"POST", "/himmel/v1/session", HM_SCOPE_NONE, post_session},
                                    {"DELETE", "/himmel/v1/session", HM_SCOPE_NONE, delete_session},
                                    {"GET", "/himmel/v1/me", HM_SCOPE_READ, get_me},
                                    {"GET", "/himmel/v1/keys", HM_SCOPE_ADMIN, get_keys},
                                    {NULL, NULL, HM_SCOPE_NONE, NULL}};
