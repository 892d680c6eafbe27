/* Inside the scheduler: what its files share.
 *
 *   sched.c    the face: what callers' threads do (checks, submitting, cancelling, statistics)
 *   loop.c     the engine thread: commands, whose turn it is, stopping
 *   request.c  a request's life: making, events, end
 *   admit.c    which waiting requests become active, and who is paused for them
 *   forecast.c how long what waits will wait, and telling it
 *   resume.c   requests that go on where another scheduler stopped
 *   step.c     one batch of a generating model: build, decode, deliver, and what can go wrong
 *   batch.c    which tokens go into it: rounds, budget of prompt tokens, sub-batches, classes
 *   shape.c    what steps cost, and which sub-batches follow from that
 *   shift.c    making room in a sequence whose context is full
 *   deliver.c  what comes out of it: sampling, text, events, the end of a choice
 *   compact.c  sequences that are decoded together get ids that follow each other
 *   slots.c    sequences: KV cells, keeping what they hold, making room
 *   reuse.c    which slot a choice gets, and where the beginning of its tokens comes from
 *   respell.c  prompts whose text was generated here with other tokens
 *   declared.c prefixes that tenants share
 *   embed.c    one batch of an embedding model
 *   places.c   the places in the queue of requests that wait for a model
 *   models.c   the models: their list, asking for a load
 *   loader.c   the loader thread: measuring, loading, freeing
 *   keep.c     which models are in memory: room, keep_alive, making way (engine thread)
 *   ledger.c evict.c   what they take, and who leaves for whom
 *   adapters.c LoRA adapters of the models, their thread
 *   cache*.c   states of sequences in memory and on disk
 *   queue.c rates.c text.c prefix.c   pure data structures
 *
 * A request's life (the function that makes the transition):
 *
 *   caller --sched_generate--> mailbox --loop:accept--> QUEUED --step:admit--> ACTIVE
 * --request_end--> OVER ^                      |
 *                                                         +---slots:preempt------+
 *   QUEUED and ACTIVE also end by cancel, deadline, failure and stop, all through request_end.
 *   Memory of an OVER request goes back at the end of the iteration (requests_bury).
 *
 * A choice's: WAITING --start_choices--> RUNNING --choice_end--> ENDED. A choice that waits for the
 * prompt of another choice of its request is SHARING; one that has a slot and waits for its prefix,
 * which another request is decoding or which is being read from disk, is FETCHING (reuse.c).
 *
 * Invariants:
 *  1. Everything in struct sched_model below "engine thread" is touched by the engine thread only,
 *     from the moment its load is done until sched_free has joined that thread.
 *  2. A slot's sequence holds exactly tokens[0 .. n_kv) at positions 0 .. n_kv-1.
 *  3. A RUNNING choice has at least one token that is not decoded yet (n_kv < n_tokens).
 *  4. The last token of a batch's part of a choice has an output only if it is the choice's last.
 *
 * Locks, none held while another is taken or a callback runs (but on_progress):
 *   submit_lock    a submission is either before the stop or refused
 *   models_lock    the list of models, their state, error and listeners
 *   pace.lock      what a model has learnt about the cost of its steps
 *   inflight.lock  which requests are in the batch that is being decoded
 *   stopped_lock   the end of the engine thread
 *   status_lock    the queue's state for others to read; over it places.lock
 *   places.lock    who waits for a model */
#ifndef HEARTH_SCHED_SCHED_INT_H
#define HEARTH_SCHED_SCHED_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/idmap.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/thread.h"
#include "sched/cache.h"
#include "sched/ledger.h"
#include "sched/queue.h"
#include "sched/rates.h"
#include "sched/sched.h"
#include "sched/shape.h"
#include "sched/text.h"

