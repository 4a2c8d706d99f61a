/* make.c - himmel "a prompt" -o film.mp4, and himmel image.   SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/cli.h"

enum { MAX_FULL_PROMPT = 4096 };

/* film.mp4 -> film-3.mp4 */
bool make_numbered(char *out, size_t cap, const char *path, long i)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    const int stem = dot ? (int)(dot - path) : (int)strlen(path);
    const int n = snprintf(out, cap, "%.*s-%ld%s", stem, path, i, dot ? dot : "");
    return n > 0 && (size_t)n < cap;
}

/* Without -o: film.mp4, or the first free film-2.mp4 ...: nothing that is there is replaced unasked. */
void make_free_name(char *out, size_t cap, const char *plain)
{
    snprintf(out, cap, "%s", plain);
    for (long i = 2; !access(out, F_OK) && i < 100000; i++) make_numbered(out, cap, plain, i);
}

uint64_t make_seed(void)
{
    uint32_t v = 0;
    if (getrandom(&v, sizeof v, 0) != sizeof v) v = (uint32_t)(clock_seconds() * 1e6);
    return v;
}

void make_tell_unknown(const cli_args *a, const char *prompt)
{
    char words[512];
    const size_t n = himmel_unknown_words(prompt, words, sizeof words);
    if (!n) return;
    if (a->json) {
        printf("{\"event\":\"unknown_words\",\"count\":%zu,\"words\":", n);
        cli_json_string(stdout, words);
        printf(",\"known\":");
        cli_json_string(stdout, himmel_known_words());
        printf("}\n");
    } else if (!a->quiet) {
        fprintf(stderr,
                "himmel-1 has never seen: %s. It knows %s. For the rest of the world: himmel help models\n",
                words, himmel_known_words());
    }
}

static void tell_plan(const cli_args *a, const himmel_plan_info *p)
{
    const double gib = (double)p->peak_bytes / (1 << 30);
    if (a->json)
        printf("{\"event\":\"plan\",\"frames\":%d,\"blocks\":[%d,%d,%d],\"base\":[%d,%d],\"peak_bytes\":%llu,"
               "\"stays_bytes\":%llu,\"available_bytes\":%llu,\"gflop_sample\":%.1f,\"gflop_film\":%.1f,\"seconds\":%.1f}\n",
               p->n_frames, p->blocks_t, p->blocks_y, p->blocks_x, p->base_width, p->base_height,
               (unsigned long long)p->peak_bytes, (unsigned long long)p->stays_bytes,
               (unsigned long long)p->available_bytes, p->gflop_sample, p->gflop_film, p->seconds);
    else if (a->verbose || a->plan_only)
        fprintf(stderr, "plan: %d frames from %d x %d x %d blocks (%dx%d), at most %.2f GiB, about %.0f s\n",
                p->n_frames, p->blocks_t, p->blocks_y, p->blocks_x, p->base_width, p->base_height, gib,
                p->seconds);
    fflush(stdout);
}

static double peak_rss_mib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / 1024;
}

static void done_json(const cli_args *a, const himmel_result *r, double peak)
{
    printf("{\"event\":\"done\",\"output\":");
    cli_json_string(stdout, a->req.output);
    printf(",\"seed\":%llu,\"width\":%d,\"height\":%d,\"frames\":%d,\"bytes\":%llu,\"seconds\":%.3f,"
           "\"peak_gflops\":%.1f,"
           "\"peak_rss_mib\":%.1f,",
           (unsigned long long)a->req.seed, r->width, r->height, r->n_frames,
           (unsigned long long)r->file_bytes, r->seconds, peak, peak_rss_mib());
    if (r->passes) printf("\"passes\":%d,\"passes_skipped\":%d,", r->passes, r->passes_skipped); /* released weights */
    printf("\"phases\":[");
    for (int i = 0; i < HIMMEL_N_PHASES; i++) {
        const himmel_phase *p = &r->phase[i];
        printf("%s{\"name\":\"%s\",\"seconds\":%.3f,\"gflop\":%.2f,\"share_of_peak\":%.3f}", i ? "," : "",
               p->name, p->seconds, p->gflop, p->seconds > 0 && peak > 0 ? p->gflop / p->seconds / peak : 0);
    }
    printf("]}\n");
    fflush(stdout);
}

static void done_text(const cli_args *a, const himmel_result *r, double seconds, double peak)
{
    fprintf(stderr, "%s: %dx%d, ", a->req.output, r->width, r->height);
    if (a->req.kind == HIMMEL_FILM) fprintf(stderr, "%.4g s, %d frames, ", seconds, r->n_frames);
    fprintf(stderr, "%.1f MB, seed %llu, made in %.1f s\n", 1e-6 * (double)r->file_bytes,
            (unsigned long long)a->req.seed, r->seconds);
    fprintf(stderr, " ");
    for (int i = 0; i < HIMMEL_N_PHASES; i++) {
        const himmel_phase *p = &r->phase[i];
        fprintf(stderr, " %s %.1f s", p->name, p->seconds);
        if (p->gflop > 0 && p->seconds > 0 && peak > 0)
            fprintf(stderr, " (%.0f %% of peak)", 100 * p->gflop / p->seconds / peak);
        fputc(i + 1 < HIMMEL_N_PHASES ? ',' : '\n', stderr);
    }
    if (a->verbose)
        fprintf(stderr, "  peak of this machine %.0f GFLOPS, most memory %.0f MiB (networks %.0f MiB)\n",
                peak, peak_rss_mib(), (double)r->arena_bytes / (1 << 20));
}

void make_done(const cli_args *a, const himmel_result *r, double seconds, double peak)
{
    if (a->json) done_json(a, r, peak);
    else if (!a->quiet) done_text(a, r, seconds, peak);
}

