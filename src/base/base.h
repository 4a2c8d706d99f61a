/* base.h - errors, checked sizes, small helpers. Needs libc only.   SPDX-License-Identifier: MIT */
#ifndef HM_BASE_H
#define HM_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "himmel.h"

#define HM_COUNT(a) (sizeof(a) / sizeof *(a))
#define HM_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define HM_MIN(a, b) ((a) < (b) ? (a) : (b))
#define HM_MAX(a, b) ((a) > (b) ? (a) : (b))

/* One source, several instruction sets; the loader picks at run time. On functions whose loops
 * the compiler should vectorise. HIMMEL_ISA (main only) forces oneDNN the same way. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define HM_CLONES
#endif

/* Write the sentence into err (may be NULL) and return code, so that failing is one line. */
himmel_status hm_fail(himmel_error *err, himmel_status code, const char *fmt, ...) HM_PRINTF(3, 4);

/* Checked arithmetic for sizes from files and clients: false on overflow, *out untouched. */
static inline bool hm_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}
static inline bool hm_add(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

/* Seconds on a monotonic clock; for timings only, never for results. */
double hm_now(void);

/* Bounded string building: appends, always terminates, len keeps growing past cap (truncation shows). */
typedef struct {
    char *data;
    size_t cap, len;
} hm_str;
void hm_str_addf(hm_str *s, const char *fmt, ...) HM_PRINTF(2, 3);

/* bf16 <-> f32, round to nearest even. */
static inline float hm_bf16_to_f32(uint16_t h)
{
    union { uint32_t u; float f; } v = {(uint32_t)h << 16};
    return v.f;
}
static inline uint16_t hm_f32_to_bf16(float f)
{
    union { float f; uint32_t u; } v = {f};
    if ((v.u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((v.u >> 16) | 0x40u); /* NaN stays NaN */
    return (uint16_t)((v.u + 0x7fffu + ((v.u >> 16) & 1u)) >> 16);
}

/* Whole file, mapped read-only. Close accepts an all-zero map. */
typedef struct {
    const uint8_t *data;
    size_t len;
} hm_map;
himmel_status hm_map_open(hm_map *map, const char *path, himmel_error *err);
void hm_map_close(hm_map *map);

/* Write a whole file beside path and rename it into place when it is complete and on disk. */
himmel_status hm_write_file(const char *path, const void *data, size_t len, himmel_error *err);

#endif
