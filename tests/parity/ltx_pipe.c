/* ltx_pipe.c - LTX's pipelines end to end against the original: every step of every run.
 * SPDX-License-Identifier: MIT The fixture names the checkpoint, the upsampler and the text encoder that lie
 * beside it, and holds every random draw of the original in order. Rotary angles are ours, so tolerances are
 * the ones for angles formed another way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/sampler.h"
#include "formats/json.h"
#include "models/ltx/filters.h"
#include "models/ltx/pipe.h"
#include "parity.h"

typedef struct {
    parity *p;
    json_t *params;
    hm_st *model, *upsampler;
    hm_dit dit;
    hm_vae vae;
    hm_upsampler ups;
    hm_ltx_nets nets;
    hm_graph *g;
    hm_ltx_item item[8];
    float *item_rgb[9];
    hm_ltx_item media;
    int n_items, n_draws, pass; /* pass: -1 where there is only one */
    int h, w;                   /* of the latents */
    const char *lack;           /* a draw or tensor that is missing */
    float *frames;              /* decoded */
    int n_frames;
} pipe_case;

/* ---- the fixture's values ---- */

/* [C][rows] -> [rows][C] and back. */
static void turn(float *to, const float *from, int64_t rows, int64_t C, bool channels_first)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < C; c++) {
            if (channels_first) to[c * rows + r] = from[r * C + c];
            else to[r * C + c] = from[c * rows + r];
        }
}

static void draw(void *user, hm_ltx_draw what, float *x, int64_t rows, int64_t C)
{
    static const char *const kinds[] = {"init", "vae_posterior", "extra_cond", "image_cond",
                                        "step", "decode",        "map"};
    pipe_case *c = user;
    char name[64];
    snprintf(name, sizeof name, "in.noise%02d.%s", c->n_draws++, kinds[what]);
    const hm_tensor *t = hm_st_find(c->p->st, name);
    memset(x, 0, (size_t)(rows * C) * sizeof *x);
    if (!t || hm_numel(t) != rows * C) {
        if (!c->lack) c->lack = kinds[what];
        return;
    }
    if (t->nd == 5) turn(x, t->data, rows, C, false);
    else memcpy(x, t->data, (size_t)(rows * C) * sizeof *x);
}

/* out.<name>, or out.<name>.pass<n>, or a step's own or the steps' common tensor; at: where the step begins
 * in it. */
static const hm_tensor *wanted(const pipe_case *c, const char *name, int step, char *full, size_t cap,
                               int64_t *at)
{
    char pass[16] = "";
    if (c->pass >= 0) snprintf(pass, sizeof pass, ".pass%d", c->pass);
    *at = 0;
    if (step < 0) {
        snprintf(full, cap, "out.%s%s", name, pass);
        if (!hm_st_find(c->p->st, full)) snprintf(full, cap, "out.%s", name);
        return hm_st_find(c->p->st, full);
    }
    snprintf(full, cap, "out.step.%s%s.%d", name, pass, step);
    if (hm_st_find(c->p->st, full)) return hm_st_find(c->p->st, full);
    snprintf(full, cap, "out.steps.%s.%02d", name, step);
    if (hm_st_find(c->p->st, full)) return hm_st_find(c->p->st, full);
    snprintf(full, cap, "out.steps.%s", name);
    const hm_tensor *t = hm_st_find(c->p->st, full);
    if (t) *at = step * (hm_numel(t) / t->dim[0]);
    return t;
}

static void look(void *user, const char *name, int step, const float *x, int64_t rows, int64_t C)
{
    pipe_case *c = user;
    char full[96];
    int64_t at;
    const bool positions = !strcmp(name, "positions");
    if (positions && c->pass > 0) return; /* stored for the first pass */
    const hm_tensor *t = wanted(c, positions ? "indices_grid" : name, step, full, sizeof full, &at);
    if (!t) return;
    const double tol = parity_tol(c->p, full, true);
    if (!strcmp(name, "timestep")) { /* [1], [N], or either for each row of the batch */
        const int64_t n = (hm_numel(t) - at) < rows || t->dim[t->nd - 1] == 1 ? 1 : rows;
        parity_compare_at(c->p, full, at, x, n, tol);
        return;
    }
    if (t->nd == 5) { /* channels first */
        float *y = malloc((size_t)(rows * C) * sizeof *y);
        if (!y) abort();
        turn(y, x, rows, C, true);
        parity_compare_at(c->p, full, at, y, rows * C, tol);
        free(y);
        return;
    }
    parity_compare_at(c->p, full, at, x, rows * C, tol);
}

/* ---- options ---- */

static double number(const json_t *o, const char *key, double absent)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : absent;
}

