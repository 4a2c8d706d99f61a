/* test_tae.c - tiny decoders in TAEHV's layout against plain loops over the same numbers; files that are others.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "models/tae.h"
#include "models/tae_tiny.h"

enum { CHANNELS = 5, T = 4, H = 6, W = 4 };
static char path[] = "/tmp/himmel-tae-XXXXXX";

static void make(int patch, const int frames[3])
{
    himmel_error err = {0};
    CHECK(!tae_tiny_write(path, CHANNELS, patch, frames, &err), "%s", err.message);
}

/* ---- the same by plain loops, planes [C][h][w] ---- */

static const param *of(const char *name)
{
    for (int i = 0; i < n_params; i++)
        if (!strcmp(params[i].name, name)) return &params[i];
    CHECK(0, "no %s", name);
    return NULL;
}

static float *conv(const float *x, int I, int h, int w, const param *p, int first_row, int O, const char *bias)
{
    const int k = (int)p->dim[2], r = k / 2;
    const float *b = *bias ? of(bias)->v : NULL;
    float *y = malloc((size_t)(O * h * w) * sizeof *y);
    for (int o = 0; o < O; o++)
        for (int v = 0; v < h; v++)
            for (int u = 0; u < w; u++) {
                double sum = b ? b[o] : 0;
                for (int i = 0; i < I; i++)
                    for (int q = 0; q < k * k; q++) {
                        const int yy = v + q / k - r, xx = u + q % k - r;
                        if (yy >= 0 && yy < h && xx >= 0 && xx < w) sum += (double)x[(i * h + yy) * w + xx] * p->v[((first_row + o) * I + i) * k * k + q];
                    }
                y[(o * h + v) * w + u] = (float)sum;
            }
    return y;
}

static void relu(float *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = fmaxf(x[i], 0);
}

typedef struct {
    float *past[9]; /* what a block saw last, NULL: nothing yet */
    float *picture; /* [3][h][w] */
    int h, w;
} decoder;

/* x is freed, or kept as the past. */
static float *block(decoder *d, int number, int slot, float *x, int C, int h, int w)
{
    const int n = C * h * w;
    char name[48], bias[48];
    float *both = calloc((size_t)(2 * n), sizeof *both), *y = both;
    memcpy(both, x, (size_t)n * sizeof *x);
    if (d->past[slot]) memcpy(both + n, d->past[slot], (size_t)n * sizeof *x);
    free(d->past[slot]);
    d->past[slot] = x;
    for (int k = 0; k < 3; k++) {
        snprintf(name, sizeof name, "decoder.%d.conv.%d.weight", number, 2 * k);
        snprintf(bias, sizeof bias, "decoder.%d.conv.%d.bias", number, 2 * k);
        float *next = conv(y, k ? C : 2 * C, h, w, of(name), 0, C, bias);
        free(y);
        y = next;
        if (k < 2) relu(y, n);
    }
    for (int i = 0; i < n; i++) y[i] += x[i];
    relu(y, n);
    return y;
}

/* One latent frame, in order; d->picture is its last frame at `doublings` times 2. */
static void decode(decoder *d, const float *z, int patch, int doublings)
{
    int h = H, w = W, C = CHANNELS;
    char name[48];
    float *in = malloc(CHANNELS * H * W * sizeof *in);
    for (int i = 0; i < CHANNELS * H * W; i++) in[i] = 3 * tanhf(z[i] / 3);
    float *x = conv(in, C, h, w, of("decoder.1.weight"), 0, width_of[0], "decoder.1.bias"), *y;
    free(in);
    relu(x, width_of[0] * h * w);
    for (int i = 0; i < 3; i++) {
        C = width_of[i];
        for (int b = 0; b < 3; b++) x = block(d, 3 + 6 * i + b, 3 * i + b, x, C, h, w);
        if (i < doublings) {
            y = malloc((size_t)(4 * C * h * w) * sizeof *y);
            for (int k = 0; k < 4 * C * h * w; k++) y[k] = x[(k / (4 * h * w) * h + k / (2 * w) % (2 * h) / 2) * w + k % (2 * w) / 2];
            free(x);
            x = y, h *= 2, w *= 2;
        }
        snprintf(name, sizeof name, "decoder.%d.conv.weight", 7 + 6 * i);
        y = conv(x, C, h, w, of(name), (int)of(name)->dim[0] - C, C, "");
        free(x);
        snprintf(name, sizeof name, "decoder.%d.weight", 8 + 6 * i);
        x = conv(y, C, h, w, of(name), 0, width_of[i + 1], "");
        free(y);
    }
    relu(x, width_of[3] * h * w);
    y = conv(x, width_of[3], h, w, of("decoder.22.weight"), 0, 3 * patch * patch, "decoder.22.bias");
    free(x);
    free(d->picture);
    d->h = h * patch, d->w = w * patch;
    d->picture = malloc((size_t)(3 * d->h * d->w) * sizeof *d->picture);
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < d->h; v++)
            for (int u = 0; u < d->w; u++)
                d->picture[(c * d->h + v) * d->w + u] = y[(((c * patch + v % patch) * patch + u % patch) * h + v / patch) * w + u / patch];
    free(y);
}

