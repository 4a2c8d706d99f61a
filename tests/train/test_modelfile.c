/* test_modelfile.c - what weights have behind them goes on from one run to the next.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "train/modelfile.h"

static void test_union(void)
{
    static const struct { const char *before, *now, *all; } rows[] = {
        {"", "a\nb\n", "a\nb\n"}, {"a\n", "", "a\n"}, {"a\nb\n", "b\nc\n", "a\nb\nc\n"}, {"ab\n", "a\nb\n", "ab\na\nb\n"}};
    for (size_t i = 0; i < HM_COUNT(rows); i++) {
        char *all = hm_manifest_union(rows[i].before, strdup(rows[i].now));
        CHECK(all && !strcmp(all, rows[i].all), "row %zu: %s", i, all ? all : "NULL");
        free(all);
    }
    CHECK(!hm_manifest_union("a\n", NULL), "out of memory is passed on");
}

static himmel_status history(hm_history *h, const char *training, const char *manifest, himmel_error *err)
{
    char path[] = "/tmp/himmel-history-XXXXXX", kept[64] = "";
    const int fd = mkstemp(path);
    CHECK(fd >= 0 && !close(fd), "%s", path);
    hm_st_writer *w = hm_st_writer_new();
    const float one = 1;
    himmel_status rc = hm_st_add(w, "x", HM_F32, 1, (int64_t[]){1}, &one, err);
    if (!rc && training) rc = hm_st_add_meta(w, "himmel.training", training, err);
    if (!rc && manifest) rc = hm_st_add_meta(w, "himmel.data_manifest", manifest, err);
    if (!rc) rc = hm_st_write(w, path, err);
    CHECK(!rc, "%s", err->message);
    hm_st_writer_free(w);
    hm_st *st = NULL;
    CHECK(!hm_st_open(&st, path, err), "%s", err->message);
    rc = hm_history_read(h, st, err);
    if (!rc) snprintf(kept, sizeof kept, "%s", h->manifest);
    CHECK(rc || !strcmp(kept, manifest ? manifest : ""), "%s", kept);
    hm_st_close(st);
    unlink(path);
    return rc;
}

static void test_history(void)
{
    himmel_error err = {0};
    hm_history h;
    CHECK(!history(&h, NULL, NULL, &err) && h.steps == 0 && h.samples == 0 && h.seconds == 0, "nothing said");
    CHECK(!history(&h, "{\"steps\":4000,\"samples\":47467,\"seconds\":2040}", "{}\n", &err), "%s", err.message);
    CHECK(h.steps == 4000 && h.samples == 47467 && h.seconds == 2040, "%lld steps", (long long)h.steps);
    CHECK(history(&h, "{\"steps\":-1}", NULL, &err) == HIMMEL_EFORMAT && strstr(err.message, "steps"), "%s", err.message);
    CHECK(history(&h, "not JSON", NULL, &err) == HIMMEL_EFORMAT, "%s", err.message);
}

int main(void)
{
    test_union();
    test_history();
    return CHECK_END();
}