/* o[key] at entry i of a list, or the number for all. */
static float at_entry(const json_t *o, const char *key, size_t i, double absent)
{
    const json_t *v = json_object_get(o, key);
    return (float)(json_is_array(v) ? json_number_value(json_array_get(v, i)) : number(o, key, absent));
}

static uint64_t layer_bits(const json_t *list)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        bits |= (uint64_t)1 << json_integer_value(json_array_get(list, i));
    return bits;
}

static void read_guide(const json_t *o, hm_ltx_guide *u)
{
    const json_t *times = json_object_get(o, "guidance_timesteps"),
                 *skip = json_object_get(o, "skip_block_list");
    *u = (hm_ltx_guide){.n = json_is_array(times) ? (int)json_array_size(times) : 1,
                        .star = json_is_true(json_object_get(o, "cfg_star_rescale"))};
    for (int i = 0; i < u->n; i++) {
        const size_t k = (size_t)i;
        u->times[i] = json_is_array(times) ? (float)json_number_value(json_array_get(times, k)) : 0;
        u->scale[i] = at_entry(o, "guidance_scale", k, 1);
        u->stg[i] = at_entry(o, "stg_scale", k, 0);
        u->rescale[i] = at_entry(o, "rescaling_scale", k, 1);
        u->layers[i] = layer_bits(json_is_array(json_array_get(skip, k)) ? json_array_get(skip, k) : skip);
    }
    const char *mode = json_string_value(json_object_get(o, "skip_layer_strategy"));
    u->stg_mode = mode && !strcmp(mode, "AttentionValues") ? HM_STG_ATTENTION_VALUES : HM_STG_NONE;
}

/* params, overlaid with those of a pass. */
static himmel_status read_pass(pipe_case *c, const char *which, hm_ltx_pass *p, himmel_error *err)
{
    json_t *o = json_deep_copy(c->params);
    if (which) json_object_update(o, json_object_get(c->params, which));
    *p = (hm_ltx_pass){.width = (int)number(o, "width", 0),
                       .height = (int)number(o, "height", 0),
                       .n_frames = (int)number(o, "num_frames", 1),
                       .fps = number(o, "frame_rate", 25),
                       .items = c->item,
                       .n_items = c->n_items,
                       .image_noise = (float)number(o, "image_cond_noise_scale", 0),
                       .stochastic = json_is_true(json_object_get(o, "stochastic_sampling")),
                       .media = c->media.rgb ? &c->media : NULL};
    read_guide(o, &p->guide);
    const json_t *times = json_object_get(o, "timesteps");
    himmel_status rc = HIMMEL_OK;
    if (json_is_array(times)) {
        p->n_times = (int)json_array_size(times);
        for (int i = 0; i < p->n_times; i++)
            p->times[i] = (float)json_number_value(json_array_get(times, (size_t)i));
    } else {
        const int steps = (int)number(o, "num_inference_steps", 0),
                  first = (int)number(o, "skip_initial_inference_steps", 0);
        float t[HM_LTX_MAX_STEPS];
        rc = hm_schedule(t, steps, HM_SCHED_LINEAR_QUADRATIC, 1, 0, err);
        p->n_times = steps - first - (int)number(o, "skip_final_inference_steps", 0);
        if (!rc) memcpy(p->times, t + first, (size_t)p->n_times * sizeof *t);
    }
    json_decref(o);
    return rc;
}

/* in.<name> [1,3,n,h,w] as frames, malloc'ed. */
static float *media(const pipe_case *c, const char *name, hm_ltx_item *it)
{
    const hm_tensor *t = hm_st_find(c->p->st, name);
    if (!t) return NULL;
    float *x = malloc((size_t)hm_numel(t) * sizeof *x);
    if (!x) abort();
    turn(x, t->data, hm_numel(t) / 3, 3, false);
    *it = (hm_ltx_item){
        .rgb = x, .n_frames = (int)t->dim[2], .height = (int)t->dim[3], .width = (int)t->dim[4]};
    return x;
}

static void read_items(pipe_case *c)
{
    const json_t *list = json_object_get(c->params, "conditioning");
    for (size_t i = 0; i < json_array_size(list) && i < 8; i++) {
        char name[32];
        snprintf(name, sizeof name, "in.cond%zu.media", i);
        c->item_rgb[i] = media(c, name, &c->item[i]);
        c->item[i].at = (int)number(json_array_get(list, i), "frame", 0);
        c->item[i].strength = (float)number(json_array_get(list, i), "strength", 1);
        c->n_items++;
    }
    c->item_rgb[8] = media(c, "in.media", &c->media);
}

/* ---- running ---- */

