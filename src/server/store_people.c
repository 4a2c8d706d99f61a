/* store_people.c - the journal's keys, calls and characters.   SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "server/store_internal.h"

himmel_status hm_store_usage(hm_store *s, int64_t account, int64_t since, hm_usage *out, himmel_error *err)
{
    s = s->reader;
    static const char active[] = "SELECT count(*) FROM jobs WHERE account = ?1 AND status < 2 AND ?2 = ?2";
    static const char films[] = "SELECT count(*) FROM jobs WHERE account = ?1 AND created >= ?2";
    static const char seconds[] = "SELECT coalesce(sum(CAST(seconds AS INTEGER)), 0) FROM jobs WHERE account = ?1 AND created >= ?2"
                                  " AND kind = 'video'";
    const char *const sql[] = {active, films, seconds};
    int64_t *const to[] = {&out->active, &out->films, &out->seconds};
    himmel_status rc = HIMMEL_OK;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < HM_COUNT(sql) && !rc; i++) {
        sqlite3_stmt *st = hm_store_sql(s, sql[i]);
        if (st) sqlite3_bind_int64(st, 1, account), sqlite3_bind_int64(st, 2, since);
        rc = hm_store_number(s, st, to[i], err);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- characters ---- */

himmel_status hm_store_add_character(hm_store *s, const hm_character *c, himmel_error *err)
{
    static const char sql[] = "INSERT INTO characters(id, name, account, created) VALUES(?1,?2,?3,?4)";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) {
        sqlite3_bind_text(st, 1, c->id, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 2, c->name, -1, SQLITE_STATIC);
        sqlite3_bind_int64(st, 3, c->account);
        sqlite3_bind_int64(st, 4, c->created);
    }
    const himmel_status rc = hm_store_run(s, st, NULL, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_get_character(hm_store *s, const char *id, int64_t account, hm_character *out, bool *found, himmel_error *err)
{
    s = s->reader;
    static const char sql[] = "SELECT id, name, account, created FROM characters WHERE id = ?1 AND (?2 < 0 OR account = ?2)";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC), sqlite3_bind_int64(st, 2, account);
    const int r = st ? sqlite3_step(st) : SQLITE_ERROR;
    *found = r == SQLITE_ROW;
    if (*found) {
        hm_store_text(st, 0, out->id, sizeof out->id);
        hm_store_text(st, 1, out->name, sizeof out->name);
        out->account = sqlite3_column_int64(st, 2), out->created = sqlite3_column_int64(st, 3);
    }
    const himmel_status rc = *found || r == SQLITE_DONE ? HIMMEL_OK : hm_store_fail(s, err);
    if (st) sqlite3_reset(st), sqlite3_clear_bindings(st);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_next_character(hm_store *s, int64_t account, const char *after, hm_character *out, bool *found, himmel_error *err)
{
    static const char sql[] = "SELECT id FROM characters WHERE id > ?1 AND (?2 < 0 OR account = ?2) ORDER BY id LIMIT 1";
    char id[HM_ID] = "";
    pthread_mutex_lock(&s->reader->lock);
    sqlite3_stmt *st = hm_store_sql(s->reader, sql);
    if (st) sqlite3_bind_text(st, 1, after, -1, SQLITE_STATIC), sqlite3_bind_int64(st, 2, account);
    const int r = st ? sqlite3_step(st) : SQLITE_ERROR;
    if ((*found = r == SQLITE_ROW)) hm_store_text(st, 0, id, sizeof id);
    himmel_status rc = *found || r == SQLITE_DONE ? HIMMEL_OK : hm_store_fail(s->reader, err);
    if (st) sqlite3_reset(st), sqlite3_clear_bindings(st);
    pthread_mutex_unlock(&s->reader->lock);
    return *found ? hm_store_get_character(s, id, account, out, found, err) : rc;
}

himmel_status hm_store_delete_character(hm_store *s, const char *id, himmel_error *err)
{
    return hm_store_by_id(s, "DELETE FROM characters WHERE id = ?1", id, NULL, err);
}

/* ---- keys ---- */

enum { CREATE = 1, READ = 2, ADMIN = 4 };

int64_t hm_store_scopes(const hm_key *k)
{
    return k->create * CREATE | k->read * READ | k->admin * ADMIN;
}

himmel_status hm_store_add_key(hm_store *s, const hm_key *k, const uint8_t hash[32], himmel_error *err)
{
    static const char sql[] = "INSERT INTO keys(name, hash, prefix, scopes, created, expires, max_films, max_seconds,"
                              " max_concurrent) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9) ON CONFLICT(name) DO NOTHING";
    bool added = false;
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) {
        const int64_t numbers[] = {hm_store_scopes(k), k->created, k->expires, k->max_films,
                                   k->max_seconds, k->max_concurrent};
        sqlite3_bind_text(st, 1, k->name, -1, SQLITE_STATIC);
        sqlite3_bind_blob(st, 2, hash, 32, SQLITE_STATIC);
        sqlite3_bind_text(st, 3, k->prefix, -1, SQLITE_STATIC);
        for (int i = 0; i < (int)HM_COUNT(numbers); i++) sqlite3_bind_int64(st, 4 + i, numbers[i]);
    }
    himmel_status rc = hm_store_run(s, st, &added, err);
    pthread_mutex_unlock(&s->lock);
    if (!rc && !added) rc = hm_fail(err, HIMMEL_EINVAL, "%s: there is a key of the name %s already", s->path, k->name);
    return rc;
}

