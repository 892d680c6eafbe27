/* The face of the scheduler: what callers' threads do. They check, make the request, take a place
 * in the queue, and send it to the engine thread; nothing here waits for a decode. */
#include "sched/sched.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "sched/sched_int.h"

enum { TOKEN_TEXT_MAX = 4 << 20, CACHE_GRACE_MS = 3000 };

/* ---- starting and stopping ----------------------------------------------------------------- */

static void init_locks(struct sched *s)
{
    cond_init(&s->stopped_cond);
    pthread_mutex_init(&s->submit_lock, NULL);
    pthread_mutex_init(&s->models_lock, NULL);
    pthread_mutex_init(&s->stopped_lock, NULL);
    pthread_mutex_init(&s->status_lock, NULL);
    pthread_mutex_init(&s->inflight.lock, NULL);
}

/* On the cache's thread. */
static void wake(void *sched)
{
    mailbox_wake(((struct sched *)sched)->inbox);
}

static void open_cache(struct sched *s, const struct sched_params *p)
{
    struct cache_params params = {.memory = p->cache_memory,
                                  .disk = p->cache_disk,
                                  .dir = p->cache_dir,
                                  .wake = wake,
                                  .ctx = s};
    s->shared = xcalloc(p->n_shared + 1, sizeof *s->shared);
    for (; s->n_shared < p->n_shared; s->n_shared++)
        s->shared[s->n_shared] = xstrdup(p->shared[s->n_shared]);
    s->cache = cache_new(&params);
}

static void sched_destroy(struct sched *s)
{
    model_list_free(s);
    places_free(&s->places);
    cache_free(s->cache, CACHE_GRACE_MS);
    ledger_close(&s->ledger);
    for (size_t i = 0; i < s->n_shared; i++) free(s->shared[i]);
    free(s->shared);
    mailbox_free(s->inbox);
    mailbox_free(s->loads);
    mailbox_free(s->adapter_loads);
    idmap_free(&s->requests);
    buf_free(&s->token_text);
    free(s->shapes);
    pthread_cond_destroy(&s->stopped_cond);
    pthread_mutex_destroy(&s->submit_lock);
    pthread_mutex_destroy(&s->models_lock);
    pthread_mutex_destroy(&s->stopped_lock);
    pthread_mutex_destroy(&s->status_lock);
    pthread_mutex_destroy(&s->inflight.lock);
    free(s);
}

static struct sched_params checked(const struct sched_params *p)
{
    ht_assert(p->engine);
    struct sched_params c = *p;
    if (c.n_parallel < 1) c.n_parallel = 1;
    if (c.n_parallel > SLOTS_MAX) c.n_parallel = SLOTS_MAX;
    if (c.n_batch < SLOTS_MAX) c.n_batch = SLOTS_MAX;
    if (c.n_ubatch < 1) c.n_ubatch = 1;
    if (c.n_ubatch > c.n_batch) c.n_ubatch = c.n_batch;
    if (c.step_target_ms < 1) c.step_target_ms = STEP_TARGET_MS;
    if (c.overflow == OVERFLOW_DEFAULT) c.overflow = OVERFLOW_STOP;
    if (c.queue_capacity < 1) c.queue_capacity = 1;
    if (c.keep_alive_ms == KEEP_ALIVE_DEFAULT) c.keep_alive_ms = KEEP_ALIVE_FOREVER;
    return c;
}

static void copy_shapes(struct sched *s)
{
    size_t n = s->params.n_shapes;
    s->shapes = xcalloc(n + 1, sizeof *s->shapes);
    if (n) memcpy(s->shapes, s->params.shapes, n * sizeof *s->shapes);
    s->params.shapes = s->shapes;
}

static void quit_loader(struct sched *s)
{
    mailbox_send(s->loads, &s->loader_quit.mail);
    thread_join(s->loader_thread);
}

/* After the engine thread, which sends it work. */
static void quit_adapters(struct sched *s)
{
    mailbox_send(s->adapter_loads, &s->adapters_quit);
    thread_join(s->adapters_thread);
}

static enum err start_threads(struct sched *s, struct error *error)
{
    enum err e = thread_start(&s->loader_thread, "loader", loader_main, s, error);
    if (e) return e;
    e = thread_start(&s->adapters_thread, "adapters", adapters_main, s, error);
    if (!e) {
        e = thread_start(&s->engine_thread, "engine", loop_main, s, error);
        if (!e) return OK;
        quit_adapters(s);
    }
    quit_loader(s);
    return e;
}

