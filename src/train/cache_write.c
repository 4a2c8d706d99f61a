/* cache_write.c - render scenes, encode them, keep the coefficients in shards.   SPDX-License-Identifier: MIT */
#include "train/cache.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/sha256.h"

himmel_status hm_render_latents(const hm_codec *c, const hm_scene *s, double t0, int T, int gh, int gw, float *z,
                                float *stills, himmel_error *err)
{
    const int W = gw * HM_BLOCK, H = gh * HM_BLOCK, K = hm_codec_channels(c);
    const size_t frame = (size_t)W * H * 3, block = (size_t)gh * gw * K;
    const hm_view view = {W, H, 0, 0, W, H};
    float *buf = malloc((T > 1 ? HM_WINDOW : 1) * frame * sizeof *buf);
    hm_renderer *r = NULL;
    himmel_status rc = buf ? hm_renderer_new(&r, s, err) : hm_fail(err, HIMMEL_ENOMEM, "out of memory for a clip");
    if (rc) {
        free(buf);
        return rc;
    }
    hm_render(r, &view, t0, buf);
    hm_codec_encode_still(c, buf, gh, gw, z);
    for (int j = 1; j < T; j++) { /* block j: frames 24(j-1)-5 .. 24j+6; 12 of them are the last window's */
        const int first = HM_FPS * (j - 1) + 1 - HM_LAP, have = j > 1 ? HM_WINDOW - HM_FPS : 0;
        if (have) memmove(buf, buf + HM_FPS * frame, (size_t)have * frame * sizeof *buf);
        for (int f = have; f < HM_WINDOW; f++)
            hm_render(r, &view, t0 + (double)(first + f) / HM_FPS, buf + (size_t)f * frame);
        hm_codec_encode(c, buf, gh, gw, z + (size_t)j * block);
        if (stills) /* second j of the film is frame 24 j: window position 24 + LAP - 1 */
            hm_codec_encode_still(c, buf + (size_t)(HM_FPS + HM_LAP - 1) * frame, gh, gw, stills + (size_t)(j - 1) * block);
    }
    hm_renderer_free(r);
    free(buf);
    return HIMMEL_OK;
}

/* |a - b| of every block, averaged over its pixels and colours, 0.05 -> 255; the larger of that and what is there. */
static void add_difference(const float *a, const float *b, int gh, int gw, uint8_t *share)
{
    const size_t row = (size_t)gw * HM_BLOCK * 3;
    for (int y = 0; y < gh; y++)
        for (int x = 0; x < gw; x++) {
            float sum = 0;
            for (int j = 0; j < HM_BLOCK; j++) {
                const size_t at = ((size_t)y * HM_BLOCK + j) * row + (size_t)x * HM_BLOCK * 3;
                for (int i = 0; i < 3 * HM_BLOCK; i++) sum += fabsf(a[at + i] - b[at + i]);
            }
            const float v = 255.0f * fminf(1.0f, sum / (0.05f * 3 * HM_BLOCK * HM_BLOCK));
            if (v > share[y * gw + x]) share[y * gw + x] = (uint8_t)v;
        }
}

himmel_status hm_render_subject(const hm_scene *s, double t0, int T, int gh, int gw, uint8_t *share, himmel_error *err)
{
    const int W = gw * HM_BLOCK, H = gh * HM_BLOCK;
    const hm_view view = {W, H, 0, 0, W, H};
    const size_t frame = (size_t)W * H * 3, area = (size_t)gh * gw;
    memset(share, 0, (size_t)T * area);
    if (s->fact[HM_FACT_SUBJECT] == HM_SUBJECT_NONE) return HIMMEL_OK;
    hm_renderer *with = NULL, *without = NULL;
    float *a = malloc(2 * frame * sizeof *a);
    himmel_status rc = a ? hm_renderer_new(&with, s, err) : hm_fail(err, HIMMEL_ENOMEM, "out of memory for a picture");
    if (!rc) rc = hm_renderer_new(&without, s, err);
    if (!rc) hm_renderer_hide_subject(without);
    for (int j = 0; j < T && !rc; j++) { /* the picture at second j belongs to the second before it and the one after */
        hm_render(with, &view, t0 + j, a);
        hm_render(without, &view, t0 + j, a + frame);
        add_difference(a, a + frame, gh, gw, share + (size_t)j * area);
        if (j + 1 < T) add_difference(a, a + frame, gh, gw, share + (size_t)(j + 1) * area);
    }
    hm_renderer_free(with);
    hm_renderer_free(without);
    free(a);
    return rc;
}

