/* test_optim.c - AdamW against its formula, Muon's orthogonal steps, EMA, save and restore.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "check.h"
#include "train/optim.h"

static void set_grad(hm_params *ps, uint64_t seed)
{
    for (size_t i = 0; i < ps->n; i++) hm_randn(ps->p[i]->grad.data, ps->p[i]->n, seed, i);
}

static void make(hm_params *ps, hm_tensor **slot)
{
    hm_params_init(ps, HM_F32, 3, NULL);
    CHECK(!hm_params_bind(ps, "x.transformer_blocks.0.attn1.to_q.weight", 2, (int64_t[]){32, 32}, &slot[0], NULL), "bind");
    CHECK(!hm_params_bind(ps, "x.transformer_blocks.0.ff.net.0.proj.weight", 2, (int64_t[]){64, 32}, &slot[1], NULL), "bind");
    CHECK(!hm_params_bind(ps, "x.proj_in.bias", 1, (int64_t[]){7}, &slot[2], NULL), "bind");
    CHECK(ps->p[0]->kind == HM_OPT_MUON && ps->p[1]->kind == HM_OPT_MUON && ps->p[2]->kind == HM_OPT_ADAMW, "kinds");
}

/* Two steps of AdamW in double precision. */
static void test_adamw(void)
{
    hm_params ps;
    hm_tensor *slot[3];
    make(&ps, slot);
    hm_optim o = hm_optim_default();
    o.warmup = 1;
    o.clip = 0;
    double w[7] = {0}, m[7] = {0}, v[7] = {0};
    for (int step = 0; step < 2; step++) {
        set_grad(&ps, (uint64_t)step + 1);
        const float *g = ps.p[2]->grad.data;
        for (int i = 0; i < 7; i++) {
            m[i] = 0.9 * m[i] + 0.1 * (double)g[i];
            v[i] = 0.95 * v[i] + 0.05 * (double)g[i] * (double)g[i];
            w[i] -= 1e-3 * (m[i] / (1 - pow(0.9, step + 1))) / (sqrt(v[i] / (1 - pow(0.95, step + 1))) + 1e-8);
        }
        hm_optim_step(&o, &ps, step);
    }
    for (int i = 0; i < 7; i++) CHECK_NEAR(ps.p[2]->master[i], w[i], 1e-7, "w[%d] %g %g", i, (double)ps.p[2]->master[i], w[i]);
    hm_params_deinit(&ps);
}

/* A Muon step is lr times a nearly (semi-)orthogonal matrix: its Gram matrix is near the identity. */
static void test_muon(void)
{
    hm_params ps;
    hm_tensor *slot[3];
    make(&ps, slot);
    hm_optim o = hm_optim_default();
    o.warmup = 1;
    o.weight_decay = 0;
    o.ema = 0;
    for (int k = 0; k < 2; k++) {
        hm_param *p = ps.p[k];
        const int64_t R = p->work.dim[0], C = p->work.dim[1];
        float *old = malloc(p->n * sizeof(float));
        memcpy(old, p->master, p->n * sizeof(float));
        set_grad(&ps, 9);
        hm_optim_step(&o, &ps, 0);
        const double lr = 0.02 * sqrt(R > C ? (double)R / (double)C : 1.0);
        for (int64_t a = 0; a < C; a++)
            for (int64_t b = 0; b <= a; b++) {
                double s = 0;
                for (int64_t i = 0; i < R; i++)
                    s += (double)(p->master[i * C + a] - old[i * C + a]) * (double)(p->master[i * C + b] - old[i * C + b]);
                s /= lr * lr;
                CHECK(a == b ? s > 0.3 && s < 1.5 : fabs(s) < 0.45, "k %d gram[%d,%d] = %g", k, (int)a, (int)b, s);
            }
        CHECK(!memcmp(p->ema, p->master, p->n * sizeof(float)), "ema decay 0 follows at once");
        CHECK(!memcmp(p->work.data, p->master, p->n * sizeof(float)), "working copy");
        free(old);
    }
    hm_params_deinit(&ps);
}

/* Saved and restored in the middle, a run ends at the same bits. */
static void test_resume(void)
{
    hm_params a, b;
    hm_tensor *sa[3], *sb[3];
    make(&a, sa);
    make(&b, sb);
    const hm_optim o = hm_optim_default();
    char path[] = "/tmp/hm_optim_XXXXXX";
    close(mkstemp(path));
    himmel_error err = {0};
    for (int step = 0; step < 6; step++) {
        set_grad(&a, 100 + (uint64_t)step);
        hm_optim_step(&o, &a, step);
        if (step != 2) continue;
        hm_st_writer *w = hm_st_writer_new();
        CHECK(!hm_params_save(&a, w, &err) && !hm_st_write(w, path, &err), "%s", err.message);
        hm_st_writer_free(w);
    }
    hm_st *st = NULL;
    CHECK(!hm_st_open(&st, path, &err) && !hm_params_restore(&b, st, &err), "%s", err.message);
    hm_st_close(st);
    unlink(path);
    for (int step = 3; step < 6; step++) {
        set_grad(&b, 100 + (uint64_t)step);
        hm_optim_step(&o, &b, step);
    }
    for (size_t i = 0; i < a.n; i++) {
        CHECK(!memcmp(a.p[i]->master, b.p[i]->master, a.p[i]->n * sizeof(float)), "%s master", a.p[i]->name);
        CHECK(!memcmp(a.p[i]->ema, b.p[i]->ema, a.p[i]->n * sizeof(float)), "%s ema", a.p[i]->name);
    }
    hm_params_deinit(&a);
    hm_params_deinit(&b);
}

int main(void)
{
    test_adamw();
    test_muon();
    test_resume();
    const hm_optim o = {.warmup = 10, .decay_from = 100, .total = 200};
    CHECK_NEAR(hm_optim_lr_factor(&o, 0), 0.1, 1e-12, "warm-up");
    CHECK_NEAR(hm_optim_lr_factor(&o, 50), 1.0, 1e-12, "flat");
    CHECK_NEAR(hm_optim_lr_factor(&o, 150), 0.5, 1e-12, "decay");
    return CHECK_END();
}
