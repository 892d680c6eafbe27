/* The object, its models and their sets of vectors; see rag.h. */
#include "rag/rag.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "provider/local.h"
#include "rag/rag_int.h"

enum { THREADS = 4, QUEUED = 4096, LOOK_MS = 5000, CTX_MAX = 8192, ROOM_MAX = 6000 };

enum err rag_new(const struct rag_params *params, struct rag **out, struct error *error)
{
    struct rag *r = xcalloc(1, sizeof *r);
    r->p = *params;
    pthread_mutex_init(&r->lock, NULL);
    enum err e = pool_new("rag", THREADS, QUEUED, &r->pool, error);
    if (e)
        rag_free(r);
    else
        *out = r;
    return e;
}

void rag_stop(struct rag *r)
{
    if (!r) return;
    pthread_mutex_lock(&r->lock);
    struct pool *pool = r->pool;
    r->pool = NULL;
    pthread_mutex_unlock(&r->lock);
    if (pool) pool_free(pool);
}

void rag_free(struct rag *r)
{
    if (!r) return;
    rag_stop(r);
    vectors_close(r->vectors);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

enum err rag_submit(struct rag *r, pool_fn fn, void *arg)
{
    pthread_mutex_lock(&r->lock);
    enum err e = r->pool ? pool_submit(r->pool, fn, arg) : ERR_STOPPING;
    pthread_mutex_unlock(&r->lock);
    return e;
}

/* ---- words --------------------------------------------------------------------------------- */

static const char *const mode_words[] = {
#define X(id, word) [RAG_##id] = word,
    RAG_MODES(X)
#undef X
};

const char *rag_mode_word(enum rag_mode mode)
{
    ht_assert(mode < RAG_MODE_COUNT);
    return mode_words[mode];
}

bool rag_mode_parse(const char *word, enum rag_mode *out)
{
    for (int i = 0; i < RAG_MODE_COUNT; i++) {
        if (!str_eq(word, mode_words[i])) continue;
        *out = (enum rag_mode)i;
        return true;
    }
    return false;
}

/* ---- models -------------------------------------------------------------------------------- */

static int32_t context_of(const struct rag *r, const struct model_info *m)
{
    int64_t set = config_int(r->p.config, CONFIG_N_CTX);
    int32_t most = set > 0 && set < INT32_MAX ? (int32_t)set : CTX_MAX;
    return m->n_ctx_train > 0 && m->n_ctx_train < most ? m->n_ctx_train : most;
}

/* Not the path and not the time: a model that is moved or touched is the same. */
static void fingerprint(const struct model_info *m, char dst[FINGERPRINT_MAX])
{
    str_printf(dst, FINGERPRINT_MAX, "%s|%s|%s|%" PRId64 "|%" PRId64, m->id, m->arch, m->quant,
               m->n_params, m->file_bytes);
}

static void fill_model(const struct rag *r, const struct model_info *m, struct rag_model *out)
{
    *out = (struct rag_model){.n_ctx = context_of(r, m), .weak = m->builtin};
    str_copy(out->id, sizeof out->id, m->id);
    fingerprint(m, out->fingerprint);
}

static enum err resolve(const struct rag *r, enum model_kind kind, enum config_key key,
                        const char *name, struct model_info *out, struct error *error)
{
    return local_resolve_kind(r->p.models, config_str(r->p.config, key), name, kind, out, error);
}

/* Looking reads folders: not for every question. */
enum err rag_model_now(struct rag *r, struct rag_model *out, struct error *error)
{
    struct model_info m;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&r->lock);
    bool known = r->looked_ms && now - r->looked_ms < LOOK_MS;
    if (known) m = r->embed_model;
    pthread_mutex_unlock(&r->lock);
    if (!known) {
        enum err e = resolve(r, MODEL_EMBEDDING, CONFIG_DEFAULT_EMBED_MODEL, "", &m, error);
        if (e) return e;
        pthread_mutex_lock(&r->lock);
        r->embed_model = m;
        r->looked_ms = now;
        pthread_mutex_unlock(&r->lock);
    }
    fill_model(r, &m, out);
    return OK;
}

/* The model of an older set, if it is still what it was. */
static bool old_model(struct rag *r, const struct vectors_set *set, struct rag_model *out)
{
    struct model_info m;
    char id[MODEL_ID_MAX];
    size_t len = strcspn(set->model, "|");
    if (len >= sizeof id) return false;
    memcpy(id, set->model, len);
    id[len] = '\0';
    if (resolve(r, MODEL_EMBEDDING, CONFIG_DEFAULT_EMBED_MODEL, id, &m, NULL)) return false;
    fill_model(r, &m, out);
    out->set = set->n;
    return str_eq(out->fingerprint, set->model);
}

enum err rag_models_searched(struct rag *r, struct vectors *v, struct rag_model *out, size_t max,
                             size_t *n, bool *old, struct error *error)
{
    struct vectors_set *sets = NULL;
    size_t n_sets = 0;
    enum err e = rag_model_now(r, &out[0], error);
    if (e) return e;
    struct arena *a = arena_new(1 << 20);
    e = vectors_set_list(v, a, &sets, &n_sets, error);
    *n = 1;
    if (old) *old = false;
    for (size_t i = n_sets; !e && i-- > 0;) {
        if (str_eq(sets[i].model, out[0].fingerprint)) {
            out[0].set = sets[i].n;
            continue;
        }
        if (old) *old = true;
        if (*n < max && old_model(r, &sets[i], &out[*n])) ++*n;
    }
    arena_free(a);
    return e;
}

int32_t rag_rerank_ctx(struct rag *r, bool *weak)
{
    struct model_info m;
    *weak = false;
    if (resolve(r, MODEL_RERANK, CONFIG_RERANK_MODEL, "", &m, NULL)) return 0;
    *weak = m.builtin;
    return context_of(r, &m);
}

int32_t rag_room(struct rag *r, const char *model)
{
    struct model_info m;
    int64_t set = config_int(r->p.config, CONFIG_RAG_CONTEXT);
    if (set > 0) return (int32_t)set;
    if (resolve(r, MODEL_CHAT, CONFIG_DEFAULT_MODEL, model, &m, NULL)) return ROOM_MAX;
    int32_t half = context_of(r, &m) / 2;
    return half < ROOM_MAX ? half : ROOM_MAX;
}

/* ---- vectors ------------------------------------------------------------------------------- */

enum err rag_vectors(struct rag *r, struct store *s, struct vectors **out, struct error *error)
{
    struct vectors_params params;
    enum err e = OK;
    pthread_mutex_lock(&r->lock);
    bool first = !r->vectors;
    if (first) {
        vectors_params_of(r->p.config, s, &params);
        e = vectors_open(&params, &r->vectors, error);
    }
    *out = r->vectors;
    pthread_mutex_unlock(&r->lock);
    if (e || !first) return e;
    log_info(store, "vectors are searched by %s", vectors_kind(*out));
    index_look(r, s, *out);
    return OK;
}
