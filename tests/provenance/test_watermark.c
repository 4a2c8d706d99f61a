/* test_watermark.c - the invisible watermark: code, quality, attacks, ranges, and what verify makes of it.
 * SPDX-License-Identifier: MIT */
#include "provenance/sample.h"
#include "provenance/watermark_internal.h"

enum { W = 480, H = 320 };
static const hm_wm_payload one = {{1, 2, 3, 4, 5, 6}, {7, 8, 9, 10}}, two = {{201, 2, 33, 4, 95, 6}, {7, 8, 9, 10}};

/* ---- code ---- */

static float normal(hm_rng *r)
{
    const double u = (hm_rng_u32(r) + 1.0) / 4294967297.0, v = hm_rng_u32(r) / 4294967296.0;
    return (float)(sqrt(-2 * log(u)) * cos(2 * M_PI * v));
}

static void test_code(void)
{
    uint8_t sent[HM_WM_BYTES], got[HM_WM_BYTES];
    int8_t coded[HM_WM_CODED];
    float soft[HM_WM_CODED];
    void *work = malloc(hm_wm_decode_bytes());
    hm_rng r = hm_rng_at(1, 2);
    hm_wm_payload p;
    int tried = 0;
    hm_wm_pack(&one, sent);
    hm_wm_encode(sent, coded);
    for (int turn = 0; turn < 8; turn++) { /* noise half as strong again as the bits */
        for (int i = 0; i < HM_WM_CODED; i++) soft[i] = coded[i] + 1.3f * normal(&r);
        CHECK(hm_wm_decode(soft, got, work, &tried) && !memcmp(got, sent, sizeof got), "turn %d", turn);
        CHECK(hm_wm_evidence(soft, sent) > 9, "turn %d: %g deviations", turn, hm_wm_evidence(soft, sent));
    }
    CHECK(hm_wm_unpack(&p, got) && !memcmp(&p, &one, sizeof p), "unpack");
    for (int turn = 0; turn < 20; turn++) {
        for (int i = 0; i < HM_WM_CODED; i++) soft[i] = normal(&r);
        CHECK(!hm_wm_decode(soft, got, work, &tried), "noise is a message");
        CHECK(fabs(hm_wm_evidence(soft, sent)) < 4.5, "evidence in noise: %g", hm_wm_evidence(soft, sent));
    }
    got[0] = 0x12; /* another's tag, all else right */
    hm_wm_encode(got, coded);
    for (int i = 0; i < HM_WM_CODED; i++) soft[i] = coded[i];
    CHECK(!hm_wm_decode(soft, got, work, &tried), "another's tag was taken");
    free(work);
}

/* ---- frames ---- */

/* Clouds over a smooth sky; the left eighth is as smooth as can be. They drift with time. */
static hm_frame picture(uint64_t seed, int time)
{
    const hm_frame f = {HM_FRAME_RGB8, W, H, {malloc(3 * W * H)}, {3 * W}};
    float wave[24][4];
    hm_rng r = hm_rng_at(seed, 3);
    for (int i = 0; i < 24; i++) {
        const float length = 6.0f + 4.0f * (float)i, turn = (float)hm_rng_below(&r, 628) / 100;
        wave[i][0] = cosf(turn) * 6.28f / length, wave[i][1] = sinf(turn) * 6.28f / length;
        wave[i][2] = (float)hm_rng_below(&r, 628) / 100, wave[i][3] = 0.08f * length;
    }
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            float v = 90 + 0.2f * (float)y;
            for (int i = 0; i < 24 && x >= W / 8; i++)
                v += wave[i][3] * sinf(wave[i][0] * (float)(x + 2 * time) + wave[i][1] * (float)y + wave[i][2]);
            if (x >= W / 8) v += (float)hm_rng_below(&r, 5);
            for (int k = 0; k < 3; k++) f.plane[0][3 * (y * W + x) + k] = (uint8_t)fminf(fmaxf(v, 0), 255);
        }
    return f;
}

static void mark(const hm_frame *f, const hm_wm_payload *p, const uint8_t *alpha, int threads)
{
    hm_watermark *m;
    CHECK(!hm_watermark_new(&m, f->w, f->h, p, threads, NULL), "new");
    hm_watermark_embed(m, f, alpha);
    hm_watermark_free(m);
}

