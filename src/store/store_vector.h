/* Vectors: what embedding models made of chunks of text. The store has them all, whatever searches
 * them (src/rag/vectors.h): a search in memory or in another server is rebuilt from here.
 *
 * Vectors are in sets, one for each embedding model, so that a new model's are made while the old
 * one's are searched. They belong to a file and a collection; who may see a collection is the
 * caller's business. All are of length 1 (the verbs see to that), and distances are cosine
 * distances: 0 same direction, 1 right angle, 2 opposite. */
#ifndef HEARTH_STORE_STORE_VECTOR_H
#define HEARTH_STORE_STORE_VECTOR_H

#include "base/arena.h"
#include "store/store.h"

enum {
    STORE_VECTOR_DIMS_MAX = 16384,
    STORE_VECTOR_BATCH_MAX = 4096, /* of one store_vector_add */
    STORE_VECTOR_K_MAX = 10000,
    STORE_VECTOR_LIST_MAX = 100000, /* of a filter */
};

struct store_vector_set {
    int64_t n;
    const char *model; /* fingerprint; NULL from calls without an arena */
    int32_t dims;
    int64_t last_seq; /* rises by one for each vector that is added */
    int64_t removed;  /* rises by one for each that is removed */
    int64_t created_ms;
};

/* Of a vector's number: numbers of a set are store_vector_n(set, 1..last_seq). */
int64_t store_vector_n(int64_t set, int64_t seq);
int64_t store_vector_seq(int64_t n);
int64_t store_vector_set_of(int64_t n);

/* Finds the set, or makes it. */
HT_MUST_CHECK enum err store_vector_set_open(struct store *s, const char *model, int32_t dims,
                                             struct store_vector_set *out, struct error *error);
HT_MUST_CHECK enum err store_vector_set_get(struct store *s, int64_t set,
                                            struct store_vector_set *out, struct error *error);
/* The oldest first. */
HT_MUST_CHECK enum err store_vector_set_list(struct store *s, struct arena *a,
                                             struct store_vector_set **out, size_t *n,
                                             struct error *error);
/* With its vectors. Its number is never given again. */
HT_MUST_CHECK enum err store_vector_set_drop(struct store *s, int64_t set, struct error *error);

struct store_vector_add {
    int64_t set, collection;
    const char *file_id;
    const int64_t *chunks; /* ids; one that has a vector in this set already gets the new one */
    const float *floats;   /* n times dims, any length but 0 */
    int32_t dims;          /* must be the set's */
    size_t n;              /* at most STORE_VECTOR_BATCH_MAX */
    bool pgvector;         /* also to pgvector's table (store_pgvector_open) */
};

/* All or none. *first is the number of the first vector, the others follow; *file that of the file.
 * ERR_CONFLICT: the file has vectors in another collection; ERR_NOT_FOUND: there is no such file.
 */
HT_MUST_CHECK enum err store_vector_add(struct store *s, const struct store_vector_add *add,
                                        int64_t *first, int64_t *file, struct error *error);
/* In all sets; unknown files are fine. Their numbers, ascending, in memory that the caller frees.
 * (Deleting the file does it, too.) */
HT_MUST_CHECK enum err store_vector_remove_file(struct store *s, const char *file_id,
                                                int64_t **removed, size_t *n, struct error *error);
/* file_id NULL: all of the set. */
HT_MUST_CHECK enum err store_vector_count(struct store *s, int64_t set, const char *file_id,
                                          int64_t *n, struct error *error);
/* The numbers of the files that have vectors; others are left out. `out` has room for all. */
HT_MUST_CHECK enum err store_vector_files(struct store *s, const char *const *ids, size_t n_ids,
                                          int64_t *out, size_t *n, struct error *error);

/* ---- searching ---------------------------------------------------------------------------- */

