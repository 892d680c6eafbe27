/* Plain data for one generation: what every API surface translates to, and what comes back.
 * No behaviour, no I/O. Strings are UTF-8, '\0'-terminated and, like every pointer in a
 * gen_request, live in the request's arena: arena_free(req->arena) frees all of it, itself too. */
#ifndef HEARTH_TYPES_GEN_H
#define HEARTH_TYPES_GEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

/* ---- messages ---------------------------------------------------------------------------- */

/* Their words in OpenAI's API, and in most others. */
#define MESSAGE_ROLES(X)                                                                           \
    X(SYSTEM, "system")                                                                            \
    X(USER, "user")                                                                                \
    X(ASSISTANT, "assistant")                                                                      \
    X(TOOL, "tool")

enum role {
#define X(id, word) ROLE_##id,
    MESSAGE_ROLES(X)
#undef X
};

struct tool_call {
    const char *id; /* may be "" */
    const char *name;
    const char *arguments; /* JSON text of an object */
};

/* A picture of a message. */
struct image {
    const char *media_type; /* "image/png"; "" with an url */
    const char *data;       /* base64 without line breaks, or NULL */
    const char *url;        /* http or https, or NULL; one of the two is there */
};

struct message {
    enum role role;                     /* OpenAI's "developer" arrives as ROLE_SYSTEM */
    const char *content;                /* text parts joined with newlines; may be "" */
    const char *reasoning;              /* assistant's earlier reasoning, or NULL */
    const char *reasoning_signature;    /* what its provider wants back with it, or NULL */
    const char *name;                   /* participant or tool name, or NULL */
    const char *tool_call_id;           /* ROLE_TOOL: which call this answers, or NULL */
    const struct tool_call *tool_calls; /* ROLE_ASSISTANT */
    size_t n_tool_calls;
    const struct image *images; /* ROLE_USER and ROLE_TOOL; behind the text */
    size_t n_images;
};

struct tool {
    const char *name;
    const char *description; /* may be "" */
    const char *parameters;  /* JSON schema text of an object, "{}" when absent */
    bool strict;
};

enum tool_choice { TOOL_AUTO, TOOL_NONE, TOOL_REQUIRED, TOOL_NAMED };

/* ---- request ----------------------------------------------------------------------------- */

enum gen_kind {
    GEN_CHAT, /* messages through the model's chat template */
    GEN_RAW,  /* prompt text or tokens as they are */
};

enum response_format { FORMAT_TEXT, FORMAT_JSON_OBJECT, FORMAT_JSON_SCHEMA, FORMAT_GRAMMAR };

/* What happens to a reasoning model's thoughts. */
enum reasoning_format {
    REASONING_AUTO, /* parsed into GEN_EV_REASONING (llama.cpp's "deepseek") */
    REASONING_NONE, /* left in the text, tags and all */
};

struct logit_bias {
    int32_t token;
    float bias; /* -INFINITY forbids */
};

struct sampling {
    float temperature;       /* >= 0; 0 is greedy */
    int32_t top_k;           /* 0 = off */
    float top_p;             /* 0..1; 1 = off */
    float min_p;             /* 0..1; 0 = off */
    float repeat_penalty;    /* > 0; 1 = off */
    int32_t repeat_last_n;   /* tokens looked back for the penalties; -1 = whole context */
    float frequency_penalty; /* -2..2 */
    float presence_penalty;  /* -2..2 */
    uint32_t seed;           /* SEED_RANDOM = choose one */
    const struct logit_bias *logit_bias;
    size_t n_logit_bias;
    bool ignore_eos;
    int32_t top_logprobs; /* alternatives wanted per token, 0..20 */
    bool logprobs;        /* wanted at all */
};

#define SEED_RANDOM 0xFFFFFFFFu

/* The context is full before the answer ends. */
enum overflow {
    OVERFLOW_DEFAULT, /* as configured */
    OVERFLOW_STOP,    /* FINISH_LENGTH */
    OVERFLOW_SHIFT,   /* the oldest tokens after the system prompt are forgotten */
};

