/* store_internal.h - what the files of the journal share.   SPDX-License-Identifier: MIT */
#ifndef HM_STORE_INTERNAL_H
#define HM_STORE_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>

#include "server/store.h"

struct hm_store {
    sqlite3 *db;
    pthread_mutex_t lock; /* held from binding to resetting: statements are shared */
    char path[4096];
    struct {
        const char *sql; /* found by address: every statement is one static string */
        sqlite3_stmt *stmt;
    } kept[64];
    size_t n_kept;
    hm_store *reader;    /* a second connection: reading never waits for a write to reach the disk. NULL in itself */
};

himmel_status hm_store_fail(hm_store *s, himmel_error *err);
/* A transaction. The end is COMMIT, or after an error ROLLBACK, which leaves the error's sentence alone. */
himmel_status hm_store_begin(hm_store *s, himmel_error *err);
himmel_status hm_store_end(hm_store *s, himmel_status rc, himmel_error *err);
sqlite3_stmt *hm_store_sql(hm_store *s, const char *sql);
himmel_status hm_store_run(hm_store *s, sqlite3_stmt *st, bool *changed, himmel_error *err);
/* sql, whose only parameter is an id, under the lock. changed as above. */
himmel_status hm_store_by_id(hm_store *s, const char *sql, const char *id, bool *changed, himmel_error *err);
himmel_status hm_store_number(hm_store *s, sqlite3_stmt *st, int64_t *out, himmel_error *err);
int64_t hm_store_scopes(const hm_key *k);
void hm_store_text(sqlite3_stmt *st, int column, char *out, size_t cap);

#endif
