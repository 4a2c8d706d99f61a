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

enum { LISTED = 64 }; /* messages that are tried: the likeliest, then those that leave its path once, cheapest first */

typedef struct {
    uint8_t out[HALF];                   /* outputs of state 2i when a 0 comes in */
    float metric[HM_WM_STEPS + 1][N_STATES];
    uint8_t from[HM_WM_STEPS][N_STATES]; /* which of the two states before */
} viterbi;

typedef struct { int step; float loss; } turn_off;

size_t hm_wm_decode_bytes(void) { return sizeof(viterbi); }

/* What each of the 16 outputs is worth. */
static void values(const float soft[4], float value[16])
{
    for (unsigned o = 0; o < 16; o++) {
        value[o] = 0;
        for (int j = 0; j < 4; j++) value[o] += o >> j & 1 ? soft[j] : -soft[j];
    }
}

/* State i < HALF is reached by a 0, i + HALF by a 1, both from states 2i and 2i + 1, whose outputs are each other's
 * complement because all polynomials end in 1; those for a 1 are the complement of those for a 0. */
HM_CLONES static void step(const uint8_t *out, const float *soft, const float *old, float *new, uint8_t *from)
{
    float value[16];
    values(soft, value);
    for (int i = 0; i < HALF; i++) {
        const float m = value[out[i]], a = old[2 * i], b = old[2 * i + 1];
        const float a0 = a + m, b0 = b - m, a1 = a - m, b1 = b + m;
        new[i] = a0 >= b0 ? a0 : b0;
        from[i] = a0 < b0;
        new[i + HALF] = a1 >= b1 ? a1 : b1;
        from[i + HALF] = a1 < b1;
    }
}

/* The message of the best path that ends in state 0 and takes the other way into step `off` (-1: nowhere), which loss[t]
 * tells the price of (may be NULL). */
static void trace(const viterbi *v, const float *soft, int off, uint8_t message[HM_WM_BYTES + 3], turn_off *loss)
{
    unsigned state = 0; /* the zeros at the end led there */
    memset(message, 0, HM_WM_BYTES + 3);
    for (int t = HM_WM_STEPS - 1; t >= 0; t--) {
        const unsigned before = state << 1 & (N_STATES - 1);
        if (t < HM_WM_INFO) message[t / 8] |= (uint8_t)((state >> (HM_WM_MEMORY - 1)) << (7 - t % 8));
        if (loss) {
            float value[16];
            values(soft + 4 * t, value);
            const float m = value[v->out[state & (HALF - 1)]] * (state < HALF ? 2.0f : -2.0f);
            const float d = v->metric[t][before] - v->metric[t][before + 1] + m;
            loss[t] = (turn_off){t, d < 0 ? -d : d};
        }
        state = before | (v->from[t][state] ^ (t == off));
    }
}

static bool checks(const uint8_t message[HM_WM_BYTES + 3])
{
    hm_wm_payload p;
    const uint8_t *c = message + HM_WM_BYTES;
    const uint32_t crc = (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
    return crc24(message, HM_WM_BYTES) == crc && hm_wm_unpack(&p, message);
}

static int by_loss(const void *a, const void *b)
{
    const turn_off *p = a, *q = b;
    return p->loss < q->loss ? -1 : p->loss > q->loss ? 1 : p->step - q->step;
}

bool hm_wm_decode(const float soft[HM_WM_CODED], uint8_t payload[HM_WM_BYTES], void *work, int *tried)
{
    viterbi *v = work;
    uint8_t message[HM_WM_BYTES + 3];
    turn_off loss[HM_WM_STEPS];
    for (unsigned i = 0; i < HALF; i++) v->out[i] = (uint8_t)outputs(2 * i);
    for (int i = 0; i < N_STATES; i++) v->metric[0][i] = i ? -1e30f : 0;
    for (int t = 0; t < HM_WM_STEPS; t++) step(v->out, soft + 4 * t, v->metric[t], v->metric[t + 1], v->from[t]);
    trace(v, soft, -1, message, loss);
    qsort(loss, HM_WM_STEPS, sizeof *loss, by_loss);
    bool ok = checks(message);
    int n = 1;
    for (; !ok && n < LISTED; n++) {
        trace(v, soft, loss[n - 1].step, message, NULL);
        ok = checks(message);
    }
    *tried += n;
    memcpy(payload, message, HM_WM_BYTES);
    return ok;
}
