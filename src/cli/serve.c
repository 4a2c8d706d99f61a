/* serve.c - himmel serve, keys, webhooks.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "server/server.h"

static int usage(const char *fmt, const char *what)
{
    fprintf(stderr, fmt, what);
    fprintf(stderr, " (himmel help serve)\n");
    return EXIT_USAGE;
}

static bool whole(const char *s, long lo, long hi, int *out)
{
    char *end;
    const long v = strtol(s, &end, 10);
    if (end == s || *end || v < lo || v > hi) return false;
    *out = (int)v;
    return true;
}

/* An option that takes text or a whole number, 0 if it is neither. */
typedef struct {
    const char *name;
    const char **text;
    int *number;
    long lo, hi;
} option;

/* Reads "--name value" at argv[*i]. False: said on stderr. */
static bool take_option(const option *list, size_t n, int argc, char **argv, int *i)
{
    for (size_t k = 0; k < n; k++) {
        if (strcmp(argv[*i], list[k].name)) continue;
        if (*i + 1 >= argc) return usage("himmel: %.60s wants a value", argv[*i]), false;
        const char *v = argv[++*i];
        if (list[k].text) *list[k].text = v;
        else if (!whole(v, list[k].lo, list[k].hi, list[k].number)) {
            fprintf(stderr, "himmel: %s %.60s: must be a whole number from %ld to %ld\n", list[k].name, v, list[k].lo, list[k].hi);
            return false;
        }
        return true;
    }
    return usage("himmel: unknown option %.80s", argv[*i]), false;
}

static void failed(const himmel_error *err)
{
    fprintf(stderr, "himmel: %s\n", err->message);
}

int cmd_serve(int argc, char **argv, const cli_env *env)
{
    hm_serve_options o = hm_serve_options_default();
    himmel_error err;
    const char *alias = NULL, *origin = NULL;
    o.model = env->model;
    o.identity = env->identity;
    o.time_server = env->time_server;
    o.cache = env->cache;
    const option options[] = {{"--data", &o.data, NULL, 0, 0}, {"--port", NULL, &o.port, 0, 65535}, {"--bind", &o.bind, NULL, 0, 0},
        {"--model", &o.model, NULL, 0, 0}, {"--threads", NULL, &o.threads, 1, 1024}, {"--tls-cert", &o.tls_cert, NULL, 0, 0},
        {"--tls-key", &o.tls_key, NULL, 0, 0}, {"--cors", &o.cors, NULL, 0, 0}, {"--alias", &alias, NULL, 0, 0}, {"--fetch-from", &origin, NULL, 0, 0},
        {"--max-queue", NULL, &o.max_queue, 1, 1000000}, {"--max-upload", NULL, &o.max_upload_mib, 1, 65536},
        {"--max-memory", NULL, &o.max_memory_mib, 1, 1 << 30}, {"--min-free", NULL, &o.min_free_mib, 0, 1 << 30}};
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--behind-proxy")) {
            o.behind_proxy = true;
            continue;
        }
        if (!take_option(options, sizeof options / sizeof *options, argc, argv, &i)) return EXIT_USAGE;
        if (alias) {
            if (o.n_aliases >= (int)(sizeof o.aliases / sizeof *o.aliases)) return usage("himmel: too many times --alias (%s)", alias);
            o.aliases[o.n_aliases++] = alias;
            alias = NULL;
        }
        if (origin) {
            if (o.n_origins >= (int)(sizeof o.origins / sizeof *o.origins)) return usage("himmel: too many times --fetch-from (%s)", origin);
            if (!hm_fetch_is_origin(origin)) return usage("himmel: --fetch-from %.200s: must be as https://example.org or http://127.0.0.1:8000", origin);
            o.origins[o.n_origins++] = origin;
            origin = NULL;
        }
    }
    const himmel_status rc = hm_serve(&o, stop_asked, &err);
    if (!rc) return EXIT_DONE;
    failed(&err);
    return rc == HIMMEL_EINVAL ? EXIT_USAGE : EXIT_FAILED;
}

