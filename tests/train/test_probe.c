/* test_probe.c - the probe: what it is asked, what it sees, and that it learns, saves and reads.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "train/cache.h"
#include "train/probe.h"
#include "train/train.h"

static void test_asking(void)
{
    uint64_t seed = HM_PROBE_TEST_SEEDS;
    int coloured = 0, counted = 0, sided = 0;
    for (int i = 0; i < 300; i++) {
        hm_scene s, next;
        const uint64_t before = seed;
        hm_held_out_scene(&s, &seed);
        if (!hm_held_out(&s) || seed <= before || s.seed != seed - 1)
            CHECK(false, "scene %d is not held out", i);
        const uint32_t ask = hm_probe_askable(&s);
        CHECK((ask & 15) == 15 && (ask >> HM_FACT_CAMERA & 3) == 3,
              "time, weather, place, subject, camera, pace: always");
        coloured += ask >> HM_FACT_COLOUR & 1;
        counted += ask >> HM_FACT_COUNT & 1;
        sided += ask >> HM_FACT_SIDE & 1;
        if (ask >> HM_FACT_COLOUR & 1)
            CHECK(s.fact[HM_FACT_COLOUR] != HM_COLOUR_NONE, "no colour to ask for");
        if (i == 0) {
            uint64_t again = HM_PROBE_TEST_SEEDS;
            hm_held_out_scene(&next, &again);
            CHECK(next.seed == s.seed, "the list of scenes is fixed");
        }
    }
    CHECK(coloured > 60 && counted > 60 && sided > 100, "asked: colour %d, count %d, side %d", coloured,
          counted, sided);
}

/* Pictures and changes come where they belong. */
static void test_input(void)
{
    const size_t frame = HM_PROBE_FRAME_BYTES, pixels = frame / 3;
    float *frames = malloc(HM_PROBE_CLIP_BYTES * sizeof *frames),
          *x = malloc(HM_PROBE_CLIP_INPUT * sizeof *x);
    uint8_t *bytes = malloc(frame);
    if (!frames || !x || !bytes) abort();
    for (size_t i = 0; i < HM_PROBE_CLIP_BYTES; i++)
        frames[i] = 0.25f + 0.05f * (float)(i / frame) + 0.01f * (float)(i % 3);
    frames[3 * frame + (2 * HM_PROBE_W + 5) * 3 + 1] = 1; /* frame 3, row 2, column 5, green */
    hm_probe_input(frames, x);
    const float *p =
        x + ((size_t)3 * pixels / 4 + 64 + 2) * HM_PROBE_IN; /* pair 3, rows 2 and 3, columns 4 and 5 */
    CHECK_NEAR(p[4], 2 * (0.25 + 0.15 + 0.01) - 1, 1e-5, "picture: %g", (double)p[4]);
    CHECK_NEAR(p[5], 1, 1e-5, "picture: %g", (double)p[5]);
    CHECK_NEAR(p[16], 0.2, 1e-5, "change: %g", (double)p[16]);
    CHECK_NEAR(p[17], 4 * (0.25 + 0.2 + 0.01 - 1), 1e-5, "change: %g", (double)p[17]);
    for (size_t i = 0; i < frame; i++) frames[i] = i % 4 == 0 ? -1 : i % 4 == 1 ? 2 : 0.5f;
    hm_probe_quantise(frames, bytes);
    CHECK(bytes[0] == 0 && bytes[1] == 255 && bytes[2] == 128, "8 bit: %d %d %d", bytes[0], bytes[1],
          bytes[2]);
    free(frames);
    free(x);
    free(bytes);
}

