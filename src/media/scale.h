/* scale.h - any RGB picture to a frame of any size: Lanczos, matrix, dither.   SPDX-License-Identifier: MIT
 * Ours instead of swscale: it goes from the refiner's bf16 to dithered 8 bit in one pass without rounding
 * in between, on all threads, and gives the same bytes whatever library version is installed. */
#ifndef HM_SCALE_H
#define HM_SCALE_H

#include "base/base.h"

/* U8: 0..255, the others 0..1; values outside are clamped. */
typedef enum { HM_PIX_U8, HM_PIX_BF16, HM_PIX_F32 } hm_pix;
typedef enum { HM_FRAME_RGB8, HM_FRAME_YUV420 } hm_frame_kind;

/* 8-bit picture. RGB8: plane[0] interleaved. YUV420: bt.709, limited range, chroma sited left (MPEG-2), w and
 * h even. */
typedef struct {
    hm_frame_kind kind;
    int w, h;
    uint8_t *plane[3];
    int stride[3]; /* bytes */
} hm_frame;

typedef struct {
    int src_w, src_h;  /* the picture given */
    double x, y, w, h; /* the part of it that fills the frame, in its pixels; w = 0: all of it */
    int out_w, out_h;
    hm_frame_kind kind;
    int n_threads;     /* 0 = all */
} hm_scale_opts;

typedef struct hm_scaler hm_scaler; /* weights for one geometry, and work space: one caller at a time */
himmel_status hm_scaler_new(hm_scaler **out, const hm_scale_opts *opts, himmel_error *err);
void hm_scaler_free(hm_scaler *s); /* NULL is fine */
/* src [src_h][src_w][3] of type t -> out, of the scaler's kind and size. Same bytes for any number of
 * threads. */
void hm_scale(hm_scaler *s, const void *src, hm_pix t, const hm_frame *out);

/* Blend a premultiplied RGBA float tile [h][w][4] over the frame at (x, y); parts outside are cut; w, h, x, y
 * even for YUV420, where chroma gets the mean of its pixels. */
void hm_frame_blend(const hm_frame *f, const float *tile, int x, int y, int w, int h);

#endif
