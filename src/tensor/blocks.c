/* blocks.c - GGUF's quantised blocks as f32, and f32 as Q8_0.   SPDX-License-Identifier: MIT
 * A block is 32 or 256 numbers: integers of 2 to 8 bits, a scale (f16) and, in _1, _2_K, _4_K and _5_K, an offset; the K
 * types have a small scale for every 16 or 32 numbers as well. Source: ggml docs/gguf.md and ggml-quants.c (layouts).
 * Oracle: golden/gguf_all_types, bit for bit. Products of a scale and an integer fit f32's 24 bits, so the order of
 * rounding does not matter. Nothing here is aligned: bytes are read one by one. */
#include <math.h>

#include "tensor/graph.h"

static float half(const uint8_t *p) { return hm_f16_to_f32((uint16_t)(p[0] | p[1] << 8)); }

static void q4_0(float *d, const uint8_t *b)
{
    const float s = half(b);
    for (int i = 0; i < 16; i++) {
        d[i] = (float)((b[2 + i] & 15) - 8) * s;
        d[16 + i] = (float)((b[2 + i] >> 4) - 8) * s;
    }
}

static void q4_1(float *d, const uint8_t *b)
{
    const float s = half(b), m = half(b + 2);
    for (int i = 0; i < 16; i++) {
        d[i] = (float)(b[4 + i] & 15) * s + m;
        d[16 + i] = (float)(b[4 + i] >> 4) * s + m;
    }
}

/* 32 five-bit numbers: four bits each in q, the fifth in the bits of h. */
static void five(int v[32], const uint8_t *h, const uint8_t *q)
{
    for (int i = 0; i < 16; i++) {
        v[i] = (q[i] & 15) | (h[i / 8] >> i % 8 & 1) << 4;
        v[16 + i] = q[i] >> 4 | (h[2 + i / 8] >> i % 8 & 1) << 4;
    }
}

static void q5_0(float *d, const uint8_t *b)
{
    int v[32];
    five(v, b + 2, b + 6);
    for (int i = 0; i < 32; i++) d[i] = (float)(v[i] - 16) * half(b);
}

static void q5_1(float *d, const uint8_t *b)
{
    int v[32];
    five(v, b + 4, b + 8);
    for (int i = 0; i < 32; i++) d[i] = (float)v[i] * half(b) + half(b + 2);
}

static void q8_0(float *d, const uint8_t *b)
{
    const float s = half(b);
    for (int i = 0; i < 32; i++) d[i] = (float)(int8_t)b[2 + i] * s;
}

