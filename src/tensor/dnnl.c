/* dnnl.c - the only file that knows oneDNN: matmuls and convolutions, API 2.x (Debian 12) and 3.x.
 * SPDX-License-Identifier: MIT
 * Scratchpads are user-managed, one a lane, because oneDNN's own is not safe when one primitive runs on several
 * threads. Primitives fix their thread count when they are made, so the count is part of the key.
 * Traps: inside a parallel region oneDNN runs with one thread whatever the primitive was made for: serial primitives
 * are made with one. Weights of convolutions go through the format oneDNN prefers (a reorder of a few kB). */
#include <oneapi/dnnl/dnnl.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include "tensor/dnnl.h"

#if DNNL_VERSION_MAJOR >= 3
#define V3 1
typedef dnnl_memory_desc_t md_t;
typedef const_dnnl_memory_desc_t cmd_t;
#else
#define V3 0
typedef dnnl_memory_desc_t md_t;
typedef const dnnl_memory_desc_t *cmd_t;
#endif

enum { MAX_ARGS = 8, MAX_LANES = 256 };

typedef struct {
    enum { CONV, MATMUL, TILE } what;
    int threads;
    union { hm_mm mm; hm_cv cv; hm_i8 i8; } u;
} prim_key;

typedef struct {
    dnnl_memory_t mem[MAX_ARGS];
} prim_lane;

struct hm_prim {
    prim_key key;
    hm_dnnl *owner;
    hm_prim *next;
    dnnl_primitive_t prim, reorder, reorder_add; /* reorder: weights to or from the preferred format */
    size_t scratch_bytes;
    int n_args, id[MAX_ARGS];
    md_t md[MAX_ARGS];
    prim_lane *lane[MAX_LANES];
    dnnl_memory_t w_plain, w_own; /* weights as given, and as preferred (convolutions: in the owner's w_buf) */
    size_t w_bytes;               /* int8: of a packed panel */
    hm_prim *wide;                /* bf16 or int8 on a machine that oneDNN has no fast one for: the same in f32, */
    float *wide_buf[MAX_LANES];   /* operands widened into here first */
};

enum { N_BUCKETS = 1024 };
struct hm_dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t stream[MAX_LANES];
    void *scratch[MAX_LANES];
    size_t scratch_bytes[MAX_LANES];
    void *w_buf;      /* weights of the convolution that runs, in its preferred format */
    size_t w_bytes;
    int threads;
    hm_prim *bucket[N_BUCKETS];
};

/* Anything that fails here is lack of memory or a broken library after a checked start: no way back from an op. */
static void must(dnnl_status_t s)
{
    if (s != dnnl_success) abort();
}

hm_dnnl *hm_dnnl_new(int threads)
{
    hm_dnnl *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->threads = HM_MIN(threads, MAX_LANES);
    if (dnnl_engine_create(&d->engine, dnnl_cpu, 0) == dnnl_success) {
        int i = 0;
        while (i < d->threads &&
               dnnl_stream_create(&d->stream[i], d->engine, dnnl_stream_default_flags) == dnnl_success)
            i++;
        if (i == d->threads) return d;
    }
    hm_dnnl_free(d);
    return NULL;
}

static dnnl_data_type_t dt_of(hm_dtype t)
{
    assert(t == HM_F32 || t == HM_BF16);
    return t == HM_BF16 ? dnnl_bf16 : dnnl_f32;
}

static md_t md_strided(int nd, const dnnl_dims_t dim, hm_dtype t, const dnnl_dims_t stride)
{
    md_t m;
#if V3
    must(dnnl_memory_desc_create_with_strides(&m, nd, dim, dt_of(t), stride));
#else
    must(dnnl_memory_desc_init_by_strides(&m, nd, dim, dt_of(t), stride));
#endif
    return m;
}

static md_t md_any(int nd, const dnnl_dims_t dim, hm_dtype t)
{
    md_t m;
#if V3
    must(dnnl_memory_desc_create_with_tag(&m, nd, dim, dt_of(t), dnnl_format_tag_any));
#else
    must(dnnl_memory_desc_init_by_tag(&m, nd, dim, dt_of(t), dnnl_format_tag_any));
#endif
    return m;
}

#if V3
#define MD(m) (m)
static void md_free(md_t m) { dnnl_memory_desc_destroy(m); }
static md_t md_copy(cmd_t m)
{
    md_t c;
    must(dnnl_memory_desc_clone(&c, m));
    return c;
}
#else
#define MD(m) (&(m))
static void md_free(md_t m) { (void)m; }
static md_t md_copy(cmd_t m) { return *m; }
#endif

