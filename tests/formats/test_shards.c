/* test_shards.c - a model in several files: opened by index and by folder, and every way in which it can be wrong.
 * SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "formats/shards.h"

static char dir[64];

static const char *at(const char *name)
{
    static char path[4][160];
    static int k;
    k = (k + 1) % 4;
    snprintf(path[k], sizeof path[k], "%s/%s", dir, name);
    return path[k];
}

/* Tensors named by one letter each, [2] F32 with the letter's code and its successor. */
static void write_file(const char *file, const char *letters)
{
    himmel_error err = {0};
    static float v[26][2];
    hm_st_writer *w = hm_st_writer_new();
    for (const char *c = letters; *c; c++) {
        v[*c - 'a'][0] = (float)*c, v[*c - 'a'][1] = (float)*c + 1;
        CHECK(!hm_st_add(w, (char[]){*c, 0}, HM_F32, HM_DIMS(2), v[*c - 'a'], &err), "%s", err.message);
    }
    CHECK(!hm_st_write(w, at(file), &err), "%s", err.message);
    hm_st_writer_free(w);
}

static void write_index(const char *text)
{
    CHECK(!hm_write_file(at("model.safetensors.index.json"), text, strlen(text), NULL), "cannot write");
}

/* Opening fails with that code and a sentence that has part in it. */
static void refused(const char *path, himmel_status code, const char *part)
{
    himmel_error err = {0};
    hm_st *st = NULL;
    const himmel_status rc = hm_st_open(&st, path, &err);
    CHECK(rc == code && !st && strstr(err.message, part), "%d, not %d \"%s\": %s", (int)rc, (int)code, part, err.message);
    hm_st_close(st);
}

static void good(const char *path, size_t files)
{
    himmel_error err = {0};
    hm_st *st;
    CHECK(!hm_st_open(&st, path, &err), "%s", err.message);
    if (!st) return;
    CHECK(hm_st_count(st) == 4 && hm_st_n_files(st) == files, "%zu tensors in %zu files", hm_st_count(st), hm_st_n_files(st));
    for (char c = 'a'; c <= 'd'; c++) {
        const hm_tensor *t = hm_st_find(st, (char[]){c, 0});
        CHECK(t && hm_numel(t) == 2 && ((const float *)t->data)[0] == (float)c && ((const float *)t->data)[1] == (float)c + 1, "tensor %c", c);
    }
    CHECK(!hm_st_find(st, "e"), "what is not there");
    CHECK(!strncmp(hm_st_file(st, files - 1), dir, strlen(dir)), "%s", hm_st_file(st, files - 1));
    hm_st_close(st);
}

#define A "\"model-00001-of-00002.safetensors\""
#define B "\"model-00002-of-00002.safetensors\""
static const char index_text[] = "{\"metadata\":{},\"weight_map\":{\"a\":" A ",\"c\":" B ",\"b\":" A ",\"d\":" B "}}";

static void test_good(void)
{
    write_file("model-00001-of-00002.safetensors", "ab");
    write_file("model-00002-of-00002.safetensors", "dc");
    refused(dir, HIMMEL_EINVAL, "2 files of weights and 0 indexes");
    write_index(index_text);
    good(at("model.safetensors.index.json"), 3);
    good(dir, 3);
    mkdir(at("one"), 0777);
    refused(at("one"), HIMMEL_EINVAL, "0 files of weights and 0 indexes");
    write_file("one/all.safetensors", "abcd");
    good(at("one"), 1);
    CHECK(hm_st_names_weights(dir) && hm_st_names_weights("x.gguf") && hm_st_names_weights("a/b.safetensors") &&
              hm_st_names_weights("model.safetensors.index.json") && !hm_st_names_weights("spiece.model"), "names");
}

static void test_bad(void)
{
    const char *index = at("model.safetensors.index.json");
    char keep[160];
    snprintf(keep, sizeof keep, "%s", index);
    static const struct { const char *text; himmel_status code; const char *part; } bad[] = {
        {"", HIMMEL_EFORMAT, "index.json"},
        {"[]", HIMMEL_EFORMAT, "no \"weight_map\""},
        {"{\"weight_map\":{}}", HIMMEL_EFORMAT, "no \"weight_map\""},
        {"{\"weight_map\":{\"a\":1}}", HIMMEL_EFORMAT, "tensor \"a\" is said to be in \"\""},
        {"{\"weight_map\":{\"a\":\"../x.safetensors\"}}", HIMMEL_EFORMAT, "\"../x.safetensors\", which names no"},
        {"{\"weight_map\":{\"a\":\"/etc/x.safetensors\"}}", HIMMEL_EFORMAT, "names no safetensors file beside"},
        {"{\"weight_map\":{\"a\":\"x.bin\"}}", HIMMEL_EFORMAT, "\"x.bin\", which names no"},
        {"{\"weight_map\":{\"a\":" A ",\"a\":" A "}}", HIMMEL_EFORMAT, "duplicate"},
        {"{\"weight_map\":{\"a\":" A ",\"b\":" A ",\"c\":" B "}}", HIMMEL_EFORMAT, "tensor \"d\" of model-00002-of-00002.safetensors is not in the index"},
        {"{\"weight_map\":{\"a\":" A ",\"b\":" A ",\"c\":" B ",\"d\":" B ",\"e\":" B "}}", HIMMEL_EFORMAT,
         "tensor \"e\" is missing in its shard model-00002-of-00002.safetensors"},
        {"{\"weight_map\":{\"a\":" A ",\"b\":" A ",\"c\":" B ",\"d\":" B ",\"e\":\"third.safetensors\"}}", HIMMEL_EIO,
         "shard 3 of 3 is missing: third.safetensors is not beside the index"}};
    for (size_t i = 0; i < HM_COUNT(bad); i++) {
        write_index(bad[i].text);
        refused(keep, bad[i].code, bad[i].part);
    }
    write_index(index_text);
    write_file("model-00002-of-00002.safetensors", "bcd");
    refused(keep, HIMMEL_EFORMAT, "tensor \"b\" is there twice, in model-00001-of-00002.safetensors and in model-00002-of-00002.safetensors");
    CHECK(!hm_write_file(at("model-00002-of-00002.safetensors"), "no", 2, NULL), "cannot write");
    refused(keep, HIMMEL_EFORMAT, "model-00002-of-00002.safetensors: 2 bytes are too few");
    write_file("model-00002-of-00002.safetensors", "cd");
    good(keep, 3);
    CHECK(!hm_write_file(at("other.safetensors.index.json"), "{}", 2, NULL), "cannot write");
    refused(dir, HIMMEL_EINVAL, "2 indexes");
}

int main(void)
{
    char command[96];
    snprintf(dir, sizeof dir, "/tmp/himmel-shards-XXXXXX");
    CHECK(mkdtemp(dir) != NULL, "no folder");
    test_good();
    test_bad();
    snprintf(command, sizeof command, "rm -r %s", dir);
    CHECK(!system(command), "not cleaned up");
    return CHECK_END();
}
