/* asset.c - manifests in MP4, PNG, JPEG and WebP.   SPDX-License-Identifier: MIT
 * Traps: JPEG repeats the first box header in every segment; a PNG chunk ends in a checksum; RIFF chunks are padded to
 * even lengths; an MP4's chunk offsets count from the file's start, so what is put in front of mdat moves them. */
#include "provenance/asset.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_MANIFEST = 64 << 20, UUID_HEADER = 8 + 16 + 4 + 9 + 8, JPEG_PART = 64000, MAX_NEST = 8 };
const uint8_t hm_c2pa_uuid[16] = {0xd8, 0xfe, 0xc3, 0xd6, 0x1b, 0x0e, 0x48, 0x3c,
                                  0x92, 0x97, 0x58, 0x28, 0x87, 0x7e, 0xc4, 0x81};
static const uint8_t png_start[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

int hm_bmff_next(const uint8_t *data, uint64_t end, uint64_t *at, hm_bmff_box *out)
{
    if (*at >= end) return 0;
    const uint64_t left = end - *at;
    if (left < 8) return -1;
    const uint8_t *p = data + *at;
    out->start = *at, out->header = 8, out->len = hm_be(p, 4);
    memcpy(out->type, p + 4, 4);
    out->type[4] = 0;
    if (out->len == 1) {
        if (left < 16) return -1;
        out->len = hm_be(p + 8, 8), out->header = 16;
    } else if (!out->len) {
        out->len = left; /* to the end of the file */
    }
    if (out->len < out->header || out->len > left) return -1;
    *at += out->len;
    return 1;
}

hm_asset_kind hm_asset_kind_of(const uint8_t *data, size_t n)
{
    if (n >= 8 && !memcmp(data, png_start, 8)) return HM_ASSET_PNG;
    if (n >= 4 && data[0] == 0xff && data[1] == 0xd8 && data[2] == 0xff) return HM_ASSET_JPEG;
    if (n >= 12 && !memcmp(data, "RIFF", 4)) return HM_ASSET_RIFF;
    if (n >= 12 && !memcmp(data + 4, "ftyp", 4)) return HM_ASSET_BMFF;
    return HM_ASSET_UNKNOWN;
}

const char *hm_asset_mime(const uint8_t *data, size_t n)
{
    switch (hm_asset_kind_of(data, n)) {
    case HM_ASSET_PNG: return "image/png";
    case HM_ASSET_JPEG: return "image/jpeg";
    case HM_ASSET_RIFF: return !memcmp(data + 8, "WEBP", 4) ? "image/webp" : "audio/wav";
    case HM_ASSET_BMFF:
        if (!memcmp(data + 8, "qt  ", 4)) return "video/quicktime";
        if (!memcmp(data + 8, "avif", 4)) return "image/avif";
        return !memcmp(data + 8, "hei", 3) || !memcmp(data + 8, "mif1", 4) ? "image/heif" : "video/mp4";
    default: return "application/octet-stream";
    }
}

/* ---- reading ---- */

static himmel_status take(hm_asset *a, const uint8_t *data, size_t n, hm_range where, himmel_error *err)
{
    if (a->manifest)
        return hm_fail(err, HIMMEL_EFORMAT, "byte %llu: a second manifest", (unsigned long long)where.start);
    if (n > MAX_MANIFEST || !n)
        return hm_fail(err, HIMMEL_EFORMAT, "byte %llu: a manifest of %zu bytes, at most %d can be read",
                       (unsigned long long)where.start, n, (int)MAX_MANIFEST);
    a->manifest = malloc(n);
    if (!a->manifest) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for a manifest of %zu bytes", n);
    memcpy(a->manifest, data, n);
    a->manifest_len = n, a->where = where;
    return HIMMEL_OK;
}

static himmel_status open_bmff(hm_asset *a, const uint8_t *data, size_t n, himmel_error *err)
{
    hm_bmff_box b;
    uint64_t at = 0;
    int more;
    while ((more = hm_bmff_next(data, n, &at, &b)) > 0) {
        const uint8_t *p = data + b.start + b.header;
        const uint64_t len = b.len - b.header;
        if (strcmp(b.type, "uuid") || len < 16 + 4 + 9 + 8 || memcmp(p, hm_c2pa_uuid, 16)) continue;
        if (memcmp(p + 20, "manifest", 9)) continue; /* "merkle": the leaves of a fragment */
        const himmel_status rc = take(a, p + 37, (size_t)(len - 37), (hm_range){b.start, b.len}, err);
        if (rc) return rc;
    }
    if (more < 0)
        return hm_fail(err, HIMMEL_EFORMAT, "byte %llu: a box is longer than the file", (unsigned long long)at);
    return HIMMEL_OK;
}

static himmel_status open_png(hm_asset *a, const uint8_t *data, size_t n, himmel_error *err)
{
    for (size_t at = 8; at < n;) {
        const uint64_t len = n - at >= 12 ? hm_be(data + at, 4) : UINT64_MAX;
        if (len > n - at - 12)
            return hm_fail(err, HIMMEL_EFORMAT, "byte %zu: a PNG chunk is longer than the file", at);
        if (!memcmp(data + at + 4, "caBX", 4)) {
            const himmel_status rc = take(a, data + at + 8, (size_t)len, (hm_range){at, len + 12}, err);
            if (rc) return rc;
        }
        if (!memcmp(data + at + 4, "IEND", 4)) break;
        at += (size_t)len + 12;
    }
    return HIMMEL_OK;
}

/* The segment at `at`: its whole length, 0 = the picture begins or the end, or broken (*bad). */
static size_t jpeg_segment(const uint8_t *data, size_t n, size_t at, bool *bad)
{
    *bad = n - at < 4 || data[at] != 0xff;
    if (*bad || data[at + 1] == 0xda || data[at + 1] == 0xd9) return 0;
    const size_t len = (size_t)hm_be(data + at + 2, 2);
    *bad = len < 2 || len + 2 > n - at;
    return *bad ? 0 : len + 2;
}

static himmel_status open_jpeg(hm_asset *a, const uint8_t *data, size_t n, himmel_error *err)
{
    hm_buf m = {0};
    hm_range where = {0};
    bool bad = false;
    uint64_t box_number = 0, next = 0;
    himmel_status rc = HIMMEL_OK;
    size_t len;
    for (size_t at = 2; at < n && (len = jpeg_segment(data, n, at, &bad)) && !rc; at += len) {
        const uint8_t *p = data + at + 4; /* "JP", box number, piece number, box header ... */
        if (data[at + 1] != 0xeb || len < 4 + 16 || memcmp(p, "JP", 2)) continue;
        const uint64_t number = hm_be(p + 2, 2), piece = hm_be(p + 4, 4);
        if (m.len && number == box_number) {
            if (piece != next || at != where.start + where.len) {
                rc = hm_fail(err, HIMMEL_EFORMAT, "byte %zu: the pieces of the manifest are out of order", at);
                break;
            }
            hm_buf_add(&m, p + 16, len - 4 - 16);
        } else if (len >= 4 + 28 && !memcmp(p + 24, "c2pa", 4)) {
            if (m.len) {
                rc = hm_fail(err, HIMMEL_EFORMAT, "byte %zu: a second manifest", at);
                break;
            }
            box_number = number, where = (hm_range){at, 0};
            hm_buf_add(&m, p + 8, len - 4 - 8);
        } else {
            continue;
        }
        next = piece + 1, where.len = at + len - where.start;
    }
    if (!rc && bad) rc = hm_fail(err, HIMMEL_EFORMAT, "a JPEG segment is longer than the file, or no segment");
    if (!rc && m.failed) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for a manifest");
    if (!rc && m.len) rc = take(a, m.data, m.len, where, err);
    hm_buf_free(&m);
    return rc;
}

static uint64_t le32(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24;
}

static himmel_status open_riff(hm_asset *a, const uint8_t *data, size_t n, himmel_error *err)
{
    const uint64_t size = le32(data + 4) + 8, end = HM_MIN(size, n);
    for (uint64_t at = 12; at < end;) {
        const uint64_t len = end - at >= 8 ? le32(data + at + 4) : UINT64_MAX;
        if (end - at < 8 || len > end - at - 8)
            return hm_fail(err, HIMMEL_EFORMAT, "byte %llu: a RIFF chunk is longer than the file",
                           (unsigned long long)at);
        const uint64_t whole = HM_MIN(8 + len + (len & 1), end - at);
        if (!memcmp(data + at, "C2PA", 4)) {
            const himmel_status rc = take(a, data + at + 8, (size_t)len, (hm_range){at, 8 + len}, err);
            if (rc) return rc;
        }
        at += whole;
    }
    return HIMMEL_OK;
}

himmel_status hm_asset_open(hm_asset *out, const uint8_t *data, size_t n, himmel_error *err)
{
    *out = (hm_asset){.kind = hm_asset_kind_of(data, n)};
    himmel_status rc = HIMMEL_OK;
    if (out->kind == HM_ASSET_BMFF) rc = open_bmff(out, data, n, err);
    else if (out->kind == HM_ASSET_PNG) rc = open_png(out, data, n, err);
    else if (out->kind == HM_ASSET_JPEG) rc = open_jpeg(out, data, n, err);
    else if (out->kind == HM_ASSET_RIFF) rc = open_riff(out, data, n, err);
    if (rc) hm_asset_close(out);
    return rc;
}

void hm_asset_close(hm_asset *a)
{
    free(a->manifest);
    a->manifest = NULL;
    a->manifest_len = 0;
}

/* ---- writing ---- */

/* Move the chunk offsets behind `from` in one stco or co64 box by delta. */
static himmel_status move_offsets(uint8_t *p, uint64_t len, int width, uint64_t from, uint64_t delta,
                                  himmel_error *err)
{
    const uint64_t count = len >= 8 ? hm_be(p + 4, 4) : UINT64_MAX;
    if (len < 8 || count > (len - 8) / (unsigned)width)
        return hm_fail(err, HIMMEL_EFORMAT, "the MP4's table of chunk offsets is longer than its box");
    for (uint64_t i = 0; i < count; i++) {
        uint8_t *o = p + 8 + i * (unsigned)width;
        const uint64_t v = hm_be(o, width), moved = v + delta;
        if (v < from) continue;
        if (width == 4 && moved > UINT32_MAX)
            return hm_fail(err, HIMMEL_EFORMAT, "the MP4 is too long for its 32-bit chunk offsets");
        hm_put_be(o, moved, width);
    }
    return HIMMEL_OK;
}

/* Every stco and co64 within data[at, end) of the boxes that lead there. */
static himmel_status move_in(uint8_t *data, uint64_t at, uint64_t end, uint64_t from, uint64_t delta, int depth,
                             himmel_error *err)
{
    static const char *const way[] = {"moov", "trak", "mdia", "minf", "stbl"};
    hm_bmff_box b;
    int more;
    himmel_status rc = HIMMEL_OK;
    while (!rc && (more = hm_bmff_next(data, end, &at, &b)) > 0) {
        const uint64_t inner = b.start + b.header;
        if (depth < 5 && !strcmp(b.type, way[depth]))
            rc = move_in(data, inner, b.start + b.len, from, delta, depth + 1, err);
        if (depth == 5 && (!strcmp(b.type, "stco") || !strcmp(b.type, "co64")))
            rc = move_offsets(data + inner, b.len - b.header, b.type[0] == 's' ? 4 : 8, from, delta, err);
        if (!depth && (!strcmp(b.type, "moof") || !strcmp(b.type, "sidx")))
            rc = hm_fail(err, HIMMEL_EFORMAT, "a fragmented MP4 cannot be signed in one piece");
    }
    return rc;
}

static himmel_status embed_bmff(hm_buf *out, hm_range *where, const uint8_t *data, size_t n, const uint8_t *m,
                                size_t m_len, himmel_error *err)
{
    hm_bmff_box ftyp;
    uint64_t at = 0;
    if (hm_bmff_next(data, n, &at, &ftyp) != 1 || m_len > UINT32_MAX - UUID_HEADER)
        return hm_fail(err, HIMMEL_EFORMAT, "not an MP4 that can be signed");
    const uint64_t len = UUID_HEADER + m_len;
    *where = (hm_range){at, len};
    hm_buf_add(out, data, (size_t)at);
    hm_buf_be(out, len, 4);
    hm_buf_add(out, "uuid", 4);
    hm_buf_add(out, hm_c2pa_uuid, 16);
    hm_buf_be(out, 0, 4);
    hm_buf_add(out, "manifest", 9);
    hm_buf_be(out, 0, 8);
    hm_buf_add(out, m, m_len);
    hm_buf_add(out, data + at, n - (size_t)at);
    if (out->failed) return HIMMEL_OK;
    return move_in(out->data, at + len, out->len, at, len, 0, err);
}

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++) c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
    }
    return ~c;
}

