/* bell.c - a named pipe in the data folder.   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/bell.h"
#include "server/files.h"

static void bell_path(char out[HM_PATH], const char *data)
{
    snprintf(out, HM_PATH, "%s/bell", data);
}

himmel_status hm_bell_new(int *bell, const char *data, himmel_error *err)
{
    char path[HM_PATH];
    bell_path(path, data);
    unlink(path); /* whatever it is: the folder is ours */
    *bell = mkfifo(path, 0600) ? -1 : open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC); /* not only reading: no end of file when one has rung */
    return *bell >= 0 ? HIMMEL_OK : hm_fail(err, HIMMEL_EIO, "%.300s: %s", path, strerror(errno));
}

bool hm_bell_wait(int bell, int ms)
{
    char rings[256];
    struct pollfd p = {.fd = bell, .events = POLLIN};
    bool rung = false;
    if (poll(&p, 1, ms) <= 0) return false;
    while (read(bell, rings, sizeof rings) > 0) rung = true;
    return rung;
}

void hm_bell_free(int bell)
{
    if (bell >= 0) close(bell);
}

bool hm_bell_ring(const char *data)
{
    char path[HM_PATH];
    bell_path(path, data);
    const int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false; /* none, or nobody reads */
    const bool rung = write(fd, "", 1) == 1 || errno == EAGAIN;
    close(fd);
    return rung;
}
