/* Chunks by their words; see store_chunk.h and chunk_words.c.
 *
 * How many chunks have a word is counted up to a point, and estimated from there; so a search takes
 * as long in a million chunks as in a hundred thousand. FTS5's BM25 would count them all, so SQLite
 * ranks by fts_rank.h. PostgreSQL has no BM25, but its ts_rank of a single word is a known function
 * of how often the word is there (a sum of 1/i^2), which 0.6079/(1 - r) - 0.5 turns back within 5
 * %; with the number of chunks that have the word, counted here, that makes BM25 with k1 = 1.2 and
 * b = 0.75, as in FTS5. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/chunk_int.h"
#include "store/fts_rank.h"
#include "store/store_int.h"

enum {
    RANKED_SQLITE = 20000, /* about half a microsecond each */
    RANKED_PG = 3000,      /* and thirty */
    COUNTED_SQLITE = 2000, /* more are estimated */
    COUNTED_PG = 20000,    /* more are as many as this */
    QUERY_MAX = 64 << 10,
    RANKED_MOST = 10 * RANKED_SQLITE, /* where one word alone has more */
    RANGES_APART = 4,                 /* up to so many ranges are searched one by one */
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

/* Inverse document frequency; never negative. */
static double idf(const struct chunk_word *w, int64_t total)
{
    double df = (double)w->df, all = total > w->df ? (double)total : df;
    return log(1 + (all - df + 0.5) / (df + 0.5));
}

/* ---- SQLite -------------------------------------------------------------------------------- */

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

/* Ids are given in order, so where the first COUNTED_SQLITE chunks with a word end says how many
 * have it in all, about. */
static enum err estimate(struct db *db, int64_t last, int64_t *df, struct error *error)
{
    struct db_rows *rows = NULL;
    enum err e = db_one(db,
                        "SELECT SUM(MIN(next, MAX(0, $1 + 1 - (space << 36)))), SUM(next)"
                        " FROM chunk_spaces",
                        DB_ARGS(db_int(last)), "sum", &rows, error);
    if (e) return e;
    double before = (double)db_get_int(rows, 0), all = (double)db_get_int(rows, 1);
    db_rows_free(rows);
    if (before > 0 && all > before) *df = (int64_t)((double)*df * all / before);
    return OK;
}

static enum err count_sqlite(struct db *db, struct chunk_words *w, int64_t *total,
                             struct error *error)
{
    enum err e =
        db_number(db, "SELECT COALESCE(SUM(next), 0) FROM chunk_spaces", DB_NO_ARGS, total, error);
    for (size_t i = 0; !e && i < w->n; i++) {
        struct chunk_words one = {.list = {w->list[i]}, .n = 1};
        char text[2 * sizeof one.list[0].text + 8];
        struct buf b;
        struct db_rows *rows = NULL;
        buf_init_fixed(&b, text, sizeof text);
        quote(&b, &one, 1);
        e = db_one(db,
                   "SELECT COUNT(*), MAX(id) FROM (SELECT rowid AS id FROM chunks_text"
                   " WHERE chunks_text MATCH $1 LIMIT $2)",
                   DB_ARGS(db_text(text), db_int(COUNTED_SQLITE)), "count", &rows, error);
        if (e) return e;
        int64_t *df = &w->list[i].df, last = db_get_int(rows, 1);
        *df = db_get_int(rows, 0);
        db_rows_free(rows);
        if (*df >= COUNTED_SQLITE) e = estimate(db, last, df, error);
    }
    return e;
}

static int by_from(const void *a, const void *b)
{
    const struct fts_range *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

/* The ids of what is searched. `out` has room for all collections or files. */
static enum err find_ranges(struct db *db, const struct store_scope *scope, struct fts_range *out,
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
            out[(*n)++] = (struct fts_range){db_get_int(rows, 0), db_get_int(rows, 1)};
        if (e == ERR_NOT_FOUND) e = OK; /* without chunks yet */
        db_rows_free(rows);
    }
    qsort(out, *n, sizeof *out, by_from);
    return e;
}

