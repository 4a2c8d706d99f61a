/* main.c - himmel-parity DIR: every fixture in DIR through our code, one line each, a count last.
 * SPDX-License-Identifier: MIT
 * Fixtures hold inputs, weights and outputs of the original PyTorch code; the kind is in their metadata. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "formats/json.h"
#include "parity.h"

double parity_tol(const parity *p, const char *name, bool ideal)
{
    return json_number_value(json_array_get(json_object_get(p->tol, name), ideal ? 4 : 3));
}

double parity_scale(const parity *p, const char *name)
{
    const hm_tensor *t = hm_st_find(p->st, name);
    double m = 0;
    for (int64_t i = 0; t && t->dtype == HM_F32 && i < hm_numel(t); i++)
        m = fmax(m, fabs((double)((const float *)t->data)[i]));
    return m;
}

double parity_compare(parity *p, const char *name, const float *got, int64_t n, double tol)
{
    const hm_tensor *t = hm_st_find(p->st, name);
    return parity_compare_at(p, name, t && hm_numel(t) == n ? 0 : -1, got, n, tol);
}

double parity_compare_at(parity *p, const char *name, int64_t at, const float *got, int64_t n, double tol)
{
    const hm_tensor *t = hm_st_find(p->st, name);
    double d = t && t->dtype == HM_F32 && at >= 0 && hm_numel(t) - at >= n ? 0 : INFINITY;
    for (int64_t i = 0; i < n && d < INFINITY; i++) {
        const double e = fabs((double)got[i] - ((const float *)t->data)[at + i]);
        d = e >= 0 ? fmax(d, e) : INFINITY; /* NaN */
    }
    parity_note(p, name, d, tol);
    return d;
}

void parity_note(parity *p, const char *name, double distance, double tol)
{
    const double share = tol > 0 && distance >= 0 ? distance / tol : INFINITY;
    if (!p->n++ || share > p->worst) {
        p->worst = share;
        snprintf(p->at, sizeof p->at, "%s", name);
    }
}

typedef struct {
    int passed, failed, skipped;
} counts;

static void run(const char *path, const char *name, counts *c)
{
    static const struct {
        const char *kind;
        parity_fn *fn;
    } kinds[] = {{"dit", parity_dit},
                 {"rope", parity_rope},
                 {"sched", parity_sched},
                 {"vae", parity_vae},
                 {"upsampler", parity_upsampler},
                 {"util", parity_util},
                 {"pipe", parity_pipe},
                 {"checkpoint", parity_checkpoint},
                 {"t5", parity_t5}};
    himmel_error err = {0};
    hm_st *st;
    parity p = {0};
    if (hm_st_open(&st, path, &err)) {
        printf("%s: FAIL: %s\n", name, err.message);
        c->failed++;
        return;
    }
    const char *kind = hm_st_meta(st, "himmel.kind"), *tol = hm_st_meta(st, "himmel.tol"),
               *cases = hm_st_meta(st, "himmel.cases");
    const bool ltx = kind != NULL; /* Wan's fixtures have "kind" */
    if (!ltx) kind = hm_st_meta(st, "kind");
    p.st = st;
    if (tol) hm_json_parse(&p.tol, tol, strlen(tol), path, &err);
    if (cases) hm_json_parse(&p.cases, cases, strlen(cases), path, &err);
    parity_fn *fn = NULL;
    for (size_t i = 0; ltx && i < HM_COUNT(kinds); i++)
        if (!strcmp(kind, kinds[i].kind)) fn = kinds[i].fn;
    if (!ltx && kind) fn = parity_wan(kind);
    if (!fn) {
        printf("%s: skipped: %s not built yet\n", name, kind ? kind : "its kind is");
        c->skipped++;
    } else if (fn(&p, &err)) {
        printf("%s: FAIL: %s\n", name, err.message);
        c->failed++;
    } else if (!p.n || !(p.worst <= 1)) {
        printf("%s: FAIL: %d tensors, worst d/tol %.3g at %s\n", name, p.n, p.worst, p.at);
        c->failed++;
    } else {
        printf("%s: ok, %d tensors, worst d/tol %.2f at %s\n", name, p.n, p.worst, p.at);
        c->passed++;
    }
    json_decref(p.tol);
    json_decref(p.cases);
    hm_st_close(st);
}

static int is_fixture(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');
    return dot && !strcmp(dot, ".safetensors");
}

int main(int argc, char **argv)
{
    struct dirent **list;
    himmel_error err = {0};
    const char *isa = getenv("HIMMEL_ISA"); /* baseline, avx2 or avx512: as in himmel */
    if (isa && hm_isa_limit(isa, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 2;
    }
    const int n = argc == 2 ? scandir(argv[1], &list, is_fixture, alphasort) : -1;
    if (n < 0) {
        fprintf(stderr, "usage: himmel-parity DIR (a folder of golden fixtures, e.g. tests/fixtures)\n");
        return 2;
    }
    counts c = {0};
    for (int i = 0; i < n; i++) {
        char path[4096], name[256];
        snprintf(path, sizeof path, "%s/%s", argv[1], list[i]->d_name);
        snprintf(name, sizeof name, "%.*s", (int)(strlen(list[i]->d_name) - strlen(".safetensors")),
                 list[i]->d_name);
        run(path, name, &c);
        fflush(stdout);
        free(list[i]);
    }
    free(list);
    printf("%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped);
    return c.failed || !c.passed;
}
