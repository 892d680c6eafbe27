/* Inside rag.
 *
 *   rag.c      the object; models, sets of vectors
 *   search.c   from a question to an order of chunks
 *   sources.c  from chunks to sources: diversity, neighbours, budget
 *   prompt.c   sources for a model and as JSON
 *   index.c    the jobs that make files searchable
 *   embed.c, split*.c, seam.c, blocks.c, vectors*: their own headers */
#ifndef HEARTH_RAG_RAG_INT_H
#define HEARTH_RAG_RAG_INT_H

#include <pthread.h>

#include "files/files.h"
#include "jobs/jobs.h"
#include "rag/embed.h"
#include "rag/rag.h"
#include "rag/vectors.h"
#include "store/store_chunk.h"

enum { FINGERPRINT_MAX = 256, RRF_K = 60 };

struct rag {
    struct rag_params p;
    pthread_mutex_t lock;          /* of what follows */
    struct pool *pool;             /* NULL once it was stopped */
    struct vectors *vectors;       /* of the store that was used first; the hub has one */
    struct jobs *jobs;             /* NULL: none run */
    struct files *files;           /* constant once jobs run */
    struct model_info embed_model; /* that is used now, looked up at looked_ms */
    int64_t looked_ms;
};

/* A model whose vectors are searched. */
struct rag_model {
    char id[MODEL_ID_MAX];
    char fingerprint[FINGERPRINT_MAX]; /* tells its vectors from those of others */
    int32_t n_ctx;
    bool weak;   /* built in, for tests and first impressions: see WEAK_MODEL */
    int64_t set; /* 0 = it has none yet */
};

/* Opens them at the first call; then also looks whether there is work left (index.h). */
HT_MUST_CHECK enum err rag_vectors(struct rag *r, struct store *s, struct vectors **out,
                                   struct error *error);
/* The model that files are embedded by now. */
HT_MUST_CHECK enum err rag_model_now(struct rag *r, struct rag_model *out, struct error *error);
/* Those whose vectors there are: the one of now first (also without a set), then older ones that
 * can still be used. *n is 1..max; *old (may be NULL) says whether there are other sets, also of
 * models that are gone. */
HT_MUST_CHECK enum err rag_models_searched(struct rag *r, struct vectors *v, struct rag_model *out,
                                           size_t max, size_t *n, bool *old, struct error *error);
/* n_ctx of the rerank model, and whether it is the built-in one (see WEAK_MODEL). */
int32_t rag_rerank_ctx(struct rag *r, bool *weak);

/* index.c: a job for what a change of the model leaves to do. */
void index_look(struct rag *r, struct store *s, struct vectors *v);

/* A chunk on its way to become a source. */
struct candidate {
    int64_t id;
    double score;
};

/* search.c -> sources.c: the candidates in their final order; fills sources. */
HT_MUST_CHECK enum err sources_make(const struct rag_query *q, int32_t k, int32_t neighbours,
                                    const struct candidate *c, size_t n_c,
                                    const struct store_chunk_found *found, size_t n_found,
                                    struct arena *a, struct rag_source **out, size_t *n,
                                    struct error *error);

#endif