static hm_wm_report read_one(const hm_frame *f)
{
    hm_wm_detector *d;
    hm_wm_report r = {0};
    CHECK(!hm_wm_detector_new(&d, NULL) && !hm_wm_detector_add(d, f, 0, NULL) && !hm_wm_detector_find(d, &r, NULL), "read");
    hm_wm_detector_free(d);
    CHECK(r.false_alarm > 0 && r.false_alarm < 1e-6, "bound %g", r.false_alarm);
    return r;
}

static bool carries(const hm_wm_report *r, const hm_wm_payload *p)
{
    for (int i = 0; i < r->n; i++)
        if (!memcmp(&r->found[i].payload, p, sizeof *p)) return true;
    return false;
}

static void test_quality(void)
{
    uint8_t alpha[W * H];
    const hm_frame a = picture(1, 0), b = picture(1, 0), c = picture(1, 0), plain = picture(1, 0);
    double all = 0, flat = 0;
    int outside = 0;
    mark(&a, &one, NULL, 1);
    mark(&b, &one, NULL, 3);
    CHECK(!memcmp(a.plane[0], b.plane[0], 3 * W * H), "the bytes depend on the number of threads");
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            const double d = a.plane[0][3 * (y * W + x)] - plain.plane[0][3 * (y * W + x)];
            all += d * d;
            if (x < W / 8 - 16) flat += d * d;
            alpha[y * W + x] = x < W / 2 ? 0 : 255;
        }
    CHECK(10 * log10(255.0 * 255.0 * W * H / all) > 42, "PSNR %.2f dB", 10 * log10(255.0 * 255.0 * W * H / all));
    CHECK(sqrt(flat / ((W / 8 - 16) * H)) <= 1, "%.2f code values RMS where it is smooth", sqrt(flat / ((W / 8 - 16) * H)));
    CHECK(flat > 0, "nothing where it is smooth");
    mark(&c, &one, alpha, 0);
    for (int i = 0; i < W * H; i++) outside += !alpha[i] && c.plane[0][3 * i] != plain.plane[0][3 * i];
    CHECK(!outside, "%d pixels changed that are not new", outside);
    free(a.plane[0]), free(b.plane[0]), free(c.plane[0]), free(plain.plane[0]);
}

/* Where a frame would get too much, its roughest half pays for it, and the smooth part keeps what it gets otherwise. */
static void test_rough(void)
{
    const hm_frame plain = picture(1, 0), rough = picture(1, 0), a = picture(1, 0), b = picture(1, 0);
    hm_rng r = hm_rng_at(4, 4);
    double all = 0;
    int other = 0;
    for (int i = 0; i < W * H; i++) {
        const int v = plain.plane[0][3 * i], grain = i % W < W / 2 ? 0 : (int)hm_rng_below(&r, 81) - 40;
        for (int k = 0; k < 3; k++)
            b.plane[0][3 * i + k] = rough.plane[0][3 * i + k] = (uint8_t)HM_MAX(0, HM_MIN(v + grain, 255));
    }
    mark(&a, &one, NULL, 0);
    mark(&b, &one, NULL, 0);
    for (int i = 0; i < W * H; i++) {
        const double d = b.plane[0][3 * i] - rough.plane[0][3 * i];
        all += d * d;
        other += i % W < W / 8 - 16 && a.plane[0][3 * i] != b.plane[0][3 * i];
    }
    const double psnr = 10 * log10(255.0 * 255.0 * W * H / all);
    CHECK(psnr > 42 && psnr < 42.4, "PSNR %.2f dB", psnr);
    CHECK(!other, "%d smooth pixels have another mark beside rough ones", other);
    free(plain.plane[0]), free(rough.plane[0]), free(a.plane[0]), free(b.plane[0]);
}

/* Smooth and rough stripes of 24 pixels by turns: what the rough ones get does not reach over into the smooth ones. Counted are
 * pixels around which 8 x 8 are of one kind. */
static void test_stripes(void)
{
    const hm_frame f = picture(1, 0), plain = picture(1, 0);
    hm_rng r = hm_rng_at(5, 5);
    double smooth = 0, rough = 0;
    int n = 0;
    for (int i = 0; i < W * H; i++) {
        const int v = 90 + i / W / 5 + (i % W / 24 % 2 ? (int)hm_rng_below(&r, 41) - 20 : 0);
        for (int k = 0; k < 3; k++) f.plane[0][3 * i + k] = plain.plane[0][3 * i + k] = (uint8_t)v;
    }
    mark(&f, &one, NULL, 0);
    for (int i = 0; i < W * H; i++) {
        const double d = f.plane[0][3 * i] - plain.plane[0][3 * i];
        if (i % W % 24 < 4 || i % W % 24 > 19) continue;
        n++;
        *(i % W / 24 % 2 ? &rough : &smooth) += d * d;
    }
    smooth = sqrt(2 * smooth / n), rough = sqrt(2 * rough / n);
    CHECK(smooth > 0.8 && smooth <= 1 && rough > 1.6, "%.3f code values RMS where smooth, %.3f where rough", smooth, rough);
    free(f.plane[0]), free(plain.plane[0]);
}

