/* What users have used and may use; see store_usage.h. */
#include <string.h>

#include "base/str.h"
#include "store/store_int.h"
#include "store/store_usage.h"

/* Minutes that nobody asks about any more are swept by whoever adds to a new one. */
enum { MINUTES_KEPT = 10 };

static const char *const names[] = {
#define X(id, name, help) #name,
    STORE_QUOTAS(X)
#undef X
};
static const char *const helps[] = {
#define X(id, name, help) help,
    STORE_QUOTAS(X)
#undef X
};

const char *store_quota_name(enum store_quota q)
{
    ht_assert((size_t)q < QUOTA_COUNT);
    return names[q];
}

const char *store_quota_help(enum store_quota q)
{
    ht_assert((size_t)q < QUOTA_COUNT);
    return helps[q];
}

/* ---- quotas -------------------------------------------------------------------------------- */

static struct db_value or_default(int64_t limit)
{
    return limit < 0 ? db_text(NULL) : db_int(limit);
}

static enum err read_overrides(struct db *db, const char *user_id, int64_t out[QUOTA_COUNT],
                               struct error *error)
{
    struct db_rows *rows = NULL;
    bool has = false;
    for (int i = 0; i < QUOTA_COUNT; i++) out[i] = QUOTA_DEFAULT;
    enum err e = db_query(
        db,
        "SELECT requests_per_minute, requests_per_day, tokens_per_minute,"
        " tokens_per_day, streams, storage_bytes, cents_per_month FROM quotas WHERE user_id = $1",
        DB_ARGS(db_text(user_id)), &rows, error);
    if (!e) e = db_next(rows, &has, error);
    for (int i = 0; !e && has && i < QUOTA_COUNT; i++)
        if (!db_is_null(rows, i)) out[i] = db_get_int(rows, i);
    db_rows_free(rows);
    return e;
}

enum err store_quota_get(struct store *s, const char *user_id, int64_t out[QUOTA_COUNT],
                         struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = read_overrides(db, user_id, out, error);
    store_release(s, db);
    return e;
}

enum err store_quota_set(struct store *s, const char *user_id, const int64_t limits[QUOTA_COUNT],
                         struct error *error)
{
    enum err e = store_write(
        s,
        "INSERT INTO quotas (user_id, requests_per_minute, requests_per_day, tokens_per_minute,"
        " tokens_per_day, streams, storage_bytes, cents_per_month)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
        " ON CONFLICT (user_id) DO UPDATE SET requests_per_minute = excluded.requests_per_minute,"
        " requests_per_day = excluded.requests_per_day,"
        " tokens_per_minute = excluded.tokens_per_minute,"
        " tokens_per_day = excluded.tokens_per_day, streams = excluded.streams,"
        " storage_bytes = excluded.storage_bytes, cents_per_month = excluded.cents_per_month",
        DB_ARGS(db_text(user_id), or_default(limits[QUOTA_REQUESTS_MINUTE]),
                or_default(limits[QUOTA_REQUESTS_DAY]), or_default(limits[QUOTA_TOKENS_MINUTE]),
                or_default(limits[QUOTA_TOKENS_DAY]), or_default(limits[QUOTA_STREAMS]),
                or_default(limits[QUOTA_STORAGE]), or_default(limits[QUOTA_BUDGET])),
        NULL, error);
    return e == ERR_NOT_FOUND ? err_set(error, e, "there is no such user") : e;
}

/* ---- adding and asking --------------------------------------------------------------------- */

static enum err add_minute(struct db *db, const char *who, int64_t minute, int64_t requests,
                           int64_t tokens, struct error *error)
{
    enum err e = db_run(db,
                        "INSERT INTO usage_minutes (who, minute, requests, tokens)"
                        " VALUES ($1, $2, $3, $4) ON CONFLICT (who, minute) DO UPDATE SET"
                        " requests = usage_minutes.requests + excluded.requests,"
                        " tokens = usage_minutes.tokens + excluded.tokens",
                        DB_ARGS(db_text(who), db_int(minute), db_int(requests), db_int(tokens)),
                        NULL, error);
    if (!e)
        e = db_run(db, "DELETE FROM usage_minutes WHERE minute < $1",
                   DB_ARGS(db_int(minute - MINUTES_KEPT)), NULL, error);
    return e;
}