#define KEY_COLUMNS "id, name, prefix, scopes, created, expires, revoked, max_films, max_seconds, max_concurrent"

static void read_key(sqlite3_stmt *st, hm_key *k)
{
    const int scopes = sqlite3_column_int(st, 3);
    *k = (hm_key){.id = sqlite3_column_int64(st, 0), .create = scopes & CREATE, .read = scopes & READ, .admin = scopes & ADMIN,
                  .created = sqlite3_column_int64(st, 4), .expires = sqlite3_column_int64(st, 5),
                  .revoked = sqlite3_column_int(st, 6), .max_films = sqlite3_column_int(st, 7),
                  .max_seconds = sqlite3_column_int(st, 8), .max_concurrent = sqlite3_column_int(st, 9)};
    hm_store_text(st, 1, k->name, sizeof k->name);
    hm_store_text(st, 2, k->prefix, sizeof k->prefix);
}

himmel_status hm_store_find_key(hm_store *s, const uint8_t hash[32], hm_key *out, bool *found, himmel_error *err)
{
    s = s->reader;
    static const char sql[] = "SELECT " KEY_COLUMNS " FROM keys WHERE hash = ?1";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_blob(st, 1, hash, 32, SQLITE_STATIC);
    const int r = st ? sqlite3_step(st) : SQLITE_ERROR;
    *found = r == SQLITE_ROW;
    if (*found) read_key(st, out);
    const himmel_status rc = *found || r == SQLITE_DONE ? HIMMEL_OK : hm_store_fail(s, err);
    if (st) sqlite3_reset(st), sqlite3_clear_bindings(st);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_keys(hm_store *s, hm_key **out, size_t *n, himmel_error *err)
{
    s = s->reader;
    static const char count[] = "SELECT count(*) FROM keys", sql[] = "SELECT " KEY_COLUMNS " FROM keys ORDER BY id LIMIT ?1";
    int64_t most = 0;
    *out = NULL, *n = 0;
    pthread_mutex_lock(&s->lock);
    himmel_status rc = hm_store_number(s, hm_store_sql(s, count), &most, err);
    hm_key *keys = rc ? NULL : calloc((size_t)most + 1, sizeof *keys);
    sqlite3_stmt *st = keys ? hm_store_sql(s, sql) : NULL;
    if (!rc && !st) rc = keys ? hm_store_fail(s, err) : hm_fail(err, HIMMEL_ENOMEM, "out of memory for a list of keys");
    if (!rc) {
        sqlite3_bind_int64(st, 1, most);
        int r;
        while ((r = sqlite3_step(st)) == SQLITE_ROW) read_key(st, &keys[(*n)++]);
        if (r != SQLITE_DONE) rc = hm_store_fail(s, err);
        sqlite3_reset(st), sqlite3_clear_bindings(st);
    }
    pthread_mutex_unlock(&s->lock);
    if (rc) free(keys);
    else *out = keys;
    return rc;
}

himmel_status hm_store_revoke_key(hm_store *s, const char *name, bool *changed, himmel_error *err)
{
    static const char code[] = "UPDATE invitations SET revoked = 1 WHERE name = ?1 AND revoked = 0";
    static const char keys[] = "UPDATE keys SET revoked = 1 WHERE revoked = 0 AND (name = ?1 OR (invitation > 0 AND invitation ="
                               " (SELECT id FROM invitations WHERE name = ?1)))";
    const char *const sql[] = {code, keys};
    *changed = false;
    pthread_mutex_lock(&s->lock);
    himmel_status rc = hm_store_begin(s, err);
    const bool begun = !rc;
    for (size_t i = 0; i < HM_COUNT(sql) && !rc; i++) {
        bool one = false;
        sqlite3_stmt *st = hm_store_sql(s, sql[i]);
        if (st) sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
        rc = hm_store_run(s, st, &one, err);
        *changed |= one;
    }
    if (begun) rc = hm_store_end(s, rc, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_over(hm_store *s, int64_t now, int64_t after, int64_t *account, himmel_error *err)
{
    static const char sql[] = "SELECT coalesce(min(account), 0) FROM jobs WHERE status < 2 AND account > ?2 AND EXISTS (SELECT 1 FROM keys"
                              " WHERE keys.id = account AND (revoked OR (expires > 0 AND expires <= ?1)))";
    s = s->reader;
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_int64(st, 1, now), sqlite3_bind_int64(st, 2, after);
    const himmel_status rc = hm_store_number(s, st, account, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_revoked_jobs(hm_store *s, int64_t *n, himmel_error *err)
{
    static const char sql[] = "SELECT count(*) FROM jobs WHERE status < 2 AND account IN (SELECT id FROM keys WHERE revoked)";
    s = s->reader;
    pthread_mutex_lock(&s->lock);
    const himmel_status rc = hm_store_number(s, hm_store_sql(s, sql), n, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_cancel_revoked(hm_store *s, const char *message, himmel_error *err)
{
    static const char sql[] = "UPDATE jobs SET status = 3, completed = CAST(strftime('%s', 'now') AS INTEGER), error_code = 'cancelled', error_message = ?1"
                              " WHERE status < 2 AND account IN (SELECT id FROM keys WHERE revoked)";
    return hm_store_by_id(s, sql, message, NULL, err);
}

himmel_status hm_store_key_id(hm_store *s, const char *name, int64_t *id, himmel_error *err)
{
    static const char sql[] = "SELECT coalesce((SELECT id FROM keys WHERE name = ?1), -1)";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    himmel_status rc = hm_store_number(s, st, id, err);
    pthread_mutex_unlock(&s->lock);
    return rc || *id >= 0 ? rc : hm_fail(err, HIMMEL_EINVAL, "%s: there is no key %.64s", s->path, name);
}

/* ---- calls ---- */

himmel_status hm_store_log(hm_store *s, const hm_call_record *calls, size_t n, himmel_error *err)
{
    static const char sql[] = "INSERT INTO calls(at, account, method, path, status, address) VALUES(?1,?2,?3,?4,?5,?6)";
    pthread_mutex_lock(&s->lock);
    himmel_status rc = hm_store_begin(s, err);
    const bool begun = !rc;
    for (size_t i = 0; i < n && !rc; i++) {
        sqlite3_stmt *st = hm_store_sql(s, sql);
        const hm_call_record *c = &calls[i];
        if (st) {
            sqlite3_bind_int64(st, 1, c->at);
            sqlite3_bind_int64(st, 2, c->account);
            sqlite3_bind_text(st, 3, c->method, -1, SQLITE_STATIC);
            sqlite3_bind_text(st, 4, c->path, -1, SQLITE_STATIC);
            sqlite3_bind_int(st, 5, c->status);
            sqlite3_bind_text(st, 6, c->address, -1, SQLITE_STATIC);
        }
        rc = hm_store_run(s, st, NULL, err);
    }
    if (begun) rc = hm_store_end(s, rc, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_calls(hm_store *s, int64_t account, int limit, hm_call_record *out, size_t *n, himmel_error *err)
{
    static const char sql[] = "SELECT at, method, path, status, address FROM calls WHERE account = ?1 ORDER BY at DESC, rowid DESC LIMIT ?2";
    s = s->reader;
    *n = 0;
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_int64(st, 1, account), sqlite3_bind_int(st, 2, limit);
    int r = st ? sqlite3_step(st) : SQLITE_ERROR;
    for (; r == SQLITE_ROW; r = sqlite3_step(st)) {
        hm_call_record *c = &out[(*n)++];
        *c = (hm_call_record){.at = sqlite3_column_int64(st, 0), .account = account, .status = sqlite3_column_int(st, 3)};
        hm_store_text(st, 1, c->method, sizeof c->method);
        hm_store_text(st, 2, c->path, sizeof c->path);
        hm_store_text(st, 4, c->address, sizeof c->address);
    }
    const himmel_status rc = r == SQLITE_DONE ? HIMMEL_OK : hm_store_fail(s, err);
    if (st) sqlite3_reset(st), sqlite3_clear_bindings(st);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_forget_calls(hm_store *s, int64_t before, himmel_error *err)
{
    static const char sql[] = "DELETE FROM calls WHERE at < ?1";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_int64(st, 1, before);
    const himmel_status rc = hm_store_run(s, st, NULL, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_addresses(hm_store *s, int64_t account, int64_t since, int64_t *n, himmel_error *err)
{
    s = s->reader;
    static const char sql[] = "SELECT count(DISTINCT address) FROM calls WHERE account = ?1 AND at >= ?2";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_int64(st, 1, account), sqlite3_bind_int64(st, 2, since);
    const himmel_status rc = hm_store_number(s, st, n, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}
