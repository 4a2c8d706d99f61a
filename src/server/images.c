/* images.c - /v1/images: pictures in one call, whole or as a stream of partial ones.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/ask.h"
#include "server/wire.h"

enum { MOST = HM_MAX_WATCHED };

typedef struct {
    bool stream, url, edit;
    int partials, sent;     /* wanted, so far of the picture in work */
    unsigned previews;
    int done;               /* pictures whose end has been sent */
    int64_t created;
    char format[8], size[24], quality[16];
} request;

/* ---- answers ---- */

static json_t *base(const request *r, const char *format)
{
    return json_pack("{s:I, s:s, s:s, s:s, s:s}", "created_at", (json_int_t)r->created, "size", r->size, "quality", r->quality, "background",
                     "opaque", "output_format", format);
}

static json_t *picture(hm_call *c, const request *r, const char *id)
{
    char path[HM_PATH];
    const char *host = hm_header(c, "Host");
    if (r->url) return json_pack("{s:s+++}", "url", c->srv->o.tls_cert || c->srv->o.behind_proxy ? "https://" : "http://", host ? host : "",
                                 "/himmel/v1/images/", id);
    char *text = hm_result_path(path, c->srv->o.data, id) ? hm_base64_file(path) : NULL;
    json_t *out = text ? json_pack("{s:s}", "b64_json", text) : NULL;
    free(text);
    return out;
}

static void send_partial(hm_call *c, request *r, const hm_running *run)
{
    char path[HM_PATH];
    if (run->previews == r->previews || r->sent >= r->partials) return;
    r->previews = run->previews;
    hm_file(path, c->srv->o.data, "work", run->id, ".preview.jpg");
    char *text = hm_base64_file(path);
    if (!text) return;
    json_t *e = base(r, "jpeg"); /* previews are small JPEGs, whatever the picture will be */
    const char *type = r->edit ? "image_edit.partial_image" : "image_generation.partial_image";
    json_object_set_new(e, "type", json_string(type));
    json_object_set_new(e, "partial_image_index", json_integer(r->sent++));
    json_object_set_new(e, "b64_json", json_string(text));
    hm_stream_event(c, type, e);
    free(text);
}

static bool give_up(hm_call *c, const request *r, const hm_job *j)
{
    const char *code = j ? j->error_code : "not_found", *message = j && j->error_message ? j->error_message : "the job was deleted";
    const bool bad = j && !strcmp(code, "invalid_request");
    if (!r->stream) return hm_answer_error(c, bad ? 400 : 500, NULL, code, "%s", message);
    hm_stream_event(c, "error", json_pack("{s:s, s:{s:s, s:s, s:n, s:s}}", "type", "error", "error", "message", message, "type",
                                          bad ? "invalid_request_error" : "server_error", "param", "code", code));
    return true;
}

static void send_completed(hm_call *c, request *r, const char *id)
{
    json_t *e = base(r, r->format), *p = picture(c, r, id);
    const char *type = r->edit ? "image_edit.completed" : "image_generation.completed";
    json_object_set_new(e, "type", json_string(type));
    if (p) json_object_update(e, p);
    json_decref(p);
    json_object_set_new(e, "usage", json_pack("{s:i, s:i, s:i, s:{s:i, s:i}}", "input_tokens", 0, "output_tokens", 0, "total_tokens", 0,
                                              "input_tokens_details", "text_tokens", 0, "image_tokens", 0));
    hm_stream_event(c, type, e);
}

static bool answer_all(hm_call *c, const request *r)
{
    json_t *data = json_array();
    for (int i = 0; i < c->n_watched; i++) {
        json_t *p = picture(c, r, c->watched[i]);
        if (p) json_array_append_new(data, p);
    }
    json_t *out = json_pack("{s:I, s:o, s:s, s:s, s:s, s:s}", "created", (json_int_t)r->created, "data", data, "size", r->size, "quality",
                            r->quality, "background", "opaque", "output_format", r->format);
    return hm_answer_json(c, 200, out);
}

/* Pictures come to their end in order; true: all have, or one failed. */
static bool watch(hm_call *c)
{
    request *r = c->state;
    hm_running run;
    hm_queue_running(c->srv->queue, &run);
    for (; r->done < c->n_watched; r->done++) {
        const char *id = c->watched[r->done];
        hm_job j;
        bool found = false;
        if (!strcmp(run.id, id)) {
            if (r->stream) send_partial(c, r, &run);
            return false;
        }
        if (hm_store_get(c->srv->store, id, -1, &j, &found, NULL) || !found) return give_up(c, r, NULL);
        const hm_job_status status = j.status;
        const bool failed = status == HM_FAILED && give_up(c, r, &j);
        hm_job_deinit(&j);
        if (failed) return true;
        if (status != HM_DONE) return false;
        if (r->stream) send_completed(c, r, id);
        r->sent = 0, r->previews = 0;
    }
    return r->stream || answer_all(c, r);
}

/* ---- requests ---- */

