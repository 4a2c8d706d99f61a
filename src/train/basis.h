/* basis.h - himmel train basis: the codec's fixed numbers from our own footage, in closed form (recipe.md
 * §4). SPDX-License-Identifier: MIT */
#ifndef HM_BASIS_H
#define HM_BASIS_H

#include "base/base.h"
#include "train/train.h"

/* n frames at 24 fps of the scene of a seed from second t0 on, [n][H][W][3]. Called by several threads at a
 * time. */
typedef himmel_status hm_footage_fn(void *user, uint64_t seed, double t0, int n, int W, int H, float *out,
                                    himmel_error *err);

typedef struct {
    int K, n_dct;          /* 128 components of 2048 DCT values */
    int n_clips, n_stills; /* training windows of 36 frames, and pictures */
    int n_test;            /* held-out films of 2 s and pictures */
    int gw, gh;            /* 16 x 9 blocks */
    uint64_t seed;         /* scenes seed, seed + 1, ...; test scenes from seed + 2^40 */
    double still_share;    /* weight of pictures in the covariance, 0..1 */
    double ridge;          /* of the decoders: variance of the error that coefficients are expected to have */
    hm_footage_fn *footage; /* NULL: the renderer */
    void *user;
} hm_basis_opts;
hm_basis_opts hm_basis_opts_default(void);

typedef struct {
    double psnr_still, psnr_clip; /* dB, decoded against rendered, held-out */
    double psnr_floor;            /* dB of clips with all n_dct values kept */
    double edge[3], edge_true[3]; /* x, y, t: mean step across a block edge relative to inside */
    double start; /* mean step of frames 0..7 relative to the footage's: 1 = no pop when the still fades */
    double motion;                /* energy of frame differences relative to the footage's */
    double energy;                /* share of the variance in the K components */
    double seconds;
} hm_basis_report;

/* Renders, solves, writes the codec.* tensors to path, loads them back and measures. job may be NULL; rep may
 * be NULL. */
himmel_status hm_train_basis(const hm_basis_opts *o, const char *path, const hm_job *job,
                             hm_basis_report *rep, himmel_error *err);

/* ---- basis_solve.c ---- */
/* Eigenvectors of the symmetric a [n][n] (destroyed): d [n] ascending, rows of v [n][n]. False: no
 * convergence, no memory. */
bool hm_eigen(double *a, int n, double *d, double *v);
/* b [n][m] = a^-1 b for the symmetric positive definite a [n][n] (destroyed). False: not positive definite.
 */
bool hm_solve_spd(double *a, int n, double *b, int m);

/* ---- basis_measure.c ---- */
struct hm_codec;
himmel_status hm_basis_measure(const hm_basis_opts *o, const struct hm_codec *c, hm_basis_report *rep,
                               himmel_error *err);
himmel_status hm_basis_footage(const hm_basis_opts *o, uint64_t seed, double t0, int n, float *out,
                               himmel_error *err);

#endif