static int keys_new(int argc, char **argv, const char *data, bool invite)
{
    hm_key_options k = {.create = true, .read = true};
    himmel_error err;
    char key[64];
    int days = 0, uses = 1, key_days = 0;
    const char *scopes = NULL, *folder = data;
    const option options[] = {{"--data", &folder, NULL, 0, 0}, {"--scopes", &scopes, NULL, 0, 0}, {"--days", NULL, &days, 1, 36500},
        {"--max-films", NULL, &k.max_films, 1, 1000000}, {"--max-seconds", NULL, &k.max_seconds, 1, 10000000},
        {"--max-concurrent", NULL, &k.max_concurrent, 1, 100000}, {"--uses", NULL, &uses, 1, 1000000}, {"--key-days", NULL, &key_days, 1, 36500}};
    const size_t n = sizeof options / sizeof *options - (invite ? 0 : 2); /* the last two are invitations' */
    if (argc < 1 || argv[0][0] == '-') return usage("himmel: keys %s wants a name", invite ? "invite" : "new");
    k.name = argv[0];
    for (int i = 1; i < argc; i++)
        if (!take_option(options, n, argc, argv, &i)) return EXIT_USAGE;
    if (scopes) {
        k.create = strstr(scopes, "create"), k.read = strstr(scopes, "read"), k.admin = strstr(scopes, "admin");
        if (!k.create && !k.read && !k.admin) return usage("himmel: --scopes %.60s: a list of create, read, admin", scopes);
    }
    k.days = days;
    if (invite ? hm_key_invite(folder, &k, uses, key_days, key, &err) : hm_key_new(folder, &k, key, &err)) {
        failed(&err);
        return EXIT_FAILED;
    }
    printf("%s\n", key);
    fprintf(stderr, "This is the only time that the %s %s is shown.\n", invite ? "code of" : "key of", k.name);
    return EXIT_DONE;
}

int cmd_keys(int argc, char **argv)
{
    const char *what = argc > 0 ? argv[0] : "", *data = hm_serve_options_default().data, *name = NULL;
    const option options[] = {{"--data", &data, NULL, 0, 0}};
    himmel_error err;
    if (!strcmp(what, "new") || !strcmp(what, "invite")) return keys_new(argc - 1, argv + 1, data, !strcmp(what, "invite"));
    const bool list = !strcmp(what, "list"), log = !strcmp(what, "log");
    if (!list && !log && strcmp(what, "revoke")) return usage("himmel: keys %.30s: new, invite, list, log or revoke", what);
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' && !list && !name) name = argv[i];
        else if (!take_option(options, 1, argc, argv, &i)) return EXIT_USAGE;
    }
    if (!list && !name) return usage("himmel: keys %s wants a name", what);
    if (!(list ? hm_key_list(data, stdout, &err) : log ? hm_key_log(data, name, stdout, &err) : hm_key_revoke(data, name, &err))) return EXIT_DONE;
    failed(&err);
    return EXIT_FAILED;
}

int cmd_webhooks(int argc, char **argv)
{
    const char *what = argc > 0 ? argv[0] : "", *data = hm_serve_options_default().data, *key = NULL, *name = NULL;
    const option options[] = {{"--data", &data, NULL, 0, 0}, {"--key", &key, NULL, 0, 0}};
    himmel_error err;
    char secret[64];
    int id = 0;
    const bool list = !strcmp(what, "list"), add = !strcmp(what, "new");
    if (!list && !add && strcmp(what, "remove")) return usage("himmel: webhooks %.30s: new, list or remove", what);
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' && !list && !name) name = argv[i];
        else if (!take_option(options, add ? 2 : 1, argc, argv, &i)) return EXIT_USAGE;
    }
    if (!list && !name) return usage("himmel: webhooks %s", add ? "new wants an address" : "remove wants a number of the list");
    if (!list && !add && !whole(name, 1, 1L << 30, &id)) return usage("himmel: webhooks remove %.30s: not a number", name);
    if (list ? hm_hook_list(data, stdout, &err) : add ? hm_hook_new(data, name, key, secret, &err) : hm_hook_remove(data, id, &err)) {
        failed(&err);
        return EXIT_FAILED;
    }
    if (add) printf("%s\n", secret);
    return EXIT_DONE;
}
