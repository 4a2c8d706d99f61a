/* track.c - the sound of an edit, span by span.   SPDX-License-Identifier: MIT
 * A span that shows a clip has the clip's sound of the same seconds; one that shows new pictures alone has what the words
 * sound like, or silence. At each end of a span, its sound comes and goes: a clip's within 5 ms, which only avoids a click,
 * a made one within half a second. */
#include "film/track.h"

#include <math.h>
#include <stdlib.h>

struct hm_track {
    const hm_edit *d;
    hm_sound_in *sound[HIMMEL_MAX_CARDS]; /* of the clips, NULL: silent */
    hm_synth *synth;
    int64_t end[HM_MAX_SPANS]; /* sample behind each span */
    int span;
    float *made;
    int cap;
};

static int64_t sample_of(const hm_edit *d, int frame)
{
    return llround((double)frame * d->req.fps_den * HM_SOUND_RATE / d->req.fps_num);
}

himmel_status hm_track_new(hm_track **out, const hm_edit *d, himmel_error *err)
{
    *out = NULL;
    if (d->req.kind != HIMMEL_FILM) return HIMMEL_OK;
    hm_track *t = calloc(1, sizeof *t);
    if (!t) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for sound");
    t->d = d;
    himmel_status rc = HIMMEL_OK;
    bool any = d->req.sound;
    const hm_reader by = hm_edit_reader(d->e);
    for (int i = 0, frames = 0; i < d->n_spans && !rc; i++) {
        const int clip = d->span[i].clip;
        t->end[i] = sample_of(d, frames += d->span[i].n);
        if (clip >= 0 && !t->sound[clip]) rc = hm_sound_open_by(&t->sound[clip], &by, hm_clip_path(d->clip[clip]), err);
        any |= clip >= 0 && t->sound[clip];
    }
    if (!rc && d->req.sound) rc = hm_synth_new(&t->synth, d->words, d->n_words, d->req.seed, err);
    if (rc || !any) hm_track_free(t);
    else *out = t;
    return rc;
}

void hm_track_free(hm_track *t)
{
    if (!t) return;
    for (int i = 0; i < HIMMEL_MAX_CARDS; i++) hm_sound_free(t->sound[i]);
    hm_synth_free(t->synth);
    free(t->made);
    free(t);
}

/* Samples from..from+n-1, all of span i, which begins at first. */
static himmel_status read_span(hm_track *t, int i, int64_t first, int64_t from, int n, const float *made, float *lr, himmel_error *err)
{
    const hm_edit *d = t->d;
    const hm_span *s = &d->span[i];
    const bool own = s->clip >= 0 && (t->sound[s->clip] || !made);
    const int64_t all = t->end[i] - first;
    const double fade = fmin(own ? 0.005 * HM_SOUND_RATE : 0.5 * HM_SOUND_RATE, 0.5 * (double)all);
    if (own && t->sound[s->clip]) {
        const double at = hm_clip_origin(d->clip[s->clip]) + (s->take >= 0 ? 0 : s->from);
        const himmel_status rc = hm_sound_read(t->sound[s->clip], llround(at * HM_SOUND_RATE) + from - first, n, lr, err);
        if (rc) return rc;
    } else {
        for (int k = 0; k < 2 * n; k++) lr[k] = own || !made ? 0 : made[k];
    }
    for (int k = 0; k < n; k++) {
        const double in = (double)(from - first + k), out = (double)(t->end[i] - from - k);
        const float u = (float)fmin(1, fmin(in, out) / fmax(fade, 1));
        lr[2 * k] *= u, lr[2 * k + 1] *= u;
    }
    return HIMMEL_OK;
}

himmel_status hm_track_read(void *track, int64_t from, int n, float *lr, himmel_error *err)
{
    hm_track *t = track;
    if (t->synth && n > t->cap) {
        float *made = realloc(t->made, 2 * (size_t)n * sizeof *made);
        if (!made) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for sound");
        t->made = made, t->cap = n;
    }
    if (t->synth) hm_synth_read(t->synth, n, t->made);
    for (int done = 0; done < n;) {
        while (t->span + 1 < t->d->n_spans && from + done >= t->end[t->span]) t->span++;
        const int64_t first = t->span ? t->end[t->span - 1] : 0;
        const bool last = t->span + 1 == t->d->n_spans;
        const int here = last ? n - done : (int)HM_MIN((int64_t)(n - done), t->end[t->span] - from - done);
        const himmel_status rc = read_span(t, t->span, first, from + done, here, t->synth ? t->made + 2 * done : NULL, lr + 2 * done, err);
        if (rc) return rc;
        done += here;
    }
    return HIMMEL_OK;
}
