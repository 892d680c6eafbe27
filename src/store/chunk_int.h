/* Inside the verbs of chunks. */
#ifndef HEARTH_STORE_CHUNK_INT_H
#define HEARTH_STORE_CHUNK_INT_H

#include "base/buf.h"
#include "store/db_int.h"
#include "store/store_chunk.h"

/* An id is its collection's space, shifted, and a count: 2^36 for each of 2^27 collections. */
enum { CHUNK_SPACE_BITS = 36 };

/* In the order of chunk_read; the table is called k. */
#define CHUNK_COLUMNS                                                                              \
    "k.id, k.n, k.page_from, k.page_to, k.start_at, k.end_at, k.tokens, k.heading, k.text"
enum { CHUNK_N_COLUMNS = 9 };

HT_MUST_CHECK enum err chunk_read(struct db_rows *rows, struct arena *a, struct store_chunk *out,
                                  struct error *error);

/* Which files the user $1 may see whose chunks are whole; f and c are files and collections. */
#define CHUNK_VISIBLE "(c.user_id = $1 OR c.user_id IS NULL) AND f.status IN ('embedding', 'ready')"

/* chunk_search.c: [1,2,3] */
void chunk_numbers(struct buf *out, const int64_t *numbers, size_t n);

/* chunk_words.c: words out of a text, as a database may be asked for them. */
struct chunk_words {
    struct chunk_word {
        char text[104];
        int64_t df; /* chunks that have it */
    } list[STORE_CHUNK_WORDS_MAX];
    size_t n;
    size_t n_needed; /* of the rarest first words a chunk must have one; the others only rank */
};

/* The different words of the text, those that can be looked for. */
void chunk_words_of(const char *text, struct chunk_words *out);
/* Once df is known: the rarest first, those that no chunk has are dropped, and n_needed is such
 * that about `most` chunks are ranked. Of the others, which only rank, a few stay that together are
 * in no more than `beside` chunks. */
void chunk_words_order(struct chunk_words *w, int64_t most, int64_t beside);

#endif
