/* graph.c - arena, tape and backward; see graph.h.   SPDX-License-Identifier: MIT */
#include <omp.h>
#include <sys/mman.h>
#include <time.h>
#include <stdlib.h>
#include "tensor/dnnl.h"

size_t hm_dtype_size(hm_dtype t)
{
    static const size_t size[HM_N_DTYPES] = {
        [HM_F32] = 4, [HM_BF16] = 2, [HM_F16] = 2, [HM_F8E4M3] = 1, [HM_I32] = 4, [HM_I64] = 8, [HM_U8] = 1, [HM_F64] = 8, [HM_I8] = 1};
    return (unsigned)t < HM_N_DTYPES ? size[t] : 0;
}

const char *hm_dtype_name(hm_dtype t)
{
    static const char *const name[HM_N_DTYPES] = {"F32",  "BF16", "F16",  "F8_E4M3", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
                                                  "Q2_K", "Q3_K", "Q4_K", "Q5_K",    "Q6_K", "I32",  "I64",  "U8",   "F64", "I8"};
    return (unsigned)t < HM_N_DTYPES ? name[t] : "?";
}

static uint8_t *reserve(uint64_t *bytes)
{
    const bool fixed = *bytes != 0;
    uint64_t want = fixed ? *bytes : (uint64_t)1 << 40;
    want = (want + 4095) & ~(uint64_t)4095;
    for (;; want /= 2) {
        void *p = mmap(NULL, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p != MAP_FAILED) {
            *bytes = want;
            return p;
        }
        if (fixed || want < ((uint64_t)1 << 28)) return NULL;
    }
}

himmel_status hm_graph_new(hm_graph **out, const hm_graph_opts *opts, himmel_error *err)
{
    *out = NULL;
    if (opts->act != HM_F32 && opts->act != HM_BF16)
        return hm_fail(err, HIMMEL_EINVAL, "tensor: activations are F32 or BF16, not %s", hm_dtype_name(opts->act));
    if (opts->n_threads < 0)
        return hm_fail(err, HIMMEL_EINVAL, "tensor: %d threads", opts->n_threads);
    hm_graph *g = calloc(1, sizeof *g);
    if (!g) return hm_fail(err, HIMMEL_ENOMEM, "tensor: out of memory");
    g->opts = *opts;
    g->threads = opts->n_threads ? opts->n_threads : omp_get_num_procs();
    g->reserved = opts->arena_bytes;
    g->base = reserve(&g->reserved);
    if (!g->base) {
        free(g);
        return hm_fail(err, HIMMEL_ENOMEM, "tensor: the system grants no address space for %llu bytes",
                       (unsigned long long)(opts->arena_bytes ? opts->arena_bytes : (uint64_t)1 << 28));
    }
#ifdef MADV_HUGEPAGE
    if (!opts->plan) (void)madvise(g->base, g->reserved, MADV_HUGEPAGE); /* only a hint */
#endif
    g->dnnl = opts->plan ? NULL : hm_dnnl_new(g->threads);
    if (!g->dnnl && !opts->plan) {
        hm_graph_free(g);
        return hm_fail(err, HIMMEL_ENOMEM, "tensor: oneDNN does not start on this machine");
    }
    *out = g;
    return HIMMEL_OK;
}

void hm_graph_free(hm_graph *g)
{
    if (!g) return;
    hm_dnnl_free(g->dnnl);
    munmap(g->base, g->reserved);
    free(g);
}

void hm_graph_reset(hm_graph *g)
{
    g->used = 0;
    g->flops = 0;
    g->tape = NULL;
    g->n_free = 0;
}

uint64_t hm_peak(const hm_graph *g) { return g->peak; }
hm_dtype hm_act(const hm_graph *g) { return g->opts.act; }
bool hm_is_plan(const hm_graph *g) { return g->opts.plan; }
uint64_t hm_flops(const hm_graph *g) { return g->flops; }
hm_mark hm_save(const hm_graph *g) { return g->used; }
void hm_restore(hm_graph *g, hm_mark m)
{
    if (!g->opts.tape && m <= g->used) g->used = m;
}

/* A full arena is a broken plan: there is no way back from inside an op, so stop rather than write elsewhere. */
void *hm_alloc(hm_graph *g, uint64_t bytes)
{
    const uint64_t need = (bytes + 63) & ~(uint64_t)63;
    if (need < bytes || need > g->reserved - g->used) abort();
    void *p = g->base + g->used;
    g->used += need;
    if (g->used > g->peak) g->peak = g->used;
    return p;
}

void *hm_keep(hm_graph *g, const void *src, uint64_t bytes)
{
    if (!src || !g->opts.tape) return (void *)src;
    void *p = hm_alloc(g, bytes);
    if (!g->opts.plan) memcpy(p, src, bytes);
    return p;
}

int64_t hm_numel(const hm_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->nd; i++) n *= t->dim[i];
    return n;
}

hm_tensor *hm_wrap(hm_graph *g, hm_dtype dtype, int nd, const int64_t *dim, void *data)
{
    assert(nd >= 0 && nd <= HM_MAX_DIM);
    hm_tensor *t = hm_alloc(g, sizeof *t);
    *t = (hm_tensor){.dtype = dtype, .nd = nd, .data = data};
    for (int i = 0; i < nd; i++) {
        assert(dim[i] >= 0);
        t->dim[i] = dim[i];
    }
    return t;
}

hm_tensor *hm_new(hm_graph *g, hm_dtype dtype, int nd, const int64_t *dim)
{
    hm_tensor *t = hm_wrap(g, dtype, nd, dim, NULL);
    void *data = hm_alloc(g, (uint64_t)hm_numel(t) * hm_dtype_size(dtype));
    if (!g->opts.plan) t->data = data;
    return t;
}