enum {
    YIELD_EVERY_MS = 1000,     /* a piece of a prompt is stopped for an urgent request this often */
    STEP_TARGET_MS = 500,      /* longest pause of a stream for others' prompts */
    GENERATION_RESERVE = 256,  /* KV cells set aside for what a sequence may still generate */
    EMBED_SEQ_MAX = 32,        /* inputs in one batch of embeddings */
    EMBED_BATCH = 256,         /* tokens in it, unless one input is longer */
    EMBED_BESIDE_STREAMS = 32, /* tokens in it while others generate, if inputs come in pieces */
    EMBED_PIECES = 128,        /* tokens in a batch of a generating model */
    EMBED_CTX_MAX = 2048,      /* longest input unless the configuration says more */
    CHAT_CTX_MAX = 8192,       /* per sequence, unless the configuration says more */
    CHAT_CTX_LEAST = 1025,     /* KV cells to go down to when memory is short */
    SLOTS_MAX = 64,
    TENANT_MAX = 256,  /* bytes of a tenant's name */
    FORECAST_MS = 250, /* how often the waiting are told where they stand now */
    RETRY_AFTER_MAX_S = 600,
    PAUSE_MARGIN = 10, /* steps of priority that are clearly more important */
};

/* ---- requests ---------------------------------------------------------------------------- */

enum command_type {
    CMD_REQUEST,
    CMD_CANCEL,
    CMD_MEASURED,
    CMD_MODEL,
    CMD_FREED,
    CMD_ADAPTER,
    CMD_STOP,
    CMD_QUIT
};

/* First member of everything that is sent to the engine thread. */
struct command {
    struct mail mail;
    enum command_type type;
};

struct cancel_command {
    struct command cmd;
    uint64_t id;
};

struct model_command { /* a model was measured, or a load has ended */
    struct command cmd;
    struct sched_model *model;
    struct error error; /* OK = ready */
};

struct unload_listener {
    struct list_node node;
    void (*on_done)(void *ctx);
    void *ctx;
};

/* What the loader thread is to do: first member of a model, or of what was unloaded. */
struct load_job {
    struct mail mail;
    enum { LOAD_MEASURE, LOAD_LOAD, LOAD_FREE, LOAD_QUIT } type;
};

/* What was loaded, on its way to the loader thread, which frees it and sends it back (CMD_FREED).
 */
struct unload {
    struct load_job job;
    struct command cmd;
    struct sched_model *model;
    struct engine_ctx *ctx;
    struct weights *weights;
    struct engine_batch_token *batch;
    struct list_node listeners;
};

enum request_state { REQUEST_QUEUED, REQUEST_ACTIVE, REQUEST_OVER };

enum choice_state { CHOICE_WAITING, CHOICE_SHARING, CHOICE_FETCHING, CHOICE_RUNNING, CHOICE_ENDED };

/* Sequences by urgency; without a clear difference all are URGENT. */
enum pace_class { PACE_URGENT, PACE_BACKGROUND, PACE_CLASSES };

struct choice {
    struct request *req;
    int32_t index;
    enum choice_state state;
    struct slot *slot; /* RUNNING, SHARING and FETCHING only */
    struct engine_sampler *sampler;
    int32_t *tokens; /* the prompt, then what was generated; room for n_longest */
    int32_t n_tokens;
    int32_t n_generated;
    int32_t
        n_dropped; /* tokens forgotten by context shifts: then `tokens` is no prefix of anything */
    uint64_t served[PACE_CLASSES]; /* rounds in which it had its last turns */
    int64_t fetching_since_ms;
    bool fetched; /* what it waited for came from disk */
    int64_t last_token_ns;
    struct text text;
    bool resumed_over; /* it had ended already where it is resumed from */
    enum finish_reason resumed_finish;
    int32_t
        *resumed; /* all tokens that it had there, where a shift has forgotten some; until told */
    int32_t n_resumed;
};

struct embed_work {
    int32_t *tokens; /* all inputs, one after the other */
    size_t *offsets; /* n_inputs + 1 */
    size_t n_inputs, n_dims;
    size_t next;    /* first input that was in no batch yet */
    float *vectors; /* made when the first batch is */
};