static void append_eltwise(dnnl_post_ops_t po, dnnl_alg_kind_t kind, float alpha)
{
#if V3
    must(dnnl_post_ops_append_eltwise(po, kind, alpha, 0));
#else
    must(dnnl_post_ops_append_eltwise(po, 1, kind, alpha, 0));
#endif
}

static void append_sum(dnnl_post_ops_t po, float beta)
{
#if V3
    must(dnnl_post_ops_append_sum(po, beta, 0, dnnl_data_type_undef));
#else
    must(dnnl_post_ops_append_sum(po, beta));
#endif
}

static dnnl_primitive_attr_t attr_new(dnnl_post_ops_t po)
{
    dnnl_primitive_attr_t a;
    must(dnnl_primitive_attr_create(&a));
    must(dnnl_primitive_attr_set_scratchpad_mode(a, dnnl_scratchpad_mode_user));
    if (po) must(dnnl_primitive_attr_set_post_ops(a, po));
    return a;
}

static dnnl_memory_t mem_new(const hm_dnnl *d, md_t m)
{
    dnnl_memory_t mem;
    must(dnnl_memory_create(&mem, MD(m), d->engine, DNNL_MEMORY_NONE));
    return mem;
}

static size_t md_bytes(const md_t *m)
{
#if V3
    return dnnl_memory_desc_get_size(*m);
#else
    return dnnl_memory_desc_get_size(m);
#endif
}

static void add_arg(hm_prim *p, int id, md_t m)
{
    p->id[p->n_args] = id;
    p->md[p->n_args++] = m;
}

/* Takes the primitive and its scratchpad from pd, which it consumes. */
static void finish(hm_prim *p, dnnl_primitive_desc_t pd)
{
    must(dnnl_primitive_create(&p->prim, pd));
    cmd_t sp = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
#if V3
    p->scratch_bytes = sp ? dnnl_memory_desc_get_size(sp) : 0;
#else
    p->scratch_bytes = sp ? dnnl_memory_desc_get_size(sp) : 0;
#endif
    add_arg(p, DNNL_ARG_SCRATCHPAD, md_copy(sp));
    must(dnnl_primitive_desc_destroy(pd));
}

static void lane_init(hm_prim *p, int lane)
{
    prim_lane *l = calloc(1, sizeof *l);
    if (!l) abort();
    for (int i = 0; i < p->n_args; i++) l->mem[i] = mem_new(p->owner, p->md[i]);
    p->lane[lane] = l;
}