enum err sched_new(const struct sched_params *params, struct sched **out, struct error *error)
{
    struct sched *s = xcalloc(1, sizeof *s);
    s->params = checked(params);
    copy_shapes(s);
    init_locks(s);
    s->inbox = mailbox_new();
    s->loads = mailbox_new();
    s->adapter_loads = mailbox_new();
    s->stop_cmd.type = CMD_STOP;
    s->quit_cmd.type = CMD_QUIT;
    s->loader_quit.type = LOAD_QUIT;
    ledger_open(&s->ledger, s->params.memory, s->params.cache_memory);
    list_init(&s->models);
    list_init(&s->weights);
    list_init(&s->ready);
    list_init(&s->fresh);
    list_init(&s->graveyard);
    idmap_init(&s->requests);
    buf_init(&s->token_text, TOKEN_TEXT_MAX);
    s->room.capacity = s->params.queue_capacity;
    places_init(&s->places);
    atomic_store(&s->oldest_ms, -1);
    s->status.oldest_ms = -1;
    s->status_quiet = true;
    s->status_ms = clock_mono_ms();
    open_cache(s, params);
    enum err e = start_threads(s, error);
    if (e) {
        sched_destroy(s);
        return e;
    }
    *out = s;
    return OK;
}

/* False when the time is over. */
static bool wait_stopped(struct sched *s, int64_t grace_ms)
{
    int64_t until_ns = clock_mono_ns() + grace_ms * 1000000;
    pthread_mutex_lock(&s->stopped_lock);
    while (!s->stopped && cond_wait_until(&s->stopped_cond, &s->stopped_lock, until_ns)) {
    }
    bool stopped = s->stopped;
    pthread_mutex_unlock(&s->stopped_lock);
    return stopped;
}

static void stop_now(struct sched *s)
{
    atomic_store(&s->stop_now, true);
    pthread_mutex_lock(&s->inflight.lock);
    if (s->inflight.ctx) engine_ctx_abort(s->inflight.ctx);
    pthread_mutex_unlock(&s->inflight.lock);
    mailbox_wake(s->inbox);
}

/* A message that came when everything was over. */
static void settle(struct sched *s, struct command *c)
{
    struct error stopping;
    err_set(&stopping, ERR_STOPPING, "the hub is shutting down");
    switch (c->type) {
    case CMD_CANCEL: free(container_of(c, struct cancel_command, cmd)); break;
    case CMD_ADAPTER: adapter_loaded(container_of(c, struct adapter_command, cmd)->adapter); break;
    case CMD_MEASURED:
        model_done(container_of(c, struct model_command, cmd)->model, &stopping);
        break;
    case CMD_MODEL: {
        struct model_command *mc = container_of(c, struct model_command, cmd);
        model_done(mc->model, mc->error.code ? &mc->error : NULL);
        break;
    }
    case CMD_FREED: model_freed(s, container_of(c, struct unload, cmd)); break;
    default: ht_bug("a request after the end");
    }
}

static void drain(struct sched *s)
{
    for (struct mail *m = mailbox_receive(s->inbox, 0), *next; m; m = next) {
        next = m->next;
        settle(s, container_of(m, struct command, mail));
    }
}

/* No thread is left: what the others did is done here. */
static void end_models(struct sched *s)
{
    loader_drain(s);
    drain(s);
    keep_none(s);
    loader_drain(s);
    drain(s);
}

void sched_free(struct sched *s, int64_t grace_ms)
{
    if (!s) return;
    pthread_mutex_lock(&s->submit_lock);
    atomic_store(&s->stopping, true);
    pthread_mutex_unlock(&s->submit_lock);
    mailbox_send(s->inbox, &s->stop_cmd.mail);
    if (!wait_stopped(s, grace_ms > 0 ? grace_ms : 0)) stop_now(s);
    quit_loader(s); /* its last message reaches the engine thread before the quit */
    mailbox_send(s->inbox, &s->quit_cmd.mail);
    thread_join(s->engine_thread);
    quit_adapters(s);
    end_models(s);
    sched_destroy(s);
}

const struct engine *sched_engine(const struct sched *s)
{
    return s->params.engine;
}

/* ---- requests ------------------------------------------------------------------------------ */

enum err room_take(struct sched *s, int32_t extra, int64_t next_place_ms, struct error *error)
{
    int32_t taken;
    if (queue_room_take(&s->room, extra, &taken)) return OK;
    atomic_fetch_add(&s->n_rejected, 1);
    metric_add(METRIC_requests_rejected_total, 1);
    int32_t after_s = retry_after_s(next_place_ms);
    err_set(error, ERR_BUSY,
            "the queue is full: %d requests wait (at most %d may) and %d are running; try again in "
            "about %d s",
            taken, s->room.capacity, atomic_load(&s->n_running), after_s);
    error->retry_after_s = after_s;
    return ERR_BUSY;
}