struct request {
    struct command cmd;
    struct idnode by_id;
    struct queue_entry queued;
    /* in sched.fresh, model->active, the graveyard, or its adapter's waiters */
    struct list_node active;
    struct sched_model *model;
    enum request_state state;
    bool embedding;
    sched_listener_fn listener;
    void *listener_ctx;
    char *tenant;
    int32_t priority;
    int series;                    /* of the metrics */
    struct sched_adapter *adapter; /* NULL = none */
    float adapter_scale;
    /* Of adapter and scale, 0 = none: cells can be shared only where this is equal. Known from the
     * queue on. */
    uint64_t adapter_key;
    bool deterministic;
    enum overflow overflow; /* STOP or SHIFT */
    int64_t deadline_ms;
    int64_t arrived_ns, admitted_ns, first_token_ns;
    int64_t turn_ns;        /* active: since when; sent back: since when it is not */
    int64_t decoded;        /* tokens, also those decoded anew */
    int64_t decoded_before; /* of those, before it became active the last time */
    int32_t told_position;  /* -1 = not yet */
    bool promoted;          /* ageing let it in before more important ones */
    bool started;
    bool resumed;   /* it went on from another scheduler's tokens, or from before its model left */
    bool can_pause; /* as sched_generate says it */
    struct usage usage;
    struct timings timings;
    struct cache_report cache;
    /* generation */
    struct engine_prompt *prompt;
    const int32_t *prompt_tokens;
    int32_t n_prompt, n_longest; /* most tokens of a sequence at a time */
    int32_t n_keep;              /* of those at the start, what a context shift leaves in place */
    int32_t *respelled;          /* prompt_tokens when they are not the prompt's own */
    int32_t n_declared;          /* of them, a prefix that tenants share */
    struct stops stops;
    bool logprobs, ignore_eos;
    int32_t n_top, max_tokens;
    int32_t n, n_ended;
    struct choice *choices;
    /* embedding */
    struct embed_work embed;
    int64_t keep_alive_ms; /* of its model, when it is over */
    bool bounced;          /* it ends because its model makes way */
};

/* ---- adapters ------------------------------------------------------------------------------ */

enum adapter_state { ADAPTER_WANTED, ADAPTER_LOADING, ADAPTER_READY };

struct adapter_command { /* a load has ended */
    struct command cmd;
    struct sched_adapter *adapter;
    struct error error; /* OK = ready */
};

/* A LoRA adapter of a model; valid while a request has it. */
struct sched_adapter {
    struct list_node node; /* in model->adapters; unless WANTED */
    struct sched_model *model;
    char *name, *path;
    uint64_t version;     /* of the file, as the caller knows it */
    uint64_t fingerprint; /* READY: of what is in the file */
    uint64_t bytes;
    enum adapter_state state;
    struct engine_adapter *engine_adapter; /* READY */
    int32_t n_users;                       /* requests that name it, waiting or active */
    struct list_node waiters;              /* requests, while LOADING */
    uint64_t last_used;
    struct mail load_mail;       /* to the adapters' thread */
    struct adapter_command done; /* from it */
};

/* ---- models ------------------------------------------------------------------------------- */

/* One libllama sequence id with what its KV cells hold. */
struct slot {
    int32_t seq;
    struct choice *owner;   /* NULL: idle, its tokens are a cached prefix */
    struct request *holder; /* idle, but its cells are shared with choices that still run */
    int32_t *tokens;        /* idle only: what is cached (owned) */
    int32_t n_kv;           /* tokens in the KV cache */
    int32_t n_shared;       /* of those, in cells that are counted for another slot */
    char *tenant;           /* whose tokens these are; NULL when empty */
    uint64_t adapter;       /* as in struct prefix, of what is in the cells */
    int32_t n_declared;     /* as in struct prefix */
    bool whole;             /* restored: a prefix only with all of its tokens (engine.h) */
    bool paused;            /* idle, but its choice will go on */
    bool kept;              /* idle, and looked at whether its state is worth keeping */
    int64_t idle_since_ms;
    uint64_t last_used;
};

