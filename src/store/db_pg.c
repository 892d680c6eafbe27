/* PostgreSQL through libpq. Statements are prepared on the server under a name made from their
 * text's address; numbers go as text, since the server then fits them to the column, texts and
 * blobs in binary, so that they need no quoting. Results come as text.
 *
 * A connection that breaks says ERR_DATABASE; pg_check (store_acquire calls it) connects again. */
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/db_int.h"

enum { STATEMENTS_MAX = 256 /* a power of two */, ARGS_MAX = 32, NUMBER_MAX = 32 };

struct pg {
    struct db db;
    PGconn *conn;
    const char *prepared[STATEMENTS_MAX];
};

struct pg_rows {
    struct db_rows rows;
    PGresult *result;
    int row;
    unsigned char *blob; /* of the last db_get_blob */
};

static struct pg *pg_of(struct db *db)
{
    return container_of(db, struct pg, db);
}

static struct pg_rows *rows_of(struct db_rows *rows)
{
    return container_of(rows, struct pg_rows, rows);
}

/* ---- errors -------------------------------------------------------------------------------- */

/* SQLSTATE: https://www.postgresql.org/docs/15/errcodes-appendix.html */
static enum err code_of(const char *state)
{
    static const struct {
        const char *prefix;
        enum err code;
    } codes[] = {{"23505", ERR_CONFLICT},  {"23503", ERR_NOT_FOUND}, {"23", ERR_CONFLICT},
                 {"53100", ERR_DISK_FULL}, {"53", ERR_DATABASE},     {"54", ERR_TOO_LARGE},
                 {"40", ERR_DATABASE},     {"55P03", ERR_DATABASE},  {"57", ERR_DATABASE},
                 {"08", ERR_DATABASE},     {"58", ERR_DATABASE},     {"28", ERR_DATABASE},
                 {"3D", ERR_DATABASE},     {"25006", ERR_DATABASE}};
    if (!state) return ERR_DATABASE; /* the connection broke */
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (str_starts(state, codes[i].prefix)) return codes[i].code;
    return ERR_INTERNAL;
}

/* libpq's messages end with a newline, and some have several lines. */
static void first_line(char *dst, size_t size, const char *msg)
{
    str_copy(dst, size, msg && *msg ? msg : "the connection was lost");
    dst[strcspn(dst, "\r\n")] = '\0';
}

static enum err failed(struct pg *p, const PGresult *result, struct error *error)
{
    char words[300];
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    first_line(words, sizeof words, primary ? primary : PQerrorMessage(p->conn));
    enum err code = PQstatus(p->conn) == CONNECTION_BAD ? ERR_DATABASE : code_of(state);
    return err_set(error, code, "the database: %s", words);
}

/* ---- connections --------------------------------------------------------------------------- */

static void pg_close(struct db *db)
{
    struct pg *p = pg_of(db);
    PQfinish(p->conn);
    free(p);
}

static enum err pg_script(struct db *db, const char *sql, struct error *error)
{
    struct pg *p = pg_of(db);
    PGresult *result = PQexec(p->conn, sql);
    ExecStatusType status = PQresultStatus(result);
    enum err e = OK;
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) e = failed(p, result, error);
    PQclear(result);
    return e;
}

static void ignore_notice(void *ctx, const PGresult *result)
{
    (void)ctx;
    (void)result;
}

static enum err set_up(struct pg *p, int32_t busy_ms, struct error *error)
{
    char sql[200];
    PQsetNoticeReceiver(p->conn, ignore_notice, NULL);
    /* DEALLOCATE: a pooler may hand over a session with statements of somebody else's. */
    str_printf(
        sql, sizeof sql,
        "DEALLOCATE ALL; SET client_encoding='UTF8'; SET TIME ZONE 'UTC'; SET lock_timeout=%d;"
        "SET idle_in_transaction_session_timeout=60000",
        busy_ms);
    return pg_script(&p->db, sql, error);
}

