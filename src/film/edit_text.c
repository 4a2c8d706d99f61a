/* edit_text.c - what a file says about the edit that it comes from.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "film/edit.h"

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *hm_edit_settings(const himmel_edit *e)
{
    size_t cap = 2048 + (e->mask ? strlen(e->mask) : 0) + (e->reference ? strlen(e->reference) : 0);
    for (size_t i = 0; i < e->n_cards; i++) cap += 400 + (e->cards[i].prompt ? strlen(e->cards[i].prompt) : 0);
    cap += 400 * e->n_clips;
    hm_str t = {.cap = cap, .data = malloc(cap)};
    if (!t.data) return NULL;
    hm_str_addf(&t, "edit %d\nbefore %g between %g after %g loop %d\n", (int)e->mode, e->before, e->between, e->after, e->loop);
    hm_str_addf(&t, "box %g,%g,%g,%g@%g-%g outpaint %d strength %g fit %d\n", e->box[0], e->box[1], e->box[2], e->box[3],
                e->box_from, e->box_to, e->outpaint, e->strength, (int)e->fit);
    if (e->mask) hm_str_addf(&t, "mask %.255s%s\n", base_name(e->mask), e->mask_holes ? " holes" : "");
    if (e->reference) hm_str_addf(&t, "reference %.255s\n", base_name(e->reference));
    for (size_t i = 0; i < e->n_clips; i++)
        hm_str_addf(&t, "clip %.255s@%g-%g\n", base_name(e->clips[i].path), e->clips[i].from, e->clips[i].to);
    for (size_t i = 0; i < e->n_cards; i++)
        hm_str_addf(&t, "card %g %.255s %s\n", e->cards[i].at, e->cards[i].picture ? base_name(e->cards[i].picture) : "-",
                    e->cards[i].prompt ? e->cards[i].prompt : "");
    return t.data;
}

void hm_edit_names(hm_clip *const *clips, int n, char *out, size_t cap)
{
    hm_str s = {out, cap, 0};
    *out = 0;
    for (int i = 0; i < n; i++) hm_str_addf(&s, "%s%.100s", i ? ", " : "", base_name(hm_clip_path(clips[i])));
}
