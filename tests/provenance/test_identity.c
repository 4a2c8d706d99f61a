/* test_identity.c - keys in a folder: made at first use, for the owner alone, kept, imported, trusted.
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <sys/stat.h>

#include "sample.h"

static unsigned mode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) ? 0 : (unsigned)st.st_mode & 0777;
}

static void test_first_use(void)
{
    himmel_identity a, b;
    himmel_error err = {0};
    const char *dir = in_dir("deep/er/id");
    CHECK(!himmel_identity_show(dir, &a, &err), "%s", err.message);
    CHECK(mode_of(in_dir("deep/er/id/identity.pem")) == 0600, "%o", mode_of(in_dir("deep/er/id/identity.pem")));
    CHECK(mode_of(dir) == 0700, "folder %o", mode_of(dir));
    CHECK(!strcmp(a.algorithm, "Ed25519") && a.self_signed && strlen(a.fingerprint) == 64 && strlen(a.issuer_id) == 8,
          "%s", a.algorithm);
    CHECK(!himmel_identity_show(dir, &b, &err) && !strcmp(a.fingerprint, b.fingerprint), "another one the second time");
    bytes root = read_bytes(in_dir("deep/er/id/root.pem"));
    CHECK(root.n && !memmem(root.data, root.n, "PRIVATE", 7), "a private key in root.pem");
    free(root.data);
    CHECK(!chmod(in_dir("deep/er/id/identity.pem"), 0640), "chmod");
    CHECK(himmel_identity_show(dir, &b, &err) == HIMMEL_EIO && strstr(err.message, "640") && strstr(err.message, "identity.pem"),
          "others may read it: %s", err.message);
}

static void test_new(void)
{
    himmel_identity a, b;
    himmel_error err = {0};
    const char *dir = in_dir("new");
    CHECK(!himmel_identity_new(dir, "Jane Doe", "es384", 0, &err), "%s", err.message);
    CHECK(!himmel_identity_show(dir, &a, &err) && strstr(a.name, "Jane Doe") && !strcmp(a.algorithm, "ES384"), "%s", a.name);
    CHECK(himmel_identity_new(dir, NULL, NULL, 0, &err) == HIMMEL_EINVAL && strstr(err.message, "--replace"), "%s", err.message);
    CHECK(!himmel_identity_show(dir, &b, &err) && !strcmp(a.fingerprint, b.fingerprint), "gone");
    CHECK(!himmel_identity_new(dir, NULL, "", 1, &err) && !himmel_identity_show(dir, &b, &err) &&
              strcmp(a.fingerprint, b.fingerprint), "replaced");
    CHECK(himmel_identity_new(dir, NULL, "RSA", 1, &err) == HIMMEL_EINVAL && strstr(err.message, "RSA"), "%s", err.message);
    char name[80];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    CHECK(himmel_identity_new(dir, name, NULL, 1, &err) == HIMMEL_EINVAL && strstr(err.message, "79"), "%s", err.message);
}

static char race_dir[256];

static void *first_use(void *out)
{
    himmel_identity a = {0};
    himmel_error err;
    if (!himmel_identity_show(race_dir, &a, &err)) snprintf(out, 65, "%s", a.fingerprint);
    return NULL;
}

/* Many at the same time agree on one identity. */
static void test_race(void)
{
    enum { N = 6 };
    pthread_t t[N];
    char got[N][65] = {{0}};
    snprintf(race_dir, sizeof race_dir, "%s/race", sample_dir);
    for (int i = 0; i < N; i++) pthread_create(&t[i], NULL, first_use, got[i]);
    for (int i = 0; i < N; i++) pthread_join(t[i], NULL);
    for (int i = 0; i < N; i++) CHECK(*got[i] && !strcmp(got[i], got[0]), "thread %d: '%s'", i, got[i]);
}

