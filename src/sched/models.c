/* The models: their list, and the thread that loads them, so that requests to other models go on.
 *
 * States: sched_load: (none), FAILED -> LOADING; model_done: LOADING -> READY or FAILED. The loader
 * thread fills the model and its context and sends it to the engine thread, which owns it from then
 * on; callers' threads see it when the state says READY. Models are unloaded by sched_free only. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/doing.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "sched/sched_int.h"

/* ---- the list ----------------------------------------------------------------------------- */

/* models_lock is held. */
static struct sched_model *find(struct sched *s, const char *id)
{
    list_each (n, &s->models) {
        struct sched_model *m = container_of(n, struct sched_model, node);
        if (str_eq(m->id, id)) return m;
    }
    return NULL;
}

struct sched_model *sched_find(struct sched *s, const char *id)
{
    pthread_mutex_lock(&s->models_lock);
    struct sched_model *m = find(s, id);
    if (m && m->state != MODEL_READY) m = NULL;
    pthread_mutex_unlock(&s->models_lock);
    return m;
}

const struct engine_model *sched_engine_model(const struct sched_model *m)
{
    pthread_mutex_lock(&m->s->models_lock);
    const struct engine_model *em = m->state == MODEL_READY ? m->engine_model : NULL;
    pthread_mutex_unlock(&m->s->models_lock);
    return em;
}

int32_t sched_model_ctx(const struct sched_model *m)
{
    return m->n_seq_ctx;
}

const char *sched_model_id(const struct sched_model *m)
{
    return m->id;
}

size_t sched_models(struct sched *s, struct sched_model_status *out, size_t max)
{
    size_t n = 0;
    pthread_mutex_lock(&s->models_lock);
    list_each (node, &s->models) {
        struct sched_model *m = container_of(node, struct sched_model, node);
        if (n++ >= max) continue;
        struct sched_model_status *st = &out[n - 1];
        *st = (struct sched_model_status){.state = m->state,
                                          .progress = atomic_load(&m->progress),
                                          .running = atomic_load(&m->n_running),
                                          .error = m->error};
        if (m->state == MODEL_READY) st->n_ctx = m->n_seq_ctx;
        str_copy(st->id, sizeof st->id, m->id);
    }
    pthread_mutex_unlock(&s->models_lock);
    return n;
}

/* ---- asking for a load -------------------------------------------------------------------- */

static void listen(struct sched_model *m, const struct sched_load_listener *l)
{
    struct load_listener *entry = xcalloc(1, sizeof *entry);
    entry->l = *l;
    list_push_back(&m->listeners, &entry->node);
}

/* models_lock is held. */
static struct sched_model *add_model(struct sched *s, const char *id)
{
    struct sched_model *m = xcalloc(1, sizeof *m);
    m->s = s;
    m->state = MODEL_FAILED; /* not loaded */
    str_copy(m->id, sizeof m->id, id);
    list_init(&m->listeners);
    list_init(&m->active);
    list_init(&m->adapters);
    list_init(&m->ready);
    pthread_mutex_init(&m->pace.lock, NULL);
    queue_init(&m->queue, s->params.ageing_ms);
    atomic_store(&m->wait_ms, -1);
    atomic_store(&m->next_place_ms, -1);
    list_push_back(&s->models, &m->node);
    return m;
}

/* models_lock is held. */
static void begin_load(struct sched_model *m, const char *path)
{
    free(m->path);
    m->path = xstrdup(path);
    m->error = (struct error){0};
    m->state = MODEL_LOADING;
    atomic_store(&m->progress, 0);
    mailbox_send(m->s->loads, &m->load_mail);
}

enum err sched_load(struct sched *s, const char *id, const char *path,
                    const struct sched_load_listener *l, struct error *error)
{
    if (strlen(id) >= MODEL_ID_MAX)
        return err_set(error, ERR_INVALID, "the model's name is longer than %d bytes",
                       MODEL_ID_MAX - 1);
    pthread_mutex_lock(&s->submit_lock);
    if (atomic_load(&s->stopping)) {
        pthread_mutex_unlock(&s->submit_lock);
        return err_set(error, ERR_STOPPING, "the hub is shutting down");
    }
    pthread_mutex_lock(&s->models_lock);
    struct sched_model *m = find(s, id);
    if (!m) m = add_model(s, id);
    bool ready = m->state == MODEL_READY;
    if (!ready && l) listen(m, l);
    if (m->state == MODEL_FAILED) begin_load(m, path);
    pthread_mutex_unlock(&s->models_lock);
    pthread_mutex_unlock(&s->submit_lock);
    if (ready && l) l->on_done(l->ctx, m, NULL);
    return OK;
}

bool sched_load_forget(struct sched *s, const char *id, void *listener_ctx)
{
    bool found = false;
    pthread_mutex_lock(&s->models_lock);
    struct sched_model *m = find(s, id);
    if (m) list_each_safe(n, &m->listeners)
        {
            struct load_listener *entry = container_of(n, struct load_listener, node);
            if (found || entry->l.ctx != listener_ctx) continue;
            list_remove(n);
            free(entry);
            found = true;
        }
    pthread_mutex_unlock(&s->models_lock);
    return found;
}

