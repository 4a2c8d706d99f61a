/* cache.c - see cache.h.   SPDX-License-Identifier: MIT */
#include "text/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sha256.h"

enum { PATH = 4096 };
static const char ending[] = ".text";

typedef struct {
    char magic[8];
    uint8_t key[32];
    uint64_t n;
} head;

void hm_text_cache_encoder(uint8_t id[32], hm_st *const *files, int n)
{
    hm_sha256 s;
    hm_sha256_init(&s);
    for (int i = 0; i < n; i++)
        for (size_t k = 0; files[i] && k < hm_st_n_files(files[i]); k++) {
            struct stat st = {0};
            (void)stat(hm_st_file(files[i], k), &st);
            const int64_t v[] = {(int64_t)st.st_dev,         (int64_t)st.st_ino,         (int64_t)st.st_size,       (int64_t)st.st_mtim.tv_sec,
                                 (int64_t)st.st_mtim.tv_nsec, (int64_t)st.st_ctim.tv_sec, (int64_t)st.st_ctim.tv_nsec};
            hm_sha256_add(&s, v, sizeof v);
        }
    hm_sha256_end(&s, id);
}

void hm_text_cache_key(uint8_t key[32], const uint8_t encoder[32], const int32_t *ids, const int32_t *keep, size_t n, int threads)
{
    const char *isa = hm_isa_name();
    hm_sha256 s;
    hm_sha256_init(&s);
    hm_sha256_add(&s, HIMMEL_VERSION, sizeof HIMMEL_VERSION);
    hm_sha256_add(&s, isa, strlen(isa) + 1);
    hm_sha256_add(&s, &threads, sizeof threads);
    hm_sha256_add(&s, encoder, 32);
    hm_sha256_add(&s, ids, n * sizeof *ids);
    hm_sha256_add(&s, keep, n * sizeof *keep);
    hm_sha256_end(&s, key);
}

static bool path_of(const char *dir, const uint8_t key[32], char out[PATH])
{
    char hex[65];
    if (!dir) return false;
    hm_sha256_hex(key, hex);
    return (size_t)snprintf(out, PATH, "%s/%s%s", dir, hex, ending) < PATH;
}

static head head_of(const uint8_t key[32], size_t n)
{
    head h = {.n = n};
    memcpy(h.magic, "himtext1", sizeof h.magic);
    memcpy(h.key, key, sizeof h.key);
    return h;
}

static void sum_of(const uint8_t *file, size_t len, uint8_t out[32])
{
    hm_sha256 s;
    hm_sha256_init(&s);
    hm_sha256_add(&s, file, len);
    hm_sha256_end(&s, out);
}

bool hm_text_cache_load(const char *dir, const uint8_t key[32], float *states, size_t n)
{
    char path[PATH];
    hm_map m;
    if (!path_of(dir, key, path) || hm_map_open(&m, path, NULL)) return false;
    const head want = head_of(key, n);
    const size_t len = sizeof want + n * sizeof(uint16_t);
    uint8_t sum[32] = {0};
    bool ok = m.len == len + sizeof sum && !memcmp(m.data, &want, sizeof want);
    if (ok) sum_of(m.data, len, sum);
    ok = ok && !memcmp(m.data + len, sum, sizeof sum);
    if (ok) hm_convert(states, HM_F32, m.data + sizeof want, HM_BF16, n);
    hm_map_close(&m);
    if (ok) (void)utimensat(AT_FDCWD, path, NULL, 0); /* used now */
    return ok;
}

/* A folder and those above it, only for their owner. */
static void make_folder(const char *dir)
{
    char path[PATH];
    if ((size_t)snprintf(path, sizeof path, "%s", dir) >= sizeof path) return;
    for (char *p = path + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        (void)mkdir(path, 0700);
        *p = '/';
    }
    (void)mkdir(path, 0700);
}

void hm_text_cache_save(const char *dir, const uint8_t key[32], const float *states, size_t n)
{
    char path[PATH];
    const head h = head_of(key, n);
    const size_t len = sizeof h + n * sizeof(uint16_t);
    uint8_t *file = path_of(dir, key, path) ? malloc(len + 32) : NULL;
    if (!file) return;
    memcpy(file, &h, sizeof h);
    bool exact = true;
    for (size_t i = 0; i < n && exact; i++) {
        const uint16_t b = hm_f32_to_bf16(states[i]);
        exact = hm_bf16_to_f32(b) == states[i];
        memcpy(file + sizeof h + i * sizeof b, &b, sizeof b);
    }
    if (exact) {
        make_folder(dir);
        sum_of(file, len, file + len);
        (void)hm_write_file(path, file, len + 32, NULL);
        hm_text_cache_trim(dir, HM_TEXT_CACHE_BYTES);
    }
    free(file);
}

/* The entry of a folder that was not used for longest, and the bytes of all. */
static uint64_t oldest(const char *dir, char out[PATH])
{
    struct timespec least = {0};
    uint64_t bytes = 0;
    *out = 0;
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d));) {
        char path[PATH];
        struct stat st;
        const size_t n = strlen(e->d_name), k = sizeof ending - 1;
        if (n < k || strcmp(e->d_name + n - k, ending)) continue;
        if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, e->d_name) >= sizeof path || lstat(path, &st) || !S_ISREG(st.st_mode)) continue;
        bytes += (uint64_t)st.st_size;
        const struct timespec t = st.st_mtim;
        if (*out && (t.tv_sec > least.tv_sec || (t.tv_sec == least.tv_sec && t.tv_nsec >= least.tv_nsec))) continue;
        least = t;
        memcpy(out, path, sizeof path);
    }
    if (d) closedir(d);
    return bytes;
}

void hm_text_cache_trim(const char *dir, uint64_t max_bytes)
{
    char path[PATH];
    while (oldest(dir, path) > max_bytes && *path)
        if (unlink(path)) return;
}