/* All rows that have a score; *out grows. */
static enum err read_ranked(struct db_rows *rows, struct store_chunk_hit **out, size_t *n,
                            size_t *room, struct error *error)
{
    bool has = true;
    for (;;) {
        enum err e = db_next(rows, &has, error);
        if (e || !has) return e;
        if (db_is_null(rows, 1)) continue;
        if (*n == *room) {
            size_t bigger = *room ? 2 * *room : 256;
            struct store_chunk_hit *more = try_realloc(*out, bigger, sizeof *more);
            if (!more) return err_set(error, ERR_NOMEM, "no memory for a search");
            *out = more;
            *room = bigger;
        }
        (*out)[(*n)++] = (struct store_chunk_hit){
            .id = db_get_int(rows, 0), .score = (double)db_get_int(rows, 1) / FTS_RANK_UNIT};
    }
}

static int by_score(const void *a, const void *b)
{
    const struct store_chunk_hit *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* What a search on SQLite looks for. */
struct asked {
    struct buf match;
    double weights[2 * STORE_CHUNK_WORDS_MAX]; /* of its words, as they stand there */
    size_t n_weights, k;
};

/* In one range, or in several at once: then what lies between them is passed over. */
static enum err search_range(struct db *db, const struct asked *a, const struct fts_range *r,
                             size_t n_r, struct store_chunk_hit **out, size_t *n, size_t *room,
                             struct error *error)
{
    struct buf arg;
    struct db_rows *rows = NULL;
    buf_init(&arg, QUERY_MAX);
    fts_rank_arg(&arg, a->k, a->weights, a->n_weights, r, n_r > 1 ? n_r : 0);
    enum err e = arg.err
                     ? err_set(error, arg.err, "the search is too long")
                     : db_query(db,
                                "SELECT rowid, words_rank(chunks_text, $2) FROM chunks_text"
                                " WHERE chunks_text MATCH $1 AND rowid BETWEEN $3 AND $4 LIMIT $5",
                                DB_ARGS(db_text(buf_str(&a->match)), db_blob(arg.data, arg.len),
                                        db_int(r[0].from), db_int(r[n_r - 1].to),
                                        db_int(n_r > 1 ? -1 : RANKED_MOST)),
                                &rows, error);
    if (!e) e = read_ranked(rows, out, n, room, error);
    db_rows_free(rows);
    buf_free(&arg);
    return e;
}

static enum err search_ranges(struct db *db, const struct asked *a, const struct fts_range *r,
                              size_t n_r, struct store_chunk_hit *out, size_t *n,
                              struct error *error)
{
    struct store_chunk_hit *all = NULL;
    size_t total = 0, room = 0, step = n_r > RANGES_APART ? n_r : 1;
    enum err e = OK;
    for (size_t i = 0; !e && i < n_r; i += step)
        e = search_range(db, a, r + i, step, &all, &total, &room, error);
    if (!e && total) {
        qsort(all, total, sizeof *all, by_score);
        *n = total < a->k ? total : a->k;
        memcpy(out, all, *n * sizeof *out);
    }
    free(all);
    return e;
}

/* (needed OR ...), and where there are words that only rank: AND (all of them OR ...), since FTS5
 * knows no words that need not be there. */
static void write_match(struct asked *a, const struct chunk_words *w, int64_t total)
{
    quote(&a->match, w, w->n_needed);
    for (size_t i = 0; i < w->n_needed; i++) a->weights[a->n_weights++] = idf(&w->list[i], total);
    if (w->n == w->n_needed) return;
    buf_puts(&a->match, " AND ");
    quote(&a->match, w, w->n);
    for (size_t i = 0; i < w->n; i++)
        a->weights[a->n_weights++] = i < w->n_needed ? 0 : idf(&w->list[i], total);
}

static enum err search_sqlite(struct db *db, const struct store_scope *scope, struct chunk_words *w,
                              size_t k, struct store_chunk_hit *out, size_t *n, struct error *error)
{
    struct asked a = {.k = k};
    int64_t total;
    size_t n_r = 0;
    enum err e = count_sqlite(db, w, &total, error);
    if (e) return e;
    chunk_words_order(w, RANKED_SQLITE, RANKED_SQLITE);
    if (!w->n) return OK;
    struct fts_range *r = xcalloc(scope->n_files + scope->n_collections, sizeof *r);
    buf_init(&a.match, QUERY_MAX);
    write_match(&a, w, total);
    e = a.match.err ? err_set(error, a.match.err, "the search is too long")
                    : find_ranges(db, scope, r, &n_r, error);
    if (!e && n_r) e = search_ranges(db, &a, r, n_r, out, n, error);
    buf_free(&a.match);
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
        jw_arr(&j);
        jw_str(&j, w->list[i].text);
        jw_double(&j, idf(&w->list[i], total));
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
    chunk_words_order(w, RANKED_PG, INT64_MAX);
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
