/* far.c - files that another process decodes.   SPDX-License-Identifier: MIT
 *   question -> answer and, behind it, n bytes: pixels, samples or text
 * The side that asks believes nothing: sizes, numbers and text of every answer are checked, and no status of the other
 * process may look like trouble of this one. */
#include "media/far.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "media/decode.h"
#include "media/sound.h"

enum { MAX_TAGS = 8, MAX_KEY = 32, MAX_TEXT = 8192, MAX_SAMPLES = 1 << 16 };
typedef enum { OPEN_FILM, OPEN_SOUND, TAG, KEY_FRAMES, HOLES, NEXT, SOUND, OTHER } question_kind;

typedef struct {
    uint32_t kind;
    int32_t n;   /* NEXT: 1: with pixels; SOUND: samples */
    int64_t at;  /* SOUND */
    char key[MAX_KEY];
} question;

typedef struct {
    int32_t rc;
    int32_t yes; /* NEXT: done; HOLES; OPEN_SOUND: none; TAG: there is one */
    uint64_t n;  /* bytes behind this */
    double seconds;
    hm_media_info info;
    char why[sizeof((himmel_error *)0)->message];
} answer;

struct hm_far {
    int fd;
    hm_media_info info;
    char path[4096];
    char *tag[MAX_TAGS]; /* key, 0, value */
    int n_tags;
};

/* 1: all of it, 0: the other side has ended, -1: errno. */
static int take(int fd, void *to, size_t n)
{
    for (uint8_t *p = to; n;) {
        const ssize_t r = read(fd, p, n);
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) return (int)r;
        p += r, n -= (size_t)r;
    }
    return 1;
}

/* ---- the side that asks ---- */

static bool send_all(int fd, const void *from, size_t n)
{
    const ssize_t w = send(fd, from, n, MSG_NOSIGNAL);
    return w >= 0 && (size_t)w == n; /* a question is smaller than any socket's buffer */
}

static himmel_status gone(const hm_far *f, int got, himmel_error *err)
{
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return hm_fail(err, HIMMEL_EFORMAT, "%s: decoding it takes longer than %d s", f->path, HM_FAR_SECONDS);
    return hm_fail(err, HIMMEL_EFORMAT, "%s: the process that decoded it has ended: the file is broken, or needs too much memory or time", f->path);
}

/* The head of the answer to q. */
static himmel_status ask_head(hm_far *f, const question *q, answer *a, himmel_error *err)
{
    const int got = send_all(f->fd, q, sizeof *q) ? take(f->fd, a, sizeof *a) : 0;
    if (got != 1) return gone(f, got, err);
    if (!a->rc) return HIMMEL_OK;
    a->why[sizeof a->why - 1] = 0;
    for (char *c = a->why; *c; c++) *c = *c < ' ' || *c > '~' ? '?' : *c;
    return hm_fail(err, a->rc == HIMMEL_EINVAL ? HIMMEL_EINVAL : HIMMEL_EFORMAT, "%s", *a->why ? a->why : "it cannot be decoded");
}

static himmel_status wrong(const hm_far *f, himmel_error *err)
{
    return hm_fail(err, HIMMEL_EFORMAT, "%s: the process that decoded it gave a wrong answer", f->path);
}

/* The answer to q; what is behind it, which must be n bytes or (some) none, into data. */
static himmel_status ask(hm_far *f, const question *q, answer *a, void *data, size_t n, bool some, himmel_error *err)
{
    const himmel_status rc = ask_head(f, q, a, err);
    if (rc) return rc;
    if (a->n != n && !(some && a->n < n)) return wrong(f, err);
    const int rest = a->n ? take(f->fd, data, (size_t)a->n) : 1;
    return rest == 1 ? HIMMEL_OK : gone(f, rest, err);
}

static bool is_media(const hm_media_info *i)
{
    return i->width >= 1 && i->height >= 1 && i->width <= HM_DECODE_MAX_SIDE && i->height <= HM_DECODE_MAX_SIDE && i->fps_num >= 0 &&
           i->fps_den > 0 && i->seconds >= 0 && i->seconds < 1e9 && i->n_frames >= 0;
}

