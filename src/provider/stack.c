/* Builds the scheduler and the local provider from the configuration. */
#include "provider/stack.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/adapters.h"
#include "provider/shared.h"
#include "provider/tuning.h"

static bool is_chosen(const struct config *c, enum config_key key)
{
    return config_source_of(c, key) != CONFIG_FROM_DEFAULT;
}

/* `auto` is what was measured for a model, and f16 for one that was not. */
static enum engine_kv_type chosen_kv(const struct config *c, bool *automatic)
{
    enum engine_kv_type type = ENGINE_KV_F16;
    *automatic = !engine_kv_find(config_str(c, CONFIG_KV_TYPE), &type);
    return type;
}

/* What `hearth bench` has measured, without what the configuration chooses otherwise. */
static size_t load_tuning(const struct config *c, const struct engine *engine,
                          struct shape_profile *shapes, size_t max)
{
    char dir[FS_PATH_MAX];
    const char *chosen = config_str(c, CONFIG_DATA_DIR);
    if (*chosen ? !str_copy(dir, sizeof dir, chosen)
                : fs_user_data_dir(dir, sizeof dir, NULL) != OK)
        return 0;
    bool any_kv;
    chosen_kv(c, &any_kv);
    size_t n = tuning_load(dir, engine, shapes, max);
    for (size_t i = 0; i < n; i++) {
        struct shape_profile *p = &shapes[i];
        if (is_chosen(c, CONFIG_N_UBATCH)) p->n_ubatch = 0;
        if (is_chosen(c, CONFIG_N_PARALLEL)) p->n_parallel = 0;
        if (!any_kv) p->kv_type = ENGINE_KV_F16;
        int64_t threads = config_int(c, CONFIG_N_THREADS);
        if (!threads || threads == p->n_threads) continue;
        struct shape_profile without = {.n_ubatch = p->n_ubatch, .n_parallel = p->n_parallel};
        str_copy(without.model, sizeof without.model, p->model);
        *p = without; /* its times are those of another number of threads */
    }
    return n;
}

static uint64_t cache_memory(const struct config *c)
{
    uint64_t limit = (uint64_t)config_int(c, CONFIG_CACHE_MEMORY);
    uint64_t most = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 8;
    return limit < most ? limit : most;
}

static enum err open_sched(const struct config *c, struct stack *stack,
                           const struct stack_hooks *hooks, struct error *error)
{
    struct shape_profile *shapes = xcalloc(TUNING_MAX, sizeof *shapes);
    bool any_kv;
    struct sched_params params = {
        .engine = stack->engine,
        .n_ctx = (int32_t)config_int(c, CONFIG_N_CTX),
        .n_parallel = (int32_t)config_int(c, CONFIG_N_PARALLEL),
        .shared_kv = config_bool(c, CONFIG_SHARED_KV),
        .n_batch = (int32_t)config_int(c, CONFIG_N_BATCH),
        .n_ubatch = (int32_t)config_int(c, CONFIG_N_UBATCH),
        .n_threads = (int32_t)config_int(c, CONFIG_N_THREADS),
        .n_gpu_layers = (int32_t)config_int(c, CONFIG_GPU_LAYERS),
        .kv_type = chosen_kv(c, &any_kv),
        .queue_capacity = (int32_t)config_int(c, CONFIG_QUEUE_CAPACITY),
        .adapters_kept = (int32_t)config_int(c, CONFIG_ADAPTERS_KEPT),
        .ageing_ms = (int32_t)config_int(c, CONFIG_AGEING),
        .pausing = config_bool(c, CONFIG_PAUSING),
        .slice_ms = (int32_t)config_int(c, CONFIG_TIME_SLICE),
        .status_ms = (int32_t)config_int(c, CONFIG_QUEUE_STATUS),
        .memory = config_int(c, CONFIG_MEMORY),
        .exclusive = config_bool(c, CONFIG_EXCLUSIVE),
        .switch_wait_ms = config_int(c, CONFIG_SWITCH_WAIT),
        .step_target_ms = (int32_t)config_int(c, CONFIG_STEP_TARGET),
        .overflow = strcasecmp(config_str(c, CONFIG_CONTEXT_OVERFLOW), "shift") == 0
                        ? OVERFLOW_SHIFT
                        : OVERFLOW_STOP,
        .shapes = shapes,
        .n_shapes = load_tuning(c, stack->engine, shapes, TUNING_MAX),
        .cache_memory = cache_memory(c),
        .cache_disk = (uint64_t)config_int(c, CONFIG_CACHE_DISK),
        .cache_dir = config_str(c, CONFIG_CACHE_DIR),
    };
    if (hooks) {
        params.on_left = hooks->on_left;
        params.left_ctx = hooks->ctx;
    }
    struct shared_texts shared = {0};
    enum err e = shared_read(config_str(c, CONFIG_SHARED_PREFIXES), &shared, error);
    params.shared = (const char *const *)shared.texts;
    params.n_shared = shared.n;
    if (!e) e = sched_new(&params, &stack->sched, error);
    shared_free(&shared);
    free(shapes);
    return e;
}

