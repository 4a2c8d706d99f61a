/* convert.c - himmel convert: weights as bf16, int8, q8_0, f16 or f32.   SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli/cli.h"

static const char usage[] = "himmel convert IN OUT.safetensors|OUT.gguf --to bf16|int8|q8_0|f16|f32    weights in another number format (himmel help convert)";

int cmd_convert(int argc, char **argv)
{
    cli_args a = {0};
    const char *word[2] = {NULL, NULL}, *to = NULL;
    int n = 0;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "--to=", 5)) to = argv[i] + 5;
        else if (!strcmp(argv[i], "--to") && i + 1 < argc) to = argv[++i];
        else if (!strcmp(argv[i], "--json")) a.json = true;
        else if (!strcmp(argv[i], "-q") || !strcmp(argv[i], "--quiet")) a.quiet = true;
        else if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) return cmd_help(1, (char *[]){(char *)"convert"});
        else if (argv[i][0] == '-' || n == 2) {
            fprintf(stderr, "himmel: %.80s: %s\n", argv[i], usage);
            return EXIT_USAGE;
        } else word[n++] = argv[i];
    }
    if (n < 2 || !to) {
        fprintf(stderr, "himmel: %s\n", usage);
        return EXIT_USAGE;
    }
    shower s;
    himmel_converted c;
    himmel_error err = {0};
    show_init(&s, &a);
    const himmel_status rc = himmel_convert(word[0], word[1], to, show_progress, &s, &c, &err);
    show_line_end(&s);
    if (rc) {
        show_error(a.json, &err);
        return rc == HIMMEL_ECANCELLED && stop_asked() ? stop_exit_code() : rc == HIMMEL_EINVAL ? EXIT_USAGE : EXIT_FAILED;
    }
    if (a.json) {
        printf("{\"event\":\"done\",\"output\":");
        cli_json_string(stdout, word[1]);
        printf(",\"tensors\":%zu,\"converted\":%zu,\"bytes\":%llu,\"sha256\":\"%s\"}\n", c.n_tensors, c.n_converted, (unsigned long long)c.file_bytes, c.sha256);
    } else {
        printf("%s  %s\n", c.sha256, word[1]);
        if (!a.quiet) fprintf(stderr, "%zu of %zu tensors converted to %s, %.1f MiB\n", c.n_converted, c.n_tensors, to, (double)c.file_bytes / (1 << 20));
    }
    return EXIT_DONE;
}
