/* edit.c - animate, extend, inpaint, outpaint, remix, loop, blend, interpolate, storyboard, cut, upscale.
 * SPDX-License-Identifier: MIT
 * All are one call of himmel_edit_run; a command says which words of the line are inputs, which options it takes and
 * what they mean to the engine. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/edit_commands.h"
#include "cli/story.h"

enum { MAX_INPUTS = HIMMEL_MAX_CLIPS };

typedef struct {
    const edit_command *c;
    const char *input[MAX_INPUTS];
    int n_inputs;
    char *path[MAX_INPUTS]; /* of "file@from-to", without the part */
    himmel_edit e;
    himmel_clip clip[MAX_INPUTS];
    himmel_card card[MAX_INPUTS];
    const char *last;
    double from, to;
    double usual_seconds; /* of a film from one picture */
    int usual_num, usual_den; /* frames a second of a new film; 0: the engine's own */
    cli_story story;
} editor;

/* ---- the line ---- */

static bool add_input(void *user, const char *word)
{
    editor *d = user;
    if (d->n_inputs == d->c->max_inputs) return false;
    d->input[d->n_inputs++] = word;
    return true;
}

/* "x,y,w,h" and "x,y,w,h@t0-t1" */
static bool to_box(himmel_edit *e, const char *s)
{
    double b[4], from = 0, to = 0;
    int end = 0;
    if (sscanf(s, "%lf,%lf,%lf,%lf%n", &b[0], &b[1], &b[2], &b[3], &end) < 4 || !end) return false;
    if (s[end]) {
        int more = 0;
        if (sscanf(s + end, "@%lf-%lf%n", &from, &to, &more) < 2 || s[end + more] || !isfinite(from) || !isfinite(to) ||
            from < 0 || to <= from) return false;
    }
    for (int i = 0; i < 4; i++) {
        if (!isfinite(b[i])) return false;
        e->box[i] = b[i];
    }
    e->box_from = from, e->box_to = to;
    return b[2] > 0 && b[3] > 0;
}

static bool to_strength(const char *s, double *out)
{
    static const struct { const char *name; double v; } names[] = {
        {"subtle", HIMMEL_STRENGTH_SUBTLE}, {"mild", HIMMEL_STRENGTH_MILD}, {"strong", HIMMEL_STRENGTH_STRONG}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(s, names[i].name)) {
            *out = names[i].v;
            return true;
        }
    return args_double(s, out) && *out >= 0.01 && *out <= 1;
}

static bool take_value(editor *d, const char *name, const char *v)
{
    himmel_edit *e = &d->e;
    if (!strcmp(name, "after")) return args_double(v, &e->after) || args_wrong(name, v, "wants seconds");
    if (!strcmp(name, "before")) return args_double(v, &e->before) || args_wrong(name, v, "wants seconds");
    if (!strcmp(name, "from")) return (args_double(v, &d->from) && d->from >= 0) || args_wrong(name, v, "wants a second of the film");
    if (!strcmp(name, "to")) return (args_double(v, &d->to) && d->to > 0) || args_wrong(name, v, "wants a second of the film");
    if (!strcmp(name, "strength"))
        return to_strength(v, &e->strength) || args_wrong(name, v, "wants subtle, mild, strong or a number, 0.01 to 1");
    if (!strcmp(name, "box"))
        return to_box(e, v) || args_wrong(name, v, "wants x,y,width,height in pixels, and if you like @from-to in seconds");
    if (!strcmp(name, "fit")) {
        e->fit = !strcmp(v, "pad") ? HIMMEL_FIT_PAD : HIMMEL_FIT_CROP;
        return !strcmp(v, "pad") || !strcmp(v, "crop") || args_wrong(name, v, "wants crop or pad");
    }
    if (!strcmp(name, "reference")) e->reference = v;
    else if (!strcmp(name, "mask")) e->mask = v;
    else d->last = v;
    return true;
}

static int take_option(void *user, const char *name, const char *value)
{
    editor *d = user;
    static const char *const own[] = {"after", "before", "from", "to", "strength", "box", "fit", "mask", "last", "reference"};
    bool mine = false;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) mine |= !strcmp(own[i], name);
    if (!mine) return 0;
    char word[40];
    snprintf(word, sizeof word, " %.30s ", name);
    if (!strstr(d->c->options, word)) {
        fprintf(stderr, "himmel: --%s is no option of himmel %s (himmel help %s)\n", name, d->c->name, d->c->name);
        return -1;
    }
    if (!value) {
        fprintf(stderr, "himmel: --%s wants a value (himmel help %s)\n", name, d->c->name);
        return -1;
    }
    return take_value(d, name, value) ? 2 : -1;
}

