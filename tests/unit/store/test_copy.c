/* `hearth db copy`: no table and no column is forgotten, and each arrives whole, also where it has
 * more rows than are read at a time. */
#include "both.h"

#include "base/buf.h"
#include "base/mem.h"
#include "store/migrations.h"
#include "store/store_int.h"

enum {
    ROWS = 600,       /* more than two pieces of copy.c, and a rest */
    ROWS_WHOLE = 512, /* as many as two pieces */
    TABLES_MAX = 64,
    SQL_MAX = 8192,
};

/* ---- what the schema has -------------------------------------------------------------------- */

/* Not copied, and why. */
static const struct {
    const char *name, *why;
} left_out[] = {
    {"schema_migrations", "the target has its own"},
    {"vector_places", "what is derived from the vectors catches up anew"},
    {"vector_bits", "made of the vectors when a set is first used"},
};

/* Filled by the database itself. */
static const struct {
    const char *table, *column;
} made_there[] = {{"messages", "n"}, {"messages", "words"}, {"jobs", "n"}, {"chunks", "words"}};

#define TABLES_LITE                                                                                \
    "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"                  \
    " AND name NOT LIKE 'sqlite%' ORDER BY name"
#define TABLES_PG                                                                                  \
    "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"
/* name, type (its first letter is that of struct table), whether it may be NULL */
#define COLUMNS_LITE                                                                               \
    "SELECT name, CASE type WHEN 'BIGINT' THEN 'i' WHEN 'INTEGER' THEN 'i' WHEN 'TEXT' THEN 't'"   \
    " WHEN 'BLOB' THEN 'b' ELSE type END, \"notnull\" = 0 AND pk = 0"                              \
    " FROM pragma_table_info($1) ORDER BY cid"
#define COLUMNS_PG                                                                                 \
    "SELECT column_name, CASE data_type WHEN 'bigint' THEN 'i' WHEN 'text' THEN 't'"               \
    " WHEN 'bytea' THEN 'b' ELSE data_type END, CASE is_nullable WHEN 'YES' THEN 1 ELSE 0 END"     \
    " FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1"   \
    " ORDER BY ordinal_position"

struct column {
    const char *name, *type;
    bool nullable;
};

enum { COLUMNS_MAX = 64 };

static size_t read_columns(struct db *db, const char *table, struct column *out)
{
    struct db_rows *rows;
    bool has;
    enum err e = OK;
    size_t n = 0;
    assert_ok(
        db_query(db, db_sql(db, COLUMNS_LITE, COLUMNS_PG), DB_ARGS(db_text(table)), &rows, &why));
    for (;;) {
        assert_ok(db_next(rows, &has, &why));
        if (!has) break;
        assert_in_range(n, 0, COLUMNS_MAX - 1);
        out[n++] = (struct column){db_take_text(rows, 0, arena, &e),
                                   db_take_text(rows, 1, arena, &e), db_get_int(rows, 2) != 0};
        assert_int_equal(e, OK);
    }
    db_rows_free(rows);
    return n;
}

static const struct table *listed(const char *name)
{
    for (size_t i = 0; i < n_tables; i++)
        if (str_eq(tables[i].name, name)) return &tables[i];
    return NULL;
}

static bool is_left_out(const char *name)
{
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (str_eq(left_out[i].name, name)) return true;
    return false;
}

static bool is_made_there(const char *table, const char *column)
{
    for (size_t i = 0; i < sizeof made_there / sizeof *made_there; i++)
        if (str_eq(made_there[i].table, table) && str_eq(made_there[i].column, column)) return true;
    return false;
}

/* The letter that the list gives a column; '\0': it is not in the list. */
static char listed_type(const struct table *t, const char *column)
{
    const char *at = t->columns;
    size_t len = strlen(column);
    for (const char *type = t->types; *type; type++) {
        at += strspn(at, " ");
        size_t n = strcspn(at, ",");
        if (n == len && memcmp(at, column, n) == 0) return *type;
        at += n;
        at += *at == ',';
    }
    return '\0';
}

static void expect_columns(struct db *db, const struct table *t)
{
    struct column columns[COLUMNS_MAX];
    size_t n = read_columns(db, t->name, columns), n_listed = 1, found = 0;
    for (const char *c = t->columns; *c; c++) n_listed += *c == ',';
    assert_int_equal(n_listed, strlen(t->types));
    for (size_t i = 0; i < n; i++) {
        char type = listed_type(t, columns[i].name);
        if (is_made_there(t->name, columns[i].name)) continue;
        if (!type)
            fail_msg("the column %s of %s would not be copied: name it in `tables`",
                     columns[i].name, t->name);
        if (columns[i].type[0] != type || columns[i].type[1])
            fail_msg("%s.%s: %s, but '%c' in `tables`", t->name, columns[i].name, columns[i].type,
                     type);
        found++;
    }
    assert_int_equal(found, n_listed);
}

