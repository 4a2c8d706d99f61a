/* fuzz_ltx.c - arbitrary bytes as an LTX-Video checkpoint, a part of one, or an upscaler in memory: a sentence or a bound model.
 * SPDX-License-Identifier: MIT */
#include "models/ltx/dit.h"
#include "models/ltx/upsampler.h"
#include "models/ltx/vae.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hm_st *st;
    himmel_error err;
    if (hm_st_parse(&st, data, len, "fuzz", &err)) return 0;
    const char *config = hm_st_meta(st, "config");
    hm_dit_config cfg;
    hm_dit dit;
    hm_vae vae;
    hm_upsampler up;
    if (config && !hm_dit_config_parse(&cfg, config, &err) &&
        !hm_dit_load(&dit, &cfg, st, "model.diffusion_model.", &err))
        hm_dit_deinit(&dit);
    if (config && !hm_vae_load(&vae, st, "vae.", config, &err)) hm_vae_deinit(&vae);
    char prefix[64];
    if (!hm_dit_detect(st, &cfg, prefix, &err) && !hm_dit_load(&dit, &cfg, st, prefix, &err)) hm_dit_deinit(&dit);
    if (hm_vae_claims(st, "") && !hm_vae_load(&vae, st, "", NULL, &err)) hm_vae_deinit(&vae);
    if (config && !hm_upsampler_load(&up, st, config, &err)) hm_upsampler_deinit(&up);
    hm_st_close(st);
    return 0;
}