/* The beginning of a prompt that the configuration declares as shared, in a model's tokens. */
struct declared {
    int32_t *tokens;
    int32_t n_tokens;
};

/* A choice's tokens within a batch. */
struct part {
    struct choice *choice;
    int32_t n;      /* tokens */
    int32_t output; /* index of its last token in the batch if that has an output, else -1 */
};

/* One token for each sequence of a class, then prompts. */
struct round {
    uint64_t id;
    double prefill_ms; /* spent on prompts */
    bool crowded;      /* CROWD prompts or more were waiting when it began */
};

/* The batch that was built last. */
struct plan {
    enum pace_class class;
    bool prefill; /* a piece of a prompt after `before` others; else rows of one token */
    int32_t before;
    int32_t yields_to;                   /* as in inflight */
    struct shape *shape;                 /* that its time is counted for */
    const struct sched_adapter *adapter; /* of its first token */
    float scale;
};

/* Steps that cost different amounts. */
enum pace_shape { SHAPE_BASE, SHAPE_ADAPTER, SHAPE_MIXED /* rows of several adapters */, N_SHAPES };

/* Whose turn it is (batch.c). */
struct pace {
    pthread_mutex_t lock; /* shapes, while other threads read them */
    struct shape shapes[N_SHAPES];
    struct round rounds[PACE_CLASSES];
    uint64_t n_rounds;
    struct plan plan;
    int32_t urgent_until; /* priorities from here on are BACKGROUND */
    bool contended;       /* there are both classes */
    bool overtaken;       /* the last piece was of a prompt that overtook */
    double credit_ms;     /* time that BACKGROUND may take; < 0: has taken in advance */
};

struct load_listener {
    struct list_node node;
    struct sched_load_listener l;
    int32_t priority;
};

/* Of a model that is LOADING: the loader measures it, the engine thread finds room for it, the
 * loader loads it. */
enum load_stage { STAGE_NONE, STAGE_MEASURE, STAGE_ROOM, STAGE_LOAD };

/* An engine_model with its users, which may be two: a generating model that embeds, too. Loader
 * thread. */
struct weights {
    struct list_node node; /* in sched.weights */
    char *path;
    struct engine_model *model;
    int n_users;
};

/* An input of which a part is in the memory of its sequence. */
struct embed_piece {
    struct request *req; /* NULL: there is none */
    size_t index;
    int32_t seq, n_done;
};