/* What matters most when there is a choice of who answers. */
#define GOALS(X)                                                                                   \
    X(BALANCED, "balanced") /* by the request's complexity */                                      \
    X(PRIVACY, "privacy")   /* nothing leaves this machine */                                      \
    X(COST, "cost")                                                                                \
    X(SPEED, "speed")                                                                              \
    X(QUALITY, "quality")

enum goal {
    GOAL_DEFAULT, /* as configured */
#define X(id, word) GOAL_##id,
    GOALS(X)
#undef X
};

/* How long a model stays in memory after its last request: milliseconds, or one of these. */
enum {
    KEEP_ALIVE_DEFAULT = 0, /* as configured */
    KEEP_ALIVE_FOREVER = -1,
    KEEP_ALIVE_NONE = -2, /* it is unloaded the moment no work for it is left */
};

enum finish_reason { FINISH_STOP, FINISH_LENGTH, FINISH_TOOL_CALLS, FINISH_CANCELLED };

/* What a choice had generated before its worker died. The answer is told again from its start; who
 * asks for this drops what it has passed on already. */
struct gen_resume {
    const int32_t *tokens;
    size_t n_tokens;
    bool over; /* it had ended, with `finish`: nothing is generated behind its tokens */
    enum finish_reason finish;
};

/* What the client said itself, where a model's own defaults (its Modelfile's) must not. */
enum gen_said {
    SAID_TEMPERATURE = 1 << 0,
    SAID_TOP_K = 1 << 1,
    SAID_TOP_P = 1 << 2,
    SAID_MIN_P = 1 << 3,
    SAID_REPEAT_PENALTY = 1 << 4,
    SAID_REPEAT_LAST_N = 1 << 5,
    SAID_FREQUENCY_PENALTY = 1 << 6,
    SAID_PRESENCE_PENALTY = 1 << 7,
    SAID_SEED = 1 << 8,
    SAID_MAX_TOKENS = 1 << 9,
    SAID_STOP = 1 << 10,
};

enum { GEN_N_MAX = 16, GEN_STOP_MAX = 16, GEN_TOP_LOGPROBS_MAX = 20, PRIORITY_DEFAULT = 50 };

struct gen_request {
    struct arena *arena; /* owns everything, this struct too */
    enum gen_kind kind;
    const char *request_id;
    const char *model;  /* as the client named it; "" = the default model */
    const char *tenant; /* whose queue share and cache: the user; "" where nobody asks */

    const struct message *messages; /* GEN_CHAT: at least one */
    size_t n_messages;
    const char *prompt; /* GEN_RAW: text, or NULL when prompt_tokens is used */
    const int32_t *prompt_tokens;
    size_t n_prompt_tokens;
    bool echo; /* GEN_RAW: the prompt comes back in front */

    const struct tool *tools;
    size_t n_tools;
    enum tool_choice tool_choice;
    const char *tool_choice_name; /* TOOL_NAMED */
    bool parallel_tool_calls;

    enum response_format format;
    const char *schema;  /* FORMAT_JSON_SCHEMA: JSON text */
    const char *grammar; /* FORMAT_GRAMMAR: GBNF text */

    enum reasoning_format reasoning_format;
    const char *template_kwargs; /* JSON object text, or NULL; chat_template_kwargs */
    const char *chat_template;   /* Jinja, instead of the model's own; NULL = its own */

    struct sampling sampling;
    int32_t max_tokens; /* -1 = until the model ends or the context is full */
    int32_t n;          /* choices, 1..GEN_N_MAX */
    const char *const *stop;
    size_t n_stop;
    uint32_t said; /* SAID_...: of the sampling, max_tokens and stop */

    int32_t priority;    /* 0 (first) .. 100 */
    int64_t deadline_ms; /* clock_mono_ms by which it must have started; 0 = none */

