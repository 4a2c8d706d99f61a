/* params.h - the parameters of a model in training: f32 masters, working copies, gradients, optimiser state.
 * SPDX-License-Identifier: MIT
 * A model's *_params() walk calls hm_params_bind for every slot: the slot gets a working tensor (bf16 or f32)
 * whose .grad is f32. Masters, EMA and moments live here. */
#ifndef HM_PARAMS_H
#define HM_PARAMS_H

#include "formats/safetensors.h"
#include "text/t5.h"

typedef enum { HM_OPT_ADAMW, HM_OPT_MUON, HM_OPT_FROZEN } hm_opt_kind;

typedef struct {
    char name[160];
    hm_tensor work, grad;         /* work.grad == &grad unless frozen */
    float *master, *ema, *m, *v;  /* m: momentum (both), v: second moment (AdamW only, else NULL) */
    size_t n;
    hm_opt_kind kind;
    float lr_scale;               /* multiplies the step size; 1 */
    bool decay;                   /* weight decay applies (matrices) */
} hm_param;

typedef struct {
    hm_param **p; /* stable addresses: slots point at p[i]->work */
    size_t n, cap;
    hm_dtype dtype; /* of the working copies */
    uint64_t seed;  /* of the initial values */
    const hm_st *from; /* start values: tensors of the same name and shape, NULL or absent = fresh */
} hm_params;

/* Parameters with this in their names take part in training and are in its state, but not in what is released. */
#define HM_TRAIN_ONLY "train_only."

void hm_params_init(hm_params *ps, hm_dtype dtype, uint64_t seed, const hm_st *from);
void hm_params_deinit(hm_params *ps);
/* An hm_param_fn; user is the hm_params. Fresh values by name and shape: see params.c. */
himmel_status hm_params_bind(void *user, const char *name, int nd, const int64_t *dim, hm_tensor **slot,
                             himmel_error *err);
/* Scale a parameter's steps; 0 freezes it: no gradient, not restored from a run's state either. Pre-trained parts need this: Muon's
 * steps have a fixed size, however small the gradient, and undo a text encoder within a hundred steps (measured). */
void hm_params_slow(hm_param *p, float lr_scale);
hm_param *hm_params_find(const hm_params *ps, const char *name);
size_t hm_params_count(const hm_params *ps);    /* number of values */
void hm_params_zero_grad(hm_params *ps);
void hm_params_sync(hm_params *ps);             /* masters -> working copies */
/* Working copies from the EMA (true) or the masters (false), for evaluation. */
void hm_params_use_ema(hm_params *ps, bool ema);

/* Released form: EMA (or masters where there is none) as dtype. Buffers live until hm_params_deinit. */
himmel_status hm_params_export(hm_params *ps, hm_st_writer *w, hm_dtype dtype, himmel_error *err);
/* Full state ("<name>", "<name>.ema", ".m", ".v") for an exact resume. */
himmel_status hm_params_save(const hm_params *ps, hm_st_writer *w, himmel_error *err);
himmel_status hm_params_restore(hm_params *ps, const hm_st *st, himmel_error *err);

#endif
