/* jobs.c - himmel train, eval, world (options go through by name) and info.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

typedef himmel_status job_fn(const char *what, const himmel_option *opts, size_t n,
                             himmel_progress_fn *progress, void *user, himmel_error *err);

/* "--key value", "--key=value", "--switch", "-o value". Keys end up without dashes; "=" is cut in place. */
static bool collect(int argc, char **argv, himmel_option *opts, size_t *n, cli_args *a)
{
    *n = 0;
    for (int i = 0; i < argc; i++) {
        char *arg = argv[i];
        if (!strcmp(arg, "--json")) {
            a->json = true;
            continue;
        }
        if (!strcmp(arg, "--quiet") || !strcmp(arg, "-q")) {
            a->quiet = true;
            continue;
        }
        const bool is_out = !strcmp(arg, "-o");
        if (!is_out && (strncmp(arg, "--", 2) || !arg[2])) {
            fprintf(stderr, "himmel: %.80s: options here look like --name value\n", arg);
            return false;
        }
        char *eq = is_out ? NULL : strchr(arg, '=');
        if (eq) *eq = 0;
        const bool value_follows = !eq && i + 1 < argc && strncmp(argv[i + 1], "--", 2);
        opts[*n].key = is_out ? "out" : arg + 2;
        opts[*n].value = eq ? eq + 1 : value_follows ? argv[++i] : "";
        ++*n;
    }
    return true;
}

int cmd_job(const char *name, int argc, char **argv)
{
    static const struct { const char *name; job_fn *fn; } jobs[] = {
        {"train", himmel_train}, {"eval", himmel_eval}, {"world", himmel_world}};
    const bool has_what = argc > 0 && argv[0][0] != '-';
    const char *what = has_what ? argv[0] : "";
    if (argc > 0 && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")))
        return cmd_help(1, (char *[]){(char *)name});
    cli_args a = {0};
    size_t n;
    himmel_option *opts = calloc((size_t)argc + 1, sizeof *opts);
    if (!opts || !collect(argc - has_what, argv + has_what, opts, &n, &a)) {
        free(opts);
        return EXIT_USAGE;
    }
    shower s;
    show_init(&s, &a);
    himmel_error err = {0};
    himmel_status rc = HIMMEL_EINVAL;
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
        if (!strcmp(jobs[i].name, name)) rc = jobs[i].fn(what, opts, n, show_progress, &s, &err);
    show_line_end(&s);
    if (rc) show_error(a.json, &err);
    free(opts);
    if (rc == HIMMEL_ECANCELLED && stop_asked()) return stop_exit_code();
    return !rc ? EXIT_DONE : rc == HIMMEL_EINVAL ? EXIT_USAGE : EXIT_FAILED;
}

static void info_json(const himmel_model_info *i, const himmel_request *r, const himmel_plan_info *p, double peak)
{
    const struct {
        const char *key, *value;
    } text[] = {{"name", i->name},
                {"path", i->path},
                {"sha256", i->sha256},
                {"licence", i->licence},
                {"data_sha256", i->data_sha256},
                {"loras", i->loras},
                {"precision", i->precision},
                {"isa", i->isa}};
    printf("{\"event\":\"info\",\"version\":\"%s\"", himmel_version());
    for (size_t k = 0; k < sizeof text / sizeof *text; k++) {
        printf(",\"%s\":", text[k].key);
        cli_json_string(stdout, text[k].value);
    }
    printf(",\"weight_bytes\":%llu", (unsigned long long)i->weight_bytes);
    printf(",\"bytes\":%llu,\"parameters\":%llu,\"threads\":%d,\"peak_gflops\":%.1f",
           (unsigned long long)i->file_bytes, (unsigned long long)i->n_params, i->threads, peak);
    if (p->peak_bytes)
        printf(",\"film\":{\"width\":%d,\"height\":%d,\"frames\":%d,\"steps\":%d,\"peak_bytes\":%llu,\"stays_bytes\":%llu,\"available_bytes\":%llu,\"seconds\":%.1f}",
               r->width, r->height, p->n_frames, r->steps, (unsigned long long)p->peak_bytes, (unsigned long long)p->stays_bytes,
               (unsigned long long)p->available_bytes, p->seconds);
    printf("}\n");
}

static void info_film(const himmel_request *r, const himmel_plan_info *p)
{
    const double gib = 1 << 30;
    if (!p->peak_bytes) return;
    printf("a film     %dx%d, %d frames, %d steps, as the model likes it: about %.0f s on this machine\n", r->width, r->height, p->n_frames, r->steps,
           p->seconds);
    printf("memory     %.2f GiB, of which %.2f must stay (weights can be read again); %.2f are available: %s\n", (double)p->peak_bytes / gib,
           (double)p->stays_bytes / gib, (double)p->available_bytes / gib,
           p->stays_bytes > p->available_bytes ? "does not fit" : p->peak_bytes > p->available_bytes ? "fits, reading weights again and again" : "fits");
}

static void info_text(const himmel_model_info *i, double peak)
{
    printf("himmel     %s\n", himmel_version());
    printf("model      %s, %.2f million parameters, licence %s\n", i->name, 1e-6 * (double)i->n_params,
           *i->licence ? i->licence : "not stated");
    if (*i->missing) printf("missing    %s\n", i->missing);
    printf("file       %s, %.1f MiB\n", i->path, (double)i->file_bytes / (1 << 20));
    printf("sha256     %s\n", i->sha256);
    if (*i->loras) printf("loras      %s\n", i->loras);
    printf("precision  %s, weights of %.1f MiB\n", i->precision, (double)i->weight_bytes / (1 << 20));
    printf("trained on %s\n", *i->data_sha256 ? i->data_sha256 : "no manifest in the file");
    printf("machine    %s, %d threads, %.0f GFLOPS in bf16\n", i->isa, i->threads, peak);
}

int cmd_info(int argc, char **argv, const cli_env *env)
{
    cli_args a;
    himmel_error err = {0};
    const bool parsed = args_parse(&a, HIMMEL_FILM, argc, argv);
    if (!parsed || (a.prompt && a.model)) {
        if (parsed) fprintf(stderr, "himmel: info takes one model: FILE or --model FILE, --with FILE, --lora FILE, --precision, --threads and --json\n");
        args_free(&a);
        return EXIT_USAGE;
    }
    char file[CLI_MAX_PATH] = "";
    if (a.prompt) snprintf(file, sizeof file, "%s", a.prompt);
    const himmel_options o = make_options(&a, env);
    himmel_ctx *ctx;
    himmel_model_info info;
    const char *named = env->model && *env->model ? env->model : NULL;
    himmel_status rc = himmel_open(&ctx, *file ? file : a.model ? a.model : named, &o, &err);
    if (!rc) rc = himmel_info(ctx, &info, &err);
    himmel_plan_info plan = {0};
    himmel_request r = himmel_request_default();
    if (!rc && !*info.missing) { /* a film that does not fit is an answer too */
        r = himmel_request_for(ctx, HIMMEL_FILM);
        r.prompt = "a film", r.output = "film.mp4";
        himmel_error ignored;
        himmel_plan(ctx, &r, &plan, &ignored);
    }
    if (rc) show_error(a.json, &err);
    else if (a.json) info_json(&info, &r, &plan, himmel_peak_gflops(ctx));
    else info_text(&info, himmel_peak_gflops(ctx)), info_film(&r, &plan);
    himmel_close(ctx);
    args_free(&a);
    return rc ? EXIT_FAILED : EXIT_DONE;
}
