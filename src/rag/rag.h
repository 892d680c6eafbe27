/* Rag: answers from files. Finds the passages of a user's documents that a question is about, by
 * meaning (rag/vectors.h) and by words (store/store_chunk.h), puts them in one order, and writes
 * them down for a model and for the person who wants to check.
 *
 *   question --+-- embed --> nearest vectors --+
 *              |                               +--> reciprocal rank fusion --> (rerank)
 *              +-- words --> BM25 -------------+      --> diversity --> neighbours --> budget
 *
 * Fusion: each list gives weight * quality / (60 + rank) to what it has (Cormack, Clarke and
 * Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods",
 * 2009); ranks are comparable where distances and BM25 scores are not. Quality, 0 to 1, is how near
 * a hit's score comes to the best of its list: a list with one good hit says something else than
 * one where all are alike. The built-in models, which are for tests and first impressions, have
 * less weight.
 *
 * While the files are embedded anew by another model, both models' vectors are searched, and the
 * better rank counts; see index.h.
 *
 * Any thread may call; rag_search waits for the provider and the database, so it is for the threads
 * of rag_submit and of jobs. */
#ifndef HEARTH_RAG_RAG_H
#define HEARTH_RAG_RAG_H

#include "base/arena.h"
#include "base/config.h"
#include "base/json.h"
#include "base/thread.h"
#include "provider/provider.h"
#include "store/store.h"

struct rag;
struct models;

struct rag_params { /* all borrowed */
    const struct config *config;
    struct provider *provider;
    struct models *models; /* where names of models are looked up */
};

HT_MUST_CHECK enum err rag_new(const struct rag_params *params, struct rag **out,
                               struct error *error);
/* Refuses new work and waits for what its threads do; call it once the provider was stopped. */
void rag_stop(struct rag *r);
/* After rag_stop, before the store is closed. NULL is fine. */
void rag_free(struct rag *r);
/* Runs fn on one of the threads for work that waits for the provider. A handler on the hub's pool
 * must not wait there: in one process the provider needs that pool, too. Errors as pool_submit. */
HT_MUST_CHECK enum err rag_submit(struct rag *r, pool_fn fn, void *arg);

/* ---- searching ----------------------------------------------------------------------------- */

enum { RAG_K_MAX = 50, RAG_QUERY_MAX = 32 << 10 };

#define RAG_MODES(X)                                                                               \
    X(HYBRID, "hybrid")                                                                            \
    X(VECTOR, "vector")                                                                            \
    X(BM25, "bm25")

enum rag_mode {
#define X(id, word) RAG_##id,
    RAG_MODES(X)
#undef X
        RAG_MODE_COUNT
};

const char *rag_mode_word(enum rag_mode mode);
bool rag_mode_parse(const char *word, enum rag_mode *out);

enum rag_switch { RAG_DEFAULT, RAG_ON, RAG_OFF };

struct rag_query {
    struct store *store;
    const char *user_id;
    const char *text;
    const char *const *collections; /* ids or names; none = all that the user may see */
    size_t n_collections;
    const char *const *file_ids; /* none = all of the collections */
    size_t n_files;
    int32_t k; /* passages wanted; 0 = as configured */
    enum rag_mode mode;
    enum rag_switch rerank;
    int32_t neighbours;           /* pieces added before and behind each; -1 = as configured */
    int32_t budget;               /* tokens of all texts together; 0 = no limit */
    int32_t priority;             /* of the question's embedding */
    bool local_only;              /* the question must not leave this machine */
    bool (*cancelled)(void *ctx); /* may be NULL */
    void *ctx;
};

struct rag_source {
    int32_t n; /* what an answer cites: 1, 2, 3, ... */
    const char *file_id, *file_name, *file_type, *collection_id;
    const char *heading;        /* title and headings above it; "" */
    int32_t page_from, page_to; /* 0: the file has no pages */
    int64_t start, end;         /* bytes in the file's extracted text */
    const char *text;
    bool local_only; /* the file must not leave this machine, nor what is made from it */
    double score;    /* 0..1: of the fusion, 1 = first of every list; or of the rerank model */
};

/* The best first, in the arena. ERR_NOT_FOUND: a collection or file is not there for this user.
 * Where meaning can't be searched (no embedding model, a vector server is away), `hybrid` goes on
 * with words alone and says so in the log; `vector` fails. */
HT_MUST_CHECK enum err rag_search(struct rag *r, const struct rag_query *q, struct arena *a,
                                  struct rag_source **out, size_t *n, struct error *error);

/* How many tokens of passages fit into a prompt for this model ("" = the default one). */
int32_t rag_room(struct rag *r, const char *model);

/* The sources as a JSON array. text: also what they say. */
void rag_put_sources(struct jw *w, const struct rag_source *sources, size_t n, bool text);

/* What the model is told: that it answers from these passages and cites them as [n], and the
 * passages. What documents say is made harmless: nothing in them reads as the end of a message in
 * a chat template, and the model is told not to obey them. `before` (may be NULL) is the system
 * prompt that goes in front. In the arena; NULL: no memory. */
const char *rag_prompt(const char *before, const struct rag_source *sources, size_t n,
                       struct arena *a);

#endif