static himmel_status embed_png(hm_buf *out, hm_range *where, const uint8_t *data, size_t n, const uint8_t *m,
                               size_t m_len, himmel_error *err)
{
    const size_t at = 8 + 25; /* behind IHDR */
    if (n < at || memcmp(data + 12, "IHDR", 4)) return hm_fail(err, HIMMEL_EFORMAT, "a PNG without its header");
    *where = (hm_range){at, m_len + 12};
    hm_buf_add(out, data, at);
    hm_buf_be(out, m_len, 4);
    const size_t checked = out->len;
    hm_buf_add(out, "caBX", 4);
    hm_buf_add(out, m, m_len);
    if (!out->failed) hm_buf_be(out, crc32_of(out->data + checked, out->len - checked), 4);
    hm_buf_add(out, data + at, n - at);
    return HIMMEL_OK;
}

static himmel_status embed_jpeg(hm_buf *out, hm_range *where, const uint8_t *data, size_t n, const uint8_t *m,
                                size_t m_len, himmel_error *err)
{
    size_t at = 2, len;
    bool bad = false;
    while (at < n && (len = jpeg_segment(data, n, at, &bad)) && data[at + 1] == 0xe0) at += len; /* behind JFIF */
    if (bad || m_len < 8) return hm_fail(err, HIMMEL_EFORMAT, "byte %zu: not a JPEG segment", at);
    hm_buf_add(out, data, at);
    uint64_t piece = 1;
    for (size_t done = 0; done < m_len; piece++) {
        const size_t part = HM_MIN(m_len - done, (size_t)JPEG_PART), repeat = done ? 8 : 0;
        hm_buf_be(out, 0xffeb, 2);
        hm_buf_be(out, 2 + 8 + repeat + part, 2);
        hm_buf_add(out, "JP", 2);
        hm_buf_be(out, 0x0211, 2);
        hm_buf_be(out, piece, 4);
        hm_buf_add(out, m, repeat);
        hm_buf_add(out, m + done, part);
        done += part;
    }
    *where = (hm_range){at, out->len - at};
    hm_buf_add(out, data + at, n - at);
    return HIMMEL_OK;
}

