/* From a question to chunks in order; see rag.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "rag/rag_int.h"

enum {
    MODELS_MAX = 3,
    LIST_MIN = 40, /* of each list, before the fusion */
    LIST_MAX = 200,
    RERANK_MAX = 30,
    LOOKS_MAX = 3,
};

/* How much the built-in models have to say: the embedding model beside words, the rerank model
 * beside the order that it is given; measured (evals/). They know little of the world, and with an
 * equal say they would make a good order worse. */
#define WEAK_MODEL 0.2

/* What was found by one way: a chunk, its rank, and how good it is beside the list's best. */
struct ranked {
    int64_t id;
    int32_t rank;   /* from 1 */
    bool words;     /* by words, not by meaning */
    double of_best; /* 1 = as good; 0 = as bad as what a list of this length ends with */
};

struct search {
    struct rag *r;
    const struct rag_query *q;
    struct arena *a;
    struct store_scope scope;
    int32_t k;
    size_t list; /* length of each list */
    struct rag_model models[MODELS_MAX];
    struct embedding *asked[MODELS_MAX]; /* the question, on its way */
    size_t n_models;
    struct vectors *vectors;
    struct ranked *found;
    size_t n_found;
    bool dropped; /* an older model's set went since its name was read: the new one is whole now */
};

/* ---- by meaning ------------------------------------------------------------------------------ */

static enum err ask_models(struct search *s, struct error *error)
{
    enum err e = rag_vectors(s->r, s->q->store, &s->vectors, error);
    if (!e)
        e = rag_models_searched(s->r, s->vectors, s->models, MODELS_MAX, &s->n_models, NULL, error);
    for (size_t i = 0; !e && i < s->n_models; i++) {
        struct embed_ask ask = {.use = EMBED_QUERY,
                                .model = s->models[i].id,
                                .tenant = s->q->user_id,
                                .priority = s->q->priority,
                                .local_only = s->q->local_only,
                                .n_ctx = s->models[i].n_ctx,
                                .texts = &s->q->text,
                                .n = 1};
        if (!s->models[i].set) continue;
        e = embed_start(s->r->p.provider, &ask, &s->asked[i], error);
    }
    return e;
}

static void drop_models(struct search *s)
{
    for (size_t i = 0; i < MODELS_MAX; i++) {
        embed_drop(s->asked[i]);
        s->asked[i] = NULL;
    }
}

static enum err nearest(struct search *s, const struct rag_model *m, const struct embedded *v,
                        struct error *error)
{
    size_t n;
    struct vectors_hit *hits = arena_calloc(s->a, s->list, sizeof *hits);
    if (!hits) return err_set(error, ERR_NOMEM, "no memory for a search");
    struct vectors_query q = {.set = m->set,
                              .floats = v->floats,
                              .dims = v->dims,
                              .collections = s->scope.collections,
                              .n_collections = s->scope.n_collections,
                              .file_ids = s->scope.files,
                              .n_files = s->scope.n_files,
                              .k = s->list};
    enum err e = vectors_search(s->vectors, &q, hits, &n, error);
    if (e == ERR_NOT_FOUND || (!e && !n && m != s->models)) {
        s->dropped = true;
        return OK;
    }
    if (e || !n) return e;
    /* Distances are never 0 to what has nothing to do with the question, so they count from the
     * farthest of the list. */
    double best = (double)hits[0].distance, worst = (double)hits[n - 1].distance;
    for (size_t i = 0; i < n; i++)
        s->found[s->n_found++] =
            (struct ranked){hits[i].chunk_id, (int32_t)i + 1, false,
                            worst > best ? (worst - (double)hits[i].distance) / (worst - best) : 1};
    return OK;
}

static enum err by_meaning(struct search *s, struct error *error)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < s->n_models; i++) {
        struct embedded v = {0};
        if (!s->asked[i]) continue;
        e = embed_wait(s->asked[i], s->q->cancelled, s->q->ctx, &v, error);
        s->asked[i] = NULL;
        if (!e) e = nearest(s, &s->models[i], &v, error);
        free(v.floats);
    }
    return e;
}

/* ---- by words -------------------------------------------------------------------------------- */

