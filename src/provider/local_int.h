/* Inside the local provider: what its files share.
 *
 *   local.c          the face: taking, cancelling and closing; a job's life
 *   local_prepare.c  on the pool: prompt or inputs -> scheduler
 *   local_model.c    a job's model: from its name to a reference, perhaps through a load
 *   local_models.c   the verbs about models
 *   local_text.c     the verbs about texts and tokens of a model
 *   local_infill.c   texts with a gap to tokens
 *   local_notes.c    from the engine thread to the delivery thread: notes
 *   local_deliver.c  the delivery thread: parsing, reasoning and tools, calling the listener
 *   local_names.c    what a model's name stands for
 *   local_adapters.c which LoRA adapter a request gets
 *   local_control.c  what can be asked beside generating: a table of verbs
 *
 * A job is one request (or preload). It passes from the pool, perhaps through a load, to the
 * scheduler. This way always ends with exactly one final note to the delivery thread: a failure, or
 * the scheduler's last event; with it the job leaves the table. The listener may have had its last
 * event before (a cancel is told at once): then `over` is set and what still comes is dropped.
 *
 * A request that waits for its model has its place in the scheduler's queue (sched_place) from the
 * moment it begins to, and one that was sent back keeps it; the delivery thread ends it when its
 * deadline comes first.
 *
 * The lock guards the table, the counters, and of each job: cancelled, loading, sched_id, refs, and
 * when it is due. It is taken before any lock of the scheduler's and never while a listener runs.
 */
#ifndef HEARTH_PROVIDER_LOCAL_INT_H
#define HEARTH_PROVIDER_LOCAL_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/expiry.h"
#include "base/idmap.h"
#include "base/json.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "models/adapters.h"
#include "provider/local.h"

enum job_kind { JOB_GENERATE, JOB_EMBED, JOB_LOAD };

/* Copied log probabilities of some tokens, in one allocation. */
struct logprob_block {
    struct logprob_block *next;
    size_t n;
    struct token_logprob items[];
};

struct job_choice {
    struct engine_parser *parser;                   /* NULL: the text goes out as it is */
    struct logprob_block *logprobs, **logprobs_end; /* wait for their text */
    int32_t pending_tokens;                         /* tokens whose text the parser holds back */
    bool in_reasoning;                              /* the last delta was reasoning */
    bool has_tools;                                 /* a tool call came */
};

struct job {
    struct idnode by_id; /* lock */
    struct local *l;
    enum job_kind kind;
    struct gen_request *gen;
    struct embed_request *embed;
    char *load_name; /* JOB_LOAD */
    bool force;      /* JOB_LOAD: also out of quarantine */
    gen_listener_fn gen_fn;
    embed_listener_fn embed_fn;
    void (*load_fn)(void *ctx, const struct error *error);
    void *ctx;
    /* lock */
    int refs; /* the way through the parts, and the pool while it submits */
    bool cancelled;
    bool loading; /* it listens to the load of load_id */
    uint64_t sched_id;
    int64_t load_since_ns, load_ns; /* waiting for its model: now, and before */
    struct expiry_node due;         /* while it waits for its model: its deadline */
    /* set by the pool before anybody else needs it */
    char model_id[MODEL_ID_MAX];
    char load_id[MODEL_ID_MAX];   /* the scheduler's name of it */
    char *model_path;             /* while it waits for a load */
    struct sched_model *model;    /* with a reference; NULL until it is loaded */
    struct sched_place place;     /* used by who has the job */
    int64_t keep_alive_ms;        /* LOAD */
    atomic_llong told_ms;         /* when its listener was told how far the load is */
    char *model_adapter;          /* behind the ':' of its model's name; NULL = none */
    struct adapter_info *adapter; /* NULL = none */
    float adapter_scale;          /* 0 = 1 */
    struct job_choice *choices;
    int32_t n_choices;
    char *echo; /* GEN_RAW with echo: text that comes first */
    struct error load_error;
    /* delivery thread */
    bool over, started;
    int32_t reasoning_tokens;
    struct note *tail; /* its last text note among those just received */
};

