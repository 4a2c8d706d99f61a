/* parity.h - one fixture being compared.   SPDX-License-Identifier: MIT */
#ifndef HM_PARITY_H
#define HM_PARITY_H

#include <jansson.h>
#include "formats/safetensors.h"

typedef struct {
    const hm_st *st;
    json_t *cases, *tol; /* himmel.cases and himmel.tol; may be NULL */
    int n;               /* tensors compared */
    double worst;        /* largest distance / tolerance */
    char at[128];        /* where */
} parity;

typedef himmel_status parity_fn(parity *p, himmel_error *err);
parity_fn parity_dit, parity_rope, parity_sched, parity_t5, parity_vae, parity_upsampler, parity_util, parity_pipe, parity_checkpoint;
parity_fn *parity_wan(const char *kind); /* wan.c; NULL: unknown */

/* himmel.tol of a tensor: the one for equal angles, or for angles formed in our own way (ideal); 0 if the
 * file has none. */
double parity_tol(const parity *p, const char *name, bool ideal);
/* got [n] f32 against the stored tensor, counted; tol is absolute. A missing tensor or other size counts as
 * infinitely far. */
double parity_compare(parity *p, const char *name, const float *got, int64_t n, double tol);
/* The same with the n values from `at` on. */
double parity_compare_at(parity *p, const char *name, int64_t at, const float *got, int64_t n, double tol);
/* A distance that the caller measured. */
void parity_note(parity *p, const char *name, double distance, double tol);
/* max |x| of a stored f32 tensor. */
double parity_scale(const parity *p, const char *name);

#endif
