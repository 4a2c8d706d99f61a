/* test_batch.c - shards and batches: clean latents can be recovered, known tokens are clean and weigh nothing,
 * a batch is a function of (seed, step).   SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "models/himmel/himmel1.h"
#include "train/batch.h"
#include "world/caption.h"

enum { SCENES = 3, T = 4, GH = 4, GW = 6, K = 8, AREA = GH * GW };

/* A value that says where it stands: record, latent frame, block, coefficient; small enough for bf16 to be exact. */
static float value(int rec, int t, int n, int k) { return (float)(rec * 64 + t * 16 + (n % GW) * 2 + k % 2); }

static void write_shard(const char *dir)
{
    static uint16_t z[SCENES * T * AREA * K], stills[SCENES * (T - 1) * AREA * K];
    static uint8_t subject[SCENES * T * AREA]; /* column 1 */
    int64_t seed[SCENES];
    for (int i = 0; i < SCENES * T * AREA; i++) subject[i] = i % GW == 1 ? 255 : 0;
    for (int r = 0; r < SCENES; r++) {
        seed[r] = 100 + r;
        for (int t = 0; t < T; t++)
            for (int n = 0; n < AREA; n++)
                for (int k = 0; k < K; k++) {
                    z[((r * T + t) * AREA + n) * K + k] = hm_f32_to_bf16(value(r, t, n, k));
                    if (t) stills[((r * (T - 1) + t - 1) * AREA + n) * K + k] = hm_f32_to_bf16(value(r, t, n, k));
                }
    }
    char path[512];
    snprintf(path, sizeof path, "%s/a.st", dir);
    himmel_error err = {0};
    hm_st_writer *w = hm_st_writer_new();
    CHECK(!hm_st_add(w, "z", HM_BF16, HM_DIMS(SCENES, T, GH, GW, K), z, &err), "%s", err.message);
    CHECK(!hm_st_add(w, "stills", HM_BF16, HM_DIMS(SCENES, T - 1, GH, GW, K), stills, &err), "%s", err.message);
    CHECK(!hm_st_add(w, "subject", HM_U8, HM_DIMS(SCENES, T, GH, GW), subject, &err), "%s", err.message);
    CHECK(!hm_st_add(w, "seed", HM_I64, HM_DIMS(SCENES), seed, &err), "%s", err.message);
    CHECK(!hm_st_add_meta(w, "codec_sha256", "abc", &err), "%s", err.message);
    CHECK(!hm_st_write(w, path, &err), "%s", err.message);
    hm_st_writer_free(w);
}

/* x - t v must be a record's latents: plain, or mirrored with the parity's signs. */
static void check_sample(const hm_batch *b, int64_t i, const float *parity)
{
    const int64_t film = b->T * AREA;
    int64_t known = 0;
    for (int64_t n = 0; n < b->N; n++) {
        const int level = b->row[i * b->N + n];
        const float t = b->levels[level], w = b->weight[i * b->N + n];
        const bool fixed = level & 1;
        known += fixed;
        CHECK(level / 2 == i && (fixed ? t == 0 && w == 0 : t > 0 && t < 1 && w > 0), "level %d t %g w %g", level, (double)t, (double)w);
        if (n >= film) CHECK(fixed, "an extra still is always known");
        const float *x = b->x + (i * b->N + n) * K, *v = b->target + (i * b->N + n) * K;
        int match = 0;
        for (int flip = 0; flip < 2 && !match; flip++)
            for (int r = 0; r < SCENES && !match; r++)
                for (int f = 0; f < T && !match; f++) {
                    const int col = (int)(n % GW), at = flip ? (int)(n - col + GW - 1 - col) : (int)n;
                    match = 1;
                    for (int k = 0; k < K; k++)
                        match &= fabsf(x[k] - t * v[k] - (flip ? parity[k] : 1) * value(r, f, at, k)) < 1e-3f;
                }
        CHECK(match, "sample %d token %d is no record's", (int)i, (int)n);
        const float *p = b->place + n * HM_H1_PLACE; /* cos(pi u), .. cos(pi v), .. still, time, length, shape */
        CHECK(fabs(p[0] - cos(M_PI * ((double)(n % GW) + 0.5) / GW)) < 1e-6 && fabs(p[6] - cos(M_PI * ((double)(n % AREA / GW) + 0.5) / GH)) < 1e-6 &&
                  p[12] == (n < AREA || n >= film) && fabs(p[13] - 0.1 * b->pos[n][0]) < 1e-6 && fabs(p[14] - 0.1 * (double)(b->T - 1)) < 1e-6 &&
                  fabs(p[15] - log((double)GW / GH)) < 1e-6, "place of token %d", (int)n);
        if (n < film) CHECK(b->pos[n][1] == 16.0 * (double)(n % AREA / GW) && b->pos[n][2] == 16.0 * (double)(n % GW), "position");
    }
    CHECK(known < film + b->n_extra * AREA, "something is left to learn");
}