static enum err add_day(struct db *db, const struct store_usage_sync *u, struct error *error)
{
    return db_run(db,
                  "INSERT INTO usage_days (user_id, day, requests, prompt_tokens,"
                  " completion_tokens, cost_micros) VALUES ($1, $2, $3, $4, $5, $6)"
                  " ON CONFLICT (user_id, day) DO UPDATE SET"
                  " requests = usage_days.requests + excluded.requests,"
                  " prompt_tokens = usage_days.prompt_tokens + excluded.prompt_tokens,"
                  " completion_tokens = usage_days.completion_tokens + excluded.completion_tokens,"
                  " cost_micros = usage_days.cost_micros + excluded.cost_micros",
                  DB_ARGS(db_text(u->user_id), db_int(u->day), db_int(u->add.requests),
                          db_int(u->add.prompt_tokens), db_int(u->add.completion_tokens),
                          db_int(u->add_cost)),
                  NULL, error);
}

/* The first row's numbers, or zeros. */
static enum err read_numbers(struct db *db, const char *sql, const struct db_value *args,
                             size_t n_args, int64_t *const out[], int n, struct error *error)
{
    struct db_rows *rows = NULL;
    bool has = false;
    enum err e = db_query(db, sql, args, n_args, &rows, error);
    if (!e) e = db_next(rows, &has, error);
    for (int i = 0; i < n; i++) *out[i] = !e && has ? db_get_int(rows, i) : 0;
    db_rows_free(rows);
    return e;
}

static enum err read_minute(struct db *db, const char *who, int64_t minute, int64_t *requests,
                            int64_t *tokens, struct error *error)
{
    return read_numbers(
        db, "SELECT requests, tokens FROM usage_minutes WHERE who = $1 AND minute = $2",
        DB_ARGS(db_text(who), db_int(minute)), (int64_t *const[]){requests, tokens}, 2, error);
}

static enum err read_state(struct db *db, struct store_usage_sync *u, struct error *error)
{
    enum err e = read_numbers(db,
                              "SELECT requests, prompt_tokens, completion_tokens FROM usage_days"
                              " WHERE user_id = $1 AND day = $2",
                              DB_ARGS(db_text(u->user_id), db_int(u->day)),
                              (int64_t *const[]){&u->today.requests, &u->today.prompt_tokens,
                                                 &u->today.completion_tokens},
                              3, error);
    if (!e)
        e = read_minute(db, u->user_id, u->minute, &u->minute_requests, &u->minute_tokens, error);
    if (!e)
        e = db_number(db,
                      "SELECT CAST(COALESCE(SUM(cost_micros), 0) AS BIGINT) FROM usage_days"
                      " WHERE user_id = $1 AND day >= $2",
                      DB_ARGS(db_text(u->user_id), db_int(u->month)), &u->month_cost, error);
    if (!e) e = read_overrides(db, u->user_id, u->overrides, error);
    return e;
}

enum err store_usage_sync(struct store *s, struct store_usage_sync *u, struct error *error)
{
    struct db *db;
    bool adds = u->add.requests || u->add.prompt_tokens || u->add.completion_tokens || u->add_cost;
    enum err e = store_acquire(s, adds ? STORE_WRITE : STORE_READ, &db, error);
    if (e) return e;
    if (adds) e = db_begin(db, error);
    if (!e && adds) {
        e = add_day(db, u, error);
        if (!e && (u->add_requests || u->add_tokens))
            e = add_minute(db, u->user_id, u->minute, u->add_requests, u->add_tokens, error);
        if (!e) e = read_state(db, u, error);
        e = db_end(db, e, error);
    } else if (!e) {
        e = read_state(db, u, error);
    }
    store_release(s, db);
    return e;
}

