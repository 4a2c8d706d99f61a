/* bench_watermark.c - the watermark on raw frames, for tools/bench_watermark.sh.   SPDX-License-Identifier: MIT
 *   bench_watermark mark W H SEED < yuv420p > yuv420p     marks; prints PSNR, strength, time to stderr
 *   bench_watermark read W H FPS SEED < yuv420p           one line: found, right, confidence, scale, seconds */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "provenance/watermark.h"

typedef struct { hm_frame f; uint8_t *data; size_t n; } picture;

static picture picture_new(int w, int h)
{
    const size_t n = (size_t)w * (size_t)h;
    const int cw = (w + 1) / 2, ch = (h + 1) / 2;
    picture p = {.n = n + 2 * (size_t)cw * (size_t)ch};
    p.data = malloc(p.n);
    p.f = (hm_frame){HM_FRAME_YUV420, w, h, {p.data, p.data + n, p.data + n + (size_t)cw * (size_t)ch}, {w, cw, cw}};
    return p;
}

static hm_wm_payload payload_of(uint64_t seed)
{
    hm_wm_payload p;
    uint32_t r[4];
    hm_philox(seed, 77, 0, r);
    memcpy(p.film_id, r, 6);
    memcpy(p.issuer_id, r + 2, 4);
    return p;
}

static int mark(int w, int h, uint64_t seed)
{
    picture p = picture_new(w, h);
    uint8_t *before = malloc((size_t)w * (size_t)h);
    const hm_wm_payload id = payload_of(seed);
    hm_watermark *m;
    const double t0 = hm_now();
    if (hm_watermark_new(&m, w, h, &id, 1, NULL)) return 1;
    const double set_up = hm_now() - t0;
    double worst = 99, mean = 0, spent = 0;
    int n = 0;
    while (fread(p.data, 1, p.n, stdin) == p.n) {
        memcpy(before, p.data, (size_t)w * (size_t)h);
        const double t = hm_now();
        hm_watermark_embed(m, &p.f, NULL);
        spent += hm_now() - t;
        double e = 0;
        for (size_t i = 0; i < (size_t)w * (size_t)h; i++) e += (p.data[i] - before[i]) * (p.data[i] - before[i]);
        const double psnr = 10 * log10(255.0 * 255.0 * w * h / (e + 1e-9));
        worst = fmin(worst, psnr), mean += psnr, n++;
        if (fwrite(p.data, 1, p.n, stdout) != p.n) return 1;
    }
    fprintf(stderr, "marked %d psnr %.2f worst %.2f ms %.2f setup_ms %.1f\n", n, mean / n, worst, 1e3 * spent / n,
            1e3 * set_up);
    return 0;
}

static int read_marks(int w, int h, double fps, uint64_t seed)
{
    picture p = picture_new(w, h);
    const hm_wm_payload id = payload_of(seed);
    hm_wm_detector *d;
    hm_wm_report r;
    double add = 0;
    int n = 0;
    if (hm_wm_detector_new(&d, NULL)) return 1;
    for (; fread(p.data, 1, p.n, stdin) == p.n; n++) {
        const double t = hm_now();
        hm_wm_detector_add(d, &p.f, n / fps, NULL);
        add += hm_now() - t;
    }
    const double t = hm_now();
    hm_wm_detector_find(d, &r, NULL);
    const double find = hm_now() - t;
    const hm_wm_finding *f = r.found;
    printf("found %d right %d confidence %.3f scale %.4f frames %d add_ms %.2f find_s %.3f bound %.2g\n", r.n,
           r.n && !memcmp(&f->payload, &id, sizeof id), r.n ? f->confidence : 0.0, r.n ? f->scale : 0.0, n,
           1e3 * add / fmax(1, n), find, r.false_alarm);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 5 && !strcmp(argv[1], "mark"))
        return mark(atoi(argv[2]), atoi(argv[3]), strtoull(argv[4], NULL, 10));
    if (argc >= 6 && !strcmp(argv[1], "read"))
        return read_marks(atoi(argv[2]), atoi(argv[3]), atof(argv[4]), strtoull(argv[5], NULL, 10));
    fprintf(stderr, "bench_watermark mark W H SEED | read W H FPS SEED\n");
    return 2;
}
