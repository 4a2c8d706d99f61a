/* int8.h - int8 copies of the linear layers in a transformer's blocks (8 bits a weight, activations rounded as they come).
 * SPDX-License-Identifier: MIT
 * Functions for hm_wan_params and hm_dit_params: named for every tensor that is [O,I], called ...blocks.N....weight; embeddings and the
 * last layer stay as they are. The copies hang on the tensors (hm_tensor.int8). */
#ifndef HM_INT8_H
#define HM_INT8_H

#include "tensor/tensor.h"

typedef struct {
    uint64_t bytes, in_place_of; /* of the copies, and of the weights that are not read any more */
} hm_int8_sum;
/* Has the tensor an int8 copy, or may it be stored as int8? */
bool hm_int8_takes(const char *name, int nd);
/* user: hm_int8_sum, which grows. Shapes only: enough to plan with. */
himmel_status hm_int8_add(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot, himmel_error *err);
/* user: hm_graph. The numbers of what was added. */
himmel_status hm_int8_fill(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot, himmel_error *err);
/* Frees what was added; user NULL. */
himmel_status hm_int8_drop(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot, himmel_error *err);

#endif
