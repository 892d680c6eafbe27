/* Searching vectors in the database itself; see store_vector.h.
 *
 * On SQLite a search has two steps in one statement: the signs of all the vectors' numbers (96
 * bytes for 768 numbers, side by side per collection) are compared with the query's, and the
 * nearest few hundred vectors are read whole and compared for good. Of sqlite-vec this uses the
 * distance function and not its own tables: those are slower for a few hundred candidates, and
 * can't take another filter (docs/decisions/0022). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "store/vector_int.h"

enum { PAGE = 1000, CANDIDATES_MIN = 256, CANDIDATES_PER_HIT = 24, MEND_PAGE = 500 };

/* ---- the best of many ---------------------------------------------------------------------- */

static void best_add(struct vector_best *best, const struct store_vector_hit *hit)
{
    if (best->n == best->k && hit->distance >= best->hits[best->n - 1].distance) return;
    size_t low = 0, high = best->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (best->hits[middle].distance <= hit->distance)
            low = middle + 1;
        else
            high = middle;
    }
    if (best->n < best->k) best->n++;
    memmove(&best->hits[low + 1], &best->hits[low], (best->n - 1 - low) * sizeof *hit);
    best->hits[low] = *hit;
}

enum err vector_best_rows(struct vector_best *best, struct db_rows *rows,
                          const struct store_vector_query *q, const float *unit, int64_t *last,
                          size_t *n_rows, struct error *error)
{
    enum err e;
    bool has = true;
    size_t dims = (size_t)q->dims;
    for (;;) {
        size_t len;
        e = db_next(rows, &has, error);
        if (e || !has) break;
        const float *floats = db_get_blob(rows, 3, &len);
        struct store_vector_hit hit = {
            .n = db_get_int(rows, 0), .chunk_id = db_get_int(rows, 1), .file = db_get_int(rows, 2)};
        ++*n_rows;
        *last = hit.n;
        if (!floats || len != dims * sizeof(float)) {
            e = err_set(error, ERR_DATABASE, "vector %lld is damaged", (long long)hit.n);
            break;
        }
        hit.distance = 1 - vec_dot(floats, unit, dims);
        best_add(best, &hit);
    }
    db_rows_free(rows);
    return e;
}

enum err vector_unit(const struct store_vector_query *q, float **out, struct error *error)
{
    if (q->dims < 1 || q->dims > STORE_VECTOR_DIMS_MAX || q->k < 1 || q->k > STORE_VECTOR_K_MAX)
        return err_set(error, ERR_INVALID, "a search for %zu vectors of %d numbers", q->k, q->dims);
    if (q->n_collections > STORE_VECTOR_LIST_MAX || q->n_files > STORE_VECTOR_LIST_MAX)
        return err_set(error, ERR_TOO_LARGE, "more than %d collections or files in one search",
                       STORE_VECTOR_LIST_MAX);
    *out = xmalloc((size_t)q->dims * sizeof **out);
    if (vec_normalise(q->floats, (size_t)q->dims, *out)) return OK;
    free(*out);
    *out = NULL;
    return err_set(error, ERR_INVALID, "the vector to search for has no direction");
}

/* ---- what every search needs ---------------------------------------------------------------- */

struct search {
    const struct store_vector_query *q;
    struct buf collections, files;
    float *unit;
    struct vector_best best;
};

static void search_free(struct search *s)
{
    buf_free(&s->collections);
    buf_free(&s->files);
    free(s->unit);
}

static enum err search_init(struct search *s, const struct store_vector_query *q,
                            struct store_vector_hit *out, struct error *error)
{
    *s = (struct search){.q = q, .best = {.hits = out, .k = q->k}};
    enum err e = vector_unit(q, &s->unit, error);
    if (!e) e = vector_list(&s->collections, q->collections, q->n_collections, error);
    if (!e) e = vector_list(&s->files, q->files, q->by_file ? q->n_files : 0, error);
    if (e) search_free(s);
    return e;
}

/* ---- every vector -------------------------------------------------------------------------- */

#define EXACT(in_collections, in_files)                                                            \
    "SELECT n, chunk_id, file_n, embedding FROM vectors WHERE n > $1 AND n < $2"                   \
    " AND " in_collections in_files " ORDER BY n LIMIT $5"

