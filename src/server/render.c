/* render.c - jobs as libhimmel calls.   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/render.h"

static char *full_path(hm_render *r, const char *data, const char *name)
{
    char *p = NULL;
    if (asprintf(&p, "%s/%s", data, name) < 0) return NULL;
    return r->paths[r->n_paths++] = p;
}

static himmel_status read_clips(hm_render *r, json_t *list, const char *data, himmel_error *err)
{
    size_t i;
    json_t *x;
    if (json_array_size(list) > HIMMEL_MAX_CLIPS)
        return hm_fail(err, HIMMEL_EINVAL, "clips: %zu of them, at most %d are possible", json_array_size(list), HIMMEL_MAX_CLIPS);
    json_array_foreach(list, i, x) {
        const char *path;
        himmel_clip *c = &r->clips[i];
        if (json_unpack(x, "{s:s, s?F, s?F}", "path", &path, "from", &c->from, "to", &c->to))
            return hm_fail(err, HIMMEL_EINVAL, "clips[%zu] is not an object with a path", i);
        if (!(c->path = full_path(r, data, path))) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    }
    r->edit.clips = r->clips;
    r->edit.n_clips = json_array_size(list);
    return HIMMEL_OK;
}

static himmel_status read_cards(hm_render *r, json_t *list, const char *data, himmel_error *err)
{
    size_t i;
    json_t *x;
    if (json_array_size(list) > HIMMEL_MAX_CARDS)
        return hm_fail(err, HIMMEL_EINVAL, "cards: %zu of them, at most %d are possible", json_array_size(list), HIMMEL_MAX_CARDS);
    json_array_foreach(list, i, x) {
        const char *picture = NULL;
        himmel_card *c = &r->cards[i];
        if (json_unpack(x, "{s:F, s?s, s?s}", "at", &c->at, "picture", &picture, "prompt", &c->prompt))
            return hm_fail(err, HIMMEL_EINVAL, "cards[%zu] is not an object with a time `at`", i);
        if (picture && !(c->picture = full_path(r, data, picture))) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    }
    r->edit.cards = r->cards;
    r->edit.n_cards = json_array_size(list);
    return HIMMEL_OK;
}

static himmel_status read_edit(hm_render *r, json_t *json, const char *mode, const char *data, himmel_error *err)
{
    himmel_edit *e = &r->edit;
    json_t *clips = NULL, *cards = NULL;
    const char *mask = NULL, *fit = "crop";
    json_error_t je;
    e->mode = !strcmp(mode, "join") ? HIMMEL_EDIT_JOIN : !strcmp(mode, "change") ? HIMMEL_EDIT_CHANGE : HIMMEL_EDIT_NEW;
    if (json_unpack_ex(json, &je, 0, "{s?o, s?o, s?F, s?F, s?F, s?b, s?s, s?[FFFF], s?F, s?F, s?b, s?F, s?s, s?b}", "clips", &clips,
                       "cards", &cards, "before", &e->before, "between", &e->between, "after", &e->after, "loop", &e->loop,
                       "mask", &mask, "box", &e->box[0], &e->box[1], &e->box[2], &e->box[3], "box_from", &e->box_from,
                       "box_to", &e->box_to, "outpaint", &e->outpaint, "strength", &e->strength, "fit", &fit, "mask_holes", &e->mask_holes))
        return hm_fail(err, HIMMEL_EINVAL, "the job's request: %s", je.text);
    e->fit = !strcmp(fit, "pad") ? HIMMEL_FIT_PAD : HIMMEL_FIT_CROP;
    if (mask && !(e->mask = full_path(r, data, mask))) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    himmel_status rc = clips ? read_clips(r, clips, data, err) : HIMMEL_OK;
    if (!rc && cards) rc = read_cards(r, cards, data, err);
    return rc;
}

himmel_status hm_render_init(hm_render *r, json_t *json, const char *data, const himmel_request *base, himmel_error *err)
{
    const char *named = json_string_value(json_object_get(json, "kind")), *kind = "film", *mode = "", *format = "png";
    const bool image = named && !strcmp(named, "image");
    *r = (hm_render){.req = base ? base[image ? HIMMEL_IMAGE : HIMMEL_FILM] : himmel_request_default(), .edit = himmel_edit_default()};
    himmel_request *q = &r->req;
    json_int_t seed = 0;
    json_error_t je;
    if (json_unpack_ex(json, &je, 0, "{s?s, s?s, s?s, s?s, s?i, s?i, s?F, s?[ii], s?I, s?i, s?F, s?b, s?b, s?s, s?i}", "kind", &kind,
                       "mode", &mode, "prompt", &q->prompt, "negative", &q->negative, "width", &q->width, "height", &q->height,
                       "seconds", &q->seconds, "fps", &q->fps_num, &q->fps_den, "seed", &seed, "steps", &q->steps,
                       "guidance", &q->guidance, "mark", &q->visible_mark, "sign_prompt", &q->sign_prompt, "format", &format, "quality", &q->quality))
        return hm_fail(err, HIMMEL_EINVAL, "the job's request: %s", je.text);
    q->seed = (uint64_t)seed;
    q->kind = image ? HIMMEL_IMAGE : HIMMEL_FILM;
    snprintf(r->ending, sizeof r->ending, ".%.5s", q->kind == HIMMEL_FILM ? "mp4" : format);
    r->edits = *mode;
    const himmel_status rc = r->edits ? read_edit(r, json, mode, data, err) : HIMMEL_OK;
    if (rc) hm_render_deinit(r);
    return rc;
}

void hm_render_deinit(hm_render *r)
{
    for (int i = 0; i < r->n_paths; i++) free(r->paths[i]);
    *r = (hm_render){0};
}

himmel_status hm_render_check(const hm_render *r, himmel_error *err)
{
    himmel_request q = r->req;
    if (r->edits) { /* sizes and prompts that follow the input are not known yet */
        if (!q.width || !q.height) q.width = q.height = HIMMEL_MIN_SIDE;
        if (!q.fps_num) q.fps_num = 24, q.fps_den = 1;
        if (!q.prompt || !*q.prompt) q.prompt = "a film";
        if (r->edit.mode != HIMMEL_EDIT_NEW) q.seconds = 1;
        if (!(q.seconds <= HIMMEL_MAX_SECONDS))
            return hm_fail(err, HIMMEL_EINVAL, "seconds is %g, must be 1..%d", q.seconds, HIMMEL_MAX_SECONDS);
        if (q.seconds > 1) q.seconds = 1;
    }
    char output[16];
    snprintf(output, sizeof output, "x%s", r->ending);
    q.output = output;
    return himmel_check(&q, err);
}

himmel_status hm_render_run(hm_render *r, himmel_ctx *ctx, himmel_result *result, himmel_error *err)
{
    return r->edits ? himmel_edit_run(ctx, &r->req, &r->edit, result, err) : himmel_generate(ctx, &r->req, result, err);
}
