/* pull.c - himmel pull: weights from the Hugging Face hub, checked.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "server/hub.h"

typedef struct {
    cli_args a;    /* json, quiet */
    hm_hub hub;
    const char *name, *output, *folder;
    bool yes;
    shower show;
    double start, first; /* when the first bytes of this run came, and how many were there */
} puller;

static const char usage[] = "himmel pull ORG/NAME[/FILE]|ADDRESS [-o FILE | --dir DIR] [--yes]    (himmel help pull)";

static bool take_value(puller *p, const char *name, const char *value)
{
    const struct { const char *name; const char **slot; } own[] = {{"--revision", &p->hub.revision}, {"--sha256", &p->hub.sha256}, {"--endpoint", &p->hub.endpoint},
                                                                   {"--dir", &p->folder}, {"--output", &p->output}, {"-o", &p->output}};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(name, own[i].name)) {
            *own[i].slot = value;
            return true;
        }
    return false;
}

static bool read_line(puller *p, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        char name[24];
        const char *arg = argv[i], *value = strchr(arg, '=');
        snprintf(name, sizeof name, "%.*s", value ? (int)(value - arg) : 23, arg);
        if (!strcmp(arg, "--yes") || !strcmp(arg, "-y")) p->yes = true;
        else if (!strcmp(arg, "--json")) p->a.json = true;
        else if (!strcmp(arg, "-q") || !strcmp(arg, "--quiet")) p->a.quiet = true;
        else if (arg[0] != '-' && !p->name) p->name = arg;
        else if (arg[0] == '-' && value && take_value(p, name, value + 1)) continue;
        else if (arg[0] == '-' && !value && i + 1 < argc && take_value(p, arg, argv[i + 1])) i++;
        else {
            fprintf(stderr, "himmel: %.80s: %s\n", arg, usage);
            return false;
        }
    }
    if (p->name && !(p->output && p->folder)) return true;
    fprintf(stderr, "himmel: %s\n", usage);
    return false;
}

static const char *size_text(uint64_t bytes, char out[24])
{
    if (!bytes) snprintf(out, 24, "size not known");
    else if (bytes < 1 << 20) snprintf(out, 24, "%.1f KiB", (double)bytes / 1024);
    else if (bytes < 1 << 30) snprintf(out, 24, "%.1f MiB", (double)bytes / (1 << 20));
    else snprintf(out, 24, "%.2f GiB", (double)bytes / (1 << 30));
    return out;
}

static int on_bytes(void *user, const char *path, uint64_t done, uint64_t size)
{
    puller *p = user;
    (void)path;
    if (p->start <= 0) p->start = clock_seconds(), p->first = (double)done;
    const double spent = clock_seconds() - p->start, got = (double)done - p->first;
    const himmel_progress s = {.phase = "pull", .step = (int64_t)(done >> 20), .n_steps = (int64_t)(size >> 20) + 1, .note = "",
                               .fraction = size ? (double)done / (double)size : 0,
                               .eta_seconds = size && got > 0 && spent > 1 ? spent / got * (double)(size - done) : -1};
    return p->a.quiet ? stop_asked() : show_progress(&p->show, &s);
}

/* What is there, where no file was named. */
static int list_files(const puller *p, const hm_hub_list *l)
{
    char size[24];
    for (size_t i = 0; i < l->n; i++) printf("%12s  %s\n", size_text(l->file[i].size, size), l->file[i].path);
    fflush(stdout);
    fprintf(stderr, "%s, licence %s: himmel pull %s/FILE or /FOLDER gets one of them\n", l->repo, l->licence, l->repo);
    (void)p;
    return EXIT_DONE;
}

/* Where file i goes: named with -o; else under its own name, in its own folder where a whole folder was named. */
static bool place(const puller *p, const hm_hub_list *l, size_t i, char *out, size_t cap)
{
    const char *path = l->file[i].path;
    size_t from = strlen(path);
    if (strcmp(path, l->wanted)) from = *l->wanted ? strlen(l->wanted) : from;
    while (from && path[from - 1] != '/') from--;
    const int n = p->output ? snprintf(out, cap, "%s", p->output) : snprintf(out, cap, "%s%s%s", p->folder ? p->folder : "", p->folder ? "/" : "", path + from);
    return n > 0 && (size_t)n < cap;
}

