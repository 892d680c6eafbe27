/* The composition root: builds the parts from the bottom up, takes them down in reverse. */
#include "hub/hub.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "provider/local.h"

enum { POOL_QUEUE_MIN = 4096 };

static enum err open_models(struct hub *h, struct error *error)
{
    return models_open(config_str(h->config, CONFIG_MODELS_DIR),
                       config_str(h->config, CONFIG_BUILTIN_DIR), &h->models, error);
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

static enum err open_sched(struct hub *h, struct error *error)
{
    const struct config *c = h->config;
    struct sched_params params = {
        .engine = h->engine,
        .n_ctx = (int32_t)config_int(c, CONFIG_N_CTX),
        .n_parallel = (int32_t)config_int(c, CONFIG_N_PARALLEL),
        .shared_kv = config_bool(c, CONFIG_SHARED_KV),
        .n_batch = (int32_t)config_int(c, CONFIG_N_BATCH),
        .n_ubatch = (int32_t)config_int(c, CONFIG_N_UBATCH),
        .n_threads = (int32_t)config_int(c, CONFIG_N_THREADS),
        .n_gpu_layers = (int32_t)config_int(c, CONFIG_GPU_LAYERS),
        .queue_capacity = (int32_t)config_int(c, CONFIG_QUEUE_CAPACITY),
        .ageing_ms = (int32_t)config_int(c, CONFIG_AGEING),
    };
    return sched_new(&params, &h->sched, error);
}

static enum err open_local(struct hub *h, struct error *error)
{
    struct local_params params = {
        .sched = h->sched,
        .models = h->models,
        .pool = h->pool,
        .default_model = config_str(h->config, CONFIG_DEFAULT_MODEL),
        .default_embedding_model = config_str(h->config, CONFIG_DEFAULT_EMBED_MODEL),
    };
    return local_open(&params, &h->local, error);
}

static void preloaded(void *ctx, const struct error *error)
{
    (void)ctx;
    if (error && error->code != ERR_STOPPING && error->code != ERR_CANCELLED)
        log_error(hub, "the default model is not available: %s", error->msg);
}

static enum err preload(struct hub *h, struct error *error)
{
    if (!config_bool(h->config, CONFIG_PRELOAD)) return OK;
    return local_load(h->local, "", preloaded, NULL, error);
}

enum err hub_open_with_engine(const struct config *config, struct engine *engine, struct hub **out,
                              struct error *error)
{
    struct hub *h = xcalloc(1, sizeof *h);
    h->config = config;
    h->engine = engine;
    h->started_wall_s = clock_wall_s();
    h->started_mono_ms = clock_mono_ms();
    enum err e = open_models(h, error);
    if (!e) e = open_pool(h, error);
    if (!e) e = open_sched(h, error);
    if (!e) e = open_local(h, error);
    if (!e) e = preload(h, error);
    if (e) {
        hub_close(h, 0);
        return e;
    }
    *out = h;
    return OK;
}

enum err hub_open(const struct config *config, struct hub **out, struct error *error)
{
    struct engine *engine;
    const char *lib_dir = config_str(config, CONFIG_LIB_DIR);
    enum err e = engine_open_llama(*lib_dir ? lib_dir : NULL, &engine, error);
    return e ? e : hub_open_with_engine(config, engine, out, error);
}

void hub_close(struct hub *h, int64_t grace_ms)
{
    if (!h) return;
    if (h->local) local_stop(h->local, grace_ms);
    pool_free(h->pool); /* its jobs may still call the provider, which refuses */
    provider_close(h->local, 0);
    sched_free(h->sched, 0);
    models_free(h->models);
    engine_close(h->engine);
    free(h);
}

enum err hub_default_model(const struct hub *hub, struct model_info *out, struct error *error)
{
    return local_resolve(hub->local, "", false, out, error);
}