struct store_vector_query {
    int64_t set;
    const float *floats;
    int32_t dims;
    const int64_t *collections; /* these alone; none: nothing is found */
    size_t n_collections;
    const int64_t *files; /* and of these files alone (their numbers), where by_file */
    size_t n_files;
    bool by_file;
    size_t k; /* 1..STORE_VECTOR_K_MAX */
};

struct store_vector_hit {
    int64_t n, chunk_id, file;
    float distance;
};

/* The nearest first; `out` has room for k. Every vector is compared: slow and right. */
HT_MUST_CHECK enum err store_vector_exact(struct store *s, const struct store_vector_query *q,
                                          struct store_vector_hit *out, size_t *n,
                                          struct error *error);
/* SQLite: the signs of the numbers pick candidates (sqlite-vec compares them), the vectors
 * themselves decide. ERR_UNSUPPORTED: PostgreSQL; ERR_CONFIG: sqlite-vec is missing. */
HT_MUST_CHECK enum err store_vector_search(struct store *s, const struct store_vector_query *q,
                                           struct store_vector_hit *out, size_t *n,
                                           struct error *error);
/* The best k of these vectors that are still there and that q's filter lets through. */
HT_MUST_CHECK enum err store_vector_rescore(struct store *s, const struct store_vector_query *q,
                                            const int64_t *candidates, size_t n_candidates,
                                            struct store_vector_hit *out, size_t *n,
                                            struct error *error);
/* SQLite: makes the signs of vectors that have none (after hearth db copy). */
HT_MUST_CHECK enum err store_vector_mend(struct store *s, int64_t set, struct error *error);

/* ---- for what is derived from them ---------------------------------------------------------- */

struct store_vector_row { /* borrowed during the call */
    int64_t n, collection, file;
    const float *floats; /* may not be aligned to more than 4 bytes */
};

/* Calls fn for the vectors of a set after number `after` (0 = all), in the order of their numbers,
 * `limit` at most; *last is the number of the last one, or `after`. fn may return an error. */
HT_MUST_CHECK enum err store_vector_each(
    struct store *s, const struct store_vector_set *set, int64_t after, int32_t limit,
    enum err (*fn)(void *ctx, const struct store_vector_row *row, struct error *error), void *ctx,
    int64_t *last, struct error *error);
/* All numbers of a set, ascending, in memory that the caller frees. */
HT_MUST_CHECK enum err store_vector_numbers(struct store *s, int64_t set, int64_t **out, size_t *n,
                                            struct error *error);
/* How far a copy of the set at `place` (a server's address) has come; 0, 0 at first. */
HT_MUST_CHECK enum err store_vector_place_get(struct store *s, int64_t set, const char *place,
                                              int64_t *last_seq, int64_t *removed,
                                              struct error *error);
HT_MUST_CHECK enum err store_vector_place_put(struct store *s, int64_t set, const char *place,
                                              int64_t last_seq, int64_t removed,
                                              struct error *error);

/* The place has nothing of the set any more. */
HT_MUST_CHECK enum err store_vector_place_drop(struct store *s, int64_t set, const char *place,
                                               struct error *error);
/* Dropped sets that the place still has: n, dims, created_ms. */
HT_MUST_CHECK enum err store_vector_place_dropped(struct store *s, const char *place,
                                                  struct store_vector_set *out, size_t most,
                                                  size_t *n, struct error *error);

/* ---- pgvector ------------------------------------------------------------------------------ */

/* Whether the database is a PostgreSQL that has the extension or can get it; makes it then. */
HT_MUST_CHECK enum err store_pgvector_find(struct store *s, bool *found, struct error *error);
/* Makes the set's table and index, and brings them up to date. Call it before the others. */
HT_MUST_CHECK enum err store_pgvector_open(struct store *s, const struct store_vector_set *set,
                                           struct error *error);
HT_MUST_CHECK enum err store_pgvector_search(struct store *s, const struct store_vector_query *q,
                                             struct store_vector_hit *out, size_t *n,
                                             struct error *error);

#endif
