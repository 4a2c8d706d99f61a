/* rng.h - counter-based random numbers (Philox4x32-10, Salmon et al., SC'11): every number is a
 * function of (seed, stream, index), so results depend on no thread and no order.
 * SPDX-License-Identifier: MIT */
#ifndef HM_RNG_H
#define HM_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Four 32-bit numbers for position index of stream in seed. */
void hm_philox(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]);

/* A sequential reader over one stream, for code that draws one thing after the other. */
typedef struct {
    uint64_t seed, stream, index;
    uint32_t buf[4];
    unsigned have;
} hm_rng;
hm_rng hm_rng_at(uint64_t seed, uint64_t stream);
uint32_t hm_rng_u32(hm_rng *r);
uint64_t hm_rng_u64(hm_rng *r);
float hm_rng_float(hm_rng *r);                       /* [0, 1) */
float hm_rng_range(hm_rng *r, float lo, float hi);   /* [lo, hi) */
uint32_t hm_rng_below(hm_rng *r, uint32_t n);        /* 0 .. n-1, n >= 1, unbiased enough (2^-32) */
float hm_rng_normal(hm_rng *r);                      /* N(0,1) */

/* x[i] ~ N(0,1) for i in [0,n): element i depends on (seed, stream, i) only. */
void hm_randn(float *x, size_t n, uint64_t seed, uint64_t stream);

/* A well-mixed 64-bit hash of two numbers, to derive seeds from seeds. */
uint64_t hm_mix(uint64_t a, uint64_t b);

#endif
