/* Vectors: the nearest chunks to a question, by whatever the settings say. The store has every
 * vector (store/store_vector.h); a driver (struct vectors_ops in vectors_int.h) says where the near
 * ones are, and the store's own copy decides about distance, order, and whether they still exist
 * and may be seen. So drivers can be changed at any start, one that was away or lost its data
 * catches up from the store, and nothing that was deleted is found.
 *
 *   sqlite    sqlite-vec within the SQLite file: nothing in memory, 100,000 chunks in milliseconds
 *   hnsw      a graph in memory, kept on disk between starts: for many chunks
 *   pgvector  PostgreSQL's extension
 *   chroma    a Chroma server, API v2
 *   auto      pgvector or sqlite; hnsw where there is no pgvector, or there are many chunks
 *
 * Any thread may call; calls wait for the database or the network. */
#ifndef HEARTH_RAG_VECTORS_H
#define HEARTH_RAG_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/config.h"
#include "base/err.h"
#include "store/store.h"

struct vectors;

enum { VECTORS_BATCH_MAX = 4096, VECTORS_K_MAX = 10000 };

struct vectors_params { /* strings are copied */
    struct store *store;
    const char *kind;  /* "auto", "sqlite", "hnsw", "pgvector", "chroma"; NULL = auto */
    const char *dir;   /* for what is kept between starts; made when needed */
    int64_t hnsw_from; /* auto: sets of so many vectors are searched in memory */
    const char *chroma_url, *chroma_tenant, *chroma_database, *chroma_token;
    const char *name; /* of collections at Chroma, a prefix */
};

/* What the settings say; borrowed from the configuration. */
void vectors_params_of(const struct config *config, struct store *store,
                       struct vectors_params *out);

/* Waits for nothing but the database. ERR_CONFIG: this kind can't work here. */
HT_MUST_CHECK enum err vectors_open(const struct vectors_params *params, struct vectors **out,
                                    struct error *error);
void vectors_close(struct vectors *v);             /* NULL is fine; no call may be under way */
const char *vectors_kind(const struct vectors *v); /* the driver's name, "auto" resolved */

/* ---- sets: one for each embedding model ------------------------------------------------------ */

struct vectors_set {
    int64_t n;
    const char *model; /* fingerprint */
    int32_t dims;
    int64_t created_ms;
};

/* Finds the model's set, or makes it. `model` is what tells one model's vectors from another's. */
HT_MUST_CHECK enum err vectors_set_open(struct vectors *v, const char *model, int32_t dims,
                                        int64_t *set, struct error *error);
/* The oldest first. */
HT_MUST_CHECK enum err vectors_set_list(struct vectors *v, struct arena *a,
                                        struct vectors_set **out, size_t *n, struct error *error);
/* With its vectors, everywhere. */
HT_MUST_CHECK enum err vectors_set_drop(struct vectors *v, int64_t set, struct error *error);

/* ---- vectors --------------------------------------------------------------------------------- */

struct vectors_add {
    int64_t set;
    int64_t collection;  /* its number */
    const char *file_id; /* of one file, which is in one collection */
    const int64_t *chunks;
    const float *floats; /* n times dims; of any length but 0 */
    int32_t dims;
    size_t n; /* 1..VECTORS_BATCH_MAX */
};

/* OK: they are durable and found. Adding a chunk's vector again replaces it, so that a job may be
 * repeated. After an error of another server (ERR_NETWORK, ERR_UPSTREAM) they are durable but not
 * found yet: repeat it, or wait, for what is missing there is sent when it is back. */
HT_MUST_CHECK enum err vectors_add(struct vectors *v, const struct vectors_add *add,
                                   struct error *error);
/* In all sets. From the return on they are not found, also when another server, which is away
 * now, deletes them later. Unknown files are fine. */
HT_MUST_CHECK enum err vectors_remove_file(struct vectors *v, const char *file_id,
                                           struct error *error);

struct vectors_query {
    int64_t set;
    const float *floats;
    int32_t dims;
    const int64_t *collections; /* that the user may see; none: nothing is found */
    size_t n_collections;
    const char *const *file_ids; /* these files alone; n_files 0 = all of the collections */
    size_t n_files;
    size_t k; /* 1..VECTORS_K_MAX */
};

struct vectors_hit {
    int64_t chunk_id;
    float distance; /* cosine: 0 same direction, 1 right angle, 2 opposite */
};

/* The nearest first, `out` has room for k. ERR_NETWORK, ERR_UPSTREAM: the server that searches is
 * away or in trouble; it is asked again by the next call. */
HT_MUST_CHECK enum err vectors_search(struct vectors *v, const struct vectors_query *q,
                                      struct vectors_hit *out, size_t *n, struct error *error);
/* Of a set (file_id NULL), or of a file in it. */
HT_MUST_CHECK enum err vectors_count(struct vectors *v, int64_t set, const char *file_id,
                                     int64_t *n, struct error *error);

/* How the searches stand, for `hearth doctor` and tests. */
struct vectors_status {
    int64_t n;         /* vectors of the set */
    int64_t in_memory; /* of those, how many the graph has; 0 without one */
    bool current;      /* everything is where it is searched */
    size_t bytes;      /* memory of the graph */
};
HT_MUST_CHECK enum err vectors_status(struct vectors *v, int64_t set, struct vectors_status *out,
                                      struct error *error);

#endif
