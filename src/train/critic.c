/* critic.c - the critic's network and its step.   SPDX-License-Identifier: MIT
 * Cost forward at C = 64: 1.3 GFLOP a crop, next to 2.4 of the refiner. */
#include "train/critic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

/* Coefficients kept: all 64 of luma, the 16 lowest of either chroma. Noise hides what the refiner cannot make: footage is rounded to
 * 8 bits and dithered. */
enum { CELL = 192, CHROMA = 16, COEFS = 64 + 2 * CHROMA, N_CONV = 5 };
static const float NOISE = 0.006f;
static const struct { const char *name; int out, in, stride; } LAYER[N_CONV] = {{"critic.conv1", 64, COEFS, 1},
                                                                               {"critic.conv2", 96, 64, 2},
                                                                               {"critic.conv3", 96, 96, 1},
                                                                               {"critic.conv4", 128, 96, 2},
                                                                               {"critic.proj", 2, 128, 1}};

struct hm_critic {
    hm_params *ps;
    hm_tensor *w[N_CONV], *b[N_CONV];
    hm_graph *g;
    float basis[COEFS * CELL]; /* DCT of a cell in the order of hm_pixel_unshuffle, divided by deviations */
    float mean[COEFS];
    hm_tensor project, shift; /* basis and -mean as tensors; constants */
};

/* Coefficient k's weight of the pixel (colour, y, x) of a cell. */
static double weight_of(int k, int colour, int y, int x)
{
    static const double YCC[3][3] = {{0.299, 0.587, 0.114}, {-0.169, -0.331, 0.5}, {0.5, -0.419, -0.081}};
    const int plane = k < 64 ? 0 : 1 + (k - 64) / CHROMA, i = k < 64 ? k : (k - 64) % CHROMA;
    const int u = k < 64 ? i % 8 : i % 4, v = k < 64 ? i / 8 : i / 4;
    const double pi = 3.14159265358979323846, cu = u ? 0.5 : sqrt(0.125), cv = v ? 0.5 : sqrt(0.125);
    return YCC[plane][colour] * cu * cos((2 * x + 1) * u * pi / 16) * cv * cos((2 * y + 1) * v * pi / 16);
}

static void basis_init(hm_critic *c)
{
    for (int k = 0; k < COEFS; k++)
        for (int i = 0; i < CELL; i++) { /* i = (((colour*4 + dy)*4 + dx)*2 + cy)*2 + cx: pixel (4 cy + dy, 4 cx + dx) */
            const int cx = i % 2, cy = i / 2 % 2, dx = i / 4 % 4, dy = i / 16 % 4;
            c->basis[k * CELL + i] = (float)weight_of(k, i / 64, 4 * cy + dy, 4 * cx + dx);
        }
}

himmel_status hm_critic_new(hm_critic **out, hm_params *ps, int threads, himmel_error *err)
{
    hm_critic *c = calloc(1, sizeof *c);
    *out = c;
    if (!c) return hm_fail(err, HIMMEL_ENOMEM, "train refiner: out of memory for its critic");
    c->ps = ps;
    himmel_status rc = HIMMEL_OK;
    for (int i = 0; i < N_CONV && !rc; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.weight", LAYER[i].name);
        rc = hm_params_bind(ps, name, 4, (int64_t[]){LAYER[i].out, 3, 3, LAYER[i].in}, &c->w[i], err);
        if (rc) break;
        snprintf(name, sizeof name, "%s.bias", LAYER[i].name);
        rc = hm_params_bind(ps, name, 1, (int64_t[]){LAYER[i].out}, &c->b[i], err);
    }
    basis_init(c);
    c->project = (hm_tensor){.dtype = HM_F32, .nd = 2, .dim = {COEFS, CELL}, .data = c->basis};
    c->shift = (hm_tensor){.dtype = HM_F32, .nd = 1, .dim = {COEFS}, .data = c->mean};
    const hm_graph_opts o = {.act = ps->dtype, .tape = true, .n_threads = threads};
    return rc ? rc : hm_graph_new(&c->g, &o, err);
}

void hm_critic_free(hm_critic *c)
{
    if (!c) return;
    hm_graph_free(c->g);
    free(c);
}

/* The pixels of a cell, in the basis' order, out of [rows][rows][48]. */
static void take_cell(const float *px, int rows, int y, int x, float cell[CELL])
{
    for (int i = 0; i < CELL; i++) cell[i] = px[((size_t)(2 * y + i / 2 % 2) * rows + 2 * x + i % 2) * 48 + i / 4];
}