static float latent[CHANNELS * T * H * W];

static void compare(int patch, const int frames[3], int at, int width, int doublings)
{
    hm_st *st;
    hm_tae m;
    himmel_error err = {0};
    int size[2];
    decoder d = {0};
    make(patch, frames);
    CHECK(!hm_st_open(&st, path, &err) && hm_tae_claims(st) && !hm_tae_load(&m, st, CHANNELS, &err), "%s", err.message);
    const hm_tae_input in = {.z = latent, .step_c = T * H * W, .step_p = 1, .T = T, .h = H, .w = W, .at = at, .width = width};
    uint8_t *rgb = hm_tae_picture(&m, HM_F32, 2, &in, size);
    CHECK(rgb && hm_tae_bytes(&m, 2, &in) > 0, "no picture");
    for (int t = HM_MAX(0, at - 2); t <= at; t++) { /* as far back as a picture looks */
        float z[CHANNELS * H * W];
        for (int c = 0; c < CHANNELS; c++) memcpy(z + c * H * W, latent + (c * T + t) * H * W, sizeof(float) * H * W);
        decode(&d, z, patch, doublings);
    }
    CHECK(size[0] == d.w && size[1] == d.h, "%dx%d, not %dx%d", size[0], size[1], d.w, d.h);
    int worst = 0, low = 255, high = 0;
    for (int i = 0; i < d.h * d.w; i++)
        for (int c = 0; c < 3; c++) {
            const int want = (int)lroundf(255 * fminf(fmaxf(d.picture[c * d.h * d.w + i], 0), 1));
            worst = HM_MAX(worst, abs(want - rgb[3 * i + c]));
            low = HM_MIN(low, want), high = HM_MAX(high, want);
        }
    CHECK(worst <= 1 && high - low > 60, "patch %d, frame %d, %d doublings: off by %d, of %d to %d", patch, at, doublings, worst, low, high);
    for (int i = 0; i < 9; i++) free(d.past[i]);
    free(d.picture), free(rgb);
    hm_st_close(st);
    tae_tiny_drop();
}

static void other_files(void)
{
    hm_st *st;
    hm_tae m;
    himmel_error err = {0};
    make(1, (const int[3]){1, 2, 2});
    CHECK(!hm_st_open(&st, path, &err), "%s", err.message);
    CHECK(hm_tae_load(&m, st, 48, &err) == HIMMEL_EMODEL && strstr(err.message, "of 5 channels, the model has 48"), "%s", err.message);
    hm_st_close(st);
    tae_tiny_drop();
    CHECK(!hm_st_open(&st, FIXTURES "/wan21_vae.safetensors", &err) && !hm_tae_claims(st), "Wan's autoencoder is taken for a tiny one");
    hm_st_close(st);
}

int main(void)
{
    const int fd = mkstemp(path);
    if (fd < 0) return 1;
    close(fd);
    for (size_t i = 0; i < HM_COUNT(latent); i++) latent[i] = 2.5f * sinf(1.7f * (float)i + (float)(i % 11));
    const int wan[3] = {1, 2, 2}, ltx[3] = {2, 2, 2};
    compare(1, wan, 0, W, 0);
    compare(1, wan, 2, 2 * W, 1);
    compare(1, wan, 3, 1000, 3);
    compare(2, wan, 1, 3 * W, 1);
    compare(4, ltx, 3, 8 * W, 1);
    other_files();
    unlink(path);
    return CHECK_END();
}