static uint64_t hash(const void *p, size_t n)
{
    uint64_t h = 1469598103934665603u;
    uint64_t w;
    for (size_t i = 0; i + 8 <= n; i += 8) {
        memcpy(&w, (const char *)p + i, 8);
        h = (h ^ w) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return h;
}

/* [batch, rows, cols], or [rows, cols] where there is one batch: oneDNN has faster ways for two axes. */
static md_t md_matrix(int64_t batch, int64_t rows, int64_t cols, hm_dtype t, const int64_t stride[3])
{
    const int one = batch == 1;
    dnnl_dims_t dim = {0}, st = {0};
    dim[0] = batch;
    st[0] = stride[0];
    dim[1 - one] = rows;
    st[1 - one] = stride[1];
    dim[2 - one] = cols;
    st[2 - one] = stride[2];
    return md_strided(3 - one, dim, t, st);
}

static md_t md_bias(const hm_mm *m)
{
    assert(m->batch == 1);
    return md_matrix(1, 1, m->n, m->tbias, (int64_t[3]){0, m->n, 1});
}

static dnnl_primitive_desc_t mm_desc(hm_prim *p, md_t *a, md_t *b, md_t *bias, md_t *c, dnnl_primitive_attr_t attr)
{
    dnnl_primitive_desc_t pd;
#if V3
    must(dnnl_matmul_primitive_desc_create(&pd, p->owner->engine, *a, *b, bias ? *bias : NULL, *c, attr));
#else
    dnnl_matmul_desc_t d;
    must(dnnl_matmul_desc_init(&d, a, b, bias, c));
    must(dnnl_primitive_desc_create(&pd, &d, attr, p->owner->engine, NULL));
#endif
    return pd;
}

static void mm_make(hm_prim *p)
{
    const hm_mm *m = &p->key.u.mm;
    md_t a = md_matrix(m->batch, m->m, m->k, m->ta, m->a), b = md_matrix(m->batch, m->k, m->n, m->tb, m->b);
    md_t c = md_matrix(m->batch, m->m, m->n, m->tc, m->c), bias = c;
    if (m->bias) bias = md_bias(m);
    dnnl_post_ops_t po;
    must(dnnl_post_ops_create(&po));
    if (m->alpha != 1) append_eltwise(po, dnnl_eltwise_linear, m->alpha);
    if (m->gelu) append_eltwise(po, dnnl_eltwise_gelu_tanh, 0);
    if (m->beta != 0) append_sum(po, m->beta);
    dnnl_primitive_attr_t attr = attr_new(po);
    dnnl_primitive_desc_t pd = mm_desc(p, &a, &b, m->bias ? &bias : NULL, &c, attr);
    dnnl_primitive_attr_destroy(attr);
    dnnl_post_ops_destroy(po);
    add_arg(p, DNNL_ARG_SRC, a);
    add_arg(p, DNNL_ARG_WEIGHTS, b);
    add_arg(p, DNNL_ARG_DST, c);
    if (m->bias) add_arg(p, DNNL_ARG_BIAS, bias);
    finish(p, pd);
}

static void cv_make(hm_prim *p);
static void i8_make(hm_prim *p);
static void wide_make(hm_prim *p);

/* Runs inside parallel regions: on one thread, with a lane for each. */
static bool is_serial(const prim_key *k) { return k->what == TILE || (k->what == MATMUL && k->u.mm.serial); }

static hm_prim *get(hm_dnnl *d, const prim_key *key)
{
    hm_prim **slot = &d->bucket[hash(key, sizeof *key) % N_BUCKETS];
    for (hm_prim *p = *slot; p; p = p->next)
        if (!memcmp(&p->key, key, sizeof *key)) return p;
    hm_prim *p = calloc(1, sizeof *p);
    if (!p) abort();
    p->key = *key;
    p->owner = d;
    const int before = omp_get_max_threads();
    omp_set_num_threads(key->threads);
    const int lanes = is_serial(key) ? d->threads : 1;
    wide_make(p);
    if (!p->wide) (key->what == MATMUL ? mm_make : key->what == TILE ? i8_make : cv_make)(p);
    omp_set_num_threads(before);
    for (int i = 0; i < lanes && !p->wide; i++) {
        lane_init(p, i);
        if (p->scratch_bytes <= d->scratch_bytes[i]) continue;
        free(d->scratch[i]);
        d->scratch[i] = aligned_alloc(4096, (p->scratch_bytes + 4095) & ~(size_t)4095);
        if (!d->scratch[i]) abort();
        d->scratch_bytes[i] = p->scratch_bytes;
    }
    p->next = *slot;
    *slot = p;
    return p;
}

hm_prim *hm_mm_get(hm_dnnl *d, const hm_mm *mm)
{
    prim_key k;
    memset(&k, 0, sizeof k);
    k.what = MATMUL;
    k.threads = mm->serial ? 1 : d->threads;
    k.u.mm = *mm;
    return get(d, &k);
}

static void execute(hm_prim *p, int lane, void *const *data)
{
    prim_lane *l = p->lane[lane];
    dnnl_exec_arg_t args[MAX_ARGS];
    for (int i = 0; i < p->n_args; i++) {
        void *at = p->id[i] == DNNL_ARG_SCRATCHPAD ? p->owner->scratch[lane] : data[i];
        must(dnnl_memory_set_data_handle(l->mem[i], at));
        args[i] = (dnnl_exec_arg_t){p->id[i], l->mem[i]};
    }
    must(dnnl_primitive_execute(p->prim, p->owner->stream[lane], p->n_args, args));
}

static void wide_mm_run(hm_prim *p, int lane, const void *a, const void *b, const void *bias, void *c);
static void wide_cv_run(hm_prim *p, const void *x, const void *w, const void *bias, void *y, bool add_w);

void hm_mm_run(hm_prim *p, int lane, const void *a, const void *b, const void *bias, void *c)
{
    if (p->wide) {
        wide_mm_run(p, lane, a, b, bias, c);
        return;
    }
    void *const data[MAX_ARGS] = {(void *)a, (void *)b, c, (void *)bias};
    if (p->key.u.mm.serial) {
        execute(p, lane, data);
        return;
    }
    const int before = omp_get_max_threads();
    if (before != p->key.threads) omp_set_num_threads(p->key.threads);
    execute(p, lane, data);
    if (before != p->key.threads) omp_set_num_threads(before);
}

/* ---- convolutions ---- */

/* Channels-last [B, spatial..., C] described to oneDNN as B, C, spatial. */
static md_t md_act(const hm_cv *c, const int64_t *sp, int64_t channels, hm_dtype t)
{
    dnnl_dims_t dim = {c->batch, channels}, st = {0};
    int64_t s = channels;
    for (int i = 0; i < c->nd; i++) dim[2 + i] = sp[i];
    for (int i = c->nd; i-- > 0;) {
        st[2 + i] = s;
        s *= sp[i];
    }
    st[0] = s;
    st[1] = 1;
    return md_strided(2 + c->nd, dim, t, st);
}

/* Weights [O, k..., I] or [O, I, k...] described as O, I, k; plain or any. */
static md_t md_w(const hm_cv *c, hm_dtype t, bool any)
{
    dnnl_dims_t dim = {c->out_c, c->in_c}, st = {0};
    int64_t s = c->w_oik ? 1 : c->in_c;
    for (int i = 0; i < c->nd; i++) dim[2 + i] = c->k[i];
    for (int i = c->nd; i-- > 0;) {
        st[2 + i] = s;
        s *= c->k[i];
    }
    st[0] = c->w_oik ? s * c->in_c : s;
    st[1] = c->w_oik ? s : 1;
    return any ? md_any(2 + c->nd, dim, t) : md_strided(2 + c->nd, dim, t, st);
}

static dnnl_primitive_desc_t cv_desc(hm_prim *p, const md_t *x, const md_t *w, const md_t *b, const md_t *y,
                                     dnnl_primitive_attr_t attr)
{
    const hm_cv *c = &p->key.u.cv;
    const dnnl_alg_kind_t alg = dnnl_convolution_direct;
    dnnl_dims_t st = {0}, pl = {0}, pr = {0}, dil = {0};
    for (int i = 0; i < c->nd; i++) {
        st[i] = c->stride[i];
        pl[i] = c->pad[i];
        pr[i] = (c->out[i] - 1) * st[i] + c->k[i] - c->in[i] - pl[i]; /* < pad where the stride leaves a rest */
    }
    dnnl_engine_t e = p->owner->engine;
    dnnl_primitive_desc_t pd, hint = NULL;
#if V3
    if (c->kind == HM_CONV_FWD) {
        must(dnnl_convolution_forward_primitive_desc_create(&pd, e, dnnl_forward_training, alg, *x, *w, b ? *b : NULL,
                                                            *y, st, dil, pl, pr, attr));
        return pd;
    }
    md_t fw = md_w(c, c->act, true);
    must(dnnl_convolution_forward_primitive_desc_create(&hint, e, dnnl_forward_training, alg, *x, fw, NULL, *y, st,
                                                        dil, pl, pr, NULL));
    if (c->kind == HM_CONV_BWD_X)
        must(dnnl_convolution_backward_data_primitive_desc_create(&pd, e, alg, *x, *w, *y, st, dil, pl, pr, hint, attr));
    else
        must(dnnl_convolution_backward_weights_primitive_desc_create(&pd, e, alg, *x, *w, NULL, *y, st, dil, pl, pr,
                                                                     hint, attr));
    md_free(fw);
#else
    (void)dil;
    dnnl_convolution_desc_t d;
    md_t fw = md_w(c, c->act, true);
    must(dnnl_convolution_forward_desc_init(&d, dnnl_forward_training, alg, x, c->kind == HM_CONV_FWD ? w : &fw, b, y,
                                            st, pl, pr));
    must(dnnl_primitive_desc_create(&hint, &d, c->kind == HM_CONV_FWD ? attr : NULL, e, NULL));
    if (c->kind == HM_CONV_FWD) return hint;
    if (c->kind == HM_CONV_BWD_X) must(dnnl_convolution_backward_data_desc_init(&d, alg, x, w, y, st, pl, pr));
    else must(dnnl_convolution_backward_weights_desc_init(&d, alg, x, w, NULL, y, st, pl, pr));
    must(dnnl_primitive_desc_create(&pd, &d, attr, e, hint));
#endif
    must(dnnl_primitive_desc_destroy(hint));
    return pd;
}

static dnnl_primitive_t reorder_new(const hm_dnnl *d, md_t from, md_t to, bool add)
{
    dnnl_post_ops_t po = NULL;
    if (add) {
        must(dnnl_post_ops_create(&po));
        append_sum(po, 1);
    }
    dnnl_primitive_attr_t attr;
    must(dnnl_primitive_attr_create(&attr));
    if (po) must(dnnl_primitive_attr_set_post_ops(attr, po));
    dnnl_primitive_desc_t pd;
    must(dnnl_reorder_primitive_desc_create(&pd, MD(from), d->engine, MD(to), d->engine, attr));
    dnnl_primitive_t prim;
    must(dnnl_primitive_create(&prim, pd));
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    if (po) dnnl_post_ops_destroy(po);
    return prim;
}

static void w_room(hm_dnnl *d, size_t bytes)
{
    if (bytes <= d->w_bytes) return;
    free(d->w_buf);
    d->w_buf = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
    if (!d->w_buf) abort();
    d->w_bytes = bytes;
}

static void cv_make(hm_prim *p)
{
    const hm_cv *c = &p->key.u.cv;
    const bool dw = c->kind == HM_CONV_BWD_W;
    const hm_dtype tw = dw ? HM_F32 : c->act;
    md_t x = md_act(c, c->in, c->in_c, c->act), y = md_act(c, c->out, c->out_c, c->act);
    md_t any = md_w(c, tw, true), plain = md_w(c, tw, false), b;
    const dnnl_dims_t bd = {c->out_c}, bs = {1};
    if (c->bias) b = md_strided(1, bd, c->tbias, bs);
    dnnl_post_ops_t po;
    must(dnnl_post_ops_create(&po));
    if (c->relu) append_eltwise(po, dnnl_eltwise_relu, 0);
    dnnl_primitive_attr_t attr = attr_new(po);
    dnnl_primitive_desc_t pd = cv_desc(p, &x, &any, c->bias ? &b : NULL, &y, attr);
    dnnl_primitive_attr_destroy(attr);
    dnnl_post_ops_destroy(po);
    md_free(any);
    md_t own = md_copy(dnnl_primitive_desc_query_md(pd, dw ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0));
    w_room(p->owner, md_bytes(&own));
    p->w_own = mem_new(p->owner, own);
    p->w_plain = mem_new(p->owner, plain);
    if (dw) {
        p->reorder = reorder_new(p->owner, own, plain, false);
        p->reorder_add = reorder_new(p->owner, own, plain, true);
    } else {
        p->reorder = reorder_new(p->owner, plain, own, false);
    }
    const bool fwd = c->kind == HM_CONV_FWD, bx = c->kind == HM_CONV_BWD_X;
    add_arg(p, bx ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, x);
    add_arg(p, dw ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, own);
    add_arg(p, fwd ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, y);
    if (c->bias) add_arg(p, DNNL_ARG_BIAS, b);
    finish(p, pd);
    md_free(plain);
}

hm_prim *hm_cv_get(hm_dnnl *d, const hm_cv *cv)
{
    prim_key k;
    memset(&k, 0, sizeof k);
    k.threads = d->threads;
    k.u.cv = *cv;
    return get(d, &k);
}

void hm_cv_run(hm_prim *p, const void *x, const void *w, const void *bias, void *y, bool add_w)
{
    const bool dw = p->key.u.cv.kind == HM_CONV_BWD_W;
    if (p->wide) {
        wide_cv_run(p, x, w, bias, y, add_w);
        return;
    }
    const int before = omp_get_max_threads();
    omp_set_num_threads(p->key.threads);
    must(dnnl_memory_set_data_handle(p->w_plain, (void *)w));
    must(dnnl_memory_set_data_handle(p->w_own, p->owner->w_buf));
    dnnl_exec_arg_t r[2] = {{DNNL_ARG_FROM, dw ? p->w_own : p->w_plain}, {DNNL_ARG_TO, dw ? p->w_plain : p->w_own}};
    if (!dw) must(dnnl_primitive_execute(p->reorder, p->owner->stream[0], 2, r));
    void *const data[MAX_ARGS] = {(void *)x, p->owner->w_buf, y, (void *)bias};
    execute(p, 0, data);
    if (dw) must(dnnl_primitive_execute(add_w ? p->reorder_add : p->reorder, p->owner->stream[0], 2, r));
    omp_set_num_threads(before);
}

/* ---- int8: a tile of rows by a packed panel of weights ---- */

static md_t md_tile(int64_t rows, int64_t cols, dnnl_data_type_t t, dnnl_format_tag_t tag)
{
    const dnnl_dims_t dim = {rows, cols};
    md_t m;
#if V3
    must(dnnl_memory_desc_create_with_tag(&m, 2, dim, t, tag));
#else
    must(dnnl_memory_desc_init_by_tag(&m, 2, dim, t, tag));
#endif
    return m;
}

static void i8_make(hm_prim *p)
{
    const hm_i8 *t = &p->key.u.i8;
    md_t a = md_tile(HM_I8_ROWS, t->k, dnnl_s8, dnnl_ab), any = md_tile(t->k, t->n, dnnl_s8, dnnl_format_tag_any),
         c = md_tile(HM_I8_ROWS, t->n, dnnl_s32, dnnl_ab), plain = md_tile(t->k, t->n, dnnl_s8, dnnl_ba);
    dnnl_primitive_attr_t attr = attr_new(NULL);
    dnnl_primitive_desc_t pd = mm_desc(p, &a, &any, NULL, &c, attr);
    dnnl_primitive_attr_destroy(attr);
    md_free(any);
    md_t own = md_copy(dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0));
    p->w_bytes = md_bytes(&own);
    p->w_own = mem_new(p->owner, own);
    p->w_plain = mem_new(p->owner, plain);
    p->reorder = reorder_new(p->owner, plain, own, false);
    md_free(plain);
    add_arg(p, DNNL_ARG_SRC, a);
    add_arg(p, DNNL_ARG_WEIGHTS, own);
    add_arg(p, DNNL_ARG_DST, c);
    finish(p, pd);
}

