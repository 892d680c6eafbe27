/* Inside the store: its connections. Only for files of this folder. */
#ifndef HEARTH_STORE_STORE_INT_H
#define HEARTH_STORE_STORE_INT_H

#include "store/db_int.h"
#include "store/store.h"

/* What a verb does with its connection. SQLite has one connection that writes and several that
 * read; PostgreSQL's are all alike. */
enum store_use { STORE_READ, STORE_WRITE };

/* Waits for a connection; it is the caller's until store_release. */
HT_MUST_CHECK enum err store_acquire(struct store *s, enum store_use use, struct db **out,
                                     struct error *error);
/* A transaction that is still open is rolled back. */
void store_release(struct store *s, struct db *db);
/* Gives it back and closes it: its statements' texts will not live on. */
void store_forget(struct store *s, struct db *db);

/* The file of sqlite-vec that connections load; NULL = none. */
const char *store_vec_extension(const struct store *s);
/* The text of a statement that is made at run time; the same one for the same text, and it lives as
 * long as the store. NULL when there are too many. */
const char *store_text(struct store *s, const char *fmt, ...) HT_PRINTF(2, 3);

/* One statement that writes, in a transaction of its own. what: it must change a row, else
 * ERR_NOT_FOUND with this word; NULL = need not. */
HT_MUST_CHECK enum err store_write(struct store *s, const char *sql, const struct db_value *args,
                                   size_t n_args, const char *what, struct error *error);

/* Why such a statement found no `what` of this id in the state that it wants; sql gives the state
 * of $1. ERR_CONFLICT: "the <what> is <state><tail>". Any e but ERR_NOT_FOUND stays as it is. */
HT_MUST_CHECK enum err store_other_state(struct store *s, enum err e, const char *sql,
                                         const char *id, const char *what, const char *tail,
                                         struct error *error);

/* A page of a list by time. */
struct store_page_start {
    const char *after; /* the id of the row behind which it goes on; NULL = from the beginning */
    bool oldest_first;
    const char *what; /* it is called when there is none of that id */
};
/* The time from which it goes on. sql: gives created_ms of the user's ($1) row of that id ($2). */
HT_MUST_CHECK enum err store_page_ms(struct db *db, const char *sql, const char *user_id,
                                     const struct store_page_start *page, int64_t *ms,
                                     struct error *error);

/* job.c: in a transaction of the caller's; *added 0 = an unfinished job has the key. */
struct store_job;
HT_MUST_CHECK enum err job_insert(struct db *db, const struct store_job *job, int64_t *added,
                                  struct error *error);
/* file.c, in a transaction of the caller's: the files whose jobs these are (most jobs have none)
 * wait again, or have failed with these words. */
HT_MUST_CHECK enum err file_of_job_queued(struct db *db, const char *job_id, struct error *error);
HT_MUST_CHECK enum err file_of_job_failed(struct db *db, const char *job_id, const char *why,
                                          struct error *error);
/* A number for good that fits a double; see store_file.h. */
int64_t store_random_n(void);

/* migrate.c: `db` writes. */
HT_MUST_CHECK enum err migrate_to(struct db *db, int32_t target, struct error *error);
HT_MUST_CHECK enum err migrate_status(struct db *db, struct store_migration *out, size_t *n,
                                      struct error *error);

#endif
