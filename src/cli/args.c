/* args.c - options of film and image.   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

typedef enum {
    O_OUTPUT,
    O_SIZE,
    O_SECONDS,
    O_FPS,
    O_SEED,
    O_STEPS,
    O_GUIDANCE,
    O_STEP_CACHE,
    O_CRF,
    O_QUALITY,
    O_NEGATIVE,
    O_N,
    O_MODEL,
    O_WITH,
    O_LORA,
    O_PRECISION,
    O_THREADS,
    O_MAX_MEMORY,
    O_EXPAND,
    O_PREVIEW,
    O_JSON,
    O_VERBOSE,
    O_QUIET,
    O_NO_MARK,
    O_SIGN_PROMPT,
    O_MINING,
    O_SOUND,
    O_PLAN,
    O_NO_CACHE,
    O_RESUME,
    O_HELP,
    O_VERSION
} option_id;

static const struct {
    const char *name;
    char letter;
    option_id id;
    bool takes;
} options[] = {{"output", 'o', O_OUTPUT, true},
               {"size", 's', O_SIZE, true},
               {"seconds", 0, O_SECONDS, true},
               {"fps", 0, O_FPS, true},
               {"seed", 0, O_SEED, true},
               {"steps", 0, O_STEPS, true},
               {"guidance", 0, O_GUIDANCE, true},
               {"step-cache", 0, O_STEP_CACHE, true},
               {"crf", 0, O_CRF, true},
               {"quality", 0, O_QUALITY, true},
               {"negative", 0, O_NEGATIVE, true},
               {"variations", 'n', O_N, true},
               {"model", 'm', O_MODEL, true},
               {"with", 'w', O_WITH, true},
               {"lora", 0, O_LORA, true},
               {"precision", 0, O_PRECISION, true},
               {"threads", 't', O_THREADS, true},
               {"max-memory", 0, O_MAX_MEMORY, true},
               {"expand", 0, O_EXPAND, false},
               {"preview", 0, O_PREVIEW, false},
               {"json", 0, O_JSON, false},
               {"verbose", 'v', O_VERBOSE, false},
               {"quiet", 'q', O_QUIET, false},
               {"no-visible-mark", 0, O_NO_MARK, false},
               {"sign-prompt", 0, O_SIGN_PROMPT, false},
               {"mining", 0, O_MINING, true},
               {"sound", 0, O_SOUND, false},
               {"plan", 0, O_PLAN, false},
               {"no-cache", 0, O_NO_CACHE, false},
               {"resume", 0, O_RESUME, true},
               {"help", 'h', O_HELP, false},
               {"version", 0, O_VERSION, false}};
enum { N_OPTIONS = sizeof options / sizeof *options };

/* What is wrong, as every sentence of this file: on stderr, and false. */
bool args_wrong(const char *option, const char *value, const char *wants)
{
    fprintf(stderr, "himmel: --%s %.80s: %s\n", option, value, wants);
    return false;
}

static bool to_long(const char *s, long lo, long hi, long *out)
{
    char *end;
    errno = 0;
    const long v = strtol(s, &end, 10);
    if (errno || end == s || *end || v < lo || v > hi) return false;
    *out = v;
    return true;
}

bool args_double(const char *s, double *out)
{
    char *end;
    *out = strtod(s, &end);
    return end != s && !*end && isfinite(*out);
}

static bool to_size(const char *s, int *w, int *h)
{
    static const struct { const char *name; int w, h; } names[] = {
        {"1080p", 1920, 1080}, {"720p", 1280, 720}, {"480p", 854, 480}, {"360p", 640, 360}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(s, names[i].name)) {
            *w = names[i].w, *h = names[i].h;
            return true;
        }
    char a[12], b[12];
    long x, y;
    if (sscanf(s, "%11[0-9]x%11[0-9]", a, b) != 2 || strlen(a) + strlen(b) + 1 != strlen(s)) return false;
    if (!to_long(a, 0, 1000000, &x) || !to_long(b, 0, 1000000, &y)) return false;
    *w = (int)x, *h = (int)y;
    return true;
}

/* "24", "30000/1001", "12.5", and the television rates as people write them: 23.976 is 24000/1001. */
static bool to_fps(const char *s, int *num, int *den)
{
    char a[12], b[12];
    long x, y;
    if (strchr(s, '/')) {
        if (sscanf(s, "%11[0-9]/%11[0-9]", a, b) != 2 || strlen(a) + strlen(b) + 1 != strlen(s)) return false;
        if (!to_long(a, 0, 100000000, &x) || !to_long(b, 1, 1000000, &y)) return false;
        *num = (int)x, *den = (int)y;
        return true;
    }
    double v;
    if (!args_double(s, &v) || fabs(v) > 1e6) return false;
    const double tv = v * 1001 / 1000;
    if (fabs(v - round(v)) > 1e-9 && fabs(tv - round(tv)) < 0.002) {
        *num = (int)lround(tv) * 1000, *den = 1001;
        return true;
    }
    *num = (int)lround(v * 1000), *den = 1000;
    for (int k = 2; k <= 5; k += 3)
        while (*num % k == 0 && *den % k == 0) *num /= k, *den /= k;
    return true;
}

