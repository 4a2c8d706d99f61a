/* zip.c - a folder of files as a zip archive, made while it is sent.   SPDX-License-Identifier: MIT
 * Stored, not packed: films do not get smaller. Sizes are known beforehand, checksums stand behind each file (PKWARE
 * APPNOTE 4.3.9); positions over 4 GiB as zip64 (4.5.3). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/zip.h"

typedef struct {
    char name[128], path[4096];
    char *text;        /* instead of path; owned */
    uint64_t at, size; /* of its header in the archive; bytes */
    uint32_t crc;
} entry;

struct hm_zip {
    entry *list;
    size_t n, cap;
    size_t i;          /* entry in work; n: the directory */
    int part;          /* 0 header, 1 bytes, 2 checksum */
    int fd;
    uint64_t left, sent; /* bytes of the entry that are still to come; of the archive */
    uint8_t *out;      /* bytes ready to be sent */
    size_t out_at, out_len, out_cap;
    bool done, failed;
    uint32_t table[256];
};

hm_zip *hm_zip_new(void)
{
    hm_zip *z = calloc(1, sizeof *z);
    if (!z) return NULL;
    z->fd = -1;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        z->table[i] = c;
    }
    return z;
}

void hm_zip_free(hm_zip *z)
{
    if (!z) return;
    if (z->fd >= 0) close(z->fd);
    for (size_t i = 0; i < z->n; i++) free(z->list[i].text);
    free(z->list);
    free(z->out);
    free(z);
}

static entry *add(hm_zip *z, const char *name)
{
    if (z->n == z->cap) {
        const size_t cap = z->cap ? 2 * z->cap : 16;
        entry *more = realloc(z->list, cap * sizeof *more);
        if (!more) return NULL;
        z->list = more, z->cap = cap;
    }
    entry *e = &z->list[z->n];
    *e = (entry){0};
    snprintf(e->name, sizeof e->name, "%s", name);
    return e;
}

