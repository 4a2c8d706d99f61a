/* plan.c - what a request costs, before step 0.   SPDX-License-Identifier: MIT
 * Operations and arena bytes come from running the same forward code on shapes alone; what lies outside the
 * arenas (decoded frames, scaler, encoder) is counted here. */
#include "film/plan.h"

#include "base/memory.h"
#include "film/canvas.h"

enum {
    ENCODER_FRAMES = 28
}; /* references, look-ahead and frames in flight of the encoder, x264's own buffers */

/* As canvas.c goes: each window after the first sees HM_CONTEXT seconds again. */
static himmel_status plan_windows(himmel_ctx *ctx, const himmel_request *req, const hm_layout *l, hm_sample_cost *sum,
                                  himmel_error *err)
{
    hm_sample_opts o = {.steps = req->steps, .guidance = req->guidance, .gw = l->gw, .gh = l->gh};
    for (int done = 0; done == 0 || done < l->T - 1;) {
        const int context = HM_MIN(done, HM_CONTEXT), more = HM_MIN(l->T - 1 - done, HM_H1_MAX_SECONDS - context);
        hm_sample_cost one;
        o.T = 1 + context + more;
        const himmel_status rc = hm_sample_plan(ctx->model, &o, &one, err);
        if (rc) return rc;
        sum->sample_gflop += one.sample_gflop, sum->text_gflop += one.text_gflop;
        sum->peak_bytes = HM_MAX(sum->peak_bytes, one.peak_bytes);
        done += HM_MAX(1, more);
    }
    return HIMMEL_OK;
}

himmel_status hm_plan_shapes(himmel_ctx *ctx, const himmel_request *req, himmel_plan_info *plan,
                             himmel_error *err)
{
    *plan = (himmel_plan_info){0};
    hm_layout l;
    hm_layout_for(&l, req);
    hm_sample_cost s = {0};
    hm_stream_cost f;
    himmel_status rc = plan_windows(ctx, req, &l, &s, err);
    if (!rc) rc = hm_stream_plan(ctx->model, l.gw, l.gh, ctx->threads, &f, err);
    if (rc) return rc;
    const uint64_t pixels = (uint64_t)req->width * (uint64_t)req->height;
    const uint64_t scaler = (uint64_t)ctx->threads * (uint64_t)l.full_w * 51 * sizeof(float);
    const uint64_t frames = req->kind == HIMMEL_FILM ? ENCODER_FRAMES * pixels * 3 / 2 : 8 * pixels;
    plan->n_frames = l.n_frames;
    plan->blocks_x = l.gw, plan->blocks_y = l.gh, plan->blocks_t = l.T;
    plan->base_width = l.base_w, plan->base_height = l.base_h;
    plan->gflop_sample = s.sample_gflop;
    plan->gflop_film = f.refine_gflop * l.n_frames;
    /* the encoder is open all the time; sampling and the film's frames follow each other. Weights count
     * twice: mapped, packed */
    plan->peak_bytes =
        2 * ctx->file_bytes + HM_PROGRAM_BYTES + scaler + frames + HM_MAX(s.peak_bytes, f.peak_bytes);
    plan->stays_bytes = plan->peak_bytes - ctx->file_bytes;
    plan->available_bytes = hm_memory_available(ctx->max_memory);
    return hm_memory_fits(plan->stays_bytes, "", plan->available_bytes, err);
}

/* Per pixel costs beside the networks, one core of 2022: scaling, mark and the encoder's share that is not
 * hidden. */
double hm_plan_film_seconds(const himmel_plan_info *plan, const himmel_request *req, double gflops)
{
    const double pixels = (double)req->width * req->height * plan->n_frames;
    return plan->gflop_film / HM_MAX(gflops, 1e-3) + 10e-9 * pixels;
}

himmel_status himmel_plan(himmel_ctx *ctx, const himmel_request *req, himmel_plan_info *plan,
                          himmel_error *err)
{
    if (ctx->released) return hm_released_plan(ctx, req, plan, err);
    himmel_status rc = himmel_check(req, err);
    if (!rc) rc = hm_plan_shapes(ctx, req, plan, err);
    if (rc && rc != HIMMEL_ENOMEM) return rc;
    const double gflops = 0.5 * himmel_peak_gflops(ctx); /* what the networks reach of it */
    plan->seconds = plan->gflop_sample / HM_MAX(gflops, 1e-3) + hm_plan_film_seconds(plan, req, gflops) + 0.3;
    return rc;
}
