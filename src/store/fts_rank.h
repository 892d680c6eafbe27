/* BM25 for SQLite's FTS5 where what is rare is known already. Only for files of this folder.
 *
 * FTS5's own bm25() reads every word's whole list of rows before the first row is ranked, to count
 * them, and looks up the length of each row. Here the caller says how much each word counts, and
 * only rows that may still be among the best k have their length read:
 *
 *   SELECT rowid, words_rank(chunks_text, $2) FROM chunks_text WHERE chunks_text MATCH $1
 *
 * gives NULL for a row that can't be among the best k of those that came so far, else its score in
 * units of FTS_RANK_UNIT: more is better. Rejected: ORDER BY on it, which sorts them all. */
#ifndef HEARTH_STORE_FTS_RANK_H
#define HEARTH_STORE_FTS_RANK_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define FTS_RANK_UNIT 1e6

struct fts_range { /* of rowids, both ends included */
    int64_t from, to;
};

/* Writes the argument $2. weights: what each phrase of the MATCH counts, in its order (its inverse
 * document frequency); 0 = nothing. ranges: only rows in one of them have a score; ascending and
 * apart; none = all rows. */
void fts_rank_arg(struct buf *out, size_t k, const double *weights, size_t n_weights,
                  const struct fts_range *ranges, size_t n_ranges);

/* Makes the function known to a connection; a result code of SQLite's. */
int fts_rank_register(sqlite3 *handle);

#endif
