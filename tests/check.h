/* check.h - what every test program needs: CHECKs that count, and a last line that says so.
 * SPDX-License-Identifier: MIT */
#ifndef HM_CHECK_H
#define HM_CHECK_H

#include <math.h>
#include <stdio.h>

static int check_failed, check_passed;

#define CHECK(cond, ...)                                                                                     \
    do {                                                                                                     \
        if (cond) {                                                                                          \
            check_passed++;                                                                                  \
        } else {                                                                                             \
            check_failed++;                                                                                  \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #cond);                                       \
            fprintf(stderr, __VA_ARGS__);                                                                    \
            fputc('\n', stderr);                                                                             \
        }                                                                                                    \
    } while (0)

#define CHECK_NEAR(a, b, tol, ...) CHECK(fabs((double)(a) - (double)(b)) <= (tol), __VA_ARGS__)

/* At the end of main: return CHECK_END(); */
#define CHECK_END() (printf("%d passed, %d failed\n", check_passed, check_failed), check_failed || !check_passed)

#endif