hm_prim *hm_i8_get(hm_dnnl *d, const hm_i8 *i8)
{
    prim_key k;
    memset(&k, 0, sizeof k);
    k.what = TILE;
    k.threads = 1;
    k.u.i8 = *i8;
    return get(d, &k);
}

size_t hm_i8_panel_bytes(const hm_prim *p) { return p->w_bytes; }

void hm_i8_pack(hm_prim *p, const int8_t *w, void *panel)
{
    if (p->wide) {
        memcpy(panel, w, p->w_bytes);
        return;
    }
    must(dnnl_memory_set_data_handle(p->w_plain, (void *)w));
    must(dnnl_memory_set_data_handle(p->w_own, panel));
    dnnl_exec_arg_t r[2] = {{DNNL_ARG_FROM, p->w_plain}, {DNNL_ARG_TO, p->w_own}};
    must(dnnl_primitive_execute(p->reorder, p->owner->stream[0], 2, r));
}

static void wide_i8_run(hm_prim *p, int lane, const int8_t *a, const int8_t *w, int32_t *c);

void hm_i8_run(hm_prim *p, int lane, const int8_t *a, const void *panel, int32_t *c)
{
    void *const data[MAX_ARGS] = {(void *)a, (void *)panel, c};
    if (p->wide) wide_i8_run(p, lane, a, panel, c);
    else execute(p, lane, data);
}

