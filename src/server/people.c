/* people.c - invitations, the log of a key, and all that somebody made: taken away as a zip, or deleted for good.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/wire.h"

enum { PAGE = 100, MOST_CALLS = 1000 };

/* ---- invitations ---- */

static bool post_invitation(hm_call *c)
{
    const char *code = hm_form_text(&c->form, "code");
    char key[64];
    bool done = false;
    hm_caller who;
    himmel_error err;
    if (!code || strlen(code) >= 64) return hm_answer_error(c, 400, "code", "missing_required_parameter", "code is missing: inv-...");
    if (hm_invitation_redeem(c->srv->store, code, key, &done, &err)) return hm_answer_status(c, &err);
    if (!done) return hm_answer_error(c, 403, "code", "invitation_not_valid", "this invitation does not hold (any more)");
    hm_key_check(c->srv->store, key, false, &who);
    return hm_answer_json(c, 200, json_pack("{s:s, s:s, s:I}", "key", key, "name", who.key.name, "expires_at", (json_int_t)who.key.expires));
}

static bool get_invitations(hm_call *c)
{
    json_t *data = json_array();
    hm_invitation v = {0};
    himmel_error err;
    for (bool found = true; found;) {
        if (hm_store_next_invitation(c->srv->store, v.id, &v, &found, &err)) {
            json_decref(data);
            return hm_answer_status(c, &err);
        }
        if (found)
            json_array_append_new(data, json_pack("{s:s, s:I, s:i, s:i, s:b}", "name", v.name, "expires_at", (json_int_t)v.expires, "uses_left",
                                                  v.uses, "redeemed", v.redeemed, "revoked", (int)v.revoked));
    }
    return hm_answer_json(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

/* ---- keys ---- */

static bool post_revoke(hm_call *c)
{
    const char *name = hm_form_text(&c->form, "name");
    bool changed = false;
    int n = 0;
    himmel_error err;
    if (!name) return hm_answer_error(c, 400, "name", "missing_required_parameter", "name is missing: of a key or invitation");
    if (hm_store_revoke_key(c->srv->store, name, &changed, &err)) return hm_answer_status(c, &err);
    if (!changed) return hm_answer_error(c, 404, "name", "not_found", "there is no key or invitation %.64s that could be revoked", name);
    if (hm_keys_stop_jobs(c->srv, &n, &err)) return hm_answer_error(c, 500, NULL, NULL, "%s is revoked, but its jobs go on: %s", name, err.message);
    return hm_answer_json(c, 200, json_pack("{s:s, s:b, s:i}", "name", name, "revoked", 1, "stopped", n));
}

/* What a key did, newest first: one's own, or for an admin any. */
static bool get_log(hm_call *c)
{
    const char *name = hm_query(c, "key");
    int64_t account = c->who.key.id;
    int limit;
    size_t n = 0;
    himmel_error err;
    if (!hm_query_int(c, "limit", 1, MOST_CALLS, PAGE, &limit)) return true;
    if (name && !c->who.key.admin) return hm_answer_error(c, 403, "key", "missing_scope", "only an admin may see what other keys did");
    if (name && hm_store_key_id(c->srv->store, name, &account, &err)) return hm_answer_status(c, &err);
    hm_call_record *calls = malloc((size_t)limit * sizeof *calls);
    if (!calls || hm_store_calls(c->srv->store, account, limit, calls, &n, &err)) {
        free(calls);
        return calls ? hm_answer_status(c, &err) : hm_answer_error(c, 503, NULL, NULL, "out of memory");
    }
    json_t *data = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(data, json_pack("{s:I, s:s, s:s, s:i, s:s}", "at", (json_int_t)calls[i].at, "method", calls[i].method, "path",
                                              calls[i].path, "status", calls[i].status, "address", calls[i].address));
    free(calls);
    return hm_answer_json(c, 200, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

/* ---- everything that somebody made ---- */

static const char *const kinds[] = {"video", "image"};

/* Calls visit for every job of the account. False: visit said so, or the journal failed (err). */
static bool each_job(hm_call *c, int64_t account, bool (*visit)(hm_call *c, const hm_job *j, void *user), void *user, himmel_error *err)
{
    for (size_t k = 0; k < HM_COUNT(kinds); k++) {
        char after[HM_ID] = "";
        for (bool more = true; more;) {
            hm_job *jobs;
            size_t n;
            const hm_job_query q = {.kind = kinds[k], .after = after, .like = "", .account = account, .limit = PAGE, .ascending = true};
            if (hm_store_list(c->srv->store, &q, &jobs, &n, &more, err)) return false;
            bool ok = true;
            for (size_t i = 0; i < n && ok; i++) ok = visit(c, &jobs[i], user);
            if (n) snprintf(after, sizeof after, "%s", jobs[n - 1].id);
            hm_jobs_free(jobs, n);
            if (!ok) return false;
        }
    }
    return true;
}

typedef struct {
    hm_zip *zip;
    json_t *list;
} export_state;

static bool export_job(hm_call *c, const hm_job *j, void *user)
{
    export_state *x = user;
    char path[HM_PATH], name[128];
    json_t *v = hm_wire_video(c->srv, j);
    if (!v) return false;
    json_object_set_new(v, "object", json_string(j->kind));
    json_object_set_new(v, "request", j->request ? json_loads(j->request, 0, NULL) : json_null());
    if (j->status == HM_DONE && hm_result_path(path, c->srv->o.data, j->id)) {
        snprintf(name, sizeof name, "%ss/%s%s", j->kind, j->id, strrchr(path, '.'));
        json_object_set_new(v, "file", json_string(name));
        if (!hm_zip_file(x->zip, name, path)) {
            json_decref(v);
            return false;
        }
    }
    return !json_array_append_new(x->list, v);
}

static bool export_characters(hm_call *c, int64_t account, export_state *x, json_t *list)
{
    hm_character ch = {0};
    char path[HM_PATH], name[128];
    for (bool found = true; found;) {
        if (hm_store_next_character(c->srv->store, account, ch.id, &ch, &found, NULL)) return false;
        if (!found) break;
        snprintf(name, sizeof name, "characters/%s.mp4", ch.id);
        hm_file(path, c->srv->o.data, "characters", ch.id, ".mp4");
        if (!hm_zip_file(x->zip, name, path)) return false;
        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s}", "id", ch.id, "name", ch.name, "created_at", (json_int_t)ch.created, "file", name));
    }
    return true;
}

/* manifest.json says what every file is and from which request it came; the files carry their Content Credentials. */
static bool get_export(hm_call *c)
{
    const int64_t account = hm_account_seen(c);
    himmel_error err = {.message = "out of memory"};
    export_state x = {hm_zip_new(), json_array()};
    json_t *characters = json_array();
    const bool ok = x.zip && x.list && each_job(c, account, export_job, &x, &err) && export_characters(c, account, &x, characters);
    json_t *all = json_pack("{s:s, s:s, s:s, s:I, s:o, s:o}", "object", "export", "himmel", himmel_version(), "of", c->who.key.name, "created_at",
                            (json_int_t)time(NULL), "jobs", x.list, "characters", characters);
    char *text = all ? json_dumps(all, JSON_INDENT(1)) : NULL;
    json_decref(all);
    if (!ok || !hm_zip_text(x.zip, "manifest.json", text)) {
        if (!ok) free(text);
        hm_zip_free(x.zip);
        return hm_answer_error(c, 500, NULL, NULL, "the export cannot be made: %s", err.message);
    }
    return hm_answer_zip(c, x.zip, "himmel-export.zip");
}

static bool delete_job(hm_call *c, const hm_job *j, void *user)
{
    bool changed = false;
    himmel_error err;
    if (hm_queue_delete(c->srv->queue, j->id, &changed, &err)) return false;
    *(int *)user += changed;
    return true;
}

static bool delete_everything(hm_call *c)
{
    const int64_t account = c->who.key.id;
    hm_character ch = {0};
    char path[HM_PATH];
    int n = 0;
    himmel_error err = {.code = HIMMEL_EIO, .message = "not everything could be deleted"};
    bool found = true, ok = true;
    while (ok && found) { /* pages start behind a job that is gone then: from the start until there is none */
        const int before = n;
        ok = each_job(c, account, delete_job, &n, &err) || n > before;
        found = ok && n > before;
    }
    for (found = true; ok && found;) {
        ok = !hm_store_next_character(c->srv->store, account, "", &ch, &found, &err);
        if (!ok || !found) break;
        hm_file(path, c->srv->o.data, "characters", ch.id, ".mp4");
        ok = !hm_store_delete_character(c->srv->store, ch.id, &err) && (!remove(path) || n >= 0);
    }
    if (!ok) return hm_answer_status(c, &err);
    return hm_answer_json(c, 200, json_pack("{s:b, s:i}", "deleted", 1, "jobs", n));
}

const hm_route hm_people_routes[] = {{"POST", "/himmel/v1/invitations", HM_SCOPE_NONE, post_invitation},
                                     {"GET", "/himmel/v1/invitations", HM_SCOPE_ADMIN, get_invitations},
                                     {"POST", "/himmel/v1/keys/revoke", HM_SCOPE_ADMIN, post_revoke},
                                     {"GET", "/himmel/v1/log", HM_SCOPE_READ, get_log},
                                     {"GET", "/himmel/v1/export", HM_SCOPE_READ, get_export},
                                     {"DELETE", "/himmel/v1/everything", HM_SCOPE_CREATE, delete_everything},
                                     {NULL, NULL, HM_SCOPE_NONE, NULL}};
