/* Vectors: sets, adding, removing, counting, walking; see store_vector.h. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/vec.h"
#include "store/vector_int.h"

enum { SEQ_BITS = 40, NUMBERS_GROW = 4096 };

int64_t store_vector_n(int64_t set, int64_t seq)
{
    return set << SEQ_BITS | seq;
}

int64_t store_vector_seq(int64_t n)
{
    return n & (((int64_t)1 << SEQ_BITS) - 1);
}

int64_t store_vector_set_of(int64_t n)
{
    return n >> SEQ_BITS;
}

enum err vector_list(struct buf *b, const int64_t *numbers, size_t n, struct error *error)
{
    buf_init(b, STORE_VECTOR_LIST_MAX * 21);
    for (size_t i = 0; i < n; i++) buf_printf(b, "%s%lld", i ? "," : "", (long long)numbers[i]);
    if (!b->err) return OK;
    enum err e = err_set(error, b->err, "a list of %zu numbers is too long", n);
    buf_free(b);
    return e;
}

/* ---- sets ---------------------------------------------------------------------------------- */

#define SET_COLUMNS "n, dims, last_seq, removed, created_ms, model"

static void read_set(struct db_rows *rows, struct store_vector_set *out)
{
    *out = (struct store_vector_set){.n = db_get_int(rows, 0),
                                     .dims = (int32_t)db_get_int(rows, 1),
                                     .last_seq = db_get_int(rows, 2),
                                     .removed = db_get_int(rows, 3),
                                     .created_ms = db_get_int(rows, 4)};
}

static enum err find_set(struct db *db, const char *model, int32_t dims,
                         struct store_vector_set *out, struct error *error)
{
    struct db_rows *rows;
    enum err e = db_one(db,
                        "SELECT " SET_COLUMNS " FROM vector_sets WHERE model = $1 AND dims = $2"
                        " AND dropped = 0",
                        DB_ARGS(db_text(model), db_int(dims)), "set of vectors", &rows, error);
    if (e) return e;
    read_set(rows, out);
    db_rows_free(rows);
    return OK;
}

/* New numbers of sets and files are the highest plus one: one writer at a time. */
#define NUMBERS_LOCK_PG "SELECT pg_advisory_xact_lock(4852544832)"

static enum err make_set(struct db *db, const char *model, int32_t dims,
                         struct store_vector_set *out, struct error *error)
{
    enum err e = db_begin(db, error);
    if (e) return e;
    e = db_script(db, db_sql(db, "", NUMBERS_LOCK_PG), error);
    if (!e)
        e = db_run(db,
                   "INSERT INTO vector_sets (n, model, dims, created_ms)"
                   " SELECT COALESCE(MAX(n), 0) + 1, $1, $2, $3 FROM vector_sets WHERE true"
                   " ON CONFLICT (model, dims) WHERE dropped = 0 DO NOTHING",
                   DB_ARGS(db_text(model), db_int(dims), db_int(clock_wall_ms())), NULL, error);
    if (!e) e = find_set(db, model, dims, out, error);
    return db_end(db, e, error);
}

enum err store_vector_set_open(struct store *s, const char *model, int32_t dims,
                               struct store_vector_set *out, struct error *error)
{
    struct db *db;
    if (dims < 1 || dims > STORE_VECTOR_DIMS_MAX)
        return err_set(error, ERR_INVALID, "vectors of %d numbers: 1 to %d are possible", dims,
                       STORE_VECTOR_DIMS_MAX);
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = find_set(db, model, dims, out, error);
    store_release(s, db);
    if (e != ERR_NOT_FOUND) return e;
    e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = make_set(db, model, dims, out, error);
    store_release(s, db);
    return e;
}

enum err store_vector_set_get(struct store *s, int64_t set, struct store_vector_set *out,
                              struct error *error)
{
    struct db *db;
    struct db_rows *rows;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db, "SELECT " SET_COLUMNS " FROM vector_sets WHERE n = $1 AND dropped = 0",
               DB_ARGS(db_int(set)), "set of vectors", &rows, error);
    if (!e) read_set(rows, out);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