/* The part of f at (x, y), at another size. */
static hm_frame cut(const hm_frame *f, double x, double y, double w, double h, int out_w, int out_h)
{
    hm_scaler *s;
    const hm_scale_opts o = {f->w, f->h, x, y, w, h, out_w, out_h, HM_FRAME_RGB8, 1};
    const hm_frame out = {HM_FRAME_RGB8, out_w, out_h, {malloc(3 * (size_t)out_w * (size_t)out_h)}, {3 * out_w}};
    CHECK(!hm_scaler_new(&s, &o, NULL), "scaler");
    hm_scale(s, f->plane[0], HM_PIX_U8, &out);
    hm_scaler_free(s);
    return out;
}

static void test_attacks(void)
{
    static const struct { double x, y, w, h, scale; int out_w, out_h; } cuts[] = {
        {0, 0, W, H, 1, W, H}, {0, 0, W, H, 1, 266, 178}, {0, 0, W, H, 1, 700, 466}, {80, 30, 340, 226, 1.41, 340, 226}};
    const hm_frame f = picture(5, 0);
    mark(&f, &two, NULL, 0);
    for (size_t i = 0; i < HM_COUNT(cuts); i++) {
        const hm_frame c = cut(&f, cuts[i].x, cuts[i].y, cuts[i].w, cuts[i].h, cuts[i].out_w, cuts[i].out_h);
        const hm_wm_report r = read_one(&c);
        CHECK(r.n == 1 && carries(&r, &two), "cut %zu: %d found", i, r.n);
        CHECK_NEAR(r.found[0].scale, cuts[i].scale, 0.02, "cut %zu: scale %g", i, r.found[0].scale);
        free(c.plane[0]);
    }
    for (int y = 0; y < H; y++) /* mirrored, darker */
        for (int x = 0; x < W / 2; x++)
            for (int k = 0; k < 3; k++) {
                uint8_t *a = f.plane[0] + 3 * (y * W + x) + k, *b = f.plane[0] + 3 * (y * W + W - 1 - x) + k, t = *a;
                *a = (uint8_t)(*b * 3 / 4), *b = (uint8_t)(t * 3 / 4);
            }
    const hm_wm_report r = read_one(&f);
    CHECK(r.n == 1 && carries(&r, &two) && r.found[0].mirrored, "mirrored: %d found", r.n);
    free(f.plane[0]);
}

static void test_unmarked(void)
{
    for (uint64_t seed = 100; seed < 112; seed++) {
        const hm_frame f = picture(seed, 0);
        const hm_wm_report r = read_one(&f);
        CHECK(!r.n, "seed %d: a watermark that nobody wrote", (int)seed);
        free(f.plane[0]);
    }
}

/* Seconds 0 and 1 carry one, 2 nothing, 3 and 4 the other; then one in the left half, the other in the right. */
static void test_ranges(void)
{
    uint8_t alpha[W * H];
    hm_wm_detector *d;
    hm_wm_report r;
    CHECK(!hm_wm_detector_new(&d, NULL), "new");
    for (int i = 0; i < 20; i++) {
        const hm_frame f = picture(9, i);
        if (i / 4 != 2) mark(&f, i / 4 < 2 ? &one : &two, NULL, 0);
        CHECK(!hm_wm_detector_add(d, &f, i / 4.0, NULL), "add");
        free(f.plane[0]);
    }
    CHECK(!hm_wm_detector_find(d, &r, NULL) && r.n == 2, "%d found", r.n);
    CHECK(!memcmp(&r.found[0].payload, &one, sizeof one) && r.found[0].from <= 0 && fabs(r.found[0].to - 1.75) < 1e-6,
          "first: %g to %g", r.found[0].from, r.found[0].to);
    CHECK(!memcmp(&r.found[1].payload, &two, sizeof two) && fabs(r.found[1].from - 3) < 1e-6, "second: from %g", r.found[1].from);
    hm_wm_detector_free(d);
    CHECK(!hm_wm_detector_new(&d, NULL), "new");
    for (int i = 0; i < 8; i++) {
        const hm_frame f = picture(11, i);
        for (int turn = 0; turn < 2; turn++) {
            for (int k = 0; k < W * H; k++) alpha[k] = (k % W < W / 2) == turn ? 255 : 0;
            mark(&f, turn ? &one : &two, alpha, 0);
        }
        CHECK(!hm_wm_detector_add(d, &f, i / 4.0, NULL), "add");
        free(f.plane[0]);
    }
    CHECK(!hm_wm_detector_find(d, &r, NULL) && carries(&r, &one) && carries(&r, &two), "halves: %d found", r.n);
    hm_wm_detector_free(d);
}

