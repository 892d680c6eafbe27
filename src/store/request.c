/* The log of requests; see store_request.h. */
#include "store/store_request.h"

#include <string.h>

#include "base/str.h"
#include "store/store_int.h"

#define COLUMNS                                                                                    \
    "id, user_id, at_ms, request_id, kind, asked, route, goal, provider, model, reason, tried,"    \
    " attempts, complexity, error, prompt_tokens, cached_tokens, completion_tokens,"               \
    " reasoning_tokens, first_token_ms, total_ms, cost_micros, left_to, left_bytes,"               \
    " left_messages, left_images"

/* -1 is "not known". */
static struct db_value known(int64_t v)
{
    return v < 0 ? db_text(NULL) : db_int(v);
}

static enum err add_row(struct db *db, const struct store_request *r, struct error *error)
{
    const struct db_value args[] = {
        db_text(r->id),
        db_text(r->user_id),
        db_int(r->at_ms),
        db_text(r->request_id),
        db_text(r->kind),
        db_text(r->asked),
        db_text(r->route),
        db_text(r->goal),
        db_text(r->provider),
        db_text(r->model),
        db_text(r->reason),
        db_text(r->tried),
        db_int(r->attempts),
        known(r->complexity_permille),
        db_text(r->error),
        db_int(r->prompt_tokens),
        db_int(r->cached_tokens),
        db_int(r->completion_tokens),
        db_int(r->reasoning_tokens),
        known(r->first_token_ms),
        db_int(r->total_ms),
        known(r->cost_micros),
        db_text(r->left_to),
        db_int(r->left_bytes),
        db_int(r->left_messages),
        db_int(r->left_images),
    };
    return db_run(db,
                  "INSERT INTO request_log (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8,"
                  " $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,"
                  " $25, $26)",
                  args, sizeof args / sizeof *args, NULL, error);
}

static enum err has_user(struct db *db, const char *user_id, bool *has, struct error *error)
{
    int64_t n = 1;
    enum err e = user_id ? db_number(db, "SELECT COUNT(*) FROM users WHERE id = $1",
                                     DB_ARGS(db_text(user_id)), &n, error)
                         : OK;
    *has = n > 0;
    return e;
}

enum err store_request_add(struct store *s, const struct store_request *rows, size_t n,
                           struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) {
        for (size_t i = 0; !e && i < n; i++) {
            bool has;
            e = has_user(db, rows[i].user_id, &has, error);
            if (!e && has) e = add_row(db, &rows[i], error);
        }
        e = db_end(db, e, error);
    }
    store_release(s, db);
    return e;
}

/* ---- reading ------------------------------------------------------------------------------- */

static int64_t number(struct db_rows *rows, int col)
{
    return db_is_null(rows, col) ? -1 : db_get_int(rows, col);
}

static enum err read_row(struct db_rows *rows, struct arena *a, struct store_request *out,
                         struct error *error)
{
    enum err e = OK;
    *out = (struct store_request){.id = db_take_text(rows, 0, a, &e),
                                  .user_id = db_take_text(rows, 1, a, &e),
                                  .at_ms = db_get_int(rows, 2),
                                  .request_id = db_take_text(rows, 3, a, &e),
                                  .kind = db_take_text(rows, 4, a, &e),
                                  .asked = db_take_text(rows, 5, a, &e),
                                  .route = db_take_text(rows, 6, a, &e),
                                  .goal = db_take_text(rows, 7, a, &e),
                                  .provider = db_take_text(rows, 8, a, &e),
                                  .model = db_take_text(rows, 9, a, &e),
                                  .reason = db_take_text(rows, 10, a, &e),
                                  .tried = db_take_text(rows, 11, a, &e),
                                  .attempts = db_get_int(rows, 12),
                                  .complexity_permille = number(rows, 13),
                                  .error = db_take_text(rows, 14, a, &e),
                                  .prompt_tokens = db_get_int(rows, 15),
                                  .cached_tokens = db_get_int(rows, 16),
                                  .completion_tokens = db_get_int(rows, 17),
                                  .reasoning_tokens = db_get_int(rows, 18),
                                  .first_token_ms = number(rows, 19),
                                  .total_ms = db_get_int(rows, 20),
                                  .cost_micros = number(rows, 21),
                                  .left_to = db_take_text(rows, 22, a, &e),
                                  .left_bytes = db_get_int(rows, 23),
                                  .left_messages = db_get_int(rows, 24),
                                  .left_images = db_get_int(rows, 25)};
    return e ? err_set(error, e, "no memory for the log of requests") : OK;
}

enum err store_request_list(struct store *s, const struct store_request_page *page, struct arena *a,
                            struct store_request **out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    int32_t limit = page->limit;
    if (limit < 1 || limit > STORE_REQUESTS_MAX) limit = STORE_REQUESTS_MAX;
    *n = 0;
    *out = arena_calloc(a, (size_t)limit, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for %d requests", limit);
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_query(db,
                 "SELECT " COLUMNS " FROM request_log WHERE ($1 = '' OR user_id = $1)"
                 " AND ($2 = 0 OR left_to IS NOT NULL)"
                 " AND (at_ms < $3 OR (at_ms = $3 AND id < $4))"
                 " ORDER BY at_ms DESC, id DESC LIMIT $5",
                 DB_ARGS(db_text(page->user_id ? page->user_id : ""), db_int(page->left),
                         db_int(page->before_ms), db_text(page->before_id ? page->before_id : ""),
                         db_int(limit)),
                 &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (!e && has) e = read_row(rows, a, &(*out)[(*n)++], error);
    }
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_request_sweep(struct store *s, int64_t before_ms, struct error *error)
{
    return store_write(s, "DELETE FROM request_log WHERE at_ms < $1", DB_ARGS(db_int(before_ms)),
                       NULL, error);
}

enum err store_request_cost(struct store *s, int64_t since_ms, int64_t *micros, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_number(db,
                  "SELECT CAST(COALESCE(SUM(cost_micros), 0) AS BIGINT) FROM request_log"
                  " WHERE user_id IS NULL AND cost_micros > 0 AND at_ms >= $1",
                  DB_ARGS(db_int(since_ms)), micros, error);
    store_release(s, db);
    return e;
}
