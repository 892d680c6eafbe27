/* Chunks by their words; see store_chunk.h and chunk_words.c.
 *
 * FTS5 has BM25. PostgreSQL has none, but its ts_rank of a single word is a known function of how
 * often the word is there (a sum of 1/i^2), which 0.6079/(1 - r) - 0.5 turns back within 5 %; with
 * the number of chunks that have the word, counted here, that makes BM25 with k1 = 1.2 and
 * b = 0.75, as in FTS5. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/chunk_int.h"
#include "store/store_int.h"

enum {
    RANKED_SQLITE = 20000, /* about a microsecond each */
    RANKED_PG = 3000,      /* and thirty */
    COUNTED_PG = 20000,    /* more are as many as this */
    QUERY_MAX = 64 << 10,
    RANGES_APART = 4, /* up to so many ranges are searched one by one */
};
#define SCORE_UNIT 1e6

void chunk_numbers(struct buf *out, const int64_t *numbers, size_t n)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < n; i++) buf_printf(out, "%s%lld", i ? "," : "", (long long)numbers[i]);
    buf_putc(out, ']');
}

static enum err read_hits(struct db_rows *rows, size_t k, struct store_chunk_hit *out, size_t *n,
                          struct error *error)
{
    bool has = true;
    enum err e = OK;
    while (!e && *n < k) {
        e = db_next(rows, &has, error);
        if (e || !has) break;
        out[(*n)++] = (struct store_chunk_hit){.id = db_get_int(rows, 0),
                                               .score = (double)db_get_int(rows, 1) / SCORE_UNIT};
    }
    return e;
}

/* ---- SQLite -------------------------------------------------------------------------------- */

struct range {
    int64_t from, to;
};

static void quote(struct buf *out, const struct chunk_words *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_puts(out, i ? " OR \"" : "(\"");
        for (const char *c = w->list[i].text; *c; c++) {
            if (*c == '"') buf_putc(out, '"');
            buf_putc(out, *c);
        }
        buf_putc(out, '"');
    }
    buf_putc(out, ')');
}

static enum err count_sqlite(struct db *db, struct chunk_words *w, struct error *error)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < w->n; i++) {
        struct chunk_words one = {.list = {w->list[i]}, .n = 1};
        char text[2 * sizeof one.list[0].text + 8];
        struct buf b;
        buf_init_fixed(&b, text, sizeof text);
        quote(&b, &one, 1);
        e = db_number(db, "SELECT COUNT(*) FROM chunks_text WHERE chunks_text MATCH $1",
                      DB_ARGS(db_text(text)), &w->list[i].df, error);
    }
    return e;
}

