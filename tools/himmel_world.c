/* himmel_world.c - the world renderer as a program of its own: sheets, frames, clips, bench, training footage.
 * SPDX-License-Identifier: MIT
 * Built by `make world`: one compiler call, libc and libm only; -fopenmp draws pictures in parallel. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "world/scene.h"
#include "world_cache.h"

typedef struct {
    const char *mode, *json, *fix, *model, *out;
    uint64_t seed;
    int captions, grid[2], frames, shards, scenes;
    int n, columns, width, height, fps, crop[4];
    double seconds, t;
    bool mirror, held_out;
} options;

static const char usage[] =
    "himmel-world sheet|frame|strip|clip|bench [--seed N] [--n N] [--columns N] [--size WxH] [--crop X,Y,W,H] [--fps N]\n"
    "             [--seconds S] [--t S] [--scene JSON] [--fix fact=value,...] [--mirror] > file\n"
    "sheet: n random scenes (PPM); frame: one picture at --t (PPM); strip: n pictures over --seconds (PPM);\n"
    "clip: Y4M, 4:4:4; bench: pixels per second of user time, one thread.\n"
    "himmel-world cache --model WEIGHTS --out DIR [--grid WxH] [--latent-frames N] [--seed N] [--shards N] [--scenes N]\n"
    "             [--captions N] [--held-out]\n"
    "cache: footage as coefficients with tokenised captions, as himmel train cache writes it.\n";

static int die(const char *what)
{
    fprintf(stderr, "himmel-world: %s\n", what);
    return 2;
}

static bool parse(int argc, char **argv, options *o)
{
    *o = (options){argc > 1 ? argv[1] : "", .seed = 1, .captions = 8, .grid = {16, 9}, .frames = 1, .shards = 1, .scenes = 1024,
                   .n = 24, .columns = 4, .width = 256, .height = 144, .fps = 24, .seconds = 10, .t = 5};
    for (int i = 2; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(a, "--mirror")) { o->mirror = true; continue; }
        if (!strcmp(a, "--held-out")) { o->held_out = true; continue; }
        if (!v) return false;
        i++;
        if (!strcmp(a, "--seed")) o->seed = strtoull(v, NULL, 10);
        else if (!strcmp(a, "--n")) o->n = atoi(v);
        else if (!strcmp(a, "--columns")) o->columns = atoi(v);
        else if (!strcmp(a, "--fps")) o->fps = atoi(v);
        else if (!strcmp(a, "--seconds")) o->seconds = atof(v);
        else if (!strcmp(a, "--t")) o->t = atof(v);
        else if (!strcmp(a, "--scene")) o->json = v;
        else if (!strcmp(a, "--model")) o->model = v;
        else if (!strcmp(a, "--out")) o->out = v;
        else if (!strcmp(a, "--captions")) o->captions = atoi(v);
        else if (!strcmp(a, "--latent-frames")) o->frames = atoi(v);
        else if (!strcmp(a, "--shards")) o->shards = atoi(v);
        else if (!strcmp(a, "--scenes")) o->scenes = atoi(v);
        else if (!strcmp(a, "--grid")) { if (sscanf(v, "%dx%d", &o->grid[0], &o->grid[1]) != 2) return false; }
        else if (!strcmp(a, "--fix")) o->fix = v;
        else if (!strcmp(a, "--size")) { if (sscanf(v, "%dx%d", &o->width, &o->height) != 2) return false; }
        else if (!strcmp(a, "--crop")) {
            if (sscanf(v, "%d,%d,%d,%d", &o->crop[0], &o->crop[1], &o->crop[2], &o->crop[3]) != 4) return false;
        } else return false;
    }
    if (!o->crop[2]) o->crop[2] = o->width, o->crop[3] = o->height;
    return o->n > 0 && o->columns > 0 && o->fps > 0 && o->width > 0 && o->height > 0 && o->width <= 8192 &&
           o->height <= 8192 && o->crop[2] > 0 && o->crop[3] > 0 && o->crop[0] >= 0 && o->crop[1] >= 0 &&
           o->crop[0] + o->crop[2] <= o->width && o->crop[1] + o->crop[3] <= o->height;
}

/* fact=value pairs, e.g. time=dusk,subject=boat */
static bool fixed_facts(const char *text, hm_scene *s, uint32_t *mask)
{
    char buf[512];
    if (strlen(text) >= sizeof buf) return false;
    strcpy(buf, text);
    for (char *p = strtok(buf, ","); p; p = strtok(NULL, ",")) {
        char *eq = strchr(p, '=');
        if (!eq) return false;
        *eq = 0;
        int f = 0, v = 0;
        while (f < HM_N_FACTS && strcmp(hm_fact_name((hm_fact)f), p)) f++;
        if (f == HM_N_FACTS) return false;
        while (v < hm_fact_size((hm_fact)f) && strcmp(hm_fact_value_name((hm_fact)f, v), eq + 1)) v++;
        if (v == hm_fact_size((hm_fact)f)) return false;
        s->fact[f] = (uint8_t)v;
        *mask |= 1u << f;
    }
    return true;
}