struct sched_model {
    struct list_node node; /* in sched.models; models_lock */
    struct sched *s;
    char id[MODEL_ID_MAX];
    atomic_int n_refs; /* who uses what is loaded; taken under models_lock or by who has one */
    /* models_lock */
    char *path;
    char *next_path; /* READY, with `again`: what its name stands for now; NULL = the same */
    struct model_size size;
    bool wants_embedding;
    enum model_state state;
    enum load_stage stage;
    bool closing;   /* READY, but it takes no new work and leaves when it has none */
    bool makes_way; /* closing for another model: what is queued is sent back; engine thread */
    bool again;     /* to be loaded when it is gone */
    bool leaves;    /* LOADING, and to leave when who waits for it was served */
    struct error error;
    struct list_node listeners;        /* to its load */
    struct list_node unload_listeners; /* while closing or `leaves` */
    struct ledger_forms forms;         /* LOADING: measured; READY: what it got, in `full` */
    bool measured;
    struct engine_memory memory;  /* while it is in memory, or has its room */
    bool bound;                   /* that is an upper bound */
    char waits_for[MODEL_ID_MAX]; /* STAGE_ROOM: who has to go first; "" = not known */
    int64_t wants_since_ms;       /* STAGE_ROOM */
    uint64_t load_turn;
    int64_t ready_ms;                            /* since when it is in memory */
    enum model_kind kind;                        /* once it was loaded */
    char evicted[SCHED_EVICT_MAX][MODEL_ID_MAX]; /* by its last load */
    size_t n_evicted;
    int64_t keep_alive_ms; /* never KEEP_ALIVE_DEFAULT */
    bool keep_asked;       /* a request or a load said so */
    int64_t last_used_ms, n_uses, n_loads, load_ns;
    double heat;
    int64_t heat_ms;
    bool must_measure;             /* the upper bound did not fit */
    struct load_job load_job;      /* to the loader, while LOADING */
    struct model_command done_cmd; /* from the loader, while LOADING */
    /* any thread */
    _Atomic float progress;
    atomic_int n_running, n_idle, n_waiting; /* requests, slots, requests */
    /* ms that the last in the queue, and the next one, will wait as it looks; -1 = unknown */
    atomic_llong wait_ms, next_place_ms;
    /* set by the loader, immutable while READY */
    struct weights *weights;
    struct engine_model *engine_model;
    struct engine_model_facts facts;
    struct engine_ctx *ctx;
    bool embedding, shared_kv;
    int32_t n_cells, n_seq_ctx, n_batch, n_ubatch, n_slots;
    uint64_t fingerprint; /* of its states; 0: they can't be kept */
    struct declared *declared;
    size_t n_declared;
    /* engine thread */
    struct list_node ready; /* in sched.ready */
    struct queue queue;
    struct rates rates;
    int64_t forecast_ms;       /* when it was made */
    uint64_t forecast_changes; /* of the queue then */
    int64_t slices_ms;         /* when it was looked for who has run for a whole slice */
    double served;             /* time it got, by its weight: the least goes next (loop.c) */
    uint64_t turn;             /* of the engine thread, when it was looked at last */
    bool busy;                 /* it had work then */
    struct list_node active;   /* requests, most important first */
    struct list_node adapters; /* changed under models_lock, too */
    int32_t adapters_loading;  /* each holds a reference */
    uint64_t adapter_uses;     /* clock of their last_used */
    struct slot slots[SLOTS_MAX];
    uint64_t uses; /* clock of last_used */
    struct pace pace;
    struct embed_piece piece;
    struct engine_batch_token *batch;
    int32_t n_batched;
    struct part parts[SLOTS_MAX];
    int32_t n_parts;
};

/* ---- the scheduler ------------------------------------------------------------------------ */

enum { INFLIGHT_MAX = SLOTS_MAX };

/* The batch under way. A cancel that comes while it holds nothing but cancelled requests aborts it.
 */
struct inflight {
    pthread_mutex_t lock;
    struct engine_ctx *ctx; /* NULL: nothing is being decoded */
    uint64_t ids[INFLIGHT_MAX];
    int32_t n, n_left;
    int32_t yields_to;  /* priorities up to this one stop it; -1 = none */
    int64_t yielded_ms; /* when it was last stopped for that */
};

/* Who waits for a model (places.c). */
struct places {
    pthread_mutex_t lock; /* of what follows */
    struct list_node by_arrival;
    int32_t n, by_priority[QUEUE_LEVELS];
    struct map *tenants; /* to how many of theirs */
};

