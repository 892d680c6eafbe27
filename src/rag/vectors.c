/* The face of the vector store: picks the driver, and keeps it and the store together. */
#include "rag/vectors.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "rag/vectors_int.h"

enum { SETS_MAX = 256, FILES_MAX = 10000 };

struct vectors {
    struct store *store;
    const struct vectors_ops *ops;
    void *state; /* the driver's */
    pthread_mutex_t lock;
    int64_t ready[SETS_MAX]; /* sets that the driver has prepared */
    size_t n_ready;
};

_Static_assert((int)VECTORS_BATCH_MAX == (int)STORE_VECTOR_BATCH_MAX, "one limit");
_Static_assert((int)VECTORS_K_MAX == (int)STORE_VECTOR_K_MAX, "one limit");

/* ---- opening ------------------------------------------------------------------------------- */

void vectors_params_of(const struct config *config, struct store *store, struct vectors_params *out)
{
    *out = (struct vectors_params){
        .store = store,
        .kind = config_str(config, CONFIG_VECTOR_STORE),
        .dir = config_str(config, CONFIG_VECTORDB_PATH),
        .hnsw_from = config_int(config, CONFIG_HNSW_FROM),
        .chroma_url = config_str(config, CONFIG_CHROMA_URL),
        .chroma_tenant = config_str(config, CONFIG_CHROMA_TENANT),
        .chroma_database = config_str(config, CONFIG_CHROMA_DATABASE),
        .chroma_token = config_str(config, CONFIG_CHROMA_TOKEN),
        .name = config_str(config, CONFIG_COLLECTION_NAME),
    };
}

static enum err need(bool there, const char *kind, const char *what, struct error *error)
{
    if (there) return OK;
    return err_set(error, ERR_CONFIG, "VECTOR_STORE=%s: %s; VECTOR_STORE=auto takes what is there",
                   kind, what);
}

static enum err choose(const struct vectors_params *p, const struct vectors_ops **out,
                       struct error *error)
{
    const char *kind = p->kind && *p->kind ? p->kind : "auto";
    bool sqlite = str_eq(store_kind(p->store), "sqlite"), pgvector = false,
         any = str_ieq(kind, "auto");
    enum err e = OK;
    if (str_ieq(kind, "hnsw")) {
        *out = &vectors_hnsw;
    } else if (str_ieq(kind, "chroma")) {
        *out = &vectors_chroma;
        e = need(p->chroma_url && *p->chroma_url, kind, "CHROMA_URL is empty", error);
    } else if (str_ieq(kind, "sqlite")) {
        *out = &vectors_sqlite;
        e = need(sqlite, kind, "the database is PostgreSQL", error);
    } else if (any || str_ieq(kind, "pgvector")) {
        if (!sqlite) e = store_pgvector_find(p->store, &pgvector, error);
        *out = pgvector ? &vectors_pgvector : &vectors_auto;
        if (!e && !any)
            e = need(pgvector, kind,
                     sqlite ? "the database is SQLite"
                            : "the PostgreSQL of DATABASE_URL has no extension `vector`",
                     error);
    } else {
        e = err_set(error, ERR_CONFIG, "there is no vector store \"%s\"", kind);
    }
    return e;
}

enum err vectors_open(const struct vectors_params *params, struct vectors **out,
                      struct error *error)
{
    const struct vectors_ops *ops = NULL;
    enum err e = choose(params, &ops, error);
    if (e) return e;
    struct vectors *v = xcalloc(1, sizeof *v);
    v->store = params->store;
    v->ops = ops;
    pthread_mutex_init(&v->lock, NULL);
    if (ops->open) e = ops->open(params, &v->state, error);
    if (e) {
        vectors_close(v);
        return e;
    }
    *out = v;
    return OK;
}

void vectors_close(struct vectors *v)
{
    if (!v) return;
    if (v->ops->close && v->state) v->ops->close(v->state);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

const char *vectors_kind(const struct vectors *v)
{
    return v->ops->name;
}

/* ---- sets ---------------------------------------------------------------------------------- */

static bool is_ready(struct vectors *v, int64_t set)
{
    bool found = false;
    pthread_mutex_lock(&v->lock);
    for (size_t i = 0; !found && i < v->n_ready; i++) found = v->ready[i] == set;
    pthread_mutex_unlock(&v->lock);
    return found;
}

static void set_ready(struct vectors *v, int64_t set, bool ready)
{
    pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < v->n_ready; i++)
        if (v->ready[i] == set) v->ready[i--] = v->ready[--v->n_ready];
    if (ready && v->n_ready < SETS_MAX) v->ready[v->n_ready++] = set;
    pthread_mutex_unlock(&v->lock);
}

/* Two threads may do it at once; drivers stand that. */
static enum err prepare(struct vectors *v, int64_t set, struct error *error)
{
    struct store_vector_set s;
    if (!v->ops->prepare || is_ready(v, set)) return OK;
    enum err e = store_vector_set_get(v->store, set, &s, error);
    if (!e) e = v->ops->prepare(v->state, &s, error);
    if (!e) set_ready(v, set, true);
    return e;
}

