/* videos.c - /v1/videos as the official clients speak it.   SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/ask.h"
#include "server/wire.h"

/* ---- the Video object ---- */

static const char *const status_names[] = {"queued", "in_progress", "completed", "failed"};

static json_t *or_null(const char *s)
{
    return s && *s ? json_string(s) : json_null();
}

/* What the wire format has no place for: what was asked for, and how far it is. */
static json_t *details(hm_server *srv, const hm_job *j, const hm_running *r)
{
    static const char *const asked[] = {"mode", "seed", "steps", "guidance", "negative", "fps", "strength", "width", "height"};
    json_t *out = json_object(), *req = j->request ? json_loads(j->request, 0, NULL) : NULL;
    for (size_t i = 0; i < HM_COUNT(asked); i++) {
        json_t *v = json_object_get(req, asked[i]);
        if (v) json_object_set(out, asked[i], v);
    }
    json_decref(req);
    if (j->status == HM_QUEUED) {
        int64_t ahead = 0;
        if (!hm_store_ahead(srv->store, j, &ahead, NULL)) json_object_set_new(out, "queue_position", json_integer(ahead + 1));
    }
    if (r) {
        json_object_set_new(out, "phase", json_string(r->phase));
        json_object_set_new(out, "step", json_integer(r->step));
        json_object_set_new(out, "n_steps", json_integer(r->n_steps));
        json_object_set_new(out, "eta_seconds", r->eta_seconds < 0 ? json_null() : json_real(round(r->eta_seconds * 10) / 10));
    }
    return out;
}

json_t *hm_wire_video_at(hm_server *srv, const hm_job *j, const hm_running *r)
{
    const int progress = j->status == HM_DONE ? 100 : r ? (int)fmin(99, fmax(0, 100 * r->fraction)) : 0;
    json_t *error = j->status == HM_FAILED ? json_pack("{s:s, s:s?}", "code", j->error_code, "message", j->error_message) : json_null();
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:o}", "id", j->id, "object", "video", "model", j->model,
                     "status", status_names[j->status], "progress", progress, "created_at", (json_int_t)j->created, "completed_at",
                     j->completed && j->status == HM_DONE ? json_integer(j->completed) : json_null(), "expires_at", json_null(), "prompt",
                     or_null(j->prompt), "size", j->size, "seconds", j->seconds, "remixed_from_video_id", or_null(j->remixed_from), "error", error,
                     "himmel", details(srv, j, r));
}

static bool is_running(hm_server *srv, const hm_job *j, hm_running *r)
{
    hm_queue_running(srv->queue, r);
    return j->status == HM_RUNNING && !strcmp(r->id, j->id);
}

json_t *hm_wire_video(hm_server *srv, const hm_job *j)
{
    hm_running r;
    return hm_wire_video_at(srv, j, is_running(srv, j, &r) ? &r : NULL);
}

/* A tenth of what is left, between half a second and ten. */
void hm_answer_poll_after(hm_call *c, const hm_running *r)
{
    hm_answer_header(c, "openai-poll-after-ms", "%d", r && r->eta_seconds >= 0 ? (int)fmin(10000, fmax(500, 100 * r->eta_seconds)) : 1000);
}

bool hm_answer_video(hm_call *c, const hm_job *j)
{
    hm_running r;
    const bool running = is_running(c->srv, j, &r);
    if (j->status < HM_DONE) hm_answer_poll_after(c, running ? &r : NULL);
    return hm_answer_json(c, 200, hm_wire_video_at(c->srv, j, running ? &r : NULL));
}

int64_t hm_account_seen(const hm_call *c)
{
    const char *all = hm_query(c, "all");
    return c->who.key.admin && all && !strcmp(all, "true") ? -1 : c->who.key.id;
}

bool hm_find_job(hm_call *c, const char *kind, hm_job *out)
{
    himmel_error err;
    bool found = false;
    if (hm_store_get(c->srv->store, c->id, c->who.key.admin ? -1 : c->who.key.id, out, &found, &err)) return !hm_answer_status(c, &err);
    if (found && *kind && strcmp(out->kind, kind)) {
        hm_job_deinit(out);
        found = false;
    }
    return found || !hm_answer_error(c, 404, "id", "not_found", "there is no %s %s", *kind ? kind : "job", c->id);
}