void hm_critic_calibrate(hm_critic *c, const float *footage, int64_t n, int rows)
{
    double sum[COEFS] = {0}, squares[COEFS] = {0};
    const int side = rows / 2;
    for (int64_t k = 0; k < n; k++)
        for (int p = 0; p < side * side; p++) {
            float cell[CELL];
            take_cell(footage + (size_t)k * rows * rows * 48, rows, p / side, p % side, cell);
            for (int f = 0; f < COEFS; f++) {
                double s = 0;
                for (int i = 0; i < CELL; i++) s += (double)c->basis[f * CELL + i] * cell[i];
                sum[f] += s, squares[f] += s * s;
            }
        }
    const double places = (double)n * side * side;
    for (int f = 0; f < COEFS; f++) {
        const double mean = sum[f] / places, std = sqrt(fmax(squares[f] / places - mean * mean, 0) + (double)NOISE * NOISE);
        for (int i = 0; i < CELL; i++) c->basis[f * CELL + i] = (float)(c->basis[f * CELL + i] / std);
        c->mean[f] = (float)(-mean / std);
    }
}

static hm_tensor *leaky(hm_graph *g, hm_tensor *x)
{
    return hm_add_t(g, hm_scale_t(g, x, 0.2f), hm_scale_t(g, hm_relu(g, x), 0.8f));
}

/* Pictures [B,rows,rows,48] -> logits [B*places, 2]. */
static hm_tensor *forward(const hm_critic *c, hm_tensor *px)
{
    hm_graph *g = c->g;
    hm_tensor *h = hm_linear(g, hm_pixel_unshuffle(g, px, 2), (hm_tensor *)&c->project, (hm_tensor *)&c->shift);
    for (int i = 0; i < N_CONV; i++) {
        const int s = LAYER[i].stride;
        h = hm_conv(g, h, c->w[i], c->b[i], &(hm_conv_opts){.stride = {s, s, 1}, .pad = {1, 1, 1}});
        if (i < N_CONV - 1) h = leaky(g, h);
    }
    return hm_reshape(g, hm_cast(g, h, HM_F32), 2, (int64_t[]){hm_numel(h) / 2, 2});
}

/* y = x + even noise of deviation NOISE: 16 bits of a hash a value, for Gaussian noise took a third of the step. n a multiple of 4. */
HM_CLONES static void add_noise(float *restrict y, const float *restrict x, int64_t n, uint64_t seed)
{
    const float scale = NOISE * 3.4641016f / 65536;
    for (int64_t i = 0; i < n; i += 4) {
        const uint64_t h = hm_mix(seed, (uint64_t)i);
        for (int k = 0; k < 4; k++) y[i + k] = x[i + k] + scale * ((float)(int)(h >> 16 * k & 0xffff) - 32767.5f);
    }
}

/* A leaf of the graph: pictures with noise, of footage and of what was made (NULL: only the second). */
static hm_tensor *noisy(const hm_critic *c, const float *footage, const float *made, int64_t B, int rows, uint64_t seed)
{
    const int64_t n = B * rows * rows * 48;
    hm_tensor *t = hm_new(c->g, HM_F32, HM_DIMS(footage ? 2 * B : B, rows, rows, 48));
    float *x = t->data;
    if (footage) add_noise(x, footage, n, hm_mix(seed, 1)), x += n;
    add_noise(x, made, n, hm_mix(seed, 2));
    return t;
}

static int32_t *labels_of(const hm_critic *c, int64_t n, int64_t footage)
{
    int32_t *label = hm_new(c->g, HM_I32, HM_DIMS(n))->data;
    for (int64_t i = 0; i < n; i++) label[i] = i < footage;
    return label;
}

static double share_right(const hm_tensor *logits, const int32_t *label)
{
    const float *l = logits->data;
    int64_t right = 0;
    for (int64_t i = 0; i < logits->dim[0]; i++) right += (l[2 * i + 1] > l[2 * i]) == label[i];
    return (double)right / (double)logits->dim[0];
}

static void hold(hm_critic *c, bool still)
{
    for (int i = 0; i < N_CONV; i++) c->w[i]->needs_grad = c->b[i]->needs_grad = !still;
}

hm_critic_report hm_critic_step(hm_critic *c, const hm_optim *o, int64_t step, const float *footage, const float *made, int64_t B, int rows,
                                uint64_t seed, float *grad)
{
    hm_critic_report r;
    hm_graph *g = c->g;
    hm_graph_reset(g);
    hm_params_zero_grad(c->ps);
    hm_tensor *y = forward(c, noisy(c, footage, made, B, rows, seed));
    const int32_t *label = labels_of(c, y->dim[0], y->dim[0] / 2);
    hm_tensor *loss = hm_loss_xent(g, y, label);
    r.loss = (double)*(float *)loss->data;
    r.right = share_right(y, label);
    hm_backward(g, loss, 1.0f);
    hm_optim_step(o, c->ps, step);

    hm_graph_reset(g);
    hold(c, true);
    hm_tensor *x = noisy(c, NULL, made, B, rows, hm_mix(seed, 3));
    x->needs_grad = true;
    y = forward(c, x);
    loss = hm_loss_xent(g, y, labels_of(c, y->dim[0], y->dim[0]));
    hm_backward(g, loss, 1.0f);
    memcpy(grad, x->grad->data, (size_t)(B * rows * rows * 48) * sizeof *grad);
    hold(c, false);
    return r;
}