static enum err by_words(struct search *s, struct error *error)
{
    size_t n;
    struct store_chunk_hit *hits = arena_calloc(s->a, s->list, sizeof *hits);
    if (!hits) return err_set(error, ERR_NOMEM, "no memory for a search");
    enum err e = store_chunk_search(s->q->store, &s->scope, s->q->text, s->list, hits, &n, error);
    for (size_t i = 0; !e && i < n; i++)
        s->found[s->n_found++] =
            (struct ranked){hits[i].id, (int32_t)i + 1, true,
                            hits[0].score > 0 ? hits[i].score / hits[0].score : 1};
    return e;
}

/* ---- fusion ---------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    if (x->words != y->words) return x->words ? 1 : -1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static int by_score(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* 1 = the first of both lists. */
static size_t fuse(struct search *s, struct candidate *out)
{
    double weights[2] = {config_double(s->r->p.config, CONFIG_RAG_VECTOR_WEIGHT),
                         config_double(s->r->p.config, CONFIG_RAG_WORDS_WEIGHT)};
    if (s->n_models && s->models[0].weak) weights[0] *= WEAK_MODEL;
    if (s->q->mode != RAG_HYBRID) weights[0] = weights[1] = 1;
    double sum = s->q->mode == RAG_HYBRID ? weights[0] + weights[1] : 1;
    size_t n = 0;
    qsort(s->found, s->n_found, sizeof *s->found, by_id);
    for (size_t i = 0; i < s->n_found; i++) {
        const struct ranked *f = &s->found[i];
        bool same = i && f[-1].id == f->id;
        if (same && f[-1].words == f->words) continue; /* two models found it: the better rank */
        double ranked = f->of_best * (RRF_K + 1) / (RRF_K + f->rank);
        double score = sum > 0 ? weights[f->words] / sum * ranked : 0;
        if (same)
            out[n - 1].score += score;
        else
            out[n++] = (struct candidate){f->id, score};
    }
    qsort(out, n, sizeof *out, by_score);
    return n;
}

/* ---- reranking ------------------------------------------------------------------------------- */

static const struct store_chunk_found *find(const struct store_chunk_found *found, size_t n,
                                            int64_t id)
{
    for (size_t i = 0; i < n; i++)
        if (found[i].chunk.id == id) return &found[i];
    return NULL;
}

/* The first ones in the order of the cross-encoder; those behind keep theirs. */
static enum err rerank(struct search *s, struct candidate *c, size_t n,
                       const struct store_chunk_found *found, size_t n_found, struct error *error)
{
    const char *texts[RERANK_MAX];
    struct embedding *asked;
    struct embedded scores = {0};
    bool weak, pinned = s->q->local_only;
    size_t most = n < RERANK_MAX ? n : RERANK_MAX;
    for (size_t i = 0; i < most; i++) {
        const struct store_chunk_found *f = find(found, n_found, c[i].id);
        texts[i] = f->chunk.text;
        pinned |= f->local_only;
    }
    struct embed_ask ask = {.use = EMBED_RERANK,
                            .model = "",
                            .tenant = s->q->user_id,
                            .priority = s->q->priority,
                            .local_only = pinned,
                            .n_ctx = rag_rerank_ctx(s->r, &weak),
                            .query = s->q->text,
                            .texts = texts,
                            .n = most};
    enum err e = embed_start(s->r->p.provider, &ask, &asked, error);
    if (!e) e = embed_wait(asked, s->q->cancelled, s->q->ctx, &scores, error);
    if (e) return e;
    for (size_t i = 0; i < most; i++) {
        double logit = (double)scores.floats[i * (size_t)scores.dims];
        double own = isnan(logit) ? 0 : 1 / (1 + exp(-logit));
        c[i].score = weak ? (1 - WEAK_MODEL) * c[i].score + WEAK_MODEL * own : own;
    }
    free(scores.floats);
    qsort(c, most, sizeof *c, by_score);
    for (size_t i = most; i < n; i++) c[i].score *= weak ? 1 - WEAK_MODEL : 0;
    return OK;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* Chunks that went, or that the user may not see, since they were found. */
static size_t drop_unseen(struct candidate *c, size_t n, const struct store_chunk_found *found,
                          size_t n_found)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (find(found, n_found, c[i].id)) c[kept++] = c[i];
    return kept;
}

