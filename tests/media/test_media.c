/* test_media.c - scaling, films and pictures out to files and back.   SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "check.h"
#include "media/decode.h"
#include "media/image.h"

static char dir[] = "/tmp/himmel-media-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[4][256];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static bool exists(const char *path)
{
    struct stat st;
    return !stat(path, &st);
}

/* A smooth coloured picture that moves with t: what skies are like. */
static void paint(float *rgb, int w, int h, double t)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            float *p = rgb + 3 * ((size_t)y * (size_t)w + (size_t)x);
            const double u = (x + 0.5) / w, v = (y + 0.5) / h;
            p[0] = (float)(0.5 + 0.4 * sin(6 * u + t));
            p[1] = (float)(0.2 + 0.6 * v);
            p[2] = (float)(0.5 + 0.4 * cos(5 * v - 3 * u));
        }
}

static double psnr8(const uint8_t *a, const float *b, size_t n)
{
    double e = 0;
    for (size_t i = 0; i < n; i++) e += (a[i] / 255.0 - b[i]) * (a[i] / 255.0 - b[i]);
    return -10 * log10(e / (double)n + 1e-12);
}

static hm_frame rgb_frame(uint8_t *data, int w, int h)
{
    return (hm_frame){HM_FRAME_RGB8, w, h, {data}, {3 * w}};
}

/* Every kind of source at several sizes against the picture painted at the size itself. */
static void test_scale(void)
{
    static const struct { int sw, sh, ow, oh; double floor;
    } cases[] = {{256, 144, 256, 144, 52},
                 {256, 144, 320, 180, 45},
                 {320, 180, 160, 90, 45},
                 {97, 61, 64, 66, 40},
                 {17, 5, 64, 64, 28}};
    for (size_t i = 0; i < HM_COUNT(cases); i++) {
        const int sw = cases[i].sw, sh = cases[i].sh, ow = cases[i].ow, oh = cases[i].oh;
        const size_t sn = 3 * (size_t)sw * (size_t)sh, on = 3 * (size_t)ow * (size_t)oh;
        float *src = malloc(sn * sizeof *src), *want = malloc(on * sizeof *want);
        uint16_t *half = malloc(sn * sizeof *half);
        uint8_t *byte = malloc(sn), *got = malloc(on);
        paint(src, sw, sh, 1);
        paint(want, ow, oh, 1);
        for (size_t j = 0; j < sn; j++)
            half[j] = hm_f32_to_bf16(src[j]), byte[j] = (uint8_t)lrintf(255 * src[j]);
        hm_scaler *s;
        CHECK(!hm_scaler_new(&s, &(hm_scale_opts){sw, sh, 0, 0, 0, 0, ow, oh, HM_FRAME_RGB8, 2}, NULL),
              "scaler");
        const hm_frame f = rgb_frame(got, ow, oh);
        hm_scale(s, src, HM_PIX_F32, &f);
        CHECK(psnr8(got, want, on) > cases[i].floor, "case %zu f32 %.1f dB", i, psnr8(got, want, on));
        hm_scale(s, half, HM_PIX_BF16, &f);
        CHECK(psnr8(got, want, on) > cases[i].floor - 6, "case %zu bf16 %.1f dB", i, psnr8(got, want, on));
        hm_scale(s, byte, HM_PIX_U8, &f);
        CHECK(psnr8(got, want, on) > cases[i].floor - 3, "case %zu u8 %.1f dB", i, psnr8(got, want, on));
        hm_scaler_free(s);
        free(src), free(want), free(half), free(byte), free(got);
    }
}