static void make_folders(const char *path)
{
    char dir[CLI_MAX_PATH];
    for (const char *s = strchr(path + 1, '/'); s; s = strchr(s + 1, '/')) {
        snprintf(dir, sizeof dir, "%.*s", (int)(s - path), path);
        mkdir(dir, 0777); /* what cannot be made is said when the file is opened */
    }
}

static bool agreed(const puller *p, const hm_hub_list *l)
{
    char size[24], to[CLI_MAX_PATH], line[16];
    uint64_t all = 0;
    for (size_t i = 0; i < l->n; i++) {
        all += l->file[i].size;
        if (!p->a.quiet && place(p, l, i, to, sizeof to)) fprintf(stderr, "%s -> %s, %s\n", l->file[i].path, to, size_text(l->file[i].size, size));
    }
    if (!p->a.quiet) fprintf(stderr, "%s, %s in all, licence: %s\n", *l->repo ? l->repo : l->url, size_text(all, size), l->licence);
    if (p->yes) return true;
    if (!isatty(fileno(stdin))) {
        fprintf(stderr, "himmel: nobody can be asked here: --yes agrees\n");
        return false;
    }
    fprintf(stderr, "Get it? [y/N] ");
    return fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static himmel_status fetch(puller *p, const hm_hub_list *l, size_t i, himmel_error *err)
{
    char to[CLI_MAX_PATH], size[24];
    bool had;
    if (!place(p, l, i, to, sizeof to)) return hm_fail(err, HIMMEL_EINVAL, "%.100s: path is too long", l->file[i].path);
    make_folders(to);
    p->start = 0;
    const himmel_status rc = hm_hub_fetch(&p->hub, l, i, to, &had, err);
    show_line_end(&p->show);
    if (rc) return rc;
    const hm_hub_file *f = &l->file[i];
    if (p->a.json) {
        printf("{\"event\":\"done\",\"output\":");
        cli_json_string(stdout, to);
        printf(",\"sha256\":\"%s\",\"git_sha1\":\"%s\",\"there\":%s}\n", f->sha256, f->git_sha1, had ? "true" : "false");
    } else if (!p->a.quiet) {
        fprintf(stderr, "%s: %s, %s is right%s\n", to, size_text(f->size, size), *f->sha256 ? "SHA-256" : "git's hash", had ? "; it was there already" : "");
    }
    return HIMMEL_OK;
}

static int run(puller *p)
{
    himmel_error err = {0};
    hm_hub_list l;
    himmel_status rc = hm_hub_look(&l, &p->hub, p->name, &err);
    int code = EXIT_DONE;
    if (!rc && p->output && l.n > 1) rc = hm_fail(&err, HIMMEL_EINVAL, "%s: %zu files cannot all become %s: --dir names a folder", p->name, l.n, p->output);
    if (!rc && !*l.wanted && !*l.url) code = list_files(p, &l);
    else if (!rc && !agreed(p, &l)) code = EXIT_USAGE;
    else
        for (size_t i = 0; !rc && i < l.n; i++) rc = fetch(p, &l, i, &err);
    hm_hub_free(&l);
    if (!rc) return code;
    show_error(p->a.json, &err);
    return rc == HIMMEL_ECANCELLED && stop_asked() ? stop_exit_code() : rc == HIMMEL_EINVAL ? EXIT_USAGE : EXIT_FAILED;
}

int cmd_pull(int argc, char **argv, const cli_env *env)
{
    puller p = {.hub = {.endpoint = env->hub && *env->hub ? env->hub : "https://huggingface.co", .token = env->hub_token}};
    char endpoint[512];
    for (int i = 0; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return cmd_help(1, (char *[]){(char *)"pull"});
    if (!read_line(&p, argc, argv)) return EXIT_USAGE;
    size_t n = strlen(p.hub.endpoint);
    while (n && p.hub.endpoint[n - 1] == '/') n--; /* http://host/ is http://host */
    snprintf(endpoint, sizeof endpoint, "%.*s", (int)n, p.hub.endpoint);
    p.hub.endpoint = endpoint;
    p.hub.on_bytes = on_bytes, p.hub.user = &p;
    show_init(&p.show, &p.a);
    return run(&p);
}
