/* base.c - errors, strings, clock, file map.   SPDX-License-Identifier: MIT */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

himmel_status hm_fail(himmel_error *err, himmel_status code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->message, sizeof err->message, fmt, ap);
        va_end(ap);
        err->code = code;
    }
    return code;
}

double hm_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void hm_str_addf(hm_str *s, const char *fmt, ...)
{
    const size_t at = HM_MIN(s->len, s->cap);
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(s->data ? s->data + at : NULL, s->cap - at, fmt, ap);
    va_end(ap);
    if (n > 0) s->len += (size_t)n;
}

himmel_status hm_map_open(hm_map *map, const char *path, himmel_error *err)
{
    *map = (hm_map){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return hm_fail(err, HIMMEL_EIO, "%s: cannot open: %s", path, strerror(errno));
    struct stat st;
    himmel_status rc = HIMMEL_OK;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        rc = hm_fail(err, HIMMEL_EIO, "%s: not a regular file", path);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            rc = hm_fail(err, HIMMEL_EIO, "%s: cannot map: %s", path, strerror(errno));
        else
            *map = (hm_map){p, (size_t)st.st_size};
    }
    close(fd);
    return rc;
}

void hm_map_close(hm_map *map)
{
    if (map->data) munmap((void *)(uintptr_t)map->data, map->len);
    *map = (hm_map){0};
}

static himmel_status write_all(int fd, const uint8_t *data, size_t len)
{
    while (len) {
        const ssize_t n = write(fd, data, HM_MIN(len, (size_t)1 << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return HIMMEL_EIO;
        data += n;
        len -= (size_t)n;
    }
    return fsync(fd) ? HIMMEL_EIO : HIMMEL_OK;
}

himmel_status hm_write_file(const char *path, const void *data, size_t len, himmel_error *err)
{
    char tmp[4096];
    if ((size_t)snprintf(tmp, sizeof tmp, "%s.part", path) >= sizeof tmp)
        return hm_fail(err, HIMMEL_EINVAL, "%.100s...: path is too long", path);
    const int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return hm_fail(err, HIMMEL_EIO, "%s: cannot create: %s", tmp, strerror(errno));
    const himmel_status rc = write_all(fd, data, len);
    const int saved = errno;
    close(fd);
    if (rc || rename(tmp, path)) {
        const int why = rc ? saved : errno;
        unlink(tmp);
        return hm_fail(err, HIMMEL_EIO, "%s: cannot write: %s", path, strerror(why));
    }
    return HIMMEL_OK;
}
