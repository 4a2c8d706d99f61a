/* strip.h - frames of any number at a released model's size, parts of which are
 * known: its canvas.   SPDX-License-Identifier: MIT known frames and masks
 * words + what is known -model, window after window-> the other frames Frames
 * lie in a file without a name beside the result (3 bytes a pixel, 1 more with
 * a mask), never in memory together. A window has at most as many frames as the
 * model was made for; each after the first begins with frames that are done. */
#ifndef HM_STRIP_H
#define HM_STRIP_H

#include "film/canvas.h"

typedef struct {
    int at;       /* frame */
    uint8_t *rgb; /* [h][w][3]; the strip's */
} hm_strip_pin;

typedef struct {
    himmel_ctx *ctx;
    int w, h, n; /* the model's sides, and frames */
    double fps;
    int from, to;  /* frames from..to-1 are new, or may change; the others are known */
    bool changes;  /* all frames are given: new ones start from them */
    bool masked;   /* and have masks: the rest of them stays */
    bool backward; /* what is known is at the end: windows go from there to the
                      start */
    double level;  /* noise level to start from where frames are given, 1: from
                      noise alone */
    int n_pins;
    hm_strip_pin pin[HIMMEL_MAX_CARDS];
    const uint8_t *reference; /* [h][w][3] who or what it is about, borrowed; NULL: nobody says */
    int file; /* descriptor + 1, 0: none */
} hm_strip;

/* Of n frames, all new, for a result at `beside`, in whose folder its frames
 * will lie. */
himmel_status hm_strip_init(hm_strip *s, himmel_ctx *ctx, const hm_layout *l, int n, double fps, const char *beside,
                            himmel_error *err);
void hm_strip_deinit(hm_strip *s); /* an all-zero one is fine */
/* Frame i: rgb [h][w][3]; mask [h][w] 1: may change. */
himmel_status hm_strip_put(hm_strip *s, int i, const uint8_t *rgb, himmel_error *err);
himmel_status hm_strip_put_mask(hm_strip *s, int i, const uint8_t *mask, himmel_error *err);
/* A picture [h][w][3] stands in frame `at`. At most HIMMEL_MAX_CARDS. */
himmel_status hm_strip_pin_at(hm_strip *s, int at, const uint8_t *rgb, himmel_error *err);
/* The model's picture of frame i, once it is sampled; of known frames there are
 * the two beside the new ones, others give the nearer of them. */
himmel_status hm_strip_get(const hm_strip *s, int i, uint8_t *rgb, himmel_error *err);

/* Frames that a window can see at an end: as many as a model was made to see,
 * at most `there` and `most`; 0: none. */
int hm_strip_context(const hm_model_facts *f, int there, int most);

typedef struct {
    const hm_words *words; /* as hm_canvas_opts; its seconds are the strip's */
    size_t n_words;
    const himmel_request *req; /* the other settings */
    uint64_t seed;
    hm_keep *keep;                               /* NULL: nothing is kept */
    int (*on_step)(void *user, int step, int n); /* after each of n steps of all windows together; not 0 stops */
    int (*on_preview)(void *user, const uint8_t *rgb, int w, int h); /* as the model's; may be NULL */
    void *user;
} hm_strip_opts;
/* Can the model make a new film so long? EINVAL: it does not go on from what is there. */
himmel_status hm_strip_can(const hm_strip *s, himmel_error *err);
/* Fits into memory? In every window. */
himmel_status hm_strip_plan(const hm_strip *s, const hm_strip_opts *o, himmel_plan_info *plan, himmel_error *err);
himmel_status hm_strip_sample(hm_strip *s, const hm_strip_opts *o, hm_model_cost *cost, himmel_error *err);

#endif
