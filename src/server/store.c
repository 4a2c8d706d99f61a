/* store.c - the journal's jobs.   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/store_internal.h"

enum { VERSION = 2 };

static const char schema[] =
    "CREATE TABLE jobs(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, batch TEXT NOT NULL,"
    " status INTEGER NOT NULL, account INTEGER NOT NULL, priority INTEGER NOT NULL, created INTEGER NOT NULL,"
    " started INTEGER, completed INTEGER, attempts INTEGER NOT NULL DEFAULT 0, model TEXT NOT NULL, size TEXT NOT NULL,"
    " seconds TEXT NOT NULL, remixed_from TEXT NOT NULL, prompt TEXT, request TEXT NOT NULL, error_code TEXT NOT NULL DEFAULT '',"
    " error_message TEXT, idem TEXT, idem_hash TEXT NOT NULL DEFAULT '');"
    "CREATE INDEX jobs_status ON jobs(status, priority);"
    "CREATE INDEX jobs_account ON jobs(account, started);"
    "CREATE UNIQUE INDEX jobs_idem ON jobs(account, idem) WHERE idem IS NOT NULL;"
    "CREATE TABLE characters(id TEXT PRIMARY KEY, name TEXT NOT NULL, account INTEGER NOT NULL, created INTEGER NOT NULL);"
    "CREATE TABLE keys(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, hash BLOB NOT NULL UNIQUE,"
    " prefix TEXT NOT NULL, scopes INTEGER NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,"
    " revoked INTEGER NOT NULL DEFAULT 0, max_films INTEGER NOT NULL, max_seconds INTEGER NOT NULL,"
    " max_concurrent INTEGER NOT NULL);"
    "CREATE TABLE calls(at INTEGER NOT NULL, account INTEGER NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,"
    " status INTEGER NOT NULL, address TEXT NOT NULL);"
    "CREATE INDEX calls_account ON calls(account, at);"
    "PRAGMA user_version = 1;";

static const char schema2[] =
    "CREATE TABLE hooks(id INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT NOT NULL, secret TEXT NOT NULL, account INTEGER NOT NULL,"
    " created INTEGER NOT NULL);"
    "CREATE TABLE deliveries(id TEXT PRIMARY KEY, hook INTEGER NOT NULL, job TEXT NOT NULL, type TEXT NOT NULL,"
    " created INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, due INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX deliveries_due ON deliveries(due);"
    "CREATE TRIGGER film_ends AFTER UPDATE OF status ON jobs WHEN NEW.kind = 'video' AND OLD.status < 2 AND NEW.status >= 2 BEGIN"
    " INSERT INTO deliveries(id, hook, job, type, created) SELECT 'evt_' || lower(hex(randomblob(16))), id, NEW.id,"
    " CASE NEW.status WHEN 2 THEN 'video.completed' ELSE 'video.failed' END, NEW.completed FROM hooks"
    " WHERE account < 0 OR account = NEW.account; END;"
    "CREATE TABLE invitations(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, hash BLOB NOT NULL UNIQUE,"
    " scopes INTEGER NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL, uses INTEGER NOT NULL,"
    " redeemed INTEGER NOT NULL DEFAULT 0, revoked INTEGER NOT NULL DEFAULT 0, key_seconds INTEGER NOT NULL,"
    " max_films INTEGER NOT NULL, max_seconds INTEGER NOT NULL, max_concurrent INTEGER NOT NULL);"
    "ALTER TABLE keys ADD COLUMN invitation INTEGER NOT NULL DEFAULT 0;"
    "PRAGMA user_version = 2;";

himmel_status hm_store_fail(hm_store *s, himmel_error *err)
{
    return hm_fail(err, HIMMEL_EIO, "%s: %s", s->path, sqlite3_errmsg(s->db));
}

/* Compiled once, kept; NULL on failure. The caller holds the lock. */
sqlite3_stmt *hm_store_sql(hm_store *s, const char *sql)
{
    for (size_t i = 0; i < s->n_kept; i++)
        if (s->kept[i].sql == sql) return s->kept[i].stmt;
    sqlite3_stmt *st = NULL;
    if (s->n_kept >= HM_COUNT(s->kept) || sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL) != SQLITE_OK)
        return NULL;
    s->kept[s->n_kept].sql = sql;
    s->kept[s->n_kept++].stmt = st;
    return st;
}

static himmel_status exec(hm_store *s, const char *sql, himmel_error *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? HIMMEL_OK : hm_store_fail(s, err);
}

himmel_status hm_store_begin(hm_store *s, himmel_error *err)
{
    return exec(s, "BEGIN IMMEDIATE", err);
}

