/* test_grads.c - every backward against finite differences, f32.   SPDX-License-Identifier: MIT */
#include "op_check.h"

static hm_tensor *b_linear(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_linear(g, in[0], in[1], in[2]); }
static hm_tensor *b_linear_gelu(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_linear_gelu(g, in[0], in[1], in[2]); }
static hm_tensor *b_add(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_add_t(g, in[0], in[1]); }
static hm_tensor *b_sub(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_sub_t(g, in[0], in[1]); }
static hm_tensor *b_mul(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_mul_t(g, in[0], in[1]); }
static hm_tensor *b_square(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_mul_t(g, in[0], in[0]); }
static hm_tensor *b_twice(hm_graph *g, hm_tensor **in, const void *u) /* one tensor used three times, shared gradients */
{
    (void)u;
    hm_tensor *a = hm_silu(g, in[0]), *b = hm_add_t(g, a, a), *c = hm_add_t(g, b, a);
    return hm_add_t(g, hm_mul_t(g, c, a), hm_reshape(g, hm_reshape(g, b, HM_DIMS(hm_numel(b))), b->nd, b->dim));
}
static hm_tensor *b_scale(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_scale_t(g, in[0], -1.7f); }
static hm_tensor *b_silu(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_silu(g, in[0]); }
static hm_tensor *b_gelu(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_gelu(g, in[0]); }
static hm_tensor *b_rms(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_rmsnorm(g, in[0], in[1], 1e-5f); }
static hm_tensor *b_rms0(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_rmsnorm(g, in[0], NULL, 1e-5f); }
static hm_tensor *b_ln(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_layernorm(g, in[0], in[1], in[2], 1e-5f); }
static hm_tensor *b_ln0(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_layernorm(g, in[0], NULL, NULL, 1e-5f); }
static const int32_t rows14[14] = {0, 0, 0, 1, 1, 2, 2, 2, 0, 1, 2, 2, 1, 1};
static hm_tensor *b_mod(hm_graph *g, hm_tensor **in, const void *u)
{
    return hm_norm_modulate(g, in[0], in[1], rows14, 3, 1, u != NULL, 1e-5f);
}
static hm_tensor *b_gate(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_add_gated(g, in[0], in[1], in[2], rows14, 2); }
static hm_tensor *b_table(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_mod_table(g, in[0], in[1]); }
static hm_tensor *b_slice(hm_graph *g, hm_tensor **in, const void *u) { return hm_slice(g, in[0], *(const int *)u, 1, 2); }
static hm_tensor *b_slices(hm_graph *g, hm_tensor **in, const void *u) /* overlapping: gradients add */
{
    (void)u;
    return hm_mul_t(g, hm_slice(g, in[0], 1, 0, 3), hm_slice(g, in[0], 1, 1, 3));
}
static hm_tensor *b_concat(hm_graph *g, hm_tensor **in, const void *u) { return hm_concat(g, in[0], in[1], *(const int *)u); }
static const int32_t picks[7] = {2, 0, 2, 4, 1, 2, 0};
static hm_tensor *b_gather(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_gather_rows(g, in[0], picks, 7); }
static hm_tensor *b_shuffle(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_pixel_shuffle(g, in[0], 2); }
static hm_tensor *b_unshuffle(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_pixel_unshuffle(g, in[0], 3); }
static hm_tensor *b_rope(hm_graph *g, hm_tensor **in, const void *u)
{
    (void)u;
    return hm_rope(g, in[0], in[1], in[2]);
}
static hm_tensor *b_mean(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_mean_rows(g, in[0], hm_mul_t(g, in[1], in[1])); }
static hm_tensor *b_local(hm_graph *g, hm_tensor **in, const void *u) { return hm_local_mix(g, in[0], in[1], u); }
static hm_tensor *b_conv(hm_graph *g, hm_tensor **in, const void *u) { return hm_conv(g, in[0], in[1], in[2], u); }
static hm_tensor *b_cast(hm_graph *g, hm_tensor **in, const void *u) { (void)u; return hm_cast(g, hm_scale_t(g, in[0], 2), HM_F32); }

typedef struct { int heads; float scale; bool mask, bias; } attn_user;
static hm_tensor *b_attn(hm_graph *g, hm_tensor **in, const void *u)
{
    const attn_user *a = u;
    hm_tensor *m = NULL, *bias = NULL;
    int at = 3;
    if (a->mask) {
        m = hm_zeros(g, HM_F32, HM_DIMS(in[1]->dim[0], in[1]->dim[1]));
        for (int64_t b = 0; b < m->dim[0]; b++)
            for (int64_t i = m->dim[1] - b - 2; i < m->dim[1]; i++) ((float *)m->data)[b * m->dim[1] + i] = -10000;
    }
    if (a->bias) bias = in[at++];
    return hm_attention(g, in[0], in[1], in[2], a->heads, a->scale, m, bias);
}