static himmel_status expand(cli_args *a, const char *prompt, char *full, himmel_error *err)
{
    const himmel_status rc = himmel_expand(prompt, a->req.seed, full, MAX_FULL_PROMPT, err);
    if (rc) return rc;
    a->req.prompt = full;
    if (a->json) {
        printf("{\"event\":\"expanded\",\"prompt\":");
        cli_json_string(stdout, full);
        printf("}\n");
        fflush(stdout);
    } else if (!a->quiet) {
        fprintf(stderr, "prompt: %s\n", full);
    }
    return HIMMEL_OK;
}

/* One film or image; the seed and the output are set. */
static himmel_status make_one(himmel_ctx *ctx, cli_args *a, himmel_error *err)
{
    shower s;
    show_init(&s, a);
    a->req.on_progress = show_progress;
    a->req.on_preview = a->preview ? show_preview : NULL;
    a->req.user = &s;
    himmel_plan_info plan;
    himmel_result result;
    himmel_status rc = HIMMEL_OK;
    if (a->verbose || a->json || a->plan_only) {
        rc = himmel_plan(ctx, &a->req, &plan, err);
        if (rc) return rc;
        tell_plan(a, &plan);
        if (a->plan_only) return HIMMEL_OK;
    }
    rc = himmel_generate(ctx, &a->req, &result, err);
    show_line_end(&s);
    if (rc) return rc;
    make_done(a, &result, a->req.seconds, himmel_peak_gflops(ctx));
    return HIMMEL_OK;
}

himmel_options make_options(const cli_args *a, const cli_env *env)
{
    himmel_options o = himmel_options_default();
    if (a->threads > 0) o.threads = (int)a->threads;
    o.identity = env->identity;
    o.with = a->with, o.n_with = a->n_with;
    o.loras = a->lora, o.n_loras = a->n_loras;
    o.precision = a->precision;
    o.time_server = env->time_server;
    o.cache = a->no_cache ? NULL : env->cache;
    o.max_memory = (uint64_t)a->max_memory_mib << 20;
    return o;
}

himmel_status make_open(himmel_ctx **ctx, const cli_args *a, const cli_env *env, himmel_error *err)
{
    const himmel_options o = make_options(a, env);
    return himmel_open(ctx, a->model ? a->model : env->model && *env->model ? env->model : NULL, &o, err);
}

void make_fill_in(cli_args *a, const himmel_request *likes)
{
    if (!a->has_steps) a->req.steps = likes->steps;
    if (!a->has_guidance) a->req.guidance = likes->guidance;
    if (!a->req.negative) a->req.negative = likes->negative;
}

bool make_is_own(himmel_ctx *ctx)
{
    himmel_model_info info;
    himmel_error ignored;
    return !himmel_info(ctx, &info, &ignored) && !strcmp(info.family, "himmel");
}

/* What was not said is as the open model likes it. */
static void fill_in(cli_args *a, const himmel_ctx *ctx)
{
    const himmel_request d = himmel_request_for(ctx, a->req.kind);
    himmel_request *r = &a->req;
    if (!a->has_size) r->width = d.width, r->height = d.height;
    if (!a->has_seconds) r->seconds = d.seconds;
    if (!a->has_fps) r->fps_num = d.fps_num, r->fps_den = d.fps_den;
    make_fill_in(a, &d);
}

static himmel_status make_all(cli_args *a, const cli_env *env, himmel_error *err)
{
    himmel_ctx *ctx;
    himmel_status rc = make_open(&ctx, a, env, err);
    if (!rc) {
        fill_in(a, ctx);
        if (make_is_own(ctx)) make_tell_unknown(a, a->prompt);
    }
    const char *const output = a->req.output;
    for (long i = 1; i <= a->n && !rc; i++) {
        char path[CLI_MAX_PATH], full[MAX_FULL_PROMPT];
        a->req.output = output;
        a->req.prompt = a->prompt;
        if (a->n > 1) {
            if (!make_numbered(path, sizeof path, output, i)) break;
            a->req.output = path;
        }
        if (a->expand) rc = expand(a, a->prompt, full, err);
        if (!rc) rc = make_one(ctx, a, err);
        a->req.seed++;
        if (!rc && stop_asked()) {
            err->code = rc = HIMMEL_ECANCELLED;
            snprintf(err->message, sizeof err->message, "stopped after %ld of %ld", i, a->n);
        }
    }
    himmel_close(ctx);
    return rc;
}

int cmd_make(himmel_kind kind, int argc, char **argv, const cli_env *env)
{
    cli_args a;
    himmel_error err = {0};
    char name[64];
    int code = EXIT_USAGE;
    if (!args_parse(&a, kind, argc, argv)) goto done;
    if (a.help) {
        code = cmd_help(kind == HIMMEL_IMAGE, (char *[]){(char *)"image"});
        goto done;
    }
    if (a.version) {
        printf("himmel %s\n", himmel_version());
        code = EXIT_DONE;
        goto done;
    }
    if (!a.prompt) {
        fprintf(stderr, "himmel: no prompt; for example: himmel \"sunset over a calm sea\" -o film.mp4\n");
        goto done;
    }
    if (!a.req.output) {
        make_free_name(name, sizeof name, kind == HIMMEL_FILM ? "film.mp4" : "image.png");
        a.req.output = name;
    }
    if (!a.has_seed) a.req.seed = make_seed();
    if (himmel_check(&a.req, &err)) {
        show_error(a.json, &err);
        goto done;
    }
    const himmel_status rc = make_all(&a, env, &err);
    if (rc) show_error(a.json, &err);
    code = !rc ? EXIT_DONE : rc == HIMMEL_ECANCELLED && stop_asked() ? stop_exit_code() : EXIT_FAILED;
done:
    args_free(&a);
    return code;
}
