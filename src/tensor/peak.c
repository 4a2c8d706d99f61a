/* peak.c - the yardstick of "share of peak".   SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "tensor/tensor.h"

double hm_measure_peak(hm_dtype dtype)
{
    enum { N = 2048 };
    const size_t bytes = (size_t)N * N * hm_dtype_size(dtype);
    void *a = calloc(1, bytes), *b = calloc(1, bytes), *c = malloc(bytes);
    double best = 0;
    if (a && b && c) {
        const double start = hm_now();
        for (int i = 0; i < 2 || hm_now() - start < 0.15; i++) { /* the first one sets up */
            const double t0 = hm_now();
            hm_gemm(false, true, N, N, N, 1.0f, dtype, a, b, 0.0f, dtype, c);
            best = HM_MAX(best, 2.0 * N * N * N / (hm_now() - t0));
        }
    }
    free(a);
    free(b);
    free(c);
    return best;
}