/* ---- from the line to the edit ---- */

static double or_else(double v, double otherwise)
{
    return isnan(v) ? otherwise : v;
}

/* "film.mp4@2-5" is a part of film.mp4, unless there is a file of that whole name. */
static bool to_clip(editor *d, int i, himmel_error *err)
{
    himmel_clip *c = &d->clip[i];
    *c = (himmel_clip){d->input[i], d->from, d->to};
    const char *at = strrchr(d->input[i], '@');
    if (!at || !access(d->input[i], F_OK)) return true;
    int end = 0;
    double from = 0, to = 0;
    if (sscanf(at, "@%lf-%n", &from, &end) < 1 || !end || (at[end] && !args_double(at + end, &to)) || !(from >= 0) || to < 0) {
        err->code = HIMMEL_EINVAL;
        snprintf(err->message, sizeof err->message, "%.300s: a part of a film is written film.mp4@2-5 or film.mp4@2-",
                 d->input[i]);
        return false;
    }
    const size_t n = (size_t)(at - d->input[i]);
    char *p = d->path[i] = calloc(n + 1, 1);
    if (!p) return false;
    memcpy(p, d->input[i], n);
    *c = (himmel_clip){p, from, to};
    return true;
}

static bool all_pictures(const editor *d, bool *pictures, himmel_error *err)
{
    int n = 0;
    for (int i = 0; i < d->n_inputs; i++) {
        himmel_media m;
        if (himmel_probe(d->clip[i].path, &m, err)) return false;
        n += m.fps_num == 0;
    }
    *pictures = n == d->n_inputs;
    return true;
}

/* Pictures evenly over the film, the first in its first frame, the last in its last. */
static void spread_pictures(editor *d, const himmel_request *r)
{
    const double frame = r->fps_num > 0 ? (double)r->fps_den / r->fps_num : 1.0 / 24, end = r->seconds - frame;
    for (int i = 0; i < d->n_inputs; i++)
        d->card[i] = (himmel_card){.at = i ? end * i / (d->n_inputs - 1) : 0, .picture = d->input[i]};
    d->e.n_cards = (size_t)d->n_inputs;
}

static bool read_story(editor *d, himmel_request *r, himmel_error *err)
{
    if (!story_read(&d->story, d->input[0], err)) return false;
    const cli_story *s = &d->story;
    if (!r->prompt) r->prompt = s->prompt;
    r->seconds = or_else(r->seconds, s->seconds > 0 ? s->seconds : fmin(HIMMEL_MAX_SECONDS, s->card[s->n - 1].at + 4));
    d->e.cards = s->card, d->e.n_cards = s->n;
    return true;
}

