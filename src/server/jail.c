/* jail.c - a child for each file that a stranger sent: no network, no other program, no writing, little memory and time.
 * SPDX-License-Identifier: MIT
 *   server -request-> keeper (split off before there were threads) -fork-> child: limits, seccomp, look -> answer
 * verify reads the identity folder too; a probe can open its file alone. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/jail.h"
#include "server/lockdown.h"

enum { SECONDS = 20, MAX_JSON = 256 << 10 };

struct hm_jail {
    pthread_mutex_t lock; /* one file at a time */
    int sock;
    pid_t keeper;
};

typedef struct {
    bool verify;
    char path[4096], identity[4096]; /* identity "": none said */
} request;

typedef struct {
    himmel_status rc;
    himmel_error err;
    himmel_media media;
    himmel_verdict verdict; /* its json follows */
    uint32_t json_len;
} reply;

/* ---- the child ---- */

static bool put(int fd, const void *data, size_t n)
{
    for (const char *p = data; n;) {
        const ssize_t w = write(fd, p, n);
        if (w <= 0) return false;
        p += w, n -= (size_t)w;
    }
    return true;
}

static void look(const request *q, int out)
{
    static reply r; /* of this child alone */
    if (!hm_lockdown(q->verify ? NULL : q->path, SECONDS)) r.rc = hm_fail(&r.err, HIMMEL_EINTERNAL, "uploads cannot be looked at safely on this machine");
    else if (q->verify) r.rc = himmel_verify(q->path, *q->identity ? q->identity : NULL, &r.verdict, &r.err);
    else r.rc = himmel_probe(q->path, &r.media, &r.err);
    const char *json = r.verdict.json;
    r.json_len = json ? (uint32_t)HM_MIN(strlen(json), (size_t)MAX_JSON) : 0;
    r.verdict.json = NULL;
    _exit(!(put(out, &r, sizeof r) && put(out, json, r.json_len)));
}

/* ---- the keeper ---- */

static size_t take_all(int fd, uint8_t *buf, size_t cap)
{
    size_t n = 0;
    for (ssize_t r; n < cap && (r = read(fd, buf + n, cap - n)) > 0;) n += (size_t)r;
    return n;
}

static void keep(int sock)
{
    static request q;
    static uint8_t buf[sizeof(reply) + MAX_JSON];
    signal(SIGTERM, SIG_IGN), signal(SIGINT, SIG_IGN), signal(SIGHUP, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (recv(sock, &q, sizeof q, 0) == sizeof q) {
        int p[2];
        size_t n = 0;
        if (!pipe(p)) {
            const pid_t child = fork();
            if (!child) {
                close(sock), close(p[0]);
                signal(SIGALRM, SIG_DFL);
                alarm(SECONDS);
                look(&q, p[1]);
            }
            close(p[1]);
            n = child > 0 ? take_all(p[0], buf, sizeof buf) : 0;
            close(p[0]);
            if (child > 0) waitpid(child, NULL, 0);
        }
        if (send(sock, buf, n ? n : 1, MSG_NOSIGNAL) < 0) break;
    }
    _exit(0);
}

/* ---- the server's side ---- */

himmel_status hm_jail_new(hm_jail **out, himmel_error *err)
{
    int s[2], size = 1 << 20;
    *out = NULL;
    hm_jail *j = calloc(1, sizeof *j);
    if (!j) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s)) {
        free(j);
        return hm_fail(err, HIMMEL_EINTERNAL, "no socket for the keeper of uploads");
    }
    for (int i = 0; i < 2; i++) setsockopt(s[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    j->keeper = fork();
    if (!j->keeper) {
        close(s[0]);
        keep(s[1]);
    }
    close(s[1]);
    j->sock = s[0];
    pthread_mutex_init(&j->lock, NULL);
    *out = j;
    return j->keeper > 0 ? HIMMEL_OK : hm_fail(err, HIMMEL_EINTERNAL, "no process for the keeper of uploads");
}

void hm_jail_free(hm_jail *j)
{
    if (!j) return;
    close(j->sock); /* the keeper ends */
    if (j->keeper > 0) waitpid(j->keeper, NULL, 0);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

/* The answer's bytes, freed by the caller; EFORMAT: there was none. */
static himmel_status ask(hm_jail *j, const request *q, uint8_t **out, himmel_error *err)
{
    const size_t cap = sizeof(reply) + MAX_JSON;
    uint8_t *buf = calloc(1, cap + 1);
    if (!buf) return hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    pthread_mutex_lock(&j->lock);
    const bool sent = send(j->sock, q, sizeof *q, MSG_NOSIGNAL) == sizeof *q;
    const ssize_t n = sent ? recv(j->sock, buf, cap, 0) : -1;
    pthread_mutex_unlock(&j->lock);
    *out = buf;
    if (n < 0) return hm_fail(err, HIMMEL_EINTERNAL, "the keeper of uploads has ended");
    if ((size_t)n < sizeof(reply)) return hm_fail(err, HIMMEL_EFORMAT, "%s: takes too long, needs too much memory, or is broken", q->path);
    reply *r = (reply *)buf;
    r->err.message[sizeof r->err.message - 1] = 0;
    r->json_len = (uint32_t)HM_MIN((size_t)r->json_len, (size_t)n - sizeof *r);
    if (r->rc && err) *err = r->err;
    return r->rc;
}

himmel_status hm_jail_probe(hm_jail *j, const char *path, himmel_media *out, himmel_error *err)
{
    request q = {0};
    uint8_t *buf = NULL;
    snprintf(q.path, sizeof q.path, "%s", path);
    const himmel_status rc = ask(j, &q, &buf, err);
    if (!rc) *out = ((reply *)buf)->media;
    free(buf);
    return rc;
}

himmel_status hm_jail_verify(hm_jail *j, const char *path, const char *identity, himmel_verdict *out, himmel_error *err)
{
    request q = {.verify = true};
    uint8_t *buf = NULL;
    snprintf(q.path, sizeof q.path, "%s", path);
    snprintf(q.identity, sizeof q.identity, "%s", identity ? identity : "");
    himmel_status rc = ask(j, &q, &buf, err);
    if (!rc) {
        const reply *r = (const reply *)buf;
        *out = r->verdict;
        out->json = strndup((const char *)buf + sizeof *r, r->json_len);
        if (!out->json) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory");
    }
    free(buf);
    return rc;
}