/* A soft stripe walks to the right or down, a quarter of a pixel a frame: the flow has that direction where it is steep. */
static void test_flow(void)
{
    float *frames = malloc(HM_PROBE_CLIP_BYTES * sizeof *frames), *x = malloc(HM_PROBE_CLIP_INPUT * sizeof *x);
    if (!frames || !x) abort();
    for (int k = 0; k < 4; k++) { /* right, left, down, up */
        const float step = k % 2 ? -0.25f : 0.25f;
        double sum[4] = {0};
        for (int f = 0; f < HM_PROBE_FRAMES; f++)
            for (int y = 0; y < HM_PROBE_H; y++)
                for (int i = 0; i < HM_PROBE_W; i++) {
                    const float at = (float)(k < 2 ? i - HM_PROBE_W / 2 : y - HM_PROBE_H / 2) - step * (float)f;
                    for (int c = 0; c < 3; c++)
                        frames[((size_t)(f * HM_PROBE_H + y) * HM_PROBE_W + (size_t)i) * 3 + (size_t)c] = expf(-at * at / 600);
                }
        hm_probe_input(frames, x);
        const size_t cells = HM_PROBE_CLIP_INPUT / HM_PROBE_IN;
        for (size_t i = 0; i < cells; i++)
            for (int j = 0; j < 4; j++) sum[j] += x[i * HM_PROBE_IN + 24 + (size_t)j] / (double)cells;
        const int along = k / 2, across = 1 - along;
        const double sign = k % 2 ? -1 : 1;
        CHECK(sign * sum[along] > 0.02 && sign * sum[2 + along] > 0.02, "direction %d: flow %g and %g", k, sum[along],
              sum[2 + along]);
        CHECK(fabs(sum[across]) < 1e-4 && fabs(sum[2 + across]) < 1e-4, "direction %d: nothing moves across", k);
        /* on the flank, 16 pixels from the middle, where the stripe is wide for either cell: 1/8 cell a frame times 4; 1/16 times 16 */
        const size_t cell = k < 2 ? 18 * 64 + 40 : (size_t)(26 * 64 + 32);
        const float *p = x + ((size_t)3 * cells / HM_PROBE_PAIRS + cell) * HM_PROBE_IN + 24;
        CHECK_NEAR(p[along], sign * 0.5, 0.05, "direction %d: %g", k, (double)p[along]);
        CHECK_NEAR(p[2 + along], sign * 1.0, 0.15, "direction %d: %g", k, (double)p[2 + along]);
    }
    free(frames);
    free(x);
}

typedef struct {
    double first, last;
    char line[400];
} losses;

static int on_step(void *user, const himmel_progress *p)
{
    losses *l = user;
    double loss;
    if (sscanf(p->note, "step %*d loss %lf", &loss) == 1) {
        if (l->first == 0) l->first = loss;
        l->last = loss;
    }
    if (!strncmp(p->note, "facts", 5)) snprintf(l->line, sizeof l->line, "%s", p->note);
    return 0;
}

static himmel_status train(const char *path, const char *steps, losses *l, himmel_error *err)
{
    const himmel_option o[] = {{"out", path}, {"steps", steps}, {"batch", "4"},
                               {"uses", "4"}, {"test", "20"},   {"seed", "3"}};
    const hm_job job = {o, HM_COUNT(o), on_step, l};
    return hm_train_probe_cmd(&job, err);
}

static void test_training(void)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/hm_probe_%d.safetensors", (int)getpid());
    losses l = {0};
    himmel_error err = {0};
    hm_probe *p = NULL;
    CHECK(train(path, "2", &l, &err) == HIMMEL_OK, "%s", err.message);
    CHECK(strstr(l.line, "time") && strstr(l.line, "side"), "says what it read: %s", l.line);
    /* Nine uniform guesses cost sum ln(size) = 17.0 at the start. */
    CHECK(l.last > 10 && l.last < 25, "loss of a fresh network: %g", l.last);
    CHECK(hm_probe_open(&p, path, &err) == HIMMEL_OK, "%s", err.message);
    hm_scene s[3];
    uint64_t seed = HM_PROBE_TEST_SEEDS;
    uint8_t *clips = calloc(3, HM_PROBE_CLIP_BYTES), fact[3][HM_N_FACTS], again[1][HM_N_FACTS];
    float z[3 * HM_PROBE_D], one[HM_PROBE_D];
    if (!clips || !p) abort();
    for (int i = 0; i < 3; i++) {
        hm_held_out_scene(&s[i], &seed);
        CHECK(hm_probe_render(&s[i], 1.0, clips + (size_t)i * HM_PROBE_CLIP_BYTES, &err) == HIMMEL_OK, "%s",
              err.message);
    }
    CHECK(hm_probe_look(p, clips, 3, fact, z, &err) == HIMMEL_OK, "%s", err.message);
    CHECK(hm_probe_look(p, clips + 2 * (size_t)HM_PROBE_CLIP_BYTES, 1, again, one, &err) == HIMMEL_OK, "%s",
          err.message);
    CHECK(!memcmp(fact[2], again[0], sizeof again[0]), "a clip is read alike alone and in company");
    double d = 0, between = 0;
    for (int k = 0; k < HM_PROBE_D; k++)
        d += fabsf(z[2 * HM_PROBE_D + k] - one[k]), between += fabsf(z[k] - one[k]);
    CHECK(d < 1e-2 * between && between > 0, "features: %g between readings, %g between clips", d, between);
    for (int i = 0; i < 3; i++)
        for (int f = 0; f < HM_N_FACTS; f++) CHECK(fact[i][f] < hm_fact_size((hm_fact)f), "value in range");
    hm_probe_free(p);
    CHECK(hm_probe_open(&p, FIXTURES "/ltx_t5.safetensors", &err) != HIMMEL_OK && !p,
          "a foreign file is refused");
    unlink(path);
    free(clips);
}

int main(void)
{
    test_asking();
    test_input();
    test_flow();
    test_training();
    return CHECK_END();
}