static himmel_status connect_to(hm_far **out, const hm_reader *by, const char *path, himmel_error *err)
{
    *out = NULL;
    hm_far *f = calloc(1, sizeof *f);
    if (!f) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    hm_str name = {f->path, sizeof f->path, 0};
    hm_str_addf(&name, "%s", path);
    f->fd = by->open(by->user, path);
    const struct timeval most = {.tv_sec = HM_FAR_SECONDS};
    if (f->fd < 0 || setsockopt(f->fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most)) {
        hm_far_free(f);
        return hm_fail(err, HIMMEL_EFORMAT, "%s: there is no process to decode it", path);
    }
    *out = f;
    return HIMMEL_OK;
}

himmel_status hm_far_open(hm_far **out, const hm_reader *by, const char *path, hm_media_info *info, bool *none, himmel_error *err)
{
    const question q = {.kind = info ? OPEN_FILM : OPEN_SOUND};
    answer a;
    hm_far *f;
    *out = NULL;
    himmel_status rc = connect_to(&f, by, path, err);
    if (!rc) rc = ask(f, &q, &a, NULL, 0, false, err);
    if (!rc && info && !is_media(&a.info)) rc = wrong(f, err);
    if (rc) {
        hm_far_free(f);
        return rc;
    }
    if (info) *info = f->info = a.info;
    else *none = a.yes;
    *out = f;
    return HIMMEL_OK;
}

himmel_status hm_far_other(const hm_reader *by, const char *path, size_t most, uint8_t **data, size_t *n, himmel_error *err)
{
    answer a = {0};
    hm_far *f;
    *data = NULL, *n = 0;
    himmel_status rc = connect_to(&f, by, path, err);
    if (!rc) rc = ask_head(f, &(question){.kind = OTHER}, &a, err);
    if (!rc && (!a.n || a.n > most)) rc = wrong(f, err);
    if (!rc && !(*data = malloc((size_t)a.n))) rc = hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", path);
    const int got = rc ? 1 : take(f->fd, *data, (size_t)a.n);
    if (got != 1) rc = gone(f, got, err);
    hm_far_free(f);
    if (!rc) *n = (size_t)a.n;
    else free(*data), *data = NULL;
    return rc;
}

void hm_far_free(hm_far *f)
{
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    for (int i = 0; i < f->n_tags; i++) free(f->tag[i]);
    free(f);
}

const char *hm_far_tag(hm_far *f, const char *key)
{
    question q = {.kind = TAG};
    answer a;
    const size_t k = strlen(key) + 1;
    for (int i = 0; i < f->n_tags; i++)
        if (!strcmp(f->tag[i], key)) return f->tag[i] + k;
    char *tag = f->n_tags < MAX_TAGS && k <= MAX_KEY ? calloc(1, k + MAX_TEXT + 1) : NULL;
    if (!tag) return NULL;
    memcpy(tag, key, k), memcpy(q.key, key, k);
    if (ask(f, &q, &a, tag + k, MAX_TEXT, true, NULL) || !a.yes) {
        free(tag);
        return NULL;
    }
    f->tag[f->n_tags++] = tag;
    return tag + k;
}

void hm_far_key_frames(hm_far *f)
{
    answer a;
    ask(f, &(question){.kind = KEY_FRAMES}, &a, NULL, 0, false, NULL); /* if it failed, the next question fails too */
}

bool hm_far_holes(hm_far *f)
{
    answer a;
    return !ask(f, &(question){.kind = HOLES}, &a, NULL, 0, false, NULL) && a.yes;
}

himmel_status hm_far_next(hm_far *f, uint8_t *rgb, double *seconds, bool *done, himmel_error *err)
{
    const question q = {.kind = NEXT, .n = rgb != NULL};
    const size_t n = rgb ? 3 * (size_t)f->info.width * (size_t)f->info.height : 0;
    answer a;
    const himmel_status rc = ask(f, &q, &a, rgb, n, true, err);
    if (rc) return rc;
    *done = a.yes;
    if (a.n != (*done ? 0 : n) || !(fabs(a.seconds) < 1e12)) return wrong(f, err);
    if (seconds && !*done) *seconds = a.seconds;
    return HIMMEL_OK;
}

himmel_status hm_far_sound(hm_far *f, int64_t at, int n, float *lr, himmel_error *err)
{
    for (int done = 0, here; done < n; done += here) {
        answer a;
        here = HM_MIN(n - done, MAX_SAMPLES);
        const question q = {.kind = SOUND, .n = here, .at = at + done};
        const himmel_status rc = ask(f, &q, &a, lr + 2 * (size_t)done, 2 * (size_t)here * sizeof *lr, false, err);
        if (rc) return rc;
        for (int i = 2 * done; i < 2 * (done + here); i++)
            if (!isfinite(lr[i])) lr[i] = 0;
    }
    return HIMMEL_OK;
}