static hm_tensor *b_mse(hm_graph *g, hm_tensor **in, const void *u)
{
    static const float cw[7] = {1, 2, 0.5f, 1, 0, 3, 1}, tw[6] = {1, 0, 2, 1, 0.3f, 1};
    const hm_tensor *target = in[1];
    return hm_loss_mse(g, in[0], target, tw, cw, u ? 0.5f : 0);
}
static hm_tensor *b_xent(hm_graph *g, hm_tensor **in, const void *u)
{
    static const int32_t label[6] = {1, 0, -1, 4, 4, 2};
    (void)u;
    return hm_loss_xent(g, in[0], label);
}
static hm_tensor *b_detail(hm_graph *g, hm_tensor **in, const void *u)
{
    (void)u;
    return hm_scale_t(g, hm_loss_detail(g, in[0], in[1]->data, in[2]->data, 4), 10);
}

#define D(...) .nd = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = {__VA_ARGS__}
#define OP1(name, f, tol, u, ...) grad_check(name, &(op_shape){1, {{__VA_ARGS__}}, u}, f, tol)

static void dense(void)
{
    static const int sizes[][3] = {{3, 5, 7}, {16, 32, 16}, {33, 17, 65}, {1, 1, 1}};
    for (size_t i = 0; i < HM_COUNT(sizes); i++) {
        const int64_t m = sizes[i][0], k = sizes[i][1], n = sizes[i][2];
        grad_check("linear", &(op_shape){3, {{D(m, k)}, {D(n, k)}, {D(n)}}, NULL}, b_linear, 2e-3);
    }
    grad_check("linear gelu", &(op_shape){3, {{D(2, 3, 20)}, {D(11, 20), .scale = 0.3f}, {D(11)}}, NULL}, b_linear_gelu, 4e-3);
    grad_check("linear, frozen weight", &(op_shape){3, {{D(4, 20)}, {D(11, 20), .constant = true}, {D(11)}}, NULL}, b_linear, 2e-3);
    grad_check("linear, constant input", &(op_shape){3, {{D(4, 20), .constant = true}, {D(11, 20)}, {D(11)}}, NULL}, b_linear, 2e-3);
}

static void elementwise(void)
{
    grad_check("add", &(op_shape){2, {{D(3, 171)}, {D(3, 171)}}, NULL}, b_add, 2e-3);
    grad_check("add, one constant", &(op_shape){2, {{D(3, 171), .constant = true}, {D(3, 171)}}, NULL}, b_add, 2e-3);
    grad_check("sub", &(op_shape){2, {{D(3, 171)}, {D(3, 171)}}, NULL}, b_sub, 2e-3);
    grad_check("mul", &(op_shape){2, {{D(3, 171)}, {D(3, 171)}}, NULL}, b_mul, 2e-3);
    OP1("square", b_square, 2e-3, NULL, D(5, 31));
    OP1("twice", b_twice, 3e-3, NULL, D(5, 31));
    OP1("scale", b_scale, 2e-3, NULL, D(7, 1025));
    OP1("silu", b_silu, 2e-3, NULL, D(1, 33), .scale = 2);
    OP1("gelu", b_gelu, 2e-3, NULL, D(9, 15), .scale = 2);
    OP1("cast", b_cast, 2e-3, NULL, D(9, 15));
    OP1("rmsnorm without weight", b_rms0, 3e-3, NULL, D(3, 33));
    OP1("layernorm without weight", b_ln0, 3e-3, NULL, D(3, 31));
    grad_check("rmsnorm", &(op_shape){2, {{D(3, 2, 17)}, {D(17)}}, NULL}, b_rms, 3e-3);
    grad_check("layernorm", &(op_shape){3, {{D(70, 320)}, {D(320)}, {D(320)}}, NULL}, b_ln, 3e-3);
    for (int layer = 0; layer < 2; layer++)
        grad_check("norm_modulate", &(op_shape){2, {{D(2, 7, 33)}, {D(3, 4, 33)}}, layer ? "" : NULL}, b_mod, 3e-3);
    grad_check("norm_modulate, constant x", &(op_shape){2, {{D(14, 33), .constant = true}, {D(3, 4, 33)}}, NULL}, b_mod, 3e-3);
    grad_check("add_gated", &(op_shape){3, {{D(2, 7, 33)}, {D(2, 7, 33)}, {D(3, 4, 33)}}, NULL}, b_gate, 2e-3);
    grad_check("add_gated, constant mod", &(op_shape){3, {{D(14, 33)}, {D(14, 33)}, {D(3, 4, 33), .constant = true}}, NULL}, b_gate, 2e-3);
    grad_check("mod_table", &(op_shape){2, {{D(5, 24)}, {D(6, 4)}}, NULL}, b_table, 2e-3);
    grad_check("mod_table, broadcast", &(op_shape){2, {{D(5, 19)}, {D(2, 19)}}, NULL}, b_table, 2e-3);
    grad_check("rope", &(op_shape){3, {{D(2, 3, 34)}, {D(1, 3, 17), .constant = true}, {D(1, 3, 17), .constant = true}}, NULL}, b_rope, 2e-3);
    grad_check("rope per clip", &(op_shape){3, {{D(2, 3, 6)}, {D(2, 3, 3), .constant = true}, {D(2, 3, 3), .constant = true}}, NULL}, b_rope, 2e-3);
    static const int64_t grid[3] = {2, 2, 3}; /* and a frame that stands alone */
    grad_check("local_mix", &(op_shape){2, {{D(2, 18, 19)}, {D(27, 19)}}, grid}, b_local, 2e-3);
    grad_check("mean_rows", &(op_shape){2, {{D(3, 4, 19)}, {D(3, 4), .constant = true}}, NULL}, b_mean, 2e-3);
}