static bool one_of(hm_call *c, const char *name, const char *otherwise, const char *list, char *out, size_t cap)
{
    const char *v = hm_form_text(&c->form, name);
    if (!v || !*v) v = otherwise;
    char padded[40];
    snprintf(padded, sizeof padded, " %.30s ", v);
    snprintf(out, cap, "%.*s", (int)cap - 1, v);
    return strstr(list, padded) || !hm_answer_error(c, 400, name, "invalid_value", "%s is '%.30s', must be one of%s", name, v, list);
}

static bool ask_picture(hm_ask *a, request *r, int *n)
{
    hm_call *c = a->c;
    double count, partials, compression;
    char word[16], background[16];
    if (!hm_ask_number(c, "n", 1, MOST, 1, &count) || !hm_ask_number(c, "partial_images", 0, 3, 0, &partials)) return false;
    if (!hm_ask_bool(c, "stream", false, &r->stream)) return false;
    if (!one_of(c, "response_format", "b64_json", " b64_json url ", word, sizeof word)) return false;
    r->url = !strcmp(word, "url");
    if (!one_of(c, "output_format", "png", " png jpeg webp ", r->format, sizeof r->format)) return false;
    if (!one_of(c, "background", "auto", " auto opaque ", background, sizeof background)) return false;
    if (!hm_ask_number(c, "output_compression", 0, 100, 100, &compression)) return false;
    if (!one_of(c, "quality", "auto", " auto low medium high standard hd ", r->quality, sizeof r->quality)) return false;
    *n = (int)count, r->partials = (int)partials, r->created = (int64_t)time(NULL);
    if (!hm_form_get(&c->form, "steps") && (!strcmp(r->quality, "low") || !strcmp(r->quality, "high") || !strcmp(r->quality, "hd")))
        json_object_set_new(a->req, "steps", json_integer(!strcmp(r->quality, "low") ? 12 : 50));
    if (compression < 100) json_object_set_new(a->req, "quality", json_integer(compression < 1 ? 1 : (json_int_t)compression));
    json_object_set_new(a->req, "format", json_string(!strcmp(r->format, "jpeg") ? "jpg" : r->format));
    snprintf(a->job.seconds, sizeof a->job.seconds, "0");
    a->job.priority = 1; /* somebody waits for the answer */
    return true;
}

static bool submit(hm_ask *a, request *r, int n)
{
    hm_call *c = a->c;
    hm_job *jobs;
    bool again;
    snprintf(r->size, sizeof r->size, "%s", a->job.size);
    request *copy = malloc(sizeof *copy);
    if (!copy) return hm_answer_error(c, 503, NULL, NULL, "out of memory");
    *copy = *r;
    c->state = copy;
    if (!hm_ask_submit(a, n, &jobs, &again)) return true;
    c->n_watched = again ? 1 : n;
    for (int i = 0; i < c->n_watched; i++) memcpy(c->watched[i], jobs[i].id, HM_ID);
    hm_jobs_free(jobs, (size_t)c->n_watched);
    c->on_change = watch, c->slow = true;
    if (r->stream) hm_stream_start(c);
    return hm_wait(c);
}

#define COMMON "prompt", "model", "n", "size", "quality", "response_format", "output_format", "output_compression", "background", "stream", \
               "partial_images", "user", "moderation", "seed", "steps", "guidance", "negative_prompt", "visible_mark", "sign_prompt"

static bool post_generation(hm_call *c)
{
    static const char *const fields[] = {COMMON, "style", NULL};
    hm_ask a;
    request r = {0};
    int n;
    if (hm_ask_begin(&a, c, "image", fields) && hm_ask_common(&a, true) && hm_ask_size(&a, "1024x576") && ask_picture(&a, &r, &n))
        submit(&a, &r, n);
    hm_ask_end(&a);
    return true;
}

/* What may change: where the mask is fully transparent, or white if it is nowhere transparent; without a mask, where the
 * picture is fully transparent; else all of it. */
static void set_mask(hm_ask *a, const hm_input *in, const hm_input *mask)
{
    const hm_input *from = *mask->path ? mask : in;
    if (from == in && !in->media.transparent) return;
    json_object_set_new(a->req, "mask", json_string(from->path));
    json_object_set_new(a->req, "mask_holes", json_boolean(from->media.transparent));
}

/* The size of the first picture, unless another is wanted. */
static bool change_request(hm_ask *a, const hm_input *in, double strength)
{
    if (in->media.seconds > 0)
        return !hm_answer_error(a->c, 400, "image", "invalid_file", "image is a film, a picture is wanted (POST /v1/videos/edits)");
    if (!hm_ask_number(a->c, "strength", 0.01, 1, strength, &strength)) return false;
    if (!*a->job.size) {
        json_object_set_new(a->req, "width", json_integer(0));
        json_object_set_new(a->req, "height", json_integer(0));
        snprintf(a->job.size, sizeof a->job.size, "%dx%d", in->media.width & ~1, in->media.height & ~1);
    }
    json_object_set_new(a->req, "mode", json_string("change"));
    json_object_set_new(a->req, "clips", json_pack("[{s:s}]", "path", in->path));
    json_object_set_new(a->req, "strength", json_real(strength));
    return true;
}

