/* bench_watermark.c - the watermark on raw frames, for tools/bench_watermark.sh.   SPDX-License-Identifier: MIT
 *   bench_watermark mark   himmel|dwtdct SEED < Y4M > Y4M    marks; PSNR and time to stderr
 *   bench_watermark read   himmel|dwtdct SEED < Y4M          one line: found, right, bits right, ...; himmel also takes
 *                                                            the payload as 24 hex digits
 *   bench_watermark images SEED < PPM PPM ...                a line for each picture: marked with SEED, read back
 *   bench_watermark clean < PPM PPM ...                      unmarked pictures: how many give a finding
 * dwtdct: the classical scheme of the invisible-watermark package, in luma: Haar transform, low band in blocks of 4 x 4,
 * DCT, the largest coefficient quantised (QIM), block i carries bit i mod 96; read by votes over blocks and frames. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "provenance/watermark.h"

enum { BITS = 8 * HM_WM_BYTES };
static const float qim_step = 36; /* the package's */

typedef struct { hm_frame f; size_t n; double fps; } picture;

static hm_wm_payload payload_of(uint64_t seed)
{
    hm_wm_payload p;
    uint32_t r[4];
    hm_philox(seed, 77, 0, r);
    memcpy(p.film_id, r, 6);
    memcpy(p.issuer_id, r + 2, 4);
    return p;
}

/* A seed, or 24 hex digits. */
static hm_wm_payload payload_from(const char *text)
{
    uint8_t bytes[HM_WM_BYTES];
    hm_wm_payload p = payload_of(strtoull(text, NULL, 10));
    if (strlen(text) != 2 * HM_WM_BYTES) return p;
    for (int i = 0; i < HM_WM_BYTES; i++) {
        unsigned v = 0;
        sscanf(text + 2 * i, "%2x", &v);
        bytes[i] = (uint8_t)v;
    }
    hm_wm_unpack(&p, bytes);
    return p;
}

/* ---- Y4M and PPM ---- */

static bool open_y4m(picture *p)
{
    char line[512];
    int w = 0, h = 0, num = 24, den = 1;
    if (!fgets(line, sizeof line, stdin)) return false;
    for (char *s = strtok(line, " \n"); s; s = strtok(NULL, " \n")) {
        if (*s == 'W') w = atoi(s + 1);
        else if (*s == 'H') h = atoi(s + 1);
        else if (*s == 'F') sscanf(s + 1, "%d:%d", &num, &den);
    }
    if (w < 16 || h < 16 || w > 8192 || h > 8192 || num < 1 || den < 1) return false;
    const size_t n = (size_t)w * (size_t)h, c = (size_t)((w + 1) / 2) * (size_t)((h + 1) / 2);
    uint8_t *data = malloc(n + 2 * c);
    const int cw = (w + 1) / 2;
    *p = (picture){{HM_FRAME_YUV420, w, h, {data, data + n, data + n + c}, {w, cw, cw}}, n + 2 * c, (double)num / den};
    return data != NULL;
}

static bool next_y4m(picture *p)
{
    char line[512];
    return fgets(line, sizeof line, stdin) && fread(p->f.plane[0], 1, p->n, stdin) == p->n;
}

static bool next_ppm(picture *p)
{
    int w, h;
    if (scanf("P6 %d %d 255", &w, &h) != 2 || getchar() == EOF) return false;
    p->n = 3 * (size_t)w * (size_t)h;
    uint8_t *data = realloc(p->f.plane[0], p->n);
    p->f = (hm_frame){HM_FRAME_RGB8, w, h, {data}, {3 * w}};
    return data && fread(data, 1, p->n, stdin) == p->n;
}

/* ---- DWT-DCT ---- */

static void dct4(float b[16], bool inverse)
{
    static const float c[4][4] = {{0.5f, 0.5f, 0.5f, 0.5f},
                                  {0.653281482f, 0.270598050f, -0.270598050f, -0.653281482f},
                                  {0.5f, -0.5f, -0.5f, 0.5f},
                                  {0.270598050f, -0.653281482f, 0.653281482f, -0.270598050f}};
    float t[16];
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 4; i++)
            for (int k = 0; k < 4; k++) {
                t[k * 4 + i] = 0;
                for (int x = 0; x < 4; x++) t[k * 4 + i] += (inverse ? c[x][k] : c[k][x]) * b[i * 4 + x];
            }
        memcpy(b, t, sizeof t);
    }
}