typedef struct {
    uint16_t *z, *stills;
    uint8_t *subject;
    int64_t *seed;
    float *start;
    int32_t *ids;
    char scene_sha[65];
} shard_buf;

static void shard_buf_free(shard_buf *b)
{
    free(b->z);
    free(b->stills);
    free(b->subject);
    free(b->seed);
    free(b->start);
    free(b->ids);
}

/* Render record i of the shard into its buffers. */
static himmel_status fill_record(const hm_cache_opts *o, const hm_codec *c, shard_buf *b, int i, himmel_error *err)
{
    const size_t block = (size_t)o->gh * o->gw * hm_codec_channels(c);
    const size_t nz = (size_t)o->T * block, ns = (size_t)(o->T - 1) * block;
    float *z = malloc((nz + ns) * sizeof *z);
    if (!z) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for coefficients");
    hm_scene s;
    hm_scene_random(&s, (uint64_t)b->seed[i]);
    const size_t area = (size_t)o->T * o->gh * o->gw;
    himmel_status rc = hm_render_latents(c, &s, b->start[i], o->T, o->gh, o->gw, z, ns ? z + nz : NULL, err);
    if (!rc) rc = hm_render_subject(&s, b->start[i], o->T, o->gh, o->gw, b->subject + (size_t)i * area, err);
    if (!rc) {
        for (size_t k = 0; k < nz; k++) b->z[(size_t)i * nz + k] = hm_f32_to_bf16(z[k]);
        for (size_t k = 0; k < ns; k++) b->stills[(size_t)i * ns + k] = hm_f32_to_bf16(z[nz + k]);
    }
    free(z);
    return rc;
}

static himmel_status write_shard(const hm_cache_opts *o, const hm_codec *c, const char *codec_hash, const char *path,
                                 const shard_buf *b, himmel_error *err)
{
    const int64_t K = hm_codec_channels(c), n = o->shard_n;
    hm_st_writer *w = hm_st_writer_new();
    if (!w) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    himmel_status rc = hm_st_add(w, "z", HM_BF16, HM_DIMS(n, o->T, o->gh, o->gw, K), b->z, err);
    if (!rc && o->T > 1) rc = hm_st_add(w, "stills", HM_BF16, HM_DIMS(n, o->T - 1, o->gh, o->gw, K), b->stills, err);
    if (!rc) rc = hm_st_add(w, "subject", HM_U8, HM_DIMS(n, o->T, o->gh, o->gw), b->subject, err);
    if (!rc) rc = hm_st_add(w, "seed", HM_I64, HM_DIMS(n), b->seed, err);
    if (!rc) rc = hm_st_add(w, "start", HM_F32, HM_DIMS(n), b->start, err);
    if (!rc && o->captions)
        rc = hm_st_add(w, "ids", HM_I32, HM_DIMS(n, 2, o->captions, o->text_len), b->ids, err);
    if (!rc) rc = hm_st_add_meta(w, "renderer", HM_SCENE_VERSION, err);
    if (!rc) rc = hm_st_add_meta(w, "scenes_sha256", b->scene_sha, err);
    if (!rc) rc = hm_st_add_meta(w, "codec_sha256", codec_hash, err);
    if (!rc) rc = hm_st_write(w, path, err);
    hm_st_writer_free(w);
    return rc;
}