static himmel_status embed_riff(hm_buf *out, hm_range *where, const uint8_t *data, size_t n, const uint8_t *m,
                                size_t m_len, himmel_error *err)
{
    const uint64_t size = le32(data + 4) + 8, whole = 8 + m_len + (m_len & 1);
    if (size != n || n & 1 || size + whole > UINT32_MAX)
        return hm_fail(err, HIMMEL_EFORMAT, "a RIFF file that says %llu bytes and has %zu", (unsigned long long)size,
                       n);
    const uint64_t total = size - 8 + whole;
    const uint8_t le[8] = {(uint8_t)total, (uint8_t)(total >> 8), (uint8_t)(total >> 16), (uint8_t)(total >> 24),
                           (uint8_t)m_len, (uint8_t)(m_len >> 8), (uint8_t)(m_len >> 16), (uint8_t)(m_len >> 24)};
    *where = (hm_range){n, 8 + m_len}; /* the padding is not the chunk's */
    hm_buf_add(out, data, n);
    if (!out->failed) memcpy(out->data + 4, le, 4);
    hm_buf_add(out, "C2PA", 4);
    hm_buf_add(out, le + 4, 4);
    hm_buf_add(out, m, m_len);
    hm_buf_be(out, 0, m_len & 1 ? 1 : 0);
    return HIMMEL_OK;
}

himmel_status hm_asset_embed(hm_buf *out, hm_range *where, const uint8_t *data, size_t n, const uint8_t *manifest,
                             size_t manifest_len, himmel_error *err)
{
    *out = (hm_buf){0};
    himmel_status rc = HIMMEL_OK;
    switch (hm_asset_kind_of(data, n)) {
    case HM_ASSET_BMFF: rc = embed_bmff(out, where, data, n, manifest, manifest_len, err); break;
    case HM_ASSET_PNG: rc = embed_png(out, where, data, n, manifest, manifest_len, err); break;
    case HM_ASSET_JPEG: rc = embed_jpeg(out, where, data, n, manifest, manifest_len, err); break;
    case HM_ASSET_RIFF: rc = embed_riff(out, where, data, n, manifest, manifest_len, err); break;
    default: rc = hm_fail(err, HIMMEL_EFORMAT, "signing works with MP4, PNG, JPEG and WebP only"); break;
    }
    if (!rc && out->failed) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for signing a file of %zu bytes", n);
    if (rc) hm_buf_free(out);
    return rc;
}