/* The command's meaning into d->e and r. */
static bool set_up(editor *d, himmel_request *r, himmel_error *err)
{
    himmel_edit *e = &d->e;
    bool pictures = false;
    e->cards = d->card, e->clips = d->clip, e->n_clips = (size_t)d->n_inputs;
    for (int i = 0; i < d->n_inputs; i++)
        if (!to_clip(d, i, err)) return false;
    if (d->c->id != EDIT_CUT && d->c->id != EDIT_STORYBOARD && !all_pictures(d, &pictures, err)) return false;
    const bool new = d->c->id == EDIT_ANIMATE || d->c->id == EDIT_STORYBOARD || (d->c->id == EDIT_INTERPOLATE && pictures) || !d->n_inputs;
    if (new && r->fps_num == 0) r->fps_num = d->usual_num, r->fps_den = d->usual_den;
    e->mode = HIMMEL_EDIT_CHANGE;
    switch (d->c->id) {
    case EDIT_ANIMATE:
        r->seconds = or_else(r->seconds, d->usual_seconds);
        if (d->last) d->input[d->n_inputs++] = d->last;
        spread_pictures(d, r);
        e->mode = HIMMEL_EDIT_NEW;
        return true;
    case EDIT_STORYBOARD:
        e->mode = HIMMEL_EDIT_NEW;
        return read_story(d, r, err);
    case EDIT_INTERPOLATE:
        r->seconds = or_else(r->seconds, pictures ? 3.0 * (d->n_inputs - 1) : 1);
        e->mode = pictures ? HIMMEL_EDIT_NEW : HIMMEL_EDIT_JOIN;
        if (pictures) spread_pictures(d, r);
        e->between = r->seconds;
        return true;
    case EDIT_EXTEND:
        if (e->after == 0 && e->before == 0) e->after = 5;
        e->mode = HIMMEL_EDIT_JOIN;
        return true;
    case EDIT_LOOP:
        e->mode = HIMMEL_EDIT_JOIN, e->loop = 1;
        e->after = d->n_inputs ? or_else(r->seconds, 2) : fmin(2, or_else(r->seconds, 8) / 2);
        return true;
    case EDIT_BLEND: e->between = or_else(r->seconds, 2); /* fall through */
    case EDIT_CUT: e->mode = HIMMEL_EDIT_JOIN; return true;
    case EDIT_OUTPAINT: e->outpaint = 1; break;
    case EDIT_REMIX:
        if (e->strength == 0) e->strength = HIMMEL_STRENGTH_MILD;
        break;
    case EDIT_UPSCALE:
        e->mode = HIMMEL_EDIT_UPSCALE;
        break;
    case EDIT_INPAINT: break;
    }
    if (pictures) r->kind = HIMMEL_IMAGE;
    return true;
}

/* Twice as large, at most 2048 a side. */
static bool twice(himmel_request *r, const char *path, himmel_error *err)
{
    himmel_media m;
    if (himmel_probe(path, &m, err)) return false;
    const double s = fmin(2, (double)HIMMEL_MAX_SIDE / (m.width > m.height ? m.width : m.height));
    r->width = (int)(m.width * s) & ~1, r->height = (int)(m.height * s) & ~1;
    return true;
}

/* ---- the work ---- */

/* Words instead of a film to loop: a film of its own first, beside the output, that is looped and deleted. */
static himmel_status film_for_loop(himmel_ctx *ctx, editor *d, const cli_args *a, char *path, size_t cap, himmel_error *err)
{
    himmel_request r = a->req;
    const himmel_request usual = himmel_request_for(ctx, HIMMEL_FILM);
    if (snprintf(path, cap, "%s.once.mp4", a->req.output) >= (int)cap) path[0] = 0;
    r.output = path;
    r.seconds = fmax(1, or_else(a->req.seconds, 8) - d->e.after);
    if (!r.width) r.width = usual.width, r.height = usual.height;
    if (!r.fps_num) r.fps_num = usual.fps_num, r.fps_den = usual.fps_den;
    r.visible_mark = 0;
    d->clip[0] = (himmel_clip){.path = path};
    d->e.n_clips = 1;
    return himmel_generate(ctx, &r, NULL, err);
}

static himmel_status edit_one(himmel_ctx *ctx, editor *d, cli_args *a, himmel_error *err)
{
    shower s;
    himmel_result result;
    himmel_media made;
    char once[CLI_MAX_PATH] = "";
    himmel_status rc = HIMMEL_OK;
    show_init(&s, a);
    a->req.on_progress = show_progress;
    a->req.on_preview = a->preview ? show_preview : NULL;
    a->req.user = &s;
    if (d->n_inputs == 0) rc = film_for_loop(ctx, d, a, once, sizeof once, err);
    himmel_request r = a->req;
    if (isnan(r.seconds)) r.seconds = 1; /* as long as the inputs make it */
    if (!rc) rc = himmel_edit_run(ctx, &r, &d->e, &result, err);
    show_line_end(&s);
    if (*once) unlink(once);
    if (rc || (rc = himmel_probe(r.output, &made, err))) return rc;
    make_done(a, &result, made.fps_num ? (double)result.n_frames * made.fps_den / made.fps_num : 0, himmel_peak_gflops(ctx));
    return HIMMEL_OK;
}