/* The one that it has, or one more. */
static enum err take_place(const struct request *r, struct sched_place *place, int32_t idle,
                           struct error *error)
{
    struct sched *s = r->model->s;
    enum err e = OK;
    if (place && place->held) {
        places_leave(&s->places, place);
        return OK;
    }
    if (r->resumed) /* it was taken once */
        queue_room_retake(&s->room);
    else
        e = room_take(s, idle, atomic_load(&r->model->next_place_ms), error);
    if (!e) metric_add(METRIC_requests_waiting, 1);
    return e;
}

static enum err submit(struct sched *s, struct request *r, struct sched_place *place, int32_t idle,
                       uint64_t *id, struct error *error)
{
    pthread_mutex_lock(&s->submit_lock);
    enum err e = OK;
    if (atomic_load(&s->stopping)) e = err_set(error, ERR_STOPPING, "the hub is shutting down");
    if (!e) e = take_place(r, place, idle, error);
    if (!e) {
        *id = r->by_id.id = atomic_fetch_add(&s->next_id, 1) + 1;
        atomic_fetch_add(&s->n_total, 1);
        mailbox_send(s->inbox, &r->cmd.mail);
    }
    pthread_mutex_unlock(&s->submit_lock);
    return e;
}

/* An urgent request has arrived: a long piece of another's prompt does not go on, it is computed
 * again later. That costs at most half of the time (YIELD_EVERY_MS), however many arrive. */
static void hurry(struct sched *s, int32_t priority)
{
    struct inflight *f = &s->inflight;
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&f->lock);
    if (f->ctx && priority <= f->yields_to && now_ms - f->yielded_ms >= YIELD_EVERY_MS) {
        f->yielded_ms = now_ms;
        engine_ctx_abort(f->ctx);
    }
    pthread_mutex_unlock(&f->lock);
}

enum overflow sched_overflow(const struct sched *s, enum overflow wanted)
{
    return wanted == OVERFLOW_DEFAULT ? s->params.overflow : wanted;
}

enum err sched_generate(struct sched *s, const struct sched_generate *g, uint64_t *id,
                        struct error *error)
{
    struct error local;
    if (!error) error = &local;
    if (g->model->embedding)
        return err_set(error, ERR_UNSUPPORTED, "%s is an embedding model; it can't generate text",
                       g->model->id);
    struct request *r = request_new_generate(g, error);
    if (!r) return error->code;
    enum err e = submit(s, r, g->place, atomic_load(&g->model->n_idle), id, error);
    if (!e) {
        hurry(s, g->priority);
        return OK;
    }
    r->prompt = NULL; /* still the caller's */
    request_free(r);
    return e;
}

enum err sched_embed(struct sched *s, const struct sched_embed *e, uint64_t *id,
                     struct error *error)
{
    struct error local;
    if (!error) error = &local;
    if (!e->model->embedding)
        return err_set(error, ERR_UNSUPPORTED, "%s is not an embedding model", e->model->id);
    struct request *r = request_new_embed(e, error);
    if (!r) return error->code;
    int32_t idle = EMBED_SEQ_MAX - atomic_load(&e->model->n_running);
    enum err code = submit(s, r, e->place, idle > 0 ? idle : 0, id, error);
    if (code) request_free(r);
    return code;
}

void sched_cancel(struct sched *s, uint64_t id)
{
    struct cancel_command *c = xcalloc(1, sizeof *c);
    c->cmd.type = CMD_CANCEL;
    c->id = id;
    atomic_fetch_add(&s->cancels_sent, 1); /* before the message: see loop_decode */
    mailbox_send(s->inbox, &c->cmd.mail);
    struct inflight *f = &s->inflight;
    pthread_mutex_lock(&f->lock);
    for (int32_t i = 0; i < f->n; i++) {
        if (f->ids[i] != id) continue;
        f->ids[i] = 0;
        f->n_left--;
    }
    if (f->ctx && f->n_left == 0) engine_ctx_abort(f->ctx);
    pthread_mutex_unlock(&f->lock);
}

void sched_queue(struct sched *s, struct sched_queue *out)
{
    pthread_mutex_lock(&s->status_lock);
    *out = s->status;
    pthread_mutex_unlock(&s->status_lock);
}

void sched_cache_stats(struct sched *s, struct sched_cache_stats *out)
{
    cache_stats(s->cache, out);
}

void sched_stats(struct sched *s, struct sched_stats *out)
{
    int64_t oldest = atomic_load_explicit(&s->oldest_ms, memory_order_relaxed);
    *out = (struct sched_stats){.running = atomic_load(&s->n_running),
                                .waiting = atomic_load(&s->room.taken),
                                .capacity = s->room.capacity,
                                .oldest_wait_ms = oldest < 0 ? 0 : clock_mono_ms() - oldest,
                                .total = atomic_load(&s->n_total),
                                .cancelled = atomic_load(&s->n_cancelled),
                                .rejected = atomic_load(&s->n_rejected)};
}
