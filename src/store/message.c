/* Messages; see store_conversation.h. Every statement joins the conversation's owner, so that an id
 * of somebody else's finds nothing. */
#include "base/clock.h"
#include "base/str.h"
#include "store/store_conversation.h"
#include "store/store_int.h"

#define MESSAGE_COLUMNS                                                                            \
    "m.id, m.parent_id, m.role, m.content, m.reasoning, m.status, m.model, m.meta, m.created_ms"

static const char *const statuses[] = {[STORE_COMPLETE] = "complete",
                                       [STORE_STREAMING] = "streaming",
                                       [STORE_STOPPED] = "stopped",
                                       [STORE_FAILED] = "failed"};

static enum store_message_status status_of(const char *word)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (str_eq(statuses[i], word)) return (enum store_message_status)i;
    ht_bug("a status that the database's check lets through and this program does not know");
}

/* ---- reading ------------------------------------------------------------------------------- */

static enum err read_message(struct db_rows *rows, struct arena *a, struct store_message *out,
                             struct error *error)
{
    enum err e = OK;
    *out = (struct store_message){.id = db_take_text(rows, 0, a, &e),
                                  .parent_id = db_take_text(rows, 1, a, &e),
                                  .role = db_take_text(rows, 2, a, &e),
                                  .content = db_take_text(rows, 3, a, &e),
                                  .reasoning = db_take_text(rows, 4, a, &e),
                                  .status = status_of(db_get_text(rows, 5)),
                                  .model = db_take_text(rows, 6, a, &e),
                                  .meta = db_take_text(rows, 7, a, &e),
                                  .created_ms = db_get_int(rows, 8)};
    return e ? err_set(error, e, "the conversation is too long to be read at once") : OK;
}

static enum err read_messages(struct db_rows *rows, struct arena *a, struct store_message *out,
                              size_t max, size_t *n, struct error *error)
{
    bool has = true;
    enum err e = OK;
    for (*n = 0; !e && has && *n < max;) {
        e = db_next(rows, &has, error);
        if (!e && has) e = read_message(rows, a, &out[(*n)++], error);
    }
    return e;
}

/* ERR_NOT_FOUND unless the user has it; *leaf (may be NULL) is its leaf. */
static enum err check_owner(struct db *db, const char *user_id, const char *id, struct arena *a,
                            const char **leaf, int64_t *n_messages, struct error *error)
{
    struct db_rows *rows;
    enum err e =
        db_one(db, "SELECT leaf_id, n_messages FROM conversations WHERE user_id = $1 AND id = $2",
               DB_ARGS(db_text(user_id), db_text(id)), "conversation", &rows, error);
    if (e) return e;
    if (leaf) *leaf = db_take_text(rows, 0, a, &e);
    if (n_messages) *n_messages = db_get_int(rows, 1);
    db_rows_free(rows);
    return e ? err_set(error, e, "no memory for a conversation") : OK;
}

/* Up from the leaf; the depth orders them back. */
static const char branch_sql[] =
    "WITH RECURSIVE branch (id, parent_id, depth) AS ("
    " SELECT id, parent_id, 0 FROM messages WHERE conversation_id = $1 AND id = $2"
    " UNION ALL SELECT m.id, m.parent_id, b.depth + 1 FROM messages m"
    " JOIN branch b ON m.id = b.parent_id WHERE m.conversation_id = $1 AND b.depth < $3)"
    " SELECT " MESSAGE_COLUMNS
    " FROM branch b JOIN messages m ON m.id = b.id ORDER BY b.depth DESC";

