/* Watched folders; see store_file.h. */
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "store/store_file.h"
#include "store/store_int.h"

enum { WATCHES_MAX = 1000 };

enum err store_watch_add(struct store *s, const struct store_watch *watch, char id[STORE_ID_MAX],
                         struct error *error)
{
    char made[37];
    id_uuid4(made);
    enum err e =
        store_write(s,
                    "INSERT INTO watches (id, user_id, collection_id, path, created_ms)"
                    " VALUES ($1, $2, $3, $4, $5)",
                    DB_ARGS(db_text(made), db_text(watch->user_id), db_text(watch->collection_id),
                            db_text(watch->path), db_int(clock_wall_ms())),
                    NULL, error);
    if (e == ERR_CONFLICT)
        return err_set(error, e, "the folder %.300s is watched already", watch->path);
    if (!e) str_copy(id, STORE_ID_MAX, made);
    return e;
}

enum err store_watch_touch(struct store *s, const char *id, int64_t source_ms, struct error *error)
{
    return store_write(s, "UPDATE files SET source_ms = $2 WHERE id = $1",
                       DB_ARGS(db_text(id), db_int(source_ms)), "file", error);
}

enum err store_watch_list(struct store *s, const char *user_id, struct arena *a,
                          struct store_watch **out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    *n = 0;
    *out = arena_calloc(a, WATCHES_MAX, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for the watched folders");
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_query(db,
                 "SELECT id, user_id, collection_id, path, created_ms FROM watches"
                 " WHERE ($1 = '' OR user_id = $1) ORDER BY path, id LIMIT $2",
                 DB_ARGS(db_text(user_id ? user_id : ""), db_int(WATCHES_MAX)), &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (e || !has) break;
        (*out)[(*n)++] = (struct store_watch){.id = db_take_text(rows, 0, a, &e),
                                              .user_id = db_take_text(rows, 1, a, &e),
                                              .collection_id = db_take_text(rows, 2, a, &e),
                                              .path = db_take_text(rows, 3, a, &e),
                                              .created_ms = db_get_int(rows, 4)};
        if (e) e = err_set(error, e, "no memory for the watched folders");
    }
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_watch_delete(struct store *s, const char *user_id, const char *path,
                            struct error *error)
{
    return store_write(s, "DELETE FROM watches WHERE user_id = $1 AND path = $2",
                       DB_ARGS(db_text(user_id), db_text(path)), "watched folder", error);
}
