/* Drivers that leave searching to the database: sqlite-vec and pgvector. */
#include "rag/vectors_int.h"

static enum err open_db(const struct vectors_params *params, void **state, struct error *error)
{
    (void)error;
    *state = params->store;
    return OK;
}

/* ---- sqlite-vec ---------------------------------------------------------------------------- */

static enum err sqlite_prepare(void *state, const struct store_vector_set *set, struct error *error)
{
    return store_vector_mend(state, set->n, error);
}

static enum err sqlite_search(void *state, const struct store_vector_query *q,
                              struct store_vector_hit *out, size_t *n, struct error *error)
{
    return store_vector_search(state, q, out, n, error);
}

const struct vectors_ops vectors_sqlite = {
    .name = "sqlite",
    .open = open_db,
    .prepare = sqlite_prepare,
    .search = sqlite_search,
};

/* ---- pgvector ------------------------------------------------------------------------------ */

static enum err pg_prepare(void *state, const struct store_vector_set *set, struct error *error)
{
    return store_pgvector_open(state, set, error);
}

static enum err pg_search(void *state, const struct store_vector_query *q,
                          struct store_vector_hit *out, size_t *n, struct error *error)
{
    return store_pgvector_search(state, q, out, n, error);
}

const struct vectors_ops vectors_pgvector = {
    .name = "pgvector",
    .pgvector = true,
    .open = open_db,
    .prepare = pg_prepare,
    .search = pg_search,
};
