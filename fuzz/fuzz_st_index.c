/* fuzz_st_index.c - any bytes as the index of two shards with tensors a, b and c; what is accepted names files beside it only
 * and finds every tensor once.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "formats/st_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A file of the tensors named by letters, one F32 each. */
static hm_st *shard(const char *header, uint8_t *room)
{
    hm_st *st = NULL;
    const size_t n = strlen(header);
    memset(room, 0, 8 + n + 8);
    room[0] = (uint8_t)n;
    memcpy(room + 8, header, n);
    if (hm_st_parse(&st, room, 8 + n + (strstr(header, "\"b\"") ? 8 : 4), "shard", NULL)) abort();
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t room[2][256];
    st_index ix;
    himmel_error err = {0};
    if (hm_st_index_parse(&ix, (const char *)data, len, "fuzz", &err)) {
        if (ix.root || ix.file || !err.message[0]) abort(); /* a refusal leaves nothing and says why */
        return 0;
    }
    for (size_t i = 0; i < ix.n; i++)
        if (strchr(ix.file[i], '/') || ix.file[i][0] == '.' || (i && strcmp(ix.file[i - 1], ix.file[i]) >= 0)) abort();
    hm_st *st = hm_st_new("fuzz");
    if (ix.n == 2 && st && (st->shard = calloc(2, sizeof *st->shard))) {
        st->n_shards = 2;
        st->shard[0] = shard("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[4,8]}}", room[0]);
        st->shard[1] = shard("{\"c\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", room[1]);
        if (!hm_st_join(st, &ix, &err)) {
            if (hm_st_count(st) != 3 || !hm_st_find(st, "a") || !hm_st_find(st, "b") || !hm_st_find(st, "c") || json_object_size(ix.map) != 3) abort();
        } else if (!err.message[0]) abort();
    }
    hm_st_close(st);
    hm_st_index_free(&ix);
    return 0;
}