/* A crop is the same as the part of the whole; dither keeps the mean; threads change nothing. */
static void test_scale_details(void)
{
    enum { W = 64, H = 48 };
    static float src[3 * W * H];
    static uint8_t whole[3 * W * H], part[3 * 32 * 16], again[3 * W * H];
    paint(src, W, H, 2);
    hm_scaler *a, *b, *c;
    hm_scaler_new(&a, &(hm_scale_opts){W, H, 0, 0, 0, 0, W, H, HM_FRAME_RGB8, 1}, NULL);
    hm_scaler_new(&b, &(hm_scale_opts){W, H, 10, 16, 32, 16, 32, 16, HM_FRAME_RGB8, 1}, NULL);
    hm_scaler_new(&c, &(hm_scale_opts){W, H, 0, 0, 0, 0, W, H, HM_FRAME_RGB8, 3}, NULL);
    const hm_frame fw = rgb_frame(whole, W, H), fp = rgb_frame(part, 32, 16), fa = rgb_frame(again, W, H);
    hm_scale(a, src, HM_PIX_F32, &fw);
    hm_scale(b, src, HM_PIX_F32, &fp);
    hm_scale(c, src, HM_PIX_F32, &fa);
    int worst = 0;
    for (int y = 0; y < 16; y++)
        for (int i = 0; i < 3 * 32; i++)
            worst = HM_MAX(worst, abs(part[y * 96 + i] - whole[(y + 16) * 3 * W + 30 + i]));
    CHECK(worst <= 1, "crop differs by %d", worst);
    CHECK(!memcmp(whole, again, sizeof whole), "threads change the bytes");
    for (int i = 0; i < 3 * W * H; i++) src[i] = 0.3337f; /* 85.09 in 8 bits */
    hm_scale(a, src, HM_PIX_F32, &fw);
    double mean = 0;
    for (int i = 0; i < 3 * W * H; i++) mean += whole[i];
    CHECK_NEAR(mean / (3 * W * H), 255 * 0.3337, 0.02, "dither moved the mean to %g", mean / (3 * W * H));
    hm_scaler_free(a), hm_scaler_free(b), hm_scaler_free(c);
    himmel_error err;
    CHECK(hm_scaler_new(&a, &(hm_scale_opts){W, H, 0, 0, 0, 0, 33, 20, HM_FRAME_YUV420, 1}, &err) ==
                  HIMMEL_EINVAL &&
              !a,
          "odd width");
}

/* bt.709 limited range values of known colours (ITU-R BT.709-6, 3.2-3.5). */
static void test_yuv(void)
{
    static const struct { float rgb[3]; int y, cb, cr;
    } cases[] = {{{0, 0, 0}, 16, 128, 128},
                 {{1, 1, 1}, 235, 128, 128},
                 {{1, 0, 0}, 63, 102, 240},
                 {{0, 1, 0}, 173, 42, 26},
                 {{0, 0, 1}, 32, 240, 118}};
    enum { N = 32 };
    static float src[3 * N * N];
    static uint8_t y[N * N], cb[N * N / 4], cr[N * N / 4];
    const hm_frame f = {HM_FRAME_YUV420, N, N, {y, cb, cr}, {N, N / 2, N / 2}};
    hm_scaler *s;
    hm_scaler_new(&s, &(hm_scale_opts){N, N, 0, 0, 0, 0, N, N, HM_FRAME_YUV420, 2}, NULL);
    for (size_t i = 0; i < HM_COUNT(cases); i++) {
        for (int j = 0; j < 3 * N * N; j++) src[j] = cases[i].rgb[j % 3];
        hm_scale(s, src, HM_PIX_F32, &f);
        CHECK(abs(y[100] - cases[i].y) <= 1 && abs(cb[40] - cases[i].cb) <= 1 &&
                  abs(cr[40] - cases[i].cr) <= 1,
              "case %zu: %d %d %d", i, y[100], cb[40], cr[40]);
        float tile[4 * 4 * 4]; /* opaque white, blended: white again */
        for (int j = 0; j < 64; j++) tile[j] = 1;
        hm_frame_blend(&f, tile, 8, 8, 4, 4);
        CHECK(y[9 * N + 9] == 235 && cb[4 * N / 2 + 4] == 128 && cr[5 * N / 2 + 5] == 128,
              "white over case %zu", i);
        CHECK(abs(y[9 * N + 12] - cases[i].y) <= 1, "beside the tile");
        hm_frame_blend(&f, tile, -2, N - 2, 4, 4); /* partly outside: cut */
        CHECK(y[(N - 1) * N] == 235, "cut tile");
    }
    hm_scaler_free(s);
}

enum { FW = 160, FH = 96, FN = 30 };
static const hm_tag tags[] = {{"prompt", "Möwe & <sea>"}, {"seed", "42"}};

static himmel_status write_film(const char *path, himmel_error *err)
{
    static float rgb[3 * FW * FH];
    hm_encoder *e;
    himmel_status rc =
        hm_encoder_open(&e, path, &(hm_encoder_opts){.width = FW, .height = FH, .fps_num = 24, .fps_den = 1, .tags = tags, .n_tags = HM_COUNT(tags)}, err);
    if (rc) return rc;
    hm_scaler *s;
    rc = hm_scaler_new(&s, &(hm_scale_opts){FW, FH, 0, 0, 0, 0, FW, FH, HM_FRAME_YUV420, 2}, err);
    for (int i = 0; i < FN && !rc; i++) {
        const hm_frame *f = hm_encoder_frame(e, err);
        paint(rgb, FW, FH, 0.1 * i);
        hm_scale(s, rgb, HM_PIX_F32, f);
        rc = hm_encoder_push(e, err);
    }
    hm_scaler_free(s);
    uint64_t bytes = 0;
    if (!rc) rc = hm_encoder_finish(e, &bytes, err);
    if (!rc) {
        struct stat st;
        CHECK(!stat(path, &st) && (uint64_t)st.st_size == bytes, "%s: %zu bytes", path, (size_t)bytes);
    }
    hm_encoder_free(e);
    return rc;
}

