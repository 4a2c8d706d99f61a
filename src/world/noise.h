/* noise.h - small vectorisable arithmetic: band-limited gradient noise, cells, smooth steps, exp, sin.
 * SPDX-License-Identifier: MIT
 * Plain functions of plain data: no tables, no calls, no branches, so that loops over pixels vectorise and a GPU compiler
 * takes them as they are. Gradient noise: K. Perlin, "Improving Noise" (2002); the fade of octaves by pixel footprint is
 * the usual frequency clamping (Norton et al., 1982). */
#ifndef HM_NOISE_H
#define HM_NOISE_H

#include <math.h>
#include <stdint.h>
#include "base/base.h"

/* These loops never see NaN or infinity; without this GCC keeps branches for them and does not vectorise. */
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#pragma GCC optimize("O3,no-trapping-math,no-math-errno,no-signed-zeros,finite-math-only")
#endif

/* Drawing code that a CUDA compiler takes too (twin/world.cu). */
#if defined(__CUDACC__)
#define HM_PIXEL __host__ __device__
#else
#define HM_PIXEL
#endif
/* Inlined into every loop, or it does not vectorise. With an explicit -march the clones for other machines would be in the way. */
#if defined(__GNUC__) && !defined(__CUDACC__)
#define HM_INLINE static inline __attribute__((always_inline))
#else
#define HM_INLINE HM_PIXEL static inline
#endif
#if defined(__CUDACC__) || defined(__AVX2__)
#define HM_FAST HM_PIXEL
#else
#define HM_FAST HM_CLONES
#endif

HM_INLINE float hm_clampf(float x, float lo, float hi)
{
    x = x < lo ? lo : x;
    return x > hi ? hi : x;
}
HM_INLINE float hm_sat(float x) { return hm_clampf(x, 0.0f, 1.0f); }
HM_INLINE float hm_mixf(float a, float b, float k) { return a + (b - a) * k; }
HM_INLINE float hm_step(float lo, float hi, float x)
{
    x = hm_sat((x - lo) / (hi - lo));
    return x * x * (3.0f - 2.0f * x);
}
HM_INLINE int hm_ifloor(float x)
{
    int i = (int)x;
    return i - ((float)i > x ? 1 : 0);
}
/* Square root of x >= 0, relative error 5e-6; sqrtf() would need -fno-math-errno to vectorise. */
HM_INLINE float hm_sqrt(float x)
{
    union { float f; int32_t i; } v = {x};
    v.i = 0x5f3759df - (v.i >> 1);
    float y = v.f;
    y *= 1.5f - 0.5f * x * y * y;
    y *= 1.5f - 0.5f * x * y * y;
    return x * y;
}
/* e^x for x <= 0 (clamped at -60), relative error 2e-4. */
HM_INLINE float hm_expneg(float x)
{
    union { uint32_t u; float f; } v;
    float y = (x < -60.0f ? -60.0f : x) * 1.44269504f;
    int i = hm_ifloor(y);
    float f = y - (float)i;
    v.u = (uint32_t)(i + 127) << 23;
    return v.f * (1.0f + f * (0.69583f + f * (0.22606f + f * 0.07810f)));
}
/* sin(2 pi x), error 1e-3: fold to a quarter and a polynomial. */
HM_INLINE float hm_sin1(float x)
{
    x -= (float)hm_ifloor(x + 0.5f);
    float y = x * (8.0f - 16.0f * fabsf(x));
    return y * (0.775f + 0.225f * fabsf(y));
}

HM_INLINE uint32_t hm_hash2(int x, int y, uint32_t seed)
{
    uint32_t h = (uint32_t)x * 0x9E3779B1u ^ (uint32_t)y * 0x85EBCA77u ^ seed;
    h = (h ^ (h >> 15)) * 0x2C1B3C6Du;
    h = (h ^ (h >> 13)) * 0x297A2D39u;
    return h ^ (h >> 16);
}
HM_INLINE float hm_hashf(uint32_t h) { return (float)(int)(h & 0xffffu) * (1.0f / 65536.0f); }
HM_INLINE float hm_hashg(uint32_t h) { return (float)(int)(h >> 16) * (1.0f / 65536.0f); }

HM_INLINE float hm_grad2(uint32_t h, float x, float y)
{
    float gx = (float)((int)(h & 0xffffu) - 32768), gy = (float)((int)(h >> 16) - 32768);
    return (gx * x + gy * y) * (1.0f / 32768.0f);
}
/* Gradient noise, about [-1, 1], mean 0. */
HM_INLINE float hm_noise2(float x, float y, uint32_t seed)
{
    int ix = hm_ifloor(x), iy = hm_ifloor(y);
    float fx = x - (float)ix, fy = y - (float)iy;
    float sx = fx * fx * fx * (fx * (fx * 6.0f - 15.0f) + 10.0f);
    float sy = fy * fy * fy * (fy * (fy * 6.0f - 15.0f) + 10.0f);
    float a = hm_grad2(hm_hash2(ix, iy, seed), fx, fy);
    float b = hm_grad2(hm_hash2(ix + 1, iy, seed), fx - 1.0f, fy);
    float c = hm_grad2(hm_hash2(ix, iy + 1, seed), fx, fy - 1.0f);
    float d = hm_grad2(hm_hash2(ix + 1, iy + 1, seed), fx - 1.0f, fy - 1.0f);
    a += (b - a) * sx;
    c += (d - c) * sx;
    return 1.5f * (a + (c - a) * sy);
}
/* Value noise along a line, [-1, 1]. */
HM_INLINE float hm_noise1(float x, uint32_t seed)
{
    int i = hm_ifloor(x);
    float f = x - (float)i;
    float a = hm_hashg(hm_hash2(i, 7, seed)), b = hm_hashg(hm_hash2(i + 1, 7, seed));
    f = f * f * (3.0f - 2.0f * f);
    return 2.0f * (a + (b - a) * f) - 1.0f;
}
/* How much of a noise octave survives in a pixel: r = pixel footprint in noise cells. */
HM_INLINE float hm_band(float r)
{
    float k = hm_sat(1.12f - 1.3f * r);
    return k * k * (3.0f - 2.0f * k);
}
/* Cellular noise: 1 at cell points falling to 0 a cell away (round puffs), smooth between puffs. */
HM_INLINE float hm_puffs2(float x, float y, uint32_t seed)
{
    int ix = hm_ifloor(x), iy = hm_ifloor(y);
    float fx = x - (float)ix, fy = y - (float)iy, s = 0.0f;
#pragma GCC unroll 3
    for (int j = -1; j <= 1; j++) {
#pragma GCC unroll 3
        for (int i = -1; i <= 1; i++) {
            uint32_t h = hm_hash2(ix + i, iy + j, seed);
            float dx = (float)i + 0.15f + 0.7f * hm_hashf(h) - fx, dy = (float)j + 0.15f + 0.7f * hm_hashg(h) - fy;
            float k = 1.0f - 0.85f * (dx * dx + dy * dy);
            k = k < 0.0f ? 0.0f : k;
            k *= k;
            s += k * k;
        }
    }
    return hm_sqrt(hm_sqrt(s));
}

#endif
