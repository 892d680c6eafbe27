/* Scheduler: who runs next. One engine thread owns every engine_ctx and sampler and runs the loop:
 * take commands, admit waiting requests, build one batch (one token for each running sequence
 * first, then prompt tokens up to a budget), decode, sample, deliver. It knows tokens, priorities
 * and deadlines; it does not know chat, HTTP or SQL.
 *
 * All functions here may be called from any thread and never wait for a decode. Callbacks run on
 * the engine thread and must return at once. */
#ifndef HEARTH_SCHED_SCHED_H
#define HEARTH_SCHED_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "engine/engine.h"
#include "types/gen.h"
#include "types/model_info.h"

struct sched;
struct sched_model; /* a model known to the scheduler; what is loaded is counted by references */

enum { SHAPE_WIDTH_MAX = 64 }; /* sequences in one batch */

/* What steps of a model cost on this machine (sched/shape.h). Plain data, so that it can be kept.
 */
struct shape_profile {
    char model[MODEL_ID_MAX];             /* "" = any */
    float decode_ms[SHAPE_WIDTH_MAX + 1]; /* one token for each of [i] sequences; 0 = not known */
    float prefill_fixed_ms, prefill_token_ms;
    float prefill_context_ms; /* a token after 1,000 others costs that much more */
    int32_t prefill_largest;  /* tokens of the largest piece that was tried; 0 = nothing known */
    /* With what that was measured, and what is best here; each goes before the one of sched_params
     * unless it is 0. */
    int32_t n_threads, n_ubatch, n_parallel;
    enum engine_kv_type kv_type;
};

struct sched_params {
    struct engine *engine;
    int32_t n_ctx;      /* of one sequence; 0 = the model's own, within reason. With shared_kv: KV
                           cells of all sequences, of which one may use up to the model's context */
    int32_t n_parallel; /* sequences decoded together */
    bool shared_kv; /* engine_ctx_params says what it costs; false: only where memory is short */
    int32_t n_batch, n_ubatch;
    int32_t n_threads; /* 0 = what suits the machine */
    int32_t n_gpu_layers;
    enum engine_kv_type kv_type; /* of models that generate */
    int32_t adapters_kept;       /* LoRA adapters of a model in memory that no request uses */
    int32_t queue_capacity;      /* waiting requests; more are refused with ERR_BUSY */
    int32_t ageing_ms;           /* waiting this long raises the priority by one step; 0 = off */
    bool pausing;                /* a more important request may pause a running one */
    int32_t slice_ms;       /* after this long a tenant that has less may take a sequence over; 0 =
                               never */
    int32_t status_ms;      /* how often the queue's state is logged; 0 = never */
    int32_t step_target_ms; /* longest pause of a running stream for others' prompts; 0 = 500 */
    enum overflow overflow; /* of requests that say OVERFLOW_DEFAULT; that itself = stop */
    const struct shape_profile *shapes; /* measured before; copied */
    size_t n_shapes;
    /* The prefix cache beside the KV cells: limits in bytes, 0 = off; the folder is copied. */
    uint64_t cache_memory, cache_disk;
    const char *cache_dir;
    /* Beginnings of prompts that tenants share (system prompts); copied. */
    const char *const *shared;
    size_t n_shared;
    int64_t memory;         /* bytes of main memory for models; 0 = a safe share of the machine's */
    int64_t keep_alive_ms;  /* of models of which nobody says it; KEEP_ALIVE_DEFAULT = for ever */
    bool exclusive;         /* one model at a time */
    int64_t switch_wait_ms; /* how long a model waits for room while others go on working, and how
                               long those may stay before they make room (keep.c) */
    /* A model has left the memory and does not come back by itself: it was told to, its time was
     * over, or another one got its room. Engine thread; may be NULL. */
    void (*on_left)(void *ctx, const char *id);
    void *left_ctx;
};

HT_MUST_CHECK enum err sched_new(const struct sched_params *params, struct sched **out,
                                 struct error *error);
/* Stops admitting (ERR_STOPPING); waiting requests end at once, running ones go on for at most
 * grace_ms; what is left ends with ERR_STOPPING. Every request gets its last event before this
 * returns. Also frees the models. No other call may be under way or come after it, except that
 * callbacks of the ending requests may still call in. */
