/* Chunks: the pieces of files that are searched and cited, and their words.
 *
 * A chunk belongs to a file; who may see the file may see its chunks (its own user, and everybody
 * where its collection is shared). Chunks are visible from the moment that their file is in the
 * state `embedding` or `ready`, so that nobody sees half of a file.
 *
 * An id is never given twice. Ids of one collection lie side by side and rise, and those of a file
 * that were added together are consecutive; so a search within a collection or a file is one
 * within a range of ids.
 *
 * Words are found by FTS5 (unicode61, diacritics removed) or PostgreSQL's text search ('simple'):
 * no stemming, since documents have many languages. Both rank by BM25. */
#ifndef HEARTH_STORE_STORE_CHUNK_H
#define HEARTH_STORE_STORE_CHUNK_H

#include "base/arena.h"
#include "store/store.h"

enum { STORE_CHUNKS_MAX = 4096, STORE_CHUNK_WORDS_MAX = 32, STORE_SCOPE_MAX = 1000 };

struct store_chunk {
    int64_t id;
    int64_t n; /* 0, 1, 2, ... in its file */
    const char *text;
    const char *heading;        /* title and headings above it; "" */
    int32_t page_from, page_to; /* 0: the file has no pages */
    int64_t start, end;         /* bytes in the file's extracted text */
    int32_t tokens;             /* estimated */
};

/* ---- of a file: for indexing ----------------------------------------------------------------- */

/* Takes away what the file has (chunks, and vectors in all sets) and reserves ids for `total` new
 * chunks: *first and those behind it, in the file's *collection. ERR_NOT_FOUND: the file is gone.
 */
HT_MUST_CHECK enum err store_chunk_begin(struct store *s, const char *file_id, int64_t total,
                                         int64_t *first, int64_t *collection, struct error *error);
/* Adds 1..STORE_CHUNKS_MAX chunks, all or none. ERR_NOT_FOUND: the file is gone; ERR_CONFLICT: an
 * id or a number is taken. */
HT_MUST_CHECK enum err store_chunk_add(struct store *s, const char *file_id, int64_t collection,
                                       const struct store_chunk *chunks, size_t n,
                                       struct error *error);
/* All of a file, with their vectors in all sets. */
HT_MUST_CHECK enum err store_chunk_clear(struct store *s, const char *file_id, struct error *error);
/* Chunks from number `from` on, in order. */
HT_MUST_CHECK enum err store_chunk_page(struct store *s, const char *file_id, int64_t from,
                                        int32_t limit, struct arena *a, struct store_chunk **out,
                                        size_t *n, struct error *error);
HT_MUST_CHECK enum err store_chunk_count(struct store *s, const char *file_id, int64_t *n,
                                         struct error *error);
/* Files in the state `ready` of which this set of vectors lacks chunks, by id behind `after` ("" =
 * the first): what a change of the embedding model leaves to do. */
HT_MUST_CHECK enum err store_chunk_missing(struct store *s, int64_t set, const char *after,
                                           int32_t limit, struct arena *a, const char ***out,
                                           size_t *n, struct error *error);

/* ---- of a user: for answers ------------------------------------------------------------------ */

/* Where somebody searches, as numbers that were checked. */
struct store_scope {
    const char *user_id;
    int64_t *collections; /* n of each */
    size_t n_collections;
    const char **files; /* n_files 0 = all of the collections */
    size_t n_files;
};

/* collections: ids or names (the user's own go before shared ones); none = all that the user may
 * see. With files, collections are those of the files unless they are named, too.
 * ERR_NOT_FOUND with the name in error->param: no such collection or file, or somebody else's. */
HT_MUST_CHECK enum err store_chunk_scope(struct store *s, const char *user_id,
                                         const char *const *collections, size_t n_collections,
                                         const char *const *files, size_t n_files, struct arena *a,
                                         struct store_scope *out, struct error *error);

struct store_chunk_hit {
    int64_t id;
    double score; /* BM25: higher is better; comparable within one search */
};

/* Chunks that have words of the text, the best first; `out` has room for k. Any text will do; one
 * without words finds nothing. */
HT_MUST_CHECK enum err store_chunk_search(struct store *s, const struct store_scope *scope,
                                          const char *text, size_t k, struct store_chunk_hit *out,
                                          size_t *n, struct error *error);

struct store_chunk_found {
    struct store_chunk chunk;
    const char *file_id, *file_name, *file_type, *collection_id;
    bool local_only; /* the file's */
};

/* Those of the ids that the user may see and that are there, in no order. */
HT_MUST_CHECK enum err store_chunk_get(struct store *s, const char *user_id, const int64_t *ids,
                                       size_t n_ids, struct arena *a,
                                       struct store_chunk_found **out, size_t *n,
                                       struct error *error);
/* Chunks of a file that the user may see, numbers from..to, in order. */
HT_MUST_CHECK enum err store_chunk_range(struct store *s, const char *user_id, const char *file_id,
                                         int64_t from, int64_t to, struct arena *a,
                                         struct store_chunk_found **out, size_t *n,
                                         struct error *error);

#endif