/* ---- bf16 where oneDNN has none (below AVX-512, and f32 operands with a bf16 result): widened to f32; int8 below VNNI ---- */

static bool has_bf16(void)
{
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
}

/* Below VNNI oneDNN adds products of int8 in 16 bits, where they can overflow: there int8 is computed in f32 (exact up to 2^24). */
static bool has_vnni(void)
{
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_vnni) == dnnl_cpu_isa_avx512_core_vnni;
}

static int64_t cv_numel(const hm_cv *c, char which) /* x, w or y */
{
    int64_t n = which == 'w' ? c->out_c * c->in_c : c->batch * (which == 'x' ? c->in_c : c->out_c);
    for (int i = 0; i < c->nd; i++) n *= which == 'x' ? c->in[i] : which == 'y' ? c->out[i] : c->k[i];
    return n;
}

static void wide_make(hm_prim *p)
{
    size_t floats;
    if (p->key.what == TILE) {
        const hm_i8 *t = &p->key.u.i8;
        if (has_vnni()) return;
        hm_mm m = {.batch = 1, .m = HM_I8_ROWS, .n = t->n, .k = t->k, .a = {0, t->k, 1}, .b = {0, 1, t->k}, .c = {0, t->n, 1},
                   .ta = HM_F32, .tb = HM_F32, .tc = HM_F32, .tbias = HM_F32, .alpha = 1, .serial = 1};
        floats = (size_t)(HM_I8_ROWS * t->k + t->n * t->k + HM_I8_ROWS * t->n);
        p->wide = hm_mm_get(p->owner, &m);
        p->w_bytes = (size_t)(t->n * t->k);
    } else if (p->key.what == MATMUL) {
        hm_mm m = p->key.u.mm;
        const bool any = m.ta == HM_BF16 || m.tb == HM_BF16 || m.tc == HM_BF16;
        if (!any || (has_bf16() && m.ta == HM_BF16)) return;
        m.ta = m.tb = m.tc = m.tbias = HM_F32;
        memcpy(m.a, (int64_t[3]){m.m * m.k, m.k, 1}, sizeof m.a);
        memcpy(m.b, (int64_t[3]){m.k * m.n, m.n, 1}, sizeof m.b);
        memcpy(m.c, (int64_t[3]){m.m * m.n, m.n, 1}, sizeof m.c);
        floats = (size_t)(m.batch * (m.m * m.k + m.k * m.n + m.m * m.n) + m.n);
        p->wide = hm_mm_get(p->owner, &m);
    } else {
        hm_cv c = p->key.u.cv;
        if (c.act != HM_BF16 || has_bf16()) return;
        c.act = c.tbias = HM_F32;
        floats = (size_t)(cv_numel(&c, 'x') + cv_numel(&c, 'w') + cv_numel(&c, 'y') + c.out_c);
        p->wide = hm_cv_get(p->owner, &c);
    }
    const int lanes = is_serial(&p->key) ? p->owner->threads : 1;
    for (int i = 0; i < lanes; i++)
        if (!(p->wide_buf[i] = malloc(floats * sizeof(float)))) abort();
}