    const char *adapter; /* LoRA adapter; NULL = the hub's default one, "base" = none */
    float adapter_scale; /* 1 = as it was trained; 0 = not said, 1 */
    /* With `resume`: of the adapter that the answer began with; 0 = none. Another one by now is an
     * error. */
    uint64_t adapter_version;
    bool deterministic;     /* the same tokens whatever else is running; slower */
    enum overflow overflow; /* what happens when the context is full */
    int64_t keep_alive_ms;  /* KEEP_ALIVE_...; how long the model stays after its last request */
    bool want_tokens;       /* GEN_EV_TOKENS are wanted */
    /* Who asks understands GEN_EV_PAUSED, and sends the request again with `resume`. */
    bool can_pause;
    /* Only a model that is in memory answers: the one named, else the default one, else the one
     * that was used last. None is loaded for it: ERR_NO_MODEL. */
    bool loaded_only;

    /* Who may answer (src/router). NULL and "" are the same. */
    const char *source; /* a provider's name: only that one; "" = whom the route says */
    const char *route;  /* a configured route's name; "" = the default one */
    bool local_only;    /* it never leaves this machine */
    enum goal goal;
    /* How much a reasoning model thinks: "none", "minimal", "low", "medium", "high", or NULL; and
     * at most how many tokens, 0 = not said. Local models hear of it by template_kwargs. */
    const char *reasoning_effort;
    int32_t reasoning_budget;

    const struct gen_resume *resume; /* n of them, or NULL: goes on where another worker stopped */
};

/* ---- events ------------------------------------------------------------------------------ */

struct usage {
    int32_t prompt_tokens; /* counted once, however many choices */
    int32_t cached_tokens; /* of those, found in the cache */
    int32_t completion_tokens;
    int32_t reasoning_tokens;
};

/* How a request spent its time; all in nanoseconds. */
struct timings {
    int64_t load_ns; /* waiting for its model to be loaded */
    int64_t queue_ns, prefill_ns, decode_ns;
    int64_t first_token_ns; /* since its arrival; 0 = there was none */
    int64_t paused_ns;      /* of decode_ns and prefill_ns: while others went first */
    int32_t pauses;
    int32_t prefill_tokens; /* actually decoded, without the cached ones */
    int32_t decode_tokens;
};

enum cache_source { CACHE_NONE, CACHE_SEQUENCE, CACHE_MEMORY, CACHE_DISK };

enum { CACHE_MISS_MAX = 200 };

/* Where a prompt's cached tokens came from, and why the rest had to be computed. */
struct cache_report {
    enum cache_source source;
    int32_t cached_tokens;
    char miss[CACHE_MISS_MAX]; /* for people: first differing token with the text around it; "" */
};

struct logprob_alt {
    int32_t token;
    float logprob;
    const char *text; /* bytes of the token, may be a part of a character */
    size_t len;
};

struct token_logprob {
    struct logprob_alt chosen;
    const struct logprob_alt *top;
    size_t n_top;
};

/* Who answers, and why. All printable ASCII: headers are made of it. */
struct gen_route {
    const char *provider; /* "local", "ollama", ... or an instance's name */
    const char *model;    /* as that provider is asked for it */
    const char *reason;   /* for people, one line of ASCII: "local: the model is here" */
    bool remote;          /* the request leaves this machine */
    int32_t attempt;      /* 0 = the first provider that was tried */
};