struct sched {
    struct sched_params params;
    pthread_mutex_t status_lock;
    struct sched_queue status;    /* status_lock: what the engine thread saw last */
    struct shape_profile *shapes; /* = params.shapes */
    pthread_t engine_thread, loader_thread, adapters_thread;
    struct mailbox *inbox, *loads, *adapter_loads;
    struct load_job loader_quit;
    struct mail adapters_quit;
    struct command stop_cmd, quit_cmd;
    pthread_mutex_t submit_lock, models_lock, stopped_lock;
    pthread_cond_t stopped_cond;
    bool stopped;             /* stopped_lock: the engine thread has ended every request */
    atomic_bool stopping;     /* written under submit_lock */
    atomic_bool stop_now;     /* the grace is over */
    struct list_node models;  /* models_lock */
    struct ledger ledger;     /* models_lock; description: written once by the loader */
    struct list_node weights; /* loader thread */
    uint64_t load_turns;      /* engine thread */
    atomic_bool models_dirty; /* keep.c has something to look at */
    atomic_int n_freeing;     /* models that the loader frees */
    int64_t models_next_ms;   /* engine thread: when keep.c wants to look; INT64_MAX = never */
    struct queue_room room;
    struct places places; /* of those that took it, who waits for a model */
    struct inflight inflight;
    atomic_ullong next_id, cancels_sent;
    atomic_llong n_total, n_cancelled, n_rejected, oldest_ms;
    atomic_int n_running;
    /* engine thread */
    struct idmap requests;
    struct list_node ready;     /* models */
    struct list_node fresh;     /* requests that arrived and were not yet told their position */
    struct list_node graveyard; /* requests that are over */
    uint64_t cancels_seen;
    double served;     /* of the model that was served last: who comes new starts there */
    int64_t status_ms; /* when the status was logged */
    bool status_quiet; /* and there was nothing to say */
    uint64_t turns;
    int64_t n_pauses;
    bool draining, quit;   /* CMD_STOP, CMD_QUIT were seen */
    struct buf token_text; /* scratch of deliver.c */
    struct cache *cache;
    /* immutable */
    char **shared; /* texts that tenants share as the beginning of their prompts */
    size_t n_shared;
};

/* ---- sched.c */
/* A place for one request, any thread; next_place_ms: as it looks, -1 = unknown. ERR_BUSY: full. */
HT_MUST_CHECK enum err room_take(struct sched *s, int32_t extra, int64_t next_place_ms,
                                 struct error *error);

/* ---- places.c */
void places_init(struct places *p);
void places_free(struct places *p);
void places_leave(struct places *p, struct sched_place *place); /* its room stays taken */
void places_stats(struct places *p, struct queue_stats *out);   /* as queue_stats */

/* ---- request.c */
struct request *request_new_generate(const struct sched_generate *g, struct error *error);
struct request *request_new_embed(const struct sched_embed *e, struct error *error);
void request_free(struct request *r); /* any state; the prompt too */
void request_emit(struct request *r, const struct sched_event *ev);
void request_started(struct request *r); /* leaves the queue, joins model->active */
void request_enqueue(struct request *r); /* it has arrived and waits to be admitted */
void request_requeue(struct request *r); /* the way back; its slots are free already */
/* Tokens that the choice will still generate, as it looks. */
int32_t choice_expected(const struct choice *c);
/* At a token boundary: its sequences are given up, its tokens stay cached where they can, and it
 * goes on later from the place where it stood in the queue. */
void request_pause(struct request *r);
/* It ends, because it would wait too long. */
void request_refused(struct request *r, const struct error *error);
/* Last event: DONE, EMBEDDING, or ERROR when error is given. Frees its slots. */
void request_end(struct request *r, const struct error *error);
/* Its tokens become these (owned), which spell the same. */
void request_set_prompt(struct request *r, int32_t *tokens, int32_t n);
/* Ends it with SCHED_EV_BOUNCED: unstarted, or one that can be paused. */
void request_bounce(struct request *r);
void request_fail(struct request *r, enum err code, const char *fmt, ...) HT_PRINTF(3, 4);
void requests_bury(struct sched *s);

/* ---- adapters.c */
void *adapters_main(void *sched);
void adapter_want(struct request *r, const struct sched_generate *g); /* caller's thread */
void adapter_unwant(struct request *r);                               /* it was never sent */
/* False: its adapter is being loaded first; request_enqueue or the request's end follow. */
HT_MUST_CHECK bool adapter_arrived(struct request *r);
void adapter_leave(struct request *r); /* at its end */
void adapter_loaded(struct sched_adapter *a);
void adapters_unload(struct sched_model *m); /* before its weights; no request is left */