/* Number i of the 256 two-bit numbers of Q2_K and Q3_K: halves of 128, in them four planes of 32. */
static int two(const uint8_t *q, int i) { return q[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3; }

static void q2_k(float *d, const uint8_t *b)
{
    const float s = half(b + 80), m = half(b + 82);
    for (int i = 0; i < 256; i++) {
        const int sc = b[i / 16];
        d[i] = s * (float)(sc & 15) * (float)two(b + 16, i) - m * (float)(sc >> 4);
    }
}

static void q3_k(float *d, const uint8_t *b)
{
    const uint8_t *high = b, *q = b + 32, *sc = b + 96;
    const float s = half(b + 108);
    for (int i = 0; i < 256; i++) {
        const int k = i / 16, low = k < 8 ? sc[k] & 15 : sc[k - 8] >> 4, up = sc[8 + k % 4] >> k / 4 * 2 & 3;
        const int v = two(q, i) - (high[i % 32] >> i / 32 & 1 ? 0 : 4);
        d[i] = s * (float)((low | up << 4) - 32) * (float)v;
    }
}

/* Six-bit scale and offset number j of 8, packed in 12 bytes. */
static void scale_min(const uint8_t *p, int j, int *sc, int *m)
{
    *sc = j < 4 ? p[j] & 63 : (p[j + 4] & 15) | p[j - 4] >> 6 << 4;
    *m = j < 4 ? p[j + 4] & 63 : p[j + 4] >> 4 | p[j] >> 6 << 4;
}

/* Q4_K, and Q5_K with a fifth bit in high. */
static void k45(float *d, const uint8_t *b, const uint8_t *q, const uint8_t *high)
{
    const float s = half(b), off = half(b + 2);
    for (int j = 0; j < 8; j++) {
        int sc, m;
        scale_min(b + 4, j, &sc, &m);
        const float scale = s * (float)sc, min = off * (float)m;
        for (int i = 0; i < 32; i++) {
            const int nibble = j % 2 ? q[j / 2 * 32 + i] >> 4 : q[j / 2 * 32 + i] & 15;
            const int v = nibble + (high && high[i] >> j & 1 ? 16 : 0);
            d[j * 32 + i] = scale * (float)v - min;
        }
    }
}

static void q4_k(float *d, const uint8_t *b) { k45(d, b, b + 16, NULL); }
static void q5_k(float *d, const uint8_t *b) { k45(d, b, b + 48, b + 16); }

static void q6_k(float *d, const uint8_t *b)
{
    const uint8_t *low = b, *high = b + 128;
    const int8_t *sc = (const int8_t *)b + 192;
    const float s = half(b + 208);
    for (int i = 0; i < 256; i++) {
        const int n = i / 128, plane = i % 128 / 32, l = i % 32;
        const int nibble = low[n * 64 + plane % 2 * 32 + l] >> plane / 2 * 4 & 15, up = high[n * 32 + l] >> plane * 2 & 3;
        d[i] = s * (float)sc[i / 16] * (float)((nibble | up << 4) - 32);
    }
}

static const struct {
    int numbers, bytes;
    void (*read)(float *d, const uint8_t *b);
} kinds[HM_N_DTYPES] = {[HM_Q4_0] = {32, 18, q4_0},   [HM_Q4_1] = {32, 20, q4_1},   [HM_Q5_0] = {32, 22, q5_0},
                        [HM_Q5_1] = {32, 24, q5_1},   [HM_Q8_0] = {32, 34, q8_0},   [HM_Q2_K] = {256, 84, q2_k},
                        [HM_Q3_K] = {256, 110, q3_k}, [HM_Q4_K] = {256, 144, q4_k}, [HM_Q5_K] = {256, 176, q5_k},
                        [HM_Q6_K] = {256, 210, q6_k}};

int64_t hm_dtype_block(hm_dtype t) { return (unsigned)t < HM_N_DTYPES && kinds[t].numbers ? kinds[t].numbers : 1; }

uint64_t hm_dtype_bytes(hm_dtype t, uint64_t n)
{
    if (hm_dtype_block(t) == 1) return n * hm_dtype_size(t);
    assert(n % (uint64_t)kinds[t].numbers == 0);
    return n / (uint64_t)kinds[t].numbers * (uint64_t)kinds[t].bytes;
}

/* 32 numbers: the scale is the largest over 127, each becomes the nearest of its multiples (ggml's quantize_row_q8_0_ref,
 * bit for bit). Numbers that are not finite, or too large for the scale, give a block that is not finite. */
static void to_q8_0(uint8_t *b, const float *s)
{
    float most = 0;
    bool finite = true;
    for (int i = 0; i < 32; i++) {
        finite &= isfinite(s[i]) != 0;
        most = HM_MAX(most, fabsf(s[i]));
    }
    const float d = most / 127, inverse = finite && d > 0 ? 1 / d : 0;
    const uint16_t scale = finite ? hm_f32_to_f16(d) : 0x7e00;
    b[0] = (uint8_t)(scale & 255), b[1] = (uint8_t)(scale >> 8);
    for (int i = 0; i < 32; i++) b[2 + i] = (uint8_t)(finite ? (int8_t)HM_MIN(HM_MAX(roundf(s[i] * inverse), -127.0f), 127.0f) : 0);
}

void hm_block_from_f32(void *d, hm_dtype t, int64_t at, const float *s, int64_t n)
{
    assert(t == HM_Q8_0 && at % 32 == 0 && n % 32 == 0);
    for (int64_t i = 0; i < n; i += 32) to_q8_0((uint8_t *)d + (at + i) / 32 * 34, s + i);
}

void hm_block_to_f32(float *d, const void *s, hm_dtype t, int64_t at, int64_t n)
{
    const int64_t numbers = kinds[t].numbers;
    assert(at % numbers == 0 && n % numbers == 0);
    for (int64_t i = 0; i < n; i += numbers)
        kinds[t].read(d + i, (const uint8_t *)s + (at + i) / numbers * kinds[t].bytes);
}