static bool scene_at(const options *o, uint64_t seed, hm_scene *s)
{
    himmel_error err;
    uint32_t mask = 0;
    memset(s, 0, sizeof *s);
    if (o->json) {
        if (hm_scene_parse(s, o->json, &err) == HIMMEL_OK) return true;
        die(err.message);
        return false;
    }
    if (o->fix && !fixed_facts(o->fix, s, &mask)) {
        die("--fix: no such fact or value");
        return false;
    }
    if (mask) hm_scene_complete(s, mask, seed);
    else hm_scene_random(s, seed);
    if (o->mirror) hm_scene_mirror(s);
    return true;
}

static bool picture(const options *o, uint64_t seed, double t, uint32_t frame, uint8_t *out)
{
    hm_scene s;
    himmel_error err;
    hm_renderer *r;
    if (!scene_at(o, seed, &s)) return false;
    if (hm_renderer_new(&r, &s, &err) != HIMMEL_OK) return die(err.message) == 0;
    const hm_view v = {o->width, o->height, o->crop[0], o->crop[1], o->crop[2], o->crop[3]};
    float *rgb = malloc(sizeof *rgb * 3 * (size_t)v.w * (size_t)v.h);
    if (rgb) {
        hm_render(r, &v, t, rgb);
        hm_dither8(rgb, v.w, v.h, frame, out);
    }
    free(rgb);
    hm_renderer_free(r);
    return rgb != NULL;
}

/* n pictures side by side: of n seeds (sheet), or of one over time (strip). */
static int sheet(const options *o, bool strip)
{
    const int w = o->crop[2], h = o->crop[3], cols = o->n < o->columns ? o->n : o->columns, rows = (o->n + cols - 1) / cols;
    const size_t one = (size_t)w * (size_t)h * 3, line = (size_t)w * 3, wide = line * (size_t)cols;
    uint8_t *all = calloc((size_t)rows * (size_t)h, wide);
    if (!all) return die("out of memory");
    bool ok = true;
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic)
#endif
    for (int i = 0; i < o->n; i++) {
        uint8_t *pic = malloc(one);
        const double t = strip ? o->seconds * i / HM_MAX(1, o->n - 1) : o->t;
        if (pic && picture(o, strip ? o->seed : o->seed + (uint64_t)i, t, (uint32_t)i, pic))
            for (int y = 0; y < h; y++)
                memcpy(all + ((size_t)(i / cols) * (size_t)h + (size_t)y) * wide + (size_t)(i % cols) * line, pic + (size_t)y * line, line);
        else ok = false;
        free(pic);
    }
    printf("P6\n%d %d\n255\n", w * cols, h * rows);
    ok = ok && fwrite(all, 1, wide * (size_t)rows * (size_t)h, stdout) == wide * (size_t)rows * (size_t)h;
    free(all);
    return ok ? 0 : die("could not draw or write the sheet");
}

