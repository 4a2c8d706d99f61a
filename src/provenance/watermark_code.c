/* watermark_code.c - payload to code bits and back.   SPDX-License-Identifier: MIT
 *   12 bytes + CRC-24 + 14 zero bits -> convolutional code of rate 1/4, 2^14 states -> 536 bits
 * Polynomials: the first four of the rate 1/6 code that NASA's Cassini flew (octal 46321, 51271, 63667, 70535); each has
 * its first and last bit set, which the butterfly below relies on. CRC: that of OpenPGP (RFC 4880, 6.1). */
#include <stdlib.h>
#include <string.h>

#include "provenance/watermark_internal.h"

enum { N_STATES = 1 << HM_WM_MEMORY, HALF = N_STATES / 2 };
static const unsigned poly[4] = {046321, 051271, 063667, 070535};

void hm_wm_pack(const hm_wm_payload *p, uint8_t out[HM_WM_BYTES])
{
    out[0] = HM_WM_TAG >> 4;
    out[1] = (uint8_t)((HM_WM_TAG & 15) << 4 | HM_WM_VERSION);
    memcpy(out + 2, p->film_id, 6);
    memcpy(out + 8, p->issuer_id, 4);
}

bool hm_wm_unpack(hm_wm_payload *p, const uint8_t in[HM_WM_BYTES])
{
    if ((in[0] << 4 | in[1] >> 4) != HM_WM_TAG || (in[1] & 15) != HM_WM_VERSION) return false;
    memcpy(p->film_id, in + 2, 6);
    memcpy(p->issuer_id, in + 8, 4);
    return true;
}

void hm_wm_hex(const hm_wm_payload *p, char out[HM_WM_HEX])
{
    static const char digit[] = "0123456789abcdef";
    uint8_t b[HM_WM_BYTES];
    hm_wm_pack(p, b);
    for (int i = 0; i < HM_WM_BYTES; i++) {
        out[2 * i] = digit[b[i] >> 4];
        out[2 * i + 1] = digit[b[i] & 15];
    }
    out[2 * HM_WM_BYTES] = 0;
}

static uint32_t crc24(const uint8_t *data, size_t n)
{
    uint32_t crc = 0xB704CEu;
    for (size_t i = 0; i < n; i++) {
        crc ^= (uint32_t)data[i] << 16;
        for (int k = 0; k < 8; k++) crc = crc & 0x800000u ? (crc << 1 ^ 0x864CFBu) & 0xFFFFFFu : crc << 1;
    }
    return crc;
}

/* The four code bits of a register: newest bit first (bit 14), the state in bits 13..0. */
static unsigned outputs(unsigned reg)
{
    unsigned o = 0;
    for (int j = 0; j < 4; j++) o |= (unsigned)__builtin_parity(reg & poly[j]) << j;
    return o;
}

static int bit_of(const uint8_t *bytes, int i) { return bytes[i / 8] >> (7 - i % 8) & 1; }

void hm_wm_encode(const uint8_t payload[HM_WM_BYTES], int8_t coded[HM_WM_CODED])
{
    uint8_t message[HM_WM_BYTES + 3];
    const uint32_t crc = crc24(payload, HM_WM_BYTES);
    memcpy(message, payload, HM_WM_BYTES);
    for (int i = 0; i < 3; i++) message[HM_WM_BYTES + i] = (uint8_t)(crc >> (16 - 8 * i));
    unsigned state = 0;
    for (int t = 0; t < HM_WM_STEPS; t++) {
        const unsigned b = t < HM_WM_INFO ? (unsigned)bit_of(message, t) : 0;
        const unsigned reg = b << HM_WM_MEMORY | state, o = outputs(reg);
        for (int j = 0; j < 4; j++) coded[4 * t + j] = o >> j & 1 ? 1 : -1;
        state = reg >> 1;
    }
}

/* ---- Viterbi ---- */

typedef struct {
    uint8_t out[HALF];                   /* outputs of state 2i when a 0 comes in */
    float metric[2][N_STATES];
    uint8_t from[HM_WM_STEPS][N_STATES]; /* which of the two states before */
} viterbi;

size_t hm_wm_decode_bytes(void) { return sizeof(viterbi); }

/* State i < HALF is reached by a 0, i + HALF by a 1, both from states 2i and 2i + 1, whose outputs are each other's
 * complement because all polynomials end in 1; those for a 1 are the complement of those for a 0. */
HM_CLONES static void step(const uint8_t *out, const float *soft, const float *old, float *new, uint8_t *from)
{
    float value[16];
    for (unsigned o = 0; o < 16; o++) {
        value[o] = 0;
        for (int j = 0; j < 4; j++) value[o] += o >> j & 1 ? soft[j] : -soft[j];
    }
    for (int i = 0; i < HALF; i++) {
        const float m = value[out[i]], a = old[2 * i], b = old[2 * i + 1];
        const float a0 = a + m, b0 = b - m, a1 = a - m, b1 = b + m;
        new[i] = a0 >= b0 ? a0 : b0;
        from[i] = a0 < b0;
        new[i + HALF] = a1 >= b1 ? a1 : b1;
        from[i + HALF] = a1 < b1;
    }
}

bool hm_wm_decode(const float soft[HM_WM_CODED], uint8_t payload[HM_WM_BYTES], void *work)
{
    viterbi *v = work;
    for (unsigned i = 0; i < HALF; i++) v->out[i] = (uint8_t)outputs(2 * i);
    for (int i = 0; i < N_STATES; i++) v->metric[0][i] = i ? -1e30f : 0;
    for (int t = 0; t < HM_WM_STEPS; t++)
        step(v->out, soft + 4 * t, v->metric[t & 1], v->metric[~t & 1], v->from[t]);
    uint8_t message[HM_WM_BYTES + 3] = {0};
    unsigned state = 0; /* the zeros at the end led there */
    for (int t = HM_WM_STEPS - 1; t >= 0; t--) {
        if (t < HM_WM_INFO) message[t / 8] |= (uint8_t)((state >> (HM_WM_MEMORY - 1)) << (7 - t % 8));
        state = (state << 1 & (N_STATES - 1)) | v->from[t][state];
    }
    memcpy(payload, message, HM_WM_BYTES);
    hm_wm_payload p;
    const uint8_t *c = message + HM_WM_BYTES;
    const uint32_t crc = (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
    return crc24(message, HM_WM_BYTES) == crc && hm_wm_unpack(&p, message);
}