static void test_import(void)
{
    himmel_identity a, b;
    himmel_error err = {0};
    CHECK(!himmel_identity_new(in_dir("from"), "from", "ES256", 0, &err) && !himmel_identity_show(in_dir("from"), &a, &err), "%s", err.message);
    const char *pem = in_dir("from/identity.pem"), *to = in_dir("to");
    CHECK(!himmel_identity_import(to, pem, 0, &err) && !himmel_identity_show(to, &b, &err) &&
              !strcmp(a.fingerprint, b.fingerprint), "%s", err.message);
    CHECK(mode_of(in_dir("to/identity.pem")) == 0600, "mode");
    CHECK(himmel_identity_import(to, pem, 0, &err) == HIMMEL_EINVAL, "over an older one");
    CHECK(!himmel_identity_import(to, pem, 1, &err), "%s", err.message);
    static const struct { const char *name, *text, *word; } bad[] = {
        {"empty.pem", "", "no private key"},
        {"junk.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key"}};
    for (size_t i = 0; i < HM_COUNT(bad); i++) {
        write_bytes(in_dir(bad[i].name), (bytes){(uint8_t *)(uintptr_t)bad[i].text, strlen(bad[i].text)});
        CHECK(himmel_identity_import(to, in_dir(bad[i].name), 1, &err) == HIMMEL_EFORMAT && strstr(err.message, bad[i].word) &&
                  strstr(err.message, bad[i].name), "%s: %s", bad[i].name, err.message);
    }
    CHECK(himmel_identity_import(to, in_dir("none.pem"), 1, &err) == HIMMEL_EIO, "%s", err.message);
    /* The key of one with the certificate of another. */
    bytes one = read_bytes(pem), two = {0};
    CHECK(!himmel_identity_new(in_dir("else"), "else", "ES256", 0, &err), "%s", err.message);
    two = read_bytes(in_dir("else/identity.pem"));
    const uint8_t *cut = memmem(one.data, one.n, "-----BEGIN CERT", 15), *rest = memmem(two.data, two.n, "-----BEGIN CERT", 15);
    if (cut && rest) {
        hm_buf mixed = {0};
        hm_buf_add(&mixed, one.data, (size_t)(cut - one.data));
        hm_buf_add(&mixed, rest, two.n - (size_t)(rest - two.data));
        write_bytes(in_dir("mixed.pem"), (bytes){mixed.data, mixed.len});
        hm_buf_free(&mixed);
        CHECK(himmel_identity_import(to, in_dir("mixed.pem"), 1, &err) == HIMMEL_EFORMAT && strstr(err.message, "chain"), "%s", err.message);
    } else {
        CHECK(cut && rest, "no certificate in identity.pem");
    }
    CHECK(!himmel_identity_show(to, &b, &err) && !strcmp(a.fingerprint, b.fingerprint), "an import that failed changed it");
    free(one.data), free(two.data);
}

/* One user's film on another's machine: valid, and trusted once they take the root. */
static void test_trust(void)
{
    himmel_error err = {0};
    himmel_verdict v;
    hm_identity *id = make_identity("maker", HM_ED25519);
    const bytes plain = make_sample("jpg", 5);
    hm_credit c = sample_credit();
    const bytes b = sign_bytes(plain, &c, id);
    const char *file = in_dir("film.jpg"), *reader = in_dir("reader");
    write_bytes(file, b);
    CHECK(!himmel_verify(file, reader, &v, &err) && v.credentials == HIMMEL_LAYER_FOUND && !v.trusted && v.made_by_machine,
          "%s", err.message);
    himmel_verdict_free(&v);
    CHECK(access(reader, F_OK), "looking made an identity");
    CHECK(!himmel_identity_trust(reader, in_dir("maker/root.pem"), &err), "%s", err.message);
    CHECK(!himmel_verify(file, reader, &v, &err) && v.trusted, "not trusted with its root");
    himmel_verdict_free(&v);
    CHECK(himmel_identity_trust(reader, file, &err) == HIMMEL_EFORMAT && strstr(err.message, "film.jpg"), "%s", err.message);
    CHECK(himmel_identity_trust(reader, in_dir("no.pem"), &err) == HIMMEL_EIO, "%s", err.message);
    FILE *f = fopen(in_dir("leaf.pem"), "w");
    CHECK(f && PEM_write_X509(f, id->cert[0]) == 1 && !fclose(f), "leaf");
    CHECK(himmel_identity_trust(reader, in_dir("leaf.pem"), &err) == HIMMEL_EFORMAT, "a signer taken for a root");
    CHECK(himmel_verify(in_dir("no.jpg"), reader, &v, &err) == HIMMEL_EIO && strstr(err.message, "no.jpg"), "%s", err.message);
    hm_identity_free(id);
    free(plain.data), free(b.data);
}

static void test_unusable(void)
{
    himmel_identity a;
    himmel_error err = {0};
    write_bytes(in_dir("file"), (bytes){(uint8_t *)(uintptr_t) "x", 1});
    CHECK(himmel_identity_show(in_dir("file/below"), &a, &err) == HIMMEL_EIO && strstr(err.message, "file"), "%s", err.message);
    CHECK(himmel_identity_show("", &a, &err) && *err.message, "empty folder name: %s", err.message);
}

int main(void)
{
    if (!mkdtemp(sample_dir)) return 1;
    test_first_use();
    test_new();
    test_race();
    test_import();
    test_trust();
    test_unusable();
    clean_up();
    return CHECK_END();
}