void sched_free(struct sched *s, int64_t grace_ms);
const struct engine *sched_engine(const struct sched *s);

/* ---- models ------------------------------------------------------------------------------
 *
 * A model is loaded when somebody asks for it and unloaded when nobody uses it: at the end of its
 * keep_alive, when another one needs its room, or when told to. Whoever uses what is loaded (the
 * engine's model, or a request) holds a reference; a model with references is never unloaded. */

struct model_size { /* of the file's header; all 0 = unknown */
    uint64_t file_bytes;
    int32_t n_layer, n_embd;
};

struct sched_load {
    const char *id, *path;
    struct model_size size; /* if known, and there is plenty of memory, loading begins sooner */
    bool embedding;         /* a generating model is to embed; its id is one of its own */
    int64_t keep_alive_ms;
    int32_t priority; /* of the request that waits for it */
};

/* on_progress: on the loader thread; on_wait: any thread, when a model that has to go first becomes
 * known; both may not call into the scheduler. on_done: on the engine
 * thread, or inside sched_load for a model that is ready, or inside a sched_unload that ends the
 * load (ERR_CONFLICT); once, also when the scheduler stops. It may take a reference. */
struct sched_load_listener {
    void (*on_progress)(void *ctx, float fraction);      /* may be NULL */
    void (*on_wait)(void *ctx, const char *other_model); /* may be NULL */
    void (*on_done)(void *ctx, struct sched_model *model, const struct error *error);
    void *ctx;
    bool request; /* it will use the model: an unload that comes meanwhile waits for that */
};

/* Registers the file under the id and loads it on the loader thread, so that requests to other
 * models go on; idle models make room if that is needed. A model that is loaded already: on_done at
 * once; one that is loading: joins it; one that is just leaving, or is of another file: it leaves
 * when its work has ended, and comes back. A failed model is tried again by the next call.
 * ERR_NOMEM, to on_done and before anything was loaded: it will never fit, with the numbers. */
HT_MUST_CHECK enum err sched_load(struct sched *s, const struct sched_load *load,
                                  const struct sched_load_listener *l, struct error *error);
/* Takes back a listener: true = its on_done was not called and never will be. The load goes on. */
bool sched_load_forget(struct sched *s, const char *id, void *listener_ctx);
/* Unloads the model when it has no work any more; requests that come from now on load it again. One
 * that is being loaded: requests that wait for it are served first; without one the load ends, and
 * so it does for who only asked for the load. on_done (may be NULL): on the engine thread when its
 * memory is free, also if it was not loaded or the scheduler stops. ERR_NOT_FOUND: no such model is
 * known. */
HT_MUST_CHECK enum err sched_unload(struct sched *s, const char *id, void (*on_done)(void *ctx),
                                    void *ctx, struct error *error);

/* With a reference for the caller; NULL unless it is ready. */
struct sched_model *sched_find(struct sched *s, const char *id);
void sched_model_ref(struct sched_model *m); /* who calls has one already, or is in on_done */
void sched_model_unref(struct sched_model *m);
/* These need a reference. */
const struct engine_model *sched_engine_model(const struct sched_model *m);
int32_t sched_model_ctx(const struct sched_model *m); /* most tokens of one sequence */
const char *sched_model_id(const struct sched_model *m);
bool sched_model_embeds(const struct sched_model *m);            /* it takes sched_embed */
bool sched_model_is_of(struct sched_model *m, const char *path); /* was it loaded from this file? */

/* What was learnt about the steps of m until now; out->model is its id. */
void sched_shape(struct sched_model *m, struct shape_profile *out);

struct sched_model_status {
    char id[MODEL_ID_MAX];
    enum model_kind kind; /* once it was loaded */
    enum model_state state;
    float progress;
    int32_t n_ctx, n_slots, running, waiting;
    int64_t keep_alive_ms; /* never DEFAULT */
    int64_t expires_ms;    /* until it is unloaded, if nobody asks; -1 = never */
    int64_t idle_ms;       /* since its last use; -1 = it was never loaded */
    int64_t loads, load_ns;
    struct engine_memory memory;  /* READY, LOADING */
    bool memory_is_bound;         /* LOADING: it takes no more than that */
    bool leaving;                 /* READY, LOADING: as soon as its requests have ended */
    char waits_for[MODEL_ID_MAX]; /* LOADING: the model that has to go first; "" = none */
    struct error error;           /* MODEL_FAILED */
};
/* The idle models that left for this one; for its on_done. Fills at most max. */
size_t sched_model_evicted(const struct sched_model *m, char (*ids)[MODEL_ID_MAX], size_t max);