static void test_no_table_is_forgotten(void **state)
{
    (void)state;
    struct db *db;
    struct db_rows *rows;
    bool has;
    size_t n = 0;
    const char *names[TABLES_MAX];
    enum err e = OK;
    assert_ok(store_acquire(store, STORE_READ, &db, &why));
    assert_ok(db_query(db, db_sql(db, TABLES_LITE, TABLES_PG), DB_NO_ARGS, &rows, &why));
    for (;;) {
        assert_ok(db_next(rows, &has, &why));
        if (!has) break;
        assert_in_range(n, 0, TABLES_MAX - 1);
        names[n++] = db_take_text(rows, 0, arena, &e);
        assert_int_equal(e, OK);
    }
    db_rows_free(rows);
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        const struct table *t = listed(names[i]);
        if (!t && !is_left_out(names[i]))
            fail_msg("the table %s would not be copied: name it in `tables` of migrations.c, or "
                     "here with the reason",
                     names[i]);
        if (t) expect_columns(db, t);
        found += t != NULL;
    }
    assert_int_equal(found, n_tables);
    store_release(store, db);
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* What a column must have: the same as a parent's, or one of a few words. A new table with such a
 * column needs a line here. NULL as the table: of any. */
static const struct {
    const char *table, *column;
    const char *parent, *parent_column; /* or */
    const char *word;
} rules[] = {
    {NULL, "user_id", "users", "id", NULL},
    {NULL, "created_by", "users", "id", NULL},
    {NULL, "conversation_id", "conversations", "id", NULL},
    {NULL, "collection_id", "collections", "id", NULL},
    {NULL, "file_id", "files", "id", NULL},
    {NULL, "batch_id", "batches", "id", NULL},
    {"vectors", "set_n", "vector_sets", "n", NULL},
    {"vectors", "file_n", "vector_files", "n", NULL},
    {NULL, "role", NULL, NULL, "user"},
    {"messages", "status", NULL, NULL, "complete"},
    {"files", "status", NULL, NULL, "ready"},
    {"jobs", "state", NULL, NULL, "done"},
    {"batches", "state", NULL, NULL, "completed"},
    {"answers", "state", NULL, NULL, "completed"},
    {"answers", "kind", NULL, NULL, "response"},
};

/* Of row number `i`: different in each row and column, numbers of more than 32 bits. The same
 * width for all, so that each database's order of texts is the same. */
static void put_value(struct buf *b, struct db *db, const char *table, const char *column)
{
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
        if (!str_eq(rules[r].column, column) || (rules[r].table && !str_eq(rules[r].table, table)))
            continue;
        if (rules[r].word)
            buf_printf(b, "'%s'", rules[r].word);
        else
            put_value(b, db, rules[r].parent, rules[r].parent_column);
        return;
    }
    const struct table *t = listed(table);
    char type = listed_type(t, column);
    long at = strstr(t->columns, column) - t->columns;
    if (type == 'i')
        buf_printf(b, "i + %ld0000000000", at + 1);
    else if (type == 'b')
        buf_puts(b,
                 db_sql(db, "CASE i % 2 WHEN 0 THEN x'00ff003a00' ELSE CAST('b' || i AS BLOB) END",
                        "CASE i % 2 WHEN 0 THEN '\\x00ff003a00'::bytea"
                        " ELSE convert_to('b' || i, 'UTF8') END"));
    else
        buf_printf(b, "'%s %s 🙂 ' || (100000 + i)", table, column);
}

static int n_rows(const struct table *t)
{
    return str_eq(t->name, "usage_minutes") ? ROWS_WHOLE : ROWS;
}

