/* The schema's history. A migration that was released is never changed: a new one is added. */
#ifndef HEARTH_STORE_MIGRATIONS_H
#define HEARTH_STORE_MIGRATIONS_H

#include <stddef.h>
#include <stdint.h>

struct migration {
    int32_t version; /* 1, 2, 3, ... without gaps */
    const char *name;
    const char *up, *down;       /* SQL scripts */
    const char *up_pg, *down_pg; /* where PostgreSQL's differ, else NULL */
};

extern const struct migration migrations[];
extern const size_t n_migrations;

/* What the newest schema holds, parents before children; for moving it to another database. Types:
 * a letter for each column, t text, i integer, b bytes (one column at most). Columns that the
 * database makes itself are left out.
 */
struct table {
    const char *name, *columns, *types;
    const char *order; /* ORDER BY */
};

extern const struct table tables[];
extern const size_t n_tables;
/* SQLite, once they are filled: what is made of them. */
extern const char tables_then[];

#endif
