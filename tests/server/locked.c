/* locked.c FILE OTHER - what a locked-down process can still do: one line "name yes" or "name no" for each thing, then it computes
 * without end. SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/lockdown.h"

static void say(const char *name, bool yes)
{
    printf("%s %s\n", name, yes ? "yes" : "no");
}

int main(int argc, char **argv)
{
    const pid_t parent = getppid();
    if (argc != 3) return 2;
    const char *lacks = hm_lockdown_lacks();
    printf("lacks %s\n", lacks ? lacks : "nothing");
    if (!hm_lockdown(argv[1], 2)) return 3;
    say("read", open(argv[1], O_RDONLY) >= 0);
    say("other", open(argv[2], O_RDONLY) >= 0);
    say("folder", open("/", O_RDONLY | O_DIRECTORY) >= 0);
    say("write", open(argv[1], O_RDWR) >= 0);
    say("make", creat("made-by-locked", 0600) >= 0);
    say("remove", unlink(argv[2]) == 0);
    say("socket", socket(AF_INET, SOCK_STREAM, 0) >= 0);
    say("signal", kill(parent, 0) == 0);
    say("memory", mmap(NULL, (size_t)5 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED);
    execl("/bin/true", "true", (char *)NULL);
    say("program", false);
    const pid_t child = fork();
    if (!child) _exit(0);
    say("fork", child > 0);
    fflush(stdout);
    for (volatile unsigned i = 0;; i++) {}
}