static himmel_status open_beside(const pipe_case *c, const char *key, hm_st **out, himmel_error *err)
{
    const char *name = hm_st_meta(c->p->st, key), *path = hm_st_path(c->p->st), *slash = strrchr(path, '/');
    char full[4096];
    *out = NULL;
    if (!name || !*name) return HIMMEL_OK;
    snprintf(full, sizeof full, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, name);
    return hm_st_open(out, full, err);
}

static himmel_status open_all(pipe_case *c, himmel_error *err)
{
    hm_dit_config cfg;
    const char *params = hm_st_meta(c->p->st, "himmel.params");
    himmel_status rc = params ? hm_json_parse(&c->params, params, strlen(params), "params", err)
                              : hm_fail(err, HIMMEL_EFORMAT, "no parameters");
    if (!rc) rc = open_beside(c, "himmel.model", &c->model, err);
    if (!rc) rc = open_beside(c, "himmel.upsampler", &c->upsampler, err);
    const char *config = c->model ? hm_st_meta(c->model, "config") : NULL;
    if (!rc && !config) rc = hm_fail(err, HIMMEL_EFORMAT, "the checkpoint has no configuration");
    if (!rc) rc = hm_dit_config_parse(&cfg, config, err);
    if (!rc) rc = hm_dit_load(&c->dit, &cfg, c->model, "model.diffusion_model.", err);
    if (!rc) rc = hm_vae_load(&c->vae, c->model, "vae.", config, err);
    if (!rc && c->upsampler)
        rc = hm_upsampler_load(&c->ups, c->upsampler, hm_st_meta(c->upsampler, "config"), err);
    if (!rc) rc = hm_graph_new(&c->g, &(hm_graph_opts){.act = HM_F32}, err);
    return rc;
}

static himmel_status keep_frame(void *user, int i, const float *rgb, himmel_error *err)
{
    pipe_case *c = user;
    const size_t n = (size_t)c->h * (size_t)c->w * (size_t)c->vae.scale_s * (size_t)c->vae.scale_s * 3;
    c->frames = realloc(c->frames, ((size_t)i + 1) * n * sizeof *c->frames);
    if (!c->frames) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    memcpy(c->frames + (size_t)i * n, rgb, n * sizeof *rgb);
    c->n_frames = i + 1;
    return HIMMEL_OK;
}

/* The film's latents to frames, and at last to the size asked for where there were two passes. */
static himmel_status decode(pipe_case *c, const hm_ltx_calls *calls, const hm_ltx_pass *p, float *z,
                            bool resize, himmel_error *err)
{
    const json_t *second = json_object_get(c->params, "second_pass");
    const hm_ltx_decode d = {.width = p->width,
                             .height = p->height,
                             .n_frames = p->n_frames,
                             .time = (float)number(c->params, "decode_timestep", 0.05),
                             .noise = (float)number(c->params, "decode_noise_scale", 0.025),
                             .tone = (float)number(second, "tone_map_compression_ratio", 0),
                             .on_frame = keep_frame,
                             .user = c};
    himmel_status rc = hm_ltx_decode_film(&c->nets, &d, calls, z, err);
    if (rc) return rc;
    c->pass = -1;
    look(c, "decoded", -1, c->frames, (int64_t)c->n_frames * p->height * p->width, 3);
    if (!resize) return rc;
    const int H = (int)number(c->params, "height", 0), W = (int)number(c->params, "width", 0);
    float *big = malloc((size_t)c->n_frames * (size_t)H * (size_t)W * 3 * sizeof *big);
    if (!big) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    for (int64_t i = 0; i < (int64_t)c->n_frames * p->height * p->width * 3;
         i++) { /* the original clamps before it resizes */
        const float v = 0.5f * c->frames[i] + 0.5f;
        c->frames[i] = v < 0 ? 0 : v > 1 ? 1 : v;
    }
    hm_resize(big, H, W, c->frames, c->n_frames, p->height, p->width);
    look(c, "images", -1, big, (int64_t)c->n_frames * H * W, 3);
    free(big);
    return rc;
}

static himmel_status one_pass(pipe_case *c, const hm_ltx_calls *calls, hm_ltx_pass *p, float **z,
                              himmel_error *err)
{
    const int s = c->vae.scale_s, T = (p->n_frames - 1) / c->vae.scale_t + 1;
    c->h = p->height / s;
    c->w = p->width / s;
    *z = malloc((size_t)(T * c->h * c->w) * (size_t)c->vae.latent_c * sizeof **z);
    if (!*z) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    const himmel_status rc = hm_ltx_sample(&c->nets, p, calls, *z, err);
    if (!rc) look(c, "latents", -1, *z, (int64_t)T * c->h * c->w, c->vae.latent_c);
    return rc;
}