/* The block of 8 x 8 pixels at (x, y) as DCT of the low band; the largest coefficient but the first. */
static int block_load(const hm_frame *f, int x, int y, float b[16])
{
    for (int i = 0; i < 16; i++) {
        const uint8_t *p = f->plane[0] + (size_t)(y + 2 * (i / 4)) * (size_t)f->stride[0] + x + 2 * (i % 4);
        b[i] = (float)(p[0] + p[1] + p[f->stride[0]] + p[f->stride[0] + 1]) / 2;
    }
    dct4(b, false);
    int top = 1;
    for (int i = 2; i < 16; i++)
        if (fabsf(b[i]) > fabsf(b[top])) top = i;
    return top;
}

static void dwtdct_embed(const hm_frame *f, const uint8_t *payload)
{
    for (int y = 0, n = 0; y + 8 <= f->h; y += 8)
        for (int x = 0; x + 8 <= f->w; x += 8, n++) {
            float b[16], change[16] = {0};
            const int top = block_load(f, x, y, b), bit = payload[n % BITS / 8] >> (n % 8) & 1;
            const float q = (floorf(fabsf(b[top]) / qim_step) + 0.25f + 0.5f * (float)bit) * qim_step;
            change[top] = copysignf(q, b[top]) - b[top];
            dct4(change, true);
            for (int i = 0; i < 64; i++) {
                uint8_t *p = f->plane[0] + (size_t)(y + i / 8) * (size_t)f->stride[0] + x + i % 8;
                const float v = *p + change[i / 16 * 4 + i % 8 / 2] / 2;
                *p = (uint8_t)lrintf(fminf(fmaxf(v, 0), 255));
            }
        }
}

static void dwtdct_vote(const hm_frame *f, double vote[BITS])
{
    for (int y = 0, n = 0; y + 8 <= f->h; y += 8)
        for (int x = 0; x + 8 <= f->w; x += 8, n++) {
            float b[16];
            const float v = fabsf(b[block_load(f, x, y, b)]) / qim_step;
            vote[n % BITS] += v - floorf(v) > 0.5f ? 1 : -1;
        }
}

/* ---- commands ---- */

static double psnr(const uint8_t *a, const uint8_t *b, size_t n)
{
    double e = 0;
    for (size_t i = 0; i < n; i++) e += (a[i] - b[i]) * (a[i] - b[i]);
    return 10 * log10(255.0 * 255.0 * (double)n / (e + 1e-9));
}

static int mark(bool ours, uint64_t seed)
{
    picture p;
    if (!open_y4m(&p)) return 1;
    const size_t n = (size_t)p.f.w * (size_t)p.f.h;
    uint8_t *before = malloc(n), payload[HM_WM_BYTES];
    const hm_wm_payload id = payload_of(seed);
    hm_watermark *m;
    const double t0 = hm_now();
    if (!before || hm_watermark_new(&m, p.f.w, p.f.h, &id, 1, NULL)) return 1;
    const double set_up = hm_now() - t0;
    hm_wm_pack(&id, payload);
    double worst = 999, mean = 0, spent = 0;
    int frames = 0;
    printf("YUV4MPEG2 W%d H%d F%d:1000 Ip A1:1 C420mpeg2\n", p.f.w, p.f.h, (int)lrint(1000 * p.fps));
    for (; next_y4m(&p); frames++) {
        memcpy(before, p.f.plane[0], n);
        const double t = hm_now();
        if (ours) hm_watermark_embed(m, &p.f, NULL);
        else dwtdct_embed(&p.f, payload);
        spent += hm_now() - t;
        const double q = psnr(p.f.plane[0], before, n);
        worst = fmin(worst, q), mean += q;
        printf("FRAME\n");
        if (fwrite(p.f.plane[0], 1, p.n, stdout) != p.n) return 1;
    }
    fprintf(stderr, "frames %d psnr %.2f worst %.2f ms %.2f setup_ms %.1f\n", frames, mean / frames, worst,
            1e3 * spent / frames, 1e3 * set_up);
    free(before);
    hm_watermark_free(m);
    return 0;
}

