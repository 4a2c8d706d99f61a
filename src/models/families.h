/* families.h - one line a family of released models; model.c lists them.   SPDX-License-Identifier: MIT */
#ifndef HM_FAMILIES_H
#define HM_FAMILIES_H

#include "models/model.h"

extern const hm_model_ops hm_ltx_ops, hm_wan_ops;

#endif