struct local {
    struct provider base;
    struct sched *sched;
    struct models *models;
    struct pool *pool;
    char *default_model, *default_embedding_model, *default_rerank_model;
    bool fake_engine;
    char **quarantined; /* lock */
    size_t n_quarantined;
    void (*on_drained)(void *ctx);
    void *drained_ctx;
    pthread_t delivery;
    struct mailbox *notes;
    atomic_int sending; /* threads inside mailbox_send */
    pthread_mutex_t lock;
    pthread_cond_t all_gone;
    struct adapters *adapters;
    char adapter[ADAPTER_NAME_MAX]; /* lock: for requests that name none; "" = none */
    float adapter_scale;            /* lock */
    bool adapter_missed;            /* lock: it can't be used any more, and that is in the log */
    struct idmap jobs;              /* lock */
    struct expiry due;              /* lock: jobs that wait for their model */
    int64_t n_jobs;                 /* lock: not yet freed */
    bool stopping;                  /* lock */
    atomic_ullong next_id;
    /* delivery thread */
    struct buf text; /* scratch: joined texts */
    struct token_logprob *logprobs;
    size_t cap_logprobs;
};

/* ---- notes: to the delivery thread ---------------------------------------------------------- */

enum note_type {
    NOTE_EVENT,   /* from the scheduler */
    NOTE_FAILED,  /* final: the job could not be prepared */
    NOTE_LOADED,  /* final, JOB_LOAD */
    NOTE_LOADING, /* by id: how far the load of its model is */
    NOTE_CANCEL,  /* by id: the job may be gone */
    NOTE_QUIT,
};

/* The larger parts of some notes. */
struct note_more {
    struct usage usage;
    struct timings timings;
    struct cache_report cache;
    bool failed;
    struct error error;
    float *vectors;
    size_t n_vectors, n_dims;
};

struct note {
    struct mail mail;
    enum note_type type;
    struct job *job;
    uint64_t id; /* CANCEL */
    enum sched_event_type event;
    int32_t choice, n_tokens, position;
    int64_t wait_ms;
    enum finish_reason finish;
    float fraction;         /* LOADING */
    struct note_more *more; /* STARTED, last events, FAILED, CANCEL */
    struct logprob_block *logprobs;
    struct note *joined, *joined_end; /* texts of the same choice that followed directly */
    const int32_t *tokens;            /* n_tokens of them behind the text, if they are wanted */
    size_t text_len;
    char text[]; /* CHOICE_END: the stop string, LOADING: waits_for, with its end, or nothing */
};

/* local_notes.c */
void note_event(void *job, const struct sched_event *ev); /* sched_listener_fn */
void note_failed(struct job *job, const struct error *error);
void note_simple(struct local *l, enum note_type type, struct job *job);
void note_cancel(struct local *l, uint64_t id, enum err code);
/* waits_for: NULL = nobody has to go first. */
void note_loading(struct local *l, uint64_t id, float fraction, const char *waits_for);
void note_wake(struct local *l); /* the delivery thread looks at what is due next */
void note_free(struct note *n);

/* local.c */
void job_unref(struct job *job);     /* takes the lock */
void job_drop_work(struct job *job); /* what was prepared, and the model */
/* A verb that is under way counts like a job: closing waits for it. False: no more are taken. */
bool local_enter(struct local *l);
void local_leave(struct local *l);
enum err local_load_job(struct local *l, const char *model, int64_t keep_alive_ms, bool force,
                        void (*on_done)(void *ctx, const struct error *error), void *ctx,
                        struct error *error);

/* local_prepare.c */
void job_prepare(void *job); /* pool_fn */
/* Hands it over to the scheduler; job->model is there. */
void job_submit(struct job *job);

/* local_model.c */
bool job_is_cancelled(struct job *job);
/* Sets job->model, with a reference, or begins its load, after which the job goes on by itself
 * (then *waits). */
HT_MUST_CHECK enum err job_find_model(struct job *job, bool *waits, struct error *error);
/* It was sent back by the scheduler: from the start again. Delivery thread. */
void job_again(struct job *job);
/* What it has waited for its model. */
int64_t job_load_ns(struct job *job);
/* Ends those whose deadline came before their model. Returns the ms until the next one, -1 = none.
 * Delivery thread. */
int64_t jobs_expire(struct local *l);

/* local_models.c */
enum err control_models(struct local *l, const json_t *args, control_fn fn, void *ctx,
                        struct error *error);
enum err control_load(struct local *l, const json_t *args, control_fn fn, void *ctx,
                      struct error *error);
