/* rng.c - Philox4x32-10 and what is drawn from it.   SPDX-License-Identifier: MIT
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC'11). */
#include "base/rng.h"

#include <math.h>

void hm_philox(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    for (int i = 0; i < 10; i++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

hm_rng hm_rng_at(uint64_t seed, uint64_t stream) { return (hm_rng){.seed = seed, .stream = stream}; }

uint32_t hm_rng_u32(hm_rng *r)
{
    if (!r->have) {
        hm_philox(r->seed, r->stream, r->index++, r->buf);
        r->have = 4;
    }
    return r->buf[--r->have];
}

uint64_t hm_rng_u64(hm_rng *r)
{
    const uint64_t hi = hm_rng_u32(r);
    return hi << 32 | hm_rng_u32(r);
}

float hm_rng_float(hm_rng *r) { return (float)(hm_rng_u32(r) >> 8) * 0x1p-24f; }

float hm_rng_range(hm_rng *r, float lo, float hi) { return lo + (hi - lo) * hm_rng_float(r); }

uint32_t hm_rng_below(hm_rng *r, uint32_t n) { return (uint32_t)((uint64_t)hm_rng_u32(r) * n >> 32); }

/* Box-Muller on two 32-bit words: two normals. */
static void normal_pair(uint32_t a, uint32_t b, float *x, float *y)
{
    const double u = ((double)a + 0.5) * 0x1p-32, v = (double)b * 0x1p-32;
    const double r = sqrt(-2.0 * log(u)), th = 6.283185307179586 * v;
    *x = (float)(r * cos(th));
    *y = (float)(r * sin(th));
}

float hm_rng_normal(hm_rng *r)
{
    float x, y;
    const uint32_t a = hm_rng_u32(r), b = hm_rng_u32(r);
    normal_pair(a, b, &x, &y);
    return x;
}

void hm_randn(float *x, size_t n, uint64_t seed, uint64_t stream)
{
    for (size_t i = 0; i < n; i += 4) {
        uint32_t u[4];
        float v[4];
        hm_philox(seed, stream, i / 4, u);
        normal_pair(u[0], u[1], &v[0], &v[1]);
        normal_pair(u[2], u[3], &v[2], &v[3]);
        for (size_t j = 0; j < 4 && i + j < n; j++) x[i + j] = v[j];
    }
}

uint64_t hm_mix(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9E3779B97F4A7C15ull + b; /* then the finaliser of splitmix64 */
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}