himmel_status hm_store_end(hm_store *s, himmel_status rc, himmel_error *err)
{
    if (!rc) rc = exec(s, "COMMIT", err);
    if (rc) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

/* Step a statement that changes something; *changed (may be NULL): it did. Resets it. */
himmel_status hm_store_run(hm_store *s, sqlite3_stmt *st, bool *changed, himmel_error *err)
{
    const bool ok = st && sqlite3_step(st) == SQLITE_DONE;
    const himmel_status rc = ok ? HIMMEL_OK : hm_store_fail(s, err);
    if (changed) *changed = ok && sqlite3_changes(s->db) > 0;
    if (st) sqlite3_reset(st), sqlite3_clear_bindings(st);
    return rc;
}

static himmel_status set_up(hm_store *s, himmel_error *err)
{
    himmel_status rc = exec(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;", err);
    sqlite3_busy_timeout(s->db, 10000); /* himmel keys writes beside a running server */
    sqlite3_stmt *st = NULL;
    if (!rc && sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK) rc = hm_store_fail(s, err);
    const int version = !rc && sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int(st, 0) : 0;
    sqlite3_finalize(st);
    if (!rc && (version < 0 || version > VERSION))
        rc = hm_fail(err, HIMMEL_EIO, "%s: journal of version %d, this himmel reads version %d", s->path, version, VERSION);
    if (rc || version == VERSION) return rc;
    rc = hm_store_begin(s, err);
    if (rc) return rc;
    if (version < 1) rc = exec(s, schema, err);
    if (!rc) rc = exec(s, schema2, err);
    return hm_store_end(s, rc, err);
}

static himmel_status open_one(hm_store **out, const char *dir, himmel_error *err)
{
    *out = NULL;
    hm_store *s = calloc(1, sizeof *s);
    if (!s) return hm_fail(err, HIMMEL_ENOMEM, "out of memory for the journal");
    pthread_mutex_init(&s->lock, NULL);
    himmel_status rc = HIMMEL_OK;
    if ((size_t)snprintf(s->path, sizeof s->path, "%s/journal.db", dir) >= sizeof s->path)
        rc = hm_fail(err, HIMMEL_EINVAL, "%.100s...: the name of the data folder is too long", dir);
    else if (sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL) != SQLITE_OK)
        rc = hm_fail(err, HIMMEL_EIO, "%s: %s", s->path, s->db ? sqlite3_errmsg(s->db) : "out of memory");
    if (!rc) rc = set_up(s, err);
    if (rc) {
        hm_store_close(s);
        return rc;
    }
    *out = s;
    return HIMMEL_OK;
}

himmel_status hm_store_open(hm_store **out, const char *dir, himmel_error *err)
{
    himmel_status rc = open_one(out, dir, err);
    if (!rc) rc = open_one(&(*out)->reader, dir, err);
    if (rc) hm_store_close(*out), *out = NULL;
    return rc;
}

void hm_store_close(hm_store *s)
{
    if (!s) return;
    hm_store_close(s->reader);
    for (size_t i = 0; i < s->n_kept; i++) sqlite3_finalize(s->kept[i].stmt);
    sqlite3_close(s->db);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- rows ---- */

void hm_job_deinit(hm_job *j)
{
    free(j->prompt);
    free(j->request);
    free(j->error_message);
    *j = (hm_job){0};
}

void hm_jobs_free(hm_job *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++) hm_job_deinit(&jobs[i]);
    free(jobs);
}

void hm_store_text(sqlite3_stmt *st, int column, char *out, size_t cap)
{
    const char *t = (const char *)sqlite3_column_text(st, column);
    snprintf(out, cap, "%s", t ? t : "");
}

static char *text_copy(sqlite3_stmt *st, int column)
{
    const char *t = (const char *)sqlite3_column_text(st, column);
    return t ? strdup(t) : NULL;
}

#define JOB_COLUMNS \
    "seq, id, kind, batch, status, account, priority, created, completed, attempts, model, size, seconds, remixed_from," \
    " prompt, request, error_code, error_message, idem, idem_hash"

static void read_job(sqlite3_stmt *st, hm_job *j)
{
    *j = (hm_job){.seq = sqlite3_column_int64(st, 0), .status = (hm_job_status)sqlite3_column_int(st, 4),
                  .account = sqlite3_column_int64(st, 5), .priority = sqlite3_column_int(st, 6),
                  .created = sqlite3_column_int64(st, 7), .completed = sqlite3_column_int64(st, 8),
                  .attempts = sqlite3_column_int(st, 9)};
    hm_store_text(st, 1, j->id, sizeof j->id);
    hm_store_text(st, 2, j->kind, sizeof j->kind);
    hm_store_text(st, 3, j->batch, sizeof j->batch);
    hm_store_text(st, 10, j->model, sizeof j->model);
    hm_store_text(st, 11, j->size, sizeof j->size);
    hm_store_text(st, 12, j->seconds, sizeof j->seconds);
    hm_store_text(st, 13, j->remixed_from, sizeof j->remixed_from);
    j->prompt = text_copy(st, 14);
    j->request = text_copy(st, 15);
    hm_store_text(st, 16, j->error_code, sizeof j->error_code);
    j->error_message = text_copy(st, 17);
    hm_store_text(st, 18, j->idem, sizeof j->idem);
    hm_store_text(st, 19, j->idem_hash, sizeof j->idem_hash);
}

/* Step a statement that gives at most one job. Resets it. */
static himmel_status one_job(hm_store *s, sqlite3_stmt *st, hm_job *out, bool *found, himmel_error *err)
{
    const int r = st ? sqlite3_step(st) : SQLITE_ERROR;
    *found = r == SQLITE_ROW;
    if (*found) read_job(st, out);
    const himmel_status rc = *found || r == SQLITE_DONE ? HIMMEL_OK : hm_store_fail(s, err);
    if (st) sqlite3_reset(st), sqlite3_clear_bindings(st);
    return rc;
}

/* One number from a statement. Resets it. */
himmel_status hm_store_number(hm_store *s, sqlite3_stmt *st, int64_t *out, himmel_error *err)
{
    const bool ok = st && sqlite3_step(st) == SQLITE_ROW;
    if (ok) *out = sqlite3_column_int64(st, 0);
    const himmel_status rc = ok ? HIMMEL_OK : hm_store_fail(s, err);
    if (st) sqlite3_reset(st), sqlite3_clear_bindings(st);
    return rc;
}

/* ---- jobs ---- */

static himmel_status insert(hm_store *s, const hm_job *j, himmel_error *err)
{
    static const char sql[] =
        "INSERT INTO jobs(id, kind, batch, status, account, priority, created, model, size, seconds, remixed_from, prompt,"
        " request, idem, idem_hash) VALUES(?1,?2,?3,0,?4,?5,?6,?7,?8,?9,?10,?11,?12,nullif(?13,''),?14)";
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (!st) return hm_store_fail(s, err);
    const char *const text[] = {j->id, j->kind, j->batch, NULL, NULL, NULL, j->model, j->size, j->seconds, j->remixed_from,
                                j->prompt, j->request, j->idem, j->idem_hash};
    for (int i = 0; i < (int)HM_COUNT(text); i++)
        if (text[i]) sqlite3_bind_text(st, i + 1, text[i], -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 4, j->account);
    sqlite3_bind_int(st, 5, j->priority);
    sqlite3_bind_int64(st, 6, j->created);
    return hm_store_run(s, st, NULL, err);
}

/* The key may have been revoked while its request was read: what is asked here is so when the job is in the journal. */
static himmel_status key_holds(hm_store *s, int64_t account, himmel_error *err)
{
    static const char sql[] = "SELECT count(*) FROM keys WHERE id = ?1 AND (revoked OR (expires > 0 AND expires <= ?2))";
    int64_t over = 0;
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_int64(st, 1, account), sqlite3_bind_int64(st, 2, (int64_t)time(NULL));
    const himmel_status rc = hm_store_number(s, st, &over, err);
    return rc || !over ? rc : hm_fail(err, HIMMEL_ECANCELLED, "this API key is not valid any more");
}

himmel_status hm_store_add(hm_store *s, const hm_job *jobs, size_t n, himmel_error *err)
{
    pthread_mutex_lock(&s->lock);
    himmel_status rc = hm_store_begin(s, err);
    if (!rc) {
        rc = key_holds(s, jobs->account, err);
        for (size_t i = 0; i < n && !rc; i++) rc = insert(s, &jobs[i], err);
        rc = hm_store_end(s, rc, err);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_get(hm_store *s, const char *id, int64_t account, hm_job *out, bool *found, himmel_error *err)
{
    s = s->reader;
    static const char sql[] = "SELECT " JOB_COLUMNS " FROM jobs WHERE id = ?1 AND (?2 < 0 OR account = ?2)";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC), sqlite3_bind_int64(st, 2, account);
    const himmel_status rc = one_job(s, st, out, found, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_by_idem(hm_store *s, int64_t account, const char *idem, hm_job *out, bool *found, himmel_error *err)
{
    s = s->reader;
    static const char sql[] = "SELECT " JOB_COLUMNS " FROM jobs WHERE account = ?1 AND idem = ?2";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_int64(st, 1, account), sqlite3_bind_text(st, 2, idem, -1, SQLITE_STATIC);
    const himmel_status rc = one_job(s, st, out, found, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* The arrival number that a page starts behind. */
static himmel_status page_start(hm_store *s, const hm_job_query *q, int64_t *seq, himmel_error *err)
{
    static const char sql[] = "SELECT coalesce((SELECT seq FROM jobs WHERE id = ?1 AND (?2 < 0 OR account = ?2)), -1)";
    *seq = q->ascending ? 0 : INT64_MAX;
    if (!*q->after) return HIMMEL_OK;
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_text(st, 1, q->after, -1, SQLITE_STATIC), sqlite3_bind_int64(st, 2, q->account);
    const himmel_status rc = hm_store_number(s, st, seq, err);
    if (!rc && *seq < 0) return hm_fail(err, HIMMEL_EINVAL, "after is %.80s, which is not there", q->after);
    return rc;
}

himmel_status hm_store_list(hm_store *s, const hm_job_query *q, hm_job **out, size_t *n, bool *more, himmel_error *err)
{
    s = s->reader;
    static const char up[] = "SELECT " JOB_COLUMNS " FROM jobs WHERE kind = ?1 AND (?2 < 0 OR account = ?2) AND seq > ?3"
                             " AND (?5 = '' OR instr(lower(prompt), lower(?5))) ORDER BY seq LIMIT ?4";
    static const char down[] = "SELECT " JOB_COLUMNS " FROM jobs WHERE kind = ?1 AND (?2 < 0 OR account = ?2) AND seq < ?3"
                               " AND (?5 = '' OR instr(lower(prompt), lower(?5))) ORDER BY seq DESC LIMIT ?4";
    int64_t seq;
    *out = NULL, *n = 0, *more = false;
    pthread_mutex_lock(&s->lock);
    himmel_status rc = page_start(s, q, &seq, err);
    hm_job *jobs = rc ? NULL : calloc((size_t)q->limit + 1, sizeof *jobs);
    if (!rc && !jobs) rc = hm_fail(err, HIMMEL_ENOMEM, "out of memory for a list of %d jobs", q->limit);
    sqlite3_stmt *st = rc ? NULL : hm_store_sql(s, q->ascending ? up : down);
    if (!rc && !st) rc = hm_store_fail(s, err);
    if (!rc) {
        sqlite3_bind_text(st, 1, q->kind, -1, SQLITE_STATIC);
        sqlite3_bind_int64(st, 2, q->account);
        sqlite3_bind_int64(st, 3, seq);
        sqlite3_bind_int(st, 4, q->limit + 1);
        sqlite3_bind_text(st, 5, q->like, -1, SQLITE_STATIC);
        int r;
        while ((r = sqlite3_step(st)) == SQLITE_ROW && *n <= (size_t)q->limit) read_job(st, &jobs[(*n)++]);
        if (r != SQLITE_DONE && r != SQLITE_ROW) rc = hm_store_fail(s, err);
        sqlite3_reset(st), sqlite3_clear_bindings(st);
    }
    pthread_mutex_unlock(&s->lock);
    if (rc) {
        hm_jobs_free(jobs, *n);
        *n = 0;
        return rc;
    }
    if ((*more = *n > (size_t)q->limit)) hm_job_deinit(&jobs[--*n]);
    *out = jobs;
    return HIMMEL_OK;
}

himmel_status hm_store_take(hm_store *s, hm_job *out, bool *found, himmel_error *err)
{
    static const char pick[] = "SELECT " JOB_COLUMNS " FROM jobs j WHERE status = 0 AND NOT EXISTS"
                               " (SELECT 1 FROM keys WHERE keys.id = j.account AND revoked) ORDER BY priority DESC,"
                               " coalesce((SELECT max(started) FROM jobs k WHERE k.account = j.account), 0), seq LIMIT 1";
    static const char mark[] = "UPDATE jobs SET status = 1, attempts = attempts + 1, started = ?2 WHERE id = ?1 AND status = 0";
    pthread_mutex_lock(&s->lock);
    himmel_status rc = one_job(s, hm_store_sql(s, pick), out, found, err);
    if (!rc && *found) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        sqlite3_stmt *st = hm_store_sql(s, mark);
        if (st) {
            sqlite3_bind_text(st, 1, out->id, -1, SQLITE_STATIC);
            sqlite3_bind_int64(st, 2, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
        }
        rc = hm_store_run(s, st, found, err);
        if (rc || !*found) hm_job_deinit(out);
        else out->status = HM_RUNNING, out->attempts++;
    }
    if (rc) *found = false;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static himmel_status move(hm_store *s, const char *sql, const char *id, int status, const char *code, const char *message,
                          bool *changed, himmel_error *err)
{
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) {
        sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        sqlite3_bind_int(st, 2, status);
        sqlite3_bind_int64(st, 3, status == HM_QUEUED ? 0 : (int64_t)time(NULL));
        sqlite3_bind_text(st, 4, code, -1, SQLITE_STATIC);
        if (message) sqlite3_bind_text(st, 5, message, -1, SQLITE_STATIC);
    }
    const himmel_status rc = hm_store_run(s, st, changed, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_finish(hm_store *s, const char *id, hm_job_status status, const char *code, const char *message,
                              bool *changed, himmel_error *err)
{
    static const char sql[] = "UPDATE jobs SET status = ?2, completed = nullif(?3, 0), error_code = ?4, error_message = ?5,"
                              " attempts = CASE WHEN ?2 = 0 THEN max(attempts - 1, 0) ELSE attempts END WHERE id = ?1 AND status = 1";
    return move(s, sql, id, status, code, message, changed, err);
}

himmel_status hm_store_cancel(hm_store *s, const char *id, const char *code, const char *message, bool *changed, himmel_error *err)
{
    static const char sql[] = "UPDATE jobs SET status = ?2, completed = nullif(?3, 0), error_code = ?4, error_message = ?5"
                              " WHERE id = ?1 AND status = 0";
    return move(s, sql, id, HM_FAILED, code, message, changed, err);
}

himmel_status hm_store_waiting(hm_store *s, int64_t account, char id[HM_ID], bool *found, himmel_error *err)
{
    static const char sql[] = "SELECT id FROM jobs WHERE account = ?1 AND status = 0 LIMIT 1";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_int64(st, 1, account);
    const int r = st ? sqlite3_step(st) : SQLITE_ERROR;
    if ((*found = r == SQLITE_ROW)) hm_store_text(st, 0, id, HM_ID);
    const himmel_status rc = *found || r == SQLITE_DONE ? HIMMEL_OK : hm_store_fail(s, err);
    if (st) sqlite3_reset(st), sqlite3_clear_bindings(st);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_by_id(hm_store *s, const char *sql, const char *id, bool *changed, himmel_error *err)
{
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
    const himmel_status rc = hm_store_run(s, st, changed, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_delete(hm_store *s, const char *id, bool *changed, himmel_error *err)
{
    return hm_store_by_id(s, "DELETE FROM jobs WHERE id = ?1", id, changed, err);
}

himmel_status hm_store_progress(hm_store *s, const char *id, himmel_error *err)
{
    return hm_store_by_id(s, "UPDATE jobs SET attempts = 0 WHERE id = ?1", id, NULL, err);
}

himmel_status hm_store_recover(hm_store *s, int most_attempts, himmel_error *err)
{
    static const char sql[] = "UPDATE jobs SET status = CASE WHEN attempts >= ?1 THEN 3 ELSE 0 END,"
                              " completed = CASE WHEN attempts >= ?1 THEN ?2 END,"
                              " error_code = CASE WHEN attempts >= ?1 THEN 'server_error' ELSE '' END, error_message = CASE WHEN"
                              " attempts >= ?1 THEN 'the server ended ' || attempts || ' times while it made this, without a step forward' END WHERE status = 1";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_int(st, 1, most_attempts), sqlite3_bind_int64(st, 2, (int64_t)time(NULL));
    const himmel_status rc = hm_store_run(s, st, NULL, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_counts(hm_store *s, int64_t by_status[4], himmel_error *err)
{
    s = s->reader;
    static const char sql[] = "SELECT count(*) FROM jobs WHERE status = ?1";
    himmel_status rc = HIMMEL_OK;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < 4 && !rc; i++) {
        sqlite3_stmt *st = hm_store_sql(s, sql);
        if (st) sqlite3_bind_int(st, 1, i);
        rc = hm_store_number(s, st, &by_status[i], err);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

himmel_status hm_store_ahead(hm_store *s, const hm_job *j, int64_t *n, himmel_error *err)
{
    s = s->reader;
    static const char sql[] = "SELECT count(*) FROM jobs WHERE status = 0 AND (priority > ?1 OR (priority = ?1 AND seq < ?2))";
    pthread_mutex_lock(&s->lock);
    sqlite3_stmt *st = hm_store_sql(s, sql);
    if (st) sqlite3_bind_int(st, 1, j->priority), sqlite3_bind_int64(st, 2, j->seq);
    const himmel_status rc = hm_store_number(s, st, n, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}