enum err store_usage_key(struct store *s, const char *key_id, int64_t minute, int64_t add,
                         int64_t *requests, struct error *error)
{
    struct db *db;
    int64_t tokens;
    enum err e = store_acquire(s, add ? STORE_WRITE : STORE_READ, &db, error);
    if (e) return e;
    if (add) {
        e = db_begin(db, error);
        if (!e) e = db_end(db, add_minute(db, key_id, minute, add, 0, error), error);
    }
    if (!e) e = read_minute(db, key_id, minute, requests, &tokens, error);
    store_release(s, db);
    return e;
}

/* ---- statistics ---------------------------------------------------------------------------- */

static enum err read_days(struct db_rows *rows, struct store_usage_day *out, size_t *n,
                          struct error *error)
{
    bool has = true;
    enum err e = OK;
    for (*n = 0; !e && has && *n < STORE_USAGE_DAYS_MAX;) {
        e = db_next(rows, &has, error);
        if (e || !has) break;
        out[(*n)++] = (struct store_usage_day){
            db_get_int(rows, 0), {db_get_int(rows, 1), db_get_int(rows, 2), db_get_int(rows, 3)}};
    }
    return e;
}

/* SUM() of BIGINT is NUMERIC in PostgreSQL. */
#define SUMS                                                                                       \
    "CAST(COALESCE(SUM(requests), 0) AS BIGINT), CAST(COALESCE(SUM(prompt_tokens), 0) AS BIGINT)," \
    " CAST(COALESCE(SUM(completion_tokens), 0) AS BIGINT)"
#define OF_USER " WHERE ($1 = '' OR user_id = $1)"

enum err store_usage_days(struct store *s, const char *user_id, int64_t from, struct arena *a,
                          struct store_usage_day **out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    *n = 0;
    *out = arena_calloc(a, STORE_USAGE_DAYS_MAX, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for the statistics");
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_query(
        db,
        "SELECT day, " SUMS " FROM usage_days" OF_USER
        " AND day >= $2 GROUP BY day ORDER BY day LIMIT $3",
        DB_ARGS(db_text(user_id ? user_id : ""), db_int(from), db_int(STORE_USAGE_DAYS_MAX)), &rows,
        error);
    if (!e) e = read_days(rows, *out, n, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_usage_total(struct store *s, const char *user_id, struct store_usage *out,
                           struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = read_numbers(
        db, "SELECT " SUMS " FROM usage_days" OF_USER, DB_ARGS(db_text(user_id ? user_id : "")),
        (int64_t *const[]){&out->requests, &out->prompt_tokens, &out->completion_tokens}, 3, error);
    store_release(s, db);
    return e;
}

static enum err count_everybody(struct db *db, struct store_counts *out, struct error *error)
{
    enum err e = read_numbers(
        db,
        "SELECT COUNT(*), COUNT(CASE WHEN role = 'admin' THEN 1 END),"
        " COUNT(CASE WHEN disabled <> 0 THEN 1 END) FROM users",
        DB_NO_ARGS, (int64_t *const[]){&out->users, &out->admins, &out->disabled}, 3, error);
    if (!e)
        e = read_numbers(db, "SELECT COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM files",
                         DB_NO_ARGS, (int64_t *const[]){&out->files, &out->file_bytes}, 2, error);
    if (!e)
        e = db_number(db,
                      db_sql(db,
                             "SELECT page_count * page_size FROM pragma_page_count(),"
                             " pragma_page_size()",
                             "SELECT pg_database_size(current_database())"),
                      DB_NO_ARGS, &out->database_bytes, error);
    return e;
}

enum err store_counts(struct store *s, const char *user_id, struct store_counts *out,
                      struct error *error)
{
    struct db *db;
    *out = (struct store_counts){0};
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    /* Of everybody the messages are summed up from what conversations count, too: a count of rows
     * would read all of them. */
    e = read_numbers(db,
                     "SELECT COUNT(*), CAST(COALESCE(SUM(n_messages), 0) AS BIGINT)"
                     " FROM conversations" OF_USER,
                     DB_ARGS(db_text(user_id ? user_id : "")),
                     (int64_t *const[]){&out->conversations, &out->messages}, 2, error);
    if (!e && !user_id) e = count_everybody(db, out, error);
    store_release(s, db);
    return e;
}
