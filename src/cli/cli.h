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
    bool has_seed, expand, preview, json, verbose, quiet, help, version, plan_only;
} cli_args;
/* Reads argv; a wrong option is a sentence on stderr and false. */
bool args_parse(cli_args *a, himmel_kind kind, int argc, char **argv);
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

/* ---- subcommands: exit codes ---- */
int cmd_make(himmel_kind kind, int argc, char **argv, const cli_env *env);
int cmd_info(int argc, char **argv, const cli_env *env);
int cmd_job(const char *name, int argc, char **argv);
int cmd_verify(int argc, char **argv, const cli_env *env);
int cmd_identity(int argc, char **argv, const cli_env *env);
int cmd_serve(int argc, char **argv, const cli_env *env);
int cmd_keys(int argc, char **argv);
int cmd_help(int argc, char **argv);

#endif