/* heavy: the same batch with the subject weighing 3. */
static void check_subject(const hm_batch *b, const hm_batch *heavy)
{
    for (int64_t n = 0; n < b->B * b->N; n++) {
        const float t = b->levels[b->row[n]], clean = b->x[n * K] - t * b->target[n * K];
        const bool subject = (int)lrintf(clean) % 16 / 2 == 1 && n % b->N < b->T * AREA;
        const float level = b->levels[b->row[n] / 2 * 2], most = subject ? 3 : 1, times = heavy->weight[n] / b->weight[n];
        if (!b->weight[n]) continue;
        CHECK(level > 0.7f || fabsf(times - most) < 1e-4f, "token %d at level %g weighs %g times as much", (int)n, (double)level, (double)times);
        CHECK(level < 0.95f || fabsf(times - 1) < 1e-4f, "token %d at level %g weighs %g times as much", (int)n, (double)level, (double)times);
        CHECK(times > 1 - 1e-4f && times < most + 1e-4f, "token %d: %g", (int)n, (double)times);
        CHECK(heavy->share[n] == (float)subject && heavy->share_weight[n] == 1, "token %d: share %g", (int)n, (double)heavy->share[n]);
    }
}

int main(void)
{
    char dir[] = "/tmp/hm_batch_XXXXXX", path[512];
    CHECK(mkdtemp(dir) != NULL, "mkdtemp");
    write_shard(dir);
    himmel_error err = {0};
    hm_cache c;
    CHECK(hm_cache_open(&c, dir, K, "abd", &err) == HIMMEL_EINVAL, "another codec's shard is refused: %s", err.message);
    CHECK(!hm_cache_open(&c, dir, K, "abc", &err), "%s", err.message);
    CHECK(c.n_groups == 1 && c.group[0].n == SCENES && c.group[0].T == T, "one group");
    const char *lines[200];
    char text[200][256];
    for (int i = 0; i < 200; i++) {
        hm_scene s;
        hm_scene_random(&s, (uint64_t)i);
        hm_caption_opts o = {.say = hm_caption_sayable(&s)};
        hm_caption(text[i], sizeof text[i], &s, &o, (uint64_t)i, NULL);
        lines[i] = text[i];
    }
    hm_tokenizer *tok = NULL;
    CHECK(!hm_tok_train(&tok, lines, 200, 400, &err), "%s", err.message);
    hm_batch a, b;
    CHECK(!hm_batch_init(&a, 8, 7 * AREA, K, 48, &err) && !hm_batch_init(&b, 8, 7 * AREA, K, 48, &err), "%s", err.message);
    const float parity[K] = {1, -1, 1, -1, 1, -1, 1, -1};
    const hm_batch_opts o = {.drop_prompt = 0.1, .drop_fact = 0.15, .known = 0.7, .t_mean = 0.3, .t_scale = 1.1, .fixed_t = -1};
    int extra = 0, crop = 0, masked = 0;
    for (int64_t step = 0; step < 60; step++) {
        hm_batch_fill(&a, &c, &c.group[0], parity, tok, &o, 8, 5, step);
        extra += a.n_extra > 0;
        crop += a.T < T;
        CHECK(a.M % 8 == 0 && a.M <= 48 && a.N == (a.T + a.n_extra) * AREA, "sizes");
        for (int64_t i = 0; i < a.B; i++) {
            check_sample(&a, i, parity);
            masked += a.row[i * a.N] & 1;
        }
    }
    CHECK(extra && crop && masked, "every kind of batch occurs: %d extra stills, %d crops, %d known stills", extra, crop, masked);
    hm_batch_fill(&b, &c, &c.group[0], parity, tok, &o, 8, 5, 59);
    CHECK(!memcmp(a.x, b.x, (size_t)(a.B * a.N * K) * sizeof(float)) && !memcmp(a.ids, b.ids, (size_t)(a.B * a.M) * 4), "same (seed, step), same batch");
    hm_batch_opts heavy = o;
    heavy.subject = 3;
    for (int64_t step = 0; step < 10; step++) {
        hm_batch_fill(&a, &c, &c.group[0], parity, tok, &o, 8, 5, step);
        hm_batch_fill(&b, &c, &c.group[0], parity, tok, &heavy, 8, 5, step);
        check_subject(&a, &b);
    }
    hm_batch_deinit(&a);
    hm_batch_deinit(&b);
    hm_tok_free(tok);
    hm_cache_close(&c);
    snprintf(path, sizeof path, "%s/a.st", dir);
    unlink(path);
    rmdir(dir);
    return CHECK_END();
}
