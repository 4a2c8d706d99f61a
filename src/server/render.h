/* render.h - the request of a job, as JSON in the journal, to a call of libhimmel.   SPDX-License-Identifier: MIT
 * {"kind": "film" | "image", "mode": "" | "new" | "join" | "change", "prompt", "negative", "width", "height", "seconds",
 *  "fps": [24, 1], "seed", "steps", "guidance", "mark", "sign_prompt", "format": "png",
 *  "clips": [{"path", "from", "to"}], "before", "between", "after", "loop", "cards": [{"at", "picture", "prompt"}],
 *  "mask", "box": [x, y, w, h], "box_from", "box_to", "outpaint", "strength", "fit": "crop" | "pad"}
 * Paths are relative to the data folder. What is left out has the value that the model was made for (himmel_request_for). */
#ifndef HM_RENDER_H
#define HM_RENDER_H

#include <jansson.h>

#include "base/base.h"

typedef struct {
    himmel_request req;
    himmel_edit edit;
    bool edits; /* himmel_edit_run, not himmel_generate */
    himmel_clip clips[HIMMEL_MAX_CLIPS];
    himmel_card cards[HIMMEL_MAX_CARDS];
    char *paths[HIMMEL_MAX_CLIPS + HIMMEL_MAX_CARDS + 1]; /* owned */
    int n_paths;
    char ending[8]; /* ".mp4", ".png" ... */
} hm_render;

/* base: the model's own values by himmel_kind, NULL: himmel_request_default(). Strings are borrowed from json and base, but for
 * paths. EINVAL: a field has another type or too many items. */
himmel_status hm_render_init(hm_render *r, json_t *json, const char *data, const himmel_request *base, himmel_error *err);
void hm_render_deinit(hm_render *r);
/* Everything that can be checked without reading the inputs. */
himmel_status hm_render_check(const hm_render *r, himmel_error *err);
himmel_status hm_render_run(hm_render *r, himmel_ctx *ctx, himmel_result *result, himmel_error *err);

#endif
