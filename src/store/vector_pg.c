/* Vectors in PostgreSQL's extension pgvector; see store_vector.h.
 *
 * Each set has a table of its own, since an index wants vectors of one length: vector_pg_<set> with
 * a foreign key to `vectors`, so that what goes there goes here. The extension's index is
 * approximate and filters what it has found; where that leaves too few, the table is scanned. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "store/vector_int.h"

enum { INDEX_DIMS_MAX = 2000 /* pgvector's limit */, PAGE = 500, CANDIDATES = 200 };

enum err store_pgvector_find(struct store *s, bool *found, struct error *error)
{
    struct db *db;
    int64_t there = 0;
    *found = false;
    if (!str_eq(store_kind(s), "postgresql")) return OK;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_number(db,
                  "SELECT COUNT(*) FROM pg_available_extensions WHERE name = 'vector'"
                  " OR EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'vector')",
                  DB_NO_ARGS, &there, error);
    if (!e && there) {
        struct error why;
        /* Somebody who may not make it may find it made by an administrator. */
        *found = db_script(db, "CREATE EXTENSION IF NOT EXISTS vector", &why) == OK;
        if (!*found)
            log_warn(store, "PostgreSQL has pgvector, but it can't be switched on: %s", why.msg);
    }
    store_release(s, db);
    return e;
}

/* ---- the wire form --------------------------------------------------------------------------- */

/* vector_recv() of pgvector: dimensions and 0 as 16 bits, then floats, all big-endian. */
static size_t wire_size(int32_t dims)
{
    return 4 + (size_t)dims * 4;
}

static void wire(const float *v, int32_t dims, unsigned char *out)
{
    uint16_t n = htobe16((uint16_t)dims);
    memcpy(out, &n, 2);
    memset(out + 2, 0, 2);
    for (int32_t i = 0; i < dims; i++) {
        uint32_t bits;
        memcpy(&bits, v + i, 4);
        bits = htobe32(bits);
        memcpy(out + 4 + (size_t)i * 4, &bits, 4);
    }
}

enum err vector_pg_insert(struct store *s, struct db *db, int64_t set,
                          const struct store_vector_row *row, int32_t dims, struct error *error)
{
    unsigned char *bytes = xmalloc(wire_size(dims));
    wire(row->floats, dims, bytes);
    const char *sql = store_text(s,
                                 "INSERT INTO vector_pg_%lld (n, collection_n, file_n, embedding)"
                                 " VALUES ($1, $2, $3, $4)",
                                 (long long)set);
    enum err e = sql ? db_run(db, sql,
                              DB_ARGS(db_int(row->n), db_int(row->collection), db_int(row->file),
                                      db_blob(bytes, wire_size(dims))),
                              NULL, error)
                     : err_set(error, ERR_INTERNAL, "too many sets of vectors");
    free(bytes);
    return e;
}

/* ---- table and index ------------------------------------------------------------------------- */

static enum err make_table(struct db *db, const struct store_vector_set *set, struct error *error)
{
    char sql[600];
    str_printf(sql, sizeof sql,
               "CREATE TABLE IF NOT EXISTS vector_pg_%lld ("
               " n BIGINT PRIMARY KEY REFERENCES vectors (n) ON DELETE CASCADE,"
               " collection_n BIGINT NOT NULL, file_n BIGINT NOT NULL,"
               " embedding vector(%d) NOT NULL);"
               "CREATE INDEX IF NOT EXISTS vector_pg_%lld_file ON vector_pg_%lld (file_n);",
               (long long)set->n, set->dims, (long long)set->n, (long long)set->n);
    return db_script(db, sql, error);
}

/* An old pgvector has no hnsw: its ivfflat then. */
static enum err make_index(struct db *db, const struct store_vector_set *set, struct error *error)
{
    char sql[400];
    int64_t hnsw = 0;
    if (set->dims > INDEX_DIMS_MAX) {
        log_info(store, "vectors of %d numbers are too long for an index of pgvector (%d)",
                 set->dims, INDEX_DIMS_MAX);
        return OK;
    }
    enum err e =
        db_number(db, "SELECT COUNT(*) FROM pg_am WHERE amname = 'hnsw'", DB_NO_ARGS, &hnsw, error);
    if (e) return e;
    str_printf(sql, sizeof sql,
               "CREATE INDEX IF NOT EXISTS vector_pg_%lld_near ON vector_pg_%lld USING %s"
               " (embedding vector_cosine_ops)",
               (long long)set->n, (long long)set->n, hnsw ? "hnsw" : "ivfflat");
    return db_script(db, sql, error);
}

struct filling {
    struct store *s;
    struct db *db;
    const struct store_vector_set *set;
};

static enum err fill_one(void *ctx, const struct store_vector_row *row, struct error *error)
{
    struct filling *f = ctx;
    return vector_pg_insert(f->s, f->db, f->set->n, row, f->set->dims, error);
}