static void shapes(void)
{
    static const int axis[3] = {0, 1, 2};
    for (int i = 0; i < 3; i++) {
        OP1("slice", b_slice, 2e-3, &axis[i], D(3, 4, 5));
        int64_t d[3] = {3, 4, 5};
        d[i] = 2;
        op_shape s = {2, {{D(3, 4, 5)}, {.nd = 3}}, &axis[i]};
        memcpy(s.in[1].dim, d, sizeof d);
        grad_check("concat", &s, b_concat, 2e-3);
    }
    OP1("overlapping slices", b_slices, 2e-3, NULL, D(3, 4, 5));
    OP1("gather", b_gather, 2e-3, NULL, D(5, 37));
    OP1("pixel_shuffle", b_shuffle, 2e-3, NULL, D(2, 3, 2, 12));
    OP1("pixel_unshuffle", b_unshuffle, 2e-3, NULL, D(2, 3, 6, 5));
}

static void attention(void)
{
    const attn_user plain = {2, 0.3f, false, false}, mask = {2, 0.3f, true, false}, bias = {2, 0.5f, true, true};
    grad_check("attention", &(op_shape){3, {{D(2, 5, 16)}, {D(2, 5, 16)}, {D(2, 5, 16)}}, &plain}, b_attn, 3e-3);
    grad_check("attention, one batch", &(op_shape){3, {{D(1, 18, 32)}, {D(1, 7, 32)}, {D(1, 7, 32)}}, &plain}, b_attn, 3e-3);
    grad_check("attention, many clips", &(op_shape){3, {{D(5, 9, 32)}, {D(5, 13, 32)}, {D(5, 13, 32)}}, &mask}, b_attn, 3e-3);
    grad_check("attention, constant keys", &(op_shape){3, {{D(5, 9, 32)}, {D(5, 13, 32), .constant = true},
                                                           {D(5, 13, 32), .constant = true}}, &mask}, b_attn, 3e-3);
    grad_check("attention, bias", &(op_shape){4, {{D(3, 6, 16)}, {D(3, 7, 16)}, {D(3, 7, 16)}, {D(2, 6, 7)}}, &bias}, b_attn, 3e-3);
    grad_check("attention, blocks of queries", &(op_shape){3, {{D(1, 700, 8)}, {D(1, 600, 8)}, {D(1, 600, 8)}}, &mask}, b_attn, 3e-3);
}

static void convolutions(void)
{
    const hm_conv_opts same = {.stride = {1, 1, 1}, .pad = {1, 1, 1}}, stride = {.stride = {2, 2, 2}, .pad = {1, 1, 1}}, point = {.stride = {1, 1, 1}};
    grad_check("conv 3x3", &(op_shape){3, {{D(2, 5, 6, 16)}, {D(32, 3, 3, 16)}, {D(32)}}, &same}, b_conv, 2e-3);
    grad_check("conv odd channels", &(op_shape){3, {{D(2, 5, 6, 5)}, {D(7, 3, 3, 5)}, {D(7)}}, &same}, b_conv, 2e-3);
    grad_check("conv stride 2", &(op_shape){3, {{D(1, 6, 7, 8)}, {D(16, 3, 3, 8)}, {D(16)}}, &stride}, b_conv, 2e-3);
    grad_check("conv 1x1", &(op_shape){3, {{D(1, 4, 3, 16)}, {D(16, 1, 1, 16)}, {D(16)}}, &point}, b_conv, 2e-3);
    grad_check("conv 3-D", &(op_shape){3, {{D(1, 3, 4, 5, 8)}, {D(16, 3, 3, 3, 8)}, {D(16)}}, &same}, b_conv, 2e-3);
    grad_check("conv frozen weight", &(op_shape){3, {{D(1, 4, 5, 8)}, {D(16, 3, 3, 8), .constant = true}, {D(16)}}, &same}, b_conv, 2e-3);
}

static void losses(void)
{
    grad_check("mse", &(op_shape){2, {{D(6, 7)}, {D(6, 7), .constant = true}}, NULL}, b_mse, 2e-3);
    grad_check("mse + l1", &(op_shape){2, {{D(6, 7), .scale = 4}, {D(6, 7), .constant = true}}, ""}, b_mse, 2e-3);
    grad_check("detail", &(op_shape){3, {{D(2, 8, 16, 32)}, {D(2, 8, 16, 32), .constant = true}, {D(2, 8, 16, 32), .constant = true}}, NULL}, b_detail, 2e-3);
    grad_check("cross entropy", &(op_shape){1, {{D(6, 5)}}, NULL}, b_xent, 2e-3);
}

int main(void)
{
    dense();
    elementwise();
    shapes();
    attention();
    convolutions();
    losses();
    return CHECK_END();
}