/* ---- loop.c */
void *loop_main(void *sched);
/* Decodes the model's batch. ERR_BUSY: a cancel came, look at the mailbox first. */
enum err loop_decode(struct sched_model *m, const uint64_t *ids, int32_t n_ids,
                     struct error *error);

/* ---- admit.c */
void step_admit(struct sched_model *m); /* waiting requests that fit become active */
/* Gives idle slots to the waiting choices. False: no memory, the request has ended. */
bool start_choices(struct sched_model *m, struct request *r);
/* The choice runs, with n tokens of its beginning in its slot. True: its request has started with
 * it.
 */
bool choice_begins(struct choice *c, int32_t n_cached);

/* ---- forecast.c */
/* Tells the waiting requests of m where they stand, and refuses those that have just come and can't
 * make their deadline. */
void forecast(struct sched_model *m, int64_t now_ms);
int32_t retry_after_s(int64_t ms);
/* The choice's array of tokens, which begins with the prompt. False: no memory. */
bool choice_tokens(struct choice *c);

/* ---- resume.c */
/* On the caller's thread, when the choices are made; `from` may be NULL. */
HT_MUST_CHECK enum err resume_take(struct request *r, const struct gen_resume *from,
                                   struct error *error);
/* Behind STARTED: tells what the choices had. The request may be over then. */
void resume_tell(struct request *r);

/* ---- step.c, embed.c: one batch if there is work; false if there was none */
bool step_generate(struct sched_model *m);
bool step_embed(struct sched_model *m);
void embed_admit(struct sched_model *m);
void embed_forget(struct request *r); /* it is over */

/* ---- batch.c */
/* What was measured of m (sched_params.shapes); NULL = nothing. */
const struct shape_profile *measured_profile(const struct sched_params *params, const char *id);
void pace_init(struct sched_model *m); /* once it is loaded */
/* False: there is nothing to do. The batch is empty if there was no room for it; then room was
 * made, or a request has ended. */
bool batch_build(struct sched_model *m);
void batch_done(struct sched_model *m, double ms); /* it was decoded; the whole step took ms */
/* Ids of the requests in it, each once; ids has room for SLOTS_MAX. Returns how many. */
int32_t batch_requests(const struct sched_model *m, uint64_t *ids);

/* ---- shift.c */
/* The choice's context is full: forgets a part of it. False: it can't. */
bool choice_shift(struct choice *c);
/* The same for the tokens of a choice that has no sequence yet. */
bool choice_shift_again(struct choice *c);

/* ---- deliver.c */
/* Samples from the outputs of the batch that was decoded and emits what comes of it. */
void deliver_batch(struct sched_model *m);
/* Sends the text that may be sent. */
void choice_emit(struct choice *c, bool final);
/* The choice is over; the request too when it was the last one. */
void choice_end(struct choice *c, enum finish_reason finish);

/* ---- declared.c */
void declared_init(struct sched_model *m); /* once its vocabulary is there */
void declared_free(struct sched_model *m);
/* Tokens at the start of a prompt that are a declared prefix. */
int32_t declared_length(const struct sched_model *m, const int32_t *tokens, int32_t n);

/* ---- respell.c */
/* Takes the tokens that were generated or cached for a text into the prompt, where those of the
 * prompt spell the same bytes. Before r has choices with tokens. */
void request_respell(struct sched_model *m, struct request *r);

/* ---- reuse.c */
/* Gives the choice a slot with as much of its tokens as is there; returns how many those are. -1:
 * its beginning comes soon, slots_follow goes on. */
int32_t slot_attach(struct sched_model *m, struct choice *c);
/* An empty idle slot for a choice that will share a prompt. */
void slot_attach_empty(struct sched_model *m, struct choice *c);
/* Choices whose beginning has come start to run. */
void slots_follow(struct sched_model *m);

