/* basis_cmd.c - `himmel train basis`: options, and what was measured in one line.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "train/basis.h"
#include "train/options.h"

himmel_status hm_train_basis_cmd(const hm_job *job, himmel_error *err)
{
    hm_basis_opts o = hm_basis_opts_default();
    const char *out = NULL;
    int64_t K = o.K, n_dct = o.n_dct, clips = o.n_clips, pictures = o.n_stills, test = o.n_test,
            seed = (int64_t)o.seed;
    const hm_option_spec spec[] = {{"out", HM_O_STR, &out, 0, 0},
                                   {"components", HM_O_INT, &K, 16, 1024},
                                   {"dct", HM_O_INT, &n_dct, 64, 7680},
                                   {"clips", HM_O_INT, &clips, 1, 1e5},
                                   {"pictures", HM_O_INT, &pictures, 1, 1e6},
                                   {"test", HM_O_INT, &test, 1, 1e4},
                                   {"seed", HM_O_INT, &seed, 0, 1e15},
                                   {"still-share", HM_O_REAL, &o.still_share, 0, 1},
                                   {"ridge", HM_O_REAL, &o.ridge, 0, 10}};
    himmel_status rc = hm_options_parse("train basis", spec, HM_COUNT(spec), job->opts, job->n_opts, err);
    if (rc) return rc;
    if (!out) return hm_fail(err, HIMMEL_EINVAL, "train basis: --out FILE is needed");
    o.K = (int)K;
    o.n_dct = (int)n_dct;
    o.n_clips = (int)clips;
    o.n_stills = (int)pictures;
    o.n_test = (int)test;
    o.seed = (uint64_t)seed;
    hm_basis_report r = {0};
    rc = hm_train_basis(&o, out, job, &r, err);
    if (rc) return rc;
    char note[320];
    snprintf(note, sizeof note,
             "PSNR pictures %.2f dB, films %.2f dB (floor %.2f); edges x %.3f (footage %.3f), y %.3f (%.3f), "
             "t %.3f (%.3f); start %.3f, "
             "motion %.3f, variance kept %.4f; %.0f s",
             r.psnr_still, r.psnr_clip, r.psnr_floor, r.edge[0], r.edge_true[0], r.edge[1], r.edge_true[1],
             r.edge[2], r.edge_true[2], r.start, r.motion, r.energy, r.seconds);
    hm_job_step(job, "basis", 1, 1, 0, note);
    return HIMMEL_OK;
}