/* ---- the loader thread -------------------------------------------------------------------- */

static bool on_progress(float fraction, void *ctx)
{
    struct sched_model *m = ctx;
    atomic_store(&m->progress, fraction);
    pthread_mutex_lock(&m->s->models_lock);
    list_each (n, &m->listeners) {
        const struct load_listener *entry = container_of(n, struct load_listener, node);
        if (entry->l.on_progress) entry->l.on_progress(entry->l.ctx, fraction);
    }
    pthread_mutex_unlock(&m->s->models_lock);
    return !atomic_load(&m->s->stopping);
}

static int32_t min32(int64_t a, int64_t b)
{
    return (int32_t)(a < b ? a : b);
}

/* KV cells that the memory for them holds, taking the model's width for that of its keys and values
 * (16 bits each): fewer than there could be, since most models share heads (GQA). */
static int64_t cells_in_reason(const struct sched_model *m)
{
    int64_t memory = m->s->params.kv_memory;
    if (!memory) memory = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 4;
    int64_t cell_bytes = (int64_t)m->facts.n_layer * m->facts.n_embd * 2 * 2;
    return cell_bytes > 0 ? memory / cell_bytes : INT32_MAX;
}

/* Cells of their own for all sequences where memory has room for that. Else one pool: with a share
 * each, no request could be long, and a pool still holds a few long ones or many short ones. */
static int32_t cells_wanted(const struct sched_model *m, const struct sched_params *p,
                            int32_t longest, bool *shared)
{
    *shared = p->shared_kv;
    if (p->shared_kv && p->n_ctx > 0) return p->n_ctx;
    int64_t all = (int64_t)longest * p->n_parallel, reason = cells_in_reason(m);
    if (all <= reason) return (int32_t)all;
    *shared = true;
    return (int32_t)(reason > longest ? reason : longest);
}

/* As configured, and what was not, as it was measured. */
static struct sched_params params_of(const struct sched_model *m, int32_t longest)
{
    struct sched_params p = m->s->params;
    const struct shape_profile *measured = measured_profile(m);
    if (!measured) return p;
    log_info(sched, "%s: `hearth bench` has measured it on this machine", m->id);
    if (measured->n_threads) p.n_threads = measured->n_threads;
    if (measured->n_ubatch) p.n_ubatch = measured->n_ubatch;
    /* More sequences than memory has cells for would take them from each other. */
    if (measured->n_parallel && (int64_t)longest * measured->n_parallel <= cells_in_reason(m))
        p.n_parallel = measured->n_parallel;
    return p;
}

static enum err new_chat_ctx(struct sched_model *m, int32_t n_train, struct error *error)
{
    int32_t n_ctx = m->s->params.n_ctx, longest = min32(n_train, n_ctx > 0 ? n_ctx : CHAT_CTX_MAX);
    const struct sched_params tuned = params_of(m, longest), *p = &tuned;
    struct engine_ctx_params params = {.n_batch = p->n_batch,
                                       .n_ubatch = p->n_ubatch,
                                       .n_seq_max = p->n_parallel,
                                       .n_threads = p->n_threads,
                                       .n_threads_batch = p->n_threads};
    params.n_ctx = cells_wanted(m, p, longest, &params.shared_kv);
    int32_t least = p->n_ctx > 0 ? longest : CHAT_CTX_LEAST; /* what was asked for is not cut */
    enum err e = engine_ctx_new(m->engine_model, &params, &m->ctx, error);
    while (e == ERR_NOMEM && params.n_ctx / 2 >= least && !(p->shared_kv && p->n_ctx > 0)) {
        params.n_ctx /= 2;
        params.shared_kv = true;
        log_warn(sched, "%s: %s; trying a context of %d tokens", m->id, error->msg, params.n_ctx);
        e = engine_ctx_new(m->engine_model, &params, &m->ctx, error);
    }
    if (e) return e;
    m->shared_kv = params.shared_kv;
    m->n_slots = p->n_parallel;
    m->n_cells = engine_ctx_size(m->ctx);
    m->n_batch = min32(p->n_batch, m->n_cells); /* libllama cuts it the same way */
    m->n_ubatch = min32(p->n_ubatch, m->n_batch);
    m->n_seq_ctx =
        params.shared_kv ? min32(n_train, m->n_cells) : min32(longest, m->n_cells / m->n_slots);
    if (!p->shared_kv && p->n_ctx > 0) m->n_seq_ctx = min32(m->n_seq_ctx, longest); /* as asked */
    return OK;
}