enum err control_unload(struct local *l, const json_t *args, control_fn fn, void *ctx,
                        struct error *error);
enum err control_plan(struct local *l, const json_t *args, control_fn fn, void *ctx,
                      struct error *error);

/* local_text.c */
enum err control_tokenize(struct local *l, const json_t *args, control_fn fn, void *ctx,
                          struct error *error);
enum err control_detokenize(struct local *l, const json_t *args, control_fn fn, void *ctx,
                            struct error *error);
enum err control_template(struct local *l, const json_t *args, control_fn fn, void *ctx,
                          struct error *error);
enum err control_infill(struct local *l, const json_t *args, control_fn fn, void *ctx,
                        struct error *error);
enum err control_props(struct local *l, const json_t *args, control_fn fn, void *ctx,
                       struct error *error);

/* local_deliver.c */
void *deliver_main(void *local);

/* local_control.c. A verb's args are borrowed until it returns. When it returns OK, fn is or will
 * be called once, from any thread; after an error never. */
typedef enum err (*control_verb_fn)(struct local *l, const json_t *args, control_fn fn, void *ctx,
                                    struct error *error);
enum err local_control(struct provider *p, enum control what, const char *args, control_fn fn,
                       void *ctx, struct error *error);
void control_answer_init(struct buf *b, struct jw *w);
/* Hands the answer to fn and frees it. */
enum err control_answer(struct buf *b, control_fn fn, void *ctx, struct error *error);

/* local_quarantine.c; all but the first two take the lock */
void quarantine_init(struct local *l, const char *const *ids, size_t n);
void quarantine_free(struct local *l);
/* Copies at most max ids; returns how many. */
size_t quarantine_list(struct local *l, char (*out)[MODEL_ID_MAX], size_t max);
/* Whether the model may be loaded under load_id, which is its own or that of its embeddings. */
HT_MUST_CHECK enum err quarantine_check(struct local *l, const char *id, const char *load_id,
                                        struct error *error);
/* Why a list says so, and what to do. Returns dst. */
const char *quarantine_words(char *dst, size_t size, const char *id, bool embeddings);
bool quarantine_has(struct local *l, const char *load_id);
/* For the model and its embeddings. */
void quarantine_lift(struct local *l, const char *id);

/* local_names.c */
/* What a model is wanted for. */
enum use { USE_GENERATE, USE_EMBED, USE_RERANK, USE_ANY };

HT_MUST_CHECK enum err names_resolve(struct local *l, const char *name, enum use use,
                                     struct model_info *out, struct error *error);
/* A model of that id that is in memory for that use: the way of most requests, without a look at
 * the folders. With a reference. NULL: names_resolve knows more. */
struct sched_model *names_loaded(struct local *l, const char *name, enum use use);
/* The model that names_resolve told of, if it is in memory under that id. With a reference. NULL:
 * it must be loaded, also because what was made anew under its name has another file. */
struct sched_model *names_find(struct local *l, const char *load_id, const struct model_info *info);
/* Of the chat models in memory the one that was used last, with a reference; NULL: there is none.
 */
struct sched_model *names_any_chat(struct local *l);
/* The scheduler's name: that of the model, or for embeddings of a generating model one beside it,
 * since these are a context of their own. */
void names_load_id(char *dst, size_t size, const char *id, enum use use, bool generates);
/* For a name that is no model: one whose last ':' separates a model from an adapter? Then OK, and
 * *adapter is that part of name. Else the error that is there, which may get more words. */
HT_MUST_CHECK enum err names_split_adapter(struct local *l, const char *name,
                                           struct model_info *out, const char **adapter,
                                           struct error *error);
/* As names_resolve for any use, where an adapter behind the name changes nothing. */
HT_MUST_CHECK enum err names_resolve_front(struct local *l, const char *name,
                                           struct model_info *out, struct error *error);

/* local_adapters.c */
/* Sets job->adapter for a request to the model of that id. */
HT_MUST_CHECK enum err adapter_choose(struct job *job, const char *model_id, struct error *error);
enum err control_adapters(struct local *l, const json_t *args, control_fn fn, void *ctx,
                          struct error *error);
enum err control_adapter_load(struct local *l, const json_t *args, control_fn fn, void *ctx,
                              struct error *error);

#endif
