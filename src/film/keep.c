/* keep.c - the sampler's state on disk, so that a job goes on where it was.   SPDX-License-Identifier: MIT
 *   path.0, path.1 ... one file for each run of the sampler: magic, key, step, number of values, latents, checksum
 * The key is a hash of everything that the latents depend on, the checksum is over all before it: a file of another
 * request, or half of one, is as good as none. Written beside and renamed; not forced onto the disk, which the kernel does
 * soon enough: only a power failure loses steps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "film/film.h"
#include "base/sha256.h"

enum { PATH = 4096 + 24 };
static const double seconds_between = 0.5;

typedef struct {
    char magic[8];
    uint8_t key[32];
    uint64_t step, n;
} head;

static bool name_of(const hm_keep *k, int number, const char *ending, char out[PATH])
{
    return (size_t)snprintf(out, PATH, "%s.%d%s", k->path, number, ending) < PATH;
}

static head head_of(const uint8_t key[32], int step, size_t n)
{
    head h = {.step = (uint64_t)step, .n = n};
    memcpy(h.magic, "himkeep1", sizeof h.magic);
    memcpy(h.key, key, sizeof h.key);
    return h;
}

static void checksum(const head *h, const float *x, uint8_t out[32])
{
    hm_sha256 s;
    hm_sha256_init(&s);
    hm_sha256_add(&s, h, sizeof *h);
    hm_sha256_add(&s, x, (size_t)h->n * sizeof *x);
    hm_sha256_end(&s, out);
}

int hm_keep_load(hm_keep *k, const uint8_t key[32], int n_steps, float *x, size_t n)
{
    char path[PATH];
    head h;
    uint8_t is[32] = {0}, should[32];
    float *read = malloc(n * sizeof *read);
    FILE *f = name_of(k, k->n, "", path) ? fopen(path, "rbe") : NULL;
    bool ok = f && read && fread(&h, sizeof h, 1, f) == 1 && fread(read, sizeof *read, h.n == n ? n : 0, f) == n &&
              fread(should, sizeof should, 1, f) == 1;
    const head want = head_of(key, ok ? (int)h.step : 0, n);
    ok = ok && !memcmp(&h, &want, sizeof h) && h.step <= (uint64_t)n_steps;
    if (ok) checksum(&h, read, is);
    ok = ok && !memcmp(is, should, sizeof is);
    if (ok) memcpy(x, read, n * sizeof *x);
    if (f) fclose(f);
    free(read);
    return ok ? (int)h.step : 0;
}

void hm_keep_save(hm_keep *k, const uint8_t key[32], int step, bool last, const float *x, size_t n)
{
    char path[PATH], part[PATH];
    uint8_t sum[32];
    if (!last && !k->each && hm_now() - k->saved < seconds_between) return;
    k->saved = hm_now();
    if (!name_of(k, k->n, "", path) || !name_of(k, k->n, ".part", part)) return;
    const head h = head_of(key, step, n);
    checksum(&h, x, sum);
    FILE *f = fopen(part, "wbe");
    if (!f) return; /* a full disk costs steps after a crash, nothing else */
    const bool ok = fwrite(&h, sizeof h, 1, f) == 1 && fwrite(x, sizeof *x, n, f) == n && fwrite(sum, sizeof sum, 1, f) == 1;
    if (fclose(f) || !ok || rename(part, path)) remove(part);
}

void hm_keep_remove(hm_keep *k)
{
    char path[PATH];
    for (int i = 0; i < k->n; i++)
        if (name_of(k, i, "", path)) remove(path);
}
