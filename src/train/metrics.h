/* metrics.h - what is measured on pictures, films and sets of features: plain arithmetic, no model.
 * SPDX-License-Identifier: MIT
 * Pictures are [H][W][3] float in [0,1], films [n][H][W][3]. */
#ifndef HM_METRICS_H
#define HM_METRICS_H

#include "base/base.h"

/* Peak signal to noise, dB, peak 1, n values; 120 at most (equal pictures). Values are clamped to [0,1]
 * first. */
double hm_psnr(const float *a, const float *b, size_t n);
/* Structural similarity of the luminance, Gaussian window of 11 pixels, sigma 1.5, only whole windows,
 * constants for peak 1 (Wang et al. 2004). W and H >= 11. NaN: out of memory. */
double hm_ssim(const float *a, const float *b, int W, int H);

/* Frechet distance of two sets of features a [na][d], b [nb][d] taken as Gaussians: |mean difference|^2 +
 * tr(A + B - 2 (A^1/2 B A^1/2)^1/2) with covariances A, B (over n - 1). NaN: no memory, or features that are
 * not finite. */
double hm_frechet(const float *a, size_t na, const float *b, size_t nb, int d);

/* Sums over films, added up film by film; hm_film_look turns them into figures. */
typedef struct {
    double edge[3], inside[3]; /* |step| to the next pixel or frame: across block edges, elsewhere; x, y, t */
    uint64_t n_edge[3], n_inside[3];
    double start, motion, flicker, gradient;
    uint64_t n_start, n_motion, n_flicker, n_gradient;
} hm_film_sums;
typedef struct {
    double edge[3]; /* mean step across block edges relative to inside: x, y, t (1 = blocks cannot be seen) */
    double start;   /* step from the still to the next frame relative to the other frames' */
    double motion;  /* mean |first difference in time| */
    double flicker; /* mean |second difference in time| */
    double gradient; /* mean squared step to the next pixel (x and y): how sharp */
} hm_film_figures;
/* Film of n frames W x H, of which the first is frame number first; blocks are block pixels wide and HM_FPS
 * frames long, the one-second edges lie between frames 24 j and 24 j + 1, j >= 1. */
void hm_film_add(hm_film_sums *s, const float *film, int n, int W, int H, int first, int block);
void hm_film_merge(hm_film_sums *to, const hm_film_sums *from);
hm_film_figures hm_film_look(const hm_film_sums *s);

/* Median of n values (sorted in place), n >= 1. */
double hm_median(double *x, int n);

/* Picture [H][W][3] averaged over f x f boxes: out [H/f][W/f][3]. */
void hm_box_average(const float *in, int W, int H, int f, float *out);

#endif