/* [batch, rows, cols] with strides <-> packed f32. */
static void wide_matrix(float *packed, void *m, hm_dtype t, const int64_t dim[3], const int64_t st[3], bool back)
{
    for (int64_t b = 0; b < dim[0]; b++)
        for (int64_t r = 0; r < dim[1]; r++) {
            const int64_t from = b * st[0] + r * st[1];
            float *f = packed + (b * dim[1] + r) * dim[2];
            for (int64_t c = 0; c < dim[2]; c++) {
                const int64_t i = from + c * st[2];
                if (back && t == HM_BF16) ((uint16_t *)m)[i] = hm_lane_put(f[c]);
                else if (back) ((float *)m)[i] = f[c];
                else f[c] = t == HM_BF16 ? hm_lane_get(((const uint16_t *)m)[i]) : ((const float *)m)[i];
            }
        }
}

static void wide_mm_run(hm_prim *p, int lane, const void *a, const void *b, const void *bias, void *c)
{
    const hm_mm *m = &p->key.u.mm;
    float *fa = p->wide_buf[lane], *fb = fa + m->batch * m->m * m->k, *fc = fb + m->batch * m->k * m->n;
    float *fbias = fc + m->batch * m->m * m->n;
    const int64_t dc[3] = {m->batch, m->m, m->n};
    wide_matrix(fa, (void *)a, m->ta, (int64_t[3]){m->batch, m->m, m->k}, m->a, false);
    wide_matrix(fb, (void *)b, m->tb, (int64_t[3]){m->batch, m->k, m->n}, m->b, false);
    if (m->beta != 0) wide_matrix(fc, c, m->tc, dc, m->c, false);
    if (m->bias) hm_convert(fbias, HM_F32, bias, m->tbias, (size_t)m->n);
    hm_mm_run(p->wide, lane, fa, fb, m->bias ? fbias : NULL, fc);
    wide_matrix(fc, c, m->tc, dc, m->c, true);
}

