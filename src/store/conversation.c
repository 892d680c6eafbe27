/* Conversations; see store_conversation.h. */
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "store/store_conversation.h"
#include "store/store_int.h"

#define CONVERSATION_COLUMNS                                                                       \
    "c.id, c.title, c.meta, c.leaf_id, c.archived, c.n_messages, c.created_ms, c.updated_ms,"      \
    " c.local_only"

/* ---- reading ------------------------------------------------------------------------------- */

static enum err read_conversation(struct db_rows *rows, struct arena *a, bool snippet,
                                  struct store_conversation *out, struct error *error)
{
    enum err e = OK;
    *out = (struct store_conversation){.id = db_take_text(rows, 0, a, &e),
                                       .title = db_take_text(rows, 1, a, &e),
                                       .meta = db_take_text(rows, 2, a, &e),
                                       .leaf_id = db_take_text(rows, 3, a, &e),
                                       .archived = db_get_int(rows, 4) != 0,
                                       .n_messages = db_get_int(rows, 5),
                                       .created_ms = db_get_int(rows, 6),
                                       .updated_ms = db_get_int(rows, 7),
                                       .local_only = db_get_int(rows, 8) != 0};
    if (snippet) out->snippet = db_take_text(rows, 9, a, &e);
    return e ? err_set(error, e, "no memory for a conversation") : OK;
}

