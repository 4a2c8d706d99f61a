/* test_isa.c - every instruction set level computes the same model, bf16 too.   SPDX-License-Identifier: MIT
 * oneDNN fixes its level at first use, so each level runs in a process of its own. */
#include <sys/wait.h>
#include <unistd.h>
#include "op_check.h"

/* bf16 attention, linear and convolution with gradients against the same in f32: 0 if close. */
static int compute(void)
{
    enum { N = 24, D = 32 };
    float x[N * D], w[D * D], cw[16 * 9 * D], grads[2][D * D] = {{0}}, cgrads[2][16 * 9 * D] = {{0}};
    hm_randn(x, N * D, 1, 1), hm_randn(w, D * D, 1, 2), hm_randn(cw, HM_COUNT(cw), 1, 3);
    for (size_t i = 0; i < HM_COUNT(w); i++) w[i] *= 0.2f;
    float loss[2];
    for (int i = 0; i < 2; i++) {
        const hm_dtype t = i ? HM_BF16 : HM_F32;
        hm_graph *g = graph_of(t, true, false, 2);
        hm_tensor *in = hm_cast(g, hm_wrap(g, HM_F32, HM_DIMS(1, N, D), x), t), *wt = hm_wrap(g, HM_F32, HM_DIMS(D, D), w);
        hm_tensor *ct = hm_wrap(g, HM_F32, HM_DIMS(16, 3, 3, D), cw);
        wt->needs_grad = ct->needs_grad = true;
        wt->grad = hm_wrap(g, HM_F32, HM_DIMS(D, D), grads[i]);
        ct->grad = hm_wrap(g, HM_F32, HM_DIMS(16, 3, 3, D), cgrads[i]);
        hm_tensor *h = hm_linear_gelu(g, in, wt, NULL);
        h = hm_add_t(g, h, hm_attention(g, h, in, h, 2, 0.25f, NULL, NULL));
        h = hm_conv(g, hm_reshape(g, h, HM_DIMS(1, 4, 6, D)), ct, NULL, &(hm_conv_opts){.stride = {1, 1}, .pad = {1, 1}});
        hm_tensor *l = hm_loss_mse(g, h, hm_zeros(g, HM_F32, h->nd, h->dim), NULL, NULL, 0);
        hm_backward(g, l, 1);
        loss[i] = *(float *)l->data;
        hm_graph_free(g);
    }
    double d = 0, s = 0, cd = 0, cs = 0;
    for (int i = 0; i < D * D; i++) d += pow((double)grads[0][i] - (double)grads[1][i], 2), s += pow((double)grads[0][i], 2);
    for (size_t i = 0; i < HM_COUNT(cw); i++) cd += pow((double)cgrads[0][i] - (double)cgrads[1][i], 2), cs += pow((double)cgrads[0][i], 2);
    const bool ok = fabs((double)loss[1] / (double)loss[0] - 1) < 0.02 && s > 0 && sqrt(d / s) < 0.03 && cs > 0 && sqrt(cd / cs) < 0.03;
    if (!ok) fprintf(stderr, "%s: loss %g %g, gradients differ by %g, %g\n", hm_isa_name(), (double)loss[0], (double)loss[1],
                     sqrt(d / s), sqrt(cd / cs));
    return ok ? 0 : 2;
}

static int child(const char *level, const char *want)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        himmel_error err = {0};
        if (level && hm_isa_limit(level, &err)) {
            fprintf(stderr, "%s\n", err.message);
            _exit(1);
        }
        if (want && strcmp(hm_isa_name(), want)) {
            fprintf(stderr, "%s: limited to %s, not %s\n", level, hm_isa_name(), want);
            _exit(3);
        }
        _exit(compute());
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

int main(void)
{
    CHECK(child(NULL, NULL) == 0, "this machine's own level");
    CHECK(child("baseline", "sse41") == 0, "baseline");
    if (__builtin_cpu_supports("avx2")) CHECK(child("avx2", "avx2") == 0, "avx2");
    if (__builtin_cpu_supports("avx512bw")) CHECK(child("avx512", "avx512_core") == 0, "avx512");
    himmel_error err = {0};
    CHECK(hm_isa_limit("mmx", &err) == HIMMEL_EINVAL && strstr(err.message, "mmx"), "%s", err.message);
    CHECK(compute() == 0, "here");
    CHECK(hm_isa_limit("avx2", &err) == HIMMEL_EINVAL, "too late: %s", err.message);
    return CHECK_END();
}
