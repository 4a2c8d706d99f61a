/* kept.h - where a sampler leaves its state after each step, so that it can go on from there.   SPDX-License-Identifier: MIT */
#ifndef HM_KEPT_H
#define HM_KEPT_H

#include "base/base.h"

typedef struct {
    void *user;
    uint8_t words[32]; /* a hash of what the words became, set by the model: part of what the state belongs to */
    /* The state [n] that was left by this run of the sampler: returns its step, 0: there is none, state is untouched. */
    int (*load)(void *user, const uint8_t words[32], int n_steps, float *state, size_t n);
    void (*save)(void *user, const uint8_t words[32], int step, bool last, const float *state, size_t n);
    void (*end)(void *user); /* of this run; the next one of the job has a state of its own */
} hm_kept;

#endif