static enum err read_sets(struct db *db, struct arena *a, struct store_vector_set *out, size_t most,
                          size_t *n, struct error *error)
{
    struct db_rows *rows;
    bool has = true;
    enum err e =
        db_query(db, "SELECT " SET_COLUMNS " FROM vector_sets WHERE dropped = 0 ORDER BY n",
                 DB_NO_ARGS, &rows, error);
    if (e) return e;
    while (!e && has && *n < most) {
        e = db_next(rows, &has, error);
        if (e || !has) break;
        read_set(rows, &out[*n]);
        out[*n].model = db_take_text(rows, 5, a, &e);
        ++*n;
    }
    db_rows_free(rows);
    return e;
}

enum err store_vector_set_list(struct store *s, struct arena *a, struct store_vector_set **out,
                               size_t *n, struct error *error)
{
    struct db *db;
    int64_t count = 0;
    *n = 0;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_number(db, "SELECT COUNT(*) FROM vector_sets WHERE dropped = 0", DB_NO_ARGS, &count,
                  error);
    if (!e) {
        *out = arena_calloc(a, (size_t)count + 1, sizeof **out);
        e = *out ? read_sets(db, a, *out, (size_t)count, n, error)
                 : err_set(error, ERR_NOMEM, "no memory for the list of sets");
    }
    store_release(s, db);
    return e;
}

enum err store_vector_set_drop(struct store *s, int64_t set, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) {
        e = db_run(db, "UPDATE vector_sets SET dropped = 1 WHERE n = $1", DB_ARGS(db_int(set)),
                   NULL, error);
        if (!e)
            e = db_run(db, "DELETE FROM vectors WHERE set_n = $1", DB_ARGS(db_int(set)), NULL,
                       error);
        e = db_end(db, e, error);
    }
    store_release(s, db);
    return e;
}

/* ---- adding -------------------------------------------------------------------------------- */

/* Numbers for the batch. Locks the set's row until the transaction ends. */
static enum err take_numbers(struct db *db, const struct store_vector_add *add, int64_t *first,
                             struct error *error)
{
    struct db_rows *rows;
    enum err e =
        db_one(db,
               "UPDATE vector_sets SET last_seq = last_seq + $2"
               " WHERE n = $1 AND dropped = 0"
               " RETURNING last_seq, dims",
               DB_ARGS(db_int(add->set), db_int((int64_t)add->n)), "set of vectors", &rows, error);
    if (e) return e;
    int64_t dims = db_get_int(rows, 1);
    *first = store_vector_n(add->set, db_get_int(rows, 0) - (int64_t)add->n + 1);
    db_rows_free(rows);
    if (dims == add->dims) return OK;
    return err_set(error, ERR_INVALID, "a vector of %d numbers in a set of vectors of %lld",
                   add->dims, (long long)dims);
}

static enum err find_file(struct db *db, const char *id, int64_t *n, int64_t *collection,
                          struct error *error)
{
    struct db_rows *rows;
    enum err e = db_one(db, "SELECT n, collection_n FROM vector_files WHERE file_id = $1",
                        DB_ARGS(db_text(id)), "file", &rows, error);
    if (e) return e;
    *n = db_get_int(rows, 0);
    *collection = db_get_int(rows, 1);
    db_rows_free(rows);
    return OK;
}

static enum err take_file(struct db *db, const struct store_vector_add *add, int64_t *n,
                          struct error *error)
{
    int64_t collection = add->collection;
    enum err e = find_file(db, add->file_id, n, &collection, error);
    if (e == ERR_NOT_FOUND) {
        e = db_script(db, db_sql(db, "", NUMBERS_LOCK_PG), error);
        if (!e)
            e = db_run(db,
                       "INSERT INTO vector_files (n, file_id, collection_n)"
                       " SELECT COALESCE(MAX(n), 0) + 1, $1, $2 FROM vector_files WHERE true"
                       " ON CONFLICT (file_id) DO NOTHING",
                       DB_ARGS(db_text(add->file_id), db_int(add->collection)), NULL, error);
        if (!e) e = find_file(db, add->file_id, n, &collection, error);
    }
    if (!e && collection != add->collection)
        e = err_set(error, ERR_CONFLICT,
                    "the file's vectors are in collection %lld; remove them before they are added "
                    "to %lld",
                    (long long)collection, (long long)add->collection);
    return e;
}

