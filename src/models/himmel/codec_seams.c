/* codec_seams.c - take small jumps between blocks out of a decoded picture.   SPDX-License-Identifier: MIT
 * Blocks of a generated film join less well than those of an encoded one: every block's velocity has its own error, and no
 * linear decoder can know it (a larger ridge in the neighbour decoder was tried: it costs PSNR and leaves the jumps). So the
 * jump at each seam, beyond the slope on either side and averaged along the seam, is spread over half a block; jumps
 * much larger than HM_SEAM_LIMIT are edges of things and stay. The refiner is trained on pictures smoothed in this way. */
#include "models/himmel/codec_internal.h"

enum { SPREAD = HM_BLOCK / 2, AVERAGE = 2, LONGEST = 64 * HM_BLOCK };

/* The seam between q[-step] and q[0] at each of n places p + i along. */
static void smooth_seam(float *p, int n, ptrdiff_t along, ptrdiff_t step)
{
    float jump[LONGEST];
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < n; i++) {
            const float *q = p + i * along + c;
            jump[i] = 1.5f * (q[0] - q[-step]) - 0.5f * (q[step] - q[-2 * step]);
        }
        for (int i = 0; i < n; i++) {
            const int from = HM_MAX(i - AVERAGE, 0), to = HM_MIN(i + AVERAGE, n - 1);
            float j = 0;
            for (int k = from; k <= to; k++) j += jump[k];
            j /= (float)(to - from + 1);
            j /= 1 + j * j / (HM_SEAM_LIMIT * HM_SEAM_LIMIT);
            float *q = p + i * along + c;
            for (int d = 0; d < SPREAD; d++) {
                const float part = 0.5f * j * (1 - ((float)d + 0.5f) / SPREAD);
                q[d * step] -= part;
                q[-(d + 1) * step] += part;
            }
        }
    }
}

void hm_codec_smooth_seams(float *frame, int gh, int gw)
{
    const int W = gw * HM_BLOCK, H = gh * HM_BLOCK;
    if (W > LONGEST || H > LONGEST) return; /* no model has pictures of that size */
    for (int x = HM_BLOCK; x < W; x += HM_BLOCK) smooth_seam(frame + (ptrdiff_t)3 * x, H, (ptrdiff_t)3 * W, 3);
    for (int y = HM_BLOCK; y < H; y += HM_BLOCK) smooth_seam(frame + (ptrdiff_t)3 * W * y, W, 3, (ptrdiff_t)3 * W);
}
