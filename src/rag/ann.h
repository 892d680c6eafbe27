/* Approximate nearest neighbours in memory: hnswlib (C++) behind C functions, over vectors of bytes
 * (int8.h). No exception leaves it. What it returns are candidates: the caller compares the real
 * vectors.
 *
 * Threads: ann_add may run in several threads at once as long as nothing else does; searches may
 * run at once with each other; everything else alone. The caller has the lock. */
#ifndef HEARTH_RAG_ANN_H
#define HEARTH_RAG_ANN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ann;

/* Links of a vector, vectors looked at when adding and when searching; measured in
 * docs/decisions/0022. */
enum { ANN_LINKS = 16, ANN_EF_ADD = 200, ANN_EF = 128, ANN_EF_MAX = 800 };

HT_MUST_CHECK enum err ann_new(int32_t dims, size_t capacity, struct ann **out,
                               struct error *error);
void ann_free(struct ann *a);

size_t ann_count(const struct ann *a);   /* without those removed */
size_t ann_removed(const struct ann *a); /* that still take room and time */
size_t ann_room(const struct ann *a);    /* vectors that can be added */
size_t ann_bytes(const struct ann *a);   /* of memory, about */

/* `v` has length 1. A number is given once. ERR_NOMEM: there is no room. */
HT_MUST_CHECK enum err ann_add(struct ann *a, int64_t n, int64_t collection, int64_t file,
                               const float *v, struct error *error);
HT_MUST_CHECK enum err ann_grow(struct ann *a, size_t capacity, struct error *error);
/* Returns how many vectors the file had. */
size_t ann_remove_file(struct ann *a, int64_t file);
/* Removes all but these (ascending); returns how many went. */
size_t ann_keep(struct ann *a, const int64_t *numbers, size_t n);

struct ann_query {
    const float *v; /* of length 1 */
    const int64_t *collections, *files;
    size_t n_collections, n_files;
    bool by_file;
};

/* About the nearest `most` numbers, in no order. *all: there are no more that the filter lets
 * through. */
HT_MUST_CHECK enum err ann_search(const struct ann *a, const struct ann_query *q, size_t most,
                                  int64_t *out, size_t *n, bool *all, struct error *error);

/* Of some vector (i < count + removed): its number, and whether it was made of v. */
bool ann_is(const struct ann *a, size_t i, int64_t *n);
bool ann_matches(const struct ann *a, int64_t n, const float *v);

struct ann_mark { /* where the store was */
    int64_t set, last_seq, removed;
};

/* A file with a checksum; the old one stays until the new one is whole. */
HT_MUST_CHECK enum err ann_save(const struct ann *a, const char *path, const struct ann_mark *mark,
                                struct error *error);
/* ERR_NOT_FOUND: there is none; ERR_CHECKSUM: it is damaged or of another version. */
HT_MUST_CHECK enum err ann_load(const char *path, int32_t dims, struct ann **out,
                                struct ann_mark *mark, struct error *error);

#ifdef __cplusplus
}
#endif

#endif
