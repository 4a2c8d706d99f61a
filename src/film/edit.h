/* edit.h - one edit from inputs to frames.   SPDX-License-Identifier: MIT
 *   inputs -clip.h-> frames at the result's size -> canvases (what is known) -> sampled -> spans of frames -> file */
#ifndef HM_EDIT_H
#define HM_EDIT_H

#include "film/canvas.h"
#include "film/clip.h"
#include "film/strip.h"

enum { HM_MAX_TAKES = HIMMEL_MAX_CLIPS + 2, HM_MAX_SPANS = 2 * HIMMEL_MAX_CLIPS + 2, HM_FEATHER = 16, HM_PLACE_ROOM = 32 };

/* n frames of the result: clip >= 0: frames of that clip from `from` seconds on; take >= 0: frames of that canvas,
 * `rate` of its seconds in one of the result; both: the canvas where the mask allows, over the clip. */
typedef struct {
    int clip, take, n;
    double from, rate;
} hm_span;

/* A picture known at a time of a take: what its own reconstruction lacks is added around it, fading in a second. */
typedef struct {
    int take;
    double at;        /* seconds of the take */
    uint8_t *image;   /* [h][w][3], then NULL */
    int16_t *missing; /* image - reconstruction, once the take is sampled */
    float *own;       /* the reconstruction's brightness, small */
} hm_anchor;

/* seams.c: what anchors add to the frames beside them, all of w x h. */
enum { HM_SEAM_SECONDS = 1 };
typedef struct hm_seams hm_seams;
himmel_status hm_seams_new(hm_seams **out, int w, int h, himmel_error *err);
void hm_seams_free(hm_seams *s); /* NULL is fine */
/* rgb [h][w][3]: the take's own picture at a->at. a->image becomes a->missing. */
himmel_status hm_seams_measure(const hm_seams *s, hm_anchor *a, const uint8_t *rgb, himmel_error *err);
/* The take's picture at a time: what the n anchors lack is added where it has moved to. */
void hm_seams_correct(hm_seams *s, const hm_anchor *anchor, int n, int take, double seconds, uint8_t *rgb);

/* Which pixels of the result may change, at one time. */
typedef struct {
    hm_clip *film;      /* NULL: a box, or what the input does not cover */
    double box[4], from, to; /* in pixels of the result; the box holds from..to seconds */
    bool outside;       /* the box stays, the rest changes */
    int w, h;
    int have;           /* frame of film, or 0/1 of the box in hit and alpha; -1 none */
    uint8_t *hit;       /* [h][w] 1: may change */
    uint8_t *alpha;     /* [h][w] share of the new picture, feathered inwards */
} hm_mask;

typedef struct {
    himmel_ctx *ctx;
    const himmel_edit *e;
    himmel_request req; /* size and rate filled in */
    hm_layout l;
    hm_scaler *to_base; /* the result's size -> base */
    hm_clip *clip[HIMMEL_MAX_CARDS];
    int n_clips;
    hm_mask mask;
    bool masked;
    hm_canvas take[HM_MAX_TAKES];
    hm_strip strip[HM_MAX_TAKES]; /* the takes of a released model */
    uint8_t *base;                /* a frame of one */
    uint8_t *reference;           /* of the same size, NULL: none */
    int n_takes;
    hm_span span[HM_MAX_SPANS];
    int n_spans;
    hm_anchor anchor[2 * HIMMEL_MAX_CARDS];
    int n_anchors;
    char prompt[HIMMEL_MAX_PROMPT + 1]; /* of the first input, if himmel made it and no other is given */
    char placed[HIMMEL_MAX_PROMPT + HM_PLACE_ROOM]; /* the prompt with the side that the subject is painted on */
    hm_words words[HIMMEL_MAX_CARDS + 1];
    size_t n_words;
} hm_edit;

/* Who decodes the inputs. */
static inline hm_reader hm_edit_reader(const himmel_edit *e)
{
    return (hm_reader){e->reader, e->reader_user};
}
/* edit_plan.c: inputs opened and checked; req, takes, spans, anchors, words set. */
himmel_status hm_edit_plan(hm_edit *d, himmel_error *err);
void hm_edit_deinit(hm_edit *d);

/* edit_plan.c, for edit_strips.c: */
double hm_edit_fps(const hm_edit *d);
int hm_edit_frames(const hm_edit *d, int clip); /* of the result, that show all of a clip */
void hm_edit_add_span(hm_edit *d, hm_span s);   /* unless it is empty */
/* Frame `frame` of the clip stands at a time of the take. */
himmel_status hm_edit_add_anchor(hm_edit *d, int take, double at, int clip, int frame, himmel_error *err);
void hm_edit_to_base(const hm_edit *d, const uint8_t *px, uint8_t *base);
void hm_edit_keep_unmasked(const hm_edit *d, uint8_t *known);
/* edit_strips.c: the same with a released model. */
void hm_edit_layout_released(hm_edit *d);
himmel_status hm_edit_plan_strips(hm_edit *d, himmel_error *err);
typedef struct {
    hm_keep *keep; /* NULL: nothing is kept */
    int (*on_step)(void *user, int step, int n); /* after each of n steps of all takes; not 0 stops */
    int (*on_preview)(void *user, const uint8_t *rgb, int w, int h); /* as the model's; may be NULL */
    void *user;
} hm_edit_sampling;
/* ENOMEM: a window does not fit, before any is made. */
himmel_status hm_edit_sample_strips(hm_edit *d, const hm_edit_sampling *o, hm_model_cost *cost, himmel_error *err);
/* edit_text.c: all that the result depends on beside the request, one setting a line; free it. NULL: out of memory. */
char *hm_edit_settings(const himmel_edit *e);
/* edit_reference.c: e->reference, if there is one, at a size, white where it has another shape; free it. EINVAL: the model takes none. */
himmel_status hm_edit_reference(const himmel_ctx *ctx, const himmel_edit *e, int w, int h, uint8_t **rgb, himmel_error *err);
/* n bytes as 0..1; free it. NULL: out of memory. */
float *hm_edit_levels(const uint8_t *rgb, size_t n);
/* "a.png, b.png": the files' names without their folders. */
void hm_edit_names(hm_clip *const *clips, int n, char *out, size_t cap);
/* prompt.c: the prompt with words for where its subject stands behind the subject's ("a boat on the left at dusk"), in its
 * language, into buf; x: the place, 0..1 of the picture's width, in thirds. False (buf is undefined): it names no subject
 * that has a side, or says one already, or cap is below its length + HM_PLACE_ROOM, or no place for the words was found. */
bool hm_prompt_place(const char *prompt, double x, char *buf, size_t cap);
/* edit_mask.c */
himmel_status hm_mask_open(hm_mask *m, const himmel_edit *e, const hm_clip *input, const himmel_request *req, int threads,
                           himmel_error *err);
void hm_mask_deinit(hm_mask *m);
himmel_status hm_mask_at(hm_mask *m, double seconds, himmel_error *err); /* sets hit and alpha */

#endif
