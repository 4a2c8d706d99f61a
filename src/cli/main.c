/* main.c - the program himmel: which subcommand, signals, environment.   SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "server/server.h"

static volatile sig_atomic_t asked; /* the one thing a signal may touch */

static void on_signal(int sig)
{
    asked = sig;
}

bool stop_asked(void)
{
    return asked != 0;
}

int stop_exit_code(void)
{
    return 128 + asked;
}

static void catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    sa.sa_handler = SIG_IGN; /* a full pipe or file is an error that is reported, not a death */
    sigaction(SIGPIPE, &sa, NULL);
    sigaction(SIGXFSZ, &sa, NULL);
}

/* Where the signing identity lives; NULL leaves it to the library. */
static const char *identity_dir(char *out, size_t cap)
{
    const char *dir = getenv("HIMMEL_IDENTITY_DIR"), *config = getenv("XDG_CONFIG_HOME");
    if (dir && *dir) return dir;
    if (!config || !*config) return NULL;
    return (size_t)snprintf(out, cap, "%s/himmel", config) < cap ? out : NULL;
}

/* Where encoded prompts are kept; NULL: nowhere. */
static const char *cache_dir(char *out, size_t cap)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const bool xdg = cache && *cache;
    if (!xdg && (!home || !*home)) return NULL;
    return (size_t)snprintf(out, cap, "%s/%s", xdg ? cache : home, xdg ? "himmel" : ".cache/himmel") < cap ? out : NULL;
}

int main(int argc, char **argv)
{
    cli_env env = {.model = getenv("HIMMEL_MODEL")};
    const char *what = argc > 1 ? argv[1] : "", *isa = getenv("HIMMEL_ISA");
    himmel_error err;
    char config[4096], cache[4096];
    env.identity = identity_dir(config, sizeof config);
    env.cache = cache_dir(cache, sizeof cache);
    env.time_server = getenv("HIMMEL_TIME_SERVER");
    env.hub = getenv("HF_ENDPOINT"), env.hub_token = getenv("HF_TOKEN");
    catch_signals();
    if (isa && *isa && himmel_limit_isa(isa, &err)) {
        show_error(false, &err);
        return EXIT_FAILED;
    }
    if (argc < 2) {
        cmd_help(0, NULL);
        return EXIT_USAGE;
    }
    if (!strcmp(what, "help") || !strcmp(what, "--help") || !strcmp(what, "-h"))
        return cmd_help(argc - 2, argv + 2);
    if (!strcmp(what, "version") || !strcmp(what, "--version")) {
        printf("himmel %s\n", himmel_version());
        return EXIT_DONE;
    }
    if (!strcmp(what, "info")) return cmd_info(argc - 2, argv + 2, &env);
    if (!strcmp(what, "convert")) return cmd_convert(argc - 2, argv + 2);
    if (!strcmp(what, "pull")) return cmd_pull(argc - 2, argv + 2, &env);
    if (!strcmp(what, "verify")) return cmd_verify(argc - 2, argv + 2, &env);
    if (!strcmp(what, "identity")) return cmd_identity(argc - 2, argv + 2, &env);
    if (!strcmp(what, "serve")) return cmd_serve(argc - 2, argv + 2, &env);
    if (!strcmp(what, "read-locked") && argc == 3) return hm_read_locked(argv[2]); /* the server starts it */
    if (!strcmp(what, "keys")) return cmd_keys(argc - 2, argv + 2);
    if (!strcmp(what, "webhooks")) return cmd_webhooks(argc - 2, argv + 2);
    if (!strcmp(what, "film")) return cmd_make(HIMMEL_FILM, argc - 2, argv + 2, &env);
    if (!strcmp(what, "image")) return cmd_make(HIMMEL_IMAGE, argc - 2, argv + 2, &env);
    if (is_edit(what)) return cmd_edit(what, argc - 2, argv + 2, &env);
    if (!strcmp(what, "train") || !strcmp(what, "eval") || !strcmp(what, "world"))
        return cmd_job(what, argc - 2, argv + 2);
    return cmd_make(HIMMEL_FILM, argc - 1, argv + 1, &env);
}