bool hm_zip_file(hm_zip *z, const char *name, const char *path)
{
    entry *e = add(z, name);
    struct stat st;
    if (!e) return false;
    if (stat(path, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > UINT32_MAX) return true; /* not there: left out */
    snprintf(e->path, sizeof e->path, "%s", path);
    e->size = (uint64_t)st.st_size;
    z->n++;
    return true;
}

bool hm_zip_text(hm_zip *z, const char *name, char *text)
{
    entry *e = text ? add(z, name) : NULL;
    if (!e) {
        free(text);
        return false;
    }
    e->text = text;
    e->size = strlen(text);
    z->n++;
    return true;
}

/* ---- bytes ---- */

static void put(hm_zip *z, const void *data, size_t n)
{
    if (z->out_len + n > z->out_cap) {
        const size_t cap = 2 * (z->out_len + n) + 4096;
        uint8_t *more = realloc(z->out, cap);
        if (!more) {
            z->failed = true;
            return;
        }
        z->out = more, z->out_cap = cap;
    }
    memcpy(z->out + z->out_len, data, n);
    z->out_len += n;
}

static void number(hm_zip *z, uint64_t v, int bytes)
{
    uint8_t b[8];
    for (int i = 0; i < bytes; i++) b[i] = (uint8_t)(v >> 8 * i);
    put(z, b, (size_t)bytes);
}

enum { FLAGS = 0x0808, DATE = 0x5a21 }; /* checksum behind the bytes, names are UTF-8; 2025-01-01 */

static void local_header(hm_zip *z, entry *e)
{
    e->at = z->sent;
    number(z, 0x04034b50, 4), number(z, 20, 2), number(z, FLAGS, 2), number(z, 0, 2), number(z, 0, 2), number(z, DATE, 2);
    number(z, 0, 4), number(z, 0, 4), number(z, 0, 4), number(z, strlen(e->name), 2), number(z, 0, 2);
    put(z, e->name, strlen(e->name));
}

static void directory_entry(hm_zip *z, const entry *e)
{
    const bool far = e->at >= UINT32_MAX;
    number(z, 0x02014b50, 4), number(z, 45, 2), number(z, 45, 2), number(z, FLAGS, 2), number(z, 0, 2), number(z, 0, 2), number(z, DATE, 2);
    number(z, e->crc, 4), number(z, e->size, 4), number(z, e->size, 4), number(z, strlen(e->name), 2), number(z, far ? 12 : 0, 2);
    number(z, 0, 2), number(z, 0, 2), number(z, 0, 2), number(z, 0, 4), number(z, far ? UINT32_MAX : e->at, 4);
    put(z, e->name, strlen(e->name));
    if (far) number(z, 1, 2), number(z, 8, 2), number(z, e->at, 8);
}

static void directory(hm_zip *z)
{
    const uint64_t at = z->sent;
    for (size_t i = 0; i < z->n; i++) directory_entry(z, &z->list[i]);
    const uint64_t size = z->out_len, end = at + size;
    if (at >= UINT32_MAX || z->n >= 0xffff) {
        number(z, 0x06064b50, 4), number(z, 44, 8), number(z, 45, 2), number(z, 45, 2), number(z, 0, 4), number(z, 0, 4);
        number(z, z->n, 8), number(z, z->n, 8), number(z, size, 8), number(z, at, 8);
        number(z, 0x07064b50, 4), number(z, 0, 4), number(z, end, 8), number(z, 1, 4);
    }
    const uint64_t n = HM_MIN(z->n, (size_t)0xffff);
    number(z, 0x06054b50, 4), number(z, 0, 4), number(z, n, 2), number(z, n, 2), number(z, HM_MIN(size, UINT32_MAX), 4);
    number(z, HM_MIN(at, UINT32_MAX), 4), number(z, 0, 2);
    z->done = true;
}

static void open_entry(hm_zip *z)
{
    entry *e = &z->list[z->i];
    local_header(z, e);
    z->left = e->size;
    e->crc = UINT32_MAX;
    z->fd = e->text ? -1 : open(e->path, O_RDONLY | O_CLOEXEC);
    z->failed |= !e->text && z->fd < 0; /* it was deleted meanwhile: the archive ends here, and is no archive */
    z->part = 1;
}

static void more_bytes(hm_zip *z)
{
    uint8_t buf[16384];
    entry *e = &z->list[z->i];
    const size_t want = HM_MIN(z->left, sizeof buf);
    ssize_t n = (ssize_t)want;
    if (e->text) memcpy(buf, e->text + (e->size - z->left), want);
    else n = read(z->fd, buf, want);
    if (n <= 0 && want) {
        z->failed = true;
        return;
    }
    for (ssize_t i = 0; i < n; i++) e->crc = z->table[(e->crc ^ buf[i]) & 255] ^ e->crc >> 8;
    put(z, buf, (size_t)n);
    z->left -= (uint64_t)n;
    if (!z->left) z->part = 2;
}

static void close_entry(hm_zip *z)
{
    entry *e = &z->list[z->i++];
    if (z->fd >= 0) close(z->fd);
    z->fd = -1;
    e->crc ^= UINT32_MAX;
    number(z, 0x08074b50, 4), number(z, e->crc, 4), number(z, e->size, 4), number(z, e->size, 4);
    z->part = 0;
}

size_t hm_zip_read(hm_zip *z, void *buf, size_t max)
{
    while (z->out_at == z->out_len && !z->done && !z->failed) {
        z->out_at = z->out_len = 0;
        if (z->i == z->n) directory(z);
        else if (z->part == 0) open_entry(z);
        else if (z->part == 1) more_bytes(z);
        else close_entry(z);
        if (!z->done) z->sent += z->out_len;
    }
    const size_t n = z->failed ? 0 : HM_MIN(max, z->out_len - z->out_at);
    memcpy(buf, z->out + z->out_at, n);
    z->out_at += n;
    return n;
}

bool hm_zip_failed(const hm_zip *z)
{
    return z->failed;
}