/* BT.709, limited range. */
static int clip(const options *o)
{
    const int w = o->crop[2], h = o->crop[3], frames = (int)(o->seconds * o->fps + 0.5);
    const size_t n = (size_t)w * (size_t)h;
    uint8_t *rgb = malloc(n * 3), *yuv = malloc(n * 3);
    bool ok = rgb && yuv;
    printf("YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C444\n", w, h, o->fps);
    for (int k = 0; ok && k < frames; k++) {
        ok = picture(o, o->seed, (double)k / o->fps, (uint32_t)k, rgb);
        for (size_t i = 0; ok && i < n; i++) {
            const float r = rgb[3 * i], g = rgb[3 * i + 1], b = rgb[3 * i + 2], y = 0.2126f * r + 0.7152f * g + 0.0722f * b;
            yuv[i] = (uint8_t)(16.5f + y * (219.0f / 255.0f));
            yuv[n + i] = (uint8_t)(128.5f + (b - y) * (224.0f / 255.0f / 1.8556f));
            yuv[2 * n + i] = (uint8_t)(128.5f + (r - y) * (224.0f / 255.0f / 1.5748f));
        }
        if (ok) ok = puts("FRAME") >= 0 && fwrite(yuv, 1, 3 * n, stdout) == 3 * n;
    }
    free(rgb);
    free(yuv);
    return ok ? 0 : die("could not draw or write the clip");
}

static int bench(const options *o)
{
    const hm_view v = {o->width, o->height, o->crop[0], o->crop[1], o->crop[2], o->crop[3]};
    float *rgb = malloc(sizeof *rgb * 3 * (size_t)v.w * (size_t)v.h);
    if (!rgb) return die("out of memory");
    double pixels = 0, worst = 0, cost[HM_N_PLACES] = {0}, count[HM_N_PLACES] = {0};
    uint64_t worst_seed = 0;
    const clock_t start = clock();
    for (int i = 0; i < o->n; i++) {
        hm_scene s;
        hm_renderer *r;
        if (!scene_at(o, o->seed + (uint64_t)i, &s) || hm_renderer_new(&r, &s, NULL) != HIMMEL_OK) return 2;
        const clock_t c0 = clock();
        for (int k = 0; k < 8; k++) hm_render(r, &v, k * 1.25, rgb);
        const double c = (double)(clock() - c0) / CLOCKS_PER_SEC / (8.0 * v.w * v.h) * 1e6;
        cost[s.fact[HM_FACT_PLACE]] += c, count[s.fact[HM_FACT_PLACE]] += 1;
        if (c > worst) worst = c, worst_seed = o->seed + (uint64_t)i;
        pixels += 8.0 * v.w * v.h;
        hm_renderer_free(r);
    }
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    for (int p = 0; p < HM_N_PLACES; p++)
        if (count[p] > 0) printf("%-14s %6.2f Mpixel/s\n", hm_fact_value_name(HM_FACT_PLACE, p), count[p] / cost[p]);
    printf("all %d scenes at %dx%d: %.2f Mpixel/s per core; slowest: seed %llu, %.2f\n", o->n, v.w, v.h, pixels / seconds / 1e6,
           (unsigned long long)worst_seed, 1.0 / worst);
    free(rgb);
    return 0;
}

static int cache(const options *o)
{
    himmel_error err;
    hm_cache_opts c = {.dir = o->out, .gw = o->grid[0], .gh = o->grid[1], .T = o->frames, .seed = o->seed, .n_shards = o->shards,
                       .shard_n = o->scenes, .captions = o->captions, .held_out = o->held_out};
    if (!o->model || !o->out) return die("cache: --model (for its codec and tokenizer) and --out are needed");
    if (c.gw < 4 || c.gh < 4 || c.gw > 40 || c.gh > 40 || c.gw * c.gh > 160) return die("cache: --grid wants 4x4 to 160 blocks");
    if (c.T < 1 || c.T > 11 || c.n_shards < 1 || c.shard_n < 1 || c.shard_n > 1000000 || c.captions < 0 || c.captions > 1000)
        return die("cache: --latent-frames wants 1 to 11, --shards and --scenes at least 1, --captions 0 to 1000");
    return hm_world_cache(o->model, &c, &err) ? die(err.message) : 0;
}

int main(int argc, char **argv)
{
    options o;
    if (!parse(argc, argv, &o)) {
        fputs(usage, stderr);
        return 2;
    }
    if (!strcmp(o.mode, "sheet")) return sheet(&o, false);
    if (!strcmp(o.mode, "strip")) return sheet(&o, true);
    if (!strcmp(o.mode, "cache")) return cache(&o);
    if (!strcmp(o.mode, "clip")) return clip(&o);
    if (!strcmp(o.mode, "bench") || !strcmp(o.mode, "--bench")) return bench(&o);
    if (!strcmp(o.mode, "frame")) {
        o.n = 1;
        return sheet(&o, false);
    }
    fputs(usage, stderr);
    return 2;
}