static const char *exact_sql(struct db *db, bool by_file)
{
    if (db_is_sqlite(db))
        return by_file ? EXACT(VECTOR_IN_LITE("collection_n", "$3"),
                               " AND " VECTOR_IN_LITE("file_n", "$4"))
                       : EXACT(VECTOR_IN_LITE("collection_n", "$3"), "");
    /* PostgreSQL wants to know the type of every parameter, used or not. */
    return by_file ? EXACT(VECTOR_IN_PG("collection_n", "$3"), " AND " VECTOR_IN_PG("file_n", "$4"))
                   : EXACT(VECTOR_IN_PG("collection_n", "$3"), " AND $4::text IS NOT NULL");
}

static enum err exact(struct db *db, struct search *s, const struct buf *list, struct error *error)
{
    (void)list;
    int64_t last = store_vector_n(s->q->set, 0);
    for (;;) {
        struct db_rows *rows;
        size_t n = 0;
        enum err e = db_query(db, exact_sql(db, s->q->by_file),
                              DB_ARGS(db_int(last), db_int(store_vector_n(s->q->set + 1, 0)),
                                      db_text(buf_str(&s->collections)),
                                      db_text(buf_str(&s->files)), db_int(PAGE)),
                              &rows, error);
        if (!e) e = vector_best_rows(&s->best, rows, s->q, s->unit, &last, &n, error);
        if (e || n < PAGE) return e;
    }
}

/* One way of searching with all that it needs; `list` is what only some need. */
typedef enum err (*search_fn)(struct db *db, struct search *s, const struct buf *list,
                              struct error *error);

static enum err run(struct store *s, const struct store_vector_query *q, search_fn fn,
                    const struct buf *list, struct store_vector_hit *out, size_t *n,
                    struct error *error)
{
    struct db *db;
    struct search search;
    *n = 0;
    if (!q->n_collections || (q->by_file && !q->n_files)) return OK;
    enum err e = search_init(&search, q, out, error);
    if (e) return e;
    e = store_acquire(s, STORE_READ, &db, error);
    if (!e) {
        e = fn(db, &search, list, error);
        store_release(s, db);
    }
    *n = e ? 0 : search.best.n;
    search_free(&search);
    return e;
}

enum err store_vector_exact(struct store *s, const struct store_vector_query *q,
                            struct store_vector_hit *out, size_t *n, struct error *error)
{
    return run(s, q, exact, NULL, out, n, error);
}

/* ---- SQLite: signs first --------------------------------------------------------------------- */

#define NEAR(in_files)                                                                             \
    "WITH near AS MATERIALIZED (SELECT n FROM vector_bits WHERE set_n = $1"                        \
    " AND " VECTOR_IN_LITE("collection_n", "$2") in_files                                          \
        " ORDER BY vec_distance_hamming(vec_bit(bits), vec_bit($4)) LIMIT $5)"                     \
        " SELECT v.n, v.chunk_id, v.file_n, v.embedding FROM near CROSS JOIN vectors v"            \
        " ON v.n = near.n"

static enum err near(struct db *db, struct search *s, const struct buf *list, struct error *error)
{
    (void)list;
    if (!db_is_sqlite(db)) return ERR_INTERNAL;
    unsigned char bits[STORE_VECTOR_DIMS_MAX / 8];
    struct db_rows *rows;
    int64_t last = 0;
    size_t n = 0, candidates = s->q->k * CANDIDATES_PER_HIT;
    if (candidates < CANDIDATES_MIN) candidates = CANDIDATES_MIN;
    vector_signs(s->unit, s->q->dims, bits);
    enum err e = db_query(
        db, s->q->by_file ? NEAR(" AND " VECTOR_IN_LITE("file_n", "$3")) : NEAR(""),
        DB_ARGS(db_int(s->q->set), db_text(buf_str(&s->collections)), db_text(buf_str(&s->files)),
                db_blob(bits, vector_bits_size(s->q->dims)), db_int((int64_t)candidates)),
        &rows, error);
    return e ? e : vector_best_rows(&s->best, rows, s->q, s->unit, &last, &n, error);
}