enum err store_conversation_get(struct store *s, const char *user_id, const char *id,
                                struct arena *a, struct store_conversation *out,
                                struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db,
               "SELECT " CONVERSATION_COLUMNS
               " FROM conversations c WHERE c.user_id = $1 AND c.id = $2",
               DB_ARGS(db_text(user_id), db_text(id)), "conversation", &rows, error);
    if (!e) e = read_conversation(rows, a, false, out, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

#define PAGE                                                                                       \
    " WHERE c.user_id = $1 AND c.archived = $2"                                                    \
    " AND (c.updated_ms < $3 OR (c.updated_ms = $3 AND c.id < $4))"
#define ORDER " ORDER BY c.updated_ms DESC, c.id DESC LIMIT $5"

/* The best message of each conversation that has the words, or its title. */
static const char search_sqlite[] =
    "SELECT " CONVERSATION_COLUMNS
    ", (SELECT snippet(messages_text, 0, '', '', '…', 16) FROM messages_text"
    "   JOIN messages m ON m.n = messages_text.rowid WHERE m.conversation_id = c.id"
    "   AND messages_text MATCH $6 ORDER BY rank LIMIT 1)"
    " FROM conversations c" PAGE
    " AND (c.title LIKE $7 ESCAPE '\\' OR c.id IN (SELECT m.conversation_id FROM messages_text"
    "   JOIN messages m ON m.n = messages_text.rowid WHERE messages_text MATCH $6))" ORDER;
static const char search_pg[] =
    "SELECT " CONVERSATION_COLUMNS
    ", (SELECT ts_headline('simple', left(m.content, 100000), plainto_tsquery('simple', $6),"
    "   'StartSel=\"\", StopSel=\"\", MaxWords=16, MinWords=8') FROM messages m"
    "   WHERE m.conversation_id = c.id AND m.words @@ plainto_tsquery('simple', $6)"
    "   ORDER BY ts_rank(m.words, plainto_tsquery('simple', $6)) DESC LIMIT 1)"
    " FROM conversations c" PAGE
    " AND (c.title ILIKE $7 OR EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = c.id"
    "   AND m.words @@ plainto_tsquery('simple', $6)))" ORDER;
static const char all_conversations[] =
    "SELECT " CONVERSATION_COLUMNS " FROM conversations c" PAGE ORDER;

enum { SEARCH_MAX = 1000 };

/* FTS5's own syntax has operators that a user's words must not become: each word goes in quotes. */
static bool quote_words(struct buf *out, const char *words)
{
    while (*words) {
        size_t gap = strspn(words, " \t\r\n");
        words += gap;
        size_t len = strcspn(words, " \t\r\n");
        if (!len) break;
        buf_puts(out, out->len ? " \"" : "\"");
        for (size_t i = 0; i < len; i++) {
            if (words[i] == '"') buf_putc(out, '"');
            buf_putc(out, words[i]);
        }
        buf_putc(out, '"');
        words += len;
    }
    return out->len && !out->err;
}

static void like_pattern(struct buf *out, const char *words)
{
    buf_putc(out, '%');
    for (; *words; words++) {
        if (*words == '%' || *words == '_' || *words == '\\') buf_putc(out, '\\');
        buf_putc(out, *words);
    }
    buf_putc(out, '%');
}

static enum err query_page(struct db *db, const char *user_id,
                           const struct store_conversation_page *page, struct db_rows **rows,
                           struct error *error)
{
    int64_t before = page->before_id ? page->before_ms : INT64_MAX;
    const char *before_id = page->before_id ? page->before_id : "";
    if (!page->search)
        return db_query(db, all_conversations,
                        DB_ARGS(db_text(user_id), db_int(page->archived), db_int(before),
                                db_text(before_id), db_int(page->limit)),
                        rows, error);
    if (strlen(page->search) > SEARCH_MAX)
        return err_set_param(error, ERR_INVALID, "/search", "the search is longer than %d bytes",
                             SEARCH_MAX);
    char quoted[3 * SEARCH_MAX + 16], like[2 * SEARCH_MAX + 16];
    struct buf q, l;
    buf_init_fixed(&q, quoted, sizeof quoted);
    buf_init_fixed(&l, like, sizeof like);
    if (!quote_words(&q, page->search))
        return err_set_param(error, ERR_INVALID, "/search", "the search has no word in it");
    like_pattern(&l, page->search);
    const char *words = db_sql(db, buf_str(&q), page->search);
    return db_query(db, db_sql(db, search_sqlite, search_pg),
                    DB_ARGS(db_text(user_id), db_int(page->archived), db_int(before),
                            db_text(before_id), db_int(page->limit), db_text(words),
                            db_text(buf_str(&l))),
                    rows, error);
}

static enum err read_page(struct db_rows *rows, bool snippet, struct arena *a,
                          struct store_conversation *out, size_t *n, struct error *error)
{
    bool has = true;
    enum err e = OK;
    for (*n = 0; !e && has;) {
        e = db_next(rows, &has, error);
        if (!e && has) e = read_conversation(rows, a, snippet, &out[(*n)++], error);
    }
    return e;
}

enum err store_conversation_list(struct store *s, const char *user_id,
                                 const struct store_conversation_page *page, struct arena *a,
                                 struct store_conversation **out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    ht_assert(page->limit >= 1 && page->limit <= STORE_PAGE_MAX);
    *out = arena_calloc(a, (size_t)page->limit, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for %d conversations", page->limit);
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = query_page(db, user_id, page, &rows, error);
    if (!e) e = read_page(rows, page->search != NULL, a, *out, n, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

/* ---- writing ------------------------------------------------------------------------------- */

enum err store_conversation_create(struct store *s, const char *user_id, const char *id,
                                   const char *title, const char *meta, struct error *error)
{
    enum err e =
        store_write(s,
                    "INSERT INTO conversations (id, user_id, title, meta, created_ms, updated_ms)"
                    " VALUES ($1, $2, $3, COALESCE($4, '{}'), $5, $5)",
                    DB_ARGS(db_text(id), db_text(user_id), db_text(title ? title : ""),
                            db_text(meta), db_int(clock_wall_ms())),
                    NULL, error);
    if (e == ERR_NOT_FOUND) return err_set(error, e, "there is no such user");
    if (e == ERR_CONFLICT) return err_set(error, e, "there is a conversation with this id already");
    return e;
}

static enum err check_leaf(struct db *db, const char *id, const char *leaf, struct error *error)
{
    int64_t found;
    enum err e =
        db_number(db, "SELECT COUNT(*) FROM messages WHERE conversation_id = $1 AND id = $2",
                  DB_ARGS(db_text(id), db_text(leaf)), &found, error);
    if (!e && !found)
        e = err_set_param(error, ERR_INVALID, "/leaf_id",
                          "there is no such message in this conversation");
    return e;
}

static struct db_value or_stays(int flag)
{
    return flag < 0 ? db_text(NULL) : db_int(flag != 0);
}

enum err store_conversation_update(struct store *s, const char *user_id, const char *id,
                                   const struct store_conversation_change *change,
                                   struct error *error)
{
    struct db *db;
    int64_t changed = 0;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) {
        e = db_run(
            db,
            "UPDATE conversations SET title = COALESCE($3, title), meta = COALESCE($4, meta),"
            " leaf_id = COALESCE($5, leaf_id), archived = COALESCE($6, archived),"
            " local_only = COALESCE($8, local_only), updated_ms = $7"
            " WHERE user_id = $1 AND id = $2",
            DB_ARGS(db_text(user_id), db_text(id), db_text(change->title), db_text(change->meta),
                    db_text(change->leaf_id), or_stays(change->archived), db_int(clock_wall_ms()),
                    or_stays(change->local_only)),
            &changed, error);
        if (!e && !changed) e = err_set(error, ERR_NOT_FOUND, "there is no such conversation");
        if (!e && change->leaf_id) e = check_leaf(db, id, change->leaf_id, error);
        e = db_end(db, e, error);
    }
    store_release(s, db);
    return e;
}

enum err store_conversation_pin(struct store *s, const char *user_id, const char *id,
                                struct error *error)
{
    return store_write(s, "UPDATE conversations SET local_only = 1 WHERE user_id = $1 AND id = $2",
                       DB_ARGS(db_text(user_id), db_text(id)), "conversation", error);
}

enum err store_conversation_pinned(struct store *s, const char *user_id, const char *id, bool *out,
                                   struct error *error)
{
    struct db *db;
    int64_t pins = 0;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_number(db,
                  "SELECT COUNT(*) FROM conversations WHERE user_id = $1 AND id = $2"
                  " AND local_only <> 0",
                  DB_ARGS(db_text(user_id), db_text(id)), &pins, error);
    store_release(s, db);
    *out = pins > 0;
    return e;
}

enum err store_conversation_delete(struct store *s, const char *user_id, const char *id,
                                   struct error *error)
{
    return store_write(s, "DELETE FROM conversations WHERE user_id = $1 AND id = $2",
                       DB_ARGS(db_text(user_id), db_text(id)), "conversation", error);
}
