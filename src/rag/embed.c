/* Embedding for threads that wait; see embed.h.
 *
 * Lifetime: the waiting thread and the provider's listener hold a reference each. The listener
 * copies the result and wakes the thread. */
#include "rag/embed.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/vec.h"
#include "rag/split.h"

enum {
    CTX_DEFAULT = 512,
    CTX_LEAST = SPLIT_SIZE_MIN,
    ASK_MS = 100,    /* how often `cancelled` is asked */
    SHORTER_MAX = 6, /* times that the parts are made half as long */
    SPECIAL = 8,     /* tokens that the model adds around a text */
};

struct part {
    size_t text, from, len;
};

struct embedding {
    struct provider *provider;
    /* constant: what was asked */
    enum embed_use use;
    char *model, *tenant, *query;
    int32_t priority;
    bool local_only;
    char **texts;
    size_t n;
    int32_t part_tokens;
    struct part *parts;
    size_t n_parts;
    uint64_t id;
    /* lock */
    pthread_mutex_t lock;
    pthread_cond_t told;
    int refs;
    bool over;
    struct error error;
    struct embedded result; /* of the parts */
};

/* ---- prefixes ------------------------------------------------------------------------------ */

/* Some models were trained to be told whether a text is a question or a document; they are known by
 * their names. */
static const char *prefix_of(const char *model, enum embed_use use)
{
    static const struct {
        const char *part, *query, *document;
    } known[] = {
        {"nomic-embed", "search_query: ", "search_document: "},
        {"e5-mistral", "Instruct: Given a question, retrieve passages that answer it\nQuery: ", ""},
        {"e5", "query: ", "passage: "},
        {"bge-m3", "", ""},
        {"bge", "Represent this sentence for searching relevant passages: ", ""},
        {"mxbai-embed", "Represent this sentence for searching relevant passages: ", ""},
        {"arctic-embed", "Represent this sentence for searching relevant passages: ", ""},
        {"qwen3-embedding",
         "Instruct: Given a question, retrieve passages that answer it\nQuery: ", ""},
        {"embeddinggemma", "task: search result | query: ", "title: none | text: "},
    };
    if (use == EMBED_RERANK) return "";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcasestr(model, known[i].part))
            return use == EMBED_QUERY ? known[i].query : known[i].document;
    return "";
}

/* ---- parts --------------------------------------------------------------------------------- */

struct cutting {
    struct embedding *e;
    size_t text, cap;
    bool failed;
};

static bool add_part(void *ctx, const struct split_chunk *c)
{
    struct cutting *cut = ctx;
    struct embedding *e = cut->e;
    if (e->n_parts == cut->cap) {
        size_t cap = 2 * cut->cap + 16;
        struct part *bigger = try_realloc(e->parts, cap, sizeof *bigger);
        if (!bigger) {
            cut->failed = true;
            return false;
        }
        e->parts = bigger;
        cut->cap = cap;
    }
    e->parts[e->n_parts++] = (struct part){cut->text, c->start, c->end - c->start};
    return true;
}

static enum err cut_text(struct cutting *cut, struct error *error)
{
    struct embedding *e = cut->e;
    const char *text = e->texts[cut->text];
    size_t len = strlen(text);
    struct split_params params = {.size = e->part_tokens, .unit = SPLIT_TOKENS};
    struct split_chunk whole = {.end = len};
    if (split_tokens(text, len) <= e->part_tokens) {
        (void)add_part(cut, &whole);
    } else {
        enum err err = split_text(text, len, NULL, 0, &params, add_part, cut, error);
        if (err && !cut->failed) return err;
    }
    return cut->failed ? err_set(error, ERR_NOMEM, "no memory to embed %zu texts", e->n) : OK;
}

static enum err make_parts(struct embedding *e, struct error *error)
{
    struct cutting cut = {.e = e};
    enum err err = OK;
    e->n_parts = 0;
    free(e->parts);
    e->parts = NULL;
    for (; !err && cut.text < e->n; cut.text++) err = cut_text(&cut, error);
    return err;
}

/* ---- asking -------------------------------------------------------------------------------- */

