/* plan.h - what a request costs, before step 0.   SPDX-License-Identifier: MIT */
#ifndef HM_PLAN_H
#define HM_PLAN_H

#include "film/film.h"

/* Beside what is counted: libraries, stacks, the matrix library's scratch. */
#define HM_PROGRAM_BYTES ((uint64_t)120 << 20)

/* himmel_plan without the time: operations, memory, refusal of what cannot fit. */
himmel_status hm_plan_shapes(himmel_ctx *ctx, const himmel_request *req, himmel_plan_info *plan,
                             himmel_error *err);
/* Seconds of the film phase if matrix operations run at so many GFLOPS. */
double hm_plan_film_seconds(const himmel_plan_info *plan, const himmel_request *req, double gflops);

#endif