static bool find_image(hm_ask *a, hm_input *in)
{
    const hm_form *f = &a->c->form;
    const char *name = hm_form_get(f, "image[0]") ? "image[0]" : hm_form_get(f, "images[0][image_url]") || hm_form_get(f, "images[0][file_id]") ? "images[0]" : "image";
    if (hm_form_get(f, "image[1]") || hm_form_get(f, "images[1][image_url]"))
        return !hm_answer_error(a->c, 400, "image", "not_supported", "himmel-1 edits one picture at a time");
    return hm_ask_input(a, name, true, in);
}

static bool post_edit(hm_call *c)
{
    static const char *const fields[] = {COMMON, "image", "images", "mask", "input_fidelity", "strength", NULL};
    hm_ask a;
    hm_input in, mask;
    request r = {.edit = true};
    int n;
    char fidelity[8];
    if (hm_ask_begin(&a, c, "image", fields) && hm_ask_common(&a, true) && hm_ask_size(&a, NULL) && find_image(&a, &in) &&
        hm_ask_input(&a, "mask", false, &mask) && one_of(c, "input_fidelity", "low", " low high ", fidelity, sizeof fidelity) &&
        change_request(&a, &in, !strcmp(fidelity, "high") ? 0.4 : 0.7) && ask_picture(&a, &r, &n)) {
        set_mask(&a, &in, &mask);
        submit(&a, &r, n);
    }
    hm_ask_end(&a);
    return true;
}

static bool post_variation(hm_call *c)
{
    static const char *const fields[] = {"image", "model", "n", "size", "response_format", "user", "seed", "steps", "strength", NULL};
    hm_ask a;
    hm_input in;
    request r = {0};
    int n;
    if (hm_ask_begin(&a, c, "image", fields) && hm_ask_common(&a, false) && hm_ask_size(&a, NULL) && hm_ask_input(&a, "image", true, &in) &&
        change_request(&a, &in, 0.6) && ask_picture(&a, &r, &n))
        submit(&a, &r, n);
    hm_ask_end(&a);
    return true;
}

/* ---- pictures that are there ---- */

static bool get_image(hm_call *c)
{
    hm_job j;
    char path[HM_PATH];
    if (!hm_find_job(c, "image", &j)) return true;
    const bool done = j.status == HM_DONE;
    hm_job_deinit(&j);
    if (!done || !hm_result_path(path, c->srv->o.data, c->id)) return hm_answer_error(c, 404, "id", "image_not_ready", "%s is not completed", c->id);
    return hm_answer_file(c, path, hm_type_of_file(path), NULL);
}

static bool list_images(hm_call *c)
{
    hm_job_query q = {.kind = "image", .after = hm_query(c, "after"), .like = hm_query(c, "search"), .account = hm_account_seen(c)};
    himmel_error err;
    hm_job *jobs;
    size_t n;
    bool more;
    if (!hm_query_int(c, "limit", 0, 100, 20, &q.limit)) return true;
    if (!q.after) q.after = "";
    if (!q.like) q.like = "";
    if (hm_store_list(c->srv->store, &q, &jobs, &n, &more, &err)) return hm_answer_status(c, &err);
    json_t *data = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *v = hm_wire_video(c->srv, &jobs[i]);
        json_object_set_new(v, "object", json_string("image"));
        json_array_append_new(data, v);
    }
    hm_jobs_free(jobs, n);
    return hm_answer_json(c, 200, json_pack("{s:s, s:o, s:b}", "object", "list", "data", data, "has_more", (int)more));
}

static bool delete_image(hm_call *c)
{
    hm_job j;
    bool changed;
    himmel_error err;
    if (!hm_find_job(c, "image", &j)) return true;
    hm_job_deinit(&j);
    if (hm_queue_delete(c->srv->queue, c->id, &changed, &err)) return hm_answer_status(c, &err);
    return hm_answer_json(c, 200, json_pack("{s:s, s:b, s:s}", "id", c->id, "deleted", 1, "object", "image.deleted"));
}

const hm_route hm_image_routes[] = {{"POST", "/v1/images/generations", HM_SCOPE_CREATE, post_generation},
                                    {"POST", "/v1/images/edits", HM_SCOPE_CREATE, post_edit},
                                    {"POST", "/v1/images/variations", HM_SCOPE_CREATE, post_variation},
                                    {"GET", "/himmel/v1/images", HM_SCOPE_READ, list_images},
                                    {"GET", "/himmel/v1/images/*", HM_SCOPE_READ, get_image},
                                    {"DELETE", "/himmel/v1/images/*", HM_SCOPE_CREATE, delete_image},
                                    {NULL, NULL, HM_SCOPE_NONE, NULL}};