static void test_refused(void)
{
    hm_watermark *m;
    hm_wm_detector *d;
    himmel_error err = {0};
    const hm_frame a = {HM_FRAME_RGB8, 8, 64, {NULL}, {24}};
    CHECK(hm_watermark_new(&m, 15, 64, &one, 1, &err) == HIMMEL_EINVAL && strstr(err.message, "15x64"), "%s", err.message);
    CHECK(!hm_wm_detector_new(&d, NULL) && hm_wm_detector_add(d, &a, 0, &err) == HIMMEL_EINVAL, "%s", err.message);
    hm_wm_detector_free(d);
}

/* ---- what verify makes of it ---- */

static void write_picture(const char *path, const hm_wm_payload *p)
{
    const hm_frame f = picture(21, 0);
    if (p) mark(&f, p, NULL, 0);
    CHECK(!hm_image_write(path, &f, NULL, 0, NULL, NULL), "%s", path);
    free(f.plane[0]);
}

/* A picture with `inside` in it (may be NULL), signed as one that carries `named` (may be NULL). */
static himmel_verdict verdict_of(const char *name, const hm_wm_payload *inside, const hm_wm_payload *named, const hm_identity *id)
{
    char hex[HM_WM_HEX];
    const char *path = in_dir(name);
    hm_credit c = sample_credit();
    himmel_verdict v = {0};
    write_picture(path, inside);
    if (named) hm_wm_hex(named, hex), c.watermark = hex;
    bytes plain = read_bytes(path), sealed = id ? sign_bytes(plain, &c, id) : plain;
    write_bytes(path, sealed);
    CHECK(!himmel_verify(path, in_dir("one"), &v, NULL), "%s", path);
    if (sealed.data != plain.data) free(sealed.data);
    free(plain.data);
    return v;
}

static void expect(himmel_verdict v, const char *agreement, himmel_layer layer, const char *why)
{
    json_t *all = json_loads(v.json, 0, NULL);
    const char *state = json_string_value(json_object_get(json_object_get(all, "agreement"), "state"));
    CHECK(state && !strcmp(state, agreement), "%s: %s, not %s: %s", why, state ? state : "?", agreement, v.json);
    CHECK(v.watermark == layer && v.disagree == !strcmp(agreement, "disagree"), "%s", why);
    json_decref(all);
    himmel_verdict_free(&v);
}

static void test_verdicts(void)
{
    hm_identity *id = make_identity("one", HM_ED25519);
    const hm_credit c = sample_credit();
    uint8_t film[32];
    hm_wm_payload own;
    hm_film_id(&c, id, film);
    memcpy(own.film_id, film, sizeof own.film_id);
    memcpy(own.issuer_id, id->issuer_id, sizeof own.issuer_id);
    expect(verdict_of("a.png", &own, &own, id), "agree", HIMMEL_LAYER_FOUND, "as it should be");
    expect(verdict_of("b.png", &two, &own, id), "disagree", HIMMEL_LAYER_FOUND, "marked as another film");
    expect(verdict_of("c.png", &two, &two, id), "disagree", HIMMEL_LAYER_FOUND, "another film's mark, signed");
    expect(verdict_of("d.png", NULL, &own, id), "incomplete", HIMMEL_LAYER_ABSENT, "mark is gone");
    expect(verdict_of("e.png", &own, NULL, NULL), "incomplete", HIMMEL_LAYER_FOUND, "credentials are gone");
    expect(verdict_of("f.png", NULL, NULL, NULL), "none", HIMMEL_LAYER_ABSENT, "nothing");
    expect(verdict_of("g.jpg", &own, &own, id), "agree", HIMMEL_LAYER_FOUND, "JPEG");
    hm_identity_free(id);
}

int main(void)
{
    if (!mkdtemp(sample_dir)) return 1;
    test_code();
    test_quality();
    test_rough();
    test_stripes();
    test_attacks();
    test_unmarked();
    test_ranges();
    test_refused();
    test_verdicts();
    clean_up();
    return CHECK_END();
}
