/* lora.h - low-rank changes of a transformer's weights, merged when it is opened.   SPDX-License-Identifier: MIT
 *   W += strength * alpha / rank * up [out,rank] x down [rank,in]; without alpha: alpha = rank. In f32, rounded once for all
 * files together, into the tensor's own type; blocks and fp8 become bf16. Whole differences (.diff, .diff_b) are added too.
 * Names (PATH is the module's in the checkpoint, or what another convention calls it; the part before it is dropped):
 *   PATH.lora_A.weight, lora_B   PATH.lora_down.weight, lora_up, PATH.alpha   lora_unet_PATH with _ for every dot */
#ifndef HM_LORA_H
#define HM_LORA_H

#include "formats/safetensors.h"

enum { HM_MAX_LORAS = 8 };
typedef struct {
    const char *path;
    double strength; /* 1: as trained; negative takes away */
} hm_lora;

/* The name that another convention has for a tensor (both without the checkpoint's prefix); false: none. May be NULL. */
typedef bool hm_lora_alias(char out[256], const char *name);

/* Changes tensors of st below prefix, before anything is bound to them; *bytes (may be NULL) grows by the memory that they
 * take now. EMODEL: names that the model does not have (the first and how many), or sizes that do not fit. */
himmel_status hm_lora_merge(hm_st *st, const char *prefix, hm_lora_alias *alias, const hm_lora *loras, int n, uint64_t *bytes,
                            himmel_error *err);

#endif
