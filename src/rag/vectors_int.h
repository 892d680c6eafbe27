/* Drivers of the vector store. Only for files of this folder. */
#ifndef HEARTH_RAG_VECTORS_INT_H
#define HEARTH_RAG_VECTORS_INT_H

#include "rag/vectors.h"
#include "store/store_vector.h"

struct vectors_added { /* what the store has just taken */
    const struct store_vector_add *add;
    int64_t first, file; /* numbers: of the first vector, of the file */
};

/* Where near vectors are found. One instance for each kind, NULL where it has nothing to do. */
struct vectors_ops {
    const char *name; /* MUST */
    bool pgvector;    /* the store writes pgvector's tables, too */
    /* MAY. Once, at the start. *state is the driver's own. */
    enum err (*open)(const struct vectors_params *params, void **state, struct error *error);
    void (*close)(void *state);
    /* MAY. Before anything else with a set; again after it failed. */
    enum err (*prepare)(void *state, const struct store_vector_set *set, struct error *error);
    /* MAY. After the store has changed. What fails here the driver catches up later. */
    enum err (*added)(void *state, const struct vectors_added *added, struct error *error);
    void (*removed)(void *state, int64_t file, const int64_t *numbers, size_t n);
    void (*dropped)(void *state, int64_t set);
    /* MUST. */
    enum err (*search)(void *state, const struct store_vector_query *q,
                       struct store_vector_hit *out, size_t *n, struct error *error);
    /* MAY: in_memory, current, bytes; the others are filled in. */
    enum err (*status)(void *state, const struct store_vector_set *set, struct vectors_status *out,
                       struct error *error);
};

extern const struct vectors_ops vectors_sqlite, vectors_pgvector, vectors_hnsw, vectors_auto,
    vectors_chroma;

#endif