const char *hm_type_of_file(const char *path)
{
    const char *dot = strrchr(path, '.');
    static const struct { const char *ending, *type; } types[] = {{".mp4", "video/mp4"}, {".png", "image/png"}, {".jpg", "image/jpeg"},
        {".webp", "image/webp"}, {".html", "text/html; charset=utf-8"}, {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"}, {".svg", "image/svg+xml"}, {".json", "application/json"}};
    for (size_t i = 0; dot && i < HM_COUNT(types); i++)
        if (!strcmp(dot, types[i].ending)) return types[i].type;
    return "application/octet-stream";
}

/* ---- making films ---- */

#define OURS "seed", "steps", "guidance", "negative_prompt", "fps", "visible_mark", "sign_prompt"

/* The end of every route that makes a film. */
static bool submit(hm_ask *a)
{
    hm_job *jobs;
    bool again;
    if (!hm_ask_submit(a, 1, &jobs, &again)) return true;
    hm_answer_video(a->c, &jobs[0]);
    hm_jobs_free(jobs, 1);
    return true;
}

static void set_size_of(hm_ask *a, const himmel_media *m)
{
    if (*a->job.size) return;
    const double s = fmin(1, HIMMEL_MAX_SIDE / fmax(m->width, m->height));
    json_object_set_new(a->req, "width", json_integer(0));
    json_object_set_new(a->req, "height", json_integer(0));
    snprintf(a->job.size, sizeof a->job.size, "%dx%d", (int)(m->width * s) & ~1, (int)(m->height * s) & ~1);
}

static void set_seconds(hm_ask *a, double seconds)
{
    snprintf(a->job.seconds, sizeof a->job.seconds, "%g", round(seconds * 100) / 100);
}

static bool no_characters(hm_call *c)
{
    for (size_t i = 0; i < c->form.n; i++)
        if (!strncmp(c->form.field[i].name, "characters", 10))
            return !hm_answer_error(c, 400, "characters", "not_supported", "himmel-1 takes no reference of a character; describe it in the prompt");
    return true;
}

/* Without a picture, more than ten seconds or cards a film is made in one go; the others are himmel_edit_run's. */
static bool create_request(hm_ask *a)
{
    hm_call *c = a->c;
    hm_input picture;
    double seconds;
    if (!hm_ask_common(a, true) || !hm_ask_size(a, "720x1280") || !hm_ask_number(c, "seconds", 1, HIMMEL_MAX_SECONDS, 4, &seconds)) return false;
    if (!no_characters(c) || !hm_ask_input(a, "input_reference", false, &picture)) return false;
    if (*picture.path && picture.media.seconds > 0)
        return !hm_answer_error(c, 400, "input_reference", "invalid_file", "input_reference is a film, a picture is wanted (edits and extensions take films)");
    set_seconds(a, seconds);
    json_object_set_new(a->req, "seconds", json_real(seconds));
    if (!*picture.path && seconds <= 10) return true;
    json_object_set_new(a->req, "mode", json_string("new"));
    if (*picture.path) json_object_set_new(a->req, "cards", json_pack("[{s:f, s:s}]", "at", 0.0, "picture", picture.path));
    return true;
}

static bool post_video(hm_call *c)
{
    static const char *const fields[] = {"prompt", "model", "seconds", "size", "input_reference", "characters", "user", OURS, NULL};
    hm_ask a;
    if (hm_ask_begin(&a, c, "video", fields) && create_request(&a)) submit(&a);
    hm_ask_end(&a);
    return true;
}

/* box: "x,y,width,height" in pixels of the input */
static bool ask_box(hm_ask *a)
{
    const char *v = hm_form_text(&a->c->form, "box");
    double b[4], from, to;
    if (!hm_ask_number(a->c, "box_from", 0, HIMMEL_MAX_SECONDS, 0, &from) || !hm_ask_number(a->c, "box_to", 0, HIMMEL_MAX_SECONDS, 0, &to)) return false;
    if (!v) return true;
    char end;
    if (sscanf(v, "%lf,%lf,%lf,%lf%c", &b[0], &b[1], &b[2], &b[3], &end) != 4 || !(b[2] > 0 && b[3] > 0 && b[0] >= 0 && b[1] >= 0))
        return !hm_answer_error(a->c, 400, "box", "invalid_value", "box is '%.60s', must be x,y,width,height in pixels of the film", v);
    json_object_set_new(a->req, "box", json_pack("[ffff]", b[0], b[1], b[2], b[3]));
    json_object_set_new(a->req, "box_from", json_real(from));
    json_object_set_new(a->req, "box_to", json_real(to));
    return true;
}

/* Change a film: where the mask or box allows it, what a new shape leaves open, or all of it by strength. */
static bool change_request(hm_ask *a, const hm_input *film, double strength)
{
    hm_call *c = a->c;
    hm_input mask;
    bool outpaint;
    if (!hm_ask_common(a, true) || !hm_ask_size(a, NULL)) return false;
    if (!hm_ask_number(c, "strength", 0.01, 1, strength, &strength) || !hm_ask_bool(c, "outpaint", false, &outpaint)) return false;
    if (!ask_box(a) || !hm_ask_input(a, "mask", false, &mask)) return false;
    set_size_of(a, &film->media);
    set_seconds(a, film->media.seconds);
    json_object_set_new(a->req, "mode", json_string("change"));
    json_object_set_new(a->req, "clips", json_pack("[{s:s}]", "path", film->path));
    if (!json_object_get(a->req, "fps")) json_object_set_new(a->req, "fps", json_pack("[ii]", 0, 1));
    json_object_set_new(a->req, "outpaint", json_boolean(outpaint));
    if (outpaint) json_object_set_new(a->req, "fit", json_string("pad"));
    if (*mask.path) json_object_set_new(a->req, "mask", json_string(mask.path));
    json_object_set_new(a->req, "strength", json_real(strength));
    return true;
}

static bool film_wanted(hm_call *c, const char *name, const hm_input *in)
{
    return in->media.seconds > 0 || !hm_answer_error(c, 400, name, "invalid_file", "%s is a picture, a film is wanted", name);
}

#define CHANGE "strength", "mask", "box", "box_from", "box_to", "outpaint", "size"

static bool post_edit(hm_call *c)
{
    static const char *const fields[] = {"prompt", "model", "video", "user", OURS, CHANGE, NULL};
    hm_ask a;
    hm_input film;
    if (hm_ask_begin(&a, c, "video", fields) && hm_ask_input(&a, "video", true, &film) && film_wanted(c, "video", &film) &&
        change_request(&a, &film, HIMMEL_STRENGTH_MILD)) {
        snprintf(a.job.remixed_from, sizeof a.job.remixed_from, "%s", film.from);
        submit(&a);
    }
    hm_ask_end(&a);
    return true;
}

static bool post_remix(hm_call *c)
{
    static const char *const fields[] = {"prompt", "model", "user", OURS, CHANGE, NULL};
    hm_ask a;
    hm_input film;
    hm_job old;
    if (!hm_find_job(c, "video", &old)) return true;
    hm_job_deinit(&old);
    if (hm_ask_begin(&a, c, "video", fields)) {
        hm_field *f = c->form.field = realloc(c->form.field, (HM_FORM_FIELDS + 1) * sizeof *f); /* as if {video: {id}} were said */
        if (!f) {
            c->form.n = 0;
            hm_answer_error(c, 503, NULL, NULL, "out of memory");
        } else {
            f[c->form.n] = (hm_field){.name = "video[id]", .text = strdup(c->id), .len = strlen(c->id)};
            c->form.n += f[c->form.n].text != NULL;
            snprintf(a.job.remixed_from, sizeof a.job.remixed_from, "%s", c->id);
            if (hm_ask_input(&a, "video", true, &film) && change_request(&a, &film, HIMMEL_STRENGTH_MILD)) submit(&a);
        }
    }
    hm_ask_end(&a);
    return true;
}

static bool extend_request(hm_ask *a, const hm_input *film)
{
    hm_call *c = a->c;
    double after, before;
    bool loop;
    const bool has_before = hm_form_get(&c->form, "seconds_before") != NULL;
    if (!hm_ask_common(a, false) || !hm_ask_number(c, "seconds_before", 0, 20, 0, &before) || !hm_ask_bool(c, "loop", false, &loop)) return false;
    if (!has_before && !hm_form_get(&c->form, "seconds"))
        return !hm_answer_error(c, 400, "seconds", "missing_required_parameter", "seconds is missing: how much is added");
    if (!hm_ask_number(c, "seconds", has_before ? 0 : 1, loop ? 8 : 20, 0, &after)) return false;
    set_size_of(a, &film->media);
    set_seconds(a, film->media.seconds + before + after);
    json_object_set_new(a->req, "mode", json_string("join"));
    json_object_set_new(a->req, "clips", json_pack("[{s:s}]", "path", film->path));
    if (!json_object_get(a->req, "fps")) json_object_set_new(a->req, "fps", json_pack("[ii]", 0, 1));
    json_object_set_new(a->req, "before", json_real(before));
    json_object_set_new(a->req, "after", json_real(after));
    json_object_set_new(a->req, "loop", json_boolean(loop));
    return true;
}

static bool post_extension(hm_call *c)
{
    static const char *const fields[] = {"prompt", "model", "video", "seconds", "seconds_before", "loop", "user", OURS, NULL};
    hm_ask a;
    hm_input film;
    if (hm_ask_begin(&a, c, "video", fields) && hm_ask_input(&a, "video", true, &film) && film_wanted(c, "video", &film) &&
        extend_request(&a, &film)) {
        snprintf(a.job.remixed_from, sizeof a.job.remixed_from, "%s", film.from);
        submit(&a);
    }
    hm_ask_end(&a);
    return true;
}

/* ---- ours: storyboards and blends ---- */

static bool ask_cards(hm_ask *a, double seconds, bool *any)
{
    hm_call *c = a->c;
    json_t *cards = json_array();
    json_object_set_new(a->req, "cards", cards);
    char name[HM_FORM_NAME];
    for (int i = 0; i < HIMMEL_MAX_CARDS; i++) {
        hm_input picture;
        double at;
        snprintf(name, sizeof name, "cards[%d][prompt]", i);
        const char *prompt = hm_form_text(&c->form, name);
        snprintf(name, sizeof name, "cards[%d][at]", i);
        if (!hm_form_get(&c->form, name)) break;
        if (!hm_ask_number(c, name, 0, seconds, 0, &at)) return false;
        snprintf(name, sizeof name, "cards[%d][picture]", i);
        if (!hm_ask_input(a, name, false, &picture)) return false;
        json_t *card = json_pack("{s:f}", "at", at);
        if (prompt && *prompt) json_object_set_new(card, "prompt", json_string(prompt));
        if (*picture.path) json_object_set_new(card, "picture", json_string(picture.path));
        json_array_append_new(cards, card);
        *any = true;
    }
    return true;
}

static bool storyboard(hm_ask *a)
{
    double seconds;
    bool any = false;
    if (!hm_ask_common(a, false) || !hm_ask_size(a, "1280x720") || !hm_ask_number(a->c, "seconds", 1, HIMMEL_MAX_SECONDS, 10, &seconds)) return false;
    if (!ask_cards(a, seconds, &any)) return false;
    if (!any) return !hm_answer_error(a->c, 400, "cards", "missing_required_parameter", "cards is missing: [{at, prompt, picture}]");
    set_seconds(a, seconds);
    json_object_set_new(a->req, "seconds", json_real(seconds));
    json_object_set_new(a->req, "mode", json_string("new"));
    return true;
}

static bool post_storyboard(hm_call *c)
{
    static const char *const fields[] = {"prompt", "model", "seconds", "size", "cards", OURS, NULL};
    hm_ask a;
    if (hm_ask_begin(&a, c, "video", fields) && storyboard(&a)) submit(&a);
    hm_ask_end(&a);
    return true;
}

/* clips[0], clips[1] ... in order, each a file or {id}; `between` new seconds lead from one to the next. */
static bool join_request(hm_ask *a)
{
    hm_call *c = a->c;
    double between, total = 0;
    json_t *clips = json_array();
    json_object_set_new(a->req, "clips", clips);
    if (!hm_ask_common(a, false) || !hm_ask_size(a, NULL) || !hm_ask_number(c, "between", 0, 8, 1, &between)) return false;
    for (int i = 0; i < HIMMEL_MAX_CLIPS; i++) {
        char name[HM_FORM_NAME];
        hm_input film;
        snprintf(name, sizeof name, "clips[%d]", i);
        if (!hm_ask_input(a, name, i < 2, &film)) return false;
        if (!*film.path) break;
        if (!film_wanted(c, name, &film)) return false;
        if (!i) set_size_of(a, &film.media);
        total += film.media.seconds + (i ? between : 0);
        json_array_append_new(clips, json_pack("{s:s}", "path", film.path));
    }
    set_seconds(a, total);
    json_object_set_new(a->req, "mode", json_string("join"));
    json_object_set_new(a->req, "between", json_real(between));
    if (!json_object_get(a->req, "fps")) json_object_set_new(a->req, "fps", json_pack("[ii]", 0, 1));
    return true;
}

static bool post_join(hm_call *c)
{
    static const char *const fields[] = {"prompt", "model", "size", "clips", "between", OURS, NULL};
    hm_ask a;
    if (hm_ask_begin(&a, c, "video", fields) && join_request(&a)) submit(&a);
    hm_ask_end(&a);
    return true;
}

/* ---- looking at films ---- */

static bool list_videos(hm_call *c)
{
    hm_job_query q = {.kind = "video", .after = hm_query(c, "after"), .like = hm_query(c, "search"), .account = hm_account_seen(c)};
    const char *order = hm_query(c, "order");
    himmel_error err;
    hm_job *jobs;
    size_t n;
    bool more;
    if (!hm_query_int(c, "limit", 0, 100, 20, &q.limit)) return true;
    if (order && strcmp(order, "asc") && strcmp(order, "desc"))
        return hm_answer_error(c, 400, "order", "invalid_value", "order is '%.20s', must be asc or desc", order);
    q.ascending = order && !strcmp(order, "asc");
    if (!q.after) q.after = "";
    if (!q.like) q.like = "";
    if (hm_store_list(c->srv->store, &q, &jobs, &n, &more, &err)) return hm_answer_status(c, &err);
    json_t *data = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(data, hm_wire_video(c->srv, &jobs[i]));
    json_t *out = json_pack("{s:s, s:o, s:o, s:o, s:b}", "object", "list", "data", data, "first_id", n ? json_string(jobs[0].id) : json_null(),
                            "last_id", n ? json_string(jobs[n - 1].id) : json_null(), "has_more", (int)more);
    hm_jobs_free(jobs, n);
    return hm_answer_json(c, 200, out);
}

static bool get_video(hm_call *c)
{
    hm_job j;
    if (hm_events_answer(c, "video") || !hm_find_job(c, "video", &j)) return true;
    hm_answer_video(c, &j);
    hm_job_deinit(&j);
    return true;
}

static bool delete_video(hm_call *c)
{
    hm_job j;
    bool changed;
    himmel_error err;
    if (!hm_find_job(c, "video", &j)) return true;
    hm_job_deinit(&j);
    if (hm_queue_delete(c->srv->queue, c->id, &changed, &err)) return hm_answer_status(c, &err);
    return hm_answer_json(c, 200, json_pack("{s:s, s:b, s:s}", "id", c->id, "deleted", 1, "object", "video.deleted"));
}

static bool get_content(hm_call *c)
{
    const char *variant = hm_query(c, "variant");
    char path[HM_PATH], name[HM_ID + 8];
    hm_job j;
    if (!variant) variant = "video";
    const bool film = !strcmp(variant, "video"), thumb = !strcmp(variant, "thumbnail");
    if (!film && !thumb && strcmp(variant, "spritesheet"))
        return hm_answer_error(c, 400, "variant", "invalid_value", "variant is '%.30s', must be video, thumbnail or spritesheet", variant);
    if (!hm_find_job(c, "video", &j)) return true;
    const hm_job_status status = j.status;
    hm_job_deinit(&j);
    if (status != HM_DONE) return hm_answer_error(c, 404, "id", "video_not_ready", "%s is %s", c->id, status_names[status]);
    hm_file(path, c->srv->o.data, "results", c->id, film ? ".mp4" : thumb ? ".thumb.webp" : ".sheet.jpg");
    snprintf(name, sizeof name, "%s.mp4", c->id);
    return hm_answer_file(c, path, hm_type_of_file(path), film && hm_query(c, "download") ? name : NULL);
}

/* ---- characters: kept, and nothing more until a model takes references ---- */

static json_t *character(const hm_character *ch)
{
    return json_pack("{s:s, s:s, s:I}", "id", ch->id, "name", ch->name, "created_at", (json_int_t)ch->created);
}

static bool post_character(hm_call *c)
{
    const hm_field *video = hm_form_get(&c->form, "video");
    const char *name = hm_form_text(&c->form, "name");
    char part[HM_PATH], path[HM_PATH];
    himmel_media m;
    himmel_error err;
    hm_character ch = {.account = c->who.key.id, .created = (int64_t)time(NULL)};
    size_t letters = 0;
    for (const char *p = name ? name : ""; *p; p++) letters += (*p & 0xc0) != 0x80;
    if (letters < 1 || letters > 80) return hm_answer_error(c, 400, "name", "invalid_value", "name has %zu letters, 1 to 80 are possible", letters);
    if (!video || !video->is_file) return hm_answer_error(c, 400, "video", "missing_required_parameter", "video is missing: a file");
    snprintf(ch.name, sizeof ch.name, "%s", name);
    hm_new_id(ch.id, sizeof ch.id, "char_");
    hm_file(part, c->srv->o.data, "work", ch.id, "");
    hm_file(path, c->srv->o.data, "characters", ch.id, ".mp4");
    himmel_status rc = HIMMEL_OK;
    FILE *f = fopen(part, "wbe");
    if (!f || fwrite(video->data, 1, video->len, f) != video->len) rc = hm_fail(&err, HIMMEL_EIO, "video cannot be stored");
    if (f && fclose(f) && !rc) rc = hm_fail(&err, HIMMEL_EIO, "video cannot be stored");
    if (!rc && (hm_jail_probe(c->srv->jail, part, &m, NULL) || m.seconds <= 0)) rc = hm_fail(&err, HIMMEL_EFORMAT, "video is no film that can be read");
    if (!rc) rc = hm_publish(part, path, &err);
    if (!rc) rc = hm_store_add_character(c->srv->store, &ch, &err);
    if (rc) remove(part), remove(path);
    return rc ? hm_answer_status(c, &err) : hm_answer_json(c, 200, character(&ch));
}

static bool get_character(hm_call *c)
{
    hm_character ch;
    bool found = false;
    himmel_error err;
    if (hm_store_get_character(c->srv->store, c->id, c->who.key.admin ? -1 : c->who.key.id, &ch, &found, &err)) return hm_answer_status(c, &err);
    if (!found) return hm_answer_error(c, 404, "id", "not_found", "there is no character %s", c->id);
    return hm_answer_json(c, 200, character(&ch));
}

static bool list_characters(hm_call *c)
{
    json_t *data = json_array();
    hm_character ch = {0};
    himmel_error err;
    for (bool found = true; found;) {
        if (hm_store_next_character(c->srv->store, hm_account_seen(c), ch.id, &ch, &found, &err)) {
            json_decref(data);
            return hm_answer_status(c, &err);
        }
        if (found) json_array_append_new(data, character(&ch));
    }
    return hm_answer_json(c, 200, json_pack("{s:s, s:o, s:b}", "object", "list", "data", data, "has_more", 0));
}

static bool delete_character(hm_call *c)
{
    hm_character ch;
    bool found = false;
    char path[HM_PATH];
    himmel_error err;
    himmel_status rc = hm_store_get_character(c->srv->store, c->id, c->who.key.admin ? -1 : c->who.key.id, &ch, &found, &err);
    if (!rc && !found) return hm_answer_error(c, 404, "id", "not_found", "there is no character %s", c->id);
    if (!rc) rc = hm_store_delete_character(c->srv->store, c->id, &err);
    if (rc) return hm_answer_status(c, &err);
    hm_file(path, c->srv->o.data, "characters", c->id, ".mp4");
    remove(path);
    return hm_answer_json(c, 200, json_pack("{s:s, s:b}", "id", c->id, "deleted", 1));
}

const hm_route hm_video_routes[] = {{"POST", "/v1/videos", HM_SCOPE_CREATE, post_video},
                                    {"GET", "/v1/videos", HM_SCOPE_READ, list_videos},
                                    {"POST", "/v1/videos/edits", HM_SCOPE_CREATE, post_edit},
                                    {"POST", "/v1/videos/extensions", HM_SCOPE_CREATE, post_extension},
                                    {"POST", "/v1/videos/characters", HM_SCOPE_CREATE, post_character},
                                    {"GET", "/v1/videos/characters/*", HM_SCOPE_READ, get_character},
                                    {"GET", "/v1/videos/characters", HM_SCOPE_READ, list_characters},
                                    {"DELETE", "/v1/videos/characters/*", HM_SCOPE_CREATE, delete_character},
                                    {"GET", "/v1/videos/*", HM_SCOPE_READ, get_video},
                                    {"DELETE", "/v1/videos/*", HM_SCOPE_CREATE, delete_video},
                                    {"GET", "/v1/videos/*/content", HM_SCOPE_READ, get_content},
                                    {"POST", "/v1/videos/*/remix", HM_SCOPE_CREATE, post_remix},
                                    {"POST", "/himmel/v1/storyboards", HM_SCOPE_CREATE, post_storyboard},
                                    {"POST", "/himmel/v1/joins", HM_SCOPE_CREATE, post_join},
                                    {NULL, NULL, HM_SCOPE_NONE, NULL}};
