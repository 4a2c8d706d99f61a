/* test_text_cache.c - encoded prompts on disk: what comes back, what does not, and what goes when there are too many.
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sha256.h"
#include "check.h"
#include "text/cache.h"

enum { N = 1000 };
static char dir[] = "/tmp/himmel-text-XXXXXX", inner[64];

static void path_of(const uint8_t key[32], char out[200])
{
    char hex[65];
    hm_sha256_hex(key, hex);
    snprintf(out, 200, "%s/%s.text", inner, hex);
}

/* Change one byte of an entry (at < 0: cut it in half): it is none any more, and can be written again. */
static void spoil(const uint8_t key[32], const float *x, long at)
{
    char path[200];
    float y[N] = {0};
    path_of(key, path);
    FILE *f = fopen(path, "r+b");
    CHECK(f != NULL, "%s", path);
    if (!f) return;
    if (at < 0) CHECK(!ftruncate(fileno(f), N), "cannot cut");
    else CHECK(!fseek(f, at, SEEK_SET) && fputc(0x55, f) == 0x55, "cannot write");
    fclose(f);
    CHECK(!hm_text_cache_load(inner, key, y, N) && y[1] == 0, "a spoilt entry was read (%ld)", at);
    hm_text_cache_save(inner, key, x, N);
    CHECK(hm_text_cache_load(inner, key, y, N) && !memcmp(x, y, sizeof y), "not written again");
}

int main(void)
{
    uint8_t key[4][32], encoder[32] = {1};
    float x[N], y[N];
    CHECK(mkdtemp(dir) != NULL, "no folder");
    snprintf(inner, sizeof inner, "%s/made/here", dir);
    for (int i = 0; i < N; i++) x[i] = hm_bf16_to_f32((uint16_t)(0x3f00 + i % 200));
    const int32_t ids[3] = {5, 6, 1}, other[3] = {5, 7, 1}, keep[3] = {1, 1, 1};
    hm_text_cache_key(key[0], encoder, ids, keep, 3, 2);
    hm_text_cache_key(key[1], encoder, other, keep, 3, 2);
    hm_text_cache_key(key[2], encoder, ids, keep, 3, 4);
    encoder[0] = 2;
    hm_text_cache_key(key[3], encoder, ids, keep, 3, 2);
    for (int a = 0; a < 4; a++)
        for (int b = 0; b < a; b++) CHECK(memcmp(key[a], key[b], 32), "keys %d and %d are one", a, b);

    CHECK(!hm_text_cache_load(inner, key[0], y, N) && !hm_text_cache_load(NULL, key[0], y, N), "something out of nothing");
    hm_text_cache_save(NULL, key[0], x, N);
    hm_text_cache_save(inner, key[0], x, N);
    CHECK(hm_text_cache_load(inner, key[0], y, N) && !memcmp(x, y, sizeof y), "not what was saved");
    CHECK(!hm_text_cache_load(inner, key[0], y, N - 1) && !hm_text_cache_load(inner, key[1], y, N), "another one's");
    spoil(key[0], x, 3), spoil(key[0], x, 20), spoil(key[0], x, 100), spoil(key[0], x, 48 + 2 * N + 5), spoil(key[0], x, -1);
    y[0] = 1.001f;
    hm_text_cache_save(inner, key[1], y, 1);
    CHECK(!hm_text_cache_load(inner, key[1], y, 1), "a number that bf16 cannot hold was saved");

    for (int k = 1; k < 4; k++) hm_text_cache_save(inner, key[k], x, N);
    for (int k = 0; k < 4; k++) {
        char path[200];
        path_of(key[k], path);
        const struct timespec t[2] = {{1000 - k, 0}, {1000 - k, 0}};
        CHECK(!utimensat(AT_FDCWD, path, t, 0), "%s", path);
    }
    CHECK(hm_text_cache_load(inner, key[3], y, N), "is there"); /* and so used last */
    hm_text_cache_trim(inner, 2 * (48 + 2 * N + 32) + 1);
    CHECK(hm_text_cache_load(inner, key[0], y, N) && !hm_text_cache_load(inner, key[1], y, N) && !hm_text_cache_load(inner, key[2], y, N) &&
              hm_text_cache_load(inner, key[3], y, N), "not the two that were used last");
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", dir);
    CHECK(!system(command), "not cleaned up");
    return CHECK_END();
}