static himmel_status run(pipe_case *c, himmel_error *err)
{
    const bool two = json_is_object(json_object_get(c->params, "second_pass"));
    const hm_ltx_calls calls = {.user = c, .draw = draw, .look = look};
    hm_ltx_pass p;
    float *z = NULL, *big = NULL;
    c->pass = two ? 0 : -1;
    himmel_status rc = read_pass(c, two ? "first_pass" : NULL, &p, err);
    const double down = two ? number(c->params, "downscale_factor", 1) : 1;
    p.width = (int)(p.width * down) / c->vae.scale_s * c->vae.scale_s;
    p.height = (int)(p.height * down) / c->vae.scale_s * c->vae.scale_s;
    if (!rc) rc = one_pass(c, &calls, &p, &z, err);
    if (!rc && two) {
        const int T = (p.n_frames - 1) / c->vae.scale_t + 1;
        big = malloc((size_t)(T * 4 * c->h * c->w) * (size_t)c->vae.latent_c * sizeof *big);
        if (!big) abort();
        rc = hm_ltx_upsample(&c->nets, &c->ups, z, T, c->h, c->w, &calls, big, err);
        free(z);
        z = NULL;
        const int W = 2 * p.width, H = 2 * p.height;
        if (!rc) rc = read_pass(c, "second_pass", &p, err);
        p.width = W, p.height = H, p.start = big;
        c->pass = 1;
        if (!rc) rc = one_pass(c, &calls, &p, &z, err);
    }
    const char *type = json_string_value(json_object_get(c->params, "output_type"));
    if (!rc && !type) rc = decode(c, &calls, &p, z, two, err);
    free(z);
    free(big);
    return rc;
}

himmel_status parity_pipe(parity *p, himmel_error *err)
{
    pipe_case c = {.p = p};
    const hm_tensor *neg = hm_st_find(p->st, "in.negative_embeds"),
                    *pos = hm_st_find(p->st, "in.prompt_embeds"),
                    *mask = hm_st_find(p->st, "in.prompt_mask"); /* prompt, negative */
    float m[2][64];
    himmel_status rc = open_all(&c, err);
    if (!rc && (!neg || !pos || !mask || mask->dim[1] > 64)) rc = hm_fail(err, HIMMEL_EFORMAT, "no text");
    if (!rc) {
        const int64_t M = mask->dim[1];
        for (int b = 0; b < 2; b++)
            for (int64_t i = 0; i < M; i++) m[1 - b][i] = (float)((const int32_t *)mask->data)[b * M + i];
        c.nets = (hm_ltx_nets){.g = c.g,
                               .dit = &c.dit,
                               .vae = &c.vae,
                               .M = M,
                               .text = {neg->data, pos->data},
                               .mask = {m[0], m[1]}};
        read_items(&c);
        rc = run(&c, err);
    }
    if (!rc && c.lack)
        rc = hm_fail(err, HIMMEL_EFORMAT, "draw %d (%s) is not one of the original's", c.n_draws, c.lack);
    if (!rc) {
        char next[16];
        snprintf(next, sizeof next, "in.noise%02d.", c.n_draws);
        for (size_t i = 0; i < hm_st_count(p->st) && !rc; i++) {
            const char *name;
            hm_st_at(p->st, i, &name);
            if (!strncmp(name, next, strlen(next)))
                rc = hm_fail(err, HIMMEL_EFORMAT, "%s was never drawn", name);
        }
    }
    for (int i = 0; i < 9; i++) free(c.item_rgb[i]);
    free(c.frames);
    hm_graph_free(c.g);
    hm_upsampler_deinit(&c.ups);
    hm_vae_deinit(&c.vae);
    hm_dit_deinit(&c.dit);
    hm_st_close(c.model);
    hm_st_close(c.upsampler);
    json_decref(c.params);
    return rc;
}

/* The checkpoint that the runs use: it must open; the runs check what is in it. */
himmel_status parity_checkpoint(parity *p, himmel_error *err)
{
    hm_dit_config cfg;
    hm_dit dit = {0};
    hm_vae vae = {0};
    const char *config = hm_st_meta(p->st, "config");
    himmel_status rc =
        config ? hm_dit_config_parse(&cfg, config, err) : hm_fail(err, HIMMEL_EFORMAT, "no configuration");
    if (!rc) rc = hm_dit_load(&dit, &cfg, p->st, "model.diffusion_model.", err);
    if (!rc) rc = hm_vae_load(&vae, p->st, "vae.", config, err);
    if (!rc) p->n = 1;
    hm_dit_deinit(&dit);
    hm_vae_deinit(&vae);
    return rc;
}