/* Fills at most max; returns how many there are. */
size_t sched_models(struct sched *s, struct sched_model_status *out, size_t max);

/* LoRA adapters in memory, or being loaded. */
struct sched_adapter_status {
    char model[MODEL_ID_MAX], name[MODEL_ID_MAX];
    bool loaded;
    uint64_t bytes;
};
/* Fills at most max; returns how many there are. */
size_t sched_adapters(struct sched *s, struct sched_adapter_status *out, size_t max);

struct sched_memory {
    uint64_t budget, used; /* bytes of main memory */
    size_t n_devices;      /* other than that */
    struct {
        char name[64];
        uint64_t total, used;
    } devices[ENGINE_DEVICES_MAX];
};
void sched_memory(struct sched *s, struct sched_memory *out);

enum { SCHED_EVICT_MAX = 16 };

struct sched_plan {
    bool fits; /* it could be loaded now, or as soon as others have finished their work */
    bool waits;
    int32_t n_ctx; /* of one sequence */
    struct engine_memory needs;
    struct sched_memory memory;
    char evict[SCHED_EVICT_MAX][MODEL_ID_MAX];
    size_t n_evict;
    char reason[ERROR_MSG_MAX];
};
/* What sched_load would do. n_ctx: context of a sequence, 0 = as configured. Blocking: reads the
 * file's header. */
HT_MUST_CHECK enum err sched_plan(struct sched *s, const struct sched_load *load, int32_t n_ctx,
                                  struct sched_plan *out, struct error *error);

/* ---- requests ---------------------------------------------------------------------------- */

/* A place in the queue for a request whose model is not in memory yet: taken when the request is
 * accepted and passed on with it (sched_generate.place), so that it is never refused later for want
 * of room. Embedded in what waits, and used by one thread at a time. */
struct sched_place {
    struct list_node node;
    const char *tenant; /* borrowed while it is held */
    int32_t priority;
    int64_t arrived_ms; /* clock_mono_ms */
    bool held;
};

/* The tenant, priority and arrived_ms are set. back: it had a place before and always gets one;
 * else ERR_BUSY: the queue is full. Held already: nothing. */
HT_MUST_CHECK enum err sched_place_take(struct sched *s, struct sched_place *place, bool back,
                                        struct error *error);
void sched_place_give(struct sched *s, struct sched_place *place); /* not held: nothing */

enum sched_event_type {
    SCHED_EV_QUEUED,  /* position, wait_ms; again when the position has changed */
    SCHED_EV_STARTED, /* usage.prompt_tokens, cached_tokens */
    SCHED_EV_TEXT,    /* text: whole characters, stop strings already cut; logprobs if asked for */
    SCHED_EV_CHOICE_END,
    SCHED_EV_DONE,      /* usage, timings; last */
    SCHED_EV_ERROR,     /* last */
    SCHED_EV_EMBEDDING, /* vectors; last for an embedding request that worked */
    /* Last: its model had to make room before the request could start, or, with can_pause, since.
     * Ask again, as if it had just come, or with what was told of it as `resume`. */
    SCHED_EV_BOUNCED,
};

/* Borrowed during the call. */
struct sched_event {
    enum sched_event_type type;
    int32_t choice;
    const char *text;
    size_t text_len;
    const struct token_logprob *logprobs;
    size_t n_logprobs;
    int32_t n_tokens;          /* TEXT, CHOICE_END: tokens since the choice's event before */
    enum finish_reason finish; /* FINISH_STOP or FINISH_LENGTH */
    const char *stop;          /* CHOICE_END: the request's stop string that ended it, or NULL */
    int32_t position;
    int64_t wait_ms;       /* QUEUED: estimated until it starts; -1 = unknown */
    const int32_t *tokens; /* TEXT, CHOICE_END: the n_tokens tokens, in the order they came */
    const char *adapter;   /* STARTED: NULL = none */
    const struct cache_report *cache; /* STARTED, DONE, ERROR */
    struct usage usage;
    struct timings timings;
    const struct error *error;
    const float *vectors; /* n_vectors rows of n_dims */
    size_t n_vectors, n_dims;
};