static void test_film(void)
{
    himmel_error err = {0};
    const char *path = in_dir("a:b.mp4"); /* a colon is no protocol */
    CHECK(!write_film(path, &err), "%s", err.message);
    CHECK(!exists(in_dir("a:b.mp4.part")), "part file left");
    hm_decoder *d;
    CHECK(!hm_decoder_open(&d, path, &err), "%s", err.message);
    if (!d) return;
    const hm_media_info *i = hm_decoder_info(d);
    CHECK(i->width == FW && i->height == FH && i->fps_num == 24 && i->fps_den == 1 && i->n_frames == FN,
          "info");
    CHECK_NEAR(i->seconds, FN / 24.0, 0.01, "seconds %g", i->seconds);
    for (size_t t = 0; t < HM_COUNT(tags); t++) {
        const char *v = hm_decoder_tag(d, tags[t].key);
        CHECK(v && !strcmp(v, tags[t].value), "tag %s is %s", tags[t].key, v ? v : "missing");
    }
    static float want[3 * FW * FH];
    static uint8_t got[3 * FW * FH];
    int n = 0;
    double worst = 99, at;
    for (bool done = false; !done; n++) {
        CHECK(!hm_decoder_next(d, got, &at, &done, &err), "%s", err.message);
        if (done) break;
        paint(want, FW, FH, 0.1 * n);
        worst = fmin(worst, psnr8(got, want, HM_COUNT(want)));
        CHECK_NEAR(at, n / 24.0, 1e-3, "frame %d at %g", n, at);
    }
    CHECK(n == FN, "%d frames", n);
    CHECK(worst > 36, "worst frame %.1f dB",
          worst); /* crf 18 and 4:2:0; a wrong matrix or range gives < 30 */
    hm_decoder_free(d);
    write_film(in_dir("c.mp4"), &err);
    hm_map a, b;
    hm_map_open(&a, in_dir("a:b.mp4"), NULL);
    hm_map_open(&b, in_dir("c.mp4"), NULL);
    CHECK(a.len && a.len == b.len && !memcmp(a.data, b.data, a.len), "same frames, other bytes");
    CHECK(a.len > 40 && !memcmp(a.data + 4, "ftyp", 4) &&
              !memcmp(a.data + ((size_t)a.data[2] << 8) + a.data[3] + 4, "moov", 4),
          "index is not in front");
    hm_map_close(&a);
    hm_map_close(&b);
}

static void test_film_errors(void)
{
    himmel_error err = {0};
    CHECK(write_film(in_dir("none/a.mp4"), &err) == HIMMEL_EIO && strstr(err.message, "none/a.mp4"), "%s",
          err.message);
    mkdir(in_dir("d.mp4"), 0777);
    CHECK(write_film(in_dir("d.mp4"), &err) == HIMMEL_EIO && strstr(err.message, "d.mp4"), "%s", err.message);
    hm_encoder *e;
    CHECK(!hm_encoder_open(&e, in_dir("gone.mp4"), &(hm_encoder_opts){.width = FW, .height = FH, .fps_num = 24, .fps_den = 1}, &err), "%s",
          err.message);
    CHECK(exists(in_dir("gone.mp4.part")), "part file");
    hm_encoder_free(e);
    CHECK(!exists(in_dir("gone.mp4.part")) && !exists(in_dir("gone.mp4")), "something left after giving up");
    /* a file that must not grow behaves like a full disk */
    struct rlimit old, tight;
    getrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 16; limit < 6000;
         limit = 2 * limit + 700) { /* early, in the middle, in the trailer */
        tight = (struct rlimit){limit, old.rlim_max};
        setrlimit(RLIMIT_FSIZE, &tight);
        const himmel_status rc = write_film(in_dir("full.mp4"), &err);
        setrlimit(RLIMIT_FSIZE, &old);
        CHECK(rc == HIMMEL_EIO && strstr(err.message, "full.mp4"), "limit %ld: %d %s", (long)limit, rc,
              err.message);
        CHECK(!exists(in_dir("full.mp4")) && !exists(in_dir("full.mp4.part")), "half a file left at %ld",
              (long)limit);
    }
}