/* Chunks of a batch mostly follow each other: one look tells whether any has a vector. */
static enum err remove_old(struct db *db, const struct store_vector_add *add, struct error *error)
{
    int64_t least = INT64_MAX, most = INT64_MIN, there = 0;
    for (size_t i = 0; i < add->n; i++) {
        if (add->chunks[i] < least) least = add->chunks[i];
        if (add->chunks[i] > most) most = add->chunks[i];
    }
    enum err e = db_number(db,
                           "SELECT COUNT(*) FROM (SELECT 1 FROM vectors WHERE set_n = $1"
                           " AND chunk_id BETWEEN $2 AND $3 LIMIT 1) AS old",
                           DB_ARGS(db_int(add->set), db_int(least), db_int(most)), &there, error);
    for (size_t i = 0; !e && there && i < add->n; i++)
        e = db_run(db, "DELETE FROM vectors WHERE set_n = $1 AND chunk_id = $2",
                   DB_ARGS(db_int(add->set), db_int(add->chunks[i])), NULL, error);
    return e;
}

size_t vector_bits_size(int32_t dims)
{
    return (size_t)(dims + 7) / 8;
}

void vector_signs(const float *v, int32_t dims, unsigned char *bits)
{
    memset(bits, 0, vector_bits_size(dims));
    for (int32_t i = 0; i < dims; i++) {
        float f;
        memcpy(&f, v + i, sizeof f);
        if (f > 0) bits[i / 8] |= (unsigned char)(1u << (i % 8));
    }
}

enum err vector_bits_insert(struct db *db, int64_t set, const struct store_vector_row *row,
                            int32_t dims, struct error *error)
{
    unsigned char bits[STORE_VECTOR_DIMS_MAX / 8];
    vector_signs(row->floats, dims, bits);
    return db_run(db,
                  "INSERT INTO vector_bits (set_n, collection_n, n, file_n, bits)"
                  " VALUES ($1, $2, $3, $4, $5)",
                  DB_ARGS(db_int(set), db_int(row->collection), db_int(row->n), db_int(row->file),
                          db_blob(bits, vector_bits_size(dims))),
                  NULL, error);
}

static enum err insert_one(struct store *s, struct db *db, const struct store_vector_add *add,
                           size_t i, const struct store_vector_row *row, struct error *error)
{
    enum err e = db_run(db,
                        "INSERT INTO vectors (n, set_n, collection_n, file_n, chunk_id, embedding)"
                        " VALUES ($1, $2, $3, $4, $5, $6)",
                        DB_ARGS(db_int(row->n), db_int(add->set), db_int(row->collection),
                                db_int(row->file), db_int(add->chunks[i]),
                                db_blob(row->floats, (size_t)add->dims * sizeof(float))),
                        NULL, error);
    if (!e && db_is_sqlite(db)) e = vector_bits_insert(db, add->set, row, add->dims, error);
    if (!e && add->pgvector) e = vector_pg_insert(s, db, add->set, row, add->dims, error);
    return e;
}

static enum err insert_all(struct store *s, struct db *db, const struct store_vector_add *add,
                           int64_t first, int64_t file, struct error *error)
{
    enum err e = OK;
    size_t dims = (size_t)add->dims;
    float *unit = xmalloc(dims * sizeof *unit);
    for (size_t i = 0; !e && i < add->n; i++) {
        struct store_vector_row row = {
            .n = first + (int64_t)i, .collection = add->collection, .file = file, .floats = unit};
        if (vec_normalise(add->floats + i * dims, dims, unit))
            e = insert_one(s, db, add, i, &row, error);
        else
            e = err_set(error, ERR_INVALID,
                        "the vector of chunk %lld has no direction: it is all zeros, or has "
                        "numbers in it that are none",
                        (long long)add->chunks[i]);
    }
    free(unit);
    return e;
}

enum err store_vector_add(struct store *s, const struct store_vector_add *add, int64_t *first,
                          int64_t *file, struct error *error)
{
    struct db *db;
    if (add->n < 1 || add->n > STORE_VECTOR_BATCH_MAX || add->dims < 1 ||
        add->dims > STORE_VECTOR_DIMS_MAX)
        return err_set(error, ERR_INVALID, "a batch of %zu vectors of %d numbers", add->n,
                       add->dims);
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) {
        e = take_numbers(db, add, first, error);
        if (!e) e = take_file(db, add, file, error);
        if (!e) e = remove_old(db, add, error);
        if (!e) e = insert_all(s, db, add, *first, *file, error);
        e = db_end(db, e, error);
    }
    store_release(s, db);
    return e;
}

