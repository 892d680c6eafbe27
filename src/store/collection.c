/* Collections of files; see store_file.h. */
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "store/store_file.h"
#include "store/store_int.h"

enum { COLLECTIONS_MAX = 1000 };

#define COLLECTION_COLUMNS                                                                         \
    "c.n, c.id, c.user_id, c.name, c.created_ms,"                                                  \
    " (SELECT COUNT(*) FROM files f WHERE f.collection_id = c.id),"                                \
    " (SELECT COALESCE(SUM(f.bytes), 0) FROM files f WHERE f.collection_id = c.id)"

int64_t store_random_n(void)
{
    return (int64_t)(id_random_u64() >> 11);
}

static enum err read_collection(struct db_rows *rows, struct arena *a, struct store_collection *out,
                                struct error *error)
{
    enum err e = OK;
    *out = (struct store_collection){.n = db_get_int(rows, 0),
                                     .id = db_take_text(rows, 1, a, &e),
                                     .user_id = db_take_text(rows, 2, a, &e),
                                     .name = db_take_text(rows, 3, a, &e),
                                     .created_ms = db_get_int(rows, 4),
                                     .n_files = db_get_int(rows, 5),
                                     .bytes = db_get_int(rows, 6)};
    return e ? err_set(error, e, "no memory for a collection") : OK;
}

enum err store_collection_create(struct store *s, const char *user_id, const char *name,
                                 char id[STORE_ID_MAX], struct error *error)
{
    char made[37];
    id_uuid4(made);
    enum err e = store_write(
        s, "INSERT INTO collections (id, n, user_id, name, created_ms) VALUES ($1, $2, $3, $4, $5)",
        DB_ARGS(db_text(made), db_int(store_random_n()), db_text(user_id), db_text(name),
                db_int(clock_wall_ms())),
        NULL, error);
    if (e == ERR_NOT_FOUND) return err_set(error, e, "there is no such user");
    if (e == ERR_CONFLICT)
        return err_set(error, e, "there is a collection with the name '%.100s' already", name);
    if (!e) str_copy(id, STORE_ID_MAX, made);
    return e;
}

static enum err one(struct store *s, const char *sql, const struct db_value *args, size_t n,
                    struct arena *a, struct store_collection *out, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db, sql, args, n, "collection", &rows, error);
    if (!e) e = read_collection(rows, a, out, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_collection_default(struct store *s, const char *user_id, const char *name,
                                  struct arena *a, struct store_collection *out,
                                  struct error *error)
{
    static const char own[] =
        "SELECT " COLLECTION_COLUMNS " FROM collections c WHERE c.user_id = $1 AND c.name = $2";
    char id[STORE_ID_MAX];
    enum err e = one(s, own, DB_ARGS(db_text(user_id), db_text(name)), a, out, error);
    if (e != ERR_NOT_FOUND) return e;
    e = store_collection_create(s, user_id, name, id, error);
    if (e && e != ERR_CONFLICT) return e; /* conflict: another request made it meanwhile */
    return one(s, own, DB_ARGS(db_text(user_id), db_text(name)), a, out, error);
}

enum err store_collection_find(struct store *s, const char *user_id, const char *id_or_name,
                               struct arena *a, struct store_collection *out, struct error *error)
{
    return one(s,
               "SELECT " COLLECTION_COLUMNS
               " FROM collections c WHERE (c.user_id = $1 OR c.user_id IS NULL)"
               " AND (c.id = $2 OR c.name = $2)"
               " ORDER BY c.id = $2 DESC, c.user_id IS NULL LIMIT 1",
               DB_ARGS(db_text(user_id), db_text(id_or_name)), a, out, error);
}

enum err store_collection_list(struct store *s, const char *user_id, struct arena *a,
                               struct store_collection **out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    *n = 0;
    *out = arena_calloc(a, COLLECTIONS_MAX, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for the collections");
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_query(db,
                 "SELECT " COLLECTION_COLUMNS
                 " FROM collections c WHERE c.user_id = $1 OR c.user_id IS NULL"
                 " ORDER BY c.name, c.id LIMIT $2",
                 DB_ARGS(db_text(user_id), db_int(COLLECTIONS_MAX)), &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (!e && has) e = read_collection(rows, a, &(*out)[(*n)++], error);
    }
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

/* Why the statement found none. */
static enum err cant_delete(struct store *s, const struct store_asker *who, const char *id,
                            struct error *error)
{
    struct store_collection c;
    struct arena *a = arena_new(1 << 16);
    enum err e =
        one(s,
            "SELECT " COLLECTION_COLUMNS
            " FROM collections c WHERE c.id = $2 AND (c.user_id = $1 OR c.user_id IS NULL)",
            DB_ARGS(db_text(who->user_id), db_text(id)), a, &c, error);
    if (!e && !c.user_id && !who->admin)
        e = err_set(error, ERR_FORBIDDEN, "a shared collection is an admin's business");
    if (!e)
        e = err_set(error, ERR_CONFLICT, "%lld files are in the collection; delete them first",
                    (long long)c.n_files);
    arena_free(a);
    return e;
}

enum err store_collection_delete(struct store *s, const struct store_asker *who, const char *id,
                                 struct error *error)
{
    enum err e = store_write(s,
                             "DELETE FROM collections WHERE id = $2"
                             " AND (user_id = $1 OR (user_id IS NULL AND $3 = 1))"
                             " AND NOT EXISTS (SELECT 1 FROM files WHERE collection_id = $2)",
                             DB_ARGS(db_text(who->user_id), db_text(id), db_int(who->admin)),
                             "collection", error);
    return e == ERR_NOT_FOUND ? cant_delete(s, who, id, error) : e;
}
