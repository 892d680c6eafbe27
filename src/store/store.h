/* Store: what must not be lost. One face over two databases: SQLite, a file in the data folder, and
 * PostgreSQL, when several hubs or people share one. Verbs per area are in store_*.h; SQL is
 * nowhere else in the program.
 *
 * Rules:
 *  1. A verb that returned OK has committed; what it wrote survives kill -9.
 *  2. Every verb on what belongs to a user takes that user's id and sees nothing else: another
 *     user's object is ERR_NOT_FOUND, so that nobody learns that it exists.
 *  3. Results that have texts are filled into the caller's arena and live as long as it.
 *  4. Any thread may call; a verb may wait for the disk or the network, so never from a thread that
 *     must not block.
 *
 * ERR_DATABASE: it can't be reached or is locked; nothing was written, trying again later is right.
 * The connection mends itself. ERR_DISK_FULL: nothing was written. */
#ifndef HEARTH_STORE_STORE_H
#define HEARTH_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct store;

struct store_params {
    /* postgresql://..., postgres://... or postgresql+asyncpg://... (read as the first); else the
     * path of an SQLite file, which is made if it is not there. */
    const char *url;
    int32_t connections; /* most to the database at once; 0 = 8 */
    int32_t busy_ms;     /* how long a lock is waited for; 0 = 5000 */
    /* SQLite: the file of sqlite-vec (vec0.so), which searches vectors; NULL: that is refused. */
    const char *vec_extension;
    bool migrate; /* bring it up to date; false: ERR_DATABASE if it is not */
};

HT_MUST_CHECK enum err store_open(const struct store_params *params, struct store **out,
                                  struct error *error);
void store_close(struct store *s);             /* NULL is fine; no verb may be under way */
const char *store_kind(const struct store *s); /* "sqlite" or "postgresql" */
/* A round trip; ERR_DATABASE when it is gone. */
HT_MUST_CHECK enum err store_ping(struct store *s, struct error *error);

/* ---- migrations --------------------------------------------------------------------------- */

struct store_migration {
    int32_t version;
    const char *name;   /* static */
    int64_t applied_ms; /* 0 = not applied */
};

enum { STORE_MIGRATIONS_MAX = 256 };

/* All that this program knows, in their order; returns how many. A database that is ahead of the
 * program is ERR_DATABASE. */
HT_MUST_CHECK enum err store_migrations(struct store *s,
                                        struct store_migration out[STORE_MIGRATIONS_MAX], size_t *n,
                                        struct error *error);
/* Up to `target` or down to it, each step in a transaction of its own; -1 = the newest. Several
 * hubs may call it at once: one of them does it. */
HT_MUST_CHECK enum err store_migrate(struct store *s, int32_t target, struct error *error);

/* ---- moving everything ---------------------------------------------------------------------- */

/* A consistent copy of the running database in a new SQLite file: PostgreSQL's row by row
 * (store_copy), so that it can go back into either. ERR_CONFLICT: the file exists. */
HT_MUST_CHECK enum err store_backup(struct store *s, const char *to, struct error *error);
/* Reads all of an SQLite file; ERR_CHECKSUM when something in it is not as it must be. PostgreSQL
 * looks after itself: a ping. */
HT_MUST_CHECK enum err store_check(struct store *s, struct error *error);
/* Every row of `from` to `to`, which must be empty (ERR_CONFLICT), in one transaction: all or
 * nothing. Both have the newest schema. *rows counts them. */
HT_MUST_CHECK enum err store_copy(struct store *from, struct store *to, int64_t *rows,
                                  struct error *error);

#endif
