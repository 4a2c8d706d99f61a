/* files.c - the folders under the data folder.   SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "server/files.h"

static himmel_status make(const char *path, himmel_error *err)
{
    if (mkdir(path, 0700) && errno != EEXIST) return hm_fail(err, HIMMEL_EIO, "%.300s: cannot be made: %s", path, strerror(errno));
    return HIMMEL_OK;
}

himmel_status hm_files_init(const char *data, himmel_error *err)
{
    static const char *const folders[] = {"results", "inputs", "work", "saved", "characters"};
    char path[HM_PATH];
    if (strlen(data) > HM_PATH - 256) return hm_fail(err, HIMMEL_EINVAL, "the name of the data folder has %zu bytes", strlen(data));
    himmel_status rc = make(data, err);
    for (size_t i = 0; i < HM_COUNT(folders) && !rc; i++) {
        snprintf(path, sizeof path, "%s/%s", data, folders[i]);
        rc = make(path, err);
    }
    return rc;
}

void hm_file(char out[HM_PATH], const char *data, const char *folder, const char *id, const char *ending)
{
    snprintf(out, HM_PATH, "%s/%s/%s%s", data, folder, id, ending);
}

bool hm_id_valid(const char *id)
{
    const size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return n > 0 && n < 64 && !id[n];
}

void hm_new_id(char *out, size_t cap, const char *prefix)
{
    uint8_t b[16];
    while (getrandom(b, sizeof b, 0) != sizeof b) {}
    hm_str s = {out, cap, 0};
    hm_str_addf(&s, "%s", prefix);
    for (size_t i = 0; i < sizeof b; i++) hm_str_addf(&s, "%02x", b[i]);
}

/* The new name, too, is on the disk. */
static himmel_status sync_folder(const char *file, himmel_error *err)
{
    char folder[HM_PATH];
    snprintf(folder, sizeof folder, "%s", file);
    *strrchr(folder, '/') = 0;
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool ok = fd >= 0 && !fsync(fd);
    const himmel_status rc = ok ? HIMMEL_OK : hm_fail(err, HIMMEL_EIO, "%.300s: cannot be written: %s", folder, strerror(errno));
    if (fd >= 0) close(fd);
    return rc;
}

himmel_status hm_publish(const char *from, const char *to, himmel_error *err)
{
    const int fd = open(from, O_RDONLY | O_CLOEXEC);
    const bool ok = fd >= 0 && fsync(fd) == 0 && rename(from, to) == 0;
    himmel_status rc = ok ? HIMMEL_OK : hm_fail(err, HIMMEL_EIO, "%.300s: cannot become %.150s: %s", from, to, strerror(errno));
    if (fd >= 0) close(fd);
    return rc ? rc : sync_folder(to, err);
}

void hm_sweep(const char *data, const char *folder, bool (*keep)(void *user, const char *id), void *user)
{
    char path[HM_PATH], id[256];
    snprintf(path, sizeof path, "%s/%s", data, folder);
    DIR *d = opendir(path);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        snprintf(id, sizeof id, "%s", e->d_name);
        id[strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789_")] = 0;
        if (!keep || !keep(user, id)) unlinkat(dirfd(d), e->d_name, 0);
    }
    closedir(d);
}

static bool is_other(void *user, const char *id)
{
    return strcmp(user, id) != 0;
}

void hm_remove_all(const char *data, const char *folder, const char *id)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", id);
    hm_sweep(data, folder, is_other, copy);
}

bool hm_result_path(char out[HM_PATH], const char *data, const char *id)
{
    static const char *const endings[] = {".mp4", ".png", ".jpg", ".webp"};
    for (size_t i = 0; i < HM_COUNT(endings); i++) {
        hm_file(out, data, "results", id, endings[i]);
        if (!access(out, R_OK)) return true;
    }
    return false;
}

uint64_t hm_disk_free(const char *data)
{
    struct statvfs v;
    return statvfs(data, &v) ? 0 : (uint64_t)v.f_bavail * v.f_frsize;
}
