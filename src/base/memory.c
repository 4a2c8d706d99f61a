/* memory.c - /proc/meminfo and control groups; see memory.h.   SPDX-License-Identifier: MIT
 * Trap: a group's usage counts file pages (mapped weights too), which the kernel takes back before it refuses memory; and a
 * limit of a group above holds as well. Version 1 writes "no limit" as a number near 2^63. */
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH = 4096 };
static const uint64_t nothing = UINT64_MAX;

/* The number behind `key` (at a line's start) in a file; key "": the file's first. `nothing` if there is none ("max"). */
static uint64_t number_in(const char *path, const char *key)
{
    char line[512];
    unsigned long long v;
    uint64_t out = nothing;
    FILE *f = fopen(path, "re");
    while (f && out == nothing && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)) && sscanf(line + strlen(key), "%llu", &v) == 1) out = v;
    if (f) fclose(f);
    return out;
}

static uint64_t number_at(const char *dir, const char *name, const char *key)
{
    char path[PATH + 64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return number_in(path, key);
}

/* What one group leaves. */
static uint64_t room_of(const char *dir, bool first)
{
    const uint64_t max = number_at(dir, first ? "memory.limit_in_bytes" : "memory.max", "");
    const uint64_t used = number_at(dir, first ? "memory.usage_in_bytes" : "memory.current", "");
    if (max == nothing || max > (uint64_t)1 << 60 || used == nothing) return nothing;
    const uint64_t files = number_at(dir, "memory.stat", first ? "total_cache " : "file ");
    const uint64_t stays = files == nothing || files > used ? used : used - files;
    return max > stays ? max - stays : 0;
}

static uint64_t least_room(const char *mount, const char *group, bool first)
{
    char dir[PATH];
    uint64_t least = nothing;
    const size_t root = strlen(mount);
    if ((size_t)snprintf(dir, sizeof dir, "%s%s", mount, group) >= sizeof dir) return nothing;
    for (;;) {
        const uint64_t room = room_of(dir, first);
        least = HM_MIN(least, room);
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < root) return least;
        *slash = 0;
    }
}

static uint64_t groups_room(const char *root)
{
    char path[PATH], line[PATH];
    uint64_t least = nothing;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) { /* "4:memory:/group", "0::/group" */
        line[strcspn(line, "\n")] = 0;
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group) continue;
        *group++ = 0;
        const bool first = !strcmp(names, ":memory"), second = !strcmp(names, ":");
        if (!first && !second) continue;
        snprintf(path, sizeof path, "%s/sys/fs/cgroup%s", root, first ? "/memory" : "");
        const uint64_t room = least_room(path, group, first);
        least = HM_MIN(least, room);
    }
    if (f) fclose(f);
    return least;
}

uint64_t hm_memory_available_at(const char *root, uint64_t limit)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    const uint64_t kib = number_in(path, "MemAvailable:"), room = groups_room(root);
    snprintf(path, sizeof path, "%s/proc/self/status", root);
    const uint64_t own = number_in(path, "RssAnon:");
    uint64_t free = HM_MIN(kib == nothing ? nothing : kib * 1024, room);
    if (free != nothing && own != nothing) free += own * 1024;
    return limit ? HM_MIN(free, limit) : free;
}

uint64_t hm_memory_available(uint64_t limit) { return hm_memory_available_at("", limit); }

himmel_status hm_memory_fits(uint64_t needed, const char *what, uint64_t available, himmel_error *err)
{
    if (needed <= available) return HIMMEL_OK;
    const bool small = needed < (uint64_t)1 << 30;
    const double unit = small ? 1 << 20 : 1 << 30;
    return hm_fail(err, HIMMEL_ENOMEM, "this would need %.*f %s of memory%s, %.*f are available", small ? 0 : 1, (double)needed / unit,
                   small ? "MiB" : "GiB", what, small ? 0 : 1, (double)available / unit);
}