static bool to_seed(const char *s, uint64_t *out)
{
    char *end;
    errno = 0;
    const unsigned long long v = strtoull(s, &end, 10);
    if (errno || end == s || *end || strchr(s, '-')) return false;
    *out = v;
    return true;
}

static bool take_number(cli_args *a, option_id id, const char *name, const char *v)
{
    himmel_request *r = &a->req;
    long l;
    switch (id) {
    case O_SIZE:
        a->has_size = true;
        return to_size(v, &r->width, &r->height) ||
               args_wrong(name, v, "wants WIDTHxHEIGHT, for example 1920x1080");
    case O_SECONDS:
        a->has_seconds = true;
        return args_double(v, &r->seconds) || args_wrong(name, v, "wants a number, 1 to 60");
    case O_FPS:
        a->has_fps = true;
        return to_fps(v, &r->fps_num, &r->fps_den) ||
               args_wrong(name, v, "wants frames a second, for example 24 or 30000/1001");
    case O_SEED:
        a->has_seed = true;
        return to_seed(v, &r->seed) || args_wrong(name, v, "wants a whole number from 0 to 18446744073709551615");
    case O_STEPS:
        if (!to_long(v, INT_MIN, INT_MAX, &l)) return args_wrong(name, v, "wants a whole number, 1 to 200");
        r->steps = (int)l;
        a->has_steps = true;
        return true;
    case O_GUIDANCE:
        a->has_guidance = true;
        return args_double(v, &r->guidance) || args_wrong(name, v, "wants a number, 1 to 20");
    case O_STEP_CACHE: return args_double(v, &r->step_cache) || args_wrong(name, v, "wants a number, 0 to 1");
    case O_CRF:
        if (!to_long(v, INT_MIN, INT_MAX, &l)) return args_wrong(name, v, "wants a whole number, 1 to 40");
        r->crf = (int)l;
        return true;
    case O_QUALITY:
        if (!to_long(v, INT_MIN, INT_MAX, &l)) return args_wrong(name, v, "wants a whole number, 1 to 100");
        r->quality = (int)l;
        return true;
    case O_N:
        return to_long(v, 1, 1000, &a->n) || args_wrong(name, v, "wants a whole number, 1 to 1000");
    case O_MAX_MEMORY:
        return to_long(v, 1, 1 << 30, &a->max_memory_mib) || args_wrong(name, v, "wants a whole number of MiB");
    default:
        return to_long(v, 1, 1024, &a->threads) || args_wrong(name, v, "wants a whole number, 1 to 1024");
    }
}

/* "FILE" or "FILE:STRENGTH"; a file may have a colon in its own name. */
static bool take_lora(cli_args *a, const char *name, const char *v)
{
    enum { MOST = sizeof a->lora / sizeof *a->lora };
    if (a->n_loras == MOST) return args_wrong(name, v, "is one file too many (8)");
    himmel_lora *l = &a->lora[a->n_loras];
    const char *colon = strrchr(v, ':');
    *l = (himmel_lora){v, 1};
    if (colon && access(v, F_OK)) {
        if (!args_double(colon + 1, &l->strength)) return args_wrong(name, v, "wants FILE or FILE:STRENGTH, for example style.safetensors:0.8");
        char *path = a->lora_path[a->n_loras] = strdup(v);
        if (!path) return false;
        path[colon - v] = 0;
        l->path = path;
    }
    a->n_loras++;
    return true;
}