static void wide_cv_run(hm_prim *p, const void *x, const void *w, const void *bias, void *y, bool add_w)
{
    const hm_cv *c = &p->key.u.cv;
    const size_t nx = (size_t)cv_numel(c, 'x'), nw = (size_t)cv_numel(c, 'w'), ny = (size_t)cv_numel(c, 'y');
    float *fx = p->wide_buf[0], *fw = fx + nx, *fy = fw + nw, *fb = fy + ny;
    const bool fwd = c->kind == HM_CONV_FWD, bx = c->kind == HM_CONV_BWD_X;
    if (!bx) hm_convert(fx, HM_F32, x, HM_BF16, nx);
    if (c->kind != HM_CONV_BWD_W) hm_convert(fw, HM_F32, w, HM_BF16, nw);
    if (!fwd) hm_convert(fy, HM_F32, y, HM_BF16, ny);
    if (c->bias) hm_convert(fb, HM_F32, bias, c->tbias, (size_t)c->out_c);
    hm_cv_run(p->wide, fx, c->kind == HM_CONV_BWD_W ? w : fw, c->bias ? fb : NULL, fy, add_w);
    if (bx) hm_convert((void *)x, HM_BF16, fx, HM_F32, nx);
    if (fwd) hm_convert(y, HM_BF16, fy, HM_F32, ny);
}