static void test_images(void)
{
    static const struct {
        const char *name;
        double floor;
    } cases[] = {{"p.png", 52}, {"p.jpg", 40}, {"p.JPEG", 40}, {"p.webp", 36}};
    enum { W = 130, H = 70 };
    static float src[3 * W * H];
    static uint8_t px[3 * W * H], got[3 * W * H];
    paint(src, W, H, 0);
    for (int i = 0; i < 3 * W * H; i++) px[i] = (uint8_t)lrintf(255 * src[i]);
    const hm_frame f = rgb_frame(px, W, H);
    himmel_error err = {0};
    for (size_t i = 0; i < HM_COUNT(cases); i++) {
        const char *path = in_dir(cases[i].name);
        uint64_t bytes = 0;
        CHECK(!hm_image_write(path, &f, tags, HM_COUNT(tags), &bytes, &err), "%s", err.message);
        hm_map m;
        hm_map_open(&m, path, NULL);
        CHECK(m.len == bytes && m.len && memmem(m.data, m.len, "M\xc3\xb6we", 5), "%s: prompt is not in it",
              path);
        hm_map_close(&m);
        hm_decoder *d;
        bool done = true;
        CHECK(!hm_decoder_open(&d, path, &err), "%s", err.message);
        if (!d) continue;
        CHECK(!hm_decoder_next(d, got, NULL, &done, &err) && !done, "%s: %s", path, err.message);
        CHECK(psnr8(got, src, HM_COUNT(src)) > cases[i].floor, "%s: %.1f dB", path,
              psnr8(got, src, HM_COUNT(src)));
        CHECK(hm_decoder_info(d)->width == W && hm_decoder_info(d)->height == H &&
                  !hm_decoder_info(d)->fps_num,
              "info");
        hm_decoder_free(d);
    }
    CHECK(hm_image_write(in_dir("p.bmp"), &f, NULL, 0, NULL, &err) == HIMMEL_EINVAL, "bmp");
    CHECK(hm_image_write(in_dir("none/p.png"), &f, NULL, 0, NULL, &err) == HIMMEL_EIO, "no folder");
    CHECK(!hm_image_writable("png") && !hm_image_writable(".png") && hm_image_writable("a.PNG"), "endings");
}

static void test_bad_files(void)
{
    himmel_error err = {0};
    hm_decoder *d;
    CHECK(hm_decoder_open(&d, in_dir("missing.mp4"), &err) == HIMMEL_EIO && !d &&
              strstr(err.message, "missing.mp4"),
          "%s", err.message);
    hm_write_file(in_dir("text.mp4"), "this is no film\n", 16, NULL);
    CHECK(hm_decoder_open(&d, in_dir("text.mp4"), &err) == HIMMEL_EFORMAT && !d, "%s", err.message);
    hm_write_file(in_dir("empty.png"), "", 0, NULL);
    CHECK(hm_decoder_open(&d, in_dir("empty.png"), &err) && !d, "%s", err.message);
    hm_map m;
    hm_map_open(&m, in_dir("a:b.mp4"), NULL);
    uint8_t *copy = malloc(m.len), *rgb = malloc(3 * HM_DECODE_MAX_SIDE * 16);
    for (uint32_t i = 0; i < 60; i++) { /* damaged films: an error or fewer frames, never a crash */
        memcpy(copy, m.data, m.len);
        hm_rng r = hm_rng_at(5, i);
        for (int k = 0; k < 8; k++) copy[hm_rng_below(&r, (uint32_t)m.len)] = (uint8_t)hm_rng_u32(&r);
        hm_write_file(in_dir("bad.mp4"), copy, i % 2 ? m.len : m.len / 2, NULL);
        if (hm_decoder_open(&d, in_dir("bad.mp4"), &err)) continue;
        bool done = hm_decoder_info(d)->width * hm_decoder_info(d)->height > HM_DECODE_MAX_SIDE * 16;
        for (int n = 0; n < 100 && !done; n++)
            if (hm_decoder_next(d, rgb, NULL, &done, &err)) break;
        hm_decoder_free(d);
    }
    free(copy), free(rgb);
    hm_map_close(&m);
}

int main(void)
{
    if (!mkdtemp(dir)) return 1;
    test_scale();
    test_scale_details();
    test_yuv();
    test_film();
    test_film_errors();
    test_images();
    test_bad_files();
    char cmd[300];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    if (system(cmd)) return 1;
    return CHECK_END();
}
