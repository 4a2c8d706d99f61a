/* sched.c - schedules and Euler trajectories against LTX's scheduler.   SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "diffusion/sampler.h"
#include "parity.h"

enum { MAX_STEPS = 64, ROWS = 6, WIDTH = 4 };

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static int int_of(const json_t *o, const char *key)
{
    return (int)json_integer_value(json_object_get(o, key));
}

/* One entry of "timesteps": the reference's options as ours. */
static himmel_status timesteps(parity *p, const char *name, const json_t *o, himmel_error *err)
{
    const json_t *s = json_object_get(o, "scheduler"), *shape = json_object_get(o, "latent_shape");
    const char *sampler = text_of(s, "sampler"), *shifting = text_of(s, "shifting");
    const int steps = int_of(o, "steps"), first = int_of(o, "skip_initial"),
              last = steps - int_of(o, "skip_final");
    int64_t tokens = 1;
    for (size_t i = 2; i < json_array_size(shape); i++)
        tokens *= json_integer_value(json_array_get(shape, i));
    double shift = 1;
    if (!strcmp(shifting, "SD3")) shift = hm_sd3_shift(tokens);
    if (!strcmp(shifting, "SimpleDiffusion"))
        shift = (double)tokens / 1024; /* odds of noise in proportion to tokens */
    if (!strcmp(sampler, "Constant")) shift = exp(json_number_value(json_object_get(s, "shift")));
    const hm_sched_kind kind = !strcmp(sampler, "LinearQuadratic") ? HM_SCHED_LINEAR_QUADRATIC
                               : shift != 1                        ? HM_SCHED_SD3_SHIFT
                                                                   : HM_SCHED_UNIFORM;
    float t[MAX_STEPS];
    if (steps > MAX_STEPS || first >= last) return hm_fail(err, HIMMEL_EFORMAT, "case %s is odd", name);
    himmel_status rc = hm_schedule(t, steps, kind, shift,
                                   json_number_value(json_object_get(s, "target_shift_terminal")), err);
    char full[100];
    snprintf(full, sizeof full, "out.t.%s", name);
    const double tol = parity_tol(p, full, false);
    if (!rc) parity_compare(p, full, t + first, last - first, tol > 0 ? tol : 2.5e-6);
    return rc;
}

typedef struct {
    const float *x, *A, *b, *noise, *strength;
} flow;

/* x [6,4] along v = A x + b t, each token at its own time; all states into out [steps+1][6][4]. */
static void trajectory(const flow *f, const float *t, int steps, bool conditioned, bool stochastic,
                       float *out)
{
    float v[ROWS * WIDTH], now[ROWS], next[ROWS];
    memcpy(out, f->x, sizeof v);
    for (int s = 0; s < steps; s++) {
        float *x = out + (s + 1) * ROWS * WIDTH;
        memcpy(x, x - ROWS * WIDTH, sizeof v);
        hm_token_times(now, next, conditioned ? f->strength : NULL, ROWS, t, steps, s);
        for (int i = 0; i < ROWS * WIDTH; i++) {
            v[i] = f->b[i % WIDTH] * now[i / WIDTH];
            for (int k = 0; k < WIDTH; k++) v[i] += f->A[i % WIDTH * WIDTH + k] * x[i / WIDTH * WIDTH + k];
        }
        if (stochastic)
            hm_renoise_step(x, v, f->noise + s * ROWS * WIDTH, now, next, ROWS, WIDTH);
        else
            hm_euler_step(x, v, now, next, ROWS, WIDTH);
    }
}

static const float *data(const parity *p, const char *name, int64_t n)
{
    const hm_tensor *t = hm_st_find(p->st, name);
    return t && t->dtype == HM_F32 && hm_numel(t) >= n ? t->data : NULL;
}

static himmel_status trajectories(parity *p, himmel_error *err)
{
    const flow f = {data(p, "in.x", ROWS * WIDTH), data(p, "in.A", WIDTH * WIDTH), data(p, "in.b", WIDTH),
                    data(p, "in.noise", 20 * ROWS * WIDTH), data(p, "in.conditioning_mask", ROWS)};
    const char *name;
    json_t *o;
    if (!f.x || !f.A || !f.b || !f.noise || !f.strength)
        return hm_fail(err, HIMMEL_EFORMAT, "an input is missing");
    json_object_foreach(json_object_get(p->cases, "trajectories"), name, o)
    {
        const json_t *list = json_object_get(o, "timesteps");
        const int steps = (int)json_array_size(list);
        const bool stochastic = json_is_true(json_object_get(o, "stochastic"));
        float t[MAX_STEPS], out[(MAX_STEPS + 1) * ROWS * WIDTH];
        if (steps > (stochastic ? 20 : MAX_STEPS))
            return hm_fail(err, HIMMEL_EFORMAT, "case %s is odd", name);
        for (int i = 0; i < steps; i++) t[i] = (float)json_number_value(json_array_get(list, (size_t)i));
        trajectory(&f, t, steps, json_is_true(json_object_get(o, "conditioning")), stochastic, out);
        char full[100];
        snprintf(full, sizeof full, "out.traj.%s", name);
        parity_compare(p, full, out, (steps + 1) * ROWS * WIDTH, parity_tol(p, full, false));
    }
    return HIMMEL_OK;
}

/* Which guidance entry each time of a schedule uses: exact. */
static himmel_status mapping(parity *p, himmel_error *err)
{
    const json_t *o = json_object_get(json_object_get(p->cases, "guidance_mapping"), "guidance_timesteps");
    const hm_tensor *want = hm_st_find(p->st, "out.guidance_mapping"),
                    *t = hm_st_find(p->st, "out.t.lq.skipfinal3");
    float list[16];
    const int n = (int)json_array_size(o);
    if (!want || !t || !n || n > 16 || hm_numel(want) != hm_numel(t))
        return hm_fail(err, HIMMEL_EFORMAT, "no mapping");
    for (int i = 0; i < n; i++) list[i] = (float)json_number_value(json_array_get(o, (size_t)i));
    for (int64_t i = 0; i < hm_numel(t); i++)
        if (hm_guidance_index(list, n, ((const float *)t->data)[i]) != ((const int32_t *)want->data)[i])
            return hm_fail(err, HIMMEL_EFORMAT, "guidance_mapping differs at %d", (int)i);
    p->n++;
    return HIMMEL_OK;
}

himmel_status parity_sched(parity *p, himmel_error *err)
{
    const char *name;
    json_t *o;
    himmel_status rc = HIMMEL_OK;
    json_object_foreach(json_object_get(p->cases, "timesteps"), name, o)
    {
        if (!rc) rc = timesteps(p, name, o, err);
    }
    if (!rc) rc = trajectories(p, err);
    return rc ? rc : mapping(p, err);
}
