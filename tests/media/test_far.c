/* test_far.c - the other process may say anything: a sentence, never a crash.   SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/rng.h"
#include "check.h"
#include "media/decode.h"
#include "media/sound.h"

/* Answers every question with noise; from `good` bytes on, before that zeros. good < 0: ends at once. */
typedef struct { int fd, good; uint32_t seed; } liar;

static void *lie(void *user)
{
    liar *l = user;
    uint8_t q[64], out[4096];
    hm_rng r = hm_rng_at(3, l->seed);
    while (l->good >= 0 && recv(l->fd, q, sizeof q, 0) > 0) {
        for (int i = 0; i < (int)sizeof out; i++) out[i] = i < l->good ? 0 : (uint8_t)hm_rng_u32(&r);
        if (send(l->fd, out, sizeof out, MSG_NOSIGNAL) < 0) break;
    }
    close(l->fd);
    free(l);
    return NULL;
}

static int open_liar(void *like, const char *path)
{
    int s[2];
    pthread_t t;
    liar *l = malloc(sizeof *l);
    (void)path;
    if (!l || socketpair(AF_UNIX, SOCK_STREAM, 0, s)) return -1;
    *l = *(const liar *)like, l->fd = s[1];
    if (pthread_create(&t, NULL, lie, l)) return -1;
    pthread_detach(t);
    return s[0];
}

static int open_none(void *user, const char *path)
{
    (void)user, (void)path;
    return -1;
}

static bool printable(const char *s)
{
    for (; *s; s++)
        if (*s < ' ' || *s > '~') return false;
    return true;
}

int main(void)
{
    hm_decoder *d;
    hm_sound_in *s;
    himmel_error err = {0};
    liar like = {.good = -1};
    const hm_reader none = {open_none, NULL}, by = {open_liar, &like};
    CHECK(hm_decoder_open_by(&d, &none, "a.mp4", &err) == HIMMEL_EFORMAT && !d && strstr(err.message, "no process"), "%s", err.message);
    CHECK(hm_decoder_open_by(&d, &by, "a.mp4", &err) == HIMMEL_EFORMAT && !d && strstr(err.message, "has ended"), "%s", err.message);
    CHECK(hm_sound_open_by(&s, &by, "a.mp4", &err) == HIMMEL_EFORMAT && !s && strstr(err.message, "has ended"), "%s", err.message);
    for (uint32_t i = 0; i < 200; i++) {
        static const int good[] = {0, 4, 8, 16, 24, 40, 4096};
        like.good = good[i % 7], like.seed = i;
        const himmel_status rc = hm_decoder_open_by(&d, &by, "a.mp4", &err);
        CHECK(rc == HIMMEL_EFORMAT || rc == HIMMEL_EINVAL, "seed %u: status %d", i, (int)rc);
        CHECK(*err.message && printable(err.message), "seed %u: %s", i, err.message);
        hm_decoder_free(d);
        if (hm_sound_open_by(&s, &by, "a.mp4", &err) || !s) continue;
        float lr[2 * 64];
        CHECK(hm_sound_read(s, 0, 64, lr, &err) && *err.message, "seed %u: noise was taken for sound", i);
        hm_sound_free(s);
    }
    return CHECK_END();
}