static void embedding_free(struct embedding *e)
{
    for (size_t i = 0; e->texts && i < e->n; i++) free(e->texts[i]);
    free(e->texts);
    free(e->model);
    free(e->tenant);
    free(e->query);
    free(e->parts);
    free(e->result.floats);
    pthread_cond_destroy(&e->told);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

static void unref(struct embedding *e)
{
    pthread_mutex_lock(&e->lock);
    bool last = --e->refs == 0;
    pthread_mutex_unlock(&e->lock);
    if (last) embedding_free(e);
}

static void take_result(struct embedding *e, const struct embed_result *r)
{
    size_t n = r->n_inputs * r->n_dims;
    e->result.floats = try_calloc(n + 1, sizeof *e->result.floats);
    if (!e->result.floats) {
        err_set(&e->error, ERR_NOMEM, "no memory for %zu vectors", r->n_inputs);
        return;
    }
    memcpy(e->result.floats, r->vectors, n * sizeof *r->vectors);
    e->result.dims = (int32_t)r->n_dims;
    str_copy(e->result.model, sizeof e->result.model, r->model);
}

static void on_result(void *ctx, const struct embed_result *r)
{
    struct embedding *e = ctx;
    pthread_mutex_lock(&e->lock);
    if (r->error)
        e->error = *r->error;
    else
        take_result(e, r);
    e->over = true;
    pthread_cond_signal(&e->told);
    pthread_mutex_unlock(&e->lock);
    unref(e);
}

static enum err fill(const struct embedding *e, struct embed_request *req, struct error *error)
{
    struct arena *a = req->arena;
    struct embed_input *inputs = arena_calloc(a, e->n_parts, sizeof *inputs);
    bool ok = inputs;
    for (size_t i = 0; ok && i < e->n_parts; i++) {
        const struct part *p = &e->parts[i];
        inputs[i].text = arena_strndup(a, e->texts[p->text] + p->from, p->len);
        inputs[i].text_len = p->len;
        ok = inputs[i].text;
    }
    req->request_id = "";
    req->model = arena_strdup(a, e->model);
    req->tenant = arena_strdup(a, e->tenant);
    req->query = e->query ? arena_strdup(a, e->query) : NULL;
    req->inputs = inputs;
    req->n_inputs = e->n_parts;
    req->priority = e->priority;
    req->local_only = e->local_only;
    if (ok && req->model && req->tenant && (req->query || !e->query)) return OK;
    return err_set(error, ERR_NOMEM, "no memory to embed %zu texts", e->n);
}

static enum err submit(struct embedding *e, struct error *error)
{
    size_t size = 64 << 10;
    for (size_t i = 0; i < e->n_parts; i++) size += e->parts[i].len + 128;
    struct arena *a = arena_new(2 * size + (e->query ? strlen(e->query) : 0));
    struct embed_request *req = arena_calloc(a, 1, sizeof *req);
    ht_assert(req);
    req->arena = a;
    enum err err = fill(e, req, error);
    if (err) {
        arena_free(a);
        return err;
    }
    e->over = false;
    e->error = (struct error){0};
    pthread_mutex_lock(&e->lock);
    e->refs++;
    pthread_mutex_unlock(&e->lock);
    err = provider_embed(e->provider, req, on_result, e, &e->id, error);
    if (err) unref(e);
    return err;
}

static char *with_prefix(const char *prefix, const char *text)
{
    size_t n = strlen(prefix), len = strlen(text);
    char *s = try_malloc(n + len + 1);
    if (!s) return NULL;
    memcpy(s, prefix, n);
    memcpy(s + n, text, len + 1);
    return s;
}

static struct embedding *embedding_new(struct provider *p, const struct embed_ask *ask)
{
    struct embedding *e = xcalloc(1, sizeof *e);
    e->provider = p;
    e->use = ask->use;
    e->model = xstrdup(ask->model);
    e->tenant = xstrdup(ask->tenant);
    e->query = ask->query ? xstrdup(ask->query) : NULL;
    e->priority = ask->priority;
    e->local_only = ask->local_only;
    e->n = ask->n;
    e->refs = 1;
    pthread_mutex_init(&e->lock, NULL);
    cond_init(&e->told);
    return e;
}

enum err embed_start(struct provider *p, const struct embed_ask *ask, struct embedding **out,
                     struct error *error)
{
    struct embedding *e = embedding_new(p, ask);
    const char *prefix = prefix_of(ask->model, ask->use);
    int32_t room = (ask->n_ctx > 0 ? ask->n_ctx : CTX_DEFAULT) - SPECIAL;
    if (ask->query) room -= split_tokens(ask->query, strlen(ask->query));
    e->part_tokens = room > CTX_LEAST ? room : CTX_LEAST;
    e->texts = try_calloc(ask->n + 1, sizeof *e->texts);
    bool ok = e->texts;
    for (size_t i = 0; ok && i < ask->n; i++)
        ok = (e->texts[i] = with_prefix(prefix, ask->texts[i]));
    enum err err = ok ? make_parts(e, error)
                      : err_set(error, ERR_NOMEM, "no memory to embed %zu texts", ask->n);
    if (!err) err = submit(e, error);
    if (err)
        unref(e);
    else
        *out = e;
    return err;
}

void embed_drop(struct embedding *e)
{
    if (!e) return;
    provider_cancel(e->provider, e->id);
    unref(e);
}

/* ---- waiting ------------------------------------------------------------------------------- */

static enum err wait_for(struct embedding *e, bool (*cancelled)(void *ctx), void *ctx,
                         struct error *error)
{
    bool stop = false;
    pthread_mutex_lock(&e->lock);
    while (!e->over && !stop) {
        (void)cond_wait_until(&e->told, &e->lock, clock_mono_ns() + (int64_t)ASK_MS * 1000000);
        if (e->over || !cancelled) continue;
        pthread_mutex_unlock(&e->lock);
        stop = cancelled(ctx);
        pthread_mutex_lock(&e->lock);
    }
    pthread_mutex_unlock(&e->lock);
    if (stop) return err_set(error, ERR_CANCELLED, "it was cancelled");
    if (e->error.code) *error = e->error;
    return e->error.code;
}

/* One row for each text out of those of its parts. */
static enum err join_parts(struct embedding *e, struct embedded *out, struct error *error)
{
    size_t dims = (size_t)e->result.dims;
    *out = e->result;
    e->result.floats = NULL;
    if (e->n_parts == e->n) return OK;
    float *rows = try_calloc(e->n * dims, sizeof *rows);
    for (size_t i = 0; rows && i < e->n_parts; i++) {
        const struct part *p = &e->parts[i];
        const float *from = out->floats + i * dims;
        float *to = rows + p->text * dims;
        bool first = i == 0 || e->parts[i - 1].text != p->text;
        if (e->use == EMBED_RERANK) {
            if (first || *from > *to) *to = *from;
            continue;
        }
        for (size_t d = 0; d < dims; d++) to[d] += from[d] * (float)p->len;
    }
    free(out->floats);
    out->floats = rows;
    if (!rows) return err_set(error, ERR_NOMEM, "no memory for %zu vectors", e->n);
    if (e->use != EMBED_RERANK)
        for (size_t i = 0; i < e->n; i++)
            (void)vec_normalise(rows + i * dims, dims, rows + i * dims);
    return OK;
}

enum err embed_wait(struct embedding *e, bool (*cancelled)(void *ctx), void *ctx,
                    struct embedded *out, struct error *error)
{
    enum err err = wait_for(e, cancelled, ctx, error);
    /* The estimate was too low for this tokeniser. */
    for (int i = 0; err == ERR_CONTEXT && i < SHORTER_MAX && e->part_tokens > CTX_LEAST; i++) {
        e->part_tokens = e->part_tokens / 2 > CTX_LEAST ? e->part_tokens / 2 : CTX_LEAST;
        err = make_parts(e, error);
        if (!err) err = submit(e, error);
        if (!err) err = wait_for(e, cancelled, ctx, error);
    }
    if (!err) err = join_parts(e, out, error);
    if (err == ERR_CANCELLED) provider_cancel(e->provider, e->id);
    unref(e);
    return err;
}