/* ---- slots.c */
bool slot_is_idle(const struct slot *slot, const struct request *r);
struct prefix slot_prefix(const struct sched_model *m, const struct slot *slot);
struct prefix choice_prefix(const struct sched_model *m, const struct choice *c);
/* Saves what is in the slot's cells if it is worth it; lost: it will be gone otherwise. */
void slot_keep(struct sched_model *m, struct slot *slot, bool lost);
void slot_forget(struct sched_model *m, struct slot *slot);
void slot_own(struct sched_model *m, struct slot *slot, struct choice *c);
int32_t slots_free_cells(const struct sched_model *m);
/* While there is nothing to do: saves what has been idle for a while. Returns the time in ms until
 * it wants to be called again, -1 = there is nothing to save. */
int64_t slots_tend(struct sched *s);
int32_t slots_idle(const struct sched_model *m, const struct request *r);
bool slots_fit(const struct sched_model *m, const struct request *r);
/* keep: its tokens stay as a cached prefix. A choice that is not ENDED keeps its tokens, too: it is
 * paused. */
void slot_release(struct sched_model *m, struct slot *slot, bool keep);
/* False: no memory; `to` is still empty. */
bool slot_share(struct sched_model *m, struct slot *from, struct slot *to);
void slots_unhold(struct sched_model *m, const struct request *r);
/* Drops positions from n on; false when all had to go. */
bool slot_truncate(struct sched_model *m, struct slot *slot, int32_t n);
/* Free KV cells, after dropping cached prefixes (the oldest first) until `want` are free or none is
 * left to drop. */
int32_t slots_room(struct sched_model *m, int32_t want);
/* There is no room to go on: drops a cached prefix, or sends the least important request back into
 * the queue, or ends the last one's choice with FINISH_LENGTH. */
void slots_relieve(struct sched_model *m);
/* The engine had no room for a batch of n tokens although the count said so: corrects the count (so
 * that the same can't happen for ever) and relieves. */
void slots_overfull(struct sched_model *m, int32_t n);
void slots_init(struct sched_model *m);
void slots_free(struct sched_model *m);

/* ---- compact.c */
/* Moves one sequence to the side of others of its group (0 = not to be decoded), if that makes the
 * rounds to come shorter. Between batches. */
void slots_compact(struct sched_model *m, const int32_t *group);

/* ---- models.c */
/* All: models_lock is held. */
bool model_is_idle(const struct sched_model *m); /* READY and nobody uses it */
void model_begin_load(struct sched_model *m);
/* It is being loaded and nobody wants it any more. */
bool model_unwanted(const struct sched_model *m);
/* It waits for that one to go; tells the listeners. */
void model_waits_for(struct sched_model *m, const char *id);
/* A load has ended, or could not begin: tells the listeners. Engine thread, without the lock. */
void model_done(struct sched_model *m, const struct error *error);
void model_list_free(struct sched *s); /* at the end, when no thread is left */

/* ---- loader.c */
void *loader_main(void *sched);
/* Does what is in the loader's mailbox when its thread is gone. */
void loader_drain(struct sched *s);

/* ---- keep.c: engine thread */
/* Expired and unwanted models leave, waiting ones get their room. Returns the time in ms after
 * which it wants to be called again, -1 = when something happens (keep_touch). Cheap when nothing
 * has. */
int64_t keep_look(struct sched *s);
void keep_touch(struct sched *s); /* any thread: look at the models soon */
void keep_none(struct sched *s);  /* at the end: all of them go to the loader */
void model_measured(struct sched_model *m, const struct error *error);
void model_freed(struct sched *s, struct unload *u);
void keep_tell_unloaded(struct list_node *unload_listeners); /* frees them; no lock is held */
/* A request is over. */
void model_used(struct sched_model *m, int64_t keep_alive_ms);

#endif
