/* reader.c - inputs of edits are decoded in locked-down processes of their own.   SPDX-License-Identifier: MIT
 * A reader is this program started anew: it has nothing of the worker's memory, and no lock that another thread held. */
#include "server/reader.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/lockdown.h"
#include "server/server.h"

enum { SECONDS = 600 }; /* of computing, for one opening of one file */

/* Those that have ended are forgotten. */
static void sweep(hm_readers *r, int how)
{
    int left = 0;
    for (int i = 0; i < r->n; i++)
        if (!waitpid(r->pid[i], NULL, how)) r->pid[left++] = r->pid[i];
    r->n = left;
}

int hm_reader_open(void *readers, const char *path)
{
    hm_readers *r = readers;
    int s[2];
    posix_spawn_file_actions_t actions;
    char *const argv[] = {(char *)"himmel", (char *)"read-locked", (char *)path, NULL};
    sweep(r, WNOHANG);
    if (r->n == HM_MAX_READERS || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s)) return -1;
    bool ok = !posix_spawn_file_actions_init(&actions);
    if (ok) {
        ok = !posix_spawn_file_actions_adddup2(&actions, s[1], STDIN_FILENO) &&
             !posix_spawn(&r->pid[r->n], "/proc/self/exe", &actions, NULL, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(s[1]);
    if (ok) r->n++;
    else close(s[0]);
    return ok ? s[0] : -1;
}

void hm_readers_end(hm_readers *r)
{
    for (int i = 0; i < r->n; i++) kill(r->pid[i], SIGKILL);
    sweep(r, 0);
}

/* When memory runs out, the system shall take this process before the worker. */
static void go_first(void)
{
    FILE *f = fopen("/proc/self/oom_score_adj", "we");
    if (!f) return;
    fputs("900", f);
    fclose(f);
}

int hm_read_locked(const char *path)
{
    prctl(PR_SET_NAME, "himmel-reader");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    go_first();
    close_range(STDERR_FILENO + 1, ~0U, 0);
    if (!hm_lockdown(path, SECONDS)) return 1;
    himmel_read_serve(STDIN_FILENO, path);
    return 0;
}
