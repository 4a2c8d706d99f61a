/* world.h - between world.c (scenes, words; C) and world.cu (pixels; C++ or CUDA).   SPDX-License-Identifier: MIT */
#ifndef TWIN_WORLD_H
#define TWIN_WORLD_H

#include "world/render.h"

/* One picture: its state, the colours of its sky, its renderer. Pointers in state are set where it is drawn. */
typedef struct {
    hm_frame state;
    float lut[3][HM_LUT];
    struct hm_renderer scene;
    hm_view view;
} tw_picture;

#ifdef __cplusplus
extern "C" {
#endif
/* n pictures of w x h pixels -> rgb [n][h][w][3]; CUDA: rgb is device memory. 0, or what went wrong. */
const char *tw_draw(tw_picture *picture, int n, int w, int h, float *rgb);
#ifdef __cplusplus
}
#endif

#endif