enum err vectors_set_open(struct vectors *v, const char *model, int32_t dims, int64_t *set,
                          struct error *error)
{
    struct store_vector_set s;
    enum err e = store_vector_set_open(v->store, model, dims, &s, error);
    if (!e) *set = s.n;
    return e;
}

enum err vectors_set_list(struct vectors *v, struct arena *a, struct vectors_set **out, size_t *n,
                          struct error *error)
{
    struct store_vector_set *sets = NULL;
    enum err e = store_vector_set_list(v->store, a, &sets, n, error);
    if (e) return e;
    *out = arena_calloc(a, *n + 1, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for the list of sets");
    for (size_t i = 0; i < *n; i++)
        (*out)[i] = (struct vectors_set){.n = sets[i].n,
                                         .model = sets[i].model,
                                         .dims = sets[i].dims,
                                         .created_ms = sets[i].created_ms};
    return OK;
}

enum err vectors_set_drop(struct vectors *v, int64_t set, struct error *error)
{
    enum err e = store_vector_set_drop(v->store, set, error);
    if (e) return e;
    set_ready(v, set, false);
    if (v->ops->dropped) v->ops->dropped(v->state, set);
    return OK;
}

/* ---- vectors ------------------------------------------------------------------------------- */

enum err vectors_add(struct vectors *v, const struct vectors_add *a, struct error *error)
{
    struct store_vector_add add = {.set = a->set,
                                   .collection = a->collection,
                                   .file_id = a->file_id,
                                   .chunks = a->chunks,
                                   .floats = a->floats,
                                   .dims = a->dims,
                                   .n = a->n,
                                   .pgvector = v->ops->pgvector};
    struct vectors_added added = {.add = &add};
    struct error away = {0};
    /* What can't be prepared because a server is away is durable all the same. */
    enum err ready = prepare(v, a->set, &away);
    if (ready && v->ops->pgvector) return err_set(error, ready, "%s", away.msg);
    enum err e = store_vector_add(v->store, &add, &added.first, &added.file, error);
    if (e) return e;
    if (ready) return err_set(error, ready, "%s", away.msg);
    return v->ops->added ? v->ops->added(v->state, &added, error) : OK;
}

enum err vectors_remove_file(struct vectors *v, const char *file_id, struct error *error)
{
    int64_t *numbers = NULL, file;
    size_t n, n_numbers = 0;
    enum err e = store_vector_files(v->store, &file_id, 1, &file, &n, error);
    if (e || !n) return e;
    e = store_vector_remove_file(v->store, file_id, &numbers, &n_numbers, error);
    if (!e && n_numbers && v->ops->removed) v->ops->removed(v->state, file, numbers, n_numbers);
    free(numbers);
    return e;
}

static enum err search(struct vectors *v, const struct store_vector_query *q,
                       struct vectors_hit *out, size_t *n, struct error *error)
{
    struct store_vector_hit *hits = try_calloc(q->k, sizeof *hits);
    if (!hits) return err_set(error, ERR_NOMEM, "no memory for %zu hits", q->k);
    enum err e = v->ops->search(v->state, q, hits, n, error);
    for (size_t i = 0; !e && i < *n; i++)
        out[i] = (struct vectors_hit){.chunk_id = hits[i].chunk_id, .distance = hits[i].distance};
    free(hits);
    return e;
}

enum err vectors_search(struct vectors *v, const struct vectors_query *query,
                        struct vectors_hit *out, size_t *n, struct error *error)
{
    struct store_vector_query q = {.set = query->set,
                                   .floats = query->floats,
                                   .dims = query->dims,
                                   .collections = query->collections,
                                   .n_collections = query->n_collections,
                                   .by_file = query->n_files > 0,
                                   .k = query->k};
    int64_t *files = NULL;
    *n = 0;
    if (q.k < 1 || q.k > STORE_VECTOR_K_MAX)
        return err_set(error, ERR_INVALID, "a search for %zu chunks; 1 to %d are possible", q.k,
                       STORE_VECTOR_K_MAX);
    if (query->n_files > FILES_MAX)
        return err_set(error, ERR_TOO_LARGE, "a search in %zu files; at most %d are possible",
                       query->n_files, FILES_MAX);
    if (!q.n_collections) return OK;
    enum err e = prepare(v, q.set, error);
    if (!e && q.by_file) {
        files = xcalloc(query->n_files, sizeof *files);
        e = store_vector_files(v->store, query->file_ids, query->n_files, files, &q.n_files, error);
        q.files = files;
    }
    if (!e && !(q.by_file && !q.n_files)) e = search(v, &q, out, n, error);
    free(files);
    return e;
}

enum err vectors_count(struct vectors *v, int64_t set, const char *file_id, int64_t *n,
                       struct error *error)
{
    return store_vector_count(v->store, set, file_id, n, error);
}

enum err vectors_status(struct vectors *v, int64_t set, struct vectors_status *out,
                        struct error *error)
{
    struct store_vector_set s;
    *out = (struct vectors_status){.current = true};
    enum err e = prepare(v, set, error);
    if (!e) e = store_vector_set_get(v->store, set, &s, error);
    if (!e) e = store_vector_count(v->store, set, NULL, &out->n, error);
    if (!e && v->ops->status) e = v->ops->status(v->state, &s, out, error);
    return e;
}