hm_tensor *hm_zeros(hm_graph *g, hm_dtype dtype, int nd, const int64_t *dim)
{
    hm_tensor *t = hm_new(g, dtype, nd, dim);
    if (t->data) memset(t->data, 0, (size_t)hm_numel(t) * hm_dtype_size(dtype));
    return t;
}

hm_tensor *hm_like(hm_graph *g, const hm_tensor *x, hm_dtype dtype) { return hm_new(g, dtype, x->nd, x->dim); }

hm_node *hm_record(hm_graph *g, hm_kind kind, hm_back_fn *back, hm_tensor *y, hm_tensor *const in[4])
{
    bool need = false;
    for (int i = 0; i < 4; i++) need |= hm_wants(in[i]);
    if (!g->opts.tape || !need) return NULL;
    y->needs_grad = true;
    hm_node *n = hm_alloc(g, sizeof *n);
    *n = (hm_node){.prev = g->tape, .back = back, .y = y, .kind = kind};
    memcpy(n->in, in, sizeof n->in);
    g->tape = n;
    return n;
}

/* ---- gradients ---- */

static hm_tensor *grad_new(hm_graph *g, const hm_tensor *x)
{
    const uint64_t bytes = (uint64_t)hm_numel(x) * hm_dtype_size(x->dtype);
    for (int i = g->n_free; i-- > 0;) {
        if (g->free_grads[i].bytes != bytes) continue;
        hm_tensor *t = hm_wrap(g, x->dtype, x->nd, x->dim, g->free_grads[i].data);
        g->free_grads[i] = g->free_grads[--g->n_free];
        return t;
    }
    hm_tensor *t = hm_wrap(g, x->dtype, x->nd, x->dim, NULL);
    t->data = hm_alloc(g, bytes); /* an address in a plan too: the free list must work alike; nobody touches it */
    return t;
}

hm_sink hm_grad(hm_graph *g, hm_tensor *x)
{
    const bool add = x->grad != NULL;
    if (!add) x->grad = grad_new(g, x);
    assert(x->grad->dtype == HM_F32 || x->grad->dtype == HM_BF16);
    return (hm_sink){x->grad->data, x->grad->dtype, add};
}

hm_sink hm_grad_zeroed(hm_graph *g, hm_tensor *x)
{
    hm_sink s = hm_grad(g, x);
    if (!s.add && !g->opts.plan) memset(s.data, 0, (size_t)hm_numel(x) * hm_dtype_size(s.dtype));
    s.add = true;
    return s;
}

bool hm_grad_steal(hm_graph *g, hm_tensor *x, hm_tensor *y)
{
    if (x->grad || !y->grad || y->grad->dtype != x->dtype || hm_numel(x) != hm_numel(y)) return false;
    x->grad = hm_wrap(g, x->dtype, x->nd, x->dim, y->grad->data);
    y->grad = NULL;
    return true;
}

static void grad_recycle(hm_graph *g, hm_tensor *y)
{
    if (!y->grad || g->n_free == HM_FREE_SLOTS) return;
    g->free_grads[g->n_free].bytes = (uint64_t)hm_numel(y->grad) * hm_dtype_size(y->grad->dtype);
    g->free_grads[g->n_free++].data = y->grad->data;
    y->grad = NULL;
}

/* CPU time of this thread: other programs on the machine do not show in it. */
double hm_prof_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void hm_backward(hm_graph *g, hm_tensor *loss, float seed)
{
    assert(g->opts.tape && hm_numel(loss) == 1 && loss->dtype == HM_F32);
    const hm_sink s = hm_grad(g, loss);
    if (!g->opts.plan) *(float *)s.data = seed;
    g->in_backward = true;
    for (hm_node *n = g->tape; n; n = n->prev) {
        if (!n->y->grad) continue; /* nothing of the loss depends on it */
        const double t0 = hm_prof_now();
        n->back(g, n);
        if (n->y->grad) grad_recycle(g, n->y);
        g->prof[n->kind].bwd += hm_prof_now() - t0;
    }
    g->in_backward = false;
    g->tape = NULL;
}

/* ---- parallel ranges ---- */

void hm_parallel(const hm_graph *g, int64_t n, int64_t grain, int64_t cost, hm_range_fn *fn, void *ctx)
{
    if (n <= 0) return;
    const int64_t units = (n + grain - 1) / grain;
    const int threads = n * cost < 20000 ? 1 : (int)HM_MIN(units, (int64_t)g->threads);
    if (threads == 1) {
        fn(ctx, 0, n, 0);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        const int t = omp_get_thread_num(), all = omp_get_num_threads();
        for (int part = t; part < threads; part += all) { /* the system may give fewer threads: same split */
            const int64_t from = units * part / threads * grain, to = units * (part + 1) / threads * grain;
            fn(ctx, from, HM_MIN(to, n), part);
        }
    }
}

void hm_parallel_tasks(const hm_graph *g, int64_t n, hm_range_fn *fn, void *ctx)
{
    const int threads = (int)HM_MIN(n, (int64_t)g->threads);
    if (n <= 0) return;
#pragma omp parallel num_threads(threads)
    {
        const int t = omp_get_thread_num(), all = omp_get_num_threads();
        for (int part = t; part < threads; part += all)
            for (int64_t i = part; i < n; i += threads) fn(ctx, i, i + 1, part);
    }
}

void hm_set_threads(int n)
{
    if (n > 0) omp_set_num_threads(n);
}
