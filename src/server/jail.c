/* jail.c - a child for each file that a stranger sent: no network, no other program, no writing, little memory and time.
 * SPDX-License-Identifier: MIT
 *   server -request-> keeper (split off before there were threads) -fork-> child: limits, seccomp, look -> answer
 * Calls that the filter does not know fail with EPERM. Opening is for reading only. */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/jail.h"

enum { SECONDS = 20, MEMORY_MIB = 4096, MAX_JSON = 256 << 10 };

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

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#define ALLOW(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define DENY(e) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (e))
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))

static bool lock_down(void)
{
#ifdef ARCH
    struct sock_filter filter[] = {
        LOAD(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS), LOAD(nr),
        ALLOW(SYS_read), ALLOW(SYS_pread64), ALLOW(SYS_readv), ALLOW(SYS_write), ALLOW(SYS_writev), ALLOW(SYS_lseek), ALLOW(SYS_close),
        ALLOW(SYS_fstat), ALLOW(SYS_newfstatat), ALLOW(SYS_statx), ALLOW(SYS_faccessat), ALLOW(SYS_readlinkat), ALLOW(SYS_getdents64),
        ALLOW(SYS_mmap), ALLOW(SYS_munmap), ALLOW(SYS_mprotect), ALLOW(SYS_mremap), ALLOW(SYS_madvise), ALLOW(SYS_brk),
        ALLOW(SYS_futex), ALLOW(SYS_clock_gettime), ALLOW(SYS_clock_nanosleep), ALLOW(SYS_gettimeofday), ALLOW(SYS_getrandom),
        ALLOW(SYS_rt_sigaction), ALLOW(SYS_rt_sigprocmask), ALLOW(SYS_rt_sigreturn), ALLOW(SYS_sigaltstack), ALLOW(SYS_exit), ALLOW(SYS_exit_group),
        ALLOW(SYS_getpid), ALLOW(SYS_gettid), ALLOW(SYS_sched_yield), ALLOW(SYS_sched_getaffinity), ALLOW(SYS_sysinfo), ALLOW(SYS_uname),
        ALLOW(SYS_set_robust_list), ALLOW(SYS_rseq), ALLOW(SYS_getcwd),
#ifdef SYS_open /* old names, without flags that write */
        ALLOW(SYS_stat), ALLOW(SYS_lstat), ALLOW(SYS_access), ALLOW(SYS_readlink),
#endif
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1), DENY(38 /* ENOSYS: glibc then takes clone, whose flags can be seen */),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4), LOAD(args[0]), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW), DENY(1),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 4), LOAD(args[2]), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW), DENY(1),
        DENY(1)};
    const struct sock_fprog program = {.len = (unsigned short)HM_COUNT(filter), .filter = filter};
    return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
#else
    return true; /* only limits on this kind of machine */
#endif
}

static void limit(int what, rlim_t most)
{
    const struct rlimit r = {most, most};
    setrlimit(what, &r);
}

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
    limit(RLIMIT_CPU, SECONDS);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* these map terabytes */
    limit(RLIMIT_AS, (rlim_t)MEMORY_MIB << 20);
#endif
    if (!lock_down()) r.rc = hm_fail(&r.err, HIMMEL_EINTERNAL, "no seccomp on this machine");
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