HM_CLONES static void i8_widen(float *restrict f, const int8_t *restrict q, int64_t n)
{
    for (int64_t i = 0; i < n; i++) f[i] = (float)q[i];
}

static void wide_i8_run(hm_prim *p, int lane, const int8_t *a, const int8_t *w, int32_t *c)
{
    const hm_i8 *t = &p->key.u.i8;
    float *fa = p->wide_buf[lane], *fw = fa + HM_I8_ROWS * t->k, *fc = fw + t->n * t->k;
    i8_widen(fa, a, HM_I8_ROWS * t->k);
    i8_widen(fw, w, t->n * t->k);
    hm_mm_run(p->wide, lane, fa, fw, NULL, fc);
    for (int64_t i = 0; i < HM_I8_ROWS * t->n; i++) c[i] = (int32_t)lrintf(fc[i]);
}

static void prim_free(hm_prim *p)
{
    if (p->prim) dnnl_primitive_destroy(p->prim);
    for (int i = 0; i < MAX_LANES; i++) free(p->wide_buf[i]);
    if (p->reorder) dnnl_primitive_destroy(p->reorder);
    if (p->reorder_add) dnnl_primitive_destroy(p->reorder_add);
    if (p->w_plain) dnnl_memory_destroy(p->w_plain);
    if (p->w_own) dnnl_memory_destroy(p->w_own);
    for (int l = 0; l < MAX_LANES && p->lane[l]; l++) {
        for (int i = 0; i < p->n_args; i++) dnnl_memory_destroy(p->lane[l]->mem[i]);
        free(p->lane[l]);
    }
    for (int i = 0; i < p->n_args; i++) md_free(p->md[i]);
    free(p);
}

void hm_dnnl_free(hm_dnnl *d)
{
    if (!d) return;
    for (int b = 0; b < N_BUCKETS; b++)
        for (hm_prim *p = d->bucket[b], *next; p; p = next) {
            next = p->next;
            prim_free(p);
        }
    for (int i = 0; i < d->threads; i++) {
        if (d->stream[i]) dnnl_stream_destroy(d->stream[i]);
        free(d->scratch[i]);
    }
    free(d->w_buf);
    if (d->engine) dnnl_engine_destroy(d->engine);
    free(d);
}

/* ---- instruction sets ---- */

const char *hm_isa_name(void)
{
    static const struct { dnnl_cpu_isa_t isa; const char *name; } names[] = {
        {dnnl_cpu_isa_sse41, "sse41"}, {dnnl_cpu_isa_avx, "avx"}, {dnnl_cpu_isa_avx2, "avx2"},
        {dnnl_cpu_isa_avx2_vnni, "avx2_vnni"}, {dnnl_cpu_isa_avx512_core, "avx512_core"},
        {dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni"}, {dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16"},
        {dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx"}};
    const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    for (size_t i = 0; i < HM_COUNT(names); i++)
        if (names[i].isa == isa) return names[i].name;
    return "other";
}

himmel_status hm_isa_limit(const char *name, himmel_error *err)
{
    dnnl_cpu_isa_t isa;
    if (!strcmp(name, "baseline")) isa = dnnl_cpu_isa_sse41;
    else if (!strcmp(name, "avx2")) isa = dnnl_cpu_isa_avx2;
    else if (!strcmp(name, "avx512")) isa = dnnl_cpu_isa_avx512_core;
    else return hm_fail(err, HIMMEL_EINVAL, "instruction set \"%s\" is unknown: use baseline, avx2 or avx512", name);
    if (dnnl_set_max_cpu_isa(isa) != dnnl_success)
        return hm_fail(err, HIMMEL_EINVAL, "the instruction set must be chosen before the first computation");
    return HIMMEL_OK;
}
