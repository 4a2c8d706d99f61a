/* probe.h - the attribute probe: tells a scene's facts from eight small frames of a film.
 * SPDX-License-Identifier: MIT
 * It measures himmel-1 (himmel eval) and is no part of it: own architecture, own seeds, own footage; never
 * used in training or in the choice of a model. What it sees of a film of three seconds: frames 4, 13, .. 67
 * at 24 fps, 128 x 72 pixels.
 *   frames -> 7 pairs (picture, change to the next, flow) -> 2-D convolutions -> per pair 448 values
 *          -> mean, late minus early, mean |change| over the pairs -> 64 values, the feature space
 *          -> one head per fact */
#ifndef HM_TRAIN_PROBE_H
#define HM_TRAIN_PROBE_H

#include "formats/safetensors.h"
#include "text/t5.h"
#include "train/scenes.h"

enum {
    HM_PROBE_W = 128,
    HM_PROBE_H = 72,
    HM_PROBE_FRAMES = 8,
    HM_PROBE_PAIRS = HM_PROBE_FRAMES - 1,
    HM_PROBE_D = 64,
    HM_PROBE_FRAME_BYTES = HM_PROBE_W * HM_PROBE_H * 3,
    HM_PROBE_CLIP_BYTES = HM_PROBE_FRAMES * HM_PROBE_FRAME_BYTES,
    HM_PROBE_SECONDS = 3,
    HM_PROBE_IN = 28,
    HM_PROBE_CLIP_INPUT = HM_PROBE_PAIRS * (HM_PROBE_H / 2) * (HM_PROBE_W / 2) * HM_PROBE_IN
};

/* Frame number (24 fps) of the probe's frame i. */
static inline int hm_probe_frame(int i) { return 4 + 9 * i; }

/* Scene seeds of training and test of the probe, and of evaluation: far from each other and from all other
 * footage. */
#define HM_PROBE_TRAIN_SEEDS (5ull << 44)
#define HM_PROBE_TEST_SEEDS (6ull << 44)
#define HM_EVAL_SEEDS (7ull << 44)

/* The probe's view of a scene from second t0 on: clip [8][72][128][3]. */
himmel_status hm_probe_render(const hm_scene *s, double t0, uint8_t *clip, himmel_error *err);
/* One picture [72][128][3] float -> frame of a clip. */
void hm_probe_quantise(const float *rgb, uint8_t *frame);

/* ---- the network ---- */
enum { HM_PROBE_N_SLOTS = 72 };
typedef struct {
    hm_tensor *slot[HM_PROBE_N_SLOTS];
} hm_probe_net;
himmel_status hm_probe_params(hm_probe_net *n, hm_param_fn *fn, void *user, himmel_error *err);
/* x [B*7,36,64,28] -> logits per fact [B,size]; *feature (may be NULL) [B,64]. */
void hm_probe_forward(hm_graph *g, const hm_probe_net *n, hm_tensor *x, int64_t B,
                      hm_tensor *logits[HM_N_FACTS], hm_tensor **feature);
/* Network input of one clip [7][36][64][28] f32 from frames [8][72][128][3] in [0,1]: of each 2 x 2 pixels
 * the colours, then their change to the next frame, channel = (c*2 + dy)*2 + dx; then how far brightness moves along
 * its gradient, x and y (right and down are positive): from this frame to the next, in cells of 2 x 2 pixels,
 * and between frames up to 5 apart around the two, in cells of 4 x 4. */
void hm_probe_input(const float *frames, float *x);

/* ---- a trained one ---- */
typedef struct hm_probe hm_probe;
himmel_status hm_probe_open(hm_probe **out, const char *path, himmel_error *err);
void hm_probe_free(hm_probe *p); /* NULL is fine */
/* clips [n][8][72][128][3] -> most likely value of each fact [n], features [n][64]; either may be NULL. One
 * call at a time. */
himmel_status hm_probe_look(hm_probe *p, const uint8_t *clips, int64_t n, uint8_t (*fact)[HM_N_FACTS],
                            float *feature, himmel_error *err);

#endif
