/* What the files of vectors share. Only for files of this folder. */
#ifndef HEARTH_STORE_VECTOR_INT_H
#define HEARTH_STORE_VECTOR_INT_H

#include "base/buf.h"
#include "store/store_int.h"
#include "store/store_vector.h"

/* "1,2,3", for VECTOR_IN. */
HT_MUST_CHECK enum err vector_list(struct buf *b, const int64_t *numbers, size_t n,
                                   struct error *error);
/* SQL: a column in such a list. */
#define VECTOR_IN_LITE(col, arg) col " IN (SELECT value FROM json_each('[' || " arg " || ']'))"
#define VECTOR_IN_PG(col, arg)   col " = ANY (string_to_array(" arg "::text, ',')::bigint[])"

/* The best of what it is shown. */
struct vector_best {
    struct store_vector_hit *hits; /* sorted */
    size_t n, k;
};

/* Shows it rows of (n, chunk_id, file_n, embedding, ...), to the end; `rows` is freed. */
HT_MUST_CHECK enum err vector_best_rows(struct vector_best *best, struct db_rows *rows,
                                        const struct store_vector_query *q, const float *unit,
                                        int64_t *last, size_t *n_rows, struct error *error);
/* q's floats at length 1, to be freed; checks q. */
HT_MUST_CHECK enum err vector_unit(const struct store_vector_query *q, float **out,
                                   struct error *error);

/* Calls fn for the vectors of a set behind number `after`, in the order of their numbers, `limit`
 * at most; their floats are borrowed during the call. *last is the number of the last one, *n
 * counts them. ERR_DATABASE: one has not `dims` numbers. fn may write to other tables. */
typedef enum err (*vector_row_fn)(void *ctx, const struct store_vector_row *row,
                                  struct error *error);
HT_MUST_CHECK enum err vector_page(struct db *db, int64_t set, int32_t dims, int64_t after,
                                   int32_t limit, vector_row_fn fn, void *ctx, int64_t *last,
                                   size_t *n, struct error *error);

size_t vector_bits_size(int32_t dims);
void vector_signs(const float *v, int32_t dims, unsigned char *bits);
/* SQLite: the signs of a vector, within a transaction. */
HT_MUST_CHECK enum err vector_bits_insert(struct db *db, int64_t set,
                                          const struct store_vector_row *row, int32_t dims,
                                          struct error *error);
/* vector_pg.c: a row into the set's table, within a transaction. */
HT_MUST_CHECK enum err vector_pg_insert(struct store *s, struct db *db, int64_t set,
                                        const struct store_vector_row *row, int32_t dims,
                                        struct error *error);

#endif
