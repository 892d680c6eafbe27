/* What batches and their files share. Only for files of this folder. */
#ifndef HEARTH_STORE_BATCH_INT_H
#define HEARTH_STORE_BATCH_INT_H

#include "store/db_int.h"
#include "store/store_batch.h"

/* api_file.c: within a transaction or without. */
HT_MUST_CHECK enum err api_file_insert(struct db *db, const struct store_api_file *f,
                                       struct error *error);
/* batch.c: the time from which a page goes on. sql: gives created_ms of the user's ($1) row of that
 * id ($2). */
HT_MUST_CHECK enum err batch_page_start(struct db *db, const char *sql, const char *user_id,
                                        const struct store_batch_page *page, int64_t *ms,
                                        struct error *error);

#endif