static enum err finish(struct search *s, struct rag_source **out, size_t *n, struct error *error)
{
    struct store_chunk_found *found = NULL;
    size_t n_found = 0;
    struct candidate *c = arena_calloc(s->a, s->n_found + 1, sizeof *c);
    int64_t *ids = arena_calloc(s->a, s->n_found + 1, sizeof *ids);
    if (!c || !ids) return err_set(error, ERR_NOMEM, "no memory for a search");
    size_t n_c = fuse(s, c), most = (size_t)s->k * 3 > RERANK_MAX ? (size_t)s->k * 3 : RERANK_MAX;
    if (n_c > most) n_c = most;
    for (size_t i = 0; i < n_c; i++) ids[i] = c[i].id;
    enum err e =
        store_chunk_get(s->q->store, s->q->user_id, ids, n_c, s->a, &found, &n_found, error);
    if (e) return e;
    n_c = drop_unseen(c, n_c, found, n_found);
    bool order = s->q->rerank == RAG_DEFAULT ? config_bool(s->r->p.config, CONFIG_RAG_RERANK)
                                             : s->q->rerank == RAG_ON;
    if (order && n_c > 1) {
        struct error why;
        e = rerank(s, c, n_c, found, n_found, &why);
        if (e == ERR_CANCELLED || (e && s->q->rerank == RAG_ON)) {
            *error = why;
            return e;
        }
        if (e) log_warn(store, "what was found could not be reranked: %s", why.msg);
    }
    int32_t neighbours = s->q->neighbours >= 0
                             ? s->q->neighbours
                             : (int32_t)config_int(s->r->p.config, CONFIG_RAG_NEIGHBOURS);
    return sources_make(s->q, s->k, neighbours, c, n_c, found, n_found, s->a, out, n, error);
}

/* The question is embedded while its words are looked for. */
static enum err look_once(struct search *s, struct error *error)
{
    struct error why = {0};
    bool meaning = s->q->mode != RAG_BM25;
    enum err e = OK, weak = meaning ? ask_models(s, &why) : OK;
    if (s->q->mode != RAG_VECTOR) e = by_words(s, error);
    if (!e && meaning && !weak) weak = by_meaning(s, &why);
    drop_models(s);
    if (e || !weak) return e;
    if (weak == ERR_CANCELLED || s->q->mode == RAG_VECTOR) {
        *error = why;
        return weak;
    }
    log_warn(store, "only words were searched, not meaning: %s", why.msg);
    return OK;
}

static enum err look(struct search *s, struct error *error)
{
    enum err e = OK;
    for (int i = 0; i < LOOKS_MAX; i++) {
        memset(s->models, 0, sizeof s->models);
        s->n_models = s->n_found = 0;
        s->dropped = false;
        e = look_once(s, error);
        if (e || !s->dropped) break;
    }
    return e;
}

static enum err check_query(const struct rag_query *q, struct error *error)
{
    size_t len = strlen(q->text);
    if (!q->text[strspn(q->text, " \t\r\n")])
        return err_set_param(error, ERR_INVALID, "/query", "there is nothing to search for");
    if (len > RAG_QUERY_MAX)
        return err_set_param(error, ERR_TOO_LARGE, "/query", "a search has at most %d bytes",
                             RAG_QUERY_MAX);
    return OK;
}

enum err rag_search(struct rag *r, const struct rag_query *q, struct arena *a,
                    struct rag_source **out, size_t *n, struct error *error)
{
    struct search s = {.r = r, .q = q, .a = a};
    *n = 0;
    enum err e = check_query(q, error);
    if (!e)
        e = store_chunk_scope(q->store, q->user_id, q->collections, q->n_collections, q->file_ids,
                              q->n_files, a, &s.scope, error);
    if (e || !s.scope.n_collections) return e;
    s.k = q->k > 0 ? q->k : (int32_t)config_int(r->p.config, CONFIG_RAG_RESULTS);
    if (s.k > RAG_K_MAX) s.k = RAG_K_MAX;
    s.list = (size_t)s.k * 4;
    if (s.list < LIST_MIN) s.list = LIST_MIN;
    if (s.list > LIST_MAX) s.list = LIST_MAX;
    s.found = arena_calloc(a, (MODELS_MAX + 1) * s.list, sizeof *s.found);
    if (!s.found) return err_set(error, ERR_NOMEM, "no memory for a search");
    e = look(&s, error);
    return e ? e : finish(&s, out, n, error);
}
