/* test_base.c - hashes, random numbers, files.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/base.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "check.h"

static void test_sha256(void)
{
    static const struct { const char *msg; const char *hex; } cases[] = { /* FIPS 180-4 examples */
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"}};
    for (size_t i = 0; i < HM_COUNT(cases); i++) {
        hm_sha256 s;
        uint8_t d[32];
        char hex[65];
        hm_sha256_init(&s);
        for (const char *p = cases[i].msg; *p; p++) hm_sha256_add(&s, p, 1);
        hm_sha256_end(&s, d);
        hm_sha256_hex(d, hex);
        CHECK(!strcmp(hex, cases[i].hex), "case %zu: %s", i, hex);
    }
}

static void test_philox(void)
{
    uint32_t o[4]; /* known answers of the Random123 distribution */
    hm_philox(0, 0, 0, o);
    CHECK(o[0] == 0x6627e8d5 && o[1] == 0xe169c58d && o[2] == 0xbc57ac4c && o[3] == 0x9b00dbd8, "zeros");
    hm_philox(UINT64_MAX, UINT64_MAX, UINT64_MAX, o);
    CHECK(o[0] == 0x408f276d && o[1] == 0x41c83b0e && o[2] == 0xa20bc7c6 && o[3] == 0x6d5451fd, "ones");
    static float x[100003];
    hm_randn(x, HM_COUNT(x), 7, 1);
    double m = 0, v = 0;
    for (size_t i = 0; i < HM_COUNT(x); i++) m += x[i], v += (double)x[i] * x[i];
    CHECK_NEAR(m / HM_COUNT(x), 0, 0.015, "mean %g", m / HM_COUNT(x));
    CHECK_NEAR(v / HM_COUNT(x), 1, 0.02, "variance %g", v / HM_COUNT(x));
    float y[10];
    hm_randn(y, 10, 7, 1);
    CHECK(!memcmp(x, y, sizeof y), "a number depends on its position only");
}

static void test_files(void)
{
    char path[] = "/tmp/hm_test_XXXXXX";
    const int fd = mkstemp(path);
    CHECK(fd >= 0, "mkstemp");
    close(fd);
    himmel_error err = {0};
    CHECK(!hm_write_file(path, "hello", 5, &err), "%s", err.message);
    hm_map m;
    CHECK(!hm_map_open(&m, path, &err) && m.len == 5 && !memcmp(m.data, "hello", 5), "%s", err.message);
    hm_map_close(&m);
    unlink(path);
    CHECK(hm_map_open(&m, path, &err) == HIMMEL_EIO && strstr(err.message, path), "%s", err.message);
    CHECK(hm_write_file("/nonexistent/x", "a", 1, &err) == HIMMEL_EIO, "%s", err.message);
}

static void put(const char *root, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        mkdir(path, 0777);
        *p = '/';
    }
    CHECK(!hm_write_file(path, text, strlen(text), NULL), "%s", path);
}

/* A machine of files: the least of what is free, the groups of both versions, and the limit. */
static void test_memory(void)
{
    char root[] = "/tmp/hm_memory_XXXXXX", command[64];
    himmel_error err = {0};
    CHECK(mkdtemp(root) != NULL, "no folder");
    CHECK(hm_memory_available_at(root, 0) == UINT64_MAX, "a number out of nothing");
    put(root, "proc/meminfo", "MemTotal: 900 kB\nMemAvailable:   800 kB\n");
    CHECK(hm_memory_available_at(root, 0) == 800 * 1024, "MemAvailable");
    put(root, "proc/self/status", "Name: x\nRssAnon:\t  50 kB\n");
    CHECK(hm_memory_available_at(root, 0) == 850 * 1024, "what the process has counts");
    CHECK(hm_memory_available_at(root, 1000) == 1000, "the limit");
    put(root, "proc/self/cgroup", "4:memory:/a/b\n1:cpu:/\n0::/job\n");
    put(root, "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
    put(root, "sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "5000\n");
    put(root, "sys/fs/cgroup/job/memory.max", "max\n");
    put(root, "sys/fs/cgroup/job/memory.current", "5000\n");
    CHECK(hm_memory_available_at(root, 0) == 850 * 1024, "no group has a limit");
    put(root, "sys/fs/cgroup/job/memory.max", "600000\n");
    put(root, "sys/fs/cgroup/job/memory.current", "500000\n");
    put(root, "sys/fs/cgroup/job/memory.stat", "anon 200000\nfile 300000\n");
    CHECK(hm_memory_available_at(root, 0) == 400000 + 50 * 1024, "version 2: file pages can go");
    put(root, "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "30000\n");
    put(root, "sys/fs/cgroup/memory/a/memory.usage_in_bytes", "20000\n");
    CHECK(hm_memory_available_at(root, 0) == 10000 + 50 * 1024, "version 1: the group above");
    CHECK(hm_memory_available(0) > 1 << 20, "this machine");
    CHECK(!hm_memory_fits(5, "", 5, &err), "5 fit into 5");
    CHECK(hm_memory_fits((uint64_t)7 << 29, " beside x", (uint64_t)1 << 30, &err) == HIMMEL_ENOMEM &&
              !strcmp(err.message, "this would need 3.5 GiB of memory beside x, 1.0 are available"), "%s", err.message);
    snprintf(command, sizeof command, "rm -r %s", root);
    CHECK(!system(command), "not cleaned up");
}

int main(void)
{
    test_memory();
    test_sha256();
    test_philox();
    test_files();
    for (uint32_t u = 0; u < 0x7f80; u += 7)
        CHECK(hm_f32_to_bf16(hm_bf16_to_f32((uint16_t)u)) == u, "bf16 %x", u);
    uint64_t r;
    CHECK(!hm_mul(UINT64_MAX, 2, &r) && hm_mul(3, 4, &r) && r == 12, "hm_mul");
    return CHECK_END();
}
