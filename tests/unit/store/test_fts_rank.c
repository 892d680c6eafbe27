/* words_rank beside FTS5's own bm25(): the same rows, the same scores, for the best ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "store/fts_rank.h"

enum { ROWS = 3000, WORDS = 200, BEST = 25 };

static sqlite3 *db;

static void must(int rc)
{
    if (rc != SQLITE_OK && rc != SQLITE_DONE) fail_msg("%s", sqlite3_errmsg(db));
}

static void run(const char *sql)
{
    must(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

static uint64_t seed = 1;

/* Word n is 1/n as often as the first one. */
static int a_word(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    double share = (double)(seed >> 11) / (double)(1ull << 53);
    return (int)(share * share * share * WORDS);
}

static int open_table(void **state)
{
    (void)state;
    sqlite3_stmt *add;
    must(sqlite3_open(":memory:", &db));
    must(fts_rank_register(db));
    run("CREATE VIRTUAL TABLE t USING fts5 (heading, text); BEGIN");
    must(sqlite3_prepare_v2(db, "INSERT INTO t (rowid, heading, text) VALUES (?, ?, ?)", -1, &add,
                            NULL));
    for (int row = 1; row <= ROWS; row++) {
        char heading[32], text[2000] = "", word[16];
        str_printf(heading, sizeof heading, "w%d w%d", a_word(), a_word());
        for (int i = 20 + row % 200; i; i--) {
            str_printf(word, sizeof word, "w%d ", a_word());
            strncat(text, word, sizeof text - strlen(text) - 1);
        }
        sqlite3_bind_int(add, 1, row);
        sqlite3_bind_text(add, 2, heading, -1, SQLITE_TRANSIENT);
        sqlite3_bind_text(add, 3, text, -1, SQLITE_TRANSIENT);
        assert_int_equal(sqlite3_step(add), SQLITE_DONE);
        sqlite3_reset(add);
    }
    sqlite3_finalize(add);
    run("COMMIT");
    return 0;
}

static int close_table(void **state)
{
    (void)state;
    return sqlite3_close(db);
}

struct hit {
    int64_t id;
    double score;
};

static int by_score(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    return x->score != y->score ? (x->score > y->score ? -1 : 1) : 0;
}

/* FTS5's idf, with its floor. */
static double idf(const char *word)
{
    char sql[100];
    sqlite3_stmt *s;
    str_printf(sql, sizeof sql, "SELECT COUNT(*) FROM t WHERE t MATCH '%s'", word);
    must(sqlite3_prepare_v2(db, sql, -1, &s, NULL));
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    double df = sqlite3_column_int(s, 0), v = log((ROWS - df + 0.5) / (df + 0.5));
    sqlite3_finalize(s);
    return v > 0 ? v : 1e-6;
}

static size_t read_hits(sqlite3_stmt *s, struct hit *out)
{
    size_t n = 0;
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW)
        if (sqlite3_column_type(s, 1) != SQLITE_NULL)
            out[n++] = (struct hit){sqlite3_column_int64(s, 0), sqlite3_column_double(s, 1)};
    must(rc);
    sqlite3_finalize(s);
    qsort(out, n, sizeof *out, by_score);
    return n < BEST ? n : BEST;
}

/* What FTS5 says, in `where`. */
static size_t wanted(const char *match, const char *where, struct hit *out)
{
    char sql[300];
    sqlite3_stmt *s;
    str_printf(sql, sizeof sql,
               "SELECT rowid, -bm25(t, 2.0, 1.0) * 1000000 FROM t WHERE t MATCH '%s' AND %s", match,
               where);
    must(sqlite3_prepare_v2(db, sql, -1, &s, NULL));
    return read_hits(s, out);
}

static size_t got(const char *match, const double *weights, size_t n_weights,
                  const struct fts_range *ranges, size_t n_ranges, struct hit *out, size_t *shown)
{
    struct buf arg;
    sqlite3_stmt *s;
    buf_init(&arg, 10000);
    fts_rank_arg(&arg, BEST, weights, n_weights, ranges, n_ranges);
    must(sqlite3_prepare_v2(db, "SELECT rowid, words_rank(t, ?2) FROM t WHERE t MATCH ?1", -1, &s,
                            NULL));
    sqlite3_bind_text(s, 1, match, -1, SQLITE_TRANSIENT);
    sqlite3_bind_blob(s, 2, arg.data, (int)arg.len, SQLITE_TRANSIENT);
    buf_free(&arg);
    memset(out, 0, ROWS * sizeof *out);
    size_t n = read_hits(s, out);
    for (*shown = 0; *shown < ROWS && out[*shown].id;) ++*shown;
    return n;
}