/* ---- lists of numbers ----------------------------------------------------------------------- */

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static enum err read_numbers(struct db_rows *rows, int64_t **out, size_t *n, struct error *error)
{
    size_t room = 0;
    bool has = true;
    for (;;) {
        enum err e = db_next(rows, &has, error);
        if (e || !has) return e;
        if (*n == room) {
            room = room ? room * 2 : NUMBERS_GROW;
            int64_t *more = try_realloc(*out, room, sizeof **out);
            if (!more) return err_set(error, ERR_NOMEM, "no memory for %zu numbers", room);
            *out = more;
        }
        (*out)[(*n)++] = db_get_int(rows, 0);
    }
}

/* ---- removing, counting --------------------------------------------------------------------- */

static enum err remove_file(struct db *db, const char *file_id, int64_t **numbers, size_t *n,
                            struct error *error)
{
    struct db_rows *rows;
    enum err e = db_query(db,
                          "DELETE FROM vectors WHERE file_n ="
                          " (SELECT n FROM vector_files WHERE file_id = $1) RETURNING n",
                          DB_ARGS(db_text(file_id)), &rows, error);
    if (!e) e = read_numbers(rows, numbers, n, error);
    db_rows_free(rows);
    if (e) return e;
    if (*n) qsort(*numbers, *n, sizeof **numbers, compare_numbers);
    return db_run(db, "DELETE FROM vector_files WHERE file_id = $1", DB_ARGS(db_text(file_id)),
                  NULL, error);
}

enum err store_vector_remove_file(struct store *s, const char *file_id, int64_t **removed,
                                  size_t *n, struct error *error)
{
    struct db *db;
    *removed = NULL;
    *n = 0;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) e = db_end(db, remove_file(db, file_id, removed, n, error), error);
    store_release(s, db);
    if (e) {
        free(*removed);
        *removed = NULL;
        *n = 0;
    }
    return e;
}

enum err store_vector_count(struct store *s, int64_t set, const char *file_id, int64_t *n,
                            struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    if (file_id)
        e = db_number(db,
                      "SELECT COUNT(*) FROM vectors WHERE set_n = $1 AND file_n ="
                      " (SELECT n FROM vector_files WHERE file_id = $2)",
                      DB_ARGS(db_int(set), db_text(file_id)), n, error);
    else
        e = db_number(db, "SELECT COUNT(*) FROM vectors WHERE set_n = $1", DB_ARGS(db_int(set)), n,
                      error);
    store_release(s, db);
    return e;
}

enum err store_vector_files(struct store *s, const char *const *ids, size_t n_ids, int64_t *out,
                            size_t *n, struct error *error)
{
    struct db *db;
    *n = 0;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    for (size_t i = 0; !e && i < n_ids; i++) {
        int64_t collection;
        e = find_file(db, ids[i], &out[*n], &collection, error);
        if (!e) ++*n;
        if (e == ERR_NOT_FOUND) e = OK;
    }
    store_release(s, db);
    return e;
}

/* ---- walking ------------------------------------------------------------------------------- */

static enum err walk(struct db_rows *rows, int32_t dims, vector_row_fn fn, void *ctx, int64_t *last,
                     size_t *n, struct error *error)
{
    enum err e = OK;
    bool has = true;
    while (!e) {
        size_t len;
        e = db_next(rows, &has, error);
        if (e || !has) break;
        struct store_vector_row row = {.n = db_get_int(rows, 0),
                                       .collection = db_get_int(rows, 1),
                                       .file = db_get_int(rows, 2),
                                       .floats = db_get_blob(rows, 3, &len)};
        if (!row.floats || len != (size_t)dims * sizeof(float))
            return err_set(error, ERR_DATABASE, "vector %lld is damaged", (long long)row.n);
        *last = row.n;
        ++*n;
        e = fn(ctx, &row, error);
    }
    return e;
}