static himmel_status make_shard(const hm_cache_opts *o, const hm_codec *c, const char *codec_hash, const char *path,
                                int shard, hm_cache_progress *fn, void *user, himmel_error *err)
{
    const size_t block = (size_t)o->gh * o->gw * hm_codec_channels(c), n = (size_t)o->shard_n;
    shard_buf b = {.z = malloc(n * (size_t)o->T * block * 2), .stills = malloc(n * (size_t)o->T * block * 2),
                   .subject = malloc(n * (size_t)o->T * o->gh * o->gw),
                   .seed = malloc(n * sizeof(int64_t)), .start = malloc(n * sizeof(float)),
                   .ids = malloc((n * 2 * (size_t)o->captions * (size_t)o->text_len + 1) * sizeof(int32_t))};
    const uint64_t first = o->seed + (uint64_t)shard * n * HM_SEEDS_PER_SCENE;
    himmel_status rc = HIMMEL_OK;
    if (!b.z || !b.stills || !b.subject || !b.seed || !b.start || !b.ids)
        rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for a shard of %zu clips", n);
    else if (!hm_pick_scenes(first, o->shard_n, o->T, o->held_out, b.seed, b.start, b.scene_sha))
        rc = hm_fail(err, HIMMEL_EINVAL, "too few suitable scenes from seed %" PRIu64, o->seed);
    else if (o->captions)
        hm_shard_captions(b.ids, o->tok, b.seed, o->shard_n, o->captions, o->text_len);
    const double t0 = hm_now();
    int done = 0;
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < (rc ? 0 : o->shard_n); i++) {
        himmel_status stop, r;
        himmel_error e = {0};
#pragma omp atomic read
        stop = rc;
        if (stop) continue;
        r = fill_record(o, c, &b, i, &e);
#pragma omp critical(hm_cache)
        {
            done++;
            if (!r && fn && fn(user, shard, done, done / (hm_now() - t0)))
                r = hm_fail(&e, HIMMEL_ECANCELLED, "stopped after %d of %d scenes", done, o->shard_n);
            if (r && !rc) {
                rc = r;
                if (err) *err = e;
            }
        }
    }
    if (!rc) rc = write_shard(o, c, codec_hash, path, &b, err);
    shard_buf_free(&b);
    return rc;
}

/* mkdir -p */
static himmel_status make_dirs(const char *dir, himmel_error *err)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s", dir) >= sizeof path)
        return hm_fail(err, HIMMEL_EINVAL, "%.100s...: path is too long", dir);
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        mkdir(path, 0777); /* the last one tells whether it worked */
        *p = '/';
    }
    if (mkdir(path, 0777) && errno != EEXIST)
        return hm_fail(err, HIMMEL_EIO, "%s: cannot create: %s", dir, strerror(errno));
    return HIMMEL_OK;
}

himmel_status hm_cache_write(const hm_cache_opts *o, const hm_codec *c, const char *codec_hash, hm_cache_progress *fn,
                             void *user, himmel_error *err)
{
    const himmel_status made = make_dirs(o->dir, err);
    if (made) return made;
    for (int i = 0; i < o->n_shards; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%dx%d-%d-%012" PRIx64 ".st", o->dir, o->gw, o->gh, o->T,
                 o->seed + (uint64_t)i * (uint64_t)o->shard_n * 64);
        struct stat st;
        if (!stat(path, &st)) continue;
        const himmel_status rc = make_shard(o, c, codec_hash, path, i, fn, user, err);
        if (rc) return rc;
    }
    return HIMMEL_OK;
}

void hm_codec_hash(const hm_st *st, char hex[65])
{
    hm_sha256 s;
    uint8_t d[32];
    hm_sha256_init(&s);
    for (size_t i = 0; i < hm_st_count(st); i++) {
        const char *name;
        const hm_tensor *t = hm_st_at(st, i, &name);
        if (strncmp(name, "codec.", 6) || !strcmp(name, "codec.decoder")) continue; /* what encoding depends on */
        hm_sha256_add(&s, name, strlen(name));
        hm_sha256_add(&s, t->data, (size_t)hm_numel(t) * hm_dtype_size(t->dtype));
    }
    hm_sha256_end(&s, d);
    hm_sha256_hex(d, hex);
}
