/* cli.h - the parts of the program himmel; all goes through himmel.h.   SPDX-License-Identifier: MIT */
#ifndef HM_CLI_H
#define HM_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "himmel.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* What the environment says, read in main only. */
typedef struct {
    const char *model; /* HIMMEL_MODEL */
    const char *identity; /* HIMMEL_IDENTITY_DIR, else $XDG_CONFIG_HOME/himmel, else NULL */
    const char *time_server; /* HIMMEL_TIME_SERVER, else NULL */
    const char *cache; /* $XDG_CACHE_HOME/himmel, else ~/.cache/himmel, else NULL */
    const char *hub, *hub_token; /* HF_ENDPOINT, HF_TOKEN, else NULL */
} cli_env;

/* ---- main.c ---- */
bool stop_asked(void);   /* Ctrl-C or a friendly kill since the start */
int stop_exit_code(void); /* 128 + signal */

/* ---- args.c ---- */
typedef struct {
    himmel_request req;
    const char *model;
    char *prompt;        /* malloc'ed, the positional words */
    long threads, n;     /* threads -1: not said */
    long max_memory_mib; /* 0: not said */
    const char *with[7]; /* further files of a released model */
    int n_with;
    himmel_lora lora[8]; /* path: malloc'ed where a strength stands behind it, see lora_path */
    char *lora_path[8];
    int n_loras;
    const char *precision; /* NULL: not said */
    bool has_size, has_seconds, has_fps, has_steps, has_guidance; /* said, not the default */
    bool has_seed, expand, preview, json, verbose, quiet, help, version, plan_only, no_cache;
} cli_args;
/* Reads argv; a wrong option is a sentence on stderr and false. */
bool args_parse(cli_args *a, himmel_kind kind, int argc, char **argv);
/* What another command adds: its options (asked first) and words that are not the prompt. */
typedef struct {
    void *user;
    /* value: what stands behind "=", else the next argument (NULL: none). 0: not mine, 1: taken, 2: taken with the next
     * argument, -1: wrong, and said why. */
    int (*option)(void *user, const char *name, const char *value);
    bool (*word)(void *user, const char *word); /* true: taken, not part of the prompt */
} cli_more;
bool args_parse_more(cli_args *a, himmel_kind kind, int argc, char **argv, const cli_more *more);
bool args_wrong(const char *option, const char *value, const char *wants); /* a sentence on stderr; false */
bool args_double(const char *s, double *out);
void args_free(cli_args *a);

/* ---- show.c ---- */
typedef struct {
    bool json, tty, quiet, preview;
    FILE *out;          /* of progress: stderr, of events: stdout */
    double last;        /* seconds, of the last line */
    char phase[32];
    long tenth;
    int preview_rows;   /* rows of the picture on the screen, 0 = none */
    bool bar;           /* a bar stands on the line */
} shower;
void show_init(shower *s, const cli_args *a);
int show_progress(void *user, const himmel_progress *p); /* a himmel_progress_fn for a shower, and so on */
int show_preview(void *user, const himmel_picture *pic);
void show_line_end(shower *s);                            /* leave the bar's line */
void cli_json_string(FILE *f, const char *s);
void show_error(bool json, const himmel_error *err);
double clock_seconds(void);

/* ---- make.c ---- */
enum { CLI_MAX_PATH = 4096 };
/* film.mp4 -> film-3.mp4; plain, or the first free plain-2 ... */
bool make_numbered(char *out, size_t cap, const char *path, long i);
void make_free_name(char *out, size_t cap, const char *plain);
uint64_t make_seed(void);
void make_done(const cli_args *a, const himmel_result *r, double seconds, double peak);
void make_tell_unknown(const cli_args *a, const char *prompt);
himmel_options make_options(const cli_args *a, const cli_env *env);
himmel_status make_open(himmel_ctx **ctx, const cli_args *a, const cli_env *env, himmel_error *err);
/* Steps, guidance and negative prompt that were not said become those the open model likes. */
void make_fill_in(cli_args *a, const himmel_request *likes);
bool make_is_own(himmel_ctx *ctx); /* himmel-1 is open, no released model */

/* ---- subcommands: exit codes ---- */
int cmd_make(himmel_kind kind, int argc, char **argv, const cli_env *env);
bool is_edit(const char *name);
int cmd_edit(const char *name, int argc, char **argv, const cli_env *env);
int cmd_edit_help(const char *name);
int cmd_info(int argc, char **argv, const cli_env *env);
int cmd_job(const char *name, int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_pull(int argc, char **argv, const cli_env *env);
int cmd_verify(int argc, char **argv, const cli_env *env);
int cmd_identity(int argc, char **argv, const cli_env *env);
int cmd_serve(int argc, char **argv, const cli_env *env);
int cmd_keys(int argc, char **argv);
int cmd_webhooks(int argc, char **argv);
int cmd_help(int argc, char **argv);

#endif
