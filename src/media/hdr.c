/* hdr.c - films of high dynamic range as ordinary ones.   SPDX-License-Identifier: MIT
 *   code value -curve-> light, white of 203 cd/m2 = 1 -bt.2020 to bt.709-> -shoulder-> sRGB
 * Curves: BT.2100-2 tables 4 and 5; reference white: BT.2408. The shoulder leaves all up to 0.7 as it is and bends what is
 * above, up to 1000 cd/m2, below 1; it works on a pixel's largest colour and scales the others with it, so hues stay. */
#include "media/hdr.h"

#include <math.h>
#include <stdlib.h>

enum { IN = 4096, OUT = 4096 };
static const float white_nits = 203, peak_nits = 1000, knee = 0.7f;

struct hm_hdr {
    float light[IN]; /* of a colour, from the upper 12 bits */
    uint8_t code[OUT + 1];
    bool scene;      /* light is the scene's: HLG, still to be lifted to the screen's */
};

static double pq(double v)
{
    const double m1 = 2610.0 / 16384, m2 = 2523.0 / 32, c1 = 3424.0 / 4096, c2 = 2413.0 / 128, c3 = 2392.0 / 128;
    const double p = pow(v, 1 / m2);
    return 10000 * pow(fmax(p - c1, 0) / (c2 - c3 * p), 1 / m1);
}

static double hlg(double v)
{
    const double a = 0.17883277, b = 1 - 4 * a, c = 0.5 - a * log(4 * a);
    return v <= 0.5 ? v * v / 3 : (exp((v - c) / a) + b) / 12;
}

hm_hdr *hm_hdr_new(hm_hdr_kind kind)
{
    hm_hdr *h = malloc(sizeof *h);
    if (!h) return NULL;
    h->scene = kind == HM_HDR_HLG;
    for (int i = 0; i < IN; i++) {
        const double v = (double)i / (IN - 1);
        h->light[i] = (float)(h->scene ? hlg(v) : pq(v) / white_nits);
    }
    for (int i = 0; i <= OUT; i++) {
        const double x = (double)i / OUT, v = x <= 0.0031308 ? 12.92 * x : 1.055 * pow(x, 1 / 2.4) - 0.055;
        h->code[i] = (uint8_t)lround(255 * v);
    }
    return h;
}

void hm_hdr_free(hm_hdr *h)
{
    free(h);
}

/* Slope 1 at the knee, 1 at the peak. */
static float shoulder(float m)
{
    const float end = (peak_nits / white_nits - knee) / (1 - knee), t = fminf((m - knee) / (1 - knee), end);
    return m <= knee ? m : knee + (1 - knee) * t * (1 + t / (end * end)) / (1 + t);
}

void hm_hdr_row(const hm_hdr *h, const uint16_t *in, int n, uint8_t *out)
{
    static const float to709[3][3] = {
        {1.660491f, -0.587641f, -0.072850f}, {-0.124550f, 1.132900f, -0.008349f}, {-0.018151f, -0.100579f, 1.118730f}};
    for (int i = 0; i < n; i++, in += 3, out += 3) {
        float c[3], most = 0;
        for (int k = 0; k < 3; k++) c[k] = h->light[in[k] >> 4];
        if (h->scene) { /* BT.2100: a screen of 1000 cd/m2 has the system gamma 1.2 */
            const float y = 0.2627f * c[0] + 0.678f * c[1] + 0.0593f * c[2], lift = peak_nits / white_nits * powf(y, 0.2f);
            for (int k = 0; k < 3; k++) c[k] *= lift;
        }
        float d[3];
        for (int k = 0; k < 3; k++) {
            d[k] = fmaxf(0, to709[k][0] * c[0] + to709[k][1] * c[1] + to709[k][2] * c[2]);
            most = fmaxf(most, d[k]);
        }
        const float s = most > knee ? shoulder(most) / most : 1;
        for (int k = 0; k < 3; k++) out[k] = h->code[(int)(fminf(d[k] * s, 1) * OUT + 0.5f)];
    }
}