/* OK when store_vector_search can work here. */
static enum err search_check(struct store *s, struct error *error)
{
    struct db *db;
    struct db_rows *rows;
    if (!str_eq(store_kind(s), "sqlite"))
        return err_set(error, ERR_UNSUPPORTED,
                       "sqlite-vec searches SQLite files, and the database is %s", store_kind(s));
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db, "SELECT vec_version()", DB_NO_ARGS, "version", &rows, error);
    db_rows_free(rows);
    store_release(s, db);
    if (e != ERR_INTERNAL) return e;
    const char *file = store_vec_extension(s);
    return err_set(error, ERR_CONFIG,
                   "vectors can't be searched: sqlite-vec (%s) is missing or can't be loaded; it "
                   "belongs into the folder of HEARTH_LIB",
                   file ? file : "vec0.so");
}

enum err store_vector_search(struct store *s, const struct store_vector_query *q,
                             struct store_vector_hit *out, size_t *n, struct error *error)
{
    struct error other;
    enum err e = run(s, q, near, NULL, out, n, error);
    if (e != ERR_INTERNAL) return e;
    /* Most likely there is no such function. */
    enum err c = search_check(s, &other);
    return c ? err_set(error, c, "%s", other.msg) : e;
}

/* ---- the vectors decide ---------------------------------------------------------------------- */

#define THESE(in, in_collections, in_files)                                                        \
    "SELECT n, chunk_id, file_n, embedding FROM vectors WHERE " in " AND " in_collections in_files

static const char *these_sql(struct db *db, bool by_file)
{
    if (db_is_sqlite(db))
        return by_file
                   ? THESE(VECTOR_IN_LITE("n", "$1"), VECTOR_IN_LITE("+collection_n", "$2"),
                           " AND " VECTOR_IN_LITE("+file_n", "$3"))
                   : THESE(VECTOR_IN_LITE("n", "$1"), VECTOR_IN_LITE("+collection_n", "$2"), "");
    return by_file ? THESE(VECTOR_IN_PG("n", "$1"), VECTOR_IN_PG("collection_n", "$2"),
                           " AND " VECTOR_IN_PG("file_n", "$3"))
                   : THESE(VECTOR_IN_PG("n", "$1"), VECTOR_IN_PG("collection_n", "$2"),
                           " AND $3::text IS NOT NULL");
}

static enum err these(struct db *db, struct search *s, const struct buf *list, struct error *error)
{
    struct db_rows *rows;
    int64_t last;
    size_t n = 0;
    enum err e = db_query(db, these_sql(db, s->q->by_file),
                          DB_ARGS(db_text(buf_str(list)), db_text(buf_str(&s->collections)),
                                  db_text(buf_str(&s->files))),
                          &rows, error);
    return e ? e : vector_best_rows(&s->best, rows, s->q, s->unit, &last, &n, error);
}

enum err store_vector_rescore(struct store *s, const struct store_vector_query *q,
                              const int64_t *candidates, size_t n_candidates,
                              struct store_vector_hit *out, size_t *n, struct error *error)
{
    struct buf list;
    *n = 0;
    if (!n_candidates) return OK;
    enum err e = vector_list(&list, candidates, n_candidates, error);
    if (!e) e = run(s, q, these, &list, out, n, error);
    buf_free(&list);
    return e;
}

/* ---- signs that are missing ------------------------------------------------------------------ */

struct mending {
    struct db *db;
    int64_t set;
    int32_t dims;
};

/* Reading and writing different tables of one connection at once is fine with SQLite. */
static enum err mend_one(void *ctx, const struct store_vector_row *row, struct error *error)
{
    struct mending *m = ctx;
    return vector_bits_insert(m->db, m->set, row, m->dims, error);
}

/* Numbers rise, and whoever adds a vector adds its signs: what is missing is at the end. */
enum err store_vector_mend(struct store *s, int64_t set, struct error *error)
{
    struct db *db;
    int64_t after = 0, dims = 0;
    size_t count = MEND_PAGE;
    if (!str_eq(store_kind(s), "sqlite")) return OK;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_number(db, "SELECT COALESCE(MAX(n), $2) FROM vector_bits WHERE set_n = $1",
                  DB_ARGS(db_int(set), db_int(store_vector_n(set, 0))), &after, error);
    if (!e)
        e = db_number(db, "SELECT dims FROM vector_sets WHERE n = $1", DB_ARGS(db_int(set)), &dims,
                      error);
    struct mending m = {db, set, (int32_t)dims};
    while (!e && count >= MEND_PAGE) {
        e = db_begin(db, error);
        if (!e)
            e = db_end(
                db,
                vector_page(db, set, m.dims, after, MEND_PAGE, mend_one, &m, &after, &count, error),
                error);
    }
    store_release(s, db);
    return e;
}
