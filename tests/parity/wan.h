/* wan.h - comparisons of Wan's fixtures.   SPDX-License-Identifier: MIT */
#ifndef HM_PARITY_WAN_H
#define HM_PARITY_WAN_H

#include "models/wan/dit.h"
#include "parity.h"

parity_fn parity_wan_sched, parity_wan_dit, parity_wan_gguf, parity_wan_vae, parity_wan_clip, parity_wan_e2e;

/* The reference's constructor arguments where the shapes do not show them. */
himmel_status wan_configure(const parity *p, hm_wan_config *cfg, himmel_error *err);
/* Case a of the inputs' file through m, compared with p's tensor `as`. */
himmel_status wan_pred(parity *p, const parity *inputs, hm_graph *g, const hm_wan *m, const char *as, himmel_error *err);
/* The file NAME beside p's. */
himmel_status wan_sibling(const parity *p, const char *name, hm_st **out, himmel_error *err);

#endif
