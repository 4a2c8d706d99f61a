/* mix.cu - a token's 27 neighbours times a filter a sample and channel (local_mix of himmel1.py), on a GPU.   SPDX-License-Identifier: MIT
 * x, y [B][F][gh][gw][D] bf16, w [B][27][D] f32, D even. Frames below T have neighbours in time, those behind stand alone.
 * A thread owns two channels and walks along rows with the 27 values around its place in registers. */
#include <cuda_bf16.h>

typedef struct { int B, T, F, gh, gw, D; } mix_shape;

/* The column at x of the nine rows around (f, y): zero outside. */
static __device__ void column(float2 v[9], const __nv_bfloat162 *in, mix_shape s, int b, int f, int y, int x, int c)
{
    for (int k = 0; k < 9; k++) {
        const int g = f + k / 3 - 1, r = y + k % 3 - 1;
        const bool has = x >= 0 && x < s.gw && r >= 0 && r < s.gh && (g == f || (f < s.T && g >= 0 && g < s.T));
        v[k] = has ? __bfloat1622float2(in[((((size_t)b * s.F + g) * s.gh + r) * s.gw + x) * (s.D / 2) + c]) : make_float2(0, 0);
    }
}

static __global__ void mix(const __nv_bfloat162 *in, const float2 *w, __nv_bfloat162 *out, mix_shape s, int flip)
{
    const int y = blockIdx.x % s.gh, f = blockIdx.x / s.gh % s.F, b = blockIdx.x / s.gh / s.F, c = threadIdx.x;
    float2 k[27], v[3][9];
    for (int i = 0; i < 27; i++) k[i] = w[((size_t)b * 27 + (flip ? 26 - i : i)) * (s.D / 2) + c];
    column(v[0], in, s, b, f, y, -1, c);
    column(v[1], in, s, b, f, y, 0, c);
    for (int x = 0; x < s.gw; x++) {
        float2 sum = make_float2(0, 0);
        column(v[2], in, s, b, f, y, x + 1, c);
        for (int i = 0; i < 9; i++)
            for (int j = 0; j < 3; j++) {
                sum.x += k[3 * i + j].x * v[j][i].x;
                sum.y += k[3 * i + j].y * v[j][i].y;
            }
        out[((((size_t)b * s.F + f) * s.gh + y) * s.gw + x) * (s.D / 2) + c] = __float22bfloat162_rn(sum);
        for (int i = 0; i < 9; i++) {
            v[0][i] = v[1][i];
            v[1][i] = v[2][i];
        }
    }
}

/* dw += what the rows y0, y0 + step, .. of a frame say. */
static __global__ void mix_filter(const __nv_bfloat162 *in, const __nv_bfloat162 *dout, float2 *dw, mix_shape s, int parts)
{
    const int y0 = blockIdx.x % parts, f = blockIdx.x / parts % s.F, b = blockIdx.x / parts / s.F, c = threadIdx.x;
    float2 k[27], v[3][9];
    for (int i = 0; i < 27; i++) k[i] = make_float2(0, 0);
    for (int y = y0; y < s.gh; y += parts) {
        column(v[0], in, s, b, f, y, -1, c);
        column(v[1], in, s, b, f, y, 0, c);
        for (int x = 0; x < s.gw; x++) {
            const float2 d = __bfloat1622float2(dout[((((size_t)b * s.F + f) * s.gh + y) * s.gw + x) * (s.D / 2) + c]);
            column(v[2], in, s, b, f, y, x + 1, c);
            for (int i = 0; i < 9; i++)
                for (int j = 0; j < 3; j++) {
                    k[3 * i + j].x += d.x * v[j][i].x;
                    k[3 * i + j].y += d.y * v[j][i].y;
                }
            for (int i = 0; i < 9; i++) {
                v[0][i] = v[1][i];
                v[1][i] = v[2][i];
            }
        }
    }
    for (int i = 0; i < 27; i++) {
        float *at = (float *)&dw[((size_t)b * 27 + i) * (s.D / 2) + c];
        atomicAdd(at, k[i].x);
        atomicAdd(at + 1, k[i].y);
    }
}

/* y = x mixed by w (flip: by its mirror image, the way back). 0 = ok. */
extern "C" int tw_mix(const void *x, const void *w, void *y, int B, int T, int F, int gh, int gw, int D, int flip, void *stream)
{
    const mix_shape s = {B, T, F, gh, gw, D};
    mix<<<B * F * gh, D / 2, 0, (cudaStream_t)stream>>>((const __nv_bfloat162 *)x, (const float2 *)w, (__nv_bfloat162 *)y, s, flip);
    return cudaGetLastError() != cudaSuccess;
}

/* dw [B][27][D], zero before. */
extern "C" int tw_mix_filter(const void *x, const void *dy, void *dw, int B, int T, int F, int gh, int gw, int D, void *stream)
{
    const mix_shape s = {B, T, F, gh, gw, D};
    mix_filter<<<B * F * 3, D / 2, 0, (cudaStream_t)stream>>>((const __nv_bfloat162 *)x, (const __nv_bfloat162 *)dy, (float2 *)dw, s, 3);
    return cudaGetLastError() != cudaSuccess;
}
