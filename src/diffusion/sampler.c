/* sampler.c - rectified-flow schedules, Euler steps, guidance.   SPDX-License-Identifier: MIT
 * Source: Lightricks/LTX-Video ltx_video/schedulers/rf.py and pipelines/pipeline_ltx_video.py.
 * Oracle: golden/ltx_sched. Sums are in double and in index order, so results do not depend on threads. */
#include "diffusion/sampler.h"

#include <math.h>

/* Half of the steps go down from 1 to 0.975 evenly, the rest quadratically to 0; slopes meet in the middle
 * (Movie Gen, 3.1.6). */
static double linear_quadratic(int i, int steps)
{
    const double threshold = 0.025;
    const int linear = steps / 2, quadratic = steps - linear;
    if (steps == 1) return 1.0;
    if (i < linear) return 1.0 - i * threshold / linear;
    const double diff = linear - threshold * steps;
    const double a = diff / ((double)linear * quadratic * quadratic);
    const double b = threshold / linear - 2.0 * diff / ((double)quadratic * quadratic);
    return 1.0 - (a * i * i + b * i + a * linear * linear);
}

himmel_status hm_schedule(float *t, int steps, hm_sched_kind kind, double shift, double target_terminal,
                          himmel_error *err)
{
    if (steps < 1 || steps > 10000) return hm_fail(err, HIMMEL_EINVAL, "%d steps: wants 1 to 10000", steps);
    if (!(shift > 0 && shift < 1e6))
        return hm_fail(err, HIMMEL_EINVAL, "time shift %g: wants 0 to 1e6", shift);
    if (!(target_terminal >= 0 && target_terminal < 1))
        return hm_fail(err, HIMMEL_EINVAL, "last time %g: wants 0 to 1", target_terminal);
    double stretch = 1.0;
    for (int pass = 0; pass < 2; pass++) { /* the last time is needed before the first can be stretched */
        for (int i = pass ? 0 : steps - 1; i < steps; i++) {
            double s =
                kind == HM_SCHED_LINEAR_QUADRATIC ? linear_quadratic(i, steps) : 1.0 - (double)i / steps;
            s = shift * s / (1.0 + (shift - 1.0) * s);
            if (!pass && target_terminal > 0 && s < 1.0) stretch = (1.0 - target_terminal) / (1.0 - s);
            t[i] = (float)(1.0 - (1.0 - s) * stretch);
        }
    }
    return HIMMEL_OK;
}

double hm_sd3_shift(int64_t n_tokens)
{
    const double slope = (2.05 - 0.95) / (4096 - 1024);
    return exp(0.95 + slope * ((double)n_tokens - 1024));
}

/* The largest entry of t that is below now, else the end: 0. */
static float next_below(const float *t, int steps, float now)
{
    for (int i = 0; i < steps; i++)
        if (t[i] < now - 1e-6f) return t[i];
    return 0.0f;
}

void hm_token_times(float *t_now, float *t_next, const float *strength, int64_t rows, const float *t,
                    int steps, int step)
{
    const float now = t[step], next = next_below(t, steps, now);
    for (int64_t r = 0; r < rows; r++) {
        const float limit = strength ? 1.0f - strength[r] : 1.0f;
        const bool moves = !strength || now - 1e-6f < limit;
        t_now[r] = HM_MIN(now, limit);
        t_next[r] = !moves ? t_now[r] : limit < now ? next_below(t, steps, limit) : next;
    }
}

int hm_guidance_index(const float *list, int n, float t)
{
    for (int i = 0; i < n; i++)
        if (list[i] <= t) return i;
    return n - 1;
}

HM_CLONES
void hm_euler_step(float *x, const float *v, const float *t_now, const float *t_next, int64_t rows, int64_t D)
{
    for (int64_t r = 0; r < rows; r++) {
        const float dt = t_next[r] - t_now[r];
        float *xr = x + r * D;
        const float *vr = v + r * D;
        if (dt == 0.0f) continue; /* known tokens keep their bits, whatever v is there */
        for (int64_t d = 0; d < D; d++) xr[d] += dt * vr[d];
    }
}

HM_CLONES
void hm_renoise_step(float *x, const float *v, const float *noise, const float *t_now, const float *t_next,
                     int64_t rows, int64_t D)
{
    for (int64_t r = 0; r < rows; r++) {
        const float now = t_now[r], next = t_next[r];
        if (now == next) continue;
        for (int64_t i = r * D; i < (r + 1) * D; i++)
            x[i] = (1.0f - next) * (x[i] - now * v[i]) + next * noise[i];
    }
}

static double deviation(double sum, double squares, int64_t n)
{
    const double var = (squares - sum * sum / (double)n) / (double)HM_MAX(n - 1, 1);
    return sqrt(HM_MAX(var, 0.0));
}

void hm_guide_stg(float *v, const float *text, const float *neg, const float *perturbed, int64_t n,
                  const hm_guidance *o)
{
    double st = 0, qt = 0, sv = 0, qv = 0;
    for (int64_t i = 0; i < n; i++) {
        const float t = text[i]; /* read before v[i] is written: v may be text */
        float y = neg ? neg[i] + o->scale * (t - neg[i]) : t;
        if (perturbed) y += o->stg * (t - perturbed[i]);
        st += t;
        qt += (double)t * t;
        sv += y;
        qv += (double)y * y;
        v[i] = y;
    }
    const double dv = deviation(sv, qv, n);
    if (o->rescale == 0.0f || !(dv > 0)) return;
    const float f = (float)(o->rescale * deviation(st, qt, n) / dv + 1.0 - o->rescale);
    for (int64_t i = 0; i < n; i++) v[i] *= f;
}

void hm_guide(float *v, const float *text, const float *neg, int64_t n, float scale, float rescale)
{
    hm_guide_stg(v, text, neg, NULL, n, &(hm_guidance){.scale = scale, .rescale = rescale});
}
