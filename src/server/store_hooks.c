/* store_hooks.c - the journal's webhooks and what is still to be delivered, and invitations.   SPDX-License-Identifier: MIT
 * A trigger (store.c) writes deliveries in the transaction that ends a film: none can be lost between the two. */
#include <stdlib.h>
#include <string.h>

#include "server/store_internal.h"

himmel_status hm_store_add_hook(hm_store *s, const hm_hook *h, himmel_error *err)
{
    static const char sql[] = "INSERT INTO hooks(url, secret, account, created) VALUES(?1,?2,?3,?4)";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) {
        sqlite3_bind_text(st, 1, h->url, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 2, h->secret, -1, SQLITE_STATIC);
        sqlite3_bind_int64(st, 3, h->account);
        sqlite3_bind_int64(st, 4, h->created);
    }
    const himmel_status rc = hm_store_run(s, st, NULL, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_next_hook(hm_store *s, int64_t after, hm_hook *out, bool *found, himmel_error *err)
{
    static const char sql[] = "SELECT id, url, secret, account, created, (SELECT count(*) FROM deliveries d WHERE d.hook = h.id)"
                              " FROM hooks h WHERE id > ?1 ORDER BY id LIMIT 1";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_int64(st, 1, after);
    const int r = st ? sqlite3_step(st) : SQLITE_ERROR;
    *found = r == SQLITE_ROW;
    if (*found) {
        *out = (hm_hook){.id = sqlite3_column_int64(st, 0), .account = sqlite3_column_int64(st, 3),
                         .created = sqlite3_column_int64(st, 4), .waiting = sqlite3_column_int64(st, 5)};
        hm_store_text(st, 1, out->url, sizeof out->url);
        hm_store_text(st, 2, out->secret, sizeof out->secret);
    }
    const himmel_status rc = *found || r == SQLITE_DONE ? HIMMEL_OK : hm_store_fail(s, err);
    if (st) sqlite3_reset(st), sqlite3_clear_bindings(st);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_remove_hook(hm_store *s, int64_t id, bool *changed, himmel_error *err)
{
    static const char waiting[] = "DELETE FROM deliveries WHERE hook = ?1", hook[] = "DELETE FROM hooks WHERE id = ?1";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, waiting);
    if (st) sqlite3_bind_int64(st, 1, id);
    himmel_status rc = hm_store_run(s, st, NULL, err);
    st = rc ? NULL : hm_store_sql(s, hook);
    if (st) sqlite3_bind_int64(st, 1, id), rc = hm_store_run(s, st, changed, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_due(hm_store *s, int64_t now, hm_delivery *out, bool *found, himmel_error *err)
{
    static const char sql[] = "SELECT d.id, d.job, d.type, d.created, d.attempts, h.url, h.secret FROM deliveries d"
                              " JOIN hooks h ON h.id = d.hook WHERE d.due <= ?1 ORDER BY d.due LIMIT 1";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_int64(st, 1, now);
    const int r = st ? sqlite3_step(st) : SQLITE_ERROR;
    *found = r == SQLITE_ROW;
    if (*found) {
        hm_store_text(st, 0, out->id, sizeof out->id);
        hm_store_text(st, 1, out->job, sizeof out->job);
        hm_store_text(st, 2, out->type, sizeof out->type);
        hm_store_text(st, 5, out->url, sizeof out->url);
        hm_store_text(st, 6, out->secret, sizeof out->secret);
        out->created = sqlite3_column_int64(st, 3);
        out->attempts = sqlite3_column_int(st, 4);
    }
    const himmel_status rc = *found || r == SQLITE_DONE ? HIMMEL_OK : hm_store_fail(s, err);
    if (st) sqlite3_reset(st), sqlite3_clear_bindings(st);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_delivered(hm_store *s, const char *id, int64_t due, himmel_error *err)
{
    static const char gone[] = "DELETE FROM deliveries WHERE id = ?1";
    static const char later[] = "UPDATE deliveries SET due = ?2, attempts = attempts + 1 WHERE id = ?1";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, due ? later : gone);
    if (st) sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
    if (st && due) sqlite3_bind_int64(st, 2, due);
    const himmel_status rc = hm_store_run(s, st, NULL, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- invitations ---- */

himmel_status hm_store_add_invitation(hm_store *s, const hm_key *k, int uses, int64_t key_seconds, const uint8_t hash[32],
                                      himmel_error *err)
{
    static const char sql[] = "INSERT INTO invitations(name, hash, scopes, created, expires, uses, key_seconds, max_films, max_seconds,"
                              " max_concurrent) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10) ON CONFLICT(name) DO NOTHING";
    bool added = false;
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) {
        const int64_t numbers[] = {hm_store_scopes(k), k->created, k->expires, uses, key_seconds, k->max_films, k->max_seconds,
                                   k->max_concurrent};
        sqlite3_bind_text(st, 1, k->name, -1, SQLITE_STATIC);
        sqlite3_bind_blob(st, 2, hash, 32, SQLITE_STATIC);
        for (int i = 0; i < (int)HM_COUNT(numbers); i++) sqlite3_bind_int64(st, 3 + i, numbers[i]);
    }
    const himmel_status rc = hm_store_run(s, st, &added, err);
    pthread_mutex_unlock(&s->lock);
    if (!rc && !added) return hm_fail(err, HIMMEL_EINVAL, "%s: there is an invitation of the name %s already", s->path, k->name);
    return rc;
}

/* One use less, and the key's row, in one transaction. Its name is the invitation's with a number; if there is such a key already,
 * also the first letters of the new one. */
himmel_status hm_store_redeem(hm_store *s, const uint8_t invitation[32], int64_t now, const char *prefix, const uint8_t hash[32],
                              bool *done, himmel_error *err)
{
    static const char use[] = "UPDATE invitations SET uses = uses - 1, redeemed = redeemed + 1 WHERE hash = ?1 AND uses > 0 AND"
                              " revoked = 0 AND (expires = 0 OR expires > ?2)";
    static const char key[] = "INSERT INTO keys(name, hash, prefix, scopes, created, expires, max_films, max_seconds, max_concurrent,"
                              " invitation) SELECT name || '-' || redeemed || CASE WHEN EXISTS(SELECT 1 FROM keys WHERE"
                              " keys.name = invitations.name || '-' || redeemed) THEN '-' || ?4 ELSE '' END, ?3, ?4, scopes, ?2, CASE WHEN key_seconds > 0 THEN"
                              " ?2 + key_seconds ELSE 0 END, max_films, max_seconds, max_concurrent, id FROM invitations WHERE hash = ?1";
    const char *const sql[] = {use, key};
    himmel_status rc = HIMMEL_OK;
    *done = true;
    pthread_mutex_lock(&s->lock);
    if (sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) rc = hm_store_fail(s, err);
    for (size_t i = 0; i < HM_COUNT(sql) && !rc && *done; i++) {
        sqlite3_stmt *st = hm_store_sql(s, sql[i]);
        if (st) {
            sqlite3_bind_blob(st, 1, invitation, 32, SQLITE_STATIC);
            sqlite3_bind_int64(st, 2, now);
            if (i) sqlite3_bind_blob(st, 3, hash, 32, SQLITE_STATIC), sqlite3_bind_text(st, 4, prefix, -1, SQLITE_STATIC);
        }
        rc = hm_store_run(s, st, done, err);
    }
    if (!rc && *done && sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) rc = hm_store_fail(s, err);
    if (rc || !*done) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_next_invitation(hm_store *s, int64_t after, hm_invitation *out, bool *found, himmel_error *err)
{
    static const char sql[] = "SELECT id, name, expires, uses, redeemed, revoked FROM invitations WHERE id > ?1 ORDER BY id LIMIT 1";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_int64(st, 1, after);
    const int r = st ? sqlite3_step(st) : SQLITE_ERROR;
    *found = r == SQLITE_ROW;
    if (*found) {
        *out = (hm_invitation){.id = sqlite3_column_int64(st, 0), .expires = sqlite3_column_int64(st, 2), .uses = sqlite3_column_int(st, 3),
                               .redeemed = sqlite3_column_int(st, 4), .revoked = sqlite3_column_int(st, 5)};
        hm_store_text(st, 1, out->name, sizeof out->name);
    }
    const himmel_status rc = *found || r == SQLITE_DONE ? HIMMEL_OK : hm_store_fail(s, err);
    if (st) sqlite3_reset(st), sqlite3_clear_bindings(st);
    pthread_mutex_unlock(&s->lock);
    return rc;
}
