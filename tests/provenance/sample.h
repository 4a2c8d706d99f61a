/* sample.h - small signed films and pictures for the tests of this folder.   SPDX-License-Identifier: MIT */
#ifndef HM_SAMPLE_H
#define HM_SAMPLE_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "check.h"
#include "media/image.h"
#include "provenance/identity_files.h"
#include "provenance/manifest.h"
#include "provenance/verify.h"

enum { N_KINDS = 4, SAMPLE_W = 96, SAMPLE_H = 64, SAMPLE_FRAMES = 12 };
static const char *const sample_kinds[N_KINDS] = {"mp4", "png", "jpg", "webp"};
static char sample_dir[] = "/tmp/himmel-provenance-XXXXXX";

typedef struct {
    uint8_t *data;
    size_t n;
} bytes;

static inline const char *in_dir(const char *name)
{
    static char path[64][256];
    static int turn;
    char *p = path[turn++ % 64];
    snprintf(p, sizeof path[0], "%s/%s", sample_dir, name);
    return p;
}

static inline bytes read_bytes(const char *path)
{
    hm_map m;
    bytes b = {0};
    if (hm_map_open(&m, path, NULL)) return b;
    b.data = malloc(m.len + 1);
    if (b.data) memcpy(b.data, m.data, m.len), b.n = m.len;
    hm_map_close(&m);
    return b;
}

/* A short film or a picture that depends on `shade`, without credentials. */
static inline bytes make_sample(const char *kind, int shade)
{
    char name[32];
    snprintf(name, sizeof name, "sample.%s", kind);
    const char *path = in_dir(name);
    himmel_error err = {0};
    himmel_status rc = HIMMEL_OK;
    if (!strcmp(kind, "mp4")) {
        const hm_encoder_opts o = {.width = SAMPLE_W, .height = SAMPLE_H, .fps_num = 12, .fps_den = 1};
        hm_encoder *e = NULL;
        rc = hm_encoder_open(&e, path, &o, &err);
        for (int i = 0; i < SAMPLE_FRAMES && !rc; i++) {
            const hm_frame *f = hm_encoder_frame(e, &err);
            for (int p = 0; p < 3; p++)
                for (int y = 0; y < (p ? SAMPLE_H / 2 : SAMPLE_H); y++)
                    for (int x = 0; x < (p ? SAMPLE_W / 2 : SAMPLE_W); x++)
                        f->plane[p][y * f->stride[p] + x] = (uint8_t)(shade + ((x + i) * (y + 3)) % 97);
            rc = hm_encoder_push(e, &err);
        }
        if (!rc) rc = hm_encoder_finish(e, NULL, &err);
        hm_encoder_free(e);
    } else {
        uint8_t rgb[3 * SAMPLE_W * SAMPLE_H];
        for (int i = 0; i < 3 * SAMPLE_W * SAMPLE_H; i++) rgb[i] = (uint8_t)(shade + (i * 7 + i / 300 * 31) % 151);
        const hm_frame f = {HM_FRAME_RGB8, SAMPLE_W, SAMPLE_H, {rgb}, {3 * SAMPLE_W}};
        rc = hm_image_write(path, &f, NULL, 0, NULL, &err);
    }
    CHECK(!rc, "%s: %s", kind, err.message);
    return read_bytes(path);
}

static inline hm_identity *make_identity(const char *name, int alg)
{
    hm_identity *id = NULL;
    himmel_error err = {0};
    const char *dir = in_dir(name);
    hm_identity *fresh = NULL;
    CHECK(!hm_id_make(&fresh, name, alg, &err) && !hm_id_store(fresh, dir, true, &err), "%s: %s", name, err.message);
    hm_identity_free(fresh);
    CHECK(!hm_identity_open(&id, dir, &err), "%s: %s", name, err.message);
    return id;
}

/* A store that trusts that identity's root. */
static inline X509_STORE *trust_in(const hm_identity *id)
{
    X509_STORE *s = X509_STORE_new();
    X509_STORE_add_cert(s, id->cert[id->n_certs - 1]);
    return s;
}

static inline hm_credit sample_credit(void)
{
    return (hm_credit){.model = "himmel-test", .model_version = "1", .model_sha256 = "00ff", .data_sha256 = "abcd",
                       .request = "a request", .visible_mark = true};
}

static inline bytes sign_bytes(bytes in, const hm_credit *c, const hm_identity *id)
{
    hm_buf out;
    himmel_error err = {0};
    const himmel_status rc = hm_credit_sign(&out, "test", in.data, in.n, c, id, &err);
    CHECK(!rc, "sign: %s", err.message);
    return (bytes){out.data, out.len};
}

/* "valid", "broken" or "none"; *first (may be NULL) is the code of the first failure, "" if there is none. */
static inline const char *state_of(bytes b, X509_STORE *trust, char first[64])
{
    json_t *r = hm_credentials_check(b.data, b.n, trust, NULL), *one;
    const char *s = json_string_value(json_object_get(r, "state"));
    const char *state = !s ? "?" : !strcmp(s, "valid") ? "valid" : !strcmp(s, "broken") ? "broken" : "none";
    size_t i;
    if (first) *first = 0;
    for (i = 0; first && !*first && (one = json_array_get(json_object_get(r, "checks"), i)); i++)
        if (!json_is_true(json_object_get(one, "ok")))
            snprintf(first, 64, "%s", json_string_value(json_object_get(one, "code")));
    json_decref(r);
    return state;
}

static inline void write_bytes(const char *path, bytes b)
{
    CHECK(!hm_write_file(path, b.data, b.n, NULL), "%s", path);
}

static inline void clean_up(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", sample_dir);
    if (system(command)) perror(command);
}

#endif
