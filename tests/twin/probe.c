/* probe.c - what the C code's probe computes, for the PyTorch twin to compare: himmel-twin-probe PROBE OUT.safetensors
 * SPDX-License-Identifier: MIT
 * Clips and labels of the first test scenes, the network's input, in f32 features, logits, losses and gradients of a few
 * clips, and what a released probe (bf16) reads from all of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/optim.h"
#include "train/probe.h"

enum { N = 64, FEW = 4 };

static himmel_error err;
static hm_st_writer *w;

static _Noreturn void die(void)
{
    fprintf(stderr, "himmel-twin-probe: %s\n", err.message);
    exit(1);
}

static void *need(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (!p) abort();
    return p;
}

static void put(const char *name, hm_dtype type, int nd, const int64_t *dim, const void *data)
{
    if (hm_st_add(w, name, type, nd, dim, data, &err)) die();
}

/* In f32, with the values of the file. ps and g live on: the writer reads from them. */
static void exact(const float *x, const int32_t *labels, hm_params *ps, hm_graph *g)
{
    hm_probe_net net;
    hm_tensor *logits[HM_N_FACTS], *z, *sum = NULL;
    char name[200];
    if (hm_probe_params(&net, hm_params_bind, ps, &err)) die();
    hm_params_zero_grad(ps);
    hm_tensor *in = hm_wrap(g, HM_F32, HM_DIMS(FEW * HM_PROBE_PAIRS, HM_PROBE_H / 2, HM_PROBE_W / 2, HM_PROBE_IN),
                            (void *)(uintptr_t)x);
    hm_probe_forward(g, &net, in, FEW, logits, &z);
    put("features", HM_F32, z->nd, z->dim, memcpy(need((size_t)hm_numel(z), 4), z->data, (size_t)hm_numel(z) * 4));
    for (int f = 0; f < HM_N_FACTS; f++) {
        const size_t bytes = (size_t)hm_numel(logits[f]) * 4;
        snprintf(name, sizeof name, "logits.%s", hm_fact_name((hm_fact)f));
        put(name, HM_F32, logits[f]->nd, logits[f]->dim, memcpy(need(bytes, 1), logits[f]->data, bytes));
        hm_tensor *l = hm_loss_xent(g, logits[f], labels + f * FEW);
        sum = sum ? hm_add_t(g, sum, l) : l;
    }
    put("loss", HM_F32, HM_DIMS(1), memcpy(need(1, 4), sum->data, 4));
    hm_backward(g, sum, 1.0f);
    for (size_t i = 0; i < ps->n; i++) {
        snprintf(name, sizeof name, "grad.%s", ps->p[i]->name);
        put(name, HM_F32, ps->p[i]->work.nd, ps->p[i]->work.dim, ps->p[i]->grad.data);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: himmel-twin-probe PROBE OUT.safetensors\n", stderr);
        return 2;
    }
    uint8_t *clips = need(N, HM_PROBE_CLIP_BYTES), (*seen)[HM_N_FACTS] = need(N, sizeof *seen), (*label)[HM_N_FACTS] = need(N, sizeof *label);
    float *x = need(FEW, HM_PROBE_CLIP_INPUT * sizeof *x), *frames = need(HM_PROBE_CLIP_BYTES, sizeof *frames);
    int32_t labels[HM_N_FACTS * FEW];
    uint64_t seed = HM_PROBE_TEST_SEEDS;
    w = hm_st_writer_new();
    if (!w) abort();
    for (int i = 0; i < N; i++) {
        uint8_t *c = clips + (size_t)i * HM_PROBE_CLIP_BYTES;
        hm_scene s;
        hm_held_out_scene(&s, &seed);
        if (hm_probe_render(&s, (double)hm_clip_start(s.seed, 1 + HM_PROBE_SECONDS), c, &err)) die();
        const uint32_t ask = hm_probe_askable(&s);
        for (int f = 0; f < HM_N_FACTS; f++) {
            label[i][f] = ask >> f & 1 ? s.fact[f] : 255;
            if (i < FEW) labels[f * FEW + i] = ask >> f & 1 ? s.fact[f] : -1;
        }
        for (size_t k = 0; i < FEW && k < HM_PROBE_CLIP_BYTES; k++) frames[k] = (float)c[k] * (1.0f / 255);
        if (i < FEW) hm_probe_input(frames, x + (size_t)i * HM_PROBE_CLIP_INPUT);
    }
    put("clips", HM_U8, HM_DIMS(N, HM_PROBE_FRAMES, HM_PROBE_H, HM_PROBE_W, 3), clips);
    put("label", HM_U8, HM_DIMS(N, HM_N_FACTS), label);
    put("x", HM_F32, HM_DIMS(FEW, HM_PROBE_PAIRS, HM_PROBE_H / 2, HM_PROBE_W / 2, HM_PROBE_IN), x);
    hm_probe *p;
    hm_params ps;
    hm_st *st;
    hm_graph *g;
    if (hm_probe_open(&p, argv[1], &err) || hm_probe_look(p, clips, N, seen, NULL, &err)) die();
    put("seen", HM_U8, HM_DIMS(N, HM_N_FACTS), seen);
    if (hm_st_open(&st, argv[1], &err) || hm_graph_new(&g, &(hm_graph_opts){.act = HM_F32, .tape = true}, &err)) die();
    hm_params_init(&ps, HM_F32, 1, st);
    exact(x, labels, &ps, g);
    return hm_st_write(w, argv[2], &err) ? die(), 1 : 0;
}