typedef void (*sched_listener_fn)(void *ctx, const struct sched_event *ev);

struct sched_generate {
    struct sched_model *model;
    struct engine_prompt *prompt; /* ownership passes on OK */
    struct sampling sampling;     /* logit_bias copied */
    const char *tenant;           /* copied */
    const char *const *stop;      /* copied; the prompt's own stops are added */
    size_t n_stop;
    int32_t n;          /* choices; the prompt is prefilled once and shared */
    int32_t max_tokens; /* -1 = no limit but the context */
    int32_t priority;
    int64_t deadline_ms;
    const char *adapter, *adapter_path; /* name and GGUF file, copied; NULL = none */
    uint64_t adapter_version;           /* changes when the file does */
    float adapter_scale;                /* 0 = 1 */
    bool deterministic;
    enum overflow overflow;
    int32_t n_keep; /* tokens at the start of the prompt that a context shift leaves in place */
    int64_t keep_alive_ms;           /* of the model, when this request is over */
    const struct gen_resume *resume; /* n of them, or NULL; copied */
    struct sched_place *place;       /* passes on OK if it is held; NULL = it has none */
    bool can_pause;                  /* SCHED_EV_BOUNCED may come when it has started, too */
    sched_listener_fn listener;
    void *listener_ctx;
};

/* What a request that says `wanted` will do when its context is full. */
enum overflow sched_overflow(const struct sched *s, enum overflow wanted);

/* *id is never 0. ERR_BUSY (queue full), ERR_CONTEXT (can never fit), ERR_STOPPING: nothing was
 * taken and the listener is never called. Otherwise the listener gets exactly one last event. */
HT_MUST_CHECK enum err sched_generate(struct sched *s, const struct sched_generate *g, uint64_t *id,
                                      struct error *error);

struct sched_embed {
    struct sched_model *model;
    const int32_t *const *inputs; /* copied */
    const size_t *n_tokens;
    size_t n_inputs;
    const char *tenant;
    int32_t priority;
    int64_t deadline_ms, keep_alive_ms;
    struct sched_place *place; /* as above */
    sched_listener_fn listener;
    void *listener_ctx;
};
/* For a rerank model an input is a pair (engine_tokenize_pair) and its vector one number. */
HT_MUST_CHECK enum err sched_embed(struct sched *s, const struct sched_embed *e, uint64_t *id,
                                   struct error *error);

/* Leaves at once, queued or running: the last event is ERROR with ERR_CANCELLED. An id that is
 * finished or unknown is ignored, so a late cancel is harmless. */
void sched_cancel(struct sched *s, uint64_t id);

/* The prefix cache's tiers, and the KV cells' share in its work. */
struct sched_cache_stats {
    struct {
        int64_t entries, bytes, limit, hits;
    } memory, disk;
    int64_t sequence_hits, misses, evictions, corrupt;
};
void sched_cache_stats(struct sched *s, struct sched_cache_stats *out);

struct sched_stats {
    int32_t running, waiting, capacity; /* waiting: also those whose model is not in memory */
    int64_t oldest_wait_ms;
    int64_t total, cancelled, rejected;
};
void sched_stats(struct sched *s, struct sched_stats *out);

enum { SCHED_QUEUE_MODELS_MAX = 64 };

/* The queues and the places, as the engine thread saw them last. */
struct sched_queue {
    int32_t running, waiting, tenants; /* tenants that wait */
    int64_t oldest_ms;                 /* when the one that waits longest came; -1 = none */
    int64_t promotions;                /* requests that ageing let go before more important ones */
    int64_t pauses;
    int32_t by_priority[101];
    size_t n_models;
    struct sched_queue_model {
        char id[MODEL_ID_MAX];
        int32_t running, waiting;
        double tokens_per_second;
        int64_t wait_ms; /* that a request would wait that came now; -1 = unknown */
    } models[SCHED_QUEUE_MODELS_MAX];
};
void sched_queue(struct sched *s, struct sched_queue *out);

#endif