static enum err read_branch(struct db *db, const char *id, const char *leaf, size_t max,
                            struct arena *a, struct store_message **out, size_t *n,
                            struct error *error)
{
    struct db_rows *rows = NULL;
    *n = 0;
    *out = arena_calloc(a, max + 1, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for %zu messages", max);
    enum err e =
        db_query(db, branch_sql, DB_ARGS(db_text(id), db_text(leaf), db_int(STORE_BRANCH_MAX - 1)),
                 &rows, error);
    if (!e) e = read_messages(rows, a, *out, max, n, error);
    db_rows_free(rows);
    return e;
}

enum err store_message_branch(struct store *s, const char *user_id, const char *id,
                              const char *leaf_id, struct arena *a, struct store_message **out,
                              size_t *n, struct error *error)
{
    struct db *db;
    const char *shown;
    int64_t count;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    *n = 0;
    *out = NULL;
    e = check_owner(db, user_id, id, a, &shown, &count, error);
    if (!e && !leaf_id) leaf_id = shown;
    size_t max = count < STORE_BRANCH_MAX ? (size_t)count : STORE_BRANCH_MAX;
    if (!e && leaf_id) e = read_branch(db, id, leaf_id, max, a, out, n, error);
    if (!e && leaf_id && *n == 0)
        e = err_set(error, ERR_NOT_FOUND, "there is no such message in this conversation");
    store_release(s, db);
    return e;
}

enum err store_message_get(struct store *s, const char *user_id, const char *id, struct arena *a,
                           struct store_message *out, char conversation[STORE_ID_MAX],
                           struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db,
               "SELECT " MESSAGE_COLUMNS ", m.conversation_id FROM messages m JOIN conversations c"
               " ON c.id = m.conversation_id WHERE c.user_id = $1 AND m.id = $2",
               DB_ARGS(db_text(user_id), db_text(id)), "message", &rows, error);
    if (!e) e = read_message(rows, a, out, error);
    if (!e) str_copy(conversation, STORE_ID_MAX, db_get_text(rows, 9));
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_message_list(struct store *s, const char *user_id, const char *id, struct arena *a,
                            struct store_message **out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    int64_t count;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    *n = 0;
    e = check_owner(db, user_id, id, a, NULL, &count, error);
    if (!e && !(*out = arena_calloc(a, (size_t)count + 1, sizeof **out)))
        e = err_set(error, ERR_NOMEM, "no memory for %lld messages", (long long)count);
    if (!e)
        e = db_query(db,
                     "SELECT " MESSAGE_COLUMNS " FROM messages m WHERE m.conversation_id = $1"
                     " ORDER BY m.n",
                     DB_ARGS(db_text(id)), &rows, error);
    if (!e) e = read_messages(rows, a, *out, (size_t)count, n, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

/* ---- writing ------------------------------------------------------------------------------- */

static enum err add_message(struct db *db, const char *id, const char *parent,
                            const struct store_message *m, struct error *error)
{
    return db_run(db,
                  "INSERT INTO messages (id, conversation_id, parent_id, role, content, reasoning,"
                  " status, model, meta, created_ms)"
                  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, COALESCE($9, '{}'), $10)",
                  DB_ARGS(db_text(m->id), db_text(id), db_text(parent), db_text(m->role),
                          db_text(m->content), db_text(m->reasoning), db_text(statuses[m->status]),
                          db_text(m->model), db_text(m->meta),
                          db_int(m->created_ms ? m->created_ms : clock_wall_ms())),
                  NULL, error);
}

static enum err check_parent(struct db *db, const char *id, const char *parent, struct error *error)
{
    int64_t found;
    enum err e =
        db_number(db, "SELECT COUNT(*) FROM messages WHERE conversation_id = $1 AND id = $2",
                  DB_ARGS(db_text(id), db_text(parent)), &found, error);
    if (!e && !found)
        e = err_set_param(error, ERR_INVALID, "/parent_id",
                          "there is no such message in this conversation");
    return e;
}

static enum err append(struct db *db, const char *user_id, const char *id,
                       const struct store_message *messages, size_t n, struct error *error)
{
    int64_t changed = 0;
    /* First, so that PostgreSQL's row lock lets one writer at a time into a conversation. */
    enum err e = db_run(db,
                        "UPDATE conversations SET leaf_id = $3, n_messages = n_messages + $4,"
                        " updated_ms = $5 WHERE user_id = $1 AND id = $2",
                        DB_ARGS(db_text(user_id), db_text(id), db_text(messages[n - 1].id),
                                db_int((int64_t)n), db_int(clock_wall_ms())),
                        &changed, error);
    if (!e && !changed) e = err_set(error, ERR_NOT_FOUND, "there is no such conversation");
    const char *parent = messages[0].parent_id;
    if (!e && parent) e = check_parent(db, id, parent, error);
    for (size_t i = 0; !e && i < n; i++) {
        e = add_message(db, id, parent, &messages[i], error);
        parent = messages[i].id;
    }
    return e;
}

enum err store_conversation_append(struct store *s, const char *user_id, const char *id,
                                   const struct store_message *messages, size_t n,
                                   struct error *error)
{
    struct db *db;
    ht_assert(n > 0);
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) e = db_end(db, append(db, user_id, id, messages, n, error), error);
    store_release(s, db);
    return e;
}

static enum err import(struct db *db, const char *user_id, const struct store_conversation_new *c,
                       const struct store_message *messages, size_t n, struct error *error)
{
    int64_t now = clock_wall_ms();
    enum err e = db_run(
        db,
        "INSERT INTO conversations (id, user_id, title, meta, leaf_id, n_messages, created_ms,"
        " updated_ms) VALUES ($1, $2, $3, COALESCE($4, '{}'), $5, $6, $7, $8)",
        DB_ARGS(db_text(c->id), db_text(user_id), db_text(c->title), db_text(c->meta),
                db_text(c->leaf_id), db_int((int64_t)n),
                db_int(c->created_ms ? c->created_ms : now),
                db_int(c->updated_ms ? c->updated_ms : now)),
        NULL, error);
    for (size_t i = 0; !e && i < n; i++)
        e = add_message(db, c->id, messages[i].parent_id, &messages[i], error);
    return e;
}

enum err store_conversation_import(struct store *s, const char *user_id,
                                   const struct store_conversation_new *c,
                                   const struct store_message *messages, size_t n,
                                   struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) e = db_end(db, import(db, user_id, c, messages, n, error), error);
    store_release(s, db);
    return e;
}

enum err store_message_finish(struct store *s, const char *user_id, const struct store_message *m,
                              struct error *error)
{
    return store_write(s,
                       "UPDATE messages SET content = $3, reasoning = $4, status = $5, model = "
                       "COALESCE($6, model),"
                       " meta = COALESCE($7, meta) WHERE id = $2 AND conversation_id IN"
                       " (SELECT id FROM conversations WHERE user_id = $1)",
                       DB_ARGS(db_text(user_id), db_text(m->id), db_text(m->content),
                               db_text(m->reasoning), db_text(statuses[m->status]),
                               db_text(m->model), db_text(m->meta)),
                       "message", error);
}

enum err store_message_recover(struct store *s, int64_t *n, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_run(db, "UPDATE messages SET status = 'failed' WHERE status = 'streaming'", DB_NO_ARGS,
               n, error);
    store_release(s, db);
    return e;
}