static bool take(cli_args *a, option_id id, const char *name, const char *v)
{
    switch (id) {
    case O_OUTPUT: a->req.output = v; return true;
    case O_NEGATIVE: a->req.negative = v; return true;
    case O_MODEL: a->model = v; return true;
    case O_WITH:
        if (a->n_with == (int)(sizeof a->with / sizeof *a->with)) return args_wrong(name, v, "is one file too many (7)");
        a->with[a->n_with++] = v;
        return true;
    case O_LORA: return take_lora(a, name, v);
    case O_PRECISION:
        a->precision = v;
        return !strcmp(v, "bf16") || !strcmp(v, "int8") || args_wrong(name, v, "wants bf16 or int8");
    case O_EXPAND: a->expand = true; return true;
    case O_PREVIEW: a->preview = true; return true;
    case O_JSON: a->json = true; return true;
    case O_VERBOSE: a->verbose = true; return true;
    case O_QUIET: a->quiet = true; return true;
    case O_NO_MARK: a->req.visible_mark = 0; return true;
    case O_SIGN_PROMPT: a->req.sign_prompt = 1; return true;
    case O_MINING:
        a->req.mining = !strcmp(v, "allowed") ? HIMMEL_MINING_ALLOWED : HIMMEL_MINING_FORBIDDEN;
        return !strcmp(v, "allowed") || !strcmp(v, "forbidden") || args_wrong(name, v, "wants allowed or forbidden");
    case O_SOUND: a->req.sound = 1; return true;
    case O_PLAN: a->plan_only = true; return true;
    case O_RESUME: a->req.keep = v; return true;
    case O_NO_CACHE: a->no_cache = true; return true;
    case O_HELP: a->help = true; return true;
    case O_VERSION: a->version = true; return true;
    default: return take_number(a, id, name, v);
    }
}

/* The option that arg names ("--size", "--size=..", "-o"), -1 if none; *value: what stands behind "=". */
static int find_option(const char *arg, const char **value)
{
    *value = NULL;
    for (int i = 0; i < N_OPTIONS; i++) {
        const size_t n = strlen(options[i].name);
        if (arg[1] == '-' && !strncmp(arg + 2, options[i].name, n) && (!arg[2 + n] || arg[2 + n] == '=')) {
            if (arg[2 + n]) *value = arg + 3 + n;
            return i;
        }
        if (options[i].letter && arg[1] == options[i].letter && !arg[2]) return i;
    }
    return -1;
}

static bool add_word(cli_args *a, const char *word)
{
    const size_t old = a->prompt ? strlen(a->prompt) : 0, n = strlen(word);
    char *p = realloc(a->prompt, old + n + 2);
    if (!p) return false;
    a->prompt = p;
    if (old) p[old] = ' ';
    memcpy(p + old + (old > 0), word, n + 1);
    return true;
}

bool args_parse(cli_args *a, himmel_kind kind, int argc, char **argv)
{
    return args_parse_more(a, kind, argc, argv, NULL);
}

/* The option argv[i]; returns how many arguments it took, 0 if it is wrong. */
static int parse_option(cli_args *a, int argc, char **argv, int i, const cli_more *more)
{
    const char *arg = argv[i], *value = strchr(arg, '=');
    char name[32];
    if (more && arg[1] == '-') {
        snprintf(name, sizeof name, "%.*s", (int)(value ? value - arg - 2 : 31), arg + 2);
        const int n = more->option(more->user, name, value ? value + 1 : i + 1 < argc ? argv[i + 1] : NULL);
        if (n) return n < 0 ? 0 : value ? 1 : n;
    }
    const int k = find_option(arg, &value);
    if (k < 0) {
        fprintf(stderr, "himmel: unknown option %.80s (himmel help lists all)\n", arg);
        return 0;
    }
    if (!options[k].takes && value) return args_wrong(options[k].name, value, "takes no value");
    const bool next = options[k].takes && !value;
    if (next && i + 1 >= argc) {
        fprintf(stderr, "himmel: %s wants a value (himmel help)\n", arg);
        return 0;
    }
    if (next) value = argv[i + 1];
    return take(a, options[k].id, options[k].name, value) ? 1 + next : 0;
}

bool args_parse_more(cli_args *a, himmel_kind kind, int argc, char **argv, const cli_more *more)
{
    *a = (cli_args){.req = himmel_request_default(), .threads = -1, .n = 1};
    a->req.kind = kind;
    if (kind == HIMMEL_IMAGE) a->req.width = 1024, a->req.height = 576;
    if (more) { /* as the first input's, or the command's own */
        a->req.width = a->req.height = a->req.fps_num = 0;
        a->req.seconds = NAN;
    }
    bool words_only = false;
    for (int i = 0; i < argc;) {
        const char *arg = argv[i];
        if (!words_only && !strcmp(arg, "--")) {
            words_only = true;
            i++;
        } else if (words_only || arg[0] != '-' || !arg[1]) {
            if (!(more && more->word(more->user, arg)) && !add_word(a, arg)) return false;
            i++;
        } else {
            const int n = parse_option(a, argc, argv, i, more);
            if (!n) return false;
            i += n;
        }
    }
    a->req.prompt = a->prompt;
    return true;
}

void args_free(cli_args *a)
{
    free(a->prompt);
    a->prompt = NULL;
    for (int i = 0; i < 8; i++) free(a->lora_path[i]), a->lora_path[i] = NULL;
}