static void fill_table(struct db *db, const struct table *t)
{
    char sql[SQL_MAX];
    struct buf b;
    struct column columns[COLUMNS_MAX];
    size_t n = read_columns(db, t->name, columns);
    buf_init_fixed(&b, sql, sizeof sql);
    buf_printf(&b, "INSERT INTO %s (", t->name);
    const char *comma = "";
    for (size_t i = 0; i < n; i++) {
        if (is_made_there(t->name, columns[i].name)) continue;
        buf_printf(&b, "%s%s", comma, columns[i].name);
        comma = ", ";
    }
    buf_printf(&b,
               ") WITH RECURSIVE count(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM count WHERE i < "
               "%d) SELECT ",
               n_rows(t));
    comma = "";
    for (size_t i = 0; i < n; i++) {
        if (is_made_there(t->name, columns[i].name)) continue;
        buf_printf(&b, "%s%s", comma,
                   columns[i].nullable ? "CASE WHEN i % 3 = 0 THEN NULL ELSE " : "");
        put_value(&b, db, t->name, columns[i].name);
        buf_puts(&b, columns[i].nullable ? " END" : "");
        comma = ", ";
    }
    buf_puts(&b, " FROM count");
    assert_int_equal(b.err, OK);
    if (db_script(db, buf_str(&b), &why)) fail_msg("filling %s: %s", t->name, why.msg);
}

static void fill(struct store *s)
{
    struct db *db;
    assert_ok(store_acquire(s, STORE_WRITE, &db, &why));
    for (size_t i = 0; i < n_tables; i++) fill_table(db, &tables[i]);
    store_release(s, db);
}

static void expect_same_value(struct db_rows *a, struct db_rows *b, const struct table *t, int col,
                              int row)
{
    bool same = db_is_null(a, col) == db_is_null(b, col);
    if (same && !db_is_null(a, col)) {
        size_t len_a, len_b;
        switch (t->types[col]) {
        case 'i': same = db_get_int(a, col) == db_get_int(b, col); break;
        case 't': same = str_eq(db_get_text(a, col), db_get_text(b, col)); break;
        default: {
            const void *of_a = db_get_blob(a, col, &len_a), *of_b = db_get_blob(b, col, &len_b);
            same = len_a == len_b && memcmp(of_a, of_b, len_a) == 0;
        }
        }
    }
    if (!same) fail_msg("%s: row %d, column %d is not the same", t->name, row, col);
}

static void expect_same_table(struct db *a, struct db *b, const struct table *t, const char *sql)
{
    struct db_rows *of_a, *of_b;
    int n = 0;
    assert_ok(db_query(a, sql, DB_NO_ARGS, &of_a, &why));
    assert_ok(db_query(b, sql, DB_NO_ARGS, &of_b, &why));
    for (;; n++) {
        bool in_a, in_b;
        assert_ok(db_next(of_a, &in_a, &why));
        assert_ok(db_next(of_b, &in_b, &why));
        if (in_a != in_b) fail_msg("%s: one has %d rows, the other more", t->name, n);
        if (!in_a) break;
        for (size_t col = 0; t->types[col]; col++) expect_same_value(of_a, of_b, t, (int)col, n);
    }
    db_rows_free(of_a);
    db_rows_free(of_b);
    assert_int_equal(n, n_rows(t));
}

static void expect_same(struct store *a, struct store *b)
{
    struct db *of_a, *of_b;
    char(*sql)[SQL_MAX] = xcalloc(n_tables, sizeof *sql); /* as long as their statements */
    assert_ok(store_acquire(a, STORE_READ, &of_a, &why));
    assert_ok(store_acquire(b, STORE_READ, &of_b, &why));
    for (size_t i = 0; i < n_tables; i++) {
        const struct table *t = &tables[i];
        str_printf(sql[i], sizeof sql[i], "SELECT %s FROM %s ORDER BY %s", t->columns, t->name,
                   t->order);
        expect_same_table(of_a, of_b, t, sql[i]);
    }
    store_forget(a, of_a);
    store_forget(b, of_b);
    free(sql);
}

static void test_every_row_of_every_table_arrives(void **state)
{
    (void)state;
    char path[96];
    int64_t rows, expected = 0;
    struct store *file;
    fill(store);
    for (size_t i = 0; i < n_tables; i++) expected += n_rows(&tables[i]);
    str_printf(path, sizeof path, "%s/rows-%d.db", both_dir, both_pg);
    struct store_params params = {.url = path, .migrate = true};
    assert_ok(store_open(&params, &file, &why));
    assert_ok(store_copy(store, file, &rows, &why));
    assert_int_equal(rows, expected);
    expect_same(store, file);
    assert_ok(store_migrate(store, 0, &why)); /* an empty one again */
    assert_ok(store_migrate(store, -1, &why));
    assert_ok(store_copy(file, store, &rows, &why));
    assert_int_equal(rows, expected);
    expect_same(store, file);
    store_close(file);
}

int main(void)
{
    const struct CMUnitTest all[] = {
        BOTH_TEST(test_no_table_is_forgotten),
        BOTH_TEST(test_every_row_of_every_table_arrives),
    };
    return both_run("copying a database", all, sizeof all / sizeof *all);
}
