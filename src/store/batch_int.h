/* What batches and their files share. Only for files of this folder. */
#ifndef HEARTH_STORE_BATCH_INT_H
#define HEARTH_STORE_BATCH_INT_H

#include "store/db_int.h"
#include "store/store_batch.h"

/* api_file.c: within a transaction or without. */
HT_MUST_CHECK enum err api_file_insert(struct db *db, const struct store_api_file *f,
                                       struct error *error);

#endif