/* ---- the side that decodes ---- */

typedef struct {
    const char *path;
    hm_far_other_fn *other;
    hm_decoder *film;
    hm_sound_in *sound;
    uint8_t *data; /* what goes behind the answer */
} served;

static himmel_status next(served *s, const question *q, answer *a, himmel_error *err)
{
    const hm_media_info *i = hm_decoder_info(s->film);
    const size_t n = q->n ? 3 * (size_t)i->width * (size_t)i->height : 0;
    bool done;
    if (n && !s->data && !(s->data = malloc(n))) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", s->path);
    const himmel_status rc = hm_decoder_next(s->film, n ? s->data : NULL, &a->seconds, &done, err);
    a->yes = done;
    if (!rc && !done) a->n = n;
    return rc;
}

static himmel_status tell(served *s, answer *a, himmel_error *err)
{
    size_t n = 0;
    const himmel_status rc = s->other(s->path, &s->data, &n, err);
    a->n = n;
    return rc;
}

static himmel_status sound(served *s, const question *q, answer *a, himmel_error *err)
{
    const size_t n = 2 * (size_t)q->n * sizeof(float);
    if (q->n < 0 || q->n > MAX_SAMPLES) return hm_fail(err, HIMMEL_EINVAL, "%d samples", q->n);
    if (!s->data && !(s->data = malloc(2 * MAX_SAMPLES * sizeof(float)))) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", s->path);
    const himmel_status rc = hm_sound_read(s->sound, q->at, q->n, (float *)(void *)s->data, err);
    if (!rc) a->n = n;
    return rc;
}

/* *data: what goes behind a. */
static himmel_status reply(served *s, const question *q, answer *a, const void **data, himmel_error *err)
{
    himmel_status rc = HIMMEL_OK;
    *data = NULL;
    if (q->kind == OPEN_FILM && !s->film && !s->sound) {
        if (!(rc = hm_decoder_open(&s->film, s->path, err))) a->info = *hm_decoder_info(s->film);
    } else if (q->kind == OPEN_SOUND && !s->film && !s->sound) {
        rc = hm_sound_open(&s->sound, s->path, err);
        a->yes = !s->sound;
    } else if (q->kind == TAG && s->film && memchr(q->key, 0, MAX_KEY)) {
        const char *t = hm_decoder_tag(s->film, q->key);
        a->yes = t != NULL, a->n = t ? strnlen(t, MAX_TEXT) : 0, *data = t;
    } else if (q->kind == KEY_FRAMES && s->film) {
        hm_decoder_key_frames(s->film);
    } else if (q->kind == HOLES && s->film) {
        a->yes = hm_decoder_holes(s->film);
    } else if (q->kind == NEXT && s->film) {
        rc = next(s, q, a, err);
        *data = s->data;
    } else if (q->kind == OTHER && s->other && !s->film && !s->sound && !s->data) {
        rc = tell(s, a, err);
        *data = s->data;
    } else if (q->kind == SOUND && s->sound) {
        rc = sound(s, q, a, err);
        *data = s->data;
    } else {
        rc = hm_fail(err, HIMMEL_EINVAL, "question %u cannot be answered now", q->kind);
    }
    return rc;
}

static bool put(int fd, const void *from, size_t n)
{
    for (const uint8_t *p = from; n;) {
        const ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return false;
        p += w, n -= (size_t)w;
    }
    return true;
}

void hm_far_serve(int fd, const char *path, hm_far_other_fn *other)
{
    served s = {.path = path, .other = other};
    question q;
    for (bool on = true; on && take(fd, &q, sizeof q) == 1;) {
        answer a = {0};
        himmel_error err = {0};
        const void *data;
        a.rc = reply(&s, &q, &a, &data, &err);
        if (a.rc) a.n = 0;
        memcpy(a.why, err.message, sizeof a.why);
        on = put(fd, &a, sizeof a) && (!a.n || put(fd, data, (size_t)a.n));
    }
    hm_decoder_free(s.film);
    hm_sound_free(s.sound);
    free(s.data);
}
