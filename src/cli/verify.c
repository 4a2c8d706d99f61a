/* verify.c - himmel verify FILE...: what do these files say about themselves?   SPDX-License-Identifier: MIT
 * Exit code: 0 every file has valid Content Credentials, 1 a file's marks are broken, disagree, or it cannot be read,
 * 2 wrong usage, 3 nothing is broken but a file carries no mark at all, 4 as 3, but it carries the watermark. */
#include <jansson.h>
#include <string.h>

#include "cli/cli.h"

enum { EXIT_UNMARKED = 3, EXIT_UNSIGNED = 4 };

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "?";
}

static void show_model(const json_t *c)
{
    const json_t *g = json_object_get(json_object_get(c, "assertions"), "org.himmel.generation");
    const json_t *m = json_object_get(g, "model");
    if (!g) return;
    printf("  model        %s %s, weights %.16s...\n", text(m, "name"), text(m, "version"), text(m, "sha256"));
    if (json_object_get(g, "prompt")) printf("  prompt       %s\n", text(g, "prompt"));
    if (json_object_get(g, "seed"))
        printf("  seed         %lld\n", (long long)json_integer_value(json_object_get(g, "seed")));
}

static void show_ingredients(const json_t *c)
{
    const json_t *all = json_object_get(c, "ingredients");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *one = json_array_get(all, i);
        printf("  made from    %s (%s%s%s)\n", text(one, "title"), text(one, "relationship"),
               json_object_get(one, "state") ? ", credentials " : "",
               json_object_get(one, "state") ? text(one, "state") : "");
    }
}

static void show_credentials(const json_t *c)
{
    const json_t *g = json_object_get(c, "claim_generator");
    const bool broken = !strcmp(text(c, "state"), "broken");
    size_t i;
    json_t *one;
    const json_t *checks = json_object_get(c, "checks");
    if (!strcmp(text(c, "state"), "none")) {
        printf("  credentials  none\n");
        return;
    }
    printf("  credentials  %s%s\n", text(c, "state"),
           broken                                         ? ""
           : json_is_true(json_object_get(c, "trusted")) ? ", signed by somebody you trust"
                                                          : ", but the signer is nobody you trust");
    for (i = 0; (one = json_array_get(checks, i)); i++) {
        if (!json_is_true(json_object_get(one, "ok")) && !json_object_get(one, "known"))
            printf("    %s: %s (%s)\n", text(one, "code"), text(one, "text"), text(one, "where"));
    }
    if (json_object_get(c, "signer"))
        printf("  signed by    %s, %s, certificate until %.10s\n", text(c, "signer"), text(c, "algorithm"),
               text(c, "valid_until"));
    if (json_object_get(c, "time_stamp"))
        printf("  signed at    %s, stamped by somebody you %s\n", text(c, "time_stamp"),
               json_is_true(json_object_get(c, "time_stamp_trusted")) ? "trust" : "do not know");
    if (json_is_object(g))
        printf("  made with    %s %s\n", text(g, "name"), json_object_get(g, "version") ? text(g, "version") : "");
    else if (json_is_string(g)) printf("  made with    %s\n", json_string_value(g));
    for (i = 0; (one = json_array_get(json_object_get(c, "actions"), i)); i++) {
        const char *type = json_string_value(json_object_get(one, "source_type"));
        const char *slash = type ? strrchr(type, '/') : NULL;
        printf("  action       %s%s%s\n", text(one, "action"), type ? ", source type " : "",
               slash ? slash + 1 : type ? type : "");
    }
    show_model(c);
    show_ingredients(c);
    if (json_object_get(c, "bytes_covered"))
        printf("  covers       %lld of %lld bytes\n",
               (long long)json_integer_value(json_object_get(c, "bytes_covered")),
               (long long)json_integer_value(json_object_get(c, "bytes")));
}

static void show_watermark(const json_t *w)
{
    const json_t *one, *list = json_object_get(w, "findings");
    if (!json_array_size(list))
        printf("  watermark    %s%s%s\n", text(w, "state"), json_object_get(w, "reason") ? ": " : "",
               json_object_get(w, "reason") ? text(w, "reason") : "");
    for (size_t i = 0; (one = json_array_get(list, i)); i++) {
        const double from = json_number_value(json_object_get(one, "from")), to = json_number_value(json_object_get(one, "to"));
        const bool named = json_is_string(json_object_get(one, "named_by"));
        printf("  watermark    film %s, issuer %s", text(one, "film_id"), text(one, "issuer_id"));
        if (to > 0) printf(", seconds %.1f to %.1f", from, to);
        printf(", %s%s", named ? "named by the signed " : "not named by valid credentials", named ? text(one, "named_by") : "");
        printf(", confidence %.2f\n", json_number_value(json_object_get(one, "confidence")));
    }
    if (json_array_size(list))
        printf("               chance of a false alarm below %.0e\n", json_number_value(json_object_get(w, "false_alarm")));
}

static void show_agreement(const json_t *a)
{
    const json_t *notes = json_object_get(a, "notes");
    printf("  agreement    %s\n", text(a, "state"));
    for (size_t i = 0; i < json_array_size(notes); i++) printf("    %s\n", json_string_value(json_array_get(notes, i)));
}

static void show_verdict(const char *path, const himmel_verdict *v)
{
    json_t *all = json_loads(v->json, 0, NULL);
    printf("%s\n", path);
    show_credentials(json_object_get(all, "credentials"));
    printf("  visible mark %s\n", text(json_object_get(all, "visible_mark"), "state"));
    show_watermark(json_object_get(all, "watermark"));
    show_agreement(json_object_get(all, "agreement"));
    json_decref(all);
}

static int exit_code(const himmel_verdict *v)
{
    if (v->credentials == HIMMEL_LAYER_BROKEN || v->disagree) return EXIT_FAILED;
    if (v->credentials == HIMMEL_LAYER_FOUND) return EXIT_DONE;
    return v->watermark == HIMMEL_LAYER_FOUND ? EXIT_UNSIGNED : EXIT_UNMARKED;
}

int cmd_verify(int argc, char **argv, const cli_env *env)
{
    bool json = false, words_only = false;
    int code = EXIT_DONE, n = 0;
    for (int i = 0; i < argc; i++) {
        if (!words_only && !strcmp(argv[i], "--json")) json = true;
        else if (!words_only && !strcmp(argv[i], "--")) words_only = true;
        else if (!words_only && argv[i][0] == '-' && argv[i][1]) {
            fprintf(stderr, "himmel: unknown option %.80s (himmel verify FILE... [--json])\n", argv[i]);
            return EXIT_USAGE;
        } else argv[n++] = argv[i];
    }
    if (!n) {
        fprintf(stderr, "himmel: verify wants files: himmel verify FILE... [--json]\n");
        return EXIT_USAGE;
    }
    for (int i = 0; i < n; i++) {
        himmel_verdict v;
        himmel_error err;
        int this_code = EXIT_FAILED;
        if (himmel_verify(argv[i], env->identity, &v, &err)) {
            show_error(json, &err);
        } else {
            if (json) puts(v.json);
            else show_verdict(argv[i], &v);
            this_code = exit_code(&v);
            himmel_verdict_free(&v);
        }
        if (this_code == EXIT_FAILED || !code) code = this_code;
    }
    return code;
}