static enum err new_embed_ctx(struct sched_model *m, int32_t n_train, struct error *error)
{
    const struct sched_params *p = &m->s->params;
    int32_t longest = min32(n_train, p->n_ctx > 0 ? p->n_ctx : EMBED_CTX_MAX);
    int32_t n = longest > EMBED_BATCH ? longest : EMBED_BATCH;
    /* Attention without order needs the whole batch at once, so n_ubatch is n_batch. */
    struct engine_ctx_params params = {.n_ctx = n,
                                       .n_batch = n,
                                       .n_ubatch = n,
                                       .n_seq_max = EMBED_SEQ_MAX,
                                       .n_threads = p->n_threads,
                                       .n_threads_batch = p->n_threads,
                                       .embeddings = true};
    enum err e = engine_ctx_new(m->engine_model, &params, &m->ctx, error);
    if (e) return e;
    m->n_batch = m->n_ubatch = m->n_cells = n;
    m->n_slots = 0;
    m->n_seq_ctx = longest;
    return OK;
}

static enum err load_engine_model(struct sched_model *m, struct error *error)
{
    struct engine_model_params params = {.path = m->path, /* constant while LOADING */
                                         .n_gpu_layers = m->s->params.n_gpu_layers,
                                         .use_mmap = true,
                                         .on_progress = on_progress,
                                         .progress_ctx = m};
    enum err e = engine_model_load(m->s->params.engine, &params, &m->engine_model, error);
    if (e) return e;
    engine_model_facts(m->engine_model, &m->facts);
    m->embedding = m->facts.is_embedding || m->facts.is_rerank;
    int32_t n_train = m->facts.n_ctx_train > 0 ? m->facts.n_ctx_train : INT32_MAX;
    e = m->embedding ? new_embed_ctx(m, n_train, error) : new_chat_ctx(m, n_train, error);
    if (e) return e;
    m->batch = try_calloc((size_t)m->n_batch, sizeof *m->batch);
    if (!m->batch) return err_set(error, ERR_NOMEM, "no memory for a batch of %d", m->n_batch);
    slots_init(m);
    pace_init(m);
    return OK;
}

static void unload(struct sched_model *m)
{
    slots_free(m);
    engine_ctx_free(m->ctx);
    m->ctx = NULL;
    adapters_unload(m);
    engine_model_free(m->engine_model);
    free(m->batch);
    m->engine_model = NULL;
    m->batch = NULL;
    m->n_slots = 0;
}

static void load(struct sched_model *m)
{
    struct error error = {0};
    int64_t start_ns = clock_mono_ns();
    enum err e = OK;
    if (atomic_load(&m->s->stopping)) e = err_set(&error, ERR_STOPPING, "the hub is shutting down");
    doing_begin(DOING_LOAD, m->id);
    if (!e) e = load_engine_model(m, &error);
    doing_end(DOING_LOAD);
    if (e) {
        unload(m);
        if (e == ERR_CANCELLED) err_set(&error, ERR_STOPPING, "the hub is shutting down");
        log_line(error.code == ERR_STOPPING ? LOG_DEBUG : LOG_ERROR, LOG_sched, NULL,
                 "model %s could not be loaded: %s", m->id, error.msg);
    } else {
        int64_t ns = clock_mono_ns() - start_ns;
        metric_observe_ns(METRIC_model_load_seconds, ns);
        log_info(sched, "model %s ready in %.2f s (context %d, %d KV cells)", m->id,
                 (double)ns / 1e9, m->n_seq_ctx, m->n_cells);
    }
    m->done_cmd = (struct model_command){.cmd = {.type = CMD_MODEL}, .model = m, .error = error};
    mailbox_send(m->s->inbox, &m->done_cmd.cmd.mail);
}

void *loader_main(void *sched)
{
    struct sched *s = sched;
    for (;;) {
        struct mail *next, *mail = mailbox_receive(s->loads, -1);
        for (; mail; mail = next) {
            next = mail->next;
            if (mail == &s->loader_quit) return NULL; /* the last one: nothing is sent after it */
            load(container_of(mail, struct sched_model, load_mail));
        }
    }
}

/* ---- the end of a load --------------------------------------------------------------------- */

void model_done(struct sched_model *m, const struct error *error)
{
    struct sched *s = m->s;
    struct error copy = {0};
    if (error) copy = *error; /* it lies in m, which may be loaded again at once */
    struct list_node listeners;
    list_init(&listeners);
    if (!error) list_push_back(&s->ready, &m->ready);
    pthread_mutex_lock(&s->models_lock);
    m->state = error ? MODEL_FAILED : MODEL_READY;
    m->error = copy;
    struct list_node *n;
    while ((n = list_pop_front(&m->listeners))) list_push_back(&listeners, n);
    pthread_mutex_unlock(&s->models_lock);
    if (!error) metric_add(METRIC_models_loaded, 1);
    while ((n = list_pop_front(&listeners))) {
        struct load_listener *entry = container_of(n, struct load_listener, node);
        entry->l.on_done(entry->l.ctx, m, copy.code ? &copy : NULL);
        free(entry);
    }
}

void models_unload(struct sched *s)
{
    struct list_node *n;
    while ((n = list_pop_front(&s->models))) {
        struct sched_model *m = container_of(n, struct sched_model, node);
        ht_assert(list_empty(&m->listeners) && list_empty(&m->active));
        if (m->state == MODEL_READY) metric_add(METRIC_models_loaded, -1);
        unload(m);
        queue_free(&m->queue);
        pthread_mutex_destroy(&m->pace.lock);
        free(m->path);
        free(m);
    }
}
