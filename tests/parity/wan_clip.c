/* wan_clip.c - the picture encoder against the original.   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/wan/clip.h"
#include "wan.h"

typedef struct {
    parity *p;
    const char *name;
} clip_case;

static void check(void *user, const char *what, const hm_tensor *t)
{
    const clip_case *c = user;
    char name[64];
    snprintf(name, sizeof name, "out.%s.%s", c->name, what);
    parity_compare(c->p, name, t->data, hm_numel(t), 5e-5 * parity_scale(c->p, name));
}

himmel_status parity_wan_clip(parity *p, himmel_error *err)
{
    static const char *const cases[] = {"a", "b"};
    hm_wan_clip m = {0};
    hm_graph *g = NULL;
    himmel_status rc = hm_wan_clip_load(&m, p->st, 3, err); /* heads of the tiny tower */
    if (!rc) rc = hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32}, err);
    for (size_t i = 0; i < HM_COUNT(cases) && !rc; i++) {
        char name[64];
        snprintf(name, sizeof name, "in.%s.image", cases[i]);
        const hm_tensor *x = hm_st_find(p->st, name);
        if (!x || x->dtype != HM_F32 || x->nd != 3) rc = hm_fail(err, HIMMEL_EFORMAT, "no %s", name);
        if (rc) break;
        clip_case c = {p, cases[i]};
        const int H = (int)x->dim[1], W = (int)x->dim[2], S = m.side * m.patch;
        float *small = malloc((size_t)(3 * S * S) * sizeof *small);
        if (!small) abort();
        hm_wan_bicubic(x->data, 3, H, W, small, S, S);
        snprintf(name, sizeof name, "out.%s.resized", cases[i]);
        parity_compare(p, name, small, 3 * S * S, 1e-5);
        free(small);
        hm_graph_reset(g);
        hm_wan_clip_forward(g, &m, x->data, H, W, check, &c);
    }
    hm_graph_free(g);
    hm_wan_clip_deinit(&m);
    return rc;
}
