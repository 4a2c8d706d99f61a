/* step_cache.c - see step_cache.h.   SPDX-License-Identifier: MIT */
#include "diffusion/step_cache.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct hm_step_cache {
    double threshold, k;
    int steps, rows, what, n_known; /* computed steps in a row of the same `what`, 2 are enough */
    int64_t n;
    float *x, *v; /* [n], [rows][n] of the last computed step */
};

himmel_status hm_step_cache_new(hm_step_cache **out, double threshold, int steps, int64_t n, int rows, himmel_error *err)
{
    *out = NULL;
    hm_step_cache *c = calloc(1, sizeof *c);
    if (c) *c = (hm_step_cache){.threshold = threshold, .steps = steps, .rows = rows, .n = n, .x = calloc((size_t)(rows + 1) * (size_t)n, sizeof(float))};
    if (!c || !c->x) {
        free(c);
        return hm_fail(err, HIMMEL_ENOMEM, "step cache: out of memory for %lld numbers", (long long)n);
    }
    c->v = c->x + n;
    *out = c;
    return HIMMEL_OK;
}

void hm_step_cache_free(hm_step_cache *c)
{
    if (c) free(c->x);
    free(c);
}

static double distance(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += fabs((double)a[i] - (b ? (double)b[i] : 0));
    return sum;
}

bool hm_step_cache_skips(hm_step_cache *c, int step, int what, const float *x)
{
    if (!c) return false;
    if (c->what != what) c->n_known = 0;
    c->what = what;
    const int first = HM_MAX(2, (c->steps + 4) / 5);
    if (step < first || step >= c->steps - 1 || c->n_known < 2) return false;
    const double change = c->k * distance(x, c->x, c->n) / distance(c->v, NULL, c->n);
    return change < c->threshold; /* not a number: no */
}

void hm_step_cache_guess(const hm_step_cache *c, const float *x, float *v, int row, int n_rows)
{
    for (int r = 0; r < n_rows; r++) {
        const float *last = c->v + (row + r) * c->n;
        float *to = v + r * c->n;
        for (int64_t i = 0; i < c->n; i++) to[i] = last[i] + (x[i] - c->x[i]);
    }
}

void hm_step_cache_take(hm_step_cache *c, const float *x, const float *v, int row, int n_rows)
{
    if (!c) return;
    if (row == 0) {
        if (c->n_known) c->k = distance(v, c->v, c->n) / distance(x, c->x, c->n);
        c->n_known = HM_MIN(c->n_known + 1, 2);
        memcpy(c->x, x, (size_t)c->n * sizeof *x);
    }
    memcpy(c->v + row * c->n, v, (size_t)n_rows * (size_t)c->n * sizeof *v);
}

/* Input and velocities, then k, what and n_known bit by bit: nobody counts with these four. */
size_t hm_step_cache_numbers(const hm_step_cache *c) { return c ? (size_t)(c->rows + 1) * (size_t)c->n + 4 : 0; }

void hm_step_cache_store(const hm_step_cache *c, float *state)
{
    if (!c) return;
    const size_t n = hm_step_cache_numbers(c) - 4;
    memcpy(state, c->x, n * sizeof *state);
    memcpy(state + n, &c->k, sizeof c->k);
    memcpy(state + n + 2, &c->what, sizeof c->what);
    memcpy(state + n + 3, &c->n_known, sizeof c->n_known);
}

void hm_step_cache_restore(hm_step_cache *c, const float *state)
{
    if (!c) return;
    const size_t n = hm_step_cache_numbers(c) - 4;
    memcpy(c->x, state, n * sizeof *state);
    memcpy(&c->k, state + n, sizeof c->k);
    memcpy(&c->what, state + n + 2, sizeof c->what);
    memcpy(&c->n_known, state + n + 3, sizeof c->n_known);
}
