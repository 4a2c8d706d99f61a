/* step_cache.h - leaving out passes of a transformer whose answer can be foreseen.   SPDX-License-Identifier: MIT
 *   predicted change = k |x - x'| / |v'|,   k = |v' - v''| / |x' - x''|   (sums of absolute values)
 * where x', v' are input and output of the last computed step and x'', v'' of the one before. Below the threshold the step is
 * not computed: its velocity is x + (v' - x'), the last residual. The first fifth of the steps (2 at least), the last one, and
 * the first two after the model or its guidance changed are always computed.
 * After EasyCache (arXiv 2507.02860); there the change is summed up from step to step, here measured from the computed one. */
#ifndef HM_STEP_CACHE_H
#define HM_STEP_CACHE_H

#include "base/base.h"

typedef struct hm_step_cache hm_step_cache;
/* For `rows` velocities (guidance) of n numbers each, 0 < threshold <= 1. */
himmel_status hm_step_cache_new(hm_step_cache **out, double threshold, int steps, int64_t n, int rows, himmel_error *err);
void hm_step_cache_free(hm_step_cache *c); /* NULL is fine */
/* Can step `step`, from x [n], be left out? what: of the model and its guidance, any other value when they change. c NULL: no. */
bool hm_step_cache_skips(hm_step_cache *c, int step, int what, const float *x);
/* It can: the velocities of n_rows rows that follow each other in v. */
void hm_step_cache_guess(const hm_step_cache *c, const float *x, float *v, int row, int n_rows);
/* It cannot, these were computed from x. Row 0 is the one that the decision looks at. c NULL: nothing happens. */
void hm_step_cache_take(hm_step_cache *c, const float *x, const float *v, int row, int n_rows);

/* What it knows, as numbers, to go on from there. c NULL: none. */
size_t hm_step_cache_numbers(const hm_step_cache *c);
void hm_step_cache_store(const hm_step_cache *c, float *state);
void hm_step_cache_restore(hm_step_cache *c, const float *state);

#endif
