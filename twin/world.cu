/* world.cu - the renderer's pixels on a GPU: src/world/draw*.c, compiled by nvcc, one thread a pixel.
 * SPDX-License-Identifier: MIT
 * As plain C++ (g++ -x c++) the same file draws on the host: rehearsal, and proof that the sources stay portable. */
#include <stddef.h>
#define HM_SEG_PIXELS 1
#define restrict __restrict__
#include "world.h"
#include "world/draw.c"
#include "world/draw_air.c"
#include "world/draw_city.c"
#include "world/draw_clouds.c"
#include "world/draw_ground.c"
#include "world/draw_sky.c"
#include "world/draw_terrain.c"
#include "world/draw_water.c"
#include "world/draw_weather.c"

#ifdef __CUDACC__
static __global__ void pixels(const tw_picture *picture, int w, int h, float *rgb)
{
    const int at = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    const tw_picture *p = picture + blockIdx.y;
    if (at >= w * h) return;
    hm_draw_pixels(&p->state, &p->view, at % w, at / w, 1, rgb + ((size_t)blockIdx.y * h + at / w) * w * 3);
}

/* The pictures go to the device in one copy, with pointers that hold there. */
const char *tw_draw(tw_picture *picture, int n, int w, int h, float *rgb)
{
    static tw_picture *there; /* kept: allocations are dear */
    static int room;
    cudaError_t e = cudaSuccess;
    if (n > room) {
        cudaFree(there);
        e = cudaMalloc((void **)&there, (size_t)n * sizeof *there);
        room = e == cudaSuccess ? n : 0;
    }
    for (int i = 0; i < n; i++) {
        picture[i].state.R = &there[i].scene;
        picture[i].state.lut = there[i].lut;
    }
    if (e == cudaSuccess) e = cudaMemcpy(there, picture, (size_t)n * sizeof *there, cudaMemcpyHostToDevice);
    for (int i = 0; i < n && e == cudaSuccess; i += 32768) { /* a grid is at most 65535 high */
        const int m = n - i < 32768 ? n - i : 32768;
        pixels<<<dim3((unsigned)((w * h + 127) / 128), (unsigned)m), 128>>>(there + i, w, h, rgb + (size_t)i * w * h * 3);
        e = cudaGetLastError();
    }
    if (e == cudaSuccess) e = cudaDeviceSynchronize();
    return e == cudaSuccess ? NULL : cudaGetErrorString(e);
}
#else
const char *tw_draw(tw_picture *picture, int n, int w, int h, float *rgb)
{
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < n; i++) {
        tw_picture *p = picture + i;
        p->state.R = &p->scene;
        p->state.lut = p->lut;
        for (int at = 0; at < w * h; at++)
            hm_draw_pixels(&p->state, &p->view, at % w, at / w, 1, rgb + ((size_t)i * h + at / w) * w * 3);
    }
    return NULL;
}
#endif
