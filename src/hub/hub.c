/* The composition root: builds the parts from the bottom up, takes them down in reverse. */
#include "hub/hub.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/work.h"
#include "provider/derive.h"
#include "provider/local.h"

enum { POOL_QUEUE_MIN = 4096, FEED_MAX = 64 << 20 };
/* How old an answer may be: what happens here expires it at once; this is for what happens
 * elsewhere (a model unloaded when its time was over, a file in the folder). And when one is slow:
 * a probe of the hub's health must not depend on its worker. */
enum {
    HEALTH_AGE_MS = 100,
    HEALTH_PATIENCE_MS = 30,
    MODELS_AGE_MS = 250,
    MODELS_PATIENCE_MS = 10000
};

static enum err open_models(struct hub *h, struct error *error)
{
    char builtin_adapters[MODEL_PATH_MAX];
    const char *builtin = config_str(h->config, CONFIG_BUILTIN_DIR);
    adapters_builtin_dir(builtin, builtin_adapters);
    enum err e = models_open(config_str(h->config, CONFIG_MODELS_DIR), builtin, &h->models, error);
    return e ? e
             : adapters_open(config_str(h->config, CONFIG_ADAPTERS_DIR), builtin_adapters,
                             &h->adapters, error);
}

/* A job for each connection that may wait for an answer, and one for each request in the queue that
 * waits for a model. */
static enum err open_pool(struct hub *h, struct error *error)
{
    size_t queued = (size_t)config_int(h->config, CONFIG_MAX_CONNECTIONS) +
                    (size_t)config_int(h->config, CONFIG_QUEUE_CAPACITY);
    return pool_new("pool", (int)config_int(h->config, CONFIG_POOL_THREADS),
                    queued > POOL_QUEUE_MIN ? queued : POOL_QUEUE_MIN, &h->pool, error);
}

/* On whichever thread it happened. */
static void models_changed(void *hub)
{
    struct hub *h = hub;
    snapshot_expire(h->health_view);
    snapshot_expire(h->models_view);
}

/* Everybody who may answer. Nothing goes out for it. */
static enum err open_router(struct hub *h, struct error *error)
{
    struct router_params params = {.local = h->local, .timers = h->timers};
    h->request_log = request_log_new(h->config, h->accounts, h->timers, h->pool);
    params.hooks = request_log_hooks(h->request_log);
    enum err e = routing_load(h->config, &params.routing, error);
    if (!e) e = prices_load(config_str(h->config, CONFIG_PRICES), &params.prices, error);
    if (!e) e = httpc_new(&h->httpc, error);
    if (e) {
        routing_free(params.routing);
        prices_free(params.prices);
        return e;
    }
    params.httpc = h->httpc;
    return router_open(&params, &h->router, error);
}

/* What callers see of the provider. */
static enum err open_face(struct hub *h, struct error *error)
{
    enum err e = open_router(h, error);
    if (e) return e;
    h->health_view = snapshot_new(h->timers, HEALTH_AGE_MS, HEALTH_PATIENCE_MS);
    h->models_view = snapshot_new(h->timers, MODELS_AGE_MS, MODELS_PATIENCE_MS);
    size_t keep = (size_t)config_int(h->config, CONFIG_REQUESTS_KEPT);
    h->derive = derive_new(router_provider(h->router), h->models, h->adapters,
                           config_str(h->config, CONFIG_DEFAULT_MODEL));
    h->recorder = recorder_new(h->derive, keep, models_changed, h);
    h->provider = recorder_provider(h->recorder);
    struct recorder_meter meter = {accounts_meter_begin, accounts_meter_end, h->accounts};
    recorder_set_meter(h->recorder, &meter);
    if (str_eq(config_str(h->config, CONFIG_PRIVACY), "local")) recorder_pin(h->recorder);
    struct rag_params rag = {.config = h->config, .provider = h->provider, .models = h->models};
    e = rag_new(&rag, &h->rag, error);
    if (e) return e;
    work_use_rag(h->work, h->rag);
    struct chat_params chat = {.provider = h->provider, .pool = h->pool, .rag = h->rag};
    h->chat = chat_new(&chat);
    return OK;
}

