/* lockdown.c - a process that will look at a stranger's file gives up everything else.   SPDX-License-Identifier: MIT
 * Calls that the filter does not know fail with EPERM. Opening is for reading only, and with Landlock of one file. */
#include "server/lockdown.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MEMORY_MIB = 4096 };

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#define ALLOW(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define DENY(e) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (e))
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))

static bool filter_calls(void)
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
    return !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) || errno == EINVAL; /* a kernel without */
#else
    return true; /* only limits on this kind of machine */
#endif
}

/* Of all that is on disk, `only` can be read, nothing else opened, made or removed. */
static bool see_only(const char *only)
{
    const struct landlock_ruleset_attr all = {.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1}; /* what the first version knows */
    const int rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
    if (rules < 0) return errno == ENOSYS || errno == EOPNOTSUPP; /* a kernel without */
    const struct landlock_path_beneath_attr may = {.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE, .parent_fd = open(only, O_PATH | O_CLOEXEC)};
    bool ok = may.parent_fd < 0 || !syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &may, 0); /* what is not there cannot be read */
    ok = ok && !syscall(SYS_landlock_restrict_self, rules, 0);
    if (may.parent_fd >= 0) close(may.parent_fd);
    close(rules);
    return ok;
}

static void limit(int what, rlim_t most)
{
    const struct rlimit r = {most, most};
    setrlimit(what, &r);
}

bool hm_lockdown(const char *only, int seconds)
{
    limit(RLIMIT_CPU, (rlim_t)seconds);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* these map terabytes */
    limit(RLIMIT_AS, (rlim_t)MEMORY_MIB << 20);
#endif
    return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && (!only || see_only(only)) && filter_calls();
}

const char *hm_lockdown_lacks(void)
{
#ifdef ARCH
    const bool calls = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
#else
    const bool calls = false;
#endif
    const bool files = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
    if (!calls) return files ? "a seccomp filter for system calls" : "seccomp and Landlock";
    return files ? NULL : "Landlock";
}