static int by_from(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

/* The ids of what is searched. `out` has room for all collections or files. */
static enum err find_ranges(struct db *db, const struct store_scope *scope, struct range *out,
                            size_t *n, struct error *error)
{
    static const char of_file[] = "SELECT MIN(id), MAX(id) FROM chunks WHERE file_id = $1";
    static const char of_collection[] =
        "SELECT space << 36, ((space + 1) << 36) - 1 FROM chunk_spaces WHERE collection_n = $1";
    size_t most = scope->n_files ? scope->n_files : scope->n_collections;
    enum err e = OK;
    _Static_assert(CHUNK_SPACE_BITS == 36, "the number stands in SQL");
    for (size_t i = 0; !e && i < most; i++) {
        struct db_rows *rows = NULL;
        struct db_value key =
            scope->n_files ? db_text(scope->files[i]) : db_int(scope->collections[i]);
        e = db_one(db, scope->n_files ? of_file : of_collection, DB_ARGS(key), "range", &rows,
                   error);
        if (!e && !db_is_null(rows, 0))
            out[(*n)++] = (struct range){db_get_int(rows, 0), db_get_int(rows, 1)};
        if (e == ERR_NOT_FOUND) e = OK; /* without chunks yet */
        db_rows_free(rows);
    }
    qsort(out, *n, sizeof *out, by_from);
    return e;
}

static enum err search_range(struct db *db, const char *match, const struct range *r, size_t k,
                             struct store_chunk_hit *out, size_t *n, struct error *error)
{
    struct db_rows *rows = NULL;
    *n = 0;
    enum err e = db_query(
        db,
        "SELECT rowid, CAST(-rank * 1000000.0 AS INTEGER) FROM chunks_text"
        " WHERE chunks_text MATCH $1 AND rowid BETWEEN $2 AND $3"
        " ORDER BY rank LIMIT $4",
        DB_ARGS(db_text(match), db_int(r->from), db_int(r->to), db_int((int64_t)k)), &rows, error);
    if (!e) e = read_hits(rows, k, out, n, error);
    db_rows_free(rows);
    return e;
}

/* From the first range to the last one, and what lies between is dropped. */
static enum err search_hull(struct db *db, const char *match, const struct range *r, size_t n_r,
                            size_t k, struct store_chunk_hit *out, size_t *n, struct error *error)
{
    struct db_rows *rows = NULL;
    struct buf json;
    *n = 0;
    buf_init(&json, 64 * (n_r + 1));
    for (size_t i = 0; i < n_r; i++)
        buf_printf(&json, "%s[%lld,%lld]", i ? "," : "[", (long long)r[i].from, (long long)r[i].to);
    buf_putc(&json, ']');
    enum err e =
        db_query(db,
                 "SELECT rowid, CAST(-rank * 1000000.0 AS INTEGER) FROM chunks_text"
                 " WHERE chunks_text MATCH $1 AND rowid BETWEEN $2 AND $3 AND EXISTS (SELECT 1 FROM"
                 " json_each($5) j WHERE chunks_text.rowid BETWEEN j.value ->> 0 AND j.value ->> 1)"
                 " ORDER BY rank LIMIT $4",
                 DB_ARGS(db_text(match), db_int(r->from), db_int(r[n_r - 1].to), db_int((int64_t)k),
                         db_text(buf_str(&json))),
                 &rows, error);
    if (!e) e = read_hits(rows, k, out, n, error);
    db_rows_free(rows);
    buf_free(&json);
    return e;
}

static int by_score(const void *a, const void *b)
{
    const struct store_chunk_hit *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static enum err search_ranges(struct db *db, const char *match, const struct range *r, size_t n_r,
                              size_t k, struct store_chunk_hit *out, size_t *n, struct error *error)
{
    if (n_r > RANGES_APART) return search_hull(db, match, r, n_r, k, out, n, error);
    struct store_chunk_hit *all = try_calloc(n_r * k, sizeof *all);
    if (!all) return err_set(error, ERR_NOMEM, "no memory for a search");
    enum err e = OK;
    size_t total = 0;
    for (size_t i = 0, found; !e && i < n_r; i++, total += found)
        e = search_range(db, match, &r[i], k, all + total, &found, error);
    qsort(all, total, sizeof *all, by_score);
    *n = total < k ? total : k;
    memcpy(out, all, *n * sizeof *out);
    free(all);
    return e;
}

static enum err search_sqlite(struct db *db, const struct store_scope *scope, struct chunk_words *w,
                              size_t k, struct store_chunk_hit *out, size_t *n, struct error *error)
{
    struct buf match;
    size_t n_r = 0;
    enum err e = count_sqlite(db, w, error);
    if (e) return e;
    chunk_words_order(w, RANKED_SQLITE);
    if (!w->n) return OK;
    struct range *r = xcalloc(scope->n_files + scope->n_collections, sizeof *r);
    buf_init(&match, QUERY_MAX);
    quote(&match, w, w->n_needed);
    if (w->n > w->n_needed) {
        buf_puts(&match, " AND ");
        quote(&match, w, w->n);
    }
    e = match.err ? err_set(error, match.err, "the search is too long")
                  : find_ranges(db, scope, r, &n_r, error);
    if (!e && n_r) e = search_ranges(db, buf_str(&match), r, n_r, k, out, n, error);
    buf_free(&match);
    free(r);
    return e;
}

/* ---- PostgreSQL ---------------------------------------------------------------------------- */

static enum err count_pg(struct db *db, struct chunk_words *w, int64_t *total, struct error *error)
{
    enum err e = db_number(db,
                           "SELECT GREATEST(reltuples, 1000)::bigint FROM pg_class"
                           " WHERE oid = 'chunks'::regclass",
                           DB_NO_ARGS, total, error);
    for (size_t i = 0; !e && i < w->n; i++)
        e = db_number(db,
                      "SELECT COUNT(*) FROM (SELECT 1 FROM chunks"
                      " WHERE words @@ plainto_tsquery('simple', $1) LIMIT $2) AS counted",
                      DB_ARGS(db_text(w->list[i].text), db_int(COUNTED_PG)), &w->list[i].df, error);
    return e;
}

/* [["word", idf, needed], ...] */
static void words_json(struct buf *out, const struct chunk_words *w, int64_t total)
{
    struct jw j;
    jw_init(&j, out);
    jw_arr(&j);
    for (size_t i = 0; i < w->n; i++) {
        double df = (double)w->list[i].df, all = total > w->list[i].df ? (double)total : df;
        jw_arr(&j);
        jw_str(&j, w->list[i].text);
        jw_double(&j, log(1 + (all - df + 0.5) / (df + 0.5)));
        jw_int(&j, i < w->n_needed);
        jw_arr_end(&j);
    }
    jw_arr_end(&j);
}

static void files_json(struct buf *out, const struct store_scope *scope)
{
    struct jw j;
    jw_init(&j, out);
    jw_arr(&j);
    for (size_t i = 0; i < scope->n_files; i++) jw_str(&j, scope->files[i]);
    jw_arr_end(&j);
}

static const char search_pg_sql[] =
    "WITH q AS MATERIALIZED (SELECT plainto_tsquery('simple', e ->> 0) AS w,"
    "  (e ->> 1)::float8 AS idf, (e ->> 2) = '1' AS needed FROM "
    "jsonb_array_elements($1::text::jsonb) e),"
    " a AS (SELECT string_agg('(' || w::text || ')', ' | ')::tsquery AS any_of FROM q WHERE "
    "needed),"
    " c AS MATERIALIZED (SELECT k.id, k.words, k.tokens FROM a JOIN chunks k ON k.words @@ a.any_of"
    "  WHERE k.collection_n IN (SELECT e::bigint FROM jsonb_array_elements_text($2::text::jsonb) e)"
    "  AND ($3::text = '[]' OR k.file_id IN (SELECT e FROM "
    "jsonb_array_elements_text($3::text::jsonb) e))"
    "  LIMIT $4),"
    " m AS (SELECT GREATEST(AVG(tokens), 1)::float8 AS mean FROM c)"
    " SELECT c.id, ((SELECT SUM(q.idf * 2.2 * t.tf / (t.tf + 1.2 * (0.25 + 0.75 * c.tokens / "
    "m.mean)))"
    "  FROM q CROSS JOIN LATERAL (SELECT CASE WHEN c.words @@ q.w THEN 0.6079 / (1.0001 -"
    "   LEAST(ts_rank('{1,1,1,1}', c.words, q.w)::float8, 1)) - 0.5 ELSE 0 END AS tf) t)"
    "  * 1000000)::bigint AS score FROM c, m ORDER BY score DESC, c.id LIMIT $5";

static enum err search_pg(struct db *db, const struct store_scope *scope, struct chunk_words *w,
                          size_t k, struct store_chunk_hit *out, size_t *n, struct error *error)
{
    struct buf words, collections, files;
    struct db_rows *rows = NULL;
    int64_t total;
    enum err e = count_pg(db, w, &total, error);
    if (e) return e;
    chunk_words_order(w, RANKED_PG);
    if (!w->n) return OK;
    buf_init(&words, QUERY_MAX);
    buf_init(&collections, QUERY_MAX);
    buf_init(&files, STORE_SCOPE_MAX * 400);
    words_json(&words, w, total);
    chunk_numbers(&collections, scope->collections, scope->n_collections);
    files_json(&files, scope);
    if (words.err || collections.err || files.err)
        e = err_set(error, ERR_TOO_LARGE, "the search is too long");
    if (!e)
        e = db_query(db, search_pg_sql,
                     DB_ARGS(db_text(buf_str(&words)), db_text(buf_str(&collections)),
                             db_text(buf_str(&files)), db_int(10 * RANKED_PG), db_int((int64_t)k)),
                     &rows, error);
    if (!e) e = read_hits(rows, k, out, n, error);
    db_rows_free(rows);
    buf_free(&words);
    buf_free(&collections);
    buf_free(&files);
    return e;
}

enum err store_chunk_search(struct store *s, const struct store_scope *scope, const char *text,
                            size_t k, struct store_chunk_hit *out, size_t *n, struct error *error)
{
    struct db *db;
    struct chunk_words w;
    *n = 0;
    chunk_words_of(text, &w);
    if (!w.n || !k || !scope->n_collections) return OK;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_is_sqlite(db) ? search_sqlite(db, scope, &w, k, out, n, error)
                         : search_pg(db, scope, &w, k, out, n, error);
    store_release(s, db);
    return e;
}