/* What both kinds of hub have. */
static enum err open_common(const struct config *config, struct hub **out, struct error *error)
{
    struct hub *h = xcalloc(1, sizeof *h);
    h->config = config;
    h->started_wall_s = clock_wall_s();
    h->started_mono_ms = clock_mono_ms();
    h->guarded = accounts_asked_for(config);
    enum err e = open_models(h, error);
    if (!e) h->pulls = pulls_new(config, h->models);
    if (!e) e = open_pool(h, error);
    if (!e) e = timers_new(&h->timers, error);
    if (!e) h->accounts = accounts_new(config, h->timers, h->pool);
    if (!e) e = work_new(config, h->accounts, &h->work, error);
    if (!e) {
        h->files = work_files(h->work);
        h->jobs = work_jobs(h->work);
        h->background = work_background(h->work);
        h->batches = work_batches(h->work);
        h->feeds = feeds_new(FEED_MAX);
    }
    if (e)
        hub_close(h, 0);
    else
        *out = h;
    return e;
}

enum err hub_open_with_engine(const struct config *config, struct engine *engine, struct hub **out,
                              struct error *error)
{
    struct hub *h;
    enum err e = open_common(config, &h, error);
    if (e) {
        engine_close(engine);
        return e;
    }
    e = stack_open(config, engine, h->models, h->pool, NULL, &h->stack, error);
    h->local = h->stack.local;
    h->sched = h->stack.sched;
    if (!e) e = open_face(h, error);
    if (!e) e = stack_preload(config, &h->stack, NULL, 0, error);
    if (e)
        hub_close(h, 0);
    else
        *out = h;
    return e;
}

static enum err open_in_process(const struct config *config, struct hub **out, struct error *error)
{
    struct engine *engine;
    const char *lib_dir = config_str(config, CONFIG_LIB_DIR);
    enum err e = engine_open_llama(*lib_dir ? lib_dir : NULL, &engine, error);
    return e ? e : hub_open_with_engine(config, engine, out, error);
}

enum err hub_open(const struct config *config, struct hub **out, struct error *error)
{
    struct hub *h;
    if (config_bool(config, CONFIG_IN_PROCESS)) return open_in_process(config, out, error);
    enum err e = open_common(config, &h, error);
    if (e) return e;
    struct worker_params params = {.config = config,
                                   .preload = config_bool(config, CONFIG_PRELOAD)};
    e = worker_open(&params, &h->worker, error);
    h->local = h->worker;
    if (!e) e = open_face(h, error);
    if (e)
        hub_close(h, 0);
    else
        *out = h;
    return e;
}

void hub_close(struct hub *h, int64_t grace_ms)
{
    if (!h) return;
    int64_t until_ms = clock_mono_ms() + grace_ms;
    work_stop(h->work);
    router_stop(h->router); /* nothing goes on elsewhere because it ended here */
    stack_stop(&h->stack, grace_ms);
    if (h->worker) worker_stop(h->worker, grace_ms);
    pulls_stop(h->pulls);
    router_close(h->router, until_ms - clock_mono_ms());
    request_log_stop(h->request_log);
    accounts_stop(h->accounts);
    rag_stop(h->rag);
    pool_free(h->pool); /* its jobs may still call the provider, which refuses */
    work_free(h->work); /* so may they, whom the provider's refusal ends */
    feeds_free(h->feeds);
    rag_free(h->rag);
    chat_free(h->chat);
    stack_close(&h->stack);
    provider_close(h->worker, 0);
    recorder_free(h->recorder);
    derive_free(h->derive);
    request_log_free(h->request_log); /* its rows name what the router has read */
    router_free(h->router);
    httpc_free(h->httpc);
    snapshot_free(h->health_view);
    snapshot_free(h->models_view);
    timers_free(h->timers);
    pulls_free(h->pulls);
    adapters_free(h->adapters);
    models_free(h->models);
    accounts_free(h->accounts);
    free(h);
}

enum err hub_start(struct hub *h, struct error *error)
{
    request_log_start(h->request_log);
    return work_start(h->work, error);
}

enum err hub_default_model(const struct hub *hub, struct model_info *out, struct error *error)
{
    if (hub->stack.local) return local_resolve(hub->stack.local, "", false, out, error);
    return local_resolve_name(hub->models, config_str(hub->config, CONFIG_DEFAULT_MODEL), "", out,
                              error);
}