static int read_ours(const char *who)
{
    picture p;
    const hm_wm_payload id = payload_from(who);
    hm_wm_detector *d;
    hm_wm_report r;
    double add = 0;
    int n = 0;
    if (!open_y4m(&p) || hm_wm_detector_new(&d, NULL)) return 1;
    for (; next_y4m(&p); n++) {
        const double t = hm_now();
        hm_wm_detector_add(d, &p.f, n / p.fps, NULL);
        add += hm_now() - t;
    }
    const double t = hm_now();
    hm_wm_detector_find(d, &r, NULL);
    const double find = hm_now() - t;
    const hm_wm_finding *f = r.found;
    const bool right = r.n && !memcmp(&f->payload, &id, sizeof id);
    printf("found %d right %d bits %.3f confidence %.3f scale %.4f frames %d add_ms %.2f find_s %.3f "
           "bound %.2g\n", r.n, right, right ? 1.0 : 0.5, r.n ? f->confidence : 0.0, r.n ? f->scale : 0.0,
           n, 1e3 * add / fmax(1, n), find, r.false_alarm);
    hm_wm_detector_free(d);
    return 0;
}

static int read_dwtdct(uint64_t seed)
{
    picture p;
    const hm_wm_payload id = payload_of(seed);
    uint8_t payload[HM_WM_BYTES];
    double vote[BITS] = {0};
    int right = 0;
    hm_wm_pack(&id, payload);
    if (!open_y4m(&p)) return 1;
    while (next_y4m(&p)) dwtdct_vote(&p.f, vote);
    for (int i = 0; i < BITS; i++) right += (vote[i] > 0) == (payload[i / 8] >> (i % 8) & 1);
    printf("found 1 right %d bits %.3f\n", right == BITS, right / (double)BITS);
    return 0;
}

/* seed: mark each picture first, and count what is read right; else count what is found. */
static int pictures(const uint64_t *seed)
{
    picture p = {0};
    int n = 0, found = 0, right = 0;
    double bound = 0, spent = 0;
    while (next_ppm(&p)) {
        const hm_wm_payload id = payload_of(seed ? *seed + (uint64_t)n : 0);
        hm_watermark *m = NULL;
        hm_wm_detector *d;
        hm_wm_report r;
        if (seed && hm_watermark_new(&m, p.f.w, p.f.h, &id, 1, NULL)) return 1;
        if (m) hm_watermark_embed(m, &p.f, NULL);
        hm_watermark_free(m);
        const double t = hm_now();
        if (hm_wm_detector_new(&d, NULL) || hm_wm_detector_add(d, &p.f, 0, NULL)) return 1;
        hm_wm_detector_find(d, &r, NULL);
        spent += hm_now() - t;
        hm_wm_detector_free(d);
        n++, found += r.n > 0, bound = fmax(bound, r.false_alarm);
        right += r.n && !memcmp(&r.found->payload, &id, sizeof id);
    }
    printf("pictures %d found %d right %d bound %.2g seconds %.3f\n", n, found, seed ? right : 0, bound,
           spent / fmax(1, n));
    free(p.f.plane[0]);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const uint64_t seed = argc > 2 ? strtoull(argv[argc - 1], NULL, 10) : 0;
    const bool ours = argc == 4 && !strcmp(argv[2], "himmel"), pair = ours || (argc == 4 && !strcmp(argv[2], "dwtdct"));
    if (!strcmp(what, "mark") && pair) return mark(ours, seed);
    if (!strcmp(what, "read") && pair) return ours ? read_ours(argv[3]) : read_dwtdct(seed);
    if (!strcmp(what, "images") && argc == 3) return pictures(&seed);
    if (!strcmp(what, "clean") && argc == 2) return pictures(NULL);
    fprintf(stderr, "bench_watermark mark|read himmel|dwtdct SEED, images SEED, clean\n");
    return 2;
}