static enum err open_local(const struct config *c, struct stack *stack, struct models *models,
                           struct pool *pool, const struct stack_hooks *hooks, struct error *error)
{
    char builtin_adapters[MODEL_PATH_MAX];
    adapters_builtin_dir(config_str(c, CONFIG_BUILTIN_DIR), builtin_adapters);
    struct local_params params = {
        .adapters_dir = config_str(c, CONFIG_ADAPTERS_DIR),
        .builtin_adapters_dir = builtin_adapters,
        .default_adapter = config_str(c, CONFIG_DEFAULT_ADAPTER),
        .sched = stack->sched,
        .models = models,
        .pool = pool,
        .default_model = config_str(c, CONFIG_DEFAULT_MODEL),
        .default_embedding_model = config_str(c, CONFIG_DEFAULT_EMBED_MODEL),
        .default_rerank_model = config_str(c, CONFIG_RERANK_MODEL),
    };
    if (hooks) {
        params.on_drained = hooks->on_drained;
        params.drained_ctx = hooks->ctx;
        params.quarantined = hooks->quarantined;
        params.n_quarantined = hooks->n_quarantined;
    }
    return local_open(&params, &stack->local, error);
}

enum err stack_open(const struct config *config, struct engine *engine, struct models *models,
                    struct pool *pool, const struct stack_hooks *hooks, struct stack *out,
                    struct error *error)
{
    *out = (struct stack){.engine = engine};
    enum err e = open_sched(config, out, hooks, error);
    if (!e) e = open_local(config, out, models, pool, hooks, error);
    if (e) stack_close(out);
    return e;
}

/* ctx: what it is, in words. */
static void preloaded(void *ctx, const struct error *error)
{
    if (error && error->code != ERR_STOPPING && error->code != ERR_CANCELLED)
        log_error(hub, "%s can't be loaded at the start: %s", (const char *)ctx, error->msg);
}

struct preload {
    struct provider *local;
    const char *const *but; /* ids that are not to be loaded */
    size_t n;
};

static enum err preload(const struct preload *p, const char *name, struct error *error)
{
    for (size_t i = 0; i < p->n; i++)
        if (local_means(p->local, name, p->but[i])) return OK;
    char *what = *name ? "a model of HEARTH_PRELOAD_MODELS" : "the default model";
    return local_load(p->local, name, preloaded, what, error);
}

/* Each name of the comma-separated list. */
static enum err preload_list(const struct preload *p, const char *list, struct error *error)
{
    enum err e = OK;
    while (!e && *(list += strspn(list, ", "))) {
        size_t n = strcspn(list, ",");
        char *name = xstrndup(list, n);
        for (size_t len = n; len > 0 && name[len - 1] == ' ';) name[--len] = '\0';
        e = preload(p, name, error);
        free(name);
        list += n;
    }
    return e;
}

enum err stack_preload(const struct config *config, struct stack *stack, const char *const *but,
                       size_t n, struct error *error)
{
    struct preload p = {.local = stack->local, .but = but, .n = n};
    enum err e = OK;
    if (config_bool(config, CONFIG_PRELOAD)) e = preload(&p, "", error);
    return e ? e : preload_list(&p, config_str(config, CONFIG_PRELOAD_MODELS), error);
}

void stack_stop(struct stack *stack, int64_t grace_ms)
{
    if (stack->local) local_stop(stack->local, grace_ms);
}

void stack_close(struct stack *stack)
{
    provider_close(stack->local, 0);
    sched_free(stack->sched, 0);
    engine_close(stack->engine);
    *stack = (struct stack){0};
}
