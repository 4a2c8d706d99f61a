/* test_base.c - hashes, random numbers, files.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/base.h"
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

int main(void)
{
    test_sha256();
    test_philox();
    test_files();
    for (uint32_t u = 0; u < 0x7f80; u += 7)
        CHECK(hm_f32_to_bf16(hm_bf16_to_f32((uint16_t)u)) == u, "bf16 %x", u);
    uint64_t r;
    CHECK(!hm_mul(UINT64_MAX, 2, &r) && hm_mul(3, 4, &r) && r == 12, "hm_mul");
    return CHECK_END();
}
