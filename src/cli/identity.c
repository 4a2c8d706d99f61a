/* identity.c - himmel identity new|show|import|trust.   SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli/cli.h"

static int wrong(void)
{
    fprintf(stderr, "himmel: himmel identity show | new [--name NAME] [--algorithm Ed25519|ES256|ES384] [--replace]\n"
                    "        | import KEY-AND-CHAIN.pem [--replace] | trust ROOT.pem\n");
    return EXIT_USAGE;
}

static int failed(const himmel_error *err)
{
    show_error(false, err);
    return EXIT_FAILED;
}

static int show(const cli_env *env)
{
    himmel_identity id;
    himmel_error err;
    if (himmel_identity_show(env->identity, &id, &err)) return failed(&err);
    printf("name         %s\nissued by    %s%s\nalgorithm    %s%s\nvalid until  %s\nfingerprint  %s\n"
           "issuer id    %s\nfolder       %s\n",
           id.name, id.issuer,
           id.self_signed ? " (made here: valid, but trusted by nobody until they take root.pem)" : "", id.algorithm, strcmp(id.algorithm, "Ed25519") ? " (same film, other signature bytes each time)" : "",
           id.valid_until, id.fingerprint, id.issuer_id, id.folder);
    return EXIT_DONE;
}

int cmd_identity(int argc, char **argv, const cli_env *env)
{
    const char *what = argc > 0 ? argv[0] : "show", *name = NULL, *algorithm = NULL, *file = NULL;
    int replace = 0;
    himmel_error err;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--replace")) replace = 1;
        else if (!strcmp(argv[i], "--name") && i + 1 < argc) name = argv[++i];
        else if (!strcmp(argv[i], "--algorithm") && i + 1 < argc) algorithm = argv[++i];
        else if (argv[i][0] != '-' && !file) file = argv[i];
        else return wrong();
    }
    const bool is_new = !strcmp(what, "new"), import = !strcmp(what, "import"), trust = !strcmp(what, "trust");
    if ((import || trust) != (file != NULL) || ((name || algorithm) && !is_new) || (replace && !is_new && !import))
        return wrong();
    if (!strcmp(what, "show")) return show(env);
    if (is_new) return himmel_identity_new(env->identity, name, algorithm, replace, &err) ? failed(&err) : show(env);
    if (import) return himmel_identity_import(env->identity, file, replace, &err) ? failed(&err) : show(env);
    if (!trust) return wrong();
    if (himmel_identity_trust(env->identity, file, &err)) return failed(&err);
    printf("%s is trusted now\n", file);
    return EXIT_DONE;
}