/* What was added by a hub that did not use pgvector: at the end, since numbers only rise. */
static enum err fill(struct filling *f, struct error *error)
{
    int64_t after = 0;
    size_t count = PAGE;
    const char *sql =
        store_text(f->s, "SELECT COALESCE(MAX(n), $1) FROM vector_pg_%lld", (long long)f->set->n);
    if (!sql) return err_set(error, ERR_INTERNAL, "too many sets of vectors");
    enum err e =
        db_number(f->db, sql, DB_ARGS(db_int(store_vector_n(f->set->n, 0))), &after, error);
    while (!e && count >= PAGE) {
        e = db_begin(f->db, error);
        if (e) break;
        e = vector_page(f->db, f->set->n, f->set->dims, after, PAGE, fill_one, f, &after, &count,
                        error);
        e = db_end(f->db, e, error);
    }
    return e;
}

enum err store_pgvector_open(struct store *s, const struct store_vector_set *set,
                             struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    struct filling f = {.s = s, .db = db, .set = set};
    e = make_table(db, set, error);
    if (!e) e = fill(&f, error);
    if (!e) e = make_index(db, set, error);
    store_release(s, db);
    return e ? err_prefix(error, "pgvector") : OK;
}

/* ---- searching ------------------------------------------------------------------------------- */

#define NEAR                                                                                       \
    "SELECT v.n, v.chunk_id, v.file_n, v.embedding FROM (SELECT n FROM vector_pg_%lld"             \
    " WHERE " VECTOR_IN_PG(                                                                        \
        "collection_n",                                                                            \
        "$1") "%s"                                                                                 \
              " ORDER BY embedding <=> $3::vector LIMIT $4) near JOIN vectors v ON v.n = near.n"

struct lists {
    struct buf collections, files;
};

static enum err ask(struct store *s, struct db *db, const struct store_vector_query *q,
                    const struct lists *lists, const float *unit, struct vector_best *best,
                    struct error *error)
{
    struct db_rows *rows;
    int64_t last = 0;
    size_t n = 0, candidates = q->k * 2 > CANDIDATES ? q->k * 2 : CANDIDATES;
    const char *sql =
        store_text(s, NEAR, (long long)q->set,
                   q->by_file ? " AND " VECTOR_IN_PG("file_n", "$2") : " AND $2::text IS NOT NULL");
    if (!sql) return err_set(error, ERR_INTERNAL, "too many sets of vectors");
    unsigned char *bytes = xmalloc(wire_size(q->dims));
    wire(unit, q->dims, bytes);
    best->n = 0;
    enum err e =
        db_query(db, sql,
                 DB_ARGS(db_text(buf_str(&lists->collections)), db_text(buf_str(&lists->files)),
                         db_blob(bytes, wire_size(q->dims)), db_int((int64_t)candidates)),
                 &rows, error);
    free(bytes);
    return e ? e : vector_best_rows(best, rows, q, unit, &last, &n, error);
}

/* Settings of one transaction. Those that this pgvector does not know must not end it. */
static enum err search(struct store *s, struct db *db, const struct store_vector_query *q,
                       const struct lists *lists, const float *unit, struct vector_best *best,
                       struct error *error)
{
    int64_t all = 0;
    enum err e = db_begin(db, error);
    if (e) return e;
    e = db_script(db, "SET LOCAL hnsw.ef_search = 400; SET LOCAL ivfflat.probes = 20", error);
    if (!e) e = ask(s, db, q, lists, unit, best, error);
    if (!e && best->n < q->k) {
        /* Too few: either there are no more, or the filter took away what the index found. */
        const char *count = store_text(s, "SELECT COUNT(*) FROM vector_pg_%lld", (long long)q->set);
        if (count) e = db_number(db, count, DB_NO_ARGS, &all, error);
        if (!e && (int64_t)best->n < all) {
            e = db_script(db, "SET LOCAL enable_indexscan = off", error);
            if (!e) e = ask(s, db, q, lists, unit, best, error);
        }
    }
    return db_end(db, e, error);
}

enum err store_pgvector_search(struct store *s, const struct store_vector_query *q,
                               struct store_vector_hit *out, size_t *n, struct error *error)
{
    struct db *db;
    struct lists lists = {0};
    float *unit = NULL;
    struct vector_best best = {.hits = out, .k = q->k};
    *n = 0;
    if (!q->n_collections || (q->by_file && !q->n_files)) return OK;
    enum err e = vector_unit(q, &unit, error);
    if (!e) e = vector_list(&lists.collections, q->collections, q->n_collections, error);
    if (!e) e = vector_list(&lists.files, q->files, q->by_file ? q->n_files : 0, error);
    if (!e) e = store_acquire(s, STORE_READ, &db, error);
    if (!e) {
        e = search(s, db, q, &lists, unit, &best, error);
        store_release(s, db);
    }
    *n = e ? 0 : best.n;
    buf_free(&lists.collections);
    buf_free(&lists.files);
    free(unit);
    return e;
}