static enum err pg_open(const struct db_params *params, struct db **out, struct error *error)
{
    struct pg *p = xcalloc(1, sizeof *p);
    p->db.driver = &db_pg;
    p->db.read_only = params->read_only;
    const char *keys[] = {"dbname", "connect_timeout", "application_name", "keepalives_idle", NULL};
    const char *values[] = {params->place, "10", "hearth", "30", NULL};
    p->conn = PQconnectdbParams(keys, values, 1);
    enum err e = OK;
    if (PQstatus(p->conn) != CONNECTION_OK) {
        char words[300];
        first_line(words, sizeof words, PQerrorMessage(p->conn));
        e = err_set(error, ERR_DATABASE, "the database can't be reached: %s", words);
    }
    if (!e) e = set_up(p, params->busy_ms, error);
    if (e) {
        pg_close(&p->db);
        return e;
    }
    *out = &p->db;
    return OK;
}

static enum err pg_check(struct db *db, struct error *error)
{
    struct pg *p = pg_of(db);
    if (PQstatus(p->conn) == CONNECTION_OK) return OK;
    PQreset(p->conn);
    memset(p->prepared, 0, sizeof p->prepared);
    if (PQstatus(p->conn) != CONNECTION_OK) return failed(p, NULL, error);
    return set_up(p, 5000, error);
}

/* ---- statements ---------------------------------------------------------------------------- */

static void name_of(char dst[32], const char *sql)
{
    str_printf(dst, 32, "s%" PRIxPTR, (uintptr_t)sql);
}

/* Fills up: then later texts are sent unprepared. */
static const char **place_of(struct pg *p, const char *sql)
{
    size_t at = ((uintptr_t)sql >> 3) & (STATEMENTS_MAX - 1);
    for (size_t n = 0; n < STATEMENTS_MAX; n++, at = (at + 1) & (STATEMENTS_MAX - 1))
        if (!p->prepared[at] || p->prepared[at] == sql) return &p->prepared[at];
    return NULL;
}

/* An integer is always a bigint: the server would guess "integer" in `$1 > 0`. What is not given
 * here (texts, NULL) it takes from where the value goes. */
static void types_of(const struct db_value *args, size_t n, Oid types[ARGS_MAX])
{
    enum { INT8_OID = 20 }; /* pg_type.dat */
    for (size_t i = 0; i < n; i++) types[i] = args[i].type == DB_INT ? INT8_OID : 0;
}

static enum err prepare(struct pg *p, const char *sql, const char *name,
                        const struct db_value *args, size_t n, struct error *error)
{
    Oid types[ARGS_MAX];
    types_of(args, n, types);
    PGresult *result = PQprepare(p->conn, name, sql, (int)n, types);
    enum err e = PQresultStatus(result) == PGRES_COMMAND_OK ? OK : failed(p, result, error);
    PQclear(result);
    return e;
}

struct sent {
    const char *values[ARGS_MAX];
    int lengths[ARGS_MAX], formats[ARGS_MAX];
    char numbers[ARGS_MAX][NUMBER_MAX];
};

static enum err fill(struct sent *s, const struct db_value *args, size_t n, struct error *error)
{
    ht_assert(n <= ARGS_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct db_value *v = &args[i];
        s->values[i] = v->type == DB_NULL ? NULL : s->numbers[i];
        s->formats[i] = v->type == DB_TEXT || v->type == DB_BLOB;
        s->lengths[i] = 0;
        if (v->type == DB_INT) snprintf(s->numbers[i], NUMBER_MAX, "%" PRId64, v->i);
        if (!s->formats[i]) continue;
        if (v->len > INT32_MAX)
            return err_set(error, ERR_TOO_LARGE, "a value of %zu bytes is too large", v->len);
        if (v->type == DB_TEXT && memchr(v->data, 0, v->len))
            return err_set(error, ERR_INVALID, "a text has a zero byte in it");
        s->values[i] = v->data ? v->data : "";
        s->lengths[i] = (int)v->len;
    }
    return OK;
}