enum err vector_page(struct db *db, int64_t set, int32_t dims, int64_t after, int32_t limit,
                     vector_row_fn fn, void *ctx, int64_t *last, size_t *n, struct error *error)
{
    struct db_rows *rows;
    *last = after;
    *n = 0;
    int64_t from = after ? after : store_vector_n(set, 0);
    enum err e = db_query(db,
                          "SELECT n, collection_n, file_n, embedding FROM vectors WHERE n > $1"
                          " AND n < $2 ORDER BY n LIMIT $3",
                          DB_ARGS(db_int(from), db_int(store_vector_n(set + 1, 0)), db_int(limit)),
                          &rows, error);
    if (!e) e = walk(rows, dims, fn, ctx, last, n, error);
    db_rows_free(rows);
    return e;
}

enum err store_vector_each(struct store *s, const struct store_vector_set *set, int64_t after,
                           int32_t limit, vector_row_fn fn, void *ctx, int64_t *last,
                           struct error *error)
{
    struct db *db;
    size_t n;
    *last = after;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = vector_page(db, set->n, set->dims, after, limit, fn, ctx, last, &n, error);
    store_release(s, db);
    return e;
}

enum err store_vector_numbers(struct store *s, int64_t set, int64_t **out, size_t *n,
                              struct error *error)
{
    struct db *db;
    struct db_rows *rows;
    *out = NULL;
    *n = 0;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    /* SQLite: from vector_bits, whose rows are short. */
    e = db_query(db,
                 db_sql(db, "SELECT n FROM vector_bits WHERE set_n = $1 ORDER BY n",
                        "SELECT n FROM vectors WHERE set_n = $1 ORDER BY n"),
                 DB_ARGS(db_int(set)), &rows, error);
    if (!e) e = read_numbers(rows, out, n, error);
    db_rows_free(rows);
    store_release(s, db);
    if (e) {
        free(*out);
        *out = NULL;
        *n = 0;
    }
    return e;
}

/* ---- places -------------------------------------------------------------------------------- */

enum err store_vector_place_get(struct store *s, int64_t set, const char *place, int64_t *last_seq,
                                int64_t *removed, struct error *error)
{
    struct db *db;
    struct db_rows *rows;
    *last_seq = *removed = 0;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db, "SELECT last_seq, removed FROM vector_places WHERE set_n = $1 AND place = $2",
               DB_ARGS(db_int(set), db_text(place)), "place", &rows, error);
    if (!e) {
        *last_seq = db_get_int(rows, 0);
        *removed = db_get_int(rows, 1);
    }
    db_rows_free(rows);
    store_release(s, db);
    return e == ERR_NOT_FOUND ? OK : e;
}

enum err store_vector_place_put(struct store *s, int64_t set, const char *place, int64_t last_seq,
                                int64_t removed, struct error *error)
{
    return store_write(s,
                       "INSERT INTO vector_places (set_n, place, last_seq, removed)"
                       " VALUES ($1, $2, $3, $4) ON CONFLICT (set_n, place)"
                       " DO UPDATE SET last_seq = excluded.last_seq, removed = excluded.removed",
                       DB_ARGS(db_int(set), db_text(place), db_int(last_seq), db_int(removed)),
                       NULL, error);
}

enum err store_vector_place_drop(struct store *s, int64_t set, const char *place,
                                 struct error *error)
{
    return store_write(s, "DELETE FROM vector_places WHERE set_n = $1 AND place = $2",
                       DB_ARGS(db_int(set), db_text(place)), NULL, error);
}

static enum err read_dropped(struct db_rows *rows, struct store_vector_set *out, size_t most,
                             size_t *n, struct error *error)
{
    enum err e = OK;
    bool has = true;
    while (*n < most && !(e = db_next(rows, &has, error)) && has) read_set(rows, &out[(*n)++]);
    return e;
}

enum err store_vector_place_dropped(struct store *s, const char *place,
                                    struct store_vector_set *out, size_t most, size_t *n,
                                    struct error *error)
{
    struct db *db;
    struct db_rows *rows;
    *n = 0;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_query(db,
                 "SELECT " SET_COLUMNS " FROM vector_sets WHERE dropped = 1"
                 " AND n IN (SELECT set_n FROM vector_places WHERE place = $1) ORDER BY n",
                 DB_ARGS(db_text(place)), &rows, error);
    if (!e) e = read_dropped(rows, out, most, n, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}