static void expect_same(const struct hit *a, size_t n_a, const struct hit *b, size_t n_b)
{
    assert_int_equal(n_a, n_b);
    for (size_t i = 0; i < n_a; i++) {
        assert_true(fabs(a[i].score - b[i].score) <= 1 + a[i].score / 1e5);
        /* Rows with the same score may come in any order. */
        if (i + 1 < n_a && a[i].score - a[i + 1].score > 2 &&
            (!i || a[i - 1].score - a[i].score > 2))
            assert_int_equal(a[i].id, b[i].id);
    }
}

static void test_as_bm25(void **state)
{
    (void)state;
    static struct hit a[ROWS], b[ROWS];
    static const char *const words[][3] = {
        {"w0", "w1", "w2"}, {"w5", "w50", "w150"}, {"w199", "w0", "w30"}, {"w7", "w7", "w9"}};
    for (size_t i = 0; i < 4; i++) {
        char match[100];
        double weights[3];
        size_t shown;
        str_printf(match, sizeof match, "\"%s\" OR \"%s\" OR \"%s\"", words[i][0], words[i][1],
                   words[i][2]);
        for (size_t k = 0; k < 3; k++) weights[k] = idf(words[i][k]);
        size_t n_a = wanted(match, "true", a), n_b = got(match, weights, 3, NULL, 0, b, &shown);
        assert_int_equal(n_a, BEST);
        expect_same(a, n_a, b, n_b);
        assert_true(shown < ROWS / 5); /* the others were passed over */
    }
}

static void test_ranges(void **state)
{
    (void)state;
    static struct hit a[ROWS], b[ROWS];
    static const struct fts_range ranges[] = {{10, 12}, {500, 900}, {2999, 5000}};
    double weights[2] = {idf("w3"), idf("w40")};
    size_t shown, n_a = wanted("w3 OR w40",
                               "(rowid BETWEEN 10 AND 12 OR rowid BETWEEN 500 AND 900"
                               " OR rowid >= 2999)",
                               a);
    expect_same(a, n_a, b, got("w3 OR w40", weights, 2, ranges, 3, b, &shown));
    static const struct fts_range nothing[] = {{5000, 6000}};
    assert_int_equal(got("w3 OR w40", weights, 2, nothing, 1, b, &shown), 0);
}

static void expect_refused(const void *arg, size_t len)
{
    sqlite3_stmt *s;
    must(
        sqlite3_prepare_v2(db, "SELECT words_rank(t, ?1) FROM t WHERE t MATCH 'w1'", -1, &s, NULL));
    sqlite3_bind_blob(s, 1, arg, (int)len, SQLITE_TRANSIENT);
    assert_int_equal(sqlite3_step(s), SQLITE_ERROR);
    sqlite3_finalize(s);
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    struct buf arg;
    double weights[2] = {1, 1};
    buf_init(&arg, 10000);
    expect_refused("", 0);
    fts_rank_arg(&arg, 5, weights, 2, NULL, 0); /* there is one phrase */
    expect_refused(arg.data, arg.len);
    buf_clear(&arg);
    fts_rank_arg(&arg, 5, weights, 1, NULL, 0);
    expect_refused(arg.data, arg.len - 1);
    buf_clear(&arg);
    fts_rank_arg(&arg, 0, weights, 1, NULL, 0);
    expect_refused(arg.data, arg.len);
    buf_free(&arg);
    assert_int_equal(
        sqlite3_exec(db, "SELECT words_rank(t) FROM t WHERE t MATCH 'w1'", NULL, NULL, NULL),
        SQLITE_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_bm25),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_wrong_arguments),
    };
    return cmocka_run_group_tests_name("fts_rank", tests, open_table, close_table);
}