enum gen_event_type {
    GEN_EV_LOADING,    /* the model is being loaded: fraction; may come several times */
    GEN_EV_QUEUED,     /* position, wait_ms; again when the position has changed */
    GEN_EV_STARTED,    /* first batch; usage.prompt_tokens and cached_tokens are known; cache */
    GEN_EV_TOKENS,     /* tokens of a choice, before their text; only with want_tokens */
    GEN_EV_TEXT,       /* text: whole UTF-8 characters; logprobs of the tokens that made it */
    GEN_EV_REASONING,  /* text; or signature alone, at the end of the reasoning */
    GEN_EV_TOOL_CALL,  /* tool: the first event of a call has id and name, the rest fragments */
    GEN_EV_CHOICE_END, /* finish; stop */
    GEN_EV_DONE,       /* usage, timings: the last event of a request that worked */
    GEN_EV_ERROR,      /* error: the last event of one that did not */
    /* Its model has to make room for another one: the last event, as if it had never been asked;
     * timings. Only with can_pause, and only once it has started. */
    GEN_EV_PAUSED,
    GEN_EV_ROUTED, /* route: who is asked now; again when another one is. Never the last */
};

/* Borrowed: valid during the listener call only. */
struct gen_event {
    enum gen_event_type type;
    int32_t choice; /* 0..n-1 for TEXT, REASONING, TOOL_CALL, CHOICE_END */
    const char *text;
    size_t text_len;
    const char *signature;                /* REASONING: message.reasoning_signature, or NULL */
    const struct token_logprob *logprobs; /* TEXT: of whole tokens; n_logprobs may be 0 */
    size_t n_logprobs;
    struct {
        int32_t index;
        const char *id, *name; /* NULL after the first event of this index */
        const char *arguments; /* fragment, may be "" */
        size_t arguments_len;
    } tool;
    enum finish_reason finish;
    bool estimated;        /* DONE: usage is a guess, since its provider told no numbers */
    const char *stop;      /* CHOICE_END: the request's stop string that ended it, or NULL */
    float fraction;        /* LOADING: 0..1 */
    int32_t position;      /* QUEUED: 0 = next */
    const char *waits_for; /* LOADING: the model that has to go first; NULL = it is being loaded */
    int64_t wait_ms;       /* QUEUED: estimated until it starts; -1 = unknown */
    const int32_t *tokens; /* TOKENS */
    size_t n_tokens;
    const char *adapter; /* STARTED: name of the adapter in use, NULL = none */
    float adapter_scale; /* STARTED: its, and the version of its file */
    uint64_t adapter_version;
    const struct cache_report *cache; /* STARTED, DONE, ERROR; may be NULL */
    const char *model;                /* STARTED, DONE: the id of the model that answers */
    const struct gen_route *route;    /* ROUTED, STARTED; NULL where nobody routes */
    struct usage usage;
    struct timings timings;
    const struct error *error;
};

/* Called on the provider's delivery thread, one event at a time per request; must not block.
 * After DONE or ERROR it is never called again for that request. */
typedef void (*gen_listener_fn)(void *ctx, const struct gen_event *ev);

/* ---- embeddings -------------------------------------------------------------------------- */

struct embed_input {
    const char *text; /* or NULL when tokens is used */
    size_t text_len;
    const int32_t *tokens;
    size_t n_tokens;
};

struct embed_request {
    struct arena *arena; /* owns everything, this struct too */
    const char *request_id, *model, *tenant;
    const char *source, *route; /* as gen_request's, and the next */
    bool local_only;
    const struct embed_input *inputs;
    size_t n_inputs;
    int32_t priority;
    int64_t deadline_ms, keep_alive_ms;
    bool truncate; /* what is longer than the context is cut, instead of refused */
    /* With a query this is a rerank: the inputs are documents, scored against it. */
    const char *query; /* NULL = embed */
};

/* Borrowed: valid during the call only. On failure error != NULL and the rest is 0. Vectors are
 * n_inputs rows of n_dims floats, each of length 1 (L2). Of a rerank: n_dims is 1, the score of
 * each document, the higher the better (the model's own scale). */
struct embed_result {
    const struct error *error;
    const char *model;
    const float *vectors;
    size_t n_inputs, n_dims;
    int32_t prompt_tokens;
    const struct gen_route *route; /* NULL where nobody routes */
};

typedef void (*embed_listener_fn)(void *ctx, const struct embed_result *result);

#endif