static himmel_status edit_all(himmel_ctx *ctx, editor *d, cli_args *a, himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    const char *const output = a->req.output;
    for (long i = 1; i <= a->n && !rc; i++, a->req.seed++) {
        char path[CLI_MAX_PATH];
        a->req.output = output;
        if (a->n > 1) {
            if (!make_numbered(path, sizeof path, output, i)) break;
            a->req.output = path;
        }
        rc = edit_one(ctx, d, a, err);
        if (!rc && stop_asked()) {
            err->code = rc = HIMMEL_ECANCELLED;
            snprintf(err->message, sizeof err->message, "stopped after %ld of %ld", i, a->n);
        }
    }
    return rc;
}

/* Is the line complete? Says what is missing. */
static bool complete(const editor *d, const cli_args *a)
{
    if (d->n_inputs < d->c->min_inputs) {
        fprintf(stderr, "himmel: %s\n", d->c->wants);
        return false;
    }
    if (a->expand || a->plan_only) {
        fprintf(stderr, "himmel: --%s is for films from words only\n", a->expand ? "expand" : "plan");
        return false;
    }
    if (d->c->id == EDIT_INPAINT && !d->e.mask && d->e.box[2] <= 0) {
        fprintf(stderr, "himmel: inpaint wants --mask FILE or --box x,y,width,height: what may change\n");
        return false;
    }
    if (d->c->id == EDIT_OUTPAINT && !a->req.width) {
        fprintf(stderr, "himmel: outpaint wants --size WIDTHxHEIGHT: how large the picture should become\n");
        return false;
    }
    if (d->c->id == EDIT_LOOP && d->n_inputs == 0 && !a->prompt) {
        fprintf(stderr, "himmel: %s\n", d->c->wants);
        return false;
    }
    return true;
}

/* The first word of himmel loop is a film if there is such a file or it looks like one, else the prompt begins. */
static bool loop_input(void *user, const char *word)
{
    return (!access(word, F_OK) || (strchr(word, '.') && !strchr(word, ' '))) && add_input(user, word);
}

/* What was not said is as the open model likes it. */
static void fill_in(editor *d, cli_args *a, himmel_ctx *ctx)
{
    const himmel_request likes = himmel_request_for(ctx, a->req.kind);
    d->usual_seconds = 5;
    if (make_is_own(ctx)) return;
    d->usual_seconds = likes.seconds;
    d->usual_num = likes.fps_num, d->usual_den = likes.fps_den;
    make_fill_in(a, &likes);
}

static himmel_status run_with(himmel_ctx *ctx, editor *d, cli_args *a, himmel_error *err)
{
    char name[64];
    fill_in(d, a, ctx);
    const bool ready = set_up(d, &a->req, err) && (d->c->id != EDIT_UPSCALE || a->req.width || twice(&a->req, d->input[0], err));
    if (!ready) return err->code ? err->code : HIMMEL_ENOMEM;
    if (!a->req.output) {
        make_free_name(name, sizeof name, a->req.kind == HIMMEL_FILM ? "film.mp4" : "image.png");
        a->req.output = name;
    }
    if (!a->has_seed) a->req.seed = make_seed();
    if (a->prompt && make_is_own(ctx)) make_tell_unknown(a, a->prompt);
    return edit_all(ctx, d, a, err);
}

static int run(editor *d, cli_args *a, const cli_env *env)
{
    himmel_error err = {0};
    himmel_ctx *ctx;
    himmel_status rc = make_open(&ctx, a, env, &err);
    if (!rc) rc = run_with(ctx, d, a, &err);
    himmel_close(ctx);
    if (rc) show_error(a->json, &err);
    return !rc                                       ? EXIT_DONE
           : rc == HIMMEL_ECANCELLED && stop_asked() ? stop_exit_code()
           : rc == HIMMEL_EINVAL                     ? EXIT_USAGE
                                                     : EXIT_FAILED;
}

int cmd_edit(const char *name, int argc, char **argv, const cli_env *env)
{
    editor d = {.c = edit_find(name), .e = himmel_edit_default()};
    const cli_more more = {&d, take_option, d.c->id == EDIT_LOOP ? loop_input : add_input};
    cli_args a;
    int code = EXIT_USAGE;
    if (args_parse_more(&a, HIMMEL_FILM, argc, argv, &more)) {
        if (a.help) code = cmd_edit_help(name);
        else if (complete(&d, &a)) code = run(&d, &a, env);
    }
    args_free(&a);
    story_free(&d.story);
    for (int i = 0; i < MAX_INPUTS; i++) free(d.path[i]);
    return code;
}