static PGresult *execute(struct pg *p, const char *sql, const char *name,
                         const struct db_value *args, size_t n, const struct sent *s)
{
    Oid types[ARGS_MAX];
    types_of(args, n, types);
    if (!name)
        return PQexecParams(p->conn, sql, (int)n, types, s->values, s->lengths, s->formats, 0);
    return PQexecPrepared(p->conn, name, (int)n, s->values, s->lengths, s->formats, 0);
}

static enum err pg_query(struct db *db, const char *sql, const struct db_value *args, size_t n,
                         struct db_rows **out, struct error *error)
{
    struct pg *p = pg_of(db);
    struct sent sent;
    char name[32];
    enum err e = fill(&sent, args, n, error);
    if (e) return e;
    const char **place = place_of(p, sql);
    name_of(name, sql);
    if (place && !*place) {
        if ((e = prepare(p, sql, name, args, n, error))) return e;
        *place = sql;
    }
    PGresult *result = execute(p, sql, place ? name : NULL, args, n, &sent);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        e = failed(p, result, error);
        PQclear(result);
        return e;
    }
    struct pg_rows *r = xcalloc(1, sizeof *r);
    *r = (struct pg_rows){.rows.db = db, .result = result, .row = -1};
    *out = &r->rows;
    return OK;
}

static enum err pg_next(struct db_rows *rows, bool *has, struct error *error)
{
    (void)error;
    struct pg_rows *r = rows_of(rows);
    *has = ++r->row < PQntuples(r->result);
    return OK;
}

static bool pg_is_null(struct db_rows *rows, int col)
{
    struct pg_rows *r = rows_of(rows);
    return PQgetisnull(r->result, r->row, col);
}

static int64_t pg_get_int(struct db_rows *rows, int col)
{
    struct pg_rows *r = rows_of(rows);
    return strtoll(PQgetvalue(r->result, r->row, col), NULL, 10);
}

static const char *pg_get_text(struct db_rows *rows, int col)
{
    struct pg_rows *r = rows_of(rows);
    return PQgetvalue(r->result, r->row, col);
}

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* bytea as text is "\\x" and two hexadecimal digits for each byte. */
static const void *pg_get_blob(struct db_rows *rows, int col, size_t *len)
{
    struct pg_rows *r = rows_of(rows);
    const char *hex = PQgetvalue(r->result, r->row, col);
    if (!str_starts(hex, "\\x")) return NULL;
    size_t n = (size_t)(PQgetlength(r->result, r->row, col) - 2) / 2;
    free(r->blob);
    r->blob = try_malloc(n + 1);
    if (!r->blob) return NULL;
    for (size_t i = 0; i < n; i++)
        r->blob[i] = (unsigned char)(hex_digit(hex[2 + 2 * i]) << 4 | hex_digit(hex[3 + 2 * i]));
    *len = n;
    return r->blob;
}

static void pg_rows_free(struct db_rows *rows)
{
    struct pg_rows *r = rows_of(rows);
    free(r->blob);
    PQclear(r->result);
    free(r);
}

static int64_t pg_changed(struct db_rows *rows)
{
    const char *n = PQcmdTuples(rows_of(rows)->result);
    return *n ? strtoll(n, NULL, 10) : 0;
}

const struct db_driver db_pg = {
    .name = "postgresql",
    .open = pg_open,
    .close = pg_close,
    .check = pg_check,
    .script = pg_script,
    .query = pg_query,
    .next = pg_next,
    .is_null = pg_is_null,
    .get_int = pg_get_int,
    .get_text = pg_get_text,
    .get_blob = pg_get_blob,
    .rows_free = pg_rows_free,
    .changed = pg_changed,
};
